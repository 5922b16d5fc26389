"""`dianka setup`: bring a concentrator to what one file says."""

from pathlib import Path

import click

from host import setting_up
from host.cards import keystore
from host.cli import shown
from host.cli.options import FILE, load_keys, yes_option
from host.cli.output import echo
from host.frames.tariff_terms import TariffError
from host.headend.keys import KeysError
from host.link.console import Console, ConsoleError
from host.link.port import Port, PortError
from host.rows import RowsError
from host.words import _


@shown.command(
    epilog="""\b
Examples:
  dianka setup village.toml
  dianka setup village.toml --port /dev/ttyUSB0 --yes
  dianka setup village.toml --check
The file is TOML with these parts; all but the first are optional:
  concentrator  its id and port; card_keys and uplink_keys are names of files
  settings      numbers, by the names that the console's `settings` shows
  tariffs       a tariff file for each number
  meters        list is a CSV file with meter, account, tariff, line, standard, new
"""
)
@click.argument("file", type=FILE)
@click.option("--port", help="The concentrator's console, in place of the file's.")
@click.option("--check", is_flag=True, help="Show the difference only; status 1 if there is one.")
@yes_option
def command(file: Path, port: str | None, check: bool, yes: bool) -> None:
    """Set a concentrator up by one file: number, keys, prices, meters; what is right stays."""
    try:
        wanted = setting_up.read(file, load_keys)
        place = port or wanted.port
        if place is None:
            raise click.UsageError(_("name the console: --port, or port in [concentrator]"))
        with Port(place) as line, Console(line) as console:
            if "console_key" in wanted.secrets and wanted.keys is not None:
                console.login(wanted.keys)
            _bring(console, wanted, check, yes)
    except (
        *(setting_up.VillageError, PortError, ConsoleError, TariffError),
        *(keystore.KeystoreError, KeysError, RowsError),
    ) as error:
        raise click.ClickException(str(error)) from error


def _bring(console: Console, wanted: setting_up.Wanted, check: bool, yes: bool) -> None:
    """Show what differs, then change it; ConsoleError when something was refused."""
    steps = [*setting_up.steps(wanted, setting_up.ask(console), console)]
    for step in steps:
        echo(step.text if not step.trouble else f"{step.text}: {step.trouble}")
    if not steps:
        echo(_("nothing to change: the concentrator is as the file says"))
        return
    if check:
        raise click.exceptions.Exit(1)
    todo = [step for step in steps if step.act is not None]
    if console.is_unproven:
        echo(
            _(
                "what answers says that it has no console key: its first keys travel in clear. Go "
                "on only if it is a new concentrator on a line of yours"
            ),
            err=True,
            color="yellow",
        )
        console.expects_new = True
    refused = len(steps) - len(todo)
    if todo and not yes:
        click.confirm(_("Carry out {count} changes?").format(count=len(todo)), abort=True)
    for step in todo:
        try:
            if step.act is not None:
                step.act(console)
        except ConsoleError as error:
            refused += 1
            echo(f"{step.text}: {error}", err=True, color="red")
    echo(_("{done} of {count} carried out").format(done=len(steps) - refused, count=len(steps)))
    if refused:
        raise ConsoleError(_("{refused} were refused, see above").format(refused=refused))
