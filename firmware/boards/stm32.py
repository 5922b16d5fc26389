"""The board of STM32 such as the Pyboard; its flash must have littlefs instead of FAT."""

import pyb
from micropython import const

from boards import chip

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from ports import Storage


def open_storage() -> "Storage":
    """Return storage on the flash of the programs."""
    return chip.open_storage(pyb.Flash(start=0))


class Board(chip.Board):
    """An STM32."""

    first_weekday = 1

    def __init__(self) -> None:
        super().__init__(open_storage())
