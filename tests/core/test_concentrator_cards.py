"""Goal: what cards change in the books is durable, replayed the same, and comes due in time.

Method: the real books and journal on a storage in memory, a new start from it after each step;
the whole redemption against them.
"""

from struct import pack

from card import codes
from card.image import OPEN
from card.redemption import FAILURES_LIMIT, LOCK_MS, Redemption
from card_world import ACCOUNT, METER, NOW, FakeCarrier, header, keys, memory
from concentrator.books import Books
from concentrator.journal import Journal
from concentrator.registry import Registry
from concentrator.tariffs import Tariffs
from harness import check, equal
from prepay.ledger import Ledger
from prepay.policy import Policy
from tariff_images import ENDLESS, image, ladder, terms
from uplink import record
from uplink.record import RECORD_SIZE

INDEX = 0
ONE_RATE = image(1, 1, (ladder((), (50000000,)),), (terms(0, ENDLESS),))
DEARER = image(1, 1, (ladder((), (60000000,)),), (terms(0, ENDLESS),))
TWO_RATES = image(2, 1, (ladder((), (60000000, 30000000)),), (terms(0, ENDLESS),))


class Storage:
    """Files in memory."""

    def __init__(self) -> None:
        self.files = {}  # type: ignore[var-annotated]  # no typing on the device
        self.full = False

    def read_into(self, name: str, offset: int, buf: bytearray, size: int) -> int:
        """Read."""
        part = self.files.get(name, b"")[offset : offset + size]
        buf[: len(part)] = part
        return len(part)

    def append(self, name: str, buf: bytes, size: int) -> bool:
        """Add."""
        if not self.full:
            self.files[name] = self.files.get(name, b"") + bytes(buf[:size])
        return not self.full

    def replace(self, name: str, buf: bytes, size: int) -> bool:
        """Write anew."""
        if not self.full:
            self.files[name] = bytes(buf[:size])
        return not self.full

    def remove(self, name: str) -> bool:
        """Delete."""
        self.files.pop(name, None)
        return True

    def names(self, prefix: str) -> "list[str]":
        """In order."""
        return sorted([name for name in self.files if name.startswith(prefix)])

    def size(self, name: str) -> int:
        """Bytes."""
        return len(self.files[name]) if name in self.files else -1


class World:
    """Books on a storage, a reader, and three tariffs of which 1 is the account's."""

    def __init__(self) -> None:
        self.storage = Storage()
        self.carrier = FakeCarrier()
        self.ticks = 0
        self.crcs = {}  # type: ignore[var-annotated]  # no typing on the device
        self.restart()
        for number, data in ((1, ONE_RATE), (2, DEARER), (3, TWO_RATES)):
            self.load(number, data)
        check(self.books.set_meter(INDEX, bytearray(METER + ACCOUNT + b"\1\0\0\1\0")))
        equal(self.redeem(header(1, 100, OPEN)), codes.OK)

    def load(self, number: int, data: bytes) -> None:
        """Put a tariff in force."""
        from binascii import crc32

        image_crc32 = crc32(data)
        self.tariffs.begin(len(data))
        self.tariffs.put(0, data)
        equal(self.tariffs.store(number, image_crc32), "")
        check(self.books.set_tariff(number, image_crc32, len(data)))
        self.crcs[number] = image_crc32

    def restart(self) -> None:
        """Start from what is stored."""
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
        """A purchase card that names a tariff."""
        content = bytes(20) + pack("<III", from_t2000, self.crcs[number], number)
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
        world.books.look_after(INDEX)
        equal(world.registry.tariff[INDEX], number, t2000)
    written = world.journal.durable_seq
    world.books.look_after(INDEX)
    equal(world.journal.durable_seq, written, "it changes once")


def test_a_tariff_that_cannot_follow_is_refused() -> None:
    world = World()
    equal(world.redeem(world.naming(3, NOW)), codes.NO_TARIFF, "reads other registers")
    world.crcs[2] ^= 1
    equal(world.redeem(world.naming(2, NOW)), codes.NO_TARIFF, "another image")
    world.crcs[9] = 0
    equal(world.redeem(world.naming(9, NOW)), codes.NO_TARIFF)
    equal((world.registry.tariff[INDEX], world.ledger.credit_fen[INDEX]), (1, 100))


def test_behind_the_head_end_no_card_is_taken() -> None:
    world = World()
    world.books.behind = True
    for order in (1, 2, 3):
        equal(world.redeem(header(order, 100)), codes.BOOKS_BEHIND, order)
    check(world.books.restore(INDEX, 5, 900))
    equal(world.redeem(header(6, 100)), codes.BOOKS_BEHIND, "until all is restored")
    world.books.behind = False
    for order in (2, 4):
        equal(world.redeem(header(order, 100)), codes.ORDER_BEHIND, order)
    equal(world.redeem(header(5, 100)), codes.COMPLETED)
    equal(world.redeem(header(6, 100)), codes.OK)
    world.restart()
    equal((world.ledger.order[INDEX], world.ledger.credit_fen[INDEX]), (6, 1000))


def test_restoring_never_goes_back() -> None:
    world = World()
    check(world.books.restore(INDEX, 5, 900))
    for order, credit_fen in ((4, 900), (5, 899), (6, 0)):
        check(not world.books.restore(INDEX, order, credit_fen), (order, credit_fen))
    check(world.books.restore(INDEX, 5, 900), "saying it again does no harm")
    world.storage.full = True
    check(not world.books.restore(INDEX, 9, 9000))
    equal((world.ledger.order[INDEX], world.ledger.credit_fen[INDEX]), (5, 900))


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
    world.ticks += LOCK_MS
    equal(world.redeem(header(2, 100)), codes.OK)
    world.restart()
    equal(list(world.books.illegal), [5, 0], "a genuine card begins the row anew")
    equal(world.redeem(forged), codes.MAC)
    equal(world.redeem(header(2, 100)), codes.COMPLETED)
    world.books.note_card(codes.OK, -1, 9, 0, bytearray(8), bytearray(6))
    check(world.journal.sync())
    world.restart()
    equal(list(world.books.illegal), [0, 0], "an operator's card set it to 0")


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
