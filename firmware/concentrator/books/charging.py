"""Charge accounts for readings and freezes, in the journal before in the ledger."""

from micropython import const
from prepay import ledger as outcomes
from prepay import policy as rules
from prepay.accounts import REGISTER_MODULUS_WH, STOPPED
from uplink import record
from uplink.record import ESTIMATED, JOINED, STATUS_UNKNOWN

from concentrator.books.doubt import DOUBTED, Doubt

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from array import array

# Outcomes of `charge_reading` besides those of the ledger.
NOT_BILLED = const(100)  # no usable tariff: nothing is written, the supply does not change
REFUSED = const(101)  # no room in the journal: the registers are read again later

# The parameter `even` of a charge: where the registers come from, or if their rates add up.
_FROZEN = const(0)  # a freeze, whose outcome is never in doubt
_TYPED = const(3)  # a person read them off a display and sees the outcome
_EVEN = const(1)  # a reading whose rates add up to its total, or may do so
_UNEVEN = const(2)  # a reading whose rates do not add up to its total
# A block of this many values may have more rates; each rate drops its last step.
_WHOLE_BLOCK = const(8)
_STEP_WH = const(10)

# The status of a reading that a person typed, in a search for a correction.
_STATUS_TYPED = const(-1)

_MINUTE_S = const(60)
_HOUR_S = const(3600)
_DAY_S = const(86400)


class Charging(Doubt):
    """The part of the books that charges accounts.

    readings    the count of readings charged and written since the start
    """

    readings = 0

    def charge_reading(self, index: int, values: "array[int]", count: int, status: int) -> int:
        """Charge a reading of `count` values, total first, then the rates; return the outcome.

        DOUBTED: the caller should repeat the reading at once. A first reading, and one that would
        cut the supply, counts when it is read twice.
        """
        if self.t2000 < 0:
            return NOT_BILLED
        if not self._pick(index, values, count):
            if self.tariffs.find(self.registry.tariff[index]) is not None:
                self.miss(index)  # it sends fewer rates than the tariff charges
            return NOT_BILLED
        outcome = self._charge(index, self.t2000, status, self._evenness(values, count))
        if outcome == outcomes.VALUE_MISSING:
            self.miss(index)
        if outcome <= outcomes.FIRST:
            self._judge(index, rules.READING)
        if status != STATUS_UNKNOWN:
            self._compare_relay(index, status)
        return outcome

    def _evenness(self, values: "array[int]", count: int) -> int:
        """Return _UNEVEN if the rates certainly do not add up to the total, else _EVEN."""
        if count < 2 or count >= _WHOLE_BLOCK:
            return _EVEN
        off_wh = values[0]
        any_rate = False
        for place in range(1, count):
            wh = values[place]
            if wh < 0 or off_wh < 0:
                return _EVEN
            any_rate |= wh > 0
            off_wh -= wh
            if off_wh < 0:
                # Each register, and the total, continues at 0 after an overflow.
                off_wh += REGISTER_MODULUS_WH
        # A meter with one rate may keep the registers of all rates at 0.
        slack_wh = _STEP_WH * count
        if not any_rate or off_wh <= slack_wh or off_wh >= REGISTER_MODULUS_WH - slack_wh:
            return _EVEN
        self.ledger.fault_value = values[0]
        self.ledger.fault_limit = (values[0] - off_wh) % REGISTER_MODULUS_WH
        return _UNEVEN

    def charge_typed(self, index: int, values: "array[int]") -> int:
        """Charge registers off the display of an exchanged meter, total first; return the outcome.

        They are the last ones of the old meter or, once it is registered, the first of the new.
        """
        if self.t2000 < 0 or not self._pick(index, values, len(values)):
            return outcomes.MISFIT
        return self._charge(index, self.t2000, STATUS_UNKNOWN, _TYPED)

    def dividing_t2000(self, index: int) -> int:
        """Return the t2000 of the whole hour whose freeze divides the next reading, 0: none.

        Prices, season, tier period or slot of a day table changed at that hour.
        """
        tariff = self.tariffs.find(self.registry.tariff[index])
        read_t2000 = self.ledger.read_t2000[index]
        if tariff is None or read_t2000 == 0:
            return 0
        change_t2000 = tariff.change_after(read_t2000)
        if change_t2000 >= self.t2000 or change_t2000 % _HOUR_S:
            return 0
        return change_t2000

    def charge_freeze(self, index: int, t2000: int, values: "array[int]", count: int) -> None:
        """Record the registers frozen at `t2000`, and charge the energy not charged before.

        One that is read again, as in each round of a doubt, is not recorded again.
        """
        if not self._is_recorded(index, t2000):
            offset = self._place()
            if self.journal.is_short or offset < 0:
                self.refused += 1
                return
            record.put_freeze(self.journal.buf, offset, t2000, values, count)
            self.journal.add(self.t2000, record.FREEZE, index)
            self._note_freeze(index, t2000)
        read_t2000 = self.ledger.read_t2000[index]
        if 0 < read_t2000 < t2000 and self._pick(index, values, count):
            # If the clock was set meanwhile, a freeze may not fit behind the last reading. Then it
            # divides nothing, and the present registers are judged for themselves.
            self._charge(index, t2000, STATUS_UNKNOWN)

    def _charge(self, index: int, t2000: int, status: int, even: int = _FROZEN) -> int:
        """Charge the registers that `_pick` chose, as read at `t2000`; return the outcome.

        DOUBTED: it is to be repeated, or the journal is searched for what corrects the account.
        """
        ledger = self.ledger
        tariff = self.tariffs.find(self.registry.tariff[index])
        if tariff is None:
            return NOT_BILLED
        if even == _UNEVEN and not ledger.flags[index] & STOPPED:
            outcome = outcomes.UNEVEN
        else:
            outcome = ledger.prepare(index, tariff, self._registers_wh, t2000)
        if outcome > outcomes.FIRST:
            if even == _FROZEN or outcome < outcomes.EARLIER:
                return outcome
            if even != _TYPED:
                self._doubt(index, t2000, outcome, status)
            elif outcome != outcomes.BACK or self.vain == index:
                self.vain = -1
                return outcome
            else:
                self._seek(index, t2000, _STATUS_TYPED)
            return DOUBTED
        if self.policy.load_limit_w:
            self._power_w = ledger.mean_power_w(index)
        if (
            even == _EVEN
            and (outcome == outcomes.FIRST or self._would_cut(index))
            and not self._is_told_twice(index)
        ):
            return DOUBTED
        return self._commit(index, t2000, status, outcome)

    def search(self) -> None:
        """Look at some records for what corrects an account; at the end charge its reading.

        If nothing was found, the reading is one of a doubt.
        """
        if not self._look_on():
            return
        index = self.searched
        ledger = self.ledger
        tariff = self.tariffs.find(self.registry.tariff[index])
        status = self._sought_status
        t2000 = self._sought_t2000
        registers_wh = self._registers_wh
        for register in range(record.REGISTERS):
            registers_wh[register] = self._sought_wh[register]
        self.searched = -1
        if tariff is None or ledger.prepare(index, tariff, registers_wh, t2000) != outcomes.BACK:
            return
        if self._prepare_correction(index):
            self._power_w = 0  # it spans several readings, so its energy gives no power
            word = STATUS_UNKNOWN if status == _STATUS_TYPED else status
            self._commit(index, t2000, word, outcomes.CHARGED, True)
            self._judge(index, rules.READING)
        elif status == _STATUS_TYPED:
            self.vain = index
        else:
            self._count_doubt(index, t2000 // _MINUTE_S, outcomes.BACK, True)

    def _commit(
        self, index: int, t2000: int, status: int, outcome: int, corrects: bool = False
    ) -> int:
        """Write the prepared charge, then apply it; return `outcome` or REFUSED."""
        ledger = self.ledger
        if self.journal.is_short or not self._write_reading(index, t2000, status, corrects):
            self.refused += 1
            return REFUSED
        if ledger.doubted:
            ledger.set_doubt(index, 0, 0)
        if corrects:
            returned_fen = ledger.returned_fen
            ledger.credit_fen[index] = ledger.credited_fen(index, returned_fen)
        ledger.commit(index)
        self.readings += 1
        return outcome

    def _write_reading(self, index: int, t2000: int, status: int, corrects: bool) -> bool:
        """Write the prepared charge, after the records of its other changes; false: no room."""
        ledger = self.ledger
        buf = self.journal.buf
        offset = self._place()
        if offset < 0:
            return False
        if corrects:
            self._put_correction(offset, index)
            offset = self.journal.place()
        if ledger.whole and ledger.counts_anew(index):
            self._put_quota(
                offset,
                index,
                t2000,
                ledger.new_used_wh,
                ledger.new_period_t2000,
                ledger.new_quota,
                ledger.new_free,
            )
            offset = self.journal.place()
        if ledger.rolled:
            record.put_rollover(
                buf,
                offset,
                ledger.period_t2000[index],
                ledger.new_period_t2000,
                ledger.closed_wh,
                ledger.closed_debit_fen,
            )
            self.journal.add(t2000, record.ROLLOVER, index, JOINED)
            offset = self.journal.place()
        record.put_reading(
            buf,
            offset,
            ledger.new_debit_fen,
            ledger.new_residue_e7,
            ledger.new_residue_e11,
            status,
            ledger.new_used_wh,
            self._registers_wh,
        )
        flags = ESTIMATED if ledger.estimated else 0
        self.journal.add(t2000, record.READING, index, flags)
        return True

    def _put_quota(
        self,
        offset: int,
        index: int,
        t2000: int,
        used_wh: int,
        period_t2000: int,
        quota: int,
        free: int,
        flags: int = JOINED,
    ) -> None:
        buf = self.journal.buf
        old_quota = self.ledger.quota[index]
        old_free = self.ledger.free[index]
        record.put_quota(buf, offset, used_wh, period_t2000, quota, free, old_quota, old_free)
        self.journal.add(t2000, record.QUOTA, index, flags)

    def set_used(self, index: int, used_wh: int, period_t2000: int, quota: int) -> bool:
        """Set the account's energy and quota in its tier period; return false if refused."""
        offset = self._place()
        if offset < 0:
            return False
        free = self.ledger.free[index]
        self._put_quota(offset, index, self._time(), used_wh, period_t2000, quota, free, 0)
        if not self._settle(1):
            return False
        self.ledger.set_used(index, used_wh, period_t2000, quota, free)
        return True

    def _is_recorded(self, index: int, t2000: int) -> bool:
        """Return whether a freeze is recorded, or belongs to an hour of an account in doubt."""
        if t2000 % _DAY_S:
            return self.ledger.doubt(index) != 0 or self.ledger.flags[index] & STOPPED != 0
        return self.registry.freeze_day[index] >= t2000 // _DAY_S

    def _note_freeze(self, index: int, t2000: int) -> None:
        """Note the day of a midnight's freeze, so that it is not read again."""
        if t2000 % _DAY_S == 0:
            self.registry.freeze_day[index] = t2000 // _DAY_S

    def _replay_reading(self, buf: bytearray, index: int) -> None:
        registers_wh = self._registers_wh
        debit_fen, residue_e7, residue_e11, used_wh = record.reading_at(buf, 0, registers_wh)
        t2000 = record.t2000_at(buf, 0)
        self.ledger.replay_reading(
            index, registers_wh, t2000, debit_fen, residue_e7, residue_e11, used_wh
        )

    def _replay_rollover(self, buf: bytearray, index: int) -> None:
        self.ledger.replay_period(index, record.rollover_at(buf, 0))

    def _replay_quota(self, buf: bytearray, index: int) -> None:
        used_wh, period_t2000, quota, free = record.quota_at(buf, 0)
        self.ledger.set_used(index, used_wh, period_t2000, quota, free)

    def _replay_freeze(self, buf: bytearray, index: int) -> None:
        self._note_freeze(index, record.freeze_at(buf, 0))
