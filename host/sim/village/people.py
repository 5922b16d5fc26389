"""Who lives in a district, and the watts that each draws: by season, weekday, hour and chance.

The draws come from `numpy.random.RandomState`, whose numbers never change between versions.
"""

from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np

Array = Any  # of numpy, whose shapes mypy does not know

HOURS = 24
_SHAPE_HOME = np.array(
    (
        *(0.45, 0.40, 0.38, 0.38, 0.42, 0.60, 0.95, 1.15),
        *(0.90, 0.75, 0.80, 1.25, 1.35, 0.95, 0.75, 0.75),
        *(0.90, 1.25, 1.75, 2.05, 1.95, 1.65, 1.10, 0.65),
    )
)
_SHAPE_SHOP = np.array(
    (
        *(0.35, 0.33, 0.33, 0.33, 0.35, 0.45, 0.75, 1.10),
        *(1.40, 1.50, 1.50, 1.55, 1.45, 1.40, 1.40, 1.45),
        *(1.50, 1.55, 1.55, 1.45, 1.20, 0.85, 0.55, 0.40),
    )
)
# When air is cooled and heated, of what the temperature asks for.
_COOLING = np.array((0.5, *(0.4,) * 6, *(0.2,) * 3, *(0.5,) * 6, *(0.4,) * 2, *(1.0,) * 5, 0.8))
_HEATING = np.array((0.2, *(0.1,) * 5, *(0.6,) * 3, *(0.3,) * 8, *(1.0,) * 5, *(0.6,) * 2))
_SPRING_FESTIVAL = {2024: (2, 10), 2025: (1, 29), 2026: (2, 17), 2027: (2, 6), 2028: (1, 26)}


def temperature(day: date, random: Any) -> float:
    """Return the day's mean temperature in degrees Celsius, of a village on the Yangtze."""
    yearly = 17 - 12 * float(np.cos(2 * np.pi * (day.timetuple().tm_yday - 18) / 365.25))
    return yearly + 2.2 * float(random.standard_normal())


def festival_days(day: date) -> int:
    """Return how many days a day lies behind the Spring Festival of its year."""
    return (day - date(day.year, *_SPRING_FESTIVAL.get(day.year, (2, 5)))).days


@dataclass
class People:
    """The accounts of a district, households first; arrays have one entry for each.

    mean_w        of an ordinary day
    cooler_w      what a hot day adds in its hottest hours; heater_w of a cold one
    away_percent  of the days on which nobody is at home
    migrant       at home only around the Spring Festival
    """

    persons: Array
    is_shop: Array
    mean_w: Array
    cooler_w: Array
    heater_w: Array
    migrant: Array
    level: Array  # a slow change of habits, as a logarithm
    away: Array  # days that the household still stays away

    def draw(self, day: date, celsius: float, random: Any) -> Array:
        """Return the watts of each account in each hour of a day, and go on by one day."""
        count = len(self.mean_w)
        noise = np.exp(0.22 * random.standard_normal((count, HOURS)))
        self.level = 0.97 * self.level + 0.045 * random.standard_normal(count)
        self._leave(random)
        shape = np.where(self.is_shop[:, None], _SHAPE_SHOP, _SHAPE_HOME)
        if day.weekday() >= 5:
            shape = shape * np.where(np.arange(HOURS) < 17, 1.12, 1.0)
        daily = np.exp(self.level + 0.16 * random.standard_normal(count))
        watts = self.mean_w[:, None] * shape * daily[:, None] * noise
        hot, cold = min(1.2, max(0.0, celsius - 26) / 6), min(1.1, max(0.0, 9 - celsius) / 9)
        weather = (
            hot * self.cooler_w[:, None] * _COOLING + cold * self.heater_w[:, None] * _HEATING
        )
        watts += weather * np.exp(0.3 * random.standard_normal((count, HOURS)))
        near = -6 <= festival_days(day) <= 12
        watts *= np.where(near & ~self.is_shop, 1.35, 1.0)[:, None]
        gone = (self.away > 0) | (self.migrant & (not near))
        # A refrigerator, a router, or nothing at all.
        idle = np.minimum(self.mean_w * 0.06, 25.0)[:, None] * (self.persons % 3 > 0)[:, None]
        return np.where(gone[:, None], idle, watts)

    def _leave(self, random: Any) -> None:
        self.away = np.maximum(0, self.away - 1)
        leaves = random.random_sample(len(self.away)) < 0.0035
        lengths = 3 + (random.random_sample(len(self.away)) * 18).astype(int)
        self.away = np.where(leaves & (self.away == 0) & ~self.is_shop, lengths, self.away)


def settle(households: int, shops: int, random: Any) -> People:
    """Return who lives there."""
    count = households + shops
    is_shop = np.arange(count) >= households
    persons = 1 + (random.random_sample(count) ** 1.3 * 5.6).astype(int)
    scatter = np.exp(0.38 * random.standard_normal(count))
    mean_w = np.where(is_shop, 620.0, 45.0 + 42.0 * persons) * scatter
    cooled = random.random_sample(count) < 0.6
    heated = random.random_sample(count) < 0.45
    size_w = 500 + 900 * random.random_sample((2, count))
    migrant = (random.random_sample(count) < 0.06) & ~is_shop
    return People(
        persons=persons,
        is_shop=is_shop,
        mean_w=mean_w,
        cooler_w=size_w[0] * cooled,
        heater_w=size_w[1] * heated * 0.8,
        migrant=migrant,
        level=0.1 * random.standard_normal(count),
        away=np.zeros(count, int),
    )
