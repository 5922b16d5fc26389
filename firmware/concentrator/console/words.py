"""Check and convert the words of commands: numbers, digits, times and accounts.

A Refusal says what is wrong and what to try next.
"""

from binascii import unhexlify

from dlt645 import clock
from micropython import const
from prepay.accounts import REGISTER_MODULUS_WH

from concentrator.books.registry import parse_digits
from concentrator.console.console import Refusal
from concentrator.settings import STORAGE_TROUBLE

# The last column of a command's row.
HERE = const(0)  # at the console only
ASKED = const(1)  # also from above: it changes nothing that lasts, so it is not journalled
ORDERED = const(2)  # also from above, and journalled: its effect is absolute, not relative

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Protocol

    from card.redemption import Redemption
    from prepay.ledger import Ledger

    from concentrator.books.books import Books
    from concentrator.books.registry import Registry
    from concentrator.books.tariffs import Tariffs
    from concentrator.console.console import Console
    from concentrator.entropy import Entropy
    from concentrator.line.poller import Poller
    from concentrator.login import Login
    from concentrator.settings import Settings
    from concentrator.storage.checkpoint import Checkpoint
    from concentrator.storage.journal import Journal
    from concentrator.storage.keeper import Keeper
    from concentrator.timekeeper import Timekeeper
    from concentrator.uplink import Uplink

    # A command is a row of ROWS in its module: name, its arguments, what it needs, name of its
    # function, whether the head-end may give it. Arguments from the first bracket on may be left
    # out, and with `..` there may be any number of them. If a console key is set, a command that
    # shows accounts or the journal needs a session of READ or FULL, one that changes something a
    # session of FULL. No command shows a secret: which settings are secret is a column of their
    # table. ROWS are in flash: with functions in them they would be on the heap.
    Row = tuple[str, str, int, str, int]

    class App(Protocol):
        """The interface of the concentrator for commands."""

        timekeeper: Timekeeper
        settings: Settings
        journal: Journal
        registry: Registry
        ledger: Ledger
        tariffs: Tariffs
        books: Books
        checkpoint: Checkpoint
        pollers: "list[Poller]"
        keeper: Keeper
        litter: int
        uplink: Uplink
        login: Login
        entropy: Entropy
        console: "Console | None"
        redemption: "Redemption | None"
        local: "Redemption | None"
        # Show a text until a time; return whether that is durable. None: the board has no display.
        show_text: "Callable[[int, str], bool] | None"
        # The commands of the board's own parts: ROWS and their functions by name.
        board_commands: "list[dict[str, Any]]"

        def configure(self) -> None:
            """Apply the settings."""

        def restored(self) -> str:
            """Continue after the head-end's last record; return why that is impossible, or ""."""


def refuse(trouble: str) -> None:
    """Raise Refusal if there is a trouble."""
    if trouble:
        raise Refusal(trouble)


def kept(is_durable: bool) -> None:
    """Raise Refusal unless what a command wrote is durable."""
    refuse("" if is_durable else STORAGE_TROUBLE)


def bytes_of(text: str) -> bytes:
    """Return the bytes of hexadecimal digits, none if they are something else."""
    try:
        return unhexlify(text)
    except ValueError:
        return b""


def octets_of(text: str, size: int, trouble: str) -> bytes:
    """Return the bytes of hexadecimal digits; Refusal for other text or another size, 0: any."""
    octets = bytes_of(text)
    if not octets or len(octets) != (size or len(octets)):
        raise Refusal(trouble)
    return octets


def told(found: "list[tuple[str, object]]") -> "list[str]":
    """Return a line `name value` for each of these."""
    return [name.replace(" ", "_") + " " + str(value) for name, value in found]


def number_of(text: str, least: int, greatest: int, what: str) -> int:
    """Return the number in `text`; Refusal if it is none or beyond its limits."""
    if not text.isdigit() or not least <= int(text) <= greatest:
        raise Refusal(what + " is a number from " + str(least) + " to " + str(greatest))
    return int(text)


def energy_wh_of(text: str) -> int:
    """Return the Wh of a register as shown: kWh with at most two decimals."""
    whole, _, decimals = text.partition(".")
    if not whole.isdigit() or not (decimals or "0").isdigit() or len(decimals) > 2:
        raise Refusal("a register is kWh like 1234.56, not " + text)
    wh = int(whole) * 1000 + int((decimals + "00")[:2]) * 10
    if wh >= REGISTER_MODULUS_WH:
        raise Refusal("no register shows " + text)
    return wh


def digits_of(text: str, what: str) -> bytes:
    """Return up to 12 digits as six bytes, as registry.parse_digits does; Refusal if wrong."""
    digits = parse_digits(text)
    if not digits:
        raise Refusal(what + " has up to 12 digits, not " + text)
    return digits


def find_account(app: "App", text: str) -> int:
    """Return the row of the account; Refusal if there is none."""
    index = app.registry.find_account(digits_of(text, "an account number"))
    if index < 0:
        raise Refusal("no account " + text + ", `meter list` names them")
    return index


def time_text(t2000: int) -> str:
    """Return YYYY-MM-DD hh:mm:ss, or "unknown" below 0."""
    if t2000 < 0:
        return "unknown"
    fields = bytearray(6)
    clock.encode_into(fields, 0, t2000)
    # The fields are BCD: their hexadecimal digits are the decimal ones.
    pairs = [fields[at : at + 1].hex() for at in range(6)]
    return f"20{pairs[5]}-{pairs[4]}-{pairs[3]} {pairs[2]}:{pairs[1]}:{pairs[0]}"


def parse_time(date: str, time: str) -> int:
    """Return the seconds since 2000 of YYYY-MM-DD and hh:mm:ss; Refusal for no such moment."""
    digits = bytes_of(date.replace("-", "") + time.replace(":", ""))
    if len(digits) == 7 and digits[0] == 0x20:
        # ss mm hh WW DD MM YY
        wire = bytearray((digits[6], digits[5], digits[4], 0, digits[3], digits[2], digits[1]))
        t2000 = clock.decode_moment(7, wire, 0)
        if t2000 >= 0:
            return t2000
    raise Refusal("a time is like 2026-11-25 08:30:00")


def changing(app: "App", name: str, steps: "Iterator[str]") -> "Iterator[str]":
    """Carry out the steps of Settings that change `name`, one in each step of the command."""
    yield ""
    for trouble in steps:
        refuse(trouble)
        app.litter += 1
        yield ""
    yield from app.entropy.renew()
    app.configure()
    yield name + " " + app.settings.text(name)
