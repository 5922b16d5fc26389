"""`dianka sim shrink`: the smallest world in which a seed's fault is still there, as a test."""

from pathlib import Path

import click

from host.cli import shown
from host.cli.output import echo
from host.words import _
from host.world.scenarios import ANY, SCENARIOS
from host.world.shrinking import Life, Shrinker, as_test


@shown.command(
    epilog="""\b
Examples:
  dianka sim shrink 7
  dianka sim shrink 7 --scenario away --days 3 --meters 4 --out .
"""
)
@click.argument("seed", type=int)
@click.option(
    "--scenario",
    type=click.Choice(list(SCENARIOS)),
    default=ANY,
    show_default=True,
    help="As of the world that failed.",
)
@click.option(
    "--days", default=2, show_default=True, type=click.IntRange(1, 3660), help="As of that world."
)
@click.option(
    "--meters", default=8, show_default=True, type=click.IntRange(1, 256), help="As of that world."
)
@click.option(
    "--tries",
    default=200,
    show_default=True,
    type=click.IntRange(1, 100_000),
    help="Worlds to run at most.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    default=Path(),
    show_default="here",
    help="Folder for the test.",
)
def shrink(seed: int, scenario: str, days: int, meters: int, tries: int, out: Path) -> None:
    """Leave out of the world of SEED what its fault does not need, and write a test.

    Days, meters, faults and events are left out as long as the same invariant does not hold. The
    test fails until the fault is mended. Ends with status 1 when everything holds in the world.
    """
    shrinker = Shrinker(Life(seed, days, meters, scenario), echo, tries)
    if not shrinker.shrink():
        raise click.ClickException(
            _(
                "all holds with seed {seed}: give days, meters and scenario of the failed run"
            ).format(seed=seed)
        )
    name, text = as_test(shrinker)
    path = out / name
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(
            _("{path} cannot be written: {error}").format(path=path, error=error.strerror)
        ) from error
    echo(_("the smallest world is in {path}").format(path=path))
