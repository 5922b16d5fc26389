"""Compute with millisecond ticks of 29 bits: every difference is a small int on 32-bit boards.

Ticks wrap after 6.2 days. Two instants can be compared when less than 3.1 days lie between them.
"""

from micropython import const

TICKS_MASK = const(0x1FFFFFFF)
_HALF = const(0x10000000)


def ticks_add(ticks: int, delta_ms: int) -> int:
    """Return `ticks` moved by `delta_ms`, which may be negative."""
    return (ticks + delta_ms) & TICKS_MASK


def ticks_diff(later_ticks: int, earlier_ticks: int) -> int:
    """Return the ms from `earlier_ticks` to `later_ticks`, negative if the order is reversed."""
    return ((later_ticks - earlier_ticks + _HALF) & TICKS_MASK) - _HALF
