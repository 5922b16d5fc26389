"""Goal: the short way of `Ledger.prepare` charges what the long one charges, digit for digit.

Method: two ledgers with the same readings. One gets the same tariff each time and goes the short
way where it can; the other gets a new copy each time, for which it always goes the long way. The
cases are registers that count single watt-hours, kinds of household, and tiers that end within, at
and just before a reading.
"""

import sys
from array import array

from civil import day_number
from harness import check, equal
from prepay.ledger import CHARGED, FIRST, OVERFLOW, Ledger
from tariff_images import MONTHLY, flat, image, ladder, loaded, terms

SMALL = sys.maxsize < 1 << 32  # an emulated board is slow
START = day_number(26, 3, 2) * 86400 + 36000
PRICES = (99500875, 58886875, 104500875, 63886877, 129500876, 88886879)


def stepped(households: int) -> bytes:
    """Return a tariff of two rates and three tiers a month that differs for each household."""
    ladders = []
    for household in range(households):
        prices = tuple([price_e8 + 1234567 * household for price_e8 in PRICES])
        ladders.append(ladder((900 + 7 * household, 2500), prices))
    return image(2, 3, tuple(ladders), (terms(0, MONTHLY),), households=households)


class Pair:
    """These are both ledgers, with an account of each household."""

    def __init__(self, households: int) -> None:
        data = stepped(households)
        self.tariff = loaded(data)
        self.copies = (loaded(data), loaded(data))
        self.households = households
        self.short = Ledger(households)
        self.long = Ledger(households)
        self.long_ways = 0
        self._turn = 0
        self._any = self.short._prepare_any
        self.short._prepare_any = self._counted  # type: ignore[method-assign]  # calls are counted
        self.wh = [array("i", (0, 0)) for _ in range(households)]
        for household in range(households):
            for ledger in (self.short, self.long):
                ledger.describe(household, household)
        for household in range(households):
            self.read(household, (0, 0), START)

    def _counted(self, *arguments: object) -> int:
        self.long_ways += 1
        outcome: int = self._any(*arguments)  # type: ignore[arg-type]  # passed on
        return outcome

    def read(self, index: int, used_wh: "tuple[int, int]", t2000: int) -> int:
        """Read both accounts; they must agree in everything."""
        wh = self.wh[index]
        for rate in range(2):
            wh[rate] += used_wh[rate]
        self._turn += 1
        outcome = self.short.prepare(index, self.tariff, wh, t2000)
        equal(self.long.prepare(index, self.copies[self._turn & 1], wh, t2000), outcome)
        check(outcome in (CHARGED, FIRST), outcome)
        for ledger in (self.short, self.long):
            ledger.commit(index)
        for short, long in zip(self.short.columns(), self.long.columns()):  # noqa: B905 - MicroPython has no strict
            equal(short, long, (index, used_wh))
        return outcome


def test_any_readings_of_any_household() -> None:
    pair = Pair(3)
    state = 12345
    t2000 = START
    readings = 150 if SMALL else 600
    for _ in range(readings):
        state = (state * 1103515245 + 12345) & 0x3FFFFFFF
        t2000 += 300 + (state >> 7) % 600
        used = ((state >> 9) % 12, (state >> 15) % 6)
        pair.read(state % 3, used if state & 0x40000 else (used[0] & 1, 0), t2000)
    check(pair.long_ways < readings // 4, "the short way was gone")


def test_a_tier_that_ends_at_or_next_to_a_reading() -> None:
    """It ends at a reading, one or two watt-hours later, and one before and over it at once."""
    for household in (0, 1, 2):
        for before in (1, 2, 3, 5):
            for step in range(1, 9):
                pair = Pair(3)
                limit_wh = 900 + 7 * household
                pair.read(household, (limit_wh - before, 0), START + 900)
                long_ways = pair.long_ways
                pair.read(household, (0, 0), START + 1800)
                equal(pair.long_ways, long_ways, "the short way was gone")
                pair.read(household, (step, 0), START + 2700)
                pair.read(household, (0, 3), START + 3600)


def test_more_energy_than_can_be_counted_is_refused() -> None:
    """A register is multiplied by its transformers, at a price at which the money would fit."""
    tariff = flat(1)
    ledger = Ledger(1)
    for multiplier, used_wh, outcome in (
        (65535, 16384, CHARGED),
        (65535, 16385, OVERFLOW),
        (65535, 60000, OVERFLOW),
        (40000, 60000, OVERFLOW),
        (17895, 60000, CHARGED),
        (17896, 60000, OVERFLOW),
    ):
        ledger.start_anew(0)
        ledger.describe(0, 0, 0, multiplier)
        wh = array("i", (0,))
        equal(ledger.prepare(0, tariff, wh, START), FIRST)
        ledger.commit(0)
        wh[0] = used_wh
        equal(ledger.prepare(0, tariff, wh, START + 3600), outcome, (multiplier, used_wh))
