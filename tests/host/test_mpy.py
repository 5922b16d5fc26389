"""Goal: the firmware compiles for every kind of chip it supports, and `mip` lists every file. What
`mip` brought from an index of ours starts only as it was made.

Method: the real cross compiler compiles every file; it must name a broken file. The installer of
the real mpremote fills a folder from an index, and the real boot.py judges it.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

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


class Folder:
    """A board's files as mpremote asks for them, in a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def at(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def fs_exists(self, path: str) -> bool:
        return self.at(path).exists()

    def fs_mkdir(self, path: str) -> None:
        self.at(path).mkdir(parents=True)

    def fs_hashfile(self, path: str, _kind: str) -> bytes:
        return hashlib.sha256(self.at(path).read_bytes()).digest()

    def fs_writefile(self, path: str, data: bytes, **_shown: Any) -> None:
        self.at(path).write_bytes(data)


def test_what_mip_brings_by_hashes_starts_only_as_it_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import boot
    from mpremote import mip

    monkeypatch.setattr(boot, "product", boot.product)
    files = {"main.mpy": b"M\x06" * 40, "card/keys.mpy": b"M\x06k"}
    made = product.Product("0.9.0+1a2b3c4d", files, 7, "5a" * 64)
    index = tmp_path / "index"
    newest = mpy.index(made, b"# boot\n", index)
    kept = {path: path.read_bytes() for path in index.glob("file/*/*")}
    assert all(path.name == hashlib.sha256(data).hexdigest() for path, data in kept.items())

    def installed(place: str) -> bool:
        board = tmp_path / place
        board.mkdir(exist_ok=True)
        mip._install_json(Folder(board), str(newest), str(index), "", None, True)
        monkeypatch.chdir(board)
        return boot.is_sound("a")

    assert installed("whole")
    assert boot.product[1] == 7
    assert (tmp_path / "whole" / "boot.py").read_bytes() == b"# boot\n"
    assert (tmp_path / "whole" / "a" / "signature").read_text() == made.signature
    for name, data in files.items():
        changed = index / "file" / hashlib.sha256(data).hexdigest()[:2]
        path = changed / hashlib.sha256(data).hexdigest()
        path.write_bytes(data[:-1] + b"?")
        assert not installed(path.name[:4]), name
        path.write_bytes(data)
        assert installed(path.name[:4]), "what is there by another hash is fetched again"
