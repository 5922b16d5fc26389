"""Read board.json and make the pins that it names. An error names its key, such as card.io.

MicroPython's ports raise different errors for a pin, a UART or a time that the chip does not have.
`refusal` gives all of them the same form of sentence.
"""

import json
from binascii import unhexlify

import machine

from boards import BoardError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# The errors of the ports for a number that the chip does not have.
REFUSALS = (ValueError, TypeError, OSError, NotImplementedError)

_I2C_HZ = 100000
_FLASH_HZ = 10000000
_MOST = 0x3FFFFFFF


class Options:
    """An object of board.json at `place`, "" for the whole, with a method for each form of value.

    A key without a default is required. BoardError: the key is missing or its value is wrong.
    """

    def __init__(self, values: object, place: str = "") -> None:
        self._place = place
        if not isinstance(values, dict):
            raise self.refusal("", "expected an object in { }")
        self._values: dict[str, Any] = values
        self._asked: list[str] = []

    def __contains__(self, key: str) -> bool:
        self._asked.append(key)
        return key in self._values

    def number(
        self, key: str, least: int = 0, most: int = _MOST, default: "int | None" = None
    ) -> int:
        """Return the whole number at `key`, from `least` to `most`."""
        value = self._get(key, default)
        if type(value) is not int or not least <= value <= most:
            raise self.refusal(key, "expected a number from " + str(least) + " to " + str(most))
        return value

    def numbers(self, key: str, default: "tuple[int, int]") -> "tuple[int, int]":
        """Return the two numbers at `key`, each 1 or more."""
        value = self._get(key, list(default))
        if not isinstance(value, list) or len(value) != 2:
            raise self.refusal(key, "expected two numbers in [ ]")
        for number in value:
            if type(number) is not int or number < 1:
                raise self.refusal(key, "expected two numbers, each 1 or more")
        return value[0], value[1]

    def flag(self, key: str, default: bool) -> bool:
        """Return true or false, at `key`."""
        value = self._get(key, default)
        if not isinstance(value, bool):
            raise self.refusal(key, "expected true or false")
        return value

    def parity(self, key: str, default: "int | None") -> "int | None":
        """Return the parity at `key`: 0 even, 1 odd, null none."""
        value: int | None = self._values.get(key, default)
        self._asked.append(key)
        if value not in (None, 0, 1):
            raise self.refusal(key, "expected 0 for even, 1 for odd or null for none")
        return value

    def text(self, key: str) -> str:
        """Return the text at `key`."""
        value = self._get(key, None)
        if not isinstance(value, str):
            raise self.refusal(key, "expected a text")
        return value

    def choice(self, key: str, among: "list[str]") -> str:
        """Return the word at `key`, one of `among`."""
        value = self._get(key, None, among)
        if value not in among:
            raise self.refusal(key, "expected one of " + ", ".join(among))
        word: str = value
        return word

    def octets(self, key: str, size: int, default: "bytes | None" = None) -> bytes:
        """Return the `size` bytes at `key`, written in hexadecimal digits."""
        if default is not None and key not in self._values:
            return default
        text = self.text(key)
        try:
            value = unhexlify(text)
        except ValueError:
            value = b""
        if len(value) != size:
            raise self.refusal(key, "expected " + str(2 * size) + " hexadecimal digits")
        return value

    def part(self, key: str) -> "Options":
        """Return the object at `key`."""
        return Options(self._get(key, None), self._path(key))

    def items(self, key: str, default: "list[Any] | None" = None) -> "list[Any]":
        """Return the list at `key`."""
        value = self._get(key, default)
        if not isinstance(value, list):
            raise self.refusal(key, "expected a list in [ ]")
        return value

    def parts(self, key: str) -> "list[Options]":
        """Return the objects in the list at `key`."""
        parts: list[Options] = []
        for value in self.items(key):
            parts.append(Options(value, self._path(key) + "[" + str(len(parts)) + "]"))
        return parts

    def pin(self, key: str, *modes: int, **more: int) -> machine.Pin:
        """Return the pin at `key`, a number or a name, made with `modes` of machine.Pin."""
        return self._pin(key, self._get(key, None), modes, more)

    def output(self, key: str) -> machine.Pin:
        """Return the pin at `key` as an output that is 0."""
        return self.pin(key, machine.Pin.OUT, value=0)

    def outputs(self, key: str) -> "list[machine.Pin]":
        """Return the pins in the list at `key` as outputs that are 0; none without the key."""
        modes = (machine.Pin.OUT,)
        return [self._pin(key, value, modes, {"value": 0}) for value in self.items(key, [])]

    def input(self, key: str) -> machine.Pin:
        """Return the pin at `key` as an input that is pulled up."""
        return self.pin(key, machine.Pin.IN, machine.Pin.PULL_UP)

    def pins(self, *keys: str) -> "dict[str, Any]":
        """Return the pins at those `keys` that are there, as keyword arguments."""
        return {key: self.pin(key) for key in keys if key in self}

    def i2c(self) -> "machine.I2C":
        """Return the I2C that the keys i2c, scl and sda name."""
        number = self.number("i2c")
        pins = self.pins("scl", "sda")
        try:
            return machine.I2C(number, freq=_I2C_HZ, **pins)
        except REFUSALS:
            raise self.refusal("i2c", "this board has no such I2C on these pins") from None

    def spi(self) -> "machine.SPI":
        """Return the SPI that the keys spi, sck, mosi and miso name."""
        number = self.number("spi")
        pins = self.pins("sck", "mosi", "miso")
        try:
            return machine.SPI(number, baudrate=_FLASH_HZ, **pins)
        except REFUSALS:
            raise self.refusal("spi", "this board has no such SPI on these pins") from None

    def end(self) -> None:
        """Raise BoardError if there are keys that were not read, such as a misspelt one."""
        for key in self._values:
            if key not in self._asked:
                known = ", ".join(sorted(set(self._asked)))
                raise self.refusal(key, "not known here; there are " + known)

    def refusal(self, key: str, why: str) -> BoardError:
        """Return the error to raise for the value at `key`."""
        return BoardError("board.json: " + (self._path(key) or "it") + ": " + why)

    def _path(self, key: str) -> str:
        return self._place + "." + key if self._place and key else self._place or key

    def _get(self, key: str, default: "Any", among: "list[str] | None" = None) -> "Any":
        self._asked.append(key)
        if key in self._values:
            return self._values[key]
        if default is None:
            hint = "; give one of " + ", ".join(among) if among else ""
            raise self.refusal(key, "missing" + hint)
        return default

    def _pin(self, key: str, name: "Any", modes: "tuple[int, ...]", more: "Any") -> machine.Pin:
        try:
            return machine.Pin(name, *modes, **more)
        except REFUSALS:
            raise self.refusal(key, "this board has no pin " + repr(name)) from None


def load() -> Options:
    """Return the whole of board.json; BoardError when it cannot be read."""
    try:
        with open("board.json") as file:
            return Options(json.load(file))
    except OSError:
        raise BoardError("board.json is missing: docs/HARDWARE.md shows one") from None
    except ValueError:
        raise BoardError("board.json is no JSON") from None
