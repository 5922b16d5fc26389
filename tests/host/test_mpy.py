"""Goal: the firmware compiles for every kind of chip it supports, and `mip` lists every file.

Method: the real cross compiler compiles every file; it must name a broken file.
"""

import json
from pathlib import Path

import pytest

from host.flash import product
from tools import mpy


@pytest.mark.slow
@pytest.mark.parametrize("arch", product.ARCHITECTURES)
def test_everything_compiles(tmp_path: Path, arch: str) -> None:
    folder = mpy.compile_all(arch, tmp_path)
    made = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}

    assert {"main.py", "dlt645/fast.mpy", "boards/chip.mpy", "card/chips/sle4442.mpy"} <= made
    assert "boards/unix.mpy" not in made
    assert (folder / "dlt645" / "fast.mpy").read_bytes()[:2] == b"M\x06"


def test_a_file_that_does_not_compile_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.py").write_text("def f(:\n")
    monkeypatch.setattr(mpy, "FIRMWARE", tmp_path)

    with pytest.raises(product.ProductError, match=r"broken\.py"):
        mpy.compile_all("armv6m", tmp_path / "out")


def test_mip_is_told_of_every_file() -> None:
    assert mpy.PACKAGE.read_text() == mpy.package(), "run: .venv/bin/python -m tools.mpy"


def test_mip_is_told_of_files_that_are_there() -> None:
    urls = json.loads(mpy.PACKAGE.read_text())["urls"]

    assert all((mpy.ROOT / source).is_file() for _, source in urls)
    assert all(source == f"firmware/{place}" for place, source in urls)
    packages = {place.partition("/")[0] for place, _ in urls}
    assert packages == {path.relative_to(mpy.FIRMWARE).parts[0] for path in mpy.sources()}
