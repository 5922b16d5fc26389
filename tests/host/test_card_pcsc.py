"""Goal: a card in a PC/SC reader is read and written like one in a file, and errors are reported.

Method: our own virtual CPU card behind pcscd and vpcd is pulled, torn and exchanged; the card
alone gets commands that no reader sends. The tests are skipped where pcscd is not installed.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from host.cards import batch, keystore
from host.cards.audit import AuditLog
from host.cards.issuing import Issuer
from host.frames import card as frames
from host.link.card import CardIoError
from host.sim.card import VirtualCard
from host.sim.cpu_card import CpuCard, VpcdSlot

sys.path.insert(0, str(Path(__file__).parent.parent / "e2e"))

import virtual_reader

pytestmark = pytest.mark.xdist_group("pcsc")

needs_pcsc = pytest.mark.skipif(bool(virtual_reader.why_not()), reason=virtual_reader.NEEDED)
SELECTED = ("00A40000023F00", "00A4000002DF01", "00A40000020081")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[None]:
    """Run one service for each test: pcscd 1.9.9 sometimes crashes when its card is pulled."""
    with virtual_reader.pcsc_service(tmp_path / "pcscd.log"):
        yield


@pytest.fixture
def cards(service: None) -> Iterator[list[VirtualCard]]:
    """Serve a slot that takes the next card of this list at each power-up; the last one stays."""
    magazine = [VirtualCard("00000000000000AA")]

    def next_card() -> CpuCard:
        return CpuCard(magazine.pop(0) if len(magazine) > 1 else magazine[0])

    slot = VpcdSlot(next_card)
    yield magazine
    slot.close()


@needs_pcsc
def test_read_and_write(cards: list[VirtualCard]) -> None:
    from host.link.pcsc import WAIT_S, PcscCard

    card = PcscCard("", WAIT_S)
    assert (card.uid, card.size) == ("00000000000000AA", 256)
    content = bytes(range(224))
    card.write(32, content)
    assert card.read(32, 224) == content == bytes(cards[0].memory[32:])
    assert card.read(255, 1) == content[-1:]
    with pytest.raises(CardIoError, match="gave 1 bytes of 2"):
        card.read(255, 2)
    with pytest.raises(CardIoError, match="refuses 00 d6 00 ff: 6B00"):
        card.write(255, b"ab")
    card.close()


@needs_pcsc
def test_pulled(cards: list[VirtualCard]) -> None:
    from host.link.pcsc import WAIT_S, PcscCard

    card = PcscCard("", WAIT_S)
    cards[0].tear_at_byte = 10
    with pytest.raises(CardIoError, match="was it pulled"):
        card.write(32, bytes(64))
    assert bytes(cards[0].memory[32:43]) == bytes(10) + b"\xff"
    with pytest.raises(CardIoError):
        card.read(0, 1)
    card.close()
    with pytest.raises(CardIoError, match=r"no card in the reader|is pcscd running"):
        PcscCard("", 3.0)


@needs_pcsc
def test_a_reader_that_is_not_there(service: None) -> None:
    from host.link.pcsc import PcscCard

    with pytest.raises(CardIoError, match="no reader 'Nothing'; there are: Virtual"):
        PcscCard("Nothing")


class _Printer:
    """A card printer that holds another card each time it is opened."""

    def card_for(self, order: batch.Order, uid: str | None) -> "object":
        from host.link.pcsc import WAIT_S, PcscCard

        self._card = PcscCard("", WAIT_S)
        return self._card

    def put(self, order: batch.Order) -> None:
        self._card.close()


@pytest.mark.slow
@needs_pcsc
def test_500_cards(cards: list[VirtualCard], tmp_path: Path) -> None:
    """Each card is read, written, read back and logged. `pytest -rP` prints cards per second."""
    stock = [VirtualCard(f"{number:016X}") for number in range(1, 501)]
    cards[:] = [*stock, VirtualCard("00000000000000FF")]
    keys = keystore.new(4711)
    issuer = Issuer(keys.key_of, AuditLog(tmp_path / "log", keys.key_of))
    orders = [batch.Order(f"{n:012d}", "000000983764", 2, 100 + n) for n in range(1, 501)]
    begin_s = time.perf_counter()
    written = list(batch.issue_all(issuer, orders, _Printer(), 4711, 1))  # type: ignore[arg-type]  # a PcscCard is one
    print(f"{len(written) / (time.perf_counter() - begin_s):.0f} cards a second")
    assert [header.uid for header in written] == [card.uid for card in stock]
    key = keys.key_of(4711, 1)
    assert all(frames.parse(bytes(card.memory), key).genuine for card in stock)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("", "6700"),
        ("00B0", "6700"),
        ("80B0000010", "6E00"),
        ("00CA000000", "6D00"),
        ("00B0000010", "6986"),
        ("00A4000002DF01", "6A82"),
        ("00A40000053F00", "6700"),
        ("00A40000", "6700"),
    ],
)
def test_the_virtual_card_refuses(command: str, expected: str) -> None:
    card = CpuCard(VirtualCard("00000000000000AA"))
    assert card.answer(bytes.fromhex(command)).hex().upper() == expected


def test_the_virtual_card_answers_as_t0_does() -> None:
    card = CpuCard(VirtualCard("00000000000000AA"))
    for command in SELECTED:
        assert card.answer(bytes.fromhex(command)) == b"\x90\x00"
    assert card.answer(bytes.fromhex("00B000FF02")) == b"\x6c\x01"
    assert card.answer(bytes.fromhex("00B0010001")) == b"\x6b\x00"
    assert len(card.answer(bytes.fromhex("00B0000000"))) == 258
    assert card.answer(bytes.fromhex("00D600FF02AABB")) == b"\x6b\x00"
    card.reset()
    assert card.answer(bytes.fromhex("00B0000001")) == b"\x69\x86"


def test_serial_number_of_an_atr() -> None:
    from host.link.pcsc import _historical

    for atr, expected in (
        ("3B680000" + "0102030405060708", "0102030405060708"),
        ("3B951381" + "01" + "4142434445" + "00", "4142434445"),
        ("3B8F8001" + "00" * 7 + "1122334455667788" + "6A", "1122334455667788"),
        ("3B00", ""),
    ):
        assert _historical(bytes.fromhex(atr)).hex() == expected, atr
