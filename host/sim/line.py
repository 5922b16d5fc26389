"""A half-duplex RS-485 line: one master, its meters, and what goes wrong between them.

Every byte takes its time at the speed it is sent with (11 bits), and is heard when it is over.
Two that send at the same time spoil each other. A meter hears what the master sends at the meter's
own speed, and answers after its delay. All chances come from one `Random`, in the order of
events, so that a seed repeats everything.

    master  write(bytes) -->  |=======|           -->  meters: Meter.answer
            read() <--                 delay |========|

Spec: DL/T 645-2007 5.2 (character), 5.3 (delay and gap).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from host.frames import dlt645
from host.frames.dlt645 import BROADCAST, Frame, Reader
from host.sim.clock import Clock
from host.sim.meter import Meter
from host.sim.responder import Responder

BITS_PER_BYTE = 11
GAP_LIMIT_US = 500_000
_US = 1_000_000
_MASTER = -1
_STRANGER = -2
_LOST = -1  # a byte that does not arrive
NEVER_US = 1 << 62


@dataclass(frozen=True)
class LineFaults:
    """How likely each trouble is, 0 to 1, for one request or one reply if nothing else is said."""

    drop_byte: float = 0.0  # of each byte, in both directions
    flip_bit: float = 0.0  # in each byte, in both directions
    lost_request: float = 0.0  # no meter hears it
    lost_reply: float = 0.0  # the meter has acted, and its reply does not arrive
    late_reply: float = 0.0  # by up to `late_limit_ms` more
    foreign_reply: float = 0.0  # carries the address of no meter here
    stale_reply: float = 0.0  # is the one before, once more
    cut_reply: float = 0.0  # ends too early
    doubled_start: float = 0.0  # its first 68 comes twice
    noise: float = 0.0  # up to 12 bytes of anything before it
    babble: float = 0.0  # up to 400 bytes of anything behind it
    stray_noise: float = 0.0  # up to 40 bytes of anything, within 2 s of the request
    jabber: float = 0.0  # something sends without end, for up to `jabber_limit_s`
    unseen_parity: float = 0.0  # two of its bits turn, which the checksum lets pass; see _deceive
    silent_meter: float = 0.0  # the meter answers nothing for up to `silent_limit_s`
    jitter_ms: int = 0  # each reply is up to this much later
    late_limit_ms: int = 3000
    silent_limit_s: int = 3600
    jabber_limit_s: int = 20


@dataclass(slots=True)
class _Burst:
    """Bytes one speaker sends without a pause; a value below 0 is lost."""

    source: int
    start_us: int
    baud: int
    values: list[int]
    taken: int = 0
    over_us: int = field(init=False)

    def __post_init__(self) -> None:
        self.over_us = self.end_us(len(self.values) - 1)

    def end_us(self, index: int) -> int:
        """Return when byte `index` is over; 0 has passed at the start where `baud` is 0."""
        return self.start_us + ((index + 1) * BITS_PER_BYTE * _US // self.baud if self.baud else 0)

    def over_by(self, now_us: int) -> int:
        """Return how many bytes are over by `now_us`."""
        if now_us >= self.over_us:
            return len(self.values)
        # The most bytes whose end, rounded down as in `end_us`, is not behind now.
        elapsed_us = now_us - self.start_us
        return max(0, ((elapsed_us + 1) * self.baud - 1) // (BITS_PER_BYTE * _US))


@dataclass
class Line:
    """The line of `meters`; a change of `baud` is the master's, for what it sends and reads.

    baud        0: the bytes come and go at once, because something else gives them their time
    echo        the master hears itself
    counters    each fault by its name, and requests, replies, collisions, wrong_speed
    wire_us     time that bytes took so far
    delay_us    time that meters took before they answered
    """

    clock: Clock
    meters: Sequence[Meter]
    faults: LineFaults = LineFaults()
    random: Random = field(default_factory=lambda: Random(0))
    baud: int = 2400
    echo: bool = False

    def __post_init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self.wire_us = 0
        self.delay_us = 0
        self._reader = Reader()
        self._heard_us = 0  # when the meters last heard something
        self._requests: list[_Burst] = []  # not yet heard by the meters
        self._bursts: list[_Burst] = []  # not yet read by the master
        self._silent_until_us: dict[int, int] = {}
        self._responders: dict[int, Responder] = {}
        self._replies: dict[int, bytes] = {}  # the last of each meter
        self._understood_us: dict[int, int] = {}  # when a meter last heard its own speed
        # When the first byte is heard, and when the first request or reply is over.
        self.first_us = self.over_us = NEVER_US

    # --- the master's side ---------------------------------------------------------------------

    def write(self, data: bytes) -> int:
        """Send, behind what is still being sent; return how many bytes were taken: all."""
        if data:
            self._advance()
            start_us = self.clock.now_us()
            if self._requests:
                start_us = max(start_us, self._requests[-1].over_us)
            burst = _Burst(_MASTER, start_us, self.baud, list(data))
            self._requests.append(burst)
            self._put(burst)
            self._find_due()
        return len(data)

    def read(self) -> bytes:
        """Return what has arrived by now, in order."""
        now_us = self.clock.now_us()
        if now_us < self.first_us:
            return b""
        self._advance()
        if len(self._bursts) == 1 and self._bursts[0].over_us <= now_us:
            arrived = self._read_last()
        else:
            arrived = self._read_some(now_us)
        self._find_due()
        return arrived

    def _read_some(self, now_us: int) -> bytes:
        """Return what was heard by now of all who send."""
        heard: list[tuple[int, int]] = []
        for burst in self._bursts:
            count = burst.over_by(now_us)
            if burst.source == _MASTER and not self.echo:
                burst.taken = count
                continue
            for index in range(burst.taken, count):
                value = burst.values[index]
                if value != _LOST:
                    heard.append((burst.end_us(index), self._at_speed(value, burst.baud)))
            burst.taken = count
        self._bursts = [burst for burst in self._bursts if burst.over_us > now_us]
        heard.sort(key=lambda byte: byte[0])
        return bytes([value for _, value in heard])

    def _read_last(self) -> bytes:
        """Return the rest of the only speaker, which needs no sorting."""
        burst = self._bursts.pop()
        if burst.source == _MASTER and not self.echo:
            return b""
        values = burst.values[burst.taken :]
        if burst.baud != self.baud:
            values = [
                value if value == _LOST else self._at_speed(value, burst.baud) for value in values
            ]
        return _heard(values)

    def next_us(self) -> int | None:
        """Return the time when the next request or reply is over; None while the line is quiet.

        A caller may let time jump there and misses nothing; one that reads earlier gets the bytes
        that were sent up to then.
        """
        return None if self.over_us == NEVER_US else max(self.over_us, self.clock.now_us())

    def _find_due(self) -> None:
        """Find when the first byte is heard, and when the first request or reply is over."""
        first_us = over_us = NEVER_US
        for burst in self._bursts:
            over_us = min(over_us, burst.over_us)
            first_us = min(first_us, burst.end_us(burst.taken))
        for burst in self._requests:
            over_us = min(over_us, burst.over_us)
        self.over_us = over_us
        self.first_us = min(first_us, over_us)

    # --- the wire ------------------------------------------------------------------------------

    def _happens(self, fault: str) -> bool:
        chance: float = getattr(self.faults, fault)
        if not chance:
            return False
        happens = self.random.random() < chance
        if happens:
            self.counters[fault] += 1
        return happens

    def _at_speed(self, value: int, baud: int) -> int:
        if baud == self.baud:
            return value
        self.counters["wrong_speed"] += 1
        return self.random.randrange(256)

    def _put(self, burst: _Burst) -> None:
        """Put a burst on the wire; spoil what it meets."""
        self.wire_us += burst.over_us - burst.start_us
        for other in self._bursts:
            if other.source != burst.source and burst.baud and other.baud:
                self._collide(other, burst)
        self._bursts.append(burst)

    def _collide(self, one: _Burst, two: _Burst) -> None:
        """Spoil what meets: one is heard, bit on bit as wired-and, else anything.

        The first of the others is lost, as its stop bit is: what remains is too short to pass
        for a frame.
        """
        if one.over_us <= two.start_us or two.over_us <= one.start_us:
            return
        self.counters["collisions"] += 1
        bit_us = _US // one.baud
        first = 0
        met = False
        for index in range(len(two.values)):
            start_us, end_us = two.end_us(index - 1), two.end_us(index)
            while first < len(one.values) and one.end_us(first) <= start_us:
                first += 1
            if first == len(one.values):
                return
            if one.end_us(first - 1) >= end_us:
                continue
            if abs(one.end_us(first) - end_us) * 4 < bit_us:
                one.values[first] &= two.values[index]
            else:
                one.values[first] = self.random.randrange(256) if met else _LOST
                met = True
            two.values[index] = _LOST

    def _spoil(self, values: list[int]) -> None:
        """Drop bytes and turn bits, as the chances are.

        Bits that deceive the checksum are seen by the parity of their characters: the receiver
        drops those.
        """
        if not self.faults.drop_byte and not self.faults.flip_bit:
            return
        sent = _frames(values)
        turned = []
        for index, value in enumerate(values):
            if value != _LOST and self._happens("flip_bit"):
                values[index] = value ^ 1 << self.random.randrange(8)
                turned.append(index)
            if self._happens("drop_byte"):
                values[index] = _LOST
        while turned and not _frames(values) <= sent:
            values[turned.pop()] = _LOST

    def _deceive(self, values: list[int]) -> None:
        """Turn a bit on in one character and off in another, so that the checksum stays right.

        The parity of both is wrong, and the receiver, as the UARTs of boards, does not look at it.
        """
        first = values.index(dlt645.START) + 1 if dlt645.START in values else 0
        inside = range(first, len(values) - 2)
        bit = 1 << self.random.randrange(8)
        known = [at for at in inside if values[at] != _LOST]
        on = [at for at in known if values[at] & bit]
        off = [at for at in known if not values[at] & bit]
        if on and off:
            values[self.random.choice(on)] ^= bit
            values[self.random.choice(off)] ^= bit

    def _disturb(self, burst: _Burst) -> None:
        """Let a stranger send, around the replies to this request."""
        size = delay_us = 0
        if self._happens("stray_noise"):
            size = self.random.randrange(1, 41)
            delay_us = self.random.randrange(2 * _US)
        if self._happens("jabber"):
            bits = self.faults.jabber_limit_s * (burst.baud or 2400)
            size = 1 + self.random.randrange(bits) // BITS_PER_BYTE
        if size:
            values = list(self.random.randbytes(size))
            self._put(_Burst(_STRANGER, burst.over_us + delay_us, burst.baud, values))

    # --- the meters' side ----------------------------------------------------------------------

    def _advance(self) -> None:
        """Let the meters hear the requests that are over by now."""
        now_us = self.clock.now_us()
        while self._requests and self._requests[0].over_us <= now_us:
            self._hear(self._requests.pop(0))

    def _hear(self, burst: _Burst) -> None:
        if burst.start_us - self._heard_us > GAP_LIMIT_US:
            self._reader.silence()
        self._heard_us = burst.over_us
        for index, meter in enumerate(self.meters):
            if meter.baud != burst.baud and burst.baud:
                meter.unheard(burst.start_us - self._understood_us.get(index, 0))
            if meter.baud == burst.baud:
                self._understood_us[index] = burst.over_us
        self._disturb(burst)
        if self._happens("lost_request"):
            return
        values = list(burst.values)
        self._spoil(values)
        for frame in self._reader.feed(_heard(values)):
            self.counters["requests"] += 1
            address = frame.address
            is_for_many = address == BROADCAST or "AA" in address
            for index, meter in enumerate(self.meters):
                is_asked = meter.address == address or is_for_many
                if is_asked and (meter.baud == burst.baud or not burst.baud):
                    self._ask(index, frame, burst)

    def _ask(self, index: int, frame: Frame, burst: _Burst) -> None:
        meter = self.meters[index]
        heard_us = burst.over_us
        if self._silent_until_us.get(index, 0) > heard_us:
            return
        reply = self._responder(index).answer(frame, self.clock.now_t2000())
        if reply is None:
            return
        if self._happens("silent_meter"):
            silent_us = self.random.randrange(self.faults.silent_limit_s * _US)
            self._silent_until_us[index] = heard_us + silent_us
            return
        if self._happens("lost_reply"):
            return
        delay_us = meter.reply_delay_ms * 1000
        if self.faults.jitter_ms:
            delay_us += self.random.randrange(self.faults.jitter_ms * 1000)
        self.delay_us += delay_us
        if self._happens("late_reply"):
            delay_us += self.random.randrange(self.faults.late_limit_ms * 1000)
        before = self._replies.get(index, reply)
        self._replies[index] = reply
        values = list(self._altered(before if self._happens("stale_reply") else reply))
        self._spoil(values)
        if self._happens("unseen_parity"):
            self._deceive(values)
        self.counters["replies"] += 1
        # A new speed counts from the next request on: the reply leaves as the request came.
        self._put(_Burst(index, heard_us + delay_us, burst.baud, values))

    def _responder(self, index: int) -> Responder:
        """Return what answers at that place, a new one where the meter was exchanged."""
        known = self._responders.get(index)
        if known is None or known.meter is not self.meters[index]:
            known = self._responders[index] = Responder(self.meters[index])
        return known

    def _altered(self, reply: bytes) -> bytes:
        """Return the reply with the faults that change it as a whole."""
        if self._happens("foreign_reply"):
            frame = dlt645.parse(reply)
            address = f"{self.random.randrange(10**12):012d}"
            reply = dlt645.build(address, frame.control, frame.data)
        if self._happens("cut_reply"):
            reply = reply[: self.random.randrange(1, len(reply))]
        if self._happens("doubled_start"):
            start = reply.find(dlt645.START)
            reply = reply[: start + 1] + reply[start:] if start >= 0 else reply
        if self._happens("noise"):
            reply = self.random.randbytes(self.random.randrange(1, 13)) + reply
        if self._happens("babble"):
            reply += self.random.randbytes(self.random.randrange(1, 401))
        return reply


def _heard(values: list[int]) -> bytes:
    if _LOST in values:
        values = [value for value in values if value != _LOST]
    return bytes(values)


def _frames(values: list[int]) -> set[bytes]:
    """Return the frames that a reader finds in these bytes."""
    reader = Reader()
    return {frame.raw for frame in (*reader.feed(_heard(values)), *reader.silence())}
