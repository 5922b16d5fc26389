"""All tables as of one record of the journal, so that older records need not be kept.

    k00000041       as of record 65: seq of the last record taken into account, hexadecimal

    "DKK3" 4 | seq 4 | rows 2 | columns 2 | columns x (number 1, width 1, items 1, 0, rows 2)
    | each column | CRC-32 4

A checkpoint is written into a file of its own and counts only when the right CRC stands behind
it, so a power cut leaves the one before. The two newest are kept, and the journal's records from
the older one on: should the newest not be readable, nothing is lost.

Columns are array('I'), array('H') or bytearray, as memory has them: little-endian on every board
there is. Each has a number of its own and says how large it is, so that another build, with other
limits or more columns, reads what it knows; a column that the file lacks stays as it is.
"""

from array import array
from binascii import crc32
from struct import pack_into

from micropython import const
from ports import BLOCK_SIZE, Unreadable
from uplink.record import u32_at

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ports import Storage

    Column = Any  # array[int] | bytearray: a slice of either takes only its own kind

_PREFIX = "k"
_MAGIC = b"DKK3"
_HEAD_SIZE = const(12)
_ENTRY_SIZE = const(6)
_CRC_SIZE = const(4)
_PIECE_SIZE = const(1024)
_COLUMNS_LIMIT = const(64)
_CODES = {2: "H", 4: "I"}


class TooManyRows(Exception):
    """The checkpoint has more meters than this build has room for: it must not be run here."""


def file_name(seq: int) -> str:
    """Name of the checkpoint file as of record `seq`."""
    digits = hex(seq)[2:]
    return _PREFIX + "0" * (8 - len(digits)) + digits


class Checkpoint:
    """`save` and `load` the tables.

    seq         what the newest includes, 0: there is none
    older_seq   what the one before includes: records up to here are not needed any more
    """

    def __init__(self, storage: "Storage", limit: int, feed: "Callable[[], None]") -> None:
        """Tables have `limit` rows. `feed` is called after each of the writes of a checkpoint."""
        self.seq = 0
        self.older_seq = 0
        self._storage = storage
        self._feed = feed
        self._limit = limit
        self._numbers = bytearray()
        self._columns: list[Column] = []
        self._rows: list[int] = []
        self._chunk = bytearray()  # while loading
        self._file = ""
        self._crc = 0

    def add(self, first_number: int, columns: "tuple[Column, ...]", is_table: bool = True) -> None:
        """Keep these columns, numbered from `first_number` on: a number never changes.

        What is no table is kept whole, as one row.
        """
        for column in columns:
            self._numbers.append(first_number)
            self._columns.append(column)
            self._rows.append(self._limit if is_table else 1)
            first_number += 1

    def save(self, seq: int, count: int) -> bool:
        """Write the first `count` rows as of record `seq`; false: the storage refuses."""
        if seq == self.seq:
            return True  # it stands there, and must not be missing while it is written again
        storage = self._storage
        self._file = file_name(seq)
        self._crc = 0
        head = bytearray(_HEAD_SIZE + _ENTRY_SIZE * len(self._columns))
        pack_into("<4sIHH", head, 0, _MAGIC, seq, count, len(self._columns))
        for place in range(len(self._columns)):
            rows, items, width = self._shape(place, count)
            at = _HEAD_SIZE + _ENTRY_SIZE * place
            pack_into("<BBBBH", head, at, self._numbers[place], width, items, 0, rows)
        good = storage.remove(self._file) and self._put(head)
        for place in range(len(self._columns)):
            rows, items, width = self._shape(place, count)
            view = memoryview(self._columns[place])
            step = _PIECE_SIZE // width
            for start in range(0, rows * items, step):
                good = good and self._put(bytes(view[start : min(start + step, rows * items)]))
        tail = bytearray(_CRC_SIZE)
        pack_into("<I", tail, 0, self._crc)
        if not good or not storage.append(self._file, tail, _CRC_SIZE):
            storage.remove(self._file)
            return False
        if self.seq not in (0, seq):
            if self.older_seq:
                storage.remove(file_name(self.older_seq))
            self.older_seq = self.seq
        self.seq = seq
        return True

    def blocks(self, count: int) -> int:
        """Blocks that a checkpoint of `count` rows takes."""
        size = _HEAD_SIZE + _ENTRY_SIZE * len(self._columns) + _CRC_SIZE
        for place in range(len(self._columns)):
            rows, items, width = self._shape(place, count)
            size += rows * items * width
        return size // BLOCK_SIZE + 1

    def _shape(self, place: int, count: int) -> "tuple[int, int, int]":
        """(rows in use, items a row, bytes an item) of a column."""
        column = self._columns[place]
        rows = self._rows[place]
        width = len(bytes(memoryview(column)[:1]))
        return min(rows, count) if rows > 1 else 1, len(column) // rows, width

    def _put(self, part: "bytes | bytearray") -> bool:
        self._crc = crc32(part, self._crc)
        self._feed()
        return self._storage.append(self._file, part, len(part))

    def load(self) -> int:
        """Fill the columns from the newest complete checkpoint; return its count of rows, or 0.

        Files that are incomplete or older than the second are removed. TooManyRows, Unreadable:
        nothing is touched.
        """
        self.seq = self.older_seq = 0
        self._chunk = bytearray(_PIECE_SIZE)
        count = 0
        names = self._storage.names(_PREFIX)
        if names is None:
            raise Unreadable("the checkpoints cannot be listed")
        for name in reversed(names):
            if self.older_seq or not self._check(name):
                self._storage.remove(name)
            elif self.seq:
                self.older_seq = u32_at(self._chunk, 4)
            else:
                count = self._chunk[8] | self._chunk[9] << 8
                if count > self._limit:
                    raise TooManyRows(str(count) + " meters, room for " + str(self._limit))
                self.seq = u32_at(self._chunk, 4)
                self._fill(name)
        self._chunk = bytearray()
        return count

    def _check(self, name: str) -> bool:
        """True when the file is whole; its head then stands in the chunk."""
        chunk = self._chunk
        end = self._storage.size(name) - _CRC_SIZE
        check = 0
        for start in range(0, end, _PIECE_SIZE):
            size = min(_PIECE_SIZE, end - start)
            if self._storage.read_into(name, start, chunk, size) != size:
                return False
            check = crc32(memoryview(chunk)[:size], check)
        tail = bytearray(_CRC_SIZE)
        pack_into("<I", tail, 0, check)
        if end < _HEAD_SIZE or self._storage.read_into(name, end, chunk, _CRC_SIZE) != _CRC_SIZE:
            return False
        if chunk[:_CRC_SIZE] != tail:
            return False
        self._storage.read_into(name, 0, chunk, _HEAD_SIZE)
        return chunk[:4] == _MAGIC and chunk[10] <= _COLUMNS_LIMIT

    def _fill(self, name: str) -> None:
        entries = bytearray(_ENTRY_SIZE * self._chunk[10])
        self._storage.read_into(name, _HEAD_SIZE, entries, len(entries))
        offset = _HEAD_SIZE + len(entries)
        for at in range(0, len(entries), _ENTRY_SIZE):
            width = entries[at + 1]
            items = entries[at + 2]
            rows = entries[at + 4] | entries[at + 5] << 8
            for place in range(len(self._columns)):
                if self._numbers[place] == entries[at]:
                    self._fill_column(name, offset, place, rows, items, width)
            offset += rows * items * width

    def _fill_column(
        self, name: str, offset: int, place: int, rows: int, items: int, width: int
    ) -> None:
        """Read one column row by row, or in chunks where rows are alike here and there."""
        _, here, here_width = self._shape(place, rows)
        if width != here_width:
            return
        if here == items:
            items = rows * items
            here = items
            rows = 1
        column = self._columns[place]
        step = _PIECE_SIZE // width
        for row in range(rows):
            for start in range(0, min(items, here), step):
                count = min(step, min(items, here) - start)
                size = count * width
                source = offset + (row * items + start) * width
                self._storage.read_into(name, source, self._chunk, size)
                part = bytes(memoryview(self._chunk)[:size])
                to = row * here + start
                # A slice of an array takes an array of the same kind.
                column[to : to + count] = array(_CODES[width], part) if width > 1 else part
