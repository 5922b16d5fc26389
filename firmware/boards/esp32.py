"""The ESP32 family: its partition "vfs" holds programs and journal."""

from esp32 import Partition
from micropython import const

from boards import chip

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from ports import Storage

    from boards.wiring import Options


def open_storage() -> "Storage":
    """The journal, beside the programs."""
    return chip.open_storage(Partition.find(Partition.TYPE_DATA, label="vfs")[0])


class Board(chip.Board):
    """What main.py builds the concentrator on."""

    def __init__(self) -> None:
        super().__init__(open_storage())

    def join(self, options: "Options") -> None:
        """Join the Wi-Fi that the uplink's keys name."""
        from boards.wifi import join

        join(options)
