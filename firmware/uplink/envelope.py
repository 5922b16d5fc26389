"""Encrypt and authenticate the body of every uplink frame.

    up      version | concentrator 4 | journal 8 | epoch 4 | number 4 | sealed n | MAC 8
    down    version | concentrator 4 | answers 4 | stamp 8 | sealed n | MAC 16

`number` counts the device's messages in an epoch, and `answers` repeats the number of the message
that is answered, so neither side can take an old message for a new one. The head-end never uses a
`stamp` twice. All numbers are little-endian.

    K(side, use) = HMAC-SHA256(key, "dianka/uplink/2/" side "/" use 00 | journal 8 | epoch 4)
    sealed       = payload XOR ChaCha20(K(side, "seal"), nonce), from block 0 on
    nonce        = up: epoch 4 | number 4 | kind 1 | 0 0 0; down: answers 4 | stamp 8
    MAC          = HMAC-SHA256(K(side, "mac"), kind 1 | everything before the MAC), first bytes

Spec: docs/SPEC.md, "Envelope"; RFC 8439.
"""

from struct import pack_into

from crypto.chacha20 import xor_into
from crypto.hmac import Hmac, same
from micropython import const

from uplink.record import u32_at

# Where a payload begins in a body that goes up, and in one that comes down.
PAYLOAD = const(21)
ANSWER = const(17)
_MAC_SIZE = const(8)
_ANSWER_MAC_SIZE = const(16)
OVERHEAD = const(29)

# Refusals of `open`; a result of 0 or more is the size of the payload.
TOO_SHORT = const(-1)
BAD_VERSION = const(-2)
FOREIGN = const(-3)
BAD_MAC = const(-4)

_VERSION = const(2)
_DERIVED_SIZE = const(32)
# Places of the derived keys.
_UP_SEAL = const(0)
_UP_MAC = const(32)
_DOWN_SEAL = const(64)
_DOWN_MAC = const(96)
_DERIVED = ((0, b"up/seal"), (32, b"up/mac"), (64, b"down/seal"), (96, b"down/mac"))
_NONCE_SIZE = const(12)
_IDENTITY = const(5)
_EPOCH = const(13)
_NUMBER = const(17)
_ANSWERS = const(5)


class Envelope:
    """Seals the messages of one journal with one key, and opens the answers. Each one allocates.

    epoch       the epoch of the messages
    number      the number of the last message; no number is used twice in an epoch
    """

    def __init__(
        self,
        key: "bytes | bytearray",
        concentrator: int,
        identity: bytes,
        epoch: int,
        number: int = 0,
    ) -> None:
        """Begin behind `number` of `epoch`; `identity` is the journal's, 8 bytes."""
        self.number = number
        self._concentrator = concentrator
        self._identity = identity
        self._key = key
        self._keys = bytearray(4 * _DERIVED_SIZE)
        self._kind = bytearray(1)
        self._mac = bytearray(_ANSWER_MAC_SIZE)
        self._nonce = bytearray(_NONCE_SIZE)
        self.begin(epoch)

    def begin(self, epoch: int) -> None:
        """Derive the keys of an epoch in which no message was sealed yet."""
        self.epoch = epoch
        main = Hmac(self._key)
        context = b"\0" + self._identity + epoch.to_bytes(4, "little")
        for at, use in _DERIVED:
            message = b"dianka/uplink/2/" + use + context
            main.digest_into(b"", message, len(message), self._derived(at))

    def _derived(self, at: int) -> memoryview:
        return memoryview(self._keys)[at : at + _DERIVED_SIZE]

    def seal(self, kind: int, body: "bytearray | memoryview", payload_size: int) -> int:
        """Encrypt the payload at PAYLOAD of `body` as the next message; return the body's size."""
        self.number += 1
        end = PAYLOAD + payload_size
        pack_into("<BI", body, 0, _VERSION, self._concentrator)
        body[_IDENTITY:_EPOCH] = self._identity
        pack_into("<II", body, _EPOCH, self.epoch, self.number)
        nonce = self._nonce
        nonce[:8] = body[_EPOCH:PAYLOAD]
        nonce[8] = kind
        xor_into(self._derived(_UP_SEAL), nonce, body, PAYLOAD, end)
        self._authenticate(_UP_MAC, kind, body, end)
        body[end : end + _MAC_SIZE] = self._mac[:_MAC_SIZE]
        return end + _MAC_SIZE

    def open(self, kind: int, body: bytearray, size: int) -> int:
        """Decrypt a genuine body; return the size of its payload, or a refusal below 0."""
        end = size - _ANSWER_MAC_SIZE
        if end < ANSWER:
            return TOO_SHORT
        if body[0] != _VERSION:
            return BAD_VERSION
        if u32_at(body, 1) != self._concentrator:
            return FOREIGN
        self._authenticate(_DOWN_MAC, kind, body, end)
        if not same(body, end, self._mac, 0, _ANSWER_MAC_SIZE):
            return BAD_MAC
        xor_into(self._derived(_DOWN_SEAL), body[_ANSWERS:ANSWER], body, ANSWER, end)
        return end - ANSWER

    def _authenticate(self, at: int, kind: int, body: "bytearray | memoryview", end: int) -> None:
        """Calculate the MAC with the key at `at`; kept keys would take a kilobyte of heap."""
        self._kind[0] = kind
        Hmac(self._derived(at)).digest_into(self._kind, body, end, self._mac)


def answered_at(body: bytearray) -> int:
    """Return the number of the message that the opened `body` answers."""
    return u32_at(body, _ANSWERS)
