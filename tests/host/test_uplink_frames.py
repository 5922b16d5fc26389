"""Goal: records, batches and envelopes mean the same on both sides, and altered ones are refused.

Method: by hypothesis the firmware encodes and the host parses, and the other way round; each
kind's payload is read by its published layout; every bit of a record, batch and sealed body is
flipped; journal files are cut, torn and out of order.
"""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from uplink import envelope
from uplink import record as device
from uplink.envelope import Envelope as DeviceEnvelope

from host.frames import batch, record
from host.frames.batch import UplinkError
from host.frames.link import Kind
from host.frames.packing import Gap, Reason
from host.frames.record import Record, RecordError, RecordKind

KEY = bytes(range(32))

u8 = st.integers(0, 0xFF)
u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFFFFFF)
i32 = st.integers(-0x80000000, 0x7FFFFFFF)
# Typical payloads end with zeros; some are full and some are empty.
payloads = st.binary(max_size=48).map(lambda data: data.ljust(48, b"\0"))
seqs = st.integers(1, 0xFFFFFFFF)


@st.composite
def headers(draw: st.DrawFn) -> tuple[int, int, int, int]:
    """t2000, kind, flags, index."""
    return draw(u32), draw(u8), draw(u8), draw(u16)


def encoded(seq: int, header: tuple[int, int, int, int], payload: bytes) -> bytearray:
    """Return the record as the firmware makes it."""
    buf = bytearray(64)
    buf[12:60] = payload
    device.encode_into(buf, 0, seq, *header)
    return buf


@given(seqs, headers(), payloads)
@settings(deadline=None)
def test_record_both_ways(seq: int, header: tuple[int, int, int, int], payload: bytes) -> None:
    data = encoded(seq, header, payload)
    parsed = record.parse(bytes(data))
    assert (parsed.seq, parsed.payload) == (seq, payload)
    assert (parsed.t2000, parsed.kind, parsed.flags, parsed.index) == header
    assert record.build(parsed) == data
    assert device.verify(data, 0)


SAMPLES: list[tuple[RecordKind, dict[str, Any], str]] = [
    (
        RecordKind.METER,
        {"address": "000000983764", "account": "012345678901", "tariff": 2, "line": 1,
         "standard": 1, "active": 1, "speed": 2, "marks": 3, "relay": 0x14},
        "643798000000" "012345678901" "0201010102" "0314",
    ),
    (
        RecordKind.READING,
        {"debit_fen": 1, "residue_e7": 99999, "residue_e11": 9999, "status": 0x10,
         "used_wh": 5, "registers_wh": [1, 2, 0, 0, 0, 0, 0, 0x3FFFFFFF]},
        "01000000" "9f860100" "0f27" "1000" "05000000" "01000000" "02000000" + "00" * 20
        + "ffffff3f",
    ),
    (
        RecordKind.TOP_UP,
        {"order": 3, "amount_fen": 5000, "credit_fen": 15000, "balance_fen": -1,
         "uid": "04A1B2C3D4E5F600", "source": 1, "key_version": 2, "debt_week": 1404,
         "repaid_fen": 100, "debt_fen": 200, "header_mac": "1122334455667788",
         "debt_week_fen": 300},
        "03000000" "88130000" "983a0000" "ffffffff" "04a1b2c3d4e5f600" "01027c05"
        "64000000" "c8000000" "1122334455667788" "2c010000",
    ),
    (
        RecordKind.RELAY,
        {"desired": 1, "stage": 2, "reason": 3, "status": 0x10, "balance_fen": -2},
        "01020300" "1000" "feffffff",
    ),
    (
        RecordKind.POLICY,
        {"new": 1, "old": 2, "reason": 3, "balance_fen": 7},
        "01020300" "07000000",
    ),
    (
        RecordKind.ROLLOVER,
        {"old_period": 1, "new_period": 2, "used_wh": 3, "debit_fen": 4},
        "01000000" "02000000" "03000000" "04000000",
    ),
    (
        RecordKind.TARIFF,
        {"number": 1, "size": 300, "sha256": "00112233445566FF"},
        "01002c01" "00112233445566ff",
    ),
    (
        RecordKind.START,
        {
            "cause": 1,
            "settings": 2,
            "reset_cause": 3,
            "first_seq": 65,
            "records_lost": 2,
            "records_rotten": 3,
        },
        "01020300" "41000000" "02000000" "03000000",
    ),
    (
        RecordKind.FAULT,
        {"reason": 1, "stopped": 1, "value": 9, "limit": 8},
        "01010000" "09000000" "08000000",
    ),
    (
        RecordKind.CARD,
        {"code": 4, "order": 3, "amount_fen": 5000, "uid": "04A1B2C3D4E5F600",
         "account": "012345678901", "illegal": 300, "recent": 2},
        "04000000" "03000000" "88130000" "04a1b2c3d4e5f600" "012345678901" "0000" "2c010200",
    ),
    (RecordKind.LINE, {"state": 3, "failures": 300, "ahead_s": -2}, "03002c01" "feffffff"),
    (
        RecordKind.CLOCK,
        {"old_t2000": 1, "new_t2000": 2, "source": 3},
        "01000000" "02000000" "03",
    ),
    (
        RecordKind.ACCOUNT,
        {"household": 1, "grade": 2, "multiplier": 300, "guard": 1, "debt_fen": 5,
         "power_limit_w": 66000},
        "01022c01" "01000000" "05000000" "d0010100",
    ),
    (
        RecordKind.FREEZE,
        {"frozen_t2000": 86400, "registers_wh": [1, 2, 0, 0, 0, 0, 0, 3]},
        "80510100" "01000000" "02000000" + "00" * 20 + "03000000",
    ),
    (RecordKind.PLAN, {"tariff": 2, "from_t2000": 86400}, "02000000" "80510100"),
    (
        RecordKind.ITEM,
        {"identifier": "0201FF00", "count": 3, "values": [2301, None, -1]},
        "00ff0102" "03000000" "fd080000" "000000c0" "ffffffff",
    ),
    (
        RecordKind.REFUND,
        {"order": 3, "amount_fen": 300, "credit_fen": 700, "balance_fen": 100,
         "uid": "04A1B2C3D4E5F600", "source": 1, "key_version": 2, "debt_week": 0,
         "repaid_fen": 0, "debt_fen": 0, "header_mac": "0000000000000001", "debt_week_fen": 0},
        "03000000" "2c010000" "bc020000" "64000000" "04a1b2c3d4e5f600" "01020000" "00000000"
        "00000000" "0000000000000001",
    ),
    (
        RecordKind.CORRECTION,
        {"amount_fen": 3, "credit_fen": 700, "debit_fen": 600, "residue_e7": 99999,
         "residue_e11": 9999, "reason": 6, "used_wh": 5, "period": 9, "energy_wh": 7},
        "03000000" "bc020000" "58020000" "9f860100" "0f27" "0600" "05000000" "09000000" "07000000",
    ),
    (
        RecordKind.STANDING,
        {"order": 7, "header_mac": "1122334455667788", "credit_fen": 100000, "debit_fen": 95000,
         "residue_e7": 99999, "residue_e11": 9999, "household": 2, "grade": 1, "multiplier": 300,
         "marks": 1, "source": 1, "debt_fen": 200, "debt_week_fen": 300, "since_t2000": 5,
         "state": 6, "relay": 1, "tariff": 3},
        "07000000" "1122334455667788" "a0860100" "18730100" "9f860100" "0f27" "02012c01" "0101"
        "c8000000" "2c010000" "05000000" "06010300",
    ),
    (
        RecordKind.STANDING_REGISTERS,
        {"registers_wh": [1, 2, 0, 0, 0, 0, 0, 3], "read_t2000": 9, "power_limit_w": 60000,
         "debt_week": 1404},
        "01000000" "02000000" + "00" * 20 + "03000000" "09000000" "60ea0000" "7c05",
    ),
    (
        RecordKind.LOGIN,
        {"result": 2, "key": 1, "key_version": 3, "channel": 1, "failures": 300, "session": 9},
        "02010301" "2c010000" "09000000",
    ),
    (
        RecordKind.SETTING,
        {"source": 4, "number": 65, "form": 1, "old": "1122334455667788",
         "new": "8877665544332211", "uid": "04A1B2C3D4E5F600"},
        "04410100" "1122334455667788" "8877665544332211" "04a1b2c3d4e5f600",
    ),
    (
        RecordKind.OPERATOR_CARD,
        {"kind": 4, "key_version": 2, "code": 0, "number": 300, "uid": "04A1B2C3D4E5F600"},
        "04020000" "2c010000" "04a1b2c3d4e5f600",
    ),
    (
        RecordKind.FIRMWARE,
        {"stage": 2, "slot": 1, "counter": 300, "sha256": "1122334455667788",
         "version": "0.1.0+1a2b3c4d"},
        "02010000" "2c010000" "1122334455667788" + b"0.1.0+1a2b3c4d".hex(),
    ),
    (
        RecordKind.COMMAND,
        {"number": 5, "stage": 2, "outcome": 3, "expires_t2000": 850_000_000,
         "name": "1122334455667788", "text": "supply 17 restore"},
        "05000000" "02030000" "80f8a932" "1122334455667788" + b"supply 17 restore".hex(),
    ),
    (RecordKind.EVENT, {"what": 3, "state": 1, "value": -2}, "03010000" "feffffff"),
    (
        RecordKind.QUOTA,
        {"used_wh": 1, "period": 2, "quota": 60, "free": 5, "old_quota": 6, "old_free": 7},
        "01000000" "02000000" "3c000000" "05000000" "06000000" "07000000",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "fields", "digits"), SAMPLES)
def test_payload_layout(kind: RecordKind, fields: dict[str, Any], digits: str) -> None:
    payload = bytes.fromhex(digits).ljust(48, b"\0")
    assert record.build_payload(kind, fields) == payload
    assert record.parse_payload(kind, payload) == fields
    assert record.make(1, 2, kind, fields).kind_name == kind.name


def test_every_kind_has_a_sample_and_the_firmware_s_number() -> None:
    assert [kind for kind, _, _ in SAMPLES] == list(RecordKind)
    for kind in RecordKind:
        assert getattr(device, kind.name) == kind


def test_unknown_kind_is_kept() -> None:
    data = encoded(1, (2, 99, 4, 5), b"x".ljust(48, b"\0"))
    parsed = record.parse(bytes(data))
    assert (parsed.kind_name, parsed.fields, parsed.payload[:2]) == ("KIND_99", {}, b"x\0")


@pytest.mark.parametrize("bit", range(8 * 64))
def test_record_flipped_bit(bit: int) -> None:
    data = encoded(7, (1, 4, 0, 3), b"\x01\x02".ljust(48, b"\0"))
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(RecordError):
        record.parse(bytes(data))


def lines(first_seq: int, count: int) -> list[Record | Gap]:
    """Return consecutive LINE records."""
    return [
        record.make(seq, 800_000_000 + seq, RecordKind.LINE, {"state": 1, "failures": seq})
        for seq in range(first_seq, first_seq + count)
    ]


def test_a_batch_is_groups_one_behind_the_other() -> None:
    items = [*lines(7, 90), Gap(97, 1000, Reason.READINGS), *lines(1097, 80)]
    data = batch.build_batch(items)
    parsed = batch.parse_batch(data)
    assert (parsed.first_seq, parsed.next_seq) == (7, 1177)
    assert [*parsed.records, *parsed.gaps] == [*lines(7, 90), *lines(1097, 80), items[90]]
    assert batch.parse_batch(batch.build_batch(items[:91])).next_seq == 1097


def test_batch_flips_and_cuts() -> None:
    data = batch.build_batch(lines(7, 3))
    for bit in range(8 * len(data)):
        broken = bytearray(data)
        broken[bit // 8] ^= 1 << bit % 8
        with pytest.raises(UplinkError):
            batch.parse_batch(bytes(broken))
    for size in range(len(data)):
        with pytest.raises(UplinkError):
            batch.parse_batch(data[:size])


def test_batch_of_groups_that_do_not_follow_one_another() -> None:
    with pytest.raises(UplinkError) as caught:
        batch.parse_batch(batch.build_batch(lines(7, 3)) + batch.build_batch(lines(11, 3)))
    assert caught.value.reason == "malformed"


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_anything_gives_a_named_refusal(data: bytes) -> None:
    parsers = (batch.parse_hello, batch.parse_welcome, batch.parse_refused, batch.parse_busy)
    for parse in parsers:
        if len(data) not in (2, 9, 12, 36):
            with pytest.raises(UplinkError):
                parse(data)
    with pytest.raises(UplinkError):
        batch.parse_batch(data)
    with pytest.raises(UplinkError):
        batch.open_up(Kind.HELLO, data, KEY)


journals = st.binary(min_size=8, max_size=8)


@given(u32, journals, u32, u32, st.binary(max_size=100), st.sampled_from(list(Kind)))
@settings(deadline=None)
def test_envelope_both_ways(
    concentrator: int, journal: bytes, epoch: int, number: int, payload: bytes, kind: Kind
) -> None:
    sealer = DeviceEnvelope(KEY, concentrator, journal, epoch, number - 1)
    buf = bytearray(len(payload) + envelope.OVERHEAD)
    buf[envelope.PAYLOAD : envelope.PAYLOAD + len(payload)] = payload
    size = sealer.seal(kind, buf, len(payload))
    assert size == len(buf)
    head = batch.Head(concentrator, journal, epoch, number)
    assert bytes(buf) == batch.seal_up(kind, head, payload, KEY)
    assert batch.open_up(kind, bytes(buf), KEY) == batch.Envelope(head, payload)
    assert batch.peek(bytes(buf)) == head
    answer = bytearray(batch.seal_down(kind, head, 12345, payload, KEY))
    assert batch.open_down(kind, bytes(answer), journal, epoch, KEY) == batch.Answer(
        number, 12345, payload
    )
    assert sealer.open(kind, answer, len(answer)) == len(payload)
    assert answer[envelope.ANSWER : envelope.ANSWER + len(payload)] == payload


HEAD = batch.Head(7, b"journal!", 3, 1)


def test_envelope_flips_kinds_and_keys() -> None:
    sealed = batch.seal_up(Kind.BATCH, HEAD, b"\x01\0\0\0", KEY)
    for bit in range(8 * len(sealed)):
        broken = bytearray(sealed)
        broken[bit // 8] ^= 1 << bit % 8
        with pytest.raises(UplinkError):
            batch.open_up(Kind.BATCH, bytes(broken), KEY)
    with pytest.raises(UplinkError, match="MAC"):
        batch.open_up(Kind.HELLO, sealed, KEY)
    with pytest.raises(UplinkError, match="MAC"):
        batch.open_up(Kind.BATCH, sealed, KEY[::-1])


def test_answer_flips_kinds_epochs_and_keys() -> None:
    sealed = batch.seal_down(Kind.ACK, HEAD, 99, b"\x01\0\0\0", KEY)
    for bit in range(8 * len(sealed)):
        broken = bytearray(sealed)
        broken[bit // 8] ^= 1 << bit % 8
        if bit // 8 not in range(1, 5):  # whose it is the reader of its own connection knows
            with pytest.raises(UplinkError):
                batch.open_down(Kind.ACK, bytes(broken), HEAD.journal, HEAD.epoch, KEY)
    for journal, epoch, kind in ((b"another!", 3, Kind.ACK), (HEAD.journal, 4, Kind.ACK)):
        with pytest.raises(UplinkError, match="MAC"):
            batch.open_down(kind, sealed, journal, epoch, KEY)
    with pytest.raises(UplinkError, match="MAC"):
        batch.open_down(Kind.WELCOME, sealed, HEAD.journal, HEAD.epoch, KEY)


def test_another_version_is_named() -> None:
    sealed = bytearray(batch.seal_up(Kind.BATCH, HEAD, b"", KEY))
    sealed[0] = 1
    with pytest.raises(UplinkError, match="version 1, 2 is spoken") as caught:
        batch.peek(bytes(sealed))
    assert caught.value.reason == "bad_version"


def test_answers_and_refusals_both_ways() -> None:
    welcome = batch.Ack(5, True, 850_000_000)
    assert batch.parse_welcome(batch.build_welcome(welcome)) == welcome
    assert batch.parse_ack(batch.build_ack(batch.Ack(6, True))) == batch.Ack(6, True)
    known = batch.known_numbers(41, 9)
    assert batch.parse_refused(batch.build_refused(batch.Refusal.STALE, known)) == (4, known)
    assert batch.parse_busy(batch.build_busy(90)) == 90
    hello = batch.Hello(3, 9, 512, 2, 850_000_000, 0xDEADBEEF, "0.2.0")
    assert batch.parse_hello(batch.build_hello(hello)) == hello


def test_hello_that_contradicts_itself() -> None:
    with pytest.raises(UplinkError):
        batch.parse_hello(batch.build_hello(batch.Hello(9, 8)))
    with pytest.raises(UplinkError):
        batch.parse_hello(batch.build_hello(batch.Hello(0, 8)))
    assert batch.parse_hello(batch.build_hello(batch.Hello(8, 8))).next_seq == 8
