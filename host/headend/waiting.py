"""Who may begin to bring records to a busy head-end, and when the others should come again.

A concentrator sends one batch at a time, so the more of them bring a backlog at once, the longer
each batch waits. Therefore only as many begin as keep that wait short; they go on one batch each
in turn until they have brought everything. The others are told at their greeting when there will
be time for them, by the records that are before them and the rate at which records are stored.
Whoever comes earlier than that keeps its turn, and takes a free place if there is one. Who has
only a few records goes before those with a backlog.
"""

import math
import threading
from collections.abc import Iterable

# A batch may wait so long where a backlog begins, and where a turn or a few records do.
BACKLOG_WAIT_S = 1.2
TURN_WAIT_S = 1.8
FEW = 50  # records, about what one message takes
AFTER_LIMIT_S = 60
_AFTER_LEAST_S = 2
# A device comes after half to one and a half times of what it is told. It is told so much of its
# wait that few come behind their turns, when nobody might be there who brings something.
_TOLD = 0.75
_SILENT_S = 10.0  # a device repeats a message sooner
_FIRST_RECORD_S = 0.00005
_MANY = 500  # records in one commit: fewer take longer each, and tell nothing of a crowd
_STEADY = 2000  # records after which half of what a record takes is learned anew


class WaitingLine:
    """The concentrators that bring records now, and those that were told to come again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._record_s = _FIRST_RECORD_S
        self._stored = 0
        # How many records each has left and when it was heard, the longest silent first.
        self._bringing: dict[int, tuple[int, float]] = {}
        # Each turn comes when so many records are stored; behind are those of the line's end.
        self._turns: dict[int, int] = {}
        self._ends = {True: 0, False: 0}  # of those with few records, and of the others

    def enter(self, concentrator: int, left: int, wait_s: float, pace_s: float, now: float) -> int:
        """Return 0 if a concentrator may bring the `left` records that it has.

        Else return after how many seconds it may come again. `wait_s` is what the batches that
        are here wait, `pace_s` what one takes.
        """
        with self._lock:
            self._drop_silent(now)
            if not left or concentrator in self._bringing:
                return 0
            is_first = left <= FEW or self._turns.get(concentrator, math.inf) <= self._stored
            limit_s = TURN_WAIT_S if is_first else BACKLOG_WAIT_S
            if max(wait_s, len(self._bringing) * pace_s) <= limit_s:
                self._turns.pop(concentrator, None)
                self._bringing[concentrator] = left, now
                return 0
            if concentrator not in self._turns:
                self._line_up(concentrator, left)
            return self._after_s(self._turns[concentrator])

    def put_off(self, concentrator: int, wait_s: float) -> int:
        """Return after how many seconds one may come again whose batch has found no room."""
        with self._lock:
            self._bringing.pop(concentrator, None)
            self._turns[concentrator] = self._stored
        return min(AFTER_LIMIT_S, max(_AFTER_LEAST_S, round(wait_s)))

    def on_commit(
        self, lefts: Iterable[tuple[int, int]], records: int, took_s: float, now: float
    ) -> None:
        """Note what each concentrator has left, how many records were stored, and in what time."""
        with self._lock:
            for concentrator, left in lefts:
                self._bringing.pop(concentrator, None)
                if left:
                    self._bringing[concentrator] = left, now
            self._stored += records
            if records >= _MANY:
                newness = records / (records + _STEADY)
                self._record_s += newness * (took_s / records - self._record_s)

    def _drop_silent(self, now: float) -> None:
        """Give the places of those away that have not been heard for some time."""
        while self._bringing:
            concentrator, (_, heard) = next(iter(self._bringing.items()))
            if now - heard < _SILENT_S:
                return
            del self._bringing[concentrator]

    def _line_up(self, concentrator: int, left: int) -> None:
        """Give a turn behind those that have one, and behind what is being brought."""
        has_few = left <= FEW
        begun = 0 if has_few else sum(one for one, _ in self._bringing.values())
        turn = max(self._ends[has_few], self._stored + begun)
        self._turns[concentrator] = turn
        self._ends[has_few] = turn + left

    def _after_s(self, turn: int) -> int:
        wait_s = math.ceil(_TOLD * (turn - self._stored) * self._record_s)
        return min(AFTER_LIMIT_S, max(_AFTER_LEAST_S, wait_s))
