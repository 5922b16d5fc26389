"""Watch the contacts of a cabinet: its door, and a supply that is about to fail.

    "door": 5           closed to ground while the door is closed
    "power_fail": 6     low while the supply fails; a large capacitor then lasts a second

Each change is an EVENT record, also a door that is open at a start. When the supply fails,
everything that waits becomes durable at once. A contact is recorded once a minute at most, so one
that bounces cannot fill the journal: the state after that minute is what counts.
"""

import time

from micropython import const
from ports import EVENT_DOOR, EVENT_SUPPLY

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    import machine
    from ports import Concentrator

    from boards.log import Log
    from boards.wiring import Options

# A state that is seen this often in a row is no bounce.
_LOOKS = const(3)
_CONTACT_MS = const(60000)
_NEVER = const(-1)


class Contact:
    """One contact: `active` is true while its pin has the level that is recorded as state 1."""

    def __init__(self, pin: "machine.Pin", level: int) -> None:
        self.active = False
        self._pin = pin
        self._level = level
        self._looks = 0
        self._noted_ticks = _NEVER

    def has_changed(self, now_ticks: int) -> bool:
        """Look at the pin; return whether a change is to be recorded now."""
        if (self._pin() == self._level) == self.active:
            self._looks = 0
            return False
        self._looks += 1
        pause_ms = time.ticks_diff(now_ticks, self._noted_ticks)
        if self._looks < _LOOKS or (self._noted_ticks != _NEVER and 0 <= pause_ms < _CONTACT_MS):
            return False
        self._looks = 0
        self._noted_ticks = now_ticks
        self.active = not self.active
        return True


class Contacts:
    """The contacts that the keys door and power_fail name, each of them optional."""

    def __init__(self, options: "Options", log: "Log | None") -> None:
        self._app: Concentrator | None = None
        self._log = log
        self._door = self._power = None
        if "door" in options:
            self._door = Contact(options.input("door"), 1)
        if "power_fail" in options:
            self._power = Contact(options.input("power_fail"), 0)

    def attach(self, app: "Concentrator") -> None:
        """Record changes in the books of `app` from now on."""
        self._app = app

    def look(self) -> None:
        """Record each change; make everything durable when the supply begins to fail."""
        app = self._app
        if app is None:
            return
        now_ticks = time.ticks_ms()
        door, power = self._door, self._power
        if power is not None and power.has_changed(now_ticks):
            app.note_event(EVENT_SUPPLY, int(power.active))
            self._tell("supply fails" if power.active else "supply is back", power.active)
        if door is not None and door.has_changed(now_ticks):
            app.note_event(EVENT_DOOR, int(door.active))
            self._tell("door open" if door.active else "door closed", False)

    def _tell(self, text: str, at_once: bool) -> None:
        if self._log is not None:
            if at_once:
                self._log.urge(text)
            else:
                self._log.add(text)
