"""`dianka card keys`: make key files, hand them down, bring keys to concentrators."""

import secrets
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import click

from host.cards import keystore
from host.cards.audit import AuditLog
from host.cards.issuing import IssueError
from host.cards.keystore import CardKeys, ConsoleKeys
from host.cli import shown
from host.cli.card.desk import Desk, console_keys_option, desk_options
from host.cli.options import (
    AMOUNT,
    DAY,
    FILE,
    TOTAL,
    clear_errors,
    new_passphrase,
    passphrase,
    port_option,
    yes_option,
)
from host.cli.output import echo
from host.link.console import Console, WrongKeyError, making_sense
from host.link.port import Port
from host.units import to_datetime
from host.words import _

# The greatest number of a concentrator.
CONCENTRATOR_LIMIT = 0x3FFFFFFF
_VERSION_LIMIT = 255
_SEED_SIZE = 32


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
    "console",
    epilog="""\b
Examples:
  dianka card keys console --concentrator 7 --concentrator 8 --out technician.toml
  dianka card keys console --concentrator 7 --read-only --out clerk.toml
""",
)
@desk_options
@click.option(
    "--concentrator",
    "concentrators",
    multiple=True,
    required=True,
    type=click.IntRange(1, CONCENTRATOR_LIMIT),
    help="Number of a concentrator; as often as needed.",
)
@click.option("--read-only", is_flag=True, help="Keys that show accounts and change nothing.")
@click.option("--out", required=True, type=FILE, help="The file to make.")
def keys_console(desk: Desk, concentrators: tuple[int, ...], read_only: bool, out: Path) -> None:
    """Make a technician's file: it opens these concentrators' consoles, and makes no card."""
    with clear_errors():
        held = replace(desk.held, district=desk.district)
        keystore.save(out, held.consoles(concentrators, read_only), new_passphrase())
    echo(
        _("made {out}: console key version {version} of {numbers} in district {district}").format(
            out=out,
            version=held.console_version,
            numbers=", ".join(map(str, concentrators)),
            district=held.district,
        )
    )


@keys.command(
    "advance",
    epilog="""\b
Examples:
  dianka card keys advance
  dianka card keys advance --console
  dianka card keys advance --back
""",
)
@desk_options
@click.option("--console", "of_console", is_flag=True, help="The version of the console keys.")
@click.option("--back", is_flag=True, help="Take the last one back, before a card was made.")
@yes_option
def keys_advance(desk: Desk, of_console: bool, back: bool, yes: bool) -> None:
    """Use the next key version from now on; asks, as it ends what was made under the present."""
    with clear_errors():
        held = desk.held
        if not held.issuer_key:
            raise IssueError(_("this file holds one version only: have the next one handed down"))
        moved, ends = (_moved_console if of_console else _moved_cards)(desk, -1 if back else 1)
        echo(ends, err=True)
        if not yes:
            click.confirm(_("go on?"), abort=True, err=True)
        sealed = passphrase() if keystore.is_sealed(desk.keys_path) else None
        keystore.save(desk.keys_path, moved, sealed, overwrite=True)
    echo(
        _("{keys_path}: key version {key_version}, console key version {console_version}").format(
            keys_path=desk.keys_path,
            key_version=moved.key_version,
            console_version=moved.console_version,
        )
    )


def _moved_cards(desk: Desk, by: int) -> tuple[CardKeys, str]:
    """Return the keys in the next or last key version of cards, and what that ends."""
    held = desk.held
    version = _in_range(held.key_version + by)
    made = AuditLog(desk.log_path, held.key_of).cards_under(held.district, held.key_version)
    if by < 0:
        if made:
            raise IssueError(
                _(
                    "{cards} cards were made under key version {version}, by {log}: it cannot be "
                    "taken back"
                ).format(cards=made, version=held.key_version, log=desk.log_path)
            )
        text = _(
            "cards are made under key version {version} again. A concentrator that already has "
            "version {present} refuses them: install the key there anew"
        )
    else:
        text = _(
            "from now on cards are made under key version {version}, which only concentrators "
            "with its key take. Where they have it, cards of version {present} are worth nothing "
            "until they are issued anew ({cards} by this log), and so are counters' files of "
            "version {present}"
        )
    words = {"version": version, "present": held.key_version, "cards": made}
    return replace(held, key_version=version), text.format(**words)


def _moved_console(desk: Desk, by: int) -> tuple[CardKeys, str]:
    """Return the keys in the next or last version of console keys, and what that ends."""
    held = desk.held
    version = _in_range(held.console_version + by)
    text = _(
        "from now on a concentrator is opened with console key version {version}. One with an "
        "older key is opened by `dianka card keys install` alone, which brings the new one. "
        "Technicians' files of version {present} end with it: make new ones with `dianka card "
        "keys console`"
    )
    if by < 0:
        text = _(
            "concentrators get console key version {version} again. One that already has version "
            "{present} is opened by this file all the same"
        )
    text = text.format(version=version, present=held.console_version)
    return replace(held, console_version=version), text


def _in_range(version: int) -> int:
    if version < 1:
        raise IssueError(_("there is no key version before 1"))
    if version > _VERSION_LIMIT:
        raise IssueError(_("there is no key version after 255: begin with new keys"))
    return version


@keys.command(
    "install",
    epilog="""\b
Examples:
  dianka card keys install --port /dev/ttyUSB0 --id 7
  dianka card keys install --port /dev/ttyUSB0
""",
)
@desk_options
@port_option
@console_keys_option
@click.option(
    "--id",
    "number",
    type=click.IntRange(1, CONCENTRATOR_LIMIT),
    help="Number of the concentrator; a new one gets it, another one is refused.",
)
def keys_install(desk: Desk, port: str, consoles_path: Path | None, number: int | None) -> None:
    """Give a concentrator the key of its district and of its console."""
    with clear_errors():
        key = desk.key
        consoles = desk.consoles(consoles_path) or desk.held
        with Port(port) as line, Console(line) as console:
            console.expects_new = number is not None
            told = console.settings()
            number = _number_of(told, number)
            _open_for_install(console, consoles)
            _install(console, told, desk, key, consoles, number)
    echo(
        _(
            "{port} is concentrator {number}: it takes cards of district {district}, key version "
            "{key_version}"
        ).format(port=port, number=number, district=desk.district, key_version=desk.key_version)
    )


def _number_of(told: dict[str, str], number: int | None) -> int:
    """Return the concentrator's number, as it tells or, where it has none, as given."""
    with making_sense():
        own = int(told.get("id", "0"))
    if not own and number is None:
        raise IssueError(_("the concentrator has no number yet: give it one with --id"))
    if own and number not in (None, own):
        raise IssueError(
            _(
                "this is concentrator {own}, not {number}; its console key is bound to its "
                "number: for another one set it at its prompt, with `dianka flash --id`"
            ).format(own=own, number=number)
        )
    return own or number or 0


def _open_for_install(console: Console, consoles: CardKeys | ConsoleKeys) -> None:
    """Log in, also where the concentrator still has an older console key."""
    if isinstance(consoles, ConsoleKeys):
        console.login(consoles)
        return
    any_version = replace(consoles, console_version=1)
    try:
        console.login(any_version)
        return
    except WrongKeyError as error:
        wrong = error
    # An installation may have ended between the key and its version.
    for version in range(consoles.console_version, 0, -1):
        with suppress(WrongKeyError):
            console.login(any_version, version)
            return
    raise wrong


def _install(
    console: Console,
    told: dict[str, str],
    desk: Desk,
    key: bytes,
    consoles: CardKeys | ConsoleKeys,
    number: int,
) -> None:
    """Set everything; the console's own key comes last, as it closes an open console."""
    version = consoles.version_of(number)
    console_key = consoles.console_key(desk.district, number, version)
    if "seed" in told:
        console.set_secret("seed", secrets.token_bytes(_SEED_SIZE))
    console.set_secret("card_key", key)
    console.command(f"set card_key_version {desk.key_version}")
    numbers = {"id": number, "district": desk.district, "console_key_version": version}
    for name, value in numbers.items():
        if told.get(name) != str(value):
            console.command(f"set {name} {value}")
    console.set_secret("console_key", console_key)
