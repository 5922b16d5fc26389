"""Bodies of the uplink's frames: envelope, greetings, batches and acknowledgements.

    version 1 | concentrator 4 | number 4 | payload | MAC 8

    HELLO    first_seq 4, next_seq 4
    BATCH    groups of packed records, see host/frames/packing.py
    WELCOME  acked_seq 4, wants 1
    ACK      acked_seq 4, wants 1

MAC = HMAC-SHA256(key, "dianka/uplink/1" 00 kind | everything before the MAC), first 8 bytes.
"""

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import construct as c

from host.frames import packing
from host.frames.packing import Gap, PackingError
from host.frames.record import Record

VERSION = 1
MAC_SIZE = 8
MAC_PREFIX = b"dianka/uplink/1\0"
_ENVELOPE_SIZE = 9  # version, concentrator and number

_ENVELOPE = c.Struct(
    "version" / c.Int8ul,
    "concentrator" / c.Int32ul,
    "number" / c.Int32ul,
    "payload" / c.GreedyBytes,
)
_HELLO = c.Struct("first_seq" / c.Int32ul, "next_seq" / c.Int32ul, c.Terminated)
_ACK = c.Struct("acked_seq" / c.Int32ul, "wants" / c.Int8ul, c.Terminated)


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
    """The records that the device keeps: `first_seq` to `next_seq` - 1."""

    first_seq: int
    next_seq: int


@dataclass(frozen=True, slots=True)
class Ack:
    """All records up to `acked_seq` are committed.

    wants       the standing of every account
    differs     a record that came is not the one stored under its number
    """

    acked_seq: int
    wants: bool = False
    differs: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive numbers from `first_seq` on: records, and gaps where records are lost."""

    first_seq: int
    records: list[Record]
    gaps: list[Gap] = field(default_factory=list)

    @property
    def next_seq(self) -> int:
        """Return the number behind its last."""
        records = (one.seq + 1 for one in self.records[-1:])
        return max(*records, *(gap.seq + gap.count for gap in self.gaps[-1:]), self.first_seq)


def peek_concentrator(body: bytes) -> int:
    """Return the concentrator that `body` names as its sender; it is not authenticated yet.

    `open_body` needs the key of this concentrator.
    """
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


def parse_ack(payload: bytes) -> Ack:
    """Parse the payload of WELCOME or ACK."""
    parsed = _parse(_ACK, payload, "ACK")
    return Ack(parsed.acked_seq, bool(parsed.wants & 1), bool(parsed.wants & 2))


def build_ack(ack: Ack) -> bytes:
    """Build the payload of WELCOME or ACK."""
    return bytes(_ACK.build({"acked_seq": ack.acked_seq, "wants": ack.wants | ack.differs << 1}))


def parse_batch(payload: bytes) -> Batch:
    """Parse BATCH's payload into whole records and gaps; UplinkError names what is wrong."""
    try:
        groups = packing.parse_groups(payload)
    except PackingError as error:
        raise UplinkError("malformed", f"batch: {error}") from error
    records = [one for group in groups for one in group.records]
    return Batch(groups[0].first_seq, records, [one for group in groups for one in group.gaps])


def build_batch(items: Sequence[Record | Gap]) -> bytes:
    """Build BATCH's payload of consecutive records and gaps."""
    return packing.build_groups(items)


def _open_unchecked(body: bytes) -> Envelope:
    if len(body) < _ENVELOPE_SIZE + MAC_SIZE:
        raise UplinkError("malformed", f"body of {len(body)} bytes")
    parsed = _ENVELOPE.parse(body[:-MAC_SIZE])
    if parsed.version != VERSION:
        raise UplinkError("bad_version", f"version {parsed.version}, {VERSION} is spoken here")
    return Envelope(parsed.concentrator, parsed.number, parsed.payload)


def _mac(kind: int, covered: bytes, key: bytes) -> bytes:
    message = MAC_PREFIX + bytes((kind,)) + covered
    return hmac.new(key, message, hashlib.sha256).digest()[:MAC_SIZE]


def _parse(structure: Any, data: bytes, name: str) -> Any:
    try:
        return structure.parse(data)
    except c.ConstructError as error:
        raise UplinkError("malformed", f"{name} of {len(data)} bytes does not parse") from error
