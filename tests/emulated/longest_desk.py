"""Measure the longest step of what a technician types, in instructions, with many meters.

Each command comes as a frame, and its answer leaves as frames, on a flash that is nearly full.
"""

from longest import Longest
from uplink import link
from village import Quiet

_STEPS_LIMIT = 5000
_ACCOUNT = 310000000001
_DEBT_FEN = 100000


class Typist(Quiet):
    """This far side of the console types commands, and counts the bytes of answers."""

    def __init__(self) -> None:
        super().__init__(1)
        self.answered = 0
        self._due = b""
        self._seq = 0

    def type(self, text: str) -> None:
        """Send a command."""
        buf = bytearray(400)
        self._seq += 1
        size = link.encode_into(buf, link.COMMAND, self._seq, text.encode(), len(text))
        self._due = bytes(buf[:size])
        self.waiting = size
        self.answered = 0

    def read_into(self, buf: bytearray) -> int:
        """Give what was typed."""
        part = self._due[: len(buf)]
        buf[: len(part)] = part
        self._due = self._due[len(part) :]
        self.waiting = len(self._due)
        return len(part)

    def write(self, buf: memoryview) -> int:
        """Take a part of an answer."""
        self.answered += len(buf)
        return len(buf)


class Desk(Longest):
    """The longest step of each command is noted under its name."""

    def __init__(self, count: int, blocks: int) -> None:
        super().__init__(count, blocks)
        self.typist = Typist()
        self.app.console._channel = self.typist
        self.rest()

    def do(self, text: str) -> None:
        """Type a command and live until it is answered and nothing of it is left to do."""
        self.watch.part = text
        console = self.app.console
        self.typist.type(text)
        steps = 0
        while (
            self.typist.waiting
            or self.typist.answered == 0
            or console._lines is not None
            or console._next < len(console._answer)
            or self.app._review_left
        ):
            self.app.wake()
            self.turn()
            steps += 1
            if steps > _STEPS_LIMIT:
                raise ValueError("no end of " + text)

    def standing(self) -> str:
        """Return the standing of an account as the head-end tells it."""
        lines = self.app.books.standing_of(2)
        return lines.hex()

    def exchange(self) -> None:
        """Exchange the first meter, which has used some energy since it was read."""
        ledger = self.app.ledger
        high_wh, low_wh = ledger.registers_wh[0] + 100, ledger.registers_wh[1] + 100
        last = [f"{wh / 1000:.2f}" for wh in (high_wh + low_wh, high_wh, low_wh)]
        self.do(f"meter exchange {_ACCOUNT} 000000999999 {' '.join(last)} / 0 0 0")
        if self.app.registry.address_text(0) != "000000999999":
            raise ValueError("the meter was not exchanged")

    def cut_all(self) -> None:
        """Have every account owe much, and a change of the policy tell all of them at once."""
        ledger = self.app.ledger
        for index in range(self.app.registry.count):
            ledger.order[index] = 1  # supply of who never paid is not cut
            ledger.debit_fen[index] = ledger.credit_fen[index] + _DEBT_FEN
        self.do("set overdraft_fen 100")
        if not self.app.registry.pending:
            raise ValueError("no supply is cut")

    def tell(self) -> None:
        """Write the standing of every account for the head-end."""
        self.watch.part = "standing"
        books = self.app.books
        books.telling = self.app.registry.count + 1
        limit = self.steps + _STEPS_LIMIT
        while books.telling:
            if self.steps > limit:
                raise ValueError("no end of the standings")
            self.collect()
            self.watch.begin()
            books.tell_next()
            self.watch.end()
            self.app.wake()
            self.turn()


def desk(count: int, blocks: int) -> None:
    """Print the most instructions of a step of each command."""
    village = Desk(count, blocks)
    village.fill(village.app.keeper._low_blocks + 8)
    account = str(_ACCOUNT + 2)
    for text in (
        "help",
        "status",
        "counters",
        "settings",
        "tariff list",
        "meter list",
        "journal 1 32",
        "account " + account,
        "account standing " + account,
        "account restore " + account + " " + village.standing(),
        "account set " + account + " grade 1",
        "account moved " + account,
        "set interval_s 1800",
        "set card_key " + "5a" * 16,
        "set seed " + "5a" * 32,
        "supply " + account + " cut",
        "meter remove " + account,
        "save",
    ):
        village.do(text)
    village.exchange()
    village.cut_all()
    village.tell()
    print(village.watch.most)
