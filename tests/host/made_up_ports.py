"""MicroPython's ports as made up from their sources: each refuses what its chip refuses.

                ESP32, ESP32-S3     RP2040, RP2350      STM32F4
epoch           2000                1970                2000
first weekday   0                   0                   1
pins            numbers of the chip numbers of the chip names
UART            any pins            fixed pins          no choice of pins
rxbuf           above 128           32 to 32766         64 unless it is given
write           returns at once     takes 256 bytes     returns with the last bit
Timer           0 to 3              -1                  -1
watchdog        any time            8388 ms             32760 ms
Wi-Fi           joins again itself  never joins again   none
Ethernet        a PHY on pins       none                its own
flash           a partition         pages of 256        512-byte blocks; SPI flash
"""

import datetime
import sys
import types
from typing import Any

from host.flash.chips import CHIPS
from host.shim.vfs import VfsLfs2
from host.sim.nor import Nor

EPOCH_1970_S = 946684800
T2000 = 849270896  # 2026-11-29 12:34:56
HEAP_FREE = 300000
_BLOCKS = 128


class Port:
    """The modules of a port on `chip`, a name in CHIPS, and what its parts were told.

    platform    as sys.platform
    associated  whether the access point has the board
    joins       how often the board asked to join
    thresholds  the bytes of heap after which a collection was asked for
    watchdogs   how many were started
    """

    def __init__(self, name: str) -> None:
        self.chip = CHIPS[name]
        self.platform = {"e": "esp32", "p": "rp2", "s": "pyboard"}[name[0]]
        self.is_rp2, self.is_stm32 = self.platform == "rp2", self.platform == "pyboard"
        self.ms = 1000
        self.t2000 = T2000
        self.associated = False
        self.joins = 0
        self.timers: list[Any] = []
        self.thresholds: list[int] = []
        self.watchdogs = 0
        self.nor = Nor(bytearray(b"\xff" * (_BLOCKS * 4096)), page=256, refuses=True)
        if self.platform == "esp32":
            self.nor.page = 128  # its driver splits what does not fit a page

    def pass_ms(self, ms: int) -> None:
        """Let time pass, in which timers run."""
        for _ in range(ms):
            self.ms += 1
            if self.ms % 1000 == 0:
                self.t2000 += 1
            for timer in self.timers:
                if timer.due_ms == self.ms:
                    timer.due_ms = -1
                    timer.callback(timer)

    def modules(self) -> dict[str, types.ModuleType]:
        """Return the modules by their names, as `import` finds them."""

        def lan_of_stm32(*, phy_addr: int = 0, phy_type: int = 0) -> Lan:
            return Lan(self)

        def lan_of_esp32(
            *, phy_addr: int, phy_type: int, mdc: Pin, mdio: Pin, power: Pin | None = None
        ) -> Lan:
            return Lan(self)

        made = {
            "gc": _module(
                "gc",
                collect=lambda: None,
                mem_free=lambda: HEAP_FREE,
                threshold=self.thresholds.append,
            ),
            "machine": self._machine(),
            "time": self._time(),
            "vfs": _module(
                "vfs", VfsLfs2=VfsLfs2, umount=lambda path: None, mount=lambda fs, path: None
            ),
        }
        if self.is_stm32:
            names = {f"PHY_{name}": index for index, name in enumerate(self.chip.phys)}
            made["network"] = _module("network", LAN=lan_of_stm32, **names)
            flash = types.SimpleNamespace(ioctl=lambda operation, argument: 512)
            made["pyb"] = _module("pyb", Flash=lambda start: flash)
            return made
        made["network"] = _module("network", STA_IF=0, WLAN=lambda interface: Wlan(self))
        if self.chip.has_lan:
            names = {f"PHY_{name}": index for index, name in enumerate(self.chip.phys)}
            vars(made["network"]).update(LAN=lan_of_esp32, **names)
        if self.is_rp2:
            made["rp2"] = _module("rp2", Flash=lambda: self.nor)
        else:
            find = types.SimpleNamespace(TYPE_DATA=1, find=lambda kind, label: [self.nor])
            made["esp32"] = _module("esp32", Partition=find)
        return made

    def _time(self) -> types.ModuleType:
        epoch_s = EPOCH_1970_S if self.is_rp2 else 0

        def gmtime(seconds: int) -> tuple[int, ...]:
            moment = datetime.datetime(1970 if self.is_rp2 else 2000, 1, 1)
            moment += datetime.timedelta(seconds=seconds)
            clock = (moment.hour, moment.minute, moment.second)
            return (moment.year, moment.month, moment.day, *clock, moment.weekday(), 0)

        return _module(
            "time",
            ticks_ms=lambda: self.ms & 0x3FFFFFFF,
            ticks_us=lambda: self.ms * 1000,
            ticks_add=lambda a, b: a + b,
            ticks_diff=lambda a, b: a - b,
            time=lambda: self.t2000 + epoch_s,
            gmtime=gmtime,
            sleep_us=lambda us: None,
            sleep_ms=self.pass_ms,
        )

    def _machine(self) -> types.ModuleType:
        causes = ["PWRON_RESET", "WDT_RESET"]
        if not self.is_rp2:
            causes += ["HARD_RESET", "DEEPSLEEP_RESET", "SOFT_RESET"]
        numbers = {cause: number + 1 for number, cause in enumerate(causes)}
        return _module(
            "machine",
            Pin=type("Pin", (Pin,), {"port": self}),
            UART=type("UART", (Uart,), {"port": self}),
            Timer=type("Timer", (Timer,), {"port": self}),
            I2C=lambda number, freq, **pins: Bus(self, number, pins),
            SPI=lambda number, baudrate, polarity=0, phase=0, **pins: Spi(self, number, pins),
            PWM=lambda pin, freq, duty_u16: types.SimpleNamespace(deinit=lambda: None),
            WDT=self._watchdog,
            RTC=lambda: types.SimpleNamespace(datetime=self._set_clock),
            reset_cause=lambda: 1,
            **numbers,
        )

    def _watchdog(self, timeout: int) -> Any:
        if 0 < self.chip.longest_watchdog_ms < timeout:
            raise ValueError("timeout exceeds the chip's")
        self.watchdogs += 1
        return types.SimpleNamespace(feed=lambda: None)

    def _set_clock(self, fields: tuple[int, ...]) -> None:
        year, month, day, weekday, hour, minute, second, _zero = fields
        moment = datetime.datetime(year, month, day, hour, minute, second)
        assert weekday == moment.weekday() + self.is_stm32
        self.t2000 = int((moment - datetime.datetime(2000, 1, 1)).total_seconds())


class Pin:
    """A pin, which the chip has and which something else does not use."""

    port: Port
    IN, OUT, OPEN_DRAIN, PULL_UP = range(4)

    def __init__(self, name: Any, mode: int = 0, pull: int = -1, *, value: int = 0) -> None:
        self.init(mode, pull, value=value, name=name)

    def init(self, mode: int, pull: int = -1, *, value: int = 0, name: Any = None) -> None:
        name = self.name if name is None else name
        chip = self.port.chip
        if chip.has_names != isinstance(name, str):
            raise ValueError("invalid pin")
        if not chip.has_names and (name not in chip.pins or name in chip.taken):
            raise ValueError("invalid pin")
        if name in chip.inputs and mode != Pin.IN:
            raise ValueError("pin can only be input")
        self.name = name
        # Nothing pulls an input down. One that can only be read has no pull-up, and the port does
        # not say so.
        self.level = 1 if pull == Pin.PULL_UP and name not in chip.inputs else value

    def __call__(self, level: int | None = None) -> int:
        if level is not None:
            self.level = level
            if self.name in ("A4", 5):
                Spi.select(self.port, level)
        return self.level


class Uart:
    """A UART; `init` with other arguments than the port has is a TypeError."""

    port: Port

    def __init__(self, number: int, *settings: Any, **options: Any) -> None:
        fixed = self.port.chip.uarts.get(number, ())
        if fixed == ():
            raise ValueError("UART does not exist")
        pins = {key: options.pop(key).name for key in ("tx", "rx") if key in options}
        if pins and self.port.is_stm32:
            raise TypeError("extra keyword arguments given")
        for index, key in enumerate(pins):
            if fixed and pins[key] not in fixed[index]:
                raise ValueError(f"bad {key.upper()} pin")
        self.sent = b""
        self.received = b""
        self.last_bit_ms = 0.0
        self.init(*settings, **options)

    def init(
        self,
        baud: int,
        bits: int,
        parity: int | None,
        stop: int,
        *,
        timeout: int = 1000,
        rxbuf: int = 0,
    ) -> None:
        least, most = {"esp32": (129, 65536), "rp2": (32, 32766)}.get(
            self.port.platform, (1, 65535)
        )
        # What is not given is the port's own size, too little for a reply.
        self.rxbuf = rxbuf or (64 if self.port.is_stm32 else 256)
        if not least <= self.rxbuf <= most or bits != 8 or stop not in (1, 2) or timeout:
            raise ValueError("bad buffer or bits")
        self.character_ms = (1 + bits + stop + (parity is not None)) * 1000 / baud

    def any(self) -> int:
        return len(self.received)

    def readinto(self, buf: bytearray) -> int | None:
        size = min(len(buf), len(self.received))
        buf[:size] = self.received[:size]
        self.received = self.received[size:]
        return size or None

    def write(self, buf: memoryview) -> int | None:
        data = bytes(buf)[: 256 if self.port.is_rp2 else len(buf)]
        self.sent += data
        self.last_bit_ms = self.port.ms + len(data) * self.character_ms
        if self.port.is_stm32:
            self.flush()
        return len(data) or None

    def txdone(self) -> bool:
        # The ESP32 is exact, the RP2 a character early.
        early_ms = self.character_ms if self.port.is_rp2 else 0
        return self.port.ms >= self.last_bit_ms - early_ms

    def flush(self) -> None:
        while self.port.ms < self.last_bit_ms:
            self.port.pass_ms(1)


class Timer:
    """A one-shot timer."""

    port: Port
    ONE_SHOT = 0

    def __init__(self, number: int) -> None:
        if number not in (range(4) if self.port.platform == "esp32" else (-1,)):
            raise ValueError("invalid Timer number")
        self.due_ms = -1
        self.callback: Any = None
        self.port.timers.append(self)

    def init(self, mode: int, period: int, callback: Any) -> None:
        assert mode == Timer.ONE_SHOT
        assert period > 0
        self.due_ms = self.port.ms + period
        self.callback = callback


class Bus:
    """An I2C on which nothing answers."""

    def __init__(self, port: Port, number: int, pins: dict[str, Pin]) -> None:
        if number not in port.chip.i2cs:
            raise ValueError("I2C does not exist")
        for key, rest in (("sda", 0), ("scl", 1)):
            if port.is_rp2 and key in pins and pins[key].name % 4 != 2 * number + rest:
                raise ValueError(f"bad {key.upper()} pin")
        if port.is_stm32 and pins:
            raise TypeError("extra keyword arguments given")

    def writeto(self, addr: int, buf: bytes) -> None:
        raise OSError(5)

    def readfrom_into(self, addr: int, buf: bytearray) -> None:
        raise OSError(5)


class Spi:
    """An SPI with a flash of the 25 series behind the pin A4, or 5."""

    sent = b""

    def __init__(self, port: Port, number: int, pins: dict[str, Pin]) -> None:
        if number not in port.chip.spis or (port.is_stm32 and pins):
            raise NotImplementedError("explicit choice of sck/mosi/miso is not implemented")
        for key, rest in (("miso", 0), ("sck", 2), ("mosi", 3)):
            pin = pins[key].name if port.is_rp2 and key in pins else number << 3 | rest
            if (pin % 4, pin >> 3 & 1) != (rest, number & 1):
                raise ValueError(f"bad {key.upper()} pin")
        self.flash = port.nor

    @staticmethod
    def select(port: Port, level: int) -> None:
        """Begin a command, or do the one that was sent."""
        sent = Spi.sent
        if level and sent[:1] in (b"\x02", b"\x20"):
            address = int.from_bytes(sent[1:4], "big")
            if sent[0] == 0x20:
                port.nor.ioctl(6, address // 4096)
            else:
                port.nor.writeblocks(address // 4096, bytearray(sent[4:]), address % 4096)
        Spi.sent = b""

    def write(self, buf: bytes) -> None:
        Spi.sent += bytes(buf)

    def readinto(self, buf: bytearray) -> None:
        command = Spi.sent[0]
        if command == 0x9F:
            buf[:] = b"\xef\x40\x13"
        elif command == 0x03:
            address = int.from_bytes(Spi.sent[1:4], "big")
            self.flash.readblocks(address // 4096, buf, address % 4096)
        else:
            buf[:] = bytes(len(buf))


class Lan:
    """An Ethernet whose cable is in as long as the network is there."""

    def __init__(self, port: Port) -> None:
        self._port = port

    def active(self, on: bool) -> None:
        self._port.joins += on

    def isconnected(self) -> bool:
        return self._port.associated

    def ifconfig(self) -> tuple[str, ...]:
        return ("127.0.0.2", "255.0.0.0", "127.0.0.1", "127.0.0.1")


class Wlan:
    """A Wi-Fi: the first attempt of an ESP32 fails with an error of its driver."""

    def __init__(self, port: Port) -> None:
        self._port = port
        self._is_active = self._wants = False
        self._joined = False

    def active(self, value: bool | None = None) -> bool:
        if value is not None:
            self._is_active = value
        return self._is_active

    def connect(self, ssid: str, key: str) -> None:
        self._port.joins += 1
        if not self._is_active:
            raise OSError("Wifi not started")
        if self._port.platform == "esp32" and self._port.joins == 1:
            raise OSError("Wifi Internal State Error")
        if self._wants and self._port.platform == "esp32":
            raise OSError("Wifi Internal Error: sta is connecting")
        self._wants = True
        self._joined = self._port.associated

    def disconnect(self) -> None:
        self._wants = self._joined = False

    def isconnected(self) -> bool:
        if not self._port.associated:
            self._joined = False
        elif self._wants and self._port.platform == "esp32":
            self._joined = True
        return self._joined


def _module(name: str, **content: Any) -> types.ModuleType:
    module = types.ModuleType(name)
    vars(module).update(content)
    return module


def installed(port: Port, monkeypatch: Any) -> None:
    """Have `import` find the port's modules, and the firmware's boards anew."""
    for name in [*sys.modules]:
        if name.partition(".")[0] == "boards":
            monkeypatch.delitem(sys.modules, name)
    for name in ("rp2", "esp32", "pyb"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    for name, module in port.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(sys, "platform", port.platform)
