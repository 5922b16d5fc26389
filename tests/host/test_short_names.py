"""Goal: programs with short names do what they did before, and a traceback is readable again.

Method: small programs have each case; then each scope of each program of the firmware, and of its
tests on a board, is compared with what it was: as many names of each kind, in the same order, and
no two names of a family became one. The emulated board runs all of it.
"""

import ast
import builtins
import re
import symtable
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner

from host.cli import cli
from host.flash import lean, names, product

ROOT = Path(__file__).resolve().parent.parent.parent

CASES = [
    # Arguments get letters that their function leaves free.
    ("def f(first, b=1):\n    return first + b\n", "def f(a, b=1):\n    return a + b\n"),
    ("def f(first):\n    a = first\n    return a\n", "def f(b):\n    a = b\n    return a\n"),
    ("def f(self, size: int):\n    return size\n", "def f(self, a: int):\n    return a\n"),
    # One that a call names keeps its name, and so does one that a default value shadows.
    ("def f(size): ...\nf(size=1)\n", "def f(size): ...\nf(size=1)\n"),
    ("size = 1\ndef f(size=size): ...\n", "size = 1\ndef f(size=size): ...\n"),
    # Inner functions see the outer one's.
    (
        "def f(outer):\n    return lambda inner: inner + outer\n",
        "def f(a):\n    return lambda b: b + a\n",
    ),
    # Private names are shared by modules that do not know each other.
    (
        "class A:\n    def _first(self):\n        return self._second\n",
        "class A:\n    def Q(self):\n        return self.H\n",
    ),
    ("from other import _x as _y\n_y()\n", "from other import Q as H\nH()\n"),
    ('ROWS = (("say", "_say"),)\ndef _say(): ...\n', 'ROWS = (("say", "Q"),)\ndef Q(): ...\n'),
    (
        "_n = 0\ndef f():\n    global _n\n    _n = 1\n",
        "Q = 0\ndef f():\n    global Q\n    Q = 1\n",
    ),
    # A constant leaves no name in the image.
    ('_X = const(b"1")\nprint(_X)\n', '_X = const(b"1")\nprint(_X)\n'),
    ("def f(__x__):\n    return __x__.__len__()\n", "def f(a):\n    return a.__len__()\n"),
]


@cache
def _names() -> names.Names:
    """Return the short names of the product; to find them takes seconds."""
    return product.known_of(product.firmware()).names


@pytest.mark.parametrize(("text", "left"), CASES)
def test_what_names_become(text: str, left: str) -> None:
    known = names.names_of({"": text, "names": "A, B, C = 1, 2, 3"}, (), frozenset())

    assert names.shorten(text, known) == left


def test_modules_share_names_unless_one_inherits_or_knows_them() -> None:
    known = names.names_of(
        {
            "base": "class A:\n    def _in_base(self): ...\n",
            "heir": "from base import A\nclass B(A):\n    def _in_heir(self): ...\n",
            "alone": "class C:\n    def _in_alone(self): ...\n",
            "friend": "def f(c):\n    return c._in_friend + c._in_alone\n",
        },
        (),
        frozenset(),
    ).short

    assert known["_in_base"] != known["_in_heir"]
    assert known["_in_friend"] != known["_in_alone"]
    assert len(set(known.values())) == 2


def test_public_names_are_shared_unless_something_else_knows_them() -> None:
    first = """\
class A:
    kept_by_a_string = 1
    kept_by_another = 2

    def method(self, called=1):
        self.attribute = self.given

    def read(self):
        return getattr(self, "kept_by_a_string") + self.method(called=2)
"""
    second = "def function(a):\n    a.given = 1\n"
    texts = {"first": first, "second": second, "test": "def method(): ...\nown = 1\n"}
    short = names.names_of(texts, ("first", "second"), frozenset(("kept_by_another",))).short

    assert short.keys() == {"method", "attribute", "given", "function"}
    # What is set from outside is shared with nothing, whoever has it.
    assert list(short.values()).count(short["given"]) == 1
    assert short["method"] != short["attribute"]
    assert short["function"] in (short["method"], short["attribute"])


def test_what_micropython_names_keeps_its_name() -> None:
    known: set[str] = set()
    for kind in (int, str, bytes, bytearray, memoryview, list, dict, set, tuple, builtins):
        known.update(dir(kind))
    for path in (ROOT / ".cache" / "stubs").rglob("*.pyi"):
        text = path.read_text("utf-8", "replace")
        known.update(re.findall(r"def (\w+)\(", text))
        known.update(re.findall(r"^\s*class (\w+)", text, re.MULTILINE))
        known.update(re.findall(r"^\s*(\w+)\s*:", text, re.MULTILINE))
    short = _names().short
    wrong = {word for word in short if word in known and not word.startswith("_")}

    # CPython's alone: MicroPython has neither asyncio.Runner nor enum.verify.
    wrong -= {"Runner", "verify"}

    assert {"readblocks", "Flash"} <= known
    assert not wrong, "put them into host/flash/names.py, with what calls them"


def test_what_a_program_uses_of_a_port_keeps_its_name() -> None:
    """A class of our own must not take the name Flash from rp2 and pyb."""
    board = "import rp2\nfrom boards import chip\n\n"
    board += "def opened():\n    return rp2.Flash(), chip.Nor()\n"
    others = "class Flash: ...\nclass Nor: ...\n"
    texts = {"boards.rp2": board, "boards.chip": others}
    short = names.names_of(texts, ("boards.rp2", "boards.chip"), frozenset()).short

    assert short.keys() == {"Nor", "opened"}


def test_a_name_in_pieces_is_refused() -> None:
    text = "class A:\n    def  _x(self): ...\n"

    with pytest.raises(names.NamesError, match="line 2: _x is not in one piece"):
        names.shorten(text, names.names_of({"": text}, (), frozenset()))


@pytest.mark.slow
def test_every_scope_has_the_names_it_had() -> None:
    folder = product.firmware()
    tests = sorted((*ROOT.glob("tests/core/*.py"), *ROOT.glob("tests/emulated/*.py")))
    known = product.known_of(folder, {path.name: path.read_text("utf-8") for path in tests})
    compared = 0
    for path in sorted(folder.rglob("*.py")):
        if path.name != "manifest.py":
            module = ".".join(path.relative_to(folder).with_suffix("").parts)
            text = lean.lean(path.read_text("utf-8"), known.numbers, module)
            compared += _compare(path, text, names.shorten(text, known.names))
    for path in tests:
        text = lean.lean(path.read_text("utf-8"), known.numbers)
        compared += _compare(path, text, names.shorten(text, known.names))

    assert compared > 3000


def _compare(path: Path, before: str, after: str) -> int:
    """Check that both programs differ by their names alone; return how many scopes they have."""
    new = {}
    for old, now in zip(_attributes(before), _attributes(after), strict=True):
        assert new.setdefault(old, now) == now, (path, old)
    assert len(set(new.values())) == len(new), path
    scopes = [_scopes(symtable.symtable(text, "", "exec")) for text in (before, after)]
    for old, now in zip(*scopes, strict=True):
        assert _kinds(old) == _kinds(now), (path, old.get_name(), old.get_lineno())
    assert _without_names(before) == _without_names(after), path
    return len(scopes[0])


def _attributes(text: str) -> list[str]:
    return [node.attr for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute)]


def _scopes(table: symtable.SymbolTable) -> list[symtable.SymbolTable]:
    found = [table]
    for inner in table.get_children():
        found += _scopes(inner)
    return found


def _kinds(table: symtable.SymbolTable) -> list[tuple[bool, ...]]:
    """Return what each name of a scope is, the same for all orders of names."""
    return sorted(
        (one.is_parameter(), one.is_local(), one.is_global(), one.is_free(), one.is_assigned())
        for one in table.get_symbols()
    )


def _without_names(text: str) -> str:
    """Return a program with its own names taken out."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        for field in ("id", "attr", "arg", "name", "asname"):
            if getattr(node, field, None) and not isinstance(node, ast.keyword):
                setattr(node, field, "x")
        if isinstance(node, ast.Global | ast.Nonlocal):
            node.names = ["x" for _name in node.names]
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            node.value = ""
    return ast.unparse(tree)


def test_no_two_names_of_a_module_become_one() -> None:
    known = _names()
    seen = defaultdict(set)
    for module, used in known.used.items():
        for word in used & known.short.keys():
            assert known.short[word] not in seen[module], (module, word)
            seen[module].add(known.short[word])
    assert len(known.short) > 4 * len(set(known.short.values()))


def test_classes_become_short_and_exceptions_keep_their_names() -> None:
    texts = {
        "one": "class Journal: ...\nclass Trouble(Exception): ...\n",
        "two": "from one import Journal, Trouble\nclass Worse(Trouble): ...\nJournal()\n",
    }
    made = names.names_of(texts, list(texts), frozenset())
    short = made.short["Journal"]

    assert not {"Trouble", "Worse"} & made.short.keys()
    assert names.shorten(texts["two"], made).startswith(f"from one import {short}, Trouble")


def test_a_traceback_is_read_back(tmp_path: Path) -> None:
    step = _names().short["_allow"]
    printed = tmp_path / "said.txt"
    text = (
        "Traceback (most recent call last):\n"
        '  File "village.py", line 6, in {other}\n'
        '  File "concentrator/console/commands.py", line 61, in run\n'
        '  File "concentrator/console/commands.py", line 70, in {step}\n'
        "AttributeError: 'Commands' object has no attribute '{step}'\n"
    )
    printed.write_text(text.format(step=step, other=step))

    done = CliRunner().invoke(cli, ["flash", "--traceback", str(printed)])

    assert done.exit_code == 0, done.output
    assert done.output == text.format(step="_allow", other=step)


def test_a_string_that_looks_like_a_private_name_is_one():
    """It gets the short name of a function: what a person reads must not look like one."""
    nodes = [
        node
        for path in (ROOT / "firmware").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
    ]
    functions = {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    said = {str(node.value) for node in nodes if isinstance(node, ast.Constant)}
    # MicroPython's own name of what its board is.
    assert {one for one in said if names._PRIVATE.fullmatch(one)} - functions == {"_machine"}
