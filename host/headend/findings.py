"""Findings: differences that are open until a person has given a reason to close them."""

import time
from typing import Any

from host.frames.packing import Reason
from host.headend import audit
from host.headend.desk import at_desk
from host.headend.errors import StoreError
from host.headend.ownership import waiting, waiting_text
from host.headend.posting import finding_text
from host.headend.reconcile import BOOKS, Difference, reconcile
from host.headend.store import Store
from host.words import _, marked

GAP, QUARANTINE = "gap", "quarantine"
KINDS = (
    *(marked("gap"), marked("conflict"), marked("mismatch"), marked("foreign")),
    *(marked("void"), marked("doubt"), marked("relay"), marked("card"), marked("clock")),
    *(marked("cabinet"), marked("setting"), marked("firmware"), marked("log")),
    *(marked("order"), marked("money"), marked("balance"), marked("records")),
    *(marked("readings"), marked("payment")),
    *(marked("quality"), marked("voltage"), marked("outage"), marked("clue")),
)


def findings(
    store: Store,
    *,
    closed: bool = False,
    kind: str | None = None,
    account: str | None = None,
    concentrator: int | None = None,
) -> list[dict[str, Any]]:
    """Return open findings, with `closed` also the resolved ones, by number.

    Behind those of records come gaps, what waits because another concentrator has its account,
    then what a comparison of the books finds.
    """
    conditions = "" if closed else " AND resolved_at IS NULL"
    rows = store.rows(f"SELECT * FROM findings WHERE 1 = 1{conditions} ORDER BY id")
    for row in rows:
        row["number"] = str(row.pop("id"))
        row["what"] = finding_text(row["what"])
        if row["resolution"]:
            row["resolution"] = _(row["resolution"])
    gaps = store.rows(f"SELECT * FROM gaps WHERE 1 = 1{conditions} ORDER BY id")
    rows += [gap(row) for row in gaps if is_lost(row)]
    rows += [_quarantined(row) for row in waiting(store, closed=closed)]
    rows += [_difference(one) for one in reconcile(store).found]
    wanted = {"kind": kind, "account": account, "concentrator": concentrator}
    return [row for row in rows if all(one in (None, row[name]) for name, one in wanted.items())]


def is_lost(row: dict[str, Any]) -> bool:
    """Return whether the records of a gap are lost, and not let go or rolled up."""
    reasons = Reason(row["reasons"])
    return not reasons or Reason.UNREADABLE in reasons


def gap(row: dict[str, Any]) -> dict[str, Any]:
    """Return the finding of a gap."""
    text = _("concentrator {concentrator}: records {first_seq} to {last_seq} are lost")
    kept = ("concentrator", "resolved_at", "resolved_by", "resolution")
    return {
        "number": f"{GAP}{row['id']}",
        "kind": GAP,
        "account": "",
        "seq": row["first_seq"],
        "found_at": None,
        "what": text.format(**row),
        **{name: row[name] for name in kept},
    }


def _quarantined(row: dict[str, Any]) -> dict[str, Any]:
    kept = ("concentrator", "account", "found_at", "resolved_at", "resolved_by")
    return {
        "number": f"{QUARANTINE}{row['id']}",
        "kind": "foreign",
        "seq": row["first_seq"],
        "what": waiting_text(row),
        "resolution": _(row["resolution"]) if row["resolution"] else "",
        **{name: row[name] for name in kept},
    }


def _difference(one: Difference) -> dict[str, Any]:
    return {
        "number": one.number,
        "kind": one.kind,
        "account": one.account,
        "concentrator": None,
        "seq": None,
        "found_at": None,
        "what": finding_text(one.what),
        **dict.fromkeys(("resolved_at", "resolved_by", "resolution")),
    }


def resolve(store: Store, number: str, by: str, reason: str) -> None:
    """Close a finding with a name and a reason; StoreError where none of that number is open."""
    if number.startswith(BOOKS):
        for one in reconcile(store).found:
            if one.number == number:
                settle_books(store, one.kind, one.account, one.what, by, reason)
                return
        raise _not_open(number)
    close(store, number, by, reason)


@at_desk
def close(store: Store, number: str, by: str, reason: str) -> None:
    """Close the finding of a record, a gap or what waits; StoreError: no such number is open."""
    tables = {GAP: "gaps", QUARANTINE: "quarantine"}
    name = number.rstrip("0123456789")
    table, digits = tables.get(name, "findings"), number.removeprefix(name)
    if name and name not in tables:
        raise _not_open(number)
    with store.writing() as database:
        if table == "quarantine":
            database.tell_writers()
        told = (int(time.time()), by, reason, int(digits) if digits.isdecimal() else 0)
        changed = database.run(
            f"UPDATE {table} SET resolved_at = ?, resolved_by = ?, resolution = ? "
            "WHERE id = ? AND resolved_at IS NULL",
            told,
        ).rowcount
        if not changed:
            raise _not_open(number)
        audit.note(database, "finding", number=number, by=by, reason=reason)


@at_desk
def settle_books(store: Store, kind: str, account: str, what: str, by: str, reason: str) -> None:
    """Note that a difference of the books is well as it is; another amount is another one."""
    now = int(time.time())
    columns = ("concentrator", "seq", "kind", "account", "what", "found_at")
    with store.writing() as database:
        database.insert_new("findings", columns, [(0, 0, kind, account, what, now)])
        database.run(
            "UPDATE findings SET resolved_at = ?, resolved_by = ?, resolution = ? "
            "WHERE concentrator = 0 AND seq = 0 AND what = ? AND resolved_at IS NULL",
            (now, by, reason, what),
        )
        audit.note(database, "finding", account, kind=kind, what=what, by=by, reason=reason)


def _not_open(number: str) -> StoreError:
    return StoreError(
        _("no finding {number} is open: see `dianka headend findings`").format(number=number)
    )
