"""Let pytest find `harness` and the vectors of the core tests as the runner does.

Core tests run on MicroPython too (tests/host/test_micropython.py), where the longest ones take a
few seconds. On CPython they take minutes, so they run on MicroPython alone.
"""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

ON_MICROPYTHON_ALONE = (
    "test_a_checkpoint_survives_a_cut_in_the_next",
    "test_a_look_that_fails_at_the_start_costs_nothing",
    "test_a_redemption_counts_once_wherever_the_power_fails",
    "test_a_turned_bit_behind_a_checkpoint_costs_no_purchase_and_no_number",
    "test_most_clocks_of_the_meters_count_and_not_the_loudest",
    "test_power_cut_at_any_moment_counts_once",
    "test_power_cuts_between_the_parts_of_a_checkpoint",
    "test_the_power_fails_at_every_change_and_the_command_comes_again",
    "test_whatever_comes_between_the_parts_counts_once",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left = [item for item in items if item.name in ON_MICROPYTHON_ALONE]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if item not in left]
