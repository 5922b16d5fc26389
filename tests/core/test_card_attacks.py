"""Goal: every known attack on a card is refused with its code; ledger and card stay consistent.

Method: each attack has one test, named after it, against the whole redemption. Attacks on a chip
are in test_chip_*.py, on the console in test_concentrator_login.py; docs/CARDS.md lists them all.
"""

from struct import pack

from card import codes
from card.image import INSPECT, OPEN, PURCHASE, REPLACEMENT
from card.lockout import FAILURES_LIMIT, LOCK_MS, NOTES_LIMIT, RELIEF_MS, SPREAD_LIMIT
from card_world import (
    ACCOUNT,
    DISTRICT,
    DISTRICT_KEY,
    NOW,
    OTHER_UID,
    UID,
    VERSION,
    WRITE_BACK,
    World,
    header,
    mac,
    memory,
    written_back,
)
from harness import check, equal


def refused(world: World, card: bytearray, code: int, uid: bytes = UID) -> None:
    """Check that the card gets this code, brings no money and is not written."""
    before = bytearray(card)
    credits = list(world.books.credits)
    equal(world.redeem(card, uid), code)
    equal(world.books.credits, credits, "no money")
    equal(card, before, "a card that is not ours is not written")


def test_copied_to_another_card() -> None:
    world = World(last=4)
    refused(world, memory(header(5)), codes.SERIAL, OTHER_UID)
    equal(world.redeem(memory(header(5))), codes.OK)


def test_of_another_account() -> None:
    refused(World(last=4), memory(header(5, account=b"\0\0\0\0\0\x18")), codes.ACCOUNT)


def test_of_another_meter() -> None:
    refused(World(last=4), memory(header(5, meter=b"\x65\x37\x98\0\0\0")), codes.METER)


def test_of_another_district() -> None:
    refused(World(last=4), memory(header(5, district=DISTRICT + 1)), codes.DISTRICT)
    moved = bytearray(header(5, district=DISTRICT + 1, key=b"another district"))
    moved[8] = DISTRICT & 0xFF
    refused(World(last=4), memory(bytes(moved)), codes.MAC)


def test_of_an_old_key_version() -> None:
    refused(World(last=4), memory(header(5, version=VERSION - 1)), codes.KEY_VERSION)
    relabelled = bytearray(header(5, version=VERSION - 1, key=b"the key before"))
    relabelled[5] = VERSION
    refused(World(last=4), memory(bytes(relabelled)), codes.MAC)


def test_changed_without_the_key() -> None:
    """The cases change money, order, validity, kind, account, meter and card."""
    genuine = header(5, 5000, valid_until=NOW)
    for offset in (4, 6, 12, 17, 18, 23, 32, 36, 37, 39, 40, 44, 48, 79):
        for change in (1, 0x80, 0xFF):
            forged = bytearray(genuine)
            forged[offset] ^= change
            world = World(last=4)
            card = memory(bytes(forged))
            code = world.redeem(card)
            check(code in (codes.MAC, codes.WRONG_TYPE), (offset, change, code))
            equal(world.books.credits, [], offset)


def test_garbage() -> None:
    state = 12345
    for fill in range(300):
        card = bytearray(256)
        for index in range(256):
            state = state * 1103515245 + 12345 & 0x7FFFFFFF
            card[index] = state >> 16 & 0xFF
        if fill & 1:
            card[32:36] = b"DK\1\1"
        world = World(last=4)
        code = world.redeem(card)
        check(code not in (codes.OK, codes.COMPLETED, -1), (fill, code))
        equal(world.books.credits, [])
    for content in (bytes(256), b"\xff" * 256):
        refused(World(last=4), bytearray(content), codes.BLANK)


def test_a_card_of_the_wrong_size() -> None:
    for size in (0, 1, 32, 255):
        world = World(last=4)
        world.carrier.size = size
        refused(world, memory(header(5)), codes.WRONG_TYPE)
    world = World(last=4)
    world.carrier.size = 65535
    card = bytearray(bytes(memory(header(5))) + b"\xa5" * 1000)
    equal(world.redeem(card), codes.OK, "what is behind the image does not matter")
    equal(bytes(card[256:]), b"\xa5" * 1000)


def test_a_mark_made_up() -> None:
    """A write-back from another card or account, or a forged one, does not count."""
    world = World(last=4)
    other = World(last=4)
    used = memory(header(5, uid=OTHER_UID))
    equal(other.redeem(used, OTHER_UID), codes.OK)
    card = memory(header(5))
    card[WRITE_BACK : WRITE_BACK + 64] = used[WRITE_BACK : WRITE_BACK + 64]
    equal(world.redeem(card), codes.OK, "it neither uses the card up nor blocks it")
    equal(written_back(card)[1], 5)


def test_replay_on_the_same_card() -> None:
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


def test_replay_on_another_card() -> None:
    world = World(last=4)
    card = memory(header(5))
    copy = bytearray(card)
    equal(world.redeem(copy, OTHER_UID), codes.SERIAL)
    equal(world.redeem(card), codes.OK)
    equal(world.redeem(bytearray(card), OTHER_UID), codes.SERIAL)
    equal(world.books.credits, [(5, 5000)])
    equal(world.books.illegal[codes.ILLEGAL], 2)


def test_two_cards_with_the_same_order_in_turn() -> None:
    world = World(last=4)
    other = memory(header(5, uid=OTHER_UID))
    cards = [(memory(header(5)), UID), (bytearray(other), OTHER_UID)]
    found = [world.redeem(card, uid) for card, uid in cards * 2]
    equal(found, [codes.OK, codes.OTHER_CARD, codes.USED, codes.OTHER_CARD])
    equal(world.books.credits, [(5, 5000)])
    equal(cards[1][0], other, "a mark would say that its money was taken")


def test_counter_at_its_maximum() -> None:
    world = World(last=0x7FFFFFFE)
    card = memory(header(0x7FFFFFFF))
    equal(world.redeem(card), codes.OK)
    equal(world.redeem(card), codes.USED)
    for order in (0x80000000, 0xFFFFFFFF, 0):
        expected = codes.FORMAT if order else codes.ORDER_BEHIND
        equal(world.redeem(memory(header(order))), expected, order)
    equal(len(world.books.credits), 1)


def test_an_old_card_at_a_restored_concentrator() -> None:
    world = World(last=4)
    card = memory(header(5))
    equal(world.redeem(card), codes.OK)
    restored = World(last=4)
    before = bytearray(card)
    equal(restored.redeem(card), codes.BOOKS_BEHIND)
    equal(restored.books.credits, [])
    equal(card, before, "the newer mark stays")


def test_redeemed_again_at_another_concentrator() -> None:
    card = memory(header(5))
    home = World(last=4)
    equal(home.redeem(card), codes.OK)
    other = World(last=4)
    other.books.account = b"\0\0\0\0\0\x99"
    equal(other.redeem(card), codes.ACCOUNT)


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
        world.carrier.shown.clear()
        card = bytearray(used)
        card[WRITE_BACK + bit // 8] ^= 1 << bit % 8
        equal(world.redeem(card), codes.COMPLETED, bit)
        equal(written_back(card)[:2], (codes.COMPLETED, 5))
        world.carrier.shown.clear()
    equal(world.books.credits, [(5, 5000)])


def test_torn_write_at_every_byte() -> None:
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


def test_torn_write_of_an_inspection_card_at_every_byte() -> None:
    for byte in range(64):
        world = World(last=4)
        card = memory(header(0, 0, INSPECT))
        world.carrier.insert(card)
        world.carrier.tear_at = byte
        equal(world.run(), codes.PULLED, byte)
        equal(world.redeem(card), codes.COMPLETED, byte)
        equal(written_back(card)[1], 4)
        equal(world.books.credits, [])


def test_torn_write_over_an_older_mark() -> None:
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


def test_swapped_between_the_two_phases() -> None:
    """Another household's card is in the reader when the mark is to be written."""
    for polls in range(1, 10):
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
        equal(len([one for one in world.carrier.shown if one[1]]), 1 if polls > 5 else 0, polls)
        world.redeem(mine)
        equal(world.books.credits, [(5, 5000)], polls)
        equal(written_back(mine)[1], 5)


def test_guessing_is_locked_out() -> None:
    world = World(last=4)
    forged = memory(header(5, key=b"guess"))
    good = memory(header(5))
    for _ in range(FAILURES_LIMIT):
        equal(world.redeem(forged), codes.MAC)
    equal(world.redeem(good), codes.TOO_MANY)
    equal(len(world.books.notes), FAILURES_LIMIT)
    equal(world.books.illegal[codes.ILLEGAL], FAILURES_LIMIT)
    world.ticks = (world.ticks + LOCK_MS) & 0x1FFFFFFF
    equal(world.redeem(good), codes.OK)
    equal(world.redeem(forged), codes.MAC, "one more")
    equal(world.redeem(good), codes.TOO_MANY)
    world.redemption.unlock()
    equal(world.redeem(good), codes.USED)


def test_each_further_guess_locks_for_twice_as_long() -> None:
    world = World(last=4)
    forged = memory(header(5, key=b"guess"))
    for _ in range(FAILURES_LIMIT - 1):
        equal(world.redeem(forged), codes.MAC)
    for lock_ms in (60000, 120000, 240000, 480000, 480000, 480000):
        equal(world.redeem(forged), codes.MAC)
        world.ticks = (world.ticks + lock_ms - 1000) & 0x1FFFFFFF
        equal(world.redeem(forged), codes.TOO_MANY, lock_ms)
        world.ticks = (world.ticks + 1000) & 0x1FFFFFFF
    equal(world.redeem(memory(header(5))), codes.OK)
    equal(world.redeem(forged), codes.MAC)
    world.ticks = (world.ticks + 3600000) & 0x1FFFFFFF
    equal(world.redeem(forged), codes.MAC, "after an hour without one all is forgotten")
    equal(world.redeem(memory(header(6))), codes.OK)


def test_ones_own_card_in_between_ends_no_lock() -> None:
    """Proof: four forged cards and one that was used, 200 times, and none was ever refused."""
    world = World(last=4)
    own = memory(header(5))
    equal(world.redeem(own), codes.OK)
    judged = 0
    for _ in range(40):
        world.carrier.shown.clear()
        for uid in (UID, OTHER_UID):
            for _ in range(4):
                judged += world.redeem(memory(header(6, uid=uid, key=b"guess")), uid) == codes.MAC
            world.redeem(own)
    equal(judged, 2 * FAILURES_LIMIT)


def test_forged_cards_lock_no_neighbour_out() -> None:
    """Proof: five forged cards, and every household of this reader was refused for a minute."""
    world = World(last=4)
    for _ in range(20):
        world.redeem(memory(header(9, uid=OTHER_UID, key=b"guess")), OTHER_UID)
    equal(world.redeem(memory(header(5))), codes.OK)


def made_up(number: int) -> bytes:
    """Return a serial number that no card has had."""
    return b"\x08" + pack(">I", number) + b"\0\0\0"


def test_made_up_numbers_lock_nobody_out_for_long() -> None:
    world = World(last=4)
    judged = 0
    for number in range(200):
        uid = made_up(number)
        judged += world.redeem(memory(header(9, uid=uid, key=b"guess")), uid) == codes.MAC
    equal(judged, SPREAD_LIMIT)
    good = memory(header(5))
    equal(world.redeem(good), codes.TOO_MANY)
    world.ticks = (world.ticks + RELIEF_MS) & 0x1FFFFFFF
    equal(world.redeem(good), codes.OK)


def test_made_up_numbers_do_not_end_the_lock_of_another() -> None:
    world = World(last=4)
    for _ in range(FAILURES_LIMIT):
        world.redeem(memory(header(9, uid=OTHER_UID, key=b"guess")), OTHER_UID)
    for number in range(20):
        uid = made_up(number)
        equal(world.redeem(memory(header(9, uid=uid, key=b"guess")), uid), codes.MAC)
    equal(world.redeem(memory(header(9, uid=OTHER_UID)), OTHER_UID), codes.TOO_MANY)


def test_a_restart_ends_no_lock() -> None:
    world = World(last=4)
    judged = 0
    for _ in range(50):
        for number in range(10):
            uid = made_up(number)
            judged += world.redeem(memory(header(9, uid=uid, key=b"guess")), uid) == codes.MAC
        world.restart()
        world.run(polls_limit=1)
    equal(judged, 10, "the reader begins with a rest")
    world.ticks = (world.ticks + RELIEF_MS) & 0x1FFFFFFF
    equal(world.redeem(memory(header(5))), codes.OK)


def test_a_reader_that_had_a_rest_forgets() -> None:
    world = World(last=4)
    for _ in range(10):
        world.redeem(memory(header(9, uid=OTHER_UID, key=b"guess")), OTHER_UID)
    equal(world.books.illegal[codes.RECENT], FAILURES_LIMIT)
    world.ticks = (world.ticks + FAILURES_LIMIT * RELIEF_MS) & 0x1FFFFFFF
    equal(world.redeem(memory(header(5))), codes.OK)
    equal(list(world.books.illegal), [FAILURES_LIMIT, 0])
    world.restart()
    equal(world.redeem(memory(header(6))), codes.OK)


def test_a_flood_of_refused_cards_is_noted_within_a_budget() -> None:
    """Proof: a blank card, one of another district and a used one left a record each time."""
    world = World(last=4)
    equal(world.redeem(memory(header(5))), codes.OK)
    for card in (bytearray(256), memory(header(6, district=1)), memory(header(5))):
        for _ in range(100):
            world.redeem(card)
            world.ticks = (world.ticks + 10000) & 0x1FFFFFFF
    # Fifty minutes have passed.
    equal(len(world.books.notes), NOTES_LIMIT + 3000000 // 180000)


def test_the_key_of_one_account_makes_no_card_of_another() -> None:
    """The key of one account makes no card of another, whatever the header says."""
    world = World(last=4)
    head = bytearray(header(5, account=b"\0\0\0\0\0\x18"))
    head[12:18] = ACCOUNT
    equal(world.redeem(memory(bytes(head))), codes.MAC)
    head = bytearray(header(5))
    head[80:88] = mac(b"W", ACCOUNT, UID, bytes(head[:80]), DISTRICT_KEY)
    equal(world.redeem(memory(bytes(head))), codes.MAC, "a part's MAC is no other part's")
