"""Poll one line: choose the task that asks next.

    a technician's question | relay commands | standard and speed of new meters
    registers of all meters, once in each interval
    daily freezes, from 00:05 on | clocks and other items, once a day

While the time is unknown, only a technician's questions, relay commands, the search for new meters
and reads of the meters' clocks go out.

Tasks earlier in this list have priority, but every task gets its turn: technician, relays and
search leave every other turn to the rest, and if the registers fill the whole interval, one turn
in nine is left to the tasks behind them. Transactions that belong together follow each other
directly.
"""

from dlt645 import master as line
from micropython import const

from concentrator.line.daily import Daily
from concentrator.line.exchange import Exchange
from concentrator.line.freezes import AFTER_S, Freeze, Freezes
from concentrator.line.identify import Identify
from concentrator.line.meters import LineMeters
from concentrator.line.readings import Readings
from concentrator.line.relays import Relays

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from ports import Line

    from concentrator.books.books import Books
    from concentrator.line.meters import Task
    from concentrator.settings import Settings
    from concentrator.timekeeper import Timekeeper

# After this many readings, the tasks behind them get one turn.
_SHARE = const(8)

_UNSENT_MS = const(5)
_WAIT_LIMIT_MS = const(1000)
_LINE_CHUNK_SIZE = const(64)
_FIRST_BAUD = const(2400)
_DAY_S = const(86400)
_MOVES_MASK = const(0xFFFF)


class Poller:
    """A poller of the meters of line `number` on `channel`.

    exchange    a technician's question
    moves       a number that changes as long as the line works: bytes were sent, a transaction
                has ended, or there is nothing to ask
    is_held     whether no transaction may begin, because flash work is due between two of them
    is_busy     whether a transaction is under way
    """

    def __init__(
        self, number: int, channel: "Line", books: "Books", timekeeper: "Timekeeper"
    ) -> None:
        self.number = number
        self.moves = 0
        self.is_held = False
        self.is_busy = False
        self.line_meters = line_meters = LineMeters(number, books)
        self.master = line_meters.master
        self.exchange = Exchange(line_meters)
        self.relays = Relays(line_meters)
        self.identify = Identify(line_meters)
        self.freeze = Freeze(line_meters)
        self.readings = Readings(line_meters, self.freeze, self.relays, self.identify)
        self.freezes = Freezes(line_meters, self.freeze)
        self.daily = Daily(line_meters, timekeeper, self.identify)
        self._channel = channel
        self._baud = _FIRST_BAUD
        self._chunk = bytearray(_LINE_CHUNK_SIZE)
        self._tx_view = memoryview(self.master.tx)
        self._tx_sent = 0
        self._window = self._tx_view[:0]
        self._task: Task | None = None
        self._last: Task | None = None
        self._since = 0  # readings since the tasks behind them had a turn
        self._day = 0
        self._relays_had_it = False  # the turn before this one

    def configure(self, settings: "Settings") -> None:
        """Apply the settings."""
        self.line_meters.interval_s = settings.number("interval_s")
        self.relays.password[:] = settings.key("password")
        self.relays.operator[:] = settings.key("operator")
        self.relays.old_relays = settings.number("relay_1997") != 0
        self.daily.limit_s = settings.number("clock_limit_s")

    def step(self, now_ticks: int) -> int:
        """Move bytes, process an outcome, start the next transaction.

        Return the ms until the next call: 0, a few while a reply is due, else many.
        """
        channel = self._channel
        master = self.master
        if channel.waiting:
            size = channel.read_into(self._chunk)
            if size > 0:
                master.feed(self._chunk, size, now_ticks)
        task = self._task
        if self.is_busy and task is not None:
            outcome = task.job.poll(now_ticks)
            if outcome > line.BUSY:
                self._move()
                self.is_busy = False
                if not task.on_reply(outcome, now_ticks):
                    self._task = None
        if not self.is_busy:
            self.is_busy = not self.is_held and self._ask(now_ticks)
            if not self.is_busy:
                self._move()
                return self.relays.wait_ms
        if master.tx_size:
            self._send(now_ticks)
        if not master.busy or channel.waiting:
            return 0
        return _UNSENT_MS if master.tx_size else min(master.wait_ms(now_ticks), _WAIT_LIMIT_MS)

    def _send(self, now_ticks: int) -> None:
        master = self.master
        if self._baud != master.baud:
            self._baud = master.baud
            self._channel.set_baud(master.baud)
        size = master.tx_size - self._tx_sent
        window = self._window
        if self._tx_sent or len(window) != size:
            # Requests have few sizes, so the same window is used again.
            window = self._tx_view[self._tx_sent : master.tx_size]
            if self._tx_sent == 0:
                self._window = window
        taken = self._channel.write(window)
        if taken:
            self._move()
        if taken >= size:
            self._tx_sent = 0
            master.sent(now_ticks)
        elif taken > 0:
            self._tx_sent += taken

    def _move(self) -> None:
        self.moves = (self.moves + 1) & _MOVES_MASK

    def _ask(self, now_ticks: int) -> bool:
        """Start the next transaction; return false if there is none."""
        self._tx_sent = 0
        task = self._task
        if task is None or not task.ask(now_ticks):
            task = self._next(now_ticks)
        self._task = self._last = task
        return task is not None

    def _next(self, now_ticks: int) -> "Task | None":
        """Return the task that asks next, whose transaction has started; None: there is none."""
        if self.exchange.ask(now_ticks):
            # The technician's next question arrives only after another task had the line.
            return self.exchange
        if self._relays_had_it:
            self._relays_had_it = False
        elif self.relays.ask(now_ticks):
            self._relays_had_it = True
            return self.relays
        if self.line_meters.books.t2000 >= 0:
            self._begin()
            if self._last is not self.identify and self.identify.ask(now_ticks):
                return self.identify
            if self._since >= _SHARE:
                self._since = 0
                task = self._rest(now_ticks)
                if task is not None:
                    return task
            if self.readings.ask(now_ticks):
                self._since += 1
                return self.readings
            task = self._rest(now_ticks)
            if task is not None:
                return task
            if self.identify.ask(now_ticks):
                return self.identify
        elif self.daily.ask(now_ticks):
            return self.daily
        elif self.identify.ask(now_ticks):
            return self.identify
        return None

    def _rest(self, now_ticks: int) -> "Task | None":
        """Start a transaction of a task behind the readings; return it, or None."""
        if self.freezes.ask(now_ticks):
            return self.freezes
        return self.daily if self.daily.ask(now_ticks) else None

    def _begin(self) -> None:
        """Begin a round when it is due, and with each round and day the tasks of freezes."""
        day = (self.line_meters.books.t2000 - AFTER_S) // _DAY_S
        if self.readings.begin() or day != self._day:
            self._day = day
            self.freezes.begin()
            self.identify.begin(self.readings.round)

    def counts(self) -> "list[tuple[str, int]]":
        """Return the counters of this line since the start, by name."""
        return [
            ("rounds", self.readings.rounds),
            ("rounds unfinished", self.readings.unfinished),
            ("meters found", self.identify.found),
            ("meters fell silent", self.line_meters.silent),
            ("freezes not had", self.freeze.unfrozen),
            ("clocks set", self.daily.sets),
            ("clocks wrong", self.daily.wrong),
        ] + [(name, self.master.count(name)) for name in line.COUNTER_NAMES]
