"""Pages of what readings are worth and how good the supply is, each line to its records."""

from typing import Any

from django.http import HttpResponse

from host.frames.record import PAYLOAD_SIZE, RecordKind, parse_payload
from host.headend import load as load_of
from host.headend import outages as outages_of
from host.headend import quality as rules
from host.headend import quality_report, read_success, shedding
from host.headend import voltage as voltage_of
from host.headend.estimates import estimates
from host.headend.history import READING, detail_text, history
from host.headend.places import date_of, meters_of, names_of_districts
from host.headend.web.dates import day_of
from host.headend.web.door import Trouble, Visit, page
from host.headend.web.knowing import known
from host.units import DAY_S, now_t2000
from host.words import _

_PAGE_ROWS = 100
# Above this the suspect readings of a whole station take too long for a page.
_JUDGED_LIMIT = 5_000
_OUTAGE_DAYS = 7
# Above this the loads of all districts take too long for a page.
_DISTRICTS_LIMIT = 20
_SHED_ROWS = 10
_CENTURY_ENDS = 36_524  # of the century
_TARGET_E4 = 9_800
# From this many tenths of a volt on, how a cell of the heat map is shown.
_LEVELS = (
    *((0, "low"), (1980, "near"), (2040, "cool1"), (2100, "cool2"), (2160, "cool3")),
    *((2220, "cool4"), (voltage_of.HIGHEST_DV + 1, "high")),
)


def _asked_day(visit: Visit) -> int:
    """Return the day of the address, yesterday where it has none. Trouble: it is none."""
    text = visit.told("day", 10)
    if not text:
        return now_t2000(visit.zone) // DAY_S - 1
    day = day_of(text)
    if not 0 < day < _CENTURY_ENDS:
        raise Trouble(400, _("{text}: give a day as YYYY-MM-DD").format(text=text))
    return day


def _place(visit: Visit, day: int) -> dict[str, Any]:
    """Return what each of these pages shows above: day, its neighbours, and the districts."""
    district = visit.told("district", 32)
    names = names_of_districts(visit.store)
    if district and district not in names:
        raise Trouble(404, _("there is no such district: choose one of the list"))
    return {
        "day": date_of(day),
        "before": date_of(day - 1),
        "behind": date_of(day + 1),
        "district": district,
        "districts": sorted(names.items(), key=lambda item: item[1]),
        "names": names,
    }


def _percent(rate_e4: int | None) -> str:
    return "–" if rate_e4 is None else f"{rate_e4 // 100}.{rate_e4 % 100:02d}"


def _volts(value_dv: int | None) -> str:
    return "–" if value_dv is None else f"{value_dv // 10}.{value_dv % 10}"


_SHOWN = {"percent": _percent, "volts": _volts, "target_e4": _TARGET_E4}


@page()
def quality(visit: Visit) -> HttpResponse:
    """Show how well a day was read, why the rest is missing, and what is suspect."""
    day = _asked_day(visit)
    place = _place(visit, day)
    groups = read_success.all_of(visit.store, day)
    (whole,) = groups[read_success.STATION]
    district = place["district"] or None
    is_judged = district is not None or whole.meters <= _JUDGED_LIMIT
    suspects, missing = [], read_success.missing(visit.store, day, district)
    if is_judged:
        found = rules.suspects(visit.store, day, district)
        suspects = [quality_report.told(one) for one in found if one.state != rules.ESTIMATED]
    told = {
        **place,
        **_SHOWN,
        "whole": whole.told(),
        "by_district": [one.told() for one in groups.get(read_success.DISTRICT, [])],
        "by_concentrator": [one.told() for one in groups.get(read_success.CONCENTRATOR, [])],
        "reasons": read_success.reasons(missing),
        "missing": missing[:_PAGE_ROWS],
        "missing_count": len(missing),
        "suspects": suspects[:_PAGE_ROWS],
        "suspect_count": len(suspects),
        "is_judged": is_judged,
        "rules": rules.RULES,
    }
    return visit.show("quality.html", told)


@page()
def meter_day(visit: Visit, account: str) -> HttpResponse:
    """Show all that a household's meter told on a day, what rules say of it, and its records."""
    row = known(visit, account)
    day = _asked_day(visit)
    store, name = visit.store, row["account"]
    judged = [*rules.judged(store, day, account=name)]
    events = history(store, name, day * DAY_S, (day + 1) * DAY_S + 1, readings=True)
    of_readings = rules.reading_marks(store, name, day)
    for one in events:
        one["said"] = detail_text(one["detail"], False)
        one["mark"] = of_readings.get((one["concentrator"], one["seq"]))
    guess = None
    if any(mark.rule == rules.GAP for one in judged for mark in one.marks):
        guess = estimates(store, day + 1, meters_of(store, account=name)).get(name)
    told = {
        **_place(visit, day),
        **_SHOWN,
        "row": row,
        "marks": [mark for one in judged for mark in one.marks],
        "use_wh": judged[0].use_wh if judged else None,
        "guess": guess,
        "events": events[::-1],
        "rules": rules.RULES,
        "reading": READING,
    }
    return visit.show("meter_day.html", told)


@page()
def record(visit: Visit, concentrator: int, seq: int) -> HttpResponse:
    """Show a record as it came: its bytes, and what they mean."""
    rows = visit.store.rows(
        "SELECT * FROM records WHERE concentrator = ? AND seq = ?", (concentrator, seq)
    )
    if not rows:
        raise Trouble(
            404, _("this record is not kept any more, or never was: `retain` says how long")
        )
    (row,) = rows
    payload = bytes(row["payload"])
    kind = row["kind"]
    fields: dict[str, Any] = {}
    if kind in {int(one) for one in RecordKind}:
        fields = dict(parse_payload(RecordKind(kind), payload.ljust(PAYLOAD_SIZE, b"\0")))
    named = RecordKind(kind).name if fields else str(kind)
    told = {"row": row, "named": named, "payload": payload.hex(" "), "fields": fields}
    return visit.show("record.html", told)


@page()
def voltage(visit: Visit) -> HttpResponse:
    """Show how much of the voltage is qualified, who has too little, and every hour of a day."""
    day = _asked_day(visit)
    place = _place(visit, day)
    found = voltage_of.report(visit.store, [day], place["district"] or None)
    for row in found["heat"]:
        row["cells"] = [(dv, level_of(dv)) for dv in row["cells"]]
    told = {
        **place,
        **_SHOWN,
        "station": found["station"],
        "by_district": found["districts"],
        "counted_rate_e4": found["counted_rate_e4"],
        "heat": found["heat"],
        "low": found["low"][:_PAGE_ROWS],
        "low_count": len(found["low"]),
        "counted": found["counted"][:_PAGE_ROWS],
        "counted_count": len(found["counted"]),
    }
    return visit.show("voltage.html", told)


def level_of(value_dv: int | None) -> str:
    """Return how a cell of the heat map is shown, "": there is no value."""
    if value_dv is None:
        return ""
    return [name for least, name in _LEVELS if value_dv >= least][-1]


@page()
def outages(visit: Visit) -> HttpResponse:
    """List the outages of a week up to a day."""
    day = _asked_day(visit)
    place = _place(visit, day)
    span = ((day - _OUTAGE_DAYS + 1) * DAY_S, (day + 1) * DAY_S)
    found = [
        one.told() for one in outages_of.outages(visit.store, *span, place["district"] or None)
    ]
    told = {**place, "found": found[:_PAGE_ROWS], "count": len(found), "days": _OUTAGE_DAYS}
    return visit.show("outages.html", told)


@page()
def load(visit: Visit) -> HttpResponse:
    """Show the peaks of a day by district and phase, and what was shed."""
    day = _asked_day(visit)
    place = _place(visit, day)
    is_all = len(place["names"]) <= _DISTRICTS_LIMIT
    chosen = place["district"]
    found = load_of.peaks(visit.store, day, chosen) if chosen or is_all else []
    sheddings = shedding.sheddings(visit.store, _SHED_ROWS)
    for row in sheddings:
        row["saved"] = shedding.saved(visit.store, row["number"]) if row["cut_job"] else None
    told = {
        **place,
        **_SHOWN,
        "peaks": found,
        "is_all": is_all,
        "phases": load_of.PHASES,
        "zone": visit.zone,
        "sheddings": sheddings,
        "groups": shedding.groups(visit.store, chosen) if chosen or is_all else [],
    }
    return visit.show("load.html", told)
