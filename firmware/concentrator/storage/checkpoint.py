"""Keep all tables on flash, so that older records can be deleted, without stopping the work.

    k00000041       begins as of record 65, hexadecimal
    k00000041+      a second one as of the same record

    "DKK4" 4 | seq 4 | rows 2 | columns 2 | journal identity 8
    | columns x (number 1, width 1, items a row 1, 0, rows 2) | each column | CRC-32 4

A checkpoint is written in parts (`begin`, `put` .., `finish`). Its columns have the effect of all
records up to `seq`, and perhaps of later ones, which the caller makes durable before `finish`.
Records that are replayed from `seq` + 1 on set absolute values, so none counts twice.

A checkpoint is valid only with a right CRC, so a power cut leaves the one before. The two newest
are kept, and the journal's records from the older one on, so an unreadable newest checkpoint loses
nothing. A torn file is deleted. A file that is rotten or cannot be read is kept until two whole
ones exist.

The identity is 8 random bytes that were made with the journal. An empty file has them in its name:
`n1122334455667788`.

Columns are array('I'), array('H') or bytearray in the layout of memory, which is little-endian on
every board. Each has a number and a size, so a build with other limits or more columns reads the
columns that it has. A column that the file lacks keeps its values.

Spec: docs/SPEC.md, "Files on the device's flash".
"""

from array import array
from binascii import crc32, unhexlify
from struct import pack, pack_into

from micropython import const
from ports import BLOCK_SIZE, Unreadable
from uplink.record import u32_at

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ports import Storage

    Column = Any  # array[int] | bytearray: a slice of either takes only its own kind

# Outcomes of `put`.
MORE = const(0)
WRITTEN = const(1)  # everything is written except the end
_FAILED = const(2)  # the storage has refused

# Results of `_check`.
_WHOLE = const(0)
_TORN = const(1)
_ROTTEN = const(2)
_UNREAD = const(3)

_PREFIX = "k"
# This ends the name of a second file as of the same record. It sorts before all digits.
_SECOND = "+"
_DIGITS_END = const(9)
_IDENTITY_PREFIX = "n"
_MAGIC = b"DKK4"
_FILE_HEAD_SIZE = const(20)
_IDENTITY = const(12)
_IDENTITY_SIZE = const(8)
_ENTRY_SIZE = const(6)
_CRC_SIZE = const(4)
_STEP_SIZE = const(1024)
_COLUMNS_LIMIT = const(64)
_NO_IDENTITY = bytes(_IDENTITY_SIZE)


def file_name(seq: int) -> str:
    """Return the name of the first checkpoint file as of record `seq`."""
    digits = hex(seq)[2:]
    return _PREFIX + "0" * (8 - len(digits)) + digits


class Checkpoint:
    """The checkpoints on flash.

    seq         the last record that the newest one includes, 0: there is none
    older_seq   the last record that the one before includes, up to which records are not needed
    highest_seq the greatest number in a file name, readable or not: numbers up to it were used
    busy        whether one is being written
    identity    the identity of the journal, 8 bytes
    unread      the count of files that could not be read at the start
    rotten      the count of files whose bytes have changed
    grown_blocks  the count of blocks by which the last one has made the files larger
    """

    def __init__(self, storage: "Storage", limit: int) -> None:
        """Keep tables of `limit` rows."""
        self.seq = 0
        self.older_seq = 0
        self.highest_seq = 0
        self.busy = False
        self.identity = _NO_IDENTITY
        self.unread = 0
        self.rotten = 0
        self.grown_blocks = 0
        self._storage = storage
        self._limit = limit
        self._numbers = bytearray()
        self._columns: list[Column] = []
        self._rows: list[int] = []
        self._chunk = bytearray()  # while loading
        # Files found at the start that are neither the newest nor the older.
        self._others: list[str] = []
        # The names of the newest, of the older, and of the one that is written.
        self._newest = self._older = self._name = ""
        # The count of blocks of the newest and of the older.
        self._seq_blocks = 0
        self._older_blocks = 0
        # While writing: the record it includes, its rows, the column, the items written of that.
        self._seq = 0
        self._count = 0
        self._place = 0
        self._done = 0
        self._crc = 0

    def add(self, first_number: int, columns: "tuple[Column, ...]", is_table: bool = True) -> None:
        """Keep these columns, numbered from `first_number` on; a number must never change.

        A column that is no table is kept whole, as one row.
        """
        for column in columns:
            self._numbers.append(first_number)
            self._columns.append(column)
            self._rows.append(self._limit if is_table else 1)
            first_number += 1

    # --- writing --------------------------------------------------------------------------------

    def begin(self, seq: int, count: int) -> bool:
        """Begin one as of the durable record `seq`, with `count` rows; return false if refused.

        It is refused where both are as of this record.
        """
        self.give_up()
        name = file_name(seq)
        if seq == self.older_seq:
            return False
        if name == self._newest:
            name += _SECOND  # the newest must not be missing while it is written again
        head = bytearray(_FILE_HEAD_SIZE + _ENTRY_SIZE * len(self._columns))
        pack_into("<4sIHH", head, 0, _MAGIC, seq, count, len(self._columns))
        head[_IDENTITY:_FILE_HEAD_SIZE] = self.identity
        for place in range(len(self._columns)):
            rows, items, width = self._shape(place, count)
            at = _FILE_HEAD_SIZE + _ENTRY_SIZE * place
            pack_into("<BBBBH", head, at, self._numbers[place], width, items, 0, rows)
        self._seq = seq
        self._count = count
        self._place = self._done = self._crc = 0
        if name in self._others:
            self._others.remove(name)  # it is written again
        self._name = name
        self.busy = self._storage.begin(name) and self._put(head)
        return self.busy

    def put(self) -> int:
        """Write the next part of the tables, at most 1024 bytes; return the outcome."""
        if not self.busy:
            return _FAILED
        if self._place == len(self._columns):
            return WRITTEN
        rows, items, width = self._shape(self._place, self._count)
        end = rows * items
        start = self._done
        self._done = min(start + _STEP_SIZE // width, end)
        view = memoryview(self._columns[self._place])
        if start < end and not self._put(bytes(view[start : self._done])):
            self.busy = False
            return _FAILED
        if self._done == end:
            self._place += 1
            self._done = 0
        return MORE

    def finish(self) -> bool:
        """Write the end, which makes it valid; return false if the storage refuses.

        All records that it may include must be durable.
        """
        tail = pack("<I", self._crc)
        written = self.busy and self._place == len(self._columns)
        self.busy = False
        if not written or not self._storage.put(tail, _CRC_SIZE) or not self._storage.finish():
            self._storage.give_up()
            return False
        blocks = self.blocks(self._count)
        self.grown_blocks = blocks - self._older_blocks
        self._older_blocks = self._seq_blocks
        self._seq_blocks = blocks
        gone = self._older
        self._older = self._newest
        self._newest = self._name
        self.older_seq = self.seq
        self.seq = self._seq
        if gone:
            self._storage.remove(gone)
        if self.older_seq and self._others:
            self._storage.remove(self._others.pop())
        return True

    def give_up(self) -> None:
        """Delete the one that was begun."""
        self.busy = False
        self._storage.give_up()

    def _put(self, part: "bytes | bytearray") -> bool:
        self._crc = crc32(part, self._crc)
        return self._storage.put(part, len(part))

    def blocks(self, count: int) -> int:
        """Return the blocks that a checkpoint of `count` rows takes."""
        size = _FILE_HEAD_SIZE + _ENTRY_SIZE * len(self._columns) + _CRC_SIZE
        for place in range(len(self._columns)):
            rows, items, width = self._shape(place, count)
            size += rows * items * width
        return size // BLOCK_SIZE + 1

    def _shape(self, place: int, count: int) -> "tuple[int, int, int]":
        """Return (rows in use, items in a row, bytes of an item) of a column."""
        column = self._columns[place]
        rows = self._rows[place]
        width = len(bytes(memoryview(column)[:1]))
        return min(rows, count) if rows > 1 else 1, len(column) // rows, width

    # --- reading --------------------------------------------------------------------------------

    def load(self, feed: "Callable[[], object]") -> int:
        """Fill the columns from the newest whole checkpoint; return its count of rows, or 0.

        The newest whole one of the other files becomes the older. A torn file is deleted; a rotten
        or unread one is counted. `feed` is called after each part that is read. Unreadable: the
        tables may be half filled, or the file has more rows than this build.
        """
        self.seq = self.older_seq = self.highest_seq = self.unread = self.rotten = 0
        names = self._storage.names(_PREFIX)
        if names is None:
            raise Unreadable("the checkpoints cannot be listed")
        self._chunk = bytearray(_STEP_SIZE)
        self._others = []
        self._newest = self._older = ""
        count = 0
        for name in reversed(names):
            try:
                self.highest_seq = max(self.highest_seq, int(name[1:_DIGITS_END], 16))
            except ValueError:
                continue
            if self.older_seq:
                self._others.append(name)  # older than both
                continue
            state = self._check(name, feed)
            if state == _TORN:
                self._storage.remove(name)
            elif state == _ROTTEN:
                self.rotten += 1
                self._others.append(name)
            elif state == _UNREAD:
                self.unread += 1
                self._others.append(name)
            elif self.seq:
                self._older = name
                self.older_seq = u32_at(self._chunk, 4)
                self._older_blocks = self._storage.size(name) // BLOCK_SIZE + 1
            else:
                count = self._chunk[8] | self._chunk[9] << 8
                if count > self._limit:
                    meters = " meters, this board has room for "
                    raise Unreadable(str(count) + meters + str(self._limit))
                self._newest = name
                self.seq = u32_at(self._chunk, 4)
                self.identity = bytes(self._chunk[_IDENTITY:_FILE_HEAD_SIZE])
                self._fill(name, feed)
                self._seq_blocks = self._storage.size(name) // BLOCK_SIZE + 1
        self._chunk = bytearray()
        return count

    def identify(self, random: "Callable[[], int]") -> None:
        """Find the journal's identity after `load`, or make one of `random` numbers.

        Unreadable: the identity cannot be read or is another one.
        """
        names = self._storage.names(_IDENTITY_PREFIX)
        if names is None:
            raise Unreadable("the identity of the journal cannot be listed")
        found = []
        for name in names:
            try:
                found.append(unhexlify(name[1:]))
            except ValueError:
                continue
        if self.seq:
            if self.identity in found:
                return
            if found:
                raise Unreadable("the checkpoint belongs to another journal")
        elif found:
            self.identity = found[0]
            return
        else:
            numbers = [random() & 0xFFFF for _ in range(4)]
            self.identity = pack("<HHHH", *numbers)
        self._storage.append(_IDENTITY_PREFIX + self.identity.hex(), b"", 0)

    def _check(self, name: str, feed: "Callable[[], object]") -> int:
        """Return the state of the file; if it is whole, the chunk has its head."""
        chunk = self._chunk
        storage = self._storage
        size = storage.size(name)
        end = size - _CRC_SIZE
        check = 0
        for start in range(0, end, _STEP_SIZE):
            part = min(_STEP_SIZE, end - start)
            if storage.read_into(name, start, chunk, part) != part:
                return _UNREAD
            check = crc32(memoryview(chunk)[:part], check)
            feed()
        if size < 0 or storage.read_into(name, max(0, end), chunk, _CRC_SIZE) < min(size, 4):
            return _UNREAD
        is_whole = size > _FILE_HEAD_SIZE and u32_at(chunk, 0) == check
        if storage.read_into(name, 0, chunk, _FILE_HEAD_SIZE) < min(size, _FILE_HEAD_SIZE):
            return _UNREAD
        if is_whole and chunk[:4] == _MAGIC and chunk[10] <= _COLUMNS_LIMIT:
            return _WHOLE
        return _TORN if size < self._size_of(name, size) else _ROTTEN

    def _size_of(self, name: str, size: int) -> int:
        """Return the size in bytes that the head in the chunk gives the file."""
        chunk = self._chunk
        if size < _FILE_HEAD_SIZE:
            return _FILE_HEAD_SIZE
        if chunk[:4] != _MAGIC or chunk[10] > _COLUMNS_LIMIT:
            return 0
        entries = bytearray(_ENTRY_SIZE * chunk[10])
        total = _FILE_HEAD_SIZE + len(entries) + _CRC_SIZE
        if self._storage.read_into(name, _FILE_HEAD_SIZE, entries, len(entries)) == len(entries):
            for at in range(0, len(entries), _ENTRY_SIZE):
                rows = entries[at + 4] | entries[at + 5] << 8
                total += rows * entries[at + 1] * entries[at + 2]
        return total

    def _fill(self, name: str, feed: "Callable[[], object]") -> None:
        entries = bytearray(_ENTRY_SIZE * self._chunk[10])
        self._read(name, _FILE_HEAD_SIZE, entries, len(entries))
        offset = _FILE_HEAD_SIZE + len(entries)
        for at in range(0, len(entries), _ENTRY_SIZE):
            width = entries[at + 1]
            items = entries[at + 2]
            rows = entries[at + 4] | entries[at + 5] << 8
            for place in range(len(self._columns)):
                if self._numbers[place] == entries[at]:
                    self._fill_column(name, offset, place, rows, items, width)
            feed()
            offset += rows * items * width

    def _fill_column(
        self, name: str, offset: int, place: int, rows: int, items: int, width: int
    ) -> None:
        """Read one column row by row, or in chunks if rows have the same size here and there."""
        rows, here, here_width = self._shape(place, rows)
        if width != here_width:
            return
        if here == items:
            items = rows * items
            here = items
            rows = 1
        column = self._columns[place]
        step = _STEP_SIZE // width
        for row in range(rows):
            for start in range(0, min(items, here), step):
                count = min(step, min(items, here) - start)
                size = count * width
                source = offset + (row * items + start) * width
                self._read(name, source, self._chunk, size)
                part = bytes(memoryview(self._chunk)[:size])
                to = row * here + start
                # A slice of an array takes an array of the same kind.
                code = "I" if width == 4 else "H"
                column[to : to + count] = array(code, part) if width > 1 else part

    def _read(self, name: str, offset: int, buf: bytearray, size: int) -> None:
        """Read `size` bytes from a file that was whole just now; raise Unreadable."""
        if self._storage.read_into(name, offset, buf, size) != size:
            raise Unreadable("checkpoint " + name + " cannot be read")
