"""Frames on the console, card and uplink connections, the host's side.

    7E | kind 1 | seq 1 | body 0.. | FCS 2, low byte first | 7E

7E and 7D inside are sent as 7D and the byte XOR 20H; the FCS is CRC-16/X.25.
"""

from dataclasses import dataclass
from enum import IntEnum

from crcmod.predefined import mkPredefinedCrcFun

_crc16_x25 = mkPredefinedCrcFun("x-25")

_FLAG = b"\x7e"
_ESCAPES = ((b"\x7d", b"\x7d\x5d"), (b"\x7e", b"\x7d\x5e"))
_SHORTEST = 4
CONSOLE_BODY_LIMIT = 320
UPLINK_BODY_LIMIT = 2048


class Kind(IntEnum):
    """The content of a frame; 80H set: answers and requests from the other side."""

    COMMAND = 0x01
    REPLY = 0x81
    PART = 0x82
    CARD_PRESENT = 0x10
    CARD_GONE = 0x11
    CARD_DATA = 0x12
    CARD_WRITTEN = 0x13
    CARD_READ = 0x92
    CARD_WRITE = 0x93
    CARD_RESULT = 0x94
    HELLO = 0x20
    BATCH = 0x21
    RESULT = 0x24
    WELCOME = 0xA0
    ACK = 0xA1
    REFUSED = 0xA2
    BUSY_LATER = 0xA3
    ORDER = 0xA4


@dataclass(frozen=True, slots=True)
class Frame:
    """One verified frame. `kind` is a plain number: it may be one this version does not know."""

    kind: int
    seq: int
    body: bytes


class LinkReader:
    """A reader that takes bytes, returns verified frames, and counts broken ones."""

    def __init__(self, body_limit: int = UPLINK_BODY_LIMIT) -> None:
        self.refused = 0
        self.overlong = 0
        self._stuffed_limit = 2 * (body_limit + _SHORTEST)
        self._body_limit = body_limit
        self._open = False
        self._part = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames completed by `data`."""
        frames: list[Frame] = []
        pieces = data.split(_FLAG)
        for piece in pieces[:-1]:
            self._decode(piece)
            frames.extend(self._close())
        self._decode(pieces[-1])
        return frames

    def _decode(self, piece: bytes) -> None:
        if not self._open:
            return
        self._part += piece
        if len(self._part) > self._stuffed_limit:
            self._give_up_overlong()

    def _give_up_overlong(self) -> None:
        self.overlong += 1
        self._open = False
        self._part.clear()

    def _close(self) -> list[Frame]:
        """Return the frame that stands before a flag just seen, if it is good."""
        stuffed, was_open = bytes(self._part), self._open
        self._part.clear()
        self._open = True
        if not was_open or not stuffed:
            return []
        content = _unstuff(stuffed)
        if content is not None and len(content) > self._body_limit + _SHORTEST:
            self.overlong += 1
            return []
        if content is None or len(content) < _SHORTEST:
            self.refused += 1
            return []
        covered, fcs = content[:-2], int.from_bytes(content[-2:], "little")
        if _crc16_x25(covered) != fcs:
            self.refused += 1
            return []
        return [Frame(covered[0], covered[1], covered[2:])]


def build(kind: int, seq: int, body: bytes = b"") -> bytes:
    """Build one frame, flags included."""
    covered = bytes((kind, seq)) + body
    content = covered + _crc16_x25(covered).to_bytes(2, "little")
    for plain, escaped in _ESCAPES:
        content = content.replace(plain, escaped)
    return _FLAG + content + _FLAG


def _unstuff(stuffed: bytes) -> bytes | None:
    """Undo the escapes; None when one stands at the end."""
    head, *rest = stuffed.split(b"\x7d")
    content = bytearray(head)
    # After a split, an empty piece in the middle is an escape that was itself escaped.
    pieces = iter(rest)
    for piece in pieces:
        if piece:
            content.append(piece[0] ^ 0x20)
            content += piece[1:]
            continue
        following = next(pieces, None)
        if following is None:
            return None
        content.append(0x7D ^ 0x20)
        content += following
    return bytes(content)
