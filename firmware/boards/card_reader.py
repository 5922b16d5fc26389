"""The board's own card reader: the chips there are, and how each is made from its keys and pins.

A chip costs a driver in card/chips, a function and a row of the table here, and a test. A driver
is imported when board.json names its chip. docs/CHIPS.md shows a board.json for each.
"""

import time

import machine
from card.chips.local import LocalCarrier
from micropython import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from card.chips.local import Display
    from card.chips.outcome import Medium
    from ports import CardReader

    from boards.wiring import Options


def open_reader(options: "Options", display: "Display") -> "CardReader":
    """Return the reader of the chip that the key `chip` names; `display` shows results."""
    chip = options.choice("chip", sorted(_CHIPS))
    medium = _CHIPS[chip](options)
    options.end()
    return LocalCarrier(medium, display)


def _sle4442(options: "Options") -> "Medium":
    """Memory behind five contacts."""
    from card.chips.sle4442 import Sle4442

    return Sle4442(
        io=options.pin("io", machine.Pin.OPEN_DRAIN, value=1),
        clk=options.output("clk"),
        rst=options.output("rst"),
        detect=options.input("detect"),
        power=options.output("power"),
        delay_us=time.sleep_us,
        psc=options.octets("psc", 3, b"\xff\xff\xff"),
    )


_CHIPS = {"sle4442": _sle4442}
