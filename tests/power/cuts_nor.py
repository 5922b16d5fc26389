"""Goal: on a NOR flash the programs' size of the board decides: with whole pages no number of
power cuts loses a record; with half pages records are lost without a single cut.

Method: the journal on host/sim/nor.py, in lives that end with a power cut at a random operation:
records in syncs of random sizes, checkpoint-like files between them, old records dropped. After
each restart everything that was reported durable is read back. Then the same with bad blocks of
each of littlefs' five kinds, and with bits that reading turns. DIANKA_CUTS is the number of cuts.
"""

import os

from boards import BoardError
from boards.littlefs import LittleStorage, open_filesystem
from concentrator.storage.journal import Journal
from cut_flash import BLOCK_SIZE, TEARS, Nor, PowerCut
from harness import check, equal
from nor import BAD, PAGE, PROGRAM_ERROR, READ_ERROR
from uplink import record
from uplink.record import PAYLOAD, PAYLOAD_SIZE, RECORD_SIZE

CUTS = int(os.getenv("DIANKA_CUTS") or "300")
BLOCKS = 48
SEGMENTS = 16
# A life without a cut ends after this many syncs, as a restart would end it.
SYNCS = 40


class Dice:
    """These random numbers are the same in every run."""

    def __init__(self, seed: int) -> None:
        self._state = seed

    def below(self, limit: int) -> int:
        self._state = (self._state * 1103515245 + 12345) & 0x3FFFFFFF
        return (self._state >> 12) % limit


class Station:
    """This is a journal over many lives on one flash, with the records reported as durable.

    lost    records that were durable and cannot be read any more
    """

    def __init__(self, seed: int, page: int = PAGE, bad: "dict[int, str] | None" = None) -> None:
        self.dice = Dice(seed)
        self.data = bytearray(b"\xff" * (BLOCKS * BLOCK_SIZE))
        self.page = page
        self.bad = bad or {}
        self.durable_seq = self.dropped_seq = 0
        self.lost = self.rotten = self.turned = 0
        # This maps seq to the record's content; one that was not durable may be written again.
        self.added: dict[int, int] = {}
        flash = Nor(self.data, page=page)
        LittleStorage(open_filesystem(flash, page, True))
        self.unaligned = 0

    def live(self, cut_at: int, tear: str, disturb_reads: int = 0) -> bool:
        """Run from a start to the cut or to a restart after SYNCS; return whether it was cut."""
        flash = Nor(self.data, cut_at, tear, self.page, disturb_reads=disturb_reads)
        flash.bad = self.bad
        try:
            storage = LittleStorage(open_filesystem(flash, self.page))
            journal = Journal(storage, SEGMENTS)
            journal.recover()
            self._verify(journal)
            for number in range(SYNCS):
                self._work(storage, journal, number)
        except PowerCut:
            return True
        finally:
            self.unaligned += flash.unaligned
            self.turned += flash.disturbed
        return False

    def _work(self, storage: LittleStorage, journal: Journal, number: int) -> None:
        for _ in range(1 + self.dice.below(16)):
            offset = journal.place()
            if offset < 0:
                break
            seq = journal.next_seq
            # With this many bytes in a record a segment takes some 70 of them.
            value = self.dice.below(256)
            for place in range(offset + PAYLOAD, offset + PAYLOAD + PAYLOAD_SIZE):
                journal.buf[place] = value ^ (place * 37 & 0xFF)
            journal.buf[offset + PAYLOAD] = value
            self.added[seq] = value
            journal.add(800000000 + seq, record.READING, seq & 0x3F)
            self.durable_seq = max(self.durable_seq, journal.durable_seq)
        if journal.sync():
            self.durable_seq = journal.durable_seq
        if number % 8 == 0:
            table = bytes((number,)) * (600 + self.dice.below(3000))
            storage.replace("table", table, len(table))
        if self.durable_seq - journal.first_seq > 500:
            self.dropped_seq = self.durable_seq - 250
            while journal.drop(self.dropped_seq):
                pass

    def _verify(self, journal: Journal) -> None:
        """Count what is lost, and go on from what is there."""
        buf = bytearray(RECORD_SIZE)
        first = max(journal.first_seq, 1)
        self.lost += max(self.durable_seq - journal.durable_seq, 0)
        self.lost += max(first - self.dropped_seq - 1, 0)
        for seq in range(first, journal.durable_seq + 1):
            if not journal.read_into(seq, buf):
                self.lost += seq <= self.durable_seq
                continue
            equal(record.seq_at(buf, 0), seq)
            equal(buf[PAYLOAD], self.added[seq], seq)
        self.rotten += journal.rotten
        self.durable_seq = journal.durable_seq
        self.dropped_seq = first - 1
        self.added = {seq: self.added[seq] for seq in self.added if seq >= first}


def test_half_a_page_at_a_time_loses_records() -> None:
    """The chip has pages of 256 bytes and littlefs is told 128: records go without a power cut."""
    for seed in (1, 2, 3):
        station = Station(seed)
        for _ in range(20):
            if spoils(station, PAGE // 2):
                break
        check(station.lost > 0, seed)
        whole = Station(seed)
        for _ in range(20):
            check(not spoils(whole, PAGE))
        equal(whole.lost, 0)


def spoils(station: Station, told: int) -> bool:
    """Return whether a life with programs of `told` bytes on whole pages has lost something."""
    flash = Nor(station.data)
    try:
        storage = LittleStorage(open_filesystem(flash, told))
        journal = Journal(storage, SEGMENTS)
        journal.recover()
        station._verify(journal)
        for number in range(SYNCS):
            station._work(storage, journal, number)
    except (OSError, BoardError):
        # The file system itself is lost, and every record with it.
        station.lost += station.durable_seq
    equal(flash.unaligned > 0, told < PAGE)
    return station.lost > 0


def test_whole_pages_lose_nothing_in_any_cut() -> None:
    station = Station(7)
    cuts = 0
    while cuts < CUTS:
        tear = TEARS[station.dice.below(len(TEARS))]
        if station.live(station.dice.below(120), tear):
            cuts += 1
        equal(station.lost, 0, ("cuts", cuts))
    check(not station.live(-1, "nothing"))
    equal((station.lost, station.rotten, station.unaligned), (0, 0, 0))
    print("nor:", cuts, "cuts,", station.durable_seq, "records, none lost")


def test_a_chip_that_refuses_what_is_not_aligned_is_written_all_the_same() -> None:
    data = bytearray(b"\xff" * (BLOCKS * BLOCK_SIZE))
    storage = LittleStorage(open_filesystem(Nor(data, refuses=True), PAGE, True))
    for number in range(100):
        check(storage.append("j1", bytes((number,)) * 77, 77), number)
    equal((storage.failures, storage.size("j1")), (0, 7700))


def test_bad_blocks_of_every_kind() -> None:
    """littlefs writes elsewhere; what a block refused or spoiled is not reported as durable."""
    for kind in BAD:
        if kind == READ_ERROR:
            continue
        # The first two blocks hold the superblock; no file system stands without them.
        station = Station(11, bad=dict.fromkeys(range(2, BLOCKS, 5), kind))
        for _ in range(6):
            station.live(30 + station.dice.below(200), "half")
            equal(station.lost, 0, kind)
        check(station.durable_seq > 200, (kind, station.durable_seq))


def test_a_block_that_cannot_be_read_is_counted_not_guessed() -> None:
    data = bytearray(b"\xff" * (BLOCKS * BLOCK_SIZE))
    flash = Nor(data)
    storage = LittleStorage(open_filesystem(flash, PAGE, True))
    for number in range(8):
        check(storage.append("j" + str(number), bytes((number,)) * 9000, 9000))
    again = Nor(data)
    again.bad = dict.fromkeys(range(9, BLOCKS, 7), READ_ERROR)
    storage = LittleStorage(open_filesystem(again, PAGE))
    buf = bytearray(9000)
    failed = 0
    for number in range(8):
        size = storage.read_into("j" + str(number), 0, buf, 9000)
        if size < 0:
            failed += 1
        else:
            equal((size, bytes(buf)), (9000, bytes((number,)) * 9000))
    check(0 < failed < 8, failed)
    equal(storage.failures, failed)


def test_bits_that_reading_turns_are_never_believed() -> None:
    """A record with a turned bit is lost; none is read as another record."""
    station = Station(13)
    for _ in range(20):
        try:
            station.live(-1, "nothing", 400)
        except Exception:
            # The tables of littlefs are hit as well; littlefs then refuses and guesses nothing.
            break
    check(station.turned > 10, station.turned)


def test_a_program_error_is_no_reason_to_lose_what_was_there() -> None:
    data = bytearray(b"\xff" * (BLOCKS * BLOCK_SIZE))
    flash = Nor(data)
    storage = LittleStorage(open_filesystem(flash, PAGE, True))
    check(storage.append("j1", b"kept" * 300, 1200))
    flash.bad = dict.fromkeys(range(2, BLOCKS), PROGRAM_ERROR)
    check(not storage.append("j1", b"new" * 300, 900))
    flash.bad = {}
    buf = bytearray(1300)
    storage = LittleStorage(open_filesystem(Nor(data), PAGE))
    equal(storage.read_into("j1", 0, buf, 1300), 1200)
