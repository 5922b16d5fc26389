"""`dianka sim run`: worlds of faults from seeds, checked; how many went well, and what did not."""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.util import find_spec
from typing import Any, NoReturn, TextIO

import click
from rich.console import Console
from rich.progress import Progress

from host.cli import shown
from host.cli.options import json_option
from host.cli.output import Column, echo, print_json, print_table
from host.installed import how_to_add
from host.words import _
from host.world.scenarios import ANY, SCENARIOS
from host.world.shrinking import broken_by
from host.world.timeline import Timeline
from host.world.world import World

_Outcome = tuple[dict[str, Any], float]  # the report of a world, the CPU seconds it took
_SECTIONS = ("world", "cards", "line", "head-end", "flash")


def _cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


_WIDTH = max(map(len, SCENARIOS)) + 2
_ROWS = "\n".join(f"  {name:{_WIDTH}}{one.text}" for name, one in SCENARIOS.items())


@shown.command(
    epilog=f"""\b
Examples:
  dianka sim run --seed 7 --days 3 --meters 8
  dianka sim run --seeds 1-50 --days 2 --meters 4 -j 2
  dianka sim run --scenario alone --days 60 --meters 4
  dianka sim run --seed 7 --days 7 --json
  dianka sim run --seed 7 --days 1 --meters 2 --trace seven.txt
\b
Scenarios:
{_ROWS}
\b
One seed decides everything: what the households draw, buy and lose, every flipped bit, every
power cut. The same seed, scenario, days and meters repeat the same world.
"""
)
@click.option("--seed", default=1, show_default=True, help="Of the world.")
@click.option("--seeds", metavar="A-B", help="All these seeds, instead of --seed.")
@click.option(
    "--scenario",
    type=click.Choice(list(SCENARIOS)),
    default=ANY,
    show_default=True,
    help="What is special about the world: see below.",
)
@click.option(
    "--days",
    default=2,
    show_default=True,
    type=click.IntRange(1, 3660),
    help="Days that pass in it.",
)
@click.option(
    "--meters",
    default=8,
    show_default=True,
    type=click.IntRange(1, 256),
    help="Meters on its lines.",
)
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1, 1024),
    default=_cores,
    show_default="as many as there are processors",
    help="Run this many seeds at the same time.",
)
@click.option(
    "--trace",
    type=click.File("w", encoding="utf-8"),
    help="File for the course of the world, with the money of each account; - is the screen.",
)
@json_option
def run(
    seed: int,
    seeds: str | None,
    scenario: str,
    days: int,
    meters: int,
    jobs: int,
    trace: TextIO | None,
    as_json: bool,
) -> None:
    """Run the concentrator against a simulated world, with every fault and every checker.

    Ends with status 1 when an invariant did not hold, and says which and how to see it again.
    """
    if SCENARIOS[scenario].nor and find_spec("littlefs") is None:
        raise click.ClickException(
            _("the scenario {scenario} needs littlefs: {install}").format(
                scenario=scenario, install=how_to_add("nor")
            )
        )
    first, last = _range(seeds) if seeds else (seed, seed)
    if trace is not None and first != last:
        raise click.UsageError(_("--trace tells of one world: give --seed, or --seeds 7-7"))
    failed = []
    all_cpu_s = 0.0
    live = partial(_live, scenario=scenario, days=days, meters=meters, trace=trace)
    for report, cpu_s in _reports(live, range(first, last + 1), jobs, as_json):
        all_cpu_s += cpu_s
        if not report["ok"]:
            failed.append(report["seed"])
        if as_json:
            print_json(report)
        elif report["ok"] and first == last:
            _show(report, cpu_s)
        else:
            _tell(report, cpu_s)
    count = last - first + 1
    if failed and count > 1 and not as_json:
        echo(
            _("{failed} of {count} seeds failed: {seeds}").format(
                failed=len(failed), count=count, seeds=failed
            ),
            err=True,
        )
    meter_days = count * days * meters
    echo(
        _(
            "{meter_days} meter-days in {all_cpu_s:.1f} CPU-seconds: {meter_days_a_second:.1f} "
            "meter-days a CPU-second"
        ).format(
            meter_days=meter_days, all_cpu_s=all_cpu_s, meter_days_a_second=meter_days / all_cpu_s
        ),
        err=True,
    )
    if failed:
        raise SystemExit(1)


def _reports(
    live: Callable[..., _Outcome], seeds: range, jobs: int, quiet: bool
) -> Iterator[_Outcome]:
    """Run the worlds, and give the report and the CPU seconds of each in the seeds' order."""
    jobs = min(jobs, len(seeds))
    if jobs == 1:
        for one in seeds:
            yield live(one, quiet=quiet)
        return
    # A fork shares what is imported; a platform without it starts fresh processes.
    ways = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("fork" if "fork" in ways else None)
    with ProcessPoolExecutor(jobs, context) as pool:
        try:
            yield from pool.map(partial(live, quiet=True), seeds)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _range(text: str) -> tuple[int, int]:
    first, _dash, last = text.partition("-")
    if not first.isdigit() or not last.isdigit() or int(first) > int(last):
        _refuse(text)
    return int(first), int(last)


def _refuse(text: str) -> NoReturn:
    raise click.UsageError(_("--seeds {text}: write it as 1-50").format(text=text))


def _live(
    seed: int, scenario: str, days: int, meters: int, trace: TextIO | None, quiet: bool
) -> _Outcome:
    """Run one world; return its report and the CPU seconds it took."""
    began_s = time.process_time()
    world = World(seed, days, meters, scenario=scenario)
    if trace is not None:
        world.show(Timeline(trace.write, world.clock.now_t2000))
    console = Console(stderr=True)
    hidden = quiet or not console.is_terminal
    with Progress(console=console, transient=True, disable=hidden) as progress:
        task = progress.add_task(_("seed {seed}").format(seed=seed), total=days)
        broken = broken_by(world, lambda day: progress.update(task, completed=day))
    report = {"ok": True} | world.report()
    if broken is not None:
        report = _failed(world, scenario, broken.invariant, broken.what)
    return report, time.process_time() - began_s


def _failed(world: World, scenario: str, invariant: str, what: str) -> dict[str, Any]:
    """Return the report of a world in which something does not hold, and how to see it again."""
    replay = f"dianka sim run --seed {world.seed} --days {world.days} --meters {len(world.meters)}"
    if scenario != ANY:
        replay += f" --scenario {scenario}"
    failed = {"ok": False, "invariant": invariant, "what": what}
    return failed | {"t2000": world.clock.now_t2000(), "replay": replay} | world.report()


def _tell(report: dict[str, Any], cpu_s: float) -> None:
    """Print one line for a seed, more where it failed."""
    if report["ok"]:
        readings = report["world"].get("records READING", 0)
        echo(
            _("seed {seed}: {readings} readings, all holds ({cpu_s:.1f} s)").format(
                seed=report["seed"], readings=readings, cpu_s=cpu_s
            )
        )
        return
    echo(
        _("seed {seed}: {invariant} does not hold").format(
            seed=report["seed"], invariant=report["invariant"]
        ),
        err=True,
    )
    echo(f"  {report['what']}", err=True)
    echo(_("  see it again: {replay}").format(replay=report["replay"]), err=True)


def _show(report: dict[str, Any], cpu_s: float) -> None:
    """Print all counters of one world."""
    days, meters = report["days"], report["meters"]
    rows = [
        (section, name, str(value))
        for section in _SECTIONS
        for name, value in report[section].items()
    ]
    title = _("seed {seed}: {days} days, {meters} meters, {cpu_s:.1f} s").format(
        seed=report["seed"], days=days, meters=meters, cpu_s=cpu_s
    )
    print_table(
        (Column(_("part")), Column(_("what")), Column(_("times"), right=True)), rows, title=title
    )
    echo(_("settings: {settings}").format(settings=_pairs(report["settings"])))
    echo(_("faults: {faults}").format(faults=_pairs(report["faults"]) or _("none")))
    echo(
        _("journal CRC-32 {crc32}: the same again with the same numbers").format(
            crc32=report["journal_crc32"]
        )
    )
    echo(_("money, once, supply, journal, head-end and recovery: all hold"))


def _pairs(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in values.items())
