"""The rates of faults in a simulated world: named chances, drawn from its seed."""

from collections.abc import Collection
from dataclasses import dataclass, field, fields, replace
from random import Random
from typing import Any

from host.sim.headend import HeadEndFaults
from host.sim.line import LineFaults
from host.sim.storage import StorageFaults

# The highest rate of each that a seed draws; most draw less, and every second one draws 0.
_LINE = {
    "drop_byte": 0.001,
    "flip_bit": 0.001,
    "lost_request": 0.05,
    "lost_reply": 0.05,
    "late_reply": 0.05,
    "foreign_reply": 0.02,
    "stale_reply": 0.02,
    "cut_reply": 0.05,
    "doubled_start": 0.05,
    "noise": 0.1,
    "babble": 0.02,
    "silent_meter": 0.003,
    "stray_noise": 0.02,
    "jabber": 0.002,
}
_JITTER_LIMIT_MS = 200
_HEADEND = {
    "lost_message": 0.1,
    "lost_ack": 0.1,
    "late_ack": 0.1,
    "doubled_ack": 0.1,
    "broken_ack": 0.1,
    "disconnect": 0.1,
    "away": 0.02,
}
_STORAGE = {
    "read": 0.002,
    "names": 0.002,
    "size": 0.002,
    "append": 0.02,
    "torn_append": 0.02,
    "replace": 0.02,
    "remove": 0.02,
    "put": 0.02,
}
_OURS = {
    "spoil": 0.05,
    "cuts_a_day": 6.0,
    "restarts_a_day": 4.0,
    "failures_a_day": 2.0,
    "nth_failures_a_day": 4.0,
    "start_failures": 0.3,
    "clock_loss": 0.5,
    "clock_steps_a_day": 2.0,
    "bad_cards_a_day": 6.0,
    "pulled_card": 0.3,
    "lost_card": 0.1,
    "exchanges_a_day": 1.5,
    "jumps_a_day": 1.0,
    "blanks_a_day": 2.0,
    "guards_a_day": 1.5,
    "dark_midnight": 0.5,
}


@dataclass(frozen=True)
class Faults:
    """Troubles of the parts, and those of the world around them.

    spoil               of each piece of bytes on the console's line
    cuts_a_day          power cuts in the middle of a change of the flash
    restarts_a_day      between two steps
    failures_a_day      the flash refuses an operation for up to 40 minutes
    nth_failures_a_day  one operation of the flash fails, or all from it on until a restart
    start_failures      of each restart: a file cannot be read, once or permanently
    clock_loss          of each restart: the clock is not set afterwards
    clock_steps_a_day   the technician sets the clock wrong
    bad_cards_a_day     replayed, copied, forged
    pulled_card         of each insertion: pulled too early, or torn at some byte
    lost_card           of each sale: the card is replaced before it is inserted
    exchanges_a_day     a meter breaks and is exchanged
    jumps_a_day         a register leaps ahead, or back
    blanks_a_day        a meter sends FF for its energy, for hours
    guards_a_day        an account's supply is protected, or no longer
    dark_midnight       of each midnight: the power is off over it
    lies_a_day          a meter's answers are wrong for a while, and `invents` says how
    """

    line: LineFaults = field(default_factory=LineFaults)
    headend: HeadEndFaults = field(default_factory=HeadEndFaults)
    storage: StorageFaults = field(default_factory=StorageFaults)
    spoil: float = 0.0
    cuts_a_day: float = 0.0
    restarts_a_day: float = 0.0
    failures_a_day: float = 0.0
    nth_failures_a_day: float = 0.0
    start_failures: float = 0.0
    clock_loss: float = 0.0
    clock_steps_a_day: float = 0.0
    bad_cards_a_day: float = 0.0
    pulled_card: float = 0.0
    lost_card: float = 0.0
    exchanges_a_day: float = 0.0
    jumps_a_day: float = 0.0
    blanks_a_day: float = 0.0
    guards_a_day: float = 0.0
    dark_midnight: float = 0.0
    lies_a_day: float = 0.0
    invents: bool = False


NO_FAULTS = Faults()


def draw(random: Random) -> Faults:
    """Return the troubles of one world."""
    jitter_ms = random.randrange(_JITTER_LIMIT_MS)
    line = LineFaults(**_draw(random, _LINE), jitter_ms=jitter_ms)
    headend = HeadEndFaults(**_draw(random, _HEADEND))
    storage = StorageFaults(**_draw(random, _STORAGE))
    return Faults(line, headend, storage, **_draw(random, _OURS))


def _draw(random: Random, worst: dict[str, float]) -> dict[str, Any]:
    return {
        name: limit * random.random() if random.random() < 0.5 else 0.0
        for name, limit in worst.items()
    }


def lessened(faults: Faults, without: Collection[str]) -> Faults:
    """Return the troubles without those of these names, as `named` has them."""
    for name in without:
        part, _space, inner = name.partition(" ")
        value: Any = 0.0 if not inner else replace(getattr(faults, part), **{inner: 0})
        faults = replace(faults, **{part: value})
    return faults


def named(faults: Faults) -> dict[str, float]:
    """Return all chances above 0, by name."""
    found: dict[str, float] = {}
    for one in fields(faults):
        value = getattr(faults, one.name)
        if isinstance(value, float | int):
            found[one.name] = value
        else:
            for part in fields(value):
                if not part.name.endswith("limit_ms") and not part.name.endswith("limit_s"):
                    found[f"{one.name} {part.name}"] = getattr(value, part.name)
    return {name: value for name, value in found.items() if value}
