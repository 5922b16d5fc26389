"""Make findings of what a day's readings, voltages, outages and clues show, once each.

A finding names the record behind it, so that whoever opens it comes to what the meter told. One
that is open already for an account is not opened again; a person closes it, or a ticket does.
"""

import json
import time
from typing import Any

from host.headend import audit
from host.headend.clues import DROP, clues, evidence_text
from host.headend.desk import at_desk
from host.headend.outages import outages
from host.headend.places import date_of
from host.headend.quality import LOW, RULES, SUSPECT, suspects
from host.headend.store import Store
from host.headend.voltage import low_list, samples
from host.units import DAY_S, to_datetime
from host.words import marked

QUALITY, VOLTAGE, OUTAGE = marked("quality"), marked("voltage"), marked("outage")
CLUE = marked("clue")
# A clue becomes work from this score on; its evidence is that of a week.
_CLUE_SCORE, _CLUE_DAYS = 60, 7
_CLUE = marked("account {account}, {day}: clue of {score} points: {why}")
_SUSPECT = marked("account {account}, {day}: {rule}")
_TOO_LOW = marked(
    "account {account}, {day}: voltage down to {volts} V, {low} of {samples} samples"
)
_OUT = marked("outage of {households} households from {begin} to {end}, {how}")
_STILL_OUT = marked("outage of {households} households since {begin}, {how}")
_COLUMNS = ("concentrator", "seq", "kind", "account", "what", "found_at")
_OPEN = "SELECT what FROM findings WHERE kind = ? AND resolved_at IS NULL"
Row = tuple[int, int, str, str, dict[str, Any]]


def note_day(store: Store, day: int, by: str) -> int:
    """Open findings of a day; return how many are new.

    They are looked for here and opened at the desk: it is free for others meanwhile.
    """
    rows = [*_of_readings(store, day), *_of_voltage(store, day), *_of_outages(store, day)]
    rows += _of_clues(store, day)
    return open_findings(store, rows, day, by)


@at_desk
def open_findings(store: Store, rows: list[Row], day: int, by: str) -> int:
    """Open those findings of a day that are not open yet; return how many."""
    known: set[tuple[Any, ...]] = set()
    new = []
    with store.writing() as database:
        for kind in (QUALITY, VOLTAGE, OUTAGE, CLUE):
            known |= {_key(kind, json.loads(what)) for (what,) in database.all(_OPEN, (kind,))}
        for concentrator, seq, kind, account, what in rows:
            key = _key(kind, what)
            if key not in known:
                known.add(key)
                told = json.dumps(what, ensure_ascii=False)
                new.append((concentrator, seq, kind, account, told, int(time.time())))
        count = database.insert_new("findings", _COLUMNS, new) if new else 0
        audit.note(database, "finding", count=count, day=date_of(day), by=by)
    return count


def noted_last(store: Store) -> str:
    """Return the day, as YYYY-MM-DD, of which findings were opened last, "": of none yet."""
    detail = store.value(
        "SELECT detail FROM audit WHERE action = 'finding' AND detail LIKE ? "
        "ORDER BY number DESC LIMIT 1",
        ('%"count": %',),  # a finding that was resolved has none
    )
    return str(json.loads(detail)["day"]) if detail else ""


def _key(kind: str, what: dict[str, Any]) -> tuple[Any, ...]:
    """Return what makes two findings one: the same rule of an account, or the same outage."""
    return kind, what.get("account", ""), what.get("rule", ""), what.get("begin", "")


def _of_readings(store: Store, day: int) -> list[Row]:
    rows: list[Row] = []
    for one in suspects(store, day):
        account = one.place.account
        for mark in one.marks:
            # Who uses far less is on a journey more often than in trouble: a list is enough.
            if mark.state == SUSPECT and mark.rule != LOW:
                what = {"text": _SUSPECT, "account": account, "day": date_of(day)}
                what["rule"] = RULES[mark.rule]
                rows.append((one.concentrator, one.seq, QUALITY, account, what))
    return rows


def _of_voltage(store: Store, day: int) -> list[Row]:
    rows: list[Row] = []
    for one in low_list(store, samples(store, (day,)), loads=0):
        account, low = one.place.account, min(one.lowest.volts_dv)
        what: dict[str, Any] = {"text": _TOO_LOW, "account": account, "day": date_of(day)}
        what |= {"volts": f"{low // 10}.{low % 10}", "low": one.low, "samples": one.samples}
        rows.append((one.lowest.concentrator, one.lowest.seq, VOLTAGE, account, what))
    return rows


def _of_outages(store: Store, day: int) -> list[Row]:
    rows: list[Row] = []
    for one in outages(store, day * DAY_S, (day + 1) * DAY_S):
        first = one.spans[0]
        households = len({span.place.account for span in one.spans})
        what: dict[str, Any] = {"text": _STILL_OUT if one.end is None else _OUT}
        what |= {"households": households, "begin": str(to_datetime(one.begin)), "how": one.how}
        what |= {} if one.end is None else {"end": str(to_datetime(one.end))}
        rows.append((first.concentrator, first.seq, OUTAGE, "", what))
    return rows


def _of_clues(store: Store, day: int) -> list[Row]:
    """Return the clues that say enough, with the energy of a day that is not counted any more."""
    rows: list[Row] = []
    for one in clues(store, day + 1 - _CLUE_DAYS, day + 1):
        if one.score < _CLUE_SCORE:
            break
        best = max(one.evidence, key=lambda told: (told.seq is not None, told.strength))
        lost_wh = max((e.limit - e.value for e in one.evidence if e.kind == DROP), default=0)
        why = "; ".join(evidence_text(told) for told in one.evidence[:3])
        what: dict[str, Any] = {"text": _CLUE, "account": one.account, "day": date_of(day)}
        what |= {"score": one.score, "why": why, "lost_wh": lost_wh}
        rows.append((best.concentrator or 0, best.seq or 0, CLUE, one.account, what))
    return rows
