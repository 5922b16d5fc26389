"""Goal: `dianka explain` recomputes a charge that was put back in part, to 1e-11 yuan, and shows
it apart from charges and payments; registers that a technician types charge nothing.

Method: the device's own books write the records: wrong readings below the power limit, then true
ones, across a limit of a tier, a settlement and a top-up that repays a debt.
"""

import json
import sys
from array import array
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "core"))

from datetime import datetime

from concentrator.books.doubt import DOUBTED
from prepay.ledger import CHARGED
from test_concentrator_books import INDEX, Station

from host.billing.pricing import REGISTER_MODULUS_WH
from host.billing.statement import Entry, Explainer, Statement
from host.frames.record import parse
from host.frames.tariff import build, read
from host.units import DAY_S, to_datetime

TARIFF = {
    "name": "monthly, two tiers, a standing charge",
    "tier_period": "month",
    "standing_yuan_per_day": "0.1",
    "tiers": [{"upto_kwh": "30", "prices": ["0.53830001"]}, {"prices": ["0.83830009"]}],
}


class Device:
    """The books of one concentrator with account 17 on this tariff."""

    def __init__(self) -> None:
        self.tariff = read(json.dumps(TARIFF))
        self.station = Station(tariff=build(self.tariff, 1))
        self.station.pay(10000)
        # Noon of the day before a settlement.
        days = (datetime(2026, 4, 30, 12) - to_datetime(self.station.t2000)).days
        self.read(0, days * DAY_S)

    def read(self, wh: int, after_s: int = 900) -> int:
        """Read the meter, and read it again at once where the reading is doubted."""
        outcome = self.station.read(wh, after_s)
        if outcome == DOUBTED:
            outcome = self.station.read(0, 0)
        return outcome

    def statement(self) -> Statement:
        journal = self.station.journal
        assert journal.sync()
        buf = bytearray(64)
        records = []
        for seq in range(journal.first_seq, journal.durable_seq + 1):
            assert journal.read_into(seq, buf)
            records.append(parse(bytes(buf)))
        account = self.station.registry.account_text(INDEX)
        return Explainer(account, [self.tariff]).explain(records)

    def corrections(self) -> list[Entry]:
        return [one for one in self.statement().entries if one.kind == "correction"]


@pytest.mark.parametrize("spike_wh", [7, 33333, 60000])
@pytest.mark.parametrize("pays", [False, True])
@pytest.mark.parametrize("after_s", [900, 43200 + 900])
def test_a_correction_is_recomputed(spike_wh: int, pays: bool, after_s: int) -> None:
    device = Device()
    if pays:
        station = device.station
        assert station.books.set_terms(INDEX, 0, 0, 1, 0, 500)
        station.policy.debt_percent = 50
    for _ in range(4):
        assert device.read(9000) == CHARGED
    assert device.read(spike_wh) == CHARGED
    if pays:
        device.station.pay(700)
    assert device.read(3 - spike_wh, after_s) == CHARGED
    assert device.read(50) == CHARGED

    statement = device.statement()
    assert statement.differences == []
    [one] = device.corrections()
    ledger = device.station.ledger
    assert one.returned_yuan * 100 == ledger.credit_fen[INDEX] - 10000 - (700 if pays else 0)
    assert one.returned_yuan > 0 or spike_wh < 100
    last = statement.entries[-1]
    debit_fen = ledger.debit_fen[INDEX]
    assert last.balance_yuan is not None
    assert last.balance_yuan * 100 // 1 <= ledger.credit_fen[INDEX] - debit_fen


def test_a_correction_across_the_last_digit_of_a_register_is_recomputed() -> None:
    device = Device()
    station = device.station
    station.values[0] = REGISTER_MODULUS_WH - 1000
    assert station.books.resume(INDEX, array("i", [station.values[0]]))
    assert device.read(100) == CHARGED
    assert device.read(2000 - REGISTER_MODULUS_WH) == CHARGED
    assert device.read(REGISTER_MODULUS_WH - 1800) == CHARGED
    assert device.read(1900 - REGISTER_MODULUS_WH) == CHARGED

    assert device.statement().differences == []
    assert len(device.corrections()) == 1
    assert station.ledger.used_wh[INDEX] == 2200


def test_registers_that_were_told_charge_nothing() -> None:
    device = Device()
    assert device.read(1000) == CHARGED
    told = array("i", [500000])
    assert device.station.books.resume(INDEX, told)
    device.station.values[0] = 500000
    assert device.read(2000) == CHARGED

    statement = device.statement()
    assert statement.differences == []
    assert device.station.ledger.used_wh[INDEX] == 3000


def test_a_correction_of_another_amount_is_told() -> None:
    device = Device()
    for wh in (9000, 9000, 20000, -19000):
        device.read(wh)
    ledger = device.station.ledger
    ledger.credit_fen[INDEX] += 1
    for wh in (9000, 20000, -19000):
        device.read(wh)
    assert any("credit" in one for one in device.statement().differences)
