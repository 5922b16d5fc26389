"""Read each meter's clock and the items of items.py once a day, and set the clocks.

    read all clocks and the items | set the clocks by broadcast | read all clocks again

Clocks that differ by more than `limit_s` are set together by the broadcast 08H. No meter answers
it, and a meter accepts it once a day, up to five minutes of difference, and not near midnight. A
clock that is still wrong afterwards is reported. If most meters of the line differ, the
concentrator's own clock is doubtful, and no clock is set.

All of this happens between ten minutes past and ten minutes to the hour, far from midnight.

While the concentrator's time is unknown, the meters are asked for theirs again and again, and
meters of unknown standard are searched for.

Spec: DL/T 645-2007 0400010C, 04000101, 04000102, 08H; 1997 C010, C011, 08H.
"""

from dlt645 import clock, codes, di
from dlt645 import master as line
from micropython import const
from uplink import record

from concentrator.books import registry as meters
from concentrator.line.items import ITEMS

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from concentrator.line.identify import Identify
    from concentrator.line.meters import LineMeters
    from concentrator.timekeeper import Timekeeper

# A meter's clock can be set by broadcast if it differs by no more than this.
_SET_LIMIT_S = const(300)
# Fewer meters than this are no majority against the concentrator's clock.
_MAJORITY_LEAST = const(3)

# Phases of a day.
_LOOK = const(0)
_SET = const(1)
_LOOK_AGAIN = const(2)
_OVER = const(3)
_SEEK = const(4)  # the concentrator's time is unknown

# Steps with one meter; the items follow from _ITEMS on.
_CLOCK = const(0)
_DATE = const(1)
_TIME = const(2)
_ITEMS = const(3)

_BEGINS_S = const(600)
_ENDS_S = const(3000)
_HOUR_S = const(3600)
_DAY_S = const(86400)
_TIME_SIZE = const(6)
_NO_ROW = const(-1)
# The time between two rounds of questions for the time.
_SEEK_AGAIN_MS = const(60000)
_AT_ONCE = const(-1)
_TICKS_MASK = const(0x1FFFFFFF)
_EVERYBODY = b"\x99\x99\x99\x99\x99\x99"


class Daily:
    """The daily task.

    limit_s     the difference that a clock may have
    wrong       the count of clocks reported as wrong since the start
    sets        the count of broadcasts sent
    """

    def __init__(
        self, line_meters: "LineMeters", timekeeper: "Timekeeper", identify: "Identify"
    ) -> None:
        self.job = line_meters.master
        self.limit_s = 10
        self.wrong = 0
        self.sets = 0
        self._line_meters = line_meters
        self._timekeeper = timekeeper
        self._identify = identify
        self._sought_ticks = _AT_ONCE
        self._day = -1
        self._phase = _OVER
        self._index = _NO_ROW
        self._left = 0
        self._step = _CLOCK
        self._date_t2000 = 0
        self._seen = 0  # count of clocks read
        self._differ = 0  # count of these that differ
        self._speeds = 0  # speeds of those that can be set, a bit for each place in BAUDS

    def start_again(self) -> None:
        """Begin again today, at the next time that is far enough from the hour."""
        self._day = -1

    def ask(self, now_ticks: int) -> bool:
        """Start the next read or the broadcast; return false if nothing is due."""
        line_meters = self._line_meters
        t2000 = line_meters.books.t2000
        if t2000 < 0:
            return self._seek(now_ticks)
        if not _BEGINS_S <= t2000 % _HOUR_S < _ENDS_S:
            return False
        today = t2000 // _DAY_S
        if today != self._day:
            self._day = today
            self._begin(_LOOK)
        while self._phase != _OVER:
            if self._phase == _SET:
                if self._speeds:
                    self._send_time(now_ticks)
                    return True
                self._begin(_LOOK_AGAIN)
            elif self._find():
                line_meters.start_read(self._index, self._identifier(), now_ticks)
                return True
            elif self._phase == _LOOK and self._differ:
                self._begin(_SET)
            else:
                self._phase = _OVER
        return False

    def on_reply(self, outcome: int, now_ticks: int) -> bool:
        """Process a reply; return true if the read of the time follows that of the date."""
        if self._phase == _SET:
            return False
        line_meters = self._line_meters
        index = self._index
        line_meters.learn(index, outcome)
        if outcome != line.OK and outcome != line.ABNORMAL:
            # A silent meter is asked again tomorrow.
            self._index = _NO_ROW
            return False
        identifier = self._identifier()
        count = line_meters.decode(identifier, outcome)
        step = self._step
        if step >= _ITEMS:
            if count:
                line_meters.books.note_item(index, identifier, line_meters.values, count)
            self._step = step + 1
            return False
        if count != 1:
            # Some meters have no identifier for date and time together, and some have no clock.
            self._step = _DATE if step == _CLOCK else _ITEMS
            return False
        if step == _DATE:
            self._date_t2000 = line_meters.values[0]
            self._step = _TIME
            return True
        self._step = _ITEMS
        moment = line_meters.values[0] + (self._date_t2000 if step == _TIME else 0)
        if self._phase == _SEEK:
            self._timekeeper.hear(moment, now_ticks)
            return False
        self._judge(index, moment - line_meters.books.t2000)
        return False

    def _seek(self, now_ticks: int) -> bool:
        """Ask the next meter for the time; return false when all were asked in this round."""
        if self._phase != _SEEK:
            waited_ms = (now_ticks - self._sought_ticks) & _TICKS_MASK
            if self._sought_ticks != _AT_ONCE and waited_ms < _SEEK_AGAIN_MS:
                return False
            self._begin(_SEEK)
            self._identify.begin(now_ticks // _SEEK_AGAIN_MS)
        if self._find():
            self._line_meters.start_read(self._index, self._identifier(), now_ticks)
            return True
        self._phase = _OVER
        self._sought_ticks = now_ticks
        self._timekeeper.end_round(self._line_meters.number, now_ticks)
        return False

    def _begin(self, phase: int) -> None:
        self._phase = phase
        self._left = self._line_meters.registry.count
        self._index = _NO_ROW
        if phase == _LOOK:
            self._seen = self._differ = self._speeds = 0
        elif phase == _SET and self._differ * 2 > self._seen >= _MAJORITY_LEAST:
            self._speeds = 0

    def _find(self) -> bool:
        """Turn to the next item, or the next meter; return false after the last one."""
        registry = self._line_meters.registry
        while True:
            if self._index != _NO_ROW and self._find_step():
                return True
            self._index = _NO_ROW
            if self._left == 0:
                return False
            self._left -= 1
            index = self._left
            protocol = registry.protocol[index] & meters.STANDARD
            if (
                self._line_meters.is_mine(index)
                and (self._phase == _SEEK or registry.misses(index) == 0)
                and protocol != record.STANDARD_AUTO
            ):
                self._index = index
                self._step = _DATE if protocol == record.STANDARD_1997 else _CLOCK

    def _find_step(self) -> bool:
        """Return whether there is something to ask this meter, from this step on."""
        if self._step < _ITEMS:
            return True
        if self._phase != _LOOK:
            return False
        while self._step - _ITEMS < len(ITEMS):
            row = ITEMS[self._step - _ITEMS]
            # Items with an interval of several days are spread over the days by row.
            if self._identifier() and (self._day + self._index) % row[2] == 0:
                return True
            self._step += 1
        return False

    def _identifier(self) -> int:
        protocol = self._line_meters.registry.protocol[self._index] & meters.STANDARD
        is_old = protocol == record.STANDARD_1997
        step = self._step
        if step >= _ITEMS:
            row = ITEMS[step - _ITEMS]
            return row[1] if is_old else row[0]
        if step == _CLOCK:
            return di.DATE_TIME
        if step == _DATE:
            return di.DATE_1997 if is_old else di.DATE
        return di.TIME_1997 if is_old else di.TIME

    def _judge(self, index: int, ahead_s: int) -> None:
        """Judge a meter's clock, which is `ahead_s` ahead: note it, or record it as wrong."""
        self._seen += 1
        if -self.limit_s <= ahead_s <= self.limit_s:
            return
        if self._phase == _LOOK_AGAIN:
            self.wrong += 1
            self._line_meters.books.note_line(index, record.LINE_CLOCK, 0, ahead_s)
            return
        self._differ += 1
        if -_SET_LIMIT_S <= ahead_s <= _SET_LIMIT_S:
            self._speeds |= 1 << (self._line_meters.registry.protocol[index] >> meters.SPEED_SHIFT)

    def _send_time(self, now_ticks: int) -> None:
        """Broadcast the time to all meters of one speed."""
        line_meters = self._line_meters
        place = 0
        while not self._speeds >> place & 1:
            place += 1
        self._speeds &= ~(1 << place)
        line_meters.set_speed(place)
        moment = bytearray(_TIME_SIZE)
        clock.encode_into(moment, 0, line_meters.books.t2000)
        self.sets += 1
        line_meters.master.start(_EVERYBODY, codes.BROADCAST_TIME, moment, _TIME_SIZE, now_ticks)
