"""Make a database or upgrade one, by Django's migrations.

Only `dianka headend init`, `serve` and `upgrade` use this module; other code opens an existing
database without Django. The settings are in the code: an embedded database needs no file of them.
"""

import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote, urlsplit

from host.headend.database import file_number, sqlite_schema
from host.headend.errors import StoreError
from host.installed import how_to_add
from host.words import _

_ALIAS = "station"
_APPLICATIONS = (
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "host.headend.apps.HeadEndConfig",
)


class MigrateError(ValueError):
    """The database cannot be made or brought up to date; the message says why."""


def make_sqlite(path: Path) -> None:
    """Make a database at `path`, where no file is yet, readable by its owner alone."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise MigrateError(
            _("cannot make {path}: {strerror}").format(path=path, strerror=error.strerror)
        ) from error
    with os.fdopen(handle, "wb") as file:
        file.write(_template())
        file.flush()
        os.fsync(file.fileno())
    # Before there is a second file beside it, which a plain copy would lack.
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE station SET file_number = ?", (file_number(path),))


def make_postgres(address: str) -> None:
    """Make the tables in a database that a server has; MigrateError where some are there."""
    from host.headend.postgres import has_tables

    try:
        there = has_tables(address)
    except StoreError as error:
        raise MigrateError(str(error)) from error
    if there:
        raise MigrateError(
            _("the database has tables already: give an empty one, or `dianka headend upgrade`")
        )
    upgrade(django_database(address))


def schema_of(address: str) -> int:
    """Return which schema a database has; StoreError where it is none of a head-end."""
    if "://" in address:
        from host.headend.postgres import schema_of

        return schema_of(address)
    return sqlite_schema(Path(address))


@cache
def _template() -> bytes:
    """Return the bytes of an empty database of today's schema."""
    with TemporaryDirectory(prefix="dianka-") as folder:
        path = Path(folder) / "empty.db"
        upgrade({"ENGINE": "django.db.backends.sqlite3", "NAME": str(path)})
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
        connection.close()
        return path.read_bytes()


def upgrade(database: dict[str, Any], number: str | None = None) -> None:
    """Migrate a database, given by Django's settings, to a schema: the newest, or `number`."""
    try:
        from django.core.management import call_command
        from django.db import connections
    except ImportError as error:
        raise MigrateError(
            _("making a database needs more packages: {install}").format(
                install=how_to_add("station")
            )
        ) from error
    # Django refuses to wait for a database in a thread that runs an event loop.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(_migrate, database, number, call_command, connections).result()


def _migrate(
    database: dict[str, Any], number: str | None, call_command: Any, connections: Any
) -> None:
    _set_up()
    known = {name: connections.databases[name] for name in ("default",)}
    told = {**known, _ALIAS: dict(database)}
    connections.settings = connections.configure_settings(told)
    words = ["station", number] if number else []
    try:
        call_command("migrate", *words, database=_ALIAS, verbosity=0, interactive=False)
    finally:
        connections[_ALIAS].close()
        del connections[_ALIAS]


def _set_up() -> None:
    """Register the applications with Django, once in a process."""
    import django
    from django.conf import settings

    if not settings.configured:
        settings.configure(
            INSTALLED_APPS=_APPLICATIONS,
            DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
            USE_TZ=True,
        )
        django.setup()


def django_database(address: str) -> dict[str, Any]:
    """Return Django's settings for a file, or for a `postgres://` address."""
    if "://" not in address:
        # The caller checks the schema.
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": address}
    parts = urlsplit(address)
    query = dict(one.split("=", 1) for one in parts.query.split("&") if "=" in one)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or unquote(query.get("host", "")),
        "PORT": str(parts.port or query.get("port", "")),
    }
