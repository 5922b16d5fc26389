"""Goal: a clock that is set back by less than an hour is no reason to doubt a meter.

Method: worlds whose only trouble is somebody at the clock, with large households. Seed 79 found
billing stopped because an hour's energy came in what the clock called no time.
"""

import pytest

from host.world.faults import Faults
from host.world.world import World


@pytest.mark.parametrize("seed", [79, 105])
def test_nobody_is_doubted(seed: int) -> None:
    report = World(seed, days=3, meters=4, faults=Faults(clock_steps_a_day=12)).run()

    assert report["world"]["records CLOCK"] > 20
