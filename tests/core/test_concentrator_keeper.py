"""Goal: a record leaves the flash only when the head-end and two checkpoints have it, and tables
that are saved are those of the records that are durable.

Method: the whole application on a board in memory, with a head-end that acknowledges by hand,
damaged checkpoints, and restarts.
"""

import gc
from array import array

from concentrator.books.tariffs import name_of
from concentrator.storage.checkpoint import file_name
from concentrator_world import INTERVAL_S, Bench, Channel
from harness import check, equal, raises
from ports import Unreadable
from prepay.ledger import CHARGED
from tariff_images import ENDLESS, image, ladder, terms
from uplink import record
from uplink.record import PAYLOAD, RECORD_SIZE, u32_at

INDEX = 0


def upright() -> Bench:
    """Return a bench with a head-end that is away; its account is open and read."""
    uplink = Channel()
    uplink.connection = 0
    bench = Bench(1, uplink)
    for name, value in (("id", "7"), ("uplink_key", "5a" * 32)):
        equal(bench.app.settings.change(name, value), "")
    bench.app.configure()
    bench.read_all()
    bench.insert(bench.card(1, 1000))
    return bench


def acknowledge(bench: Bench, seq: int) -> None:
    """Acknowledge all records up to `seq` as the head-end."""
    session = bench.app.uplink.session
    check(session is not None)
    session.acked_seq = seq  # type: ignore[union-attr]  # it is not None


def fill(bench: Bench, seq: int) -> None:
    """Write records until `seq` is durable."""
    journal = bench.app.journal
    while journal.next_seq <= seq:
        bench.app.books.note_line(INDEX, record.LINE_ANSWERS, 0)
    check(journal.sync())
    equal(journal.durable_seq, seq)


def fill_segments(bench: Bench, count: int) -> int:
    """Write records until this many segments are full; return the last number in them."""
    journal = bench.app.journal
    while journal.segment_count <= count:
        bench.app.books.note_line(INDEX, record.LINE_ANSWERS, 0x1234)
        check(journal.next_seq % 64 or journal.sync())
    check(journal.sync())
    return journal.first_of(count) - 1


def tables(bench: Bench) -> "list[bytes]":
    """Return all that a checkpoint would keep of ledger and meters."""
    app = bench.app
    return [bytes(memoryview(c)) for c in app.ledger.columns() + app.registry.columns()]


def rot(bench: Bench, seq: int) -> None:
    """Turn a bit of the checkpoint as of `seq`."""
    name = file_name(seq)
    data = bytearray(bench.storage.files[name])
    data[len(data) // 2] ^= 4
    bench.storage.files[name] = bytes(data)


def test_another_key_begins_in_the_epoch_of_the_start() -> None:
    """Whoever had the old one may have told the board the last epoch there is."""
    bench = upright()
    uplink = bench.app.uplink
    sealed = uplink._sealed
    assert sealed is not None
    sealed.begin(0xFFFF0000)
    sealed.number = 41
    equal(bench.app.settings.change("uplink_key", "5b" * 32), "")
    bench.app.configure()
    again = uplink._sealed
    assert again is not None
    check(again is not sealed)
    equal(again.epoch, uplink.epoch)
    equal(again.number, 41, "no number of this start comes twice")


def test_the_flash_is_used_between_two_transactions_only() -> None:
    """A request would leave late and a reply be lost while a board erases its flash."""
    bench = Bench(1)
    app = bench.app
    app.keeper.checkpoint_records = 3
    poller = app.pollers[0]
    used = [0, 0]

    def watched(name: str):  # type: ignore[no-untyped-def]  # a function of the storage
        function = getattr(bench.storage, name)

        def call(*arguments):  # type: ignore[no-untyped-def]  # those of the function
            used[poller.is_busy] += 1
            return function(*arguments)

        return call

    for name in ("append", "replace", "remove", "begin", "put", "finish"):
        setattr(bench.storage, name, watched(name))
    for _ in range(6):
        gc.collect()  # the file of a segment is one piece of a small heap
        bench.run(INTERVAL_S * 100)
    equal(used[1], 0)
    check(used[0] >= 6)
    check(app.checkpoint.seq)


def test_nothing_goes_that_the_head_end_does_not_have() -> None:
    bench = upright()
    last = 0
    for segments in (1, 2, 3):
        last = fill_segments(bench, segments)
        check(bench.save())
    first = bench.app.journal.first_of(1) - 1
    bench.run(60)
    equal(bench.app.journal.first_seq, 1)
    acknowledge(bench, first - 1)
    bench.run(60)
    equal(bench.app.journal.first_seq, 1)
    acknowledge(bench, first)
    bench.run(60)
    equal(bench.app.journal.first_seq, first + 1)
    acknowledge(bench, last)
    bench.run(60)
    check(bench.app.journal.first_seq > first + 1)


def test_nothing_goes_that_only_the_newest_checkpoint_has() -> None:
    bench = upright()
    fill(bench, 100)
    check(bench.save())
    fill_segments(bench, 2)
    check(bench.save())
    acknowledge(bench, bench.app.journal.durable_seq)
    bench.run(60)
    equal(bench.app.journal.first_seq, 1)
    before = tables(bench)
    rot(bench, bench.app.checkpoint.seq)
    bench.restart()
    equal(bench.app.checkpoint.seq, 100)
    equal(tables(bench), before)


def test_what_two_checkpoints_and_the_head_end_have_goes() -> None:
    bench = upright()
    fill_segments(bench, 1)
    check(bench.save())
    first = bench.app.journal.first_of(1)
    fill_segments(bench, 3)
    check(bench.save())
    acknowledge(bench, bench.app.journal.durable_seq)
    bench.run(60)
    equal(bench.app.journal.first_seq, first)
    before = tables(bench)
    rot(bench, bench.app.checkpoint.seq)
    bench.restart()
    equal(tables(bench), before)


def test_a_checkpoint_holds_no_charge_that_is_not_durable() -> None:
    bench = upright()
    check(bench.save())
    bench.meters[0].wh[0] += 400
    app = bench.app
    debit_fen = app.ledger.debit_fen[INDEX]
    while app.ledger.debit_fen[INDEX] == debit_fen:
        bench.step()
    check(app.journal.count > 0, "the reading waits to be durable")
    check(bench.save())
    equal(app.checkpoint.seq, app.journal.durable_seq)
    bench.restart()
    app = bench.app
    buf = bytearray(RECORD_SIZE)
    seq = app.journal.durable_seq
    while app.journal.read_into(seq, buf) and record.kind_at(buf, 0) != record.READING:
        seq -= 1
    equal(u32_at(buf, PAYLOAD), app.ledger.debit_fen[INDEX])
    equal(app.ledger.debit_fen[INDEX], debit_fen + 20)


def test_a_charge_that_a_part_holds_is_durable_before_the_end() -> None:
    """It was made during the checkpoint, and is only in the columns written after it."""
    bench = upright()
    check(bench.save())
    note(bench)
    app = bench.app
    check(app.keeper.begin())
    seq = app.journal.durable_seq
    debit_fen = app.ledger.debit_fen[INDEX]
    books = app.books
    books.t2000 = bench.t2000
    values = array("i", (bench.meters[0].wh[0] + bench.meters[0].wh[1] + 400, 1400, 500, 0, 0))
    equal(books.charge_reading(INDEX, values, 5, record.STATUS_UNKNOWN), CHARGED)
    check(app.journal.count > 0, "the reading waits to be durable")
    while app.checkpoint.busy:
        app.keeper.step(bench.ticks, -1)
    equal((app.checkpoint.seq, app.journal.count), (seq, 0))
    for name in bench.storage.names("k") or ():
        bench.restart()
        equal(bench.app.ledger.debit_fen[INDEX], debit_fen + 20, "charged once")
        del bench.storage.files[name]


def test_a_flash_that_takes_no_records_gets_no_end_of_a_checkpoint() -> None:
    bench = upright()
    check(bench.save())
    seq = bench.app.checkpoint.seq
    note(bench)
    app = bench.app
    check(app.keeper.begin())
    app.books.note_line(INDEX, record.LINE_ANSWERS, 0)
    bench.storage.failing = "j"
    while app.checkpoint.busy:
        app.keeper.step(bench.ticks, -1)
    equal((app.checkpoint.seq, bench.storage.names("k")), (seq, [file_name(seq)]))
    bench.storage.failing = ""
    check(bench.save())


def test_one_that_the_flash_refuses_is_not_tried_again_at_once() -> None:
    bench = upright()
    app = bench.app
    fill(bench, app.journal.next_seq + 100)
    app.keeper.checkpoint_records = 64
    bench.storage.failing = "k"
    changes = bench.storage.changes
    bench.run(130)
    check(bench.storage.changes - changes <= 12, "only when there is more to keep")
    bench.storage.failing = ""
    fill(bench, app.journal.next_seq + 100)
    bench.run(60)
    check(app.checkpoint.seq > 0)


def test_parts_are_written_between_transactions() -> None:
    bench = Bench(3)
    bench.read_all()
    app = bench.app
    put = bench.storage.put
    busy: list[bool] = []

    def note_busy(buf: bytes, size: int) -> bool:
        busy.append(app.pollers[0].master.busy != 0)
        return put(buf, size)

    bench.storage.put = note_busy  # type: ignore[assignment,method-assign]  # it is noted
    bench.now_ms += 1000 * INTERVAL_S
    app.wake()
    while not app.pollers[0].is_busy:
        bench.step()
    check(app.keeper.begin())
    asked = 0
    was_busy = False
    while app.checkpoint.busy:
        is_busy = app.pollers[0].is_busy
        asked += is_busy and not was_busy
        was_busy = is_busy
        bench.step()
    # The caller of `begin` writes the head.
    equal(busy[1:], [False] * (len(busy) - 1))
    check(asked >= 2, "the line goes on meanwhile")
    check(app.checkpoint.seq > 0)


def test_a_line_that_does_not_come_to_rest_is_not_waited_for_for_ever() -> None:
    bench = upright()
    keeper = bench.app.keeper
    note(bench)
    check(keeper.begin())
    ticks = bench.ticks
    seq = bench.app.checkpoint.seq
    passed_ms = 0
    while bench.app.checkpoint.busy:
        check(keeper.step((ticks + passed_ms) & 0x1FFFFFFF, -1, True) <= 1000)
        passed_ms += 1000
    check(bench.app.checkpoint.seq > seq)
    check(passed_ms > 60000, passed_ms)


def test_a_checkpoint_is_not_written_while_the_flash_takes_no_records() -> None:
    bench = upright()
    check(bench.save())
    seq = bench.app.checkpoint.seq
    bench.app.books.note_line(INDEX, record.LINE_ANSWERS, 0)
    bench.storage.failing = "j"
    check(not bench.save())
    equal(bench.app.checkpoint.seq, seq)


def test_few_records_are_worth_a_checkpoint_while_no_reading_has_room() -> None:
    bench = upright()
    journal = bench.app.journal
    for _ in range(6):  # These segments have few records each, as torn appends leave them.
        bench.app.books.note_line(INDEX, record.LINE_ANSWERS, 0)
        check(journal.sync())
        bench.storage.files[(bench.storage.names("j") or [])[-1]] += b"torn"
        bench.restart()
        journal = bench.app.journal
    acknowledge(bench, journal.durable_seq)
    bench.storage.total_blocks = len(bench.storage.files) + 2
    journal.measure()
    check(journal.is_short)
    seq = journal.durable_seq

    bench.run(200)
    check(0 < bench.app.checkpoint.seq - seq < 8, "a checkpoint was written")
    bench.insert(bench.card(2, 1000))
    bench.run(200)
    acknowledge(bench, journal.durable_seq)
    bench.run(200)

    check(not journal.is_short, "segments have gone")


def test_torn_segments_go_although_no_record_is_left_for_a_newer_checkpoint() -> None:
    """Both checkpoints have all records, but the older one lacks those of the torn segments."""
    bench = upright()
    check(bench.save())
    for _ in range(6):
        note(bench)
        bench.storage.files[(bench.storage.names("j") or [])[-1]] += b"torn"
        bench.restart()
    check(bench.save())
    journal = bench.app.journal
    seq = journal.durable_seq
    check(bench.app.checkpoint.older_seq < journal.first_of(2))
    acknowledge(bench, seq)
    bench.storage.total_blocks = len(bench.storage.files) + 2
    journal.measure()
    check(journal.is_short)

    bench.run(300)
    equal((journal.durable_seq, bench.app.checkpoint.older_seq), (seq, seq))
    check(not journal.is_short, "segments have gone")
    before = tables(bench)
    rot(bench, seq)
    bench.restart()
    equal((tables(bench), bench.app.checkpoint.seq), (before, seq))


def test_a_flash_that_took_nothing_for_a_while_has_its_room_again() -> None:
    bench = upright()
    journal = bench.app.journal
    takes = bench.storage.append
    bench.storage.append = lambda name, buf, size: False  # type: ignore[method-assign]  # it fails
    for _ in range(20):
        bench.app.books.note_line(INDEX, record.LINE_ANSWERS, 0)
        check(not journal.sync())
        bench.run(1)
    bench.storage.append = takes  # type: ignore[method-assign]  # as it was
    bench.run(60)

    equal((journal.count, journal.free_blocks), (0, bench.storage.blocks()[1]))


def test_a_checkpoint_comes_by_itself_when_blocks_become_few() -> None:
    bench = upright()
    app = bench.app
    fill(bench, 200)
    bench.run(60)
    equal(app.checkpoint.seq, 0, "there is room enough")
    bench.storage.total_blocks = len(bench.storage.files) + 8
    app.journal.measure()
    bench.run(60)
    check(app.checkpoint.seq >= 200)
    seq = app.checkpoint.seq
    fill(bench, app.journal.next_seq + 10)
    bench.run(60)
    equal(app.checkpoint.seq, seq, "but not for a few records")


def put_tariff(bench: Bench, price_e8: int) -> None:
    """Put another image of tariff 1 in force."""
    data = image(2, 1, (ladder((), (price_e8, 25000000)),), (terms(0, ENDLESS),))
    tariffs = bench.app.tariffs
    name = name_of(data)
    tariffs.begin(len(data))
    tariffs.put(0, data)
    equal(tariffs.store(1, name), "")
    check(bench.app.books.set_tariff(1, name, len(data)))


def note(bench: Bench) -> None:
    """Write one more record."""
    fill(bench, bench.app.journal.next_seq)


def test_a_removal_that_the_flash_refuses_is_tried_again_after_some_seconds() -> None:
    bench = upright()
    for segments in (1, 2):
        fill_segments(bench, segments)
        check(bench.save())
    app = bench.app
    acknowledge(bench, app.journal.durable_seq)
    first_seq = app.journal.first_seq
    bench.storage.failing = "j"
    failures = app.journal.failures
    for turn in range(300):
        app.keeper.step(bench.ticks + turn * 100, app.journal.durable_seq)
    equal(app.journal.failures - failures, 3, "once in 10 s")
    equal(app.journal.first_seq, first_seq)
    bench.storage.failing = ""
    app.keeper.step(bench.ticks + 400 * 100, app.journal.durable_seq)
    check(app.journal.first_seq > first_seq)


def test_what_was_used_while_readings_had_no_room_is_charged_to_the_digit_afterwards() -> None:
    """The first charge behind such a gap goes from the last reading that was written."""
    bench = upright()
    app = bench.app
    debit_fen = app.ledger.debit_fen[INDEX]
    bench.storage.total_blocks = len(bench.storage.files) + 2
    app.journal.measure()
    check(app.journal.is_short)
    for _ in range(8):
        bench.meters[0].wh[0] += 400
        bench.read_all()
    check(app.books.refused >= 8)
    equal(app.ledger.debit_fen[INDEX], debit_fen)
    bench.storage.total_blocks += 100
    app.journal.measure()
    bench.read_all()
    equal(app.ledger.debit_fen[INDEX], debit_fen + 8 * 20)
    check(app.journal.sync())
    bench.restart()
    equal(bench.app.ledger.debit_fen[INDEX], debit_fen + 8 * 20)


def test_a_turned_bit_behind_a_checkpoint_costs_no_purchase_and_no_number() -> None:
    """The whole concentrator starts from a newest segment with each of its bits turned in turn."""
    bench = upright()
    check(bench.save())
    for _ in range(3):
        bench.meters[0].wh[0] += 400
        bench.read_all()
    bench.app.journal.sync()
    ledger = bench.app.ledger
    before = (ledger.order[INDEX], ledger.credit_fen[INDEX])
    durable_seq = bench.app.journal.durable_seq
    files = dict(bench.storage.files)
    name = (bench.storage.names("j") or [])[-1]
    for bit in range(0, 8 * len(files[name]), 97):
        bench.storage.files = dict(files)
        bench.storage.turn_bit(name, bit)
        bench.restart()
        ledger = bench.app.ledger
        equal((ledger.order[INDEX], ledger.credit_fen[INDEX]), before, bit)
        check(bench.app.journal.rotten > 0, bit)
        check(bench.app.journal.next_seq > durable_seq, bit)
        check(name in bench.storage.files, bit)


def test_free_blocks_are_counted_without_asking_the_flash() -> None:
    """A question to the flash costs as much as reading every file."""
    bench = upright()
    storage = bench.storage
    blocks = storage.blocks
    bench.app.journal.measure()
    storage.blocks = lambda: (0, 0)  # type: ignore[method-assign]  # it does not tell any more
    for segments in (1, 2, 3, 4):
        fill_segments(bench, segments)
        check(bench.save())
        equal(bench.app.journal.free_blocks, blocks()[1], segments)
    acknowledge(bench, bench.app.journal.durable_seq)
    bench.run(60)
    check(bench.app.journal.first_seq > 1)
    equal(bench.app.journal.free_blocks, blocks()[1])


def test_the_image_that_the_older_checkpoint_names_stays() -> None:
    """If the newest checkpoint is damaged, readings behind the older one are charged again."""
    bench = upright()
    put_tariff(bench, 60000000)
    check(bench.save())
    equal(len(bench.storage.names("t")), 2, "it may be all that is left")
    note(bench)
    check(bench.save())
    equal(len(bench.storage.names("t")), 1, "nothing names the first one any more")
    bench.meters[0].wh[0] += 400
    bench.read_all()
    put_tariff(bench, 70000000)
    for _ in range(2):
        check(bench.save())
        equal(len(bench.storage.names("t")), 2, "both are named, however often that is saved")
    before = tables(bench)
    rot(bench, bench.app.checkpoint.seq)
    bench.restart()
    equal(tables(bench), before)
    for _ in range(3):
        note(bench)
        check(bench.save())
    equal(len(bench.storage.names("t")), 1)
    check(bench.app.tariffs.find(1) is not None)


def test_an_image_put_in_force_while_a_checkpoint_is_written_stays() -> None:
    """The column of its tariffs was written earlier, and names the replaced image."""
    bench = upright()
    note(bench)
    check(bench.save())
    note(bench)
    check(bench.app.keeper.begin())
    put_tariff(bench, 60000000)
    while bench.app.checkpoint.busy:
        bench.app.keeper.step(bench.ticks, -1)
    bench.app.keeper.step(bench.ticks, -1)
    equal(len(bench.storage.names("t") or ()), 2)


def test_a_checkpoint_that_cannot_be_read_stops_the_start_where_records_are_gone() -> None:
    bench = upright()
    fill_segments(bench, 1)
    check(bench.save())
    fill_segments(bench, 3)
    check(bench.save())
    older_seq, newest_seq = bench.app.checkpoint.older_seq, bench.app.checkpoint.seq
    acknowledge(bench, bench.app.journal.durable_seq)
    bench.run(60)
    check(bench.app.journal.first_seq > 1, "the oldest segment is gone")
    before = tables(bench)
    files = dict(bench.storage.files)
    read_into = bench.storage.read_into
    unread: list[str] = []

    def read(name: str, offset: int, buf: bytearray, size: int) -> int:
        return -2 if name in unread else read_into(name, offset, buf, size)

    bench.storage.read_into = read  # type: ignore[method-assign]  # bad blocks
    unread.append(file_name(newest_seq))
    bench.restart()
    equal(tables(bench), before, "the older one and the records behind it")
    unread.append(file_name(older_seq))
    raises(Unreadable, bench.restart)
    for name in files:
        check(name in bench.storage.files, name)
    unread.clear()
    bench.restart()
    equal(tables(bench), before)


def test_no_number_up_to_a_checkpoint_that_is_gone_is_used_again() -> None:
    bench = upright()
    fill_segments(bench, 1)
    check(bench.save())
    kept = bench.storage.names("j") or []
    fill_segments(bench, 3)
    check(bench.save())
    seq = bench.app.checkpoint.seq
    rot(bench, seq)
    # The segments behind the older checkpoint went with it.
    for name in bench.storage.names("j") or ():
        if name not in kept:
            del bench.storage.files[name]
    bench.restart()
    check(bench.app.journal.next_seq > seq)
