"""One connection to the head-end's database, SQLite or PostgreSQL, with one dialect of SQL.

Statements have `?` for each value and quote names in double quotes. A database is identified by
the row of `station`, an SQLite file also by its application_id and user_version. Each opening
checks this, and only `host.headend.migrate` makes a database.
"""

import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from host.headend.errors import StoreError, StoreFailed
from host.headend.shard import Shard
from host.words import _

SCHEMA = 19
APPLICATION_ID = 0x64696B61  # "dika", in the head of an SQLite file
BUSY_TIMEOUT_S = 10
_CACHE_KIB = 65_536
# A commit of readings changes thousands of pages: they go into the file itself after 16 of them.
_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=16000")
_JSON_COLUMNS = frozenset(("registers_wh", "values", "detail"))
# A value of a statement: an int, a text, bytes or None.
Values = Sequence[Any]


def upsert_sql(table: str, columns: Sequence[str], keys: Sequence[str]) -> str:
    """Return the statement that inserts a row, or changes that of the same keys."""
    names = ", ".join(f'"{one}"' for one in columns)
    marks = ", ".join("?" * len(columns))
    changes = ", ".join(f'"{one}" = excluded."{one}"' for one in columns if one not in keys)
    key = ", ".join(f'"{one}"' for one in keys)
    insert = f"INSERT INTO {table} ({names}) VALUES ({marks})"
    return f"{insert} ON CONFLICT ({key}) DO UPDATE SET {changes}"


class Database:
    """The common part of both engines; `integrity` is the driver's error for a key that exists."""

    failed: type[Exception] = Exception
    place: str

    def __init__(self, place: str) -> None:
        self.place = place

    def close(self) -> None:
        """Close the connection."""
        raise NotImplementedError

    def run(self, statement: str, values: Values = ()) -> Any:
        """Run one statement and return the driver's cursor."""
        raise NotImplementedError

    def many(self, statement: str, rows: Sequence[Values]) -> int:
        """Run a statement for each of `rows`; return how many rows it changed."""
        raise NotImplementedError

    def insert_new(self, table: str, columns: Sequence[str], rows: Sequence[Values]) -> int:
        """Insert rows, leaving out those whose key is there; return how many were inserted."""
        names = ", ".join(f'"{one}"' for one in columns)
        marks = ", ".join("?" * len(columns))
        return self.many(
            f"INSERT INTO {table} ({names}) VALUES ({marks}) ON CONFLICT DO NOTHING", rows
        )

    def first_of(self, column: str) -> str:
        """Return the expression for the first number of a list, 0 where it is empty."""
        raise NotImplementedError

    def update_many(
        self, table: str, key: str, columns: Sequence[str], rows: Sequence[Values]
    ) -> None:
        """Set columns of the rows of a table; each of `rows` ends with its key."""
        changes = ", ".join(f'"{one}" = ?' for one in columns)
        self.many(f'UPDATE {table} SET {changes} WHERE "{key}" = ?', rows)

    def all(self, statement: str, values: Values = ()) -> list[tuple[Any, ...]]:
        """Return all rows as tuples."""
        return list(self.run(statement, values).fetchall())

    def rows(self, statement: str, values: Values = ()) -> list[dict[str, Any]]:
        """Return all rows by the names of their columns; lists as lists."""
        cursor = self.run(statement, values)
        names = [one[0] for one in cursor.description]
        found = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        for name in _JSON_COLUMNS.intersection(names):
            for row in found:
                row[name] = json.loads(row[name])
        return found

    def value(self, statement: str, values: Values = ()) -> Any:
        """Return the first column of the first row, None where there is no row."""
        row = self.run(statement, values).fetchone()
        return None if row is None else row[0]

    def claim(self, shard: Shard) -> None:
        """Have a part of the concentrators until the end; StoreError: another process has it."""
        raise NotImplementedError

    @contextmanager
    def writing(self, *, beside_others: bool = False) -> Iterator[None]:
        """Write within one exclusive transaction; values read in it stay valid until its end.

        With `beside_others` other parts of the head-end may write meanwhile, what is theirs.
        """
        try:
            self._begin(beside_others)
            try:
                yield
            except BaseException:
                self._end("ROLLBACK")
                raise
            self._end("COMMIT")
        except self.failed as error:
            raise StoreFailed(_said(error)) from error

    @contextmanager
    def looking(self) -> Iterator[None]:
        """Read within one transaction, so that all rows are of one moment."""
        try:
            self._end("BEGIN")
            try:
                yield
            finally:
                self._end("ROLLBACK")
        except self.failed as error:
            raise StoreFailed(_said(error)) from error

    def tell_writers(self) -> None:
        """Have every writer read its state again, as part of this transaction."""
        raise NotImplementedError

    def queue_up(self) -> None:
        """Let no other transaction write to the audit log until this one has ended."""
        raise NotImplementedError

    def state_mark(self) -> Any:
        """Return a mark within a transaction, another one when the state is to be read again."""
        raise NotImplementedError

    def _begin(self, beside_others: bool) -> None:
        raise NotImplementedError

    def _end(self, word: str) -> None:
        self.run(word)

    def identify(self) -> None:
        """Raise StoreError where this is no database of a head-end, or has another schema."""
        schema = self.value("SELECT schema FROM station")
        _judge(self.place, schema)


def _said(error: Exception) -> str:
    """Return the first line of a driver's error."""
    return str(error).strip().split("\n")[0]


def _judge(place: str, schema: int) -> None:
    if schema < SCHEMA:
        raise StoreError(
            _(
                "{place} has schema {schema}, this version needs {newest}: stop what uses it, "
                "then give `dianka headend upgrade`"
            ).format(place=place, schema=schema, newest=SCHEMA)
        )
    if schema > SCHEMA:
        raise StoreError(
            _(
                "{place} has schema {schema}, this version knows {newest}: it needs a newer dianka"
            ).format(place=place, schema=schema, newest=SCHEMA)
        )


class Sqlite(Database):
    """A file in write-ahead mode, where a commit that returned survives a power cut."""

    failed = sqlite3.Error

    def __init__(self, path: Path | str, *, read_only: bool = False) -> None:
        super().__init__(str(path))
        try:
            self._connection = self._connect(read_only)
            _judge(self.place, _schema_of(self._connection, self.place))
            if not read_only:
                for pragma in _PRAGMAS:
                    self._connection.execute(f"PRAGMA {pragma}").close()
            self._connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}").close()
        except sqlite3.Error as error:
            why = _said(error)
            if not read_only and not os.access(Path(path).resolve().parent, os.W_OK):
                why = _("its folder is read-only, and the log of the database goes there")
            raise StoreError(
                _("cannot use {path} as a database: {orig}").format(path=path, orig=why)
            ) from error
        self.run: Callable[..., sqlite3.Cursor] = self._connection.execute
        self._told = 0

    def _connect(self, read_only: bool) -> sqlite3.Connection:
        path = Path(self.place)
        address = f"{path.resolve().as_uri()}?mode={'ro' if read_only else 'rw'}"
        try:
            return _connected(address)
        except sqlite3.OperationalError:
            # A read-only medium has no room for the file that readers share.
            if not read_only or path.with_name(f"{path.name}-wal").exists():
                raise
            return _connected(f"{address}&immutable=1")

    def close(self) -> None:
        self._connection.close()

    def claim(self, shard: Shard) -> None:
        if shard.count > 1:
            raise StoreError(
                _("{path}: a head-end in parts needs PostgreSQL").format(path=self.place)
            )

    def copy_into(self, other: sqlite3.Connection, pages: int) -> None:
        """Copy the whole database as it is at one moment; writers continue meanwhile."""
        self._connection.backup(other, pages=pages)

    def many(self, statement: str, rows: Sequence[Values]) -> int:
        return self._connection.executemany(statement, rows).rowcount

    def first_of(self, column: str) -> str:
        return f"CAST(substr({column}, 2) AS INTEGER)"

    def queue_up(self) -> None:
        """Do nothing: only one transaction at a time writes to a file."""

    def tell_writers(self) -> None:
        self._told += 1

    def state_mark(self) -> Any:
        # SQLite counts what other connections have committed.
        return self._told, self.value("PRAGMA data_version")

    def _begin(self, beside_others: bool) -> None:
        self._connection.execute("BEGIN IMMEDIATE")

    def _end(self, word: str) -> None:
        if self._connection.in_transaction or word == "BEGIN":
            self._connection.execute(word)


def _connected(address: str) -> sqlite3.Connection:
    """Return a connection that has read the file."""
    connection = sqlite3.connect(
        address,
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").close()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def file_number(path: Path) -> int:
    """Return the number that a file system has given to a file; a copy has another one."""
    return path.stat().st_ino % (1 << 63)


def sqlite_schema(path: Path) -> int:
    """Return which schema a file has; StoreError where it is no database of a head-end."""
    if not path.exists():
        raise StoreError(
            _("there is no database {db}: `dianka headend init` makes one").format(db=path)
        )
    try:
        connection = _connected(f"{path.resolve().as_uri()}?mode=rw")
        try:
            return _schema_of(connection, str(path))
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise StoreError(
            _("cannot use {path} as a database: {orig}").format(path=path, orig=_said(error))
        ) from error


def _schema_of(connection: sqlite3.Connection, place: str) -> int:
    """Return which schema the file says it has; StoreError where it says something else."""
    (number,) = connection.execute("PRAGMA application_id").fetchone()
    if number == APPLICATION_ID:
        (schema,) = connection.execute("PRAGMA user_version").fetchone()
        return int(schema)
    names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    connection.close()
    if number == 0 and {"concentrators", "records", "accounts"} <= names:
        raise StoreError(
            _(
                "{path} was made before databases had a schema number and cannot be brought up "
                "to date: keep it, and begin a new one with `dianka headend init`"
            ).format(path=place)
        )
    raise StoreError(
        _("{path} is not a head-end's database: `dianka headend init` makes one").format(
            path=place
        )
    )
