"""The 64-byte records of the journal and the uplink, parsed from their specification.

`parse` returns a `Record` with the payload's fields by name, `make` makes one from such fields,
and `build` returns its bytes.
"""

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import construct as c

from host.frames.quick import quick

RECORD_SIZE = 64
PAYLOAD_SIZE = 48
_RECORD_HEADER_SIZE = 12
_CRC_OFFSET = 60
# The speeds that METER.speed stands for, by their place.
BAUDS = (2400, 1200, 9600, 4800, 600, 19200, 38400, 57600, 115200)
ITEM_VALUES_LIMIT = 10
_NO_VALUE = -0x40000000


class RecordKind(IntEnum):
    """The kind of a record."""

    METER = 1
    READING = 2
    TOP_UP = 3
    RELAY = 4
    POLICY = 5
    ROLLOVER = 6
    TARIFF = 7
    START = 8
    FAULT = 9
    CARD = 10
    LINE = 11
    CLOCK = 12
    ACCOUNT = 13
    FREEZE = 14
    PLAN = 15
    ITEM = 16
    REFUND = 17
    CORRECTION = 18
    STANDING = 19
    STANDING_REGISTERS = 20
    LOGIN = 21
    SETTING = 22
    OPERATOR_CARD = 23
    FIRMWARE = 24
    COMMAND = 25
    EVENT = 26
    QUOTA = 27


# Kinds that pay money in or out: they are never deleted before the head-end has them.
MONEY_KINDS = frozenset((RecordKind.TOP_UP, RecordKind.REFUND, RecordKind.CORRECTION))

# Six bytes in wire order, low byte first, as the 12 digits on the meter's label.
_ADDRESS = c.ExprAdapter(
    c.Bytes(6),
    decoder=lambda octets, _: octets[::-1].hex().upper(),
    encoder=lambda digits, _: bytes.fromhex(digits)[::-1],
)


def _digits(size: int) -> Any:
    """Return bytes in reading order as hexadecimal digits: account numbers and card numbers."""
    return c.ExprAdapter(
        c.Bytes(size),
        decoder=lambda octets, _: octets.hex().upper(),
        encoder=lambda digits, _: bytes.fromhex(digits),
    )


# The last character may be cut.
_START_OF_TEXT = c.ExprAdapter(
    c.Bytes(24),
    decoder=lambda octets, _: octets.rstrip(b"\0").decode(errors="replace"),
    encoder=lambda text, _: text.encode()[:24].ljust(24, b"\0"),
)
_ACCOUNT = _digits(6)
# Also the MAC of a card's header.
_UID = _digits(8)
_NO_MAC = "00" * 8
_VERSION = c.ExprAdapter(
    c.Bytes(16),
    decoder=lambda octets, _: octets.rstrip(b"\0").decode("ascii", "replace"),
    encoder=lambda text, _: text.encode("ascii").ljust(16, b"\0"),
)
_IDENTIFIER = c.ExprAdapter(
    c.Int32ul,
    decoder=lambda number, _: f"{number:08X}",
    encoder=lambda digits, _: int(digits, 16),
)
# A number in units of its lowest digit, None where the meter has no value.
_VALUE = c.ExprAdapter(
    c.Int32sl,
    decoder=lambda number, _: None if number == _NO_VALUE else number,
    encoder=lambda number, _: _NO_VALUE if number is None else number,
)

_PAYLOADS: dict[int, Any] = {
    RecordKind.METER: c.Struct(
        "address" / _ADDRESS,
        "account" / _ACCOUNT,
        "tariff" / c.Int8ul,
        "line" / c.Int8ul,
        "standard" / c.Int8ul,
        "active" / c.Int8ul,
        "speed" / c.Default(c.Int8ul, 0),
        "marks" / c.Default(c.Int8ul, 0),
        "relay" / c.Default(c.Int8ul, 0),
    ),
    RecordKind.READING: c.Struct(
        "debit_fen" / c.Int32ul,
        "residue_e7" / c.Int32ul,
        "residue_e11" / c.Int16ul,
        "status" / c.Int16ul,
        "used_wh" / c.Int32ul,
        "registers_wh" / c.Array(8, c.Int32ul),
    ),
    RecordKind.TOP_UP: c.Struct(
        "order" / c.Int32ul,
        "amount_fen" / c.Int32ul,
        "credit_fen" / c.Int32ul,
        "balance_fen" / c.Int32sl,
        "uid" / _UID,
        "source" / c.Int8ul,
        "key_version" / c.Int8ul,
        "debt_week" / c.Default(c.Int16ul, 0),
        "repaid_fen" / c.Int32ul,
        "debt_fen" / c.Default(c.Int32ul, 0),
        "header_mac" / c.Default(_UID, _NO_MAC),
        "debt_week_fen" / c.Default(c.Int32ul, 0),
    ),
    RecordKind.RELAY: c.Struct(
        "desired" / c.Int8ul,
        "stage" / c.Int8ul,
        "reason" / c.Int8ul,
        c.Padding(1),
        "status" / c.Int16ul,
        "balance_fen" / c.Int32sl,
    ),
    RecordKind.POLICY: c.Struct(
        "new" / c.Int8ul,
        "old" / c.Int8ul,
        "reason" / c.Int8ul,
        c.Padding(1),
        "balance_fen" / c.Int32sl,
    ),
    RecordKind.ROLLOVER: c.Struct(
        "old_period" / c.Int32ul,
        "new_period" / c.Int32ul,
        "used_wh" / c.Int32ul,
        "debit_fen" / c.Int32ul,
    ),
    RecordKind.QUOTA: c.Struct(
        "used_wh" / c.Int32ul,
        "period" / c.Int32ul,
        "quota" / c.Int32ul,
        "free" / c.Int32ul,
        "old_quota" / c.Default(c.Int32ul, 0),
        "old_free" / c.Default(c.Int32ul, 0),
    ),
    RecordKind.TARIFF: c.Struct(
        "number" / c.Int8ul, c.Padding(1), "size" / c.Int16ul, "sha256" / _digits(8)
    ),
    RecordKind.START: c.Struct(
        "cause" / c.Int8ul,
        "settings" / c.Int8ul,
        "reset_cause" / c.Int8ul,
        c.Padding(1),
        "first_seq" / c.Int32ul,
        "records_lost" / c.Int32ul,
        "records_rotten" / c.Int32ul,
    ),
    RecordKind.FAULT: c.Struct(
        "reason" / c.Int8ul,
        "stopped" / c.Int8ul,
        c.Padding(2),
        "value" / c.Int32ul,
        "limit" / c.Int32ul,
    ),
    RecordKind.CARD: c.Struct(
        "code" / c.Int8ul,
        c.Padding(3),
        "order" / c.Int32ul,
        "amount_fen" / c.Int32ul,
        "uid" / _UID,
        "account" / _ACCOUNT,
        c.Padding(2),
        "illegal" / c.Default(c.Int16ul, 0),
        "recent" / c.Default(c.Int16ul, 0),
    ),
    RecordKind.LINE: c.Struct(
        "state" / c.Int8ul,
        c.Padding(1),
        "failures" / c.Int16ul,
        "ahead_s" / c.Default(c.Int32sl, 0),
    ),
    RecordKind.CLOCK: c.Struct(
        "old_t2000" / c.Int32ul, "new_t2000" / c.Int32ul, "source" / c.Int8ul
    ),
    RecordKind.ACCOUNT: c.Struct(
        "household" / c.Int8ul,
        "grade" / c.Int8ul,
        "multiplier" / c.Int16ul,
        "guard" / c.Int8ul,
        c.Padding(3),
        "debt_fen" / c.Int32ul,
        "power_limit_w" / c.Default(c.Int32ul, 0),
    ),
    RecordKind.CORRECTION: c.Struct(
        "amount_fen" / c.Int32ul,
        "credit_fen" / c.Int32ul,
        "debit_fen" / c.Int32ul,
        "residue_e7" / c.Int32ul,
        "residue_e11" / c.Int16ul,
        "reason" / c.Int8ul,
        c.Padding(1),
        "used_wh" / c.Int32ul,
        "period" / c.Int32ul,
        "energy_wh" / c.Int32ul,
    ),
    RecordKind.FREEZE: c.Struct(
        "frozen_t2000" / c.Int32ul, "registers_wh" / c.Array(8, c.Int32ul)
    ),
    RecordKind.PLAN: c.Struct("tariff" / c.Int8ul, c.Padding(3), "from_t2000" / c.Int32ul),
    RecordKind.ITEM: c.Struct(
        "identifier" / _IDENTIFIER,
        "count" / c.Int8ul,
        c.Padding(3),
        "values" / c.Array(lambda this: min(this.count, ITEM_VALUES_LIMIT), _VALUE),
    ),
    RecordKind.STANDING: c.Struct(
        "order" / c.Int32ul,
        "header_mac" / _UID,
        "credit_fen" / c.Int32ul,
        "debit_fen" / c.Int32ul,
        "residue_e7" / c.Int32ul,
        "residue_e11" / c.Int16ul,
        "household" / c.Int8ul,
        "grade" / c.Int8ul,
        "multiplier" / c.Int16ul,
        "marks" / c.Int8ul,
        "source" / c.Int8ul,
        "debt_fen" / c.Int32ul,
        "debt_week_fen" / c.Int32ul,
        "since_t2000" / c.Int32ul,
        "state" / c.Int8ul,
        "relay" / c.Int8ul,
        "tariff" / c.Int8ul,
        c.Padding(1),
    ),
    RecordKind.STANDING_REGISTERS: c.Struct(
        "registers_wh" / c.Array(8, c.Int32ul),
        "read_t2000" / c.Int32ul,
        "power_limit_w" / c.Default(c.Int32ul, 0),
        "debt_week" / c.Default(c.Int16ul, 0),
    ),
    RecordKind.LOGIN: c.Struct(
        "result" / c.Int8ul,
        "key" / c.Int8ul,
        "key_version" / c.Int8ul,
        "channel" / c.Int8ul,
        "failures" / c.Int32ul,
        "session" / c.Int32ul,
    ),
    RecordKind.SETTING: c.Struct(
        "source" / c.Int8ul,
        "number" / c.Int8ul,
        "form" / c.Int8ul,
        c.Padding(1),
        "old" / _UID,
        "new" / _UID,
        "uid" / _UID,
    ),
    RecordKind.OPERATOR_CARD: c.Struct(
        "kind" / c.Int8ul,
        "key_version" / c.Int8ul,
        "code" / c.Int8ul,
        c.Padding(1),
        "number" / c.Int32ul,
        "uid" / _UID,
    ),
    RecordKind.FIRMWARE: c.Struct(
        "stage" / c.Int8ul,
        "slot" / c.Int8ul,
        c.Padding(2),
        "counter" / c.Int32ul,
        "sha256" / _UID,
        "version" / _VERSION,
    ),
    RecordKind.COMMAND: c.Struct(
        "number" / c.Int32ul,
        "stage" / c.Int8ul,
        "outcome" / c.Int8ul,
        c.Padding(2),
        "expires_t2000" / c.Int32ul,
        "name" / _UID,
        "text" / _START_OF_TEXT,
    ),
    RecordKind.EVENT: c.Struct(
        "what" / c.Int8ul, "state" / c.Int8ul, c.Padding(2), "value" / c.Int32sl
    ),
}

_PAYLOADS[RecordKind.REFUND] = _PAYLOADS[RecordKind.TOP_UP]

_HEADER = c.Struct(
    "seq" / c.Int32ul,
    "t2000" / c.Int32ul,
    "kind" / c.Int8ul,
    "flags" / c.Int8ul,
    "index" / c.Int16ul,
)
_QUICK = {kind: quick(layout) for kind, layout in _PAYLOADS.items()}
_QUICK_HEADER = quick(_HEADER)
_HEADER_BYTES = struct.Struct("<IIBBH")


class RecordError(ValueError):
    """The bytes are not a record."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record. `fields` are the payload's by name, empty for a kind not known here."""

    seq: int
    t2000: int
    kind: int
    flags: int
    index: int
    payload: bytes
    fields: dict[str, Any]

    @property
    def kind_name(self) -> str:
        """Return the kind's name, or its number where this version does not know it."""
        return RecordKind(self.kind).name if self.kind in _PAYLOADS else f"KIND_{self.kind}"


def build_payload(kind: int, fields: Mapping[str, Any]) -> bytes:
    """Return the 48 payload bytes of `kind`."""
    return bytes(_PAYLOADS[kind].build(fields)).ljust(PAYLOAD_SIZE, b"\0")


def parse_payload(kind: int, payload: bytes) -> dict[str, Any]:
    """Return the payload's fields by name; a kind not known here has none."""
    return _QUICK[kind](payload) if kind in _QUICK else {}


def make(
    seq: int, t2000: int, kind: int, fields: Mapping[str, Any], *, flags: int = 0, index: int = 0
) -> Record:
    """Return a record of `fields`, as if parsed."""
    payload = build_payload(kind, fields)
    return Record(seq, t2000, kind, flags, index, payload, parse_payload(kind, payload))


def build(record: Record) -> bytes:
    """Return the 64 bytes of `record`, from its header fields and its payload."""
    covered = (
        _HEADER_BYTES.pack(record.seq, record.t2000, record.kind, record.flags, record.index)
        + record.payload
    )
    return covered + zlib.crc32(covered).to_bytes(4, "little")


def parse(data: bytes) -> Record:
    """Parse exactly one record; RecordError says what is wrong with it."""
    if len(data) != RECORD_SIZE:
        raise RecordError(f"{len(data)} bytes, a record has {RECORD_SIZE}")
    stored = int.from_bytes(data[_CRC_OFFSET:], "little")
    computed = zlib.crc32(data[:_CRC_OFFSET])
    if stored != computed:
        raise RecordError(f"CRC {stored:08X}, computed {computed:08X}")
    return parse_parts(data[:_RECORD_HEADER_SIZE], data[_RECORD_HEADER_SIZE:_CRC_OFFSET])


def parse_parts(header: bytes, payload: bytes) -> Record:
    """Parse a header and a whole payload whose CRC was verified elsewhere."""
    head = _QUICK_HEADER(header)
    if head["seq"] == 0:
        raise RecordError("sequence number 0")
    return Record(**head, payload=payload, fields=parse_payload(head["kind"], payload))
