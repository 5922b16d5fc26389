"""Goal: the firmware is checked with the published stubs of every port, each file with the ports
that load it, and a checkout gets the stubs of the pinned versions once.

Method: pip is replaced where packages are installed and removed; the real mypy checks a small
program that only some ports can run.
"""

from pathlib import Path

import pytest

from tools import stubs

JOINS = """
import network

def join() -> None:
    network.WLAN(network.STA_IF).connect("station", "key")
"""


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let pip make empty packages; return the list of packages that were requested."""
    asked: list[str] = []

    def install(python: Path, package: str, target: Path) -> None:
        asked.append(package)
        target.mkdir()

    monkeypatch.setattr(stubs, "_install", install)
    return asked


def test_each_package_is_installed_once(tmp_path: Path, installed: list[str]) -> None:
    stubs.ensure(Path("python"), tmp_path)
    assert installed == [f"micropython-{name}-stubs=={stubs.PINS[name]}" for name in stubs.PINS]

    stubs.ensure(Path("python"), tmp_path)
    assert len(installed) == len(stubs.PINS)


def test_another_version_is_installed_and_the_old_one_removed(
    tmp_path: Path, installed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stubs.ensure(Path("python"), tmp_path)
    installed.clear()
    monkeypatch.setitem(stubs.PINS, "rp2", "9.9")

    stubs.ensure(Path("python"), tmp_path)

    assert installed == ["micropython-rp2-stubs==9.9"]
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{name}-{version}" for name, version in stubs.PINS.items()
    }


def test_what_pip_could_not_install_is_not_there(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    cache = tmp_path / "cache"

    with pytest.raises(stubs.StubsError, match=r"could not install micropython-esp32-stubs=="):
        stubs.ensure(python, cache)
    assert list(cache.iterdir()) == []


def test_every_file_is_checked_by_the_ports_that_load_it() -> None:
    every = {path for path in stubs.FIRMWARE.rglob("*.py") if path.name != "manifest.py"}
    checked = {name: set(stubs.sources(name)) for name in stubs.PORTS}

    assert set.union(*checked.values()) == every
    for name in stubs.PORTS:
        board = stubs.FIRMWARE / "boards" / f"{name}.py"
        assert [port for port, paths in checked.items() if board in paths] == [name]
    for port in stubs.PORTS.values():
        assert all((stubs.FIRMWARE / path).is_file() for path in port.lacks)


@pytest.mark.parametrize(("port", "lacking"), [("esp32", False), ("stm32", True)])
def test_a_call_that_a_port_has_not_is_found_there_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, port: str, lacking: bool
) -> None:
    monkeypatch.setattr(stubs, "MYPY_CACHE", tmp_path / "cache")
    firmware = tmp_path / "firmware"
    firmware.mkdir()
    (firmware / "joining.py").write_text(JOINS)

    found = stubs.check(port, firmware)

    assert ('"WLAN" has no attribute "connect"' in found) is lacking, found
    assert bool(found) is lacking, found


def test_each_correction_of_the_stubs_is_explained_and_they_are_few() -> None:
    said = (stubs.OVERRIDES / "README.md").read_text()
    corrections = sorted(stubs.OVERRIDES.glob("*.pyi"))

    assert all(f"| `{path.name}` |" in said for path in corrections)
    assert sum(len(path.read_text().splitlines()) for path in corrections) <= 160


def test_a_port_that_does_not_exist_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        stubs.main(["esp8266"])

    assert "no port esp8266: give one of esp32, rp2, " in capsys.readouterr().err
