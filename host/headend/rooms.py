"""Rooms of a landlord: tenants move in and out, with a deposit, registers and a final bill.

A room is an account. A tenant begins with a balance of zero and ends with one: what is left is
refunded, what is owed is set off against the deposit, and the rest of the deposit is returned. All
that an account has used is charged by its concentrator, so the registers at both ends are those
that it read, and what a person reads off the meter only confirms them.

Every function that writes takes a `Store` and is one transaction. What was noted stays: a mistake
is mended by the next entry.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from host.headend import audit, commands, drawer, notices, orders, registry, shifts
from host.headend.commands import Given, Target
from host.headend.database import Database
from host.headend.desk import at_desk
from host.headend.errors import StoreError
from host.headend.orders import FROM_DEPOSIT, VACANT, Till
from host.headend.registry import Entry
from host.headend.store import Store
from host.units import DAY_S, kwh, yuan
from host.words import _, marked

TAKEN, SET_OFF, RETURNED = marked("taken"), marked("set off"), marked("returned")
# How far a meter may have moved on since its concentrator has read it, when a tenant moves out.
_MOVED_ON_WH = 1000
_BY_AIR_WITHIN_S = 7 * DAY_S
_COLUMNS = (
    *("tenancy", "account", "name", "phone", "since_at", "opened_by", "first_wh"),
    *("first_credit_fen", "first_debit_fen"),
)
_DEPOSIT_COLUMNS = ("tenancy", "at", "by", "kind", "amount_fen", "reason")


@dataclass(frozen=True, slots=True)
class Tenant:
    """Who moves in, and the deposit that was paid in cash."""

    name: str
    phone: str = ""
    deposit_fen: int = 0


@dataclass(frozen=True, slots=True)
class MovedOut:
    """What becomes of the money of a tenant who moves out, in fen; `order` settles the balance.

    returned_fen   of the deposit, in cash, at once
    refund_fen     of the balance, once the concentrator has taken it off
    set_off_fen    of the deposit, against what the account owed
    """

    tenancy: int
    order: int
    returned_fen: int
    refund_fen: int
    set_off_fen: int


@dataclass(frozen=True, slots=True)
class Books:
    """The books and registers of a room, as its concentrator has told them.

    `readings` 0: it has not read the meter yet.
    """

    concentrator: int
    meter: str
    credit_fen: int
    debit_fen: int
    registers_wh: tuple[int, ...]
    readings: int

    @property
    def balance_fen(self) -> int:
        """Return what is left; below 0: what is owed."""
        return self.credit_fen - self.debit_fen


def _books(database: Database, account: str) -> Books:
    """Return what is known of a room; of one without a concentrator nothing is."""
    rows = database.all(
        "SELECT concentrator, meter, credit_fen, debit_fen, registers_wh, readings FROM accounts "
        "WHERE account = ?",
        (account,),
    )
    if not rows:
        return Books(0, "", 0, 0, (), 0)
    concentrator, meter, credit_fen, debit_fen, told, readings = rows[0]
    registers_wh = tuple(json.loads(told))
    return Books(concentrator, meter, credit_fen, debit_fen, registers_wh, readings)


@at_desk
def name_room(store: Store, account: str, room: str, by: str) -> None:
    """Give an account the name of a room; it is made where there is none."""
    with store.writing() as database:
        database.insert_new("contracts", ("account", "customer"), [(account, account)])
        database.run("UPDATE contracts SET room = ? WHERE account = ?", (room[:32], account))
        audit.note(database, "name room", account, room=room, by=by)


# --- in and out ---------------------------------------------------------------------------------


@at_desk
def move_in(
    store: Store, account: str, tenant: Tenant, registers_wh: Sequence[int], by: str
) -> int:
    """Let a tenant into a room, with a balance of zero; return the tenancy.

    StoreError: somebody lives there, its balance is not zero, or its meter shows something else.
    """
    if not tenant.name.strip() or not by.strip():
        raise StoreError(_("give the name of the tenant, and who lets the tenant in"))
    if tenant.deposit_fen < 0:
        raise StoreError(_("a deposit is 0 or more"))
    now = int(time.time())
    with store.writing() as database:
        if _open_one(database, account) is not None:
            raise StoreError(_("somebody lives in room {account}").format(account=account))
        books = _books(database, account)
        _check_settled(database, account)
        if books.balance_fen:
            raise StoreError(
                _("room {account} has {balance} yuan from before: bring it to zero first").format(
                    account=account, balance=yuan(books.balance_fen)
                )
            )
        _check_registers(books, registers_wh)
        number = int(database.value("SELECT max(tenancy) FROM tenancies") or 0) + 1
        first_wh = json.dumps(list(books.registers_wh if books.readings else registers_wh))
        row = (number, account, tenant.name, tenant.phone, now, by, first_wh)
        books_then = (books.credit_fen, books.debit_fen)
        database.insert_new("tenancies", _COLUMNS, [(*row, *books_then)])
        _register(database, account, number, tenant, books, now)
        notices.forget_choices_within(database, account)
        _move_deposit(database, number, account, by, TAKEN, tenant.deposit_fen)
        if books.concentrator:  # the tiers begin anew as well
            target = Target(books.concentrator, f"account used {account} 0", account)
            commands.give_within(database, target, Given(by, "", now + _BY_AIR_WITHIN_S))
        told = {"tenancy": number, "by": by}
        audit.note(database, "move in", account, tenant.deposit_fen, **told)
    return number


def _register(
    database: Database, account: str, number: int, tenant: Tenant, books: Books, now: int
) -> None:
    """Make the tenant the customer of the room's account."""
    known = database.all("SELECT district FROM contracts WHERE account = ?", (account,))
    district = known[0][0] if known else ""
    meters = database.all(
        "SELECT address, multiplier, ct, pt FROM devices WHERE account = ? ORDER BY address",
        (account,),
    )
    meter, multiplier, ct, pt = meters[0] if meters else (books.meter, 1, "", "")
    entry = Entry(
        account,
        f"{account}-{number}",
        tenant.name,
        tenant.phone,
        district=district,
        meter=meter,
        multiplier=multiplier,
        ct=ct,
        pt=pt,
    )
    registry.write_within(database, entry, now)
    database.run(
        "UPDATE contracts SET opened_at = ?, closed_at = NULL WHERE account = ?", (now, account)
    )


@at_desk
def move_out(store: Store, account: str, registers_wh: Sequence[int], by: str) -> MovedOut:
    """Let a tenant out of a room, and settle balance and deposit; return what becomes of both.

    StoreError: an order is not redeemed, the meter shows something else than its concentrator has
    read, or more is owed than the deposit covers.
    """
    now = int(time.time())
    with store.writing() as database:
        one = _open_one(database, account)
        if one is None:
            raise _nobody(account)
        _check_settled(database, account)
        books = _books(database, account)
        if not books.concentrator:
            raise StoreError(
                _("no concentrator has told of room {account}: its bill is not known").format(
                    account=account
                )
            )
        _check_registers(books, registers_wh)
        done = _settle(database, one, books, by)
        database.run(
            "UPDATE tenancies SET until_at = ?, closed_by = ?, last_wh = ?, last_credit_fen = ?, "
            'last_debit_fen = ?, "order" = ? WHERE tenancy = ?',
            (
                *(now, by, json.dumps(list(books.registers_wh)), books.credit_fen),
                *(books.debit_fen, done.order, done.tenancy),
            ),
        )
        database.run("UPDATE contracts SET closed_at = ? WHERE account = ?", (now, account))
        told = {"tenancy": done.tenancy, "order": done.order, "by": by}
        audit.note(database, "move out", account, -done.returned_fen, **told)
    return done


def _settle(database: Database, one: dict[str, Any], books: Books, by: str) -> MovedOut:
    """Refund the balance, or set a debt off against the deposit, and return the rest of it."""
    account, tenancy = one["account"], one["tenancy"]
    held_fen = deposit_within(database, tenancy)
    debt_fen = max(0, -books.balance_fen)
    if debt_fen > held_fen:
        raise StoreError(
            _(
                "{debt} yuan are owed, the deposit is {held}: sell {rest} yuan first, and have "
                "them redeemed"
            ).format(debt=yuan(debt_fen), held=yuan(held_fen), rest=yuan(debt_fen - held_fen))
        )
    order = _bring_to_zero(database, account, books, by, FROM_DEPOSIT)
    _move_deposit(database, tenancy, account, by, SET_OFF, -debt_fen)
    returned_fen = held_fen - debt_fen
    _move_deposit(database, tenancy, account, by, RETURNED, -returned_fen)
    return MovedOut(tenancy, order, returned_fen, max(0, books.balance_fen), debt_fen)


@at_desk
def clear(store: Store, account: str, by: str) -> int:
    """Bring the balance of an empty room to zero; return the order that does it, 0: it is zero.

    What it has used since its last tenant is the landlord's.
    """
    with store.writing() as database:
        if _open_one(database, account) is not None:
            raise StoreError(_("somebody lives in room {account}").format(account=account))
        _check_settled(database, account)
        return _bring_to_zero(database, account, _books(database, account), by, VACANT)


@at_desk
def pay_back(store: Store, tenancy: int, by: str) -> int:
    """Pay the balance out to a tenant who moved out, once it is taken off; return the fen.

    It comes out of the open drawer of `by`, or out of a pocket. StoreError.
    """
    with store.writing() as database:
        rows = database.all(
            'SELECT account, "order" FROM tenancies WHERE tenancy = ? AND "order" > 0', (tenancy,)
        )
        if not rows:
            raise StoreError(
                _("nothing is paid back for tenancy {tenancy}").format(tenancy=tenancy)
            )
        ((account, order),) = rows
        shift = drawer.open_shift_of(database, by)
        return shifts.pay_out_within(database, account, order, by, shift)


def _bring_to_zero(database: Database, account: str, books: Books, by: str, channel: str) -> int:
    """Note the order that brings a balance to zero, and send it; return it, 0: none is needed."""
    if not books.balance_fen:
        return 0
    till = Till(by, channel)
    if books.balance_fen > 0:
        order = orders.refund_within(database, account, books.balance_fen, till)
    else:
        order = orders.sell_within(database, account, -books.balance_fen, till, None)
    given = Given(by, channel, int(time.time()) + _BY_AIR_WITHIN_S)
    commands.credit_within(database, account, order, books.concentrator, given)
    return order


def _open_one(database: Database, account: str) -> dict[str, Any] | None:
    rows = database.rows(
        "SELECT * FROM tenancies WHERE account = ? AND until_at IS NULL", (account,)
    )
    return rows[0] if rows else None


def _nobody(account: str) -> StoreError:
    return StoreError(_("nobody lives in room {account}").format(account=account))


def _check_settled(database: Database, account: str) -> None:
    """Raise StoreError while an order of a room is on its way."""
    waiting = orders.unredeemed_within(database, account)
    if waiting is not None:
        raise StoreError(
            _("order {order} of account {account} is not redeemed: redeem or void it").format(
                order=waiting.order, account=account
            )
        )


def _check_registers(books: Books, registers_wh: Sequence[int]) -> None:
    """Raise StoreError where a meter shows something else than its concentrator has read."""
    if not books.readings:
        return
    read_wh, seen_wh = sum(books.registers_wh), sum(registers_wh)
    if not 0 <= seen_wh - read_wh <= _MOVED_ON_WH:
        raise StoreError(
            _(
                "the meter shows {seen} kWh, its concentrator has read {read}: look at it again, "
                "or have it read with `dianka headend job ask`"
            ).format(seen=kwh(seen_wh, 2), read=kwh(read_wh, 2))
        )


# --- deposits -----------------------------------------------------------------------------------


def _move_deposit(
    database: Database, tenancy: int, account: str, by: str, kind: str, amount_fen: int
) -> None:
    """Note money of a deposit; what comes or goes in cash is in the drawer as well."""
    if not amount_fen:
        return
    row = (tenancy, int(time.time()), by, kind, amount_fen, "")
    database.insert_new("deposit_moves", _DEPOSIT_COLUMNS, [row])
    shift = drawer.open_shift_of(database, by)
    if shift and kind != SET_OFF:
        drawer.put_within(database, shift, drawer.DEPOSIT, by, amount_fen, account)
    audit.note(database, "deposit", account, amount_fen, tenancy=tenancy, kind=kind, by=by)


def deposit_within(database: Database, tenancy: int) -> int:
    """Return how much of a tenant's deposit is held, in fen."""
    return int(
        database.value(
            "SELECT CAST(coalesce(sum(amount_fen), 0) AS bigint) FROM deposit_moves "
            "WHERE tenancy = ?",
            (tenancy,),
        )
    )


# --- looking ------------------------------------------------------------------------------------

_ROOMS = """
    SELECT every.account, coalesce(contracts.room, '') AS room, tenancies.tenancy,
    tenancies.name, tenancies.phone, tenancies.since_at,
    accounts.credit_fen - accounts.debit_fen AS balance_fen,
    coalesce(accounts.registers_wh, '[]') AS registers_wh, accounts.last_t2000,
    (SELECT CAST(coalesce(sum(amount_fen), 0) AS bigint) FROM deposit_moves
        WHERE deposit_moves.tenancy = tenancies.tenancy) AS deposit_fen,
    (SELECT max(tenancy) FROM tenancies AS ended WHERE ended.account = every.account
        AND ended.until_at IS NOT NULL) AS last_tenancy,
    (SELECT CAST(coalesce(sum(-orders.amount_fen), 0) AS bigint) FROM tenancies AS ended
        JOIN orders ON orders.account = ended.account AND orders."order" = ended."order"
        AND orders.amount_fen < 0 AND orders.voided_at IS NULL
        WHERE ended.account = every.account AND NOT EXISTS (
            SELECT 1 FROM cash_moves WHERE cash_moves.account = orders.account
            AND cash_moves."order" = orders."order"
        )) AS owed_back_fen
    FROM (SELECT account FROM accounts UNION SELECT account FROM contracts) AS every
    LEFT JOIN accounts ON accounts.account = every.account
    LEFT JOIN contracts ON contracts.account = every.account
    LEFT JOIN tenancies ON tenancies.account = every.account AND tenancies.until_at IS NULL
    ORDER BY CASE WHEN coalesce(contracts.room, '') = '' THEN 1 ELSE 0 END,
    coalesce(contracts.room, ''), every.account
"""


def rooms(store: Store) -> list[dict[str, Any]]:
    """Return the rooms with tenant, balance, deposit, register in Wh, and the order on its way.

    `order` 0: none is on its way; `order_fen` is its money, below 0 a refund. `owed_back_fen` is
    still to be paid out to tenants who moved out.
    """
    with store.database.looking():
        found = store.database.rows(_ROOMS)
        for row in found:
            waiting = orders.unredeemed_within(store.database, row["account"])
            row["order"] = waiting.order if waiting else 0
            row["order_fen"] = waiting.amount_fen if waiting else 0
            row["register_wh"] = sum(row.pop("registers_wh"))
    return found


@dataclass(frozen=True, slots=True)
class Bill:
    """The final bill of a tenant; money in fen, energy in Wh, times as UTC seconds."""

    tenancy: int
    account: str
    room: str
    name: str
    since_at: int
    until_at: int
    first_wh: int
    last_wh: int
    paid_fen: int
    charged_fen: int
    deposit_fen: int
    set_off_fen: int
    returned_fen: int
    order: int
    by: str
    audit_digest: str

    @property
    def balance_fen(self) -> int:
        """Return what was left of what was paid; below 0: owed."""
        return self.paid_fen - self.charged_fen


def bill_of(store: Store, tenancy: int) -> Bill:
    """Return the final bill of a tenancy. StoreError: it has not ended."""
    with store.database.looking():
        database = store.database
        rows = database.rows(
            "SELECT tenancies.*, coalesce(contracts.room, '') AS room FROM tenancies "
            "LEFT JOIN contracts ON contracts.account = tenancies.account "
            "WHERE tenancy = ? AND until_at IS NOT NULL",
            (tenancy,),
        )
        if not rows:
            raise StoreError(
                _("there is no tenancy {tenancy} that has ended").format(tenancy=tenancy)
            )
        one = rows[0]
        moved = dict(
            database.all(
                "SELECT kind, CAST(sum(amount_fen) AS bigint) FROM deposit_moves "
                "WHERE tenancy = ? GROUP BY kind",
                (tenancy,),
            )
        )
        return Bill(
            tenancy,
            one["account"],
            one["room"],
            one["name"],
            one["since_at"],
            one["until_at"],
            sum(json.loads(one["first_wh"])),
            sum(json.loads(one["last_wh"])),
            one["last_credit_fen"] - one["first_credit_fen"],
            one["last_debit_fen"] - one["first_debit_fen"],
            moved.get(TAKEN, 0),
            -moved.get(SET_OFF, 0),
            -moved.get(RETURNED, 0),
            one["order"],
            one["closed_by"],
            audit.head(database),
        )
