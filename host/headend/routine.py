"""The work of a station that comes back each hour and each morning, done beside the head-end.

    each hour      voltages and currents of chosen meters, power-downs, compliance (`asking`)
    each morning   midnights that are missing (`missed`), findings of yesterday (`noting`),
                   and the end of what is kept no longer of persons (`retention`)

What was done is known from the jobs and from the audit log, so that a process that is started
again does nothing twice, and neither what a person has had done by hand. It runs as a process:

    python -m host.headend.routine DATABASE HOUR
"""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime

from host import children
from host.headend import asking, missed, noting, retention
from host.headend.audit import Who, acting
from host.headend.commands import Given, Target, give
from host.headend.errors import StoreError
from host.headend.logs import warn_as_text
from host.headend.places import date_of
from host.headend.store import Store
from host.units import DAY_S, HOUR_S, t2000_of_unix, unix_of_t2000

BY = "routine"
HOURLY, FINDINGS = "voltage", "findings"  # the first is the name of a job, as of `job voltage`
RETENTION = "retention"
_MISSED_DAYS = 30
_MISSED_LIMIT = 10_000  # accounts a morning
_PAUSE_S = 30

log = logging.getLogger("dianka.headend")


class Routine:
    """What is due, and what was done; `hour`: from which on it is morning."""

    def __init__(self, store: Store, hour: int) -> None:
        self._store = store
        self._hour = hour
        # By the name of a work: the hour or the day for which it was done last.
        self._done: dict[str, int] = {}

    def go(self, now: int | None = None) -> list[str]:
        """Do what is due; return the names of what was done.

        A database that fails is asked again in the next round; one work holds up no other.
        """
        at = int(time.time()) if now is None else now
        done = []
        for name, stamp, work in self._works(at):
            if self._done.get(name) == stamp:
                continue
            try:
                done += [name] if work(at) else []
            except StoreError as error:
                log.warning("%s: %s", name, error)
                continue
            except Exception:  # a mistake in one work must not hold up the others
                log.exception("the routine work %s has failed", name)
            self._done[name] = stamp
        return done

    def _works(self, at: int) -> Iterator[tuple[str, int, Callable[[int], bool]]]:
        """Yield what belongs to a moment: its name, the number of its hour or day, the work."""
        yield HOURLY, at // HOUR_S, self._ask
        if datetime.fromtimestamp(at, self._store.zone()).hour >= self._hour:
            day = self._day(at)
            yield missed.COMMAND, day, self._fetch
            yield FINDINGS, day, self._note
            yield RETENTION, day, self._erase

    def _ask(self, at: int) -> bool:
        def due() -> list[Target]:
            return asking.due(self._store, at, asking.Budget())

        return self._give(HOURLY, at - at % HOUR_S, at, HOUR_S, due)

    def _fetch(self, at: int) -> bool:
        def lacking() -> list[Target]:
            return missed.missed(self._store, _MISSED_DAYS, _MISSED_LIMIT, at)

        midnight = unix_of_t2000(self._day(at) * DAY_S, self._store.zone())
        return self._give(missed.COMMAND, midnight, at, DAY_S, lacking)

    def _note(self, at: int) -> bool:
        """Open findings of yesterday; those of the days before are no news any more."""
        yesterday = self._day(at) - 1
        if noting.noted_last(self._store) >= date_of(yesterday):
            return False
        noting.note_day(self._store, yesterday, BY)
        return True

    def _erase(self, at: int) -> bool:
        return any(retention.run(self._store, BY, at).values())

    def _day(self, at: int) -> int:
        return t2000_of_unix(at, self._store.zone()) // DAY_S

    def _give(
        self, name: str, since: int, at: int, lasts_s: int, find: Callable[[], list[Target]]
    ) -> bool:
        """Give a job, unless one of its name was given since a moment or there is nothing."""
        query = "SELECT count(*) FROM jobs WHERE name = ? AND given_at >= ?"
        if self._store.value(query, (name, since)):
            return False
        targets = find()
        if targets:
            give(self._store, name, targets, Given(BY, "", at + lasts_s, at))
        return bool(targets)


def main(database: str, hour: str) -> None:
    """Work until the standard input ends; tell that it has begun, or why it cannot."""
    warn_as_text()
    children.end_with_parent()
    try:
        store = Store(database)
    except StoreError as error:
        children.say(str(error))
        return
    children.say("ready")
    routine = Routine(store, int(hour))
    with acting(Who(BY, BY)):
        while True:
            routine.go()
            time.sleep(_PAUSE_S)


if __name__ == "__main__":
    main(*sys.argv[1:])
