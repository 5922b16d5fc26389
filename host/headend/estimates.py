"""Estimate a midnight that is missing, where it is shown, and say how.

A register only grows, so what stands before and behind the midnight are bounds that hold. Between
them the nearest two are joined by a straight line. Nothing here is stored: money is made of
readings and freezes alone, and reads neither.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from host.headend.places import MeterPlace, question_marks
from host.headend.samples import PROFILE
from host.headend.store import Store
from host.units import DAY_S
from host.words import marked

BETWEEN_READINGS = marked("between two readings")
BETWEEN_MIDNIGHTS = marked("between two midnights")
FROM_PAST = marked("from its use before")
LOAD_PROFILE = marked("from the meter's load profile")
_REACH_DAYS = 31
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Estimate:
    """The total at a midnight in Wh, how it was found, and between what it lies for certain.

    high_wh   None: nothing is known behind the midnight
    """

    total_wh: int
    how: str
    low_wh: int
    high_wh: int | None


def estimates(
    store: Store, midnight_day: int, places: Sequence[MeterPlace]
) -> dict[str, Estimate]:
    """Return by account the total at the midnight that begins a day, where it can be told."""
    found: dict[str, Estimate] = {}
    for at in range(0, len(places), _CHUNK):
        chunk = places[at : at + _CHUNK]
        known = _known(store, midnight_day, [one.meter for one in chunk])
        for place in chunk:
            told = estimate(known.get(place.meter, []), midnight_day * DAY_S)
            if told is not None:
                found[place.account] = told
    return found


Point = tuple[int, int, str]


def estimate(points: Sequence[Point], at_t2000: int) -> Estimate | None:
    """Return the total at a moment from points of time, total in Wh and how to call them."""
    before = [one for one in points if one[0] <= at_t2000]
    behind = [one for one in points if one[0] >= at_t2000]
    if not before:
        return None
    one = max(before)
    if one[0] == at_t2000:
        return Estimate(one[1], one[2], one[1], one[1])
    if behind:
        two = min(behind)
        if two[1] >= one[1]:
            grown_wh = (two[1] - one[1]) * (at_t2000 - one[0]) // (two[0] - one[0])
            how = one[2] if one[2] == two[2] else BETWEEN_READINGS
            return Estimate(one[1] + grown_wh, how, one[1], two[1])
        return None  # a register that went back bears no line
    first = min(before)
    if first[0] == one[0] or one[1] < first[1]:
        return None
    grown_wh = (one[1] - first[1]) * (at_t2000 - one[0]) // (one[0] - first[0])
    return Estimate(one[1] + grown_wh, FROM_PAST, one[1], None)


def _known(store: Store, day: int, meters: Sequence[str]) -> dict[str, list[Point]]:
    """Return what stands around a midnight: midnights of a month, and readings of two days."""
    found: dict[str, list[Point]] = {}
    marks = question_marks(meters)
    days = [*range(day - _REACH_DAYS, day + _REACH_DAYS + 1)]
    with store.database.looking():
        freezes = store.database.all(
            "SELECT meter, t2000, registers_wh FROM freezes "
            f"WHERE day IN ({question_marks(days)}) AND meter IN ({marks})",
            (*days, *meters),
        )
        readings = store.database.all(
            "SELECT meter, t2000, registers_wh FROM readings "
            f"WHERE day IN (?, ?) AND meter IN ({marks})",
            (day - 1, day, *meters),
        )
        profile = store.database.all(
            f'SELECT meter, t2000, "values" FROM items WHERE day = ? AND meter IN ({marks}) '
            "AND t2000 = ? AND identifier = ?",
            (day, *meters, day * DAY_S, PROFILE),
        )
    for meter, t2000, text in freezes:
        registers = _numbers(text)
        total = registers[0] if registers else 0
        found.setdefault(meter, []).append((t2000, total, BETWEEN_MIDNIGHTS))
    for meter, t2000, text in readings:
        # Readings have the registers that are charged, without a total.
        found.setdefault(meter, []).append((t2000, sum(_numbers(text)), BETWEEN_READINGS))
    for meter, t2000, text in profile:
        values = _numbers(text)
        if values:
            found.setdefault(meter, []).append((t2000, values[0], LOAD_PROFILE))
    return found


def _numbers(text: str) -> list[int]:
    """Return the numbers of a list in JSON; one that is null counts as nothing."""
    inner = text.strip()[1:-1].strip()
    return [int(one) for one in inner.split(",") if one.strip() != "null"] if inner else []
