"""Goal: a packed group gives back every record it was made of and costs few bytes; no altered, cut
or forged group passes for one or makes the reader leave its buffer.

Method: one group written out byte for byte; records of every kind with their fields at both ends
of what they hold; every bit of a group flipped and every length cut; the bytes of a group replaced
at random under a right CRC. Packing runs with the heap locked. The reader of the other side is
tested in tests/host/test_packing.py.
"""

from binascii import crc32, hexlify, unhexlify
from struct import pack_into

from harness import check, equal, heap_locked
from uplink import packing, record
from uplink.packing import Packer, Unpacker
from uplink.record import ESTIMATED, JOINED, PAYLOAD, RECORD_SIZE

NOW = 820540800


def reading(
    seq: int,
    registers: "tuple[int, ...]",
    t2000: int = NOW,
    index: int = 0,
    flags: int = 0,
    status: int = 0,
    residue_e11: int = 0,
    used_wh: int = 123450,
) -> bytearray:
    """Return a READING of an account that has paid 543.21 yuan."""
    buf = bytearray(RECORD_SIZE)
    pack_into("<IIHHI", buf, PAYLOAD, 54321, 3456789, residue_e11, status, used_wh)
    for rate in range(len(registers)):
        pack_into("<I", buf, PAYLOAD + 16 + 4 * rate, registers[rate])
    record.encode_into(buf, 0, seq, t2000, record.READING, flags, index)
    return buf


def freeze(
    seq: int, frozen_t2000: int, registers: "tuple[int, ...]", t2000: int = NOW
) -> bytearray:
    """Return a FREEZE."""
    buf = bytearray(RECORD_SIZE)
    pack_into("<I", buf, PAYLOAD, frozen_t2000)
    for rate in range(len(registers)):
        pack_into("<I", buf, PAYLOAD + 4 + 4 * rate, registers[rate])
    record.encode_into(buf, 0, seq, t2000, record.FREEZE, 0, 3)
    return buf


def item(seq: int, identifier: int, values: "tuple[int, ...]") -> bytearray:
    """Return an ITEM."""
    buf = bytearray(RECORD_SIZE)
    pack_into("<IB", buf, PAYLOAD, identifier, len(values))
    for place in range(len(values)):
        pack_into("<i", buf, PAYLOAD + 8 + 4 * place, values[place])
    record.encode_into(buf, 0, seq, NOW, record.ITEM, 0, 3)
    return buf


def other(seq: int, kind: int, payload: bytes, index: int, flags: int = 0) -> bytearray:
    """Return a record of any other kind."""
    buf = bytearray(RECORD_SIZE)
    buf[PAYLOAD : PAYLOAD + len(payload)] = payload
    record.encode_into(buf, 0, seq, NOW, kind, flags, index)
    return buf


def packed(items: "list[bytearray]") -> bytearray:
    """Return the group of records as bytes."""
    packer = Packer(bytearray(packing.GROUP_LIMIT + 8))
    packer.begin(8, packing.GROUP_LIMIT, record.seq_at(items[0], 0))
    for one in items:
        check(packer.add(one), record.seq_at(one, 0))
    return packer._buf[8 : packer.finish()]


def unpacked(data: bytearray) -> "list[bytes]":
    """Return the first 60 bytes of each record of a good group."""
    unpacker = Unpacker(data)
    equal(unpacker.open(0, len(data)), len(data))
    buf = bytearray(RECORD_SIZE)
    found = []
    while unpacker.next(buf) > packing.GAP:
        found.append(bytes(buf[:60]))
    equal(unpacker.next(buf), packing.END)
    return found


SAMPLES = (
    reading(7, (4000123450,)),
    reading(8, (10, 20, 30, 0, 0, 0, 0, 0xFFFFFFFF), NOW + 60, 1, ESTIMATED, 0x1234, 9999, 1),
    reading(9, (), NOW + 60, 2, 0, 0xFFFF, 0, 0),
    reading(10, (10, 21), NOW - 86400 * 9000, 511, JOINED, 0x0010),
    freeze(11, NOW - 86400, (100, 200)),
    freeze(12, 0, (0, 0, 0, 0xFFFFFFFF, 0, 0, 0, 1), 0xFFFFFFFE),
    freeze(13, 0xFFFFFFFF, (), 0),
    item(14, 0x02010100, (2205,)),
    item(15, 0xFFFFFFFF, (-1, 0x7FFFFFFF, -0x80000000, -0x40000000, 0, 1, 2, 3, 4, -5)),
    item(16, 0, ()),
    other(17, record.TOP_UP, b"\xff" * 48, 3),
    other(18, record.START, b"", 0xFFFF),
    other(19, record.POLICY, b"\x00" * 47 + b"\x01", 0xFFFE, JOINED | ESTIMATED),
    other(20, 31, b"\x00\x01", 0),
)


def test_a_group_byte_for_byte() -> None:
    one = reading(7, (4000123450,), status=0xFFFF)
    two = item(8, 0x03020100, (-1, -0x40000000))
    record.encode_into(two, 0, 8, NOW + 3, record.ITEM, JOINED, 5)
    packer = Packer(bytearray(200))
    packer.begin(0, 200, 7)
    check(packer.add(one) and packer.add(two) and packer.add_gap(5, 300))
    data = packer._buf[: packer.finish()]
    body = (
        "82" "00" "00" "c1" "b1a803" "95fed201" "b960" "b9e8debe01"
        "30" "0a" "06" "00010203" "02" "01" "ffffffff07"
        "00" "05" "ac02"
    ).replace(" ", "")  # fmt: skip
    size = 12 + len(body) // 2 + 4
    head = hexlify(bytes((size, 0, 3))).decode() + "07000000" + "8075e830"
    equal(hexlify(bytes(data[12:-4])).decode(), body)
    equal(hexlify(bytes(data[:11])).decode(), head)
    equal(data[11], (sum(unhexlify(head)) + 0xA5) & 0xFF)
    equal(int.from_bytes(data[-4:], "little"), crc32(data[:-4]))


def test_every_record_comes_back() -> None:
    for one in SAMPLES:
        equal(unpacked(packed([one])), [bytes(one[:60])], record.seq_at(one, 0))
    at = 0
    while at < len(SAMPLES):
        part = list(SAMPLES[at : at + 7])
        equal(unpacked(packed(part)), [bytes(one[:60]) for one in part], at)
        at += 7


def test_no_item_is_longer_than_room_is_kept_for() -> None:
    full = (0xFFFFFFFF,) * 8
    longest = reading(8, full, NOW, 0xFFFE, 3, 0xABCD, 0xFFFF, 0xFFFFFFFF)
    pack_into("<II", longest, PAYLOAD, 0xFFFFFFFF, 0xFFFFFFFF)
    record.encode_into(longest, 0, 8, 0xFFFFFFFF, record.READING, 3, 0xFFFE)
    cases = [longest, freeze(8, 0xFFFFFFFF, full, 0)]
    cases.extend(SAMPLES)
    for one in cases:
        packer = Packer(bytearray(packing.GROUP_LIMIT))
        packer.begin(0, packing.GROUP_LIMIT, 1)
        check(packer.add(reading(1, (), 1, 0xFFFF)))
        before = packer.end
        check(packer.add(one))
        check(packer.end - before <= packing.ITEM_LIMIT, packer.end - before)


def test_a_reading_costs_few_bytes() -> None:
    """A round reads one meter after the other, with one register, two, four."""
    for count, limit in ((1, 18), (2, 22), (4, 28)):
        packer = Packer(bytearray(packing.GROUP_LIMIT))
        packer.begin(0, packing.GROUP_LIMIT, 1)
        added = 0
        while packer.add(reading(added + 1, (5000120,) * count, NOW + added, added, 0, 0xFFFF)):
            added += 1
        check(packer.finish() <= limit * added, (count, packer.finish(), added))


def test_a_group_says_when_it_is_full() -> None:
    packer = Packer(bytearray(600))
    packer.begin(100, 12 + 4 + 2 * packing.ITEM_LIMIT, 1)
    equal(packer.room, 2)
    check(packer.add(other(1, record.TOP_UP, b"\xff" * 48, 3)))
    equal(packer.room, 1)
    check(packer.add(other(2, record.TOP_UP, b"\xff" * 48, 3)))
    check(not packer.add(other(3, record.TOP_UP, b"", 3)), "no room")
    check(not packer.add_gap(1, 1), "no room for a gap either")
    equal(packer.count, 2)
    packer.finish()
    equal(packer._buf[:100], bytes(100))
    equal(packer._buf[100 + 12 + 4 + 140 :], bytes(600 - 256))


def test_at_most_255_items() -> None:
    """The shortest records are those of gaps."""
    packer = Packer(bytearray(packing.GROUP_LIMIT))
    packer.begin(0, packing.GROUP_LIMIT, 1)
    count = 0
    while packer.add_gap(1, 1):
        count += 1
    check(count <= packing.COUNT_LIMIT and packer.finish() <= packing.GROUP_LIMIT)


def test_a_group_that_begins_with_a_gap_knows_nothing_of_the_one_before() -> None:
    buf = bytearray(packing.GROUP_LIMIT)
    packer = Packer(buf)
    packer.begin(0, len(buf), 1)
    packer.add(reading(1, (100,), index=7))
    packer.finish()

    packer.begin(0, len(buf), 2)
    packer.add_gap(packing.LET_GO_READINGS, 3)
    later = reading(5, (100,), t2000=NOW + 25200, index=9)
    packer.add(later)
    size = packer.finish()

    reader = Unpacker(buf)
    equal(reader.open(0, size), size)
    found = bytearray(RECORD_SIZE)
    equal(reader.look(), packing.GAP)
    check(reader.next(found))
    equal(found[:-4], later[:-4])


def test_gaps_are_as_long_as_they_say() -> None:
    packer = Packer(bytearray(packing.GROUP_LIMIT))
    packer.begin(0, packing.GROUP_LIMIT, 1000)
    check(packer.add_gap(packing.LET_GO_READINGS | packing.LET_GO_ITEMS, 1))
    check(packer.add(other(1001, record.LINE, b"\x01", 2)))
    check(packer.add_gap(packing.LET_GO_OTHERS, 0xFFFFF000))
    size = packer.finish()
    unpacker = Unpacker(packer._buf)
    equal(unpacker.open(0, packing.GROUP_LIMIT), size)
    buf = bytearray(RECORD_SIZE)
    equal(unpacker.next(buf), packing.GAP)
    equal((unpacker.seq, unpacker.next_seq, unpacker.reasons), (1000, 1001, 5))
    equal(unpacker.next(buf), record.LINE)
    equal((unpacker.seq, unpacker.next_seq, record.seq_at(buf, 0)), (1001, 1002, 1001))
    equal(unpacker.next(buf), packing.GAP)
    equal((unpacker.seq, unpacker.next_seq, unpacker.reasons), (1002, 1002 + 0xFFFFF000, 0x40))
    equal(unpacker.next(buf), packing.END)
    unpacker.rewind()
    equal((unpacker.next(buf), unpacker.seq, unpacker.reasons), (packing.GAP, 1000, 5))


def test_no_flipped_bit_passes() -> None:
    data = packed(list(SAMPLES[:7]))
    unpacker = Unpacker(data)
    size = len(data)
    for index in range(size):
        for bit in range(8):
            data[index] ^= 1 << bit
            answer = unpacker.open(0, size)
            # Only an altered size may look like the end of a file, and the check detects that.
            equal(answer, packing.ROTTEN, (index, bit))
            data[index] ^= 1 << bit
    equal(unpacker.open(0, size), size)


def test_a_cut_group_is_torn_and_never_rotten() -> None:
    data = packed(list(SAMPLES[:7]))
    unpacker = Unpacker(data)
    for end in range(len(data)):
        equal(unpacker.open(0, end), packing.TORN, end)
    unpacker = Unpacker(bytearray(64))
    equal(unpacker.open(0, 64), packing.ROTTEN, "zeros")
    equal(unpacker.open(60, 64), packing.TORN)


def test_made_up_groups_stay_within_bounds() -> None:
    """Under a right check and CRC any bytes may stand: the reader takes or refuses them."""
    data = packed(list(SAMPLES[:7]))
    size = len(data)
    space = bytearray(size + 64)
    buf = bytearray(RECORD_SIZE)
    number = 12345
    unpacker = Unpacker(space)
    for _ in range(300):
        space[:size] = data
        for _ in range(1 + number % 3):
            number = number * 1103515245 + 12345 & 0x3FFFFFFF
            space[12 + (number >> 8) % (size - 16)] = number >> 16 & 0xFF
        pack_into("<I", space, size - 4, crc32(memoryview(space)[: size - 4]))
        equal(unpacker.open(0, len(space)), size)
        for _ in range(20):
            kind = unpacker.next(buf)
            if kind in (packing.END, packing.MALFORMED):
                break
        equal(unpacker.next(buf), kind)
        equal(space[size:], bytes(64), "written behind the group")


def test_packing_does_not_allocate() -> None:
    packer = Packer(bytearray(packing.GROUP_LIMIT))
    one = reading(1, (5000120, 70), NOW, 1, 0, 0x10)
    two = item(2, 0x02010100, (-2205,))
    three = other(3, record.LINE, b"\x01", 2)
    packer.begin(0, packing.GROUP_LIMIT, 1)
    with heap_locked():
        added = packer.add(one) and packer.add(two) and packer.add(three)
    check(added)
