"""Ask a server of the network for the time by SNTP, without waiting, on boards with sockets.

    request   23 0 .. 0 | a random number 8                       48 bytes
    reply     mode 4, stratum 1..15 | .. | that number 8 at 24 | .. | seconds since 1900 4 at 40

Spec: RFC 4330.
"""

import os
import socket
import time

from micropython import const

from boards.link import scattered
from boards.names import Name

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from boards.link import Link

_PORT = const(123)
_SIZE = const(48)
_ASK_AGAIN_MS = const(10000)
# 2000-01-01 in seconds since 1900; the difference is right until 2136.
_EPOCH_S = const(3155673600)
_U32 = const(0xFFFFFFFF)


class Sntp:
    """A client of the server `host`; local standard time is `offset_s` ahead of UTC."""

    def __init__(
        self, host: str, offset_s: int, port: int = _PORT, link: "Link | None" = None
    ) -> None:
        self._name = Name(host, port, link)
        self._offset_s = offset_s
        self._socket: socket.socket | None = None
        self._mark = b""
        self._asked_ticks = 0
        self._wait_ms = 0

    def now_t2000(self) -> int:
        """Return local standard time once for each reply; else ask the server and return -1."""
        now_ticks = time.ticks_ms()
        try:
            if self._socket is not None:
                reply = self._receive(self._socket)
                if reply >= 0:
                    self._close()
                    return reply
                if time.ticks_diff(now_ticks, self._asked_ticks) < self._wait_ms:
                    return -1
            self._close()
            self._asked_ticks = now_ticks
            self._wait_ms = scattered(_ASK_AGAIN_MS)
            self._ask()
        except OSError:
            self._close()
        return -1

    def _ask(self) -> None:
        address = self._name.find()
        if address is None:
            return
        self._socket = asked = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        asked.setblocking(False)
        self._mark = os.urandom(8)
        asked.sendto(b"\x23" + bytes(_SIZE - 9) + self._mark, address)

    def _receive(self, asked: socket.socket) -> int:
        """Return the time of the reply in seconds since 2000, -1 without a valid reply."""
        try:
            reply = asked.recv(_SIZE)
        except OSError:
            return -1
        if len(reply) < _SIZE or reply[0] & 7 != 4 or not 0 < reply[1] < 16:
            return -1
        if reply[24:32] != self._mark:
            return -1
        return (int.from_bytes(reply[40:44], "big") - _EPOCH_S & _U32) + self._offset_s

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
