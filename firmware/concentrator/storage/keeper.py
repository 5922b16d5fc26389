"""Keep the tables durable: write records in time, begin checkpoints, make room on flash.

A record may wait in memory for others. A segment whose records the head-end has and both
checkpoints include is deleted. After a start the tables are those of the newest checkpoint with
every later record replayed.

A checkpoint is written one part in a step. All of this, which may stop a board for a while, is
done between two transactions of the lines, so that no request leaves and no reply comes meanwhile:
while `wants` is true no line begins another one.
"""

import gc

from micropython import const
from ports import Unreadable
from uplink.record import RECORD_SIZE

from concentrator.storage.checkpoint import MORE, WRITTEN

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from ports import Storage

    from concentrator.storage.checkpoint import Checkpoint
    from concentrator.storage.journal import Journal
    from concentrator.storage.thinning import Thinner

    class Rows(Protocol):
        """The interface of the registry for a checkpoint."""

        count: int

        def recount(self, count: int) -> None:
            """Count the rows after `count` of them were loaded."""

    class Images(Protocol):
        """The interface of the tariffs for a checkpoint."""

        # Grows with each change of the images in force.
        changes: int

        @property
        def is_troubled(self) -> bool:
            """Whether an image in force cannot be used."""

        def load(self) -> None:
            """Read the images in force that were not read yet."""

        def sweep(self) -> None:
            """Delete images that are not in force."""


# Records that can be read again from a meter become durable when they fill a block, or when the
# first of them has waited for this time.
_SYNC_MS = const(900000)
# Other records wait no longer than this, and so do records that the flash has refused.
_SOON_MS = const(10000)
# A checkpoint, which allows older segments to be deleted, is due after this many records.
_CHECKPOINT_RECORDS = const(2048)
# While blocks are short it is due after this many records.
_CHECKPOINT_LEAST = const(64)
# Work on the flash waits this long for a line that is always busy, as in a search.
_BUSY_MS = const(60000)
# While blocks are short, at least this time is between two checkpoints of few records.
_SHORT_MS = const(60000)
# After a change of segments that the flash has refused, nothing is deleted for this time.
_REFUSED_MS = const(10000)
# This many blocks are kept free before the journal's reserve, to be filled while older segments
# are thinned.
_SLACK_BLOCKS = const(4)

# The time between attempts to load images in force that could not be read.
_IMAGES_MS = const(20000)

_QUIET_MS = const(30000)
_REST_MS = const(1000)
_TICKS_MASK = const(0x1FFFFFFF)
_MOVES_MASK = const(0xFFFF)


class Keeper:
    """A keeper of `rows` and `images` by `journal` and `checkpoint`.

    moves               a number that changes as long as records become durable in time
    checkpoint_records  a checkpoint is due after this many records
    wants               whether work on the flash waits for the lines to be at rest
    """

    def __init__(
        self,
        storage: "Storage",
        journal: "Journal",
        checkpoint: "Checkpoint",
        rows: "Rows",
        images: "Images",
    ) -> None:
        self.moves = 0
        self.checkpoint_records = _CHECKPOINT_RECORDS
        self.wants = False
        self._journal = journal
        self._checkpoint = checkpoint
        self._rows = rows
        self._images = images
        self._waits_ticks = -1
        self._images_ticks = 0
        self._storage = storage
        # What thins takes heap once room was short.
        self._thinner: Thinner | None = None
        # The last record at the last attempt of a checkpoint, which may have failed.
        self._tried_seq = 0
        self._failures = 0
        self._is_refused = False
        self._refused_ticks = 0
        self._low_blocks = 0
        self._short_ticks = 0
        # Whether all parts of a checkpoint are written, and the records they include durable.
        self._is_ending = False
        self._sweeps = False
        # The ticks since which work waits for the lines, -1: none does.
        self._due_ticks = -1
        # The values of `changes` when the checkpoints began. Old images are deleted when both
        # checkpoints name the ones in force.
        self._saved_changes = -1
        self._begun_changes = -1
        self._swept_changes = -1

    def recover(
        self,
        replay: "Callable[[bytearray], None]",
        feed: "Callable[[], None]",
        random: "Callable[[], int]",
    ) -> int:
        """Bring the tables to the end of the journal; return the count of lost records.

        Lost records are neither in the journal nor in a checkpoint; the journal counts rotten
        ones. `replay` applies one record to the tables, and `feed` is called before each. An
        identity is made of `random` numbers. Unreadable: the tables must not be used.
        """
        journal = self._journal
        checkpoint = self._checkpoint
        feed()
        self._rows.recount(checkpoint.load(feed))
        feed()
        checkpoint.identify(random)
        feed()
        self._images.load()
        feed()
        journal.recover(feed)
        if checkpoint.unread and journal.first_seq > checkpoint.seq + 1:
            raise Unreadable("a checkpoint cannot be read, and older records are gone")
        if journal.durable_seq < checkpoint.highest_seq:
            journal.continue_at(checkpoint.highest_seq + 1)
        buf = bytearray(RECORD_SIZE)
        # Without a checkpoint, the records that were deleted before are lost.
        lost = 0 if checkpoint.seq else journal.first_seq - 1
        for seq in range(max(journal.first_seq, checkpoint.seq + 1), journal.durable_seq + 1):
            feed()
            if journal.read_into(seq, buf):
                replay(buf)
            elif journal.unread:
                raise Unreadable("record " + str(seq) + " cannot be read")
        feed()
        journal.measure()
        self._set_low()
        feed()
        gc.collect()  # of all this: it would else come within a long step of what follows
        feed()
        return lost

    def step(self, now_ticks: int, acked_seq: int, lines_busy: bool = False) -> int:
        """Make records durable in time, write checkpoints and make room.

        The head-end has all records up to `acked_seq`, -1: there is no head-end. `lines_busy`: a
        line is in a transaction. Return the ms until the next call, 0: it has used the flash.
        """
        if lines_busy and self._waits(now_ticks, acked_seq):
            self.wants = True
            self._move()
            return _REST_MS
        left_ms = self._work(now_ticks, acked_seq)
        held = self.wants
        self.wants = False
        self._due_ticks = -1
        return 0 if held else left_ms

    def _waits(self, now_ticks: int, acked_seq: int) -> bool:
        """Return whether work on the flash is due that waits for the lines to be at rest."""
        journal = self._journal
        checkpoint = self._checkpoint
        unkept = journal.durable_seq - checkpoint.seq
        if not (
            checkpoint.busy
            or self._sweeps
            or unkept >= self.checkpoint_records
            or journal.room < self._low_blocks
            or journal.first_seq <= min(acked_seq, checkpoint.older_seq)
            or (journal.count and self._sync_ms(now_ticks) <= 0)
        ):
            return False
        if self._due_ticks < 0:
            self._due_ticks = now_ticks
        return (now_ticks - self._due_ticks) & _TICKS_MASK < _BUSY_MS

    def _work(self, now_ticks: int, acked_seq: int) -> int:
        """Do what is due; return the ms until the next call."""
        journal = self._journal
        checkpoint = self._checkpoint
        durable_seq = journal.durable_seq
        left_ms = self._sync(now_ticks)
        if journal.failures != self._failures:
            # A failed append may have taken a block that is not counted.
            self._failures = journal.failures
            journal.measure()
        if journal.durable_seq != durable_seq or self._drop(now_ticks, acked_seq):
            return 0
        if checkpoint.busy:
            return self._write_part()
        if self._sweeps:
            self._sweeps = False
            self._images.sweep()
            return 0
        unkept = journal.durable_seq - checkpoint.seq
        if unkept >= self.checkpoint_records and self._is_worth_saving():
            self.begin()
            return 0
        if journal.room < self._low_blocks and self._make_room(now_ticks, acked_seq):
            return 0
        if self._images.is_troubled and self._load_images(now_ticks):
            return 0
        return left_ms

    def _drop(self, now_ticks: int, acked_seq: int) -> bool:
        """Delete a segment that the head-end and both checkpoints have; return whether it was.

        A removal that the flash refuses is tried again after some seconds.
        """
        journal = self._journal
        if (now_ticks - self._refused_ticks) & _TICKS_MASK >= _REFUSED_MS:
            self._is_refused = False
        seq = min(acked_seq, self._checkpoint.older_seq)
        if self._is_refused or journal.first_seq > seq:
            return False
        return self._has_changed(journal.drop(seq), now_ticks)

    def _to_thin(self) -> "Thinner":
        from concentrator.storage.thinning import Thinner

        self._thinner = self._thinner or Thinner(self._journal, self._storage)
        return self._thinner

    def _has_changed(self, done: bool, now_ticks: int) -> bool:
        """Note whether a change of the segments was refused; return `done`."""
        failures = self._journal.failures
        if failures != self._failures:
            self._is_refused = True
            self._refused_ticks = now_ticks
        return done

    def _sync(self, now_ticks: int) -> int:
        """Make records durable that have waited long enough; return the ms of the next wait."""
        journal = self._journal
        if journal.count == 0:
            self._waits_ticks = -1
        elif self._waits_ticks < 0:
            self._waits_ticks = now_ticks
        wait_ms = _SOON_MS if journal.is_urgent else _SYNC_MS
        left_ms = self._sync_ms(now_ticks)
        if left_ms <= 0:
            if journal.sync():
                self._waits_ticks = -1
                left_ms = wait_ms
            else:
                left_ms = _SOON_MS
                self._waits_ticks = (now_ticks - wait_ms + _SOON_MS) & _TICKS_MASK
        self._move()
        return max(_REST_MS, min(left_ms, _QUIET_MS))

    def _sync_ms(self, now_ticks: int) -> int:
        """Return the ms until the records that wait have to be durable."""
        left_ms = _SOON_MS if self._journal.is_urgent else _SYNC_MS
        if self._waits_ticks >= 0:
            left_ms -= (now_ticks - self._waits_ticks) & _TICKS_MASK
        return left_ms

    def _set_low(self) -> None:
        """Set how many blocks have to be free.

        A checkpoint has to fit beside the journal's reserve.
        """
        size_blocks = self._checkpoint.blocks(self._rows.count)
        self._low_blocks = self._journal.reserve_blocks + size_blocks + _SLACK_BLOCKS

    def _make_room(self, now_ticks: int, acked_seq: int) -> bool:
        """Delete some records that both checkpoints include; return false if nothing was done.

        While only money and relays may take room, few records come: then a checkpoint of few
        records is written too, but not too often. So is one of no record at all, until both are as
        of the same record, so that torn segments of few records can go.
        """
        journal = self._journal
        seq = self._checkpoint.seq
        older_seq = self._checkpoint.older_seq
        if not self._is_refused:
            done = journal.drop(older_seq) if acked_seq < 0 else self._to_thin().step(older_seq)
            if self._has_changed(done, now_ticks):
                return True
        if journal.durable_seq - seq >= _CHECKPOINT_LEAST and self._is_worth_saving():
            self.begin()
            return True
        if not journal.is_short or journal.durable_seq == seq == older_seq:
            self._short_ticks = now_ticks
        elif (now_ticks - self._short_ticks) & _TICKS_MASK >= _SHORT_MS:
            self._short_ticks = now_ticks
            self.begin(again=True)
            return True
        return False

    def _is_worth_saving(self) -> bool:
        """Return whether enough records were written since the last attempt of a checkpoint."""
        durable_seq = self._journal.durable_seq
        if durable_seq - self._tried_seq < _CHECKPOINT_LEAST:
            return False
        self._tried_seq = durable_seq
        return True

    def _load_images(self, now_ticks: int) -> bool:
        """Load the images that could not be read; false: the last attempt was not long ago."""
        if (now_ticks - self._images_ticks) & _TICKS_MASK < _IMAGES_MS:
            return False
        self._images_ticks = now_ticks
        self._images.load()
        return True

    def _move(self) -> None:
        self.moves = (self.moves + 1) & _MOVES_MASK

    def begin(self, again: bool = False) -> bool:
        """Begin a checkpoint, which the next steps write; return false if the storage refuses.

        Return true also if one is being written already, or nothing has changed: then it is only
        written `again`.
        """
        checkpoint = self._checkpoint
        if checkpoint.busy:
            return True
        if not self._journal.sync():
            return False
        seq = self._journal.durable_seq
        self._begun_changes = self._images.changes
        self._is_ending = False
        if seq == checkpoint.seq and not again:
            return True
        return checkpoint.begin(seq, self._rows.count)

    def _write_part(self) -> int:
        """Write a part of the checkpoint; return the ms to wait."""
        checkpoint = self._checkpoint
        outcome = checkpoint.put()
        if outcome == MORE:
            return 0
        if outcome != WRITTEN:
            checkpoint.give_up()
        elif not self._is_ending:
            # The columns may include later records, which have to be durable first.
            self._is_ending = self._journal.sync()
            if not self._is_ending:
                checkpoint.give_up()
        elif checkpoint.finish():
            changes = self._images.changes
            self._sweeps = (
                self._saved_changes == self._begun_changes == changes != self._swept_changes
            )
            self._swept_changes = changes if self._sweeps else self._swept_changes
            self._saved_changes = self._begun_changes
            self._journal.free_blocks -= checkpoint.grown_blocks
            self._set_low()
        return 0
