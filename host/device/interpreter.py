"""Find the MicroPython of this computer, which runs the firmware as a process."""

import os
import shutil
import subprocess
from pathlib import Path

from host import children
from host.words import _

OLDEST = (1, 24)
VARIABLE = "MICROPYTHON"
# Where `make setup` puts one, in a checkout.
_FETCHED = Path(__file__).resolve().parents[2] / ".cache" / "micropython" / "runtime"

_PROBE = """\
import sys, select, socket, termios
from vfs import VfsLfs2
print(sys.implementation.name, *sys.implementation.version[:2])
print(sys.version)
"""


class InterpreterError(Exception):
    """There is no MicroPython that can run the firmware; the text says what to install."""


def find(named: Path | None = None) -> Path:
    """Return the interpreter that was named, or that of $MICROPYTHON, PATH or the checkout."""
    given = named or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    on_path = shutil.which("micropython")
    places = [given] if given else [Path(on_path)] if on_path else [_FETCHED / "micropython"]
    for place in places:
        if place.is_file():
            return place
    if given:
        raise InterpreterError(_("{path} does not exist").format(path=given))
    raise InterpreterError(
        _(
            "there is no micropython on PATH: install MicroPython 1.24 or later (Debian 13: apt "
            "install micropython; macOS: brew install micropython), or name one with --micropython"
        )
    )


def version_of(interpreter: Path) -> str:
    """Return what the interpreter says of itself; InterpreterError: it cannot run the firmware."""
    try:
        done = subprocess.run(
            [str(interpreter), "-c", _PROBE],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
            stdin=subprocess.DEVNULL,
            env=children.environment(),
        )
        words, _newline, version = done.stdout.strip().partition("\n")
        name, *numbers = words.split()
        found = tuple(int(number) for number in numbers)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise InterpreterError(
            _(
                "{interpreter} is no MicroPython that can run the firmware: it lacks a module"
            ).format(interpreter=interpreter)
        ) from error
    if name != "micropython" or found < OLDEST:
        raise InterpreterError(
            _("{interpreter} is {version}: MicroPython 1.24 or later is needed").format(
                interpreter=interpreter, version=" ".join(words.split())
            )
        )
    return version
