"""Goal: a card's money counts exactly once, and each card that does not count says why.

Method: images written out by hand against a memory card and books in memory; every refusal by
name; every bit of the image flipped; the card pulled at every byte of every write, the power cut
on both sides of the credit and at every poll, then the card inserted again.
"""

from struct import unpack

from card import codes
from card.image import OPEN, PURCHASE, REPLACEMENT
from card.keys import Keys
from card.redemption import FAILURES_LIMIT, LOCK_MS, Redemption
from card_world import (
    ACCOUNT,
    DISTRICT,
    DISTRICT_KEY,
    NOW,
    UID,
    VERSION,
    WRITE_BACK,
    FakeBooks,
    FakeCarrier,
    PowerCut,
    header,
    keys,
    mac,
    memory,
)
from harness import check, equal, heap_locked

OTHER_UID = b"\x04\x00\x00\x00\x00\x00\x00\x01"
TICKS = 0x1FFFFF00  # near the wrap


class World:
    """One reader, one account, one redemption that can be restarted."""

    def __init__(self, last: int = 0) -> None:
        self.carrier = FakeCarrier()
        self.books = FakeBooks(last=last)
        self.keys = keys()
        self.ticks = TICKS
        self.polls = 0
        self.restart()

    def restart(self) -> None:
        """The device starts anew; books and card stay, the reader finds the card again."""
        self.redemption = Redemption(self.carrier, self.books, self.keys)

    def run(self, t2000: int = NOW, polls_limit: int = 60) -> int:
        """Poll until the card is done; return its code, -1 if it never was."""
        for _ in range(polls_limit):
            self.polls += 1
            if self.redemption.poll(self.ticks, t2000):
                return self.redemption.code
            self.ticks = (self.ticks + 1) & 0x1FFFFFFF
        return -1

    def redeem(self, card: bytearray, uid: bytes = UID, t2000: int = NOW) -> int:
        """Insert, wait for the result, pull."""
        self.carrier.insert(card, uid)
        code = self.run(t2000)
        self.carrier.pull()
        self.redemption.poll(self.ticks, t2000)
        return code


def written_back(card: bytearray) -> "tuple[int, int, int]":
    """(code, order, balance) of a write-back, whose MAC must be right."""
    body = bytes(card[WRITE_BACK : WRITE_BACK + 56])
    equal(
        bytes(card[WRITE_BACK + 56 : WRITE_BACK + 64]), mac(b"W", ACCOUNT, UID, body, DISTRICT_KEY)
    )
    equal(body[0], 0x5A)
    order, balance_fen = unpack("<Ii", body[4:12])
    return body[1], order, balance_fen


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


def test_replay_of_a_used_card() -> None:
    world = World(last=4)
    card = memory(header(5))
    fresh = bytearray(card)
    equal(world.redeem(card), codes.OK)
    used = bytearray(card)
    for _ in range(3):
        equal(world.redeem(card), codes.USED)
    equal(card, used, "a used card is not written again")
    equal(world.redeem(fresh), codes.COMPLETED, "the mark was erased: it comes back, no money")
    equal(written_back(fresh)[1], 5)
    equal(world.redeem(fresh), codes.USED)
    equal(world.books.credits, [(5, 5000)])
    equal(world.books.notes[0], (codes.USED, 7, 5, 5000, UID, ACCOUNT))


def test_replay_of_a_used_image_on_another_card() -> None:
    world = World(last=4)
    card = memory(header(5))
    copy = bytearray(card)
    equal(world.redeem(copy, OTHER_UID), codes.SERIAL)
    equal(world.redeem(card), codes.OK)
    equal(world.redeem(bytearray(card), OTHER_UID), codes.SERIAL)
    equal(world.books.credits, [(5, 5000)])
    equal(world.redemption.illegal, 2)


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


def test_two_cards_with_the_same_order_in_turn() -> None:
    world = World(last=4)
    cards = [(memory(header(5)), UID), (memory(header(5, uid=OTHER_UID)), OTHER_UID)]
    found = [world.redeem(card, uid) for card, uid in cards * 2]
    equal(found, [codes.OK, codes.COMPLETED, codes.USED, codes.USED])
    equal(world.books.credits, [(5, 5000)])


def test_states_of_the_account() -> None:
    for last, order, kind, code in (
        (0, 1, PURCHASE, codes.NOT_OPENED),
        (0, 1, REPLACEMENT, codes.NOTHING_TO_REPLACE),
        (4, 5, OPEN, codes.OPENED),
        (4, 5, REPLACEMENT, codes.OK),
        (4, 4, REPLACEMENT, codes.COMPLETED),
        (-1, 5, PURCHASE, codes.BOOKS_BEHIND),
    ):
        world = World(last=last)
        equal(world.redeem(memory(header(order, kind=kind))), code, (last, order, kind))


def test_counter_at_its_maximum() -> None:
    world = World(last=0x3FFFFFFE)
    card = memory(header(0x3FFFFFFF))
    equal(world.redeem(card), codes.OK)
    equal(world.redeem(card), codes.USED)
    for order in (0x40000000, 0xFFFFFFFF, 0):
        expected = codes.FORMAT if order else codes.ORDER_BEHIND
        equal(world.redeem(memory(header(order))), expected, order)
    equal(len(world.books.credits), 1)


def test_a_restored_concentrator_takes_no_old_card() -> None:
    world = World(last=4)
    card = memory(header(5))
    equal(world.redeem(card), codes.OK)
    restored = World(last=4)
    before = bytearray(card)
    equal(restored.redeem(card), codes.BOOKS_BEHIND)
    equal(restored.books.credits, [])
    equal(card, before, "the newer mark stays")


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
        (b"DK\2" + bytes(85), codes.FORMAT),
    ):
        world = World(last=4)
        card = memory(head)
        before = bytearray(card)
        equal(world.redeem(card), code)
        equal(card, before, "a card that is not ours is not written")
        equal(world.books.credits, [])
        equal([note[0] for note in world.books.notes], [code])


def test_redeemed_at_its_own_concentrator_only() -> None:
    card = memory(header(5))
    home = World(last=4)
    equal(home.redeem(card), codes.OK)
    other = World(last=4)
    other.books.account = b"\0\0\0\0\0\x99"
    equal(other.redeem(card), codes.ACCOUNT)


def test_validity() -> None:
    for t2000, valid_until, code in (
        (NOW, NOW, codes.OK),
        (NOW + 1, NOW, codes.EXPIRED),
        (-1, NOW, codes.NO_CLOCK),
        (-1, 0, codes.OK),
    ):
        world = World(last=4)
        card = memory(header(5, valid_until=valid_until))
        equal(world.redeem(card, UID, t2000), code, (t2000, valid_until))


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


def test_every_bit_of_the_header_flipped() -> None:
    for bit in range(88 * 8):
        world = World(last=4)
        card = memory(header(5))
        card[32 + bit // 8] ^= 1 << bit % 8
        code = world.redeem(card)
        check(code not in (codes.OK, codes.COMPLETED, codes.USED, -1), (bit, code))
        equal(world.books.credits, [], bit)


def test_every_bit_of_the_write_back_flipped() -> None:
    world = World(last=4)
    used = memory(header(5))
    equal(world.redeem(used), codes.OK)
    for bit in range(64 * 8):
        card = bytearray(used)
        card[WRITE_BACK + bit // 8] ^= 1 << bit % 8
        equal(world.redeem(card), codes.COMPLETED, bit)
        equal(written_back(card)[:2], (codes.COMPLETED, 5))
    equal(world.books.credits, [(5, 5000)])


def test_pulled_at_every_byte() -> None:
    for kind, last, order in ((OPEN, 0, 1), (PURCHASE, 4, 5), (REPLACEMENT, 4, 5)):
        for byte in range(64):
            world = World(last=last)
            card = memory(header(order, kind=kind))
            world.carrier.insert(card)
            world.carrier.tear_at = byte
            equal(world.run(), codes.NOT_MARKED, byte)
            check(world.redemption.credited)
            equal(world.redeem(card), codes.COMPLETED, byte)
            equal(written_back(card)[1:], (order, 5000))
            equal(world.redeem(card), codes.USED, byte)
            equal(world.books.credits, [(order, 5000)], byte)


def test_pulled_at_every_byte_over_an_older_mark() -> None:
    world = World(last=4)
    first = memory(header(5, 100))
    world.redeem(first)
    for byte in range(64):
        world = World(last=5)
        card = bytearray(first)
        card[32:120] = header(6, 200)
        world.carrier.insert(card)
        world.carrier.tear_at = byte
        world.run()
        equal(world.redeem(card), codes.COMPLETED, byte)
        equal(world.redeem(card), codes.USED, byte)
        equal(world.books.credits, [(6, 200)])


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


def test_swapped_between_the_two_phases() -> None:
    """Another household's card is in the reader when the mark is to be written."""
    for polls in range(1, 6):
        world = World(last=4)
        mine = memory(header(5))
        theirs = memory(header(1, account=b"\0\0\0\0\0\x18", uid=OTHER_UID))
        before = bytearray(theirs)
        world.carrier.insert(mine)
        world.run(polls_limit=polls)
        world.carrier.insert(theirs, OTHER_UID)
        while world.redemption.order != 1:
            world.run()
        equal(theirs, before, polls)
        equal(world.carrier.shown[-1], (codes.ACCOUNT, False, -1))
        equal(len([one for one in world.carrier.shown if one[1]]), 1 if polls > 3 else 0, polls)
        world.redeem(mine)
        equal(world.books.credits, [(5, 5000)], polls)
        equal(written_back(mine)[1], 5)


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


def test_pulled_before_it_was_read() -> None:
    world = World(last=4)
    world.carrier.insert(memory(header(5)))
    world.run(polls_limit=1)
    world.carrier.pull()
    equal(world.run(), codes.PULLED)
    equal(world.books.credits, [])
    equal(world.books.notes, [(codes.PULLED, -1, 0, 0, UID, bytes(6))])


def test_rate_limit_after_forgeries() -> None:
    world = World(last=4)
    forged = memory(header(5, key=b"guess"))
    good = memory(header(5))
    for _ in range(FAILURES_LIMIT):
        equal(world.redeem(forged), codes.MAC)
    equal(world.redeem(good), codes.TOO_MANY)
    equal(len(world.books.notes), FAILURES_LIMIT, "a flood does not fill the journal")
    equal(world.redemption.illegal, FAILURES_LIMIT)
    world.ticks = (world.ticks + LOCK_MS) & 0x1FFFFFFF
    equal(world.redeem(good), codes.OK)
    for _ in range(FAILURES_LIMIT):
        world.redeem(forged)
    equal(world.redeem(good), codes.TOO_MANY)
    world.redemption.unlock()
    equal(world.redeem(good), codes.USED)
    for _ in range(FAILURES_LIMIT - 1):
        world.redeem(forged)
    equal(world.redeem(good), codes.USED, "a genuine card begins the count anew")
    equal(world.redeem(forged), codes.MAC)
    equal(world.redeem(good), codes.USED)


def test_waiting_allocates_nothing() -> None:
    world = World()
    redemption = world.redemption
    with heap_locked():
        for ticks in range(20):
            redemption.poll(ticks, NOW)
    equal(redemption.done, 0)


def test_genuine_for_each_account_alone() -> None:
    """The key of one account makes no card of another, whatever the header says."""
    world = World(last=4)
    head = bytearray(header(5, account=b"\0\0\0\0\0\x18"))
    head[12:18] = ACCOUNT
    equal(world.redeem(memory(bytes(head))), codes.MAC)
    head = bytearray(header(5))
    head[80:88] = mac(b"W", ACCOUNT, UID, bytes(head[:80]), DISTRICT_KEY)
    equal(world.redeem(memory(bytes(head))), codes.MAC, "a part's MAC is no other part's")
