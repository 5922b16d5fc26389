"""What a tariff file makes of energy: the second opinion on every charge of a simulated world.

Whole numbers of 1e-11 yuan, from the file's decimals; nothing of the firmware's engine. Tariffs
of one set without seasons, day tables or kinds of households are enough here.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from host.frames.tariff import SetTerms, TariffFile, sets_of, t2000_of
from host.sim.clock import DAY_S

FEN_E11 = 1_000_000_000
_FIRST_YEAR, _LAST_YEAR = 2024, 2050
_NEVER_T2000 = 1 << 40


class Bill:
    """Prices of one tariff and the tier periods that it divides time into."""

    def __init__(self, tariff: TariffFile) -> None:
        terms = sets_of(tariff)[0]
        ladder = terms.seasons[0].ladders[0]
        self.rates = len(tariff.rates)
        self.prices_e8 = [[int(price.scaleb(8)) for price in row] for row in ladder.prices]
        self.limits_wh = [int(limit * 1000) for limit in ladder.limits_kwh]
        self.standing_e11 = int(terms.standing_yuan.scaleb(11))
        self._settlements = _settlements(terms)

    def period_at(self, t2000: int) -> int:
        """When the period began that `t2000` lies in; 0 where there are none."""
        at = bisect_right(self._settlements, t2000)
        return self._settlements[at - 1] if at else 0

    def change_after(self, t2000: int) -> int:
        """When the next period begins."""
        at = bisect_right(self._settlements, t2000)
        return self._settlements[at] if at < len(self._settlements) else _NEVER_T2000


def _settlements(terms: SetTerms) -> list[int]:
    if terms.period == "none":
        return []
    months = range(1, 13)
    return sorted(
        t2000_of(datetime(year, month, day, hour))
        for year in range(_FIRST_YEAR, _LAST_YEAR)
        for settled_month, day, hour in terms.settlements
        for month in (months if settled_month == 0 else (settled_month,))
    )


@dataclass
class Meter:
    """The charges of one account so far: `charge_e11` in 1e-11 yuan."""

    charge_e11: int = 0
    used_wh: int = 0
    period_t2000: int = 0
    read_t2000: int = 0
    registers_wh: list[int] = field(default_factory=list)

    def read(self, bill: Bill, registers_wh: Sequence[int], t2000: int) -> None:
        """Charge up to a reading; the first one only begins."""
        start = self.read_t2000
        end = max(start, t2000)
        if start:
            pairs = zip(registers_wh, self.registers_wh, strict=True)
            energy_wh = [(new - old) % 1_000_000_000 for new, old in pairs]
            self._divide(bill, energy_wh, start, end)
        else:
            self._enter(bill.period_at(end))
        self.registers_wh = list(registers_wh)
        self.read_t2000 = end

    def forget(self) -> None:
        """The next reading begins anew."""
        self.read_t2000 = 0

    def _divide(self, bill: Bill, energy_wh: list[int], start: int, end: int) -> None:
        """In proportion to time, where a period ends within it."""
        at = start
        while True:
            until = min(end, bill.change_after(at))
            part_wh = energy_wh
            if until < end or at > start:
                passed, whole = at - start, end - start
                part_wh = [
                    wh * (until - start) // whole - wh * passed // whole for wh in energy_wh
                ]
            self._enter(bill.period_at(at))
            self._charge(bill, part_wh)
            days = (until + DAY_S - 1) // DAY_S - (at + DAY_S - 1) // DAY_S
            self.charge_e11 += days * bill.standing_e11
            at = until
            if at >= end:
                return

    def _enter(self, period_t2000: int) -> None:
        if period_t2000 != self.period_t2000:
            self.period_t2000 = period_t2000
            self.used_wh = 0

    def _charge(self, bill: Bill, energy_wh: list[int]) -> None:
        for rate, wh in enumerate(energy_wh):
            left_wh = wh
            for tier, prices_e8 in enumerate(bill.prices_e8):
                if tier < len(bill.limits_wh):
                    room_wh = max(0, bill.limits_wh[tier] - self.used_wh)
                    step_wh = min(left_wh, room_wh)
                else:
                    step_wh = left_wh
                if step_wh:
                    # wh x 1e-8 yuan/kWh is 1e-11 yuan.
                    self.charge_e11 += step_wh * prices_e8[rate]
                    self.used_wh += step_wh
                    left_wh -= step_wh
