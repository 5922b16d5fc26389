"""Goal: tables come back as saved, into a build with other limits too; a file that is torn,
rotten or from a larger device never counts.

Method: a storage in memory; every byte of a file turned once, every cut of it tried.
"""

from array import array

from concentrator.storage.checkpoint import Checkpoint, TooManyRows, file_name
from harness import check, equal, raises
from memory_storage import Storage


def _nothing() -> None:
    """There is no watchdog."""


class Tables:
    """Three columns of `limit` rows, the last with `items` a row, and one that is no table."""

    def __init__(self, storage: Storage, limit: int, items: int) -> None:
        self.single = array("I", bytes(4 * 9))
        self.money = array("I", bytes(4 * limit))
        self.flags = bytearray(limit)
        self.cells = array("H", bytes(2 * limit * items))
        self.checkpoint = Checkpoint(storage, limit, _nothing)
        self.checkpoint.add(0, (self.single,), False)
        self.checkpoint.add(16, (self.money, self.flags))
        self.checkpoint.add(64, (self.cells,))

    def fill(self, rows: int, items: int, seed: int) -> None:
        self.single[8] = seed
        for row in range(rows):
            self.money[row] = 1000000000 + seed + row
            self.flags[row] = (seed + row) & 0xFF
            for item in range(items):
                self.cells[row * items + item] = seed + row * 16 + item


def saved(storage: Storage, seq: int = 65, rows: int = 300) -> Tables:
    """A device of 400 rows with `rows` in use, saved as of `seq`."""
    tables = Tables(storage, 400, 3)
    tables.fill(rows, 3, seq)
    check(tables.checkpoint.save(seq, rows))
    return tables


def test_what_was_saved_comes_back() -> None:
    storage = Storage()
    before = saved(storage)
    after = Tables(storage, 400, 3)

    equal(after.checkpoint.load(), 300)
    equal(after.checkpoint.seq, 65)
    equal(after.single, before.single)
    equal(after.money, before.money)
    equal(after.flags, before.flags)
    equal(after.cells, before.cells)


def test_a_build_with_other_limits_reads_what_it_knows() -> None:
    storage = Storage()
    saved(storage)
    for limit, items in ((512, 3), (300, 5), (301, 2)):
        after = Tables(storage, limit, items)
        equal(after.checkpoint.load(), 300, limit)
        for row in (0, 299):
            equal(after.money[row], 1000000065 + row)
            for item in range(items):
                expected = 65 + row * 16 + item if item < 3 else 0
                equal(after.cells[row * items + item], expected, (limit, row, item))


def test_a_column_that_the_file_lacks_stays() -> None:
    storage = Storage()
    saved(storage)
    after = Tables(storage, 400, 3)
    more = array("I", bytes(4 * 400))
    more[7] = 7
    after.checkpoint.add(65, (more,))

    equal(after.checkpoint.load(), 300)
    equal(more[7], 7)


def test_a_smaller_device_refuses_and_keeps_the_file() -> None:
    storage = Storage()
    saved(storage)
    small = Tables(storage, 299, 3)

    raises(TooManyRows, small.checkpoint.load)
    equal(len(storage.files), 1)


def test_two_are_kept_and_the_older_serves_when_the_newer_is_rotten() -> None:
    storage = Storage()
    tables = saved(storage)
    for seq in (129, 193):
        tables.fill(300, 3, seq)
        check(tables.checkpoint.save(seq, 300))
    equal(storage.names("k"), [file_name(129), file_name(193)])
    equal(tables.checkpoint.older_seq, 129)

    rotten = bytearray(storage.files[file_name(193)])
    rotten[700] ^= 0x10
    storage.files[file_name(193)] = bytes(rotten)
    after = Tables(storage, 400, 3)
    equal(after.checkpoint.load(), 300)
    equal(after.checkpoint.seq, 129)
    equal(after.money[0], 1000000129)
    equal(storage.names("k"), [file_name(129)])


def test_no_turned_bit_and_no_cut_counts() -> None:
    storage = Storage()
    saved(storage, 65, 3)
    good = storage.files[file_name(65)]
    for at in range(len(good)):
        bad = bytearray(good)
        bad[at] ^= 1 << (at & 7)
        for data in (bytes(bad), good[:at]):
            storage.files = {file_name(65): data}
            after = Tables(storage, 400, 3)
            equal(after.checkpoint.load(), 0, at)
            equal(after.checkpoint.seq, 0, at)


def test_a_full_flash_leaves_the_one_before() -> None:
    storage = Storage()
    tables = saved(storage)
    storage.full = True

    check(not tables.checkpoint.save(129, 300))
    equal(tables.checkpoint.seq, 65)
    equal(storage.names("k"), [file_name(65)])
