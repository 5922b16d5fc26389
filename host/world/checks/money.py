"""Money and energy of a simulated world: every fen, every watt-hour, every order.

readings    are what the meter shows, and cost what the tariff file says, to 1e-11 yuan
top-ups     are orders that were sold, each once; of each no more than its share, and no more
            than the cap of the week, goes to the debt
exchanges   end with the old meter's last registers and begin with the new one's first
doubts      only where the world gave cause for them, and always where it did
"""

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from host.frames.faults import RESUMED_FROM
from host.frames.record import Record
from host.units import DAY_S, HOUR_S, to_datetime
from host.world.checks.account import FEN_E11, Account, Order, Violation
from host.world.terms import Terms

if TYPE_CHECKING:
    from host.sim.meter import Meter

REGISTER_MODULUS_WH = 10**9
MISSING, CLOCK_AHEAD, BACK, TOO_MUCH, UNEVEN = 4, 5, 6, 7, 10  # reasons of FAULT
_CREDIT_FROM_ABOVE = 3  # source of a top-up
_BACK_LIMIT_S = HOUR_S
_AHEAD_LIMIT_S = 400 * DAY_S
_POWER_LIMIT_W = 60_000
_SLACK_WH = 1000
# True registers that seem further ahead of a reading than this are behind it.
_FORWARD_LIMIT_WH = REGISTER_MODULUS_WH // 10
_BEHIND_LIMIT_WH = 10_000
_WEEK_S = 7 * DAY_S


class Money:
    """A checker of the records that move money or energy.

    meters      by address, those that were taken down too
    exchanges   by the new meter's address: the old one's last registers and the new one's first,
                total and rates
    lies        meters answer wrongly now and then
    lie_wh      by address, by how much a meter's first register is wrong at the moment
    blank       by address, the count of reasons why a meter knows no energy at the moment
    """

    def __init__(
        self, terms: Terms, meters: "list[Meter]", sold: "dict[Any, Order]", counters: Counter[str]
    ) -> None:
        self.meters = {meter.address: meter for meter in meters}
        self.exchanges: dict[str, tuple[list[int], list[int]]] = {}
        self.lies = False
        self.lie_wh: dict[str, int] = {}
        self.blank: Counter[str] = Counter()
        self._terms = terms
        self._sold = sold
        self._counters = counters
        self._first_wh: dict[int, list[int]] = {}  # the registers of the next new beginning

    # --- registers -------------------------------------------------------------------------------

    def shown_wh(self, account: Account) -> list[int]:
        """Return the registers of the account's meter that its tariff reads."""
        meter = self.meters[account.address]
        return self.read_by(account, [meter.total_wh, *meter.registers_wh])

    def display_wh(self, meter: "Meter") -> list[int]:
        """Return total and rates on the meter's display, which does not lie."""
        lie_wh = self.lie_wh.get(meter.address, 0)
        total_wh, first_wh, *others_wh = meter.total_wh, *meter.registers_wh
        return [total_wh - lie_wh, first_wh - lie_wh, *others_wh]

    def read_by(self, account: Account, values_wh: list[int]) -> list[int]:
        """Return the registers that the account's tariff reads, from a total and rates."""
        count = self._terms.registers(account.tariff)
        picked = values_wh[:1] if count == 1 else values_wh[1 : count + 1]
        return [wh % REGISTER_MODULUS_WH for wh in picked]

    def apply_meter(self, account: Account, one: Record) -> None:
        """Apply that a meter was registered, or exchanged for another."""
        fields = one.fields
        if account.address != fields["address"]:
            if account.address:
                self._exchange(account, one)
            account.fresh = True
            account.meddled = account.stopped = False
        account.address = fields["address"]
        account.tariff = fields["tariff"]
        account.active = bool(fields["active"])

    def _exchange(self, account: Account, one: Record) -> None:
        self._counters["meters exchanged"] += 1
        last_wh, first_wh = self.exchanges[one.fields["address"]]
        wanted_wh = self.read_by(account, last_wh)
        if account.registers_wh and account.registers_wh != wanted_wh:
            raise Violation(
                "money",
                f"record {one.seq} exchanges a meter charged to {account.registers_wh}, "
                f"it was taken down at {wanted_wh}",
            )
        self._first_wh[one.index] = self.read_by(account, first_wh)

    def apply_tariff(self, accounts: Mapping[int, Account], one: Record) -> None:
        """Apply that a tariff is in force, by which its accounts are charged from here on."""
        number, name = one.fields["number"], one.fields["sha256"].lower()
        tariff = self._terms.images.get((number, name))
        if tariff is None:
            raise Violation("money", f"record {one.seq} puts in force what was not sent: {one}")
        self._terms.tariffs[number] = tariff
        for account in accounts.values():
            if account.tariff == number:
                account.change_tariff(tariff)

    def apply_reading(self, account: Account, one: Record) -> None:
        """Check a reading and its charge."""
        fields = one.fields
        registers_wh = fields["registers_wh"][: self._terms.registers(account.tariff)]
        if account.stopped:
            raise Violation("money", f"record {one.seq} charges a stopped account")
        if account.fresh:
            first_wh = self._first_wh.pop(one.index, registers_wh)
            if first_wh != registers_wh:
                # The power failed between the exchange and its first reading.
                self._counters["exchanges begun late"] += 1
            account.false_first = self._behind_wh(account, registers_wh) > _BEHIND_LIMIT_WH
        elif account.told:
            account.false_first = False
        elif account.false_first and abs(self._behind_wh(account, registers_wh)) < _SLACK_WH:
            raise Violation("money", f"record {one.seq} charges from a false first reading")
        elif account.correction is None:
            self._check_step(account, one, registers_wh)
        self._check_true(account, one, registers_wh)
        account.read(self._terms.tariffs[account.tariff], one, registers_wh)
        told_e11 = fields["debit_fen"] * FEN_E11 + fields["residue_e7"] * 10_000
        told_e11 += fields["residue_e11"]
        if (told_e11, fields["used_wh"]) != (account.debit_e11, account.used_wh):
            raise Violation(
                "money",
                f"record {one.seq} charges account {one.index} {told_e11} e-11 yuan in all, "
                f"{account.debit_e11} is right; tier period {fields['used_wh']} Wh, "
                f"{account.used_wh} is right",
            )

    def _behind_wh(self, account: Account, registers_wh: list[int]) -> int:
        """Return by how much registers are behind the display of the account's meter."""
        true_wh = self.read_by(account, self.display_wh(self.meters[account.address]))
        half_wh = REGISTER_MODULUS_WH // 2
        return sum(
            (true - new + half_wh) % REGISTER_MODULUS_WH - half_wh
            for true, new in zip(true_wh, registers_wh, strict=True)
        )

    def _check_step(self, account: Account, one: Record, registers_wh: list[int]) -> None:
        """Check that no more was counted than a meter can since the reading before."""
        elapsed_s = max(one.t2000 - account.read_t2000, _BACK_LIMIT_S)
        limit_wh = elapsed_s * _POWER_LIMIT_W // 3600 + _SLACK_WH
        for new, old in zip(registers_wh, account.registers_wh, strict=True):
            if (new - old) % REGISTER_MODULUS_WH > limit_wh:
                raise Violation("money", f"record {one.seq} charges from {old} to {new} Wh")
            if new < old:
                self._counters["registers rolled over"] += 1

    def _check_true(self, account: Account, one: Record, registers_wh: list[int]) -> None:
        """Check that no more was counted than the meter shows by now."""
        true_wh = self.shown_wh(account)
        ahead = [
            (true - new) % REGISTER_MODULUS_WH > _FORWARD_LIMIT_WH
            for true, new in zip(true_wh, registers_wh, strict=True)
        ]
        if any(ahead) and not account.meddled and not self.lies:
            raise Violation("money", f"record {one.seq} reads {registers_wh}, true {true_wh}")

    # --- doubts ----------------------------------------------------------------------------------

    def apply_fault(self, account: Account, one: Record) -> None:
        """Apply that readings are in doubt, that billing stops, or that it goes on."""
        fields = one.fields
        if fields["reason"] <= RESUMED_FROM:
            account.stopped = False
            account.told = fields["reason"] == RESUMED_FROM
            account.meddled &= not account.told
            return
        self._counters["doubts"] += 1
        ahead_s = fields["value"] - fields["limit"]
        stepped = not -_BACK_LIMIT_S <= ahead_s <= _AHEAD_LIMIT_S
        odd = account.meddled or self.lies
        blank = self.lies or self.blank[account.address] > 0
        too_much = odd or account.limited
        caused = {MISSING: blank, CLOCK_AHEAD: stepped, BACK: odd, TOO_MUCH: too_much, UNEVEN: odd}
        if not caused.get(fields["reason"], False):
            raise Violation("money", f"record {one.seq} doubts a meter that is right: {one}")
        if fields["stopped"]:
            account.stopped = True
            account.cut_due_us = -1

    def apply_correction(self, account: Account, one: Record) -> None:
        """Apply a correction: credit goes back, the reading behind it shows how much."""
        fields = one.fields
        self._counters["corrections"] += 1
        self._counters["fen corrected"] += fields["amount_fen"]
        if not account.meddled and not self.lies:
            raise Violation("money", f"record {one.seq} corrects what was right: {one}")
        account.credit_fen += fields["amount_fen"]
        account.corrected_fen += fields["amount_fen"]
        account.correction = one
        if fields["credit_fen"] != account.credit_fen:
            raise Violation("money", f"record {one.seq}: {account.credit_fen} is right, {one}")

    # --- money paid in ---------------------------------------------------------------------------

    def apply_top_up(self, account: Account, one: Record) -> None:
        """Check an order that was sold as the next one of its account."""
        amount_fen = self._apply_order(account, one, one.fields["amount_fen"])
        # The amount below zero is paid first.
        above_fen = max(0, amount_fen + min(0, account.balance_fen))
        account.credit_fen += amount_fen
        self._repay(account, one, above_fen)
        self._check_credit(account, one)

    def apply_refund(self, account: Account, one: Record) -> None:
        """Check an order below zero: no more than there is, and nothing of it to a debt."""
        account.credit_fen += self._apply_order(account, one, -one.fields["amount_fen"])
        self._check_credit(account, one)
        self._counters["fen refunded"] += one.fields["amount_fen"]
        left_e11 = account.credit_fen * FEN_E11 - account.debit_e11
        if left_e11 < 0 or account.stopped or one.fields["repaid_fen"]:
            raise Violation("money", f"record {one.seq} refunds what is not there: {one}")

    def _apply_order(self, account: Account, one: Record, amount_fen: int) -> int:
        """Return the amount of the order, which was sold for it and is the account's next."""
        fields = one.fields
        order = fields["order"]
        sold = self._sold.get((one.index, order))
        if sold is None or sold.amount_fen != amount_fen:
            raise Violation("once", f"record {one.seq} credits {fields}, sold was {sold}")
        if fields["source"] == _CREDIT_FROM_ABOVE:
            if fields["header_mac"].lower() not in sold.macs:
                raise Violation("once", f"record {one.seq} credits {fields}, not {sold}")
        elif fields["uid"] not in sold.uids:
            raise Violation("once", f"record {one.seq} credits card {fields['uid']}, not {sold}")
        if order != account.order + 1:
            raise Violation("once", f"record {one.seq} credits {order} after {account.order}")
        account.order = order
        return amount_fen

    def _check_credit(self, account: Account, one: Record) -> None:
        self.check_balance(account, one)
        if one.fields["credit_fen"] != account.credit_fen:
            raise Violation("money", f"record {one.seq}: {account.credit_fen} is right, {one}")

    def _repay(self, account: Account, one: Record, above_fen: int) -> None:
        """Check that a repayment is no more than the share and the rest of the week allow."""
        repaid_fen = one.fields["repaid_fen"]
        percent, cap_fen = self._terms["debt_percent"], self._terms["debt_week_limit_fen"]
        # Without a clock the last known week continues.
        week = one.t2000 // _WEEK_S or max(account.repaid_by_week, default=0)
        this_week_fen = account.repaid_by_week.get(week, 0) + repaid_fen
        if (
            100 * repaid_fen > percent * above_fen
            or repaid_fen > account.debt_fen
            or 0 < cap_fen < this_week_fen
        ):
            raise Violation(
                "money", f"record {one.seq} takes {repaid_fen} fen, {this_week_fen} this week"
            )
        left_fen = account.debt_fen - repaid_fen
        if left_fen and repaid_fen < percent * above_fen // 100 and not cap_fen:
            raise Violation("money", f"record {one.seq} takes {repaid_fen} fen of a debt only")
        account.repaid_by_week[week] = this_week_fen
        account.debt_fen = left_fen
        account.repaid_fen += repaid_fen
        self._counters["fen of debts repaid"] += repaid_fen

    def apply_terms(self, account: Account, one: Record) -> None:
        """Apply the terms of an account; its debt stays once something was paid in."""
        fields = one.fields
        if account.order and fields["debt_fen"] != account.debt_fen:
            raise Violation(
                "money", f"record {one.seq} sets a debt of {account.debt_fen} to {fields}"
            )
        if account.pricing is not None:
            account.pricing.change_household(fields["household"], to_datetime(one.t2000))
        account.household, account.grade = fields["household"], fields["grade"]
        account.multiplier = fields["multiplier"] or 1
        account.guard = bool(fields["guard"])
        account.debt_fen = fields["debt_fen"]
        account.limited = 0 < fields["power_limit_w"] < _POWER_LIMIT_W

    @staticmethod
    def check_balance(account: Account, one: Record) -> None:
        """Check the balance that a record tells."""
        if one.fields["balance_fen"] != account.balance_fen:
            raise Violation(
                "money",
                f"record {one.seq} says {one.fields['balance_fen']} fen, "
                f"{account.balance_fen} are right",
            )

    # --- the end ---------------------------------------------------------------------------------

    def finish(self, index: int, account: Account) -> None:
        """Check that all the meter has counted is charged, but what the last reading missed."""
        if not account.registers_wh:
            raise Violation("money", f"account {index} was never read")
        shown_wh = self.shown_wh(account)
        behind_wh = [
            (true - read) % REGISTER_MODULUS_WH
            for true, read in zip(shown_wh, account.registers_wh, strict=True)
        ]
        if any(wh > REGISTER_MODULUS_WH // 2 for wh in behind_wh):
            ahead_wh = [-wh % REGISTER_MODULUS_WH for wh in behind_wh]
            raise Violation("money", f"account {index} pays for {ahead_wh} Wh that nobody used")
        if any(wh > _BEHIND_LIMIT_WH for wh in behind_wh):
            raise Violation("money", f"account {index} is {behind_wh} Wh behind its meter")

    def finish_orders(self, accounts: Mapping[int, Account]) -> None:
        """Check that every order that was paid is credited."""
        for (index, number), order in self._sold.items():
            if accounts[index].order < number:
                raise Violation(
                    "once",
                    f"order {number} of account {index} was paid and never credited: {order}",
                )
