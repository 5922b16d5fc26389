"""Join a Wi-Fi, on the ports that have a radio."""

from boards.link import Link

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boards.wiring import Options


class Wifi(Link):
    """The network that the keys ssid and key of the uplink name."""

    def __init__(self, options: "Options") -> None:
        try:
            import network
        except ImportError:
            raise options.refusal("ssid", "this chip has no radio") from None
        self._network = network
        self._ssid = options.text("ssid")
        self._key = options.text("key")
        super().__init__()

    def begin(self) -> "Any":
        """Begin to join, and return the station; an OSError is a failure."""
        station = self._network.WLAN(self._network.STA_IF)
        if not station.active():
            station.active(True)
        else:
            # A chip that still tries refuses another attempt.
            station.disconnect()
        station.connect(self._ssid, self._key)
        return station
