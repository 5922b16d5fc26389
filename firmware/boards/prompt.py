"""Lock the port's prompt while a console key is set, and open it by that key.

While it is locked, ^C is a byte like any other, and a program that fails restarts the board. The
command `prompt`, which needs a login, opens it for `dianka flash` until the next start. ^C in the
second before the concentrator has started still gives the prompt.
"""

import time

import micropython
from micropython import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from ports import Concentrator

_CTRL_C = const(3)
_OFF = const(-1)
# The answer to the command leaves before the prompt comes.
_LEAVE_MS = const(500)


class Prompt:
    """The lock of the prompt.

    is_locked   whether ^C is a byte like any other
    """

    def __init__(self) -> None:
        self.is_locked = False
        self._app: Concentrator | None = None
        self._leaves = False
        self._leave_ticks = 0

    def attach(self, app: "Concentrator") -> None:
        """Offer the command `prompt`, and lock the prompt while `app` has a console key."""
        self._app = app
        app.offer("prompt", "", True, self._command)

    def look(self) -> None:
        """Lock the prompt or open it; raise KeyboardInterrupt when it was asked for."""
        if self._app is not None:
            self.lock_prompt(not self._app.login.is_keyless)
        self.attend()

    def attend(self) -> None:
        """Raise KeyboardInterrupt when the prompt was asked for."""
        if self._leaves and time.ticks_diff(time.ticks_ms(), self._leave_ticks) >= 0:
            self.lock_prompt(False)
            raise KeyboardInterrupt

    def lock_prompt(self, is_locked: bool) -> None:
        """Lock the prompt, or open it."""
        if is_locked != self.is_locked:
            self.is_locked = is_locked
            micropython.kbd_intr(_OFF if is_locked else _CTRL_C)

    def _command(self, number: int) -> "list[str]":
        if self._app is not None:
            self._app.login.tell_prompt()
        self._leaves = True
        self._leave_ticks = time.ticks_add(time.ticks_ms(), _LEAVE_MS)
        return ["the prompt opens; the next start locks it again"]
