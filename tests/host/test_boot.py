"""Goal: a product on trial that was found healthy stays, wherever the power fails while that is
written, and a file of boot.py holds either the old text or the new one. A slot starts only as it
was installed, and a product on trial only if it is not older than the newest that was healthy.

Method: the real boot.py runs in a folder; each change of a file is counted and the power is cut
before it. Truncating a file counts as one change and writing it as another, as on a flash with a
file system that promises nothing before a file is closed. tests/power has the same on littlefs.
"""

import builtins
import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest


class PowerCut(Exception):
    """The board has lost its power before this change."""


class Flash:
    """The files as boot.py sees them; the change after `left` more is never made."""

    def __init__(self) -> None:
        self.left = -1

    def change(self) -> None:
        if self.left == 0:
            raise PowerCut
        self.left -= 1

    def open(self, name: str, mode: str = "r") -> Any:
        if mode in ("r", "rb"):
            return builtins.open(name, mode)
        self.change()
        return _Written(self, builtins.open(name, mode))

    def rename(self, old: str, new: str) -> None:
        self.change()
        os.replace(old, new)

    def remove(self, name: str) -> None:
        if Path(name).exists():
            self.change()
        os.remove(name)


class _Written:
    """A file that is being written."""

    def __init__(self, flash: Flash, file: Any) -> None:
        self._flash = flash
        self._file = file

    def __enter__(self) -> "_Written":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def write(self, text: str) -> int:
        self._flash.change()
        written: int = self._file.write(text)
        return written


@pytest.fixture
def flash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Flash]:
    """Slot a is proven, b is on trial and has two starts left; boot.py has chosen b."""
    import boot

    flash = Flash()
    monkeypatch.chdir(tmp_path)
    names = SimpleNamespace(
        stat=os.stat, getcwd=os.getcwd, rename=flash.rename, remove=flash.remove
    )
    monkeypatch.setattr(boot, "os", names)
    monkeypatch.setattr(boot, "open", flash.open, raising=False)
    monkeypatch.setattr("sys.path", [])
    for name, text in (("a/files", ""), ("a/healthy", "1"), ("b/files", ""), ("trial", "b 3")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert boot.choose() == "b"
    yield flash
    monkeypatch.setattr(boot, "running", "")


def confirm_and_cut(flash: Flash, left: int) -> bool:
    """Report that b is healthy, cut the power after `left` changes; return whether it was done."""
    import boot

    flash.left = left
    try:
        return boot.confirm()
    except PowerCut:
        return False
    finally:
        flash.left = -1


@pytest.mark.parametrize("left", range(6))
def test_a_healthy_product_stays_wherever_the_power_fails(flash: Flash, left: int) -> None:
    import boot

    done = confirm_and_cut(flash, left)
    assert done == (left >= 4)
    noted = Path("b/healthy").exists()
    assert boot.choose() == "b", "it starts again, on trial or for good"
    if not noted:
        assert boot.trial()[0] == "b", "and can still report"
        assert confirm_and_cut(flash, 99)
    assert boot.choose() == "b"
    assert boot.choose() == "b"


@pytest.mark.parametrize("left", range(4))
def test_a_file_holds_the_old_text_or_the_new(flash: Flash, left: int) -> None:
    import boot

    before = Path("trial").read_text()
    flash.left = left
    with suppress(PowerCut):
        boot.choose()
    assert Path("trial").read_text() in (before, "b 1")


def fill(slot: str, counter: int = 0) -> Path:
    """Make a slot whole, with a list of two files; return one of these."""
    files = {"main.mpy": slot.encode() * 2000, "card/keys.mpy": b"keys"}
    rows = [f"{hashlib.sha256(data).hexdigest()} {name}" for name, data in files.items()]
    for name, data in files.items():
        (Path(slot) / name).parent.mkdir(exist_ok=True)
        (Path(slot) / name).write_bytes(data)
    Path(slot, "files").write_text("\n".join([f"1.0+{slot} {counter}", *rows, ""]))
    return Path(slot, "card/keys.mpy")


def test_a_file_that_was_changed_after_installation_starts_nothing(flash: Flash) -> None:
    """Proof: a file was changed, its SHA-256 in the list no longer right, and the slot started."""
    import boot

    fill("a")
    changed = fill("b")
    assert boot.choose() == "b"
    changed.write_bytes(b"Keys")
    assert boot.choose() == "a"
    Path("trial").unlink()
    Path("b/healthy").write_text("2")
    assert boot.choose() == "a", "also one that was healthy"
    Path("a/main.mpy").unlink()
    assert boot.choose() == "", "no slot is as it was installed"


def test_every_turned_bit_is_seen(flash: Flash) -> None:
    import boot

    Path("trial").unlink()
    for path in (fill("a"), Path("a/files")):
        data = path.read_bytes()
        for at in range(len(data)):
            if path.name == "files" and not data.index(b"\n") < at < len(data) - 1:
                continue  # the version, which FIRMWARE tells, and the end of the last line
            for bit in range(8):
                turned = bytearray(data)
                turned[at] ^= 1 << bit
                path.write_bytes(turned)
                assert not boot.is_sound("a"), (path, at, bit)
        path.write_bytes(data)
    assert boot.is_sound("a")


@pytest.mark.parametrize("name", ["main.py", "card/keys.py", "asyncio.mpy", "main/__init__.py"])
def test_a_file_that_was_added_starts_nothing(flash: Flash, name: str) -> None:
    import boot

    fill("b")
    assert boot.choose() == "b"
    Path("b", name).parent.mkdir(exist_ok=True)
    Path("b", name).write_text("evil")
    assert boot.choose() == "a"


def test_a_product_on_trial_is_not_older_than_the_newest_that_was_accepted(flash: Flash) -> None:
    import boot

    fill("b", 12)
    assert boot.choose() == "b"
    assert boot.confirm()
    assert Path("newest").read_text() == "12"
    fill("a", 11)
    Path("trial").write_text("a 3")
    assert boot.choose() == "b"
    fill("a", 12)
    assert boot.choose() == "a"


def test_the_newest_counter_comes_back_from_the_journal(flash: Flash) -> None:
    """Proof: whoever deletes the file `newest` brings an older product back."""
    import boot

    fill("b", 12)
    assert boot.choose() == "b"
    assert boot.confirm(known=30)
    assert Path("newest").read_text() == "30"


def test_what_runs_is_told_by_slot_counter_and_digest(flash: Flash) -> None:
    import boot

    fill("b", 12)
    assert boot.choose() == "b"
    digest = hashlib.sha256(Path("b/files").read_bytes()).digest()[:8]
    assert boot.product == (2, 12, digest, b"1.0+b")
