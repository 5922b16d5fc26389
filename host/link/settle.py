"""Orders to meters, and what became of them whatever the line loses.

An order that changes a meter is sent once. Then the meter is asked for what the order was to
change, whether its answer came or not: an answer that was lost says nothing about the meter.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from host.frames import orders
from host.frames.describe import describe
from host.frames.dlt645 import Frame
from host.frames.orders import Request
from host.link.meters import ENERGY, AskError, MeterLine
from host.words import marked

DONE = marked("done")
REFUSED = marked("refused")
NOT_DONE = marked("not done")
NOT_KNOWN = marked("not known")

# What the order was to change: whether it is so now, None where the meter does not tell, and the
# answer that says so.
Look = Callable[[], "tuple[bool | None, Frame | None]"]

_LOOKS = 3
_LOOK_AGAIN_S = 0.5
# Of how often each thing was cleared.
_CLEARED = {
    ("2007", "meter"): "03300100",
    ("2007", "demand"): "03300200",
    ("2007", "events"): "03300300",
    ("1997", "demand"): "B213",
}
_ADDRESSES = ("04000401", "C032")


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of an order.

    outcome     one of the words above
    answer      the meter's answer to the order, a refusal included; None: it was lost
    seen        the answer that told what the order changed, where there is one
    why         what was heard in place of the answer
    """

    outcome: str
    answer: Frame | None
    seen: Frame | None = None
    why: str = ""


# What each order of a relay changes in status word 3; a meter closes after `permit` by its button.
_RELAY_SIGNS: dict[str, tuple[str | None, bool]] = {
    "trip": ("relay open", True),
    "permit": (None, False),
    "close": ("relay open", False),
    "alarm-on": (None, True),
    "alarm-off": (None, False),
    "guard-on": ("supply guarded", True),
    "guard-off": ("supply guarded", False),
}


def nothing_to_see() -> tuple[None, None]:
    """Look at nothing, for an order whose effect a meter does not tell."""
    return None, None


def carry_out(line: MeterLine, address: str, request: Request, look: Look) -> Settled:
    """Send an order once and find out what became of it."""
    answer, why = None, ""
    try:
        answer = line.ask(address, *request)
    except AskError as error:
        why = str(error)
    if answer is not None and answer.abnormal:
        return Settled(REFUSED, answer)
    changed, seen = _looked(look)
    if changed is None:
        return Settled(NOT_KNOWN if answer is None else DONE, answer, seen, why)
    return Settled(DONE if changed else NOT_DONE, answer, seen, why)


def _looked(look: Look) -> tuple[bool | None, Frame | None]:
    """Look until it is as ordered, a few times: a relay takes its time."""
    changed, seen = None, None
    for at in range(_LOOKS):
        if at:
            time.sleep(_LOOK_AGAIN_S)
        try:
            changed, seen = look()
        except AskError:
            continue
        if changed is not False:
            break
    return changed, seen


def relay_look(line: MeterLine, address: str, action: str) -> Look:
    """Return what looks at status word 3 after a relay's order."""
    flag, wanted = _RELAY_SIGNS[action]

    def look() -> tuple[bool | None, Frame | None]:
        frame = line.ask(address, *orders.read("2007", orders.STATUS_3))
        said = describe(frame, "2007")
        flags = said["items"][0].get("flags") if said["items"] else None
        if said["error"] or flags is None or flag is None:
            return None, frame
        return (flag in flags) == wanted, frame

    return look


def write_look(line: MeterLine, address: str, standard: str, di: str, octets: bytes) -> Look:
    """Return what reads an identifier that was written; a new address is asked under itself."""
    who = octets[::-1].hex() if di in _ADDRESSES and len(octets) == 6 else address
    request = orders.read(standard, di)

    def look() -> tuple[bool | None, Frame | None]:
        frame = line.ask(who, *request)
        if frame.abnormal:
            return None, None  # written only
        return frame.data[len(di) // 2 :] == octets, frame

    return look


def clear_look(line: MeterLine, address: str, standard: str, what: str) -> Look:
    """Return what compares how often a meter was cleared with how often it was before."""
    di = _CLEARED[standard, what]

    def count() -> int | None:
        frame = line.ask(address, *orders.read(standard, di))
        return None if frame.abnormal else int.from_bytes(frame.data[len(di) // 2 :], "little")

    try:
        before = count()
    except AskError:
        before = None

    def look() -> tuple[bool | None, Frame | None]:
        now = count()
        return (None if None in (before, now) else now != before), None

    return look


def password_look(line: MeterLine, address: str, standard: str, level: int, new: bytes) -> Look:
    """Return what changes a password from the new one to the new one, which changes nothing."""

    def look() -> tuple[bool | None, Frame | None]:
        frame = line.ask(address, *orders.change_password(standard, level, new, new))
        return not frame.abnormal, frame if frame.abnormal else None

    return look


def address_look(line: MeterLine, standard: str, new: str) -> Look:
    """Return what asks for a meter under its new address."""

    def look() -> tuple[bool | None, Frame | None]:
        line.ask(new, *orders.read(standard, ENERGY[standard]))
        return True, None

    return look
