"""Which concentrator an account belongs to, and what others have told of it.

An account belongs to the concentrator that told of it first. What another one tells of it is
stored and waits: it changes nothing of the account until a person moves the account there, which
posts what waits, once and in order, or dismisses it.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from host.frames.record import RecordKind
from host.headend import audit
from host.headend.database import Database
from host.headend.desk import at_desk
from host.headend.errors import StoreError
from host.headend.posting import NO_ROW, OF_CONCENTRATOR, Meter, Posting, State
from host.headend.store import Store
from host.headend.unpack import Read, Taken, stored
from host.words import _, marked

_MOVED = marked("account {account} was moved from concentrator {was} to concentrator {now}")
_MOVED_HERE = marked("its account was moved here")
_LIVE = "resolved_at IS NULL"
_OPEN = (
    f"SELECT * FROM quarantine WHERE account = ? AND concentrator = ? AND {_LIVE} "
    "ORDER BY first_seq"
)
_RECORDS = (
    'SELECT seq, t2000, kind, flags, "row", payload FROM records WHERE concentrator = ? '
    'AND seq BETWEEN ? AND ? AND "row" = ? ORDER BY seq'
)
_WAITING = """
    SELECT quarantine.*, accounts.concentrator AS owner FROM quarantine
    LEFT JOIN accounts ON accounts.account = quarantine.account {where}
    ORDER BY quarantine.id
"""


@dataclass(frozen=True, slots=True)
class Moved:
    """An account that belongs to another concentrator now.

    was      the concentrator that it belonged to
    behind   how many records that one has which are not here yet
    taken    how many records that had waited were posted
    told     the new concentrator has told of the account
    """

    was: int
    behind: int
    taken: int
    told: bool


def waiting(store: Store, *, closed: bool = False) -> list[dict[str, Any]]:
    """Return what waits, and the `owner` of each account; `closed`: what is resolved as well."""
    where = "" if closed else "WHERE quarantine.resolved_at IS NULL"
    return store.rows(_WAITING.format(where=where))


def waiting_text(row: dict[str, Any]) -> str:
    """Return a sentence about what waits of an account."""
    if row["resolved_at"] is not None:
        text = _("concentrator {concentrator} row {row} told of account {account}, of another one")
    else:
        text = _(
            "concentrator {concentrator} row {row} tells of account {account}, which belongs to "
            "concentrator {owner}: {records} records wait, {payments} of them of money"
        )
    return text.format(**row)


def waiting_records(store: Store, account: str) -> list[dict[str, Any]]:
    """Return each record that waits of an account, with its `detail` by name."""
    query = f"SELECT * FROM quarantine WHERE account = ? AND {_LIVE} ORDER BY concentrator, id"
    found = []
    with store.database.looking():
        for one in store.database.rows(query, (account,)):
            for record in _records_of(store.database, [one])[0]:
                fields = record.fields
                found.append(
                    {
                        "t2000": record.t2000,
                        "concentrator": one["concentrator"],
                        "seq": record.seq,
                        "kind": RecordKind(record.kind).name,
                        "detail": fields._asdict() if isinstance(fields, Read) else fields,
                    }
                )
    return found


@at_desk
def move(store: Store, account: str, concentrator: int, by: str = "", reason: str = "") -> Moved:
    """Give an account to a concentrator, and post what has waited from there. StoreError."""
    now = int(time.time())
    with store.writing() as database:
        why: dict[str, Any] = {"concentrator": concentrator, "by": by, "reason": reason}
        audit.note(database, "move", account, **why)
        state = State(database)
        known = state.account(account)
        if known is None:
            raise StoreError(
                _("no concentrator has account {account}: check the number").format(
                    account=account
                )
            )
        was = int(known["concentrator"])
        if was == concentrator:
            raise StoreError(
                _("account {account} belongs to concentrator {concentrator} already").format(
                    account=account, concentrator=concentrator
                )
            )
        _check_heard(database, concentrator)
        database.tell_writers()
        waits = database.rows(_OPEN, (account, concentrator))
        posting = Posting(database, state, now)
        known.update(concentrator=concentrator, row=NO_ROW)
        records, meters = _records_of(database, waits)
        posting.take_in(concentrator, records, meters)
        told = _settle_down(database, known)
        posting.change(known)
        posting.write()
        reason = reason or _MOVED_HERE
        _resolve(database, waits, now, by, reason, is_taken=True)
        _note(database, known, was, now, by, reason)
        behind = database.value(
            "SELECT next_seq - 1 - acked_seq FROM concentrators WHERE concentrator = ?", (was,)
        )
        return Moved(was, max(0, behind or 0), len(records), told)


def _check_heard(database: Database, concentrator: int) -> None:
    query = "SELECT 1 FROM concentrators WHERE concentrator = ?"
    if database.value(query, (concentrator,)) is None:
        raise StoreError(
            _("concentrator {concentrator} has never called: check the number").format(
                concentrator=concentrator
            )
        )


def _records_of(
    database: Database, waits: list[dict[str, Any]]
) -> tuple[list[Taken], dict[int, Meter]]:
    """Return the records that wait, in order, and the meters of the first ones by their rows."""
    found: list[Taken] = []
    meters: dict[int, Meter] = {}
    for one in waits:
        row, place = one["row"], {"concentrator": one["concentrator"], "row": one["row"]}
        meters[row] = {**place, "address": one["meter"], "account": one["account"]}
        span = (one["concentrator"], one["first_seq"], one["last_seq"], row)
        of_row = [stored(*told) for told in database.all(_RECORDS, span)]
        found += _of_account(of_row, one["account"])
    return sorted(found, key=lambda record: record.seq), meters


def _of_account(records: list[Taken], account: str) -> Iterator[Taken]:
    """Yield the records of a row that are of an account; between two of its METERs none are."""
    is_its = True
    for record in records:
        if record.kind == RecordKind.METER:
            is_its = record.fields["account"] == account
        if is_its and record.kind not in OF_CONCENTRATOR:
            yield record


def _settle_down(database: Database, known: dict[str, Any]) -> bool:
    """Give the account the row that its concentrator tells now; return false without one."""
    rows = database.all(
        'SELECT "row", address FROM meters WHERE concentrator = ? AND account = ? '
        "ORDER BY active DESC, seq DESC LIMIT 1",
        (known["concentrator"], known["account"]),
    )
    for row, address in rows:
        known.update(row=row, meter=address)
    return bool(rows)


def _resolve(
    database: Database,
    waits: list[dict[str, Any]],
    now: int,
    by: str,
    resolution: str,
    *,
    is_taken: bool,
) -> None:
    database.many(
        "UPDATE quarantine SET resolved_at = ?, resolved_by = ?, resolution = ?, taken = ? "
        "WHERE id = ?",
        [(now, by, resolution, int(is_taken), one["id"]) for one in waits],
    )


def _note(
    database: Database, known: dict[str, Any], was: int, now: int, by: str, reason: str
) -> None:
    """Keep who moved an account, and why, as a finding that is resolved."""
    account, here = known["account"], known["concentrator"]
    values = {"text": _MOVED, "account": account, "was": was, "now": here, "at": now}
    what = json.dumps(values, ensure_ascii=False)
    columns = ("concentrator", "seq", "kind", "account", "what", "found_at")
    closed = ("resolved_at", "resolved_by", "resolution")
    row = (here, 0, "foreign", account, what, now, now, by, reason)
    database.insert_new("findings", (*columns, *closed), [row])


@at_desk
def dismiss(store: Store, account: str, concentrator: int, by: str, reason: str) -> int:
    """Leave what a concentrator has told of another one's account; return how many records."""
    with store.writing() as database:
        waits = database.rows(_OPEN, (account, concentrator))
        if not waits:
            raise StoreError(
                _("nothing of concentrator {concentrator} waits for account {account}").format(
                    concentrator=concentrator, account=account
                )
            )
        database.tell_writers()
        why: dict[str, Any] = {"concentrator": concentrator, "by": by, "reason": reason}
        audit.note(database, "dismiss", account, **why)
        _resolve(database, waits, int(time.time()), by, reason, is_taken=False)
        return sum(one["records"] for one in waits)
