"""`dianka sim village`: a made village's past, written into a new database of a head-end."""

from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress

from host.cli import shown
from host.cli.options import FILE, json_option
from host.cli.output import echo, print_json
from host.words import _


@shown.command(
    epilog="""\b
Examples:
  dianka sim village --example
  dianka sim village village.yaml --days 365 --into village.db
  dianka sim village village.yaml --days 60 --seed 7 --into seven.db
\b
Beside village.db it writes village.truth.json: who steals, what is broken, and what was really
supplied and lost. The head-end never reads it.
"""
)
@click.argument("file", type=FILE, required=False)
@click.option("--example", is_flag=True, help="Print a description to begin with, and end.")
@click.option(
    "--days",
    default=60,
    show_default=True,
    type=click.IntRange(1, 3660),
    help="Days from the village's first on.",
)
@click.option(
    "--seed",
    default=1,
    show_default=True,
    type=click.IntRange(0, 2**31 - 1),
    help="Of the village.",
)
@click.option(
    "--into",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The database to make.",
)
@json_option
def village(
    file: Path | None, example: bool, days: int, seed: int, into: Path | None, as_json: bool
) -> None:
    """Write a made village's past into a new database.

    FILE describes feeders and districts in YAML or JSON. Loads, line losses, theft, faults,
    outages and voltages follow from it and the seed: the same file, days and seed give the same
    records.
    """
    from host.sim.village.plan import VillageError, load_village
    from host.sim.village.plan import example as description

    if example:
        for line in description().splitlines():
            echo(line)
        return
    if file is None:
        raise click.UsageError(
            _("give the description of a village: `dianka sim village --example` prints one")
        )
    if into is None:
        raise click.UsageError(_("say with --into which database to make"))
    from host.headend.errors import StoreError
    from host.village.writing import write

    console = Console(stderr=True)
    try:
        plan = load_village(file)
        with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task(_("days"), total=days)
            made = write(plan, days, seed, into, lambda done: bar.update(task, completed=done))
    except (VillageError, StoreError) as error:
        raise click.ClickException(str(error)) from error
    told = {
        "database": str(into),
        "truth": str(made.truth),
        "accounts": made.accounts,
        "days": made.days,
        "records": made.records,
        "thefts": made.thefts,
        "faults": made.faults,
    }
    if as_json:
        print_json(told)
        return
    echo(_("{database}: {accounts} accounts, {days} days, {records} records").format(**told))
    echo(
        _("{truth}: {thefts} thefts and {faults} faults, which the head-end does not know").format(
            **told
        )
    )
