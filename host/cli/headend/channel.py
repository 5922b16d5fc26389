"""`dianka headend channel`: the programs that sell for the station."""

import secrets
from collections.abc import Sequence
from pathlib import Path

import click

from host.cli import shown
from host.cli.headend.database import opened
from host.cli.headend.look import lists, localised, print_list
from host.cli.options import AMOUNT, FILE, Command, database_option
from host.cli.output import Column, echo
from host.headend import channels
from host.headend.channels import Channel
from host.headend.provider_kinds import PROVIDERS
from host.units import yuan
from host.words import _

_name = click.argument("name")
_rights = click.option(
    "--right",
    "rights",
    multiple=True,
    type=click.Choice(channels.RIGHTS),
    help="What it may do; give it several times.",
)


def _limit(word: str, text: str, required: bool = False) -> Command:
    return click.option(f"--{word}", f"{word}_fen", type=AMOUNT, required=required, help=text)


@shown.group(
    epilog="""\b
Rights: look finds a household, sell sells, cancel takes a sale back before it is on its way,
refund pays back what the channel sold, statement lists a day, recharge redeems scratch cards, pay
begins payments at providers.
\b
Examples:
  dianka headend channel add icbc-1 --kind bank --sale 2000 --day 50000 --db village.db
  dianka headend channel list --db village.db
  dianka headend channel limit icbc-1 --day 80000 --db village.db
  dianka headend channel stop icbc-1 --reason "the key was seen" --db village.db
"""
)
def channel() -> None:
    """Keep the programs of banks, shops and machines that sell for the station."""


@channel.command(
    "add",
    epilog="""\b
Example:
  dianka headend channel add icbc-1 --kind bank --sale 2000 --day 50000 --db village.db
""",
)
@_name
@click.option("--kind", required=True, type=click.Choice(channels.KINDS), help="What it is.")
@_rights
@_limit("sale", "The most of one sale in yuan.", required=True)
@_limit("day", "The most of all its sales of a day in yuan.", required=True)
@click.option("--settings", type=FILE, help="A provider's file with numbers and keys.")
@database_option()
def add(
    name: str,
    kind: str,
    rights: Sequence[str],
    sale_fen: int,
    day_fen: int,
    settings: Path | None,
    db: str,
) -> None:
    """Add a channel and print its key, which is shown this once.

    Without --right it may do everything but refund; a provider may make no calls of its own.
    """
    file = "" if settings is None else str(settings.absolute())
    if settings is not None and not (kind in PROVIDERS and PROVIDERS[kind].has_settings):
        raise click.UsageError(_("a {kind} has no settings").format(kind=_(kind)))
    usual = () if kind in PROVIDERS else [one for one in channels.RIGHTS if one != channels.REFUND]
    given = tuple(rights) or tuple(usual)
    secret = secrets.token_hex(channels.SECRET_SIZE)
    with opened(db) as store:
        wanted = Channel(name, kind, given, sale_fen, day_fen, file)
        if kind in PROVIDERS:
            PROVIDERS[kind].check(channels.access_of(wanted, secret))
        channels.add_channel(store, wanted, secret)
    if file:
        echo(_("provider {name} is reached with {path}").format(name=name, path=file))
        return
    echo(_("channel {name} may {rights}").format(name=name, rights=", ".join(given)), err=True)
    echo(_("its key, to be kept like money: {key}").format(key=secret))


@channel.command(
    "limit",
    epilog="""\b
Examples:
  dianka headend channel limit icbc-1 --sale 1000 --day 80000 --db village.db
  dianka headend channel limit icbc-1 --right look --right sell --db village.db
""",
)
@_name
@_rights
@_limit("sale", "The most of one sale in yuan.")
@_limit("day", "The most of all its sales of a day in yuan.")
@database_option()
def limit(
    name: str, rights: Sequence[str], sale_fen: int | None, day_fen: int | None, db: str
) -> None:
    """Give a channel other limits or rights; what is not given stays as it is."""
    if not rights and sale_fen is None and day_fen is None:
        raise click.UsageError(_("give --sale, --day or --right"))
    with opened(db) as store:
        was = channels.known_channel(store, name)
        wanted = Channel(
            name,
            was.kind,
            tuple(dict.fromkeys(rights)) or was.rights,
            was.sale_limit_fen if sale_fen is None else sale_fen,
            was.day_limit_fen if day_fen is None else day_fen,
        )
        channels.change_channel(store, wanted)
    text = _("channel {name} may {rights}: {sale} yuan at once, {day} in a day")
    echo(
        text.format(
            name=name,
            rights=", ".join(wanted.rights),
            sale=yuan(wanted.sale_limit_fen),
            day=yuan(wanted.day_limit_fen),
        )
    )


@channel.command(
    "stop",
    epilog="""\b
Example:
  dianka headend channel stop icbc-1 --reason "the key was seen" --db village.db
""",
)
@_name
@click.option("--reason", required=True, help="The reason, for an auditor.")
@database_option()
def stop(name: str, reason: str, db: str) -> None:
    """Take a channel's key away for ever; a new one gets another name."""
    with opened(db) as store:
        channels.stop_channel(store, name, reason)
    echo(_("channel {name} is stopped: its calls are refused from now on").format(name=name))


@channel.command(
    "list",
    epilog="""\b
Example:
  dianka headend channel list --db village.db --json
""",
)
@database_option()
@lists
def list_command(db: str, as_json: bool, as_csv: bool) -> None:
    """List the channels, what each may do and what it has sold."""
    with opened(db, read_only=True) as store:
        rows = localised(channels.channels(store), store.zone())
    columns = (
        (Column(_("channel")), "channel"),
        (Column(_("kind")), "kind"),
        (Column(_("rights"), wraps=True), "rights"),
        (Column(_("one sale, yuan"), right=True), "sale_limit_fen"),
        (Column(_("a day, yuan"), right=True), "day_limit_fen"),
        (Column(_("today, yuan"), right=True), "today_fen"),
        (Column(_("sold, yuan"), right=True), "sold_fen"),
        (Column(_("stopped")), "stopped_at"),
    )
    empty = _("there is no channel: `dianka headend channel add` makes one")
    print_list("channels", rows, columns, as_json, as_csv, empty)
