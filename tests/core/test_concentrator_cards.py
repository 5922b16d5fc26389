"""Goal: changes that cards make in the books are durable, replay identically, and take effect in
time.

Method: the real books and journal on a storage in memory, a new start from it after each step; the
whole redemption against them.
"""

from array import array
from struct import pack, unpack_from

from card import codes
from card.image import OPEN, PURCHASE, REFUND
from card.lockout import FAILURES_LIMIT, RELIEF_MS
from card.redemption import Redemption
from card_world import ACCOUNT, METER, NOW, FakeCarrier, header, keys, memory, standing
from concentrator.books import registry as meters
from concentrator.books.books import Books
from concentrator.books.registry import DESIRED_OPEN, Registry
from concentrator.books.tariffs import Tariffs, name_of
from concentrator.storage.journal import Journal
from harness import check, equal
from memory_storage import Storage
from prepay.ledger import Ledger
from prepay.policy import ALARM_1, CUT, Policy
from tariff_images import ENDLESS, image, ladder, terms
from uplink import record
from uplink.record import RECORD_SIZE

INDEX = 0
ONE_RATE = image(1, 1, (ladder((), (50000000,)),), (terms(0, ENDLESS),))
DEARER = image(1, 1, (ladder((), (60000000,)),), (terms(0, ENDLESS),))
TWO_RATES = image(2, 1, (ladder((), (60000000, 30000000)),), (terms(0, ENDLESS),))


class World:
    """These are books on a storage, a reader, and three tariffs; the account has tariff 1."""

    def __init__(self) -> None:
        self.storage = Storage()
        self.carrier = FakeCarrier()
        self.ticks = 0
        self.names = {9: bytes(8)}
        self.restart()
        for number, data in ((1, ONE_RATE), (2, DEARER), (3, TWO_RATES)):
            self.load(number, data)
        check(self.books.set_meter(INDEX, bytearray(METER + ACCOUNT + b"\1\0\0\1\0")))
        equal(self.redeem(header(1, 100, OPEN)), codes.OK)

    def load(self, number: int, data: bytes) -> None:
        """Put a tariff in force."""
        name = name_of(data)
        self.tariffs.begin(len(data))
        self.tariffs.put(0, data)
        equal(self.tariffs.store(number, name), "")
        check(self.books.set_tariff(number, name, len(data)))
        self.names[number] = name

    def restart(self) -> None:
        """Start from the stored files."""
        storage = self.storage
        self.journal = Journal(storage)  # type: ignore[arg-type]  # what it needs of one
        self.registry = Registry(4)
        self.ledger = Ledger(4)
        self.tariffs = Tariffs(storage)  # type: ignore[arg-type]  # what it needs of one
        self.books = Books(self.journal, self.registry, self.ledger, self.tariffs, Policy())
        self.books.hoarding_limit_fen = 99999999
        self.books.t2000 = NOW
        self.journal.recover()
        buf = bytearray(RECORD_SIZE)
        for seq in range(self.journal.first_seq, self.journal.durable_seq + 1):
            check(self.journal.read_into(seq, buf), seq)
            self.books.replay(buf)
        self.redemption = Redemption(self.carrier, self.books, keys())

    def redeem(self, head: bytes, size: int = 256) -> int:
        """Insert a card with this header; return its code."""
        self.card = bytearray(bytes(memory(head)) + bytes(size - 256))
        self.carrier.size = size
        self.carrier.insert(self.card)
        while not self.redemption.poll(self.ticks, self.books.t2000):
            pass
        self.carrier.pull()
        self.redemption.poll(self.ticks, self.books.t2000)
        return self.redemption.code

    def naming(self, number: int, from_t2000: int, order: int = 2) -> bytes:
        """Return a purchase card that names a tariff."""
        content = bytes(20) + pack("<I", from_t2000) + self.names[number]
        return header(order, 100, flags=1, content=content)


def test_a_tariff_from_now_on() -> None:
    world = World()
    equal(world.redeem(world.naming(2, NOW)), codes.OK)
    equal((world.registry.tariff[INDEX], world.registry.planned[INDEX]), (2, 0))
    world.restart()
    equal((world.registry.tariff[INDEX], world.registry.planned[INDEX]), (2, 0))


def test_a_tariff_from_a_day_to_come() -> None:
    world = World()
    equal(world.redeem(world.naming(2, NOW + 1000)), codes.OK)
    for t2000, number in ((NOW, 1), (NOW + 999, 1), (NOW + 1000, 2), (NOW + 2000, 2)):
        world.restart()
        world.books.t2000 = t2000
        world.books.review(INDEX)
        equal(world.registry.tariff[INDEX], number, t2000)
    written = world.journal.durable_seq
    world.books.review(INDEX)
    equal(world.journal.durable_seq, written, "it changes once")


def test_a_tariff_that_cannot_follow_is_refused() -> None:
    world = World()
    equal(world.redeem(world.naming(3, NOW)), codes.NO_TARIFF, "reads other registers")
    world.names[2] = world.names[2][:7] + b"!"
    equal(world.redeem(world.naming(2, NOW)), codes.NO_TARIFF, "another image")
    equal(world.redeem(world.naming(9, NOW)), codes.NO_TARIFF)
    equal((world.registry.tariff[INDEX], world.ledger.credit_fen[INDEX]), (1, 100))


def test_behind_the_head_end_no_card_is_taken() -> None:
    world = World()
    check(world.books.set_behind(True))
    for order in (1, 2, 3):
        equal(world.redeem(header(order, 100)), codes.BOOKS_BEHIND, order)
    fifth = header(5, 100)
    check(world.books.restore(INDEX, standing(5, 900, 0, fifth[80:])))
    equal(world.redeem(header(6, 100)), codes.BOOKS_BEHIND, "until all is restored")
    check(world.books.set_behind(False))
    for order in (2, 4):
        equal(world.redeem(header(order, 100)), codes.ORDER_BEHIND, order)
    equal(world.redeem(fifth), codes.COMPLETED)
    equal(world.redeem(header(5, 101)), codes.OTHER_CARD)
    equal(world.redeem(header(6, 100)), codes.OK)
    world.restart()
    equal((world.ledger.order[INDEX], world.ledger.credit_fen[INDEX]), (6, 1000))


def kind_of_newest(world: World) -> int:
    buf = bytearray(RECORD_SIZE)
    check(world.journal.read_into(world.journal.durable_seq, buf))
    return record.kind_at(buf, 0)


def test_a_refund_counts_once_and_in_turn() -> None:
    world = World()
    equal(world.redeem(header(2, 900)), codes.OK)
    equal(world.redeem(header(4, 300, REFUND)), codes.ORDER_AHEAD)
    equal(world.redeem(header(3, 300, REFUND)), codes.OK)
    check(world.redemption.credited)
    equal(unpack_from("<Ii", world.card, 32 + 88 + 4), (3, 700), "order and balance go home")
    equal(kind_of_newest(world), record.REFUND)
    card = bytes(world.card)
    for _ in range(2):
        equal(world.ledger.credit_fen[INDEX], 700)
        world.restart()
        equal((world.ledger.order[INDEX], world.ledger.credit_fen[INDEX]), (3, 700))
        # A mark that was erased takes no money a second time.
        equal(world.redeem(header(3, 300, REFUND)), codes.COMPLETED)
    world.carrier.insert(bytearray(card))
    while not world.redemption.poll(world.ticks, world.books.t2000):
        pass
    equal(world.redemption.code, codes.USED)
    equal(world.redeem(header(4, 100)), codes.OK, "and purchases go on")
    equal(world.ledger.balance_fen(INDEX), 800)


def test_a_refund_never_takes_more_than_there_is() -> None:
    world = World()
    ledger = world.ledger
    equal(world.redeem(header(2, 101, REFUND)), codes.NOT_COVERED)
    equal(unpack_from("<Ii", world.card, 32 + 88 + 4), (1, 100), "the card says what there is")
    for column in (ledger.residue_e7, ledger.residue_e11):
        column[INDEX] = 1
        equal(world.redeem(header(2, 100, REFUND)), codes.NOT_COVERED, "less than a fen is owed")
        column[INDEX] = 0
    ledger.stop(INDEX)
    equal(world.redeem(header(2, 50, REFUND)), codes.NOT_COVERED, "the balance is in doubt")
    ledger.resume(INDEX)
    world.storage.full = True
    equal(world.redeem(header(2, 50, REFUND)), codes.STORAGE)
    equal((ledger.order[INDEX], ledger.balance_fen(INDEX)), (1, 100))
    world.storage.full = False
    ledger.residue_e7[INDEX] = 1
    equal(world.redeem(header(2, 99, REFUND)), codes.OK)
    equal(ledger.balance_fen(INDEX), 1)


def test_nothing_is_refunded_before_the_account_is_open() -> None:
    world = World()
    world.ledger.order[INDEX] = 0
    equal(world.redeem(header(1, 0, REFUND)), codes.NOT_OPENED)


def test_a_refund_of_all_that_there_is_cuts_and_leaves_no_debt() -> None:
    world = World()
    equal(world.redeem(header(2, 100, REFUND)), codes.OK)
    equal((world.ledger.state[INDEX], world.ledger.balance_fen(INDEX)), (CUT, 0))
    check(world.registry.relay[INDEX] & DESIRED_OPEN)
    equal(world.redeem(header(3, 100)), codes.OK)
    equal(world.ledger.state[INDEX], ALARM_1)


def test_p1_at_every_record_of_the_journal() -> None:
    """P1 and P7: the balance is what the records say was paid in, less refunds and charges."""
    world = World()
    for step in range(60):
        order = world.ledger.order[INDEX] + 1
        world.books.t2000 += 900
        values = array("i", (step * step * 40, 0, 0, 0, 0))
        world.books.charge_reading(INDEX, values, 5, 0)
        if step % 3:
            world.redeem(header(order, 137 * step % 701, REFUND))
        else:
            world.redeem(header(order, 500, PURCHASE))
        if step % 20 == 19:
            check(world.journal.sync())
            world.restart()
    check(world.journal.sync())
    paid_fen = refunds = 0
    debit_fen = 0
    buf = bytearray(RECORD_SIZE)
    for seq in range(1, world.journal.durable_seq + 1):
        check(world.journal.read_into(seq, buf))
        kind = record.kind_at(buf, 0)
        if kind == record.READING:
            debit_fen = record.u32_at(buf, 12)
        if kind in (record.TOP_UP, record.REFUND):
            amount_fen = record.u32_at(buf, 16)
            refunds += kind == record.REFUND
            paid_fen += amount_fen if kind == record.TOP_UP else -amount_fen
            equal(unpack_from("<Ii", buf, 20), (paid_fen, paid_fen - debit_fen), seq)
            check(kind == record.TOP_UP or paid_fen >= debit_fen, "no refund ends in overdraft")
    check(5 < refunds < 40, refunds)
    equal(world.ledger.balance_fen(INDEX), paid_fen - world.ledger.debit_fen[INDEX])


def test_a_relay_left_open_is_closed_when_the_account_is_opened() -> None:
    world = World()
    check(meters.is_pending(world.registry.relay[INDEX]), "looked at first, closed if need be")
    world.restart()
    check(meters.is_pending(world.registry.relay[INDEX]))
    check(not world.registry.relay[INDEX] & DESIRED_OPEN)
    world.books.relay_done(INDEX, record.STAGE_CONFIRMED, 0)
    equal(world.redeem(header(2, 100)), codes.OK)
    equal(world.registry.relay[INDEX], meters.RELAY_IDLE, "a purchase moves no relay")


def test_an_exchanged_meter_that_came_open_is_closed_at_its_first_reading() -> None:
    world = World()
    world.books.relay_done(INDEX, record.STAGE_CONFIRMED, 0)
    row = world.registry.row(INDEX)
    row[0] ^= 1
    check(world.books.set_meter(INDEX, row))
    check(world.journal.sync())
    world.restart()
    values = array("i", (1000, 0, 0, 0, 0))
    world.books.charge_reading(INDEX, values, 5, 0x10)
    check(meters.is_pending(world.registry.relay[INDEX]))
    check(not world.registry.relay[INDEX] & DESIRED_OPEN)


def test_a_larger_card_takes_real_records_home() -> None:
    world = World()
    for order in (2, 3):
        equal(world.redeem(header(order, 100), 512), codes.OK)
    kinds = []
    seqs = []
    for at in range(256, 512, RECORD_SIZE):
        check(record.verify(world.card, at), at)
        kinds.append(record.kind_at(world.card, at))
        seqs.append(record.seq_at(world.card, at))
    equal(kinds[0], record.TOP_UP)
    equal(seqs, sorted(seqs, reverse=True))
    equal(record.index_at(world.card, 256), INDEX)


def test_a_plan_that_stands_is_not_written_again() -> None:
    for from_t2000 in (NOW, NOW + 1000):
        world = World()
        equal(world.redeem(world.naming(2, from_t2000)), codes.OK)
        written = world.journal.durable_seq
        for _ in range(3):
            equal(world.redeem(world.naming(2, from_t2000)), codes.COMPLETED)
        equal(world.journal.durable_seq, written, from_t2000)


def test_cards_that_are_not_genuine_are_counted_again_after_a_restart() -> None:
    world = World()
    forged = header(2, 100, key=b"forged")
    for _ in range(FAILURES_LIMIT - 1):
        equal(world.redeem(forged), codes.MAC)
    equal(list(world.books.illegal), [4, 4])
    check(world.journal.sync())
    world.restart()
    equal(list(world.books.illegal), [4, 4])
    equal(world.redeem(forged), codes.MAC)
    check(world.journal.sync())
    world.restart()
    equal(list(world.books.illegal), [5, 5])
    equal(world.redeem(header(2, 100)), codes.TOO_MANY, "switched off and on, and still locked")
    world.ticks += RELIEF_MS
    equal(world.redeem(header(2, 100)), codes.OK)
    world.restart()
    equal(list(world.books.illegal), [5, 5], "a genuine card ends no lock")
    equal(world.redeem(forged), codes.TOO_MANY)
    world.ticks += RELIEF_MS
    equal(world.redeem(forged), codes.MAC)
    world.ticks += RELIEF_MS
    equal(world.redeem(header(2, 100)), codes.COMPLETED)
    world.books.illegal[codes.ILLEGAL] = 0
    world.books.note_card(codes.OK, -1, 9, 0, bytearray(8), bytearray(6))
    check(world.journal.sync())
    world.restart()
    equal(list(world.books.illegal), [0, 6], "an operator's card set it to 0")


def test_refused_cards_leave_the_room_of_money() -> None:
    world = World()
    world.journal = world.books.journal = Journal(world.storage, 66)  # type: ignore[arg-type]  # a fake
    world.journal.recover()
    forged = header(2, 100, key=b"forged")
    for _ in range(300):
        world.books.note_card(codes.USED, INDEX, 1, 100, bytearray(8), bytearray(ACCOUNT))
    check(world.journal.room >= 63, world.journal.room)
    equal(world.redeem(forged), codes.MAC)
    equal(world.redeem(header(2, 100)), codes.OK)
