"""Orders sold, as the counter needs them to write a card."""

from dataclasses import dataclass

import sqlalchemy as sa

from host.headend import schema
from host.headend.store import Store, not_redeemed


@dataclass(frozen=True, slots=True)
class SoldOrder:
    """One order to be put on a card; `meter` None: no concentrator has reported the account."""

    account: str
    order: int
    amount_fen: int
    meter: str | None


def find_order(store: Store, account: str, order: int | None = None) -> SoldOrder | None:
    """Return that order of `account`, or the oldest that is not redeemed; None: there is none."""
    orders, accounts = schema.orders.c, schema.accounts.c
    wanted = not_redeemed(account) if order is None else orders.order == order
    query = sa.select(orders.order, orders.amount_fen)
    query = query.where(orders.account == account, wanted).order_by(orders.order).limit(1)
    sold = store.rows(query)
    if not sold:
        return None
    homes = store.rows(sa.select(accounts.meter).where(accounts.account == account))
    meter = homes[0]["meter"] if homes else None
    return SoldOrder(account, sold[0]["order"], sold[0]["amount_fen"], meter or None)
