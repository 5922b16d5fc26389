"""The meters of a world, each with a household's load and a relay that reports its moves."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from host.sim.load import Load
from host.sim.meter import Meter, Relay
from host.sim.profile import PROFILES
from host.world.agenda import Agenda
from host.world.incidents import draw_registers

# Profile and speed of meters; every second one is ordinary.
_KINDS = (
    *(("plain", 2400),) * 3,
    ("plain", 9600),
    ("relay-1997", 1200),
    ("relay-1997", 2400),
)
# Motors take up to four seconds.
_RELAY_LAG_US = 4_000_000


@dataclass
class WatchedRelay(Relay):
    """A relay that reports its moves, and moves after a delay if `later` is given."""

    moved: Callable[[bool], None] | None = None
    later: Callable[[Callable[[], None]], None] | None = None

    def set(self, is_open: bool) -> bool:
        """Take the command; true where it moves the relay."""
        self.commanded_open = is_open
        moves = self.open != is_open
        if self.later is None:
            self._move(is_open)
        else:
            self.later(lambda: self._move(is_open))
        return moves

    def _move(self, is_open: bool) -> None:
        if super().set(is_open) and self.moved is not None:
            self.moved(is_open)


class MeterMaker:
    """A maker of meters for `count` households; `moved` is called when a relay moves."""

    def __init__(
        self,
        random: Random,
        agenda: Agenda,
        count: int,
        moved: Callable[[int, Relay, bool], None],
    ) -> None:
        self._random = random
        self._agenda = agenda
        self._moved = moved
        self._made = 0
        self._loads = [
            Load(random.getrandbits(32), random.choice((40, 100, 200, 400))) for _ in range(count)
        ]

    def make(self, index: int) -> Meter:
        """Return a new meter for a household, its registers anywhere."""
        random = self._random
        relay = WatchedRelay(later=self._delay())
        relay.moved = lambda is_open: self._moved(index, relay, is_open)
        profile, baud = random.choice(_KINDS)
        self._made += 1
        meter = Meter(
            f"{random.randrange(10**8) * 10_000 + self._made:012d}",
            *(self._loads[index], self._agenda.clock.now_t2000(), draw_registers(random)),
            baud=baud,
            profile=PROFILES[profile],
            relay=relay,
        )
        meter.reply_delay_ms = random.randrange(20, 400)
        return meter

    def _delay(self) -> Callable[[Callable[[], None]], None] | None:
        """Return how long a relay takes; every second one acts at once."""
        if self._random.random() < 0.5:
            return None
        lag_us = self._random.randrange(_RELAY_LAG_US)
        return lambda move: self._agenda.after(lag_us, move)
