"""Read only the address and the value of a reading, for programs that read millions.

All checks of `dlt645.parse` are made; names, units and the items behind the first are left out.
"""

from host.frames import catalogue
from host.frames.describe import TERMINATOR_1997, describe
from host.frames.dlt645 import END, FROM_WIRE, OVERHEAD_SIZE, START, Frame, parse
from host.frames.values import RAW, Decoder, Field, Item
from host.frames.values import raw as raw_item

_READ_REPLY = 0x91
_LENGTH = 9
_DATA = 14
# The size of the identifier that a reading begins with, by control byte.
_DI_SIZES = {_READ_REPLY: 4, 0x81: 2}
_KNOWN_LIMIT = 10_000

# The beginnings of readings, by length and identifier as they are sent, and their ends.
_known: dict[bytes, tuple[int, bool, Decoder]] = {}


def read_value(octets: bytes) -> tuple[str, int | str | None]:
    """Return the address, and the first value, of the one frame `octets` holds.

    A number is an integer of its format's last decimal (kWh with two: 0.01 kWh), anything else
    the text `describe` gives it, None what the meter does not know or does not tell.
    Raises FrameError for bytes that are no frame.
    """
    raw = octets.lstrip(b"\xfe")
    known = _known.get(raw[_LENGTH:_DATA])
    if (
        known
        and raw[8] == _READ_REPLY
        and raw[0] == START == raw[7]
        and len(raw) == OVERHEAD_SIZE + raw[_LENGTH]
        and raw[-1] == END
        and raw[-2] == sum(raw[:-2]) & 0xFF
    ):
        end, is_number, decode = known
        data = raw[_DATA:end].translate(FROM_WIRE)
        if is_number:
            digits = data[::-1].hex()
            # Up to 7 there is no sign in the highest digit.
            if digits < "8" and digits.isdecimal():
                return raw[6:0:-1].hex().upper(), int(digits)
            return raw[6:0:-1].hex().upper(), _value(decode(data))
        return raw[6:0:-1].hex().upper(), decode(data)["value"]
    return _read_any(parse(octets))


def _read_any(frame: Frame) -> tuple[str, int | str | None]:
    size = _DI_SIZES.get(frame.control, 0)
    field = _first_field(frame, size) if size else None
    if field is None:
        items = describe(frame)["items"]
        return frame.address, items[0]["value"] if items else None
    is_number = field.number is not None
    if frame.control == _READ_REPLY and len(_known) < _KNOWN_LIMIT:
        _known[frame.raw[_LENGTH:_DATA]] = (_DATA + field.size, is_number, field.decode)
    item = field.decode(frame.data[size : size + field.size])
    return frame.address, _value(item) if is_number else item["value"]


def _value(item: Item) -> int | str | None:
    """Return the value of a number: None, an integer, or the digits where it is no number."""
    text: str | None = item["value"]
    return text if text is None or item["unit"] == RAW else int(text.replace(".", ""))


def _first_field(frame: Frame, size: int) -> Field | None:
    """Return the first field of a reading behind its identifier of `size` bytes, if known."""
    left = len(frame.data) - size
    identifier = catalogue.load().find_wire(frame.data[:size]) if left > 0 else None
    if identifier is None or not identifier.reply.is_sized:
        return None
    fields = identifier.reply.fields(left)
    if fields is None and frame.control != _READ_REPLY and frame.data[-1:] == TERMINATOR_1997:
        fields = identifier.reply.fields(left - 1)
    if fields is None:
        return Field(left, raw_item)
    return fields[0] if fields else None
