"""Groups of packed records, as segments on flash and batches on the uplink hold them.

`parse_group` returns the records and gaps of one group, `build_group` makes its bytes, and
`parse_segment` reads a whole journal file: its good groups, and its torn or rotten parts.

Spec: docs/SPEC.md, Packed records and Files on the device's flash.
"""

import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntFlag

from host.frames import record
from host.frames.record import Record, RecordKind

GROUP_LIMIT = 512
SEGMENT_SIZE = 4096
HEAD_SIZE = 12
CRC_SIZE = 4
COUNT_LIMIT = 255
# A group of one gap, and a record without fields.
GROUP_SHORTEST = 19
ITEM_SHORTEST = 4
_HEAD = struct.Struct("<HBIIB")
_CHECK_BASE = 0xA5
_SEQ_END = 1 << 32
_NO_INDEX = 0xFFFF
_NO_STATUS = 0xFFFF
_TEN_WH = 10
_VALUES_LIMIT = 10


class Reason(IntFlag):
    """The kinds of records in a gap, and whether they can no longer be read."""

    READINGS = 0x01
    FREEZES = 0x02
    ITEMS = 0x04
    OTHERS = 0x40
    UNREADABLE = 0x80


class PackingError(ValueError):
    """The bytes are no group; `torn`: they end before it does."""

    def __init__(self, detail: str, *, torn: bool = False) -> None:
        super().__init__(detail)
        self.torn = torn


@dataclass(frozen=True, slots=True)
class Gap:
    """Records `seq` to `seq` + `count` - 1 are lost, for the `reasons`."""

    seq: int
    count: int
    reasons: Reason


@dataclass(frozen=True, slots=True)
class Group:
    """Consecutive numbers from `first_seq` on; `size` is that of its bytes."""

    first_seq: int
    items: list[Record | Gap]
    size: int

    @property
    def records(self) -> list[Record]:
        """Return the records of the group."""
        return [item for item in self.items if isinstance(item, Record)]

    @property
    def gaps(self) -> list[Gap]:
        """Return the gaps of the group."""
        return [item for item in self.items if isinstance(item, Gap)]

    @property
    def next_seq(self) -> int:
        """Return the number behind its last item."""
        last = self.items[-1]
        return last.seq + (last.count if isinstance(last, Gap) else 1)


# --- reading ------------------------------------------------------------------------------------


def _from_zigzag(value: int) -> int:
    """Return the number of a zigzag varint."""
    return -(value + 1) // 2 if value & 1 else value // 2


class _Reader:
    """A reader of the items in the bytes of a group."""

    def __init__(self, data: bytes, t2000: int) -> None:
        self.data = data
        self.at = 0
        self.index = 0
        self.t2000 = t2000

    def read(self, size: int) -> bytes:
        part = self.data[self.at : self.at + size]
        if len(part) != size:
            raise PackingError(f"an item ends {size - len(part)} bytes behind its group")
        self.at += size
        return part

    def byte(self) -> int:
        return self.read(1)[0]

    def number(self) -> int:
        """Return a varint of at most five bytes."""
        value = 0
        for shift in range(0, 35, 7):
            part = self.byte()
            value |= (part & 0x7F) << shift
            if part < 0x80:
                return value
        raise PackingError("a number of more than five bytes")

    def signed(self) -> int:
        return _from_zigzag(self.number())

    def numbers(self, count: int, unit: int = 1) -> bytes:
        """Return the next `count` numbers, each times `unit`, as 32-bit words of a payload."""
        words = [self.number() * unit & 0xFFFFFFFF for _ in range(count)]
        return struct.pack(f"<{count}I", *words)

    def record(self, seq: int) -> Record:
        head = self.byte()
        kind = head & 0x1F
        if kind == 0:
            raise PackingError(f"a head of {head:02X}")
        self.index += self.signed()
        self.t2000 += self.signed()
        unit = _TEN_WH if head & 0x80 else 1
        if kind == RecordKind.READING:
            payload = self._reading(unit)
        elif kind == RecordKind.FREEZE:
            payload = self._freeze(unit)
        elif kind == RecordKind.ITEM:
            payload = self._item()
        else:
            payload = self.read(_at_most(self.byte(), record.PAYLOAD_SIZE, "bytes of a payload"))
        payload = payload.ljust(record.PAYLOAD_SIZE, b"\0")
        t2000, index = self.t2000 & 0xFFFFFFFF, self.index & _NO_INDEX
        flags = head >> 5 & 3
        return Record(seq, t2000, kind, flags, index, payload, record.parse_payload(kind, payload))

    def _reading(self, unit: int) -> bytes:
        what = self.byte()
        count = _at_most(what & 0x0F, 8, "registers")
        debit_and_residue = self.numbers(2)
        residue_e11 = self.number() if what & 0x10 else 0
        if what & 0x20:
            status = int.from_bytes(self.read(2), "little")
        else:
            status = _NO_STATUS if what & 0x80 else 0
        used_wh = self.numbers(1, unit) if what & 0x40 else bytes(4)
        words = struct.pack("<HH", residue_e11 & 0xFFFF, status)
        return debit_and_residue + words + used_wh + self.numbers(count, unit)

    def _freeze(self, unit: int) -> bytes:
        count = _at_most(self.byte(), 8, "registers")
        frozen_t2000 = self.t2000 + self.signed() & 0xFFFFFFFF
        return frozen_t2000.to_bytes(4, "little") + self.numbers(count, unit)

    def _item(self) -> bytes:
        head = self.read(5)
        count = _at_most(head[4], _VALUES_LIMIT, "values")
        # Bits of a number above 32 count for nothing, as for all words of a payload.
        values = [_from_zigzag(self.number() & 0xFFFFFFFF) & 0xFFFFFFFF for _ in range(count)]
        return head + bytes(3) + struct.pack(f"<{count}I", *values)


def _at_most(count: int, limit: int, what: str) -> int:
    if count > limit:
        raise PackingError(f"{count} {what}, {limit} at most")
    return count


def parse_group(data: bytes) -> Group:
    """Parse the group that `data` begins with; PackingError says what is wrong."""
    size, count, first_seq, t2000, _ = _parse_head(data)
    if size > len(data):
        raise PackingError(f"{len(data)} bytes of a group of {size}", torn=True)
    covered, stored = data[: size - CRC_SIZE], data[size - CRC_SIZE : size]
    if zlib.crc32(covered) != int.from_bytes(stored, "little"):
        raise PackingError(f"group CRC {stored[::-1].hex()}, computed {zlib.crc32(covered):08x}")
    reader = _Reader(covered[HEAD_SIZE:], t2000)
    items: list[Record | Gap] = []
    seq = first_seq
    for _ in range(count):
        if reader.data[reader.at : reader.at + 1] == b"\0":
            reader.at += 1
            gap = Gap(seq, reasons=Reason(reader.byte()), count=reader.number())
            if gap.count == 0 or seq + gap.count > _SEQ_END:
                raise PackingError(f"a gap of {gap.count} numbers from {seq} on")
            items.append(gap)
            seq += gap.count
        else:
            items.append(reader.record(seq))
            seq += 1
    if reader.at != len(reader.data) or seq > _SEQ_END:
        raise PackingError(f"{len(reader.data) - reader.at} bytes behind the last item")
    return Group(first_seq, items, size)


def _parse_head(data: bytes) -> tuple[int, int, int, int, int]:
    """Return the size, count, first_seq, base t2000 and check of the group's head."""
    if len(data) < HEAD_SIZE:
        raise PackingError(f"{len(data)} bytes of a head", torn=True)
    size, count, first_seq, t2000, check = _HEAD.unpack_from(data)
    if check != _check(data):
        raise PackingError(f"check {check:02X} of the head, computed {_check(data):02X}")
    if not GROUP_SHORTEST <= size <= GROUP_LIMIT or count == 0 or first_seq == 0:
        raise PackingError(f"a head of {size} bytes, {count} items from {first_seq} on")
    return size, count, first_seq, t2000, check


def _check(data: bytes) -> int:
    return sum(data[: HEAD_SIZE - 1], _CHECK_BASE) & 0xFF


def parse_groups(data: bytes) -> list[Group]:
    """Parse bytes that are groups and nothing else; PackingError where they are not."""
    groups: list[Group] = []
    at = 0
    while at < len(data):
        group = parse_group(data[at:])
        if groups and group.first_seq != groups[-1].next_seq:
            raise PackingError(f"group {group.first_seq} behind {groups[-1].next_seq - 1}")
        groups.append(group)
        at += group.size
    if not groups:
        raise PackingError("no group")
    return groups


@dataclass(frozen=True, slots=True)
class Segment:
    """The content of a journal file: its good groups, and its torn or rotten parts.

    next_seq    the lowest number that is certainly not in it
    torn        it ends in a group whose end was never written
    rotten      bytes that have changed since they were written, as (place, size)
    """

    groups: list[Group]
    next_seq: int
    torn: bool = False
    rotten: list[tuple[int, int]] = field(default_factory=list)

    @property
    def records(self) -> list[Record]:
        """Return all records of the good groups."""
        return [one for group in self.groups for one in group.records]

    @property
    def gaps(self) -> list[Gap]:
        """Return all gaps of the good groups."""
        return [one for group in self.groups for one in group.gaps]


def parse_segment(data: bytes, first_seq: int) -> Segment:
    """Parse the journal file whose name says `first_seq`."""
    groups: list[Group] = []
    rotten: list[tuple[int, int]] = []
    next_seq = first_seq
    at = 0
    while at < len(data):
        try:
            group = parse_group(data[at:])
        except PackingError as error:
            if error.torn:
                return Segment(groups, next_seq, True, rotten)
            behind = _next_group(data, at + 1, next_seq)
            rotten.append((at, behind - at))
            next_seq += (behind - at) // ITEM_SHORTEST if behind == len(data) else 0
            at = behind
            continue
        groups.append(group)
        next_seq = group.next_seq
        at += group.size
    return Segment(groups, next_seq, False, rotten)


def _next_group(data: bytes, at: int, seq: int) -> int:
    """Return where the first good group from `at` on is that is not before `seq`, else the end."""
    for place in range(at, len(data)):
        try:
            if parse_group(data[place:]).first_seq >= seq:
                return place
        except PackingError:
            continue
    return len(data)


# --- writing ------------------------------------------------------------------------------------


def build_groups(items: Sequence[Record | Gap]) -> bytes:
    """Return the bytes of consecutive `items` in as few groups as they fit."""
    built = b""
    start = 0
    while start < len(items):
        end = start + 1
        group = build_group(items[start:end])
        for end in range(start + 1, min(len(items), start + COUNT_LIMIT) + 1):
            longer = _build(items[start:end])
            if len(longer) > GROUP_LIMIT:
                end -= 1
                break
            group = longer
        built += group
        start = end
    return built


def build_group(items: Sequence[Record | Gap]) -> bytes:
    """Return the bytes of one group of consecutive `items`; PackingError: too many."""
    group = _build(items)
    if len(group) > GROUP_LIMIT or len(items) > COUNT_LIMIT:
        raise PackingError(f"a group of {len(group)} bytes with {len(items)} items")
    return group


def _build(items: Sequence[Record | Gap]) -> bytes:
    base = items[0].t2000 if isinstance(items[0], Record) else 0
    index, t2000 = 0, base
    parts = []
    for item in items:
        if isinstance(item, Gap):
            parts.append(bytes((0, item.reasons)) + _number(item.count))
            continue
        to = -1 if item.index == _NO_INDEX else item.index
        unit, fields = _fields(item)
        head = item.kind | (item.flags & 3) << 5 | (0x80 if unit == _TEN_WH else 0)
        parts.append(bytes((head,)) + _signed(to - index) + _signed(item.t2000 - t2000) + fields)
        index, t2000 = to, item.t2000
    body = b"".join(parts)
    size = HEAD_SIZE + len(body) + CRC_SIZE
    head_bytes = _HEAD.pack(size, len(items), items[0].seq, base, 0)
    covered = head_bytes[:-1] + bytes((_check(head_bytes),)) + body
    return covered + zlib.crc32(covered).to_bytes(CRC_SIZE, "little")


def _fields(item: Record) -> tuple[int, bytes]:
    """Return the unit of its energies, and its packed fields."""
    payload = item.payload
    if item.kind == RecordKind.READING:
        return _reading(payload)
    if item.kind == RecordKind.FREEZE:
        frozen_t2000, *registers = struct.unpack("<9I", payload[:36])
        unit, registers = _registers(registers)
        frozen = bytes((len(registers),)) + _signed(frozen_t2000 - item.t2000)
        return unit, frozen + _numbers(registers)
    if item.kind == RecordKind.ITEM:
        count = min(payload[4], _VALUES_LIMIT)
        values = struct.unpack(f"<{count}i", payload[8 : 8 + 4 * count])
        return 1, payload[:5] + b"".join(_signed(value) for value in values)
    shortened = payload.rstrip(b"\0")
    return 1, bytes((len(shortened),)) + shortened


def _reading(payload: bytes) -> tuple[int, bytes]:
    debit, residue_e7, residue_e11, status, used_wh, *registers = struct.unpack(
        "<IIHHI8I", payload
    )
    unit, (used_wh, *registers) = _registers([used_wh, *registers], used=1)
    what = len(registers) | (0x10 if residue_e11 else 0) | (0x40 if used_wh else 0)
    packed = _numbers([debit, residue_e7]) + (_number(residue_e11) if residue_e11 else b"")
    if status == _NO_STATUS:
        what |= 0x80
    elif status:
        what |= 0x20
        packed += status.to_bytes(2, "little")
    packed += _numbers([used_wh] if used_wh else []) + _numbers(registers)
    return unit, bytes((what,)) + packed


def _registers(energies: Sequence[int], used: int = 0) -> tuple[int, list[int]]:
    """Return a unit, and the energies in it without the zeros at their end.

    The first `used` always stay.
    """
    kept = list(energies)
    while len(kept) > used and kept[-1] == 0:
        kept.pop()
    unit = 1 if any(one % _TEN_WH for one in kept) else _TEN_WH
    return unit, [one // unit for one in kept]


def _numbers(values: Iterable[int]) -> bytes:
    return b"".join(_number(value) for value in values)


def _signed(value: int) -> bytes:
    return _number(2 * value if value >= 0 else -2 * value - 1)


def _number(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*parts, value))
