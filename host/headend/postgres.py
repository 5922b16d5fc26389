"""PostgreSQL as the head-end's database, with the same SQL and a lock that admits one writer."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import psycopg

from host.headend.database import BUSY_TIMEOUT_S, Database, Values
from host.headend.errors import StoreError
from host.headend.shard import WHOLE, Shard
from host.words import _

# Each transaction that writes holds it, because SQLite has one writer at a time; the parts of a
# head-end share it.
WRITE_LOCK = 0x64696B61
AUDIT_LOCK = WRITE_LOCK + 1
_SLOT_LOCKS = 0x64696B62
_UNDEFINED_TABLE = "42P01"
_COPIED_LEAST = 20


class Postgres(Database):
    """A connection by its `postgres://` address; commits are durable as the server is set up."""

    failed = psycopg.Error

    def __init__(self, address: str, *, read_only: bool = False) -> None:
        super().__init__(_without_password(address))
        self._address = address
        self._read_only = read_only
        self._staged: set[str] = set()
        self._shard: Shard | None = None
        try:
            self._connection = self._connected()
            self.identify()
        except psycopg.Error as error:
            raise _trouble(self.place, error) from error

    def _connected(self) -> psycopg.Connection:
        connection = psycopg.connect(
            self._address, autocommit=True, connect_timeout=BUSY_TIMEOUT_S
        )
        if self._read_only:
            connection.execute("SET default_transaction_read_only = on")
        connection.execute(f"SET lock_timeout = {BUSY_TIMEOUT_S * 1000}")
        return connection

    def close(self) -> None:
        self._connection.close()

    def run(self, statement: str, values: Values = ()) -> Any:
        return self._connection.execute(_translated(statement), values)

    def many(self, statement: str, rows: Sequence[Values]) -> int:
        with self._connection.cursor() as cursor:
            cursor.executemany(_translated(statement), rows)
            return cursor.rowcount

    def insert_new(self, table: str, columns: Sequence[str], rows: Sequence[Values]) -> int:
        """Insert new rows: many rows are copied, or inserted one by one if a key exists."""
        if len(rows) < _COPIED_LEAST:
            return super().insert_new(table, columns, rows)
        self.run("SAVEPOINT copying")
        try:
            self._copy(table, columns, rows)
        except psycopg.errors.UniqueViolation:
            self.run("ROLLBACK TO SAVEPOINT copying")
            return super().insert_new(table, columns, rows)
        self.run("RELEASE SAVEPOINT copying")
        return len(rows)

    def update_many(
        self, table: str, key: str, columns: Sequence[str], rows: Sequence[Values]
    ) -> None:
        if len(rows) < _COPIED_LEAST:
            super().update_many(table, key, columns, rows)
            return
        names = ", ".join(f'"{one}"' for one in (*columns, key))
        if table not in self._staged:
            self.run(
                f"CREATE TEMP TABLE staged_{table} ON COMMIT DELETE ROWS AS "
                f"SELECT {names} FROM {table} WITH NO DATA"
            )
            self._staged.add(table)
        self._copy(f"staged_{table}", (*columns, key), rows)
        changes = ", ".join(f'"{one}" = staged_{table}."{one}"' for one in columns)
        same = f'staged_{table}."{key}" = {table}."{key}"'
        self.run(f"UPDATE {table} SET {changes} FROM staged_{table} WHERE {same}")

    def _copy(self, table: str, columns: Sequence[str], rows: Sequence[Values]) -> None:
        names = ", ".join(f'"{one}"' for one in columns)
        text = "\n".join(["\t".join([_copied(one) for one in row]) for row in rows])
        with (
            self._connection.cursor() as cursor,
            cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy,
        ):
            copy.write(f"{text}\n")

    def tell_writers(self) -> None:
        self.run("UPDATE station SET schema = schema")

    def first_of(self, column: str) -> str:
        return f"CAST('0' || split_part(btrim({column}, '[]'), ',', 1) AS bigint)"

    def queue_up(self) -> None:
        self.run("SELECT pg_advisory_xact_lock(?)", (AUDIT_LOCK,))

    def state_mark(self) -> Any:
        # Each update of the row gives it the number of another transaction.
        return self.value("SELECT CAST(xmin AS text) FROM station")

    def _end(self, word: str) -> None:
        if word == "BEGIN":
            self._reconnect()
        elif word == "ROLLBACK" and self._connection.closed:
            return  # the server has ended the transaction in its own way
        self._connection.execute(word)
        if word == "ROLLBACK":
            # The rows that this transaction made are lost with it.
            names = self.all("SELECT relname FROM pg_class WHERE relpersistence = 't'")
            self._staged = {name.removeprefix("staged_") for (name,) in names}

    def _reconnect(self) -> None:
        """Connect again where the server has ended the connection."""
        if self._connection.closed:
            self._staged.clear()
            self._connection = self._connected()
            self.identify()
            if self._shard is not None:
                self.claim(self._shard)

    def claim(self, shard: Shard) -> None:
        self._shard = shard
        # The locks of a session end with its connection.
        if not _claimed(self._connection, shard):
            raise StoreError(
                _("another head-end has concentrators of part {shard}: stop it first").format(
                    shard=shard
                )
            )

    def _begin(self, beside_others: bool) -> None:
        self._reconnect()
        self._connection.execute("BEGIN")
        lock = "pg_advisory_xact_lock_shared" if beside_others else "pg_advisory_xact_lock"
        try:
            self._connection.execute(f"SELECT {lock}(%s)".encode(), (WRITE_LOCK,))
        except psycopg.Error:
            self._connection.execute("ROLLBACK")
            raise


_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def _copied(value: int | str | bytes | None) -> str:
    """Return a value in the text format of COPY."""
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return value.translate(_ESCAPES)
    return "\\N" if value is None else f"\\\\x{value.hex()}"


@cache
def _translated(statement: str) -> str:
    """Return a statement with psycopg's placeholders."""
    return statement.replace("%", "%%").replace("?", "%s")


def _without_password(address: str) -> str:
    """Return the address as it may be shown."""
    head, at, tail = address.rpartition("@")
    user, colon, _password = head.partition("://")[2].partition(":")
    return f"postgres://{user}@{tail}" if at and colon else address


def _claimed(connection: psycopg.Connection, shard: Shard) -> bool:
    """Lock all slots of a shard; return false where another connection has one of them."""
    query = "SELECT pg_try_advisory_lock(%s, %s)"
    for slot in shard.slots:
        row = connection.execute(query, (_SLOT_LOCKS, slot)).fetchone()
        if row is None or not row[0]:
            return False
    return True


@contextmanager
def all_claimed(address: str) -> Iterator[bool]:
    """Lock the slots of all concentrators; give whether no head-end has one. StoreError."""
    try:
        with psycopg.connect(address, autocommit=True, connect_timeout=BUSY_TIMEOUT_S) as one:
            yield _claimed(one, WHOLE)
    except psycopg.Error as error:
        raise _trouble(_without_password(address), error) from error


def has_tables(address: str) -> bool:
    """Return whether a database has tables; StoreError where it cannot be reached."""
    query = "SELECT 1 FROM information_schema.tables WHERE table_schema = 'public' LIMIT 1"
    return bool(_looked_up(address, query))


def schema_of(address: str) -> int:
    """Return which schema a database has; StoreError where it is none of a head-end."""
    return int(_looked_up(address, "SELECT schema FROM station")[0][0])


def _looked_up(address: str, query: str) -> list[tuple[Any, ...]]:
    place = _without_password(address)
    try:
        with psycopg.connect(address, autocommit=True, connect_timeout=BUSY_TIMEOUT_S) as one:
            return list(one.execute(query.encode()).fetchall())
    except psycopg.Error as error:
        raise _trouble(place, error) from error


def _trouble(place: str, error: psycopg.Error) -> StoreError:
    """Return the message for a database that cannot be used."""
    if error.sqlstate == _UNDEFINED_TABLE:
        return StoreError(
            _("{path} is not a head-end's database: `dianka headend init` makes one").format(
                path=place
            )
        )
    said = str(error).strip().split("\n")[0]
    return StoreError(_("cannot use {path} as a database: {orig}").format(path=place, orig=said))
