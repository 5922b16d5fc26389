"""The keys of cards, each made from the one above it.

An issuer's key makes a district's key and the console key of each concentrator; a district's key
makes the key of each account, which signs the parts of its cards.
"""

import hashlib
import hmac

KEY_SIZE = 16


def district_key(issuer_key: bytes, district: int, key_version: int) -> bytes:
    """Return the key a district's concentrator holds."""
    label = b"dianka/key/district/1\0"
    return hmac_sha256(issuer_key, label + district.to_bytes(4, "little") + bytes((key_version,)))[
        :KEY_SIZE
    ]


def console_key(issuer_key: bytes, district: int, concentrator: int, version: int) -> bytes:
    """Return the key that opens the console of one concentrator."""
    numbers = district.to_bytes(4, "little") + concentrator.to_bytes(4, "little")
    label = b"dianka/key/console/2\0" + numbers + bytes((version,))
    return hmac_sha256(issuer_key, label)[:KEY_SIZE]


def account_key(key: bytes, account: str) -> bytes:
    """Return the key of one account's cards, from its district's."""
    return hmac_sha256(key, b"dianka/key/account/1\0" + bytes.fromhex(account))[:KEY_SIZE]


def wrap_key(key: bytes, new_key: bytes, uid: str, order: int, version: int) -> bytes:
    """Return a district's next key, wrapped for one card under its present key, or unwrapped."""
    label = b"dianka/key/wrap/2\0" + bytes.fromhex(uid) + order.to_bytes(4, "little")
    mask = hmac_sha256(key, label + bytes((version,)))[:KEY_SIZE]
    return bytes(one ^ other for one, other in zip(new_key, mask, strict=True))


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """Return the 32 bytes of HMAC-SHA256."""
    return hmac.new(key, message, hashlib.sha256).digest()
