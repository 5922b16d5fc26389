"""Use a UART as a channel, on RS-485 with a pin that switches the direction.

The direction pin falls when the last bit has left, whatever the main loop does then: a timer does
it, or `write` itself on a port that returns no sooner. What is received is always kept: the master
knows the echo of its request. A transceiver that switches by itself needs none of this.
"""

import time

import machine
from micropython import const

from boards.wiring import REFUSALS

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from boards.wiring import Options

# Bytes that the port keeps until they are read: 44 ms at 115200 bps, and the longest reply twice.
_RX_BUFFER = const(1024)
LINE_RX_BUFFER = const(512)
# `timer` of a port whose `write` returns when the last bit has left.
WAITS = const(-2)


class Uart:
    """A `Line` on the UART that `options` names, with its keys uart, tx, rx, direction.

    sending     whether the direction pin is still high
    """

    def __init__(
        self,
        options: "Options",
        baud: int,
        parity: "int | None",
        stop: int = 1,
        rx_buffer: int = _RX_BUFFER,
        timer: int = WAITS,
    ) -> None:
        """Open the UART with `stop` bits; `options` may override `baud` and `parity`.

        `timer` is the number of the timer that ends sending.
        """
        self.connection = 1
        self.waiting = 0
        self._baud = options.number("baud", 300, 921600, baud)
        self._parity = options.parity("parity", parity)
        self._stop = stop
        self._buffer = rx_buffer
        number = options.number("uart")
        pins = options.pins("tx", "rx")
        try:
            self._port = machine.UART(
                number, self._baud, 8, self._parity, stop, timeout=0, rxbuf=rx_buffer, **pins
            )
        except REFUSALS:
            raise options.refusal("uart", "this board has no such UART on these pins") from None
        self._direction: machine.Pin | None = None
        self._timer: machine.Timer | None = None
        # Bound once: a reference to a method costs heap.
        self._callback = self._end
        self._at_once = timer == WAITS
        if "direction" in options:
            self._direction = options.output("direction")
            if not self._at_once:
                self._timer = _open_timer(timer)
        self.sending = False
        self._end_us = 0

    def look(self) -> None:
        """Update `waiting`; end sending if there is no timer, or its call was lost."""
        if self.sending and time.ticks_diff(time.ticks_us(), self._end_us) > 0:
            self._end(None)
        self.waiting = self._port.any()

    def read_into(self, buf: bytearray) -> int:
        """Put the bytes that have arrived into `buf`; return how many."""
        self.waiting = 0
        return self._port.readinto(buf) or 0

    def write(self, buf: memoryview) -> int:
        """Send bytes; return how many were accepted, 0: try again later."""
        direction = self._direction
        if direction is None:
            return self._port.write(buf) or 0
        direction(1)
        now_us = time.ticks_us()
        size = self._port.write(buf) or 0
        if self._at_once:
            direction(0)
            return size
        bit_us = 1000000 // self._baud + 1
        if not self.sending or time.ticks_diff(self._end_us, now_us) < 0:
            # The first bit leaves within the time of one that has begun.
            self._end_us = time.ticks_add(now_us, bit_us)
        bits = 9 + self._stop + (self._parity is not None)
        self._end_us = time.ticks_add(self._end_us, size * (bits * 1000000 // self._baud + 1))
        self.sending = True
        self._arm((time.ticks_diff(self._end_us, now_us) + 999) // 1000)
        return size

    def set_baud(self, baud: int) -> None:
        """Use `baud` bps, after all bytes written before have been sent."""
        self._port.flush()
        self._baud = baud
        # STM32 resets every argument that is missing to its default.
        self._port.init(baud, 8, self._parity, self._stop, timeout=0, rxbuf=self._buffer)

    def close(self) -> None:
        """Count a new connection on the same wires."""
        self.connection += 1

    def _arm(self, wait_ms: int) -> None:
        timer = self._timer
        if timer is not None:
            timer.init(mode=machine.Timer.ONE_SHOT, period=wait_ms, callback=self._callback)

    def _end(self, _: object) -> None:
        """Switch to receiving if all bytes have been sent; else look again in a millisecond."""
        if not self._port.txdone():
            self._arm(1)
        elif self._direction is not None:
            self._direction(0)
            self.sending = False


def _open_timer(number: int) -> "machine.Timer | None":
    """Return the timer, None on a chip that has fewer: `look` ends sending there."""
    try:
        return machine.Timer(number)
    except REFUSALS:
        return None
