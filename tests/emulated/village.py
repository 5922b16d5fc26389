"""Run a concentrator and its meters in one small memory: the whole App, its line answered in
place.

This is frozen beside the product into the image for tests; the flash is the board's own and is
erased first. With another storage it runs anywhere.
"""

from array import array
from binascii import hexlify

from concentrator.app import App
from concentrator.books.tariffs import name_of
from concentrator.console.commands import Commands
from dlt645 import di, fast
from tariff_images import MONTHLY, image, ladder, terms

# Friday 2026-01-02 00:00; ticks start near their wrap.
START_T2000 = 820540800
START_TICKS = 0x1FFFF000
HOUR_S = 3600
WATTS = 400
_REPLY = 0x80
_READ = 0x11
_RELAY = 0x1C
_FLASH = 0x21000000
_ERASED = 65536


class Meters:
    """This line of meters, a `Channel`, answers at once; each meter draws WATTS."""

    def __init__(self) -> None:
        self.connection = 1
        self.waiting = 0
        self.t2000 = START_T2000
        self.opened = {}  # type: ignore[var-annotated]  # no typing on the device
        self._reply = bytearray(64)
        self._data = bytearray(24)
        self._request = bytearray(64)
        self._bits = array("i", bytes(4 * 8))

    def write(self, buf: memoryview) -> int:
        """Take a whole request and have the answer ready."""
        start = 0
        while buf[start] == 0xFE:
            start += 1
        self._address = address = buf[start + 1 : start + 7]
        control = buf[start + 8]
        size = buf[start + 9]
        data = self._data
        for index in range(min(size, 4)):
            data[index] = (buf[start + 10 + index] - 0x33) & 0xFF
        identifier = data[0] | data[1] << 8 | data[2] << 16 | data[3] << 24
        if control == _RELAY:
            self.opened[bytes(address)] = (buf[start + 18] - 0x33) & 0xFF == 0x1A
            size = 0
        elif identifier == di.ENERGY_FORWARD:
            size = 4 + self._put_energy(data)
        else:
            data[4] = 0x10 if self.opened.get(bytes(address)) else 0
            data[5] = 0
            size = 6
        self.waiting = fast.encode_frame(self._reply, address, control | _REPLY, data, size)
        return len(buf)

    def _put_energy(self, data: bytearray) -> int:
        """Write the total and four rates, of which the first two share the used energy."""
        units = (self.t2000 - START_T2000) * WATTS // HOUR_S // 10
        for index, value in enumerate((units, units - units // 3, units // 3, 0, 0)):
            for place in range(4):
                pair = value // 100**place % 100
                data[4 + 4 * index + place] = pair // 10 << 4 | pair % 10
        return 20

    def read_into(self, buf: bytearray) -> int:
        """Give the answer."""
        size = self.waiting
        for index in range(size):
            buf[index] = self._reply[index]
        self.waiting = 0
        return size

    def close(self) -> None:
        """Do nothing: the line stays open."""


class Quiet:
    """This `Channel` has no other side; `connection` 0 reports that."""

    def __init__(self, connection: int) -> None:
        self.connection = connection
        self.waiting = 0

    def read_into(self, buf: bytearray) -> int:
        """Read no bytes."""
        return 0

    def write(self, buf: memoryview) -> int:
        """Take all bytes."""
        return len(buf)

    def close(self) -> None:
        """Do nothing."""


class Board:
    """The App is built on this: the emulated flash, the line above, a quiet console and uplink."""

    def __init__(self, storage) -> None:  # type: ignore[no-untyped-def]  # any Storage
        self.storage = storage
        self.meters = Meters()
        self.lines = [self.meters]
        self.console = Quiet(1)
        self.uplink = Quiet(0)
        self.waiting = 0
        self.reset_cause = 0

    def ask_t2000(self, source: int) -> int:
        """Return no time, since the test tells it."""
        return -1

    def set_t2000(self, t2000: int) -> None:
        """Ignore the time, since the test moves it."""

    def random(self) -> int:
        """Return a number that no test guesses."""
        return 12345

    def calm(self) -> None:
        """Have no line whose direction changes."""

    def feed(self) -> None:
        """Do nothing: there is no watchdog."""

    def show_card(self, code: int, credited: bool, index: int) -> None:
        """Do nothing: there is no buzzer."""


def blank_flash():  # type: ignore[no-untyped-def]  # the emulated board's Storage
    """Return the emulated board's flash as one that was never written."""
    import uctypes
    from boards.littlefs import LittleStorage, open_filesystem
    from boards.qemu import Flash

    memory = memoryview(uctypes.bytearray_at(_FLASH, _ERASED))
    blank = b"\xff" * 4096
    for start in range(0, _ERASED, 4096):
        memory[start : start + 4096] = blank
    return LittleStorage(open_filesystem(Flash(), 256, True))


def tariff_image() -> bytes:
    """Return an image with three tiers a month, peak and valley."""
    prices = (56800000, 28800000, 61800000, 33800000, 86800000, 58800000)
    return image(2, 3, (ladder((230000, 400000), prices),), (terms(0, MONTHLY),))


class Village:
    """The concentrator has `count` meters registered, as many as it has room for."""

    def __init__(self, count: int, storage=None) -> None:  # type: ignore[no-untyped-def]  # any storage will do
        self.board = Board(storage or blank_flash())
        # Registers as boards/qemu.py has them.
        self.app = App(self.board, count, 4)
        self.ticks = START_TICKS
        self.t2000 = START_T2000
        self.steps = 0
        self._run = Commands(self.app).run
        for line in ("id 7", "uplink_key " + "5a" * 32, "card_key " + "a5" * 16):
            self.say("set " + line)
        self.say("set interval_s 3600")
        self._load_tariff()
        self.app.step(self.ticks, self.t2000)
        for number in range(count):
            self._run(f"meter add {983764 + number:012d} {310000000001 + number:012d} 1 0 2007")
            self._run(f"account new {310000000001 + number:012d}")

    def _load_tariff(self) -> None:
        data = tariff_image()
        self._run(f"tariff begin {len(data)}")
        self._run("tariff data 0 " + data.hex())
        self.say("tariff commit 1 " + hexlify(name_of(data)).decode())

    def say(self, line: str) -> None:
        """Carry out a command with all its steps."""
        for _ in self._run(line):
            pass

    def round(self) -> None:
        """Move on by an hour, read every meter and bring the journal to rest."""
        self.t2000 += HOUR_S
        self.board.meters.t2000 = self.t2000
        before = self.app.books.readings
        limit = self.steps + 40 * self.app.registry.count + 100
        while self.app.books.readings < before + self.app.registry.count:
            self.turn()
            if self.steps > limit:
                raise ValueError("the round does not end")
        self.rest()

    def rest(self) -> None:
        """Step until nothing is due."""
        while self.turn() < 1000:
            pass

    def turn(self) -> int:
        """Run one step, 5 ms after the one before."""
        self.steps += 1
        self.ticks = (self.ticks + 5) & 0x1FFFFFFF
        self.board.waiting = self.board.meters.waiting
        return self.app.step(self.ticks, self.t2000)
