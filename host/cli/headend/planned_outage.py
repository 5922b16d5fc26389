"""`dianka headend planned-outage`: planned outages."""

from datetime import datetime

import click

from host.cli import shown
from host.cli.headend.account import printable
from host.cli.headend.database import opened
from host.cli.headend.look import lists, localised, print_list
from host.cli.options import Command, database_option
from host.cli.output import Column, echo
from host.headend import planned_outages
from host.headend.planned_outages import CALLED_OFF, DONE, LEVELS, Planned
from host.headend.store import Store
from host.words import _

_MOMENT = click.DateTime(("%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"))
_number = click.argument("number", type=click.IntRange(1))
_by = click.option("--by", required=True, callback=printable(64), help="Name of who does it.")
_since = click.option("--since", type=_MOMENT, required=True, help="When it begins.")
_until = click.option("--until", type=_MOMENT, required=True, help="When it ends.")


def _reason(text: str) -> Command:
    return click.option("--reason", required=True, callback=printable(200), help=text)


@shown.group(
    epilog="""\b
Examples:
  dianka headend planned-outage list --open --db village.db
  dianka headend planned-outage end 1 --by Li --reason "the line is back" --db village.db
""",
)
def planned_outage() -> None:
    """Plan outages of a place, tell those concerned, and close them."""


@planned_outage.command(
    "list",
    epilog="""\b
Example:
  dianka headend planned-outage list --open --db village.db
""",
)
@click.option("--open", "open_only", is_flag=True, help="Only those that have not ended.")
@database_option()
@lists
def list_command(open_only: bool, db: str, as_json: bool, as_csv: bool) -> None:
    """List the planned outages, that which begins first before others."""
    with opened(db, read_only=True) as store:
        rows = localised(planned_outages.outages(store, open_only=open_only), store.zone())
    columns = (
        (Column(_("number"), right=True), "number"),
        (Column(_("kind")), "level"),
        (Column(_("place")), "place"),
        (Column(_("from")), "since_at"),
        (Column(_("to")), "until_at"),
        (Column(_("state")), "state"),
        (Column(_("households"), right=True), "told"),
        (Column(_("reason"), wraps=True), "reason"),
    )
    print_list("outages", rows, columns, as_json, as_csv, _("there is none"))


@planned_outage.command(
    "plan",
    epilog="""\b
Example:
  dianka headend planned-outage plan district D-1 --since "2026-12-01 08:00" \\
  --until "2026-12-01 12:00" --reason "new transformer" --by Li --db village.db
""",
)
@click.argument("level", type=click.Choice(LEVELS))
@click.argument("where", metavar="[PLACE]", default="")
@_since
@_until
@_reason("Why, for those concerned.")
@_by
@database_option()
def plan_command(
    level: str, where: str, since: datetime, until: datetime, reason: str, by: str, db: str
) -> None:
    """Plan an outage of a district, a feeder, a concentrator, or the station.

    Times are those of the station's clock.
    """
    with opened(db) as store:
        span = (_at(store, since), _at(store, until))
        number = planned_outages.plan_outage(store, Planned(level, where, *span, reason), by)
        ((told),) = [
            one["told"] for one in planned_outages.outages(store) if one["number"] == number
        ]
    text = _("outage {number} is planned: {count} households are concerned")
    echo(text.format(number=number, count=told))


@planned_outage.command(
    "change",
    epilog="""\b
Example:
  dianka headend planned-outage change 1 --since "2026-12-02 08:00" \\
  --until "2026-12-02 12:00" --reason "rain" --by Li --db village.db
""",
)
@_number
@_since
@_until
@_reason("Why, for those concerned.")
@_by
@database_option()
def change_command(
    number: int, since: datetime, until: datetime, reason: str, by: str, db: str
) -> None:
    """Give an outage another time, of which those concerned hear again."""
    with opened(db) as store:
        planned_outages.change_outage(
            store, number, _at(store, since), _at(store, until), reason, by
        )
    echo(_("outage {number} is changed").format(number=number))


@planned_outage.command(
    "end",
    epilog="""\b
Examples:
  dianka headend planned-outage end 1 --by Li --reason "the line is back" --db village.db
  dianka headend planned-outage end 1 --called-off --by Li --reason "no crew" --db village.db
""",
)
@_number
@click.option("--called-off", is_flag=True, help="It does not take place.")
@_reason("What was done, or why it does not take place.")
@_by
@database_option()
def end_command(number: int, called_off: bool, reason: str, by: str, db: str) -> None:
    """Close an outage that is over, or call it off."""
    state = CALLED_OFF if called_off else DONE
    with opened(db) as store:
        planned_outages.end_outage(store, number, state, by, reason)
    echo(_("outage {number}: {state}").format(number=number, state=_(state)))


def _at(store: Store, moment: datetime) -> int:
    """Return a moment of the station's clock in seconds since 1970."""
    return int(moment.replace(tzinfo=store.zone()).timestamp())
