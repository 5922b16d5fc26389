"""Frames on the console, card and uplink connections: a streaming receiver and the encoder.

    7E | kind 1 | seq 1 | body 0.. | FCS 2, low byte first | 7E

7E and 7D inside are sent as 7D and the byte XOR 20H. The FCS is CRC-16/X.25 over kind, seq and
body. One 7E may close a frame and open the next. Any garbage costs at most the frame it falls
into: the next 7E starts anew. Nothing allocates after construction.
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
WELCOME = const(0xA0)
ACK = const(0xA1)

_FLAG = const(0x7E)
_ESCAPE = const(0x7D)
_TOGGLE = const(0x20)
_FCS_START = const(0xFFFF)
_FCS_GOOD = const(0xF0B8)  # what remains when the FCS itself has gone through
_FCS_FLIP = const(0xFFFF)
_OVERHEAD = const(4)  # kind, seq and FCS
_HEAD = const(5)  # flag, kind and seq, both escaped
_TAIL = const(5)  # FCS, both bytes escaped, and flag
_HUNT = const(-1)  # instead of a count: skip to the next flag


class LinkReceiver:
    """Bytes in, verified frames out: `feed`, `poll`, read the fields, `release`.

    held            a verified frame stands in the fields; `poll` returns the same
    kind, seq       of the frame held
    body            `body_size` bytes of it are valid until `release`
    refused         candidates given up: wrong FCS, too short, escape before the flag
    overlong        candidates given up: more than `limit` bytes of body
    dropped         bytes behind a held frame for which there was no room
    """

    def __init__(self, limit: int, waiting_limit: int = 64) -> None:
        """Bodies to `limit` bytes; behind a held frame `waiting_limit` more bytes are kept."""
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
        """Take `size` bytes of `buf`."""
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
        """True when a verified frame stands in the fields."""
        return self.held

    def release(self) -> None:
        """Give the frame back; the fields are no longer valid, the next frame may follow."""
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
        """Go through `buf` until a frame stands or `size` is reached; return where it stopped."""
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
                # As _step, in line: a call costs more than the rest of this loop.
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
    buf: bytearray, kind: int, seq: int, body: "bytearray | memoryview | bytes", body_size: int
) -> int:
    """Encode a frame into `buf`; return its size, or 0 when it does not fit. Does not allocate.

    A frame takes 6 bytes and `body_size`, and one more for each byte that has to be escaped;
    room for two escapes is asked for even where the FCS needs none.
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


def _put(buf: bytearray, end: int, byte: int) -> int:
    """Put one byte at `end`, escaped where it must be; return where the next one goes."""
    if _ESCAPE <= byte <= _FLAG:
        buf[end] = _ESCAPE
        end += 1
        byte ^= _TOGGLE
    buf[end] = byte
    return end + 1


def _step(fcs: int, byte: int) -> int:
    """CRC-16/X.25 after one more byte: the polynomial division of 8 bits at once."""
    mix = (fcs ^ byte) & 0xFF
    mix ^= mix << 4 & 0xFF
    return fcs >> 8 ^ mix << 8 ^ mix << 3 ^ mix >> 4
