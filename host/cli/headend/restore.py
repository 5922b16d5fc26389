"""`dianka headend restore`: send the accounts to a concentrator that has lost its books."""

from pathlib import Path

import click

from host.cli import shown
from host.cli.headend.database import opened
from host.cli.options import (
    clear_errors,
    database_option,
    load_consoles,
    login_option,
    port_option,
)
from host.cli.output import echo
from host.headend.standing import UNKNOWN_LINE, Standing, standings
from host.link import console as link_console
from host.link.port import Port
from host.link.setup import fields_of
from host.words import _


@shown.command(
    "restore",
    epilog="""\b
Example:
  dianka headend restore --db village.db --concentrator 7 --port /dev/ttyUSB0
""",
)
@database_option()
@click.option("--concentrator", required=True, type=int, help="Number of the concentrator.")
@port_option
@login_option
@click.option("--add-meters", is_flag=True, help="Register the meters that are not there.")
def restore_command(
    db: str, concentrator: int, port: str, keys_path: Path | None, add_meters: bool
) -> None:
    """Tell a replaced concentrator the standing of each account; then it takes cards.

    Where the concentrator knows a newer order than this database, its books stay as they are. An
    exchanged board without its meters gets them as well with --add-meters; its settings and
    tariffs have to be there.
    """
    with opened(db, read_only=True) as store:
        known = standings(store, concentrator)
    if not known:
        raise click.ClickException(
            _("{db} knows no account of concentrator {concentrator}").format(
                db=db, concentrator=concentrator
            )
        )
    with clear_errors(), Port(port) as line, link_console.Console(line) as console:
        if keys_path is not None:
            console.login(load_consoles(keys_path))
        restored, troubles = 0, []
        for one in known:
            try:
                restored += _restore(console, one, add_meters)
            except link_console.ConsoleError as error:
                place = _("account {account}: {error}")
                troubles.append(place.format(account=one.account, error=error))
        if troubles:
            hint = _(
                "{restored} of {known} accounts restored, no card is taken until the others are "
                "as well: mend this, then give the command again"
            )
            troubles.append(hint.format(restored=restored, known=len(known)))
            raise click.ClickException("\n".join(troubles))
        console.command("restored")
    echo(
        _("{restored} accounts restored, {kept} were known, cards are taken again").format(
            restored=restored, kept=len(known) - restored
        )
    )


def _restore(console: link_console.Console, one: Standing, add_meters: bool) -> bool:
    """Send the standing of one account; return whether the concentrator knew less."""
    try:
        found = fields_of(console.command(f"account {one.account}"))
    except link_console.ConsoleError:
        if not add_meters:
            raise
        if one.line == UNKNOWN_LINE:
            raise link_console.ConsoleError(
                _(
                    "it came from another concentrator, and its line here is not known: give "
                    "`meter add {meter} {account} TARIFF LINE` first"
                ).format(meter=one.meter, account=one.account)
            ) from None
        console.command(f"meter add {one.meter} {one.account} {one.tariff} {one.line}")
        found = {"meter": one.meter}
    with link_console.making_sense():
        before = found["meter"]
    if before != one.meter:
        said = _(
            "account {account} had meter {old} and has {new}: its registers begin with the next "
            "reading"
        )
        echo(said.format(account=one.account, old=one.meter, new=before))
    told = one.told(before)
    answer = "".join(console.command(f"account restore {one.account} {told}"))
    if answer.startswith("kept"):
        echo(_("account {account}: {error}").format(account=one.account, error=answer))
        return False
    return True
