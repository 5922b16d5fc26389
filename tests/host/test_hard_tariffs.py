"""Goal: tariffs as hard as a province could write them are charged exactly, by device and host.

Method: a third arithmetic, which knows the file's JSON alone. It walks the years in steps of 15
minutes, notes where anything changes, and adds up whole numbers of 1e-11 yuan. Each file mixes
features that are seldom together; readings come at odd times, and at the very moments of changes.
"""

import json
import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache, cached_property
from typing import Any

import pytest

from host.device.bill import DeviceBill
from host.frames.tariff import read as read_file
from host.units import to_t2000

FIRST = datetime(2025, 8, 1)
LAST = datetime(2027, 1, 15)
STEP = timedelta(minutes=15)
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def at(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d %H:%M")


def e8(text: str) -> int:
    return int(Decimal(text).scaleb(8))


def wh(text: str) -> int:
    return int(Decimal(text) * 1000)


@dataclass
class Plain:
    """The meaning of a file, looked up anew at each step."""

    file: dict[str, Any]

    @cached_property
    def sets(self) -> list[tuple[datetime, dict[str, Any]]]:
        held = {**self.file}
        found = [(datetime(2000, 1, 1), held)]
        for following in self.file.get("next", []):
            held = {**held, **following}
            if "tier_period" in following and "tier_reset" not in following:
                held.pop("tier_reset", None)
            before = found[-1][1].get("households", {})
            held["households"] = {**before, **following.get("households", {})}
            found.append((datetime.strptime(following["from"], "%Y-%m-%d %H"), held))
        return found

    def set_at(self, now: datetime) -> dict[str, Any]:
        return [one for start, one in self.sets if start <= now][-1]

    def season_at(self, now: datetime) -> dict[str, Any]:
        held = self.set_at(now)
        seasons = sorted(held.get("seasons", []), key=lambda one: one["from"])
        begun = [one for one in seasons if one["from"] <= now.strftime("%m-%d")]
        season = (begun or seasons or [{}])[-1]
        kinds = {**held.get("households", {}), **season.get("households", {})}
        return {**held, **season, "households": kinds, "of_season": season}

    def begins_a_period(self, now: datetime) -> bool:
        """Return whether the tiers begin anew in this very step."""
        held = self.set_at(now)
        before = self.set_at(now - STEP)
        named = [(one["tier_period"], one.get("tier_reset")) for one in (held, before)]
        if named[0] != named[1]:
            return True
        return settles(now, held["tier_period"], held.get("tier_reset", ["01-01 00"]))

    def begins_free(self, now: datetime) -> bool:
        kind = self.file.get("free_period", "none")
        return settles(now, kind, [self.file.get("free_reset", "01-01 00")])

    def rate_of(self, now: datetime) -> int | None:
        """Return the rate that the clock tells, None where the registers do."""
        schedule = self.file.get("schedule")
        if not schedule or schedule.get("in_meter"):
            return None
        season = self.season_at(now)["of_season"]
        table = season.get("table", schedule["table"])
        if DAYS[now.weekday()] in schedule.get("rest_days", []):
            rest = schedule.get("rest_table", schedule["table"])
            table = season.get("rest_table", season.get("table", rest))
        table = schedule.get("holidays", {}).get(now.date().isoformat(), table)
        slots = [rate for time, rate in schedule["tables"][table] if time <= f"{now:%H:%M}"]
        return int(self.file["rates"].index(slots[-1]))

    @cached_property
    def changes(self) -> list[datetime]:
        """Return every step at which anything changes."""
        found = []
        now, before = FIRST, None
        tables = self.file.get("schedule", {}).get("tables", {}).values()
        finely = any(not time.endswith(":00") for slots in tables for time, _rate in slots)
        while now < LAST:
            season = self.season_at(now)
            mark = (id(self.set_at(now)), str(season["of_season"]), self.rate_of(now))
            if mark != before or self.begins_a_period(now) or self.begins_free(now):
                found.append(now)
            before = mark
            now += STEP if finely else 4 * STEP
        return found

    def months(self, now: datetime) -> tuple[int, int]:
        """Return how many months the period has, and how many are left with that of `now`."""
        start = now.replace(minute=0)
        while not self.begins_a_period(start):
            start -= timedelta(hours=1)
        held = self.set_at(now)
        end = start + timedelta(hours=1)
        resets = held.get("tier_reset", ["01-01 00"])
        while not settles(end, held["tier_period"], resets):
            end += timedelta(hours=1)
        starts = []
        year, month = start.year, start.month
        while (one := start.replace(year=year, month=month)) < end:
            starts.append(one)
            year, month = year + month // 12, month % 12 + 1
        return len(starts), sum(one > now for one in starts) + 1


def settles(now: datetime, kind: str, resets: list[str]) -> bool:
    if kind == "none" or now.minute:
        return False
    text = f"{now:%d %H}" if kind == "month" else f"{now:%m-%d %H}"
    wanted = [one if " " in one else f"{one} 00" for one in resets]
    return text in ([one[-5:] for one in wanted] if kind == "month" else wanted)


@dataclass
class House:
    """One account: money in 1e-11 yuan, energy in Wh."""

    plain: Plain
    kind: str
    now: datetime
    money: int = 0
    used: int = 0
    free: int = 0
    months: int = 0
    spans: list[tuple[str, int]] = field(default_factory=list)

    def begin(self, rule: str) -> None:
        """Give the account the part of the quota that is left."""
        self.used, self.spans = 0, []
        months, left = self.plain.months(self.now)
        if rule == "this_month" and left < months:
            self.months, self.spans = months, [(self.kind, left)]

    def become(self, kind: str) -> None:
        """Make it another kind of household, by the rule of the file."""
        rule = self.plain.file.get("part_year", {}).get("household", "whole")
        months, left = self.plain.months(self.now)
        left -= rule == "next_month"
        before = self.spans or [(self.kind, months)]
        if rule != "whole":
            past = before[-1][1] - left
            self.months = months
            if past > 0:
                self.spans = [*before[:-1], (self.kind, past), (kind, left)]
            else:
                self.spans = [*before[:-1], (kind, before[-1][1])]
        self.kind = kind

    def read(self, until: datetime, energy: list[int]) -> None:
        """Charge the energy of each register since the last reading."""
        whole = int((until - self.now).total_seconds())
        cuts = [one for one in self.plain.changes if self.now < one < until]
        done = [0] * len(energy)
        start = self.now
        for end in [*cuts, until]:
            passed = int((end - self.now).total_seconds())
            share = [
                total * passed // whole - old for total, old in zip(energy, done, strict=True)
            ]
            done = [old + new for old, new in zip(done, share, strict=True)]
            self._charge(start, end, share)
            start = end
        self.now = until

    def _charge(self, start: datetime, end: datetime, share: list[int]) -> None:
        if start in self.plain.changes:
            if self.plain.begins_a_period(start):
                self.used, self.spans = 0, []
            self.free = 0 if self.plain.begins_free(start) else self.free
        for register, energy in enumerate(share):
            told = self.plain.rate_of(start)
            self._use(start, register if told is None else told, energy)
        held = self.plain.set_at(start)
        moment = start.replace(hour=0, minute=0, second=0)
        while moment < end:
            if moment >= start:
                self.money += e8(held.get("standing_yuan_per_day", "0")) * 1000
                if moment.day == 1:
                    self.money += e8(held.get("standing_yuan_per_month", "0")) * 1000
            moment += timedelta(days=1)

    def _use(self, now: datetime, rate: int, energy: int) -> None:
        terms = self.plain.season_at(now)
        file = self.plain.file
        names = file.get("rates", ["flat"])
        tiers = self._tiers(terms, self.kind)
        service = [e8(one) for one in terms.get("service_yuan_per_kwh", ["0"])]
        fee = service[rate] if len(service) > 1 else service[0]
        counts = names[rate] in terms.get("tier_rates", names)
        if not counts:
            self.money += (e8(tiers[0]["prices"][rate]) + fee) * energy
            return
        own = file.get("households", {}).get(self.kind, {})
        by_period = wh(own.get("free_kwh", "0")) if "free_period" in file else 0
        by_tier = terms["households"].get(self.kind, {}).get("free_kwh", "0")
        first = 0 if "free_period" in file else wh(by_tier)
        while energy:
            bounds = [first, *(self._limit(terms, tier) for tier in range(len(tiers) - 1))]
            step = min([energy, *(one - self.used for one in bounds if one > self.used)])
            if self.free < by_period:
                step = min(step, by_period - self.free)
                self.free += step
            elif self.used >= first:
                tier = sum(limit <= self.used for limit in bounds[1:])
                self.money += (e8(tiers[tier]["prices"][rate]) + fee) * step
            self.used += step
            energy -= step

    def _tiers(self, terms: dict[str, Any], kind: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = terms["households"].get(kind, {}).get("tiers")
        return found or terms["tiers"]

    def _limit(self, terms: dict[str, Any], tier: int) -> int:
        if not self.spans:
            return self._whole(terms, self.kind, tier)
        total = sum(self._whole(terms, kind, tier) * count for kind, count in self.spans)
        return total // self.months

    def _whole(self, terms: dict[str, Any], kind: str, tier: int) -> int:
        own = terms["households"].get(kind, {})
        tiers = self._tiers(terms, kind)
        if tier >= len(tiers) - 1:
            return 10**12
        return wh(tiers[tier]["upto_kwh"]) + wh(own.get("extra_kwh", ["0"] * 8)[tier])


def tiers(*rows: tuple[str | None, str]) -> list[dict[str, Any]]:
    """Return tiers as a file has them, of `(upto, "price price ..")`."""
    found: list[dict[str, Any]] = []
    for upto, prices in rows:
        tier: dict[str, Any] = {"prices": prices.split()}
        found.append(tier if upto is None else {"upto_kwh": upto, **tier})
    return found


TWICE_A_YEAR: dict[str, Any] = {
    "name": "two settlements, holidays on rest days, a fee that ends, equal tiers",
    "tier_period": "year",
    "tier_reset": ["03-15 10", "09-15 00"],
    "rates": ["valley", "flat", "peak", "sharp"],
    "tiers": tiers(
        ("210.5", "0.2881 0.5683 0.8 1.12345678"),
        ("210.5", "9 9 9 9"),
        ("400", "0.3381 0.6183 0.85 1.17345678"),
        (None, "0.5881 0.8683 1.1 1.42345678"),
    ),
    "service_yuan_per_kwh": ["0.01", "0.02", "0.03", "0.00000001"],
    "standing_yuan_per_month": "12.3456",
    "part_year": {"opened": "this_month", "moved_in": "this_month"},
    "seasons": [
        {"from": "02-28", "table": "summer"},
        {"from": "10-01", "table": "winter", "rest_table": "rest"},
    ],
    "schedule": {
        "table": "winter",
        "rest_days": ["sat", "sun"],
        "rest_table": "rest",
        "tables": {
            "winter": [["00:00", "valley"], ["08:15", "flat"], ["18:45", "sharp"]],
            "summer": [["00:00", "valley"], ["06:30", "peak"], ["11:00", "flat"]],
            "rest": [["00:00", "flat"], ["23:45", "valley"]],
            "feast": [["00:00", "valley"]],
        },
        "holidays": {"2026-01-01": "feast", "2026-10-03": "summer", "2026-10-04": "feast"},
    },
    "next": [
        {"from": "2026-06-01 07", "service_yuan_per_kwh": ["0"], "standing_yuan_per_month": "0"},
        {
            "from": "2026-11-20 13",
            "tier_period": "month",
            "tier_reset": ["28 23"],
            "seasons": [{"from": "12-31", "table": "feast"}, {"from": "11-01", "table": "rest"}],
        },
    ],
}
FREE_ACROSS: dict[str, Any] = {
    "name": "months from the 15th, then years, then nothing; free energy from April to April",
    "tier_period": "month",
    "tier_reset": ["15 06"],
    "tiers": tiers(("60", "0.56789"), ("120", "0.61789"), (None, "0.86789")),
    "free_period": "year",
    "free_reset": "04-01 05",
    "households": {
        "five guarantees": {"free_kwh": "180.001"},
        "large": {"extra_kwh": ["20", "40.5"]},
    },
    "standing_yuan_per_day": "0.0312345",
    "seasons": [
        {"from": "05-01", "tiers": tiers(("500", "0.4"), (None, "0.7"))},
        {"from": "11-01", "tiers": tiers((None, "0.3333"))},
        {"from": "01-31"},
    ],
    "next": [
        {"from": "2026-05-20 11", "tier_period": "year", "seasons": []},
        {"from": "2026-08-01 00", "tier_period": "none", "standing_yuan_per_day": "0"},
        {"from": "2026-10-01 00", "tier_period": "month"},
    ],
}
FREE_ACROSS["seasons"][0]["households"] = {"large": {"extra_kwh": ["55"]}}
FREE_ACROSS["seasons"][1]["households"] = {"large": {}}
SPOT: dict[str, Any] = {
    "name": "24 prices, of which the day's fill the tiers, and a set a month",
    "tier_period": "month",
    "rates": [f"h{hour:02}" for hour in range(24)],
    "tier_rates": [f"h{hour:02}" for hour in range(6, 24)],
    "tiers": [
        {"upto_kwh": "50", "prices": [f"0.{3 + hour}" for hour in range(24)]},
        {"prices": [f"0.{3 + hour + 30 * (hour > 5)}" for hour in range(24)]},
    ],
    "schedule": {
        "table": "day",
        "tables": {"day": [[f"{hour:02}:00", f"h{hour:02}"] for hour in range(24)]},
    },
    "next": [
        {"from": f"2026-{month:02}-01 00", "standing_yuan_per_month": f"{month}.5"}
        for month in range(2, 13)
    ],
}
KINDS: dict[str, Any] = {
    "name": "sixteen kinds, some with prices of their own, each change from the next month on",
    "tier_period": "year",
    "tier_reset": ["07-01 00"],
    "tiers": tiers(("2160", "0.52"), ("3120", "0.57"), (None, "0.82")),
    "part_year": {"opened": "this_month", "moved_in": "this_month", "household": "next_month"},
    "households": {
        **{f"extra {n}": {"extra_kwh": [str(100 * n), str(101 * n)]} for n in range(1, 13)},
        "school": {"tiers": tiers((None, "0.4777"))},
        "shared": {"tiers": tiers(("100", "0.5"), ("200", "0.6"), ("300", "0.7"), (None, "1"))},
        "low income": {"extra_kwh": ["0", "0"]},
    },
}
AGENCY: dict[str, Any] = {
    "name": "four rates of the meter, agency prices at odd hours, two standing charges",
    "tier_period": "none",
    "rates": ["sharp", "peak", "flat", "valley"],
    "tiers": tiers((None, "1.20000001 0.99999999 0.65432101 0.30000007")),
    "standing_yuan_per_day": "1.2345678"[:9],
    "standing_yuan_per_month": "35.0001",
    "schedule": {
        "in_meter": True,
        "table": "a",
        "tables": {"a": [["00:00", "valley"], ["08:00", "peak"]]},
    },
    "next": [
        {
            "from": f"2026-{month:02}-01 {month:02}",
            "tiers": tiers((None, f"1.{month:08} 0.9{month} 0.6{month} 0.3{month}")),
            **({"standing_yuan_per_day": "0"} if month == 6 else {}),
            **({"service_yuan_per_kwh": ["0.0045"]} if month == 9 else {}),
        }
        for month in range(2, 13)
    ],
}
BESIDE: dict[str, Any] = {
    "name": "free tier, two registers of which one fills the tiers in winter, higher limits",
    "tier_period": "year",
    "tier_reset": ["01-01 00"],
    "rates": ["home", "heating"],
    "tiers": tiers(("300", "0.5 0.5"), ("600", "0.55 0.55"), (None, "0.8 0.8")),
    "service_yuan_per_kwh": ["0.05", "0.07"],
    "households": {"poor": {"free_kwh": "120", "extra_kwh": ["33.333", "66.667"]}},
    "seasons": [
        {"from": "03-16"},
        {
            "from": "11-15",
            "tier_rates": ["home"],
            "tiers": tiers(("300", "0.5 0.3"), ("600", "0.55 0.3"), (None, "0.8 0.3")),
        },
    ],
}
# File, kinds of household in turn, when the account begins, energy of a reading in Wh at most.
CASES = {
    "twice a year": (TWICE_A_YEAR, ["ordinary"], "2025-10-31 23:59", 60_000),
    "free across": (FREE_ACROSS, ["five guarantees"], "2025-12-31 00:00", 30_000),
    "large": (FREE_ACROSS, ["large"], "2026-01-15 05:59", 30_000),
    "spot": (SPOT, ["ordinary"], "2026-01-31 22:30", 20_000),
    "kinds": (KINDS, ["extra 3", "school", "extra 12", "shared"], "2025-08-31 12:00", 150_000),
    "agency": (AGENCY, ["ordinary"], "2026-01-01 00:00", 90_000),
    "beside": (BESIDE, ["poor"], "2025-12-01 00:00", 40_000),
}


@cache
def plain_of(case: str) -> Plain:
    return Plain(CASES[case][0])


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("case", CASES)
def test_a_hard_tariff_is_exact(case: str, seed: int) -> None:
    fields, kinds, begins, most = CASES[case]
    rng = random.Random(f"{case} {seed}")
    tariff = read_file(json.dumps(fields))
    plain = plain_of(case)
    start = at(begins)
    names = tariff.household_names
    device = DeviceBill(tariff, names.index(kinds[0]), start)
    house = House(plain, kinds[0], start)
    if fields["tier_period"] == "year":
        house.begin(fields.get("part_year", {}).get("opened", "whole"))
    registers = 1 if tariff.clock_tells_rate else len(tariff.rates)
    # Prices that change each hour are tried for six weeks around the turn of two months.
    most_min = 60_000 if case == "spot" else 500_000
    moments = {start + timedelta(minutes=rng.randrange(1, most_min)) for _one in range(60)}
    # A reading within a change, one second before it and one after it.
    last = start + timedelta(minutes=most_min)
    later = [one for one in plain.changes if start < one < last]
    near = rng.sample(later, min(12, len(later)))
    moments |= {one + timedelta(seconds=rng.choice([-1, 0, 1])) for one in near}
    turns = sorted(rng.sample(sorted(moments), len(kinds) - 1))
    for moment in sorted(moments):
        energy = [rng.randrange(most) * rng.choice([0, 1, 1]) for _one in range(registers)]
        house.read(moment, energy)
        device.read(energy, to_t2000(moment))
        assert device.exact_yuan == Decimal(house.money).scaleb(-11), moment
        if moment in turns:
            kind = kinds[turns.index(moment) + 1]
            house.become(kind)
            device.change_household(names.index(kind))


def test_another_household_moves_in() -> None:
    tariff, plain = read_file(json.dumps(KINDS)), Plain(KINDS)
    start = at("2025-07-01 00:00")
    device, house = DeviceBill(tariff, 0, start), House(plain, "ordinary", start)
    for text, kwh in (("2025-11-30 23:59", 1900), ("2026-02-01 00:00", 700), ("2026-06-30", 1300)):
        moment = at(text if " " in text else f"{text} 23:59")
        house.read(moment, [kwh * 1000])
        device.read([kwh * 1000], to_t2000(moment))
        assert device.exact_yuan == Decimal(house.money).scaleb(-11), moment
        house.begin("this_month")
        device.move_in()
