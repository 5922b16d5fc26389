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
# The count of cards that are not genuine, of any numbers, and the time until one more is judged.
SPREAD_LIMIT = const(32)
RELIEF_MS = const(10000)
# The count of refused cards that are recorded, and the time until one more is.
NOTES_LIMIT = const(20)
_NOTE_MS = const(180000)

# Each row has a serial number and the count of its cards that are not genuine.
_ROWS = const(4)
_LOCK_SIZE = const(9)  # UID_SIZE + 1, which MicroPython does not take as a constant
# Places in `_left`: how many cards may still be judged, and how many recorded, each with the ticks
# of the last one gained; then for each row the ticks of its last card.
_JUDGED = const(0)
_NOTES = const(2)
_TICKS = const(4)

_TICKS_MASK = const(0x1FFFFFFF)
_U8_LIMIT = const(0xFF)


class Lockout:
    """The locks of one reader, in memory only."""

    def __init__(self, recent: int) -> None:
        """Begin with `recent` cards that were not genuine before the start.

        Their serial numbers are unknown: where they would have locked one, the reader begins with
        a rest.
        """
        self._rows = bytearray(_ROWS * _LOCK_SIZE)
        self._left = left = array("i", bytes(4 * (_TICKS + _ROWS)))
        left[_JUDGED] = 0 if recent >= FAILURES_LIMIT else SPREAD_LIMIT - recent
        left[_NOTES] = NOTES_LIMIT
        left[_JUDGED + 1] = left[_NOTES + 1] = -1

    def rest(self, now_ticks: int) -> bool:
        """Let time pass; return true once when the reader has rested from all such cards."""
        for row in range(_ROWS):
            if (now_ticks - self._left[_TICKS + row]) & _TICKS_MASK >= _FORGET_MS:
                self._rows[row * _LOCK_SIZE + UID_SIZE] = 0
        return self._gain(_JUDGED, SPREAD_LIMIT, RELIEF_MS, now_ticks)

    def refuses(self, uid: bytearray, now_ticks: int) -> bool:
        """Return whether a card of this serial number must not be judged now."""
        row = self._row_of(uid)
        excess = self._rows[row * _LOCK_SIZE + UID_SIZE] - FAILURES_LIMIT if row >= 0 else -1
        if excess >= 0:
            lock_ms = LOCK_MS << min(excess, _DOUBLINGS)
            if (now_ticks - self._left[_TICKS + row]) & _TICKS_MASK < lock_ms:
                return True
        return self._left[_JUDGED] == 0

    def count(self, uid: bytearray, now_ticks: int) -> None:
        """Count a card of this serial number that is not genuine."""
        rows = self._rows
        self._left[_JUDGED] = max(0, self._left[_JUDGED] - 1)
        row = self._row_of(uid)
        if row < 0:
            # The number with the fewest such cards is given up, so that none ends a lock.
            row = 0
            for other in range(1, _ROWS):
                if rows[other * _LOCK_SIZE + UID_SIZE] < rows[row * _LOCK_SIZE + UID_SIZE]:
                    row = other
            rows[row * _LOCK_SIZE : row * _LOCK_SIZE + UID_SIZE] = uid
            rows[row * _LOCK_SIZE + UID_SIZE] = 0
        at = row * _LOCK_SIZE + UID_SIZE
        rows[at] = min(rows[at] + 1, _U8_LIMIT)
        self._left[_TICKS + row] = now_ticks

    def may_note(self, now_ticks: int) -> bool:
        """Return whether one more refused card may be recorded, and count it."""
        self._gain(_NOTES, NOTES_LIMIT, _NOTE_MS, now_ticks)
        if not self._left[_NOTES]:
            return False
        self._left[_NOTES] -= 1
        return True

    def clear(self) -> None:
        """End all locks, as a technician asks for."""
        self._left[_JUDGED] = SPREAD_LIMIT
        for row in range(_ROWS):
            self._rows[row * _LOCK_SIZE + UID_SIZE] = 0

    def _gain(self, place: int, limit: int, gain_ms: int, now_ticks: int) -> bool:
        """Add what time has brought; return whether it is full again, which it was not."""
        left = self._left
        if left[place + 1] < 0 or left[place] == limit:
            left[place + 1] = now_ticks
            return False
        gained = ((now_ticks - left[place + 1]) & _TICKS_MASK) // gain_ms
        left[place + 1] = (left[place + 1] + gained * gain_ms) & _TICKS_MASK
        left[place] = min(limit, left[place] + gained)
        return left[place] == limit

    def _row_of(self, uid: bytearray) -> int:
        rows = self._rows
        for row in range(_ROWS):
            at = row * _LOCK_SIZE
            if rows[at + UID_SIZE] and same(rows, at, uid, 0, UID_SIZE):
                return row
        return -1
