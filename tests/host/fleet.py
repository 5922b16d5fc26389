"""Concentrators by the formats of docs/SPEC.md alone, as many as a test needs, for a head-end.

Each takes commands, keeps a tariff that arrives in parts, and puts it in force. It may vanish
before or behind a part, and come back: what arrived so far is then forgotten.
"""

from collections import Counter
from hashlib import sha256

from host.frames import batch, link
from host.frames.batch import Head, Order, Outcome, Result
from host.frames.link import Frame, Kind, LinkReader

KEY = bytes(range(32))


class Concentrator:
    """One concentrator; `in_force` counts how often each image was put in force.

    vanishes_at     the part before which it is gone, counted from 0; -1: none
    tells           false: it is gone behind that part, and its answer with it
    """

    def __init__(self, number: int, vanishes_at: int = -1, tells: bool = True) -> None:
        self.number = number
        self.here = True
        self.in_force: Counter[bytes] = Counter()
        self.refused = 0
        self._vanishes_at = vanishes_at
        self._tells = tells
        self._epoch = 1
        self._messages = 0
        self._commands = 0
        self._stamp = 0
        self._last = (0, Outcome.DONE, "")  # the newest command that changes something
        self._arrived = bytearray()
        self._size = -1

    def greet(self) -> Frame:
        """Return a HELLO."""
        self.here = True
        return self._frame(Kind.HELLO, batch.build_hello(batch.Hello(1, 1)))

    def restart(self) -> Frame:
        """Come back after a loss of power; return the HELLO."""
        self._vanishes_at = -1
        self._size = -1
        self._epoch += 1
        return self.greet()

    def take(self, data: bytes) -> Frame | None:
        """Carry out a COMMAND; return its RESULT, None: it is gone, or counts for nothing."""
        (frame,) = LinkReader().feed(data)
        opened = batch.open_down(frame.kind, frame.body, self._journal, self._epoch, KEY)
        if opened.stamp <= self._stamp:
            return None
        self._stamp = opened.stamp
        vanishes = self._commands == self._vanishes_at
        self._commands += 1
        self.here = not vanishes
        if vanishes and self._tells:
            return None
        order = batch.parse_order(opened.payload)
        outcome, text = self._carry_out(order)
        self.refused += outcome == Outcome.REFUSED
        result = Result(order.number, outcome, 0, text.encode())
        return None if vanishes else self._frame(Kind.RESULT, batch.build_result(result))

    def _carry_out(self, order: Order) -> tuple[Outcome, str]:
        words = order.text.split(" ")
        if words[:2] == ["tariff", "begin"]:
            self._size = int(words[2])
            self._arrived.clear()
            return Outcome.DONE, words[2]
        if words[:2] == ["tariff", "data"]:
            offset, part = int(words[2]), bytes.fromhex(words[3])
            if self._size < 0 or offset > len(self._arrived):
                return Outcome.REFUSED, "it does not follow what is here"
            self._arrived[offset : offset + len(part)] = part  # it may come again
            return Outcome.DONE, str(len(self._arrived))
        if order.number == self._last[0]:
            return self._last[1:]
        if order.number < self._last[0]:
            return Outcome.REFUSED, f"it is older than command {self._last[0]}"
        self._last = (order.number, *self._commit(bytes.fromhex(words[3])))
        return self._last[1:]

    def _commit(self, name: bytes) -> tuple[Outcome, str]:
        image = bytes(self._arrived)
        if len(image) != self._size or sha256(image).digest()[:8] != name:
            return Outcome.REFUSED, "the image is not here"
        self.in_force[image] += 1
        return Outcome.DONE, "in force"

    @property
    def _journal(self) -> bytes:
        return self.number.to_bytes(8, "big")

    def _frame(self, kind: Kind, payload: bytes) -> Frame:
        self._messages += 1
        head = Head(self.number, self._journal, self._epoch, self._messages)
        body = batch.seal_up(kind, head, payload, KEY)
        (frame,) = LinkReader().feed(link.build(kind, self._messages & 0xFF, body))
        return frame
