"""The board of the ESP32 family, whose partition "vfs" holds programs and journal."""

from esp32 import Partition
from micropython import const

from boards import chip

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from boards.link import Link
    from boards.littlefs import LittleStorage
    from boards.wiring import Options

# Half a page of the flash: the port's driver splits what does not fit a page.
_PAGE = const(128)


def open_storage(new: bool = False) -> "LittleStorage":
    """Return storage on the flash of the programs; an installer has it made with `new`."""
    return chip.open_storage(Partition.find(Partition.TYPE_DATA, label="vfs")[0], _PAGE, new)


class Board(chip.Board):
    """An ESP32."""

    # Timer 0 is boot.py's; a chip with two of them ends sending on its second line by itself.
    timer = 1

    def __init__(self) -> None:
        super().__init__(open_storage())

    def has_entropy(self) -> bool:
        """Return whether the radio is on, without which the chip's numbers can be guessed."""
        return self._link is not None

    @staticmethod
    def join(options: "Options") -> "Link":
        """Return the Wi-Fi that the uplink's keys name, which is being joined."""
        from boards.wifi import Wifi

        return Wifi(options)
