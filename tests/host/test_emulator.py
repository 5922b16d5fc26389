"""Goal: the image is built, boots on an emulated Cortex-M3, and the core tests pass there, with
floats and on an interpreter that has none.

Method: the real image runs in the real emulator, at its serial prompt. Each core test module runs
in a restarted interpreter. A concentrator runs there for thirty days and its memory is measured
each night; mpremote copies and runs programs. Without the emulator's tools, and without the right
to install them, these tests are skipped and say what to install.
"""

import ast
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from firmware.card.chips.outcome import ABSENT, OK, SILENT
from host.demo.processes import wait_for
from host.link.emulator import NOR_SIZE, Emulator
from tools import image, micropython, qemu

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("emulator")]

CORE = Path(__file__).resolve().parent.parent / "core"
MODULES = sorted(path.stem for path in CORE.glob("test_*.py"))
# These modules count energy and money, and read the bytes they come from.
FLOATLESS = [name for name in MODULES if name.split("_")[1] in ("prepay", "dlt645", "uplink")]


def build(floats: bool) -> Path:
    try:
        image.install_emulator()
    except image.ImageError as error:
        pytest.skip(str(error))
    return image.build_emulated(floats, tests=True)


@pytest.fixture(scope="module")
def started_board() -> Iterator[qemu.MeasuringEmulator]:
    with qemu.MeasuringEmulator(build(floats=True)) as running:
        yield running


@pytest.fixture(scope="module")
def started_floatless() -> Iterator[qemu.MeasuringEmulator]:
    with qemu.MeasuringEmulator(build(floats=False)) as running:
        yield running


@pytest.fixture
def board(started_board: qemu.MeasuringEmulator) -> Iterator[qemu.MeasuringEmulator]:
    with qemu.awake(started_board):
        yield started_board


@pytest.fixture
def floatless(started_floatless: qemu.MeasuringEmulator) -> Iterator[qemu.MeasuringEmulator]:
    with qemu.awake(started_floatless):
        yield started_floatless


def test_it_is_a_32_bit_board_with_a_small_heap(board: qemu.MeasuringEmulator) -> None:
    printed = board.run("import gc, sys\nprint(sys.platform, sys.maxsize, gc.mem_free() < 143360)")

    assert printed == "qemu 2147483647 True\n"


def test_what_it_raises_is_told(board: qemu.MeasuringEmulator) -> None:
    with pytest.raises(qemu.BoardError, match="ZeroDivisionError"):
        board.run("print(1 // 0)")


def test_silence_is_told(board: qemu.MeasuringEmulator) -> None:
    with pytest.raises(qemu.BoardError, match=r"in 0\.2 s"):
        board.run("while True: pass", timeout_s=0.2)
    board.close()
    board.start()

    assert board.run("print(2)") == "2\n"


def test_the_end_of_a_program_begun_is_noticed(board: qemu.MeasuringEmulator) -> None:
    board.begin("import sys\nsys.stdin.read(1)\nprint('read')\n1 // 0")
    assert board.ended() is None
    board._send(b"x")
    wait_for("its end", 20, board.ended)

    ended = board.ended() or ""
    assert ended.startswith("read")
    assert ended.endswith("ZeroDivisionError: divide by zero")
    board.close()
    assert board.ended() is None
    board.start()


def test_a_soft_reset_forgets(board: qemu.MeasuringEmulator) -> None:
    board.run("kept = 1")
    board.soft_reset()

    with pytest.raises(qemu.BoardError, match="NameError"):
        board.run("print(kept)")


def test_instructions_are_counted_and_repeat() -> None:
    with qemu.MeasuringEmulator(build(floats=True), counting=True) as board:
        count_twice(board)


def count_twice(board: qemu.MeasuringEmulator) -> None:
    """A statement costs the same when it runs again, and twice as much when it runs twice."""
    setup = "data = memoryview(bytes(22))"
    first = board.instructions("sum(data)", setup)
    board.run("clutter = [0] * 1000")

    assert 1000 < first < 10000
    assert board.instructions("sum(data)", setup) == first
    assert board.instructions("sum(data); sum(data)", setup) > 3 * first // 2


@pytest.mark.parametrize("module", MODULES)
def test_core_tests_pass_on_the_board(board: qemu.MeasuringEmulator, module: str) -> None:
    check_module(board, module)


@pytest.mark.parametrize("module", FLOATLESS)
def test_core_tests_pass_without_floats(floatless: qemu.MeasuringEmulator, module: str) -> None:
    check_module(floatless, module)


def test_the_floatless_one_has_no_floats(floatless: qemu.MeasuringEmulator) -> None:
    with pytest.raises(qemu.BoardError, match="SyntaxError"):
        floatless.run("1.5")
    with pytest.raises(qemu.BoardError, match="TypeError"):
        floatless.run("1 / 2")


def check_module(on: qemu.MeasuringEmulator, module: str) -> None:
    """Run one module of core tests in a fresh interpreter and check that all of them pass."""
    on.soft_reset()
    printed = on.run(f"import run\nrun.run(({module!r},))", timeout_s=900)

    assert "core: " in printed, printed
    assert ", 0 failed" in printed, printed
    assert "core: 0 passed" not in printed, printed


def test_commands_from_above_are_done_once_on_the_board(board: qemu.MeasuringEmulator) -> None:
    """`make soak` gives 300, which is DIANKA_COMMANDS."""
    count = int(os.environ.get("DIANKA_COMMANDS", "20"))
    board.soft_reset()
    code = f"import test_concentrator_many\nprint(test_concentrator_many.many({count}, 7))"
    printed = board.run(code, timeout_s=900)
    told = ast.literal_eval(printed.strip().splitlines()[-1])

    assert told["done"] + told["refused"] == count, told
    assert told["power cuts"] > count // 6, told


def test_thirty_days_take_no_memory(board: qemu.MeasuringEmulator) -> None:
    board.soft_reset()
    printed = board.run(_THIRTY_DAYS, timeout_s=900)
    free = [int(word) for word in printed.split()]

    assert len(free) == 30
    assert free[-1] >= free[1], free


def test_mpremote_drives_the_board_and_its_flash_survives_a_reset(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    program = tmp_path / "count.py"
    program.write_text("import note\nprint('counted', note.count)\n")
    note = tmp_path / "note.py"
    note.write_text("count = 41 + 1\n")
    mounted = "exec", _MOUNT
    repl = f"tcp:127.0.0.1:{port},server=on,wait=off"
    with qemu.MeasuringEmulator(build(floats=True), repl=repl):
        mpremote(port, *mounted, "+", "fs", "cp", str(note), ":/flash/note.py")
        assert "counted 42" in mpremote(port, "resume", "run", str(program))
        mpremote(port, "soft-reset")
        assert "counted 42" in mpremote(port, *mounted, "+", "run", str(program))


def mpremote(port: int, *words: str) -> str:
    """Run mpremote, connected to the board, and return its output."""
    command = [sys.executable, "-m", "mpremote", "connect", f"socket://127.0.0.1:{port}", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


_THIRTY_DAYS = """\\
import gc
from village import Village
v = Village(2)
for day in range(30):
    for hour in range(24):
        v.round()
    gc.collect()
    print(gc.mem_free())
"""

_MOUNT = """\\
import sys, vfs
from boards.littlefs import open_filesystem
from boards.qemu import Flash
vfs.mount(open_filesystem(Flash(), 256, True), '/flash')
sys.path.append('/flash')
"""


def test_a_day_ends_with_the_same_ledger_everywhere(
    board: qemu.MeasuringEmulator, tmp_path: Path
) -> None:
    board.soft_reset()
    on_the_board = board.run("storage = None\n" + _DAY, timeout_s=600)
    with Emulator(build(floats=True), nor=tmp_path / "nor") as on:
        on_spi_flash = on.run(_NOR + _DAY, timeout_s=600)
    elsewhere = [
        subprocess.run(
            [*interpreter, "-c", _PATHS + _STORAGE + _DAY],
            cwd=image.ROOT,
            capture_output=True,
            text=True,
            timeout=600,
            check=True,
        ).stdout
        for interpreter in ([sys.executable], [str(micropython.ensure())])
    ]

    rows = on_the_board.splitlines()
    assert [on_spi_flash, *elsewhere] == [on_the_board] * 3
    assert len(rows) == 9
    # Some households ran out of money and were cut, others did not.
    assert len({row.split()[5] for row in rows[:8]}) > 1


_PATHS = """\
import sys
sys.path[:0] = ["firmware", "host/shim", "tests/core", "tests/emulated"]
if sys.implementation.name == "micropython":
    sys.path.remove("host/shim")
"""

_NOR = """\
from boards.littlefs import LittleStorage, open_filesystem
from boards.nor import Nor
from buses import Spi, select
storage = LittleStorage(open_filesystem(Nor(Spi(), select), 256, True))
"""
_STORAGE = "from memory_storage import Storage; storage = Storage()\n"

# Eight households have bought for a few hours or for the day; the meters are read hourly.
_DAY = """\
from village import Village
v = Village(8, storage)
v.round()
for index in range(8):
    v.app.books.credit(index, 1, 60 * (index + 1), bytes(8), 1, bytes(8))
for hour in range(23):
    v.round()
one = v.app.ledger
for index in range(8):
    print(one.credit_fen[index], one.debit_fen[index], one.residue_e7[index],
        one.residue_e11[index], one.used_wh[index], one.state[index], one.order[index])
print(sorted(v.board.meters.opened.items()))
"""


RTC = """
from boards.rtc import Rtc
from buses import I2c
bus = I2c()
rtc = Rtc(bus, "ds1338")
print(rtc.now_t2000())
rtc.set_t2000(849274526)
print(rtc.now_t2000())
print(Rtc(bus, "pcf8563").now_t2000())
"""


def test_the_rtc_driver_reads_and_sets_a_chip_that_others_made() -> None:
    """The chip is QEMU's own ds1338."""
    chips = ("ds1338,address=0x68",)
    with Emulator(build(floats=True), chips=chips, now="2026-11-29T12:34:56") as on:
        first, then, absent = map(int, on.run(RTC).split())

    # 2026-11-29 12:34:56, and an hour later, within the error of the emulator's clock.
    assert abs(first - 849270896) <= 60
    assert abs(then - 849274526) <= 60
    assert absent == -1


CARD = """
from buses import I2c
from card.chips.at24 import At24
def drive(steps):
    ticks = 0
    try:
        next(steps)
        while True:
            ticks += 1
            steps.send(ticks)
    except StopIteration as ended:
        return ended.value
back = bytearray(100)
for address in (0x50, 0x51):
    chip = At24(I2c(), 8192, 32, address)
    print(drive(chip.connect()))
    print(drive(chip.write(16, 100, bytearray(range(100)))))
    print(drive(chip.read(16, 100, back)))
    print(back == bytes(range(100)))
"""


def test_the_card_driver_writes_and_reads_a_chip_that_others_made() -> None:
    """The chip is QEMU's own at24c-eeprom; a chip at another address is absent."""
    chips = ("at24c-eeprom,address=0x50,rom-size=8192",)
    with Emulator(build(floats=True), chips=chips) as on:
        said = on.run(CARD).split()

    assert said == [*map(str, (OK, OK, OK, True)), *map(str, (ABSENT, SILENT, SILENT, True))]


# The change of the flash at which the power fails; each life goes on with what the one before has
# left.
CUTS = (40, 7, 61, 150, 23, 94)


def test_a_journal_lives_on_a_spi_flash_that_others_made(tmp_path: Path) -> None:
    """The chip is QEMU's own w25q32, its content a file, and the power fails in its programs."""
    nor = tmp_path / "nor"
    durable = 0
    for number, cut_at in enumerate((*CUTS, 2000)):
        with Emulator(build(floats=True), nor=nor) as on:
            on.begin(f"import nor_life\nnor_life.live({not number}, {cut_at})")
            rows = [line.split() for line in on.heard(b"cut\r\n").splitlines()]
        assert rows[0][0] == "kept", rows
        assert int(rows[0][1]) <= 1
        assert int(rows[0][2]) >= durable
        durable = max(int(row[-1]) for row in rows)
        assert {row[0] for row in rows[1:]} <= {"durable"}

    assert durable > 1000
    assert nor.stat().st_size == NOR_SIZE
