"""Decide which cards a reader judges, and how many refused ones it may record.

A card that is not genuine counts against its serial number. After five, cards of this number are
refused for a minute, and with each further one for twice as long, at most 8 minutes. A serial
number can be made up, so a reader also judges no more than 32 such cards, and one more every 10 s:
other households wait no longer than that. Only time ends a lock: no genuine card in between does.

At most 20 refused cards may be recorded, and one more every three minutes.
"""

from array import array

from crypto.hmac import same
from micropython import const

from card.carrier import UID_SIZE

# After this many cards of one serial number that are not genuine, it is refused for LOCK_MS.
FAILURES_LIMIT = const(5)
LOCK_MS = const(60000)
_DOUBLINGS = const(3)
# A serial number without such a card for this time is forgotten.
_FORGET_MS = const(3600000)
_NUMBERS = const(8)
# The count of cards that are not genuine, of any numbers, and the time until one more is judged.
SPREAD_LIMIT = const(32)
RELIEF_MS = const(10000)
# The count of refused cards that are recorded, and the time until one more is.
NOTES_LIMIT = const(20)
_NOTE_MS = const(180000)

_TICKS_MASK = const(0x1FFFFFFF)
_U8_LIMIT = const(0xFF)


class _Bucket:
    """A count of things that may happen, at most `limit`; one more every `gain_ms`."""

    def __init__(self, limit: int, left: int, gain_ms: int) -> None:
        self.left = left
        self._limit = limit
        self._gain_ms = gain_ms
        self._ticks = -1

    def gain(self, now_ticks: int) -> bool:
        """Add what time has brought; return whether it is full again, which it was not."""
        if self._ticks < 0 or self.left == self._limit:
            self._ticks = now_ticks
            return False
        gained = ((now_ticks - self._ticks) & _TICKS_MASK) // self._gain_ms
        self._ticks = (self._ticks + gained * self._gain_ms) & _TICKS_MASK
        self.left = min(self._limit, self.left + gained)
        return self.left == self._limit

    def take(self) -> bool:
        """Take one away; return false if there is none."""
        if not self.left:
            return False
        self.left -= 1
        return True


class Lockout:
    """The locks of one reader, in memory only."""

    def __init__(self, recent: int) -> None:
        """Begin with `recent` cards that were not genuine before the start.

        Their serial numbers are unknown: where they would have locked one, the reader begins with
        a rest.
        """
        left = 0 if recent >= FAILURES_LIMIT else SPREAD_LIMIT - recent
        self._judged = _Bucket(SPREAD_LIMIT, left, RELIEF_MS)
        self._notes = _Bucket(NOTES_LIMIT, NOTES_LIMIT, _NOTE_MS)
        self._uids = bytearray(_NUMBERS * UID_SIZE)
        self._counts = bytearray(_NUMBERS)
        self._ticks = array("i", bytes(4 * _NUMBERS))

    def rest(self, now_ticks: int) -> bool:
        """Let time pass; return true once when the reader has rested from all such cards."""
        for row in range(_NUMBERS):
            if (now_ticks - self._ticks[row]) & _TICKS_MASK >= _FORGET_MS:
                self._counts[row] = 0
        return self._judged.gain(now_ticks)

    def refuses(self, uid: bytearray, now_ticks: int) -> bool:
        """Return whether a card of this serial number must not be judged now."""
        row = self._row_of(uid)
        excess = self._counts[row] - FAILURES_LIMIT if row >= 0 else -1
        if excess >= 0:
            lock_ms = LOCK_MS << min(excess, _DOUBLINGS)
            if (now_ticks - self._ticks[row]) & _TICKS_MASK < lock_ms:
                return True
        return self._judged.left == 0

    def count(self, uid: bytearray, now_ticks: int) -> None:
        """Count a card of this serial number that is not genuine."""
        self._judged.take()
        row = self._row_of(uid)
        counts = self._counts
        if row < 0:
            # The number with the fewest such cards is given up, so that none ends a lock.
            row = 0
            for other in range(1, _NUMBERS):
                if counts[other] < counts[row]:
                    row = other
            self._uids[row * UID_SIZE : (row + 1) * UID_SIZE] = uid
            counts[row] = 0
        counts[row] = min(counts[row] + 1, _U8_LIMIT)
        self._ticks[row] = now_ticks

    def may_note(self, now_ticks: int) -> bool:
        """Return whether one more refused card may be recorded, and count it."""
        self._notes.gain(now_ticks)
        return self._notes.take()

    def clear(self) -> None:
        """End all locks, as a technician asks for."""
        self._judged.left = SPREAD_LIMIT
        for row in range(_NUMBERS):
            self._counts[row] = 0

    def _row_of(self, uid: bytearray) -> int:
        for row in range(_NUMBERS):
            if self._counts[row] and same(self._uids, row * UID_SIZE, uid, 0, UID_SIZE):
                return row
        return -1
