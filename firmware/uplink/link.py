"""Receive and encode the frames on the console, card and uplink connections.

    7E | kind 1 | seq 1 | body 0.. | FCS 2, low byte first | 7E

7E and 7D inside a frame are sent as 7D and the byte XOR 20H. The FCS is CRC-16/X.25 over kind, seq
and body. One 7E may close a frame and open the next. Garbage destroys at most the frame that it is
in, because the next 7E begins a new one. Nothing allocates after construction.

Spec: docs/SPEC.md, "Link frame".
"""

from micropython import const

# Console.
COMMAND = const(0x01)
REPLY = const(0x81)
PART = const(0x82)
# Card reader on the far side.
CARD_PRESENT = const(0x10)
CARD_GONE = const(0x11)
CARD_DATA = const(0x12)
CARD_WRITTEN = const(0x13)
CARD_READ = const(0x92)
CARD_WRITE = const(0x93)
CARD_RESULT = const(0x94)
# Uplink.
HELLO = const(0x20)
BATCH = const(0x21)
RESULT = const(0x24)
WELCOME = const(0xA0)
ACK = const(0xA1)
REFUSED = const(0xA2)
BUSY_LATER = const(0xA3)
ORDER = const(0xA4)

_FLAG = const(0x7E)
_ESCAPE = const(0x7D)
_TOGGLE = const(0x20)
_FCS_START = const(0xFFFF)
_FCS_GOOD = const(0xF0B8)  # the remainder after a frame with its FCS
_FCS_FLIP = const(0xFFFF)
_OVERHEAD = const(4)  # kind, seq and FCS
_HEAD = const(5)  # flag, kind and seq, both escaped
_TAIL = const(5)  # FCS, both bytes escaped, and flag
_HUNT = const(-1)  # instead of a count: skip to the next flag


class LinkReceiver:
    """A receiver of verified frames: call `feed`, `poll`, read the fields, then `release`.

    held            whether the fields hold a verified frame, as `poll` returns
    kind, seq       the kind and the number of that frame
    body            `body_size` bytes of it are valid until `release`
    refused         the count of frames with a wrong FCS, too few bytes or a bad escape
    overlong        the count of frames with more than `limit` bytes of body
    dropped         the count of bytes behind a held frame for which there was no room
    """

    def __init__(self, limit: int, waiting_limit: int = 64) -> None:
        """Accept bodies of `limit` bytes, and keep `waiting_limit` bytes behind a held frame."""
        self.kind = 0
        self.seq = 0
        self.body = bytearray(limit + 2)
        self.body_size = 0
        self.refused = 0
        self.overlong = 0
        self.dropped = 0
        self._limit = limit + _OVERHEAD
        self._waiting = bytearray(waiting_limit)
        self._waiting_size = 0
        self.held = False
        self._count = _HUNT
        self._escaped = False
        self._fcs = _FCS_START

    def feed(self, buf: "bytearray | memoryview | bytes", size: int) -> None:
        """Process `size` received bytes of `buf`."""
        start = 0
        if not self.held:
            start = self._decode(buf, 0, size)
        waiting = self._waiting
        end = self._waiting_size
        while start < size:
            if end == len(waiting):
                self.dropped += size - start
                break
            waiting[end] = buf[start]
            end += 1
            start += 1
        self._waiting_size = end

    def poll(self) -> bool:
        """Return whether the fields hold a verified frame."""
        return self.held

    def release(self) -> None:
        """Release the frame: the fields are invalid until `poll` finds the next one."""
        self.held = False
        size = self._waiting_size
        if size == 0:
            return
        waiting = self._waiting
        start = self._decode(waiting, 0, size)
        size -= start
        for index in range(size):
            waiting[index] = waiting[start + index]
        self._waiting_size = size

    def reset(self) -> None:
        """Forget all bytes received so far; the counters stay."""
        self.held = False
        self._waiting_size = 0
        self._count = _HUNT

    def _decode(self, buf: "bytearray | memoryview | bytes", start: int, size: int) -> int:
        """Decode `buf` to the end of a frame or to `size`; return the place reached."""
        body = self.body
        limit = self._limit
        count = self._count
        escaped = self._escaped
        fcs = self._fcs
        while start < size:
            byte = buf[start]
            start += 1
            if byte == _FLAG:
                if count >= _OVERHEAD and not escaped and fcs == _FCS_GOOD:
                    self.body_size = count - _OVERHEAD
                    self.held = True
                elif count > 0:
                    self.refused += 1
                count = 0
                escaped = False
                fcs = _FCS_START
                if self.held:
                    break
            elif count < 0:
                continue
            elif byte == _ESCAPE and not escaped:
                escaped = True
            elif count == limit:
                self.overlong += 1
                count = _HUNT
            else:
                if escaped:
                    byte ^= _TOGGLE
                    escaped = False
                # This is _step inline: a call would cost more than the rest of this loop.
                mix = (fcs ^ byte) & 0xFF
                mix ^= mix << 4 & 0xFF
                fcs = fcs >> 8 ^ mix << 8 ^ mix << 3 ^ mix >> 4
                if count > 1:
                    body[count - 2] = byte
                elif count:
                    self.seq = byte
                else:
                    self.kind = byte
                count += 1
        self._count = count
        self._escaped = escaped
        self._fcs = fcs
        return start


def encode_into(
    buf: "bytearray | memoryview",
    kind: int,
    seq: int,
    body: "bytearray | memoryview | bytes",
    body_size: int,
) -> int:
    """Encode a frame into `buf`; return its size, or 0 when it does not fit. Does not allocate.

    A frame takes 6 bytes and `body_size`, and one more for each byte that has to be escaped. It
    needs room for two escapes of the FCS even if the FCS has none.
    """
    room = len(buf) - _TAIL
    if room < _HEAD:
        return 0
    buf[0] = _FLAG
    end = _put(buf, 1, kind)
    end = _put(buf, end, seq)
    fcs = _step(_step(_FCS_START, kind), seq)
    for index in range(body_size):
        byte = body[index]
        mix = (fcs ^ byte) & 0xFF
        mix ^= mix << 4 & 0xFF
        fcs = fcs >> 8 ^ mix << 8 ^ mix << 3 ^ mix >> 4
        if _ESCAPE <= byte <= _FLAG:
            buf[end] = _ESCAPE
            end += 1
            byte ^= _TOGGLE
        buf[end] = byte
        end += 1
        if end > room:
            return 0
    fcs ^= _FCS_FLIP
    end = _put(buf, end, fcs & 0xFF)
    end = _put(buf, end, fcs >> 8)
    buf[end] = _FLAG
    return end + 1


def _put(buf: "bytearray | memoryview", end: int, byte: int) -> int:
    """Write one byte at `end`, escaped if necessary; return the place of the next byte."""
    if _ESCAPE <= byte <= _FLAG:
        buf[end] = _ESCAPE
        end += 1
        byte ^= _TOGGLE
    buf[end] = byte
    return end + 1


def _step(fcs: int, byte: int) -> int:
    """Return the CRC-16/X.25 after one more byte, with all 8 bits divided at once."""
    mix = (fcs ^ byte) & 0xFF
    mix ^= mix << 4 & 0xFF
    return fcs >> 8 ^ mix << 8 ^ mix << 3 ^ mix >> 4
