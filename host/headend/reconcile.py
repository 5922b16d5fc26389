"""Compare the orders sold, to the fen, with the devices' credits, charges and balances.

Two independent sources are compared: the orders sold here, refunds below 0, and the devices' own
cumulative credits and debits. `sold = charged + balances + not yet redeemed` must hold for every
account.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from host.frames.packing import Reason
from host.frames.record import RecordKind
from host.headend import watching
from host.headend.database import Database
from host.headend.ownership import waiting, waiting_text
from host.headend.posting import NO_ROW, finding_text
from host.headend.store import Store
from host.units import yuan
from host.words import _, marked

BOOKS = "books"
# Kinds of findings that do not concern the books: with these alone everything agrees.
NOTICES = frozenset(
    (watching.CARD, watching.CLOCK, watching.RELAY, "cabinet", "setting", "firmware", "log")
)
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
    doubt: int = 0  # why its readings are doubted, 0: they are not


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference of the books that no record has brought: it is found by comparing them.

    what    JSON by which it is known again: a text that is `marked`, and the values of its fields
    """

    kind: str
    account: str
    what: str

    @property
    def number(self) -> str:
        """Return the number by which a person resolves it."""
        return f"{BOOKS}{hashlib.sha256(self.what.encode()).hexdigest()[:8]}"


@dataclass(slots=True)
class Reconciliation:
    """All sums, and every open difference as one sentence.

    found     the open differences that no record has brought
    settled   how many a person has resolved
    """

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
    notices: int = 0  # open findings that say nothing about the books
    settled: int = 0
    found: list[Difference] = field(default_factory=list)
    resolved: frozenset[str] = frozenset()

    def differ(self, kind: str, about: str, text: str, said: str = "", **values: Any) -> None:
        """Note a difference about an account, unless a person has resolved it.

        `said` tells it in more words.
        """
        what = json.dumps({"text": text, **values}, ensure_ascii=False)
        if what in self.resolved:
            self.settled += 1
            return
        self.found.append(Difference(kind, about, what))
        self.differences.append(said or finding_text(what))

    def total(self, name: str) -> int:
        """Return the sum of one field over all households."""
        return sum(getattr(household, name) for household in self.households)

    @property
    def ok(self) -> bool:
        """Return whether nothing differs."""
        return not self.differences

    @property
    def empty(self) -> bool:
        """Return whether there is nothing to compare."""
        return not self.records and not self.orders_sold

    def to_dict(self) -> dict[str, Any]:
        """Return the sums, the households and the differences for JSON."""
        sums = ["sold_fen", "corrected_fen", "redeemed_fen", "unredeemed_fen", "charged_fen"]
        sums.append("balance_fen")
        return {
            "ok": self.ok,
            "empty": self.empty,
            **{name: self.total(name) for name in sums},
            **{name: value for name, value in asdict(self).items() if name != "resolved"},
        }


_HOUSEHOLDS = """
    SELECT account, meter, concentrator, "row", credit_fen, debit_fen, used_wh, relay, policy,
    readings, last_t2000, corrected_fen, stopped, doubt FROM accounts
    WHERE {where}
"""
# An order is redeemed where a device has reported it, or a later one in a standing.
_UNREDEEMED = """
    SELECT orders.account, CAST(sum(orders.amount_fen) AS bigint) FROM orders
    LEFT JOIN (SELECT account, max("order") AS newest FROM standings GROUP BY account) AS told
    ON told.account = orders.account
    WHERE orders.voided_at IS NULL AND orders."order" > coalesce(told.newest, 0) {only}
    AND NOT EXISTS (
        SELECT 1 FROM top_ups
        WHERE top_ups.account = orders.account AND top_ups."order" = orders."order"
    )
    GROUP BY orders.account
"""


def households(
    store: Store, account: str | None = None, concentrator: int | None = None
) -> list[Household]:
    """Return all accounts with a meter, an order or a top-up, in order; or the chosen ones."""
    conditions, values = [], []
    for name, wanted in (("account", account), ("concentrator", concentrator)):
        if wanted is not None:
            conditions.append(f"{name} = ?")
            values.append(wanted)
    where = " AND ".join(conditions) or "1 = 1"
    found: dict[str, Household] = {}
    database = store.database
    with database.looking():
        for row in database.rows(_HOUSEHOLDS.format(where=where), values):
            charged_fen = row.pop("debit_fen")
            flags = {"stopped": bool(row["stopped"])}
            if row["row"] == NO_ROW:
                row["row"] = None
            found[row["account"]] = Household(
                **{**row, **flags},
                charged_fen=charged_fen,
                balance_fen=row["credit_fen"] - charged_fen,
            )
        only = "" if account is None else "AND orders.account = ?"
        own = "" if account is None else "WHERE account = ?"
        live = "WHERE voided_at IS NULL" if account is None else f"{own} AND voided_at IS NULL"
        one = () if account is None else (account,)
        total = "SELECT account, CAST(sum(amount_fen) AS bigint) FROM"
        sums = {
            "redeemed_fen": f"{total} top_ups {own} GROUP BY account",
            "sold_fen": f"{total} orders {live} GROUP BY account",
            "unredeemed_fen": _UNREDEEMED.format(only=only),
        }
        for name, query in sums.items():
            for number, fen in database.all(query, one):
                if number not in found and concentrator is None:
                    found[number] = Household(number)
                if number in found:
                    setattr(found[number], name, fen)
    return [found[name] for name in sorted(found)]


def reconcile(store: Store) -> Reconciliation:
    """Compare orders, money, records and readings; return all sums and open differences."""
    database = store.database
    known = households(store)
    with database.looking():
        resolved = database.all(
            "SELECT what FROM findings WHERE concentrator = 0 AND resolved_at IS NOT NULL"
        )
        result = Reconciliation(known, resolved=frozenset(what for (what,) in resolved))
        explained = _compare_orders(database, result)
        _compare_money(database, result, explained)
        _compare_records(database, result)
        _compare_readings(database, result)
        _tell_doubts(database, result)
        findings = database.rows(
            "SELECT * FROM findings WHERE resolved_at IS NULL ORDER BY concentrator, seq, what"
        )
        result.settled += database.value(
            "SELECT count(*) FROM findings WHERE concentrator > 0 AND resolved_at IS NOT NULL"
        )
        result.settled += database.value(
            "SELECT count(*) FROM quarantine WHERE resolved_at IS NOT NULL AND taken = 0"
        )
    for row in findings:
        if row["kind"] in NOTICES:
            result.notices += 1
            continue
        result.differences.append(f"{_place(row)}: {finding_text(row['what'])}")
    result.differences += [waiting_text(row) for row in waiting(store)]
    return result


def _place(row: dict[str, Any]) -> str:
    return _("concentrator {concentrator}, record {seq}").format(
        concentrator=row["concentrator"], seq=row["seq"]
    )


_REDEEMED = """
    SELECT top_ups.account, top_ups."order", top_ups.amount_fen, orders.amount_fen FROM top_ups
    LEFT JOIN orders ON orders.account = top_ups.account AND orders."order" = top_ups."order"
    AND orders.voided_at IS NULL
    WHERE orders.amount_fen IS NULL OR orders.amount_fen <> top_ups.amount_fen
    ORDER BY top_ups.account, top_ups."order"
"""
_TWICE = """
    SELECT account, "order" FROM top_ups GROUP BY account, "order" HAVING count(*) > 1
    ORDER BY account, "order"
"""


def _compare_orders(database: Database, result: Reconciliation) -> dict[str, int]:
    """Check that each redeemed order was sold, for the same amount, and redeemed once.

    Return by account how much more fen its redeemed orders have than those that were sold.
    """
    explained: dict[str, int] = {}
    for account, order, redeemed_fen, sold_fen in database.all(_REDEEMED):
        values = {"order": order, "account": account, "redeemed": yuan(redeemed_fen)}
        if sold_fen is None:
            text = marked(
                "order {order} of account {account}: {redeemed} yuan redeemed, never sold"
            )
        else:
            text = marked(
                "order {order} of account {account}: {sold} yuan sold, {redeemed} redeemed"
            )
            values["sold"] = yuan(sold_fen)
        result.differ("order", account, text, **values)
        explained[account] = explained.get(account, 0) + redeemed_fen - (sold_fen or 0)
    for account, order in database.all(_TWICE):
        text = marked("order {order} of account {account}: redeemed more than once")
        result.differ("order", account, text, order=order, account=account)
    sold = database.value("SELECT count(*) FROM orders WHERE voided_at IS NULL")
    redeemed = 'SELECT count(*) FROM (SELECT DISTINCT account, "order" FROM top_ups) AS told'
    result.orders_sold, result.orders_redeemed = sold, database.value(redeemed)
    return explained


def _compare_money(
    database: Database, result: Reconciliation, explained: Mapping[str, int]
) -> None:
    """Check sold + corrected = charged + balance + unredeemed for each account.

    What its orders explain is not told a second time.
    """
    for one in result.households:
        there = one.charged_fen + one.balance_fen + one.unredeemed_fen
        more_fen = there - one.sold_fen - one.corrected_fen
        if more_fen and more_fen != explained.get(one.account):
            text = marked("account {account}: {more} yuan more at its device than was sold")
            values = {"account": one.account, "more": yuan(more_fen)}
            result.differ("money", one.account, text, _sums_of(one), **values)
    query = "SELECT * FROM top_ups WHERE balance_fen <> books_fen ORDER BY concentrator, seq"
    for row in database.rows(query):
        text = marked(
            "concentrator {concentrator}, record {seq}: balance {balance} yuan after order "
            "{order}, the books say {books}"
        )
        result.differ(
            "balance",
            row["account"],
            text,
            concentrator=row["concentrator"],
            seq=row["seq"],
            balance=yuan(row["balance_fen"]),
            order=row["order"],
            books=yuan(row["books_fen"]),
        )


def _sums_of(one: Household) -> str:
    """Return the sums of an account that differ, as a sentence."""
    here = _("{sold} yuan sold").format(sold=yuan(one.sold_fen))
    if one.corrected_fen:
        here += _(" and {corrected} corrected").format(corrected=yuan(one.corrected_fen))
    told = _("{charged} + {balance} + {unredeemed} charged, balance and unredeemed").format(
        charged=yuan(one.charged_fen),
        balance=yuan(one.balance_fen),
        unredeemed=yuan(one.unredeemed_fen),
    )
    return _of_account(one.account, f"{here}, {told}")


def _of_account(account: str, what: str) -> str:
    return _("account {account}: {what}").format(account=account or _("(unknown)"), what=what)


def _tell_doubts(database: Database, result: Reconciliation) -> None:
    """Tell of each account in doubt that has no finding: its database is of an older schema."""
    told = database.all("SELECT DISTINCT account FROM findings WHERE kind = ?", (watching.DOUBT,))
    known = {account for (account,) in told}
    for one in result.households:
        if one.account in known or not (one.stopped or one.doubt):
            continue
        text = watching.BILLING_STOPPED if one.stopped else watching.READINGS_DOUBTED
        result.differ(watching.DOUBT, one.account, text, account=one.account, reason=one.doubt)


def _compare_records(database: Database, result: Reconciliation) -> None:
    """Check that each acknowledged number is stored, rolled up or was deleted for room."""
    query = "SELECT * FROM gaps ORDER BY concentrator, first_seq"
    for row in database.rows(query):
        gone = row["last_seq"] - row["first_seq"] + 1
        reasons = Reason(row["reasons"])
        if reasons and Reason.UNREADABLE not in reasons:
            result.records_let_go += gone
            continue
        result.records_lost += gone
        if row["resolved_at"] is None:
            result.differences.append(
                _(
                    "concentrator {concentrator}: records {first_seq} to {last_seq} are lost"
                ).format(
                    concentrator=row["concentrator"],
                    first_seq=row["first_seq"],
                    last_seq=row["last_seq"],
                )
            )
    ((acked, rolled_up),) = database.all(
        "SELECT CAST(coalesce(sum(acked_seq), 0) AS bigint), "
        "CAST(coalesce(sum(rolled_records), 0) AS bigint) FROM concentrators"
    )
    result.records = database.value("SELECT count(*) FROM records") + rolled_up
    missing = acked - result.records - result.records_lost - result.records_let_go
    if missing:
        said = _(
            "{acked} records acknowledged, {stored} stored, {lost} lost, {let_go} let go"
        ).format(
            acked=acked,
            stored=result.records,
            lost=result.records_lost,
            let_go=result.records_let_go,
        )
        text = marked("{missing} records that were acknowledged are not stored")
        result.differ("records", "", text, said, missing=missing)


# Sums that show whether two sets of records differ, without sorting them.
_SUMS = """
    SELECT count(*), CAST(coalesce(sum(seq), 0) AS bigint),
    CAST(coalesce(sum(seq * (concentrator % 8191 + 3) % 1000003), 0) AS bigint)
    FROM {table}
"""
_TWICE_STORED = """
    SELECT CAST(coalesce(sum(times - 1), 0) AS bigint) FROM (
        SELECT count(*) AS times FROM readings GROUP BY concentrator, seq HAVING count(*) > 1
    ) AS again
"""


# Readings that a finding tells of: of no meter, or the second one of a meter at the same second.
_UNSTORED = """
    SELECT count(*) FROM findings WHERE kind IN ('foreign', 'conflict') AND concentrator > 0
    AND (what LIKE '%"kind": "READING"%' OR what LIKE '%another reading of meter%')
"""


# Readings of accounts of other concentrators: they wait or are dismissed.
_UNPOSTED = "SELECT CAST(coalesce(sum(readings), 0) AS bigint) FROM quarantine WHERE taken = 0"


def _compare_readings(database: Database, result: Reconciliation) -> None:
    """Check that each reading is stored once."""
    of_kind = (int(RecordKind.READING),)
    taken = database.all(_SUMS.format(table="records WHERE kind = ?"), of_kind)
    stored = database.all(_SUMS.format(table="readings"))
    # Of records that are rolled up the sums are not known any more.
    ((rolled_up, is_rolled),) = database.all(
        "SELECT CAST(coalesce(sum(rolled_readings), 0) AS bigint), "
        "CAST(coalesce(sum(abs(rolled_readings) + rolled_records), 0) AS bigint) "
        "FROM concentrators"
    )
    result.readings_taken = taken[0][0] + rolled_up
    result.readings_stored = stored[0][0]
    told = database.value(_UNSTORED) + database.value(_UNPOSTED)
    missing = result.readings_taken - result.readings_stored - told
    if not missing and (is_rolled or told or taken == stored):
        return
    result.duplicates = database.value(_TWICE_STORED)
    said = _("{taken} readings taken, {stored} stored, {twice} of them twice").format(
        taken=result.readings_taken, stored=result.readings_stored, twice=result.duplicates
    )
    text = marked("{missing} readings that were taken are not stored, {twice} are twice")
    result.differ("readings", "", text, said, missing=missing, twice=result.duplicates)
