"""Goal: a tariff's rules for parts of a year, free energy, months and rates beside the tiers are
charged to the last digit.

Method: published rules worked out by hand, one account each, through the image that a device gets:
Shandong's notice 509 of 2019 for the quota of a part of a year, 15 kWh a month free of charge, a
ladder that only one rate fills.
"""

from array import array

from civil import day_number
from harness import check, equal, heap_locked
from prepay import ledger as books
from prepay.ledger import Ledger
from prepay.tariff import Tariff
from tariff_images import ENDLESS, MONTHLY, YEARLY, image, ladder, loaded, simple, terms

DAY_S = 86400
# These rules hold from this month on for opened accounts, those that move in, and changes.
THIS_MONTH = 0x15
NEXT_MONTH = 0x25
SHANDONG = ladder((2520000, 4800000), (54690000, 59690000, 84690000))
SHANDONG_LARGE = ladder((3720000, 4800000), (54690000, 59690000, 84690000))


def at(year: int, month: int, day: int, hour: int = 0) -> int:
    """Return the time as t2000."""
    return day_number(year, month, day) * DAY_S + hour * 3600


def shandong(rules: int) -> Tariff:
    """Return a tariff for ordinary households, and for those of five persons and more."""
    return loaded(
        image(1, 3, (SHANDONG, SHANDONG_LARGE), (terms(0, YEARLY),), (), (), 2, 1, rules)
    )


class Account:
    """This is account 0, with a meter that can be read at any time."""

    def __init__(self, tariff: Tariff, t2000: int, household: int = 0) -> None:
        self.ledger = Ledger(1)
        self.ledger.power_limit_w = 10**9
        self.ledger.describe(0, household)
        self.tariff = tariff
        self.registers_wh = array("i", (0,) * tariff.registers)
        self.read(t2000, outcome=books.FIRST)

    def read(self, t2000: int, wh: int = 0, rate: int = 0, outcome: int = books.CHARGED) -> None:
        """Read at `t2000` after `wh` more at `rate`."""
        self.registers_wh[rate] = (self.registers_wh[rate] + wh) % 1000000000
        equal(self.ledger.prepare(0, self.tariff, self.registers_wh, t2000), outcome)
        self.ledger.commit(0)

    def change(self, household: int, t2000: int) -> None:
        """Make it another kind of household."""
        ledger = self.ledger
        quota = ledger.quota_after(0, self.tariff, household, t2000)
        check(quota >= 0)
        ledger.describe(0, household)
        ledger.set_used(0, ledger.used_wh[0], ledger.period_t2000[0], quota, ledger.free[0])

    @property
    def charged_e11(self) -> int:
        """Return all charges, in 1e-11 yuan."""
        one = self.ledger
        fen_e7 = one.debit_fen[0] * 100000 + one.residue_e7[0]
        return fen_e7 * 10000 + one.residue_e11[0]


def test_an_account_opened_in_october_has_three_months() -> None:
    """2000 kWh are charged: 630 in tier 1, 570 in tier 2, 800 in tier 3."""
    account = Account(shandong(THIS_MONTH), at(26, 10, 15, 9))
    for month in (11, 12):
        account.read(at(26, month, 1), 500000)
    account.read(at(26, 12, 31, 23), 1000000)
    equal(account.charged_e11, 136230 * 10**9)
    # The next year's quota is whole.
    account.read(at(27, 1, 1))
    account.read(at(27, 6, 1), 2520000)
    equal(account.charged_e11, (136230 + 137818) * 10**9 + 8 * 10**8)
    equal((account.ledger.quota[0], account.ledger.flags[0]), (0, 0))


def test_without_a_rule_the_quota_is_whole() -> None:
    account = Account(shandong(0), at(26, 10, 15, 9))
    account.read(at(26, 12, 31, 23), 2000000)
    equal(account.charged_e11, 109380 * 10**9)


def test_a_household_that_grows_in_july() -> None:
    """Five persons have 100 kWh a month more in tier 1, so they have 600 more this year."""
    for rules, first_wh in ((THIS_MONTH, 3120000), (NEXT_MONTH, 3020000), (0, 3720000)):
        account = Account(shandong(rules), at(26, 1, 1))
        account.read(at(26, 7, 1, 12), 3000000)
        charged_e11 = account.charged_e11
        account.change(1, at(26, 7, 1, 12))
        account.read(at(26, 7, 1, 16), 500000)
        cheap_wh = min(500000, first_wh - 3000000)
        expected_e11 = cheap_wh * 54690000 + (500000 - cheap_wh) * 59690000
        equal(account.charged_e11 - charged_e11, expected_e11, rules)
        equal(account.ledger.tier_of(0, account.tariff), 0 if rules == 0 else 1)


def test_a_household_changes_three_times_at_most_in_a_year() -> None:
    account = Account(shandong(THIS_MONTH), at(26, 1, 1))
    for count, month in enumerate((3, 5, 7)):
        account.read(at(26, month, 1), 0)
        account.change(1 - count % 2, at(26, month, 20))
        # A second change in the same month replaces the first.
        account.change(count % 2, at(26, month, 21))
        account.change(1 - count % 2, at(26, month, 22))
    equal(account.ledger.quota_after(0, account.tariff, 0, at(26, 9, 1)), -1)
    # The year has 2 + 2 months ordinary, 2 + 6 large.
    account.read(at(26, 9, 1), 3320000)
    equal(account.ledger.tier_of(0, account.tariff), 1)
    account = Account(shandong(THIS_MONTH), at(26, 12, 1))
    equal(account.ledger.quota_after(0, account.tariff, 1, at(27, 1, 1)), -1)


def test_a_household_changes_while_the_clock_is_set_back() -> None:
    """The tier year has begun: the change counts from its first month on, not from before it."""
    account = Account(shandong(THIS_MONTH), at(26, 1, 1))
    account.read(at(26, 3, 1))
    for moment in (at(25, 12, 20), at(24, 2, 29), at(26, 1, 1)):
        equal(account.ledger.quota_after(0, account.tariff, 1, moment), 0, moment)
    account.change(1, at(25, 6, 1))
    equal((account.ledger.quota[0], account.ledger.flags[0] >> 4), (0, 1))


def test_a_household_that_moves_in() -> None:
    account = Account(shandong(THIS_MONTH), at(26, 1, 1))
    account.read(at(26, 9, 30), 5000000)
    charged_e11 = account.charged_e11
    ledger = account.ledger
    quota = ledger.quota_moved_in(account.tariff, at(26, 10, 1))
    ledger.set_used(0, 0, account.tariff.period_at(at(26, 10, 1)), quota, ledger.free[0])
    account.read(at(26, 11, 1), 700000)
    equal(account.charged_e11 - charged_e11, 630000 * 54690000 + 70000 * 59690000)


def test_a_tariff_that_lets_go_its_past_settles_nothing() -> None:
    ladders = (ladder((230000,), (50000000, 80000000)), ladder((1380000,), (50000000, 80000000)))
    both = (terms(0, MONTHLY), terms(at(26, 7, 1), YEARLY, ((1, 1, 1, 0, 0),)))
    account = Account(loaded(image(1, 2, ladders, both)), at(26, 7, 1))
    account.read(at(26, 10, 1), 2208000)
    charged_e11 = account.charged_e11
    account.tariff = simple((1380000,), (50000000, 80000000))
    account.read(at(26, 10, 2), 50000)
    check(not account.ledger.rolled)
    account.ledger.power_limit_w = 60000
    with heap_locked():
        account.registers_wh[0] += 50000
        equal(
            account.ledger.prepare(0, account.tariff, account.registers_wh, at(26, 10, 2, 1)),
            books.CHARGED,
        )
        account.ledger.commit(0)
    equal((account.ledger.rolled, account.ledger.whole), (False, False))
    equal(account.charged_e11 - charged_e11, 100000 * 80000000)
    account.ledger.power_limit_w = 10**9
    # The file with its past changes nothing either; a new year and another period do.
    account.tariff = loaded(image(1, 2, ladders, both))
    account.read(at(26, 10, 3))
    equal(account.ledger.used_wh[0], 2308000)
    account.tariff = simple((1380000,), (50000000, 80000000), MONTHLY)
    account.read(at(26, 10, 4))
    equal((account.ledger.rolled, account.ledger.used_wh[0]), (True, 0))
    account.tariff = simple((1380000,), (50000000, 80000000))
    account.read(at(26, 10, 5), 10)
    equal((account.ledger.rolled, account.ledger.used_wh[0]), (True, 10))


def test_energy_free_in_each_month_of_a_yearly_ladder() -> None:
    ladders = (ladder((60000,), (50000000, 80000000)),) * 2
    data = image(1, 2, ladders, (terms(0, YEARLY),), (), (), 2, 1, 0, (1, 0, 1, 0), (0, 15000))
    account = Account(loaded(data), at(26, 1, 1), 1)
    plain = Account(loaded(data), at(26, 1, 1))
    for month, wh in ((1, 10000), (2, 40000), (3, 5000), (4, 30000)):
        for one in (account, plain):
            one.read(at(26, month, 25), wh)
            one.read(at(26, month + 1, 1))
    # 25 are in February; in April 15 are free and 15 more are in tier 2, as 55 went before.
    equal(account.charged_e11, 25000 * 50000000 + 15000 * 80000000)
    equal(plain.charged_e11, 60000 * 50000000 + 25000 * 80000000)


def test_energy_may_be_free_for_every_household() -> None:
    """The reading is within hours of another one, where a charge takes the short way."""
    one = (ladder((), (50000000,)),)
    data = image(1, 1, one, (terms(0, ENDLESS),), free=(1, 0, 1, 0), free_wh=(15000,))
    account = Account(loaded(data), at(26, 1, 1))
    for hour in range(1, 6):
        account.read(at(26, 1, 1, hour), 4000)
    equal(account.charged_e11, 5000 * 50000000)


def test_a_charge_for_each_month() -> None:
    tariff = loaded(
        image(1, 1, (ladder((), (50000000,)),), (terms(0, ENDLESS, standing_e4=123456),))
    )
    account = Account(tariff, at(26, 1, 1))
    account.read(at(26, 2, 1))
    # The month that begins at a reading is charged by the next one.
    equal(account.charged_e11, 123456 * 10**7)
    account.read(at(26, 2, 1, 1))
    equal(account.charged_e11, 2 * 123456 * 10**7)
    account.read(at(27, 1, 1, 1))
    equal(account.charged_e11, 13 * 123456 * 10**7)


def test_a_rate_that_fills_no_tier() -> None:
    tariff = loaded(
        image(
            2,
            2,
            (ladder((100000,), (50000000, 30000000, 80000000, 30000000)),),
            (terms(0, YEARLY, ((1, 1, 0, 0, 0, 2),)),),
        )
    )
    account = Account(tariff, at(26, 1, 1))
    account.read(at(26, 1, 2), 500000, 1)
    account.read(at(26, 1, 3), 150000, 0)
    equal(account.ledger.used_wh[0], 150000)
    equal(account.charged_e11, 500000 * 30000000 + 100000 * 50000000 + 50000 * 80000000)
    equal(account.ledger.mean_power_w(0), 0)
    account.registers_wh[1] += 4000
    equal(account.ledger.prepare(0, tariff, account.registers_wh, at(26, 1, 3, 1)), books.CHARGED)
    equal(account.ledger.mean_power_w(0), 4000)


def test_mean_power_without_a_tier_period() -> None:
    """Energy of the last tier is counted up to 1,073,741 kWh, power beyond that."""
    tariff = simple((), (50000000,), ENDLESS)
    account = Account(tariff, at(26, 1, 1))
    account.ledger.used_wh[0] = 0x3FFFFFFE
    account.registers_wh[0] += 5000
    account.ledger.prepare(0, tariff, account.registers_wh, at(26, 1, 1) + 900)
    equal(account.ledger.mean_power_w(0), 20000)


def test_what_cannot_be_honoured_is_named() -> None:
    one = (ladder((5,), (1, 2)),)
    good = (terms(0, YEARLY),)
    for data, reason in (
        (image(1, 2, one, good, rules=2), "rule of an opened account 2, can be 0 to 1"),
        (image(1, 2, one, good, rules=8), "rule of moving in 2, can be 0 to 1"),
        (image(1, 2, one, good, rules=0x30), "rule of a changed household 3, can be 0 to 2"),
        (image(1, 2, one, good, free=(3, 1, 1, 0)), "free period 3, can be 0 to 2"),
        (
            image(1, 2, one, good, free=(2, 0, 1, 0), free_wh=(0,)),
            "month of a settlement 0, can be 1 to 12",
        ),
        (
            image(1, 2, one, good, free=(1, 0, 1, 0), free_wh=(1048576,)),
            "free energy 1048576, can be 0 to 1048575",
        ),
        (
            image(1, 2, one, (terms(0, YEARLY, standing_e4=1 << 30),)),
            "standing charge of a month 1073741824, can be 0 to 1073741823",
        ),
        (
            image(1, 2, one, (terms(0, YEARLY, ((1, 1, 0, 0, 0, 1),)),)),
            "a rate that is not counted costs more in some tiers",
        ),
        (
            image(1, 2, one, (terms(0, YEARLY, ((1, 1, 0, 0, 0, 2),)),)),
            "rates that are not counted beyond the last 1, can be 0 to 0",
        ),
        (
            image(1, 2, one, (terms(0, YEARLY), terms(3601, YEARLY))),
            "seconds of the hour in which a set starts 1, can be 0 to 0",
        ),
    ):
        equal(Tariff().load(data, len(data)), reason)


def test_months_and_what_is_left_of_them() -> None:
    tariff = simple((10,), (1, 2))
    for month in range(1, 13):
        for t2000 in (at(26, month, 1), at(26, month + 1, 1) - 1):
            tariff.count_months(t2000)
            equal((tariff.months, tariff.months_left), (12, 13 - month), month)
    # This goes from the middle of a month to the next settlement.
    ladders = (ladder((5,), (1, 2)),)
    sets = (terms(0, MONTHLY), terms(at(26, 7, 31, 10), YEARLY))
    tariff = loaded(image(1, 2, ladders, sets))
    tariff.count_months(at(26, 7, 1))
    equal((tariff.months, tariff.months_left), (1, 1))
    for moment, left in (
        (at(26, 7, 31, 10), 6),
        (at(26, 8, 28, 23), 6),
        (at(26, 8, 29), 5),
        (at(26, 9, 1), 5),
        (at(26, 12, 31, 23), 1),
    ):
        tariff.count_months(moment)
        equal((tariff.months, tariff.months_left), (6, left), moment)
