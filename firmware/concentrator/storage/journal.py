"""Keep every effect as a record in segment files, until the head-end and a checkpoint have it.

    j00000041   groups of records from 65 on    seq of the first, hexadecimal
    j00000121   groups of records from 289 on   at most one block of 4096 bytes each

Records are packed into groups in memory (`place`, `add`) and made durable together (`sync`). At
most one block of records waits: `place` writes a block that is full. After a failed append, or if
a segment is torn or rotten, it is not changed any more: the next group opens a new file. A file's
records count only up to the first of the next file. So durable records are never rewritten, and a
sequence number that may have left the device is never used again.

A record with the flag JOINED belongs to the next one: they are in one group, so recovery applies
both or neither.

The journal is also the outbox: the uplink reads durable groups from it until `drop` says that the
head-end and the checkpoint have them. Records that were deleted earlier to make room are a gap.

Spec: docs/SPEC.md, Packed records and Files on the device's flash.
"""

from array import array

from micropython import const
from ports import Unreadable
from uplink import record
from uplink.packing import ITEM_LIMIT, Packer, Unpacker
from uplink.record import JOINED, PAYLOAD, PAYLOAD_SIZE, RECORD_SIZE

from concentrator.storage.segments import SEGMENT_PREFIX, SEGMENTS_STEP, Segments, segment_name

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable

    from ports import Storage

SEGMENT_SIZE = const(4096)
_SEGMENTS_LIMIT = const(1024)
# Blocks that are reserved for money and relays; on a small flash, a share of its blocks.
RESERVE_BLOCKS = const(16)
_RESERVE_SHARE = const(8)
_RESERVE_LEAST = const(3)

# The size of a block, and of the records that may be added before it is written.
_MEMORY_SIZE = const(4736)
_GROUP_FRAME = const(16)
# At most this many records are joined, and their group has room for all of them.
_CHAIN_LIMIT = const(3)
# Lost records of these kinds are read again from the meters.
_REPEATED = (record.READING, record.ITEM, record.FREEZE, record.ROLLOVER, record.LINE)


class Journal(Segments):
    """The records in order of `seq`, durable up to `durable_seq`.

    count           the count of records added and not yet durable
    is_urgent       whether one of them cannot be read again from a meter
    floor_seq       the first record for the head-end: it has others under the numbers before
    let_go          the count of records deleted to make room
    is_lent         whether no record waits and the memory is in use for something else
    total_blocks    the count of blocks of the flash
    free_blocks     the count of free ones, as far as is known
    reserve_blocks  the count of those reserved for money and relays
    """

    def __init__(self, storage: "Storage", segments_limit: int = _SEGMENTS_LIMIT) -> None:
        super().__init__(storage)
        self.count = 0
        self.floor_seq = 1
        self.is_urgent = False
        self.let_go = 0
        self.t2000 = 0
        self.buf = bytearray(RECORD_SIZE)
        self.total_blocks = self.free_blocks = segments_limit
        self.reserve_blocks = RESERVE_BLOCKS
        self.measure()
        self._limit = min(segments_limit, self.total_blocks)
        # Bytes in the newest segment; SEGMENT_SIZE also when it must not change any more.
        self._filled = SEGMENT_SIZE
        # Whether a cut or a failed append may have left the file of the next record, of which no
        # record was ever durable.
        self._is_left = False
        # The groups that wait; the last of them may still be open.
        self._memory = bytearray(_MEMORY_SIZE)
        self.is_lent = False
        self._view = memoryview(self._memory)
        self._used = 0  # bytes of the groups that are finished
        self._is_open = False
        self._joins = False  # the next record belongs to the one before
        self._block_left = 0  # bytes left in the block of the next group
        self._has_block = False  # the groups that wait fill at least a block
        self._packer = Packer(self._memory)

    @property
    def outbox_seq(self) -> int:
        """The number of the oldest record kept that is for the head-end."""
        return max(self.first_seq, self.floor_seq)

    @property
    def next_seq(self) -> int:
        """The sequence number of the record that is added next."""
        return self.durable_seq + 1 + self.count

    @property
    def room(self) -> int:
        """The count of blocks that can still be filled."""
        return min(self._limit - self._segment_count, self.free_blocks)

    @property
    def is_short(self) -> bool:
        """Whether only money and relays may take room."""
        return self.room < self.reserve_blocks

    def measure(self) -> None:
        """Ask the storage for its free blocks."""
        total, free = self._storage.blocks()
        if total:
            self.total_blocks = total
            self.free_blocks = free
            share = max(_RESERVE_LEAST, total // _RESERVE_SHARE)
            self.reserve_blocks = min(RESERVE_BLOCKS, share)

    # --- writing --------------------------------------------------------------------------------

    def place(self, records: int = 1) -> int:
        """Return the offset in `buf` of the next record, its payload cleared; -1: memory is full.

        There is room for `records` records, and `withdraw` can take all of them back.
        """
        self.is_lent = False
        if not self._joins:  # joined records have their room already
            if self._has_block:
                self._write()
            end = self._packer.end if self._is_open else self._used
            end += (records + _CHAIN_LIMIT) * ITEM_LIMIT + 2 * _GROUP_FRAME
            if end > _MEMORY_SIZE and not self.sync():
                return -1
        buf = self.buf
        for index in range(PAYLOAD, PAYLOAD + PAYLOAD_SIZE):
            buf[index] = 0
        return 0

    def add(self, t2000: int, kind: int, index: int, flags: int = 0) -> None:
        """Add the record whose payload is at the offset that `place` returned."""
        buf = self.buf
        record.put_head(buf, self.next_seq, t2000, kind, flags, index)
        joins = flags & JOINED != 0
        records = 1 if self._joins or not joins else _CHAIN_LIMIT
        packer = self._packer
        if self._is_open and packer.room < records:
            self._close_group()
        if not self._is_open:
            self._open_group(records * ITEM_LIMIT + _GROUP_FRAME)
        packer.add(buf)
        if kind not in _REPEATED:
            self.is_urgent = True
        self._joins = joins
        self.count += 1
        self.t2000 = t2000

    def _open_group(self, need: int) -> None:
        """Begin a group behind those that wait, in the next block if this one is full."""
        if self._block_left < need:
            self._has_block = True
            self._block_left = SEGMENT_SIZE
        limit = min(self._block_left, _MEMORY_SIZE - self._used)
        self._packer.begin(self._used, limit, self.next_seq)
        self._is_open = True

    def _close_group(self) -> None:
        end = self._packer.finish()
        self._block_left -= end - self._used
        self._used = end
        self._is_open = False

    def withdraw(self, count: int) -> None:
        """Take back the newest `count` records, which must not be durable."""
        if self._is_open:
            self._close_group()
        self.count -= count
        self._joins = False
        kept = self.count
        start = 0
        reader = Unpacker(self._memory)
        while start < self._used:
            size = reader.open(start, self._used)
            if self._memory[start + 2] > kept:
                break
            kept -= self._memory[start + 2]
            start += size
        self._block_left = min(SEGMENT_SIZE, self._block_left + self._used - start)
        self._used = start
        if kept:
            for _ in range(kept):
                reader.look()
            self._packer.resume(reader, kept, _MEMORY_SIZE - start)
            self._is_open = True

    def sync(self) -> bool:
        """Make all records durable; return false if the storage refuses, and keep the rest."""
        if self._is_open:
            self._close_group()
        self._write()
        return self.count == 0

    def _write(self) -> None:
        """Append the finished groups; an open one goes into the next segment."""
        done = 0
        while done < self._used:
            size = self._fitting(done, SEGMENT_SIZE - self._filled)
            if size == 0:
                if not self._open_segment(self.durable_seq + 1):
                    break
                continue
            name = segment_name(self._segments[self._segment_count - 1])
            if not self._storage.append(name, self._view[done : done + size], size):
                if self._filled == 0:
                    self._segment_count -= 1
                    self._is_left = True
                self._filled = SEGMENT_SIZE
                break
            self._filled += size
            self._count_written(done, size)
            done += size
        if done < self._used:
            self.failures += 1
        if self.count == 0:
            self.is_urgent = False
        self._has_block = False
        self._move_down(done)
        if self._is_open:
            self._filled = SEGMENT_SIZE
        else:
            self._block_left = max(0, SEGMENT_SIZE - self._filled - self._used)

    def _fitting(self, start: int, room: int) -> int:
        """Return the bytes of the groups from `start` of the memory on that fit into `room`."""
        memory = self._memory
        at = start
        while at < self._used:
            size = memory[at] | memory[at + 1] << 8
            if at + size - start > room:
                break
            at += size
        return at - start

    def _count_written(self, start: int, size: int) -> None:
        """Count the records of groups that have become durable."""
        memory = self._memory
        at = start
        while at < start + size:
            self.durable_seq += memory[at + 2]
            self.count -= memory[at + 2]
            at += memory[at] | memory[at + 1] << 8

    def _move_down(self, size: int) -> None:
        """Delete the first `size` bytes of the memory."""
        if size == 0:
            return
        end = self._packer.end if self._is_open else self._used
        memory = self._memory
        for index in range(end - size):
            memory[index] = memory[size + index]
        self._used -= size
        if self._is_open:
            self._packer.move(-size)

    def _open_segment(self, first_seq: int) -> bool:
        """Begin a file for the group from `first_seq` on; return false without room."""
        if self._segment_count == self._limit:
            return False
        # To look for a file takes nearly as long as to write one.
        if self._is_left and not self._storage.remove(segment_name(first_seq)):
            return False
        self._is_left = False
        if self._segment_count == len(self._segments):
            try:
                self._segments.extend(array("I", bytes(4 * SEGMENTS_STEP)))
            except MemoryError:
                self._limit = self._segment_count
                return False
        self._segments[self._segment_count] = first_seq
        self._segment_count += 1
        self._filled = 0
        if self.free_blocks:
            self.free_blocks -= 1
        return True

    # --- recovery -------------------------------------------------------------------------------

    def recover(self, feed: "Callable[[], object]" = int) -> None:
        """Find the segments and the newest durable record. Unreadable: nothing was changed.

        `feed` is called after each part that is read.
        """
        names = self._storage.names(SEGMENT_PREFIX)
        feed()
        if names is None:
            raise Unreadable("the segments cannot be listed")
        seqs = []
        for name in names:
            try:
                seqs.append(int(name[1:], 16))
            except ValueError:
                continue
        seqs.sort()
        self._limit = max(self._limit, len(seqs) + 1)
        if len(seqs) > len(self._segments):
            self._segments = array("I", bytes(4 * (len(seqs) + SEGMENTS_STEP)))
        for position in range(len(seqs)):
            self._segments[position] = seqs[position]
        self._segment_count = len(seqs)
        self.count = 0
        self._used = 0
        self._is_open = self._has_block = self._joins = False
        self._filled = SEGMENT_SIZE
        self._block_left = SEGMENT_SIZE
        self._read_first = self._hole_end = 0
        self.first_seq = seqs[0] if seqs else 1
        self.durable_seq = self.end_of(seqs[-1], feed) - 1 if seqs else 0
        if seqs and self.durable_seq < seqs[-1]:
            # No record of the newest was ever durable: the next record opens it again.
            self._segment_count -= 1
            self._is_left = True
        elif seqs and self.is_whole and self.read_end < SEGMENT_SIZE:
            # The newest segment is continued, so a restart costs no block.
            self._filled = self.read_end
            self._block_left = SEGMENT_SIZE - self._filled

    # --- deleting -------------------------------------------------------------------------------

    def lend(self) -> "bytearray | None":
        """Return memory for the content of a segment until `place` is called; None: in use."""
        if not self.sync():
            return None
        self.is_lent = True
        return self._memory

    def continue_at(self, seq: int) -> None:
        """Number the next record `seq`, which the head-end requires, if it is a higher number."""
        if self.count == 0 and seq > self.durable_seq + 1:
            self.durable_seq = seq - 1
            self._filled = SEGMENT_SIZE
            self._block_left = SEGMENT_SIZE
