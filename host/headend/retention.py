"""What is kept of persons, why and for how long; what is older is erased by a run.

Money is kept for good, and has numbers of accounts in place of names (`host.headend.persons`).
A run does a piece of its work in each call, so that a head-end answers concentrators in between.
"""

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from host.headend import audit, persons, retain
from host.headend.database import Database, upsert_sql
from host.headend.desk import at_desk
from host.headend.errors import StoreError
from host.headend.notices import SENDING, WAITING
from host.headend.store import Store
from host.units import DAY_S, to_t2000
from host.words import _, marked

CUSTOMERS, NOTICES, COMPLAINTS = marked("customers"), marked("notices"), marked("complaints")
TICKETS, LISTS, SIGN_INS = marked("tickets"), marked("lists"), marked("sign-ins")
READINGS, MIDNIGHTS, MONEY = marked("readings"), marked("midnights"), marked("money")
STAFF = marked("staff")
MOST_DAYS = 36_500
_YEAR = 365
_PIECE = 500


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of data about persons.

    since     from when its days count
    days      how long it is kept where the station has said nothing, 0: for good
    is_fixed  the station cannot change that
    is_of_staff
              it is about those who work at the station alone
    """

    name: str
    holds: str
    why: str
    since: str
    days: int
    is_fixed: bool = False
    is_of_staff: bool = False


KINDS = (
    Kind(
        CUSTOMERS,
        marked(
            "name, telephone, address, number of persons and credit class of a customer or "
            "tenant; e-mail address, language and refused kinds of notices; papers with them"
        ),
        marked("the contract: to find, supply, bill and reach who buys, and to answer disputes"),
        marked("since the person's last account was closed, settled and paid out"),
        3 * _YEAR,
    ),
    Kind(
        NOTICES,
        marked("titles and texts of notices, and what gateways have answered"),
        marked("to show what a household was told, above all before a cut"),
        marked("since the notice was made"),
        _YEAR,
    ),
    Kind(
        COMPLAINTS,
        marked("what was said, by whom, how to reach the person, where, and the answer"),
        marked("to answer, and to answer again when it comes back"),
        marked("since the complaint was closed"),
        3 * _YEAR,
    ),
    Kind(
        TICKETS,
        marked("the address, what is wrong there and what was done"),
        marked("to find the place, and what was done there before"),
        marked("since the ticket was closed"),
        3 * _YEAR,
    ),
    Kind(
        LISTS,
        marked("rows of lists of customers that were brought and never taken into the register"),
        marked("to take a list whole or not at all"),
        marked("since the list was brought"),
        1,
    ),
    Kind(
        SIGN_INS,
        marked("sessions of the station's staff, network addresses from which signing in failed"),
        marked("to know who acts, and to slow down who guesses"),
        marked("since they were last used"),
        30,
        is_of_staff=True,
    ),
    Kind(
        READINGS,
        marked("what meters told by the hour: it shows when a household is at home"),
        marked("bills, their proof, and line loss"),
        marked("since the reading"),
        0,
    ),
    Kind(
        MIDNIGHTS,
        marked("the registers of each midnight"),
        marked("bills of months and years, and line loss"),
        marked("since that midnight"),
        0,
    ),
    Kind(
        MONEY,
        marked(
            "orders, payments, refunds, deposits, top-ups, commands and the audit log: by the "
            "number of the account, without a name"
        ),
        marked("the books: every fen is proved by them, and none of them is changed"),
        marked("for good"),
        0,
        is_fixed=True,
    ),
    Kind(
        STAFF,
        marked("names of the station's staff at what each has done"),
        marked("who moved money or a relay answers for it"),
        marked("for good"),
        0,
        is_fixed=True,
        is_of_staff=True,
    ),
)
_BY_NAME = {one.name: one for one in KINDS}
CHANGED = tuple(one.name for one in KINDS if not one.is_fixed)


@dataclass(frozen=True, slots=True)
class Kept:
    """A kind, and for how many days this station keeps it, 0: for good."""

    kind: Kind
    days: int


def kept(store: Store) -> list[Kept]:
    """Return what is kept, and for how long."""
    with store.database.looking():
        rows = store.database.all("SELECT kind, days FROM retentions")
    changed = {kind: days for kind, days in rows if kind in CHANGED}
    return [Kept(one, changed.get(one.name, one.days)) for one in KINDS]


@at_desk
def set_retention(store: Store, kind: str, days: int, by: str, reason: str) -> None:
    """Keep a kind for another number of days, 0: for good. StoreError."""
    if kind not in CHANGED:
        raise StoreError(
            _("the time of {kind!r} cannot be changed: one of {kinds} has one").format(
                kind=kind[:24], kinds=", ".join(CHANGED)
            )
        )
    if not 0 <= days <= MOST_DAYS or (not days and _BY_NAME[kind].days):
        least = 1 if _BY_NAME[kind].days else 0
        raise StoreError(
            _("{kind} are kept for {least} to {most} days").format(
                kind=_(kind), least=least, most=MOST_DAYS
            )
        )
    if not reason.strip():
        raise StoreError(_("give a reason, so that an auditor finds it"))
    with store.writing() as database:
        database.run(upsert_sql("retentions", ("kind", "days"), ("kind",)), (kind, days))
        audit.note(database, "retention", kind=kind, days=days, by=by, reason=reason[:200])


# --- the run -------------------------------------------------------------------------------------


def run(store: Store, by: str, now: int = 0) -> dict[str, int]:
    """Erase what is kept no longer; return how many of each kind were erased."""
    at = now or int(time.time())
    done = {}
    for one in kept(store):
        if one.kind.is_fixed or not one.days:
            continue
        done[one.kind.name] = _erase_all(store, one, at)
    if any(done.values()):
        note_run(store, {kind: count for kind, count in done.items() if count}, by)
    return done


def _erase_all(store: Store, one: Kept, now: int) -> int:
    """Erase what is too old of a kind, piece by piece; return how many."""
    before_at = now - one.days * DAY_S
    if one.kind.name == CUSTOMERS:
        done, after = persons.erase_old(store, before_at, "")
        while after:
            count, after = persons.erase_old(store, before_at, after)
            done += count
        return done
    done = 0
    while count := _erase_piece(store, one, now, before_at):
        done += count
    return done


def _erase_piece(store: Store, one: Kept, now: int, before_at: int) -> int:
    if one.kind.name in (READINGS, MIDNIGHTS):
        today = to_t2000(datetime.fromtimestamp(now, store.zone()).replace(tzinfo=None)) // DAY_S
        drop = retain.drop_readings if one.kind.name == READINGS else retain.drop_freezes
        return drop(store, today - one.days)
    return erase_kind(store, one.kind.name, before_at)


@at_desk
def note_run(store: Store, done: dict[str, int], by: str) -> None:
    """Note in the audit log what a run has erased."""
    with store.writing() as database:
        audit.note(database, "retention run", **done, by=by)


@at_desk
def erase_kind(store: Store, kind: str, before_at: int) -> int:
    """Erase the first of a kind from before a moment; return how many, 0: there is none."""
    with store.writing() as database:
        if kind == NOTICES:
            return _erase_notices(database, before_at)
        if kind in (COMPLAINTS, TICKETS):
            return _erase_closed(database, kind, before_at)
        tables: tuple[tuple[str, str], ...] = (("staged_entries", "staged_at"),)
        if kind == SIGN_INS:
            tables = (
                ("sessions", "seen_at"),
                ("sign_in_tries", "last_at"),
            )
        count = 0
        for table, column in tables:
            count += database.run(f"DELETE FROM {table} WHERE {column} < ?", (before_at,)).rowcount
        return count


def _erase_notices(database: Database, before_at: int) -> int:
    rows = database.all(
        "SELECT id FROM notices WHERE made_at < ? AND state NOT IN (?, ?) "
        "AND (text <> '' OR title <> '' OR told <> '{}') ORDER BY id LIMIT ?",
        (before_at, WAITING, SENDING, _PIECE),
    )
    persons.erase_notices_within(database, [number for (number,) in rows])
    return len(rows)


def _erase_closed(database: Database, table: str, before_at: int) -> int:
    """Erase the texts of complaints or tickets that were closed before a moment."""
    key, texts = persons.TEXTS[table]
    filled = " OR ".join(f"{name} <> ''" for name in texts)
    rows: list[Any] = database.all(
        f"SELECT {key} FROM {table} WHERE closed_at < ? AND ({filled}) ORDER BY {key} LIMIT ?",
        (before_at, _PIECE),
    )
    persons.erase_texts_within(database, table, [number for (number,) in rows])
    return len(rows)
