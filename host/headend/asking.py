"""What meters are asked for from here, each hour, within a budget of their concentrator's line.

    power-downs    03110001, of a meter that was silent and answers again: when its power went
    voltages       0201FF00, of chosen meters of each district
    compliance     03100001, once a month of each meter: what it has counted in the month before
    currents       0202FF00 and, of meters of one phase, the neutral's 02800001, of the chosen

The last two are behind two kinds of clues, current without voltage and neutral against phase. The
concentrators' own round of a day has them not: they are asked for from here with what is left of
the budget. The chosen are those of which the lowest voltages of the last week are known, and as
many others by turns, so that a village is seen as a whole within weeks. What is under way is not
asked again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from host.frames import orders
from host.headend.commands import Target
from host.headend.outcomes import UNDER_WAY
from host.headend.places import MeterPlace, meters_of, question_marks
from host.headend.samples import CURRENTS, NEUTRAL_CURRENT
from host.headend.store import Store
from host.headend.voltage import COMPLIANCE_BEFORE, VOLTAGES, samples
from host.units import DAY_S, t2000_of_unix, to_datetime

POWER_DOWN = "03110001"
THREE_PHASES = "ABC"
_WEEK = 7
_COMPLIANCE_DAYS = 10  # of a month: on these its meters are asked for the one before
_ANSWERS = 2  # a state of LINE
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Budget:
    """How much is asked in one go.

    of_concentrator   questions at most: each takes its line one to two seconds
    of_district       meters of which voltages are sampled
    """

    of_concentrator: int = 40
    of_district: int = 6


def due(store: Store, now: int, budget: Budget) -> list[Target]:
    """Return the questions of this hour, the most urgent of each concentrator first."""
    places = [one for one in meters_of(store) if not one.is_1997]
    now_t2000 = t2000_of_unix(now, store.zone())
    busy = {
        row["text"]
        for row in store.rows(
            f"SELECT text FROM commands WHERE text LIKE 'line ask %' AND state IN {UNDER_WAY}"
        )
    }
    asked: dict[int, int] = {}
    found = []
    for place, identifier in _wanted(store, places, now_t2000, budget):
        text = question(place, identifier)
        count = asked.get(place.concentrator, 0)
        if text not in busy and count < budget.of_concentrator:
            asked[place.concentrator] = count + 1
            found.append(Target(place.concentrator, text, place.account))
    return found


def question(place: MeterPlace, identifier: str, data: bytes = b"") -> str:
    """Return the command that reads an identifier of a meter."""
    request = orders.read("2007", identifier)
    told = (request.data + data).hex()
    return f"line ask {place.line} {place.meter} {request.control:02x} {told}"


def _wanted(
    store: Store, places: Sequence[MeterPlace], now_t2000: int, budget: Budget
) -> Iterator[tuple[MeterPlace, str]]:
    back = _are_back(store, places, now_t2000)
    yield from ((one, POWER_DOWN) for one in places if one.account in back)
    sampled = chosen(store, places, now_t2000 // DAY_S, budget.of_district)
    yield from ((one, VOLTAGES) for one in sampled)
    today = to_datetime(now_t2000)
    if today.day <= _COMPLIANCE_DAYS:
        first = today.replace(day=1, hour=0, minute=0, second=0)
        since = (now_t2000 // DAY_S - (today - first) // timedelta(days=1)) * DAY_S
        told = _have(store, places, COMPLIANCE_BEFORE, since)
        yield from ((one, COMPLIANCE_BEFORE) for one in places if one.account not in told)
    for one in sampled:
        yield one, CURRENTS
        if one.phase != THREE_PHASES:
            yield one, NEUTRAL_CURRENT


def chosen(store: Store, places: Sequence[MeterPlace], day: int, count: int) -> list[MeterPlace]:
    """Return the meters of each district of which voltages are sampled on a day."""
    lowest: dict[str, int] = {}
    for sample in samples(store, range(day - _WEEK, day + 1)):
        account = sample.place.account
        lowest[account] = min(*sample.volts_dv, lowest.get(account, 1 << 30))
    districts: dict[str, list[MeterPlace]] = {}
    for place in places:
        districts.setdefault(place.district, []).append(place)
    found = []
    for group in districts.values():
        known = sorted(
            (one for one in group if one.account in lowest), key=lambda one: lowest[one.account]
        )
        low = known[: count // 2]
        others = [one for one in group if one not in low]
        step = max(1, len(others) // max(1, count - len(low)))
        turns = (
            [others[(day + at * step) % len(others)] for at in range(count - len(low))]
            if others
            else []
        )
        found += [*low, *dict.fromkeys(turns)]
    return found


def _are_back(store: Store, places: Sequence[MeterPlace], now_t2000: int) -> set[str]:
    """Return the accounts that answer again since yesterday and were not asked since."""
    found: set[str] = set()
    for at in range(0, len(places), _CHUNK):
        chunk = [one.account for one in places[at : at + _CHUNK]]
        for row in store.rows(
            f"SELECT account, detail FROM alarms WHERE account IN ({question_marks(chunk)}) "
            "AND kind = 'LINE' AND t2000 >= ?",
            (*chunk, now_t2000 - DAY_S),
        ):
            if row["detail"].get("state") == _ANSWERS:
                found.add(row["account"])
    return found - _have(store, places, POWER_DOWN, now_t2000 - DAY_S)


def _have(
    store: Store, places: Sequence[MeterPlace], identifier: str, since_t2000: int
) -> set[str]:
    """Return the accounts of which an item is here since a moment."""
    found: set[str] = set()
    for at in range(0, len(places), _CHUNK):
        chunk = [one.account for one in places[at : at + _CHUNK]]
        rows = store.rows(
            f"SELECT DISTINCT account FROM items WHERE account IN ({question_marks(chunk)}) "
            "AND identifier = ? AND t2000 >= ?",
            (*chunk, identifier, since_t2000),
        )
        found.update(row["account"] for row in rows)
    return found
