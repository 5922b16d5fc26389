"""Turn frames into genuine messages, and answers into frames.

Every message goes through here, so the envelope is read with `struct`, and the keys of an epoch
are kept once a message was genuine under them. A test compares the result with that of
`host.frames.batch` (tests/host/test_headend_unpack.py).
"""

import hmac
import struct
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from host.frames import batch, link
from host.frames.batch import DOWN_MAC_SIZE, UP_MAC_SIZE, VERSION, Ack, Head, Refusal, UplinkError
from host.frames.link import Frame, Kind

_UP = struct.Struct("<BI8sII")
_DOWN = struct.Struct("<BIIQ")
_SHORTEST = _UP.size + UP_MAC_SIZE
_NONCE_AT = 5  # in what stands before a sealed answer
_EPOCHS_LIMIT = 8192  # of which keys are kept
# Microseconds from 1970 to 2000.
_UNIX_2000_US = 946_684_800_000_000


@dataclass(slots=True)
class Message:
    """A genuine message of a concentrator."""

    kind: int
    seq: int  # of its frame; the answer's frame has the same
    head: Head
    payload: bytes
    peer: str

    @property
    def concentrator(self) -> int:
        """Return the number of the sender."""
        return self.head.concentrator


class Gate:
    """The keys of all concentrators; they may be exchanged while the gate is used."""

    def __init__(self, keys: Mapping[int, bytes]) -> None:
        self.keys = keys
        self._stamp = 0
        self._lock = threading.Lock()
        self._epochs: dict[tuple[bytes, bytes, int], tuple[batch.Keys, batch.Keys]] = {}

    def open(self, frame: Frame, peer: str) -> Message:
        """Return the message in a frame; UplinkError names what is wrong with it."""
        body = frame.body
        if len(body) < _SHORTEST:
            raise UplinkError("malformed", f"body of {len(body)} bytes")
        version, concentrator, journal, epoch, number = _UP.unpack_from(body)
        if version != VERSION:
            raise UplinkError("bad_version", f"version {version}, {VERSION} is spoken here")
        key = self.keys.get(concentrator)
        if key is None:
            raise UplinkError("unknown_concentrator", f"no key for concentrator {concentrator}")
        head = Head(concentrator, journal, epoch, number)
        keys = self._epochs.get((key, journal, epoch)) or batch.keys_of(key, journal, epoch)
        up, _ = keys
        covered = body[:-UP_MAC_SIZE]
        if not hmac.compare_digest(
            batch.mac(up, frame.kind, covered)[:UP_MAC_SIZE], body[-UP_MAC_SIZE:]
        ):
            raise UplinkError("bad_mac", f"wrong MAC from concentrator {concentrator}")
        self._keep((key, journal, epoch), keys)
        payload = batch.xor(up, batch.up_nonce(head, frame.kind), covered[_UP.size :])
        return Message(frame.kind, frame.seq, head, payload, peer)

    def _keep(self, which: tuple[bytes, bytes, int], keys: tuple[batch.Keys, batch.Keys]) -> None:
        """Keep the keys of an epoch whose message was genuine."""
        if which not in self._epochs:
            if len(self._epochs) >= _EPOCHS_LIMIT:
                self._epochs.pop(next(iter(self._epochs)))
            self._epochs[which] = keys

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

    def _answer(self, message: Message, kind: Kind, payload: bytes) -> bytes:
        head = message.head
        key = self.keys.get(head.concentrator)
        if key is None:  # withdrawn meanwhile
            return b""
        found = self._epochs.get((key, head.journal, head.epoch))
        _, down = found or batch.keys_of(key, head.journal, head.epoch)
        # Stamps grow from start to start, and none is used twice, in whichever thread.
        with self._lock:
            self._stamp = max(self._stamp + 1, time.time_ns() // 1000 - _UNIX_2000_US)
            stamp = self._stamp
        place = _DOWN.pack(VERSION, head.concentrator, head.number, stamp)
        covered = place + batch.xor(down, place[_NONCE_AT:], payload)
        return link.build(
            kind, message.seq, covered + batch.mac(down, kind, covered)[:DOWN_MAC_SIZE]
        )
