"""The course of a world as lines to read: what happened when, and the money beside it.

    2026-01-02 07:15:40   account 1      12.47   TOP_UP order 2, +50.00
    2026-01-02 07:16:02                          power cuts in a change

The balance is what the checkers have computed of the records, not what the firmware says.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from host.frames.record import Record, RecordKind
from host.units import to_datetime, yuan

if TYPE_CHECKING:
    from host.world.checks.account import Account

# Fields of a record that a reader of money looks for, of each kind that has something to tell.
_TOLD: dict[int, tuple[str, ...]] = {
    RecordKind.TOP_UP: ("order",),
    RecordKind.REFUND: ("order",),
    RecordKind.RELAY: ("desired", "stage", "reason"),
    RecordKind.POLICY: ("old", "new", "reason"),
    RecordKind.FAULT: ("reason",),
    RecordKind.LINE: ("state",),
    RecordKind.CARD: ("code", "order"),
    RecordKind.START: ("cause", "records_lost", "records_rotten"),
    RecordKind.CLOCK: ("old_t2000", "new_t2000"),
    RecordKind.STANDING: ("order", "source"),
    RecordKind.COMMAND: ("number", "stage", "outcome", "text"),
    RecordKind.EVENT: ("what", "state"),
}


class Timeline:
    """Writes lines with `write`; `now_t2000` tells the world's time."""

    def __init__(self, write: Callable[[str], object], now_t2000: Callable[[], int]) -> None:
        self._write = write
        self._now_t2000 = now_t2000

    def record(self, one: Record, account: "Account | None") -> None:
        """Write about a record that became durable, and the account behind it."""
        fields = one.fields
        words = [f"{name} {fields[name]}" for name in _TOLD.get(one.kind, ()) if name in fields]
        if one.kind in (RecordKind.TOP_UP, RecordKind.REFUND):
            sign = "-" if one.kind == RecordKind.REFUND else "+"
            words.append(f"{sign}{yuan(fields['amount_fen'])}")
        elif one.kind == RecordKind.READING:
            words.append(f"{sum(fields['registers_wh'])} Wh")
        who = money = ""
        if account is not None:
            who, money = f"account {one.index}", yuan(account.balance_fen)
        self._line(who, money, f"{one.kind_name} {', '.join(words)}".rstrip())

    def event(self, what: str) -> None:
        """Write about something that happened in the world around the concentrator."""
        self._line("", "", what)

    def _line(self, who: str, money: str, what: str) -> None:
        self._write(f"{to_datetime(self._now_t2000())}   {who:<12}{money:>12}   {what}\n")
