"""Build a technician's requests to meters, each as its control byte and its plain data.

A write is `identifier | PA P0 P1 P2 | operator C0..C3 | value`, in 1997 without the operator;
every part but the password stands low byte first. `password` is PA P0 P1 P2 as on the wire.
Spec: DL/T 645-2007 chapter 7 and annex A; DL/T 645-1997.
"""

from datetime import datetime
from typing import NamedTuple

OPERATOR = bytes(4)
STATUS_3 = "04000503"
# N1 of 1CH, by the technician's name for it.
RELAY_ACTIONS = {
    "trip": 0x1A,
    "permit": 0x1B,
    "close": 0x1C,
    "alarm-on": 0x2A,
    "alarm-off": 0x2B,
    "guard-on": 0x3A,
    "guard-off": 0x3B,
}
CLEARS = {"demand": 0x19, "meter": 0x1A, "events": 0x1B}
CLEARS_1997 = {"demand": 0x10}
# Digits of MM DD hh mm; 99 stands for every one.
FREEZES = {
    "instant": "99999999",
    "hourly": "999999{:%M}",
    "daily": "9999{:%H%M}",
    "monthly": "99{:%d%H%M}",
}
_CLOCK = {"2007": ("04000101", "04000102"), "1997": ("C010", "C011")}
_ALL_EVENTS = b"\xff" * 4


class Request(NamedTuple):
    """The content of a frame: `MeterLine.ask(address, *request)`."""

    control: int
    data: bytes


def read(standard: str, di: str) -> Request:
    """Return the request that reads an identifier of 4 or 8 digits."""
    return Request(0x11 if standard == "2007" else 0x01, _wire(di))


def write(standard: str, di: str, password: bytes, value: bytes) -> Request:
    """Return the request that writes the bytes `value` to an identifier."""
    if standard == "2007":
        return Request(0x14, _wire(di) + password + OPERATOR + value)
    return Request(0x04, _wire(di) + password + value)


def pay(di: str, password: bytes, amount_fen: int, order: int) -> Request:
    """Return the request that writes plain money to a private meter as its purchase `order`."""
    return write("2007", di, password, _wire(f"{amount_fen:08d}{order:08d}"))


def read_clock(standard: str) -> tuple[Request, Request]:
    """Return the requests that read a meter's date and its time of day."""
    date, time = _CLOCK[standard]
    return read(standard, date), read(standard, time)


def set_clock(standard: str, moment: datetime, password: bytes) -> tuple[Request, Request]:
    """Return the requests that write date (YY MM DD WW, 0: Sunday) and time of day (hh mm ss)."""
    date, time = _CLOCK[standard]
    day = _wire(f"{moment:%y%m%d}{moment.isoweekday() % 7:02d}")
    return (
        write(standard, date, password, day),
        write(standard, time, password, _wire(f"{moment:%H%M%S}")),
    )


def broadcast_time(moment: datetime) -> Request:
    """Return the request that sets the clocks of all meters, which none of them answers."""
    return Request(0x08, _wire(f"{moment:%y%m%d%H%M%S}"))


def freeze(kind: str, moment: datetime) -> Request:
    """Return the request to keep the registers: now, or at that minute, hour or day each time."""
    return Request(0x16, _wire(FREEZES[kind].format(moment)))


def switch(action: str, password: bytes, expiry: datetime) -> Request:
    """Return the request that moves the relay, unless the meter gets it after `expiry`."""
    order = bytes((RELAY_ACTIONS[action], 0)) + _wire(f"{expiry:%y%m%d%H%M%S}")
    return Request(0x1C, password + OPERATOR + order)


def clear(standard: str, what: str, password: bytes) -> Request:
    """Return the request that clears a meter's demand, all its registers or all its events.

    1997 has the first alone.
    """
    if standard == "1997":
        return Request(CLEARS_1997[what], password)
    data = password + OPERATOR + (_ALL_EVENTS if what == "events" else b"")
    return Request(CLEARS[what], data)


def change_password(standard: str, level: int, old: bytes, new: bytes) -> Request:
    """Return the request that gives `level` the password `new`; in 1997 it is in the password."""
    if standard == "1997":
        return Request(0x0F, old + new)
    return Request(0x18, _wire(f"04000C{level + 1:02X}") + old + new)


def write_address(standard: str, new: str) -> Request:
    """Return the request to the only meter on the line that gives it an address of 12 digits."""
    return Request(0x15 if standard == "2007" else 0x0A, _wire(new))


def _wire(digits: str) -> bytes:
    return bytes.fromhex(digits)[::-1]
