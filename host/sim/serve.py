"""The simulated line on a real pty, serial port or TCP socket.

Time on the line is real, the time of day may run faster (`AcceleratedClock`). On a pty and on TCP
the simulated line gives the bytes the time they would take at its speed; a serial port does that
itself.

`Trace` writes what happens inside the meters as JSON lines, one object each:

    {"t2000":820540800,"meter":"000000000001","event":"relay","open":true}

Events: start, relay, address, baud, top_up, end. `start` and `end` tell the whole state.
"""

import contextlib
import errno
import json
import os
import select
import signal
import socket
import termios
import tty
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol, TextIO

import serial

from host.sim.clock import Clock
from host.sim.line import Line
from host.sim.meter import Meter
from host.words import _, system_reason

READ_SIZE = 4096
_WAIT_LIMIT_S = 0.2
_US = 1_000_000
_SPEEDS = {
    getattr(termios, f"B{baud}"): baud
    for baud in (600, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200)
}


class ServeError(Exception):
    """The port cannot be served; the message says why and what to try."""


class Port(Protocol):
    """Bytes to and from the master of the line."""

    name: str
    paced: bool  # the port gives the bytes their time on the wire

    @property
    def baud(self) -> int:
        """Return the speed that the master's side has set, 0 where there is no such thing."""

    def set_baud(self, baud: int) -> None:
        """Speak at another speed from now on, where the port has one."""

    def read(self, wait_s: float) -> bytes:
        """Return what has come, after `wait_s` at the latest."""

    def write(self, data: bytes) -> None:
        """Send all of it; without anybody there it is lost, as on a line."""

    def close(self) -> None:
        """Give everything back."""


class PtyPort:
    """A pseudo terminal, raw; `link` is a name for it that does not change."""

    paced = False

    def __init__(self, link: Path | None = None) -> None:
        self._master, self._slave = os.openpty()
        # It is held open, or a reader that goes would end the line for the next one.
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.name = os.ttyname(self._slave)
        self._link = link
        if link is not None:
            self._make_link(link)
            self.name = str(link)

    def _make_link(self, link: Path) -> None:
        try:
            if link.is_symlink():
                link.unlink()
            link.symlink_to(os.ttyname(self._slave))
        except OSError as error:
            self._link = None
            self.close()
            raise ServeError(
                _("cannot make the link {link}: {strerror}; choose another --link").format(
                    link=link, strerror=system_reason(error)
                )
            ) from error

    @property
    def baud(self) -> int:
        return _SPEEDS.get(termios.tcgetattr(self._slave)[5], 0)

    def set_baud(self, baud: int) -> None:
        """Do nothing: the line itself keeps the time."""

    def read(self, wait_s: float) -> bytes:
        return os.read(self._master, READ_SIZE) if _readable(self._master, wait_s) else b""

    def write(self, data: bytes) -> None:
        # A full buffer means that no one reads: the bytes are lost, as on a line.
        with contextlib.suppress(BlockingIOError):
            os.write(self._master, data)

    def close(self) -> None:
        if self._link is not None:
            self._link.unlink(missing_ok=True)
        os.close(self._slave)
        os.close(self._master)


class SerialPort:
    """A serial port with 8 data bits and even parity."""

    paced = True

    def __init__(self, path: str, baud: int) -> None:
        self.name = path
        try:
            self._port = serial.Serial(path, baud, parity=serial.PARITY_EVEN, timeout=0)
        except (OSError, ValueError) as error:
            raise ServeError(
                _(
                    "cannot open {path}: {reason}; check the path, and that no other program "
                    "uses it"
                ).format(path=path, reason=system_reason(error))
            ) from error

    @property
    def baud(self) -> int:
        return 0

    def set_baud(self, baud: int) -> None:
        if self._port.baudrate != baud:
            self._port.flush()
            self._port.baudrate = baud

    def read(self, wait_s: float) -> bytes:
        if not _readable(self._port.fileno(), wait_s):
            return b""
        return bytes(self._port.read(READ_SIZE))

    def write(self, data: bytes) -> None:
        self._port.write(data)

    def close(self) -> None:
        self._port.close()


class TcpPort:
    """A listening socket that serves one connection at a time, as a line has one master."""

    paced = False

    def __init__(self, host: str, port: int) -> None:
        try:
            self._server = socket.create_server((host, port))
        except OSError as error:
            raise ServeError(
                _(
                    "cannot listen on {host}:{port}: {strerror}; choose another port, or stop "
                    "what uses it"
                ).format(host=host, port=port, strerror=system_reason(error))
            ) from error
        self.name = f"socket://{host}:{self._server.getsockname()[1]}"
        self._peer: socket.socket | None = None

    @property
    def baud(self) -> int:
        return 0

    def set_baud(self, baud: int) -> None:
        """Do nothing: the line itself keeps the time."""

    def read(self, wait_s: float) -> bytes:
        if not _readable(self._server.fileno() if self._peer is None else self._peer, wait_s):
            return b""
        if self._peer is None:
            self._peer, _address = self._server.accept()
            self._peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return b""
        try:
            data = self._peer.recv(READ_SIZE)
        except ConnectionError:
            data = b""
        if not data:
            self._hang_up()
        return data

    def write(self, data: bytes) -> None:
        if self._peer is not None:
            try:
                self._peer.sendall(data)
            except ConnectionError:
                self._hang_up()

    def _hang_up(self) -> None:
        if self._peer is not None:
            self._peer.close()
            self._peer = None

    def close(self) -> None:
        self._hang_up()
        self._server.close()


def _readable(handle: int | socket.socket, wait_s: float) -> bool:
    return bool(select.select([handle], [], [], wait_s)[0])


class Trace:
    """What happens in the meters, on `stream`, which may be None for nothing."""

    def __init__(self, stream: TextIO | None, clock: Clock, meters: Sequence[Meter]) -> None:
        self._stream = stream
        self._clock = clock
        self._meters = meters
        self._known = [_visible(meter) for meter in meters]

    def start(self) -> None:
        """Write the state of all meters before they are asked."""
        self._tell_all("start")

    def look(self) -> None:
        """Write what has changed since the last look."""
        for index, meter in enumerate(self._meters):
            now, before = _visible(meter), self._known[index]
            if now != before:
                self._known[index] = now
                for event, name in _EVENTS:
                    if now[name] != before[name]:
                        self._write(str(before["address"]), event, {name: now[name]})

    def end(self) -> None:
        """Write the state of all meters at the end."""
        for meter in self._meters:
            meter.advance(self._clock.now_t2000())
        self._tell_all("end")

    def _tell_all(self, event: str) -> None:
        for meter in self._meters:
            state = {
                "open": meter.relay.open,
                "registers_wh": list(meter.registers_wh),
                "operations": meter.relay.operations,
                "balance_fen": meter.balance_fen,
                "clock_t2000": meter.clock_t2000,
            }
            self._write(meter.address, event, state)

    def _write(self, address: str, event: str, values: dict[str, object]) -> None:
        if self._stream is not None:
            head = {"t2000": self._clock.now_t2000(), "meter": address, "event": event}
            self._stream.write(json.dumps({**head, **values}) + "\n")
            self._stream.flush()


_EVENTS = (("relay", "open"), ("address", "address"), ("baud", "baud"), ("top_up", "count"))


def _visible(meter: Meter) -> dict[str, object]:
    return {
        "open": meter.relay.open,
        "address": meter.address,
        "baud": meter.baud,
        "count": meter.wallet.count,
    }


class Stop:
    """Becomes true when SIGINT or SIGTERM asks to stop; a context, for the main thread."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self) -> bool:
        return self.asked

    @contextlib.contextmanager
    def on_signals(self) -> Iterator["Stop"]:
        """Take the signals while inside."""
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = [signal.signal(number, self._ask) for number in numbers]
        try:
            yield self
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)

    def _ask(self, number: int, frame: object) -> None:
        self.asked = True


def serve(port: Port, line: Line, trace: Trace, stop: Stop, *, follow: bool = False) -> None:
    """Serve until `stop` is true; ServeError when the port breaks.

    `follow`: the line has the speed that the master's side sets on the port. A port that keeps
    the time itself takes the speed that all meters have agreed on.
    """
    trace.start()
    try:
        while not stop():
            next_us = line.next_us()
            wait_s = _WAIT_LIMIT_S
            if next_us is not None:
                wait_s = min(wait_s, max(0, next_us - line.clock.now_us()) / _US)
            data = port.read(wait_s)
            if follow and port.baud:
                line.baud = port.baud
            line.write(data)
            reply = line.read()
            if reply:
                port.write(reply)
            speeds = {meter.baud for meter in line.meters}
            if port.paced and len(speeds) == 1 and line.next_us() is None:
                port.set_baud(speeds.pop())
            trace.look()
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, "error")
        raise ServeError(
            _("{name} broke: {error} ({what})").format(name=port.name, error=error, what=name)
        ) from error
    finally:
        trace.end()
