"""`dianka headend keys`: the file of the uplink keys."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click

from host import secret_files
from host.cli import shown
from host.cli.options import FILE, Command, json_option, typed_secret
from host.cli.output import Column, echo, print_json, print_table
from host.headend import keys
from host.headend.gate import key_print
from host.words import _, marked


@shown.group(
    epilog="""\b
Examples:
  dianka headend keys new --keys uplink.toml --concentrator 7
  dianka headend keys list --keys uplink.toml
""",
)
def keys_group() -> None:
    """Keep the keys under which concentrators and this head-end know each other.

    A head-end that serves reads the file again at SIGHUP.
    """


def _file_option(function: Command) -> Command:
    option = click.option("--keys", "path", required=True, type=FILE, help="The key file.")
    return option(function)


def _concentrator_option(function: Command) -> Command:
    option = click.option(
        "--concentrator",
        required=True,
        type=click.IntRange(1, keys.CONCENTRATOR_LIMIT - 1),
        help="Number of the concentrator.",
    )
    return option(function)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Say in one line why a key file cannot be used, and warn where others can read it."""
    if warning := secret_files.warning_about(path):
        echo(warning, err=True)
    try:
        yield
    except keys.KeysError as error:
        raise click.ClickException(str(error)) from error


@keys_group.command(
    "new",
    epilog="""\b
Examples:
  dianka headend keys new --keys uplink.toml --concentrator 7
  dianka headend serve --db village.db --keys uplink.toml
""",
)
@_file_option
@_concentrator_option
def new(path: Path, concentrator: int) -> None:
    """Make a random key for a concentrator; it stands in the file alone and is never shown.

    The file is made if it is not there.
    """
    with _told(path):
        keys.new(path, concentrator)
    echo(
        _("{path} has a new key of concentrator {concentrator}").format(
            path=path, concentrator=concentrator
        )
    )


@keys_group.command(
    "add",
    epilog="""\b
Example:
  dianka headend keys add --keys uplink.toml --concentrator 7
""",
)
@_file_option
@_concentrator_option
def add(path: Path, concentrator: int) -> None:
    """Take a key that a board has already: asked for unseen, or a line of the standard input."""
    digits = typed_secret(_("its key, hexadecimal digits"))
    with _told(path):
        keys.add(path, concentrator, digits)
    echo(
        _("{path} has the key of concentrator {concentrator}").format(
            path=path, concentrator=concentrator
        )
    )


@keys_group.command(
    "withdraw",
    epilog="""\b
Example:
  dianka headend keys withdraw --keys uplink.toml --concentrator 7
""",
)
@_file_option
@_concentrator_option
def withdraw(path: Path, concentrator: int) -> None:
    """Take a concentrator's key out of use, as when its board was stolen.

    Nothing that comes under this key is taken any more, and its board is told so. `new` then makes
    the key of the board that takes its place.
    """
    with _told(path):
        keys.withdraw(path, concentrator)
    echo(
        _(
            "{path}: the key of concentrator {concentrator} is withdrawn; a head-end that serves "
            "knows it after SIGHUP"
        ).format(path=path, concentrator=concentrator)
    )


_IN_USE, _WITHDRAWN = marked("in use"), marked("withdrawn")
_COLUMNS = (
    Column(marked("concentrator"), right=True),
    Column(marked("key")),
    Column(marked("fingerprint")),
)


@keys_group.command(
    "list",
    epilog="""\b
Examples:
  dianka headend keys list --keys uplink.toml
  dianka headend keys list --keys uplink.toml --json
""",
)
@_file_option
@json_option
def show(path: Path, as_json: bool) -> None:
    """List the concentrators that have a key, with its fingerprint, never the key itself."""
    with _told(path):
        found = keys.read(path)
    states = ((_IN_USE, found.keys), (_WITHDRAWN, found.withdrawn))
    rows = sorted(
        (concentrator, state, key_print(key))
        for state, some in states
        for concentrator, key in some.items()
    )
    if as_json:
        names = ("concentrator", "key", "fingerprint")
        print_json({"keys": [dict(zip(names, row, strict=True)) for row in rows]})
        return
    named = [replace(column, name=_(column.name)) for column in _COLUMNS]
    print_table(named, [(str(number), _(state), text) for number, state, text in rows])
