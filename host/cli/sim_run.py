"""`dianka sim run`: worlds of faults from seeds, checked; how many went well, and what did not."""

import json
import time
from typing import Any, NoReturn

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from host.world.checks.account import Violation
from host.world.world import World

_SECTIONS = ("world", "cards", "line", "head-end", "flash")


@click.command(
    epilog="""\b
Examples:
  dianka sim run --seed 7 --days 3 --meters 8
  dianka sim run --seeds 1-50 --days 2 --meters 4
  dianka sim run --seed 7 --days 7 --json
\b
One seed decides everything: what the households draw, buy and lose, every flipped bit, every
power cut. The same seed, days and meters repeat the same world.
"""
)
@click.option("--seed", default=1, show_default=True, help="Of the world.")
@click.option("--seeds", metavar="A-B", help="All these seeds, instead of --seed.")
@click.option("--days", default=2, show_default=True, type=click.IntRange(1, 3660))
@click.option("--meters", default=8, show_default=True, type=click.IntRange(1, 256))
@click.option("--json", "as_json", is_flag=True, help="One JSON object a seed.")
def run(seed: int, seeds: str | None, days: int, meters: int, as_json: bool) -> None:
    """Run the concentrator against a simulated world, with every fault and every checker.

    Ends with status 1 when an invariant did not hold, and says which and how to see it again.
    """
    first, last = _range(seeds) if seeds else (seed, seed)
    failed = []
    for one in range(first, last + 1):
        began_s = time.monotonic()
        report = _live(one, days, meters, quiet=as_json)
        took_s = time.monotonic() - began_s
        if not report["ok"]:
            failed.append(one)
        if as_json:
            click.echo(json.dumps(report))
        elif report["ok"] and first == last:
            _show(report, took_s)
        else:
            _tell(report, took_s)
    if failed and first != last and not as_json:
        click.echo(f"{len(failed)} of {last - first + 1} seeds failed: {failed}", err=True)
    if failed:
        raise SystemExit(1)


def _range(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    if not first.isdigit() or not last.isdigit() or int(first) > int(last):
        _refuse(text)
    return int(first), int(last)


def _refuse(text: str) -> NoReturn:
    raise click.UsageError(f"--seeds {text}: write it as 1-50")


def _live(seed: int, days: int, meters: int, quiet: bool) -> dict[str, Any]:
    """Run one world; the report of a failed one names the invariant."""
    world = World(seed, days, meters)
    console = Console(stderr=True)
    hidden = quiet or not console.is_terminal
    with Progress(console=console, transient=True, disable=hidden) as progress:
        task = progress.add_task(f"seed {seed}", total=days)
        try:
            report = world.run(lambda day: progress.update(task, completed=day))
        except Violation as violation:
            failed = {"ok": False, "invariant": violation.invariant, "what": violation.what}
            replay = f"dianka sim run --seed {seed} --days {days} --meters {meters}"
            when = {"t2000": world.clock.now_t2000(), "replay": replay}
            return failed | when | world.report()
    return {"ok": True} | report


def _tell(report: dict[str, Any], took_s: float) -> None:
    """One line a seed, more where it failed."""
    if report["ok"]:
        readings = report["world"].get("records READING", 0)
        click.echo(f"seed {report['seed']}: {readings} readings, all holds ({took_s:.1f} s)")
        return
    click.echo(f"seed {report['seed']}: {report['invariant']} does not hold", err=True)
    click.echo(f"  {report['what']}", err=True)
    click.echo(f"  see it again: {report['replay']}", err=True)


def _show(report: dict[str, Any], took_s: float) -> None:
    """All counters of one world."""
    days, meters = report["days"], report["meters"]
    table = Table(title=f"seed {report['seed']}: {days} days, {meters} meters, {took_s:.1f} s")
    table.add_column("part")
    table.add_column("what")
    table.add_column("times", justify="right")
    for section in _SECTIONS:
        for name, value in report[section].items():
            table.add_row(section, name, str(value))
        table.add_section()
    Console().print(table)
    click.echo(f"settings: {_pairs(report['settings'])}")
    click.echo(f"faults: {_pairs(report['faults']) or 'none'}")
    click.echo(f"journal CRC-32 {report['journal_crc32']}: the same again with the same numbers")
    click.echo("money, once, supply, journal, head-end and recovery: all hold")


def _pairs(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.3g}" for name, value in values.items())
