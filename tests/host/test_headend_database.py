"""Goal: a file is identified before it is used, and an old database is upgraded.

Method: the commands get files of other programs, of other schemas, damaged, read-only, locked and
without room; the database of each earlier schema, kept as SQL in tests/host/schemas, is upgraded.
"""

import os
import resource
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from host.cli import cli
from host.cli.headend import commands as server
from host.headend import migrate, orders
from host.headend.database import APPLICATION_ID, SCHEMA
from host.headend.errors import StoreError
from host.headend.ingest import Ingest
from host.headend.reconcile import reconcile
from host.headend.store import Store
from host.headend.turn import Turn
from tests.host.uplink_world import KEYS, account_name, deliver, village_of

SCHEMAS = sorted(
    (Path(__file__).parent / "schemas").glob("*.sql"), key=lambda path: int(path.stem)
)


def run(*words: object) -> Result:
    """Run `dianka headend WORDS`."""
    return CliRunner().invoke(cli, ["headend", *map(str, words)], env={"COLUMNS": "120"})


def lived(path: Path) -> Path:
    """Make a database of two households without differences."""
    with Store(path, create=True) as store:
        for row in range(2):
            orders.sell(store, account_name(row), 10000)
        deliver(Ingest(store, KEYS), village_of(2, 5))
    return path


def test_a_new_database_says_what_it_is_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "village.db"
    assert run("init", "--db", path, "--zone", "Asia/Urumqi").exit_code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert file.execute("PRAGMA user_version").fetchone() == (SCHEMA,)
        assert file.execute("SELECT schema, zone FROM station").fetchall() == [
            (SCHEMA, "Asia/Urumqi")
        ]
        tables = {row[0] for row in file.execute("SELECT name FROM sqlite_master")}
    assert {"auth_user", "auth_group", "auth_permission", "django_session"} <= tables
    result = run("init", "--db", path)
    assert (result.exit_code, "is there already" in result.output) == (1, True)
    assert run("init", "--db", tmp_path / "o.db", "--zone", "Mars/Base").exit_code == 2


def test_the_models_are_what_the_migrations_make() -> None:
    from django.core.management import call_command

    migrate._set_up()
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


@pytest.mark.parametrize("words", [("show",), ("reconcile",), ("items",), ("upgrade",)])
def test_nothing_but_init_and_serve_makes_a_file(tmp_path: Path, words: tuple[str, ...]) -> None:
    path = tmp_path / "no.db"
    result = run(*words, "--db", path)
    assert result.exit_code == 1
    assert "dianka headend init" in result.output
    assert not path.exists()


def other_program(path: Path) -> None:
    with closing(sqlite3.connect(path)) as file:
        file.execute("CREATE TABLE foo (a)")


def unnumbered(path: Path) -> None:
    with closing(sqlite3.connect(path)) as file:
        for name in ("concentrators", "records", "accounts"):
            file.execute(f"CREATE TABLE {name} (a)")


def of_schema(schema: int, path: Path) -> None:
    lived(path)
    with closing(sqlite3.connect(path)) as file:
        file.execute(f"PRAGMA user_version = {schema}")


def cut(path: Path) -> None:
    lived(path)
    path.write_bytes(path.read_bytes()[:6000])


WRONG = [
    (other_program, "is not a head-end's database"),
    (lambda path: path.write_bytes(b""), "is not a head-end's database"),
    (lambda path: path.write_bytes(b"notes, long enough to be looked at" * 99), "not a database"),
    (lambda path: path.mkdir(), "cannot use"),
    (unnumbered, "was made before databases had a schema number"),
    (cut, "malformed"),
    (lambda path: of_schema(SCHEMA + 1, path), "needs a newer dianka"),
    (lambda path: of_schema(0, path), "dianka headend upgrade"),
]


@pytest.mark.parametrize(("make", "said"), WRONG)
@pytest.mark.parametrize("words", [("show",), ("reconcile",), ("sell",)])
def test_another_file_is_refused_in_one_line(
    tmp_path: Path, make: object, said: str, words: tuple[str, ...]
) -> None:
    path = tmp_path / "other.db"
    make(path)  # type: ignore[operator]  # every one of them takes the path
    before = path.read_bytes() if path.is_file() else b""
    more = ("--account", "1", "--amount", "5") if words == ("sell",) else ()
    result = run(*words, "--db", path, *more)
    assert result.exit_code == 1, result.output
    assert said in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert (path.read_bytes() if path.is_file() else b"") == before


@pytest.mark.parametrize(("make", "said"), WRONG)
def test_another_file_is_not_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: object, said: str
) -> None:
    def served(*_words: object, **_more: object) -> None:
        raise AssertionError("it listens")

    monkeypatch.setattr(server, "serve", served)
    keys = tmp_path / "keys.toml"
    keys.write_text(f'[uplink]\n7 = "{"ab" * 32}"\n', encoding="utf-8")
    keys.chmod(0o600)
    path = tmp_path / "other.db"
    make(path)  # type: ignore[operator]  # every one of them takes the path
    result = run("serve", "--db", path, "--keys", keys)
    assert (result.exit_code, said in result.output) == (1, True), result.output
    assert len(result.output.strip().splitlines()) == 1


@pytest.mark.parametrize("dump", SCHEMAS, ids=lambda path: path.stem)
def test_a_database_of_each_schema_is_brought_up_to_date(tmp_path: Path, dump: Path) -> None:
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as file:
        file.executescript(dump.read_text(encoding="utf-8"))
    schema = int(dump.stem)
    if schema < SCHEMA:
        with pytest.raises(StoreError, match="upgrade"):
            Store(path)
    result = run("upgrade", "--db", path)
    assert result.exit_code == 0, result.output
    with Store(path) as store:
        result = reconcile(store)
        assert (result.differences, result.records, result.orders_sold) == ([], 16, 2)
        assert orders.sell(store, account_name(0), 100) == 2


def test_a_database_that_is_served_is_not_upgraded(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as file:
        file.executescript(SCHEMAS[0].read_text(encoding="utf-8"))
    turn = Turn(path)
    assert turn.take() is None
    result = run("upgrade", "--db", path)
    assert (result.exit_code, "a head-end serves" in result.output) == (1, True)
    turn.give_back()
    assert run("upgrade", "--db", path).exit_code == 0


def test_every_schema_is_kept() -> None:
    assert [int(path.stem) for path in SCHEMAS] == list(range(1, SCHEMA + 1))


def test_readers_take_no_lock_and_change_nothing(tmp_path: Path) -> None:
    path = lived(tmp_path / "village.db")
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        for words in (("show",), ("reconcile",), ("items",)):
            assert run(*words, "--db", path).exit_code == 0
    with Store(path, read_only=True) as store, pytest.raises(StoreError, match="readonly"):
        orders.sell(store, account_name(0), 100)


def test_a_copy_on_a_medium_that_cannot_be_written_can_be_looked_at(tmp_path: Path) -> None:
    path = lived(tmp_path / "village.db")
    path.chmod(0o444)
    tmp_path.chmod(0o555)
    for folder in tmp_path.parents:  # pytest's own, which are closed to others
        folder.chmod(0o755)
        if folder.name.startswith("pytest-of-"):
            break
    child = os.fork()
    if child == 0:  # root may write everywhere, so another user opens it
        try:
            if os.getuid() == 0:
                os.setuid(65534)
            with Store(path, read_only=True) as store:
                os._exit(reconcile(store).records)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    tmp_path.chmod(0o755)
    assert os.waitstatus_to_exitcode(status) == 16


def fill(store: Store) -> None:
    """Sell more orders than there is room for."""
    for _ in range(2000):
        orders.sell(store, account_name(0), 100)


def test_without_room_nothing_is_sold(tmp_path: Path) -> None:
    path = lived(tmp_path / "village.db")
    with Store(path) as store:
        size = path.stat().st_size
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, before[1]))
        try:
            with pytest.raises(StoreError):
                fill(store)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert reconcile(store).ok
        sold = store.value("SELECT count(*) FROM orders")
        assert orders.sell(store, account_name(1), 100) == 2
    with Store(path) as store:
        assert store.value("SELECT count(*) FROM orders") == sold + 1
