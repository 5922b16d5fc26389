"""Goal: a board gets the firmware without what type checkers alone read, and nothing else goes.

Method: texts with each case; then every module of the firmware, compared by its syntax tree.
"""

import ast

import pytest

from host.flash import product

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
    ("def f(:\n", "def f(:\n"),
]


@pytest.mark.parametrize(("text", "left"), CASES)
def test_what_is_left(text: str, left: str) -> None:
    assert product.lean(text) == left


def test_the_firmware_loses_nothing_that_a_board_runs() -> None:
    folder = product.firmware()
    paths = sorted(folder.rglob("*.py"))
    spared = 0
    for path in paths:
        text = path.read_text("utf-8")
        left = product.lean(text)
        assert left.count("\n") == text.count("\n"), path
        kept = [ast.unparse(node) for node in ast.parse(left).body]
        gone = [one for node in ast.parse(text).body if (one := ast.unparse(node)) not in kept]
        for one in gone:
            assert one == "from micropython import const" or "TYPE_CHECKING" in one, (path, one)
        spared += "TYPE_CHECKING" in text and "TYPE_CHECKING" not in left

    assert spared > len(paths) // 2
