"""Goal: an account passes the cases of a grid company's bench for card meters: alarms, overdraft,
guard, threshold and settlement. The bench's cases of cards are in the card tests.

Method: a ledger, a tariff and the policy together, as the concentrator joins them, with a relay
that does what the policy intends; one test for each case of the bench.
"""

from array import array

from civil import day_number
from harness import check, equal
from prepay import policy as rules
from prepay.accounts import GUARD
from prepay.ledger import CHARGED, Ledger
from prepay.policy import Policy
from prepay.tariff import Tariff
from tariff_images import ENDLESS, simple

# 2026-03-02 12:00
NOON = day_number(26, 3, 2) * 86400 + 43200


class Meter:
    """This account has a relay that follows the policy; one kilowatt-hour costs one yuan."""

    def __init__(self, prices_e8: "tuple[int, ...]" = (10**8,)) -> None:
        self.tariff: Tariff = simple((), prices_e8, ENDLESS)
        self.ledger = Ledger(1)
        self.policy = Policy()
        self.policy.alarm_1_fen = 2000
        self.policy.alarm_2_fen = 500
        self.is_open = False
        self.trips = 0
        self.t2000 = NOON
        self.registers_wh = array("i", [0] * self.tariff.registers)
        self.orders = 0
        self._read()

    def _read(self) -> int:
        outcome = self.ledger.prepare(0, self.tariff, self.registers_wh, self.t2000)
        self.ledger.commit(0)
        return outcome

    def use(self, wh: int, rate: int = 0) -> None:
        self.registers_wh[rate] += wh
        self.t2000 += 3600
        equal(self._read(), CHARGED)
        self.judge(rules.READING)

    def pay(self, fen: int) -> None:
        self.orders += 1
        self.ledger.top_up(0, self.orders, fen)
        self.judge(rules.CREDITED)

    def guard(self, held: bool) -> None:
        self.ledger.flags[0] = GUARD if held else 0
        self.judge(rules.PARAMETERS)

    def judge(self, cause: int) -> None:
        one = self.ledger
        judged = self.policy.judge(
            one.state[0],
            one.balance_fen(0),
            cause,
            self.t2000,
            one.flags[0],
            one.grade[0],
            one.since_t2000[0],
        )
        one.enter(0, judged & 0xFF, self.t2000)
        intent = judged >> 8 & 0xFF
        if intent == rules.TRIP:
            self.is_open = True
            self.trips += 1
        elif intent == rules.CLOSE:
            self.is_open = False

    @property
    def state(self) -> int:
        return self.ledger.state[0]


def test_below_alarm_1_warns_and_does_not_trip() -> None:
    meter = Meter()
    meter.pay(3000)
    meter.use(10000)
    equal((meter.state, meter.trips), (rules.ALARM_1, 0))


def test_below_alarm_2_trips_once_and_a_card_closes() -> None:
    meter = Meter()
    meter.pay(3000)
    meter.use(25000)
    equal((meter.state, meter.is_open, meter.trips), (rules.ALARM_2, True, 1))
    meter.judge(rules.CARD)
    check(not meter.is_open)
    meter.use(1000)
    equal((meter.is_open, meter.trips), (False, 1))


def test_below_alarm_2_under_guard_does_not_trip() -> None:
    meter = Meter()
    meter.pay(3000)
    meter.guard(True)
    meter.use(25000)
    equal((meter.state, meter.trips), (rules.ALARM_2, 0))


def test_a_top_up_above_the_alarms_closes() -> None:
    meter = Meter()
    meter.pay(3000)
    meter.use(25000)
    meter.pay(5000)
    equal((meter.state, meter.is_open), (rules.NORMAL, False))


def test_overdrawn_under_guard_keeps_the_supply_until_the_guard_ends() -> None:
    meter = Meter()
    meter.policy.overdraft_fen = 1000
    meter.pay(3000)
    meter.guard(True)
    meter.use(60000)
    equal((meter.state, meter.is_open), (rules.HELD, False))
    meter.guard(False)
    equal((meter.state, meter.is_open), (rules.CUT, True))


def test_the_overdraft_limit_trips() -> None:
    meter = Meter()
    meter.policy.overdraft_fen = 1000
    meter.pay(3000)
    meter.use(30000)
    equal(meter.state, rules.ZERO)
    meter.judge(rules.CARD)
    check(not meter.is_open)
    meter.use(9999)
    check(not meter.is_open)
    meter.use(1)
    equal((meter.state, meter.is_open), (rules.CUT, True))
    meter.judge(rules.CARD)
    check(meter.is_open, "a card without money does not end it")


def test_below_the_threshold_it_cannot_close_above_it_can() -> None:
    meter = Meter()
    meter.policy.close_fen = 3000
    meter.pay(1000)
    meter.use(10000)
    equal(meter.state, rules.CUT)
    meter.pay(3000)
    check(meter.is_open)
    meter.pay(1)
    equal((meter.state, meter.is_open), (rules.NORMAL, False))


def test_without_overdraft_zero_trips() -> None:
    meter = Meter()
    meter.pay(3000)
    meter.use(29999)
    equal(meter.state, rules.ALARM_2)
    meter.use(10)
    equal((meter.state, meter.is_open), (rules.CUT, True))


def test_a_remote_trip_needs_a_remote_close() -> None:
    meter = Meter()
    meter.pay(9000)
    meter.judge(rules.ORDER_TRIP)
    check(meter.is_open)
    meter.pay(9000)
    check(meter.is_open)
    meter.judge(rules.ORDER_CLOSE)
    equal((meter.state, meter.is_open), (rules.NORMAL, False))


def test_under_guard_a_remote_trip_does_nothing() -> None:
    meter = Meter()
    meter.pay(9000)
    meter.guard(True)
    meter.judge(rules.ORDER_TRIP)
    equal((meter.state, meter.is_open), (rules.NORMAL, False))


def test_settlement_counts_energy_times_ratio_times_price() -> None:
    for ratio in (1, 5, 40, 1000):
        meter = Meter((58886875,))
        meter.ledger.describe(0, 0, 0, ratio)
        meter.use(1230)
        one = meter.ledger
        charged_e7 = one.debit_fen[0] * 100000 + one.residue_e7[0]
        equal(charged_e7 * 10000 + one.residue_e11[0], 1230 * ratio * 58886875)


def test_settlement_of_four_rates() -> None:
    prices = (99500875, 58886875, 22914475, 129500875)
    meter = Meter(prices)
    expected = 0
    for rate in range(4):
        meter.use(1000 + 70 * rate, rate)
        expected += (1000 + 70 * rate) * prices[rate]
    one = meter.ledger
    charged_e7 = one.debit_fen[0] * 100000 + one.residue_e7[0]
    equal(charged_e7 * 10000 + one.residue_e11[0], expected)


def test_emergency_credit_is_given_once_and_repaid_by_the_next_top_up() -> None:
    meter = Meter()
    meter.policy.emergency_fen = 1000
    meter.pay(1000)
    meter.use(10000)
    check(meter.is_open)
    meter.judge(rules.CARD)
    equal((meter.state, meter.is_open), (rules.EMERGENCY, False))
    meter.use(10000)
    equal((meter.state, meter.is_open), (rules.CUT, True))
    meter.judge(rules.CARD)
    check(meter.is_open)
    meter.pay(3000)
    equal((meter.state, meter.is_open, meter.ledger.balance_fen(0)), (rules.ALARM_1, False, 2000))
