"""Connect the uplink over TCP, on any board with sockets."""

import errno
import select
import socket
import time

from micropython import const

from boards.link import scattered
from boards.names import Name

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from boards.link import Link

GONE = select.POLLHUP | select.POLLERR
_RECONNECT_MS = const(1000)


class TcpClient:
    """A `Channel` that connects to one address again and again, without waiting."""

    def __init__(self, host: str, port: int, link: "Link | None" = None) -> None:
        self.connection = 0
        self.waiting = 0
        self._ready = 0
        self._name = Name(host, port, link)
        self._count = 0
        self._socket: socket.socket | None = None
        self._poll = select.poll()
        self._next_ticks = time.ticks_ms()

    def look(self) -> None:
        """Continue to connect, and update `waiting`."""
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
            self._name.count(True)
            self._count += 1
            self.connection = self._count
            self.waiting = 1  # for a greeting: who waits for bytes does not sleep on

    def read_into(self, buf: bytearray) -> int:
        """Put the bytes that have arrived into `buf`; return how many."""
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
        """Send bytes; return how many were accepted, 0: try again later."""
        if self._socket is None or self.connection == 0:
            return 0
        try:
            return self._socket.send(buf)
        except OSError as error:
            if error.errno != errno.EAGAIN:
                self.close()
            return 0

    def close(self) -> None:
        """End the connection; `look` makes a new one."""
        if self._socket is not None:
            if not self.connection:
                self._name.count(False)
            self._poll.unregister(self._socket)
            self._socket.close()
            self._socket = None
        self.connection = self.waiting = self._ready = 0
        self._wait()

    def _wait(self) -> None:
        """Connect again after 0.5 to 1.5 s, so that many boards do not come at once."""
        self._next_ticks = time.ticks_add(time.ticks_ms(), scattered(_RECONNECT_MS))

    def _begin(self) -> None:
        """Start a connection if the address is known."""
        address = self._name.find()
        if address is None:
            self._wait()
            return
        self._socket = socket.socket()
        self._poll.register(self._socket, select.POLLIN | select.POLLOUT)
        try:
            self._socket.setblocking(False)
            self._socket.connect(address)
        except OSError as error:
            if error.errno != errno.EINPROGRESS:
                self.close()


def events_of(poll: select.poll) -> int:
    """Return the events of the only object that is registered, 0: none."""
    events = poll.poll(0)
    return events[0][1] if events else 0
