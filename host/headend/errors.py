"""Errors of the head-end's database and of requests to it."""

from host.frames.batch import NOTHING_KNOWN, Refusal
from host.words import _


class StoreError(ValueError):
    """The request to the database cannot be carried out; the message says why."""


class StoreFailed(StoreError):
    """The database itself failed: no room, locked, read-only, gone. Nothing was changed."""


class Declined(StoreError):
    """A request is refused: `name` tells a program why, and the text tells a person."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name


class SalesError(StoreError):
    """A list of sales cannot be sold; `troubles` has the reason for each place in it."""

    def __init__(self, troubles: dict[int, str]) -> None:
        super().__init__(_("{count} of the sales cannot be").format(count=len(troubles)))
        self.troubles = troubles


class Refused(StoreError):
    """Nothing of a genuine message is taken; the reason and what is known are for REFUSED.

    seq     the record of which another one is stored, 0: there is none
    """

    def __init__(
        self, reason: Refusal, detail: str, known: bytes = NOTHING_KNOWN, seq: int = 0
    ) -> None:
        super().__init__(detail)
        self.reason = reason
        self.known = known
        self.seq = seq
