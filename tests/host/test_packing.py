"""Goal: the device and the host pack the same records into the same bytes, read the same records
from any bytes, and refuse the same bytes.

Method: hypothesis draws groups of records, which both sides pack and unpack; other groups have
bytes replaced under a right CRC; journal files are cut, spoiled and followed by more bytes. A day
of a village, as it is polled, shows how many bytes a reading costs.
"""

import struct
import zlib
from random import Random

import pytest
from concentrator.storage.thinning import KINDS_OF_LEVELS, NEVER
from hypothesis import given, settings
from hypothesis import strategies as st
from uplink import packing as device
from uplink import record as device_record

from host.frames import packing, record
from host.frames.packing import Gap, PackingError, Reason
from host.frames.record import MONEY_KINDS, Record, RecordKind
from host.headend import unpack
from host.units import DAY_S

u8 = st.integers(0, 0xFF)
u16 = st.integers(0, 0xFFFF)
u32 = st.one_of(st.integers(0, 0xFFFFFFFF), st.integers(0, 300), st.just(0xFFFFFFFF))
tens = st.integers(0, 0xFFFFFFF).map(lambda value: 10 * value)
energies = st.lists(st.one_of(tens, u32), max_size=8).map(
    lambda some: some + [0] * (8 - len(some))
)


@st.composite
def payloads(draw: st.DrawFn, kind: int) -> bytes:
    """Draw 48 bytes as the firmware writes them for `kind`."""
    if kind == RecordKind.READING:
        status = draw(st.sampled_from((0, 0xFFFF, 0x10)) | u16)
        head = struct.pack("<IIHHI", draw(u32), draw(u32), draw(u16), status, draw(tens | u32))
        return head + struct.pack("<8I", *draw(energies))
    if kind == RecordKind.FREEZE:
        return struct.pack("<9I", draw(u32), *draw(energies)).ljust(48, b"\0")
    if kind == RecordKind.ITEM:
        values = draw(st.lists(u32, max_size=10))
        head = struct.pack("<II", draw(u32), len(values))
        return (head + struct.pack(f"<{len(values)}I", *values)).ljust(48, b"\0")
    return draw(st.binary(max_size=48)).ljust(48, b"\0")


@st.composite
def groups(draw: st.DrawFn) -> list[Record | Gap]:
    """Draw consecutive items that fit in one group."""
    seq = draw(st.integers(1, 1 << 31))
    items: list[Record | Gap] = []
    t2000 = draw(u32)
    for _ in range(draw(st.integers(1, 5))):
        if draw(st.integers(0, 4)) == 0:
            items.append(Gap(seq, draw(st.integers(1, 1 << 28)), Reason(draw(u8))))
            seq += items[-1].count
            continue
        kind = draw(st.sampled_from((2, 2, 2, 14, 16)) | st.integers(1, 31))
        t2000 = draw(u32 | st.just(t2000) | st.just((t2000 + 3) & 0xFFFFFFFF))
        payload = draw(payloads(kind))
        fields = record.parse_payload(kind, payload)
        index = draw(st.integers(0, 511) | u16)
        items.append(Record(seq, t2000, kind, draw(st.integers(0, 3)), index, payload, fields))
        seq += 1
    return items


def packed(items: list[Record | Gap]) -> bytes:
    """Return the group as the firmware makes it."""
    packer = device.Packer(bytearray(512))
    packer.begin(0, 512, items[0].seq)
    for item in items:
        if isinstance(item, Gap):
            assert packer.add_gap(item.reasons, item.count)
        else:
            assert packer.add(bytearray(record.build(item)))
    return bytes(packer._buf[: packer.finish()])


def unpacked(data: bytes) -> list[bytes | tuple[int, int, int]] | None:
    """Return its items as the firmware reads them, gaps as (seq, count, reasons); or None."""
    unpacker = device.Unpacker(bytearray(data))
    assert unpacker.open(0, len(data)) == len(data)
    found: list[bytes | tuple[int, int, int]] = []
    buf = bytearray(64)
    while True:
        kind = unpacker.next(buf)
        if kind == device.END:
            return found
        if kind == device.MALFORMED:
            return None
        if kind == device.GAP:
            found.append((unpacker.seq, unpacker.next_seq - unpacker.seq, unpacker.reasons))
        else:
            found.append(bytes(buf[:60]))


def as_device(items: list[Record | Gap]) -> list[bytes | tuple[int, int, int]]:
    return [
        (item.seq, item.count, int(item.reasons))
        if isinstance(item, Gap)
        else record.build(item)[:60]
        for item in items
    ]


@given(groups())
@settings(deadline=None, max_examples=300)
def test_both_sides_make_the_same_bytes(items: list[Record | Gap]) -> None:
    data = packed(items)
    assert packing.build_group(items) == data
    group = packing.parse_group(data + b"more")
    assert group.items == items
    assert (group.first_seq, group.size) == (items[0].seq, len(data))
    assert unpacked(data) == as_device(items)


@pytest.mark.slow
@given(groups(), st.lists(st.tuples(st.integers(0, 400), u8), min_size=1, max_size=4))
@settings(deadline=None, max_examples=500)
def test_made_up_bytes_are_read_alike(
    items: list[Record | Gap], changes: list[tuple[int, int]]
) -> None:
    data = bytearray(packed(items))
    body = len(data) - packing.HEAD_SIZE - packing.CRC_SIZE
    for place, byte in changes:
        data[packing.HEAD_SIZE + place % body] = byte
    data[-4:] = zlib.crc32(data[:-4]).to_bytes(4, "little")
    found = unpacked(bytes(data))
    try:
        group = packing.parse_group(bytes(data))
    except PackingError:
        assert found is None
    else:
        assert found == as_device(group.items)


def test_bits_above_32_of_a_value_count_for_nothing() -> None:
    """A concentrator has no room for them; both readers of the head-end kept them."""
    data = bytes.fromhex("FFFFFFFF01") + b"\x80\x80\x80\x80\x10"
    item = data[:5] + bytes(7)
    assert packing._Reader(data, 0)._item() == item
    assert unpack._item(data, 0)[0] == item


def test_every_flipped_bit_and_every_length() -> None:
    items: list[Record | Gap] = [
        record.make(7, 800000000, RecordKind.LINE, {"state": 1, "failures": 3}, index=4),
        Gap(8, 300, Reason.READINGS | Reason.ITEMS),
    ]
    data = packed(items)
    for at in range(len(data)):
        for bit in range(8):
            spoiled = bytearray(data)
            spoiled[at] ^= 1 << bit
            with pytest.raises(PackingError) as caught:
                packing.parse_group(bytes(spoiled))
            assert not caught.value.torn
    for size in range(len(data)):
        with pytest.raises(PackingError) as caught:
            packing.parse_group(data[:size])
        assert caught.value.torn


def run_of(first_seq: int, count: int) -> list[Record | Gap]:
    """Return consecutive records, each of some 20 bytes."""
    return [
        record.make(
            seq,
            800000000 + seq,
            RecordKind.TOP_UP,
            {
                "order": seq, "amount_fen": 100, "credit_fen": 100 * seq, "balance_fen": 0,
                "uid": "00" * 8, "source": 1, "key_version": 1, "repaid_fen": 0,
            },
        )
        for seq in range(first_seq, first_seq + count)
    ]  # fmt: skip


def test_groups_split_where_they_are_full() -> None:
    items = run_of(5, 400)
    data = packing.build_groups(items)
    found = packing.parse_groups(data)
    assert [one for group in found for one in group.items] == items
    assert all(group.size <= packing.GROUP_LIMIT for group in found)
    assert len(data) / len(items) < 32
    with pytest.raises(PackingError, match="behind"):
        packing.parse_groups(packing.build_group(items[:2]) + packing.build_group(items[3:4]))
    with pytest.raises(PackingError):
        packing.parse_groups(b"")


def test_a_segment_is_whole_torn_or_rotten() -> None:
    groups = [packing.build_group(run_of(first, 5)) for first in (1, 6, 11)]
    data = b"".join(groups)
    whole = packing.parse_segment(data, 1)
    assert (len(whole.records), whole.next_seq, whole.torn, whole.rotten) == (15, 16, False, [])
    for size in range(len(groups[0]) + len(groups[1]) + 1, len(data)):
        torn = packing.parse_segment(data[:size], 1)
        assert (len(torn.records), torn.next_seq, torn.torn) == (10, 11, True), size
    # Bytes are spoilt in the middle: the rest counts, and so do the numbers of the spoilt part.
    for at in range(len(groups[0]), len(groups[0]) + len(groups[1])):
        spoiled = bytearray(data)
        spoiled[at] ^= 0x10
        rotten = packing.parse_segment(bytes(spoiled), 1)
        assert [one.seq for one in rotten.records] == [1, 2, 3, 4, 5, 11, 12, 13, 14, 15]
        assert rotten.rotten == [(len(groups[0]), len(groups[1]))]
        assert (rotten.next_seq, rotten.torn) == (16, False)
    # Bytes are spoilt at the end: all numbers that may have been there are skipped.
    spoiled = bytearray(data)
    spoiled[-1] ^= 1
    rotten = packing.parse_segment(bytes(spoiled), 1)
    assert len(rotten.records) == 10
    assert rotten.next_seq >= 16
    assert packing.parse_segment(b"", 9).next_seq == 9


@pytest.mark.parametrize(("registers", "limit"), [(1, 18), (2, 21), (4, 27)])
def test_what_a_reading_costs(registers: int, limit: float) -> None:
    """A village of 256 households is read every quarter of an hour for a day."""
    random = Random(registers)
    energy = [[10 * random.randrange(500_000) for _ in range(registers)] for _ in range(256)]
    packer = device.Packer(bytearray(512))
    size = seq = 0
    packer.begin(0, 512, 1)
    for start in range(800000000, 800000000 + DAY_S // 4, 900):
        for index in range(256):
            energy[index][random.randrange(registers)] += 10 * random.randrange(20)
            buf = bytearray(64)
            status = 0xFFFF if random.random() < 0.5 else 0
            money = (sum(energy[index]) // 200, random.randrange(10**7), 0, status)
            used_wh = sum(energy[index]) // 20 // 10 * 10
            struct.pack_into("<IIHHI", buf, 12, *money, used_wh)
            struct.pack_into(f"<{registers}I", buf, 28, *energy[index])
            seq += 1
            device_record.encode_into(buf, 0, seq, start + index // 2, 2, 0, index)
            if not packer.add(buf):
                size += packer.finish()
                packer.begin(0, 512, seq)
                assert packer.add(buf)
    assert size / seq <= limit


def test_every_kind_of_record_has_its_place_in_what_makes_room() -> None:
    """A kind that a later version adds must say when it may be deleted."""
    listed = [kind for kinds in KINDS_OF_LEVELS for kind in kinds]
    assert sorted(listed) == sorted(int(kind) for kind in RecordKind)
    assert set(KINDS_OF_LEVELS[NEVER]) == set(MONEY_KINDS)
