"""Make room while the head-end is away: delete the least important records of older segments.

A segment may be thinned once both checkpoints include all its records. The oldest segments come
first, and all of them are thinned at one level before the next level begins:

    1   items, freezes, and readings but the first of each meter's day
    2   all readings
    3   records of trouble
    4   records of supply, policy and parameters
    5   records of meters, accounts and tariffs

Records of payments and refunds stay until the head-end has them. Deleted records leave a gap with
its reasons. A segment that has become small is joined to the one before, so that a few records of
money do not cost a block each.

Each step reads a few records. The new content is collected in the memory of the journal, which is
free while no record waits. One `replace` puts it in place of the old content, so a power cut
leaves one of the two.
"""

from array import array

from micropython import const
from uplink import packing, record
from uplink.packing import GAP, MALFORMED, TORN, Packer, Unpacker
from uplink.record import RECORD_SIZE

from concentrator.storage.journal import SEGMENT_SIZE
from concentrator.storage.segments import segment_name

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from ports import Storage

    from concentrator.storage.journal import Journal

LEVELS = const(5)
NEVER = const(6)
_FIRST_OF_DAY = const(1)
# The kinds of record that are deleted at each level, and those that never are. A tuple of numbers
# takes no heap, as a dict would.
KINDS_OF_LEVELS = (
    (),
    (record.ITEM, record.FREEZE),
    (record.READING,),
    (record.START, record.CARD, record.LINE, record.CLOCK, record.EVENT),
    (record.RELAY, record.POLICY, record.ROLLOVER, record.FAULT, record.LOGIN),
    (
        record.METER,
        record.TARIFF,
        record.ACCOUNT,
        record.PLAN,
        record.STANDING,
        record.STANDING_REGISTERS,
        record.SETTING,
        record.OPERATOR_CARD,
        record.FIRMWARE,
        record.COMMAND,
        record.QUOTA,
    ),
    (record.TOP_UP, record.REFUND, record.CORRECTION),
)
_REASONS = {
    record.READING: packing.LET_GO_READINGS,
    record.FREEZE: packing.LET_GO_FREEZES,
    record.ITEM: packing.LET_GO_ITEMS,
}

_DAY_S = const(86400)
# Nothing is joined to a segment with less room than this, in bytes.
_JOIN_ROOM = const(256)
_ITEM_ROOM = const(86)
_SEEN_SIZE = const(128)
# The count of items that a step looks at.
_ITEMS = const(12)

# Outcomes of `_copy_items`.
_UNFIT = const(0)  # the segment must not be changed
_SOME = const(1)  # more of the group is left
_ALL = const(2)


def level_of(kind: int) -> int:
    """Return the level at which records of the kind are deleted, or NEVER."""
    level = 0
    while level < NEVER and kind not in KINDS_OF_LEVELS[level]:
        level += 1
    return level


class Thinner:
    """Thins the segments of `journal` in `storage`, a few records in each `step`."""

    def __init__(self, journal: "Journal", storage: "Storage") -> None:
        self._journal = journal
        self._storage = storage
        # The journal's memory, while it is lent.
        self._content = bytearray()
        self._packer = Packer(self._content)
        self._record = bytearray(RECORD_SIZE)
        # The number up to which each level is finished.
        self._through = array("I", bytes(4 * (LEVELS + 1)))
        # The meters whose first reading of the day was seen, a bit for each.
        self._seen = bytearray(_SEEN_SIZE)
        self._day = 0
        # The present level, 0: none; the segment's numbers; the bytes read and collected.
        self._level = 0
        self._first_seq = 0
        self._end_seq = 0
        self._next_seq = 0
        # The first number of the present group, and its place.
        self._group_seq = 0
        self._offset = 0
        self._size = 0
        self._is_open = False
        # The segment before to which it is joined, 0: none, and its size in bytes.
        self._joined_seq = 0
        self._joined_size = 0
        # The segment whose records are in the one before as well, 0: none.
        self._doubled_seq = 0
        # The count of records deleted since the last kept one, and in the whole segment.
        self._gap = 0
        self._reasons = 0
        self._gone = 0

    def step(self, limit_seq: int) -> bool:
        """Continue with segments up to `limit_seq`; return false if nothing can be deleted."""
        journal = self._journal
        if self._doubled_seq:
            self._forget_doubled()
            return True
        if self._level and not journal.is_lent:
            self._break_off()
        if not self._level:
            # Records that wait have their step before.
            return journal.sync() if journal.count else self._begin(limit_seq)
        journal.go_to(self._first_seq, self._offset)
        if journal.next_group(self._end_seq):
            outcome = self._copy_items()
            if outcome == _UNFIT:
                self._end()
            elif outcome == _ALL:
                self._offset = journal.read_end
                self._group_seq = self._next_seq
        elif journal.ended == TORN:
            self._finish()
        else:
            self._end()  # a segment that is rotten or unread is not changed
        return True

    def _begin(self, limit_seq: int) -> bool:
        """Choose the oldest segment of the lowest level that is not finished; false: none."""
        journal = self._journal
        for level in range(1, LEVELS + 1):
            position = journal.position_of(self._through[level])
            while position + 1 < journal.segment_count:
                first_seq = journal.first_of(position)
                end_seq = journal.first_of(position + 1)
                if end_seq - 1 > limit_seq:
                    break
                if first_seq >= self._through[level]:
                    content = journal.lend()
                    if content is None:
                        return False
                    self._content = content
                    self._packer = Packer(content)
                    self._level = level
                    self._first_seq = self._group_seq = self._next_seq = first_seq
                    self._end_seq = end_seq
                    self._offset = self._size = self._gap = self._gone = 0
                    self._is_open = False
                    self._join(position)
                    return True
                position += 1
        return False

    def _join(self, position: int) -> None:
        """Copy the segment before, if it is small and has only good groups."""
        self._joined_seq = self._joined_size = 0
        if position == 0:
            return
        first_seq = self._journal.first_of(position - 1)
        content = self._content
        size = self._storage.read_into(segment_name(first_seq), 0, content, SEGMENT_SIZE)
        if not 0 < size <= SEGMENT_SIZE - _JOIN_ROOM:
            return
        reader = Unpacker(content)
        at = 0
        while at < size:
            group = reader.open(at, size)
            if group <= 0 or reader.first_seq >= self._first_seq:
                return
            at += group
        self._joined_seq = first_seq
        self._joined_size = self._size = size

    def _copy_items(self) -> int:
        """Copy the records that stay of the group's next items; return the outcome."""
        reader = self._journal.reader
        if reader.first_seq != self._group_seq:
            return _UNFIT
        left = _ITEMS
        while left:
            kind = reader.look()
            if kind == packing.END:
                return _ALL
            if kind == MALFORMED:
                return _UNFIT
            if reader.next_seq <= self._next_seq:
                continue  # an earlier step has copied it
            left -= 1
            if kind == GAP:
                self._gap += reader.next_seq - reader.seq
                self._reasons |= reader.reasons
            elif self._goes(kind, reader.head):
                self._gap += 1
                self._gone += 1
                self._reasons |= _REASONS.get(kind, packing.LET_GO_OTHERS)
            elif not (self._put_gap() and reader.read_into(self._record) and self._make_room()):
                return _UNFIT
            else:
                self._packer.add(self._record)
            self._next_seq = reader.next_seq
        return _SOME

    def _goes(self, kind: int, head: bytearray) -> bool:
        """Return whether the record with this head is deleted at the present level."""
        if kind != record.READING or self._level != _FIRST_OF_DAY:
            return level_of(kind) <= self._level
        day = record.t2000_at(head, 0) // _DAY_S
        if day != self._day:
            self._day = day
            for place in range(_SEEN_SIZE):
                self._seen[place] = 0
        index = record.index_at(head, 0)
        if index >> 3 >= _SEEN_SIZE:
            return False
        bit = 1 << (index & 7)
        if self._seen[index >> 3] & bit:
            return True
        self._seen[index >> 3] |= bit
        return False

    def _put_gap(self) -> bool:
        """Write the gap of the records deleted before the present one; false: no room."""
        if self._gap == 0:
            return True
        if not self._make_room(self._gap):
            return False
        self._packer.add_gap(self._reasons, self._gap)
        self._gap = self._reasons = 0
        return True

    def _make_room(self, gap: int = 0) -> bool:
        """Make sure that a group with room for an item is open; return false without room."""
        packer = self._packer
        if self._is_open and packer.room:
            return True
        self._close()
        if SEGMENT_SIZE - self._size < _ITEM_ROOM:
            if not self._joined_seq:
                return False
            self._separate()
        packer.begin(self._size, SEGMENT_SIZE - self._size, self._next_seq - gap)
        self._is_open = True
        return True

    def _close(self) -> None:
        if self._is_open:
            self._size = self._packer.finish()
            self._is_open = False

    def _separate(self) -> None:
        """Remove the segment before from the content, because both do not fit in one."""
        content = self._content
        joined_size = self._joined_size
        for place in range(self._size - joined_size):
            content[place] = content[joined_size + place]
        self._size -= joined_size
        self._joined_seq = self._joined_size = 0

    def _finish(self) -> None:
        """Replace the segment by the new content."""
        journal = self._journal
        if not self._put_gap():
            self._end()
            return
        self._close()
        if self._gone or self._joined_seq:
            first_seq = self._joined_seq or self._first_seq
            if not self._storage.replace(segment_name(first_seq), self._content, self._size):
                journal.failures += 1
                self._break_off()
                return
            journal.let_go += self._gone
            journal.reread()
            if self._joined_seq:
                # A level that was finished with the segment before has to begin there again.
                for level in range(self._level + 1, LEVELS + 1):
                    self._through[level] = min(self._through[level], self._joined_seq)
                self._doubled_seq = self._first_seq
        self._end()

    def _forget_doubled(self) -> None:
        """Delete the segment whose records are in the one before as well."""
        journal = self._journal
        position = journal.position_of(self._doubled_seq)
        if journal.first_of(position) != self._doubled_seq or journal.forget(position):
            self._doubled_seq = 0

    def _break_off(self) -> None:
        """Stop thinning the segment; it is begun again later, and so is its first day."""
        self._level = self._day = 0

    def _end(self) -> None:
        self._through[self._level] = self._end_seq
        self._level = 0
