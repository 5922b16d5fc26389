"""Goal: a card's money counts exactly once, and each card that does not count gets
a code that says why.

Method: images written out by hand against a memory card and books in memory; every refusal by
name; bad contacts; the power cut on both sides of the credit and at every poll, then the card
inserted again. The attacks are in test_card_attacks.py.
"""

from struct import pack, unpack

from card import codes
from card.image import INSPECT, OPEN, PURCHASE, REFUND, REPLACEMENT
from card.keys import Keys
from card.redemption import BEHIND, UNTOLD
from card_world import (
    DISTRICT,
    NOW,
    UID,
    VERSION,
    WRITE_BACK,
    FakeCarrier,
    PowerCut,
    World,
    header,
    memory,
    superseding,
    written_back,
)
from harness import check, equal, heap_locked


def test_open_then_purchase() -> None:
    world = World()
    card = memory(header(1, 5000, OPEN))
    equal(world.redeem(card), codes.OK)
    equal(world.books.credits, [(1, 5000)])
    equal(world.carrier.shown, [(codes.OK, True, 7)])
    equal(written_back(card), (codes.OK, 1, 5000))
    equal(unpack("<I", bytes(card[WRITE_BACK + 44 : WRITE_BACK + 48]))[0], NOW)
    card[32:120] = header(2, 100)
    equal(world.redeem(card), codes.OK)
    equal(written_back(card), (codes.OK, 2, 5100))
    equal(world.books.notes, [])


def test_the_chip_s_bytes_are_left_alone() -> None:
    world = World(last=4)
    card = memory(header(5))
    card[:32] = bytes(range(32))
    equal(world.redeem(card), codes.OK)
    equal(bytes(card[:32]), bytes(range(32)))
    equal(bytes(card[32:120]), header(5))


def test_order_rule() -> None:
    for order, code in ((3, codes.ORDER_BEHIND), (6, codes.ORDER_AHEAD), (5, codes.OK)):
        world = World(last=4)
        card = memory(header(order))
        equal(world.redeem(card), code, order)
        equal(len(world.books.credits), 1 if code == codes.OK else 0)
        equal(written_back(card)[1], 5 if code == codes.OK else 4, "tells the newest order")


def test_an_order_ahead_is_taken_when_its_turn_comes() -> None:
    world = World(last=4)
    sixth = memory(header(6, 600))
    equal(world.redeem(sixth), codes.ORDER_AHEAD)
    equal(world.redeem(memory(header(5, 500))), codes.OK)
    equal(world.redeem(sixth), codes.OK)
    equal(world.books.credits, [(5, 500), (6, 600)])


def test_an_order_that_supersedes_others_counts_in_their_place() -> None:
    old, older = memory(header(6, 600)), memory(header(5, 500000))
    for order, first, kind, amount_fen, code in (
        (6, 5, PURCHASE, 50, codes.OK),
        (7, 5, PURCHASE, 0, codes.OK),
        (7, 5, REFUND, 300, codes.OK),
        (6, 5, REPLACEMENT, 50, codes.OK),
        (7, 6, PURCHASE, 50, codes.ORDER_AHEAD),
        (6, 4, PURCHASE, 50, codes.TOO_LATE),
        (6, 5, OPEN, 50, codes.OPENED),
        (3, 2, PURCHASE, 50, codes.ORDER_BEHIND),
        (3, 9, PURCHASE, 50, codes.ORDER_BEHIND),
    ):
        world = World(last=4)
        card = superseding(order, first, amount_fen, kind)
        equal(world.redeem(card), code, (order, first, kind))
        if code == codes.OK:
            fen = -amount_fen if kind == REFUND else amount_fen
            equal(world.books.credits, [(order, fen)])
            equal(world.redeem(card), codes.USED)
            equal(world.redeem(older), codes.ORDER_BEHIND, "it is worth nothing any more")
            found = world.redeem(memory(header(6, 600)))
            equal(found, codes.ORDER_BEHIND if order > 6 else codes.OTHER_CARD)
            equal(world.redeem(memory(header(order + 1, 1))), codes.OK)
        else:
            equal(world.books.credits, [])
    world = World()
    equal(world.redeem(superseding(2, 1, 50, OPEN)), codes.OK, "the first order was taken back")
    equal(world.redeem(old), codes.ORDER_AHEAD)


def test_a_superseded_order_that_came_first() -> None:
    world = World(last=4)
    equal(world.redeem(memory(header(5, 500000))), codes.OK)
    equal(world.redeem(superseding(6, 5, 50)), codes.TOO_LATE)
    equal(world.books.credits, [(5, 500000)])
    equal(world.redeem(superseding(7, 6, 70)), codes.OK, "the next one supersedes what did not")


def test_states_of_the_account() -> None:
    for last, order, kind, code in (
        (0, 1, PURCHASE, codes.NOT_OPENED),
        (0, 1, REPLACEMENT, codes.NOTHING_TO_REPLACE),
        (4, 5, OPEN, codes.OPENED),
        (4, 5, REPLACEMENT, codes.OK),
        (4, 4, REPLACEMENT, codes.COMPLETED),
        (BEHIND, 5, PURCHASE, codes.BOOKS_BEHIND),
        (UNTOLD, 1, OPEN, codes.NO_STANDING),
        (UNTOLD, 5, PURCHASE, codes.NO_STANDING),
    ):
        world = World(last=last)
        equal(world.redeem(memory(header(order, kind=kind))), code, (last, order, kind))


def test_not_for_this_place() -> None:
    for head, code in (
        (header(5, account=b"\0\0\0\0\0\x18"), codes.ACCOUNT),
        (header(5, meter=b"\x65\x37\x98\0\0\0"), codes.METER),
        (header(5, district=DISTRICT + 1), codes.DISTRICT),
        (header(5, version=VERSION - 1), codes.KEY_VERSION),
        (header(5, key=b"another district"), codes.MAC),
        (header(5, suite=9), codes.WRONG_TYPE),
        (header(5, kind=99), codes.WRONG_TYPE),
        (header(5, amount_fen=100000000), codes.FORMAT),
        (bytes(88), codes.BLANK),
        (b"\xff" * 88, codes.BLANK),
        (b"DK\1" + bytes(85), codes.FORMAT),
    ):
        world = World(last=4)
        card = memory(head)
        before = bytearray(card)
        equal(world.redeem(card), code)
        equal(card, before, "a card that is not ours is not written")
        equal(world.books.credits, [])
        equal([note[0] for note in world.books.notes], [code])


def test_validity() -> None:
    for t2000, valid_until, code in (
        (NOW, NOW, codes.OK),
        (NOW + 1, NOW, codes.EXPIRED),
        (-1, 0, codes.OK),
    ):
        world = World(last=4)
        card = memory(header(5, valid_until=valid_until))
        equal(world.redeem(card, UID, t2000), code, (t2000, valid_until))


def test_a_card_with_a_validity_waits_for_the_time() -> None:
    for t2000, code in ((NOW, codes.OK), (NOW + 1, codes.EXPIRED)):
        world = World(last=4)
        world.carrier.insert(memory(header(5, valid_until=NOW)), UID)
        equal(world.run(-1), -1, "it waits")
        equal((world.redemption.busy, world.books.credits), (False, []))
        equal(world.run(t2000), code)
        equal(world.books.credits, [(5, 5000)] if code == codes.OK else [])
    world = World(last=4)
    equal(world.redeem(memory(header(5, valid_until=NOW)), UID, -1), -1)
    equal((world.redemption.code, world.redemption.done), (codes.NO_CLOCK, 1))
    equal(world.redeem(memory(header(5, valid_until=NOW))), codes.OK)


def test_limits_of_the_account_come_last() -> None:
    world = World(last=4)
    world.books.hoarding_fen = 4999
    card = memory(header(5))
    equal(world.redeem(card), codes.HOARDING)
    equal(written_back(card)[1], 4)
    equal(world.redeem(memory(header(6))), codes.ORDER_AHEAD)
    equal(world.books.limit_calls, 1, "asked only when all else is right")
    world.books.hoarding_fen = 5000
    equal(world.redeem(card), codes.OK)


def test_no_key_and_a_small_card() -> None:
    world = World(last=4)
    world.redemption.keys = Keys(DISTRICT, VERSION, b"")
    equal(world.redeem(memory(header(5))), codes.NO_KEY)
    world.carrier.size = 255
    equal(world.redeem(memory(header(5))), codes.WRONG_TYPE)


def test_full_storage_leaves_the_card_as_it_was() -> None:
    world = World(last=4)
    world.books.refuse = True
    card = memory(header(5))
    before = bytearray(card)
    equal(world.redeem(card), codes.STORAGE)
    equal(card, before)
    world.books.refuse = False
    equal(world.redeem(card), codes.OK)


def test_power_cut_at_every_poll() -> None:
    polls = 0
    while True:
        world = World(last=4)
        card = memory(header(5))
        world.carrier.insert(card)
        if world.run(polls_limit=polls) != -1:
            break
        polls += 1
        world.restart()
        check(world.run() in (codes.OK, codes.COMPLETED, codes.USED), polls)
        equal(world.books.credits, [(5, 5000)], polls)
        equal(written_back(card)[1:], (5, 5000))
    check(polls > 3, polls)


def test_power_cut_on_both_sides_of_the_credit() -> None:
    for cut, code in (("before", codes.OK), ("after", codes.COMPLETED)):
        world = World(last=4)
        world.books.cut = cut
        card = memory(header(5))
        world.carrier.insert(card)
        try:
            world.run()
            check(False, "the power was to fail")
        except PowerCut:
            pass
        world.restart()
        equal(world.run(), code, cut)
        equal(world.redemption.credited, cut == "before")
        equal(world.books.credits, [(5, 5000)], cut)


def test_bad_contact() -> None:
    world = World(last=4)
    card = memory(header(5))
    world.carrier.fail_reads = 2
    equal(world.redeem(card), codes.OK)
    world = World(last=4)
    world.carrier.fail_reads = 99
    equal(world.redeem(card), codes.COMMUNICATION)
    equal(world.books.credits, [])
    world = World(last=4)
    world.carrier.fail_writes = 99
    equal(world.redeem(memory(header(5))), codes.NOT_MARKED)
    equal(world.books.credits, [(5, 5000)])
    equal(world.carrier.shown, [(codes.NOT_MARKED, True, 7)])
    world = World(last=4)
    world.carrier.fail_writes = 99
    equal(world.redeem(memory(header(9))), codes.ORDER_AHEAD)


class Forgetful(FakeCarrier):
    """It reports a write as done and has one byte of each write wrong while `wrong` lasts."""

    def __init__(self) -> None:
        super().__init__()
        self.wrong = 0

    def start_write(self, offset: int, buf: "bytearray | memoryview", size: int) -> None:
        """Start to write."""
        super().start_write(offset, buf, size)
        if self.wrong:
            self.wrong -= 1
            self.memory[offset + size - 1] ^= 1


def test_a_mark_that_reads_otherwise_is_written_again_or_told() -> None:
    for wrong, code in ((1, codes.OK), (2, codes.OK), (99, codes.NOT_MARKED)):
        world = World(last=4)
        carrier = world.carrier = Forgetful()
        carrier.wrong = wrong
        world.restart()
        card = memory(header(5))
        equal(world.redeem(card), code, wrong)
        equal(world.books.credits, [(5, 5000)], "the money counts once, whatever is marked")
        equal(carrier.shown, [(code, True, 7)])
        if code == codes.OK:
            equal(written_back(card), (codes.OK, 5, 5000))
        carrier.wrong = 0
        equal(world.redeem(card), codes.USED if code == codes.OK else codes.COMPLETED)
        equal(world.books.credits, [(5, 5000)])


def test_pulled_before_it_was_read() -> None:
    world = World(last=4)
    world.carrier.insert(memory(header(5)))
    world.run(polls_limit=1)
    world.carrier.pull()
    equal(world.run(), codes.PULLED)
    equal(world.books.credits, [])
    equal(world.books.notes, [(codes.PULLED, -1, 0, 0, UID, bytes(6))])


def test_waiting_allocates_nothing() -> None:
    world = World()
    redemption = world.redemption
    with heap_locked():
        for ticks in range(20):
            redemption.poll(ticks, NOW)
    equal(redemption.done, 0)


def naming(name: bytes, from_t2000: int, order: int = 5) -> bytes:
    """Return a purchase card that names the account's next tariff."""
    content = bytes(20) + pack("<I", from_t2000) + name
    return header(order, flags=1, content=content)


def test_a_purchase_card_names_the_next_tariff() -> None:
    world = World(last=4)
    card = memory(naming(b"image--2", NOW + 5))
    equal(world.redeem(card), codes.OK)
    equal((world.books.plans, world.books.credits), ([(2, NOW + 5)], [(5, 5000)]))
    equal(world.redeem(card), codes.USED)
    equal(len(world.books.plans), 1, "a used card changes nothing more")
    card[120:184] = bytes(64)
    equal(world.redeem(card), codes.COMPLETED)
    equal(world.books.plans, [(2, NOW + 5)] * 2, "the last order may say it again")
    equal(world.redeem(memory(naming(b"image--2", NOW, 4))), codes.ORDER_BEHIND)
    equal(world.redeem(memory(naming(b"image--2", NOW, 7))), codes.ORDER_AHEAD)
    equal(len(world.books.plans), 2, "no other order may")


def test_each_poll_writes_once() -> None:
    world = World(last=4)
    books = world.books
    world.carrier.insert(memory(naming(b"image--2", NOW)))
    before = 0
    while not world.redemption.done:
        world.run(polls_limit=1)
        written = len(books.plans) + len(books.credits) + len(books.shown)
        check(written <= before + 1, "a plan, money and what follows for the supply are three")
        before = written
    equal((before, books.shown), (3, [(7, 5000)]))


def test_a_card_pulled_after_its_money_came_has_its_account_judged() -> None:
    for kind, sign in ((PURCHASE, 1), (REFUND, -1)):
        world = World(last=4)
        world.carrier.insert(memory(header(5, 100, kind)))
        while not world.books.credits:
            world.run(polls_limit=1)
        equal(world.books.shown, [])
        world.carrier.pull()
        equal(world.run(), codes.NOT_MARKED)
        equal(world.books.shown, [(7, sign * 100)])
        equal(world.redeem(memory(header(5, 100, kind))), codes.COMPLETED)
        equal(world.books.credits, [(5, sign * 100)])


def test_a_tariff_that_is_not_here_keeps_the_money_on_the_card() -> None:
    for name in (b"image--3", b"image---", bytes(8)):
        world = World(last=4)
        equal(world.redeem(memory(naming(name, NOW))), codes.NO_TARIFF)
        equal((world.books.plans, world.books.credits), ([], []))
    world = World(last=4)
    world.books.refuse = True
    equal(world.redeem(memory(naming(b"image--2", NOW))), codes.STORAGE)
    equal((world.books.plans, world.books.credits), ([], []))


def test_the_account_s_own_card_is_a_sign_of_its_holder() -> None:
    world = World(last=4)
    card = memory(header(5))
    world.redeem(card)
    equal(world.books.looks, 0, "money is judged by itself")
    world.redeem(card)
    world.redeem(memory(header(0, kind=INSPECT)))
    equal(world.books.looks, 2)
    world.redeem(memory(header(6, account=b"\0\0\0\0\0\x18")))
    world.redeem(memory(header(6, key=b"forged")))
    equal(world.books.looks, 2)


def large(size: int) -> "tuple[World, bytearray]":
    """Return a card of `size` bytes at a concentrator with 20 records of the account."""
    world = World(last=4)
    world.books.events = [bytes([number]) * 64 for number in range(1, 21)]
    world.carrier.size = size
    return world, bytearray(bytes(memory(header(5))) + bytes(size - 256))


def test_a_larger_card_takes_the_newest_records_home() -> None:
    for size, count in ((256, 0), (319, 0), (320, 1), (512, 4), (768, 8), (8192, 8)):
        world, card = large(size)
        equal(world.redeem(card), codes.OK, size)
        taken = [card[256 + 64 * at] for at in range((size - 256) // 64)]
        expected = [20 - at for at in range(count)]
        equal(taken, expected + [0] * (len(taken) - count), size)
        equal(written_back(card)[1], 5)


def test_what_is_torn_behind_the_image_costs_nothing() -> None:
    for byte in range(76, 76 + 4 * 64, 13):
        world, card = large(512)
        world.carrier.insert(card)
        world.carrier.tear_at = byte
        equal(world.run(), codes.OK, byte)
        equal(world.redeem(card), codes.USED)
        equal((world.books.credits, world.books.notes[0][0]), ([(5, 5000)], codes.USED))
