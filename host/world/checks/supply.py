"""Check which supplies may be cut, must be cut, and must be switched on again.

This module follows docs/PREPAYMENT.md without the firmware's table of states: it checks whether
money, guard, doubt, hour and waiting allow or demand each step of the supply.
"""

from collections import Counter

from host.frames.record import Record
from host.sim.meter import Meter
from host.world.checks.account import (
    ALARM_2,
    CLOSED,
    CUT,
    EMERGENCY,
    HELD,
    NORMAL,
    OPEN,
    OVERLOAD,
    REMOTE,
    ZERO,
    Account,
    Violation,
)
from host.world.checks.money import Money
from host.world.terms import Terms

INTENT, CONFIRMED, FAILED = 1, 2, 3
# Reasons of POLICY and RELAY.
WARNING, USED_UP, TOP_UP, TOO_MUCH_POWER, BY_ORDER, MISMATCH = 2, 3, 4, 7, 9, 16
_STATUS_OPEN = 0x10
_STATUS_UNKNOWN = 0xFFFF
_US = 1_000_000
# A clock may be set by this much without a doubt.
_STEP_S = 60
# A verdict that a storage failure or a power cut swallowed comes again within this time.
VERDICT_LIMIT_S = 900
# Relay commands fail on a bad line; each reading that tells is followed by another attempt.
MISMATCHES_LIMIT = 12
# An intent may have changed while the command that it replaces was on the line.
LATE_COMMAND_S = 30


class Supply:
    """A checker of the records that decide about relays, and of the relays themselves."""

    def __init__(self, terms: Terms, counters: Counter[str]) -> None:
        self._terms = terms
        self._counters = counters

    def limit_fen(self, account: Account, state: int) -> int:
        """Return how far below 0 the account may be in a state."""
        limit_fen = self._terms.grace_fen(account.grade)
        return limit_fen + (self._terms["emergency_fen"] if state == EMERGENCY else 0)

    def is_used_up(self, account: Account, state: int) -> bool:
        """Return whether the account has used all that it may."""
        return account.balance_fen <= 0 and -account.balance_fen >= self.limit_fen(account, state)

    # --- records ---------------------------------------------------------------------------------

    def apply_reading(self, account: Account, one: Record, now_us: int) -> None:
        """Note that a cut is due from a reading on that finds all used up."""
        may_be_cut = account.order and account.desired == CLOSED and not account.guard
        if not may_be_cut or not self.is_used_up(account, account.state):
            account.cut_due_us = -1
        elif account.cut_due_us < 0:
            account.cut_due_us = now_us
        status = one.fields["status"]
        if status == _STATUS_UNKNOWN:
            return
        # A relay that the meter reports in the wrong state is soon corrected.
        held = account.desired == OPEN and self._may_not_cut(account, one.t2000)
        if bool(status & _STATUS_OPEN) == (account.desired == OPEN):
            account.mismatches = 0
            return
        account.mismatches += not held
        if account.mismatches > MISMATCHES_LIMIT:
            raise Violation(
                "supply",
                f"account {one.index} should be {'cut' if account.desired == OPEN else 'supplied'}"
                f", {account.mismatches} readings say it is not",
            )

    def apply_clock(self, accounts: dict[int, Account], one: Record, now_us: int) -> None:
        """Let each wait of the policy begin again after a step of the clock."""
        old_t2000, new_t2000 = one.fields["old_t2000"], one.fields["new_t2000"]
        stepped = old_t2000 and abs(new_t2000 - old_t2000) > _STEP_S
        for account in accounts.values():
            if not stepped and account.held_t2000 <= new_t2000:
                continue
            account.held_t2000 = new_t2000
            if account.cut_due_us >= 0 and self._terms.held_s(account.grade):
                account.cut_due_us = now_us
            if account.overload_us >= 0:
                account.overload_us = now_us

    def apply_top_up(self, account: Account, now_us: int) -> None:
        """Note that a supply is due to be switched on once enough is paid."""
        if not self.is_used_up(account, account.state):
            account.cut_due_us = -1
        if account.state == CUT and account.balance_fen > self._terms["close_fen"]:
            account.close_due_us = now_us

    def apply_terms(self, account: Account) -> None:
        """Note that no supply is due to be cut under protection."""
        if account.guard:
            account.cut_due_us = -1

    def apply_policy(self, account: Account, one: Record, now_us: int) -> None:
        """Check a step to another state."""
        Money.check_balance(account, one)
        old, new = one.fields["old"], one.fields["new"]
        if old != account.state:
            raise Violation("supply", f"record {one.seq} leaves a state that was not: {one}")
        if old == EMERGENCY and NORMAL <= new <= ZERO and account.balance_fen <= 0:
            raise Violation("supply", f"record {one.seq} forgets emergency credit: {one}")
        if new == EMERGENCY:
            self._counters["emergency credits"] += 1
            limit_fen = self.limit_fen(account, EMERGENCY)
            if not self._terms["emergency_fen"] or -account.balance_fen >= limit_fen:
                raise Violation("supply", f"record {one.seq} lends more than there is: {one}")
        account.left_state, account.state = old, new
        account.held_t2000 = one.t2000 if new == HELD else account.held_t2000
        account.overload_us = now_us if new == OVERLOAD else -1
        if new == REMOTE:
            account.close_due_us = -1
            account.warned = False
        self._counters["cuts held back"] += new == HELD

    def apply_relay(self, account: Account, one: Record, now_us: int) -> None:
        """Check that the relay is to move, or has moved."""
        fields = one.fields
        desired, stage = fields["desired"], fields["stage"]
        if stage != INTENT:
            if desired != account.desired:
                raise Violation("supply", f"record {one.seq} ends what nobody wanted: {fields}")
            account.stage = 0 if stage == CONFIRMED else 4
            self._counters["relay commands failed"] += stage == FAILED
            return
        account.stage = 1
        Money.check_balance(account, one)
        again = desired == account.desired
        account.desired = desired
        if desired == OPEN:
            account.open_until_us = 1 << 62
            account.cut_due_us = -1
            self._check_cut(account, one, again)
            return
        # An account that opens has its relay closed just before the money stands there.
        if fields["reason"] == TOP_UP and account.order and account.balance_fen <= 0:
            raise Violation("supply", f"record {one.seq} supplies who has nothing: {one}")
        account.close_due_us = -1
        account.warned = False
        account.open_until_us = min(account.open_until_us, now_us + LATE_COMMAND_S * _US)

    def _may_not_cut(self, account: Account, t2000: int) -> bool:
        return account.stopped or account.guard or not self._terms.may_cut_at(t2000)

    def _check_cut(self, account: Account, one: Record, again: bool) -> None:
        """Check that the household may be cut now, for the reason that is given."""
        reason = one.fields["reason"]
        balance_fen = account.balance_fen
        self._counters[f"cuts for reason {reason}"] += 1
        if reason == BY_ORDER:
            # Whether it was ordered is checked with the commands.
            wrong = account.guard or account.state != REMOTE
        elif reason == TOO_MUCH_POWER:
            wrong = account.stopped or account.guard or balance_fen > 0
            wrong |= account.power_w <= self._terms["load_limit_w"] or account.state != OVERLOAD
        else:
            wrong = self._may_not_cut(account, one.t2000)
        if reason == MISMATCH:
            wrong |= not again
        elif reason == WARNING:
            account.warned = True
            wrong |= balance_fen > max(0, self._terms["alarm_2_fen"])
            wrong |= account.state not in (ALARM_2, ZERO)
        elif reason == USED_UP:
            wait_s = self._terms.wait_s(account.grade)
            early = account.left_state != HELD or one.t2000 - account.held_t2000 < wait_s
            wrong |= not self.is_used_up(account, account.left_state) or (wait_s > 0 and early)
        elif reason not in (TOO_MUCH_POWER, BY_ORDER):
            wrong = True
        if wrong:
            raise Violation(
                "supply",
                f"record {one.seq} cuts account {one.index} with {balance_fen} fen for reason "
                f"{reason}, in state {account.state}, guard {account.guard}, "
                f"stopped {account.stopped}",
            )

    # --- relays and time -------------------------------------------------------------------------

    def relay_moved(self, index: int, account: Account | None, is_open: bool, now_us: int) -> None:
        """Note that the relay of the account's meter has moved."""
        self._counters["relays opened" if is_open else "relays closed"] += 1
        if is_open and (account is None or account.open_until_us < now_us):
            raise Violation("supply", f"the relay of account {index} opened without an order")

    def tick(self, index: int, account: Account, now_us: int, healthy_us: int) -> None:
        """Check that no verdict is overdue that was possible since `healthy_us`."""

        def overdue(since_us: int, limit_s: int) -> bool:
            return since_us >= 0 and now_us - max(healthy_us, since_us) > limit_s * _US

        terms = self._terms
        if overdue(account.close_due_us, VERDICT_LIMIT_S):
            raise Violation("supply", f"account {index} has paid and is not switched on")
        limit_s = 2 * terms["interval_s"] + VERDICT_LIMIT_S
        if overdue(account.cut_due_us, limit_s + terms.held_s(account.grade)):
            raise Violation("supply", f"account {index} has no money and is not cut")
        limit_s += terms["load_wait_s"] + terms.slack_s
        if overdue(account.overload_us, limit_s):
            raise Violation("supply", f"account {index} stays cut for too much power")

    # --- the end ---------------------------------------------------------------------------------

    def finish(self, index: int, account: Account, meter: Meter) -> None:
        """Check at the end that supplies follow the money, unless something holds a cut back."""
        used_up = self.is_used_up(account, account.state)
        has_money = not used_up and account.balance_fen > self._terms["close_fen"]
        has_money &= account.state != REMOTE
        if has_money and meter.relay.open and not account.warned:
            raise Violation("supply", f"account {index} is cut with {account.balance_fen} fen")
        held = account.stopped or account.guard or self._terms.held_s(account.grade)
        if used_up and account.order and not held and not meter.relay.open:
            raise Violation("supply", f"account {index} has no money and is supplied")
