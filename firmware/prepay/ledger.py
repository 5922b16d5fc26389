"""The ledger: money and energy of every account, in arrays made once. Nothing else is a balance.

Credits and debits only grow; what is not yet a whole fen is carried as a residue, so a charge
split into many readings is, digit for digit, the charge of one. A charge comes from the meter's
registers alone and in two steps: `prepare` computes it, `commit` applies it once it stands in the
journal.

Rules where a reading does not say which kilowatt-hour came first:

    rates of one reading use up a tier in the order of the registers
    a reading across a change of price, season, tier period or slot of a day table is divided in
    proportion to time; `estimated` says so. A reading at the change itself, such as the meter's
    freeze, divides it exactly: charge that one before.
"""

from array import array

from micropython import const

from prepay.calendar import DAY_S
from prepay.tariff import RATES_LIMIT

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from prepay.tariff import Tariff

# Outcomes of `prepare`; those from EARLIER on are doubtful: stop billing, keep the supply, report.
CHARGED = const(0)
FIRST = const(1)  # nothing is charged, the registers are the start
BILLING_STOPPED = const(2)
NO_TIME = const(3)
NO_VALUE = const(4)
EARLIER = const(5)
BACK = const(6)
TOO_MUCH = const(7)
OVERFLOW = const(8)
MISFIT = const(9)
OUTCOME_NAMES = (
    "charged",
    "first reading",
    "billing is stopped",
    "the clock is not set",
    "the meter has no value",
    "the clock went back",
    "a register went back",
    "more energy than can be",
    "more money than can be",
    "the tariff does not fit",
)

# Bits of `flags`.
STOPPED = const(0x01)  # billing, after a doubtful reading
GUARD = const(0x02)  # nothing may cut the supply

REGISTER_MODULUS_WH = const(1000000000)
MONEY_LIMIT_FEN = const(0x3FFFFFFF)

# A clock set back by less than this is no doubt: the ledger waits at its own time.
_BACK_LIMIT_S = const(3600)
# What a register may show above the greatest power times the time: its steps, late answers.
_SLACK_WH = const(1000)
# Half the registers' range: beyond it nobody could tell forward from back.
_DELTA_LIMIT_WH = const(500000000)
_DEFAULT_POWER_LIMIT_W = const(60000)


class Ledger:
    """Accounts by index. All columns may be read; only the methods write them.

    credit_fen, debit_fen       paid in and charged since the account began, below 2**30
    residue_e7, residue_e11     charged above debit_fen, below 1 fen: 1e-7 and 1e-11 yuan
    used_wh                     in the tier period that began at period_t2000
    read_t2000                  of the last reading, 0: none yet
    order, amount_fen           the last top-up
    debt_fen                    owed from before, repaid as a share of top-ups
    debt_week, debt_week_fen    the week of the last repayment, and what was repaid in it
    multiplier                  CT x PT: energy is the registers' times this
    household                   which of the tariff's kinds, grade the station's of its payers
    state, since_t2000          of the policy, and since when
    registers_wh                [index * rates_limit + rate] of the last reading
    cells_wh                    [index * cells_limit + tier * rates + rate] in the tier period

    After `prepare` gave CHARGED or FIRST the `new_*` hold what `commit` will make of the account,
    `estimated` whether the reading was divided by time, `rolled` whether a tier period ended in
    it, `closed_*` what it had reached then. After a doubtful outcome `fault_value` and
    `fault_limit` say what was too much.
    """

    def __init__(self, count: int, rates_limit: int = 4, cells_limit: int = 12) -> None:
        self.count = count
        self.rates_limit = rates_limit
        self.cells_limit = cells_limit
        self.power_limit_w = _DEFAULT_POWER_LIMIT_W
        self.credit_fen = array("I", bytes(4 * count))
        self.debit_fen = array("I", bytes(4 * count))
        self.residue_e7 = array("I", bytes(4 * count))
        self.residue_e11 = array("H", bytes(2 * count))
        self.used_wh = array("I", bytes(4 * count))
        self.period_t2000 = array("I", bytes(4 * count))
        self.read_t2000 = array("I", bytes(4 * count))
        self.order = array("I", bytes(4 * count))
        self.amount_fen = array("I", bytes(4 * count))
        self.debt_fen = array("I", bytes(4 * count))
        self.debt_week = array("H", bytes(2 * count))
        self.debt_week_fen = array("I", bytes(4 * count))
        self.multiplier = array("H", bytes(2 * count))
        self.household = bytearray(count)
        self.grade = bytearray(count)
        self.flags = bytearray(count)
        self.state = bytearray(count)
        self.since_t2000 = array("I", bytes(4 * count))
        self.registers_wh = array("I", bytes(4 * count * rates_limit))
        self.cells_wh = array("I", bytes(4 * count * cells_limit))

        self.new_debit_fen = 0
        self.new_residue_e7 = 0
        self.new_residue_e11 = 0
        self.new_used_wh = 0
        self.new_period_t2000 = 0
        self.new_read_t2000 = 0
        self.estimated = False
        self.rolled = False
        self.closed_wh = 0
        self.closed_debit_fen = 0
        self.fault_value = 0
        self.fault_limit = 0
        self._registers = array("i")
        self._register_count = 0
        self._energy_wh = array("I", bytes(4 * RATES_LIMIT))
        self._part_wh = array("I", bytes(4 * RATES_LIMIT))
        self._new_cells_wh = array("I", bytes(4 * cells_limit))
        self._cells = 0

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
            self.amount_fen,
            self.debt_fen,
            self.debt_week,
            self.debt_week_fen,
            self.multiplier,
            self.household,
            self.grade,
            self.flags,
            self.state,
            self.since_t2000,
            self.registers_wh,
            self.cells_wh,
        )

    def balance_fen(self, index: int) -> int:
        """Credits less debits, rounded up to the fen: only whole fen are debited."""
        return self.credit_fen[index] - self.debit_fen[index]

    def misfit(self, index: int, tariff: "Tariff") -> str:
        """Why the account cannot be charged by `tariff`, or ""."""
        if tariff.registers > self.rates_limit:
            return "the tariff has more rates than accounts have registers"
        if tariff.cells > self.cells_limit:
            return "the tariff has more tiers and rates than accounts have cells"
        if self.household[index] >= tariff.households:
            return "the tariff has no such kind of household"
        return ""

    def prepare(
        self,
        index: int,
        tariff: "Tariff",
        registers_wh: "array[int]",
        t2000: int,
        exchanged: bool = False,
    ) -> int:
        """Compute the charge of a reading without effect; return the outcome.

        `registers_wh` has a value for each of the tariff's registers, -1 where the meter sent
        none; it must stay as it is until `commit`. With `exchanged` they are the first ones of
        another meter: time passes, no energy is charged. Allocates nothing below 2**30.
        """
        if self.flags[index] & STOPPED:
            return BILLING_STOPPED
        if t2000 <= 0:
            return NO_TIME
        count = tariff.registers
        for rate in range(count):
            if registers_wh[rate] < 0:
                return NO_VALUE
        if (
            count > self.rates_limit
            or tariff.cells > self.cells_limit
            or self.household[index] >= tariff.households
        ):
            return MISFIT
        self._registers = registers_wh
        self._register_count = count
        self._begin(index, tariff)
        start_t2000 = self.new_read_t2000
        if start_t2000 == 0:
            self.new_read_t2000 = t2000
            self.new_period_t2000 = tariff.period_at(t2000)
            return FIRST
        elapsed_s = t2000 - start_t2000
        if elapsed_s < 0:
            if elapsed_s < -_BACK_LIMIT_S:
                self.fault_value = t2000
                self.fault_limit = start_t2000
                return EARLIER
            elapsed_s = 0
            t2000 = start_t2000
        outcome = self._measure(index, count, elapsed_s, exchanged)
        if outcome:
            return outcome
        self.new_read_t2000 = t2000
        if t2000 <= tariff.change_after(start_t2000):
            self._charge(index, tariff, self._energy_wh, start_t2000, t2000)
        else:
            self._divide(index, tariff, start_t2000, t2000)
        return OVERFLOW if self.new_debit_fen > MONEY_LIMIT_FEN else CHARGED

    def _begin(self, index: int, tariff: "Tariff") -> None:
        self.new_debit_fen = self.debit_fen[index]
        self.new_residue_e7 = self.residue_e7[index]
        self.new_residue_e11 = self.residue_e11[index]
        self.new_used_wh = self.used_wh[index]
        self.new_period_t2000 = self.period_t2000[index]
        self.new_read_t2000 = self.read_t2000[index]
        self.estimated = False
        self.rolled = False
        if self._cells:
            # The charge before was never committed.
            self._clear_cells()
        self._cells = tariff.cells

    def _clear_cells(self) -> None:
        for cell in range(self._cells):
            self._new_cells_wh[cell] = 0

    def _measure(self, index: int, count: int, elapsed_s: int, exchanged: bool) -> int:
        """Set the energy of each register since the last reading."""
        multiplier = self.multiplier[index] or 1
        limit_wh = min(elapsed_s // 60 * self.power_limit_w // 60 + _SLACK_WH, _DELTA_LIMIT_WH)
        energy_wh = self._energy_wh
        registers_wh = self._registers
        at = index * self.rates_limit
        for rate in range(count):
            if exchanged:
                energy_wh[rate] = 0
                continue
            delta_wh = registers_wh[rate] - self.registers_wh[at + rate]
            outcome = TOO_MUCH
            if delta_wh < 0:
                delta_wh += REGISTER_MODULUS_WH
                outcome = BACK
            if delta_wh > limit_wh:
                self.fault_value = registers_wh[rate]
                self.fault_limit = self.registers_wh[at + rate]
                return outcome
            energy_wh[rate] = delta_wh * multiplier
        return CHARGED

    def _charge(
        self, index: int, tariff: "Tariff", energy_wh: "array[int]", start_t2000: int, t2000: int
    ) -> None:
        """Charge energy of a time within which prices and tier period stay the same."""
        period_t2000 = tariff.period_at(start_t2000)
        used_wh = self.new_used_wh
        if period_t2000 != self.new_period_t2000:
            self.rolled = True
            self.closed_wh = used_wh
            self.closed_debit_fen = self.new_debit_fen
            self.new_period_t2000 = period_t2000
            used_wh = 0
            self._clear_cells()
        ladder = (tariff.ladder * tariff.households + self.household[index]) * tariff.tiers
        rates = tariff.rates
        limits_wh = tariff.limits_wh
        charge_e7 = 0
        charge_e11 = 0
        tier = 0
        for register in range(self._register_count):
            wh = energy_wh[register]
            rate = register if tariff.rate < 0 else tariff.rate
            while wh:
                step_wh = limits_wh[ladder + tier] - used_wh
                if step_wh <= 0:
                    tier += 1
                    continue
                if step_wh > wh:
                    step_wh = wh
                at = (ladder + tier) * rates + rate
                charge_e7 += step_wh * tariff.prices_e4[at]
                charge_e11 += step_wh * tariff.prices_e8_low[at]
                self._new_cells_wh[tier * rates + rate] += step_wh
                used_wh += step_wh
                wh -= step_wh
        self.new_used_wh = used_wh
        if tariff.standing_e7:
            # Each local midnight charges the day that it begins.
            days = (t2000 + DAY_S - 1) // DAY_S - (start_t2000 + DAY_S - 1) // DAY_S
            charge_e7 += days * tariff.standing_e7
        charge_e11 += self.new_residue_e11
        charge_e7 += self.new_residue_e7 + charge_e11 // 10000
        self.new_residue_e11 = charge_e11 % 10000
        self.new_residue_e7 = charge_e7 % 100000
        self.new_debit_fen += charge_e7 // 100000

    def _divide(self, index: int, tariff: "Tariff", start_t2000: int, t2000: int) -> None:
        """Charge a reading across changes, each part in proportion to its time."""
        elapsed_s = t2000 - start_t2000
        part_wh = self._part_wh
        from_t2000 = start_t2000
        while from_t2000 < t2000:
            until_t2000 = min(t2000, tariff.change_after(from_t2000))
            for register in range(self._register_count):
                wh = self._energy_wh[register]
                # Differences of a running total, so that the parts add up.
                before_wh = wh * (from_t2000 - start_t2000) // elapsed_s
                part_wh[register] = wh * (until_t2000 - start_t2000) // elapsed_s - before_wh
                if wh:
                    self.estimated = True
            self._charge(index, tariff, part_wh, from_t2000, until_t2000)
            from_t2000 = until_t2000

    def commit(self, index: int) -> None:
        """Make the account what `prepare` computed."""
        self.debit_fen[index] = self.new_debit_fen
        self.residue_e7[index] = self.new_residue_e7
        self.residue_e11[index] = self.new_residue_e11
        self.used_wh[index] = self.new_used_wh
        self.period_t2000[index] = self.new_period_t2000
        self.read_t2000[index] = self.new_read_t2000
        at = index * self.rates_limit
        for rate in range(self._register_count):
            self.registers_wh[at + rate] = self._registers[rate]
        at = index * self.cells_limit
        if self.rolled:
            for cell in range(self.cells_limit):
                self.cells_wh[at + cell] = 0
        new_cells_wh = self._new_cells_wh
        for cell in range(self._cells):
            if new_cells_wh[cell]:
                self.cells_wh[at + cell] += new_cells_wh[cell]
                new_cells_wh[cell] = 0
        self._cells = 0

    def top_up(self, index: int, order: int, amount_fen: int, repaid_fen: int = 0) -> bool:
        """Credit a purchase, of which `repaid_fen` goes to the debt; false: it was before."""
        if order <= self.order[index]:
            return False
        self.credit_fen[index] += amount_fen
        self.order[index] = order
        self.amount_fen[index] = amount_fen
        self.debit_fen[index] += repaid_fen
        self.debt_fen[index] -= repaid_fen
        return True

    def stop(self, index: int) -> None:
        """Stop billing the account after a doubtful reading; its supply stays as it is."""
        self.flags[index] |= STOPPED

    def resume(self, index: int) -> None:
        """Bill the account again; its next reading is a new start, nothing before is charged."""
        self.flags[index] &= 0xFF ^ STOPPED
        self.read_t2000[index] = 0

    def tier_of(self, index: int, tariff: "Tariff") -> int:
        """Tier from 0 on in which the next watt-hour falls."""
        ladder = (tariff.ladder * tariff.households + self.household[index]) * tariff.tiers
        tier = 0
        while self.used_wh[index] >= tariff.limits_wh[ladder + tier]:
            tier += 1
        return tier

    def enter(self, index: int, state: int, t2000: int) -> None:
        """Note the policy's state of the account, and since when."""
        if self.state[index] != state:
            self.state[index] = state
            self.since_t2000[index] = t2000

    def take_reading(
        self,
        index: int,
        tariff: "Tariff",
        registers_wh: "array[int]",
        t2000: int,
        debit_fen: int,
        residue_e7: int,
        residue_e11: int,
        used_wh: int,
    ) -> bool:
        """Apply a journalled reading at recovery; its money counts, whatever we compute.

        False: our own charge differs, as after a change of the tariff; the cells of the tier
        period are then incomplete.
        """
        outcome = self.prepare(index, tariff, registers_wh, t2000)
        agreed = outcome <= FIRST and self.new_debit_fen == debit_fen
        agreed = agreed and self.new_used_wh == used_wh
        if outcome > FIRST:
            self._begin(index, tariff)
            self._registers = registers_wh
            self._register_count = tariff.registers
            self.new_read_t2000 = t2000
            self.new_period_t2000 = tariff.period_at(t2000)
        self.new_debit_fen = debit_fen
        self.new_residue_e7 = residue_e7
        self.new_residue_e11 = residue_e11
        self.new_used_wh = used_wh
        self.commit(index)
        return agreed

    def clear(self, index: int) -> None:
        """Begin the account anew: it belongs to another household."""
        for column in self.columns():
            width = len(column) // self.count
            for at in range(index * width, (index + 1) * width):
                column[at] = 0
