"""What a household draws, and the registers that count it: integers only, exact, repeatable.

The load is watts by hour of the day, varied from day to day by a seed. Energy is counted in
watt-seconds for each rate (time-of-use register); what the meter shows is whole units of 10 Wh,
so the rates always sum to the total, and reading often or seldom gives the same energy.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from host.units import HOUR_S

RATES = 4
UNIT_WH = 10
_UNIT_WS = UNIT_WH * HOUR_S

# Watts by hour of the day: a night, a morning, a quiet noon, an evening.
_HOUSEHOLD_W = (
    *(120, 100, 90, 90, 90, 120, 300, 650),
    *(420, 260, 220, 330, 480, 300, 230, 240),
    *(340, 780, 1250, 1400, 1150, 820, 450, 220),
)
# Rate 1 from 8 to 22 o'clock, rate 2 at night.
TWO_RATES = (1,) * 8 + (0,) * 14 + (1,) * 2


@dataclass(frozen=True)
class Load:
    """Watts at any hour. `percent` scales the household, `seed` makes each one different.

    needs_wh    energy under each rate after which nothing is drawn any more, one rate after the
                other: what is used, and in which order, then hangs on no moment; (): no end
    """

    seed: int = 0
    percent: int = 100
    watts_by_hour: tuple[int, ...] = _HOUSEHOLD_W
    needs_wh: tuple[int, ...] = ()

    def power_w(self, day: int, hour: int) -> int:
        """Return the watts drawn in `hour` of `day` (days since 2000): 70 to 130 % of usual."""
        mixed = (self.seed * 1_000_003 + day * 24 + hour + 1) * 2_654_435_761 & 0xFFFFFFFF
        usual_w = self.watts_by_hour[hour] * self.percent // 100
        return usual_w * (70 + (mixed >> 16) % 61) // 100

    def left_ws(self, rate: int, drawn_ws: Sequence[int]) -> int | None:
        """Return what may still be drawn under `rate`, in watt-seconds; None: there is no end."""
        if not self.needs_wh:
            return None
        lefts_ws = [wh * HOUR_S - ws for wh, ws in zip(self.needs_wh, drawn_ws, strict=False)]
        if rate >= len(lefts_ws) or any(lefts_ws[:rate]):
            return 0
        return lefts_ws[rate]


class Registers:
    """Forward active energy of one meter by rate, since it was made."""

    def __init__(self, start_wh: Sequence[int] = (0,) * RATES) -> None:
        self._rates_ws = [wh * HOUR_S for wh in start_wh]
        self.drawn_ws = [0] * RATES  # of it since it was made

    def add(self, rate: int, energy_ws: int) -> None:
        """Count `energy_ws` watt-seconds under `rate` 0..3."""
        self._rates_ws[rate] += energy_ws
        self.drawn_ws[rate] += energy_ws

    def clear(self) -> None:
        """Set all to zero."""
        self._rates_ws = [0] * len(self._rates_ws)

    @property
    def registers_wh(self) -> tuple[int, ...]:
        """Return what the meter shows for each rate, in Wh, always a multiple of 10."""
        return tuple(ws // _UNIT_WS * UNIT_WH for ws in self._rates_ws)
