"""What a meter keeps of its past: settlements, freezes and the hourly load, newest first.

    monthly settlement    12, at midnight of the first day
    day freeze            62, at midnight
    timed freeze          60, as function 16H asks: monthly, daily or hourly
    instant freeze         3, as function 16H asks: now
    load                 960 hours

Times are the meter's own clock.
"""

from dataclasses import dataclass, field

from host.units import DAY_S, HOUR_S, to_datetime

SETTLEMENTS_KEPT = 12
DAYS_LIMIT = 62
TIMED_LIMIT = 60
INSTANTS_LIMIT = 3
HOURS_LIMIT = 960


@dataclass(frozen=True)
class Freeze:
    """Registers kept at a moment of the meter's own clock."""

    t2000: int
    registers_wh: tuple[int, ...]
    power_w: int = 0


@dataclass(frozen=True)
class Schedule:
    """When the timed freeze comes; None is any: every month, day or hour."""

    day: int | None
    hour: int | None
    minute: int

    def next_t2000(self, t2000: int) -> int:
        """Return the next moment behind `t2000` within its hour, else one that is far off."""
        hour_t2000 = t2000 - t2000 % HOUR_S
        at_t2000 = hour_t2000 + self.minute * 60
        if at_t2000 <= t2000:
            at_t2000 += HOUR_S
        return at_t2000

    def is_due(self, t2000: int) -> bool:
        """Return whether it comes at this moment."""
        moment = to_datetime(t2000)
        right_day = self.day is None or moment.day == self.day
        right_hour = self.hour is None or moment.hour == self.hour
        return right_day and right_hour and t2000 % HOUR_S == self.minute * 60


@dataclass
class History:
    """See the module."""

    days: list[Freeze] = field(default_factory=list)
    settlements: list[Freeze] = field(default_factory=list)
    instants: list[Freeze] = field(default_factory=list)
    timed: list[Freeze] = field(default_factory=list)
    hours: list[Freeze] = field(default_factory=list)
    schedule: Schedule | None = None

    def next_t2000(self, t2000: int) -> int:
        """Return the next moment at which something may have to be kept."""
        hour_t2000 = t2000 - t2000 % HOUR_S + HOUR_S
        if self.schedule is None:
            return hour_t2000
        return min(hour_t2000, self.schedule.next_t2000(t2000))

    def keep(self, kept: Freeze) -> None:
        """Keep the registers of this moment wherever they belong."""
        t2000 = kept.t2000
        if t2000 % HOUR_S == 0:
            self.hours = [kept, *self.hours[: HOURS_LIMIT - 1]]
        if t2000 % DAY_S == 0:
            self.days = [kept, *self.days[: DAYS_LIMIT - 1]]
            if to_datetime(t2000).day == 1:
                self.settlements = [kept, *self.settlements[: SETTLEMENTS_KEPT - 1]]
        if self.schedule is not None and self.schedule.is_due(t2000):
            self.timed = [kept, *self.timed[: TIMED_LIMIT - 1]]

    def keep_instant(self, kept: Freeze) -> None:
        """Keep the registers of this moment, as a command asks."""
        self.instants = [kept, *self.instants[: INSTANTS_LIMIT - 1]]

    def clear(self) -> None:
        """Forget all of it; the schedule stays."""
        for kept in (self.days, self.settlements, self.instants, self.timed, self.hours):
            kept.clear()
