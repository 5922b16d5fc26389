"""Counts of refused messages, by the number of the concentrator that each claimed to come from.

They are counted in memory by any thread, and written from time to time by the thread that writes.
Anyone can claim numbers of which there is no key: the newest UNKNOWN_LIMIT of those are kept.
"""

import logging
import threading
import time
from typing import Any

from host.headend.database import Database
from host.headend.errors import StoreError
from host.headend.store import Store

UNKNOWN_LIMIT = 100
WRITE_EVERY_S = 2.0

log = logging.getLogger("dianka.headend")

_WRITE = """
    INSERT INTO refusals (concentrator, reason, count, last_at, address) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (concentrator, reason) DO UPDATE SET
    count = refusals.count + excluded.count, last_at = excluded.last_at, address = excluded.address
"""
# The reasons of messages that no key has opened.
_OF_UNKNOWN = "reason IN ('unknown_concentrator', 'bad_version')"
_FORGET = f"""
    DELETE FROM refusals WHERE {_OF_UNKNOWN} AND id NOT IN (
        SELECT id FROM refusals WHERE {_OF_UNKNOWN} ORDER BY last_at DESC, id DESC LIMIT ?
    )
"""
# count, time and address
_Told = tuple[int, int, str]


class Refusals:
    """The refusals that were counted since the last write."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._known: dict[tuple[int, str], _Told] = {}
        self._unknown: dict[tuple[int, str], _Told] = {}  # the newest last
        self._written_s = -WRITE_EVERY_S

    def note(self, concentrator: int, reason: str, peer: str, has_key: bool) -> None:
        """Count a refusal of a message; `has_key`: there is a key of that number."""
        which = (concentrator, reason)
        with self._lock:
            counts = self._known if has_key else self._unknown
            count, _at, _peer = counts.pop(which, (0, 0, ""))
            counts[which] = (count + 1, int(time.time()), peer)
            if len(self._unknown) > UNKNOWN_LIMIT:
                del self._unknown[next(iter(self._unknown))]

    def write_some(self) -> None:
        """Write what was counted, unless that was done just now."""
        if time.monotonic() - self._written_s >= WRITE_EVERY_S:
            self.write()

    def write(self) -> None:
        """Write what was counted; a database that fails has not taken it."""
        with self._lock:
            counts = {**self._known, **self._unknown}
            self._known, self._unknown = {}, {}
        self._written_s = time.monotonic()
        if not counts:
            return
        rows = [(*which, *told) for which, told in counts.items()]
        try:
            with self._database.writing():
                self._database.many(_WRITE, rows)
                self._database.run(_FORGET, (UNKNOWN_LIMIT,))
        except StoreError as error:
            log.warning("refusals cannot be written: %s", error)


def refusals(store: Store) -> dict[int, list[dict[str, Any]]]:
    """Return who was refused why, how often, and when last, by the number that was claimed."""
    found: dict[int, list[dict[str, Any]]] = {}
    for row in store.rows(
        "SELECT concentrator, reason, count, last_at, address FROM refusals "
        "ORDER BY concentrator, last_at DESC, reason"
    ):
        found.setdefault(row.pop("concentrator"), []).append(row)
    return found
