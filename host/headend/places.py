"""Where meters are: account, concentrator and district of each one that is registered."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from host.headend.store import Store
from host.units import DAY_S, to_datetime

_OF_1997 = 1  # a meter's standard
# Of a query over accounts: those of households. Supply meters are nobody's.
HOUSEHOLDS = "account NOT IN (SELECT account FROM supply_meters)"
OF_DISTRICT = "SELECT account FROM contracts WHERE district = ? AND closed_at IS NULL"
_METERS = """
    SELECT meters.account, meters.address, meters.concentrator, meters.line, meters.standard,
    coalesce(contracts.district, '') AS district, coalesce(connections.phase, '') AS phase,
    coalesce(connections.distance_m, 0) AS distance_m
    FROM accounts JOIN meters ON meters.concentrator = accounts.concentrator
    AND meters.account = accounts.account
    LEFT JOIN contracts ON contracts.account = meters.account AND contracts.closed_at IS NULL
    LEFT JOIN connections ON connections.account = meters.account AND connections.until_day IS NULL
    WHERE meters.active = 1{where} ORDER BY meters.concentrator, meters.account
"""


@dataclass(frozen=True, slots=True)
class MeterPlace:
    """A registered meter; `district` "": its account is in none.

    phase       A, B, C or ABC, "": not known
    distance_m  along the line from the transformer, 0: not known
    """

    account: str
    meter: str
    concentrator: int
    line: int
    is_1997: bool
    district: str
    phase: str = ""
    distance_m: int = 0


def meters_of(
    store: Store, district: str | None = None, account: str | None = None
) -> list[MeterPlace]:
    """Return the registered meters of a district or an account, None: of the whole station."""
    where, values = "", []
    if district is not None:
        where += f" AND accounts.account IN ({OF_DISTRICT})"
        values.append(district)
    if account is not None:
        where += " AND accounts.account = ?"
        values.append(account)
    with store.database.looking():
        rows = store.database.all(_METERS.format(where=where), values)
    return [
        MeterPlace(account, meter, concentrator, line, standard == _OF_1997, *place)
        for account, meter, concentrator, line, standard, *place in rows
    ]


def names_of_districts(store: Store) -> dict[str, str]:
    """Return the names of districts, by their numbers."""
    rows = store.rows("SELECT district, name FROM districts")
    return {row["district"]: row["name"] or row["district"] for row in rows}


def question_marks(values: Sequence[Any]) -> str:
    """Return the marks of a statement for some values."""
    return ", ".join("?" * len(values))


def date_of(day: int) -> str:
    """Return a day, counted since 2000, as YYYY-MM-DD."""
    return f"{to_datetime(day * DAY_S):%Y-%m-%d}"
