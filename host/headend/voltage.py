"""Whether voltage is what it has to be: by meter, district and hour, with the load beside it.

Two sources are shown side by side. *Sampled* are the voltages of a moment (identifier 0201FF00),
hourly of chosen meters and weekly of all. *Counted* is what each meter counts by itself, minute by
minute, for a month (031000xx). Supply at 220 V is qualified from 198.0 to 235.4 V; a phase below
half of it is lost, which is no question of quality, and counts for neither.

Spec: GB/T 12325, single-phase supply: +7 %, -10 %. DL/T 645-2007, 0201FF00 and 03100000.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from host.headend.places import MeterPlace, meters_of, question_marks
from host.headend.store import Store
from host.units import DAY_S, EPOCH, HOUR_S

LOWEST_DV, HIGHEST_DV = 1980, 2354  # tenths of a volt
_LOST_DV = 1100
VOLTAGES, POWER = "0201FF00", "02030000"
COMPLIANCE_NOW, COMPLIANCE_BEFORE = "03100000", "03100001"
HOURS = 24
_CHUNK = 500
_NEAR_S = HOUR_S // 2
_STATION = ""
_SHORTEST_MONTH_DAYS = 28
_COUNTED_LEAST = 5  # values of a meter's counters up to the minutes that are too low


@dataclass(frozen=True, slots=True)
class Sample:
    """The voltages of a meter at a moment, in tenths of a volt: those of phases that are there."""

    place: MeterPlace
    t2000: int
    volts_dv: tuple[int, ...]
    concentrator: int
    seq: int

    @property
    def hour(self) -> int:
        """Return the hour of the day."""
        return self.t2000 % DAY_S // HOUR_S


@dataclass(slots=True)
class Rate:
    """How many voltages of a group were sampled, and how many are too low or too high."""

    name: str
    samples: int = 0
    low: int = 0
    high: int = 0
    lowest_dv: int | None = None
    highest_dv: int | None = None
    meters: set[str] = field(default_factory=set)

    def add(self, sample: Sample) -> None:
        """Count a sample, each phase by itself."""
        self.meters.add(sample.place.meter)
        for dv in sample.volts_dv:
            self.samples += 1
            self.low += dv < LOWEST_DV
            self.high += dv > HIGHEST_DV
            self.lowest_dv = dv if self.lowest_dv is None else min(dv, self.lowest_dv)
            self.highest_dv = dv if self.highest_dv is None else max(dv, self.highest_dv)

    @property
    def rate_e4(self) -> int | None:
        """Return the qualified share in hundredths of a percent, rounded down."""
        if not self.samples:
            return None
        return 10_000 * (self.samples - self.low - self.high) // self.samples

    def told(self) -> dict[str, Any]:
        """Return the figures by name, for lists and JSON."""
        return {
            "name": self.name,
            "meters": len(self.meters),
            "samples": self.samples,
            "low": self.low,
            "high": self.high,
            "rate_e4": self.rate_e4,
            "lowest_dv": self.lowest_dv,
            "highest_dv": self.highest_dv,
        }


@dataclass(slots=True)
class LowMeter:
    """A meter with voltages that are too low, and its load in W at the lowest; None: not known."""

    place: MeterPlace
    lowest: Sample
    low: int
    samples: int
    hours: list[int]
    load_w: int | None = None

    def told(self) -> dict[str, Any]:
        """Return the figures by name, for lists and JSON."""
        return {
            "account": self.place.account,
            "meter": self.place.meter,
            "district": self.place.district,
            "phase": self.place.phase,
            "distance_m": self.place.distance_m,
            "lowest_dv": min(self.lowest.volts_dv),
            "t2000": self.lowest.t2000,
            "load_w": self.load_w,
            "low": self.low,
            "samples": self.samples,
            "hours": self.hours,
            "concentrator": self.lowest.concentrator,
            "seq": self.lowest.seq,
        }


# --- samples ------------------------------------------------------------------------------------

_OF_DAY = """
    SELECT meter, t2000, "values", concentrator, seq FROM items
    WHERE day = ? AND identifier = ?
"""


def samples(store: Store, days: Iterable[int], district: str | None = None) -> list[Sample]:
    """Return the voltages that were sampled on some days, in order of time."""
    places = {one.meter: one for one in meters_of(store, district)}
    found = []
    for day in days:
        for row in _items(store, day, VOLTAGES, None if district is None else [*places]):
            meter, t2000, text, concentrator, seq = row
            place = places.get(meter)
            volts = [dv for dv in json.loads(text) if dv is not None and dv >= _LOST_DV]
            if place is not None and volts:
                found.append(Sample(place, t2000, tuple(volts), concentrator, seq))
    return sorted(found, key=lambda one: one.t2000)


def _items(
    store: Store, day: int, identifier: str, meters: Sequence[str] | None
) -> list[tuple[Any, ...]]:
    """Return the items of a day, of some meters or, None, of all."""
    if meters is None:
        with store.database.looking():
            return store.database.all(_OF_DAY, (day, identifier))
    found = []
    for at in range(0, len(meters), _CHUNK):
        chunk = meters[at : at + _CHUNK]
        query = f"{_OF_DAY} AND meter IN ({question_marks(chunk)})"
        with store.database.looking():
            found += store.database.all(query, (day, identifier, *chunk))
    return found


def newest_sample(store: Store, district: str, since: int, until: int) -> int | None:
    """Return when a voltage of a district was sampled last within a span, None: not at all."""
    newest = None
    places = meters_of(store, district)
    for at in range(0, len(places), _CHUNK):
        accounts = [one.account for one in places[at : at + _CHUNK]]
        told = store.value(
            f"SELECT max(t2000) FROM items WHERE account IN ({question_marks(accounts)}) "
            "AND identifier = ? AND t2000 >= ? AND t2000 < ?",
            (*accounts, VOLTAGES, since, until),
        )
        newest = max((one for one in (newest, told) if one is not None), default=None)
    return newest


def rates(found: Iterable[Sample], by: str) -> list[Rate]:
    """Return the rates of the station, or of each district, hour or meter."""
    names: dict[str, Callable[[Sample], str]] = {
        "station": lambda one: _STATION,
        "district": lambda one: one.place.district,
        "hour": lambda one: f"{one.hour:02d}",
        "meter": lambda one: one.place.account,
    }
    groups: dict[str, Rate] = {}
    for one in found:
        name = names[by](one)
        groups.setdefault(name, Rate(name)).add(one)
    return [groups[name] for name in sorted(groups)]


def low_list(store: Store, found: Sequence[Sample], loads: int = 100) -> list[LowMeter]:
    """Return the meters with voltages that are too low, the lowest first.

    The load is looked up for as many as `loads`.
    """
    meters: dict[str, LowMeter] = {}
    counts: dict[str, int] = {}
    for one in found:
        key = one.place.meter
        counts[key] = counts.get(key, 0) + 1
        if min(one.volts_dv) >= LOWEST_DV:
            continue
        known = meters.setdefault(key, LowMeter(one.place, one, 0, 0, []))
        known.low += 1
        if one.hour not in known.hours:
            known.hours.append(one.hour)
        if min(one.volts_dv) < min(known.lowest.volts_dv):
            known.lowest = one
    listed = sorted(meters.values(), key=lambda one: (min(one.lowest.volts_dv), one.place.account))
    for low in listed:
        low.samples = counts[low.place.meter]
        low.hours.sort()
    for low in listed[:loads]:
        low.load_w = load_w(store, low.lowest)
    return listed


def load_w(store: Store, sample: Sample) -> int | None:
    """Return the power of a meter when a voltage was sampled, in W.

    It is what the meter told within half an hour, or else the mean between the readings around it.
    """
    meter, t2000, day = sample.place.meter, sample.t2000, sample.t2000 // DAY_S
    near = [
        (abs(row[1] - t2000), json.loads(row[2]))
        for row in _items(store, day, POWER, [meter])
        if abs(row[1] - t2000) <= _NEAR_S
    ]
    if near and min(near)[1] and min(near)[1][0] is not None:
        return int(min(near)[1][0]) // 10
    with store.database.looking():
        reads = store.database.all(
            "SELECT t2000, registers_wh FROM readings WHERE day IN (?, ?, ?) AND meter = ? "
            "ORDER BY day, t2000",
            (day - 1, day, day + 1, meter),
        )
    before = [row for row in reads if row[0] <= t2000]
    behind = [row for row in reads if row[0] > t2000]
    if not before or not behind:
        return None
    (one_t, one), (two_t, two) = before[-1], behind[0]
    used_wh = sum(json.loads(two)) - sum(json.loads(one))
    return used_wh * HOUR_S // (two_t - one_t) if used_wh >= 0 else None


def heat(found: Iterable[Sample], limit: int = 100) -> list[dict[str, Any]]:
    """Return a row for each meter with its lowest voltage of each hour.

    The nearest to the transformer comes first, or the strongest where distances are not known.
    Meters of which far fewer hours were sampled than of others are left out.
    """
    rows: dict[str, dict[str, Any]] = {}
    for one in found:
        place = one.place
        row = rows.setdefault(
            place.meter,
            {
                "account": place.account,
                "meter": place.meter,
                "distance_m": place.distance_m,
                "cells": [None] * HOURS,
            },
        )
        there = row["cells"][one.hour]
        least = min(one.volts_dv)
        row["cells"][one.hour] = least if there is None else min(there, least)
    for row in rows.values():
        told = [dv for dv in row["cells"] if dv is not None]
        row["mean_dv"] = sum(told) // len(told)
        row["lowest_dv"] = min(told)
        row["hours"] = len(told)
    most = max((row["hours"] for row in rows.values()), default=0)
    seen = [row for row in rows.values() if 2 * row["hours"] >= most]
    listed = sorted(seen, key=lambda row: (row["distance_m"], -row["mean_dv"], row["account"]))
    return listed[-limit:]


# --- what meters count by themselves ------------------------------------------------------------

_COUNTED = """
    SELECT meter, t2000, identifier, "values", concentrator, seq FROM items
    WHERE account IN ({accounts}) AND identifier IN (?, ?) AND t2000 >= ? AND t2000 < ?
    ORDER BY t2000
"""


def counted(
    store: Store, first_day: int, end_day: int, district: str | None = None
) -> list[dict[str, Any]]:
    """Return what meters have counted in a month, from its first day to before its end.

    That is the month before, where a meter was asked for it in the month behind, or else the
    newest state of the month itself. The lowest rate comes first.
    """
    places = meters_of(store, district)
    # A month later the month before is another one.
    span = (first_day * DAY_S, (end_day + _SHORTEST_MONTH_DAYS) * DAY_S)
    found: dict[str, dict[str, Any]] = {}
    for at in range(0, len(places), _CHUNK):
        chunk = {one.account: one for one in places[at : at + _CHUNK]}
        query = _COUNTED.format(accounts=question_marks([*chunk]))
        with store.database.looking():
            rows = store.database.all(query, (*chunk, COMPLIANCE_NOW, COMPLIANCE_BEFORE, *span))
        of_meter = {one.meter: one for one in chunk.values()}
        for meter, t2000, identifier, text, concentrator, seq in rows:
            is_now = identifier == COMPLIANCE_NOW
            place, values = of_meter.get(meter), json.loads(text)
            if place is None or is_now != (t2000 < end_day * DAY_S):
                continue
            if len(values) >= _COUNTED_LEAST and values[0]:
                told = {"meter": meter, "account": place.account, "district": place.district}
                where = {"t2000": t2000, "concentrator": concentrator, "seq": seq}
                found[meter] = {**told, **where, **_counts(values)}
    return sorted(found.values(), key=lambda row: (row["rate_e4"], row["account"]))


def _counts(values: Sequence[int | None]) -> dict[str, Any]:
    """Return minutes and rate of a meter's counters, the rate made from its minutes."""
    minutes = values[0] or 0
    high, low = values[3] or 0, values[4] or 0
    return {
        "minutes": minutes,
        "low_minutes": low,
        "high_minutes": high,
        "rate_e4": 10_000 * max(0, minutes - low - high) // minutes,
    }


def counted_rate_e4(rows: Sequence[dict[str, Any]]) -> int | None:
    """Return the qualified share of all minutes that meters have counted."""
    minutes = sum(row["minutes"] for row in rows)
    wrong = sum(row["low_minutes"] + row["high_minutes"] for row in rows)
    return 10_000 * max(0, minutes - wrong) // minutes if minutes else None


# --- what a page and a command say --------------------------------------------------------------


def report(store: Store, days: Sequence[int], district: str | None = None) -> dict[str, Any]:
    """Return the voltage of some days: rates, the low list with its load, and what is counted.

    What meters count is of the whole month of the first of these days.
    """
    found = samples(store, days, district)
    whole = (rates(found, "station") or [Rate(_STATION)])[0]
    meters = counted(store, *_month_of(days[0]), district)
    return {
        "station": whole.told(),
        "districts": [one.told() for one in rates(found, "district")],
        "hours": [one.told() for one in rates(found, "hour")],
        "low": [one.told() for one in low_list(store, found)],
        "counted": meters,
        "counted_rate_e4": counted_rate_e4(meters),
        "heat": heat(found),
    }


def _month_of(day: int) -> tuple[int, int]:
    """Return the first day of the month of a day, and the first of the next one."""
    first = (EPOCH + timedelta(days=day)).date().replace(day=1)
    end = (first + timedelta(days=31)).replace(day=1)
    return (first - EPOCH.date()).days, (end - EPOCH.date()).days
