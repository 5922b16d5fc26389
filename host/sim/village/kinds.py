"""The kinds of theft and of fault: one row each, with what the meter shows of it.

A theft's `counted` is the part of the use that the meter counts while it goes on; the marks it
leaves are the meter's own, and most kinds leave none for certain.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Theft:
    """A kind of theft.

    percent    least and most of the use that is not counted while it goes on
    hours      the first hour and the one behind the last, (0, 24): always
    days       the chance of a day that it goes on, in per cent
    cover      an opening of the meter's cover is kept: this chance, in per cent
    terminal   an opening of the terminal cover is kept: this chance, in per cent
    magnet     a magnetic disturbance is kept: this chance on each such day, in per cent
    neutral    current in the neutral is not that of the phase
    reverse    what is not counted forward is counted in reverse
    more       how much more is used since then, in per cent at most
    """

    percent: tuple[int, int]
    hours: tuple[int, int] = (0, 24)
    days: int = 100
    cover: int = 0
    terminal: int = 0
    magnet: int = 0
    neutral: bool = False
    reverse: bool = False
    more: int = 40


BYPASS, BYPASS_PART, HOOK, EARTH = "bypass", "bypass_part", "hook", "earth_return"
NEUTRAL, MAGNET, REVERSED, SHUNT = "neutral_off", "magnet", "reversed", "shunt"
SET_BACK, BY_HAND, REPLAYED, UNREGISTERED = "set_back", "by_hand", "replayed", "unregistered"

THEFTS: Mapping[str, Theft] = {
    # A wire from terminal to terminal around the meter, for all of it.
    BYPASS: Theft((92, 99), days=95, terminal=85, neutral=True, more=60),
    # The same for some circuits, in the evening and at night.
    BYPASS_PART: Theft((45, 75), hours=(17, 24), days=85, terminal=80, neutral=True),
    # A wire from the line before the meter: the meter sees nothing of it.
    HOOK: Theft((40, 85), days=90, more=80),
    # Phase and neutral exchanged, and the earth as the way back: the coil sees little.
    EARTH: Theft((60, 95), days=90, terminal=60, neutral=True),
    # The meter's neutral is opened: it has no voltage, neither counts nor answers.
    NEUTRAL: Theft((100, 100), hours=(18, 23), days=80, terminal=50),
    MAGNET: Theft((30, 80), days=85, magnet=75),
    # The ways in and out exchanged.
    REVERSED: Theft((97, 100), days=100, terminal=70, reverse=True),
    # A resistor beside the current circuit inside the meter.
    SHUNT: Theft((35, 70), days=100, cover=85, neutral=True),
    # Opened, and the register set back, every few weeks.
    SET_BACK: Theft((0, 0), cover=80, more=30),
    # Cut for want of money, and the relay bridged: it counts what nobody pays.
    BY_HAND: Theft((0, 0), cover=60, more=10),
    # Something on the line answers in the meter's place with what it said before.
    REPLAYED: Theft((100, 100), days=100, more=30),
    # A house or a pump on the line without a meter.
    UNREGISTERED: Theft((100, 100), more=0),
}


@dataclass(frozen=True)
class Fault:
    """A kind of fault: `percent` is the least and most of the use that is not counted."""

    percent: tuple[int, int]


DEAD_PHASE, STUCK, WRONG_CT, CLOCK_OFF, SILENT = (
    *("dead_phase", "stuck", "wrong_ct", "clock_off", "silent"),
)
FAULTS: Mapping[str, Fault] = {
    # A wire of the current circuit is off: a third of a three-phase meter is not counted.
    DEAD_PHASE: Fault((100, 100)),
    STUCK: Fault((100, 100)),
    # The ratio on record is not that of the transformers that hang there.
    WRONG_CT: Fault((25, 50)),
    # The freeze is of another hour than those of the neighbours.
    CLOCK_OFF: Fault((0, 0)),
    SILENT: Fault((0, 0)),
}
