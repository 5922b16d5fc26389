"""Goal: the fast reading of batches and envelopes agrees with construct's on every message.

Method: both read records of every kind with any fields; then every bit of a batch is flipped, and
both must refuse it.
"""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host.frames import batch, record
from host.frames.batch import UplinkError, parse_batch
from host.frames.link import Frame, Kind, LinkReader
from host.frames.packing import Gap, Reason
from host.frames.record import PAYLOAD_SIZE, Record, RecordKind, parse_payload
from host.headend.gate import Gate
from host.headend.unpack import Read, Unpacked, unpack
from tests.host.uplink_world import CONCENTRATOR, JOURNAL, KEY, frame, hello, village_of

WORD = st.integers(0, 0xFFFFFFFF)
OTHERS = [one for one in RecordKind if one not in (RecordKind.READING, RecordKind.ITEM)]


def payload_of(kind: RecordKind, numbers: list[int]) -> bytes:
    """Return a payload of `kind` that a device could write, made from any numbers."""
    if kind == RecordKind.READING:
        values = iter(numbers)
        fields = {name: next(values) for name in ("debit_fen", "residue_e7", "used_wh")}
        fields |= {name: next(values) & 0xFFFF for name in ("residue_e11", "status")}
        return record.build_payload(kind, {**fields, "registers_wh": numbers[:8]})
    if kind == RecordKind.ITEM:
        values = [one - (1 << 31) for one in numbers[: numbers[0] % 11]]
        return record.build_payload(
            kind, {"identifier": "0201FF00", "count": len(values), "values": values}
        )
    if kind == RecordKind.FREEZE:
        fields = {"frozen_t2000": numbers[0], "registers_wh": numbers[1:9]}
        return record.build_payload(kind, fields)
    return b"".join(one.to_bytes(4, "little") for one in numbers)[:PAYLOAD_SIZE]


@st.composite
def items(draw: Any) -> list[Record | Gap]:
    """Draw consecutive records and gaps."""
    seq = draw(st.integers(1, 1 << 31))
    found: list[Record | Gap] = []
    kinds = st.sampled_from(
        [RecordKind.READING] * 6 + [RecordKind.FREEZE, RecordKind.ITEM, *OTHERS]
    )
    for _ in range(draw(st.integers(1, 12))):
        if draw(st.integers(0, 9)) == 0:
            gap = Gap(seq, draw(st.integers(1, 1000)), Reason(draw(st.integers(0, 255)) & 0xC7))
            found.append(gap)
            seq += gap.count
            continue
        kind = draw(kinds)
        small = st.integers(0, 200) | WORD
        payload = payload_of(kind, draw(st.lists(small, min_size=12, max_size=12)))
        head = (seq, draw(WORD), int(kind), draw(st.integers(0, 3)), draw(st.integers(0, 0xFFFF)))
        found.append(Record(*head, payload, parse_payload(kind, payload)))
        seq += 1
    return found


def as_taken(one: Record) -> tuple[Any, ...]:
    """Return a parsed record in the form of the fast reading."""
    fields: Any = one.fields
    if one.kind == RecordKind.READING:
        registers = list(fields["registers_wh"])
        while registers and not registers[-1]:
            registers.pop()
        fields = Read(*(fields[name] for name in Read._fields[:-1]), tuple(registers))
    return (
        *(one.seq, one.t2000, one.kind, one.flags, one.index),
        one.payload.rstrip(b"\0"),
        fields,
    )


def same(fast: Unpacked, slow: batch.Batch) -> bool:
    """Return whether both read the same."""
    assert [tuple(one) for one in fast.records] == [as_taken(one) for one in slow.records]
    return (fast.gaps, fast.first_seq, fast.next_seq) == (slow.gaps, slow.first_seq, slow.next_seq)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(items())
def test_any_batch_is_read_as_construct_reads_it(found: list[Record | Gap]) -> None:
    payload = batch.build_batch(found)
    assert same(unpack(payload), parse_batch(payload))


def test_every_flipped_bit_is_refused_by_both() -> None:
    payload = village_of(2, 1).batch()
    for place in range(8 * len(payload)):
        spoilt = bytearray(payload)
        spoilt[place // 8] ^= 1 << place % 8
        for read in (unpack, parse_batch):
            with pytest.raises(UplinkError):
                read(bytes(spoilt))


@pytest.mark.parametrize("size", [0, 1, 11, 12, 30])
def test_a_batch_that_ends_early_is_refused(size: int) -> None:
    with pytest.raises(UplinkError):
        unpack(village_of(2, 1).batch()[:size])


@given(st.binary(max_size=60))
def test_garbage_under_a_good_checksum_never_crashes(body: bytes) -> None:
    import struct
    import zlib

    head = struct.pack("<HBIIB", 16 + len(body), 3, 1, 800_000_000, 0)
    head = head[:-1] + bytes(((sum(head) + 0xA5) & 0xFF,))
    payload = head + body + zlib.crc32(head + body).to_bytes(4, "little")
    results = []
    for read in (unpack, parse_batch):
        try:
            results.append(read(payload))
        except UplinkError:
            results.append(None)
    fast, slow = results
    assert (fast is None) == (slow is None)
    if isinstance(fast, Unpacked) and isinstance(slow, batch.Batch):
        assert same(fast, slow)


@given(st.binary(max_size=40), WORD, WORD)
def test_the_gate_opens_what_construct_opens(payload: bytes, number: int, epoch: int) -> None:
    sent = frame(Kind.BATCH, number, payload, epoch=epoch)
    message = Gate({CONCENTRATOR: KEY}).open(sent, "test")
    referee = batch.open_up(sent.kind, sent.body, KEY)
    head = batch.Head(CONCENTRATOR, JOURNAL, epoch, number)
    assert (referee.head, referee.payload) == (head, payload)
    assert (message.head, message.payload, message.seq) == (head, payload, number & 0xFF)


def test_the_gate_refuses_every_flipped_bit() -> None:
    gate, good = Gate({CONCENTRATOR: KEY}), frame(Kind.BATCH, 9, b"payload")
    for place in range(8 * len(good.body)):
        spoilt = bytearray(good.body)
        spoilt[place // 8] ^= 1 << place % 8
        with pytest.raises(UplinkError):
            gate.open(Frame(good.kind, good.seq, bytes(spoilt)), "test")


def test_answers_repeat_the_number_and_no_stamp() -> None:
    gate = Gate({CONCENTRATOR: KEY})
    ack = batch.Ack(77, wants=True)
    stamps = []
    for kind, answered, payload in (
        (Kind.HELLO, Kind.WELCOME, batch.build_welcome(ack)),
        (Kind.BATCH, Kind.ACK, batch.build_ack(ack)),
    ):
        message = gate.open(frame(kind, 300, hello(1, 2)), "test")
        for _ in range(3):
            (one,) = LinkReader().feed(gate.acknowledge(message, ack))
            told = batch.open_down(one.kind, one.body, JOURNAL, 1, KEY)
            assert (one.kind, one.seq) == (answered, 300 & 0xFF)
            assert (told.answers, told.payload) == (300, payload)
            assert one.body == batch.seal_down(one.kind, message.head, told.stamp, payload, KEY)
            stamps.append(told.stamp)
    assert stamps == sorted(set(stamps))


def test_a_key_that_is_withdrawn_is_known_and_takes_nothing() -> None:
    gate = Gate({}, {CONCENTRATOR: KEY})
    message = gate.open(frame(Kind.BATCH, 1, b""), "test")
    assert message.refusal == batch.Refusal.WITHDRAWN
    gate.keys = {CONCENTRATOR: b"another key" * 3}
    assert gate.open(frame(Kind.BATCH, 1, b""), "test").refusal == batch.Refusal.WITHDRAWN
    genuine = gate.open(frame(Kind.BATCH, 1, b"", b"another key" * 3), "test")
    assert genuine.refusal is None
    gate.withdrawn = {}
    with pytest.raises(UplinkError, match="wrong MAC"):
        gate.open(frame(Kind.BATCH, 1, b""), "test")
