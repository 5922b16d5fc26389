"""Make villages from seeds and judge what the head-end finds in them by what is true.

    .venv/bin/python -m tools.judge_village --seeds 101-120

Thresholds are tuned on seeds 1-20 and measured on 101-120. The head-end only sees the database;
the truth is read here alone. See docs/LOSS.md.
"""

import json
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click

from host.headend import clues, losses, outages, read_success, voltage
from host.headend.store import Store
from host.sim.village.plan import VillagePlan, first_t2000, parse_village
from host.units import DAY_S
from host.village.writing import truth_path, write

DAYS = 60
_PLAN = """
start: 2026-{month:02d}-01
feeders:
  - name: 10 kV A
    districts:
      - {{name: A 1, households: 48, shops: 3, thefts: 5, faults: 2, outages: 30}}
      - {{name: A 2, households: 52, shops: 2, thefts: 4, faults: 2, outages: 30, span_m: 60}}
      - {{name: A 3, households: 40, shops: 2, thefts: 0, faults: 0, outages: 30}}
"""
# An outage of one meter is seen by its silence, which is noticed after so long.
_NOTICED_S = 3600
_NEAR_S = 1800
_SAMPLES_A_DAY = 20
_FIRST = 10  # of the ranking


@dataclass
class Judged:
    """What was found in one village, beside what is true.

    success_off     meters by which the count of a district's day differs at most
    voltage_off     points by which the qualified share of a sampled meter differs at most
    outages         how many were long enough to be noticed, and how many of them were found
    outages_false   found where there was none
    clues_first     how long the beginning of the ranking is that is judged, ten at most
    clues_true      how many of these have a theft or a fault
    troubles        accounts that have one on the judged days
    troubles_found  how many of these the whole ranking lists
    missed, false   kinds that it does not list; evidence of the judged clues that are wrong
    loss_off        points by which a district's loss of all days differs at most
    technical_off   points by which the technical part of it differs at most, and so does the rest
    """

    seed: int
    success_days: int = 0
    success_off: int = 0
    voltage_meters: int = 0
    voltage_off: float = 0.0
    outages: int = 0
    outages_found: int = 0
    outages_false: int = 0
    clues_first: int = 0
    clues_true: int = 0
    troubles: int = 0
    troubles_found: int = 0
    missed: list[str] = field(default_factory=list)
    false: list[str] = field(default_factory=list)
    loss_off: float = 0.0
    technical_off: float = 0.0
    notes: list[str] = field(default_factory=list)


def plan_of(seed: int) -> VillagePlan:
    """Return the village of a seed; seeds go through the months of a year."""
    return parse_village(_PLAN.format(month=1 + seed % 10), "the judged village")


def judge(seed: int, folder: Path, days: int = DAYS) -> Judged:
    """Make the village of a seed in a folder and judge it."""
    plan, path = plan_of(seed), folder / f"village{seed}.db"
    if not path.exists():
        write(plan, days, seed, path, lambda _days: None)
    truth = json.loads(truth_path(path).read_text(encoding="utf-8"))
    first = first_t2000(plan) // DAY_S
    found = Judged(seed)
    with Store(path, read_only=True) as store:
        _judge_success(store, truth, first, found)
        _judge_voltage(store, truth, range(first, first + days), found)
        _judge_outages(store, truth, first, days, found)
        _judge_losses(store, truth, first, days, found)
        _judge_clues(store, truth, first, days, found)
    return found


def _judge_success(store: Store, truth: dict[str, Any], first: int, found: Judged) -> None:
    """Compare how many freezes of each district came on day 1, until day 2 and until day 3."""
    for number in range(1, truth["days"] - 3):
        rows_told = read_success.read_success(store, first + number - 1, "district")
        told = {one.name: one for one in rows_told}
        for district, rows in truth["success"].items():
            one, arrived = told[district], rows[number]
            sums = [sum(arrived[: n + 1]) for n in range(3)]
            for here, true in zip((one.day1, one.day2, one.day3), sums, strict=True):
                found.success_off = max(found.success_off, abs(here - true))
            found.success_days += 1


def _judge_voltage(store: Store, truth: dict[str, Any], days: range, found: Judged) -> None:
    """Compare the qualified share of the meters that are sampled each hour."""
    samples = voltage.samples(store, days)
    for rate in voltage.rates(samples, "meter"):
        months = truth["voltage"].get(rate.name)
        if months is None or rate.samples < _SAMPLES_A_DAY * len(days):
            continue
        lit, high, low = (sum(one[n] for one in months.values()) for n in range(3))
        if rate.rate_e4 is None or lit == 0 or rate.samples > 40 * len(days):
            continue  # three phases are not in the truth
        off = abs(rate.rate_e4 / 100 - 100 * (lit - high - low) / lit)
        found.voltage_meters += 1
        found.voltage_off = max(found.voltage_off, round(off, 2))


def _judge_outages(
    store: Store, truth: dict[str, Any], first: int, days: int, found: Judged
) -> None:
    since, until = first * DAY_S, (first + days - 1) * DAY_S
    told = outages.outages(store, since, until)
    places = {(span.place.district, span.place.account) for one in told for span in one.spans}
    true = [one for one in truth["outages"] if since <= one["start_t2000"] < until - DAY_S]
    for one in true:
        if one["end_t2000"] - one["start_t2000"] < _NOTICED_S:
            continue
        found.outages += 1
        found.outages_found += any(_same(one, other) for other in told)
    found.outages_false = sum(not any(_same(t, one) for t in truth["outages"]) for one in told)
    if not places and true:
        found.notes.append("no outage names a place")


def _judge_losses(
    store: Store, truth: dict[str, Any], first: int, days: int, found: Judged
) -> None:
    """Compare the loss of each district over all days, and its division, with what is true."""
    for district, energy in truth["districts"].items():
        told = losses.day_losses(store, first, first + days - 1, district)
        told = [one for one in told if one.level == "district"]
        (whole,) = losses.sum_of(losses.with_technical(store, told))
        supplied, counted, technical = (
            sum(one[name] for one in energy[: days - 1])
            for name in ("supplied_wh", "counted_wh", "technical_wh")
        )
        true = 100 * (supplied - counted) / supplied, 100 * technical / supplied
        here = (whole.rate_e4 or 0) / 100, (whole.technical_e4 or 0) / 100
        found.loss_off = max(found.loss_off, round(abs(true[0] - here[0]), 2))
        found.technical_off = max(found.technical_off, round(abs(true[1] - here[1]), 2))
        parts = f"{true[1]:.2f} of {true[0]:.2f}, told {here[1]:.2f} of {here[0]:.2f}"
        found.notes.append(f"{district}: {parts}")


def _judge_clues(
    store: Store, truth: dict[str, Any], first: int, days: int, found: Judged
) -> None:
    """Look for the first ten of the ranking among the accounts that have a theft or a fault."""
    true = {one["account"]: one["kind"] for one in truth["troubles"] if one["account"]}
    ranking = clues.clues(store, first, first + days - 1)
    listed = [one.account for one in ranking]
    best = ranking[:_FIRST]
    found.clues_first = len(best)
    found.clues_true = sum(one.account in true for one in best)
    found.false = [
        " + ".join(sorted({told.kind for told in one.evidence}))
        for one in best
        if one.account not in true
    ]
    found.troubles = len(true)
    found.troubles_found = sum(account in listed for account in true)
    found.missed = sorted(kind for account, kind in true.items() if account not in listed)


def _same(true: dict[str, Any], told: outages.Outage) -> bool:
    """Return whether an outage that was found is one that was."""
    if all(span.place.district != true["district"] for span in told.spans):
        return False
    end = told.end or told.begin
    begins, ends = int(true["start_t2000"]), int(true["end_t2000"])
    return begins - _NEAR_S <= end and told.begin <= ends + _NEAR_S


@click.command()
@click.option("--seeds", default="1-20", show_default=True, help="From and to.")
@click.option("--days", default=DAYS, show_default=True)
@click.option("--folder", type=click.Path(path_type=Path), help="Keep the databases here.")
def main(seeds: str, days: int, folder: Path | None) -> None:
    """Judge the villages of some seeds."""
    least, _dash, most = seeds.partition("-")
    with tempfile.TemporaryDirectory() as own:
        for seed in range(int(least), int(most or least) + 1):
            print(json.dumps(asdict(judge(seed, folder or Path(own), days))), flush=True)


if __name__ == "__main__":
    main()
