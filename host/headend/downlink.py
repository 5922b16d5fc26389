"""The commands that go down: which one each concentrator gets next, and the answers in parts.

A command that puts a tariff in force has the tariff's image before it, and one that tries a
product has the product: see `host.headend.deliveries`. A question to a meter takes several
commands as well, see `host.headend.talks`.

`look` and `note` run in the writer's thread, which alone writes to the database; `order_for` runs
in the loop of the connections.
"""

import logging
import time
from collections.abc import Callable

from host.frames.batch import Order, Result
from host.headend import commands, rollouts, shedding
from host.headend.commands import Due
from host.headend.database import Database
from host.headend.deliveries import Delivery, ImageDelivery, ProductDelivery
from host.headend.errors import StoreError
from host.headend.talks import Conversation, talk_of

# A command is repeated behind this time without its RESULT.
REPEAT_S = 15.0
_ANSWER_LIMIT = 60_000
# Commands of a talk, and the numbers of all talks: far below those of commands, which are a time.
_NUMBERS = 1000
_FIRST_LIMIT = 700_000 * _NUMBERS

log = logging.getLogger("dianka.headend")


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
        self._deliveries: dict[int, Delivery] = {}
        self._files: dict[str, list[bytes]] = {}  # of the packages that are on their way
        self._first = int(now()) * _NUMBERS % _FIRST_LIMIT  # number of the newest talk
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
            shedding.look(self._database, int(self._now()))
            self._look()
        except StoreError as error:  # the next look tries again
            log.warning("commands cannot be read: %s", error)

    def _look(self) -> None:
        database = self._database
        if not self._newly_sent and not database.value(commands.SOME_ARE_OPEN):
            self._due, self._deliveries, self._files = {}, {}, {}
            return
        now = int(self._now())
        with database.writing():
            sent, self._newly_sent = self._newly_sent, set()
            commands.note_sent(database, sorted(sent), now)
            rollouts.look(database, now)
            self._due = due = commands.due(database, now)
        names = {one.package for one in due.values() if one.package}
        self._files = {
            name: self._files.get(name) or rollouts.files_of(database, name) for name in names
        }
        # What expired, was stopped or paused is no longer on its way.
        self._deliveries = {
            concentrator: delivery
            for concentrator, delivery in self._deliveries.items()
            if concentrator in due and _key(due[concentrator]) == delivery.key
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
        # A product that is on its way can be given up; it is sent when it is to be tried.
        if order is due.order or not due.package:
            self._newly_sent.add((concentrator, due.order.number))
        return order

    def send_again(self, concentrator: int) -> None:
        """Send what is due at once: a new connection has lost what was sent on the old one."""
        due = self._due.get(concentrator)
        if due is not None:
            self._sent_at.pop((concentrator, self._order(concentrator, due).number), None)

    def _order(self, concentrator: int, due: Due) -> Order:
        """Return the next part of what has to be there before, or the command itself."""
        delivery = self._deliveries.get(concentrator)
        if delivery is None or delivery.key != _key(due):
            delivery = self._begun(due)
            if delivery is None:
                return due.order
            self._deliveries[concentrator] = delivery
        return delivery.order or due.order

    def _begun(self, due: Due) -> Delivery | None:
        """Return what goes before or instead of a command, None: it goes alone."""
        expires = due.order.expires_t2000
        if due.package in self._files:
            return ProductDelivery(due.package, expires, self._files[due.package])
        if due.image:
            return ImageDelivery(due.order.number, expires, due.image)
        talk = talk_of(due.order.text)
        if talk is None:
            return None
        # An answer that comes late is none to a later talk.
        self._first = (self._first + _NUMBERS) % _FIRST_LIMIT
        return Conversation(due.order, talk, self._first)

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
        answer = text.decode(errors="replace").strip()
        due, delivery = self._due.get(concentrator), self._deliveries.get(concentrator)
        if due is not None and delivery is not None and result.number != due.order.number:
            self._sent_at.pop((concentrator, result.number), None)
            delivery.note(result.number, result.outcome, answer)
            if not isinstance(delivery, Conversation) or delivery.ended is None:
                return False
            outcome, answer = delivery.ended
            result = Result(due.order.number, outcome, 0, b"")
        self._due.pop(concentrator, None)
        self._deliveries.pop(concentrator, None)
        return commands.note_result(
            self._database, concentrator, result.number, result.outcome, answer, now
        )


def _key(due: Due) -> int | str:
    """Return what a delivery before a command is known by."""
    return due.package or due.order.number
