"""The technician of a simulated world, who types commands until they are carried out.

The commands of a list are typed one after the other. A command without an answer is typed again
later, and so is one that waits for the head-end. After any other refusal the list begins again,
because a restart in the middle of it loses the work so far. A command that a concentrator refuses
because it was carried out before counts as done.
"""

from collections.abc import Callable

from host.frames import tariff
from host.world.agenda import Agenda
from host.world.checks.account import Violation
from host.world.console_side import ConsoleSide
from host.world.households import CARD_KEY_VERSION, DISTRICT, KEY
from host.world.terms import Terms

_AGAIN_US = 180_000_000
_PATIENCE = 480
_IMAGE_PART_SIZE = 64


def tariff_commands(terms: Terms, number: int) -> list[str]:
    """Return the commands that bring tariff `number` to a concentrator."""
    image = terms.image_of(number, terms.tariffs[number])
    return tariff.commands(image, number, _IMAGE_PART_SIZE)


def installation(
    number: int,
    uplink_key: bytes,
    terms: Terms,
) -> list[str]:
    """Return the commands that make an empty board concentrator `number`, without meters.

    An empty key leaves it without a head-end.
    """
    values: dict[str, object] = {"id": number}
    if uplink_key:
        values["uplink_key"] = uplink_key.hex()
    values |= {
        "district": DISTRICT,
        "card_key": KEY.hex(),
        "card_key_version": CARD_KEY_VERSION,
        "relay_1997": 1,
    }
    commands = [f"set {name} {value}" for name, value in (values | dict(terms.settings)).items()]
    for tariff_number in terms.tariffs:
        commands += tariff_commands(terms, tariff_number)
    return commands


class Technician:
    """A technician at `console`; `done` counts the commands that were carried out."""

    def __init__(self, agenda: Agenda, console: ConsoleSide) -> None:
        self.done = 0
        self._agenda = agenda
        self._console = console

    def do(self, commands: list[str], then: Callable[[], None]) -> None:
        """Have all commands typed in order, then `then` called."""
        _List(self, commands, then).go_on()

    def type(self, text: str, answered: Callable[[list[str] | None], None]) -> None:
        """Type one command once."""
        self._console.command(text, answered)

    def again(self, do: Callable[[], None]) -> None:
        """Have a call tried again after a while."""
        self._agenda.after(_AGAIN_US, do)


class _List:
    def __init__(
        self, technician: Technician, commands: list[str], then: Callable[[], None]
    ) -> None:
        self._technician = technician
        self._commands = commands
        self._then = then
        self._at = 0
        self._tries = 0

    def go_on(self) -> None:
        if self._at == len(self._commands):
            self._then()
        else:
            self._technician.type(self._commands[self._at], self._answered)

    def _answered(self, lines: list[str] | None) -> None:
        if lines and not lines[0].startswith("refused"):
            self._technician.done += 1
            self._at += 1
            self.go_on()
            return
        if lines and "already" in lines[0]:
            self._at += 1
            self.go_on()
            return
        self._tries += 1
        if self._tries == _PATIENCE:
            raise Violation("restore", f"{self._commands[self._at]}: {lines}")
        if lines and "has not answered" not in lines[0]:
            self._at = 0
        self._technician.again(self.go_on)
