"""Tariff files (JSON, decimal strings), and the terms that follow from one, with nothing left out.

    {"name": "...", "source": "...", "tier_period": "month|year|none",
     "tier_reset": ["01-01 00"],            MM-DD hh of a year; of a month DD hh counts
     "rates": ["peak", "valley"],           in the order of the meter's registers
     "tiers": [{"upto_kwh": "2760", "prices": ["0.568", "0.288"]}, ...,  {"prices": [...]}],
     "standing_yuan_per_day": "0.1",
     "seasons": [{"from": "05-01", "tiers": [...], "table": "...", "rest_table": "..."}, ...],
     "households": {"large": {"extra_kwh": ["100", "0"]}, "low income": {"free_kwh": "15"}},
     "schedule": {"tables": {"day": [["00:00", "valley"], ["08:00", "peak"]]}, "table": "day",
                  "rest_table": "...", "rest_days": ["sat", "sun"],
                  "holidays": {"2026-10-01": "..."}},
     "next": [{"from": "2026-07-01 00", ...}]}

Day tables with `"in_meter": true` only say when the meter switches its own registers.
Only `name`, `tier_period` and `tiers` must stand. A season takes what it does not say from the
tariff, a set of `next` from the set before it. The first kind of household is the ordinary one.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from host.units import EPOCH

RATES_LIMIT = 8
ORDINARY = "ordinary"
_PRICE_DECIMALS = 8
_STANDING_DECIMALS = 7
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTH_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class TariffError(ValueError):
    """The file is not a tariff that can be honoured exactly; the text names field and value."""


def _decimal(value: object) -> Decimal:
    """A decimal string, as exact as it is written."""
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
        raise ValueError('write a decimal number of 0 or more as a string, such as "0.568"')
    return Decimal(value)


Number = Annotated[Decimal, BeforeValidator(_decimal)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Tier(_Model):
    """One step of a ladder; only the last has no upper limit."""

    upto_kwh: Number | None = None
    prices: list[Number]


class Season(_Model):
    """What begins at 00:00 of `from` every year."""

    begins: Annotated[str, Field(alias="from")]
    tiers: list[Tier] | None = None
    table: str | None = None
    rest_table: str | None = None


class Household(_Model):
    """How a kind of household differs: higher limits, or energy that costs nothing."""

    extra_kwh: list[Number] | None = None
    free_kwh: Number | None = None


class Schedule(_Model):
    """Day tables: of the clock, for meters with one register, or what the meter does itself."""

    in_meter: bool = False
    tables: dict[str, list[tuple[str, str]]]
    table: str
    rest_table: str | None = None
    rest_days: list[Literal["sun", "mon", "tue", "wed", "thu", "fri", "sat"]] = []
    holidays: dict[date, str] = {}


class _Terms(_Model):
    tier_period: Literal["month", "year", "none"]
    tier_reset: list[str] | None = None
    tiers: list[Tier]
    standing_yuan_per_day: Number = Decimal(0)
    seasons: list[Season] = []


class Next(_Model):
    """A set of terms from a time on; what it leaves out stays."""

    begins: Annotated[str, Field(alias="from")]
    tier_period: Literal["month", "year", "none"] | None = None
    tier_reset: list[str] | None = None
    tiers: list[Tier] | None = None
    standing_yuan_per_day: Number | None = None
    seasons: list[Season] | None = None


class TariffFile(_Terms):
    """A whole tariff file."""

    name: str
    source: str = ""
    note: str = ""
    rates: Annotated[list[str], Field(min_length=1, max_length=RATES_LIMIT)] = ["flat"]
    households: dict[str, Household] = {}
    schedule: Annotated[Schedule | None, BeforeValidator(lambda value: value or None)] = None
    next: list[Next] = []

    @property
    def clock_tells_rate(self) -> bool:
        """Whether the meter has one register and the device's day tables tell the rate."""
        return self.schedule is not None and not self.schedule.in_meter

    @property
    def household_names(self) -> list[str]:
        """Kinds of household by number."""
        return [ORDINARY, *self.households]

    @property
    def has_free_tier(self) -> bool:
        """Whether tier 0 of the image is the energy that costs nothing."""
        return any(kind.free_kwh is not None for kind in self.households.values())


@dataclass(frozen=True)
class Ladder:
    """Upper limits (kWh, inclusive, of all tiers but the last) and yuan per tier and rate."""

    limits_kwh: tuple[Decimal, ...]
    prices: tuple[tuple[Decimal, ...], ...]


@dataclass(frozen=True)
class SeasonTerms:
    """A season of a set: month, day, one ladder for each kind of household, day tables."""

    month: int
    day: int
    ladders: tuple[Ladder, ...]
    table: str | None
    rest_table: str | None


@dataclass(frozen=True)
class SetTerms:
    """Terms from `start` on, with nothing left out. `settlements` are (month or 0, day, hour)."""

    start: datetime
    period: str
    settlements: tuple[tuple[int, int, int], ...]
    standing_yuan: Decimal
    seasons: tuple[SeasonTerms, ...]


def sets_of(tariff: TariffFile) -> list[SetTerms]:
    """All sets, the first from the beginning of time; TariffError names what cannot be."""
    if len(set(tariff.rates)) < len(tariff.rates):
        raise TariffError(f"rates {tariff.rates}: two have the same name")
    terms: _Terms = tariff
    sets = [_set_terms(tariff, terms, EPOCH, "")]
    for at, following in enumerate(tariff.next):
        place = f"next[{at}]."
        start = _moment(following.begins, f"{place}from")
        if start <= sets[-1].start:
            raise TariffError(f"{place}from {following.begins!r}: not after the set before")
        changed = following.model_dump(exclude_none=True, exclude={"begins"}, by_alias=True)
        if "tier_period" in changed and "tier_reset" not in changed:
            changed["tier_reset"] = None
        kept = {name: getattr(terms, name) for name in _Terms.model_fields}
        fresh = {name: getattr(following, name) for name in changed}
        terms = _Terms.model_construct(**{**kept, **fresh})
        sets.append(_set_terms(tariff, terms, start, place))
    return sets


def _set_terms(tariff: TariffFile, terms: _Terms, start: datetime, place: str) -> SetTerms:
    standing = terms.standing_yuan_per_day
    _check_decimals(standing, _STANDING_DECIMALS, 100, f"{place}standing_yuan_per_day")
    schedule = tariff.schedule
    table = schedule.table if schedule else None
    rest_table = (schedule.rest_table or table) if schedule else None
    seasons = []
    for at, season in enumerate(terms.seasons):
        within = f"{place}seasons[{at}]."
        month, day = _month_day(season.begins, f"{within}from")
        tiers = f"{within}tiers" if season.tiers else f"{place}tiers"
        ladders = _ladders(tariff, season.tiers or terms.tiers, tiers)
        own = season.table or table
        if schedule is None and (season.table or season.rest_table):
            raise TariffError(f"{within}table: there is no schedule")
        rest = season.rest_table or (season.table and own) or rest_table
        seasons.append(SeasonTerms(month, day, ladders, own, rest))
    ladders = _ladders(tariff, terms.tiers, f"{place}tiers")
    if not seasons:
        seasons = [SeasonTerms(1, 1, ladders, table, rest_table)]
    if len({(season.month, season.day) for season in seasons}) < len(seasons):
        raise TariffError(f"{place}seasons: two begin on the same day")
    settlements = _settlements(terms, place)
    return SetTerms(start, terms.tier_period, settlements, standing, tuple(seasons))


def _settlements(terms: _Terms, place: str) -> tuple[tuple[int, int, int], ...]:
    resets = terms.tier_reset
    place = f"{place}tier_reset"
    if terms.tier_period == "none":
        if resets:
            raise TariffError(f"{place} {resets}: nothing is reset with tier_period none")
        return ()
    if resets is None:
        resets = ["01-01 00"]
    found = []
    for at, text in enumerate(resets):
        match = re.fullmatch(r"(?:([0-9]{2})-)?([0-9]{2})(?: ([0-9]{2}))?", text)
        if not match or (terms.tier_period == "year" and not match[1]):
            raise TariffError(f'{place}[{at}] {text!r}: write MM-DD hh, such as "01-01 00"')
        month, day, hour = int(match[1] or 0), int(match[2]), int(match[3] or 0)
        if terms.tier_period == "month":
            month = 0
        elif not 1 <= month <= 12:
            raise TariffError(f"{place}[{at}] {text!r}: a month is 01 to 12")
        if not 1 <= day <= 28 or hour > 23:
            raise TariffError(f"{place}[{at}] {text!r}: a day is 01 to 28, an hour 00 to 23")
        found.append((month, day, hour))
    limit = 1 if terms.tier_period == "month" else 6
    if not 1 <= len(found) <= limit or len(set(found)) < len(found):
        raise TariffError(
            f"{place} {resets}: a {terms.tier_period} has 1 to {limit}, all different"
        )
    return tuple(found)


def _ladders(tariff: TariffFile, tiers: Sequence[Tier], place: str) -> tuple[Ladder, ...]:
    """The ladder of each kind of household, all with the same number of tiers."""
    limits: list[Decimal] = []
    for at, tier in enumerate(tiers):
        if len(tier.prices) != len(tariff.rates):
            raise TariffError(
                f"{place}[{at}].prices: {len(tier.prices)} prices for {len(tariff.rates)} rates"
            )
        for rate, price in enumerate(tier.prices):
            _check_decimals(price, _PRICE_DECIMALS, 100000, f"{place}[{at}].prices[{rate}]")
        last = at == len(tiers) - 1
        if last != (tier.upto_kwh is None):
            reason = "the last tier has no limit" if last else "only the last tier may lack it"
            raise TariffError(f"{place}[{at}].upto_kwh {tier.upto_kwh}: {reason}")
        if tier.upto_kwh is not None:
            _check_decimals(tier.upto_kwh, 3, 1000000, f"{place}[{at}].upto_kwh")
            if tier.upto_kwh <= (limits[-1] if limits else 0):
                raise TariffError(f"{place}[{at}].upto_kwh {tier.upto_kwh}: limits must grow")
            limits.append(tier.upto_kwh)
    if not tiers:
        raise TariffError(f"{place}: there must be at least one")
    prices = tuple(tuple(tier.prices) for tier in tiers)
    kinds = [Household(), *tariff.households.values()]
    names = tariff.household_names
    return tuple(
        _household_ladder(tariff, kind, Ladder(tuple(limits), prices), f"households.{name}")
        for kind, name in zip(kinds, names, strict=True)
    )


def _household_ladder(tariff: TariffFile, kind: Household, base: Ladder, place: str) -> Ladder:
    limits = base.limits_kwh
    if kind.extra_kwh is not None:
        if len(kind.extra_kwh) != len(limits):
            raise TariffError(
                f"{place}.extra_kwh: {len(kind.extra_kwh)} values for {len(limits)} limits"
            )
        for extra in kind.extra_kwh:
            _check_decimals(extra, 3, 1000000, f"{place}.extra_kwh")
        limits = tuple(limit + extra for limit, extra in zip(limits, kind.extra_kwh, strict=True))
        if list(limits) != sorted(set(limits)):
            raise TariffError(f"{place}.extra_kwh: the limits no longer grow")
    prices = base.prices
    if tariff.has_free_tier:
        free = kind.free_kwh or Decimal(0)
        _check_decimals(free, 3, 1000000, f"{place}.free_kwh")
        if limits and free > limits[0]:
            raise TariffError(f"{place}.free_kwh {free}: above the first limit {limits[0]}")
        limits = (free, *limits)
        prices = (tuple(Decimal(0) for _ in tariff.rates), *prices)
    return Ladder(limits, prices)


def _check_decimals(value: Decimal, decimals: int, limit: int, place: str) -> None:
    exponent = value.normalize().as_tuple().exponent
    if not isinstance(exponent, int) or -exponent > decimals:
        raise TariffError(f"{place} {value}: more than {decimals} decimals cannot be honoured")
    if value >= limit:
        raise TariffError(f"{place} {value}: must be below {limit}")


def _month_day(text: str, place: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]{2})-([0-9]{2})", text)
    month, day = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= month <= 12 or not 1 <= day <= _MONTH_DAYS[month - 1]:
        raise TariffError(f'{place} {text!r}: write a day of every year as MM-DD, such as "05-01"')
    return month, day


def _moment(text: str, place: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%d %H")
    except ValueError:
        hint = 'write YYYY-MM-DD hh, such as "2026-07-01 00"'
        raise TariffError(f"{place} {text!r}: {hint}") from None


def rate_at(tariff: TariffFile, season: SeasonTerms, moment: datetime) -> int:
    """The rate by the day tables; TariffError where the tariff has none."""
    minute = moment.hour * 60 + moment.minute
    slots = slots_of(tariff, season, moment.date())
    return [rate for start, rate in slots if start <= minute][-1]


def slots_of(tariff: TariffFile, season: SeasonTerms, day: date) -> tuple[tuple[int, int], ...]:
    """First minute and rate of each slot of `day`, by the day tables."""
    schedule = tariff.schedule
    if schedule is None:
        raise TariffError("schedule: the tariff has none, so no hour has a rate")
    weekday = WEEKDAYS[(day.weekday() + 1) % 7]
    table = season.rest_table if weekday in schedule.rest_days else season.table
    table = schedule.holidays.get(day, table)
    return _slots(tuple(schedule.tables[table or ""]), tuple(tariff.rates))


@lru_cache(maxsize=1024)
def _slots(
    rows: tuple[tuple[str, str], ...], rates: tuple[str, ...]
) -> tuple[tuple[int, int], ...]:
    return tuple((int(time[:2]) * 60 + int(time[3:]), rates.index(rate)) for time, rate in rows)


def parse_kwh(text: str) -> Decimal:
    """Kilowatt-hours as typed, to the watt-hour; ValueError with what to write."""
    try:
        value = _decimal(text)
        _check_decimals(value, 3, 1000000, "energy")
    except (InvalidOperation, ValueError) as error:
        raise ValueError(f"{text!r}: {error}") from error
    return value
