"""Lists that were previewed and wait, kept by this process until a person takes them, once."""

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from host.headend.errors import SalesError
from host.headend.web.door import Trouble, Visit
from host.rows import tell_troubles
from host.words import _

_HELD_S, _HELD_LIMIT = 3600, 8

Row = TypeVar("Row")
Seen = TypeVar("Seen")


@dataclass
class Held(Generic[Row, Seen]):
    """A list with what it would change; `taken`: how many of it were taken, None: it waits."""

    person: str
    called: str
    rows: list[Row]
    seen: Seen
    until_s: float
    taken: int | None = None


class Previews(Generic[Row, Seen]):
    """The lists of one kind that wait, the newest ones alone."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, Held[Row, Seen]] = OrderedDict()
        self._lock = threading.Lock()

    def hold(
        self,
        visit: Visit,
        called: str,
        by_line: dict[int, Row],
        preview: Callable[[list[Row]], Seen],
    ) -> tuple[str, Held[Row, Seen]]:
        """Keep a list and what it would change. Trouble: it contradicts itself, and where."""
        rows = list(by_line.values())
        try:
            seen = preview(rows)
        except SalesError as error:
            lines = list(by_line)
            troubles = {lines[place]: why for place, why in error.troubles.items()}
            raise Trouble(400, tell_troubles(called, troubles)) from error
        held = Held(visit.person.name, called, rows, seen, time.monotonic() + _HELD_S)
        token = secrets.token_urlsafe(16)
        with self._lock:
            self._held[token] = held
            while len(self._held) > _HELD_LIMIT:
                self._held.popitem(last=False)
        return token, held

    def take(self, visit: Visit, take: Callable[[Held[Row, Seen]], int]) -> int:
        """Have a list taken by its token; return how many, also where it was taken. Trouble."""
        with self._lock:
            held = self._held.get(visit.told("token", 40))
            if held is None or held.person != visit.person.name or held.until_s < time.monotonic():
                text = _("this list is not kept any more, nothing was taken: give it again")
                raise Trouble(409, text)
            if held.taken is None:
                held.taken = take(held)
                held.rows = []
            return held.taken
