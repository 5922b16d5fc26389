"""The SM4 block cipher, encryption only, for boards whose cards use the suite SM4-CMAC.

Spec: GB/T 32907-2016.
"""

from array import array
from binascii import unhexlify
from struct import pack_into, unpack_from

from micropython import const

_ROUNDS = const(32)
_MASK = const(0xFFFFFFFF)
_FK = (0xA3B1BAC6, 0x56AA3350, 0x677D9197, 0xB27022DC)
_SBOX = unhexlify(
    "d690e9fecce13db716b614c228fb2c052b679a762abe04c3aa44132649860699"
    "9c4250f491ef987a33540b43edcfac62e4b31ca9c908e89580df94fa758f3fa6"
    "4707a7fcf37317ba83593c19e6854fa8686b81b27164da8bf8eb0f4b70569d35"
    "1e240e5e6358d1a225227c3b01217887d40046579fd327524c3602e7a0c4c89e"
    "eabf8ad240c738b5a3f7f2cef96115a1e0ae5da49b341a55ad933230f58cb1e3"
    "1df6e22e8266ca60c02923ab0d534e6fd5db3745defd8e2f03ff6a726d6c5b51"
    "8d1baf92bbddbc7f11d95c411f105ad80ac13188a5cd7bbd2d74d012b8e5b4b0"
    "8969974a0c96777e65b9f109c56ec68418f07dec3adc4d2079ee5f3ed7cb3948"
)


class Sm4:
    """One key of 16 bytes, expanded once."""

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
