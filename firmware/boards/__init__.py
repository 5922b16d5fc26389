"""The boards: the only code that uses machine, os, network and time.

The module of a port has the port's name and a class `Board` as ports.py defines it. A new board is
one file, and a row here if sys.platform differs from the module's name.
"""

import os

from micropython import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from typing import Any

    from ports import Board

COMPUTERS = ("linux", "darwin")
_MODULES = {"linux": "unix", "darwin": "unix", "pyboard": "stm32"}


class BoardError(Exception):
    """The board cannot start; the text says what is wrong and what to do."""


def open_board(platform: str) -> "Board":
    """Return the board for `platform`; BoardError when it cannot start or there is none."""
    board: Board = module_of(platform).Board()
    return board


def is_held(platform: str) -> bool:
    """Return whether an installer wants the prompt, without a watchdog; it is asked once.

    boot.py does it for slots. A frozen product has none, and a process of a computer no installer.
    """
    if platform in COMPUTERS:
        return False
    try:
        os.remove("hold")
    except OSError:
        return False
    return True


def module_of(platform: str) -> "Any":
    """Return the module for `platform`; BoardError when there is none."""
    name = _MODULES.get(platform, platform)
    try:
        return __import__("boards." + name, None, None, ("Board",))
    except ImportError as error:
        if "boards." + name not in str(error):
            # The board's module exists, and imports a module that this MicroPython lacks.
            raise BoardError("board " + name + " cannot start: " + str(error)) from None
        raise BoardError("no board for " + platform + ": add boards/" + name + ".py") from None
