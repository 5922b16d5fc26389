"""Goal: `dianka flash` puts the firmware on a board that has MicroPython's own image; the board
leaves a bad product by itself, an interrupted installation changes nothing, and one can go back.

Method: the real command installs on an emulated board with an image that has no code of ours, over
the socket of its prompt, as mpremote does. The firmware reports after two seconds instead of
ninety. Bad products are a main.py that raises, and one that runs without end and does not report.
At last the board gets a signed package, and refuses all that is not signed or older. The mistakes
of a user need no board.
"""

import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from host.demo.processes import wait_for
from host.flash import package, room, slots
from host.flash import product as products
from host.flash.prompt import BoardError, Prompt
from host.flash.room import Facts, Taken
from tools import image, qemu

# Bytes of heap that have to stay free, as `make budget` requires.
WORK = 16384
PASSPHRASE = "correct horse battery"

SILENT = """\
import machine
def main():
    while machine.mem32[0x40004004] & 2 == 0 or machine.mem32[0x40004000] & 255 != 3:
        pass
    return 0
"""


def flash(*words: str, status: int = 0) -> str:
    """Return what the command prints, on both of its outputs."""
    command = [sys.executable, "-m", "host.cli", "flash", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == status, said
    assert "Traceback" not in said
    return said


Started = tuple[str, qemu.MeasuringEmulator]


@pytest.fixture(scope="module")
def started_port() -> Iterator[Started]:
    yield from started()


@pytest.fixture(scope="module")
def started_frozen() -> Iterator[Started]:
    yield from started(frozen=True)


@pytest.fixture(scope="module")
def started_small() -> Iterator[Started]:
    yield from started(rom=True)


@pytest.fixture
def port(started_port: Started) -> Iterator[str]:
    """Return the port of a board as it is bought."""
    with qemu.awake(started_port[1]):
        yield started_port[0]


@pytest.fixture
def frozen(started_frozen: Started) -> Iterator[str]:
    """Return the port of a board whose image has the product."""
    with qemu.awake(started_frozen[1]):
        yield started_frozen[0]


@pytest.fixture
def small(started_small: Started) -> Iterator[str]:
    """Return the port of a board with a ROMFS and a small heap."""
    with qemu.awake(started_small[1]):
        yield started_small[0]


def started(frozen: bool = False, rom: bool = False) -> Iterator[Started]:
    try:
        stock = image.build_stock(frozen, rom)
    except image.ImageError as error:
        pytest.skip(str(error))
    with socket.create_server(("127.0.0.1", 0)) as free:
        number = free.getsockname()[1]
    repl = f"tcp:127.0.0.1:{number},server=on,wait=off,nodelay=on"
    with qemu.MeasuringEmulator(stock, repl=repl) as board:
        wait_for("its prompt", 20, lambda: is_open(number))
        yield f"socket://127.0.0.1:{number}", board


def is_open(number: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", number)).close()
    except OSError:
        return False
    return True


def firmware(folder: Path, more: str) -> Path:
    """Copy the sources, with a short time before the report and `more` at the end of run.py."""
    copied = folder / "firmware"
    shutil.copytree(products.firmware(), copied)
    run = copied / "concentrator" / "run.py"
    text = run.read_text()
    assert "HEALTHY_S = const(90)" in text
    run.write_text(text.replace("HEALTHY_S = const(90)", "HEALTHY_S = const(2)") + more)
    return copied


def bad(folder: Path, program: str) -> Path:
    """Make a product with nothing but a main.py."""
    folder.mkdir()
    for name in ("boot.py", "manifest.py"):
        shutil.copy(products.firmware() / name, folder)
    (folder / "main.py").write_text(program)
    return folder


def state(port: str) -> slots.State:
    """Return what the board's files say; the board runs on afterwards."""
    with Prompt(port) as board:
        now = slots.state(board)
        slots.resume(board, now)
        board.release()
    return now


def settings(port: str) -> str:
    """Return the number of the concentrator in the settings of the running product."""
    with Prompt(port) as board:
        said = board.run(
            "from boards.qemu import open_storage\nfrom concentrator.settings import Settings\n"
            "s = Settings(open_storage())\ns.load()\nprint(s.text('id'))"
        )
        board.release()
    return said.strip()


@pytest.mark.slow
@pytest.mark.xdist_group("emulator")
def test_a_life_in_two_slots(port: str, tmp_path: Path) -> None:
    pins = tmp_path / "board.json"
    # The emulated board has its own pins and no watchdog; ours is restarted as if it had one.
    pins.write_text('{"lines": [{"uart": 1}], "watchdog_ms": 8000}')
    first = firmware(tmp_path / "1", "FIRST = '1'\n")
    second = firmware(tmp_path / "2", "SECOND = '2'\n")

    assert "slot a  empty" in flash(port, "--status")
    assert "no older product" in flash(port, "--rollback", status=1)
    assert "settings were not taken: district" in flash(
        *(port, "--firmware", str(bad_settings(tmp_path)), "--set", "district=0"), status=1
    )

    said = flash(port, "--firmware", str(first), "--board", str(pins), "--time", "--set", "id=7")
    assert "slot a is healthy" in said
    assert "this board has no clock" in said
    now = state(port)
    assert (now.running, now.proven, now.trial, now.slots["b"].version) == ("a", "a", "", "")

    taken, estimate = heap_taken(port)
    assert 0.8 * estimate < taken < estimate

    assert "slot b is healthy" in flash(port, "--firmware", str(second))
    now = state(port)
    assert (now.running, now.proven, now.trial) == ("b", "b", "")
    assert now.slots["a"].version != now.slots["b"].version
    assert settings(port) == "7"

    assert "slot a is healthy" in flash(port, "--rollback")
    assert state(port).running == "a"
    assert "was healthy, --rollback starts it" in flash(port, "--status")

    # In the other order b would be lost, because a runs now.
    said = flash(
        port, "--firmware", str(bad(tmp_path / "3", "raise ValueError('on purpose')")), status=1
    )
    assert "slot b did not report healthy and lost its trial, slot a runs again" in said
    assert "ValueError: on purpose" in said
    assert state(port).running == "a"

    said = flash(port, "--firmware", str(bad(tmp_path / "4", SILENT)), "--wait", "5", status=1)
    assert "slot b did not report healthy within 5 s, slot a starts again" in said
    now = state(port)
    assert (now.running, now.trial, now.slots["b"].healthy) == ("a", "", 0)
    assert "no older product" in flash(port, "--rollback", status=1)

    cut_everywhere(port)
    only_signed(port, tmp_path)


def only_signed(port: str, folder: Path) -> None:
    """Install a signed package with its signer; from then on the board takes nothing else."""
    source = firmware(folder / "6", "SIGNED = '1'\n")
    public = package.new_signer(folder / "signer.pem", PASSPHRASE)
    made = products.make(source, "qemu", "armv7em", folder, lambda done, whole: None)
    for counter, is_signed in ((7, True), (6, True), (8, False)):
        product = replace(made, counter=counter)
        if is_signed:
            product = package.signed(product, folder / "signer.pem", PASSPHRASE)
        package.write(folder / f"{counter}.pkg", product)

    said = flash(port, "--package", str(folder / "7.pkg"), "--signer", public)
    assert "slot b is healthy" in said
    assert state(port).running == "b"
    for name, why in (
        ("8.pkg", "takes signed products alone"),
        ("6.pkg", "has the counter 6, and 7 ran"),
    ):
        assert why in flash(port, "--package", str(folder / name), status=1)
    assert state(port).running == "b"


HEAP = """\
import gc
gc.collect()
before = gc.mem_alloc()
import sys
sys.path.insert(0, "/a")
import main
from boards import open_board
from concentrator import lamps, run
from concentrator.app import App
app = App(open_board("qemu"), 256, 4)
gc.collect()
print(gc.mem_alloc() - before)
"""


def heap_taken(port: str) -> tuple[int, int]:
    """Return the bytes of heap that the product in slot a takes, and what was computed."""
    with Prompt(port) as board:
        slots.hold(board)
        taken = int(board.run(HEAP))
        board.release()
    return taken + WORK, room.heap_size(whole_product(), room.CAPACITY)


def whole_product() -> products.Product:
    with tempfile.TemporaryDirectory() as build:
        return products.make(
            products.firmware(), "qemu", "armv7em", Path(build), lambda done, whole: None
        )


def bad_settings(tmp_path: Path) -> Path:
    """Make a product that checks settings and has a main.py that must not be started."""
    folder = bad(tmp_path / "5", "raise ValueError('was started')")
    settings = ("concentrator/__init__.py", "concentrator/settings.py")
    for name in ("boards", "prepay", "civil.py", "ports.py", "ticks.py", *settings):
        source, copied = products.firmware() / name, folder / name
        copied.parent.mkdir(exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, copied)
    return folder


class Cable(Prompt):
    """A prompt that loses its cable after some commands."""

    left = 10**9

    def run(self, code: str) -> str:
        if not self.left:
            raise BoardError("the cable was pulled")
        self.left -= 1
        return super().run(code)


def cut_everywhere(port: str) -> None:
    """Pull the cable after each command of an installation; the proven product still starts."""
    tiny = products.Product("tiny", {"main.mpy": b"1", "part/one.mpy": b"2" * 4000})
    boot = (products.firmware() / "boot.py").read_bytes()
    for count in range(100):
        with Cable(port) as board:
            now = slots.state(board)
            assert (now.running, now.proven) == ("a", "a"), count
            slots.hold(board)
            assert slots.target(now) == "b"
            board.left = count
            try:
                slots.install(board, "b", tiny, boot, lambda done, whole: None)
                slots.finish(board, "b", tiny)
            except BoardError:
                board.left = 10**9
                board.release()
                continue
            board.release()
        break
    assert 6 < count < 100
    assert state(port).running == "a"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("/dev/nowhere",), "/dev/nowhere cannot be opened"),
        (("socket://127.0.0.1:1",), "no MicroPython answers there"),
        (("x", "--status", "--rollback"), "ask for one of them"),
        (("x", "--set", "id"), "write NAME=VALUE"),
        (("x", "--uplink-keys", "{folder}/up.toml"), "it needs --id as well"),
        (("x", "--uplink-keys", "{folder}/up.toml", "--id", "8"), "none for concentrator 8"),
        (("x", "--board", "{folder}/none.json"), "cannot read"),
        (("x", "--board", "{folder}/up.toml"), "is no JSON"),
        (("x", "--board", "{folder}/empty.json"), "names no lines"),
        (("x", "--keys", "{folder}/none.toml"), "none.toml"),
    ],
)
def test_a_mistake_is_told_in_words(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    (tmp_path / "up.toml").write_text(f'[uplink]\n7 = "{"5a" * 32}"\n')
    (tmp_path / "empty.json").write_text("{}")
    told = flash(
        *(word.format(folder=tmp_path) for word in words), status=2 if "--rollback" in words else 1
    )

    assert said in " ".join(told.split())


@pytest.mark.slow
@pytest.mark.xdist_group("emulator")
def test_a_frozen_product_gets_pins_journal_and_settings(frozen: str, tmp_path: Path) -> None:
    pins = tmp_path / "board.json"
    pins.write_text('{"lines": [{"uart": 1}]}')
    assert "frozen into the image of mps2-an385" in flash(frozen, status=1)

    said = flash(frozen, "--board", str(pins), "--format", "--set", "id=9")
    assert "set id" in said
    assert "mps2-an385 with Cortex-M3 starts the product of its image" in said
    assert settings(frozen) == "9"
    assert "slot a  empty" in flash(frozen, "--status")


@pytest.mark.slow
@pytest.mark.xdist_group("emulator")
def test_a_small_board_runs_the_product_from_its_romfs(small: str, tmp_path: Path) -> None:
    pins = tmp_path / "board.json"
    pins.write_text('{"lines": [{"uart": 1}]}')

    said = flash(small, "--board", str(pins), "--format", "--set", "id=12")
    assert "the ROMFS of mps2-an385 with Cortex-M3 holds" in said
    with Prompt(small) as board:
        assert board.run(ROM_STATE).split() == ["/rom/main.mpy", "True"]
        board.release()
    assert settings(small) == "12"

    with Prompt(small) as board:
        found = slots.facts(board)
    assert found.heap_size < 200000
    with pytest.raises(BoardError, match="KiB of heap, the product takes"):
        room.check_heap(found, whole_product(), {}, room.HEAP_PERCENT)
    room.check_heap(found, whole_product(), {}, room.ROM_HEAP_PERCENT)


# Where the product was started from, and whether it has read the flash.
ROM_STATE = """\
import sys
print(sys.modules["main"].__file__, "concentrator.app" in sys.modules)
"""

FIT = Facts("rp2", (1, 25, 0), "armv6m", 0, 4096, False, True, "Pico X", 300 * 1024)
# 100 files of a block each in one folder beside the root: 108 blocks, 115 KiB of heap.
PRODUCT = products.Product("1", {f"part/{number}.mpy": bytes(1024) for number in range(100)})
EMPTY = Taken({"a": 0, "b": 0}, 0)


def room_for(blocks: int, heap_kib: int = 300, taken: Taken = EMPTY, **board_json: object) -> None:
    found = replace(FIT, flash_free=blocks * 4096, heap_size=heap_kib * 1024)
    room.check(found, taken, PRODUCT, "b", board_json)


def test_what_fits_on_a_board_is_computed_before_it_is_written() -> None:
    both = 2 * 108
    room_for(both + room.JOURNAL_BLOCKS)
    with pytest.raises(BoardError, match="Pico X cannot hold two versions: each takes 432 KiB of"):
        room_for(both + room.JOURNAL_BLOCKS - 1)
    # An SPI flash has the journal.
    room_for(both, flash={"spi": 1})
    # What the old product and the journal take already counts.
    held = Taken({"a": 108 * 4096, "b": 80 * 4096}, 28 * 4096)
    room_for(28, taken=held)
    with pytest.raises(BoardError, match="of Pico X has 428 KiB free, the product takes"):
        room_for(27, taken=replace(held, journal=29 * 4096))
    heap_kib = 115 + 256 * (75 + 16) // 1024 + 45 + 1
    room_for(1000, heap_kib)
    with pytest.raises(BoardError, match="Pico X has 150 KiB of heap, the product takes 182"):
        room_for(1000, 150)
    room_for(1000, 164, capacity=[32, 4])


def test_a_board_too_old_or_unfit_is_refused() -> None:
    slots.check(FIT)
    with pytest.raises(BoardError, match="the file system of Pico X cannot replace"):
        slots.check(replace(FIT, can_replace=False))


def test_only_the_modules_of_the_port_are_taken() -> None:
    names = {path.name for path in products.sources(products.firmware(), "pyboard")}

    assert {"stm32.py", "chip.py", "main.py"} <= names
    assert not {"esp32.py", "rp2.py", "qemu.py", "unix.py", "boot.py", "manifest.py"} & names
    with pytest.raises(products.ProductError, match="no board for"):
        list(products.sources(products.firmware(), "zephyr"))
