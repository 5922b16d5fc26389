"""An emulated board, a Cortex-M3 in QEMU, that runs Python at its serial prompt.

    REPL  UART0, a socket that this module listens on; or the address given, for mpremote
    lines UART1 RS-485, UART2 card and console, UART3 uplink: any of QEMU's character devices

A `counting` board takes one nanosecond of its time for every instruction, so its timer counts
instructions: the same number on every run and on every machine. It is slower; otherwise the timer
tells real time.
"""

import json
import re
import select
import socket
import subprocess
import time
from pathlib import Path
from typing import Self

from host import children
from host.closing import Closing
from host.words import _

PROGRAM = "qemu-system-arm"

UART_COUNT = 5

START_TIMEOUT_S = 20.0

NOR_SIZE = 4 << 20
# No command line connects the chip's select to a pin, so QEMU is told before the board starts. The
# dual timer lets a program set its interrupt lines; the board uses the third alone.
_SELECT_NOR: tuple[dict[str, object], ...] = (
    {"execute": "qmp_capabilities"},
    {
        "execute": "qom-set",
        "arguments": {
            "path": "/machine/dualtimer",
            "property": "sysbus-irq[1]",
            "value": "/machine/peripheral/nor/ssi-gpio-cs[0]",
        },
    },
    {"execute": "cont"},
)


class BoardError(Exception):
    """The board raised an error or did not answer; the text says which."""


class Emulator(Closing):
    """A running board. Use it in a `with` statement: leaving it ends the emulator.

    `image` is the ELF file of the firmware. `lines` are QEMU character devices for UART1 and up,
    such as "tcp:127.0.0.1:7001,server=on,wait=off", "unix:/tmp/line" or "null". With `repl` the
    prompt is at that character device and `run` cannot be used. `memory` is a file that keeps the
    memory which serves as flash, so that it outlasts the emulator. `chips` are devices of QEMU
    that hang on the board's I2C, such as "ds1338,address=0x68", and start at the time `now`.
    `nor` is a file that holds the content of a chip w25q32 on the board's SPI, 4 MiB, made if it
    is missing; the chip is selected while the first interrupt line of the dual timer is low.
    """

    def __init__(
        self,
        image: Path,
        lines: tuple[str, ...] = (),
        repl: str | None = None,
        counting: bool = False,
        memory: Path | None = None,
        chips: tuple[str, ...] = (),
        now: str = "",
        nor: Path | None = None,
    ) -> None:
        self._image = image
        self._counting = counting
        self._memory = memory
        self._lines = lines
        self._chips = chips
        self._now = now
        self._nor = nor
        self._repl = repl
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._received = bytearray()

    @property
    def pid(self) -> int:
        """Return the emulator's process, for a test that kills it."""
        if self._process is None:
            raise BoardError(_("the board is not running"))
        return self._process.pid

    def __enter__(self) -> Self:
        self.start()
        return self

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
                raise BoardError(
                    _("the emulator did not start: {last_words}").format(
                        last_words=self._last_words()
                    )
                ) from None
        self._enter_raw_mode()

    def close(self) -> None:
        """End the emulator; what it held in memory is gone, what its SPI flash held is kept."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is not None:
            # A kill would lose what the chip has programmed and its file does not have yet.
            if self._nor is not None:
                self._process.terminate()
                self._process.wait()
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
        self.begin(code, timeout_s)
        printed = self._expect(b"\x04", timeout_s)
        raised = self._expect(b"\x04>", timeout_s)
        if raised:
            raise BoardError(f"{_text(printed)}{_text(raised)}".rstrip())
        return _text(printed)

    def begin(self, code: str, timeout_s: float = 60.0) -> None:
        """Start `code`, which runs on its own; `ended` tells when it no longer does."""
        self._send(code.encode() + b"\x04")
        self._expect(b"OK", timeout_s)

    def ended(self) -> str | None:
        """Return what the program begun has printed and raised, once it or the emulator ended."""
        if self._process is not None and self._process.poll() is not None:
            return self._ending()
        while self._socket is not None and select.select([self._socket], [], [], 0)[0]:
            data = self._socket.recv(65536)
            if not data:
                return self._ending()
            self._received += data
        if self._received.count(b"\x04") < 2:
            return None
        return _text(bytes(self._received).replace(b"\x04", b"")).strip("> \n")

    def heard(self, mark: bytes, timeout_s: float = 60.0) -> str:
        """Return what the program begun prints before `mark`."""
        return _text(self._expect(mark, timeout_s))

    def _spawn(self, repl: str) -> None:
        lines = [*self._lines, *["null"] * (UART_COUNT - 1 - len(self._lines))]
        command = [PROGRAM, "-machine", "mps2-an385", "-display", "none"]
        command += ["-monitor", "none", "-semihosting", "-kernel", str(self._image)]
        if self._counting:
            command += ["-icount", "shift=0"]
        if self._memory is not None:
            backend = f"memory-backend-file,id=flash,size=16M,share=on,mem-path={self._memory}"
            command += ["-object", backend, "-machine", "memory-backend=flash"]
        for chip in self._chips:
            command += ["-device", f"{chip},bus=i2c"]
        if self._now:
            command += ["-rtc", f"base={self._now},clock=vm"]
        if self._nor is not None:
            if not self._nor.exists():
                self._nor.write_bytes(b"\xff" * NOR_SIZE)
            command += ["-drive", f"if=none,id=nor,format=raw,file={self._nor}"]
            command += ["-device", "w25q32,id=nor,drive=nor,bus=ssi", "-S", "-qmp", "stdio"]
        for device in (repl, *lines):
            command += ["-serial", device]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL if self._nor is None else subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=children.environment(),
            )
        except OSError as error:
            raise BoardError(f"{PROGRAM}: {error.strerror}") from error
        if self._process.stdin is not None:
            for command_line in _SELECT_NOR:
                self._process.stdin.write(json.dumps(command_line).encode() + b"\n")
            self._process.stdin.flush()

    def _ending(self) -> str:
        return _("the emulator ended: {last_words}").format(last_words=self._last_words())

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
            raise BoardError(_("the board's prompt is not ours: it is not running, or elsewhere"))
        self._socket.sendall(data)

    def _expect(self, mark: bytes, timeout_s: float) -> bytes:
        """Return the bytes up to `mark`, which is dropped."""
        if self._socket is None:
            raise BoardError(_("the board is not running"))
        deadline_s = time.monotonic() + timeout_s
        while mark not in self._received:
            wait_s = deadline_s - time.monotonic()
            if wait_s <= 0 or not select.select([self._socket], [], [], wait_s)[0]:
                raise BoardError(
                    _("no {mark!r} in {timeout_s:g} s, only {heard!r}").format(
                        mark=mark, timeout_s=timeout_s, heard=bytes(self._received)
                    )
                )
            data = self._socket.recv(65536)
            if not data:
                raise BoardError(self._ending())
            self._received += data
        before, _mark, after = bytes(self._received).partition(mark)
        self._received[:] = after
        return before


def _text(data: bytes) -> str:
    return re.sub(r"\r\n", "\n", data.decode(errors="replace"))
