"""Let pytest find `harness` and the vectors of the core tests as the runner does.

Core tests run on MicroPython too, so they cannot carry pytest's marks. The slow ones are named
here.
"""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

SLOW = (
    "test_a_checkpoint_survives_a_cut_in_the_next",
    "test_a_look_that_fails_at_the_start_costs_nothing",
    "test_a_redemption_counts_once_wherever_the_power_fails",
    "test_power_cuts_between_the_parts_of_a_checkpoint",
    "test_whatever_comes_between_the_parts_counts_once",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.name in SLOW:
            item.add_marker(pytest.mark.slow)
