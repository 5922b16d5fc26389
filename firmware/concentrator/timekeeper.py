"""Set the board's clock from one of these sources, in this order:

    the RTC chip        at the start, before anything else
    the head-end        the time in a genuine message, see `tell`
    the meters          a majority of their clocks, which are read first after a start
    the network         a time server, if the meters gave no time; later it corrects the drift
                        of a clock that has no better source, four times a day

While the time is known, a source behind the current one may correct it only by the drift of a
clock. A technician may set any time. Each setting is a CLOCK record with its source.
"""

from micropython import const
from ports import CLOCK_NETWORK, CLOCK_RTC

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from ports import Services

    from concentrator.books.books import Books

# Sources besides those of ports.py, as CLOCK records name them.
CONSOLE = const(0)
HEAD_END = const(2)
_METERS = const(3)

# An earlier time is wrong, because the product is newer.
_LEAST_T2000 = const(789004800)
# The difference that needs no correction, and the greatest one that drift explains.
_EXACT_S = const(5)
_DRIFT_S = const(300)
# Clocks of meters agree within this, and this many of them are enough.
_AGREE_S = const(60)
_MAJORITY_LEAST = const(3)

# A clock that the meters or the network have set is compared with the network after this time,
# and the server has this long to answer.
_COMPARE_S = const(21600)
_ANSWER_S = const(60)
_NEVER_T2000 = const(0x7FFFFFFF)

_TICKS_MASK = const(0x1FFFFFFF)


class Timekeeper:
    """Sets the clock of `board` with `lines` lines of meters.

    source      the source of the time; a clock that kept running counts as an RTC chip
    is_new      true until the first call of `find`
    due_t2000   when `find` has to be called although the time is known
    """

    def __init__(self, board: "Services", books: "Books", lines: int) -> None:
        self.source = CLOCK_RTC
        self._board = board
        self._books = books
        self._lines = (1 << lines) - 1
        self._waited_for = self._lines
        # The times of the meters' clocks, each less the seconds since `_since_ticks`.
        self._heard: list[int] = []
        self._since_ticks = 0
        # The first call is due at once.
        self.due_t2000 = 0
        self.is_new = True
        self._in_vain = False

    def find(self, now_t2000: int) -> int:
        """Ask the board's sources if the time is unknown; return the time, -1: still unknown."""
        if self.is_new:
            self.is_new = False
            self.due_t2000 = _NEVER_T2000
            t2000 = self._board.ask_t2000(CLOCK_RTC)
            if t2000 >= 0 and abs(t2000 - now_t2000) > _EXACT_S:
                self.set(t2000, CLOCK_RTC)
                return t2000
        if now_t2000 < 0 and self._in_vain:
            t2000 = self._board.ask_t2000(CLOCK_NETWORK)
            if t2000 >= _LEAST_T2000:
                self.set(t2000, CLOCK_NETWORK)
                return t2000
        elif now_t2000 >= self.due_t2000:
            t2000 = self._board.ask_t2000(CLOCK_NETWORK)
            if t2000 >= 0 or now_t2000 - self.due_t2000 >= _ANSWER_S:
                self.due_t2000 = now_t2000 + _COMPARE_S
            if self.tell(t2000, CLOCK_NETWORK):
                return t2000
        return now_t2000

    def tell(self, t2000: int, source: int = HEAD_END) -> bool:
        """Set the clock to the time of a source if it may; return whether it was set."""
        now_t2000 = self._books.t2000
        if t2000 < _LEAST_T2000:
            return False
        if now_t2000 >= 0:
            ahead_s = abs(t2000 - now_t2000)
            if ahead_s <= _EXACT_S or (source > self.source and ahead_s > _DRIFT_S):
                return False
        self.set(t2000, source)
        return True

    def set(self, t2000: int, source: int) -> None:
        """Set the clock, whatever its time is."""
        self._books.set_clock(t2000, source)
        self._board.set_t2000(t2000)
        self.source = source
        self.due_t2000 = t2000 + _COMPARE_S if source >= _METERS else _NEVER_T2000
        self._heard = []

    def hear(self, t2000: int, now_ticks: int) -> None:
        """Note the time of a meter's clock, and decide once there are enough."""
        if t2000 < _LEAST_T2000:
            return
        if not self._heard:
            self._since_ticks = now_ticks
        self._heard.append(t2000 - self._passed_s(now_ticks))
        if len(self._heard) >= _MAJORITY_LEAST:
            self._decide(now_ticks)

    def end_round(self, line: int, now_ticks: int) -> None:
        """Note that all meters of a line were asked for the time; decide after the last line."""
        self._waited_for &= ~(1 << line)
        if self._waited_for:
            return
        self._waited_for = self._lines
        if self._heard:
            self._decide(now_ticks)
        self._heard = []
        self._in_vain = True

    def _decide(self, now_ticks: int) -> None:
        """Set the clock by the largest group of clocks that agree.

        It needs more than half of all clocks, and three of them or all there are.
        """
        heard = sorted(self._heard)
        least = min(_MAJORITY_LEAST, len(heard))
        best = first = 0
        for start in range(len(heard)):
            count = 0
            while start + count < len(heard) and heard[start + count] - heard[start] <= _AGREE_S:
                count += 1
            if count > best:
                best = count
                first = start
        if best >= least and 2 * best > len(heard):
            self.set(heard[first + best // 2] + self._passed_s(now_ticks), _METERS)

    def _passed_s(self, now_ticks: int) -> int:
        return ((now_ticks - self._since_ticks) & _TICKS_MASK) // 1000
