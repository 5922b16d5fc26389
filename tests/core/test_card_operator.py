"""Goal: an operator's card changes what it names, once at each concentrator, and nothing else.

Method: preset, clear, key, inspection and test cards against the real settings on a storage that
can be full or lose its power at each operation; replays, other kinds, wrong values.
"""

from binascii import hexlify
from hashlib import sha256
from struct import pack, unpack

from card import codes
from card.image import CLEAR, INSPECT, KEY, OPEN, PRESET, PURCHASE, TEST
from card.keys import Keys
from card.redemption import Redemption
from card_world import (
    DISTRICT,
    DISTRICT_KEY,
    NOW,
    UID,
    VERSION,
    WRITE_BACK,
    FakeBooks,
    FakeCarrier,
    header,
    hmac,
    memory,
)
from concentrator.cards.operator import Operator
from concentrator.settings import Settings
from harness import check, equal
from memory_storage import PowerCut, Storage

NOBODY = bytes(6)
KEEP = 0xFFFFFFFF
NEW_KEY = bytes(range(100, 116))
# Operator's cards were made shortly before they are inserted.
FIRST = NOW - 3600


class Books(FakeBooks):
    """These books have an account that was stopped."""

    def __init__(self) -> None:
        super().__init__(last=4)
        self.stopped = True
        self.told = []  # type: ignore[var-annotated]  # no typing on the device

    def resume(self, index: int) -> bool:
        """Bill the account again."""
        self.stopped = False
        return True

    def note_operator(
        self,
        kind: int,
        version: int,
        number: int,
        uid: bytes,
        changes: "list[tuple[int, int, bytes, bytes]]",
    ) -> bool:
        """Take what is told of a card, unless the storage takes nothing."""
        if self.refuse:
            return False
        self.told.append((kind, version, number, uid, changes))
        return True


class World:
    """This is a concentrator's settings, cards and operator; `restart` loses unstored state."""

    def __init__(self) -> None:
        self.storage = Storage()
        self.books = Books()
        self.carrier = FakeCarrier()
        self.settings = Settings(self.storage)
        self.settings.change_all(
            [
                ("district", str(DISTRICT)),
                ("card_key", hexlify(DISTRICT_KEY).decode()),
                ("card_key_version", str(VERSION)),
            ]
        )
        self.restart()

    def restart(self) -> None:
        """Start from the stored files."""
        self.settings = Settings(self.storage)
        self.settings.load()
        books = self.books
        operator = Operator(self.settings, books, self.configure)  # type: ignore[arg-type]  # a fake
        self.redemption = Redemption(self.carrier, self.books, Keys(0, 0, b""), operator)
        self.configure()

    def configure(self) -> None:
        """Take the settings over."""
        settings = self.settings
        version = settings.number("card_key_version")
        key = settings.key("card_key")
        self.redemption.keys = Keys(settings.number("district"), version, key)

    def redeem(self, head: bytes, now_t2000: int = NOW) -> int:
        """Insert a card with this header at a time; return its code."""
        self.carrier.insert(memory(head), UID)
        for _ in range(60):
            if self.redemption.poll(0, now_t2000):
                break
        self.carrier.pull()
        self.redemption.poll(0, now_t2000)
        return self.redemption.code


def preset(order: int, *values: int) -> bytes:
    """Return a preset card: alarms, overdraft, hoarding, close."""
    values = (values + (KEEP,) * 5)[:5]
    content = pack("<IIIII", *values) + bytes(12)
    return header(order, 0, PRESET, account=NOBODY, meter=NOBODY, content=content)


def key_card(order: int, version: int, new: bytes = NEW_KEY, key: bytes = DISTRICT_KEY) -> bytes:
    """Return a card that brings the next key, under the present one."""
    mask = hmac(key, b"dianka/key/wrap/2\0" + UID + pack("<IB", order, version))
    wrapped = bytes([new[at] ^ mask[at] for at in range(16)])
    content = bytes([version, 0, 0, 0]) + wrapped + bytes(12)
    return header(order, 0, KEY, account=NOBODY, meter=NOBODY, key=key, content=content)


def limits(world: World) -> "list[int]":
    """Return the limits that a preset card may change."""
    names = ("alarm_1_fen", "alarm_2_fen", "overdraft_fen", "hoarding_limit_fen", "close_fen")
    return [world.settings.number(name) for name in names]


def test_preset() -> None:
    world = World()
    equal(world.redeem(preset(FIRST + 7, 3000, 2000, 500, 100000, 100)), codes.OK)
    equal(limits(world), [3000, 2000, 500, 100000, 100])
    equal(world.redeem(preset(FIRST + 8, KEEP, 1000)), codes.OK)
    equal(limits(world), [3000, 1000, 500, 100000, 100])
    world.restart()
    equal(limits(world), [3000, 1000, 500, 100000, 100])
    equal(world.books.credits, [])


def test_preset_replayed() -> None:
    world = World()
    equal(world.redeem(preset(FIRST + 7, 3000)), codes.OK)
    for order in (7, 6, 0):
        equal(world.redeem(preset(FIRST + order, 1234)), codes.USED, order)
    world.restart()
    equal(world.redeem(preset(FIRST + 7, 1234)), codes.USED)
    equal(limits(world)[0], 3000)


def test_a_card_is_carried_out_by_one_write_in_a_poll() -> None:
    world = World()
    world.carrier.insert(memory(preset(FIRST + 7, 3000)), UID)
    changes = world.storage.changes
    polls = 0
    while not world.redemption.poll(0, NOW):
        check(world.storage.changes - changes <= 1)
        changes = world.storage.changes
        polls += 1
        check(polls < 60)
    equal((world.redemption.code, limits(world)[0]), (codes.OK, 3000))


def test_a_card_of_2034_and_later() -> None:
    """The number of an operator's card is its second of issue, from 2034 on above 2**30."""
    world = World()
    for order in (0x3FFFFFFF, 0x40000000, 0x7FFFFFFE):
        equal(world.redeem(preset(order, order & 0xFFFF or 7), order), codes.OK, order)
        equal(limits(world)[0], order & 0xFFFF or 7)
        world.restart()
        equal(world.redeem(preset(order, 1234), order), codes.USED)


def test_a_card_far_from_the_time_is_refused_and_blocks_none() -> None:
    """Proof: a card of number 0x3FFFFFFF ended the use of all operator's cards."""
    world = World()
    equal(world.redeem(preset(0x3FFFFFFF, 1234)), codes.ORDER_AHEAD)
    equal(world.redeem(preset(NOW + 86401, 1234)), codes.ORDER_AHEAD)
    equal(world.redeem(preset(NOW - 31622401, 1234)), codes.EXPIRED)
    equal(world.settings.number("operator_order"), 0)
    equal(world.books.told, [])
    equal(world.redeem(preset(FIRST, 1234)), codes.OK)


def test_a_card_waits_for_the_time() -> None:
    world = World()
    equal(world.redeem(preset(FIRST, 1234), -1), codes.NO_CLOCK)
    equal(world.settings.number("operator_order"), 0)
    equal(world.redeem(preset(FIRST, 1234)), codes.OK)


def test_every_card_is_told_with_what_it_changes() -> None:
    """Proof: a preset card raised the overdraft of all accounts, and no record told of it."""
    world = World()
    equal(world.redeem(preset(FIRST + 7, 3000, KEEP, 99999999)), codes.OK)
    told = [
        (64, 1, pack("<q", 1000), pack("<q", 3000)),
        (66, 1, pack("<q", 0), pack("<q", 99999999)),
    ]
    equal(world.books.told, [(PRESET, VERSION, FIRST + 7, UID, told)])
    world.books.told.clear()
    equal(world.redeem(key_card(FIRST + 8, VERSION + 1)), codes.OK)
    kind, version, number, uid, changes = world.books.told[0]
    equal((kind, version, number, uid), (KEY, VERSION, FIRST + 8, UID))
    equal(changes[0], (4, 2, sha256(DISTRICT_KEY).digest()[:8], sha256(NEW_KEY).digest()[:8]))
    equal(changes[1], (5, 1, pack("<q", VERSION), pack("<q", VERSION + 1)))


def test_what_cannot_be_told_is_not_done() -> None:
    for head in (preset(FIRST + 7, 3000), key_card(FIRST + 7, VERSION + 1)):
        world = World()
        before = limits(world), world.settings.key("card_key")
        world.books.refuse = True
        equal(world.redeem(head), codes.STORAGE)
        equal((limits(world), world.settings.key("card_key")), before)
        equal(world.settings.number("operator_order"), 0)


def test_preset_that_makes_no_sense_changes_nothing() -> None:
    world = World()
    before = limits(world)
    for values in ((1000, 2000), (KEEP, KEEP, KEEP, 0), (0xFFFFFFFE,)):
        equal(world.redeem(preset(FIRST + 7, *values)), codes.FORMAT, values)
        equal(limits(world), before)
    equal(world.redeem(preset(FIRST + 7, 5000)), codes.OK, "its number was not used up")


def test_key_change_kills_old_cards() -> None:
    world = World()
    equal(world.redeem(key_card(FIRST + 1, VERSION + 1)), codes.OK)
    equal(world.redeem(header(5)), codes.KEY_VERSION)
    equal(world.redeem(header(5, version=VERSION + 1)), codes.MAC)
    equal(world.redeem(header(5, version=VERSION + 1, key=NEW_KEY)), codes.OK)
    world.restart()
    equal(world.redeem(header(6, version=VERSION + 1, key=NEW_KEY)), codes.OK)
    equal(
        world.redeem(key_card(FIRST + 1, VERSION + 1)),
        codes.KEY_VERSION,
        "and the key card itself",
    )


def test_key_version_never_goes_back() -> None:
    world = World()
    for version in (VERSION, VERSION - 1, 0):
        equal(world.redeem(key_card(FIRST + 1, version)), codes.FORMAT, version)
    equal(world.redeem(header(5)), codes.OK)


def test_clear() -> None:
    world = World()
    world.books.illegal[codes.ILLEGAL] = 9
    equal(world.redeem(header(FIRST + 1, 0, CLEAR)), codes.OK)
    equal((world.books.stopped, world.books.illegal[codes.ILLEGAL]), (False, 0))
    world.books.stopped = True
    equal(world.redeem(header(FIRST + 1, 0, CLEAR)), codes.USED)
    check(world.books.stopped)
    world.books.illegal[codes.ILLEGAL] = 9
    equal(world.redeem(header(FIRST + 2, 0, CLEAR, account=NOBODY, meter=NOBODY)), codes.OK)
    equal((world.books.stopped, world.books.illegal[codes.ILLEGAL]), (True, 0))
    noted = [note[:3] for note in world.books.notes if note[0] == codes.OK]
    equal(
        noted,
        [(codes.OK, -1, FIRST + 1), (codes.OK, -1, FIRST + 2)],
        "a restart counts from here on",
    )
    equal(world.redeem(header(FIRST + 3, 0, CLEAR, account=b"\0\0\0\0\0\x99")), codes.ACCOUNT)
    equal(world.redeem(header(FIRST + 3, 0, CLEAR, meter=NOBODY)), codes.METER)


def test_inspection_takes_the_state_home() -> None:
    world = World()
    world.books.credits.append((4, 777))
    for _ in range(2):
        card = memory(header(0, 0, INSPECT))
        world.carrier.insert(card, UID)
        while not world.redemption.poll(0, NOW):
            pass
        equal(world.redemption.code, codes.COMPLETED)
        order, balance_fen = unpack("<Ii", bytes(card[WRITE_BACK + 4 : WRITE_BACK + 12]))
        equal((order, balance_fen), (4, 777))
    equal(world.redeem(header(0, 0, INSPECT, account=NOBODY)), codes.ACCOUNT)
    equal(len(world.books.credits), 1)


def test_test_card() -> None:
    world = World()
    head = header(0, 0, TEST, account=NOBODY, meter=NOBODY)
    equal(world.redeem(head), codes.COMPLETED)
    equal(world.redeem(header(0, 0, TEST, account=NOBODY, key=b"other")), codes.MAC)
    equal((world.books.credits, world.storage.changes), ([], 2))


def test_money_on_an_operator_s_card_is_no_money() -> None:
    world = World()
    for kind in (PRESET, KEY):
        equal(world.redeem(header(5, 5000, kind)), codes.WRONG_TYPE, "with an account")
    for kind in (CLEAR, INSPECT, TEST):
        world.redeem(header(5, 5000, kind))
    for kind in (OPEN, PURCHASE):
        equal(world.redeem(header(5, 5000, kind, account=NOBODY)), codes.ACCOUNT)
    equal(world.books.credits, [])


def test_full_storage_changes_nothing() -> None:
    for head in (
        preset(FIRST + 7, 3000),
        key_card(FIRST + 7, VERSION + 1),
        header(FIRST + 7, 0, CLEAR),
    ):
        world = World()
        before = limits(world)
        world.storage.full = True
        equal(world.redeem(head), codes.STORAGE)
        equal(limits(world), before)
        world.storage.full = False
        equal(world.redeem(head), codes.OK)


def test_power_cut_at_each_operation() -> None:
    for head in (
        preset(FIRST + 7, 3000, 2000),
        key_card(FIRST + 7, VERSION + 1),
        header(FIRST + 7, 0, CLEAR),
    ):
        # The cuts come before and after the write of each copy.
        for cut_at, kept_percent in ((0, 0), (0, 100), (1, 0), (1, 100)):
            world = World()
            world.storage.cut = cut_at
            world.storage.kept_percent = kept_percent
            try:
                world.redeem(head)
                check(False, "the power was to fail")
            except PowerCut:
                pass
            world.restart()
            world.redeem(head)
            equal(world.settings.number("operator_order"), FIRST + 7)
            if head[4] == PRESET:
                equal(limits(world)[:2], [3000, 2000], cut_at)
            elif head[4] == KEY:
                equal(world.redemption.keys.version, VERSION + 1, cut_at)
                equal(world.settings.key("card_key"), NEW_KEY)
            else:
                check(not world.books.stopped)


def test_without_an_operator_its_cards_are_refused() -> None:
    world = World()
    world.redemption = Redemption(world.carrier, world.books, Keys(0, 0, b""))
    world.configure()
    equal(world.redeem(preset(FIRST + 7, 3000)), codes.WRONG_TYPE)
