"""Judge a board.json on a computer: its keys and ranges, and the pins of the chip it is for.

A value that the board itself would refuse is an error, named by its key as the board names it. A
pin that exists and makes trouble, as one that decides how the chip starts, is a warning.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from host.words import _, marked

Pin = Annotated[int, Field(ge=0, le=99)] | str
Baud = Annotated[int, Field(ge=300, le=921600)]
Parity = Literal[0, 1] | None


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Wires(_Part):
    tx: Pin | None = None
    rx: Pin | None = None
    direction: Pin | None = None
    baud: Baud | None = None
    parity: Parity = None


class _Serial(_Wires):
    uart: int = Field(ge=0)


class _Lan(_Part):
    mdc: Pin | None = None
    mdio: Pin | None = None
    power: Pin | None = None
    phy: str | None = None
    address: int | None = Field(None, ge=0, le=31)


class _Uplink(_Wires):
    uart: int | None = Field(None, ge=0)
    host: str | None = None
    port: int | None = Field(None, ge=1, le=65535)
    ssid: str | None = None
    key: str | None = None
    lan: _Lan | None = None


class _Console(_Wires):
    """A UART, or the board's own USB."""

    uart: int | None = Field(None, ge=0)
    usb: bool | None = None


class _Display(_Part):
    i2c: int = Field(ge=0)
    scl: Pin | None = None
    sda: Pin | None = None
    address: int = Field(39, ge=8, le=119)
    columns: int = Field(16, ge=8, le=20)


class _Rtc(_Part):
    chip: Literal["ds1307", "ds1338", "ds3231", "pcf8563"]
    i2c: int = Field(ge=0)
    scl: Pin | None = None
    sda: Pin | None = None


class _Sntp(_Part):
    host: str
    offset_s: int = Field(28800, ge=0)


class _Flash(_Part):
    spi: int = Field(ge=0)
    cs: Pin
    sck: Pin | None = None
    mosi: Pin | None = None
    miso: Pin | None = None
    fram_kib: int = Field(0, ge=0, le=16384)


def _digits(size: int) -> Any:
    """Return a field of `size` bytes in hexadecimal digits, which may be left out."""
    return Field(None, pattern=f"^[0-9a-fA-F]{{{2 * size}}}$")


class _CpuFile(_Part):
    """A file of a CPU card, as docs/CHIPS.md shows it."""

    path: list[Annotated[str, Field(pattern="^([^0].*|0|0[^x].*|0x([0-9a-fA-F]{2})*)$")]]
    size: int = Field(256, ge=64, le=32768)
    cipher: Literal["aes", "sm4"] | None = None
    key: str | None = _digits(16)
    key_number: int | None = Field(None, ge=0, le=255)


class _Sle4442(_Part):
    chip: Literal["sle4442"]
    io: Pin
    clk: Pin
    rst: Pin
    detect: Pin
    power: Pin
    psc: str | None = _digits(3)


class _At24(_Part):
    chip: Literal["at24"]
    i2c: int = Field(ge=0)
    scl: Pin | None = None
    sda: Pin | None = None
    size: int = Field(256, ge=256, le=65536)
    page_size: int = Field(8, ge=8, le=128)
    address: int = Field(0x50, ge=0x50, le=0x57)


class _Pn532(_Wires):
    """On a UART or on SPI."""

    chip: Literal["pn532"]
    spi: int | None = Field(None, ge=0)
    uart: int | None = Field(None, ge=0, validate_default=True)
    sck: Pin | None = None
    mosi: Pin | None = None
    miso: Pin | None = None
    cs: Pin | None = Field(None, validate_default=True)
    key: str | None = _digits(6)
    file: _CpuFile | None = None

    @field_validator("uart", "cs")
    @classmethod
    def _is_there(cls, value: object, info: ValidationInfo) -> object:
        """Refuse a UART that is missing where no SPI is named, and an SPI without a cs."""
        if value is None and (info.data.get("spi") is None) == (info.field_name == "uart"):
            raise ValueError(_("give the reader a uart, or spi and cs"))
        return value


class _T0(_Serial):
    chip: Literal["t0"]
    reset: Pin
    detect: Pin
    power: Pin
    clk: Pin | None = None
    echo: bool = True
    file: _CpuFile


_Card = Annotated[_Sle4442 | _At24 | _Pn532 | _T0, Field(discriminator="chip")]
_CARDS = frozenset(("sle4442", "at24", "pn532", "t0"))


class Wiring(_Part):
    """A board.json."""

    capacity: list[Annotated[int, Field(ge=1)]] = Field([256, 4], min_length=2, max_length=2)
    lines: list[_Serial] = Field(min_length=1)
    console: _Console | None = None
    uplink: _Uplink | None = None
    card: _Card | None = None
    lamps: list[Pin] = []
    buzzer: Pin | None = None
    button: Pin | None = None
    rtc: _Rtc | None = None
    sntp: _Sntp | None = None
    flash: _Flash | None = None
    display: _Display | None = None
    door: Pin | None = None
    power_fail: Pin | None = None
    log: bool = True
    entropy: bool | None = None
    watchdog_ms: int | None = Field(None, ge=1000)


# Keys that name a pin, whatever object they stand in.
_PIN_KEYS = frozenset(
    (
        *("tx", "rx", "direction", "scl", "sda", "cs", "sck", "mosi", "miso", "buzzer", "button"),
        *(
            "io",
            "clk",
            "rst",
            "reset",
            "detect",
            "power",
            "lamps",
            "mdc",
            "mdio",
            "door",
            "power_fail",
        ),
    )
)
# Contacts to ground, which need a pull-up.
_PULLED_KEYS = frozenset(("button", "detect", "door"))
_I2C_KEYS = frozenset(("scl", "sda"))
_OUTPUT_KEYS = _PIN_KEYS - {"rx", "detect", "button", "miso", "door", "power_fail"}


# Files of the firmware that a board needs only for the keys named here. An image for one
# board.json leaves the others out.
DRIVERS: dict[str, tuple[str, ...]] = {
    "boards/contacts.py": ("door", "power_fail"),
    "boards/display.py": ("display",),
    "boards/lan.py": ("uplink.lan",),
    "boards/link.py": ("uplink.lan", "uplink.ssid"),
    "boards/names.py": ("uplink.host", "sntp"),
    "boards/nor.py": ("flash",),
    "boards/sntp.py": ("sntp",),
    "boards/tcp.py": ("uplink.host",),
    "boards/usb.py": ("console.usb",),
    "boards/wifi.py": ("uplink.ssid",),
}


def unused_drivers(content: Any) -> frozenset[str]:
    """Return the files of DRIVERS that a board with this board.json does not need."""
    return frozenset(
        name for name, keys in DRIVERS.items() if not any(_has(content, key) for key in keys)
    )


def _has(content: Any, key: str) -> bool:
    """Return whether board.json has the key, such as uplink.ssid."""
    first, _dot, rest = key.partition(".")
    if not isinstance(content, dict) or first not in content:
        return False
    return _has(content[first], rest) if rest else True


@dataclass(frozen=True)
class Chip:
    """The pins and UARTs of a chip.

    pins        those that exist
    taken       pin -> why it cannot be used
    avoid       pin -> why it makes trouble
    inputs      those that can only be read, and have no pull-up
    uarts       number -> pins for tx, and for rx; None: any pin
    """

    title: str
    pins: frozenset[int]
    taken: dict[int, str] = field(default_factory=dict)
    avoid: dict[int, str] = field(default_factory=dict)
    inputs: frozenset[int] = frozenset()
    uarts: dict[int, tuple[frozenset[int], frozenset[int]] | None] = field(default_factory=dict)
    longest_watchdog_ms: int = 0
    has_wifi: bool = True
    has_lan: bool = False
    has_names: bool = False
    needs_flash: bool = False


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
_ANY: dict[int, tuple[frozenset[int], frozenset[int]] | None] = {1: None, 2: None}
_PICO = Chip(
    marked("Raspberry Pi Pico W"),
    _these("0-29"),
    taken=_because("23-25 29", marked("the radio is on it")),
    uarts={
        0: (_these("0 12 16 28"), _these("1 13 17 29")),
        1: (_these("4 8 20 24"), _these("5 9 21 25")),
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
    has_lan=True,
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
        has_lan=True,
    ),
    "esp32s3": Chip(
        "ESP32-S3",
        _these("0-21 26-48"),
        taken=_because("26-32", _OWN_FLASH) | _because("43 44", _PROMPT),
        avoid=_because("0 3 45 46", _START)
        | _because("19 20", marked("USB is on it"))
        | _because("33-37", marked("an octal PSRAM is on it")),
        uarts=_ANY,
    ),
    "pico-w": _PICO,
    "pico2-w": Chip(
        marked("Raspberry Pi Pico 2 W"),
        _PICO.pins,
        taken=_PICO.taken,
        uarts=_PICO.uarts,
        longest_watchdog_ms=_PICO.longest_watchdog_ms,
    ),
    "stm32f4": Chip(
        "STM32F4",
        frozenset(),
        uarts=dict.fromkeys(range(1, 7)),
        longest_watchdog_ms=32760,
        has_wifi=False,
        has_lan=True,
        has_names=True,
        needs_flash=True,
    ),
}


def judge(content: object, chip: str) -> tuple[list[str], list[str]]:
    """Return the errors and the warnings for a board.json on a chip of CHIPS, "" for any."""
    try:
        wiring = Wiring.model_validate(content)
    except ValidationError as error:
        return [
            _refusal(_place_of(one["type"], one["loc"]), one["msg"]) for one in error.errors()
        ], []
    if not chip:
        return [], []
    made = CHIPS[chip]
    errors = list(_wrong_parts(wiring, made))
    warnings: list[str] = []
    users: dict[int | str, tuple[str, object]] = {}
    values = wiring.model_dump(exclude_none=True)
    for place, key, pin in _pins_of(values):
        # Parts on the same I2C share its wires.
        bus = (key, values[place.partition(".")[0]]["i2c"]) if key in _I2C_KEYS else place
        if pin in users and users[pin][1] != bus:
            errors.append(
                _("{place}: pin {pin} is that of {other} already").format(
                    place=place, pin=pin, other=users[pin][0]
                )
            )
        users[pin] = place, bus
        errors.extend(_wrong_pin(place, key, pin, made))
        if isinstance(pin, int) and pin in made.avoid:
            warnings.append(
                _("{place}: pin {pin} exists, but {why}").format(
                    place=place, pin=pin, why=_(made.avoid[pin])
                )
            )
        if pin in made.inputs and key in _PULLED_KEYS:
            warnings.append(
                _("{place}: pin {pin} has no pull-up: fit 10 k to 3.3 V").format(
                    place=place, pin=pin
                )
            )
    return errors, warnings


def _place_of(kind: str, place: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Return where the error is: a card whose chip is not known is wrong in its chip."""
    return (*place, "chip") if kind.startswith("union_tag") else place


def _refusal(place: tuple[int | str, ...], text: str) -> str:
    """Name the key as the board does: lines[0].tx."""
    name = ""
    for part in place:
        if isinstance(part, int):
            name += f"[{part}]"
        elif part not in ("int", "str", "constrained-int") and not (
            name == "card" and part in _CARDS
        ):
            name += f".{part}" if name else part
    return f"{name or 'it'}: {text}"


def _pins_of(part: Any, place: str = "", key: str = "") -> Iterator[tuple[str, str, int | str]]:
    """Yield the place of each pin, its key and the pin."""
    if isinstance(part, dict):
        for name, value in part.items():
            yield from _pins_of(value, f"{place}.{name}" if place else name, name)
    elif isinstance(part, list | tuple):
        for index, value in enumerate(part):
            yield from _pins_of(value, f"{place}[{index}]", key)
    elif key in _PIN_KEYS and isinstance(part, int | str) and not isinstance(part, bool):
        yield place, key, part


def _wrong_pin(place: str, key: str, pin: int | str, chip: Chip) -> Iterator[str]:
    if chip.has_names:
        if not isinstance(pin, str):
            yield _("{place}: a {chip} names its pins, such as A4").format(
                place=place, chip=chip.title
            )
        return
    if not isinstance(pin, int) or pin not in chip.pins:
        yield _("{place}: a {chip} has no pin {pin}").format(place=place, chip=chip.title, pin=pin)
    elif pin in chip.taken:
        yield _("{place}: pin {pin} is not to be had, {why}").format(
            place=place, pin=pin, why=_(chip.taken[pin])
        )
    elif pin in chip.inputs and key in _OUTPUT_KEYS:
        yield _("{place}: pin {pin} can only be read").format(place=place, pin=pin)


def _wrong_parts(wiring: Wiring, chip: Chip) -> Iterator[str]:
    """Return the mistakes that concern more than one pin."""
    used: dict[int, str] = {}
    parts: list[tuple[str, _Serial | _Console | _Uplink]] = [
        (f"lines[{index}]", line) for index, line in enumerate(wiring.lines)
    ]
    if wiring.console is not None:
        parts.append(("console", wiring.console))
    if wiring.uplink is not None:
        parts.append(("uplink", wiring.uplink))
    for place, part in parts:
        number = part.uart
        if number is None:
            continue
        if number not in chip.uarts:
            known = ", ".join(map(str, chip.uarts))
            yield _("{place}.uart: a {chip} has the UARTs {known}").format(
                place=place, chip=chip.title, known=known
            )
            continue
        if number in used:
            yield _("{place}.uart: UART {number} is that of {other} already").format(
                place=place, number=number, other=used[number]
            )
        used[number] = place
        yield from _wrong_uart_pins(place, part, chip)
    yield from _wrong_network(wiring, chip)
    if chip.needs_flash and wiring.flash is None:
        yield _("flash: a {chip} keeps the journal on an SPI flash or FRAM: name it").format(
            chip=chip.title
        )
    longest_ms = chip.longest_watchdog_ms
    if wiring.watchdog_ms and 0 < longest_ms < wiring.watchdog_ms:
        yield _("watchdog_ms: a {chip} waits {longest_ms} at most").format(
            chip=chip.title, longest_ms=longest_ms
        )


def _wrong_network(wiring: Wiring, chip: Chip) -> Iterator[str]:
    if wiring.console is not None and (wiring.console.uart is None) != bool(wiring.console.usb):
        yield _("console: give it a uart, or usb")
    uplink = wiring.uplink
    link = uplink is not None and (uplink.ssid is not None or uplink.lan is not None)
    if uplink is not None and uplink.uart is None and (not uplink.host or not uplink.port):
        yield _("uplink: give it a uart, or host and port")
    if uplink is not None and uplink.ssid is not None and not chip.has_wifi:
        yield _("uplink.ssid: a {chip} has no Wi-Fi").format(chip=chip.title)
    if uplink is not None and uplink.lan is not None and not chip.has_lan:
        yield _("uplink.lan: a {chip} has no Ethernet").format(chip=chip.title)
    elif uplink is not None and uplink.lan is not None and not chip.has_names:
        for key in ("phy", "address"):
            if getattr(uplink.lan, key) is None:
                yield _("uplink.lan.{key}: missing, a {chip} does not know its PHY").format(
                    key=key, chip=chip.title
                )
    for place, part in (("uplink", uplink), ("sntp", wiring.sntp)):
        if part is not None and part.host and not link and not _is_digits(part.host):
            yield _(
                "{place}.host: give the address in digits, or the uplink an ssid or lan"
            ).format(place=place)


def _is_digits(host: str) -> bool:
    try:
        return IPv4Address(host) is not None
    except ValueError:
        return False


def _wrong_uart_pins(place: str, part: _Serial | _Console | _Uplink, chip: Chip) -> Iterator[str]:
    fitting = chip.uarts[part.uart or 0]
    if fitting is None:
        if chip.has_names and (part.tx is not None or part.rx is not None):
            yield _("{place}.tx: a {chip} chooses the pins of a UART itself").format(
                place=place, chip=chip.title
            )
        return
    for key, pin, pins in (("tx", part.tx, fitting[0]), ("rx", part.rx, fitting[1])):
        if pin is not None and pin not in pins:
            known = ", ".join(map(str, sorted(pins)))
            yield _("{place}.{key}: UART {number} has it on {known}").format(
                place=place, key=key, number=part.uart, known=known
            )
