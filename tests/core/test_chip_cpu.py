"""Goal: a CPU card is started, read, written and authenticated over T=0 and over ISO-DEP, and any
wrong answer of a card only ends the command with a named outcome.

Method: a simulated card at its contacts, character by character, and behind a simulated PN532.
ATRs of all shapes; procedure bytes in every manner; each answer flipped in each bit, cut, or
buried in noise; wrong lengths and keys; writes torn at each byte.
"""

from card.chips import outcome
from card.chips.cpu import CpuCard, CpuFile
from card.chips.pn532 import Pn532
from card.chips.t0 import T0
from harness import check, equal
from silicon import Time, advance, run
from silicon_cpu import ATR, Card, Socket, respond
from silicon_pn532 import Reader

PATH = (b"DIANKA", b"\x00\x01")
KEY = b"card key"


def cipher(challenge: bytearray, response: bytearray) -> None:
    """Stand in for the cipher of a board that holds the key."""
    response[:] = respond(KEY, challenge[:8])


def wrong_cipher(challenge: bytearray, response: bytearray) -> None:
    response[:] = bytes(8)


class Bench:
    """This is a card, its socket and the drivers."""

    def __init__(self, atr: bytes = ATR, echo: bool = True, answer: object = cipher) -> None:
        self.time = Time()
        self.step_us = 1000
        self.card = Card(key=KEY)
        self.socket = socket = Socket(self.time, self.card, atr, echo)
        self.link = T0(socket, socket.reset, socket.detect, socket.power, echo)
        self.file = CpuFile(self.link, PATH, 256, 1, answer)

    def connect(self) -> int:
        return run(self.time, self.file.connect(), self.step_us)

    def read(self, offset: int, size: int) -> "bytes | int":
        """Return the bytes read, or the outcome."""
        buf = bytearray(size)
        ended = run(self.time, self.file.read(offset, size, buf))
        return bytes(buf) if ended == outcome.OK else ended

    def write(self, offset: int, data: bytes) -> int:
        steps = self.file.write(offset, len(data), bytearray(data))
        return run(self.time, steps, self.step_us)


class Contactless(Bench):
    """The same card is in the field of a PN532."""

    def __init__(self, answer: object = cipher) -> None:
        self.time = Time()
        self.step_us = 1000
        self.card = Card(key=KEY)
        self.chip = Reader(self.time)
        self.chip.card = self.card
        self.link = Pn532(self.chip)
        self.file = CpuFile(self.link, PATH, 256, 1, answer)


def image() -> bytes:
    return bytes([index * 11 & 0xFF for index in range(224)])


def test_file_both_ways() -> None:
    for bench in (Bench(), Bench(echo=False), Contactless()):
        equal(bench.connect(), outcome.OK)
        equal(bench.write(32, image()), outcome.OK)
        equal(bytes(bench.card.file), bytes(32) + image())
        equal(bench.read(32, 224), image())
        equal(bench.read(255, 1), image()[-1:])
        for offset, size in ((256, 1), (0, 257), (-1, 1)):
            equal(bench.read(offset, size), outcome.OUT_OF_RANGE)
            equal(bench.write(offset, bytes(size)), outcome.OUT_OF_RANGE)


def test_serial_number() -> None:
    bench = Bench()
    bench.connect()
    equal(bytes(bench.file.uid), b"KSERIAL9", "the last 8 of 9 historical bytes")
    bench = Bench(atr=b"\x3b\x63\x00\x00abc")
    bench.connect()
    equal(bytes(bench.file.uid), b"abc\0\0\0\0\0")
    bench = Contactless()
    bench.connect()
    equal(bytes(bench.file.uid), b"\x04\x0a\x0b\x0c\x0d\x0e\x0f\x00")


def test_line_is_turned_and_guarded() -> None:
    for extra in (0, 1, 20, 254, 255):
        bench = Bench(atr=b"\x3b\x40" + bytes((extra,)))
        bench.socket.guard_us = extra * 104 if extra != 255 else 0
        bench.step_us = 200
        equal(bench.connect(), outcome.OK, extra)
        equal(bench.write(32, image()[:20]), outcome.OK)
        equal(bench.read(32, 20), image()[:20])
        equal(bench.socket.early, 0, extra)


def test_every_manner_of_procedure() -> None:
    for nulls in (0, 1, 5):
        for single in (False, True):
            for takes in (256, 3, 1):
                bench = Bench()
                bench.socket.nulls = nulls
                bench.socket.single = single
                bench.socket.takes = takes
                equal(bench.connect(), outcome.OK)
                equal(bench.write(40, image()[:80]), outcome.OK, (nulls, single, takes))
                equal(bench.read(40, 80), image()[:80])


def start(atr: bytes, pps: "bytes | None" = b"") -> "tuple[int, int]":
    """Return how a card with this ATR starts, and when."""
    bench = Bench(atr)
    bench.socket.pps = pps
    ended = run(bench.time, bench.link.connect())
    return ended, bench.time.now_us


def test_answers_to_reset() -> None:
    good = (
        b"\x3b\x00",
        b"\x3b\x10\x96",
        b"\x3b\xf0\x11\x00\x00\x00",
        b"\x3b\x80\x00",
        b"\x3b\x80\x40\xff",
        b"\x3b\x0f123456789012345",
        b"\x3b\x90\x11\x10\x00",
    )
    for atr in good:
        equal(start(atr)[0], outcome.OK, atr)
    for atr in (
        b"\x3b\x80\x01\x81",
        b"\x3b\x90\x96\x10\x00",
        b"\x3b\x90\x11\x10\x10",
        b"\x3b\x80\x10\x01",  # T=1 for good
        b"\x3f\x00",
    ):
        equal(start(atr)[0], outcome.UNKNOWN, atr)
    equal(start(b"\x03\x00")[0], outcome.UNKNOWN, "inverse, as a UART hears it")
    equal(start(b"\x00\x00")[0], outcome.GARBLED)
    equal(start(b"\x3b\x80\x01\x82")[0], outcome.GARBLED, "its checksum")
    equal(start(b"")[0], outcome.SILENT)
    equal(start(b"\x3b" + b"\xf0" * 40)[0], outcome.FLOOD)
    for size in range(1, len(ATR)):
        ended, now_us = start(ATR[:size])
        equal(ended, outcome.SILENT, size)
        check(now_us < 3000000)


def test_choice_of_the_protocol() -> None:
    both = b"\x3b\x80\x81\x00\x01"  # T=1 first, T=0 as well
    equal(start(both, None)[0], outcome.OK)
    equal(start(both, b"")[0], outcome.UNKNOWN, "it does not answer")
    equal(start(both, b"\xff\x01\xfe")[0], outcome.UNKNOWN, "it chooses another")
    t0_first = b"\x3b\x80\x80\x01\x01"
    bench = Bench(t0_first)
    bench.socket.pps = b""
    equal(bench.connect(), outcome.OK, "nothing has to be chosen")


def test_absent() -> None:
    bench = Bench()
    bench.socket.inserted = 0
    equal(bench.connect(), outcome.ABSENT)
    check(not bench.file.there())
    equal(bench.socket.resets, 0)


def test_commands() -> None:
    for bench in (Bench(), Contactless()):
        run(bench.time, bench.link.connect())
        card = CpuCard(bench.link)
        equal(run(bench.time, card.read_binary(0, 8)), outcome.REFUSED)
        equal(card.status, 0x6986)
        equal(run(bench.time, card.select(b"\x3f\x01")), outcome.REFUSED)
        equal(card.status, 0x6A82)
        for name in PATH:
            equal(run(bench.time, card.select(name)), outcome.OK)
        equal(run(bench.time, card.update_binary(0, b"x")), outcome.REFUSED)
        equal(card.status, 0x6982)
        equal(run(bench.time, card.get_challenge()), outcome.OK)
        first = bytes(card.reply[:8])
        equal(run(bench.time, card.get_challenge()), outcome.OK)
        check(bytes(card.reply[:8]) != first)
        equal(run(bench.time, card.read_binary(0x8000, 1)), outcome.OUT_OF_RANGE)
        equal(run(bench.time, card.read_binary(0, 65)), outcome.OUT_OF_RANGE)
        equal(run(bench.time, card.update_binary(0, bytes(65))), outcome.OUT_OF_RANGE)


def test_replayed_response_and_wrong_key() -> None:
    for make in (Bench, Contactless):
        bench = make(answer=wrong_cipher)
        bench.connect()
        equal(bench.write(0, b"x"), outcome.WRONG_CODE)
        equal(bench.card.tries, 2)
        equal(bench.write(0, b"x"), outcome.WRONG_CODE)
        for _ in range(3):
            equal(bench.write(0, b"x"), outcome.LOCKED)
        equal(bench.card.tries, 1, "the last try is left alone")
        equal(bytes(bench.card.file), bytes(256))
        # A response that was good once is not accepted again.
        bench = make()
        bench.connect()
        card = bench.file.card
        run(bench.time, card.get_challenge())
        response = respond(KEY, card.reply[:8])
        equal(run(bench.time, card.external_authenticate(1, response)), outcome.OK)
        equal(run(bench.time, card.external_authenticate(1, response)), outcome.WRONG_CODE)
        bench.card.tries = 0
        equal(run(bench.time, card.external_authenticate(1, response)), outcome.LOCKED)


def test_shorter_file_than_thought() -> None:
    for bench in (Bench(), Contactless()):
        bench.card.file = bytearray(200)
        bench.connect()
        equal(bench.read(192, 64), outcome.WRONG_SIZE, "6Cxx, and then too few")
        equal(bench.read(200, 8), outcome.REFUSED)
        equal(bench.write(192, bytes(64)), outcome.REFUSED)


def test_torn_write_at_each_byte() -> None:
    for cut in range(0, 65, 8):
        for bench in (Bench(), Contactless()):
            bench.connect()
            bench.card.torn = cut
            ended = bench.write(0, bytes(range(1, 65)))
            check(ended in (outcome.SILENT, outcome.REFUSED), ended)
            equal(bytes(bench.card.file[: cut + 1]), bytes(range(1, cut + 1)) + b"\x00")
            bench.card.torn = -1
            bench.card.dead = False
            equal(bench.connect(), outcome.OK)
            equal(bench.write(0, bytes(range(1, 65))), outcome.OK)


def test_pulled_between_any_two_characters() -> None:
    moment = 0
    torn = 0
    ended = None
    while ended != outcome.OK:
        bench = Bench()
        bench.connect()
        moment += 3
        ended = pull_after(bench, moment)
        check(ended in (outcome.SILENT, outcome.OK), ended)
        check(bytes(bench.card.file[:8]) in (bytes(8), b"abcdefgh"))
        torn += ended == outcome.SILENT
        bench.socket.pull()
        check(not bench.file.there())
    check(torn > 20)


def pull_after(bench: Bench, delay_ms: int) -> "int | None":
    """Write 8 bytes; pull the card after this time."""
    steps = bench.file.write(0, 8, bytearray(b"abcdefgh"))
    advance(steps, None)
    for moment in range(5000):
        bench.time.now_us += 1000
        if moment == delay_ms:
            bench.socket.pull()
        ended = advance(steps, bench.time.ticks())
        if ended is not None:
            return ended
    raise AssertionError("the operation never ends")


def hostile(change: object) -> "bytes | int":
    """Read 16 bytes while the card sends `change(chunk)`; the read ends within 12 s."""
    bench = Bench()
    bench.card.file[:16] = image()[:16]
    equal(bench.connect(), outcome.OK)
    bench.socket.spoil = change
    before_us = bench.time.now_us
    found = bench.read(0, 16)
    check(bench.time.now_us - before_us < 12000000)
    bench.socket.spoil = None
    equal(bench.connect(), outcome.OK)
    equal(bench.read(0, 16), image()[:16])
    return found


FLOODS = (outcome.FLOOD, outcome.GARBLED, outcome.WRONG_SIZE, outcome.REFUSED, outcome.SILENT)


def test_floods_end() -> None:
    equal(hostile(lambda chunk: b"\x60" * 20000), outcome.FLOOD, "pleas for time")
    equal(hostile(lambda chunk: b"\xb0" * 20000), outcome.WRONG_SIZE)
    equal(hostile(lambda chunk: b"\x42" * 20000), outcome.GARBLED)
    equal(hostile(lambda chunk: b"\x4f\x00" * 10000), outcome.WRONG_SIZE)
    equal(hostile(lambda chunk: b"\x61\x40" * 200), outcome.WRONG_SIZE)
    equal(hostile(lambda chunk: b"\x61\x01"), outcome.FLOOD, "there is always one more byte")
    equal(hostile(lambda chunk: b"\x6c\x08"), outcome.FLOOD, "no length is ever right")
    equal(hostile(lambda chunk: b"\x6c\xff"), outcome.WRONG_SIZE)
    equal(hostile(lambda chunk: b"\x6c\x00"), outcome.WRONG_SIZE)
    equal(hostile(lambda chunk: b"\x90\x00"), outcome.WRONG_SIZE, "nothing, and content")
    equal(hostile(lambda chunk: b"\x6f\x00"), outcome.REFUSED)
    for byte in range(256):
        check(hostile(lambda chunk, byte=byte: bytes((byte,)) * 500) in FLOODS, byte)


def test_a_card_that_asks_for_time_every_second_for_ever() -> None:
    bench = Bench()
    bench.connect()
    since_us = [bench.time.now_us]

    def plead(buf: bytearray) -> int:
        if bench.time.now_us - since_us[0] < 1000000:
            return 0
        since_us[0] = bench.time.now_us
        buf[0] = 0x60
        return 1

    socket = bench.socket
    bench.link = T0(socket, socket.reset, socket.detect, socket.power, False)
    socket.read_into = plead
    before_us = bench.time.now_us
    equal(run(bench.time, bench.link.transmit(0, 8)), outcome.FLOOD)
    check(bench.time.now_us - before_us < 12000000)


def test_the_card_s_own_waiting_time() -> None:
    for atr, delay_us, expected in (
        (ATR, 900000, outcome.OK),
        (ATR, 1300000, outcome.SILENT),
        (b"\x3b\x80\x40\x14", 1300000, outcome.OK),
        (b"\x3b\x80\x40\x01", 900000, outcome.SILENT),
        (b"\x3b\x80\x40\xff", 3000000, outcome.SILENT),
    ):
        bench = Bench(atr)
        equal(run(bench.time, bench.link.connect()), outcome.OK)
        bench.socket.slow_us = delay_us
        equal(run(bench.time, CpuCard(bench.link).select(PATH[0])), expected, (atr, delay_us))


def test_each_bit_of_an_answer_flipped() -> None:
    right = b"\xb0" + image()[:16] + b"\x90\x00"
    for index in (0, 1, 16, 17, 18):
        for bit in range(8):
            bad = bytearray(right)
            bad[index] ^= 1 << bit
            found = hostile(lambda chunk, bad=bad: bytes(bad))
            if 0 < index < 17:
                # The line's parity and the image's MAC protect against these.
                check(found != image()[:16])
            else:
                check(found in FLOODS, (index, bit, found))


def test_cut_answers() -> None:
    right = b"\xb0" + image()[:16] + b"\x90\x00"
    for size in range(len(right)):
        equal(hostile(lambda chunk, size=size: right[:size]), outcome.SILENT, size)


def test_a_line_without_its_echo_or_with_another() -> None:
    bench = Bench(echo=False)
    bench.link = T0(
        bench.socket, bench.socket.reset, bench.socket.detect, bench.socket.power, True
    )
    equal(run(bench.time, bench.link.connect()), outcome.OK)
    card = CpuCard(bench.link)
    check(run(bench.time, card.select(PATH[0])) in (outcome.SILENT, outcome.GARBLED))
    bench = Bench()
    bench.socket.collide = True
    equal(bench.connect(), outcome.GARBLED)
    bench = Bench()
    bench.socket.takes = 0
    equal(bench.connect(), outcome.STUCK)


def apdu_hostile(reply: bytes) -> "bytes | int":
    """Read 16 bytes over ISO-DEP while the card answers `reply` to everything."""
    bench = Contactless()
    bench.connect()
    bench.card.exchange = lambda data: b"\x00" + reply
    return bench.read(0, 16)


def test_apdu_floods() -> None:
    equal(apdu_hostile(b"\x61\x01"), outcome.FLOOD)
    equal(apdu_hostile(bytes(15) + b"\x61\x01"), outcome.WRONG_SIZE)
    equal(apdu_hostile(b"\x6c\x10"), outcome.FLOOD)
    equal(apdu_hostile(b""), outcome.WRONG_SIZE)
    equal(apdu_hostile(b"\x90"), outcome.WRONG_SIZE)
    for size in (0, 1, 15, 17, 65, 80, 100, 200):
        check(apdu_hostile(bytes(size) + b"\x90\x00") in (outcome.WRONG_SIZE, outcome.FLOOD), size)
    equal(apdu_hostile(b"\x6a\x82"), outcome.REFUSED)
