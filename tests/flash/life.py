"""Measure what 256 meters cost the flash, and how long it lasts without a head-end.

    export MICROPYPATH=firmware:tests/core:.frozen
    micropython tests/flash/life.py wear BLOCKS DAYS
    micropython tests/flash/life.py outage BLOCKS
    micropython tests/flash/life.py packed BLOCKS

Runs on a real MicroPython: the product's own Books, Ledger, Journal, Checkpoint, Keeper and
LittleStorage on its own littlefs, over a block device in memory that counts what is programmed
and erased. tools/budget.py runs it and explains the figures.

The workload: 256 meters are read every 15 minutes, one every half a second, and draw 100 to 900 W.
Half of them are charged by one register, the others by peak and valley with the total above; each
reading is charged by a tariff of three tiers. Shortly after midnight each meter's freeze is
recorded, and the items of concentrator/line/items.py; the weekly items are recorded for a
seventh of the meters. Where there is a head-end, it has everything that is durable at once.
"""

import gc
import sys
from array import array

import ffi
import uctypes
from boards.littlefs import LittleStorage, open_filesystem
from concentrator.books.books import Books
from concentrator.books.doubt import DOUBTED
from concentrator.books.registry import Registry
from concentrator.books.tariffs import Tariffs, name_of
from concentrator.line.items import ITEMS
from concentrator.storage.checkpoint import Checkpoint
from concentrator.storage.journal import Journal
from concentrator.storage.keeper import Keeper
from prepay.ledger import Ledger
from prepay.policy import Policy
from tariff_images import MONTHLY, image, ladder, terms

BLOCK_SIZE = 4096
METERS = 256
INTERVAL_S = 900
DAY_S = 86400
# 2026-01-02 00:00.
START_T2000 = 820540800
TICKS_MASK = 0x1FFFFFFF
# A status word has one value, voltages have three.
VALUES = {0x0201FF00: 3}

# Searching for free memory behind much garbage takes ten times as long as all else.
gc.threshold(65536)
_malloc = ffi.open(None).func("P", "malloc", "L")
_ERASED = b"\xff" * BLOCK_SIZE


class Flash:
    """This block device in memory counts its operations."""

    def __init__(self, blocks: int) -> None:
        self.blocks = blocks
        self.erased = array("I", bytes(4 * blocks))
        self.programmed = 0
        size = BLOCK_SIZE * blocks
        # They are not on the heap, which is small and quickly searched.
        self._data = memoryview(uctypes.bytearray_at(_malloc(size), size))
        for block in range(blocks):
            self._data[block * BLOCK_SIZE : (block + 1) * BLOCK_SIZE][:] = _ERASED

    def readblocks(self, block: int, buf: bytearray, offset: int = 0) -> int:
        """Fill `buf`."""
        start = block * BLOCK_SIZE + offset
        buf[:] = self._data[start : start + len(buf)]
        return 0

    def writeblocks(self, block: int, buf: bytearray, offset: int = 0) -> int:
        """Program `buf`."""
        self.programmed += len(buf)
        start = block * BLOCK_SIZE + offset
        # The slice is cut out first: MicroPython also moves all that stands behind a slice.
        self._data[start : start + len(buf)][:] = buf
        return 0

    def ioctl(self, operation: int, argument: int) -> int:
        """Answer littlefs: 4 the number of blocks, 5 their size, 6 erase one."""
        if operation == 4:
            return self.blocks
        if operation == 6:
            self.erased[argument] += 1
        return BLOCK_SIZE if operation == 5 else 0


class CountingStorage(LittleStorage):
    """This storage counts the bytes of the journal, framing included."""

    journal_bytes = 0

    def append(self, name: str, buf: "bytearray | memoryview | bytes", size: int) -> bool:
        """Add bytes to the file."""
        if name[0] == "j":
            self.journal_bytes += size
        return super().append(name, buf, size)


class Life:
    """A concentrator of METERS meters has no lines here; `is_away`: no head-end acknowledges."""

    def __init__(self, blocks: int, is_away: bool) -> None:
        self.flash = Flash(blocks)
        self.storage = storage = CountingStorage(open_filesystem(self.flash, 256, True))
        self.journal = journal = Journal(storage)
        registry = Registry(METERS)
        ledger = Ledger(METERS)
        tariffs = Tariffs(storage)
        self.books = books = Books(journal, registry, ledger, tariffs, Policy())
        checkpoint = Checkpoint(storage, METERS)
        checkpoint.add(0, tariffs.columns(), False)
        checkpoint.add(16, registry.columns())
        checkpoint.add(48, (books.illegal, books.standing), False)
        checkpoint.add(64, ledger.columns())
        self.keeper = Keeper(storage, journal, checkpoint, registry, tariffs)
        self.keeper.recover(books.replay, int, int)
        self.is_away = is_away
        self.ticks = 0
        self.readings = 0
        self._seed = 1
        self._used_wh = [array("i", bytes(4 * 5)) for _ in range(METERS)]
        books.t2000 = START_T2000
        for number, rates in ((1, 1), (2, 2)):
            data = self._image(rates)
            tariffs.begin(len(data))
            tariffs.put(0, data)
            tariffs.store(number, name_of(data))
            if not books.set_tariff(number, name_of(data), len(data)):
                raise ValueError("no tariff")
        for index in range(METERS):
            self._register(index)

    def _image(self, rates: int) -> bytes:
        prices = (56800000, 28800000, 61800000, 33800000, 86800000, 58800000)
        tiers = ladder((230000, 400000), prices[: 3 * rates])
        return image(rates, 3, (tiers,), (terms(0, MONTHLY),))

    def _register(self, index: int) -> None:
        row = bytearray(17)
        row[0] = row[6] = index & 0xFF
        row[1] = row[7] = (index >> 8) + 1
        row[12] = 1 + index % 2
        row[15] = 1
        if not self.books.set_meter(index, row):
            raise ValueError("not registered")

    def _draw(self, index: int) -> "array[int]":
        """Return the registers after another interval: the total, then peak and valley."""
        self._seed = (self._seed * 1103515245 + 12345) & 0x7FFFFFFF
        used_wh = (25 + (self._seed >> 16) % 200) // 10 * 10
        values = self._used_wh[index]
        values[0] += used_wh
        values[1 + (self.books.t2000 // 28800) % 2] += used_wh
        return values

    def step(self, passed_ms: int) -> None:
        """Let this much time pass, and have the keeper do what is due."""
        self.ticks = (self.ticks + passed_ms) & TICKS_MASK
        acked_seq = 0 if self.is_away else self.journal.durable_seq
        while self.keeper.step(self.ticks, acked_seq) == 0:
            pass

    def round(self) -> None:
        """Read every meter in fifteen minutes; nothing more is due until the next round."""
        books = self.books
        start_t2000 = books.t2000
        for index in range(METERS):
            books.t2000 = start_t2000 + index // 2
            values = self._draw(index)
            outcome = books.charge_reading(index, values, 5, 0)
            if outcome == DOUBTED:
                outcome = books.charge_reading(index, values, 5, 0)  # a first one is read twice
            if outcome > 1:
                raise ValueError("reading refused")
            self.readings += 1
            self.step(500)
        if start_t2000 % DAY_S == 0:
            for index in range(METERS):
                self._note_day(index)
        for _ in range(13):
            self.step(INTERVAL_S * 1000 // 26)
        books.t2000 = start_t2000 + INTERVAL_S

    def _note_day(self, index: int) -> None:
        """Record the freeze and the items of a meter."""
        books = self.books
        midnight_t2000 = books.t2000 // DAY_S * DAY_S
        day = midnight_t2000 // DAY_S
        values = self._used_wh[index]
        books.charge_freeze(index, midnight_t2000, values, 3 if index % 2 else 1)
        for identifier, _, every in ITEMS:
            if (day + index) % every == 0:
                count = VALUES.get(identifier, 1)
                books.note_item(index, identifier, array("i", (2200 + index % 7,) * count), count)
        self.step(500)


def wear(blocks: int, days: int) -> None:
    """Print what a reading programs and erases, and the erasures of the hottest block."""
    life = Life(blocks, False)
    programmed = life.flash.programmed
    erased = array("I", life.flash.erased)
    readings = life.readings
    for _ in range(days * DAY_S // INTERVAL_S):
        life.round()
    readings = life.readings - readings
    new = [life.flash.erased[at] - erased[at] for at in range(blocks)]
    print(life.flash.programmed - programmed, sum(new) * BLOCK_SIZE, readings, max(new))


def outage(blocks: int) -> None:
    """Print after how many seconds without a head-end the first record had to go."""
    life = Life(blocks, True)
    while not life.journal.let_go:
        life.round()
    print(life.books.t2000 - START_T2000, life.journal.durable_seq)


def packed(blocks: int) -> None:
    """Print the bytes of a day's readings in the journal, framing included, and their count.

    The meters are some years old, and the accounts stand in all parts of their month. So the
    numbers are as long as they are for most of a village's life.
    """
    life = Life(blocks, False)
    ledger = life.books.ledger
    for index in range(METERS):
        total_wh = 4000000 + 45000 * index
        for register, wh in enumerate((total_wh, total_wh // 3 * 2, total_wh // 3)):
            life._used_wh[index][register] = wh // 10 * 10
    life.round()
    for index in range(METERS):
        ledger.debit_fen[index] = 200000 + 2500 * index
        ledger.used_wh[index] = 1400 * index
    size = life.storage.journal_bytes
    readings = life.readings
    for _ in range(DAY_S // INTERVAL_S - 1):
        life.round()
    life.journal.sync()
    print(life.storage.journal_bytes - size, life.readings - readings)


if sys.argv[1] == "wear":
    wear(int(sys.argv[2]), int(sys.argv[3]))
elif sys.argv[1] == "packed":
    packed(int(sys.argv[2]))
else:
    outage(int(sys.argv[2]))
