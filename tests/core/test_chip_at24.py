"""Goal: the driver fills an AT24Cxx page by page, waits for each, and ends even when the chip does
not.

Method: a simulated chip in virtual time: all alignments, both widths of address, write times to
beyond the limit, a bus without a chip, and a page torn at each byte.
"""

from card.chips import outcome
from card.chips.at24 import At24
from harness import check, equal
from silicon import Time, run
from silicon_at24 import Silicon


class Bench:
    """This is a chip and its driver."""

    def __init__(self, size: int = 256, page_size: int = 8) -> None:
        self.time = Time()
        self.chip = Silicon(self.time, size, page_size)
        self.driver = At24(self.chip, size, page_size)

    def read(self, offset: int, size: int) -> "bytes | int":
        """Return the bytes read, or the outcome."""
        buf = bytearray(size)
        ended = run(self.time, self.driver.read(offset, size, buf))
        return bytes(buf) if ended == outcome.OK else ended

    def write(self, offset: int, data: bytes) -> int:
        return run(self.time, self.driver.write(offset, len(data), bytearray(data)))


def test_every_alignment_stays_within_its_pages() -> None:
    for offset in range(17):
        for size in range(19):
            bench = Bench()
            equal(run(bench.time, bench.driver.connect()), outcome.OK)
            data = bytes(range(1, size + 1))
            equal(bench.write(offset, data), outcome.OK)
            expected = b"\xff" * offset + data + b"\xff" * (256 - offset - size)
            equal(bytes(bench.chip.memory), expected, (offset, size))
            equal(bench.chip.pages, (offset + size + 7) // 8 - offset // 8 if size else 0)
            equal(bench.read(offset, size), data)


def test_address_bits_in_the_device_and_in_two_bytes() -> None:
    for size, page_size in ((1024, 16), (2048, 16), (4096, 32), (8192, 32)):
        bench = Bench(size, page_size)
        data = bytes([index & 0xFF for index in range(100)])
        for offset in (200, size - 100):
            equal(bench.write(offset, data), outcome.OK)
            equal(bytes(bench.chip.memory[offset : offset + 100]), data)
            equal(bench.read(offset, 100), data)


def test_the_write_time_is_waited_out() -> None:
    for write_us in (0, 1500, 5000, 10000, 19000):
        bench = Bench()
        bench.chip.write_us = write_us
        equal(bench.write(0, bytes(32)), outcome.OK, write_us)
        check(bench.time.now_us >= 4 * write_us)
    equal(bench.chip.nacks > 10, True)


def test_a_chip_that_never_comes_back() -> None:
    bench = Bench()
    bench.chip.write_us = -1
    equal(bench.write(0, bytes(32)), outcome.SILENT)
    check(bench.time.now_us < 40000)
    equal(bench.read(0, 1), outcome.SILENT)
    # The driver also ends when time stands still.
    bench = Bench()
    bench.chip.write_us = -1
    equal(run(bench.time, bench.driver.write(0, 1, bytearray(1)), 0), outcome.SILENT)
    check(bench.chip.nacks < 1000)


def test_no_chip() -> None:
    bench = Bench()
    bench.chip.inserted = 0
    equal(run(bench.time, bench.driver.connect()), outcome.ABSENT)
    equal(bench.read(0, 1), outcome.SILENT)
    equal(bench.write(0, b"\x00"), outcome.SILENT)


def test_beyond_the_end() -> None:
    bench = Bench()
    for offset, size in ((256, 1), (0, 257), (-1, 1), (255, 2)):
        equal(bench.read(offset, size), outcome.OUT_OF_RANGE)
        equal(bench.write(offset, bytes(size)), outcome.OUT_OF_RANGE)
    equal(bench.chip.pages, 0)


def test_a_page_torn_at_each_byte_is_told_and_can_be_written_again() -> None:
    for cut in range(8):
        bench = Bench()
        bench.chip.tear = cut
        equal(bench.write(4, bytes(16)), outcome.SILENT, cut)
        bench.chip.tear = -1
        bench.chip.inserted = 1
        equal(bench.write(4, bytes(16)), outcome.OK)
        equal(bytes(bench.chip.memory[:21]), b"\xff" * 4 + bytes(16) + b"\xff")
