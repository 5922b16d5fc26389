"""Use the Ethernet of a port: the STM32's own, or an ESP32's with a PHY on its pins.

    {"lan": {}}                                                     the port knows its pins
    {"lan": {"mdc": 23, "mdio": 18, "power": 16, "phy": "LAN8720", "address": 1}}       ESP32

DHCP gives the address. `phy` is one of those that the port's module `network` has, as PHY_LAN8720.
"""

from boards.link import Link
from boards.wiring import REFUSALS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from boards.wiring import Options

_PHY = "PHY_"


class Lan(Link):
    """The Ethernet that the key lan of the uplink describes."""

    def __init__(self, options: "Options") -> None:
        try:
            import network

            self._make = network.LAN
        except (ImportError, AttributeError):
            raise options.refusal("", "this port has no Ethernet") from None
        self._options: dict[str, Any] = options.pins("mdc", "mdio", "power")
        if "address" in options:
            self._options["phy_addr"] = options.number("address", 0, 31)
        if "phy" in options:
            known = [name[len(_PHY) :] for name in dir(network) if name.startswith(_PHY)]
            phy = getattr(network, _PHY + options.choice("phy", known))
            self._options["phy_type"] = phy
        self._refusal = options.refusal("", "this board has no Ethernet on these pins")
        options.end()
        super().__init__()

    def begin(self) -> "Any":
        """Switch the interface on, and return it; an OSError is a failure."""
        interface = self.interface
        if interface is None:
            try:
                interface = self._make(**self._options)
            except REFUSALS as error:
                if isinstance(error, OSError):
                    raise
                raise self._refusal from None
        interface.active(True)
        return interface
