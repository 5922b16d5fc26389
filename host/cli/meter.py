"""`dianka meter`: a technician's questions and orders to meters, direct or by a concentrator."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import click
from rich.console import Console as Screen
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from host.cli.options import AMOUNT
from host.cli.output import Column, echo, print_json, print_table, styled
from host.device.line import DirectLine, Payment
from host.frames import orders, write
from host.frames.describe import describe
from host.frames.dlt645 import ABNORMAL, BROADCAST, FROM_METER, WILDCARD, Frame
from host.frames.orders import Request
from host.link.console import Console
from host.link.meters import AskError, MeterLine, ThroughConcentrator, answer
from host.link.port import Port, PortError
from host.units import yuan

PASSWORD_VARIABLE = "DIANKA_METER_PASSWORD"
EXPIRY = timedelta(hours=1)
# Functions that only read: 11H to 13H, and 01H and 02H of 1997.
HARMLESS = (0x01, 0x02, 0x11, 0x12, 0x13)
# Bytes of a request, as most meters take them.
DATA_LIMIT = 200
SPEEDS = ["600", "1200", "2400", "4800", "9600", "19200"]


@dataclass(slots=True)
class Session:
    """How the meters are reached, and how answers are shown."""

    port: str
    console: str
    line: int
    baud: int
    standard: str
    profile: str
    as_json: bool

    @contextmanager
    def opened(self) -> Iterator[MeterLine]:
        """The line; what goes wrong on it becomes one clear sentence."""
        try:
            if self.console:
                with Port(self.console) as port:
                    yield ThroughConcentrator(Console(port), self.line, self.baud)
            else:
                with Port(self.port, self.baud, "E") as port:
                    yield DirectLine(port, self.baud)
        except (AskError, PortError, write.WriteError) as error:
            raise click.ClickException(str(error)) from error

    def described(self, frame: Frame) -> dict[str, Any]:
        """Return the fields of an answer by their names."""
        return describe(frame, self.standard, self.profile)

    @contextmanager
    def opened_directly(self) -> Iterator[DirectLine]:
        """The line of this machine, for what has to have it for itself."""
        with self.opened() as line:
            if not isinstance(line, DirectLine):
                raise click.UsageError("that needs the line itself: give --port, not --console")
            yield line

    def show(self, frames: list[Frame], title: str) -> None:
        """Answers as a table or as JSON; status 1 when a meter refused."""
        said = [self.described(frame) for frame in frames]
        if self.as_json:
            print_json(said if len(said) > 1 else said[0])
        else:
            _print_table(said, title)
        if any(one["error"] for one in said):
            raise click.exceptions.Exit(1)


@click.group(
    epilog="""\b
Examples:
  dianka meter --port /dev/ttyUSB0 scan
  dianka meter --port /dev/ttyUSB0 read 983764 voltage 0001FF00
  dianka meter --console /dev/ttyACM0 --line 1 read 983764 电压数据块
  dianka meter --port socket://10.0.0.7:7000 --baud 9600 time 983764
  dianka meter --port /dev/ttyUSB0 relay 983764 trip --yes
An address has up to 12 digits; `any` is whatever meter is alone on the line. The password, PA P0
P1 P2 as 8 digits, is asked for, or taken from DIANKA_METER_PASSWORD.
"""
)
@click.option("--port", default="", help="The line: /dev/ttyUSB0 (8E1) or socket://HOST:PORT.")
@click.option("--console", default="", help="Through the concentrator with this console.")
@click.option("--line", default=0, show_default=True, help="Which of the concentrator's lines.")
@click.option("--baud", default=2400, show_default=True, type=click.IntRange(300, 115200))
@click.option("--standard", default="2007", show_default=True, type=click.Choice(["2007", "1997"]))
@click.option("--profile", default="", help="What meters disagree about: see `dianka decode`.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def command(
    context: click.Context,
    port: str,
    console: str,
    line: int,
    baud: int,
    standard: str,
    profile: str,
    as_json: bool,
) -> None:
    """Find meters, read and write them, set time, freeze, switch, clear."""
    if bool(port) == bool(console):
        raise click.UsageError("give --port for a line, or --console for a concentrator")
    context.obj = Session(port, console, line, baud, standard, profile, as_json)


@command.command(
    epilog="""\b
Example:
  dianka meter --port /dev/ttyUSB0 scan
"""
)
@click.pass_obj
def scan(session: Session) -> None:
    """Find all meters of a line, known to nobody, by a search that copes with collisions."""
    asked = 0
    with session.opened() as line, _progress() as told:
        task = told.add_task("", total=None)

        def heard(questions: int, found: int) -> None:
            nonlocal asked
            asked = questions
            told.update(task, description=f"{questions} questions, {found} meters")

        addresses = line.search(session.standard, heard)
    if session.as_json:
        print_json({"addresses": addresses, "questions": asked})
        return
    for address in addresses:
        echo(address)
    echo(f"{len(addresses)} meters, {asked} questions", err=True)


@command.command(
    epilog="""\b
Examples:
  dianka meter --port /dev/ttyUSB0 read 983764 voltage
  dianka meter --port /dev/ttyUSB0 --json read any 0001FF00 04000503
"""
)
@click.argument("address")
@click.argument("items", nargs=-1, required=True)
@click.pass_obj
def read(session: Session, address: str, items: tuple[str, ...]) -> None:
    """Read identifiers, by digits or by name, each whole however many replies it takes."""
    address = _address(address)
    with session.opened() as line:
        wanted = [write.find(item, session.standard, session.profile) for item in items]
        frames = [line.read(address, *orders.read(session.standard, one.di)) for one in wanted]
    session.show(frames, f"Meter {frames[0].address}")


@command.command(
    "write",
    epilog="""\b
Examples:
  dianka meter --port /dev/ttyUSB0 write 983764 04001001 20.00 --yes
  dianka meter --port /dev/ttyUSB0 write 983764 04000401 --hex 643798000000 --yes
""",
)
@click.argument("address")
@click.argument("item")
@click.argument("value", required=False)
@click.option("--hex", "digits", help="The data as it stands on the wire, low byte first.")
@click.option(
    "--size", type=click.IntRange(1, 8), help="Bytes of the number, if there are several."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def write_command(
    session: Session,
    address: str,
    item: str,
    value: str | None,
    digits: str | None,
    size: int | None,
    yes: bool,
) -> None:
    """Write an identifier: a number as people write it, or --hex."""
    address = _address(address)
    if (value is None) == (digits is None):
        raise click.UsageError("give a VALUE or --hex")
    try:
        found = write.find(item, session.standard, session.profile)
        sizes = [size] if size else write.sizes_of(found)
        octets = _hex(digits) if digits else write.encode(found, value or "", (sizes or [4])[0])
    except write.WriteError as error:
        raise click.ClickException(str(error)) from error
    _sure(yes, f"Write {found.di} {found.name_en} of meter {address}?")
    request = orders.write(session.standard, found.di, _password(), octets)
    _order(session, address, request, f"{found.di} written")


@command.command(
    "time",
    epilog="""\b
Examples:
  dianka meter --port /dev/ttyUSB0 time 983764
  dianka meter --port /dev/ttyUSB0 time 983764 --set
  dianka meter --port /dev/ttyUSB0 time any --broadcast
""",
)
@click.argument("address")
@click.option("--set", "set_it", is_flag=True, help="Write this machine's time, with password.")
@click.option("--broadcast", is_flag=True, help="To all meters: within 5 minutes, once a day.")
@click.pass_obj
def time_command(session: Session, address: str, set_it: bool, broadcast: bool) -> None:
    """Compare a meter's clock with this machine's; set it, then read it back."""
    address = _address(address)
    with session.opened() as line:
        if broadcast:
            line.ask(BROADCAST, *orders.broadcast_time(datetime.now()))
        elif set_it:
            _set_clock(session, line, address)
        requests = orders.read_clock(session.standard)
        answers = [session.described(line.ask(address, *request)) for request in requests]
    texts = [one["items"][0]["value"] for one in answers if one["items"] and not one["error"]]
    if len(texts) < 2 or None in texts:
        raise click.ClickException(f"meter {address} does not tell its clock")
    try:
        shown = datetime.strptime(" ".join(texts), "%Y-%m-%d %H:%M:%S")
    except ValueError as error:
        raise click.ClickException(f"meter {address} shows no time: {' '.join(texts)}") from error
    ahead_s = round((shown - datetime.now()).total_seconds())
    if session.as_json:
        print_json({"meter": answers[0]["address"], "time": str(shown), "ahead_s": ahead_s})
    else:
        echo(f"meter {answers[0]['address']} shows {shown}, {ahead_s:+d} s")


@command.command(
    epilog="""\b
Examples:
  dianka meter --port /dev/ttyUSB0 freeze 983764
  dianka meter --port /dev/ttyUSB0 freeze all --kind daily --at "01 00:30"
"""
)
@click.argument("address")
@click.option(
    "--kind", default="instant", show_default=True, type=click.Choice(list(orders.FREEZES))
)
@click.option("--at", default="01 00:00", show_default=True, help='When: "DD hh:mm".')
@click.pass_obj
def freeze(session: Session, address: str, kind: str, at: str) -> None:
    """Keep the registers of one meter, or of `all`: at once, or every hour, day or month."""
    try:
        moment = datetime.strptime(f"2000-01-{at}", "%Y-%m-%d %H:%M")
    except ValueError as error:
        raise click.UsageError(f'--at {at}: a time is like "01 00:30"') from error
    everyone = address == "all"
    address = BROADCAST if everyone else _address(address)
    done = "sent to all" if everyone else f"{kind} freeze set"
    _order(session, address, orders.freeze(kind, moment), done)


@command.command(
    epilog="""\b
Examples:
  dianka meter --port /dev/ttyUSB0 relay 983764 trip
  dianka meter --port /dev/ttyUSB0 relay 983764 close --yes
"""
)
@click.argument("address")
@click.argument("action", type=click.Choice(list(orders.RELAY_ACTIONS)))
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def relay(session: Session, address: str, action: str, yes: bool) -> None:
    """Switch a supply, its alarm or its guard; sent once, then status word 3 is read."""
    address = _address(address)
    _sure(yes, f"{action} for meter {address}?")
    requests = (
        orders.switch(action, _password(), datetime.now() + EXPIRY),
        orders.read("2007", orders.STATUS_3),
    )
    with session.opened() as line:
        frames = [line.ask(address, *request) for request in requests]
    session.show(frames, f"Meter {frames[0].address}: {action}")


@command.command(
    epilog="""\b
Example:
  dianka meter --port /dev/ttyUSB0 clear 983764 demand
"""
)
@click.argument("address")
@click.argument("what", type=click.Choice(list(orders.CLEARS)))
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def clear(session: Session, address: str, what: str, yes: bool) -> None:
    """Clear a meter's demand, all its registers, or its event records. There is no way back."""
    address = _address(address)
    _sure(yes, f"Clear {what} of meter {address}? There is no way back.")
    _order(session, address, orders.clear(what, _password()), f"{what} cleared")


@command.command(
    epilog="""\b
Example:
  dianka meter --port /dev/ttyUSB0 password 983764 --level 2
"""
)
@click.argument("address")
@click.option("--level", default=2, show_default=True, type=click.IntRange(0, 9))
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def password(session: Session, address: str, level: int, yes: bool) -> None:
    """Change a password of a meter; the new one is asked for, or DIANKA_METER_NEW_PASSWORD."""
    address = _address(address)
    _sure(yes, f"Change password {level} of meter {address}?")
    request = orders.change_password(level, _password(), _password("NEW_"))
    _order(session, address, request, "password changed")


@command.command(
    epilog="""\b
Examples:
  dianka meter --port /dev/ttyUSB0 speed 983764 9600
  dianka meter --port /dev/ttyUSB0 --baud 9600 speed 983764 2400 --yes
"""
)
@click.argument("address")
@click.argument("baud", type=click.Choice(SPEEDS))
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def speed(session: Session, address: str, baud: str, yes: bool) -> None:
    """Let a meter speak at another speed, and look at which one it answers."""
    address = _address(address)
    _sure(yes, f"Let meter {address} speak at {baud} baud?")
    if "://" in session.port:
        raise click.UsageError("a converter keeps its own speed: use a serial --port for that")
    with session.opened_directly() as line:
        refusal = line.change_speed(address, session.standard, int(baud))
    if refusal is not None:
        session.show([refusal], f"Meter {address}")
    elif session.as_json:
        print_json({"meter": address, "baud": int(baud)})
    else:
        echo(f"meter {address} answers at {baud} baud: reach it with --baud {baud}")


@command.command(
    epilog="""\b
Examples:
  dianka meter --port /dev/ttyUSB0 recharge 983764 5 --item 04900000 --amount 50
  dianka meter --port /dev/ttyUSB0 recharge 983764 5 --hex "FF 02 01 07 .." --yes
"""
)
@click.argument("address")
@click.argument("order", type=click.IntRange(1, 0xFFFFFFF))
@click.option(
    "--amount", "amount_fen", type=AMOUNT, help="Plain money, in yuan, for a private meter."
)
@click.option("--item", help="The identifier its maker writes money to, with --amount.")
@click.option("--hex", "digits", help="03H's data as the key holder made it, low byte first.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def recharge(
    session: Session,
    address: str,
    order: int,
    amount_fen: int | None,
    item: str | None,
    digits: str | None,
    yes: bool,
) -> None:
    """Pay into a prepaid meter as its purchase number ORDER, once whatever the line loses.

    The meter is asked for its count of purchases before and after; the same command given again
    pays nothing twice.
    """
    address = _address(address)
    if (amount_fen is None) == (digits is None) or (amount_fen is None) != (item is None):
        raise click.UsageError("give --amount with --item, or --hex")
    if address == WILDCARD:
        raise click.UsageError("money goes to one meter: give its address, not `any`")
    what = f"order {order}" if amount_fen is None else f"order {order}, {yuan(amount_fen)} yuan,"
    try:
        data = _hex(digits or "")
        di = write.find(item, session.standard, session.profile).di if item else ""
    except write.WriteError as error:
        raise click.ClickException(str(error)) from error
    if len(data) > DATA_LIMIT:
        raise click.UsageError(f"--hex: 03H takes up to {DATA_LIMIT} bytes")
    _sure(yes, f"Pay {what} into meter {address}?")
    request = Request(0x03, data)
    if amount_fen is not None:
        request = orders.pay(di, _password(), amount_fen, order)
    with session.opened_directly() as line:
        paid = line.recharge(address, *request, order)
    _show_payment(session, address, request.control, order, paid)


@command.command(
    epilog="""\b
Examples:
  dianka meter --port /dev/ttyUSB0 send 983764 03 "FF 00 00 07 00 00 00 00 .."
  dianka meter --port /dev/ttyUSB0 send any 13
"""
)
@click.argument("address")
@click.argument("control")
@click.argument("digits", default="")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def send(session: Session, address: str, control: str, digits: str, yes: bool) -> None:
    """Send a function by its CONTROL byte with plain data, low byte first, and show the answer.

    It is for what has no command of its own, as the 03H orders of a key holder.
    """
    address = _address(address)
    try:
        octets, data = _hex(control, "CONTROL"), _hex(digits, "DIGITS")
    except write.WriteError as error:
        raise click.UsageError(str(error)) from error
    if len(octets) != 1 or octets[0] & (FROM_METER | ABNORMAL):
        raise click.UsageError(f"CONTROL {control}: one byte below 40, as 11 or 03")
    if len(data) > DATA_LIMIT:
        raise click.UsageError(f"DIGITS: up to {DATA_LIMIT} bytes")
    if octets[0] not in HARMLESS:
        _sure(yes, f"Send function {control} to meter {address}?")
    with session.opened() as line:
        frames = [line.ask(address, octets[0], data)]
    session.show(frames, f"Meter {frames[0].address}")


def _show_payment(session: Session, address: str, control: int, order: int, paid: Payment) -> None:
    """Say what became of a payment; status 1 unless it is booked."""
    booked = paid.outcome == "ok"
    balance = None if paid.balance_fen is None else yuan(paid.balance_fen)
    if session.as_json:
        told = {"meter": address, "order": order, "booked": booked, "outcome": paid.outcome}
        print_json({**told, "count": paid.count, "balance": balance})
    elif booked:
        holds = "" if balance is None else f"; it holds {balance} yuan"
        echo(f"meter {address} has booked order {order}{holds}")
    if paid.outcome == "abnormal":
        said = describe(answer(address, control, b"", "abnormal", paid.error, False))
        raise click.ClickException(f"refused: {', '.join(said['error']['flags'])}")
    if paid.outcome == "bad reply":
        what = f"order {order} was sent, but" if paid.sends else "nothing was paid:"
        raise click.ClickException(
            f"{what} the meter counts {paid.count} purchases, so its next order is "
            f"{(paid.count or 0) + 1}, not {order}"
        )
    if not booked:
        raise click.ClickException(
            f"whether order {order} is booked is not known: the meter does not answer; "
            "give the same command again, it pays nothing twice"
        )


def _order(session: Session, address: str, request: Request, done: str) -> None:
    """Send something that is answered with no more than yes or no."""
    with session.opened() as line:
        frame = line.ask(address, *request)
    if frame.abnormal or session.as_json:
        session.show([frame], f"Meter {frame.address}")
    else:
        echo(f"meter {frame.address}: {done}")


def _set_clock(session: Session, line: MeterLine, address: str) -> None:
    for request in orders.set_clock(session.standard, datetime.now(), _password()):
        frame = line.ask(address, *request)
        if frame.abnormal:
            session.show([frame], f"Meter {frame.address}")


def _address(text: str) -> str:
    if text == "any":
        return WILDCARD
    digits = text.upper()
    if not digits or len(digits) > 12 or not set(digits) <= set("0123456789A"):
        raise click.UsageError(f"address {text}: up to 12 digits, or `any`")
    return digits.zfill(12)


def _hex(text: str, name: str = "--hex") -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise write.WriteError(f"{name} {text}: pairs of hexadecimal digits") from error


def _password(kind: str = "") -> bytes:
    """PA P0 P1 P2 as on the wire; never an argument."""
    name = PASSWORD_VARIABLE.replace("PASSWORD", f"{kind}PASSWORD")
    text = os.environ.get(name)
    if text is None:
        what = "New password" if kind else "Password"
        text = click.prompt(f"{what} (PA P0 P1 P2, 8 digits)", hide_input=True)
    digits = "".join(text.split())
    if len(digits) != 8 or not set(digits.lower()) <= set("0123456789abcdef"):
        raise click.ClickException(f"a password is PA P0 P1 P2, 8 digits: see {name}")
    return bytes.fromhex(digits)


def _sure(yes: bool, question: str) -> None:
    if not yes:
        click.confirm(question, abort=True)


def _progress() -> Progress:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=Screen(file=sys.stderr), transient=True)


def _print_table(said: list[dict[str, Any]], title: str) -> None:
    rows: list[tuple[str | Text, ...]] = []
    for one in said:
        head = (one["di"] or one["function"], f"{one['name_en']} {one['name_zh']}".strip())
        if one["error"]:
            flags = ", ".join(one["error"]["flags"]) or one["error"]["code"]
            rows.append((*head, styled(f"refused: {flags}", "red"), ""))
            continue
        for place, item in enumerate(one["items"]):
            value = item["value"] if item["value"] is not None else "-"
            value = ", ".join(item["flags"]) or "none" if "flags" in item else value
            label = item.get("name", "")
            first = head if place == 0 else ("", "")
            rows.append((first[0], f"{first[1]} {label}".strip(), value, item.get("unit", "")))
        if not one["items"]:
            rows.append((*head, "done", ""))
    name, value = (Column(text, wraps=True) for text in ("name 名称", "value 数据"))
    print_table((Column("identifier 标识"), name, value, Column("unit 单位")), rows, title=title)
