"""The cash in a cashier's drawer, noted with each sale within its transaction."""

import time

from host.headend.database import Database
from host.words import marked

OFFLINE = marked("offline")
# Channels by which money comes as cash: those of commands, of pages and of leases.
CASH_CHANNELS = ("counter", "cash", OFFLINE)
SALE, VOID, PAYOUT, MOVE, LEASE = "sale", "void", "payout", "move", "lease"
DEPOSIT = "deposit"
_COLUMNS = ("shift", "at", "by", "kind", "amount_fen", "account", "order", "reason")


def open_shift_of(database: Database, cashier: str) -> int:
    """Return the number of a cashier's open shift, 0: there is none."""
    return int(
        database.value("SELECT id FROM shifts WHERE cashier = ? AND closed_at IS NULL", (cashier,))
        or 0
    )


def note_within(
    database: Database, kind: str, cashier: str, channel: str, amount_fen: int, account: str
) -> None:
    """Note the cash of a sale, below 0 of one taken back, in the cashier's open drawer."""
    shift = open_shift_of(database, cashier) if channel in CASH_CHANNELS and amount_fen else 0
    if shift:
        put_within(database, shift, kind, cashier, amount_fen, account)


def put_within(
    database: Database,
    shift: int,
    kind: str,
    by: str,
    amount_fen: int,
    account: str = "",
    order: int = 0,
    reason: str = "",
) -> bool:
    """Write a move of cash; return false where this order was paid out before."""
    row = (shift, int(time.time()), by, kind, amount_fen, account, order, reason[:200])
    return database.insert_new("cash_moves", _COLUMNS, [row]) == 1


def cash_within(database: Database, shift: int) -> int:
    """Return how much cash is in the drawer of a shift by the books, in fen."""
    moved = database.value(
        "SELECT CAST(coalesce(sum(amount_fen), 0) AS bigint) FROM cash_moves WHERE shift = ?",
        (shift,),
    )
    float_fen = database.value("SELECT float_fen FROM shifts WHERE id = ?", (shift,))
    return int(moved) + int(float_fen or 0)
