"""The tariffs, settings and kinds of account of a simulated concentrator.

The seed draws all of it. `Terms` has the same for the checkers: the values that decide about money
and supply, with their meaning in docs/PREPAYMENT.md.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any

from host.frames.tariff import build, read
from host.frames.tariff_terms import TariffError, TariffFile
from host.units import DAY_S, HOUR_S, to_datetime

_NOTICE_MINUTES = (0, 0, 60)
# A step of the clock moves it by at most this much, either way.
CLOCK_STEP_S = 20_000

TARIFFS = (
    """{"name": "monthly, two rates", "tier_period": "month", "tier_reset": ["01 00"],
    "rates": ["peak", "valley"], "tiers": [
    {"upto_kwh": "10", "prices": ["0.568", "0.288"]},
    {"upto_kwh": "30", "prices": ["0.618", "0.338"]}, {"prices": ["0.868", "0.588"]}],
    "households": {"large": {"extra_kwh": ["5", "0"]}, "low income": {"free_kwh": "3"}}}""",
    """{"name": "eight decimals", "tier_period": "year", "tier_reset": ["02-01 10", "07-01 00"],
    "rates": ["peak", "valley"], "tiers": [
    {"upto_kwh": "26", "prices": ["0.99500875", "0.22914475"]},
    {"upto_kwh": "60.5", "prices": ["1.04500875", "0.27914475"]},
    {"prices": ["1.29500875", "0.52914475"]}],
    "households": {"large": {"extra_kwh": ["11", "3.5"]}, "other": {"tiers": [
    {"upto_kwh": "7", "prices": ["0.7", "0.6"]}, {"prices": ["1.2", "0.60000001"]}]}},
    "part_year": {"opened": "this_month", "household": "this_month"}}""",
    """{"name": "one price", "tier_period": "none", "rates": ["flat"],
    "tiers": [{"prices": ["0.52886875"]}], "standing_yuan_per_day": "0.1234567",
    "standing_yuan_per_month": "1.25"}""",
    """{"name": "seasons", "tier_period": "month", "tier_reset": ["01 00"],
    "rates": ["peak", "valley"], "tiers": [
    {"upto_kwh": "12", "prices": ["0.58886875", "0.3"]}, {"prices": ["0.9", "0.6"]}],
    "seasons": [{"from": "01-01"}, {"from": "01-04", "tiers": [
    {"upto_kwh": "20", "prices": ["0.7", "0.2"]}, {"prices": ["1.1", "0.5"]}]},
    {"from": "02-01", "tiers": [
    {"upto_kwh": "4", "prices": ["0.61", "0.41"]}, {"prices": ["0.81", "0.51"]}]}],
    "households": {"low income": {"free_kwh": "2"}}, "free_period": "month",
    "free_reset": "03 12"}""",
    """{"name": "two sets", "tier_period": "year", "tier_reset": ["01-01 00"],
    "rates": ["peak", "valley"], "tiers": [
    {"upto_kwh": "15", "prices": ["0.5", "0.25"]}, {"prices": ["0.75", "0.25"]}],
    "tier_rates": ["peak"],
    "next": [{"from": "2026-01-03 09", "tiers": [
    {"upto_kwh": "25", "prices": ["0.55555555", "0.22222222"]}, {"prices": ["0.8", "0.4"]}],
    "tier_rates": ["peak", "valley"]},
    {"from": "2026-01-31 13", "tier_period": "month", "tier_reset": ["02 05"]}]}""",
    """{"name": "the clock tells", "tier_period": "month", "tier_reset": ["01 00"],
    "rates": ["peak", "valley"], "tiers": [
    {"upto_kwh": "18", "prices": ["0.6", "0.3"]}, {"prices": ["0.9", "0.45000001"]}],
    "schedule": {"table": "work", "rest_table": "rest", "rest_days": ["sat", "sun"], "tables": {
    "work": [["00:00", "valley"], ["08:30", "peak"], ["21:15", "valley"]],
    "rest": [["00:00", "valley"], ["17:00", "peak"], ["22:00", "valley"]]}}}""",
)


@dataclass(frozen=True)
class Kind:
    """The terms of an account for `account set`, drawn from the seed."""

    tariff: int
    household: int = 0
    grade: int = 0
    multiplier: int = 1
    guard: int = 0
    debt_fen: int = 0

    def commands(self, account: str) -> list[str]:
        """Return the commands to type for it."""
        named = {name: getattr(self, name) for name in ("household", "grade", "multiplier")}
        named |= {"guard": self.guard, "debt_fen": self.debt_fen}
        usual = Kind(self.tariff)
        return [
            f"account set {account} {name} {value}"
            for name, value in named.items()
            if value != getattr(usual, name)
        ]


@dataclass(frozen=True)
class Terms:
    """The terms of money and supply; `settings` has the values that differ from the defaults.

    tariffs         those in force, by number, as the records say
    clock_steps     the clock may be set wrong, so that waiting takes longer
    images          every tariff that was sent, by number and by the name of its image
    """

    tariffs: dict[int, TariffFile]
    settings: Mapping[str, int]
    clock_steps: bool = False
    images: dict[tuple[int, str], TariffFile] = field(default_factory=dict)

    def image_of(self, number: int, tariff: TariffFile) -> bytes:
        """Return the image of a tariff that may be put in force under a number from now on."""
        image = build(tariff, number)
        self.images[(number, name_of(image))] = tariff
        return image

    def __getitem__(self, name: str) -> int:
        return self.settings.get(name, 0)

    def registers(self, number: int) -> int:
        """Return how many registers of the meter a tariff reads."""
        tariff = self.tariffs[number]
        return 1 if tariff.clock_tells_rate else len(tariff.rates)

    def grace_fen(self, grade: int) -> int:
        """Return how far below 0 an account may be, for its grade."""
        return self["overdraft_fen"] + self[f"grace_{grade}_fen"]

    def wait_s(self, grade: int) -> int:
        """Return how long after it was due a cut of credit used up may come at the earliest."""
        return max(self["notice_minutes"] * 60, self[f"grace_{grade}_hours"] * HOUR_S)

    def may_cut_at(self, t2000: int) -> bool:
        """Return whether it is an hour and a day for cuts."""
        moment = to_datetime(t2000)
        if self["no_cut_weekdays"] >> moment.isoweekday() % 7 & 1:
            return False
        first, end = self["no_cut_from_hour"], self["no_cut_to_hour"]
        quiet = first <= moment.hour < end if first <= end else not end <= moment.hour < first
        return first == end or not quiet

    def held_s(self, grade: int) -> int:
        """Return how long a cut may be held back at most, 0: it is not."""
        hours = (self["no_cut_to_hour"] - self["no_cut_from_hour"]) % 24
        days = self["no_cut_weekdays"].bit_count()
        held_s = self.wait_s(grade) + 2 * hours * HOUR_S + days * DAY_S
        return held_s + self.slack_s if held_s else 0

    @property
    def slack_s(self) -> int:
        """Return how much longer than by the true clock a wait may take."""
        return CLOCK_STEP_S if self.clock_steps else 0


def draw_settings(random: Random) -> dict[str, int]:
    """Return the settings that a technician changes and that decide about supply."""
    settings = {
        "interval_s": random.choice((900, 900, 1800)),
        "overdraft_fen": random.choice((0, 0, 200)),
        "close_fen": random.choice((0, 0, 40)),
        "notice_minutes": random.choice(_NOTICE_MINUTES),
        "alarm_1_fen": 500,
        "alarm_2_fen": random.choice((0, 0, 0, 120)),
        "emergency_fen": random.choice((0, 0, 150)),
        "grace_1_fen": random.choice((0, 60)),
        "grace_2_hours": random.choice((0, 5)),
        "load_limit_w": random.choice((0, 0, 900)),
        "load_wait_s": 600,
        "debt_percent": random.choice((30, 50, 90)),
        "debt_week_limit_fen": random.choice((0, 250)),
    }
    if random.random() < 0.25:
        settings.update(no_cut_from_hour=22, no_cut_to_hour=6)
    if random.random() < 0.15:
        settings.update(no_cut_weekdays=0b0100001)
    return settings


def draw_kinds(random: Random, count: int, tariffs: int) -> list[Kind]:
    """Return the kind of each account: half of them ordinary, on every tariff in turn.

    With a number of `tariffs` all are ordinary, on these.
    """
    if tariffs:
        return [Kind(1 + index % tariffs) for index in range(count)]
    first = random.randrange(len(TARIFFS))
    households = [len(tariff.household_names) for tariff in read_tariffs().values()]
    kinds = []
    for index in range(count):
        number = 1 + (first + index) % len(TARIFFS)
        kind = Kind(number)
        if random.random() < 0.5:
            kind = Kind(
                number,
                random.randrange(3) if number == 1 else index % households[number - 1],
                random.randrange(4),
                random.choice((1, 1, 2, 3)),
                int(random.random() < 0.25),
                random.choice((0, random.randrange(2000))),
            )
        kinds.append(kind)
    return kinds


def name_of(image: bytes) -> str:
    """Return the name of an image, as records and commands have it."""
    return hashlib.sha256(image).hexdigest()[:16]


def draw_tariff(random: Random, number: int, now_t2000: int) -> TariffFile:
    """Return tariff `number` with other prices, from now on or from one of the next hours on."""
    told = json.loads(TARIFFS[number - 1])
    later = json.loads(TARIFFS[number - 1])
    drawn: dict[str, str] = {}  # what costs the same still does: a rate beside the tiers has to
    for one in _with_prices(later):
        one["prices"] = [drawn.setdefault(before, _price(random)) for before in one["prices"]]
    if random.random() < 0.5 and "next" not in told and "seasons" not in told:
        moment = to_datetime(now_t2000) + timedelta(hours=random.randrange(1, 7))
        told["next"] = [{"from": f"{moment:%Y-%m-%d %H}", "tiers": later["tiers"]}]
        try:
            return read(json.dumps(told))
        except TariffError:
            pass  # such a tariff has no sets
    return read(json.dumps(later))


def _with_prices(told: Any) -> Iterator[dict[str, Any]]:
    """Yield every part of a tariff file that names prices."""
    if isinstance(told, dict):
        if "prices" in told:
            yield told
        for value in told.values():
            yield from _with_prices(value)
    elif isinstance(told, list):
        for value in told:
            yield from _with_prices(value)


def _price(random: Random) -> str:
    return str(Decimal(random.randrange(1, 2 * 10**8)).scaleb(-8))


def read_tariffs() -> dict[int, TariffFile]:
    """Return the tariffs by number."""
    return {number: read(text) for number, text in enumerate(TARIFFS, 1)}
