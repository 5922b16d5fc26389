"""PostgreSQL as the head-end's database: the same SQL, and a lock that lets one writer in."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import psycopg

from host.headend.database import BUSY_TIMEOUT_S, Database, Values
from host.headend.errors import StoreError
from host.words import _

# Held within each transaction that writes, as SQLite has one writer at a time.
WRITE_LOCK = 0x64696B61
_UNDEFINED_TABLE = "42P01"


class Postgres(Database):
    """A connection by its `postgres://` address; commits are durable as the server is set up."""

    failed = psycopg.Error

    def __init__(self, address: str, *, read_only: bool = False) -> None:
        super().__init__(_without_password(address))
        try:
            self._connection = psycopg.connect(
                address, autocommit=True, connect_timeout=BUSY_TIMEOUT_S
            )
            if read_only:
                self._connection.read_only = True
            self._connection.execute(f"SET lock_timeout = {BUSY_TIMEOUT_S * 1000}")
            self.identify()
        except psycopg.Error as error:
            raise _trouble(self.place, error) from error

    def close(self) -> None:
        self._connection.close()

    def run(self, statement: str, values: Values = ()) -> Any:
        return self._connection.execute(_translated(statement), values)

    def many(self, statement: str, rows: Sequence[Values]) -> int:
        with self._connection.cursor() as cursor:
            cursor.executemany(_translated(statement), rows)
            return cursor.rowcount

    def _begin(self) -> None:
        self._connection.execute("BEGIN")
        self._connection.execute("SELECT pg_advisory_xact_lock(%s)", (WRITE_LOCK,))


@cache
def _translated(statement: str) -> str:
    """Return a statement with the marks that psycopg knows."""
    return statement.replace("%", "%%").replace("?", "%s")


def _without_password(address: str) -> str:
    """Return the address as it may be shown."""
    head, at, tail = address.rpartition("@")
    user, colon, _password = head.partition("://")[2].partition(":")
    return f"postgres://{user}@{tail}" if at and colon else address


def has_tables(address: str) -> bool:
    """Whether a database has tables; StoreError where it cannot be reached."""
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
    """Return what to tell where a database cannot be used."""
    if error.sqlstate == _UNDEFINED_TABLE:
        return StoreError(
            _("{path} is not a head-end's database: `dianka headend init` makes one").format(
                path=place
            )
        )
    said = str(error).strip().split("\n")[0]
    return StoreError(_("cannot use {path} as a database: {orig}").format(path=place, orig=said))
