"""Joining a Wi-Fi, on the ports whose chip may have a radio."""

from boards import BoardError


def join(ssid: str, key: str) -> None:
    """Begin to join, and join again by itself after a loss. BoardError: the chip has no radio."""
    try:
        import network
    except ImportError:
        raise BoardError("board.json: uplink.ssid: this chip has no radio") from None
    station = network.WLAN(network.STA_IF)
    station.active(True)
    station.connect(ssid, key)
