"""What a page and a command say of the quality of a day's readings, of a district or of all."""

from collections.abc import Sequence
from typing import Any

from host.headend import quality, read_success
from host.headend.estimates import estimates
from host.headend.places import MeterPlace, date_of
from host.headend.quality import Judged
from host.headend.store import Store


def of_day(store: Store, day: int, district: str | None = None) -> dict[str, Any]:
    """Return how well a day is read, what is missing and why, and what is suspect."""
    missing = read_success.missing(store, day, district)
    judged = quality.suspects(store, day, district)
    found = [one for one in judged if one.state != quality.ESTIMATED]
    groups = read_success.all_of(store, day)
    return {
        "day": date_of(day),
        **{by: [one.told() for one in groups.get(by, [])] for by in read_success.BY},
        "reasons": read_success.reasons(missing),
        "missing": _missing(store, day, missing),
        "suspects": [told(one) for one in found],
        "rules": rules_of(judged),
    }


def of_month(store: Store, days: Sequence[int]) -> list[dict[str, Any]]:
    """Return how well each day was read."""
    rows = []
    for day in days:
        (one,) = read_success.read_success(store, day)
        rows.append({"day": date_of(day), **one.told()})
    return rows


def told(one: Judged) -> dict[str, Any]:
    """Return a meter's day for lists and JSON."""
    place = one.place
    return {
        "account": place.account,
        "meter": place.meter,
        "district": place.district,
        "concentrator": one.concentrator,
        "seq": one.seq,
        "use_wh": one.use_wh,
        "state": one.state,
        "rules": [mark.rule for mark in one.marks],
        "marks": [
            {"rule": mark.rule, "value": mark.value, "limit": mark.limit} for mark in one.marks
        ],
    }


def rules_of(found: Sequence[Judged]) -> dict[str, int]:
    """Return of how many meters each rule says something."""
    counts = dict.fromkeys(quality.RULES, 0)
    for one in found:
        for mark in one.marks:
            counts[mark.rule] += 1
    return {rule: count for rule, count in counts.items() if count}


def _missing(
    store: Store, day: int, missing: Sequence[read_success.Missing]
) -> list[dict[str, Any]]:
    """Return the meters that are not read, with an estimate of the midnight where there is one."""
    places = [
        MeterPlace(one.account, one.meter, one.concentrator, 0, False, one.district)
        for one in missing
        if one.concentrator
    ]
    guessed = estimates(store, day + 1, places)
    rows = []
    for one in missing:
        guess = guessed.get(one.account)
        rows.append(
            {
                "account": one.account,
                "meter": one.meter,
                "district": one.district,
                "concentrator": one.concentrator,
                "why": one.why,
                "total_wh": guess.total_wh if guess else None,
                "low_wh": guess.low_wh if guess else None,
                "high_wh": guess.high_wh if guess else None,
                "how": guess.how if guess else "",
            }
        )
    return rows
