"""The far side of a concentrator's console in virtual time: a technician, and a card reader.

    write() <-- device        far side answers after a while        read() --> device

One errand runs at a time: a command, repeated until it is answered, or a card, from its insertion
until it is pulled. Bytes that are spoilt on the way spoil their frame, and it is sent again.
"""

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Protocol

from host.frames.link import CONSOLE_BODY_LIMIT, Kind, LinkReader, build
from host.link.reader import CardReader, Redeemed
from host.sim.card import VirtualCard
from host.sim.line import NEVER_US
from host.world.agenda import Agenda

REPEAT_US = 1_000_000
GIVE_UP_US = 15_000_000
PAUSE_US = 500_000
_DELAYS_US = (20_000, 250_000)

CardDone = Callable[[Redeemed | None], None]
CommandDone = Callable[[list[str] | None], None]


class _Errand(Protocol):
    """An errand under way; `done` once it has ended, with success or not."""

    give_up_us: int

    @property
    def done(self) -> bool: ...

    def start(self) -> bytes:
        """Return the first bytes to send; they are sent again while no answer comes."""

    def feed(self, data: bytes) -> bytes:
        """Take bytes from the device; return the answer."""

    def end(self) -> bytes:
        """End the errand, done or given up; return the last bytes."""


class _Command:
    give_up_us = GIVE_UP_US

    def __init__(self, text: str, seq: int, then: CommandDone) -> None:
        self.done = False
        self._frame = build(Kind.COMMAND, seq, text.encode())
        self._seq = seq
        self._then = then
        self._frames = LinkReader(CONSOLE_BODY_LIMIT)
        self._lines: list[str] = []
        self._answer: list[str] | None = None

    def start(self) -> bytes:
        self._lines = []
        return self._frame

    def feed(self, data: bytes) -> bytes:
        for frame in self._frames.feed(data):
            if frame.seq != self._seq or self.done:
                continue
            if frame.kind == Kind.PART:
                self._lines.append(frame.body.decode())
            elif frame.kind == Kind.REPLY:
                text = frame.body[1:].decode()
                self._answer = [f"refused: {text}"] if frame.body[0] else [*self._lines, text]
                self.done = True
        return b""

    def end(self) -> bytes:
        self._then(self._answer)
        return b""


class _Insertion:
    def __init__(self, card: VirtualCard, number: int, give_up_us: int, then: CardDone) -> None:
        self.give_up_us = give_up_us
        self._card = card
        self._reader = CardReader(card, number)
        self._then = then

    @property
    def done(self) -> bool:
        return self._reader.result is not None or self._card.pulled

    def start(self) -> bytes:
        self._card.pulled = False
        return self._reader.present()

    def feed(self, data: bytes) -> bytes:
        return self._reader.feed(data)

    def end(self) -> bytes:
        self._card.pulled = True
        self._then(self._reader.result)
        return self._reader.gone()


class ConsoleSide:
    """A stream for a `StreamChannel`; `spoil` is how likely a piece of bytes is spoilt."""

    def __init__(self, agenda: Agenda, random: Random, spoil: float = 0.0) -> None:
        self.spoil = spoil
        self._agenda = agenda
        self._random = random
        self._waiting: deque[_Errand] = deque()
        self._errand: _Errand | None = None
        self._number = random.randrange(256)
        self._arriving: deque[tuple[int, bytes]] = deque()
        self.first_us = self.over_us = NEVER_US  # when more arrives at the device
        self._free_us = 0

    # --- errands -------------------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Return whether no errand is under way or waits."""
        return self._errand is None and not self._waiting

    def command(self, text: str, then: CommandDone) -> None:
        """Type `text`; `then` gets the lines of the answer, None when there was none."""
        self._number = (self._number + 1) & 0xFF
        self._put(_Command(text, self._number, then))

    def insert(self, card: VirtualCard, then: CardDone, pull_after_us: int = GIVE_UP_US) -> None:
        """Insert `card` until it has a result, or for a limited time."""
        self._number = (self._number + 1) & 0xFF
        self._put(_Insertion(card, self._number, pull_after_us, then))

    def _put(self, errand: _Errand) -> None:
        self._waiting.append(errand)
        self._agenda.after(PAUSE_US, self._next)

    def _next(self) -> None:
        if self._errand is None and self._waiting:
            errand = self._errand = self._waiting.popleft()
            self._agenda.after(errand.give_up_us, lambda: self._finish(errand))
            self._say_again(errand)

    def _say_again(self, errand: _Errand) -> None:
        if self._errand is errand:
            self._send(errand.start())
            self._agenda.after(REPEAT_US, lambda: self._say_again(errand))

    def _finish(self, errand: _Errand) -> None:
        """End the errand, done or given up."""
        if self._errand is errand:
            self._errand = None
            self._send(errand.end())
            self._agenda.after(PAUSE_US, self._next)

    # --- the stream ----------------------------------------------------------------------------

    def write(self, data: bytes) -> int:
        """Take bytes from the device; return their count."""
        errand = self._errand
        if errand is not None:
            self._send(errand.feed(self._on_the_way(data)))
            if errand.done:
                self._agenda.after(0, lambda: self._finish(errand))
        return len(data)

    def read(self) -> bytes:
        """Return the bytes that have arrived at the device by now."""
        now_us = self._agenda.now_us()
        arrived = b""
        while self._arriving and self._arriving[0][0] <= now_us:
            arrived += self._arriving.popleft()[1]
        self._find_due()
        return arrived

    def _find_due(self) -> None:
        self.first_us = self.over_us = self._arriving[0][0] if self._arriving else NEVER_US

    def _send(self, data: bytes) -> None:
        if data:
            at_us = self._agenda.now_us() + self._random.randrange(*_DELAYS_US)
            self._free_us = max(self._free_us, at_us)
            self._arriving.append((self._free_us, self._on_the_way(data)))
            self._find_due()

    def _on_the_way(self, data: bytes) -> bytes:
        if self.spoil and self._random.random() < self.spoil:
            spoilt = bytearray(data)
            spoilt[self._random.randrange(len(data))] ^= 1 << self._random.randrange(8)
            return bytes(spoilt)
        return data
