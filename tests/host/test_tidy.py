"""Goal: the rules of the code base hold, and each rule can fail.

Method: every rule gets snippets that break it, which must be found at the right line, and similar
snippets, which must pass; then the checkout itself is checked.
"""

import pytest

from tools import tidy

# Rule, path, text, line of the finding, a part of the message.
BROKEN = [
    ("layering", "firmware/dlt645/x.py", "import time\n", 1, "dlt645 may not import time"),
    ("layering", "firmware/dlt645/x.py", "from prepay import ledger\n", 1, "prepay.ledger"),
    ("layering", "firmware/prepay/x.py", "from crypto.hmac import Hmac\n", 1, "crypto.hmac.Hmac"),
    ("layering", "firmware/card/x.py", "\nimport uplink.link\n", 2, "uplink.link"),
    ("layering", "firmware/card/x.py", "from ..uplink import link\n", 1, "uplink.link"),
    ("layering", "firmware/concentrator/app.py", "import asyncio\n", 1, "asyncio"),
    ("layering", "firmware/concentrator/app.py", "import machine\n", 1, "machine"),
    ("layering", "firmware/concentrator/run.py", "import os\n", 1, "os"),
    (
        "layering",
        "firmware/boards/rp2.py",
        "from concentrator import app\n",
        1,
        "concentrator.app",
    ),
    ("layering", "firmware/boards/rp2.py", "import dlt645.frame\n", 1, "dlt645.frame"),
    ("layering", "firmware/prepay/x.py", "from typing import Final\n", 1, "typing.Final"),
    ("layering", "host/frames/x.py", "from dlt645 import frame\n", 1, "dlt645.frame"),
    ("layering", "host/frames/x.py", "import sqlalchemy\n", 1, "sqlalchemy"),
    ("layering", "host/frames/x.py", "def f():\n    import serial\n", 2, "serial"),
    ("layering", "host/sim/x.py", "import prepay.ledger\n", 1, "prepay.ledger"),
    ("layering", "host/sim/x.py", "import host.world.world\n", 1, "host.world.world"),
    ("layering", "host/headend/x.py", "from host import link\n", 1, "host.link"),
    ("layering", "host/cli/x.py", "import serial\n", 1, "serial"),
    ("layering", "host/strange.py", "\nimport os\n", 2, "no layer for host.strange"),
    ("layering", "firmware/strange.py", "import sys\n", 1, "no layer for strange"),
    ("layering", "firmware/card/x.py", "import strange\n", 1, "strange"),
    (
        "layering",
        "firmware/concentrator/books/x.py",
        "from concentrator.line import a\n",
        1,
        "line",
    ),
    ("layering", "firmware/concentrator/storage/x.py", "import concentrator.books\n", 1, "books"),
    (
        "layering",
        "firmware/concentrator/cards/x.py",
        "if TYPE_CHECKING:\n    from concentrator.app import App\n",
        2,
        "concentrator.cards may not import concentrator.app.App",
    ),
    ("layering", "host/cli/card/x.py", "from host.world.terms import A\n", 1, "host.world.terms"),
    ("integers_only", "firmware/prepay/x.py", "a = 1.5\n", 1, "float literal"),
    ("integers_only", "firmware/prepay/x.py", "a = 1e3\n", 1, "float literal"),
    ("integers_only", "firmware/prepay/x.py", "def f(a, b):\n    return a / b\n", 2, "//"),
    ("integers_only", "firmware/prepay/x.py", "a = 4\na /= 2\n", 2, "//"),
    ("integers_only", "firmware/prepay/x.py", "a = float('1')\n", 1, "float"),
    ("raise_for_money", "firmware/card/x.py", "assert True\n", 1, "raise"),
    (
        "unit_suffixes",
        "firmware/prepay/x.py",
        "def f(amount: int): ...\n",
        1,
        "amount has no unit",
    ),
    ("unit_suffixes", "firmware/prepay/x.py", "def balance() -> int: ...\n", 1, "balance"),
    ("unit_suffixes", "firmware/dlt645/x.py", "_TIMEOUT = const(500)\n", 1, "_TIMEOUT"),
    ("unit_suffixes", "firmware/dlt645/x.py", "self.retry_delay = 5 * n\n", 1, "retry_delay"),
    ("unit_suffixes", "firmware/dlt645/x.py", "overdraft_limit = -100\n", 1, "overdraft_limit"),
    ("unit_suffixes", "host/link/x.py", "timeout: float | None = None\n", 1, "timeout"),
    ("unit_suffixes", "host/sim/x.py", "def f(energy: 'int'): ...\n", 1, "energy"),
    ("unit_suffixes", "firmware/prepay/x.py", "self.debit = array('I')\n", 1, "debit"),
    ("unit_suffixes", "firmware/prepay/x.py", "def f(energy: 'array[int]'): ...\n", 1, "energy"),
    ("function_length", "host/x.py", "def f():\n" + "    pass\n" * 70, 1, "71 lines"),
    ("class_length", "host/x.py", "class A:\n" + "    a = 1\n" * 420, 1, "421 lines"),
    ("class_length", "firmware/card/x.py", "class A:\n" + "    a = 1\n" * 420, 1, "421 lines"),
    ("file_length", "firmware/concentrator/line/x.py", "a = 1\n" * 401, 401, "401 lines"),
    ("line_length", "Makefile", "a\n" + "# long" * 20 + "\n", 2, "120 columns"),
    ("line_length", "docs/X.md", "a\n\n" + "word " * 40 + "\n", 3, "200 columns"),
    ("module_docstring", "host/x.py", "import os\n", 1, "docstring"),
    ("finished", "docs/X.md", "a\n" + "TO" + "DO later\n", 2, "do it or file it"),
    ("finished", "host/x.py", "# FIX" + "ME\n", 1, "do it or file it"),
    ("reasons", "host/x.py", "import os  # noqa\n", 1, "without its code"),
    ("reasons", "host/x.py", "import os  # noqa: F401\n", 1, "without a reason"),
    ("reasons", "host/x.py", "a = b  # type: ignore\n", 1, "without its code"),
    ("reasons", "host/x.py", "a = b  # type: ignore[misc]\n", 1, "without a reason"),
    ("no_mirror", ".ci/run", "curl deb" + ".example.org/debian\n", 1, "mirror"),
    ("no_mirror", "docs/X.md", "see pypi" + ".example.org\n", 1, "mirror"),
    ("no_mirror", "tools/x.py", 'A = "https' + '://acme.com/x"\n', 1, "names a host"),
    ("docstrings", "host/x.py", '"""Read a\nfile."""\n', 1, "no sentence"),
    ("docstrings", "tools/x.py", 'def f():\n    """\n    Read it\n    """\n', 2, "no sentence"),
    ("docstrings", "firmware/card/x.py", 'def f():\n    """The size."""\n', 2, "not with The"),
    (
        "docstrings",
        "firmware/card/x.py",
        'class A:\n    @micropython.native\n    def f(self):\n        """It waits."""\n',
        4,
        "not with It",
    ),
    ("plain_words", "firmware/card/x.py", '"""Wait for ever."""\n', 1, "permanently"),
    ("plain_words", "firmware/card/x.py", '"""A.\n\nNobody\nasks."""\n', 3, "no one"),
    ("plain_words", "firmware/card/x.py", "a = 1\n# Read anew.\n", 2, "again"),
]

KEPT = [
    ("layering", "firmware/dlt645/x.py", "from micropython import const\nimport struct\n"),
    ("layering", "firmware/dlt645/x.py", "from dlt645.frame import Receiver\nfrom . import bcd\n"),
    (
        "layering",
        "firmware/uplink/x.py",
        "from crypto.hmac import Hmac\nfrom hashlib import sha256\n",
    ),
    ("layering", "firmware/prepay/x.py", "if TYPE_CHECKING:\n    from typing import Final\n"),
    ("layering", "firmware/concentrator/run.py", "import asyncio\nfrom prepay import ledger\n"),
    ("layering", "firmware/boards/rp2.py", "import machine\nfrom ports import Line\n"),
    ("layering", "host/frames/x.py", "import enum\nimport construct as c\n"),
    ("layering", "host/world/x.py", "from host.sim import bus\nfrom prepay import ledger\n"),
    ("layering", "host/link/x.py", "import serial\n"),
    ("layering", "tests/host/test_x.py", "import serial\nimport dlt645.frame\n"),
    ("integers_only", "firmware/prepay/x.py", "a = 7 // 2\nb = '1.5 / 2'\n"),
    ("integers_only", "host/x.py", "a = 1 / 2.0\n"),
    ("raise_for_money", "tests/core/test_x.py", "assert True\n"),
    ("unit_suffixes", "host/x.py", "def f(amount_fen: int, timeout_ms: int) -> int: ...\n"),
    ("unit_suffixes", "host/x.py", "def f(amount: str, balance: object): ...\n"),
    ("unit_suffixes", "host/x.py", "TIMEOUT = const(3)\nenergy_offset = 4\n"),
    ("function_length", "host/x.py", "def f():\n" + "    pass\n" * 69),
    ("class_length", "host/x.py", "class A:\n" + "    a = 1\n" * 419),
    ("file_length", "firmware/concentrator/line/x.py", "a = 1\n" * 400),
    ("file_length", "firmware/card/x.py", "a = 1\n" * 401),
    ("line_length", "docs/X.md", "| " + "word " * 40 + "|\n\n    dianka" + " --long" * 20 + "\n"),
    ("module_docstring", "host/x.py", '"""What it is for."""\n'),
    ("module_docstring", "host/__init__.py", ""),
    ("finished", "host/x.py", "METHODS = 1\n"),
    ("reasons", "host/x.py", "import os  # noqa: F401 - the table wants it\n"),
    ("reasons", "host/x.py", "a = b  # type: ignore[misc]  # construct has no types\n"),
    ("reasons", "host/x.py", 'a = "# noqa"\n'),
    ("docstrings", "firmware/card/x.py", 'def f():\n    """Return the size."""\n'),
    ("docstrings", "firmware/card/x.py", 'class A:\n    """The size:\n\n    more\n    """\n'),
    (
        "docstrings",
        "firmware/card/x.py",
        'class A:\n    @property\n    def f(self):\n        """The size."""\n',
    ),
    ("docstrings", "host/x.py", 'def f():\n    """The size."""\n'),
    ("docstrings", "tests/core/x.py", '"""Goal: a test of\nall."""\n'),
    ("plain_words", "firmware/card/x.py", 'A = "nobody"\n# A plain word.\n'),
    ("plain_words", "host/x.py", '"""Wait for ever."""\n'),
    ("no_mirror", "host/x.py", 'A = "http://127.0.0.1:8080/"\n'),
    ("no_mirror", "docs/X.md", "see https" + "://acme.com/standard\n"),
    ("no_mirror", "tests/host/test_x.py", "'http://meters.example/'\n"),
]

# Errors that only several files together make, each with its one finding.
BROKEN_TREES = [
    (
        "no_circles",
        {
            "firmware/card/a.py": "import os\nfrom card import b\n",
            "firmware/card/b.py": "if TYPE_CHECKING:\n    from card.c import Thing\n",
            "firmware/card/c.py": "def f():\n    import card.a\n",
        },
        "firmware/card/a.py:2: a circle of imports: card.a -> card.b -> card.c -> card.a",
    ),
    (
        "no_circles",
        {"host/x/__init__.py": "from host.x.a import A\n", "host/x/a.py": "from . import NAME\n"},
        "host/x/__init__.py:1: a circle of imports: host.x -> host.x.a -> host.x",
    ),
    (
        "same_constants",
        {
            "firmware/card/a.py": "_DAY_S = const(86400)\n",
            "host/x.py": "A = 1\nDAY_S = 86401\n",
        },
        "host/x.py:2: DAY_S is 86401, but 86400 in firmware/card/a.py",
    ),
    (
        "same_constants",
        {"firmware/card/a.py": "NO_ROW = const(-1)\n", "firmware/card/b.py": "NO_ROW = 0xFFFF\n"},
        "firmware/card/b.py:1: NO_ROW is 65535, but -1 in firmware/card/a.py",
    ),
]

KEPT_TREES = [
    (
        "no_circles",
        {
            "firmware/card/a.py": "from card import b, missing\nfrom card.b import a\n",
            "firmware/card/b.py": "import struct\n",
            "host/x.py": "from card import a\n",
        },
    ),
    ("no_circles", {"tools/a.py": "import tools.b\n", "tools/b.py": "import tools.a\n"}),
    (
        "same_constants",
        {
            "firmware/card/a.py": "_DAY_S = const(86400)\nSIZE = 4\nNAME_S = 'a'\nA_B = 2 * N\n",
            "host/x.py": "DAY_S = 86400\nSIZE = 5\nNAME_S = 'b'\nA_B = 3\ndef f():\n    A_B = 4\n",
            "tests/x.py": "DAY_S = 1\n",
        },
    ),
]


@pytest.mark.parametrize(("rule", "path", "text", "line", "part"), BROKEN)
def test_a_broken_rule_is_found(rule: str, path: str, text: str, line: int, part: str) -> None:
    found = list(getattr(tidy, rule)(tidy.Source(path, text)))

    assert [finding.line for finding in found] == [line]
    assert part in found[0].text


@pytest.mark.parametrize(("rule", "path", "text"), KEPT)
def test_what_is_allowed_passes(rule: str, path: str, text: str) -> None:
    assert not list(getattr(tidy, rule)(tidy.Source(path, text)))


def tree_findings(rule: str, tree: dict[str, str]) -> list[str]:
    sources = [tidy.Source(path, text) for path, text in tree.items()]
    found = getattr(tidy, rule)(sources)
    return [f"{source.path}:{finding.line}: {finding.text}" for source, finding in found]


@pytest.mark.parametrize(("rule", "tree", "said"), BROKEN_TREES)
def test_a_rule_broken_by_several_files_is_found(
    rule: str, tree: dict[str, str], said: str
) -> None:
    assert tree_findings(rule, tree) == [said]


@pytest.mark.parametrize(("rule", "tree"), KEPT_TREES)
def test_what_several_files_may_do_passes(rule: str, tree: dict[str, str]) -> None:
    assert tree_findings(rule, tree) == []


def test_every_rule_is_run_and_has_been_seen_to_fail() -> None:
    assert {rule.__name__ for rule in tidy.RULES} == {row[0] for row in BROKEN}
    assert {rule.__name__ for rule in tidy.TREE_RULES} == {row[0] for row in BROKEN_TREES}


def test_a_finding_tells_its_place() -> None:
    source = tidy.Source("firmware/prepay/x.py", '"""Doc."""\n\nhalf = 1 / 2\n')

    assert tidy.check(source) == ["firmware/prepay/x.py:3: true division: use //"]


def test_a_file_that_does_not_parse_is_a_finding() -> None:
    assert tidy.check(tidy.Source("host/x.py", "def f(:\n"))[0].startswith("host/x.py:1: ")


@pytest.mark.slow
def test_the_checkout_is_tidy() -> None:
    seen = list(tidy.sources())

    assert {"Makefile", "tools/tidy.py", "tests/host/test_tidy.py"} <= {at.path for at in seen}
    assert not [line for source in seen for line in tidy.check(source)]
    assert not tidy.check_tree(seen)
