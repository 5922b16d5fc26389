"""Use a UART as a channel, on RS-485 with a pin that switches the direction."""

import time

import machine
from micropython import const

from boards.wiring import REFUSALS

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from boards.wiring import Options

# The bits of a character: start, 8, parity or a second stop bit, stop.
_BITS = const(11)
_CHUNK = const(64)


class Uart:
    """A `Line` on the UART that `options` names, with its keys uart, tx, rx, direction.

    The direction pin stays at sending for one character longer than the last one takes, because
    `txdone` may be true a character early. The bytes that arrive meanwhile are an echo and are
    dropped.
    """

    def __init__(self, options: "Options", baud: int, parity: "int | None", stop: int = 1) -> None:
        """Open the UART with `stop` bits; `options` may override `baud` and `parity`."""
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
        """Update `waiting`, and switch to receiving when all bytes have been sent."""
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
        """Put the bytes that have arrived into `buf`; return how many."""
        self.waiting = 0
        if self._sending:
            return 0
        return self._port.readinto(buf) or 0

    def write(self, buf: memoryview) -> int:
        """Send bytes; return how many were accepted, 0: try again later."""
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
        """Use `baud` bps, after all bytes written before have been sent."""
        self._port.flush()
        self._baud = baud
        # STM32 resets every argument that is missing to its default.
        self._port.init(baud, 8, self._parity, self._stop, timeout=0)

    def close(self) -> None:
        """Count a new connection on the same wires."""
        self.connection += 1
