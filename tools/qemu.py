"""The emulated board for tests and measurements, with its image built if need be.

    .venv/bin/python -m tools.qemu -c 'print(1)'
    .venv/bin/python -m tools.qemu script.py

A counting board measures in instructions, any other runs as fast as the machine lets it.
"""

import argparse
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from host.link import emulator
from host.link.emulator import BoardError
from tools.image import ImageError, build_emulated, install_emulator

TICK_INSTRUCTIONS = 40

# Starts the timer at its top; it counts down, 40 instructions a tick.
_TIMER = """\
import machine
_TIMER = 0x40000000
def start():
    machine.mem32[_TIMER] = 0
    machine.mem32[_TIMER + 8] = 0x3FFFFFFF
    machine.mem32[_TIMER + 4] = 0x3FFFFFFF
    machine.mem32[_TIMER] = 1
def ticks():
    return 0x3FFFFFFF - machine.mem32[_TIMER + 4]
"""

_MEASURE = """\
{setup}
def _empty():
    pass
def _measured():
    {statement}
def _cost(function, count):
    start()
    before = ticks()
    for _ in range(count):
        function()
    return ticks() - before
_empty(); _measured(); _cost(_empty, 1)
print(_cost(_measured, {count}) - _cost(_empty, {count}))
"""


class MeasuringEmulator(emulator.Emulator):
    """A board that can also be measured, when it is a counting one."""

    def instructions(self, statement: str, setup: str = "", count: int = 100) -> int:
        """Return how many instructions one run of `statement` costs, without an empty call.

        `setup` runs once before; the statement may use its globals. Measured in a restarted
        interpreter, because what was there before changes the cost of looking up a name.
        """
        self.soft_reset()
        self.run(_TIMER)
        code = _MEASURE.format(setup=setup, statement=statement, count=count)
        ticks = int(self.run(code, 120.0).split()[-1])
        return max(0, ticks * TICK_INSTRUCTIONS // count)


@contextmanager
def awake(board: MeasuringEmulator) -> Iterator[MeasuringEmulator]:
    """Let a board run within the block; behind it its emulator, else busy, stands still."""
    os.kill(board.pid, signal.SIGCONT)
    try:
        yield board
    finally:
        os.kill(board.pid, signal.SIGSTOP)


def main(arguments: list[str]) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="tools.qemu", description="Run code on a Cortex-M3.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("-c", dest="code", help="the code itself")
    what.add_argument("script", nargs="?", type=Path, help="a file of code")
    parser.add_argument("--image", type=Path, help="an image; built if none is named")
    parser.add_argument("--no-float", action="store_true", help="an interpreter without floats")
    parser.add_argument("--tests", action="store_true", help="with the core tests frozen in")
    parser.add_argument("--timeout", dest="timeout_s", type=float, default=60.0, metavar="S")
    options = parser.parse_args(arguments)
    try:
        code = options.code or options.script.read_text()
        install_emulator()
        image = options.image or build_emulated(not options.no_float, options.tests)
        with MeasuringEmulator(image, counting=True) as board:
            print(board.run(code, options.timeout_s), end="")
    except (BoardError, ImageError, OSError) as error:
        print(f"qemu: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
