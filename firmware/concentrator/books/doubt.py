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
from prepay.accounts import STOPPED, difference_wh
from uplink import record
from uplink.record import JOINED

from concentrator.books.search import Search

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


class Doubt(Search):
    """The part of the books that judges readings which are not plausible."""

    def _doubt(self, index: int, t2000: int, outcome: int, status: int) -> None:
        """Note a doubtful reading; if it may lead to a correction, begin to search for it.

        `outcome` is that of `prepare`, or UNEVEN.
        """
        ledger = self.ledger
        minute = t2000 // _MINUTE_S
        doubt = ledger.doubt(index)
        steps = self._steps()
        limit_wh = ledger.limit_wh(index, (minute - (doubt >> 6)) * _MINUTE_S)
        moved = (steps - ledger.candidate(index)) % _STEPS
        continues = doubt & 3 != 0 and moved <= min(limit_wh // _STEP_WH, _STEPS // 2)
        if continues and outcome == outcomes.BACK:
            ledger.set_doubt(index, doubt, steps)
            self._seek(index, t2000, status)
        else:
            self._count_doubt(index, minute, outcome, continues)

    def _count_doubt(self, index: int, minute: int, outcome: int, continues: bool) -> None:
        """Count a doubtful reading of that minute; stop the billing if it was confirmed."""
        ledger = self.ledger
        doubt = ledger.doubt(index)
        since = doubt >> 6
        rounds = doubt >> 2 & 15
        agreed = doubt & 3
        is_next = not 0 <= minute - since < _APART_MINUTES
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
        ledger.set_doubt(index, doubt, self._steps())

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
