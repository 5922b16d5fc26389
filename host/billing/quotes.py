"""What money buys and what energy costs at the prices of a moment, for a counter that quotes them.

An account uses the energy later, at the prices of then: a quote is no bill. Where meters tell the
rate, and not the clock, the dearest rate is taken.
"""

from collections.abc import Iterator
from datetime import datetime
from fractions import Fraction

from host.billing.pricing import Calendar
from host.frames.tariff_terms import TariffFile, rate_at

_WH_PER_KWH = 1000
_FEN_PER_YUAN = 100


def _steps(
    tariff: TariffFile, household: int, used_wh: int, moment: datetime
) -> Iterator[tuple[int | None, Fraction]]:
    """Yield the room of each tier from here on in Wh, None: without end, and yuan a kWh."""
    season = Calendar(tariff).season_at(moment)
    ladder = season.ladders[household]
    limits_wh = [int(limit * _WH_PER_KWH) for limit in ladder.limits_kwh]
    for tier, prices in enumerate(ladder.prices):
        told = prices[rate_at(tariff, season, moment)] if tariff.clock_tells_rate else max(prices)
        if tier == len(limits_wh):
            yield None, Fraction(told)
        elif used_wh < limits_wh[tier]:
            yield limits_wh[tier] - used_wh, Fraction(told)
            used_wh = limits_wh[tier]


def energy_wh_for(
    tariff: TariffFile, household: int, used_wh: int, moment: datetime, amount_fen: int
) -> int:
    """Return how many whole Wh an amount buys for an account that has used `used_wh`."""
    left = Fraction(amount_fen, _FEN_PER_YUAN)
    energy_wh = 0
    for room_wh, price in _steps(tariff, household, used_wh, moment):
        bought_wh = int(left / price * _WH_PER_KWH) if price else room_wh or 0
        if room_wh is None or bought_wh < room_wh:
            return energy_wh + bought_wh
        energy_wh += room_wh
        left -= price * room_wh / _WH_PER_KWH
    return energy_wh


def amount_fen_for(
    tariff: TariffFile, household: int, used_wh: int, moment: datetime, energy_wh: int
) -> int:
    """Return what energy costs an account that has used `used_wh`, in fen, rounded up."""
    yuan = Fraction(0)
    for room_wh, price in _steps(tariff, household, used_wh, moment):
        taken_wh = energy_wh if room_wh is None else min(room_wh, energy_wh)
        yuan += price * taken_wh / _WH_PER_KWH
        energy_wh -= taken_wh
    return -int(-yuan * _FEN_PER_YUAN // 1)
