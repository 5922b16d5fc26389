"""Orders sold, as the counter needs them to write a card."""

from dataclasses import dataclass

import sqlalchemy as sa

from host.headend import schema
from host.headend.store import Store


@dataclass(frozen=True, slots=True)
class SoldOrder:
    """One order to be put on a card; `meter` None: no concentrator has reported the account."""

    account: str
    order: int
    amount_fen: int
    meter: str | None


@dataclass(frozen=True, slots=True)
class Standing:
    """What a concentrator has to know of an account before it takes cards again."""

    account: str
    order: int
    credit_fen: int


def standings(store: Store, concentrator: int) -> list[Standing]:
    """The newest order redeemed and all the money bought, for each account of a concentrator."""
    accounts, top_ups = schema.accounts.c, schema.top_ups.c
    newest = (
        sa.select(top_ups.account, sa.func.max(top_ups.order).label("order"))
        .group_by(top_ups.account)
        .subquery()
    )
    query = (
        sa.select(accounts.account, accounts.credit_fen, newest.c.order)
        .join(newest, newest.c.account == accounts.account)
        .where(accounts.concentrator == concentrator)
        .order_by(accounts.account)
    )
    return [Standing(**row) for row in store.rows(query)]


def find_order(store: Store, account: str, order: int | None = None) -> SoldOrder | None:
    """That order of `account`, or its oldest that is not redeemed; None where there is none."""
    orders, top_ups, accounts = schema.orders.c, schema.top_ups.c, schema.accounts.c
    redeemed = sa.select(top_ups.order).where(top_ups.account == account)
    wanted = orders.order.not_in(redeemed) if order is None else orders.order == order
    query = sa.select(orders.order, orders.amount_fen)
    query = query.where(orders.account == account, wanted).order_by(orders.order).limit(1)
    sold = store.rows(query)
    if not sold:
        return None
    homes = store.rows(sa.select(accounts.meter).where(accounts.account == account))
    meter = homes[0]["meter"] if homes else None
    return SoldOrder(account, sold[0]["order"], sold[0]["amount_fen"], meter or None)
