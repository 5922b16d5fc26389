"""A device's line: a serial port, a pseudo terminal, `socket://HOST:PORT` or `unix:PATH`."""

import contextlib
import os
from typing import Any

import serial

from host.closing import Closing
from host.link.unix_socket import UNIX, LocalSocket
from host.words import _, system_reason

try:
    import termios
except ImportError:  # Windows: the driver drops such a byte or not, as its settings say
    termios = None  # type: ignore[assignment]  # looked at before it is used

BAUD = 115_200
READ_SIZE = 4096


class PortError(Exception):
    """The line cannot be used; the message says why and what to try."""


class Port(Closing):
    """An open line. PortError where it cannot be opened or is lost."""

    def __init__(self, name: str, baud: int = BAUD, parity: str = serial.PARITY_NONE) -> None:
        self.name = name
        self._checks_parity = parity != serial.PARITY_NONE
        if _is_pseudo_terminal(name):
            parity = serial.PARITY_NONE  # the kernel refuses any other there
        try:
            self._serial = _opened(name, baud, parity)
        except (OSError, ValueError) as error:
            raise PortError(
                _("cannot open {name}: {reason}; {hint}").format(
                    name=name, reason=_reason(error), hint=_hint(name, error)
                )
            ) from error
        self._drop_wrong_bytes()

    def _drop_wrong_bytes(self) -> None:
        """Have the port drop a byte of wrong parity, which pyserial makes it hand over."""
        number = getattr(self._serial, "fd", None)
        if not self._checks_parity or termios is None or number is None:
            return
        with contextlib.suppress(termios.error):
            settings = termios.tcgetattr(number)
            settings[0] |= termios.INPCK | termios.IGNPAR
            termios.tcsetattr(number, termios.TCSANOW, settings)

    def close(self) -> None:
        """Give the line up."""
        self._serial.close()

    def set_baud(self, baud: int) -> None:
        """Send and hear at another speed; a connection has none, and its converter keeps its own.

        PortError where the port has no such speed.
        """
        try:
            self._serial.baudrate = baud
        except (OSError, ValueError) as error:
            raise PortError(
                _("{name} has no {baud} baud: {reason}").format(
                    name=self.name, baud=baud, reason=_reason(error)
                )
            ) from error
        self._drop_wrong_bytes()

    def write(self, data: bytes) -> None:
        """Send all of `data`."""
        try:
            self._serial.write(data)
            self._serial.flush()
        except OSError as error:
            raise PortError(
                _("{name} was lost: {reason}").format(name=self.name, reason=_reason(error))
            ) from error

    def read(self, timeout_s: float) -> bytes:
        """Return what arrives within `timeout_s`, as soon as something does; empty: nothing."""
        data = b""
        try:
            self._serial.timeout = timeout_s
            data = self._serial.read(1)
            while data and len(data) < READ_SIZE and (waiting := self._serial.in_waiting):
                data += self._serial.read(waiting)
        except OSError as error:
            if not data:
                raise PortError(
                    _("{name} was lost: {reason}").format(name=self.name, reason=_reason(error))
                ) from error
        return bytes(data)


def _opened(name: str, baud: int, parity: str) -> Any:
    if name.startswith(UNIX):
        return LocalSocket(name, timeout=0)
    return serial.serial_for_url(name, baudrate=baud, parity=parity, timeout=0, exclusive=True)


def _is_pseudo_terminal(name: str) -> bool:
    return os.path.realpath(name).startswith("/dev/pts/")


def _reason(error: Exception) -> str:
    """Return why, without the words that pyserial puts around it."""
    inner = error.__cause__ or error.__context__ or error
    return system_reason(inner if isinstance(inner, Exception) else error)


def _hint(name: str, error: Exception) -> str:
    if name.startswith(UNIX):
        return _("does the concentrator run, and may you use its console?")
    if "://" in name:
        return _("is the concentrator listening there? The form is socket://HOST:PORT")
    if isinstance(error.__context__, BlockingIOError):
        return _("another program uses it: end that one first")
    return _("is the cable in, and may you use it (group dialout)?")
