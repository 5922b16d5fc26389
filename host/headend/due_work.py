"""Planned work: batches of devices that are due for verification or exchange, and its results.

A batch is a set of tickets, one for each device. Its work list goes out as a table; the same table
comes back with results, which are taken whole or not at all, close the tickets and move the
devices' dates. A meter is exchanged on its household's page, as its last register has to come into
the books: a result only says that it was done.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from host.headend import audit, tickets
from host.headend.alarms import NOT_MENDED
from host.headend.database import Database
from host.headend.desk import at_desk
from host.headend.errors import SalesError, StoreError
from host.headend.registry import EXCHANGE, VERIFICATION, due
from host.headend.store import Store
from host.headend.tickets import LATER, MENDED
from host.rows import digits, read_rows
from host.units import full_number
from host.words import _, marked

BATCH_NAME_LIMIT = 64
PASSED, FAILED, EXCHANGED = marked("passed"), marked("failed"), marked("exchanged")
_RESULTS = {VERIFICATION: (PASSED, FAILED), EXCHANGE: (EXCHANGED,)}
_CHINESE = {
    "工单": "ticket",
    "表号": "meter",
    "完成日期": "done_on",
    "结果": "result",
    "下次到期": "next_due",
    "备注": "note",
}
_CHINESE_RESULTS = {"合格": PASSED, "不合格": FAILED, "已更换": EXCHANGED}
_FILLED = ("done_on", "result", "next_due", "note")
SHOWN = ("ticket", "what", "meter", "account", "name", "place", "district", "type", "due")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which devices a batch is of: due by a day, of a district and a type, "": of all."""

    what: str
    until: date
    district: str = ""
    kind: str = ""
    most: int = 100


@dataclass(frozen=True, slots=True)
class Result:
    """A row that came back; `result` "": the work is not done yet. Days are YYYY-MM-DD."""

    ticket: int
    meter: str
    done_on: str = ""
    result: str = ""
    next_due: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """What a result does to a device: the day by which its work was due, and the next one."""

    ticket: int
    what: str
    meter: str
    result: str
    done_on: str
    due: str
    next_due: str


# --- batches -------------------------------------------------------------------------------------


@at_desk
def plan(store: Store, batch: str, wanted: Wanted, who: str, by: str) -> int:
    """Open a ticket for each device that is due and has none; return how many. StoreError."""
    if not batch.strip() or len(batch) > BATCH_NAME_LIMIT:
        raise StoreError(
            _("give the batch a name of at most {most} signs").format(most=BATCH_NAME_LIMIT)
        )
    found = [
        row
        for row in due(store, wanted.until, wanted.district, wanted.kind)
        if row["what"] == wanted.what
    ]
    zone = store.zone()
    today = f"{datetime.now(zone):%Y-%m-%d}"
    with store.writing() as database:
        has = {
            key
            for (key,) in database.all(
                'SELECT "key" FROM tickets WHERE kind = ? AND closed_at IS NULL', (wanted.what,)
            )
        }
        fresh = [row for row in found if row["meter"] not in has][: wanted.most]
        if not fresh:
            raise StoreError(_("nothing more is due by then: each device has its ticket"))
        for row in fresh:
            text = _("meter {meter}: {what} due on {day}")
            told = {"meter": row["meter"], "what": _(wanted.what), "day": row["due"]}
            alarm = {"kind": wanted.what, "key": row["meter"], "account": row["account"]}
            alarm |= {"concentrator": 0, "what": text.format(**told)}
            number = tickets.raise_within(database, alarm, LATER, who, by)
            at = _evening(zone, max(row["due"], today))
            database.run(
                "UPDATE tickets SET batch = ?, due_at = ? WHERE ticket = ?", (batch, at, number)
            )
        audit.note(database, "batch", batch=batch, what=wanted.what, count=len(fresh), by=by)
    return len(fresh)


def _evening(zone: ZoneInfo, day: str) -> int:
    return int(datetime.fromisoformat(f"{day} 18:00").replace(tzinfo=zone).timestamp())


def batches(store: Store) -> list[dict[str, Any]]:
    """Return the batches, the newest first: how much of each is open, and who does it."""
    return store.rows(
        "SELECT batch, kind, min(who) AS who, min(opened_at) AS opened_at, count(*) AS tickets, "
        "CAST(sum(CASE WHEN closed_at IS NULL THEN 1 ELSE 0 END) AS bigint) AS still_open "
        "FROM tickets WHERE batch <> '' GROUP BY batch, kind ORDER BY 4 DESC LIMIT 100"
    )


_WORK = """
    SELECT tickets.ticket, tickets.kind AS what, tickets."key" AS meter,
    coalesce(devices.account, '') AS account, coalesce(customers.name, '') AS name,
    tickets.place, coalesce(contracts.district, '') AS district,
    coalesce(devices.type, '') AS type, CASE WHEN tickets.kind = 'exchange'
    THEN devices.exchange_due ELSE devices.due END AS due
    FROM tickets LEFT JOIN devices ON devices.address = tickets."key"
    LEFT JOIN contracts ON contracts.account = devices.account AND contracts.closed_at IS NULL
    LEFT JOIN customers ON customers.customer = contracts.customer
    WHERE tickets.batch = ? AND tickets.closed_at IS NULL
    ORDER BY district, tickets.place, tickets.ticket
"""


def work_list(store: Store, batch: str) -> list[dict[str, Any]]:
    """Return the open work of a batch by place, with empty columns for its results."""
    rows = store.rows(_WORK, (batch,))
    return [{**row, "due": row["due"] or "", **dict.fromkeys(_FILLED, "")} for row in rows]


COLUMNS = (*SHOWN, *_FILLED)


# --- results -------------------------------------------------------------------------------------


def read(path: Path, called: str = "") -> dict[int, Result]:
    """Return results by line; RowsError names what is wrong."""
    key = (marked("ticket"), lambda one: one.ticket)
    return read_rows(path, ("ticket", "meter"), _result, key, _FILLED, _CHINESE, called)


def _result(row: dict[str, str]) -> Result:
    ticket = int(digits(row, "ticket"))
    result = _CHINESE_RESULTS.get(row["result"], row["result"])
    if result and result not in (PASSED, FAILED, EXCHANGED):
        text = _("result {text!r}: write {words}, or nothing where it is not done")
        words = ", ".join((PASSED, FAILED, EXCHANGED))
        raise ValueError(text.format(text=result[:20], words=words))
    done_on, next_due = _day(row, "done_on"), _day(row, "next_due")
    if result and not done_on:
        raise ValueError(_("done_on: say on which day, as YYYY-MM-DD"))
    if result == PASSED and not next_due > done_on:
        raise ValueError(_("next_due: say until when it is verified, behind done_on"))
    if len(row["note"]) > tickets.SAID_LIMIT:
        raise ValueError(_("note: at most {most} signs").format(most=tickets.SAID_LIMIT))
    return Result(ticket, full_number(row["meter"]), done_on, result, next_due, row["note"])


def _day(row: dict[str, str], column: str) -> str:
    text = row[column].strip()
    if not text:
        return ""
    try:
        return date.fromisoformat(text[:10].replace("/", "-")).isoformat()
    except ValueError as error:
        told = _("{column} {text!r}: write a day as YYYY-MM-DD")
        raise ValueError(told.format(column=column, text=text[:20])) from error


def preview(store: Store, wanted: Sequence[Result]) -> list[Change]:
    """Return what results would change. SalesError names the rows that cannot be, by place."""
    today = f"{datetime.now(store.zone()):%Y-%m-%d}"
    with store.database.looking():
        return _changes(store.database, wanted, today)


def _changes(database: Database, wanted: Sequence[Result], today: str) -> list[Change]:
    troubles: dict[int, str] = {}
    found: list[Change] = []
    for place, one in enumerate(wanted):
        if not one.result:
            continue
        rows = database.rows(
            'SELECT kind, "key", closed_at, devices.account, devices.due, devices.exchange_due '
            'FROM tickets LEFT JOIN devices ON devices.address = tickets."key" WHERE ticket = ?',
            (one.ticket,),
        )
        if why := _trouble(one, rows, today):
            troubles[place] = why
            continue
        row = rows[0]
        was = row["exchange_due"] if row["kind"] == EXCHANGE else row["due"]
        told = (one.ticket, row["kind"], one.meter, one.result, one.done_on, was)
        found.append(Change(*told, one.next_due if one.result == PASSED else ""))
    if troubles:
        raise SalesError(troubles)
    return found


def _trouble(one: Result, rows: list[dict[str, Any]], today: str) -> str:
    """Return why a result cannot be taken, "": it can."""
    if not rows or rows[0]["kind"] not in _RESULTS or rows[0]["key"] != one.meter:
        text = _("ticket {number} is no planned work on meter {meter}")
        return text.format(number=one.ticket, meter=one.meter)
    row = rows[0]
    if row["closed_at"] is not None:
        return _("ticket {number} is closed").format(number=one.ticket)
    if row["account"] is None:
        return _("meter {meter} is not in the register").format(meter=one.meter)
    if one.result not in _RESULTS[row["kind"]]:
        text = _("result {text}: of {what} it is {words}")
        words = ", ".join(_RESULTS[row["kind"]])
        return text.format(text=one.result, what=row["kind"], words=words)
    if one.done_on > today:
        return _("done_on {day} is still to come").format(day=one.done_on)
    if one.result == EXCHANGED and row["account"]:
        text = _("meter {meter} is at account {account}: exchange it there first")
        return text.format(meter=one.meter, account=row["account"])
    return ""


@at_desk
def take_results(store: Store, wanted: list[Result], by: str) -> int:
    """Take results: close tickets and move dates, all or none; return how many. SalesError."""
    today = f"{datetime.now(store.zone()):%Y-%m-%d}"
    now = int(time.time())
    with store.writing() as database:
        changes = _changes(database, wanted, today)
        notes = {one.ticket: one.note for one in wanted}
        for one in changes:
            _take_within(database, one, notes[one.ticket], by, now)
        audit.note(database, "batch results", count=len(changes), by=by)
    return len(changes)


# What a result sets of a device, and from which of its fields.
_MOVES: dict[str, tuple[str, tuple[str, ...]]] = {
    PASSED: ("verified = ?, due = ?", ("done_on", "next_due")),
    # It stays due for verification, and is to be exchanged as well.
    FAILED: ("exchange_due = ?", ("done_on",)),
    EXCHANGED: ("due = ?, exchange_due = ?", ("next_due", "next_due")),
}


def _take_within(database: Database, one: Change, note: str, by: str, now: int) -> None:
    moved, names = _MOVES[one.result]
    values = [getattr(one, name) for name in names]
    database.run(f"UPDATE devices SET {moved} WHERE address = ?", (*values, one.meter))
    said = f"{one.done_on} {one.result} {note}".strip()[: tickets.SAID_LIMIT]
    outcome = NOT_MENDED if one.result == FAILED else MENDED
    database.run(
        "UPDATE tickets SET closed_at = ?, closed_by = ?, done = ?, outcome = ? WHERE ticket = ?",
        (now, by, said, outcome, one.ticket),
    )


def change_text(one: Change) -> str:
    """Return a change as a line for people."""
    text = _("ticket {ticket}, meter {meter}: {result} on {done_on}, due {due}")
    told = {"ticket": one.ticket, "meter": one.meter, "done_on": one.done_on}
    line = text.format(result=_(one.result), due=one.due or "–", **told)
    return f"{line} -> {one.next_due}" if one.next_due else line
