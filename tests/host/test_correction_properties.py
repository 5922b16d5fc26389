"""Goal: under any tariff and after any history, a wrong answer that was charged costs nothing in
the end, and a restart and the explanation in fractions agree.

Method: hypothesis draws tariffs, readings, steps of the clock, purchases that repay a debt, kinds
of household and moves. One account is read by wrong answers that are plausible, then by a true
one. A twin is not read meanwhile and buys at the end; a third account is read by true answers all
the time. In the end all are equal, residues, tiers, quotas and free energy included, but for
credit and debit, which are both higher by the amount that was put back; and the energy put back is
what the wrong answers had added. Other tests hold P1 to P12 of docs/PREPAYMENT.md for accounts
without a correction, so what is equal to one of these holds them too.
"""

import sys
from array import array
from datetime import datetime
from decimal import Decimal
from operator import itemgetter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "core"))

import pytest
from concentrator.books.doubt import DOUBTED
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from prepay.accounts import STOPPED
from prepay.ledger import CHARGED
from test_concentrator_books import INDEX, Station
from uplink import record
from uplink.record import PAYLOAD, u32_at

from host.billing.statement import Explainer
from host.frames.record import parse
from host.frames.tariff import build
from host.frames.tariff_terms import TariffFile
from host.units import DAY_S, to_t2000
from tests.host.tariff_strategies import ending_files, tariff_files

REGISTERS = 4
# Each step has a wait in s, a step of the clock in s, energy by register in Wh, and an event; each
# wrong answer has energy that was never used, and whether the household buys behind it.
Step = tuple[int, int, list[int], str]
Lie = tuple[int, int, list[int], bool]
KINDS = st.integers(0, 2)
# A household, and a wrong answer, below the power limit.
ENERGY = st.lists(st.integers(0, 300).map(lambda tens: 10 * tens), min_size=4, max_size=4)
LIE = st.lists(st.integers(1, 1000).map(lambda tens: 10 * tens), min_size=4, max_size=4)
GAPS = st.sampled_from([60, 900, 900, 900, 3600, DAY_S, 40 * DAY_S])
STEPS = st.sampled_from([0, 0, -600, -3000, -3000, -20000, 1800])
EVENTS = st.sampled_from(["", "", "", "pay", "kind", "move"])
# A clock is set back by any time, also while the household changes or moves.
FAR = st.one_of(STEPS, st.sampled_from([0, -2 * DAY_S, -40 * DAY_S, -400 * DAY_S, 20 * DAY_S]))
BEFORE = st.lists(st.tuples(GAPS, FAR, ENERGY, EVENTS), max_size=5)
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
LAST_NIGHTS = st.sampled_from([(2026, 3, 31), (2026, 12, 31)])
# From 23:20 on until the tier year has ended, in steps that reach midnight in a wrong answer.
IN_TIME = st.lists(st.tuples(st.just(600), st.just(0), ENERGY, EVENTS), max_size=1)
TWO_SOON = st.lists(
    st.tuples(st.just(300), st.just(0), ENERGY, st.just("")), min_size=1, max_size=2
)
LATE_LIES = st.lists(
    st.tuples(st.sampled_from([1800, 3600]), STEPS, LIE, st.booleans()), min_size=1, max_size=2
)
NOTHING = [0] * REGISTERS
PAID_FEN = 1_000_000
DEBT_FEN = 500

lasting = settings(
    deadline=None,
    max_examples=200,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)


class Many(Station):
    """Books with a meter that shows a total and every rate."""

    def read(self, wh: int, after_s: int = 900, status: int = 0xFFFF) -> int:
        self.wait(after_s)
        values = array("i", [wh] * (REGISTERS + 1))
        return self.charge_values(values, status)

    def charge_values(self, values: "array[int]", status: int = 0xFFFF) -> int:
        """Charge a total and its rates, a second time if they were doubted."""
        outcome = int(self.books.charge_reading(INDEX, values, len(values), status))
        if outcome == DOUBTED:
            outcome = int(self.books.charge_reading(INDEX, values, len(values), status))
        return CHARGED if self.search() else outcome


class Device:
    """The books of one account on this tariff, and its meter."""

    def __init__(self, tariff: TariffFile, start: tuple[int, int, int], kind: int) -> None:
        self.tariff = tariff
        self.station = station = Many(tariff=build(tariff, 1))
        self.count = station.books.tariffs.find(1).registers
        self.true_wh = [0] * REGISTERS
        assert station.books.set_terms(INDEX, kind, 0, 1, 0, DEBT_FEN)
        station.pay(PAID_FEN)
        station.policy.debt_percent = 50
        station.wait(to_t2000(datetime(*start, 23, 20)) - station.t2000)
        self.read(NOTHING)

    def use(self, energy_wh: list[int]) -> None:
        for register in range(self.count):
            self.true_wh[register] += energy_wh[register]

    def read(self, lie_wh: list[int]) -> int:
        """Read the meter, and read it again at once where the reading is doubted."""
        told_wh = [true + lie for true, lie in zip(self.true_wh, lie_wh, strict=True)]
        told_wh = told_wh[: self.count]
        values = array("i", [sum(told_wh), *told_wh])
        return self.station.charge_values(values)

    def live(self, gap_s: int, step_s: int, energy_wh: list[int], event: str) -> None:
        """Take a reading after a while, and let the drawn events happen."""
        station = self.station
        station.wait(gap_s)
        self.use(energy_wh)
        self.read(NOTHING)
        station.wait(step_s)
        ledger = station.ledger
        tariff = station.books.tariffs.find(1)
        if event == "pay":
            station.pay(777)
        elif event == "kind":
            kind = ((ledger.flags[INDEX] >> 4) + 1) % 3
            station.books.set_terms(INDEX, kind, 0, 1, 0, ledger.debt_fen[INDEX])
        elif event == "move":
            # As the command does it.
            t2000 = ledger.own_t2000(INDEX, station.t2000)
            quota = ledger.quota_moved_in(tariff, t2000)
            period_t2000 = tariff.period_at(t2000)
            assert station.books.set_used(INDEX, 0, period_t2000, quota)

    def state(self) -> dict[str, int]:
        """Return all of an account but credit and debit, and its balance."""
        ledger = self.station.ledger
        names = (
            *("residue_e7", "residue_e11", "used_wh", "period_t2000", "read_t2000", "quota"),
            *("free", "flags", "order", "debt_fen"),
        )
        found = {name: getattr(ledger, name)[INDEX] for name in names}
        found["balance_fen"] = ledger.balance_fen(INDEX)
        at = INDEX * ledger.rates_limit
        for register in range(self.count):
            found[f"register {register}"] = ledger.registers_wh[at + register]
        return found

    def lie(self, lies: list[Lie], *, read_wh: str, pays: bool) -> None:
        """Live through wrong answers: `read_wh` says if they, the truth or nothing is read."""
        lie_wh = NOTHING
        for gap_s, step_s, more_wh, buys in lies:
            self.station.wait(gap_s)
            lie_wh = [old + new for old, new in zip(lie_wh, more_wh, strict=True)]
            if read_wh:
                assert self.read(lie_wh if read_wh == "lies" else NOTHING) == CHARGED
            self.station.wait(step_s)
            if buys and pays:
                self.station.pay(333)
        if not pays:
            for _ in filter(itemgetter(3), lies):
                self.station.pay(333)
        self.station.wait(900)

    def returned_fen(self) -> int:
        """Return all that was credited and not paid in."""
        ledger = self.station.ledger
        paid_fen = sum(u32_at(one, PAYLOAD + 4) for one in self.station.records(record.TOP_UP))
        return int(ledger.credit_fen[INDEX]) - paid_fen

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


@pytest.mark.slow
@lasting
@given(FILES, STARTS, KINDS, BEFORE, SOON, LIES, st.one_of(st.just(NOTHING), ENERGY), BEFORE)
def test_wrong_answers_cost_nothing_in_the_end(
    tariff: TariffFile,
    start: tuple[int, int, int],
    kind: int,
    before: list[Step],
    soon: list[Step],
    lies: list[Lie],
    last_wh: list[int],
    after: list[Step],
) -> None:
    check_lies(tariff, start, kind, before + soon, lies, last_wh, after)


@pytest.mark.slow
@lasting
@given(ending_files(), LAST_NIGHTS, KINDS, IN_TIME, TWO_SOON, LATE_LIES, ENERGY)
def test_wrong_answers_across_the_end_of_a_tier_year_cost_nothing(
    tariff: TariffFile,
    start: tuple[int, int, int],
    kind: int,
    before: list[Step],
    soon: list[Step],
    lies: list[Lie],
    last_wh: list[int],
) -> None:
    # A wrong answer that the truth reaches later is taken for a reading, at the answer's time.
    first_wh = lies[0][2][: len(tariff.rates)]
    assume(any(told > true for told, true in zip(first_wh, last_wh, strict=False)))
    check_lies(tariff, start, kind, before + soon, lies, last_wh, [])


def check_lies(
    tariff: TariffFile,
    start: tuple[int, int, int],
    kind: int,
    before: list[Step],
    lies: list[Lie],
    last_wh: list[int],
    after: list[Step],
) -> None:
    """Let three accounts live, one of them with wrong answers, and compare them."""
    one, twin, third = (Device(tariff, start, kind) for _ in range(3))
    told_wh = [sum(column) for column in zip(*(lie[2] for lie in lies), strict=True)][: one.count]
    # Where the truth has gone past every lie, nobody can see that there was one.
    assume(any(told > last for told, last in zip(told_wh, last_wh, strict=False)))
    for device in (one, twin, third):
        # No correction goes back behind a technician's command about the account: readings follow.
        for step in before:
            device.live(*step)
    one.lie(lies, read_wh="lies", pays=True)
    twin.lie(lies, read_wh="", pays=False)
    third.lie(lies, read_wh="truth", pays=True)
    for device in (one, twin, third):
        ledger = device.station.ledger
        debit_fen = ledger.debit_fen[INDEX]
        device.use(last_wh)
        assert device.read(NOTHING) == CHARGED
        assert not ledger.flags[INDEX] & STOPPED
        assert ledger.debit_fen[INDEX] >= debit_fen
    # A clock that was ahead during the wrong answers has moved the account's own time. The third
    # account's energy is divided at a change by the time of its last reading.
    others = [twin] * all(step_s >= 0 for _, step_s, *_ in lies)
    others += [third] * (last_wh == NOTHING)
    assert all(one.state() == other.state() for other in others)
    check_correction(one, twin, lies, last_wh)
    for device in (one, *others):
        for step in after:
            device.live(*step)
    assert all(one.state() == other.state() for other in others)
    assert [device.differences() for device in (one, twin, third)] == [[], [], []]
    kept = one.state()
    one.station.restart()
    assert one.state() == kept


def check_correction(one: Device, twin: Device, lies: list[Lie], last_wh: list[int]) -> None:
    """Check what the CORRECTION says was put back."""
    # In each register, by how much the wrong answers exceed the truth.
    over_wh = [
        sum(more_wh[register] for _, _, more_wh, _ in lies) - last_wh[register]
        for register in range(one.count)
    ]
    found = [parse(bytes(row)).fields for row in one.station.records(record.CORRECTION)]
    assert len(found) == any(wh > 0 for wh in over_wh)
    assert one.returned_fen() == sum(fields["amount_fen"] for fields in found)
    assert [fields["energy_wh"] for fields in found] == [max(0, sum(over_wh))] * len(found)
    assert twin.returned_fen() == 0
    ended = [parse(bytes(row)).fields for row in one.station.records(record.ROLLOVER)]
    begun = [fields["new_period"] for fields in ended]
    assert len(begun) == len(set(begun))
