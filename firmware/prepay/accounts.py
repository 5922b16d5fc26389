"""Keep the money and the energy of every account, in arrays that are allocated once.

Debits never fall, and credits fall only by refunds. ledger.py computes what a reading costs.
"""

from array import array

from micropython import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from prepay.tariff import Tariff

# Bits of `flags`.
STOPPED = const(0x01)  # billing is stopped after a doubtful reading
GUARD = const(0x02)  # nothing may cut the supply (保电)
SCALED = const(0x04)  # `multiplier` is not 1
PART = const(0x08)  # `quota` is not 0
HOUSEHOLD = const(4)  # first bit of the kind of household
_KINDS = const(15)  # the greatest kind

REGISTER_MODULUS_WH = const(1000000000)
# Half the registers' range: beyond it, forward and backward cannot be distinguished.
DELTA_LIMIT_WH = const(500000000)
# The greatest amount or balance that is not a heap object on 32-bit boards.
MONEY_LIMIT_FEN = const(0x3FFFFFFF)
# Credits and debits count modulo 2**32, so an account may exist for any time. A balance must stay
# within half of that.
_TURN_FEN = const(0x100000000)
_HALF_FEN = const(0x80000000)

# Rules of a part of a year, see the tariff.
_WHOLE = const(0)
_NEXT_MONTH = const(2)
_HEADER_MAC_SIZE = const(8)
_DOUBTS = const(16)
_UNTOLD = const(0xFF)  # in place of a header MAC, while earlier purchases are unknown


class Accounts:
    """The accounts, by index. All columns may be read; only methods write them.

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
    """

    def __init__(self, count: int, rates_limit: int = 4) -> None:
        self.rates_limit = rates_limit
        # The largest column is made first, because making one needs twice its size for a moment.
        registers_wh = array("I", bytes(4 * count * rates_limit))
        # The columns share what they are made from, which else left a hole beside each of them.
        words = bytes(4 * count)
        halves = bytes(2 * count)
        self.header_mac = bytearray(_HEADER_MAC_SIZE * count)
        self.credit_fen = array("I", words)
        self.debit_fen = array("I", words)
        self.residue_e7 = array("I", words)
        self.residue_e11 = array("H", halves)
        self.used_wh = array("I", words)
        self.period_t2000 = array("I", words)
        self.read_t2000 = array("I", words)
        self.order = array("I", words)
        self.debt_fen = array("I", words)
        self.debt_week = array("H", halves)
        self.debt_week_fen = array("I", words)
        self.multiplier = array("H", halves)
        self.power_hw = array("H", halves)
        self.grade = bytearray(count)
        self.flags = bytearray(count)
        self.state = bytearray(count)
        self.since_t2000 = array("I", words)
        self.quota = array("I", words)
        self.free = array("I", words)
        self.registers_wh = registers_wh
        self.doubted = 0
        # An array for each _DOUBTS accounts, with doubt and candidate in turn; it exists only
        # while one of these accounts has a doubt.
        self._doubts: list[array[int] | None] = [None] * (count // _DOUBTS + 1)

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

    def misfit(self, index: int, tariff: "Tariff") -> str:
        """Return why the account cannot be charged by `tariff`, or ""."""
        return self.misfit_of(self.flags[index] >> HOUSEHOLD, self.quota[index], tariff)

    def misfit_of(self, kind: int, quota: int, tariff: "Tariff") -> str:
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

    def _limit_wh(self, household: int, quota: int, tariff: "Tariff", tier: int) -> int:
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
        self.flags[index] |= (household & _KINDS) << HOUSEHOLD
        if multiplier > 1:
            self.flags[index] |= SCALED
        self.grade[index] = grade
        self.multiplier[index] = multiplier

    def set_power(self, index: int, power_limit_w: int) -> None:
        """Set the greatest power of the account's meter, before CT x PT; 0: `power_limit_w`."""
        self.power_hw[index] = min((power_limit_w + 99) // 100, 0xFFFF)

    def quota_after(self, index: int, tariff: "Tariff", household: int, t2000: int) -> int:
        """Return the quota of the tier period if the kind of household changes at `t2000`.

        -1: the kind cannot change now. The time is unknown, or the reading that ends the period is
        due, or the kind has changed three times in it.
        """
        quota = self.quota[index]
        period_t2000 = self.period_t2000[index]
        before = self.flags[index] >> HOUSEHOLD
        if tariff.changed == _WHOLE or not period_t2000 or before == household:
            return quota
        if t2000 <= 0:
            return -1
        t2000 = self.own_t2000(index, t2000)
        if settles(period_t2000, tariff.period_at(t2000)):
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

    def own_t2000(self, index: int, t2000: int) -> int:
        """Return the time in the account's tier period, which a clock set back does not undo."""
        return max(t2000, self.period_t2000[index])

    def quota_moved_in(self, tariff: "Tariff", t2000: int) -> int:
        """Return the quota of a household that moves in at `t2000`."""
        return 0 if tariff.moved_in == _WHOLE else months_left(tariff, t2000)

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

    def tier_of(self, index: int, tariff: "Tariff") -> int:
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
    return wh if wh <= DELTA_LIMIT_WH else wh - REGISTER_MODULUS_WH


def settles(old_t2000: int, new_t2000: int) -> bool:
    """Return whether the new tier period replaces the old one: it is later or of another kind.

    An earlier period of the same kind is the same one, in a tariff without its past sets.
    """
    return new_t2000 > old_t2000 or (new_t2000 ^ old_t2000) & 3 != 0


def months_left(tariff: "Tariff", t2000: int) -> int:
    """Return the quota of the tier period's months from that of `t2000` on."""
    tariff.count_months(t2000)
    if tariff.months_left >= tariff.months:
        return 0
    return tariff.months | tariff.months_left << 4
