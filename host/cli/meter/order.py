"""The verbs of `dianka meter` that change a meter; each reads back what it changed."""

from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo

import click

from host.cli import shown
from host.cli.meter.security import end_authentication, key_server_option
from host.cli.meter.session import SPEEDS, Session, octets_of, password_of, sure, with_session
from host.cli.options import (
    ADDRESS_OR_ALL,
    DIGITS,
    address_argument,
    yes_option,
    zone_option,
)
from host.cli.output import echo, print_json
from host.frames import orders, write
from host.frames.dlt645 import BROADCAST, WILDCARD
from host.frames.orders import Request
from host.link import security as modules
from host.link import settle
from host.link.key_server import KeyServer, KeyServerError
from host.link.meters import AskError, MeterLine
from host.link.settle import Look, Settled
from host.units import now_t2000, to_datetime
from host.words import _, either, marked

EXPIRY = timedelta(hours=1)
_SWITCHED = {
    "trip": marked("the relay is open, the supply is off"),
    "permit": marked("the relay may be closed at the meter"),
    "close": marked("the relay is closed, the supply is on"),
    "alarm-on": marked("the alarm is on"),
    "alarm-off": marked("the alarm is off"),
    "guard-on": marked("the supply is guarded"),
    "guard-off": marked("the supply is not guarded any more"),
}


@shown.command(
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
        octets = (
            octets_of(digits) if digits else write.encode(found, value or "", (sizes or [4])[0])
        )
    except write.WriteError as error:
        raise click.ClickException(str(error)) from error
    sure(
        yes,
        _("Write {di} {name} of meter {address}?").format(
            di=found.di, name=either(found.name_en, found.name_zh), address=address
        ),
    )
    request = orders.write(session.standard, found.di, password_of(), octets)
    done = _("{di} written").format(di=found.di)
    _carry_out(
        session,
        address,
        request,
        done,
        lambda line: settle.write_look(line, address, session.standard, found.di, octets),
    )


@shown.command(
    "time",
    epilog="""\b
Examples:
  dianka meter --port /dev/ttyUSB0 time 983764
  dianka meter --port /dev/ttyUSB0 time 983764 --set
  dianka meter --port /dev/ttyUSB0 time any --broadcast
""",
)
@address_argument
@click.option("--set", "set_it", is_flag=True, help="Write the time, with password.")
@click.option("--broadcast", is_flag=True, help="To all meters: within 5 minutes, once a day.")
@zone_option
@with_session
def time_command(
    session: Session, address: str, set_it: bool, broadcast: bool, zone: tzinfo
) -> None:
    """Compare a meter's clock with the time of its zone, without summer time, or set it to that.

    A clock that is set is read back.
    """
    with session.opened() as line:
        if broadcast:
            line.ask(BROADCAST, *orders.broadcast_time(_now(zone)))
            if address == WILDCARD:
                _say_sent_to_all(session)
                return
        elif set_it:
            _set_clock(session, line, address, zone)
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
    ahead_s = round((shown - _now(zone)).total_seconds())
    if session.as_json:
        print_json(
            {
                "meter": answers[0]["address"],
                "time": str(shown),
                "ahead_s": ahead_s,
                "zone": str(zone),
            }
        )
    else:
        echo(
            _("meter {answers} shows {shown}, {ahead_s:+d} s ({zone})").format(
                answers=answers[0]["address"],
                shown=shown,
                ahead_s=ahead_s,
                zone=zone,
            )
        )


def _now(zone: tzinfo) -> datetime:
    """Return the standard time that meters of a zone keep."""
    return to_datetime(now_t2000(zone))


def _say_sent_to_all(session: Session) -> None:
    if session.as_json:
        print_json({"meter": BROADCAST, "outcome": settle.NOT_KNOWN})
    else:
        echo(_("sent to all meters, which do not answer it: `time ADDRESS` shows what one took"))


@shown.command(
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
    session.need_2007("freeze")
    request = orders.freeze(kind, moment)
    _carry_out(session, address, request, done, lambda line: settle.nothing_to_see)


@shown.command(
    epilog="""\b
Examples:
  dianka meter --port /dev/ttyUSB0 relay 983764 trip
  dianka meter --port /dev/ttyUSB0 relay 983764 close --yes
  dianka meter --port /dev/ttyUSB0 relay 983764 trip --key-server "ask-key-server --site 7"
"""
)
@address_argument
@click.argument("action", type=click.Choice(list(orders.RELAY_ACTIONS)))
@key_server_option
@yes_option
@zone_option
@with_session
def relay(
    session: Session,
    address: str,
    action: str,
    key_server: str | None,
    yes: bool,
    zone: tzinfo,
) -> None:
    """Switch a supply, its alarm or its protection; send once, then read status word 3.

    A meter with a security module may take such an order only sealed, by --key-server; any other
    takes it by its password.
    """
    session.need_2007("relay")
    if key_server is not None and address == WILDCARD:
        raise click.UsageError(_("a sealed order is for one meter: give its address, not `any`"))
    sure(yes, _("{action} for meter {address}?").format(action=action, address=address))
    expiry = _now(zone) + EXPIRY
    password = password_of() if key_server is None else b""
    with session.opened() as line:
        look = settle.relay_look(line, address, action)
        if key_server is None:
            request = orders.switch(action, password, expiry)
            settled = settle.carry_out(line, address, request, look)
        else:
            plain = bytes((orders.RELAY_ACTIONS[action], 0)) + bytes.fromhex(
                f"{expiry:%y%m%d%H%M%S}"
            )
            settled = _switch_sealed(session, line, address, plain, key_server, look)
    session.tell(settled, address, _(_SWITCHED[action]))


def _switch_sealed(
    session: Session,
    line: MeterLine,
    address: str,
    plain: bytes,
    key_server: str,
    look: Look,
) -> Settled:
    """Authenticate the key server, carry out the order that it seals, and end it again."""
    try:
        with KeyServer(key_server) as server:
            entered = modules.authenticate(line, address, server)
            try:
                request = modules.sealed_switch(plain, server, entered, session.profile)
                return settle.carry_out(line, address, request, look)
            finally:
                end_authentication(line, address)
    except KeyServerError as error:
        raise click.ClickException(str(error)) from error


@shown.command(
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
    if what not in orders.CLEARS_1997:
        session.need_2007(f"clear {what}")
    sure(
        yes,
        _("Clear {what} of meter {address}? There is no way back.").format(
            what=what, address=address
        ),
    )
    request = orders.clear(session.standard, what, password_of())
    _carry_out(
        session,
        address,
        request,
        _("{what} cleared").format(what=what),
        lambda line: settle.clear_look(line, address, session.standard, what),
    )


@shown.command(
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
    old, new = password_of(), password_of("NEW_")
    _carry_out(
        session,
        address,
        orders.change_password(session.standard, level, old, new),
        _("password changed"),
        lambda line: settle.password_look(line, address, session.standard, level, new),
    )


@shown.command(
    "address",
    epilog="""\b
Example:
  dianka meter --port /dev/ttyUSB0 address 983765 --yes
""",
)
@click.argument("new", metavar="NEW", type=DIGITS)
@yes_option
@with_session
def address_command(session: Session, new: str, yes: bool) -> None:
    """Give the only meter on the line another address, while its programming key is pressed.

    The order goes to whatever meter hears it: let no other one be on the line.
    """
    sure(yes, _("Give the only meter on the line the address {new}?").format(new=new))
    _carry_out(
        session,
        WILDCARD,
        orders.write_address(session.standard, new),
        _("it has the address {new}").format(new=new),
        lambda line: settle.address_look(line, session.standard, new),
    )


@shown.command(
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


def _carry_out(
    session: Session,
    address: str,
    request: Request,
    done: str,
    look_of: Callable[[MeterLine], Look],
) -> None:
    """Send an order, find out what became of it, and say so."""
    with session.opened() as line:
        settled = settle.carry_out(line, address, request, look_of(line))
    session.tell(settled, address, done)


def _set_clock(session: Session, line: MeterLine, address: str, zone: tzinfo) -> None:
    now = _now(zone)
    for request in orders.set_clock(session.standard, now, password_of()):
        try:
            frame = line.ask(address, *request)
        except AskError:
            continue  # the clock is read afterwards, whatever became of this answer
        if frame.abnormal:
            session.show([frame], _("Meter {address}").format(address=frame.address))
