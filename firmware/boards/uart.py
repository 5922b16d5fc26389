"""A UART as a channel, on RS-485 with a pin that switches to sending."""

import time

import machine
from micropython import const

from boards.wiring import REFUSALS

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from boards.wiring import Options

# Of a character: start, 8, parity or a second stop bit, stop.
_BITS = const(11)
_CHUNK = const(64)


class Uart:
    """A `Line` on the UART that `options` names, with its keys uart, tx, rx, direction.

    The direction pin stays until the last character has left and one more could have: `txdone` may
    tell the truth a character early. What arrives meanwhile is our own echo and is dropped.
    """

    def __init__(self, options: "Options", baud: int, parity: "int | None", stop: int = 1) -> None:
        """`baud` and `parity` are what `options` may say otherwise; `stop` bits they may not."""
        self.connection = 1
        self.waiting = 0
        self._baud = options.number("baud", 300, 921600, baud)
        self._parity = options.parity("parity", parity)
        self._stop = stop
        number = options.number("uart")
        pins = options.pins("tx", "rx")
        try:
            self._port = machine.UART(number, self._baud, 8, self._parity, stop, timeout=0, **pins)
        except REFUSALS:
            raise options.refusal("uart", "this board has no such UART on these pins") from None
        self._direction: machine.Pin | None = None
        if "direction" in options:
            self._direction = options.output("direction")
        self._sending = False
        self._end_ticks = 0
        self._scratch = bytearray(_CHUNK)

    def look(self) -> None:
        """Bring `waiting` up to date, and end sending when everything has left."""
        if self._direction is not None and self._sending:
            self.waiting = 0
            if time.ticks_diff(time.ticks_ms(), self._end_ticks) < 0 or not self._port.txdone():
                return
            while self._port.any():
                self._port.readinto(self._scratch)
            self._direction(0)
            self._sending = False
            return
        self.waiting = self._port.any()

    def read_into(self, buf: bytearray) -> int:
        """Put what has arrived into `buf`; return how many bytes, 0: nothing."""
        self.waiting = 0
        if self._sending:
            return 0
        return self._port.readinto(buf) or 0

    def write(self, buf: memoryview) -> int:
        """Send; return how many bytes were taken, 0: try again later."""
        if self._direction is None:
            return self._port.write(buf) or 0
        now_ticks = time.ticks_ms()
        begins_ticks = self._end_ticks if self._sending else now_ticks
        self._direction(1)
        self._sending = True
        size = self._port.write(buf) or 0
        sent_ms = (size + 1) * _BITS * 1000 // self._baud + 1
        self._end_ticks = time.ticks_add(begins_ticks, sent_ms)
        return size

    def set_baud(self, baud: int) -> None:
        """Send and hear at another speed, once what was written before has left."""
        self._port.flush()
        self._baud = baud
        # All of it: STM32 takes its defaults for what is not said.
        self._port.init(baud, 8, self._parity, self._stop, timeout=0)

    def close(self) -> None:
        """Begin anew on the same wires."""
        self.connection += 1
