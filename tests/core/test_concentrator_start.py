"""Goal: a start takes over what is on flash whole, or does not start; a power cut or a failing
read at any moment deletes no record, changes no balance and uses no number again.

Method: the whole application on a board in memory; every read of the flash by a start fails, once
and from then on; the power is cut at each change while a checkpoint is written a part at a time
and accounts are charged between the parts.
"""

import sys
from array import array

import main
from card.image import REFUND
from card_world import header, memory
from concentrator.console.commands import Commands
from concentrator.lamps import LOOK
from concentrator.storage.checkpoint import file_name
from concentrator_world import Bench, Meter
from harness import check, equal
from ports import Unreadable
from prepay.ledger import CHARGED
from uplink.record import RECORD_SIZE, STATUS_UNKNOWN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

SMALL = sys.maxsize < 1 << 32  # an emulated board is slow
METERS = 3


def village() -> Bench:
    """Return three accounts that have bought and were charged, two checkpoints, later records."""
    bench = Bench(METERS)
    equal(bench.app.settings.change("console_key", "5a" * 16), "")
    bench.read_all()
    bench.insert(bench.card(1, 5000))
    for _ in range(2):
        for meter in bench.meters:
            meter.wh[0] += 300
        bench.read_all()
        check(bench.save())
        note(bench)
    for meter in bench.meters:
        meter.wh[0] += 500
    bench.read_all()
    check(bench.app.journal.sync())
    return bench


def note(bench: Bench) -> None:
    """Write a record that changes no table."""
    bench.app.books.note_line(0, 0, 0)
    check(bench.app.journal.sync())


def tables(bench: Bench) -> "list[bytes]":
    """Return money and meters of all accounts.

    They leave out the tier period, which is found again once the tariff can be read, and the last
    midnight that was asked for its freeze, which no record has.
    """
    app = bench.app
    left_out = (id(app.ledger.period_t2000), id(app.registry.freeze_day))
    columns = app.ledger.columns() + app.registry.columns()
    return [bytes(memoryview(column)) for column in columns if id(column) not in left_out]


def records(bench: Bench) -> "list[bytes]":
    """Return all durable records."""
    journal = bench.app.journal
    buf = bytearray(RECORD_SIZE)
    found = []
    for seq in range(journal.first_seq, journal.durable_seq + 1):
        found.append(bytes(buf) if journal.read_into(seq, buf) else b"")
    return found


def test_a_look_that_fails_at_the_start_costs_nothing() -> None:
    bench = village()
    storage = bench.storage
    before = tables(bench)
    kept = records(bench)
    next_seq = bench.app.journal.next_seq
    files = dict(storage.files)
    storage.looks = 0
    bench.restart()
    equal(tables(bench), before)
    refused = 0
    for stays in (False, True):
        for look in range(1, storage.looks + 1, 9 if SMALL else 1):
            what = look, stays
            storage.files = dict(files)
            storage.looks, storage.look_fails, storage.looks_fail = 0, look, stays
            try:
                bench.restart()
            except Unreadable:
                refused += 1
                equal(storage.files, files, what)
            else:
                equal(tables(bench), before, what)
                check(bench.app.journal.next_seq >= next_seq, what)
                check(not bench.app.login.is_open, what)
            storage.look_fails, storage.looks_fail = 0, False
            # The next start has everything.
            bench.restart()
            equal((tables(bench), records(bench)[: len(kept)]), (before, kept), what)
    check(refused > 0)


def test_whatever_the_flash_does_not_tell_it_is_no_new_device() -> None:
    bench = village()
    bench.storage.looks_fail, bench.storage.look_fails = True, 1
    files = dict(bench.storage.files)
    raised = False
    try:
        bench.restart()
    except Unreadable:
        raised = True
    check(raised)
    equal(bench.storage.files, files)


def test_a_start_that_is_refused_says_so_and_lights_a_lamp() -> None:
    bench = village()
    bench.storage.looks_fail, bench.storage.look_fails = True, 1
    shown: list[int] = []

    class Board:
        """The flash of this board does not answer."""

        def signal(self, signals: int) -> None:
            shown.append(signals)

    def build(board: object) -> object:
        bench.restart()
        return bench.app

    kept = main.open_board, main.build
    main.open_board = lambda platform: Board()  # type: ignore[assignment,return-value]  # a fake
    main.build = build  # type: ignore[assignment]  # a fake
    try:
        equal(main.main(), 3)
    finally:
        main.open_board, main.build = kept
    equal(shown, [LOOK])


def test_an_unread_checkpoint_is_left_where_records_tell_the_rest() -> None:
    bench = village()
    before = tables(bench)
    name = file_name(bench.app.checkpoint.seq)
    read_into = bench.storage.read_into

    def read(file: str, offset: int, buf: bytearray, size: int) -> int:
        return -2 if file == name else read_into(file, offset, buf, size)

    bench.storage.read_into = read  # type: ignore[method-assign]  # a bad block
    bench.restart()
    equal(tables(bench), before)
    check(name in bench.storage.files)


def charge(bench: Bench, index: int, wh: int) -> None:
    """Read a meter that has counted further."""
    books = bench.app.books
    books.t2000 = max(books.t2000, bench.t2000) + 60
    meter = bench.meters[index]
    meter.wh[0] += wh
    values = array("i", (sum(meter.wh), meter.wh[0], meter.wh[1], 0, 0))
    equal(books.charge_reading(index, values, len(values), STATUS_UNKNOWN), CHARGED)


def parts_of_a_checkpoint() -> int:
    """Count the steps that a checkpoint of the village takes."""
    bench = village()
    keeper = bench.app.keeper
    check(keeper.begin())
    parts = 0
    while bench.app.checkpoint.busy:
        keeper.step(bench.ticks, -1)
        parts += 1
    bench.stop()
    return parts


def cut_between_the_parts(cut_at: int) -> None:
    """Cut the power after this many parts, with a charge before each of them."""
    bench = village()
    app = bench.app
    check(app.keeper.begin())
    written = 0
    while app.checkpoint.busy and written < cut_at:
        # One reading waits in memory, one is durable, and its charge may be written.
        charge(bench, written % METERS, 40 + written)
        if written % 2:
            check(app.journal.sync())
        app.keeper.step(bench.ticks, -1)
        written += 1
    if cut_at % 2 == 1:
        check(app.journal.sync())
    durable_seq = app.journal.durable_seq
    count = app.journal.count
    expected = tables(bench)
    app = None  # type: ignore[assignment]  # so that it can go
    bench.restart()
    check(bench.app.journal.durable_seq >= durable_seq)
    if count == 0:
        equal(tables(bench), expected, cut_at)
    replayed = from_records(bench)
    equal(tables(bench), replayed, cut_at)
    bench.stop()


def test_power_cuts_between_the_parts_of_a_checkpoint() -> None:
    """Columns are of different moments; the records behind the first one correct all of them."""
    parts = parts_of_a_checkpoint()
    check(parts > 20, parts)
    for cut_at in range(0, parts + 1, 5 if SMALL else 1):
        cut_between_the_parts(cut_at)


def from_records(bench: Bench) -> "list[bytes]":
    """Return the tables that the records alone make, without the checkpoints."""
    files = {name: data for name, data in bench.storage.files.items() if name[0] != "k"}
    kept, bench.storage.files = bench.storage.files, files
    bench.restart()
    found = tables(bench)
    bench.storage.files = kept
    bench.restart()
    return found


def test_books_that_are_behind_stay_so() -> None:
    bench = village()
    bench.app.books.set_behind(True)
    for save in (False, True, True):
        if save:
            note(bench)
            check(bench.save())
        bench.restart()
        check(bench.app.books.behind)
        check("books behind" in Commands(bench.app).run("status"))
        equal(bench.insert(bench.card(2, 5000))[1], 0)
    equal(bench.app.restored(), "")
    for save in (False, True):
        if save:
            check(bench.save())
        bench.restart()
        check(not bench.app.books.behind)
    equal(bench.insert(bench.card(2, 5000))[1], 1)


def acts(bench: Bench) -> "list[Callable[[], object]]":
    """Return all actions that change tables, one after the other."""
    run = Commands(bench.app).run
    forged = bench.card(9, 7777)
    forged[70] ^= 1
    return [
        lambda: bench.insert(bench.card(2, 700)),
        lambda: bench.insert(forged),
        lambda: run("account set 18 debt_fen 300"),
        lambda: charge(bench, 0, 90),
        lambda: bench.insert(bench.card(3, 800)),
        lambda: bench.insert(forged),
        lambda: charge(bench, 1, 50),
        lambda: run("account set 19 grade 2"),
        lambda: run("meter exchange 18 000000000077 " + kwh(bench.meters[1])),
        lambda: run("supply 17 cut"),
        lambda: bench.insert(memory(header(4, 60, REFUND))),
        lambda: charge(bench, 2, 70),
        lambda: run("meter remove 19"),
        lambda: run("supply 17 restore"),
        lambda: bench.app.books.set_behind(True),
    ]


def kwh(meter: Meter) -> str:
    """Return what the meter's display shows: all energy, and that of each rate."""
    texts = []
    for wh in (sum(meter.wh), meter.wh[0], meter.wh[1]):
        texts.append(str(wh // 1000) + "." + str(1000 + wh % 1000)[1:3])
    return " ".join(texts)


def counted(bench: Bench) -> "list[bytes]":
    """Return the tables, and the count of cards that are not genuine."""
    found = tables(bench)
    found.append(bytes(memoryview(bench.app.books.illegal)))
    found.append(bytes(bench.app.books.standing))
    return found


def acts_between_the_parts(lead: int) -> None:
    """Begin behind `lead` parts; write one part between one act and the next."""
    bench = village()
    app = bench.app
    equal(app.settings.change_all([("debt_percent", "50"), ("emergency_fen", "500")]), "")
    app.configure()
    app.login.key = b""
    check(app.keeper.begin())
    seq = app.journal.durable_seq
    step = app.keeper.step
    app.keeper.step = lambda *_: 1000  # type: ignore[method-assign]  # only as the test says
    for _ in range(lead):
        if app.checkpoint.busy:
            step(bench.ticks, -1)
    for act in acts(bench):
        act()
        if app.checkpoint.busy:
            step(bench.ticks, -1)
    while app.checkpoint.busy:
        step(bench.ticks, -1)
    equal(app.checkpoint.seq, seq)
    expected = counted(bench)
    check(app.journal.sync())
    app = step = None  # type: ignore[assignment]  # so that it can go
    bench.restart()
    equal(bench.app.checkpoint.seq, seq)
    found = counted(bench)
    files = {name: data for name, data in bench.storage.files.items() if name[0] != "k"}
    bench.storage.files = files
    bench.restart()
    alone = counted(bench)
    for column in range(len(found)):
        equal(alone[column], expected[column], ("the records", lead, column))
        equal(found[column], expected[column], ("the checkpoint", lead, column))
    bench.stop()


def test_whatever_comes_between_the_parts_counts_once() -> None:
    for lead in range(0, 40, 9 if SMALL else 1):
        acts_between_the_parts(lead)
