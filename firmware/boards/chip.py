"""What the boards with a chip share: everything that board.json tells, on MicroPython's machine.

    {
      "capacity": [256, 4],
      "lines":   [{"uart": 1, "tx": 17, "rx": 16, "direction": 4}],
      "console": {"uart": 2, "tx": 25, "rx": 26, "baud": 115200},
      "uplink":  {"host": "192.168.1.2", "port": 7645, "ssid": "station", "key": "..."},
      "card":    {"io": 18, "clk": 19, "rst": 21, "detect": 22, "power": 23},
      "lamps":   [2, 5, 12, 14],
      "buzzer":  15,
      "button":  0,
      "watchdog_ms": 8000
    }

Only `lines` must be there. Pins are numbers, or names where the port has them. A line is 2400 8E1
unless `baud` and `parity` say otherwise; an uplink with "uart" is a serial one.
"""

import json
import os
import time

import machine
import vfs
from micropython import const

from boards import BoardError
from boards.littlefs import LittleStorage, open_filesystem

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from typing import Any

    from ports import Channel, Line, Storage
    from vfs import AbstractBlockDev, VfsLfs2

_MASK = const(0x1FFFFFFF)
_EPOCH_1970_S = const(946684800)
# A clock that was never set stands at its epoch; the product is younger.
_YEAR_SET = const(2025)
_BITS = const(11)
_CHUNK = const(64)
_SHOW_MS = const(150)
# Codes of a card that was taken end here; one that was refused beeps three times.
_TAKEN = const(1)
_REFUSED_CHANGES = const(5)


class Uart:
    """A `Channel` on a UART, on RS-485 with a pin that switches to sending.

    The pin stays until the last character has left and one more could have: `txdone` may tell the
    truth a character early. What arrives meanwhile is our own echo and is dropped.
    """

    def __init__(self, options: "dict[str, Any]", baud: int, parity: "int | None") -> None:
        self.connection = 1
        self.waiting = 0
        self._baud = options.get("baud", baud)
        self._parity = options.get("parity", parity)
        self._port = machine.UART(
            options["uart"], self._baud, 8, self._parity, 1, timeout=0, **_pins(options)
        )
        self._direction: machine.Pin | None = None
        if "direction" in options:
            self._direction = machine.Pin(options["direction"], machine.Pin.OUT, value=0)
        self._sending = False
        self._end_ticks = 0
        self._scratch = bytearray(_CHUNK)

    def look(self) -> None:
        """Bring `waiting` up to date, and end sending when everything has left."""
        if self._direction is not None and self._sending:
            self.waiting = 0
            if time.ticks_diff(time.ticks_ms(), self._end_ticks) < 0 or not self._port.txdone():
                return
            while self._port.any():
                self._port.readinto(self._scratch)
            self._direction(0)
            self._sending = False
            return
        self.waiting = self._port.any()

    def read_into(self, buf: bytearray) -> int:
        """Put what has arrived into `buf`; return how many bytes, 0: nothing."""
        self.waiting = 0
        if self._sending:
            return 0
        return self._port.readinto(buf) or 0

    def write(self, buf: memoryview) -> int:
        """Send; return how many bytes were taken, 0: try again later."""
        if self._direction is None:
            return self._port.write(buf) or 0
        now_ticks = time.ticks_ms()
        begins_ticks = self._end_ticks if self._sending else now_ticks
        self._direction(1)
        self._sending = True
        size = self._port.write(buf) or 0
        sent_ms = (size + 1) * _BITS * 1000 // self._baud + 1
        self._end_ticks = time.ticks_add(begins_ticks, sent_ms)
        return size

    def set_baud(self, baud: int) -> None:
        """Send and hear at another speed, once what was written before has left."""
        self._port.flush()
        self._baud = baud
        # All of it: STM32 takes its defaults for what is not said.
        self._port.init(baud, 8, self._parity, 1, timeout=0)

    def close(self) -> None:
        """Begin anew on the same wires."""
        self.connection += 1


class Board:
    """What main.py builds the concentrator on; a port's module says where the flash is.

    first_weekday   number of Monday in the chip's clock
    """

    first_weekday = 0

    def __init__(self, storage: "Storage") -> None:
        options = _load()
        self.capacity = tuple(options.get("capacity", (256, 4)))
        self.storage = storage
        channels: list[Any] = [Uart(line, 2400, 0) for line in options["lines"]]
        self.lines: list[Line] = channels[:]
        self.console: Channel | None = None
        self.uplink: Channel | None = None
        if "console" in options:
            self.console = Uart(options["console"], 115200, None)
            channels.append(self.console)
        if "uplink" in options:
            self.uplink = self._open_uplink(options["uplink"])
            channels.append(self.uplink)
        self._channels = channels
        self.waiting = 0
        self.card = _card(options["card"]) if "card" in options else None
        self._lamps = [_output(pin) for pin in options.get("lamps", ())]
        self._buzzer = _output(options["buzzer"]) if "buzzer" in options else None
        self._buzzer_ticks = 0
        # Changes of the buzzer still to come: the last one turns it off.
        self._changes = 0
        self._signals = 0
        self.pressed = False
        self._held = False
        self._button = None
        if "button" in options:
            self._button = machine.Pin(options["button"], machine.Pin.IN, machine.Pin.PULL_UP)
        self._is_1970 = time.gmtime(0)[0] == 1970
        self._watchdog = None
        if "watchdog_ms" in options:
            self._watchdog = machine.WDT(timeout=options["watchdog_ms"])

    def _open_uplink(self, options: "dict[str, Any]") -> "Channel":
        if "uart" in options:
            return Uart(options, 115200, None)
        try:
            from boards.tcp import TcpClient
        except ImportError:
            raise BoardError(
                "board.json: uplink.host: this port has no sockets; give the uplink a uart"
            ) from None
        if "ssid" in options:
            self.join(options["ssid"], options["key"])
        return TcpClient(options["host"], options["port"])

    def join(self, ssid: str, key: str) -> None:
        """Join a Wi-Fi; a port whose chip may have a radio does."""
        raise BoardError("board.json: uplink.ssid: this port has no Wi-Fi")

    def now_ticks(self) -> int:
        """Milliseconds, modulo 2**29."""
        return time.ticks_ms() & _MASK

    def now_t2000(self) -> int:
        """Local standard time in seconds since 2000, -1 when it was never set."""
        now_s = time.time()
        if time.gmtime(now_s)[0] < _YEAR_SET:
            return -1
        return now_s - _EPOCH_1970_S if self._is_1970 else now_s

    def set_t2000(self, t2000: int) -> None:
        """Set the chip's clock; it keeps local standard time."""
        moment = time.gmtime(t2000 + _EPOCH_1970_S if self._is_1970 else t2000)
        year, month, day, hour, minute, second, weekday = moment[:7]
        weekday += self.first_weekday
        machine.RTC().datetime((year, month, day, weekday, hour, minute, second, 0))

    def random(self) -> int:
        """A number below 2**29 that nobody can guess."""
        return int.from_bytes(os.urandom(4), "little") & _MASK

    def look(self) -> None:
        """Bring every `waiting` up to date; go on with a beep, see to the button."""
        waiting = 0
        for channel in self._channels:
            channel.look()
            waiting |= channel.waiting
        self.waiting = waiting
        if self._changes:
            self._beep()
        if self._button is not None and self._held == bool(self._button()):
            self._held = not self._held
            self.pressed |= self._held
            self.signal(self._signals)

    def feed(self) -> None:
        """The work makes progress: the watchdog may wait again."""
        if self._watchdog is not None:
            self._watchdog.feed()

    def signal(self, signals: int) -> None:
        """Show `signals`, a bit for each lamp; all of them while the button is held."""
        self._signals = signals
        if self._held:
            signals = -1
        for index, lamp in enumerate(self._lamps):
            lamp(signals >> index & 1)

    def show_card(self, code: int, credited: bool, index: int) -> None:
        """Beep: once for a card that was taken, three times for one that was not."""
        if self._buzzer is not None:
            self._buzzer(1)
            self._buzzer_ticks = time.ticks_ms()
            self._changes = 1 if code <= _TAKEN else _REFUSED_CHANGES

    def _beep(self) -> None:
        """Turn the buzzer off, or on again."""
        if self._buzzer is not None and (
            time.ticks_diff(time.ticks_ms(), self._buzzer_ticks) >= _SHOW_MS
        ):
            self._buzzer_ticks = time.ticks_ms()
            self._changes -= 1
            self._buzzer(self._changes & 1)


def open_storage(device: "AbstractBlockDev") -> "Storage":
    """The journal on `device`, the flash of the port's own file system, which is mounted anew."""
    return LittleStorage(_mount(device), "/journal")


def _load() -> "dict[str, Any]":
    """What board.json says; BoardError when it cannot be used."""
    try:
        with open("board.json") as file:
            options: dict[str, Any] = json.load(file)
    except OSError:
        raise BoardError("board.json is missing: docs/HARDWARE.md shows one") from None
    except ValueError:
        raise BoardError("board.json is no JSON") from None
    if not options.get("lines"):
        raise BoardError("board.json names no lines")
    return options


def _mount(device: "AbstractBlockDev") -> "VfsLfs2":
    """The file system of `device`, where the port had it: two at once would spoil each other."""
    place = os.getcwd()
    try:  # noqa: SIM105 - MicroPython has no contextlib
        vfs.umount(place)
    except OSError:
        pass  # nothing was mounted, as on a flash that the port could not read
    filesystem = open_filesystem(device)
    vfs.mount(filesystem, place)
    os.chdir(place)
    return filesystem


def _pins(options: "dict[str, Any]") -> "dict[str, Any]":
    """The pins of a UART where they can be chosen."""
    return {name: machine.Pin(options[name]) for name in ("tx", "rx") if name in options}


def _output(pin: "int | str") -> machine.Pin:
    return machine.Pin(pin, machine.Pin.OUT, value=0)


def _card(options: "dict[str, Any]") -> "tuple[Any, ...]":
    """Pins of the contacts of a card: io, clk, rst, detect, power, and a wait in microseconds."""
    io = machine.Pin(options["io"], machine.Pin.OPEN_DRAIN, value=1)
    detect = machine.Pin(options["detect"], machine.Pin.IN, machine.Pin.PULL_UP)
    outputs = [_output(options[name]) for name in ("clk", "rst", "power")]
    return io, outputs[0], outputs[1], detect, outputs[2], time.sleep_us
