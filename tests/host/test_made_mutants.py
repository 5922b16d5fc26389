"""Goal: each operator makes the fault it is named after, the same faults are drawn each time, and
a run goes on where it was stopped; the summary in the repository adds up.

Method: the operators work on one small function; the runner on a small checkout, whose tests are
replaced by a look at the changed text.
"""

import json
import subprocess
from pathlib import Path

import pytest

from tools import made_mutants
from tools.made_mutants import MadeMutantsError
from tools.operators import changed, changes, compiles

TEXT = """\
LIMIT = 3


def put(self, size):
    if size < 5 and self.open:
        self.file.write(size)
        self.file.flush()
    self.end = True
    return f"{size == 1}"
"""
FILE = '[[file]]\npath = "put.py"\ntests = ["test_put.py"]\n'
TOLD = Path(__file__).resolve().parents[2] / "docs" / "reliability" / "mutants.json"


def test_each_operator_makes_its_fault() -> None:
    found = {(one.operator, one.old, one.new) for one in changes(TEXT)}

    assert {
        ("boundary", "size < 5", "size <= 5"),
        ("comparison", "size < 5", "size >= 5"),
        ("constant", "5", "6"),
        ("constant", "True", "False"),
        ("negated condition", "size < 5 and self.open", "not (size < 5 and self.open)"),
        ("removed statement", "self.file.write(size)", "pass"),
        ("removed sync", "self.file.flush()", "True"),
    } <= found
    swapped = [one for one in changes(TEXT) if one.operator == "swapped writes"]
    assert "flush()\n        self.file.write" in changed(TEXT, swapped[0])
    assert not [one for one in changes(TEXT) if one.line == 1]
    assert all(compiles(changed(TEXT, one)) for one in changes(TEXT) if one.line < 9)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / "put.py").write_text(TEXT)
    (tmp_path / "test_put.py").write_text("")
    (tmp_path / "list.toml").write_text(FILE)
    subprocess.run(("git", "init", "-q"), cwd=tmp_path, check=True)
    return tmp_path


def test_a_run_goes_on_where_it_was_stopped(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tried = []

    def notice(tree: Path, *_: object) -> str:
        text = (tree / "put.py").read_text()
        tried.append(text)
        return "" if text == TEXT or "= False" in text else "test_put"

    monkeypatch.setattr(made_mutants, "notice", notice)
    files = made_mutants.read_list(checkout / "list.toml")
    chosen = made_mutants.drawn(files, 6, checkout)
    known = checkout / "known.json"

    assert chosen == made_mutants.drawn(files, 6, checkout)
    made_mutants.run_all(chosen[:4], 1, 60.0, checkout, known)
    assert len(tried) == 5  # once without a fault
    made_mutants.run_all(chosen, 1, 60.0, checkout, known)
    assert len(tried) == 8
    assert (checkout / "put.py").read_text() == TEXT

    every = made_mutants.drawn(files, 99, checkout)
    made_mutants.run_all(every, 1, 60.0, checkout, known)
    told = made_mutants.summary(every, made_mutants.read_known(known))
    assert told["mutants"] == told["drawn"] == len(every)
    assert (told["killed"], told["survivors"]) == (len(every) - 1, 1)
    assert "SURVIVED" in capsys.readouterr().out
    row = 'equivalent = [{ line = "self.end = True", becomes = "self.end = False", why = "x" }]\n'
    (checkout / "list.toml").write_text(FILE + row)
    excused = made_mutants.drawn(made_mutants.read_list(checkout / "list.toml"), 99, checkout)
    told = made_mutants.summary(excused, made_mutants.read_known(known))
    assert (told["equivalent"], told["survivors"]) == (1, 0)


def test_tests_that_fail_without_a_fault_end_the_run(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(made_mutants, "notice", lambda *_: "test_put")
    chosen = made_mutants.drawn(made_mutants.read_list(checkout / "list.toml"), 3, checkout)

    with pytest.raises(MadeMutantsError, match="without a fault in put"):
        made_mutants.run_all(chosen, 1, 60.0, checkout, checkout / "known.json")


def test_the_summary_in_the_repository_adds_up() -> None:
    told = json.loads(TOLD.read_text(encoding="utf-8"))

    assert told["mutants"] == told["killed"] + told["equivalent"] + told["survivors"]
    assert len(told["survived"]) == told["survivors"]
    assert set(told) >= {"commit", "date", "drawn", "operators"}
    root = TOLD.parents[2]
    assert all((root / file.path).is_file() for file in made_mutants.read_list())
