"""What concentrators report that a person has to look at: doubts, relays, cards and clocks.

A finding of a doubt or of a relay is closed when the concentrator says that it is over. All others
stay open until a person closes them.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from host.frames.card_results import ACCEPTED
from host.frames.faults import RESUMED_FROM
from host.frames.record import RecordKind
from host.headend.database import Database
from host.headend.unpack import Taken
from host.units import to_datetime
from host.words import marked

DOUBT, RELAY, CARD, CLOCK = "doubt", "relay", "card", "clock"
# A clock that was set by less has not stepped.
STEP_S = 60
_STAGE_INTENT, _STAGE_CONFIRMED, _STAGE_FAILED = 1, 2, 3  # of RELAY
_FOUND_OTHERWISE = 16  # a reason of RELAY
_CLOCK_WRONG = 3  # a state of LINE
BILLING_GOES_ON = marked("billing goes on")
AS_WANTED = marked("the relay is as it should be")
_TOLD_AGAIN = marked("told again")
Values = dict[str, int | str]


@dataclass(frozen=True, slots=True)
class Notice:
    """A finding to open, or with `text` "" those of its kind to close, `over` says why."""

    concentrator: int
    seq: int
    kind: str
    account: str
    text: str = ""
    values: Values | None = None
    over: str = ""


def noticed(concentrator: int, record: Taken, account: str) -> Notice | None:
    """Return what a record gives to look at; `account` "": it belongs to none that is known."""
    look = _LOOKS.get(record.kind)
    found = look(record.fields, account) if look is not None else None
    if found is None:
        return None
    kind, text, values = found
    if not text:
        over = {DOUBT: BILLING_GOES_ON, RELAY: AS_WANTED}[kind]
        return Notice(concentrator, record.seq, kind, account, over=over)
    told: Values = {"concentrator": concentrator, "account": account, **values}
    return Notice(concentrator, record.seq, kind, account, text, told)


READINGS_DOUBTED = marked(
    "account {account}: readings in doubt, {why}: nothing is charged meanwhile"
)
BILLING_STOPPED = marked(
    "account {account}: billing stopped, {why}: look at its meter, then `account resume`"
)
_Found = tuple[str, str, Values] | None


def _fault(fields: dict[str, Any], account: str) -> _Found:
    if not account:
        return None
    if fields["reason"] <= RESUMED_FROM:
        return DOUBT, "", {}
    text = BILLING_STOPPED if fields["stopped"] else READINGS_DOUBTED
    return DOUBT, text, {"reason": fields["reason"]}


def _relay(fields: dict[str, Any], account: str) -> _Found:
    if not account:
        return None
    if fields["stage"] == _STAGE_CONFIRMED:
        return RELAY, "", {}
    if fields["stage"] == _STAGE_FAILED:
        opening = marked("the relay of account {account} could not be opened")
        closing = marked("the relay of account {account} could not be closed")
        return RELAY, opening if fields["desired"] else closing, {}
    if fields["reason"] == _FOUND_OTHERWISE:
        return RELAY, FOUND_CLOSED if fields["desired"] else FOUND_OPEN, {}
    return None


FOUND_CLOSED = marked("the relay of account {account} is closed and should be open")
FOUND_OPEN = marked("the relay of account {account} is open and should be closed")


def _card(fields: dict[str, Any], account: str) -> _Found:
    code = fields["code"]
    if code in ACCEPTED:
        return None
    # The account that the card names may be of another concentrator.
    name = account or fields["account"]
    text = marked("card {uid} of account {account} was refused: {card}")
    return CARD, text, {"account": name, "uid": fields["uid"], "code": code}


def _clock(fields: dict[str, Any], account: str) -> _Found:
    old, new = fields["old_t2000"], fields["new_t2000"]
    if not old or abs(new - old) < STEP_S:
        return None
    text = marked("the clock of concentrator {concentrator} was set from {old} to {new}")
    return CLOCK, text, {"old": str(to_datetime(old)), "new": str(to_datetime(new))}


def _line(fields: dict[str, Any], account: str) -> _Found:
    if fields["state"] != _CLOCK_WRONG:
        return None
    text = marked("the clock of the meter of account {account} is wrong and cannot be set")
    return CLOCK, text, {}


_LOOKS: dict[int, Callable[[dict[str, Any], str], _Found]] = {
    RecordKind.FAULT: _fault,
    RecordKind.RELAY: _relay,
    RecordKind.CARD: _card,
    RecordKind.CLOCK: _clock,
    RecordKind.LINE: _line,
}
KINDS = frozenset(_LOOKS)
_ODD_TIMES = 2
_OPEN_ONE = (
    "SELECT 1 FROM findings WHERE kind = ? AND account = ? AND what = ? AND resolved_at IS NULL"
)
_CLOSE = (
    "UPDATE findings SET resolved_at = ?, resolved_by = ?, resolution = ? "
    "WHERE kind = ? AND account = ? AND resolved_at IS NULL"
)
_COLUMNS = ("concentrator", "seq", "kind", "account", "what", "found_at")
Odd = dict[str, int]


def odd_of(database: Database, concentrator: int) -> Odd:
    """Return the accounts whose relay has a finding that is open, see `Watch`."""
    query = (
        "SELECT account FROM findings WHERE kind = ? AND concentrator = ? AND resolved_at IS NULL"
    )
    return {name: _ODD_TIMES for (name,) in database.all(query, (RELAY, concentrator))}


class Watch:
    """What one commit has to open and close.

    odd   readings in a row that found an account's relay otherwise than it should be
    """

    def __init__(self, odd: Odd) -> None:
        self._odd = odd
        self._notices: list[Notice] = []

    def record(self, concentrator: int, record: Taken, account: str) -> None:
        """Look at a record; `account` "": it belongs to none that is known."""
        notice = noticed(concentrator, record, account)
        if notice is not None:
            self._notices.append(notice)

    def conflict(self, concentrator: int, seq: int) -> None:
        """Note that a record came which differs from the one that is stored."""
        text = marked("record {seq} differs from the one that is stored")
        values: Values = {"concentrator": concentrator, "seq": seq}
        self._notices.append(Notice(concentrator, seq, "conflict", "", text, values))

    def believed(self, concentrator: int, seq: int, account: str) -> None:
        """Note that the readings of an account are believed again."""
        self._notices.append(Notice(concentrator, seq, DOUBT, account, over=BILLING_GOES_ON))

    def relay(self, concentrator: int, seq: int, account: dict[str, Any]) -> None:
        """Look at what a reading says of a relay; a second one that is wrong is a finding."""
        name, odd, wanted = account["account"], self._odd, account["relay_wanted"]
        if account["relay"] == wanted:
            if odd.pop(name, 0) >= _ODD_TIMES:
                self._notices.append(Notice(concentrator, seq, RELAY, name, over=AS_WANTED))
            return
        if wanted and (account["guard"] or account["stopped"]):
            return
        odd[name] = odd.get(name, 0) + 1
        if odd[name] == _ODD_TIMES:
            text = FOUND_CLOSED if wanted else FOUND_OPEN
            values: Values = {"concentrator": concentrator, "account": name}
            self._notices.append(Notice(concentrator, seq, RELAY, name, text, values))

    def write(self, database: Database, now: int) -> None:
        """Open and close findings, in order. What is open already is not opened twice."""
        for one in self._notices:
            what = json.dumps({"text": one.text, **(one.values or {})}, ensure_ascii=False)
            same = database.value(_OPEN_ONE, (one.kind, one.account, what))
            if one.text and same is not None:
                continue
            if one.kind in (DOUBT, RELAY):
                by = f"concentrator {one.concentrator}"
                told = (now, by, one.over or _TOLD_AGAIN, one.kind, one.account)
                database.run(_CLOSE, told)
            if one.text:
                row = (one.concentrator, one.seq, one.kind, one.account, what, now)
                database.insert_new("findings", _COLUMNS, [row])
