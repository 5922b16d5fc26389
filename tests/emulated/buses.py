"""Provide the emulated board's I2C and SPI, with the methods of machine.I2C and machine.SPI.

I2c     ARM SBCon at 4002A000H, two pins that a program moves
Spi     ARM PL022 at 40027000H
select  the pin that selects the chip on the SPI: an interrupt line of the dual timer, which
        the timer's test registers set
"""

import machine
import micropython

TYPE_CHECKING = False
if TYPE_CHECKING:

    class ptr8(bytearray):
        """A pointer to bytes, a type of viper."""

        def __init__(self, buf: object) -> None: ...

    class ptr32(ptr8):
        """A pointer to 32-bit words."""


_I2C = 0x4002A000
_SPI = 0x40027000
_DUAL_TIMER = 0x40002000


class I2c:
    """The I2C, moved bit by bit."""

    def __init__(self) -> None:
        self._lines(1, 1)

    def writeto(self, addr: int, buf: bytes) -> None:
        """Write to the chip at `addr`; OSError: it does not acknowledge."""
        self._start()
        try:
            self._put(addr << 1)
            for value in buf:
                self._put(value)
        finally:
            self._stop()

    def readfrom_into(self, addr: int, buf: bytearray) -> None:
        """Fill `buf` from the chip at `addr`; OSError: it does not acknowledge."""
        self._start()
        try:
            self._put(addr << 1 | 1)
            for at in range(len(buf)):
                buf[at] = self._get(at + 1 < len(buf))
        finally:
            self._stop()

    def _lines(self, scl: int, sda: int) -> None:
        """Set both lines: there is a register to set them, and one to clear them behind it."""
        machine.mem32[_I2C if sda else _I2C + 4] = 2
        machine.mem32[_I2C if scl else _I2C + 4] = 1

    def _start(self) -> None:
        for scl, sda in ((1, 1), (1, 0), (0, 0)):
            self._lines(scl, sda)

    def _stop(self) -> None:
        for scl, sda in ((0, 0), (1, 0), (1, 1)):
            self._lines(scl, sda)

    def _put(self, value: int) -> None:
        for bit in range(7, -1, -1):
            for scl in (0, 1, 0):
                self._lines(scl, value >> bit & 1)
        if self._bit():
            raise OSError(5)

    def _get(self, more: bool) -> int:
        value = 0
        for _ in range(8):
            value = value << 1 | self._bit()
        for scl in (0, 1, 0):
            self._lines(scl, 0 if more else 1)
        return value

    def _bit(self) -> int:
        self._lines(0, 1)
        self._lines(1, 1)
        bit: int = machine.mem32[_I2C] >> 1 & 1
        self._lines(0, 1)
        return bit


class Spi:
    """The SPI, one byte at a time."""

    def __init__(self) -> None:
        # Words of 8 bits; on.
        machine.mem32[_SPI] = 7
        machine.mem32[_SPI + 4] = 2

    def write(self, buf: bytes) -> None:
        """Send bytes."""
        _send(_SPI, buf, len(buf))

    def readinto(self, buf: bytearray) -> None:
        """Fill `buf` while zeros are sent."""
        _receive(_SPI, buf, len(buf))


def select(value: int) -> None:
    """Set the pin that selects the chip; 0 selects it."""
    machine.mem32[_DUAL_TIMER + 0xF00] = 1
    machine.mem32[_DUAL_TIMER + 0xF04] = value


@micropython.viper
def _send(base: int, buf: ptr8, size: int) -> int:
    spi = ptr32(base)
    for at in range(size):
        spi[2] = buf[at]
        spi[2]  # the byte that came back is taken
    return size


@micropython.viper
def _receive(base: int, buf: ptr8, size: int) -> int:
    spi = ptr32(base)
    for at in range(size):
        spi[2] = 0
        buf[at] = spi[2]
    return size
