"""All tables, so that older records need not be kept; written while the concentrator goes on.

    k00000041       begins as of record 65, hexadecimal

    "DKK4" 4 | seq 4 | rows 2 | columns 2 | journal identity 8
    | columns x (number 1, width 1, items a row 1, 0, rows 2) | each column | CRC-32 4

It is written a part at a time (`begin`, `put` .., `finish`): the columns hold the effect of every
record up to `seq`, and perhaps of some behind it, which whoever writes it makes durable before
`finish`. Records that are replayed from `seq` + 1 on set absolute values, so none counts twice.

It counts only when the right CRC stands behind it, so a power cut leaves the one before. The two
newest are kept, and the journal's records from the older one on: should the newest not be
readable, nothing is lost. What is proven to be torn is deleted; a file that is rotten or does not
answer is left as it is until two whole ones stand beside it.

The identity is 8 random bytes that were made with the journal. Its file, empty, bears them in its
name: `n1122334455667788`.

Columns are array('I'), array('H') or bytearray, as memory has them: little-endian on every board
there is. Each has a number of its own and says how large it is, so that another build, with other
limits or more columns, reads what it knows; a column that the file lacks stays as it is.
"""

from array import array
from binascii import crc32, hexlify, unhexlify
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

# Outcomes of `put`; any other: the storage has refused.
MORE = const(0)
WRITTEN = const(1)  # all but its end
_FAILED = const(2)

# What `_check` finds.
_WHOLE = const(0)
_TORN = const(1)
_ROTTEN = const(2)
_UNREAD = const(3)

_PREFIX = "k"
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
    """Name of the checkpoint file as of record `seq`."""
    digits = hex(seq)[2:]
    return _PREFIX + "0" * (8 - len(digits)) + digits


class Checkpoint:
    """The tables on flash.

    seq         what the newest includes, 0: there is none
    older_seq   what the one before includes: records up to here are not needed any more
    highest_seq that any file is named after, readable or not: numbers up to it were used
    busy        one is being written
    identity    of the journal, 8 bytes
    unread      files that the flash did not give at the start
    rotten      files that are not what was written
    """

    def __init__(self, storage: "Storage", limit: int) -> None:
        """Tables have `limit` rows."""
        self.seq = 0
        self.older_seq = 0
        self.highest_seq = 0
        self.busy = False
        self.identity = _NO_IDENTITY
        self.unread = 0
        self.rotten = 0
        self._storage = storage
        self._limit = limit
        self._numbers = bytearray()
        self._columns: list[Column] = []
        self._rows: list[int] = []
        self._chunk = bytearray()  # while loading
        # Files found at the start that are neither the newest nor the older.
        self._others: list[str] = []
        # While writing: what it begins as of, its rows, the column, the items of it that are done.
        self._seq = 0
        self._count = 0
        self._place = 0
        self._done = 0
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

    # --- writing --------------------------------------------------------------------------------

    def begin(self, seq: int, count: int) -> bool:
        """Begin one as of record `seq`, which is durable, with `count` rows; false: refused."""
        self.give_up()
        if seq == self.seq:
            return False  # it stands there, and must not be missing while it is written again
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
        name = file_name(seq)
        if name in self._others:
            self._others.remove(name)  # it is written anew
        self.busy = self._storage.begin(name) and self._put(head)
        return self.busy

    def put(self) -> int:
        """Write a part, at most 1024 bytes, as the tables are now; return the outcome."""
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
        """Write the end: from now on it counts. All records that it may hold are durable."""
        tail = pack("<I", self._crc)
        written = self.busy and self._place == len(self._columns)
        self.busy = False
        if not written or not self._storage.put(tail, _CRC_SIZE) or not self._storage.finish():
            self._storage.give_up()
            return False
        gone_seq = self.older_seq
        self.older_seq = self.seq
        self.seq = self._seq
        if gone_seq:
            self._storage.remove(file_name(gone_seq))
        if self.older_seq and self._others:
            self._storage.remove(self._others.pop())
        return True

    def give_up(self) -> None:
        """Write no more of the one that was begun."""
        self.busy = False
        self._storage.give_up()

    def _put(self, part: "bytes | bytearray") -> bool:
        self._crc = crc32(part, self._crc)
        return self._storage.put(part, len(part))

    def blocks(self, count: int) -> int:
        """Blocks that a checkpoint of `count` rows takes."""
        size = _FILE_HEAD_SIZE + _ENTRY_SIZE * len(self._columns) + _CRC_SIZE
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

    # --- reading --------------------------------------------------------------------------------

    def load(self, feed: "Callable[[], object]") -> int:
        """Fill the columns from the newest whole checkpoint; return its count of rows, or 0.

        Of the others the newest whole one is the older. A file that is torn is deleted; one that
        is rotten or unread is counted. `feed` is called after each part that is read. Raises
        Unreadable where the tables may be half filled, or have more rows than this build.
        """
        self.seq = self.older_seq = self.highest_seq = self.unread = self.rotten = 0
        names = self._storage.names(_PREFIX)
        if names is None:
            raise Unreadable("the checkpoints cannot be listed")
        self._chunk = bytearray(_STEP_SIZE)
        self._others = []
        count = 0
        for name in reversed(names):
            try:
                self.highest_seq = max(self.highest_seq, int(name[1:], 16))
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
                self.older_seq = u32_at(self._chunk, 4)
            else:
                count = self._chunk[8] | self._chunk[9] << 8
                if count > self._limit:
                    meters = " meters, this board has room for "
                    raise Unreadable(str(count) + meters + str(self._limit))
                self.seq = u32_at(self._chunk, 4)
                self.identity = bytes(self._chunk[_IDENTITY:_FILE_HEAD_SIZE])
                self._fill(name, feed)
        self._chunk = bytearray()
        return count

    def identify(self, random: "Callable[[], int]") -> None:
        """Find the journal's identity, after `load`; make one of `random` numbers if it has none.

        Raises Unreadable.
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
        self._storage.append(_IDENTITY_PREFIX + hexlify(self.identity).decode(), b"", 0)

    def _check(self, name: str, feed: "Callable[[], object]") -> int:
        """Whether the file is whole; its head then stands in the chunk."""
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
        """Bytes that the file should have by its head, which stands in the chunk."""
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
        """Read one column row by row, or in chunks where rows are alike here and there."""
        _, here, here_width = self._shape(place, rows)
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
        """Fill `buf` from a file that was whole just now; raises Unreadable."""
        if self._storage.read_into(name, offset, buf, size) != size:
            raise Unreadable("checkpoint " + name + " cannot be read")
