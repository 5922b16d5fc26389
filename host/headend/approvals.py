"""Approvals: what a cashier may not do alone, a second person allows, once.

Every function that writes takes a `Store` and is one transaction, or is called within one.
"""

import time
from typing import Any

from host.headend import audit
from host.headend.database import Database
from host.headend.desk import at_desk
from host.headend.errors import StoreError
from host.headend.store import Store
from host.units import yuan
from host.words import _, marked

SALE, WRITE_OFF = "sale", "write-off"
KINDS = (SALE, WRITE_OFF)
APPROVED, REFUSED = marked("approved"), marked("refused")


@at_desk
def ask(store: Store, what: str, account: str, amount_fen: int, by: str, reason: str) -> int:
    """Note that a person asks for an approval; return its number. StoreError."""
    if not by.strip():
        raise StoreError(_("say who asks: another person has to approve it"))
    now = int(time.time())
    columns = ("what", "account", "amount_fen", "asked_at", "asked_by", "reason")
    with store.writing() as database:
        database.insert_new(
            "approvals", columns, [(what, account, amount_fen, now, by, reason[:200])]
        )
        number = int(database.value("SELECT max(id) FROM approvals"))
        audit.note(database, "ask", account, amount_fen, number=number, what=what, by=by)
    return number


@at_desk
def decide(store: Store, number: int, by: str, is_approved: bool) -> None:
    """Approve or refuse what another person has asked for. StoreError."""
    with store.writing() as database:
        one = _open_one(database, number)
        if not by.strip() or by == one["asked_by"]:
            raise StoreError(
                _("{by} has asked for it: another person has to decide").format(by=one["asked_by"])
            )
        decision = APPROVED if is_approved else REFUSED
        database.run(
            "UPDATE approvals SET decided_at = ?, decided_by = ?, decision = ? WHERE id = ?",
            (int(time.time()), by, decision, number),
        )
        told: dict[str, Any] = {"number": number, "by": by, "decision": decision}
        audit.note(database, "decide", one["account"], one["amount_fen"], **told)


def _open_one(database: Database, number: int) -> dict[str, Any]:
    rows = database.rows("SELECT * FROM approvals WHERE id = ? AND decision = ''", (number,))
    if not rows:
        raise StoreError(
            _("no approval {number} waits: see `dianka headend approval list`").format(
                number=number
            )
        )
    return rows[0]


def use(
    database: Database, number: int, what: str, account: str, amount_fen: int, by: str
) -> None:
    """Use up an approval within a transaction. StoreError: it does not allow this."""
    rows = database.rows("SELECT * FROM approvals WHERE id = ?", (number,))
    wanted = (what, account, amount_fen)
    if not rows or tuple(rows[0][name] for name in ("what", "account", "amount_fen")) != wanted:
        raise StoreError(
            _("approval {number} is not for {amount} yuan of account {account}").format(
                number=number, amount=yuan(amount_fen), account=account
            )
        )
    one = rows[0]
    if one["decision"] != APPROVED or one["used_at"] is not None or one["decided_by"] == by:
        raise StoreError(
            _("approval {number} is refused, used, not given yet, or your own").format(
                number=number
            )
        )
    database.run("UPDATE approvals SET used_at = ? WHERE id = ?", (int(time.time()), number))


def approvals(store: Store, *, waiting_only: bool = False) -> list[dict[str, Any]]:
    """Return what was asked for, the newest last."""
    where = "WHERE decision = ''" if waiting_only else ""
    rows = store.rows(f"SELECT * FROM approvals {where} ORDER BY id")
    for row in rows:
        row["number"] = row.pop("id")
    return rows
