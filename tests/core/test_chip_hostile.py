"""Goal: no chip, card or line makes a driver raise, hang, or credit money that was not sold.

Method: the readers of chip_readers with answers that a fixed sequence of random numbers changes:
bits, bytes cut, doubled and put in, whole frames and words made up, unstable lines. The redemption
runs all the while; afterwards the chip answers correctly again and its card is redeemed.
"""

import sys

from card import codes
from chip_readers import (
    At24Bench,
    ContactBench,
    IsoDepBench,
    NtagBench,
    Sle4442Bench,
    SpiBench,
)
from harness import check, equal
from silicon_pn532 import ACK, frame

ROUNDS = 2 if sys.maxsize < 1 << 32 else 12  # an emulated board is slow
STEPS = 1500


class Dice:
    """These random numbers are the same on every machine."""

    def __init__(self, seed: int) -> None:
        self.state = seed * 7919 + 1

    def roll(self, sides: int) -> int:
        """Return a number below `sides`, at most 4096."""
        self.state = (self.state * 1103 + 12345) & 0xFFFFFF
        return (self.state >> 8) % sides

    def bytes(self, limit: int) -> bytes:
        """Return up to `limit` bytes."""
        return bytes([self.roll(256) for _ in range(self.roll(limit + 1))])

    def spoil(self, data: bytes) -> bytes:
        """Return `data`, often unchanged, else changed in one of many ways."""
        kind = self.roll(12)
        if kind < 5 or not data:
            return bytes(data)
        at = self.roll(len(data))
        if kind == 5:
            return (
                bytes(data[:at]) + bytes((data[at] ^ 1 << self.roll(8),)) + bytes(data[at + 1 :])
            )
        if kind == 6:
            return bytes(data[:at])
        if kind == 7:
            return bytes(data[:at]) + self.bytes(8) + bytes(data[at:])
        if kind == 8:
            return bytes(data) * (1 + self.roll(4))
        if kind == 9:
            return bytes(data[at:])
        if kind == 10:
            return self.bytes(300)
        return b""


def go(bench: object, seed: int) -> None:
    """Let a card send wrong answers for a while, with nothing sold; it goes and comes back."""
    bench.insert()
    for step in range(STEPS):
        bench.step()
        if step % 500 == 499:
            bench.pull()
            bench.insert()
    equal(bench.books.credits, [], seed)
    check(bench.longest_us < 60000, (seed, bench.longest_us))


def honest(bench: object, seed: int) -> None:
    """Check that the same reader takes a good card."""
    bench.pull()
    bench.wait(70000)
    bench.sell()
    bench.insert()
    equal(bench.run(), codes.OK, seed)
    equal(bench.books.credits, [(5, 5000)], seed)


def test_lines_that_waver() -> None:
    for seed in range(ROUNDS):
        dice = Dice(seed)
        bench = Sle4442Bench()
        chip = bench.chip
        driver = bench.carrier._medium
        real = driver._io
        often = 2 + dice.roll(200)

        def waver(
            value: int = -1, real: object = real, dice: Dice = dice, often: int = often
        ) -> int:
            level = real(value) if value >= 0 else real()
            return level ^ 1 if value < 0 and dice.roll(often) == 0 else level

        driver._io = waver
        go(bench, seed)
        driver._io = real
        chip.counter = 7
        honest(bench, seed)


def test_a_bus_that_fails_now_and_then() -> None:
    for seed in range(ROUNDS):
        dice = Dice(seed)
        bench = At24Bench()
        chip = bench.chip
        real = (chip.writeto, chip.readfrom_into)

        def writeto(addr: int, buf: bytes, real: object = real, dice: Dice = dice) -> int:
            if dice.roll(10) == 0:
                raise OSError(110)
            return real[0](addr, buf)

        def readfrom_into(
            addr: int, buf: bytearray, real: object = real, dice: Dice = dice
        ) -> None:
            if dice.roll(10) == 0:
                raise OSError(5)
            real[1](addr, buf)
            if dice.roll(3) == 0 and len(buf):
                buf[dice.roll(len(buf))] = dice.roll(256)

        chip.writeto = writeto
        chip.readfrom_into = readfrom_into
        go(bench, seed)
        chip.writeto, chip.readfrom_into = real
        honest(bench, seed)


def test_a_reader_chip_that_says_anything() -> None:
    for make in (NtagBench, SpiBench, IsoDepBench):
        for seed in range(ROUNDS):
            dice = Dice(seed)
            bench = make()

            def spoil(answer: bytearray, dice: Dice = dice) -> bytes:
                if dice.roll(4):
                    return dice.spoil(answer)
                # This is a good frame around bytes that form no answer.
                code = (0x41, 0x41, 0x4B, 0x33)[dice.roll(4)]
                body = b"\xd5" + bytes((code,)) + dice.bytes((3, 30, 240)[dice.roll(3)])
                return frame(body)

            bench.reader.spoil = spoil
            go(bench, seed)
            bench.reader.spoil = None
            honest(bench, seed)


def test_a_card_in_the_field_that_says_anything() -> None:
    for make in (NtagBench, IsoDepBench):
        for seed in range(ROUNDS):
            dice = Dice(seed)
            bench = make()
            exchange, listing = bench.tag.exchange, bench.tag.listing

            def lie(data: bytes, exchange: object = exchange, dice: Dice = dice) -> "bytes | None":
                answer = exchange(data)
                kind = dice.roll(5)
                if kind < 2:
                    return answer
                if kind == 2:
                    return dice.bytes(100)
                status = (b"\x90\x00", b"\x61\x20", b"\x6c\x07", b"\x63\xc1")[dice.roll(4)]
                return b"\x00" + dice.bytes((0, 70, 230)[dice.roll(3)]) + status

            bench.tag.exchange = lie
            bench.tag.listing = lambda listing=listing, dice=dice: dice.spoil(listing())
            go(bench, seed)
            bench.tag.exchange, bench.tag.listing = exchange, listing
            honest(bench, seed)


def test_a_card_at_its_contacts_that_says_anything() -> None:
    for seed in range(ROUNDS):
        dice = Dice(seed)
        bench = ContactBench()
        atr = bench.socket.atr
        bench.socket.atr = atr if dice.roll(2) else dice.spoil(atr) or atr
        bench.socket.spoil = dice.spoil
        go(bench, seed)
        bench.socket.spoil = None
        bench.socket.atr = atr
        honest(bench, seed)


def test_answers_to_reset_of_every_kind() -> None:
    for seed in range(ROUNDS * 4):
        dice = Dice(seed + 1000)
        bench = ContactBench()
        # Many of the bytes announce four more.
        tail = bytes([dice.roll(256) | 0xF0 * dice.roll(2) for _ in range(60)])
        bench.socket.atr = b"\x3b" + tail
        bench.socket.pps = dice.bytes(4)
        bench.insert()
        bench.wait(4000)
        equal(bench.books.credits, [])


def test_the_dice_do_something() -> None:
    dice = Dice(1)
    answers = [dice.spoil(ACK) for _ in range(200)]
    check(50 < answers.count(ACK) < 130)
    check(b"" in answers)
