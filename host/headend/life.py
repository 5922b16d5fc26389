"""The life of an account: opened, taken over, changed, exchanged, transferred, closed.

Each step is one transaction: the register, the money and the commands for the concentrator change
together, and a paper keeps what was before and after. A paper is never changed; the newest one of
an account can be undone by another, which puts back what was before.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any

from host.headend import approvals, audit, commands, notices, orders, registry, topology
from host.headend.commands import Given, Target
from host.headend.database import Database, upsert_sql
from host.headend.desk import at_desk
from host.headend.errors import StoreError
from host.headend.orders import TAKEN_OVER, WRITTEN_OFF, Till
from host.headend.registry import Entry, Ratio
from host.headend.store import Store
from host.units import yuan
from host.words import _, marked

OPENED, HOUSEHOLD, EXCHANGED = marked("opened"), marked("household"), marked("meter exchanged")
CARD, TRANSFERRED, CLOSED = marked("card replaced"), marked("transferred"), marked("closed")
DEBT, UNDONE = marked("written off"), marked("undone")
KINDS = (OPENED, HOUSEHOLD, EXCHANGED, CARD, TRANSFERRED, CLOSED, DEBT, UNDONE)
_COMMAND_S = 72 * 3600
_REGISTER_LIMIT_WH = 10**12
_DIRECT = Ratio()


@dataclass(frozen=True, slots=True)
class Act:
    """Who does a step, and why."""

    by: str
    reason: str = ""


# --- what is kept of an account -----------------------------------------------------------------

# The tables of a snapshot with their keys, and the query of the rows that belong to an account.
_CUSTOMER = "SELECT * FROM customers WHERE customer = (SELECT customer FROM contracts {own})"
_KEPT = {
    "contracts": ("account", "SELECT * FROM contracts {own}"),
    "customers": ("customer", _CUSTOMER),
    "connections": ("id", "SELECT * FROM connections {own} AND until_day IS NULL"),
    "devices": ("address", "SELECT * FROM devices {own} ORDER BY address"),
    "installations": ("id", "SELECT * FROM installations {own} AND until_at IS NULL"),
    "cards": ("uid", "SELECT * FROM cards {own} AND until_at IS NULL ORDER BY uid"),
}
_Snapshot = dict[str, list[dict[str, Any]]]


def _snapshot(database: Database, account: str) -> _Snapshot:
    own = "WHERE account = ?"
    return {
        table: database.rows(query.format(own=own), (account,))
        for table, (_key, query) in _KEPT.items()
    }


def _put_back(database: Database, account: str, now: _Snapshot, before: _Snapshot) -> None:
    """Give the rows of an account the values that they had before."""
    database.run("UPDATE devices SET account = '' WHERE account = ?", (account,))
    for table, (key, _query) in _KEPT.items():
        if table not in before:  # the paper is older than the table
            continue
        kept = {row[key] for row in before[table]}
        for row in now[table]:
            if row[key] not in kept and table not in ("customers", "devices"):
                database.run(f"DELETE FROM {table} WHERE {key} = ?", (row[key],))
        for row in before[table]:
            names = tuple(row)
            database.run(upsert_sql(table, names, (key,)), tuple(row.values()))


def _enter(
    database: Database,
    kind: str,
    account: str,
    act: Act,
    before: _Snapshot,
    amount_fen: int = 0,
    undoes: int = 0,
    /,
    **detail: Any,
) -> int:
    """Write the paper of a step; return its number."""
    if not act.by.strip():
        raise StoreError(_("say who does it: a paper has a name"))
    told = {**detail, "before": before, "after": _snapshot(database, account)}
    columns = ("account", "at", "kind", "by", "reason", "amount_fen", "undoes", "detail")
    text = json.dumps(told, ensure_ascii=False)
    now = int(time.time())
    row = (account, now, kind, act.by, act.reason[:200], amount_fen, undoes, text)
    database.insert_new("papers", columns, [row])
    number = int(database.value("SELECT max(id) FROM papers"))
    why: dict[str, Any] = {"paper": number, "by": act.by, "reason": act.reason}
    audit.note(database, kind, account, amount_fen, **why)
    return number


def _open_contract(database: Database, account: str) -> dict[str, Any]:
    rows = database.rows(
        "SELECT * FROM contracts WHERE account = ? AND closed_at IS NULL", (account,)
    )
    if not rows:
        raise StoreError(
            _("account {account} is not open: `dianka headend account open` opens it").format(
                account=account
            )
        )
    return rows[0]


def _tell(database: Database, account: str, text: str, act: Act) -> bool:
    """Give a command to the concentrator of an account; return whether one has the account."""
    concentrator = database.value(
        "SELECT concentrator FROM accounts WHERE account = ?", (account,)
    )
    if not concentrator:
        return False
    given = Given(act.by, act.reason, int(time.time()) + _COMMAND_S)
    commands.give_within(database, Target(concentrator, text, account), given)
    return True


def _check_registers(registers_wh: Sequence[int], first_wh: Sequence[int] = ()) -> None:
    if any(not 0 <= one < _REGISTER_LIMIT_WH for one in registers_wh):
        raise StoreError(_("a register is a number of kWh, from 0 on"))
    if any(now < then for now, then in zip(registers_wh, first_wh, strict=False)):
        raise StoreError(_("the last register is below that of the meter's installation"))


def _install(
    database: Database, account: str, meter: str, ratio: Ratio, first_wh: Sequence[int]
) -> None:
    taken = database.value(
        "SELECT account FROM devices WHERE address = ? AND account NOT IN ('', ?)",
        (meter, account),
    )
    if taken:
        raise StoreError(
            _("meter {meter} is at account {account}").format(meter=meter, account=taken)
        )
    device = ("address", "account", "multiplier", "ct", "pt")
    row = (meter, account, *astuple(ratio))
    database.run(upsert_sql("devices", device, device[:1]), row)
    columns = ("account", "meter", "multiplier", "since_at", "first_wh")
    told = (account, meter, ratio.multiplier, int(time.time()), json.dumps(list(first_wh)))
    database.insert_new("installations", columns, [told])


def _take_out(database: Database, account: str, last_wh: Sequence[int]) -> None:
    """Note the last registers of an account's meter, which leaves it."""
    first = database.value(
        "SELECT first_wh FROM installations WHERE account = ? AND until_at IS NULL", (account,)
    )
    _check_registers(last_wh, json.loads(first or "[]"))
    database.run(
        "UPDATE installations SET until_at = ?, last_wh = ? "
        "WHERE account = ? AND until_at IS NULL",
        (int(time.time()), json.dumps(list(last_wh)), account),
    )
    database.run("UPDATE devices SET account = '' WHERE account = ?", (account,))


# --- steps --------------------------------------------------------------------------------------


@at_desk
def open_account(
    store: Store,
    entry: Entry,
    registers_wh: Sequence[int],
    act: Act,
    balance_fen: int = 0,
    used_wh: int = 0,
) -> int:
    """Open an account, or take it over with a balance and what it has used; return the paper.

    A balance is an order without money, which a card or the air brings to the concentrator.
    StoreError: it is open.
    """
    account = entry.account
    _check_registers(registers_wh)
    with store.writing() as database:
        before = _snapshot(database, account)
        if any(row["closed_at"] is None for row in before["contracts"]):
            raise StoreError(_("account {account} is open already").format(account=account))
        now = int(time.time())
        registry.write_within(database, replace(entry, meter=""), now)
        database.run(
            "UPDATE contracts SET opened_at = ?, closed_at = NULL WHERE account = ?",
            (now, account),
        )
        notices.forget_choices_within(database, account)
        if entry.meter:
            _install(database, account, entry.meter, entry.ratio, registers_wh)
        order = 0
        if balance_fen > 0:
            till = Till(act.by, TAKEN_OVER)
            order = orders.sell_within(database, account, balance_fen, till, None)
        is_told = bool(used_wh) and _tell(
            database, account, f"account used {account} {used_wh // 1000}", act
        )
        told: dict[str, Any] = {"order": order, "used_wh": used_wh, "told": is_told}
        return _enter(database, OPENED, account, act, before, balance_fen, **told)


@at_desk
def set_household(
    store: Store, account: str, from_day: str, persons: int, household: int, act: Act
) -> int:
    """Note another kind of household from a day on, and tell its concentrator; return the paper.

    `household` is the kind's number in the tariff, which has the quota of each kind.
    """
    with store.writing() as database:
        contract = _open_contract(database, account)
        before = _snapshot(database, account)
        database.run(
            "UPDATE customers SET persons = ? WHERE customer = ?", (persons, contract["customer"])
        )
        text = " ".join(("account", "set", account, "household", str(household)))
        is_told = _tell(database, account, text, act)
        told = {"from": from_day, "persons": persons, "household": household, "told": is_told}
        return _enter(database, HOUSEHOLD, account, act, before, **told)


@at_desk
def exchange_meter(
    store: Store,
    account: str,
    last_wh: Sequence[int],
    meter: str,
    first_wh: Sequence[int],
    act: Act,
    ratio: Ratio = _DIRECT,
) -> int:
    """Note another meter of an account, with the last registers of the old; return the paper.

    The technician says the same at the console with `meter exchange`, where it is billed.
    """
    _check_registers(first_wh)
    with store.writing() as database:
        _open_contract(database, account)
        before = _snapshot(database, account)
        _take_out(database, account, last_wh)
        _install(database, account, meter, ratio, first_wh)
        told: dict[str, Any] = {
            "last_wh": list(last_wh),
            "first_wh": list(first_wh),
            "meter": meter,
        }
        return _enter(database, EXCHANGED, account, act, before, **told)


@at_desk
def replace_card(store: Store, account: str, uid: str, act: Act) -> int:
    """Note another card of an account, the first one too; return the paper."""
    now = int(time.time())
    with store.writing() as database:
        _open_contract(database, account)
        before = _snapshot(database, account)
        database.run(
            "UPDATE cards SET until_at = ?, why = ? WHERE account = ? AND until_at IS NULL",
            (now, act.reason[:200], account),
        )
        columns = ("uid", "account", "since_at", "until_at")
        database.run(upsert_sql("cards", columns, ("uid",)), (uid, account, now, None))
        return _enter(database, CARD, account, act, before, uid=uid)


@at_desk
def transfer(store: Store, entry: Entry, act: Act) -> int:
    """Give an account to another person, with its balance and its meter; return the paper."""
    with store.writing() as database:
        contract = _open_contract(database, entry.account)
        before = _snapshot(database, entry.account)
        if contract["customer"] == entry.customer:
            raise StoreError(
                _("account {account} is of customer {customer} already").format(
                    account=entry.account, customer=entry.customer
                )
            )
        kept = replace(entry, meter="", district=entry.district or contract["district"])
        registry.write_customer_within(database, kept)
        notices.forget_choices_within(database, entry.account)
        return _enter(database, TRANSFERRED, entry.account, act, before)


@at_desk
def close_account(store: Store, account: str, last_wh: Sequence[int], act: Act) -> int:
    """Close an account with its last registers, and note the refund of its balance.

    Return the paper; its `amount_fen` is the refund, which is paid out once its concentrator has
    taken it off. StoreError: it owes money, or an order is not redeemed.
    """
    with store.writing() as database:
        _open_contract(database, account)
        before = _snapshot(database, account)
        if (waiting := orders.unredeemed_within(database, account)) is not None:
            raise StoreError(
                _("order {order} of account {account} is not redeemed: redeem or void it").format(
                    order=waiting.order, account=account
                )
            )
        balance_fen = _balance_fen(database, account)
        if balance_fen < 0:
            raise StoreError(
                _("account {account} owes {debt} yuan: collect it, or write it off").format(
                    account=account, debt=yuan(-balance_fen)
                )
            )
        till = Till(act.by)
        order = orders.refund_within(database, account, balance_fen, till) if balance_fen else 0
        _take_out(database, account, last_wh)
        now = int(time.time())
        database.run("UPDATE contracts SET closed_at = ? WHERE account = ?", (now, account))
        topology.end_within(database, account)
        database.run(
            "UPDATE cards SET until_at = ? WHERE account = ? AND until_at IS NULL", (now, account)
        )
        told: dict[str, Any] = {"last_wh": list(last_wh), "order": order}
        return _enter(database, CLOSED, account, act, before, -balance_fen, **told)


@at_desk
def write_off(store: Store, account: str, amount_fen: int, act: Act, approval: int) -> int:
    """Forgive a debt that a second person has approved to forgive; return the paper.

    An order without money brings it to the concentrator. StoreError: it owes less.
    """
    with store.writing() as database:
        before = _snapshot(database, account)
        debt_fen = -_balance_fen(database, account)
        if not 0 < amount_fen <= debt_fen:
            raise StoreError(
                _("account {account} owes {debt} yuan: not more can be written off").format(
                    account=account, debt=yuan(max(0, debt_fen))
                )
            )
        what = approvals.WRITE_OFF
        approvals.use(database, approval, what, account, amount_fen, act.by)
        till = Till(act.by, WRITTEN_OFF)
        order = orders.sell_within(database, account, amount_fen, till, None)
        told = {"order": order, "approval": approval}
        return _enter(database, DEBT, account, act, before, amount_fen, **told)


def _balance_fen(database: Database, account: str) -> int:
    return int(
        database.value("SELECT credit_fen - debit_fen FROM accounts WHERE account = ?", (account,))
        or 0
    )


@at_desk
def undo(store: Store, number: int, act: Act) -> int:
    """Take back the newest paper of its account by another one; return that one's number.

    The money that it moved goes back too. StoreError: it is not the newest, or its order is
    redeemed.
    """
    with store.writing() as database:
        rows = database.rows("SELECT * FROM papers WHERE id = ?", (number,))
        if not rows:
            raise StoreError(_("there is no paper {number}").format(number=number))
        paper = rows[0]
        account = paper["account"]
        newest = database.value(
            "SELECT max(id) FROM papers WHERE account = ? AND undoes = 0 AND id NOT IN "
            "(SELECT undoes FROM papers WHERE account = ?)",
            (account, account),
        )
        if newest != number:
            raise StoreError(
                _("paper {number} of account {account} is not its newest: undo {newest}").format(
                    number=number, account=account, newest=newest or "-"
                )
            )
        told = paper["detail"]
        now = _snapshot(database, account)
        if order := told.get("order", 0):
            _take_money_back(database, account, order, act)
        _put_back(database, account, now, told["before"])
        amount_fen = -paper["amount_fen"]
        return _enter(database, UNDONE, account, act, now, amount_fen, number)


def _take_money_back(database: Database, account: str, order: int, act: Act) -> None:
    what = _("order {order} of account {account}").format(order=order, account=account)
    if order <= orders.told_order(database, account):
        raise StoreError(_("{what} is redeemed: it stays as it is").format(what=what))
    carded = orders.take_back_within(database, account, order, marked("undone"), act.by)
    if carded:
        orders.sell_within(database, account, 0, Till(act.by), None)


def papers(store: Store, account: str) -> list[dict[str, Any]]:
    """Return the papers of an account by number, with what each changed."""
    rows = store.rows("SELECT * FROM papers WHERE account = ? ORDER BY id", (account,))
    for row in rows:
        row["number"] = row.pop("id")
        row["made_at"] = row.pop("at")
    return rows


def meters_of(store: Store, account: str) -> list[dict[str, Any]]:
    """Return the meters that an account had, by time, with the registers at both ends in Wh."""
    rows = store.rows(
        "SELECT meter, multiplier, since_at, until_at, first_wh, last_wh FROM installations "
        "WHERE account = ? ORDER BY id",
        (account,),
    )
    for row in rows:
        for name in ("first_wh", "last_wh"):
            row[name] = json.loads(row[name])
    return rows
