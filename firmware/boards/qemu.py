"""The emulated board, mps2-an385: a Cortex-M3 with UARTs, a timer and 16 MiB of memory as flash.

    UART1 RS-485    UART2 card and console    UART3 uplink    UART0 is the prompt

There is no real-time clock: the time is given, or set from the console. ^C at the prompt stops
the concentrator. The flash is as lasting as the memory behind it: it survives a soft reset, and a
restart when the emulator keeps the memory in a file.
"""

import machine
import micropython
import uctypes
from micropython import const

from boards.littlefs import LittleStorage, open_filesystem

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from ports import CardReader, Channel, Line, Storage

    class ptr8(bytearray):
        """A pointer to bytes, as viper has it."""

        def __init__(self, buf: object) -> None: ...

    class ptr32(ptr8):
        """A pointer to 32-bit words."""


_TIMER = const(0x40000000)
_UARTS = (0x40004000, 0x40005000, 0x40006000, 0x40007000, 0x40009000)
_FLASH = const(0x21000000)
_FLASH_SIZE = const(4194304)
_BLOCK_SIZE = const(4096)

# Offsets of a UART's registers, in words, and their bits.
_DATA = const(0)
_STATE = const(1)
_CTRL = const(2)
_BAUDDIV = const(4)
_TX_FULL = const(1)
_RX_FULL = const(2)
_BOTH_ON = const(3)
_DIVISOR = const(16)

_TICK_CYCLES = const(25000)
_MASK = const(0x1FFFFFFF)
_TIMER_TOP = const(0x3FFFFFFF)
_INTERRUPT = const(3)


@micropython.viper
def _read(base: int, buf: ptr8, size: int) -> int:
    """Take what a UART has received; return how many bytes."""
    uart = ptr32(base)
    count = 0
    while count < size and uart[_STATE] & _RX_FULL:
        buf[count] = uart[_DATA]
        count += 1
    return count


@micropython.viper
def _write(base: int, buf: ptr8, size: int) -> int:
    """Give a UART what it takes; return how many bytes."""
    uart = ptr32(base)
    count = 0
    while count < size and not uart[_STATE] & _TX_FULL:
        uart[_DATA] = buf[count]
        count += 1
    return count


@micropython.viper
def _state(base: int) -> int:
    """The state register of a UART."""
    return ptr32(base)[_STATE]


@micropython.viper
def _switch_on(base: int) -> object:
    uart = ptr32(base)
    uart[_BAUDDIV] = _DIVISOR
    uart[_CTRL] = _BOTH_ON
    return None


@micropython.viper
def _copy(buf: ptr32, base: int, words: int) -> object:
    """Fill `buf` from memory, about as quickly as a real flash in C: littlefs reads a lot."""
    source = ptr32(base)
    for index in range(words):
        buf[index] = source[index]
    return None


class Uart:
    """A `Channel` on one of the UARTs, which holds a single byte received."""

    def __init__(self, number: int) -> None:
        self.connection = 1
        self.waiting = 0
        self._base = _UARTS[number]
        _switch_on(self._base)

    def look(self) -> None:
        """Bring `waiting` up to date."""
        self.waiting = _state(self._base) & _RX_FULL

    def read_into(self, buf: bytearray) -> int:
        """Put what has arrived into `buf`; return how many bytes, 0: nothing."""
        return _read(self._base, buf, len(buf))

    def write(self, buf: memoryview) -> int:
        """Send; return how many bytes were taken, 0: try again later."""
        return _write(self._base, buf, len(buf))

    def set_baud(self, baud: int) -> None:
        """The wires of an emulator have no speed."""

    def close(self) -> None:
        """Begin anew on the same wires."""
        self.connection += 1


class Flash:
    """A block device in the board's memory; erased it is all FF, as flash is."""

    def __init__(self) -> None:
        self._memory = memoryview(uctypes.bytearray_at(_FLASH, _FLASH_SIZE))

    def readblocks(self, block: int, buf: bytearray, offset: int = 0) -> int:
        """Fill `buf` from `offset` in `block`."""
        _copy(buf, _FLASH + block * _BLOCK_SIZE + offset, len(buf) >> 2)
        return 0

    def writeblocks(self, block: int, buf: bytearray, offset: int = 0) -> int:
        """Write `buf` at `offset` in `block`."""
        start = block * _BLOCK_SIZE + offset
        # Cut out first: MicroPython also moves all that stands behind a slice it is given.
        self._memory[start : start + len(buf)][:] = buf
        return 0

    def ioctl(self, operation: int, argument: int) -> int:
        """Answer littlefs: 4 the number of blocks, 5 their size; erasing needs no work."""
        if operation == 4:
            return _FLASH_SIZE // _BLOCK_SIZE
        return _BLOCK_SIZE if operation == 5 else 0


def open_storage() -> "Storage":
    """The journal, which has all of the flash."""
    return LittleStorage(open_filesystem(Flash()))


class Board:
    """What main.py builds the concentrator on; the heap of 140 KiB is its `capacity`."""

    # Meters, and registers of each.
    capacity = (512, 4)
    card_reader: "CardReader | None" = None

    def __init__(self, start_t2000: int = -1, speed: int = 1, start_ticks: int = 0) -> None:
        """The time is `start_t2000` now and runs `speed` times as fast as the ticks; -1: unset."""
        self.storage = open_storage()
        self._channels = [Uart(1), Uart(2), Uart(3)]
        self.lines: list[Line] = [self._channels[0]]
        self.console: Channel | None = self._channels[1]
        self.uplink: Channel | None = self._channels[2]
        self.waiting = 0
        self.signals = 0
        self.pressed = False
        self._prompt = Uart(0)
        self._key = bytearray(1)
        self._ticks = start_ticks
        self._cycles = 0
        self._speed = speed
        self._ms = 0
        self._t2000 = start_t2000
        # It counts down to 0 and starts again at its top: a small int at every moment.
        for register, value in ((0, 0), (8, _TIMER_TOP), (4, _TIMER_TOP), (0, 1)):
            machine.mem32[_TIMER + register] = value
        self._value = machine.mem32[_TIMER + 4]

    def now_ticks(self) -> int:
        """Milliseconds, modulo 2**29. Wants to be called every 40 s, lest a turn is missed."""
        value = machine.mem32[_TIMER + 4]
        self._cycles += (self._value - value) & _TIMER_TOP
        self._value = value
        if self._cycles >= _TICK_CYCLES:
            passed_ms = self._cycles // _TICK_CYCLES
            self._cycles -= passed_ms * _TICK_CYCLES
            self._ticks = (self._ticks + passed_ms) & _MASK
            self._ms += passed_ms * self._speed
            if self._ms >= 1000 and self._t2000 >= 0:
                self._t2000 += self._ms // 1000
                self._ms %= 1000
        return self._ticks

    def now_t2000(self) -> int:
        """Local standard time in seconds since 2000, -1 when it was never set."""
        return self._t2000

    def ask_t2000(self, source: int) -> int:
        """The emulated board has neither an RTC chip nor a network."""
        return -1

    def set_t2000(self, t2000: int) -> None:
        """Set the clock."""
        self._t2000 = t2000
        self._ms = 0

    def look(self) -> None:
        """Bring every `waiting` up to date; KeyboardInterrupt when ^C was typed."""
        waiting = 0
        for channel in self._channels:
            channel.look()
            waiting |= channel.waiting
        self.waiting = waiting
        if self._prompt.read_into(self._key) and self._key[0] == _INTERRUPT:
            raise KeyboardInterrupt

    def random(self) -> int:
        """A number below 2**29 from the timer: this board has no source of randomness."""
        value: int = machine.mem32[_TIMER + 4]
        return value & _MASK

    def feed(self) -> None:
        """The work makes progress; the emulator has no watchdog."""

    def show_card(self, code: int, credited: bool, index: int) -> None:
        """The emulator has no buzzer."""

    def signal(self, signals: int) -> None:
        """Show `signals`, a bit for each lamp."""
        self.signals = signals
