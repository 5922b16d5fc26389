"""STM32, such as the Pyboard: its flash has to be littlefs, not the FAT it comes with."""

import pyb

from boards import chip


class Board(chip.Board):
    """What main.py builds the concentrator on."""

    first_weekday = 1

    def __init__(self) -> None:
        super().__init__(pyb.Flash(start=0))
