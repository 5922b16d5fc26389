"""Goal: properties that public billing engines have violated hold for any tariff and readings.

Method: hypothesis draws tariffs (sets, seasons, periods, day tables, standing charges, kinds of
household, free energy, rates that fill no tier), readings, gaps, clock steps, top-ups, households
that change or move in; the firmware's ledger must agree with the fractions of host.billing to the
last digit, and each property is then checked by itself. P1 to P12 are the names of
docs/PREPAYMENT.md.
"""

from array import array
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from host.billing.pricing import Account, Calendar, HouseholdError
from host.device.bill import CHARGED, FIRST, Ledger, Tariff
from host.frames.tariff import build
from host.frames.tariff_terms import Ladder, PartYear, TariffFile
from host.units import EPOCH, to_t2000
from tests.host.tariff_strategies import tariff_files

START = datetime(2026, 1, 31, 23, 59, 30)
# Seconds between readings: mostly a quarter of an hour, sometimes a power cut of weeks.
GAPS = st.one_of(st.sampled_from([1, 60, 900, 900, 900, 3600, 86400]), st.integers(1, 40 * 86400))
ENERGY = st.one_of(st.integers(0, 40000), st.sampled_from([0, 10, 1000, 2**30 // 3000, 400000]))
READINGS = st.lists(st.tuples(GAPS, st.lists(ENERGY, min_size=4, max_size=4)), max_size=8)
# Kinds of household of the random tariffs.
KINDS = st.integers(0, 2)
# Energies at which one tier limit more or less matters.
STEPS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 300000)), min_size=1, max_size=8)

# Every run has the same examples: the result of CI must not depend on chance.
lasting = settings(
    deadline=None,
    max_examples=40,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)


class Household:
    """The firmware's ledger and the fractions, which read the same meter."""

    def __init__(
        self, tariff: TariffFile, start: datetime = START, used_wh: int = 0, kind: int = 0
    ) -> None:
        image = build(tariff)
        self.file = tariff
        self.tariff = Tariff()
        assert self.tariff.load(image, len(image)) == ""
        self.ledger = Ledger(2)
        self.ledger.power_limit_w = 10**12
        self.ledger.describe(1, kind)
        self.ledger.used_wh[1] = used_wh
        self.registers_wh = array("i", [0] * self.tariff.registers)
        self.now = start
        self.other = Account(tariff, kind)
        self.other.used_wh = used_wh
        self.other.start(start, list(self.registers_wh))
        assert self.prepare() == FIRST
        self.ledger.commit(1)

    def prepare(self) -> int:
        return int(self.ledger.prepare(1, self.tariff, self.registers_wh, to_t2000(self.now)))

    def read(self, gap_s: int, used_wh: list[int]) -> int:
        """Read after `gap_s`, both sides; return the device's outcome."""
        self.now += timedelta(seconds=gap_s)
        for register in range(len(self.registers_wh)):
            self.registers_wh[register] += used_wh[register]
        outcome = self.prepare()
        if outcome == CHARGED:
            self.ledger.commit(1)
            self.other.read(self.now, list(self.registers_wh))
        return outcome

    def take(self, tariff: TariffFile) -> None:
        """Continue with another tariff, on both sides."""
        image = build(tariff)
        self.tariff = Tariff()
        assert self.tariff.load(image, len(image)) == ""
        self.other.calendar = Calendar(tariff)

    def change(self, kind: int) -> None:
        """Make it another kind of household on both sides, or on neither."""
        t2000 = to_t2000(self.now)
        ledger = self.ledger
        quota = ledger.quota_after(1, self.tariff, kind, t2000)
        try:
            self.other.change_household(kind, self.now)
        except HouseholdError:
            assert quota == -1
            return
        assert quota != -1
        ledger.describe(1, kind)
        ledger.set_used(1, ledger.used_wh[1], ledger.period_t2000[1], quota, ledger.free[1])

    def move_in(self) -> None:
        """Let another household move in, on both sides."""
        ledger = self.ledger
        t2000 = ledger.own_t2000(1, to_t2000(self.now))
        quota = ledger.quota_moved_in(self.tariff, t2000)
        ledger.set_used(1, 0, self.tariff.period_at(t2000), quota, ledger.free[1])
        self.other.move_in(self.now)

    @property
    def charged_yuan(self) -> Fraction:
        one = self.ledger
        fen_e7 = one.debit_fen[1] * 10**5 + one.residue_e7[1]
        return Fraction(fen_e7 * 10**4 + one.residue_e11[1], 10**11)

    def limits_wh(self) -> list[int]:
        """Return the limits of the present tiers; the last tier has none."""
        self.tariff.seek(to_t2000(self.now))
        return list(self.tariff.limits_wh[self.tariff.row : self.tariff.row + self.tariff.tiers])


def steady(tariff: TariffFile) -> TariffFile:
    """Return the tariff without anything that changes with time."""
    return tariff.model_copy(
        update={
            "seasons": [],
            "next": [],
            "schedule": None,
            "standing_yuan_per_day": Decimal(0),
            "standing_yuan_per_month": Decimal(0),
            "free_period": None,
            "free_reset": None,
        }
    )


steady_files = tariff_files().map(
    lambda tariff: steady(tariff).model_copy(update={"tier_period": "none", "tier_reset": None})
)


@lasting
@given(tariff_files(), READINGS)
def test_the_device_agrees_with_fractions(
    tariff: TariffFile, readings: list[tuple[int, list[int]]]
) -> None:
    one = Household(tariff)
    for gap_s, used_wh in readings:
        assert one.read(gap_s, used_wh) == CHARGED
        assert one.charged_yuan == one.other.charged_yuan
        assert one.ledger.used_wh[1] == one.other.used_wh
        period = one.other.period
        assert one.ledger.period_t2000[1] == (period.t2000 if period else 0)


@pytest.mark.slow
@settings(lasting, max_examples=150)
@given(
    tariff_files(),
    st.integers(0, 400 * 86400),
    KINDS,
    st.lists(
        st.tuples(
            GAPS,
            st.lists(ENERGY, min_size=4, max_size=4),
            st.none() | KINDS | st.just(-1),
            st.sampled_from([0, 0, 0, 2, 40, 400]),
        ),
        max_size=8,
    ),
)
def test_a_year_of_which_a_part_counts(
    tariff: TariffFile,
    opened_s: int,
    kind: int,
    readings: list[tuple[int, list[int], int | None, int]],
) -> None:
    """Accounts are opened at any time; households change and, at -1, move in.

    The clock is set back by days before that.
    """
    one = Household(tariff, START + timedelta(seconds=opened_s), kind=kind)
    for gap_s, used_wh, event, back_days in readings:
        assert one.read(gap_s, used_wh) == CHARGED
        one.now -= timedelta(days=back_days)
        if event is not None and event >= 0:
            one.change(event)
        elif event is not None:
            one.move_in()
        assert one.charged_yuan == one.other.charged_yuan
        assert one.ledger.used_wh[1] == one.other.used_wh
        months = [span.months for span in one.other.spans]
        quota = one.ledger.quota[1]
        assert (quota & 15, quota >> 4 & 15) == (
            (one.other.months, months[-1]) if months else (0, 0)
        )
        season = one.other.calendar.season_at(one.now)
        tier = sum(limit <= one.other.used_wh for limit in one.other.limits_wh(season))
        one.tariff.seek(to_t2000(one.now))
        assert one.ledger.tier_of(1, one.tariff) == tier


@pytest.mark.slow
@settings(lasting, max_examples=80)
@given(tariff_files(), READINGS, READINGS, KINDS, st.booleans())
def test_p6_a_file_that_lets_go_its_past_settles_nothing(
    tariff: TariffFile,
    before: list[tuple[int, list[int]]],
    after: list[tuple[int, list[int]]],
    kind: int,
    again: bool,
) -> None:
    """Sets that have ended are taken out of the file, and perhaps come back."""
    whole = Household(tariff, kind=kind)
    cut = Household(tariff, kind=kind)
    for reading in before:
        whole.read(*reading)
        cut.read(*reading)
    cut.take(without_past(tariff, cut.now))
    for at, reading in enumerate(after):
        whole.read(*reading)
        assert cut.read(*reading) == CHARGED
        assert cut.charged_yuan == cut.other.charged_yuan == whole.charged_yuan
        assert cut.ledger.used_wh[1] == cut.other.used_wh == whole.ledger.used_wh[1]
        assert cut.ledger.rolled == whole.ledger.rolled
        whole.change((kind + at) % 3)
        cut.change((kind + at) % 3)
        assert cut.ledger.quota[1] == whole.ledger.quota[1]
        if again:
            cut.take(tariff)


def without_past(tariff: TariffFile, now: datetime) -> TariffFile:
    """Return the tariff without the sets before the one in force."""
    kept = tariff
    for following in tariff.next:
        if datetime.strptime(following.begins, "%Y-%m-%d %H") > now:
            break
        fresh = {name: getattr(following, name) for name in following.model_fields_set}
        fresh.pop("begins")
        if "tier_period" in fresh:
            fresh["tier_reset"] = following.tier_reset
        kept = kept.model_copy(update={**fresh, "next": kept.next[1:]})
    return kept


@lasting
@given(tariff_files(), READINGS, st.lists(st.integers(-(10**6), 10**6), max_size=12))
def test_p1_conservation(
    tariff: TariffFile, readings: list[tuple[int, list[int]]], orders: list[int]
) -> None:
    """Orders below 0 are refunds of at most the balance."""
    one = Household(tariff)
    paid_fen = 0
    for order, (gap_s, used_wh) in enumerate(readings, 1):
        if order <= len(orders):
            amount_fen = max(orders[order - 1], -max(0, one.ledger.balance_fen(1)))
            assert one.ledger.top_up(1, order, amount_fen)
            paid_fen += amount_fen
        one.read(gap_s, used_wh)
        residue_yuan = one.charged_yuan - Fraction(one.ledger.debit_fen[1], 100)
        balance_yuan = Fraction(one.ledger.balance_fen(1), 100) - residue_yuan
        assert balance_yuan == Fraction(paid_fen, 100) - one.other.charged_yuan
        assert 0 <= residue_yuan < Fraction(1, 100)


@lasting
@given(steady_files, STEPS, st.integers(1, 9), KINDS)
def test_p2_splitting_changes_nothing(
    tariff: TariffFile, steps: list[tuple[int, int]], parts: int, kind: int
) -> None:
    whole = Household(tariff, kind=kind)
    split = Household(tariff, kind=kind)
    for register, wh in steps:
        register %= len(whole.registers_wh)
        used_wh = [0] * 4
        used_wh[register] = wh
        whole.read(900, used_wh)
        for part in range(parts):
            used_wh[register] = wh * (part + 1) // parts - wh * part // parts
            split.read(60, used_wh)
    assert split.charged_yuan == whole.charged_yuan
    assert split.ledger.used_wh[1] == whole.ledger.used_wh[1]


@lasting
@given(tariff_files(), READINGS, st.integers(0, 10**6), KINDS)
def test_p3_more_energy_never_costs_less(
    tariff: TariffFile, readings: list[tuple[int, list[int]]], more_wh: int, kind: int
) -> None:
    one = Household(tariff, kind=kind)
    for gap_s, used_wh in readings:
        before_yuan = one.charged_yuan
        one.read(gap_s, used_wh)
        assert one.charged_yuan >= before_yuan
    one.now += timedelta(seconds=1)
    assert one.prepare() == CHARGED
    less_fen = one.ledger.new_debit_fen
    one.registers_wh[0] += more_wh
    assert one.prepare() == CHARGED
    assert one.ledger.new_debit_fen >= less_fen


@lasting
@given(steady_files, STEPS)
def test_p4_parts_add_up_and_p5_tiers_are_filled_in_order(
    tariff: TariffFile, steps: list[tuple[int, int]]
) -> None:
    one = Household(tariff)
    count = len(one.registers_wh)
    season = Calendar(tariff).season_at(START)
    prices, uncounted = season.ladders[0].prices, season.uncounted
    limits_wh = one.limits_wh()
    used_wh_total = beside_wh = 0
    yuan = Fraction(0)
    for register, wh in steps:
        used_wh = [0] * 4
        used_wh[register % count] = wh
        one.read(900, used_wh)
        if register % count in uncounted:
            yuan += Fraction(prices[0][register % count]) * wh / 1000
            beside_wh += wh
            assert one.charged_yuan == yuan
            continue
        below_wh = 0
        for tier, limit_wh in enumerate(limits_wh):
            from_wh = max(used_wh_total, below_wh)
            in_tier = max(0, min(used_wh_total + wh, limit_wh) - from_wh)
            yuan += Fraction(prices[tier][register % count]) * in_tier / 1000
            below_wh = limit_wh
        used_wh_total += wh
        assert one.charged_yuan == yuan
    assert used_wh_total == one.ledger.used_wh[1] == sum(one.registers_wh) - beside_wh


@lasting
@given(tariff_files(), READINGS, st.integers(0, 400 * 86400))
def test_p6_a_settlement_only_begins_the_tiers_anew(
    tariff: TariffFile, readings: list[tuple[int, list[int]]], gap_s: int
) -> None:
    one = Household(steady(tariff))
    for reading in readings:
        one.read(*reading)
    balance_fen = one.ledger.balance_fen(1)
    residue = (one.ledger.residue_e7[1], one.ledger.residue_e11[1])
    used_wh = one.ledger.used_wh[1]
    period = one.ledger.period_t2000[1]
    assert one.read(gap_s, [0] * 4) == CHARGED
    assert one.ledger.balance_fen(1) == balance_fen
    assert (one.ledger.residue_e7[1], one.ledger.residue_e11[1]) == residue
    if one.ledger.period_t2000[1] == period:
        assert one.ledger.used_wh[1] == used_wh
    else:
        assert one.ledger.rolled
        assert one.ledger.closed_wh == (used_wh if period else 0) or one.ledger.closed_wh == 0
        assert one.ledger.used_wh[1] == 0


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 10**6)), max_size=20))
def test_p7_a_top_up_counts_once(orders: list[tuple[int, int]]) -> None:
    ledger = Ledger(1)
    newest = expected_fen = 0
    for order, amount_fen in orders:
        taken = ledger.top_up(0, order, amount_fen)
        assert taken == (order > newest)
        if taken:
            newest = order
            expected_fen += amount_fen
        assert not ledger.top_up(0, order, amount_fen)
        assert ledger.credit_fen[0] == expected_fen


@pytest.mark.slow
@settings(lasting, max_examples=200)
@given(tariff_files(), READINGS, KINDS, st.data())
def test_p8_a_restart_anywhere_charges_nothing_twice(
    tariff: TariffFile, readings: list[tuple[int, list[int]]], kind: int, data: st.DataObject
) -> None:
    """The next reading charges a lost one; a reading that was kept is never charged again.

    The lost readings are one longer gap, so both are compared with the fractions of the others.
    """
    opened = START + timedelta(days=data.draw(st.integers(0, 365)))
    one = Household(tariff, opened, kind=kind)
    for gap_s, used_wh in readings:
        kept = data.draw(st.booleans())
        one.now += timedelta(seconds=gap_s)
        for register in range(len(one.registers_wh)):
            one.registers_wh[register] += used_wh[register]
        before = [bytes(column) for column in one.ledger.columns()]
        assert one.prepare() == CHARGED
        assert [bytes(column) for column in one.ledger.columns()] == before
        if not kept:
            continue
        ledger = one.ledger
        fields = (
            ledger.new_debit_fen,
            ledger.new_residue_e7,
            ledger.new_residue_e11,
            ledger.new_used_wh,
        )
        # The power fails before `commit`; the records in the journal restore all of it.
        if (ledger.new_quota, ledger.new_free) != (ledger.quota[1], ledger.free[1]):
            quota = (ledger.new_quota, ledger.new_free)
            ledger.set_used(1, ledger.new_used_wh, ledger.new_period_t2000, *quota)
        if ledger.rolled:
            ledger.replay_period(1, ledger.new_period_t2000)
        if ledger.whole and ledger.counts_anew(1):
            period_t2000, free = ledger.new_period_t2000, ledger.new_free
            ledger.set_used(1, ledger.new_used_wh, period_t2000, ledger.new_quota, free)
        ledger.replay_reading(1, one.registers_wh, to_t2000(one.now), *fields)
        one.other.read(one.now, list(one.registers_wh))
        assert one.charged_yuan == one.other.charged_yuan
        assert (ledger.used_wh[1], ledger.free[1] & 0xFFFFF) == (
            *(one.other.used_wh, one.other.free_wh),
        )
        assert not any(sum(column) for column in _rows(ledger, 0))


def _rows(ledger: Ledger, index: int) -> list[list[int]]:
    """Return the columns of one account."""
    found = []
    for column in ledger.columns():
        width = len(column) // len(ledger.flags)
        found.append(list(column[index * width : (index + 1) * width]))
    return found


@lasting
@given(tariff_files(), READINGS, st.integers(1, 10**6), st.integers(0, 12))
def test_p9_a_top_up_and_a_charge_commute(
    tariff: TariffFile, readings: list[tuple[int, list[int]]], amount_fen: int, place: int
) -> None:
    early = Household(tariff)
    late = Household(tariff)
    early.ledger.top_up(1, 1, amount_fen)
    for at, reading in enumerate(readings):
        if at == place:
            late.ledger.top_up(1, 1, amount_fen)
        early.read(*reading)
        late.read(*reading)
    late.ledger.top_up(1, 1, amount_fen)
    assert _rows(early.ledger, 1) == _rows(late.ledger, 1)


@lasting
@given(tariff_files(), st.integers(0, 30 * 86400), st.lists(ENERGY, min_size=4, max_size=4))
def test_p10_what_was_used_before_a_change_has_the_old_price(
    tariff: TariffFile, later_s: int, used_wh: list[int]
) -> None:
    tariff = tariff.model_copy(update={"part_year": PartYear()})
    exact = Household(tariff)
    change = EPOCH + timedelta(seconds=exact.tariff.change_after(to_t2000(START)))
    if change > START + timedelta(days=400):
        return
    # The meter is read at the change itself: all energy is old, and nothing is an estimate.
    gap_s = int((change - START).total_seconds())
    exact.read(gap_s, used_wh)
    assert not exact.ledger.estimated
    ladder = exact.other.calendar.season_at(START).ladders[0]
    alone = Household(_alone(tariff, ladder), change)
    alone.read(1, _by_rate(exact, used_wh))
    standing = exact.charged_yuan - alone.charged_yuan
    per_day = Fraction(exact.other.calendar.terms_at(START).standing_yuan)
    days = (change - EPOCH - timedelta(seconds=1)).days - (START - EPOCH).days
    per_month = Fraction(exact.other.calendar.terms_at(START).monthly_yuan)
    before = change - timedelta(seconds=1)
    months = before.year * 12 + before.month - START.year * 12 - START.month
    assert standing == per_day * days + per_month * months
    # The meter is read late: the energy is divided by time and marked, and the fractions agree.
    late = Household(tariff)
    late.read(gap_s + later_s, used_wh)
    assert late.charged_yuan == late.other.charged_yuan
    assert late.ledger.estimated == (later_s > 0 and any(used_wh[: len(late.registers_wh)]))


def _alone(tariff: TariffFile, ladder: Ladder) -> TariffFile:
    """Return a tariff with only one ladder, without an end."""
    tiers = [
        {"upto_kwh": limit, "prices": list(row)}
        for row, limit in zip(ladder.prices, [*ladder.limits_kwh, None], strict=True)
        if limit is None or 0 < limit < 10**6
    ]
    plain = steady(tariff).model_copy(
        update={
            "tier_period": "none",
            "tier_reset": None,
            "service_yuan_per_kwh": None,
            "households": {},
        }
    )
    kept = tariff.tiers[0].__class__
    return plain.model_copy(update={"tiers": [kept.model_construct(**tier) for tier in tiers]})


def _by_rate(one: Household, used_wh: list[int]) -> list[int]:
    """Return the energy by rate, where a single register was read."""
    one.tariff.seek(to_t2000(START))
    if one.tariff.rate < 0:
        return used_wh
    found = [0] * 4
    found[one.tariff.rate] = used_wh[0]
    return found


@lasting
@given(
    tariff_files(),
    st.lists(st.tuples(st.integers(-7200, 40 * 86400), st.integers(0, 900)), max_size=8),
)
def test_p11_clock_steps_charge_nothing_twice(
    tariff: TariffFile, readings: list[tuple[int, int]]
) -> None:
    one = Household(tariff)
    ended = 0
    used = 0
    for gap_s, wh in readings:
        before_wh = list(one.registers_wh)
        period = one.ledger.period_t2000[1]
        outcome = one.read(gap_s, [wh] * 4)
        if outcome != CHARGED:
            # A register that is too far back is reported, and nothing is charged.
            assert one.ledger.fault_value < one.ledger.fault_limit - 3600
            one.now -= timedelta(seconds=gap_s)
            one.registers_wh[:] = array("i", before_wh)
            continue
        used += wh * len(one.registers_wh)
        assert one.ledger.period_t2000[1] >= period
        assert one.ledger.rolled == (one.ledger.period_t2000[1] != period)
        if one.ledger.rolled:
            ended += 1
        assert one.charged_yuan == one.other.charged_yuan
        assert one.ledger.used_wh[1] == one.other.used_wh <= used
    if not ended and tariff.tier_rates is None:
        assert one.ledger.used_wh[1] == used


@lasting
@given(tariff_files(), st.integers(0, 2**30), st.integers(0, 2**30 - 1), READINGS)
def test_p12_every_number_keeps_its_width(
    tariff: TariffFile, used_wh: int, debit_fen: int, readings: list[tuple[int, list[int]]]
) -> None:
    """`array` raises where a column overflows; every refusal is an outcome."""
    one = Household(tariff, used_wh=min(used_wh, 2**30 - 3))
    one.ledger.debit_fen[1] = debit_fen
    for gap_s, energy_wh in readings:
        outcome = one.read(gap_s, [wh * 9000 % 400_000_000 for wh in energy_wh])
        assert 0 <= outcome <= 9
        if outcome != CHARGED:
            break
        assert one.ledger.debit_fen[1] < 2**32
        assert one.ledger.residue_e7[1] < 10**5
        assert one.ledger.residue_e11[1] < 10**4
        assert one.ledger.used_wh[1] < 2**30
