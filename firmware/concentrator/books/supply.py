"""Judge accounts by the policy, and order the positions of their meters' relays.

A verdict and the intent to move a relay are one group of records, which is durable before anything
acts on it.
"""

from micropython import const
from prepay import policy as rules
from prepay.accounts import GUARD, REGISTER_MODULUS_WH, STOPPED, difference_fen
from prepay.tariff import NO_LIMIT
from uplink import record
from uplink.record import JOINED

from concentrator.books import registry as meters
from concentrator.books.entries import Entries

# This is below every overdraft and grace.
_USED_UP_FEN = const(-1000000000)
_SILENT_MISSES = const(3)
_STATUS_OPEN = const(0x10)
_STATUS_GUARD = const(0x1000)


class Supply(Entries):
    """The part of the books that judges accounts and orders relays."""

    # The mean power of the account whose reading was charged last, if there is a load limit.
    _power_w = 0
    # An account without a good reading for this time counts as used up, 0: never.
    doubt_cut_s = 0

    def show_card(self, index: int, credited: bool, amount_fen: int) -> None:
        """Judge the account after its card, whose holder asks for supply.

        The card has `credited` the amount, below 0 a refund, or has brought no money.
        """
        cause = rules.CREDITED if amount_fen >= 0 else rules.REFUND
        self._judge(index, cause if credited else rules.CARD)

    def keep_in_range(self) -> None:
        """Put values that cannot be, as of a flash that was forged, within their range."""
        state = self.ledger.state
        used_wh = self.ledger.used_wh
        for index in range(len(state)):
            if state[index] > rules.REMOTE:
                state[index] = rules.NORMAL
            used_wh[index] = min(used_wh[index], NO_LIMIT - 1)
        registers_wh = self.ledger.registers_wh
        for at in range(len(registers_wh)):
            registers_wh[at] %= REGISTER_MODULUS_WH

    def order_supply(self, index: int, cut: bool) -> bool:
        """Cut or restore by order of the station; return false if policy or storage refuse."""
        state = self.ledger.state[index]
        self._judge(index, rules.ORDER_TRIP if cut else rules.ORDER_CLOSE)
        return self.ledger.state[index] != state

    def alarms(self, index: int) -> bool:
        """Return whether the meter has to show an alarm: money is running out, or has run out."""
        return rules.NORMAL < self.ledger.state[index] < rules.REMOTE

    def relay_done(self, index: int, stage: int, status: int) -> None:
        """Record the end of a relay command: its stage CONFIRMED or FAILED, and status word 3."""
        wants_open = self.registry.relay[index] & meters.DESIRED_OPEN
        desired = record.RELAY_OPEN if wants_open else record.RELAY_CLOSED
        if self._place() < 0 or not self._write_relay(index, desired, stage, 0, status):
            return
        ended = meters.RELAY_IDLE if stage == record.STAGE_CONFIRMED else meters.RELAY_FAILED
        self.registry.set_relay(index, ended | wants_open)

    def _judge(self, index: int, cause: int) -> None:
        """Judge the account by the policy; a verdict is durable before anything acts on it.

        An account without a purchase is not open yet: it is read and charged, and only an order
        cuts it.
        """
        ledger = self.ledger
        if ledger.order[index] == 0 and cause < rules.ORDER_TRIP:
            return
        state = ledger.state[index]
        balance_fen = ledger.balance_fen(index)
        flags = ledger.flags[index]
        if self.doubt_cut_s and self._is_unread(index):
            balance_fen = min(balance_fen, _USED_UP_FEN)
            flags &= 0xFF ^ STOPPED
        if state == rules.CUT and balance_fen > self.policy.close_fen:
            # An account with money is cut only if the verdict on its top-up was lost with the
            # power.
            cause = rules.CREDITED
        verdict = self._verdict(index, balance_fen, cause, flags)
        if verdict == state:
            return
        if self.t2000 < 0 and verdict >> 8 & 0xFF not in (rules.CLOSE, rules.PERMIT):
            # Without a clock the only possible decision is to restore a supply.
            return
        count = self._write_verdict(index, verdict)
        if count and self._settle(count):
            self._apply_verdict(index, verdict)

    def _verdict(self, index: int, balance_fen: int, cause: int, flags: int) -> int:
        """Return what the policy wants of the account with this balance, see Policy.judge."""
        ledger = self.ledger
        return self.policy.judge(
            ledger.state[index],
            balance_fen,
            cause,
            self.t2000,
            flags,
            ledger.grade[index],
            ledger.since_t2000[index],
            self._power_w if cause == rules.READING else 0,
        )

    def _would_cut(self, index: int) -> bool:
        """Return whether the charge that is prepared would have the supply cut."""
        ledger = self.ledger
        balance_fen = difference_fen(ledger.credit_fen[index], ledger.new_debit_fen)
        if balance_fen > 0 and balance_fen > self.policy.alarm_2_fen:
            return False
        if ledger.order[index] == 0 or self.registry.relay[index] & meters.DESIRED_OPEN:
            return False
        verdict = self._verdict(index, balance_fen, rules.READING, ledger.flags[index])
        return verdict >> 8 & 0xFF == rules.TRIP

    def _is_unread(self, index: int) -> bool:
        """Return whether the meter has given no good reading for `doubt_cut_s`."""
        ledger = self.ledger
        read_t2000 = ledger.read_t2000[index]
        return (
            0 < read_t2000 <= self.t2000 - self.doubt_cut_s
            and (
                ledger.flags[index] & STOPPED
                or ledger.doubt(index)
                or self.registry.misses(index) >= _SILENT_MISSES
            )
            != 0
        )

    def _write_verdict(self, index: int, verdict: int) -> int:
        """Write POLICY and, if the relay has to move, RELAY; return the count of records."""
        intent = verdict >> 8 & 0xFF
        reason = verdict >> 16
        balance_fen = self.ledger.balance_fen(index)
        offset = self._place()
        if offset < 0:
            return 0
        state = self.ledger.state[index]
        record.put_policy(self.journal.buf, offset, verdict & 0xFF, state, reason, balance_fen)
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
        record.put_relay(self.journal.buf, offset, desired, stage, reason, status, balance_fen)
        self.journal.add(self._time(), record.RELAY, index, flags)
        return True

    def _compare_relay(self, index: int, status: int) -> None:
        """Order the relay again if the status shows another position than the wanted one."""
        relay = self.registry.relay[index]
        stage = relay & meters.RELAY_STAGE
        is_open = status & _STATUS_OPEN != 0
        wants_open = relay & meters.DESIRED_OPEN != 0
        if is_open == wants_open:
            if stage == meters.RELAY_FAILED:
                self.relay_done(index, record.STAGE_CONFIRMED, status)
            return
        # A supply that should be cut is cut again, unless something forbids it. A supply that
        # should be on but is off is closed only if a command has failed or the meter is new here,
        # because someone may have opened it to work there.
        if wants_open and (
            self.ledger.flags[index] & (STOPPED | GUARD)
            or status & _STATUS_GUARD  # the meter would refuse
            or self.policy.no_cut_at(self.t2000)
        ):
            return
        if stage == meters.RELAY_FAILED or (wants_open and stage == meters.RELAY_IDLE):
            desired = record.RELAY_OPEN if wants_open else record.RELAY_CLOSED
            self._order_relay(index, desired, rules.R_MISMATCH, status)

    def _order_relay(self, index: int, desired: int, reason: int, status: int) -> None:
        """Order a position of the relay, once the order is durable."""
        intent = record.STAGE_INTENT
        if (
            self._place() >= 0
            and self._write_relay(index, desired, intent, reason, status)
            and self._settle(1)
        ):
            self._want_relay(index, desired)

    def _replay_relay(self, buf: bytearray, index: int) -> None:
        desired, stage = record.relay_at(buf, 0)
        if stage == record.STAGE_INTENT:
            self._want_relay(index, desired)
            return
        ended = meters.RELAY_IDLE if stage == record.STAGE_CONFIRMED else meters.RELAY_FAILED
        wants_open = meters.DESIRED_OPEN if desired == record.RELAY_OPEN else 0
        self.registry.set_relay(index, ended | wants_open)


def _desired(intent: int) -> int:
    return record.RELAY_OPEN if intent == rules.TRIP else record.RELAY_CLOSED
