"""Alarms: what is open and asks for work, from wherever it is known, the weightiest first.

An alarm is an open finding, lost records, records that wait for their account, a difference of
the books, a job that stopped by itself, a complaint, or a concentrator that is silent. Its kind
and key name it. What is compared for is computed anew, so that a page of a large station leaves
it out.
"""

import json
import time
from typing import Any

from host.headend import complaints, findings
from host.headend.database import Database
from host.headend.findings import GAP, QUARANTINE
from host.headend.outcomes import STOPPED
from host.headend.ownership import waiting, waiting_text
from host.headend.posting import finding_text
from host.headend.reconcile import BOOKS, reconcile
from host.headend.rollouts import why_text
from host.headend.store import Store
from host.words import _, marked

SILENT, COMPLAINT, JOB = marked("silent"), marked("complaint"), marked("job")
NOT_MENDED = marked("not mended")  # an outcome of work, which leaves its alarm open
# Where more households than these are known, differences of the books are left to the command.
COMPARED_LIMIT = 30_000
_SILENT_S = 2 * 3600
_LIMIT = 200
_DAYS = 30  # for which energy that a clue says is lost counts

_OPEN = 'SELECT kind, "key" FROM tickets WHERE closed_at IS NULL'
_FINDINGS = """
    SELECT id, kind, account, concentrator, what, found_at AS since_at FROM findings
    WHERE resolved_at IS NULL AND NOT EXISTS (SELECT 1 FROM tickets
    WHERE tickets.closed_at IS NULL AND tickets.kind = findings.kind
    AND tickets."key" = CAST(findings.id AS varchar(32))) ORDER BY id DESC LIMIT ?
"""
_SILENT = """
    SELECT concentrator, seen_at AS since_at FROM concentrators WHERE coalesce(seen_at, 0) < ?
"""
_COMPLAINTS = """
    SELECT account, 0 AS concentrator, what, entered_at AS since_at, id FROM complaints
    WHERE closed_at IS NULL ORDER BY due_at LIMIT ?
"""
_GAPS = "SELECT * FROM gaps WHERE resolved_at IS NULL ORDER BY id DESC LIMIT ?"
# A job that a ticket has dealt with is over, until it stops again.
_JOBS = """
    SELECT job, name, why, given_at AS since_at FROM jobs WHERE state = ? AND why <> ''
    AND NOT EXISTS (SELECT 1 FROM tickets WHERE tickets.kind = 'job'
    AND tickets."key" = CAST(jobs.job AS varchar(32)) AND tickets.closed_at IS NOT NULL
    AND tickets.outcome <> ? AND tickets.what LIKE '%' || jobs.why || '%') ORDER BY job
"""


def alarms(store: Store, *, compared: bool | None = None) -> list[dict[str, Any]]:
    """Return the alarms without a ticket, the weightiest first.

    `compared` says whether the books are compared; None: where that does not take long.
    """
    if compared is None:
        compared = is_compared(store)
    with store.database.looking():
        known = set(store.database.all(_OPEN))
    found = [*_silent(store), *_of_findings(store), *_of_records(store), *_jobs(store)]
    for row in store.rows(_COMPLAINTS, (_LIMIT,)):
        found.append({"kind": COMPLAINT, "key": str(row.pop("id")), **row})
    found += _of_books(store) if compared else []
    return weighed(store, [one for one in found if (one["kind"], one["key"]) not in known])


def is_compared(store: Store) -> bool:
    """Return whether the station is so small that comparing its books takes a moment only."""
    return int(store.value("SELECT count(*) FROM accounts")) <= COMPARED_LIMIT


def _silent(store: Store) -> list[dict[str, Any]]:
    found = []
    for row in store.rows(_SILENT, (int(time.time()) - _SILENT_S,)):
        what = _("concentrator {number} is silent").format(number=row["concentrator"])
        place = {"kind": SILENT, "key": str(row["concentrator"]), "account": ""}
        found.append({**place, **row, "what": what})
    return found


def _of_findings(store: Store) -> list[dict[str, Any]]:
    found = []
    for row in store.rows(_FINDINGS, (_LIMIT,)):
        row["key"] = str(row.pop("id"))
        row["lost_wh"] = _lost_wh(row["what"])
        row["what"] = finding_text(row["what"])
        found.append(row)
    return found


def _lost_wh(what: str) -> int:
    """Return the energy of a day that a finding says is lost, 0: it says nothing of it."""
    told = json.loads(what) if what.startswith("{") else {}
    lost = told.get("lost_wh", 0) if isinstance(told, dict) else 0
    return lost if isinstance(lost, int) else 0


def _of_records(store: Store) -> list[dict[str, Any]]:
    """Return lost records, and those that wait because another concentrator has the account."""
    found = []
    for row in store.rows(_GAPS, (_LIMIT,)):
        if findings.is_lost(row):
            told = findings.gap(row)
            place = {"kind": GAP, "key": told["number"], "account": "", "since_at": None}
            found.append({**place, "concentrator": row["concentrator"], "what": told["what"]})
    for row in waiting(store):
        found.append(
            {
                "kind": "foreign",
                "key": f"{QUARANTINE}{row['id']}",
                "account": row["account"],
                "concentrator": row["concentrator"],
                "what": waiting_text(row),
                "since_at": row["found_at"],
            }
        )
    return found


def _jobs(store: Store) -> list[dict[str, Any]]:
    found = []
    for row in store.rows(_JOBS, (STOPPED, NOT_MENDED)):
        concentrator = row["why"].partition(" ")[2]
        text = _("job {job}, {name}, stopped by itself: {why} ({mark})")
        told = {"job": row["job"], "name": row["name"], "mark": row["why"]}
        found.append(
            {
                "kind": JOB,
                "key": str(row["job"]),
                "account": "",
                "concentrator": int(concentrator) if concentrator.isdecimal() else 0,
                "what": text.format(why=why_text(row["why"]) or row["why"], **told),
                "since_at": row["since_at"],
            }
        )
    return found


def _of_books(store: Store) -> list[dict[str, Any]]:
    return [
        {
            "kind": one.kind,
            "key": one.number,
            "account": one.account,
            "concentrator": 0,
            "what": finding_text(one.what),
            "since_at": None,
        }
        for one in reconcile(store).found
    ]


def weighed(store: Store, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows with the households concerned and the money, those with most of it first.

    owed_fen   what these households owe
    lost_fen   what energy that is lost costs in a month, at the account's own mean price
    """
    with store.database.looking():
        owed = store.database.all(
            "SELECT concentrator, count(*), CAST(sum(CASE WHEN debit_fen > credit_fen "
            "THEN debit_fen - credit_fen ELSE 0 END) AS bigint) FROM accounts "
            "GROUP BY concentrator"
        )
        accounts = sorted({row["account"] for row in rows if row["account"]})
        marks = ", ".join("?" * len(accounts)) or "''"
        books = {
            account: (debt_fen, debit_fen, used_wh)
            for account, debt_fen, debit_fen, used_wh in store.database.all(
                "SELECT account, debit_fen - credit_fen, debit_fen, used_wh FROM accounts "
                f"WHERE account IN ({marks})",
                accounts,
            )
        }
    of_all = {concentrator: (count, fen) for concentrator, count, fen in owed}
    for row in rows:
        row["households"], row["owed_fen"] = of_all.get(row["concentrator"], (0, 0))
        row["lost_fen"] = 0
        if row["account"]:
            debt_fen, debit_fen, used_wh = books.get(row["account"], (0, 0, 0))
            row["households"], row["owed_fen"] = 1, max(0, debt_fen)
            if used_wh > 0:
                row["lost_fen"] = _DAYS * row.get("lost_wh", 0) * debit_fen // used_wh
        row.pop("lost_wh", None)
    return sorted(rows, key=lambda row: (-row["owed_fen"] - row["lost_fen"], -row["households"]))


# --- how work on one ends ------------------------------------------------------------------------


def end_within(database: Database, kind: str, key: str, by: str, said: str) -> None:
    """Close the alarm that work has ended, within a transaction.

    Who is silent ends that by being heard, and records that wait end that by a person's decision.
    Energy and money that differ do so until the books agree.
    """
    if kind == COMPLAINT:
        if _complaint_is_open(database, key):
            complaints.close_within(database, int(key), by, said)
    elif key.startswith(GAP):
        table, number = "gaps", key.removeprefix(GAP)
        _resolve(database, table, number, by, said)
    elif _is_finding(kind, key):
        _resolve(database, "findings", key, by, said)


def _resolve(database: Database, table: str, key: str, by: str, said: str) -> None:
    database.run(
        f"UPDATE {table} SET resolved_at = ?, resolved_by = ?, resolution = ? "
        "WHERE id = ? AND resolved_at IS NULL",
        (int(time.time()), by, said[:200], int(key)),
    )


def reopen_within(database: Database, kind: str, key: str, by: str, said: str) -> None:
    """Open an alarm again that was closed meanwhile, within a transaction."""
    if kind == COMPLAINT:
        if not _complaint_is_open(database, key):
            complaints.reopen_within(database, int(key), by, said)
        return
    table = "gaps" if key.startswith(GAP) else "findings"
    if table == "gaps" or _is_finding(kind, key):
        database.run(
            f"UPDATE {table} SET resolved_at = NULL, resolved_by = '', resolution = '' "
            "WHERE id = ?",
            (int(key.removeprefix(GAP)),),
        )


def is_of_books(key: str) -> bool:
    """Return whether an alarm is a difference of the books."""
    return key.startswith(BOOKS)


def _is_finding(kind: str, key: str) -> bool:
    return kind in findings.KINDS and key.isdecimal()


def _complaint_is_open(database: Database, key: str) -> bool:
    query = "SELECT 1 FROM complaints WHERE id = ? AND closed_at IS NULL"
    return bool(database.value(query, (int(key),)))
