"""Goal: a board with a chip sends on RS-485 to its last bit, receives no echo, and knows the time
with any epoch of its port; a wrong board.json is reported in one line.

Method: firmware/boards/chip.py runs on CPython, with a machine, a clock and a file system made
here. The tests do not show that a chip behaves as its documentation says.
"""

import importlib
import json
import re
import socket
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from host.sim.storage import Storage
from tools import micropython

EPOCH_1970_S = 946684800

# These modules of firmware/boards import modules that only a device has.
MODULES = [
    f"boards.{name}"
    for name in (
        "chip",
        "contacts",
        "display",
        "lan",
        "link",
        "littlefs",
        "log",
        "names",
        "panel",
        "prompt",
        "rtc",
        "sntp",
        "tcp",
        "uart",
        "usb",
        "wifi",
        "wiring",
    )
]


class World:
    """The time, and the commands that the chip's parts received."""

    def __init__(self) -> None:
        self.ms = 1000
        self.now_s = 820540800
        self.year = 2026
        self.told: list[Any] = []
        self.timers: list[Timer] = []

    def pass_ms(self, ms: int) -> None:
        """Let time pass in one long step of the main loop, during which only timers run."""
        for _ in range(ms):
            self.ms += 1
            for timer in self.timers:
                if timer.due_ms == self.ms:
                    timer.due_ms = -1
                    timer.callback(timer)


class Uart:
    """A UART that reports the end of sending one character too early, as many do."""

    world: World

    def __init__(self, *arguments: Any, **options: Any) -> None:
        if arguments[0] == 9:
            raise ValueError("UART(9) does not exist")
        self.options = (arguments, options)
        self.received = b""
        self.sent = self.left = b""

    def any(self) -> int:
        return len(self.received)

    def readinto(self, buf: bytearray) -> int | None:
        size = min(len(buf), len(self.received))
        buf[:size] = self.received[:size]
        self.received = self.received[size:]
        return size or None

    def write(self, buf: memoryview) -> int:
        self.sent += bytes(buf)
        return len(buf)

    def txdone(self) -> bool:
        return True

    def flush(self) -> None:
        self.left = self.sent

    def init(self, *arguments: Any, **options: Any) -> None:
        assert self.left == self.sent, "what was written would leave at the new speed"
        assert not {"tx", "rx"} & options.keys()
        self.options = (self.options[0][:1] + arguments, options)


class Timer:
    """A timer that fires between two bytecodes, also within a long step of the main loop."""

    ONE_SHOT = 0
    world: World

    def __init__(self, number: int) -> None:
        if number > 3:
            raise ValueError("invalid Timer number")
        self.due_ms = -1
        self.callback: Any = None
        Timer.world.timers.append(self)

    def init(self, mode: int, period: int, callback: Any) -> None:
        self.due_ms = Timer.world.ms + period
        self.callback = callback


class Pin:
    """An output that keeps its changes."""

    IN, OUT, OPEN_DRAIN, PULL_UP = range(4)

    def __init__(self, number: object, *modes: int, value: int = 0) -> None:
        if number == 77:
            raise ValueError("invalid pin")
        self.number = number
        self.level = value

    def __call__(self, level: int | None = None) -> int:
        if level is not None:
            self.level = level
        return self.level


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[World]:
    made = Timer.world = World()
    machine = types.ModuleType("machine")
    clock = types.SimpleNamespace(datetime=made.told.append)
    dog = types.SimpleNamespace(feed=lambda: made.told.append("fed"))

    def watchdog(timeout: int) -> Any:
        if timeout > 8388:
            raise ValueError("timeout exceeds 8388")
        return dog

    vars(machine).update(
        reset_cause=lambda: 3, PWRON_RESET=1, WDT_RESET=3, SOFT_RESET=5, HARD_RESET=2
    )
    vars(machine).update(UART=Uart, Pin=Pin, Timer=Timer, I2C=Bus, RTC=lambda: clock, WDT=watchdog)
    little = types.ModuleType("vfs")
    vars(little).update(umount=lambda path: None, mount=lambda fs, path: None, VfsLfs2=Disk)
    ticks = types.ModuleType("time")
    vars(ticks).update(
        ticks_ms=lambda: made.ms,
        ticks_us=lambda: 1000 * made.ms,
        ticks_add=lambda a, b: a + b,
        ticks_diff=lambda a, b: a - b,
        time=lambda: made.now_s,
        gmtime=lambda s: (1970 if s == 0 and made.now_s > 1e9 else made.year, 1, 2, 6, 0, 0, 4, 2),
        sleep_us=None,
    )
    heap = types.ModuleType("gc")
    vars(heap).update(collect=lambda: None, mem_free=lambda: 100_000, threshold=lambda size: None)
    for name, module in (("machine", machine), ("vfs", little), ("time", ticks), ("gc", heap)):
        monkeypatch.setitem(sys.modules, name, module)
    for name in MODULES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.chdir(tmp_path)
    yield made
    for name in MODULES:
        sys.modules.pop(name, None)


class Disk:
    """A file system with nothing on it."""

    def __init__(self, *arguments: Any, **options: Any) -> None: ...

    def stat(self, path: str) -> tuple[int, ...]:
        return (0,)

    def ilistdir(self, path: str) -> list[tuple[str, int]]:
        return []

    def statvfs(self, path: str) -> tuple[int, ...]:
        return (4096, 4096, 256, 250)

    def mkdir(self, path: str) -> None: ...


def board_of(**options: Any) -> Any:
    """Return a board with this board.json."""
    Path("board.json").write_text(json.dumps(options))
    return importlib.import_module("boards.chip").Board(Storage())


LINE = {"uart": 1, "tx": 17, "rx": 16, "direction": 4}


@pytest.mark.parametrize("baud", [600, 1200, 2400, 4800, 9600, 19200, 115200])
@pytest.mark.parametrize("step_ms", [1, 20, 160, 5000])
def test_the_direction_changes_soon_after_the_last_bit(
    world: World, baud: int, step_ms: int
) -> None:
    """A long step of the main loop does not delay it; a meter may answer after 4 ms."""
    board = board_of(lines=[{**LINE, "baud": baud}])
    line = board.lines[0]
    request = bytes(20)
    assert line.write(memoryview(request)) == 20
    last_bit_ms = world.ms + 20 * 11 * 1000 / baud
    fallen_ms = None
    while fallen_ms is None:
        for _ in range(step_ms):
            world.pass_ms(1)
            if not line._direction.level and fallen_ms is None:
                fallen_ms = world.ms
        board.look()
    character_ms = 11000 / baud if baud > 9600 else 0
    assert 0 <= fallen_ms - last_bit_ms <= 3 + character_ms


def test_a_port_that_has_not_sent_all_is_asked_again(world: World) -> None:
    board = board_of(lines=[LINE])
    line = board.lines[0]
    line.write(memoryview(b"ask"))
    line._port.txdone = lambda: world.ms >= 1030
    world.pass_ms(29)
    assert line._direction.level == 1
    world.pass_ms(2)
    assert line._direction.level == 0


def test_the_flash_waits_for_a_request_that_leaves(world: World) -> None:
    """A card that is credited meanwhile must not delay the pin, so its record waits for it."""
    vars(sys.modules["time"])["sleep_us"] = lambda us: world.pass_ms(us // 1000)
    littlefs = importlib.import_module("boards.littlefs")
    storage = littlefs.LittleStorage(Disk())
    Path("board.json").write_text(json.dumps({"lines": [LINE], "log": False}))
    board = importlib.import_module("boards.chip").Board(storage)
    line = board.lines[0]
    opened = []
    storage._filesystem.open = lambda path, mode: opened.append(line._direction.level)
    storage._filesystem.remove = lambda path: opened.append(line._direction.level)
    line.write(memoryview(bytes(20)))
    begun_ms = world.ms
    storage.remove("j00000041")
    assert opened == [0]
    assert 92 <= world.ms - begun_ms <= 95
    storage.remove("j00000041")
    assert world.ms - begun_ms <= 95


def test_garbage_is_collected_when_no_request_leaves(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No timer runs while the interpreter collects garbage, for 10 ms and more on a chip."""
    from concentrator import run

    vars(sys.modules["time"])["sleep_us"] = lambda us: world.pass_ms(us // 1000)
    board = board_of(lines=[LINE])
    line = board.lines[0]
    seen = []
    monkeypatch.setattr(
        run, "gc", types.SimpleNamespace(mem_free=1, collect=lambda: seen.append(line.sending))
    )
    app = types.SimpleNamespace(litter=9)
    line.write(memoryview(bytes(20)))
    assert line.sending
    assert run.collect_garbage(app, board)
    assert seen == [False]
    assert not run.collect_garbage(app, board)


def test_two_writes_are_one_request(world: World) -> None:
    board = board_of(lines=[LINE])
    line = board.lines[0]
    line.write(memoryview(bytes(10)))
    world.pass_ms(20)
    line.write(memoryview(bytes(10)))
    world.pass_ms(72)
    assert line._direction.level == 1
    world.pass_ms(4)
    assert line._direction.level == 0


def test_a_chip_without_the_timer_ends_sending_in_its_turn(world: World) -> None:
    uart = importlib.import_module("boards.uart")
    wiring = importlib.import_module("boards.wiring")
    line = uart.Uart(wiring.Options(LINE, "line"), 2400, 0, timer=9)
    line.write(memoryview(bytes(20)))
    world.pass_ms(92)
    line.look()
    assert line._direction.level == 1
    world.pass_ms(2)
    line.look()
    assert line._direction.level == 0


def test_a_port_whose_write_waits_for_the_last_bit_listens_at_once(world: World) -> None:
    uart = importlib.import_module("boards.uart")
    wiring = importlib.import_module("boards.wiring")
    line = uart.Uart(wiring.Options(LINE, "line"), 2400, 0)
    line.write(memoryview(bytes(20)))
    assert line._direction.level == 0
    assert world.timers == []


def test_what_is_heard_while_the_pin_is_high_is_kept(world: World) -> None:
    """The master recognizes its echo, and an answer that came early counts as an answer."""
    board = board_of(lines=[LINE])
    line = board.lines[0]
    line.write(memoryview(b"ask"))
    line._port.received = b"answer"
    board.look()
    buf = bytearray(30)

    assert board.waiting
    assert line.read_into(buf) == 6
    assert bytes(buf[:6]) == b"answer"


def test_a_line_changes_its_speed_and_nothing_else(world: World) -> None:
    board = board_of(lines=[LINE], console={"uart": 2})
    line = board.lines[0]
    assert line._port.options[0] == (1, 2400, 8, 0, 1)
    assert board.console._port.options[1]["rxbuf"] == 1024
    line.write(memoryview(b"broadcast"))
    line.set_baud(19200)

    assert line._port.options == ((1, 19200, 8, 0, 1), {"timeout": 0, "rxbuf": 512})
    world.pass_ms(100)
    line.write(memoryview(bytes(20)))
    # 20 characters of 11 bits at 19200 baud take 11.5 ms.
    world.pass_ms(11)
    assert line._direction.level == 1
    world.pass_ms(3)
    assert line._direction.level == 0


@pytest.mark.parametrize("epoch_s", [0, EPOCH_1970_S])
def test_the_time_is_the_same_on_every_port(world: World, epoch_s: int) -> None:
    world.now_s += epoch_s
    board = board_of(lines=[LINE])

    assert board.now_t2000() == 820540800
    board.set_t2000(820540800)
    assert world.told == [(2026, 1, 2, 4, 6, 0, 0, 0)]


def test_the_clock_is_asked_once_a_second(world: World) -> None:
    board = board_of(lines=[LINE])
    asked = []
    vars(sys.modules["time"])["gmtime"] = lambda s: asked.append(s) or (2026,)
    for _ in range(50):
        world.ms += 100
        world.now_s = 820540800 + (world.ms - 1000) // 1000
        assert board.now_t2000() in (world.now_s, world.now_s - 1)
    assert len(asked) == 5
    # The time that was set is used at once.
    vars(sys.modules["time"])["gmtime"] = lambda s: (2026, 1, 2, 6, 0, 0, 4, 2)
    world.now_s = 830000000
    board.set_t2000(830000000)
    assert board.now_t2000() == 830000000


QUIET_TURNS = """\
import sys, time
sys.path[:0] = [{firmware!r}, "tests/core"]
class Part:
    IN = OUT = PULL_UP = 0
    def __init__(self, *arguments, **options): pass
    def __call__(self, level=0): return level
    def any(self): return 0
class machine:
    Pin = UART = Timer = Part
    reset_cause = int
sys.modules["machine"] = machine
import json, os
from harness import heap_locked
from boards import chip
with open({file!r}, "w") as file:
    json.dump({options!r}, file)
os.chdir({folder!r})
class Storage:
    def size(self, name): return -1
    def read_into(self, name, at, buf, size): return -1
board = chip.Board(Storage())
board.now_t2000()
board.look()
begun = time.ticks_ms()
turns = 0
with heap_locked():
    while time.ticks_diff(time.ticks_ms(), begun) < 500:
        board.look()
        board.now_ticks()
        board.now_t2000()
        turns += 1
print(turns > 100)
"""


def test_a_turn_takes_no_heap_for_clock_and_ports(tmp_path: Path) -> None:
    options = {"lines": [LINE], "lamps": [2], "button": 0}
    program = QUIET_TURNS.format(
        file=str(tmp_path / "board.json"),
        folder=str(tmp_path),
        options=options,
        firmware=str(Path(__file__).parents[2] / "firmware"),
    )
    done = subprocess.run(
        [str(micropython.ensure()), "-c", program],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "True\n", done.stdout + done.stderr


COMPUTER = """\
import sys, time
sys.path[:0] = ["firmware", "tests/core"]
from harness import heap_locked
from boards.unix import Clock
clock = Clock(0, 0, 0)
time.sleep_ms(1000)
then = clock.now_t2000()
begun = time.ticks_ms()
turns = 0
with heap_locked():
    while time.ticks_diff(time.ticks_ms(), begun) < 500:
        clock.now_t2000()
        turns += 1
time.sleep_ms(1000)
print(turns > 100, 1 <= clock.now_t2000() - then <= 3)
clock.set(then - 500)
print(clock.now_t2000() - then)
"""


def test_a_turn_takes_no_heap_for_the_clock_of_a_computer() -> None:
    done = subprocess.run(
        [str(micropython.ensure()), "-c", COMPUTER],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "True True\n-500\n", done.stdout + done.stderr


def test_the_cause_of_a_restart_is_told(world: World) -> None:
    assert board_of(lines=[LINE]).reset_cause == 3
    vars(sys.modules["machine"])["reset_cause"] = lambda: 9
    assert board_of(lines=[LINE]).reset_cause == 0


def test_a_clock_that_was_never_set_is_no_time(world: World) -> None:
    world.year = 2021

    assert board_of(lines=[LINE]).now_t2000() == -1


class Bus:
    """An I2C bus with an RTC chip that is set to 2026-11-29 23:54:56."""

    def __init__(self, number: int, **options: int) -> None:
        if number == 9:
            raise ValueError("I2C(9) does not exist")
        self.registers = bytearray.fromhex("56542301291126") + bytes(12)
        self._at = 0

    def writeto(self, addr: int, buf: bytes) -> None:
        if addr != 0x68:
            raise OSError(5)
        self._at = buf[0]
        self.registers[self._at : self._at + len(buf) - 1] = buf[1:]

    def readfrom_into(self, addr: int, buf: bytearray) -> None:
        buf[:] = self.registers[self._at : self._at + len(buf)]


RTC = {"chip": "ds3231", "i2c": 0, "scl": 22, "sda": 21}


def test_an_rtc_chip_tells_the_time_and_is_set_with_the_clock(world: World) -> None:
    board = board_of(lines=[LINE], rtc=RTC)

    assert board.ask_t2000(1) == 849311696
    assert board.ask_t2000(4) == -1
    board.set_t2000(820540800)
    assert board.ask_t2000(1) == 820540800
    assert world.told == [(2026, 1, 2, 4, 6, 0, 0, 0)]
    assert board_of(lines=[LINE]).ask_t2000(1) == -1


def test_a_server_of_the_network_tells_the_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The board asks without waiting, and ignores a packet that does not answer its question."""
    world.ms = 100_000
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(5)
        sntp = importlib.import_module("boards.sntp").Sntp(
            "127.0.0.1", 28800, server.getsockname()[1]
        )
        # 2026-11-29 15:54:56 UTC; and 2040, when the seconds since 1900 have wrapped.
        for seconds, t2000 in ((3155673600 + 849311696 - 28800, 849311696), (2**32 + 5, None)):
            assert sntp.now_t2000() == -1
            request, client = server.recvfrom(100)
            assert (len(request), request[0]) == (48, 0x23)
            for mark, head in ((bytes(8), b"\x24\1"), (request[40:], b"\x24\0")):
                server.sendto(head + bytes(22) + mark + bytes(16), client)
                time.sleep(0.01)
                assert sntp.now_t2000() == -1
            reply = b"\x24\1" + bytes(22) + request[40:] + bytes(8)
            server.sendto(reply + (seconds % 2**32).to_bytes(4, "big") + bytes(4), client)
            time.sleep(0.01)
            assert sntp.now_t2000() == (t2000 or seconds - 3155673600 + 28800)
        # A server that does not answer is asked again.
        assert sntp.now_t2000() == -1
        world.ms += 4_900
        assert sntp.now_t2000() == -1
        assert len(server.recv(100)) == 48
        world.ms += 10_100
        assert sntp.now_t2000() == -1
        assert len(server.recv(100)) == 48
        sntp._close()


def test_a_name_that_is_not_found_is_no_time(world: World) -> None:
    sntp = importlib.import_module("boards.sntp").Sntp("no.such.host.invalid", 0)
    assert sntp.now_t2000() == -1
    board = board_of(lines=[LINE], sntp={"host": "127.0.0.1"})
    assert board.ask_t2000(4) == -1


def test_lamps_and_watchdog(world: World) -> None:
    board = board_of(lines=[LINE], lamps=[2, 5], watchdog_ms=8000)
    board.signal(2)
    assert [lamp.level for lamp in board._lamps] == [0, 1]
    board.feed()
    assert world.told == ["fed"]


def beeps(world: World, board: Any) -> list[int]:
    """Return how long the buzzer sounds and is silent, in units of 10 ms."""
    spans = [0]
    level = 1
    for _ in range(120):
        if board._buzzer.level != level:
            level = board._buzzer.level
            spans.append(0)
        spans[-1] += 1
        world.ms += 10
        board.look()
    return spans[:-1]


def test_a_card_that_is_taken_beeps_once_and_one_that_is_refused_three_times(world: World) -> None:
    board = board_of(lines=[LINE], buzzer=15)

    board.show_card(0, True, 0)
    assert beeps(world, board) == [15]
    # The card is marked now and was credited before: its holder need not come again.
    board.show_card(1, False, 0)
    assert beeps(world, board) == [15]
    board.show_card(10, False, -1)
    assert beeps(world, board) == [15, 15, 15, 15, 15]


def test_a_board_without_buzzer_lamps_and_button_is_quiet(world: World) -> None:
    board = board_of(lines=[LINE])

    board.show_card(0, True, 0)
    board.signal(3)
    board.look()
    assert not board.pressed


def test_the_button_is_pressed_once_and_lights_all_lamps_as_long_as_it_is_held(
    world: World,
) -> None:
    board = board_of(lines=[LINE], lamps=[2, 5, 6], button=0)
    board._button.level = 1
    board.look()
    board.signal(2)
    assert not board.pressed

    board._button.level = 0
    board.look()
    assert board.pressed
    assert [lamp.level for lamp in board._lamps] == [1, 1, 1]
    board.pressed = False
    board.signal(1)
    board.look()
    assert not board.pressed
    assert [lamp.level for lamp in board._lamps] == [1, 1, 1]
    board._button.level = 1
    board.look()
    assert not board.pressed
    assert [lamp.level for lamp in board._lamps] == [1, 0, 0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "board.json is missing"),
        ("{", "board.json is no JSON"),
        ("[]", "board.json: it: expected an object"),
        ("{}", "board.json: lines: missing"),
        ('{"lines": []}', "board.json: lines: expected one line or more"),
        ('{"lines": [{"uart": 1}, 2]}', r"board.json: lines\[1\]: expected an object"),
        ('{"lines": [{"uart": 1, "tx": 77}]}', r"lines\[0\].tx: this board has no pin 77"),
        ('{"lines": [{"uart": 9}]}', r"lines\[0\].uart: this board has no such UART"),
        ('{"lines": [{"uart": 1, "parity": 2}]}', r"lines\[0\].parity: expected 0 for even"),
        (
            '{"lines": [{"uart": 1, "bauds": 2400}]}',
            r"lines\[0\].bauds: not known here; there are",
        ),
        ('{"lines": [{"uart": 1}], "lamps": 2}', r"lamps: expected a list in \[ \]"),
        ('{"lines": [{"uart": 1}], "lamps": [2, 77]}', "lamps: this board has no pin 77"),
        ('{"lines": [{"uart": 1}], "capacity": [256]}', "capacity: expected two numbers"),
        ('{"lines": [{"uart": 1}], "capacity": [256, 0]}', "capacity: expected two numbers, each"),
        ('{"lines": [{"uart": 1}], "watchdog_ms": 9000}', "watchdog_ms: this chip has no watchd"),
        ('{"lines": [{"uart": 1}], "buzer": 3}', "buzer: not known here; there are button, buz"),
        ('{"lines": [{"uart": 1}], "uplink": {"host": "a"}}', "uplink.port: missing"),
        ('{"lines": [{"uart": 1}], "rtc": {"i2c": 9}}', "rtc.i2c: this board has no such I2C"),
        ('{"lines": [{"uart": 1}], "rtc": {"i2c": 1}}', "rtc.chip: missing; give one of ds1307,"),
        ('{"lines": [{"uart": 1}], "sntp": {}}', "sntp.host: missing"),
        (
            '{"lines": [{"uart": 1}], "uplink": {"host": 5, "port": 1}}',
            "uplink.host: expected a t",
        ),
    ],
)
def test_a_wrong_board_json_is_told(world: World, text: str | None, said: str) -> None:
    if text is not None:
        Path("board.json").write_text(text)
    from boards import BoardError

    with pytest.raises(BoardError, match=said):
        importlib.import_module("boards.chip").Board(Storage())


def test_the_example_of_the_documentation_is_understood(world: World) -> None:
    text = (Path(__file__).parents[2] / "docs/HARDWARE.md").read_text()
    [example] = re.findall(r"^    \{\n(?:     .*\n)+    \}", text, re.MULTILINE)
    options = json.loads(example)
    del options["uplink"]["ssid"], options["uplink"]["key"]

    board = board_of(**options)

    assert board.capacity == tuple(options["capacity"])
    assert len(board._lamps) == len(options["lamps"])
    assert board.uplink is not None
    assert board.card_reader is not None


class Chip:
    """A flash of 1 MiB."""

    def ioctl(self, operation: int, argument: int) -> int:
        return 256 if operation == 4 else 4096


def test_the_flash_is_mounted_anew_where_the_port_had_it(world: World) -> None:
    told: list[tuple[str, str]] = []
    vars(sys.modules["vfs"]).update(
        umount=lambda path: told.append(("umount", path)),
        mount=lambda fs, path: told.append(("mount", path)),
    )
    board_of(lines=[LINE])
    importlib.import_module("boards.chip").open_storage(Chip(), 256, True)

    assert told == [("umount", str(Path.cwd())), ("mount", str(Path.cwd()))]


def test_a_port_that_cannot_reach_the_uplink_says_which_key_to_change(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from boards import BoardError

    uplink = {"host": "192.168.1.2", "port": 7645}
    with pytest.raises(BoardError, match=r"uplink\.ssid: this port has no Wi-Fi"):
        board_of(lines=[LINE], uplink={**uplink, "ssid": "station", "key": "secret"})
    monkeypatch.setitem(sys.modules, "boards.tcp", None)
    with pytest.raises(BoardError, match=r"uplink\.host: this port has no sockets"):
        board_of(lines=[LINE], uplink=uplink)


class Radio:
    """A Wi-Fi chip that ends each attempt as `ends` says: "", "lost" or an OSError."""

    world: World
    is_up = False
    is_active = False
    trouble = ""
    server = "0.0.0.0"

    def __init__(self, interface: int) -> None:
        if Radio.trouble == "none":
            raise OSError("no such interface")

    def active(self, on: bool | None = None) -> bool:
        if on:
            if Radio.trouble == "dead":
                raise OSError("Wifi Unknown Error")
            Radio.is_active = True
        return Radio.is_active

    def disconnect(self) -> None:
        Radio.world.told.append("left")

    def connect(self, ssid: str, key: str) -> None:
        Radio.world.told.append((ssid, key))
        if Radio.trouble == "error":
            raise OSError("Wifi Internal Error")
        Radio.is_up = not Radio.trouble

    def isconnected(self) -> bool:
        return Radio.is_up

    def ifconfig(self) -> tuple[str, ...]:
        return ("192.0.2.7", "255.255.255.0", "192.0.2.1", Radio.server)


@pytest.fixture
def wifi(world: World, monkeypatch: pytest.MonkeyPatch) -> Any:
    network = types.ModuleType("network")
    vars(network).update(STA_IF=0, WLAN=Radio)
    monkeypatch.setitem(sys.modules, "network", network)
    for name, value in (("world", world), ("is_up", False), ("is_active", False), ("trouble", "")):
        monkeypatch.setattr(Radio, name, value, raising=False)
    wiring = importlib.import_module("boards.wiring")
    module = importlib.import_module("boards.wifi")
    return lambda: module.Wifi(wiring.Options({"ssid": "station", "key": "secret"}, "uplink"))


def joined(world: World, link: Any, seconds: int) -> int:
    """Return how often the board has tried to join in that time."""
    before = world.told.count(("station", "secret"))
    for _ in range(seconds * 10):
        world.ms += 100
        link.look()
    return world.told.count(("station", "secret")) - before


def test_no_two_boards_wait_equally_long(world: World) -> None:
    """Every wait for the network is half to one and a half of what it is named."""
    link = importlib.import_module("boards.link")
    waits = [link.scattered(1000) for _ in range(400)]
    assert 500 <= min(waits) < 600
    assert 1400 < max(waits) < 1500
    tcp = importlib.import_module("boards.tcp")
    again = set()
    for _ in range(20):
        client = tcp.TcpClient("127.0.0.1", 9)
        client.close()
        again.add(client._next_ticks - world.ms)
    assert len(again) > 5
    assert all(500 <= one < 1500 for one in again)


def test_a_wifi_that_was_lost_is_joined_again(world: World, wifi: Any) -> None:
    link = wifi()
    assert world.told == [("station", "secret")]
    assert joined(world, link, 100) == 0
    assert link.up
    # The access point disappears for an hour, and the chip does not reconnect by itself.
    Radio.is_up, Radio.trouble = False, "lost"
    assert 10 <= joined(world, link, 3600) <= 30
    assert not link.up
    Radio.trouble = ""
    assert joined(world, link, 600) == 1
    assert link.up


@pytest.mark.parametrize("trouble", ["error", "dead", "none"])
def test_an_error_of_the_radio_stops_nothing(world: World, wifi: Any, trouble: str) -> None:
    Radio.trouble = trouble
    link = wifi()
    tries = joined(world, link, 120)
    # Each wait is half to one and a half times as long, by chance.
    assert 2 <= tries <= 4 if trouble == "error" else tries == 0
    assert link.name_server() == ""
    Radio.trouble = ""
    assert joined(world, link, 400) == 1
    assert link.up


def test_a_chip_without_a_radio_says_so(
    world: World, wifi: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from boards import BoardError

    monkeypatch.setitem(sys.modules, "network", None)
    with pytest.raises(BoardError, match=r"^board\.json: uplink\.ssid: this chip has no radio"):
        wifi()


class Ethernet(Radio):
    """The Ethernet of a port, which has its pins or is given them."""

    def __init__(self, **pins: Any) -> None:
        if "mdc" not in pins and Radio.trouble == "pins":
            raise ValueError("invalid pin")
        Radio.world.told.append(sorted(pins))
        if Radio.trouble == "none":
            raise OSError("no PHY answers")


def test_a_cable_is_a_link_like_a_wifi(
    world: World, wifi: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from boards import BoardError

    uplink: dict[str, Any] = {"host": "head.example", "port": 7645, "lan": {}}
    with pytest.raises(BoardError, match=r"uplink\.lan: this port has no Ethernet"):
        board_of(lines=[LINE], uplink=uplink)
    vars(sys.modules["network"]).update(LAN=Ethernet, PHY_LAN8720=4)
    Radio.trouble = "pins"
    with pytest.raises(BoardError, match=r"uplink\.lan: this board has no Ethernet on these"):
        board_of(lines=[LINE], uplink=uplink)
    uplink["lan"] = {"mdc": 23, "mdio": 18, "phy": "LAN8721", "address": 1}
    with pytest.raises(BoardError, match=r"lan\.phy: expected one of LAN8720"):
        board_of(lines=[LINE], uplink=uplink)
    uplink["lan"]["phy"] = "LAN8720"
    # No PHY answers at the start: the board starts, and tries again.
    Radio.trouble = "none"
    board = board_of(lines=[LINE], uplink=uplink)
    Radio.trouble = ""
    for _ in range(600):
        world.ms += 100
        board.look()
    assert world.told == 2 * [["mdc", "mdio", "phy_addr", "phy_type"]]
    assert not board._link.up
    Radio.is_up = True
    world.ms += 1000
    board.look()
    assert board._link.up


def test_a_name_needs_a_link_that_can_ask_without_waiting(world: World) -> None:
    from boards import BoardError

    with pytest.raises(BoardError, match=r"uplink\.host: give the address in digits, or an ssid"):
        board_of(lines=[LINE], uplink={"host": "head.example", "port": 7645})
    with pytest.raises(BoardError, match=r"sntp\.host: give the address in digits, or the upl"):
        board_of(lines=[LINE], sntp={"host": "time.example"})


class NameServer:
    """A name server on this computer, which answers with `reply`, or not at all."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.settimeout(0.02)
        self.asked: list[bytes] = []
        self.address = b""

    def answer(self) -> None:
        """Answer what was asked: an alias, then the address."""
        try:
            query, client = self.socket.recvfrom(600)
        except TimeoutError:
            return
        self.asked.append(query)
        if self.address:
            alias = b"\xc0\x0c\0\5\0\1\0\0\0\1\0\4\1a\xc0\x0c"
            row = b"\1a\xc0\x0c\0\1\0\1\0\0\0\1\0\4" + self.address
            other = bytes((query[0] ^ 1,)) + query[1:2]
            for number in (other, query[:2]):
                reply = number + b"\x81\x80\0\1\0\2\0\0\0\0" + query[12:] + alias + row
                self.socket.sendto(reply, client)
                time.sleep(0.002)


@pytest.fixture
def name_server() -> Iterator[NameServer]:
    made = NameServer()
    yield made
    made.socket.close()


@pytest.mark.slow
def test_a_name_is_looked_up_seldom_only_with_a_link_and_without_waiting(
    world: World, name_server: NameServer
) -> None:
    names = importlib.import_module("boards.names")
    link = types.SimpleNamespace(up=False, name_server=lambda: "127.0.0.1")
    port = name_server.socket.getsockname()[1]
    name = names.Name("head.example", 7645, link, port)

    def find(seconds: int) -> Any:
        """Ask every ten seconds, and let the server answer between."""
        found = None
        for _ in range(max(1, seconds // 10)):
            world.ms += 10000
            found = name.find()
            name_server.answer()
        return found

    assert find(100) is None
    assert name_server.asked == []
    link.up = True
    assert find(3600) is None
    assert 6 <= len(name_server.asked) <= 24
    assert name_server.asked[0][12:] == b"\4head\7example\0\0\1\0\1"
    name_server.address = bytes((192, 0, 2, 1))
    assert find(920) == ("192.0.2.1", 7645)
    # The address changes: it is looked up again after failures; until then the old one is kept.
    name_server.address = bytes((192, 0, 2, 2))
    name_server.asked.clear()
    for _ in range(9):
        name.count(False)
    assert (find(100), name_server.asked) == (("192.0.2.1", 7645), [])
    name.count(False)
    assert find(10) == ("192.0.2.1", 7645)
    assert find(10) == ("192.0.2.2", 7645)
    link.name_server = lambda: ""
    for _ in range(10):
        name.count(False)
    assert find(20) == ("192.0.2.2", 7645)
    name._close()


@pytest.mark.parametrize(
    "reply",
    [
        b"\0\1\1\0\0\1\0\1\0\0\0\0\1a\0\0\1\0\1\1a\0\0\1\0\1\0\0\0\1\0\4abcd",
        b"\0\1\x81\3\0\1\0\1\0\0\0\0\1a\0\0\1\0\1\1a\0\0\1\0\1\0\0\0\1\0\4abcd",
        b"\0\1\x81\0\0\1\0\0\0\0\0\0\1a\0\0\1\0\1",
        b"\0\1\x81\0\0\0\0\1\0\0\0\0\1a\0\0\x1c\0\1\0\0\0\1\0\4abcd",
    ],
)
def test_a_reply_without_an_address_gives_none(world: World, reply: bytes) -> None:
    assert importlib.import_module("boards.names").address_in(reply) == ""


def test_a_reply_that_is_cut_anywhere_gives_none(world: World) -> None:
    names = importlib.import_module("boards.names")
    reply = b"\0\1\x81\0\0\1\0\1\0\0\0\0\1a\0\0\1\0\1\1a\0\0\1\0\1\0\0\0\1\0\4abcd"
    assert names.address_in(reply) == "97.98.99.100"
    for size in range(len(reply)):
        with pytest.raises(IndexError):
            names.address_in(reply[:size])


def test_a_port_without_a_board_and_a_board_without_a_module_are_told_apart(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    import boards

    with pytest.raises(boards.BoardError, match=r"no board for zephyr: add boards/zephyr\.py"):
        boards.open_board("zephyr")
    monkeypatch.delitem(sys.modules, "boards.esp32", raising=False)
    with pytest.raises(boards.BoardError, match="board esp32 cannot start: No module named 'esp"):
        boards.open_board("esp32")
