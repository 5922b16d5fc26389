"""The `dianka` command: a table of command groups, each in its own file, loaded when used."""

import importlib
import io
import os
import sys
import warnings
from getpass import GetPassWarning
from typing import Any

import click

from host import words
from host.cli import config, shown
from host.cli.output import echo
from host.harmless import harmless_lines
from host.words import _, system_reason

COMMANDS: dict[str, tuple[str, str]] = {
    "decode": ("host.cli.decode", "Decode DL/T 645 frames (2007 and 1997) to JSON or text."),
    "identifiers": ("host.cli.identifiers", "Find data identifiers by their names or digits."),
    "sniff": ("host.cli.sniff", "Decode a live meter line: when, who, how fast and what."),
    "bill": ("host.cli.bill", "Price kilowatt-hours under a tariff file, exactly."),
    "explain": ("host.cli.explain", "Explain and recompute an account out of a journal."),
    "card": ("host.cli.card.commands", "Issue, show and redeem prepaid IC cards."),
    "counter": ("host.cli.counter", "Give the station's pages this computer's card reader."),
    "meter": ("host.cli.meter.commands", "Find, read, write, set and switch meters on a line."),
    "concentrator": ("host.cli.concentrator", "Run a concentrator on this computer."),
    "setup": ("host.cli.setup", "Set a concentrator up by one file; shows what would change."),
    "console": ("host.cli.console", "Talk to a concentrator: set it up, ask it, load tariffs."),
    "flash": ("host.cli.flash", "Put the firmware on a board, in two slots; go back to the old."),
    "firmware": ("host.cli.firmware", "Sign the firmware and pack it into one file."),
    "sim": ("host.cli.sim", "Simulate meters on a line, and run seeded worlds of faults."),
    "headend": ("host.cli.headend.commands", "Receive, store and acknowledge readings."),
    "ports": ("host.cli.ports", "List the serial ports of this computer."),
    "completion": ("host.cli.completion", "Have the shell complete commands with Tab."),
    "demo": ("host.cli.demo", "The whole chain on real MicroPython, in under 90 seconds."),
}

# As a shell says of a program whose reader has gone away.
_NO_READER = 141
_EPILOG = """\b
Examples:
  dianka decode 6864379800000068910633343435CC548A16
  dianka bill tariffs/zhejiang-tou.json --used-before 2730 peak=50 valley=40
  dianka sim run --seed 7 --days 3 --meters 8
Defaults stand in ~/.config/dianka/config.toml, or in the file that DIANKA_CONFIG names: port,
meter_port, db, zone, lang, card_keys, card_log, each as name = "text". An option wins over a
variable such as DIANKA_PORT, a variable over the file.
"""


class _LazyGroup(shown.Group):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the options; --lang wins over the language of the system."""
        words.speak(words.language_wanted())
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, summary = COMMANDS[cmd_name]
        command: click.Command = importlib.import_module(module).command
        command.short_help = summary
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what went wrong may be told in the words of a device or a file."""
        try:
            with warnings.catch_warnings():
                # Raised where a secret would be shown as it is typed: there is no terminal.
                warnings.simplefilter("error", GetPassWarning)
                result = super().invoke(ctx)
                sys.stdout.flush()
                return result
        except BrokenPipeError as error:
            _drop_output()
            raise click.exceptions.Exit(_NO_READER) from error
        except OSError as error:
            _drop_output()
            raise click.ClickException(_told(error)) from error
        except (click.Abort, GetPassWarning) as error:
            if sys.stdin.isatty():
                raise
            raise click.ClickException(
                _(
                    "stopped at a question: without a terminal, answer it by --yes, or by the "
                    "variable that --help names"
                )
            ) from error
        except click.UsageError as error:
            raise click.UsageError(harmless_lines(error.format_message()), error.ctx) from error
        except click.ClickException as error:
            raise click.ClickException(harmless_lines(error.format_message())) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section(_("Commands")):
            formatter.write_dl([(name, _(COMMANDS[name][1])) for name in COMMANDS])


def _drop_output() -> None:
    """Have what was printed last go nowhere, if it cannot be written."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _told(error: OSError) -> str:
    """Return what a system refused, and for which file."""
    place = error.filename if isinstance(error.filename, str) else _("the output")
    return _("{place}: {reason}; choose another place, or make room or rights there").format(
        place=harmless_lines(place), reason=system_reason(error)
    )


def _choose_language(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value:
        words.speak(value)


@shown.command(cls=_LazyGroup, epilog=_EPILOG, context_settings=shown.HELP_OPTIONS)
@click.option(
    "--lang",
    type=click.Choice(words.LANGUAGES),
    is_eager=True,
    expose_value=False,
    callback=_choose_language,
    help="Language of all texts.  [default: DIANKA_LANG, else the system's]",
)
@click.version_option(package_name="dianka")
def cli() -> None:
    """Dianka (电卡): open tools for prepaid IC-card electricity meters."""


def main() -> None:
    """Run the command line; a user's mistake ends with one clear line and status 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        config.apply()
    except config.ConfigError as error:
        echo(_("Error: {error}").format(error=error), err=True)
        sys.exit(2)
    sys.exit(cli())
