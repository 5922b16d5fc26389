"""ChaCha20 for firmware that runs on CPython: the `cryptography` package's."""

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

_COUNTER = bytes(4)


def xor_into(
    key: bytes | bytearray | memoryview,
    nonce: bytes | bytearray,
    buf: bytearray | memoryview,
    start: int,
    end: int,
) -> None:
    """Encrypt or decrypt `buf[start:end]` in place; firmware/crypto/chacha20.py says how."""
    encryptor = Cipher(ChaCha20(bytes(key), _COUNTER + bytes(nonce)), mode=None).encryptor()
    buf[start:end] = encryptor.update(bytes(buf[start:end]))
