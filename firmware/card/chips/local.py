"""Make a card reader of the board from any chip of this package: a Carrier for a redemption.

    search for a card -> card there: serve operations, check its presence -> card gone

The chip works in `step`, a few milliseconds at a time. What is written is read back. After a
failed operation the card has to answer a read, or it counts as gone; a card that is put back is a
new insertion.
"""

from micropython import const

from card import carrier as port
from card.chips.outcome import ABSENT, MISMATCH, OK, OUT_OF_RANGE, pause, reached, ticks_after

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable

    from card.chips.outcome import Bytes, Medium, Steps

    # Shows a result to the card's holder: the code, whether money was credited, the account.
    Display = Callable[[int, bool, int], object]

_DATA_SIZE = const(224)
_SEARCH_MS = const(250)
_CHECK_MS = const(500)

_NOTHING = const(0)
_SERIAL = const(8)
_SERIAL_SIZE = const(8)
_READING = const(1)
_WRITING = const(2)


class LocalCarrier:
    """A CardReader of ports.py over a chip; its owner calls `step` continuously.

    trouble     the outcome of the last search or operation, of card/chips/outcome.py
    """

    def __init__(self, medium: "Medium", display: "Display | None" = None) -> None:
        self.present = 0
        self.uid = bytearray(port.UID_SIZE)
        self.size = 0
        self.data = bytearray(_DATA_SIZE)
        self.trouble = OK
        self._medium = medium
        # Writes a permanent serial number to a card that has none; only some chips can.
        self._name: Callable[[bytes], Steps] | None = getattr(medium, "write_serial", None)
        self._display = display
        self._inserted = 0  # count of insertions
        self._task = _NOTHING
        self._offset = 0
        self._size = 0
        self._source: Bytes = self.data
        self._outcome = port.IDLE
        self._byte = bytearray(1)
        self._life = self._live()
        next(self._life)

    def start_read(self, offset: int, size: int) -> None:
        """Begin to read `size` bytes at `offset` into `data`."""
        self._start(_READING, offset, size)

    def start_write(self, offset: int, buf: "bytearray | memoryview", size: int) -> None:
        """Begin to write `buf[:size]` at `offset`."""
        self._source = buf
        self._start(_WRITING, offset, size)

    def poll(self, now_ticks: int) -> int:
        """Return BUSY, then once OK or FAILED."""
        outcome = self._outcome
        if outcome != port.BUSY:
            self._outcome = port.IDLE
        return outcome

    def show(self, code: int, credited: bool, index: int) -> None:
        """Show the result on the display."""
        if self._display is not None:
            self._display(code, credited, index)

    def step(self, now_ticks: int) -> None:
        """Continue with the chip for a few ms."""
        self._life.send(now_ticks)

    def _start(self, task: int, offset: int, size: int) -> None:
        self._offset = offset
        self._size = size
        self._task = task
        self._outcome = port.BUSY

    def _live(self) -> "Steps":
        """Search for a card and serve it while it is there, without end."""
        medium = self._medium
        yield
        while True:
            self.trouble = yield from medium.connect()
            # An operation on a card that is gone must not apply to the next card.
            self._end(False)
            if self.trouble == OK:
                self._arrive()
                self.trouble = yield from self._serve()
                self.present = 0
            medium.release()
            yield from pause(_SEARCH_MS)

    def _serve(self) -> "Steps":
        """Serve the card until it is gone; return the outcome that showed it."""
        medium = self._medium
        now_ticks = yield
        check_ticks = ticks_after(now_ticks, _CHECK_MS)
        while medium.there():
            outcome = OK
            asked = self._task != _NOTHING
            if asked:
                outcome = self.trouble = yield from self._work()
            elif not reached(now_ticks, check_ticks):
                now_ticks = yield
                continue
            if outcome != OK or not asked:
                # Any byte proves that the card is there: another card would not answer.
                gone = yield from medium.read(0, 1, self._byte)
                if gone != OK:
                    return gone
            named = outcome == OK and self._names_card()
            self._end(outcome == OK)
            if named:
                return ABSENT  # the card is found again with its serial number
            now_ticks = yield
            check_ticks = ticks_after(now_ticks, _CHECK_MS)
        return ABSENT

    def _work(self) -> "Steps":
        """Carry out the operation that was started."""
        medium = self._medium
        if self._size > _DATA_SIZE:
            return OUT_OF_RANGE
        if self._task == _WRITING:
            if self._name is not None and self._names_card():
                outcome = yield from self._name(bytes(self._source[:_SERIAL_SIZE]))
            else:
                outcome = yield from medium.write(self._offset, self._size, self._source)
            if outcome != OK:
                return outcome
        outcome = yield from medium.read(self._offset, self._size, self.data)
        if outcome == OK and self._task == _WRITING:
            for index in range(self._size):
                if self.data[index] != self._source[index]:
                    return MISMATCH
        return outcome

    def _names_card(self) -> bool:
        """Return whether a write is the first serial number of a card that can keep one."""
        at_serial = self._offset == _SERIAL and self._size == _SERIAL_SIZE
        nameless = self._name is not None and not any(self.uid)
        return self._task == _WRITING and at_serial and nameless

    def _arrive(self) -> None:
        for index in range(port.UID_SIZE):
            self.uid[index] = self._medium.uid[index]
        self.size = self._medium.size
        self._inserted += 1
        self.present = self._inserted

    def _end(self, good: bool) -> None:
        """End the operation that was started, if there is one."""
        if self._task != _NOTHING:
            self._task = _NOTHING
            self._outcome = port.OK if good else port.FAILED
