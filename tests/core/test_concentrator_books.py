"""Goal: the journal gets the records that the rules ask for, and the same records give the same
tables.

Method: the real books on flash in memory, one account at half a yuan per kilowatt-hour, with
readings, top-ups and the clock given by hand; then other books replay the journal.
"""

from array import array

from card import codes
from card_world import ACCOUNT, METER
from civil import day_number
from concentrator.books import registry as meters
from concentrator.books.books import Books
from concentrator.books.charging import REFUSED
from concentrator.books.doubt import DOUBTED
from concentrator.books.registry import Registry
from concentrator.books.tariffs import Tariffs, file_name, name_of
from concentrator.storage.journal import RESERVE_BLOCKS, Journal
from harness import check, equal
from memory_storage import PowerCut, Storage
from prepay import policy as rules
from prepay.ledger import CHARGED, FIRST, Ledger
from prepay.policy import Policy
from tariff_images import ENDLESS, YEARLY, image, ladder, terms
from uplink import record
from uplink.record import PAYLOAD, RECORD_SIZE, STATUS_UNKNOWN, u32_at

INDEX = 0
HOUR_S = 3600
DAY_S = 86400
WEEK_S = 7 * DAY_S
NOON = day_number(26, 3, 2) * DAY_S + 12 * HOUR_S
HALF_YUAN = image(1, 1, (ladder((), (50000000,)),), (terms(0, ENDLESS),))
# The value has a digit in each limb of the residue.
FINE = image(1, 1, (ladder((), (50001237,)),), (terms(0, ENDLESS),))
OPEN_STATUS, CLOSED_STATUS = 0x10, 0


class Station:
    """These books have one account, registered and read for the first time at NOON."""

    def __init__(self, segments: int = 256, tariff: bytes = HALF_YUAN) -> None:
        self.storage = Storage()
        self.segments = segments
        self.values = array("i", (0,))
        self.policy = Policy()
        self.policy.alarm_1_fen = 0
        self.t2000 = NOON
        self.start()
        name = name_of(tariff)
        self.storage.files[file_name(1, name)] = tariff
        check(self.books.set_tariff(1, name, len(tariff)))
        check(self.books.set_meter(INDEX, bytearray(METER + ACCOUNT + b"\x01\x00\x00\x01\x00")))
        equal(self.read(0), FIRST)

    def start(self) -> None:
        """Start with empty tables and the journal that is on the flash."""
        self.journal = Journal(self.storage, self.segments)
        self.journal.recover()
        self.registry = Registry(2)
        self.ledger = Ledger(2)
        tariffs = Tariffs(self.storage)
        self.books = Books(self.journal, self.registry, self.ledger, tariffs, self.policy)
        self.books.t2000 = self.t2000
        self.books.hoarding_limit_fen = 10**8

    def restart(self) -> None:
        """Switch the device off and on: the records are replayed."""
        self.start()
        buf = bytearray(RECORD_SIZE)
        for seq in range(1, self.journal.durable_seq + 1):
            check(self.journal.read_into(seq, buf))
            self.books.replay(buf)

    def wait(self, seconds: int) -> None:
        """Let time pass, or set the clock back."""
        self.t2000 += seconds
        self.books.t2000 = self.t2000

    def read(self, wh: int, after_s: int = 900, status: int = STATUS_UNKNOWN) -> int:
        """Read the meter after this much more energy; repeat a doubtful reading."""
        self.wait(after_s)
        self.values[0] += wh
        return self.charge(status)

    def charge(self, status: int = STATUS_UNKNOWN) -> int:
        """Charge the registers, a second time if they were doubted."""
        outcome = self.charge_once(status)
        return self.charge_once(status) if outcome == DOUBTED else outcome

    def charge_once(self, status: int = STATUS_UNKNOWN) -> int:
        """Charge the registers, and let a search for a correction end."""
        outcome = self.books.charge_reading(INDEX, self.values, 1, status)
        return CHARGED if self.search() else outcome

    def search(self) -> bool:
        """Let a search for a correction end; return whether the account was corrected."""
        readings = self.books.readings
        while self.books.searched >= 0:
            self.books.search()
        return self.books.readings > readings

    def pay(self, amount_fen: int) -> None:
        """Credit the next order."""
        order = self.ledger.order[INDEX] + 1
        equal(self.books.judge_credit(INDEX, amount_fen), codes.OK)
        check(self.books.credit(INDEX, order, amount_fen, bytes(8), 1, bytes(8)))
        self.books.show_card(INDEX, True, amount_fen)

    @property
    def balance_fen(self) -> int:
        return self.ledger.balance_fen(INDEX)

    def records(self, kind: int) -> "list[bytearray]":
        """Return the durable records of a kind."""
        check(self.journal.sync())
        found = []
        buf = bytearray(RECORD_SIZE)
        for seq in range(self.journal.first_seq, self.journal.durable_seq + 1):
            check(self.journal.read_into(seq, buf))
            if record.kind_at(buf, 0) == kind:
                found.append(bytearray(buf))
        return found


def tables(station: Station) -> "list[bytes]":
    """Return all that a checkpoint would keep of ledger and meters."""
    columns = station.ledger.columns() + station.registry.columns()
    return [bytes(memoryview(column)) for column in columns]


# --- room ---------------------------------------------------------------------------------------


def test_readings_leave_the_room_of_money() -> None:
    station = Station(RESERVE_BLOCKS + 1)
    outcome = CHARGED
    for count in range(2000):
        outcome = station.read(20)
        if outcome == REFUSED:
            break
        equal((outcome, station.ledger.debit_fen[INDEX]), (CHARGED, count + 1))
    equal((outcome, station.books.refused), (REFUSED, 1))
    equal(station.journal.room, RESERVE_BLOCKS - 1)
    debit_fen = station.ledger.debit_fen[INDEX]
    next_seq = station.journal.next_seq
    station.books.charge_freeze(INDEX, station.t2000 - 60, station.values, 1)
    station.books.note_item(INDEX, 0x04000503, station.values, 1)
    equal((station.journal.next_seq, station.books.refused), (next_seq, 3))
    station.pay(5000)
    equal(station.journal.count, 0, "money is durable")
    equal(station.balance_fen, 5000 - debit_fen)
    while station.journal.drop(station.journal.durable_seq):
        pass
    equal(station.read(20), CHARGED)
    equal(station.ledger.debit_fen[INDEX], debit_fen + 2, "nothing is forgiven")


# --- debt ---------------------------------------------------------------------------------------


def indebted(week_limit_fen: int, tariff: bytes = HALF_YUAN) -> Station:
    """Return books in which half of each top-up repays the debt, up to a limit in each week."""
    station = Station(256, tariff)
    station.policy.debt_percent = 50
    station.policy.debt_week_limit_fen = week_limit_fen
    check(station.books.set_terms(INDEX, 0, 0, 1, 0, 10000))
    return station


def repaid_fen(station: Station, amount_fen: int) -> int:
    """Pay an amount; return the part that repaid the debt."""
    debt_fen = station.ledger.debt_fen[INDEX]
    station.pay(amount_fen)
    return debt_fen - station.ledger.debt_fen[INDEX]


def test_each_week_of_a_debt_has_a_limit_of_its_own() -> None:
    station = indebted(100)
    equal([repaid_fen(station, 400), repaid_fen(station, 400)], [100, 0])
    station.wait(WEEK_S)
    equal(repaid_fen(station, 100), 50)
    equal(repaid_fen(station, 400), 50, "only what this week has repaid counts")
    equal(repaid_fen(station, 400), 0)
    before = tables(station)
    station.restart()
    equal(tables(station), before)
    equal(repaid_fen(station, 400), 0, "also after a restart")


def test_a_clock_set_back_begins_no_new_week_of_a_debt_but_one_set_back_further_does() -> None:
    station = indebted(100)
    equal(repaid_fen(station, 400), 100)
    station.wait(-WEEK_S)
    equal(repaid_fen(station, 400), 0)
    station.wait(-WEEK_S)
    equal(repaid_fen(station, 400), 100)


# --- supply -------------------------------------------------------------------------------------


def cut() -> Station:
    """Return an account that has used up its money, with a meter that has obeyed."""
    station = Station()
    station.pay(100)
    equal(station.read(2000), CHARGED)
    equal(station.ledger.state[INDEX], rules.CUT)
    station.books.relay_done(INDEX, record.STAGE_CONFIRMED, OPEN_STATUS)
    equal(station.registry.relay[INDEX], meters.RELAY_IDLE | meters.DESIRED_OPEN)
    return station


def test_a_relay_closed_by_hand_is_cut_again() -> None:
    station = cut()
    station.read(0, 900, OPEN_STATUS)
    equal(station.registry.relay[INDEX], meters.RELAY_IDLE | meters.DESIRED_OPEN)
    station.read(0, 900, CLOSED_STATUS)
    equal(station.registry.relay[INDEX], meters.RELAY_LOOK | meters.DESIRED_OPEN)
    equal(len(station.records(record.RELAY)), 4, "opened, cut, done, and cut again")


def test_a_relay_closed_by_hand_stays_in_hours_without_cuts() -> None:
    station = cut()
    station.policy.no_cut_from_hour = 22
    station.policy.no_cut_to_hour = 6
    station.wait(11 * HOUR_S - 900)
    before = len(station.records(record.RELAY))
    station.read(0, 900, CLOSED_STATUS)
    equal(station.registry.relay[INDEX], meters.RELAY_IDLE | meters.DESIRED_OPEN)
    equal(len(station.records(record.RELAY)), before)
    station.read(0, 8 * HOUR_S, CLOSED_STATUS)
    equal(station.registry.relay[INDEX], meters.RELAY_LOOK | meters.DESIRED_OPEN)


def test_without_a_clock_no_time_of_a_cut_begins() -> None:
    """A notice that began at no known time would end as soon as the clock is set."""
    station = Station()
    station.policy.notice_minutes = 60
    station.pay(100)
    station.books.t2000 = -1
    station.pay(-100)
    station.books.review(INDEX)
    equal((station.balance_fen, station.ledger.state[INDEX]), (0, rules.NORMAL))
    station.wait(900)
    station.books.review(INDEX)
    equal(station.ledger.state[INDEX], rules.HELD)
    equal(station.ledger.since_t2000[INDEX], station.t2000)
    station.wait(HOUR_S - 1)
    station.books.review(INDEX)
    equal(station.ledger.state[INDEX], rules.HELD)
    station.wait(1)
    station.books.review(INDEX)
    equal(station.ledger.state[INDEX], rules.CUT)


# --- what divides a reading ---------------------------------------------------------------------


def test_a_reading_at_the_change_itself_is_not_divided() -> None:
    change_t2000 = NOON + 6 * HOUR_S
    sets = (terms(0, ENDLESS), terms(change_t2000, ENDLESS, ((1, 1, 1, 0, 0),)))
    ladders = (ladder((), (50000000,)), ladder((), (100000000,)))
    station = Station(256, image(1, 1, ladders, sets))
    read_t2000 = station.ledger.read_t2000[INDEX]
    station.wait(change_t2000 - 1 - station.t2000)
    equal(station.books.dividing_t2000(INDEX), 0)
    station.wait(1)
    equal(station.books.dividing_t2000(INDEX), 0, "this reading divides it by itself")
    station.wait(1)
    equal(station.books.dividing_t2000(INDEX), change_t2000)
    equal(station.ledger.read_t2000[INDEX], read_t2000)


# --- records ------------------------------------------------------------------------------------


def test_a_card_takes_home_the_records_of_its_own_account_only() -> None:
    """The indexes share their low byte."""
    station = Station()
    for index in (0, 256, 0, 256, 1):
        station.books.note_card(codes.USED, index, 1, 100, bytearray(8), bytearray(6))
    check(station.journal.sync())
    buf = bytearray(RECORD_SIZE)
    for index in (0, 256):
        seq = station.books.event_before(index, 0x3FFFFFFF, buf)
        check(seq > 0)
        while seq:
            equal(record.index_at(buf, 0), index)
            seq = station.books.event_before(index, seq, buf)


def test_the_records_give_the_tables_again() -> None:
    """The check runs after each step of an account's life, with all that a record can change."""
    station = indebted(100, FINE)

    def same(step: str) -> None:
        check(station.journal.sync())
        before = tables(station)
        station.restart()
        equal(tables(station), before, step)

    station.pay(1000)
    station.books.relay_done(INDEX, record.STAGE_CONFIRMED, CLOSED_STATUS)
    same("paid")
    equal(station.read(1230), CHARGED)
    same("used")
    station.pay(-150)
    same("refunded")
    check(station.books.set_terms(INDEX, 0, 2, 30, 1, 9000))
    check(station.books.plan_tariff(INDEX, 2, station.t2000 + DAY_S))
    same("other terms, a tariff to come")
    station.books.charge_freeze(INDEX, station.t2000 // DAY_S * DAY_S, station.values, 1)
    for wh in (-1200, 0, 0):
        station.read(wh)
    equal(station.ledger.flags[INDEX] & 1, 1)
    same("stopped")
    check(station.books.resume(INDEX))
    check(station.books.set_terms(INDEX, 0, 0, 1, 0, 9000))
    equal(station.read(3000), CHARGED)
    equal(station.read(50000), CHARGED)
    equal(station.ledger.state[INDEX], rules.CUT)
    station.books.relay_done(INDEX, record.STAGE_FAILED, CLOSED_STATUS)
    same("cut, and not obeyed")
    row = station.registry.row(INDEX)
    row[0] += 1
    check(station.books.set_meter(INDEX, row))
    debit_fen = station.ledger.debit_fen[INDEX]
    same("exchanged")
    equal(station.read(-49000), FIRST, "registers of a meter of its own")
    equal(station.ledger.debit_fen[INDEX], debit_fen)
    same("read")


def test_money_of_a_record_is_what_was_applied() -> None:
    station = Station()
    station.pay(1000)
    station.read(1234)
    buf = station.records(record.READING)[-1]
    ledger = station.ledger
    equal(u32_at(buf, PAYLOAD), ledger.debit_fen[INDEX])
    equal(u32_at(buf, PAYLOAD + 4), ledger.residue_e7[INDEX])
    equal(u32_at(buf, PAYLOAD + 12), ledger.used_wh[INDEX])
    equal(ledger.debit_fen[INDEX] * 100000 + ledger.residue_e7[INDEX], 1234 * 5000)
    buf = station.records(record.TOP_UP)[-1]
    equal((u32_at(buf, PAYLOAD), u32_at(buf, PAYLOAD + 4)), (1, 1000))


# --- quotas of a part of a year -----------------------------------------------------------------

# Quotas begin with this month; the second kind has more, and five kWh of free energy a month.
QUOTAS = image(
    1,
    2,
    (ladder((1200000,), (50000000, 80000000)), ladder((2400000,), (50000000, 80000000))),
    (terms(0, YEARLY),),
    (),
    (),
    2,
    1,
    0x15,
    (1, 0, 1, 0),
    (0, 5000),
)


def check_restart(station: Station) -> None:
    """Check that all of the tables come back from the journal."""
    check(station.journal.sync())
    before = tables(station)
    station.restart()
    equal(tables(station), before)


def test_an_opened_account_is_opened_once() -> None:
    station = Station(tariff=QUOTAS)
    # In March ten months of twelve are left.
    equal(station.ledger.quota[INDEX], 12 | 10 << 4)
    equal(len(station.records(record.QUOTA)), 1)
    station.read(4000)
    equal(len(station.records(record.QUOTA)), 1)
    check_restart(station)
    station.wait(310 * DAY_S)
    station.read(10)
    equal((station.ledger.quota[INDEX], station.ledger.period_t2000[INDEX] & 3), (0, 2))
    check_restart(station)


def test_free_energy_is_free_once() -> None:
    station = Station(tariff=QUOTAS)
    check(station.books.set_terms(INDEX, 1, 0, 1, 0, 0))
    # It is read in March, the month in which it was opened.
    equal(station.ledger.quota[INDEX], 12 | 10 << 4)
    station.read(3000)
    station.read(3000)
    station.read(1000)
    equal(station.ledger.debit_fen[INDEX], 100)
    check_restart(station)
    station.read(1000)
    equal(station.ledger.debit_fen[INDEX], 150)


def test_a_household_that_changes_its_kind() -> None:
    station = Station(tariff=QUOTAS)
    station.wait(60 * DAY_S)
    # It changes in May, and is read before and after the change.
    station.read(10)
    check(station.books.set_terms(INDEX, 1, 0, 1, 0, 0))
    equal(station.ledger.quota[INDEX], 12 | 8 << 4 | 2 << 12)
    station.read(10)
    check_restart(station)
    station.wait(300 * DAY_S)
    trouble = station.books.household_trouble(INDEX, 0)
    check("needs the clock and a reading of this tier period" in trouble, trouble)
    check(not station.books.set_terms(INDEX, 0, 0, 1, 0, 0))
    check(station.books.set_terms(INDEX, 1, 1, 1, 0, 0))
    equal(station.books.household_trouble(INDEX, 2), "its tariff has 2 kinds of household, from 0")


def test_what_was_used_elsewhere() -> None:
    station = Station(tariff=QUOTAS)
    period_t2000 = station.ledger.period_t2000[INDEX]
    check(station.books.set_used(INDEX, 1199000, period_t2000, 0))
    station.read(2000)
    equal(station.ledger.debit_fen[INDEX], 130)
    check_restart(station)


def _change(station: Station, _wh: int) -> None:
    """Change a household: its terms and its quota, in two records."""
    station.books.set_terms(INDEX, 1, 0, 1, 0, 0)


def _free_reading(station: Station, wh: int) -> None:
    """Make a reading durable whose energy is free, with three records at most."""
    station.read(wh)
    station.journal.sync()


def test_a_power_cut_leaves_all_of_a_change_or_none() -> None:
    for act in (_change, _free_reading):
        for percent in (0, 30, 60, 90, 100):
            station = Station(tariff=QUOTAS)
            if act is _free_reading:
                check(station.books.set_terms(INDEX, 1, 0, 1, 0, 0))
            station.wait(61 * DAY_S)
            station.read(10)
            check(station.journal.sync())
            before = tables(station)
            station.storage.cut = 0
            station.storage.kept_percent = percent
            try:
                act(station, 1000)
                check(False, "no power cut")
            except PowerCut:
                pass
            station.storage.cut = -1
            station.restart()
            if tables(station) == before:
                check(percent < 100)
                # The meter goes on showing the lost energy.
                act(station, 0)
            whole = Station(tariff=QUOTAS)
            if act is _free_reading:
                check(whole.books.set_terms(INDEX, 1, 0, 1, 0, 0))
            whole.wait(61 * DAY_S)
            whole.read(10)
            act(whole, 1000)
            equal(station.ledger.quota[INDEX], whole.ledger.quota[INDEX], percent)
            equal(station.ledger.free[INDEX], whole.ledger.free[INDEX], percent)
            equal(station.ledger.flags[INDEX], whole.ledger.flags[INDEX], percent)


def test_a_change_that_the_flash_refuses_is_none() -> None:
    station = Station(tariff=QUOTAS)
    station.wait(61 * DAY_S)
    station.read(10)
    check(station.journal.sync())
    before = tables(station)
    station.storage.failing = "j"
    check(not station.books.set_terms(INDEX, 1, 0, 1, 0, 0))
    check(not station.books.set_used(INDEX, 5, station.ledger.period_t2000[INDEX], 0))
    equal(tables(station), before)
    station.storage.failing = ""
    check(station.books.set_terms(INDEX, 1, 0, 1, 0, 0))
    check_restart(station)
