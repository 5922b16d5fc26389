"""Replace the flash of boards by an empty one or an old copy, and restore the boards.

    all is at the head-end -> the board fails -> another flash
        -> installed again and its journal taken, as `dianka headend replace` does (if it is empty)
        -> the accounts' standings, as `dianka headend restore` tells them -> `restored`

From the failure to `restored` the concentrator does not know its accounts, and the checkers pause.
Then each account must equal the head-end's, to the last digit, and continue from there.
"""

from collections.abc import Callable
from copy import deepcopy
from random import Random
from typing import TYPE_CHECKING

from host.headend.standing import standings
from host.sim.storage import Storage
from host.world.agenda import Agenda
from host.world.checks.account import Account
from host.world.checks.checkers import Checkers
from host.world.households import MINUTE_US
from host.world.station import Station
from host.world.technician import Technician

if TYPE_CHECKING:
    from concentrator.app import App

_AGAIN_US = 5 * MINUTE_US


class Replacing:
    """The replacement of one concentrator's flash.

    pending     a flash was replaced and is not restored yet
    """

    def __init__(
        self,
        agenda: Agenda,
        random: Random,
        checkers: Checkers,
        technician: Technician,
        station: Station,
    ) -> None:
        self.pending = False
        self._agenda = agenda
        self._random = random
        self._checkers = checkers
        self._technician = technician
        self._station = station
        self._copy: dict[str, bytes] = {}
        self._copied_seq = 0
        self._copied: dict[int, Account] = {}

    def copy(self, app: "App | None", storage: Storage) -> None:
        """Keep a copy of the flash; another board may begin with it."""
        if app is not None and not self.pending and app.journal.count == 0:
            self._copy = dict(storage.content)
            self._copied_seq = app.journal.durable_seq
            self._copied = deepcopy(self._checkers.accounts)

    def forget_copy(self) -> None:
        """Drop the copy of the flash that knows a meter exchanged since."""
        self._copy = {}

    def may_be(self, app: "App | None") -> bool:
        """Return whether the flash may be lost now: the head-end has all its records."""
        if app is None or self.pending or app.journal.count or self._station.wants:
            return False
        return self._station.acked_seq == app.journal.durable_seq

    def replace(self, storage: Storage) -> bool:
        """Give the storage another content; return whether that is empty."""
        self.pending = self._station.replaced = True
        empty = not self._copy or self._random.random() < 0.5
        storage.content = {} if empty else dict(self._copy)
        if empty:
            self.forget_copy()  # it is of a journal that the head-end has no longer
            self._checkers.look_away_from_lost()
        else:
            self._checkers.look_away(self._copied_seq, deepcopy(self._copied))
        self._checkers.counters["boards replaced" + (" empty" if empty else "")] += 1
        return empty

    def restore(
        self, installation: list[str], app: "Callable[[], tuple[App, Storage] | None]"
    ) -> None:
        """Have the technician install the board, if it needs that, and restore its accounts."""
        station = self._station
        known = standings(station.store, station.concentrator)
        told = [f"account restore {one.account} {one.told(one.meter)}" for one in known]

        def take_journal() -> None:
            if not station.waits:
                self._agenda.after(_AGAIN_US, take_journal)
                return
            station.replace()
            go_on()

        def done() -> None:
            found = app()
            if found is None or found[0].journal.durable_seq < station.acked_seq:
                # The board does not know the head-end's position yet.
                self._agenda.after(_AGAIN_US, lambda: self._technician.do(["restored"], done))
                return
            self._checkers.look_again(found[0], found[1].content, self._agenda.now_us())
            self.pending = station.replaced = False

        def go_on() -> None:
            self._technician.do([*told, "restored"], done)

        if not installation:
            go_on()
            return
        meters = [f"meter add {one.meter} {one.account} {one.tariff} {one.line}" for one in known]
        self._technician.do([*installation, *meters], take_journal)
