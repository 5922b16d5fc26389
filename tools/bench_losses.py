"""What line loss and quality cost: `python -m tools.bench_losses`: a day of many meters, a page.

The database is written by SQL alone, as ingest leaves it: districts of 118 households with a sum
meter, the midnights that losses and quality look at, and one household in a hundred without its
newest one. The pages are asked for over HTTP, as a person who has signed in.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from host.headend import clues, losses, migrate, quality
from host.headend.database import Database
from host.headend.store import Store
from tools.bench_pages import ask, pages_of, people
from tools.cluster import cluster

_DAY = 9500
_MEMBERS = 118
_WEEKS = 42
_TIMES = 5
# What quality compares a day with.
_MIDNIGHTS = (_DAY + 1, *(_DAY - back for back in (0, 1, 2, 3, 4, 5, 6, 7, 14, 21, 28)))
# Households i of districts of so many, then a sum meter for each.
_EACH = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {count})"
_FREEZES = """INSERT INTO freezes (day, meter, t2000, concentrator, seq, account, registers_wh)
    {each}, d(day) AS (VALUES {days}) SELECT day, {name}, day * 86400, i / 256 + 1,
    day * 1000 + i, {name}, '[' || ((day - 9000) * ({wh})) || ', 0, 0]' FROM d, n
    WHERE NOT (day = {newest} AND i % 100 = 7) {unless}"""


class _Filling:
    """Fills the tables of a database; an expression of each engine writes an account's number."""

    def __init__(self, database: Database, is_postgres: bool) -> None:
        self._run = database.run
        self._is_postgres = is_postgres

    def name(self, base: int) -> str:
        """Return the expression of the number of household i."""
        if self._is_postgres:
            return f"lpad(CAST(i + {base} AS text), 12, '0')"
        return f"printf('%012d', i + {base})"

    def fill(self, table: str, columns: str, count: int, values: str) -> None:
        """Write so many rows."""
        each = _EACH.format(count=count)
        self._run(f"INSERT INTO {table} ({columns}) {each} SELECT {values} FROM n")

    def freeze(self, count: int, days: Sequence[int], base: int, wh: str) -> None:
        """Write the midnights of so many meters, those that are there already excepted."""
        named = self.name(base)
        told = {
            "each": _EACH.format(count=count),
            "days": ", ".join(f"({day})" for day in days),
            "name": named,
            "wh": wh,
            "newest": _DAY + 1,
            "unless": f"AND NOT EXISTS (SELECT 1 FROM freezes AS old WHERE old.day = d.day "
            f"AND old.meter = {named})",
        }
        self._run(_FREEZES.format(**told))


def written(store: Store, households: int, is_postgres: bool) -> None:
    """Write a station with so many households."""
    districts = households // _MEMBERS
    count, base, sums_base = districts * _MEMBERS, 1, 990_000_000_000
    place = f"'D' || (i / {_MEMBERS})"
    with store.writing() as database:
        filling = _Filling(database, is_postgres)
        name, sums = filling.name(base), filling.name(sums_base)
        filling.fill("connections", "account, district, since_day", count, f"{name}, {place}, 0")
        filling.fill(
            *("contracts", "account, customer, district", count),
            f"{name}, {name}, {place}",
        )
        accounts = ("accounts", "account, concentrator, meter")
        filling.fill(*accounts, count, f"{name}, i / 256 + 1, {name}")
        filling.fill(*accounts, districts, f"{sums}, i + 1, {sums}")
        meters = ("meters", 'concentrator, "row", address, account, active')
        filling.fill(*meters, count, f"i / 256 + 1, i % 256, {name}, {name}, 1")
        filling.fill("districts", "district", districts, "'D' || i")
        filling.fill(
            *("supply_meters", "account, level, place, ct, since_day", districts),
            f"{sums}, 'district', 'D' || i, 40, 0",
        )
        wh, sums_wh = "5000 + i % 900", f"{_MEMBERS} * 5450 / 37"
        filling.freeze(count, sorted(_MIDNIGHTS), base, wh)
        filling.freeze(districts, sorted(_MIDNIGHTS), sums_base, sums_wh)
        # The past of one district alone, for its page.
        past = range(_DAY - _WEEKS - 31, _DAY + 2)
        filling.freeze(_MEMBERS, past, base, wh)
        filling.freeze(1, past, sums_base, sums_wh)
        if is_postgres:
            database.run("ANALYZE")


def measure(store: Store) -> None:
    """Print how long a day of all and a month of one district take to compute."""
    began, worked = time.perf_counter(), time.process_time()
    found = losses.day_losses(store, _DAY, _DAY + 1)
    missing = sum(one.missing for one in found)
    print(f"{len(found)} districts, {missing} missing: losses of a day {_since(began, worked)}")
    began, worked = time.perf_counter(), time.process_time()
    marked = sum(bool(one.marks) for one in quality.judged(store, _DAY))
    print(f"{marked} meters marked: quality of a day {_since(began, worked)}")
    began, worked = time.perf_counter(), time.process_time()
    days = losses.day_losses(store, _DAY - _WEEKS, _DAY + 1, "D0")
    losses.with_technical(store, days)
    print(f"{len(days)} days of a district {_since(began, worked)}")
    began, worked = time.perf_counter(), time.process_time()
    clues.clues(store, _DAY - 30, _DAY + 1, "D0")
    print(f"its clues {_since(began, worked)}")


def _since(began: float, worked: float) -> str:
    whole_s, own_s = time.perf_counter() - began, time.process_time() - worked
    return f"in {whole_s:.2f} s, {own_s:.2f} s of them at work here"


def measure_pages(address: str, folder: Path) -> None:
    """Print how long a browser waits for the page of a district."""
    (token,) = people(address, 1)
    with pages_of(address, folder) as url:
        for page in ("/districts/D0?month=2025-12", "/", "/districts"):
            times = sorted(ask(url + page, token) for _ in range(_TIMES))
            print(f"{page:<28} {times[0]:7.0f} ms at best, {times[-1]:.0f} ms at worst")


def main() -> None:
    """Write a station and print what it costs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--households", type=int, default=400_000)
    parser.add_argument("--postgres", action="store_true", help="instead of SQLite")
    wanted = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="dianka-") as name,
        cluster() if wanted.postgres else nullcontext(str(Path(name) / "station.db")) as address,
    ):
        if wanted.postgres:
            migrate.make_postgres(address)
        with Store(address, create=True) as store:
            began = time.perf_counter()
            written(store, wanted.households, wanted.postgres)
            print(f"written in {time.perf_counter() - began:.0f} s", flush=True)
        with Store(address, read_only=True) as store:
            measure(store)
        measure_pages(address, Path(name))


if __name__ == "__main__":
    main()
