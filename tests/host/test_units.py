"""Goal: the units of the host are right at their edges.

Method: values are computed by hand, and each conversion runs both ways.
"""

from datetime import datetime

import pytest

from host.units import DAY_S, EPOCH, kwh, to_datetime, to_t2000, unwrapped_fen, yuan


def test_time_goes_there_and_back() -> None:
    assert to_t2000(EPOCH) == 0
    assert to_t2000(datetime(2000, 1, 2, 0, 0, 1)) == DAY_S + 1
    for t2000 in (0, 1, DAY_S - 1, 2**31 - 1):
        assert to_t2000(to_datetime(t2000)) == t2000


@pytest.mark.parametrize(
    ("fen", "text"),
    [(0, "0.00"), (5, "0.05"), (-5, "-0.05"), (-123, "-1.23"), (99_999_999, "999999.99")],
)
def test_yuan_have_two_decimals(fen: int, text: str) -> None:
    assert yuan(fen) == text


def test_energy_has_as_many_decimals_as_asked_for() -> None:
    assert kwh(1_234_567) == "1234.567"
    assert kwh(1_234_560, 2) == "1234.56"


@pytest.mark.parametrize(
    ("told", "near", "whole"),
    [(5, 0, 5), (5, 2**32 - 1, 2**32 + 5), (2**32 - 1, 2**32, 2**32 - 1)],
)
def test_money_is_counted_on_past_the_end_of_a_device(told: int, near: int, whole: int) -> None:
    assert unwrapped_fen(told, near) == whole
