"""`dianka headend init`, `upgrade`, `backup`, `verify`, `restore-db`, `retain`: the database."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import click

from host.cli import shown
from host.cli.headend.database import opened
from host.cli.options import EXISTING_FILE, FILE, ZONE, database_option, json_option
from host.cli.output import echo, print_json
from host.headend import backup as copies
from host.headend import migrate
from host.headend import retain as rolling
from host.headend.database import SCHEMA
from host.headend.errors import StoreError
from host.headend.store import is_address, out_of_use
from host.units import DAY_S, to_t2000
from host.words import _

_DAYS = click.IntRange(1, 36500)


@shown.command(
    epilog="""\b
Examples:
  dianka headend init --db village.db
  dianka headend init --database postgres://dianka@db.example/dianka --zone Asia/Urumqi
"""
)
@database_option()
@click.option(
    "--zone",
    type=ZONE,
    default="Asia/Shanghai",
    show_default=True,
    help="Time zone of the station, in which days begin and sales are listed.",
)
def init(db: str, zone: ZoneInfo) -> None:
    """Make a database. Nothing that is there is touched."""
    if is_address(db):
        try:
            migrate.make_postgres(db)
        except migrate.MigrateError as error:
            raise click.ClickException(str(error)) from error
    elif Path(db).exists():
        hint = _("choose another name, or move it away")
        raise click.ClickException(_("{db} is there already: {hint}").format(db=db, hint=hint))
    with opened(db, create=True) as store, store.writing() as database:
        database.run("UPDATE station SET zone = ?", (zone.key,))
    echo(_("{db}: an empty database, schema {schema}").format(db=_shown(db), schema=SCHEMA))


@shown.command(
    epilog="""\b
Example:
  dianka headend upgrade --db village.db
"""
)
@database_option()
def upgrade(db: str) -> None:
    """Bring a database of an older version up to date; stop its head-end before."""
    try:
        before = migrate.schema_of(db)
        if before > SCHEMA:
            # Opening it shows whether it must be upgraded.
            with opened(db, read_only=True):
                pass
        if before < SCHEMA:
            with out_of_use(db):
                migrate.upgrade(migrate.django_database(db))
    except (migrate.MigrateError, StoreError) as error:
        raise click.ClickException(str(error)) from error
    if before == SCHEMA:
        echo(_("{db} has schema {schema} already").format(db=_shown(db), schema=SCHEMA))
    else:
        echo(
            _("{db}: schema {before} is now {schema}").format(
                db=_shown(db), before=before, schema=SCHEMA
            )
        )


@shown.command(
    epilog="""\b
Example:
  dianka headend backup --db village.db --out village-2026-07-01.db
"""
)
@database_option()
@click.option("--out", required=True, type=FILE, help="The copy; nothing may be there.")
def backup(db: str, out: Path) -> None:
    """Copy the database, whole, while it is used; the copy is its owner's alone."""
    if out.exists():
        hint = _("choose another name, or move it away")
        raise click.ClickException(_("{db} is there already: {hint}").format(db=out, hint=hint))
    with clear_store_errors():
        copies.back_up(db, out)
    echo(_("{out} is a whole copy of {db}").format(out=out, db=db))


@shown.command(
    epilog="""\b
Example:
  dianka headend verify --db village-2026-07-01.db
"""
)
@database_option()
@json_option
def verify(db: str, as_json: bool) -> None:
    """Look through a database or a copy of one: is it whole, and what is in it."""
    with clear_store_errors():
        counts = copies.check(db)
    if as_json:
        print_json({"whole": True, **counts})
    else:
        told = ", ".join(f"{name} {count}" for name, count in counts.items())
        echo(_("{db} is whole: {told}").format(db=_shown(db), told=told))


@shown.command(
    "restore-db",
    epilog="""\b
Examples:
  dianka headend restore-db --db village.db --from village-2026-07-01.db
  dianka headend restore-db --database postgres://dianka@db.example/dianka
""",
)
@database_option()
@click.option(
    "--from",
    "source",
    type=EXISTING_FILE,
    help="The copy.  [default: what is at --db was put back already, and is marked]",
)
def restore_db(db: str, source: Path | None) -> None:
    """Put a copy in the place of a database that was lost, and mark it as older than its devices.

    Nothing is sold to an account until its concentrator has told its standing, which it is asked
    for as soon as it calls.
    """
    with clear_store_errors():
        if source is None:
            with opened(db) as store:
                copies.mark(store)
        else:
            copies.put_back(source, db)
    echo(
        _(
            "{db} is in place: an account can buy once its concentrator has told its standing"
        ).format(db=_shown(db))
    )


@shown.command(
    epilog="""\b
Examples:
  dianka headend retain --db village.db --days 62
  dianka headend retain --db village.db --readings-days 1100
"""
)
@database_option()
@click.option(
    "--days",
    default=rolling.DAYS,
    show_default=True,
    type=_DAYS,
    help="Keep the raw records of this many days.",
)
@click.option(
    "--readings-days",
    type=_DAYS,
    help="Keep readings and what else meters told for this many days.  [default: for ever]",
)
@click.option(
    "--freezes-days",
    type=_DAYS,
    help="Keep the registers of each midnight for this many days.  [default: for ever]",
)
def retain(db: str, days: int, readings_days: int | None, freezes_days: int | None) -> None:
    """Delete old raw records, and where told old readings; money is kept for ever."""
    with opened(db) as store:
        today = to_t2000(datetime.now(store.zone()).replace(tzinfo=None)) // DAY_S
        before_at = int(time.time()) - days * DAY_S
        count = sum(rolling.retain(store, one, before_at) for one in rolling.concentrators(store))
        echo(_("{count} records are rolled up").format(count=count))
        for kept_days, drop, said in (
            (readings_days, rolling.drop_readings, _("{count} answers of meters are deleted")),
            (freezes_days, rolling.drop_freezes, _("{count} midnights of meters are deleted")),
        ):
            if kept_days is not None:
                count = 0
                while dropped := drop(store, today - kept_days):
                    count += dropped
                echo(said.format(count=count))


@contextmanager
def clear_store_errors() -> Iterator[None]:
    """Report an error of the database as one line for the user."""
    try:
        yield
    except (StoreError, migrate.MigrateError) as error:
        raise click.ClickException(str(error)) from error


def _shown(db: str) -> str:
    return db.rpartition("@")[2] if is_address(db) else db
