"""Measure the longest step of what a technician types, in instructions, with many meters.

Each command comes as a frame, and its answer leaves as frames, on a flash that is nearly full.
`set` is not among them: it changes the flash three times in one step, which takes 5.3 million.
"""

from longest import Longest
from uplink import link
from village import Quiet

_STEPS_LIMIT = 5000
_ACCOUNT = 310000000001


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
        "supply " + account + " cut",
        "meter remove " + account,
        "save",
    ):
        village.do(text)
    village.tell()
    print(village.watch.most)
