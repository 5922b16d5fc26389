"""The ESP32 family: its partition "vfs" holds programs and journal."""

from esp32 import Partition

from boards import chip


class Board(chip.Board):
    """What main.py builds the concentrator on."""

    def __init__(self) -> None:
        super().__init__(Partition.find(Partition.TYPE_DATA, label="vfs")[0])
