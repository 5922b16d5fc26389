"""Goal: for every state and every balance the relay does what the rules say, with the right
reason.

Method: each cell of (old state x balance) is written out by hand for a deduction, a top-up, a
changed parameter and an order; then each reason to hold a cut back, at the second it begins and
ends.
"""

from civil import day_number
from harness import check, equal, heap_locked
from prepay import policy as rules
from prepay.accounts import GUARD, STOPPED
from prepay.policy import (
    ALARM_1,
    ALARM_2,
    CUT,
    EMERGENCY,
    HELD,
    NORMAL,
    OVERLOAD,
    REMOTE,
    ZERO,
    Policy,
)

STATES = (NORMAL, ALARM_1, ALARM_2, ZERO, EMERGENCY, HELD, CUT, OVERLOAD, REMOTE)
LETTERS = "n12zehcor"  # one letter for each of the states above
# 2026-03-02 12:00, a Monday
NOON = day_number(26, 3, 2) * 86400 + 43200
# These are the reasons as prepay.policy numbers them.
R_LEVEL, R_WARNING, R_USED_UP, R_TOP_UP, R_RESUMED, R_EMERGENCY, R_OVERLOAD = range(1, 8)
R_LOAD_OVER, R_ORDER, R_DOUBT, R_GUARD, R_NOTICE, R_GRACE, R_NO_CUT_TIME = range(8, 15)
R_NO_CLOCK = 15

# These balances are at the edges of each level, with the parameters of `policy` below.
NORMAL_FEN = (2001, 99999999)
ALARM_1_FEN = (2000, 501)
ALARM_2_FEN = (500, 1)
ZERO_FEN = (0, -299)
CUT_FEN = (-300, -499)
EMPTY_FEN = (-500, -99999999)

# The old states are normal, alarm 1, alarm 2, zero, emergency, held, cut, overload, remote.
# Each cell has the new state and the relay's action: t trip, c close, - nothing.
DEDUCTION = (
    (NORMAL_FEN, "n- n- nc nc n- n- c- o- r-"),
    (ALARM_1_FEN, "1- 1- 1c 1c 1- 1- c- o- r-"),
    (ALARM_2_FEN, "2t 2t 2- 2c 2- 2- c- o- r-"),
    (ZERO_FEN, "zt zt zt z- e- z- c- o- r-"),
    (CUT_FEN, "ct ct ct ct e- ct c- o- r-"),
    (EMPTY_FEN, "ct ct ct ct ct ct c- o- r-"),
)
TOP_UP = (
    (NORMAL_FEN, "n- n- nc nc n- n- nc nc r-"),
    (ALARM_1_FEN, "1- 1- 1c 1c 1- 1- 1c 1c r-"),
    (ALARM_2_FEN, "2t 2t 2- 2c 2- 2- 2c 2c r-"),
    (ZERO_FEN, "zt zt zt z- e- z- c- o- r-"),
    (CUT_FEN, "ct ct ct ct e- ct c- o- r-"),
    (EMPTY_FEN, "ct ct ct ct ct ct c- o- r-"),
)
PARAMETERS = (
    (NORMAL_FEN, "n- n- nc nc n- n- nc o- r-"),
    (ALARM_1_FEN, "1- 1- 1c 1c 1- 1- 1c o- r-"),
    (ALARM_2_FEN, "2t 2t 2- 2c 2- 2- 2c o- r-"),
    (ZERO_FEN, "zt zt zt z- e- z- zc o- r-"),
    (CUT_FEN, "ct ct ct ct e- ct c- o- r-"),
    (EMPTY_FEN, "ct ct ct ct ct ct c- o- r-"),
)
ORDER_CLOSE = (
    (NORMAL_FEN, "n- n- nc nc n- n- nc nc nc"),
    (ALARM_1_FEN, "1- 1- 1c 1c 1- 1- 1c 1c 1c"),
    (ALARM_2_FEN, "n- 1- 2- 2c 2- 2- 2c 2c 2c"),
    (ZERO_FEN, "n- 1- 2- z- e- z- zc zc zc"),
    (CUT_FEN, "n- 1- 2- z- e- h- c- c- c-"),
    (EMPTY_FEN, "n- 1- 2- z- e- h- c- c- c-"),
)
ORDER_TRIP = (
    (NORMAL_FEN, "rt rt rt rt rt rt rt rt r-"),
    (EMPTY_FEN, "rt rt rt rt rt rt rt rt r-"),
)
CARD = (
    (NORMAL_FEN, "n- 1- 2c zc e- h- ec o- r-"),
    (CUT_FEN, "n- 1- 2c zc e- h- ec o- r-"),
    (EMPTY_FEN, "n- 1- 2c zc e- h- c- o- r-"),
)
# Under the guard, or with a doubtful reading, no relay opens; the states go on.
HELD_DEDUCTION = (
    (NORMAL_FEN, "n- n- nc nc n- n- c- o- r-"),
    (ALARM_1_FEN, "1- 1- 1c 1c 1- 1- c- o- r-"),
    (ALARM_2_FEN, "2- 2- 2- 2c 2- 2- c- o- r-"),
    (ZERO_FEN, "z- z- z- z- e- z- c- o- r-"),
    (CUT_FEN, "h- h- h- h- e- h- c- o- r-"),
    (EMPTY_FEN, "h- h- h- h- h- h- c- o- r-"),
)
HELD_ORDER_CLOSE = (
    (ALARM_2_FEN, "2- 2- 2- 2c 2- 2- 2c 2c 2c"),
    (CUT_FEN, "h- h- h- h- e- h- hc hc hc"),
)


def policy() -> Policy:
    """Return a policy with alarms at 20 and 5 yuan, overdraft 3, emergency credit 2."""
    one = Policy()
    one.alarm_1_fen = 2000
    one.alarm_2_fen = 500
    one.overdraft_fen = 300
    one.emergency_fen = 200
    equal(one.check(), "")
    return one


def parts(judged: int) -> "tuple[int, int, int]":
    """Return new state, intent and reason."""
    return judged & 0xFF, judged >> 8 & 0xFF, judged >> 16


def expect(table: "tuple[tuple[tuple[int, int], str], ...]", cause: int, flags: int = 0) -> None:
    """Check every cell of the table; only a change has a reason."""
    one = policy()
    for balances_fen, row in table:
        cells = row.split(" ")
        for state in STATES:
            new = LETTERS.index(cells[state][0])
            intent = "-tc".index(cells[state][1])
            for balance_fen in balances_fen:
                got = one.judge(state, balance_fen, cause, NOON, flags, 0, NOON)
                what = (rules.STATE_NAMES[state], balance_fen)
                equal(parts(got)[:2], (new, intent), what)
                equal(parts(got)[2] != 0, new != state or intent != 0, what)


def test_a_deduction() -> None:
    expect(DEDUCTION, rules.READING)


def test_a_refund_is_a_deduction_and_ends_no_cut() -> None:
    expect(DEDUCTION, rules.REFUND)


def test_a_top_up() -> None:
    expect(TOP_UP, rules.CREDITED)


def test_a_changed_parameter() -> None:
    expect(PARAMETERS, rules.PARAMETERS)


def test_orders() -> None:
    expect(ORDER_CLOSE, rules.ORDER_CLOSE)
    expect(ORDER_TRIP, rules.ORDER_TRIP)
    expect(ORDER_TRIP, rules.ORDER_TRIP, STOPPED)


def test_a_card_without_money() -> None:
    expect(CARD, rules.CARD)


def test_guard_and_doubt_keep_the_supply() -> None:
    for flags in (GUARD, STOPPED, GUARD | STOPPED):
        expect(HELD_DEDUCTION, rules.READING, flags)
        expect(HELD_DEDUCTION, rules.TIME, flags)
        expect(HELD_ORDER_CLOSE, rules.ORDER_CLOSE, flags)
    one = policy()
    for state in STATES:
        equal(one.judge(state, 5000, rules.ORDER_TRIP, NOON, GUARD), state)


def test_judging_again_changes_nothing() -> None:
    one = policy()
    for flags in (0, GUARD, STOPPED):
        for state in STATES:
            for balance_fen in (5000, 1000, 100, 0, -100, -400, -1000):
                for cause in (rules.READING, rules.CREDITED, rules.TIME, rules.PARAMETERS):
                    new = parts(one.judge(state, balance_fen, cause, NOON, flags, 0, NOON))[0]
                    again = parts(one.judge(new, balance_fen, cause, NOON, flags, 0, NOON))
                    equal(again, (new, 0, 0), (state, balance_fen, cause))


def test_judging_allocates_nothing() -> None:
    one = policy()
    with heap_locked():
        one.judge(NORMAL, 1000, rules.READING, 825000000, 0, 2, 825000000)
        one.judge(HELD, -1000, rules.TIME, 825000000, 0, 2, 825000000)
        one.judge(CUT, 100, rules.CREDITED, 825000000)


def test_reasons() -> None:
    one = policy()
    for state, balance_fen, cause, reason in (
        (NORMAL, 1000, rules.READING, R_LEVEL),
        (ALARM_1, 100, rules.READING, R_WARNING),
        (ALARM_2, 0, rules.READING, R_WARNING),
        (ZERO, -300, rules.READING, R_USED_UP),
        (CUT, 3000, rules.CREDITED, R_TOP_UP),
        (ALARM_2, 100, rules.CARD, R_RESUMED),
        (CUT, -400, rules.CARD, R_EMERGENCY),
        (NORMAL, 3000, rules.ORDER_TRIP, R_ORDER),
        (REMOTE, 3000, rules.ORDER_CLOSE, R_ORDER),
    ):
        equal(parts(one.judge(state, balance_fen, cause, NOON))[2], reason, state)
    equal(len(rules.STATE_NAMES), len(STATES))


def test_the_plain_policy_trips_at_zero() -> None:
    one = Policy()
    equal(parts(one.judge(NORMAL, 1000, rules.READING, NOON))[:2], (ALARM_1, rules.NONE))
    equal(parts(one.judge(ALARM_1, 1, rules.READING, NOON))[:2], (ALARM_1, rules.NONE))
    equal(parts(one.judge(ALARM_1, 0, rules.READING, NOON))[:2], (CUT, rules.TRIP))
    equal(parts(one.judge(CUT, 0, rules.CREDITED, NOON))[:2], (CUT, rules.NONE))
    equal(parts(one.judge(CUT, 1, rules.CREDITED, NOON))[:2], (ALARM_1, rules.CLOSE))
    one.alarm_1_fen = 0
    equal(parts(one.judge(NORMAL, 1, rules.READING, NOON))[:2], (NORMAL, rules.NONE))


def test_only_alarm_2() -> None:
    one = Policy()
    one.alarm_1_fen = 0
    one.alarm_2_fen = 500
    equal(one.check(), "")
    equal(parts(one.judge(NORMAL, 501, rules.READING, NOON))[:2], (NORMAL, rules.NONE))
    equal(parts(one.judge(NORMAL, 500, rules.READING, NOON))[:2], (ALARM_2, rules.TRIP))


def test_closing_needs_more_than_the_threshold() -> None:
    one = policy()
    one.close_fen = 1000
    equal(parts(one.judge(CUT, 1000, rules.CREDITED, NOON))[:2], (CUT, rules.NONE))
    equal(parts(one.judge(CUT, 1001, rules.CREDITED, NOON))[:2], (ALARM_1, rules.CLOSE))
    equal(parts(one.judge(CUT, 1, rules.PARAMETERS, NOON))[:2], (ALARM_2, rules.CLOSE))


def test_permission_instead_of_closing() -> None:
    one = policy()
    one.permit_only = 1
    equal(parts(one.judge(CUT, 3000, rules.CREDITED, NOON))[:2], (NORMAL, rules.PERMIT))
    equal(parts(one.judge(ALARM_2, 100, rules.CARD, NOON))[:2], (ALARM_2, rules.CLOSE))


def cut_at(one: Policy, t2000: int, state: int = ALARM_1, since: int = 0, grade: int = 0) -> int:
    """Return the reason why a cut due at `t2000` is held back, 0 when it is made."""
    new, intent, reason = parts(
        one.judge(state, -5000, rules.TIME, t2000, 0, grade, since or t2000)
    )
    if new == CUT:
        equal(intent, rules.TRIP)
        return 0
    equal((new, intent), (HELD, rules.NONE))
    return reason


def test_hours_without_cuts() -> None:
    one = policy()
    one.no_cut_from_hour = 20
    one.no_cut_to_hour = 8
    day = NOON - 43200
    for second, reason in ((0, 14), (28799, 14), (28800, 0), (71999, 0), (72000, 14), (86399, 14)):
        equal(cut_at(one, day + second), reason, second)
    one.no_cut_to_hour = 0
    for second, reason in ((0, 0), (71999, 0), (72000, 14), (86399, 14)):
        equal(cut_at(one, day + second), reason, second)
    one.no_cut_to_hour = 20
    equal(cut_at(one, day + 72000), 0)


def test_days_without_cuts() -> None:
    one = policy()
    one.no_cut_weekdays = 0x41
    for day, reason in ((28, 14), (29, 14), (30, 0)):
        equal(cut_at(one, day_number(26, 3, day) * 86400 + 43200), reason, day)
    one.no_cut_weekdays = 0
    one.no_cut_from_mmdd = 1115
    one.no_cut_to_mmdd = 315
    for month, day, reason in ((11, 14, 0), (11, 15, 14), (1, 1, 14), (3, 15, 14), (3, 16, 0)):
        equal(cut_at(one, day_number(26, month, day) * 86400), reason, (month, day))
    one.no_cut_from_mmdd = one.no_cut_to_mmdd = 0
    one.no_cut_until_yymmdd = 260302
    equal(cut_at(one, NOON), R_NO_CUT_TIME)
    equal(cut_at(one, NOON + 43199), R_NO_CUT_TIME)
    equal(cut_at(one, NOON + 43200), 0)


def test_a_cut_held_back_is_made_when_its_time_comes() -> None:
    one = policy()
    one.no_cut_to_hour = 13
    equal(cut_at(one, NOON), R_NO_CUT_TIME)
    equal(parts(one.judge(HELD, -5000, rules.TIME, NOON + 3599, 0, 0, NOON)), (HELD, 0, 0))
    judged = one.judge(HELD, -5000, rules.TIME, NOON + 3600, 0, 0, NOON)
    equal(parts(judged), (CUT, rules.TRIP, R_USED_UP))
    equal(parts(one.judge(HELD, 1, rules.CREDITED, NOON + 9, 0, 0, NOON))[:2], (ALARM_2, 0))


def test_the_final_notice() -> None:
    one = policy()
    one.notice_minutes = 30
    equal(cut_at(one, NOON), R_NOTICE)
    equal(parts(one.judge(HELD, -5000, rules.READING, NOON + 1799, 0, 0, NOON)), (HELD, 0, 0))
    equal(cut_at(one, NOON + 1800, HELD, NOON), 0)
    # Another cut has another notice.
    equal(cut_at(one, NOON + 1800, ALARM_2, NOON - 86400), R_NOTICE)


def test_grace_of_the_good_payers() -> None:
    one = policy()
    one.grace_1_hours = 24
    one.grace_2_hours = 72
    one.grace_3_fen = 5000
    for grade, hours in ((1, 24), (2, 72)):
        equal(cut_at(one, NOON, ALARM_1, 0, grade), R_GRACE)
        judged = one.judge(HELD, -5000, rules.TIME, NOON + hours * 3600 - 1, 0, grade, NOON)
        equal(parts(judged), (HELD, 0, 0))
        equal(cut_at(one, NOON + hours * 3600, HELD, NOON, grade), 0)
    for grade in (3, 4, 255):
        equal(parts(one.judge(ZERO, -5299, rules.READING, NOON, 0, grade))[0], ZERO)
        equal(parts(one.judge(ZERO, -5300, rules.READING, NOON, 0, grade))[0], CUT)
    equal(cut_at(one, NOON), 0)


def test_without_a_clock_nothing_is_cut() -> None:
    equal(cut_at(policy(), -1), R_NO_CLOCK)


def test_emergency_credit_is_asked_for_and_repaid_first() -> None:
    one = policy()
    judged = one.judge(CUT, -300, rules.CARD, NOON)
    equal(parts(judged), (EMERGENCY, rules.CLOSE, R_EMERGENCY))
    equal(parts(one.judge(EMERGENCY, -499, rules.READING, NOON)), (EMERGENCY, 0, 0))
    equal(parts(one.judge(EMERGENCY, -500, rules.READING, NOON))[:2], (CUT, rules.TRIP))
    equal(parts(one.judge(CUT, -500, rules.CARD, NOON)), (CUT, 0, 0))
    # A top-up that does not cover it leaves it in use; one that does ends it.
    equal(parts(one.judge(EMERGENCY, -10, rules.CREDITED, NOON))[0], EMERGENCY)
    equal(parts(one.judge(EMERGENCY, 10, rules.CREDITED, NOON))[0], ALARM_2)
    one.emergency_fen = 0
    equal(parts(one.judge(CUT, -300, rules.CARD, NOON)), (CUT, 0, 0))


def test_the_load_limit() -> None:
    one = policy()
    one.load_limit_w = 1000
    one.load_wait_s = 300
    for state in STATES:
        new = parts(one.judge(state, -100, rules.READING, NOON, 0, 0, NOON, 1001))[0]
        equal(new == OVERLOAD, state in (ZERO, EMERGENCY, HELD, OVERLOAD), state)
        new = parts(one.judge(state, -100, rules.READING, NOON, 0, 0, NOON, 1000))[0]
        equal(new == OVERLOAD, state == OVERLOAD, state)
    judged = one.judge(ZERO, -100, rules.READING, NOON, 0, 0, NOON, 1001)
    equal(parts(judged), (OVERLOAD, rules.TRIP, R_OVERLOAD))
    equal(parts(one.judge(ZERO, -100, rules.READING, NOON, GUARD, 0, NOON, 1001)), (ZERO, 0, 0))
    for cause in (rules.TIME, rules.READING):
        equal(parts(one.judge(OVERLOAD, -100, cause, NOON + 299, 0, 0, NOON)), (OVERLOAD, 0, 0))
    judged = one.judge(OVERLOAD, -100, rules.TIME, NOON + 300, 0, 0, NOON)
    equal(parts(judged), (ZERO, rules.CLOSE, R_LOAD_OVER))
    judged = one.judge(OVERLOAD, -5000, rules.TIME, NOON + 300, 0, 0, NOON)
    equal(parts(judged)[:2], (CUT, rules.NONE))


def test_debt_is_repaid_from_top_ups() -> None:
    one = policy()
    equal(one.repaid_fen(5000, 10000, 0), 0)
    one.debt_percent = 20
    equal(one.repaid_fen(5001, 10000, 0), 1000)
    equal(one.repaid_fen(5001, 300, 0), 300)
    one.debt_week_limit_fen = 1200
    equal(one.repaid_fen(5000, 10000, 500), 700)
    equal(one.repaid_fen(5000, 10000, 1200), 0)
    equal(one.repaid_fen(5000, 10000, 9999), 0)


def test_parameters_that_make_no_sense_are_refused() -> None:
    equal(Policy().check(), "")
    for name, value, trouble in (
        ("alarm_1_fen", 500, "alarm_1_fen must be above alarm_2_fen, or alarm 1 never comes"),
        ("alarm_1_fen", 499, "alarm_1_fen must be above alarm_2_fen, or alarm 1 never comes"),
        ("overdraft_fen", -1, "overdraft_fen is below 0"),
        ("no_cut_from_hour", 24, "an hour is 0 to 23"),
        ("no_cut_weekdays", 127, "no_cut_weekdays leaves no day to cut"),
        ("no_cut_weekdays", 128, "no_cut_weekdays has 7 bits"),
        ("no_cut_from_mmdd", 101, "no_cut_from_mmdd and no_cut_to_mmdd go together"),
        ("no_cut_until_yymmdd", 261301, "there is no date 1301"),
        ("permit_only", 2, "permit_only is 0 or 1"),
        ("debt_percent", 91, "debt_percent is at most 90: a top-up must restore the supply"),
    ):
        one = policy()
        check(name in one.names())
        setattr(one, name, value)
        equal(one.check(), trouble)
