"""Goal: a failing core test is reported as failing on every interpreter.

Method: each check gets a case that it must refuse; on MicroPython the locked heap must raise.
"""

from harness import ON_MICROPYTHON, check, equal, heap_locked, raises


def _check_false() -> None:
    check(False, "reason")


def _equal_different() -> None:
    equal(1, 2, "numbers")


def _allocate_locked() -> None:
    with heap_locked():
        bytearray(64)


def _raises_nothing() -> None:
    raises(ValueError, len, "")


def test_checks_refuse() -> None:
    raises(AssertionError, _check_false)
    raises(AssertionError, _equal_different)
    raises(AssertionError, _raises_nothing)


def test_checks_accept() -> None:
    check(1)
    equal("a", "a")
    raises(ValueError, int, "x")


def test_locked_heap_refuses_to_allocate() -> None:
    if ON_MICROPYTHON:
        raises(MemoryError, _allocate_locked)
        equal(len(bytearray(64)), 64, "unlocked again")
    else:
        _allocate_locked()
