"""What readings cost by a tariff file, in fractions: a second opinion on the device.

Written from docs/PREPAYMENT.md alone. It shares the tariff file with the device, not its image,
not its arithmetic and not its way through the calendar.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import pairwise

from host.frames.tariff_terms import SeasonTerms, SetTerms, TariffFile, rate_at, sets_of, slots_of
from host.units import EPOCH

REGISTER_MODULUS_WH = 10**9
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Line:
    """Energy at one price, or (`rate` None) standing charges; `start` is when its share began."""

    start: datetime
    period: datetime | None
    tier: int
    rate: int | None
    wh: int
    price: Fraction
    yuan: Fraction


class Calendar:
    """Which terms hold when."""

    def __init__(self, tariff: TariffFile) -> None:
        self.tariff = tariff
        self.sets = sets_of(tariff)
        # Between both nothing changes: most readings need not look.
        self._quiet = (EPOCH, EPOCH)

    def terms_at(self, moment: datetime) -> SetTerms:
        """The set in force."""
        return self.sets[self._position(moment)]

    def _position(self, moment: datetime) -> int:
        return sum(terms.start <= moment for terms in self.sets) - 1

    def season_at(self, moment: datetime) -> SeasonTerms:
        """The season in force."""
        seasons = sorted(self.terms_at(moment).seasons, key=lambda one: (one.month, one.day))
        begun = [one for one in seasons if (one.month, one.day) <= (moment.month, moment.day)]
        return (begun or seasons)[-1]

    def period_at(self, moment: datetime) -> datetime | None:
        """When the tier period began; None without one."""
        position = self._position(moment)
        terms = self.sets[position]
        if terms.period == "none":
            return None
        begun = [one for one in _settlements(terms, moment.year) if one <= moment]
        begun += [max(_settlements(terms, moment.year - 1))]
        period = max(*begun, EPOCH + timedelta(seconds=1))
        # A set that settles in another way than the one before it settles when it begins.
        settling = [(one.period, one.settlements) for one in self.sets]
        changed = [at for at in range(1, position + 1) if settling[at] != settling[at - 1]]
        return max([period, *(self.sets[at].start for at in changed[-1:])])

    def changes(self, start: datetime, end: datetime) -> list[datetime]:
        """Every moment between both at which a reading has to be divided."""
        if self._quiet[0] <= start and end <= self._quiet[1]:
            return []
        found = list(self._changes(start, end))
        if not found:
            self._quiet = (start, min(self._changes(start, end + 31 * _DAY), default=end))
        return found

    def _changes(self, start: datetime, end: datetime) -> Iterator[datetime]:
        found = {terms.start for terms in self.sets}
        for terms in self.sets:
            for year in range(start.year, end.year + 1):
                found.update(_settlements(terms, year))
                if len(terms.seasons) > 1:
                    found.update(datetime(year, one.month, one.day) for one in terms.seasons)
        if self.tariff.clock_tells_rate:
            day = datetime.combine(start.date(), datetime.min.time())
            while day < end:
                slots = slots_of(self.tariff, self.season_at(day), day.date())
                found.update(day + timedelta(minutes=minute) for minute, _ in slots)
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
        )


def _settlements(terms: SetTerms, year: int) -> list[datetime]:
    """All settlements of a year."""
    if terms.period == "month":
        _, day, hour = terms.settlements[0]
        return [datetime(year, month, day, hour) for month in range(1, 13)]
    return [datetime(year, month, day, hour) for month, day, hour in terms.settlements]


class Account:
    """One household: `charged_yuan` so far, `used_wh` in the tier period begun at `period`."""

    def __init__(self, tariff: TariffFile, household: int = 0, multiplier: int = 1) -> None:
        self.calendar = Calendar(tariff)
        self.household = household
        self.multiplier = multiplier
        self.charged_yuan = Fraction(0)
        self.used_wh = 0
        self.period: datetime | None = None
        self.moment: datetime | None = None
        self.registers_wh: list[int] = []

    def start(self, moment: datetime, registers_wh: Sequence[int]) -> None:
        """Note the registers without a charge."""
        period = self.calendar.period_at(moment)
        if self.period is not None and period != self.period:
            self.used_wh = 0
        self.period = period
        self.moment = moment
        self.registers_wh = list(registers_wh)

    def read(self, moment: datetime, registers_wh: Sequence[int]) -> list[Line]:
        """Charge what was used since the last reading."""
        if self.moment is None:
            raise ValueError("an account is started before it is read")
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
        period = calendar.period_at(start)
        if period != self.period:
            self.period = period
            self.used_wh = 0
        season = calendar.season_at(start)
        ladder = season.ladders[self.household]
        limits = [int(limit * 1000) for limit in ladder.limits_kwh]
        lines = []
        for register, left_wh in enumerate(share_wh):
            rate = register
            if calendar.tariff.clock_tells_rate:
                rate = rate_at(calendar.tariff, season, start)
            while left_wh:
                tier = sum(limit <= self.used_wh for limit in limits)
                wh = min([left_wh, *(limit - self.used_wh for limit in limits[tier : tier + 1])])
                price = Fraction(ladder.prices[tier][rate])
                lines.append(Line(start, period, tier, rate, wh, price, price * wh / 1000))
                self.used_wh += wh
                left_wh -= wh
        days = _midnights(until) - _midnights(start)
        standing = Fraction(calendar.terms_at(start).standing_yuan)
        if days and standing:
            lines.append(Line(start, period, 0, None, 0, standing, standing * days))
        self.charged_yuan += sum((line.yuan for line in lines), Fraction(0))
        return lines


def _midnights(moment: datetime) -> int:
    """Midnights before `moment`."""
    return -((EPOCH - moment) // _DAY)
