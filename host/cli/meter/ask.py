"""`dianka meter read`, `send` and `raw`: questions, and frames that have no verb of their own."""

import time
from pathlib import Path
from typing import Any

import click

from host.cli import shown
from host.cli.meter import watch
from host.cli.meter.session import (
    DATA_LIMIT,
    Session,
    octets_of,
    print_answers,
    print_trace,
    sure,
    with_session,
)
from host.cli.options import FILE, address_argument, yes_option
from host.cli.output import echo, print_json
from host.frames import dlt645, orders, write
from host.frames.dlt645 import ABNORMAL, FROM_METER
from host.link.meters import AskError, MeterLine
from host.words import _

# Functions that only read: 11H to 13H, and 01H and 02H of 1997.
HARMLESS = (0x01, 0x02, 0x11, 0x12, 0x13)
_RAW_WAIT_S = 0.05


@shown.command(
    epilog="""\b
Examples:
  dianka meter --port /dev/ttyUSB0 read 983764 voltage
  dianka meter --port /dev/ttyUSB0 --json read any 0001FF00 04000503
  dianka meter --port /dev/ttyUSB0 read 983764 voltage current --every 5 --plot day.png
"""
)
@address_argument
@click.argument("items", nargs=-1, required=True)
@click.option(
    "--every", "every_s", type=click.FloatRange(0), help="Again after so many seconds, and again."
)
@click.option("--count", type=click.IntRange(1), help="With --every: so many times.")
@click.option("--plot", "plot_path", type=FILE, help="With --every: draw the values in this PNG.")
@with_session
def read(
    session: Session,
    address: str,
    items: tuple[str, ...],
    every_s: float | None,
    count: int | None,
    plot_path: Path | None,
) -> None:
    """Read identifiers, by digits or by name, each whole however many replies it takes.

    With --every a line is printed each time, until --count or Ctrl-C; what was not answered is -.
    """
    if every_s is None and (count is not None or plot_path is not None):
        raise click.UsageError(_("--count and --plot need --every"))
    with session.opened() as line:
        wanted = [write.find(item, session.standard, session.profile) for item in items]
        requests = [orders.read(session.standard, one.di) for one in wanted]
        if every_s is None:
            _read_once(session, line, address, requests, [one.di for one in wanted])
            return
        watch.repeat(session, line, address, requests, watch.Plan(every_s, count, plot_path))


def _read_once(
    session: Session,
    line: MeterLine,
    address: str,
    requests: list[orders.Request],
    names: list[str],
) -> None:
    """Show the answers that come; end with status 1 where one was lost."""
    said: list[dict[str, Any]] = []
    lost = []
    for name, request in zip(names, requests, strict=True):
        try:
            frame = line.read(address, *request)
            said.append(session.described(frame, name))
        except AskError as error:
            if not said:
                raise
            lost.append(_("{di} was not read: {why}").format(di=name, why=error))
    for one in lost:
        echo(one, err=True)
    title = _("Meter {address}").format(address=said[0]["address"])
    session.show_said(said, title, many=len(names) > 1)
    if lost:
        raise click.exceptions.Exit(1)


@shown.command(
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
        octets, data = octets_of(control, "CONTROL"), octets_of(digits, "DIGITS")
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


@shown.command(
    epilog="""\b
Examples:
  dianka meter --port /dev/ttyUSB0 raw 68AAAAAAAAAAAA681300DF16
  dianka meter --port /dev/ttyUSB0 raw "FE FE 68 83 37 98 00 00 00 68 11 04 33 33 34 33 AE 16"
"""
)
@click.argument("octets", metavar="HEX")
@click.option(
    "--wait",
    "wait_s",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0.05, 60),
    help="Seconds of silence after which nothing more is expected.",
)
@yes_option
@with_session
def raw(session: Session, octets: str, wait_s: float, yes: bool) -> None:
    """Send bytes as they are, a frame or anything else, and show what comes back.

    Nothing is added, counted or repeated; what is not a frame that only reads is asked about.
    """
    try:
        data = octets_of(octets, "HEX")
    except write.WriteError as error:
        raise click.UsageError(str(error)) from error
    frames = dlt645.Reader().feed(data)
    if not frames or any(frame.control not in HARMLESS for frame in frames):
        sure(yes, _("Send these {count} bytes to the line?").format(count=len(data)))
    heard, reader = b"", dlt645.Reader()
    answers: list[dlt645.Frame] = []
    with session.opened_port() as port:
        port.write(data)
        ends_s = time.monotonic() + wait_s
        while (now_s := time.monotonic()) < ends_s:
            if part := port.read(min(_RAW_WAIT_S, ends_s - now_s)):
                heard += part
                answers += reader.feed(part)
                ends_s = time.monotonic() + wait_s
    answers += reader.silence()
    # An adapter may give back what was sent.
    said = [session.described(frame) for frame in answers if frame.from_meter]
    if session.as_json:
        told = {"sent": data.hex().upper(), "heard": heard.hex().upper(), "frames": said}
        print_json(told)
    else:
        print_trace("TX", data)
        print_trace("RX", heard)
        if said:
            print_answers(said, "")
    if not said:
        raise click.ClickException(
            _("{count} bytes came, no frame of a meter among them").format(count=len(heard))
        )
