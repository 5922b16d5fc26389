"""Frames of DL/T 645-2007 and -1997, parsed and built from the standard's own layout.

    [FE ..] | 68 | address 6, low byte first | 68 | control 1 | L 1 | data L | checksum 1 | 16

Data bytes stand on the wire with 33H added; here they are always plain. The checksum is the sum
from the first 68 to the byte before it, modulo 256. `FRAME` is the layout as construct states it;
`build`, `parse` and `Reader` do the same by hand, because a simulated world exchanges millions of
frames (a test holds them equal).
"""

from typing import NamedTuple

import construct as c

from host.words import _

START = 0x68
END = 0x16
WAKE_UP = 0xFE
OFFSET = 0x33
FRAME_DATA_LIMIT = 255
OVERHEAD_SIZE = 12

FROM_METER = 0x80
ABNORMAL = 0x40
MORE = 0x20
FUNCTION_MASK = 0x1F

WILDCARD = "AAAAAAAAAAAA"
BROADCAST = "999999999999"

# Takes the 33H off data bytes by `bytes.translate`.
FROM_WIRE = bytes((byte - OFFSET) & 0xFF for byte in range(256))
_TO_WIRE = bytes((byte + OFFSET) & 0xFF for byte in range(256))

_ADDRESS = c.ExprAdapter(
    c.Bytes(6),
    decoder=lambda octets, _: octets[::-1].hex().upper(),
    encoder=lambda digits, _: bytes.fromhex(digits)[::-1],
)
_DATA = c.ExprAdapter(
    c.Prefixed(c.Byte, c.GreedyBytes),
    decoder=lambda octets, _: octets.translate(FROM_WIRE),
    encoder=lambda octets, _: octets.translate(_TO_WIRE),
)

FRAME = c.Struct(
    "covered"
    / c.RawCopy(
        c.Struct(
            c.Const(START, c.Byte),
            "address" / _ADDRESS,
            c.Const(START, c.Byte),
            "control" / c.Byte,
            "data" / _DATA,
        )
    ),
    "checksum" / c.Checksum(c.Byte, lambda octets: sum(octets) & 0xFF, c.this.covered.data),
    c.Const(END, c.Byte),
)


class FrameError(ValueError):
    """The bytes are not a frame; the text says why, as `checksum 55, computed 54`."""


class Frame(NamedTuple):
    """One verified frame.

    `address` has 12 digits as printed on the meter (AA for a wildcard byte), `data` is plain,
    `raw` runs from the first 68 to 16.
    """

    address: str
    control: int
    data: bytes
    raw: bytes

    @property
    def from_meter(self) -> bool:
        """Return whether it is an answer."""
        return bool(self.control & FROM_METER)

    @property
    def abnormal(self) -> bool:
        """Return whether it is an answer that refuses."""
        return self.control & (FROM_METER | ABNORMAL) == FROM_METER | ABNORMAL

    @property
    def more(self) -> bool:
        """Return whether follow-up data exists."""
        return bool(self.control & MORE)

    @property
    def function(self) -> int:
        """Return the function code, bits 4 to 0 of the control byte."""
        return self.control & FUNCTION_MASK


def build(address: str, control: int, data: bytes = b"", preamble: int = 4) -> bytes:
    """Build a frame behind `preamble` wake-up bytes; `data` is plain, short addresses are padded.

    Raises ValueError for an address that is not up to 12 digits, or data over 255 bytes.
    """
    if len(address) > 12 or not set(address) <= set("0123456789ABCDEF"):
        raise ValueError(_("address {address!r} is not up to 12 digits").format(address=address))
    if len(data) > FRAME_DATA_LIMIT:
        raise ValueError(
            _("{count} data bytes, at most {limit} fit a frame").format(
                count=len(data), limit=FRAME_DATA_LIMIT
            )
        )
    wire_address = bytes.fromhex(address.zfill(12))[::-1]
    covered = b"%c%b%c%c%c%b" % (
        START,
        wire_address,
        START,
        control,
        len(data),
        data.translate(_TO_WIRE),
    )
    return b"\xfe" * preamble + covered + bytes((sum(covered) & 0xFF, END))


def parse(octets: bytes) -> Frame:
    """Parse exactly one frame, with or without wake-up bytes before it; raises FrameError."""
    raw = octets.lstrip(b"\xfe")
    if (
        len(raw) < OVERHEAD_SIZE
        or len(raw) != OVERHEAD_SIZE + raw[9]
        or not raw[0] == raw[7] == START
        or raw[-1] != END
        or raw[-2] != sum(raw[:-2]) & 0xFF
    ):
        raise FrameError(_why_bad(raw))
    return Frame(raw[6:0:-1].hex().upper(), raw[8], raw[10:-2].translate(FROM_WIRE), raw)


def _why_bad(raw: bytes) -> str:
    size = len(raw)
    if size < OVERHEAD_SIZE:
        return _why_too_short(raw)
    if raw[0] != START:
        return f"starts with {raw[0]:02X}, not 68"
    if raw[7] != START:
        return f"{raw[7]:02X} after the address, not 68"
    need = OVERHEAD_SIZE + raw[9]
    if size < need:
        return f"length {raw[9]} needs {need} bytes, {size} present"
    if size > need:
        return f"{size - need} bytes after the end: {raw[need:].hex().upper()[:40]}"
    if raw[-1] != END:
        return f"ends with {raw[-1]:02X}, not 16"
    return f"checksum {raw[-2]:02X}, computed {sum(raw[:-2]) & 0xFF:02X}"


def _why_too_short(raw: bytes) -> str:
    if not raw:
        return "no bytes but wake-up bytes"
    if raw[0] != START:
        return f"starts with {raw[0]:02X}, not 68"
    if len(raw) > 7 and raw[7] != START:
        return f"{raw[7]:02X} after the address, not 68"
    if len(raw) > 9:
        return f"length {raw[9]} needs {OVERHEAD_SIZE + raw[9]} bytes, {len(raw)} present"
    return f"a frame has at least {OVERHEAD_SIZE} bytes, {len(raw)} present"


class Reader:
    """Takes bytes as they come and returns verified frames.

    A frame that does not verify costs one byte: the search goes on behind its first 68, so that
    noise never hides the frame after it. Counters: `frames` verified, `refused` that had both 68
    but the wrong checksum or end, `skipped` bytes that belong to no frame (wake-up bytes apart).
    """

    def __init__(self) -> None:
        self.frames = 0
        self.refused = 0
        self.skipped = 0
        self._part = bytearray()

    @property
    def waiting(self) -> int:
        """Return bytes that may still become a frame."""
        return len(self._part)

    def feed(self, octets: bytes) -> list[Frame]:
        """Return the frames completed by `octets`."""
        part = self._part
        part += octets
        found: list[Frame] = []
        while part:
            start = part.find(START)
            if start:
                self._skip(len(part) if start < 0 else start)
                continue
            if len(part) > 7 and part[7] != START:
                self._skip(1)
                continue
            if len(part) < 10 or len(part) < OVERHEAD_SIZE + part[9]:
                break
            try:
                frame = parse(bytes(part[: OVERHEAD_SIZE + part[9]]))
            except FrameError:
                self.refused += 1
                self._skip(1)
                continue
            self.frames += 1
            del part[: len(frame.raw)]
            found.append(frame)
        return found

    def silence(self) -> list[Frame]:
        """Return the frames inside what waits, which is none itself: the line fell silent."""
        found: list[Frame] = []
        while self._part:
            self._skip(1)
            found.extend(self.feed(b""))
        return found

    def _skip(self, size: int) -> None:
        self.skipped += size - self._part.count(WAKE_UP, 0, size)
        del self._part[:size]
