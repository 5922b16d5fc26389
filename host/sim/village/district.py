"""A district, one day after the other: what is true in it, and what its meters show.

Energy is in whole Wh of the line's side, hour by hour. What a meter shows is divided by its ratio
and cut to 10 Wh, as its registers have it. `Day` is what is there to be read; `Truth` is what
only the simulator knows.
"""

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import numpy as np

from host.sim.village import kinds, trouble, wires
from host.sim.village.people import HOURS, settle
from host.sim.village.plan import DistrictPlan
from host.sim.village.trouble import NO_ACCOUNT, Outage, Trouble
from host.units import DAY_S, HOUR_S

Array = Any

_RATIOS = (10, 20, 30, 40, 60, 80, 100, 120, 160, 200, 300, 400)
_SHOP_RATIO = 10
_CLOCK_OFF_S = 3 * HOUR_S
NEVER_DAYS = 99
# Chances a day of an opening by the station's own people, and of a loudspeaker beside a meter.
_INNOCENT_COVER, _INNOCENT_TERMINAL, _INNOCENT_MAGNET = 0.00002, 0.0001, 0.00003
_SET_BACK_DAYS = 24
# The register is wrong, the current is not.
_MEASURES_ALL = (kinds.STUCK, kinds.WRONG_CT)


@dataclass
class Truth:
    """A day of a district as it is: Wh of the line's side."""

    supplied_wh: int
    counted_wh: int
    technical_wh: int
    stolen_wh: int
    faulty_wh: int
    transformer_wh: int
    high_w: Array  # what the 10 kV line gives it, by hour
    missing_wh: dict[int, int]  # of each account with a trouble, -1: of what has no meter
    low_minutes: Array  # of each account, below the limit; high_minutes above it
    high_minutes: Array


@dataclass
class Day:
    """A day as the meters have it; arrays have a row for each account, and 24 hours.

    start_wh      registers at its first moment, of the line's side
    counted_wh    in each hour
    reverse_wh    counted in reverse before the day
    volts         on the account's phase; three_volts of three-phase meters on phases A, B, C
    phase_ma, neutral_ma   at eight in the evening
    silent        hours in which the meter does not answer
    late_days     days until its freeze of this midnight arrives, 99: never
    offset_s      what its clock is ahead
    supply_wh     in each hour, of the line's side, as the sum meter counts it
    """

    number: int
    start_wh: Array
    counted_wh: Array
    reverse_wh: Array
    watts: Array
    volts: Array
    three_volts: Array
    phase_ma: Array
    neutral_ma: Array
    silent: Array
    late_days: Array
    offset_s: Array
    covers: Array
    terminals: Array
    opened: tuple[Array, Array]  # cover and terminal cover, today
    magnets: Array
    fails: Array
    is_cut: Array
    supply_start_wh: int
    supply_wh: Array
    head_v: Array
    head_a: Array
    supply_late_days: int
    truth: Truth
    outages: list[Outage] = field(default_factory=list)


class District:
    """See the module. Days are asked for in order, from 0 on."""

    def __init__(
        self, plan: DistrictPlan, start: date, days: int, seed: int, collection: float
    ) -> None:
        self.plan, self.start = plan, start
        self._random = random = np.random.RandomState(seed)
        self.people = settle(plan.households, plan.shops, random)
        self.count = count = plan.households + plan.shops
        self.troubles = trouble.troubles(plan, days, self._unfit(), random)
        self.outages = trouble.outages(plan, days, random)
        self._loose = [one for one in self.troubles if one.place == NO_ACCOUNT]
        kva = plan.transformer_kva or _fitting_kva(float(self.people.mean_w.sum()))
        mm2 = plan.wire_mm2 or _fitting_mm2(kva)
        is_shop = np.concatenate((self.people.is_shop, np.zeros(len(self._loose), bool)))
        self.line = wires.Line(is_shop, plan.branches, plan.span_m, mm2, kva, random)
        for one in self.troubles:
            if one.kind in (kinds.DEAD_PHASE, kinds.WRONG_CT):
                self.line.is_three[one.place] = True
                self.line.shares[one.place] = 1 / 3
        self.kva = kva
        self.ct = plan.ct or min(r for r in _RATIOS if r * 5 * 1.5 * 660 > kva * 1000)
        self.multiplier = self._multipliers()
        self._error = 1 + 0.006 * random.standard_normal(count).clip(-2.5, 2.5)
        self._supply_error = 1 + 0.002 * float(random.standard_normal())
        self._collection = (collection / 100 + 0.006 * random.standard_normal(count)).clip(0.6, 1)
        self.total_wh = (random.random_sample(count) * 6_000_000).astype(np.int64)
        self.reverse_wh = np.zeros(count, np.int64)
        self.supply_total_wh = int(random.randint(2_000_000)) * self.ct
        self.fails = random.randint(0, 40, count)
        self.covers, self.magnets = np.zeros(count, int), np.zeros(count, int)
        self.terminals = random.randint(0, 3, count)
        self._since_set_back = np.zeros(count, np.int64)
        self._more = 1 + random.random_sample(count)
        self.volt_points = self._points(plan.voltage_points)

    def _unfit(self) -> Array:
        """Return the accounts from which nothing can be stolen: nobody is there."""
        return self.people.migrant | (self.people.mean_w < 60)

    def _multipliers(self) -> Array:
        large = self.people.is_shop & (self.people.mean_w > 900)
        for one in self.troubles:
            if one.kind == kinds.WRONG_CT:
                large[one.place] = True
        return np.where(large, _SHOP_RATIO, 1)

    def _points(self, count: int) -> Array:
        """Return accounts at the beginning, in the middle and at the end of the line."""
        order = np.argsort(self.line.distance_m[: self.count])
        return order[np.unique(np.linspace(0, self.count - 1, max(count, 0)).astype(int))]

    @property
    def phases(self) -> list[str]:
        """Return the phase of each account, as a person writes it."""
        return ["ABC" if self.line.is_three[n] else "ABC"[self.line.phase[n]] for n in self._all]

    def is_cut(self, place: int, number: int) -> bool:
        """Return whether an account is cut for want of money on a day."""
        return any(
            one.kind == kinds.BY_HAND and one.place == place and one.lasts(number)
            for one in self.troubles
        )

    def date(self, number: int) -> date:
        """Return the date of a day."""
        return self.start + timedelta(number)

    @property
    def _all(self) -> range:
        return range(self.count)

    # --- a day ---------------------------------------------------------------------------------

    def day(self, number: int, celsius: float) -> Day:
        """Return the next day."""
        random = self._random
        today = self.start + timedelta(number)
        wanted_w = self.people.draw(today, celsius, random)
        wanted_w = np.vstack((wanted_w, self._unregistered(number, celsius)))
        counted, silent, reverse = self._troubled(number, wanted_w)
        phases, is_three = self.line.phase, self.line.is_three
        dark = trouble.dark_parts(self.outages, number, phases, is_three)
        actual_w = wanted_w * (1 - dark)
        live = np.ones((3, HOURS))
        source_v = 231 + 3.5 * float(random.standard_normal()) * 0.4 + _HIGH_LINE_V
        flow = self.line.flow(actual_w, source_v[None, :], live)
        volts = flow.volts[: self.count] * (dark[: self.count] < 1)
        own_w = wires.METER_W * self.count
        counted_wh = np.rint(actual_w[: self.count] * counted * self._error[:, None])
        counted_wh = counted_wh.astype(np.int64)
        supplied = actual_w.sum(axis=0) + flow.line_w + own_w
        marks = self._marks(number, dark, silent)
        made = Day(
            number=number,
            start_wh=self.total_wh.copy(),
            counted_wh=counted_wh,
            reverse_wh=self.reverse_wh.copy(),
            watts=actual_w[: self.count] * counted,
            volts=volts,
            three_volts=self._three_volts(number, flow, volts),
            phase_ma=self._phase_ma(number, actual_w, counted + reverse, flow),
            neutral_ma=self._neutral_ma(number, actual_w, counted + reverse, flow),
            silent=silent,
            late_days=self._delays(number, self.count),
            offset_s=self._offsets(number),
            supply_start_wh=self.supply_total_wh,
            supply_wh=np.rint(supplied * self._supply_error).astype(np.int64),
            head_v=flow.head_v,
            head_a=flow.head_a,
            supply_late_days=int(self._delays(number, 1)[0]),
            truth=self._truth(number, actual_w, counted_wh, flow, supplied, volts),
            outages=[one for one in self.outages if one.start_s // DAY_S == number],
            **marks,
        )
        self.reverse_wh += np.rint((actual_w[: self.count] * reverse).sum(axis=1)).astype(np.int64)
        self.total_wh += counted_wh.sum(axis=1)
        self.supply_total_wh += int(made.supply_wh.sum())
        self._set_back(number, made)
        return made

    def _unregistered(self, number: int, celsius: float) -> Array:
        """Return the watts of what has no meter."""
        rows = np.zeros((len(self._loose), HOURS))
        for row, one in enumerate(self._loose):
            if one.lasts(number):
                size_w = 350 + 9 * one.percent * (1 + (celsius > 22))
                rows[row] = size_w * (0.5 + self._random.random_sample(HOURS))
        return rows

    def _troubled(self, number: int, wanted_w: Array) -> tuple[Array, Array, Array]:
        """Return what part is counted, which hours are silent, and what part is in reverse.

        Who steals uses more: `wanted_w` changes.
        """
        counted = np.ones((self.count, HOURS))
        silent = np.zeros((self.count, HOURS), bool)
        reverse = np.zeros((self.count, HOURS))
        for one in self.troubles:
            chance = self._random.random_sample()
            if one.place == NO_ACCOUNT or not one.lasts(number):
                continue
            place, part = one.place, one.percent / 100
            if not one.is_theft:
                if one.kind == kinds.SILENT:
                    silent[place] = True
                elif one.kind == kinds.DEAD_PHASE:
                    counted[place] = 1 - part / 3
                elif one.kind != kinds.CLOCK_OFF:
                    counted[place] = 1 - part
                continue
            row = kinds.THEFTS[one.kind]
            wanted_w[place] *= 1 + row.more / 100 * (self._more[place] - 1)
            if chance * 100 >= row.days:
                continue
            hours = slice(*row.hours)
            counted[place, hours] = 1 - part
            if row.reverse:
                reverse[place, hours] = part
            if one.kind == kinds.NEUTRAL:
                silent[place, hours] = True
        return counted, silent, reverse

    def _marks(self, number: int, dark: Array, silent: Array) -> dict[str, Array]:
        """Return what the meters have counted of openings, fields and failures until today."""
        random, count = self._random, self.count
        before = self.covers.copy(), self.terminals.copy()
        self.covers += random.random_sample(count) < _INNOCENT_COVER
        self.terminals += random.random_sample(count) < _INNOCENT_TERMINAL
        self.magnets += random.random_sample(count) < _INNOCENT_MAGNET
        ended = dark[:count] > 0
        self.fails += (ended & ~np.roll(ended, 1, axis=1)).sum(axis=1)
        is_cut = np.zeros(count, bool)
        for one in self.troubles:
            chances = random.random_sample(3) * 100
            if one.place == NO_ACCOUNT or not one.lasts(number) or not one.is_theft:
                continue
            row = kinds.THEFTS[one.kind]
            again = one.kind == kinds.SET_BACK and self._goes_back(one, number)
            if one.since_day == number or again:
                self.covers[one.place] += chances[0] < row.cover
                self.terminals[one.place] += chances[1] < row.terminal
            self.magnets[one.place] += chances[2] < row.magnet
            if one.kind == kinds.NEUTRAL and silent[one.place].any():
                self.fails[one.place] += 1
            is_cut[one.place] |= one.kind == kinds.BY_HAND
        return {
            "covers": self.covers.copy(),
            "terminals": self.terminals.copy(),
            "opened": (self.covers > before[0], self.terminals > before[1]),
            "magnets": self.magnets.copy(),
            "fails": self.fails.copy(),
            "is_cut": is_cut,
        }

    def _three_volts(self, number: int, flow: wires.Flow, volts: Array) -> Array:
        """Return the voltages of three-phase meters: those of the head, lower as theirs are."""
        sag = np.where(volts > 0, volts / np.maximum(flow.head_v.mean(axis=0), 1), 0.0)
        three = flow.head_v[None] * sag[:, None, :]
        for one in self.troubles:
            if one.kind == kinds.DEAD_PHASE and one.lasts(number):
                three[one.place, one.percent % 3] = 0.0
        return three

    def _phase_ma(self, number: int, actual_w: Array, measured: Array, flow: wires.Flow) -> Array:
        """Return the current that each meter measures; `measured` is the part of the use."""
        part = measured[:, 20].copy()
        for one in self.troubles:
            if one.kind in _MEASURES_ALL and one.lasts(number):
                part[one.place] = 1.0
        amps = self._amps(actual_w, flow) * part / self._ways
        for one in self.troubles:
            if one.kind == kinds.REPLAYED and one.lasts(number):
                amps[one.place] = 0.9 + one.place % 7 / 5  # always the same
        return np.rint(1000 * amps).astype(int)

    def _neutral_ma(
        self, number: int, actual_w: Array, measured: Array, flow: wires.Flow
    ) -> Array:
        """Return the neutral's current: the phase's, but where some goes around the coil."""
        part = measured[:, 20].copy()
        for one in self.troubles:
            is_there = one.place != NO_ACCOUNT and one.lasts(number)
            if is_there and one.is_theft and kinds.THEFTS[one.kind].neutral:
                part[one.place] = 1.0
        leak = 1 + 0.01 * self._random.standard_normal(self.count)
        return np.rint(1000 * self._amps(actual_w, flow) * part * leak).astype(int)

    def _amps(self, actual_w: Array, flow: wires.Flow) -> Array:
        """Return the current of each account at eight in the evening."""
        volts = np.maximum(flow.volts[: self.count, 20], 150)
        return actual_w[: self.count, 20] / volts / wires.POWER_FACTOR

    @property
    def _ways(self) -> Array:
        return np.where(self.line.is_three[: self.count], 3, 1)

    def _delays(self, number: int, count: int) -> Array:
        """Return how many days late each freeze of this midnight comes."""
        drawn = self._random.random_sample((2, count))
        chance = self._collection if count == self.count else 0.997
        later = np.select([drawn[1] < 0.55, drawn[1] < 0.8, drawn[1] < 0.9], [1, 2, 4], NEVER_DAYS)
        delays = np.where(drawn[0] < chance, 0, later)
        if count == self.count:
            for one in self.troubles:
                if one.kind == kinds.SILENT and one.lasts(number):
                    # Once it answers it gives what it has kept, 62 days at most.
                    rest = one.until_day - number
                    delays[one.place] = rest if rest <= 60 else NEVER_DAYS
        return delays

    def _offsets(self, number: int) -> Array:
        offsets = np.zeros(self.count, int)
        for one in self.troubles:
            if one.kind == kinds.CLOCK_OFF and one.lasts(number):
                offsets[one.place] = _CLOCK_OFF_S if one.percent % 2 else -_CLOCK_OFF_S
        return offsets

    def _goes_back(self, one: Trouble, number: int) -> bool:
        return number > one.since_day and (number - one.since_day) % _SET_BACK_DAYS == 0

    def _set_back(self, number: int, made: Day) -> None:
        for one in self.troubles:
            if one.kind != kinds.SET_BACK or not one.lasts(number):
                continue
            self._since_set_back[one.place] += made.counted_wh[one.place].sum()
            if self._goes_back(one, number + 1):
                gone = int(self._since_set_back[one.place] * 6 // 10)
                self.total_wh[one.place] -= gone
                self._since_set_back[one.place] = 0
                made.truth.stolen_wh += gone
                missing_wh = made.truth.missing_wh
                missing_wh[one.place] = missing_wh.get(one.place, 0) + gone
                made.truth.counted_wh -= gone

    # --- the truth -----------------------------------------------------------------------------

    def _truth(
        self,
        number: int,
        actual_w: Array,
        counted_wh: Array,
        flow: wires.Flow,
        supplied: Array,
        volts: Array,
    ) -> Truth:
        gone = np.rint(actual_w[: self.count] - counted_wh / self._error[:, None]).sum(axis=1)
        loose_wh = int(actual_w[self.count :].sum())
        missing = {NO_ACCOUNT: loose_wh} if loose_wh else {}
        stolen, faulty = loose_wh, 0
        for one in self.troubles:
            if one.place == NO_ACCOUNT or not one.lasts(number):
                continue
            missing[one.place] = int(gone[one.place])
            if one.is_theft:
                stolen += int(gone[one.place])
            else:
                faulty += int(gone[one.place])
        is_three = self.line.is_three[: self.count, None]
        lows = (volts > 0) & (volts < LOWEST_V) & ~is_three
        highs = (volts > HIGHEST_V) & ~is_three
        lost = wires.transformer_w(self.kva, supplied)
        return Truth(
            supplied_wh=int(supplied.sum()),
            counted_wh=int(counted_wh.sum()),
            technical_wh=int(flow.line_w.sum() + wires.METER_W * self.count * HOURS),
            stolen_wh=stolen,
            faulty_wh=faulty,
            transformer_wh=int(lost.sum()),
            missing_wh=missing,
            high_w=supplied + lost,
            low_minutes=lows.sum(axis=1) * 60,
            high_minutes=highs.sum(axis=1) * 60,
        )


# GB/T 12325: 220 V, 7 % above and 10 % below.
LOWEST_V, HIGHEST_V = 198.0, 235.4
# What the 10 kV line gives more or less in each hour, in V of the low side.
_HIGH_LINE_V = np.array(
    (
        *(5.0, 5.5, 5.5, 5.5, 5.0, 4.0, 2.0, 0.5),
        *(0.0, 0.5, 0.0, -2.0, -2.5, -0.5, 1.0, 1.0),
        *(0.0, -1.5, -3.0, -4.0, -4.0, -2.5, 0.5, 3.0),
    )
)


def _fitting_kva(mean_w: float) -> int:
    """Return the size of the transformer that such a load has."""
    return min((size for size in wires.TRANSFORMERS if size * 1000 > mean_w * 5), default=630)


def _fitting_mm2(kva: int) -> int:
    return 25 if kva <= 50 else 35 if kva <= 80 else 50 if kva <= 160 else 70
