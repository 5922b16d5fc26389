"""Derive the key of each account's cards from the district's key, and authenticate images.

    K_district = HMAC(K_issuer, "dianka/key/district/1" 00 | district 4 | key version 1), 16 bytes
    K_account  = HMAC(K_district, "dianka/key/account/1" 00 | account 6), 16 bytes
    MAC        = MAC(K_account, "dianka/card/1" 00 | part 1 | uid 8 | bytes), 8 bytes
    wrapped    = new key XOR HMAC(K_district, "dianka/key/wrap/2" 00 | uid 8 | order 4
                 | version 1), 16 bytes

HMAC is HMAC-SHA256, truncated to its first bytes; MAC is that of the suite. The part is "I" for
the header and "W" for the write-back. K_issuer never leaves the issuer, so a stolen concentrator
reveals the key of one district only.

Spec: docs/SPEC.md, "Card".
"""

from crypto.cmac import cipher_of, cmac_into
from crypto.hmac import Hmac, same
from micropython import const

_KEY_SIZE = const(16)
_MAC_SIZE = const(8)
_SUITE_HMAC_SHA256 = const(1)

_WRAP = b"dianka/key/wrap/2\0"
_DERIVE = b"dianka/key/account/1\0"
_ACCOUNT_SIZE = const(6)
_UID_SIZE = const(8)
_PREFIX = b"dianka/card/1\0?" + bytes(8)
_PART = const(14)

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Generator

    Bytes = bytes | bytearray | memoryview


class Keys:
    """The key of one district's cards in one version. Version 0: there is no key.

    Each MAC allocates a few objects, and a card has two MACs. `is_genuine` and `seal` yield after
    each block that a cipher has encrypted, and around the making of the cipher.
    """

    def __init__(self, district: int, version: int, key: "bytes | bytearray") -> None:
        self.district = district
        self.version = version if key else 0
        self._district = Hmac(key)
        self._account_key = bytearray(_KEY_SIZE)
        self._suite = _SUITE_HMAC_SHA256
        self._prefix = bytearray(_PREFIX)
        self._mac = bytearray(_MAC_SIZE)

    def has_suite(self, suite: int) -> bool:
        """Return whether this board can calculate MACs of `suite`."""
        return suite == _SUITE_HMAC_SHA256 or cipher_of(suite) is not None

    def unwrap(self, order: "Bytes", buf: bytearray, start: int) -> bytearray:
        """Return the key wrapped at `buf[start:]` for `order`: uid 8, order 4 and its version."""
        key = bytearray(_KEY_SIZE)
        self._district.digest_into(_WRAP, order, _UID_SIZE + 5, key)
        for position in range(_KEY_SIZE):
            key[position] ^= buf[start + position]
        return key

    def select(self, suite: int, account: "Bytes", uid: "Bytes") -> None:
        """Use the account's key and a suite for which `has_suite` is true from now on."""
        self._suite = suite
        self._district.digest_into(_DERIVE, account, _ACCOUNT_SIZE, self._account_key)
        for position in range(_UID_SIZE):
            self._prefix[_PART + 1 + position] = uid[position]

    def is_genuine(
        self, part: int, buf: bytearray, start: int, size: int
    ) -> "Generator[None, None, bool]":
        """Return whether `buf[start : start + size]` is followed by its MAC as `part`."""
        yield from self._authenticate(part, buf, start, size)
        return same(buf, start + size, self._mac, 0, _MAC_SIZE)

    def seal(
        self, part: int, buf: bytearray, start: int, size: int
    ) -> "Generator[None, None, None]":
        """Write the MAC as `part` behind `buf[start : start + size]`."""
        yield from self._authenticate(part, buf, start, size)
        for position in range(_MAC_SIZE):
            buf[start + size + position] = self._mac[position]

    def _authenticate(
        self, part: int, buf: bytearray, start: int, size: int
    ) -> "Generator[None, None, None]":
        image = memoryview(buf)
        prefix = self._prefix
        prefix[_PART] = part
        make_cipher = cipher_of(self._suite)
        if make_cipher is None:  # the suite is HMAC-SHA256
            Hmac(self._account_key).digest_into(prefix, image[start:], size, self._mac)
        else:
            # Another card may select its key meanwhile.
            key = bytes(self._account_key)
            message = bytes(prefix) + bytes(image[start : start + size])
            yield
            cipher = make_cipher(key)
            yield
            yield from cmac_into(cipher, message, self._mac)
