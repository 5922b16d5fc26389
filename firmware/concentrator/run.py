"""The tasks of a concentrator: the work itself, and the guard that feeds the watchdog.

The only asyncio of the product. The watchdog is fed as long as the work goes on, and by nothing
else: a step that hangs, or that is never called again, ends in a restart.
"""

try:
    import asyncio
except ImportError:
    asyncio = None  # type: ignore[assignment]  # the emulated board has none

from micropython import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from typing import Protocol

    class Stepper(Protocol):
        """The concentrator, as far as it is driven."""

        def step(self, now_ticks: int, now_t2000: int) -> int:
            """Do what is due; return for how many ms nothing will be, 0: call again at once."""

    class Timing(Protocol):
        """The board, as far as it drives."""

        def now_ticks(self) -> int:
            """Milliseconds, modulo 2**29."""

        def now_t2000(self) -> int:
            """Local standard time, -1 when it is not known."""

        def look(self) -> None:
            """Bring `waiting` of every channel up to date."""

        def feed(self) -> None:
            """Feed the watchdog."""


# What arrives meanwhile waits in the buffers of the ports: 2400 baud fill 5 bytes in that time.
IDLE_LIMIT_MS = const(20)
GUARD_MS = const(1000)


class Runner:
    """Drives `app` on `board`.

    steps    steps made: what the guard watches
    """

    def __init__(self, app: "Stepper", board: "Timing") -> None:
        self.steps = 0
        self._app = app
        self._board = board

    def turn(self) -> int:
        """Make one step; return for how many ms the next may wait."""
        board = self._board
        board.look()
        idle_ms = self._app.step(board.now_ticks(), board.now_t2000())
        self.steps = (self.steps + 1) & 0xFFFFFF
        return idle_ms if idle_ms < IDLE_LIMIT_MS else IDLE_LIMIT_MS

    async def guard(self) -> None:
        """Feed the watchdog while `steps` grows."""
        seen = -1
        while True:
            if self.steps != seen:
                seen = self.steps
                self._board.feed()
            await asyncio.sleep_ms(GUARD_MS)

    async def work(self) -> None:
        """Step until something raises; the watchdog then starves."""
        guard = asyncio.create_task(self.guard())
        try:
            while True:
                await asyncio.sleep_ms(self.turn())
        finally:
            guard.cancel()


def run(app: "Stepper", board: "Timing") -> None:
    """Run until something raises; on a port without asyncio in a bare loop."""
    runner = Runner(app, board)
    if asyncio is None:
        while True:
            runner.turn()
            board.feed()
    asyncio.run(runner.work())
