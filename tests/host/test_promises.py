"""Goal: each promise of docs/CARDS.md and docs/TRUST.md names a test, and each of these exists.

Method: what stands in backquotes and begins like a test is looked for in the files of the tests.
"""

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ("CARDS.md", "TRUST.md")
# Headings of tables in which every row has a test, with the number of rows at least.
PROMISES = {
    "| promise |": 15,
    "| attack |": 25,
    "| proof |": 25,
    "| stolen |": 7,
    "| on the line |": 8,
}


@cache
def functions() -> dict[str, set[str]]:
    """Return the names of the tests in each file."""
    return {
        path.relative_to(ROOT).as_posix(): set(re.findall(r"^def (\w+)\(", path.read_text(), re.M))
        for path in (ROOT / "tests").rglob("*.py")
    }


def is_there(name: str) -> bool:
    """Return whether a test is there, by one of the ways in which documents name it."""
    file, _colons, function = name.partition("::")
    if file.startswith("tests/"):
        found = functions().get(file.rstrip("/"))
        folder = (ROOT / file).is_dir()
        return folder if found is None else not function or function in found
    module, _dot, function = name.partition(".")
    if function == "py" or "*" in name:
        return any(Path(path).match(name) for path in functions())
    if function:
        return any(
            Path(p).stem == module and function in names for p, names in functions().items()
        )
    return any(module in names for names in functions().values())


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_test_that_is_named_exists(document: str) -> None:
    text = (ROOT / "docs" / document).read_text("utf-8")
    named = re.findall(r"`((?:tests/|test_)[^`]*)`", text)
    assert len(named) > 20
    assert [name for name in named if not is_there(name)] == []


def rows(document: str) -> list[tuple[str, str]]:
    """Return the rows of the tables of promises, each with the heading of its table."""
    found, heading = [], ""
    for line in (ROOT / "docs" / document).read_text("utf-8").splitlines():
        if not line.startswith("|"):
            heading = ""
        elif not heading:
            heading = next((one for one in PROMISES if line.startswith(one)), "other")
        elif heading in PROMISES and not line.startswith("|---"):
            found.append((heading, line))
    return found


def test_every_promise_names_its_test() -> None:
    found = [row for document in DOCUMENTS for row in rows(document)]
    for heading, least in PROMISES.items():
        assert sum(one == heading for one, _line in found) >= least, heading
    assert [line for _heading, line in found if "test" not in line.rpartition("` |")[0]] == []


def test_a_test_that_is_not_there_is_noticed() -> None:
    assert is_there("tests/host/test_promises.py::test_every_promise_names_its_test")
    for name in (
        "test_nobody_wrote",
        "test_promises.test_no",
        "tests/host/test_no.py",
        "test_no.py",
    ):
        assert not is_there(name)
