"""Goal: a durable record reads back as it was written, at its own number, or is said to be lost;
what the flash did not take, or only in part, never counts; joined records count together.

Method: the journal on flash in memory whose appends are torn, whose power is cut at each change
and whose bits are turned. Each record bears a mark of its own, so that one with the right number
and other content is found.
"""

import sys

from concentrator.storage.journal import PENDING_LIMIT, SEGMENT_RECORDS, Journal, segment_name
from harness import check, equal
from memory_storage import PowerCut, Storage
from uplink import record
from uplink.record import JOINED, PAYLOAD, RECORD_SIZE, u32_at

NOW = 820540800
SMALL = sys.maxsize < 1 << 32  # an emulated board is slow


class Flash(Storage):
    """`torn`: the next append is said to have failed, with so many percent of it written."""

    def __init__(self) -> None:
        super().__init__()
        self.torn = -1

    def append(self, name: str, buf: "bytearray | memoryview | bytes", size: int) -> bool:
        """Add."""
        if self.torn < 0:
            return super().append(name, buf, size)
        self.files[name] = self.files.get(name, b"") + bytes(buf[: size * self.torn // 100])
        self.torn = -1
        return False


class World:
    """A journal, and the marks of its records: `marks[seq]` is what record `seq` should say."""

    def __init__(self, segments: int = 256) -> None:
        self.storage = Flash()
        self.segments = segments
        self.marks: dict[int, int] = {}
        self._mark = 0
        self._buf = bytearray(RECORD_SIZE)
        self.restart()

    def restart(self) -> None:
        """The device is switched off and on."""
        self.storage.cut = -1
        self.journal = Journal(self.storage, self.segments)
        self.journal.recover()

    def add(self, count: int, joined: int = 0) -> None:
        """Add records to the memory; the first `joined` of them belong to the next one."""
        journal = self.journal
        for number in range(count):
            self._mark += 1
            self.marks[journal.next_seq] = self._mark
            offset = journal.place()
            check(offset >= 0)
            offset += PAYLOAD
            journal.buf[offset : offset + 4] = self._mark.to_bytes(4, "little")
            journal.add(NOW, record.READING, 0, JOINED if number < joined else 0)

    def write(self, count: int) -> None:
        """Add records and make them durable."""
        while count:
            part = min(count, PENDING_LIMIT)
            self.add(part)
            check(self.journal.sync())
            count -= part

    def reads(self, seq: int) -> bool:
        """Whether the record can be read; it must then be the right one."""
        if not self.journal.read_into(seq, self._buf):
            return False
        equal(record.seq_at(self._buf, 0), seq)
        equal(u32_at(self._buf, PAYLOAD), self.marks[seq], seq)
        return True

    def check_all(self, first_seq: int, durable_seq: int) -> None:
        """These records are there, in any order of asking, and no others."""
        journal = self.journal
        equal((journal.first_seq, journal.durable_seq), (first_seq, durable_seq))
        for seq in range(first_seq, durable_seq + 1):
            check(self.reads(seq), seq)
        for seq in range(durable_seq, first_seq - 1, -3):
            check(self.reads(seq), seq)
        check(not self.reads(first_seq - 1))
        check(not self.reads(durable_seq + 1))
        equal(journal.lost, 0)


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


def test_what_waits_in_memory_is_lost_with_the_power() -> None:
    world = World()
    world.write(5)
    world.add(7)
    equal((world.journal.count, world.journal.next_seq), (7, 13))
    check(not world.reads(6), "it is not durable yet")
    world.restart()
    world.check_all(1, 5)


def test_a_full_memory_makes_room_by_itself() -> None:
    world = World()
    world.add(PENDING_LIMIT + 1)
    world.check_all(1, PENDING_LIMIT)
    equal(world.journal.count, 1)
    world.storage.failing = "j"
    world.add(PENDING_LIMIT - 1)
    equal(world.journal.place(), -1, "nothing may be added while the flash takes nothing")
    equal(world.journal.count, PENDING_LIMIT)


def test_no_turned_bit_of_a_record_counts() -> None:
    """Of a segment that is full, and of the newest."""
    world = World()
    world.write(SEGMENT_RECORDS + 20)
    for seq, far in ((10, SEGMENT_RECORDS + 10), (SEGMENT_RECORDS + 10, 10)):
        first_seq = 1 if seq <= SEGMENT_RECORDS else SEGMENT_RECORDS + 1
        name = segment_name(first_seq)
        start = (seq - first_seq) * RECORD_SIZE * 8
        for bit in range(start, start + RECORD_SIZE * 8, 11 if SMALL else 1):
            check(world.reads(far), "and what was read last is forgotten")
            world.storage.turn_bit(name, bit)
            lost = world.journal.lost
            check(not world.reads(seq), bit)
            equal(world.journal.lost, lost + 1)
            check(world.reads(seq + 1), "the next one is right")
            world.storage.turn_bit(name, bit)
        check(world.reads(seq))


def test_no_turned_bit_counts_after_a_restart() -> None:
    world = World()
    world.write(SEGMENT_RECORDS + 20)
    seq = SEGMENT_RECORDS + 10
    for bit in range(0, RECORD_SIZE * 8, 61 if SMALL else 13):
        world.storage.turn_bit(segment_name(SEGMENT_RECORDS + 1), 9 * RECORD_SIZE * 8 + bit)
        content = dict(world.storage.files)
        world.restart()
        check(not world.reads(seq), bit)
        check(world.reads(seq - 1))
        world.storage.files = content
        world.storage.turn_bit(segment_name(SEGMENT_RECORDS + 1), 9 * RECORD_SIZE * 8 + bit)
    world.restart()
    check(world.reads(seq))


def test_number_zero_is_no_record() -> None:
    buf = bytearray(RECORD_SIZE)
    record.encode_into(buf, 0, 1, NOW, record.READING, 0, 0)
    check(record.verify(buf, 0))
    record.encode_into(buf, 0, 0, NOW, record.READING, 0, 0)
    check(not record.verify(buf, 0))


def test_a_failed_append_never_counts_however_much_of_it_was_written() -> None:
    """Other records take the numbers of those that were given up."""
    for kept in (30, 100) if SMALL else (0, 30, 60, 100):
        for before in (0, 5, SEGMENT_RECORDS - 2, SEGMENT_RECORDS):
            world = World()
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
    world.write(60)
    world.add(10)
    world.storage.failing = segment_name(65)
    check(not world.journal.sync())
    equal((world.journal.durable_seq, world.journal.count), (64, 6))
    equal(world.journal.next_seq, 71)
    check(not world.journal.sync())
    equal(world.journal.failures, 2)
    world.storage.failing = ""
    check(world.journal.sync())
    world.check_all(1, 70)
    world.restart()
    world.check_all(1, 70)


def test_joined_records_are_written_together() -> None:
    """A segment has room for one of two: both go into the next."""
    world = World()
    world.write(SEGMENT_RECORDS - 1)
    world.add(2, 1)
    world.storage.failing = segment_name(SEGMENT_RECORDS)
    check(not world.journal.sync())
    equal((world.journal.durable_seq, world.journal.count), (SEGMENT_RECORDS - 1, 2))
    world.storage.failing = ""
    check(world.journal.sync())
    world.check_all(1, SEGMENT_RECORDS + 1)
    equal(world.storage.size(segment_name(1)), (SEGMENT_RECORDS - 1) * RECORD_SIZE)


def test_joined_records_count_together_wherever_the_power_fails() -> None:
    for kept_percent in (0, 67) if SMALL else (0, 40, 67, 100):
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
    world.segments = 2  # a build with less room than there are segments
    world.restart()
    world.check_all(1, 3 * SEGMENT_RECORDS)
