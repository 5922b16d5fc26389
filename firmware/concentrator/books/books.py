"""Every effect on money and supply: first a record in the journal, then the tables.

Readings may wait in memory for others before they are durable: what is lost with the power is
read again from the meter's registers. Money and relay intents are durable before anything acts
on them; where the storage refuses, nothing has happened. Records that belong together are joined:
recovery takes all of them or none. `replay` gives the tables the same effects again.
"""

from array import array
from struct import pack_into

from card import codes
from micropython import const
from prepay import ledger as outcomes
from prepay import policy as rules
from uplink import record
from uplink.record import ESTIMATED, JOINED, PAYLOAD, u32_at

from concentrator.books import registry as meters
from concentrator.storage.journal import PENDING_LIMIT, SEGMENTS_RESERVE

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from prepay.ledger import Ledger
    from prepay.policy import Policy
    from prepay.tariff import Tariff

    from concentrator.books.registry import Registry
    from concentrator.books.tariffs import Tariffs
    from concentrator.storage.journal import Journal

# Outcomes of `take_reading` besides those of the ledger.
NOT_BILLED = const(100)  # no usable tariff: nothing is written, supply stays
REFUSED = const(101)  # no room in the journal: the registers are read again later

STATUS_UNKNOWN = const(0xFFFF)
_STATUS_OPEN = const(0x10)
_STATUS_GUARD = const(0x1000)
_RATES = const(8)
_GROUP_LIMIT = const(5)
_U32 = const(0xFFFFFFFF)
_NO_INDEX = const(0xFFFF)
_CARD_RATES = const(4)
_HOUR_S = const(3600)
_DAY_S = const(86400)
_WEEK_S = const(604800)
_EVENTS_WINDOW = const(512)
_NOTES_RESERVE = const(64)  # segments that refused cards leave to all else


class Books:
    """All that is kept, and the only one who writes it.

    t2000       now, in seconds since 2000, -1: not known; whoever steps sets it
    number      of this concentrator, 0: not set
    illegal     cards that were not genuine: codes.ILLEGAL, codes.IN_A_ROW
    behind      the head-end knows more than these books: no card is taken
    readings    taken and written since the start; `refused` of them found no room
    """

    def __init__(
        self,
        journal: "Journal",
        registry: "Registry",
        ledger: "Ledger",
        tariffs: "Tariffs",
        policy: "Policy",
    ) -> None:
        self.journal = journal
        self.registry = registry
        self.ledger = ledger
        self.tariffs = tariffs
        self.policy = policy
        self.t2000 = -1
        self.readings = 0
        self.refused = 0
        self.number = 0
        self.illegal = array("H", (0, 0))
        self.behind = False
        self.hoarding_limit_fen = 0
        # Of the account read last, where there is a load limit.
        self._power_w = 0
        self._rates = array("i", bytes(4 * _RATES))
        self._record = bytearray(record.RECORD_SIZE)

    # --- meters and tariffs ---------------------------------------------------------------------

    def set_meter(self, index: int, row: bytearray) -> bool:
        """Register, change or remove the meter of row `index`: 17 bytes as in a METER record."""
        offset = self._place()
        if offset < 0:
            return False
        self.journal.buf[offset : offset + len(row)] = row
        self.journal.add(self._time(), record.METER, index)
        if not self._settle(1):
            return False
        self._take_meter(index, row, 0)
        return True

    def _take_meter(self, index: int, payload: bytearray, offset: int) -> None:
        """Another meter than before, or other registers: the first reading is a new start."""
        registry = self.registry
        old = self.tariffs.find(registry.tariff[index])
        other = registry.set_row(index, payload, offset)
        new = self.tariffs.find(registry.tariff[index])
        if old is not None and new is not None and old.registers != new.registers:
            self.ledger.resume(index)
        if other:
            self.ledger.resume(index)
            if self.ledger.order[index] and registry.relay[index] == meters.RELAY_IDLE:
                # Nobody knows how its relay was left: its first reading puts it right.
                registry.set_relay(index, meters.RELAY_FAILED)

    def set_tariff(self, number: int, image_crc32: int, size: int) -> bool:
        """Put a stored tariff in force."""
        offset = self._place()
        if offset < 0:
            return False
        pack_into("<IIH", self.journal.buf, offset, number, image_crc32, size)
        self.journal.add(self._time(), record.TARIFF, 0)
        return self._settle(1) and self.tariffs.activate(number, image_crc32)

    def tariff_trouble(self, number: int, new: "Tariff") -> str:
        """Why `new` cannot take the place of tariff `number`, or ""."""
        registry = self.registry
        old = self.tariffs.find(number)
        for index in range(registry.count):
            used = number in (registry.tariff[index], registry.planned[index])
            if not used or not registry.active[index]:
                continue
            trouble = self.ledger.misfit(index, new)
            if old is not None and old.registers != new.registers:
                trouble = "it reads other registers, give it another number"
            if trouble:
                return "account " + registry.account_text(index) + " is charged by it: " + trouble
        return ""

    def has_tariff(self, index: int, number: int, image_crc32: int) -> bool:
        """Whether that image is in force and reads the same registers as the account's tariff."""
        new = self.tariffs.find(number)
        old = self.tariffs.find(self.registry.tariff[index])
        if new is None or old is None or new.registers != old.registers:
            return False
        if self.ledger.misfit(index, new):
            return False
        return self.tariffs.crcs[number] == image_crc32

    def plan_tariff(self, index: int, number: int, from_t2000: int) -> bool:
        """Have the account charged by tariff `number` from then on; 0: from now on."""
        registry = self.registry
        if from_t2000 <= self.t2000:
            from_t2000 = 0
        now = registry.planned[index] if from_t2000 else registry.tariff[index]
        if now == number and registry.planned_t2000[index] == from_t2000:
            return True  # it stands in the journal already
        offset = self._place()
        if offset < 0:
            return False
        pack_into("<II", self.journal.buf, offset, number, from_t2000)
        self.journal.add(self._time(), record.PLAN, index)
        if not self._settle(1):
            return False
        self._take_plan(index, number, from_t2000)
        return True

    def _take_plan(self, index: int, number: int, from_t2000: int) -> None:
        registry = self.registry
        registry.planned[index] = number if from_t2000 else 0
        registry.planned_t2000[index] = from_t2000
        if not from_t2000:
            registry.tariff[index] = number

    def set_terms(
        self, index: int, household: int, grade: int, multiplier: int, guard: int, debt_fen: int
    ) -> bool:
        """Say what kind of account it is; false where the storage refuses."""
        offset = self._place()
        if offset < 0:
            return False
        buf = self.journal.buf
        pack_into("<BBHII", buf, offset, household, grade, multiplier, guard, debt_fen)
        row = buf[offset : offset + 12]
        self.journal.add(self._time(), record.ACCOUNT, index)
        if not self._settle(1):
            return False
        cause = rules.TIME if self.ledger.grade[index] == grade else rules.PARAMETERS
        self._take_terms(index, row, 0)
        self._judge(index, cause)
        return True

    def _take_terms(self, index: int, payload: bytearray, offset: int) -> None:
        ledger = self.ledger
        multiplier = payload[offset + 2] | payload[offset + 3] << 8
        ledger.describe(index, payload[offset], payload[offset + 1], multiplier)
        ledger.flags[index] &= 0xFF ^ outcomes.GUARD
        if payload[offset + 4]:
            ledger.flags[index] |= outcomes.GUARD
        ledger.debt_fen[index] = u32_at(payload, offset + 8)

    # --- readings -------------------------------------------------------------------------------

    def take_reading(self, index: int, values: "array[int]", count: int, status: int) -> int:
        """Charge a reading of `count` values, total first, then the rates; return the outcome."""
        if self.t2000 < 0 or not self._pick(index, values, count):
            return NOT_BILLED
        outcome = self._charge(index, self.t2000, status, True)
        if outcome <= outcomes.FIRST:
            self._judge(index, rules.READING)
        if status != STATUS_UNKNOWN:
            self._compare_relay(index, status)
        return outcome

    def take_last(self, index: int, values: "array[int]") -> int:
        """Charge a reading off the display of a meter that is exchanged, total first; the outcome.

        It is the old one's last, or, once the new one is registered, its first.
        """
        if self.t2000 < 0 or not self._pick(index, values, len(values)):
            return outcomes.MISFIT
        return self._charge(index, self.t2000, STATUS_UNKNOWN, True)

    def _pick(self, index: int, values: "array[int]", count: int) -> bool:
        """Take from a reading what the account's tariff charges; false: it is not in there."""
        tariff = self.tariffs.find(self.registry.tariff[index])
        if tariff is None:
            return False
        rates = self._rates
        for rate in range(_RATES):
            rates[rate] = 0
        if tariff.registers == 1:
            rates[0] = values[0]
            return True
        if tariff.registers >= count:
            return False
        for rate in range(tariff.registers):
            rates[rate] = values[rate + 1]
        return True

    def _charge(self, index: int, t2000: int, status: int, stops: bool) -> int:
        """Charge what was picked, as read at `t2000`; a doubt `stops` the billing, or not."""
        ledger = self.ledger
        tariff = self.tariffs.find(self.registry.tariff[index])
        if tariff is None:
            return NOT_BILLED
        outcome = ledger.prepare(index, tariff, self._rates, t2000)
        if outcome > outcomes.FIRST:
            if stops and outcome >= outcomes.EARLIER:
                self._stop(index, outcome)
            return outcome
        if self.journal.room < SEGMENTS_RESERVE or not self._write_reading(index, t2000, status):
            self.refused += 1
            return REFUSED
        if self.policy.load_limit_w:
            self._power_w = ledger.mean_power_w(index)
        ledger.commit(index)
        self.readings += 1
        return outcome

    def _write_reading(self, index: int, t2000: int, status: int) -> bool:
        """Put the prepared charge into the journal, with the period's end before it."""
        ledger = self.ledger
        buf = self.journal.buf
        if ledger.rolled:
            offset = self._place()
            if offset < 0:
                return False
            old_t2000 = ledger.period_t2000[index]
            pack_into("<II", buf, offset, old_t2000, ledger.new_period_t2000)
            pack_into("<II", buf, offset + 8, ledger.closed_wh, ledger.closed_debit_fen)
            self.journal.add(t2000, record.ROLLOVER, index, JOINED)
        offset = self.journal.place() if ledger.rolled else self._place()
        if offset < 0:
            return False
        pack_into("<II", buf, offset, ledger.new_debit_fen, ledger.new_residue_e7)
        pack_into("<HHI", buf, offset + 8, ledger.new_residue_e11, status, ledger.new_used_wh)
        rates = self._rates
        pack_into("<IIII", buf, offset + 16, rates[0], rates[1], rates[2], rates[3])
        pack_into("<IIII", buf, offset + 32, rates[4], rates[5], rates[6], rates[7])
        flags = ESTIMATED if ledger.estimated else 0
        self.journal.add(t2000, record.READING, index, flags)
        return True

    def dividing_t2000(self, index: int) -> int:
        """The whole hour whose freeze would divide what was used since the last reading, 0: none.

        Prices, season, tier period or slot of a day table changed then.
        """
        tariff = self.tariffs.find(self.registry.tariff[index])
        read_t2000 = self.ledger.read_t2000[index]
        if tariff is None or read_t2000 == 0:
            return 0
        change_t2000 = tariff.change_after(read_t2000)
        if change_t2000 >= self.t2000 or change_t2000 % _HOUR_S:
            return 0
        return change_t2000

    def take_freeze(self, index: int, t2000: int, values: "array[int]", count: int) -> None:
        """Record the registers frozen at `t2000`, a total or rates too; charge what is news."""
        offset = self._place()
        if self.journal.room < SEGMENTS_RESERVE or offset < 0:
            self.refused += 1
            return
        buf = self.journal.buf
        pack_into("<II", buf, offset, t2000, max(0, values[0]) if count == 1 else 0)
        for place in range(1, count):
            pack_into("<I", buf, offset + 4 * place, max(0, values[place]))
        self.journal.add(self.t2000, record.FREEZE, index)
        self._note_freeze(index, t2000)
        read_t2000 = self.ledger.read_t2000[index]
        if 0 < read_t2000 < t2000 and self._pick(index, values, count):
            # One that does not fit behind the last reading, because the clock was set meanwhile,
            # divides nothing; the registers as they are now are judged for themselves.
            self._charge(index, t2000, STATUS_UNKNOWN, False)

    def _note_freeze(self, index: int, t2000: int) -> None:
        """One of a midnight need not be asked for again."""
        if t2000 % _DAY_S == 0:
            self.registry.freeze_day[index] = t2000 // _DAY_S

    def _stop(self, index: int, reason: int) -> None:
        """A doubtful reading: no more billing of this account until somebody has looked."""
        if self._write_fault(index, reason, 1, self.ledger.fault_value, self.ledger.fault_limit):
            self.ledger.stop(index)

    def resume(self, index: int) -> bool:
        """Bill the account again; the next reading is its new start."""
        if not self._write_fault(index, 0, 0, 0, 0):
            return False
        self.ledger.resume(index)
        return True

    def _write_fault(self, index: int, reason: int, stopped: int, value: int, limit: int) -> bool:
        offset = self._place()
        if offset < 0:
            return False
        buf = self.journal.buf
        pack_into("<BBHII", buf, offset, reason, stopped, 0, value & _U32, limit & _U32)
        self.journal.add(self._time(), record.FAULT, index)
        return self._settle(1)

    def note_line(self, index: int, state: int, failures: int, ahead_s: int = 0) -> None:
        """A meter fell silent, or answers again, or its clock is wrong."""
        offset = self._place()
        if offset >= 0:
            pack_into("<BBHi", self.journal.buf, offset, state, 0, failures, ahead_s)
            self.journal.add(self._time(), record.LINE, index)

    def note_item(self, index: int, identifier: int, values: "array[int]", count: int) -> None:
        """What a meter told beside its registers; dropped where room is short."""
        offset = self._place()
        if self.journal.room < SEGMENTS_RESERVE or offset < 0:
            self.refused += 1
            return
        buf = self.journal.buf
        pack_into("<IB", buf, offset, identifier, count)
        for place in range(count):
            pack_into("<i", buf, offset + 8 + 4 * place, values[place])
        self.journal.add(self._time(), record.ITEM, index)

    def note_clock(self, old_t2000: int, new_t2000: int) -> None:
        """Somebody set the clock."""
        offset = self._place()
        if offset >= 0:
            pack_into("<II", self.journal.buf, offset, max(old_t2000, 0), new_t2000)
            self.journal.add(new_t2000, record.CLOCK, 0)
            self.journal.sync()

    # --- supply ---------------------------------------------------------------------------------

    def look_after(self, index: int, cause: int = rules.TIME) -> None:
        """Judge the account again because time has passed; change its tariff when it is due."""
        planned = self.registry.planned[index]
        if planned and self.registry.planned_t2000[index] <= self.t2000:
            self.plan_tariff(index, planned, 0)
        self._judge(index, cause)

    def show_card(self, index: int) -> None:
        """A card that brings no money was inserted: its holder asks for supply."""
        self._judge(index, rules.CARD)

    def order_supply(self, index: int, cut: bool) -> bool:
        """Cut or restore by order of the station; false when the policy or the storage refuses."""
        state = self.ledger.state[index]
        self._judge(index, rules.ORDER_TRIP if cut else rules.ORDER_CLOSE)
        return self.ledger.state[index] != state

    def _judge(self, index: int, cause: int) -> None:
        """Let the policy decide; what it wants is durable before anything acts on it.

        An account that never bought is not open yet: it is read and charged, and nothing but an
        order cuts it.
        """
        ledger = self.ledger
        if ledger.order[index] == 0 and cause < rules.ORDER_TRIP:
            return
        state = ledger.state[index]
        balance_fen = ledger.balance_fen(index)
        if state == rules.CUT and balance_fen > self.policy.close_fen:
            # Who has money is cut only if the verdict on his top-up was lost on its way to flash.
            cause = rules.TOP_UP
        verdict = self.policy.judge(
            state,
            balance_fen,
            cause,
            self.t2000,
            ledger.flags[index],
            ledger.grade[index],
            ledger.since_t2000[index],
            self._power_w if cause == rules.READING else 0,
        )
        if verdict == state:
            return
        if self.t2000 < 0 and verdict >> 8 & 0xFF not in (rules.CLOSE, rules.PERMIT):
            # Without a clock nothing but a supply that comes back can be decided.
            return
        count = self._write_verdict(index, verdict)
        if count and self._settle(count):
            self._apply_verdict(index, verdict)

    def _write_verdict(self, index: int, verdict: int) -> int:
        """Write POLICY and, where the relay has to move, RELAY behind it; return how many."""
        buf = self.journal.buf
        intent = verdict >> 8 & 0xFF
        reason = verdict >> 16
        balance_fen = self.ledger.balance_fen(index)
        offset = self._place()
        if offset < 0:
            return 0
        state = self.ledger.state[index]
        pack_into("<BBBBi", buf, offset, verdict & 0xFF, state, reason, 0, balance_fen)
        self.journal.add(self._time(), record.POLICY, index, JOINED if intent else 0)
        if not intent:
            return 1
        if not self._write_relay(index, _desired(intent), record.STAGE_INTENT, reason, 0):
            self.journal.withdraw(1)
            return 0
        return 2

    def _apply_verdict(self, index: int, verdict: int) -> None:
        self.ledger.enter(index, verdict & 0xFF, self._time())
        intent = verdict >> 8 & 0xFF
        if intent:
            self._want_relay(index, _desired(intent))

    def _want_relay(self, index: int, desired: int) -> None:
        stage = meters.RELAY_LOOK
        if desired == record.RELAY_OPEN:
            stage |= meters.DESIRED_OPEN
        self.registry.set_relay(index, stage)

    def _write_relay(
        self, index: int, desired: int, stage: int, reason: int, status: int, flags: int = 0
    ) -> bool:
        offset = self.journal.place()
        if offset < 0:
            return False
        balance_fen = self.ledger.balance_fen(index)
        buf = self.journal.buf
        pack_into("<BBBBHi", buf, offset, desired, stage, reason, 0, status, balance_fen)
        self.journal.add(self._time(), record.RELAY, index, flags)
        return True

    def _compare_relay(self, index: int, status: int) -> None:
        """The meter told its relay's state: is it what was wanted last?"""
        relay = self.registry.relay[index]
        stage = relay & meters.RELAY_STAGE
        is_open = status & _STATUS_OPEN != 0
        wants_open = relay & meters.DESIRED_OPEN != 0
        if is_open == wants_open:
            if stage == meters.RELAY_FAILED:
                self.relay_done(index, record.STAGE_CONFIRMED, status)
            return
        # A supply that should be cut is cut again, unless something forbids it. One that should
        # be on but is off is only switched on when it was ours to do: somebody may work there.
        if wants_open and (
            self.ledger.flags[index] & (outcomes.STOPPED | outcomes.GUARD)
            or status & _STATUS_GUARD  # the meter would refuse
            or self.policy.no_cut_at(self.t2000)
        ):
            return
        if stage == meters.RELAY_FAILED or (wants_open and stage == meters.RELAY_IDLE):
            desired = record.RELAY_OPEN if wants_open else record.RELAY_CLOSED
            self._order_relay(index, desired, rules.R_MISMATCH, status)

    def _order_relay(self, index: int, desired: int, reason: int, status: int) -> None:
        """Want the relay so, once that is durable."""
        intent = record.STAGE_INTENT
        if (
            self._place() >= 0
            and self._write_relay(index, desired, intent, reason, status)
            and self._settle(1)
        ):
            self._want_relay(index, desired)

    def alarms(self, index: int) -> bool:
        """Whether the account's meter is to show an alarm: money runs out, or has."""
        return rules.NORMAL < self.ledger.state[index] < rules.REMOTE

    def relay_done(self, index: int, stage: int, status: int) -> None:
        """A relay command ended: record.STAGE_CONFIRMED or STAGE_FAILED, with the status word."""
        wants_open = self.registry.relay[index] & meters.DESIRED_OPEN
        desired = record.RELAY_OPEN if wants_open else record.RELAY_CLOSED
        if self._place() < 0 or not self._write_relay(index, desired, stage, 0, status):
            return
        ended = meters.RELAY_IDLE if stage == record.STAGE_CONFIRMED else meters.RELAY_FAILED
        self.registry.set_relay(index, ended | wants_open)

    # --- top-ups: what a redemption asks for ----------------------------------------------------

    def find_account(self, account: "bytes | bytearray | memoryview") -> int:
        """Row of the account number, -1: not ours."""
        return self.registry.find_account(account)

    def last_order(self, index: int) -> int:
        """Number of the newest order credited, -1: the head-end may know a newer one."""
        return -1 if self.behind else self.ledger.order[index]

    def _repaid_fen(self, index: int, amount_fen: int) -> int:
        """What of a top-up goes to the account's debt; first comes what lies below zero."""
        ledger = self.ledger
        amount_fen = max(0, amount_fen + min(0, ledger.balance_fen(index)))
        week_fen = ledger.debt_week_fen[index] if self._in_week(index, self._time()) else 0
        return self.policy.repaid_fen(amount_fen, ledger.debt_fen[index], week_fen)

    def _in_week(self, index: int, t2000: int) -> bool:
        """Whether the week of the account's last repayment still counts.

        Neither without a clock nor with one set back into the week before it begins anew.
        """
        return t2000 == 0 or 0 <= self.ledger.debt_week[index] - t2000 // _WEEK_S <= 1

    def _take_top_up(
        self, index: int, order: int, amount_fen: int, repaid_fen: int, t2000: int
    ) -> None:
        ledger = self.ledger
        ledger.top_up(index, order, amount_fen, repaid_fen)
        if not self._in_week(index, t2000):
            ledger.debt_week[index] = t2000 // _WEEK_S
            ledger.debt_week_fen[index] = 0
        ledger.debt_week_fen[index] += repaid_fen

    def meter_of(self, index: int) -> bytearray:
        """Address of the account's meter, wire order."""
        address = bytearray(meters.ADDRESS_SIZE)
        self.registry.address_into(index, address)
        return address

    def judge_credit(self, index: int, amount_fen: int) -> int:
        """Whether the account may hold so much more, or has so much: a code of card/codes.py."""
        ledger = self.ledger
        if amount_fen < 0:
            # What is charged and no whole fen yet counts as one; who is in doubt gets nothing.
            left_fen = ledger.balance_fen(index) + amount_fen
            if ledger.residue_e7[index] or ledger.residue_e11[index]:
                left_fen -= 1
            doubt = ledger.flags[index] & outcomes.STOPPED
            return codes.NOT_COVERED if doubt or left_fen < 0 else codes.OK
        if ledger.credit_fen[index] + amount_fen > outcomes.MONEY_LIMIT_FEN:
            return codes.OVERFLOW
        if amount_fen and ledger.balance_fen(index) + amount_fen > self.hoarding_limit_fen:
            return codes.HOARDING
        return codes.OK

    def credit(
        self,
        index: int,
        order: int,
        amount_fen: int,
        uid: "bytes | bytearray | memoryview",
        key_version: int,
    ) -> bool:
        """Credit an order or refund it: durable and applied on return. False: nothing happened."""
        repaid_fen = self._repaid_fen(index, amount_fen)
        source = record.SOURCE_CARD
        return self._top_up(index, order, amount_fen, repaid_fen, source, uid, key_version)

    def restore(self, index: int, order: int, credit_fen: int) -> bool:
        """Take the newest order and all the money bought from the head-end; false: not now.

        What was charged meanwhile follows by itself from the meter's registers.
        """
        ledger = self.ledger
        amount_fen = credit_fen - ledger.credit_fen[index]
        behind = ledger.order[index] - order
        # Only an order that is not known here can have been a refund.
        if behind > 0 or (behind == 0 and amount_fen < 0):
            return False
        return self._top_up(index, order, amount_fen, 0, record.SOURCE_RESTORED, bytes(8), 0)

    def _top_up(
        self,
        index: int,
        order: int,
        amount_fen: int,
        repaid_fen: int,
        source: int,
        uid: "bytes | bytearray | memoryview",
        key_version: int,
    ) -> bool:
        ledger = self.ledger
        offset = self._place()
        if offset < 0:
            return False
        # Whoever lived there before may have left the relay open.
        opens = not ledger.order[index] and not self.registry.relay[index] & meters.DESIRED_OPEN
        if opens:
            closed = record.RELAY_CLOSED
            self._write_relay(index, closed, record.STAGE_INTENT, rules.R_TOP_UP, 0, JOINED)
            offset = self.journal.place()
        buf = self.journal.buf
        credit_fen = ledger.credit_fen[index] + amount_fen
        balance_fen = credit_fen - ledger.debit_fen[index] - repaid_fen
        pack_into("<IIIi", buf, offset, order, abs(amount_fen), credit_fen, balance_fen)
        buf[offset + 16 : offset + 24] = uid
        buf[offset + 24] = source
        buf[offset + 25] = key_version
        pack_into("<I", buf, offset + 28, repaid_fen)
        kind = record.TOP_UP if amount_fen >= 0 else record.REFUND
        self.journal.add(self._time(), kind, index)
        if not self._settle(2 if opens else 1):
            return False
        if opens:
            self._want_relay(index, record.RELAY_CLOSED)
        self._take_top_up(index, order, amount_fen, repaid_fen, self._time())
        self._judge(index, rules.TOP_UP if amount_fen >= 0 else rules.REFUND)
        return True

    def tier_of(self, index: int) -> int:
        """Tier from 0 on that the account has reached; 0 also without a tariff."""
        tariff = self.tariffs.find(self.registry.tariff[index])
        return self.ledger.tier_of(index, tariff) if tariff is not None else 0

    def fill_write_back(self, index: int, buf: bytearray, offset: int) -> None:
        """What a card takes home; the layout is in card/image.py."""
        ledger = self.ledger
        balance_fen = ledger.balance_fen(index)
        relay = 1 if self.registry.relay[index] & meters.DESIRED_OPEN else 0
        pack_into("<BB", buf, offset + 2, ledger.state[index], relay)
        pack_into(
            "<IiI", buf, offset + 4, ledger.order[index], balance_fen, ledger.credit_fen[index]
        )
        pack_into("<II", buf, offset + 16, max(0, -balance_fen), ledger.used_wh[index])
        tariff = self.tariffs.find(self.registry.tariff[index])
        rates = min(tariff.registers, _CARD_RATES) if tariff is not None else 0
        pack_into("<BB", buf, offset + 24, self.tier_of(index), rates)
        for rate in range(_CARD_RATES):
            at = index * ledger.rates_limit + rate
            wh = ledger.registers_wh[at] if rate < rates else 0
            pack_into("<I", buf, offset + 28 + 4 * rate, wh)
        pack_into("<I", buf, offset + 48, self.number)

    def note_card(
        self,
        code: int,
        index: int,
        order: int,
        amount_fen: int,
        uid: "bytes | bytearray | memoryview",
        account: "bytes | bytearray | memoryview",
    ) -> None:
        """A card was refused: who, what and why, for the head-end and to count it again.

        Whoever inserts it again and again must not take the room of readings and money.
        """
        offset = self._place()
        if self.journal.room < _NOTES_RESERVE or offset < 0:
            return
        buf = self.journal.buf
        pack_into("<III", buf, offset, code, order, amount_fen)
        buf[offset + 12 : offset + 20] = uid
        buf[offset + 20 : offset + 26] = account
        self.journal.add(self._time(), record.CARD, index & _NO_INDEX)

    def event_before(self, index: int, seq: int, buf: bytearray) -> int:
        """Put the newest record of the account before `seq` into `buf`; return its seq, 0: none.

        Looks back over a few hundred records only.
        """
        journal = self.journal
        seq = min(seq, journal.durable_seq + 1)
        first_seq = max(journal.first_seq, seq - _EVENTS_WINDOW)
        while seq > first_seq:
            seq -= 1
            if journal.read_into(seq, buf) and record.index_at(buf, 0) == index:
                return seq
        return 0

    def note_start(self, first_seq: int, lost: int) -> None:
        """The concentrator has started and recovered."""
        offset = self._place()
        if offset >= 0:
            pack_into("<III", self.journal.buf, offset, 0, first_seq, lost)
            self.journal.add(self._time(), record.START, 0)

    # --- recovery -------------------------------------------------------------------------------

    def replay(self, buf: bytearray) -> None:
        """Give the tables the effect of one record of the journal."""
        kind = record.kind_at(buf, 0)
        index = record.index_at(buf, 0)
        ledger = self.ledger
        if kind == record.TARIFF:
            self.tariffs.activate(u32_at(buf, PAYLOAD), u32_at(buf, PAYLOAD + 4))
        elif kind == record.CARD:
            self._replay_card(buf[PAYLOAD], u32_at(buf, PAYLOAD + 4))
        elif index >= self.registry.limit:
            return
        elif kind == record.READING:
            self._replay_reading(buf, index)
        elif kind == record.TOP_UP or kind == record.REFUND:
            amount_fen = u32_at(buf, PAYLOAD + 4)
            self._take_top_up(
                index,
                u32_at(buf, PAYLOAD),
                amount_fen if kind == record.TOP_UP else -amount_fen,
                u32_at(buf, PAYLOAD + 28),
                record.t2000_at(buf, 0),
            )
            self.illegal[codes.IN_A_ROW] = 0
        elif kind == record.ACCOUNT:
            self._take_terms(index, buf, PAYLOAD)
        elif kind == record.FREEZE:
            self._note_freeze(index, u32_at(buf, PAYLOAD))
        elif kind == record.PLAN:
            self._take_plan(index, buf[PAYLOAD], u32_at(buf, PAYLOAD + 4))
        elif kind == record.METER:
            self._take_meter(index, buf, PAYLOAD)
        elif kind == record.POLICY:
            ledger.enter(index, buf[PAYLOAD], record.t2000_at(buf, 0))
        elif kind == record.RELAY:
            self._replay_relay(index, buf[PAYLOAD], buf[PAYLOAD + 1])
        elif kind == record.FAULT:
            if buf[PAYLOAD + 1]:
                ledger.stop(index)
            else:
                ledger.resume(index)

    def _replay_reading(self, buf: bytearray, index: int) -> None:
        tariff = self.tariffs.find(self.registry.tariff[index])
        if tariff is None:
            # Its image was there when this was written: flash has lost more than we can know.
            self.ledger.stop(index)
            return
        rates = self._rates
        for rate in range(_RATES):
            rates[rate] = u32_at(buf, PAYLOAD + 16 + 4 * rate)
        self.ledger.take_reading(
            index,
            tariff,
            rates,
            record.t2000_at(buf, 0),
            u32_at(buf, PAYLOAD),
            u32_at(buf, PAYLOAD + 4),
            buf[PAYLOAD + 8] | buf[PAYLOAD + 9] << 8,
            u32_at(buf, PAYLOAD + 12),
        )

    def _replay_card(self, code: int, order: int) -> None:
        if codes.is_illegal(code):
            codes.count_illegal(self.illegal)
        elif order:
            self.illegal[codes.IN_A_ROW] = 0
        if code == codes.OK:
            self.illegal[codes.ILLEGAL] = 0

    def _replay_relay(self, index: int, desired: int, stage: int) -> None:
        if stage == record.STAGE_INTENT:
            self._want_relay(index, desired)
            return
        ended = meters.RELAY_IDLE if stage == record.STAGE_CONFIRMED else meters.RELAY_FAILED
        wants_open = meters.DESIRED_OPEN if desired == record.RELAY_OPEN else 0
        self.registry.set_relay(index, ended | wants_open)

    # --- the journal ----------------------------------------------------------------------------

    def _time(self) -> int:
        return max(self.t2000, 0)

    def _place(self) -> int:
        """Place for the first record of a group; makes room for all of the group."""
        if self.journal.count + _GROUP_LIMIT > PENDING_LIMIT and not self.journal.sync():
            return -1
        return self.journal.place()

    def _settle(self, count: int) -> bool:
        """Make the newest `count` records durable; where that fails, take them back."""
        if self.journal.sync():
            return True
        # Joined records are durable together: either all of them are waiting, or none.
        if self.journal.count < count:
            return True
        self.journal.withdraw(count)
        return False


def _desired(intent: int) -> int:
    return record.RELAY_OPEN if intent == rules.TRIP else record.RELAY_CLOSED
