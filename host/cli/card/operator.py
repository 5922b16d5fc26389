"""`dianka card preset`, `clear` and `change-key`: cards of the utility's own staff."""

from dataclasses import replace

import click

from host.cards.issuing import IssueError
from host.cli import shown
from host.cli.card.desk import Desk, Source, card_option, desk_options, force_option
from host.cli.card.orders import new_header, write_card
from host.cli.options import (
    AMOUNT,
    LIMIT,
    account_option,
    clear_errors,
    json_option,
    meter_option,
)
from host.frames import card as frames
from host.frames.card import CardKind
from host.units import now_t2000
from host.words import _

number_option = click.option(
    "--number",
    type=click.IntRange(1, frames.ORDER_LIMIT),
    help="Above that of any operator's card before.  [default: seconds since 2000]",
)


@shown.command(
    epilog="""\b
Example:
  dianka card preset --file preset.bin --alarm-1 30 --alarm-2 10 --overdraft 20
"""
)
@desk_options
@card_option
@click.option("--alarm-1", "alarm_1_fen", type=LIMIT, help="First alarm, yuan.")
@click.option("--alarm-2", "alarm_2_fen", type=LIMIT, help="Second alarm, below the first.")
@click.option("--overdraft", "overdraft_fen", type=LIMIT, help="Lowest balance, below zero.")
@click.option("--hoarding", "hoarding_fen", type=AMOUNT, help="The most an account may hold.")
@click.option("--close", "close_fen", type=LIMIT, help="A cut supply comes back above it.")
@number_option
@force_option
@json_option
def preset(
    source: Source,
    desk: Desk,
    alarm_1_fen: int | None,
    alarm_2_fen: int | None,
    overdraft_fen: int | None,
    hoarding_fen: int | None,
    close_fen: int | None,
    number: int | None,
    force: bool,
    as_json: bool,
) -> None:
    """Make a card that sets limits on the concentrators it is inserted into."""
    values = (alarm_1_fen, alarm_2_fen, overdraft_fen, hoarding_fen, close_fen)
    given = zip(frames.LIMITS, values, strict=True)
    limits = {name: value for name, value in given if value is not None}
    if not limits:
        raise click.UsageError(_("name at least one limit, e.g. --alarm-1 30"))
    if alarm_1_fen is not None and alarm_2_fen is not None and alarm_2_fen >= alarm_1_fen:
        raise click.UsageError(_("--alarm-2 comes after --alarm-1: it has to be the lower one"))
    with clear_errors():
        header = new_header(desk, CardKind.PRESET, order=number or now_t2000(desk.zone))
        header = replace(header, content=frames.preset_content(limits))
        write_card(desk, source, header, force, as_json)


@shown.command(
    epilog="""\b
Examples:
  dianka card clear --file clear.bin --account 000000000017 --meter 000000983764
  dianka card clear --file clear.bin --all
"""
)
@desk_options
@card_option
@account_option("Account whose billing was stopped.")
@meter_option("Its meter.")
@click.option("--all", "for_all", is_flag=True, help="Only set the count of illegal cards to 0.")
@number_option
@force_option
@json_option
def clear(
    source: Source,
    desk: Desk,
    account: str | None,
    meter: str | None,
    for_all: bool,
    number: int | None,
    force: bool,
    as_json: bool,
) -> None:
    """Make a card that lets a stopped account be billed again. It clears no money."""
    if for_all:
        account = meter = frames.NOBODY
    if account is None or meter is None:
        raise click.UsageError(_("give --account and --meter, or --all"))
    with clear_errors():
        order = number or now_t2000(desk.zone)
        header = new_header(desk, CardKind.CLEAR, account=account, meter=meter, order=order)
        write_card(desk, source, header, force, as_json)


@shown.command(
    "change-key",
    epilog="""\b
Example:
  dianka card change-key --file key.bin
""",
)
@desk_options
@card_option
@click.option(
    "--new-version", type=click.IntRange(2, 255), help="Default: one above the present version."
)
@number_option
@force_option
@json_option
def change_key(
    source: Source,
    desk: Desk,
    new_version: int | None,
    number: int | None,
    force: bool,
    as_json: bool,
) -> None:
    """Make a card with a district's next key for its concentrators; old cards end with it."""
    with clear_errors():
        version = new_version or desk.key_version + 1
        if version <= desk.key_version:
            raise IssueError(
                _("version {version} is not above the present {key_version}").format(
                    version=version, key_version=desk.key_version
                )
            )
        new_key = desk.held.key_of(desk.district, version)
        header = new_header(desk, CardKind.KEY, order=number or now_t2000(desk.zone))
        header = replace(header, content=frames.key_content(version, new_key))
        write_card(desk, source, header, force, as_json)
