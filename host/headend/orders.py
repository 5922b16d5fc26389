"""Orders: sales, refunds and voided sales, under numbers that devices redeem in sequence.

Every function that writes takes a `Store` and is one transaction. While a head-end serves, they
run in its process (`host.headend.desk`).
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from datetime import time as clock
from typing import Any
from zoneinfo import ZoneInfo

from host.frames.card import AMOUNT_LIMIT_FEN
from host.headend import approvals, audit, drawer, outcomes, topology
from host.headend.database import Database
from host.headend.desk import at_desk
from host.headend.errors import Declined, SalesError, StoreError
from host.headend.store import Store
from host.units import yuan
from host.words import _, marked

COUNTER = marked("counter")
TAKEN_OVER, WRITTEN_OFF = marked("taken over"), marked("written off")
FROM_DEPOSIT, VACANT = marked("deposit"), marked("vacant room")
# Channels by which no money came: balances of another system, debts that were forgiven or set off
# against a deposit, and what an empty room has used.
MONEYLESS = (TAKEN_OVER, WRITTEN_OFF, FROM_DEPOSIT, VACANT)


@dataclass(frozen=True, slots=True)
class Sale:
    """One row of a list of sales; each has a `reference` of its own from the list's maker."""

    account: str
    amount_fen: int
    reference: str


@dataclass(frozen=True, slots=True)
class Sold:
    """The result of a sale; `meter` "": no concentrator has reported one."""

    sale: Sale
    order: int
    before: bool  # an earlier run had sold it
    meter: str
    supersedes: int = 0  # the first order in the place of which it counts, 0: none


@dataclass(frozen=True, slots=True)
class SoldOrder:
    """One order to be put on a card; `meter` None: no concentrator has reported the account."""

    account: str
    order: int
    amount_fen: int
    meter: str | None
    supersedes: int  # the first order in the place of which it counts, 0: none


@dataclass(frozen=True, slots=True)
class Till:
    """The cashier of a sale, and the channel of its payment."""

    cashier: str = ""
    channel: str = COUNTER


_NOBODY = Till()
_LIVE = "voided_at IS NULL"


# --- writing ------------------------------------------------------------------------------------


@at_desk
def sell(
    store: Store, account: str, amount_fen: int, till: Till = _NOBODY, approval: int = 0
) -> int:
    """Note a sale and return its order number: 1, 2, 3.. for each account. StoreError.

    Above the limits it needs an `approval` of a second person.
    """
    _check_amount(amount_fen)
    with store.writing() as database:
        return sell_within(database, account, amount_fen, till, None, approval)


@at_desk
def sell_once(
    store: Store, account: str, amount_fen: int, reference: str, till: Till = _NOBODY
) -> Sold:
    """Note a sale under a reference, unless it was sold under it before. SalesError.

    The account may be one that no concentrator has told yet.
    """
    _check_amount(amount_fen)
    (sold,) = sell_all(store, [Sale(account, amount_fen, reference)], True, till)
    return sold


@at_desk
def sell_all(
    store: Store, sales: Sequence[Sale], new: bool = False, till: Till = _NOBODY
) -> list[Sold]:
    """Note all sales or none; a sale with a reference that was sold before is not sold again.

    SalesError: an account no concentrator has, unless `new`; a reference that is taken.
    """
    with store.writing() as database:
        meters = dict(database.all("SELECT account, meter FROM accounts"))
        known = {row["reference"]: row for row in database.rows(_REFERRED)}
        reasons = [_refusal(sale, known.get(sale.reference), meters, new) for sale in sales]
        if any(reasons):
            raise SalesError({at: why for at, why in enumerate(reasons) if why})
        done = []
        for sale in sales:
            before = known.get(sale.reference)
            if before is None:
                sell_within(database, sale.account, sale.amount_fen, till, sale.reference)
            (row,) = database.rows(f"{_REFERRED} AND reference = ?", (sale.reference,))
            meter = meters.get(sale.account, "")
            done.append(Sold(sale, row["order"], before is not None, meter, row["supersedes"]))
    return done


_REFERRED = "SELECT * FROM orders WHERE reference IS NOT NULL"


@at_desk
def refund(store: Store, account: str, amount_fen: int, till: Till = _NOBODY) -> int:
    """Note a refund of `amount_fen` from the account; return its order number, 0: none is needed.

    A refund that is not redeemed yet is changed to this amount, 0: given up. The new number
    supersedes the old one, which may be on a card. StoreError: a purchase is not redeemed yet, or
    the newest balance does not cover it.
    """
    with store.writing() as database:
        return refund_within(database, account, amount_fen, till)


def refund_within(
    database: Database, account: str, amount_fen: int, till: Till, reference: str | None = None
) -> int:
    """Note a refund within a transaction; see `refund`."""
    balance_fen = database.value(
        "SELECT credit_fen - debit_fen FROM accounts WHERE account = ?", (account,)
    )
    if balance_fen is None:
        raise Declined(
            "unknown_account",
            _("no concentrator has account {account}: check the number").format(account=account),
        )
    waiting = unredeemed_within(database, account)
    if waiting and waiting.amount_fen > 0:
        what = _("order {order} of account {account} is not redeemed yet").format(
            order=waiting.order, account=account
        )
        raise Declined("order_waits", _("{what}: redeem it first").format(what=what))
    if not (0 if waiting else 1) <= amount_fen <= AMOUNT_LIMIT_FEN:
        raise StoreError(
            _("{amount_fen} fen cannot be refunded, 1 to {amount_limit_fen} can").format(
                amount_fen=amount_fen, amount_limit_fen=AMOUNT_LIMIT_FEN
            )
        )
    if amount_fen > balance_fen:
        raise Declined(
            "over_balance",
            _(
                "account {account} had {balance_fen} yuan when its concentrator told "
                "last: refund less"
            ).format(account=account, balance_fen=yuan(balance_fen)),
        )
    if waiting is not None:
        _check_newest(database, account, waiting.order)
        carded = take_back_within(
            database, account, waiting.order, marked("changed"), till.cashier
        )
        if not amount_fen and not carded:
            return 0
    return sell_within(database, account, -amount_fen, till, reference)


def _check_amount(amount_fen: int) -> None:
    if not 0 < amount_fen <= AMOUNT_LIMIT_FEN:
        raise StoreError(
            _("{amount_fen} fen cannot be sold, 1 to {amount_limit_fen} can").format(
                amount_fen=amount_fen, amount_limit_fen=AMOUNT_LIMIT_FEN
            )
        )


def _refusal(sale: Sale, before: dict[str, Any] | None, meters: dict[str, str], new: bool) -> str:
    """Return why a sale is refused, "" if it is not; `before` was sold under its reference."""
    if before is None:
        if new or sale.account in meters:
            return ""
        return _("account {account!r} is known to no concentrator").format(account=sale.account)
    was = _("reference {reference!r} was order {order} of account {account}").format(
        reference=sale.reference, order=before["order"], account=before["account"]
    )
    if before["account"] != sale.account:
        return was
    if before["amount_fen"] != sale.amount_fen:
        return _("amount differs: {was} for {yuan} yuan").format(
            was=was, yuan=yuan(before["amount_fen"])
        )
    if before["voided_at"] is not None:
        return _("{was}, which was taken back: sell it under another reference").format(was=was)
    return ""


def sell_within(
    database: Database,
    account: str,
    amount_fen: int,
    till: Till,
    reference: str | None,
    approval: int = 0,
) -> int:
    """Note an order within a transaction, a refund below 0; return its number. StoreError."""
    _check_standing(database, account)
    _check_not_leased(database, account)
    topology.check_household(database, account)
    if approval:
        approvals.use(database, approval, approvals.SALE, account, amount_fen, till.cashier)
    elif amount_fen > 0 and till.channel not in MONEYLESS:
        _check_limits(database, account, amount_fen)
    order, supersedes = next_number_within(database, account)
    if supersedes:
        database.run(
            'UPDATE orders SET voided_at = ?, void_reason = ? WHERE account = ? AND "order" >= ? '
            f"AND {_LIVE}",
            (int(time.time()), marked("superseded"), account, supersedes),
        )
    columns = (
        *("account", "order", "amount_fen", "sold_at", "cashier", "channel", "reference"),
        "supersedes",
    )
    values = (
        *(account, order, amount_fen, int(time.time()), till.cashier, till.channel, reference),
        supersedes,
    )
    if database.insert_new("orders", columns, [values]) != 1:
        raise StoreError(
            _("order {order} of account {account} was sold by another till: try again").format(
                order=order, account=account
            )
        )
    if amount_fen > 0:
        drawer.note_within(database, drawer.SALE, till.cashier, till.channel, amount_fen, account)
    action = "sale" if amount_fen > 0 else "refund" if amount_fen else "order"
    told = {"order": order, "channel": till.channel, "cashier": till.cashier}
    audit.note(database, action, account, amount_fen, **told, reference=reference or "")
    return order


_LEASED = """
    SELECT counter FROM leased_orders JOIN leases ON leases.lease = leased_orders.lease
    WHERE leased_orders.account = ? AND leases.state = 'out'
"""
# The numbers of counters that never came back may be on cards.
_LOST = """
    SELECT max(last_order) FROM leased_orders JOIN leases ON leases.lease = leased_orders.lease
    WHERE leased_orders.account = ? AND leases.state = 'lost'
"""


def _check_not_leased(database: Database, account: str) -> None:
    """Raise StoreError while a counter without a network sells to the account."""
    counter = database.value(_LEASED, (account,))
    if counter is not None:
        raise Declined(
            "leased",
            _(
                "account {account} is leased to {counter}: sell there, or bring it back with "
                "`dianka headend lease return`"
            ).format(account=account, counter=counter),
        )


def check_leasable_within(database: Database, account: str) -> None:
    """Raise StoreError where an account cannot be leased now."""
    _check_standing(database, account)
    _check_not_leased(database, account)
    waiting = unredeemed_within(database, account)
    if waiting is not None and not waiting.amount_fen:
        raise StoreError(
            _(
                "order {order} of account {account} takes the place of a card that was taken "
                "back: it has to be redeemed before"
            ).format(order=waiting.order, account=account)
        )


def next_number_within(database: Database, account: str) -> tuple[int, int]:
    """Return the number of the next order, and the first order that it supersedes, 0: none.

    The number is above all that were sold, taken back, redeemed or reported: after a restore
    devices know more. Orders that were taken back are superseded, as are those of no money.
    """
    told = told_order(database, account)
    newest = database.value('SELECT max("order") FROM orders WHERE account = ?', (account,))
    paid = database.value(
        f'SELECT max("order") FROM orders WHERE account = ? AND amount_fen <> 0 AND {_LIVE}',
        (account,),
    )
    lost = database.value(_LOST, (account,))
    order, first = max(told, newest or 0, lost or 0) + 1, max(told, paid or 0) + 1
    return order, first if first < order else 0


def told_order(database: Database, account: str) -> int:
    """Return the newest order of an account that its concentrator has reported."""
    return max(
        database.value(f'SELECT max("order") FROM {table} WHERE account = ?', (account,)) or 0
        for table in ("top_ups", "standings", "accounts")
    )


@dataclass(frozen=True, slots=True)
class Limits:
    """What the station sells without a question, in one sale, and to one account in a day."""

    question_fen: int
    limit_fen: int
    day_limit_fen: int


def limits(store: Store) -> Limits:
    """Return the station's limits."""
    with store.database.looking():
        return _limits(store.database)


@at_desk
def set_limits(store: Store, wanted: Limits) -> None:
    """Set the station's limits; StoreError: they contradict each other."""
    if not 0 < wanted.limit_fen <= min(wanted.day_limit_fen, AMOUNT_LIMIT_FEN):
        raise StoreError(
            _(
                "one sale must be above 0, at most {most} yuan and at most what a day may be"
            ).format(most=yuan(AMOUNT_LIMIT_FEN))
        )
    with store.writing() as database:
        database.run(
            "UPDATE station SET question_fen = ?, limit_fen = ?, day_limit_fen = ?",
            (wanted.question_fen, wanted.limit_fen, wanted.day_limit_fen),
        )
        audit.note(database, "limits", **asdict(wanted))


def _limits(database: Database) -> Limits:
    ((question_fen, limit_fen, day_limit_fen),) = database.all(
        "SELECT question_fen, limit_fen, day_limit_fen FROM station"
    )
    return Limits(question_fen, limit_fen, day_limit_fen)


def check_limits(store: Store, account: str, amount_fen: int) -> None:
    """Raise StoreError above the station's limits of a sale, and of a day of an account."""
    with store.database.looking():
        _check_limits(store.database, account, amount_fen)


def _check_limits(database: Database, account: str, amount_fen: int) -> None:
    held = _limits(database)
    if amount_fen > held.limit_fen:
        raise Declined(
            "over_station_limit",
            _(
                "{amount} yuan is more than the {limit} that are sold at once: ask a second "
                "person with `dianka headend approval ask`"
            ).format(amount=yuan(amount_fen), limit=yuan(held.limit_fen)),
        )
    zone = ZoneInfo(database.value("SELECT zone FROM station"))
    begins = datetime.combine(datetime.now(zone).date(), clock(), zone)
    sold_fen = database.value(
        "SELECT CAST(coalesce(sum(amount_fen), 0) AS bigint) FROM orders WHERE account = ? "
        f"AND sold_at >= ? AND amount_fen > 0 AND {_LIVE}",
        (account, int(begins.timestamp())),
    )
    if sold_fen + amount_fen > held.day_limit_fen:
        raise Declined(
            "over_account_day_limit",
            _(
                "account {account} bought {sold} yuan today, and {limit} are sold to one account "
                "in a day: ask a second person with `dianka headend approval ask`"
            ).format(account=account, sold=yuan(sold_fen), limit=yuan(held.day_limit_fen)),
        )


def _check_standing(database: Database, account: str) -> None:
    """Raise StoreError while a restored database does not know the account's newer orders."""
    if database.value("SELECT restored_at FROM station") is None:
        return
    due = database.value("SELECT standing_due FROM accounts WHERE account = ?", (account,))
    if due is None:
        due = database.value("SELECT count(*) FROM concentrators WHERE wanted_seq > 0")
    if due:
        raise Declined(
            "standing_unknown",
            _(
                "this database was restored, and account {account} may have bought since: nothing "
                "is sold to it before its concentrator has told, see `dianka headend "
                "concentrators`"
            ).format(account=account),
        )


@dataclass(frozen=True, slots=True)
class Voided:
    """A sale that was taken back; `superseded_by`: the order that must be redeemed, 0: none."""

    amount_fen: int
    superseded_by: int


@at_desk
def void(
    store: Store,
    account: str,
    order: int,
    reason: str,
    till: Till = _NOBODY,
    card_returned: bool = False,
) -> Voided:
    """Take back a sale that is not redeemed.

    Its number is not used again: the next order supersedes it. Where a card holds it, that order
    is made at once, over no money, and has to reach the concentrator; a sale before that takes
    its place. StoreError: it is redeemed, or not the newest.
    """
    with store.writing() as database:
        if card_returned:
            _set_carded(database, account, order, None)
        return void_within(database, account, order, reason, till)


def void_within(database: Database, account: str, order: int, reason: str, till: Till) -> Voided:
    """Take back a sale within a transaction; see `void`."""
    what = _("order {order} of account {account}").format(order=order, account=account)
    amount_fen = database.value(
        f'SELECT amount_fen FROM orders WHERE account = ? AND "order" = ? AND {_LIVE}',
        (account, order),
    )
    if amount_fen is None:
        raise StoreError(_("there is no {what}").format(what=what))
    if order <= told_order(database, account):
        raise Declined(
            "redeemed",
            _("{what} is redeemed: `dianka headend refund` pays it back").format(what=what),
        )
    _check_newest(database, account, order)
    if not amount_fen:
        raise StoreError(_("{what} has no money to take back").format(what=what))
    carded = take_back_within(database, account, order, reason, till.cashier)
    superseded_by = sell_within(database, account, 0, till, None) if carded else 0
    return Voided(int(amount_fen), superseded_by)


def _check_newest(database: Database, account: str, order: int) -> None:
    """Raise StoreError where a later order is sold, whose card waits for this one."""
    newest = _first(database, account, 'amount_fen <> 0 AND "order" > ?', order, "DESC")
    if newest is not None:
        what = _("order {order} of account {account}").format(order=order, account=account)
        raise Declined(
            "not_newest",
            _("{what} is not the newest: take back order {newest} first").format(
                what=what, newest=newest.order
            ),
        )


def take_back_within(database: Database, account: str, order: int, reason: str, by: str) -> bool:
    """Void an order; return whether it, or one that it supersedes, may be on a card.

    The command that brings it by air is stopped. Declined: it was sent already.
    """
    _check_not_leased(database, account)
    if not outcomes.recall_within(database, account, order):
        raise Declined(
            "on_its_way",
            _("the money is on its way to the household: refund it once it is there"),
        )
    ((amount_fen, channel),) = database.all(
        f'SELECT amount_fen, channel FROM orders WHERE account = ? AND "order" = ? AND {_LIVE}',
        (account, order),
    )
    if amount_fen > 0:
        drawer.note_within(database, drawer.VOID, by, channel, -amount_fen, account)
    database.run(
        "UPDATE orders SET voided_at = ?, voided_by = ?, void_reason = ? "
        f'WHERE account = ? AND "order" = ? AND {_LIVE}',
        (int(time.time()), by, reason, account, order),
    )
    audit.note(database, "void", account, -amount_fen, order=order, reason=reason, cashier=by)
    waiting = database.value(
        'SELECT count(*) FROM orders WHERE account = ? AND "order" > ? AND carded_at IS NOT NULL',
        (account, told_order(database, account)),
    )
    return bool(waiting)


@at_desk
def set_carded(store: Store, account: str, order: int, is_carded: bool = True) -> None:
    """Note that a card holds an order, or does not any more."""
    with store.writing() as database:
        _set_carded(database, account, order, int(time.time()) if is_carded else None)


def _set_carded(database: Database, account: str, order: int, at: int | None) -> None:
    audit.note(database, "card", account, order=order, on_card=at is not None)
    database.run(
        f'UPDATE orders SET carded_at = ? WHERE account = ? AND "order" = ? AND {_LIVE}',
        (at, account, order),
    )


# --- looking ------------------------------------------------------------------------------------


def find_order(store: Store, account: str, order: int | None = None) -> SoldOrder | None:
    """Return that order of `account`, or its oldest that is not redeemed; None without one."""
    with store.database.looking():
        if order is None:
            return unredeemed_within(store.database, account)
        return _first(store.database, account, '"order" = ?', order)


def newest_order(store: Store, account: str) -> SoldOrder | None:
    """Return the newest order of `account` that was not taken back; None without one."""
    with store.database.looking():
        return _first(store.database, account, '"order" > ?', 0, "DESC")


def unredeemed_within(database: Database, account: str) -> SoldOrder | None:
    """Return the oldest order of `account` that no device has reported, nor a later one.

    An order below one that a device knows was redeemed, or never will be.
    """
    return _first(database, account, '"order" > ?', told_order(database, account))


def _first(
    database: Database, account: str, condition: str, number: int, turn: str = "ASC"
) -> SoldOrder | None:
    rows = database.all(
        f'SELECT "order", amount_fen, supersedes FROM orders WHERE account = ? AND {condition} '
        f'AND {_LIVE} ORDER BY "order" {turn} LIMIT 1',
        (account, number),
    )
    for order, amount_fen, supersedes in rows:
        meter = database.value("SELECT meter FROM accounts WHERE account = ?", (account,))
        return SoldOrder(account, order, amount_fen, meter or None, supersedes)
    return None


def orders_of(store: Store, account: str) -> list[dict[str, Any]]:
    """Return all orders of an account with the state of each, voided ones too."""
    rows = store.rows(
        """SELECT orders.*, top_ups.t2000 AS redeemed_t2000, top_ups.amount_fen AS redeemed_fen
        FROM orders LEFT JOIN top_ups ON top_ups.account = orders.account
        AND top_ups."order" = orders."order" AND orders.voided_at IS NULL
        WHERE orders.account = ? ORDER BY orders."order", orders.id""",
        (account,),
    )
    for row in rows:
        del row["id"]
    return rows


def day_of(store: Store, since_at: int, until_at: int) -> list[dict[str, Any]]:
    """Return what each cashier took by each channel from one moment to before another.

    What was taken back counts on the day, and for the cashier, of the taking back. A refund that
    was changed counts with its last amount.
    """
    span = (since_at, until_at)
    return store.rows(_DAY, (*span, *span))


_DAY = """
    SELECT cashier, channel,
    CAST(sum(CASE WHEN fen > 0 THEN 1 - gone ELSE 0 END) AS bigint) AS sales,
    CAST(sum(CASE WHEN fen > 0 AND gone = 0 THEN fen ELSE 0 END) AS bigint) AS sold_fen,
    CAST(sum(CASE WHEN fen < 0 THEN 1 - 2 * gone ELSE 0 END) AS bigint) AS refunds,
    CAST(sum(CASE WHEN fen < 0 THEN -fen * (1 - 2 * gone) ELSE 0 END) AS bigint) AS refunded_fen,
    CAST(sum(CASE WHEN fen > 0 THEN gone ELSE 0 END) AS bigint) AS voids,
    CAST(sum(CASE WHEN fen > 0 THEN fen * gone ELSE 0 END) AS bigint) AS voided_fen,
    CAST(sum(CASE WHEN fen > 0 THEN fen * (1 - 2 * gone) ELSE 0 END) AS bigint) AS taken_fen
    FROM (
        SELECT cashier, channel, amount_fen AS fen, 0 AS gone FROM orders
        WHERE sold_at >= ? AND sold_at < ? AND amount_fen <> 0
        UNION ALL
        SELECT CASE WHEN voided_by = '' THEN cashier ELSE voided_by END, channel, amount_fen, 1
        FROM orders WHERE voided_at >= ? AND voided_at < ? AND amount_fen <> 0
    ) AS moves GROUP BY cashier, channel ORDER BY cashier, channel
"""


def sales_of(store: Store, since_at: int, until_at: int) -> list[dict[str, Any]]:
    """Return each order that was sold, or taken back, from one moment to before another."""
    span = (since_at, until_at)
    rows = store.rows(
        "SELECT * FROM orders WHERE (sold_at >= ? AND sold_at < ?) "
        "OR (voided_at >= ? AND voided_at < ?) ORDER BY sold_at, id",
        (*span, *span),
    )
    for row in rows:
        del row["id"]
    return rows
