"""Bodies of the uplink's frames: envelope, greetings, batches, answers and refusals.

    up      version 2 | concentrator 4 | journal 8 | epoch 4 | number 4 | sealed | MAC 8
    down    version 2 | concentrator 4 | answers 4 | stamp 8 | sealed | MAC 16

    K(side, use) = HMAC-SHA256(key, "dianka/uplink/2/" side "/" use 00 | journal 8 | epoch 4)
    sealed       = payload XOR ChaCha20(K(side, "seal"), counter 0, nonce)
    nonce        = up: epoch 4 | number 4 | kind 1 | 0 0 0; down: answers 4 | stamp 8
    MAC          = HMAC-SHA256(K(side, "mac"), kind 1 | everything before the MAC), first bytes

docs/SPEC.md has the payloads; those of BATCH are groups of packed records, see packing.py.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, NamedTuple

import construct as c
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from host.frames import packing
from host.frames.packing import Gap, PackingError
from host.frames.record import Record

VERSION = 2
UP_MAC_SIZE = 8
DOWN_MAC_SIZE = 16
JOURNAL_SIZE = 8
NOTHING_KNOWN = bytes(JOURNAL_SIZE)
_UNKNOWN_T2000 = 0xFFFFFFFF
_UP_SIZE = 21  # everything before the sealed payload
_DOWN_SIZE = 17
_FIRST_BLOCK = bytes(4)
# The longest text of a command, so that its frame fits a device's receiver.
ORDER_TEXT_LIMIT = 128

_UP = c.Struct(
    "version" / c.Int8ul,
    "concentrator" / c.Int32ul,
    "journal" / c.Bytes(JOURNAL_SIZE),
    "epoch" / c.Int32ul,
    "number" / c.Int32ul,
)
_DOWN = c.Struct(
    "version" / c.Int8ul,
    "concentrator" / c.Int32ul,
    "answers" / c.Int32ul,
    "stamp" / c.Int64ul,
)
_HELLO = c.Struct(
    "first_seq" / c.Int32ul,
    "next_seq" / c.Int32ul,
    "capacity" / c.Int16ul,
    "protocol" / c.Int8ul,
    c.Const(0, c.Int8ul),
    "t2000" / c.Int32ul,
    "meters_check" / c.Int32ul,
    "version" / c.PaddedString(16, "ascii"),
    c.Terminated,
)
_WELCOME = c.Struct("acked_seq" / c.Int32ul, "t2000" / c.Int32ul, "wants" / c.Int8ul, c.Terminated)
_ACK = c.Struct("acked_seq" / c.Int32ul, "wants" / c.Int8ul, c.Terminated)
_REFUSED = c.Struct(
    "reason" / c.Int8ul, c.Const(bytes(3)), "known" / c.Bytes(JOURNAL_SIZE), c.Terminated
)
_BUSY = c.Struct("after_s" / c.Int16ul, c.Terminated)
_ORDER = c.Struct("number" / c.Int32ul, "expires_t2000" / c.Int32ul, "text" / c.GreedyBytes)
_RESULT = c.Struct(
    "number" / c.Int32ul, "outcome" / c.Int8ul, "part" / c.Int8ul, "text" / c.GreedyBytes
)


class UplinkError(ValueError):
    """The body is refused; `reason` is a short name for counters."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Refusal(IntEnum):
    """Why a head-end takes nothing, as REFUSED names it."""

    OTHER_JOURNAL = 1  # known: the identity of the one on record
    WITHDRAWN = 2
    VERSION = 3
    STALE = 4  # an epoch or number below one that was seen; known: epoch 4, number 4
    CONFLICT = 5  # known: acked_seq 4, 0 0 0 0
    MALFORMED = 7  # genuine, and not what the formats say
    OTHER_PART = 8  # of the head-end: the port is that of other concentrators


class Keys(NamedTuple):
    """The keys of one direction in one epoch."""

    seal: bytes
    mac: bytes


@dataclass(frozen=True, slots=True)
class Head:
    """The sender and the number of a message: what stands before the sealed payload."""

    concentrator: int
    journal: bytes
    epoch: int
    number: int


@dataclass(frozen=True, slots=True)
class Envelope:
    """An opened message of a device."""

    head: Head
    payload: bytes

    @property
    def concentrator(self) -> int:
        """The sender."""
        return self.head.concentrator

    @property
    def number(self) -> int:
        """Of the message, within its epoch."""
        return self.head.number


@dataclass(frozen=True, slots=True)
class Answer:
    """An opened message of a head-end: what it answers, its stamp in microseconds since 2000."""

    answers: int
    stamp: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Hello:
    """The records that the device keeps, `first_seq` to `next_seq` - 1, and what it is.

    t2000           None: it has no clock
    meters_check    CRC-32 of its meter table
    """

    first_seq: int
    next_seq: int
    capacity: int = 256
    protocol: int = VERSION
    t2000: int | None = None
    meters_check: int = 0
    version: str = ""


@dataclass(frozen=True, slots=True)
class Ack:
    """What WELCOME and ACK say: all records up to `acked_seq` are committed.

    wants       the standing of every account is wanted
    t2000       the head-end's time, 0: it does not say, as in ACK
    """

    acked_seq: int
    wants: bool = False
    t2000: int = 0


class Outcome(IntEnum):
    """What became of a command, as RESULT and COMMAND records say."""

    DONE = 0
    REFUSED = 1
    NOT_DONE = 2
    NOT_KNOWN = 3


@dataclass(frozen=True, slots=True)
class Order:
    """A command of the head-end, a line of the console's language."""

    number: int
    expires_t2000: int
    text: str


@dataclass(frozen=True, slots=True)
class Result:
    """A part of a command's answer: parts are numbered 1, 2, .. and the last one is 0."""

    number: int
    outcome: int
    part: int
    text: bytes


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


def peek(body: bytes) -> Head:
    """Return the sender that `body` names; it is not authenticated yet.

    `open_up` needs the key of this concentrator. UplinkError: too short, or of another version.
    """
    if len(body) < _UP_SIZE + UP_MAC_SIZE:
        raise UplinkError("malformed", f"body of {len(body)} bytes")
    parsed = _UP.parse(body)
    _check_version(parsed.version)
    return Head(parsed.concentrator, parsed.journal, parsed.epoch, parsed.number)


def open_up(kind: int, body: bytes, key: bytes) -> Envelope:
    """Verify and decrypt a device's message; UplinkError names what is wrong."""
    head = peek(body)
    covered, told = body[:-UP_MAC_SIZE], body[-UP_MAC_SIZE:]
    up, _ = keys_of(key, head.journal, head.epoch)
    if not hmac.compare_digest(mac(up, kind, covered)[:UP_MAC_SIZE], told):
        raise UplinkError("bad_mac", f"wrong MAC from concentrator {head.concentrator}")
    return Envelope(head, xor(up, up_nonce(head, kind), covered[_UP_SIZE:]))


def seal_up(kind: int, head: Head, payload: bytes, key: bytes) -> bytes:
    """Make the body of a device's message."""
    up, _ = keys_of(key, head.journal, head.epoch)
    fields = {
        "version": VERSION,
        "concentrator": head.concentrator,
        "journal": head.journal,
        "epoch": head.epoch,
        "number": head.number,
    }
    covered = bytes(_UP.build(fields)) + xor(up, up_nonce(head, kind), payload)
    return covered + mac(up, kind, covered)[:UP_MAC_SIZE]


def seal_down(kind: int, head: Head, stamp: int, payload: bytes, key: bytes) -> bytes:
    """Make the body that answers the message with `head`; `stamp` was never used before."""
    _, down = keys_of(key, head.journal, head.epoch)
    fields = {
        "version": VERSION,
        "concentrator": head.concentrator,
        "answers": head.number,
        "stamp": stamp,
    }
    place = bytes(_DOWN.build(fields))
    covered = place + xor(down, place[5:], payload)
    return covered + mac(down, kind, covered)[:DOWN_MAC_SIZE]


def open_down(kind: int, body: bytes, journal: bytes, epoch: int, key: bytes) -> Answer:
    """Verify and decrypt what answers a message of this journal and epoch, or UplinkError."""
    if len(body) < _DOWN_SIZE + DOWN_MAC_SIZE:
        raise UplinkError("malformed", f"body of {len(body)} bytes")
    parsed = _DOWN.parse(body)
    _check_version(parsed.version)
    covered, told = body[:-DOWN_MAC_SIZE], body[-DOWN_MAC_SIZE:]
    _, down = keys_of(key, journal, epoch)
    if not hmac.compare_digest(mac(down, kind, covered)[:DOWN_MAC_SIZE], told):
        raise UplinkError("bad_mac", f"wrong MAC for concentrator {parsed.concentrator}")
    payload = xor(down, covered[5:_DOWN_SIZE], covered[_DOWN_SIZE:])
    return Answer(parsed.answers, parsed.stamp, payload)


def parse_hello(payload: bytes) -> Hello:
    """Parse HELLO's payload."""
    parsed = _parse(_HELLO, payload, "HELLO")
    if parsed.first_seq == 0 or parsed.next_seq < parsed.first_seq:
        detail = f"HELLO of records {parsed.first_seq} to {parsed.next_seq - 1}"
        raise UplinkError("malformed", detail)
    return Hello(
        parsed.first_seq,
        parsed.next_seq,
        parsed.capacity,
        parsed.protocol,
        None if parsed.t2000 == _UNKNOWN_T2000 else parsed.t2000,
        parsed.meters_check,
        parsed.version,
    )


def build_hello(hello: Hello) -> bytes:
    """Build HELLO's payload."""
    fields = {
        "first_seq": hello.first_seq,
        "next_seq": hello.next_seq,
        "capacity": hello.capacity,
        "protocol": hello.protocol,
        "t2000": _UNKNOWN_T2000 if hello.t2000 is None else hello.t2000,
        "meters_check": hello.meters_check,
        "version": hello.version,
    }
    return bytes(_HELLO.build(fields))


def parse_welcome(payload: bytes) -> Ack:
    """Parse WELCOME's payload."""
    parsed = _parse(_WELCOME, payload, "WELCOME")
    return Ack(parsed.acked_seq, bool(parsed.wants), parsed.t2000)


def build_welcome(ack: Ack) -> bytes:
    """Build WELCOME's payload."""
    fields = {"acked_seq": ack.acked_seq, "t2000": ack.t2000, "wants": int(ack.wants)}
    return bytes(_WELCOME.build(fields))


def parse_ack(payload: bytes) -> Ack:
    """Parse ACK's payload."""
    parsed = _parse(_ACK, payload, "ACK")
    return Ack(parsed.acked_seq, bool(parsed.wants))


def build_ack(ack: Ack) -> bytes:
    """Build ACK's payload."""
    return bytes(_ACK.build({"acked_seq": ack.acked_seq, "wants": int(ack.wants)}))


def parse_refused(payload: bytes) -> tuple[int, bytes]:
    """Parse REFUSED's payload: the reason, and what is known, 8 bytes."""
    parsed = _parse(_REFUSED, payload, "REFUSED")
    return parsed.reason, parsed.known


def build_refused(reason: Refusal, known: bytes = NOTHING_KNOWN) -> bytes:
    """Build REFUSED's payload."""
    return bytes(_REFUSED.build({"reason": reason, "known": known}))


def known_numbers(first: int, second: int = 0) -> bytes:
    """What REFUSED knows in two numbers: epoch and number, or `acked_seq`."""
    return first.to_bytes(4, "little") + second.to_bytes(4, "little")


def parse_busy(payload: bytes) -> int:
    """Parse BUSY's payload: seconds until the device should come again."""
    return int(_parse(_BUSY, payload, "BUSY").after_s)


def build_busy(after_s: int) -> bytes:
    """Build BUSY's payload."""
    return bytes(_BUSY.build({"after_s": after_s}))


def parse_order(payload: bytes) -> Order:
    """Parse COMMAND's payload."""
    parsed = _parse(_ORDER, payload, "COMMAND")
    return Order(parsed.number, parsed.expires_t2000, parsed.text.decode(errors="replace"))


def build_order(order: Order) -> bytes:
    """Build COMMAND's payload."""
    fields = {
        "number": order.number,
        "expires_t2000": order.expires_t2000,
        "text": order.text.encode(),
    }
    return bytes(_ORDER.build(fields))


def parse_result(payload: bytes) -> Result:
    """Parse RESULT's payload."""
    parsed = _parse(_RESULT, payload, "RESULT")
    return Result(parsed.number, parsed.outcome, parsed.part, parsed.text)


def build_result(result: Result) -> bytes:
    """Build RESULT's payload."""
    fields = {
        "number": result.number,
        "outcome": result.outcome,
        "part": result.part,
        "text": result.text,
    }
    return bytes(_RESULT.build(fields))


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


def _check_version(version: int) -> None:
    if version != VERSION:
        raise UplinkError("bad_version", f"version {version}, {VERSION} is spoken here")


def up_nonce(head: Head, kind: int) -> bytes:
    """Return the nonce of a device's message."""
    return known_numbers(head.epoch, head.number) + bytes((kind, 0, 0, 0))


def keys_of(key: bytes, journal: bytes, epoch: int) -> tuple[Keys, Keys]:
    """Return the keys of the way up and of the way down, for one epoch of a journal."""
    context = journal + epoch.to_bytes(4, "little")
    up_seal, up_mac, down_seal, down_mac = (
        hmac.digest(key, b"dianka/uplink/2/" + use + b"\0" + context, "sha256")
        for use in (b"up/seal", b"up/mac", b"down/seal", b"down/mac")
    )
    return Keys(up_seal, up_mac), Keys(down_seal, down_mac)


def xor(keys: Keys, nonce: bytes, text: bytes) -> bytes:
    """Encrypt or decrypt `text`."""
    cipher = Cipher(ChaCha20(keys.seal, _FIRST_BLOCK + nonce), mode=None)
    return bytes(cipher.encryptor().update(text))


def mac(keys: Keys, kind: int, covered: bytes) -> bytes:
    """Return the whole MAC of a frame's kind and of what its body has before the MAC."""
    return hmac.digest(keys.mac, bytes((kind,)) + covered, "sha256")


def _parse(structure: Any, data: bytes, name: str) -> Any:
    try:
        return structure.parse(data)
    except c.ConstructError as error:
        raise UplinkError("malformed", f"{name} of {len(data)} bytes does not parse") from error
