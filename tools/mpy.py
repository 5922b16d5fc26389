"""Compile the firmware to .mpy files for a board that keeps MicroPython's own image.

    .venv/bin/python -m tools.mpy [--arch ARCH]

They are put in build/mpy/ARCH, in the folders they have on the board; main.py stays a
program, because MicroPython starts only a main.py. The folder is printed on stdout.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from host.flash import product
from host.flash.product import ARCHITECTURES, ProductError, compile_file, left_out

ROOT = Path(__file__).resolve().parent.parent
FIRMWARE = ROOT / "firmware"
PACKAGE = ROOT / "package.json"
BUILD = ROOT / "build" / "mpy"

# The emulated board gets an image.
_EMULATED = "boards/qemu.py"


def sources() -> Iterator[Path]:
    """Yield the files that a board with a chip needs, in order."""
    missing = (*left_out(product.firmware()), _EMULATED)
    for path in sorted(FIRMWARE.rglob("*.py")):
        if path.relative_to(FIRMWARE).as_posix() not in missing:
            yield path


def compile_all(arch: str, build: Path = BUILD) -> Path:
    """Compile everything for `arch` into a folder of its own, made anew; return it."""
    folder = build / arch
    shutil.rmtree(folder, ignore_errors=True)
    known = product.known_of(FIRMWARE)
    for path in sources():
        target = folder / path.relative_to(FIRMWARE)
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.name == "main.py":
            target.write_text(product.lean_text(path, FIRMWARE, known), "utf-8")
            continue
        compile_file(path, FIRMWARE, known, arch, target.with_suffix(".mpy"))
    return folder


def package() -> str:
    """Return what `mip` is told to install, as package.json."""
    places = [path.relative_to(FIRMWARE).as_posix() for path in sources()]
    urls = [[place, f"firmware/{place}"] for place in places]
    return json.dumps({"urls": urls, "deps": [], "version": "0.2.0"}, indent=2) + "\n"


def main(arguments: list[str]) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="tools.mpy", description="Compile the firmware.")
    boards = ", ".join(f"{arch}: {names}" for arch, names in ARCHITECTURES.items())
    parser.add_argument("--arch", default="armv6m", choices=list(ARCHITECTURES), help=boards)
    options = parser.parse_args(arguments)
    PACKAGE.write_text(package())
    try:
        print(compile_all(options.arch))
    except ProductError as error:
        print(f"mpy: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
