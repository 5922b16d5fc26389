"""Goal: the image is built, boots on an emulated Cortex-M3, and the core tests pass there, with
floats and on an interpreter that has none.

Method: the real build and the real emulator, at its serial prompt. Each core test module runs in
an interpreter of its own, restarted in between. Without the emulator's tools, and without the
right to install them, these tests are left out and say what to install.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tools import image, qemu

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("emulator")]

CORE = Path(__file__).resolve().parent.parent / "core"
MODULES = sorted(path.stem for path in CORE.glob("test_*.py"))
# What counts energy and money, and the bytes they come from.
FLOATLESS = [name for name in MODULES if name.split("_")[1] in ("prepay", "dlt645", "uplink")]


def build(floats: bool) -> Path:
    try:
        image.install_emulator()
    except image.ImageError as error:
        pytest.skip(str(error))
    return image.build_emulated(floats, tests=True)


@pytest.fixture(scope="module")
def board() -> Iterator[qemu.Board]:
    with qemu.Board(build(floats=True)) as running:
        yield running


@pytest.fixture(scope="module")
def floatless() -> Iterator[qemu.Board]:
    with qemu.Board(build(floats=False)) as running:
        yield running


def test_it_is_a_32_bit_board_with_a_small_heap(board: qemu.Board) -> None:
    printed = board.run("import gc, sys\nprint(sys.platform, sys.maxsize, gc.mem_free() < 143360)")

    assert printed == "qemu 2147483647 True\n"


def test_what_it_raises_is_told(board: qemu.Board) -> None:
    with pytest.raises(qemu.BoardError, match="ZeroDivisionError"):
        board.run("print(1 // 0)")


def test_silence_is_told(board: qemu.Board) -> None:
    with pytest.raises(qemu.BoardError, match=r"in 0\.2 s"):
        board.run("while True: pass", timeout_s=0.2)
    board.stop()
    board.start()

    assert board.run("print(2)") == "2\n"


def test_a_soft_reset_forgets(board: qemu.Board) -> None:
    board.run("kept = 1")
    board.soft_reset()

    with pytest.raises(qemu.BoardError, match="NameError"):
        board.run("print(kept)")


def test_instructions_are_counted_and_repeat() -> None:
    with qemu.Board(build(floats=True), counting=True) as board:
        count_twice(board)


def count_twice(board: qemu.Board) -> None:
    """A statement costs the same again, and twice as much when done twice."""
    setup = "data = memoryview(bytes(22))"
    first = board.instructions("sum(data)", setup)
    board.run("clutter = [0] * 1000")

    assert 1000 < first < 10000
    assert board.instructions("sum(data)", setup) == first
    assert board.instructions("sum(data); sum(data)", setup) > 3 * first // 2


@pytest.mark.parametrize("module", MODULES)
def test_core_tests_pass_on_the_board(board: qemu.Board, module: str) -> None:
    check_module(board, module)


@pytest.mark.parametrize("module", FLOATLESS)
def test_core_tests_pass_without_floats(floatless: qemu.Board, module: str) -> None:
    check_module(floatless, module)


def test_the_floatless_one_has_no_floats(floatless: qemu.Board) -> None:
    with pytest.raises(qemu.BoardError, match="SyntaxError"):
        floatless.run("1.5")
    with pytest.raises(qemu.BoardError, match="TypeError"):
        floatless.run("1 / 2")


def check_module(on: qemu.Board, module: str) -> None:
    """Run one module of core tests in a fresh interpreter; all of them pass."""
    on.soft_reset()
    printed = on.run(f"import run\nrun.run(({module!r},))", timeout_s=900)

    assert "core: " in printed, printed
    assert ", 0 failed" in printed, printed
    assert "core: 0 passed" not in printed, printed
