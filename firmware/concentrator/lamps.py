"""Choose the signals of the lamps, one bit each.

bit 0             every task works; concentrator/run.py makes it blink
bit 1   LOOK      a technician is needed: no clock, flash full or failing, books behind the
                  head-end's, settings lost, a tariff unreadable, a meter silent, an account
                  not billed, a relay that does not move, a head-end that refuses
bit 2   REACHED   the head-end answers
bit 3   CUT       at least one supply is cut by order of the books
"""

from micropython import const
from prepay.accounts import STOPPED

from concentrator.books import registry as meters
from concentrator.line.meters import SILENT_MISSES
from concentrator.settings import LOST

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from concentrator.books.books import Books
    from concentrator.settings import Settings
    from concentrator.uplink import Uplink

LOOK = const(0x02)
REACHED = const(0x04)
CUT = const(0x08)

# Meters looked at in a second: with 512 meters a lamp is at most 16 s late.
_SHARE = const(32)


class Lamps:
    """The lamps that show the state of `books`, `uplink` and `settings`."""

    def __init__(self, books: "Books", uplink: "Uplink", settings: "Settings") -> None:
        self._books = books
        self._settings = settings
        self._uplink = uplink
        self._index = 0
        # The signals of the meters: of this round so far, and of the whole round before.
        self._seen = 0
        self._shown = 0

    def look(self) -> int:
        """Look at some meters; return all bits but the first. It is called once a second."""
        books = self._books
        registry = books.registry
        for _ in range(_SHARE):
            if self._index >= registry.count:
                self._index = 0
                self._shown = self._seen
                self._seen = 0
                break
            self._seen |= self._signals_of(self._index)
            self._index += 1
        signals = self._shown
        journal = books.journal
        if (
            books.t2000 < 0
            or books.behind
            or self._uplink.reason
            or journal.failures
            or journal.is_short
            or books.tariffs.is_troubled
            or self._settings.health == LOST
        ):
            signals |= LOOK
        if self._uplink.reached:
            signals |= REACHED
        return signals

    def _signals_of(self, index: int) -> int:
        """Return the signals of one meter."""
        books = self._books
        registry = books.registry
        if not registry.active[index]:
            return 0
        relay = registry.relay[index]
        signals = CUT if relay & meters.DESIRED_OPEN else 0
        if (
            registry.misses(index) >= SILENT_MISSES
            or books.ledger.flags[index] & STOPPED
            or relay & meters.RELAY_STAGE == meters.RELAY_FAILED
        ):
            signals |= LOOK
        return signals
