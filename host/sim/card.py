"""A virtual card: memory that is written byte by byte, and everything that goes wrong with one.

The faults are set from outside, so that a test or a seeded world decides when they happen.
"""

from host.frames.card import CARD_SIZE, SERIAL_OFFSET


class Torn(OSError):
    """The card was pulled, or lost its power, in the middle of an operation."""


class VirtualCard:
    """`memory` is what survives. `uid` has 16 hexadecimal digits.

    tear_at_byte    the card is pulled before it stores this byte of all still to be written
    flip_bit        this bit of the next read is wrong, once
    writes          since the card was made
    """

    def __init__(self, uid: str, size: int = CARD_SIZE) -> None:
        self.uid = uid
        self.memory = bytearray(b"\xff" * size)
        self.memory[SERIAL_OFFSET : SERIAL_OFFSET + 8] = bytes.fromhex(uid)
        self.tear_at_byte: int | None = None
        self.flip_bit: int | None = None
        self.pulled = False
        self.writes = 0

    @property
    def size(self) -> int:
        """Return bytes of memory."""
        return len(self.memory)

    def insert(self) -> None:
        """Put the card back in: what it stored is still there."""
        self.pulled = False
        self.tear_at_byte = None

    def read(self, offset: int, size: int) -> bytes:
        """Return `size` bytes at `offset`; Torn while the card is out."""
        self._check(offset, size)
        data = bytearray(self.memory[offset : offset + size])
        if self.flip_bit is not None and self.flip_bit < 8 * size:
            data[self.flip_bit // 8] ^= 1 << self.flip_bit % 8
            self.flip_bit = None
        return bytes(data)

    def write(self, offset: int, data: bytes) -> None:
        """Store `data` byte by byte; Torn at the byte where the card was pulled."""
        self._check(offset, len(data))
        self.writes += 1
        for at, byte in enumerate(data, offset):
            if self.tear_at_byte == 0:
                self.pulled = True
                raise Torn(f"pulled at byte {at}")
            if self.tear_at_byte is not None:
                self.tear_at_byte -= 1
            self.memory[at] = byte

    def _check(self, offset: int, size: int) -> None:
        if self.pulled:
            raise Torn("no card")
        if offset < 0 or offset + size > len(self.memory):
            raise OSError(f"bytes {offset} to {offset + size} of {len(self.memory)}")
