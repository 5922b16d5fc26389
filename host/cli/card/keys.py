"""`dianka card keys`: make key files, hand them down, bring keys to concentrators."""

from dataclasses import replace
from pathlib import Path

import click

from host.cards import keystore
from host.cards.issuing import IssueError
from host.cli import shown
from host.cli.card.desk import Desk, desk_options
from host.cli.options import (
    AMOUNT,
    DAY,
    FILE,
    TOTAL,
    clear_errors,
    console_of,
    new_passphrase,
    passphrase,
    port_option,
)
from host.cli.output import echo
from host.units import to_datetime
from host.words import _


@shown.group(
    epilog="""\b
Examples:
  dianka card keys new --district 4711
  dianka card keys hand-down --district 4711 --out counter-4711.toml
"""
)
def keys() -> None:
    """Make key files, hand down what a district needs, bring keys to concentrators."""


@keys.command(
    "new",
    epilog="""\b
Example:
  dianka card keys new --district 4711
""",
)
@desk_options
@click.option("--unsealed", is_flag=True, help="Without a passphrase: for tests and demos.")
def keys_new(desk: Desk, unsealed: bool) -> None:
    """Make the keys of a new issuer."""
    if desk.district_given is None:
        raise click.UsageError(_("say for which --district most cards will be"))
    with clear_errors():
        made = keystore.new(desk.district_given)
        keystore.save(desk.keys_path, made, None if unsealed else new_passphrase())
    echo(
        _("made {keys_path}: keep a copy offline; it can make money").format(
            keys_path=desk.keys_path
        )
    )


@keys.command(
    "hand-down",
    epilog="""\b
Example:
  dianka card keys hand-down --district 4711 --out counter.toml \\
      --last-day 2027-06-30 --card-limit 500 --total-limit 100000
""",
)
@desk_options
@click.option("--out", required=True, type=FILE, help="The key file to make.")
@click.option("--last-day", type=DAY, help="Last day on which it issues cards, YYYY-MM-DD.")
@click.option(
    "--card-limit", "card_fen", type=AMOUNT, default=None, help="Most that one card may hold."
)
@click.option(
    "--total-limit",
    "total_fen",
    type=TOTAL,
    default=None,
    help="Most that all cards of its log may hold.",
)
def keys_hand_down(
    desk: Desk, out: Path, last_day: int | None, card_fen: int | None, total_fen: int | None
) -> None:
    """Make the key file of a counter that works for one district, within limits."""
    with clear_errors():
        ends = to_datetime(last_day).date() if last_day is not None else None
        limits = keystore.Limits(ends, card_fen or 0, total_fen or 0)
        part = desk.held.handed_down(desk.district, desk.key_version, limits)
        keystore.save(out, part, new_passphrase())
    echo(
        _("made {out}: district {district} in key version {key_version} alone").format(
            out=out, district=part.district, key_version=part.key_version
        )
    )


@keys.command(
    "advance",
    epilog="""\b
Example:
  dianka card keys advance
""",
)
@desk_options
def keys_advance(desk: Desk) -> None:
    """Issue under the next key version from now on, once all concentrators have its key."""
    with clear_errors():
        held = desk.held
        if not held.issuer_key:
            raise IssueError(_("this file holds one version only: have the next one handed down"))
        if held.key_version == 255:
            raise IssueError(_("there is no key version after 255: begin with new keys"))
        sealed = passphrase() if keystore.is_sealed(desk.keys_path) else None
        moved = replace(held, key_version=held.key_version + 1)
        keystore.save(desk.keys_path, moved, sealed, overwrite=True)
    echo(
        _("{keys_path}: key version {key_version}").format(
            keys_path=desk.keys_path, key_version=moved.key_version
        )
    )


@keys.command(
    "install",
    epilog="""\b
Example:
  dianka card keys install --port /dev/ttyUSB0
""",
)
@desk_options
@port_option
def keys_install(desk: Desk, port: str) -> None:
    """Give a concentrator the key of its district and of its console."""
    with clear_errors():
        key, console_key = desk.key, desk.held.console_key
        with console_of(port, console_key) as console:
            console.command(f"set district {desk.district}")
            console.set_secret("card_key", key)
            console.command(f"set card_key_version {desk.key_version}")
            console.set_secret("console_key", console_key)
    echo(
        _("{port} takes cards of district {district}, key version {key_version}").format(
            port=port, district=desk.district, key_version=desk.key_version
        )
    )
