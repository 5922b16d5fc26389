"""Goal: the driver reads and writes an SLE4442, never spends a try without need, and ends
whatever the chip does.

Method: the driver at the five lines of a simulated chip in virtual time: counts of clocks, the
error counter, protection, the card pulled at clocks through a whole write, held lines, a deaf chip
and one that never gets ready.
"""

import sys

from card.chips import outcome
from card.chips.sle4442 import Sle4442
from harness import check, equal
from silicon import Time, finish, run
from silicon_sle4442 import ATR, Silicon

PSC = b"\x12\x34\x56"
OURS = 32
STEP = 37 if sys.maxsize < 1 << 32 else 4  # an emulated board is slow


class Bench:
    """This is a chip and the driver at its lines."""

    def __init__(self, psc: bytes = PSC, own: bytes = PSC) -> None:
        self.time = Time()
        self.chip = chip = Silicon(self.time, psc)
        self.driver = Sle4442(
            chip.io, chip.clk, chip.rst, chip.detect, chip.power, self.time.delay_us, own
        )

    def connect(self) -> int:
        return run(self.time, self.driver.connect())

    def read(self, offset: int, size: int) -> "bytes | int":
        """Return the bytes read at `offset` of the image's part, or the outcome."""
        buf = bytearray(size)
        ended = run(self.time, self.driver.read(OURS + offset, size, buf))
        return bytes(buf) if ended == outcome.OK else ended

    def write(self, offset: int, data: bytes) -> int:
        """Write at `offset` of the image's part."""
        return run(self.time, self.driver.write(OURS + offset, len(data), bytearray(data)))


def test_connect_and_read_without_a_code() -> None:
    bench = Bench()
    for index in range(32, 256):
        bench.chip.memory[index] = index * 7 & 0xFF
    equal(bench.connect(), outcome.OK)
    equal(bench.driver.size, 256)
    equal(bench.read(0, 224), bytes(bench.chip.memory[32:]))
    equal(bench.read(223, 1), bytes(bench.chip.memory[255:]))
    equal(bench.read(5, 0), b"")
    equal(bench.chip.heard, [])
    equal(bench.chip.counter, 7)
    equal(bench.chip.early, 0, "no edge comes too soon for 50 kHz")


def test_write_takes_the_clocks_it_must_and_only_for_what_differs() -> None:
    bench = Bench()
    bench.connect()
    before = bytes(bench.chip.memory)
    equal(bench.write(10, b"\xff\x5a\x00\xff"), outcome.OK)
    equal(bench.chip.updates, 2)
    equal(bytes(bench.chip.memory), before[:43] + b"\x5a\x00" + before[45:])
    equal(bench.chip.counter, 7)
    equal(bench.driver.tries, 3)
    clocks = bench.chip.clocks
    equal(bench.write(11, b"\xa5"), outcome.OK)
    # The sum is one byte read, the command, and 255 clocks of erasing and writing.
    equal(bench.chip.clocks - clocks, (1 + 24 + 1 + 8) + (1 + 24 + 1) + 255)
    equal(bench.chip.early, 0)


def test_code_is_presented_once_an_insertion() -> None:
    bench = Bench()
    bench.connect()
    for value in range(5):
        bench.write(value, b"\x00")
    equal(bytes(bench.chip.heard), PSC)
    bench.connect()
    equal(bench.write(0, b"\x01"), outcome.OK)
    equal(bytes(bench.chip.heard), PSC + PSC)


def test_wrong_code_stops_before_the_last_try() -> None:
    bench = Bench(own=b"\x12\x34\x57")
    bench.connect()
    equal(bench.write(0, b"\x00"), outcome.WRONG_CODE)
    equal(bench.driver.tries, 2)
    equal(bench.write(0, b"\x00"), outcome.WRONG_CODE)
    equal(bench.driver.tries, 1)
    heard = len(bench.chip.heard)
    for _ in range(3):
        equal(bench.write(0, b"\x00"), outcome.LOCKED)
        bench.connect()
    equal(len(bench.chip.heard), heard)
    check(bench.chip.counter in (1, 2, 4), "one try is left")
    equal(bench.chip.memory[32], 0xFF)


def test_right_code_gives_all_tries_back() -> None:
    for counter in (3, 5, 6):
        bench = Bench()
        bench.chip.counter = counter
        bench.connect()
        equal(bench.write(0, b"\x00"), outcome.OK, counter)
        equal(bench.chip.counter, 7)


def test_no_code_for_a_card_that_has_one_try_or_none() -> None:
    for counter in (0, 1, 2, 4):
        bench = Bench()
        bench.chip.counter = counter
        bench.connect()
        equal(bench.write(0, b"\x00"), outcome.LOCKED, counter)
        equal(bench.chip.heard, [])
        equal(bench.chip.counter, counter)


def test_serial_number_counts_once_it_is_protected() -> None:
    bench = Bench()
    bench.chip.memory[8:16] = b"12345678"
    equal(bench.connect(), outcome.OK)
    equal(bytes(bench.driver.uid), bytes(8))
    equal(run(bench.time, bench.driver.write_serial(b"ABCDEFGH")), outcome.OK)
    equal(bench.connect(), outcome.OK)
    equal(bytes(bench.driver.uid), b"ABCDEFGH")
    run(bench.time, bench.driver.write_serial(b"abcdefgh"))
    equal(bench.connect(), outcome.OK)
    equal(bytes(bench.driver.uid), b"ABCDEFGH", "what is protected stays")
    bench.chip.protected[11] = 1
    bench.connect()
    equal(bytes(bench.driver.uid), bytes(8), "one free byte, and anyone could change it")


def test_beyond_the_ends() -> None:
    bench = Bench()
    bench.connect()
    for offset, size in ((224, 1), (0, 225), (300, 0)):
        equal(bench.read(offset, size), outcome.OUT_OF_RANGE)
        equal(bench.write(offset, bytes(size)), outcome.OUT_OF_RANGE)
    # The bytes of the chip itself can be read but not written.
    equal(bench.read(-32, 4), ATR)
    equal(bench.write(-1, b"\x00\x00"), outcome.OUT_OF_RANGE)
    equal(bench.read(-33, 1), outcome.OUT_OF_RANGE)
    equal(bench.chip.heard, [])


def test_pulled_at_any_clock_changes_one_byte_at_most() -> None:
    old = b"\x0f\xf0\x33"
    new = b"\xf0\x0f\xcc"
    bench = Bench()
    bench.chip.memory[32:35] = old
    bench.connect()
    start = bench.chip.clocks
    equal(bench.write(0, new), outcome.OK)
    clocks = bench.chip.clocks - start
    torn = 0
    for cut in range(1, clocks, STEP):
        bench = Bench()
        chip = bench.chip
        chip.memory[32:35] = old
        bench.connect()
        chip.pull_at = chip.clocks + cut
        ended = bench.write(0, new)
        check(ended in (outcome.STUCK, outcome.SILENT, outcome.WRONG_CODE, outcome.OK), ended)
        check(not bench.driver.there())
        found = bytes(chip.memory[32:35])
        wrong = 0
        for index in range(3):
            if found[index] not in (old[index], new[index]):
                wrong += 1
        check(wrong <= 1, (cut, found))
        torn += wrong
        chip.pull_at = -1
        chip.insert()
        equal(bench.connect(), outcome.OK)
        tries = {0: 0, 3: 2, 5: 2, 6: 2, 7: 3}[chip.counter]
        check(tries >= 2, "a pull costs one try at most")
        equal(bench.write(0, new), outcome.OK, cut)
        equal(bytes(chip.memory[32:35]), new)
        equal(chip.counter, 7)
    check(torn > 100 // STEP, "the cuts fell into erasing and writing")


def test_absent_and_bouncing() -> None:
    bench = Bench()
    bench.chip.inserted = 0
    equal(bench.connect(), outcome.ABSENT)
    bench.chip.inserted = 1
    steps = bench.driver.connect()
    steps.send(None)
    steps.send(bench.time.ticks())
    bench.chip.inserted = 0
    equal(finish(bench.time, steps), outcome.ABSENT)
    equal(bench.chip.clocks, 0, "no clock before the contacts rest")


def test_held_lines_and_chips_that_never_answer() -> None:
    bench = Bench()
    bench.chip.level = 0
    equal(bench.connect(), outcome.STUCK)
    bench.chip.level = 1
    equal(bench.connect(), outcome.SILENT)
    bench.chip.level = None
    equal(bench.connect(), outcome.OK)
    bench.chip.level = 0
    equal(bench.read(0, 8), outcome.STUCK)
    equal(bench.write(0, b"\x00"), outcome.STUCK)
    bench.chip.level = None
    bench.chip.deaf = True
    equal(bench.read(0, 4), b"\xff" * 4)
    bench.chip.deaf = False
    bench.connect()
    bench.chip.endless = True
    clocks = bench.chip.clocks
    equal(bench.write(0, b"\x00"), outcome.STUCK)
    check(bench.chip.clocks - clocks < 1000, "bounded")


def test_deaf_chip_takes_no_write() -> None:
    bench = Bench()
    bench.connect()
    bench.write(0, b"\x01")
    bench.chip.deaf = True
    equal(bench.write(0, b"\x00"), outcome.SILENT)


def test_other_chips_are_not_touched() -> None:
    for first in (b"\x92\x23", b"\xa2\x23", b"\x3b\x13", b"\x00\x01"):
        bench = Bench()
        bench.chip.memory[0:2] = first
        equal(bench.connect(), outcome.UNKNOWN)
        equal(bench.chip.heard, [])


def test_who_listens_learns_the_code_and_nothing_else() -> None:
    # For this reason no money depends on the code.
    bench = Bench(psc=b"\0\0\0")
    for _ in range(3):
        bench.chip.counter = 7
        equal(bench.connect(), outcome.OK)
        equal(bench.write(0, b"\x00"), outcome.WRONG_CODE)
    equal(bytes(bench.chip.heard), PSC * 3)
    equal(bench.chip.memory[32], 0xFF)
