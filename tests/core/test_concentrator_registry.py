"""Goal: a row has the values of its METER record, except values that no board supports.

Method: the rows are written out by hand, with every field at its limits.
"""

from concentrator.books import registry as meters
from concentrator.books.registry import Registry
from dlt645.probe import BAUDS
from harness import check, equal
from uplink.record import STANDARD_2007, STANDARD_AUTO


def row_of(
    number: int, standard: int = STANDARD_2007, active: int = 1, place: int = 0
) -> bytearray:
    """Return a row; address and account differ in every byte."""
    address = bytes((number, 1, 2, 3, 4, 5))
    account = bytes((6, 7, 8, 9, 10, number))
    return bytearray(address + account + bytes((3, 1, standard, active, place)))


def test_a_row_comes_back_as_it_was_given() -> None:
    registry = Registry(4)
    for index in range(3):
        row = row_of(index, index, 1, len(BAUDS) - 1 - index)
        check(not registry.has_address(index, row), "another meter")
        registry.set_row(index, row, 0)
        equal(registry.row(index), row)
        check(registry.has_address(index, row), "the same meter")
        equal(registry.find_account(row[6:12]), index)
        equal(registry.find_address(row[:6]), index)
    equal((registry.count, registry.unknown), (3, 1))


def test_a_speed_that_no_board_has_is_the_first() -> None:
    """BAUDS is indexed by the speed when the meter is read."""
    registry = Registry(1)
    for place in (len(BAUDS), 15, 16, 255):
        registry.set_row(0, row_of(1, STANDARD_2007, 1, place), 0)
        equal(registry.protocol[0] >> meters.SPEED_SHIFT, 0, place)
        equal(registry.protocol[0] & meters.STANDARD, STANDARD_2007, place)


def test_a_removed_meter_is_found_as_removed_only() -> None:
    registry = Registry(2)
    registry.set_row(0, row_of(1, STANDARD_AUTO), 0)
    equal(registry.unknown, 1)
    row = row_of(1, STANDARD_AUTO, 0)
    registry.set_row(0, row, 0)
    equal((registry.unknown, registry.count), (0, 1))
    equal(registry.find_account(row[6:12]), -1)
    equal(registry.find_address(row[:6]), -1)
    equal(registry.find_removed(row[6:12]), 0)
