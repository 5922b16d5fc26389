"""The coming events of a simulated world, in order of virtual time."""

import heapq
from collections.abc import Callable

from host.sim.clock import VirtualClock


class Agenda:
    """Calls, each at its time; two of the same time in the order they were added."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0

    def now_us(self) -> int:
        """Return microseconds since the start."""
        return self.clock.now_us()

    def at(self, at_us: int, do: Callable[[], None]) -> None:
        """Have `do` called at a time."""
        self._count += 1
        heapq.heappush(self._events, (at_us, self._count, do))

    def after(self, wait_us: int, do: Callable[[], None]) -> None:
        """Have `do` called after a while."""
        self.at(self.now_us() + wait_us, do)

    def next_us(self) -> int | None:
        """Return the time of the next call."""
        return self._events[0][0] if self._events else None

    def run_due(self) -> None:
        """Make all calls that are due."""
        events, clock = self._events, self.clock
        while events and events[0][0] <= clock.now_us():
            heapq.heappop(events)[2]()
