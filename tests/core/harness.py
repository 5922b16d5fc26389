"""Run core tests unchanged under pytest, on MicroPython unix and on a bare board.

A core test file is a module `test_*.py` of plain functions `test_*()` without arguments, which
check their results with the functions below. Nothing here needs os, time or asyncio, and no check
relies on `assert`, which `-O` strips.

    pytest                                          finds the files and functions by itself
    python tests/core/run.py [MODULE...]            the same without pytest
    micropython tests/core/run.py [MODULE...]       on the unix port
    >>> import run; run.run(("test_x", "test_y"))   on a board, files frozen or copied
"""

import sys

ON_MICROPYTHON = sys.implementation.name == "micropython"

if ON_MICROPYTHON:
    import micropython


def check(condition: object, what: object = "") -> None:
    """Fail unless `condition` is true."""
    if not condition:
        raise AssertionError("expected true: " + str(what))


def equal(actual: object, expected: object, what: object = "") -> None:
    """Fail unless both are equal, naming both values."""
    if actual != expected:
        raise AssertionError(str(what) + ": got " + repr(actual) + ", expected " + repr(expected))


def raises(exception: type[BaseException], function: object, *arguments: object) -> None:
    """Fail unless `function(*arguments)` raises `exception`."""
    try:
        function(*arguments)  # type: ignore[operator]  # any callable; no typing on the device
    except exception:
        return
    raise AssertionError("expected " + exception.__name__)


class heap_locked:  # used like a function: `with heap_locked():`
    """While inside, an allocation on MicroPython fails the test; on CPython nothing happens."""

    def __enter__(self) -> None:
        if ON_MICROPYTHON:
            micropython.heap_lock()  # type: ignore[attr-defined]  # MicroPython only

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if ON_MICROPYTHON:
            micropython.heap_unlock()  # type: ignore[attr-defined]  # MicroPython only


def _report(error: BaseException) -> None:
    """Print the traceback of `error`."""
    if ON_MICROPYTHON:
        sys.print_exception(error)  # type: ignore[attr-defined]  # MicroPython only
    else:
        import traceback

        traceback.print_exception(error)


def run_module(name: str) -> "tuple[int, int]":
    """Import `name`, run its tests, print a line for each; return (passed, failed)."""
    passed = 0
    failed = 0
    try:
        module = __import__(name)
    except Exception as error:
        print("FAIL", name, "(import)")
        _report(error)
        return 0, 1
    for function in dir(module):
        if not function.startswith("test_"):
            continue
        try:
            getattr(module, function)()
        except Exception as error:
            failed += 1
            print("FAIL", name + "." + function)
            _report(error)
        else:
            passed += 1
            print("ok  ", name + "." + function)
    if name in sys.modules:
        del sys.modules[name]
    return passed, failed
