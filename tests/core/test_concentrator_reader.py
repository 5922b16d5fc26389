"""Goal: a card in the board's own reader is credited by the whole concentrator, kept across a
restart, and marked; power cut at any moment, it counts once.

Method: the real application on a storage in memory, the real driver on a simulated SLE4442, in
virtual time; the device is restarted from its storage, the card stays in or is put in again.
"""

import sys

from card import codes
from card.chips.local import LocalCarrier
from card.chips.sle4442 import Sle4442
from card.image import OPEN
from card_world import ACCOUNT, DISTRICT, DISTRICT_KEY, IMAGE, METER, NOW, VERSION, header
from concentrator.app import App
from harness import check, equal
from memory_storage import Storage
from silicon import Time
from silicon_sle4442 import Silicon

SERIAL = b"DK000001"
MOMENTS = 4 if sys.maxsize < 1 << 32 else 40  # an emulated board is slow


class Board:
    """This board has nothing but its storage."""

    def __init__(self) -> None:
        self.storage = Storage()
        self.lines = []
        self.console = None
        self.uplink = None
        self.waiting = 0
        self.reset_cause = 0

    def ask_t2000(self, source: int) -> int:
        """Return that the time is unknown."""
        return -1

    def set_t2000(self, t2000: int) -> None:
        """Ignore the time."""

    def random(self) -> int:
        """Return a number that no test uses."""
        return 7

    def feed(self) -> None:
        """Do nothing: there is no watchdog."""

    def show_card(self, code: int, credited: bool, index: int) -> None:
        """Do nothing: there is no buzzer."""


class Bench:
    """This is a concentrator with one account, and a card."""

    def __init__(self) -> None:
        self.time = Time()
        self.board = Board()
        self.chip = Silicon(self.time)
        self.chip.inserted = 0
        self.chip.memory[8:16] = SERIAL
        self.chip.protected[8:16] = bytes(8)
        self.shown = []
        self.start()
        settings = self.app.settings
        equal(settings.change("district", str(DISTRICT)), "")
        equal(settings.change("card_key_version", str(VERSION)), "")
        equal(settings.change("card_key", DISTRICT_KEY.hex()), "")
        check(self.app.books.set_meter(0, bytearray(METER + ACCOUNT + b"\x01\x00\x00\x01\x00")))

    def start(self) -> None:
        """Start the device from its storage."""
        chip = self.chip
        driver = Sle4442(chip.io, chip.clk, chip.rst, chip.detect, chip.power, self.time.delay_us)
        carrier = LocalCarrier(driver, lambda code, credited, index: self.shown.append(code))
        self.app = App(self.board, 4, carrier=carrier)

    def sell(self, order: int, kind: int = 2) -> None:
        """Put an image on the card."""
        head = header(order, 5000, kind, uid=SERIAL)
        self.chip.memory[IMAGE : IMAGE + len(head)] = head

    def run(self, delay_ms: int = 8000) -> None:
        """Let time pass at the device's own pace until a result is shown."""
        count = len(self.shown)
        while delay_ms > 0 and len(self.shown) == count:
            idle_ms = max(1, self.app.step(self.time.ticks(), NOW))
            self.time.now_us += idle_ms * 1000
            delay_ms -= idle_ms

    def pull(self) -> None:
        """Take the card out."""
        self.chip.pull()
        self.run(700)


def test_a_card_is_credited_kept_and_marked() -> None:
    bench = Bench()
    for order, kind in ((1, OPEN), (2, 2)):
        bench.sell(order, kind)
        bench.chip.insert()
        bench.run()
        equal(bench.shown, [codes.OK] * order)
        equal(bench.app.ledger.balance_fen(0), 5000 * order)
        equal(bench.chip.memory[IMAGE + 88 + 4], order)
        bench.pull()
        bench.start()
        equal(bench.app.ledger.balance_fen(0), 5000 * order, "after a restart")
    bench.chip.insert()
    bench.run()
    equal(bench.shown[-1], codes.USED)
    equal(bench.app.ledger.balance_fen(0), 10000)


def test_a_key_that_was_changed_counts_from_the_next_card_on() -> None:
    bench = Bench()
    bench.sell(1, OPEN)
    bench.app.settings.change("card_key_version", str(VERSION + 1))
    bench.chip.insert()
    bench.run()
    equal(bench.shown, [codes.KEY_VERSION])
    equal(bench.app.ledger.balance_fen(0), 0)
    bench.pull()
    bench.app.settings.change("card_key_version", str(VERSION))
    bench.chip.insert()
    bench.run()
    equal(bench.shown[-1], codes.OK)


def test_power_cut_at_any_moment_counts_once() -> None:
    bench = Bench()
    bench.sell(1, OPEN)
    bench.chip.insert()
    begun_us = bench.time.now_us
    bench.run()
    length_ms = (bench.time.now_us - begun_us) // 1000
    before = after = 0
    for moment in range(1, length_ms, max(1, length_ms // MOMENTS)):
        bench = Bench()
        bench.sell(1, OPEN)
        bench.chip.insert()
        bench.run(moment)
        if bench.app.ledger.balance_fen(0):
            after += 1
        else:
            before += 1
        bench.chip.power(0)
        bench.start()
        bench.run()
        check(bench.shown[-1] in (codes.OK, codes.COMPLETED, codes.USED), bench.shown)
        bench.pull()
        bench.chip.insert()
        bench.run()
        equal(bench.shown[-1], codes.USED, moment)
        equal(bench.app.ledger.balance_fen(0), 5000, moment)
        equal(bench.chip.memory[IMAGE + 88 + 4], 1, moment)
    check(before > 0)
    check(after > 0)
