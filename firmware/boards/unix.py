"""The board of the unix port: its flash is a file, its lines are terminals, its uplink is TCP.

    micropython firmware/main.py --flash FILE --line PATH [--line PATH ..] [--console PATH]
        [--uplink HOST:PORT] [--start T2000 --epoch UNIX_S --speed N]

The time is the machine's own, or it was `start` at the moment `epoch` and runs `speed` times as
fast: programs with the same three numbers have the same time.
"""

import errno
import os
import select
import sys
import termios
import time

import ffi
from micropython import const

from boards import BoardError
from boards.littlefs import LittleStorage, open_filesystem
from boards.tcp import GONE, TcpClient, events_of

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from typing import Any

    from ports import CardReader, Channel, Concentrator, Line, Storage
    from vfs import VfsLfs2

_BLOCK_SIZE = const(4096)
_FLASH_SIZE = const(4194304)
_PAGE = const(128)
_MASK = const(0x1FFFFFFF)
_T2000_S = const(946684800)  # 2000-01-01 00:00 UTC
_CLOCK_SET_S = const(1577836800)  # a machine with a year before 2020 does not know the time
_LOCK_NOW = const(6)  # of flock: exclusive, or fail at once
_PID_SIZE = const(10)
_REOPEN_MS = const(1000)
_CLOCK_MS = const(1000)
_WRITE_SIZE = const(256)  # a ready terminal accepts this many bytes without waiting

# Fields of tcgetattr, and Linux's values for 8E1 at the speeds in use.
_I_FLAG = const(0)
_O_FLAG = const(1)
_C_FLAG = const(2)
_L_FLAG = const(3)
_IN_SPEED = const(4)
_OUT_SPEED = const(5)
_CC = const(6)
_V_TIME = const(5)
_V_MIN = const(6)
_8_BITS = const(0o4260)  # CS8 CREAD CLOCAL
_EVEN = const(0o400)
_DROP_WRONG = const(0o24)  # INPCK IGNPAR: a byte of wrong parity is dropped
_B115200 = const(0o10002)
_SPEEDS = {
    600: 0o10,
    1200: 0o11,
    2400: 0o13,
    4800: 0o14,
    9600: 0o15,
    19200: 0o16,
    38400: 0o17,
    57600: 0o10001,
    115200: _B115200,
}

_USAGE = (
    "usage: micropython firmware/main.py --flash FILE --line PATH [--line PATH ..]"
    " [--console PATH] [--uplink HOST:PORT] [--start T2000 --epoch UNIX_S --speed N]"
)


class FileFlash:
    """A block device in a file; the kernel keeps written data even if the process is killed.

    The process locks the file `PATH.lock`, which has its number, so that no other one opens it.
    """

    def __init__(self, path: str) -> None:
        """Open the flash, or make an empty one of 4 MiB; BoardError: another process has it."""
        self._lock = _locked(path + ".lock")
        try:
            size = os.stat(path)[6]
        except OSError:
            size = 0
        self._path = path
        self._name = path if size else path + "~"
        with open(self._name, "r+b" if size else "w+b") as file:
            if size == 0:
                file.seek(_FLASH_SIZE - 1)
                file.write(b"\0")
                size = _FLASH_SIZE
        if size % _BLOCK_SIZE or size < 4 * _BLOCK_SIZE:
            raise BoardError("is no flash: its size is not a number of 4096 byte blocks")
        self._file = open(self._name, "r+b")  # noqa: SIM115 - open as long as the board runs
        self._count = size // _BLOCK_SIZE

    def filesystem(self) -> "VfsLfs2":
        """Return the littlefs in the file; a new file gets its name once it has a littlefs."""
        filesystem = open_filesystem(self, _PAGE, self._name != self._path)
        if self._name != self._path:
            os.rename(self._name, self._path)
            self._name = self._path
        return filesystem

    def readblocks(self, block: int, buf: bytearray, offset: int = 0) -> int:
        """Fill `buf` from `offset` in `block`."""
        self._file.seek(block * _BLOCK_SIZE + offset)
        self._file.readinto(buf)
        return 0

    def writeblocks(self, block: int, buf: bytearray, offset: int = 0) -> int:
        """Write `buf` at `offset` in `block`."""
        self._file.seek(block * _BLOCK_SIZE + offset)
        self._file.write(buf)
        return 0

    def ioctl(self, operation: int, argument: int) -> int:
        """Return for littlefs: operation 4 the count of blocks, 5 their size, else 0."""
        if operation == 4:
            return self._count
        return _BLOCK_SIZE if operation == 5 else 0


def _locked(path: str) -> "Any":
    """Return the open file `path`, locked while this process lives; BoardError names its owner."""
    # Two programs that write to one file system would damage it.
    libc = ffi.open(None)
    with open(path, "a"):
        pass
    file = open(path, "r+")  # noqa: SIM115 - open as long as the board runs
    if libc.func("i", "flock", "ii")(file.fileno(), _LOCK_NOW):
        owner = file.read(_PID_SIZE).strip() or "another"
        file.close()
        raise BoardError("process " + owner + " runs on it: stop that one first")
    pid = str(libc.func("i", "getpid", "")())
    file.write(pid + " " * (_PID_SIZE - len(pid)))
    file.flush()
    return file


class Terminal:
    """A `Channel` on a serial port or a pseudo terminal, which is reopened after a loss."""

    def __init__(self, path: str, speed: int, even: bool) -> None:
        self.connection = 1
        self.waiting = 0
        self._ready = 0
        self._path = path
        self._speed = speed
        self._even = even
        self._poll = select.poll()
        self._lost_ticks = 0
        self._file: Any = None
        self._open()

    def look(self) -> None:
        """Update `waiting`."""
        if self._file is None:
            self._open_again()
            return
        self._ready = events_of(self._poll)
        if self._ready & GONE:
            self._lose()
        elif self._ready & select.POLLIN:
            self.waiting = 1

    def read_into(self, buf: bytearray) -> int:
        """Put the bytes that have arrived into `buf`; return how many."""
        self.waiting = 0
        if self._file is None:
            return 0
        try:
            return self._file.readinto(buf) or 0
        except OSError:
            self._lose()
            return 0

    def write(self, buf: memoryview) -> int:
        """Send bytes; return how many were accepted, 0: try again later."""
        if not self._ready & select.POLLOUT:
            return 0
        self._ready = 0
        try:
            return self._file.write(buf[:_WRITE_SIZE]) or 0
        except OSError:
            self._lose()
            return 0

    def set_baud(self, baud: int) -> None:
        """Use `baud` bps; a pseudo terminal ignores it."""
        self._speed = _SPEEDS[baud]
        if self._file is None:
            return
        try:
            number = self._file.fileno()
            attributes = termios.tcgetattr(number)
            attributes[_IN_SPEED] = attributes[_OUT_SPEED] = self._speed
            termios.tcsetattr(number, termios.TCSANOW, attributes)
        except OSError:
            self._lose()

    def close(self) -> None:
        """Do nothing: a port stays open."""

    def _open(self) -> None:
        """Open the port; OSError if it is missing or no terminal."""
        file = open(self._path, "r+b")  # noqa: SIM115 - open as long as the port is there
        try:
            number = file.fileno()
            attributes = termios.tcgetattr(number)
            # Raw mode, without termios.setraw, which discards bytes that have arrived.
            attributes[_I_FLAG] = attributes[_O_FLAG] = attributes[_L_FLAG] = 0
            attributes[_C_FLAG] = _8_BITS
            attributes[_IN_SPEED] = attributes[_OUT_SPEED] = self._speed
            # A read returns at once with the bytes that have arrived.
            attributes[_CC][_V_TIME] = attributes[_CC][_V_MIN] = 0
            if self._even:
                self._set_even(number, attributes)
            termios.tcsetattr(number, termios.TCSANOW, attributes)
        except OSError:
            file.close()
            raise
        self._file = file
        self._poll.register(file, select.POLLIN | select.POLLOUT)

    def _set_even(self, number: int, attributes: "list[Any]") -> None:
        """Ask for even parity, and that bytes without it are dropped.

        A pseudo terminal has none, and says so or drops it silently.
        """
        attributes[_I_FLAG] = _DROP_WRONG
        attributes[_C_FLAG] = _8_BITS | _EVEN
        try:  # noqa: SIM105 - MicroPython has no contextlib
            termios.tcsetattr(number, termios.TCSANOW, attributes)
        except OSError:
            pass
        attributes[_C_FLAG] = _8_BITS | termios.tcgetattr(number)[_C_FLAG] & _EVEN

    def _lose(self) -> None:
        self._poll.unregister(self._file)
        self._file.close()
        self._file = None
        self.waiting = self._ready = 0
        self._lost_ticks = time.ticks_ms()

    def _open_again(self) -> None:
        """Reopen the port if a second has passed since the last attempt."""
        now_ticks = time.ticks_ms()
        if time.ticks_diff(now_ticks, self._lost_ticks) < _REOPEN_MS:
            return
        self._lost_ticks = now_ticks
        try:
            self._open()
        except OSError:
            self._file = None


class Clock:
    """The machine's local standard time, or a faster one that began at a given moment."""

    def __init__(self, start_t2000: int, epoch_ns: int, speed: int) -> None:
        """Run from `start_t2000` at `epoch_ns`, `speed` times as fast; 0: the machine's time."""
        self._start_t2000 = start_t2000
        self._epoch_ns = epoch_ns
        self._speed = speed
        self._moved_s = 0
        now_s = time.time_ns() // 1000000000
        # The machine's zone, from one moment as UTC and as local time.
        self._offset_s = now_s - int(time.mktime(time.gmtime(now_s))) - _T2000_S
        # The time as of the ticks at which the machine was asked.
        self._ticks = 0
        self._t2000 = self._read()

    def now_t2000(self) -> int:
        """Return local standard time in seconds since 2000, -1 when it is not known.

        Asking the machine takes heap: it is done once a second, more often by a faster clock.
        """
        now_ticks = time.ticks_ms() & _MASK
        if self._speed or (now_ticks - self._ticks) & _MASK >= _CLOCK_MS:
            self._t2000 = self._read()
        return self._t2000

    def set(self, t2000: int) -> None:
        """Set the time to `t2000` for this process only."""
        self._moved_s += t2000 - self._read()
        self._t2000 = self._read()

    def _read(self) -> int:
        self._ticks = time.ticks_ms() & _MASK
        now_ns = time.time_ns()
        if self._speed:
            elapsed_us = (now_ns - self._epoch_ns) // 1000
            return self._start_t2000 + elapsed_us * self._speed // 1000000 + self._moved_s
        now_s = now_ns // 1000000000
        return now_s + self._offset_s + self._moved_s if now_s >= _CLOCK_SET_S else -1


class Board:
    """The board of a process; it has no lamps and no button.

    storage, lines, console, uplink     as in ports.py; console and uplink may be None
    signals                             the last signals for lamps
    capacity                            count of meters, and of registers of each
    """

    capacity = (512, 4)
    card_reader: "CardReader | None" = None

    def __init__(self) -> None:
        """Open what sys.argv names; BoardError says what is wrong with it."""
        options = _parse(sys.argv[1:])
        path = options["--flash"][0]
        try:
            self.storage: Storage = LittleStorage(FileFlash(path).filesystem())
        except BoardError as error:
            raise BoardError("--flash " + path + ": " + str(error)) from None
        except OSError as error:
            raise BoardError("--flash " + path + ": " + _why(error)) from None
        self.lines: list[Line] = [
            _terminal("--line", path, _SPEEDS[2400], True) for path in options["--line"]
        ]
        self.console: Channel | None = None
        if options["--console"]:
            self.console = _terminal("--console", options["--console"][0], _B115200, False)
        self.uplink: Channel | None = None
        if options["--uplink"]:
            self.uplink = _tcp_client(options["--uplink"][0])
        self._channels: list[Any] = list(self.lines)
        for channel in (self.console, self.uplink):
            if channel:
                self._channels.append(channel)
        self.waiting = 0
        self.reset_cause = 0
        self.signals = 0
        self.pressed = False
        self._clock = _clock(options)

    def now_ticks(self) -> int:
        """Return the time in ms, modulo 2**29."""
        return time.ticks_ms() & _MASK

    def now_t2000(self) -> int:
        """Return local standard time in seconds since 2000, -1 when it is not known."""
        return self._clock.now_t2000()

    def ask_t2000(self, source: int) -> int:
        """Return -1: the system keeps its clock right by its own means."""
        return -1

    def set_t2000(self, t2000: int) -> None:
        """Set the clock."""
        self._clock.set(t2000)

    def look(self) -> None:
        """Update every `waiting`."""
        waiting = 0
        for channel in self._channels:
            channel.look()
            waiting |= channel.waiting
        self.waiting = waiting

    def random(self) -> int:
        """Return an unpredictable number below 2**29."""
        return int.from_bytes(os.urandom(4), "little") & _MASK

    def attach(self, app: "Concentrator") -> None:
        """Do nothing: no part of this board needs the concentrator."""

    def fail(self, error: Exception) -> None:
        """Do nothing: the error is printed."""

    def calm(self) -> None:
        """Do nothing: a terminal has no direction."""

    def feed(self) -> None:
        """Do nothing: a process has no watchdog."""

    def show_card(self, code: int, credited: bool, index: int) -> None:
        """Do nothing: a process has no buzzer."""

    def signal(self, signals: int) -> None:
        """Keep `signals`, a bit for each lamp."""
        self.signals = signals


def _parse(arguments: "list[str]") -> "dict[str, list[str]]":
    """Return the values of each option; BoardError for one unknown, missing or given twice."""
    options: dict[str, list[str]] = {}
    for name in ("--flash", "--line", "--console", "--uplink", "--start", "--epoch", "--speed"):
        options[name] = []
    index = 0
    while index < len(arguments):
        name = arguments[index]
        if name not in options:
            raise BoardError("unknown argument " + name + "\n" + _USAGE)
        if index + 1 == len(arguments):
            raise BoardError(name + " needs a value\n" + _USAGE)
        if options[name] and name != "--line":
            raise BoardError(name + " is given twice")
        options[name].append(arguments[index + 1])
        index += 2
    for name in ("--flash", "--line"):
        if not options[name]:
            raise BoardError(name + " is missing\n" + _USAGE)
    return options


def _terminal(option: str, path: str, speed: int, even: bool) -> Terminal:
    try:
        return Terminal(path, speed, even)
    except OSError as error:
        why = "is no terminal" if error.errno == 25 else _why(error)
        raise BoardError(option + " " + path + ": " + why) from None


def _tcp_client(address: str) -> TcpClient:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise BoardError("--uplink " + address + ": expected HOST:PORT")
    return TcpClient(host, int(port))


def _clock(options: "dict[str, list[str]]") -> Clock:
    """Return the clock of --start, --epoch and --speed: all three or none."""
    given = [name for name in ("--start", "--epoch", "--speed") if options[name]]
    if not given:
        return Clock(0, 0, 0)
    if len(given) < 3:
        raise BoardError("--start, --epoch and --speed belong together")
    whole, _, decimals = options["--epoch"][0].partition(".")
    numbers = (options["--start"][0], whole, decimals or "0", options["--speed"][0])
    for number in numbers:
        if not number.isdigit():
            raise BoardError(number + " is no number: see --start, --epoch and --speed")
    epoch_ns = int(whole) * 1000000000 + int((decimals + "000000000")[:9])
    speed = int(numbers[3])
    if not 0 < speed <= 100000:
        raise BoardError("--speed " + numbers[3] + ": expected 1 to 100000")
    return Clock(int(numbers[0]), epoch_ns, speed)


def _why(error: OSError) -> str:
    if error.errno == errno.ENOENT:
        return "does not exist"
    if error.errno == errno.EACCES:
        return "permission denied"
    if error.errno == errno.EISDIR:
        return "is a folder"
    return "error " + str(error.errno)
