"""Goal: a product comes to a concentrator over the uplink, is tried, and stays only if it works.

Method: the firmware's sources as a product in two slots, on a real MicroPython; a process that
ends is started again, as a board restarts. A real head-end brings it other products by jobs: one
that works, while both sides are killed in the middle, and one that fails at its
start.
"""

import hashlib
import json
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from host.cli import cli
from host.demo.processes import wait_for
from host.flash import package
from host.flash.product import Product
from host.headend.store import Store
from host.link.pty import PtyPort
from tests.host.serving import HeadEnd
from tests.host.uplink_world import CONCENTRATOR, KEY
from tools import micropython

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("update")]

FIRMWARE = Path(__file__).resolve().parents[2] / "firmware"
START = "import boot\nboot.choose()\nboot.start()"
SET_UP = f"""
from boards.unix import Board
from concentrator.settings import Settings
settings = Settings(Board().storage)
settings.load()
pairs = [("id", "{CONCENTRATOR}"), ("uplink_key", "{KEY.hex()}")]
print(settings.change_all(pairs, settings.leave))
"""


def product(version: str, counter: int, bad: bool = False) -> Product:
    """Return the firmware as a product that is healthy after a second, or fails at its start."""
    files = {}
    for path in sorted(FIRMWARE.rglob("*.py")):
        name = path.relative_to(FIRMWARE).as_posix()
        if name not in ("manifest.py", "boot.py"):
            text = path.read_text("utf-8").replace("HEALTHY_S = const(90)", "HEALTHY_S = const(1)")
            if name == "concentrator/uplink.py":
                assert 'VERSION = b"' in text
                text = f'{text}\nVERSION = b"{version}"\n'
            if name == "main.py" and bad:
                text = f"1 // 0\n{text}"
            files[name] = text.encode()
    return Product(version, files, counter)


def put(folder: Path, made: Product) -> None:
    """Install a product as `dianka flash` does."""
    for name, data in made.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    (folder / "files").write_bytes(made.listing)
    (folder / "healthy").write_text("1")


class Board:
    """A board with two slots in `folder`, which starts again whenever its program ends."""

    def __init__(self, folder: Path, port: int) -> None:
        folder.mkdir()
        self.folder = folder
        shutil.copy(FIRMWARE / "boot.py", folder)
        (folder / "newest").write_text("1")
        put(folder / "a", product("1.0", 1))
        self.line, self.console = PtyPort(), PtyPort()
        self._words = ["--flash", str(folder / "flash"), "--line", self.line.name]
        self._words += ["--console", self.console.name, "--uplink", f"127.0.0.1:{port}"]
        self.said = ""
        self._ends = False
        self._process: subprocess.Popen[str] | None = None
        done = self._start(f"import sys\nsys.path.insert(0, 'a')\n{SET_UP}").communicate(60)
        assert done[0] == "\n", done
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _start(self, code: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [str(micropython.ensure()), "-c", code, *self._words],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _run(self) -> None:
        while not self._ends:
            self._process = self._start(START)
            self.said += self._process.communicate()[0]

    def cut_power(self) -> None:
        """Kill the program; it starts again."""
        assert self._process is not None
        self._process.kill()

    def close(self) -> None:
        self._ends = True
        self.cut_power()
        self._thread.join(60)
        self.line.close()
        self.console.close()


@pytest.fixture
def headend(tmp_path: Path) -> Iterator[HeadEnd]:
    made = HeadEnd(tmp_path)
    yield made
    made.end(signal.SIGTERM)


@pytest.fixture
def board(headend: HeadEnd, tmp_path: Path) -> Iterator[Board]:
    made = Board(tmp_path / "board", headend.port)
    try:
        yield made
    finally:
        made.close()


def give(headend: HeadEnd, made: Product, *words: str) -> int:
    """Give a product to the concentrator; return the number of the job."""
    path = headend.db.parent / f"{made.version}.dianka"
    package.write(path, made)
    told = ["headend", "job", "firmware", "--db", str(headend.db), str(path), "--unsigned"]
    told += ["--concentrator", str(CONCENTRATOR), "--json", *words]
    done = CliRunner().invoke(cli, told)
    assert done.exit_code == 0, done.output
    return int(json.loads(done.stdout)["job"])


def one(headend: HeadEnd, sql: str) -> object:
    with Store(headend.db) as store:
        return store.value(sql)


def test_a_product_comes_over_the_uplink(headend: HeadEnd, board: Board) -> None:
    """It arrives over breaks of both sides, is tried and healthy; a bad one is given up."""
    wait_for("the concentrator", 60, lambda: one(headend, "SELECT count(*) FROM concentrators"))
    good = product("1.1", 2)
    give(headend, good)
    arrived = board.folder / "b" / "concentrator" / "uplink.py"
    wait_for("a part", 60, lambda: (board.folder / "b" / "files~").exists())
    board.cut_power()
    wait_for("half a file", 60, lambda: arrived.exists() and arrived.stat().st_size)
    headend.end(signal.SIGKILL)
    headend.start()
    name = hashlib.sha256(good.listing).hexdigest()[:16]
    told = f"SELECT 1 FROM products WHERE name = '{name}' AND stage = 3"
    wait_for("a healthy product", 120, lambda: one(headend, told))
    assert (board.folder / "b" / "healthy").read_text() == "2"
    assert one(headend, "SELECT state FROM commands WHERE package <> ''") == "done"
    assert (board.folder / "newest").read_text() == "2"

    bad = product("1.2", 3, bad=True)
    job = give(headend, bad, "--stages", "100")
    tried = f"SELECT state FROM commands WHERE job = {job}"
    wait_for("the trial", 120, lambda: one(headend, tried) == "done")
    wait_for("the way back", 60, lambda: board.said.count("ZeroDivisionError") == 3)
    assert not (board.folder / "a" / "healthy").exists()
