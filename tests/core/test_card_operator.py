"""Goal: an operator's card changes what it names, once at each concentrator, and nothing else.

Method: preset, clear, key, inspection and test cards against the real settings on a storage that
can be full or lose its power at each operation; replays, other kinds, wrong values.
"""

from binascii import hexlify
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


class Books(FakeBooks):
    """These books have an account that was stopped."""

    def __init__(self) -> None:
        super().__init__(last=4)
        self.stopped = True

    def resume(self, index: int) -> bool:
        """Bill the account again."""
        self.stopped = False
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

    def redeem(self, head: bytes) -> int:
        """Insert a card with this header; return its code."""
        self.carrier.insert(memory(head), UID)
        for _ in range(60):
            if self.redemption.poll(0, NOW):
                break
        self.carrier.pull()
        self.redemption.poll(0, NOW)
        return self.redemption.code


def preset(order: int, *values: int) -> bytes:
    """Return a preset card: alarms, overdraft, hoarding, close."""
    values = (values + (KEEP,) * 5)[:5]
    content = pack("<IIIII", *values) + bytes(12)
    return header(order, 0, PRESET, account=NOBODY, meter=NOBODY, content=content)


def key_card(order: int, version: int, new: bytes = NEW_KEY, key: bytes = DISTRICT_KEY) -> bytes:
    """Return a card that brings the next key, under the present one."""
    mask = hmac(key, b"dianka/key/wrap/1\0" + UID + pack("<I", order))
    wrapped = bytes([new[at] ^ mask[at] for at in range(16)])
    content = bytes([version, 0, 0, 0]) + wrapped + bytes(12)
    return header(order, 0, KEY, account=NOBODY, meter=NOBODY, key=key, content=content)


def limits(world: World) -> "list[int]":
    """Return the limits that a preset card may change."""
    names = ("alarm_1_fen", "alarm_2_fen", "overdraft_fen", "hoarding_limit_fen", "close_fen")
    return [world.settings.number(name) for name in names]


def test_preset() -> None:
    world = World()
    equal(world.redeem(preset(7, 3000, 2000, 500, 100000, 100)), codes.OK)
    equal(limits(world), [3000, 2000, 500, 100000, 100])
    equal(world.redeem(preset(8, KEEP, 1000)), codes.OK)
    equal(limits(world), [3000, 1000, 500, 100000, 100])
    world.restart()
    equal(limits(world), [3000, 1000, 500, 100000, 100])
    equal(world.books.credits, [])


def test_preset_replayed() -> None:
    world = World()
    equal(world.redeem(preset(7, 3000)), codes.OK)
    for order in (7, 6, 0):
        equal(world.redeem(preset(order, 1234)), codes.USED, order)
    world.restart()
    equal(world.redeem(preset(7, 1234)), codes.USED)
    equal(limits(world)[0], 3000)


def test_a_card_of_2034_and_later() -> None:
    """The number of an operator's card is its second of issue, from 2034 on above 2**30."""
    world = World()
    for order in (0x3FFFFFFF, 0x40000000, 0x7FFFFFFE):
        equal(world.redeem(preset(order, order & 0xFFFF or 7)), codes.OK, order)
        equal(limits(world)[0], order & 0xFFFF or 7)
        world.restart()
        equal(world.redeem(preset(order, 1234)), codes.USED)


def test_preset_that_makes_no_sense_changes_nothing() -> None:
    world = World()
    before = limits(world)
    for values in ((1000, 2000), (KEEP, KEEP, KEEP, 0), (0xFFFFFFFE,)):
        equal(world.redeem(preset(7, *values)), codes.FORMAT, values)
        equal(limits(world), before)
    equal(world.redeem(preset(7, 5000)), codes.OK, "its number was not used up")


def test_key_change_kills_old_cards() -> None:
    world = World()
    equal(world.redeem(key_card(1, VERSION + 1)), codes.OK)
    equal(world.redeem(header(5)), codes.KEY_VERSION)
    equal(world.redeem(header(5, version=VERSION + 1)), codes.MAC)
    equal(world.redeem(header(5, version=VERSION + 1, key=NEW_KEY)), codes.OK)
    world.restart()
    equal(world.redeem(header(6, version=VERSION + 1, key=NEW_KEY)), codes.OK)
    equal(world.redeem(key_card(1, VERSION + 1)), codes.KEY_VERSION, "and the key card itself")


def test_key_version_never_goes_back() -> None:
    world = World()
    for version in (VERSION, VERSION - 1, 0):
        equal(world.redeem(key_card(1, version)), codes.FORMAT, version)
    equal(world.redeem(header(5)), codes.OK)


def test_clear() -> None:
    world = World()
    world.books.illegal[codes.ILLEGAL] = 9
    equal(world.redeem(header(1, 0, CLEAR)), codes.OK)
    equal((world.books.stopped, world.books.illegal[codes.ILLEGAL]), (False, 0))
    world.books.stopped = True
    equal(world.redeem(header(1, 0, CLEAR)), codes.USED)
    check(world.books.stopped)
    world.books.illegal[codes.ILLEGAL] = 9
    equal(world.redeem(header(2, 0, CLEAR, account=NOBODY, meter=NOBODY)), codes.OK)
    equal((world.books.stopped, world.books.illegal[codes.ILLEGAL]), (True, 0))
    noted = [note[:3] for note in world.books.notes if note[0] == codes.OK]
    equal(noted, [(codes.OK, -1, 1), (codes.OK, -1, 2)], "a restart counts from here on")
    equal(world.redeem(header(3, 0, CLEAR, account=b"\0\0\0\0\0\x99")), codes.ACCOUNT)
    equal(world.redeem(header(3, 0, CLEAR, meter=NOBODY)), codes.METER)


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
    for head in (preset(7, 3000), key_card(7, VERSION + 1), header(7, 0, CLEAR)):
        world = World()
        before = limits(world)
        world.storage.full = True
        equal(world.redeem(head), codes.STORAGE)
        equal(limits(world), before)
        world.storage.full = False
        equal(world.redeem(head), codes.OK)


def test_power_cut_at_each_operation() -> None:
    for head in (preset(7, 3000, 2000), key_card(7, VERSION + 1), header(7, 0, CLEAR)):
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
            equal(world.settings.number("operator_order"), 7)
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
    equal(world.redeem(preset(7, 3000)), codes.WRONG_TYPE)
