"""Read and delete the segments of the journal on flash.

    j00000041   groups of records from 65 on    seq of the first, hexadecimal
    j00000121   groups of records from 289 on   at most one block of 4096 bytes each

A file's records count only up to the first of the next file. A group whose end is missing is torn
and was never durable. All other changed bytes are rotten: they are skipped and counted, and their
numbers stay used. If the flash does not answer, nothing is decided.

Spec: docs/SPEC.md, Packed records and Files on the device's flash.
"""

from array import array

from micropython import const
from ports import UNREADABLE, Unreadable
from uplink import packing, record
from uplink.packing import GAP, ITEM_SHORTEST, ROTTEN, TORN, Packer, Unpacker

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable

    from ports import Storage

# The index of segments grows by this count.
SEGMENTS_STEP = const(64)
_GAP_GROUP_SIZE = const(96)
SEGMENT_PREFIX = "j"
# The flash did not answer: a third result besides packing.TORN and packing.ROTTEN.
_UNREAD = const(-3)
_SEQ_END = const(0xFFFFFFFF)


def segment_name(first_seq: int) -> str:
    """Return the file name of the segment whose first record is `first_seq`."""
    digits = hex(first_seq)[2:]
    return SEGMENT_PREFIX + "0" * (8 - len(digits)) + digits


class Segments:
    """The durable records, found by their numbers.

    first_seq       the number of the oldest record that is kept
    durable_seq     the number of the newest durable record
    rotten          the count of records that have changed or are missing
    unread          the count of reads that the flash did not answer
    free_blocks     the count of free blocks of the flash, as far as is known
    failures        the count of changes that the storage refused
    group_end       the number behind the group that `group_into` copied last
    reader          the reader of the group that `next_group` has opened
    ended           why it opened none: TORN, also at the end of the file, ROTTEN or _UNREAD
    """

    def __init__(self, storage: "Storage") -> None:
        self.first_seq = 1
        self.durable_seq = 0
        self.rotten = 0
        self.unread = 0
        self.free_blocks = 0
        self.failures = 0
        self._storage = storage
        # The first seq of each segment, oldest first.
        self._segments = array("I", bytes(4 * SEGMENTS_STEP))
        self._segment_count = 0
        # The group that is read: its place, and the part of its file in the window.
        self._window = bytearray(packing.GROUP_LIMIT)
        self.reader = Unpacker(self._window)
        self._read_first = 0  # its segment, 0: none
        self._read_offset = 0
        self._read_size = 0
        self._window_offset = 0
        self._window_size = 0
        self.ended = TORN
        # The numbers that were found to be missing last, so that each needs no new search.
        self._hole_seq = 0
        self._hole_end = 0
        self.group_end = 0

    @property
    def segment_count(self) -> int:
        """The count of segments."""
        return self._segment_count

    def read_into(self, seq: int, buf: bytearray) -> bool:
        """Read the 64 bytes of the durable record `seq` into `buf`; return false if missing.

        It is missing if it was deleted, has changed, or the flash does not answer.
        """
        if not self.first_seq <= seq <= self.durable_seq or not self._find(seq):
            return False
        reader = self.reader
        if reader.kind <= GAP or not reader.read_into(buf):
            return False
        record.seal(buf)
        return True

    def group_into(self, seq: int, buf: "bytearray | memoryview", start: int, limit: int) -> int:
        """Copy the group with `seq` to `start` of `buf`; return its size, 0: it has no room.

        Records that cannot be read become a gap. `group_end` becomes the number behind the group.
        UNREADABLE: the flash does not answer.
        """
        unread = self.unread
        if not self._find(seq):
            if self.unread != unread:
                return UNREADABLE
            source = bytearray(_GAP_GROUP_SIZE)
            packer = Packer(source)
            packer.begin(0, len(source), seq)
            packer.add_gap(packing.UNREADABLE, self._hole_end - seq)
            size = packer.finish()
            offset = 0
            self.group_end = self._hole_end
        else:
            source = self._window
            size = self._read_size
            offset = self._read_offset - self._window_offset
            while self.reader.look() >= GAP:
                pass
            self.group_end = self.reader.next_seq
        if size > limit:
            return 0
        for index in range(size):
            buf[start + index] = source[offset + index]
        return size

    def find_before(self, index: int, seq: int, first_seq: int) -> int:
        """Return the account's newest record before `seq` and from `first_seq` on, 0: none."""
        reader = self.reader
        first_seq = max(first_seq, self.first_seq)
        seq = min(seq, self.durable_seq + 1)
        found = 0
        while seq > first_seq and not found:
            position = self.position_of(seq - 1)
            self.go_to(self._segments[position])
            while self.next_group(seq):
                while reader.look() >= GAP:
                    if first_seq <= reader.seq < seq and reader.is_of(index):
                        found = reader.seq
            seq = self._segments[position]
        return found

    def _find(self, seq: int) -> bool:
        """Move the reader to the item with `seq`; return false if it is missing or unread."""
        if self._hole_seq <= seq < self._hole_end:
            return False
        position = self.position_of(seq)
        first_seq = self._segments[position]
        end_seq = self.durable_seq + 1
        if position + 1 < self._segment_count:
            end_seq = self._segments[position + 1]
        reader = self.reader
        if self._read_first != first_seq or seq < reader.first_seq or not self._read_size:
            self.go_to(first_seq)
            more = self.next_group(end_seq)
        else:
            more = True
            if seq < reader.seq or reader.kind < GAP:
                reader.rewind()
        while more:
            while reader.next_seq <= seq and reader.look() >= GAP:
                pass
            if reader.next_seq > seq:
                break
            more = self.next_group(end_seq)
        if more and reader.seq <= seq:
            return True
        if not more and self.ended == _UNREAD:
            self._read_first = 0
            return False
        self._hole_seq = seq
        self._hole_end = reader.first_seq if more else end_seq
        self.rotten += self._hole_end - seq
        if not more:
            self._read_first = 0
        return False

    def position_of(self, seq: int) -> int:
        """Return the position of the segment that has `seq`."""
        low = 0
        high = self._segment_count
        segments = self._segments
        while high - low > 1:
            middle = (low + high) >> 1
            if segments[middle] <= seq:
                low = middle
            else:
                high = middle
        return low

    def first_of(self, position: int) -> int:
        """Return the first number of the segment at `position`, oldest first."""
        return self._segments[position]

    @property
    def read_end(self) -> int:
        """The place in its segment behind the group that was read last."""
        return self._read_offset + self._read_size

    @property
    def is_whole(self) -> bool:
        """Whether the segment that was read to its end has only good groups."""
        return self.ended == TORN and not self._window_size and not self.rotten

    def go_to(self, first_seq: int, offset: int = 0) -> None:
        """Go to the group at `offset` of the segment `first_seq`, without reading it."""
        self._read_first = first_seq
        self._read_offset = offset
        self._read_size = 0
        self._window_size = 0
        self.reader.next_seq = first_seq

    def next_group(self, end_seq: int) -> bool:
        """Open the next good group that begins before `end_seq`, or set `ended` to why not."""
        reader = self.reader
        least_seq = reader.next_seq
        offset = self._read_offset + self._read_size
        size = self._open_at(offset)
        rotten = False
        while size == ROTTEN or (size > 0 and reader.first_seq < least_seq):
            rotten = True
            offset += 1
            size = self._open_at(offset)
            if size == TORN and self._window_size >= packing.HEAD_SIZE:
                size = ROTTEN  # it only looks like the head of a longer group
        if size > 0 and reader.first_seq < end_seq:
            self._read_offset = offset
            self._read_size = size
            return True
        self.ended = ROTTEN if rotten and size != _UNREAD else min(size, TORN)
        self._read_first = 0
        return False

    def _open_at(self, offset: int) -> int:
        """Open the group at `offset` of the segment; return the reader's result, or _UNREAD."""
        start = offset - self._window_offset
        if 0 <= start < self._window_size:
            size = self.reader.open(start, self._window_size)
            if size != TORN:
                return size
        window = self._window
        name = segment_name(self._read_first)
        size = self._storage.read_into(name, offset, window, len(window))
        self._window_offset = offset
        self._window_size = max(0, size)
        if size < 0:
            self.unread += 1
            return _UNREAD
        return self.reader.open(0, size)

    def end_of(self, first_seq: int, feed: "Callable[[], object]") -> int:
        """Return the number behind all records of segment `first_seq`; raise Unreadable.

        `feed` is called after each group.
        """
        reader = self.reader
        self.go_to(first_seq)
        next_seq = first_seq
        while self.next_group(_SEQ_END):
            self.rotten += reader.first_seq - next_seq
            while reader.look() >= GAP:
                pass
            next_seq = reader.next_seq
            feed()
        if self.ended == ROTTEN:
            size = self._storage.size(segment_name(first_seq))
            rotten = max(0, size - self._read_offset - self._read_size) // ITEM_SHORTEST + 1
            self.rotten += rotten
            next_seq += rotten
        if self.ended == _UNREAD:
            raise Unreadable("segment " + segment_name(first_seq) + " cannot be read")
        return next_seq

    # --- deleting -------------------------------------------------------------------------------

    def drop(self, seq: int) -> bool:
        """Delete the oldest segment if `seq` is not below any of its records; return if it was."""
        if self._segment_count < 2 or self._segments[1] > seq + 1:
            return False
        return self.forget(0)

    def forget(self, position: int) -> bool:
        """Delete the segment at `position`; return whether it was deleted."""
        segments = self._segments
        if not self._storage.remove(segment_name(segments[position])):
            self.failures += 1
            return False
        self._segment_count -= 1
        for at in range(position, self._segment_count):
            segments[at] = segments[at + 1]
        self.first_seq = segments[0]
        self.free_blocks += 1
        self.reread()
        return True

    def reread(self) -> None:
        """Forget what was read, because the files have changed."""
        self._read_first = 0
        self._hole_end = 0
