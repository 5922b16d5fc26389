"""`dianka card redeem`, `unlock`, `serial` and `repair`: a card in a reader."""

from pathlib import Path
from typing import Any

import click

from host.cards.issuing import give_serial
from host.cli import shown
from host.cli.card.desk import (
    Desk,
    Source,
    card_option,
    console_keys_option,
    desk_options,
    pc_card_option,
)
from host.cli.card.view import label, outcome_of, say_outcome
from host.cli.options import clear_errors, console_of, json_option, port_option
from host.cli.output import echo, print_json
from host.frames import card as frames
from host.frames.card import CardKind
from host.frames.card_results import ACCEPTED
from host.link import reader
from host.link.port import Port
from host.link.programmer import PortCard
from host.units import yuan
from host.words import _


@shown.command(
    epilog="""\b
Example:
  dianka card redeem --file card.bin --port socket://127.0.0.1:7646
"""
)
@pc_card_option
@port_option
@click.option(
    "--timeout",
    "timeout_s",
    default=reader.TIMEOUT_S,
    show_default=True,
    type=float,
    help="Seconds to wait for its answer.",
)
@json_option
def redeem(source: Source, port: str, timeout_s: float, as_json: bool) -> None:
    """Insert a card into a concentrator over its console; status 1 when it is refused."""
    with clear_errors():
        memory = source.open()
        with Port(port) as line:
            result = reader.redeem(line, memory, timeout_s)
        card = frames.parse(memory.read(0, frames.CARD_SIZE))
    outcome = outcome_of(result.code)
    header, mark = card.header, card.write_back
    if as_json:
        answer: dict[str, Any] = {
            "accepted": result.code in ACCEPTED,
            "credited": result.credited,
            "code": label(outcome),
            "reason": outcome.english,
            "amount_fen": header.amount_fen if header and result.credited else 0,
            "balance_fen": mark.balance_fen if mark else None,
        }
        print_json(answer)
    else:
        say_outcome(outcome, header)
        if header and result.credited:
            done = _("refunded") if header.kind == CardKind.REFUND else _("credited")
            echo(
                _("order {order}: {amount_fen} yuan {done}").format(
                    order=header.order, amount_fen=yuan(header.amount_fen), done=done
                )
            )
        if mark:
            echo(_("balance {balance_fen} yuan").format(balance_fen=yuan(mark.balance_fen)))
    if not result.credited and result.code not in ACCEPTED:
        raise click.exceptions.Exit(1)


@shown.command(
    epilog="""\b
Example:
  dianka card unlock --port /dev/ttyUSB0
"""
)
@desk_options
@port_option
@console_keys_option
def unlock(desk: Desk, port: str, consoles_path: Path | None) -> None:
    """Have a concentrator look at cards again that it locked out after too many illegal ones."""
    with clear_errors(), console_of(port, desk.consoles(consoles_path) or desk.held) as console:
        console.command("card unlock")
    echo(_("{port} looks at cards again").format(port=port))


@shown.command(
    epilog="""\b
Example:
  dianka card serial --port /dev/ttyUSB0
"""
)
@desk_options
@card_option
def serial(source: Source, desk: Desk) -> None:
    """Give a new memory card its serial number, for ever; orders are bound to it."""
    with clear_errors():
        memory = source.open()
        reopen = memory.look if isinstance(memory, PortCard) else lambda: memory
        said = give_serial(memory, reopen)
    echo(_("{name}: serial number {said}").format(name=source.name, said=said))


@shown.command(
    epilog="""\b
Example:
  dianka card repair --file card.bin
"""
)
@desk_options
@card_option
def repair(source: Source, desk: Desk) -> None:
    """Put back what was issued on this card, by the log, where it was damaged."""
    with clear_errors():
        said = desk.issuer().repair(source.open())
    echo(f"{source.name}: {said}")
