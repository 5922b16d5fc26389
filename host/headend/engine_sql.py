"""Migration steps in the SQL of one engine."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import migrations

from host.headend.database import APPLICATION_ID


def engine_sql(statements: Mapping[str, str | Sequence[str]]) -> Any:
    """Return an operation that runs the `statements` of the engine, sqlite or postgresql.

    Those in one text end with semicolons; those of a sequence may have some of their own.
    """

    def run(_: Any, editor: Any) -> None:
        told = statements[editor.connection.vendor]
        for statement in told.split(";") if isinstance(told, str) else told:
            if statement.strip():
                editor.execute(statement)

    return migrations.RunPython(run, migrations.RunPython.noop)


def stamp(number: int) -> Any:
    """Return the operation that ends a migration: it writes the schema number to the database."""

    def run(_: Any, editor: Any) -> None:
        if number == 1:
            editor.execute("INSERT INTO station (id, schema) VALUES (1, 1)")
        editor.execute(f"UPDATE station SET schema = {number}")
        if editor.connection.vendor == "sqlite":
            editor.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            editor.execute(f"PRAGMA user_version = {number}")

    return migrations.RunPython(run, migrations.RunPython.noop)
