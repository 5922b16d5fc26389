"""Goal: a durable record reads back as it was written, at its own number, or is said to be lost; a
record that the flash refused, or took only in part, never counts; damage loses only the records in
the damaged part, and no number is used twice; joined records count together.

Method: the journal on flash in memory whose appends are torn, whose power is cut at each change,
whose reads fail one after the other and whose bits are turned. Each record has a mark of its own,
so that the test sees a right number with other content.
"""

import sys

from concentrator.storage.journal import SEGMENT_SIZE, Journal
from concentrator.storage.segments import segment_name
from harness import check, equal, raises
from memory_storage import PowerCut, Storage
from ports import UNREADABLE, Unreadable
from uplink import packing, record
from uplink.packing import GAP, HEAD_SIZE, Unpacker
from uplink.record import JOINED, PAYLOAD, PAYLOAD_SIZE, RECORD_SIZE, u32_at

NOW = 820540800
SMALL = sys.maxsize < 1 << 32  # an emulated board is slow
# A segment takes this many records of `World.add`, each with all of its payload.
SEGMENT_RECORDS = 75


class Flash(Storage):
    """With `torn` the next append is reported as failed, with this many percent of it written."""

    def __init__(self) -> None:
        super().__init__()
        self.torn = -1

    def append(self, name: str, buf: "bytearray | memoryview | bytes", size: int) -> bool:
        """Add bytes to the file."""
        if self.torn < 0:
            return super().append(name, buf, size)
        self.files[name] = self.files.get(name, b"") + bytes(buf[: size * self.torn // 100])
        self.torn = -1
        return False


class World:
    """This is a journal with the marks of its records: `marks[seq]` is that of record `seq`."""

    def __init__(self, segments: int = 256) -> None:
        self.storage = Flash()
        self.segments = segments
        self.marks: dict[int, int] = {}
        self._mark = 0
        self._buf = bytearray(RECORD_SIZE)
        self.restart()

    def restart(self) -> None:
        """Switch the device off and on."""
        self.storage.cut = -1
        self.journal = Journal(self.storage, self.segments)
        self.journal.recover()

    def add(self, count: int, joined: int = 0) -> None:
        """Add records to the memory; the first `joined` of them belong to the next one."""
        journal = self.journal
        for number in range(count):
            self._mark += 1
            self.marks[journal.next_seq] = self._mark
            offset = journal.place(1 + joined)
            equal(offset, 0)
            journal.buf[PAYLOAD : PAYLOAD + 4] = self._mark.to_bytes(4, "little")
            for place in range(PAYLOAD + 4, PAYLOAD + PAYLOAD_SIZE):
                journal.buf[place] = 0xFF
            journal.add(NOW, record.CARD, self._mark % 7, JOINED if number < joined else 0)

    def write(self, count: int) -> None:
        """Add records and make them durable."""
        self.add(count)
        check(self.journal.sync())

    def reads(self, seq: int) -> bool:
        """Return whether the record can be read; it must then be the right one."""
        if not self.journal.read_into(seq, self._buf):
            return False
        check(record.verify(self._buf, 0))
        equal(record.seq_at(self._buf, 0), seq)
        equal(u32_at(self._buf, PAYLOAD), self.marks[seq], seq)
        return True

    def check_all(self, first_seq: int, durable_seq: int) -> None:
        """Check that these records are there, asked for in any order, and no others."""
        journal = self.journal
        equal((journal.first_seq, journal.durable_seq), (first_seq, durable_seq))
        for seq in range(first_seq, durable_seq + 1):
            check(self.reads(seq), seq)
        for seq in range(durable_seq, first_seq - 1, -7):
            check(self.reads(seq), seq)
        check(not self.reads(first_seq - 1))
        check(not self.reads(durable_seq + 1))
        equal(journal.rotten, 0)

    def segment(self, position: int) -> str:
        """Return the name of a segment, oldest first."""
        return (self.storage.names("j") or [])[position]

    def groups(self, name: str) -> "list[tuple[int, int, range]]":
        """Return places, sizes and numbers of the groups of a segment."""
        data = bytearray(self.storage.files[name])
        reader = Unpacker(data)
        found = []
        at = 0
        while at < len(data):
            size = reader.open(at, len(data))
            check(size > 0)
            found.append((at, size, range(reader.first_seq, reader.first_seq + data[at + 2])))
            at += size
        return found


def test_records_come_back_as_they_were_written() -> None:
    world = World()
    world.check_all(1, 0)
    world.write(150)
    world.check_all(1, 150)
    world.restart()
    world.check_all(1, 150)
    world.write(10)
    world.restart()
    world.check_all(1, 160)
    equal(world.segment(1), segment_name(SEGMENT_RECORDS + 1))


def test_what_waits_in_memory_is_lost_with_the_power() -> None:
    world = World()
    world.write(5)
    world.add(7)
    equal((world.journal.count, world.journal.next_seq), (7, 13))
    check(not world.reads(6), "it is not durable yet")
    world.restart()
    world.check_all(1, 5)


def test_a_block_that_is_full_is_written_by_itself_and_whole() -> None:
    world = World()
    world.add(SEGMENT_RECORDS)
    equal(world.storage.changes, 0)
    world.add(2)
    equal(world.journal.durable_seq, SEGMENT_RECORDS)
    equal(world.storage.changes, 1, "one append")
    check(SEGMENT_SIZE - world.storage.size(segment_name(1)) < 86)
    world.add(10 * SEGMENT_RECORDS)
    equal(world.storage.changes, 11)
    check(world.journal.sync())
    world.check_all(1, 11 * SEGMENT_RECORDS + 2)


def test_nothing_is_added_to_a_full_memory() -> None:
    world = World()
    world.storage.failing = "j"
    while world.journal.place(5) >= 0:
        world.add(1)
    count = world.journal.count
    check(count >= SEGMENT_RECORDS - 8)
    equal(world.journal.place(5), -1)
    check(world.journal.failures > 0)
    equal(world.journal.count, count)
    world.storage.failing = ""
    equal(world.journal.place(5), 0)
    check(world.journal.sync())
    world.check_all(1, count)
    world.restart()
    world.check_all(1, count)


def test_a_turned_bit_costs_its_group_and_nothing_else() -> None:
    """The segment is full, or is the newest; the journal runs on, or restarts."""
    world = World()
    for _ in range(3):
        world.write(SEGMENT_RECORDS // 2)
    durable_seq = world.journal.durable_seq
    for name in (world.segment(0), world.segment(1)):
        for number in (0, 2):
            start, size, bad = world.groups(name)[number]
            for bit in range(8 * start, 8 * (start + size), 977 if SMALL else 61):
                world.storage.turn_bit(name, bit)
                for start_anew in (False, True):
                    if start_anew:
                        world.restart()
                    else:
                        world.journal.reread()
                    rotten = world.journal.rotten
                    equal(world.journal.durable_seq, durable_seq, "no number is used again")
                    for seq in range(max(1, bad[0] - 9), bad[-1] + 9):
                        equal(world.reads(seq), seq not in bad, (bit, seq))
                    counted = world.journal.rotten - (0 if start_anew else rotten)
                    check(counted >= len(bad), counted)
                check(not world.reads(bad[0]))
                world.storage.turn_bit(name, bit)
                world.journal.reread()
                check(world.reads(bad[0]), "what is read anew is known anew")
    world.restart()
    world.check_all(1, durable_seq)


def test_rot_at_the_end_costs_more_numbers_than_it_held_and_none_is_used_again() -> None:
    for records in (1, 5):
        world = World()
        world.write(30)
        world.write(records)
        durable_seq = world.journal.durable_seq
        start, size, _ = world.groups(world.segment(0))[-1]
        for bit in range(8 * start, 8 * (start + size), 331 if SMALL else 23):
            world.storage.turn_bit(segment_name(1), bit)
            world.restart()
            check(world.journal.durable_seq >= durable_seq, bit)
            check(world.journal.rotten >= records)
            for seq in range(1, 31):
                check(world.reads(seq), seq)
            for seq in range(31, world.journal.durable_seq + 1):
                check(not world.reads(seq), seq)
            files = dict(world.storage.files)
            world.write(3)
            first_new = world.journal.durable_seq - 2
            world.restart()
            for seq in range(first_new, first_new + 3):
                check(world.reads(seq), seq)
            check(all(world.storage.files[name] == files[name] for name in files), "kept")
            world.storage.files = files
            world.storage.turn_bit(segment_name(1), bit)


def test_a_restart_costs_no_block() -> None:
    """A whole segment takes more records; a torn or damaged one is left as it is."""
    world = World()
    for _ in range(10):
        world.write(3)
        world.restart()
    equal(len(world.storage.names("j") or []), 1)
    world.check_all(1, 30)
    world.write(SEGMENT_RECORDS)
    world.check_all(1, 30 + SEGMENT_RECORDS)
    for data in world.storage.files.values():
        check(len(data) <= SEGMENT_SIZE)
    world.storage.files[world.segment(-1)] += b"torn"
    before = dict(world.storage.files)
    world.restart()
    world.write(1)
    for name, data in before.items():
        equal(world.storage.files[name], data, name)
    world.check_all(1, 31 + SEGMENT_RECORDS)


def test_a_start_feeds_the_watchdog_at_each_group() -> None:
    world = World()
    world.add(SEGMENT_RECORDS - 5)
    check(world.journal.sync())
    groups = 0
    seq = 1
    while seq <= world.journal.durable_seq:
        check(world.journal.group_into(seq, bytearray(600), 0, 600) > 0)
        seq = world.journal.group_end
        groups += 1
    fed = []
    world.journal.recover(lambda: fed.append(1))
    check(groups > 5, groups)
    equal(len(fed), groups + 1, "and once for the names")


def test_a_torn_end_never_was() -> None:
    world = World()
    world.write(12)
    before = world.storage.size(segment_name(1))
    world.write(7)
    whole = world.storage.files[segment_name(1)]
    for size in range(before, len(whole), 13 if SMALL else 1):
        world.storage.files = {segment_name(1): whole[:size]}
        world.restart()
        world.check_all(1, 12)
    for size in range(0, before, 29 if SMALL else 7):
        world.storage.files = {segment_name(1): whole[:size]}
        world.restart()
        equal(world.journal.rotten, 0, size)
        check(world.journal.durable_seq in (0, 9), size)
        world.storage.files = {}


def test_a_file_of_which_nothing_was_durable_is_begun_anew() -> None:
    """A cut in its first append has left it; nothing may be appended behind what is torn."""
    world = World()
    world.write(SEGMENT_RECORDS)
    first = dict(world.storage.files)
    world.write(4)
    name = segment_name(SEGMENT_RECORDS + 1)
    whole = world.storage.files[name]
    for size in (0, 1, HEAD_SIZE, len(whole) - 1):
        world.storage.files = dict(first)
        world.storage.files[name] = whole[:size]
        world.restart()
        equal(world.journal.durable_seq, SEGMENT_RECORDS)
        world.write(3)
        world.write(3)
        equal(len(world.groups(name)), 2)
        world.check_all(1, SEGMENT_RECORDS + 6)
        world.restart()
        world.check_all(1, SEGMENT_RECORDS + 6)


def test_a_read_that_fails_at_the_start_decides_nothing() -> None:
    """Each look of a start fails in turn, once and permanently."""
    world = World()
    world.write(3 * SEGMENT_RECORDS + 5)
    files = dict(world.storage.files)
    for for_ever in (False, True):
        look = 0
        while True:
            look += 1
            world.storage.looks = 0
            world.storage.look_fails = look
            world.storage.looks_fail = for_ever
            journal = Journal(world.storage, 256)
            try:
                journal.recover()
            except Unreadable:
                equal(world.storage.files, files)
                continue
            break
        check(look > 2, look)
        equal(world.storage.files, files)
        world.storage.look_fails = 0
        world.storage.looks_fail = False
        world.restart()
        world.check_all(1, 3 * SEGMENT_RECORDS + 5)


def test_a_read_that_fails_later_is_told_and_costs_nothing() -> None:
    world = World()
    world.write(20)
    world.storage.looks_fail = True
    world.storage.look_fails = 1
    world.journal.reread()
    check(not world.reads(5))
    equal((world.journal.unread, world.journal.rotten), (1, 0))
    equal(world.journal.group_into(5, bytearray(600), 0, 600), UNREADABLE)
    world.storage.looks_fail = False
    world.storage.look_fails = 0
    world.check_all(1, 20)


def test_number_zero_is_no_record() -> None:
    buf = bytearray(RECORD_SIZE)
    record.encode_into(buf, 0, 1, NOW, record.READING, 0, 0)
    check(record.verify(buf, 0))
    record.encode_into(buf, 0, 0, NOW, record.READING, 0, 0)
    check(not record.verify(buf, 0))


def test_a_failed_append_never_counts_however_much_of_it_was_written() -> None:
    """Other records take the numbers of those that were given up."""
    for kept in (0, 30, 60, 100):
        for before in (0, 5, SEGMENT_RECORDS - 2, SEGMENT_RECORDS):
            world = World()
            if before:
                world.write(before)
            world.add(4)
            world.storage.torn = kept
            check(not world.journal.sync())
            equal(world.journal.failures, 1)
            kept_seq = world.journal.durable_seq
            world.journal.withdraw(world.journal.count)
            world.write(3)
            equal(world.journal.durable_seq, kept_seq + 3)
            world.check_all(1, kept_seq + 3)
            world.restart()
            world.check_all(1, kept_seq + 3)


def test_what_the_flash_refused_is_kept_and_written_later() -> None:
    world = World()
    world.write(SEGMENT_RECORDS - 4)
    world.add(10)
    world.storage.failing = segment_name(SEGMENT_RECORDS + 1)
    check(not world.journal.sync())
    equal((world.journal.durable_seq, world.journal.count), (SEGMENT_RECORDS, 6))
    equal(world.journal.next_seq, SEGMENT_RECORDS + 7)
    check(not world.journal.sync())
    equal(world.journal.failures, 2)
    world.storage.failing = ""
    check(world.journal.sync())
    world.check_all(1, SEGMENT_RECORDS + 6)
    world.restart()
    world.check_all(1, SEGMENT_RECORDS + 6)


def test_any_of_what_waits_can_be_taken_back() -> None:
    """The record is in the open group or in an earlier one, durable or refused."""
    number = 4711
    world = World()
    journal = world.journal
    for _ in range(60 if SMALL else 400):
        number = number * 1103515245 + 12345 & 0x3FFFFFFF
        what = number >> 12
        if what % 5 < 3:
            world.add(1 + what % 11)
        elif what % 5 == 3:
            journal.withdraw(min(journal.count, what % 13))
        elif what % 3:
            check(journal.sync())
        else:
            world.storage.failing = "j"
            check(journal.count == 0 or not journal.sync())
            world.storage.failing = ""
    check(journal.sync())
    world.check_all(1, journal.durable_seq)
    world.restart()
    world.check_all(1, journal.durable_seq)


def test_joined_records_are_written_together() -> None:
    """They stand in one group, which goes into the next segment where this one is full."""
    for before in range(SEGMENT_RECORDS - 5, SEGMENT_RECORDS + 2):
        world = World()
        world.write(before)
        world.add(3, 2)
        check(world.journal.sync())
        world.check_all(1, before + 3)
        buf = bytearray(packing.GROUP_LIMIT)
        size = world.journal.group_into(before + 1, buf, 0, len(buf))
        check(size > 0)
        equal(world.journal.group_end, before + 4)


def test_joined_records_count_together_wherever_the_power_fails() -> None:
    for kept_percent in (0, 40, 67, 100):
        for before in (3, SEGMENT_RECORDS - 2, SEGMENT_RECORDS - 1, SEGMENT_RECORDS):
            for cut in range(4):
                world = World()
                world.write(before)
                world.add(3, 2)
                world.storage.kept_percent = kept_percent
                world.storage.cut = cut
                try:
                    check(world.journal.sync())
                except PowerCut:
                    world.storage.cut = -1
                world.restart()
                check(world.journal.durable_seq in (before, before + 3), (kept_percent, cut))
                world.check_all(1, world.journal.durable_seq)
                world.write(2)
                world.restart()
                world.check_all(1, world.journal.durable_seq)


def test_a_segment_goes_when_all_of_it_is_known_elsewhere() -> None:
    world = World()
    world.write(3 * SEGMENT_RECORDS)
    journal = world.journal
    check(not journal.drop(SEGMENT_RECORDS - 1))
    world.check_all(1, 3 * SEGMENT_RECORDS)
    world.storage.failing = "j"
    check(not journal.drop(SEGMENT_RECORDS), "the flash refuses")
    world.storage.failing = ""
    world.check_all(1, 3 * SEGMENT_RECORDS)
    check(journal.drop(SEGMENT_RECORDS))
    world.check_all(SEGMENT_RECORDS + 1, 3 * SEGMENT_RECORDS)
    check(journal.drop(3 * SEGMENT_RECORDS))
    check(not journal.drop(3 * SEGMENT_RECORDS), "the newest stays")
    world.check_all(2 * SEGMENT_RECORDS + 1, 3 * SEGMENT_RECORDS)
    world.restart()
    world.check_all(2 * SEGMENT_RECORDS + 1, 3 * SEGMENT_RECORDS)


def test_without_room_nothing_is_written_until_a_segment_goes() -> None:
    world = World(2)
    world.write(2 * SEGMENT_RECORDS)
    equal(world.journal.room, 0)
    world.add(1)
    check(not world.journal.sync())
    equal((world.journal.count, world.journal.failures), (1, 1))
    world.check_all(1, 2 * SEGMENT_RECORDS)
    check(world.journal.drop(SEGMENT_RECORDS))
    equal(world.journal.room, 1)
    check(world.journal.sync())
    world.check_all(SEGMENT_RECORDS + 1, 2 * SEGMENT_RECORDS + 1)


def test_room_is_what_the_flash_says() -> None:
    world = World()
    world.storage.total_blocks = 40
    for count in range(34):
        world.storage.files["x" + str(count)] = b""
    world.restart()
    equal((world.journal.room, world.journal.reserve_blocks), (6, 5))
    check(not world.journal.is_short)
    world.write(SEGMENT_RECORDS + 1)
    equal(world.journal.room, 4)
    check(world.journal.is_short)
    world.restart()
    equal(world.journal.room, 4)
    check(world.journal.drop(SEGMENT_RECORDS))
    equal(world.journal.room, 5)


def test_numbers_go_on_behind_those_that_are_known_elsewhere() -> None:
    world = World()
    world.write(10)
    world.journal.continue_at(5)
    equal(world.journal.next_seq, 11, "a number is never used again")
    world.journal.continue_at(101)
    equal(world.journal.next_seq, 101)
    world.write(3)
    for seq in (1, 10, 101, 103):
        check(world.reads(seq), seq)
    for seq in (11, 100):
        check(not world.reads(seq), seq)
    world.restart()
    equal((world.journal.first_seq, world.journal.durable_seq), (1, 103))
    check(world.reads(10) and world.reads(101))


def test_other_files_and_smaller_limits_do_no_harm() -> None:
    world = World()
    world.write(3 * SEGMENT_RECORDS)
    world.storage.files["jam"] = b"no segment"
    world.segments = 2  # This build has less room than there are segments.
    world.restart()
    world.check_all(1, 3 * SEGMENT_RECORDS)


def test_the_newest_record_of_an_account_is_found() -> None:
    world = World()
    world.write(3 * SEGMENT_RECORDS)
    last = world.journal.durable_seq
    for index in (0, 3, 9):
        for seq in (1, 2, 5, 8, SEGMENT_RECORDS, SEGMENT_RECORDS + 3, last, last + 1, last + 9):
            for first_seq in (-5, 1, seq - 3, SEGMENT_RECORDS - 2):
                expected = 0
                for one in range(max(1, first_seq), min(seq, last + 1)):
                    if world.marks[one] % 7 == index:
                        expected = one
                found = world.journal.find_before(index, seq, first_seq)
                equal(found, expected, (index, seq, first_seq))


def test_groups_hand_out_every_number_and_say_what_is_missing() -> None:
    world = World()
    world.write(3 * SEGMENT_RECORDS)
    name = world.segment(1)
    groups = world.groups(name)
    for number in (0, 3):
        world.storage.turn_bit(name, 8 * (groups[number][0] + 30))
    world.restart()
    buf = bytearray(700)
    reader = Unpacker(buf)
    one = bytearray(RECORD_SIZE)
    seq = 1
    missing = 0
    while seq <= world.journal.durable_seq:
        equal(world.journal.group_into(seq, buf, 100, 18), 0, "no room")
        size = world.journal.group_into(seq, buf, 100, 600)
        equal(reader.open(100, 700), size)
        equal(reader.first_seq, seq)
        kind = reader.next(one)
        while kind >= GAP:
            if kind == GAP:
                equal(reader.reasons, packing.UNREADABLE)
                missing += reader.next_seq - reader.seq
            else:
                equal(u32_at(one, PAYLOAD), world.marks[reader.seq])
            kind = reader.next(one)
        seq = world.journal.group_end
        equal(reader.next_seq, seq)
    equal(missing, world.journal.rotten)
    equal(missing, len(groups[0][2]) + len(groups[3][2]))


def test_a_record_is_found_whatever_was_asked_for_before() -> None:
    """Each question leaves the reader at another place, for example behind a group's last item."""
    world = World()
    world.write(2 * SEGMENT_RECORDS)
    last = world.journal.durable_seq
    groups = [group[2] for name in (0, 1) for group in world.groups(world.segment(name))]
    buf = bytearray(packing.GROUP_LIMIT)
    for asked in groups:
        for wanted in (1, asked[0], asked[-1], min(asked[-1] + 1, last), last):
            check(world.journal.group_into(asked[0], buf, 0, len(buf)) > 0)
            check(world.reads(wanted), (asked, wanted))
            check(world.journal.find_before(world.marks[asked[-1]] % 7, asked[-1] + 1, 1) > 0)
            check(world.reads(wanted), (asked, wanted))


def test_a_flash_that_is_not_listed_starts_nothing() -> None:
    world = World()
    world.storage.look_fails = world.storage.looks + 1
    raises(Unreadable, Journal(world.storage).recover)
