"""Find the standard and the speed of meters, and keep them in their METER records.

The task searches for meters registered as `auto`, before their first reading, and for meters that
have not answered for long, because the meter or its speed may have changed. It tries one speed at
a time, and other tasks use the line in between. The speed of the meter found last comes first.
"""

from dlt645 import master as line
from dlt645.probe import BAUDS, Probe
from micropython import const
from uplink import record

from concentrator.books import registry as meters
from concentrator.line.meters import SILENT_MISSES

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from concentrator.line.meters import LineMeters

# A meter is searched for after each 8 transactions in a row without a reply.
_MISSES = const(8)

_NO_ROW = const(-1)


class Identify:
    """The task that searches for standards and speeds.

    found       the count of meters found
    """

    def __init__(self, line_meters: "LineMeters") -> None:
        self.job = Probe(line_meters.master)
        self.found = 0
        self._line_meters = line_meters
        self._index = _NO_ROW
        self._missed = _NO_ROW
        self._ready = _NO_ROW
        self._left = 0
        self._cursor = 0
        self._time = 0
        self._step = 0
        self._place = 0

    def begin(self, time: int) -> None:
        """Begin to search for meters of unknown standard; `time` is the number of the round."""
        self._time = time
        self._left = self._line_meters.registry.count if self._line_meters.registry.unknown else 0

    def missed(self, index: int) -> None:
        """Note that a meter did not answer, or that its reply could not be decoded."""
        misses = self._line_meters.registry.misses(index)
        if misses and misses % _MISSES == 0:
            self._missed = index

    def pop_found(self) -> int:
        """Return, once, the row of a meter just found, whose first reading is due; -1: none."""
        index = self._ready
        self._ready = _NO_ROW
        return index

    def ask(self, now_ticks: int) -> bool:
        """Try the next speed."""
        line_meters = self._line_meters
        if self._index != _NO_ROW and not line_meters.is_mine(self._index):
            self._index = _NO_ROW
        if self._index == _NO_ROW and not self._find():
            return False
        line_meters.registry.address_into(self._index, line_meters.address)
        place = self._place_of(self._step)
        line_meters.set_speed(place)
        self.job.start(line_meters.address, (BAUDS[place],), now_ticks)
        return True

    def on_reply(self, outcome: int, now_ticks: int) -> bool:
        """Keep the standard and speed of a meter that answered, else turn to the next speed."""
        if outcome == line.OK or outcome == line.ABNORMAL:
            self._remember()
            return False
        self._step += 1
        if self._step >= len(BAUDS):
            if self._is_unknown(self._index):
                self._line_meters.learn(self._index, line.TIMEOUT)
            self._index = _NO_ROW
        return False

    def _find(self) -> bool:
        """Turn to the next meter to search for; return false if there is none."""
        line_meters = self._line_meters
        self._step = 0
        self._index = self._missed
        self._missed = _NO_ROW
        while self._left and self._index == _NO_ROW:
            self._left -= 1
            index = self._cursor if self._cursor < line_meters.registry.count else 0
            self._cursor = index + 1
            if (
                self._is_unknown(index)
                and line_meters.is_mine(index)
                and not line_meters.is_resting(index, self._time)
            ):
                self._index = index
        return self._index != _NO_ROW

    def _is_unknown(self, index: int) -> bool:
        protocol = self._line_meters.registry.protocol[index]
        return protocol & meters.STANDARD == record.STANDARD_AUTO

    def _place_of(self, step: int) -> int:
        """Return the place in BAUDS of a step: the speed found last, then the others in order."""
        if step == 0:
            return self._place
        return step - 1 if step <= self._place else step

    def _remember(self) -> None:
        """Keep the standard and the speed at which the meter has answered."""
        line_meters = self._line_meters
        registry = line_meters.registry
        index = self._index
        self._place = self._place_of(self._step)
        is_old = self.job.standard == 1997
        standard = record.STANDARD_1997 if is_old else record.STANDARD_2007
        missed = registry.misses(index)
        row = registry.row(index)
        is_news = row[record.METER_STANDARD] != standard or row[record.METER_SPEED] != self._place
        row[record.METER_STANDARD] = standard
        row[record.METER_SPEED] = self._place
        self._index = _NO_ROW
        if is_news and not line_meters.books.set_meter(index, row):
            return
        registry.notes[index] = 0
        self.found += 1
        self._ready = index
        if missed >= SILENT_MISSES:
            line_meters.books.note_line(index, record.LINE_ANSWERS, missed)
