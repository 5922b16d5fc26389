"""Goal: a small flash never stops working: readings are taken, money is durable and checkpoints
are written, whether the head-end takes everything at once, is away, or is not there at all.

Method: journal, checkpoint and keeper on littlefs of 28 and 64 blocks, in weeks of a village of
which each meter is read every quarter of an hour. Bytes programmed and erased are counted.
"""

from array import array

from concentrator.books.registry import Registry
from concentrator.storage.checkpoint import Checkpoint
from concentrator.storage.journal import Journal
from concentrator.storage.keeper import Keeper
from cut_flash import BLOCK_SIZE, Memory, installed
from harness import check, equal
from prepay.ledger import Ledger
from uplink import packing, record
from uplink.packing import GAP, Unpacker
from uplink.record import PAYLOAD, RECORD_SIZE

METERS = 16
QUARTER_S = 900
QUARTERS_A_DAY = 96
TICKS_MASK = 0x1FFFFFFF
AT_ONCE, AWAY, ALONE = "at once", "away", "alone"


class Images:
    """These tariffs never change."""

    changes = 0
    is_troubled = False

    def load(self) -> None:
        """Do nothing: there is no image."""

    def sweep(self) -> None:
        """Do nothing, since there is no image."""


class Station:
    """This is what is kept on a flash of `blocks`; `head_end` is AT_ONCE, AWAY or ALONE."""

    def __init__(self, blocks: int, head_end: str, meters: int = METERS) -> None:
        self.meters = meters
        self.flash = Memory(bytearray(b"\xff" * (blocks * BLOCK_SIZE)))
        self.flash.blocks = blocks
        self.storage = installed(self.flash)
        self.head_end = head_end
        self.registry = Registry(meters)
        self.registry.count = meters
        self.ledger = Ledger(meters)
        self.journal = Journal(self.storage)
        self.checkpoint = Checkpoint(self.storage, meters)
        self.checkpoint.add(16, self.registry.columns())
        self.checkpoint.add(64, self.ledger.columns())
        self.keeper = Keeper(self.storage, self.journal, self.checkpoint, self.registry, Images())
        self.keeper.recover(lambda buf: None, lambda: None, lambda: 1234567)
        self.ticks = 0
        self.quarter = 0
        self.refused = 0
        self.money = array("I")

    def step(self) -> None:
        """Run some minutes of the keeper, so that a round takes a quarter of an hour."""
        for _ in range(60):
            acked_seq = {AT_ONCE: self.journal.durable_seq, AWAY: 0, ALONE: -1}[self.head_end]
            idle_ms = self.keeper.step(self.ticks, acked_seq)
            self.ticks = (self.ticks + max(idle_ms, 1)) & TICKS_MASK
            if idle_ms > 1000:
                break
        self.ticks = (self.ticks + 16000 * QUARTER_S // self.meters) & TICKS_MASK

    def live(self, days: int, quarters_a_day: int = QUARTERS_A_DAY) -> None:
        """Read every meter each quarter of an hour; one account pays every day."""
        journal = self.journal
        for _ in range(days * quarters_a_day):
            self.quarter += 1
            t2000 = 820540800 + self.quarter * QUARTER_S
            for index in range(self.meters):
                if journal.is_short or journal.place() < 0:
                    self.refused += 1
                    continue
                self._fill(self.quarter * 137 + index)
                journal.add(t2000 + index, record.READING, index)
                if self.quarter % QUARTERS_A_DAY == index:
                    check(journal.place() >= 0)
                    self.money.append(journal.next_seq)
                    self._fill(index + 1)
                    journal.add(t2000 + index, record.TOP_UP, index)
                    check(journal.sync(), "money is not durable")
                if index % 16 == 15:
                    self.step()

    def _fill(self, number: int) -> None:
        """Fill in a payload like that of a reading: some 18 bytes when it is packed."""
        buf = self.journal.buf
        at = PAYLOAD
        for value in (number, number * 7919 % 9999991, 0xFFFF0000, number * 10, number * 50):
            buf[at : at + 4] = (value & 0xFFFFFFFF).to_bytes(4, "little")
            at += 4

    def check_kept(self, may_drop: bool) -> None:
        """Check that each number is a record or a gap with a reason, and that money is kept."""
        journal = self.journal
        reader = Unpacker(bytearray(packing.GROUP_LIMIT))
        one = bytearray(RECORD_SIZE)
        kept = set()
        seq = journal.first_seq
        while seq <= journal.durable_seq:
            check(journal.group_into(seq, reader._buf, 0, packing.GROUP_LIMIT) > 0, seq)
            check(reader.open(0, packing.GROUP_LIMIT) > 0)
            kind = reader.next(one)
            while kind >= GAP:
                if kind == GAP:
                    equal(reader.reasons & packing.UNREADABLE, 0, reader.seq)
                else:
                    kept.add(reader.seq)
                kind = reader.next(one)
            seq = journal.group_end
        equal(journal.rotten, 0)
        for seq in self.money:
            check(seq in kept or (may_drop and seq < journal.first_seq), seq)


def lives(blocks: int, head_end: str, days: int) -> Station:
    """Return a station that has run this long on a flash of this size, with one restart."""
    station = Station(blocks, head_end)
    station.live(days)
    equal(station.refused, 0, (blocks, head_end))
    equal(station.storage.failures, 0, (blocks, head_end))
    check(station.checkpoint.older_seq > 0, "no checkpoints")
    check(station.journal.sync())
    station.check_kept(head_end != AWAY)
    journal = Journal(station.storage)
    journal.recover()
    equal(journal.durable_seq, station.journal.durable_seq)
    equal(journal.first_seq, station.journal.first_seq)
    return station


def test_a_head_end_that_takes_everything() -> None:
    """Checkpoints are written in time, so that acknowledged records can be deleted."""
    for blocks in (28, 64):
        lives(blocks, AT_ONCE, 20)


def test_a_head_end_that_is_away() -> None:
    """Old readings make room for new ones, and money stays."""
    for blocks in (28, 64):
        station = lives(blocks, AWAY, 40)
        check(station.journal.let_go > 0)
        equal(station.journal.first_seq, 1)


def test_the_last_blocks_of_a_large_flash_are_counted() -> None:
    """littlefs counts the blocks of the many folders twice, more than there are in all."""
    station = Station(384, AWAY, 128)
    journal = station.journal
    while journal.room > 30:
        station.live(1, 8)
    total, free = station.storage.blocks()
    equal(total, 384)
    check(abs(free - journal.free_blocks) <= 4, (free, journal.free_blocks))
    equal(station.refused, 0)


def test_no_head_end() -> None:
    for blocks in (28, 64):
        station = lives(blocks, ALONE, 40)
        check(station.journal.first_seq > 1)


def test_what_a_reading_wears_out() -> None:
    """Check the bytes programmed and erased for each reading: 256 meters on 1.5 MiB."""
    station = Station(384, AT_ONCE, 256)
    station.live(1)
    flash = station.flash
    erased, programmed = flash.erased, flash.programmed
    station.live(2)
    equal(station.refused, 0)
    readings = 2 * QUARTERS_A_DAY * station.meters
    programmed = (flash.programmed - programmed) // readings
    erased = (flash.erased - erased) // readings
    print("room: a reading programs", programmed, "and erases", erased, "bytes")
    check(programmed <= 60, programmed)
    check(erased <= 100, erased)


def test_how_long_a_head_end_may_be_away() -> None:
    """Check the hours until the first record is deleted, of 256 meters on 1 MiB."""
    station = Station(256, AWAY, 256)
    hours = 0
    while not station.journal.let_go:
        station.live(1, 4)
        hours += 1
    print("room: 1 MiB lasts", hours, "hours")
    check(hours >= 40, hours)
    equal(station.refused, 0)
