"""The counter of an issuer: its keys and its log, where the card is, and the options for both."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import tzinfo
from functools import cached_property
from pathlib import Path
from typing import Any

import click

from host.cards.audit import AuditLog
from host.cards.issuing import Issuer
from host.cards.judging import Place
from host.cards.keystore import CardKeys, ConsoleKeys, KeystoreError
from host.cli.headend.database import opened
from host.cli.options import (
    DAY_BEGIN,
    EXISTING_FILE,
    FILE,
    PASSPHRASE_VARIABLE,
    VALID_UNTIL,
    ZONE,
    Command,
    load_consoles,
    load_keys,
)
from host.cli.output import echo
from host.frames import card as frames
from host.frames import tariff
from host.frames.card import Header
from host.frames.tariff_terms import TariffError
from host.link.card import CardMemory, FileCard
from host.link.console import Keys
from host.link.port import Port
from host.link.programmer import PortCard
from host.units import CHINA, now_t2000
from host.words import _

SUITES = {"hmac": 1, "aes": 2, "sm4": 3}
force_option = click.option(
    "--force", is_flag=True, help="Give up an order on the card that was not redeemed."
)
valid_option = click.option(
    "--valid-until",
    "valid_until_t2000",
    type=VALID_UNTIL,
    default=None,
    help="Last day it may be redeemed, YYYY-MM-DD.  [default: no limit]",
)


def next_tariff_options(function: Command) -> Command:
    """Give the command a `next_tariff`: None, or the content that names it."""

    @click.option(
        "--next-tariff",
        "tariff_path",
        type=EXISTING_FILE,
        help="Tariff file the account will be charged by; the concentrator has to have it.",
    )
    @click.option(
        "--next-number",
        default=1,
        show_default=True,
        type=click.IntRange(1, 8),
        help="Its number on the concentrator.",
    )
    @click.option("--next-from", type=DAY_BEGIN, help="First day of it, YYYY-MM-DD.")
    @functools.wraps(function)
    def wrapped(
        *args: Any,
        tariff_path: Path | None,
        next_number: int,
        next_from: int | None,
        **named: Any,
    ) -> Any:
        content = None
        if tariff_path is not None:
            if next_from is None:
                raise click.UsageError(_("say from when on the tariff counts: --next-from"))
            try:
                image = tariff.build(tariff.load(tariff_path), next_number)
            except TariffError as error:
                raise click.ClickException(str(error)) from error
            content = frames.tariff_content(tariff.image_name(image), next_from)
        return function(*args, next_tariff=content, **named)

    return wrapped


@dataclass
class Source:
    """Where the card is: in a file, in a PC/SC reader, or in the reader of a board."""

    path: Path | None = None
    reader_name: str | None = None
    port: str | None = None
    consoles: Callable[[], Keys | None] = lambda: None
    _card: CardMemory | None = None

    @property
    def name(self) -> str:
        """Return what people call the card."""
        return str(self.path) if self.path else _("the card in the reader")

    def open(self, create: bool = False) -> CardMemory:
        """Return the card, always the same one; CardIoError where there is none."""
        if self._card is None:
            self._card = self._find(create)
        return self._card

    def _find(self, create: bool) -> CardMemory:
        if self.path is not None:
            return FileCard(self.path, create)
        if self.port is not None:
            line = Port(self.port)
            click.get_current_context().call_on_close(line.close)
            board = PortCard(line, self.consoles())
            click.get_current_context().call_on_close(board.close)
            return board
        from host.link.pcsc import WAIT_S, PcscCard

        card = PcscCard(self.reader_name or "", WAIT_S)
        click.get_current_context().call_on_close(card.close)
        return card


_file_option = click.option(
    "--file",
    "path",
    type=FILE,
    help="The card's memory in a file.",
)
_pcsc_option = click.option(
    "--pcsc",
    "reader_name",
    is_flag=False,
    flag_value="",
    help="The card in a PC/SC reader; with a part of the reader's name, in that one.",
)


def pc_card_option(function: Command) -> Command:
    """Give the command the `source` of a card that is at this PC."""

    @_file_option
    @_pcsc_option
    @functools.wraps(function)
    def wrapped(*args: Any, path: Path | None, reader_name: str | None, **named: Any) -> Any:
        source = _one_source(Source(path, reader_name))
        return function(*args, source=source, **named)

    return wrapped


console_keys_option = click.option(
    "--console-keys",
    "consoles_path",
    envvar="DIANKA_CONSOLE_KEYS",
    type=FILE,
    help="File that opens the console.  [default: the key file, where it is the issuer's]",
)


def card_option(function: Command) -> Command:
    """Give the command a `source`; it has a `desk` as well, with the keys of a board's console."""

    @_file_option
    @_pcsc_option
    @click.option(
        "--port",
        help="The card in the reader of a board on this console: /dev/ttyUSB0, socket://HOST:PORT.",
    )
    @console_keys_option
    @functools.wraps(function)
    def wrapped(
        *args: Any,
        path: Path | None,
        reader_name: str | None,
        port: str | None,
        consoles_path: Path | None,
        desk: "Desk",
        **named: Any,
    ) -> Any:
        source = Source(path, reader_name, port, lambda: desk.consoles(consoles_path))
        if not named.get("csv_path"):
            _one_source(source)
        return function(*args, source=source, desk=desk, **named)

    return wrapped


def _one_source(source: Source) -> Source:
    places = (source.path, source.reader_name, source.port)
    if sum(place is not None for place in places) != 1:
        raise click.UsageError(
            _("say where the card is: --file card.bin, --pcsc, or --port of a board")
        )
    return source


@dataclass(frozen=True)
class Desk:
    """The counter: its key file, its log, the district it works for."""

    keys_path: Path
    log_path: Path
    district_given: int | None
    key_version_given: int | None
    zone: tzinfo = CHINA

    @cached_property
    def held(self) -> CardKeys:
        """Return the keys; the passphrase is asked for once."""
        return load_keys(self.keys_path)

    @property
    def district(self) -> int:
        """Return the district as typed, else the key file's."""
        return self.district_given or self.held.district

    @property
    def key_version(self) -> int:
        """Return the version of the key as typed, else the key file's."""
        return self.key_version_given or self.held.key_version

    @property
    def key(self) -> bytes:
        """Return the district's key."""
        return self.held.key_of(self.district, self.key_version)

    def consoles(self, path: Path | None) -> CardKeys | ConsoleKeys | None:
        """Return the keys of consoles, where `path` or the issuer's key file has them."""
        if path is not None:
            return load_consoles(path)
        return self.held if self.keys_path.exists() and self.held.issuer_key else None

    def issuer(self) -> Issuer:
        """Return what writes cards and logs them."""
        log = AuditLog(self.log_path, self.held.key_of)
        if log.broken_at is not None:
            echo(
                _(
                    "warning: {path} was changed at line {broken_at}, `dianka card log` tells more"
                ).format(path=log.path, broken_at=log.broken_at),
                err=True,
            )
        return Issuer(self.held.key_of, log, self.held.limits)

    def key_for(self, header: Header | None) -> bytes | None:
        """Return the key that made a card, where the key file is there and has it."""
        if header is None or not self.keys_path.exists():
            return None
        try:
            return self.held.key_of(header.district, header.key_version)
        except KeystoreError as error:
            echo(_("without its key: {error}").format(error=error), err=True)
            return None

    def place(self, account: str, meter: str, last_order: int) -> Place:
        """Return a concentrator of the district with that account."""
        return Place(
            district=self.district,
            key_version=self.key_version,
            key=self.key,
            account=account,
            meter=meter,
            last_order=last_order,
            now_t2000=now_t2000(self.zone),
        )


def _zone_of(db: str | None) -> tzinfo:
    """Return the zone of a database's station; without one, that of China."""
    if db is None:
        return CHINA
    with opened(db, read_only=True) as store:
        return store.zone()


def desk_options(function: Command) -> Command:
    """Give the command a `desk`."""

    @click.option(
        "--keys",
        "keys_path",
        default="card-keys.toml",
        show_default=True,
        envvar="DIANKA_CARD_KEYS",
        show_envvar=True,
        type=FILE,
        help=f"Key file; its passphrase is asked for, or taken from {PASSPHRASE_VARIABLE}.",
    )
    @click.option(
        "--log",
        "log_path",
        default="card-log.jsonl",
        show_default=True,
        envvar="DIANKA_CARD_LOG",
        show_envvar=True,
        type=FILE,
        help="Log of every card written.",
    )
    @click.option(
        "--district",
        type=click.IntRange(1, frames.DISTRICT_LIMIT),
        help="Default: the key file's.",
    )
    @click.option("--key-version", type=click.IntRange(1, 255), help="Default: the key file's.")
    @click.option(
        "--zone",
        type=ZONE,
        envvar="DIANKA_ZONE",
        show_envvar=True,
        help="Time zone of the concentrators.  [default: the station's, else Asia/Shanghai]",
    )
    @functools.wraps(function)
    def wrapped(
        *args: Any,
        keys_path: Path,
        log_path: Path,
        district: int | None,
        key_version: int | None,
        zone: tzinfo | None,
        **named: Any,
    ) -> Any:
        zone = zone or _zone_of(named.get("db"))
        desk = Desk(keys_path, log_path, district, key_version, zone)
        return function(*args, desk=desk, **named)

    return wrapped
