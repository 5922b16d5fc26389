"""Worlds of mixed kind, and how fast they are: `make worlds`, `make -s worlds-json`.

    .venv/bin/python -m tools.worlds [--seeds A-B] [--limit-s N] [--json]

Rough worlds of two to four days and two to four meters, their scenario drawn by the seed, are run
one after the other, until all seeds or the CPU seconds are used up; then three without faults. An
invariant that does not hold is told with the command that shows it again; the command then ends
with status 1.
"""

import argparse
import json
import sys
import time
from dataclasses import dataclass, field
from random import Random

import host.device  # noqa: F401 - makes the device's modules importable
from host.world.faults import NO_FAULTS
from host.world.scenarios import SCENARIOS
from host.world.shrinking import Life, broken_by
from host.world.world import World
from tools.proofs import commit_and_date

# Calm worlds: seeds, days and meters of each.
_CALM = (1, 2, 3)
_CALM_DAYS, _CALM_METERS = 2, 8
# It needs a package of its own.
_LEFT_OUT = ("nor",)


@dataclass
class Ran:
    """The outcome: what was broken, and how long it took."""

    seeds: int = 0
    meter_days: int = 0
    violations: list[str] = field(default_factory=list)
    rough_cpu_s: float = 0.0
    calm_cpu_s: float = 0.0


def life_of(seed: int) -> Life:
    """Return the rough world of a seed."""
    random = Random(seed)
    scenario = random.choice([name for name in SCENARIOS if name not in _LEFT_OUT])
    return Life(seed, random.randint(2, 4), random.randint(2, 4), scenario)


def run_rough(seeds: range, limit_s: float, ran: Ran) -> None:
    """Run the rough worlds; begin none once they took so many CPU seconds."""
    for seed in seeds:
        if ran.rough_cpu_s > limit_s:
            break
        life = life_of(seed)
        began_s = time.process_time()
        broken = broken_by(life.world())
        ran.rough_cpu_s += time.process_time() - began_s
        ran.seeds += 1
        ran.meter_days += life.days * life.meters
        if broken is not None:
            ran.violations.append(
                f"{broken}: dianka sim run --seed {seed} --days {life.days} "
                f"--meters {life.meters} --scenario {life.scenario}"
            )
            print(ran.violations[-1], file=sys.stderr, flush=True)


def run_calm(ran: Ran) -> None:
    """Run the worlds without faults, for their speed."""
    for seed in _CALM:
        began_s = time.process_time()
        World(seed, _CALM_DAYS, _CALM_METERS, NO_FAULTS).run()
        ran.calm_cpu_s += time.process_time() - began_s


def summary(ran: Ran) -> dict[str, object]:
    """Return what docs/reliability/worlds.json says."""
    calm_days = len(_CALM) * _CALM_DAYS * _CALM_METERS
    told: dict[str, object] = {
        "seeds": ran.seeds,
        "meter_days": ran.meter_days,
        "violations": len(ran.violations),
    }
    if ran.seeds:
        told["meter_days_per_cpu_s_rough"] = round(ran.meter_days / ran.rough_cpu_s, 1)
    told["meter_days_per_cpu_s_calm"] = round(calm_days / ran.calm_cpu_s, 1)
    return told | commit_and_date()


def main(arguments: list[str] | None = None) -> int:
    """Run the worlds; return 1 if an invariant does not hold."""
    parser = argparse.ArgumentParser(prog="tools.worlds", description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", default="1-200", metavar="A-B", help="of the rough worlds")
    parser.add_argument("--limit-s", type=float, default=1e9, help="begin no world after so long")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    first, _dash, last = options.seeds.partition("-")
    seeds = range(int(first), int(last or first) + 1)
    ran = Ran()
    run_rough(seeds, options.limit_s, ran)
    run_calm(ran)
    told = summary(ran)
    if options.json:
        print(json.dumps(told, indent=1))
    else:
        for name, value in told.items():
            print(f"{name}: {value}")
    return 1 if ran.violations else 0


if __name__ == "__main__":
    sys.exit(main())
