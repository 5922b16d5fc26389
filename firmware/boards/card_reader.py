"""Make the board's own card reader from its chip's keys and pins in board.json.

A new chip needs a driver in card/chips, a function and a row of the table here, and a test. A
driver is imported only if board.json names its chip. docs/CHIPS.md shows a board.json for each.
"""

import time
from binascii import unhexlify

import machine
from card.chips.local import LocalCarrier
from micropython import const

from boards.uart import Uart
from boards.wiring import REFUSALS

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from card.chips.cpu import Cipher, CpuFile
    from card.chips.local import Display
    from card.chips.outcome import Link, Medium
    from ports import CardReader, Stream

    from boards.wiring import Options

_SPI_HZ = const(1000000)
# 372 clocks of the card are a bit of 9600 baud.
_CLOCK_HZ = const(3571200)
_HALF_DUTY = const(32768)
_BLOCK = const(16)
_RESPONSE = const(8)


def open_reader(options: "Options", display: "Display") -> "CardReader":
    """Return the reader of the chip that the key `chip` names; `display` shows results."""
    chip = options.choice("chip", sorted(_CHIPS))
    medium = _CHIPS[chip](options)
    options.end()
    return LocalCarrier(medium, display)


def _sle4442(options: "Options") -> "Medium":
    """Return the memory of an SLE4442 or SLE5542, with five contacts."""
    from card.chips.sle4442 import Sle4442

    return Sle4442(
        io=options.pin("io", machine.Pin.OPEN_DRAIN, value=1),
        clk=options.output("clk"),
        rst=options.output("rst"),
        detect=options.input("detect"),
        power=options.output("power"),
        delay_us=time.sleep_us,
        psc=options.octets("psc", 3, b"\xff\xff\xff"),
    )


def _at24(options: "Options") -> "Medium":
    """Return the memory of an AT24Cxx on I2C."""
    from card.chips.at24 import At24

    return At24(
        options.i2c(),
        size=options.number("size", 256, 65536, 256),
        page_size=options.number("page_size", 8, 128, 8),
        address=options.number("address", 0x50, 0x57, 0x50),
    )


def _pn532(options: "Options") -> "Medium":
    """Return the memory of a contactless card at a PN532 on a UART or on SPI."""
    from card.chips.contactless import Contactless
    from card.chips.pn532 import Pn532
    from card.chips.tag import Tag

    reader = Pn532(_spi(options) if "spi" in options else Uart(options, 115200, None))
    tag = Tag(reader, options.octets("key", 6, b"\xff\xff\xff\xff\xff\xff"))
    file = _file(reader, options.part("file")) if "file" in options else None
    return Contactless(reader, tag, file)


def _spi(options: "Options") -> "Stream":
    from card.chips.pn532 import SpiChannel

    number = options.number("spi")
    pins = options.pins("sck", "mosi", "miso")
    try:
        spi = machine.SPI(number, baudrate=_SPI_HZ, polarity=0, phase=0, **pins)
    except REFUSALS:
        raise options.refusal("spi", "this board has no such SPI on these pins") from None
    return SpiChannel(spi, options.pin("cs", machine.Pin.OUT, value=1))


def _t0(options: "Options") -> "Medium":
    """Return a file on a CPU card at its contacts, on a UART of 9600 baud with two stop bits."""
    from card.chips.t0 import T0

    power = options.output("power")
    link = T0(
        Uart(options, 9600, 0, 2),
        reset=options.output("reset"),
        detect=options.input("detect"),
        power=_ClockedSupply(power, options) if "clk" in options else power,
        echo=options.flag("echo", True),
    )
    return _file(link, options.part("file"))


class _ClockedSupply:
    """A supply that also starts and stops the card's clock on a pin of the board."""

    def __init__(self, power: machine.Pin, options: "Options") -> None:
        self._power = power
        self._pin = options.output("clk")
        try:
            self._clock = machine.PWM(self._pin, freq=_CLOCK_HZ, duty_u16=_HALF_DUTY)
        except REFUSALS:
            raise options.refusal("clk", "this pin gives no clock of 3.5712 MHz") from None
        self(0)

    def __call__(self, level: int) -> int:
        if level:
            self._power(1)
            self._clock = machine.PWM(self._pin, freq=_CLOCK_HZ, duty_u16=_HALF_DUTY)
        else:
            self._clock.deinit()
            self._pin.init(machine.Pin.OUT, value=0)
            self._power(0)
        return level


def _file(link: "Link", options: "Options") -> "CpuFile":
    """Return a file of a CPU card; with the key `cipher` a write authenticates first."""
    from card.chips.cpu import CpuFile

    path = []
    for name in options.items("path"):
        if not isinstance(name, str) or not name:
            raise options.refusal("path", 'expected names such as "DIANKA" or "0x0001"')
        path.append(_file_name(options, name))
    size = options.number("size", 64, 32768, 256)
    number = 0
    cipher = None
    if "cipher" in options:
        number = options.number("key_number", 0, 255)
        cipher = _cipher(options)
    options.end()
    return CpuFile(link, tuple(path), size, number, cipher)


def _file_name(options: "Options", name: str) -> bytes:
    """Return the bytes that select `name`: its characters, or those of its digits after 0x."""
    if not name.startswith("0x"):
        return name.encode()
    try:
        return unhexlify(name[2:])
    except ValueError:
        raise options.refusal("path", name + " is no hexadecimal number") from None


def _cipher(options: "Options") -> "Cipher":
    """Return the function that answers a challenge: it encrypts its 8 bytes and 8 zeros."""
    from crypto.cmac import SUITE_AES_CMAC, SUITE_SM4_CMAC, cipher_of

    suites = {"aes": SUITE_AES_CMAC, "sm4": SUITE_SM4_CMAC}
    name = options.choice("cipher", sorted(suites))
    make_cipher = cipher_of(suites[name])
    if make_cipher is None:
        raise options.refusal("cipher", "this image leaves " + name + " out")
    block_cipher = make_cipher(options.octets("key", _BLOCK))
    block = bytearray(_BLOCK)

    def answer(challenge: bytearray, response: bytearray) -> None:
        for index in range(_BLOCK):
            block[index] = challenge[index] if index < _RESPONSE else 0
        block_cipher.encrypt_into(block)
        response[:] = block[:_RESPONSE]

    return answer


_CHIPS = {"at24": _at24, "pn532": _pn532, "sle4442": _sle4442, "t0": _t0}
