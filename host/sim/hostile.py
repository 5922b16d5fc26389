"""An attacker on the network between a concentrator and its head-end.

Every frame goes through it, both ways. It drops, delays, doubles, reorders and replays frames,
turns their bits, splices two of them, gives them another kind, number or sender, sends them back
to where they came from, and poses as either side under keys of its own. Frame checks are always
right again, so that each of these reaches the envelope. It keeps the commands of all connections:
it brings old ones again, and invents others under its own key and that of another concentrator.
"""

from collections.abc import Callable
from random import Random

from host.frames import batch, link
from host.frames.batch import Head, Order
from host.frames.link import Frame, Kind, LinkReader

UP, DOWN = 0, 1
_HEARD_LIMIT = 300
_HELD_LIMIT = 4
_KINDS = (
    *(Kind.HELLO, Kind.BATCH, Kind.WELCOME, Kind.ACK, Kind.REFUSED, Kind.BUSY_LATER),
    *(Kind.ORDER, Kind.RESULT),
)
_FORGED = "set interval_s 7200"
_FOR_EVER_T2000 = 0xFFFFFFFF
_LATEST_STAMP = (1 << 60) - 1


class Attacker:
    """Passes frames on, or does harm to a share of them.

    counters    how often it did what
    foreign     another concentrator and its key, which the attacker has stolen
    """

    def __init__(
        self, random: Random, share: float = 0.4, foreign: tuple[int, bytes] | None = None
    ) -> None:
        self._foreign = foreign
        self._ordered: list[Frame] = []
        self._seen: Head | None = None  # of the newest message that went up
        self._random = random
        self._share = share
        self._readers = (LinkReader(), LinkReader())
        self._heard: list[Frame] = []
        self._held: tuple[list[Frame], list[Frame]] = ([], [])
        self.counters: dict[str, int] = {}
        self._attacks: tuple[Callable[[Frame, int], list[Frame]], ...] = (
            *(self._drop, self._delay, self._double, self._reorder, self._splice),
            *(self._replay, self._turn, self._rename, self._reflect, self._pose),
            *(self._order_again, self._forge_order),
        )

    def reset(self) -> None:
        """Forget what is under way: the connection has ended."""
        self._readers = (LinkReader(), LinkReader())
        for held in self._held:
            held.clear()

    def pass_on(self, data: bytes, way: int) -> bytes:
        """Return what arrives of the bytes that were sent `UP` or `DOWN`."""
        arrived: list[Frame] = []
        for frame in self._readers[way].feed(data):
            if self._random.random() < self._share:
                attack = self._random.choice(self._attacks)
                name = attack.__name__.strip("_")
                self.counters[name] = self.counters.get(name, 0) + 1
                arrived += attack(frame, way)
            else:
                arrived.append(frame)
            self._heard.append(frame)
            del self._heard[:-_HEARD_LIMIT]
            if way == UP and frame.body[:1] == bytes((batch.VERSION,)):
                self._seen = batch.peek(frame.body)
            if frame.kind == Kind.ORDER and way == DOWN:
                self._ordered.append(frame)
                del self._ordered[:-_HEARD_LIMIT]
        held = self._held[way]
        while held and (len(held) > _HELD_LIMIT or self._random.random() < 0.2):
            arrived.append(held.pop(self._random.randrange(len(held))))
        return b"".join(link.build(one.kind, one.seq, one.body) for one in arrived)

    def _any(self, other: Frame) -> Frame:
        """Return a frame that was heard before."""
        return self._random.choice(self._heard) if self._heard else other

    def _drop(self, frame: Frame, way: int) -> list[Frame]:
        return []

    def _delay(self, frame: Frame, way: int) -> list[Frame]:
        self._held[way].append(frame)
        return []

    def _double(self, frame: Frame, way: int) -> list[Frame]:
        return [frame] * self._random.randrange(2, 5)

    def _reorder(self, frame: Frame, way: int) -> list[Frame]:
        held = self._held[way]
        return [frame, held.pop(0)] if held else self._delay(frame, way)

    def _splice(self, frame: Frame, way: int) -> list[Frame]:
        """Join the beginning of one frame and the end of another."""
        other = self._any(frame)
        at = self._random.randrange(min(len(frame.body), len(other.body)) + 1)
        return [Frame(frame.kind, frame.seq, frame.body[:at] + other.body[at:])]

    def _replay(self, frame: Frame, way: int) -> list[Frame]:
        return [self._any(frame), frame][:: self._random.choice((1, -1))]

    def _turn(self, frame: Frame, way: int) -> list[Frame]:
        body = bytearray(frame.body)
        for _ in range(self._random.randrange(1, 4)):
            body[self._random.randrange(len(body))] ^= 1 << self._random.randrange(8)
        return [Frame(frame.kind, frame.seq, bytes(body)), frame][: self._random.randrange(1, 3)]

    def _rename(self, frame: Frame, way: int) -> list[Frame]:
        """Give a frame another kind, or its body another version, sender, epoch or number."""
        kind, body = frame.kind, bytearray(frame.body)
        at = self._random.choice((-1, 0, 1, 5, 13, 17))
        if at < 0 or at >= len(body):
            kind = self._random.choice(_KINDS)
        else:
            body[at] = (body[at] + self._random.choice((1, 255))) & 0xFF
        return [Frame(kind, frame.seq, bytes(body))]

    def _reflect(self, frame: Frame, way: int) -> list[Frame]:
        """Let it arrive where it came from, as the next that goes there."""
        self._held[1 - way].append(frame)
        return []

    def _pose(self, frame: Frame, way: int) -> list[Frame]:
        """Add a message of the same sender under a key of the attacker's own."""
        key = self._random.randbytes(32)
        if way == UP:
            seen = batch.peek(frame.body) if frame.body[0] == batch.VERSION else None
            if seen is None:
                return [frame]
            number = min(seen.number + self._random.randrange(1000), 0xFFFFFFFF)
            head = Head(seen.concentrator, seen.journal, seen.epoch, number)
            body = batch.seal_up(frame.kind, head, frame.body[21:-8], key)
        else:
            answers = int.from_bytes(frame.body[5:9], "little")
            head = Head(int.from_bytes(frame.body[1:5], "little"), bytes(8), 0, answers)
            body = batch.seal_down(
                frame.kind, head, self._random.getrandbits(60), b"\xff" * 9, key
            )
        return [Frame(frame.kind, frame.seq, body), frame]

    def _order_again(self, frame: Frame, way: int) -> list[Frame]:
        """Bring a command of this connection or an earlier one again."""
        if way == UP or not self._ordered:
            return [frame]
        return [self._random.choice(self._ordered), frame][:: self._random.choice((1, -1))]

    def _forge_order(self, frame: Frame, way: int) -> list[Frame]:
        """Add a command under a key of its own, or a genuine one to another concentrator."""
        head = self._seen
        if way == UP or head is None:
            return [frame]
        concentrator, key = head.concentrator, self._random.randbytes(32)
        if self._foreign is not None and self._random.random() < 0.5:
            concentrator, key = self._foreign
        to = Head(concentrator, head.journal, head.epoch, 0)
        text = batch.build_order(Order(_FOR_EVER_T2000, _FOR_EVER_T2000, _FORGED))
        body = batch.seal_down(Kind.ORDER, to, _LATEST_STAMP, text, key)
        return [Frame(Kind.ORDER, 0, body), frame][:: self._random.choice((1, -1))]
