"""The chips that a board.json can be for: their pins, UARTs, buses and what else they have."""

from dataclasses import dataclass, field

from host.words import marked

# The pins that a UART or a bus can use for each of its keys; None: any pin.
Places = tuple[frozenset[int], ...] | None


@dataclass(frozen=True)
class Chip:
    """The pins and UARTs of a chip.

    pins        those that exist
    taken       pin -> why it cannot be used
    avoid       pin -> why it makes trouble
    inputs      those that can only be read, and have no pull-up
    uarts       number -> pins for tx, and for rx; None: any pin
    i2cs        number -> pins for scl, and for sda; None: any pin
    spis        number -> pins for sck, mosi and miso; None: any pin
    has_names   its pins have names, and its UARTs and buses choose theirs
    phys        what its Ethernet knows, as MicroPython 1.25 names them; empty: it has none
    """

    title: str
    pins: frozenset[int]
    taken: dict[int, str] = field(default_factory=dict)
    avoid: dict[int, str] = field(default_factory=dict)
    inputs: frozenset[int] = frozenset()
    uarts: dict[int, Places] = field(default_factory=dict)
    i2cs: dict[int, Places] = field(default_factory=dict)
    spis: dict[int, Places] = field(default_factory=dict)
    longest_watchdog_ms: int = 0
    has_wifi: bool = True
    phys: tuple[str, ...] = ()
    has_names: bool = False
    needs_flash: bool = False

    @property
    def has_lan(self) -> bool:
        """Return whether the port has an Ethernet of its own."""
        return bool(self.phys)


def _these(pins: str) -> frozenset[int]:
    """Return the pins of a text such as "0-5 12": ranges and numbers."""
    found: set[int] = set()
    for part in pins.split():
        first, _dash, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


def _because(pins: str, why: str) -> dict[int, str]:
    return dict.fromkeys(_these(pins), why)


_START = marked("it decides how the chip starts")
_OWN_FLASH = marked("the flash is on it")
_PROMPT = marked("the prompt is on it")
_ANY: dict[int, Places] = {1: None, 2: None}
_TWO: dict[int, Places] = {0: None, 1: None}
_ESP32_PHYS = ("DP83848", "IP101", "KSZ8041", "KSZ8081", "LAN8710", "LAN8720", "RTL8201")
_STM32_PHYS = ("DP83825", "DP83848", "LAN8720", "LAN8742")
_PICO = Chip(
    marked("Raspberry Pi Pico W"),
    _these("0-29"),
    taken=_because("23-25 29", marked("the radio is on it")),
    uarts={
        0: (_these("0 12 16 28"), _these("1 13 17 29")),
        1: (_these("4 8 20 24"), _these("5 9 21 25")),
    },
    i2cs={
        0: (_these("1 5 9 13 17 21 25 29"), _these("0 4 8 12 16 20 24 28")),
        1: (_these("3 7 11 15 19 23 27"), _these("2 6 10 14 18 22 26")),
    },
    spis={
        0: (_these("2 6 18 22"), _these("3 7 19 23"), _these("0 4 16 20")),
        1: (_these("10 14 26"), _these("11 15 27"), _these("8 12 24 28")),
    },
    longest_watchdog_ms=8388,
)
_WROOM = Chip(
    "ESP32-WROOM",
    _these("0-19 21-23 25-27 32-39"),
    taken=_because("6-11", _OWN_FLASH) | _because("1 3", _PROMPT),
    avoid=_because("0 2 5 12 15", _START),
    inputs=_these("34-39"),
    uarts=_ANY,
    i2cs=_TWO,
    spis=_ANY,
    phys=_ESP32_PHYS,
)
CHIPS = {
    "esp32": _WROOM,
    "esp32-wrover": Chip(
        "ESP32-WROVER",
        _WROOM.pins,
        taken=_WROOM.taken | _because("16 17", marked("the PSRAM is on it")),
        avoid=_WROOM.avoid,
        inputs=_WROOM.inputs,
        uarts=_ANY,
        i2cs=_TWO,
        spis=_ANY,
        phys=_ESP32_PHYS,
    ),
    "esp32s3": Chip(
        "ESP32-S3",
        _these("0-21 26-48"),
        taken=_because("26-32", _OWN_FLASH) | _because("43 44", _PROMPT),
        avoid=_because("0 3 45 46", _START)
        | _because("19 20", marked("USB is on it"))
        | _because("33-37", marked("an octal PSRAM is on it")),
        uarts=_ANY,
        i2cs=_TWO,
        spis=_ANY,
    ),
    "pico-w": _PICO,
    "pico2-w": Chip(
        marked("Raspberry Pi Pico 2 W"),
        _PICO.pins,
        taken=_PICO.taken,
        uarts=_PICO.uarts,
        i2cs=_PICO.i2cs,
        spis=_PICO.spis,
        longest_watchdog_ms=_PICO.longest_watchdog_ms,
    ),
    "stm32f4": Chip(
        "STM32F4",
        frozenset(),
        uarts=dict.fromkeys(range(1, 7)),
        i2cs=dict.fromkeys(range(1, 4)),
        spis=dict.fromkeys(range(1, 7)),
        longest_watchdog_ms=32760,
        has_wifi=False,
        phys=_STM32_PHYS,
        has_names=True,
        needs_flash=True,
    ),
}
