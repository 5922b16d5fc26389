"""Goal: the list of mutants is up to date, and the runner tells a mutant that a test notices from
one that no test notices, for every reason.

Method: each row of the list is applied, without running its tests; the runner itself works on a
small checkout of its own, with a mutant for each verdict.
"""

import json
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from tools import mutants

LISTED = mutants.read_list()

THING = """\
def larger(a, b):
    if a > b:
        return a
    return b


def count_down(count):
    while count > 0:
        count -= 1
    return count
"""
TESTS = """\
from thing import count_down, larger


def test_larger():
    assert larger(1, 2) == 2
    assert larger(2, 1) == 2


def test_count_down():
    assert count_down(3) == 0
"""
LIST = """\
[[file]]
path = "thing.py"
tests = ["test_thing.py"]

[[file.mutant]]
name = "noticed"
old = "return a"
new = "return b"

[[file.mutant]]
name = "endless"
old = "count -= 1"
new = "count -= 0"

[[file.mutant]]
name = "not noticed"
old = "while count > 0:"
new = "while count >= 1 and count < 9:"

[[file.mutant]]
name = "equivalent"
old = "if a > b:"
new = "if a >= b:"
equivalent = "Of two that are equal it does not matter which."

[[file.mutant]]
name = "open"
old = "while count > 0:"
new = "while 0 < count < 5:"
issue = 7

[[file.mutant]]
name = "not open any more"
old = "return count"
new = "return count + 1"
issue = 7

[[file.mutant]]
name = "gone"
old = "return c\\n"
new = "return d\\n"

[[file.mutant]]
name = "twice"
old = "return"
new = "yield"

[[file.mutant]]
name = "of a broken test"
old = "count > 0"
new = "count > 1"
tests = ["test_broken.py"]
"""
VERDICTS = {
    "noticed": mutants.KILLED,
    "endless": mutants.KILLED,
    "not noticed": mutants.SURVIVED,
    "equivalent": mutants.EQUIVALENT,
    "open": mutants.OPEN,
    "not open any more": mutants.EXCUSED,
    "gone": mutants.STALE,
    "twice": mutants.STALE,
    "of a broken test": mutants.BROKEN,
}


@pytest.mark.parametrize("mutant", LISTED, ids=lambda mutant: f"{mutant.path}:{mutant.name}")
def test_each_mutant_of_the_list_can_be_made(mutant: mutants.Mutant) -> None:
    changed = mutants.mutated((mutants.ROOT / mutant.path).read_text(encoding="utf-8"), mutant)
    assert changed is not None, "adapt tools/mutants.toml: `old` must occur exactly once"
    assert mutant.old != mutant.new
    compile(changed, mutant.path, "exec")
    for test in mutant.tests:
        assert (mutants.ROOT / test.partition("::")[0]).is_file(), test


def test_names_are_different() -> None:
    names = Counter((mutant.path, mutant.name) for mutant in LISTED)
    assert [name for name, count in names.items() if count > 1] == []


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a small checkout; an endless test there is noticed soon."""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / "thing.py").write_text(THING)
    (tmp_path / "test_thing.py").write_text(TESTS)
    (tmp_path / "test_broken.py").write_text("def test_broken():\n    assert False\n")
    (tmp_path / "list.toml").write_text(LIST)
    monkeypatch.setattr(mutants, "_LIMIT_LEAST_S", 10.0)
    monkeypatch.setattr(mutants, "_LIMIT_FACTOR", 3)
    return tmp_path


@pytest.mark.slow
def test_each_verdict(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert mutants.main(["--json"], checkout, checkout / "list.toml") == 1
    told = json.loads(capsys.readouterr().out)
    rows = {row["name"]: row for row in told["rows"]}
    assert {name: row["verdict"] for name, row in rows.items()} == VERDICTS
    assert list(rows) == list(VERDICTS), "in the order of the list"
    assert rows["noticed"]["by"] == "test_thing.py::test_larger"
    assert rows["endless"]["by"] == "the time limit"
    assert rows["open"]["reason"] == "issue 7"
    figures = {name: count for name, count in told.items() if name != "rows"}
    assert figures == {
        "mutants": 9,
        "killed": 2,
        "equivalent": 1,
        "open": 1,
        "survivors": 1,
        "stale": 2,
        "excused": 1,
        "broken": 1,
    }
    assert (checkout / "thing.py").read_text() == THING, "the checkout itself is left alone"


def test_nothing_wrong_ends_well(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = LIST.split("[[file.mutant]]")[:2]
    (checkout / "list.toml").write_text(f"{first}[[file.mutant]]{second}")
    assert mutants.main(["-j", "1"], checkout, checkout / "list.toml") == 0
    row, figures = capsys.readouterr().out.splitlines()
    assert row.startswith("killed ")
    assert row.endswith(" thing.py  noticed: test_larger")
    assert figures.startswith("1 mutants, 1 killed, 0 equivalent")


@pytest.mark.parametrize(
    ("arguments", "text", "said"),
    [
        (["--file", "elsewhere"], LIST, "no mutant is in a file with 'elsewhere' in its path"),
        ([], "[[file]]\npath = 5\n", "is no list of mutants"),
        ([], "=", "is no list of mutants"),
    ],
)
def test_mistakes_are_told(
    checkout: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    text: str,
    said: str,
) -> None:
    (checkout / "list.toml").write_text(text)
    assert mutants.main(arguments, checkout, checkout / "list.toml") == 1
    assert said in capsys.readouterr().err
