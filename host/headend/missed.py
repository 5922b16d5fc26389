"""Find the days of which no freeze of a meter is here, and have them read from the meter.

A concentrator reads the daily freezes of the last seven days by itself. What it missed for longer,
as behind an outage of its own, a meter still has for 62 days: `freezes ACCOUNT DATE` has the
concentrator record all that the meter has from that day on. They arrive as FREEZE records, so a
row of `freezes` names the record that it is from. A freeze from before the last reading charges
nothing, and one that is here already is not stored a second time.

A meter is asked once a day, and for the same day at most three times. A day that it did not have
then can be asked for from its load profile, which some meters keep for longer: the register of
that moment arrives as the answer of a command, is kept in `items`, and no money is made of it.
"""

from collections.abc import Iterator
from typing import Any

from host.headend.commands import Target
from host.headend.outcomes import UNDER_WAY
from host.headend.places import question_marks
from host.headend.samples import PROFILE
from host.headend.store import Store
from host.units import DAY_S, t2000_of_unix, to_datetime

KEPT_DAYS = 61  # before today, of which the freeze is the newest of 62
COMMAND = "freezes"
_ASKS = 3
_OF_1997 = 1
_CHUNK = 500
_PROFILE_DI = "01000406"  # 06040001 as on the wire
_PROFILES = f"line ask % 11 {_PROFILE_DI}%"


def missed(
    store: Store, days: int, limit: int, now: int, *, profile: bool = False
) -> list[Target]:
    """Return the commands that fetch what is missing of the last days, for `limit` accounts.

    An account is left out for a day, and while its command is under way. With `profile` a day that
    the meter did not have is asked for from its load profile.
    """
    today = t2000_of_unix(now, store.zone()) // DAY_S
    first = today - min(days, KEPT_DAYS)
    busy = {
        row["account"]
        for row in store.rows(
            f"SELECT account FROM commands WHERE (text LIKE '{COMMAND} %' OR text LIKE ?) "
            f"AND (given_at > ? OR state IN {UNDER_WAY})",
            (_PROFILES, now - DAY_S),
        )
    }
    asked = {
        row["text"]: row["times"]
        for row in store.rows(
            "SELECT text, count(*) AS times FROM commands "
            f"WHERE text LIKE '{COMMAND} %' OR text LIKE ? GROUP BY text",
            (_PROFILES,),
        )
    }
    found: list[Target] = []
    for row, lacks in _lacking(store, first, today):
        account, meter = row["account"], row["address"]
        if len(found) == limit:
            break
        if account in busy:
            continue
        begins = _first_day(store, meter, first, today)
        for day in lacks:
            text = f"{COMMAND} {account} {_date(day)}"
            if asked.get(text, 0) >= _ASKS and profile and not _has_profile(store, account, day):
                text = _of_profile(row["line"], meter, day)
            if day >= begins and asked.get(text, 0) < _ASKS:
                found.append(Target(row["concentrator"], text, account))
                break
    return found


def _lacking(store: Store, first: int, today: int) -> Iterator[tuple[dict[str, Any], list[int]]]:
    """Yield the meters of which some days are not here, each with these days."""
    meters = store.rows(
        "SELECT concentrator, account, address, line FROM meters "
        "WHERE active = 1 AND standard <> ? ORDER BY concentrator, account",
        (_OF_1997,),
    )
    days = range(first, today)
    for at in range(0, len(meters), _CHUNK):
        chunk = meters[at : at + _CHUNK]
        names = [row["address"] for row in chunk]
        have = {
            (row["meter"], row["day"])
            for row in store.rows(
                f"SELECT meter, day FROM freezes WHERE day IN ({question_marks(days)}) "
                f"AND meter IN ({question_marks(names)})",
                (*days, *names),
            )
        }
        for row in chunk:
            lacks = [day for day in days if (row["address"], day) not in have]
            if lacks:
                yield row, lacks


def _first_day(store: Store, meter: str, first: int, today: int) -> int:
    """Return the day from which a meter was read or its freezes are here, `today`: none."""
    for day in range(first, today):
        for table in ("readings", "freezes"):
            if store.value(
                f"SELECT 1 FROM {table} WHERE day = ? AND meter = ? LIMIT 1", (day, meter)
            ):
                return day
    return today


def _of_profile(line: int, meter: str, day: int) -> str:
    """Return the question for one record of the load profile's energy, of a midnight.

    Spec: DL/T 645-2007, 06040001: count, then minute, hour, day, month and year.
    """
    midnight = to_datetime(day * DAY_S)
    return f"line ask {line} {meter} 11 {_PROFILE_DI}010000{midnight:%d%m%y}"


def _has_profile(store: Store, account: str, day: int) -> bool:
    """Return whether the load profile has told of a midnight."""
    query = "SELECT 1 FROM items WHERE account = ? AND identifier = ? AND t2000 = ?"
    return bool(store.value(query, (account, PROFILE, day * DAY_S)))


def _date(day: int) -> str:
    return f"{to_datetime(day * DAY_S):%Y-%m-%d}"
