"""Goal: a checkout finds or fetches a MicroPython that has what the product needs, and the core
tests pass on it.

Method: the real program is asked for each feature the product uses and runs tests/core. Choosing,
refusing and fetching are tested with small scripts in place of a MicroPython, and with an apt
that is replaced: no test needs the network once `make setup` has run.
"""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tools import debian, micropython

ROOT = Path(__file__).resolve().parent.parent.parent

LITTLEFS = """
import vfs

class Ram:
    def __init__(self):
        self.data = bytearray(16 * 512)
    def readblocks(self, block, buf, offset=0):
        at = block * 512 + offset
        buf[:] = self.data[at : at + len(buf)]
    def writeblocks(self, block, buf, offset=0):
        at = block * 512 + offset
        self.data[at : at + len(buf)] = buf
    def ioctl(self, op, arg):
        return {4: 16, 5: 512}.get(op, 0)

ram = Ram()
vfs.VfsLfs2.mkfs(ram)
vfs.mount(vfs.VfsLfs2(ram), "/journal")
with open("/journal/a", "w") as file:
    file.write("kept")
vfs.umount("/journal")
vfs.mount(vfs.VfsLfs2(ram), "/journal")
print(open("/journal/a").read())
"""

NEEDED = {
    "littlefs": (LITTLEFS, "kept"),
    "sha256": ("import hashlib; print(hashlib.sha256(b'').digest()[:4].hex())", "e3b0c442"),
    "asyncio": (
        "import asyncio\nasync def f():\n    await asyncio.sleep_ms(1)\n    return 7\n"
        "print(asyncio.run(f()))",
        "7",
    ),
    "select": ("import select; print(len(select.poll().poll(0)))", "0"),
    "termios": ("import termios; print(bool(termios.setraw))", "True"),
    "socket": ("import socket; print(bool(socket.socket()))", "True"),
    "heap lock": ("import micropython as m; m.heap_lock(); print(m.heap_unlock())", "0"),
    "small heap": ("import gc; print(gc.mem_free() < 4000000)", "True"),
}


def run(executable: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(executable), *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def play(folder: Path, printed: str) -> Path:
    """Write a script that prints `printed` for any arguments."""
    script = folder / "micropython"
    script.write_text(f"#!/bin/sh\necho '{printed}'\n")
    script.chmod(0o755)
    return script


@pytest.fixture(scope="module")
def real() -> Path:
    return micropython.ensure()


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no MicroPython be named or be on PATH."""
    monkeypatch.delenv("MICROPYTHON", raising=False)
    monkeypatch.setattr("shutil.which", lambda name: None)


@pytest.mark.parametrize("name", NEEDED)
def test_the_real_one_has_what_the_product_needs(real: Path, name: str) -> None:
    program, printed = NEEDED[name]

    done = run(real, "-X", "heapsize=1m", "-c", program)

    assert (done.returncode, done.stdout.strip()) == (0, printed), done.stderr


@pytest.mark.slow
def test_core_tests_pass_on_the_real_one(real: Path) -> None:
    done = run(real, "tests/core/run.py")

    count = re.search(r"^core: (\d+) passed, 0 failed$", done.stdout, re.MULTILINE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert count, done.stdout
    assert int(count[1]) > 100


def test_a_failing_core_test_is_not_hidden(real: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tests" / "core"
    folder.mkdir(parents=True)
    for name in ("run.py", "harness.py"):
        (folder / name).write_bytes((ROOT / "tests" / "core" / name).read_bytes())
    (folder / "test_one.py").write_text("def test_it():\n    raise ValueError\n")

    assert run(real, str(folder / "run.py")).returncode == 1


def test_the_command_prints_one_path(real: Path) -> None:
    done = subprocess.run(
        ["python3", "tools/micropython.py", "path"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == f"{real}\n"


@pytest.mark.parametrize(
    ("printed", "usable"),
    [("ok 1 24", True), ("ok 2 0", True), ("ok 1 23", False), ("1 24", False), ("", False)],
)
def test_only_a_recent_and_complete_one_is_usable(
    tmp_path: Path, printed: str, usable: bool
) -> None:
    assert micropython.is_usable(play(tmp_path, printed)) is usable


def test_the_one_on_path_is_preferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MICROPYTHON", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    script = play(tmp_path, "ok 1 25")

    assert micropython.find(tmp_path / "cache") == script


def test_an_old_one_on_path_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MICROPYTHON", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    play(tmp_path, "ok 1 22")

    assert micropython.find(tmp_path / "cache") is None


def test_a_wrong_name_is_an_error_not_a_guess(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MICROPYTHON", str(tmp_path / "absent"))

    with pytest.raises(debian.FetchError, match="no usable MicroPython"):
        micropython.find(tmp_path)


@pytest.mark.usefixtures("alone")
def test_a_cached_one_is_used_without_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "runtime").mkdir()
    script = play(tmp_path / "runtime", "ok 1 25")
    monkeypatch.setattr(micropython, "PrivateApt", None)

    assert micropython.ensure(tmp_path) == script


class _BrokenApt:
    """An apt with a download that stops half-way."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)

    def update(self) -> None:
        pass

    def download(self, packages: list[str], into: Path) -> list[Path]:
        into.mkdir(parents=True)
        (into / "micropython.deb").write_bytes(b"half")
        raise debian.FetchError("the mirror went away")


@pytest.mark.usefixtures("alone")
def test_a_broken_fetch_leaves_nothing_and_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(micropython, "PrivateApt", _BrokenApt)

    with pytest.raises(debian.FetchError) as caught:
        micropython.ensure(tmp_path)

    assert str(caught.value).startswith("the mirror went away; install MicroPython 1.24 or later")
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


@pytest.mark.usefixtures("alone")
def test_what_a_killed_fetch_left_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fetch-killed" / "runtime").mkdir(parents=True)
    play(tmp_path / "fetch-killed" / "runtime", "ok 1 25")
    monkeypatch.setattr(micropython, "PrivateApt", _BrokenApt)

    with pytest.raises(debian.FetchError):
        micropython.ensure(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_the_mirror_is_the_machines_own(monkeypatch: pytest.MonkeyPatch) -> None:
    listing = """\
'http://a.example/debian-security/dists/next-security/InRelease' x 0
'http://tools.example/apt/dists/next/InRelease' x 0
'http://a.example/debian/dists/next/InRelease' x 0
'http://a.example/debian/dists/next-updates/InRelease' x 0
'http://a.example/debian/dists/next/main/binary-amd64/Packages.xz' x 0
"""
    monkeypatch.setattr(debian, "_run", lambda command: listing)

    assert debian.mirrors() == ["http://a.example/debian", "http://tools.example/apt"]
