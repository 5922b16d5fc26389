"""What is true in a made village, for whoever judges what others have found; no detector reads it.

troubles    each theft and fault: account, kind, days, and the energy that was not counted
districts   energy of each day: supplied, as the sum meter counts it, counted, technical, stolen
feeders     energy of each day into and out of the 10 kV line
voltage     for each account the minutes of each month: with supply, too high, too low
outages     start, end, district, phase or account
success     for each district and day how many freezes came on day 1, 2, 3, later, of how many
books       for each account and month what was charged and credited in all at its end, in fen
"""

from collections import defaultdict
from typing import Any

import numpy as np

from host.sim.village.district import Day, District
from host.sim.village.plan import VillagePlan, first_t2000
from host.sim.village.trouble import NO_ACCOUNT
from host.units import DAY_S
from host.village.journal import FEN_E7
from host.village.station import DistrictStation


class TruthFile:
    """Collects the truth while a village is written."""

    def __init__(
        self,
        plan: VillagePlan,
        districts: list[District],
        stations: list[DistrictStation],
        seed: int,
        days: int,
    ) -> None:
        self._plan, self._districts, self._stations = plan, districts, stations
        self._seed, self._days = seed, days
        self._place = {id(station): place for place, station in enumerate(stations)}
        self._energy: list[list[dict[str, int]]] = [[] for _one in districts]
        self._feeders: list[list[dict[str, int]]] = [[] for _one in plan.feeders]
        self._success: list[list[list[int]]] = [[] for _one in districts]
        self._voltage: dict[str, dict[str, list[int]]] = defaultdict(dict)
        self._missing: dict[tuple[int, int], int] = defaultdict(int)
        self._books: dict[str, dict[str, list[int]]] = defaultdict(dict)

    def note(self, station: DistrictStation, day: Day) -> None:
        """Take the truth of a day."""
        place = self._place[id(station)]
        truth = day.truth
        self._energy[place].append(
            {
                "supplied_wh": truth.supplied_wh,
                "metered_wh": int(day.supply_wh.sum()),
                "counted_wh": truth.counted_wh,
                "technical_wh": truth.technical_wh,
                "stolen_wh": truth.stolen_wh,
                "faulty_wh": truth.faulty_wh,
                "transformer_wh": truth.transformer_wh,
            }
        )
        arrived = [int((day.late_days == late).sum()) for late in (0, 1, 2)]
        later = len(day.late_days) - sum(arrived)
        self._success[place].append([*arrived, later, len(day.late_days)])
        for index, wh in truth.missing_wh.items():
            self._missing[place, index] += wh
        month = f"{station.district.date(day.number):%Y-%m}"
        lit = (day.volts > 0).sum(axis=1) * 60
        rows = np.stack((lit, truth.high_minutes, truth.low_minutes), axis=1).tolist()
        for (account, _address), row in zip(station.accounts, rows, strict=True):
            known = self._voltage[account].setdefault(month, [0, 0, 0])
            for column, minutes in enumerate(row):
                known[column] += minutes
        for row, (account, _address) in enumerate(station.accounts):
            debit_fen = station.meters[row].debit_e7 // FEN_E7
            self._books[account][month] = [debit_fen, station.credits_fen.get(row, 0)]

    def note_feeder(self, place: int, load_w: Any, lost_w: Any) -> None:
        """Take what a 10 kV line gave its transformers in a day, and lost."""
        self._feeders[place].append({"given_wh": int(load_w.sum()), "lost_wh": int(lost_w.sum())})

    def told(self) -> dict[str, Any]:
        """Return all of it, for a file."""
        names = [one.name for one in self._plan.districts]
        return {
            "seed": self._seed,
            "days": self._days,
            "start": f"{self._plan.start:%Y-%m-%d}",
            "troubles": [one for place in range(len(names)) for one in self._troubles(place)],
            "districts": dict(zip(names, self._energy, strict=True)),
            "feeders": {
                one.name: told for one, told in zip(self._plan.feeders, self._feeders, strict=True)
            },
            "success": dict(zip(names, self._success, strict=True)),
            "voltage": self._voltage,
            "books": self._books,
            "outages": [one for place in range(len(names)) for one in self._outages(place)],
        }

    def _troubles(self, place: int) -> list[dict[str, Any]]:
        station = self._stations[place]
        return [
            {
                "district": self._plan.districts[place].name,
                "account": "" if one.place == NO_ACCOUNT else station.accounts[one.place][0],
                "kind": one.kind,
                "theft": one.is_theft,
                "since_day": one.since_day,
                "until_day": min(one.until_day, self._days),
                "percent": one.percent,
                "missing_wh": self._missing[place, one.place],
            }
            for one in self._districts[place].troubles
            if one.since_day < self._days
        ]

    def _outages(self, place: int) -> list[dict[str, Any]]:
        start_t2000 = first_t2000(self._plan)
        station, district = self._stations[place], self._districts[place]
        return [
            {
                "district": self._plan.districts[place].name,
                "start_t2000": start_t2000 + one.start_s,
                "end_t2000": start_t2000 + one.end_s,
                "phase": "" if one.phase is None else "ABC"[one.phase],
                "account": "" if one.place is None else station.accounts[one.place][0],
            }
            for one in district.outages
            if one.start_s < self._days * DAY_S
        ]
