"""Planned outages: entered with place and time, told to the households concerned, and closed.

Those concerned are found from what the station knows of a place: the accounts on a district's line
and the districts of a feeder on the days of the outage, those at a concentrator, or all of the
station. An account whose line nobody has told is in the district of its contract.
"""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from host.headend import audit, notices
from host.headend.database import Database
from host.headend.desk import at_desk
from host.headend.errors import StoreError
from host.headend.store import Store, zone_of
from host.units import DAY_S, t2000_of_unix
from host.words import _, marked

DISTRICT, FEEDER = marked("district"), marked("feeder")
CONCENTRATOR, STATION = marked("concentrator"), marked("station")
LEVELS = (DISTRICT, FEEDER, CONCENTRATOR, STATION)
PLANNED, DONE, CALLED_OFF = marked("planned"), marked("done"), marked("called off")
_LONGEST_S = 31 * DAY_S
_AHEAD_S = 366 * DAY_S

# Of each level: the accounts at a place, and how many times the last and the first day of the
# outage are asked for before its name.
_ON_LINES = """
    SELECT DISTINCT contracts.account FROM contracts LEFT JOIN connections AS line
    ON line.account = contracts.account AND line.since_day <= ?
    AND (line.until_day IS NULL OR line.until_day > ?)
    {feeds} WHERE contracts.closed_at IS NULL AND {place} = ? ORDER BY contracts.account
"""
_ON = "coalesce(line.district, contracts.district)"
_FED = f"""
    JOIN feeds ON feeds.district = {_ON} AND feeds.since_day <= ?
    AND (feeds.until_day IS NULL OR feeds.until_day > ?)
"""
_CONCERNED = {
    DISTRICT: (_ON_LINES.format(feeds="", place=_ON), 1),
    FEEDER: (_ON_LINES.format(feeds=_FED, place="feeds.feeder"), 2),
    CONCENTRATOR: (
        "SELECT accounts.account FROM accounts LEFT JOIN contracts "
        "ON contracts.account = accounts.account WHERE contracts.closed_at IS NULL "
        "AND CAST(accounts.concentrator AS varchar(12)) = ? ORDER BY accounts.account",
        0,
    ),
    STATION: (
        "SELECT account FROM contracts WHERE closed_at IS NULL AND ? = '' ORDER BY account",
        0,
    ),
}


@dataclass(frozen=True, slots=True)
class Planned:
    """An outage as it is entered; times are in seconds since 1970. `place` "": the station."""

    level: str
    place: str
    since_at: int
    until_at: int
    reason: str


def concerned(database: Database, wanted: Planned) -> list[str]:
    """Return the accounts at the place of an outage while it lasts, in order."""
    if wanted.level not in _CONCERNED:
        raise StoreError(
            _("an outage is of one of these: {levels}").format(levels=", ".join(LEVELS))
        )
    zone = zone_of(database)
    last, first = (t2000_of_unix(at, zone) // DAY_S for at in (wanted.until_at, wanted.since_at))
    query, times = _CONCERNED[wanted.level]
    found = database.all(query, ((last, first) * times + (wanted.place,)))
    return [account for (account,) in found]


@at_desk
def plan_outage(store: Store, wanted: Planned, by: str) -> int:
    """Enter an outage and tell those concerned; return its number. StoreError."""
    now = int(time.time())
    with store.writing() as database:
        accounts = _checked(database, wanted, now)
        columns = (*asdict(wanted), "entered_at", "entered_by", "state", "told")
        row = (*asdict(wanted).values(), now, by, PLANNED, len(accounts))
        database.insert_new("outages", columns, [row])
        number = int(database.value("SELECT max(id) FROM outages"))
        told = _note(database, number, PLANNED, wanted, by)
        notices.announce(database, notices.OUTAGE, accounts, f"outage {number}", told)
    return number


@at_desk
def change_outage(
    store: Store, number: int, since_at: int, until_at: int, reason: str, by: str
) -> None:
    """Give an outage another time or reason, and tell those concerned again. StoreError."""
    with store.writing() as database:
        one = _open_one(database, number)
        wanted = Planned(one["level"], one["place"], since_at, until_at, reason)
        accounts = _checked(database, wanted, int(time.time()))
        database.run(
            "UPDATE outages SET since_at = ?, until_at = ?, reason = ?, changed = changed + 1, "
            "told = told + ? WHERE id = ?",
            (since_at, until_at, reason, len(accounts), number),
        )
        event = f"outage {number} change {one['changed'] + 1}"
        told = _note(database, number, PLANNED, wanted, by)
        notices.announce(database, notices.OUTAGE, accounts, event, told)


@at_desk
def end_outage(store: Store, number: int, state: str, by: str, said: str) -> None:
    """Close an outage that is done, or call it off and tell those concerned. StoreError."""
    if state not in (DONE, CALLED_OFF):
        raise StoreError(_("an outage ends as done or as called off"))
    with store.writing() as database:
        one = _open_one(database, number)
        database.run(
            "UPDATE outages SET state = ?, ended_at = ?, ended_by = ?, resolution = ? "
            "WHERE id = ?",
            (state, int(time.time()), by, said, number),
        )
        names = ("level", "place", "since_at", "until_at", "reason")
        planned = Planned(*(one[name] for name in names))
        told = _note(database, number, state, planned, by)
        if state == CALLED_OFF:
            accounts = concerned(database, planned)
            notices.announce(database, notices.OUTAGE_OFF, accounts, f"outage {number} off", told)


def _checked(database: Database, wanted: Planned, now: int) -> list[str]:
    """Return the accounts concerned. StoreError: no such place, or no time for an outage."""
    length_s = wanted.until_at - wanted.since_at
    if not 0 < length_s <= _LONGEST_S:
        raise StoreError(
            _("an outage ends after it begins, and within {days} days").format(
                days=_LONGEST_S // DAY_S
            )
        )
    if not now < wanted.until_at < now + _AHEAD_S:
        raise StoreError(_("an outage is entered before its end, and at most a year ahead"))
    accounts = concerned(database, wanted)
    if not accounts:
        raise StoreError(
            _("{level} {place!r} has no household: check its name").format(
                level=_(wanted.level), place=wanted.place
            )
        )
    return accounts


def _open_one(database: Database, number: int) -> dict[str, Any]:
    rows = database.rows("SELECT * FROM outages WHERE id = ? AND ended_at IS NULL", (number,))
    if not rows:
        raise StoreError(
            _(
                "no outage {number} is open: `dianka headend planned-outage list` lists them"
            ).format(number=number)
        )
    return rows[0]


def _note(database: Database, number: int, state: str, one: Planned, by: str) -> dict[str, str]:
    """Write what became of an outage into the audit log; return what a notice of it says."""
    zone = zone_of(database)
    times = {
        name: datetime.fromtimestamp(at, zone).strftime("%Y-%m-%d %H:%M")
        for name, at in (("since", one.since_at), ("until", one.until_at))
    }
    known = {"number": number, "state": state, "level": one.level, "by": by}
    told = {"place": one.place, **times, "reason": one.reason}
    audit.note(database, "outage", **known, **told)
    return told


# --- looking ------------------------------------------------------------------------------------


def outages(store: Store, *, open_only: bool = False) -> list[dict[str, Any]]:
    """Return the outages, those first that begin first; with `open_only` none that has ended."""
    condition = "WHERE ended_at IS NULL" if open_only else ""
    rows = store.rows(f"SELECT * FROM outages {condition} ORDER BY since_at, id")
    for row in rows:
        row["number"] = row.pop("id")
    return rows


def places(store: Store) -> Iterator[tuple[str, str]]:
    """Yield the places that an outage may have, each with its level."""
    for level, query in (
        (DISTRICT, "SELECT DISTINCT district FROM contracts WHERE district <> '' ORDER BY 1"),
        (FEEDER, "SELECT DISTINCT feeder FROM feeds WHERE until_day IS NULL ORDER BY 1"),
        (CONCENTRATOR, "SELECT concentrator FROM concentrators ORDER BY 1"),
    ):
        with store.database.looking():
            found = store.database.all(query)
        for (name,) in found:
            yield level, str(name)
    yield STATION, ""
