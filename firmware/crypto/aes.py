"""Encrypt blocks with AES-128, for boards whose MicroPython has no `cryptolib`.

A block is a table of four columns of four bytes, column after column.

Spec: FIPS 197.
"""

from micropython import const

_BLOCK = const(16)
_KEYS_SIZE = const(176)
_POLYNOMIAL = const(0x11B)
_TOP = const(0x80)
# A bytes object stays in flash.
_SBOX = (
    b"\x63\x7c\x77\x7b\xf2\x6b\x6f\xc5\x30\x01\x67\x2b\xfe\xd7\xab\x76"
    b"\xca\x82\xc9\x7d\xfa\x59\x47\xf0\xad\xd4\xa2\xaf\x9c\xa4\x72\xc0"
    b"\xb7\xfd\x93\x26\x36\x3f\xf7\xcc\x34\xa5\xe5\xf1\x71\xd8\x31\x15"
    b"\x04\xc7\x23\xc3\x18\x96\x05\x9a\x07\x12\x80\xe2\xeb\x27\xb2\x75"
    b"\x09\x83\x2c\x1a\x1b\x6e\x5a\xa0\x52\x3b\xd6\xb3\x29\xe3\x2f\x84"
    b"\x53\xd1\x00\xed\x20\xfc\xb1\x5b\x6a\xcb\xbe\x39\x4a\x4c\x58\xcf"
    b"\xd0\xef\xaa\xfb\x43\x4d\x33\x85\x45\xf9\x02\x7f\x50\x3c\x9f\xa8"
    b"\x51\xa3\x40\x8f\x92\x9d\x38\xf5\xbc\xb6\xda\x21\x10\xff\xf3\xd2"
    b"\xcd\x0c\x13\xec\x5f\x97\x44\x17\xc4\xa7\x7e\x3d\x64\x5d\x19\x73"
    b"\x60\x81\x4f\xdc\x22\x2a\x90\x88\x46\xee\xb8\x14\xde\x5e\x0b\xdb"
    b"\xe0\x32\x3a\x0a\x49\x06\x24\x5c\xc2\xd3\xac\x62\x91\x95\xe4\x79"
    b"\xe7\xc8\x37\x6d\x8d\xd5\x4e\xa9\x6c\x56\xf4\xea\x65\x7a\xae\x08"
    b"\xba\x78\x25\x2e\x1c\xa6\xb4\xc6\xe8\xdd\x74\x1f\x4b\xbd\x8b\x8a"
    b"\x70\x3e\xb5\x66\x48\x03\xf6\x0e\x61\x35\x57\xb9\x86\xc1\x1d\x9e"
    b"\xe1\xf8\x98\x11\x69\xd9\x8e\x94\x9b\x1e\x87\xe9\xce\x55\x28\xdf"
    b"\x8c\xa1\x89\x0d\xbf\xe6\x42\x68\x41\x99\x2d\x0f\xb0\x54\xbb\x16"
)


class Aes:
    """AES-128 with one key of 16 bytes, which is expanded once."""

    def __init__(self, key: "bytes | bytearray") -> None:
        keys = self._round_keys = bytearray(_KEYS_SIZE)
        self._state = bytearray(_BLOCK)
        keys[:_BLOCK] = key
        constant = 1
        for at in range(_BLOCK, _KEYS_SIZE, 4):
            for row in range(4):
                keys[at + row] = keys[at - _BLOCK + row] ^ keys[at - 4 + row]
            if at % _BLOCK == 0:
                # The first word of each round's key comes from the last word of the round before,
                # rotated and substituted.
                for row in range(4):
                    byte = _SBOX[keys[at - 4 + (row + 1) % 4]]
                    keys[at + row] = keys[at - _BLOCK + row] ^ byte
                keys[at] ^= constant
                constant = _double(constant)

    def encrypt_into(self, block: bytearray) -> None:
        """Encrypt 16 bytes in place."""
        keys = self._round_keys
        state = self._state
        for place in range(_BLOCK):
            block[place] ^= keys[place]
        for start in range(_BLOCK, _KEYS_SIZE, _BLOCK):
            # Each row is rotated left by its number, so the next byte is five places on.
            for place in range(_BLOCK):
                state[place] = _SBOX[block[5 * place % _BLOCK]]
            if start < _KEYS_SIZE - _BLOCK:
                _mix(state)
            for place in range(_BLOCK):
                block[place] = state[place] ^ keys[start + place]


def _mix(state: bytearray) -> None:
    """Multiply each column by the cipher's matrix. Spec: FIPS 197, MixColumns."""
    for column in range(0, _BLOCK, 4):
        first = state[column]
        whole = first ^ state[column + 1] ^ state[column + 2] ^ state[column + 3]
        for place in range(column, column + 4):
            below = state[place + 1] if place < column + 3 else first
            state[place] ^= whole ^ _double(state[place] ^ below)


def _double(byte: int) -> int:
    """Return `byte` multiplied by x in GF(2**8)."""
    return byte << 1 if byte < _TOP else byte << 1 ^ _POLYNOMIAL
