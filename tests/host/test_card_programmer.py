"""Goal: a board works as card programmer from the PC's tools over console and chip to a household.

Method: the real concentrator runs the driver of an SLE4442 on simulated silicon, in virtual time,
behind a line that the host's own classes read and write.
"""

import sys
from pathlib import Path

import pytest
from card.chips.local import LocalCarrier
from card.chips.sle4442 import Sle4442
from concentrator.app import App

from host.cards import keystore
from host.cards.audit import AuditLog
from host.cards.issuing import IssueError, Issuer, give_serial
from host.frames import card as frames
from host.frames.card import CardKind, Header
from host.frames.card_results import CODES
from host.link.card import CardIoError
from host.link.console import Console
from host.link.programmer import PortCard

sys.path.insert(0, str(Path(__file__).parent.parent / "core"))

from silicon import Time
from silicon_sle4442 import Silicon
from test_concentrator_reader import Board

NOW = 820_000_000
ACCOUNT = "000000000017"
METER = "000000983764"


class Wire:
    """A line with the console's channel on one side and the PC's port on the other."""

    name = "the wire"

    def __init__(self) -> None:
        self.connection = 1
        self.waiting = 0
        self.to_device = b""
        self.to_pc = b""
        self.run = lambda: None

    def read_into(self, buf: bytearray) -> int:
        part = self.to_device[: len(buf)]
        self.to_device = self.to_device[len(part) :]
        self.waiting = len(self.to_device)
        buf[: len(part)] = part
        return len(part)

    def write(self, data: bytes | memoryview) -> int:
        if isinstance(data, memoryview):
            self.to_pc += bytes(data)
        else:
            self.to_device += data
            self.waiting = len(self.to_device)
        return len(data)

    def read(self, timeout_s: float) -> bytes:
        for _ in range(4000):
            if self.to_pc:
                break
            self.run()
        data, self.to_pc = self.to_pc, b""
        return data

    def close(self) -> None:
        pass


class Bench:
    """A concentrator with a console and a reader, and an SLE4442 as it is delivered."""

    def __init__(self) -> None:
        self.time = Time()
        self.chip = Silicon(self.time)
        self.wire = Wire()
        board = Board()
        board.console = self.wire
        chip = self.chip
        driver = Sle4442(chip.io, chip.clk, chip.rst, chip.detect, chip.power, self.time.delay_us)
        self.shown: list[tuple[int, bool]] = []
        carrier = LocalCarrier(
            driver, lambda code, credited, index: self.shown.append((code, credited))
        )
        self.app = App(board, 4, carrier=carrier)
        self.wire.run = self.step
        self.pass_ms(1500)

    def step(self) -> None:
        idle_ms = max(1, self.app.step(self.time.ticks(), NOW))
        self.time.now_us += idle_ms * 1000

    def pass_ms(self, delay_ms: int) -> None:
        end_us = self.time.now_us + delay_ms * 1000
        while self.time.now_us < end_us:
            self.step()

    def reinsert(self) -> None:
        self.chip.pull()
        self.pass_ms(1000)
        self.chip.insert()
        self.pass_ms(6000)


def header(keys: keystore.CardKeys) -> Header:
    return Header(
        kind=CardKind.OPEN,
        key_version=1,
        district=keys.district,
        account=ACCOUNT,
        meter=METER,
        uid="",
        order=1,
        amount_fen=5000,
        issued_t2000=NOW,
    )


def test_a_new_card_is_named_issued_and_redeemed(tmp_path: Path) -> None:
    bench = Bench()
    keys = keystore.new(4711)
    number = bench.app.login.number
    console = Console(bench.wire)  # type: ignore[arg-type]  # what it needs of a port
    for command in (
        "set district 4711",
        f"set card_key {keys.key_of(4711, 1).hex()}",
        f"set console_key {keys.console_key(4711, number, 1).hex()}",
    ):
        console.command(command)
    row = bytearray(bytes.fromhex(METER)[::-1] + bytes.fromhex(ACCOUNT) + b"\1\0\0\1\0")
    assert bench.app.books.set_meter(0, row)
    bench.chip.memory[8:16] = b"\xff" * 8

    with pytest.raises(CardIoError, match="wants the console key"):
        PortCard(bench.wire).read(0, 1)  # type: ignore[arg-type]  # what it needs of a port
    card = PortCard(bench.wire, keys)  # type: ignore[arg-type]  # as above
    assert card.uid == "0" * 16
    issuer = Issuer(keys.key_of, AuditLog(tmp_path / "log", keys.key_of))
    with pytest.raises(IssueError, match="no serial number"):
        issuer.issue(card, header(keys))

    def again() -> PortCard:
        bench.pass_ms(500)
        return card.look()

    serial = give_serial(card, again)
    assert card.uid == serial != "0" * 16
    with pytest.raises(IssueError, match="keeps it"):
        give_serial(card, card.look)

    issuer.issue(card, header(keys))
    assert frames.serial_of(bytes(bench.chip.memory)) == serial
    bench.shown.clear()
    bench.reinsert()
    assert bench.shown == [(CODES["OK"], True)]
    assert bench.app.ledger.balance_fen(0) == 5000
    found = frames.parse(card.look().read(0, 256), keys.key_of(4711, 1))
    assert found.used
    bench.chip.pull()
    bench.pass_ms(1000)
    with pytest.raises(CardIoError, match="no card in the reader"):
        card.look()
