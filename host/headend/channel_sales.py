"""Sales, cancellations and refunds of channels, each with the answer for whoever repeats it.

A call that changes something has an idempotency key. Its answer is stored in the transaction that
changes the books: a repeat gets the same answer, also behind a crash, and changes nothing. Orders
go to their concentrators by air, under the same numbers as those of cards.
"""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from datetime import time as clock
from typing import Any

from host.headend import audit, channels, commands, orders
from host.headend.channels import CANCEL, REFUND, SELL, Channel, check_right
from host.headend.commands import Given
from host.headend.database import Database
from host.headend.desk import at_desk
from host.headend.errors import Declined
from host.headend.orders import Till
from host.headend.store import Store, zone_of
from host.units import DAY_S, yuan
from host.words import _

# A concentrator that was not heard for so long gets the money by the next sale, or by card.
BY_AIR_WITHIN_S = 7 * DAY_S
_REASON_LIMIT = 200


@dataclass(frozen=True, slots=True)
class Call:
    """A genuine call; `digest` tells it from others under the same idempotency key."""

    channel: str
    key: str
    digest: str


@dataclass(frozen=True, slots=True)
class Asked:
    """What a call is about: an account, an amount and a reference of the channel's own."""

    account: str
    amount_fen: int
    reference: str


def call_of(one: channels.Signed) -> Call:
    """Return a call that changes something. Declined: it has no idempotency key."""
    if not one.key:
        raise Declined(
            "no_idempotency_key", _("a call that changes something has an idempotency key")
        )
    told = "\n".join((one.method, one.path)).encode() + b"\n" + one.body
    return Call(one.channel, one.key, hashlib.sha256(told).hexdigest())


def full_reference(channel: str, reference: str) -> str:
    """Return the reference of an order, in which no channel meets those of another."""
    return f"{channel}:{reference}"


# --- changing the books -------------------------------------------------------------------------


@at_desk
def channel_sale(store: Store, call: Call, asked: Asked) -> dict[str, Any]:
    """Sell by air once under a reference; return the answer. Declined, StoreError."""
    with store.writing() as database:
        return once_within(
            database,
            call,
            lambda: sell_within(database, channel_within(database, call.channel, SELL), asked),
        )


@at_desk
def channel_cancel(store: Store, call: Call, asked: Asked, reason: str) -> dict[str, Any]:
    """Take back a sale that no concentrator has; return the answer. Declined, StoreError.

    A sale that has not arrived is noted, and refused when it comes.
    """

    def act() -> dict[str, Any]:
        channel_within(database, call.channel, CANCEL)
        return _cancel(database, call.channel, asked, reason[:_REASON_LIMIT])

    with store.writing() as database:
        return once_within(database, call, act)


@at_desk
def channel_refund(store: Store, call: Call, asked: Asked) -> dict[str, Any]:
    """Note a refund of what the channel has sold; return the answer. Declined, StoreError."""
    with store.writing() as database:
        return once_within(
            database,
            call,
            lambda: _refund(database, channel_within(database, call.channel, REFUND), asked),
        )


def channel_within(database: Database, name: str, right: str) -> Channel:
    """Return an open channel that has a right, within a transaction. Declined."""
    channel = channels.find_channel(database, name)
    if channel is None:
        raise Declined("channel_stopped", _("this channel was stopped: ask the station"))
    check_right(channel, right)
    return channel


def once_within(
    database: Database, call: Call, act: Callable[[], dict[str, Any]]
) -> dict[str, Any]:
    """Return what a call was answered before, or act, note the answer and return it. Declined."""
    answer = _answered(database, call)
    if answer is None:
        answer = act()
        _note_answer(database, call, answer)
    return answer


def _answered(database: Database, call: Call) -> dict[str, Any] | None:
    """Return what this call was answered before, None: it is new. Declined: it is another one."""
    for digest, answer in database.all(
        "SELECT digest, answer FROM channel_calls WHERE channel = ? AND key = ?",
        (call.channel, call.key),
    ):
        if digest != call.digest:
            raise Declined(
                "key_reused", _("another call had this idempotency key: give each call its own")
            )
        told: dict[str, Any] = json.loads(answer)
        return told
    return None


def _note_answer(database: Database, call: Call, answer: dict[str, Any]) -> None:
    """Write the answer of a call within the transaction of what it has changed."""
    text = json.dumps(answer, ensure_ascii=False, sort_keys=True)
    columns = ("channel", "key", "digest", "at", "answer")
    row = (call.channel, call.key, call.digest, int(time.time()), text)
    database.insert_new("channel_calls", columns, [row])


def sell_within(database: Database, channel: Channel, asked: Asked) -> dict[str, Any]:
    """Sell by air within a transaction; return the answer. Declined, StoreError."""
    reference = full_reference(channel.name, asked.reference)
    before = _order_of(database, reference)
    if before is not None:
        return _sold_before(before, asked)
    if database.value("SELECT count(*) FROM channel_cancels WHERE reference = ?", (reference,)):
        raise Declined(
            "cancelled_before",
            _("the sale {reference} was cancelled before it arrived").format(
                reference=asked.reference
            ),
        )
    concentrator = check_account(database, asked.account)
    channels.check_amount(database, channel, asked.amount_fen)
    till = Till(channel=channel.name)
    order = orders.sell_within(database, asked.account, asked.amount_fen, till, reference)
    send_within(database, asked.account, order, concentrator, channel.name)
    return _answer("sold", asked, order)


def check_account(database: Database, account: str) -> int:
    """Return the concentrator that has an account. Declined: it cannot be sold to by air."""
    rows = database.all(
        "SELECT concentrator, closed_at FROM accounts LEFT JOIN contracts "
        "ON contracts.account = accounts.account WHERE accounts.account = ?",
        (account,),
    )
    if not rows or not rows[0][0]:
        raise Declined(
            "unknown_account",
            _("no concentrator has account {account}: check the number").format(account=account),
        )
    if rows[0][1] is not None:
        raise Declined("account_closed", _("account {account} is closed").format(account=account))
    return int(rows[0][0])


def send_within(database: Database, account: str, order: int, concentrator: int, by: str) -> None:
    """Send an order to its concentrator by air, within a transaction."""
    given = Given(by, "", int(time.time()) + BY_AIR_WITHIN_S)
    commands.credit_within(database, account, order, concentrator, given)


def _answer(state: str, asked: Asked, order: int) -> dict[str, Any]:
    told = {"account": asked.account, "amount_fen": asked.amount_fen}
    return {"state": state, "reference": asked.reference, **told, "order": order}


def _order_of(database: Database, reference: str) -> dict[str, Any] | None:
    rows = database.rows("SELECT * FROM orders WHERE reference = ?", (reference,))
    return rows[0] if rows else None


def _check_same(before: dict[str, Any], asked: Asked, sign: int = 1) -> None:
    """Raise Declined where an order is of another account, or over another amount."""
    if before["account"] != asked.account:
        raise Declined(
            "other_account",
            _("the reference {reference} is of another account").format(reference=asked.reference),
        )
    if before["amount_fen"] != sign * asked.amount_fen:
        raise Declined(
            "other_amount",
            _("the reference {reference} is of {amount} yuan").format(
                reference=asked.reference, amount=yuan(abs(before["amount_fen"]))
            ),
        )


def _sold_before(before: dict[str, Any], asked: Asked) -> dict[str, Any]:
    _check_same(before, asked)
    if before["voided_at"] is not None:
        raise Declined(
            "cancelled",
            _("the sale {reference} was cancelled: sell under another reference").format(
                reference=asked.reference
            ),
        )
    return _answer("sold", asked, before["order"])


def _cancel(database: Database, channel: str, asked: Asked, reason: str) -> dict[str, Any]:
    reference = full_reference(channel, asked.reference)
    one = _order_of(database, reference)
    if one is None:
        columns = ("reference", "account", "amount_fen", "at")
        row = (reference, asked.account, asked.amount_fen, int(time.time()))
        database.insert_new("channel_cancels", columns, [row])
        audit.note(database, "cancel", asked.account, asked.amount_fen, reference=reference)
        return _answer("never sold", asked, 0)
    if one["amount_fen"] < 0:
        raise Declined("not_a_sale", _("this reference is of a refund"))
    _check_same(one, asked)
    if one["voided_at"] is None:
        orders.void_within(database, one["account"], one["order"], reason, Till(channel=channel))
    return _answer("cancelled", asked, one["order"])


def _refund(database: Database, channel: Channel, asked: Asked) -> dict[str, Any]:
    reference = full_reference(channel.name, asked.reference)
    before = _order_of(database, reference)
    if before is not None:
        if before["amount_fen"] > 0:
            raise Declined("reference_taken", _("a sale has this reference: give a new one"))
        _check_same(before, asked, -1)
        return _answer("refund noted", asked, before["order"])
    concentrator = check_account(database, asked.account)
    left_fen = int(
        database.value(
            "SELECT CAST(coalesce(sum(amount_fen), 0) AS bigint) FROM orders "
            "WHERE account = ? AND channel = ? AND voided_at IS NULL",
            (asked.account, channel.name),
        )
    )
    if asked.amount_fen > left_fen:
        raise Declined(
            "not_sold_here",
            _("{channel} sold {amount} yuan to this account: it refunds no more").format(
                channel=channel.name, amount=yuan(max(0, left_fen))
            ),
        )
    waiting = orders.unredeemed_within(database, asked.account)
    if waiting is not None:
        raise Declined(
            "order_waits",
            _("order {order} of account {account} is not redeemed yet").format(
                order=waiting.order, account=asked.account
            ),
        )
    till = Till(channel=channel.name)
    order = orders.refund_within(database, asked.account, asked.amount_fen, till, reference)
    send_within(database, asked.account, order, concentrator, channel.name)
    return _answer("refund noted", asked, order)


# --- looking ------------------------------------------------------------------------------------


def household(store: Store, account: str) -> dict[str, Any]:
    """Return what a channel may know of a household, its name masked. Declined."""
    with store.database.looking():
        database = store.database
        check_account(database, account)
        ((balance_fen, name),) = database.all(
            "SELECT credit_fen - debit_fen, customers.name FROM accounts LEFT JOIN contracts "
            "ON contracts.account = accounts.account LEFT JOIN customers "
            "ON customers.customer = contracts.customer WHERE accounts.account = ?",
            (account,),
        )
    return {"account": account, "name": masked(name or ""), "balance_fen": int(balance_fen)}


def masked(name: str) -> str:
    """Return a name of which the payer can tell that it is the right one, and others cannot."""
    return name[:1] + "*" * min(3, len(name) - 1) if name else ""


def quote(store: Store, channel: Channel, account: str, amount_fen: int) -> dict[str, Any]:
    """Return what a sale would do to a balance. Declined, StoreError: it would be refused."""
    told = household(store, account)
    with store.database.looking():
        channels.check_amount(store.database, channel, amount_fen)
    orders.check_limits(store, account, amount_fen)
    after_fen = told["balance_fen"] + amount_fen
    return {**told, "amount_fen": amount_fen, "balance_after_fen": after_fen}


def sale(store: Store, channel: str, reference: str) -> dict[str, Any]:
    """Return a sale or a refund of a channel and what became of it. Declined: there is none."""
    with store.database.looking():
        database = store.database
        one = _order_of(database, full_reference(channel, reference))
        if one is None:
            raise Declined(
                "no_such_sale",
                _("this channel has sold nothing under {reference}").format(reference=reference),
            )
        zone = zone_of(database)
        newest = orders.told_order(database, one["account"])
        digest = audit.head(database)
    return {**_line(one, channel, zone, newest), "audit_digest": digest}


def _line(one: dict[str, Any], channel: str, zone: Any, newest: int) -> dict[str, Any]:
    state = "redeemed" if one["order"] <= newest else "waiting"
    told = {name: one[name] for name in ("account", "amount_fen", "order")}
    reference = (one["reference"] or "").removeprefix(f"{channel}:")
    sold = datetime.fromtimestamp(one["sold_at"], zone)
    return {
        "reference": reference,
        **told,
        "sold_at": sold.isoformat(),
        "state": state if one["voided_at"] is None else "cancelled",
    }


def statement(store: Store, channel: str, on: date) -> dict[str, Any]:
    """Return what a channel sold, cancelled and refunded on a day, with the sums.

    A sale that was cancelled on a later day stands on both days.
    """
    with store.database.looking():
        database = store.database
        zone = zone_of(database)
        begin_at = int(datetime.combine(on, clock(), zone).timestamp())
        end_at = int(datetime.combine(on + timedelta(1), clock(), zone).timestamp())
        span = (begin_at, end_at)
        rows = database.rows(
            "SELECT * FROM orders WHERE channel = ? AND amount_fen <> 0 AND "
            "((sold_at >= ? AND sold_at < ?) OR (voided_at >= ? AND voided_at < ?)) "
            "ORDER BY sold_at, id",
            (channel, *span, *span),
        )
        newest = {one["account"]: 0 for one in rows}
        for account in newest:
            newest[account] = orders.told_order(database, account)
    sold = [one["amount_fen"] for one in rows if begin_at <= one["sold_at"] < end_at]
    gone = [
        one["amount_fen"]
        for one in rows
        if one["voided_at"] is not None and begin_at <= one["voided_at"] < end_at
    ]
    return {
        "channel": channel,
        "day": on.isoformat(),
        "lines": [_line(one, channel, zone, newest[one["account"]]) for one in rows],
        "sold_fen": sum(fen for fen in sold if fen > 0),
        "refunded_fen": -sum(fen for fen in sold if fen < 0),
        "cancelled_fen": sum(gone),
        "sum_fen": sum(sold) - sum(gone),
    }
