"""Goal: no report walks over all records or readings, on SQLite and on PostgreSQL.

Method: the statements of each report are noted while it runs, and the database is asked how it
carries them out. Only the sums of `reconcile`, which compare all that was taken with all that is
stored, go over the whole tables; the benchmark of the head-end holds their time.
"""

import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from host.cli import cli
from host.headend import database, migrate, orders
from host.headend.ingest import Ingest
from host.headend.store import Store
from tests.host.uplink_world import KEYS, account_name, deliver, village_of
from tools.cluster import cluster

pytestmark = pytest.mark.slow

NAME = account_name(0)
REPORTS = (
    *(("show",), ("show", "--account", NAME), ("concentrators",), ("findings",)),
    *(("orders", NAME), ("history", NAME), ("history", NAME, "--readings"), ("day",)),
    *(("day", "--each"), ("items", "--account", NAME), ("waiting", NAME)),
    *(("register", "lines"), ("register", "export"), ("job", "list"), ("reconcile",)),
)
LARGE = re.compile(r"\b(records|readings|freezes|items)\b")
# What `reconcile`, and `findings` with it, sums up of everything.
SUMS = re.compile(r"SELECT count\(\*\)(, CAST\(coalesce\(sum\(seq\)| FROM records)")


def fill(store: Store) -> None:
    orders.sell(store, NAME, 100)
    deliver(Ingest(store, KEYS), village_of(2, 3))


def run(db: object, words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(cli, ["headend", *words, "--db", str(db)])
    assert done.exit_code in (0, 1), done.output
    assert not isinstance(done.exception, (AssertionError, TypeError)), done.output


def of_large_tables(told: list[str]) -> list[str]:
    """Return the statements that read a large table, but for the sums of everything."""
    reading = [one for one in told if one.lstrip().startswith("SELECT") and LARGE.search(one)]
    return [one for one in reading if not SUMS.match(one.strip())]


def walks_of_sqlite(store: Store, statement: str) -> list[str]:
    plan = [row[3] for row in store.database.all(f"EXPLAIN QUERY PLAN {statement}")]
    return [line for line in plan if line.startswith("SCAN ") and LARGE.search(line)]


def test_a_walk_would_be_seen(tmp_path: Path) -> None:
    with Store(tmp_path / "a.db", create=True) as store:
        for table in ("records", "readings", "freezes", "items"):
            assert walks_of_sqlite(store, f"SELECT * FROM {table} WHERE seq = 1")


@pytest.mark.parametrize("words", REPORTS, ids=" ".join)
def test_no_report_walks_over_a_large_table_of_sqlite(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    path = tmp_path / "a.db"
    with Store(path, create=True) as store:
        fill(store)
    told: list[str] = []
    connected = database._connected

    def listening(address: str) -> sqlite3.Connection:
        connection = connected(address)
        connection.set_trace_callback(told.append)
        return connection

    monkeypatch.setattr(database, "_connected", listening)
    run(path, words)
    monkeypatch.undo()
    assert told
    with Store(path, read_only=True) as store:
        for statement in of_large_tables(told):
            assert not walks_of_sqlite(store, statement), statement


@pytest.fixture(scope="module", name="server")
def _server() -> Iterator[str]:
    with cluster() as address:
        migrate.make_postgres(address)
        with Store(address) as store:
            fill(store)
        yield address


@pytest.mark.parametrize("words", REPORTS, ids=" ".join)
def test_no_report_walks_over_a_large_table_of_postgresql(
    server: str, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    from host.headend.postgres import Postgres

    told: list[tuple[str, tuple[object, ...]]] = []
    run_there = Postgres.run

    def noting(self: Postgres, statement: str, values: tuple[object, ...] = ()) -> object:
        told.append((statement, values))
        return run_there(self, statement, values)

    monkeypatch.setattr(Postgres, "run", noting)
    run(server, words)
    monkeypatch.undo()
    assert told
    wanted = of_large_tables([statement for statement, _values in told])
    with Store(server, read_only=True) as store:
        # A table of a few rows is walked over where that is not forbidden.
        store.database.run("SET enable_seqscan = off")
        for statement, values in told:
            if statement in wanted:
                plan = [row[0] for row in store.database.all(f"EXPLAIN {statement}", values)]
                walks = [line for line in plan if "Seq Scan on" in line and LARGE.search(line)]
                assert not walks, (statement, plan)
