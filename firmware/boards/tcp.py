"""The uplink over TCP, on any board with sockets."""

import errno
import select
import socket
import time

from micropython import const

GONE = select.POLLHUP | select.POLLERR
_RECONNECT_MS = const(1000)


class TcpClient:
    """A `Channel` that keeps connecting to one address and never waits for it."""

    def __init__(self, host: str, port: int) -> None:
        self.connection = 0
        self.waiting = 0
        self._ready = 0
        self._host = host
        self._port = port
        self._count = 0
        self._address: tuple[str, int] | tuple[str, int, int, int] | None = None
        self._socket: socket.socket | None = None
        self._poll = select.poll()
        self._next_ticks = time.ticks_ms()

    def look(self) -> None:
        """Bring the connection on, and `waiting` up to date."""
        if self._socket is None:
            if time.ticks_diff(time.ticks_ms(), self._next_ticks) >= 0:
                self._begin()
            return
        self._ready = events_of(self._poll)
        if self.connection:
            if self._ready & (select.POLLIN | GONE):
                self.waiting = 1
        elif self._ready & GONE:
            self.close()
        elif self._ready & select.POLLOUT:
            self._count += 1
            self.connection = self._count

    def read_into(self, buf: bytearray) -> int:
        """Put what has arrived into `buf`; return how many bytes, 0: nothing."""
        self.waiting = 0
        if self._socket is None or self.connection == 0:
            return 0
        try:
            size = self._socket.readinto(buf)
        except OSError as error:
            if error.errno != errno.EAGAIN:
                self.close()
            return 0
        if size == 0:
            self.close()
        return size or 0

    def write(self, buf: memoryview) -> int:
        """Send; return how many bytes were taken, 0: try again later."""
        if self._socket is None or self.connection == 0:
            return 0
        try:
            return self._socket.send(buf)
        except OSError as error:
            if error.errno != errno.EAGAIN:
                self.close()
            return 0

    def close(self) -> None:
        """Give the connection up; `look` makes a new one."""
        if self._socket is not None:
            self._poll.unregister(self._socket)
            self._socket.close()
            self._socket = None
        self.connection = self.waiting = self._ready = 0
        self._next_ticks = time.ticks_add(time.ticks_ms(), _RECONNECT_MS)

    def _begin(self) -> None:
        """Start a connection; a name is looked up until it was found once."""
        self._socket = socket.socket()
        self._poll.register(self._socket, select.POLLIN | select.POLLOUT)
        try:
            if self._address is None:
                self._address = socket.getaddrinfo(self._host, self._port)[0][-1]
            self._socket.setblocking(False)
            self._socket.connect(self._address)
        except OSError as error:
            if error.errno != errno.EINPROGRESS:
                self.close()


def events_of(poll: select.poll) -> int:
    """What the one thing registered is ready for."""
    events = poll.poll(0)
    return events[0][1] if events else 0
