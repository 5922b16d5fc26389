"""A concentrator on an emulated Cortex-M3: what it is connected to, its start and its end."""

import fcntl
import os
import shutil
from pathlib import Path
from typing import IO

from host.link import emulator
from host.link.emulator import BoardError
from host.words import _

# What the board is told at its prompt: it has no clock and no arguments.
_PROGRAM = """\
import main
from boards.qemu import Board
from concentrator import run
board = Board({t2000}, {speed})
run.run(main.build(board), board)
"""


class EmulatedConcentrator:
    """The firmware in QEMU: `line` and `console` are terminals, `uplink` is HOST:PORT or None.

    `flash` is the file of the memory that serves as flash, locked by `flash`.lock while it runs.
    """

    def __init__(
        self, image: Path, flash: Path, line: str, console: str, uplink: str | None
    ) -> None:
        """Prepare it; BoardError without the emulator, or where `image` is none."""
        if shutil.which(emulator.PROGRAM) is None:
            raise BoardError(
                _(
                    "there is no {program} on PATH: install it, on Debian with `apt-get install "
                    "qemu-system-arm`"
                ).format(program=emulator.PROGRAM)
            )
        if not _is_for_an_arm(image):
            raise BoardError(
                _("{image} is no image for it: `make image BOARD=qemu` makes one").format(
                    image=image
                )
            )
        headend = "null" if uplink is None else f"tcp:{uplink},reconnect=1,nodelay=on"
        lines = (str(Path(line).resolve()), console, headend)
        self._board = emulator.Emulator(image, lines, memory=flash)
        self._flash = flash
        self._lock: IO[str] | None = None

    def start(self, t2000: int, speed: int = 1) -> None:
        """Start the emulator, and the firmware at its prompt with the time it is now.

        BoardError: they do not start, or another process runs on the flash.
        """
        self._lock = _locked(Path(f"{self._flash}.lock"))
        self._board.start()
        self._board.begin(_PROGRAM.format(t2000=t2000, speed=speed))

    def ended(self) -> str | None:
        """Return what the firmware or the emulator said at its end, None while it runs."""
        said = self._board.ended()
        return None if said is None else " | ".join(said.splitlines()[-3:])

    def close(self) -> None:
        """Kill the emulator with SIGKILL, so that nothing is saved that is not in its flash."""
        self._board.close()
        if self._lock is not None:
            self._lock.close()


def _locked(path: Path) -> IO[str]:
    """Return an open file with the number of this process, which alone has it."""
    file = path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        owner = file.read().strip() or "another"
        file.close()
        raise BoardError(
            _("process {owner} runs on it: stop that one first").format(owner=owner)
        ) from None
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def _is_for_an_arm(image: Path) -> bool:
    """Return whether a file begins as a program for an ARM of 32 bits, in ELF, does."""
    try:
        with image.open("rb") as file:
            head = file.read(20)
    except OSError:
        return False
    return head[:5] == b"\x7fELF\x01" and head[18:] == b"\x28\x00"
