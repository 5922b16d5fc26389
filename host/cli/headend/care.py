"""`dianka headend init` and `upgrade`: making a database, and bringing one up to date."""

from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from host.cli import shown
from host.cli.headend.database import opened
from host.cli.options import database_option
from host.cli.output import echo
from host.headend import migrate
from host.headend.database import SCHEMA
from host.headend.errors import StoreError
from host.headend.store import is_address
from host.words import _


def _zone(text: str) -> str:
    try:
        return ZoneInfo(text).key
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise click.BadParameter(
            _("{text} is no time zone: write one like Asia/Shanghai").format(text=text)
        ) from error


_ZONE = click.types.FuncParamType(_zone)
_ZONE.name = "zone"


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
    type=_ZONE,
    default="Asia/Shanghai",
    show_default=True,
    help="Time zone of the station, in which days begin and sales are listed.",
)
def init(db: str, zone: str) -> None:
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
        database.run("UPDATE station SET zone = ?", (zone,))
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
            # Opening it tells what is to be done.
            with opened(db, read_only=True):
                pass
        if before < SCHEMA:
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


def _shown(db: str) -> str:
    return db.rpartition("@")[2] if is_address(db) else db
