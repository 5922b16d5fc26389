"""Authenticate the body of every uplink frame.

    0        1               5         9            9+n
    version  concentrator 4  number 4  payload n    MAC 8

MAC = HMAC-SHA256(key, "dianka/uplink/1" 00 kind | everything before the MAC), its first 8 bytes.
`number` counts the device's messages, and an answer repeats the number of its message, so neither
side can take an old message for a new one. All numbers are little-endian.

Spec: docs/SPEC.md, "Envelope".
"""

from struct import pack_into

from crypto.hmac import Hmac, same
from micropython import const

from uplink.record import u32_at

PAYLOAD = const(9)
_MAC_SIZE = const(8)
OVERHEAD = const(17)

# Refusals of `open`; a result of 0 or more is the size of the payload.
TOO_SHORT = const(-1)
BAD_VERSION = const(-2)
FOREIGN = const(-3)
BAD_MAC = const(-4)

_VERSION = const(1)
_PREFIX = b"dianka/uplink/1\0?"


class Envelope:
    """Seals and opens bodies with one key, for one concentrator. Each MAC allocates."""

    def __init__(self, key: "bytes | bytearray", concentrator: int) -> None:
        self._hmac = Hmac(key)
        self._prefix = bytearray(_PREFIX)
        self._mac = bytearray(_MAC_SIZE)
        self._concentrator = concentrator

    def seal(self, kind: int, number: int, body: bytearray, payload_size: int) -> int:
        """Write head and MAC around the payload in `body`; return the size of the body."""
        pack_into("<BII", body, 0, _VERSION, self._concentrator, number)
        end = PAYLOAD + payload_size
        self._authenticate(kind, body, end)
        for index in range(_MAC_SIZE):
            body[end + index] = self._mac[index]
        return end + _MAC_SIZE

    def open(self, kind: int, body: bytearray, size: int) -> int:
        """Return the size of the payload at PAYLOAD of a genuine body, or a refusal below 0."""
        end = size - _MAC_SIZE
        if end < PAYLOAD:
            return TOO_SHORT
        if body[0] != _VERSION:
            return BAD_VERSION
        if u32_at(body, 1) != self._concentrator:
            return FOREIGN
        self._authenticate(kind, body, end)
        if not same(body, end, self._mac, 0, _MAC_SIZE):
            return BAD_MAC
        return end - PAYLOAD

    def _authenticate(self, kind: int, body: bytearray, end: int) -> None:
        self._prefix[-1] = kind
        self._hmac.digest_into(self._prefix, body, end, self._mac)


def number_at(body: bytearray) -> int:
    """Return the number of the message in `body`."""
    return u32_at(body, 5)
