"""Look up the address of a name, rarely and only with a link, because `getaddrinfo` blocks.

Without a name server a look-up blocks for 7 s. A name is looked up while there is no address, and
again after ten failures to connect; the last address is kept until a new one is found. An address
in digits needs no time.
"""

import socket
import time

from micropython import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from typing import Protocol

    Address = tuple[str, int] | tuple[str, int, int, int]

    class Link(Protocol):
        """A Wi-Fi or a cable."""

        # Whether the network can be reached.
        up: bool

        def look(self) -> None:
            """Update `up`, and connect again when the next attempt is due."""


# After this many failed connections in a row the name is looked up again.
_FAILURES = const(10)
_NAME_MS = const(1000)
_NAME_MOST_MS = const(600000)


class Name:
    """The address of `host` and `port`; `link` None: the network is always there."""

    def __init__(self, host: str, port: int, link: "Link | None") -> None:
        self._host = host
        self._port = port
        self._link = link
        self._address: Address | None = None
        self._failures = 0
        self._wait_ms = _NAME_MS
        self._next_ticks = time.ticks_ms()

    def find(self) -> "Address | None":
        """Return the address, None while there is no link or none has been found."""
        if self._link is not None and not self._link.up:
            return None
        now_ticks = time.ticks_ms()
        wanted = self._address is None or self._failures >= _FAILURES
        if wanted and time.ticks_diff(now_ticks, self._next_ticks) >= 0:
            try:
                self._address = socket.getaddrinfo(self._host, self._port)[0][-1]
                self._failures = 0
                self._wait_ms = _NAME_MS
            except OSError:
                self._next_ticks = time.ticks_add(time.ticks_ms(), self._wait_ms)
                self._wait_ms = min(2 * self._wait_ms, _NAME_MOST_MS)
        return self._address

    def count(self, works: bool) -> None:
        """Note that the address works, or that it did not answer."""
        self._failures = 0 if works else self._failures + 1
