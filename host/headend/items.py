"""What meters told beside their registers, as stored from ITEM records."""

from dataclasses import dataclass
from itertools import groupby

import sqlalchemy as sa

from host.headend import schema
from host.headend.store import Store


@dataclass(frozen=True, slots=True)
class StoredItem:
    """One answer of a meter: integers as the device took them, None where there is no value."""

    account: str
    t2000: int
    identifier: str
    values: list[int | None]


def stored_items(
    store: Store,
    account: str | None = None,
    identifier: str | None = None,
    since_t2000: int = 0,
    newest_only: bool = True,
) -> list[StoredItem]:
    """Return answers by account, identifier and time.

    `newest_only` leaves the last of each account and identifier.
    """
    items = schema.items.c
    query = (
        sa.select(items.account, items.t2000, items.identifier, items["values"])
        .where(items.t2000 >= since_t2000)
        .order_by(items.account, items.identifier, items.t2000, items.seq)
    )
    if account is not None:
        query = query.where(items.account == account)
    if identifier is not None:
        query = query.where(items.identifier == identifier)
    found = [StoredItem(**row) for row in store.rows(query)]
    if not newest_only:
        return found
    return [list(same)[-1] for _, same in groupby(found, _which)]


def _which(item: StoredItem) -> tuple[str, str]:
    return item.account, item.identifier
