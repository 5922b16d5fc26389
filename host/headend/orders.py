"""Orders: sales, refunds and voided sales, under numbers that devices redeem in sequence.

Every function that writes takes a `Store` and is one transaction. While a head-end serves, they
run in its process (`host.headend.desk`).
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from host.frames.card import AMOUNT_LIMIT_FEN
from host.headend.database import Database
from host.headend.desk import at_desk
from host.headend.errors import SalesError, StoreError
from host.headend.store import Store
from host.units import yuan
from host.words import _

COUNTER = "counter"


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


@dataclass(frozen=True, slots=True)
class SoldOrder:
    """One order to be put on a card; `meter` None: no concentrator has reported the account."""

    account: str
    order: int
    amount_fen: int
    meter: str | None


@dataclass(frozen=True, slots=True)
class Till:
    """The cashier of a sale, and the channel of its payment."""

    cashier: str = ""
    channel: str = COUNTER


_NOBODY = Till()
_LIVE = "voided_at IS NULL"


# --- writing ------------------------------------------------------------------------------------


@at_desk
def sell(store: Store, account: str, amount_fen: int, till: Till = _NOBODY) -> int:
    """Note a sale and return its order number: 1, 2, 3.. for each account. StoreError."""
    _check_amount(amount_fen)
    with store.writing() as database:
        return _sell(database, account, amount_fen, till, None)


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
            if before:
                order = before["order"]
            else:
                order = _sell(database, sale.account, sale.amount_fen, till, sale.reference)
            done.append(Sold(sale, order, before is not None, meters.get(sale.account, "")))
    return done


_REFERRED = "SELECT * FROM orders WHERE reference IS NOT NULL"


@at_desk
def refund(store: Store, account: str, amount_fen: int, till: Till = _NOBODY) -> int:
    """Note a refund of `amount_fen` from the account; return its order number.

    A refund that is not redeemed yet is changed to this amount, 0: given up. StoreError: a
    purchase is not redeemed yet, or the newest balance does not cover it.
    """
    with store.writing() as database:
        balance_fen = database.value(
            "SELECT credit_fen - debit_fen FROM accounts WHERE account = ?", (account,)
        )
        if balance_fen is None:
            raise StoreError(
                _("no concentrator has account {account}: check the number").format(
                    account=account
                )
            )
        waiting = _unredeemed(database, account)
        if waiting and waiting.amount_fen > 0:
            what = _("order {order} of account {account} is not redeemed yet").format(
                order=waiting.order, account=account
            )
            raise StoreError(_("{what}: redeem it first").format(what=what))
        if not (0 if waiting else 1) <= amount_fen <= AMOUNT_LIMIT_FEN:
            raise StoreError(
                _("{amount_fen} fen cannot be refunded, 1 to {amount_limit_fen} can").format(
                    amount_fen=amount_fen, amount_limit_fen=AMOUNT_LIMIT_FEN
                )
            )
        if amount_fen > balance_fen:
            raise StoreError(
                _(
                    "account {account} had {balance_fen} yuan when its concentrator told "
                    "last: refund less"
                ).format(account=account, balance_fen=yuan(balance_fen))
            )
        if not waiting:
            return _sell(database, account, -amount_fen, till, None)
        database.run(
            f'UPDATE orders SET amount_fen = ? WHERE account = ? AND "order" = ? AND {_LIVE}',
            (-amount_fen, account, waiting.order),
        )
        return waiting.order


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


def _sell(
    database: Database, account: str, amount_fen: int, till: Till, reference: str | None
) -> int:
    _check_standing(database, account)
    # The number is above all sold, redeemed or reported ones: after a restore devices know more.
    newest = [
        database.value(f"SELECT max({column}) FROM {table} WHERE account = ?{where}", (account,))
        for table, column, where in _NUMBERED
    ]
    order = max(one or 0 for one in newest) + 1
    columns = ("account", "order", "amount_fen", "sold_at", "cashier", "channel", "reference")
    values = (account, order, amount_fen, int(time.time()), till.cashier, till.channel, reference)
    if database.insert_new("orders", columns, [values]) != 1:
        raise StoreError(
            _("order {order} of account {account} was sold by another till: try again").format(
                order=order, account=account
            )
        )
    return order


_NUMBERED = (
    ("orders", '"order"', f" AND {_LIVE}"),
    ("top_ups", '"order"', ""),
    ("standings", '"order"', ""),
    ("accounts", '"order"', ""),
)


def _check_standing(database: Database, account: str) -> None:
    """Raise StoreError while a restored database does not know the account's newer orders."""
    if database.value("SELECT restored_at FROM station") is None:
        return
    due = database.value("SELECT standing_due FROM accounts WHERE account = ?", (account,))
    if due is None:
        due = database.value("SELECT count(*) FROM concentrators WHERE wanted_seq > 0")
    if due:
        raise StoreError(
            _(
                "this database was restored, and account {account} may have bought since: nothing "
                "is sold to it before its concentrator has told, see `dianka headend "
                "concentrators`"
            ).format(account=account)
        )


@at_desk
def void(store: Store, account: str, order: int, reason: str, by: str) -> int:
    """Take back a sale that no card holds, as if it was never made; return its amount in fen.

    Its number is free again for the next sale. StoreError: it is redeemed, on a card, or not the
    newest.
    """
    with store.writing() as database:
        rows = database.rows(
            f'SELECT * FROM orders WHERE account = ? AND "order" >= ? AND {_LIVE} '
            'ORDER BY "order"',
            (account, order),
        )
        what = _("order {order} of account {account}").format(order=order, account=account)
        if not rows or rows[0]["order"] != order:
            raise StoreError(_("there is no {what}").format(what=what))
        told = database.value('SELECT "order" FROM accounts WHERE account = ?', (account,)) or 0
        if order <= told:
            raise StoreError(
                _("{what} is redeemed: `dianka headend refund` pays it back").format(what=what)
            )
        if len(rows) > 1:
            raise StoreError(
                _("{what} is not the newest: take back order {newest} first").format(
                    what=what, newest=rows[-1]["order"]
                )
            )
        if rows[0]["carded_at"] is not None:
            raise StoreError(
                _(
                    "{what} is on a card: take the card back and give --card-returned, or have it "
                    "redeemed and refund it"
                ).format(what=what)
            )
        database.run(
            "UPDATE orders SET voided_at = ?, voided_by = ?, void_reason = ? WHERE id = ?",
            (int(time.time()), by, reason, rows[0]["id"]),
        )
        return int(rows[0]["amount_fen"])


@at_desk
def set_carded(store: Store, account: str, order: int, is_carded: bool = True) -> None:
    """Note that a card holds an order, or does not any more."""
    with store.writing() as database:
        database.run(
            f'UPDATE orders SET carded_at = ? WHERE account = ? AND "order" = ? AND {_LIVE}',
            (int(time.time()) if is_carded else None, account, order),
        )


# --- looking ------------------------------------------------------------------------------------


def find_order(store: Store, account: str, order: int | None = None) -> SoldOrder | None:
    """Return that order of `account`, or its oldest that is not redeemed; None without one."""
    database = store.database
    with database.looking():
        if order is None:
            sold = _unredeemed(database, account)
        else:
            sold = _first(database, account, '"order" = ?', order)
        meter = database.value("SELECT meter FROM accounts WHERE account = ?", (account,))
    if sold is None:
        return None
    return SoldOrder(account, sold.order, sold.amount_fen, meter or None)


def _unredeemed(database: Database, account: str) -> SoldOrder | None:
    """Return the oldest order of `account` that no device has reported, nor a later one.

    An order below one that a device knows was redeemed, or never will be.
    """
    told = database.value('SELECT "order" FROM accounts WHERE account = ?', (account,))
    return _first(database, account, '"order" > ?', told or 0)


def _first(database: Database, account: str, condition: str, number: int) -> SoldOrder | None:
    rows = database.all(
        f'SELECT "order", amount_fen FROM orders WHERE account = ? AND {condition} AND {_LIVE} '
        'ORDER BY "order" LIMIT 1',
        (account, number),
    )
    for order, amount_fen in rows:
        return SoldOrder(account, order, amount_fen, None)
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
    """Return what each cashier took by each channel from one moment to before another."""
    return store.rows(
        """SELECT cashier, channel,
        CAST(sum(CASE WHEN amount_fen > 0 THEN 1 ELSE 0 END) AS bigint) AS sales,
        CAST(sum(CASE WHEN amount_fen > 0 THEN amount_fen ELSE 0 END) AS bigint) AS sold_fen,
        CAST(sum(CASE WHEN amount_fen < 0 THEN 1 ELSE 0 END) AS bigint) AS refunds,
        CAST(sum(CASE WHEN amount_fen < 0 THEN -amount_fen ELSE 0 END) AS bigint) AS refunded_fen,
        CAST(sum(CASE WHEN voided_at IS NULL THEN 0 ELSE 1 END) AS bigint) AS voids,
        CAST(sum(CASE WHEN voided_at IS NULL THEN 0 ELSE amount_fen END) AS bigint) AS voided_fen
        FROM orders WHERE sold_at >= ? AND sold_at < ? GROUP BY cashier, channel
        ORDER BY cashier, channel""",
        (since_at, until_at),
    )
