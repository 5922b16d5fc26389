"""Check that a meter that is not charged is reported within a stated time.

A doubted reading is read again in the next round; when that one is doubted too, a FAULT record
says so, as it does of a meter that answers two rounds without a value. A meter that does not
answer has a LINE record. So an account has a newer reading, or a
record that says why not, within LIMIT_ROUNDS rounds and the time in which records become durable,
while board and flash work and the clock is set.
"""

from host.frames.faults import RESUMED_FROM
from host.frames.record import Record, RecordKind
from host.world.checks.account import Account, Violation

LIMIT_ROUNDS = 4
SLACK_S = 2 * 900
_US = 1_000_000
_LINE_SILENT = 1
_LINE_ANSWERS = 2


class Traces:
    """The time when each account was charged last, and whether a record says why it is not."""

    def __init__(self, interval_s: int) -> None:
        self._limit_us = (LIMIT_ROUNDS * interval_s + SLACK_S) * _US
        self._since_us: dict[int, int] = {}
        # Accounts with a record that says why they are not charged: a silent meter, or a doubt.
        self._silent: set[int] = set()
        self._doubted: set[int] = set()
        self._typed: set[int] = set()  # their next READING has registers off a display

    def note(self, one: Record, now_us: int) -> None:
        """Take a record that has become durable."""
        index = one.index
        if one.kind == RecordKind.FAULT:
            reason = one.fields["reason"]
            _set(self._doubted, index, reason > RESUMED_FROM)
            _set(self._typed, index, reason == RESUMED_FROM)
        elif one.kind == RecordKind.LINE and one.fields["state"] in (_LINE_SILENT, _LINE_ANSWERS):
            _set(self._silent, index, one.fields["state"] == _LINE_SILENT)
        elif one.kind in (RecordKind.READING, RecordKind.METER):
            self._doubted.discard(index)
            if index not in self._typed:
                self._silent.discard(index)
            self._typed.discard(index)
        else:
            return
        self._since_us[index] = now_us

    def tick(self, index: int, account: Account, now_us: int, able_us: int) -> None:
        """Check an account at times; the board has been able to charge since `able_us`."""
        told = index in self._silent or index in self._doubted or account.stopped
        # Energy counts from the first reading on.
        if told or account.fresh or not account.active:
            self._since_us[index] = now_us
            return
        since_us = max(self._since_us.setdefault(index, now_us), able_us)
        if now_us - since_us > self._limit_us:
            minutes = (now_us - since_us) // (60 * _US)
            raise Violation("trace", f"account {index} is not charged for {minutes} minutes")


def _set(indices: set[int], index: int, present: bool) -> None:
    """Add the index, or take it out."""
    if present:
        indices.add(index)
    else:
        indices.discard(index)
