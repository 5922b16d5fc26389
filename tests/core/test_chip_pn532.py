"""Goal: the PN532 is driven over UART and SPI, tags in its field are read and written, and any
wrong answer of chip or card only ends the operation with a named outcome.

Method: a simulated chip with cards in virtual time. Its answers are spoilt: every bit flipped,
cut, repeated, endless, too long, of another command; the chip falls silent and restarts; the card
leaves between any two frames.
"""

from card.chips import outcome, pn532
from card.chips.contactless import Contactless
from card.chips.pn532 import Pn532, SpiChannel
from card.chips.tag import Tag
from harness import check, equal
from silicon import Time, run
from silicon_pn532 import ACK, NACK, Classic, Ntag, Reader, SpiBus, frame


class Bench:
    """This is a reader chip, a card and the drivers."""

    def __init__(self, card: "object | None", spi: bool = False) -> None:
        self.time = Time()
        self.chip = Reader(self.time)
        self.chip.card = card
        self.bus = SpiBus(self.chip)
        channel = SpiChannel(self.bus, self.bus.cs) if spi else self.chip
        self.reader = Pn532(channel)
        self.tag = Contactless(self.reader, Tag(self.reader))

    def connect(self) -> int:
        return run(self.time, self.tag.connect())

    def read(self, offset: int, size: int) -> "bytes | int":
        """Return the bytes read, or the outcome."""
        buf = bytearray(size)
        ended = run(self.time, self.tag.read(offset, size, buf))
        return bytes(buf) if ended == outcome.OK else ended

    def write(self, offset: int, data: bytes) -> int:
        return run(self.time, self.tag.write(offset, len(data), bytearray(data)))


def test_ntag_both_ways() -> None:
    for spi in (False, True):
        card = Ntag()
        bench = Bench(card, spi)
        equal(bench.connect(), outcome.OK, spi)
        equal(bench.reader.kind, pn532.TAG)
        equal(bytes(bench.tag.uid), b"\x04\x11\x22\x33\x44\x55\x66\x00")
        equal(bench.tag.size, 504)
        data = bytes([index * 5 & 0xFF for index in range(224)])
        equal(bench.write(32, data), outcome.OK)
        equal(bytes(card.memory[48:272]), data)
        equal(bench.read(32, 224), data)
        equal(bench.read(500, 4), bytes(4))
        equal(bench.bus.broken, 0)
        equal(bench.bus.beyond, 0)


def test_ntag_keeps_what_shares_a_page() -> None:
    card = Ntag()
    card.memory[16:32] = bytes(range(16))
    bench = Bench(card)
    bench.connect()
    equal(bench.write(3, b"\xaa\xbb"), outcome.OK)
    equal(bytes(card.memory[16:32]), b"\x00\x01\x02\xaa\xbb" + bytes(range(5, 16)))
    equal(card.writes, 2)
    equal(bench.write(0, b"\x00\x01\x02\xaa\xbb\x05"), outcome.OK)
    equal(card.writes, 2, "what stands there already is not written")
    equal(bench.read(3, 2), b"\xaa\xbb")


def test_classic_both_ways_and_its_trailers_untouched() -> None:
    card = Classic()
    bench = Bench(card)
    equal(bench.connect(), outcome.OK)
    equal(bench.reader.kind, pn532.CLASSIC)
    equal(bench.tag.size, 752)
    data = bytes([index * 3 & 0xFF for index in range(752)])
    equal(bench.write(0, data), outcome.OK)
    equal(card.keys_shown, 16)
    flat = b"".join(
        bytes(card.memory[block * 16 : block * 16 + 16])
        for block in range(64)
        if block and block % 4 != 3
    )
    equal(flat, data)
    for block in range(64):
        if block == 0 or block % 4 == 3:
            equal(bytes(card.memory[block * 16 : block * 16 + 16]), bytes(16), block)
    equal(bench.read(27, 224), data[27:251])


def test_classic_with_a_longer_or_a_made_up_number() -> None:
    for uid in (b"\x04\x11\x22\x33\x44\x55\x66", b"\x08\x11\x22\x33"):
        bench = Bench(Classic(uid))
        equal(bench.connect(), outcome.OK)
        equal(bench.read(0, 4), bytes(4), uid)


def test_classic_is_shown_the_key_again_when_it_comes_again() -> None:
    card = Classic()
    bench = Bench(card)
    for _ in range(3):
        equal(bench.connect(), outcome.OK)
        equal(bench.read(0, 1), b"\x00")
    equal(card.keys_shown, 3)


def test_classic_with_another_key() -> None:
    bench = Bench(Classic(key=b"secret"))
    equal(bench.connect(), outcome.OK)
    equal(bench.read(0, 1), outcome.WRONG_CODE)
    check(bench.write(0, b"\x00") != outcome.OK)


def test_no_card_and_random_number() -> None:
    bench = Bench(None)
    for _ in range(3):
        equal(bench.connect(), outcome.ABSENT)
    equal(bench.chip.commands.count(0x14), 1, "set up once")
    bench.chip.card = Ntag(uid=b"\x08\x01\x02\x03")
    equal(bench.connect(), outcome.OK)
    equal(bytes(bench.tag.uid), bytes(8), "made up for this field only")


def test_cards_it_cannot_use() -> None:
    card = Ntag()
    card.listing = lambda: b"\x00\x04\x01\x04\x01\x02\x03\x04"
    equal(Bench(card).connect(), outcome.UNKNOWN)
    card = Ntag()
    card.memory[12] = 0
    equal(Bench(card).connect(), outcome.UNKNOWN)
    for listing in (
        b"",
        b"\x00\x04",
        b"\x00\x04\x00\x07\x01",
        b"\x00\x04\x00\x05\x01\x02\x03\x04\x05",
    ):
        card = Ntag()
        card.listing = lambda listing=listing: listing
        equal(Bench(card).connect(), outcome.WRONG_SIZE, listing)


def test_beyond_the_end() -> None:
    bench = Bench(Ntag(size=144))
    bench.connect()
    equal(bench.tag.size, 144)
    for offset, size in ((144, 1), (0, 145), (-1, 1)):
        equal(bench.read(offset, size), outcome.OUT_OF_RANGE)
        equal(bench.write(offset, bytes(size)), outcome.OUT_OF_RANGE)


def test_torn_page() -> None:
    for cut in range(4):
        card = Ntag()
        bench = Bench(card)
        bench.connect()
        card.tear = cut
        equal(bench.write(0, b"\x11\x22\x33\x44\x55\x66\x77\x88"), outcome.REFUSED)
        equal(bytes(card.memory[20:24]), bytes(4), "the next page was not begun")
        card.tear = -1
        card.gone = False
        equal(bench.connect(), outcome.OK)
        equal(bench.write(0, b"\x11\x22\x33\x44"), outcome.OK)


def test_card_leaves_between_any_two_exchanges() -> None:
    for left in range(9):
        card = Ntag()
        bench = Bench(card)
        bench.connect()
        count = [left]
        exchange = card.exchange

        def fade(data: bytes, card: Ntag = card, exchange: object = exchange, count: list = count):
            count[0] -= 1
            card.gone = count[0] < 0
            return exchange(data)

        card.exchange = fade
        ended = bench.write(0, bytes(range(1, 17)))
        check(ended in (outcome.REFUSED, outcome.OK), ended)
        equal(ended == outcome.OK, left >= 8)
        bench.chip.take_card()
        equal(bench.read(0, 1), outcome.REFUSED)
        equal(bench.connect(), outcome.ABSENT)


def test_another_card_in_its_place_is_not_taken_for_it() -> None:
    bench = Bench(Ntag())
    bench.connect()
    bench.chip.take_card()
    bench.chip.card = Ntag(uid=b"\x04\x99\x88\x77\x66\x55\x44")
    equal(bench.read(0, 1), outcome.REFUSED)
    equal(bench.connect(), outcome.OK)
    equal(bytes(bench.tag.uid[:2]), b"\x04\x99")


def spoilt(change: object, times: int = 1000000, spi: bool = False) -> "tuple[Bench, bytes | int]":
    """Read 16 bytes while the chip sends `change(answer)` for the first `times`."""
    card = Ntag()
    card.memory[16:32] = bytes(range(1, 17))
    bench = Bench(card, spi)
    equal(bench.connect(), outcome.OK)
    left = [times]

    def spoil(answer: bytearray) -> bytes:
        left[0] -= 1
        return change(answer) if left[0] >= 0 else bytes(answer)

    bench.chip.spoil = spoil
    return bench, bench.read(0, 16)


def test_each_bit_of_an_answer_flipped_once_is_repaired() -> None:
    size = len(frame(b"\xd5\x41\x00" + bytes(16)))
    for index in range(size):
        for bit in range(0, 8, 3):

            def flip(answer: bytearray, index: int = index, bit: int = bit) -> bytes:
                answer[index] ^= 1 << bit
                return bytes(answer)

            bench, found = spoilt(flip, 1)
            right = bytes(range(1, 17))
            # Without its start a frame is not recognised.
            equal(found, outcome.SILENT if index in (1, 2) else right, (index, bit))
            bench.chip.spoil = None
            equal(bench.read(0, 16), right, (index, bit))


def test_an_answer_that_stays_broken() -> None:
    def break_it(answer: bytearray) -> bytes:
        answer[-2] ^= 1
        return bytes(answer)

    bench, found = spoilt(break_it)
    equal(found, outcome.GARBLED)
    equal(bench.chip.repeats, 2)


def test_cut_answers() -> None:
    for spi in (False, True):
        for size in range(0, 24, 3):
            bench, found = spoilt(lambda answer, size=size: bytes(answer[:size]), 1000, spi)
            check(found in (outcome.SILENT, outcome.GARBLED), (spi, size, found))
            bench.chip.spoil = None
            equal(bench.read(0, 4), bytes(range(1, 5)))


def test_endless_answers_end() -> None:
    floods = (
        b"\x00" * 2000,
        b"\xff" * 2000,
        b"\x00\xff" * 1000,
        ACK * 300,
        NACK * 300,
        frame(b"\xd5\x03") * 200,
        bytes(range(256)) * 8,
    )
    for flood in floods:
        bench, found = spoilt(lambda answer, flood=flood: flood)
        check(found in (outcome.FLOOD, outcome.SILENT, outcome.GARBLED), (flood[:4], found))
        check(bench.time.now_us < 10000000)
        bench.chip.spoil = None
        equal(bench.connect(), outcome.OK)
        equal(bench.read(0, 4), bytes(range(1, 5)))


def test_a_line_that_never_rests() -> None:
    bench = Bench(Ntag())
    bench.connect()

    def noise(buf: bytearray) -> int:
        buf[0] = 0
        buf[1] = 0x55
        return 2

    bench.chip.read_into = noise
    equal(bench.read(0, 1), outcome.FLOOD)
    equal(bench.connect(), outcome.FLOOD)


def test_sizes_that_are_wrong() -> None:
    bodies = (
        (b"", outcome.WRONG_SIZE),
        (b"\x00", outcome.WRONG_SIZE),
        (b"\x00" + bytes(15), outcome.WRONG_SIZE),
        (b"\x00" + bytes(17), outcome.WRONG_SIZE),
        (b"\x00" + bytes(200), outcome.WRONG_SIZE),
        (b"\x40" + bytes(16), outcome.WRONG_SIZE),
        (b"\x01", outcome.REFUSED),
        (b"\x13" + bytes(16), outcome.REFUSED),
    )
    for body, expected in bodies:
        _, found = spoilt(lambda answer, body=body: frame(b"\xd5\x41" + body))
        equal(found, expected, body[:2])


def test_answers_to_something_else_and_the_error_frame() -> None:
    def stale(answer: bytearray) -> bytes:
        return frame(b"\xd5\x4b\x00") + frame(b"\xd4\x41\x00") + bytes(answer)

    _, found = spoilt(stale)
    equal(found, bytes(range(1, 17)))
    _, found = spoilt(lambda answer: frame(b"\x7f"))
    equal(found, outcome.REFUSED)


def test_a_chip_that_falls_silent_is_aborted_and_one_that_restarts_is_set_up_again() -> None:
    bench, found = spoilt(lambda answer: b"")
    equal(found, outcome.SILENT)
    equal(bench.chip.aborts, 1)
    bench.chip.spoil = None
    bench.chip.restart()
    equal(bench.read(0, 1), outcome.SILENT)
    equal(bench.connect(), outcome.SILENT)
    equal(bench.connect(), outcome.OK)
    equal(bench.read(0, 2), b"\x01\x02")
    bench.chip.deaf = True
    equal(bench.connect(), outcome.SILENT)
    equal(bench.connect(), outcome.SILENT)
    check(bench.time.now_us < 4000000)


def test_no_bytes_after_the_time_is_up_whatever_the_clock() -> None:
    bench = Bench(Ntag())
    bench.connect()
    before_us = bench.time.now_us
    bench.chip.deaf = True
    equal(bench.read(0, 1), outcome.SILENT)
    check(bench.time.now_us - before_us < 100000, "an ACK takes 50 ms at most")
