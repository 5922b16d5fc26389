"""Provide virtual time for simulated chips, and functions that run a driver's operation in it.

The simulated chips beside this file behave as their data sheets say, on CPython and MicroPython
alike. They share nothing with the drivers.
"""

TICKS_MASK = 0x1FFFFFFF
START_TICKS = TICKS_MASK - 100  # It starts here so that every test crosses the wrap.


class Time:
    """Virtual time counts in microseconds; chips and the driver's waits share one instance."""

    def __init__(self) -> None:
        self.now_us = 0

    def ticks(self) -> int:
        """Return the ticks as the device counts them."""
        return (START_TICKS + self.now_us // 1000) & TICKS_MASK

    def delay_us(self, delay_us: int) -> None:
        """Let the driver wait."""
        self.now_us += delay_us


def advance(steps: object, value: "int | None") -> "int | None":
    """Send `value` into an operation; return None while it waits, else its outcome."""
    try:
        steps.send(value)  # type: ignore[attr-defined]  # a generator; no typing on the device
    except StopIteration as done:
        return done.value
    return None


def run(time: Time, steps: object, step_us: int = 1000, limit: int = 60000) -> int:
    """Run an operation to its end, calling it every `step_us`; return its outcome."""
    outcome = advance(steps, None)
    return finish(time, steps, step_us, limit) if outcome is None else outcome


def finish(time: Time, steps: object, step_us: int = 1000, limit: int = 60000) -> int:
    """Run an operation that has begun."""
    for _ in range(limit):
        time.now_us += step_us
        outcome = advance(steps, time.ticks())
        if outcome is not None:
            return outcome
    raise AssertionError("the operation never ends")
