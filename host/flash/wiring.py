"""Judge a board.json on a computer: its keys and ranges, and the pins of the chip it is for.

A value that the board itself would refuse is an error, named by its key as the board names it. A
pin that exists and makes trouble, as one that decides how the chip starts, is a warning.
"""

from binascii import unhexlify
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from host.flash.chips import CHIPS, Chip, Places
from host.words import _, marked

# The greatest number that a board takes.
_MOST = 0x3FFFFFFF


def _pin(value: Any) -> int | str:
    """Return the number or the name of a pin."""
    if isinstance(value, str) or (type(value) is int and 0 <= value <= 99):
        return value
    raise ValueError(_("expected the number or the name of a pin"))


def _file_name(value: str) -> str:
    """Return the name of a file of a CPU card: characters, or 0x and hexadecimal digits."""
    try:
        unhexlify(value[2:] if value.startswith("0x") else "")
    except ValueError:
        value = ""
    if not value:
        raise ValueError(_('expected names such as "DIANKA" or "0x0001"'))
    return value


Pin = Annotated[int | str, BeforeValidator(_pin)]
Number = Annotated[int, Field(ge=0, le=_MOST)]
Host = Annotated[str, Field(min_length=1)]
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
    uart: Number


class _Lan(_Part):
    mdc: Pin | None = None
    mdio: Pin | None = None
    power: Pin | None = None
    phy: str | None = None
    address: int | None = Field(None, ge=0, le=31)


class _Uplink(_Wires):
    uart: Number | None = None
    host: Host | None = None
    port: int | None = Field(None, ge=1, le=65535)
    ssid: str | None = None
    key: str | None = None
    lan: _Lan | None = None


class _Console(_Wires):
    """A UART, or the board's own USB."""

    uart: Number | None = None
    usb: bool | None = None


class _Display(_Part):
    i2c: Number
    scl: Pin | None = None
    sda: Pin | None = None
    address: int = Field(39, ge=8, le=119)
    columns: int = Field(16, ge=8, le=20)


class _Rtc(_Part):
    chip: Literal["ds1307", "ds1338", "ds3231", "pcf8563"]
    i2c: Number
    scl: Pin | None = None
    sda: Pin | None = None


class _Sntp(_Part):
    host: Host
    offset_s: Number = 28800


class _Flash(_Part):
    spi: Number
    cs: Pin
    sck: Pin | None = None
    mosi: Pin | None = None
    miso: Pin | None = None
    fram_kib: int = Field(0, ge=0, le=16384)


def _digits(size: int) -> Callable[[str], str]:
    """Return what judges a text of `size` bytes in hexadecimal digits."""

    def judged(value: str) -> str:
        try:
            if len(unhexlify(value)) == size:
                return value
        except ValueError:
            pass
        raise ValueError(_("expected {count} hexadecimal digits").format(count=2 * size))

    return judged


_Psc = Annotated[str, AfterValidator(_digits(3))]
_TagKey = Annotated[str, AfterValidator(_digits(6))]
_CpuKey = Annotated[str, AfterValidator(_digits(16))]


class _CpuFile(_Part):
    """A file of a CPU card, as docs/CHIPS.md shows it."""

    path: list[Annotated[str, AfterValidator(_file_name)]]
    size: int = Field(256, ge=64, le=32768)
    cipher: Literal["aes", "sm4"] | None = None
    key: _CpuKey | None = None
    key_number: int | None = Field(None, ge=0, le=255)


class _Sle4442(_Part):
    chip: Literal["sle4442"]
    io: Pin
    clk: Pin
    rst: Pin
    detect: Pin
    power: Pin
    psc: _Psc | None = None


class _At24(_Part):
    chip: Literal["at24"]
    i2c: Number
    scl: Pin | None = None
    sda: Pin | None = None
    size: int = Field(256, ge=256, le=65536)
    page_size: int = Field(8, ge=8, le=128)
    address: int = Field(0x50, ge=0x50, le=0x57)


class _Pn532(_Wires):
    """On a UART or on SPI."""

    chip: Literal["pn532"]
    spi: Number | None = None
    uart: Number | None = None
    sck: Pin | None = None
    mosi: Pin | None = None
    miso: Pin | None = None
    cs: Pin | None = None
    key: _TagKey | None = None
    file: _CpuFile | None = None


class _T0(_Serial):
    chip: Literal["t0"]
    reset: Pin
    detect: Pin
    power: Pin
    clk: Pin | None = None
    echo: bool = True
    file: _CpuFile


_Card = Annotated[_Sle4442 | _At24 | _Pn532 | _T0, Field(discriminator="chip")]
_CARDS = ("at24", "pn532", "sle4442", "t0")


class Wiring(_Part):
    """A board.json."""

    capacity: list[Annotated[int, Field(ge=1, le=_MOST)]] = Field(
        [256, 4], min_length=2, max_length=2
    )
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
    watchdog_ms: int | None = Field(None, ge=1000, le=_MOST)


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


def judge(content: object, chip: str) -> tuple[list[str], list[str]]:
    """Return the errors and the warnings for a board.json on a chip of CHIPS, "" for any."""
    try:
        wiring = Wiring.model_validate(content)
    except ValidationError as error:
        return [_refusal(one) for one in error.errors(include_url=False)], []
    errors = [*_empty(content), *_wrong_together(wiring)]
    if not chip:
        return errors, []
    made = CHIPS[chip]
    errors += _wrong_parts(wiring, made)
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
        warnings.extend(_doubtful_pin(place, key, pin, made))
    return errors, warnings


def _doubtful_pin(place: str, key: str, pin: int | str, chip: Chip) -> Iterator[str]:
    """Yield a warning of a pin that exists and makes trouble."""
    if isinstance(pin, int) and pin in chip.avoid:
        yield _("{place}: pin {pin} exists, but {why}").format(
            place=place, pin=pin, why=_(chip.avoid[pin])
        )
    if pin in chip.inputs and key in _PULLED_KEYS:
        yield _("{place}: pin {pin} has no pull-up: fit 10 k to 3.3 V").format(
            place=place, pin=pin
        )


# Why pydantic refuses a value, in the words of the board.
_REASONS = {
    "missing": marked("missing"),
    "extra_forbidden": marked("not known here"),
    "int_type": marked("expected a whole number"),
    "string_type": marked("expected a text"),
    "string_too_short": marked("expected a text"),
    "bool_type": marked("expected true or false"),
    "list_type": marked("expected a list in [ ]"),
    "model_type": marked("expected an object in {{ }}"),
    "model_attributes_type": marked("expected an object in {{ }}"),
    "greater_than_equal": marked("expected {ge} or more"),
    "less_than_equal": marked("expected {le} or less"),
    "literal_error": marked("expected one of {among}"),
    "union_tag_invalid": marked("expected one of {among}"),
    "union_tag_not_found": marked("missing; give one of {among}"),
    "too_short": marked("expected {min_length} or more in [ ]"),
    "too_long": marked("expected {max_length} or fewer in [ ]"),
}


def _refusal(error: Any) -> str:
    """Name the key and the reason as the board does: lines[0].uart: missing."""
    kind: str = error["type"]
    place: tuple[int | str, ...] = error["loc"]
    known: dict[str, Any] = error.get("ctx", {})
    among = str(known.get("expected", "")).replace(" or ", ", ").replace("'", "")
    if kind.startswith("union_tag"):
        # A card whose chip is not known is wrong in its chip.
        place, among = (*place, "chip"), ", ".join(_CARDS)
    elif place[-1:] == ("parity",):
        among = _("0 for even, 1 for odd, null for none")
    if kind == "value_error":
        return f"{_name(place)}: {known['error']}"
    return f"{_name(place)}: " + _(_REASONS[kind]).format(**known, among=among)


def _name(place: tuple[int | str, ...]) -> str:
    """Return a key as the board names it: lines[0].tx."""
    name = ""
    for part in place:
        if isinstance(part, int):
            name += f"[{part}]"
        elif not (name == "card" and part in _CARDS):
            name += f".{part}" if name else part
    return name or "it"


def _empty(part: Any, place: tuple[int | str, ...] = ()) -> Iterator[str]:
    """Yield a sentence for each null, which says something only of a parity."""
    inside = part.items() if isinstance(part, dict) else enumerate(part)
    for key, value in inside:
        if value is None and key != "parity":
            yield _("{place}: null is no value here, leave the key out").format(
                place=_name((*place, key))
            )
        elif isinstance(value, dict | list):
            yield from _empty(value, (*place, key))


def _wrong_together(wiring: Wiring) -> Iterator[str]:
    """Yield the mistakes of keys that need or exclude each other on any chip."""
    for place, part, needed, more in _kinds(wiring):
        given = part.model_fields_set
        for key in needed:
            if key not in given:
                yield _("{place}.{key}: missing").format(place=place, key=key)
        known = (*needed, *more)
        for key in sorted(given - {*known}):
            yield _("{place}.{key}: not known here; there are {known}").format(
                place=place, key=key, known=", ".join(sorted(known))
            )
    uplink = wiring.uplink
    has_link = uplink is not None and not {"ssid", "lan"}.isdisjoint(uplink.model_fields_set)
    hosts = (
        ("uplink", uplink.host if uplink is not None else None),
        ("sntp", wiring.sntp.host if wiring.sntp is not None else None),
    )
    for place, host in hosts:
        if host and _has_digits(host) and not _is_address(host):
            yield _("{place}.host: {host} is no address").format(place=place, host=host)
        elif host and not has_link and not _has_digits(host):
            yield _(
                "{place}.host: give the address in digits, or the uplink an ssid or lan"
            ).format(place=place)


_SERIAL_KEYS = ("tx", "rx", "direction", "baud", "parity")


def _kinds(
    wiring: Wiring,
) -> Iterator[tuple[str, BaseModel, tuple[str, ...], tuple[str, ...]]]:
    """Yield the place of a part that has kinds, the part, keys it needs and others it knows."""
    if (uplink := wiring.uplink) is not None:
        given = uplink.model_fields_set
        if "uart" in given:
            yield "uplink", uplink, ("uart",), _SERIAL_KEYS
        elif "lan" in given:
            yield "uplink", uplink, ("host", "port"), ("lan",)
        elif "ssid" in given:
            yield "uplink", uplink, ("host", "port", "ssid", "key"), ()
        else:
            yield "uplink", uplink, ("host", "port"), ()
    if (console := wiring.console) is not None:
        if console.usb:
            yield "console", console, ("usb",), ()
        else:
            yield "console", console, ("uart",), ("usb", *_SERIAL_KEYS)
    card = wiring.card
    if isinstance(card, _Pn532):
        if "spi" in card.model_fields_set:
            yield "card", card, ("spi", "cs"), (*_CARD_KEYS, "sck", "mosi", "miso")
        else:
            yield "card", card, ("uart",), (*_CARD_KEYS, *_SERIAL_KEYS)
    file = card.file if isinstance(card, _Pn532 | _T0) else None
    if file is not None:
        ciphered = ("cipher", "key_number", "key") if "cipher" in file.model_fields_set else ()
        yield "card.file", file, ciphered, ("path", "size")


_CARD_KEYS = ("chip", "key", "file")


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
    """Yield the mistakes that concern more than one pin."""
    used: dict[int, str] = {}
    for place, key, part, places in _buses(wiring, chip):
        number = getattr(part, key, None)
        if number is None:
            continue
        if number not in places:
            known = ", ".join(map(str, places))
            yield _("{place}.{key}: a {chip} has {bus} {known}").format(
                place=place, key=key, chip=chip.title, bus=key.upper(), known=known
            )
            continue
        if key == "uart" and number in used:
            yield _("{place}.uart: UART {number} is that of {other} already").format(
                place=place, number=number, other=used[number]
            )
        if key == "uart":
            used[number] = place
        yield from _wrong_bus_pins(place, key, part, places[number], chip)
    yield from _wrong_network(wiring.uplink, chip)
    if chip.needs_flash and wiring.flash is None:
        yield _("flash: a {chip} keeps the journal on an SPI flash or FRAM: name it").format(
            chip=chip.title
        )
    longest_ms = chip.longest_watchdog_ms
    if wiring.watchdog_ms and 0 < longest_ms < wiring.watchdog_ms:
        yield _("watchdog_ms: a {chip} waits {longest_ms} at most").format(
            chip=chip.title, longest_ms=longest_ms
        )


# The pins of a UART and of the buses, in the order of Places.
_BUS_PINS = {"uart": ("tx", "rx"), "i2c": ("scl", "sda"), "spi": ("sck", "mosi", "miso")}


def _buses(wiring: Wiring, chip: Chip) -> Iterator[tuple[str, str, BaseModel, dict[int, Places]]]:
    """Yield the place of each part, a bus it may be on, the part, and those of the chip."""
    parts: list[tuple[str, BaseModel | None]] = [
        *((f"lines[{index}]", line) for index, line in enumerate(wiring.lines)),
        *(("console", wiring.console), ("uplink", wiring.uplink), ("card", wiring.card)),
        *(("rtc", wiring.rtc), ("display", wiring.display), ("flash", wiring.flash)),
    ]
    for place, part in parts:
        for key, places in (("uart", chip.uarts), ("i2c", chip.i2cs), ("spi", chip.spis)):
            if part is not None:
                yield place, key, part, places


def _wrong_bus_pins(
    place: str, bus: str, part: BaseModel, fitting: Places, chip: Chip
) -> Iterator[str]:
    for index, key in enumerate(_BUS_PINS[bus]):
        pin = getattr(part, key)
        if pin is None:
            continue
        if chip.has_names:
            yield _("{place}.{key}: a {chip} chooses the pins of a UART or a bus itself").format(
                place=place, key=key, chip=chip.title
            )
        elif fitting is not None and pin not in fitting[index]:
            known = ", ".join(map(str, sorted(fitting[index])))
            yield _("{place}.{key}: {bus} {number} has it on {known}").format(
                place=place, key=key, bus=bus.upper(), number=getattr(part, bus), known=known
            )


def _wrong_network(uplink: _Uplink | None, chip: Chip) -> Iterator[str]:
    if uplink is None:
        return
    if uplink.ssid is not None and not chip.has_wifi:
        yield _("uplink.ssid: a {chip} has no Wi-Fi").format(chip=chip.title)
    lan = uplink.lan
    if lan is None:
        return
    if not chip.has_lan:
        yield _("uplink.lan: a {chip} has no Ethernet").format(chip=chip.title)
        return
    if lan.phy is not None and lan.phy not in chip.phys:
        yield _("uplink.lan.phy: expected one of {known}").format(known=", ".join(chip.phys))
    if not chip.has_names:
        for key in ("mdc", "mdio", "phy", "address"):
            if getattr(lan, key) is None:
                yield _("uplink.lan.{key}: missing, a {chip} does not know its PHY").format(
                    key=key, chip=chip.title
                )
        return
    for key in ("mdc", "mdio", "power"):
        if getattr(lan, key) is not None:
            yield _("uplink.lan.{key}: a {chip} knows its pins").format(key=key, chip=chip.title)


def _has_digits(host: str) -> bool:
    """Return whether a board takes `host` for an address: four numbers."""
    parts = host.split(".")
    return len(parts) == 4 and all(part.isdigit() for part in parts)


def _is_address(host: str) -> bool:
    try:
        return IPv4Address(host) is not None
    except ValueError:
        return False
