"""The pages of districts: what each loses, how sure that is, and who it may be."""

import calendar
import re
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.http import HttpResponse

from host.headend import clues, losses, voltage
from host.headend.history import detail_text, history
from host.headend.limits import LIMITS
from host.headend.losses import Loss
from host.headend.store import Store
from host.headend.topology import DISTRICT
from host.headend.web.door import Trouble, Visit, page
from host.headend.web.supply import level_of
from host.units import DAY_S, to_datetime
from host.words import _

_ROWS = 100
_COMPUTED_LIMIT = 30_000  # households whose loss a page computes
_WIDTH, _HEIGHT = 760, 220
_AROUND_S = 2 * DAY_S
_FIRST = date(2000, 1, 1).toordinal()


@page()
def districts(visit: Visit) -> HttpResponse:
    """List the districts and feeders with the loss of the newest day, the greatest first.

    A station so large that a person would wait for it gets the names of its districts alone.
    """
    day = _newest_day(visit)
    is_large = visit.store.value("SELECT count(*) FROM connections") > _COMPUTED_LIMIT
    rows = [] if day is None or is_large else losses.day_losses(visit.store, day, day + 1)
    rows.sort(key=lambda one: (-(one.rate_e4 or 0), one.place))
    query = "SELECT district, name FROM districts ORDER BY district"
    names = visit.store.rows(query) if is_large else []
    told: dict[str, Any] = {
        "rows": rows[:_ROWS],
        "left": max(0, len(rows) - _ROWS),
        "day": _iso(day),
        "names": names,
    }
    return visit.show("districts.html", {**told, "percent": percent})


def _newest_day(visit: Visit) -> int | None:
    """Return the newest day of which both midnights are here, None: there is none."""
    newest = visit.store.value("SELECT max(day) FROM freezes")
    return None if newest is None else int(newest) - 1


@page()
def district(visit: Visit, name: str) -> HttpResponse:
    """Show a district: how much is lost, how sure that is, who it may be."""
    known = visit.store.rows("SELECT * FROM districts WHERE district = ?", (name,))
    if not known:
        raise Trouble(404, _("there is no district {name}").format(name=name))
    newest = _newest_day(visit)
    since, until = _month_of(visit.told("month", 10), newest)
    ends = min(until, newest + 1) if newest is not None else until
    begins = min(since, ends - LIMITS.past_days)
    found = losses.with_technical(
        visit.store, losses.day_losses(visit.store, begins, max(ends, since + 1), name)
    )
    month = [one for one in found if one.day >= since]
    judged = {one.day: losses.judged(found, one.day)[0].is_outlier for one in month}
    told = {
        "row": known[0],
        "feeders": visit.store.rows(
            "SELECT feeder FROM feeds WHERE district = ? AND until_day IS NULL", (name,)
        ),
        "meters": visit.store.rows(
            "SELECT account, ct, pt FROM supply_meters WHERE level = ? AND place = ? "
            "AND until_day IS NULL ORDER BY account",
            (DISTRICT, name),
        ),
        "last": next((one for one in reversed(month) if one.supplied), None),
        "sum": losses.sum_of(month)[0],
        "days": [(one, _iso(one.day), judged[one.day]) for one in month],
        "chart": chart(month, known[0]["target_e4"]),
        "clues": clues.clues(visit.store, since, ends, name)[:_ROWS],
        **heat_of(visit.store, name, since, ends),
        "month": f"{to_datetime(since * DAY_S):%Y-%m}",
        "before": f"{to_datetime((since - 1) * DAY_S):%Y-%m}",
        "after": f"{to_datetime(until * DAY_S):%Y-%m}",
    }
    words = {"percent": percent, "figures": clues.figures_text}
    return visit.show("district.html", {**told, **words})


def heat_of(store: Store, district: str, since: int, ends: int) -> dict[str, Any]:
    """Return the voltages by meter and hour of the newest day of a month that has samples."""
    newest = voltage.newest_sample(store, district, since * DAY_S, ends * DAY_S)
    if newest is None:
        return {"heat": [], "heat_day": ""}
    rows = voltage.heat(voltage.samples(store, [newest // DAY_S], district))
    for row in rows:
        row["cells"] = [(dv, level_of(dv)) for dv in row["cells"]]
    return {"heat": rows, "heat_day": _iso(newest // DAY_S)}


@page()
def clue(visit: Visit, name: str, account: str) -> HttpResponse:
    """Show the evidence against an account, with the readings and records behind each."""
    newest = _newest_day(visit)
    since, until = _month_of(visit.told("month", 10), newest)
    ends = min(until, newest + 1) if newest is not None else until
    found = [one for one in clues.clues(visit.store, since, ends, name) if one.account == account]
    if not found:
        raise Trouble(404, _("there is no clue about account {name}").format(name=account))
    behind = []
    for one in found[0].evidence:
        span = (one.t2000 - _AROUND_S, one.t2000 + _AROUND_S)
        events = history(visit.store, account, *span, readings=True)
        for event in events:
            event["said"] = detail_text(event["detail"], False)
            event["is_it"] = one.seq is not None and (event["concentrator"], event["seq"]) == (
                one.concentrator,
                one.seq,
            )
        behind.append((one, events))
    told = {"clue": found[0], "behind": behind, "figures": clues.figures_text}
    return visit.show("clue.html", {**told, "month": f"{to_datetime(since * DAY_S):%Y-%m}"})


def _month_of(text: str, newest: int | None) -> tuple[int, int]:
    """Return the days of a month of the address, "": that of the newest day. Trouble."""
    if not text:
        today = date.today() if newest is None else date.fromordinal(_FIRST + newest)
        text = f"{today:%Y-%m}"
    if not re.fullmatch("20[0-9]{2}-(0[1-9]|1[0-2])", text):
        raise Trouble(400, _("{text!r}: give a month as YYYY-MM").format(text=text))
    year, month = int(text[:4]), int(text[5:])
    first = date(year, month, 1).toordinal() - _FIRST
    return first, first + calendar.monthrange(year, month)[1]


def _iso(day: int | None) -> str:
    return "" if day is None else date.fromordinal(_FIRST + day).isoformat()


def percent(e4: int | None) -> str:
    """Return hundredths of a per cent with one digit, – for none."""
    return "–" if e4 is None else f"{e4 / 100:.1f}"


@dataclass(frozen=True, slots=True)
class Chart:
    """The loss of each day as a line, with the bounds as a band behind it."""

    width: int
    height: int
    line: str
    band: str
    target_y: float
    grid: list[tuple[float, str]]
    labels: list[tuple[float, str]]


def chart(days: list[Loss], target_e4: int) -> Chart | None:
    """Return the chart of some days, None: there is no loss to show."""
    known = [one for one in days if one.rate_e4 is not None]
    if len(known) < 2:
        return None
    rates = [one.rate_e4 or 0 for one in known]
    top = max(*rates, target_e4, 500) * 12 // 10
    first, last = known[0].day, known[-1].day

    def x(day: int) -> float:
        return (day - first) * (_WIDTH - 40) / (last - first)

    def y(e4: int | None) -> float:
        return (_HEIGHT - 20) * (1 - min(max(e4 or 0, 0), top) / top)

    upper = [f"{x(one.day):.1f},{y(one.high_e4):.1f}" for one in known]
    lower = [f"{x(one.day):.1f},{y(one.low_e4):.1f}" for one in reversed(known)]
    step = 500 if top <= 2500 else 1000 if top <= 5000 else 2500
    return Chart(
        _WIDTH,
        _HEIGHT,
        " ".join(f"{x(one.day):.1f},{y(one.rate_e4):.1f}" for one in known),
        " ".join((*upper, *lower)),
        y(target_e4),
        [(y(e4), f"{e4 // 100} %") for e4 in range(step, top, step)],
        [(x(one.day), _iso(one.day)[5:]) for one in known[:: max(1, len(known) // 6)]],
    )
