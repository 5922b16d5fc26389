"""Goal: a board with a signer gets what that key has signed, nothing older, and nothing changed.

Method: packages are made, changed byte by byte, taken apart and judged as `dianka flash` does.
"""

import io
import tarfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from host.cli import cli, flash
from host.flash import package, slots
from host.flash.product import Product, ProductError
from host.flash.prompt import Prompt

PASSPHRASE = "correct horse battery"
PLAIN = Product("0.9.0+1a2b3c4d", {"main.mpy": b"M\x06" * 40, "card/keys.mpy": b"M\x06k"}, 7)


@pytest.fixture
def signer(tmp_path: Path) -> tuple[Path, str]:
    path = tmp_path / "signer.pem"
    words = ["firmware", "signer", "--out", str(path)]
    done = CliRunner().invoke(cli, words, env={"DIANKA_CARD_PASSPHRASE": PASSPHRASE})
    assert done.exit_code == 0, done.output
    assert path.stat().st_mode & 0o777 == 0o600
    assert b"ENCRYPTED" in path.read_bytes()
    return path, done.output.strip()


def check(product: Product, signer: str, newest: int) -> None:
    """Judge a product as a board with that signer and that newest counter would have it."""
    package.check_counter(product.listing, newest)
    package.check_signer(product.listing, product.signature, signer)


def packed(tmp_path: Path, signer: tuple[Path, str]) -> Path:
    path = tmp_path / "p.pkg"
    package.write(path, package.signed(PLAIN, signer[0], PASSPHRASE))
    return path


def test_a_package_comes_back_as_it_was_signed(tmp_path: Path, signer: tuple[Path, str]) -> None:
    product = package.read(packed(tmp_path, signer))
    assert (product.version, product.files, product.counter) == (
        *(PLAIN.version, PLAIN.files, PLAIN.counter),
    )
    check(product, signer[1], newest=7)
    assert product.listing.startswith(b"0.9.0+1a2b3c4d 7\n")
    with pytest.raises(ProductError, match="is no private key, or the passphrase"):
        package.signed(PLAIN, signer[0], "another one")


@pytest.mark.slow
def test_no_changed_byte_of_a_package_is_installed(
    tmp_path: Path, signer: tuple[Path, str]
) -> None:
    """Each byte is turned: the package is refused, or what would be installed is the same."""
    whole = packed(tmp_path, signer).read_bytes()
    path = tmp_path / "changed.pkg"
    refused = 0
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes((whole[at] ^ 1,)) + whole[at + 1 :])
        try:
            product = package.read(path)
            check(product, signer[1], newest=0)
        except ProductError:
            refused += 1
            continue
        assert (product.listing, product.files) == (PLAIN.listing, PLAIN.files), at
    assert refused > 1000


def test_what_a_board_with_a_signer_refuses(tmp_path: Path, signer: tuple[Path, str]) -> None:
    signed = package.signed(PLAIN, signer[0], PASSPHRASE)
    with pytest.raises(ProductError, match="takes signed products alone"):
        check(PLAIN, signer[1], newest=0)
    other = package.new_signer(tmp_path / "other.pem", PASSPHRASE)
    with pytest.raises(ProductError, match="was not signed by the key"):
        check(signed, other, newest=0)
    with pytest.raises(ProductError, match="has the counter 7, and 8 ran"):
        check(signed, signer[1], newest=8)
    later = Product(signed.version, signed.files, 9, signed.signature)
    with pytest.raises(ProductError, match="was not signed by the key"):
        check(later, signer[1], newest=8)
    check(PLAIN, "", newest=0)


def test_a_package_of_other_files_is_none(tmp_path: Path) -> None:
    def packs(**files: bytes) -> Path:
        path = tmp_path / "odd.pkg"
        with tarfile.open(path, "w") as made:
            for name, data in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                made.addfile(entry, io.BytesIO(data))
        return path

    listing = PLAIN.listing
    for files, said in (
        ({"files": listing}, "its list of files is damaged"),
        ({"files": b"1 7\n", "../boot.py": b"x"}, "is no plain file"),
        ({"files": listing, **PLAIN.files, "more.mpy": b""}, "its list of files is damaged"),
        ({"files": b"1 -7\n"}, "its list of files is damaged"),
    ):
        with pytest.raises(ProductError, match=said):
            package.read(packs(**files))
    (tmp_path / "odd.pkg").write_bytes(b"no tar" * 500)
    with pytest.raises(ProductError, match="it is no tar file"):
        package.read(tmp_path / "odd.pkg")


def test_flash_asks_the_board_for_its_signer(
    tmp_path: Path, signer: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    held = {"signer": "", "newest": 0}
    monkeypatch.setattr(slots, "signer", lambda _board: held["signer"])
    monkeypatch.setattr(slots, "newest", lambda _board: held["newest"])

    def judged(product: Product, **wanted: Any) -> str:
        asked = flash.Wanted(None, None, b"", {}, False, 0, False, **wanted)
        try:
            flash._check_signed(None, product, asked)  # type: ignore[arg-type]  # nobody asks it
        except ProductError as error:
            return str(error)
        return ""

    signed = package.signed(PLAIN, signer[0], PASSPHRASE)
    assert judged(PLAIN) == ""
    assert "takes signed products alone" in judged(PLAIN, signer=signer[1])
    held["signer"] = signer[1]
    assert "--allow-unsigned where you know" in judged(PLAIN)
    assert judged(PLAIN, unsigned=True) == ""
    assert judged(signed) == ""
    assert "the board has another signer" in judged(signed, signer="00" * 32)
    held["newest"] = 8
    assert "an older one is not started" in judged(signed)
    done = CliRunner().invoke(cli, ["flash", "x", "--signer", "abc"])
    assert (done.exit_code, "64 hexadecimal digits" in done.output) == (2, True)


class Board:
    """A board whose files are those of the working directory: it runs what is typed."""

    told = Prompt.told

    def run(self, code: str) -> str:
        said = io.StringIO()
        with redirect_stdout(said):
            exec(code, {})  # the programs of slots.py, as MicroPython's prompt runs them
        return said.getvalue()

    def replace(self, name: str, data: bytes) -> None:
        Path(name).write_bytes(data)

    def release(self) -> None:
        """Let the product run."""


def test_the_way_back_starts_what_the_board_takes_alone(
    tmp_path: Path, signer: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slot b runs, and slot a holds a product that was healthy once."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(flash, "_await", lambda _board, _slot, _wait_s: None)
    for slot, healthy in (("a", "1"), ("b", "2")):
        Path(slot).mkdir()
        Path(slot, "files").write_bytes(PLAIN.listing)
        Path(slot, "healthy").write_text(healthy)

    def went_back(unsigned: bool = False) -> str:
        Path("trial").unlink(missing_ok=True)
        try:
            flash._roll_back(Board(), 0, unsigned)  # type: ignore[arg-type]  # all that is asked
        except ProductError as error:
            assert not Path("trial").exists()
            return str(error)
        assert Path("trial").read_text() == "a 3"
        return ""

    assert went_back() == ""
    Path("signer").write_text(signer[1])
    assert "takes signed products alone" in went_back()
    assert went_back(unsigned=True) == ""
    signature = package.signed(PLAIN, signer[0], PASSPHRASE).signature
    Path("a", "signature").write_text(signature)
    assert went_back() == ""
    Path("a", "files").write_bytes(PLAIN.listing.replace(b" 7", b" 9"))
    assert "was not signed by the key" in went_back()
    Path("newest").write_text("10")
    assert "an older one is not started there" in went_back(unsigned=True)
