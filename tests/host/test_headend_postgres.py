"""Goal: on PostgreSQL the head-end stores, sells and compares exactly as on SQLite.

Method: the tests start a cluster in a folder, bring the same villages into both databases and
compare all tables; then the commands run as a user types them.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from host.cli import cli
from host.frames import batch
from host.frames.link import Kind
from host.frames.record import RecordKind
from host.headend import migrate, orders
from host.headend.database import SCHEMA
from host.headend.errors import StoreError, StoreFailed
from host.headend.ingest import Ingest
from host.headend.postgres import all_claimed
from host.headend.reconcile import reconcile
from host.headend.store import Store
from tests.host.uplink_world import (
    KEYS,
    Village,
    account_name,
    deliver,
    frame,
    meter_address,
    opened,
    village_of,
)
from tools.cluster import cluster, crash

pytestmark = pytest.mark.slow

TABLES = (
    *("accounts", "meters", "concentrators", "records", "readings", "freezes", "items"),
    *("top_ups", "relays", "policies", "alarms", "standings", "findings", "orders", "gaps"),
)
OF_THE_ENGINE = frozenset(("id", "received_at", "seen_at", "found_at", "sold_at"))


@pytest.fixture(scope="module", name="server")
def _server() -> Iterator[str]:
    with cluster() as address:
        yield address


@pytest.fixture
def address(server: str) -> str:
    """Make an empty database with `init` and return its address."""
    import psycopg

    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    assert run("init", "--database", server).exit_code == 0
    return server


def run(*words: object) -> Result:
    """Run `dianka headend WORDS`."""
    return CliRunner().invoke(cli, ["headend", *map(str, words)], env={"COLUMNS": "120"})


def lived() -> Village:
    """Bring in records of many kinds, with doubts and differences among them."""
    village = village_of(6, 12)
    village.relay(0, 1)
    village.write(RecordKind.POLICY, {"new": 3, "old": 1, "reason": 2, "balance_fen": -5}, 1)
    told = {"identifier": "0201FF00", "count": 3, "values": [2201, None, 2199]}
    village.write(RecordKind.ITEM, told, 2)
    fields = {"frozen_t2000": 820_022_400, "registers_wh": [5, 4, 3, 0, 0, 0, 0, 0]}
    village.write(RecordKind.FREEZE, fields, 3)
    card = {"code": 4, "order": 1, "amount_fen": 5, "uid": "0" * 16, "account": "999999999999"}
    village.write(RecordKind.CARD, card, 0xFFFF)
    village.reading(9)
    village.reading(4, -2)
    extra = village.reading(0)
    changed = (extra.seq, village.records[40].t2000, extra.kind, 0, village.records[40].index)
    village.records[-1] = type(extra)(*changed, extra.payload, extra.fields)
    return village


def kept(store: Store, table: str) -> list[dict[str, Any]]:
    """Return the rows of a table, without the columns that differ from run to run."""
    found = [
        {
            name: bytes(value) if isinstance(value, memoryview) else value
            for name, value in row.items()
            if name not in OF_THE_ENGINE
        }
        for row in store.rows(f"SELECT * FROM {table}")
    ]
    return sorted(found, key=repr)


def fill(store: Store) -> None:
    for row in range(6):
        orders.sell(store, account_name(row), 10000)
    village = lived()
    ingest = Ingest(store, KEYS)
    for number, first in enumerate(range(1, village.durable_seq + 1, 40), 1):
        last = min(first + 39, village.durable_seq)
        ingest.answer(frame(Kind.BATCH, number, village.batch(first, last)), "test")
    orders.sell(store, account_name(2), 700)


def test_both_databases_hold_the_same(address: str, tmp_path: Path) -> None:
    with Store(address) as theirs, Store(tmp_path / "village.db", create=True) as ours:
        for store in (theirs, ours):
            fill(store)
        for table in TABLES:
            assert kept(theirs, table) == kept(ours, table), table
        assert reconcile(theirs).to_dict() == reconcile(ours).to_dict()
        assert reconcile(ours).differences
    assert run("show", "--db", address).output == run("show", "--db", ours.address).output


def test_a_failed_commit_changes_nothing_and_the_next_goes_on(address: str) -> None:
    with Store(address) as store:
        ingest = Ingest(store, KEYS)
        village = village_of(3, 20)
        message = frame(Kind.BATCH, 1, village.batch())
        store.database.run("ALTER TABLE top_ups RENAME TO hidden")
        assert batch.parse_busy(opened(ingest.answer(message, "test"), 1)) > 0
        assert ingest.counters["store_failed"] == 1
        assert store.value("SELECT count(*) FROM records") == 0
        store.database.run("ALTER TABLE hidden RENAME TO top_ups")
        deliver(ingest, village)
        assert store.value("SELECT count(*) FROM records") == village.durable_seq


def test_readers_cannot_write_and_writers_wait_in_turn(address: str) -> None:
    with Store(address, read_only=True) as store, pytest.raises(StoreFailed, match="read-only"):
        orders.sell(store, account_name(0), 100)
    with Store(address) as one, Store(address) as other:
        other.database.run("SET lock_timeout = 100")
        with one.writing(), pytest.raises(StoreFailed, match="lock"):
            orders.sell(other, account_name(0), 100)
        assert orders.sell(other, account_name(0), 100) == 1


def test_other_databases_are_refused_in_one_line(server: str, address: str) -> None:
    result = run("init", "--database", address)
    assert (result.exit_code, "has tables already" in result.output) == (1, True)
    with Store(address) as store:
        store.database.run("UPDATE station SET schema = 99")
    result = run("show", "--db", address)
    assert (result.exit_code, "needs a newer dianka" in result.output) == (1, True)
    result = run("show", "--db", "postgres://nobody@127.0.0.1:1/none")
    assert result.exit_code == 1
    assert "cannot use postgres://nobody@127.0.0.1:1/none" in result.output


SCHEMAS = sorted(
    (Path(__file__).parent / "schemas").glob("*.sql"), key=lambda path: int(path.stem)
)


def moved_over(dump: Path, server: str) -> None:
    """Make a database of the schema of a dump of SQLite, with the same rows."""
    import psycopg

    migrate.upgrade(migrate.django_database(server), f"{int(dump.stem):04d}")
    with (
        closing(sqlite3.connect(":memory:")) as old,
        psycopg.connect(server, autocommit=True) as new,
    ):
        old.executescript(dump.read_text(encoding="utf-8"))
        tables = [
            row[0] for row in old.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        for table in tables:
            if table.startswith(("django_", "auth_", "sqlite_")):
                continue
            new.execute(f"DELETE FROM {table}")
            cursor = old.execute(f"SELECT * FROM {table}")
            names = ", ".join(f'"{one[0]}"' for one in cursor.description)
            marks = ", ".join(["%s"] * len(cursor.description))
            for row in cursor:
                new.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", row)
        # The rows have come with their numbers, of which the server's own counts know nothing.
        for (name,) in new.execute(
            "SELECT table_name FROM information_schema.columns WHERE column_name = 'id' "
            "AND is_identity = 'YES' AND table_schema = 'public'"
        ).fetchall():
            new.execute(
                f"SELECT setval(pg_get_serial_sequence('{name}', 'id'), "
                f"(SELECT coalesce(max(id), 0) + 1 FROM {name}))"
            )


def test_the_counter_s_commands_work_as_on_a_file(address: str, tmp_path: Path) -> None:
    name = account_name(0)
    with Store(address) as store:
        orders.sell(store, name, 10000)
        deliver(Ingest(store, KEYS), lived())
    who = ("--db", address, "--account", name)
    path = tmp_path / "list.csv"
    path.write_text(f"account,name,meter\n{name},王芳,{meter_address(0)}\n", encoding="gb18030")
    for words, code, said in (
        (("sell", *who, "--amount", "5", "--cashier", "Li"), 0, "order 2"),
        (("void", *who, "--order", "2", "--reason", "typo"), 0, "is taken back"),
        (("sell", *who, "--amount", "6", "--reference", "r"), 0, "order 3"),
        (("limits", "--db", address, "--sale", "7"), 0, "at most 7.00"),
        (("sell", *who, "--amount", "7.01"), 1, "sold at once"),
        (("orders", name, "--db", address), 0, "typo"),
        (("history", name, "--db", address, "--readings"), 0, "reading"),
        (("day", "--db", address), 0, "6.00 yuan taken"),
        (("day", "--db", address, "--each"), 0, "typo"),
        (("findings", "--db", address), 1, "found"),
        (("findings", "--db", address, "--resolve", "1", "--by", "Li", "--reason", "ok"), 0, ""),
        (("register", "import", path, "--db", address, "--yes"), 0, "1 accounts are new"),
        (("register", "lines", "--db", address), 1, "not in the register"),
    ):
        result = run(*words)
        assert (result.exit_code, said in result.output) == (code, True), (words, result.output)


@pytest.mark.parametrize("dump", SCHEMAS, ids=lambda path: path.stem)
def test_a_database_of_each_schema_is_brought_up_to_date(server: str, dump: Path) -> None:
    import psycopg

    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    moved_over(dump, server)
    if int(dump.stem) < SCHEMA:
        with pytest.raises(StoreError, match="upgrade"):
            Store(server)
        with all_claimed(server) as is_claimed:
            assert is_claimed
            result = run("upgrade", "--db", server)
        assert (result.exit_code, "a head-end serves" in result.output) == (1, True)
    result = run("upgrade", "--db", server)
    assert result.exit_code == 0, result.output
    with Store(server) as store:
        found = reconcile(store)
        assert (found.differences, found.records, found.orders_sold) == ([], 16, 2)
        assert orders.sell(store, account_name(0), 100) == 2


def test_a_killed_server_is_connected_to_again(server: str, address: str) -> None:
    with Store(address) as store, Store(address, read_only=True) as looking:
        ingest = Ingest(store, KEYS)
        village = village_of(2, 3)
        deliver(ingest, village)
        crash(server)
        village.reading(0, 1)
        message = frame(Kind.BATCH, 2, village.batch())
        ingest.answer(message, "test")
        assert ingest.counters["store_failed"] == 1
        deliver(ingest, village, 3)
        assert store.value("SELECT count(*) FROM records") == village.durable_seq
        with pytest.raises(StoreError):
            looking.value("SELECT 1")
        assert looking.value("SELECT count(*) FROM records") == village.durable_seq
