"""Encrypt blocks with SM4, for boards whose cards use the suite SM4-CMAC.

Spec: GB/T 32907-2016.
"""

from array import array
from struct import pack_into, unpack_from

from micropython import const

_ROUNDS = const(32)
_MASK = const(0xFFFFFFFF)
_FK = (0xA3B1BAC6, 0x56AA3350, 0x677D9197, 0xB27022DC)
# A bytes object stays in flash.
_SBOX = (
    b"\xd6\x90\xe9\xfe\xcc\xe1\x3d\xb7\x16\xb6\x14\xc2\x28\xfb\x2c\x05"
    b"\x2b\x67\x9a\x76\x2a\xbe\x04\xc3\xaa\x44\x13\x26\x49\x86\x06\x99"
    b"\x9c\x42\x50\xf4\x91\xef\x98\x7a\x33\x54\x0b\x43\xed\xcf\xac\x62"
    b"\xe4\xb3\x1c\xa9\xc9\x08\xe8\x95\x80\xdf\x94\xfa\x75\x8f\x3f\xa6"
    b"\x47\x07\xa7\xfc\xf3\x73\x17\xba\x83\x59\x3c\x19\xe6\x85\x4f\xa8"
    b"\x68\x6b\x81\xb2\x71\x64\xda\x8b\xf8\xeb\x0f\x4b\x70\x56\x9d\x35"
    b"\x1e\x24\x0e\x5e\x63\x58\xd1\xa2\x25\x22\x7c\x3b\x01\x21\x78\x87"
    b"\xd4\x00\x46\x57\x9f\xd3\x27\x52\x4c\x36\x02\xe7\xa0\xc4\xc8\x9e"
    b"\xea\xbf\x8a\xd2\x40\xc7\x38\xb5\xa3\xf7\xf2\xce\xf9\x61\x15\xa1"
    b"\xe0\xae\x5d\xa4\x9b\x34\x1a\x55\xad\x93\x32\x30\xf5\x8c\xb1\xe3"
    b"\x1d\xf6\xe2\x2e\x82\x66\xca\x60\xc0\x29\x23\xab\x0d\x53\x4e\x6f"
    b"\xd5\xdb\x37\x45\xde\xfd\x8e\x2f\x03\xff\x6a\x72\x6d\x6c\x5b\x51"
    b"\x8d\x1b\xaf\x92\xbb\xdd\xbc\x7f\x11\xd9\x5c\x41\x1f\x10\x5a\xd8"
    b"\x0a\xc1\x31\x88\xa5\xcd\x7b\xbd\x2d\x74\xd0\x12\xb8\xe5\xb4\xb0"
    b"\x89\x69\x97\x4a\x0c\x96\x77\x7e\x65\xb9\xf1\x09\xc5\x6e\xc6\x84"
    b"\x18\xf0\x7d\xec\x3a\xdc\x4d\x20\x79\xee\x5f\x3e\xd7\xcb\x39\x48"
)


class Sm4:
    """SM4 with one key of 16 bytes, which is expanded once."""

    def __init__(self, key: "bytes | bytearray") -> None:
        self._round_keys = array("I", bytes(4 * _ROUNDS))
        state = [word ^ _FK[at] for at, word in enumerate(unpack_from(">IIII", key))]
        for index in range(_ROUNDS):
            constant = 0
            for byte in range(4):
                constant = constant << 8 | (4 * index + byte) * 7 & 0xFF
            mixed = _substitute(state[1] ^ state[2] ^ state[3] ^ constant)
            word = state[0] ^ mixed ^ _rotate(mixed, 13) ^ _rotate(mixed, 23)
            self._round_keys[index] = word
            state = [state[1], state[2], state[3], word]

    def encrypt_into(self, block: bytearray) -> None:
        """Encrypt 16 bytes in place."""
        first, second, third, fourth = unpack_from(">IIII", block)
        for key in self._round_keys:
            mixed = _substitute(second ^ third ^ fourth ^ key)
            mixed ^= (
                _rotate(mixed, 2) ^ _rotate(mixed, 10) ^ _rotate(mixed, 18) ^ _rotate(mixed, 24)
            )
            first, second, third, fourth = second, third, fourth, first ^ mixed
        pack_into(">IIII", block, 0, fourth, third, second, first)


def _substitute(word: int) -> int:
    sbox = _SBOX
    high = sbox[word >> 24] << 24 | sbox[word >> 16 & 0xFF] << 16
    return high | sbox[word >> 8 & 0xFF] << 8 | sbox[word & 0xFF]


def _rotate(word: int, count: int) -> int:
    return (word << count | word >> (32 - count)) & _MASK
