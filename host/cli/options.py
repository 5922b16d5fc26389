"""Options, kinds of values and prompts that several groups of commands have in common."""

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from host import secret_files
from host.cards import keystore
from host.cards.audit import AuditError
from host.cards.issuing import IssueError
from host.cards.keystore import CardKeys, ConsoleKeys, KeystoreError
from host.cli.output import echo
from host.flash.product import ProductError
from host.frames import card as frames
from host.frames import catalogue
from host.frames.dlt645 import BROADCAST, WILDCARD
from host.link import ports
from host.link.card import CardIoError
from host.link.console import Console, ConsoleError, Keys
from host.link.port import Port, PortError
from host.link.reader import ReaderError
from host.rows import RowsError
from host.units import CHINA, DAY_S, fen_of, full_number, now_t2000, to_t2000, yuan
from host.words import _

PASSPHRASE_VARIABLE = "DIANKA_CARD_PASSPHRASE"
PASSWORD_VARIABLE = "DIANKA_PASSWORD"
PORT_VARIABLE = "DIANKA_PORT"
METER_PORT_VARIABLE = "DIANKA_METER_PORT"
DATABASE_VARIABLE = "DIANKA_DB"
_BEARS_PASSWORD = re.compile(r"postgres(ql)?://([^/?#]*:[^/?#]*@|.*[?&]password=)", re.S)
DEFAULT_BAUD = 2400
_TROUBLES = (
    *(KeystoreError, IssueError, AuditError, RowsError, frames.CardError),
    *(CardIoError, PortError, ReaderError, ConsoleError, ProductError),
)
Command = Callable[..., Any]


def _amount_fen(text: str) -> int:
    """Return yuan as typed, in fen; above 0."""
    fen = _limit_fen(text)
    if not fen:
        raise _no_amount(text)
    return fen


def _no_amount(text: str) -> click.BadParameter:
    most = yuan(frames.AMOUNT_LIMIT_FEN)
    return click.BadParameter(_("{text}: 0.01 to {most} yuan").format(text=text, most=most))


def _limit_fen(text: str) -> int:
    """Return yuan as typed, in fen; may be 0."""
    try:
        fen = fen_of(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    if fen > frames.AMOUNT_LIMIT_FEN:
        raise _no_amount(text)
    return fen


def _total_fen(text: str) -> int:
    """Return yuan as typed, in fen, however many; above 0."""
    try:
        fen = fen_of(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    if not fen:
        raise click.BadParameter(_("{text}: at least 0.01 yuan").format(text=text))
    return fen


def _digits(text: str) -> str:
    """Return the number of an account or a meter, with its 12 digits."""
    try:
        return full_number(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def _address(text: str) -> str:
    """Return a meter's address on the line; A is any digit, `any` the only meter there."""
    if text == "any":
        return WILDCARD
    digits = text.upper()
    if not re.fullmatch("[0-9A]{1,12}", digits):
        raise click.BadParameter(
            _("{text!r} is no address: write up to 12 digits, or `any`").format(text=text)
        )
    return digits.zfill(12)


def _last_day_t2000(text: str) -> int:
    """Return a day, as its last second in seconds since 2000."""
    try:
        day = datetime.strptime(text, "%Y-%m-%d")
    except ValueError as error:
        raise click.BadParameter(
            _("{text}: give a day as YYYY-MM-DD").format(text=text)
        ) from error
    return to_t2000(day.replace(hour=23, minute=59, second=59))


def _zone(text: str) -> ZoneInfo:
    """Return a time zone by its name."""
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise click.BadParameter(
            _("{text} is no time zone: write one like Asia/Shanghai").format(text=text)
        ) from error


def _valid_until_t2000(text: str) -> int:
    """Return the last second of a day; say where it is over already."""
    ends_t2000 = _last_day_t2000(text)
    if ends_t2000 < now_t2000(CHINA):
        echo(
            _("warning: {day} is over, no concentrator takes the card").format(day=text), err=True
        )
    return ends_t2000


def _kind(name: str, parse: Callable[[str], Any]) -> Any:
    kind = click.types.FuncParamType(parse)
    kind.name = name
    return kind


AMOUNT = _kind("yuan", _amount_fen)
LIMIT = _kind("yuan", _limit_fen)
TOTAL = _kind("yuan", _total_fen)
DIGITS = _kind("digits", _digits)
ADDRESS = _kind("address", _address)
ADDRESS_OR_ALL = _kind("address", lambda text: BROADCAST if text == "all" else _address(text))
DAY = _kind("day", _last_day_t2000)
VALID_UNTIL = _kind("day", _valid_until_t2000)
DAY_BEGIN = _kind("day", lambda text: _last_day_t2000(text) - DAY_S + 1)
ZONE = _kind("zone", _zone)
FILE = click.Path(dir_okay=False, path_type=Path)
EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def account_option(
    text: str = "Account number, up to 12 digits.", *, required: bool = False
) -> Command:
    """Return the option `--account`; a short number gets its zeros."""
    return click.option("--account", required=required, type=DIGITS, help=text)


def meter_option(text: str = "Its meter, up to 12 digits.", *, required: bool = False) -> Command:
    """Return the option `--meter`; a short number gets its zeros."""
    return click.option("--meter", required=required, type=DIGITS, help=text)


def amount_option(
    text: str = "Yuan, with at most two decimals.", *, required: bool = False, kind: Any = AMOUNT
) -> Command:
    """Return the option `--amount`, which gives `amount_fen`."""
    return click.option("--amount", "amount_fen", required=required, type=kind, help=text)


def order_option(text: str = "Order number.", *, required: bool = False) -> Command:
    """Return the option `--order`."""
    kind = click.IntRange(1, frames.ORDER_LIMIT)
    return click.option("--order", required=required, type=kind, help=text)


def database_option(
    text: str = "Database of the head-end: a file, or a postgres:// address.",
    *,
    required: bool = True,
) -> Command:
    """Return the option `--db`, which gives a text; DIANKA_DB stands for one that is needed."""
    variable = DATABASE_VARIABLE if required else None
    text += f"  [env var: {variable}]" if variable else ""
    return click.option(
        *("--db", "--database", "db"),
        required=required,
        envvar=variable,
        callback=_checked_database,
        metavar="FILE",
        help=text,
    )


def _checked_database(_context: click.Context, _param: click.Parameter, text: Any) -> Any:
    """Refuse an address with a password, which a list of processes and each message would show."""
    if text and _BEARS_PASSWORD.match(text):
        raise click.UsageError(
            _(
                "the address of a database is seen by others, so it bears no password: put that "
                "in ~/.pgpass, which only you may read, or in PGPASSWORD"
            )
        )
    return text


def standard_option(*standards: str, unset: bool = False) -> Command:
    """Return the option `--standard`; the first is the default, which `unset` leaves as None."""
    text = "Which DL/T 645 it is"
    text += "; auto judges by the function." if "auto" in standards else "."
    return _option_with("--standard", click.Choice(standards), standards[0], text, unset)


def profile_option(*, unset: bool = False) -> Command:
    """Return the option `--profile` of what is read from meters; see `standard_option`."""
    text = "Read as this kind of meter means it, where meters disagree."
    kind = click.Choice(catalogue.profiles())
    return _option_with("--profile", kind, catalogue.STATE_GRID, text, unset)


def baud_option(*, unset: bool = False) -> Command:
    """Return the option `--baud` of a meter line; see `standard_option`."""
    kind = click.IntRange(300, 921_600)
    return _option_with("--baud", kind, DEFAULT_BAUD, "Speed of the line.", unset)


def _option_with(name: str, kind: Any, default: Any, text: str, unset: bool) -> Command:
    text += f"  [default: {default}]"
    return click.option(name, type=kind, default=None if unset else default, help=text)


def _found(search: Callable[[], ports.Found]) -> str:
    """Return the port that a search finds, which is told."""
    try:
        port = search()
    except ports.NoPortError as error:
        raise click.UsageError(str(error)) from error
    echo(_("using {port} ({text})").format(port=port.name, text=port.text), err=True)
    return port.name


def meter_port() -> str:
    """Return the line of meters where none is named: DIANKA_METER_PORT, or the only converter."""
    return os.environ.get(METER_PORT_VARIABLE) or _found(ports.of_meters)


account_argument = click.argument("account", type=DIGITS)
address_argument = click.argument("address", type=ADDRESS)
port_option = click.option(
    "--port",
    callback=lambda ctx, _param, port: port or _found(ports.of_console),
    envvar=PORT_VARIABLE,
    show_envvar=True,
    help="The concentrator's console: /dev/ttyUSB0, or socket://HOST:PORT.  [default: the only "
    "board, see `dianka ports`]",
)
zone_option = click.option(
    "--zone",
    type=ZONE,
    callback=lambda _ctx, _param, zone: zone or CHINA,
    envvar="DIANKA_ZONE",
    show_envvar=True,
    help="Time zone of the meters.  [default: Asia/Shanghai]",
)
login_option = click.option(
    "--keys",
    "keys_path",
    type=FILE,
    help="Log in with the console key of this file first: the issuer's or a technician's.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


@contextmanager
def clear_errors() -> Iterator[None]:
    """End with one line for the user where keys, cards or lines are in trouble."""
    try:
        yield
    except _TROUBLES as error:
        raise click.ClickException(str(error)) from error


@contextmanager
def console_of(port: str, keys: Keys) -> Iterator[Console]:
    """Yield the console on `port`, logged in."""
    with Port(port) as line, Console(line) as console:
        console.login(keys)
        yield console


def load_keys(path: Path) -> CardKeys:
    """Return the keys of a file that makes cards; warn where others may read it."""
    _warn_of(path)
    return keystore.load(path, passphrase)


def load_consoles(path: Path) -> CardKeys | ConsoleKeys:
    """Return the keys of a file that opens consoles; warn where others may read it."""
    _warn_of(path)
    return keystore.load_consoles(path, passphrase)


def _warn_of(path: Path) -> None:
    if warning := secret_files.warning_about(path):
        echo(warning, err=True)


def typed_secret(name: str) -> str:
    """Return a secret as typed, which is not shown, or as the next line of the input."""
    if sys.stdin.isatty():
        return str(click.prompt(name, hide_input=True, err=True)).strip()
    return sys.stdin.readline().strip()


def passphrase() -> str:
    """Return the passphrase of the key file, from the environment or as typed."""
    given = os.environ.get(PASSPHRASE_VARIABLE)
    return given if given else str(click.prompt(_("passphrase"), hide_input=True, err=True))


def new_passphrase() -> str:
    """Return a new passphrase, from the environment or as typed twice."""
    given = os.environ.get(PASSPHRASE_VARIABLE)
    if given:
        return given
    return str(
        click.prompt(_("new passphrase"), hide_input=True, confirmation_prompt=True, err=True)
    )


def new_password() -> str:
    """Return a new password of a person, from the environment or as typed twice."""
    given = os.environ.get(PASSWORD_VARIABLE)
    if given:
        return given
    return str(
        click.prompt(_("new password"), hide_input=True, confirmation_prompt=True, err=True)
    )
