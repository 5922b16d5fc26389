"""Approvals: what a cashier may not do alone, a second person allows, once.

A landlord at pages where nobody signs in has no second person: what is asked for there is approved
at once, and the audit log says that one person alone has decided.

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
# Who acts at pages where nobody signs in.
LANDLORD = "landlord"
APPROVED, REFUSED = marked("approved"), marked("refused")


@at_desk
def ask(store: Store, what: str, account: str, amount_fen: int, by: str, reason: str) -> int:
    """Note that a person asks for an approval; return its number. StoreError.

    It is approved at once where there is nobody else.
    """
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
        if is_alone(database, by):
            _decide_within(database, number, by, APPROVED)
            told: dict[str, Any] = {"number": number, "by": by, "decision": APPROVED}
            audit.note(database, "decide", account, amount_fen, **told, alone=True)
    return number


def is_alone(database: Database, by: str) -> bool:
    """Return whether `by` is a landlord at pages where nobody signs in, as nobody else can."""
    if by != LANDLORD or audit.who_acts() != audit.Who("page", LANDLORD):
        return False
    return not database.value("SELECT count(*) FROM users WHERE closed_at IS NULL")


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
        _decide_within(database, number, by, decision)
        told: dict[str, Any] = {"number": number, "by": by, "decision": decision}
        audit.note(database, "decide", one["account"], one["amount_fen"], **told)


def _decide_within(database: Database, number: int, by: str, decision: str) -> None:
    database.run(
        "UPDATE approvals SET decided_at = ?, decided_by = ?, decision = ? WHERE id = ?",
        (int(time.time()), by, decision, number),
    )


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
    is_own = one["decided_by"] == by and not is_alone(database, by)
    if one["decision"] != APPROVED or one["used_at"] is not None or is_own:
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
