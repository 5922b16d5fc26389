"""What feeds what, and since when: feeders, districts, phases, households and supply meters.

A supply meter measures what a district or a feeder is supplied with. On its concentrator it is a
row like any other, with a price of 0 and a protected supply; here nothing is ever sold to it.
Days are counted from 2000-01-01; `until_day` is the first on which a row does not hold any more.
"""

import time
from typing import Any

from host.headend import audit
from host.headend.database import Database
from host.headend.desk import at_desk
from host.headend.errors import StoreError
from host.headend.store import Store, zone_of
from host.units import DAY_S, t2000_of_unix
from host.words import _, marked

DISTRICT, FEEDER = marked("district"), marked("feeder")
PHASES = ("", "A", "B", "C", "ABC")
# Of a table: the columns that say what a row is about.
_TABLES = {"feeds": "district", "connections": "account", "supply_meters": "account"}


def today(database: Database) -> int:
    """Return the day of the station's clock."""
    return t2000_of_unix(int(time.time()), zone_of(database)) // DAY_S


def _follow(database: Database, table: str, key: str, day: int, row: dict[str, Any]) -> None:
    """End what holds of a key on a day, and have a row hold from then on."""
    column = _TABLES[table]
    newer = database.value(
        f"SELECT max(since_day) FROM {table} WHERE {column} = ? AND since_day > ?", (key, day)
    )
    if newer is not None:
        raise StoreError(
            _("{key}: a later change is known already: give a later day").format(key=key)
        )
    database.run(f"DELETE FROM {table} WHERE {column} = ? AND since_day = ?", (key, day))
    database.run(
        f"UPDATE {table} SET until_day = ? WHERE {column} = ? AND since_day < ? "
        "AND (until_day IS NULL OR until_day > ?)",
        (day, key, day, day),
    )
    columns = (column, "since_day", *row)
    database.insert_new(table, columns, [(key, day, *row.values())])


def connect_within(
    database: Database,
    account: str,
    district: str,
    day: int,
    phase: str = "",
    distance_m: int = 0,
) -> None:
    """Have an account be on a district's line from a day on, within a transaction."""
    database.insert_new("districts", ("district",), [(district,)])
    row = {"district": district, "phase": phase, "distance_m": distance_m}
    _follow(database, "connections", account, day, row)


_KEEP_NEW = """
    INSERT INTO connections (account, district, since_day) SELECT account, district, 0
    FROM staged_entries AS staged WHERE list = ? AND district <> '' AND NOT EXISTS
    (SELECT 1 FROM connections WHERE connections.account = staged.account)
"""
_KEEP_MOVED = """
    SELECT staged.account, staged.district FROM staged_entries AS staged
    JOIN connections ON connections.account = staged.account AND connections.since_day =
    (SELECT max(since_day) FROM connections AS newer WHERE newer.account = staged.account)
    WHERE staged.list = ? AND staged.district <> ''
    AND (connections.district <> staged.district OR connections.until_day IS NOT NULL)
"""


def keep_within(database: Database, name: str) -> None:
    """Note the districts that a list for the register says, where others are known or none."""
    database.run(_KEEP_NEW, (name,))
    moved = database.all(_KEEP_MOVED, (name,))
    for account, district in moved:
        connect_within(database, account, district, today(database))


@at_desk
def connect(
    store: Store, account: str, district: str, day: int, phase: str = "", distance_m: int = 0
) -> None:
    """Have an account be on a district's line from a day on, also by the register. StoreError."""
    with store.writing() as database:
        if not database.value("SELECT 1 FROM contracts WHERE account = ?", (account,)):
            text = _("account {account} is not in the register: `dianka headend register import`")
            raise StoreError(text.format(account=account))
        connect_within(database, account, district, day, phase, distance_m)
        database.run("UPDATE contracts SET district = ? WHERE account = ?", (district, account))
        told = {"district": district, "phase": phase, "day": day}
        audit.note(database, "connection", account, **told)


@at_desk
def feed(store: Store, district: str, feeder: str, day: int) -> None:
    """Have a feeder feed a district from a day on. StoreError."""
    with store.writing() as database:
        database.insert_new("districts", ("district",), [(district,)])
        database.insert_new("feeders", ("feeder",), [(feeder,)])
        _follow(database, "feeds", district, day, {"feeder": feeder})
        audit.note(database, "feed", district=district, feeder=feeder, day=day)


@at_desk
def add_supply(
    store: Store, account: str, level: str, place: str, ratios: tuple[int, int], day: int
) -> None:
    """Have a meter measure what a place is supplied with, from a day on. StoreError."""
    ct, pt = ratios
    with store.writing() as database:
        if database.value("SELECT 1 FROM orders WHERE account = ? LIMIT 1", (account,)):
            text = _("account {account} has bought: it is a household's, no supply meter's")
            raise StoreError(text.format(account=account))
        table, column = ("districts", DISTRICT) if level == DISTRICT else ("feeders", FEEDER)
        database.insert_new(table, (column,), [(place,)])
        row = {"level": level, "place": place, "ct": ct, "pt": pt}
        _follow(database, "supply_meters", account, day, row)
        audit.note(database, "supply", account, level=level, place=place, ct=ct, pt=pt, day=day)


@at_desk
def set_district(
    store: Store, district: str, rated_kva: int | None, target_e4: int | None, technical_e4: int
) -> None:
    """Set what is known of a district; None changes nothing, a technical share of -1 either.

    A technical share of 0 is forgotten: it is estimated again. StoreError.
    """
    with store.writing() as database:
        if not database.value("SELECT 1 FROM districts WHERE district = ?", (district,)):
            raise StoreError(_("there is no district {name}").format(name=district))
        told = {"rated_kva": rated_kva, "target_e4": target_e4}
        if technical_e4 >= 0:
            told["technical_e4"] = technical_e4 or None
        for name, value in told.items():
            if value is not None or (name == "technical_e4" and technical_e4 >= 0):
                database.run(
                    f"UPDATE districts SET {name} = ? WHERE district = ?", (value, district)
                )
        audit.note(database, "district", district=district, **told)


def check_household(database: Database, account: str) -> None:
    """Raise StoreError where an account is that of a supply meter, to which nothing is sold."""
    query = "SELECT place FROM supply_meters WHERE account = ? LIMIT 1"
    place = database.value(query, (account,))
    if place is not None:
        raise StoreError(
            _("account {account} is the supply meter of {place}: nothing is sold to it").format(
                account=account, place=place
            )
        )


def end_within(database: Database, account: str) -> None:
    """Note that an account which was closed is on no line from tomorrow on."""
    database.run(
        "UPDATE connections SET until_day = ? WHERE account = ? AND until_day IS NULL",
        (today(database) + 1, account),
    )


def supplies(store: Store) -> list[dict[str, Any]]:
    """Return the supply meters with their addresses, by place."""
    return store.rows(
        "SELECT supply_meters.level, supply_meters.place, supply_meters.account, "
        "coalesce(accounts.meter, '') AS meter, supply_meters.ct, supply_meters.pt, "
        "supply_meters.since_day, supply_meters.until_day FROM supply_meters "
        "LEFT JOIN accounts ON accounts.account = supply_meters.account "
        "ORDER BY supply_meters.level, supply_meters.place, supply_meters.since_day"
    )
