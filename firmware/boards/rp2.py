"""The board of RP2040 and RP2350, whose flash behind the firmware holds programs and journal."""

import rp2
from micropython import const

from boards import chip

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from boards.link import Link
    from boards.littlefs import LittleStorage
    from boards.wiring import Options

# The chip programs aligned pages of this size; a shorter one wraps and spoils the page.
_PAGE = const(256)


def open_storage(new: bool = False) -> "LittleStorage":
    """Return storage on the flash of the programs; an installer has it made with `new`."""
    return chip.open_storage(rp2.Flash(), _PAGE, new)


class Board(chip.Board):
    """An RP2040 or RP2350."""

    def __init__(self) -> None:
        super().__init__(open_storage())

    @staticmethod
    def join(options: "Options") -> "Link":
        """Return the Wi-Fi that the uplink's keys name, which is being joined."""
        from boards.wifi import Wifi

        return Wifi(options)
