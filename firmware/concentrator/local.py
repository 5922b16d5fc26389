"""A card reader of the board's own, beside the one on the console's far side.

`LocalReader` stands before the concentrator: whoever drives the board calls its `step` instead of
the application's. `carrier` is a card/chips/local.py over whatever chip the board has.
"""

from card.keys import Keys
from card.redemption import Redemption
from micropython import const

from concentrator.app import OWN_READER
from concentrator.cards.operator import Operator
from concentrator.cards.programmer import Programmer

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from card.chips.local import LocalCarrier

    from concentrator.app import App

# The longest time from step to step: with a card in the reader, and without.
_CARD_MS = const(2)
_SEARCH_MS = const(20)


class LocalReader:
    """Redeems the cards of `carrier` into the books of `app`, and steps both.

    programmer      lets a technician's PC read and write them
    """

    def __init__(self, app: "App", carrier: "LocalCarrier") -> None:
        operator = Operator(app.settings, app.books, app.configure)
        self.redemption = Redemption(carrier, app.books, Keys(0, 0, b""), operator)
        self.programmer = Programmer(carrier, app.login)
        app.local = self.redemption
        app.tasks += 1
        self.tasks = app.tasks
        self.moves = app.moves
        self.signals = app.signals
        self.press = app.press
        if app.console is not None:
            app.console.programmer = self.programmer
        self._app = app
        self._carrier = carrier
        self._present = 0

    def step(self, now_ticks: int, now_t2000: int) -> int:
        """As App.step: do what is due, return for how many ms nothing will be."""
        app = self._app
        carrier = self._carrier
        redemption = self.redemption
        carrier.step(now_ticks)
        if carrier.present != self._present:
            self._present = carrier.present
            self._take_keys()
        app.books.t2000 = now_t2000
        if redemption.poll(now_ticks, now_t2000):
            app.wake()
        if self.programmer.poll(now_ticks, redemption.busy):
            app.wake()
        if not redemption.busy and not self.programmer.busy:
            app.note_move(OWN_READER)
        longest_ms = _CARD_MS if carrier.present else _SEARCH_MS
        return min(longest_ms, app.step(now_ticks, now_t2000))

    def _take_keys(self) -> None:
        """The key of the district as it is set now."""
        settings = self._app.settings
        version = settings.number("card_key_version")
        self.redemption.keys = Keys(settings.number("district"), version, settings.key("card_key"))
