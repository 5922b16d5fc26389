"""Calculate the CMAC with AES or SM4, suites 2 and 3 of cards.

AES comes from `cryptolib` if the port has it, else from crypto/aes.py; SM4 comes from
crypto/sm4.py. An image may omit either file, and then the board lacks that suite.

Spec: NIST SP 800-38B, RFC 4493.
"""

from micropython import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
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
    """AES of the port, which is faster than crypto/aes.py."""

    def __init__(self, key: "bytes | bytearray") -> None:
        from cryptolib import aes

        self._aes = aes(key, _ECB)

    def encrypt_into(self, block: bytearray) -> None:
        self._aes.encrypt(block, block)


def cipher_of(suite: int) -> "Callable[[bytes | bytearray], Cipher] | None":
    """Return what makes a cipher of `suite` of a key of 16 bytes, None if the board lacks it.

    To make one of SM4 takes as long as to encrypt a block.
    """
    try:
        if suite == SUITE_AES_CMAC:
            try:
                _Aes(bytes(_BLOCK))
            except ImportError:
                from crypto.aes import Aes

                return Aes
            return _Aes
        if suite == SUITE_SM4_CMAC:
            from crypto.sm4 import Sm4

            return Sm4
    except ImportError:
        pass
    return None


def cmac_into(
    cipher: "Cipher", message: "bytes | bytearray", out: bytearray
) -> "Generator[None, None, None]":
    """Write the first bytes of the CMAC of `message` into `out`: its size, at most 16.

    It yields after each block, because a block of crypto/aes.py or sm4.py costs 700,000
    instructions.
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
    """Multiply `block` by x in GF(2**128), in place."""
    carry = 0
    for index in range(_BLOCK - 1, -1, -1):
        byte = block[index] << 1 | carry
        block[index] = byte & 0xFF
        carry = byte >> 8
    if carry:
        block[_BLOCK - 1] ^= _POLYNOMIAL
