"""Compile the firmware to .mpy files for a board that keeps MicroPython's own image.

    .venv/bin/python -m tools.mpy [--arch ARCH]
    .venv/bin/python -m tools.mpy --package product.pkg --index FOLDER

They are put in build/mpy/ARCH, in the folders they have on the board; main.py stays a
program, because MicroPython starts only a main.py. The folder is printed on stdout.

The second form makes an index for `mip` of a package of `dianka firmware pack`.
"""

import argparse
import hashlib
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from host.flash import package as packages
from host.flash import product, slots
from host.flash.product import ARCHITECTURES, Product, ProductError, compile_file, left_out

ROOT = Path(__file__).resolve().parent.parent
FIRMWARE = ROOT / "firmware"
PACKAGE = ROOT / "package.json"
BUILD = ROOT / "build" / "mpy"

# The name by which `mip` asks an index for the product, with the format of its .mpy files.
_NEWEST = "package/6/dianka/latest.json"

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


def index(made: Product, boot: bytes, folder: Path) -> Path:
    """Write an index from which `mip` fills slot a of a board, and return its package's JSON.

    Each file lies under its SHA-256. The slot's list comes last, so that boot.py, which is in
    `boot`, starts the slot only when all of it has arrived as it was made.
    """
    files = {f"{slots.SLOTS[0]}/{name}": data for name, data in made.files.items()}
    if made.signature:
        files[f"{slots.SLOTS[0]}/signature"] = made.signature.encode()
    files |= {"boot.py": boot, "main.py": slots.MAIN}
    files[f"{slots.SLOTS[0]}/files"] = made.listing
    hashes = []
    for name, data in files.items():
        digest = hashlib.sha256(data).hexdigest()
        target = folder / "file" / digest[:2] / digest
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        hashes.append([name, digest])
    newest = folder / _NEWEST
    newest.parent.mkdir(parents=True, exist_ok=True)
    newest.write_text(json.dumps({"hashes": hashes, "version": made.version}, indent=2) + "\n")
    return newest


def main(arguments: list[str]) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="tools.mpy", description="Compile the firmware.")
    boards = ", ".join(f"{arch}: {names}" for arch, names in ARCHITECTURES.items())
    parser.add_argument("--arch", default="armv6m", choices=list(ARCHITECTURES), help=boards)
    parser.add_argument("--package", type=Path, metavar="FILE", help="of dianka firmware pack")
    parser.add_argument("--index", type=Path, metavar="FOLDER", help="where its index for mip is")
    options = parser.parse_args(arguments)
    if bool(options.package) != bool(options.index):
        parser.error("--package and --index go together")
    try:
        if options.index:
            boot = (FIRMWARE / "boot.py").read_bytes()
            print(index(packages.read(options.package), boot, options.index))
            return 0
        PACKAGE.write_text(package())
        print(compile_all(options.arch))
    except ProductError as error:
        print(f"mpy: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
