"""What stands on the front of a board: lamps, a buzzer and a button, each of them optional."""

import time

from micropython import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    import machine

    from boards.wiring import Options

_SHOW_MS = const(150)
# Codes of a card that was taken end here; one that was refused beeps three times.
_TAKEN = const(1)
_REFUSED_CHANGES = const(5)


class Panel:
    """The keys lamps, buzzer and button of board.json.

    pressed     the button was pressed since it was set to False
    """

    def __init__(self, options: "Options") -> None:
        self.pressed = False
        self._lamps = options.outputs("lamps")
        self._buzzer = options.output("buzzer") if "buzzer" in options else None
        self._buzzer_ticks = 0
        # Changes of the buzzer still to come: the last one turns it off.
        self._changes = 0
        self._signals = 0
        self._held = False
        self._button: machine.Pin | None = None
        if "button" in options:
            self._button = options.input("button")

    def attend_panel(self) -> None:
        """Go on with a beep, and see whether the button is held."""
        if self._changes:
            self._beep()
        if self._button is not None and self._held == bool(self._button()):
            self._held = not self._held
            self.pressed |= self._held
            self.signal(self._signals)

    def signal(self, signals: int) -> None:
        """Show `signals`, a bit for each lamp; all of them while the button is held."""
        self._signals = signals
        if self._held:
            signals = -1
        for index, lamp in enumerate(self._lamps):
            lamp(signals >> index & 1)

    def show_card(self, code: int, credited: bool, index: int) -> None:
        """Beep: once for a card that was taken, three times for one that was not."""
        if self._buzzer is not None:
            self._buzzer(1)
            self._buzzer_ticks = time.ticks_ms()
            self._changes = 1 if code <= _TAKEN else _REFUSED_CHANGES

    def _beep(self) -> None:
        """Turn the buzzer off, or on again."""
        if self._buzzer is not None and (
            time.ticks_diff(time.ticks_ms(), self._buzzer_ticks) >= _SHOW_MS
        ):
            self._buzzer_ticks = time.ticks_ms()
            self._changes -= 1
            self._buzzer(self._changes & 1)
