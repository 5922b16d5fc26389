"""All tables as of one record of the journal, so that older records need not be kept.

    k00000041       as of record 65: seq of the last record taken into account, hexadecimal

    "DKK1" 4 | seq 4 | count 2 | columns 2 | each column, whole | CRC-32 4

A checkpoint is written into a file of its own and counts only when the right CRC stands behind
it, so a power cut leaves the one before. Columns are array('I'), array('H') or bytearray, in the
order the tables give them, as memory has them: little-endian on every board there is. A file
with other columns, of another build, counts as none: the journal is then replayed from its start.
"""

from array import array
from binascii import crc32
from struct import pack_into

from micropython import const
from uplink.record import u32_at

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from typing import Any

    from concentrator.ports import Storage

    Column = Any  # array[int] | bytearray: a slice of either takes only its own kind

_PREFIX = "k"
_MAGIC = b"DKK1"
_HEAD_SIZE = const(12)
_CRC_SIZE = const(4)
_CHUNK_SIZE = const(1024)
_CODES = {2: "H", 4: "I"}


def file_name(seq: int) -> str:
    """Name of the checkpoint file as of record `seq`."""
    digits = hex(seq)[2:]
    return _PREFIX + "0" * (8 - len(digits)) + digits


class Checkpoint:
    """The newest complete checkpoint: `save`, `load`; `seq` is what it includes, 0: none."""

    def __init__(self, storage: "Storage", columns: "tuple[Column, ...]") -> None:
        self.seq = 0
        self._storage = storage
        self._columns = columns
        self._chunk = bytearray(_CHUNK_SIZE)

    def save(self, seq: int, count: int) -> bool:
        """Write all columns as of record `seq`; false when the storage would not have it."""
        storage = self._storage
        name = file_name(seq)
        if not storage.remove(name):
            return False
        head = bytearray(_HEAD_SIZE)
        pack_into("<4sIHH", head, 0, _MAGIC, seq, count, len(self._columns))
        check = crc32(head)
        good = storage.append(name, head, _HEAD_SIZE)
        for column in self._columns:
            view = memoryview(column)
            step = _CHUNK_SIZE // _width(column)
            for start in range(0, len(column), step):
                if good:
                    part = bytes(view[start : start + step])
                    check = crc32(part, check)
                    good = storage.append(name, part, len(part))
        tail = bytearray(_CRC_SIZE)
        pack_into("<I", tail, 0, check)
        if not good or not storage.append(name, tail, _CRC_SIZE):
            storage.remove(name)
            return False
        if self.seq != seq and self.seq:
            storage.remove(file_name(self.seq))
        self.seq = seq
        return True

    def load(self) -> int:
        """Fill the columns from the newest complete checkpoint; return its count of rows, or 0.

        Incomplete and older files are removed.
        """
        self.seq = 0
        count = 0
        for name in reversed(self._storage.names(_PREFIX)):
            if self.seq == 0 and self._check(name):
                count = self._chunk[8] | self._chunk[9] << 8
                self.seq = u32_at(self._chunk, 4)
                self._fill(name)
            else:
                self._storage.remove(name)
        return count

    def _check(self, name: str) -> bool:
        """True when the file is whole; its head then stands in the chunk."""
        chunk = self._chunk
        expected = _HEAD_SIZE + _CRC_SIZE
        for column in self._columns:
            expected += len(column) * _width(column)
        if self._storage.size(name) != expected:
            return False
        check = 0
        end = expected - _CRC_SIZE
        for start in range(0, end, _CHUNK_SIZE):
            size = min(_CHUNK_SIZE, end - start)
            if self._storage.read_into(name, start, chunk, size) != size:
                return False
            check = crc32(memoryview(chunk)[:size], check)
        tail = bytearray(_CRC_SIZE)
        pack_into("<I", tail, 0, check)
        self._storage.read_into(name, end, chunk, _CRC_SIZE)
        if chunk[:_CRC_SIZE] != tail:
            return False
        self._storage.read_into(name, 0, chunk, _HEAD_SIZE)
        return chunk[:4] == _MAGIC and chunk[10] == len(self._columns)

    def _fill(self, name: str) -> None:
        offset = _HEAD_SIZE
        for column in self._columns:
            width = _width(column)
            step = _CHUNK_SIZE // width
            for start in range(0, len(column), step):
                count = min(step, len(column) - start)
                size = count * width
                self._storage.read_into(name, offset, self._chunk, size)
                part = bytes(memoryview(self._chunk)[:size])
                # A slice of an array takes an array of the same kind.
                column[start : start + count] = array(_CODES[width], part) if width > 1 else part
                offset += size


def _width(column: "Column") -> int:
    """Bytes of one item."""
    return len(bytes(memoryview(column)[:1]))
