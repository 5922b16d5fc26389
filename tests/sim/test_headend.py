"""Goal: the world's head-end and the device's own session lose no record and store none twice.

Method: a village's records go through uplink.session to the simulated head-end under each fault,
in virtual time; in the end it must hold exactly the records the device wrote, and the device must
know that. A message that a device must not send is refused or raises.
"""

from random import Random

import pytest
from uplink.envelope import Envelope
from uplink.session import IDLE, Session

from host.frames import batch, link, packing, record
from host.frames.link import Kind
from host.frames.record import RecordKind
from host.sim.clock import VirtualClock
from host.sim.headend import HeadEnd, HeadEndFaults, Inconsistent

KEY = bytes(range(32))
JOURNAL = b"journal!"
STEP_US = 50_000


class Source:
    """A source of records as a journal keeps them."""

    outbox_seq = 1
    group_end = 0

    def __init__(self, count: int) -> None:
        self.records = [
            record.make(seq, 800_000_000 + seq, RecordKind.LINE, {"state": 1, "failures": seq})
            for seq in range(1, count + 1)
        ]

    @property
    def durable_seq(self) -> int:
        return len(self.records)

    def group_into(self, seq: int, buf: bytearray, start: int, limit: int) -> int:
        group = packing.build_groups(self.records[seq - 1 : seq + 4])
        if len(group) > limit:
            return 0
        buf[start : start + len(group)] = group
        self.group_end = min(seq + 5, len(self.records) + 1)
        return len(group)


def exchange(source: Source, headend: HeadEnd, hours: int = 24) -> Session:
    """Run the session until all is acknowledged; reconnect when the connection is lost."""
    random = Random(5)
    session = Session(source, Envelope(KEY, 7, JOURNAL, 1), lambda: random.getrandbits(29))
    clock = headend.clock
    assert isinstance(clock, VirtualClock)
    connection = 0
    for _ in range(hours * 3_600_000_000 // STEP_US):
        if (not headend.connection or session.stale) and not headend.connect():
            clock.advance_us(10_000_000)
            continue
        if headend.connection != connection:
            connection = headend.connection
            session.reset()
        arrived = headend.read()
        session.feed(arrived, len(arrived))
        now_ticks = clock.now_us() // 1000 & 0x1FFFFFFF
        if session.poll(now_ticks) == IDLE:
            break
        if session.tx_size:
            headend.write(bytes(session.tx[: session.tx_size]))
            session.sent(now_ticks)
        clock.advance_us(STEP_US)
    return session


FAULTS = {
    "none": HeadEndFaults(),
    "lost_message": HeadEndFaults(lost_message=0.3),
    "lost_ack": HeadEndFaults(lost_ack=0.3),
    "late_ack": HeadEndFaults(late_ack=0.3),
    "doubled_ack": HeadEndFaults(doubled_ack=0.5),
    "broken_ack": HeadEndFaults(broken_ack=0.3),
    "disconnect": HeadEndFaults(disconnect=0.3),
    "away": HeadEndFaults(away=0.4, away_limit_s=600),
}


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("seed", range(3))
def test_every_record_arrives_once(name: str, seed: int) -> None:
    source = Source(200)
    headend = HeadEnd(VirtualClock(), 7, KEY, FAULTS[name], Random(seed))
    session = exchange(source, headend)
    assert session.acked_seq == headend.acked_seq == 200
    assert list(headend.records.values()) == source.records
    assert headend.counters["records"] == 200
    assert name == "none" or headend.counters[name] > 0


def test_a_lost_ack_brings_duplicates_that_are_counted() -> None:
    headend = HeadEnd(VirtualClock(), 7, KEY, HeadEndFaults(lost_ack=0.5), Random(2))
    exchange(Source(200), headend)
    assert headend.counters["duplicates"] > 0


def frame(
    kind: Kind,
    number: int,
    payload: bytes,
    key: bytes = KEY,
    name: int = 7,
    journal: bytes = JOURNAL,
    epoch: int = 1,
) -> bytes:
    head = batch.Head(name, journal, epoch, number)
    return link.build(kind, number & 0xFF, batch.seal_up(kind, head, payload, key))


def refusal_of(headend: HeadEnd) -> tuple[int, bytes]:
    """The last answer, which has to be REFUSED."""
    headend.clock.advance_us(200_000)
    last = link.LinkReader().feed(headend.read())[-1]
    assert last.kind == Kind.REFUSED
    return batch.parse_refused(batch.open_down(last.kind, last.body, JOURNAL, 1, KEY).payload)


def connected() -> HeadEnd:
    headend = HeadEnd(VirtualClock(), 7, KEY)
    assert headend.connect()
    return headend


def test_what_is_not_genuine_is_refused() -> None:
    headend = connected()
    payload = batch.build_batch(Source(3).records)
    headend.write(frame(Kind.BATCH, 1, payload, bytes(32)))
    headend.write(frame(Kind.BATCH, 1, payload, KEY, 8))
    headend.write(frame(Kind.ACK, 1, payload))
    headend.write(frame(Kind.BATCH, 1, payload[:-1]))
    assert headend.records == {}
    assert headend.next_us() is None
    assert {name: headend.counters[name] for name in ("bad_mac", "unknown_kind", "malformed")} == {
        "bad_mac": 1,
        "unknown_kind": 1,
        "malformed": 1,
    }


def test_a_gap_is_not_stored_until_the_device_says_it_lost_the_records() -> None:
    headend = connected()
    records = Source(6).records
    headend.write(frame(Kind.BATCH, 1, batch.build_batch(records[3:])))
    assert headend.acked_seq == 0
    headend.write(frame(Kind.HELLO, 2, batch.build_hello(batch.Hello(4, 7))))
    headend.write(frame(Kind.BATCH, 3, batch.build_batch(records[3:])))
    assert (headend.acked_seq, headend.told_lost) == (6, [range(1, 4)])
    assert sorted(headend.records) == [4, 5, 6]


def test_a_message_older_than_the_newest_is_a_replay() -> None:
    headend = connected()
    records = Source(4).records
    headend.write(frame(Kind.BATCH, 5, batch.build_batch(records[:2]), epoch=3))
    headend.write(frame(Kind.BATCH, 4, batch.build_batch(records), epoch=3))
    assert (headend.acked_seq, headend.counters["stale"]) == (2, 1)
    # A greeting of an earlier epoch is told which one it has to exceed.
    headend.write(frame(Kind.HELLO, 9, batch.build_hello(batch.Hello(1, 5))))
    assert refusal_of(headend) == (batch.Refusal.STALE, batch.known_numbers(3, 5))


def test_another_journal_is_refused_until_somebody_says_so() -> None:
    headend = connected()
    headend.write(frame(Kind.BATCH, 1, batch.build_batch(Source(2).records), journal=b"another!"))
    hello = frame(Kind.HELLO, 1, batch.build_hello(batch.Hello(1, 5)))
    headend.write(hello)
    assert refusal_of(headend) == (batch.Refusal.OTHER_JOURNAL, b"another!")
    headend.replace()
    headend.write(hello)
    headend.write(frame(Kind.BATCH, 2, batch.build_batch(Source(4).records)))
    assert (headend.journal, headend.acked_seq) == (JOURNAL, 4)


def test_another_record_under_the_same_number_is_a_broken_promise() -> None:
    headend = connected()
    headend.write(frame(Kind.BATCH, 1, batch.build_batch(Source(2).records)))
    other = record.make(2, 1, RecordKind.LINE, {"state": 0, "failures": 9})
    with pytest.raises(Inconsistent, match="record 2"):
        headend.write(frame(Kind.BATCH, 2, batch.build_batch([other])))


def test_nobody_hears_while_it_is_away() -> None:
    headend = connected()
    headend.go_away(5_000_000)
    assert headend.connection == 0
    assert headend.write(b"\x7e") == 0
    assert not headend.connect()
    assert isinstance(headend.clock, VirtualClock)
    headend.clock.advance_us(5_000_000)
    assert headend.connect()
    assert headend.connection == 2
