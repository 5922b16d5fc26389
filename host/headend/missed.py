"""Find the days of which no freeze of a meter is here, and have them read from the meter.

A concentrator reads the daily freezes of the last seven days by itself. What it missed for longer,
as behind an outage of its own, a meter still has for 62 days: `freezes ACCOUNT DATE` has the
concentrator record all that the meter has from that day on. They arrive as FREEZE records, so a
row of `freezes` names the record that it is from. A freeze from before the last reading charges
nothing, and one that is here already is not stored a second time.

A meter is asked once a day, and for the same day at most three times.
"""

from host.headend.commands import Target
from host.headend.outcomes import UNDER_WAY
from host.headend.store import Store
from host.units import DAY_S, t2000_of_unix, to_datetime

KEPT_DAYS = 61  # before today, of which the freeze is the newest of 62
COMMAND = "freezes"
_ASKS = 3
_OF_1997 = 1


def missed(store: Store, days: int, limit: int, now: int) -> list[Target]:
    """Return the commands that fetch what is missing of the last days, for `limit` accounts.

    An account is left out for a day, and while its command is under way.
    """
    today = t2000_of_unix(now, store.zone()) // DAY_S
    first = today - min(days, KEPT_DAYS)
    have = {
        (row["meter"], row["day"])
        for row in store.rows(
            "SELECT meter, day FROM freezes WHERE day >= ? AND day < ?", (first, today)
        )
    }
    busy = {
        row["account"]
        for row in store.rows(
            f"SELECT account FROM commands WHERE text LIKE '{COMMAND} %' "
            f"AND (given_at > ? OR state IN {UNDER_WAY})",
            (now - DAY_S,),
        )
    }
    asked = {
        row["text"]: row["times"]
        for row in store.rows(
            "SELECT text, count(*) AS times FROM commands "
            f"WHERE text LIKE '{COMMAND} %' GROUP BY text"
        )
    }
    found: list[Target] = []
    for row in store.rows(
        "SELECT concentrator, account, address FROM meters WHERE active = 1 AND standard <> ? "
        "ORDER BY concentrator, account",
        (_OF_1997,),
    ):
        account, meter = row["account"], row["address"]
        if len(found) == limit:
            break
        lacks = [day for day in range(first, today) if (meter, day) not in have]
        if account in busy or not lacks:
            continue
        begins = _first_day(store, meter, first, today)
        for day in lacks:
            text = f"{COMMAND} {account} {_date(day)}"
            if day >= begins and asked.get(text, 0) < _ASKS:
                found.append(Target(row["concentrator"], text, account))
                break
    return found


def _first_day(store: Store, meter: str, first: int, today: int) -> int:
    """Return the day from which a meter was read or its freezes are here, `today`: none."""
    for day in range(first, today):
        for table in ("readings", "freezes"):
            if store.value(
                f"SELECT 1 FROM {table} WHERE day = ? AND meter = ? LIMIT 1", (day, meter)
            ):
                return day
    return today


def _date(day: int) -> str:
    return f"{to_datetime(day * DAY_S):%Y-%m-%d}"
