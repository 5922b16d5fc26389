"""The commands that go down: which one each concentrator gets next, and the answers in parts.

A command that puts a tariff in force has the tariff's image before it, in commands of its own
which change nothing that lasts. They are numbered from 1 on, far below all other commands. Where
one of them is refused, as by a concentrator that has started again, the image begins again.

`look` and `note` run in the writer's thread, which alone writes to the database; `order_for` runs
in the loop of the connections.
"""

import logging
import time
from collections.abc import Callable

from host.frames import tariff
from host.frames.batch import Order, Outcome, Result
from host.headend import commands
from host.headend.commands import Due
from host.headend.database import Database
from host.headend.errors import StoreError

# A command is repeated behind this time without its RESULT.
REPEAT_S = 15.0
_ANSWER_LIMIT = 60_000
# So often an image begins again before its command is sent all the same and refused.
_BEGINNINGS = 4

log = logging.getLogger("dianka.headend")


class _Transfer:
    """The image that goes to a concentrator before the command `number`."""

    def __init__(self, number: int, expires_t2000: int, image: bytes) -> None:
        self.number = number
        *texts, _commit = tariff.commands(image, 0)
        self._orders = [Order(at + 1, expires_t2000, text) for at, text in enumerate(texts)]
        self._next = 0
        self._beginnings = 1

    @property
    def order(self) -> Order | None:
        """The next part, None: the image is there."""
        return self._orders[self._next] if self._next < len(self._orders) else None

    def note(self, number: int, outcome: int) -> None:
        """Note the outcome of a part; those that came twice or late count for nothing."""
        if self.order is None or self.order.number != number:
            return
        self._next += 1
        if outcome != Outcome.DONE:
            self._next = 0 if self._beginnings < _BEGINNINGS else len(self._orders)
            self._beginnings += 1


class Downlink:
    """The commands that wait, by concentrator.

    `now` gives seconds since 1970, `steady_s` seconds of a clock that nobody sets.
    """

    def __init__(
        self,
        database: Database,
        now: Callable[[], float] = time.time,
        steady_s: Callable[[], float] | None = None,
    ) -> None:
        self._database = database
        self._now = now
        self._steady_s = steady_s or time.monotonic
        self._due: dict[int, Due] = {}
        self._transfers: dict[int, _Transfer] = {}
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
            self._due, self._transfers = {}, {}
            return
        now = int(self._now())
        with database.writing():
            sent, self._newly_sent = self._newly_sent, set()
            commands.note_sent(database, sorted(sent), now)
            self._due = due = commands.due(database, now)
        # What expired, was stopped or paused is no longer on its way.
        self._transfers = {
            concentrator: transfer
            for concentrator, transfer in self._transfers.items()
            if concentrator in due and due[concentrator].order.number == transfer.number
        }
        open_now = {
            (concentrator, order.number)
            for concentrator, due in self._due.items()
            if (order := self._order(concentrator, due))
        }
        self._sent_at = {one: at for one, at in self._sent_at.items() if one in open_now}

    def order_for(self, concentrator: int) -> Order | None:
        """Return the command that a connected concentrator is to be sent now."""
        due = self._due.get(concentrator)
        if due is None:
            return None
        order = self._order(concentrator, due)
        which = (concentrator, order.number)
        now = self._steady_s()
        if now - self._sent_at.get(which, -REPEAT_S) < REPEAT_S:
            return None
        self._sent_at[which] = now
        self._newly_sent.add((concentrator, due.order.number))
        return order

    def _order(self, concentrator: int, due: Due) -> Order:
        """Return the next part of the image that has to be there, or the command itself."""
        if not due.image:
            return due.order
        transfer = self._transfers.get(concentrator)
        if transfer is None or transfer.number != due.order.number:
            transfer = _Transfer(due.order.number, due.order.expires_t2000, due.image)
            self._transfers[concentrator] = transfer
        return transfer.order or due.order

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
        transfer = self._transfers.get(concentrator)
        if transfer is not None and result.number != transfer.number:
            self._sent_at.pop((concentrator, result.number), None)
            transfer.note(result.number, result.outcome)
            return False
        self._due.pop(concentrator, None)
        self._transfers.pop(concentrator, None)
        answer = text.decode(errors="replace").strip()
        return commands.note_result(
            self._database, concentrator, result.number, result.outcome, answer, now
        )
