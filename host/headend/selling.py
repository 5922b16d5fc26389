"""Sales of pages: what a person has seen still holds when it is confirmed, or nothing is sold.

A page shows the newest order of an account. Whoever confirms it tells this number, so that a page
that is old, or two cashiers at once, sell nothing unseen. The reference of a form makes each of
its sales count once, however often it is sent.
"""

import time
from dataclasses import dataclass

from host.headend import commands, orders
from host.headend.desk import at_desk
from host.headend.errors import SalesError, StoreError
from host.headend.orders import Till
from host.headend.store import Store
from host.units import DAY_S, yuan
from host.words import _, marked

CARD, AIR = "card", "air"
CHANNELS = (marked("cash"), marked("scan"), marked("POS"))
# A concentrator that was not heard for so long does not take the sale any more.
_BY_AIR_WITHIN_S = 7 * DAY_S


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a form asks for. `seen`: the newest order of the account that its page has shown."""

    account: str
    amount_fen: int
    reference: str
    seen: int
    way: str = CARD


@dataclass(frozen=True, slots=True)
class Done:
    """A sale of a form; `before`: an earlier request of it had sold it."""

    order: int
    before: bool


def newest(store: Store, account: str) -> int:
    """Return the newest order of an account that was sold or reported, 0: there is none."""
    sold = store.value('SELECT max("order") FROM orders WHERE account = ?', (account,)) or 0
    with store.database.looking():
        return max(int(sold), orders.told_order(store.database, account))


@at_desk
def sell_seen(store: Store, wanted: Wanted, till: Till) -> Done:
    """Sell what a form asks for, once. StoreError: the account has bought since it was shown."""
    rows = store.rows("SELECT 1 FROM orders WHERE reference = ?", (wanted.reference,))
    if not rows:
        _check_seen(store, wanted.account, wanted.seen)
    try:
        if wanted.way == AIR:
            expires_at = int(time.time()) + _BY_AIR_WITHIN_S
            told = commands.top_up(
                store, wanted.account, wanted.amount_fen, wanted.reference, till, expires_at
            )
            return Done(told.order, told.before)
        sold = orders.sell_once(store, wanted.account, wanted.amount_fen, wanted.reference, till)
    except SalesError as error:
        raise StoreError("; ".join(error.troubles.values())) from error
    return Done(sold.order, sold.before)


@at_desk
def refund_seen(store: Store, account: str, amount_fen: int, seen: int, till: Till) -> int:
    """Note a refund that a form asks for, once; return its order. StoreError."""
    _check_seen(store, account, seen)
    return orders.refund(store, account, amount_fen, till)


def _check_seen(store: Store, account: str, seen: int) -> None:
    """Raise StoreError where an account has newer orders than a page has shown."""
    now = newest(store, account)
    if now == seen:
        return
    rows = store.rows(
        'SELECT amount_fen, cashier FROM orders WHERE account = ? AND "order" = ? '
        "AND voided_at IS NULL",
        (account, now),
    )
    if not rows:
        text = _("account {account} has changed since this page was shown: look again")
        raise StoreError(text.format(account=account))
    text = _(
        "order {order} over {amount} yuan was made by {cashier} after this page was shown: "
        "nothing more was done, look again"
    )
    raise StoreError(
        text.format(
            order=now, amount=yuan(rows[0]["amount_fen"]), cashier=rows[0]["cashier"] or "-"
        )
    )
