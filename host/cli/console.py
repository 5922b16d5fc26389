"""`dianka console`: a technician's commands to a concentrator, over its serial line."""

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

import click

from host.cards import keystore
from host.cli import prompting, shown
from host.cli.options import FILE, load_consoles, login_option, port_option, typed_secret
from host.cli.output import echo
from host.frames import tariff
from host.frames.tariff_terms import TariffError
from host.link import setup
from host.link.console import Console, ConsoleError, names_a_secret
from host.link.port import Port, PortError
from host.words import _

# The console key is made of them.
_OF_THE_KEY = ("id", "district", "console_key_version")


@shown.command(
    epilog="""\b
Examples:
  dianka console --port /dev/ttyUSB0 help
  dianka console --port /dev/ttyUSB0 status
  dianka console --port /dev/ttyUSB0 --tariff tariffs/zhejiang-tou.json --number 1
  dianka console --port /dev/ttyUSB0 meter add 983764 17 1
  dianka console --port /dev/ttyUSB0 account new 17
  dianka console --port socket://127.0.0.1:7646 account 17
  dianka console --port unix:flash.bin.console --keys keys.toml --script village.txt
Without a command, one line of input after another is carried out; Tab completes what is typed. A
script has one command a line; it ends at the first that is refused, with status 1.
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
    "--number",
    type=click.IntRange(1, 8),
    help="Of the tariff.  [default: 1, where the concentrator has none yet]",
)
@login_option
@click.option(
    "--script",
    type=click.File(encoding="utf-8-sig"),
    help="Carry out the lines of this file, - for the input, up to the first refusal.",
)
@click.argument("words", nargs=-1)
def command(
    port: str,
    tariff_path: Path | None,
    number: int | None,
    keys_path: Path | None,
    script: TextIO | None,
    words: tuple[str, ...],
) -> None:
    """Ask a concentrator, set it up, load tariffs; `help` lists its own commands."""
    if script is not None and words:
        raise click.UsageError(_("give a command or a --script, not both"))
    said = _without_secrets(words)
    try:
        loaded = tariff.load(tariff_path) if tariff_path else None
        with Port(port) as line, ExitStack() as held:
            console = held.enter_context(Console(line))
            if keys_path is not None:
                console.login(load_consoles(keys_path))
            if loaded is not None:
                number = number or _first_number(console)
                setup.send_tariff(console, number, tariff.build(loaded, number))
                echo(_("tariff {number} in force").format(number=number))
            if script is not None:
                _follow(console, script)
            elif said:
                _say(_carried_out(console, said))
            elif sys.stdin.isatty():
                _converse(console)
            elif loaded is None:
                _carry_out_input(console)
    except (PortError, ConsoleError, keystore.KeystoreError, TariffError) as error:
        raise click.ClickException(str(error)) from error


def _first_number(console: Console) -> int:
    """Return 1 where the concentrator has no tariff; ConsoleError: prices would change unasked."""
    rows = console.command("tariff list")[1:]
    if rows:
        raise ConsoleError(
            _("tariffs are in force here ({numbers}): say by --number which one this is").format(
                numbers=", ".join(row.partition(" ")[0] for row in rows)
            )
        )
    return 1


def _carried_out(console: Console, words: list[str]) -> list[str]:
    """Carry a command out; a secret travels hidden."""
    if names_a_secret(words) and len(words) > 2:
        try:
            return console.set_secret(words[1], bytes.fromhex(" ".join(words[2:])))
        except ValueError:
            raise ConsoleError(
                _("{name} takes hexadecimal digits").format(name=words[1])
            ) from None
    if console.in_session and words[:1] == ["set"] and words[1:2] and words[1] in _OF_THE_KEY:
        raise ConsoleError(
            _(
                "{name} says which console key opens this concentrator: change it with `dianka "
                "card keys install`, which brings that key, or at the prompt with `dianka flash`"
            ).format(name=words[1])
        )
    return console.command(" ".join(words))


def _without_secrets(words: tuple[str, ...]) -> list[str]:
    """The words of the command line; a secret is read where `-` stands for it."""
    # A command in quotation marks is one word to the shell.
    said = " ".join(words).split()
    if names_a_secret(said) and len(said) > 2:
        if said[2:] != ["-"]:
            raise click.UsageError(
                _(
                    "a secret on the command line stays in its history and is seen by others: "
                    "say `set {name} -` and type it"
                ).format(name=said[1])
            )
        said[2:] = [typed_secret(said[1])]
    return said


def _say(lines: list[str]) -> None:
    for line in lines:
        echo(line)


def _follow(console: Console, script: TextIO) -> None:
    """Carry out a script; ConsoleError names the first line that was refused."""
    for number, line in enumerate(script, 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            _say(_carried_out(console, words))
        except ConsoleError as error:
            raise ConsoleError(
                _("{name}, line {number}: {error}; nothing behind it was carried out").format(
                    name=script.name, number=number, error=error
                )
            ) from error


def _converse(console: Console) -> None:
    """Carry out what is typed; print a refusal, and go on."""
    commands = console.command("help")
    for line in prompting.typed("dianka> ", commands):
        try:
            _say(_carried_out(console, _without_secrets(tuple(line.split()))))
        except (ConsoleError, click.UsageError) as error:
            echo(str(error), err=True, color="red")


def _carry_out_input(console: Console) -> None:
    """Carry out each line of input; print a refusal and go on, then end with status 1."""
    refused = 0
    for line in sys.stdin:
        if not line.strip():
            continue
        try:
            _say(_carried_out(console, line.split()))
        except ConsoleError as error:
            echo(str(error), err=True, color="red")
            refused += 1
    if refused:
        raise ConsoleError(_("{count} commands were refused").format(count=refused))
