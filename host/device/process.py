"""The unchanged firmware on CPython in real time, as a process of its own.

    python -m host.device.process --flash FOLDER --line PATH --console PATH --uplink HOST:PORT
        --start T2000 --epoch UNIX_S --speed N

The arguments are those of boards/unix.py; the flash is a folder, a file for each of its files.
What a process has written survives its kill, so `append` and `replace` are durable at once.
"""

import argparse
import contextlib
import fcntl
import os
import select
import socket
import time
import tty
from pathlib import Path
from typing import BinaryIO

import ports
from concentrator.app import App
from concentrator.run import Runner
from ports import BLOCK_SIZE, NOT_THERE, UNREADABLE

from host.sim.clock import AcceleratedClock
from host.words import _

TICKS_MASK = 0x1FFFFFFF
CAPACITY = (512, 4)
RECONNECT_S = 1.0


class InUseError(Exception):
    """Another process runs on the folder; the text names it."""


class FolderStorage:
    """The `Storage` of a folder, which this process holds alone by a lock on the file `~lock`."""

    def __init__(self, folder: Path) -> None:
        """Make the folder if need be; InUseError: another process has it."""
        self._folder = folder
        self._open: BinaryIO | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = (folder / "~lock").open("a+")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.seek(0)
            owner = self._lock.read().strip() or "another"
            self._lock.close()
            raise InUseError(
                _("process {owner} runs on it: stop that one first").format(owner=owner)
            ) from None
        self._lock.truncate(0)
        self._lock.write(f"{os.getpid()}\n")
        self._lock.flush()

    def read_into(self, name: str, offset: int, buf: bytearray, size: int) -> int:
        """Read `size` bytes at `offset`; return how many there were, NOT_THERE, UNREADABLE."""
        try:
            data = (self._folder / name).read_bytes()[offset : offset + size]
        except FileNotFoundError:
            return NOT_THERE
        except OSError:
            return UNREADABLE
        buf[: len(data)] = data
        return len(data)

    def append(self, name: str, buf: bytearray | memoryview | bytes, size: int) -> bool:
        """Add bytes to the file, made if need be."""
        with (self._folder / name).open("ab") as file:
            file.write(bytes(buf[:size]))
        return True

    def replace(self, name: str, buf: bytearray | memoryview | bytes, size: int) -> bool:
        """Give the file new content, all or nothing."""
        temporary = self._folder / "~"
        temporary.write_bytes(bytes(buf[:size]))
        temporary.replace(self._folder / name)
        return True

    def remove(self, name: str) -> bool:
        """Delete the file; true also when there was none."""
        (self._folder / name).unlink(missing_ok=True)
        return True

    def names(self, prefix: str) -> list[str] | None:
        """Return names of the files that begin with `prefix`, in order; None: unreadable."""
        try:
            names = os.listdir(self._folder)
        except OSError:
            return None
        return sorted(name for name in names if name[0] != "~" and name.startswith(prefix))

    def size(self, name: str) -> int:
        """Return bytes in the file, NOT_THERE or UNREADABLE."""
        try:
            return (self._folder / name).stat().st_size
        except FileNotFoundError:
            return NOT_THERE
        except OSError:
            return UNREADABLE

    def blocks(self) -> tuple[int, int]:
        """Return how many blocks of 4096 bytes the folder's disk has, and how many are free."""
        try:
            found = os.statvfs(self._folder)
        except OSError:
            return 0, 0
        return (
            found.f_blocks * found.f_frsize // BLOCK_SIZE,
            found.f_bavail * found.f_frsize // BLOCK_SIZE,
        )

    def begin(self, name: str) -> bool:
        """Start a file that is written across steps."""
        self.give_up()
        self._open = (self._folder / name).open("wb")
        return True

    def put(self, buf: bytearray | memoryview | bytes, size: int) -> bool:
        """Add bytes to the file that was begun."""
        if self._open is None:
            return False
        self._open.write(bytes(buf)[:size])
        return True

    def finish(self) -> bool:
        """Close the file that was begun."""
        if self._open is None:
            return False
        self._open.close()
        self._open = None
        return True

    def give_up(self) -> None:
        """Delete the file that was begun, if there is one."""
        if self._open is not None:
            self._open.close()
            Path(self._open.name).unlink()
            self._open = None


class Terminal:
    """A `Line` on a pseudo terminal, which has no speed."""

    def __init__(self, path: str) -> None:
        self.connection = 1
        self.waiting = 0
        self._handle = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        tty.setraw(self._handle)

    def look(self) -> None:
        """Bring `waiting` up to date."""
        self.waiting = len(select.select([self._handle], [], [], 0)[0])

    def read_into(self, buf: bytearray) -> int:
        """Put what has arrived into `buf`."""
        self.waiting = 0
        with contextlib.suppress(BlockingIOError):
            return os.readv(self._handle, [buf])
        return 0

    def write(self, buf: memoryview) -> int:
        """Send; return how many bytes were taken."""
        with contextlib.suppress(BlockingIOError):
            return os.write(self._handle, buf)
        return 0

    def set_baud(self, baud: int) -> None:
        """Do nothing: a pseudo terminal has no speed."""

    def close(self) -> None:
        """Do nothing: a port stays open."""


class TcpClient:
    """A `Channel` that keeps connecting to an address of this machine."""

    def __init__(self, host: str, port: int) -> None:
        self.connection = 0
        self.waiting = 0
        self._address = (host, port)
        self._count = 0
        self._next_s = 0.0
        self._socket: socket.socket | None = None

    def look(self) -> None:
        """Bring the connection on, and `waiting` up to date."""
        if self._socket is not None:
            self.waiting = len(select.select([self._socket], [], [], 0)[0])
        elif time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + RECONNECT_S
            with contextlib.suppress(OSError):
                self._socket = socket.create_connection(self._address, RECONNECT_S)
                self._socket.setblocking(False)
                self._count += 1
                self.connection = self._count

    def read_into(self, buf: bytearray) -> int:
        """Put what has arrived into `buf`."""
        self.waiting = 0
        if self._socket is None:
            return 0
        try:
            size = self._socket.recv_into(buf)
        except BlockingIOError:
            return 0
        except OSError:
            size = 0
        if size == 0:
            self.close()
        return size

    def write(self, buf: memoryview) -> int:
        """Send; return how many bytes were taken."""
        if self._socket is None:
            return 0
        try:
            return self._socket.send(buf)
        except BlockingIOError:
            return 0
        except OSError:
            self.close()
            return 0

    def close(self) -> None:
        """Give the connection up; `look` makes a new one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self.connection = self.waiting = 0


class ProcessBoard:
    """The board that `App` is built on, made of this process's terminals and files."""

    def __init__(self, options: argparse.Namespace) -> None:
        host, _colon, port = options.uplink.rpartition(":")
        line, console = Terminal(options.line), Terminal(options.console)
        uplink = TcpClient(host, int(port))
        self.storage: ports.Storage = FolderStorage(options.flash)
        self.lines: list[ports.Line] = [line]
        self.console: ports.Channel | None = console
        self.uplink: ports.Channel | None = uplink
        self.waiting = 0
        self.reset_cause = 0
        self.pressed = False
        self.clock = AcceleratedClock(options.start, options.speed, options.epoch)
        self._moved_s = 0
        self._channels = (line, console, uplink)

    def now_ticks(self) -> int:
        """Return milliseconds, modulo 2**29."""
        return time.monotonic_ns() // 1_000_000 & TICKS_MASK

    def now_t2000(self) -> int:
        """Return local standard time in seconds since 2000."""
        return self.clock.now_t2000() + self._moved_s

    def ask_t2000(self, source: int) -> int:
        """Return -1: there is no other clock than the system's."""
        return -1

    def set_t2000(self, t2000: int) -> None:
        """Set the clock, for as long as this process runs."""
        self._moved_s += t2000 - self.now_t2000()

    def random(self) -> int:
        """Return a number below 2**29 that nobody can guess."""
        return int.from_bytes(os.urandom(4), "little") & TICKS_MASK

    def look(self) -> None:
        """Bring every `waiting` up to date."""
        self.waiting = 0
        for channel in self._channels:
            channel.look()
            self.waiting |= channel.waiting

    def calm(self) -> None:
        """Do nothing: a terminal has no direction."""

    def feed(self) -> None:
        """Do nothing: a process has no watchdog."""

    def signal(self, signals: int) -> None:
        """Do nothing: a process has no lamps."""

    def show_card(self, code: int, credited: bool, index: int) -> None:
        """Do nothing: a process has no buzzer."""


def main() -> None:
    """Run until killed."""
    parser = argparse.ArgumentParser(prog="python -m host.device.process")
    parser.add_argument("--flash", type=Path, required=True)
    parser.add_argument("--start", type=int, required=True)
    parser.add_argument("--epoch", type=float, required=True)
    parser.add_argument("--speed", type=int, required=True)
    for name in ("--line", "--console", "--uplink"):
        parser.add_argument(name, required=True)
    options = parser.parse_args()
    try:
        board = ProcessBoard(options)
        runner = Runner(App(board, *CAPACITY), board)
    except (InUseError, ports.Unreadable) as error:
        raise SystemExit(f"dianka: --flash {options.flash}: {error}") from error
    while True:
        time.sleep(runner.turn() / 1000)


if __name__ == "__main__":
    main()
