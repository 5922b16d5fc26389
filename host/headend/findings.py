"""Findings: differences that are open until a person has given a reason to close them."""

import time
from typing import Any

from host.frames.packing import Reason
from host.headend.desk import at_desk
from host.headend.errors import StoreError
from host.headend.posting import finding_text
from host.headend.store import Store
from host.words import _

# Kinds that do not concern the books: `reconcile` ends with status 0 with these.
NOTICES = frozenset(("card", "clock", "cabinet", "setting"))
GAP = "gap"


def findings(
    store: Store, *, closed: bool = False, kind: str | None = None, account: str | None = None
) -> list[dict[str, Any]]:
    """Return open findings, with `closed` also the resolved ones, by number; gaps come last."""
    conditions = "" if closed else " AND resolved_at IS NULL"
    rows = store.rows(f"SELECT * FROM findings WHERE 1 = 1{conditions} ORDER BY id")
    for row in rows:
        row["number"] = str(row.pop("id"))
        row["what"] = finding_text(row["what"])
    gaps = store.rows(f"SELECT * FROM gaps WHERE 1 = 1{conditions} ORDER BY id")
    rows += [_gap(row) for row in gaps if _is_lost(row)]
    return [
        row for row in rows if kind in (None, row["kind"]) and account in (None, row["account"])
    ]


def _is_lost(row: dict[str, Any]) -> bool:
    reasons = Reason(row["reasons"])
    return not reasons or Reason.UNREADABLE in reasons


def _gap(row: dict[str, Any]) -> dict[str, Any]:
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


@at_desk
def resolve(store: Store, number: str, by: str, reason: str) -> None:
    """Close a finding with a name and a reason; StoreError where none of that number is open."""
    table = "gaps" if number.startswith(GAP) else "findings"
    digits = number.removeprefix(GAP)
    with store.writing() as database:
        told = (int(time.time()), by, reason, int(digits) if digits.isdecimal() else 0)
        changed = database.run(
            f"UPDATE {table} SET resolved_at = ?, resolved_by = ?, resolution = ? "
            "WHERE id = ? AND resolved_at IS NULL",
            told,
        ).rowcount
        if not changed:
            raise StoreError(
                _("no finding {number} is open: see `dianka headend findings`").format(
                    number=number
                )
            )
