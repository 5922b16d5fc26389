"""`dianka sniff`: decode a live meter line, with times, turnarounds and who spoke."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click

from host.cli import shown
from host.cli.options import (
    FILE,
    baud_option,
    json_option,
    meter_port,
    profile_option,
    standard_option,
)
from host.cli.output import Column, echo, print_json, print_table
from host.frames.describe import STANDARDS, describe
from host.frames.parts import label_of, name_parts
from host.link.pcap import PcapWriter
from host.link.port import Port, PortError
from host.link.sniffer import Event, Kind, MeterCounts, Sniffer
from host.words import _, either, system_reason

_WAIT_S = 0.05
_SHOWN_ITEMS = 6
_SHOWN_NOISE_BYTES = 16
_PARITIES = {"even": "E", "none": "N", "odd": "O"}

_EPILOG = """\b
Examples:
  dianka sniff /dev/ttyUSB0
  dianka sniff /dev/ttyUSB0 --baud 1200 --json > line.jsonl
  dianka sniff socket://192.168.1.20:8899 --seconds 60
  dianka sniff /dev/ttyUSB0 --pcap line.pcap
"""


@shown.command(epilog=_EPILOG)
@click.argument("port", required=False)
@baud_option()
@click.option(
    "--parity",
    default="even",
    show_default=True,
    type=click.Choice([*_PARITIES]),
    help="Parity of the line.",
)
@json_option
@standard_option("auto", *STANDARDS)
@profile_option()
@click.option("--pcap", "pcap_path", type=FILE, help="Write what is heard to this file as well.")
@click.option("--frames", type=click.IntRange(1), help="Stop after so many frames.")
@click.option("--seconds", type=click.FloatRange(0), help="Stop after so long.")
def command(
    port: str | None,
    baud: int,
    parity: str,
    as_json: bool,
    standard: str,
    profile: str,
    pcap_path: Path | None,
    frames: int | None,
    seconds: float | None,
) -> None:
    """Show what is said on the meter line at PORT, without sending anything.

    PORT is a serial port, a pseudo terminal or socket://HOST:PORT; without it, DIANKA_METER_PORT
    names one, else it is the only converter of `dianka ports`. Each line tells when, who spoke,
    how long after the request, and what. Ctrl-C ends it with a table of the meters heard.
    """
    port = port or meter_port()
    sniffer = Sniffer(baud)
    ended = ""
    try:
        with Port(port, baud, _PARITIES[parity]) as line, _kept(pcap_path) as keep:
            for at, event in _listen(line, sniffer, frames, seconds):
                keep(at, event)
                said = _described(event, standard, profile)
                if as_json:
                    print_json(_fields(at, event, said))
                else:
                    echo(_as_text(at, event, said))
    except PortError as error:
        ended = str(error)
    except KeyboardInterrupt:
        pass
    if not as_json and (sniffer.meters or not ended):
        _show_meters(sniffer)
    if ended:
        raise click.ClickException(ended)


@contextmanager
def _kept(path: Path | None) -> Iterator[Callable[[datetime, Event], None]]:
    """Yield what keeps an event in the pcap file, if there is one."""
    if path is None:
        yield lambda _at, _event: None
        return
    try:
        with path.open("wb") as out:
            written = PcapWriter(out)

            def keep(at: datetime, event: Event) -> None:
                if event.kind != Kind.NO_ANSWER:
                    written.packet(at, event.octets)

            yield keep
    except OSError as error:
        raise click.ClickException(
            _("cannot write {path}: {reason}").format(path=path, reason=system_reason(error))
        ) from error


def _listen(
    line: Port, sniffer: Sniffer, frames: int | None, seconds: float | None
) -> Iterator[tuple[datetime, Event]]:
    """Yield events with their times, until enough of them came."""
    clock, started = datetime.now().astimezone(), time.monotonic()
    heard = 0
    while seconds is None or time.monotonic() - started < seconds:
        octets = line.read(_WAIT_S)
        now_s = time.monotonic()
        for event in sniffer.feed(octets, now_s) if octets else sniffer.idle(now_s):
            yield clock + timedelta(seconds=event.start_s - started), event
            heard += event.kind in (Kind.REQUEST, Kind.RESPONSE)
            if heard == frames:
                return


def _described(event: Event, standard: str, profile: str) -> dict[str, Any] | None:
    """Return the fields of the event's frame by their names, if it has one."""
    return name_parts(describe(event.frame, standard, profile)) if event.frame else None


def _fields(at: datetime, event: Event, said: dict[str, Any] | None) -> dict[str, Any]:
    told: dict[str, Any] = {
        "time": at.isoformat(" ", "milliseconds"),
        "kind": event.kind.value,
        "speaker": _speaker(event),
        "duration_ms": _ms(event.end_s - event.start_s),
        "turnaround_ms": None if event.turnaround_s is None else _ms(event.turnaround_s),
        "preamble": event.preamble,
        "hex": event.octets.hex().upper(),
    }
    if event.kind in (Kind.REQUEST, Kind.RESPONSE):
        told["frame"] = said
    elif said:
        told["address"] = said["address"]
    return told


def _as_text(at: datetime, event: Event, said: dict[str, Any] | None) -> str:
    when = at.strftime("%H:%M:%S.%f")[:-3]
    wait = "" if event.turnaround_s is None else f"+{_ms(event.turnaround_s)} ms"
    if said is None:
        octets = event.octets[:_SHOWN_NOISE_BYTES].hex(" ").upper()
        more = " .." if len(event.octets) > _SHOWN_NOISE_BYTES else ""
        what = _("{count} bytes that belong to no frame: {octets}{more}").format(
            count=len(event.octets), octets=octets, more=more
        )
        return _("{when} {wait:>9}  noise         {what}").format(when=when, wait=wait, what=what)
    address = said["address"]
    if event.kind is Kind.NO_ANSWER:
        return _("{when} {wait:>9}  nobody        {address} did not answer to {function}").format(
            when=when, wait=wait, address=address, function=_(said["function"])
        )
    speaker = (
        _("master        to {address}").format(address=address)
        if event.kind is Kind.REQUEST
        else f"{address} "
    )
    name = either(said["name_en"], said["name_zh"])
    named = " ".join(part for part in (_(said["function"]), said["di"], name) if part)
    return f"{when} {wait:>9}  {speaker} {named}{_content(said)}"


def _content(said: dict[str, Any]) -> str:
    """Return what a frame carries, shortened."""
    if said["error"]:
        return _(": refused, {why}").format(
            why=", ".join(map(_, said["error"]["flags"])) or _("no reason given")
        )
    words = []
    for item in said["items"][:_SHOWN_ITEMS]:
        value = "-" if item["value"] is None else item["value"]
        extra = ", ".join(_(one) for one in (item.get("text"), *item.get("flags", ())) if one)
        parts = (label_of(item), value, item["unit"], f"({extra})" if extra else "")
        words.append(" ".join(part for part in parts if part))
    if len(said["items"]) > _SHOWN_ITEMS:
        words.append(_(".. {count} items").format(count=len(said["items"])))
    more = _(" (more follows)") if said["more"] else ""
    return (": " + "; ".join(words) if words else "") + more


def _speaker(event: Event) -> str | None:
    if event.kind is Kind.REQUEST:
        return "master"
    if event.kind is Kind.RESPONSE and event.frame:
        return event.frame.address
    return None


def _show_meters(sniffer: Sniffer) -> None:
    names = (_("requests"), _("answers"), _("refusals"), _("no answer"), _("turnaround ms"))
    rows = [
        (
            address,
            *map(str, (counts.requests, counts.responses, counts.refusals, counts.unanswered)),
            _turnarounds(counts),
        )
        for address, counts in sorted(sniffer.meters.items())
    ]
    noise = (
        _("{noise_bytes} bytes of noise").format(noise_bytes=sniffer.noise_bytes)
        if sniffer.noise_bytes
        else ""
    )
    columns = (Column(_("meter")), *(Column(name, right=True) for name in names))
    print_table(columns, rows, title=noise, err=True)


def _turnarounds(counts: MeterCounts) -> str:
    """Return the least, the median and the most of the turnarounds, in ms."""
    if not counts.turnarounds_s:
        return "-"
    found = counts.turnarounds_s
    return " / ".join(str(_ms(one)) for one in (min(found), statistics.median(found), max(found)))


def _ms(duration_s: float) -> int:
    return round(duration_s * 1000)
