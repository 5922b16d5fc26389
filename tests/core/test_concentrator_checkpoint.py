"""Goal: tables come back as saved, into a build with other limits too; a file that is torn,
damaged, unread or from a larger device never counts, and only a torn one is deleted.

Method: a storage in memory; every byte of a file turned once, every cut of it tried, every look
failing; power cut at every change while one is written.
"""

from array import array
from binascii import crc32
from struct import pack_into

from concentrator.storage.checkpoint import (
    MORE,
    WRITTEN,
    Checkpoint,
    file_name,
)
from harness import check, equal, raises
from memory_storage import PowerCut, Storage
from ports import Unreadable

HEAD_SIZE = 20
IDENTITY = b"identity"


def _nothing() -> None:
    """There is no watchdog."""


def _ff() -> int:
    """Return a number that is not random."""
    return 0x1FFFFFFF


class Tables:
    """This has three columns of `limit` rows, the last with `items` a row, and one with none."""

    def __init__(self, storage: Storage, limit: int, items: int) -> None:
        self.single = array("I", bytes(4 * 9))
        self.money = array("I", bytes(4 * limit))
        self.flags = bytearray(limit)
        self.cells = array("H", bytes(2 * limit * items))
        self.checkpoint = Checkpoint(storage, limit)
        self.checkpoint.identity = IDENTITY
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

    def save(self, seq: int, rows: int) -> bool:
        """Write a checkpoint at once."""
        if not self.checkpoint.begin(seq, rows):
            return False
        while self.checkpoint.put() == MORE:
            pass
        return self.checkpoint.finish()

    def load(self) -> int:
        """Take over the newest one."""
        return self.checkpoint.load(_nothing)


def saved(storage: Storage, seq: int = 65, rows: int = 300) -> Tables:
    """Return a device of 400 rows with `rows` in use, saved as of `seq`."""
    tables = Tables(storage, 400, 3)
    tables.fill(rows, 3, seq)
    check(tables.save(seq, rows))
    return tables


def twice(storage: Storage, rows: int = 300) -> Tables:
    """Return the same device, saved as of 65 and of 129."""
    tables = saved(storage, 65, rows)
    tables.fill(rows, 3, 129)
    check(tables.save(129, rows))
    return tables


def test_what_was_saved_comes_back() -> None:
    storage = Storage()
    before = saved(storage)
    after = Tables(storage, 400, 3)

    equal(after.load(), 300)
    equal((after.checkpoint.seq, after.checkpoint.identity), (65, IDENTITY))
    equal(after.single, before.single)
    equal(after.money, before.money)
    equal(after.flags, before.flags)
    equal(after.cells, before.cells)


def test_the_layout_is_that_of_the_document() -> None:
    storage = Storage()
    saved(storage, 65, 2)
    data = storage.files["k00000041"]
    equal(data[:12], b"DKK4" + bytes((65, 0, 0, 0, 2, 0, 4, 0)))
    equal(data[12:20], IDENTITY)
    equal(data[20:32], bytes((0, 4, 9, 0, 1, 0)) + bytes((16, 4, 1, 0, 2, 0)))
    equal(data[32:44], bytes((17, 1, 1, 0, 2, 0)) + bytes((64, 2, 3, 0, 2, 0)))
    equal(len(data), 44 + 36 + 8 + 2 + 12 + 4)


def test_it_is_written_a_part_at_a_time() -> None:
    """No part is longer than 1024 bytes, and a part has its column as it is at that moment."""
    storage = Storage()
    tables = saved(storage)
    sizes: list[int] = []
    put = storage.put

    def note(buf: bytes, size: int) -> bool:
        sizes.append(size)
        return put(buf, size)

    storage.put = note  # type: ignore[assignment,method-assign]  # the same, and it is noted
    checkpoint = tables.checkpoint
    check(not checkpoint.busy)
    check(checkpoint.begin(129, 300))
    outcomes = []
    while checkpoint.busy and not outcomes.count(WRITTEN):
        equal(checkpoint.seq, 65)
        outcomes.append(checkpoint.put())
        tables.flags[299] = 77
    check(checkpoint.finish())
    equal(outcomes, [MORE] * 6 + [WRITTEN])
    equal(max(sizes), 1024)
    equal((checkpoint.seq, checkpoint.older_seq, checkpoint.busy), (129, 65, False))
    after = Tables(storage, 400, 3)
    equal((after.load(), after.flags[299]), (300, 77))
    equal((checkpoint.put() in (MORE, WRITTEN), checkpoint.finish()), (False, False))


def test_a_build_with_other_limits_reads_what_it_knows() -> None:
    storage = Storage()
    saved(storage)
    for limit, items in ((512, 3), (300, 5), (301, 2)):
        after = Tables(storage, limit, items)
        equal(after.load(), 300, limit)
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

    equal(after.load(), 300)
    equal(more[7], 7)


def test_a_column_that_was_forged_longer_makes_no_table_longer() -> None:
    storage = Storage()
    saved(storage)
    for entry in range(4):
        data = bytearray(storage.files["k00000041"])
        pack_into("<H", data, 24 + 6 * entry, 401)
        pack_into("<I", data, len(data) - 4, crc32(memoryview(data)[:-4]))
        forged = Storage()
        forged.files["k00000041"] = bytes(data)
        after = Tables(forged, 400, 3)
        sizes = [len(one) for one in (after.single, after.money, after.flags, after.cells)]

        raises(Unreadable, after.load)
        equal([len(one) for one in (after.single, after.money, after.flags, after.cells)], sizes)


def test_a_smaller_device_refuses_and_keeps_the_file() -> None:
    storage = Storage()
    saved(storage)
    small = Tables(storage, 299, 3)

    raises(Unreadable, small.load)
    equal(len(storage.files), 1)


def test_two_are_kept_and_the_older_serves_when_the_newer_is_rotten() -> None:
    storage = Storage()
    tables = twice(storage)
    tables.fill(300, 3, 193)
    check(tables.save(193, 300))
    equal(storage.names("k"), [file_name(129), file_name(193)])
    equal(tables.checkpoint.older_seq, 129)

    storage.turn_bit(file_name(193), 5604)
    after = Tables(storage, 400, 3)
    equal(after.load(), 300)
    equal((after.checkpoint.seq, after.checkpoint.older_seq), (129, 0))
    equal((after.checkpoint.highest_seq, after.checkpoint.rotten), (193, 1))
    equal(after.money[0], 1000000129)
    equal(storage.names("k"), [file_name(129), file_name(193)], "what is rotten is left")
    for seq in (257, 321):
        check(after.save(seq, 300))
    equal(storage.names("k"), [file_name(257), file_name(321)], "until two whole ones are there")
    # A checkpoint that is written in the place of a damaged one is good.
    storage.turn_bit(file_name(321), 5604)
    after = Tables(storage, 400, 3)
    equal((after.load(), after.checkpoint.seq), (300, 257))
    for seq in (321, 385):
        check(after.save(seq, 300))
    equal(storage.names("k"), [file_name(321), file_name(385)])


def test_two_may_be_as_of_the_same_record_and_each_serves() -> None:
    storage = Storage()
    tables = twice(storage)
    check(tables.save(129, 300))
    second = file_name(129) + "+"
    equal(storage.names("k"), [file_name(129), second])
    equal((tables.checkpoint.seq, tables.checkpoint.older_seq), (129, 129))
    check(not tables.save(129, 300), "there is no third one")
    files = dict(storage.files)
    for name, other in ((file_name(129), second), (second, file_name(129))):
        storage.files = dict(files)
        storage.turn_bit(name, 5604)
        after = Tables(storage, 400, 3)
        equal((after.load(), after.money[0]), (300, 1000000129))
        equal((after.checkpoint.seq, after.checkpoint.older_seq), (129, 0))
        check(after.save(129, 300), "the damaged one is written again")
        equal(storage.files[other], files[other], "and the good one is left")
        equal(storage.names("k"), [file_name(129), second])
        check(after.save(193, 300))
        equal(len(storage.names("k")), 2)
        equal((after.checkpoint.seq, after.checkpoint.older_seq), (193, 129))


def test_files_that_are_left_over_go_one_by_one() -> None:
    storage = Storage()
    twice(storage)
    for seq in (257, 321):
        storage.files[file_name(seq)] = storage.files[file_name(129)]
        storage.turn_bit(file_name(seq), 5604)
    after = Tables(storage, 400, 3)
    equal((after.load(), after.checkpoint.seq, after.checkpoint.older_seq), (300, 129, 65))
    for seq in (385, 449, 513):
        check(after.save(seq, 300))
    equal(storage.names("k"), [file_name(449), file_name(513)])


def test_no_turned_bit_and_no_cut_counts() -> None:
    storage = Storage()
    saved(storage, 65, 3)
    good = storage.files[file_name(65)]
    for at in range(len(good)):
        bad = bytearray(good)
        bad[at] ^= 1 << (at & 7)
        for data, torn in ((bytes(bad), False), (good[:at], True)):
            storage.files = {file_name(65): data}
            after = Tables(storage, 400, 3)
            equal(after.load(), 0, at)
            equal((after.checkpoint.seq, after.checkpoint.unread), (0, 0), at)
            equal(after.checkpoint.highest_seq, 65, "its number was used")
            if torn:
                equal(storage.files, {}, "it never was durable")
            elif at >= HEAD_SIZE + 24:
                equal((after.checkpoint.rotten, storage.names("k")), (1, [file_name(65)]))


def test_a_look_that_fails_deletes_nothing_and_is_told() -> None:
    storage = Storage()
    twice(storage, 3)
    whole = dict(storage.files)
    storage.looks = 0
    equal(Tables(storage, 400, 3).load(), 3)
    looks = storage.looks
    for stays in (False, True):
        for look in range(1, looks + 1):
            storage.looks, storage.look_fails, storage.looks_fail = 0, look, stays
            after = Tables(storage, 400, 3)
            try:
                count = after.load()
            except Unreadable:
                count = -1
            storage.looks_fail, storage.look_fails = False, 0
            equal(storage.files, whole, (look, stays))
            checkpoint = after.checkpoint
            if count == 0:
                check(checkpoint.unread > 0, look)
            elif count > 0 and checkpoint.seq != 129:
                equal((checkpoint.seq, after.money[2]), (65, 1000000067), look)
                check(checkpoint.unread > 0, look)
            elif count > 0:
                equal(after.money[2], 1000000131, look)


def test_a_cut_at_any_change_leaves_the_one_before() -> None:
    for cut_at in range(10):
        for kept_percent in (0, 50, 100):
            storage = Storage()
            tables = saved(storage, 65, 300)
            tables.fill(300, 3, 129)
            storage.cut, storage.kept_percent = cut_at, kept_percent
            cut = False
            try:
                tables.save(129, 300)
            except PowerCut:
                cut = True
            storage.cut = -1
            after = Tables(storage, 400, 3)
            equal(after.load(), 300)
            seq = after.checkpoint.seq
            check(seq == 65 or (seq == 129 and (not cut or kept_percent == 100)), cut_at)
            equal(after.money[7], 1000000007 + seq)
            check(after.save(193, 300), "and the next one is written")


def test_a_full_flash_leaves_the_one_before() -> None:
    storage = Storage()
    tables = saved(storage)
    storage.full = True
    check(not tables.save(129, 300))
    storage.full = False
    for parts in range(4):
        check(tables.checkpoint.begin(129, 300))
        for _ in range(parts):
            equal(tables.checkpoint.put(), MORE)
        storage.full = True
        check(not tables.checkpoint.finish(), "its end is not reached")
        check(not tables.checkpoint.busy)
        storage.full = False
        equal(tables.checkpoint.seq, 65)
        equal(storage.names("k"), [file_name(65)])


def test_the_newest_is_never_missing() -> None:
    storage = Storage()
    tables = saved(storage)
    good = storage.files[file_name(65)]
    check(tables.checkpoint.begin(65, 300))
    equal(storage.files[file_name(65)], good, "it stands there while a second one is written")
    tables.checkpoint.give_up()
    equal(storage.names("k"), [file_name(65)])


def test_a_journal_keeps_its_identity() -> None:
    storage = Storage()
    numbers = [0x1234, 0x5678, 0x9ABC, 0xDEF0]
    new = Tables(storage, 400, 3)
    equal(new.load(), 0)
    new.checkpoint.identify(lambda: numbers.pop(0))
    identity = b"\x34\x12\x78\x56\xbc\x9a\xf0\xde"
    equal((new.checkpoint.identity, storage.files), (identity, {"n34127856bc9af0de": b""}))
    # It is found by its file, by the checkpoint, and by either of them when the other is missing.
    check(new.save(65, 3))
    for lost in ("", "n34127856bc9af0de", "k00000041"):
        again = Storage()
        again.files = {name: data for name, data in storage.files.items() if name != lost}
        after = Tables(again, 400, 3)
        after.checkpoint.identity = bytes(8)
        after.load()
        after.checkpoint.identify(_ff)
        equal(after.checkpoint.identity, identity, lost)
        check("n34127856bc9af0de" in again.files)


def test_a_checkpoint_of_another_journal_is_not_taken_over() -> None:
    storage = Storage()
    saved(storage)
    storage.files["n0011223344556677"] = b""
    after = Tables(storage, 400, 3)
    after.load()
    raises(Unreadable, after.checkpoint.identify, _ff)
    storage.looks, storage.look_fails = 0, 1
    raises(Unreadable, after.checkpoint.identify, _ff)
