"""Values of meters beside their registers, as stored from ITEM records."""

from dataclasses import dataclass
from typing import Any

from host.headend.store import Store


@dataclass(frozen=True, slots=True)
class StoredItem:
    """One answer of a meter: integers as the device decoded them, None where there is no value."""

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
    """Return items by account, identifier and time; `newest_only`: the last of each identifier."""
    conditions = ["t2000 >= ?"]
    values: list[Any] = [since_t2000]
    for name, wanted in (("account", account), ("identifier", identifier)):
        if wanted is not None:
            conditions.append(f"{name} = ?")
            values.append(wanted)
    where = " AND ".join(conditions)
    columns = 'account, t2000, identifier, "values"'
    if newest_only:
        key = "account, identifier"
        newest = f"SELECT {key}, max(t2000) FROM items WHERE {where} GROUP BY {key}"
        where = f"({key}, t2000) IN ({newest})"
    found = store.rows(
        f"SELECT {columns} FROM items WHERE {where} ORDER BY account, identifier, t2000, seq",
        values,
    )
    return [StoredItem(**row) for row in found]
