"""Errors of the head-end's database and of requests to it."""

from host.words import _


class StoreError(ValueError):
    """The request to the database cannot be carried out; the message says why."""


class StoreFailed(StoreError):
    """The database itself failed: no room, locked, read-only, gone. Nothing was changed."""


class SalesError(StoreError):
    """A list of sales cannot be sold; `troubles` has the reason for each place in it."""

    def __init__(self, troubles: dict[int, str]) -> None:
        super().__init__(_("{count} of the sales cannot be").format(count=len(troubles)))
        self.troubles = troubles


class Conflict(StoreError):
    """The record `seq` arrived, and another record is stored under its number.

    acked_seq   up to here records are stored
    """

    def __init__(self, seq: int, acked_seq: int) -> None:
        super().__init__(f"record {seq} differs from the one stored")
        self.seq = seq
        self.acked_seq = acked_seq


class Replayed(StoreError):
    """A message is older than the newest one that was accepted."""
