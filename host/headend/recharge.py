"""Recharge cards: scratch codes that are printed in batches, sold for cash and redeemed once.

Of a code only its SHA-256 is kept: 20 random digits cannot be found from it. A card counts once it
was sold, and until its batch or itself is blocked; redeeming it sells by air, within the
transaction that marks it as used.
"""

import hashlib
import re
import secrets
import time
from collections.abc import Sequence
from typing import Any

from host.headend import audit, channel_sales, orders, users
from host.headend.channel_sales import Call, channel_within, check_account, once_within
from host.headend.channels import RECHARGE
from host.headend.database import Database
from host.headend.desk import at_desk
from host.headend.errors import Declined, StoreError
from host.headend.orders import Till
from host.headend.store import Store
from host.units import yuan
from host.words import _

SCRATCH_DIGITS = 20
BATCH_LIMIT = 10_000
_CODE = re.compile(f"[0-9]{{{SCRATCH_DIGITS}}}")
_REASON_LIMIT = 200


def new_codes(count: int) -> list[str]:
    """Return random codes, no two of them the same."""
    found: set[str] = set()
    while len(found) < count:
        found.add(f"{secrets.randbelow(10**SCRATCH_DIGITS):0{SCRATCH_DIGITS}d}")
    return list(found)


def hash_of(code: str) -> str:
    """Return what the database has of a code."""
    return hashlib.sha256(f"dianka/recharge/1 {code}".encode()).hexdigest()


def serial_of(batch: int, place: int) -> str:
    """Return the number that is printed on a card."""
    return f"{batch:06d}-{place:05d}"


# --- batches ------------------------------------------------------------------------------------


@at_desk
def make_batch(
    store: Store, amount_fen: int, hashes: Sequence[str], expires_at: int, by: str
) -> int:
    """Note a batch of cards of one value by the hashes of their codes; return its number."""
    if not 0 < len(hashes) <= BATCH_LIMIT:
        raise StoreError(_("a batch has 1 to {most} cards").format(most=BATCH_LIMIT))
    now = int(time.time())
    with store.writing() as database:
        batch = int(database.value("SELECT max(batch) FROM recharge_batches") or 0) + 1
        columns = ("batch", "amount_fen", "count", "made_at", "expires_at")
        row = (batch, amount_fen, len(hashes), now, expires_at)
        database.insert_new("recharge_batches", columns, [row])
        cards = [(serial_of(batch, at), batch, one) for at, one in enumerate(hashes, 1)]
        made = database.insert_new("recharge_cards", ("serial", "batch", "code_hash"), cards)
        if made != len(hashes):
            raise StoreError(_("a code is in another batch already: make the batch anew"))
        audit.note(database, "cards made", "", amount_fen, batch=batch, count=len(hashes), by=by)
    return batch


@at_desk
def block_cards(store: Store, batch: int, serial: str, by: str, why: str) -> int:
    """Block a card, or with serial "" a batch; return how many cards that is. StoreError."""
    now = int(time.time())
    with store.writing() as database:
        if serial:
            count = database.run(
                "UPDATE recharge_cards SET blocked_at = ?, why = ? WHERE serial = ? "
                "AND redeemed_at IS NULL AND blocked_at IS NULL",
                (now, why[:_REASON_LIMIT], serial),
            ).rowcount
        else:
            database.run(
                "UPDATE recharge_batches SET blocked_at = ?, why = ? WHERE batch = ? "
                "AND blocked_at IS NULL",
                (now, why[:_REASON_LIMIT], batch),
            )
            count = database.value(
                "SELECT count(*) FROM recharge_cards WHERE batch = ? AND redeemed_at IS NULL",
                (batch,),
            )
        if not count:
            raise StoreError(
                _("no card of that number can be blocked: it is redeemed, blocked or not there")
            )
        told = {"batch": batch, "serial": serial, "count": int(count)}
        audit.note(database, "cards blocked", **told, by=by, reason=why)
    return int(count)


@at_desk
def sell_cards(store: Store, serials: Sequence[str], to: str) -> int:
    """Note that cards were sold, all or none; return what they are worth. StoreError."""
    with store.writing() as database:
        worth_fen = 0
        for serial in serials:
            one = _card(database, "serial = ?", serial)
            if one is None:
                raise StoreError(_("there is no card {serial}").format(serial=serial))
            _check_usable(one)
            if one["sold_at"] is not None:
                raise StoreError(_("card {serial} was sold before").format(serial=serial))
            worth_fen += int(one["amount_fen"])
            database.run(
                "UPDATE recharge_cards SET sold_at = ?, sold_to = ? WHERE serial = ?",
                (int(time.time()), to, serial),
            )
        audit.note(database, "cards sold", "", worth_fen, serials=list(serials)[:100], to=to)
    return worth_fen


def _card(database: Database, condition: str, value: str) -> dict[str, Any] | None:
    rows = database.rows(
        "SELECT recharge_cards.*, amount_fen, expires_at, "
        "recharge_batches.blocked_at AS batch_blocked_at FROM recharge_cards "
        "JOIN recharge_batches ON recharge_batches.batch = recharge_cards.batch "
        f"WHERE recharge_cards.{condition}",
        (value,),
    )
    return rows[0] if rows else None


def _check_usable(one: dict[str, Any]) -> None:
    """Raise Declined where a card may not be sold or redeemed any more."""
    serial = one["serial"]
    if one["redeemed_at"] is not None:
        raise Declined("card_redeemed", _("card {serial} is used").format(serial=serial))
    if one["blocked_at"] is not None or one["batch_blocked_at"] is not None:
        raise Declined("card_blocked", _("card {serial} is blocked").format(serial=serial))
    if one["expires_at"] and one["expires_at"] < int(time.time()):
        raise Declined(
            "card_expired", _("card {serial} is not valid any more").format(serial=serial)
        )


# --- redeeming ----------------------------------------------------------------------------------


@at_desk
def try_code(store: Store, account: str) -> None:
    """Count an attempt to redeem for an account. Declined: too many codes were wrong."""
    with store.writing() as database:
        users.count_try(database, _place(account))


@at_desk
def redeem_card(store: Store, call: Call, account: str, code: str) -> dict[str, Any]:
    """Redeem a card for an account by air, once; return the answer. Declined, StoreError."""

    def act() -> dict[str, Any]:
        channel_within(database, call.channel, RECHARGE)
        return _redeem(database, account, code)

    with store.writing() as database:
        answer = once_within(database, call, act)
        users.forget_tries(database, _place(account))
    return answer


def _place(account: str) -> str:
    return f"recharge {account}"


def _redeem(database: Database, account: str, code: str) -> dict[str, Any]:
    one = _card(database, "code_hash = ?", hash_of(code)) if _CODE.fullmatch(code) else None
    if one is None or one["sold_at"] is None:
        raise Declined("no_such_card", _("this is no code of a card that was sold"))
    _check_usable(one)
    concentrator = check_account(database, account)
    serial, amount_fen = one["serial"], int(one["amount_fen"])
    till = Till(channel=RECHARGE)
    order = orders.sell_within(database, account, amount_fen, till, f"{RECHARGE}:{serial}")
    channel_sales.send_within(database, account, order, concentrator, RECHARGE)
    database.run(
        'UPDATE recharge_cards SET redeemed_at = ?, account = ?, "order" = ? WHERE serial = ?',
        (int(time.time()), account, order, serial),
    )
    told = {"account": account, "amount_fen": amount_fen, "order": order}
    return {"state": "sold", "reference": serial, **told}


# --- looking ------------------------------------------------------------------------------------


def batches(store: Store) -> list[dict[str, Any]]:
    """Return the batches with how many of their cards are sold, redeemed and blocked."""
    rows = store.rows(
        "SELECT recharge_batches.batch, amount_fen, made_at, expires_at, "
        "recharge_batches.blocked_at, recharge_batches.why, count(serial) AS cards, "
        "count(sold_at) AS sold, count(redeemed_at) AS redeemed, "
        "count(recharge_cards.blocked_at) AS blocked FROM recharge_batches "
        "JOIN recharge_cards ON recharge_cards.batch = recharge_batches.batch "
        "GROUP BY recharge_batches.batch, amount_fen, made_at, expires_at, "
        "recharge_batches.blocked_at, recharge_batches.why ORDER BY recharge_batches.batch"
    )
    for row in rows:
        row["outstanding_fen"] = row["amount_fen"] * (row["sold"] - row["redeemed"])
    return rows


def print_lines(batch: int, amount_fen: int, codes: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return what is printed on each card: its number, its value in yuan, its code in fives."""
    return [
        (
            serial_of(batch, at),
            yuan(amount_fen),
            " ".join(code[begin : begin + 5] for begin in range(0, SCRATCH_DIGITS, 5)),
        )
        for at, code in enumerate(codes, 1)
    ]
