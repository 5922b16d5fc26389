"""Notices to households: made once for each event, sent by a process of its own, and kept.

Whoever makes a notice writes its values within the transaction of what it tells; nothing is sent
there. The process of `host.headend.noticing` notes that it begins before each sending and how it
ended behind it. Where it was killed in between, nobody knows whether the notice arrived: it is
shown so, is not sent again by itself, and counts for no cut.
"""

import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from host.headend import audit
from host.headend.database import Database, upsert_sql
from host.headend.desk import at_desk
from host.headend.errors import StoreError
from host.headend.store import Store
from host.words import LANGUAGES, _, marked

LOW, USED_UP, CUT = marked("low balance"), marked("used up"), marked("before a cut")
TRIP, RECLOSE = marked("supply off"), marked("supply on")
RECEIPT, REFUND = marked("money arrived"), marked("money paid back")
OUTAGE, OUTAGE_OFF = marked("planned outage"), marked("outage off")
PRICE, SETTLEMENT, TIER = marked("price change"), marked("settlement"), marked("next tier")
COMPLAINT, CODE = marked("complaint"), marked("code")
KINDS = (
    *(LOW, USED_UP, CUT, TRIP, RECLOSE, RECEIPT, REFUND, OUTAGE, OUTAGE_OFF, PRICE, SETTLEMENT),
    *(TIER, COMPLAINT, CODE),
)
# What a household cannot refuse, and what no limit of a day holds back.
OWED = (CUT, CODE)

WAITING, SENDING, DELIVERED = marked("waiting"), marked("is being sent"), marked("delivered")
NOT_DELIVERED, NOT_KNOWN = marked("not delivered"), marked("not known")
LEFT_OUT = marked("left out")
STATES = (WAITING, SENDING, DELIVERED, NOT_DELIVERED, NOT_KNOWN, LEFT_OUT)

EVENT_LIMIT = 80
_VALUE_LIMIT = 200
_WHY_LIMIT = 200
_COLUMNS = ("kind", "event", "account", "told", "state", "made_at", "made_by", "due_at")
_EMAIL = re.compile(r"[A-Za-z0-9._%+-]{1,40}@[A-Za-z0-9-]{1,30}(\.[A-Za-z0-9-]{1,20}){1,4}")
_PHONE = re.compile(r"\+?[0-9][0-9 -]{3,18}[0-9]")


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a household is told once; `values` are those of the text."""

    kind: str
    event: str
    account: str
    values: dict[str, str]


@dataclass(frozen=True, slots=True)
class Contact:
    """Where and how a household is reached; "": not known. `refused` are kinds of notices."""

    phone: str
    email: str
    language: str
    refused: tuple[str, ...]


# --- making them --------------------------------------------------------------------------------


def announce(
    database: Database, kind: str, accounts: Iterable[str], event: str, values: Mapping[str, str]
) -> int:
    """Make a notice of an event to each account, once, within a transaction; return the count."""
    told = {name: value[:_VALUE_LIMIT] for name, value in values.items()}
    made = [Event(kind, event, account, told) for account in dict.fromkeys(accounts)]
    return make_within(database, made)


def make_within(database: Database, events: Iterable[Event]) -> int:
    """Make the notices of events that have none, within a transaction; return how many."""
    now = int(time.time())
    by = audit.who_acts().person[:64]
    rows = []
    for one in events:
        if one.kind not in KINDS or not 0 < len(one.event) <= EVENT_LIMIT:
            raise StoreError(_("there is no notice of the kind {kind}").format(kind=one.kind))
        told = json.dumps(one.values, ensure_ascii=False, sort_keys=True)
        rows.append((one.kind, one.event, one.account, told, WAITING, now, by, now))
    return database.insert_new("notices", _COLUMNS, rows) if rows else 0


@at_desk
def tell_households(
    store: Store, kind: str, accounts: list[str], event: str, values: dict[str, str], reason: str
) -> int:
    """Tell households something, as a person wants it; return how many. StoreError."""
    if not reason.strip():
        raise StoreError(_("give a reason, so that an auditor finds it"))
    with store.writing() as database:
        known = {account for (account,) in database.all("SELECT account FROM accounts")}
        known |= {one for (one,) in database.all("SELECT account FROM contracts")}
        for account in accounts:
            if account not in known:
                raise StoreError(
                    _("there is no account {account}: search for it by name or meter").format(
                        account=account
                    )
                )
        made = announce(database, kind, accounts, event, values)
        audit.note(database, "notice", kind=kind, event=event, count=made, reason=reason[:200])
    return made


@at_desk
def take_events(store: Store, events: list[Event], marks: dict[str, int]) -> int:
    """Make notices of what concentrators have told, and note up to where that was looked at."""
    with store.writing() as database:
        made = make_within(database, events)
        sql = upsert_sql("notice_marks", ("source", "mark"), ("source",))
        for source, mark in marks.items():
            database.run(sql, (source, mark))
    return made


def marks(store: Store) -> dict[str, int]:
    """Return up to where each source of events was looked at."""
    rows = store.rows("SELECT source, mark FROM notice_marks")
    return {row["source"]: row["mark"] for row in rows}


# --- households ---------------------------------------------------------------------------------


def contact_of(store: Store, account: str) -> Contact | None:
    """Return how a household is reached, None: nobody has the account any more."""
    with store.database.looking():
        return contact_within(store.database, account)


def contact_within(database: Database, account: str) -> Contact | None:
    rows = database.all(
        "SELECT customers.phone, contracts.closed_at FROM contracts LEFT JOIN customers "
        "ON customers.customer = contracts.customer WHERE account = ?",
        (account,),
    )
    phone, closed_at = rows[0] if rows else ("", None)
    if closed_at is not None:
        return None
    tenant = database.value(
        "SELECT phone FROM tenancies WHERE account = ? AND until_at IS NULL", (account,)
    )
    phone = (tenant if tenant is not None else phone) or ""
    choices = database.all(
        "SELECT email, language, refused FROM notice_choices WHERE account = ?", (account,)
    )
    email, language, refused = choices[0] if choices else ("", "", "")
    if not _PHONE.fullmatch(phone):
        phone = ""
    kinds = tuple(one for one in refused.split(",") if one)
    return Contact(re.sub("[ -]", "", phone), email, language, kinds)


@at_desk
def choose_notices(
    store: Store, account: str, email: str, language: str, refused: list[str], reason: str
) -> None:
    """Note how a household wants its notices, all of it anew. StoreError."""
    if email and not _EMAIL.fullmatch(email):
        raise StoreError(_("{email!r} is no e-mail address").format(email=email[:60]))
    if language and language not in LANGUAGES:
        raise StoreError(_("there is no language {language}").format(language=language[:10]))
    for kind in refused:
        if kind in OWED or kind not in KINDS:
            raise StoreError(_("a household cannot refuse {kind!r}").format(kind=kind[:20]))
    with store.writing() as database:
        if not database.all(
            "SELECT 1 FROM accounts WHERE account = ? UNION SELECT 1 FROM contracts "
            "WHERE account = ?",
            (account, account),
        ):
            raise StoreError(
                _("there is no account {account}: search for it by name or meter").format(
                    account=account
                )
            )
        columns = ("account", "email", "language", "refused", "changed_at")
        row = (account, email, language, ",".join(refused), int(time.time()))
        database.run(upsert_sql("notice_choices", columns, ("account",)), row)
        told = {"refused": list(refused), "language": language, "has_email": bool(email)}
        audit.note(database, "notices", account, **told, reason=reason[:200])


def forget_choices_within(database: Database, account: str) -> None:
    """Forget how a household wants its notices: another one has the account from now on."""
    for table in ("notice_choices", "household_codes"):
        database.run(f"DELETE FROM {table} WHERE account = ?", (account,))


# --- sending: what the process of the notices uses ----------------------------------------------


def due(store: Store, now: int, limit: int) -> list[dict[str, Any]]:
    """Return notices that may be sent now, codes first, then the oldest."""
    rows = store.rows(
        "SELECT * FROM notices WHERE state = ? AND due_at <= ? "
        "ORDER BY CASE WHEN kind = ? THEN 0 ELSE 1 END, id LIMIT ?",
        (WAITING, now, CODE, limit),
    )
    for row in rows:
        row["told"] = json.loads(row["told"])
    return rows


def tried(store: Store, notice: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the tries of a notice that count, by time."""
    return store.rows(
        "SELECT * FROM notice_tries WHERE notice = ? AND id > ? ORDER BY id",
        (notice["id"], notice["tries_before"]),
    )


def sent_since(store: Store, account: str, at: int) -> int:
    """Return how many notices were sent to a household since a moment, but those it is owed."""
    marks_of = ", ".join("?" * len(OWED))
    return int(
        store.value(
            "SELECT count(*) FROM notices WHERE account = ? AND sent_at >= ? "
            f"AND kind NOT IN ({marks_of})",
            (account, at, *OWED),
        )
    )


@at_desk
def begin_sending(
    store: Store, number: int, way: str, title: str, text: str, language: str, now: int
) -> int:
    """Note that a notice is being sent by a way; return the try, 0: it is not to be sent now."""
    with store.writing() as database:
        changed = database.run(
            "UPDATE notices SET state = ?, sent_at = ?, title = ?, text = ?, language = ? "
            "WHERE id = ? AND state = ?",
            (SENDING, now, title, text, language, number, WAITING),
        ).rowcount
        if not changed:
            return 0
        database.insert_new("notice_tries", ("notice", "way", "begun_at"), [(number, way, now)])
        return int(database.value("SELECT max(id) FROM notice_tries WHERE notice = ?", (number,)))


@at_desk
def end_sending(
    store: Store, number: int, attempt: int, outcome: str, said: str, then: "Then", now: int
) -> None:
    """Note how a sending ended, and what becomes of its notice."""
    with store.writing() as database:
        database.run(
            "UPDATE notice_tries SET ended_at = ?, outcome = ?, said = ? WHERE id = ?",
            (now, outcome, said[:_WHY_LIMIT], attempt),
        )
        _become(database, number, then, now)


@dataclass(frozen=True, slots=True)
class Then:
    """What becomes of a notice: its state, and why; `due_at` of one that waits again."""

    state: str
    why: str = ""
    due_at: int = 0
    rounds: int = 0
    way: str = ""
    proves: bool = False


@at_desk
def set_notice(store: Store, number: int, then: Then, now: int) -> None:
    """Say what becomes of a notice that is not being sent."""
    with store.writing() as database:
        _become(database, number, then, now)


def _become(database: Database, number: int, then: Then, now: int) -> None:
    ended_at = None if then.state == WAITING else now
    database.run(
        "UPDATE notices SET state = ?, why = ?, due_at = ?, rounds = ?, way = ?, proves = ?, "
        "ended_at = ? WHERE id = ?",
        (
            *(then.state, then.why[:_WHY_LIMIT], then.due_at, then.rounds, then.way),
            *(int(then.proves), ended_at, number),
        ),
    )
    if then.state != WAITING:  # a code is not kept
        database.run(
            "UPDATE notices SET text = '', told = '{}' WHERE id = ? AND kind = ?", (number, CODE)
        )


INTERRUPTED = marked("the head-end ended while it was being sent: look before it is sent again")


@at_desk
def give_up_tries(store: Store, before_at: int) -> int:
    """Say of notices whose sending has begun and never ended that nobody knows; return how many.

    They are those of a process that was killed.
    """
    now = int(time.time())
    with store.writing() as database:
        rows = database.all(
            "SELECT id FROM notices WHERE state = ? AND sent_at < ?", (SENDING, before_at)
        )
        for (number,) in rows:
            database.run(
                "UPDATE notice_tries SET ended_at = ?, outcome = ? "
                "WHERE notice = ? AND ended_at IS NULL",
                (now, NOT_KNOWN, number),
            )
            _become(database, number, Then(NOT_KNOWN, INTERRUPTED), now)
    return len(rows)


def local_time(at: int, zone: tzinfo) -> str:
    """Return a moment of the station as notices write it."""
    return f"{datetime.fromtimestamp(at, zone):%Y-%m-%d %H:%M}"


# --- looking, and sending again -----------------------------------------------------------------


@at_desk
def send_again(store: Store, number: int, reason: str) -> None:
    """Have a notice sent again that did not arrive, or of which nobody knows. StoreError."""
    now = int(time.time())
    with store.writing() as database:
        rows = database.rows("SELECT * FROM notices WHERE id = ?", (number,))
        if not rows or rows[0]["kind"] == CODE:
            raise StoreError(
                _("there is no notice {number} to be sent again").format(number=number)
            )
        if rows[0]["state"] not in (NOT_DELIVERED, NOT_KNOWN, LEFT_OUT):
            raise StoreError(
                _("notice {number} is {state}: it is not sent again").format(
                    number=number, state=_(rows[0]["state"])
                )
            )
        database.run(
            "UPDATE notices SET state = ?, due_at = ?, made_at = ?, rounds = 0, why = '', "
            "ended_at = NULL, tries_before = coalesce("
            "(SELECT max(id) FROM notice_tries WHERE notice = notices.id), 0) WHERE id = ?",
            (WAITING, now, now, number),
        )
        told = {"number": number, "kind": rows[0]["kind"], "reason": reason[:200]}
        audit.note(database, "notice again", rows[0]["account"], **told)


def notices(
    store: Store,
    *,
    account: str = "",
    kind: str = "",
    state: str = "",
    before: int = 0,
    limit: int = 100,
) -> list[dict[str, Any]]:
    """Return notices, the newest first, all or those that fit; `before` is a number of one."""
    wanted = {"account": account, "kind": kind, "state": state}
    told = {name: value for name, value in wanted.items() if value}
    conditions = "".join(f" AND {name} = ?" for name in told)
    if before:
        conditions += f" AND id < {int(before)}"
    return store.rows(
        "SELECT id AS number, kind, event, account, state, way, made_at, sent_at, ended_at, "
        f"title, text, why, made_by FROM notices WHERE 1 = 1{conditions} "
        "ORDER BY id DESC LIMIT ?",
        (*told.values(), limit),
    )


def tries_of(store: Store, number: int) -> list[dict[str, Any]]:
    """Return all tries of a notice, by time."""
    return store.rows("SELECT * FROM notice_tries WHERE notice = ? ORDER BY id", (number,))


def proof_of(database: Database, account: str) -> tuple[int | None, str]:
    """Return when the newest notice before a cut arrived, else None and the newest one's state.

    The state is "" where there is none. What nobody knows to have arrived has not.
    """
    rows = database.all(
        "SELECT ended_at FROM notices WHERE account = ? AND kind = ? AND state = ? "
        "AND proves = 1 ORDER BY ended_at DESC LIMIT 1",
        (account, CUT, DELIVERED),
    )
    if rows:
        return int(rows[0][0]), DELIVERED
    newest = database.value(
        "SELECT state FROM notices WHERE account = ? AND kind = ? ORDER BY id DESC LIMIT 1",
        (account, CUT),
    )
    return None, newest or ""


def counts(store: Store, names: Sequence[str] = STATES) -> dict[str, int]:
    """Return how many notices are in each state."""
    rows = store.rows("SELECT state, count(*) AS number FROM notices GROUP BY state")
    found = {row["state"]: row["number"] for row in rows}
    return {name: found.get(name, 0) for name in names}
