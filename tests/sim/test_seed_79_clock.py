"""Goal: readings are not doubted when a clock is set back by less than an hour.

Method: in worlds with large households the only fault is a clock that is set wrong. Seed 79 found
that billing stopped because the clock showed no time between readings an hour apart.
"""

import pytest

from host.world.faults import Faults
from host.world.world import World


@pytest.mark.parametrize("seed", [79, 105])
def test_nobody_is_doubted(seed: int) -> None:
    report = World(seed, days=3, meters=4, faults=Faults(clock_steps_a_day=12)).run()

    assert report["world"]["records CLOCK"] > 20
