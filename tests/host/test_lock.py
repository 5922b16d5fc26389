"""Goal: a checkout gets exactly the files that the lock files name, and nobody else's.

Method: the real lock files are read; the real pip is offered a package whose hash is wrong, from
a folder, so that no test needs the network; uv and pip are replaced where lock files are written.
"""

import hashlib
import re
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from tools import lock, requirements, stubs

WHEEL = "probe-1.0-py3-none-any.whl"


def make_wheel(folder: Path) -> str:
    """Write a wheel of nothing but a module, and return the hash of its file."""
    with zipfile.ZipFile(folder / WHEEL, "w") as wheel:
        wheel.writestr("probe.py", "VALUE = 1\n")
        info = "Metadata-Version: 2.1\nName: probe\nVersion: 1.0\n"
        wheel.writestr("probe-1.0.dist-info/METADATA", info)
        tags = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        wheel.writestr("probe-1.0.dist-info/WHEEL", tags)
        wheel.writestr("probe-1.0.dist-info/RECORD", "")
    return hashlib.sha256((folder / WHEEL).read_bytes()).hexdigest()


def install(folder: Path, digest: str) -> bool:
    """Return whether pip installs the wheel in `folder` under the hash `digest`."""
    options = ("--no-index", "--find-links", str(folder), "--target", str(folder / "made"))
    entry = f"probe==1.0 --hash=sha256:{digest}\n"
    return requirements.install(Path(sys.executable), [entry], *options)


def test_a_file_of_another_hash_is_refused(tmp_path: Path) -> None:
    digest = make_wheel(tmp_path)
    assert not install(tmp_path, digest[:-1] + ("0" if digest[-1] != "0" else "1"))
    assert not (tmp_path / "made" / "probe.py").exists()

    assert install(tmp_path, digest)
    assert (tmp_path / "made" / "probe.py").exists()


@pytest.mark.parametrize("path", [requirements.PRODUCT, requirements.STUBS])
def test_every_entry_has_a_version_and_hashes_and_no_address(path: Path) -> None:
    entries = requirements.read(path)
    assert entries
    for name, entry in entries.items():
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry), name
    assert "://" not in path.read_text()


def test_what_the_project_asks_for_is_locked() -> None:
    extras = {"dev", "station", "mqtt", "postgres", "pcsc", "build"}
    entries = requirements.read(requirements.PRODUCT)
    for requirement in metadata.requires("dianka") or []:
        name = re.match(r"[A-Za-z0-9._-]+", requirement)
        extra = re.search(r"extra == ['\"](\w+)['\"]", requirement)
        assert name is not None
        if name[0].lower() != "dianka" and (extra is None or extra[1] in extras):
            assert name[0].lower() in entries, requirement


def test_what_is_installed_is_what_is_locked() -> None:
    entries = requirements.read(requirements.PRODUCT)
    for name in ("click", "construct", "crcmod-plus", "cryptography", "django", "pytest", "ruff"):
        assert f"{name}=={metadata.version(name)} " in entries[name]


def test_each_stub_package_is_locked_in_its_version() -> None:
    entries = requirements.read(requirements.STUBS)
    assert list(entries) == sorted(f"micropython-{name}-stubs" for name in stubs.PINS)
    for name, pin in stubs.PINS.items():
        assert entries[f"micropython-{name}-stubs"].startswith(f"micropython-{name}-stubs=={pin} ")


def test_licences_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert lock.main(["--licences"]) == 0
    listed = capsys.readouterr().out
    assert re.search(r"click +\S+ +BSD", listed)
    assert re.search(r"pyserial +3\.5 +BSD", listed)


def test_a_package_that_is_not_there_is_said_so() -> None:
    assert lock.licence_of("dianka-no-such-package") == "not installed here"
