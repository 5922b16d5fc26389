"""Judge what meters have told of a day: each midnight is valid, suspect or estimated.

A concentrator judges the readings that it charges by itself, and what it does not believe it tells
as FAULT. The registers that meters froze at midnight are what losses are computed from and nobody
has judged yet. The use of day D is the freeze at its end less the freeze at its beginning; it is
held against the household's own past of four weeks:

    negative   a register went back              spike, high   more than the past, or wires, bear
    zero       stands still for a week           low           a tenth of the least week
    rates      they do not add up to the total   clock, doubt  the concentrator said so that day
    duplicate  two concentrators tell of one midnight, and not the same
    gap        no midnight: estimated from what stands beside it, and from nothing else than that
    rollover, exchange   explained, and valid

An estimate is computed where it is shown. It is never stored, so that money cannot read it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from host.headend.places import MeterPlace, meters_of, question_marks
from host.headend.store import Store
from host.units import DAY_S, unix_of_t2000
from host.words import marked

VALID, SUSPECT, ESTIMATED = marked("valid"), marked("suspect"), marked("estimated")
NEGATIVE, SPIKE, HIGH, LOW = "negative", "spike", "high", "low"
ZERO, RATES, CLOCK, DOUBT = "zero", "rates", "clock", "doubt"
DUPLICATE, GAP, ROLLOVER, EXCHANGE = "duplicate", "gap", "rollover", "exchange"
# What each rule says of a day, in the order in which lists show them.
RULES = {
    NEGATIVE: marked("a register went back"),
    DUPLICATE: marked("told twice, and not the same"),
    RATES: marked("the rates do not add up to the total"),
    HIGH: marked("more than its wires can bear"),
    SPIKE: marked("far more than in the past"),
    ZERO: marked("stands still for a week"),
    LOW: marked("far less than in the past"),
    CLOCK: marked("the meter's clock is wrong"),
    DOUBT: marked("readings were in doubt"),
    GAP: marked("no midnight"),
    ROLLOVER: marked("the register began again at zero"),
    EXCHANGE: marked("the meter was exchanged"),
}
_EXPLAINED = frozenset((ROLLOVER, EXCHANGE))

MODULUS_WH = 1_000_000_000  # a register of six digits and two decimals
_NEAR_END_WH = 900_000_000
_STEP_WH = 10
# Three phases of 100 A at 220 V for a day. Registers are what the meter measures, before the
# ratio of transformers.
_WIRES_WH = 3 * 220 * 100 * 24
_PAST_DAYS = (1, 2, 3, 4, 5, 6, 7, 14, 21, 28)
_WEEKS = ((0, 7), (7, 14), (14, 21), (21, 28))
_SPIKE_TIMES, _SPIKE_MORE_WH = 5, 5_000
_LOW_PARTS, _USES_WH = 10, 1_000
_STILL_DAYS = 7
_CHUNK = 500
_LINE_CLOCK = 3  # a state of LINE
_BELIEVED_FROM = 1  # the highest reason of FAULT that says that billing goes on


@dataclass(frozen=True, slots=True)
class Frozen:
    """The registers of a meter at a midnight, total first, and the record that told of them."""

    registers_wh: tuple[int, ...]
    concentrator: int
    seq: int

    @property
    def total_wh(self) -> int:
        """Return the total."""
        return self.registers_wh[0] if self.registers_wh else 0


@dataclass(frozen=True, slots=True)
class Mark:
    """What a rule says of a day, with the value that it judged and its limit, in Wh or seconds."""

    rule: str
    value: int = 0
    limit: int = 0

    @property
    def state(self) -> str:
        """Return whether the day is valid, suspect or can only be estimated."""
        if self.rule in _EXPLAINED:
            return VALID
        return ESTIMATED if self.rule == GAP else SUSPECT


@dataclass(frozen=True, slots=True)
class Judged:
    """A meter's day: its use in Wh where both midnights are here, and what rules say of it."""

    place: MeterPlace
    use_wh: int | None
    marks: tuple[Mark, ...]
    concentrator: int
    seq: int

    @property
    def state(self) -> str:
        """Return the worst of the marks' states."""
        states = {one.state for one in self.marks}
        return next((one for one in (SUSPECT, ESTIMATED) if one in states), VALID)


# --- rules --------------------------------------------------------------------------------------


def judge(midnights: Mapping[int, Frozen], day: int) -> list[Mark]:
    """Return what the registers of a meter say of a day; `midnights` by their number of day."""
    begin, end = midnights.get(day), midnights.get(day + 1)
    if end is None:
        return [Mark(GAP)]
    marks = []
    off_wh = uneven_wh(end.registers_wh)
    if off_wh:
        marks.append(Mark(RATES, off_wh, _STEP_WH * len(end.registers_wh)))
    if begin is None:
        return marks
    use_wh = end.total_wh - begin.total_wh
    if use_wh < 0 and begin.total_wh >= _NEAR_END_WH and use_wh + MODULUS_WH <= _WIRES_WH:
        return [Mark(ROLLOVER, use_wh + MODULUS_WH, MODULUS_WH)]
    back_wh = min(
        (two - one for one, two in zip(begin.registers_wh, end.registers_wh, strict=False)),
        default=0,
    )
    if back_wh < 0:
        return [*marks, Mark(NEGATIVE, back_wh, 0)]
    if use_wh > _WIRES_WH:
        return [*marks, Mark(HIGH, use_wh, _WIRES_WH)]
    return [*marks, *_against_past(midnights, day, use_wh)]


def uneven_wh(registers_wh: Sequence[int]) -> int:
    """Return by how much a total is above the sum of its rates, 0: they add up.

    A meter with one rate may keep the registers of all rates at 0; each register counts in steps.
    """
    rates = registers_wh[1:]
    if not any(rates):
        return 0
    off_wh = (registers_wh[0] - sum(rates)) % MODULUS_WH
    slack_wh = _STEP_WH * len(registers_wh)
    if off_wh <= slack_wh or off_wh >= MODULUS_WH - slack_wh:
        return 0
    return off_wh if off_wh < MODULUS_WH // 2 else off_wh - MODULUS_WH


def _against_past(midnights: Mapping[int, Frozen], day: int, use_wh: int) -> list[Mark]:
    """Hold the use of a day against the means of the weeks before it."""
    means = []
    for near, far in _WEEKS:
        one, two = midnights.get(day - far), midnights.get(day - near)
        if one is not None and two is not None and two.total_wh >= one.total_wh:
            means.append((two.total_wh - one.total_wh) // (far - near))
    if not means:
        return []
    most_wh, least_wh = max(means), min(means)
    days = [one - before for one, before in _daily(midnights, day)]
    limit_wh = _SPIKE_TIMES * most_wh + _SPIKE_MORE_WH
    if use_wh > max(limit_wh, *days, 0):
        return [Mark(SPIKE, use_wh, limit_wh)]
    still = midnights.get(day + 1 - _STILL_DAYS)
    older = means[1:]  # the newest of these weeks is most of the time that it stands still
    if use_wh == 0 and still is not None and still.total_wh == midnights[day].total_wh:
        if older and max(older) >= _USES_WH:
            return [Mark(ZERO, _STILL_DAYS, max(older))]
        return []
    if least_wh >= _USES_WH and use_wh * _LOW_PARTS < least_wh:
        return [Mark(LOW, use_wh, least_wh // _LOW_PARTS)]
    return []


def _daily(midnights: Mapping[int, Frozen], day: int) -> Iterator[tuple[int, int]]:
    """Yield the totals at the end and at the beginning of each day of the week before a day."""
    for back in range(_STILL_DAYS):
        one, two = midnights.get(day - back - 1), midnights.get(day - back)
        if one is not None and two is not None:
            yield two.total_wh, one.total_wh


# --- the readings of a day -----------------------------------------------------------------------

Reading = tuple[int, int, int, Sequence[int]]  # concentrator, number of record, time, registers
_READINGS = """
    SELECT meter, concentrator, seq, t2000, registers_wh FROM readings
    WHERE day IN (?, ?, ?) AND meter IN (SELECT address FROM meters WHERE account = ?)
    AND account = ? ORDER BY t2000, seq
"""


def judge_readings(told: Sequence[Reading]) -> dict[tuple[int, int], Mark]:
    """Return what rules say of the readings of one meter in order of time, by their records.

    Each is held against the one before it; one of which nothing is said is valid.
    """
    found = {}
    for (*_before, then, old), (concentrator, seq, t2000, new) in pairwise(told):
        steps = [two - one for one, two in zip(old, new, strict=False)]
        limit_wh = _WIRES_WH * max(t2000 - then, 0) // DAY_S + _STEP_WH * len(steps)
        turned = [
            step + MODULUS_WH if step < 0 and one >= _NEAR_END_WH else step
            for one, step in zip(old, steps, strict=True)
        ]
        mark = None
        if t2000 == then and any(steps):
            mark = Mark(DUPLICATE)
        elif min(turned, default=0) < 0:
            mark = Mark(NEGATIVE, min(steps), 0)
        elif sum(turned) > limit_wh:
            mark = Mark(HIGH, sum(turned), limit_wh)
        elif turned != steps:
            mark = Mark(ROLLOVER, sum(turned), MODULUS_WH)
        if mark is not None:
            found[concentrator, seq] = mark
    return found


def reading_marks(store: Store, account: str, day: int) -> dict[tuple[int, int], Mark]:
    """Return what rules say of each reading of an account on a day, by their records."""
    meters: dict[str, list[Reading]] = {}
    for row in store.rows(_READINGS, (day - 1, day, day + 1, account, account)):
        told = (row["concentrator"], row["seq"], row["t2000"], row["registers_wh"])
        meters.setdefault(row["meter"], []).append(told)
    return {key: mark for told in meters.values() for key, mark in judge_readings(told).items()}


# --- a day of many meters ------------------------------------------------------------------------


def judged(
    store: Store, day: int, district: str | None = None, account: str | None = None
) -> Iterator[Judged]:
    """Yield the day of each registered meter, of a district, an account or the whole station."""
    places = meters_of(store, district, account)
    for at in range(0, len(places), _CHUNK):
        chunk = places[at : at + _CHUNK]
        midnights, twice = _midnights(store, day, [one.meter for one in chunk])
        told = _told_of(store, day, chunk)
        for place in chunk:
            yield _judged(place, day, midnights.get(place.meter, {}), told, twice)


def suspects(store: Store, day: int, district: str | None = None) -> list[Judged]:
    """Return the meters of which a rule says something on a day, in the order of the rules."""
    order = list(RULES)
    found = [one for one in judged(store, day, district) if one.marks]
    return sorted(found, key=lambda one: (order.index(one.marks[0].rule), one.place.account))


def _judged(
    place: MeterPlace,
    day: int,
    midnights: Mapping[int, Frozen],
    told: Mapping[str, list[Mark]],
    twice: frozenset[str],
) -> Judged:
    begin, end = midnights.get(day), midnights.get(day + 1)
    marks = judge(midnights, day)
    said = told.get(place.account, [])
    if any(one.rule == EXCHANGE for one in said):
        # The new meter has no midnight before its first one, and no past.
        marks = [one for one in marks if one.rule in (RATES, ROLLOVER)]
    if place.is_1997:
        marks = [one for one in marks if one.rule != GAP]
    if place.meter in twice:
        marks.append(Mark(DUPLICATE))
    marks = sorted([*marks, *said], key=lambda one: list(RULES).index(one.rule))
    use_wh = None
    if begin is not None and end is not None:
        use_wh = end.total_wh - begin.total_wh
        if any(one.rule == ROLLOVER for one in marks):
            use_wh += MODULUS_WH
    source = end or begin
    where = (source.concentrator, source.seq) if source else (place.concentrator, 0)
    return Judged(place, use_wh, tuple(marks), *where)


def _midnights(
    store: Store, day: int, meters: Sequence[str]
) -> tuple[dict[str, dict[int, Frozen]], frozenset[str]]:
    """Return the midnights of meters up to a day, and those that were told in two ways."""
    days = (day + 1, day, *(day - back for back in _PAST_DAYS))
    found: dict[str, dict[int, Frozen]] = {}
    twice = set()
    for on, meter, concentrator, seq, registers in _freezes(store, days, meters):
        registers_wh = tuple(map(int, registers[1:-1].split(","))) if len(registers) > 2 else ()
        own = found.setdefault(meter, {})
        there = own.get(on)
        if there is not None and there.registers_wh != registers_wh and on > day:
            twice.add(meter)
        own[on] = Frozen(registers_wh, concentrator, seq)
    return found, frozenset(twice)


def _freezes(store: Store, days: Iterable[int], meters: Sequence[str]) -> list[tuple[Any, ...]]:
    days = [*days]
    with store.database.looking():
        return store.database.all(
            "SELECT day, meter, concentrator, seq, registers_wh FROM freezes "
            f"WHERE day IN ({question_marks(days)}) AND meter IN ({question_marks(meters)})",
            (*days, *meters),
        )


_ALARMS = """
    SELECT account, kind, detail FROM alarms
    WHERE account IN ({accounts}) AND t2000 >= ? AND t2000 < ? AND kind IN ('FAULT', 'LINE')
"""
_EXCHANGES = """
    SELECT account, since_at FROM installations
    WHERE account IN ({accounts}) AND since_at >= ? AND since_at < ? AND EXISTS (
        SELECT 1 FROM installations AS older
        WHERE older.account = installations.account AND older.since_at < installations.since_at
    )
"""


def _told_of(store: Store, day: int, places: Sequence[MeterPlace]) -> dict[str, list[Mark]]:
    """Return what the concentrators and the ledger of meters say of a day, by account."""
    accounts = [one.account for one in places]
    found: dict[str, list[Mark]] = {}

    def note(account: str, mark: Mark) -> None:
        marks = found.setdefault(account, [])
        if all(one.rule != mark.rule for one in marks):
            marks.append(mark)

    query = _ALARMS.format(accounts=question_marks(accounts))
    for row in store.rows(query, (*accounts, day * DAY_S, (day + 1) * DAY_S)):
        detail = row["detail"]
        if row["kind"] == "LINE" and detail.get("state") == _LINE_CLOCK:
            note(row["account"], Mark(CLOCK, detail.get("ahead_s", 0)))
        elif row["kind"] == "FAULT" and detail.get("reason", 0) > _BELIEVED_FROM:
            note(row["account"], Mark(DOUBT, detail["reason"]))
    zone = store.zone()
    span = (unix_of_t2000(day * DAY_S, zone), unix_of_t2000((day + 1) * DAY_S, zone))
    query = _EXCHANGES.format(accounts=question_marks(accounts))
    for row in store.rows(query, (*accounts, *span)):
        note(row["account"], Mark(EXCHANGE))
    return found
