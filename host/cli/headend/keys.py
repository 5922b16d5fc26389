"""`dianka headend keys`: the file of the uplink keys."""

from pathlib import Path

import click

from host.cli import shown
from host.cli.options import FILE
from host.cli.output import echo
from host.headend import keys
from host.words import _


@shown.group(
    epilog="""\b
Example:
  dianka headend keys new --keys uplink.toml --concentrator 7
""",
)
def keys_group() -> None:
    """Make the keys under which concentrators and this head-end know each other."""


@keys_group.command(
    "new",
    epilog="""\b
Examples:
  dianka headend keys new --keys uplink.toml --concentrator 7
  dianka headend serve --db village.db --keys uplink.toml
""",
)
@click.option("--keys", "path", required=True, type=FILE, help="The key file, made if it is new.")
@click.option(
    "--concentrator",
    required=True,
    type=click.IntRange(1, keys.CONCENTRATOR_LIMIT - 1),
    help="Number of the concentrator.",
)
def new(path: Path, concentrator: int) -> None:
    """Make a random key for a concentrator; it stands in the file alone and is never shown.

    A head-end that serves knows it after SIGHUP.
    """
    try:
        keys.add(path, concentrator)
    except keys.KeysError as error:
        raise click.ClickException(str(error)) from error
    echo(
        _("{path} has a new key of concentrator {concentrator}").format(
            path=path, concentrator=concentrator
        )
    )
