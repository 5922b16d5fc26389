"""Compare to the fen what was sold with what the devices took, charged and still hold.

Two independent sources are compared: the orders sold here, refunds below 0, and the devices' own
cumulative credits and debits. `sold = charged + balances + not yet redeemed` must hold for every
account.
"""

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

import sqlalchemy as sa

from host.frames.faults import fault_text
from host.frames.packing import Reason
from host.frames.record import RecordKind
from host.headend import schema
from host.headend.posting import finding_text
from host.headend.store import Store
from host.units import yuan
from host.words import _, marked

RELAY_NAMES = {None: "?", 0: marked("closed"), 1: marked("open")}


@dataclass(slots=True)
class Household:
    """One account, as far as the head-end knows it; money in fen."""

    account: str
    meter: str = ""
    concentrator: int | None = None
    row: int | None = None
    sold_fen: int = 0
    redeemed_fen: int = 0
    credit_fen: int = 0
    corrected_fen: int = 0  # charged too much and put back, part of the credit
    charged_fen: int = 0
    balance_fen: int = 0
    used_wh: int = 0
    relay: int | None = None
    policy: int | None = None
    readings: int = 0
    last_t2000: int | None = None
    unredeemed_fen: int = 0  # sold, but no device has reported the order yet
    stopped: bool = False  # billing, until a technician resumes it
    doubt: int = 0  # reason why its readings are not believed, 0: they are


@dataclass(slots=True)
class Reconciliation:
    """All sums, and every difference as one sentence."""

    households: list[Household]
    records: int = 0
    records_lost: int = 0
    records_let_go: int = 0
    readings_taken: int = 0
    readings_stored: int = 0
    duplicates: int = 0
    orders_sold: int = 0
    orders_redeemed: int = 0
    differences: list[str] = field(default_factory=list)

    def total(self, name: str) -> int:
        """Return the sum of one field over all households."""
        return sum(getattr(household, name) for household in self.households)

    @property
    def ok(self) -> bool:
        """Return whether nothing differs."""
        return not self.differences

    def to_dict(self) -> dict[str, Any]:
        """Return the sums, the households and the differences for JSON."""
        sums = ["sold_fen", "corrected_fen", "redeemed_fen", "unredeemed_fen", "charged_fen"]
        sums.append("balance_fen")
        return {"ok": self.ok, **{name: self.total(name) for name in sums}, **asdict(self)}


def households(store: Store) -> list[Household]:
    """Return all accounts that have a meter, bought something or topped up, in order."""
    found: dict[str, Household] = {}
    for row in store.rows(sa.select(schema.accounts)):
        found[row["account"]] = Household(
            account=row["account"],
            meter=row["meter"],
            concentrator=row["concentrator"],
            row=row["row"],
            credit_fen=row["credit_fen"],
            charged_fen=row["debit_fen"],
            balance_fen=row["credit_fen"] - row["debit_fen"],
            used_wh=row["used_wh"],
            relay=row["relay"],
            policy=row["policy"],
            readings=row["readings"],
            last_t2000=row["last_t2000"],
            corrected_fen=row["corrected_fen"],
            stopped=bool(row["stopped"]),
            doubt=row["doubt"],
        )
    # What was told as a whole was redeemed, also where the record of it is lost.
    told: dict[str, int] = {}
    for row in store.rows(sa.select(schema.standings)):
        told[row["account"]] = max(row["order"], told.get(row["account"], 0))
    redeemed: set[tuple[str, int]] = set()
    for row in store.rows(sa.select(schema.top_ups)):
        redeemed.add((row["account"], row["order"]))
        one = found.setdefault(row["account"], Household(row["account"]))
        one.redeemed_fen += row["amount_fen"]
    for row in store.rows(sa.select(schema.orders)):
        one = found.setdefault(row["account"], Household(row["account"]))
        one.sold_fen += row["amount_fen"]
        known = row["order"] <= told.get(row["account"], 0)
        if not known and (row["account"], row["order"]) not in redeemed:
            one.unredeemed_fen += row["amount_fen"]
    return [found[name] for name in sorted(found)]


def reconcile(store: Store) -> Reconciliation:
    """Compare orders, money, records and readings; return all sums and differences."""
    result = Reconciliation(households(store))
    _compare_orders(store, result)
    _compare_money(store, result)
    _compare_records(store, result)
    _compare_readings(store, result)
    _tell_doubts(result)
    findings = store.rows(sa.select(schema.findings).order_by("concentrator", "seq"))
    for row in findings:
        result.differences.append(f"{_place(row)}: {finding_text(row['what'])}")
    return result


def _place(row: dict[str, Any]) -> str:
    return _("concentrator {concentrator}, record {seq}").format(
        concentrator=row["concentrator"], seq=row["seq"]
    )


def _compare_orders(store: Store, result: Reconciliation) -> None:
    """Compare orders redeemed and sold: the same amounts, each redeemed once."""
    sold = {
        (row["account"], row["order"]): row["amount_fen"]
        for row in store.rows(sa.select(schema.orders))
    }
    times: Counter[tuple[str, int]] = Counter()
    for row in store.rows(sa.select(schema.top_ups)):
        order = (row["account"], row["order"])
        times[order] += 1
        told = []
        if order not in sold:
            told.append(
                _("{amount} yuan redeemed, never sold").format(amount=yuan(row["amount_fen"]))
            )
        elif sold[order] != row["amount_fen"]:
            told.append(
                _("{sold} yuan sold, {redeemed} redeemed").format(
                    sold=yuan(sold[order]), redeemed=yuan(row["amount_fen"])
                )
            )
        if times[order] == 2:
            told.append(_("redeemed more than once"))
        name = _("order {order} of account {account}").format(
            order=row["order"], account=row["account"] or _("(unknown)")
        )
        result.differences += [f"{name}: {what}" for what in told]
    result.orders_sold = len(sold)
    result.orders_redeemed = len(times)


def _compare_money(store: Store, result: Reconciliation) -> None:
    """Compare, for each account, sold + corrected = charged + balance + unredeemed."""
    for one in result.households:
        there = one.charged_fen + one.balance_fen + one.unredeemed_fen
        if one.sold_fen + one.corrected_fen != there:
            here = _("{sold} yuan sold").format(sold=yuan(one.sold_fen))
            if one.corrected_fen:
                here += _(" and {corrected} corrected").format(corrected=yuan(one.corrected_fen))
            sums = _("{charged} + {balance} + {unredeemed} charged, balance and unredeemed")
            told = sums.format(
                charged=yuan(one.charged_fen),
                balance=yuan(one.balance_fen),
                unredeemed=yuan(one.unredeemed_fen),
            )
            result.differences.append(_of_account(one.account, f"{here}, {told}"))
    table = schema.top_ups
    query = sa.select(table).where(table.c.balance_fen != table.c.books_fen)
    for row in store.rows(query):
        what = _("balance {balance} yuan after order {order}, the books say {books}").format(
            balance=yuan(row["balance_fen"]), order=row["order"], books=yuan(row["books_fen"])
        )
        result.differences.append(f"{_place(row)}: {what}")


def _of_account(account: str, what: str) -> str:
    return _("account {account}: {what}").format(account=account or _("(unknown)"), what=what)


def _tell_doubts(result: Reconciliation) -> None:
    """Tell of each account whose readings are not believed: its meter needs a look."""
    for one in result.households:
        if one.stopped:
            what = _("billing stopped, {why}: look at its meter, then `account resume`")
        elif one.doubt:
            what = _("readings in doubt, {why}: nothing is charged meanwhile")
        else:
            continue
        told = what.format(why=fault_text(one.doubt))
        result.differences.append(_of_account(one.account, told))


def _compare_records(store: Store, result: Reconciliation) -> None:
    """Compare counts: each number acknowledged is stored, or was let go to make room."""
    table = schema.records
    count = sa.func.count().label("count")
    stored = {
        row["concentrator"]: row["count"]
        for row in store.rows(sa.select(table.c.concentrator, count).group_by("concentrator"))
    }
    for row in store.rows(sa.select(schema.gaps)):
        gone = row["last_seq"] - row["first_seq"] + 1
        reasons = Reason(row["reasons"])
        if reasons and Reason.UNREADABLE not in reasons:
            result.records_let_go += gone
            continue
        result.records_lost += gone
        result.differences.append(
            _("concentrator {concentrator}: records {first_seq} to {last_seq} are lost").format(
                concentrator=row["concentrator"],
                first_seq=row["first_seq"],
                last_seq=row["last_seq"],
            )
        )
    acked = sum(row["acked_seq"] for row in store.rows(sa.select(schema.concentrators)))
    result.records = sum(stored.values())
    if acked != result.records + result.records_lost + result.records_let_go:
        result.differences.append(
            _(
                "{acked} records acknowledged, {stored} stored, {lost} lost, {let_go} let go"
            ).format(
                acked=acked,
                stored=result.records,
                lost=result.records_lost,
                let_go=result.records_let_go,
            )
        )


def _compare_readings(store: Store, result: Reconciliation) -> None:
    """Compare counts of readings: each one taken is stored once."""
    count = sa.func.count().label("count")
    is_reading = schema.records.c.kind == int(RecordKind.READING)
    taken = sa.select(count).select_from(schema.records).where(is_reading)
    result.readings_taken = store.rows(taken)[0]["count"]
    columns = schema.readings.c
    result.readings_stored = store.rows(sa.select(count).select_from(schema.readings))[0]["count"]
    again = (
        sa.select(count)
        .select_from(schema.readings)
        .group_by(columns.concentrator, columns.seq)
        .having(sa.func.count() > 1)
    )
    result.duplicates = sum(row["count"] - 1 for row in store.rows(again))
    if result.readings_taken != result.readings_stored or result.duplicates:
        result.differences.append(
            _("{taken} readings taken, {stored} stored, {twice} of them twice").format(
                taken=result.readings_taken, stored=result.readings_stored, twice=result.duplicates
            )
        )
