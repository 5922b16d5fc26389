"""Judge readings that are not plausible: repeat them, correct a charge, or stop the billing.

A frame's checksum has only eight bits, and the line's two wires run through every meter's box, so
a valid reply may be wrong. A reading that is not plausible is repeated at once, and in the next
round. Once a reading continues from the last good registers, the whole difference is charged. If
the registers are twice in a row lower than those charged last, but not lower than at one of the
readings shortly before, the charges since then were wrong: the energy is charged again from that
reading, and the rest is returned as a CORRECTION. Only a doubt that three readings confirm, each
ten minutes or more after the one before, stops the billing.

`ledger.doubt()` of an account, 0: none, is:

    minutes since 2000 of the last reading that counted | rounds 4 bits | agreeing rounds 2 bits

No round agrees where the meter only answered without a value.

`ledger.candidate()` is the sum of that reading's registers, in units of their last digit, modulo
2**16.

Spec: docs/PREPAYMENT.md.
"""

from array import array

from micropython import const
from prepay import ledger as outcomes
from prepay.accounts import HOUSEHOLD, STOPPED, difference_wh
from uplink import record
from uplink.record import JOINED

from concentrator.books.supply import Supply

# The outcome of a reading that has to be repeated.
DOUBTED = const(102)
# A reason of a FAULT besides the outcomes of the ledger: a technician entered the registers.
_TOLD = const(1)

_MINUTE_S = const(60)
_APART_MINUTES = const(10)
_CONFIRMED = const(3)
_ROUNDS_MOST = const(15)
_STEP_WH = const(10)
_STEPS = const(0x10000)
# A search goes back over this many readings, and this many records for each account.
_READINGS = const(5)
_WINDOW = const(16)
_WINDOW_LEAST = const(256)
# A correction cannot go back beyond a record of these kinds.
_ENDS = (record.METER, record.STANDING, record.CORRECTION)

# Places in an earlier state, for Ledger.prepare_again.
_AT_MONEY = const(0)
_AT_RESIDUE_E7 = const(1)
_AT_RESIDUE_E11 = const(2)
_AT_USED = const(3)
_AT_PERIOD = const(4)
_AT_READ = const(5)
_AT_QUOTA = const(6)
_AT_FREE = const(7)
_STATE_SIZE = const(8)


class Doubt(Supply):
    """The part of the books that judges readings which are not plausible."""

    # The registers of the present reading by which its account is charged.
    _registers_wh: "array[int]"

    def _doubt(self, index: int, outcome: int) -> int:
        """Note a doubtful reading; return DOUBTED, or CHARGED if it leads to a correction.

        `outcome` is that of `prepare`, or UNEVEN. After CHARGED a correction is prepared, and its
        record must be the first of a group.
        """
        ledger = self.ledger
        minute = self.t2000 // _MINUTE_S
        doubt = ledger.doubt(index)
        since = doubt >> 6
        rounds = doubt >> 2 & 15
        agreed = doubt & 3
        steps = self._steps()
        limit_wh = ledger.limit_wh(index, (minute - since) * _MINUTE_S)
        moved = (steps - ledger.candidate(index)) % _STEPS
        continues = agreed and moved <= min(limit_wh // _STEP_WH, _STEPS // 2)
        is_next = not 0 <= minute - since < _APART_MINUTES
        ledger.set_doubt(index, doubt, steps)
        if continues and outcome == outcomes.BACK:
            unread = self.journal.unread
            if self._prepare_correction(index):
                return outcomes.CHARGED
            if self.journal.unread != unread:
                return DOUBTED  # the flash does not answer: nothing is decided without it
        if is_next:
            rounds = min(rounds + 1, _ROUNDS_MOST)
            agreed += 1
        agreed = agreed if continues else 1
        if is_next or not continues:
            since = minute
        if agreed >= _CONFIRMED:
            if self._write_fault(index, outcome, 1):
                ledger.stop(index)
        elif is_next and rounds == 2 and not self._write_fault(index, outcome, 0):
            # A doubt of two rounds is recorded, though it may end by itself; now by the next one.
            rounds = 1
        doubt = since << 6 | rounds << 2 | min(agreed, _CONFIRMED)
        ledger.set_doubt(index, doubt, steps)
        return DOUBTED

    def _steps(self) -> int:
        """Return the sum of the registers at hand, in their last digit, modulo 2**16."""
        steps = 0
        for register in range(record.REGISTERS):
            steps += self._registers_wh[register] // _STEP_WH
        return steps % _STEPS

    def _is_told_twice(self, index: int) -> bool:
        """Return whether the reading continues from the doubtful one before; if not, note it."""
        ledger = self.ledger
        minute = self.t2000 // _MINUTE_S
        steps = self._steps()
        doubt = ledger.doubt(index)
        passed_s = (minute - (doubt >> 6) + 1) * _MINUTE_S
        moved_wh = (steps - ledger.candidate(index)) % _STEPS * _STEP_WH
        if doubt & 3 and moved_wh <= ledger.limit_wh(index, passed_s, 0):
            return True
        ledger.set_doubt(index, minute << 6 | 1, steps)
        return False

    def miss(self, index: int) -> None:
        """Note an answer without registers that can be charged; those of two rounds are recorded.

        They never stop the billing: the first registers that come charge all of the energy.
        """
        ledger = self.ledger
        doubt = ledger.doubt(index)
        minute = self.t2000 // _MINUTE_S
        soon = 0 <= minute - (doubt >> 6) < _APART_MINUTES
        if self.t2000 < 0 or soon or ledger.flags[index] & STOPPED:
            return
        rounds = min((doubt >> 2 & 15) + 1, _ROUNDS_MOST)
        if rounds == 2:
            ledger.fault_value = self.t2000
            ledger.fault_limit = ledger.read_t2000[index]
            if not self._write_fault(index, outcomes.VALUE_MISSING, 0):
                return
        agreed = doubt & 3
        if agreed:
            minute = doubt >> 6  # that of the candidate
        ledger.set_doubt(index, minute << 6 | rounds << 2 | agreed, ledger.candidate(index))

    def _write_fault(self, index: int, reason: int, stopped: int, joined: int = 0) -> bool:
        """Write a FAULT with the ledger's wrong value; it is made durable unless joined."""
        offset = self._place()
        if offset < 0:
            return False
        ledger = self.ledger
        record.put_fault(
            self.journal.buf, offset, reason, stopped, ledger.fault_value, ledger.fault_limit
        )
        self.journal.add(self._time(), record.FAULT, index, joined)
        return joined != 0 or self._settle(1)

    def resume(self, index: int, values: "array[int] | None" = None) -> bool:
        """Bill the account again, from the last good registers on or from `values` on.

        `values` are a total and its rates, in Wh; energy up to them is not charged. Return false
        if the storage refuses.
        """
        ledger = self.ledger
        ledger.fault_value = ledger.fault_limit = 0
        if values is None:
            if not self._write_fault(index, 0, 0):
                return False
            ledger.resume(index)
            return True
        if self.t2000 < 0 or not self._pick(index, values, len(values)):
            return False
        if not self._write_fault(index, _TOLD, 0, JOINED):
            return False
        record.put_reading(
            self.journal.buf,
            self.journal.place(),
            ledger.debit_fen[index],
            ledger.residue_e7[index],
            ledger.residue_e11[index],
            record.STATUS_UNKNOWN,
            ledger.used_wh[index],
            self._registers_wh,
        )
        self.journal.add(self.t2000, record.READING, index)
        if not self._settle(2):
            return False
        ledger.resume(index)
        ledger.set_registers(index, self._registers_wh)
        ledger.read_t2000[index] = max(ledger.read_t2000[index], self.t2000)
        return True

    def _pick(self, index: int, values: "array[int]", count: int) -> bool:
        """Choose the registers that the account's tariff charges; return false if missing."""
        tariff = self.tariffs.find(self.registry.tariff[index])
        if tariff is None:
            return False
        registers_wh = self._registers_wh
        for register in range(record.REGISTERS):
            registers_wh[register] = 0
        if tariff.registers == 1:
            registers_wh[0] = values[0]
            return True
        if tariff.registers >= count:
            return False
        for register in range(tariff.registers):
            registers_wh[register] = values[register + 1]
        return True

    # --- correction of charges -------------------------------------------------------------------

    def _prepare_correction(self, index: int) -> bool:
        """Prepare the present reading from a state before wrong registers; false: impossible."""
        tariff = self.tariffs.find(self.registry.tariff[index])
        ledger = self.ledger
        before = array("I", bytes(4 * _STATE_SIZE))
        before_wh = array("I", bytes(4 * record.REGISTERS))
        if tariff is None or not self._find_before(index, before, before_wh):
            return False
        now_wh = self._registers_wh
        t2000 = max(self.t2000, ledger.read_t2000[index])
        outcome = ledger.prepare_again(index, tariff, now_wh, t2000, before, before_wh)
        return outcome == outcomes.CHARGED

    def _find_before(self, index: int, before: "array[int]", before_wh: "array[int]") -> bool:
        """Find the newest reading from which the present one can continue, and its state."""
        journal = self.journal
        if not journal.sync():
            return False
        ledger = self.ledger
        before[_AT_PERIOD] = ledger.period_t2000[index]
        before[_AT_QUOTA] = ledger.quota[index]
        before[_AT_FREE] = ledger.free[index]
        buf = bytearray(record.RECORD_SIZE)
        seq = journal.durable_seq + 1
        least = max(journal.first_seq, seq - _WINDOW_LEAST - _WINDOW * self.registry.count)
        number = self.registry.tariff[index]
        readings = repaid_fen = newest_t2000 = 0
        while seq > least:
            seq -= 1
            if not journal.read_into(seq, buf):
                return False
            kind = record.kind_at(buf, 0)
            if kind == record.TARIFF and record.tariff_at(buf, 0)[0] == number:
                return False
            if record.index_at(buf, 0) != index or kind == record.TARIFF:
                continue
            if kind == record.QUOTA:
                if not record.flags_at(buf, 0) & JOINED:
                    return False  # a technician has set what is used
                before[_AT_QUOTA], before[_AT_FREE] = record.old_quota_at(buf, 0)
            elif kind == record.ROLLOVER:
                before[_AT_PERIOD] = record.rollover_from(buf, 0)
            elif kind in _ENDS or self._changes_terms(index, kind, buf):
                return False
            elif kind == record.TOP_UP:
                repaid_fen += record.repaid_at(buf, 0)
            elif kind == record.READING:
                readings += 1
                if readings > 1 and self._continues(buf, before_wh):
                    self._fill_state(buf, before, before_wh, repaid_fen)
                    if newest_t2000 < ledger.read_t2000[index]:
                        # Its clock was ahead before, and the account waits for it.
                        before[_AT_READ] = ledger.read_t2000[index]
                    else:
                        before[_AT_READ] = self._own_time(index, seq, least)
                    return True
                if readings >= _READINGS:
                    return False
                newest_t2000 = max(newest_t2000, record.t2000_at(buf, 0))
        return False

    def _own_time(self, index: int, seq: int, least: int) -> int:
        """Return the account's own time, in s since 2000, at its READING `seq`."""
        journal = self.journal
        buf = bytearray(record.RECORD_SIZE)
        own_t2000 = 0
        while seq:
            if journal.read_into(seq, buf) and record.kind_at(buf, 0) == record.READING:
                own_t2000 = max(own_t2000, record.t2000_at(buf, 0))
            seq = journal.find_before(index, seq, least)
        return own_t2000

    def _changes_terms(self, index: int, kind: int, buf: bytearray) -> bool:
        """Return whether the record in `buf` changed the price, or the registers that count."""
        if kind == record.ACCOUNT:
            ledger = self.ledger
            household, _, multiplier = record.account_at(buf, 0)[:3]
            same = household == ledger.flags[index] >> HOUSEHOLD
            return not same or (multiplier or 1) != (ledger.multiplier[index] or 1)
        if kind == record.PLAN:
            return record.plan_at(buf, 0)[1] == 0
        return kind == record.FAULT and record.fault_at(buf, 0)[0] == _TOLD

    def _continues(self, buf: bytearray, before_wh: "array[int]") -> bool:
        """Return whether no present register is below that of the READING in `buf`."""
        record.reading_at(buf, 0, before_wh)
        for register in range(record.REGISTERS):
            if difference_wh(self._registers_wh[register], before_wh[register]) < 0:
                return False
        return True

    def _fill_state(
        self, buf: bytearray, before: "array[int]", before_wh: "array[int]", repaid_fen: int
    ) -> None:
        debit_fen, residue_e7, residue_e11, used_wh = record.reading_at(buf, 0, before_wh)
        before[_AT_MONEY] = (debit_fen + repaid_fen) & 0xFFFFFFFF
        before[_AT_RESIDUE_E7] = residue_e7
        before[_AT_RESIDUE_E11] = residue_e11
        before[_AT_USED] = used_wh

    def _put_correction(self, offset: int, index: int) -> None:
        """Write the CORRECTION of the prepared reading, joined to the next record."""
        ledger = self.ledger
        energy_wh = 0
        at = index * ledger.rates_limit
        for register in range(min(ledger.rates_limit, record.REGISTERS)):
            charged_wh = ledger.registers_wh[at + register]
            energy_wh += difference_wh(charged_wh, self._registers_wh[register])
        fields = (
            ledger.returned_fen,
            ledger.credited_fen(index, ledger.returned_fen),
            ledger.new_debit_fen,
            ledger.new_residue_e7,
            ledger.new_residue_e11,
            outcomes.BACK,
            ledger.new_used_wh,
            ledger.new_period_t2000,
            max(0, energy_wh),
        )
        record.put_correction(self.journal.buf, offset, fields)
        self.journal.add(self.t2000, record.CORRECTION, index, JOINED)

    def _replay_correction(self, buf: bytearray, index: int) -> None:
        credit_fen, period_t2000 = record.correction_at(buf, 0)
        self.ledger.credit_fen[index] = credit_fen
        self.ledger.period_t2000[index] = period_t2000

    def _replay_fault(self, buf: bytearray, index: int) -> None:
        reason, stopped = record.fault_at(buf, 0)
        if stopped:
            self.ledger.stop(index)
        elif reason <= _TOLD:
            self.ledger.resume(index)
