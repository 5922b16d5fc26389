"""Outages: when the supply was away, of whom, and how sure that is.

Three things tell of one. A meter keeps when its power went and came (031100nn): that is certain. A
concentrator tells that its own supply fails and is back (EVENT 2), or starts again behind a time
without records: all its meters were likely without supply. Else several meters fall silent at
once and answer again at once (LINE): likely, from three neighbours on; a single one is only a
meter that does not answer, and listed nowhere here.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from host.headend.places import MeterPlace, meters_of, question_marks
from host.headend.store import Store
from host.units import DAY_S, HOUR_S
from host.words import marked

CERTAIN, LIKELY = marked("certain"), marked("likely")
BY_EVENTS = marked("meters have recorded it")
BY_SUPPLY = marked("the concentrator's own supply failed")
BY_SILENCE = marked("neighbours fell silent at once")
POWER_DOWNS = tuple(f"031100{number:02X}" for number in range(1, 11))
# Meters that fell silent within this time did so at once: a round of a line takes as long.
_AT_ONCE_S = 1800
_LEAST = 3
_SILENT, _ANSWERS = 1, 2  # states of LINE
_SUPPLY = 2  # EVENT.what
_SHORTEST_S = 60
_LONGEST_DAYS = 31  # an outage that began before this is no longer looked for
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Span:
    """A time in which a meter was without supply, or silent; `end` None: it still is.

    how   what tells of it; concentrator and seq are the record that does
    """

    place: MeterPlace
    begin: int
    end: int | None
    how: str
    concentrator: int
    seq: int


@dataclass(slots=True)
class Outage:
    """Meters that were without supply together."""

    begin: int
    end: int | None
    how: str
    spans: list[Span] = field(default_factory=list)
    of_district: int = 0

    @property
    def sure(self) -> str:
        """Return how sure it is."""
        return CERTAIN if self.how == BY_EVENTS else LIKELY

    @property
    def phase(self) -> str:
        """Return the phase that was away, "": more than one, or it is not known."""
        phases = {one.place.phase for one in self.spans}
        return phases.pop() if len(phases) == 1 and len(self.spans) >= _LEAST else ""

    def told(self) -> dict[str, Any]:
        """Return the outage by name, for lists and JSON."""
        first = self.spans[0]
        return {
            "begin_t2000": self.begin,
            "end_t2000": self.end,
            "minutes": None if self.end is None else (self.end - self.begin + 59) // 60,
            "district": first.place.district,
            "phase": self.phase,
            "concentrator": first.place.concentrator,
            "households": len({one.place.account for one in self.spans}),
            "of": self.of_district,
            "how": self.how,
            "sure": self.sure,
            "accounts": sorted({one.place.account for one in self.spans}),
            "records": [[one.concentrator, one.seq] for one in self.spans if one.seq],
        }


def outages(
    store: Store, since_t2000: int, until_t2000: int, district: str | None = None
) -> list[Outage]:
    """Return the outages of a time, the newest first, of a district or of the station."""
    places = meters_of(store, district)
    events, silences = _of_meters(store, since_t2000, until_t2000, places)
    supplies = _of_concentrators(store, since_t2000, until_t2000, places)
    known = [*_together(events, 1), *_together(supplies, 1)]
    rest = [one for one in silences if not _joined(one, known)]
    found = _merged([*known, *_together(rest, _LEAST)])
    sizes: dict[str, int] = {}
    for place in places:
        sizes[place.district] = sizes.get(place.district, 0) + 1
    for one in found:
        one.of_district = sizes[one.spans[0].place.district]
    now_on = [one for one in found if one.end is None or one.end > since_t2000]
    return sorted(now_on, key=lambda one: (-one.begin, one.spans[0].place.account))


def _together(spans: Iterable[Span], least: int) -> list[Outage]:
    """Return groups of meters of one district that lost supply at once, from `least` meters on."""
    found: list[Outage] = []
    newest: dict[tuple[str, int], Outage] = {}
    for one in sorted(spans, key=lambda span: (span.begin, span.place.account)):
        key = (one.place.district, one.place.concentrator)
        group = newest.get(key)
        if group is None or one.begin - group.begin > _AT_ONCE_S or _is_over(group, one.begin):
            group = newest[key] = Outage(one.begin, one.end, one.how)
            found.append(group)
        group.spans.append(one)
        # The supply is back for all when it is back for the last one.
        if one.end is None or group.end is None:
            group.end = None
        else:
            group.end = max(group.end, one.end)
    return [one for one in found if len({span.place.account for span in one.spans}) >= least]


def _is_over(group: Outage, at: int) -> bool:
    return group.end is not None and group.end + _AT_ONCE_S < at


def _joined(span: Span, known: Sequence[Outage]) -> bool:
    """Let a silent meter join the outage of its place that is known; false: there is none.

    It fell silent when that began. A meter that is part of the outage already may do so later.
    """
    place = (span.place.concentrator, span.place.district)
    for one in known:
        first = one.spans[0].place
        if (first.concentrator, first.district) != place:
            continue
        end = span.begin if one.end is None else one.end
        is_then = one.begin - _AT_ONCE_S <= span.begin <= end + _AT_ONCE_S
        is_in = any(other.place.account == span.place.account for other in one.spans)
        if is_then and is_in:
            return True
        if abs(span.begin - one.begin) <= _AT_ONCE_S:
            one.spans.append(span)
            return True
    return False


def _merged(found: Sequence[Outage]) -> list[Outage]:
    """Return outages, those of one place and time as one, as the surest of them tells it."""
    order = (BY_EVENTS, BY_SUPPLY, BY_SILENCE)
    kept: list[Outage] = []
    for one in sorted(found, key=lambda outage: (order.index(outage.how), outage.begin)):
        place = one.spans[0].place
        same = next(
            (
                other
                for other in kept
                if other.spans[0].place.district == place.district
                and other.spans[0].place.concentrator == place.concentrator
                and abs(other.begin - one.begin) <= _AT_ONCE_S
            ),
            None,
        )
        if same is None:
            kept.append(one)
            continue
        there = {span.place.account for span in same.spans}
        same.spans += [span for span in one.spans if span.place.account not in there]
    return kept


# --- what tells of it ---------------------------------------------------------------------------

_LINES = """
    SELECT account, t2000, concentrator, seq, detail FROM alarms
    WHERE account IN ({accounts}) AND kind = 'LINE' AND t2000 >= ? AND t2000 < ?
    ORDER BY account, t2000, seq
"""
_EVENTS = """
    SELECT account, "values", concentrator, seq FROM items
    WHERE account IN ({accounts}) AND identifier IN ({identifiers}) AND t2000 >= ?
"""
_OWN = """
    SELECT concentrator, seq, t2000, kind, detail FROM alarms
    WHERE account = '' AND t2000 >= ? AND t2000 < ? AND kind IN ('EVENT', 'START')
    ORDER BY concentrator, t2000, seq
"""
_BEFORE = "SELECT t2000 FROM records WHERE concentrator = ? AND seq < ? ORDER BY seq DESC LIMIT 1"


def _of_meters(
    store: Store, since: int, until: int, places: Sequence[MeterPlace]
) -> tuple[list[Span], list[Span]]:
    """Return what meters have recorded, and when they were silent."""
    events: list[Span] = []
    silences: list[Span] = []
    for at in range(0, len(places), _CHUNK):
        chunk = {one.account: one for one in places[at : at + _CHUNK]}
        marks = question_marks([*chunk])
        begin = since - _LONGEST_DAYS * DAY_S
        with store.database.looking():
            lines = store.database.all(_LINES.format(accounts=marks), (*chunk, begin, until))
            query = _EVENTS.format(accounts=marks, identifiers=question_marks(POWER_DOWNS))
            items = store.database.all(query, (*chunk, *POWER_DOWNS, since))
        silences += _silences(lines, chunk)
        for account, text, concentrator, seq in items:
            values = json.loads(text)
            if len(values) < 2 or None in values[:2]:
                continue
            down, up = values[:2]
            if down < until and up > since and up - down >= _SHORTEST_S:
                events.append(Span(chunk[account], down, up, BY_EVENTS, concentrator, seq))
    return events, silences


def _silences(rows: Iterable[tuple[Any, ...]], places: dict[str, MeterPlace]) -> list[Span]:
    """Return the times from SILENT to ANSWERS of each account; rows are in order of time."""
    found: list[Span] = []
    begun: dict[str, tuple[int, int, int]] = {}
    for account, t2000, concentrator, seq, detail in rows:
        state = json.loads(detail).get("state")
        if state == _SILENT:
            begun.setdefault(account, (t2000, concentrator, seq))
        elif state == _ANSWERS and account in begun:
            begin, number, first = begun.pop(account)
            found.append(Span(places[account], begin, t2000, BY_SILENCE, number, first))
    for account, (begin, number, first) in begun.items():
        found.append(Span(places[account], begin, None, BY_SILENCE, number, first))
    return found


def _of_concentrators(
    store: Store, since: int, until: int, places: Sequence[MeterPlace]
) -> list[Span]:
    """Return the times in which concentrators had no supply, for each of their meters."""
    of: dict[int, list[MeterPlace]] = {}
    for place in places:
        of.setdefault(place.concentrator, []).append(place)
    found = []
    failed: dict[int, tuple[int, int]] = {}
    begin = since - _LONGEST_DAYS * DAY_S
    for row in store.rows(_OWN, (begin, until)):
        number, seq, t2000, detail = (
            row[name] for name in ("concentrator", "seq", "t2000", "detail")
        )
        if number not in of:
            continue
        if row["kind"] == "EVENT" and detail.get("what") == _SUPPLY and detail.get("state"):
            failed[number] = (t2000, seq)
            continue
        if row["kind"] == "EVENT" and detail.get("what") != _SUPPLY:
            continue
        down = failed.pop(number, None) or _last_before(store, number, seq, row["kind"], t2000)
        if down is None or t2000 - down[0] < _SHORTEST_S or t2000 <= since:
            continue
        found += [Span(place, down[0], t2000, BY_SUPPLY, number, down[1]) for place in of[number]]
    for number, (t2000, seq) in failed.items():
        found += [Span(place, t2000, None, BY_SUPPLY, number, seq) for place in of[number]]
    return found


def _last_before(
    store: Store, concentrator: int, seq: int, kind: str, t2000: int
) -> tuple[int, int] | None:
    """Return when a concentrator last wrote before a start, None: it was restarted, not cut off.

    A concentrator writes readings at least every few hours: a start behind an hour without any
    record is one behind a failure of its supply.
    """
    if kind != "START":
        return None
    last = store.value(_BEFORE, (concentrator, seq))
    if last is None or t2000 - last < HOUR_S:
        return None
    return int(last), seq
