"""Goal: no more of a debt is taken in a week than its cap, also with a lost or moved clock.

Method: seed 33 found that a concentrator without a clock began a new week with each top-up, and
began the true week again once the clock was set. The tests run its world and others with a clock
that is lost or moved.
"""

from dataclasses import replace

import pytest

from host.world.faults import Faults
from host.world.world import World


@pytest.mark.parametrize("seed", [33, 34])
def test_a_week_begins_once(seed: int) -> None:
    faults = Faults(clock_steps_a_day=10, clock_loss=0.7, restarts_a_day=8)
    world = World(seed, days=2, meters=4, faults=faults)
    world.settings.update(debt_percent=90, debt_week_limit_fen=250)
    world.kinds = [replace(kind, debt_fen=5000) for kind in world.kinds]

    assert world.run()["world"]["fen of debts repaid"] > 500


def test_the_world_that_found_it() -> None:
    assert World(33, days=1, meters=3).run()["settings"]["debt_week_limit_fen"] == 250
