"""Goal: under any tariff and after any history, a wrong answer that was charged costs nothing in
the end; a restart and the explanation in fractions agree. These are P1, P6, P8 and P11 of
docs/PREPAYMENT.md, with corrections.

Method: hypothesis draws tariffs, readings, steps of the clock, top-ups, kinds of household and
moves. One account is read by wrong answers that are plausible, then by true ones; a second one is
not read meanwhile. In the end both accounts are equal, but for credit and debit, which are both
higher by the amount that was put back.
"""

import sys
from array import array
from datetime import datetime
from decimal import Decimal
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "core"))

from concentrator.books.doubt import DOUBTED
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prepay.accounts import STOPPED
from prepay.ledger import CHARGED
from test_concentrator_books import INDEX, Station

from host.billing.statement import Explainer
from host.frames.record import parse
from host.frames.tariff import build
from host.frames.tariff_terms import TariffFile
from host.units import DAY_S, to_t2000
from tests.host.tariff_strategies import tariff_files

REGISTERS = 4
KINDS = st.integers(0, 2)
# A household, and a wrong answer, below the power limit.
ENERGY = st.lists(st.integers(0, 300).map(lambda tens: 10 * tens), min_size=4, max_size=4)
LIE = st.lists(st.integers(1, 1000).map(lambda tens: 10 * tens), min_size=4, max_size=4)
GAPS = st.sampled_from([60, 900, 900, 900, 3600, DAY_S, 40 * DAY_S])
STEPS = st.sampled_from([0, 0, -600, -3000, -3000, -20000, 1800])
EVENTS = st.sampled_from(["", "", "", "pay", "kind", "move"])
BEFORE = st.lists(st.tuples(GAPS, STEPS, ENERGY, EVENTS), max_size=5)
SOON = st.lists(st.tuples(st.just(900), STEPS, ENERGY, st.just("")), min_size=1, max_size=3)
LIES = st.lists(
    st.tuples(st.sampled_from([60, 900, 900, DAY_S]), STEPS, LIE, st.booleans()),
    min_size=1,
    max_size=3,
)
# Shortly before the end of a day, of a month, of a year.
STARTS = st.sampled_from([(2026, 3, 30), (2026, 3, 31), (2026, 12, 31)])
FILES = tariff_files().map(
    lambda tariff: tariff.model_copy(update={"standing_yuan_per_day": Decimal("0.1234567")})
)

lasting = settings(
    deadline=None,
    max_examples=150,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)


class Many(Station):
    """Books with a meter that shows a total and every rate."""

    def read(self, wh: int, after_s: int = 900, status: int = 0xFFFF) -> int:
        self.wait(after_s)
        values = array("i", [wh] * (REGISTERS + 1))
        return int(self.books.charge_reading(INDEX, values, len(values), status))


class Device:
    """The books of one account on this tariff, and its meter."""

    def __init__(self, tariff: TariffFile, start: tuple[int, int, int], kind: int) -> None:
        self.tariff = tariff
        self.station = station = Many(tariff=build(tariff, 1))
        self.count = station.books.tariffs.find(1).registers
        self.true_wh = [0] * REGISTERS
        assert station.books.set_terms(INDEX, kind, 0, 1, 0, 0)
        station.pay(10000)
        station.wait(to_t2000(datetime(*start, 23, 20)) - station.t2000)
        self.read([0] * REGISTERS)

    def use(self, energy_wh: list[int]) -> None:
        for register in range(self.count):
            self.true_wh[register] += energy_wh[register]

    def read(self, lie_wh: list[int]) -> int:
        """Read the meter, and read it again at once where the reading is doubted."""
        told_wh = [true + lie for true, lie in zip(self.true_wh, lie_wh, strict=True)]
        told_wh = told_wh[: self.count]
        values = array("i", [sum(told_wh), *told_wh])
        outcome = self.station.books.charge_reading(INDEX, values, len(values), 0xFFFF)
        if outcome == DOUBTED:
            outcome = self.station.books.charge_reading(INDEX, values, len(values), 0xFFFF)
        return outcome

    def live(self, gap_s: int, step_s: int, energy_wh: list[int], event: str) -> None:
        """Take a reading after a while, and let the drawn events happen."""
        station = self.station
        station.wait(gap_s)
        self.use(energy_wh)
        self.read([0] * REGISTERS)
        station.wait(step_s)
        ledger = station.ledger
        tariff = station.books.tariffs.find(1)
        if event == "pay":
            station.pay(777)
        elif event == "kind":
            kind = ((ledger.flags[INDEX] >> 4) + 1) % 3
            station.books.set_terms(INDEX, kind, 0, 1, 0, 0)
        elif event == "move":
            quota = ledger.quota_moved_in(tariff, station.t2000)
            period_t2000 = tariff.period_at(station.t2000)
            assert station.books.set_used(INDEX, 0, period_t2000, quota)

    def state(self) -> dict[str, int]:
        """Return all of an account but credit and debit, and its balance."""
        ledger = self.station.ledger
        names = (
            *("residue_e7", "residue_e11", "used_wh", "period_t2000", "read_t2000", "quota"),
            *("free", "flags", "order"),
        )
        found = {name: getattr(ledger, name)[INDEX] for name in names}
        found["balance_fen"] = ledger.balance_fen(INDEX)
        at = INDEX * ledger.rates_limit
        for register in range(self.count):
            found[f"register {register}"] = ledger.registers_wh[at + register]
        return found

    def differences(self) -> list[str]:
        """Return the differences that the explanation finds."""
        journal = self.station.journal
        assert journal.sync()
        buf = bytearray(64)
        records = []
        for seq in range(journal.first_seq, journal.durable_seq + 1):
            assert journal.read_into(seq, buf)
            records.append(parse(bytes(buf)))
        account = self.station.registry.account_text(INDEX)
        return Explainer(account, [self.tariff]).explain(records).differences


@lasting
@given(FILES, STARTS, KINDS, BEFORE, SOON, LIES, ENERGY, BEFORE)
def test_wrong_answers_cost_nothing_in_the_end(
    tariff: TariffFile,
    start: tuple[int, int, int],
    kind: int,
    before: list[tuple[int, int, list[int], str]],
    soon: list[tuple[int, int, list[int], str]],
    lies: list[tuple[int, int, list[int], bool]],
    last_wh: list[int],
    after: list[tuple[int, int, list[int], str]],
) -> None:
    one, twin = Device(tariff, start, kind), Device(tariff, start, kind)
    for device in (one, twin):
        # No correction goes back behind a technician's command about the account: readings follow.
        for step in before + soon:
            device.live(*step)
        lie_wh = [0] * REGISTERS
        for gap_s, step_s, more_wh, pays in lies:
            device.station.wait(gap_s)
            lie_wh = [old + new for old, new in zip(lie_wh, more_wh, strict=True)]
            if device is one:
                assert device.read(lie_wh) == CHARGED
            device.station.wait(step_s)
            if pays:
                device.station.pay(333)
        device.station.wait(900)
        device.use(last_wh)
        assert device.read([0] * REGISTERS) == CHARGED
        assert not device.station.ledger.flags[INDEX] & STOPPED
    # A clock that was ahead during the wrong answers has moved the account's own time.
    alike = all(step_s >= 0 for _, step_s, *_ in lies)
    assert not alike or one.state() == twin.state()
    for device in (one, twin):
        for step in after:
            device.live(*step)
    assert not alike or one.state() == twin.state()
    assert (one.differences(), twin.differences()) == ([], [])
    kept = one.state()
    one.station.restart()
    assert one.state() == kept
