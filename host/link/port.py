"""A device's line: a serial port, a pseudo terminal, `socket://HOST:PORT` or `unix:PATH`."""

import contextlib
import os
from typing import Any
from urllib.parse import urlsplit

import serial

from host.closing import Closing
from host.link.unix_socket import UNIX, LocalSocket
from host.words import _, system_reason

try:
    import termios
except ImportError:  # Windows: the driver drops such a byte or not, as its settings say
    termios = None  # type: ignore[assignment]  # looked at before it is used

BAUD = 115_200
# What pyserial opens by a URL.
_NETWORK_SCHEMES = ("socket", "rfc2217")
_SCHEMES = (*_NETWORK_SCHEMES, "hwgrep", "loop", "spy")
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
                    name=name, reason=system_reason(error), hint=_hint(name, error)
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
                    name=self.name, baud=baud, reason=system_reason(error)
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
                _("{name} was lost: {reason}").format(name=self.name, reason=system_reason(error))
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
                    _("{name} was lost: {reason}").format(
                        name=self.name, reason=system_reason(error)
                    )
                ) from error
        return bytes(data)


def _opened(name: str, baud: int, parity: str) -> Any:
    if name.startswith(UNIX):
        return LocalSocket(name, timeout=0)
    _check_url(name)
    return serial.serial_for_url(name, baudrate=baud, parity=parity, timeout=0, exclusive=True)


def _check_url(name: str) -> None:
    """Raise ValueError, with a sentence, where a name looks like a URL and cannot be one."""
    scheme, is_url, _rest = name.partition("://")
    if not is_url:
        return
    if scheme not in _SCHEMES:
        raise ValueError(_("{scheme}:// is not known").format(scheme=scheme))
    parts = urlsplit(name)
    try:
        number = parts.port
    except ValueError:
        number = None
    if scheme in _NETWORK_SCHEMES and not (parts.hostname and number):
        raise ValueError(_("a host and a port from 1 to 65535 belong into it"))


def _is_pseudo_terminal(name: str) -> bool:
    return os.path.realpath(name).startswith("/dev/pts/")


def _hint(name: str, error: Exception) -> str:
    if name.startswith(UNIX):
        return _("does the concentrator run, and may you use its console?")
    if isinstance(error, ValueError) and "://" in name:
        return _("the forms are socket://HOST:PORT and unix:PATH")
    if "://" in name:
        return _("does a program listen there, and does a firewall let it through?")
    if termios is not None and isinstance(error.__context__, termios.error):
        return _("give a serial port, like /dev/ttyUSB0: `dianka ports` lists them")
    if isinstance(error.__context__, BlockingIOError):
        return _("another program uses it: end that one first")
    return _("is the cable in, and may you use it (group dialout)? `dianka ports` lists them")
