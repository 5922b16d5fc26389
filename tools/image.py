"""Build a MicroPython image with the product frozen in.

    .venv/bin/python -m tools.image qemu [--no-float] [--tests]
    .venv/bin/python -m tools.image rp2
    .venv/bin/python -m tools.image esp32|rp2|stm32 --mpy-dir DIR [--port-board NAME]
        [--board-json FILE]

The emulated board is built from the source package of Debian's next release, fetched once. The
package leaves out the chip makers' libraries. Debian has those of a Raspberry Pi Pico as packages
of their own, so its image is built from them; images for other boards are built from the user's
own checkout of MicroPython. With a board.json the image leaves out the drivers that this file does
not need. The path of the finished image is printed, and nothing else, on stdout.
"""

import argparse
import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from host.flash import wiring
from host.flash.lean import lean
from host.flash.names import shorten, words_in_programs
from host.flash.product import Known, ProductError, known_of, lean_text, left_out
from tools.debian import FetchError, PrivateApt, unpack

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "image"
FIRMWARE = ROOT / "firmware"


class ImageError(Exception):
    """The image cannot be built; the text says what to do."""


@dataclass(frozen=True)
class Port:
    """How one of MicroPython's ports is built: its board, its tools and what comes out."""

    board: str
    product: str
    tools: tuple[str, ...]
    # Frozen modules without which an image of it starts nothing, beside our own main.py.
    needs: tuple[str, ...] = ()


_ASYNCIO = "asyncio/__init__.py"
_RP2_NEEDS = ("_boot.py", "rp2.py", _ASYNCIO)
PORTS = {
    "qemu": Port("MPS2_AN385", "firmware.elf", ("arm-none-eabi-gcc",)),
    "esp32": Port("ESP32_GENERIC", "micropython.bin", ("idf.py",), ("_boot.py", _ASYNCIO)),
    "rp2": Port("RPI_PICO_W", "firmware.uf2", ("arm-none-eabi-gcc", "cmake"), _RP2_NEEDS),
    "stm32": Port("PYBV11", "firmware.hex", ("arm-none-eabi-gcc",), (_ASYNCIO,)),
}

# Each command that a build for the emulator runs, with Debian's package of it.
EMULATOR_PACKAGES = {
    "make": "make",
    "gcc": "gcc libc6-dev",
    "dpkg-source": "dpkg-dev",
    "arm-none-eabi-gcc": "gcc-arm-none-eabi libnewlib-arm-none-eabi",
    "qemu-system-arm": "qemu-system-arm",
}

# The same for a Pico, whose build also needs these of Debian's next release.
PICO_COMMANDS = {
    **{name: at for name, at in EMULATOR_PACKAGES.items() if not name.startswith("qemu")},
    "cmake": "cmake",
}
PICO_PACKAGES = ["pico-sdk-source", "tinyusb-source"]
_PICO_BOARD = "RPI_PICO"
# Where a UF2 puts a Pico's image, and the number of its chip.
_PICO_START = "0x10000000"
_PICO_FAMILY = "0xe48bff56"
# What the build asks for and this image has no use of: a program that writes a UF2, the library of
# C++, and packages that the port's list of modules names beside its own modules.
_PICO_STAND_INS = {
    "picotool/picotoolConfig.cmake": "add_executable(picotool IMPORTED GLOBAL)\n"
    "set_property(TARGET picotool PROPERTY IMPORTED_LOCATION /bin/true)\n",
    "picotool/picotoolConfigVersion.cmake": "set(PACKAGE_VERSION_COMPATIBLE TRUE)\n",
    "c++/cstdlib": "#include <stddef.h>\n#include <stdlib.h>\n"
    "namespace std { using ::free; using ::malloc; using ::size_t; }\n",
    "c++/cassert": "#include <assert.h>\n",
    "c++/libstdc++.a": "!<arch>\n",
    "lib/README.md": "",
    **{
        f"lib/micropython/{name}/manifest.py": "metadata(version='1')\n"
        for name in ("dht", "ds18x20", "neopixel", "onewire")
    },
}

# Included instead of the port's own configuration, which it keeps but for the floats.
_NO_FLOAT = """\
#include <mpconfigport.h>
#undef MICROPY_FLOAT_IMPL
#define MICROPY_FLOAT_IMPL (MICROPY_FLOAT_IMPL_NONE)
"""

# The same for a ROMFS, whose place is in tools/emulated/stock/rom.c.
_ROMFS = """\
#include <mpconfigport.h>
#undef MICROPY_VFS_ROM_IOCTL
#define MICROPY_VFS_ROM_IOCTL (1)
"""

# What a surrounding make hands down, above all its BOARD=, is not for these builds.
_MAKE_VARIABLES = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "BOARD", "MPY_DIR", "V")

# littlefs, with which the port builds once what it lacks is added.
_LITTLEFS = ("MICROPY_VFS_LFS2=1", f"USER_C_MODULES={ROOT / 'tools' / 'emulated'}")

STOCK_MANIFEST = ROOT / "tools" / "emulated" / "stock" / "manifest.py"
_STOCK = ("DIANKA_STOCK=1", "MICROPY_HEAP_SIZE=1048576")
# The heap of a Pico W.
_SMALL_HEAP = "MICROPY_HEAP_SIZE=190464"


def install_emulator() -> None:
    """Make sure that everything a build for the emulator runs is on this machine.

    As root on a Debian the missing packages are installed; otherwise ImageError names them.
    """
    _install("the emulated board", EMULATOR_PACKAGES)


def _install(what: str, needed: dict[str, str]) -> None:
    """Make sure that these commands are there, each with Debian's packages of it."""
    missing = [name for name in needed if shutil.which(name) is None]
    if not missing:
        return
    packages = [package for name in missing for package in needed[name].split()]
    if os.getuid() != 0 or shutil.which("apt-get") is None:
        raise ImageError(
            f"{what} needs {', '.join(missing)}: "
            f"install with: apt-get install {' '.join(packages)}"
        )
    _say(f"installing {' '.join(packages)}")
    environment = {"DEBIAN_FRONTEND": "noninteractive"}
    _run(["apt-get", "update", "-q"], environment=environment)
    install = ["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages]
    _run(install, environment=environment)


def build_emulated(
    floats: bool = True,
    tests: bool = False,
    mpy_dir: Path | None = None,
    cache: Path = CACHE,
) -> Path:
    """Build the emulated board's image and return it; quick when nothing changed.

    Without `floats` the interpreter has none, so that a float anywhere is an error, and no
    littlefs. With `tests` those of tests/core and tests/emulated are frozen as well.
    """
    install_emulator()
    with _locked(cache):
        source = mpy_dir or fetch_source(cache)
        build = cache / ("qemu" + ("" if floats else "-no-float") + ("-tests" if tests else ""))
        extra = [f"BOARD={PORTS['qemu'].board}"]
        if not floats:
            header = cache / "no_float.h"
            _write_if_new(header, _NO_FLOAT)
            extra.append(f"CFLAGS_EXTRA=-DMP_CONFIGFILE='\"{header}\"'")
        else:
            extra.extend(_LITTLEFS)
        manifest = _write_emulated_manifest(cache, tests)
        _build_port(source, "qemu", build, manifest, extra)
        return build / PORTS["qemu"].product


def build_stock(frozen: bool = False, rom: bool = False, cache: Path = CACHE) -> Path:
    """Build an emulated board as it is sold: MicroPython, a file system, nothing of ours.

    It starts boot.py and main.py from its flash, as real ports do. Its heap is that of a large
    board, because programs that are not frozen live there. With `frozen` the product is in the
    image, as in one of a real board. With `rom` it has a ROMFS, and the heap of a small board.
    """
    install_emulator()
    with _locked(cache):
        build = cache / ("qemu-stock" + ("-frozen" if frozen else "") + ("-rom" if rom else ""))
        manifest = STOCK_MANIFEST
        if frozen:
            manifest = cache / "frozen_stock_manifest.py"
            product = write_firmware(cache, "qemu", known_of(FIRMWARE))
            text = f'include("{STOCK_MANIFEST}")\ninclude("{product}", port=False)\n'
            _write_if_new(manifest, text)
        extra = [f"BOARD={PORTS['qemu'].board}", *_LITTLEFS, *_STOCK]
        if rom:
            header = cache / "romfs.h"
            _write_if_new(header, _ROMFS)
            extra += [f"CFLAGS_EXTRA=-DMP_CONFIGFILE='\"{header}\"'", _SMALL_HEAP]
        _build_port(fetch_source(cache), "qemu", build, manifest, extra)
        return build / PORTS["qemu"].product


def build_board(
    name: str, mpy_dir: Path | None, port_board: str | None, without: Set[str] = frozenset()
) -> Path:
    """Build a real board's image from the MicroPython checkout in `mpy_dir` and return it.

    The files of the firmware in `without` are left out.
    """
    port = PORTS[name]
    if mpy_dir is None:
        raise ImageError(
            f"an image for {name} is built from your own MicroPython checkout, its submodules "
            f"included: make image BOARD={name} MPY_DIR=/path/to/micropython"
        )
    if not (mpy_dir / "ports" / name / "Makefile").exists():
        raise ImageError(f"{mpy_dir} is no MicroPython checkout: it has no ports/{name}/Makefile")
    missing = [tool for tool in port.tools if shutil.which(tool) is None]
    if missing:
        raise ImageError(f"building for {name} needs {', '.join(missing)} on PATH")
    board = port_board or port.board
    build = CACHE / f"{name}-{board}"
    with _locked(CACHE):
        manifest = write_firmware(CACHE, name, known_of(FIRMWARE), without)
        _build_port(mpy_dir, name, build, manifest, [f"BOARD={board}"])
        check_frozen(name, build / "frozen_content.c")
    return build / port.product


def build_pico(without: Set[str] = frozenset(), cache: Path = CACHE) -> Path:
    """Build a Raspberry Pi Pico's image from Debian's packages alone, and return its UF2.

    It has no radio: Debian has no driver of that of a Pico W.
    """
    _install("the image of a Pico", PICO_COMMANDS)
    with _locked(cache):
        source = _fetch_pico_source(cache)
        stand_ins, build = cache / "pico-stand-ins", cache / f"rp2-{_PICO_BOARD}-debian"
        for name, text in _PICO_STAND_INS.items():
            (stand_ins / name).parent.mkdir(parents=True, exist_ok=True)
            _write_if_new(stand_ins / name, text)
        (cache / "pico").mkdir(exist_ok=True)
        manifest = write_firmware(cache / "pico", "rp2", known_of(FIRMWARE), without)
        _say(f"building {build.name}")
        jobs = f"-j{os.cpu_count() or 1}"
        _run(["make", jobs, "-C", str(source / "mpy-cross")])
        port = source / "ports" / "rp2"
        settings = {
            "PICO_BUILD_DOCS": "0",
            "MICROPY_BOARD": _PICO_BOARD,
            "MICROPY_BOARD_DIR": port / "boards" / _PICO_BOARD,
            "MICROPY_FROZEN_MANIFEST": manifest,
            "MICROPY_LIB_DIR": stand_ins / "lib",
            "picotool_DIR": stand_ins / "picotool",
            "CMAKE_CXX_FLAGS": f"-I{stand_ins / 'c++'}",
            "CMAKE_EXE_LINKER_FLAGS": f"-L{stand_ins / 'c++'}",
        }
        given = [f"-D{name}={value}" for name, value in settings.items()]
        _run(["cmake", "-S", str(port), "-B", str(build), *given])
        _run(["make", jobs, "-C", str(build)])
        check_frozen("rp2", build / "frozen_content.c")
        made = build / PORTS["rp2"].product
        convert = [sys.executable, str(source / "tools" / "uf2conv.py"), "-c"]
        convert += ["-b", _PICO_START, "-f", _PICO_FAMILY, "-o", str(made)]
        _run([*convert, str(build / "firmware.bin")])
    return made


def _fetch_pico_source(cache: Path) -> Path:
    """Return MicroPython's source with the libraries of a Pico, fetched and put together once."""
    place = cache / "pico-source"
    if place.exists():
        return place
    source = fetch_source(cache)
    _say("fetching the libraries of a Pico")
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=cache) as name:
        partial = Path(name)
        apt = PrivateApt(partial / "apt", sources=True)
        apt.update()
        for package in apt.download(PICO_PACKAGES, partial / "packages"):
            unpack(package, partial / "root")
        description = apt.download_source("mbedtls", partial / "sources")
        tree = partial / "tree"
        shutil.copytree(source, tree, symlinks=True)
        for library in ("pico-sdk", "tinyusb", "mbedtls"):
            shutil.rmtree(tree / "lib" / library)
        for library in ("pico-sdk", "tinyusb"):
            shutil.move(partial / "root" / "usr" / "src" / library, tree / "lib" / library)
        target = str(tree / "lib" / "mbedtls")
        _run(["dpkg-source", "--no-check", "-x", str(description), target])
        tree.rename(place)
    return place


def check_frozen(name: str, table: Path) -> None:
    """ImageError when an image of the port lacks what it starts with.

    `table` is what the build has frozen: a C file with the names of the modules.
    """
    try:
        text = table.read_text()
    except OSError:
        raise ImageError(f"{table} is missing: the build froze nothing") from None
    names = set(
        re.findall(r'^ *"([^"]+)\\0"$', text[text.find("mp_frozen_names[]") :], re.MULTILINE)
    )
    missing = [module for module in (*PORTS[name].needs, "main.py") if module not in names]
    if missing:
        raise ImageError(
            f"the image has no {', '.join(missing)} and would not start: fetch the submodules of "
            f"your MicroPython checkout (make -C ports/{name} submodules) and build it again"
        )


def fetch_source(cache: Path = CACHE) -> Path:
    """Return MicroPython's source tree, fetched and unpacked once."""
    place = cache / "source"
    if place.exists():
        return place
    _say("fetching the source of MicroPython")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=cache) as name:
        partial = Path(name)
        apt = PrivateApt(partial / "apt", sources=True)
        apt.update()
        description = apt.download_source("micropython", partial / "packages")
        tree = partial / "source"
        _run(["dpkg-source", "--no-check", "-x", str(description), str(tree)])
        tree.rename(place)
    return place


def _build_port(source: Path, name: str, build: Path, manifest: Path, extra: list[str]) -> None:
    """Build the cross compiler of `source` and then its port `name` into `build`."""
    if not manifest.exists():
        raise ImageError(f"{manifest} is missing: nothing says what to freeze")
    _say(f"building {build.name}")
    jobs = f"-j{os.cpu_count() or 1}"
    _run(["make", jobs, "-C", str(source / "mpy-cross")])
    settings = [f"BUILD={build}", f"FROZEN_MANIFEST={manifest}", *extra]
    # make looks at the age of files only: what was built with other settings has to go.
    noted = build / "settings"
    if not noted.exists() or noted.read_text() != "\n".join(settings):
        shutil.rmtree(build, ignore_errors=True)
        build.mkdir(parents=True)
        noted.write_text("\n".join(settings))
    _run(["make", jobs, "-C", str(source / "ports" / name), *settings])


def write_firmware(folder: Path, port: str, known: Known, without: Set[str] = frozenset()) -> Path:
    """Write what is frozen of the firmware, made lean, into `folder`; return its manifest.

    The modules for the boards of other ports and those in `without` are left out.
    """
    target = folder / "firmware"
    others = {Path("boards", f"{name}.py") for name in PORTS if name != port}
    others.update(map(Path, without))
    names = {path.relative_to(FIRMWARE) for path in FIRMWARE.rglob("*.py")} - others
    for name in sorted(names):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        is_program = name.name != "manifest.py"
        text = lean_text(FIRMWARE / name, FIRMWARE, known) if is_program else ""
        _write_if_new(target / name, text or (FIRMWARE / name).read_text("utf-8"))
    for path in target.rglob("*.py"):
        if path.relative_to(target) not in names:
            path.unlink()
    return target / "manifest.py"


def _write_emulated_manifest(folder: Path, tests: bool) -> Path:
    """Write the firmware and a manifest of it into `folder`, with `tests` those of a board too.

    What only a PC uses of the protocol is tested there as well. The tests know the firmware by its
    short names, so it is written once for them and once without.
    """
    if not tests:
        manifest = write_firmware(folder, "qemu", known_of(FIRMWARE))
        target = folder / "emulated_manifest.py"
        _write_if_new(target, f'include("{manifest}", port=False)\n')
        return target
    programs = {
        path.stem: path.read_text("utf-8")
        for place in (ROOT / "tests" / "core", ROOT / "tests" / "emulated")
        for path in sorted(place.glob("*.py"))
        if path.name != "conftest.py"
    }
    typed = (*(ROOT / "tests").rglob("*.py"), *(ROOT / "tools").glob("*.py"))
    said = words_in_programs(path.read_text("utf-8") for path in typed)
    known = known_of(FIRMWARE, programs, said)
    target = folder / "tests"
    manifest = write_firmware(target, "qemu", known)
    text = f'include("{manifest}", port=False)\n'
    for name in left_out(FIRMWARE):
        if name.startswith("dlt645/"):
            text += f'module("{name}", base_path="{manifest.parent}")\n'
    for name, program in programs.items():
        _write_if_new(target / f"{name}.py", shorten(lean(program, known.numbers), known.names))
        text += f'module("{name}.py", base_path="{target}", opt=0)\n'
    _write_if_new(folder / "test_manifest.py", text)
    return folder / "test_manifest.py"


def _write_if_new(path: Path, text: str) -> None:
    """Write `text` unless it is there already, so that make sees no change."""
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def _run(command: list[str], environment: dict[str, str] | None = None) -> None:
    """Run a command quietly; ImageError with the end of what it printed if it fails."""
    inherited = {name: at for name, at in os.environ.items() if name not in _MAKE_VARIABLES}
    done = subprocess.run(
        command,
        env={**inherited, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        end = "\n".join(done.stdout.splitlines()[-20:])
        raise ImageError(f"{' '.join(command)} failed:\n{end}")


def _unused(board_json: Path | None) -> frozenset[str]:
    """Return the drivers that a board with this file does not need; ImageError: it is wrong."""
    if board_json is None:
        return frozenset()
    try:
        content = json.loads(board_json.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ImageError(f"{board_json} cannot be read as JSON: {error}") from error
    errors = wiring.judge(content, "")[0]
    if errors:
        raise ImageError("\n".join(f"{board_json}: {error}" for error in errors))
    return wiring.unused_drivers(content)


def _say(text: str) -> None:
    print(f"image: {text}", file=sys.stderr, flush=True)


@contextmanager
def _locked(cache: Path) -> Iterator[None]:
    """Hold `cache` alone, so that two builds do not write into each other."""
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main(arguments: list[str]) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="tools.image", description="Build a board's image.")
    parser.add_argument("board", choices=sorted(PORTS))
    parser.add_argument("--no-float", action="store_true", help="an interpreter without floats")
    parser.add_argument("--tests", action="store_true", help="freeze the core tests as well")
    parser.add_argument("--mpy-dir", type=Path, help="a checkout of MicroPython")
    parser.add_argument("--board-json", type=Path, help="leave out the drivers it does not need")
    parser.add_argument("--port-board", help="the port's own name of the board")
    options = parser.parse_args(arguments)
    mpy_dir = options.mpy_dir.resolve() if options.mpy_dir else None
    try:
        if options.board == "qemu":
            image = build_emulated(not options.no_float, options.tests, mpy_dir)
        else:
            without = _unused(options.board_json)
            is_debians = options.board == "rp2" and mpy_dir is None and not options.port_board
            image = (
                build_pico(without)
                if is_debians
                else build_board(options.board, mpy_dir, options.port_board, without)
            )
    except (ImageError, FetchError, ProductError) as error:
        print(f"image: {error}", file=sys.stderr)
        return 1
    print(image)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
