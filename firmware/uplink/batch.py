"""Records packed into one preallocated buffer.

    first_seq 4 | count 1 | count times: size 1, record bytes 4 .. 4 + size | CRC-32 4

A record's `seq` follows from its place and its own CRC is not sent. Zeros at the end of its
payload are not sent either, so `size` is 8 (header only) to 56. The CRC-32 covers all bytes
before it; it guards the way through memory and flash, the MAC the way outside. Little-endian.
"""

from binascii import crc32
from struct import pack_into

from micropython import const

COUNT_LIMIT = const(255)
_HEAD = const(5)
_CRC_SIZE = const(4)
_RECORD_START = const(4)
_RECORD_SHORTEST = const(12)
_RECORD_END = const(60)


class Batch:
    """Packs into `body` from `start` on, at most `limit` bytes: `begin`, `add`.., `finish`."""

    def __init__(self, body: bytearray, start: int, limit: int) -> None:
        self.first_seq = 0
        self.count = 0
        self._body = body
        self._view = memoryview(body)
        self._start = start
        self._limit = start + limit - _CRC_SIZE
        self._end = start

    def begin(self, first_seq: int) -> None:
        """Empty it; the first record added will be `first_seq`."""
        self.first_seq = first_seq
        self.count = 0
        self._end = self._start + _HEAD

    def add(self, record: bytearray) -> bool:
        """Pack the 64-byte `record`; false when there is no room. Does not allocate."""
        last = _RECORD_END
        while last > _RECORD_SHORTEST and record[last - 1] == 0:
            last -= 1
        size = last - _RECORD_START
        end = self._end
        if end + 1 + size > self._limit or self.count == COUNT_LIMIT:
            return False
        body = self._body
        body[end] = size
        end -= _RECORD_START - 1
        for index in range(_RECORD_START, last):
            body[end + index] = record[index]
        self._end = end + last
        self.count += 1
        return True

    def finish(self) -> int:
        """Complete the batch; return its size. Allocates a window and the CRC's number."""
        end = self._end
        pack_into("<IB", self._body, self._start, self.first_seq, self.count)
        pack_into("<I", self._body, end, crc32(self._view[self._start : end]))
        return end + _CRC_SIZE - self._start
