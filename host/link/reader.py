"""The PC as the card reader of a concentrator, over its console line.

    CARD_PRESENT uid 8, size 2      ->
                                    <-  CARD_READ  offset 2, size 2
    CARD_DATA status 1, bytes       ->
                                    <-  CARD_WRITE offset 2, bytes
    CARD_WRITTEN status 1           ->
                                    <-  CARD_RESULT code 1, credited 1, account index 2
    CARD_GONE                       ->

`CardReader` has no input or output of its own: bytes in, bytes out. `redeem` runs it on a line.
"""

import random
import time
from dataclasses import dataclass

from host.frames.link import CONSOLE_BODY_LIMIT, Frame, Kind, LinkReader, build
from host.link.card import CardMemory
from host.link.port import Port
from host.words import _

TIMEOUT_S = 15.0
REPEAT_S = 1.0
READ_LIMIT = CONSOLE_BODY_LIMIT - 1
_GOOD = b"\0"
_BAD = b"\1"


class ReaderError(Exception):
    """The concentrator did not come to a result; the message says what to try."""


@dataclass(frozen=True, slots=True)
class Redeemed:
    """What the concentrator answered. `index` of its account, None where it found none."""

    code: int
    credited: bool
    index: int | None


class CardReader:
    """A reader with one card in it, on the far side of the line."""

    def __init__(self, card: CardMemory, insertion: int) -> None:
        """`insertion` numbers the insertion, 0..255, unlike the one before on this line."""
        self.result: Redeemed | None = None
        self._card = card
        self._insertion = insertion
        self._frames = LinkReader(CONSOLE_BODY_LIMIT)
        self._answered: tuple[Frame, bytes] | None = None

    def present(self) -> bytes:
        """Say that the card is there; the same again while nothing happens."""
        body = bytes.fromhex(self._card.uid) + self._card.size.to_bytes(2, "little")
        return build(Kind.CARD_PRESENT, self._insertion, body)

    def gone(self) -> bytes:
        """Say that the card was pulled."""
        return build(Kind.CARD_GONE, self._insertion)

    def feed(self, data: bytes) -> bytes:
        """Take what came from the concentrator; return what to send."""
        return b"".join(self._answer(frame) for frame in self._frames.feed(data))

    def _answer(self, frame: Frame) -> bytes:
        # A request that is repeated lost its answer: give that again.
        if self._answered and self._answered[0] == frame:
            return self._answered[1]
        answer = b""
        if frame.kind == Kind.CARD_RESULT and len(frame.body) == 4:
            if frame.seq == self._insertion:
                index = int.from_bytes(frame.body[2:], "little")
                credited = frame.body[1] != 0
                self.result = Redeemed(frame.body[0], credited, None if index > 0xFFFE else index)
        elif frame.kind == Kind.CARD_READ and len(frame.body) == 4:
            answer = build(Kind.CARD_DATA, frame.seq, self._read(frame.body))
        elif frame.kind == Kind.CARD_WRITE and len(frame.body) > 2:
            answer = build(Kind.CARD_WRITTEN, frame.seq, self._write(frame.body))
        self._answered = (frame, answer)
        return answer

    def _read(self, body: bytes) -> bytes:
        offset, size = int.from_bytes(body[:2], "little"), int.from_bytes(body[2:], "little")
        if size > READ_LIMIT:
            return _BAD
        try:
            return _GOOD + self._card.read(offset, size)
        except OSError:
            return _BAD

    def _write(self, body: bytes) -> bytes:
        try:
            self._card.write(int.from_bytes(body[:2], "little"), body[2:])
        except OSError:
            return _BAD
        return _GOOD


def redeem(port: Port, card: CardMemory, timeout_s: float = TIMEOUT_S) -> Redeemed:
    """Insert `card` into the concentrator on `port` and wait for its result, then pull it."""
    reader = CardReader(card, random.randrange(256))
    ends_s = time.monotonic() + timeout_s
    # A reader that was killed may have left the same insertion behind.
    port.write(reader.gone())
    repeat_at_s = 0.0
    while reader.result is None:
        now_s = time.monotonic()
        if now_s >= ends_s:
            raise ReaderError(
                _(
                    "no result on {name} within {timeout_s:g} s: is it the console of a running "
                    "concentrator? Insert the card again, money counts only once"
                ).format(name=port.name, timeout_s=timeout_s)
            )
        if now_s >= repeat_at_s:
            port.write(reader.present())
            repeat_at_s = now_s + REPEAT_S
        answer = reader.feed(port.read(min(ends_s, repeat_at_s) - now_s))
        if answer:
            port.write(answer)
            repeat_at_s = time.monotonic() + REPEAT_S
    port.write(reader.gone())
    return reader.result
