"""The load of districts and phases, from the readings of their meters.

A register between two readings grows along a straight line. So a day is divided into slots of a
quarter of an hour, and the mean power of each slot is told. Readings that are further apart than a
slot flatten a peak: what is told is then the least that it was.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from host.headend.database import Database
from host.headend.places import MeterPlace, meters_of, question_marks
from host.headend.store import Store
from host.headend.topology import DISTRICT
from host.units import DAY_S, HOUR_S

SLOT_S = 900
PHASES = ("A", "B", "C")
# From these shares of the transformer's power on, and from this one of the phases, in 1e-4.
HEAVY_E4, OVERLOAD_E4, UNBALANCE_E4 = 8_000, 10_000, 1_500
_CHUNK = 400
_REACH_S = 6 * HOUR_S  # a reading before or behind a span may be so far from it

_READINGS = """
    SELECT meter, t2000, registers_wh FROM readings
    WHERE day IN ({days}) AND meter IN ({meters}) AND t2000 >= ? AND t2000 <= ?
    ORDER BY meter, t2000
"""
_SUPPLY = """
    SELECT supply.account, meters.address, supply.ct * supply.pt
    FROM supply_meters AS supply JOIN meters ON meters.account = supply.account
    WHERE meters.active = 1 AND level = ? AND place = ?
    AND since_day <= ? AND (until_day IS NULL OR until_day > ?)
"""
Curve = list[int | None]


@dataclass(frozen=True, slots=True)
class Household:
    """A household's mean power of each slot in W, None where it is not known."""

    account: str
    phase: str
    power_w: Curve


@dataclass(slots=True)
class Loads:
    """The load of a district from a moment on, slot by slot.

    supplied_w  by its sum meter, []: it has none
    """

    district: str
    since_t2000: int
    households: list[Household]
    supplied_w: Curve = field(default_factory=list)

    def sum_w(self, phase: str = "") -> Curve:
        """Return what the households took, of one phase or in all; None: no household is known.

        Those on three phases take a third of theirs from each.
        """
        count = len(self.households[0].power_w) if self.households else 0
        sums: Curve = [None] * count
        for one in self.households:
            if phase and phase not in one.phase:
                continue
            share = len(one.phase) if phase else 1
            for at, power_w in enumerate(one.power_w):
                if power_w is not None:
                    sums[at] = (sums[at] or 0) + power_w // share
        return sums


@dataclass(frozen=True, slots=True)
class Peak:
    """The highest load of a day; -1: nothing is known.

    loading_e4, unbalance_e4
             the share of the transformer's power, and (greatest - least) / greatest phase at that
             moment, None: not known
    seen     households of which the load of that moment is known, of `members`
    """

    district: str
    name: str
    peak_w: int
    at_t2000: int
    by_supply: bool
    phases: dict[str, tuple[int, int]]
    rated_kva: int
    loading_e4: int | None
    unbalance_e4: int | None
    seen: int
    members: int

    @property
    def is_heavy(self) -> bool:
        """Return whether the transformer has nearly all that it bears."""
        return self.loading_e4 is not None and self.loading_e4 >= HEAVY_E4

    @property
    def is_overload(self) -> bool:
        """Return whether it has more than that."""
        return self.loading_e4 is not None and self.loading_e4 > OVERLOAD_E4

    @property
    def is_unbalanced(self) -> bool:
        """Return whether the phases differ by more than the field takes for well."""
        return self.unbalance_e4 is not None and self.unbalance_e4 > UNBALANCE_E4


def loads(store: Store, district: str, since_t2000: int, until_t2000: int) -> Loads:
    """Return the load of a district in a span, by its meters of today."""
    database = store.database
    places = meters_of(store, district)
    day = since_t2000 // DAY_S
    with database.looking():
        found = database.all(_SUPPLY, (DISTRICT, district, day, day))
        rows = database.all(
            "SELECT account, multiplier FROM accounts WHERE account IN "
            "(SELECT account FROM contracts WHERE district = ?)",
            (district,),
        )
        supply = {address: ratio for _account, address, ratio in found}
        sums = {account for account, _address, _ratio in found}
        households = [one for one in places if one.account not in sums]
        span = (since_t2000, until_t2000)
        read = _readings(database, {*supply, *(one.meter for one in households)}, *span)
    multipliers = dict(rows)
    result = Loads(
        district, since_t2000, [_household(one, read, multipliers, span) for one in households]
    )
    curves = [
        [None if one is None else one * ratio for one in _powers(read.get(address, []), *span)]
        for address, ratio in supply.items()
    ]
    if curves:
        result.supplied_w = [
            None if None in slot else sum(one or 0 for one in slot)
            for slot in zip(*curves, strict=True)
        ]
    return result


def _household(
    place: MeterPlace,
    read: dict[str, list[tuple[int, int]]],
    multipliers: dict[str, int],
    span: tuple[int, int],
) -> Household:
    factor = multipliers.get(place.account, 1) or 1
    powers = _powers(read.get(place.meter, []), *span)
    return Household(
        place.account, place.phase, [None if one is None else one * factor for one in powers]
    )


def _readings(
    database: Database, meters: Iterable[str], since_t2000: int, until_t2000: int
) -> dict[str, list[tuple[int, int]]]:
    """Return moment and total of each reading around a span, by the meter."""
    first, last = since_t2000 - _REACH_S, until_t2000 + _REACH_S
    days = range(first // DAY_S, last // DAY_S + 1)
    listed = sorted(meters)
    found: dict[str, list[tuple[int, int]]] = {}
    for at in range(0, len(listed), _CHUNK):
        chunk = listed[at : at + _CHUNK]
        query = _READINGS.format(days=question_marks(days), meters=question_marks(chunk))
        for row in database.rows(query, (*days, *chunk, first, last)):
            registers_wh = row["registers_wh"]  # that of all energy, then those of rates
            point = (row["t2000"], registers_wh[0] if registers_wh else 0)
            found.setdefault(row["meter"], []).append(point)
    return found


def _powers(read: Sequence[tuple[int, int]], since_t2000: int, until_t2000: int) -> Curve:
    """Return the mean power of each slot in W, None where readings do not enclose it."""
    ends = range(since_t2000, until_t2000 + 1, SLOT_S)
    totals = _totals(read, ends)
    powers: Curve = []
    for before, behind in pairwise(totals):
        if before is None or behind is None or behind < before:
            powers.append(None)
        else:
            powers.append((behind - before) * HOUR_S // SLOT_S)
    return powers


def _totals(read: Sequence[tuple[int, int]], moments: Iterable[int]) -> list[int | None]:
    """Return the register at each of some moments, in order; None: no two readings are around."""
    totals: list[int | None] = []
    at = 0
    for moment in moments:
        while at + 1 < len(read) and read[at + 1][0] <= moment:
            at += 1
        if not read or moment < read[0][0] or moment > read[-1][0]:
            totals.append(None)
            continue
        (t0, wh0), (t1, wh1) = read[at], read[min(at + 1, len(read) - 1)]
        if moment <= t0 or t1 == t0:
            totals.append(wh0)
        else:
            totals.append(wh0 + (wh1 - wh0) * (moment - t0) // (t1 - t0) if wh1 >= wh0 else None)
    return totals


def peak_of(curve: Curve, since_t2000: int) -> tuple[int, int]:
    """Return the highest power in W and when its slot began; -1: nothing is known."""
    known = [(power_w, -at) for at, power_w in enumerate(curve) if power_w is not None]
    if not known:
        return -1, since_t2000
    power_w, at = max(known)
    return power_w, since_t2000 - at * SLOT_S


def peaks(store: Store, day: int, district: str = "") -> list[Peak]:
    """Return the peak of each district on a day, the most loaded transformer first."""
    rows = store.rows("SELECT district, name, rated_kva FROM districts ORDER BY district")
    found = [
        _peak(loads(store, row["district"], day * DAY_S, (day + 1) * DAY_S), row)
        for row in rows
        if district in ("", row["district"])
    ]
    return sorted(found, key=lambda one: (-(one.loading_e4 or 0), -one.peak_w, one.district))


def _peak(found: Loads, row: dict[str, str | int]) -> Peak:
    since = found.since_t2000
    by_supply = any(one is not None for one in found.supplied_w)
    peak_w, at_t2000 = peak_of(found.supplied_w if by_supply else found.sum_w(), since)
    at = (at_t2000 - since) // SLOT_S
    phases = {phase: found.sum_w(phase) for phase in PHASES}
    then = [curve[at] for curve in phases.values() if curve]
    known = [one for one in then if one is not None]
    unbalance = None
    if len(known) == len(PHASES) and max(known) > 0:
        unbalance = (max(known) - min(known)) * 10_000 // max(known)
    rated_kva = int(row["rated_kva"])
    return Peak(
        found.district,
        str(row["name"]) or found.district,
        peak_w,
        at_t2000,
        by_supply,
        {phase: peak_of(curve, since) for phase, curve in phases.items()},
        rated_kva,
        peak_w * 10 // rated_kva if rated_kva and peak_w >= 0 else None,
        unbalance,
        sum(one.power_w[at] is not None for one in found.households),
        len(found.households),
    )
