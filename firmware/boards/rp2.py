"""RP2040 and RP2350: the flash behind the firmware holds programs and journal."""

import rp2
from micropython import const

from boards import chip

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from ports import Storage


def open_storage() -> "Storage":
    """The journal, beside the programs."""
    return chip.open_storage(rp2.Flash())


class Board(chip.Board):
    """What main.py builds the concentrator on."""

    def __init__(self) -> None:
        super().__init__(open_storage())

    def join(self, ssid: str, key: str) -> None:
        """Join a Wi-Fi."""
        from boards.wifi import join

        join(ssid, key)
