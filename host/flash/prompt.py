"""Use a board at its MicroPython prompt through mpremote: run code, write and check files.

A connection interrupts the running program; `begin_anew` leaves the board at its prompt with no
program started, `let_run` starts the slot that boot.py chooses and yields the board's output.
"""

import ast
import base64
import contextlib
import hashlib
import io
import struct
import time
from collections.abc import Iterator
from typing import Any

from pydantic import TypeAdapter

from host.closing import Closing
from host.installed import how_to_add
from host.words import _

TIMEOUT_S = 10
# A board on USB disconnects from the computer while it restarts.
RETURN_S = 20
# Between two bytes of an answer: a board that erases its flash is silent, and one that is emulated
# on a busy computer for longer than the 10 s of mpremote.
SILENCE_S = 40
# For a whole answer, and until what is sent has left: a board that prints without end, or takes
# nothing, would hold mpremote for ever.
WHOLE_S = 300
CHUNK = 3072
_HEAR_S = 1.0
_INTERRUPT = b"\r\x03"
_RAW = b"\r\x01"
_RAW_PROMPT = b"raw REPL; CTRL-B to exit\r\n"
_CTRL_B = b"\r\x02"
_CTRL_D = b"\x04"

_WRITE = """\
import binascii
with open({name!r}, {mode!r}) as file:
    file.write(binascii.a2b_base64({text!r}))
"""

_HASH = """\
import hashlib
digest = hashlib.sha256()
buf = bytearray(512)
with open({name!r}, "rb") as file:
    while True:
        size = file.readinto(buf)
        if not size:
            break
        digest.update(memoryview(buf)[:size])
print(str(binascii.hexlify(digest.digest()), "ascii"))
"""


_RENAME = """\
import os
try:
    os.rename({old!r}, {new!r})
except OSError:
    os.remove({new!r})
    os.rename({old!r}, {new!r})
"""


class BoardError(Exception):
    """The board cannot be used; the text says why and what to try."""


class Prompt(Closing):
    """A board that has been interrupted and waits for code."""

    def __init__(self, port: str) -> None:
        try:
            from mpremote import transport, transport_serial
        except ImportError:
            raise BoardError(
                _("mpremote is missing: {install}").format(install=how_to_add("flash"))
            ) from None
        self.port = port
        self._open = transport_serial.SerialTransport
        self._told = transport.TransportExecError
        self._lost = (transport.TransportError, OSError, ValueError, struct.error)
        self._transport: Any = None
        self._connect()

    def close(self) -> None:
        """Close the port; the board stays as it is."""
        if self._transport is not None:
            with contextlib.suppress(*self._lost):
                self._transport.close()
            self._transport = None

    def run(self, code: str) -> str:
        """Run code and return what it printed; BoardError with the last line if it raised."""
        with self._speaking():
            printed: bytes = self._transport.exec(code)
            return printed.decode(errors="replace").replace("\r\n", "\n")

    def told(self, code: str, shape: Any) -> Any:
        """Run code that prints one literal, and return it where it has the shape, a type.

        BoardError: what it printed is something else.
        """
        try:
            value = ast.literal_eval(self.run(code).strip())
            return TypeAdapter(shape).validate_python(value, strict=True)
        except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
            raise BoardError(
                _("what the board answers makes no sense: is it MicroPython, and nothing else?")
            ) from error

    def write(self, name: str, data: bytes) -> None:
        """Write a file and have the board compare its SHA-256; BoardError if it differs."""
        mode = "wb"
        for start in range(0, len(data) or 1, CHUNK):
            text = base64.b64encode(data[start : start + CHUNK])
            code = _WRITE.format(name=name, mode=mode, text=text)
            mode = "ab"
            is_last = start + CHUNK >= len(data)
            said = self.run(code + _HASH.format(name=name) if is_last else code)
        if said.strip() != hashlib.sha256(data).hexdigest():
            raise BoardError(
                _("{name} did not arrive as it was sent: try again").format(name=name)
            )

    def replace(self, name: str, data: bytes) -> None:
        """Write a file so that an interruption leaves either the old or the new one.

        On FAT an interruption at the very end leaves the new one under the name with a ~.
        """
        self.write(f"{name}~", data)
        self.run(_RENAME.format(old=f"{name}~", new=name))

    def begin_anew(self, hard: bool) -> None:
        """Restart the interpreter and stay at its prompt; `hard`: the whole board."""
        with self._speaking():
            if not hard:
                self._enter(restarts=True)
                return
            self._transport.exec_raw_no_follow("import machine\nmachine.reset()")
        self.close()
        deadline_s = time.monotonic() + RETURN_S
        time.sleep(1)
        while True:
            try:
                self._connect()
                return
            except BoardError:
                if time.monotonic() > deadline_s:
                    raise
            time.sleep(1)

    def let_run(self, timeout_s: float) -> Iterator[str]:
        """Start the board as after power-up, its clock kept, and yield each line it prints.

        An empty line from time to time shows that time has passed. It takes at least a second:
        bytes that were sent are lost if the port is closed before they arrive.
        """
        with self._speaking():
            self._transport.serial.write(_CTRL_B + _CTRL_D)
        deadline_s = time.monotonic() + max(timeout_s, _HEAR_S)
        heard = b""
        while time.monotonic() < deadline_s:
            heard += self._hear()
            *lines, heard = heard.split(b"\n")
            yield from (one.decode(errors="replace").strip() for one in lines)
            if not lines:
                yield ""

    def release(self) -> None:
        """Start the board as after power-up, without reading its output."""
        for _part in self.let_run(0):
            pass

    def interrupt(self) -> None:
        """Interrupt the running program and get the prompt back."""
        self._connect()

    def _hear(self) -> bytes:
        """Return what arrives within a second or so; a port that was lost is opened again."""
        try:
            if self._transport is None:
                self._transport = self._open(self.port, timeout=_HEAR_S)
            self._transport.serial.timeout = _HEAR_S
            data: bytes = self._transport.serial.read(1)
            while data and self._transport.serial.in_waiting:
                data += self._transport.serial.read(1)
            return data
        except self._lost:
            self.close()
            time.sleep(1)
            return b""

    def _connect(self) -> None:
        """Interrupt the running program and get the raw prompt."""
        self.close()
        with self._speaking():
            self._transport = self._open(self.port, timeout=TIMEOUT_S)
            self._transport.read_until = self._read_until
            self._transport.serial.write_timeout = SILENCE_S
            try:
                self._enter(restarts=False)
            except BaseException:
                self.close()
                raise

    def _enter(self, restarts: bool) -> None:
        """Interrupt what runs and get the raw prompt; OSError: it does not come.

        `restarts`: the interpreter as well.
        """
        line = self._transport.serial
        line.write(_INTERRUPT)
        ends_s = time.monotonic() + _HEAR_S
        while line.in_waiting and time.monotonic() < ends_s:
            line.read(line.in_waiting)
        line.write(_RAW)
        # What boot.py prints comes between the last two.
        awaited = [_RAW_PROMPT + b">", b"soft reboot\r\n", _RAW_PROMPT]
        for ending in awaited if restarts else awaited[-1:]:
            said = self._read_until(1, ending, timeout_overall=TIMEOUT_S)
            if not said.endswith(ending):
                raise OSError(_("its prompt does not come"))
            if ending == awaited[0]:
                line.write(_CTRL_D)

    def _read_until(self, _size: int, ending: bytes, **limits: Any) -> bytes:
        """Read in place of mpremote, which waits for ever for a board that prints for ever."""
        line = self._transport.serial
        said = bytearray()
        now_s = heard_s = time.monotonic()
        overall_s = limits.get("timeout_overall")
        silence_s = overall_s or SILENCE_S
        ends_s = now_s + (overall_s or WHOLE_S)
        while not said.endswith(ending):
            now_s = time.monotonic()
            if now_s >= ends_s:
                if overall_s:
                    break
                raise OSError(
                    _(
                        "it prints without an end: take the power from the board, and try again "
                        "within a second of its return"
                    )
                )
            if self._transport.is_pty or line.in_waiting:
                byte = line.read(1)
                if byte:
                    said += byte
                    heard_s = now_s
                    continue
            if now_s >= heard_s + silence_s:
                break
            time.sleep(0.01)
        return bytes(said)

    @contextlib.contextmanager
    def _speaking(self) -> Iterator[None]:
        """Raise each error of the board as a BoardError that says the next step."""
        try:
            # mpremote prints unexpected output.
            with contextlib.redirect_stdout(io.StringIO()):
                yield
        except self._told as error:
            raise BoardError(_reason(error.error_output)) from error
        except self._lost as error:
            if self._transport is None:
                raise BoardError(
                    _(
                        "{port} cannot be opened, or no MicroPython answers there: look at the "
                        "cable and the port's name, press reset, and close what else uses the port"
                    ).format(port=self.port)
                ) from error
            text = _reason(str(error))
            raise BoardError(f"{self.port}: {text}") from error


def _reason(trace: str) -> str:
    """Return the last line of a board's traceback, in words where it is a usual one."""
    lines = trace.strip().splitlines() or [_("it does not answer any more: try again")]
    last = lines[-1].strip()
    if "ENOSPC" in last or last == "OSError: 28":
        return _("the board's flash is full: remove files that are not needed")
    if last.startswith("MemoryError"):
        return _(
            "the board has too little memory for it: freeze the product into an image instead"
        )
    return _("the board says: {last}").format(last=last)
