"""Read freezes: the registers that a meter kept at a midnight, an hour, a switch, a settlement.

    Freeze      reads one freeze: its time, then its registers
    Freezes     the task that reads the daily freezes that are missing, from 00:05 on

Freeze 1 of a kind is the newest. An hourly freeze has only the total. If several kinds may have
the moment, the first one that has it counts. The registers of a settlement have no time of their
own, so the meter's settlement days have to confirm it.

Spec: DL/T 645-2007 05kk00nn its time, 05kk01nn forward active energy; 0001FF01 at the last
settlement, 04000B01..03 the settlement days.
"""

from civil import mmdd_of, year_of
from dlt645 import di
from dlt645 import master as line
from micropython import const
from uplink import record

from concentrator.books import registry as meters

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from concentrator.books.books import Books
    from concentrator.line.meters import LineMeters

# The kinds kk of freezes; 0 stands for a settlement. CHANGES are those of prices, seasons, day
# tables and tiers.
DAILY = b"\x06"
HOURLY = b"\x04"
CHANGES = b"\x05\x02\x03\x07\x00"
DAILY_OR_CHANGE = b"\x06\x05\x02\x03\x07\x00"
HOURLY_OR_CHANGE = b"\x04\x05\x02\x03\x07\x00"
# The daily freezes of this many days are read, unless older ones were asked for.
_DAYS = const(7)
# Meters have frozen their registers when this much of the day, or the hour, is over.
AFTER_S = const(300)

_DAILY = const(6)
_HOURLY = const(4)
_SETTLEMENT = const(0)
DAYS_LIMIT = const(62)  # as many a meter keeps
_HOURLY_LIMIT = const(254)
# Within this time after a settlement there was no other one on the same day of a month.
_SETTLEMENT_S = const(2419200)
_DAYS_OF_SETTLEMENT = const(3)
_UNUSED_DAY = const(9999)
_HOUR_S = const(3600)
_DAY_S = const(86400)
_NO_ROW = const(-1)
_KIND_SHIFT = const(16)
_REGISTERS = const(0x0100)


def dividing_kinds(books: "Books", index: int, t2000: int) -> bytes:
    """Return the kinds of freezes that may have a moment of `books.dividing_t2000`."""
    tariff = books.tariffs.find(books.registry.tariff[index])
    by_clock = tariff is not None and tariff.rate >= 0
    if t2000 % _DAY_S == 0:
        return DAILY if by_clock else DAILY_OR_CHANGE
    if tariff is None or tariff.registers > 1:
        return CHANGES
    # A slot of a day table is no switch, and there are several of them in a day.
    return HOURLY if by_clock else HOURLY_OR_CHANGE


class Freeze:
    """A reader of the freeze of one moment of one meter.

    got         whether the freeze was recorded
    unfrozen    the count of freezes that a meter did not have
    """

    def __init__(self, line_meters: "LineMeters") -> None:
        self.got = False
        self.unfrozen = 0
        self._line_meters = line_meters
        self._index = 0
        self._t2000 = 0
        self._kinds = DAILY
        self._at = 0
        self._times = 0  # reads of its time that remain

    def begin(self, index: int, t2000: int, kinds: bytes) -> bool:
        """Begin with the freeze of that moment; return false if no meter keeps it so long."""
        self._index = index
        self._t2000 = t2000
        self._kinds = kinds
        self._at = -1
        self.got = False
        return self._turn()

    def _turn(self) -> bool:
        """Turn to the next kind; return false if there is none."""
        while self._at + 1 < len(self._kinds):
            self._at += 1
            if self._number():
                self._times = 1
                if self._kinds[self._at] == _SETTLEMENT:
                    self._times = _DAYS_OF_SETTLEMENT
                return True
        return False

    def ask(self, now_ticks: int) -> None:
        """Start its next read."""
        self._line_meters.start_read(self._index, self._identifier(), now_ticks)

    def on_reply(self, outcome: int) -> bool:
        """Process a reply; return true if another read follows."""
        line_meters = self._line_meters
        index = self._index
        line_meters.learn(index, outcome)
        count = line_meters.decode(self._identifier(), outcome)
        if self._times:
            # The registers count only if they were frozen at the wanted moment.
            if count == 1 and line_meters.values[0] == self._moment():
                self._times -= 1
                return True
            count = 0
        if count:
            line_meters.books.charge_freeze(index, self._t2000, line_meters.values, count)
            self.got = True
            return False
        if outcome != line.OK and outcome != line.ABNORMAL:
            return False
        if self._kinds[self._at] == _DAILY:
            # A freeze that the meter does not have is not read again.
            self.unfrozen += 1
            line_meters.registry.freeze_day[index] = self._t2000 // _DAY_S
        return self._turn()

    def _number(self) -> int:
        """Return the number of the freeze in its kind, 1: the newest; 0: no longer kept."""
        kind = self._kinds[self._at]
        now_t2000 = self._line_meters.books.t2000
        if kind == _DAILY:
            number = 1 + now_t2000 // _DAY_S - self._t2000 // _DAY_S
            return number if number <= DAYS_LIMIT else 0
        if kind == _HOURLY:
            number = 1 + now_t2000 // _HOUR_S - self._t2000 // _HOUR_S
            return number if number <= _HOURLY_LIMIT else 0
        if kind == _SETTLEMENT and now_t2000 - self._t2000 >= _SETTLEMENT_S:
            return 0
        return 1

    def _moment(self) -> int:
        """Return the value that the read of the time has to bring."""
        if self._kinds[self._at] != _SETTLEMENT:
            return self._t2000
        if self._times < _DAYS_OF_SETTLEMENT:
            return _UNUSED_DAY  # a second settlement day could have had a later settlement
        days = self._t2000 // _DAY_S
        day = mmdd_of(year_of(days), days) % 100
        return day * 100 + self._t2000 % _DAY_S // _HOUR_S

    def _identifier(self) -> int:
        kind = self._kinds[self._at]
        if kind == _SETTLEMENT:
            if not self._times:
                return di.ENERGY_FORWARD + 1
            return di.SETTLEMENT_DAYS + 1 + _DAYS_OF_SETTLEMENT - self._times
        first = di.FREEZES | kind << _KIND_SHIFT
        return (first if self._times else first | _REGISTERS) + self._number()


class Freezes:
    """The task: it reads one freeze of each meter in turn, the oldest missing one first."""

    def __init__(self, line_meters: "LineMeters", freeze: Freeze) -> None:
        self.job = line_meters.master
        self._line_meters = line_meters
        self._freeze = freeze
        self._index = _NO_ROW
        self._left = 0
        self._cursor = 0
        self._days = _DAYS

    def seek(self) -> None:
        """Look for all that meters keep, from now to the next start."""
        self._days = DAYS_LIMIT
        self.begin()

    def begin(self) -> None:
        """Begin to look for missing freezes, from the place where the last search ended."""
        self._left = self._line_meters.registry.count

    def ask(self, now_ticks: int) -> bool:
        """Start the next read; return false if no freeze is missing."""
        if self._index == _NO_ROW and not self._find():
            return False
        self._freeze.ask(now_ticks)
        return True

    def on_reply(self, outcome: int, now_ticks: int) -> bool:
        """Process a reply; return true if another read of the same freeze follows."""
        if self._freeze.on_reply(outcome):
            return True
        self._index = _NO_ROW
        if self._freeze.got:
            # More freezes of this meter may be missing.
            self.begin()
        return False

    def _find(self) -> bool:
        """Turn to the next meter that lacks a freeze; return false after the last one."""
        if self._left == 0:
            return False
        registry = self._line_meters.registry
        t2000 = self._line_meters.books.t2000
        if t2000 < 0 or t2000 % _DAY_S < AFTER_S:
            return False
        today = t2000 // _DAY_S
        while self._left:
            self._left -= 1
            index = self._cursor
            self._cursor = index + 1 if index + 1 < registry.count else 0
            known_day = registry.freeze_day[index]
            if known_day >= today or not self._line_meters.is_mine(index):
                continue
            # A silent meter is not asked for more, and the standard of 1997 has no such freezes.
            protocol = registry.protocol[index] & meters.STANDARD
            if registry.misses(index) or protocol != record.STANDARD_2007:
                continue
            first_day = today if known_day == 0 else known_day + 1
            self._index = index
            first_day = max(first_day, today - self._days + 1)
            return self._freeze.begin(index, first_day * _DAY_S, DAILY)
        return False
