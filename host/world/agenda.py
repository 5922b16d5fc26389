"""What is going to happen in a simulated world, in order of virtual time."""

import heapq
from collections.abc import Callable

from host.sim.clock import VirtualClock


class Agenda:
    """Things to do, each at its time; two of the same time in the order they were put in."""

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
        """Have `do` called in a while."""
        self.at(self.now_us() + wait_us, do)

    def next_us(self) -> int | None:
        """Return when the next thing is to be done."""
        return self._events[0][0] if self._events else None

    def run_due(self) -> None:
        """Do all that is due."""
        while self._events and self._events[0][0] <= self.now_us():
            heapq.heappop(self._events)[2]()
