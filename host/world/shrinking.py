"""Find the smallest world in which the same invariant does not hold, and write it as a test.

A `Life` says everything about a world: its seed, how long, how many meters, and what of its faults
and of its events is left out. Days, meters, faults and events are left out as long as the same
invariant is broken; what is left is what the fault needs.
"""

import textwrap
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from host.units import DAY_S
from host.world.checks.account import Violation
from host.world.faults import named
from host.world.scenarios import ANY
from host.world.world import World

CRASH = "crash"


@dataclass(frozen=True)
class Life:
    """A world.

    without     names of faults that are not there, as the report has them
    skipped     numbers of events that do not happen, in the order in which they are due
    """

    seed: int
    days: int
    meters: int
    scenario: str = ANY
    without: tuple[str, ...] = ()
    skipped: tuple[int, ...] = ()

    def world(self) -> World:
        """Return the world, which has not begun."""
        return World(
            *(self.seed, self.days, self.meters),
            scenario=self.scenario,
            without=self.without,
            skipped=self.skipped,
        )

    def run(self) -> dict[str, Any]:
        """Let it run; Violation where an invariant does not hold."""
        return self.world().run()


def broken_by(world: World, progress: Callable[[int], None] | None = None) -> Violation | None:
    """Run a world; return what does not hold, an error out of the firmware as well."""
    try:
        world.run(progress)
    except Violation as violation:
        return violation
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        return Violation(CRASH, f"{type(error).__name__} at {where}: {error}")
    return None


class Shrinker:
    """Makes a life smaller.

    life        the smallest so far
    found       what does not hold in it
    tries       worlds that were run, at most `limit`
    tell        called with a line about each smaller life
    """

    def __init__(self, life: Life, tell: Callable[[str], None], limit: int = 200) -> None:
        self.life = life
        self.found: Violation | None = None
        self.tries = 0
        self._tell = tell
        self._limit = limit
        self._events = 0

    def shrink(self) -> bool:
        """Make it as small as it can be; false: everything holds, so there is nothing to do."""
        world = self.life.world()
        self.tries += 1
        self.found = broken_by(world)
        if self.found is None:
            return False
        self._note(world, self.life)
        last_day = 1 + world.clock.now_us() // 1_000_000 // DAY_S
        if last_day < self.life.days:
            self._holds(replace(self.life, days=last_day))
        self._fewest("meters")
        self._fewest("days")
        faults = [*named(self.life.world().faults)]
        self._least(faults, lambda names: replace(self.life, without=tuple(names)))
        events = [str(number) for number in range(self._events)]
        self._least(events, lambda out: replace(self.life, skipped=tuple(sorted(map(int, out)))))
        return True

    def _holds(self, life: Life) -> bool:
        """Try a smaller life; true where all holds there, or something else is broken."""
        if self.tries >= self._limit:
            return True
        self.tries += 1
        world = life.world()
        found = broken_by(world)
        if found is None or self.found is None or found.invariant != self.found.invariant:
            return True
        self.found = found
        self._note(world, life)
        return False

    def _note(self, world: World, life: Life) -> None:
        self.life = life
        self._events = world.events
        left = len(named(world.faults))
        happened = world.events - len(life.skipped)
        self._tell(
            f"{self.tries}: {life.days} days, {life.meters} meters, {left} faults, "
            f"{max(0, happened)} events: {self.found}"
        )

    def _fewest(self, what: str) -> None:
        """Take the fewest days or meters with which it is still broken."""
        for count in range(1, getattr(self.life, what)):
            smaller: dict[str, Any] = {what: count}
            if not self._holds(replace(self.life, **smaller)):
                return

    def _least(self, names: list[str], lives: Callable[[list[str]], Life]) -> None:
        """Leave out as many as can be: halves first, then ever smaller parts."""
        out: list[str] = []
        size = (len(names) + 1) // 2
        while size:
            at = 0
            left = [name for name in names if name not in out]
            while at < len(left):
                part = left[at : at + size]
                if self._holds(lives([*out, *part])):
                    at += size
                else:
                    out += part
                    left = [name for name in left if name not in part]
            size = size // 2


_TEST = '''"""Goal: {invariant} holds in the world in which it once did not.

Method: the smallest world that `dianka sim shrink {seed}` found. What was broken there:
{what}
"""

from host.world.shrinking import Life


def test_seed_{seed}_{name}() -> None:
    Life({values}).run()
'''


def as_test(shrinker: Shrinker) -> tuple[str, str]:
    """Return the name of a test's file, and the file, for what was shrunk."""
    life, found = shrinker.life, shrinker.found
    if found is None:
        raise ValueError("nothing is broken")
    name = found.invariant.replace("-", "_").replace(" ", "_")
    values = [f"{life.seed}", f"days={life.days}", f"meters={life.meters}"]
    if life.scenario != ANY:
        values.append(f'scenario="{life.scenario}"')
    lines = [", ".join(values)]
    for what in ("without", "skipped"):
        one = getattr(life, what)
        if one:
            lines.append(f"{what}=(\n" + "".join(f"            {_quoted(v)},\n" for v in one))
            lines[-1] += "        )"
    if len(lines) > 1:
        lines = ["\n" + ",\n".join(f"        {line}" for line in lines) + ",\n    "]
    what = textwrap.fill(found.what, 95)
    text = _TEST.format(
        invariant=found.invariant, seed=life.seed, what=what, name=name, values=lines[0]
    )
    return f"test_seed_{life.seed}_{name}.py", text


def _quoted(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)
