"""Goal: 5,000 kWh in steps of 0.01 kWh, the least a meter shows, cost what one step costs.

Method: the firmware's ledger makes half a million charges on CPython under Shandong's tariff.
"""

from array import array
from pathlib import Path

import pytest
from prepay.ledger import CHARGED, FIRST, Ledger
from prepay.tariff import Tariff

from host.frames import tariff

FILE = Path(__file__).resolve().parents[2] / "tariffs" / "shandong.json"
STEP_WH = 10
TOTAL_WH = 5_000_000
START_T2000 = 825_000_000  # in February, so that the tier year does not end meanwhile


@pytest.mark.slow
def test_half_a_million_charges_cost_what_one_costs() -> None:
    image = tariff.build(tariff.load(FILE), 1)
    shandong = Tariff()
    assert shandong.load(image, len(image)) == ""
    ledger = Ledger(1)
    registers_wh = array("i", bytes(4 * 8))
    assert ledger.prepare(0, shandong, registers_wh, START_T2000) == FIRST
    ledger.commit(0)

    for step in range(1, TOTAL_WH // STEP_WH + 1):
        registers_wh[0] += STEP_WH
        assert ledger.prepare(0, shandong, registers_wh, START_T2000 + step) == CHARGED
        ledger.commit(0)

    assert ledger.debit_fen[0] == 290_850
    assert (ledger.residue_e7[0], ledger.residue_e11[0]) == (0, 0)
