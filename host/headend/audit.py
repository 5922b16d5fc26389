"""The audit log: who did what, through which door, in entries that none can change unnoticed.

Each entry has a digest over the one before it and itself. The engine refuses to change or delete
entries; `verify` finds where somebody has all the same. Entries that were cut off at the end are
noticed only by a digest that was kept elsewhere: that of a closed day, or a printed receipt.
"""

import hashlib
import json
import os
import pwd
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from host.headend.database import Database
from host.headend.errors import StoreError
from host.headend.store import Store
from host.words import _

DOOR_CLI, DOOR_UPLINK = "cli", "uplink"
_COLUMNS = ("number", "at", "door", "person", "action", "account", "amount_fen", "detail")
_FIRST = "0" * 64
SHOWN_DIGITS = 16  # of a digest on a receipt


@dataclass(frozen=True, slots=True)
class Who:
    """A person, and the door through which the person acts: the command line, a page, a lease."""

    door: str
    person: str


_acting: ContextVar[Who | None] = ContextVar("acting", default=None)


def who_acts() -> Who:
    """Return who acts: whoever was said to, else the user of this process."""
    told = _acting.get()
    if told is not None:
        return told
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = str(os.getuid())
    return Who(DOOR_CLI, name)


@contextmanager
def acting(who: Who) -> Iterator[None]:
    """Note all that is done within as done by `who`."""
    token = _acting.set(who)
    try:
        yield
    finally:
        _acting.reset(token)


def note(
    database: Database, action: str, account: str = "", amount_fen: int = 0, /, **detail: Any
) -> None:
    """Write an entry within the transaction of what it tells."""
    who = who_acts()
    database.queue_up()
    rows = database.all("SELECT number, digest FROM audit ORDER BY number DESC LIMIT 1")
    number, before = rows[0] if rows else (0, _FIRST)
    text = json.dumps(detail, ensure_ascii=False, sort_keys=True)
    values = (number + 1, int(time.time()), who.door, who.person, action, account, amount_fen)
    row = (*values, text, _digest(before, (*values, text)))
    if database.insert_new("audit", (*_COLUMNS, "digest"), [row]) != 1:
        raise StoreError(_("another entry was written to the audit log meanwhile: try again"))


def _digest(before: str, values: tuple[Any, ...]) -> str:
    told = json.dumps([before, *values], ensure_ascii=False)
    return hashlib.sha256(told.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Verified:
    """What `verify` found; `broken_at`: the first entry that is not as it was written, 0: none."""

    entries: int
    broken_at: int
    digest: str


def verify(store: Store) -> Verified:
    """Check every entry of the log, and that none is missing between two."""
    entries = 0
    before = _FIRST
    with store.database.looking():
        columns = ", ".join((*_COLUMNS, "digest"))
        for *values, digest in store.database.run(f"SELECT {columns} FROM audit ORDER BY number"):
            entries += 1
            if values[0] != entries or digest != _digest(before, tuple(values)):
                return Verified(entries, entries, before)
            before = digest
    return Verified(entries, 0, before)


def has_digest(store: Store, digest: str) -> bool:
    """Return whether an entry has the digest that was kept elsewhere.

    Of a receipt, which has not room for all of it, the beginning is enough.
    """
    if not re.fullmatch(f"[0-9a-f]{{{SHOWN_DIGITS},64}}", digest):
        return False
    return _FIRST.startswith(digest) or bool(
        store.value("SELECT count(*) FROM audit WHERE digest LIKE ?", (f"{digest}%",))
    )


def head(database: Database) -> str:
    """Return the digest of the newest entry."""
    found = database.value("SELECT digest FROM audit ORDER BY number DESC LIMIT 1")
    return str(found or _FIRST)


def entries(
    store: Store,
    *,
    account: str | None = None,
    person: str | None = None,
    action: str | None = None,
    since_at: int = 0,
    until_at: int = 1 << 40,
) -> list[dict[str, Any]]:
    """Return entries by number, all or some."""
    told = {"account": account, "person": person, "action": action}
    wanted = {name: value for name, value in told.items() if value is not None}
    conditions = "".join(f" AND {name} = ?" for name in wanted)
    return store.rows(
        f"SELECT * FROM audit WHERE at >= ? AND at < ?{conditions} ORDER BY number",
        (since_at, until_at, *wanted.values()),
    )


def newest(store: Store, wanted: dict[str, str], before: int, most: int) -> list[dict[str, Any]]:
    """Return entries before a number, the newest first, all or those with the values wanted."""
    conditions = "".join(f" AND {name} = ?" for name in wanted)
    return store.rows(
        f"SELECT * FROM audit WHERE number < ?{conditions} ORDER BY number DESC LIMIT ?",
        (before, *wanted.values(), most),
    )


def actions(store: Store) -> list[str]:
    """Return what was ever done, by name."""
    rows = store.rows("SELECT DISTINCT action FROM audit ORDER BY action")
    return [str(row["action"]) for row in rows]
