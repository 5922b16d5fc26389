"""Goal: every watt-hour is charged once, at its own price, to the last digit, or not at all.

Method: published bills and small ladders whose charge can be worked out by hand; the same energy
in one reading and in many; every doubtful reading; restarts from the journal's own fields. A
reading on eight-decimal prices is charged with the heap locked.
"""

from array import array

from civil import day_number
from harness import check, equal, heap_locked
from prepay import ledger as books
from prepay.ledger import Ledger
from prepay.tariff import Tariff
from tariff_images import (
    ENDLESS,
    MONTHLY,
    flat,
    guangzhou,
    image,
    ladder,
    loaded,
    shandong,
    simple,
    terms,
    zhejiang,
)

DAY_S = 86400
# 2026-03-02 00:00
START = day_number(26, 3, 2) * DAY_S


class Account:
    """This is account 1 of a ledger of 3, read at `t2000`."""

    def __init__(self, tariff: Tariff, registers_wh: "tuple[int, ...]" = (), t2000: int = START):
        self.ledger = Ledger(3)
        self.ledger.power_limit_w = 10**9
        self.tariff = tariff
        self.t2000 = t2000
        self.registers_wh = array("i", registers_wh or (0,) * tariff.registers)
        equal(self.prepare(), books.FIRST)
        self.ledger.commit(1)

    def prepare(self) -> int:
        return self.ledger.prepare(1, self.tariff, self.registers_wh, self.t2000)

    def use(self, wh: int, rate: int = 0, after_s: int = 900) -> int:
        """Read after `wh` more at `rate`; commit the result if possible; return the outcome."""
        self.registers_wh[rate] += wh
        self.t2000 += after_s
        outcome = self.prepare()
        if outcome == books.CHARGED:
            self.ledger.commit(1)
        return outcome

    def replay(self, live: "Account") -> None:
        """Apply the journalled figures of another account's last reading."""
        one = live.ledger
        self.ledger.set_used(1, one.used_wh[1], one.period_t2000[1], one.quota[1], one.free[1])
        self.ledger.replay_reading(
            1,
            live.registers_wh,
            live.t2000,
            one.debit_fen[1],
            one.residue_e7[1],
            one.residue_e11[1],
            one.used_wh[1],
        )

    @property
    def charged_e11(self) -> int:
        """Return all charges, in 1e-11 yuan."""
        one = self.ledger
        fen_e7 = one.debit_fen[1] * 100000 + one.residue_e7[1]
        return fen_e7 * 10000 + one.residue_e11[1]

    def priced_e11(self, cells_wh: "list[int]") -> int:
        """Return the price of the energy in each tier and rate, in 1e-11 yuan."""
        total_e11 = 0
        for cell in range(len(cells_wh)):
            price_e8 = self.tariff.prices_e4[cell] * 10000 + self.tariff.prices_e8_low[cell]
            total_e11 += cells_wh[cell] * price_e8
        return total_e11


def yuan_e11(text: str) -> int:
    """Return yuan with decimals in 1e-11 yuan."""
    whole, _, part = text.partition(".")
    return int(whole) * 10**11 + int((part + "0" * 11)[:11])


def test_a_published_bill() -> None:
    account = Account(zhejiang())
    account.use(10760, 0)
    account.use(7530, 1)
    equal(account.charged_e11, yuan_e11("8.28032"))
    equal(account.ledger.debit_fen[1], 828)
    equal(account.ledger.used_wh[1], 18290)


def test_a_tier_limit_belongs_to_the_lower_tier() -> None:
    account = Account(zhejiang())
    account.ledger.used_wh[1] = 2730000
    account.use(30000, 0)
    equal(account.charged_e11, account.priced_e11([30000, 0, 0, 0, 0, 0]))
    account.use(20000, 0)
    account.use(40000, 1)
    equal(account.charged_e11, account.priced_e11([30000, 0, 20000, 40000, 0, 0]))
    equal(account.charged_e11, yuan_e11("42.92"))


def test_rates_use_up_a_tier_in_the_order_of_the_registers() -> None:
    account = Account(zhejiang())
    account.ledger.used_wh[1] = 2730000
    account.registers_wh[1] += 40000
    account.use(50000, 0)
    equal(account.charged_e11, yuan_e11("42.92"))


def test_shandong_for_every_split() -> None:
    for wh in (100, 1000, 7777, 5000000):
        account = Account(shandong())
        used_wh = 0
        while used_wh < 5000000:
            step_wh = min(wh, 5000000 - used_wh)
            account.use(step_wh, 0, 60)
            used_wh += step_wh
        equal(account.charged_e11, yuan_e11("2908.50"), wh)
        equal(account.ledger.debit_fen[1], 290850, wh)


def test_eight_decimals_are_carried() -> None:
    for count, wh in ((1, 300000), (300, 1000), (30000, 10)):
        account = Account(guangzhou())
        for _ in range(count):
            account.use(wh, 1, 60)
        equal(account.charged_e11, yuan_e11("178.660625"), count)


def test_a_normal_charge_allocates_nothing() -> None:
    account = Account(guangzhou())
    account.ledger.power_limit_w = 60000
    account.ledger.used_wh[1] = 259990
    account.ledger.residue_e7[1] = 99999
    account.ledger.residue_e11[1] = 9999
    before_e11 = account.charged_e11
    for rate in range(3):
        account.registers_wh[rate] += 3000
    one = account.ledger
    tariff = account.tariff
    registers_wh = account.registers_wh
    t2000 = account.t2000 + 900
    with heap_locked():
        outcome = one.prepare(1, tariff, registers_wh, t2000)
        one.commit(1)
    equal(outcome, books.CHARGED)
    charged_e11 = account.charged_e11 - before_e11
    equal(charged_e11, account.priced_e11([10, 0, 0, 2990, 3000, 3000, 0, 0, 0]))


def test_nothing_happens_before_commit() -> None:
    account = Account(zhejiang())
    before = [bytes(column) for column in account.ledger.columns()]
    account.registers_wh[0] += 5000000
    account.t2000 += 900
    equal(account.prepare(), books.CHARGED)
    equal([bytes(column) for column in account.ledger.columns()], before)
    equal(account.prepare(), books.CHARGED)
    account.ledger.commit(1)
    equal(account.charged_e11, account.priced_e11([2760000, 0, 2040000, 0, 200000, 0]))
    equal(account.prepare(), books.CHARGED)
    equal(account.ledger.new_debit_fen, account.ledger.debit_fen[1], "the same reading again")


def test_doubtful_readings_charge_nothing() -> None:
    account = Account(zhejiang(), (5000, 5000))
    account.ledger.power_limit_w = 10000
    before = [bytes(column) for column in account.ledger.columns()]
    for wh, after_s, outcome in (
        (-10, 900, books.BACK),
        (11010, 900, books.TOO_MUCH),
        (21010, 7200, books.TOO_MUCH),
        (-5001, 900, books.VALUE_MISSING),
        (10, 400 * DAY_S + 1, books.EARLIER),
        (10, -START, books.NO_TIME),
        (10, -START - 1, books.NO_TIME),
    ):
        account.registers_wh[0] += wh
        account.t2000 += after_s
        equal(account.prepare(), outcome)
        account.registers_wh[0] -= wh
        account.t2000 -= after_s
        equal([bytes(column) for column in account.ledger.columns()], before)
    equal(account.use(11000), books.CHARGED)


def test_a_clock_set_back_is_no_doubt_about_the_energy() -> None:
    """Seed 79 found this: energy was used while the clock went through the same hour again."""
    account = Account(zhejiang(), (5000, 5000))
    account.ledger.power_limit_w = 10000
    for after_s, wh in ((-3600, 1200), (900, 2400), (2701, 7000)):
        account.t2000 += after_s
        account.registers_wh[0] += wh
        equal(account.prepare(), books.CHARGED)
        account.ledger.commit(1)
    equal(account.ledger.used_wh[1], 10600)


def test_what_was_too_much_is_told() -> None:
    account = Account(zhejiang(), (5000, 5000))
    equal(account.use(-10), books.BACK)
    equal((account.ledger.fault_value, account.ledger.fault_limit), (4990, 5000))
    account.ledger.stop(1)
    equal(account.use(10), books.BILLING_STOPPED)


def test_a_clock_set_back_a_little_charges_at_the_ledgers_time() -> None:
    account = Account(zhejiang())
    equal(account.use(1000, 0, -3600), books.CHARGED)
    equal(account.ledger.read_t2000[1], START)
    equal(account.charged_e11, yuan_e11("0.568"))


def test_a_clock_set_back_by_months_settles_and_charges_nothing_twice() -> None:
    """The ledger waits at its own time until the clock reaches it again."""
    tariff = simple((200000,), (50000000, 80000000), MONTHLY)
    ahead = day_number(26, 4, 3) * DAY_S
    account = Account(tariff, (0,), ahead - 3600)
    account.use(1000)
    one = account.ledger
    before = one.period_t2000[1]
    for step in range(80):
        account.t2000 = ahead - 70 * DAY_S + step * DAY_S
        equal(account.use(1000, 0, 0), books.CHARGED, step)
        equal(one.rolled, False, "the settlement was made")
    equal(one.period_t2000[1], before)
    equal(one.used_wh[1], 81000)


def test_registers_begin_again_after_the_last_digit() -> None:
    account = Account(zhejiang(), (999999990, 0))
    account.registers_wh[0] = 20
    equal(account.use(0), books.CHARGED)
    equal(account.ledger.used_wh[1], 30)


def test_another_meter_charges_nothing_of_its_own() -> None:
    account = Account(zhejiang(), (700000, 300000))
    account.use(1000)
    account.registers_wh[0] = 12
    account.registers_wh[1] = 990000
    account.t2000 += 900
    account.ledger.start_anew(1)
    equal(account.prepare(), books.FIRST)
    account.ledger.commit(1)
    equal(account.ledger.used_wh[1], 1000)
    account.use(500, 1)
    equal(account.charged_e11, yuan_e11("0.568") + yuan_e11("0.144"))


def test_a_multiplier_counts_for_tiers_too() -> None:
    account = Account(simple((1000000,), (50000000, 60000000)))
    account.ledger.describe(1, 0, 0, 40)
    account.use(30000)
    equal(account.ledger.used_wh[1], 1200000)
    equal(account.charged_e11, yuan_e11("620"))


def test_a_settlement_changes_the_tiers_and_not_the_balance() -> None:
    tariff = simple((200000,), (50000000, 80000000), MONTHLY)
    settled = day_number(26, 4, 1) * DAY_S
    account = Account(tariff, (0,), settled - 7200)
    account.use(250000, 0, 7200)
    equal(account.t2000, settled)
    check(not account.ledger.rolled)
    equal(account.charged_e11, yuan_e11("140"))
    account.use(100000, 0, 900)
    check(account.ledger.rolled)
    check(not account.ledger.estimated)
    equal(account.ledger.closed_wh, 250000)
    equal(account.ledger.closed_debit_fen, 14000)
    equal(account.ledger.period_t2000[1], settled + 1)
    equal(account.charged_e11, yuan_e11("190"))
    equal(account.ledger.used_wh[1], 100000)


def test_a_settlement_missed_is_made_up() -> None:
    tariff = simple((200000,), (50000000, 80000000), MONTHLY)
    account = Account(tariff, (0,), day_number(26, 3, 30) * DAY_S)
    account.use(190000, 0, DAY_S)
    # The reading goes from the 31st to the 2nd, with half on each side.
    account.use(40000, 0, 2 * DAY_S)
    check(account.ledger.rolled)
    check(account.ledger.estimated)
    equal(account.ledger.closed_wh, 210000)
    equal(account.ledger.used_wh[1], 20000)
    equal(account.charged_e11, yuan_e11("118"))


def test_the_mean_power_of_a_charge() -> None:
    tariff = simple((200000,), (50000000, 80000000), MONTHLY)
    account = Account(tariff, (0,), day_number(26, 3, 31) * DAY_S)
    account.registers_wh[0] = 1500
    account.t2000 += 900
    equal(account.prepare(), books.CHARGED)
    equal(account.ledger.mean_power_w(1), 6000)
    account.ledger.commit(1)
    account.registers_wh[0] += 5000
    account.t2000 += 2 * DAY_S
    equal(account.prepare(), books.CHARGED)
    check(account.ledger.rolled)
    equal(account.ledger.mean_power_w(1), 5000 // 48)
    account.ledger.commit(1)
    equal(account.prepare(), books.CHARGED)
    equal(account.ledger.mean_power_w(1), 0)


def test_a_freeze_at_the_settlement_divides_exactly() -> None:
    tariff = simple((200000,), (50000000, 80000000), MONTHLY)
    settled = day_number(26, 4, 1) * DAY_S
    account = Account(tariff, (0,), settled - 30 * DAY_S)
    equal(tariff.change_after(START), settled)
    account.use(199000, 0, 30 * DAY_S)
    account.use(90000, 0, 5 * DAY_S)
    check(not account.ledger.estimated)
    equal(account.ledger.closed_wh, 199000)
    equal(account.charged_e11, yuan_e11("144.5"))


def test_a_price_change_in_a_gap() -> None:
    change = START + 3600
    ladders = (ladder((), (50000000,)), ladder((), (70000000,)))
    tariff = loaded(
        image(1, 1, ladders, (terms(0, ENDLESS), terms(change, ENDLESS, ((1, 1, 1, 0, 0),))))
    )
    account = Account(tariff)
    account.use(4001, 0, 4 * 3600)
    check(account.ledger.estimated)
    check(not account.ledger.rolled)
    equal(account.charged_e11, yuan_e11("0.5") + yuan_e11("2.1007"))


def test_the_clock_tells_the_rate_of_a_single_register() -> None:
    prices = (50000000, 30000000)
    tables = (((0, 1), (480, 0), (1320, 1)), ((0, 1),))
    seasons = ((1, 1, 0, 1, 2),)
    # Rest days are Sundays; 2026-03-03 is a holiday.
    tariff = loaded(
        image(
            2,
            1,
            (ladder((), prices),),
            (terms(0, ENDLESS, seasons, 0, 1),),
            tables,
            ((day_number(26, 3, 3), 2),),
        )
    )
    equal(tariff.registers, 1)
    account = Account(tariff)
    for hour in range(48):
        account.use(1000 if hour % 24 < 12 else 10, 0, 3600)
    check(not account.ledger.estimated)
    # On Monday 8 + 4 are at 8.., 0.12; the holiday has the night's price; nothing is lost.
    cells_wh = [4000 + 100, 8000 + 20 + 12000 + 120]
    equal(account.charged_e11, account.priced_e11(cells_wh))


def test_a_standing_charge_is_due_at_every_midnight() -> None:
    sets = (terms(0, ENDLESS, ((1, 1, 0, 0, 0),), 1234567),)
    tariff = loaded(image(1, 1, (ladder((), (0,)),), sets))
    account = Account(tariff, (0,), START + 1)
    account.use(0, 0, DAY_S - 2)
    equal(account.charged_e11, 0)
    account.use(0, 0, 1)
    equal(account.charged_e11, 0)
    account.use(0, 0, 1)
    equal(account.charged_e11, 1234567 * 10000)
    account.use(0, 0, 10 * DAY_S)
    equal(account.charged_e11, 11 * 1234567 * 10000)


def test_kinds_of_household() -> None:
    ladders = (
        ladder((0, 100000), (0, 50000000, 60000000)),
        ladder((0, 200000), (0, 50000000, 60000000)),
        ladder((15000, 100000), (0, 50000000, 60000000)),
    )
    tariff = loaded(image(1, 3, ladders, (terms(0, MONTHLY),), households=3))
    for household, yuan in ((0, "110"), (1, "100"), (2, "102.5")):
        account = Account(tariff)
        account.ledger.describe(1, household)
        account.use(200000)
        equal(account.charged_e11, yuan_e11(yuan), household)
    account.ledger.describe(1, 3)
    equal(account.use(10), books.MISFIT)


def test_big_numbers_are_exact() -> None:
    account = Account(flat(129999999))
    account.registers_wh[0] = 499999999
    equal(account.use(0, 0, 400 * DAY_S), books.CHARGED)
    equal(account.charged_e11, 499999999 * 129999999)
    account.use(499999999 + 1, 0, 400 * DAY_S)
    equal(account.charged_e11, 999999999 * 129999999)


def test_an_account_does_not_end() -> None:
    """The account draws 400 kW at 0.8 yuan on a CT of 200: paid for a century, then never."""
    account = Account(flat(80000000))
    one = account.ledger
    one.describe(1, 0, 0, 200)
    wh = 400 * 24 * 5
    paid_fen = turns = 0
    for month in range(1200):
        before_fen = one.debit_fen[1]
        for _ in range(2):
            account.registers_wh[0] = (account.registers_wh[0] + 15 * wh) % 1000000000
            account.t2000 += 15 * DAY_S
            equal(account.prepare(), books.CHARGED, month)
            one.commit(1)
        turns += one.debit_fen[1] < before_fen
        check(one.top_up(1, month + 1, 23040000))
        paid_fen += 23040000
        equal(one.balance_fen(1), 0, month)
    equal(turns, paid_fen >> 32)
    equal((turns << 32) + one.debit_fen[1], paid_fen)
    # Without payments the debt is exact as far as records can hold it; then it is reported.
    for _ in range(93):
        account.registers_wh[0] = (account.registers_wh[0] + 30 * wh) % 1000000000
        account.t2000 += 30 * DAY_S
        equal(account.prepare(), books.CHARGED)
        one.commit(1)
    equal(one.balance_fen(1), -93 * 23040000)
    account.registers_wh[0] = (account.registers_wh[0] + 30 * wh) % 1000000000
    account.t2000 += 30 * DAY_S
    equal(account.prepare(), books.OVERFLOW)
    equal((one.fault_value, one.fault_limit), (23040000, 0x80000000 - 93 * 23040000))


def test_a_top_up_counts_once() -> None:
    one = Ledger(2)
    check(one.top_up(1, 1, 5000))
    check(not one.top_up(1, 1, 5000))
    check(not one.top_up(1, 0, 5000))
    check(one.top_up(1, 3, 100))
    equal((one.credit_fen[1], one.order[1]), (5100, 3))
    equal(one.balance_fen(1), 5100)
    equal(one.balance_fen(0), 0)


def test_a_repaid_debt_leaves_the_balance() -> None:
    one = Ledger(1)
    one.debt_fen[0] = 3000
    check(one.top_up(0, 1, 5000, 1000))
    equal((one.balance_fen(0), one.debt_fen[0]), (4000, 2000))


def test_recovery_needs_no_tariff_and_charges_on_as_if_it_had_been_there() -> None:
    """The image cannot be read: tiers, debit and registers go on unchanged."""
    for steps in (1, 40):
        live = Account(zhejiang())
        replayed = Account(zhejiang())
        replayed.ledger = Ledger(3)
        replayed.ledger.power_limit_w = 10**9
        replayed.replay(live)
        for step in range(steps):
            live.use(90000 + step, step & 1, 86400)
            if live.ledger.rolled:
                replayed.ledger.replay_period(1, live.ledger.new_period_t2000)
            replayed.replay(live)
            for column in range(len(live.ledger.columns())):
                equal(replayed.ledger.columns()[column], live.ledger.columns()[column], column)
        for account in (live, replayed):
            account.t2000 = live.t2000
            account.registers_wh = live.registers_wh
        live.use(70001, 0, 900)
        replayed.use(0, 0, 900)
        for column in range(len(live.ledger.columns())):
            equal(replayed.ledger.columns()[column], live.ledger.columns()[column], column)


def test_a_recovered_reading_counts_as_it_was_written() -> None:
    account = Account(flat(50000000))
    registers_wh = array("i", (700000,))
    account.ledger.replay_reading(1, registers_wh, START + 9, 77, 5, 6, 9)
    one = account.ledger
    equal((one.debit_fen[1], one.residue_e7[1], one.residue_e11[1]), (77, 5, 6))
    equal((one.used_wh[1], one.registers_wh[4], one.read_t2000[1]), (9, 700000, START + 9))


def test_accounts_do_not_touch_each_other() -> None:
    account = Account(zhejiang())
    account.ledger.top_up(1, 1, 7)
    account.use(3000000)
    account.ledger.enter(1, 5, 9)
    for column in account.ledger.columns():
        width = len(column) // 3
        for at in list(range(width)) + list(range(2 * width, 3 * width)):
            equal(column[at], 0)


def test_billing_resumed_goes_on_from_the_last_good_registers() -> None:
    account = Account(zhejiang())
    account.use(1000)
    one = account.ledger
    one.stop(1)
    equal(account.use(2000), books.BILLING_STOPPED)
    one.resume(1)
    equal(account.use(10), books.CHARGED)
    equal(one.used_wh[1], 3010)


def test_registers_begun_anew_stay_in_the_same_period() -> None:
    account = Account(zhejiang())
    account.use(1000)
    one = account.ledger
    one.stop(1)
    equal(account.use(2000), books.BILLING_STOPPED)
    one.start_anew(1)
    equal(account.prepare(), books.FIRST)
    one.commit(1)
    equal((one.used_wh[1], one.rolled), (1000, False))
    account.use(10)
    equal(one.used_wh[1], 1010)
    one.start_anew(1)
    account.t2000 += 365 * DAY_S
    equal(account.prepare(), books.FIRST)
    equal((one.rolled, one.closed_wh), (True, 1010))
    one.commit(1)
    equal(one.used_wh[1], 0)


def test_energy_used_before_the_account_counts_for_the_tiers() -> None:
    one = Ledger(1)
    one.used_wh[0] = 2759990
    registers_wh = array("i", (0, 0))
    equal(one.prepare(0, zhejiang(), registers_wh, START), books.FIRST)
    one.commit(0)
    equal(one.used_wh[0], 2759990)


def test_beyond_2034_all_goes_on() -> None:
    """Seconds no longer fit 30 bits after that."""
    sets = (terms(0, ENDLESS, ((1, 1, 0, 0, 0),), 1000),)
    daily = loaded(image(1, 1, (ladder((), (50000000,)),), sets))
    starts = [0x3FFFFFFF - 100, 0x3FFFFFFF, 0x3FFFFFFF + 1]
    for year in (34, 50, 67, 98):
        starts.append(day_number(year, 6, 30) * DAY_S + 100)
    for t2000 in starts:
        for tariff in (flat(50000000), simple((9000,), (50000000, 60000000)), daily):
            account = Account(tariff, (0,), t2000)
            account.use(1000)
            account.use(1000, 0, 2 * DAY_S)
            days_e11 = 2 * 1000 * 10000 if tariff is daily else 0
            equal(account.charged_e11, yuan_e11("1") + days_e11, t2000)
            check(tariff.change_after(account.t2000) > account.t2000)


def test_what_is_too_much_money_is_told() -> None:
    account = Account(flat(10**8))
    account.ledger.debit_fen[1] = 0x7FFFFFFF
    account.ledger.residue_e7[1] = 99999
    equal(account.use(0), books.CHARGED)
    equal(account.use(1000), books.OVERFLOW)
    equal((account.ledger.fault_value, account.ledger.fault_limit), (100, 1))
    account.ledger.top_up(1, 1, 99)
    equal(account.prepare(), books.CHARGED)
    account.ledger.commit(1)
    equal(account.ledger.balance_fen(1), -0x80000000)


def test_a_settlement_found_first_by_another_account() -> None:
    tariff = simple((200000,), (50000000, 80000000), MONTHLY)
    settled = day_number(26, 4, 1) * DAY_S
    account = Account(tariff, (0,), settled - 7200)
    account.use(1000, 0, 7200)
    tariff.seek(settled + 10)
    account.use(500)
    check(account.ledger.rolled)
    equal((account.ledger.closed_wh, account.ledger.used_wh[1]), (1000, 500))


def test_the_greatest_energy_that_is_believed() -> None:
    for after_s, most_wh in ((7200, 21000), (3600, 11000), (60, 11000)):
        account = Account(zhejiang())
        account.ledger.power_limit_w = 10000
        account.registers_wh[0] = most_wh + 1
        account.t2000 += after_s
        equal(account.prepare(), books.TOO_MUCH, after_s)
        account.registers_wh[0] = most_wh
        equal(account.prepare(), books.CHARGED, after_s)


def test_in_the_last_tier_it_no_longer_matters_how_much_it_was() -> None:
    account = Account(simple((1000,), (50000000, 60000000), ENDLESS))
    account.ledger.used_wh[1] = 0x3FFFFFFF - 6
    account.use(1000)
    account.use(1000)
    equal(account.ledger.used_wh[1], 0x3FFFFFFF - 1)
    equal(account.charged_e11, yuan_e11("1.2"))
