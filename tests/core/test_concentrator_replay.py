"""Goal: records may be replayed over tables that have the effect of later ones, row by row.

Method: four accounts go through random sequences of everything that books can do; the tables are
kept after each step. Then, for steps k before n: each column and row is taken as of its own step
from k to n, as a checkpoint that is written while the concentrator goes on may have them; the
records behind k replayed over them give the tables of n.
"""

import gc
import sys
from array import array

from card import codes
from card_world import ACCOUNT, METER
from civil import day_number
from concentrator.books import registry as meters
from concentrator.books.books import Books
from concentrator.books.doubt import DOUBTED
from concentrator.books.registry import Registry
from concentrator.books.tariffs import Tariffs, file_name, name_of
from concentrator.storage.journal import Journal
from harness import check, equal
from memory_storage import Storage
from prepay import policy as rules
from prepay.accounts import STOPPED
from prepay.ledger import CHARGED, FIRST, Ledger
from prepay.policy import Policy
from tariff_images import ENDLESS, MONTHLY, YEARLY, image, ladder, terms
from uplink import record
from uplink.record import RECORD_SIZE

SMALL = sys.maxsize < 1 << 32

ROWS = 4
RATES = 4
DAY_S = 86400
START = day_number(26, 3, 27) * DAY_S + 9 * 3600
TIERED = image(
    2, 3, (ladder((9000, 20000), (50001237, 30000000) * 3),), (terms(0, YEARLY),), rules=0b010101
)
PLAIN = image(2, 1, (ladder((), (51000000, 31000000)),), (terms(0, ENDLESS),))
ONE_REGISTER = image(1, 1, (ladder((), (60000000,)),), (terms(0, MONTHLY),))
FREE = image(
    1,
    2,
    (ladder((5000,), (50000000, 70000000)),),
    (terms(0, MONTHLY),),
    free=(1, 0, 1, 0),
    free_wh=(3000,),
)
IMAGES = ((1, TIERED), (2, PLAIN), (3, ONE_REGISTER), (4, FREE), (1, PLAIN))


class Chance:
    """These numbers are the same on every interpreter."""

    def __init__(self, seed: int) -> None:
        self.state = seed

    def below(self, limit: int) -> int:
        """Return a number from 0 to `limit` - 1."""
        self.state = (self.state * 69069 + 12345) & 0x3FFFFFFF
        return (self.state >> 10) % limit


class Station:
    """These are books on flash in memory; their tables can be taken from another station."""

    def __init__(self, storage: Storage) -> None:
        self.journal = Journal(storage)
        self.journal.recover()
        self.registry = Registry(ROWS)
        self.ledger = Ledger(ROWS, RATES)
        self.tariffs = Tariffs(storage)
        self.policy = Policy()
        self.policy.debt_percent = 50
        self.policy.debt_week_limit_fen = 300
        self.books = Books(self.journal, self.registry, self.ledger, self.tariffs, self.policy)
        self.books.hoarding_limit_fen = 10**8

    def columns(self) -> "list[array[int] | bytearray]":
        """Return all rows that a checkpoint keeps."""
        return list(self.ledger.columns() + self.registry.columns())

    def tables(self) -> "list[bytes]":
        """Return the tables; a relay command under way begins again after a start."""
        relay = bytes(self.registry.relay)
        looks = bytearray(relay)
        for index in range(ROWS):
            if meters.is_pending(relay[index]):
                looks[index] = meters.RELAY_LOOK | relay[index] & meters.DESIRED_OPEN
        found = []
        for column in self.columns():
            found.append(bytes(looks if column is self.registry.relay else memoryview(column)))
        found.append(bytes(memoryview(self.books.illegal)))
        found.append(bytes(memoryview(self.books.standing)))
        found.append(bytes(self.tariffs.names))
        return found

    def replay(self, first_seq: int, last_seq: int) -> None:
        """Replay these records over the tables."""
        buf = bytearray(RECORD_SIZE)
        for seq in range(first_seq, last_seq + 1):
            check(self.journal.read_into(seq, buf), seq)
            self.books.replay(buf)


class Life:
    """This makes changes step by step; `kept` has (last record, rows, tables) after each."""

    def __init__(self, seed: int) -> None:
        self.chance = Chance(seed)
        self.storage = Storage()
        self.one = Station(self.storage)
        self.t2000 = START
        self.meters = [array("i", [4000 * index] + [1000 * index] * 4) for index in range(ROWS)]
        self.serial = 0
        self.resumed = 0  # These accounts were told the registers to go on from.
        self.kept = []  # type: ignore[var-annotated]  # no typing on the device
        for number, data in IMAGES[:4]:
            self.load(number, data)
        for index in range(ROWS - 1):
            self.add(index, index + 1)
        self.keep()

    def keep(self) -> None:
        """Note the tables as they are."""
        check(self.one.journal.sync())
        one = self.one
        self.kept.append((one.journal.durable_seq, one.registry.count, one.tables()))

    def load(self, number: int, data: bytes) -> None:
        """Put a tariff in force."""
        name = name_of(data)
        self.storage.files[file_name(number, name)] = data
        check(self.one.books.set_tariff(number, name, len(data)))

    def add(self, index: int, tariff: int) -> None:
        """Register an account with a new meter."""
        self.serial += 1
        address = bytes((self.serial,)) + METER[1:]
        account = ACCOUNT[:5] + bytes((ACCOUNT[5] + index,))
        row = bytearray(address + account + bytes((tariff, 0, 0, 1, 0)))
        untold = index == self.one.registry.count
        check(self.one.books.set_meter(index, row, untold))

    def step(self) -> None:
        """Make one random change."""
        one = self.one
        books = one.books
        chance = self.chance
        self.t2000 += (900, 3000, 40000, -1500, 3 * DAY_S)[chance.below(5)]
        books.t2000 = -1 if chance.below(12) == 0 else self.t2000
        index = chance.below(one.registry.count)
        chosen = chance.below(21)
        if chosen < 7:
            self.read(index)
        elif chosen in (7, 18, 19):
            self.pay(index)
        elif chosen == 8:
            self.change_meter(index)
        elif chosen == 9:
            kind = chance.below(2) * 50
            books.set_terms(index, 0, chance.below(3), 1 + kind, chance.below(2), 1000 * kind)
        elif chosen == 10:
            later = chance.below(2) * (self.t2000 + 9000)
            number = one.registry.tariff[index]
            books.plan_tariff(index, 3 - number if number < 3 else 7 - number, later)
            books.review(index)
        elif chosen == 11:
            books.order_supply(index, chance.below(2) == 0)
            books.relay_done(index, (record.STAGE_CONFIRMED, record.STAGE_FAILED)[index & 1], 0)
        elif chosen == 12 and books.t2000 > 0:
            midnight = self.t2000 // DAY_S * DAY_S
            books.charge_freeze(index, midnight, self.meters[index], 5)
        elif chosen == 13:
            codes.count_illegal(books.illegal)
            books.note_card(codes.MAC, -1, 9, 0, bytes(8), bytes(6))
            check(books.set_behind(True))
        elif chosen == 14:
            if chance.below(2) and books.t2000 > 0 and one.ledger.read_t2000[index]:
                self.resumed += books.resume(index, self.meters[index])
            elif one.ledger.flags[index] & STOPPED:
                check(books.resume(index))
            books.show_card(index, False, 0)
        elif chosen == 15:
            self.tell(index)
            books.telling = 1 + chance.below(2) * one.registry.count
            books.tell_next()
            check(books.set_behind(False))
        elif chosen == 16 and one.registry.count < ROWS:
            self.add(one.registry.count, 4)
        elif chosen == 17:
            self.t2000 += (30, -30, 5000, -5000)[chance.below(4)]
            books.set_clock(self.t2000, 0)
        else:
            self.load(*IMAGES[chance.below(2) * 4])
        self.keep()

    def read(self, index: int) -> None:
        """Read a meter; sometimes the value is wrong."""
        wh = self.meters[index]
        used_wh = self.chance.below(900)
        for place in range(len(wh)):
            wh[place] += used_wh * (1 if place else len(wh) - 1)
        if self.chance.below(9) == 0:
            for _ in range(1 + self.chance.below(4)):
                wrong = array("i", (20, 5, 5, 5, 5))
                self.one.books.charge_reading(index, wrong, 5, 0)
                self.one.books.t2000 += 600 * self.chance.below(2)
            return
        if self.chance.below(6) == 0:
            # One wrong answer is believed; so is the truth after it was asked for often enough.
            high = array("i", (wh[0] + 1200, wh[1] + 300, wh[2] + 300, wh[3] + 300, wh[4] + 300))
            self.one.books.charge_reading(index, high, 5, 0)
            for _ in range(4):
                self.one.books.t2000 += 300
                self.one.books.charge_reading(index, wh, 5, 0)
                while self.one.books.searched >= 0:
                    self.one.books.search()
            return
        self.one.books.charge_reading(index, wh, 5, self.chance.below(2) * 0x10)

    def pay(self, index: int) -> None:
        """Credit an order or refund one."""
        order = self.one.ledger.order[index] + 1
        amount_fen = self.chance.below(9000)
        if order > 1 and self.chance.below(2):
            amount_fen = -(self.one.ledger.balance_fen(index) >> 1)
        mac = bytes((order & 0xFF,)) * 8
        covered = self.one.books.judge_credit(index, amount_fen) == codes.OK
        if covered and self.one.ledger.is_told(index):
            check(self.one.books.credit(index, order, amount_fen, bytes(8), 1, mac))
            self.one.books.show_card(index, True, amount_fen)

    def change_meter(self, index: int) -> None:
        """Exchange or remove the meter, or add it again, perhaps under another tariff."""
        row = self.one.registry.row(index)
        row[record.METER_ACTIVE] = self.chance.below(4) > 0
        row[record.METER_TARIFF] = 1 + self.chance.below(4)
        if self.chance.below(2):
            self.serial += 1
            row[0] = self.serial
        check(self.one.books.set_meter(index, row))

    def tell(self, index: int) -> None:
        """Tell an account that it is new, or tell it the state of another one."""
        books = self.one.books
        if not self.one.ledger.is_told(index):
            check(books.begin_new(index))
        else:
            told = books.standing_of(self.chance.below(self.one.registry.count))
            if not books.standing_trouble(index, told):
                check(books.restore(index, told))


def begun_at(life: Life, first: int, last: int, chosen: "list[int]") -> Station:
    """Return a station with rows as of the steps `chosen`, which lie from first to last.

    It has replayed the records behind the first step.
    """
    station = Station(life.storage)
    first_seq, count, _ = life.kept[first]
    last_seq, _, final = life.kept[last]
    drawn = 0
    columns = station.columns()
    for place in range(len(columns)):
        column = columns[place]
        view = memoryview(column)
        size = len(final[place]) // ROWS
        for row in range(count):
            step = chosen[drawn % len(chosen)]
            drawn += 1
            part = life.kept[step][2][place][row * size : (row + 1) * size]
            items = len(column) // ROWS
            width = size // items
            if width > 1:
                part = array("I" if width == 4 else "H", part)
            view[row * items : (row + 1) * items] = part
    step = chosen[drawn % len(chosen)]
    tables = life.kept[step][2]
    station.books.illegal[:] = array("H", tables[-3])
    station.books.standing[:] = array("I", tables[-2])
    station.tariffs.names[:] = tables[-1]
    station.tariffs.load()
    station.registry.recount(count)
    station.replay(first_seq + 1, last_seq)
    return station


def replayed_anew(seed: int, steps: int, kinds: bytearray) -> int:
    """Replay the life of `seed` from many moments; note in `kinds` the kinds of its records.

    Return the number of accounts that were told the registers to go on from.
    """
    life = Life(seed)
    for _ in range(steps):
        life.step()
    buf = bytearray(RECORD_SIZE)
    for seq in range(1, life.one.journal.durable_seq + 1):
        check(life.one.journal.read_into(seq, buf))
        kinds[record.kind_at(buf, 0)] = 1
    chance = Chance(seed)
    for last in (steps // 3, steps):
        final = life.kept[last][2]
        for first in range(0, last, 3):
            mixed = [first + chance.below(last - first + 1) for _ in range(31)]
            for chosen in ([first], [last], mixed):
                tables = begun_at(life, first, last, chosen).tables()
                for place in range(len(final)):
                    equal(tables[place], final[place], (seed, first, last, chosen, place))
    return life.resumed


def test_replay_over_tables_that_hold_later_records() -> None:
    kinds = bytearray(32)
    if SMALL:
        # 140 KB have room for two stations and the tables of a few steps.
        for seed in range(1, 7):
            replayed_anew(seed, 12, kinds)
            gc.collect()
        return
    resumed = 0
    for seed in range(1, 17):
        resumed += replayed_anew(seed, 66, kinds)
    check(resumed > 0)
    for kind in (
        record.METER,
        record.READING,
        record.TOP_UP,
        record.REFUND,
        record.RELAY,
        record.POLICY,
        record.ROLLOVER,
        record.TARIFF,
        record.FAULT,
        record.CARD,
        record.ACCOUNT,
        record.FREEZE,
        record.PLAN,
        record.STANDING,
        record.STANDING_REGISTERS,
        record.QUOTA,
        record.CLOCK,
        record.CORRECTION,
        record.EVENT,
    ):
        check(kinds[kind], "no record of kind " + str(kind))


def test_a_reading_is_replayed_without_its_tariff() -> None:
    """Nothing is stopped, and the tier period goes on where it was."""
    life = Life(3)
    books = life.one.books
    books.t2000 = START
    equal(books.charge_reading(0, life.meters[0], 5, 0), DOUBTED, "a first one is read twice")
    equal(books.charge_reading(0, life.meters[0], 5, 0), FIRST)
    books.t2000 += 900
    life.meters[0][1] += 5000
    life.meters[0][0] += 5000
    equal(books.charge_reading(0, life.meters[0], 5, 0), CHARGED)
    life.keep()
    for name in [name for name in life.storage.files if name.startswith("t")]:
        del life.storage.files[name]
    station = Station(life.storage)
    station.replay(1, station.journal.durable_seq)
    equal(station.tables()[:-1], life.kept[-1][2][:-1])
    equal((station.ledger.flags[0] & STOPPED, station.ledger.state[0]), (0, rules.NORMAL))
