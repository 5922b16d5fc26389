"""The console of a process on this computer, at a Unix socket or a TCP port of loopback.

A process has its console on a pseudo terminal. `Bridge` serves that to one client at a time, as a
serial line has one user.
"""

import contextlib
import os
import select
import socket
import threading
from pathlib import Path
from typing import Any

from host.closing import Closing
from host.link.port import PortError
from host.link.pty import PtyPort
from host.link.unix_socket import UNIX
from host.words import _, system_reason

_LOOPBACK = ("127.0.0.1", "localhost")
_READ_SIZE = 4096


class Bridge(Closing):
    """Serves `terminal` at `place`, a path behind unix: or HOST:PORT, until it is closed.

    url     what a client gives as its --port
    """

    def __init__(self, terminal: PtyPort, place: str) -> None:
        """Listen; PortError: another process does, or the place is none."""
        self._terminal = terminal
        self._path: Path | None = None
        try:
            if place.startswith(UNIX):
                self._path = Path(place.removeprefix(UNIX))
                self._server = _unix_server(self._path)
                self.url = place
            else:
                self._server = _tcp_server(place)
                host, port = self._server.getsockname()
                self.url = f"socket://{host}:{port}"
        except OSError as error:
            raise PortError(
                _("cannot listen at {place}: {reason}").format(
                    place=place, reason=system_reason(error)
                )
            ) from error
        self._woken, self._waker = os.pipe()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the connection and listen no more."""
        os.write(self._waker, b"\0")
        self._thread.join()
        self._server.close()
        for handle in (self._woken, self._waker):
            os.close(handle)
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _serve(self) -> None:
        client: socket.socket | None = None
        while True:
            sources: list[Any] = [self._server, self._woken, self._terminal.handle]
            ready, _out, _err = select.select(
                sources if client is None else [*sources, client], [], []
            )
            if self._woken in ready:
                break
            if self._server in ready:
                client = self._accepted(client)
            if self._terminal.handle in ready:
                client = self._to_client(client, self._terminal.read(0))
            if client is not None and client in ready:
                client = self._from_client(client)
        if client is not None:
            client.close()

    def _accepted(self, client: socket.socket | None) -> socket.socket | None:
        """Return the client that is served: a second one is turned away."""
        made = self._server.accept()[0]
        if client is not None:
            made.close()
            return client
        # What the device has said to nobody belongs to no client.
        self._terminal.read(0)
        return made

    @staticmethod
    def _to_client(client: socket.socket | None, data: bytes) -> socket.socket | None:
        if client is None:
            return None
        try:
            client.sendall(data)
        except OSError:
            client.close()
            return None
        return client

    def _from_client(self, client: socket.socket) -> socket.socket | None:
        data = b""
        with contextlib.suppress(OSError):
            data = client.recv(_READ_SIZE)
        if not data:
            client.close()
            return None
        with contextlib.suppress(PortError):  # a device that reads nothing loses what is sent
            self._terminal.write(data)
        return client


def _unix_server(path: Path) -> socket.socket:
    """Return a server that only this user may reach; a socket that a dead process left goes."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    if path.is_socket():
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            if probe.connect_ex(str(path)):
                path.unlink()
    mask = os.umask(0o177)
    try:
        made.bind(str(path))
        made.listen()
    except OSError:
        made.close()
        raise
    finally:
        os.umask(mask)
    return made


def _tcp_server(place: str) -> socket.socket:
    host, _colon, port = place.rpartition(":")
    if host not in _LOOPBACK or not port.isdecimal() or int(port) > 65535:
        raise PortError(
            _(
                "{place}: write unix:PATH or 127.0.0.1:PORT; a console is for this computer alone"
            ).format(place=place)
        )
    return socket.create_server((host, int(port)))
