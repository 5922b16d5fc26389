"""The journal: every effect as a record in segment files, kept until it is known elsewhere.

    j00000041   groups of records from 65 on    seq of the first, hexadecimal
    j00000121   groups of records from 289 on   at most one block of 4096 bytes each

Records are packed into groups in memory (`place`, `add`) and made durable together (`sync`).
Records that wait are enough for a block at most; `place` writes a block that is full. A segment
that an append failed on, or that ends in a torn group, is left as it is: the next group opens a
new file, and a file's records count only up to the first of the next file. So nothing durable is
rewritten, and no sequence number that may have left the device is used again.

A record with the flag JOINED belongs to the one behind it: they stand in one group, so recovery
takes both or neither.

A group whose end is missing is torn and never was durable. Everything else that is not what was
written is rot: it is passed over and counted, and its numbers stay used. A flash that does not
answer is neither: nothing is decided on it.

The journal is also the outbox: the uplink reads durable groups from it until `drop` says that the
head-end and the checkpoint have them. What had to make room before stands there as a gap.

Spec: docs/SPEC.md, Packed records and Files on the device's flash.
"""

from array import array

from micropython import const
from ports import UNREADABLE, Unreadable
from uplink import packing, record
from uplink.packing import GAP, ITEM_LIMIT, ITEM_SHORTEST, ROTTEN, TORN, Packer, Unpacker
from uplink.record import JOINED, PAYLOAD, PAYLOAD_SIZE, RECORD_SIZE

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from ports import Storage

SEGMENT_SIZE = const(4096)
_SEGMENTS_LIMIT = const(1024)
# Blocks for money and relays: without them no reading is taken. A part of a small flash.
RESERVE_BLOCKS = const(16)
_RESERVE_SHARE = const(8)
_RESERVE_LEAST = const(3)

# The index of segments grows by so many.
_SEGMENTS_STEP = const(64)
# A block, and the records that may be added before it is written.
_MEMORY_SIZE = const(4736)
_GROUP_FRAME = const(16)
_GAP_GROUP_SIZE = const(96)
# At most so many records are joined, and a group begun for them has room for all.
_CHAIN_LIMIT = const(3)
# What is lost of these with the power comes again: it is read from the meters.
_REPEATED = (record.READING, record.ITEM, record.FREEZE, record.ROLLOVER, record.LINE)
_PREFIX = "j"
# The flash did not answer: a third answer besides packing.TORN and packing.ROTTEN.
_UNREAD = const(-3)
_SEQ_END = const(0xFFFFFFFF)


def segment_name(first_seq: int) -> str:
    """File name of the segment whose first record is `first_seq`."""
    digits = hex(first_seq)[2:]
    return _PREFIX + "0" * (8 - len(digits)) + digits


class Journal:
    """Records in order of `seq`, durable up to `durable_seq`.

    first_seq       oldest record kept
    durable_seq     newest record that survives a power cut
    count           records added and not yet durable
    hurries         some of them tell what nobody will tell again
    rotten          records that are not what was written, or missing
    let_go          records that had to make room
    unread          reads that the flash did not answer
    group_end       the number behind the group that `group_into` gave last
    is_lent         nothing waits, and the memory for it is in use for something else
    reader          of the group that `next_group` went to
    ended           why it went to none: TORN, also where the file ends, ROTTEN or less: unread
    failures        appends the storage did not make
    free_blocks     of the flash, as far as is known; `total_blocks` of them there are
    reserve_blocks  of these, kept for money and relays
    """

    def __init__(self, storage: "Storage", segments_limit: int = _SEGMENTS_LIMIT) -> None:
        self.first_seq = 1
        self.durable_seq = 0
        self.count = 0
        self.hurries = False
        self.rotten = 0
        self.let_go = 0
        self.unread = 0
        self.failures = 0
        self.t2000 = 0
        self.buf = bytearray(RECORD_SIZE)
        self._storage = storage
        self.total_blocks = self.free_blocks = segments_limit
        self.reserve_blocks = RESERVE_BLOCKS
        self.measure()
        self._limit = min(segments_limit, self.total_blocks)
        # First seq of each segment kept, oldest first.
        self._segments = array("I", bytes(4 * _SEGMENTS_STEP))
        self._segment_count = 0
        # Bytes in the newest segment; SEGMENT_SIZE also when it takes no more.
        self._filled = SEGMENT_SIZE
        # Groups that wait; the last of them may still be open.
        self._memory = bytearray(_MEMORY_SIZE)
        self.is_lent = False
        self._view = memoryview(self._memory)
        self._used = 0  # bytes of the groups that are finished
        self._is_open = False
        self._joins = False  # the next record belongs to the one before
        self._block_left = 0  # bytes that the block takes in which the next group will stand
        self._has_block = False  # what waits fills a block and more
        self._packer = Packer(self._memory)
        # The group that is read: where it stands, and what of its file is in the window.
        self._window = bytearray(packing.GROUP_LIMIT)
        self.reader = Unpacker(self._window)
        self._read_first = 0  # its segment, 0: none
        self._read_offset = 0
        self._read_size = 0
        self._window_offset = 0
        self._window_size = 0
        self.ended = TORN
        # Numbers found to be missing last: whoever asks for each of them gets a quick answer.
        self._hole_seq = 0
        self._hole_end = 0
        self.group_end = 0

    @property
    def next_seq(self) -> int:
        """Sequence number of the record to be added next."""
        return self.durable_seq + 1 + self.count

    @property
    def room(self) -> int:
        """Blocks that can still be filled."""
        return min(self._limit - self._segment_count, self.free_blocks)

    @property
    def is_short(self) -> bool:
        """Whether only money and relays may take room."""
        return self.room < self.reserve_blocks

    @property
    def segment_count(self) -> int:
        """Segments kept."""
        return self._segment_count

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
        """Offset in `buf` of the next record, its payload cleared; -1 when memory is full.

        There is room for so many `records`, and `withdraw` can take all of them back.
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
        """Finish the record whose payload stands where `place` said."""
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
            self.hurries = True
        self._joins = joins
        self.count += 1
        self.t2000 = t2000

    def _open_group(self, need: int) -> None:
        """Begin a group behind those that wait, in the next block where this one is full."""
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
        """Make all records durable. False: storage full or failing, what remains is kept."""
        if self._is_open:
            self._close_group()
        self._write()
        return self.count == 0

    def _write(self) -> None:
        """Append the groups that are finished. One that is open goes into the next segment."""
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
                self._filled = SEGMENT_SIZE
                self._read_first = 0
                break
            self._filled += size
            self._take_written(done, size)
            done += size
        if done < self._used:
            self.failures += 1
        if self.count == 0:
            self.hurries = False
        self._has_block = False
        self._move_down(done)
        if self._is_open:
            self._filled = SEGMENT_SIZE
        else:
            self._block_left = max(0, SEGMENT_SIZE - self._filled - self._used)

    def _fitting(self, start: int, room: int) -> int:
        """Bytes of the groups from `start` of the memory on that fit into `room`."""
        memory = self._memory
        at = start
        while at < self._used:
            size = memory[at] | memory[at + 1] << 8
            if at + size - start > room:
                break
            at += size
        return at - start

    def _take_written(self, start: int, size: int) -> None:
        """Count the records of groups that are durable."""
        memory = self._memory
        at = start
        while at < start + size:
            self.durable_seq += memory[at + 2]
            self.count -= memory[at + 2]
            at += memory[at] | memory[at + 1] << 8

    def _move_down(self, size: int) -> None:
        """Forget the first `size` bytes of the memory."""
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
        """Begin a file for the group that begins with `first_seq`; false: no room, or it fails."""
        if self._segment_count == self._limit:
            return False
        # Left by a cut or a failed append, before any record of it was durable.
        if not self._storage.remove(segment_name(first_seq)):
            return False
        if self._segment_count == len(self._segments):
            try:
                self._segments.extend(array("I", bytes(4 * _SEGMENTS_STEP)))
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

    def recover(self) -> None:
        """Find the segments and the newest durable record. Unreadable: nothing was touched."""
        names = self._storage.names(_PREFIX)
        if names is None:
            raise Unreadable("the segments cannot be listed")
        seqs = []
        for name in names:
            try:
                seqs.append(int(name[1:], 16))
            except ValueError:
                continue
        seqs.sort()
        self.measure()
        self._limit = max(self._limit, len(seqs) + 1)
        if len(seqs) > len(self._segments):
            self._segments = array("I", bytes(4 * (len(seqs) + _SEGMENTS_STEP)))
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
        self.durable_seq = self._end_of(seqs[-1]) - 1 if seqs else 0
        if seqs and self.durable_seq < seqs[-1]:
            # Nothing of the newest was ever durable: the next record opens it anew.
            self._segment_count -= 1

    def _end_of(self, first_seq: int) -> int:
        """Return the number behind all that segment `first_seq` may hold; raise Unreadable."""
        reader = self.reader
        self.go_to(first_seq)
        next_seq = first_seq
        while self.next_group(_SEQ_END):
            self.rotten += reader.first_seq - next_seq
            while reader.look() >= GAP:
                pass
            next_seq = reader.next_seq
        if self.ended == ROTTEN:
            size = self._storage.size(segment_name(first_seq))
            rotten = max(0, size - self._read_offset - self._read_size) // ITEM_SHORTEST + 1
            self.rotten += rotten
            next_seq += rotten
        if self.ended == _UNREAD:
            raise Unreadable("segment " + segment_name(first_seq) + " cannot be read")
        return next_seq

    # --- reading --------------------------------------------------------------------------------

    def read_into(self, seq: int, buf: bytearray) -> bool:
        """Put the 64 verified bytes of the durable record `seq` into `buf`.

        False: it was let go, is not what was written, or the flash does not answer.
        """
        if not self.first_seq <= seq <= self.durable_seq or not self._find(seq):
            return False
        reader = self.reader
        if reader.kind <= GAP or not reader.take(buf):
            return False
        record.seal(buf)
        return True

    def group_into(self, seq: int, buf: bytearray, start: int, limit: int) -> int:
        """Copy the group with `seq` to `start` of `buf`; return its size, 0: it has no room.

        Numbers that cannot be read are a gap. `group_end` is the number behind it.
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
        """Return the newest record of the account before `seq`, not before `first_seq`; or 0."""
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
        """Have the reader look at the item with `seq`; false: it is missing, or not now."""
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
            if seq < reader.seq:
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
        """Position of the segment that holds `seq`."""
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
        """Number that the segment at `position` begins with, oldest first."""
        return self._segments[position]

    @property
    def read_end(self) -> int:
        """Place in its segment behind the group that was read last."""
        return self._read_offset + self._read_size

    def go_to(self, first_seq: int, offset: int = 0) -> None:
        """Stand in the segment `first_seq` before the group at `offset`."""
        self._read_first = first_seq
        self._read_offset = offset
        self._read_size = 0
        self._window_size = 0
        self.reader.next_seq = first_seq

    def next_group(self, end_seq: int) -> bool:
        """Go to the next good group that begins before `end_seq`; false: `_ended` says why not."""
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
        """Have the reader open the group at `offset` of its segment; its answer, or _UNREAD."""
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

    # --- letting go -----------------------------------------------------------------------------

    def drop(self, seq: int) -> bool:
        """Delete the oldest segment if all its records are at or below `seq`; true if it was."""
        if self._segment_count < 2 or self._segments[1] > seq + 1:
            return False
        return self.forget(0)

    def forget(self, position: int) -> bool:
        """Delete the segment at `position`, whose records are known elsewhere; true if it was."""
        segments = self._segments
        if not self._storage.remove(segment_name(segments[position])):
            return False
        self._segment_count -= 1
        for at in range(position, self._segment_count):
            segments[at] = segments[at + 1]
        self.first_seq = segments[0]
        self.free_blocks += 1
        self.reread()
        return True

    def lend(self) -> "bytearray | None":
        """Memory for the content of a segment, until `place` is called; None: records wait."""
        if not self.sync():
            return None
        self.is_lent = True
        return self._memory

    def reread(self) -> None:
        """What is on flash has changed: nothing of it is known without reading."""
        self._read_first = 0
        self._hole_end = 0

    def continue_at(self, seq: int) -> None:
        """Number the next record `seq`, above all records kept: the head-end knows more."""
        if self.count == 0 and seq > self.durable_seq + 1:
            self.durable_seq = seq - 1
            self._filled = SEGMENT_SIZE
            self._block_left = SEGMENT_SIZE
