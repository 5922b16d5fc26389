"""Charge accounts for their readings.

A part of a fen is carried as a residue, so a charge split into many readings equals the charge of
one reading to the last digit. A charge depends only on the meter's registers and takes two steps:
`prepare` computes it, and `commit` applies it once its record is in the journal.

A reading does not say which kilowatt-hour came first, so these rules apply:

    the rates of one reading use up a tier in the order of the registers
    a reading across a change of price, season, tier period or slot of a day table is divided in
    proportion to time, and `estimated` is then true. A reading at the change itself, such as the
    meter's freeze, divides it exactly and has to be charged first.

Spec: docs/PREPAYMENT.md; DL/T 645-2007 04000306 and 04000307 (CT and PT).
"""

from array import array

import micropython
from civil import DAY_S
from micropython import const

from prepay.accounts import (
    DELTA_LIMIT_WH,
    HOUSEHOLD,
    MONEY_LIMIT_FEN,
    REGISTER_MODULUS_WH,
    SCALED,
    STOPPED,
    Accounts,
    difference_fen,
    months_left,
    settles,
)
from prepay.tariff import FREE_LIMIT_WH, NO_LIMIT, RATES_LIMIT, Tariff

# Outcomes of `prepare`. From EARLIER on a reading is doubtful: see books/doubt.py.
CHARGED = const(0)
FIRST = const(1)  # nothing is charged: the next reading counts from these registers
BILLING_STOPPED = const(2)
NO_TIME = const(3)
VALUE_MISSING = const(4)
EARLIER = const(5)  # more than a year after the last reading: the clock may be wrong
BACK = const(6)
TOO_MUCH = const(7)
OVERFLOW = const(8)
MISFIT = const(9)
UNEVEN = const(10)
OUTCOME_NAMES = (
    "charged",
    "first reading",
    "billing is stopped",
    "the clock is not set",
    "the meter has no value",
    "the clock is far ahead",
    "a register went back",
    "more energy than can be",
    "more money than can be",
    "the tariff does not fit",
    "the rates do not add up to the total",
)

# Money counts modulo 2**32, see accounts.py.
_TURN_FEN = const(0x100000000)
_HALF_FEN = const(0x80000000)

# After a clock was set back, the true time between two readings is unknown; this is its minimum.
_BACK_LIMIT_S = const(3600)
# A year and a month: after a longer time the clock may be wrong.
_AHEAD_LIMIT_S = const(34560000)
# A register may exceed the greatest power times the time by this: its steps and late answers.
_SLACK_WH = const(1000)
# The short path of `prepare` is for readings at most this far apart.
_LONG_S = const(14400)
_UNUSUAL = const(0x0D)
# A rule of a part of a year, see the tariff.
_WHOLE = const(0)
_DEFAULT_POWER_LIMIT_W = const(60000)

_NO_TARIFF = Tariff()


class Ledger(Accounts):
    """The accounts, with the charge of a reading.

    After `prepare` returned CHARGED or FIRST, the `new_*` hold the values that `commit` will
    write. `estimated`: the reading was divided by time. `rolled`: a tier period ended in it, and
    `closed_*` hold its sums. `whole`: the short path was not taken, which leaves `quota` and
    `free` unchanged. After a doubtful outcome `fault_value` and `fault_limit` hold the value that
    was wrong and its limit.
    """

    def __init__(self, count: int, rates_limit: int = 4) -> None:
        super().__init__(count, rates_limit)
        self.power_limit_w = _DEFAULT_POWER_LIMIT_W
        self.new_debit_fen = 0
        self.new_residue_e7 = 0
        self.new_residue_e11 = 0
        self.new_used_wh = 0
        self.new_period_t2000 = 0
        self.new_read_t2000 = 0
        self.new_quota = 0
        self.new_free = 0
        self.whole = False
        self.estimated = False
        self.rolled = False
        self.closed_wh = 0
        self.closed_debit_fen = 0
        self.returned_fen = 0
        self.fault_value = 0
        self.fault_limit = 0
        self._registers = array("i")
        self._fitting = _NO_TARIFF
        self._moved_wh = 0
        # Energy by register: of the part that is being charged, then of the whole reading.
        self._energy_wh = array("I", bytes(8 * RATES_LIMIT))

    @micropython.native
    def prepare(self, index: int, tariff: Tariff, registers_wh: "array[int]", t2000: int) -> int:
        """Compute the charge of a reading without effect; return the outcome.

        `registers_wh` has a value for each of the tariff's registers, -1 where the meter sent
        none, and must not change until `commit`. The code below is the short path, for energy of
        one tier at unchanged prices, and allocates nothing. `_prepare_any` has all cases.
        """
        flags = self.flags[index]
        start_t2000 = self.read_t2000[index]
        used_wh = self.used_wh[index]
        elapsed_s = t2000 - start_t2000
        row = tariff.row
        period_t2000 = self.period_t2000[index]
        if flags:
            if flags & _UNUSUAL or tariff.unusual_kinds >> (flags >> HOUSEHOLD) & 1:
                return self._prepare_any(index, tariff, registers_wh, t2000)
            row += (flags >> HOUSEHOLD) * tariff.tiers
        if (
            tariff is not self._fitting
            or not 0 < elapsed_s <= _LONG_S
            or start_t2000 < tariff.plain_from_t2000
            or t2000 > tariff.until_t2000
            or (period_t2000 != tariff.period_t2000 and settles(period_t2000, tariff.period_t2000))
        ):
            return self._prepare_any(index, tariff, registers_wh, t2000)
        rates = tariff.rates
        tier_limit_wh = tariff.limits_wh[row]
        while tier_limit_wh <= used_wh:
            row += 1
            tier_limit_wh = tariff.limits_wh[row]
        price = row * rates
        power_w = 100 * self.power_hw[index] or self.power_limit_w
        limit_wh = elapsed_s * power_w // 3600 + _SLACK_WH
        old_wh = self.registers_wh
        prices_e4 = tariff.prices_e4
        prices_e8_low = tariff.prices_e8_low
        residue_e7 = self.residue_e7[index]
        residue_e11 = self.residue_e11[index]
        at = index * self.rates_limit
        for rate in range(rates):
            wh = registers_wh[rate] - old_wh[at + rate]
            if wh:
                if wh < 0 or wh > limit_wh:
                    return self._prepare_any(index, tariff, registers_wh, t2000)
                residue_e7 += wh * prices_e4[price + rate]
                residue_e11 += wh * prices_e8_low[price + rate]
                used_wh += wh
        if used_wh >= tier_limit_wh:
            return self._prepare_any(index, tariff, registers_wh, t2000)
        residue_e7 += residue_e11 // 10000
        self.new_residue_e11 = residue_e11 % 10000
        self.new_residue_e7 = residue_e7 % 100000
        debit_fen = self.debit_fen[index] + residue_e7 // 100000
        if debit_fen > MONEY_LIMIT_FEN:
            return self._prepare_any(index, tariff, registers_wh, t2000)
        self.new_debit_fen = debit_fen
        self.new_used_wh = used_wh
        self.new_period_t2000 = period_t2000
        self.new_read_t2000 = t2000
        self._registers = registers_wh
        self.rolled = self.estimated = self.whole = False
        return CHARGED

    def _prepare_any(
        self, index: int, tariff: Tariff, registers_wh: "array[int]", t2000: int
    ) -> int:
        """Compute the charge as `prepare` does, in every case."""
        if self.flags[index] & STOPPED:
            return BILLING_STOPPED
        if t2000 <= 0:
            return NO_TIME
        if self.misfit(index, tariff):
            self.fault_value = self.fault_limit = 0
            return MISFIT
        self._fitting = tariff
        self._registers = registers_wh
        start_t2000 = self.read_t2000[index] or t2000
        elapsed_s = t2000 - start_t2000
        self.fault_value = t2000
        self.fault_limit = start_t2000
        if elapsed_s > _AHEAD_LIMIT_S:
            return EARLIER
        elapsed_s = max(elapsed_s, 0)
        first = self.read_t2000[index] == 0
        outcome = self._measure(index, elapsed_s, first)
        if outcome:
            return outcome
        self._begin(index)
        self.new_read_t2000 = start_t2000 + elapsed_s
        if first:
            self._enter_first(index, tariff, t2000)
            return FIRST
        self._divide(index, tariff, start_t2000, elapsed_s)
        charge_fen = self.new_debit_fen - self.debit_fen[index]
        if self.new_debit_fen <= MONEY_LIMIT_FEN:
            return CHARGED
        self.new_debit_fen %= _TURN_FEN
        self.closed_debit_fen %= _TURN_FEN
        limit_fen = self.balance_fen(index) + _HALF_FEN
        self.fault_value = min(charge_fen, _TURN_FEN - 1)
        self.fault_limit = limit_fen
        return OVERFLOW if charge_fen > limit_fen else CHARGED

    def _begin(self, index: int) -> None:
        """Copy the account into the `new_*` fields."""
        self.rolled = self.estimated = False
        self.whole = True
        self.new_debit_fen = self.debit_fen[index]
        self.new_residue_e7 = self.residue_e7[index]
        self.new_residue_e11 = self.residue_e11[index]
        self.new_used_wh = self.used_wh[index]
        self.new_period_t2000 = self.period_t2000[index]
        self.new_quota = self.quota[index]
        self.new_free = self.free[index]

    def _enter_first(self, index: int, tariff: Tariff, t2000: int) -> None:
        """Set the tier period of a first reading, and the quota of an account just opened."""
        period_t2000 = tariff.period_at(t2000)
        self._enter_free(tariff)
        if self.new_period_t2000:
            self._enter_period(period_t2000)
            return
        self.new_period_t2000 = period_t2000
        if tariff.opened != _WHOLE and self._is_opened(index):
            self.new_quota = months_left(tariff, t2000)

    def _is_opened(self, index: int) -> bool:
        """Return whether no energy was used yet, here or elsewhere as far as was entered."""
        known_wh = self.new_used_wh + self.new_quota
        at = index * self.rates_limit
        for register in range(self.rates_limit):
            known_wh += self.registers_wh[at + register]
        return known_wh == 0

    def _measure(self, index: int, elapsed_s: int, first: bool) -> int:
        """Set the energy of each register since the last reading; return the outcome."""
        limit_wh = self.limit_wh(index, elapsed_s)
        self._moved_wh = 0
        for register in range(self._fitting.registers):
            value_wh = self._registers[register]
            if value_wh < 0:
                return VALUE_MISSING
            old_wh = self.registers_wh[index * self.rates_limit + register]
            delta_wh = 0 if first else value_wh - old_wh
            if delta_wh < 0:
                delta_wh += REGISTER_MODULUS_WH
            self.fault_value = value_wh
            self.fault_limit = old_wh
            if delta_wh > limit_wh:
                back = value_wh < old_wh or delta_wh > DELTA_LIMIT_WH
                return BACK if back else TOO_MUCH
            if self.flags[index] & SCALED:
                delta_wh *= self.multiplier[index]
                if delta_wh > NO_LIMIT:
                    return OVERFLOW
            self._energy_wh[RATES_LIMIT + register] = delta_wh
            self._moved_wh += delta_wh
        return CHARGED

    def limit_wh(self, index: int, elapsed_s: int, least_s: int = _BACK_LIMIT_S) -> int:
        """Return the Wh by which one register can rise in `elapsed_s`, before CT x PT.

        `least_s` counts where that is less: the clock may have been set back meanwhile.
        """
        passed_s = max(elapsed_s, least_s)
        power_w = 100 * self.power_hw[index] or self.power_limit_w
        return min(passed_s * power_w // 3600 + _SLACK_WH, DELTA_LIMIT_WH)

    def prepare_again(
        self,
        index: int,
        tariff: Tariff,
        registers_wh: "array[int]",
        t2000: int,
        before: "array[int]",
        before_wh: "array[int]",
    ) -> int:
        """Compute the charge as if nothing had been charged since an earlier state.

        `before` has that state's debit plus all repayments of debt since, its residues, used_wh,
        period, read_t2000, quota and free, and `before_wh` its registers. Return the outcome.
        `returned_fen` becomes the sum that was charged too much; it is returned as credit, because
        a debit never falls.
        """
        columns = (
            self.debit_fen,
            self.residue_e7,
            self.residue_e11,
            self.used_wh,
            self.period_t2000,
            self.read_t2000,
            self.quota,
            self.free,
        )
        at = index * self.rates_limit
        kept_wh = self.registers_wh[at : at + self.rates_limit]
        kept = []
        for place in range(len(columns)):
            kept.append(columns[place][index])
            columns[place][index] = before[place]
        self.set_registers(index, before_wh)
        outcome = self._prepare_any(index, tariff, registers_wh, t2000)
        for place in range(len(columns)):
            columns[place][index] = kept[place]
        self.set_registers(index, kept_wh)
        self.returned_fen = max(0, difference_fen(self.debit_fen[index], self.new_debit_fen))
        self.new_debit_fen = (self.new_debit_fen + self.returned_fen) % _TURN_FEN
        # A period that has ended already does not end a second time.
        self.rolled &= self.new_period_t2000 != self.period_t2000[index]
        return outcome

    def _divide(self, index: int, tariff: Tariff, start_t2000: int, elapsed_s: int) -> None:
        """Charge the energy; divide it at each change in proportion to time."""
        end_t2000 = start_t2000 + elapsed_s
        from_t2000 = start_t2000
        while True:
            until_t2000 = min(end_t2000, tariff.change_after(from_t2000))
            for register in range(tariff.registers):
                wh = self._energy_wh[RATES_LIMIT + register]
                if until_t2000 - from_t2000 < elapsed_s:
                    self.estimated |= wh > 0
                    # The shares are differences of a running total, so that they add up.
                    before_wh = wh * (from_t2000 - start_t2000) // elapsed_s
                    wh = wh * (until_t2000 - start_t2000) // elapsed_s - before_wh
                self._energy_wh[register] = wh
            self._enter_period(tariff.period_t2000)
            self._enter_free(tariff)
            self._charge(index, tariff)
            # Each local midnight charges the day, or the month, that begins with it.
            days = (until_t2000 + DAY_S - 1) // DAY_S - (from_t2000 + DAY_S - 1) // DAY_S
            self._carry(days * tariff.standing_e7, 0)
            if tariff.standing_e4:
                months = tariff.months_due(from_t2000, until_t2000)
                self._carry(months * tariff.standing_e4 * 1000, 0)
            if until_t2000 == end_t2000:
                return
            from_t2000 = until_t2000

    def _charge(self, index: int, tariff: Tariff) -> None:
        """Charge a share of the energy at the prices that `tariff` has found."""
        household = self.flags[index] >> HOUSEHOLD
        row = tariff.row + household * tariff.tiers
        free_wh = 0
        if tariff.free_month:
            free_wh = max(0, tariff.free_wh[household] - (self.new_free & FREE_LIMIT_WH))
            self.new_free += min(free_wh, self._counted_wh(tariff))
        tier = 0
        for register in range(tariff.registers):
            wh = self._energy_wh[register]
            rate = register if tariff.rate < 0 else tariff.rate
            if tariff.uncounted >> rate & 1:
                at = row * tariff.rates + rate
                self._carry(wh * tariff.prices_e4[at], wh * tariff.prices_e8_low[at])
                continue
            while wh > 0:
                step_wh = wh
                if tier < tariff.tiers - 1:
                    limit_wh = self._limit_wh(household, self.new_quota, tariff, tier)
                    step_wh = min(wh, limit_wh - self.new_used_wh)
                if step_wh <= 0:
                    tier += 1
                    continue
                if free_wh > 0:
                    step_wh = min(step_wh, free_wh)
                    free_wh -= step_wh
                else:
                    at = (row + tier) * tariff.rates + rate
                    self._carry(step_wh * tariff.prices_e4[at], step_wh * tariff.prices_e8_low[at])
                # In the last tier the sum no longer matters.
                self.new_used_wh = min(self.new_used_wh + step_wh, NO_LIMIT - 1)
                wh -= step_wh

    def _counted_wh(self, tariff: Tariff) -> int:
        """Return the Wh of the share that count for the tiers."""
        counted_wh = 0
        for register in range(tariff.registers):
            rate = register if tariff.rate < 0 else tariff.rate
            if not tariff.uncounted >> rate & 1:
                counted_wh += self._energy_wh[register]
        return counted_wh

    def _carry(self, charge_e7: int, charge_e11: int) -> None:
        """Add a charge in 1e-7 and 1e-11 yuan to the new debit and residues."""
        charge_e11 += self.new_residue_e11
        charge_e7 += self.new_residue_e7 + charge_e11 // 10000
        self.new_residue_e11 = charge_e11 % 10000
        self.new_residue_e7 = charge_e7 % 100000
        self.new_debit_fen += charge_e7 // 100000

    def _enter_period(self, period_t2000: int) -> None:
        """Begin the tier period `period_t2000`, if it is a new one."""
        if not settles(self.new_period_t2000, period_t2000):
            return
        self.rolled = True
        self.closed_wh = self.new_used_wh
        self.closed_debit_fen = self.new_debit_fen
        self.new_used_wh = 0
        self.new_quota = 0
        self.new_period_t2000 = period_t2000

    def _enter_free(self, tariff: Tariff) -> None:
        """Begin the tariff's free period, if it is a later one."""
        if tariff.free_month > self.new_free >> 20:
            self.new_free = tariff.free_month << 20

    @micropython.native
    def commit(self, index: int) -> None:
        """Write the values that `prepare` computed to the account."""
        self.debit_fen[index] = self.new_debit_fen
        self.residue_e7[index] = self.new_residue_e7
        self.residue_e11[index] = self.new_residue_e11
        self.used_wh[index] = self.new_used_wh
        self.period_t2000[index] = self.new_period_t2000
        self.read_t2000[index] = self.new_read_t2000
        if self.whole:
            self._set_quota(index, self.new_quota)
            self.free[index] = self.new_free
        new_wh = self._registers
        old_wh = self.registers_wh
        at = index * self.rates_limit
        for register in range(self._fitting.registers):
            old_wh[at + register] = new_wh[register]

    def counts_anew(self, index: int) -> bool:
        """Return whether quota or free energy change, or the first period begins."""
        started = not self.rolled and self.new_period_t2000 != self.period_t2000[index]
        quota = self.quota[index]
        return started or self.new_quota != quota or self.new_free != self.free[index]

    def mean_power_w(self, index: int) -> int:
        """Return the mean power in W since the last reading, between `prepare` and `commit`."""
        elapsed_s = self.new_read_t2000 - self.read_t2000[index]
        wh = self._moved_wh if self.whole else self.new_used_wh - self.used_wh[index]
        return wh * 3600 // elapsed_s if elapsed_s > 0 else 0
