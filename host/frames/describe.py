"""What a DL/T 645 frame says, as one object for JSON: names, values with units, errors as flags.

    {"ok": true, "standard": "2007", "direction": "response", "address": "000000983764",
     "control": "91", "function": "read", "di": "0000FF00", "name_en": .., "name_zh": ..,
     "items": [{"value": "4105.81", "unit": "kWh"}, ..], "more": false, "error": null}

Items with a meaning of their own have a `name`, flag words `flags`, codes `text`, dates with a
weekday `weekday`. What has no known format is an item with the unit `raw` and a `note` beside
the items says why. A frame that does not verify is {"ok": false, "reason": .., "hex": ..}.
"""

from typing import Any

from host.frames import catalogue, values
from host.frames.dlt645 import Frame, FrameError, parse

STANDARDS = ("2007", "1997")
_DI_SIZE = {"2007": 4, "1997": 2}
_SECURITY = 0x03
_FOLLOW_UP = 0x12
_WRITE = 0x14
_FUNCTIONS_1997 = frozenset((0x01, 0x02, 0x04, 0x0A, 0x0C, 0x0F, 0x10))
_TERMINATOR_1997 = b"\xaa"
# Levels of a write whose data is not plain: enciphered, or followed by a MAC.
_ENCIPHERED = frozenset(("98", "96"))
_WITH_MAC = frozenset(("99", "97"))
_MAC_SIZE = 4


def describe_hex(text: str, standard: str = "auto", profile: str = "") -> dict[str, Any]:
    """Describe the frame whose bytes `text` gives in hexadecimal; blanks between are allowed."""
    digits = "".join(text.split())
    try:
        octets = bytes.fromhex(digits)
    except ValueError:
        return {"ok": False, "reason": "not hexadecimal", "hex": text.strip()}
    return describe_bytes(octets, standard, profile)


def describe_bytes(octets: bytes, standard: str = "auto", profile: str = "") -> dict[str, Any]:
    """Describe the one frame `octets` holds, or say why it is none."""
    try:
        frame = parse(octets)
    except FrameError as error:
        return {"ok": False, "reason": str(error), "hex": octets.hex().upper()}
    return describe(frame, standard, profile)


def describe(frame: Frame, standard: str = "auto", profile: str = "") -> dict[str, Any]:
    """Describe a verified frame; `standard` is 2007, 1997 or auto."""
    if standard == "auto":
        standard = guess_standard(frame)
    found = catalogue.load()
    function = found.functions.get(f"{standard}:{frame.function:02X}")
    said: dict[str, Any] = {
        "ok": True,
        "standard": standard,
        "direction": "response" if frame.from_meter else "request",
        "address": frame.address,
        "control": f"{frame.control:02X}",
        "function": function.name_en if function else f"function {frame.function:02X}",
        "di": "",
        "name_en": "",
        "name_zh": "",
        "items": [],
        "more": frame.more,
        "error": None,
    }
    if frame.abnormal:
        said["error"] = _error(found, frame, standard)
    elif function is not None:
        _Reader(found, frame, standard, profile, said).read(function)
    elif frame.data:
        said["items"].append(values.raw(frame.data))
        said["note"] = "a function this catalogue does not know"
    return said


def guess_standard(frame: Frame) -> str:
    """The standard a function belongs to; 03 is a re-read or the security command by its data."""
    if frame.function in _FUNCTIONS_1997:
        return "1997"
    if frame.function != _SECURITY or frame.more:
        return "2007"
    if frame.abnormal:
        return "1997" if len(frame.data) == 1 else "2007"
    if not frame.from_meter:
        return "1997" if len(frame.data) == _DI_SIZE["1997"] else "2007"
    security = len(frame.data) >= _DI_SIZE["2007"] and frame.data[3] == 0x07
    return "2007" if security or len(frame.data) < _DI_SIZE["1997"] else "1997"


def _error(found: catalogue.Catalogue, frame: Frame, standard: str) -> dict[str, Any]:
    name = f"error_{standard}"
    if standard == "2007" and frame.function == _SECURITY:
        name = "error_security"
    item = found.layout(name).decode(frame.data)
    if item is None:
        return {"code": frame.data[::-1].hex().upper(), "flags": []}
    return {"code": item[0]["value"], "flags": item[0]["flags"]}


class _Reader:
    """Fills `said` from the data of one frame."""

    def __init__(
        self,
        found: catalogue.Catalogue,
        frame: Frame,
        standard: str,
        profile: str,
        said: dict[str, Any],
    ) -> None:
        self._catalogue = found
        self._frame = frame
        self._standard = standard
        self._profile = profile
        self._said = said

    def read(self, function: catalogue.Function) -> None:
        """Take the first variant of the function's data that fits."""
        data = self._frame.data
        for part in function.reply if self._frame.from_meter else function.request:
            if self._take(part, data):
                return
        if data:
            self._said["items"].append(values.raw(data))
            self._said["note"] = f"{len(data)} data bytes do not fit {function.name_en}"

    def _take(self, part: catalogue.Part, data: bytes) -> bool:
        items = self._said["items"]
        head = part.before.size
        if not part.has_di:
            found = part.between.decode(data)
            items.extend(found or ())
            return found is not None
        size = _DI_SIZE[self._standard]
        middle = head + size
        if len(data) < middle:
            return False
        di = data[head:middle][::-1].hex().upper()
        if not part.has_data:
            found = part.between.decode(data[middle:])
            if found is not None:
                self._name(di)
                items.extend(found)
            return found is not None
        first = middle + part.between.size
        last = len(data) - part.after.size
        if last < first:
            return False
        items.extend(part.before.decode(data[:head]) or ())
        items.extend(part.between.decode(data[middle:first]) or ())
        self._read_data(self._name(di), data[first:last])
        items.extend(part.after.decode(data[last:]) or ())
        return True

    def _name(self, di: str) -> catalogue.Identifier | None:
        identifier = self._catalogue.find(di, self._profile)
        self._said["di"] = di
        if identifier is not None:
            self._said["name_en"] = identifier.name_en
            self._said["name_zh"] = identifier.name_zh
        return identifier

    def _read_data(self, identifier: catalogue.Identifier | None, data: bytes) -> None:
        said = self._said
        level = said["items"][0]["value"] if self._frame.control == _WRITE else ""
        if level in _ENCIPHERED:
            said["items"].append(values.raw(data[:-_MAC_SIZE], "cipher"))
            said["items"].append(values.raw(data[-_MAC_SIZE:], "MAC"))
            return
        mac = b""
        if level in _WITH_MAC:
            data, mac = data[:-_MAC_SIZE], data[-_MAC_SIZE:]
        if identifier is not None:
            layout = identifier.reply if self._frame.from_meter else identifier.request
            items = self._fit(layout, data)
            if items is not None:
                said["items"].extend(items)
                data = b""
            else:
                said["note"] = (
                    "a part of a longer answer"
                    if self._frame.more or self._frame.function == _FOLLOW_UP
                    else f"{len(data)} data bytes do not fit the format of {said['di']}"
                )
        else:
            said["note"] = "an identifier this catalogue does not know"
        if data:
            said["items"].append(values.raw(data))
        if mac:
            said["items"].append(values.raw(mac, "MAC"))

    def _fit(self, layout: values.Layout, data: bytes) -> list[values.Item] | None:
        items = layout.decode(data)
        if items is None and self._standard == "1997" and data[-1:] == _TERMINATOR_1997:
            return layout.decode(data[:-1])
        return items
