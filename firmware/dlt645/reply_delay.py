"""Learn the reply delay of one meter, as a note of 16 bits that the caller keeps.

    note    transactions in a row without a reply << 8 | reply delay in 4 ms, 0: not known yet

The delay is the longest of the recent ones, and it falls slowly. It includes the delays of
adapters and converters, so the line waits for a meter behind a slow tunnel, and a quick meter that
is down costs little time.
"""

from micropython import const

_UNIT_MS = const(4)
_DELAY_MASK = const(0xFF)
_MISSES_LIMIT = const(0xFF00)
_MISS = const(0x100)
_MARGIN_MS = const(50)
_FIRST_REST_S = const(60)
_LONGEST_REST_S = const(3600)


def answered(note: int, delay_ms: int) -> int:
    """Return the note after a reply to the first attempt, `delay_ms` after the request."""
    known = note & _DELAY_MASK
    seen = delay_ms // _UNIT_MS + 1 if delay_ms > 0 else 1
    if seen > _DELAY_MASK:
        seen = _DELAY_MASK
    return seen if seen >= known else known - ((known - seen + 7) >> 3)


def late(note: int) -> int:
    """Return the note after a reply to a later attempt: the first wait may have been too short."""
    known = note & _DELAY_MASK
    known += (known >> 1) + 1
    return known if known < _DELAY_MASK else _DELAY_MASK


def missed(note: int) -> int:
    """Return the note after a transaction without a reply."""
    return note if note >= _MISSES_LIMIT else note + _MISS


def delay_ms(note: int) -> int:
    """Return the ms to wait for the reply to the first attempt, 0: as long as for any meter."""
    known = note & _DELAY_MASK
    return known * (_UNIT_MS + _UNIT_MS // 2) + _MARGIN_MS if known else 0


def attempts(note: int, limit: int) -> int:
    """Return how often to send a request: once to a meter that did not answer the last one."""
    return 1 if note >= _MISS else limit


def rest_s(note: int) -> int:
    """Return the seconds in which not to ask the meter: 60 after two misses, doubled by each."""
    misses = note >> 8
    if misses < 2:
        return 0
    return _LONGEST_REST_S if misses > 7 else _FIRST_REST_S << (misses - 2)
