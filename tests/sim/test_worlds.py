"""Goal: worlds of mixed kind are drawn by their seeds, and what fails in one is told.

Method: `World.run` is replaced, so that no world lives.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest

from host.world.checks.account import Violation
from host.world.scenarios import SCENARIOS
from host.world.world import World
from tools import worlds


def test_seeds_draw_every_scenario_and_size() -> None:
    lives = [worlds.life_of(seed) for seed in range(1, 201)]

    assert {life.scenario for life in lives} == set(SCENARIOS) - {"nor"}
    assert {life.days for life in lives} == {life.meters for life in lives} == {2, 3, 4}
    assert lives == [worlds.life_of(seed) for seed in range(1, 201)]


def test_what_fails_is_told_with_its_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(self: World, _progress: Callable[[int], None] | None = None) -> dict[str, Any]:
        if self.seed == 5:
            raise Violation("money", "on purpose")
        return {}

    monkeypatch.setattr(World, "run", run)

    assert worlds.main(["--seeds", "4-6", "--json"]) == 1

    told = capsys.readouterr()
    found = json.loads(told.out)
    assert (found["seeds"], found["violations"]) == (3, 1)
    life = worlds.life_of(5)
    assert f"--seed 5 --days {life.days} --meters {life.meters} --scenario" in told.err
    assert worlds.main(["--seeds", "4"]) == 0
