"""Measure the longest step of a concentrator, in instructions, on a full flash.

No head-end takes the records: the journal grows until older segments are thinned, while every
meter is read, checkpoints are written, the tariff changes, a charge is corrected and cards are
redeemed. A start counts from one call of the watchdog to the next. What a technician types is in
longest_desk.py. Garbage is collected as concentrator/run.py does it, in
turns of their own, which count as steps too.
"""

import machine
import uctypes
from boards.littlefs import LittleStorage, open_filesystem
from boards.qemu import Flash
from card.keys import Keys
from card.redemption import Redemption
from concentrator.app import App
from concentrator.run import collect_garbage
from crypto import cmac
from crypto.aes import Aes
from village import HOUR_S, START_T2000, WATTS, Board, Village

_TICK_INSTRUCTIONS = 40
_TIMER = 0x40000000
_TOP = 0x3FFFFFFF
_MEMORY = 0x21000000
_BLOCK_SIZE = 4096
_PAGE = 256
# This is more than the number of parts of a checkpoint.
_CHECKPOINT_STEPS = 200
_THINNING_STEPS = 3000
_CARDS = 8
_CARD_STEPS = 60
_DEBT_FEN = 100000
# Suites of a card's MACs: HMAC, AES and SM4.
_SUITES = (1, 2, 3)
_PART_HEADER = 0x49
_IMAGE = 32
_HEADER_SIZE = 80


class SmallFlash(Flash):
    """This is the first `blocks` of the board's flash."""

    def __init__(self, blocks: int) -> None:
        self._blocks = blocks

    def erase(self) -> None:
        """Make the flash one that was never written."""
        size = _BLOCK_SIZE * self._blocks
        flash = memoryview(uctypes.bytearray_at(_MEMORY, size))
        blank = b"\xff" * _BLOCK_SIZE
        for start in range(0, size, _BLOCK_SIZE):
            flash[start : start + _BLOCK_SIZE][:] = blank

    def ioctl(self, operation: int, argument: int) -> int:
        """Answer littlefs as the whole flash does, but for the number of blocks."""
        return self._blocks if operation == 4 else super().ioctl(operation, argument)


class Watch:
    """This notes the most instructions between two moments, for each part of a life."""

    def __init__(self) -> None:
        self.most: dict[str, int] = {}
        self.part = ""
        self._before = 0
        for register, value in ((0, 0), (8, _TOP), (4, _TOP), (0, 1)):
            machine.mem32[_TIMER + register] = value

    def begin(self) -> None:
        """Count from now on."""
        self._before = machine.mem32[_TIMER + 4]

    def end(self, part: str = "") -> None:
        """Count no further."""
        ticks = (self._before - machine.mem32[_TIMER + 4]) & _TOP
        part = part or self.part
        self.most[part] = max(self.most.get(part, 0), ticks * _TICK_INSTRUCTIONS)

    def feed(self) -> None:
        """End one stretch at this call of the watchdog and begin the next."""
        self.end()
        self.begin()


class Longest(Village):
    """The longest steps of a village of `count` meters are noted; the flash has `blocks`."""

    def __init__(self, count: int, blocks: int) -> None:
        self.watch = Watch()
        flash = SmallFlash(blocks)
        flash.erase()
        super().__init__(count, LittleStorage(open_filesystem(flash, _PAGE, True)))
        self._run_command = self._run
        self._run = self._run_measured

    def calm(self) -> None:
        """Wait for nothing: no pin of a line is driven here."""

    def turn(self) -> int:
        """Run one step and measure it."""
        self.collect()
        self.watch.begin()
        idle_ms = super().turn()
        self.watch.end()
        return idle_ms

    def collect(self) -> None:
        """Collect garbage if that is due, and measure it."""
        self.watch.begin()
        if collect_garbage(self.app, self):
            self.watch.end("garbage")

    def _run_measured(self, line: str) -> "list[str]":
        """Carry out a command and measure each of its steps."""
        self.collect()
        self.watch.begin()
        steps = iter(self._run_command(line))
        lines = []
        text = next(steps, None)
        while text is not None:
            self.watch.end()
            lines.append(text)
            self.watch.begin()
            text = next(steps, None)
        self.watch.end()
        return lines

    def fill(self, blocks: int) -> None:
        """Charge readings as quickly as possible until only this many blocks are free."""
        books = self.app.books
        values = [0, 0, 0, 0, 0]
        while self.app.journal.room > blocks:
            self.t2000 += HOUR_S
            self.board.meters.t2000 = books.t2000 = self.t2000
            units = (self.t2000 - START_T2000) * WATTS // HOUR_S // 10
            values[0] = 10 * units
            values[1] = 10 * (units - units // 3)
            values[2] = 10 * (units // 3)
            for index in range(self.app.registry.count):
                books.charge_reading(index, values, 5, 0)
            self.settle()

    def settle(self) -> None:
        """Run the keeper until it has nothing to do."""
        left_ms = 0
        while left_ms == 0:
            self.collect()
            self.watch.begin()
            left_ms = self.app.keeper.step(self.ticks, 0)
            self.watch.end("filling")

    def checkpoint(self) -> None:
        """Write a checkpoint, one part in each step."""
        self.watch.part = "checkpoint"
        self.app.keeper.begin()
        for _ in range(_CHECKPOINT_STEPS):
            self.app.wake()
            self.turn()

    def make_room(self) -> None:
        """Thin old segments until readings have room."""
        self.watch.part = "thinning"
        steps = 0
        while steps < _THINNING_STEPS and self.app.journal.room < self.app.keeper._low_blocks:
            steps += 1
            self.app.wake()
            self.turn()

    def read(self, hours: int) -> None:
        """Read every meter this many times, an hour apart."""
        self.watch.part = "reading"
        for _ in range(hours):
            self.round()

    def correct(self) -> None:
        """Charge an account for energy that nobody used, and have it corrected."""
        self.watch.part = "correction"
        app = self.app
        books = app.books
        values = [0, 0, 0, 0, 0]
        for wrong_wh, times in ((30000, 1), (0, 2)):
            self.t2000 += HOUR_S
            books.t2000 = self.board.meters.t2000 = self.t2000
            units = (self.t2000 - START_T2000) * WATTS // HOUR_S // 10
            values[0] = 10 * units + wrong_wh
            values[1] = 10 * (units - units // 3) + wrong_wh
            values[2] = 10 * (units // 3)
            for _ in range(times):
                books.charge_reading(1, values, 5, 0)
        if books.searched != 1:
            raise ValueError("no correction is searched for")
        readings = books.readings
        while books.searched >= 0:
            self.app.wake()
            self.turn()
        if books.readings == readings:
            raise ValueError("the account was not corrected")

    def redeem(self) -> None:
        """Insert cards one after the other, and have each of them marked."""
        # Only here, because 512 meters leave no room for it beside them.
        from card_world import DISTRICT, DISTRICT_KEY, UID, VERSION, FakeCarrier, header, memory

        self.watch.part = "redemption"
        app = self.app
        # The port's own AES would hide how long that of the product takes.
        cmac._Aes = Aes  # type: ignore[assignment,misc]  # as on a board without cryptolib
        carrier = FakeCarrier()
        redeemer = Redemption(carrier, app.books, Keys(DISTRICT, VERSION, DISTRICT_KEY))
        account = bytes(app.registry.accounts[:6])
        meter = bytes(app.registry.addresses[:6])
        credit_fen = 0
        for order in range(1, _CARDS + 1):
            carrier.pull()
            redeemer.poll(0, START_T2000)
            kind = 1 if order == 1 else 2
            suite = _SUITES[order % len(_SUITES)]
            amount_fen = 100
            if order == _CARDS:  # it pays a debt, so that its supply comes back
                self.cut()
                amount_fen = _DEBT_FEN
            credit_fen += amount_fen
            card = memory(header(order, amount_fen, kind, account, meter, suite=suite))
            keys = Keys(DISTRICT, VERSION, DISTRICT_KEY)
            keys.select(suite, account, UID)
            for _ in keys.seal(_PART_HEADER, card, _IMAGE, _HEADER_SIZE):
                pass
            carrier.insert(card, UID)
            for _ in range(_CARD_STEPS):
                self.collect()
                self.watch.begin()
                redeemer.poll(0, START_T2000)
                self.watch.end()
                self.app.wake()
                self.turn()
        if app.ledger.credit_fen[0] != credit_fen:
            raise ValueError("not every card was credited")
        if app.registry.relay[0] & 0x10:
            raise ValueError("the supply has not come back")

    def cut(self) -> None:
        """Have the first account owe much, so that its supply is cut."""
        app = self.app
        app.ledger.debit_fen[0] = app.ledger.credit_fen[0] + _DEBT_FEN // 2
        app.books.review(0)
        self.rest()

    def change_tariff(self) -> None:
        """Load the image again, a command at a time, and write what follows from it."""
        self.watch.part = "tariff"
        self._load_tariff()
        self.rest()


def live(count: int, blocks: int) -> None:
    """Print the most instructions of each part of a life until a restart."""
    village = Longest(count, blocks)
    village.fill(blocks // 2)
    village.checkpoint()
    village.fill(village.app.keeper._low_blocks)
    village.checkpoint()
    village.correct()
    village.make_room()
    village.read(2)
    village.redeem()
    village.change_tariff()
    print(village.watch.most)


def save(count: int, blocks: int) -> None:
    """Print the most instructions of a part of a checkpoint of this many meters."""
    village = Longest(count, blocks)
    village.checkpoint()
    print(village.watch.most)


def start(count: int, blocks: int) -> None:
    """Print the most instructions of a start from the flash that `live` has left."""
    watch = Watch()
    board = Board(LittleStorage(open_filesystem(SmallFlash(blocks), _PAGE)))
    board.feed = watch.feed
    watch.part = "start"
    watch.begin()
    if App(board, count, 4).journal.durable_seq == 0:
        raise ValueError("nothing was kept")
    watch.end()
    print(watch.most)
