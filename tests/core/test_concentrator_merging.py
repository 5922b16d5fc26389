"""Goal: where there are many segments, older ones are appended to each other, and no record is
lost, doubled or changed by that, whatever fails.

Method: a journal of long records on flash in memory, which counts as a large one. All records are
compared with those that were written: after merging, after thinning what was merged, after a
power cut at each change, beside torn and rotten segments, and on a flash that refuses.
"""

from concentrator.storage.segments import SEGMENT_SIZE, segment_name
from concentrator.storage.thinning import LEVELS, NEVER, level_of
from harness import check, equal
from journal_village import METERS, NOW, OTHERS, SMALL, World
from memory_storage import PowerCut
from uplink import record
from uplink.record import RECORD_SIZE

RECORDS = 640
KINDS = OTHERS + (record.READING,) * len(OTHERS)


def filled(count: int = RECORDS) -> World:
    """Return a world with so many records of all kinds, some of which may go."""
    world = World()
    write(world, count)
    return world


def write(world: World, count: int) -> None:
    """Write records of all kinds, each some 20 minutes behind the one before."""
    t2000 = max(NOW, max(world.times))
    for number in range(count):
        world.put(KINDS[number * 7 % len(KINDS)], number % METERS, t2000 + 1200 * number, 1)
    check(world.journal.sync())


def merged(world: World, many: int = 2) -> int:
    """Merge until no more can be merged; return the count of steps."""
    world.merger.many = many
    steps = 0
    while world.merger.is_due:
        check(world.merger.step())
        steps += 1
        check(steps < 1000, "it has no end")
    return steps


def check_room(world: World) -> None:
    """Check that the free blocks are those of the flash."""
    equal(world.journal.free_blocks, world.storage.blocks()[1])


def bought(count: int) -> World:
    """Return a world with so many purchases, none of which may go, in merged segments."""
    world = World()
    for number in range(count):
        world.put(record.TOP_UP, number % METERS, NOW + number, 1)
    check(world.journal.sync())
    merged(world)
    return world


def test_all_records_are_in_fewer_files() -> None:
    world = filled(RECORDS if SMALL else 2 * RECORDS)
    journal = world.journal
    before = journal.segment_count
    merged(world)
    check(journal.segment_count <= before // 4 + 3, (before, journal.segment_count))
    sizes = [len(data) for data in world.storage.files.values()]
    check(3 * SEGMENT_SIZE < max(sizes) <= 4 * (SEGMENT_SIZE - 12), sizes)
    check_room(world)
    world.check_gone(0, 0)
    buf = bytearray(RECORD_SIZE)
    for seq in range(journal.durable_seq, 0, -7):
        check(journal.read_into(seq, buf), seq)
        equal(record.kind_at(buf, 0), world.kinds[seq])
    newest = max([seq for seq in range(1, 300) if world.rows[seq] == 1])
    equal(journal.find_before(1, 300, 1), newest)
    world.restart()
    world.check_gone(0, 0)
    write(world, 99)
    merged(world)
    world.check_gone(0, 0)


def test_a_small_flash_keeps_a_segment_a_block() -> None:
    world = filled()
    files = dict(world.storage.files)
    world.storage.total_blocks = 191
    world.restart()
    merged(world)
    equal(world.storage.files, files)


def test_what_was_merged_is_thinned_and_dropped() -> None:
    world = filled()
    merged(world)
    limit_seq = world.last_of_a_segment()
    world.thin(limit_seq)
    world.check_gone(LEVELS, limit_seq)
    check_room(world)
    write(world, 200)
    merged(world)
    world.check_gone(LEVELS, limit_seq)
    check_room(world)
    limit_seq = world.last_of_a_segment()
    world.thin(limit_seq)
    world.check_gone(LEVELS, limit_seq)
    world.restart()
    world.check_gone(LEVELS, limit_seq)
    while world.journal.drop(world.journal.durable_seq):
        check_room(world)
    equal(world.journal.segment_count, 1)


def test_merging_between_steps_of_thinning_changes_neither() -> None:
    world = filled()
    limit_seq = world.last_of_a_segment()
    world.merger.many = 2
    steps = 0
    while world.thinner.step(limit_seq):
        steps += 1
        if steps % 41 == 0 and steps < 500 and world.merger.is_due:
            world.merger.step()
            limit_seq = max(limit_seq, world.last_of_a_segment())
    world.thin(limit_seq)
    world.check_gone(LEVELS, limit_seq)
    check_room(world)


def test_what_does_not_become_a_block_is_split() -> None:
    world = bought(450)
    check(max([len(data) for data in world.storage.files.values()]) > SEGMENT_SIZE)
    count = world.journal.segment_count
    limit_seq = world.last_of_a_segment()
    world.thin(limit_seq)
    world.check_gone(LEVELS, limit_seq)
    check(world.journal.segment_count > count)
    check(max([len(data) for data in world.storage.files.values()]) <= SEGMENT_SIZE)
    check_room(world)
    world.restart()
    world.check_gone(LEVELS, limit_seq)


def test_records_that_come_while_it_is_split_are_not_in_the_way() -> None:
    world = bought(350)
    limit_seq = world.last_of_a_segment()
    steps = 0
    while world.thinner.step(limit_seq):
        steps += 1
        if world.thinner._splits and steps % 3 == 0 and steps < 400:
            world.put(record.READING, 0, NOW + 5000 + steps)
    check(world.journal.sync())
    world.check_gone(LEVELS, limit_seq)
    check_room(world)


def cut_everywhere(start: World, merges: bool) -> None:
    """Cut the power at each change of merging or thinning, and compare what is left."""
    files = dict(start.storage.files)
    limit_seq = start.last_of_a_segment()
    cut = 0
    while True:
        for kept_percent in (0, 60, 100):
            world = World()
            world.storage.files = dict(files)
            world.kinds, world.rows, world.times = start.kinds, start.rows, start.times
            world.restart()
            world.storage.kept_percent = kept_percent
            world.storage.cut = cut
            try:
                if merges:
                    merged(world)
                else:
                    world.thin(limit_seq)
                check(cut > 2, cut)
                return
            except PowerCut:
                pass
            world.restart()
            kinds, gone = world.read()
            for seq in range(1, len(world.kinds)):
                money = level_of(world.kinds[seq]) == NEVER
                check(kinds[seq] or (gone[seq] and not money and not merges), (cut, seq))
            equal(world.journal.rotten, 0)
            merged(world)
            world.thin(limit_seq)
            world.check_gone(LEVELS, limit_seq)
        cut += 3 if SMALL else 1


def test_a_power_cut_while_merging_loses_nothing() -> None:
    cut_everywhere(filled(360 if SMALL else RECORDS), True)


def test_a_power_cut_while_it_is_split_loses_nothing() -> None:
    cut_everywhere(bought(350), False)


def test_nothing_is_merged_with_what_is_torn_or_rotten() -> None:
    for spoil in ("torn", "rotten"):
        world = filled()
        names = world.storage.names("j") or []
        for name in (names[1], names[3]):
            if spoil == "torn":
                world.storage.files[name] += b"\x40\x00\x01"
            else:
                world.storage.turn_bit(name, 8 * 700)
        spoilt = {name: world.storage.files[name] for name in (names[1], names[3])}
        world.restart()
        merged(world)
        for name, data in spoilt.items():
            equal(world.storage.files[name], data, (spoil, name))
        kinds, gone = world.read()
        for seq in range(1, len(world.kinds)):
            check(kinds[seq] or (gone[seq] and spoil == "rotten"), (spoil, seq))


def test_a_flash_that_refuses_keeps_its_segments() -> None:
    world = filled()
    files = dict(world.storage.files)
    world.storage.failing = "j"
    merged(world)
    check(world.journal.failures > 0)
    equal(world.storage.files, files)
    world.check_gone(0, 0)


def test_a_segment_that_cannot_be_deleted_does_not_count_twice() -> None:
    world = filled()
    merger = world.merger
    merger.many = 2
    while not world.journal.doubled_seq:
        check(merger.step())
    name = segment_name(world.journal.doubled_seq)
    world.storage.failing = name
    for _ in range(3):
        check(merger.step())
    check(name in world.storage.files)
    world.check_gone(0, 0)
    world.restart()
    world.check_gone(0, 0)
    merged(world)
    world.check_gone(0, 0)
