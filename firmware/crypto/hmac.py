"""Calculate HMAC-SHA256 for cards and the uplink, with the `hashlib` that every port has.

Each message costs two hash objects and two digests on the heap: once for a card or a batch, never
in a receive path.

Spec: RFC 2104, FIPS 180-4.
"""

from hashlib import sha256

from micropython import const

_DIGEST_SIZE = const(32)
_HASH_BLOCK_SIZE = const(64)
_INNER = b"\x36"
_OUTER = b"\x5c"


class Hmac:
    """HMAC-SHA256 with one key, which is prepared once and not kept itself."""

    def __init__(self, key: "bytes | bytearray | memoryview") -> None:
        short = sha256(key).digest() if len(key) > _HASH_BLOCK_SIZE else key
        self._inner = inner = bytearray(_INNER * _HASH_BLOCK_SIZE)
        self._outer = outer = bytearray(_OUTER * _HASH_BLOCK_SIZE)
        for index in range(len(short)):
            byte = short[index]
            inner[index] ^= byte
            outer[index] ^= byte

    def digest_into(
        self,
        prefix: "bytes | bytearray",
        message: "bytes | bytearray | memoryview",
        size: int,
        out: "bytearray | memoryview",
    ) -> None:
        """Fill `out` with the first bytes, at most 32, of HMAC(prefix + message[:size])."""
        inner = sha256(self._inner)
        inner.update(prefix)
        inner.update(memoryview(message)[:size])
        outer = sha256(self._outer)
        outer.update(inner.digest())
        digest = outer.digest()
        for index in range(min(len(out), _DIGEST_SIZE)):
            out[index] = digest[index]


def same(
    left: "bytes | bytearray | memoryview",
    left_offset: int,
    right: "bytes | bytearray | memoryview",
    right_offset: int,
    size: int,
) -> bool:
    """Return whether `size` bytes are equal, in a time that does not depend on them."""
    difference = 0
    for index in range(size):
        difference |= left[left_offset + index] ^ right[right_offset + index]
    return difference == 0
