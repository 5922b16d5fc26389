"""Tariff files (JSON, decimal strings), and the terms that follow from one, with nothing left out.

    {"name": "...", "source": "...", "tier_period": "month|year|none",
     "tier_reset": ["01-01 00"],            MM-DD hh of a year; of a month DD hh counts
     "rates": ["peak", "valley"],           in the order of the meter's registers
     "tiers": [{"upto_kwh": "2760", "prices": ["0.568", "0.288"]}, ...,  {"prices": [...]}],
     "tier_rates": ["peak"],                energy at other rates fills no tier
     "service_yuan_per_kwh": ["0.4", "0.3"],  one, or one a rate; added to the prices
     "standing_yuan_per_day": "0.1", "standing_yuan_per_month": "20",
     "seasons": [{"from": "05-01", "tiers": [...], "table": "...", "rest_table": "...",
                  "tier_rates": [...], "service_yuan_per_kwh": [...], "households": {...}}, ...],
     "households": {"large": {"extra_kwh": ["100", "0"]}, "low income": {"free_kwh": "15"},
                    "school": {"tiers": [...]}},
     "free_period": "month|year", "free_reset": "01 00",   of free_kwh; else the tier period
     "part_year": {"opened": "whole|this_month", "moved_in": "whole|this_month",
                   "household": "whole|this_month|next_month"},
     "schedule": {"tables": {"day": [["00:00", "valley"], ["08:00", "peak"]]}, "table": "day",
                  "rest_table": "...", "rest_days": ["sat", "sun"],
                  "holidays": {"2026-10-01": "..."}},
     "next": [{"from": "2026-07-01 00", ...}]}

Day tables with `"in_meter": true` only say when the meter switches its own registers.
Only `name`, `tier_period` and `tiers` must stand. A season takes what it does not say from the
tariff, a set of `next` from the set before it. The first kind of household is the ordinary one.
Where seasons, sets or kinds have different numbers of tiers, the last tier of the shorter ones
counts as all that they lack.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from host.units import EPOCH
from host.words import _

RATES_LIMIT = 8
CLOCK_RATES_LIMIT = 24
TIERS_LIMIT = 8
SEASONS_LIMIT = 16
FREE_LIMIT_WH = 0xFFFFF
ORDINARY = "ordinary"
_PRICE_DECIMALS = 8
_PRICE_LIMIT_YUAN = 100000
_STANDING_DECIMALS = 7
_MONTHLY_DECIMALS = 4
# More than any account uses: the limit of a tier that another ladder has and this one lacks.
_BEYOND_KWH = Decimal("1073741.821")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MONTH_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class TariffError(ValueError):
    """The file is not a tariff that can be honoured exactly; the text names field and value."""


def _decimal(value: object) -> Decimal:
    """Return a decimal string, as exact as it is written."""
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
        raise ValueError(_('write a decimal number of 0 or more as a string, such as "0.568"'))
    return Decimal(value)


Number = Annotated[Decimal, BeforeValidator(_decimal)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Tier(_Model):
    """One step of a ladder; only the last has no upper limit."""

    upto_kwh: Number | None = None
    prices: list[Number]


class Household(_Model):
    """The terms of a kind of household: higher limits, prices of its own, energy that is free."""

    extra_kwh: list[Number] | None = None
    free_kwh: Number | None = None
    tiers: list[Tier] | None = None


class Season(_Model):
    """The terms that begin at 00:00 of `from` every year."""

    begins: Annotated[str, Field(alias="from")]
    tiers: list[Tier] | None = None
    table: str | None = None
    rest_table: str | None = None
    tier_rates: list[str] | None = None
    service_yuan_per_kwh: list[Number] | None = None
    households: dict[str, Household] = {}


class PartYear(_Model):
    """The part of a year's quota that counts when an account begins within the year."""

    opened: Literal["whole", "this_month"] = "whole"
    moved_in: Literal["whole", "this_month"] = "whole"
    household: Literal["whole", "this_month", "next_month"] = "whole"


class Schedule(_Model):
    """Day tables for meters with one register, or those that the meter applies itself."""

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
    tier_rates: list[str] | None = None
    service_yuan_per_kwh: list[Number] | None = None
    standing_yuan_per_day: Number = Decimal(0)
    standing_yuan_per_month: Number = Decimal(0)
    seasons: list[Season] = []
    households: dict[str, Household] = {}


class Next(_Model):
    """A set of terms from a time on; terms that it leaves out stay."""

    begins: Annotated[str, Field(alias="from")]
    tier_period: Literal["month", "year", "none"] | None = None
    tier_reset: list[str] | None = None
    tiers: list[Tier] | None = None
    tier_rates: list[str] | None = None
    service_yuan_per_kwh: list[Number] | None = None
    standing_yuan_per_day: Number | None = None
    standing_yuan_per_month: Number | None = None
    seasons: list[Season] | None = None
    households: dict[str, Household] | None = None


class TariffFile(_Terms):
    """A whole tariff file."""

    name: str
    source: str = ""
    note: str = ""
    rates: Annotated[list[str], Field(min_length=1, max_length=CLOCK_RATES_LIMIT)] = ["flat"]
    free_period: Literal["month", "year"] | None = None
    free_reset: str | None = None
    part_year: PartYear = PartYear()
    schedule: Annotated[Schedule | None, BeforeValidator(lambda value: value or None)] = None
    next: list[Next] = []

    @property
    def clock_tells_rate(self) -> bool:
        """Return whether the meter has one register and the device's day tables tell the rate."""
        return self.schedule is not None and not self.schedule.in_meter

    @property
    def household_names(self) -> list[str]:
        """Return the kinds of household by number."""
        return [ORDINARY, *self.households]

    @property
    def has_free_tier(self) -> bool:
        """Return whether tier 0 of the image is the energy that costs nothing in a tier period."""
        kinds = [kind for named in self._all_households() for kind in named.values()]
        return self.free_period is None and any(kind.free_kwh is not None for kind in kinds)

    def _all_households(self) -> list[dict[str, Household]]:
        """Return the kinds of household of all parts of the file."""
        sets: list[_Terms | Next] = [self, *self.next]
        named = [one.households or {} for one in sets]
        return named + [season.households for one in sets for season in one.seasons or []]

    def free_kwh(self, household: int) -> Decimal:
        """Return the free energy (kWh) of each free period, for a kind of household."""
        if self.free_period is None or household == 0:
            return Decimal(0)
        return list(self.households.values())[household - 1].free_kwh or Decimal(0)


@dataclass(frozen=True)
class Ladder:
    """Upper limits (kWh, inclusive, of all tiers but the last) and yuan per tier and rate.

    `service` is the service fee within each rate's prices.
    """

    limits_kwh: tuple[Decimal, ...]
    prices: tuple[tuple[Decimal, ...], ...]
    service: tuple[Decimal, ...] = ()


@dataclass(frozen=True)
class SeasonTerms:
    """A season of a set: month, day, one ladder for each kind of household, day tables.

    Energy at the `uncounted` rates fills no tier.
    """

    month: int
    day: int
    ladders: tuple[Ladder, ...]
    table: str | None
    rest_table: str | None
    uncounted: tuple[int, ...] = ()


@dataclass(frozen=True)
class SetTerms:
    """Terms from `start` on, with nothing left out. `settlements` are (month or 0, day, hour)."""

    start: datetime
    period: str
    settlements: tuple[tuple[int, int, int], ...]
    standing_yuan: Decimal
    monthly_yuan: Decimal
    seasons: tuple[SeasonTerms, ...]


def sets_of(tariff: TariffFile) -> list[SetTerms]:
    """Return all sets, of which the first has always been in force.

    TariffError names the invalid field.
    """
    _check_rates(tariff)
    _check_households(tariff)
    free_settlement(tariff)
    terms: _Terms = tariff
    sets = [_set_terms(tariff, terms, EPOCH, "")]
    for at, following in enumerate(tariff.next):
        place = f"next[{at}]."
        start = _moment(following.begins, f"{place}from")
        if start <= sets[-1].start:
            raise TariffError(
                _("{place}from {begins!r}: not after the set before").format(
                    place=place, begins=following.begins
                )
            )
        fresh = {name: getattr(following, name) for name in _Terms.model_fields}
        fresh = {name: value for name, value in fresh.items() if value is not None}
        if "tier_period" in fresh:
            fresh["tier_reset"] = following.tier_reset
        kept = {name: getattr(terms, name) for name in _Terms.model_fields}
        fresh["households"] = {**terms.households, **(following.households or {})}
        terms = _Terms.model_construct(**{**kept, **fresh})
        sets.append(_set_terms(tariff, terms, start, place))
    return _with_equal_tiers(sets)


def _with_equal_tiers(sets: list[SetTerms]) -> list[SetTerms]:
    """Give all ladders the number of tiers of the longest."""
    ladders = [one for terms in sets for season in terms.seasons for one in season.ladders]
    count = max(len(ladder.prices) for ladder in ladders)
    if count > TIERS_LIMIT:
        raise TariffError(
            _("tiers: {count} tiers, at most {limit}").format(count=count, limit=TIERS_LIMIT)
        )

    def filled(ladder: Ladder) -> Ladder:
        lacking = count - len(ladder.prices)
        limits = (*ladder.limits_kwh, *[_BEYOND_KWH] * lacking)
        return replace(
            ladder, limits_kwh=limits, prices=(*ladder.prices, *[ladder.prices[-1]] * lacking)
        )

    return [
        replace(
            terms,
            seasons=tuple(
                replace(season, ladders=tuple(filled(one) for one in season.ladders))
                for season in terms.seasons
            ),
        )
        for terms in sets
    ]


def _check_rates(tariff: TariffFile) -> None:
    if len(set(tariff.rates)) < len(tariff.rates):
        raise TariffError(_("rates {rates}: two have the same name").format(rates=tariff.rates))
    if len(tariff.rates) > RATES_LIMIT and not tariff.clock_tells_rate:
        raise TariffError(
            _(
                "rates: {count} rates; meters have at most {limit} registers, so give day tables "
                "of the clock (schedule without in_meter)"
            ).format(count=len(tariff.rates), limit=RATES_LIMIT)
        )


def _check_households(tariff: TariffFile) -> None:
    if ORDINARY in tariff.households:
        raise TariffError(
            _("households.{name}: the tariff's own tiers are of that kind").format(name=ORDINARY)
        )
    for named in tariff._all_households():
        for name, kind in named.items():
            if name not in tariff.households:
                known = ", ".join(tariff.household_names)
                raise TariffError(
                    _("households.{name}: the tariff has only {known}").format(
                        name=name, known=known
                    )
                )
            if kind.tiers is not None and kind.extra_kwh is not None:
                raise TariffError(
                    _(
                        "households.{name}: has tiers of its own, so write its limits there and "
                        "leave extra_kwh out"
                    ).format(name=name)
                )
            own = tariff.households[name].free_kwh
            if tariff.free_period and kind.free_kwh not in (None, own):
                raise TariffError(
                    _(
                        "households.{name}.free_kwh {free_kwh}: with free_period it is the same "
                        "in all seasons and sets"
                    ).format(name=name, free_kwh=kind.free_kwh)
                )
            place = f"households.{name}.free_kwh"
            _check_decimals(kind.free_kwh or Decimal(0), 3, 1000000, place)
            if tariff.free_period and (kind.free_kwh or 0) * 1000 > FREE_LIMIT_WH:
                most = Decimal(FREE_LIMIT_WH) / 1000
                raise TariffError(
                    _("{place} {free_kwh}: with free_period at most {most}").format(
                        place=place, free_kwh=kind.free_kwh, most=most
                    )
                )


def free_settlement(tariff: TariffFile) -> tuple[int, int, int] | None:
    """Return month (0: every one), day and hour at which a free period begins, or None."""
    if tariff.free_period is None:
        if tariff.free_reset is not None:
            raise TariffError(
                _("free_reset {free_reset!r}: there is no free_period").format(
                    free_reset=tariff.free_reset
                )
            )
        return None
    resets = None if tariff.free_reset is None else [tariff.free_reset]
    found = _settlement_rows(tariff.free_period, resets, "free_reset", 1)
    return found[0]


def _set_terms(tariff: TariffFile, terms: _Terms, start: datetime, place: str) -> SetTerms:
    standing = terms.standing_yuan_per_day
    _check_decimals(standing, _STANDING_DECIMALS, 100, f"{place}standing_yuan_per_day")
    monthly = terms.standing_yuan_per_month
    _check_decimals(monthly, _MONTHLY_DECIMALS, 100000, f"{place}standing_yuan_per_month")
    if len(terms.seasons) > SEASONS_LIMIT:
        raise TariffError(
            _("{place}seasons: {count}, at most {limit}").format(
                place=place, count=len(terms.seasons), limit=SEASONS_LIMIT
            )
        )
    seasons = [
        _season_terms(tariff, terms, season, place, f"{place}seasons[{at}].")
        for at, season in enumerate(terms.seasons)
    ]
    # Terms outside the seasons must be valid even where seasons replace all of them.
    whole_year = Season.model_validate({"from": "01-01"})
    alone = _season_terms(tariff, terms, whole_year, place, place)
    if len({(season.month, season.day) for season in seasons}) < len(seasons):
        raise TariffError(_("{place}seasons: two begin on the same day").format(place=place))
    settlements = _settlements(terms, place)
    kept = tuple(seasons or [alone])
    return SetTerms(start, terms.tier_period, settlements, standing, monthly, kept)


def _season_terms(
    tariff: TariffFile, terms: _Terms, season: Season, place: str, within: str
) -> SeasonTerms:
    month, day = _month_day(season.begins, f"{within}from")
    schedule = tariff.schedule
    table = schedule.table if schedule else None
    rest_table = (schedule.rest_table or table) if schedule else None
    if schedule is None and (season.table or season.rest_table):
        raise TariffError(_("{within}table: there is no schedule").format(within=within))
    own = season.table or table
    rest = season.rest_table or (season.table and own) or rest_table
    counted = terms.tier_rates if season.tier_rates is None else season.tier_rates
    for name in counted or []:
        if name not in tariff.rates:
            raise TariffError(
                _("{within}tier_rates {name!r}: no rate of {rates}").format(
                    within=within, name=name, rates=tariff.rates
                )
            )
    uncounted = tuple(
        at for at, name in enumerate(tariff.rates) if counted is not None and name not in counted
    )
    if len(uncounted) == len(tariff.rates):
        raise TariffError(
            _("{within}tier_rates: at least one rate must fill the tiers").format(within=within)
        )
    service = _service(tariff, terms, season, within)
    kinds = {ORDINARY: Household(), **terms.households, **season.households}
    ladders = []
    for name in tariff.household_names:
        kind = kinds[name]
        tiers, at = terms.tiers, f"{place}tiers"
        if kind.tiers is not None:
            tiers, at = kind.tiers, f"households.{name}.tiers"
        elif season.tiers is not None:
            tiers, at = season.tiers, f"{within}tiers"
        ladder = _household_ladder(kind, _ladder(tariff, tiers, at), f"households.{name}")
        ladder = _with_service(ladder, service, at)
        _check_uncounted(tariff, ladder, uncounted, at)
        if tariff.has_free_tier:
            ladder = _with_free_tier(kind, ladder, uncounted, f"households.{name}")
        ladders.append(ladder)
    return SeasonTerms(month, day, tuple(ladders), own, rest, uncounted)


def _service(
    tariff: TariffFile, terms: _Terms, season: Season, within: str
) -> tuple[Decimal, ...]:
    """Return the service fee of each rate, () where there is none."""
    own = season.service_yuan_per_kwh
    service = terms.service_yuan_per_kwh if own is None else own
    if service is None:
        return ()
    place = f"{within}service_yuan_per_kwh"
    if len(service) not in (1, len(tariff.rates)):
        raise TariffError(
            _("{place}: {count} values for {rate_count} rates").format(
                place=place, count=len(service), rate_count=len(tariff.rates)
            )
        )
    for at, value in enumerate(service):
        _check_decimals(value, _PRICE_DECIMALS, _PRICE_LIMIT_YUAN, f"{place}[{at}]")
    return tuple(service * len(tariff.rates) if len(service) == 1 else service)


def _with_service(ladder: Ladder, service: tuple[Decimal, ...], place: str) -> Ladder:
    if not service:
        return ladder
    prices = tuple(
        tuple(price + fee for price, fee in zip(tier, service, strict=True))
        for tier in ladder.prices
    )
    for price in (price for tier in prices for price in tier):
        _check_decimals(
            price, _PRICE_DECIMALS, _PRICE_LIMIT_YUAN, f"{place} with service_yuan_per_kwh"
        )
    return Ladder(ladder.limits_kwh, prices, service)


def _check_uncounted(
    tariff: TariffFile, ladder: Ladder, uncounted: tuple[int, ...], place: str
) -> None:
    for rate in uncounted:
        if len({tier[rate] for tier in ladder.prices}) > 1:
            raise TariffError(
                _(
                    "{place}: {rate!r} is not in tier_rates, so it must cost the same in all tiers"
                ).format(place=place, rate=tariff.rates[rate])
            )


def _settlements(terms: _Terms, place: str) -> tuple[tuple[int, int, int], ...]:
    resets = terms.tier_reset
    place = f"{place}tier_reset"
    if terms.tier_period == "none":
        if resets:
            raise TariffError(
                _("{place} {resets}: nothing is reset with tier_period none").format(
                    place=place, resets=resets
                )
            )
        return ()
    limit = 1 if terms.tier_period == "month" else 6
    return _settlement_rows(terms.tier_period, resets, place, limit)


def _settlement_rows(
    period: str, resets: list[str] | None, place: str, limit: int
) -> tuple[tuple[int, int, int], ...]:
    if resets is None:
        resets = ["01-01 00"]
    found = []
    for at, text in enumerate(resets):
        match = re.fullmatch(r"(?:([0-9]{2})-)?([0-9]{2})(?: ([0-9]{2}))?", text)
        if not match or (period == "year" and not match[1]):
            raise TariffError(
                _('{place}[{at}] {text!r}: write MM-DD hh, such as "01-01 00"').format(
                    place=place, at=at, text=text
                )
            )
        month, day, hour = int(match[1] or 0), int(match[2]), int(match[3] or 0)
        if period == "month":
            month = 0
        elif not 1 <= month <= 12:
            raise TariffError(
                _("{place}[{at}] {text!r}: a month is 01 to 12").format(
                    place=place, at=at, text=text
                )
            )
        if not 1 <= day <= 28 or hour > 23:
            raise TariffError(
                _("{place}[{at}] {text!r}: a day is 01 to 28, an hour 00 to 23").format(
                    place=place, at=at, text=text
                )
            )
        found.append((month, day, hour))
    if not 1 <= len(found) <= limit or len(set(found)) < len(found):
        raise TariffError(
            _("{place} {resets}: a {period} has 1 to {limit}, all different").format(
                place=place, resets=resets, period=period, limit=limit
            )
        )
    return tuple(found)


def _ladder(tariff: TariffFile, tiers: Sequence[Tier], place: str) -> Ladder:
    limits: list[Decimal] = []
    for at, tier in enumerate(tiers):
        if len(tier.prices) != len(tariff.rates):
            raise TariffError(
                _("{place}[{at}].prices: {count} prices for {rate_count} rates").format(
                    place=place, at=at, count=len(tier.prices), rate_count=len(tariff.rates)
                )
            )
        for rate, price in enumerate(tier.prices):
            _check_decimals(
                price, _PRICE_DECIMALS, _PRICE_LIMIT_YUAN, f"{place}[{at}].prices[{rate}]"
            )
        last = at == len(tiers) - 1
        if last != (tier.upto_kwh is None):
            reason = (
                _("the last tier has no limit") if last else _("only the last tier may lack it")
            )
            raise TariffError(
                _("{place}[{at}].upto_kwh {upto_kwh}: {reason}").format(
                    place=place, at=at, upto_kwh=tier.upto_kwh, reason=reason
                )
            )
        if tier.upto_kwh is not None:
            _check_decimals(tier.upto_kwh, 3, 1000000, f"{place}[{at}].upto_kwh")
            if not tier.upto_kwh or tier.upto_kwh < max(limits, default=0):
                raise TariffError(
                    _(
                        "{place}[{at}].upto_kwh {upto_kwh}: limits must be above 0 and not fall"
                    ).format(place=place, at=at, upto_kwh=tier.upto_kwh)
                )
            limits.append(tier.upto_kwh)
    if not tiers:
        raise TariffError(_("{place}: there must be at least one").format(place=place))
    return Ladder(tuple(limits), tuple(tuple(tier.prices) for tier in tiers))


def _household_ladder(kind: Household, base: Ladder, place: str) -> Ladder:
    """Return the ladder with the higher limits of a kind of household."""
    limits = base.limits_kwh
    if kind.extra_kwh is None:
        return base
    if len(kind.extra_kwh) != len(limits):
        raise TariffError(
            _("{place}.extra_kwh: {count} values for {limit_count} limits").format(
                place=place, count=len(kind.extra_kwh), limit_count=len(limits)
            )
        )
    for extra in kind.extra_kwh:
        _check_decimals(extra, 3, 1000000, f"{place}.extra_kwh")
    limits = tuple(limit + extra for limit, extra in zip(limits, kind.extra_kwh, strict=True))
    if list(limits) != sorted(limits):
        raise TariffError(_("{place}.extra_kwh: the limits must not fall").format(place=place))
    if limits and limits[-1] >= _BEYOND_KWH:
        raise TariffError(
            _("{place}.extra_kwh: a limit of {limit} is too high").format(
                place=place, limit=limits[-1]
            )
        )
    return replace(base, limits_kwh=limits)


def _with_free_tier(
    kind: Household, ladder: Ladder, uncounted: tuple[int, ...], place: str
) -> Ladder:
    """Return the ladder with a tier before it that costs nothing."""
    free = kind.free_kwh or Decimal(0)
    if ladder.limits_kwh and free > ladder.limits_kwh[0]:
        raise TariffError(
            _("{place}.free_kwh {free}: above the first limit {first}").format(
                place=place, free=free, first=ladder.limits_kwh[0]
            )
        )
    first = tuple(
        price if rate in uncounted else Decimal(0) for rate, price in enumerate(ladder.prices[0])
    )
    return replace(ladder, limits_kwh=(free, *ladder.limits_kwh), prices=(first, *ladder.prices))


def _check_decimals(value: Decimal, decimals: int, limit: int, place: str) -> None:
    exponent = value.normalize().as_tuple().exponent
    if not isinstance(exponent, int) or -exponent > decimals:
        raise TariffError(
            _("{place} {value}: more than {decimals} decimals cannot be honoured").format(
                place=place, value=value, decimals=decimals
            )
        )
    if value >= limit:
        raise TariffError(
            _("{place} {value}: must be below {limit}").format(
                place=place, value=value, limit=limit
            )
        )


def _month_day(text: str, place: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]{2})-([0-9]{2})", text)
    month, day = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= month <= 12 or not 1 <= day <= _MONTH_DAYS[month - 1]:
        raise TariffError(
            _('{place} {text!r}: write a day of every year as MM-DD, such as "05-01"').format(
                place=place, text=text
            )
        )
    return month, day


def _moment(text: str, place: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%d %H")
    except ValueError:
        raise TariffError(
            _('{place} {text!r}: write YYYY-MM-DD hh, such as "2026-07-01 00"').format(
                place=place, text=text
            )
        ) from None


def rate_at(tariff: TariffFile, season: SeasonTerms, moment: datetime) -> int:
    """Return the rate by the day tables; TariffError where the tariff has none."""
    minute = moment.hour * 60 + moment.minute
    slots = slots_of(tariff, season, moment.date())
    return [rate for start, rate in slots if start <= minute][-1]


def slots_of(tariff: TariffFile, season: SeasonTerms, day: date) -> tuple[tuple[int, int], ...]:
    """Return the first minute and rate of each slot of `day`, by the day tables."""
    schedule = tariff.schedule
    if schedule is None:
        raise TariffError(_("schedule: the tariff has none, so no hour has a rate"))
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
    """Return kilowatt-hours as typed, exact to the watt-hour; ValueError shows the right form."""
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,3})?", text):
        raise ValueError(
            _("{text!r} is not kWh like 50 or 49.125, below 1000000").format(text=text)
        )
    return Decimal(text)
