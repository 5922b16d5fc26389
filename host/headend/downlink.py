"""The commands that go down: which one each concentrator gets next, and the answers in parts.

`look` and `note` run in the writer's thread, which alone writes to the database; `order_for` runs
in the loop of the connections.
"""

import logging
import time

from host.frames.batch import Order, Result
from host.headend import commands
from host.headend.database import Database
from host.headend.errors import StoreError

# A command is repeated behind this time without its RESULT.
REPEAT_S = 15.0
_ANSWER_LIMIT = 60_000

log = logging.getLogger("dianka.headend")


class Downlink:
    """The commands that wait, by concentrator."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._due: dict[int, Order] = {}
        self._sent_at: dict[tuple[int, int], float] = {}
        self._newly_sent: set[tuple[int, int]] = set()
        self._answers: dict[int, tuple[int, int, bytes]] = {}  # number, last part, text

    @property
    def waiting(self) -> list[int]:
        """Return the concentrators for which a command is due."""
        return [*self._due]

    def look(self) -> None:
        """Find out which commands are due, and note those that were sent."""
        try:
            self._look()
        except StoreError as error:  # the next look tries again
            log.warning("commands cannot be read: %s", error)

    def _look(self) -> None:
        database = self._database
        if not self._newly_sent and not database.value(commands.SOME_ARE_OPEN):
            self._due = {}
            return
        now = int(time.time())
        with database.writing():
            sent, self._newly_sent = self._newly_sent, set()
            commands.note_sent(database, sorted(sent), now)
            self._due = commands.due(database, now)
        open_now = {(concentrator, order.number) for concentrator, order in self._due.items()}
        self._sent_at = {one: at for one, at in self._sent_at.items() if one in open_now}

    def order_for(self, concentrator: int) -> Order | None:
        """Return the command that a connected concentrator is to be sent now."""
        order = self._due.get(concentrator)
        if order is None:
            return None
        which = (concentrator, order.number)
        now = time.monotonic()
        if now - self._sent_at.get(which, -REPEAT_S) < REPEAT_S:
            return None
        self._sent_at[which] = now
        self._newly_sent.add(which)
        return order

    def note(self, concentrator: int, result: Result, now: int) -> bool:
        """Take a part of an answer; return whether a command has ended with it.

        Parts that do not follow one another are dropped: the command is repeated.
        """
        number, part, text = self._answers.pop(concentrator, (result.number, 0, b""))
        follows = result.number == number and result.part in (0, part % 255 + 1)
        if not follows:
            if result.part > 1:
                return False
            text = b""
        text = (text + result.text)[:_ANSWER_LIMIT]
        if result.part:
            self._answers[concentrator] = (result.number, result.part, text)
            return False
        self._due.pop(concentrator, None)
        answer = text.decode(errors="replace").strip()
        return commands.note_result(
            self._database, concentrator, result.number, result.outcome, answer, now
        )
