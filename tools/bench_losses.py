"""What line loss costs: `python -m tools.bench_losses`: a day of many meters, a district's page.

The database is written by SQL alone, as ingest leaves it: districts of 118 households with a sum
meter, freezes of some days, and one household in a hundred without its newest freeze.
"""

import argparse
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path

from host.headend import clues, losses
from host.headend.store import Store

_DAY = 9500
_MEMBERS = 118
_PAST = 2
_WEEKS = 42
# Households i of districts of so many, then a sum meter for each; `n` counts both.
_EACH = """WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {count}),
    d(day) AS (SELECT {first} UNION ALL SELECT day + 1 FROM d WHERE day < {last}) """
_NAME = "printf('%012d', i + {base})"
_FREEZES = """INSERT INTO freezes (day, meter, t2000, concentrator, seq, account, registers_wh)
    {each} SELECT day, {name}, day * 86400, i / 256 + 1, day * 1000 + i, {name},
    '[' || ((day - 9000) * ({wh})) || ', 0, 0]' FROM d, n {where} ORDER BY 1, 2"""


def written(path: Path, households: int) -> None:
    """Write a station with so many households."""
    with Store(path, create=True):
        pass
    districts = households // _MEMBERS
    with closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA journal_mode = OFF")
        told = {"count": districts * _MEMBERS, "first": 0, "last": 0}
        each = _EACH.format(**told)
        name = _NAME.format(base=1)
        place = f"'D' || (i / {_MEMBERS})"
        file.execute(
            f"INSERT INTO connections (account, district, since_day) {each} "
            f"SELECT {name}, {place}, 0 FROM n"
        )
        accounts = "INSERT INTO accounts (account, concentrator, meter)"
        file.execute(f"{accounts} {each} SELECT {name}, i / 256 + 1, {name} FROM n")
        few = _EACH.format(**{**told, "count": districts})
        sums = _NAME.format(base=990_000_000_000)
        file.execute(f"{accounts} {few} SELECT {sums}, i + 1, {sums} FROM n")
        file.execute(f"INSERT INTO districts (district) {few} SELECT 'D' || i FROM n")
        file.execute(
            "INSERT INTO supply_meters (account, level, place, ct, since_day) "
            f"{few} SELECT {sums}, 'district', 'D' || i, 40, 0 FROM n"
        )
        _freeze(file, districts * _MEMBERS, _DAY - _PAST, name, "5000 + i % 900")
        _freeze(file, districts, _DAY - _PAST, sums, f"{_MEMBERS} * 5450 / 37")
        # The past of one district alone, for its page.
        _freeze(file, _MEMBERS, _DAY - _WEEKS - 31, name, "5000 + i % 900")
        _freeze(file, 1, _DAY - _WEEKS - 31, sums, f"{_MEMBERS} * 5450 / 37")
        file.commit()
        file.execute("PRAGMA journal_mode = WAL")


def _freeze(file: sqlite3.Connection, count: int, first: int, name: str, wh: str) -> None:
    lacks = f"WHERE NOT (day = {_DAY + 1} AND i % 100 = 7)"
    each = _EACH.format(count=count, first=first, last=_DAY + 1)
    statement = _FREEZES.format(each=each, name=name, wh=wh, where=lacks)
    file.execute(statement.replace("INSERT INTO", "INSERT OR IGNORE INTO"))


def main() -> None:
    """Print how many seconds a day of all, and milliseconds a month of one district take."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--households", type=int, default=400_000)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dianka-") as folder:
        path = Path(folder) / "station.db"
        written(path, wanted.households)
        with Store(path, read_only=True) as store:
            began = time.perf_counter()
            found = losses.day_losses(store, _DAY, _DAY + 1)
            day_s = time.perf_counter() - began
            missing = sum(one.missing for one in found)
            print(f"{len(found)} districts, {missing} missing: a day in {day_s:.1f} s")
            began = time.perf_counter()
            days = losses.day_losses(store, _DAY - _WEEKS, _DAY + 1, "D0")
            losses.with_technical(store, days)
            month_s = time.perf_counter() - began
            print(f"{len(days)} days of a district: {1000 * month_s:.0f} ms")
            began = time.perf_counter()
            clues.clues(store, _DAY - 30, _DAY + 1, "D0")
            print(f"its clues: {1000 * (time.perf_counter() - began):.0f} ms")


if __name__ == "__main__":
    main()
