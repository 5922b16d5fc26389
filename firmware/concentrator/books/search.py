"""Search the journal for the state of an account before wrong registers were charged.

A search looks at the newest records, oldest first and one group in each step, and keeps the states
after the account's newest readings. Whatever changed what they mean ends them, and so does a
record that is missing. Records that are written meanwhile are looked at as well. Power that fails
ends a search; the next reading begins it again.

Spec: docs/PREPAYMENT.md.
"""

from array import array

from micropython import const
from prepay import ledger as outcomes
from prepay.accounts import HOUSEHOLD, difference_wh
from uplink import record
from uplink.packing import GAP
from uplink.record import JOINED

from concentrator.books.supply import Supply

# The reason of a FAULT with which a technician entered the registers.
_TOLD = const(1)

# A search goes back over this many readings, and this many records for each account.
_READINGS = const(5)
_WINDOW = const(16)
_WINDOW_LEAST = const(256)
# A correction cannot go back beyond a record of these kinds.
_ENDS = (record.METER, record.STANDING, record.CORRECTION, record.QUOTA)

# Places in the state after an earlier reading, for Ledger.prepare_again. Its registers and its
# time follow. An unset period or quota is the account's present one.
_AT_MONEY = const(0)
_AT_PERIOD = const(4)
_AT_READ = const(5)
_AT_QUOTA = const(6)
_AT_FREE = const(7)
_STATE_SIZE = const(8)
_ROW = const(17)
_UNSET = const(0xFFFFFFFF)


class Search(Supply):
    """The part of the books that searches for a correction.

    searched    the account for which one is searched, -1: none; call `search`
    vain        the account for which the last search has found none, -1: none
    """

    searched = -1
    vain = -1
    # The registers of the present reading by which its account is charged.
    _registers_wh: "array[int]"
    # The reading that may lead to a correction.
    _sought_wh: "array[int]"
    _sought_t2000 = 0
    _sought_status = 0
    # The next record of the search, and the first that was not there when it began.
    _seq = 0
    _begun_seq = 0
    # The segment that is looked through, 0: none, and the place of its present group.
    _first_seq = 0
    _offset = 0
    # The newest time of the account's readings so far, and the states after the newest of them.
    _own_t2000 = 0
    _states: "array[int]"
    _count = 0

    def _seek(self, index: int, t2000: int, status: int) -> None:
        """Begin to search for a state before wrong registers, from which the reading continues.

        The steps of the search are `search`. Only one account is searched for at a time; another
        one has to be read again. A later reading of the account takes the place of this one.
        """
        self.vain = -1
        if self.searched < 0:
            journal = self.journal
            window = _WINDOW_LEAST + _WINDOW * self.registry.count
            self._seq = max(journal.first_seq, journal.next_seq - window)
            self._begun_seq = journal.next_seq
            self._own_t2000 = self._count = self._first_seq = 0
            self._states = array("I", bytes(4 * _ROW * _READINGS))
            self.searched = index
        if self.searched == index:
            self._sought_wh = array("i", self._registers_wh)
            self._sought_t2000 = t2000
            self._sought_status = status

    def _look_on(self) -> bool:
        """Look at a group of records; return whether all of them have been looked at.

        The search is given up if the flash does not answer: the next reading begins another.
        """
        journal = self.journal
        seq = self._seq
        if seq > journal.durable_seq:
            if journal.count == 0:
                return True
            if not journal.sync():
                self.searched = -1
            return False
        unread = journal.unread
        if seq < journal.first_seq:
            self._count = 0  # the segment was deleted meanwhile
            seq = journal.first_seq
        position = journal.position_of(seq)
        end_seq = journal.durable_seq + 1
        if position + 1 < journal.segment_count:
            end_seq = journal.first_of(position + 1)
        first_seq = journal.first_of(position)
        if self._first_seq != first_seq:
            self._first_seq = first_seq
            self._offset = 0
        journal.go_to(first_seq, self._offset)
        if not journal.next_group(end_seq):
            self._count = 0 if seq < end_seq else self._count
            self._seq = end_seq
        else:
            self._look_through(seq, end_seq)
            self._offset = journal.read_end
        if journal.unread != unread:
            self.searched = -1
        return False

    def _look_through(self, seq: int, end_seq: int) -> None:
        """Look at the records of the group that is open, from `seq` on."""
        reader = self.journal.reader
        buf = bytearray(record.RECORD_SIZE)
        while reader.look() >= GAP:
            next_seq = reader.next_seq
            if next_seq <= seq:
                continue
            if reader.seq >= end_seq:
                break  # the next segment has these numbers
            kind = reader.kind
            if kind == GAP or reader.seq > seq:
                self._count = 0  # what is missing may have changed everything
            self._seq = seq = min(next_seq, end_seq)
            if kind > GAP and (kind == record.TARIFF or reader.is_of(self.searched)):
                if reader.read_into(buf):
                    self._look_at(buf, kind, reader.seq >= self._begun_seq)
                else:
                    self._count = 0

    def _look_at(self, buf: bytearray, kind: int, is_new: bool) -> None:
        """Add a READING to the states, or what else a record of the account means for them."""
        states = self._states
        ends = _ROW * self._count
        if kind == record.READING:
            self._add_state(buf)
        elif kind == record.TOP_UP:
            for at in range(0, ends, _ROW):
                states[at + _AT_MONEY] = (
                    states[at + _AT_MONEY] + record.repaid_at(buf, 0) & 0xFFFFFFFF
                )
            return
        elif kind == record.QUOTA and record.flags_at(buf, 0) & JOINED:
            for at in range(0, ends, _ROW):
                if states[at + _AT_QUOTA] == _UNSET:
                    states[at + _AT_QUOTA], states[at + _AT_FREE] = record.old_quota_at(buf, 0)
            return
        elif kind == record.ROLLOVER:
            for at in range(0, ends, _ROW):
                if states[at + _AT_PERIOD] == _UNSET:
                    states[at + _AT_PERIOD] = record.rollover_from(buf, 0)
            return
        elif kind in _ENDS or self._changes_terms(self.searched, kind, buf, is_new):
            self._count = 0
        else:
            return
        if is_new:
            self.searched = -1  # the account has changed meanwhile

    def _add_state(self, buf: bytearray) -> None:
        """Add the state after a READING behind the others, of which the oldest may go."""
        states = self._states
        if self._count == _READINGS:
            states[:-_ROW] = states[_ROW:]
            self._count -= 1
        at = _ROW * self._count
        self._count += 1
        t2000 = record.t2000_at(buf, 0)
        self._own_t2000 = max(self._own_t2000, t2000)
        registers_wh = array("I", bytes(4 * record.REGISTERS))
        for value in record.reading_at(buf, 0, registers_wh):
            states[at] = value
            at += 1
        for value in (_UNSET, self._own_t2000, _UNSET, 0):
            states[at] = value
            at += 1
        states[at : at + record.REGISTERS] = registers_wh
        states[at + record.REGISTERS] = t2000

    def _prepare_correction(self, index: int) -> bool:
        """Prepare the reading from the newest state from which it can continue; false: none."""
        ledger = self.ledger
        tariff = self.tariffs.find(self.registry.tariff[index])
        states = self._states
        newest_t2000 = 0
        for place in range(self._count - 1, -1, -1):
            at = _ROW * place
            before_wh = states[at + _STATE_SIZE : at + _ROW - 1]
            if place < self._count - 1 and tariff is not None and self._continues(before_wh):
                before = states[at : at + _STATE_SIZE]
                if newest_t2000 < ledger.read_t2000[index]:
                    # Its clock was ahead before, and the account waits for it.
                    before[_AT_READ] = ledger.read_t2000[index]
                if before[_AT_PERIOD] == _UNSET:
                    before[_AT_PERIOD] = ledger.period_t2000[index]
                if before[_AT_QUOTA] == _UNSET:
                    before[_AT_QUOTA] = ledger.quota[index]
                    before[_AT_FREE] = ledger.free[index]
                now_wh = self._registers_wh
                t2000 = max(self._sought_t2000, ledger.read_t2000[index])
                outcome = ledger.prepare_again(index, tariff, now_wh, t2000, before, before_wh)
                return outcome == outcomes.CHARGED
            newest_t2000 = max(newest_t2000, states[at + _ROW - 1])
        return False

    def _continues(self, before_wh: "array[int]") -> bool:
        """Return whether no present register is below that of an earlier reading."""
        for register in range(record.REGISTERS):
            if difference_wh(self._registers_wh[register], before_wh[register]) < 0:
                return False
        return True

    def _changes_terms(self, index: int, kind: int, buf: bytearray, is_new: bool) -> bool:
        """Return whether the record in `buf` changed the price, or the registers that count."""
        if kind == record.TARIFF:
            return record.tariff_at(buf, 0)[0] == self.registry.tariff[index]
        if kind == record.ACCOUNT:
            ledger = self.ledger
            household, _, multiplier = record.account_at(buf, 0)[:3]
            same = not is_new and household == ledger.flags[index] >> HOUSEHOLD
            return not same or (multiplier or 1) != (ledger.multiplier[index] or 1)
        if kind == record.PLAN:
            return record.plan_at(buf, 0)[1] == 0
        return kind == record.FAULT and record.fault_at(buf, 0)[0] == _TOLD
