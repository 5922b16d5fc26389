"""Goal: what a made village says its concentrators record is what the real firmware records.

Method: days of a small district are made, with a theft and a stuck register in them. The same
energy is the load of simulated meters on a line that the whole concentrator reads in virtual time,
the sum meter among them. Every freeze is compared record for record, and every reading with the
register that the village has at its second. More days and households: DIANKA_VILLAGE_DAYS=7.
"""

import os
from dataclasses import dataclass, field

import numpy as np

from host.frames.record import RecordKind
from host.headend.unpack import Taken
from host.sim.clock import DEFAULT_START_T2000
from host.sim.load import Load
from host.sim.meter import Meter
from host.sim.village.district import Day, District
from host.sim.village.plan import parse_village
from host.units import DAY_S, HOUR_S, to_datetime
from host.village.journal import Journal
from host.village.station import DistrictStation
from tests.sim.plan_world import Site

DAYS = int(os.environ.get("DIANKA_VILLAGE_DAYS", "2"))
_PLAN = """
feeders:
  - name: F
    districts:
      - name: D
        households: 4
        shops: 1
        outages: 0
        thefts: [{kind: bypass, household: 2, from_day: 1}]
        faults: [{kind: stuck, household: 3, from_day: 1}]
"""


@dataclass(frozen=True)
class HourlyLoad(Load):
    """Watts by day (since 2000) and hour; where nothing is told, nothing is drawn."""

    watts: dict[tuple[int, int], int] = field(default_factory=dict)

    def power_w(self, day: int, hour: int) -> int:
        """Return the watts of an hour, which are the Wh that the account has counted in it."""
        return self.watts.get((day, hour), 0)


def _made() -> tuple[District, list[Day], DistrictStation, list[Taken]]:
    """Return a district, its days, and the records that its concentrator is said to make."""
    plan = parse_village(_PLAN, "plan").districts[0]
    start = to_datetime(DEFAULT_START_T2000)
    assert DEFAULT_START_T2000 % DAY_S == 0
    district = District(plan, start.date(), DAYS, 8, 100)
    district.multiplier[:] = 1
    accounts = [(f"{row + 1:012d}", f"{row + 1:012d}") for row in range(district.count)]
    supply = (f"{district.count + 1:012d}",) * 2
    station = DistrictStation(district, Journal(7), accounts, supply, 5000, 4)
    days = []
    for number in range(DAYS + 1):
        day = district.day(number, 15.0)
        day.late_days[:] = 0
        day.supply_late_days = 0
        days.append(day)
        station.record(DEFAULT_START_T2000 + number * DAY_S, day)
    return district, days, station, station.journal.take(1 << 32)


def _meters(district: District, days: list[Day]) -> list[Meter]:
    """Return the meters of the district with its energy as their loads, the sum meter last."""
    first = DEFAULT_START_T2000 // DAY_S
    hours = [np.concatenate([one.counted_wh for one in days], axis=1)]
    hours.append(np.concatenate([one.supply_wh for one in days])[None] // district.ct)
    meters = []
    for row, watts in enumerate(np.vstack(hours).tolist()):
        table = {(first + at // 24, at % 24): int(w) for at, w in enumerate(watts)}
        begun = days[0].start_wh[row] if row < district.count else 0
        meters.append(
            Meter(
                f"{row + 1:012d}",
                HourlyLoad(watts=table),
                DEFAULT_START_T2000,
                start_wh=(int(begun), 0, 0, 0),
                rate_of_hour=(0,) * 24,
            )
        )
    return meters


def test_firmware_and_village_record_the_same() -> None:
    district, days, _station, made = _made()
    meters = _meters(district, days)
    site = Site(meters, free=meters[-1:], interval_s=3600)
    site.live(DAYS * DAY_S + HOUR_S)
    told = {
        (one.index, one.fields["frozen_t2000"]): one.fields["registers_wh"][0]
        for one in site.records(RecordKind.FREEZE)
        if one.fields["frozen_t2000"] % DAY_S == 0
    }
    said = {
        (one.row, one.fields["frozen_t2000"]): one.fields["registers_wh"][0]
        for one in made
        if one.kind == RecordKind.FREEZE and one.row < district.count
    }
    midnights = [DEFAULT_START_T2000 + number * DAY_S for number in range(1, DAYS + 1)]
    for row in range(district.count):
        for at in midnights:
            assert told[row, at] == said[row, at], (row, at)
    used = [told[row, midnights[-1]] - told[row, midnights[0]] for row in range(district.count)]
    assert DAYS < 2 or (used[2] == 0 and used[1] < min(used[0], used[3]))  # stuck, and stolen from
    _check_readings(site, district, days)
    _check_supply_meter(site, district.count)


def _check_supply_meter(site: Site, index: int) -> None:
    """See that the supply meter is read and frozen as all are, pays nothing and is never cut."""
    read = [one.fields for one in site.records(RecordKind.READING) if one.index == index]
    assert read[-1]["registers_wh"][0] > read[0]["registers_wh"][0]
    assert {one["debit_fen"] for one in read} == {0}
    paying = [one.fields for one in site.records(RecordKind.READING) if one.index == 0]
    assert paying[-1]["debit_fen"] > 0
    frozen = [one for one in site.records(RecordKind.FREEZE) if one.index == index]
    assert len(frozen) >= DAYS
    assert not any(one.index == index for one in site.records(RecordKind.RELAY))
    assert not site.meters[index].relay.open


def _check_readings(site: Site, district: District, days: list[Day]) -> None:
    """Compare each reading with the register of its second, of the sum meter as well."""
    count = 0
    for one in site.records(RecordKind.READING):
        after_s = one.t2000 - DEFAULT_START_T2000
        day, hour = days[after_s // DAY_S], after_s % DAY_S // HOUR_S
        if one.index < district.count:
            before, hours = int(day.start_wh[one.index]), day.counted_wh[one.index]
        else:
            earlier = days[: after_s // DAY_S]
            before = sum(int((past.supply_wh // district.ct).sum()) for past in earlier)
            hours = day.supply_wh // district.ct
        total_ws = (before + int(hours[:hour].sum())) * HOUR_S + int(hours[hour]) * (
            after_s % HOUR_S
        )
        # The firmware notes the second in which the answer has come; the meter spoke before it.
        step_wh = int(hours[hour]) * 4 // HOUR_S + 10
        assert 0 <= total_ws // HOUR_S // 10 * 10 - one.fields["registers_wh"][0] <= step_wh
        count += 1
    assert count >= (district.count + 1) * 24 * DAYS
