"""The board of STM32: its journal is on an SPI flash, that of board.json or the board's own.

The flash inside the chip never holds it: a sector of 16 to 128 KiB is erased before any of its
blocks is written, so that a power cut takes them all, and wears out after 10,000 times.
"""

import pyb
from micropython import const

from boards import BoardError, chip
from boards.uart import WAITS

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from boards.littlefs import LittleStorage

_PAGE = const(256)
# The port shows the flash of the chip in blocks of 512 bytes, an SPI flash as it is.
_BLOCK_SIZE = const(4096)


def open_storage(new: bool = False) -> "LittleStorage":
    """Return storage on the SPI flash; `new`: made by an installer. BoardError: there is none."""
    storage = chip.open_nor(new)
    if storage is not None:
        return storage
    device = pyb.Flash(start=0)
    if device.ioctl(5, 0) != _BLOCK_SIZE:
        raise BoardError(
            "the flash inside an STM32 loses the journal in a power cut: fit an SPI flash or "
            "FRAM and name it in board.json under flash"
        )
    return chip.open_storage(device, _PAGE, new)


class Board(chip.Board):
    """An STM32."""

    first_weekday = 1
    # Its `write` returns when the last bit has left.
    timer = WAITS

    def __init__(self) -> None:
        super().__init__(open_storage())

    def has_entropy(self) -> bool:
        """Return whether the image uses the chip's generator: without it os.urandom counts on."""
        return hasattr(pyb, "rng")
