"""Read a batch ten times as fast as `host.frames.packing` parses the same bytes.

A head-end takes tens of thousands of readings a second, so the groups are read here by hand. A
test compares the result with `host.frames.packing` and construct: see
tests/host/test_headend_unpack.py.

Spec: docs/SPEC.md, Packed records.
"""

import struct
import zlib
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from host.frames.batch import UplinkError
from host.frames.packing import (
    COUNT_LIMIT,
    CRC_SIZE,
    GROUP_LIMIT,
    GROUP_SHORTEST,
    HEAD_SIZE,
    Gap,
    Reason,
)
from host.frames.record import PAYLOAD_SIZE, RecordKind, parse_payload

_HEAD = struct.Struct("<HBIIB")
_CHECK_BASE = 0xA5
_SEQ_END = 1 << 32
_WORD = 0xFFFFFFFF
_READING = int(RecordKind.READING)
_FREEZE = int(RecordKind.FREEZE)
_ITEM = int(RecordKind.ITEM)
_REGISTERS_LIMIT = 8
_VALUES_LIMIT = 10
_READINGS = [struct.Struct(f"<IIHHI{count}I") for count in range(_REGISTERS_LIMIT + 1)]


class Taken(NamedTuple):
    """One record. `fields` of a READING are a tuple, see `Read`; of others they are by name."""

    seq: int
    t2000: int
    kind: int
    flags: int
    row: int
    payload: bytes  # without the zeros behind it
    fields: Any


class Read(NamedTuple):
    """Fields of a READING; registers without the zeros behind them."""

    debit_fen: int
    residue_e7: int
    residue_e11: int
    status: int
    used_wh: int
    registers_wh: tuple[int, ...]


@dataclass(slots=True)
class Unpacked:
    """The content of a batch: consecutive numbers from `first_seq` to `next_seq` - 1."""

    first_seq: int
    next_seq: int
    records: list[Taken] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)


def stored(seq: int, t2000: int, kind: int, flags: int, row: int, payload: bytes) -> Taken:
    """Return a record as `unpack` gave it, from the columns under which it was stored."""
    payload = bytes(payload)  # of PostgreSQL it is a view
    fields: Any = parse_payload(kind, payload.ljust(PAYLOAD_SIZE, b"\0"))
    if kind == _READING:
        registers = list(fields.pop("registers_wh"))
        while registers and not registers[-1]:
            registers.pop()
        fields = Read(**fields, registers_wh=tuple(registers))
    return Taken(seq, t2000, kind, flags, row, payload, fields)


def unpack(data: bytes) -> Unpacked:
    """Read a BATCH's payload; UplinkError names what is wrong with it."""
    try:
        return _unpack(data)
    except IndexError:
        raise UplinkError("malformed", "batch: an item ends behind its group") from None
    except (struct.error, ValueError) as error:
        if isinstance(error, UplinkError):
            raise
        raise UplinkError("malformed", f"batch: {error}") from None


def _unpack(data: bytes) -> Unpacked:
    if not data:
        raise UplinkError("malformed", "batch: no group")
    at = 0
    found: Unpacked | None = None
    while at < len(data):
        head = data[at : at + HEAD_SIZE]
        if len(head) < HEAD_SIZE:
            raise UplinkError("malformed", f"batch: {len(head)} bytes of a head")
        size, count, first_seq, t2000, check = _HEAD.unpack(head)
        if check != (sum(head[:-1]) + _CHECK_BASE) & 0xFF:
            raise UplinkError("malformed", f"batch: check {check:02X} of the head is wrong")
        if not GROUP_SHORTEST <= size <= GROUP_LIMIT or not 0 < count <= COUNT_LIMIT:
            raise UplinkError("malformed", f"batch: a head of {size} bytes, {count} items")
        if first_seq == 0 or (found is not None and first_seq != found.next_seq):
            raise UplinkError("malformed", f"batch: a group from {first_seq} on is out of place")
        group = data[at : at + size]
        if len(group) != size:
            raise UplinkError("malformed", f"batch: {len(group)} bytes of a group of {size}")
        if zlib.crc32(group[:-CRC_SIZE]) != int.from_bytes(group[-CRC_SIZE:], "little"):
            raise UplinkError("malformed", "batch: group CRC is wrong")
        if found is None:
            found = Unpacked(first_seq, first_seq)
        _items(group[HEAD_SIZE:-CRC_SIZE], count, t2000, found)
        at += size
    if found is None or found.next_seq > _SEQ_END:
        raise UplinkError("malformed", "batch: numbers beyond the last one there is")
    return found


def _number(data: bytes, at: int) -> tuple[int, int]:
    """Return a varint and the place behind it."""
    value = data[at]
    at += 1
    if value < 0x80:
        return value, at
    value &= 0x7F
    shift = 7
    while True:
        part = data[at]
        at += 1
        value |= (part & 0x7F) << shift
        if part < 0x80:
            return value, at
        shift += 7
        if shift > 28:
            raise ValueError("a number of more than five bytes")


def _numbers(data: bytes, at: int, count: int) -> tuple[list[int], int]:
    """Return as many varints, and the place behind them; one call costs less than many."""
    found = []
    for _ in range(count):
        value = data[at]
        at += 1
        if value > 0x7F:
            part = data[at]
            at += 1
            value += (part << 7) - 0x80
            if part > 0x7F:
                part = data[at]
                at += 1
                value += (part << 14) - 0x4000
                if part > 0x7F:
                    part, at = _number(data, at)
                    if part > 0x3FFF:
                        raise ValueError("a number of more than five bytes")
                    value += (part << 21) - 0x200000
        found.append(value)
    return found, at


def _items(data: bytes, count: int, t2000: int, found: Unpacked) -> None:
    """Read the items of one group into `found`."""
    at = index = 0
    seq = found.next_seq
    take, number = found.records.append, _number
    for _ in range(count):
        head = data[at]
        kind = head & 0x1F
        if head == 0:
            gone, behind = number(data, at + 2)
            if gone == 0:
                raise ValueError("a gap of no numbers")
            found.gaps.append(Gap(seq, gone, Reason(data[at + 1])))
            seq, at = seq + gone, behind
            continue
        if kind == 0:
            raise ValueError(f"a head of {head:02X}")
        step, at = number(data, at + 1)
        index += -(step + 1 >> 1) if step & 1 else step >> 1
        step, at = number(data, at)
        t2000 += -(step + 1 >> 1) if step & 1 else step >> 1
        fields: Any = None
        if kind == _READING:
            payload, fields, at = _reading(data, at, 10 if head & 0x80 else 1)
        elif kind == _FREEZE:
            payload, at = _freeze(data, at, t2000, 10 if head & 0x80 else 1)
        elif kind == _ITEM:
            payload, at = _item(data, at)
        else:
            size = data[at]
            payload = data[at + 1 : at + 1 + size]
            at += 1 + size
            if size > PAYLOAD_SIZE or len(payload) != size:
                raise ValueError(f"{size} bytes of a payload")
        if fields is None:
            fields = parse_payload(kind, payload.ljust(PAYLOAD_SIZE, b"\0"))
        place = (seq, t2000 & _WORD, kind, head >> 5 & 3, index & 0xFFFF)
        take(Taken(*place, payload.rstrip(b"\0"), fields))
        seq += 1
    if at != len(data):
        raise ValueError(f"{len(data) - at} bytes behind the last item")
    found.next_seq = seq


def _reading(data: bytes, at: int, unit: int) -> tuple[bytes, Read, int]:
    """Return payload and fields of a READING, and the place behind it."""
    what = data[at]
    count = what & 0x0F
    if count > _REGISTERS_LIMIT:
        raise ValueError(f"{count} registers")
    residue_e11 = used_wh = 0
    status = 0xFFFF if what & 0x80 else 0
    if what & 0x10:
        (debit_fen, residue_e7, residue_e11), at = _numbers(data, at + 1, 3)
    else:
        (debit_fen, residue_e7), at = _numbers(data, at + 1, 2)
    if what & 0x20:
        status = data[at] | data[at + 1] << 8
        at += 2
    if what & 0x40:
        (used_wh, *registers), at = _numbers(data, at, 1 + count)
    else:
        registers, at = _numbers(data, at, count)
    if unit != 1:
        registers = [one * unit & _WORD for one in registers]
    while registers and not registers[-1]:
        registers.pop()
    fields = Read(
        debit_fen & _WORD,
        residue_e7 & _WORD,
        residue_e11 & 0xFFFF,
        status,
        used_wh * unit & _WORD,
        tuple(registers),
    )
    payload = _READINGS[len(registers)].pack(*fields[:5], *registers)
    return payload, fields, at


def _freeze(data: bytes, at: int, t2000: int, unit: int) -> tuple[bytes, int]:
    count = data[at]
    if count > _REGISTERS_LIMIT:
        raise ValueError(f"{count} registers")
    step, at = _number(data, at + 1)
    words = [t2000 + (-(step + 1 >> 1) if step & 1 else step >> 1) & _WORD]
    for _ in range(count):
        one, at = _number(data, at)
        words.append(one * unit & _WORD)
    return struct.pack(f"<{len(words)}I", *words), at


def _item(data: bytes, at: int) -> tuple[bytes, int]:
    head = data[at : at + 5]
    count = head[4]
    if count > _VALUES_LIMIT:
        raise ValueError(f"{count} values")
    at += 5
    words = []
    for _ in range(count):
        one, at = _number(data, at)
        one &= _WORD  # bits of a number above 32 count for nothing
        words.append((-(one + 1 >> 1) if one & 1 else one >> 1) & _WORD)
    return head + bytes(3) + struct.pack(f"<{count}I", *words), at
