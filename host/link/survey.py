"""A search of a line for meters that is made again as long as it leaves doubt."""

from collections.abc import Callable

from host.frames.dlt645 import WILDCARD
from host.link.meters import MeterLine

# So many on a line that loses or spoils answers; each asks every part of it.
_SEARCHES = 3


class Survey:
    """Which meters are on a line.

    meters      their addresses, in the order of finding
    doubtful    parts of the line where a meter may be that was not understood: addresses with AA
                for unknown digits, of a whole line all AA
    questions   how many were asked
    """

    def __init__(
        self, line: MeterLine, standard: str, changed: Callable[["Survey"], None]
    ) -> None:
        """Prepare it; `changed` is called after each question."""
        self.meters: list[str] = []
        self.doubtful: list[str] = []
        self.questions = 0
        self._line = line
        self._standard = standard
        self._changed = changed
        self._asked_before = 0

    def run(self) -> None:
        """Search once, and where that leaves doubt, as often as settles it.

        A part is in doubt when each search has heard something there but no meter; the whole line
        is, when the last search has found another meter.
        """
        for search in range(_SEARCHES):
            known = len(self.meters)
            found = self._line.search(self._standard, self._heard)
            self._heard(self.questions - self._asked_before, found)
            self._asked_before = self.questions
            parts = [one for one in found if not one.isdecimal()]
            self.doubtful = [one for one in parts if not search or self._is_in_doubt(one)]
            if not search and not parts:
                return
        if len(self.meters) > known:
            self.doubtful.append(WILDCARD)

    def _heard(self, questions: int, found: list[str]) -> None:
        self.questions = self._asked_before + questions
        self.meters += [one for one in found if one.isdecimal() and one not in self.meters]
        self._changed(self)

    def _is_in_doubt(self, part: str) -> bool:
        """Return whether a part has addresses in common with one that was in doubt before."""
        return any(
            all(a == b or "A" in (a, b) for a, b in zip(part, before, strict=True))
            for before in self.doubtful
        )


def in_words(part: str) -> str:
    """Return the digits that the addresses of a part end with, `...` alone for a whole line."""
    return f"...{part.lstrip('A')}"
