"""`dianka meter`: a technician's questions and orders to meters, direct or by a concentrator."""

from datetime import datetime, timedelta
from typing import Any

import click

from host.cli import shown
from host.cli.meter.session import (
    Session,
    line_options,
    password_of,
    search_progress,
    sure,
    with_session,
)
from host.cli.options import ADDRESS_OR_ALL, address_argument, amount_option, yes_option
from host.cli.output import echo, print_json
from host.device.line import Payment
from host.frames import orders, write
from host.frames.describe import describe
from host.frames.dlt645 import ABNORMAL, BROADCAST, FROM_METER, WILDCARD
from host.frames.orders import Request
from host.link.meters import MeterLine, answer
from host.units import yuan
from host.words import _, either

EXPIRY = timedelta(hours=1)
# Functions that only read: 11H to 13H, and 01H and 02H of 1997.
HARMLESS = (0x01, 0x02, 0x11, 0x12, 0x13)
# Bytes of a request, as most meters take them.
DATA_LIMIT = 200
SPEEDS = ["600", "1200", "2400", "4800", "9600", "19200"]


@shown.group(
    epilog="""\b
Examples:
  dianka meter --port /dev/ttyUSB0 scan
  dianka meter --port /dev/ttyUSB0 read 983764 voltage 0001FF00
  dianka meter --console /dev/ttyACM0 --line 1 read 983764 电压数据块
  dianka meter --port socket://10.0.0.7:7000 --baud 9600 time 983764
  dianka meter --port /dev/ttyUSB0 relay 983764 trip --yes
An address has up to 12 digits; `any` is whatever meter is alone on the line. The password, PA P0
P1 P2 as 8 digits, is asked for, or taken from DIANKA_METER_PASSWORD. The options of the line may
stand before the verb or behind it.
"""
)
@line_options
@click.pass_context
def command(context: click.Context, /, **given: Any) -> None:
    """Find meters, read and write them, set time, freeze, switch, clear, pay in."""
    context.obj = given


@command.command(
    epilog="""\b
Example:
  dianka meter --port /dev/ttyUSB0 scan
"""
)
@with_session
def scan(session: Session) -> None:
    """Find all unknown meters of a line by a search that copes with collisions."""
    asked = 0
    with session.opened() as line, search_progress() as told:
        task = told.add_task("", total=None)

        def heard(questions: int, found: int) -> None:
            nonlocal asked
            asked = questions
            told.update(
                task,
                description=_("{questions} questions, {found} meters").format(
                    questions=questions, found=found
                ),
            )

        addresses = line.search(session.standard, heard)
    if session.as_json:
        print_json({"addresses": addresses, "questions": asked})
        return
    for address in addresses:
        echo(address)
    echo(
        _("{addresses} meters, {asked} questions").format(addresses=len(addresses), asked=asked),
        err=True,
    )


@command.command(
    epilog="""\b
Examples:
  dianka meter --port /dev/ttyUSB0 read 983764 voltage
  dianka meter --port /dev/ttyUSB0 --json read any 0001FF00 04000503
"""
)
@address_argument
@click.argument("items", nargs=-1, required=True)
@with_session
def read(session: Session, address: str, items: tuple[str, ...]) -> None:
    """Read identifiers, by digits or by name, each whole however many replies it takes."""
    with session.opened() as line:
        wanted = [write.find(item, session.standard, session.profile) for item in items]
        frames = [line.read(address, *orders.read(session.standard, one.di)) for one in wanted]
    session.show(frames, _("Meter {address}").format(address=frames[0].address))


@command.command(
    "write",
    epilog="""\b
Examples:
  dianka meter --port /dev/ttyUSB0 write 983764 04001001 20.00 --yes
  dianka meter --port /dev/ttyUSB0 write 983764 04000401 --hex 643798000000 --yes
""",
)
@address_argument
@click.argument("item")
@click.argument("value", required=False)
@click.option("--hex", "digits", help="The data as it stands on the wire, low byte first.")
@click.option(
    "--size", type=click.IntRange(1, 8), help="Bytes of the number, if there are several."
)
@yes_option
@with_session
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
    if (value is None) == (digits is None):
        raise click.UsageError(_("give a VALUE or --hex"))
    try:
        found = write.find(item, session.standard, session.profile)
        sizes = [size] if size else write.sizes_of(found)
        octets = _hex(digits) if digits else write.encode(found, value or "", (sizes or [4])[0])
    except write.WriteError as error:
        raise click.ClickException(str(error)) from error
    sure(
        yes,
        _("Write {di} {name} of meter {address}?").format(
            di=found.di, name=either(found.name_en, found.name_zh), address=address
        ),
    )
    request = orders.write(session.standard, found.di, password_of(), octets)
    _order(session, address, request, _("{di} written").format(di=found.di))


@command.command(
    "time",
    epilog="""\b
Examples:
  dianka meter --port /dev/ttyUSB0 time 983764
  dianka meter --port /dev/ttyUSB0 time 983764 --set
  dianka meter --port /dev/ttyUSB0 time any --broadcast
""",
)
@address_argument
@click.option("--set", "set_it", is_flag=True, help="Write this machine's time, with password.")
@click.option("--broadcast", is_flag=True, help="To all meters: within 5 minutes, once a day.")
@with_session
def time_command(session: Session, address: str, set_it: bool, broadcast: bool) -> None:
    """Compare a meter's clock with this machine's; set it, then read it back."""
    with session.opened() as line:
        if broadcast:
            line.ask(BROADCAST, *orders.broadcast_time(datetime.now()))
        elif set_it:
            _set_clock(session, line, address)
        requests = orders.read_clock(session.standard)
        answers = [session.described(line.ask(address, *request)) for request in requests]
    texts = [one["items"][0]["value"] for one in answers if one["items"] and not one["error"]]
    if len(texts) < 2 or None in texts:
        raise click.ClickException(
            _("meter {address} does not tell its clock").format(address=address)
        )
    try:
        shown = datetime.strptime(" ".join(texts), "%Y-%m-%d %H:%M:%S")
    except ValueError as error:
        raise click.ClickException(
            _("meter {address} shows no time: {texts}").format(
                address=address, texts=" ".join(texts)
            )
        ) from error
    ahead_s = round((shown - datetime.now()).total_seconds())
    if session.as_json:
        print_json({"meter": answers[0]["address"], "time": str(shown), "ahead_s": ahead_s})
    else:
        echo(
            _("meter {answers} shows {shown}, {ahead_s:+d} s").format(
                answers=answers[0]["address"], shown=shown, ahead_s=ahead_s
            )
        )


@command.command(
    epilog="""\b
Examples:
  dianka meter --port /dev/ttyUSB0 freeze 983764
  dianka meter --port /dev/ttyUSB0 freeze all --kind daily --at "01 00:30"
"""
)
@click.argument("address", type=ADDRESS_OR_ALL)
@click.option(
    "--kind",
    default="instant",
    show_default=True,
    type=click.Choice(list(orders.FREEZES)),
    help="Once, or how often from now on.",
)
@click.option("--at", default="01 00:00", show_default=True, help='When: "DD hh:mm".')
@with_session
def freeze(session: Session, address: str, kind: str, at: str) -> None:
    """Keep the registers of one meter, or of `all`: at once, or every hour, day or month."""
    try:
        moment = datetime.strptime(f"2000-01-{at}", "%Y-%m-%d %H:%M")
    except ValueError as error:
        raise click.UsageError(_('--at {at}: a time is like "01 00:30"').format(at=at)) from error
    done = _("sent to all") if address == BROADCAST else _("{kind} freeze set").format(kind=kind)
    _order(session, address, orders.freeze(kind, moment), done)


@command.command(
    epilog="""\b
Examples:
  dianka meter --port /dev/ttyUSB0 relay 983764 trip
  dianka meter --port /dev/ttyUSB0 relay 983764 close --yes
"""
)
@address_argument
@click.argument("action", type=click.Choice(list(orders.RELAY_ACTIONS)))
@yes_option
@with_session
def relay(session: Session, address: str, action: str, yes: bool) -> None:
    """Switch a supply, its alarm or its protection; send once, then read status word 3."""
    sure(yes, _("{action} for meter {address}?").format(action=action, address=address))
    requests = (
        orders.switch(action, password_of(), datetime.now() + EXPIRY),
        orders.read("2007", orders.STATUS_3),
    )
    with session.opened() as line:
        frames = [line.ask(address, *request) for request in requests]
    session.show(
        frames, _("Meter {address}: {action}").format(address=frames[0].address, action=action)
    )


@command.command(
    epilog="""\b
Example:
  dianka meter --port /dev/ttyUSB0 clear 983764 demand
"""
)
@address_argument
@click.argument("what", type=click.Choice(list(orders.CLEARS)))
@yes_option
@with_session
def clear(session: Session, address: str, what: str, yes: bool) -> None:
    """Clear a meter's demand, all its registers, or its event records. There is no way back."""
    sure(
        yes,
        _("Clear {what} of meter {address}? There is no way back.").format(
            what=what, address=address
        ),
    )
    _order(
        session, address, orders.clear(what, password_of()), _("{what} cleared").format(what=what)
    )


@command.command(
    epilog="""\b
Example:
  dianka meter --port /dev/ttyUSB0 password 983764 --level 2
"""
)
@address_argument
@click.option(
    "--level",
    default=2,
    show_default=True,
    type=click.IntRange(0, 9),
    help="Level of the password: 0 is the highest.",
)
@yes_option
@with_session
def password(session: Session, address: str, level: int, yes: bool) -> None:
    """Change a password of a meter; the new one is asked for, or DIANKA_METER_NEW_PASSWORD."""
    sure(
        yes, _("Change password {level} of meter {address}?").format(level=level, address=address)
    )
    request = orders.change_password(level, password_of(), password_of("NEW_"))
    _order(session, address, request, _("password changed"))


@command.command(
    epilog="""\b
Examples:
  dianka meter --port /dev/ttyUSB0 speed 983764 9600
  dianka meter --port /dev/ttyUSB0 --baud 9600 speed 983764 2400 --yes
"""
)
@address_argument
@click.argument("wanted", metavar="BAUD", type=click.Choice(SPEEDS))
@yes_option
@with_session
def speed(session: Session, address: str, wanted: str, yes: bool) -> None:
    """Let a meter speak at another speed, and look at which one it answers."""
    sure(
        yes,
        _("Let meter {address} speak at {wanted} baud?").format(address=address, wanted=wanted),
    )
    if "://" in session.port:
        raise click.UsageError(_("a converter keeps its own speed: use a serial --port for that"))
    with session.opened_directly() as line:
        refusal = line.change_speed(address, session.standard, int(wanted))
    if refusal is not None:
        session.show([refusal], _("Meter {address}").format(address=address))
    elif session.as_json:
        print_json({"meter": address, "baud": int(wanted)})
    else:
        echo(
            _("meter {address} answers at {wanted} baud: reach it with --baud {wanted}").format(
                address=address, wanted=wanted
            )
        )


@command.command(
    epilog="""\b
Examples:
  dianka meter --port /dev/ttyUSB0 recharge 983764 5 --item 04900000 --amount 50
  dianka meter --port /dev/ttyUSB0 recharge 983764 5 --hex "FF 02 01 07 .." --yes
"""
)
@address_argument
@click.argument("order", type=click.IntRange(1, 0xFFFFFFF))
@amount_option("Plain money, in yuan, for a private meter.")
@click.option("--item", help="The identifier its maker writes money to, with --amount.")
@click.option("--hex", "digits", help="03H's data as the key holder made it, low byte first.")
@yes_option
@with_session
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
    if (amount_fen is None) == (digits is None) or (amount_fen is None) != (item is None):
        raise click.UsageError(_("give --amount with --item, or --hex"))
    if address == WILDCARD:
        raise click.UsageError(_("money goes to one meter: give its address, not `any`"))
    what = (
        _("order {order}").format(order=order)
        if amount_fen is None
        else _("order {order}, {amount_fen} yuan,").format(
            order=order, amount_fen=yuan(amount_fen)
        )
    )
    try:
        data = _hex(digits or "")
        di = write.find(item, session.standard, session.profile).di if item else ""
    except write.WriteError as error:
        raise click.ClickException(str(error)) from error
    if len(data) > DATA_LIMIT:
        raise click.UsageError(
            _("--hex: 03H takes up to {data_limit} bytes").format(data_limit=DATA_LIMIT)
        )
    sure(yes, _("Pay {what} into meter {address}?").format(what=what, address=address))
    request = Request(0x03, data)
    if amount_fen is not None:
        request = orders.pay(di, password_of(), amount_fen, order)
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
@address_argument
@click.argument("control")
@click.argument("digits", default="")
@yes_option
@with_session
def send(session: Session, address: str, control: str, digits: str, yes: bool) -> None:
    """Send a function by its CONTROL byte with plain data, low byte first, and show the answer.

    It is for what has no command of its own, as the 03H orders of a key holder.
    """
    try:
        octets, data = _hex(control, "CONTROL"), _hex(digits, "DIGITS")
    except write.WriteError as error:
        raise click.UsageError(str(error)) from error
    if len(octets) != 1 or octets[0] & (FROM_METER | ABNORMAL):
        raise click.UsageError(
            _("CONTROL {control}: one byte below 40, as 11 or 03").format(control=control)
        )
    if len(data) > DATA_LIMIT:
        raise click.UsageError(_("DIGITS: up to {data_limit} bytes").format(data_limit=DATA_LIMIT))
    if octets[0] not in HARMLESS:
        sure(
            yes,
            _("Send function {control} to meter {address}?").format(
                control=control, address=address
            ),
        )
    with session.opened() as line:
        frames = [line.ask(address, octets[0], data)]
    session.show(frames, _("Meter {address}").format(address=frames[0].address))


def _show_payment(session: Session, address: str, control: int, order: int, paid: Payment) -> None:
    """Print what became of a payment; end with status 1 unless it is booked."""
    booked = paid.outcome == "ok"
    balance = None if paid.balance_fen is None else yuan(paid.balance_fen)
    if session.as_json:
        told = {"meter": address, "order": order, "booked": booked, "outcome": paid.outcome}
        print_json({**told, "count": paid.count, "balance": balance})
    elif booked:
        holds = "" if balance is None else _("; it holds {balance} yuan").format(balance=balance)
        echo(
            _("meter {address} has booked order {order}{holds}").format(
                address=address, order=order, holds=holds
            )
        )
    if paid.outcome == "abnormal":
        said = describe(answer(address, control, b"", "abnormal", paid.error, False))
        raise click.ClickException(
            _("refused: {said}").format(said=", ".join(map(_, said["error"]["flags"])))
        )
    if paid.outcome == "bad reply":
        what = (
            _("order {order} was sent, but").format(order=order)
            if paid.sends
            else _("nothing was paid:")
        )
        raise click.ClickException(
            _(
                "{what} the meter counts {count} purchases, so its next order is {value}, not "
                "{order}"
            ).format(what=what, count=paid.count, value=(paid.count or 0) + 1, order=order)
        )
    if not booked:
        raise click.ClickException(
            _(
                "whether order {order} is booked is not known: the meter does not answer; give "
                "the same command again, it pays nothing twice"
            ).format(order=order)
        )


def _order(session: Session, address: str, request: Request, done: str) -> None:
    """Send something that is answered with no more than yes or no."""
    with session.opened() as line:
        frame = line.ask(address, *request)
    if frame.abnormal or session.as_json:
        session.show([frame], _("Meter {address}").format(address=frame.address))
    else:
        echo(_("meter {address}: {done}").format(address=frame.address, done=done))


def _set_clock(session: Session, line: MeterLine, address: str) -> None:
    for request in orders.set_clock(session.standard, datetime.now(), password_of()):
        frame = line.ask(address, *request)
        if frame.abnormal:
            session.show([frame], _("Meter {address}").format(address=frame.address))


def _hex(text: str, name: str = "--hex") -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise write.WriteError(
            _("{name} {text}: pairs of hexadecimal digits").format(name=name, text=text)
        ) from error
