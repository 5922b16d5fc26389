"""A head-end that commits and answers, and now and then does not: the far end of the uplink.

It takes the frames of one concentrator, verifies them, keeps the records and acknowledges what it
has, in virtual time. Faults lie on both sides of the commit: a message lost before it, an answer
lost, late or doubled behind it, a connection that breaks, a head-end that is away.

`connection` grows with each new connection and is 0 while there is none. `first_us` and `over_us`
are when the next answer arrives.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from host.frames import batch, link
from host.frames.batch import Ack, Envelope, Refusal, UplinkError
from host.frames.link import Frame, Kind, LinkReader
from host.frames.record import Record, RecordError, build
from host.sim.clock import Clock
from host.sim.hostile import DOWN, UP, Attacker
from host.sim.line import NEVER_US


@dataclass(frozen=True)
class HeadEndFaults:
    """How likely each trouble is, 0 to 1, for one message or its answer."""

    lost_message: float = 0.0  # before the commit
    lost_ack: float = 0.0  # behind it
    late_ack: float = 0.0  # by up to `late_limit_ms` more
    doubled_ack: float = 0.0
    broken_ack: float = 0.0  # a bit of it turned
    disconnect: float = 0.0  # behind the commit, the answer with it
    away: float = 0.0  # for up to `away_limit_s`, from this message on
    late_limit_ms: int = 20_000
    away_limit_s: int = 7200


class Inconsistent(Exception):
    """A record came under the number of another one, which no device may send."""


@dataclass
class HeadEnd:
    """One concentrator's head-end.

    records     what is committed, by sequence number
    acked_seq   everything up to here is in `records` or told lost
    connection  the number of the connection, 0 without one
    told_lost   numbers of records that the concentrator said it has no longer
    journal     identity of the one on record; None: the next genuine HELLO's
    tells_time  whether WELCOME says what time it is
    attacker    somebody on the network through whom all frames go, None: nobody
    """

    clock: Clock
    concentrator: int
    key: bytes
    faults: HeadEndFaults = HeadEndFaults()
    random: Random = field(default_factory=lambda: Random(0))
    answer_ms: int = 100
    tells_time: bool = False
    attacker: Attacker | None = None

    def __post_init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self.records: dict[int, Record] = {}
        self.acked_seq = 0
        self.told_lost: list[range] = []
        self.journal: bytes | None = None
        self._last = (0, 0)  # epoch and number of the newest message
        self._stamp = 0
        self.connection = 0
        self._connections = 0
        self._away_until_us = 0
        self._reader = LinkReader()
        self._answers: list[tuple[int, bytes]] = []  # (when, what), in order
        self.first_us = self.over_us = NEVER_US

    # --- the concentrator's side ---------------------------------------------------------------

    def connect(self) -> bool:
        """Make a new connection; false while the head-end is away."""
        self.close()
        if self.clock.now_us() < self._away_until_us:
            self.counters["refused_connections"] += 1
            return False
        self._connections += 1
        self.connection = self._connections
        return True

    def close(self) -> None:
        """Give the connection up, with all that is on its way."""
        self.connection = 0
        self._answers.clear()
        self.first_us = self.over_us = NEVER_US
        self._reader = LinkReader()
        if self.attacker is not None:
            self.attacker.reset()

    def write(self, data: bytes) -> int:
        """Send; return how many bytes were taken, 0 without a connection."""
        if not self.connection:
            return 0
        arrived = data if self.attacker is None else self.attacker.pass_on(data, UP)
        for frame in self._reader.feed(arrived):
            self._on_frame(frame)
        return len(data)

    def read(self) -> bytes:
        """Return what has come back by now."""
        now_us = self.clock.now_us()
        arrived = b""
        while self._answers and self._answers[0][0] <= now_us:
            arrived += self._answers.pop(0)[1]
        self._find_due()
        return arrived

    def _find_due(self) -> None:
        """Find when the next answer arrives."""
        self.first_us = self.over_us = self._answers[0][0] if self._answers else NEVER_US

    def next_us(self) -> int | None:
        """Return when the next answer arrives, None when none is on its way."""
        return self._answers[0][0] if self._answers else None

    def stored(self) -> Mapping[int, bytes]:
        """Return every record that is committed, by sequence number, as its 64 bytes."""
        return {seq: build(one) for seq, one in self.records.items()}

    def go_away(self, duration_us: int) -> None:
        """Break the connection and take no other for a while."""
        self.close()
        self._away_until_us = self.clock.now_us() + duration_us

    def come_back(self) -> None:
        """Take connections again from now on."""
        self._away_until_us = 0

    # --- the head-end's side -------------------------------------------------------------------

    def _happens(self, fault: str) -> bool:
        chance: float = getattr(self.faults, fault)
        happens = chance > 0 and self.random.random() < chance
        if happens:
            self.counters[fault] += 1
        return happens

    def _on_frame(self, frame: Frame) -> None:
        if not self.connection or self._happens("lost_message"):
            return
        if self._happens("away"):
            self.go_away(self.random.randrange(self.faults.away_limit_s * 1_000_000))
            return
        try:
            answer = self._answer(frame)
        except (UplinkError, RecordError) as error:
            self.counters[getattr(error, "reason", "malformed")] += 1
            return
        if self._happens("disconnect"):
            self.close()
        elif answer and not self._happens("lost_ack"):
            self._send(answer)

    def _send(self, answer: bytes) -> None:
        if self.attacker is not None:
            answer = self.attacker.pass_on(answer, DOWN)
            if not answer:
                return
        delay_ms = self.answer_ms
        if self._happens("late_ack"):
            delay_ms += self.random.randrange(self.faults.late_limit_ms)
        if self._happens("broken_ack"):
            spoiled = bytearray(answer)
            spoiled[self.random.randrange(len(answer))] ^= 1 << self.random.randrange(8)
            answer = bytes(spoiled)
        if self._happens("doubled_ack"):
            answer += answer
        self._answers.append((self.clock.now_us() + delay_ms * 1000, answer))
        self._answers.sort(key=lambda one: one[0])
        self._find_due()

    def _answer(self, frame: Frame) -> bytes:
        if frame.kind not in (Kind.HELLO, Kind.BATCH):
            raise UplinkError("unknown_kind", f"frame of kind {frame.kind:02X}")
        envelope = batch.open_up(frame.kind, frame.body, self.key)
        if envelope.concentrator != self.concentrator:
            raise UplinkError("unknown_concentrator", f"from {envelope.concentrator}")
        kind, payload = self._judge(envelope) or self._take_in(frame.kind, envelope)
        self._stamp += 1
        body = batch.seal_down(kind, envelope.head, self._stamp, payload, self.key)
        return link.build(kind, frame.seq, body)

    def _judge(self, envelope: Envelope) -> tuple[Kind, bytes] | None:
        """What is said to a journal that is not the one on record, or to an old message."""
        head = envelope.head
        if self.journal not in (None, head.journal):
            self.counters["other_journal"] += 1
            return Kind.REFUSED, batch.build_refused(Refusal.OTHER_JOURNAL, self.journal or b"")
        self.journal = head.journal
        if (head.epoch, head.number) < self._last:
            self.counters["stale"] += 1
            return Kind.REFUSED, batch.build_refused(
                Refusal.STALE, batch.known_numbers(*self._last)
            )
        self._last = (head.epoch, head.number)
        return None

    def _take_in(self, kind: int, envelope: Envelope) -> tuple[Kind, bytes]:
        if kind == Kind.HELLO:
            self._greet(envelope)
            t2000 = self.clock.now_t2000() if self.tells_time else 0
            return Kind.WELCOME, batch.build_welcome(Ack(self.acked_seq, t2000=t2000))
        self._commit(envelope)
        return Kind.ACK, batch.build_ack(Ack(self.acked_seq))

    def replace(self) -> None:
        """Take the records of another journal from now on: they begin anew."""
        self.journal = None
        self._last = (0, 0)
        self.records.clear()
        self.told_lost.clear()
        self.acked_seq = 0

    def _greet(self, envelope: Envelope) -> None:
        """Take note of what the device keeps."""
        hello = batch.parse_hello(envelope.payload)
        self.counters["hellos"] += 1
        if hello.first_seq > self.acked_seq + 1:
            self.told_lost.append(range(self.acked_seq + 1, hello.first_seq))
            self.acked_seq = hello.first_seq - 1
        if hello.next_seq <= self.acked_seq:
            self.counters["behind"] += 1

    def _commit(self, envelope: Envelope) -> None:
        """Keep what is new of a batch."""
        parsed = batch.parse_batch(envelope.payload)
        self.counters["batches"] += 1
        if parsed.first_seq > self.acked_seq + 1:
            self.counters["gaps"] += 1
            return
        for record in parsed.records:
            known = self.records.setdefault(record.seq, record)
            if known != record:
                raise Inconsistent(f"record {record.seq} came as {known} and as {record}")
            self.counters["duplicates" if record.seq <= self.acked_seq else "records"] += 1
        for gap in parsed.gaps:
            self.told_lost.append(range(max(gap.seq, self.acked_seq + 1), gap.seq + gap.count))
        self.acked_seq = max(self.acked_seq, parsed.next_seq - 1)
