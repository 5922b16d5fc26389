"""STM32, such as the Pyboard: its flash has to be littlefs, not the FAT it comes with."""

import pyb
from micropython import const

from boards import chip

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from ports import Storage


def open_storage() -> "Storage":
    """The journal, beside the programs."""
    return chip.open_storage(pyb.Flash(start=0))


class Board(chip.Board):
    """What main.py builds the concentrator on."""

    first_weekday = 1

    def __init__(self) -> None:
        super().__init__(open_storage())
