"""What the concentrator of the demonstration runs on: a program on this machine, or the emulator.

A device is wired to the village's line, console and head-end, started, killed, and started again
on the same flash.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from host.demo.processes import DemoError, Process
from host.link.emulated import EmulatedConcentrator
from host.link.emulator import BoardError
from host.sim.clock import AcceleratedClock
from host.words import _


@dataclass(frozen=True, slots=True)
class Wiring:
    """What a device is connected to: `line` and `console` are terminals, `folder` its flash."""

    folder: Path
    line: str
    console: str
    headend_port: int
    clock: AcceleratedClock


class Device(Protocol):
    """One concentrator."""

    def start(self) -> None:
        """Start it; what it knows is in its flash alone."""

    def check(self) -> None:
        """Raise DemoError when it has ended by itself."""

    def kill(self) -> None:
        """Kill it with SIGKILL, so that it saves nothing."""

    def stop(self) -> None:
        """End it."""


Maker = Callable[[Wiring], Device]


def program(*command: str) -> Maker:
    """Return the firmware as a program that takes the arguments of boards/unix.py."""

    def make(wiring: Wiring) -> Device:
        clock = wiring.clock
        arguments = ["--flash", str(wiring.folder / "flash")]
        arguments += ["--line", wiring.line, "--console", wiring.console]
        arguments += ["--uplink", f"127.0.0.1:{wiring.headend_port}"]
        arguments += ["--start", str(clock.start_t2000)]
        arguments += ["--epoch", f"{clock.epoch_s:.3f}", "--speed", str(clock.speed)]
        return Process("concentrator", [*command, *arguments], wiring.folder)

    return make


def emulated(image: Path) -> Maker:
    """Return the firmware on a Cortex-M3 in QEMU; its maker raises DemoError without one."""
    return lambda wiring: Emulated(image, wiring)


class Emulated:
    """The emulated board, its UARTs at the village's terminals and the head-end's port."""

    def __init__(self, image: Path, wiring: Wiring) -> None:
        self._clock = wiring.clock
        uplink = f"127.0.0.1:{wiring.headend_port}"
        flash = wiring.folder / "flash"
        with _told():
            self._board = EmulatedConcentrator(image, flash, wiring.line, wiring.console, uplink)

    def start(self) -> None:
        """Start the emulator, and the firmware at its prompt with the time it is now."""
        with _told():
            self._board.start(self._clock.now_t2000(), self._clock.speed)

    def check(self) -> None:
        """Raise DemoError when the firmware or the emulator has ended."""
        ended = self._board.ended()
        if ended is not None:
            raise DemoError(_("emulated board: {tail}").format(tail=ended))

    def kill(self) -> None:
        """Kill the emulator with SIGKILL."""
        self._board.close()

    stop = kill


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except BoardError as error:
        raise DemoError(_("emulated board: {error}").format(error=error)) from error
