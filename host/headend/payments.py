"""Payments at providers: begun, told to be paid, sold once, and held against the statements.

What a provider tells is noted in one transaction and sold in the next, under the reference of the
payment: a notification that comes twice, late, or again behind a crash sells once. Money that does
not fit is sold to nobody: it is a finding until a person has looked.
"""

import json
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from host.headend import audit, channel_sales, channels, orders
from host.headend.channel_sales import check_account, full_reference
from host.headend.database import Database
from host.headend.desk import NO_ANSWER, at_desk
from host.headend.errors import Declined, StoreError, StoreFailed
from host.headend.orders import Till
from host.headend.provider_kinds import PROVIDERS
from host.headend.providers import YUAN, Paid, Wanted
from host.headend.store import Store, zone_of
from host.units import yuan
from host.words import _, marked

WAITING, PAID, SOLD, DIFFERS = marked("waiting"), marked("paid"), marked("sold"), marked("differs")
OVER = marked("over")  # the provider takes it no more, and has no money of it
VALID_S = 2 * 3600
# A provider is asked what its notification has not told: soon, then less and less often.
_ASK_AFTER_S = 60
_ASK_AGAIN_S = (60, 300, 1800)
# As long as this after its end: a notification and a statement come later.
_ASK_UNTIL_S = 24 * 3600
_CODE_LIMIT = 600
KIND = marked("payment")
_UNKNOWN = marked(
    "{channel}: {amount} yuan were paid under {reference}, which is no payment of ours"
)
_TWICE = marked(
    "{channel}: the payment {reference} was paid twice, the second time as {provider_id} "
    "over {amount} yuan"
)
_OTHER = marked(
    "{channel}: {amount} yuan were paid for the payment {reference} over {wanted} yuan: nothing "
    "is sold"
)
_CHANGED = marked(
    "{channel}: {provider_id} was over {wanted} yuan and is now told to be over {amount}"
)
_CURRENCY = marked(
    "{channel}: the payment {reference} was paid with {amount} {currency} in place of yuan: "
    "nothing is sold"
)
_PAID_BACK = marked(
    "{channel}: {amount} yuan of the payment {reference} were paid back at the provider "
    "({provider_id}), and the books have no refund of it"
)
_UNSOLD = marked(
    "{channel}: the payment {reference} over {amount} yuan is paid and not sold: {said}"
)
_UNTOLD = marked("{channel}: the payment {reference} stands in the statement and was never told")
_MISSING = marked("{channel}: the payment {reference} over {amount} yuan is not in the statement")


@dataclass(frozen=True, slots=True)
class Taken:
    """What a statement said: its lines, how many of them fit, and what there is to be sold."""

    lines: int
    matched: int
    differences: int
    unsold: list[str]


@dataclass(frozen=True, slots=True)
class Begun:
    """A payment that was begun; `code` is what the payer scans or opens."""

    reference: str
    code: str


# --- the life of a payment ----------------------------------------------------------------------


def begin(store: Store, provider: str, account: str, amount_fen: int) -> Begun:
    """Begin a payment here and at its provider. Declined: one of both does not take it.

    The provider is asked outside of any transaction, as it may take its time.
    """
    channel, access = channels.provider_of(store, provider)
    reference = begin_payment(store, provider, account, amount_fen)
    wanted = Wanted(reference, account, amount_fen, int(time.time()) + VALID_S)
    code = PROVIDERS[channel.kind].begin(access, wanted)
    note_code(store, reference, code[:_CODE_LIMIT])
    return Begun(reference, code)


@at_desk
def note_code(store: Store, reference: str, code: str) -> None:
    """Note what the payer scans or opens."""
    with store.writing() as database:
        database.run("UPDATE payments SET code = ? WHERE reference = ?", (code, reference))


@at_desk
def begin_payment(store: Store, provider: str, account: str, amount_fen: int) -> str:
    """Begin a payment; return its reference, which the provider repeats. Declined, StoreError."""
    now = int(time.time())
    with store.writing() as database:
        channel = channels.find_channel(database, provider)
        if channel is None or channel.kind not in PROVIDERS:
            raise Declined("no_provider", _("there is no provider {name}").format(name=provider))
        check_account(database, account)
        channels.check_amount(database, channel, amount_fen)
        reference = secrets.token_hex(12)
        columns = (
            *("reference", "channel", "account", "amount_fen", "begun_at", "expires_at"),
            "state",
        )
        row = (reference, provider, account, amount_fen, now, now + VALID_S, WAITING)
        database.insert_new("payments", columns, [row])
    return reference


def take_notice(store: Store, provider: str, paid: Paid) -> str:
    """Note what a provider tells and sell what fits; return the state of the payment."""
    state = payment_told(store, provider, paid)
    return sell_paid(store, paid.reference) if state == PAID else state


def sell_paid(store: Store, reference: str) -> str:
    """Sell what was paid, once; return the state of the payment, which tells why it is not.

    StoreFailed, Declined: nobody knows whether it was sold; it is told again, or sold later.
    """
    try:
        return payment_sold(store, reference)
    except StoreFailed:
        raise
    except StoreError as error:
        if isinstance(error, Declined) and error.name == NO_ANSWER:
            raise
        note_unsold(store, reference, str(error))
        return PAID


@at_desk
def payment_told(store: Store, provider: str, paid: Paid) -> str:
    """Note that a provider says a payment was paid; return its state then."""
    with store.writing() as database:
        return _note_paid(database, provider, paid)


def _set_apart(database: Database, provider: str, paid: Paid) -> str:
    """Note that a payment waits for a person, unless it was paid before; return its state."""
    database.run(
        "UPDATE payments SET state = ?, provider_id = ?, paid_at = ? "
        "WHERE channel = ? AND reference = ? AND provider_id = '' AND NOT EXISTS "
        "(SELECT 1 FROM payments AS other WHERE other.channel = ? AND other.provider_id = ?)",
        (
            *(DIFFERS, paid.provider_id, paid.paid_at, provider, paid.reference),
            *(provider, paid.provider_id),
        ),
    )
    state = database.value(
        "SELECT state FROM payments WHERE channel = ? AND reference = ?",
        (provider, paid.reference),
    )
    return str(state or DIFFERS)


def _note_paid(database: Database, provider: str, paid: Paid) -> str:
    rows = database.rows(
        "SELECT * FROM payments WHERE channel = ? AND reference = ?", (provider, paid.reference)
    )
    told = {"channel": provider, "reference": paid.reference, "amount": yuan(paid.amount_fen)}
    if paid.currency != YUAN:
        _find(
            database, rows[0]["account"] if rows else "", _CURRENCY, **told, currency=paid.currency
        )
        return _set_apart(database, provider, paid)
    if not rows:
        _find(database, "", _UNKNOWN, **told)
        return DIFFERS
    one = rows[0]
    if one["provider_id"]:
        if one["provider_id"] != paid.provider_id:
            _find(database, one["account"], _TWICE, **told, provider_id=paid.provider_id)
        elif one["paid_fen"] != paid.amount_fen:
            wanted = yuan(one["paid_fen"])
            named = {"provider_id": paid.provider_id, "wanted": wanted}
            _find(database, one["account"], _CHANGED, **told, **named)
        return str(one["state"])
    fits = one["amount_fen"] == paid.amount_fen
    if not fits:
        _find(database, one["account"], _OTHER, **told, wanted=yuan(one["amount_fen"]))
    state = PAID if fits else DIFFERS
    changed = database.run(
        "UPDATE payments SET state = ?, provider_id = ?, paid_fen = ?, paid_at = ? "
        "WHERE reference = ? AND NOT EXISTS (SELECT 1 FROM payments AS other "
        "WHERE other.channel = ? AND other.provider_id = ?)",
        (
            *(state, paid.provider_id, paid.amount_fen, paid.paid_at, paid.reference),
            *(provider, paid.provider_id),
        ),
    ).rowcount
    if not changed:  # one payment of the provider stands for one of ours
        _find(database, one["account"], _TWICE, **told, provider_id=paid.provider_id)
        return str(one["state"])
    audit.note(
        database, "payment", one["account"], paid.amount_fen, reference=paid.reference, state=state
    )
    return state


@at_desk
def payment_sold(store: Store, reference: str) -> str:
    """Sell a payment that is paid, once; return its state. StoreError: it cannot be sold now."""
    with store.writing() as database:
        rows = database.rows("SELECT * FROM payments WHERE reference = ?", (reference,))
        if not rows:
            raise StoreError(_("there is no payment {reference}").format(reference=reference))
        one = rows[0]
        if one["state"] != PAID:
            return str(one["state"])
        account, channel = one["account"], one["channel"]
        concentrator = check_account(database, account)
        named, till = full_reference(channel, reference), Till(channel=channel)
        order = orders.sell_within(database, account, one["paid_fen"], till, named)
        channel_sales.send_within(database, account, order, concentrator, channel)
        database.run(
            "UPDATE payments SET state = ?, \"order\" = ?, why = '' WHERE reference = ?",
            (SOLD, order, reference),
        )
    return SOLD


@at_desk
def note_unsold(store: Store, reference: str, why: str) -> None:
    """Note why a payment that is paid is not sold."""
    with store.writing() as database:
        for one in database.rows("SELECT * FROM payments WHERE reference = ?", (reference,)):
            told = {"channel": one["channel"], "reference": reference, "said": why[:200]}
            _find(database, one["account"], _UNSOLD, **told, amount=yuan(one["paid_fen"]))
            database.run("UPDATE payments SET why = ? WHERE reference = ?", (why[:200], reference))


def sell_waiting(store: Store) -> list[str]:
    """Sell all that is paid and not sold, as behind a crash; return what is still not."""
    rows = store.rows("SELECT reference FROM payments WHERE state = ?", (PAID,))
    return [one["reference"] for one in rows if sell_paid(store, one["reference"]) != SOLD]


# --- asking -------------------------------------------------------------------------------------


def ask_waiting(store: Store, now: int) -> int:
    """Ask the providers for the payments that are due to be asked for; return how many were.

    A provider that does not answer is asked again the next time.
    """
    rows = store.rows(
        "SELECT * FROM payments WHERE state = ? AND begun_at <= ? AND expires_at >= ? "
        "ORDER BY asked_at",
        (WAITING, now - _ASK_AFTER_S, now - _ASK_UNTIL_S),
    )
    asked = 0
    silent: set[str] = set()
    for one in rows:
        if one["channel"] in silent or now < one["asked_at"] + _pause_s(now - one["begun_at"]):
            continue
        asked += 1
        try:
            ask(store, one["reference"], now)
        except Declined:
            silent.add(one["channel"])
    return asked


def _pause_s(age_s: int) -> int:
    """Return how long to wait between two questions about a payment of an age."""
    soon, later, seldom = _ASK_AGAIN_S
    return soon if age_s < 2 * later else later if age_s < VALID_S else seldom


def ask(store: Store, reference: str, now: int) -> str:
    """Ask the provider what became of a payment, and sell what was paid; return its state.

    Declined: there is no such payment, or the provider does not say.
    """
    one = payment(store, reference)
    if one is None:
        raise Declined("no_such_payment", _("no payment has this reference"))
    if one["state"] not in (WAITING, OVER):
        return str(one["state"])
    channel, access = channels.provider_of(store, one["channel"])
    note_asked(store, reference, now)
    known = PROVIDERS[channel.kind].ask(access, reference)
    if known.paid is not None:
        return take_notice(store, channel.name, known.paid)
    # Before its end a provider may not know it yet.
    if known.is_over and now > one["expires_at"]:
        return note_over(store, reference)
    return str(one["state"])


@at_desk
def note_asked(store: Store, reference: str, now: int) -> None:
    """Note when the provider was asked about a payment."""
    with store.writing() as database:
        database.run("UPDATE payments SET asked_at = ? WHERE reference = ?", (now, reference))


@at_desk
def note_over(store: Store, reference: str) -> str:
    """Note that a payment is over without money; return its state. What is paid stays so."""
    with store.writing() as database:
        database.run(
            "UPDATE payments SET state = ? WHERE reference = ? AND state = ?",
            (OVER, reference, WAITING),
        )
        state = database.value("SELECT state FROM payments WHERE reference = ?", (reference,))
    return str(state)


# --- statements ---------------------------------------------------------------------------------


def take_statement(store: Store, provider: str, day: date, lines: list[Paid]) -> Taken:
    """Hold a provider's statement of a day against the payments, and sell what was never told."""
    taken = statement_lines(store, provider, day, lines)
    for reference in taken.unsold:
        sell_paid(store, reference)
    return taken


@at_desk
def statement_lines(store: Store, provider: str, day: date, lines: list[Paid]) -> Taken:
    """Note the lines of a statement, and each difference as a finding. StoreError."""
    now = int(time.time())
    with store.writing() as database:
        channel = channels.find_channel(database, provider)
        if channel is None or channel.kind not in PROVIDERS:
            raise StoreError(_("there is no provider {name}").format(name=provider))
        zone = zone_of(database)
        strange = [one for one in lines if _day_of(one.paid_at, zone) != day.isoformat()]
        if strange:
            raise StoreError(
                _("{provider_id} was not paid on {day}: give the day of the statement").format(
                    provider_id=strange[0].provider_id, day=day.isoformat()
                )
            )
        matched = [_match(database, provider, one, day, now) for one in lines]
        missing = _missing(database, provider, day, {one.provider_id for one in lines}, zone)
        unsold = database.all(
            "SELECT reference FROM payments WHERE channel = ? AND state = ?", (provider, PAID)
        )
        differences = len(lines) - sum(matched) + missing
        told = {"lines": len(lines), "differences": differences, "day": day.isoformat()}
        audit.note(database, "statement", channel=provider, **told)
    return Taken(len(lines), sum(matched), differences, [reference for (reference,) in unsold])


def _match(database: Database, provider: str, line: Paid, day: date, now: int) -> bool:
    """Note a line; return whether our payment said the same before."""
    before = database.rows(
        "SELECT state, provider_id, paid_fen FROM payments WHERE channel = ? AND reference = ?",
        (provider, line.reference),
    )
    one = before[0] if before else {"state": "", "provider_id": "", "paid_fen": 0}
    same = (one["provider_id"], one["paid_fen"]) == (line.provider_id, line.amount_fen)
    is_matched = same and one["state"] in (PAID, SOLD) and line.currency == YUAN
    if line.amount_fen < 0:
        named = {
            "channel": provider,
            "reference": line.reference,
            "amount": yuan(-line.amount_fen),
        }
        _find(database, "", _PAID_BACK, **named, provider_id=line.provider_id)
    elif not is_matched:
        if one["state"] in (WAITING, OVER):
            named = {"channel": provider, "reference": line.reference}
            _find(database, "", _UNTOLD, **named)
        _note_paid(database, provider, line)
    columns = (
        *("channel", "provider_id", "reference", "amount_fen", "day", "matched"),
        "taken_at",
    )
    row = (
        *(provider, line.provider_id, line.reference, line.amount_fen, day.isoformat()),
        *(int(is_matched), now),
    )
    database.insert_new("statement_lines", columns, [row])
    return is_matched


def _missing(database: Database, provider: str, day: date, there: Iterable[str], zone: Any) -> int:
    """Note what we have as paid on a day and its statement has not; return how many that is."""
    known = frozenset(there)
    missing = [
        one
        for one in database.rows(
            "SELECT * FROM payments WHERE channel = ? AND paid_at IS NOT NULL", (provider,)
        )
        if one["provider_id"] not in known and _day_of(one["paid_at"], zone) == day.isoformat()
    ]
    for one in missing:
        told = {"channel": provider, "reference": one["reference"]}
        _find(database, one["account"], _MISSING, **told, amount=yuan(one["paid_fen"]))
    return len(missing)


def _day_of(at: int, zone: Any) -> str:
    return datetime.fromtimestamp(at, zone).date().isoformat()


def _find(database: Database, account: str, text: str, **values: str) -> None:
    """Note a difference as a finding, once as long as it is the same."""
    what = json.dumps({"text": text, **values}, ensure_ascii=False, sort_keys=True)
    columns = ("concentrator", "seq", "kind", "account", "what", "found_at")
    database.insert_new("findings", columns, [(0, 0, KIND, account, what, int(time.time()))])


# --- looking ------------------------------------------------------------------------------------


def payment(store: Store, reference: str) -> dict[str, Any] | None:
    """Return a payment, None: there is none."""
    rows = store.rows("SELECT * FROM payments WHERE reference = ?", (reference,))
    return rows[0] if rows else None


def payments(store: Store, *, open_only: bool = False) -> list[dict[str, Any]]:
    """Return the payments, the newest last; with `open_only` those that are not sold."""
    condition = "WHERE state <> ?" if open_only else "WHERE state <> ''"
    values = (SOLD,) if open_only else ()
    return store.rows(f"SELECT * FROM payments {condition} ORDER BY begun_at, reference", values)
