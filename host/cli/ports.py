"""`dianka ports`: which serial ports this computer has."""

import click

from host.cli import shown
from host.cli.options import json_option
from host.cli.output import Column, print_json, print_table
from host.link import ports
from host.words import _


@shown.command(
    epilog="""\b
Examples:
  dianka ports
  dianka ports --json
Without --port, a command takes the only port that fits: for a console that of a board, else of a
converter; for meters that of a converter.
"""
)
@json_option
def command(as_json: bool) -> None:
    """List the serial ports of USB devices, with what they are; status 1 if there is none."""
    found = ports.found()
    if as_json:
        print_json([{"port": one.name, "device": one.text, "kind": one.kind} for one in found])
    elif found:
        columns = (Column(_("port")), Column(_("kind")), Column(_("device"), wraps=True))
        print_table(columns, [(one.name, _(one.kind), one.text) for one in found])
    if not found:
        raise click.ClickException(
            _("no USB device with a serial port is plugged in; others are named by --port")
        )
