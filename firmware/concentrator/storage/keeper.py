"""Keeps what the tables hold: records durable in time, a checkpoint now and then, room made free.

A record may wait in memory for others. What the head-end has and both checkpoints include is let
go. After a start the tables are those of the newest checkpoint with every later record replayed.
"""

from micropython import const
from uplink.record import RECORD_SIZE

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from concentrator.storage.checkpoint import Checkpoint
    from concentrator.storage.journal import Journal

    class Rows(Protocol):
        """The registry, as far as it is kept."""

        count: int

        def recount(self, count: int) -> None:
            """Take over that so many rows were loaded."""

    class Images(Protocol):
        """The tariffs, as far as they are kept."""

        # Grows with each change of the images in force.
        changes: int

        @property
        def is_troubled(self) -> bool:
            """Whether an image in force cannot be used."""

        def load(self) -> None:
            """Read the images in force that were not read yet."""

        def sweep(self) -> None:
            """Delete images that are not in force."""


# Waiting readings become durable together, when so many wait or the first has waited so long.
_SYNC_COUNT = const(16)
_SYNC_MS = const(10000)
# A checkpoint lets older segments go: after so many records, or when segments become few.
_CHECKPOINT_RECORDS = const(2048)
_CHECKPOINT_ROOM = const(64)
# So many records at least are worth a checkpoint, however few segments are left.
_CHECKPOINT_LEAST = const(64)

# Images in force that could not be read are tried again so often.
_IMAGES_MS = const(20000)

_QUIET_MS = const(30000)
_REST_MS = const(1000)
_TICKS_MASK = const(0x1FFFFFFF)
_MOVES_MASK = const(0xFFFF)


class Keeper:
    """Keeps `rows` and `images` by `journal` and `checkpoint`.

    moves               changes as long as records become durable in time
    checkpoint_records  a checkpoint is due after so many
    """

    def __init__(
        self, journal: "Journal", checkpoint: "Checkpoint", rows: "Rows", images: "Images"
    ) -> None:
        self.moves = 0
        self.checkpoint_records = _CHECKPOINT_RECORDS
        self._journal = journal
        self._checkpoint = checkpoint
        self._rows = rows
        self._images = images
        self._waits_ticks = -1
        self._images_ticks = 0
        # Images are swept when both checkpoints name the ones in force.
        self._saved_changes = -1

    def recover(self, replay: "Callable[[bytearray], None]", feed: "Callable[[], None]") -> int:
        """Bring the tables to where the journal ends; return how many records are lost.

        `replay` gives the tables the effect of one record; `feed` is called before each.
        """
        journal = self._journal
        checkpoint = self._checkpoint
        self._rows.recount(checkpoint.load())
        self._images.load()
        journal.recover()
        if journal.durable_seq < checkpoint.seq:
            journal.continue_at(checkpoint.seq + 1)
        buf = bytearray(RECORD_SIZE)
        # Without a checkpoint, what the journal has let go is not known any more.
        lost = 0 if checkpoint.seq else journal.first_seq - 1
        for seq in range(max(journal.first_seq, checkpoint.seq + 1), journal.durable_seq + 1):
            feed()
            if journal.read_into(seq, buf):
                replay(buf)
            else:
                lost += 1
        return lost

    def step(self, now_ticks: int, acked_seq: int) -> int:
        """Make what waits durable in time; let go what is known above and in a checkpoint.

        The head-end has all records up to `acked_seq`, -1: there is none. Return for how many ms
        there is nothing to do.
        """
        journal = self._journal
        count = journal.count
        if count == 0:
            self._waits_ticks = -1
            self._move()
        elif self._waits_ticks < 0:
            self._waits_ticks = now_ticks
        elif count >= _SYNC_COUNT or (now_ticks - self._waits_ticks) & _TICKS_MASK >= _SYNC_MS:
            journal.sync()
            self._waits_ticks = -1
            self._move()
        seq = min(acked_seq, self._checkpoint.older_seq)
        if journal.first_seq <= seq:
            journal.drop(seq)
        unkept = journal.durable_seq - self._checkpoint.seq
        if unkept >= self.checkpoint_records or (
            journal.room < _CHECKPOINT_ROOM and unkept >= _CHECKPOINT_LEAST
        ):
            self.save()
        if self._images.is_troubled:
            self._load_images(now_ticks)
        if journal.count == 0:
            return _QUIET_MS
        if self._waits_ticks < 0:
            return _REST_MS
        return max(_REST_MS, _SYNC_MS - ((now_ticks - self._waits_ticks) & _TICKS_MASK))

    def _load_images(self, now_ticks: int) -> None:
        """Try once more, now and then, to read what could not be read."""
        if (now_ticks - self._images_ticks) & _TICKS_MASK >= _IMAGES_MS:
            self._images_ticks = now_ticks
            self._images.load()

    def _move(self) -> None:
        self.moves = (self.moves + 1) & _MOVES_MASK

    def save(self) -> bool:
        """Write a checkpoint of everything; false where the storage refuses."""
        journal = self._journal
        if not journal.sync():
            return False
        saved_seq = self._checkpoint.seq
        if not self._checkpoint.save(journal.durable_seq, self._rows.count):
            return False
        if self._checkpoint.seq == saved_seq:
            return True  # nothing was written: the older one may still name another image
        changes = self._images.changes
        if self._saved_changes == changes:
            self._images.sweep()
        self._saved_changes = changes
        return True
