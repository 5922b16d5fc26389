"""How the verbs of `dianka meter` reach meters, ask people and show answers."""

import functools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console as Screen
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from host.cards import keystore
from host.cli.options import (
    DEFAULT_BAUD,
    METER_PORT_VARIABLE,
    Command,
    baud_option,
    json_option,
    load_consoles,
    login_option,
    meter_port,
    profile_option,
    standard_option,
)
from host.cli.output import Column, echo, print_json, print_table, styled
from host.device.line import ATTEMPTS, REPLY_S, Bytes, DirectLine
from host.frames import catalogue, write
from host.frames.describe import describe
from host.frames.dlt645 import Frame
from host.frames.parts import label_of, name_parts
from host.link.console import Console, ConsoleError
from host.link.meters import AskError, MeterLine, ThroughConcentrator
from host.link.port import Port, PortError
from host.link.settle import DONE, NOT_DONE, NOT_KNOWN, REFUSED, Settled
from host.words import _, bilingual, either

PASSWORD_VARIABLE = "DIANKA_METER_PASSWORD"
# Bytes of a request, as most meters take them.
DATA_LIMIT = 200
SPEEDS = ["600", "1200", "2400", "4800", "9600", "19200"]
# What a way through a network may add to a meter's own delay.
_NETWORK_S = 2.0
_DEFAULTS: dict[str, Any] = {
    "port": "",
    "console": "",
    "keys_path": None,
    "line": 0,
    "baud": DEFAULT_BAUD,
    "standard": "2007",
    "profile": catalogue.STATE_GRID,
    "as_json": False,
    "timeout_s": None,
    "retries": ATTEMPTS - 1,
    "verbose": False,
}
_UNSET = (None, False)
# What a line of this machine alone can be told.
_OWN_LINE = ("timeout_s", "retries", "verbose")


@dataclass(slots=True)
class Session:
    """How the meters are reached, and how answers are shown."""

    port: str
    console: str
    keys_path: Path | None
    line: int
    baud: int
    standard: str
    profile: str
    as_json: bool
    timeout_s: float | None
    retries: int
    verbose: bool

    @contextmanager
    def opened(self) -> Iterator[MeterLine]:
        """Yield the line; what goes wrong on it ends the command with one sentence."""
        try:
            if self.console:
                with Port(self.console) as port, Console(port) as console:
                    if self.keys_path is not None:
                        console.login(load_consoles(self.keys_path))
                    yield ThroughConcentrator(console, self.line, self.baud)
            else:
                with Port(self.port, self.baud, "E") as port:
                    wire = Traced(port) if self.verbose else port
                    yield DirectLine(wire, self.baud, self._reply_s, self.retries + 1)
        except (
            AskError,
            PortError,
            ConsoleError,
            keystore.KeystoreError,
            write.WriteError,
        ) as error:
            raise click.ClickException(str(error)) from error

    @property
    def _reply_s(self) -> float:
        """Return how long the beginning of a reply is waited for."""
        if self.timeout_s is not None:
            return self.timeout_s
        return _NETWORK_S if "://" in self.port else REPLY_S

    @contextmanager
    def opened_port(self) -> Iterator[Bytes]:
        """Yield the port of this machine itself."""
        if self.console:
            raise click.UsageError(_("that needs the line itself: give --port, not --console"))
        try:
            with Port(self.port, self.baud, "E") as port:
                yield Traced(port) if self.verbose else port
        except PortError as error:
            raise click.ClickException(str(error)) from error

    def need_2007(self, verb: str) -> None:
        """End the command where the standard has no such order."""
        if self.standard != "2007":
            raise click.UsageError(
                _("DL/T 645-1997 has no order to {verb}: see `dianka identifiers`").format(
                    verb=verb
                )
            )

    def tell(self, settled: Settled, address: str, done: str) -> None:
        """Say what became of an order; end with status 1 unless it is done."""
        answers = [one for one in (settled.answer, settled.seen) if one is not None]
        address = next((one.address for one in answers), address)
        if self.as_json:
            said = [self.described(one) for one in answers]
            print_json({"meter": address, "outcome": settled.outcome, "answers": said})
        elif settled.outcome == REFUSED or settled.seen is not None:
            title = _("Meter {address}").format(address=address)
            print_answers([self.described(one) for one in answers], title)
        if settled.outcome == DONE:
            lost = "" if settled.answer else _("; its answer was lost, so the meter was asked")
            if not self.as_json:
                echo(
                    _("meter {address}: {done}{lost}").format(
                        address=address, done=done, lost=lost
                    )
                )
            return
        if settled.outcome == NOT_DONE:
            raise click.ClickException(
                _("meter {address} is as it was before, give the order again: {why}").format(
                    address=address, why=settled.why or _("it took the order and did nothing")
                )
            )
        if settled.outcome == NOT_KNOWN:
            raise click.ClickException(
                _("whether it is done is not known, ask meter {address} again: {why}").format(
                    address=address, why=settled.why
                )
            )
        raise click.exceptions.Exit(1)

    def described(self, frame: Frame, asked: str = "") -> dict[str, Any]:
        """Return the fields of an answer by their names.

        A refusal does not say what it refuses: it gets the name of the identifier that was
        `asked` for.
        """
        said = name_parts(describe(frame, self.standard, self.profile))
        if said["error"] and not said["di"]:
            said["di"] = asked
            found = catalogue.load(self.profile).find(asked)
            if found is not None:
                said["name_en"], said["name_zh"] = found.name_en, found.name_zh
        return said

    @contextmanager
    def opened_directly(self) -> Iterator[DirectLine]:
        """Yield a line of this machine, which no concentrator shares."""
        with self.opened() as line:
            if not isinstance(line, DirectLine):
                raise click.UsageError(_("that needs the line itself: give --port, not --console"))
            yield line

    def show(self, frames: list[Frame], title: str) -> None:
        """Print answers as a table or as JSON; end with status 1 when a meter refused."""
        self.show_said([self.described(frame) for frame in frames], title)

    def show_said(self, said: list[dict[str, Any]], title: str, *, many: bool = False) -> None:
        """Print described answers like `show`; of `many` JSON is a list, also of one."""
        if self.as_json:
            print_json(said if many else said[0])
        else:
            print_answers(said, title)
        if any(one["error"] for one in said):
            raise click.exceptions.Exit(1)


def line_options(function: Command) -> Command:
    """Give a command the options that say where its meters are; unset ones are None."""
    for option in (
        json_option,
        click.option(
            "-v", "--verbose", is_flag=True, help="Show every byte sent and heard, with its time."
        ),
        click.option(
            "--retries",
            type=click.IntRange(0, 20),
            help=f"How often a read is sent again.  [default: {ATTEMPTS - 1}]",
        ),
        click.option(
            "--timeout",
            "timeout_s",
            type=click.FloatRange(0.05, 60),
            help=f"Seconds until a reply begins.  [default: {REPLY_S}, by network {_NETWORK_S}]",
        ),
        profile_option(unset=True),
        standard_option("2007", "1997", unset=True),
        baud_option(unset=True),
        click.option("--line", type=int, help="Which of the concentrator's lines.  [default: 0]"),
        login_option,
        click.option("--console", help="Through the concentrator with this console."),
        click.option(
            "--port",
            help="The line: /dev/ttyUSB0 (8E1) or socket://HOST:PORT.  [env var: "
            f"{METER_PORT_VARIABLE}; default: the only converter, see `dianka ports`]",
        ),
    ):
        function = option(function)
    return function


def with_session(function: Command) -> Command:
    """Give a verb its `session` from the options before and behind it; the latter win."""

    @line_options
    @click.pass_context
    @functools.wraps(function)
    def wrapped(context: click.Context, *args: Any, **named: Any) -> Any:
        own = {name: named.pop(name) for name in _DEFAULTS}
        said = {**_DEFAULTS}
        for given in (context.obj or {}, own):
            # 0 is a value, of --retries as of --line.
            said |= {
                name: value
                for name, value in given.items()
                if not any(value is one for one in _UNSET)
            }
        if said["port"] and said["console"]:
            raise click.UsageError(_("give --port for a line, or --console for a concentrator"))
        if not said["port"] and not said["console"]:
            said["port"] = meter_port()
        if said["console"] and any(said[name] != _DEFAULTS[name] for name in _OWN_LINE):
            raise click.UsageError(
                _("a concentrator asks in its own way: --timeout, --retries and -v need --port")
            )
        return function(Session(**said), *args, **named)

    return wrapped


class Traced:
    """A port that shows on the terminal's second stream what passes, as a technician reads it."""

    def __init__(self, port: Bytes) -> None:
        self._port = port

    def write(self, data: bytes) -> None:
        """Send bytes, and show them."""
        _trace("TX", data)
        self._port.write(data)

    def read(self, timeout_s: float) -> bytes:
        """Return what comes within `timeout_s`, and show it."""
        data = self._port.read(timeout_s)
        if data:
            _trace("RX", data)
        return data

    def set_baud(self, baud: int) -> None:
        """Go to another speed."""
        self._port.set_baud(baud)


def _trace(way: str, data: bytes) -> None:
    moment = datetime.now().isoformat(" ", "milliseconds")
    print_trace(f"{moment} {way}", data, err=True)


def print_trace(head: str, data: bytes, *, err: bool = False) -> None:
    """Print bytes as a technician reads them, behind `head`."""
    echo(f"{head} {data.hex(' ').upper() or '-'}", err=err)


def octets_of(text: str, name: str = "--hex") -> bytes:
    """Return bytes that are typed as pairs of digits; WriteError names what they are for."""
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise write.WriteError(
            _("{name} {text}: pairs of hexadecimal digits").format(name=name, text=text)
        ) from error


def password_of(kind: str = "") -> bytes:
    """Return PA P0 P1 P2 as on the wire; a password is never an argument."""
    name = PASSWORD_VARIABLE.replace("PASSWORD", f"{kind}PASSWORD")
    text = os.environ.get(name)
    if text is None:
        what = _("New password") if kind else _("Password")
        text = click.prompt(_("{what} (PA P0 P1 P2, 8 digits)").format(what=what), hide_input=True)
    digits = "".join(text.split())
    if len(digits) != 8 or not set(digits.lower()) <= set("0123456789abcdef"):
        raise click.ClickException(
            _("a password is PA P0 P1 P2, 8 digits: see {name}").format(name=name)
        )
    return bytes.fromhex(digits)


def sure(yes: bool, question: str) -> None:
    """Ask whether it is to be done, and end the command where it is not."""
    if not yes:
        click.confirm(question, abort=True)


def search_progress() -> Progress:
    """Return the line on the terminal that tells how a search goes."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=Screen(file=sys.stderr), transient=True)


def collect_progress() -> Progress:
    """Return the bar on the terminal that tells how far a list is read."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Screen(file=sys.stderr), transient=True)


def values_of(said: dict[str, Any]) -> dict[str, str | None]:
    """Return the values of an answer by their names and units; of a refusal, None."""
    name = either(said["name_en"], said["name_zh"]) or said["di"]
    if said["error"]:
        return {name: None}
    values: dict[str, str | None] = {}
    for at, item in enumerate(said["items"], 1):
        part = label_of(item) or (str(at) if len(said["items"]) > 1 else "")
        unit = f" ({item['unit']})" if item.get("unit") else ""
        text = ", ".join(map(_, item["flags"])) if "flags" in item else item["value"]
        values[f"{name} {part}".strip() + unit] = text
    return values


def print_answers(said: list[dict[str, Any]], title: str) -> None:
    """Print what meters answered, an item a line."""
    rows: list[tuple[str | Text, ...]] = []
    for one in said:
        head = (one["di"] or _(one["function"]), bilingual(one["name_en"], one["name_zh"]))
        if one["error"]:
            flags = ", ".join(map(_, one["error"]["flags"])) or one["error"]["code"]
            rows.append((*head, styled(_("refused: {flags}").format(flags=flags), "red"), ""))
            continue
        for place, item in enumerate(one["items"]):
            value = item["value"] if item["value"] is not None else "-"
            if "flags" in item:
                value = ", ".join(map(_, item["flags"])) or _("none")
            label = label_of(item)
            first = head if place == 0 else ("", "")
            rows.append((first[0], f"{first[1]} {label}".strip(), value, item.get("unit", "")))
        if not one["items"]:
            rows.append((*head, _("done"), ""))
    name, value = (Column(text, wraps=True) for text in (_("name 名称"), _("value 数据")))
    print_table(
        (Column(_("identifier 标识")), name, value, Column(_("unit 单位"))), rows, title=title
    )
