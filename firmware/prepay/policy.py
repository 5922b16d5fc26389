"""Decide about the supply from the balance: a table of states, with a reason for each step.

A trip that is due is held back while something forbids it: the guard (保电), a doubtful reading,
the final notice, the grace of a good payer, and hours and days without cuts. It is judged again
with every reading and from time to time.

Spec: docs/PREPAYMENT.md; DL/T 645-2007 04001001 to 04001005, function 1CH.
"""

from civil import DAY_S, mmdd_of, weekday_of, year_of
from micropython import const

from prepay.accounts import GUARD, STOPPED

NORMAL = const(0)
ALARM_1 = const(1)
ALARM_2 = const(2)
ZERO = const(3)  # the account uses its overdraft
EMERGENCY = const(4)  # the account uses emergency credit, which the user asked for
HELD = const(5)  # the cut is due and held back
CUT = const(6)
OVERLOAD = const(7)  # cut for a while, because of too much power on credit
REMOTE = const(8)  # cut by order
STATE_NAMES = (
    "normal",
    "alarm 1",
    "alarm 2",
    "overdraft",
    "emergency credit",
    "cut held back",
    "cut",
    "overload",
    "remote trip",
)

# Causes of a judgement.
READING = const(1)
CREDITED = const(2)
CARD = const(3)  # a card without money, or the button
TIME = const(4)
PARAMETERS = const(5)
ORDER_TRIP = const(6)
ORDER_CLOSE = const(7)
REFUND = const(8)

# Intents for the relay.
NONE = const(0)
TRIP = const(1)
CLOSE = const(2)
PERMIT = const(3)  # the user closes by the button

# Reasons; POLICY and RELAY records have them too.
_R_LEVEL = const(1)
_R_WARNING = const(2)
_R_USED_UP = const(3)
R_TOP_UP = const(4)
_R_RESUMED = const(5)
_R_EMERGENCY = const(6)
_R_OVERLOAD = const(7)
_R_LOAD_OVER = const(8)
_R_ORDER = const(9)
_R_DOUBT = const(10)
_R_GUARD = const(11)
_R_NOTICE = const(12)
_R_GRACE = const(13)
_R_NO_CUT_TIME = const(14)
_R_NO_CLOCK = const(15)
R_MISMATCH = const(16)  # the relay was found in another position than it was left

# The move from each state (column, in the order above) at a level of the balance (row):
# "." enter the level's state   k keep the state   w enter with a warning trip   c enter and close
# t trip, or hold the trip back   o stay open as CUT, or close if the trip would be held back
_MOVES = (
    b"..cc..ccc",  # NORMAL
    b"..cc..ccc",  # ALARM_1
    b"ww.c..ccc",  # ALARM_2
    b"www.k.ccc",  # ZERO
    b"ttttttooo",  # CUT
)
# `no_cut_weekdays` of a week without cuts, which `check` refuses.
ALL_WEEKDAYS = const(127)

_CREDITS = ("overdraft_fen", "grace_1_fen", "grace_2_fen", "grace_3_fen")
_LEVELS = (NORMAL, ALARM_1, ALARM_2, ZERO, CUT)
_CUT_LEVEL = const(4)
_KEEP = const(0x6B)
_WARN = const(0x77)
_CLOSE = const(0x63)
_TRIP = const(0x74)
_OPEN = const(0x6F)


class Policy:
    """The parameters of the policy, whole numbers; `check` finds contradictions.

    An amount of 0 turns its function off.
    """

    def __init__(self) -> None:
        self.alarm_1_fen = 1000
        self.alarm_2_fen = 0
        self.overdraft_fen = 0
        self.emergency_fen = 0
        # To leave CUT by a top-up the balance must be above this.
        self.close_fen = 0
        # 1: after a cut the user closes by the button.
        self.permit_only = 0
        self.notice_minutes = 0
        # The same hour in both: no hours without cuts.
        self.no_cut_from_hour = 0
        self.no_cut_to_hour = 0
        # Bit 0 is Sunday.
        self.no_cut_weekdays = 0
        # Both days are included, 1103 is November 3rd; the span may include the new year.
        self.no_cut_from_mmdd = 0
        self.no_cut_to_mmdd = 0
        # The day is included, 260131 is 2026-01-31: a heat wave, a holiday.
        self.no_cut_until_yymmdd = 0
        self.grace_1_hours = 0
        self.grace_1_fen = 0
        self.grace_2_hours = 0
        self.grace_2_fen = 0
        self.grace_3_hours = 0
        self.grace_3_fen = 0
        self.load_limit_w = 0
        self.load_wait_s = 300
        self.debt_percent = 0
        self.debt_week_limit_fen = 0

    def names(self) -> "list[str]":
        """Return the names of all parameters, sorted."""
        return sorted(self.__dict__)

    def check(self) -> str:
        """Return which parameter is wrong and why, or ""."""
        for name in self.names():
            if getattr(self, name) < 0:
                return name + " is below 0"
        if 0 < self.alarm_1_fen <= self.alarm_2_fen:
            return "alarm_1_fen must be above alarm_2_fen, or alarm 1 never comes"
        if self.no_cut_from_hour > 23 or self.no_cut_to_hour > 23:
            return "an hour is 0 to 23"
        if self.no_cut_weekdays > ALL_WEEKDAYS:
            return "no_cut_weekdays has 7 bits"
        if self.no_cut_weekdays == ALL_WEEKDAYS:
            return "no_cut_weekdays leaves no day to cut"
        if (self.no_cut_from_mmdd == 0) != (self.no_cut_to_mmdd == 0):
            return "no_cut_from_mmdd and no_cut_to_mmdd go together"
        for mmdd in (self.no_cut_from_mmdd, self.no_cut_to_mmdd, self.no_cut_until_yymmdd % 10000):
            if mmdd and not (1 <= mmdd // 100 <= 12 and 1 <= mmdd % 100 <= 31):
                return "there is no date " + str(mmdd)
        if self.permit_only > 1:
            return "permit_only is 0 or 1"
        if self.debt_percent > 90:
            return "debt_percent is at most 90: a top-up must restore the supply"
        return ""

    def cause_of_change(self, old: "Policy") -> int:
        """Return the cause with which to judge all accounts after `old`, 0: nothing has changed.

        PARAMETERS only after a change of credit: after other changes, an account that is cut
        remains so until its next top-up.
        """
        cause = 0
        for name in self.names():
            if getattr(self, name) != getattr(old, name):
                cause = max(cause, PARAMETERS if name in _CREDITS else TIME)
        return cause

    def judge(
        self,
        state: int,
        balance_fen: int,
        cause: int,
        t2000: int,
        flags: int = 0,
        grade: int = 0,
        since_t2000: int = 0,
        power_w: int = 0,
    ) -> int:
        """Return new state | intent << 8 | reason << 16; reason 0: nothing changes.

        `flags`, `grade` and `since_t2000` are those of the ledger, `power_w` is the mean power
        since the last reading. Judging the same cause a second time changes nothing.
        """
        if cause == ORDER_TRIP:
            if state == REMOTE or flags & GUARD:
                return state
            return REMOTE | TRIP << 8 | _R_ORDER << 16
        if cause == CARD:
            return self._card(state, balance_fen, grade)
        level = self._level(state, balance_fen, grade)
        if state == level < ZERO:
            return state
        if self._overloads(state, power_w) and not flags & (GUARD | STOPPED):
            return OVERLOAD | TRIP << 8 | _R_OVERLOAD << 16
        if not self._may_leave(state, level, balance_fen, cause, t2000, since_t2000):
            return state
        move = _MOVES[level][state]
        reason = 0
        if move in (_WARN, _TRIP, _OPEN):
            reason = self._reason_to_hold(state, t2000, flags, grade, since_t2000)
        return self._move(state, level, move, cause, reason)

    def _level(self, state: int, balance_fen: int, grade: int) -> int:
        """Return the level of the balance: the row of the table."""
        if balance_fen > 0:
            if balance_fen <= self.alarm_2_fen:
                return ALARM_2
            return ALARM_1 if balance_fen <= self.alarm_1_fen else NORMAL
        credit_fen = self.overdraft_fen + self._grace_fen(grade)
        if state == EMERGENCY:
            credit_fen += self.emergency_fen
        return ZERO if -balance_fen < credit_fen else _CUT_LEVEL

    def _move(self, state: int, level: int, move: int, cause: int, reason: int) -> int:
        """Return the result of `move`; `reason` is why a trip is held back, 0: it is not."""
        new = _LEVELS[level]
        intent = NONE
        why = R_TOP_UP if cause == CREDITED else _R_LEVEL
        if move == _WARN and reason == 0:
            intent = TRIP
            why = _R_WARNING
        elif move == _CLOSE:
            intent = CLOSE
        elif move in (_TRIP, _OPEN):
            why = reason or _R_USED_UP
            if reason:
                new = HELD
                intent = CLOSE if move == _OPEN else NONE
            elif move == _TRIP:
                intent = TRIP
        if move == _KEEP or new == state:
            return state
        if cause == ORDER_CLOSE:
            if intent == TRIP:
                return state  # the next judgement cuts, an order to restore does not
            why = _R_ORDER
        elif state == OVERLOAD and cause == TIME:
            why = _R_LOAD_OVER
        if intent == CLOSE and self.permit_only:
            intent = PERMIT
        return new | intent << 8 | why << 16

    def _card(self, state: int, balance_fen: int, grade: int) -> int:
        """Return the result of a card without money: the user asks for supply."""
        if state in (ALARM_2, ZERO):
            return state | CLOSE << 8 | _R_RESUMED << 16
        credit_fen = self.overdraft_fen + self._grace_fen(grade) + self.emergency_fen
        if state == CUT and self.emergency_fen and -balance_fen < credit_fen:
            return EMERGENCY | CLOSE << 8 | _R_EMERGENCY << 16
        return state

    def _may_leave(
        self, state: int, level: int, balance_fen: int, cause: int, t2000: int, since_t2000: int
    ) -> bool:
        """Return whether `cause` can end a state without supply; true in all other states."""
        if state == CUT:
            if cause == CREDITED:
                return balance_fen > self.close_fen
            return cause == ORDER_CLOSE or (cause == PARAMETERS and level != _CUT_LEVEL)
        if state == OVERLOAD:
            if cause == CREDITED:
                return level < ZERO
            return cause == ORDER_CLOSE or (
                cause in (TIME, READING) and t2000 - since_t2000 >= self.load_wait_s
            )
        return state != REMOTE or cause == ORDER_CLOSE

    def _overloads(self, state: int, power_w: int) -> bool:
        return power_w > self.load_limit_w > 0 and state in (ZERO, EMERGENCY, HELD)

    def _grace_fen(self, grade: int) -> int:
        if grade < 2:
            return self.grace_1_fen if grade else 0
        return self.grace_2_fen if grade == 2 else self.grace_3_fen

    def _grace_hours(self, grade: int) -> int:
        if grade < 2:
            return self.grace_1_hours if grade else 0
        return self.grace_2_hours if grade == 2 else self.grace_3_hours

    def _reason_to_hold(
        self, state: int, t2000: int, flags: int, grade: int, since_t2000: int
    ) -> int:
        """Return the reason why no trip may happen now, 0: none."""
        if flags & STOPPED:
            return _R_DOUBT
        if flags & GUARD:
            return _R_GUARD
        if t2000 <= 0:
            return _R_NO_CLOCK
        due_s = t2000 - since_t2000 if state == HELD else 0
        if due_s < self.notice_minutes * 60:
            return _R_NOTICE
        if due_s < self._grace_hours(grade) * 3600:
            return _R_GRACE
        return _R_NO_CUT_TIME if self.no_cut_at(t2000) else 0

    def no_cut_at(self, t2000: int) -> bool:
        """Return whether no cut may happen in this hour or on this day."""
        hour = t2000 % DAY_S // 3600
        if self.no_cut_from_hour != self.no_cut_to_hour and _in_circle(
            hour, self.no_cut_from_hour, self.no_cut_to_hour - 1
        ):
            return True
        days = t2000 // DAY_S
        if self.no_cut_weekdays >> weekday_of(days) & 1:
            return True
        if self.no_cut_until_yymmdd == 0 and self.no_cut_from_mmdd == 0:
            return False
        year = year_of(days)
        mmdd = mmdd_of(year, days)
        if year * 10000 + mmdd <= self.no_cut_until_yymmdd:
            return True
        return self.no_cut_from_mmdd > 0 and _in_circle(
            mmdd, self.no_cut_from_mmdd, self.no_cut_to_mmdd
        )

    def repaid_fen(self, amount_fen: int, debt_fen: int, week_fen: int) -> int:
        """Return the part of a top-up that repays debt, after `week_fen` repaid this week."""
        repaid_fen = min(debt_fen, amount_fen * self.debt_percent // 100)
        if self.debt_week_limit_fen:
            repaid_fen = min(repaid_fen, max(0, self.debt_week_limit_fen - week_fen))
        return repaid_fen


def _in_circle(value: int, first: int, last: int) -> bool:
    """Return whether `value` is in first..last, both included, which may go past the end."""
    if first <= last:
        return first <= value <= last
    return value >= first or value <= last
