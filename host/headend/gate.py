"""Turn frames into genuine messages, and answers into frames.

Every message goes through here, so the envelope is read with `struct`; a test compares the result
with that of `host.frames.batch` (tests/host/test_headend_unpack.py).
"""

import hmac
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from host.frames import link
from host.frames.batch import MAC_PREFIX, MAC_SIZE, VERSION, Ack, UplinkError
from host.frames.link import Frame, Kind

_ENVELOPE = struct.Struct("<BII")
_ACK = struct.Struct("<IB")
_SHORTEST = _ENVELOPE.size + MAC_SIZE
_KINDS = frozenset((int(Kind.HELLO), int(Kind.BATCH)))


@dataclass(slots=True)
class Message:
    """A genuine message of a concentrator."""

    kind: int
    seq: int  # of its frame; the answer's frame has the same
    concentrator: int
    number: int
    payload: bytes
    peer: str


class Gate:
    """The keys of all concentrators; they may be exchanged while the gate is used."""

    def __init__(self, keys: Mapping[int, bytes]) -> None:
        self.keys = keys

    def open(self, frame: Frame, peer: str) -> Message:
        """Return the message in a frame; UplinkError names what is wrong with it."""
        if frame.kind not in _KINDS:
            raise UplinkError("unknown_kind", f"frame of kind {frame.kind:02X}")
        body = frame.body
        if len(body) < _SHORTEST:
            raise UplinkError("malformed", f"body of {len(body)} bytes")
        version, concentrator, number = _ENVELOPE.unpack_from(body)
        if version != VERSION:
            raise UplinkError("bad_version", f"version {version}, {VERSION} is spoken here")
        key = self.keys.get(concentrator)
        if key is None:
            raise UplinkError("unknown_concentrator", f"no key for concentrator {concentrator}")
        covered = body[:-MAC_SIZE]
        if not hmac.compare_digest(_mac(frame.kind, covered, key), body[-MAC_SIZE:]):
            raise UplinkError("bad_mac", f"wrong MAC from concentrator {concentrator}")
        payload = covered[_ENVELOPE.size :]
        return Message(frame.kind, frame.seq, concentrator, number, payload, peer)

    def answer(self, message: Message, number: int, ack: Ack) -> bytes:
        """Return the frame of WELCOME or ACK for a message."""
        kind = Kind.WELCOME if message.kind == Kind.HELLO else Kind.ACK
        head = _ENVELOPE.pack(VERSION, message.concentrator, number)
        covered = head + _ACK.pack(ack.acked_seq, ack.wants | ack.differs << 1)
        mac = _mac(kind, covered, self.keys[message.concentrator])
        return link.build(kind, message.seq, covered + mac)


def _mac(kind: int, covered: bytes, key: bytes) -> bytes:
    text = b"".join((MAC_PREFIX, bytes((kind,)), covered))
    return hmac.digest(key, text, "sha256")[:MAC_SIZE]
