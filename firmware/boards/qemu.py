"""The emulated board mps2-an385: a Cortex-M3 with UARTs, a timer and 4 MiB of memory as flash.

    UART1 RS-485    UART2 card and console    UART3 uplink    UART0 is the prompt

The board has no real-time clock: the caller passes the time, or the console sets it. ^C at the
prompt stops the concentrator. The flash survives a soft reset, and a restart if the emulator keeps
its memory in a file.
"""

import emulated_flash
import machine
import micropython
from micropython import const

from boards.littlefs import LittleStorage, open_filesystem

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from ports import CardReader, Channel, Concentrator, Line, Storage

    class ptr8(bytearray):
        """A pointer to bytes, a type of viper."""

        def __init__(self, buf: object) -> None: ...

    class ptr32(ptr8):
        """A pointer to 32-bit words."""


_TIMER = const(0x40000000)
_UARTS = (0x40004000, 0x40005000, 0x40006000, 0x40007000, 0x40009000)
_FLASH = const(0x21000000)
_FLASH_SIZE = const(4194304)
_BLOCK_SIZE = const(4096)
# It takes programs of any size; this is the page of most flash chips.
_PAGE = const(256)

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
    """Read the bytes that a UART has received; return how many."""
    uart = ptr32(base)
    count = 0
    while count < size and uart[_STATE] & _RX_FULL:
        buf[count] = uart[_DATA]
        count += 1
    return count


@micropython.viper
def _write(base: int, buf: ptr8, size: int) -> int:
    """Write the bytes that a UART accepts; return how many."""
    uart = ptr32(base)
    count = 0
    while count < size and not uart[_STATE] & _TX_FULL:
        uart[_DATA] = buf[count]
        count += 1
    return count


@micropython.viper
def _state(base: int) -> int:
    """Return the state register of a UART."""
    return ptr32(base)[_STATE]


@micropython.viper
def _switch_on(base: int) -> object:
    uart = ptr32(base)
    uart[_BAUDDIV] = _DIVISOR
    uart[_CTRL] = _BOTH_ON
    return None


@micropython.viper
def _is_zero(base: int, words: int) -> bool:
    """Return whether `words` words of memory from `base` on are 0: none was ever written."""
    source = ptr32(base)
    index = 0
    while index < words and source[index] == 0:
        index += 1
    return index == words


class Uart:
    """A `Channel` on one of the UARTs, which buffers a single received byte."""

    def __init__(self, number: int) -> None:
        self.connection = 1
        self.waiting = 0
        self._base = _UARTS[number]
        _switch_on(self._base)

    def look(self) -> None:
        """Update `waiting`."""
        self.waiting = _state(self._base) & _RX_FULL

    def read_into(self, buf: bytearray) -> int:
        """Put the bytes that have arrived into `buf`; return how many."""
        return _read(self._base, buf, len(buf))

    def write(self, buf: memoryview) -> int:
        """Send bytes; return how many were accepted, 0: try again later."""
        return _write(self._base, buf, len(buf))

    def set_baud(self, baud: int) -> None:
        """Do nothing: an emulated UART has no speed."""

    def close(self) -> None:
        """Count a new connection on the same wires."""
        self.connection += 1


class Flash:
    """A block device in the board's memory."""

    readblocks = staticmethod(emulated_flash.readblocks)
    writeblocks = staticmethod(emulated_flash.writeblocks)

    def ioctl(self, operation: int, argument: int) -> int:
        """Return for littlefs: operation 4 the count of blocks, 5 their size, else 0."""
        if operation == 4:
            return _FLASH_SIZE // _BLOCK_SIZE
        return _BLOCK_SIZE if operation == 5 else 0


def open_storage(new: bool = False) -> "Storage":
    """Return storage on the whole flash, made with `new` or at the very first start."""
    new = new or _is_zero(_FLASH, _FLASH_SIZE >> 2)
    return LittleStorage(open_filesystem(Flash(), _PAGE, new))


class Board:
    """The emulated board; in its heap of 140 KiB `capacity` leaves room for whatever it does."""

    # Count of meters, and of registers of each.
    capacity = (256, 4)
    card_reader: "CardReader | None" = None
    reset_cause = 0

    def __init__(self, start_t2000: int = -1, speed: int = 1, start_ticks: int = 0) -> None:
        """Set the time to `start_t2000`, -1: unknown; it runs `speed` times as fast as ticks."""
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
        # The timer counts down to 0 and restarts at its top, so its value is always a small int.
        for register, value in ((0, 0), (8, _TIMER_TOP), (4, _TIMER_TOP), (0, 1)):
            machine.mem32[_TIMER + register] = value
        self._value = machine.mem32[_TIMER + 4]

    def now_ticks(self) -> int:
        """Return ms modulo 2**29; it must be called every 40 s, before the timer wraps twice."""
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
        """Return local standard time in seconds since 2000, -1 when it was never set."""
        return self._t2000

    def ask_t2000(self, source: int) -> int:
        """Return -1: the board has neither an RTC chip nor a network."""
        return -1

    def set_t2000(self, t2000: int) -> None:
        """Set the clock."""
        self._t2000 = t2000
        self._ms = 0

    def look(self) -> None:
        """Update every `waiting`; KeyboardInterrupt when ^C was typed."""
        waiting = 0
        for channel in self._channels:
            channel.look()
            waiting |= channel.waiting
        self.waiting = waiting
        if self._prompt.read_into(self._key) and self._key[0] == _INTERRUPT:
            raise KeyboardInterrupt

    def random(self) -> int:
        """Return a number below 2**29 from the timer: the board has no source of randomness."""
        value: int = machine.mem32[_TIMER + 4]
        return value & _MASK

    def attach(self, app: "Concentrator") -> None:
        """Tell `app` that random numbers of this board can be guessed."""
        app.entropy.distrust()

    def fail(self, error: Exception) -> None:
        """Do nothing: the error is printed."""

    def calm(self) -> None:
        """Do nothing: a line has no direction."""

    def feed(self) -> None:
        """Do nothing: the emulator has no watchdog."""

    def show_card(self, code: int, credited: bool, index: int) -> None:
        """Do nothing: the emulator has no buzzer."""

    def signal(self, signals: int) -> None:
        """Keep `signals`, a bit for each lamp."""
        self.signals = signals
