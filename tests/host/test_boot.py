"""Goal: a product on trial that was found healthy stays, wherever the power fails while that is
written, and a file of boot.py holds either the old text or the new one.

Method: the real boot.py runs in a folder; each change of a file is counted and the power is cut
before it. Truncating a file counts as one change and writing it as another, as on a flash with a
file system that promises nothing before a file is closed. tests/power has the same on littlefs.
"""

import builtins
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
        if mode == "r":
            return builtins.open(name)
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
