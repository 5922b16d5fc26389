"""Keep a Wi-Fi joined, or watch a cable, on the ports that have one.

The state is looked at once a second, because not every chip joins again by itself. Attempts come
15 s apart, then twice as long each time up to 5 minutes, a part of it by chance: after a blackout
all boards of a street start at once. An error of the chip is one more attempt that failed.
"""

import os
import time

from micropython import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from boards.wiring import Options

_LOOK_MS = const(1000)
_JOIN_MS = const(15000)
_JOIN_MOST_MS = const(300000)


class Wifi:
    """The network `ssid` with `key`.

    up      the network can be reached
    """

    def __init__(self, options: "Options") -> None:
        try:
            import network
        except ImportError:
            raise options.refusal("ssid", "this chip has no radio") from None
        self.up = False
        self._ssid = options.text("ssid")
        self._key = options.text("key")
        self._station: network.WLAN = network.WLAN(network.STA_IF)
        self._wait_ms = _JOIN_MS
        self._looked_ticks = self._next_ticks = time.ticks_ms()
        self._join()

    def look(self) -> None:
        """Update `up`, and join again when the next attempt is due."""
        now_ticks = time.ticks_ms()
        if time.ticks_diff(now_ticks, self._looked_ticks) < _LOOK_MS:
            return
        self._looked_ticks = now_ticks
        try:
            self.up = self._station.isconnected()
        except OSError:
            self.up = False
        if self.up:
            self._wait_ms = _JOIN_MS
            self._next_ticks = time.ticks_add(now_ticks, _JOIN_MS)
        elif time.ticks_diff(now_ticks, self._next_ticks) >= 0:
            self._join()

    def _join(self) -> None:
        jitter_ms = self._wait_ms * os.urandom(1)[0] >> 9
        self._next_ticks = time.ticks_add(time.ticks_ms(), self._wait_ms + jitter_ms)
        self._wait_ms = min(2 * self._wait_ms, _JOIN_MOST_MS)
        station = self._station
        try:
            if not station.active():
                station.active(True)
            else:
                # A chip that still tries refuses another attempt.
                station.disconnect()
            station.connect(self._ssid, self._key)
        except OSError:
            return
