"""Turn frames into genuine messages, and answers into frames.

Every message goes through here, so the envelope is read with `struct`, the keys of an epoch are
kept once a message was genuine under them, and a payload is decrypted when it is first asked for.
A test compares the result with that of `host.frames.batch` (tests/host/test_headend_unpack.py).
"""

import hmac
import struct
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from host.frames import batch, link
from host.frames.batch import (
    DOWN_MAC_SIZE,
    UP_MAC_SIZE,
    VERSION,
    Ack,
    Head,
    Order,
    Refusal,
    UplinkError,
)
from host.frames.link import Frame, Kind

_UP = struct.Struct("<BI8sII")
_DOWN = struct.Struct("<BIIQ")
_SHORTEST = _UP.size + UP_MAC_SIZE
_NONCE_AT = 5  # in what stands before a sealed answer
_EPOCHS_LIMIT = 8192  # of which keys are kept
# Microseconds from 1970 to 2000.
_UNIX_2000_US = 946_684_800_000_000


class _Derived(NamedTuple):
    """What follows from a key for one epoch of a journal."""

    up: batch.Keys
    down: batch.Keys
    key_print: str


@dataclass(slots=True)
class Message:
    """A genuine message of a concentrator.

    seq         of its frame; the answer's frame has the same
    mac         no two messages have the same
    refusal     why it is not looked into, None: it is
    """

    kind: int
    seq: int
    head: Head
    peer: str
    mac: bytes
    sealed: bytes
    derived: _Derived
    refusal: Refusal | None = None
    _payload: bytes | None = None

    @property
    def concentrator(self) -> int:
        """Return the number of the sender."""
        return self.head.concentrator

    @property
    def key_print(self) -> str:
        """Return the fingerprint of the key under which it is genuine."""
        return self.derived.key_print

    @property
    def payload(self) -> bytes:
        """Return what it says, decrypted at the first time."""
        if self._payload is None:
            nonce = batch.up_nonce(self.head, self.kind)
            self._payload = batch.xor(self.derived.up, nonce, self.sealed)
        return self._payload


class Gate:
    """The keys of all concentrators; they may be exchanged while the gate is used.

    keys        those in use, by the number of the concentrator
    withdrawn   those that are not any more: who has one is told so
    """

    def __init__(
        self, keys: Mapping[int, bytes], withdrawn: Mapping[int, bytes] | None = None
    ) -> None:
        self.keys = keys
        self.withdrawn = withdrawn or {}
        self._stamp = 0
        self._lock = threading.Lock()
        self._epochs: dict[tuple[bytes, bytes, int], _Derived] = {}

    def open(self, frame: Frame, peer: str) -> Message:
        """Return the message in a frame; UplinkError names what is wrong with it."""
        body = frame.body
        if len(body) < _SHORTEST:
            raise UplinkError("malformed", f"body of {len(body)} bytes")
        version, concentrator, journal, epoch, number = _UP.unpack_from(body)
        head = Head(concentrator, journal, epoch, number)
        key, old = self.keys.get(concentrator), self.withdrawn.get(concentrator)
        refusal = None
        derived = None if key is None else self._genuine(key, head, frame)
        if derived is None and old is not None:
            derived = self._genuine(old, head, frame)
            refusal = Refusal.WITHDRAWN
        if version != VERSION:
            if derived is None:
                text = f"version {version}, {VERSION} is spoken here"
                raise UplinkError("bad_version", text)
            refusal = Refusal.VERSION
        if derived is None:
            if key is None and old is None:
                text = f"no key for concentrator {concentrator}"
                raise UplinkError("unknown_concentrator", text)
            raise UplinkError("bad_mac", f"wrong MAC from concentrator {concentrator}")
        mac, sealed = body[-UP_MAC_SIZE:], body[_UP.size : -UP_MAC_SIZE]
        return Message(frame.kind, frame.seq, head, peer, mac, sealed, derived, refusal)

    def claimed(self, frame: Frame) -> int | None:
        """Return the number of the concentrator in a frame, which anyone can write into one."""
        if len(frame.body) < _SHORTEST:
            return None
        return int(_UP.unpack_from(frame.body)[1])

    def knows(self, concentrator: int) -> bool:
        """Return whether a concentrator has or had a key."""
        return concentrator in self.keys or concentrator in self.withdrawn

    def _genuine(self, key: bytes, head: Head, frame: Frame) -> _Derived | None:
        """Return the keys under which a frame is genuine, None: it is not under this key."""
        which = (key, head.journal, head.epoch)
        known = self._epochs.get(which)
        derived = known or _Derived(*batch.keys_of(*which), key_print(key))
        body = frame.body
        mac = batch.mac(derived.up, frame.kind, body[:-UP_MAC_SIZE])[:UP_MAC_SIZE]
        if not hmac.compare_digest(mac, body[-UP_MAC_SIZE:]):
            return None
        if known is None:
            if len(self._epochs) >= _EPOCHS_LIMIT:
                self._epochs.pop(next(iter(self._epochs)))
            self._epochs[which] = derived
        return derived

    def acknowledge(self, message: Message, ack: Ack) -> bytes:
        """Return the frame of WELCOME or ACK for a message."""
        if message.kind == Kind.HELLO:
            return self._answer(message, Kind.WELCOME, batch.build_welcome(ack))
        return self._answer(message, Kind.ACK, batch.build_ack(ack))

    def refuse(self, message: Message, refusal: Refusal, known: bytes) -> bytes:
        """Return the frame of REFUSED for a message."""
        return self._answer(message, Kind.REFUSED, batch.build_refused(refusal, known))

    def put_off(self, message: Message, after_s: int) -> bytes:
        """Return the frame of BUSY for a message."""
        return self._answer(message, Kind.BUSY_LATER, batch.build_busy(after_s))

    def give(self, message: Message, order: Order) -> bytes:
        """Return the frame of COMMAND for the sender of a message; it answers none."""
        return self._answer(message, Kind.ORDER, batch.build_order(order), 0)

    def _answer(
        self, message: Message, kind: Kind, payload: bytes, answers: int | None = None
    ) -> bytes:
        head, down = message.head, message.derived.down
        # Stamps grow from start to start, and none is used twice, in whichever thread.
        with self._lock:
            self._stamp = max(self._stamp + 1, time.time_ns() // 1000 - _UNIX_2000_US)
            stamp = self._stamp
        answered = head.number if answers is None else answers
        place = _DOWN.pack(VERSION, head.concentrator, answered, stamp)
        covered = place + batch.xor(down, place[_NONCE_AT:], payload)
        return link.build(
            kind, message.seq, covered + batch.mac(down, kind, covered)[:DOWN_MAC_SIZE]
        )


def key_print(key: bytes) -> str:
    """Return the fingerprint by which a key is known again; nothing of the key follows from it."""
    return hmac.digest(key, b"dianka/uplink/fingerprint", "sha256")[:8].hex()
