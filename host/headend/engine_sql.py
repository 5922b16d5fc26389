"""Migration steps in the SQL of one engine."""

from collections.abc import Mapping
from typing import Any

from django.db import migrations

from host.headend.database import APPLICATION_ID


def engine_sql(statements: Mapping[str, str]) -> Any:
    """Return an operation that runs the `statements` of the engine, sqlite or postgresql."""

    def run(_: Any, editor: Any) -> None:
        for statement in statements[editor.connection.vendor].split(";"):
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
