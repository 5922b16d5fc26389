"""Run several transactions that belong together: the base class of these jobs.

A job uses its line alone until `busy` is 0. The caller polls it instead of its master; the adapter
serves the master as always. The speed may change between transactions: see `Master.baud`.
"""

from dlt645 import master


class Job:
    """A sequence of transactions: `_next` of a subclass decides what follows each outcome."""

    def __init__(self, link: "master.Master") -> None:
        self.busy = 0
        self._link = link

    def poll(self, now_ticks: int) -> int:
        """Continue; return IDLE, BUSY, or, once, the outcome."""
        if not self.busy:
            return master.IDLE
        outcome = self._link.poll(now_ticks)
        if outcome != master.BUSY:
            outcome = self._next(outcome, now_ticks)
            if outcome != master.BUSY:
                self.busy = 0
        return outcome

    def _next(self, outcome: int, now_ticks: int) -> int:
        """Judge the outcome of a transaction: start another and return BUSY, or end the job."""
        raise NotImplementedError
