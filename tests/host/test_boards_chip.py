"""Goal: a board with a chip sends on RS-485 to its last bit, hears no echo, and knows the time
whatever the epoch of its port; a wrong board.json is told in one line.

Method: firmware/boards/chip.py on CPython, with a machine, a clock and a file system made here.
What is not shown by this: that a chip does what its documentation says.
"""

import importlib
import json
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

EPOCH_1970_S = 946684800


class World:
    """The time, and what the chip's parts were told."""

    def __init__(self) -> None:
        self.ms = 1000
        self.now_s = 820540800
        self.year = 2026
        self.told: list[Any] = []


class Uart:
    """A UART that claims to be done one character too early, as many do."""

    world: World

    def __init__(self, *arguments: Any, **options: Any) -> None:
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


class Pin:
    """An output that remembers."""

    IN, OUT, OPEN_DRAIN, PULL_UP = range(4)

    def __init__(self, number: object, *modes: int, value: int = 0) -> None:
        self.number = number
        self.level = value

    def __call__(self, level: int | None = None) -> int:
        if level is not None:
            self.level = level
        return self.level


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[World]:
    made = World()
    machine = types.ModuleType("machine")
    clock = types.SimpleNamespace(datetime=made.told.append)
    dog = types.SimpleNamespace(feed=lambda: made.told.append("fed"))
    vars(machine).update(UART=Uart, Pin=Pin, RTC=lambda: clock, WDT=lambda timeout: dog)
    little = types.ModuleType("vfs")
    vars(little).update(umount=lambda path: None, mount=lambda fs, path: None, VfsLfs2=Disk)
    time = types.ModuleType("time")
    vars(time).update(
        ticks_ms=lambda: made.ms,
        ticks_add=lambda a, b: a + b,
        ticks_diff=lambda a, b: a - b,
        time=lambda: made.now_s,
        gmtime=lambda s: (1970 if s == 0 and made.now_s > 1e9 else made.year, 1, 2, 6, 0, 0, 4, 2),
        sleep_us=None,
    )
    for name, module in (("machine", machine), ("vfs", little), ("time", time)):
        monkeypatch.setitem(sys.modules, name, module)
    for name in ("boards.littlefs", "boards.chip"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.chdir(tmp_path)
    yield made
    for name in ("boards.littlefs", "boards.chip"):
        sys.modules.pop(name, None)


class Disk:
    """A file system with nothing on it."""

    def __init__(self, *arguments: Any, **options: Any) -> None: ...

    def stat(self, path: str) -> tuple[int, ...]:
        return (0,)

    def ilistdir(self, path: str) -> list[tuple[str, int]]:
        return []


def board_of(**options: Any) -> Any:
    """A board with this board.json."""
    Path("board.json").write_text(json.dumps(options))
    return importlib.import_module("boards.chip").Board(None)


LINE = {"uart": 1, "tx": 17, "rx": 16, "direction": 4}


def test_the_last_character_leaves_before_the_direction_changes(world: World) -> None:
    board = board_of(lines=[LINE])
    line = board.lines[0]
    request = bytes(20)

    assert line.write(memoryview(request)) == 20
    line._port.received = request
    switched_ms = None
    for _ in range(200):
        world.ms += 1
        board.look()
        if not line._direction.level and switched_ms is None:
            switched_ms = world.ms - 1000
    # 20 characters of 11 bits at 2400 baud take 91.7 ms, one more 4.6 ms; a meter may answer
    # 20 ms after the last.
    assert switched_ms is not None
    assert 96 < switched_ms < 111
    assert line.read_into(bytearray(30)) == 0


def test_an_answer_is_heard_when_sending_has_ended(world: World) -> None:
    board = board_of(lines=[LINE])
    line = board.lines[0]
    line.write(memoryview(b"ask"))
    world.ms += 50
    board.look()
    line._port.received = b"answer"
    board.look()
    buf = bytearray(30)

    assert board.waiting
    assert line.read_into(buf) == 6
    assert bytes(buf[:6]) == b"answer"


def test_a_line_changes_its_speed_and_nothing_else(world: World) -> None:
    board = board_of(lines=[LINE])
    line = board.lines[0]
    assert line._port.options[0] == (1, 2400, 8, 0, 1)
    line.write(memoryview(b"broadcast"))
    line.set_baud(19200)

    assert line._port.options == ((1, 19200, 8, 0, 1), {"timeout": 0})
    world.ms += 100
    board.look()
    line.write(memoryview(bytes(20)))
    # 20 characters of 11 bits and one more at 19200 baud take 12 ms.
    for _ in range(13):
        assert line._direction.level == 1
        world.ms += 1
        board.look()
    assert line._direction.level == 0


@pytest.mark.parametrize("epoch_s", [0, EPOCH_1970_S])
def test_the_time_is_the_same_on_every_port(world: World, epoch_s: int) -> None:
    world.now_s += epoch_s
    board = board_of(lines=[LINE])

    assert board.now_t2000() == 820540800
    board.set_t2000(820540800)
    assert world.told == [(2026, 1, 2, 4, 6, 0, 0, 0)]


def test_a_clock_that_was_never_set_is_no_time(world: World) -> None:
    world.year = 2021

    assert board_of(lines=[LINE]).now_t2000() == -1


def test_lamps_and_watchdog(world: World) -> None:
    board = board_of(lines=[LINE], lamps=[2, 5], watchdog_ms=8000)
    board.signal(2)
    assert [lamp.level for lamp in board._lamps] == [0, 1]
    board.feed()
    assert world.told == ["fed"]


def beeps(world: World, board: Any) -> list[int]:
    """How long the buzzer sounds and is silent, in turns of 10 ms."""
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
    # Marked now, credited before: its holder need not come again.
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
        ("{}", "board.json names no lines"),
    ],
)
def test_a_wrong_board_json_is_told(world: World, text: str | None, said: str) -> None:
    if text is not None:
        Path("board.json").write_text(text)
    from boards import BoardError

    with pytest.raises(BoardError, match=said):
        importlib.import_module("boards.chip").Board(None)


def test_the_flash_is_mounted_anew_where_the_port_had_it(world: World) -> None:
    told: list[tuple[str, str]] = []
    vars(sys.modules["vfs"]).update(
        umount=lambda path: told.append(("umount", path)),
        mount=lambda fs, path: told.append(("mount", path)),
    )
    importlib.import_module("boards.chip").open_storage(object())

    assert told == [("umount", str(Path.cwd())), ("mount", str(Path.cwd()))]


def test_a_port_that_cannot_reach_the_uplink_says_which_key_to_change(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from boards import BoardError, wifi

    uplink = {"host": "192.168.1.2", "port": 7645}
    with pytest.raises(BoardError, match=r"^board\.json: uplink\.ssid: this port has no Wi-Fi"):
        board_of(lines=[LINE], uplink={**uplink, "ssid": "station", "key": "secret"})
    monkeypatch.setitem(sys.modules, "network", None)
    with pytest.raises(BoardError, match=r"^board\.json: uplink\.ssid: this chip has no radio"):
        wifi.join("station", "secret")
    monkeypatch.setitem(sys.modules, "boards.tcp", None)
    with pytest.raises(BoardError, match=r"^board\.json: uplink\.host: this port has no sockets"):
        board_of(lines=[LINE], uplink=uplink)
