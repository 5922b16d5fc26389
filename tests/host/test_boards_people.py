"""Goal: what a person in front of the board sees and does is kept: a log that survives power cuts
and wears nothing out, the door and a failing supply in the journal, a display with the balance,
and a console on the board's own USB whose prompt is locked.

Method: the drivers of firmware/boards on CPython with made-up pins, I2C, storage and time; the
display is a model of the HD44780 behind a PCF8574 that decodes each half byte.
"""

import importlib
import sys
import types
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest

from host.sim.storage import PowerCut, Storage
from tests.host.test_boards_chip import LINE, World, board_of, world

__all__ = ("world",)

T2000 = 849311696  # 2026-11-29 23:54:56


class Concentrator:
    """The concentrator as the parts of a board use it."""

    show_text: Any

    def __init__(self) -> None:
        self.events: list[tuple[int, int]] = []
        self.commands: dict[str, tuple[bool, Any]] = {}
        self.told: list[str] = []
        self.login = types.SimpleNamespace(
            is_keyless=True, tell_prompt=lambda: self.told.append("prompt")
        )
        self.entropy = types.SimpleNamespace(distrust=lambda: self.told.append("guessable"))

    def note_event(self, what: int, state: int) -> None:
        self.events.append((what, state))

    def balance_fen(self, index: int) -> int:
        return (12345, -6)[index]

    def offer(self, name: str, number: str, changes: bool, run: Any) -> None:
        self.commands[name] = (changes, run)


def log_of(storage: Storage, t2000: int = T2000) -> Any:
    return importlib.import_module("boards.log").Log(storage, lambda: t2000)


def restarted(storage: Storage) -> Storage:
    """Return the same flash after a power cut."""
    return Storage(content=dict(storage.content))


def test_the_log_shows_its_lines_with_the_time_also_after_a_restart(world: World) -> None:
    storage = Storage()
    log = log_of(storage)
    app = Concentrator()
    log.attach(app)
    changes, run = app.commands["log"]
    assert not changes
    assert run(0) == []
    log.add("one")
    log.add("two" + "x" * 100)
    assert run(0) == ["11-29 23:54:56 one", "11-29 23:54:56 two" + "x" * 41]
    assert run(1) == ["11-29 23:54:56 two" + "x" * 41]
    assert storage.changes == 0
    for _ in range(601):
        world.ms += 1000
        log.look()
    assert storage.changes == 1
    log = log_of(restarted(storage), -1)
    log.add("three")
    assert [line[15:18] for line in log.lines(32, 32)] == ["one", "two", "thr"]
    assert log.lines(1, 1) == ["----- --:--:-- three"]


def test_the_last_200_lines_are_kept(world: World) -> None:
    storage = Storage()
    log = log_of(storage)
    for number in range(2000):
        log.add(f"{number} " + "x" * 60)
        world.ms += 60_000
        log.look()
    found = log.lines(200, 200)
    assert [int(line[15:].split()[0]) for line in found] == list(range(1800, 2000))
    assert log.dropped == 0
    assert set(storage.content) == {"l0", "l1", "l2", "l3"}
    assert max(map(len, storage.content.values())) <= 4096
    # Without the lines that waited, all that was written is there after a power cut.
    found = log_of(restarted(storage)).lines(200, 200)
    assert len(found) == 200
    assert int(found[-1][15:].split()[0]) >= 1988
    assert log.lines(150, 32)[0][15:19] == "1850"


def test_the_log_writes_at_most_twelve_times_an_hour(world: World) -> None:
    storage = Storage()
    log = log_of(storage)
    writes = Counter[int]()
    for second in range(10 * 3600):
        world.ms += 1000
        log.urge(f"trouble {second}")
        before = storage.changes
        log.look()
        writes[second // 3600] += storage.changes - before
    for hour in range(10):
        assert writes[hour] <= 12
    assert storage.changes <= 10 * 12 + 1
    assert log.dropped > 30_000
    # Lines without hurry leave half of the writes to those that have some.
    for second in range(3600):
        world.ms += 1000
        log.add(f"line {second}")
        log.look()
    before = storage.changes
    log.urge("now")
    assert storage.changes == before + 1


def test_a_board_that_crashes_for_ever_wears_nothing_out(world: World) -> None:
    storage = Storage()
    for _ in range(500):
        log = log_of(storage)
        log.add("start, cause 3")
        log.urge("MemoryError")
    assert storage.changes == 1
    log = log_of(storage)
    log.add("again")
    for _ in range(9):
        log.add("again")
    log.add("other")
    assert [line[15:] for line in log.lines(3, 3)] == ["again", "and 9 times more", "other"]


def test_a_power_cut_at_any_write_leaves_old_or_new_lines(world: World) -> None:
    for cut in range(60):
        storage = Storage()
        storage.plan_cut(cut, cut * 37 % 101)
        log = log_of(storage)
        number = -1
        try:
            for number in range(4000):
                log.add(f"{number} " + "x" * 30)
                world.ms += 300_000
                log.look()
        except PowerCut:
            pass
        found = [line[15:] for line in log_of(restarted(storage)).lines(1000, 1000)]
        kept = [int(line.split()[0]) for line in found if line.endswith("x" * 30)]
        assert kept == sorted(kept)
        assert number - kept[-1] <= 3 if cut else not kept


def test_a_flash_that_refuses_keeps_the_lines(world: World) -> None:
    storage = Storage(failing={"append", "replace"})
    log = log_of(storage)
    log.urge("one")
    assert log.lines(9, 9) == ["11-29 23:54:56 one"]
    storage.failing.clear()
    world.ms += 600_000
    log.look()
    assert log_of(restarted(storage)).lines(9, 9) == ["11-29 23:54:56 one"]
    storage.content["l0"] = b"no number\n\xff\0x\n"
    assert log_of(storage).lines(9, 9) == ["??x"]


def test_the_door_and_the_supply_are_events(world: World) -> None:
    board = board_of(lines=[LINE], door=5, power_fail=6)
    app = Concentrator()
    contacts = board._extras[1]
    door, power = contacts._door._pin, contacts._power._pin
    door.level, power.level = 0, 1
    board.look()
    board.attach(app)
    for level in (1, 0, 1, 0, 0):
        door.level = level
        board.look()
    assert app.events == []
    door.level = 1
    for _ in range(3):
        board.look()
    assert app.events == [(1, 1)]
    # It is closed and opened again within the minute: nothing has changed.
    for level in (0, 0, 0, 0, 1, 1, 1, 1):
        door.level = level
        board.look()
    door.level = 0
    board.look()
    assert app.events == [(1, 1)]
    world.ms += 60_000
    for _ in range(3):
        board.look()
    assert app.events == [(1, 1), (1, 0)]
    power.level = 0
    for _ in range(3):
        board.look()
    assert app.events[2:] == [(2, 1)]
    # The log was written at once.
    assert b"supply fails" in board.storage.content["l0"]
    world.ms += 60_000
    power.level = 1
    for _ in range(3):
        board.look()
    assert app.events[3:] == [(2, 0)]
    assert [line[15:] for line in board._log.lines(9, 9)] == [
        "start, cause 3",
        "door open",
        "door closed",
        "supply fails",
        "supply is back",
    ]


def test_a_bouncing_contact_cannot_fill_the_journal(world: World) -> None:
    board = board_of(lines=[LINE], door=5)
    app = Concentrator()
    board.attach(app)
    door = board._extras[1]._door._pin
    for turn in range(36_000):
        door.level = turn // 5 % 2
        world.ms += 100
        board.look()
    assert 30 <= len(app.events) <= 60


class Glass:
    """An HD44780 behind a PCF8574: it takes a half byte at each falling edge of E."""

    world: World
    absent = False

    def __init__(self, number: int = 0, **options: int) -> None:
        self.cells = bytearray(b"?" * 128)
        self.light = False
        self.busy_until_ms = Glass.world.ms + 15
        self.half_bits = True
        self._port = 0
        self._high: int | None = None
        self._at = 0
        self._begun = 0

    def writeto(self, addr: int, buf: bytes) -> None:
        if Glass.absent or addr != 39:
            raise OSError(19)
        for value in buf:
            if self._port & 4 and not value & 4:
                self._take(self._port)
            self._port = value
            self.light = bool(value & 8)

    def _take(self, port: int) -> None:
        assert Glass.world.ms >= self.busy_until_ms, "the controller was still busy"
        half = port >> 4
        if self._begun < 4:
            # Three times 3 and once 2 bring it to four bits from any state.
            assert half == (3, 3, 3, 2)[self._begun]
            self._begun += 1
            self.busy_until_ms = Glass.world.ms + (5 if self._begun == 1 else 1)
            return
        if self._high is None:
            self._high = half
            return
        value = self._high << 4 | half
        self._high = None
        if port & 1:
            self.cells[self._at] = value
            self._at += 1
        elif value & 0x80:
            self._at = value & 0x7F
        elif value == 1:
            self.cells[:] = b" " * 128
            self.busy_until_ms = Glass.world.ms + 2
        else:
            assert value in (0x28, 0x0C, 0x06)

    @property
    def lines(self) -> list[str]:
        return [self.cells[at : at + 16].decode() for at in (0, 64)]


@pytest.fixture
def glass(world: World, monkeypatch: pytest.MonkeyPatch) -> type[Glass]:
    Glass.world = world
    Glass.absent = False
    vars(sys.modules["machine"])["I2C"] = Glass
    return Glass


def looked(world: World, board: Any, ms: int) -> None:
    for _ in range(ms // 10):
        world.ms += 10
        board.look()


def test_the_display_shows_balance_and_result_for_half_a_minute(
    world: World, glass: type[Glass]
) -> None:
    board = board_of(lines=[LINE], display={"i2c": 0})
    board.attach(Concentrator())
    looked(world, board, 300)
    chip = board._display._bus
    assert chip.lines == [" " * 16, " " * 16]
    board.show_card(0, True, 0)
    looked(world, board, 200)
    assert chip.lines == ["CODE 0  OK      ", "BALANCE 123.45  "]
    assert chip.light
    board.show_card(10, False, -1)
    looked(world, board, 200)
    assert chip.lines == ["CODE 10  REFUSED", " " * 16]
    board.show_card(1, False, 1)
    looked(world, board, 200)
    assert chip.lines == ["CODE 1  OK      ", "BALANCE -0.06   "]
    looked(world, board, 31_000)
    assert chip.lines == [" " * 16, " " * 16]
    assert not chip.light


def test_a_display_that_was_pulled_out_is_begun_again(world: World, glass: type[Glass]) -> None:
    Glass.absent = True
    board = board_of(lines=[LINE], display={"i2c": 0})
    looked(world, board, 1000)
    assert not board._display.works
    Glass.absent = False
    board.show_card(0, True, -1)
    looked(world, board, 11_000)
    assert board._display._bus.lines[0] == "CODE 0  OK      "


def test_a_text_is_shown_between_cards_until_its_time(world: World, glass: type[Glass]) -> None:
    storage, clock = Storage(), [T2000]
    board = board_of(lines=[LINE], display={"i2c": 0})
    app = Concentrator()
    board.attach(app)
    display = board._display
    display.load(storage, lambda: clock[0])
    chip = display._bus
    assert app.show_text(T2000 + 60, "No power on Friday 8-10, sorry: new line")
    looked(world, board, 1000)
    pages = ["No power on Frid", "ay 8-10, sorry: "], ["new line        ", " " * 16]
    assert (chip.lines, chip.light) == (pages[0], True)
    looked(world, board, 4000)
    assert chip.lines == pages[1]
    looked(world, board, 4000)
    assert chip.lines == pages[0]
    # The result of a card has its half minute, also where the next text comes meanwhile.
    board.show_card(0, True, 0)
    assert app.show_text(T2000 + 60, "Meeting at 19:00")
    looked(world, board, 10_000)
    assert chip.lines[0] == "CODE 0  OK      "
    looked(world, board, 21_000)
    assert chip.lines == ["Meeting at 19:00", " " * 16]
    # A start knows the text, and shows it only while the time is known and not over.
    display.load(restarted(storage), lambda: clock[0])
    for clock[0], first in (
        (-1, " " * 16),
        (T2000 + 59, "Meeting at 19:00"),
        (T2000 + 60, " " * 16),
        (T2000 + 59, " " * 16),
    ):
        looked(world, board, 5000)
        assert chip.lines[0] == first
    assert not chip.light
    assert app.show_text(T2000 + 60, "")
    looked(world, board, 5000)
    assert chip.lines == [" " * 16, " " * 16]


def test_a_power_cut_leaves_the_old_text_or_the_new(world: World, glass: type[Glass]) -> None:
    board = board_of(lines=[LINE], display={"i2c": 0})
    found = set()
    for cut, kept in ((0, 0), (0, 50), (0, 100), (1, 0)):
        storage = Storage()
        display = board._display
        display.load(storage, lambda: T2000)
        assert display.show_text(T2000 + 60, "old")
        storage.plan_cut(cut, kept)
        with suppress(PowerCut):
            display.show_text(T2000 + 60, "new")
        display.load(restarted(storage), lambda: T2000)
        found.add(display._news)
    assert found == {"old", "new"}


def test_a_display_whose_flash_refuses_says_so(world: World, glass: type[Glass]) -> None:
    display = board_of(lines=[LINE], display={"i2c": 0})._display
    storage = Storage()
    storage.plan_change_failure(0)
    display.load(storage, lambda: T2000)
    assert not display.show_text(T2000 + 60, "x")
    storage = Storage(content={"display": b"\xff\xfe not a text"})
    display.load(storage, lambda: T2000)
    assert display._news == ""


def test_a_look_sends_at_most_four_characters(world: World, glass: type[Glass]) -> None:
    board = board_of(lines=[LINE], display={"i2c": 0})
    looked(world, board, 300)
    sent: list[int] = []
    chip = board._display._bus
    take = chip.writeto
    chip.writeto = lambda addr, buf: sent.append(len(buf)) or take(addr, buf)
    board.show_card(0, True, -1)
    for _ in range(20):
        del sent[:]
        board.look()
        # Each byte takes 90 us at 100 kHz.
        assert sum(sent) <= 20


class Stream:
    """The prompt's stream: one byte at a time, and it is counted what would have waited."""

    def __init__(self) -> None:
        self.arrived = b""
        self.sent = b""
        self.buffer = self

    def readinto(self, buf: bytearray) -> int:
        assert len(buf) <= len(self.arrived), "this read would wait"
        buf[:] = self.arrived[: len(buf)]
        self.arrived = self.arrived[len(buf) :]
        return len(buf)

    def write(self, data: Any) -> int:
        self.sent += bytes(data)
        return len(data)


@pytest.fixture
def stream(world: World, monkeypatch: pytest.MonkeyPatch) -> Stream:
    made = Stream()
    select = types.ModuleType("select")
    poll = types.SimpleNamespace(
        register=lambda stream, mask: None, ipoll=lambda ms: [1] if made.arrived else []
    )
    vars(select).update(POLLIN=1, poll=lambda: poll)
    micropython = types.ModuleType("micropython")
    vars(micropython).update(const=int, kbd_intr=lambda code: world.told.append(("^C", code)))
    monkeypatch.setitem(sys.modules, "select", select)
    monkeypatch.setitem(sys.modules, "micropython", micropython)
    return made


def usb_of(world: World, stream: Stream) -> Any:
    module = importlib.import_module("boards.usb")
    vars(module)["sys"] = types.SimpleNamespace(stdin=stream, stdout=stream)
    return module.Usb()


def test_the_console_on_usb_locks_the_prompt_and_never_waits(
    world: World, stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    usb = usb_of(world, stream)
    assert world.told == [("^C", -1)]
    # Nobody has sent anything: what is written is dropped, because the port might wait.
    assert usb.write(memoryview(b"x" * 100)) == 100
    assert stream.sent == b""
    stream.arrived = b"\x03abc"
    usb.look()
    assert usb.waiting
    buf = bytearray(3)
    assert (usb.read_into(buf), bytes(buf)) == (3, b"\x03ab")
    assert usb.waiting
    assert (usb.read_into(buf), usb.waiting) == (1, 0)
    assert usb.write(memoryview(b"x" * 100)) == 64
    world.ms += 5000
    assert usb.write(memoryview(b"y")) == 1
    assert stream.sent == b"x" * 64


def test_a_technician_opens_the_prompt(world: World, stream: Stream) -> None:
    usb = usb_of(world, stream)
    app = Concentrator()
    usb.attach(app)
    changes, run = app.commands["prompt"]
    assert changes
    assert run(0) == ["the prompt opens; the next start locks it again"]
    assert app.told == ["prompt"]
    usb.look()
    world.ms += 500
    with pytest.raises(KeyboardInterrupt):
        usb.look()
    assert world.told == [("^C", -1), ("^C", 3)]


def test_a_console_key_locks_the_prompt_of_a_console_on_a_uart(
    world: World, stream: Stream
) -> None:
    """Proof: ^C at the prompt, and the keys of a concentrator that had a console key were read."""
    board = board_of(lines=[LINE], console={"uart": 2})
    app = Concentrator()
    board.attach(app)
    board.look()
    assert world.told == []
    app.login.is_keyless = False
    board.look()
    board.look()
    assert world.told == [("^C", -1)]
    assert board._prompt.is_locked
    _changes, run = app.commands["prompt"]
    assert run(0) == ["the prompt opens; the next start locks it again"]
    world.ms += 500
    with pytest.raises(KeyboardInterrupt):
        board.look()
    assert world.told == [("^C", -1), ("^C", 3)]
    assert app.told == ["guessable", "prompt"]


def test_a_board_without_a_console_keeps_its_prompt(world: World, stream: Stream) -> None:
    board = board_of(lines=[LINE])
    app = Concentrator()
    app.login.is_keyless = False
    board.attach(app)
    board.look()
    assert world.told == []


@pytest.mark.parametrize("entropy", [True, False])
def test_the_board_file_says_whether_random_numbers_can_be_trusted(
    world: World, entropy: bool
) -> None:
    board = board_of(lines=[LINE], entropy=entropy)
    app = Concentrator()
    board.attach(app)
    assert app.told == ([] if entropy else ["guessable"])


def test_a_program_that_fails_is_logged_and_a_locked_board_restarts(
    world: World, stream: Stream
) -> None:
    vars(sys.modules["machine"])["reset"] = lambda: world.told.append("restarts")
    sys_ = sys.modules["sys"]
    trace = 'Traceback (most recent call last):\n  File "x.py"\nValueError: 7\n'
    vars(sys_)["print_exception"] = lambda error, out: out.write(trace)
    try:
        board = board_of(lines=[LINE])
        board.fail(ValueError(7))
        assert "restarts" not in world.told
        board = board_of(lines=[LINE], console={"usb": True})
        assert board.console is board._extras[0]
        board.fail(ValueError(7))
    finally:
        del vars(sys_)["print_exception"]
    assert world.told == [("^C", -1), "restarts"]
    lines = board.storage.content["l0"].decode().splitlines()[1:]
    assert [line[15:] for line in lines] == [
        'File "x.py"',
        "ValueError: 7",
        "the program has ended",
    ]


def test_the_log_tells_what_the_lamps_and_the_network_did(world: World) -> None:
    board = board_of(lines=[LINE])
    board._link = types.SimpleNamespace(up=False, look=int)
    for signals, up in ((1, False), (0, True), (3, True), (6, True), (6, False), (1, False)):
        board.signal(signals)
        board._link.up = up
        board.look()
    assert [line[15:] for line in board._log.lines(99, 99)] == [
        "network is up",
        "need of a technician begins",
        "answers of the head-end begins",
        "network is down",
        "need of a technician ends",
        "answers of the head-end ends",
    ]


def test_a_board_without_a_log_says_so_in_its_board_json(world: World) -> None:
    board = board_of(lines=[LINE], log=False)
    board.attach(Concentrator())
    board.fail(ValueError(7))
    assert board.storage.content == {}


def test_an_image_without_a_driver_names_the_key(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from boards import BoardError

    monkeypatch.setitem(sys.modules, "boards.display", None)
    with pytest.raises(BoardError, match=r"board\.json: .*this image lacks what it needs"):
        board_of(lines=[LINE], display={"i2c": 0})
