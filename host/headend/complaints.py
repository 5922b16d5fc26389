"""Complaints: what a person said, by kind and place, until when an answer is due, and the answer.

A ticket that is made of a complaint closes it, and opens it again, within its own transaction.
"""

import time
from dataclasses import asdict, dataclass
from typing import Any

from host.headend import audit, notices
from host.headend.database import Database
from host.headend.desk import at_desk
from host.headend.errors import StoreError
from host.headend.store import Store
from host.units import DAY_S
from host.words import _, marked

# Within how many days an answer is due where nothing else is said.
KINDS = {
    marked("supply"): 1,
    marked("meter"): 5,
    marked("bill"): 5,
    marked("payment"): 3,
    marked("card"): 3,
    marked("service"): 5,
    marked("other"): 7,
}
SAID_LEAST, SAID_LIMIT = 3, 300
WHAT_LIMIT, PLACE_LIMIT, CONTACT_LIMIT = 500, 200, 128
_DUE_LIMIT_S = 366 * DAY_S


@dataclass(frozen=True, slots=True)
class Said:
    """A complaint as it is entered.

    account   of the household, "": of none
    contact   how to reach the person, "": not told
    due_at    when an answer is due, 0: as its kind says
    """

    kind: str
    what: str
    place: str = ""
    account: str = ""
    contact: str = ""
    due_at: int = 0


@at_desk
def enter_complaint(store: Store, said: Said, by: str) -> int:
    """Enter a complaint; return its number. StoreError: it says nothing, or of nobody's meter."""
    now = int(time.time())
    due_at = said.due_at or now + KINDS.get(said.kind, 0) * DAY_S
    with store.writing() as database:
        _check(database, said, due_at, now)
        columns = (*asdict(said), "entered_at", "by")
        values = {**asdict(said), "due_at": due_at}
        database.insert_new("complaints", columns, [(*values.values(), now, by)])
        number = int(database.value("SELECT max(id) FROM complaints"))
        # What was said, and by whom, is not in the log: it is kept for good.
        audit.note(database, "complaint", said.account, number=number, kind=said.kind, by=by)
    return number


def _check(database: Database, said: Said, due_at: int, now: int) -> None:
    if said.kind not in KINDS:
        raise StoreError(
            _("a complaint is of one of these kinds: {kinds}").format(kinds=", ".join(KINDS))
        )
    if len(said.what.strip()) < SAID_LEAST:
        raise StoreError(_("say in a few words what the complaint is about"))
    if not said.account and not said.place:
        raise StoreError(_("a complaint has a household or a place"))
    if not now <= due_at <= now + _DUE_LIMIT_S:
        raise StoreError(_("an answer is due from now on, and within a year"))
    known = "SELECT (SELECT count(*) FROM accounts WHERE account = ?) + "
    known += "(SELECT count(*) FROM contracts WHERE account = ?)"
    if said.account and not database.value(known, (said.account, said.account)):
        raise StoreError(
            _("there is no account {account}: check the number").format(account=said.account)
        )


@at_desk
def close_complaint(store: Store, number: int, by: str, said: str) -> None:
    """Close a complaint with its answer. StoreError: no such one is open."""
    with store.writing() as database:
        close_within(database, number, by, said)


@at_desk
def reopen_complaint(store: Store, number: int, by: str, said: str) -> None:
    """Open a complaint again, with the reason. StoreError: no such one is closed."""
    with store.writing() as database:
        reopen_within(database, number, by, said)


def close_within(database: Database, complaint_id: int, by: str, said: str) -> None:
    """Close a complaint with its answer, within a transaction. StoreError: none such is open."""
    answer = _answer(said)
    one = _one(database, complaint_id)
    if one["closed_at"] is not None:
        raise StoreError(_("complaint {number} is closed already").format(number=complaint_id))
    database.run(
        "UPDATE complaints SET closed_at = ?, closed_by = ?, resolution = ? WHERE id = ?",
        (int(time.time()), by, answer, complaint_id),
    )
    audit.note(database, "complaint", one["account"], number=complaint_id, closed=True, by=by)
    if one["account"]:
        event = f"complaint {complaint_id} closed {one['reopened']}"
        told = {"number": str(complaint_id), "answer": answer}
        notices.announce(database, notices.COMPLAINT, [one["account"]], event, told)


def reopen_within(database: Database, complaint_id: int, by: str, said: str) -> None:
    """Open a complaint again, within a transaction. StoreError: none such is closed."""
    reason = _answer(said)
    one = _one(database, complaint_id)
    if one["closed_at"] is None:
        raise StoreError(_("complaint {number} is open").format(number=complaint_id))
    database.run(
        "UPDATE complaints SET closed_at = NULL, closed_by = '', resolution = ?, "
        "reopened = reopened + 1 WHERE id = ?",
        (reason, complaint_id),
    )
    audit.note(database, "complaint", one["account"], number=complaint_id, reopened=True, by=by)


def _answer(said: str) -> str:
    text = said.strip()[:SAID_LIMIT]
    if len(text) < SAID_LEAST:
        raise StoreError(_("give the answer in a few words"))
    return text


def _one(database: Database, number: int) -> dict[str, Any]:
    rows = database.rows("SELECT * FROM complaints WHERE id = ?", (number,))
    if not rows:
        raise StoreError(
            _("there is no complaint {number}: `dianka headend complaint list` lists them").format(
                number=number
            )
        )
    return rows[0]


def complaints(
    store: Store, *, open_only: bool = False, account: str = "", now: int = 0
) -> list[dict[str, Any]]:
    """Return complaints, the open ones first and of them the one that is due first.

    `is_late` says which of the open ones are due before `now`.
    """
    conditions = ["closed_at IS NULL"] if open_only else []
    conditions += ["account = ?"] if account else []
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    rows = store.rows(
        f"SELECT * FROM complaints {where} "
        "ORDER BY CASE WHEN closed_at IS NULL THEN 0 ELSE 1 END, due_at, id",
        (account,) if account else (),
    )
    for row in rows:
        row["number"] = row.pop("id")
        row["is_late"] = row["closed_at"] is None and row["due_at"] < now
    return rows
