"""`micropython` for CPython: the names firmware imports, doing nothing clever."""

from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


def const(value: _T) -> _T:
    """Return `value`; MicroPython folds it at compile time."""
    return value


def native(function: Callable[..., _T]) -> Callable[..., _T]:
    """Return `function` unchanged; MicroPython compiles it to machine code."""
    return function


viper = native
