"""What a redemption asks of a card reader, near or on the far side of a serial line.

A card is 256 bytes of memory or more, the first 32 of which belong to the chip. A reader never
waits: an operation is started and polled. One is on its way at a time.
"""

from micropython import const

# Outcomes of `poll`.
IDLE = const(0)
BUSY = const(1)
OK = const(2)
FAILED = const(3)  # no answer, a wrong one, or the card is gone

UID_SIZE = const(8)

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from typing import Protocol

    class Carrier(Protocol):
        """A card reader. Its methods never raise and never wait."""

        # Grows by one with each card inserted; 0: no card.
        present: int
        # Serial number of the card, shorter ones padded with zeros.
        uid: bytearray
        # Bytes of memory on the card.
        size: int
        # What the last read brought, from 0 on, valid until the next operation.
        data: bytearray

        def start_read(self, offset: int, size: int) -> None:
            """Begin to read `size` bytes at `offset`, at most 224."""

        def start_write(self, offset: int, buf: "bytearray | memoryview", size: int) -> None:
            """Begin to write `buf[:size]`, which stays as it is until `poll` says OK or FAILED."""

        def poll(self, now_ticks: int) -> int:
            """BUSY while the operation lasts, then once OK or FAILED; IDLE without one."""

        def show(self, code: int, credited: bool, index: int) -> None:
            """Tell who holds the card what became of it: a result of card/codes.py."""
