"""Join a Wi-Fi, on the ports whose chip may have a radio."""

from micropython import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from boards.wiring import Options


def join(options: "Options") -> None:
    """Begin to join the network `ssid` with `key`; the chip rejoins by itself after a loss."""
    try:
        import network
    except ImportError:
        raise options.refusal("ssid", "this chip has no radio") from None
    station = network.WLAN(network.STA_IF)
    station.active(True)
    station.connect(options.text("ssid"), options.text("key"))
