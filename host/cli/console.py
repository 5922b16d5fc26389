"""`dianka console`: a technician's commands to a concentrator, over its serial line."""

import sys
from pathlib import Path

import click

from host.cards import keystore
from host.cli import shown
from host.cli.options import FILE, login_option, passphrase, port_option
from host.cli.output import echo
from host.frames import tariff
from host.frames.tariff_terms import TariffError
from host.link import setup
from host.link.console import Console, ConsoleError
from host.link.port import Port, PortError
from host.words import _


@shown.command(
    epilog="""\b
Examples:
  dianka console --port /dev/ttyUSB0 help
  dianka console --port /dev/ttyUSB0 status
  dianka console --port /dev/ttyUSB0 --tariff tariffs/zhejiang-tou.json --number 1
  dianka console --port /dev/ttyUSB0 meter add 983764 17 1
  dianka console --port /dev/ttyUSB0 account new 17
  dianka console --port socket://127.0.0.1:7646 account 17
Without a command, one line of input after another is carried out.
"""
)
@port_option
@click.option(
    "--tariff",
    "tariff_path",
    type=FILE,
    help="Load this tariff file before anything else.",
)
@click.option(
    "--number", default=1, show_default=True, type=click.IntRange(1, 8), help="Of the tariff."
)
@login_option
@click.argument("words", nargs=-1)
def command(
    port: str,
    tariff_path: Path | None,
    number: int,
    keys_path: Path | None,
    words: tuple[str, ...],
) -> None:
    """Ask a concentrator, set it up, load tariffs; `help` lists its own commands."""
    try:
        image = tariff.build(tariff.load(tariff_path), number) if tariff_path else b""
        with Port(port) as line:
            console = Console(line)
            if keys_path is not None:
                console.login(keystore.load(keys_path, passphrase).console_key)
            if image:
                setup.send_tariff(console, number, image)
                echo(_("tariff {number} in force").format(number=number))
            if words:
                _say(console.command(" ".join(words)))
            elif not image:
                _converse(console)
    except (PortError, ConsoleError, keystore.KeystoreError, TariffError) as error:
        raise click.ClickException(str(error)) from error


def _say(lines: list[str]) -> None:
    for line in lines:
        echo(line)


def _converse(console: Console) -> None:
    """Carry out each line of input; print a refusal, and go on with the next line."""
    for line in sys.stdin:
        if not line.strip():
            continue
        try:
            _say(console.command(line.strip()))
        except ConsoleError as error:
            echo(str(error), err=True, color="red")
