"""Goal: whatever the power does while a card is in the reader, its money counts exactly once.

Method: real books and a real journal on a flash whose power fails at each block operation of a
redemption, torn in three ways, while the card may be torn at a byte of its own; for each kind of
card that brings or takes money. After each cut the device starts again with the card still, or
again, in the reader: the money is there once, the card is marked, and it is refused from then on.
"""

from card import codes
from card.image import OPEN, PURCHASE, REFUND, REPLACEMENT
from card.redemption import Redemption
from card_world import ACCOUNT, METER, NOW, FakeCarrier, header, keys, memory, written_back
from concentrator.books.books import Books
from concentrator.books.registry import RELAY_LOOK, Registry
from concentrator.books.tariffs import Tariffs
from concentrator.storage.journal import Journal
from cut_flash import TEARS, Flash, PowerCut, blank, mounted
from harness import check, equal
from prepay.ledger import Ledger
from prepay.policy import CUT, NORMAL, Policy
from uplink.record import RECORD_SIZE

INDEX = 0
AMOUNT = 5000
FIRST_AMOUNT = 100
REFUND_AMOUNT = 60


class Device:
    """These are the books on a flash, from one start to the loss of power."""

    def __init__(self, flash: Flash, carrier: FakeCarrier) -> None:
        storage = mounted(flash)
        self.journal = Journal(storage, 8)
        self.registry = registry = Registry(4)
        self.ledger = Ledger(4)
        self.books = Books(self.journal, registry, self.ledger, Tariffs(storage), Policy())
        self.books.hoarding_limit_fen = 99999999
        self.books.t2000 = NOW
        self.journal.recover()
        buf = bytearray(RECORD_SIZE)
        for seq in range(self.journal.first_seq, self.journal.durable_seq + 1):
            check(self.journal.read_into(seq, buf), seq)
            self.books.replay(buf)
        self.redemption = Redemption(carrier, self.books, keys())

    def run(self) -> int:
        """Poll until the card has a result and return it; -1 means that there is none."""
        for _ in range(60):
            if self.redemption.poll(0, NOW):
                return self.redemption.code
        return -1


def prepared(opened: bool) -> bytearray:
    """Return a flash with the meter registered, and with the account opened if asked for."""
    data = blank()
    carrier = FakeCarrier()
    device = Device(Flash(data), carrier)
    row = bytearray(METER + ACCOUNT + b"\1\0\0\1\0")
    check(device.books.set_meter(INDEX, row), "meter")
    if opened:
        carrier.insert(memory(header(1, FIRST_AMOUNT, OPEN)))
        equal(device.run(), codes.OK)
    return data


def operations_of(start: bytearray, head: bytes) -> int:
    """Count the block operations of one undisturbed redemption, without those of mounting."""
    flash = Flash(bytearray(start))
    carrier = FakeCarrier()
    device = Device(flash, carrier)
    before = flash.operations
    carrier.insert(memory(head))
    equal(device.run(), codes.OK)
    return flash.operations - before


def sweep(kind: int, opened: bool) -> int:
    """Cut at every operation; return the number of cuts."""
    start = prepared(opened)
    order = 2 if opened else 1
    amount_fen = REFUND_AMOUNT if kind == REFUND else AMOUNT
    expected_fen = -amount_fen if kind == REFUND else amount_fen
    expected_fen += FIRST_AMOUNT if opened else 0
    head = header(order, amount_fen, kind)
    operations = operations_of(start, head)
    check(operations > 0, "a redemption writes")
    count = 0
    for cut_at in range(operations):
        for tear in TEARS:
            # With -1 the card stays whole. A cut in phase one leaves no byte to be torn.
            for torn_byte in (-1, 0, 1, 7, 31, 56, 63):
                what = (kind, cut_at, tear, torn_byte)
                data = bytearray(start)
                carrier = FakeCarrier()
                card = memory(head)
                flash = Flash(data)
                device = Device(flash, carrier)
                flash.cut_after(cut_at, tear)
                carrier.insert(card)
                carrier.tear_at = torn_byte
                try:
                    device.run()
                except PowerCut:
                    count += 1
                again = Device(Flash(data), carrier)
                carrier.insert(card)
                check(again.run() in (codes.OK, codes.COMPLETED, codes.USED), what)
                equal(again.ledger.credit_fen[INDEX], expected_fen, what)
                equal(again.ledger.order[INDEX], order, what)
                equal(written_back(card)[1:], (order, expected_fen), what)
                last = Device(Flash(data), carrier)
                carrier.insert(card)
                equal(last.run(), codes.USED, what)
                equal(last.ledger.credit_fen[INDEX], expected_fen, what)
    return count


def test_opening_card() -> None:
    check(sweep(OPEN, False) > 0, "nothing was cut")


def test_purchase_card() -> None:
    check(sweep(PURCHASE, True) > 0, "nothing was cut")


def test_replacement_card() -> None:
    check(sweep(REPLACEMENT, True) > 0, "nothing was cut")


def test_refund_card() -> None:
    check(sweep(REFUND, True) > 0, "nothing was cut")


def test_the_supply_comes_back_with_the_money() -> None:
    """The money and the order to close are written in two steps, and power fails in both."""
    start = prepared(False)
    carrier = FakeCarrier()
    device = Device(Flash(start), carrier)
    carrier.insert(memory(header(1, 0, OPEN)))
    equal(device.run(), codes.OK)
    device.books.review(INDEX)
    equal(device.ledger.state[INDEX], CUT)
    head = header(2, AMOUNT, PURCHASE)
    cuts = uncertain = 0
    for cut_at in range(operations_of(start, head)):
        for tear in TEARS:
            for comes_back in (False, True):
                data = bytearray(start)
                flash = Flash(data)
                carrier = FakeCarrier()
                device = Device(flash, carrier)
                flash.cut_after(cut_at, tear)
                card = memory(head)
                carrier.insert(card)
                try:
                    device.run()
                except PowerCut:
                    cuts += 1
                again = Device(Flash(data), carrier)
                ledger = again.ledger
                uncertain += ledger.order[INDEX] == 2 and ledger.state[INDEX] == CUT
                if comes_back or ledger.order[INDEX] == 1:
                    carrier.insert(card)
                    again.run()
                else:
                    again.books.review(INDEX)  # as each rest of the application does
                again = Device(Flash(data), carrier)
                what = (cut_at, tear, comes_back)
                ledger = again.ledger
                equal((ledger.credit_fen[INDEX], ledger.order[INDEX]), (AMOUNT, 2), what)
                equal(ledger.state[INDEX], NORMAL, what)
                equal(again.registry.relay[INDEX], RELAY_LOOK, what)
    check(0 < uncertain < cuts, "power has failed between the money and the order")


def test_a_failing_flash_credits_nothing() -> None:
    data = prepared(True)
    carrier = FakeCarrier()
    flash = Flash(data)
    device = Device(flash, carrier)
    card = memory(header(2, AMOUNT, PURCHASE))
    before = bytearray(card)
    flash.fails = True
    carrier.insert(card)
    equal(device.run(), codes.STORAGE)
    equal((device.ledger.credit_fen[INDEX], card), (FIRST_AMOUNT, before))
    again = Device(Flash(data), carrier)
    carrier.insert(card)
    equal(again.run(), codes.OK)
    equal(again.ledger.credit_fen[INDEX], FIRST_AMOUNT + AMOUNT)
