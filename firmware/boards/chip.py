"""Build a board with a chip from board.json: the base class of esp32, rp2 and stm32.

    {
      "capacity": [256, 4],
      "lines":   [{"uart": 1, "tx": 17, "rx": 16, "direction": 4}],
      "console": {"uart": 2, "tx": 25, "rx": 26, "baud": 115200},
      "uplink":  {"host": "192.168.1.2", "port": 7645, "ssid": "station", "key": "..."},
      "card":    {"chip": "sle4442", "io": 18, "clk": 19, "rst": 21, "detect": 22, "power": 23},
      "lamps":   [13],
      "buzzer":  14,
      "button":  27,
      "rtc":     {"chip": "ds3231", "i2c": 0, "scl": 32, "sda": 33},
      "sntp":    {"host": "192.168.1.2", "offset_s": 28800},
      "door":    5,
      "power_fail": 34,
      "entropy": true,
      "watchdog_ms": 8000
    }

Only `lines` is required. Pins are numbers, or names if the port has them. A line is 2400 8E1, or
as `baud` and `parity` say. An uplink with the key "uart" is a serial one.
"""

import gc
import io
import os
import sys
import time

import machine
import vfs
from micropython import const
from ports import CLOCK_NETWORK, CLOCK_RTC

from boards.littlefs import LittleStorage, open_filesystem
from boards.panel import Panel
from boards.prompt import Prompt
from boards.rtc import CHIPS, Rtc
from boards.uart import LINE_RX_BUFFER, Uart
from boards.wiring import REFUSALS, load

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ports import CardReader, Channel, Concentrator, Line, Storage
    from vfs import AbstractBlockDev, VfsLfs2

    from boards.display import Display
    from boards.link import Link
    from boards.log import Log
    from boards.sntp import Sntp
    from boards.tcp import TcpClient
    from boards.wiring import Options

_MASK = const(0x1FFFFFFF)
_EPOCH_1970_S = const(946684800)
# A clock that was never set shows a year before this product existed.
_YEAR_SET = const(2025)
# Local standard time is ahead of UTC by this, in s.
_CHINA_S = const(28800)
_CLOCK_MS = const(1000)
# Bytes of heap that may be taken before garbage is collected, at most.
_GARBAGE_MOST = const(65536)
# The causes of machine.reset_cause() in the order of ports.py; each port has some of them.
_CAUSES = ("PWRON_RESET", "HARD_RESET", "WDT_RESET", "DEEPSLEEP_RESET", "SOFT_RESET")
# The signals of concentrator/lamps.py as the log names them; the first one only blinks.
_SIGNALS = ("", "need of a technician", "answers of the head-end", "cut of a supply")


class Board(Panel):
    """The board that board.json describes; a port's module provides its storage.

    first_weekday   the number of Monday in the chip's clock
    timer           the number of the timer that ends sending on the first line, -1: any; WAITS
    """

    first_weekday = 0
    timer = -1

    def __init__(self, storage: "LittleStorage") -> None:
        options = load()
        super().__init__(options)
        # It was opened before.
        _ = "flash" in options
        self.capacity = options.numbers("capacity", (256, 4))
        self.storage: Storage = storage
        storage.calm = self.calm
        lines: list[Uart] = []
        for part in options.parts("lines"):
            timer = self.timer + len(lines) if self.timer > 0 else self.timer
            lines.append(Uart(part, 2400, 0, 1, LINE_RX_BUFFER, timer))
            part.end()
        if not lines:
            raise options.refusal("lines", "expected one line or more")
        self._uarts = lines
        self.lines: list[Line] = list(lines)
        channels: list[Any] = list(lines)
        self.console: Channel | None = None
        self.uplink: Channel | None = None
        self._link: Link | None = None
        self._was_up = False
        self._told_signals = 0
        # Parts that few boards have: each has `attach` and `look`.
        self._extras: list[Any] = []
        self._prompt = Prompt()
        if "console" in options:
            self.console = console = self._open_console(options.part("console"))
            channels.append(console)
        if "uplink" in options:
            uplink = self._open_uplink(options.part("uplink"))
            self.uplink = uplink
            channels.append(uplink)
        self._channels = channels
        self.waiting = 0
        self.reset_cause = _reset_cause()
        self.card_reader: CardReader | None = None
        if "card" in options:
            part = options.part("card")
            self.card_reader = _driver(part, "card_reader").open_reader(part, self.show_card)
        # The clocks by their sources in ports.py.
        self._clocks: dict[int, Rtc | Sntp] = {}
        if "rtc" in options:
            self._clocks[CLOCK_RTC] = _open_rtc(options.part("rtc"))
        if "sntp" in options:
            self._clocks[CLOCK_NETWORK] = _open_sntp(options.part("sntp"), self._link)
        self._is_1970 = time.gmtime(0)[0] == 1970
        # The time as of the ticks at which the chip was asked.
        self._clock_ticks = time.ticks_ms() - _CLOCK_MS & _MASK
        self._t2000 = -1
        if self.console is not None:
            # Without a console it could not be opened again.
            self._extras.append(self._prompt)
        self._has_entropy = options.flag("entropy", self.has_entropy())
        self._open_extras(options)
        self._watchdog = _open_watchdog(options) if "watchdog_ms" in options else None
        options.end()

    def _open_console(self, options: "Options") -> "Channel":
        if not options.flag("usb", False):
            return _open_uart(options, 115200, None)
        self._prompt = usb = _driver(options, "usb").Usb()
        options.end()
        channel: Channel = usb
        return channel

    def _open_extras(self, options: "Options") -> None:
        """Open the log, the contacts and the display that the board has."""
        self._log: Log | None = None
        if options.flag("log", True):
            self._log = _driver(options, "log").Log(self.storage, self.now_t2000)
            self._extras.append(self._log)
        if "door" in options or "power_fail" in options:
            self._extras.append(_driver(options, "contacts").Contacts(options, self._log))
        self._display: Display | None = None
        if "display" in options:
            self._display = _driver(options, "display").Display(options.part("display"))
            self._display.load(self.storage, self.now_t2000)
            self._extras.append(self._display)

    def attach(self, app: "Concentrator") -> None:
        """Let the parts of the board use `app`, and limit the heap that garbage may take."""
        if not self._has_entropy:
            app.entropy.distrust()
        for extra in self._extras:
            extra.attach(app)
        # A collection walks the heap as far as it was used, and a PSRAM has megabytes of it. An
        # ESP32 takes more of its PSRAM whenever the heap is full. So it is collected before.
        gc.collect()
        gc.threshold(min(gc.mem_free() // 2, _GARBAGE_MOST))
        self.note("start, cause " + str(self.reset_cause))

    def signal(self, signals: int) -> None:
        """Light the lamps, and note which of the signals have changed."""
        super().signal(signals)
        for bit, name in enumerate(_SIGNALS):
            if name and (signals ^ self._told_signals) >> bit & 1:
                self.note(name + (" begins" if signals >> bit & 1 else " ends"))
        self._told_signals = signals

    def note(self, text: str) -> None:
        """Add a line to the log, if there is one."""
        if self._log is not None:
            self._log.add(text)

    def fail(self, error: Exception) -> None:
        """Note the error that has ended the program; restart a board whose prompt is locked."""
        if self._log is not None:
            trace = io.StringIO()
            sys.print_exception(error, trace)
            for line in trace.getvalue().strip().split("\n")[1:]:
                self._log.add(line.strip())
            self._log.urge("the program has ended")
        if self._prompt.is_locked:
            machine.reset()

    def _open_uplink(self, options: "Options") -> "Uart | TcpClient":
        if "uart" in options:
            return _open_uart(options, 115200, None)
        self._link, client = open_network(options, self.join)
        return client

    @staticmethod
    def join(options: "Options") -> "Link":
        """Refuse to join a Wi-Fi; a port whose chip may have a radio overrides this."""
        raise options.refusal("ssid", "this port has no Wi-Fi")

    def now_ticks(self) -> int:
        """Return the time in ms, modulo 2**29."""
        return time.ticks_ms() & _MASK

    def now_t2000(self) -> int:
        """Return local standard time in seconds since 2000, -1 when it was never set."""
        # Asking the chip takes up to 112 bytes of heap: once a second, not at every turn.
        now_ticks = time.ticks_ms() & _MASK
        if (now_ticks - self._clock_ticks) & _MASK >= _CLOCK_MS:
            self._clock_ticks = now_ticks
            self._t2000 = self._read_t2000()
        return self._t2000

    def _read_t2000(self) -> int:
        now_s = time.time()
        if time.gmtime(now_s)[0] < _YEAR_SET:
            return -1
        return now_s - _EPOCH_1970_S if self._is_1970 else now_s

    def ask_t2000(self, source: int) -> int:
        """Return local standard time from the RTC chip or the network, -1 without an answer."""
        return self._clocks[source].now_t2000() if source in self._clocks else -1

    def show_card(self, code: int, credited: bool, index: int) -> None:
        """Show the card's holder its result on the buzzer and the display."""
        super().show_card(code, credited, index)
        if self._display is not None:
            self._display.show(code, index)
        self.note("card of row " + str(index) + " code " + str(code))

    def set_t2000(self, t2000: int) -> None:
        """Set the chip's clock and the RTC chip to local standard time."""
        rtc = self._clocks.get(CLOCK_RTC)
        if isinstance(rtc, Rtc):
            rtc.set_t2000(t2000)
        moment = time.gmtime(t2000 + _EPOCH_1970_S if self._is_1970 else t2000)
        year, month, day, hour, minute, second, weekday = moment[:7]
        weekday += self.first_weekday
        machine.RTC().datetime((year, month, day, weekday, hour, minute, second, 0))
        self._t2000 = self._read_t2000()

    def has_entropy(self) -> bool:
        """Return whether os.urandom of this chip can be trusted: board.json may say otherwise."""
        return False

    def random(self) -> int:
        """Return a number below 2**29, unpredictable where `has_entropy`."""
        return int.from_bytes(os.urandom(4), "little") & _MASK

    def calm(self) -> None:
        """Wait until no request leaves.

        While the flash works or garbage is collected, the direction pin cannot fall. The
        concentrator does both between transactions; only a card, a command or another line's
        outcome may come in between.
        """
        for line in self._uarts:
            while line.sending:
                time.sleep_us(1000)
                line.look()

    def look(self) -> None:
        """Update every `waiting`, the buzzer and the button."""
        waiting = 0
        if self._link is not None:
            self._link.look()
            if self._link.up != self._was_up:
                self._was_up = self._link.up
                self.note("network is up" if self._was_up else "network is down")
        for channel in self._channels:
            channel.look()
            waiting |= channel.waiting
        self.waiting = waiting
        for extra in self._extras:
            extra.look()
        self.attend_panel()

    def feed(self) -> None:
        """Feed the watchdog."""
        if self._watchdog is not None:
            self._watchdog.feed()


def open_network(
    options: "Options", join: "Callable[[Options], Link]"
) -> "tuple[Link | None, TcpClient]":
    """Return the link that the uplink's `options` name, None for none, and the connection on it.

    `join` opens a Wi-Fi.
    """
    try:
        from boards.names import is_digits
        from boards.tcp import TcpClient
    except ImportError:
        raise options.refusal("host", "this port has no sockets, give it a uart") from None
    host, port = options.text("host"), options.number("port", 1, 65535)
    link: Link | None = None
    if "lan" in options:
        part = options.part("lan")
        link = _driver(part, "lan").Lan(part)
    elif "ssid" in options:
        link = join(options)
    elif not is_digits(host):
        raise options.refusal("host", "give the address in digits, or an ssid or lan")
    options.end()
    return link, TcpClient(host, port, link)


def open_storage(device: "AbstractBlockDev", page: int, new: bool) -> LittleStorage:
    """Return storage in the folder /journal of the flash `device`, which is mounted again.

    Where board.json names an SPI flash, it is on that one. `page` and `new` are those of
    `open_filesystem`.
    """
    return open_nor(new) or LittleStorage(_mount(device, page, new), "/journal", new)


def open_nor(new: bool) -> "LittleStorage | None":
    """Return storage on the whole SPI flash that board.json names, None without one."""
    options = load()
    if "flash" not in options:
        return None
    part = options.part("flash")
    driver = _driver(part, "nor")
    size_kib = part.number("fram_kib", 0, 16384, 0)
    nor = driver.Nor(part.spi(), part.output("cs"), size_kib * 1024)
    part.end()
    if not nor.blocks:
        raise part.refusal("spi", "no flash answers there")
    return LittleStorage(open_filesystem(nor, driver.PAGE, new))


def _mount(device: "AbstractBlockDev", page: int, new: bool) -> "VfsLfs2":
    """Mount the file system of `device` in place of the port's own; return it.

    Two file systems on one device would damage each other.
    """
    place = os.getcwd()
    try:  # noqa: SIM105 - MicroPython has no contextlib
        vfs.umount(place)
    except OSError:
        pass  # nothing was mounted, as on a flash that the port could not read
    filesystem = open_filesystem(device, page, new)
    vfs.mount(filesystem, place)
    os.chdir(place)
    return filesystem


def _driver(options: "Options", name: str) -> "Any":
    """Return the module boards/`name`, which an image for another board.json may not have."""
    try:
        return __import__("boards." + name, None, None, ("",))
    except ImportError as error:
        raise options.refusal("", "this image lacks what it needs, " + str(error)) from None


def _open_uart(options: "Options", baud: int, parity: "int | None") -> Uart:
    """Return a channel on the UART of `options`, which may have no other keys."""
    uart = Uart(options, baud, parity)
    options.end()
    return uart


def _open_rtc(options: "Options") -> Rtc:
    rtc = Rtc(options.i2c(), options.choice("chip", [row[0] for row in CHIPS]))
    options.end()
    return rtc


def _open_sntp(options: "Options", link: "Link | None") -> "Sntp":
    try:
        from boards.names import is_digits
        from boards.sntp import Sntp
    except ImportError:
        raise options.refusal("host", "this port has no sockets") from None
    offset_s = options.number("offset_s", default=_CHINA_S)
    host = options.text("host")
    if link is None and not is_digits(host):
        raise options.refusal("host", "give the address in digits, or the uplink an ssid or lan")
    sntp = Sntp(host, offset_s, link=link)
    options.end()
    return sntp


def _reset_cause() -> int:
    """Return why the board has started, as ports.py numbers it."""
    cause = machine.reset_cause()
    for index, name in enumerate(_CAUSES):
        if getattr(machine, name, None) == cause:
            return index + 1
    return 0


def _open_watchdog(options: "Options") -> machine.WDT:
    limit_ms = options.number("watchdog_ms", 1000)
    try:
        return machine.WDT(timeout=limit_ms)
    except REFUSALS:
        raise options.refusal("watchdog_ms", "this chip has no watchdog of that time") from None
