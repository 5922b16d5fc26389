"""CMAC under AES or SM4: suites 2 and 3 of cards.

AES is that of `cryptolib` where the port has it, else that of crypto/aes.py; SM4 is crypto/sm4.py.
An image may leave either file out: a board without the cipher has no such suite.
Spec: NIST SP 800-38B, RFC 4493.
"""

from micropython import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Protocol

    class Cipher(Protocol):
        """A block cipher with its key."""

        def encrypt_into(self, block: bytearray) -> None:
            """Encrypt 16 bytes in place."""


SUITE_AES_CMAC = const(2)
SUITE_SM4_CMAC = const(3)

_BLOCK = const(16)
_TOP = const(0x80)
_POLYNOMIAL = const(0x87)
_ECB = const(1)


class _Aes:
    """The port's own: quicker than ours."""

    def __init__(self, key: "bytes | bytearray") -> None:
        from cryptolib import aes

        self._aes = aes(key, _ECB)

    def encrypt_into(self, block: bytearray) -> None:
        self._aes.encrypt(block, block)


def cipher_of(suite: int, key: "bytes | bytearray") -> "Cipher | None":
    """The cipher of `suite` with a key of 16 bytes; None where the board has none."""
    try:
        if suite == SUITE_AES_CMAC:
            try:
                return _Aes(key)
            except ImportError:
                from crypto.aes import Aes

                return Aes(key)
        if suite == SUITE_SM4_CMAC:
            from crypto.sm4 import Sm4

            return Sm4(key)
    except ImportError:
        pass
    return None


def cmac_into(
    cipher: "Cipher", message: "bytes | bytearray", out: bytearray
) -> "Generator[None, None, None]":
    """Put the CMAC of `message` into `out`, as many bytes as `out` has, at most 16.

    Yields after each block: a block of our own ciphers costs 700,000 instructions.
    """
    key = bytearray(_BLOCK)
    cipher.encrypt_into(key)
    yield
    _double(key)
    size = len(message)
    whole = max(0, size - 1) // _BLOCK * _BLOCK  # all but the last block, which may be short
    state = bytearray(_BLOCK)
    for start in range(0, whole, _BLOCK):
        for index in range(_BLOCK):
            state[index] ^= message[start + index]
        cipher.encrypt_into(state)
        yield
    if size - whole < _BLOCK:
        _double(key)
        state[size - whole] ^= _TOP
    for index in range(whole, size):
        state[index - whole] ^= message[index]
    for index in range(_BLOCK):
        state[index] ^= key[index]
    cipher.encrypt_into(state)
    yield
    for index in range(min(len(out), _BLOCK)):
        out[index] = state[index]


def _double(block: bytearray) -> None:
    """Multiply by x in GF(2**128)."""
    carry = 0
    for index in range(_BLOCK - 1, -1, -1):
        byte = block[index] << 1 | carry
        block[index] = byte & 0xFF
        carry = byte >> 8
    if carry:
        block[_BLOCK - 1] ^= _POLYNOMIAL
