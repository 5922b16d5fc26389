"""The billing registers of all meters of a line, once in each interval.

A reading is two questions: the energy registers, and what tells of the relay; where that tells of
an alarm that should be otherwise, the meter is told. Where a price, a season, a tier period or a
slot of a day table changed at a whole hour between two readings, the meter's freeze of that
moment is read between the two and divides them exactly.

A reading that is not plausible is asked for again at once, see books/doubt.py.

A meter that is down is asked less and less often, so that it costs little, and a round that could
not be finished goes on where it stopped, so that no meter starves.
"""

from array import array

from dlt645 import di
from micropython import const
from uplink import record
from uplink.record import STATUS_UNKNOWN

from concentrator.books import registry as meters
from concentrator.books.doubt import DOUBTED
from concentrator.line import freezes

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from concentrator.line.freezes import Freeze
    from concentrator.line.identify import Identify
    from concentrator.line.meters import LineMeters
    from concentrator.line.relays import Relays

# Steps of a reading.
_REGISTERS = const(0)
_FREEZE = const(1)
_STATUS = const(2)
_ALARM = const(3)

_VALUES = const(8)
_HOUR_S = const(3600)
_NO_ROUND = const(-1)


class Readings:
    """The task.

    rounds      intervals begun; `unfinished` of them before the last was through
    round       number of this interval since 2000
    due_t2000   when the next one begins
    """

    def __init__(
        self, line_meters: "LineMeters", freeze: "Freeze", relays: "Relays", identify: "Identify"
    ) -> None:
        self.job = line_meters.master
        self.rounds = 0
        self.unfinished = 0
        self.round = _NO_ROUND
        self.due_t2000 = 0
        self._line_meters = line_meters
        self._freeze = freeze
        self._relays = relays
        self._identify = identify
        self._values = array("i", bytes(4 * _VALUES))
        self._count = 0
        self._step = _REGISTERS
        self._index = 0
        self._cursor = 0
        self._left = 0
        self._frozen_t2000 = 0
        self._again = False  # what came was not plausible

    def begin(self) -> bool:
        """Begin an interval if it is time to."""
        line_meters = self._line_meters
        this_round = line_meters.books.t2000 // line_meters.interval_s
        if this_round == self.round:
            return False
        line_meters.asks_all = self.round == _NO_ROUND
        self.round = this_round
        self.due_t2000 = (this_round + 1) * line_meters.interval_s
        self.rounds += 1
        self.unfinished += 1 if self._left else 0
        self._left = line_meters.registry.count
        return True

    def start_now(self) -> None:
        """Begin another round at once, in which no meter is left alone."""
        self.round = _NO_ROUND

    def ask(self, now_ticks: int) -> bool:
        """Start the next question."""
        step = self._step
        if step == _REGISTERS:
            if not self._again and not self._find():
                return False
            self._line_meters.start_read(self._index, self._registers(), now_ticks)
        elif step == _FREEZE:
            self._freeze.ask(now_ticks)
        elif step == _ALARM:
            self._relays.send_alarm(self._index, now_ticks)
        else:
            self._relays.ask_status(self._index, now_ticks)
        return True

    def on_reply(self, outcome: int, now_ticks: int) -> bool:
        """The question has ended; true: the next one to the same meter follows at once."""
        step = self._step
        index = self._index
        if step == _FREEZE:
            if self._freeze.on_reply(outcome) or self._divide():
                return True
            return self._go_on()
        self._line_meters.learn(index, outcome)
        if step == _REGISTERS:
            return self._on_registers(outcome)
        if step == _ALARM:
            self._relays.on_alarm_reply(index, outcome)
            self._step = _REGISTERS
            return False
        status = self._relays.status(index, outcome)
        if self._end(status):
            return True
        if not self._relays.wants_alarm(index, status):
            return False
        self._step = _ALARM
        return True

    def _find(self) -> bool:
        """Turn to the next meter of this line; false: the round is over."""
        line_meters = self._line_meters
        registry = line_meters.registry
        while self._left:
            self._left -= 1
            index = self._cursor if self._cursor < registry.count else 0
            self._cursor = index + 1
            # Whose standard is not known yet is searched for first.
            if (
                line_meters.is_mine(index)
                and registry.protocol[index] & meters.STANDARD != record.STANDARD_AUTO
                and not line_meters.is_resting(index, self.round)
            ):
                self._index = index
                return True
        index = self._identify.pop_found()
        if index < 0:
            return False
        self._index = index
        return True

    def _registers(self) -> int:
        standard = self._line_meters.registry.protocol[self._index] & meters.STANDARD
        return di.ENERGY_BLOCK_1997 if standard == record.STANDARD_1997 else di.ENERGY_FORWARD

    def _on_registers(self, outcome: int) -> bool:
        line_meters = self._line_meters
        index = self._index
        count = line_meters.decode(self._registers(), outcome)
        if count == 0:
            self._again = False
            self._identify.missed(index)
            return False
        for place in range(_VALUES):
            self._values[place] = line_meters.values[place]
        self._count = min(count, _VALUES)
        if self._divide():
            self._step = _FREEZE
            return True
        return self._go_on()

    def _go_on(self) -> bool:
        """After the registers and what divides them; true: the relay's status follows."""
        index = self._index
        if self._too_early():
            self._step = _REGISTERS
            self._again = False
            return False
        if not self._relays.has_status(index):
            return self._end(STATUS_UNKNOWN)
        self._step = _STATUS
        return True

    def _too_early(self) -> bool:
        """Whether the freeze that divides this reading is not there yet: next time it is."""
        line_meters = self._line_meters
        if line_meters.registry.protocol[self._index] & meters.STANDARD != record.STANDARD_2007:
            return False
        t2000 = line_meters.books.dividing_t2000(self._index)
        return t2000 != 0 and line_meters.books.t2000 - t2000 < freezes.AFTER_S

    def _divide(self) -> bool:
        """Want the freeze that divides this reading, if there is another one."""
        line_meters = self._line_meters
        index = self._index
        if line_meters.registry.protocol[index] & meters.STANDARD != record.STANDARD_2007:
            return False
        books = line_meters.books
        t2000 = books.dividing_t2000(index)
        again = self._step == _FREEZE
        if again and (not self._freeze.got or t2000 <= self._frozen_t2000):
            return False
        if t2000 == 0 or books.t2000 - t2000 < freezes.AFTER_S:
            return False
        if _HOUR_S - books.t2000 % _HOUR_S < freezes.AFTER_S:
            return False  # a meter may number its freezes anew between the two questions
        self._frozen_t2000 = t2000
        return self._freeze.begin(index, t2000, freezes.dividing_kinds(books, index, t2000))

    def _end(self, status: int) -> bool:
        """Charge the reading; true: it was not plausible and is asked for again at once."""
        self._step = _REGISTERS
        books = self._line_meters.books
        outcome = books.charge_reading(self._index, self._values, self._count, status)
        self._again = outcome == DOUBTED and not self._again
        return self._again
