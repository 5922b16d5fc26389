"""What readings cost by a tariff file, in fractions: a second opinion on the device.

Written from docs/PREPAYMENT.md alone. It shares the tariff file with the device, not its image,
not its arithmetic and not its way through the calendar.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from host.frames.tariff_terms import (
    Ladder,
    SeasonTerms,
    SetTerms,
    TariffFile,
    free_settlement,
    rate_at,
    sets_of,
    slots_of,
)
from host.units import EPOCH, to_t2000
from host.words import _

REGISTER_MODULUS_WH = 10**9
_DAY = timedelta(days=1)
_SHORTEST_MONTH = timedelta(days=28, seconds=-1)


def continues(registers_wh: Sequence[int], before_wh: Sequence[int]) -> bool:
    """Return whether no register went back; one that passed its last digit did not."""
    return all(
        (new - old) % REGISTER_MODULUS_WH <= REGISTER_MODULUS_WH // 2
        for new, old in zip(registers_wh, before_wh, strict=True)
    )


@dataclass(frozen=True)
class Line:
    """Energy at one price, or (`rate` None) standing charges; `start` is when its share began.

    `price` holds the service fee `service`; both are 0 for energy that is `free`.
    """

    start: datetime
    period: datetime | None
    tier: int
    rate: int | None
    wh: int
    price: Fraction
    yuan: Fraction
    service: Fraction = Fraction(0)
    free: bool = False


class Period(NamedTuple):
    """A tier period: "month" or "year", and when it began."""

    kind: str
    start: datetime

    @property
    def t2000(self) -> int:
        """Return how records name the period."""
        return to_t2000(self.start) + ("none", "month", "year").index(self.kind)

    def ends_with(self, following: "Period | None") -> bool:
        """Return whether another period begins where `following` holds."""
        return following is None or self.kind != following.kind or self.start < following.start


class Span(NamedTuple):
    """Months of a year as one kind of household."""

    household: int
    months: int


class HouseholdError(ValueError):
    """The kind of household cannot change now; the text says why."""


class Calendar:
    """Which terms hold when."""

    def __init__(self, tariff: TariffFile) -> None:
        self.tariff = tariff
        self.sets = sets_of(tariff)
        # Between both nothing changes: most readings need not look.
        self._quiet = (EPOCH, EPOCH)

    def terms_at(self, moment: datetime) -> SetTerms:
        """Return the set in force."""
        return self.sets[self._position(moment)]

    def _position(self, moment: datetime) -> int:
        return sum(terms.start <= moment for terms in self.sets) - 1

    def season_at(self, moment: datetime) -> SeasonTerms:
        """Return the season in force."""
        seasons = sorted(self.terms_at(moment).seasons, key=lambda one: (one.month, one.day))
        begun = [one for one in seasons if (one.month, one.day) <= (moment.month, moment.day)]
        return (begun or seasons)[-1]

    def period_at(self, moment: datetime) -> Period | None:
        """Return the tier period; None without one."""
        position = self._position(moment)
        terms = self.sets[position]
        if terms.period == "none":
            return None
        begun = [one for one in _settlements(terms, moment.year) if one <= moment]
        begun += [max(_settlements(terms, moment.year - 1))]
        period = max(*begun, EPOCH)
        # A set that settles in another way than the one before it settles when it begins.
        settling = [(one.period, one.settlements) for one in self.sets]
        changed = [at for at in range(1, position + 1) if settling[at] != settling[at - 1]]
        return Period(terms.period, max([period, *(self.sets[at].start for at in changed[-1:])]))

    def months_at(self, moment: datetime, began: Period | None = None) -> tuple[int, int]:
        """Return how many months the tier year of `moment` has, and how many are left of it.

        `began` is the account's period, where that began later than the file still says.
        """
        terms = self.terms_at(moment)
        period = self.period_at(moment)
        if period is None or period.kind != "year":
            return 1, 1
        if began is not None and began.start > period.start:
            period = began
        ends = [*_settlements(terms, moment.year), min(_settlements(terms, moment.year + 1))]
        end = min(one for one in ends if one > moment)
        starts = [period.start]
        while _a_month_after(period.start, len(starts)) < end:
            starts.append(_a_month_after(period.start, len(starts)))
        return len(starts), len(starts) - sum(one <= moment for one in starts) + 1

    def free_period_at(self, moment: datetime) -> datetime | None:
        """Return when the free period began; None without one."""
        settlement = free_settlement(self.tariff)
        if settlement is None:
            return None
        return max(one for one in _free_settlements(settlement, moment) if one <= moment)

    def changes(self, start: datetime, end: datetime) -> list[datetime]:
        """Return every moment between both at which a reading has to be divided."""
        if self._quiet[0] <= start and end <= self._quiet[1]:
            return []
        found = list(self._changes(start, end))
        if not found:
            self._quiet = (start, min(self._changes(start, end + 31 * _DAY), default=end))
        return found

    def _changes(self, start: datetime, end: datetime) -> Iterator[datetime]:
        found = {terms.start for terms in self.sets}
        settlement = free_settlement(self.tariff)
        if settlement is not None:
            for year in range(start.year, end.year + 1):
                found.update(_free_settlements(settlement, datetime(year, 1, 1)))
        for terms in self.sets:
            for year in range(start.year, end.year + 1):
                found.update(_settlements(terms, year))
                if len(terms.seasons) > 1:
                    found.update(datetime(year, one.month, one.day) for one in terms.seasons)
        if self.tariff.clock_tells_rate:
            day = datetime.combine(start.date(), datetime.min.time())
            while day < end:
                # A set that begins within the day may have other day tables from then on.
                for moment in (day, *(one.start for one in self.sets if day < one.start)):
                    if moment < day + _DAY:
                        slots = slots_of(self.tariff, self.season_at(moment), day.date())
                        found.update(day + timedelta(minutes=minute) for minute, _rate in slots)
                day += _DAY
        # Only what belongs to the terms in force divides.
        return (at for at in sorted(found) if start < at < end and self._divides(at))

    def _divides(self, at: datetime) -> bool:
        before = at - timedelta(seconds=1)
        terms = self.terms_at(before)
        return (
            terms is not self.terms_at(at)
            or at in _settlements(terms, at.year)
            or (len(terms.seasons) > 1 and self.season_at(before) is not self.season_at(at))
            or self.tariff.clock_tells_rate
            or self.free_period_at(before) != self.free_period_at(at)
        )


def _settlements(terms: SetTerms, year: int) -> list[datetime]:
    """Return all settlements of a year."""
    if terms.period == "month":
        _month, day, hour = terms.settlements[0]
        return [datetime(year, month, day, hour) for month in range(1, 13)]
    return [datetime(year, month, day, hour) for month, day, hour in terms.settlements]


def _free_settlements(settlement: tuple[int, int, int], moment: datetime) -> list[datetime]:
    """Return when free periods begin in the year of `moment` and the one before."""
    month, day, hour = settlement
    months = [month] if month else range(1, 13)
    years = [year for year in (moment.year - 1, moment.year) if year >= EPOCH.year] or [2000]
    return [EPOCH, *(datetime(year, one, day, hour) for year in years for one in months)]


def _a_month_after(start: datetime, count: int) -> datetime:
    """Return the same time of the month, `count` months later.

    From the 29th on it is the end of the 28th.
    """
    months = start.month - 1 + count
    first = datetime(start.year + months // 12, months % 12 + 1, 1)
    after = start - datetime(start.year, start.month, 1)
    return first + min(after, _SHORTEST_MONTH)


class Account:
    """One household: `charged_yuan` so far, `used_wh` in the tier period `period`.

    `spans` say for how many of `months` each kind of household counts; without them the present
    kind counts for all.
    """

    def __init__(self, tariff: TariffFile, household: int = 0, multiplier: int = 1) -> None:
        self.calendar = Calendar(tariff)
        self.household = household
        self.multiplier = multiplier
        self.charged_yuan = Fraction(0)
        self.used_wh = 0
        self.period: Period | None = None
        self.moment: datetime | None = None
        self.registers_wh: list[int] = []
        self.months = 0
        self.spans: list[Span] = []
        self.free_wh = 0
        self.free_period: datetime | None = None

    def go_on_from(self, other: "Account") -> None:
        """Take over what `other` used in its periods, under another tariff."""
        self.used_wh, self.period, self.moment = other.used_wh, other.period, other.moment
        self.months, self.spans = other.months, list(other.spans)
        self.free_wh, self.free_period = other.free_wh, other.free_period

    def start(self, moment: datetime, registers_wh: Sequence[int]) -> None:
        """Note the registers without a charge."""
        period = self.calendar.period_at(moment)
        self._enter_free(moment)
        if self.period is None:
            if self.moment is None and not (self.used_wh or self.spans):
                self._begin_part(moment, self.calendar.tariff.part_year.opened)
            self.period = period
        else:
            self._enter(period)
        self.moment = moment
        self.registers_wh = list(registers_wh)

    def move_in(self, moment: datetime) -> None:
        """Begin the tiers anew for another household."""
        moment = self._own(moment)
        self.used_wh = 0
        self.period = self.calendar.period_at(moment)
        self.months, self.spans = 0, []
        self._begin_part(moment, self.calendar.tariff.part_year.moved_in)

    def change_household(self, household: int, moment: datetime) -> None:
        """Make it another kind of household, by the rule of the tariff."""
        rule = self.calendar.tariff.part_year.household
        before, self.household = self.household, household
        if rule == "whole" or self.period is None or before == household:
            if self.spans:
                self.spans[-1] = Span(household, self.spans[-1].months)
            return
        moment = self._own(moment)
        if self.period.ends_with(self.calendar.period_at(moment)):
            raise HouseholdError(_("the tier period is over, and its last reading is due"))
        months, left = self.calendar.months_at(moment, self.period)
        left -= rule == "next_month"
        if not self.spans:
            self.months, self.spans = months, [Span(before, months)]
        past = self.spans[-1].months - left
        if past > 0 and len(self.spans) > 3:
            raise HouseholdError(_("the kind has changed three times in the tier period"))
        if past > 0:
            self.spans[-1] = Span(before, past)
            self.spans.append(Span(household, left))
        else:
            self.spans[-1] = Span(household, self.spans[-1].months)
        if len(self.spans) == 1 and self.spans[0].months == self.months:
            self.months, self.spans = 0, []

    def _own(self, moment: datetime) -> datetime:
        """Return the time in the tier period, which a clock set back does not undo."""
        return max(moment, self.period.start) if self.period else moment

    def _begin_part(self, moment: datetime, rule: str) -> None:
        months, left = self.calendar.months_at(moment)
        if rule != "whole" and left < months:
            self.months, self.spans = months, [Span(self.household, left)]

    def _enter(self, period: Period | None) -> None:
        """Begin the tiers anew where another period begins."""
        if self.period is None:
            if period is None:
                return
        elif not self.period.ends_with(period):
            return
        self.period = period
        self.used_wh = 0
        self.months, self.spans = 0, []

    def _enter_free(self, moment: datetime) -> None:
        period = self.calendar.free_period_at(moment)
        if period is not None and (self.free_period is None or self.free_period < period):
            self.free_period = period
            self.free_wh = 0

    def limits_wh(self, season: SeasonTerms) -> list[int]:
        """Return the upper limits of the tiers in whole Wh, for the account's part of a year."""
        if not self.spans:
            return [int(limit * 1000) for limit in season.ladders[self.household].limits_kwh]
        shares = [
            [Fraction(limit) * span.months for limit in season.ladders[span.household].limits_kwh]
            for span in self.spans
        ]
        return [int(sum(limits) * 1000 / self.months) for limits in zip(*shares, strict=True)]

    def read(self, moment: datetime, registers_wh: Sequence[int]) -> list[Line]:
        """Charge what was used since the last reading."""
        if self.moment is None:
            raise ValueError(_("an account is started before it is read"))
        end = max(moment, self.moment)
        used = [
            (new - old) % REGISTER_MODULUS_WH * self.multiplier
            for new, old in zip(registers_wh, self.registers_wh, strict=True)
        ]
        lines = []
        elapsed_s = int((end - self.moment).total_seconds())
        cuts = [self.moment, *self.calendar.changes(self.moment, end), end]
        for start, until in pairwise(cuts):
            share = used
            if len(cuts) > 2:
                from_s = int((start - self.moment).total_seconds())
                until_s = int((until - self.moment).total_seconds())
                share = [wh * until_s // elapsed_s - wh * from_s // elapsed_s for wh in used]
            lines += self._charge(start, until, share)
        self.moment = end
        self.registers_wh = list(registers_wh)
        return lines

    def _charge(self, start: datetime, until: datetime, share_wh: Sequence[int]) -> list[Line]:
        calendar = self.calendar
        self._enter(calendar.period_at(start))
        self._enter_free(start)
        season = calendar.season_at(start)
        lines: list[Line] = []
        for register, wh in enumerate(share_wh):
            rate = register
            if calendar.tariff.clock_tells_rate:
                rate = rate_at(calendar.tariff, season, start)
            if rate in season.uncounted:
                lines += self._line(start, season.ladders[self.household], 0, rate, wh)
            else:
                lines += self._fill(start, season, rate, wh)
        terms = calendar.terms_at(start)
        days = _midnights(until) - _midnights(start)
        months = _months_begun(until) - _months_begun(start)
        for count, each in ((days, terms.standing_yuan), (months, terms.monthly_yuan)):
            if count and each:
                standing = Fraction(each)
                lines.append(Line(start, self._begun, 0, None, 0, standing, standing * count))
        self.charged_yuan += sum((line.yuan for line in lines), Fraction(0))
        return lines

    @property
    def _begun(self) -> datetime | None:
        return self.period.start if self.period else None

    def _fill(self, start: datetime, season: SeasonTerms, rate: int, wh: int) -> Iterator[Line]:
        """Yield the energy that fills the tiers, what is free of it first."""
        limits = self.limits_wh(season)
        free_limit_wh = int(self.calendar.tariff.free_kwh(self.household) * 1000)
        while wh:
            tier = sum(limit <= self.used_wh for limit in limits)
            step = min([wh, *(limit - self.used_wh for limit in limits[tier : tier + 1])])
            free_wh = min(step, max(0, free_limit_wh - self.free_wh))
            if free_wh:
                step = free_wh
                self.free_wh += step
                nothing = Fraction(0)
                yield Line(start, self._begun, tier, rate, step, nothing, nothing, free=True)
            else:
                yield from self._line(start, season.ladders[self.household], tier, rate, step)
            self.used_wh += step
            wh -= step

    def _line(
        self, start: datetime, ladder: Ladder, tier: int, rate: int, wh: int
    ) -> Iterator[Line]:
        if wh:
            price = Fraction(ladder.prices[tier][rate])
            service = Fraction(ladder.service[rate]) if ladder.service and price else Fraction(0)
            yield Line(start, self._begun, tier, rate, wh, price, price * wh / 1000, service)


def _midnights(moment: datetime) -> int:
    """Return how many midnights passed before `moment`."""
    return -((EPOCH - moment) // _DAY)


def _months_begun(moment: datetime) -> int:
    """Return months that began before `moment`."""
    before = moment - timedelta(microseconds=1)
    return before.year * 12 + before.month
