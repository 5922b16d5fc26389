"""What a line remembers of one meter, as a number of 16 bits that the caller keeps.

    note    transactions in a row without a reply << 8 | reply delay in 4 ms, 0: not known yet

The delay is the longest of late, forgotten slowly. It includes what adapters and converters add,
so a meter behind a slow tunnel is waited for, and a quick one that is down costs little.
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
    """The note after a reply to the first attempt, `delay_ms` behind the request."""
    known = note & _DELAY_MASK
    seen = delay_ms // _UNIT_MS + 1 if delay_ms > 0 else 1
    if seen > _DELAY_MASK:
        seen = _DELAY_MASK
    return seen if seen >= known else known - ((known - seen + 7) >> 3)


def late(note: int) -> int:
    """The note after a reply to a later attempt only: perhaps the first was not waited for."""
    known = note & _DELAY_MASK
    known += (known >> 1) + 1
    return known if known < _DELAY_MASK else _DELAY_MASK


def missed(note: int) -> int:
    """The note after a transaction without a reply."""
    return note if note >= _MISSES_LIMIT else note + _MISS


def delay_ms(note: int) -> int:
    """How long to wait for the meter's first attempt, 0: as long as for any meter."""
    known = note & _DELAY_MASK
    return known * (_UNIT_MS + _UNIT_MS // 2) + _MARGIN_MS if known else 0


def attempts(note: int, limit: int) -> int:
    """How often to ask: a meter that was silent last time is asked once."""
    return 1 if note >= _MISS else limit


def rest_s(note: int) -> int:
    """How long to leave the meter alone: a minute after two misses, twice as long after each."""
    misses = note >> 8
    if misses < 2:
        return 0
    return _LONGEST_REST_S if misses > 7 else _FIRST_REST_S << (misses - 2)
