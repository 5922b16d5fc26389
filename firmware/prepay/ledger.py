"""Keep the money and the energy of every account, in arrays that are allocated once.

Debits never fall, and credits fall only by refunds. A part of a fen is carried as a residue, so a
charge split into many readings equals the charge of one reading to the last digit. A charge
depends only on the meter's registers and takes two steps: `prepare` computes it, and `commit`
applies it once its record is in the journal.

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

# Bits of `flags`.
STOPPED = const(0x01)  # billing is stopped after a doubtful reading
GUARD = const(0x02)  # nothing may cut the supply (保电)
SCALED = const(0x04)  # `multiplier` is not 1
PART = const(0x08)  # `quota` is not 0
HOUSEHOLD = const(4)  # first bit of the kind of household

REGISTER_MODULUS_WH = const(1000000000)
# The greatest amount or balance that is not a heap object on 32-bit boards.
MONEY_LIMIT_FEN = const(0x3FFFFFFF)
# Credits and debits count modulo 2**32, so an account may exist for any time. A balance must stay
# within half of that.
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
# Half the registers' range: beyond it, forward and backward cannot be distinguished.
_DELTA_LIMIT_WH = const(500000000)
# Rules of a part of a year, see the tariff.
_WHOLE = const(0)
_NEXT_MONTH = const(2)
_DEFAULT_POWER_LIMIT_W = const(60000)
_HEADER_MAC_SIZE = const(8)
_DOUBTS = const(16)
_UNTOLD = const(0xFF)  # in place of a header MAC, while earlier purchases are unknown


_NO_TARIFF = Tariff()


class Ledger:
    """The accounts, by index. All columns may be read; only the methods write them.

    credit_fen, debit_fen       paid in less refunded, and charged, since the account began,
                                modulo 2**32
    residue_e7, residue_e11     charged above debit_fen, below 1 fen: in 1e-7 and 1e-11 yuan
    used_wh                     energy used in the tier period that began at period_t2000
    period_t2000                the beginning, in s since 2000, with the kind of period added
    quota                       the part of the period that counts, 0: all of it. Months of the
                                period from bit 0 on, months of the present kind of household from
                                bit 4 on, and from bits 8, 16 and 24 on an earlier kind and its
                                months: a limit is the mean of the kinds' limits by months
    free                        energy that was free in the free period, Wh, and from bit 20 on
                                the month in which that period began
    read_t2000                  the time of the last reading, s since 2000, 0: none yet
    order                       the order number of the last top-up or refund
    header_mac                  [index * 8] header MAC of that order's card; FFH while there is no
                                order and the account's earlier purchases are unknown
    debt_fen                    an old debt, repaid as a share of top-ups
    debt_week, debt_week_fen    the week of the last repayment, and the sum repaid in it
    multiplier                  CT x PT: energy is the difference of the registers times this
    grade                       the grade of the payer, 0 to 3, see the policy
    power_hw                    the greatest power of the meter, before CT x PT, in 100 W,
                                0: power_limit_w
    doubted                     the count of accounts with doubtful readings, see books/doubt.py
    flags                       STOPPED, GUARD, SCALED, PART, and from bit HOUSEHOLD on the
                                number of the tariff's kind of household
    state, since_t2000          the state by the policy, and its beginning in s since 2000
    registers_wh                [index * rates_limit + rate] registers of the last reading

    After `prepare` returned CHARGED or FIRST, the `new_*` hold the values that `commit` will
    write. `estimated`: the reading was divided by time. `rolled`: a tier period ended in it, and
    `closed_*` hold its sums. `whole`: the short path was not taken, which leaves `quota` and
    `free` unchanged. After a doubtful outcome `fault_value` and `fault_limit` hold the value that
    was wrong and its limit.
    """

    def __init__(self, count: int, rates_limit: int = 4) -> None:
        self.count = count
        self.rates_limit = rates_limit
        self.power_limit_w = _DEFAULT_POWER_LIMIT_W
        # The largest column is made first, because making one needs twice its size for a moment.
        registers_wh = array("I", bytes(4 * count * rates_limit))
        self.header_mac = bytearray(_HEADER_MAC_SIZE * count)
        self.credit_fen = array("I", bytes(4 * count))
        self.debit_fen = array("I", bytes(4 * count))
        self.residue_e7 = array("I", bytes(4 * count))
        self.residue_e11 = array("H", bytes(2 * count))
        self.used_wh = array("I", bytes(4 * count))
        self.period_t2000 = array("I", bytes(4 * count))
        self.read_t2000 = array("I", bytes(4 * count))
        self.order = array("I", bytes(4 * count))
        self.debt_fen = array("I", bytes(4 * count))
        self.debt_week = array("H", bytes(2 * count))
        self.debt_week_fen = array("I", bytes(4 * count))
        self.multiplier = array("H", bytes(2 * count))
        self.power_hw = array("H", bytes(2 * count))
        self.grade = bytearray(count)
        self.flags = bytearray(count)
        self.state = bytearray(count)
        self.since_t2000 = array("I", bytes(4 * count))
        self.quota = array("I", bytes(4 * count))
        self.free = array("I", bytes(4 * count))
        self.registers_wh = registers_wh
        self.doubted = 0
        # An array for each _DOUBTS accounts, with doubt and candidate in turn; it exists only
        # while one of these accounts has a doubt.
        self._doubts: list[array[int] | None] = [None] * (count // _DOUBTS + 1)

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

    def columns(self) -> "tuple[array[int] | bytearray, ...]":
        """Return all columns in the order of a checkpoint."""
        return (
            self.credit_fen,
            self.debit_fen,
            self.residue_e7,
            self.residue_e11,
            self.used_wh,
            self.period_t2000,
            self.read_t2000,
            self.order,
            self.debt_fen,
            self.debt_week,
            self.debt_week_fen,
            self.multiplier,
            self.grade,
            self.flags,
            self.state,
            self.since_t2000,
            self.quota,
            self.free,
            self.registers_wh,
            self.header_mac,
            self.power_hw,
        )

    def balance_fen(self, index: int) -> int:
        """Return credits less debits, rounded up to the fen: only whole fen are debited."""
        return difference_fen(self.credit_fen[index], self.debit_fen[index])

    def misfit(self, index: int, tariff: Tariff) -> str:
        """Return why the account cannot be charged by `tariff`, or ""."""
        return self.misfit_of(self.flags[index] >> HOUSEHOLD, self.quota[index], tariff)

    def misfit_of(self, kind: int, quota: int, tariff: Tariff) -> str:
        """Return why `tariff` cannot charge this kind of household with this quota, or ""."""
        if tariff.registers > self.rates_limit:
            return "the tariff has more rates than accounts have registers"
        before = quota >> 8
        while before:
            kind = max(kind, before & 15)
            before >>= 8
        if kind >= tariff.households:
            return "the tariff has no such kind of household"
        return ""

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
            or (
                period_t2000 != tariff.period_t2000 and _settles(period_t2000, tariff.period_t2000)
            )
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
            self.new_quota = _months_left(tariff, t2000)

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
                back = value_wh < old_wh or delta_wh > _DELTA_LIMIT_WH
                return BACK if back else TOO_MUCH
            if self.flags[index] & SCALED:
                delta_wh *= self.multiplier[index]
                if delta_wh > NO_LIMIT:
                    return OVERFLOW
            self._energy_wh[RATES_LIMIT + register] = delta_wh
            self._moved_wh += delta_wh
        return CHARGED

    def limit_wh(self, index: int, elapsed_s: int) -> int:
        """Return the Wh by which one register can rise in `elapsed_s`, before CT x PT."""
        # The clock may have been set back meanwhile.
        passed_s = max(elapsed_s, _BACK_LIMIT_S)
        power_w = 100 * self.power_hw[index] or self.power_limit_w
        return min(passed_s * power_w // 3600 + _SLACK_WH, _DELTA_LIMIT_WH)

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

    def _limit_wh(self, household: int, quota: int, tariff: Tariff, tier: int) -> int:
        """Return the upper limit in Wh of a tier below the last, for a household with a quota."""
        at = tariff.row + tier
        if not quota:
            return tariff.limits_wh[at + household * tariff.tiers]
        limit_wh = tariff.limits_wh[at + household * tariff.tiers] * (quota >> 4 & 15)
        months = quota & 15
        quota >>= 8
        while quota:
            limit_wh += tariff.limits_wh[at + (quota & 15) * tariff.tiers] * (quota >> 4 & 15)
            quota >>= 8
        return limit_wh // months

    def _carry(self, charge_e7: int, charge_e11: int) -> None:
        """Add a charge in 1e-7 and 1e-11 yuan to the new debit and residues."""
        charge_e11 += self.new_residue_e11
        charge_e7 += self.new_residue_e7 + charge_e11 // 10000
        self.new_residue_e11 = charge_e11 % 10000
        self.new_residue_e7 = charge_e7 % 100000
        self.new_debit_fen += charge_e7 // 100000

    def _enter_period(self, period_t2000: int) -> None:
        """Begin the tier period `period_t2000`, if it is a new one."""
        if not _settles(self.new_period_t2000, period_t2000):
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

    def credited_fen(self, index: int, amount_fen: int) -> int:
        """Return the credit after a purchase of `amount_fen`, below 0: a refund."""
        return (self.credit_fen[index] + amount_fen) % _TURN_FEN

    def top_up(self, index: int, order: int, amount_fen: int, repaid_fen: int = 0) -> bool:
        """Credit a purchase, of which `repaid_fen` goes to the debt; below 0: a refund.

        Return false if the order was credited before.
        """
        if order <= self.order[index]:
            return False
        self.credit_fen[index] = self.credited_fen(index, amount_fen)
        self.order[index] = order
        self.debit_fen[index] = (self.debit_fen[index] + repaid_fen) % _TURN_FEN
        self.debt_fen[index] -= repaid_fen
        return True

    def is_told(self, index: int) -> bool:
        """Return whether the account's earlier purchases are known here."""
        return self.order[index] > 0 or self.header_mac[_HEADER_MAC_SIZE * index] != _UNTOLD

    def forget(self, index: int) -> None:
        """Note that the account is new here and that its earlier purchases are unknown."""
        self.order[index] = 0
        self.header_mac[_HEADER_MAC_SIZE * index] = _UNTOLD

    def header_mac_of(self, index: int) -> bytearray:
        """Return the header MAC of the last order's card, 8 bytes."""
        at = _HEADER_MAC_SIZE * index
        return self.header_mac[at : at + _HEADER_MAC_SIZE]

    def set_header_mac(self, index: int, header_mac: "bytes | bytearray | memoryview") -> None:
        """Set the header MAC of the last order's card, 8 bytes."""
        at = _HEADER_MAC_SIZE * index
        for position in range(_HEADER_MAC_SIZE):
            self.header_mac[at + position] = header_mac[position]

    def describe(self, index: int, household: int, grade: int = 0, multiplier: int = 1) -> None:
        """Set the kind of household, its grade, and CT x PT of its meter, 1..65535."""
        self.flags[index] &= STOPPED | GUARD | PART
        self.flags[index] |= household << HOUSEHOLD
        if multiplier > 1:
            self.flags[index] |= SCALED
        self.grade[index] = grade
        self.multiplier[index] = multiplier

    def set_power(self, index: int, power_limit_w: int) -> None:
        """Set the greatest power of the account's meter, before CT x PT; 0: `power_limit_w`."""
        self.power_hw[index] = min((power_limit_w + 99) // 100, 0xFFFF)

    def quota_after(self, index: int, tariff: Tariff, household: int, t2000: int) -> int:
        """Return the quota of the tier period if the kind of household changes at `t2000`.

        -1: the kind cannot change now. The time is unknown, or the reading that ends the period is
        due, or the kind has changed three times in it.
        """
        quota = self.quota[index]
        period_t2000 = self.period_t2000[index]
        before = self.flags[index] >> HOUSEHOLD
        if tariff.changed == _WHOLE or not period_t2000 or before == household:
            return quota
        if t2000 <= 0 or _settles(period_t2000, tariff.period_at(t2000)):
            return -1
        tariff.count_months(t2000, period_t2000)
        months = tariff.months_left
        if tariff.changed == _NEXT_MONTH:
            months -= 1
        quota = quota or tariff.months | tariff.months << 4
        past_months = (quota >> 4 & 15) - months
        if past_months <= 0:
            return self.quota[index]
        if quota >> 24:
            return -1
        earlier = (quota >> 8) << 8 | before | past_months << 4
        return quota & 15 | months << 4 | earlier << 8

    def quota_moved_in(self, tariff: Tariff, t2000: int) -> int:
        """Return the quota of a household that moves in at `t2000`."""
        return 0 if tariff.moved_in == _WHOLE else _months_left(tariff, t2000)

    def set_used(self, index: int, used_wh: int, period_t2000: int, quota: int, free: int) -> None:
        """Set the energy used in the tier period, its beginning, its quota and free energy."""
        self.used_wh[index] = used_wh
        self.period_t2000[index] = period_t2000
        self.free[index] = free
        self._set_quota(index, quota)

    def _set_quota(self, index: int, quota: int) -> None:
        self.quota[index] = quota
        self.flags[index] = self.flags[index] & (0xFF ^ PART) | (PART if quota else 0)

    def stop(self, index: int) -> None:
        """Stop billing the account after a doubtful reading; its supply stays as it is."""
        self.flags[index] |= STOPPED

    def resume(self, index: int) -> None:
        """Bill the account again, from the registers of the last good reading on."""
        self.flags[index] &= 0xFF ^ STOPPED
        self.set_doubt(index, 0, 0)

    def doubt(self, index: int) -> int:
        """Return the doubt about the account's readings, see books/doubt.py; 0: none."""
        part = self._doubts[index // _DOUBTS]
        return 0 if part is None else part[index % _DOUBTS * 2]

    def candidate(self, index: int) -> int:
        """Return the registers of the newest doubtful reading as books/doubt.py sums them."""
        part = self._doubts[index // _DOUBTS]
        return 0 if part is None else part[index % _DOUBTS * 2 + 1]

    def set_doubt(self, index: int, doubt: int, candidate: int) -> None:
        """Set the doubt about the account's readings, 0: none. No checkpoint keeps it."""
        place = index // _DOUBTS
        part = self._doubts[place]
        if part is None:
            if not doubt:
                return
            part = self._doubts[place] = array("I", bytes(8 * _DOUBTS))
        at = index % _DOUBTS * 2
        self.doubted += (doubt != 0) - (part[at] != 0)
        part[at] = doubt
        part[at + 1] = candidate if doubt else 0
        if max(part) == 0:
            self._doubts[place] = None

    def start_anew(self, index: int) -> None:
        """Begin with another meter, or other registers: the next reading is their first.

        Energy that was used before that reading is not charged. The tier period continues.
        """
        self.resume(index)
        self.read_t2000[index] = 0
        at = index * self.rates_limit
        for register in range(self.rates_limit):
            self.registers_wh[at + register] = 0

    def tier_of(self, index: int, tariff: Tariff) -> int:
        """Return the tier, from 0 on, of the next watt-hour."""
        household = self.flags[index] >> HOUSEHOLD
        tier = 0
        while tier < tariff.tiers - 1:
            if self.used_wh[index] < self._limit_wh(household, self.quota[index], tariff, tier):
                break
            tier += 1
        return tier

    def enter(self, index: int, state: int, t2000: int) -> None:
        """Set the account's state by the policy, and its beginning if it is a new state."""
        if self.state[index] != state:
            self.state[index] = state
            self.since_t2000[index] = t2000

    # --- recovery: records set absolute values, whatever the tables hold -----------------------

    def replay_reading(
        self,
        index: int,
        registers_wh: "array[int]",
        t2000: int,
        debit_fen: int,
        residue_e7: int,
        residue_e11: int,
        used_wh: int,
    ) -> None:
        """Set the figures of a journalled reading, without computing anything."""
        self.debit_fen[index] = debit_fen
        self.residue_e7[index] = residue_e7
        self.residue_e11[index] = residue_e11
        self.used_wh[index] = used_wh
        # After a clock was set back a little, the time of the last reading did not fall.
        self.read_t2000[index] = max(self.read_t2000[index], t2000)
        self.set_registers(index, registers_wh)

    def set_registers(self, index: int, registers_wh: "array[int]") -> None:
        """Set the registers of the last reading; values of `registers_wh` beyond are ignored."""
        at = index * self.rates_limit
        for register in range(min(self.rates_limit, len(registers_wh))):
            self.registers_wh[at + register] = registers_wh[register]

    def replay_period(self, index: int, period_t2000: int) -> None:
        """Set the beginning of the tier period; the READING behind the ROLLOVER sets the rest."""
        self.period_t2000[index] = period_t2000

    def set_money(
        self,
        index: int,
        order: int,
        credit_fen: int,
        debit_fen: int,
        debt_fen: int,
        debt_week: int,
        debt_week_fen: int,
    ) -> None:
        """Set the money of the account after a journalled top-up or refund, or a standing."""
        self.order[index] = order
        self.credit_fen[index] = credit_fen
        self.debit_fen[index] = debit_fen
        self.debt_fen[index] = debt_fen
        self.debt_week[index] = debt_week
        self.debt_week_fen[index] = debt_week_fen


def difference_fen(one_fen: int, other_fen: int) -> int:
    """Return the fen by which one credit or debit exceeds another; both are modulo 2**32."""
    fen = one_fen - other_fen
    if -MONEY_LIMIT_FEN <= fen <= MONEY_LIMIT_FEN:
        return fen
    return (fen + _HALF_FEN) % _TURN_FEN - _HALF_FEN


def difference_wh(one_wh: int, other_wh: int) -> int:
    """Return the Wh by which one register exceeds another, also after an overflow of either."""
    wh = (one_wh - other_wh) % REGISTER_MODULUS_WH
    return wh if wh <= _DELTA_LIMIT_WH else wh - REGISTER_MODULUS_WH


def _settles(old_t2000: int, new_t2000: int) -> bool:
    """Return whether the new tier period replaces the old one: it is later or of another kind.

    An earlier period of the same kind is the same one, in a tariff without its past sets.
    """
    return new_t2000 > old_t2000 or (new_t2000 ^ old_t2000) & 3 != 0


def _months_left(tariff: Tariff, t2000: int) -> int:
    """Return the quota of the tier period's months from that of `t2000` on."""
    tariff.count_months(t2000)
    if tariff.months_left >= tariff.months:
        return 0
    return tariff.months | tariff.months_left << 4
