"""Provide readers with simulated chips for the core tests of chips, in virtual time: the driver,
the carrier over it, a redemption and books.
"""

from card.chips.at24 import At24
from card.chips.contactless import Contactless
from card.chips.cpu import CpuFile
from card.chips.local import LocalCarrier
from card.chips.pn532 import Pn532, SpiChannel
from card.chips.sle4442 import Sle4442
from card.chips.t0 import T0
from card.chips.tag import Tag
from card.redemption import Redemption
from card_world import IMAGE, NOW, WRITE_BACK, FakeBooks, header, keys
from harness import equal
from silicon import Time
from silicon_at24 import Silicon as At24Silicon
from silicon_cpu import Card, Socket, respond
from silicon_pn532 import Classic, Ntag, Reader, SpiBus
from silicon_sle4442 import Silicon as Sle4442Silicon

KEY = b"card key"
SERIAL = b"DK000001"
PATH = (b"DIANKA", b"\x00\x01")


def cipher(challenge: bytearray, response: bytearray) -> None:
    response[:] = respond(KEY, challenge[:8])


class Bench:
    """This is a reader with its redemption and books; a subclass has the chip."""

    uid = SERIAL

    def __init__(self) -> None:
        self.time = Time()
        self.shown = []
        self.carrier = self.make_reader()
        self.books = FakeBooks(last=4)
        self.redemption = Redemption(self.carrier, self.books, keys())
        self.longest_us = 0

    def make_reader(self) -> object:
        """Make the reader over the driver that a subclass makes."""
        return LocalCarrier(
            self.make(), lambda code, credited, index: self.shown.append((code, credited))
        )

    def step(self) -> bool:
        """Run a millisecond of the device; return whether a card was finished."""
        before_us = self.time.now_us
        self.carrier.step(self.time.ticks())
        self.longest_us = max(self.longest_us, self.time.now_us - before_us)
        done = self.redemption.poll(self.time.ticks(), NOW)
        self.time.now_us += 1000
        return done

    def run(self, limit: int = 20000) -> int:
        """Run until a card is finished; return its code, -1 if there was none."""
        for _ in range(limit):
            if self.step():
                return self.redemption.code
        return -1

    def wait(self, delay_ms: int) -> None:
        """Let time pass, in longer steps while nothing happens."""
        for _ in range(delay_ms // 10):
            self.step()
            self.time.now_us += 9000

    def redeem(self) -> int:
        """Insert, wait for the result, pull."""
        self.insert()
        code = self.run()
        self.pull()
        self.wait(1500)
        equal(self.carrier.present, 0)
        return code

    def sell(self, order: int = 5, uid: "bytes | None" = None) -> None:
        """Issue a card and leave it outside."""
        card = self.card()
        image = header(order, uid=self.uid if uid is None else uid)
        card[IMAGE : IMAGE + 224] = image + bytes(224 - len(image))
        self.fill(card)

    def mark(self) -> bytes:
        """Return the order number that was written back."""
        return bytes(self.card()[WRITE_BACK + 4 : WRITE_BACK + 8])


class Sle4442Bench(Bench):
    """The chip is a memory behind contacts, with a serial number."""

    def make(self) -> object:
        self.chip = chip = Sle4442Silicon(self.time)
        chip.inserted = 0
        chip.memory[8:16] = SERIAL
        chip.protected[8:16] = bytes(8)
        return Sle4442(chip.io, chip.clk, chip.rst, chip.detect, chip.power, self.time.delay_us)

    def card(self) -> bytearray:
        return bytearray(self.chip.memory)

    def fill(self, card: bytearray) -> None:
        self.chip.memory[32:] = card[32:]

    def insert(self) -> None:
        self.chip.insert()

    def pull(self) -> None:
        self.chip.pull()


class At24Bench(Bench):
    """The chip is a memory on I2C, without a number."""

    uid = bytes(8)

    def make(self) -> object:
        self.chip = At24Silicon(self.time)
        self.chip.inserted = 0
        return At24(self.chip)

    def card(self) -> bytearray:
        return bytearray(self.chip.memory)

    def fill(self, card: bytearray) -> None:
        self.chip.memory[:] = card

    def insert(self) -> None:
        self.chip.inserted = 1

    def pull(self) -> None:
        self.chip.inserted = 0


class NtagBench(Bench):
    """The chip is a tag, at a PN532's UART."""

    def make(self) -> object:
        self.reader = Reader(self.time)
        self.tag = self.make_card()
        self.uid = self.tag.uid + bytes(8 - len(self.tag.uid))
        pn532 = Pn532(self.channel())
        return Contactless(pn532, Tag(pn532), CpuFile(pn532, PATH, 256, 1, cipher))

    def make_card(self) -> object:
        return Ntag()

    def channel(self) -> object:
        return self.reader

    def card(self) -> bytearray:
        return self.tag.memory[16:]

    def fill(self, card: bytearray) -> None:
        self.tag.memory[16:] = card

    def insert(self) -> None:
        self.reader.card = self.tag

    def pull(self) -> None:
        self.reader.take_card()


class SpiBench(NtagBench):
    """The chip is a tag, at a PN532's SPI."""

    def channel(self) -> object:
        self.bus = SpiBus(self.reader)
        return SpiChannel(self.bus, self.bus.cs)


class ClassicBench(NtagBench):
    """The chip is a MIFARE Classic."""

    def make_card(self) -> object:
        return Classic()

    def card(self) -> bytearray:
        data = b""
        for block in range(64):
            if block and block % 4 != 3:
                data += bytes(self.tag.memory[block * 16 : block * 16 + 16])
        return bytearray(data)

    def fill(self, card: bytearray) -> None:
        at = 0
        for block in range(64):
            if block and block % 4 != 3:
                self.tag.memory[block * 16 : block * 16 + 16] = card[at : at + 16]
                at += 16


class IsoDepBench(NtagBench):
    """The chip is a CPU card in the field."""

    def make_card(self) -> object:
        return Card(key=KEY)

    def card(self) -> bytearray:
        return bytearray(self.tag.file)

    def fill(self, card: bytearray) -> None:
        self.tag.file[:] = card


class ContactBench(Bench):
    """The chip is a CPU card at its contacts."""

    uid = b"KSERIAL9"

    def make(self) -> object:
        self.tag = Card(key=KEY)
        self.socket = socket = Socket(self.time, self.tag)
        socket.inserted = 0
        link = T0(socket, socket.reset, socket.detect, socket.power)
        return CpuFile(link, PATH, 256, 1, cipher)

    def card(self) -> bytearray:
        return bytearray(self.tag.file)

    def fill(self, card: bytearray) -> None:
        self.tag.file[:] = card

    def insert(self) -> None:
        self.socket.inserted = 1

    def pull(self) -> None:
        self.socket.pull()


BENCHES = (
    Sle4442Bench,
    At24Bench,
    NtagBench,
    SpiBench,
    ClassicBench,
    IsoDepBench,
    ContactBench,
)
