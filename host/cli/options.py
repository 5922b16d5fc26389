"""Options, kinds of values and prompts that several groups of commands have in common."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import Any

import click

from host.cards.audit import AuditError
from host.cards.issuing import IssueError
from host.cards.keystore import KeystoreError
from host.cards.rows import RowsError
from host.frames import card as frames
from host.link.card import CardIoError
from host.link.console import Console, ConsoleError
from host.link.port import Port, PortError
from host.link.reader import ReaderError
from host.units import DAY_S, to_t2000, yuan

PASSPHRASE_VARIABLE = "DIANKA_CARD_PASSPHRASE"
_TROUBLES = (
    *(KeystoreError, IssueError, AuditError, RowsError, frames.CardError),
    *(CardIoError, PortError, ReaderError, ConsoleError),
)
Command = Callable[..., Any]


def _amount_fen(text: str) -> int:
    """Yuan as typed, in fen; above 0."""
    fen = _limit_fen(text)
    if not fen:
        raise click.BadParameter(f"{text}: 0.01 to {yuan(frames.AMOUNT_LIMIT_FEN)} yuan")
    return fen


def _limit_fen(text: str) -> int:
    """Yuan as typed, in fen; may be 0."""
    try:
        fen = Decimal(text).scaleb(2)
    except ArithmeticError as error:
        raise click.BadParameter(f"{text}: give yuan like 50 or 49.95") from error
    if not fen.is_finite() or fen != fen.to_integral_value():
        raise click.BadParameter(f"{text}: at most two decimals")
    if not 0 <= fen <= frames.AMOUNT_LIMIT_FEN:
        raise click.BadParameter(f"{text}: 0.01 to {yuan(frames.AMOUNT_LIMIT_FEN)} yuan")
    return int(fen)


def _digits(text: str) -> str:
    """Up to 12 decimal digits, filled with zeros in front as on a meter's label."""
    if not re.fullmatch("[0-9]{1,12}", text):
        raise click.BadParameter(f"{text}: up to 12 digits are needed")
    return text.zfill(12)


def _last_day_t2000(text: str) -> int:
    """A day, as its last second in seconds since 2000."""
    try:
        day = datetime.strptime(text, "%Y-%m-%d")
    except ValueError as error:
        raise click.BadParameter(f"{text}: give a day as YYYY-MM-DD") from error
    return to_t2000(day.replace(hour=23, minute=59, second=59))


def _kind(name: str, parse: Callable[[str], Any]) -> Any:
    kind = click.types.FuncParamType(parse)
    kind.name = name
    return kind


AMOUNT = _kind("yuan", _amount_fen)
LIMIT = _kind("yuan", _limit_fen)
DIGITS = _kind("digits", _digits)
DAY = _kind("day", _last_day_t2000)
DAY_BEGIN = _kind("day", lambda text: _last_day_t2000(text) - DAY_S + 1)
account_option = click.option(
    "--account", required=True, type=DIGITS, help="Account number, 12 digits."
)
meter_option = click.option("--meter", required=True, type=DIGITS, help="Its meter, 12 digits.")
port_option = click.option(
    "--port",
    required=True,
    help="The concentrator's console: /dev/ttyUSB0, or socket://HOST:PORT.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@contextmanager
def clear_errors() -> Iterator[None]:
    """Trouble with keys, cards and lines as one line for the user."""
    try:
        yield
    except _TROUBLES as error:
        raise click.ClickException(str(error)) from error


@contextmanager
def console_of(port: str, key: bytes) -> Iterator[Console]:
    """The console on `port`, logged in."""
    with Port(port) as line:
        console = Console(line)
        console.login(key)
        yield console


def passphrase() -> str:
    """The passphrase of the key file, from the environment or as typed."""
    given = os.environ.get(PASSPHRASE_VARIABLE)
    return given if given else str(click.prompt("passphrase", hide_input=True, err=True))


def new_passphrase() -> str:
    """The same, typed twice."""
    given = os.environ.get(PASSPHRASE_VARIABLE)
    if given:
        return given
    return str(click.prompt("new passphrase", hide_input=True, confirmation_prompt=True, err=True))


def now_t2000() -> int:
    """Local time, in seconds since 2000."""
    return to_t2000(datetime.now())
