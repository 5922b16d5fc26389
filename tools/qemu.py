"""An emulated board, a Cortex-M3 in QEMU, that runs Python at its serial prompt.

    .venv/bin/python -m tools.qemu -c 'print(1)'
    .venv/bin/python -m tools.qemu script.py

A `counting` board takes one nanosecond of its time for every instruction, so its timer counts
instructions: the same number on every run and on every machine. It is slower; otherwise the timer
tells real time.

    REPL  UART0, a socket that this module listens on; or the address given, for mpremote
    lines UART1 RS-485, UART2 card and console, UART3 uplink: any of QEMU's character devices
"""

import argparse
import re
import select
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

from tools.image import ImageError, build_emulated, install_emulator

TICK_INSTRUCTIONS = 40

UART_COUNT = 5

START_TIMEOUT_S = 20.0

# Starts the timer at its top; it counts down, 40 instructions a tick.
_TIMER = """\
import machine
_TIMER = 0x40000000
def start():
    machine.mem32[_TIMER] = 0
    machine.mem32[_TIMER + 8] = 0x3FFFFFFF
    machine.mem32[_TIMER + 4] = 0x3FFFFFFF
    machine.mem32[_TIMER] = 1
def ticks():
    return 0x3FFFFFFF - machine.mem32[_TIMER + 4]
"""

_MEASURE = """\
{setup}
def _empty():
    pass
def _measured():
    {statement}
def _cost(function, count):
    start()
    before = ticks()
    for _ in range(count):
        function()
    return ticks() - before
_empty(); _measured(); _cost(_empty, 1)
print(_cost(_measured, {count}) - _cost(_empty, {count}))
"""


class BoardError(Exception):
    """The board raised, or did not answer; the text is its traceback or says what was awaited."""


class Board:
    """A running board. Use it in a `with` statement: leaving it ends the emulator.

    `image` is an ELF file of tools.image. `lines` are QEMU character devices for UART1 and up,
    such as "tcp:127.0.0.1:7001,server=on,wait=off", "unix:/tmp/line" or "null". With `repl` the
    prompt is at that character device and `run` cannot be used. `memory` is a file that keeps the
    memory which serves as flash, so that it outlasts the emulator.
    """

    def __init__(
        self,
        image: Path,
        lines: tuple[str, ...] = (),
        repl: str | None = None,
        counting: bool = False,
        memory: Path | None = None,
    ) -> None:
        self._image = image
        self._counting = counting
        self._memory = memory
        self._lines = lines
        self._repl = repl
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._received = bytearray()

    def __enter__(self) -> "Board":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The emulator's process, for a test that kills it."""
        if self._process is None:
            raise BoardError("the board is not running")
        return self._process.pid

    def start(self) -> None:
        """Start the emulator and wait for the prompt."""
        if self._repl is not None:
            self._spawn(self._repl)
            return
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(START_TIMEOUT_S)
            port = server.getsockname()[1]
            self._spawn(f"tcp:127.0.0.1:{port},server=off,nodelay=on")
            try:
                self._socket = server.accept()[0]
            except TimeoutError:
                raise BoardError(f"the emulator did not start: {self._last_words()}") from None
        self._enter_raw_mode()

    def stop(self) -> None:
        """End the emulator; what it held in memory is gone."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
        self._received.clear()

    def soft_reset(self) -> None:
        """Restart the interpreter: a fresh heap; the emulated hardware stays as it is."""
        self._send(b"\x04")
        self._expect(b"soft reboot\r\n", START_TIMEOUT_S)
        self._enter_raw_mode()

    def run(self, code: str, timeout_s: float = 60.0) -> str:
        """Run `code` and return what it printed; BoardError with the traceback if it raised."""
        self._send(code.encode() + b"\x04")
        self._expect(b"OK", timeout_s)
        printed = self._expect(b"\x04", timeout_s)
        raised = self._expect(b"\x04>", timeout_s)
        if raised:
            raise BoardError(f"{_text(printed)}{_text(raised)}".rstrip())
        return _text(printed)

    def instructions(self, statement: str, setup: str = "", count: int = 100) -> int:
        """Return how many instructions one run of `statement` costs, without an empty call.

        `setup` runs once before; the statement may use its globals. Measured in a restarted
        interpreter, because what was there before changes the cost of looking up a name.
        """
        self.soft_reset()
        self.run(_TIMER)
        code = _MEASURE.format(setup=setup, statement=statement, count=count)
        ticks = int(self.run(code, 120.0).split()[-1])
        return max(0, ticks * TICK_INSTRUCTIONS // count)

    def _spawn(self, repl: str) -> None:
        lines = [*self._lines, *["null"] * (UART_COUNT - 1 - len(self._lines))]
        command = ["qemu-system-arm", "-machine", "mps2-an385", "-display", "none"]
        command += ["-monitor", "none", "-semihosting", "-kernel", str(self._image)]
        if self._counting:
            command += ["-icount", "shift=0"]
        if self._memory is not None:
            backend = f"memory-backend-file,id=flash,size=16M,share=on,mem-path={self._memory}"
            command += ["-object", backend, "-machine", "memory-backend=flash"]
        for device in (repl, *lines):
            command += ["-serial", device]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            raise BoardError(f"qemu-system-arm: {error.strerror}") from error

    def _last_words(self) -> str:
        """End an emulator that did not answer and return what it complained of."""
        process, self._process = self._process, None
        if process is None:
            return ""
        process.kill()
        return process.communicate()[1].decode(errors="replace").strip()

    def _enter_raw_mode(self) -> None:
        """Interrupt what runs and ask for the prompt that programs use."""
        self._send(b"\r\x03\x03\r\x01")
        self._expect(b"raw REPL; CTRL-B to exit\r\n>", START_TIMEOUT_S)

    def _send(self, data: bytes) -> None:
        if self._socket is None:
            raise BoardError("the board's prompt is not ours: it is not running, or elsewhere")
        self._socket.sendall(data)

    def _expect(self, mark: bytes, timeout_s: float) -> bytes:
        """Return the bytes up to `mark`, which is dropped."""
        if self._socket is None:
            raise BoardError("the board is not running")
        deadline_s = time.monotonic() + timeout_s
        while mark not in self._received:
            wait_s = deadline_s - time.monotonic()
            if wait_s <= 0 or not select.select([self._socket], [], [], wait_s)[0]:
                raise BoardError(f"no {mark!r} in {timeout_s:g} s, only {bytes(self._received)!r}")
            data = self._socket.recv(65536)
            if not data:
                raise BoardError(f"the emulator ended: {self._last_words()}")
            self._received += data
        before, _, after = bytes(self._received).partition(mark)
        self._received[:] = after
        return before


def _text(data: bytes) -> str:
    return re.sub(r"\r\n", "\n", data.decode(errors="replace"))


def main(arguments: list[str]) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="tools.qemu", description="Run code on a Cortex-M3.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("-c", dest="code", help="the code itself")
    what.add_argument("script", nargs="?", type=Path, help="a file of code")
    parser.add_argument("--image", type=Path, help="an image; built if none is named")
    parser.add_argument("--no-float", action="store_true", help="an interpreter without floats")
    parser.add_argument("--tests", action="store_true", help="with the core tests frozen in")
    parser.add_argument("--timeout", dest="timeout_s", type=float, default=60.0, metavar="S")
    options = parser.parse_args(arguments)
    try:
        code = options.code or options.script.read_text()
        install_emulator()
        image = options.image or build_emulated(not options.no_float, options.tests)
        with Board(image, counting=True) as board:
            print(board.run(code, options.timeout_s), end="")
    except (BoardError, ImageError, OSError) as error:
        print(f"qemu: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
