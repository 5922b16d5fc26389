"""Goal: a concentrator that lost its books takes no card before they are restored, and then has
all.

Method: the whole application runs on boards in memory. Old images of cards are put back at another
board of the same district key; standings are given by the console, read back, and lost with the
power.
"""

from card import codes, image
from card.redemption import BEHIND, UNTOLD
from card_world import ACCOUNT, header, memory, standing
from concentrator.books import registry as meters
from concentrator.console.commands import Commands
from concentrator.console.console import Refusal
from concentrator_world import START_T2000, Bench, lines_of
from harness import check, equal
from prepay import policy as rules
from prepay.accounts import GUARD, STOPPED
from uplink import record
from uplink.session import AHEAD, IDLE, READY

INDEX = 0
NAME = "000000000017"
MAC = b"\x11\x22\x33\x44\x55\x66\x77\x88"


def said(bench: Bench, text: str) -> str:
    """Return the last line of a console command, or the reason of its refusal."""
    try:
        return lines_of(Commands(bench.app).run(text))[-1]
    except Refusal as refusal:
        return str(refusal)


def replaced() -> Bench:
    """Return a board with one account, newly registered, that was read once."""
    bench = Bench()
    check(bench.app.books.set_meter(INDEX, bench.app.registry.row(INDEX), True))
    bench.read_all()
    return bench


def row(bench: Bench) -> "list[int]":
    """Return the ledger's row of the account, and the desired state of its relay."""
    ledger = bench.app.ledger
    found = []
    for column in ledger.columns():
        items = len(column) // len(ledger.flags)
        found.extend(list(column[INDEX * items : (INDEX + 1) * items]))
    found.append(bench.app.registry.relay[INDEX] & meters.DESIRED_OPEN)
    return found


def tell(bench: Bench, told: bytes) -> str:
    """Restore the account over the console."""
    return said(bench, "account restore 17 " + told.hex())


# --- cards ---------------------------------------------------------------------------------------


def test_images_put_back_where_the_household_moved() -> None:
    """Images dumped at two concentrators with one district key count once."""
    home = Bench()
    images = [home.card(1, 5000), home.card(2, 3000)]
    for one in images:
        equal(home.insert(bytearray(one)), (codes.OK, 1))
    other = replaced()
    before = [bytearray(one) for one in images]
    for one in images:
        equal(other.insert(one), (codes.NO_STANDING, 0))
    equal(images, before, "a mark that tells nothing is not written over one that does")
    other.restart()
    equal(other.insert(bytearray(images[0])), (codes.NO_STANDING, 0), "a restart forgets it not")
    equal(tell(other, home.app.books.standing_of(INDEX)), "order 2")
    equal(other.app.ledger.balance_fen(INDEX), 8000)
    for one, code in ((images[0], codes.ORDER_BEHIND), (images[1], codes.COMPLETED)):
        equal(other.insert(bytearray(one)), (code, 0))
    equal(other.insert(other.card(3, 100)), (codes.OK, 1))
    equal(other.app.ledger.balance_fen(INDEX), 8100)


def test_another_amount_under_the_last_order() -> None:
    """This happens when a restored head-end sells an order twice, or when a refund is changed."""
    bench = Bench()
    first = bench.card(1, 7000)
    equal(bench.insert(first), (codes.OK, 1))
    for other in (header(1, 2000, image.OPEN), header(1, 7000, image.REPLACEMENT)):
        card = memory(other)
        equal(bench.insert(card), (codes.OTHER_CARD, 0))
        equal(card, memory(other), "no mark says that it was redeemed")
        bench.restart()
    equal(bench.insert(memory(header(1, 7000, image.OPEN))), (codes.COMPLETED, 0))
    refund = memory(header(2, 1000, image.REFUND))
    equal(bench.insert(bytearray(refund)), (codes.OK, 1))
    changed = memory(header(2, 6000, image.REFUND))
    equal(bench.insert(changed), (codes.OTHER_CARD, 0))
    equal(bench.insert(refund), (codes.COMPLETED, 0))
    equal(bench.app.ledger.balance_fen(INDEX), 6000)


def test_a_new_account_takes_its_first_card() -> None:
    bench = replaced()
    equal(bench.app.books.last_order(INDEX), UNTOLD)
    equal(said(bench, "account new 17"), "cards are taken")
    check("is known here" in said(bench, "account new 17"))
    bench.restart()
    equal(bench.app.books.last_order(INDEX), 0)
    equal(bench.insert(bench.card(2, 100)), (codes.NOT_OPENED, 0))
    equal(bench.insert(bench.card(1, 100)), (codes.OK, 1))
    equal(bench.app.ledger.is_told(INDEX), True)


def test_a_meter_that_is_added_again_keeps_its_books() -> None:
    bench = Bench()
    equal(bench.insert(bench.card(1, 5000)), (codes.OK, 1))
    said(bench, "meter remove 17")
    check("2007" in said(bench, "meter add 983764 17 1 0 2007"), "nothing has to be told")
    equal(bench.insert(bench.card(2, 100)), (codes.OK, 1))
    check("no card is taken until" in said(bench, "meter add 7 8 1"))
    equal(bench.app.books.last_order(1), UNTOLD)
    said(bench, "meter remove 8")
    check("no card is taken until" in said(bench, "meter add 7 8 1"), "it was not told meanwhile")
    check(bench.app.books.set_behind(True))
    equal((bench.app.books.last_order(0), bench.app.books.last_order(1)), (BEHIND, BEHIND))


# --- standing ------------------------------------------------------------------------------------


def test_an_empty_concentrator_holds_what_the_head_end_knew() -> None:
    """1000.00 was paid, 950.00 charged, 1900 kWh used; 3 kWh are newer than the last report."""
    bench = replaced()
    wh = bench.meters[0].wh
    wh[0] += 3000
    bench.read_all()
    check(bench.app.ledger.debit_fen[INDEX] > 0, "it is charged meanwhile")
    equal(bench.app.ledger.state[INDEX], rules.NORMAL, "and not cut")
    told = standing(
        *(7, 100000, 95000, MAC, (12345, 678)),
        registers_wh=(wh[0] - 3000, wh[1], 0, 0, 0, 0, 0, 0),
        read_t2000=START_T2000,
        counted=(1900000, 0, 0, 0),
    )
    equal(tell(bench, told), "order 7")
    ledger = bench.app.ledger
    for restarted in (False, True):
        if restarted:
            bench.restart()
            ledger = bench.app.ledger
        equal((ledger.balance_fen(INDEX), ledger.used_wh[INDEX]), (5000, 1900000))
        equal((ledger.residue_e7[INDEX], ledger.residue_e11[INDEX]), (12345, 678))
        equal(bytes(ledger.header_mac_of(INDEX)), MAC)
    bench.read_all()
    equal((ledger.balance_fen(INDEX), ledger.used_wh[INDEX]), (5000 - 150, 1903000))
    equal((ledger.residue_e7[INDEX], ledger.residue_e11[INDEX]), (12345, 678))


def test_what_is_told_is_what_was() -> None:
    home = Bench()
    books = home.app.books
    home.read_all()
    equal(home.insert(home.card(1, 5000)), (codes.OK, 1))
    check(books.set_terms(INDEX, 0, 2, 30, 1, 900))
    home.meters[0].wh[0] += 1234
    home.read_all()
    home.app.ledger.set_used(INDEX, 4321, START_T2000 // 3600 * 3600 + 2, 0x3C, 300 << 20 | 77)
    other = replaced()
    equal(tell(other, books.standing_of(INDEX)), "order 1")
    expected = row(home)
    equal(row(other), expected)
    other.restart()
    equal(row(other), expected)
    equal(other.app.books.standing_of(INDEX), books.standing_of(INDEX))
    line = said(home, "account standing 17")
    equal(line, "account restore " + NAME + " " + books.standing_of(INDEX).hex())
    check(said(other, line).startswith("kept, the books here know no less"), "told again")


def test_who_was_cut_is_cut_and_who_was_protected_is_not() -> None:
    for marks, relay, is_open in ((0, 1, True), (1, 0, False), (2, 0, False)):
        bench = replaced()
        state = rules.CUT if relay else rules.NORMAL
        now = bench.t2000
        wh = bench.meters[0].wh
        told = standing(
            *(3, 100, 200, MAC),
            state=state,
            relay=relay,
            marks=marks,
            since_t2000=now - 60,
            registers_wh=(wh[0], wh[1], 0, 0, 0, 0, 0, 0),
            read_t2000=now - 60,
        )
        equal(tell(bench, told), "order 3")
        flags = bench.app.ledger.flags[INDEX]
        equal((flags & GUARD != 0, flags & STOPPED != 0), (marks == 1, marks == 2))
        bench.read_all()
        bench.run(60)
        equal(bench.meters[0].open, is_open, marks)


def test_books_that_know_more_stay_as_they_are() -> None:
    bench = Bench()
    bench.read_all()
    for order in (1, 2):
        equal(bench.insert(bench.card(order, 500)), (codes.OK, 1))
    bench.meters[0].wh[0] += 1000
    bench.read_all()
    ledger = bench.app.ledger
    debit_fen = ledger.debit_fen[INDEX]
    before = row(bench)
    for order, credit_fen, debit in (
        (1, 500, 0),
        (1, 9000, 9000),
        (2, 1000, debit_fen),
        (2, 1000, debit_fen - 1),
        (0, 0, 0),
    ):
        kept = tell(bench, standing(order, credit_fen, debit, MAC))
        equal(kept, "kept, the books here know no less: their newest order is 2")
        equal(row(bench), before, order)
    for credit_fen, debit in ((999, debit_fen + 1), (1001, debit_fen - 1)):
        trouble = tell(bench, standing(2, credit_fen, debit, MAC))
        equal(trouble, "these and the books here have both gone on since order 2")
        equal(row(bench), before)
    equal(tell(bench, standing(2, 1000, debit_fen + 7, MAC)), "order 2")
    equal((ledger.debit_fen[INDEX], ledger.credit_fen[INDEX]), (debit_fen + 7, 1000))
    equal(tell(bench, standing(3, 900, debit_fen, MAC)), "order 3", "a refund it never saw")
    equal((ledger.debit_fen[INDEX], ledger.credit_fen[INDEX]), (debit_fen, 900))


def test_a_big_account_is_told_apart_across_the_turn_of_its_counts() -> None:
    bench = replaced()
    turn = 1 << 32
    equal(tell(bench, standing(5, turn - 10, turn - 20, MAC)), "order 5")
    equal(bench.app.ledger.balance_fen(INDEX), 10)
    check(tell(bench, standing(5, turn - 11, turn - 20, MAC)).startswith("kept"))
    equal(tell(bench, standing(5, turn - 10, 3, MAC)), "order 5")
    equal(bench.app.ledger.balance_fen(INDEX), -13)


def test_what_is_no_standing_is_refused() -> None:
    bench = replaced()
    before = row(bench)
    good = standing(5, 900, 100, MAC)
    for told, why in (
        (good[:-1], "212 hexadecimal digits"),
        (good + b"0", "212 hexadecimal digits"),
        (standing(0x80000000), "no standing"),
        (standing(5, residues=(100000, 0)), "no standing"),
        (standing(5, residues=(0, 10000)), "no standing"),
        (standing(5, household=16), "no standing"),
        (standing(5, grade=4), "no standing"),
        (standing(5, state=9), "no standing"),
        (standing(5, relay=2), "no standing"),
        (standing(5, debt_fen=1 << 30), "no standing"),
        (standing(5, registers_wh=(1000000000, 0, 0, 0, 0, 0, 0, 0)), "no standing"),
        (standing(5, counted=(0, 0, 0x30, 0)), "no standing"),
        (standing(5, tariff=2), "there is no tariff 2, load it first"),
        (standing(5, household=1), "no such kind of household"),
        (standing(5, counted=(0, 0, 0x11066C, 0)), "no such kind of household"),
    ):
        check(why in tell(bench, told), (why, tell(bench, told)))
        equal(row(bench), before, why)
    check("212 hexadecimal digits" in said(bench, "account restore 17 xyz"))
    check("no account 99" in said(bench, "account restore 99 " + good.hex()))
    bench.storage.full = True
    bench.storage.failing = "j"
    check("flash" in tell(bench, good), tell(bench, good))
    equal(row(bench), before)
    bench.storage.full = False
    bench.storage.failing = ""
    bench.restart()
    equal(bench.app.books.last_order(INDEX), UNTOLD)


class Session:
    """The uplink needs these of an answered session: `acked_seq` and `wanted`."""

    def __init__(self, acked_seq: int) -> None:
        self.acked_seq = acked_seq
        self.wanted = False
        self.told_t2000 = 0
        self.order = b""
        self.outcome = IDLE
        self.tx_size = 0
        self.stale = False
        self.state = READY

    def reset(self) -> None:
        """Do nothing."""

    def poll(self, now_ticks: int) -> int:
        """Bring nothing."""
        return self.outcome


class Channel:
    """This connection stands, and takes nothing."""

    connection = 1
    waiting = 0

    def write(self, buf: memoryview) -> int:
        """Take nothing."""
        return 0

    def close(self) -> None:
        """Do nothing: the connection stands as before."""


def told_upwards(bench: Bench) -> "list[tuple[int, int]]":
    """Return (kind, account index) of each record that some steps of the uplink write."""
    journal = bench.app.journal
    check(journal.sync())
    first_seq = journal.next_seq
    for _ in range(9):
        bench.app.uplink.step(0)
    check(journal.sync())
    buf = bytearray(record.RECORD_SIZE)
    found = []
    for seq in range(first_seq, journal.next_seq):
        check(journal.read_into(seq, buf))
        found.append((record.kind_at(buf, 0), record.index_at(buf, 0)))
        if record.kind_at(buf, 0) == record.STANDING:
            equal(record.standing_at(buf, 0)[10], record.SOURCE_HERE)
    return found


PARTS = (record.METER, record.STANDING, record.STANDING_REGISTERS, record.QUOTA)
ALL_TOLD = (
    [(kind, 2) for kind in PARTS]
    + [(record.METER, 1)]
    + [(kind, 0) for kind in PARTS]
    + [(record.EVENT, record.NO_INDEX)]
)


def test_a_head_end_that_forgot_is_told_every_standing_once() -> None:
    """The head-end's database came back from a copy; the journal has deleted the lost records."""
    bench = Bench(meters=3)
    bench.read_all()
    equal(bench.insert(bench.card(1, 500)), (codes.OK, 1))
    bench.read_all()
    app = bench.app
    said(bench, "meter remove 18")
    app.uplink._channel = Channel()
    app.uplink.session = session = Session(app.journal.durable_seq)
    before = row(bench)
    equal(told_upwards(bench), [], "it has asked for nothing")
    session.wanted = True
    session.outcome = AHEAD
    equal({kind for kind, _ in told_upwards(bench)}, {record.EVENT}, "these books are behind")
    check(app.books.set_behind(False))
    session.outcome = IDLE
    relay = app.registry.relay[INDEX]
    for _ in range(2):
        equal(told_upwards(bench), ALL_TOLD)
        equal(told_upwards(bench), [], "the answer to these may still be on its way")
        equal(row(bench), before, "it changes nothing here")
        session.acked_seq = app.journal.durable_seq
    session.wanted = False
    equal(told_upwards(bench), [])
    bench.restart()
    equal((row(bench), bench.app.registry.relay[INDEX]), (before, relay))


def test_a_head_end_that_forgot_waits_while_room_is_short() -> None:
    bench = Bench()
    app = bench.app
    app.uplink._channel = Channel()
    app.uplink.session = session = Session(app.journal.durable_seq)
    session.wanted = True
    reserve = app.journal.reserve_blocks
    app.journal.reserve_blocks = 1 << 20
    equal(told_upwards(bench), [])
    app.journal.reserve_blocks = reserve
    equal(told_upwards(bench), [(kind, 0) for kind in PARTS] + [(record.EVENT, record.NO_INDEX)])


def test_restored_waits_for_the_head_end() -> None:
    """A device that does not know the head-end's last number would use a number twice."""
    bench = Bench()
    said(bench, "set id 7")
    bench.app.uplink._channel = Channel()
    said(bench, "set uplink_key " + "22" * 32)
    session = bench.app.uplink.session
    check(session is not None)
    bench.app.books.set_behind(True)
    check("has not answered" in said(bench, "restored"))
    check(bench.app.books.behind)
    session.known_seq = 500  # type: ignore[union-attr]  # it is not None
    equal(said(bench, "restored"), "cards are taken")
    equal((bench.app.books.behind, bench.app.journal.next_seq > 501), (False, True))


def test_what_a_copy_wrote_is_not_for_the_head_end() -> None:
    """The board began with an old copy and went on further than the head-end knew."""
    bench = Bench()
    said(bench, "set id 7")
    bench.app.uplink._channel = Channel()
    said(bench, "set uplink_key " + "22" * 32)
    check(bench.app.books.set_behind(True))
    for _ in range(3):
        bench.read_all()
    session = bench.app.uplink.session
    session.known_seq = 3  # type: ignore[union-attr]  # it is not None
    check(bench.app.journal.sync())
    last_seq = bench.app.journal.durable_seq
    check(last_seq > 3)
    equal(said(bench, "restored"), "cards are taken")
    for save in (False, True, True):
        equal(bench.app.journal.outbox_seq, last_seq + 1, save)
        equal(bench.app.books.telling, 2, "what it is now is told, also behind a restart")
        if save:
            check(bench.save())
        bench.restart()
    bench.app.uplink._channel = Channel()
    bench.app.uplink.session = Session(0)
    equal(told_upwards(bench), [(kind, 0) for kind in PARTS] + [(record.EVENT, record.NO_INDEX)])
    for save in (False, True):
        bench.restart()
        equal((bench.app.books.telling, bench.app.journal.outbox_seq), (0, last_seq + 1))
        if save:
            check(bench.save())
    check(not bench.app.books.behind)


def test_a_relay_that_another_board_switched_is_put_right() -> None:
    """The old copy wants supply; the lost board had cut it, and no newer order is known."""
    bench = Bench()
    equal(bench.insert(bench.card(1, 5000)), (codes.OK, 1))
    bench.read_all()
    meter = bench.meters[INDEX]
    equal((bench.app.registry.relay[INDEX], meter.open), (meters.RELAY_IDLE, False))
    meter.open = True
    bench.read_all()
    check(meter.open, "whoever opened it may work there")
    check(bench.app.books.set_behind(True))
    check(bench.app.books.set_behind(False))
    equal(bench.app.registry.relay[INDEX], meters.RELAY_FAILED)
    bench.restart()
    equal(bench.app.registry.relay[INDEX], meters.RELAY_FAILED)
    bench.read_all()
    equal((bench.app.registry.relay[INDEX], meter.open), (meters.RELAY_IDLE, False))


def test_what_was_repaid_in_a_week_counts_there_without_a_clock() -> None:
    """The standing names its week; the new device may not know the time yet."""
    bench = Bench()
    week = bench.t2000 // 604800
    said(bench, "set debt_percent 50")
    said(bench, "set debt_week_limit_fen 250")
    bench.app.books.t2000 = -1
    told = standing(5, 900, 100, MAC, debt_fen=1000, debt_week=week, debt_week_fen=250)
    equal(tell(bench, told), "order 5")
    bench.restart()
    bench.read_all()
    equal(bench.insert(bench.card(6, 1000)), (codes.OK, 1))
    equal(bench.app.ledger.debt_fen[INDEX], 1000, "the week has had its share")


def test_a_standing_told_is_one_joined_group_of_records() -> None:
    bench = replaced()
    equal(tell(bench, standing(5, 900, 100, MAC)), "order 5")
    journal = bench.app.journal
    buf = bytearray(record.RECORD_SIZE)
    found = []
    for seq in range(journal.durable_seq - 2, journal.durable_seq + 1):
        check(journal.read_into(seq, buf))
        found.append((record.kind_at(buf, 0), record.flags_at(buf, 0), record.index_at(buf, 0)))
    equal(
        found,
        [
            (record.STANDING, record.JOINED, INDEX),
            (record.STANDING_REGISTERS, record.JOINED, INDEX),
            (record.QUOTA, 0, INDEX),
        ],
    )
    check(bytes(bench.app.registry.accounts[:6]) == ACCOUNT)
