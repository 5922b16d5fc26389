"""The words of commands: numbers, digits, times and accounts, checked before anything is touched.

What is wrong is said with what to try next.
"""

from binascii import hexlify, unhexlify

from dlt645 import clock
from micropython import const
from prepay.accounts import REGISTER_MODULUS_WH

from concentrator.books.registry import parse_digits
from concentrator.console.console import Refusal

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from typing import Protocol

    from card.redemption import Redemption
    from prepay.ledger import Ledger

    from concentrator.books.books import Books
    from concentrator.books.registry import Registry
    from concentrator.books.tariffs import Tariffs
    from concentrator.console.console import Console
    from concentrator.line.poller import Poller
    from concentrator.login import Login
    from concentrator.settings import Settings
    from concentrator.storage.checkpoint import Checkpoint
    from concentrator.storage.journal import Journal
    from concentrator.storage.keeper import Keeper
    from concentrator.timekeeper import Timekeeper
    from concentrator.uplink import Uplink

    # A command is a row of ROWS in its module: name, fewest and most arguments, what they are,
    # whether it changes anything, name of its function. Where a console key is set, what changes
    # something needs a session. No row shows a secret: which settings are secret is a column of
    # their table. ROWS are in flash: functions in them would make every row an object on the heap.
    Row = tuple[str, int, int, str, bool, str]

    class App(Protocol):
        """The concentrator, as far as commands look at it and change it."""

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
        uplink: Uplink
        login: Login
        console: "Console | None"
        redemption: "Redemption | None"
        local: "Redemption | None"

        def configure(self) -> None:
            """Take the settings over."""

        def restored(self) -> str:
            """Go on behind the head-end's records; why that cannot be, or ""."""

        def counters(self) -> "list[tuple[str, int]]":
            """What happened since the start, by name."""


def number_of(text: str, least: int, greatest: int, what: str) -> int:
    """The number that `text` is; Refusal where it is none or beyond its limits."""
    if not text.isdigit() or not least <= int(text) <= greatest:
        raise Refusal(what + " is a number from " + str(least) + " to " + str(greatest))
    return int(text)


def energy_wh_of(text: str) -> int:
    """A register as it is shown, kWh with at most two decimals, in Wh."""
    whole, _, decimals = text.partition(".")
    if not whole.isdigit() or not (decimals or "0").isdigit() or len(decimals) > 2:
        raise Refusal("a register is kWh like 1234.56, not " + text)
    wh = int(whole) * 1000 + int((decimals + "00")[:2]) * 10
    if wh >= REGISTER_MODULUS_WH:
        raise Refusal("no register shows " + text)
    return wh


def digits_of(text: str, what: str) -> bytes:
    """Up to 12 digits as six bytes, as registry.parse_digits."""
    digits = parse_digits(text)
    if not digits:
        raise Refusal(what + " has up to 12 digits, not " + text)
    return digits


def find_account(app: "App", text: str) -> int:
    """Row of the account; Refusal where there is none."""
    index = app.registry.find_account(digits_of(text, "an account number"))
    if index < 0:
        raise Refusal("no account " + text + ", `meter list` names them")
    return index


def time_text(t2000: int) -> str:
    """YYYY-MM-DD hh:mm:ss, or "unknown" below 0."""
    if t2000 < 0:
        return "unknown"
    fields = bytearray(6)
    clock.encode_into(fields, 0, t2000)
    # The fields are BCD: their hexadecimal digits are the decimal ones.
    pairs = [hexlify(fields[at : at + 1]).decode() for at in range(6)]
    return f"20{pairs[5]}-{pairs[4]}-{pairs[3]} {pairs[2]}:{pairs[1]}:{pairs[0]}"


def parse_time(date: str, time: str) -> int:
    """Seconds since 2000 of YYYY-MM-DD and hh:mm:ss; Refusal where there is no such moment."""
    try:
        digits = unhexlify(date.replace("-", "") + time.replace(":", ""))
    except ValueError:
        digits = b""
    if len(digits) == 7 and digits[0] == 0x20:
        # ss mm hh WW DD MM YY
        wire = bytearray((digits[6], digits[5], digits[4], 0, digits[3], digits[2], digits[1]))
        t2000 = clock.decode_moment(7, wire, 0)
        if t2000 >= 0:
            return t2000
    raise Refusal("a time is like 2026-11-25 08:30:00")
