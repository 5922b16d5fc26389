"""The board of RP2040 and RP2350, whose flash behind the firmware holds programs and journal."""

import rp2
from micropython import const

from boards import chip

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from ports import Storage

    from boards.wiring import Options


def open_storage() -> "Storage":
    """Return storage on the flash of the programs."""
    return chip.open_storage(rp2.Flash())


class Board(chip.Board):
    """An RP2040 or RP2350."""

    def __init__(self) -> None:
        super().__init__(open_storage())

    def join(self, options: "Options") -> None:
        """Join the Wi-Fi that the uplink's keys name."""
        from boards.wifi import join

        join(options)
