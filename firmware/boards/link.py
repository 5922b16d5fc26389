"""Keep a network reachable: the base of a Wi-Fi and of a cable.

The state is looked at once a second, because not every chip connects again by itself. Attempts
come about 15 s apart, then twice as long each time up to 5 minutes, give or take a half by chance:
after a blackout all boards of a street start at once. An error of the chip, also at the start, is
one more attempt that failed.
"""

import os
import time

from micropython import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from typing import Any

_LOOK_MS = const(1000)
_TRY_MS = const(15000)
_TRY_MOST_MS = const(300000)
_NO_SERVER = ("", "0.0.0.0")


def scattered(wait_ms: int) -> int:
    """Return a random time between half of `wait_ms` and one and a half of it."""
    return (wait_ms >> 1) + (wait_ms * os.urandom(1)[0] >> 8)


class Link:
    """A network; a class of its own for each kind has `begin`.

    up          the network can be reached
    interface   an object of the module `network`, None before the first attempt has begun
    """

    def __init__(self) -> None:
        self.up = False
        self.interface: Any = None
        self._wait_ms = _TRY_MS
        self._looked_ticks = self._next_ticks = time.ticks_ms()
        self._try()

    def begin(self) -> "Any":
        """Begin to connect without waiting, and return the interface; an OSError is a failure."""
        raise NotImplementedError

    def look(self) -> None:
        """Update `up`, and connect again when the next attempt is due."""
        now_ticks = time.ticks_ms()
        if time.ticks_diff(now_ticks, self._looked_ticks) < _LOOK_MS:
            return
        self._looked_ticks = now_ticks
        try:
            self.up = self.interface is not None and self.interface.isconnected()
        except OSError:
            self.up = False
        if self.up:
            self._wait_ms = _TRY_MS
            self._next_ticks = time.ticks_add(now_ticks, _TRY_MS)
        elif time.ticks_diff(now_ticks, self._next_ticks) >= 0:
            self._try()

    def name_server(self) -> str:
        """Return the address of the network's name server in digits, "" when it has none."""
        try:
            found = self.interface.ifconfig()[3] if self.interface is not None else ""
        except OSError:
            return ""
        return "" if found in _NO_SERVER else found

    def _try(self) -> None:
        self._next_ticks = time.ticks_add(time.ticks_ms(), scattered(self._wait_ms))
        self._wait_ms = min(2 * self._wait_ms, _TRY_MOST_MS)
        try:
            self.interface = self.begin()
        except OSError:
            return
