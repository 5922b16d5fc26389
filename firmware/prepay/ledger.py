"""The ledger: money and energy of every account, in arrays made once. Nothing else is a balance.

Debits only grow, and credits but for refunds; what is not yet a whole fen is carried as a residue,
so a charge split into many readings is, digit for digit, the charge of one. A charge comes from
the meter's registers alone and in two steps: `prepare` computes it, `commit` applies it once it
stands in the journal.

Rules where a reading does not say which kilowatt-hour came first:

    rates of one reading use up a tier in the order of the registers
    a reading across a change of price, season, tier period or slot of a day table is divided in
    proportion to time; `estimated` says so. A reading at the change itself, such as the meter's
    freeze, divides it exactly: charge that one before.
"""

from array import array

import micropython
from civil import DAY_S
from micropython import const

from prepay.tariff import FREE_LIMIT_WH, NO_LIMIT, RATES_LIMIT, Tariff

# Outcomes of `prepare`; those from EARLIER on are doubtful: stop billing, keep the supply, report.
CHARGED = const(0)
FIRST = const(1)  # nothing is charged, the registers are the start
BILLING_STOPPED = const(2)
NO_TIME = const(3)
VALUE_MISSING = const(4)
EARLIER = const(5)  # by so much ahead that it is the clock, or that nobody lives there
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
STOPPED = const(0x01)  # billing, after a doubtful reading
GUARD = const(0x02)  # nothing may cut the supply
SCALED = const(0x04)  # `multiplier` is not 1
PART = const(0x08)  # `quota` is not 0
HOUSEHOLD = const(4)  # number of the first bit

REGISTER_MODULUS_WH = const(1000000000)
# The greatest amounts, and balances, that are no heap objects on 32-bit boards.
MONEY_LIMIT_FEN = const(0x3FFFFFFF)
# Credits and debits count modulo 2**32, as registers do: an account does not end. Balances within
# half of that are told apart.
_TURN_FEN = const(0x100000000)
_HALF_FEN = const(0x80000000)

# While a clock is set back the ledger waits at its own time, and cannot know how long it was.
_BACK_LIMIT_S = const(3600)
# A year and a month: longer, either the clock is wrong or nobody lives there.
_AHEAD_LIMIT_S = const(34560000)
# What a register may show above the greatest power times the time: its steps, late answers.
_SLACK_WH = const(1000)
# Above it a reading is no normal one.
_LONG_S = const(14400)
_UNUSUAL = const(0x0D)
# Half the registers' range: beyond it nobody could tell forward from back.
_DELTA_LIMIT_WH = const(500000000)
# Rules of a part of a year, see the tariff.
_WHOLE = const(0)
_NEXT_MONTH = const(2)
_DEFAULT_POWER_LIMIT_W = const(60000)
_HEADER_MAC_SIZE = const(8)
_DOUBTS = const(16)
_UNTOLD = const(0xFF)  # in place of a header MAC, while there is no order


_NO_TARIFF = Tariff()


class Ledger:
    """Accounts by index. All columns may be read; only the methods write them.

    credit_fen, debit_fen       paid in less refunded, and charged, since the account began,
                                modulo 2**32
    residue_e7, residue_e11     charged above debit_fen, below 1 fen: 1e-7 and 1e-11 yuan
    used_wh                     in the tier period that began at period_t2000
    period_t2000                as the tariff has it: with the kind of the period added
    quota                       of a part of a year, 0: all of it. Months of the period from bit
                                0 on, months of the present kind of household from bit 4 on, and
                                from bits 8, 16 and 24 on a kind before it and its months: the
                                limits are the mean of the kinds' by months
    free                        energy that was free in the free period, Wh, and from bit 20 on
                                the month in which that period began
    read_t2000                  of the last reading, 0: none yet
    order                       of the last top-up or refund
    header_mac                  [index * 8] of that order's card, FFH without an order while it is
                                not known what the account bought before
    debt_fen                    owed from before, repaid as a share of top-ups
    debt_week, debt_week_fen    the week of the last repayment, and what was repaid in it
    multiplier                  CT x PT: energy is the registers' times this
    grade                       the station's of its payers, see the policy
    power_hw                    the greatest power of the meter, before CT x PT, in 100 W,
                                0: power_limit_w
    doubted                     accounts whose readings are not believed, see books/doubt.py
    flags                       STOPPED, GUARD, SCALED, PART, and from bit HOUSEHOLD on which of
                                the tariff's kinds of household
    state, since_t2000          of the policy, and since when
    registers_wh                [index * rates_limit + rate] of the last reading

    After `prepare` gave CHARGED or FIRST the `new_*` hold what `commit` will make of the account,
    `estimated` whether the reading was divided by time, `rolled` whether a tier period ended in
    it, `closed_*` what it had reached then; `whole` that it was not the short path, which leaves
    `quota` and `free` as they are. After a doubtful outcome `fault_value` and
    `fault_limit` say what was too much.
    """

    def __init__(self, count: int, rates_limit: int = 4) -> None:
        self.count = count
        self.rates_limit = rates_limit
        self.power_limit_w = _DEFAULT_POWER_LIMIT_W
        # The largest first: making a column takes twice its size for a moment.
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
        # Of _DOUBTS accounts each, doubt and candidate in turn; made while one of them has any.
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
        # By register: what is being charged, and of the whole reading.
        self._energy_wh = array("I", bytes(8 * RATES_LIMIT))

    def columns(self) -> "tuple[array[int] | bytearray, ...]":
        """All columns in the order of a checkpoint."""
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
        """Credits less debits, rounded up to the fen: only whole fen are debited."""
        return difference_fen(self.credit_fen[index], self.debit_fen[index])

    def misfit(self, index: int, tariff: Tariff) -> str:
        """Why the account cannot be charged by `tariff`, or ""."""
        return self.misfit_of(self.flags[index] >> HOUSEHOLD, self.quota[index], tariff)

    def misfit_of(self, kind: int, quota: int, tariff: Tariff) -> str:
        """Why an account of that kind of household and quota cannot be charged so, or ""."""
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
        none; it must stay as it is until `commit`. Allocates nothing in the normal case, which
        stands here once more in short: energy of one tier at prices that did not change.
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
        """`prepare` for every case."""
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
        """Take the account as it stands."""
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
        """Find the tier period of a first reading, and the quota of an account just opened."""
        period_t2000 = tariff.period_at(t2000)
        self._enter_free(tariff)
        if self.new_period_t2000:
            self._enter_period(period_t2000)
            return
        self.new_period_t2000 = period_t2000
        if tariff.opened != _WHOLE and self._is_opened(index):
            self.new_quota = _months_left(tariff, t2000)

    def _is_opened(self, index: int) -> bool:
        """Whether nothing was used yet, neither here nor, as somebody has said, elsewhere."""
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
        """What one register of the account's meter can show more after so long, before CT x PT."""
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
        """`prepare`, as if nothing had been charged since an earlier state; return the outcome.

        `before` has that state's debit, with what of top-ups since went to a debt, its residues,
        used_wh, period, read_t2000, quota and free; `before_wh` its registers. `returned_fen` is
        what was charged too much, and goes back as credit: the debit does not fall.
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
        # A period that has begun already does not end another time.
        self.rolled &= self.new_period_t2000 != self.period_t2000[index]
        return outcome

    def _divide(self, index: int, tariff: Tariff, start_t2000: int, elapsed_s: int) -> None:
        """Charge the energy, across changes each part in proportion to its time."""
        end_t2000 = start_t2000 + elapsed_s
        from_t2000 = start_t2000
        while True:
            until_t2000 = min(end_t2000, tariff.change_after(from_t2000))
            for register in range(tariff.registers):
                wh = self._energy_wh[RATES_LIMIT + register]
                if until_t2000 - from_t2000 < elapsed_s:
                    self.estimated |= wh > 0
                    # Differences of a running total, so that the shares add up.
                    before_wh = wh * (from_t2000 - start_t2000) // elapsed_s
                    wh = wh * (until_t2000 - start_t2000) // elapsed_s - before_wh
                self._energy_wh[register] = wh
            self._enter_period(tariff.period_t2000)
            self._enter_free(tariff)
            self._charge(index, tariff)
            # Each local midnight charges the day, or the month, that it begins.
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
                # In the last tier it no longer matters how much it was.
                self.new_used_wh = min(self.new_used_wh + step_wh, NO_LIMIT - 1)
                wh -= step_wh

    def _counted_wh(self, tariff: Tariff) -> int:
        """Energy of the share that fills tiers."""
        counted_wh = 0
        for register in range(tariff.registers):
            rate = register if tariff.rate < 0 else tariff.rate
            if not tariff.uncounted >> rate & 1:
                counted_wh += self._energy_wh[register]
        return counted_wh

    def _limit_wh(self, household: int, quota: int, tariff: Tariff, tier: int) -> int:
        """Upper limit of a tier, below the last, for a kind of household with its quota."""
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
        """Add a charge to debit and residue."""
        charge_e11 += self.new_residue_e11
        charge_e7 += self.new_residue_e7 + charge_e11 // 10000
        self.new_residue_e11 = charge_e11 % 10000
        self.new_residue_e7 = charge_e7 % 100000
        self.new_debit_fen += charge_e7 // 100000

    def _enter_period(self, period_t2000: int) -> None:
        """Begin another tier period, if it is one: only what counts the tiers changes."""
        if not _settles(self.new_period_t2000, period_t2000):
            return
        self.rolled = True
        self.closed_wh = self.new_used_wh
        self.closed_debit_fen = self.new_debit_fen
        self.new_used_wh = 0
        self.new_quota = 0
        self.new_period_t2000 = period_t2000

    def _enter_free(self, tariff: Tariff) -> None:
        """Begin another free period, if it is a later one."""
        if tariff.free_month > self.new_free >> 20:
            self.new_free = tariff.free_month << 20

    @micropython.native
    def commit(self, index: int) -> None:
        """Make the account what `prepare` computed."""
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
        """Whether quota or free energy change, or a period begins without that one ends."""
        started = not self.rolled and self.new_period_t2000 != self.period_t2000[index]
        quota = self.quota[index]
        return started or self.new_quota != quota or self.new_free != self.free[index]

    def mean_power_w(self, index: int) -> int:
        """Mean power since the last reading, of a charge that is prepared and not committed."""
        elapsed_s = self.new_read_t2000 - self.read_t2000[index]
        wh = self._moved_wh if self.whole else self.new_used_wh - self.used_wh[index]
        return wh * 3600 // elapsed_s if elapsed_s > 0 else 0

    def credited_fen(self, index: int, amount_fen: int) -> int:
        """The credit after a purchase, or, below 0, a refund."""
        return (self.credit_fen[index] + amount_fen) % _TURN_FEN

    def top_up(self, index: int, order: int, amount_fen: int, repaid_fen: int = 0) -> bool:
        """Credit a purchase, of which `repaid_fen` goes to the debt; below 0 it is a refund.

        False: it was before.
        """
        if order <= self.order[index]:
            return False
        self.credit_fen[index] = self.credited_fen(index, amount_fen)
        self.order[index] = order
        self.debit_fen[index] = (self.debit_fen[index] + repaid_fen) % _TURN_FEN
        self.debt_fen[index] -= repaid_fen
        return True

    def is_told(self, index: int) -> bool:
        """Whether what the account bought before is known: by an order, or because it was told."""
        return self.order[index] > 0 or self.header_mac[_HEADER_MAC_SIZE * index] != _UNTOLD

    def forget(self, index: int) -> None:
        """The account is registered anew: nobody here knows what it bought before."""
        self.order[index] = 0
        self.header_mac[_HEADER_MAC_SIZE * index] = _UNTOLD

    def header_mac_of(self, index: int) -> bytearray:
        """Header MAC of the last order's card, 8 bytes."""
        at = _HEADER_MAC_SIZE * index
        return self.header_mac[at : at + _HEADER_MAC_SIZE]

    def set_header_mac(self, index: int, header_mac: "bytes | bytearray | memoryview") -> None:
        """Note the header MAC of the last order's card."""
        at = _HEADER_MAC_SIZE * index
        for position in range(_HEADER_MAC_SIZE):
            self.header_mac[at + position] = header_mac[position]

    def describe(self, index: int, household: int, grade: int = 0, multiplier: int = 1) -> None:
        """Say what kind of household it is, its grade, and CT x PT of its meter, 1..65535."""
        self.flags[index] &= STOPPED | GUARD | PART
        self.flags[index] |= household << HOUSEHOLD
        if multiplier > 1:
            self.flags[index] |= SCALED
        self.grade[index] = grade
        self.multiplier[index] = multiplier

    def set_power(self, index: int, power_limit_w: int) -> None:
        """Say what the account's meter can measure at most, before CT x PT; 0: as most do."""
        self.power_hw[index] = min((power_limit_w + 99) // 100, 0xFFFF)

    def quota_after(self, index: int, tariff: Tariff, household: int, t2000: int) -> int:
        """The quota of the account's tier period when its kind of household changes at `t2000`.

        -1: there is no clock, the period is over and the reading that ends it is due, or the
        kind has changed three times in it.
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
        """The quota of a household that moves in at `t2000`."""
        return 0 if tariff.moved_in == _WHOLE else _months_left(tariff, t2000)

    def set_used(self, index: int, used_wh: int, period_t2000: int, quota: int, free: int) -> None:
        """Say what is used in the tier period, and how much of its quota counts."""
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
        """What is known of readings that are not believed, see books/doubt.py; 0: nothing."""
        part = self._doubts[index // _DOUBTS]
        return 0 if part is None else part[index % _DOUBTS * 2]

    def candidate(self, index: int) -> int:
        """The registers of the newest of these readings, see books/doubt.py."""
        part = self._doubts[index // _DOUBTS]
        return 0 if part is None else part[index % _DOUBTS * 2 + 1]

    def set_doubt(self, index: int, doubt: int, candidate: int) -> None:
        """Note what is known of readings that are not believed; it is in no checkpoint."""
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
        """Bill another meter, or other registers of it: the next reading is their first.

        Nothing used before is charged; the tier period goes on.
        """
        self.resume(index)
        self.read_t2000[index] = 0
        at = index * self.rates_limit
        for register in range(self.rates_limit):
            self.registers_wh[at + register] = 0

    def tier_of(self, index: int, tariff: Tariff) -> int:
        """Tier from 0 on in which the next watt-hour falls."""
        household = self.flags[index] >> HOUSEHOLD
        tier = 0
        while tier < tariff.tiers - 1:
            if self.used_wh[index] < self._limit_wh(household, self.quota[index], tariff, tier):
                break
            tier += 1
        return tier

    def enter(self, index: int, state: int, t2000: int) -> None:
        """Note the policy's state of the account, and since when."""
        if self.state[index] != state:
            self.state[index] = state
            self.since_t2000[index] = t2000

    # --- recovery: what records say, whatever the tables hold already --------------------------

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
        """Apply a journalled reading: its figures count, whatever we would compute."""
        self.debit_fen[index] = debit_fen
        self.residue_e7[index] = residue_e7
        self.residue_e11[index] = residue_e11
        self.used_wh[index] = used_wh
        # With a clock that was set back a little the ledger has waited at its own time.
        self.read_t2000[index] = max(self.read_t2000[index], t2000)
        self.set_registers(index, registers_wh)

    def set_registers(self, index: int, registers_wh: "array[int]") -> None:
        """Set the registers of the last reading; `registers_wh` may have more than are kept."""
        at = index * self.rates_limit
        for register in range(min(self.rates_limit, len(registers_wh))):
            self.registers_wh[at + register] = registers_wh[register]

    def replay_period(self, index: int, period_t2000: int) -> None:
        """Apply the journalled beginning of a tier period; what stands behind it says the rest."""
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
        """Set what the account had after a journalled top-up or refund, or what was told of it."""
        self.order[index] = order
        self.credit_fen[index] = credit_fen
        self.debit_fen[index] = debit_fen
        self.debt_fen[index] = debt_fen
        self.debt_week[index] = debt_week
        self.debt_week_fen[index] = debt_week_fen


def difference_fen(one_fen: int, other_fen: int) -> int:
    """By how much a credit or debit is more than another one; both count modulo 2**32."""
    fen = one_fen - other_fen
    if -MONEY_LIMIT_FEN <= fen <= MONEY_LIMIT_FEN:
        return fen
    return (fen + _HALF_FEN) % _TURN_FEN - _HALF_FEN


def difference_wh(one_wh: int, other_wh: int) -> int:
    """By how much a register is above another one, also where one has passed its last digit."""
    wh = (one_wh - other_wh) % REGISTER_MODULUS_WH
    return wh if wh <= _DELTA_LIMIT_WH else wh - REGISTER_MODULUS_WH


def _settles(old_t2000: int, new_t2000: int) -> bool:
    """Whether a tier period ends where another one holds: a later one, or one of another kind.

    An earlier one of the same kind is the same, told by a tariff that has let go its past.
    """
    return new_t2000 > old_t2000 or (new_t2000 ^ old_t2000) & 3 != 0


def _months_left(tariff: Tariff, t2000: int) -> int:
    """The quota from the month of `t2000` on."""
    tariff.count_months(t2000)
    if tariff.months_left >= tariff.months:
        return 0
    return tariff.months | tariff.months_left << 4
