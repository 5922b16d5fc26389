"""Drive the front panel of a board: lamps, a buzzer and a button, each of them optional."""

import time

from micropython import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    import machine

    from boards.wiring import Options

_SHOW_MS = const(150)
# The codes of accepted cards end here. A refused card beeps three times: five changes.
_TAKEN = const(1)
_REFUSED_CHANGES = const(5)


class Panel:
    """The panel of the keys lamps, buzzer and button of board.json.

    pressed     true once the button was pressed; the caller sets it back to False
    """

    def __init__(self, options: "Options") -> None:
        self.pressed = False
        self._lamps = options.outputs("lamps")
        self._buzzer = options.output("buzzer") if "buzzer" in options else None
        self._buzzer_ticks = 0
        # The changes of the buzzer that remain; the last one turns it off.
        self._changes = 0
        self._signals = 0
        self._held = False
        self._button: machine.Pin | None = None
        if "button" in options:
            self._button = options.input("button")

    def attend_panel(self) -> None:
        """Continue a beep, and read the button."""
        if self._changes:
            self._beep()
        if self._button is not None and self._held == bool(self._button()):
            self._held = not self._held
            self.pressed |= self._held
            self.signal(self._signals)

    def signal(self, signals: int) -> None:
        """Light the lamps by `signals`, a bit for each; all of them while the button is held."""
        self._signals = signals
        if self._held:
            signals = -1
        for index, lamp in enumerate(self._lamps):
            lamp(signals >> index & 1)

    def show_card(self, code: int, credited: bool, index: int) -> None:
        """Begin to beep: once for an accepted card, three times for a refused one."""
        if self._buzzer is not None:
            self._buzzer(1)
            self._buzzer_ticks = time.ticks_ms()
            self._changes = 1 if code <= _TAKEN else _REFUSED_CHANGES

    def _beep(self) -> None:
        """Switch the buzzer when its next change is due."""
        if self._buzzer is not None and (
            time.ticks_diff(time.ticks_ms(), self._buzzer_ticks) >= _SHOW_MS
        ):
            self._buzzer_ticks = time.ticks_ms()
            self._changes -= 1
            self._buzzer(self._changes & 1)
