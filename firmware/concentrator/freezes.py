"""Daily freezes: the registers as a meter kept them at midnight.

    Freeze      one of them: when it was frozen, then its registers
    Freezes     the task: from 00:05 on each meter's newest, and those of the days that are missing

Freeze 1 is that of the midnight before now. Spec: DL/T 645-2007 050600xx, 050601xx.
"""

from dlt645 import di
from dlt645 import master as line
from micropython import const
from uplink import record

from concentrator import registry as meters

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from concentrator.asker import Asker

# Of so many days they are wanted.
DAYS = const(7)
# Meters have frozen their registers when so much of the day is over.
AFTER_S = const(300)

_DAY_S = const(86400)
_NO_ROW = const(-1)


class Freeze:
    """The freeze of one day of one meter.

    got         it was recorded
    unfrozen    freezes that a meter did not have
    """

    def __init__(self, asker: "Asker") -> None:
        self.got = False
        self.unfrozen = 0
        self._asker = asker
        self._index = 0
        self._day = 0
        self._times = False

    def begin(self, index: int, day: int) -> None:
        """Want the freeze of the midnight with which `day` began."""
        self._index = index
        self._day = day
        self._times = True
        self.got = False

    def ask(self, now_ticks: int) -> None:
        """Start the next of its two questions."""
        self._asker.start_read(self._index, self._identifier(), now_ticks)

    def take(self, outcome: int) -> bool:
        """The question has ended so; true: the other one follows."""
        asker = self._asker
        index = self._index
        asker.learn(index, outcome)
        count = asker.decode(self._identifier(), outcome)
        if self._times:
            # The registers count only if they were frozen at the midnight they are wanted for.
            if count == 1 and asker.values[0] == self._day * _DAY_S:
                self._times = False
                return True
            count = 0
        if count:
            asker.books.take_freeze(index, self._day * _DAY_S, asker.values, count)
            self.got = True
        elif outcome == line.OK or outcome == line.ABNORMAL:
            # What the meter does not have is not asked for again.
            self.unfrozen += 1
            asker.registry.freeze_day[index] = self._day
        return False

    def _identifier(self) -> int:
        first = di.DAY_FREEZE_TIME if self._times else di.DAY_FREEZE_FORWARD
        return first + self._asker.books.t2000 // _DAY_S - self._day


class Freezes:
    """The task: one freeze of each meter a turn, the oldest first, until nothing is missing."""

    def __init__(self, asker: "Asker", freeze: Freeze) -> None:
        self.job = asker.master
        self._asker = asker
        self._freeze = freeze
        self._index = _NO_ROW
        self._left = 0
        self._cursor = 0

    def begin(self) -> None:
        """Look again for what is missing, from where the last turn ended."""
        self._left = self._asker.registry.count

    def ask(self, now_ticks: int) -> bool:
        """Start the next question."""
        if self._index == _NO_ROW and not self._find():
            return False
        self._freeze.ask(now_ticks)
        return True

    def take(self, outcome: int, now_ticks: int) -> bool:
        """The question has ended."""
        if self._freeze.take(outcome):
            return True
        self._index = _NO_ROW
        if self._freeze.got:
            # Perhaps there are more of this meter.
            self.begin()
        return False

    def _find(self) -> bool:
        """Turn to the next meter that lacks a freeze; false: this turn is over."""
        if self._left == 0:
            return False
        registry = self._asker.registry
        t2000 = self._asker.books.t2000
        if t2000 < 0 or t2000 % _DAY_S < AFTER_S:
            return False
        today = t2000 // _DAY_S
        while self._left:
            self._left -= 1
            index = self._cursor
            self._cursor = index + 1 if index + 1 < registry.count else 0
            known_day = registry.freeze_day[index]
            if known_day >= today or not self._asker.is_mine(index):
                continue
            # Who was silent last is not asked for more; 1997 has no such freezes.
            speech = registry.speech[index] & meters.STANDARD
            if registry.misses(index) or speech != record.STANDARD_2007:
                continue
            first_day = today if known_day == 0 else known_day + 1
            self._index = index
            self._freeze.begin(index, max(first_day, today - DAYS + 1))
            return True
        return False
