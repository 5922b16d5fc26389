"""Goal: an image for a real board contains the modules that the port starts with and the product
needs, and any other is refused; a mistake in board.json leaves a board at its prompt. The image of
a Raspberry Pi Pico is built whole, from Debian's packages.

Method: for the ESP32 and the STM32 MicroPython's own program freezes what the manifest names, with
the ports of its source package and made-up libraries, as their builds do. Other tables of frozen
modules are made up; main.py runs as on a board.
"""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from host.flash import wiring
from host.flash.product import known_of
from tools import image

# The manifests of the ports require these of micropython-lib, which the source package lacks.
LIBRARIES = (
    *("aioespnow", "bundle-networking", "dht", "ds18x20", "neopixel", "onewire"),
    *("umqtt.robust", "umqtt.simple", "upysh"),
)


@pytest.fixture(scope="module")
def source() -> Path:
    try:
        image.install_emulator()
        return image.fetch_source()
    except (image.ImageError, image.FetchError) as error:
        pytest.skip(str(error))


@pytest.mark.slow
def test_an_image_for_one_board_json_has_its_drivers_and_no_others(tmp_path: Path) -> None:
    content = {"lines": [{"uart": 1}], "uplink": {"host": "192.0.2.1", "port": 1}, "door": 5}
    without = wiring.unused_drivers(content)
    known = known_of(image.FIRMWARE)
    assert without == set(wiring.DRIVERS) - {
        *("boards/contacts.py", "boards/names.py", "boards/tcp.py"),
    }
    folder = image.write_firmware(tmp_path, "esp32", known, without).parent
    drivers = {path.name for path in (folder / "boards").glob("*.py")}
    assert {"chip.py", "uart.py", "esp32.py", "contacts.py", "names.py", "tcp.py"} <= drivers
    assert not drivers & {"rp2.py", "wifi.py", "lan.py", "link.py", "display.py", "usb.py"}
    # Another board.json finds them there again.
    image.write_firmware(tmp_path, "esp32", known)
    assert (folder / "boards" / "wifi.py").exists()


def test_every_driver_that_can_be_left_out_exists() -> None:
    assert [name for name in wiring.DRIVERS if not (image.FIRMWARE / name).is_file()] == []


def test_an_image_for_a_wrong_board_json_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "board.json"
    file.write_text('{"lines": []}')
    words = ["rp2", "--mpy-dir", str(tmp_path), "--board-json", str(file)]
    assert image.main(words) == 1
    assert "lines: expected 1 or more" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.xdist_group("emulator")
@pytest.mark.parametrize(("name", "arch"), [("esp32", "xtensawin"), ("stm32", "armv7emsp")])
def test_the_ports_own_modules_are_frozen(
    source: Path, tmp_path: Path, name: str, arch: str
) -> None:
    for library in LIBRARIES:
        folder = tmp_path / "lib" / "micropython" / library
        folder.mkdir(parents=True)
        (folder / "manifest.py").write_text("metadata(version='1')\n")
    manifest = image.write_firmware(tmp_path, name, known_of(image.FIRMWARE))
    words = tmp_path / "genhdr" / "qstrdefs.preprocessed.h"
    words.parent.mkdir()
    known = (source / "py" / "qstrdefs.h").read_text()
    lines = [line for line in known.splitlines() if line[:2] == "Q("]
    words.write_text("\n".join(("QCFG(BYTES_IN_LEN, (1))", "QCFG(BYTES_IN_HASH, (1))", *lines)))
    table = tmp_path / "frozen_content.c"

    made = subprocess.run(["make", "-C", source / "mpy-cross"], capture_output=True, check=False)
    assert made.returncode == 0, made.stderr
    command = [sys.executable, str(source / "tools" / "makemanifest.py")]
    command += ["-o", str(table), "-b", str(tmp_path), f"--mpy-cross-flags=-march={arch}"]
    places = {"MPY_DIR": source, "PORT_DIR": source / "ports" / name, "MPY_LIB_DIR": "lib"}
    command += [word for at in places.items() for word in ("-v", "=".join(map(str, at)))]
    done = subprocess.run(
        [*command, str(manifest)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr

    image.check_frozen(name, table)
    text = table.read_text()
    for frozen in (f"boards/{name}.py", "boards/chip.py", "concentrator/app.py"):
        assert f'"{frozen}\\0"' in text
    for other in ("boot.py", "boards/rp2.py"):
        assert f'"{other}\\0"' not in text


@pytest.mark.slow
@pytest.mark.xdist_group("emulator")
def test_an_image_for_a_pico_is_built_from_debians_packages(source: Path) -> None:
    made = image.build_pico()

    blocks = made.read_bytes()
    assert (blocks[:4], len(blocks) % 512) == (b"UF2\n", 0)
    assert int.from_bytes(blocks[12:16], "little") == 0x10000000
    # What the port puts in front of its file system on 2 MiB of flash.
    assert 400_000 < (made.parent / "firmware.bin").stat().st_size < 640 * 1024
    table = (made.parent / "frozen_content.c").read_text()
    for name in (*image.PORTS["rp2"].needs, "boards/rp2.py", "boards/nor.py", "main.py"):
        assert f'"{name}\\0"' in table
    assert '"boards/esp32.py\\0"' not in table


@pytest.mark.parametrize(
    ("name", "lacking"),
    [
        ("rp2", "rp2.py"),
        ("rp2", "_boot.py"),
        ("esp32", "asyncio/__init__.py"),
        ("stm32", "main.py"),
    ],
)
def test_an_image_that_would_not_start_is_refused(tmp_path: Path, name: str, lacking: str) -> None:
    table = tmp_path / "frozen_content.c"
    with pytest.raises(image.ImageError, match="froze nothing"):
        image.check_frozen(name, table)
    frozen = {*image.PORTS[name].needs, "main.py", "boards/rp2.py"}
    for names in (frozen, frozen - {lacking}):
        rows = "".join(f'    "{one}\\0"\n' for one in sorted(names))
        table.write_text(f"static int x;\nconst char mp_frozen_names[] = {{\n{rows}    }};\n")
        if lacking in names:
            image.check_frozen(name, table)
        else:
            with pytest.raises(image.ImageError, match=f"has no {lacking} and would not start"):
                image.check_frozen(name, table)


def test_a_board_that_cannot_start_says_so_once_and_stays_at_its_prompt(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "platform", "zephyr")
    runpy.run_path(str(image.FIRMWARE / "main.py"), run_name="__main__")

    assert capsys.readouterr().out == "dianka: no board for zephyr: add boards/zephyr.py\n"


def test_an_installer_holds_a_frozen_product_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The prompt then has no watchdog, which could not be stopped; a process has no installer."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("boards.open_board", lambda platform: pytest.fail("opened"))
    monkeypatch.setattr(sys, "platform", "rp2")
    Path("hold").touch()
    runpy.run_path(str(image.FIRMWARE / "main.py"), run_name="__main__")
    assert capsys.readouterr().out == "dianka: held at the prompt; the next start runs\n"
    assert not Path("hold").exists()

    from boards import is_held

    assert not is_held("rp2")
    Path("hold").touch()
    assert not is_held("linux")
    assert Path("hold").exists()


def test_a_process_that_cannot_start_ends_with_its_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from boards import BoardError

    def refuse(platform: str) -> None:
        raise BoardError("no flash")

    monkeypatch.setattr("boards.open_board", refuse)
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(image.FIRMWARE / "main.py"), run_name="__main__")
    assert (ended.value.code, capsys.readouterr().out) == (2, "dianka: no flash\n")


LOADED = """\
import sys
sys.path[:0] = ["firmware", "host/shim"]
import main

class Board:
    def __init__(self, platform):
        self.platform = platform
        print("opened, loaded:", [name for name in sys.modules if name.startswith("concentrator")])

    def feed(self):
        print("fed, loaded:", "concentrator.app" in sys.modules)
        if "concentrator.app" in sys.modules:
            raise KeyboardInterrupt

main.open_board = Board
print(main.main())
"""


def test_the_watchdog_runs_before_the_modules_are_loaded() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED], cwd=image.ROOT, capture_output=True, text=True, check=False
    )
    said = ["opened, loaded: []", "fed, loaded: False", "fed, loaded: True"]
    assert done.stdout.splitlines() == [*said, "dianka: stopped", "0"], done.stderr
