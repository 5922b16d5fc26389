"""A person at the station: what is held of the person, its export and its erasure.

A person is a customer of the register; a tenant of a room is one as well. What is held of an
account belongs to who had it at that time: its papers, tenancies and contract say who that was.
Money keeps the number of its account and has no name, so it stays as it is.
"""

import json
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from host.headend import audit, notices, orders, payments
from host.headend.database import Database, upsert_sql
from host.headend.desk import at_desk
from host.headend.errors import StoreError
from host.headend.store import Store, zone_of
from host.units import DAY_S, t2000_of_unix, yuan
from host.words import _, marked

SEEN, EXPORTED, ERASED = marked("person seen"), marked("person exported"), marked("person erased")
_FOR_EVER = 1 << 40
_PIECE = 50
_ERASED_HERE = marked("the person was erased")
_TIME_IS_OVER = marked("the time for which it is kept is over")
# Of a customer: what is left is the number, and whether it is a household or a business.
_CUSTOMER = {
    "name": "",
    "phone": "",
    "address": "",
    "persons": 0,
    "credit_class": "",
    "class_reason": "",
}
# The key of a table, and its texts that people have typed.
TEXTS = {
    "complaints": ("id", ("what", "contact", "place", "resolution")),
    "tickets": ("ticket", ("what", "place", "done", "parts")),
}
# Tables of an account's rows with the moment of each.
_BY_MOMENT = {
    "orders": "sold_at",
    "payments": "begun_at",
    "papers": "at",
    "cards": "since_at",
    "installations": "since_at",
    "notices": "made_at",
    "notice_choices": "changed_at",
    "household_links": "changed_at",
    "complaints": "entered_at",
    "tickets": "opened_at",
    "approvals": "asked_at",
    "cash_moves": "at",
    "commands": "given_at",
    "channel_cancels": "at",
    "recharge_cards": "redeemed_at",
    "findings": "found_at",
    "audit": "at",
}
_BY_DEVICE_TIME = ("top_ups", "standings", "relays", "policies", "alarms")
_BY_DAY = ("readings", "freezes", "items")
# What a thief of an export could use, and what says nothing.
_LEFT_OUT = {"recharge_cards": ("code_hash",)}


@dataclass(frozen=True, slots=True)
class Span:
    """A time in which a person had an account; `until_at` null: it still has it."""

    account: str
    since_at: int
    until_at: int | None

    @property
    def end_at(self) -> int:
        """Return the moment before which it ends."""
        return _FOR_EVER if self.until_at is None else self.until_at + 1


@dataclass(frozen=True, slots=True)
class Person:
    """A person, and what stands against an erasure; `counts` of what is held, by table."""

    customer: dict[str, Any]
    spans: list[Span]
    against: list[str]
    counts: dict[str, int]


# --- which accounts a person had, and when -------------------------------------------------------


def _spans(database: Database, customer: str) -> list[Span]:
    """Return the accounts that a customer had, each with its time."""
    found = [
        Span(account, since_at, until_at)
        for account, since_at, until_at in database.all(
            "SELECT account, since_at, until_at FROM tenancies "
            "WHERE account || '-' || CAST(tenancy AS varchar(20)) = ? ORDER BY tenancy",
            (customer,),
        )
    ]
    rooms = {one.account for one in found}
    for account in _accounts(database, customer):
        if account not in rooms:
            found += _of_papers(database, account, customer)
    return found


def _accounts(database: Database, customer: str) -> list[str]:
    """Return the accounts that are a customer's, or were by a paper."""
    said = json.dumps(customer, ensure_ascii=False)
    pattern = re.sub("([!%_])", r"!\1", f'"customer": {said}')
    rows = database.all(
        "SELECT account FROM contracts WHERE customer = ? UNION "
        "SELECT account FROM papers WHERE detail LIKE ? ESCAPE '!' ORDER BY account",
        (customer, f"%{pattern}%"),
    )
    return [account for (account,) in rows]


def _of_papers(database: Database, account: str, customer: str) -> Iterator[Span]:
    """Yield the times in which an account was a customer's."""
    changes: list[tuple[int, str]] = []
    papers = database.rows(
        "SELECT at, detail FROM papers WHERE account = ? ORDER BY id", (account,)
    )
    if papers:
        changes.append((0, _holder(papers[0]["detail"].get("before", {}))))
    changes += [(one["at"], _holder(one["detail"].get("after", {}))) for one in papers]
    for now, closed_at in database.all(
        "SELECT customer, closed_at FROM contracts WHERE account = ?", (account,)
    ):
        # An account of a list has no paper: all that is known of it is of who has it.
        if closed_at is None or not changes:
            changes.append((changes[-1][0] if changes else 0, now))
        if closed_at is not None and changes[-1][1]:
            changes.append((closed_at, ""))
    since_at = None
    for at, holder in changes:
        if holder == customer and since_at is None:
            since_at = at
        elif holder != customer and since_at is not None:
            yield Span(account, since_at, at)
            since_at = None
    if since_at is not None:
        yield Span(account, since_at, None)


def _holder(snapshot: dict[str, Any]) -> str:
    """Return who had an account by a paper's snapshot, "": nobody."""
    for one in snapshot.get("contracts", ()):
        if one["closed_at"] is None:
            return str(one["customer"])
    return ""


def find_customer(store: Store, customer: str, account: str) -> str:
    """Return the number of a customer: as told, or of who has an account now. StoreError."""
    query, value = "SELECT customer FROM customers WHERE customer = ?", customer
    if not customer:
        query, value = "SELECT customer FROM contracts WHERE account = ?", account
    found = store.value(query, (value,))
    if found is None:
        raise StoreError(_("no customer fits: give the customer's number, or that of an account"))
    return str(found)


def _customer(database: Database, customer: str) -> dict[str, Any]:
    rows = database.rows("SELECT * FROM customers WHERE customer = ?", (customer,))
    if not rows:
        raise StoreError(_("no customer fits: give the customer's number, or that of an account"))
    return rows[0]


# --- what is held --------------------------------------------------------------------------------


def person(store: Store, customer: str) -> Person:
    """Return a person with what is held, but what meters told by the hour. StoreError."""
    with store.database.looking():
        return _person(store.database, customer)


def _person(database: Database, customer: str) -> Person:
    spans = _spans(database, customer)
    known = _customer(database, customer)
    held = _held(database, known, spans)
    counts = {name: len(rows) for name, rows in held.items() if rows}
    return Person(known, spans, _against(database, customer, spans), counts)


def _held(
    database: Database, customer: dict[str, Any], spans: list[Span]
) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of a person by table."""
    held: dict[str, list[dict[str, Any]]] = {}
    for span in spans:
        for table, column in _BY_MOMENT.items():
            rows = database.rows(
                f'SELECT * FROM {table} WHERE account = ? AND "{column}" >= ? AND "{column}" < ? '
                f'ORDER BY "{column}"',
                (span.account, span.since_at, span.end_at),
            )
            for row in rows:
                for name in _LEFT_OUT.get(table, ()):
                    row.pop(name)
            held.setdefault(table, []).extend(rows)
        since, until = _device_times(database, span)
        for table in _BY_DEVICE_TIME:
            rows = database.rows(
                f"SELECT * FROM {table} WHERE account = ? AND t2000 >= ? AND t2000 < ? "
                "ORDER BY t2000",
                (span.account, since, until),
            )
            held.setdefault(table, []).extend(rows)
    _only_own_papers(held.get("papers", []), customer["customer"])
    held["notice_tries"] = _tries(database, held.get("notices", []))
    held["tenancies"] = _tenancies(database, customer["customer"])
    for one in held["tenancies"]:
        query = "SELECT * FROM deposit_moves WHERE tenancy = ? ORDER BY id"
        held.setdefault("deposit_moves", []).extend(database.rows(query, (one["tenancy"],)))
    held.setdefault("complaints", []).extend(_nobodys_complaints(database, customer["phone"]))
    query = "SELECT * FROM staged_entries WHERE customer = ?"
    held["staged_entries"] = database.rows(query, (customer["customer"],))
    return held


def _device_times(database: Database, span: Span) -> tuple[int, int]:
    zone = zone_of(database)
    since = t2000_of_unix(span.since_at, zone) if span.since_at else -1
    until = _FOR_EVER if span.until_at is None else t2000_of_unix(span.until_at, zone) + 1
    return since, until


def _only_own_papers(papers: list[dict[str, Any]], customer: str) -> None:
    """Take out of papers what they have of whoever had the account before or behind."""
    for one in papers:
        for side in ("before", "after"):
            snapshot = one["detail"].get(side, {})
            for table in ("customers", "contracts"):
                rows = snapshot.get(table, [])
                snapshot[table] = [row for row in rows if row["customer"] == customer]


def _tries(database: Database, told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        row
        for one in told
        for row in database.rows(
            "SELECT * FROM notice_tries WHERE notice = ? ORDER BY id", (one["id"],)
        )
    ]


def _tenancies(database: Database, customer: str) -> list[dict[str, Any]]:
    return database.rows(
        "SELECT * FROM tenancies WHERE account || '-' || CAST(tenancy AS varchar(20)) = ? "
        "ORDER BY tenancy",
        (customer,),
    )


def _nobodys_complaints(database: Database, phone: str) -> list[dict[str, Any]]:
    """Return complaints without an account that name a telephone as the way to the person."""
    digits = re.sub("[^0-9]", "", phone)
    if len(digits) < 7:
        return []
    rows = database.rows(
        "SELECT * FROM complaints WHERE account = '' AND contact <> '' ORDER BY id"
    )
    return [row for row in rows if digits in re.sub("[^0-9]", "", row["contact"])]


def export(store: Store, customer: str) -> dict[str, Any]:
    """Return all that is held of a person, for JSON, and note that it was taken. StoreError."""
    with store.database.looking():
        database = store.database
        known = _customer(database, customer)
        spans = _spans(database, customer)
        held: dict[str, Any] = dict(_held(database, known, spans))
        for table in _BY_DAY:
            held[table] = [row for span in spans for row in _told_by_meters(database, table, span)]
    note_access(store, EXPORTED, customer)
    told = [asdict(one) for one in spans]
    rows = {name: found for name, found in held.items() if found}
    return {"exported_at": int(time.time()), "customer": known, "accounts": told, **rows}


def export_text(store: Store, customer: str) -> str:
    """Return the text of a file with all that is held of a person, and note it. StoreError."""
    told = export(store, customer)
    return json.dumps(told, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def _told_by_meters(database: Database, table: str, span: Span) -> Iterator[dict[str, Any]]:
    """Yield what the meters of an account told, day by day: so an index serves."""
    meters = [
        meter
        for (meter,) in database.all(
            "SELECT meter FROM installations WHERE account = ? UNION "
            "SELECT meter FROM accounts WHERE account = ?",
            (span.account, span.account),
        )
    ]
    since, until = _device_times(database, span)
    ((first, last),) = database.all(f"SELECT min(day), max(day) FROM {table}")
    if first is None or not meters:
        return
    marks = ", ".join("?" * len(meters))
    query = f"SELECT * FROM {table} WHERE day = ? AND meter IN ({marks}) AND account = ?"
    for day in range(max(first, since // DAY_S), min(last, until // DAY_S) + 1):
        for row in database.rows(query, (day, *meters, span.account)):
            if since <= row["t2000"] < until:
                yield row


@at_desk
def note_access(store: Store, action: str, customer: str) -> None:
    """Note in the audit log that somebody has seen or taken what is held of a person."""
    if action not in (SEEN, EXPORTED):
        raise StoreError(_("{text!r} is no access").format(text=action[:20]))
    with store.writing() as database:
        audit.note(database, action, customer=customer)


@at_desk
def note_register_taken(store: Store, accounts: int) -> None:
    """Note in the audit log that somebody has taken the whole register as a file."""
    with store.writing() as database:
        audit.note(database, "register taken", accounts=accounts)


# --- erasure -------------------------------------------------------------------------------------


def _against(database: Database, customer: str, spans: list[Span]) -> list[str]:
    """Return what stands against erasing a person, in sentences."""
    found = []
    for span in spans:
        account = span.account
        query = "SELECT customer, closed_at FROM contracts WHERE account = ?"
        for holder, closed_at in database.all(query, (account,)):
            if holder == customer:  # what the account holds or owes is this person's
                if closed_at is None:
                    found.append(_("account {account} is open").format(account=account))
                found += _money(database, account)
        for table, said in (
            ("complaints", _("complaint {number} is open")),
            ("tickets", _("ticket {number} is open")),
        ):
            key, moment = TEXTS[table][0], _BY_MOMENT[table]
            rows = database.all(
                f"SELECT {key} FROM {table} WHERE account = ? AND closed_at IS NULL "
                f"AND {moment} >= ? AND {moment} < ? ORDER BY {key}",
                (account, span.since_at, span.end_at),
            )
            found += [said.format(number=number) for (number,) in rows]
    for one in _tenancies(database, customer):
        query = "SELECT sum(amount_fen) FROM deposit_moves WHERE tenancy = ?"
        if held_fen := int(database.value(query, (one["tenancy"],)) or 0):
            said = _("a deposit of {amount} yuan is held")
            found.append(said.format(amount=yuan(held_fen)))
    return list(dict.fromkeys(found))


def _money(database: Database, account: str) -> list[str]:
    """Return what an account owes or holds, in sentences."""
    found = []
    query = "SELECT credit_fen - debit_fen FROM accounts WHERE account = ?"
    balance_fen = int(database.value(query, (account,)) or 0)
    if balance_fen < 0:
        text = _("account {account} owes {amount} yuan")
        found.append(text.format(account=account, amount=yuan(-balance_fen)))
    elif balance_fen > 0:
        text = _("account {account} holds {amount} yuan")
        found.append(text.format(account=account, amount=yuan(balance_fen)))
    if (waiting := orders.unredeemed_within(database, account)) is not None:
        text = _("order {order} of account {account} is not redeemed")
        found.append(text.format(order=waiting.order, account=account))
    query = (
        "SELECT reference FROM payments WHERE account = ? AND state IN (?, ?) ORDER BY reference"
    )
    for (reference,) in database.all(query, (account, payments.PAID, payments.WAITING)):
        found.append(_("payment {reference} is not settled").format(reference=reference))
    return found


@at_desk
def erase(store: Store, customer: str, by: str, reason: str, *, anyway: bool) -> dict[str, int]:
    """Erase a person; return how many rows of each table were changed.

    StoreError: an account is open, money is owed or held, or work is open; `anyway` does it all
    the same.
    """
    if not reason.strip() or not by.strip():
        raise StoreError(_("say who does it and give a reason, so that an auditor finds it"))
    with store.writing() as database:
        spans = _spans(database, customer)
        _customer(database, customer)
        against = _against(database, customer, spans)
        if against and not anyway:
            raise StoreError(
                _(
                    "not erased: {against}; settle it first, or say that it is to be done anyway"
                ).format(against="; ".join(against))
            )
        return _erase_within(database, customer, spans, by, reason, len(against))


@at_desk
def erase_old(store: Store, before_at: int, after: str) -> tuple[int, str]:
    """Erase persons of a piece of the register who have had no account since a moment.

    `after` is the customer behind whom the piece begins. Return how many were erased, and the last
    customer of the piece, "": there is no more. Who owes or is owed something stays. So does who
    has lost the last account by a list, which says nothing of the time: a person erases them.
    """
    filled = " OR ".join(f"{name} <> {empty!r}" for name, empty in _CUSTOMER.items())
    by, done = audit.who_acts().person, 0
    with store.writing() as database:
        rows = database.all(
            f"SELECT customer FROM customers WHERE customer > ? AND ({filled}) AND NOT EXISTS "
            "(SELECT 1 FROM contracts WHERE contracts.customer = customers.customer "
            "AND (closed_at IS NULL OR closed_at >= ?)) ORDER BY customer LIMIT ?",
            (after, before_at, _PIECE),
        )
        for (customer,) in rows:
            spans = _spans(database, customer)
            ends = [one.until_at for one in spans]
            is_over = bool(ends) and all(end is not None and end < before_at for end in ends)
            if is_over and not _against(database, customer, spans):
                _erase_within(database, customer, spans, by, _TIME_IS_OVER, 0)
                done += 1
    return done, rows[-1][0] if rows else ""


def _erase_within(
    database: Database, customer: str, spans: list[Span], by: str, reason: str, against: int
) -> dict[str, int]:
    phone = _customer(database, customer)["phone"]
    done = {
        "notices": sum(_erase_notices_of(database, span) for span in spans),
        "papers": _erase_papers(database, customer, spans),
        "tickets": sum(_erase_texts_of(database, "tickets", span) for span in spans),
    }
    numbers = [row["id"] for row in _nobodys_complaints(database, phone)]
    erase_texts_within(database, "complaints", numbers)
    done["complaints"] = len(numbers) + sum(
        _erase_texts_of(database, "complaints", span) for span in spans
    )
    for one in _tenancies(database, customer):
        sql = "UPDATE tenancies SET name = '', phone = '' WHERE tenancy = ?"
        database.run(sql, (one["tenancy"],))
    database.run("DELETE FROM staged_entries WHERE customer = ?", (customer,))
    for account in _still_had(database, customer):
        _end_links(database, account)
    changes = ", ".join(f"{name} = ?" for name in _CUSTOMER)
    database.run(
        f"UPDATE customers SET {changes} WHERE customer = ?", (*_CUSTOMER.values(), customer)
    )
    told = {**done, "against": against, "by": by, "reason": reason[:200]}
    audit.note(database, ERASED, customer=customer, **told)
    return {name: count for name, count in done.items() if count}


def _still_had(database: Database, customer: str) -> list[str]:
    """Return the accounts that nobody else has had since."""
    rows = database.all("SELECT account FROM contracts WHERE customer = ?", (customer,))
    return [account for (account,) in rows]


def _end_links(database: Database, account: str) -> None:
    """Have no link or code open the page of an account any more, and forget its wishes."""
    notices.forget_choices_within(database, account)
    query = "SELECT generation FROM household_links WHERE account = ?"
    generation = (int(database.value(query, (account,)) or 0) + 1) % (1 << 16)
    columns = ("account", "generation", "changed_at", "why")
    row = (account, generation, int(time.time()), _ERASED_HERE)
    database.run(upsert_sql("household_links", columns, ("account",)), row)


def _erase_notices_of(database: Database, span: Span) -> int:
    numbers = [
        number
        for (number,) in database.all(
            "SELECT id FROM notices WHERE account = ? AND made_at >= ? AND made_at < ?",
            (span.account, span.since_at, span.end_at),
        )
    ]
    erase_notices_within(database, numbers)
    return len(numbers)


def erase_notices_within(database: Database, numbers: Iterable[int]) -> None:
    """Take what is personal out of notices, within a transaction; one that waits is not sent."""
    for number in numbers:
        database.run(
            "UPDATE notices SET text = '', title = '', told = '{}' WHERE id = ?", (number,)
        )
        database.run(
            "UPDATE notices SET state = ?, why = ? WHERE id = ? AND state = ?",
            (notices.LEFT_OUT, _ERASED_HERE, number, notices.WAITING),
        )
        database.run("UPDATE notice_tries SET said = '' WHERE notice = ?", (number,))


def _erase_texts_of(database: Database, table: str, span: Span) -> int:
    key, moment = TEXTS[table][0], _BY_MOMENT[table]
    numbers = [
        number
        for (number,) in database.all(
            f"SELECT {key} FROM {table} WHERE account = ? AND {moment} >= ? AND {moment} < ?",
            (span.account, span.since_at, span.end_at),
        )
    ]
    erase_texts_within(database, table, numbers)
    return len(numbers)


def erase_texts_within(database: Database, table: str, numbers: Iterable[int]) -> None:
    """Take the texts out of complaints or tickets, within a transaction."""
    key, texts = TEXTS[table]
    changes = ", ".join(f"{name} = ''" for name in texts)
    for number in numbers:
        database.run(f"UPDATE {table} SET {changes} WHERE {key} = ?", (number,))


def _erase_papers(database: Database, customer: str, spans: list[Span]) -> int:
    """Take a customer's name and address out of the papers that have them; return how many."""
    count = 0
    for account in dict.fromkeys(span.account for span in spans):
        query = "SELECT id, detail FROM papers WHERE account = ? ORDER BY id"
        for one in database.rows(query, (account,)):
            before = json.dumps(one["detail"], ensure_ascii=False)
            for side in ("before", "after"):
                for row in one["detail"].get(side, {}).get("customers", ()):
                    if row["customer"] == customer:
                        row.update({name: _CUSTOMER[name] for name in row if name in _CUSTOMER})
            after = json.dumps(one["detail"], ensure_ascii=False)
            if after != before:
                database.run("UPDATE papers SET detail = ? WHERE id = ?", (after, one["id"]))
                count += 1
    return count
