"""Goal: a world in which something fails becomes as small as it can be, and a test of its own.

Method: the firmware's ledger is broken, so that it charges a digit too much. What is left of the
world fails with that ledger and holds with the right one, run from the file that was written.
"""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from prepay.ledger import Ledger

from host.cli import cli
from host.world.shrinking import CRASH, Life, Shrinker, as_test
from host.world.world import World


def break_ledger(patch: pytest.MonkeyPatch) -> None:
    """Have each charge be a digit too high."""
    right = Ledger._charge

    def wrong(self: Ledger, *arguments: Any) -> None:
        right(self, *arguments)
        self.new_residue_e11 = (self.new_residue_e11 + 1) % 10_000

    patch.setattr(Ledger, "_charge", wrong)


def run_file(text: str) -> None:
    """Run the only test of a file."""
    names: dict[str, Any] = {}
    exec(compile(text, "written", "exec"), names)
    (test,) = (one for name, one in names.items() if name.startswith("test_"))
    test()


def test_what_is_not_needed_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        break_ledger(patch)
        words = ["sim", "shrink", "3", "--days", "2", "--meters", "3", "--out", str(tmp_path)]
        result = CliRunner().invoke(cli, words, catch_exceptions=False)

        assert result.exit_code == 0
        (path,) = tmp_path.iterdir()
        assert path.name == "test_seed_3_money.py"
        assert "1 days, 2 meters, 0 faults" in result.stdout
        text = path.read_text("utf-8")
        assert max(map(len, text.splitlines())) < 100
        with pytest.raises(Exception, match="e-11 yuan in all"):
            run_file(text)
    run_file(text)


def test_events_that_are_not_needed_do_not_happen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the third event breaks this world, which is over at once."""
    happened: list[int] = []

    def run(self: World, _progress: Any = None) -> None:
        happened.clear()
        for _ in range(8):
            self.events += 1
            if self.events - 1 not in self._skipped:
                happened.append(self.events - 1)
        if 3 in happened:
            raise OSError("on purpose")

    monkeypatch.setattr(World, "run", run)
    shrinker = Shrinker(Life(1, 1, 1), lambda text: None)

    assert shrinker.shrink()
    assert shrinker.found is not None
    assert (shrinker.found.invariant, shrinker.life.skipped) == (CRASH, (0, 1, 2, 4, 5, 6, 7))
    name, text = as_test(shrinker)
    assert name == "test_seed_1_crash.py"
    with pytest.raises(OSError, match="on purpose"):
        run_file(text)
    assert happened == [3]


def test_a_seed_that_holds_is_not_shrunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(World, "run", lambda self, _progress: {})

    result = CliRunner().invoke(cli, ["sim", "shrink", "3"])

    assert (result.exit_code, "all holds with seed 3" in result.stderr) == (1, True)


def test_a_world_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "course.txt"
    words = ["sim", "run", "--seed", "7", "--days", "1", "--meters", "1", "--trace", str(path)]

    assert CliRunner().invoke(cli, words, catch_exceptions=False).exit_code == 0

    lines = path.read_text("utf-8").splitlines()
    assert any("TOP_UP order 1, +" in line and "account 0" in line for line in lines)
    assert any(line.endswith(" Wh") for line in lines)
    times = [line[:19] for line in lines]
    assert times == sorted(times)


def test_a_trace_is_of_one_world() -> None:
    result = CliRunner().invoke(cli, ["sim", "run", "--seeds", "1-2", "--trace", "-"])

    assert (result.exit_code, "--trace tells of one world" in result.stderr) == (2, True)
