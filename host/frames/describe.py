"""Describe a DL/T 645 frame as one object for JSON: names, values with units, errors as flags.

    {"ok": true, "standard": "2007", "direction": "response", "address": "000000983764",
     "control": "91", "function": "read", "di": "0000FF00", "name_en": .., "name_zh": ..,
     "items": [{"value": "4105.81", "unit": "kWh"}, ..], "more": false, "error": null}

Items with a meaning of their own have a `name`, flag words `flags`, codes `text`, dates with a
weekday `weekday`. Data without a known format are an item with the unit `raw`, and a `note`
beside the items says why. A frame that does not verify is {"ok": false, "reason": .., "hex": ..}.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from host.frames import catalogue, values
from host.frames.dlt645 import (
    ABNORMAL,
    FROM_METER,
    FUNCTION_MASK,
    MORE,
    Frame,
    FrameError,
    parse,
)
from host.frames.layouts import Layout

STANDARDS = ("2007", "1997")
_DI_SIZE = {"2007": 4, "1997": 2}
_SECURITY = 0x03
# DI3 of the identifiers of 03H: the standard's, and that of private meters.
_SECURITY_CLASSES = (0x07, 0xAB)
_FOLLOW_UP = 0x12
_WRITE = 0x14
_FUNCTIONS_1997 = frozenset((0x01, 0x02, 0x04, 0x0A, 0x0C, 0x0F, 0x10))
TERMINATOR_1997 = b"\xaa"
# Levels of a write with data that are not plain: enciphered, or followed by a MAC.
_ENCIPHERED = frozenset(("98", "96"))
_WITH_MAC = frozenset(("99", "97"))
_ESAM_MAC_SIZE = 4
_NOT_HEX = re.compile(r"[^0-9A-Fa-f]")


def describe_hex(
    text: str, standard: str = "auto", profile: str = catalogue.STATE_GRID
) -> dict[str, Any]:
    """Describe the frame whose bytes `text` gives in hexadecimal, with or without blanks."""
    digits = "".join(text.split())
    wrong = _NOT_HEX.search(digits)
    if wrong:
        reason = f"{wrong[0]!r} is no hexadecimal digit"
        return {"ok": False, "reason": reason, "hex": digits}
    if len(digits) % 2:
        return {"ok": False, "reason": f"{len(digits)} digits, half a byte", "hex": digits}
    return describe_bytes(bytes.fromhex(digits), standard, profile)


def describe_bytes(
    octets: bytes, standard: str = "auto", profile: str = catalogue.STATE_GRID
) -> dict[str, Any]:
    """Describe the one frame in `octets`, or the reason why it is none."""
    try:
        frame = parse(octets)
    except FrameError as error:
        return {"ok": False, "reason": str(error), "hex": octets.hex().upper()}
    return describe(frame, standard, profile)


def describe(
    frame: Frame, standard: str = "auto", profile: str = catalogue.STATE_GRID
) -> dict[str, Any]:
    """Describe a verified frame; `standard` is 2007, 1997 or auto."""
    if standard == "auto":
        head = _sure_head(frame.control, profile) or _head(
            _standard_of_03(frame), frame.control, profile
        )
    else:
        head = _head(standard, frame.control, profile)
    items = found = None
    if head.reading and len(frame.data) >= head.di_size:
        # The common case, in one step.
        found = head.found.find_wire(frame.data[: head.di_size])
        if found is not None:
            items = found.reply.decode(frame.data[head.di_size :])
    named = found if items is not None else None
    said: dict[str, Any] = {
        "ok": True,
        "standard": head.standard,
        "direction": head.direction,
        "address": frame.address,
        "control": head.control,
        "function": head.function,
        "di": named.di if named else "",
        "name_en": named.name_en if named else "",
        "name_zh": named.name_zh if named else "",
        "items": [] if items is None else items,
        "more": head.more,
        "error": None,
    }
    if head.error is not None:
        said["error"] = _error(head.error, frame.data)
    elif items is None:
        _say_parts(said, head, frame.data)
    return said


def _standard_of_03(frame: Frame) -> str:
    """Return the standard of function 03: a repeated read of 1997, or security of 2007."""
    if frame.more:
        return "2007"
    if frame.abnormal:
        return "1997" if len(frame.data) == 1 else "2007"
    if not frame.from_meter:
        return "1997" if len(frame.data) == _DI_SIZE["1997"] else "2007"
    if len(frame.data) >= _DI_SIZE["2007"] and frame.data[3] in _SECURITY_CLASSES:
        return "2007"
    return "1997" if catalogue.load().find_wire(frame.data[: _DI_SIZE["1997"]]) else "2007"


@dataclass(frozen=True, slots=True)
class _Head:
    """The meaning of the control byte alone.

    error       the layout of the error word, of a refusal
    reading     the data are an identifier and what it defines, nothing else
    terminated  a block may end with AA
    in_parts    the data may be a part of what the identifier defines
    protected   the data may be enciphered or followed by a MAC
    """

    found: catalogue.Catalogue
    standard: str
    direction: str
    control: str
    function: str
    more: bool
    error: Layout | None
    parts: tuple[catalogue.Part, ...]
    reading: bool
    di_size: int
    terminated: bool
    in_parts: bool
    protected: bool


@lru_cache(maxsize=2048)
def _sure_head(control: int, profile: str) -> _Head | None:
    """Return the head where the function belongs to one standard, or is the same in both."""
    function = control & FUNCTION_MASK
    if function == _SECURITY:
        return None
    return _head("1997" if function in _FUNCTIONS_1997 else "2007", control, profile)


@lru_cache(maxsize=2048)
def _head(standard: str, control: int, profile: str) -> _Head:
    found = catalogue.load(profile)
    code = control & FUNCTION_MASK
    function = found.functions.get(f"{standard}:{code:02X}")
    reply = bool(control & FROM_METER)
    abnormal = reply and bool(control & ABNORMAL)
    word = "security" if (standard, code) == ("2007", _SECURITY) else standard
    parts: tuple[catalogue.Part, ...] = ()
    if function is not None:
        parts = function.reply if reply else function.request
    return _Head(
        found=found,
        standard=standard,
        direction="response" if reply else "request",
        control=f"{control:02X}",
        function=function.name_en if function else f"function {code:02X}",
        more=bool(control & MORE),
        error=found.layout(f"error_{word}") if abnormal else None,
        parts=parts,
        reading=reply and not abnormal and len(parts) == 1 and parts[0].plain,
        di_size=_DI_SIZE[standard],
        terminated=standard == "1997",
        in_parts=bool(control & MORE) or code == _FOLLOW_UP,
        protected=(standard, control) == ("2007", _WRITE),
    )


def _error(layout: Layout, data: bytes) -> dict[str, Any]:
    items = layout.decode(data)
    return {"code": data[::-1].hex().upper(), "flags": items[0]["flags"] if items else []}


def _say_parts(said: dict[str, Any], head: _Head, data: bytes) -> None:
    """Take the first variant of the function's data that fits."""
    for part in head.parts:
        if _say_part(said, head, part, data):
            return
    if data:
        said["items"].append(values.raw(data))
        said["note"] = f"{len(data)} data bytes do not fit {said['function']}"


def _say_part(said: dict[str, Any], head: _Head, part: catalogue.Part, data: bytes) -> bool:
    at = part.before.size
    behind = at + head.di_size if part.has_di else at
    end = len(data) - part.after.size
    until = behind + part.between.size if part.has_data else end
    if end < until or until < behind:
        return False
    before, between = part.before.decode(data[:at]), part.between.decode(data[behind:until])
    after = part.after.decode(data[end:])
    if before is None or between is None or after is None:
        return False
    said["items"] += before + between
    if part.has_data:
        _say_data(said, head, data[at:behind], data[until:end])
    elif part.has_di:
        _say_name(said, head, data[at:behind])
    said["items"] += after
    return True


def _say_name(said: dict[str, Any], head: _Head, wire_di: bytes) -> catalogue.Identifier | None:
    identifier = head.found.find_wire(wire_di)
    if identifier is None:
        said["di"] = wire_di[::-1].hex().upper()
        return None
    said["di"] = identifier.di
    said["name_en"] = identifier.name_en
    said["name_zh"] = identifier.name_zh
    return identifier


def _say_data(said: dict[str, Any], head: _Head, wire_di: bytes, data: bytes) -> None:
    """Name the identifier and add its data, or as digits with a note where it has no format."""
    identifier = _say_name(said, head, wire_di)
    items = said["items"]
    mac = b""
    if head.protected:
        level = items[0]["value"]
        if level in _ENCIPHERED:
            items.append(values.raw(data[:-_ESAM_MAC_SIZE], "cipher"))
            items.append(values.raw(data[-_ESAM_MAC_SIZE:], "MAC"))
            return
        if level in _WITH_MAC:
            data, mac = data[:-_ESAM_MAC_SIZE], data[-_ESAM_MAC_SIZE:]
    if identifier is None:
        said["note"] = "an identifier this catalogue does not know"
        found = None
    else:
        layout = identifier.reply if head.direction == "response" else identifier.request
        found = layout.decode(data)
        if found is None and head.terminated and data[-1:] == TERMINATOR_1997:
            found = layout.decode(data[:-1])
        if found is None:
            size = f"{len(data)} data bytes do not fit the format of {identifier.di}"
            said["note"] = "a part of a longer answer" if head.in_parts else size
    if found is not None:
        items += found
    elif data:
        items.append(values.raw(data))
    if mac:
        items.append(values.raw(mac, "MAC"))
