"""Check the firmware against the published type stubs of every port it runs on.

    .venv/bin/python -m tools.stubs [PORT...]

Each port's stubs describe its own `machine`, `network`, `vfs` and so on under the same names, so
each is installed from PyPI into a folder of its own below .cache/stubs. What they get wrong is
corrected in tools/typings. A port is checked with every file of the firmware that it can load.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools import requirements

ROOT = Path(__file__).resolve().parent.parent
FIRMWARE = ROOT / "firmware"
CACHE = ROOT / ".cache" / "stubs"
OVERRIDES = ROOT / "tools" / "typings"
MYPY_CACHE = ROOT / ".mypy_cache"

# The stub packages, by what stands between `micropython-` and `-stubs`, and their versions.
PINS = {
    "esp32": "1.29.0.post1",
    "rp2": "1.29.0.post1",
    "stm32": "1.29.0.post1",
    "unix": "1.29.0.post1",
    # Python's own modules and built-in names, as far as MicroPython has them.
    "stdlib": "1.29.0.post2",
}


@dataclass(frozen=True)
class Port:
    """A port of MicroPython: the stubs it is checked with, and the files it never loads."""

    stubs: str
    lacks: tuple[str, ...] = ()


_NO_RADIO = ("boards/wifi.py",)
_NO_LINK = (*_NO_RADIO, "boards/lan.py", "boards/link.py")
# Slots of boot.py are kept by the boards with a chip alone.
_NO_CHIP = (
    "boot.py",
    *(
        f"boards/{name}.py"
        for name in (
            *("card_reader", "chip", "contacts", "display", "log", "nor", "panel"),
            *("prompt", "rtc", "selftest", "uart", "usb", "wiring"),
        )
    ),
    *_NO_LINK,
)
_ON_NO_PORT = ("manifest.py",)

# The name of a port is that of its file in firmware/boards, which no other port loads.
PORTS = {
    "esp32": Port("esp32"),
    "rp2": Port("rp2"),
    "stm32": Port("stm32", lacks=_NO_RADIO),
    "unix": Port("unix", lacks=_NO_CHIP),
    # There are no published stubs of the emulated board; it has less than the unix port.
    "qemu": Port("unix", lacks=(*_NO_CHIP, "boards/names.py", "boards/sntp.py", "boards/tcp.py")),
}

# Checked along with a port's files: its board keeps what boards promise.
_CONTRACT = """\
import ports
from boards.{name} import Board

board: ports.Board = Board()
"""


class StubsError(Exception):
    """The stubs cannot be had; the text says what to do."""


def folder_of(name: str, cache: Path = CACHE) -> Path:
    """Return the folder of a stub package of PINS in its pinned version."""
    return cache / f"{name}-{PINS[name]}"


def ensure(python: Path, cache: Path = CACHE) -> None:
    """Install with the pip of `python` the stubs that are missing, and remove other versions.

    A package appears in the cache when it is complete, so that an interrupted run is run again.
    """
    wanted = {folder_of(name, cache): name for name in PINS}
    cache.mkdir(parents=True, exist_ok=True)
    for target, name in wanted.items():
        if target.is_dir():
            continue
        with tempfile.TemporaryDirectory(dir=cache) as made:
            package = f"micropython-{name}-stubs=={PINS[name]}"
            _install(python, package, Path(made) / "package")
            (Path(made) / "package").rename(target)
    for found in cache.iterdir():
        if found not in wanted:
            shutil.rmtree(found)


def _install(python: Path, package: str, target: Path) -> None:
    entry = requirements.read(requirements.STUBS).get(package.partition("==")[0], "")
    if not entry.startswith(f"{package} "):
        raise StubsError(f"tools/stubs.lock does not have {package}: run make lock")
    if not requirements.install(python, [entry], "--target", str(target)):
        raise StubsError(f"could not install {package}: see above, then run make setup again")


def sources(name: str, firmware: Path = FIRMWARE) -> Iterator[Path]:
    """Yield the files of the firmware that the port `name` can load, in order."""
    left_out = {f"boards/{other}.py" for other in PORTS if other != name}
    left_out.update((*_ON_NO_PORT, *PORTS[name].lacks))
    for path in sorted(firmware.rglob("*.py")):
        if path.relative_to(firmware).as_posix() not in left_out:
            yield path


def check(name: str, firmware: Path = FIRMWARE) -> str:
    """Return what mypy finds in the firmware with the stubs of the port `name`, "" for nothing."""
    standard = folder_of("stdlib")
    options = [
        *("--config-file", str(ROOT / "pyproject.toml")),
        *("--cache-dir", str(MYPY_CACHE / name)),
        *("--custom-typeshed-dir", str(standard)),
        # Only what is named here is reported; the stubs have faults of their own.
        *("--follow-imports", "silent"),
        "--no-error-summary",
    ]
    folders = (OVERRIDES, folder_of(PORTS[name].stubs), standard)
    with tempfile.TemporaryDirectory() as made:
        contract = Path(made) / "contract.py"
        contract.write_text(_CONTRACT.format(name=name))
        paths = [*sources(name, firmware), contract]
        done = subprocess.run(
            [sys.executable, "-m", "mypy", *options, *map(str, paths)],
            cwd=ROOT,
            env={**os.environ, "MYPYPATH": os.pathsep.join(map(str, folders))},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    if done.returncode and not done.stdout:
        return f"mypy ended with {done.returncode}\n"
    return done.stdout if done.returncode else ""


def main(arguments: list[str]) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="tools.stubs", description="Check types for each port.")
    parser.add_argument("port", nargs="*", help=f"{', '.join(PORTS)}; without one all of them")
    options = parser.parse_args(arguments)
    for name in options.port:
        if name not in PORTS:
            parser.error(f"no port {name}: give one of {', '.join(PORTS)}")
    try:
        ensure(Path(sys.executable))
    except StubsError as error:
        print(f"stubs: {error}.", file=sys.stderr)
        return 1
    status = 0
    for name in options.port or PORTS:
        found = check(name)
        if found:
            print(f"On {name}:\n{found}", end="")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
