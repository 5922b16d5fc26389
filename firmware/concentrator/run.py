"""Drives the concentrator on its board, and feeds the watchdog while every task goes on.

The only asyncio of the product. Once a second it is asked whether every task goes on: each
line, the console with its cards, the uplink, the journal, the board's own card reader. One that
has not moved for a minute, as one whose step never ends or is never called, starves the watchdog,
and the board restarts. A port without asyncio runs the same turns in a bare loop.
"""

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
        """The concentrator, as far as it is driven."""

        # How many tasks there are.
        tasks: int

        def step(self, now_ticks: int, now_t2000: int) -> int:
            """Do what is due; return for how many ms nothing will be, 0: call again at once."""

        def moves(self, task: int) -> int:
            """A number that changes as long as the task goes on."""

        def signals(self) -> int:
            """What the lamps show, BEAT aside."""

        def on_button(self) -> None:
            """Somebody pressed the button."""


# What arrives meanwhile waits in the buffers of the ports: 2400 baud fill 5 bytes in that time.
IDLE_LIMIT_MS = const(20)
_WATCH_MS = const(1000)
# Twice what a step may promise to be quiet, and more than any answer is waited for.
STUCK_MS = const(60000)
# A product that works; longer than STUCK_MS, so that one which never got going is found out.
HEALTHY_S = const(90)
# The first lamp; the others are in concentrator/lamps.py.
BEAT = const(0x01)

_TICKS_MASK = const(0x1FFFFFFF)


class Runner:
    """Drives `app` on `board`.

    content_s   seconds in a row in which every task has gone on
    """

    def __init__(
        self, app: "Stepper", board: "Timing", report: "Callable[[], object] | None" = None
    ) -> None:
        """`report` is called once every task has gone on for HEALTHY_S."""
        self.content_s = 0
        self._report = report
        self._app = app
        self._board = board
        self._checked_ticks = now_ticks = board.now_ticks()
        # Of each task: its moves when last looked at, and when they last were others.
        self._seen = array("i", [-1] * app.tasks)
        self._since_ticks = array("i", [now_ticks] * app.tasks)
        self._beat = 0

    def turn(self) -> int:
        """Make one step, and the watchdog check when it is due; return for how many ms to wait."""
        board = self._board
        board.look()
        now_ticks = board.now_ticks()
        if board.pressed:
            board.pressed = False
            self._app.on_button()
        idle_ms = self._app.step(now_ticks, board.now_t2000())
        if (now_ticks - self._checked_ticks) & _TICKS_MASK >= _WATCH_MS:
            self._checked_ticks = now_ticks
            self._check(now_ticks)
        return idle_ms if idle_ms < IDLE_LIMIT_MS else IDLE_LIMIT_MS

    def _check(self, now_ticks: int) -> None:
        """Feed the watchdog if every task goes on, and light the lamps."""
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
        """Turn until something raises; the watchdog then starves."""
        while True:
            await asyncio.sleep_ms(self.turn())


def run(app: "Stepper", board: "Timing", report: "Callable[[], object] | None" = None) -> None:
    """Run until something raises; on a port without asyncio in a bare loop."""
    runner = Runner(app, board, report)
    if asyncio is None:
        while True:
            runner.turn()
    asyncio.run(runner.work())
