"""Strategies that draw random tariffs, for tests of the tariff file and of charges."""

import json
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from host.frames.tariff import read
from host.frames.tariff_terms import TariffFile


def ladders(
    tiers: int, rates: int, alike: tuple[int, ...] = (), widest_kwh: int = 400
) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Draw the tiers of a tariff file; the rates `alike` cost the same in all of them."""
    price = st.integers(0, 2 * 10**8).map(lambda e8: f"{Decimal(e8).scaleb(-8):f}")
    row = st.lists(price, min_size=rates, max_size=rates)
    steps = st.lists(st.integers(1, widest_kwh), min_size=tiers - 1, max_size=tiers - 1)

    def rows(parts: tuple[list[list[str]], list[int]]) -> list[dict[str, Any]]:
        prices, widths = parts
        for row in prices:
            for rate in alike:
                row[rate] = prices[0][rate]
        found: list[dict[str, Any]] = [{"prices": one} for one in prices]
        for at in range(tiers - 1):
            found[at]["upto_kwh"] = str(sum(widths[: at + 1]))
        return found

    return st.tuples(st.lists(row, min_size=tiers, max_size=tiers), steps).map(rows)


def _households(
    draw: st.DrawFn, tiers: int, rates: int, uncounted: tuple[int, ...]
) -> dict[str, dict[str, Any]]:
    extra = [str(draw(st.integers(0, 9)) + 9 * at) for at in range(tiers - 1)]
    own: dict[str, Any] = {"tiers": draw(ladders(draw(st.integers(1, tiers)), rates, uncounted))}
    if draw(st.booleans()):
        # The first limit is at least 1.
        own["free_kwh"] = draw(st.sampled_from(["0.5", "0.999", "1"]))
    return {"large": {"extra_kwh": extra}, "own": own}


def _schedule(draw: st.DrawFn, names: list[str]) -> dict[str, Any]:
    minutes = draw(st.lists(st.integers(1, 1439), max_size=6, unique=True))
    slots = [
        [f"{at // 60:02}:{at % 60:02}", draw(st.sampled_from(names))]
        for at in (0, *sorted(minutes))
    ]
    return {
        "in_meter": draw(st.booleans()),
        "tables": {"a": slots, "b": [["00:00", names[-1]]]},
        "table": "a",
        "rest_table": "b",
        "rest_days": draw(st.sampled_from([[], ["sun"], ["sat", "sun"]])),
        "holidays": {"2026-05-01": "b", "2026-12-31": "b"},
    }


@st.composite
def tariff_files(draw: st.DrawFn) -> TariffFile:
    """Draw any tariff that the format can express, with small ladders so that limits are reached.

    Households are of three kinds: the ordinary one, one with higher limits, and one with prices
    of its own that has some energy free, if any.
    """
    tiers = draw(st.integers(1, 4))
    rates = draw(st.integers(1, 4))
    names = [f"rate {at}" for at in range(rates)]
    period = draw(st.sampled_from(["none", "month", "year"]))
    uncounted = draw(st.sampled_from([(), (), (rates - 1,)])) if rates > 1 else ()

    def reset(kind: str) -> list[str]:
        day = st.tuples(st.integers(1, 12), st.integers(1, 28), st.integers(0, 23))
        count = 1 if kind == "month" else 6
        rows = draw(st.lists(day, min_size=1, max_size=count, unique=True))
        return [f"{month:02}-{day:02} {hour:02}" for month, day, hour in rows]

    fields: dict[str, Any] = {
        "name": "random",
        "tier_period": period,
        "rates": names,
        "tiers": draw(ladders(tiers, rates, uncounted)),
        "standing_yuan_per_day": draw(st.sampled_from(["0", "0", "0.1234567"])),
        "standing_yuan_per_month": draw(st.sampled_from(["0", "0", "12.3456"])),
        "part_year": {
            "opened": draw(st.sampled_from(["whole", "this_month"])),
            "moved_in": draw(st.sampled_from(["whole", "this_month"])),
            "household": draw(st.sampled_from(["whole", "this_month", "next_month"])),
        },
        "households": _households(draw, tiers, rates, uncounted),
    }
    if uncounted:
        fields["tier_rates"] = names[:-1]
    if draw(st.booleans()):
        fields["service_yuan_per_kwh"] = ["0.25"]
    if "free_kwh" in fields["households"]["own"]:
        fields["free_period"] = draw(st.sampled_from([None, "month", "year"]))
        if fields["free_period"]:
            fields["free_reset"] = draw(st.sampled_from(["02-01 00", "12-28 23"]))
    if period != "none":
        fields["tier_reset"] = reset(period)
    begins = st.tuples(st.integers(1, 12), st.integers(1, 28))
    fields["seasons"] = [
        {"from": f"{month:02}-{day:02}", "tiers": draw(ladders(tiers, rates, uncounted))}
        for month, day in draw(st.lists(begins, max_size=4, unique=True))
    ]
    if draw(st.booleans()):
        fields["schedule"] = _schedule(draw, names)
    fields["next"] = []
    for start in draw(st.lists(st.integers(0, 600 * 24), max_size=3, unique=True).map(sorted)):
        moment = datetime(2026, 1, 1) + timedelta(hours=start)
        following: dict[str, Any] = {"from": f"{moment:%Y-%m-%d %H}"}
        if draw(st.booleans()):
            following["tiers"] = draw(ladders(tiers, rates, uncounted))
            following["seasons"] = []
        if draw(st.booleans()):
            following["tier_period"] = draw(st.sampled_from(["month", "year"]))
            following["tier_reset"] = reset(following["tier_period"])
        fields["next"].append(following)
    return read(json.dumps(fields))


@st.composite
def ending_files(draw: st.DrawFn) -> TariffFile:
    """Draw a tariff of whose tier year a night's midnight, or the hour behind it, is the end.

    Every limit is within a few kWh, an account that is opened or grows has a part of a year, and
    some energy is free in each month or year.
    """
    tiers, rates = draw(st.integers(2, 4)), draw(st.integers(1, 3))
    hour = draw(st.integers(0, 1))
    ends = [f"{month:02}-01 {hour:02}" for month in (1, 4)]
    household = {"tiers": draw(ladders(tiers, rates, widest_kwh=4)), "free_kwh": "1.5"}
    fields: dict[str, Any] = {
        "name": "a year that ends",
        "tier_period": "year",
        "tier_reset": draw(st.sampled_from([ends, ends[:1]])),
        "rates": [f"rate {at}" for at in range(rates)],
        "tiers": draw(ladders(tiers, rates, widest_kwh=4)),
        "households": {"large": {"extra_kwh": ["12"] * (tiers - 1)}, "own": household},
        "part_year": {
            "opened": draw(st.sampled_from(["whole", "this_month", "this_month"])),
            "moved_in": "this_month",
            "household": draw(st.sampled_from(["this_month", "next_month"])),
        },
        "standing_yuan_per_month": "12.3456",
    }
    fields["free_period"] = draw(st.sampled_from(["month", "year"]))
    fields["free_reset"] = ends[0] if fields["free_period"] == "year" else ends[0][3:]
    return read(json.dumps(fields))
