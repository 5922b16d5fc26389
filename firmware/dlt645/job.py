"""Several transactions in a row that belong together: what they have in common.

A job has its line for itself until `busy` is 0. It is polled instead of its master; the adapter
serves the master as always. The speed may change in between: see `Master.baud`.
"""

from dlt645 import master


class Job:
    """Ask, and decide by the outcome what to ask next: `_next` of a subclass."""

    def __init__(self, link: "master.Master") -> None:
        self.busy = 0
        self._link = link

    def poll(self, now_ticks: int) -> int:
        """Advance; return IDLE, BUSY, or, once, the outcome."""
        if not self.busy:
            return master.IDLE
        outcome = self._link.poll(now_ticks)
        if outcome != master.BUSY:
            outcome = self._next(outcome, now_ticks)
            if outcome != master.BUSY:
                self.busy = 0
        return outcome

    def _next(self, outcome: int, now_ticks: int) -> int:
        """A transaction ended so: start another and return BUSY, or return the job's outcome."""
        raise NotImplementedError
