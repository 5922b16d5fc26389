"""Drive the concentrator on its board, and feed the watchdog while every task works.

This is the only asyncio of the product. Once a second it checks whether every task works: each
line, the console with its cards, the uplink, the journal, and the board's own card reader. If one
has not moved for a minute, or a step does not end, the watchdog is not fed and the board restarts.
A port without asyncio runs the same turns in a plain loop.
"""

import gc
from array import array

try:
    import asyncio
except ImportError:
    asyncio = None  # type: ignore[assignment]  # the emulated board has none

from micropython import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from ports import Timing

    class Stepper(Protocol):
        """The interface of the concentrator for its driver."""

        # The count of tasks.
        tasks: int
        # The count of pieces of work that have left garbage; `collect_garbage` sets it to 0.
        litter: int

        def step(self, now_ticks: int, now_t2000: int) -> int:
            """Do what is due; return the ms until the next call, 0: call again at once."""

        def moves(self, task: int) -> int:
            """Return a number that changes as long as the task works."""

        def signals(self) -> int:
            """Return the signals for the lamps, without BEAT."""

        def on_button(self) -> None:
            """React to a press of the button."""


# The longest time between steps. Bytes that arrive meanwhile wait in the buffers of the ports:
# about 5 at 2400 baud.
IDLE_LIMIT_MS = const(20)
_WATCH_MS = const(1000)
# Twice the longest time that a step may return, and longer than the wait for any answer.
STUCK_MS = const(60000)
# A product has to work for this time to be healthy. It is longer than STUCK_MS, so a task that
# never started is noticed before.
HEALTHY_S = const(90)
# The first lamp; the others are in concentrator/lamps.py.
BEAT = const(0x01)

# After this many pieces of work, each of which leaves at most 4 KiB, garbage is collected.
_LITTER = const(3)
_TICKS_MASK = const(0x1FFFFFFF)


def collect_garbage(app: "Stepper", board: "Timing") -> bool:
    """Collect the garbage if steps have left much; return whether that was done.

    It takes a third of the longest step, so it has a turn of its own. Otherwise the interpreter
    would do it within any step. No timer runs meanwhile, so it waits until no request leaves.
    """
    if app.litter < _LITTER:
        return False
    app.litter = 0
    board.calm()
    if hasattr(gc, "mem_free"):  # CPython frees most garbage without it
        gc.collect()
    return True


class Runner:
    """A driver of `app` on `board`.

    content_s   seconds in a row in which every task has worked
    """

    def __init__(
        self, app: "Stepper", board: "Timing", report: "Callable[[], object] | None" = None
    ) -> None:
        """Make a driver that calls `report` once, after every task has worked for HEALTHY_S."""
        self.content_s = 0
        self._report = report
        self._app = app
        self._board = board
        self._checked_ticks = now_ticks = board.now_ticks()
        # For each task: its moves at the last check, and the ticks of their last change.
        self._seen = array("i", [-1] * app.tasks)
        self._since_ticks = array("i", [now_ticks] * app.tasks)
        self._beat = 0

    def turn(self) -> int:
        """Make one step, and the watchdog check if it is due; return the ms to wait."""
        board = self._board
        if collect_garbage(self._app, board):
            return 0
        board.look()
        now_ticks = board.now_ticks()
        if board.pressed:
            board.pressed = False
            self._app.on_button()
        idle_ms = self._app.step(now_ticks, board.now_t2000())
        if (now_ticks - self._checked_ticks) & _TICKS_MASK >= _WATCH_MS:
            self._checked_ticks = now_ticks
            self._check(now_ticks)
            self._app.litter += 1  # what many small steps have left
        return idle_ms if idle_ms < IDLE_LIMIT_MS else IDLE_LIMIT_MS

    def _check(self, now_ticks: int) -> None:
        """Feed the watchdog if every task works, and light the lamps."""
        board = self._board
        if self._is_content(now_ticks):
            board.feed()
            self.content_s += 1
            self._beat ^= BEAT
            if self.content_s == HEALTHY_S and self._report is not None:
                self._report()
                self._report = None
        else:
            self.content_s = 0
        board.signal(self._app.signals() | self._beat)

    def _is_content(self, now_ticks: int) -> bool:
        content = True
        for task in range(self._app.tasks):
            moves = self._app.moves(task)
            if moves != self._seen[task]:
                self._seen[task] = moves
                self._since_ticks[task] = now_ticks
            elif (now_ticks - self._since_ticks[task]) & _TICKS_MASK >= STUCK_MS:
                content = False
        return content

    async def work(self) -> None:
        """Make turns until an exception; then the watchdog restarts the board."""
        while True:
            await asyncio.sleep_ms(self.turn())


def run(app: "Stepper", board: "Timing", report: "Callable[[], object] | None" = None) -> None:
    """Run until an exception; on a port without asyncio in a plain loop."""
    runner = Runner(app, board, report)
    if asyncio is None:
        while True:
            runner.turn()
    asyncio.run(runner.work())
