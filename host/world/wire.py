"""The firmware's master on a simulated line: no app, no threads, virtual time only."""

from typing import Protocol

import ticks
from dlt645.master import Master

from host.sim.clock import VirtualClock
from host.sim.line import Line

_MS_US = 1000


class Job(Protocol):
    """The master itself, or an object that works with it."""

    busy: int

    def poll(self, now_ticks: int) -> int: ...


class Wire:
    """A loop that serves `master` on `line` and moves the line's clock.

    step_ms     how often the board polls the line: its greatest delay
    start_ticks the ticks at the start
    """

    def __init__(
        self, line: Line, clock: VirtualClock, step_ms: int = 1, start_ticks: int = 0
    ) -> None:
        self.line = line
        self.master = Master(line.baud)
        self._clock = clock
        self._step_us = step_ms * _MS_US
        self._start_ticks = start_ticks

    @property
    def now_ticks(self) -> int:
        """Return the board's clock."""
        return (self._start_ticks + self._clock.now_us() // _MS_US) & ticks.TICKS_MASK

    def run(self, job: Job) -> int:
        """Run until `job` is no longer busy; return its last outcome."""
        outcome = 0
        while job.busy:
            outcome = self.step(job)
        return outcome

    def step(self, job: Job) -> int:
        """Serve the master, poll `job` and let time pass until the line or the board does more."""
        master = self.master
        if master.tx_size:
            self.line.baud = master.baud
            self.line.write(bytes(master.tx[: master.tx_size]))
            master.sent(self.now_ticks)
        heard = self.line.read()
        for at in range(0, len(heard), 256):
            chunk = heard[at : at + 256]
            master.feed(chunk, len(chunk), self.now_ticks)
        outcome = job.poll(self.now_ticks)
        if job.busy:
            self._wait()
        return outcome

    def _wait(self) -> None:
        """Wait one step, or all of them while a request or a reply is on its way."""
        step_us = self._step_us
        next_us = self.line.next_us()
        if next_us is not None:
            late_us = next_us - self._clock.now_us()
            step_us = max(1, -(-late_us // step_us)) * step_us
        self._clock.advance_us(step_us)
