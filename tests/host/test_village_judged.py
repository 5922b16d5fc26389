"""Goal: what the head-end finds in a made village is what is true in it.

Method: one village of the seeds on which thresholds were measured is made and judged, as
`tools.judge_village` judges all of them; docs/LOSS.md has the table.
"""

from pathlib import Path

import pytest

from tools.judge_village import judge

SEED = 101


@pytest.mark.slow
def test_a_village_is_judged_rightly(tmp_path: Path) -> None:
    found = judge(SEED, tmp_path)
    assert found.success_days > 100
    assert found.success_off == 0
    assert found.voltage_meters > 10
    assert found.voltage_off < 2
    assert found.outages > 5
    assert found.outages_found == found.outages
    assert found.loss_off < 1.5
    assert found.technical_off < 1.5
    assert found.clues_first == 10
    assert found.clues_true >= 8
