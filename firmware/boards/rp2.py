"""RP2040 and RP2350: the flash behind the firmware holds programs and journal."""

import rp2

from boards import chip


class Board(chip.Board):
    """What main.py builds the concentrator on."""

    def __init__(self) -> None:
        super().__init__(rp2.Flash())
