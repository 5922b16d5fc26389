"""`dianka headend supply`, `feed`, `connect` and `district`: what feeds what, and since when."""

from typing import Any

import click

from host.cli import shown
from host.cli.headend.account import printable
from host.cli.headend.database import opened
from host.cli.headend.look import lists, print_list
from host.cli.options import DAY_BEGIN, Command, account_argument, database_option
from host.cli.output import Column, echo
from host.headend import topology
from host.units import DAY_S, to_datetime
from host.words import _, marked

_RATIO = click.IntRange(1, 65535)


def _since_option(function: Command) -> Command:
    return click.option(
        "--since", "since_t2000", type=DAY_BEGIN, required=True, help="From this day on."
    )(function)


def day_text(day: int | None) -> str:
    """Return a day as YYYY-MM-DD, "-" for none."""
    return "-" if day is None else f"{to_datetime(day * DAY_S):%Y-%m-%d}"


@shown.group(
    epilog="""\b
Example:
  dianka headend supply list --db village.db
"""
)
def supply() -> None:
    """Supply meters: those without a customer that measure what goes into districts and feeders.

    On its concentrator such a meter is added like any other, under an account number of its own,
    with a tariff of price 0, CT x PT as its multiplier, and `guard`. Nothing is sold to it.
    """


@supply.command(
    "add",
    epilog="""\b
Examples:
  dianka headend supply add 990000000001 --district R4 --ct 40 --since 2026-07-01 --db village.db
  dianka headend supply add 990000000002 --feeder F1 --ct 60 --since 2026-07-01 --db village.db
""",
)
@account_argument
@database_option()
@click.option(
    "--district", "name", default="", callback=printable(32), help="The district that it measures."
)
@click.option(
    "--feeder", default="", callback=printable(64), help="The feeder of 10 kV that it measures."
)
@click.option("--ct", type=_RATIO, default=1, show_default=True, help="Ratio of current.")
@click.option("--pt", type=_RATIO, default=1, show_default=True, help="Ratio of voltage.")
@_since_option
def add(account: str, db: str, name: str, feeder: str, ct: int, pt: int, since_t2000: int) -> None:
    """Have a meter measure what a district or a feeder is supplied with, from a day on."""
    if bool(name) == bool(feeder):
        raise click.UsageError(_("give --district or --feeder, one of them"))
    level = topology.DISTRICT if name else topology.FEEDER
    with opened(db) as store:
        topology.add_supply(store, account, level, name or feeder, (ct, pt), since_t2000 // DAY_S)
    echo(
        _("account {account} measures {place} times {ratio} from {day} on").format(
            account=account,
            place=name or feeder,
            ratio=ct * pt,
            day=day_text(since_t2000 // DAY_S),
        )
    )


@supply.command(
    "list",
    epilog="""\b
Example:
  dianka headend supply list --db village.db
""",
)
@database_option()
@lists
def list_command(db: str, as_json: bool, as_csv: bool) -> None:
    """List the supply meters by place."""
    with opened(db, read_only=True) as store:
        rows = topology.supplies(store)
    columns = (
        (Column(marked("level")), "level"),
        (Column(marked("place")), "place"),
        (Column(marked("account")), "account"),
        (Column(marked("meter")), "meter"),
        (Column(marked("current ratio"), right=True), "ct"),
        (Column(marked("voltage ratio"), right=True), "pt"),
        (Column(marked("since")), "since"),
        (Column(marked("until")), "until"),
    )
    told: list[dict[str, Any]] = []
    for row in rows:
        days = {"since": day_text(row.pop("since_day")), "until": day_text(row.pop("until_day"))}
        told.append({**row, **days})
    empty = _("no supply meter is known: `dianka headend supply add`")
    print_list("supply", told, columns, as_json, as_csv, empty)


@shown.command(
    epilog="""\b
Example:
  dianka headend feed R4 F1 --since 2026-07-01 --db village.db
"""
)
@click.argument("district", callback=printable(32))
@click.argument("feeder", callback=printable(64))
@database_option()
@_since_option
def feed(district: str, feeder: str, db: str, since_t2000: int) -> None:
    """Have a feeder of 10 kV feed a district from a day on."""
    with opened(db) as store:
        topology.feed(store, district, feeder, since_t2000 // DAY_S)
    echo(
        _("{feeder} feeds {district} from {day} on").format(
            feeder=feeder, district=district, day=day_text(since_t2000 // DAY_S)
        )
    )


@shown.command(
    epilog="""\b
Example:
  dianka headend connect 000000000017 R4 --phase A --since 2026-07-01 --db village.db
"""
)
@account_argument
@click.argument("district", callback=printable(32))
@database_option()
@click.option("--phase", type=click.Choice(topology.PHASES[1:]), help="Which it is on.")
@click.option(
    "--distance", type=click.IntRange(0, 50_000), default=0, help="Metres from the transformer."
)
@_since_option
def connect(
    account: str, district: str, db: str, phase: str | None, distance: int, since_t2000: int
) -> None:
    """Have an account be on a district's line from a day on, also in the register."""
    with opened(db) as store:
        topology.connect(store, account, district, since_t2000 // DAY_S, phase or "", distance)
    echo(
        _("account {account} is on the line of {district} from {day} on").format(
            account=account, district=district, day=day_text(since_t2000 // DAY_S)
        )
    )


_PERCENT = click.FloatRange(0, 99.99)


def _e4(percent: float | None) -> int | None:
    return None if percent is None else round(percent * 100)


@shown.command(
    epilog="""\b
Example:
  dianka headend district R4 --kva 100 --target 9.3 --technical 6.2 --db village.db
"""
)
@click.argument("name", callback=printable(32))
@database_option()
@click.option("--kva", type=click.IntRange(1, 100_000), help="What its transformer is rated at.")
@click.option("--target", type=_PERCENT, help="Per cent that may be lost.")
@click.option("--technical", type=_PERCENT, help="Per cent lost in wires; 0: have it estimated.")
def district(
    name: str, db: str, kva: int | None, target: float | None, technical: float | None
) -> None:
    """Set what is known of a district: its transformer, its target, its technical loss."""
    with opened(db) as store:
        share = _e4(technical)
        topology.set_district(store, name, kva, _e4(target), -1 if share is None else share)
    echo(_("district {name} is set").format(name=name))
