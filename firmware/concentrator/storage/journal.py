"""The journal: every effect as a 64-byte record in segment files, kept until it is known above.

    j00000041   records 65 ..           seq of the first record, hexadecimal
    j00000081   records 129 ..          at most 64 records, one erase block of 4096 bytes

Records are gathered in memory (`place`, `add`) and made durable together (`sync`). A segment that
an append failed on, or that ends in torn bytes, is left as it is: the next record opens a new
file, and a file's records count only up to the first of the next file. So nothing durable is ever
rewritten, and no sequence number that may have left the device is used again.

A record with the flag JOINED belongs to the one behind it: recovery takes both or neither.

The journal is also the outbox: the uplink reads durable records from it until `drop` says that
the head-end and the checkpoint have them.
"""

from array import array

from micropython import const
from ports import Unreadable
from uplink import record
from uplink.record import JOINED, PAYLOAD, PAYLOAD_SIZE, RECORD_SIZE

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from ports import Storage

SEGMENT_RECORDS = const(64)
_SEGMENTS_LIMIT = const(256)
# Room only money may use: readings are refused before, and taken later from the registers.
SEGMENTS_RESERVE = const(16)
PENDING_LIMIT = const(24)

_WINDOW_RECORDS = const(8)
_PREFIX = "j"


def segment_name(first_seq: int) -> str:
    """File name of the segment whose first record is `first_seq`."""
    digits = hex(first_seq)[2:]
    return _PREFIX + "0" * (8 - len(digits)) + digits


class Journal:
    """Records in order of `seq`, durable up to `durable_seq`.

    first_seq       oldest record kept
    durable_seq     newest record that survives a power cut
    next_seq        of the record to be added next
    count           records added and not yet durable
    lost            records found unreadable at recovery or when asked for
    failures        appends the storage did not make
    """

    def __init__(self, storage: "Storage", segments_limit: int = _SEGMENTS_LIMIT) -> None:
        self.first_seq = 1
        self.durable_seq = 0
        self.count = 0
        self.lost = 0
        self.failures = 0
        self.t2000 = 0
        self.buf = bytearray(PENDING_LIMIT * RECORD_SIZE)
        self._view = memoryview(self.buf)
        self._storage = storage
        self._limit = segments_limit
        # First seq of each segment kept, oldest first.
        self._segments = array("I", bytes(4 * segments_limit))
        self._segment_count = 0
        # Records in the newest segment; SEGMENT_RECORDS also when it takes no more.
        self._filled = SEGMENT_RECORDS
        self._window = bytearray(_WINDOW_RECORDS * RECORD_SIZE)
        self._window_seq = 0
        self._window_count = 0

    @property
    def next_seq(self) -> int:
        """Sequence number of the record to be added next."""
        return self.durable_seq + 1 + self.count

    @property
    def room(self) -> int:
        """Segments that can still be opened."""
        return self._limit - self._segment_count

    def place(self) -> int:
        """Offset in `buf` of the next record, its payload cleared; -1 when memory is full."""
        if self.count == PENDING_LIMIT and not self.sync():
            return -1
        offset = self.count * RECORD_SIZE
        buf = self.buf
        for index in range(offset + PAYLOAD, offset + PAYLOAD + PAYLOAD_SIZE):
            buf[index] = 0
        return offset

    def add(self, t2000: int, kind: int, index: int, flags: int = 0) -> None:
        """Finish the record whose payload stands where `place` said."""
        offset = self.count * RECORD_SIZE
        record.encode_into(self.buf, offset, self.next_seq, t2000, kind, flags, index)
        self.count += 1
        self.t2000 = t2000

    def withdraw(self, count: int) -> None:
        """Take back the newest `count` records, which must not be durable."""
        self.count -= count

    def sync(self) -> bool:
        """Make all records durable. False: storage full or failing, what remains is kept."""
        done = 0
        while done < self.count:
            size = self._append(done)
            if size == 0:
                self.failures += 1
                self._filled = SEGMENT_RECORDS
                self._window_count = 0
                break
            done += size
            self.durable_seq += size
        if done:
            rest = self.count - done
            for index in range(rest * RECORD_SIZE):
                self.buf[index] = self.buf[done * RECORD_SIZE + index]
            self.count = rest
        return self.count == 0

    def _append(self, start: int) -> int:
        """Append records from `start` of the memory to one segment; return how many, 0: failed.

        Joined records go into one segment, in one append.
        """
        first_seq = self.durable_seq + 1
        size = self.count - start
        if size > SEGMENT_RECORDS - self._filled:
            size = SEGMENT_RECORDS - self._filled
            while size and record.flags_at(self.buf, (start + size - 1) * RECORD_SIZE) & JOINED:
                size -= 1
        if size == 0:
            if self._segment_count == self._limit:
                return 0
            self._segments[self._segment_count] = first_seq
            self._segment_count += 1
            self._filled = 0
            # Left by a cut or a failed append, before any record of it was durable.
            if not self._storage.remove(segment_name(first_seq)):
                self._segment_count -= 1
                return 0
            size = min(self.count - start, SEGMENT_RECORDS)
        part = self._view[start * RECORD_SIZE : (start + size) * RECORD_SIZE]
        name = segment_name(self._segments[self._segment_count - 1])
        if not self._storage.append(name, part, size * RECORD_SIZE):
            if self._filled == 0:
                self._segment_count -= 1
            return 0
        self._filled += size
        return size

    def recover(self) -> None:
        """Find the segments and the newest durable record. Unreadable: nothing was touched."""
        seqs = []
        names = self._storage.names(_PREFIX)
        if names is None:
            raise Unreadable("the segments cannot be listed")
        for name in names:
            try:
                seqs.append(int(name[1:], 16))
            except ValueError:
                continue
        seqs.sort()
        if len(seqs) > self._limit:
            self._limit = len(seqs) + 1
            self._segments = array("I", bytes(4 * self._limit))
        for position in range(len(seqs)):
            self._segments[position] = seqs[position]
        self._segment_count = len(seqs)
        self.durable_seq = 0
        self.first_seq = 1
        while self._segment_count:
            newest = self._segments[self._segment_count - 1]
            good = self._good_records(newest)
            if good:
                self.durable_seq = newest + good - 1
                self.first_seq = self._segments[0]
                break
            # Nothing of it was ever durable.
            self._storage.remove(segment_name(newest))
            self._segment_count -= 1
            self.durable_seq = newest - 1
            self.first_seq = newest
        self._filled = SEGMENT_RECORDS
        self._window_count = 0
        self.count = 0

    def _good_records(self, first_seq: int) -> int:
        """Records of the newest segment up to the first that is not one, or half a pair."""
        good = 0
        joined = 0
        end_seq = first_seq + SEGMENT_RECORDS
        while good < SEGMENT_RECORDS and self._load(first_seq, first_seq + good, end_seq):
            offset = (first_seq + good - self._window_seq) * RECORD_SIZE
            flags = record.flags_at(self._window, offset)
            good += 1
            joined = joined + 1 if flags & JOINED else 0
        return good - joined

    def read_into(self, seq: int, buf: bytearray) -> bool:
        """Put the 64 verified bytes of the durable record `seq` into `buf`."""
        if not self.first_seq <= seq <= self.durable_seq:
            return False
        position = self._position_of(seq)
        end_seq = self.durable_seq + 1
        if position + 1 < self._segment_count:
            end_seq = self._segments[position + 1]
        if not self._load(self._segments[position], seq, end_seq):
            self.lost += 1
            return False
        start = (seq - self._window_seq) * RECORD_SIZE
        window = self._window
        for index in range(RECORD_SIZE):
            buf[index] = window[start + index]
        return True

    def _position_of(self, seq: int) -> int:
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

    def _load(self, first_seq: int, seq: int, end_seq: int) -> bool:
        """Bring `seq` of the segment `first_seq` into the window; false: it cannot be read.

        Records of this segment from `end_seq` on do not count.
        """
        window = self._window
        if not (self._window_seq <= seq < self._window_seq + self._window_count):
            start = seq - first_seq
            self._window_count = 0
            size = self._storage.read_into(
                segment_name(first_seq), start * RECORD_SIZE, window, len(window)
            )
            self._window_seq = seq
            self._window_count = min(max(0, size) // RECORD_SIZE, end_seq - seq)
        offset = (seq - self._window_seq) * RECORD_SIZE
        if self._window_count == 0 or not record.verify(window, offset):
            self._window_count = 0
            return False
        if record.seq_at(window, offset) != seq:
            self._window_count = 0
            return False
        return True

    def drop(self, seq: int) -> bool:
        """Delete the oldest segment if all its records are at or below `seq`; true if it was."""
        if self._segment_count < 2 or self._segments[1] > seq + 1:
            return False
        segments = self._segments
        if not self._storage.remove(segment_name(segments[0])):
            return False
        for position in range(self._segment_count - 1):
            segments[position] = segments[position + 1]
        self._segment_count -= 1
        self.first_seq = segments[0]
        return True

    def continue_at(self, seq: int) -> None:
        """Number the next record `seq`, above all records kept: the head-end knows more."""
        if self.count == 0 and seq > self.durable_seq + 1:
            self.durable_seq = seq - 1
            self._filled = SEGMENT_RECORDS
