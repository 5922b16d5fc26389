"""The cashier's day: a drawer is opened, counted, closed and handed over.

Every function that writes takes a `Store` and is one transaction.
"""

import time
from dataclasses import dataclass
from typing import Any

from host.headend import audit, drawer, orders
from host.headend.database import Database
from host.headend.desk import at_desk
from host.headend.errors import StoreError
from host.headend.store import Store
from host.units import yuan
from host.words import _


@dataclass(frozen=True, slots=True)
class Closed:
    """A shift that was closed; `digest`: head of the audit log, to be kept with the count."""

    shift: int
    expected_fen: int
    counted_fen: int
    digest: str

    @property
    def difference_fen(self) -> int:
        """Return what was counted more than the books say; below 0: less."""
        return self.counted_fen - self.expected_fen


@at_desk
def open_shift(store: Store, cashier: str, float_fen: int) -> int:
    """Open a cashier's drawer with the cash in it; return the shift. StoreError: it is open."""
    with store.writing() as database:
        return _open(database, cashier, float_fen)


def _open(database: Database, cashier: str, float_fen: int) -> int:
    if not cashier.strip():
        raise StoreError(_("say whose drawer it is"))
    if drawer.open_shift_of(database, cashier):
        raise StoreError(_("the drawer of {cashier} is open already").format(cashier=cashier))
    columns = ("cashier", "opened_at", "float_fen")
    database.insert_new("shifts", columns, [(cashier, int(time.time()), float_fen)])
    shift = drawer.open_shift_of(database, cashier)
    audit.note(database, "open drawer", "", float_fen, cashier=cashier, shift=shift)
    return shift


def shift_of(database: Database, cashier: str) -> int:
    """Return the number of a cashier's open shift. StoreError: the drawer is not open."""
    shift = drawer.open_shift_of(database, cashier)
    if not shift:
        raise StoreError(
            _("the drawer of {cashier} is not open: `dianka headend drawer open`").format(
                cashier=cashier
            )
        )
    return shift


@at_desk
def close_shift(
    store: Store, cashier: str, counted_fen: int, reason: str = "", handed_to: str = ""
) -> Closed:
    """Close a drawer with what was counted in it; with `handed_to` that one opens with it.

    StoreError: the count differs from the books, and no reason is given.
    """
    with store.writing() as database:
        shift = shift_of(database, cashier)
        expected_fen = drawer.cash_within(database, shift)
        if counted_fen != expected_fen and not reason.strip():
            raise StoreError(
                _(
                    "{counted} yuan were counted, the books say {expected}: count again, or give "
                    "a reason"
                ).format(counted=yuan(counted_fen), expected=yuan(expected_fen))
            )
        why: dict[str, Any] = {"cashier": cashier, "shift": shift, "expected_fen": expected_fen}
        audit.note(database, "close drawer", "", counted_fen, **why, reason=reason)
        digest = audit.head(database)
        database.run(
            "UPDATE shifts SET closed_at = ?, closed_by = ?, expected_fen = ?, counted_fen = ?, "
            "reason = ?, handed_to = ?, audit_digest = ? WHERE id = ?",
            (
                *(int(time.time()), cashier, expected_fen, counted_fen),
                *(reason[:200], handed_to, digest, shift),
            ),
        )
        if handed_to:
            _open(database, handed_to, counted_fen)
    return Closed(shift, expected_fen, counted_fen, digest)


@at_desk
def move_cash(store: Store, cashier: str, amount_fen: int, reason: str) -> int:
    """Put cash into a drawer, or below 0 take it out, as to the bank; return what is in it."""
    if not reason.strip():
        raise StoreError(_("say where the cash goes or comes from"))
    with store.writing() as database:
        shift = shift_of(database, cashier)
        if drawer.cash_within(database, shift) + amount_fen < 0:
            raise _too_little(cashier)
        drawer.put_within(database, shift, drawer.MOVE, cashier, amount_fen, reason=reason)
        audit.note(database, "move cash", "", amount_fen, cashier=cashier, reason=reason)
        return drawer.cash_within(database, shift)


def _too_little(cashier: str) -> StoreError:
    return StoreError(_("the drawer of {cashier} has not so much cash").format(cashier=cashier))


@at_desk
def pay_out(store: Store, account: str, order: int, cashier: str) -> int:
    """Pay out a refund that its concentrator has taken off, once; return the fen. StoreError."""
    with store.writing() as database:
        shift = shift_of(database, cashier)
        return pay_out_within(database, account, order, cashier, shift)


def pay_out_within(database: Database, account: str, order: int, cashier: str, shift: int) -> int:
    """Pay out a refund within a transaction; `shift` 0: out of a pocket, as landlords do."""
    what = _("order {order} of account {account}").format(order=order, account=account)
    amount_fen = database.value(
        'SELECT amount_fen FROM orders WHERE account = ? AND "order" = ? '
        "AND voided_at IS NULL AND amount_fen < 0",
        (account, order),
    )
    if amount_fen is None:
        raise StoreError(_("{what} is no refund").format(what=what))
    if order > orders.told_order(database, account):
        raise StoreError(
            _("{what} is not redeemed: pay out once its concentrator has told").format(what=what)
        )
    if shift and drawer.cash_within(database, shift) + amount_fen < 0:
        raise _too_little(cashier)
    if not drawer.put_within(database, shift, drawer.PAYOUT, cashier, amount_fen, account, order):
        raise StoreError(_("{what} was paid out before").format(what=what))
    audit.note(database, "payout", account, amount_fen, order=order, cashier=cashier)
    return -int(amount_fen)


def shifts(store: Store, since_at: int, until_at: int) -> list[dict[str, Any]]:
    """Return the shifts that were open between two moments, with what the books say is in each."""
    with store.database.looking():
        rows = store.database.rows(
            "SELECT * FROM shifts WHERE opened_at < ? AND (closed_at IS NULL OR closed_at >= ?) "
            "ORDER BY id",
            (until_at, since_at),
        )
        for row in rows:
            row["shift"] = row.pop("id")
            if row["closed_at"] is None:
                row["expected_fen"] = drawer.cash_within(store.database, row["shift"])
    return rows


def moves(store: Store, shift: int) -> list[dict[str, Any]]:
    """Return each move of cash of a shift."""
    rows = store.rows("SELECT * FROM cash_moves WHERE shift = ? ORDER BY id", (shift,))
    for row in rows:
        row["moved_at"] = row.pop("at")
    return rows
