"""A Unix socket as a serial port, for the console of a process on this computer."""

import socket
from typing import Any

from serial import SerialException
from serial.urlhandler import protocol_socket

UNIX = "unix:"


class LocalSocket(protocol_socket.Serial):
    """A serial port that is a Unix socket: its name is unix:PATH."""

    def from_url(self, url: str) -> Any:
        """Return the path, where pyserial expects a host and a port."""
        return url.removeprefix(UNIX).removeprefix("//")

    def open(self) -> None:
        """Connect; SerialException: nobody listens there."""
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            made.connect(self.from_url(str(self.portstr)))
        except OSError as error:
            made.close()
            raise SerialException(str(error)) from error
        made.setblocking(False)
        self.logger = None
        self._socket = made
        self.is_open = True
