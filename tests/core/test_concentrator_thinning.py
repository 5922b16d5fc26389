"""Goal: where room is short, the least important records go first and are reported; money never
goes, the other records stay unchanged, and no power cut loses more.

Method: a journal of a village's days on flash in memory; its segments are thinned step by step.
The rest is read back record by record and gap by gap and compared with the written records. The
power is cut at each change; bits are turned; appends have failed before.
"""

import sys
from array import array

from concentrator.storage.journal import SEGMENT_SIZE, Journal
from concentrator.storage.thinning import KINDS_OF_LEVELS, LEVELS, NEVER, Thinner, level_of
from harness import check, equal
from memory_storage import PowerCut, Storage
from uplink import packing, record
from uplink.packing import GAP, Unpacker
from uplink.record import PAYLOAD, RECORD_SIZE, u32_at

NOW = 820540800
DAY_S = 86400
SMALL = sys.maxsize < 1 << 32  # an emulated board is slow
METERS = 3 if SMALL else 8
# A day of a village writes these beside readings, to these accounts.
OTHERS = (
    record.ITEM,
    record.FREEZE,
    record.TOP_UP,
    record.RELAY,
    record.LINE,
    record.POLICY,
    record.REFUND,
    record.METER,
)


class World:
    """This is a journal and all its written records: `kinds`, `rows` and `times` by number."""

    def __init__(self) -> None:
        self.storage = Storage()
        self.kinds = bytearray(1)
        self.rows = array("H", (0,))
        self.times = array("I", (0,))
        self.restart()

    def restart(self) -> None:
        """Switch the device off and on."""
        self.storage.cut = -1
        self.journal = Journal(self.storage)
        self.journal.recover()
        self.thinner = Thinner(self.journal, self.storage)

    def put(self, kind: int, index: int, t2000: int) -> None:
        """Write a record that has its own number in it."""
        journal = self.journal
        check(journal.place(1) >= 0)
        seq = journal.next_seq
        for kept, one in ((self.kinds, kind), (self.rows, index), (self.times, t2000)):
            if seq < len(kept):
                kept[seq] = one  # type: ignore[index]  # arrays and bytes alike
            else:
                kept.append(one)  # type: ignore[attr-defined]  # as above
        mark = seq if kind != record.ITEM else seq << 8
        journal.buf[PAYLOAD : PAYLOAD + 4] = (mark & 0xFFFFFFFF).to_bytes(4, "little")
        journal.add(t2000, kind, index)

    def live(self, days: int, rounds: int = 24) -> None:
        """Write some days of a village and make all of it durable."""
        t2000 = max(NOW, max(self.times))
        t2000 += DAY_S - t2000 % DAY_S
        for _ in range(days):
            for turn in range(rounds):
                for index in range(METERS):
                    self.put(record.READING, index, t2000 + turn * DAY_S // rounds + index)
                if turn < len(OTHERS):
                    self.put(OTHERS[turn], turn % METERS, t2000 + turn * DAY_S // rounds + METERS)
            t2000 += DAY_S
        check(self.journal.sync())

    def thin(self, limit_seq: int) -> int:
        """Thin until no more can be thinned; return the number of steps."""
        steps = 0
        while self.thinner.step(limit_seq):
            steps += 1
            check(steps < 20000, "it has no end")
        return steps

    def read(self) -> "tuple[bytearray, bytearray]":
        """Return the kind of each present record, or 0; the reasons of each gap number, or 0."""
        journal = self.journal
        buf = bytearray(packing.GROUP_LIMIT)
        reader = Unpacker(buf)
        one = bytearray(RECORD_SIZE)
        kinds = bytearray(journal.durable_seq + 1)
        gone = bytearray(journal.durable_seq + 1)
        seq = journal.first_seq
        while seq <= journal.durable_seq:
            size = journal.group_into(seq, buf, 0, len(buf))
            equal(reader.open(0, size), size)
            equal(reader.first_seq, seq)
            kind = reader.next(one)
            while kind >= GAP:
                if kind == GAP:
                    for number in range(reader.seq, reader.next_seq):
                        gone[number] = reader.reasons
                else:
                    equal(kind, self.kinds[reader.seq], reader.seq)
                    equal(record.index_at(one, 0), self.rows[reader.seq], reader.seq)
                    equal(record.t2000_at(one, 0), self.times[reader.seq], reader.seq)
                    mark = u32_at(one, PAYLOAD)
                    equal(mark >> 8 if kind == record.ITEM else mark, reader.seq)
                    kinds[reader.seq] = kind
                kind = reader.next(one)
            seq = journal.group_end
        return kinds, gone

    def check_gone(self, level: int, limit_seq: int) -> None:
        """Check that only the records up to `level` have gone, from segments up to `limit_seq`."""
        kinds, gone = self.read()
        days: dict[int, int] = {}
        for seq in range(self.journal.first_seq, self.journal.durable_seq + 1):
            kind = self.kinds[seq]
            goes = level_of(kind) <= level
            if kind == record.READING and level == 1:
                goes = days.get(self.rows[seq]) == self.times[seq] // DAY_S
                days[self.rows[seq]] = self.times[seq] // DAY_S
            if seq > limit_seq:
                goes = False
            equal(gone[seq] != 0, goes, seq)
            equal(kinds[seq], 0 if goes else kind, seq)
        equal(self.journal.rotten, 0)

    def last_of_a_segment(self) -> int:
        """Return the newest number of a segment that is not the newest."""
        journal = self.journal
        return journal.first_of(journal.segment_count - 1) - 1


def test_money_is_never_let_go() -> None:
    """A test in tests/host/test_packing.py checks that every kind of record has a row."""
    equal(len(KINDS_OF_LEVELS), NEVER + 1)
    check(NEVER > LEVELS)
    for level, kinds in enumerate(KINDS_OF_LEVELS):
        for kind in kinds:
            equal(level_of(kind), level)
            is_money = kind in (record.TOP_UP, record.REFUND, record.CORRECTION)
            equal(level == NEVER, is_money, kind)
    equal(level_of(31), NEVER, "a kind without a row stays")


def test_each_level_gives_up_what_it_says_and_no_more() -> None:
    """The levels are checked one by one, since room may be found after each of them."""
    world = World()
    world.live(24 if not SMALL else 12)
    limit_seq = world.last_of_a_segment()
    journal, thinner = world.journal, world.thinner
    level = 0
    while thinner.step(limit_seq):
        if thinner._level != level and thinner._level:
            if level:
                world.check_gone(level, limit_seq)
            level = thinner._level
    equal(level, LEVELS)
    world.check_gone(LEVELS, limit_seq)
    equal(journal.let_go, sum([1 for reasons in world.read()[1] if reasons]))


def test_a_gap_names_what_has_gone() -> None:
    world = World()
    world.live(10)
    limit_seq = world.last_of_a_segment()
    world.thin(limit_seq)
    _, gone = world.read()
    for seq, reasons in enumerate(gone):
        if not reasons:
            continue
        kind = world.kinds[seq]
        expected = {
            record.READING: packing.LET_GO_READINGS,
            record.FREEZE: packing.LET_GO_FREEZES,
            record.ITEM: packing.LET_GO_ITEMS,
        }.get(kind, packing.LET_GO_OTHERS)
        check(reasons & expected, (seq, kind, reasons))
        equal(reasons & packing.UNREADABLE, 0)


def test_room_is_made_and_small_segments_are_joined() -> None:
    world = World()
    world.live(40 if not SMALL else 16)
    before = len(world.storage.files)
    limit_seq = world.last_of_a_segment()
    world.thin(limit_seq)
    after = len(world.storage.files)
    check(after <= (before + 3) // 3, (before, after))
    for name, data in world.storage.files.items():
        check(len(data) <= SEGMENT_SIZE, name)
    world.check_gone(LEVELS, limit_seq)
    world.restart()
    world.check_gone(LEVELS, limit_seq)
    equal(world.thin(limit_seq) > 0, True, "a restart looks through it once more")
    world.check_gone(LEVELS, limit_seq)
    world.live(20 if not SMALL else 6)
    world.check_gone(LEVELS, limit_seq)
    limit_seq = world.last_of_a_segment()
    world.thin(limit_seq)
    world.check_gone(LEVELS, limit_seq)


def test_nothing_goes_that_no_checkpoint_holds() -> None:
    world = World()
    world.live(12)
    files = dict(world.storage.files)
    world.thin(0)
    world.thin(world.journal.first_of(1) - 2)
    equal(world.storage.files, files)
    world.thin(world.journal.first_of(1) - 1)
    world.check_gone(LEVELS, world.journal.first_of(1) - 1)


def test_records_that_come_meanwhile_are_not_in_the_way() -> None:
    world = World()
    world.live(12)
    limit_seq = world.last_of_a_segment()
    number = 99
    steps = 0
    while world.thinner.step(limit_seq):
        steps += 1
        number = number * 1103515245 + 12345 & 0x3FFFFFFF
        if number >> 16 & 31 == 0:
            world.put(record.READING, steps % METERS, NOW + 90 * DAY_S + steps)
        check(steps < 20000)
    check(world.journal.sync())
    world.check_gone(LEVELS, limit_seq)
    world.restart()
    world.check_gone(LEVELS, limit_seq)


def test_a_power_cut_while_thinning_loses_nothing_more() -> None:
    start = World()
    start.live(8)
    files = dict(start.storage.files)
    limit_seq = start.last_of_a_segment()
    cut = 0
    while True:
        for kept_percent in (0, 100):
            world = World()
            world.storage.files = dict(files)
            world.kinds, world.rows, world.times = start.kinds, start.rows, start.times
            world.restart()
            world.storage.kept_percent = kept_percent
            world.storage.cut = cut
            try:
                world.thin(limit_seq)
                check(cut > 4, cut)
                return
            except PowerCut:
                pass
            world.restart()
            kinds, gone = world.read()
            for seq in range(1, len(world.kinds)):
                money = level_of(world.kinds[seq]) == NEVER
                check(kinds[seq] or (gone[seq] and not money), (cut, seq))
            equal(world.journal.rotten, 0)
            world.thin(limit_seq)
            world.check_gone(LEVELS, limit_seq)
        cut += 3 if SMALL else 1


def test_a_flash_that_refuses_is_left_as_it_is() -> None:
    """A segment that could not be written is not done: it is thinned when the flash takes it."""
    world = World()
    world.live(8)
    files = dict(world.storage.files)
    limit_seq = world.last_of_a_segment()
    world.storage.failing = "j"
    while world.journal.failures < 3:
        check(world.thinner.step(limit_seq))
    equal(world.storage.files, files)
    world.storage.failing = ""
    world.check_gone(0, limit_seq)
    while world.thinner.step(limit_seq) and world.thinner._level < 2:
        pass
    world.check_gone(1, limit_seq)


def test_what_was_broken_off_keeps_a_reading_of_each_day() -> None:
    """The first look at a segment must not count for the second."""
    world = World()
    world.live(12)
    limit_seq = world.last_of_a_segment()
    thinner = world.thinner
    days = 0
    while thinner.step(limit_seq) and thinner._level < 2:
        if thinner._gone > 20 and days < 6:
            days += 1
            world.put(record.READING, 0, NOW + 90 * DAY_S + days)
    kinds, _ = world.read()
    kept = {
        (world.rows[seq], world.times[seq] // DAY_S)
        for seq in range(1, limit_seq + 1)
        if kinds[seq] == record.READING
    }
    was = {
        (world.rows[seq], world.times[seq] // DAY_S)
        for seq in range(1, limit_seq + 1)
        if world.kinds[seq] == record.READING
    }
    equal(days, 6)
    equal(was - kept, set())


def test_a_rotten_segment_is_left_as_it_is() -> None:
    """Its neighbours are thinned, and no segment is joined to it."""
    world = World()
    world.live(16)
    name = (world.storage.names("j") or [])[1]
    world.storage.turn_bit(name, 8 * 700)
    data = world.storage.files[name]
    world.restart()
    limit_seq = world.last_of_a_segment()
    world.thin(limit_seq)
    equal(world.storage.files[name], data)
    kinds, gone = world.read()
    unreadable = [seq for seq, reasons in enumerate(gone) if reasons & packing.UNREADABLE]
    check(0 < len(unreadable) < 70, len(unreadable))
    for seq in range(1, len(world.kinds)):
        check(kinds[seq] or gone[seq], seq)
        money = level_of(world.kinds[seq]) == NEVER
        check(kinds[seq] or not money or seq in unreadable, seq)


def test_what_a_failed_append_left_behind_does_not_come_back() -> None:
    """It was written whole and given up; records in the next segment have taken its numbers."""
    world = World()
    world.live(6)
    for _ in range(5):
        world.put(record.TOP_UP, 1, NOW + 50 * DAY_S)
    append = world.storage.append

    def lie(name: str, buf: "bytearray | memoryview | bytes", size: int) -> bool:
        append(name, buf, size)
        return False

    world.storage.append = lie  # type: ignore[method-assign]  # a flash with one false answer
    check(not world.journal.sync())
    world.storage.append = append  # type: ignore[method-assign]  # and never again
    world.journal.withdraw(5)
    world.live(8)
    limit_seq = world.last_of_a_segment()
    world.thin(limit_seq)
    world.check_gone(LEVELS, limit_seq)
    world.restart()
    world.check_gone(LEVELS, limit_seq)


def test_meters_that_have_no_place_keep_all_readings_for_a_while() -> None:
    world = World()
    for turn in range(900):
        world.put(record.READING, 1024 + turn % 2, NOW + turn)
    check(world.journal.sync())
    limit_seq = world.last_of_a_segment()
    while world.thinner.step(limit_seq) and world.thinner._level < 2:
        pass
    equal(sum([1 for kind in world.read()[0] if kind]), 900)
    world.thin(limit_seq)
    equal(sum([1 for reasons in world.read()[1] if reasons]), limit_seq)
