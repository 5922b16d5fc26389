"""Bodies of the uplink's frames: envelope, greetings, batches and acknowledgements.

    version 1 | concentrator 4 | number 4 | payload | MAC 8

    HELLO    first_seq 4, next_seq 4
    BATCH    first_seq 4, count 1, count times (size 1, record bytes 4 .. 4 + size), CRC-32 4
    WELCOME  acked_seq 4
    ACK      acked_seq 4

MAC = HMAC-SHA256(key, "dianka/uplink/1" 00 kind | everything before the MAC), first 8 bytes.
"""

import hashlib
import hmac
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import construct as c

from host.frames import record
from host.frames.record import Record

VERSION = 1
MAC_SIZE = 8
COUNT_LIMIT = 255
_PREFIX = b"dianka/uplink/1\0"
_CRC_SIZE = 4
_ENVELOPE_SIZE = 9  # version, concentrator and number
_RECORD_HEAD_SIZE = 8  # t2000, kind, flags, index

_ENVELOPE = c.Struct(
    "version" / c.Int8ul,
    "concentrator" / c.Int32ul,
    "number" / c.Int32ul,
    "payload" / c.GreedyBytes,
)
_HELLO = c.Struct("first_seq" / c.Int32ul, "next_seq" / c.Int32ul, c.Terminated)
_ACK = c.Struct("acked_seq" / c.Int32ul, c.Terminated)
_BATCH = c.Struct(
    "first_seq" / c.Int32ul,
    "items" / c.PrefixedArray(c.Int8ul, c.Prefixed(c.Int8ul, c.GreedyBytes)),
    c.Terminated,
)


class UplinkError(ValueError):
    """The body is refused; `reason` is a short name for counters."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Envelope:
    """An opened body."""

    concentrator: int
    number: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Hello:
    """What the device keeps: records `first_seq` to `next_seq` - 1."""

    first_seq: int
    next_seq: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive records beginning at `first_seq`."""

    first_seq: int
    records: list[Record]


def peek_concentrator(body: bytes) -> int:
    """Who claims to have sent `body`, to find the key for `open_body`; not yet authenticated."""
    return _open_unchecked(body).concentrator


def open_body(kind: int, body: bytes, key: bytes) -> Envelope:
    """Verify the MAC and take the envelope off; UplinkError names what is wrong."""
    envelope = _open_unchecked(body)
    if not hmac.compare_digest(_mac(kind, body[:-MAC_SIZE], key), body[-MAC_SIZE:]):
        raise UplinkError("bad_mac", f"wrong MAC from concentrator {envelope.concentrator}")
    return envelope


def seal_body(kind: int, concentrator: int, number: int, payload: bytes, key: bytes) -> bytes:
    """Put `payload` into an authenticated envelope."""
    fields = {
        "version": VERSION,
        "concentrator": concentrator,
        "number": number,
        "payload": payload,
    }
    covered = bytes(_ENVELOPE.build(fields))
    return covered + _mac(kind, covered, key)


def parse_hello(payload: bytes) -> Hello:
    """Parse HELLO's payload."""
    parsed = _parse(_HELLO, payload, "HELLO")
    if parsed.first_seq == 0 or parsed.next_seq < parsed.first_seq:
        detail = f"HELLO of records {parsed.first_seq} to {parsed.next_seq - 1}"
        raise UplinkError("malformed", detail)
    return Hello(parsed.first_seq, parsed.next_seq)


def build_hello(first_seq: int, next_seq: int) -> bytes:
    """Build HELLO's payload."""
    return bytes(_HELLO.build({"first_seq": first_seq, "next_seq": next_seq}))


def parse_ack(payload: bytes) -> int:
    """Parse the payload of WELCOME or ACK: the newest sequence number committed."""
    return int(_parse(_ACK, payload, "ACK").acked_seq)


def build_ack(acked_seq: int) -> bytes:
    """Build the payload of WELCOME or ACK."""
    return bytes(_ACK.build({"acked_seq": acked_seq}))


def parse_batch(payload: bytes) -> Batch:
    """Parse BATCH's payload into whole records; UplinkError names what is wrong."""
    covered, stored = payload[:-_CRC_SIZE], int.from_bytes(payload[-_CRC_SIZE:], "little")
    if zlib.crc32(covered) != stored:
        raise UplinkError("bad_crc", f"batch CRC {stored:08X}, computed {zlib.crc32(covered):08X}")
    parsed = _parse(_BATCH, covered, "BATCH")
    if not parsed["items"]:
        raise UplinkError("malformed", "batch of no records")
    records = []
    for seq, item in enumerate(parsed["items"], parsed.first_seq):
        size = len(item) - _RECORD_HEAD_SIZE
        if not 0 <= size <= record.PAYLOAD_SIZE or not 0 < seq < 1 << 32:
            raise UplinkError("malformed", f"record {seq} of {len(item)} bytes")
        head = seq.to_bytes(4, "little") + item[:_RECORD_HEAD_SIZE]
        body = item[_RECORD_HEAD_SIZE:].ljust(record.PAYLOAD_SIZE, b"\0")
        records.append(record.parse_parts(head, body))
    return Batch(parsed.first_seq, records)


def build_batch(records: Sequence[Record]) -> bytes:
    """Build BATCH's payload of consecutive records, at least one and at most 255."""
    items = []
    for one in records:
        head = record.build(one)[4 : 4 + _RECORD_HEAD_SIZE]
        items.append(head + one.payload.rstrip(b"\0"))
    covered = bytes(_BATCH.build({"first_seq": records[0].seq, "items": items}))
    return covered + zlib.crc32(covered).to_bytes(_CRC_SIZE, "little")


def _open_unchecked(body: bytes) -> Envelope:
    if len(body) < _ENVELOPE_SIZE + MAC_SIZE:
        raise UplinkError("malformed", f"body of {len(body)} bytes")
    parsed = _ENVELOPE.parse(body[:-MAC_SIZE])
    if parsed.version != VERSION:
        raise UplinkError("bad_version", f"version {parsed.version}, {VERSION} is spoken here")
    return Envelope(parsed.concentrator, parsed.number, parsed.payload)


def _mac(kind: int, covered: bytes, key: bytes) -> bytes:
    message = _PREFIX + bytes((kind,)) + covered
    return hmac.new(key, message, hashlib.sha256).digest()[:MAC_SIZE]


def _parse(structure: Any, data: bytes, name: str) -> Any:
    try:
        return structure.parse(data)
    except c.ConstructError as error:
        raise UplinkError("malformed", f"{name} of {len(data)} bytes does not parse") from error
