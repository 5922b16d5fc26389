"""Goal: P1 to P12 of docs/PREPAYMENT.md hold on MicroPython, 32 bits included, as on CPython.

Method: a fixed sweep. Readings come from a small generator with fixed seeds; the expected cost
comes from counting every watt-hour by itself: first it is used, then it is priced in its tier.
Numbers near 2**30 and 2**31 stand beside small ones.
"""

from array import array

from civil import day_number
from harness import check, equal
from prepay import ledger as books
from prepay.ledger import Ledger
from prepay.tariff import Tariff
from tariff_images import ENDLESS, MONTHLY, image, ladder, loaded, simple, terms

DAY_S = 86400
START = day_number(26, 3, 20) * DAY_S
LIMITS_WH = (500, 1200)
# The tariff has three tiers and two rates, in 1e-8 yuan a kWh.
PRICES_E8 = (58886875, 22914475, 63886875, 27914475, 88886875, 52914475)


class Chance:
    """This small generator gives the same numbers on every port and width."""

    def __init__(self, seed: int) -> None:
        self._state = seed

    def below(self, limit: int) -> int:
        self._state = (self._state * 1103 + 12345) & 0xFFFFFF
        return (self._state >> 4) % limit


class Run:
    """This is one account, with the result of counting every watt-hour of it."""

    def __init__(self, tariff: Tariff) -> None:
        self.ledger = Ledger(1)
        self.tariff = tariff
        self.registers_wh = array("i", (0, 0))
        self.t2000 = START
        self.charge_e11 = 0
        self.used_wh = 0
        equal(self.prepare(), books.FIRST)
        self.ledger.commit(0)

    def prepare(self) -> int:
        return self.ledger.prepare(0, self.tariff, self.registers_wh, self.t2000)

    def count(self, wh: int, rate: int) -> None:
        """Use energy one watt-hour after the other."""
        for _ in range(wh):
            self.used_wh += 1
            tier = 0
            while tier < 2 and self.used_wh > LIMITS_WH[tier]:
                tier += 1
            self.charge_e11 += PRICES_E8[tier * 2 + rate]

    def read(self, first_wh: int, second_wh: int, after_s: int = 900) -> None:
        self.t2000 += after_s
        self.registers_wh[0] += first_wh
        self.registers_wh[1] += second_wh
        equal(self.prepare(), books.CHARGED)
        self.ledger.commit(0)

    @property
    def charged_e11(self) -> int:
        one = self.ledger
        fen_e7 = one.debit_fen[0] * 100000 + one.residue_e7[0]
        return fen_e7 * 10000 + one.residue_e11[0]


def tariff(period: "tuple[int, tuple[tuple[int, int, int], ...]]" = ENDLESS) -> Tariff:
    return simple(LIMITS_WH, PRICES_E8, period)


def test_every_watt_hour_by_itself() -> None:
    """P1, P3, P4 and P5 hold for the charge, its parts and its tiers."""
    for seed in range(4):
        chance = Chance(seed + 1)
        run = Run(tariff())
        while run.used_wh < 1500:
            before_e11 = run.charged_e11
            first_wh = chance.below(90)
            second_wh = chance.below(90)
            run.count(first_wh, 0)
            run.count(second_wh, 1)
            run.read(first_wh, second_wh)
            equal(run.charged_e11, run.charge_e11, seed)
            check(run.charged_e11 >= before_e11)
        equal(run.ledger.used_wh[0], run.used_wh)
        equal(run.used_wh, sum(run.registers_wh))


def test_any_split() -> None:
    """P2 holds."""
    for parts in (1, 2, 3, 7, 100):
        run = Run(tariff())
        for rate, wh in ((0, 300), (1, 450), (0, 5), (1, 800)):
            for part in range(parts):
                step_wh = wh * (part + 1) // parts - wh * part // parts
                if rate:
                    run.read(0, step_wh, 60)
                else:
                    run.read(step_wh, 0, 60)
        run.count(300, 0)
        run.count(450, 1)
        run.count(5, 0)
        run.count(800, 1)
        equal(run.charged_e11, run.charge_e11, parts)


def test_settlements() -> None:
    """P6: only the tiers begin again at 0, with every reading of three months."""
    chance = Chance(9)
    run = Run(tariff(MONTHLY))
    ended = 0
    while run.t2000 < day_number(26, 6, 20) * DAY_S:
        before_e11 = run.charged_e11
        period = run.ledger.period_t2000[0]
        run.read(0, 0, 3600 * (1 + chance.below(30)))
        equal(run.charged_e11, before_e11)
        if run.ledger.rolled:
            ended += 1
            equal(run.ledger.used_wh[0], 0)
            check(run.ledger.period_t2000[0] > period)
        else:
            equal(run.ledger.period_t2000[0], period)
        run.read(chance.below(200), 0)
    equal(ended, 3)


def test_top_ups() -> None:
    """P1, P7, P9: each counts once, at whatever moment it comes."""
    early = Run(tariff())
    late = Run(tariff())
    for order in range(1, 6):
        check(early.ledger.top_up(0, order, 1000 + order))
        check(not early.ledger.top_up(0, order, 1000 + order))
    for step in range(5):
        early.read(100, 70)
        late.read(100, 70)
        late.ledger.top_up(0, step + 1, 1001 + step)
    for column in range(len(early.ledger.columns())):
        equal(early.ledger.columns()[column], late.ledger.columns()[column], column)
    equal(early.ledger.balance_fen(0), 5015 - early.ledger.debit_fen[0])


def test_power_cuts() -> None:
    """P8: energy that was not journalled is charged by the next reading, once."""
    chance = Chance(5)
    kept = Run(tariff())
    cut = Run(tariff())
    for _ in range(40):
        wh = chance.below(60)
        kept.read(wh, 0)
        cut.t2000 += 900
        cut.registers_wh[0] += wh
        equal(cut.prepare(), books.CHARGED)
        one = cut.ledger
        chosen = chance.below(3)
        if chosen == 0:
            continue
        if chosen == 1:
            one.commit(0)
            continue
        figures = (one.new_debit_fen, one.new_residue_e7, one.new_residue_e11, one.new_used_wh)
        if one.rolled:
            one.replay_period(0, one.new_period_t2000)
        if one.counts_anew(0):
            one.set_used(0, one.new_used_wh, one.new_period_t2000, one.new_quota, one.new_free)
        one.replay_reading(0, cut.registers_wh, cut.t2000, *figures)
    kept.read(10, 0)
    cut.read(10, 0)
    equal(cut.charged_e11, kept.charged_e11)
    equal(cut.ledger.used_wh, kept.ledger.used_wh)


def test_a_price_switch() -> None:
    """P10: the old price holds before it, the new one after it, a mean by time across it."""
    change = START + 7200
    ladders = (ladder((), (50000000, 30000000)), ladder((), (70000000, 40000000)))
    sets = (terms(0, ENDLESS), terms(change, ENDLESS, ((1, 1, 1, 0, 0),)))
    data = image(2, 1, ladders, sets)
    for at_s in range(1800, 14400, 900):
        run = Run(loaded(data))
        run.read(1003, 0, at_s)
        run.read(0, 0, 14400 - at_s)
        old_wh = 1003 if at_s <= 7200 else 1003 * 7200 // at_s
        equal(run.charged_e11, old_wh * 50000000 + (1003 - old_wh) * 70000000, at_s)


def test_clock_steps() -> None:
    """P11: forward and back, each watt-hour is charged once."""
    chance = Chance(3)
    run = Run(tariff())
    for _ in range(60):
        wh = chance.below(30)
        run.count(wh, 0)
        run.read(wh, 0, chance.below(9000) - 3000 if run.t2000 > START + 3600 else 3000)
        run.t2000 = run.ledger.read_t2000[0]
    equal(run.charged_e11, run.charge_e11)


def test_numbers_around_31_and_32_bits() -> None:
    """P12: products beyond 2**30, 2**31 and 2**32 are exact."""
    for price_e8 in (1, 9999, 10000, 58886875, 99999999, 10**10, 10**12):
        for wh in (1, 203000, 204000, 2**15, 2**20, 2**24, 2**28 + 1, 499999990):
            run = Run(simple((), (price_e8, 0)))
            run.ledger.power_limit_w = 10**9
            run.registers_wh[0] = wh
            run.t2000 += DAY_S
            outcome = run.prepare()
            fen = wh * price_e8 // 10**9
            if fen > 0x80000000:
                equal(outcome, books.OVERFLOW)
                continue
            equal(outcome, books.CHARGED)
            run.ledger.commit(0)
            equal(run.charged_e11, wh * price_e8, (price_e8, wh))


def test_registers_go_over_their_end() -> None:
    """P2 and P12 hold for every step across 999999.99 kWh."""
    run = Run(tariff())
    run.registers_wh[0] = 999999000
    run.ledger.start_anew(0)
    equal(run.prepare(), books.FIRST)
    run.ledger.commit(0)
    for wh in (10, 500, 480, 10, 10, 300):
        run.count(wh, 0)
        run.registers_wh[0] = (run.registers_wh[0] + wh) % 1000000000
        run.read(0, 0)
    equal(run.registers_wh[0], 310)
    equal(run.charged_e11, run.charge_e11)
