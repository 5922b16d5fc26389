"""A household's year under a tariff, by the device's core and by the fractions beside it."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import pairwise

from host.billing.pricing import Account, Line
from host.billing.profile import HOUR, Profile
from host.device.bill import settled
from host.frames.tariff_terms import TariffFile, slots_of
from host.units import to_t2000


@dataclass(frozen=True)
class Year:
    """What a year cost. Tiers from the lowest on, months from January on."""

    tariff: TariffFile
    exact_yuan: Decimal
    tier_kwh: list[Decimal]
    rate_kwh: dict[str, Decimal]
    month_yuan: list[Decimal]


def price_year(tariff: TariffFile, household: int, profile: Profile) -> Year:
    """Read a meter every hour of the year; BillError when both engines differ in a digit."""
    start = datetime(profile.year, 1, 1)
    device = settled(tariff, household, start)
    lines: list[Line] = []
    month_yuan = [Decimal(0)] * 12
    before_yuan = Decimal(0)
    for hour in profile.hours():
        end = hour.start + HOUR
        used_wh = _by_register(tariff, device.other, hour.start, hour.wh)
        lines += device.read(used_wh, to_t2000(end))
        month_yuan[hour.start.month - 1] += device.exact_yuan - before_yuan
        before_yuan = device.exact_yuan
    tiers = max((line.tier for line in lines), default=0) + 1
    tier_kwh = [Decimal(0)] * tiers
    rate_kwh = dict.fromkeys(tariff.rates, Decimal(0))
    for line in lines:
        if line.rate is not None:
            tier_kwh[line.tier] += Decimal(line.wh).scaleb(-3)
            rate_kwh[tariff.rates[line.rate]] += Decimal(line.wh).scaleb(-3)
    return Year(tariff, device.exact_yuan, tier_kwh, rate_kwh, month_yuan)


def _by_register(tariff: TariffFile, account: Account, start: datetime, wh: int) -> list[int]:
    """Return the energy of an hour by the meter's registers, in proportion to its minutes."""
    if len(tariff.rates) == 1 or tariff.clock_tells_rate:
        return [wh]
    slots = slots_of(tariff, account.calendar.season_at(start), start.date())
    counted = [0] * len(tariff.rates)
    found = [0] * len(tariff.rates)
    done_wh = 0
    first = start.hour * 60
    for (minute, rate), (end, _) in pairwise([*slots, (1440, 0)]):
        counted[rate] += max(0, min(end, first + 60) - max(minute, first))
    for rate, count in enumerate(counted):
        found[rate] = wh * sum(counted[: rate + 1]) // 60 - done_wh if count else 0
        done_wh += found[rate]
    return found
