"""Goal: only a technician's PC reads and writes the card in the board's reader over the console.

Method: the programmer with a memory card gets frames made by hand: without a login, without a
card, outside it, while a card is redeemed, with a card that fails or is exchanged.
"""

from card_world import OTHER_UID, FakeCarrier
from concentrator.cards.programmer import Programmer
from concentrator.login import FULL, Login
from harness import check, equal
from technician import NONCE, Technician
from uplink import link
from uplink.link import LinkReceiver

CARD = bytes(range(256))
# These are the statuses of an answer in docs/SPEC.md.
GOOD, FAILED, LOG_IN, IN_USE, NO_CARD, OUTSIDE = range(6)


class Desk:
    """This is a programmer with a card in its reader."""

    def __init__(self) -> None:
        self.carrier = FakeCarrier()
        self.card = bytearray(CARD)
        self.carrier.insert(self.card)
        self.login = Login(lambda: 7)
        self.programmer = Programmer(self.carrier, self.login)
        self.seq = 250

    def ask(self, kind: int, body: bytes, in_use: bool = False) -> "tuple[int, bytes]":
        """Return (status, bytes) of the answer after checking its kind and seq."""
        self.seq = (self.seq + 1) & 0xFF
        self.programmer.on_frame(kind, self.seq, bytearray(body), len(body))
        for _ in range(5):
            if self.programmer.poll(0, in_use):
                break
        buf = bytearray(600)
        size = self.programmer.encode_into(buf)
        receiver = LinkReceiver(320, 600)
        receiver.feed(buf, size)
        check(receiver.poll(), "an answer")
        expected = link.CARD_DATA if kind == link.CARD_READ else link.CARD_WRITTEN
        equal((receiver.kind, receiver.seq), (expected, self.seq))
        answer = bytes(receiver.body[: receiver.body_size])
        return answer[0], answer[1:]

    def read(self, offset: int, size: int, in_use: bool = False) -> "tuple[int, bytes]":
        """Ask for bytes."""
        body = offset.to_bytes(2, "little") + size.to_bytes(2, "little")
        return self.ask(link.CARD_READ, body, in_use)

    def write(self, offset: int, data: bytes) -> int:
        """Have bytes written; return the status."""
        return self.ask(link.CARD_WRITE, offset.to_bytes(2, "little") + data)[0]


def test_read_and_write() -> None:
    desk = Desk()
    equal(desk.read(10, 5), (GOOD, CARD[10:15]))
    equal(desk.read(32, 224), (GOOD, CARD[32:]))
    equal(desk.write(100, b"\x7e\x7d\xff"), GOOD)
    equal(bytes(desk.card[99:104]), b"\x63\x7e\x7d\xff\x67")
    equal(desk.read(100, 3), (GOOD, b"\x7e\x7d\xff"))


def test_only_who_is_logged_in() -> None:
    desk = Desk()
    desk.login.key = b"sixteen bytes..."
    equal(desk.read(0, 1), (LOG_IN, b""))
    equal(desk.write(0, b"x"), LOG_IN)
    equal(desk.card, CARD)
    technician = Technician(desk.login.key)
    technician.begin(desk.login.begin(NONCE, FULL)[:16])
    desk.login.answer(technician.proof())
    equal(desk.read(0, 1), (GOOD, b"\0"))
    desk.login.close()
    equal(desk.read(0, 1), (LOG_IN, b""))


def test_outside_the_card() -> None:
    desk = Desk()
    for offset, size in ((255, 2), (256, 1), (0, 225), (65535, 65535), (0, 65535)):
        equal(desk.read(offset, size), (OUTSIDE, b""), (offset, size))
    equal(desk.write(250, bytes(7)), OUTSIDE)
    equal(desk.write(0, bytes(300)), OUTSIDE)
    equal(desk.card, CARD)


def test_no_card_and_one_that_is_exchanged() -> None:
    desk = Desk()
    desk.carrier.pull()
    equal(desk.read(0, 1), (NO_CARD, b""))
    desk.carrier.insert(desk.card)
    desk.programmer.on_frame(link.CARD_READ, 1, bytearray(b"\0\0\1\0"), 4)
    check(not desk.programmer.poll(0, False), "begun")
    desk.carrier.insert(bytearray(256), OTHER_UID)
    check(desk.programmer.poll(0, False))
    buf = bytearray(64)
    check(desk.programmer.encode_into(buf) > 0)
    equal(buf[3], FAILED)


def test_while_a_card_is_redeemed() -> None:
    desk = Desk()
    equal(desk.read(0, 1, in_use=True), (IN_USE, b""))
    desk.programmer.on_frame(link.CARD_READ, 1, bytearray(b"\0\0\1\0"), 4)
    desk.programmer.poll(0, False)
    check(desk.programmer.poll(0, True), "what the reader brings now is the redemption's")
    equal(desk.carrier.poll(0), 2, "and is left to it")


def test_a_card_that_fails() -> None:
    desk = Desk()
    desk.carrier.fail_reads = 1
    equal(desk.read(0, 1), (FAILED, b""))
    desk.carrier.fail_writes = 1
    equal(desk.write(0, b"x"), FAILED)


def test_half_requests_and_one_too_many() -> None:
    desk = Desk()
    programmer = desk.programmer
    for kind, body in ((link.CARD_READ, b"\0\0\1"), (link.CARD_WRITE, b"\0\0")):
        programmer.on_frame(kind, 1, bytearray(body), len(body))
        check(not programmer.poll(0, False))
    programmer.on_frame(link.CARD_READ, 1, bytearray(b"\0\0\1\0"), 4)
    programmer.on_frame(link.CARD_WRITE, 2, bytearray(b"\0\0x"), 3)
    while not programmer.poll(0, False):
        pass
    buf = bytearray(64)
    programmer.encode_into(buf)
    equal((buf[1], buf[2], desk.card[0]), (link.CARD_DATA, 1, 0))
    equal(programmer.encode_into(buf), 0)
