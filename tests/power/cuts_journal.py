"""Goal: the journal keeps every record it reported durable, keeps none half, reuses no number.

Method: a script of adding, syncing, pairing and dropping records runs on a flash whose power
fails at its first, second, third, .. block operation, torn in three ways; after each the journal
is recovered on the flash mounted again. What it holds is compared with what was added and what was
reported; then it goes on, loses power once more while it does, and is recovered again.
"""

from concentrator.storage.journal import JOINED, Journal
from concentrator.storage.segments import segment_name
from cut_flash import TEARS, Flash, PowerCut, blank, cuts, mounted
from harness import check, equal, raises
from uplink import record
from uplink.record import PAYLOAD, PAYLOAD_SIZE, RECORD_SIZE

SEGMENTS = 8
# A segment takes at least this many records when each record is synced by itself.
SYNCED_RECORDS = 58


class Life:
    """A journal between one start and the loss of power.

    added       seq -> (life, joined) of each record ever added; the newest life counts
    durable     newest record that was reported durable in any life
    dropped     newest record whose deletion was asked for
    """

    def __init__(self, flash: Flash, number: int, before: "Life | None" = None) -> None:
        self.number = number
        self.added: dict[int, tuple[int, bool]] = before.added if before else {}
        self.durable = before.durable if before else 0
        self.dropped = before.dropped if before else 0
        self.journal = Journal(mounted(flash), SEGMENTS)
        self.journal.recover()

    def add(self, joined: bool = False) -> None:
        journal = self.journal
        seq = journal.next_seq
        check(seq > self.durable, ("number used twice", seq))
        offset = journal.place()
        check(offset >= 0, "no place")
        # With this many bytes in a record a segment takes some 70 of them.
        for place in range(offset + PAYLOAD, offset + PAYLOAD + PAYLOAD_SIZE):
            journal.buf[place] = 0xFF
        journal.buf[offset + PAYLOAD] = self.number
        journal.buf[offset + PAYLOAD + 1] = seq & 0xFF
        self.added[seq] = (self.number, joined)
        journal.add(1000 + seq, record.CARD, seq & 0x1FF, JOINED if joined else 0)
        self.durable = max(self.durable, journal.durable_seq)

    def sync(self) -> None:
        check(self.journal.sync(), "sync")
        self.durable = self.journal.durable_seq

    def drop(self, seq: int) -> None:
        self.dropped = max(self.dropped, seq)
        while self.journal.drop(seq):
            pass

    def run(self) -> None:
        for turn in range(9):
            for _ in range(7):
                self.add()
            self.sync()
            self.add(joined=True)
            self.add()
            self.sync()
            for _ in range(24):
                self.add()
            self.sync()
            if turn % 3 == 2:
                self.drop(self.durable - 40)

    def verify(self, what: object) -> None:
        """Compare what the journal recovered with what the lives before have added."""
        journal = self.journal
        first, last = journal.first_seq, journal.durable_seq
        check(last >= self.durable, (what, "lost", last, self.durable))
        check(first <= self.dropped + 1, (what, "dropped too much", first, self.dropped))
        buf = bytearray(RECORD_SIZE)
        for seq in range(max(first, 1), last + 1):
            check(journal.read_into(seq, buf), (what, "unreadable", seq))
            equal(record.seq_at(buf, 0), seq, what)
            life, joined = self.added[seq]
            equal((buf[PAYLOAD], buf[PAYLOAD + 1]), (life, seq & 0xFF), (what, seq))
            equal(record.flags_at(buf, 0), JOINED if joined else 0, (what, seq))
        if last >= first:
            check(not self.added[last][1], (what, "half a pair", last))
        self.durable = last


def rehearse(start: bytearray) -> int:
    """Return the number of operations of the whole script."""
    flash = Flash(bytearray(start))
    Life(flash, 0).run()
    return flash.operations


def test_a_cut_at_every_operation_and_another_after_it() -> None:
    start = blank()
    mounted(Flash(start))
    operations = rehearse(start)
    check(operations > 100, operations)
    for cut_at in cuts(operations):
        for number, tear in enumerate(TEARS):
            data = bytearray(start)
            first = Life(Flash(data, cut_at, tear), 0)
            raises(PowerCut, first.run)
            what = (cut_at, tear)
            # Recovery itself takes a few operations and has a test of its own.
            second = Life(Flash(data, 10 + (cut_at * 7 + number) % 40, tear), 1, first)
            second.verify(what)
            raises(PowerCut, second.run)
            third = Life(Flash(data), 2, second)
            third.verify(what)
            third.run()
            Life(Flash(data), 3, third).verify(what)


def test_recovery_changes_nothing() -> None:
    """Recovery deletes no segment, not even one without a record, until it has to make room."""
    start = blank()
    mounted(Flash(start))
    life = Life(Flash(start), 0)
    life.run()
    torn = bytearray(start)
    name = segment_name(life.journal.next_seq)
    check(mounted(Flash(torn)).append(name, b"torn", 4))
    before = bytes(torn)
    flash = Flash(torn)
    second = Life(flash, 1, life)
    second.verify("torn")
    equal((flash.operations, bytes(torn) == before), (0, True))
    second.run()
    Life(Flash(torn), 2, second).verify("behind what was torn")


def test_a_full_flash_refuses_and_keeps() -> None:
    start = blank()
    mounted(Flash(start))
    flash = Flash(start)
    life = Life(flash, 0)
    journal = life.journal
    life.add()
    while journal.sync():
        life.durable = journal.durable_seq
        life.add()
    check(life.durable >= SEGMENTS * SYNCED_RECORDS, life.durable)
    check(journal.failures > 0)
    Life(Flash(start), 1, life).verify("full")
    life.drop(100)
    life.sync()
    Life(Flash(start), 1, life).verify("room again")
