"""Append older segments to each other, so that littlefs finds free blocks in fewer files.

littlefs looks at every file for that, in one call. On a large flash with many segments, each full
one is appended to the one before, up to `file_blocks` blocks, and then deleted. Records of a file
count only up to the first of the next file, so a power cut between the two doubles none.

Only segments whose groups are all good are merged: behind a torn group nothing would be found.
"""

from micropython import const

from concentrator.storage.segments import MANY_SEGMENTS, SEGMENT_SIZE, blocks_of, segment_name

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from ports import Storage

    from concentrator.storage.journal import Journal
    from concentrator.storage.thinning import Thinner

# The bytes that littlefs may need of each block after the first, for pointers.
_POINTERS = const(12)


class Merger:
    """Merges segments of `journal` in `storage`, at most one in each `step`.

    many    segments are merged while there are more than this
    """

    def __init__(self, journal: "Journal", storage: "Storage", thinner: "Thinner") -> None:
        """Merge segments that `thinner` thins; what it has in the lent memory is given up."""
        self.many = MANY_SEGMENTS
        self._journal = journal
        self._storage = storage
        self._thinner = thinner
        # The segment to which others are appended, and its bytes, 0: unknown.
        self._merged_seq = 0
        self._merged_size = 0

    @property
    def is_due(self) -> bool:
        """Whether a segment can be appended to another, or was and has to be deleted."""
        journal = self._journal
        if journal.file_blocks == 1:
            return False
        return journal.doubled_seq > 0 or (
            journal.segment_count > self.many
            and journal.position_of(self._merged_seq) + 2 < journal.segment_count
        )

    def step(self) -> bool:
        """Append a segment to the one before, when it is due; return whether it was tried."""
        journal = self._journal
        if journal.doubled_seq:
            journal.forget_doubled()
            return True
        self._thinner.break_off()
        content = journal.lend()
        if content is None:
            return False
        position = journal.position_of(self._merged_seq)
        name = segment_name(journal.first_of(position))
        # It may have been deleted or thinned since.
        if not self._merged_size or self._storage.size(name) != self._merged_size:
            self._merged_seq = journal.first_of(position)
            self._merged_size = journal.whole_into(position, content)
            if not self._merged_size:
                self._merged_seq = journal.first_of(position + 1)
            return True
        first_seq = journal.first_of(position + 1)
        size = journal.whole_into(position + 1, content)
        limit = journal.file_blocks * (SEGMENT_SIZE - _POINTERS)
        if not 0 < size <= limit - self._merged_size:
            self._merged_seq = first_seq
            self._merged_size = size
            return True
        if not self._storage.append(name, memoryview(content)[:size], size):
            journal.failures += 1
            self._merged_size = 0
            self._merged_seq = first_seq
            return True
        before = blocks_of(self._merged_size)
        self._merged_size += size
        journal.free_blocks -= blocks_of(self._merged_size) - before
        journal.reread()
        self._thinner.redo(self._merged_seq)
        journal.doubled_seq = first_seq
        return True
