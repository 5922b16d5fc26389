"""Goal: a board gets the firmware without the text that only type checkers read, and with the
numbers in place of their names; nothing else is removed.

Method: small programs have each case; then every module of the firmware is compared by its syntax
tree, and each remaining name is looked up. The emulated board runs all of it.
"""

import ast
import builtins
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from host.flash import lean, names, product

ROOT = Path(__file__).resolve().parent.parent.parent

CASES = [
    (
        "from micropython import const\n\nA = const(1)\n",
        "\n\nA = const(1)\n",
    ),
    (
        "TYPE_CHECKING = const(False)\nif TYPE_CHECKING:\n    A = (\n    )\n\nC = 1\n",
        "\n\n\n\n\nC = 1\n",
    ),
    (
        "from micropython import const, native\nimport micropython\n",
        "from micropython import const, native\nimport micropython\n",
    ),
    (
        "TYPE_CHECKING = False\nif TYPE_CHECKING:\n    A = 1\nelse:\n    A = 2\n",
        "TYPE_CHECKING = False\nif TYPE_CHECKING:\n    A = 1\nelse:\n    A = 2\n",
    ),
    (
        "TYPE_CHECKING = False\nif TYPE_CHECKING:\n    A = 1\nprint(TYPE_CHECKING)\n",
        "TYPE_CHECKING = False\n\n\nprint(TYPE_CHECKING)\n",
    ),
    # No program asks for the names that a class stores of itself; its own name is known without.
    (
        'class A(B):\n    """What it is.\n\n    And more.\n    """\n\n    size = 1\n',
        "class A(B):\n    del __module__, __qualname__\n\n\n\n\n    size = 1\n",
    ),
    ("def f(:\n", "def f(:\n"),
]


@pytest.mark.parametrize(("text", "left"), CASES)
def test_what_is_left(text: str, left: str) -> None:
    assert lean.lean(text) == left


CODES = """\
from micropython import const

GOOD = const(0)
BAD = const(-1)
_SPAN = const(4)
LAST = const(GOOD + 2 * _SPAN)
BIG = 1 << 30
NAMES = ("good", "bad")
COUNT = len(NAMES)
twice = 0


def name(code):
    return NAMES[code] if code < LAST else GOOD
"""
CODES_LEFT = """\






BIG = 1 << 30
NAMES = ("good", "bad")
COUNT = len(NAMES)
twice = 0


def name(code):
    return NAMES[code] if code < 8 else 0
"""
NUMBERS = lean.numbers_of(
    {
        "room.codes": CODES,
        "limits": "from room import codes\nMOST = codes.LAST\n",
        "later": "COUNT = 1\nCOUNT = 2\n",
        "broken": "def f(:\n",
    }
)

PLACES = [
    ("room.codes", CODES, CODES_LEFT),
    # The number is used by its module, by its name, by another name, of a module imported whole.
    ("", "from room import codes\nprint(codes.BAD, codes.LAST)\n", "\nprint((-1), 8)\n"),
    (
        "",
        "from room.codes import BAD as X, name\nprint(X)\n",
        "from room.codes import name\nprint((-1))\n",
    ),
    ("", "import limits\nprint(limits.MOST)\n", "import limits\nprint(8)\n"),
    ("", "import room.codes\nprint(room.codes.BAD)\n", "import room.codes\nprint((-1))\n"),
    # Other uses of a module stay, and so does its import.
    (
        "",
        "from room import codes\nprint(codes.name(codes.GOOD))\n",
        "from room import codes\nprint(codes.name(0))\n",
    ),
    ("", "from room import codes\n", "from room import codes\n"),
    (
        "",
        "from room import codes\nprint(codes.BIG)\n",
        "from room import codes\nprint(codes.BIG)\n",
    ),
    # Every line stays in its place.
    (
        "",
        "from room.codes import (\n    BAD,\n    GOOD,\n)\nprint(BAD)\n",
        "\n\n\n\nprint((-1))\n",
    ),
    ("", "def f():\n    from room.codes import BAD\n", "def f():\n    pass\n"),
    # A name that a function defines for itself is another name.
    (
        "",
        "from room import codes\ndef f(codes):\n    return codes.BAD\nprint(codes.BAD)\n",
        "\ndef f(codes):\n    return codes.BAD\nprint((-1))\n",
    ),
    (
        "",
        "from room.codes import BAD\ndef f(x=BAD):\n    BAD = x\n    return BAD\n",
        "\ndef f(x=(-1)):\n    BAD = x\n    return BAD\n",
    ),
    (
        "",
        "# Größe\nfrom room import codes\nprint('ß', codes.BAD)\n",
        "# Größe\n\nprint('ß', (-1))\n",
    ),
]


@pytest.mark.parametrize(("module", "text", "left"), PLACES)
def test_numbers_take_the_place_of_their_names(module: str, text: str, left: str) -> None:
    assert lean.lean(text, NUMBERS, module) == left


def test_what_a_module_need_not_store() -> None:
    inner = '"""What it is."""\nA = 1\n'
    started = inner + 'if __name__ == "__main__":\n    A = 2\n'

    assert lean.lean(inner, NUMBERS, "room.codes") == "del __name__, __file__\nA = 1\n"
    # The import of its modules asks for the name of a package.
    assert lean.lean(inner, NUMBERS, "room") == "del __file__\nA = 1\n"
    assert lean.lean(started, NUMBERS, "main") == started
    assert lean.lean(inner, NUMBERS) == inner


def test_what_is_a_number() -> None:
    assert NUMBERS == {
        "room.codes": {"GOOD": 0, "BAD": -1, "_SPAN": 4, "LAST": 8},
        "limits": {"MOST": 8},
        "later": {},
    }


def test_a_number_that_does_not_fit_its_place_is_refused() -> None:
    split = "from room import codes\nprint(\n    codes\n    .BAD\n)\n"

    with pytest.raises(lean.LeanError, match=r"line 3: codes\.BAD is not in one piece"):
        lean.lean(split, NUMBERS)


def test_the_firmware_loses_nothing_that_a_board_runs() -> None:
    folder = product.firmware()
    paths = sorted(folder.rglob("*.py"))
    spared = 0
    for path in paths:
        text = path.read_text("utf-8")
        left = lean.lean(text)
        assert left.count("\n") == text.count("\n"), path
        kept = _unparsed(left)
        gone = [one for one in _unparsed(text) if one not in kept]
        for one in gone:
            assert one == "from micropython import const" or "TYPE_CHECKING" in one, (path, one)
        spared += "TYPE_CHECKING" in text and "TYPE_CHECKING" not in left

    assert spared > len(paths) // 2


def _unparsed(text: str) -> list[str]:
    """Return the statements of a program, its classes without their first statement."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and isinstance(node.body[0], ast.Expr | ast.Delete):
            node.body[0] = ast.Pass()
    return [ast.unparse(node) for node in tree.body]


# Names that MicroPython's compiler knows.
_OF_MICROPYTHON = {"const", "ptr8", "ptr32", "uint"}


@pytest.mark.slow
def test_no_name_that_is_left_has_lost_its_meaning() -> None:
    folder = product.firmware()
    tests = {path.name: path.read_text("utf-8") for path in _tests()}
    known = product.known_of(folder, tests)
    trees = {}
    for path in sorted(folder.rglob("*.py")):
        place = path.relative_to(folder).with_suffix("")
        # MicroPython's build runs it; no board does.
        if path.name == "manifest.py":
            continue
        left = product.lean_text(path, folder, known)
        assert left.count("\n") == path.read_text("utf-8").count("\n"), path
        trees[".".join(place.parts).removesuffix(".__init__")] = ast.parse(left)
    given = {module: _given(tree) for module, tree in trees.items()}
    for module, tree in trees.items():
        assert not given[module] & known.numbers[module].keys(), module
        defined = given[module] | set(dir(builtins)) | _OF_MICROPYTHON
        unread = set(_annotations(tree))
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and node not in unread:
                assert node.id in defined, (module, node.lineno, node.id)
    # Tests on a board have the numbers in place too.
    for name, text in tests.items():
        trees[name] = ast.parse(names.shorten(lean.lean(text, known.numbers), known.names))
    for place, tree in trees.items():
        for line, module, name in _asked(tree, given):
            inner = f"{module}.{name}"
            assert name in given[module] or inner in given, (place, line, inner)


def _tests() -> list[Path]:
    """Return the programs that test the firmware on a board."""
    return sorted((*ROOT.glob("tests/core/*.py"), *ROOT.glob("tests/emulated/*.py")))


def _asked(tree: ast.Module, modules: Collection[str]) -> Iterator[tuple[int, str, str]]:
    """Yield line, module and name of each attribute that a program uses of one of the modules."""
    named = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in modules:
            for one in node.names:
                inner = f"{node.module}.{one.name}"
                named[one.asname or one.name] = inner
                yield node.lineno, node.module, one.name
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = named.get(node.value.id, "")
            if module in modules and node.attr.isupper():
                yield node.lineno, module, node.attr


def _given(tree: ast.Module) -> set[str]:
    """Return the names that a program defines."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.ExceptHandler) and node.name:
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names.update((one.asname or one.name).partition(".")[0] for one in node.names)
    return names


def _annotations(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield the parts of all annotations, which MicroPython never looks up."""
    for node in ast.walk(tree):
        annotation = getattr(node, "annotation", None) or getattr(node, "returns", None)
        if annotation:
            yield from ast.walk(annotation)
