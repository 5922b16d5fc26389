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
        self._told: set[int] = set()  # accounts with a record that says why they are not charged

    def note(self, one: Record, now_us: int) -> None:
        """Take a record that has become durable."""
        state = one.fields.get("state")
        if one.kind == RecordKind.FAULT:
            tells = one.fields["reason"] > RESUMED_FROM
        elif one.kind == RecordKind.LINE and state in (_LINE_SILENT, _LINE_ANSWERS):
            tells = state == _LINE_SILENT
        elif one.kind in (RecordKind.READING, RecordKind.METER):
            tells = False
        else:
            return
        self._since_us[one.index] = now_us
        if tells:
            self._told.add(one.index)
        else:
            self._told.discard(one.index)

    def tick(self, index: int, account: Account, now_us: int, able_us: int) -> None:
        """Check an account at times; the board has been able to charge since `able_us`."""
        told = index in self._told or account.stopped
        # Energy counts from the first reading on.
        if told or account.fresh or not account.active:
            self._since_us[index] = now_us
            return
        since_us = max(self._since_us.setdefault(index, now_us), able_us)
        if now_us - since_us > self._limit_us:
            minutes = (now_us - since_us) // (60 * _US)
            raise Violation("trace", f"account {index} is not charged for {minutes} minutes")
