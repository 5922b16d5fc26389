"""Goal: the firmware fits a 32-bit board, and a figure beyond its budget is reported.

Method: the figures of the emulated board are compared with tools/budget.csv; the comparison itself
is tested with tables made here.
"""

import pytest

from tools import budget, image
from tools.budget import Row

REQUIRED = {
    "frozen_bytes": 192 * 1024,
    "import_heap_bytes": 45 * 1024,
    "free_heap_256_meters_bytes": 44 * 1024,
    "free_heap_512_meters_bytes": 16 * 1024,
    "instructions_reading": 12_000,
    "instructions_charge": 15_000,
    "instructions_idle_step": 2_000,
    "instructions_redemption": 3_000_000,
    "heap_churn_bytes_a_reading": 300,
    "clock_heap_bytes_a_turn": 0,
    "direction_late_us": 3_000,
    "direction_late_fast_us": 3_000,
    "network_longest_wait_ms": 0,
    "flash_programmed_bytes_a_reading": 60,
    "flash_erased_bytes_a_reading": 100,
    "hottest_block_years_1e5": 20,
    "outage_hours_1mib_256_meters": 40,
    "outage_hours_4mib_256_meters": 168,
}


@pytest.mark.slow
@pytest.mark.xdist_group("emulator")
def test_the_firmware_keeps_its_budgets() -> None:
    try:
        image.install_emulator()
    except image.ImageError as error:
        pytest.skip(str(error))
    figures = budget.measure()

    assert not budget.passed(budget.read_table(), figures)
    assert figures.keys() >= {*REQUIRED, "instructions_redemption", "instructions_pack"}


def test_boards_on_made_up_ports_keep_their_budgets() -> None:
    figures = budget.made_up_figures()
    assert not budget.passed(budget.read_table(), figures)
    assert len(figures) == 5


def test_the_budgets_are_those_promised() -> None:
    rows = {row.name: row for row in budget.read_table()}

    assert {name: rows[name].budget for name in REQUIRED} == REQUIRED
    assert [row.name for row in rows.values() if row.floor] == [
        "free_heap_256_meters_bytes",
        "free_heap_512_meters_bytes",
        "hottest_block_years_1e5",
        "outage_hours_1mib_256_meters",
        "outage_hours_4mib_256_meters",
    ]


@pytest.mark.parametrize(
    ("floor", "figure", "said"),
    [
        (False, 10, []),
        (False, 11, ["a is 11, over its budget of 10"]),
        (True, 10, []),
        (True, 9, ["a is 9, below its floor of 10"]),
    ],
)
def test_a_figure_beyond_its_budget_is_told(floor: bool, figure: int, said: list[str]) -> None:
    rows = [Row("a", 10, 8, floor)]

    assert budget.passed(rows, {"a": figure}) == said
    assert ("OVER" in budget.show(rows, {"a": figure})) is bool(said)
