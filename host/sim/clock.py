"""Time of a simulated world: microseconds on the line and `t2000`, which may run faster.

`t2000` is seconds since 2000-01-01 in the meters' local standard time.
"""

import time
from datetime import datetime
from typing import Protocol

from host.units import to_t2000

# Friday 2026-01-02 00:00, where nothing else is said.
DEFAULT_START_T2000 = to_t2000(datetime(2026, 1, 2))


class Clock(Protocol):
    """What a server of simulated meters has to know of time."""

    def now_us(self) -> int:
        """Return microseconds of real or virtual time, for what happens on the line."""

    def now_t2000(self) -> int:
        """Return the time of day in the simulated world."""


class VirtualClock:
    """Stands still until it is advanced."""

    def __init__(self, start_t2000: int = DEFAULT_START_T2000) -> None:
        self._start_t2000 = start_t2000
        self._us = 0

    def now_us(self) -> int:
        """Return microseconds since the start."""
        return self._us

    def now_t2000(self) -> int:
        """Return seconds since 2000."""
        return self._start_t2000 + self._us // 1_000_000

    def advance_us(self, duration_us: int) -> None:
        """Let time pass."""
        if duration_us < 0:
            raise ValueError(f"time does not run back {-duration_us} us")
        self._us += duration_us


class AcceleratedClock:
    """Real time on the line, while `t2000` runs `speed` times as fast.

    t2000 = start_t2000 + (unix time - epoch_s) * speed: processes that are told the same three
    numbers agree on the time.
    """

    def __init__(
        self,
        start_t2000: int = DEFAULT_START_T2000,
        speed: int = 1,
        epoch_s: float | None = None,
    ) -> None:
        self.start_t2000 = start_t2000
        self.speed = speed
        self.epoch_s = time.time() if epoch_s is None else epoch_s

    def now_us(self) -> int:
        """Return microseconds of a clock that is never set and only goes forward."""
        return time.monotonic_ns() // 1000

    def now_t2000(self) -> int:
        """Return seconds since 2000."""
        return self.start_t2000 + int((time.time() - self.epoch_s) * self.speed)
