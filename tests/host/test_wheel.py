"""Goal: the wheel is the whole product: it has every file, and its commands need no checkout.

Method: the wheel is built and installed into a new environment outside the checkout. What it
depends on comes from the environment of this test, in which the product itself is not found. The
commands that README.md shows are typed there.
"""

import re
import shlex
import signal
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from tools import micropython

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("console")]

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
# These run until they are stopped, and say this first.
_ENDLESS = {"sim meters": "serving", "headend serve": "listening on"}
_TARIFFS = "from host.billing.shipped import shipped; print(len(shipped()))"
SHOWN = re.findall(r"^    \$ (dianka .*)$", README.read_text("utf-8"), re.MULTILINE)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    words = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(words, cwd=ROOT, check=True, capture_output=True)
    [built] = folder.glob("dianka-*.whl")
    return built


@pytest.fixture(scope="module")
def dianka(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel, and return its command."""
    place = tmp_path_factory.mktemp("installed")
    venv.create(place, symlinks=True)
    python = place / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "-q", "--python", str(python), "install", "--no-index"]
    subprocess.run([*pip, "--no-deps", str(wheel)], check=True, cwd=place)
    [packages] = place.glob("lib/python*/site-packages")
    (packages / "what_it_needs.pth").write_text(sysconfig.get_path("purelib") + "\n")
    words = [python, "-c", "import host; print(host.__file__)"]
    found = subprocess.run(words, check=True, capture_output=True, text=True, cwd=place).stdout
    assert found.startswith(str(packages)), found
    return place / "bin" / "dianka"


def test_the_wheel_has_every_file_of_the_product(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as built:
        held = {name for name in built.namelist() if ".dist-info/" not in name}
    wanted = {
        place + path.relative_to(ROOT / folder).as_posix()
        for folder, place in (
            ("host", "host/"),
            ("firmware", "host/firmware/"),
            ("tariffs", "host/tariffs/"),
        )
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert held == wanted
    kinds = {Path(name).suffix for name in held}
    assert {".mo", ".toml", ".json", ".py"} <= kinds


def told(dianka: Path, folder: Path, line: str) -> str:
    """Run a shown command; return what it said. One that serves is stopped when it does."""
    words = shlex.split(line)[1:]
    process = subprocess.Popen(
        [dianka, *words],
        cwd=folder,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "MICROPYTHON": str(micropython.ensure()),
            "DIANKA_CARD_PASSPHRASE": "correct horse battery",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    begins = _ENDLESS.get(" ".join(words[:2]))
    said = ""
    if begins:
        assert process.stdout
        said = process.stdout.readline()
        assert begins in said, line
        process.send_signal(signal.SIGTERM)
    said += process.communicate(timeout=120)[0]
    assert begins or process.returncode == 0, (line, said)
    assert "Traceback" not in said, (line, said)
    return said


def test_the_commands_of_the_readme_work_from_the_wheel(dianka: Path, tmp_path: Path) -> None:
    assert len(SHOWN) >= 5
    said = {line: told(dianka, tmp_path, line) for line in SHOWN}
    assert any("000000983764" in one for one in said.values())


def test_what_lies_in_data_files_works_from_the_wheel(dianka: Path, tmp_path: Path) -> None:
    """Translations, identifiers, tariffs, the database's migrations, and the firmware."""
    assert "用法" in told(dianka, tmp_path, "dianka --lang zh --help")
    assert "voltage" in told(dianka, tmp_path, "dianka identifiers voltage").lower()
    told(dianka, tmp_path, "dianka headend init --db other.db")
    assert "there is no finding" in told(dianka, tmp_path, "dianka headend findings --db other.db")
    words = [dianka.parent / "python", "-c", _TARIFFS]
    count = subprocess.run(words, check=True, capture_output=True, text=True, cwd=tmp_path).stdout
    assert int(count) == len([*(ROOT / "tariffs").glob("*.json")]) + 1
