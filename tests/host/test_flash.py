"""Goal: `dianka flash` puts the firmware on a board that has MicroPython's own image; the board
leaves a bad product by itself, an interrupted installation changes nothing, and one can go back.

Method: the real command installs on an emulated board with an image that has no code of ours, over
the socket of its prompt, as mpremote does. The firmware reports after two seconds instead of
ninety. Bad products are a main.py that raises, and one that runs without end and does not report.
The mistakes of a user need no board.
"""

import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from host.flash import product as products
from host.flash import slots
from host.flash.prompt import BoardError, Prompt
from tools import image, qemu

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


@pytest.fixture(scope="module")
def port() -> Iterator[str]:
    """Start a board as it is bought and return its port."""
    try:
        stock = image.build_stock()
    except image.ImageError as error:
        pytest.skip(str(error))
    with socket.create_server(("127.0.0.1", 0)) as free:
        number = free.getsockname()[1]
    repl = f"tcp:127.0.0.1:{number},server=on,wait=off,nodelay=on"
    with qemu.MeasuringEmulator(stock, repl=repl):
        yield f"socket://127.0.0.1:{number}"


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


def test_a_board_too_old_or_unfit_is_refused() -> None:
    fit = slots.Facts("rp2", (1, 25, 0), "armv6m", 900000, 4096, False, True)
    slots.check(fit)
    with pytest.raises(BoardError, match="frozen"):
        slots.check(replace(fit, is_frozen=True))
    with pytest.raises(BoardError, match="littlefs"):
        slots.check(replace(fit, can_replace=False))


def test_only_the_modules_of_the_port_are_taken() -> None:
    names = {path.name for path in products.sources(products.firmware(), "pyboard")}

    assert {"stm32.py", "chip.py", "main.py"} <= names
    assert not {"esp32.py", "rp2.py", "qemu.py", "unix.py", "boot.py", "manifest.py"} & names
    with pytest.raises(products.ProductError, match="no board for"):
        list(products.sources(products.firmware(), "zephyr"))
