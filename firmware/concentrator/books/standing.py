"""Write and restore the standing of an account: all figures that a new concentrator needs.

    STANDING 48 | STANDING_REGISTERS 42 | QUOTA 16        the payloads, one behind the other

A newly registered account is *untold*: it is read and charged, but none of its cards is accepted
until its standing is restored, or a technician says that it is new. Otherwise cards that were
redeemed elsewhere, or on flash that was lost, would count a second time.

Spec: docs/SPEC.md, "Record".
"""

from array import array

from micropython import const
from prepay.accounts import (
    GUARD,
    HOUSEHOLD,
    MONEY_LIMIT_FEN,
    REGISTER_MODULUS_WH,
    STOPPED,
    difference_fen,
)
from prepay.policy import STATE_NAMES
from prepay.tariff import NO_LIMIT
from uplink import record
from uplink.record import JOINED, PAYLOAD, RECORD_SIZE, u32_at

from concentrator.books import registry as meters
from concentrator.books.supply import Supply

# The kind, place and size of the payload of each record of a standing.
_PARTS = (
    (record.STANDING, 0, 48),
    (record.STANDING_REGISTERS, 48, 42),
    (record.QUOTA, 90, 16),
)
STANDING_SIZE = const(106)
_REGISTERS = const(64)  # place of the second record, and of the third one
_QUOTA = const(128)
_ORDER_LIMIT = const(0x7FFFFFFF)
# Places in `standing`, and the states at the first of them.
_STATE = const(0)
_FLOOR = const(1)
LEVEL = const(0)
BEHIND = const(1)  # the head-end has more records, or others
RESTORED = const(2)  # the books were restored, and the standings are not yet written
_HERE_MORE = const(1)
_THERE_MORE = const(2)
_LIMITS_WRONG = "these figures are no standing: take them from the head-end or `account standing`"


class Standings(Supply):
    """The part of the books that writes standings for the head-end, and restores accounts.

    behind      whether the head-end knows more than these books, so that no card is accepted
    telling     the count of rows still to be written, from the last on, plus one; 0: none
    told_seq    the number of the EVENT record after the newest writing
    standing    a column: LEVEL, BEHIND or RESTORED, and the first record for the head-end
    """

    standing: "array[int]"
    behind = False
    telling = 0
    told_seq = 0

    def standing_of(self, index: int) -> bytes:
        """Return the standing of the account, STANDING_SIZE bytes."""
        records = self._standing_records(index, record.SOURCE_TOLD)
        payload = bytearray(STANDING_SIZE)
        for place in range(len(_PARTS)):
            _, start, size = _PARTS[place]
            at = place * RECORD_SIZE + PAYLOAD
            payload[start : start + size] = records[at : at + size]
        return bytes(payload)

    def standing_trouble(self, index: int, payload: bytes) -> str:
        """Return why the account cannot have the standing `payload`, or ""."""
        records = _records_of(payload)
        fields = record.standing_at(records, 0)
        if not _is_standing(fields, records):
            return _LIMITS_WRONG
        number = fields[16] or self.registry.tariff[index]
        tariff = self.tariffs.find(number)
        if tariff is None:
            return "there is no tariff " + str(number) + ", load it first"
        quota = record.quota_at(records, _QUOTA)[2]
        trouble = self.ledger.misfit_of(fields[6], quota, tariff)
        if trouble:
            return "tariff " + str(number) + " cannot charge it: " + trouble
        if (
            self._knows_order(index, fields[0])
            and self._compare(index, fields) == _HERE_MORE | _THERE_MORE
        ):
            return "these and the books here have both gone on since order " + str(fields[0])
        return ""

    def _knows_order(self, index: int, order: int) -> bool:
        """Return whether `order` is the account's newest order here."""
        return self.ledger.is_told(index) and self.ledger.order[index] == order

    def knows(self, index: int, payload: bytes) -> bool:
        """Return whether the books here are at least as new as the standing `payload`."""
        fields = record.standing_at(_records_of(payload), 0)
        if self._knows_order(index, fields[0]):
            return not self._compare(index, fields) & _THERE_MORE
        order: int = fields[0]
        return self.ledger.order[index] > order

    def _compare(self, index: int, fields: "tuple[int, ...]") -> int:
        """Return who has charged or corrected more since the common order: _HERE_MORE and so on.

        Debits only grow, and without orders so do credits.
        """
        ledger = self.ledger
        credit_fen = difference_fen(ledger.credit_fen[index], fields[2])
        debit_fen = difference_fen(ledger.debit_fen[index], fields[3])
        here = (debit_fen, ledger.residue_e7[index], ledger.residue_e11[index])
        there = (0, fields[4], fields[5])
        more = 0
        if here > there or credit_fen > 0:
            more |= _HERE_MORE
        if here < there or credit_fen < 0:
            more |= _THERE_MORE
        return more

    def restore(self, index: int, payload: bytes) -> bool:
        """Set the account to the standing `payload`; return whether it is durable."""
        records = _records_of(payload)
        record.set_source(records, 0, record.SOURCE_TOLD)
        return self._write_standing(index, records)

    def begin_new(self, index: int) -> bool:
        """Record that the account has bought nothing anywhere; return whether it is durable."""
        return self._write_standing(index, self._standing_records(index, record.SOURCE_NEW))

    def tell_next(self) -> bool:
        """Write one more row and its standing for the head-end, which lacks records of them.

        An EVENT follows the last one. Return false if room is short: then it has to wait.
        """
        journal = self.journal
        index = self.telling - 2
        offset = -1 if journal.is_short else self._place()
        if offset < 0:
            return False
        if index < 0:
            record.put_event(journal.buf, offset, record.EVENT_TOLD, 0, 0)
            self.told_seq = journal.next_seq
            journal.add(self._time(), record.EVENT, record.NO_INDEX)
            self._apply_told()
        else:
            relay = self.registry.relay[index]
            if meters.is_pending(relay):
                relay = meters.RELAY_LOOK | relay & meters.DESIRED_OPEN
            record.put_meter(journal.buf, offset, self.registry.row(index), 0, relay)
            journal.add(self._time(), record.METER, index)
            if self.registry.active[index]:
                records = self._standing_records(index, record.SOURCE_HERE)
                if not self._put_standing(index, records):
                    return False
        self.telling -= 1
        return True

    def _apply_told(self) -> None:
        if self.standing[_STATE] == RESTORED:
            self.standing[_STATE] = LEVEL

    def set_behind(self, behind: bool) -> bool:
        """Record whether the head-end knows more than these books; return whether durable.

        Records from this one on are for the head-end, once the books are no longer behind.
        """
        self.behind |= behind
        if (self.standing[_STATE] == BEHIND) == behind:
            self.behind = behind
            return True
        offset = self._place()
        if offset < 0:
            return False
        journal = self.journal
        floor_seq = 0 if behind else journal.next_seq
        record.put_event(journal.buf, offset, record.EVENT_BEHIND, int(behind), floor_seq)
        journal.add(self._time(), record.EVENT, record.NO_INDEX)
        if not self._settle(1):
            return False
        self.behind = behind
        self._apply_behind(int(behind), floor_seq)
        return True

    def _apply_behind(self, state: int, floor_seq: int) -> None:
        self.standing[_STATE] = BEHIND if state else RESTORED
        if state:
            return
        self.standing[_FLOOR] = floor_seq
        self.journal.floor_seq = floor_seq
        # Another board may have switched the relays: the next readings correct them.
        registry = self.registry
        for index in range(registry.count):
            relay = registry.relay[index]
            if self.ledger.order[index] and relay & meters.RELAY_STAGE == meters.RELAY_IDLE:
                registry.set_relay(index, meters.RELAY_FAILED | relay & meters.DESIRED_OPEN)

    def load_standing(self) -> None:
        """Apply `standing` after recovery, and keep what the flash had within its range."""
        self.keep_in_range()
        self.behind = self.standing[_STATE] == BEHIND
        self.journal.floor_seq = self.standing[_FLOOR]
        self.tell_restored()

    def tell_restored(self) -> None:
        """Have every standing written for the head-end, if it was not since a restore."""
        if self.standing[_STATE] == RESTORED:
            self.telling = self.registry.count + 1

    def _replay_event(self, buf: bytearray, index: int) -> None:
        what, state, value = record.event_at(buf, 0)
        if what == record.EVENT_BEHIND:
            self._apply_behind(state, value)
        elif what == record.EVENT_TOLD:
            self._apply_told()

    def _standing_records(self, index: int, source: int) -> bytearray:
        """Return three records with the payloads of the account's standing."""
        ledger = self.ledger
        records = bytearray(len(_PARTS) * RECORD_SIZE)
        flags = ledger.flags[index]
        marks = record.STANDING_GUARD if flags & GUARD else 0
        if flags & STOPPED:
            marks |= record.STANDING_STOPPED
        header_mac = ledger.header_mac_of(index)
        if source == record.SOURCE_NEW:
            header_mac = bytearray(record.HEADER_MAC_SIZE)
        fields = (
            ledger.order[index],
            bytes(header_mac),
            ledger.credit_fen[index],
            ledger.debit_fen[index],
            ledger.residue_e7[index],
            ledger.residue_e11[index],
            flags >> HOUSEHOLD,
            ledger.grade[index],
            ledger.multiplier[index],
            marks,
            source,
            ledger.debt_fen[index],
            ledger.debt_week_fen[index],
            ledger.since_t2000[index],
            ledger.state[index],
            1 if self.registry.relay[index] & meters.DESIRED_OPEN else 0,
            self.registry.tariff[index],
        )
        record.put_standing(records, 0, fields)
        registers_wh = array("I", bytes(4 * record.REGISTERS))
        at = index * ledger.rates_limit
        for register in range(min(ledger.rates_limit, record.REGISTERS)):
            registers_wh[register] = ledger.registers_wh[at + register]
        record.put_standing_registers(
            records,
            _REGISTERS,
            registers_wh,
            ledger.read_t2000[index],
            100 * ledger.power_hw[index],
            ledger.debt_week[index],
        )
        record.put_quota(
            records,
            _QUOTA,
            ledger.used_wh[index],
            ledger.period_t2000[index],
            ledger.quota[index],
            ledger.free[index],
        )
        return records

    def _put_standing(self, index: int, records: bytearray) -> bool:
        """Write the three records, joined, into the journal; return false without room."""
        journal = self.journal
        offset = self._place()
        for place in range(len(_PARTS)):
            if offset < 0:
                journal.withdraw(place)
                return False
            kind, _, size = _PARTS[place]
            at = place * RECORD_SIZE + PAYLOAD
            journal.buf[offset + PAYLOAD : offset + PAYLOAD + size] = records[at : at + size]
            is_last = place == len(_PARTS) - 1
            journal.add(self._time(), kind, index, 0 if is_last else JOINED)
            if not is_last:
                offset = journal.place()
        return True

    def _write_standing(self, index: int, records: bytearray) -> bool:
        """Make the three records durable, then apply them; return false if refused."""
        if not self._put_standing(index, records) or not self._settle(len(_PARTS)):
            return False
        self._apply_standing(index, records, 0)
        self._apply_standing_registers(index, records, _REGISTERS)
        self.ledger.set_used(index, *record.quota_at(records, _QUOTA))
        return True

    def _apply_standing(self, index: int, buf: bytearray, offset: int) -> None:
        ledger = self.ledger
        (
            order,
            header_mac,
            credit_fen,
            debit_fen,
            residue_e7,
            residue_e11,
            household,
            grade,
            multiplier,
            marks,
            source,
            debt_fen,
            debt_week_fen,
            since_t2000,
            state,
            relay,
            tariff,
            _,
        ) = record.standing_at(buf, offset)
        if source == record.SOURCE_HERE:
            return
        week = ledger.debt_week[index]  # STANDING_REGISTERS has it
        ledger.set_money(index, order, credit_fen, debit_fen, debt_fen, week, debt_week_fen)
        ledger.set_header_mac(index, header_mac)
        ledger.residue_e7[index] = residue_e7
        ledger.residue_e11[index] = residue_e11
        self._set_terms(index, household, grade, multiplier, marks & record.STANDING_GUARD)
        ledger.flags[index] &= 0xFF ^ STOPPED
        if marks & record.STANDING_STOPPED:
            ledger.stop(index)
        ledger.state[index] = state
        ledger.since_t2000[index] = since_t2000
        if tariff:
            self.registry.tariff[index] = tariff
        # The relay's position is unknown: the first reading corrects it, if the account is open.
        stage = meters.RELAY_FAILED if order else meters.RELAY_IDLE
        self.registry.set_relay(index, stage | (meters.DESIRED_OPEN if relay else 0))

    def _set_terms(
        self, index: int, household: int, grade: int, multiplier: int, guard: int
    ) -> None:
        """Set the terms of the account in the ledger."""
        ledger = self.ledger
        ledger.describe(index, household, grade, multiplier)
        ledger.flags[index] &= 0xFF ^ GUARD
        if guard:
            ledger.flags[index] |= GUARD

    def _apply_standing_registers(self, index: int, buf: bytearray, offset: int) -> None:
        registers_wh = array("I", bytes(4 * record.REGISTERS))
        ledger = self.ledger
        read_t2000, power_w, debt_week = record.standing_registers_at(buf, offset, registers_wh)
        ledger.set_power(index, power_w)
        ledger.set_registers(index, registers_wh)
        ledger.read_t2000[index] = read_t2000
        ledger.debt_week[index] = debt_week

    def _replay_standing(self, buf: bytearray, index: int) -> None:
        self._apply_standing(index, buf, 0)

    def _replay_standing_registers(self, buf: bytearray, index: int) -> None:
        self._apply_standing_registers(index, buf, 0)


def _records_of(payload: bytes) -> bytearray:
    """Return three records with the payloads of a standing of STANDING_SIZE bytes."""
    records = bytearray(len(_PARTS) * RECORD_SIZE)
    for place in range(len(_PARTS)):
        _, start, size = _PARTS[place]
        at = place * RECORD_SIZE + PAYLOAD
        records[at : at + size] = payload[start : start + size]
    return records


def _is_standing(fields: "tuple[int, ...]", records: bytearray) -> bool:
    """Return whether each figure is one that an account can have."""
    limits = (
        (fields[0], _ORDER_LIMIT),
        (fields[4], 99999),
        (fields[5], 9999),
        (fields[6], 15),
        (fields[7], 3),
        (fields[11], MONEY_LIMIT_FEN),
        (fields[12], MONEY_LIMIT_FEN),
        (fields[14], len(STATE_NAMES) - 1),
        (fields[15], 1),
    )
    for value, limit in limits:
        if value > limit:
            return False
    for register in range(record.REGISTERS):
        value_wh = u32_at(records, _REGISTERS + PAYLOAD + 4 * register)
        if value_wh >= REGISTER_MODULUS_WH:
            return False
    used_wh, _, quota, _ = record.quota_at(records, _QUOTA)
    return used_wh < NO_LIMIT and (quota == 0 or quota & 15 > 0)
