"""Read the billing registers of all meters of a line, once in each interval.

A reading is two reads: the energy registers, then the status of the relay. If the status shows a
wrong alarm, the alarm is switched. If a price, a season, a tier period or a slot of a day table
changed at a whole hour since the last reading, the meter's freeze of that moment is read in
between, and divides the energy exactly.

A reading that is not plausible is repeated at once, see books/doubt.py.

A silent meter is asked less and less often. A round that was not finished continues in the next
interval where it stopped, so that no meter is left out.

Spec: DL/T 645-2007 0001FF00, 04000503; 1997 901F.
"""

from array import array

from dlt645 import di
from dlt645 import master as line
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
    """The task that reads billing registers.

    rounds      the count of intervals begun
    unfinished  the count of those that began before the last round was finished
    round       the number of this interval since 2000
    due_t2000   the beginning of the next interval
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
        self._again = False  # the last reading was not plausible

    def begin(self) -> bool:
        """Begin an interval if it is due; return whether it has begun."""
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
        """Begin another round at once, which asks silent meters too."""
        self.round = _NO_ROUND

    def ask(self, now_ticks: int) -> bool:
        """Start the next read; return false if the round is over."""
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
        """Process a reply; return true if the next read of the same meter follows at once."""
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
        """Turn to the next meter of this line; return false if the round is over."""
        line_meters = self._line_meters
        registry = line_meters.registry
        while self._left:
            self._left -= 1
            index = self._cursor if self._cursor < registry.count else 0
            self._cursor = index + 1
            # The standard of an `auto` meter has to be found first.
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
            if outcome in (line.OK, line.ABNORMAL):
                line_meters.books.miss(index)
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
        """Continue after the registers; return true if the read of the status follows."""
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
        """Return whether the meter may not have made the freeze that divides this reading yet."""
        line_meters = self._line_meters
        if line_meters.registry.protocol[self._index] & meters.STANDARD != record.STANDARD_2007:
            return False
        t2000 = line_meters.books.dividing_t2000(self._index)
        return t2000 != 0 and line_meters.books.t2000 - t2000 < freezes.AFTER_S

    def _divide(self) -> bool:
        """Begin with the freeze that divides this reading; return false if there is none."""
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
            return False  # the numbers of the freezes may change between the two reads
        self._frozen_t2000 = t2000
        return self._freeze.begin(index, t2000, freezes.dividing_kinds(books, index, t2000))

    def _end(self, status: int) -> bool:
        """Charge the reading; return true if it was not plausible and is repeated at once."""
        self._step = _REGISTERS
        books = self._line_meters.books
        outcome = books.charge_reading(self._index, self._values, self._count, status)
        self._again = outcome == DOUBTED and not self._again
        return self._again
