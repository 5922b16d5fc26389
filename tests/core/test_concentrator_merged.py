"""Goal: segments are merged between the transactions of a line, one change of the flash a step.

Method: the whole application runs on a board in memory, in a module of its own: a merged segment
takes eight kilobytes of an emulated board in one piece.
"""

import gc

from concentrator_world import Bench, Channel
from harness import check, equal
from uplink import record
from uplink.record import RECORD_SIZE

INDEX = 0


def fill_segments(bench: Bench, count: int) -> None:
    """Write records until this many segments are full."""
    journal = bench.app.journal
    while journal.segment_count <= count:
        bench.app.books.note_line(INDEX, record.LINE_ANSWERS, 0x1234)
        check(journal.next_seq % 64 or journal.sync())
    check(journal.sync())


def test_segments_are_merged_between_transactions() -> None:
    uplink = Channel()
    uplink.connection = 0
    bench = Bench(1, uplink)
    bench.read_all()
    bench.insert(bench.card(1, 1000))
    gc.collect()
    fill_segments(bench, 2)
    app = bench.app
    app.journal.large_blocks = 192
    app.journal.measure()
    keeper = app.keeper
    keeper._begin_to_merge()
    check(keeper._merger is not None)
    keeper._merger.many = 2  # type: ignore[union-attr]  # it is not None
    count = app.journal.segment_count
    changes = bench.storage.changes
    for _ in range(3):
        keeper.step(bench.ticks, -1, True)
    check(keeper.wants)
    equal(bench.storage.changes, changes)
    gc.collect()  # two segments are one piece of a small heap
    while keeper.step(bench.ticks, -1) == 0:
        gc.collect()
        changes += 1
        check(bench.storage.changes <= changes, "one change in a step")
    check(app.journal.segment_count < count)
    bench.restart()
    equal(bench.app.ledger.credit_fen[INDEX], 1000)
    buf = bytearray(RECORD_SIZE)
    for seq in range(1, app.journal.durable_seq + 1):
        check(bench.app.journal.read_into(seq, buf), seq)
