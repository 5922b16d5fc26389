"""The tasks of a concentrator: the work itself, and the guard that feeds the watchdog.

The only asyncio of the product. The watchdog is fed as long as the work goes on, and by nothing
else: a step that hangs, or that is never called again, ends in a restart.
"""

import asyncio

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

    async def work(self) -> None:
        """Step, and sleep while there is nothing to do."""
        app = self._app
        board = self._board
        while True:
            board.look()
            idle_ms = app.step(board.now_ticks(), board.now_t2000())
            self.steps = (self.steps + 1) & 0xFFFFFF
            await asyncio.sleep_ms(min(idle_ms, IDLE_LIMIT_MS))

    async def guard(self) -> None:
        """Feed the watchdog while `steps` grows."""
        seen = -1
        while True:
            if self.steps != seen:
                seen = self.steps
                self._board.feed()
            await asyncio.sleep_ms(GUARD_MS)

    async def run(self) -> None:
        """Run until the work raises or is interrupted; the watchdog then starves."""
        guard = asyncio.create_task(self.guard())
        try:
            await self.work()
        finally:
            guard.cancel()


def run(app: "Stepper", board: "Timing") -> None:
    """Run until something raises."""
    asyncio.run(Runner(app, board).run())
