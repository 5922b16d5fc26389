"""Tickets: work that an alarm asks for, with its place, who does it by when, and how it ended.

An alarm of `host.headend.alarms` has at most one open ticket. How a ticket ends decides about its
alarm: what was mended, or was no fault, closes it; what was not mended leaves it open, and opens
it again where it was closed meanwhile. A ticket of a device that is due is made by
`host.headend.due_work`, for which what is done moves the device's dates.

Every function that writes takes a `Store` and is one transaction.
"""

import time
from dataclasses import dataclass
from typing import Any

from host.headend import alarms, audit
from host.headend.alarms import JOB, NOT_MENDED, SILENT, weighed
from host.headend.database import Database
from host.headend.desk import at_desk
from host.headend.errors import StoreError
from host.headend.store import Store
from host.units import DAY_S
from host.words import _, marked

MENDED, NO_FAULT = marked("mended"), marked("no fault")
OUTCOMES = (MENDED, NO_FAULT, NOT_MENDED)
URGENT, SOON, LATER = 1, 2, 3
# By when a ticket is to be done, by its priority.
WITHIN_S = {URGENT: 4 * 3600, SOON: 2 * DAY_S, LATER: 14 * DAY_S}
_PRIORITIES = {
    **dict.fromkeys((SILENT, "doubt", "cabinet", "outage"), URGENT),
    **dict.fromkeys(("relay", "voltage", "firmware", "clock", "clue", JOB), SOON),
    **dict.fromkeys(("foreign", "money", "balance", "order"), SOON),
}
SAID_LIMIT, PARTS_LIMIT, _WHAT_LIMIT = 500, 200, 500


@dataclass(frozen=True, slots=True)
class Work:
    """What a technician says of a ticket: what was done, which parts it took, how it ended."""

    said: str
    parts: str
    outcome: str


def alarm(store: Store, kind: str, key: str) -> dict[str, Any]:
    """Return an alarm by its kind and key. StoreError: it is not open, or has its ticket."""
    for one in alarms.alarms(store, compared=alarms.is_of_books(key)):
        if (one["kind"], one["key"]) == (kind, key):
            return one
    raise StoreError(_("this alarm is over, or has its ticket already: look at the list"))


# --- writing -------------------------------------------------------------------------------------

_COLUMNS = (
    *("ticket", "kind", "key", "account", "concentrator", "place", "what", "priority"),
    *("opened_at", "opened_by", "due_at", "who"),
)


@at_desk
def open_ticket(store: Store, kind: str, key: str, priority: int, who: str, by: str) -> int:
    """Make a ticket of an alarm; return its number, that of the open one where there is one."""
    known = _open_one(store, kind, key)
    if known:
        return known
    told = alarm(store, kind, key)
    with store.writing() as database:
        return raise_within(database, told, priority, who, by)


def _open_one(store: Store, kind: str, key: str) -> int:
    query = 'SELECT ticket FROM tickets WHERE kind = ? AND "key" = ? AND closed_at IS NULL'
    return int(store.value(query, (kind, key)) or 0)


def raise_within(
    database: Database, told: dict[str, Any], priority: int, who: str, by: str
) -> int:
    """Open the ticket of an alarm within a transaction; return its number.

    `told` has kind, key, account, concentrator and what. `priority` 0: that of its kind.
    """
    now = int(time.time())
    urgency = priority or _PRIORITIES.get(told["kind"], LATER)
    number = int(database.value("SELECT max(ticket) FROM tickets") or 0) + 1
    place = database.value(
        "SELECT address FROM contracts JOIN customers ON customers.customer = contracts.customer "
        "WHERE account = ? AND closed_at IS NULL",
        (told["account"],),
    )
    head = (number, told["kind"], told["key"], told["account"], told["concentrator"] or 0)
    row = (
        *head,
        place or "",
        told["what"][:_WHAT_LIMIT],
        urgency,
        now,
        by,
        now + WITHIN_S[urgency],
        who,
    )
    database.insert_new("tickets", _COLUMNS, [row])
    audit.note(database, "ticket", told["account"], number=number, kind=told["kind"], who=who)
    return number


@at_desk
def assign(store: Store, number: int, who: str, priority: int, by: str) -> None:
    """Give an open ticket to a person, with a priority and the time that goes with it."""
    with store.writing() as database:
        one = _ticket(database, number)
        if one["closed_at"] is not None:
            raise StoreError(_("ticket {number} is closed").format(number=number))
        due_at = one["opened_at"] + WITHIN_S[priority]
        database.run(
            "UPDATE tickets SET who = ?, priority = ?, due_at = ? WHERE ticket = ?",
            (who, priority, due_at, number),
        )
        audit.note(database, "ticket", one["account"], number=number, who=who, by=by)


@at_desk
def finish(store: Store, number: int, work: Work, by: str) -> None:
    """Close a ticket, and with it close its alarm or leave it open.

    What arrives again from a phone with a bad connection changes nothing. StoreError: the ticket
    was closed otherwise.
    """
    if work.outcome not in OUTCOMES or not work.said.strip():
        raise StoreError(_("say what was done, and how it ended"))
    said, parts = work.said[:SAID_LIMIT], work.parts[:PARTS_LIMIT]
    now = int(time.time())
    with store.writing() as database:
        one = _ticket(database, number)
        if one["closed_at"] is not None:
            if (one["done"], one["outcome"], one["closed_by"]) == (said, work.outcome, by):
                return
            text = _("ticket {number} was closed by {by} meanwhile: {outcome}")
            told = {"by": one["closed_by"], "outcome": _(one["outcome"])}
            raise StoreError(text.format(number=number, **told))
        database.run(
            "UPDATE tickets SET closed_at = ?, closed_by = ?, done = ?, parts = ?, outcome = ? "
            "WHERE ticket = ?",
            (now, by, said, parts, work.outcome, number),
        )
        act = alarms.reopen_within if work.outcome == NOT_MENDED else alarms.end_within
        act(database, one["kind"], one["key"], by, work.said)
        told = {"number": number, "outcome": work.outcome, "by": by}
        audit.note(database, "ticket closed", one["account"], **told)


def _ticket(database: Database, number: int) -> dict[str, Any]:
    rows = database.rows("SELECT * FROM tickets WHERE ticket = ?", (number,))
    if not rows:
        raise StoreError(_("there is no ticket {number}").format(number=number))
    return rows[0]


# --- looking -------------------------------------------------------------------------------------


def ticket(store: Store, number: int) -> dict[str, Any]:
    """Return a ticket with its household's meter, customer and books, and how many it concerns."""
    with store.database.looking():
        one = _ticket(store.database, number)
    (row,) = weighed(store, [one])
    known = store.rows(
        "SELECT accounts.meter, credit_fen - debit_fen AS balance_fen, relay, last_t2000, "
        "customers.name, customers.phone FROM accounts LEFT JOIN contracts "
        "ON contracts.account = accounts.account AND contracts.closed_at IS NULL "
        "LEFT JOIN customers ON customers.customer = contracts.customer "
        "WHERE accounts.account = ?",
        (row["account"],),
    )
    nothing = dict.fromkeys(("meter", "balance_fen", "relay", "last_t2000", "name", "phone"))
    return {**row, **(known[0] if known else nothing)}


# What an export of tickets has, as columns.
COLUMNS = (
    *("ticket", "kind", "account", "concentrator", "place", "what", "priority", "households"),
    *("owed_fen", "lost_fen", "opened_at", "opened_by", "due_at", "who", "batch"),
    *("closed_at", "closed_by", "done", "parts", "outcome"),
)


def all_tickets(store: Store, since_at: int) -> list[dict[str, Any]]:
    """Return the open tickets and those closed since a moment, for an export: the newest last."""
    rows = store.rows(
        "SELECT * FROM tickets WHERE closed_at IS NULL OR closed_at >= ? ORDER BY ticket",
        (since_at,),
    )
    return sorted(weighed(store, rows), key=lambda row: int(row["ticket"]))


def of_complaints(store: Store) -> dict[int, int]:
    """Return the newest ticket of each complaint, by the complaint's number."""
    rows = store.rows(
        'SELECT "key", max(ticket) AS ticket FROM tickets WHERE kind = ? GROUP BY "key"',
        (alarms.COMPLAINT,),
    )
    return {int(row["key"]): row["ticket"] for row in rows if row["key"].isdecimal()}


def open_tickets(store: Store, who: str = "") -> list[dict[str, Any]]:
    """Return the open tickets, of one person if `who` is told: urgent ones, then by weight."""
    rows = store.rows("SELECT * FROM tickets WHERE closed_at IS NULL ORDER BY due_at")
    found = [row for row in rows if who in ("", row["who"])]
    return sorted(weighed(store, found), key=lambda row: row["priority"])


def closed_tickets(store: Store, most: int) -> list[dict[str, Any]]:
    """Return the tickets that were closed last."""
    return store.rows(
        "SELECT * FROM tickets WHERE closed_at IS NOT NULL ORDER BY closed_at DESC LIMIT ?",
        (most,),
    )


@dataclass(frozen=True, slots=True)
class Repairs:
    """How work went in a span: tickets that were mended in it, and their mean time in seconds."""

    mended: int
    mean_s: int
    in_time: int


def repairs(store: Store, since_at: int, until_at: int) -> Repairs:
    """Return how long repairs took that ended in a span."""
    ((count, total_s, in_time),) = store.database.all(
        "SELECT count(*), CAST(coalesce(sum(closed_at - opened_at), 0) AS bigint), "
        "CAST(coalesce(sum(CASE WHEN closed_at <= due_at THEN 1 ELSE 0 END), 0) AS bigint) "
        "FROM tickets WHERE outcome = ? AND closed_at >= ? AND closed_at < ?",
        (MENDED, since_at, until_at),
    )
    return Repairs(count, total_s // count if count else 0, in_time)
