"""The links to households' own pages: what a receipt's QR code has, and what a code opens.

A link's token is the account, who has it now, and a generation, sealed by a key of the station
(AES-SIV): it cannot be guessed, shows nothing of the account, and is the same each time without
being kept. It ends when the account is closed or goes to another customer or tenant, and when the
station raises the generation.
"""

import binascii
import hashlib
import hmac
import re
import secrets
import struct
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from host.headend import audit, notices, users
from host.headend.database import Database, upsert_sql
from host.headend.desk import at_desk
from host.headend.errors import StoreError
from host.headend.life import OPENED, TRANSFERRED
from host.headend.store import Store
from host.words import _

TOKEN = re.compile("[A-Za-z0-9_-]{44}")
CODE_S = 600
# A link that a code has opened.
VISIT_S = 1800
_CODE_TRIES = 5
_SEAL_KEY_SIZE = 32
_SEAL_KEY = re.compile(f"[0-9a-f]{{{2 * _SEAL_KEY_SIZE}}}")
# Account as digits, holder, generation, and the minute since 1970 at which it ends, 0: at none.
_PLAIN = struct.Struct(">6s5sHI")
_PURPOSE = b"dianka/household/1"


@dataclass(frozen=True, slots=True)
class StationTold:
    """What a station tells households; "": it has not said."""

    page_url: str
    hotline: str
    pay_at: str


@dataclass(frozen=True, slots=True)
class Opened:
    """The account of a link, and since when its holder has it, seconds since 1970."""

    account: str
    since_at: int


# --- the station --------------------------------------------------------------------------------


def station(store: Store) -> StationTold:
    """Return what the station tells households."""
    ((url, hotline, pay_at),) = (
        (row["page_url"], row["hotline"], row["pay_at"])
        for row in store.rows("SELECT page_url, hotline, pay_at FROM station")
    )
    return StationTold(url, hotline, pay_at)


@at_desk
def set_station(
    store: Store, page_url: str | None, hotline: str | None, pay_at: str | None
) -> None:
    """Say where households' pages are, whom to call and where to pay; None: as before."""
    if page_url:
        parts = urlsplit(page_url)
        is_safe = parts.scheme == "https" or parts.hostname in ("127.0.0.1", "localhost")
        if not parts.hostname or not is_safe or parts.query or len(page_url) > 200:
            raise StoreError(
                _("{url!r} is no address of pages: write https://NAME").format(url=page_url[:80])
            )
        page_url = page_url.rstrip("/")
    told = {"page_url": page_url, "hotline": hotline, "pay_at": pay_at}
    given = {name: value for name, value in told.items() if value is not None}
    for name, limit in (("hotline", 64), ("pay_at", 400)):
        value = given.get(name, "")
        if len(value) > limit or not value.isprintable():
            raise StoreError(
                _("{what} has at most {limit} printable characters").format(what=name, limit=limit)
            )
    with store.writing() as database:
        for name, value in given.items():
            database.run(f"UPDATE station SET {name} = ?", (value,))
        if not database.value("SELECT link_key FROM station"):
            database.run("UPDATE station SET link_key = ?", (secrets.token_hex(_SEAL_KEY_SIZE),))
        audit.note(database, "household pages", **given)


# --- links --------------------------------------------------------------------------------------


def link_of(store: Store, account: str) -> str:
    """Return the link of an account's page, "": the station has none, or nobody has it now."""
    with store.database.looking():
        database = store.database
        url, key = database.value("SELECT page_url FROM station"), _key(database)
        if not url or not key:
            return ""
        holder = _holder(database, account)
        if holder is None:
            return ""
        return f"{url}/h/{_token(database, key, account, holder[0], 0)}"


def visit_token(store: Store, account: str) -> str:
    """Return the token of a link that ends soon, "": nobody has the account."""
    with store.database.looking():
        database = store.database
        key = _key(database)
        holder = _holder(database, account)
        if not key or holder is None:
            return ""
        ends = (int(time.time()) + VISIT_S) // 60
        return _token(database, key, account, holder[0], ends)


def _key(database: Database) -> bytes:
    """Return the key of the links, b"": the station has none."""
    key = database.value("SELECT link_key FROM station")
    return bytes.fromhex(key) if _SEAL_KEY.fullmatch(key) else b""


def _token(database: Database, key: bytes, account: str, holder: bytes, ends: int) -> str:
    generation = _generation(database, account)
    plain = _PLAIN.pack(bytes.fromhex(account), holder, generation, ends)
    sealed = AESSIV(key).encrypt(plain, [_PURPOSE])
    return urlsafe_b64encode(sealed).decode()


def _generation(database: Database, account: str) -> int:
    found = database.value("SELECT generation FROM household_links WHERE account = ?", (account,))
    return int(found or 0)


def _holder(database: Database, account: str) -> tuple[bytes, int] | None:
    """Return a mark of who has an account, and since when, None: nobody has it."""
    rows = database.all(
        "SELECT customer, opened_at, closed_at FROM contracts WHERE account = ?", (account,)
    )
    if not rows:
        known = database.value("SELECT 1 FROM accounts WHERE account = ?", (account,))
        return None if known is None else (hashlib.sha256(b"").digest()[:5], 0)
    customer, opened_at, closed_at = rows[0]
    if closed_at is not None:
        return None
    moved = database.value(
        "SELECT max(at) FROM papers WHERE account = ? AND kind IN (?, ?)",
        (account, TRANSFERRED, OPENED),
    )
    tenants = database.all(
        "SELECT tenancy, since_at FROM tenancies WHERE account = ? AND until_at IS NULL",
        (account,),
    )
    ended = database.value("SELECT max(until_at) FROM tenancies WHERE account = ?", (account,))
    tenancy, since_at = tenants[0] if tenants else (0, 0)
    text = f"{customer}\n{tenancy}\n{opened_at}"
    began = max(moved or 0, since_at or 0, ended or 0)
    return hashlib.sha256(text.encode()).digest()[:5], int(began)


def opened(store: Store, token: str) -> Opened | None:
    """Return the account of a token, None: it is none of a link that counts."""
    if not TOKEN.fullmatch(token):
        return None
    with store.database.looking():
        database = store.database
        key = _key(database)
        if not key:
            return None
        try:
            sealed = urlsafe_b64decode(token)
            plain = AESSIV(key).decrypt(sealed, [_PURPOSE])
            packed, mark, generation, ends = _PLAIN.unpack(plain)
        except (InvalidTag, binascii.Error, ValueError, struct.error):
            return None
        account = packed.hex()
        holder = _holder(database, account)
        if holder is None or not hmac.compare_digest(holder[0], mark):
            return None
        if generation != _generation(database, account) or (ends and ends * 60 < time.time()):
            return None
        return Opened(account, holder[1])


@at_desk
def revoke_links(store: Store, account: str, reason: str) -> None:
    """End all links to the page of an account; new receipts get another one. StoreError."""
    if not reason.strip():
        raise StoreError(_("give a reason, so that an auditor finds it"))
    with store.writing() as database:
        if _holder(database, account) is None:
            raise StoreError(
                _("there is no account {account}: search for it by name or meter").format(
                    account=account
                )
            )
        generation = (_generation(database, account) + 1) % (1 << 16)
        columns = ("account", "generation", "changed_at", "why")
        row = (account, generation, int(time.time()), reason[:200])
        database.run(upsert_sql("household_links", columns, ("account",)), row)
        database.run("DELETE FROM household_codes WHERE account = ?", (account,))
        audit.note(database, "household link", account, reason=reason[:200])


def name_of(store: Store, account: str) -> str:
    """Return the name of who has an account, the tenant's where one lives there; "": not known."""
    found = store.value(
        "SELECT name FROM tenancies WHERE account = ? AND until_at IS NULL", (account,)
    )
    if found is None:
        found = store.value(
            "SELECT name FROM contracts JOIN customers "
            "ON customers.customer = contracts.customer WHERE account = ? AND closed_at IS NULL",
            (account,),
        )
    return found or ""


# --- codes --------------------------------------------------------------------------------------


def ask_code(store: Store, account: str, address: str) -> None:
    """Have a code sent to the telephone on record; nobody is told whether there is one.

    Declined: codes were asked for too often.
    """
    note_one_time_code(
        store, account, address, f"{secrets.randbelow(10**6):06d}", secrets.token_hex(8)
    )


@at_desk
def note_one_time_code(store: Store, account: str, address: str, code: str, event: str) -> None:
    """Note a code and the notice that brings it. Declined: too many were asked for."""
    with store.writing() as database:
        for place in (f"code {account}", f"codes {address}"):
            users.count_try(database, place[:100])
        contact = notices.contact_within(database, account)
        if contact is None or not (contact.phone or contact.email):
            return
        if not _key(database):
            return
        columns = ("account", "digest", "made_at", "failures")
        row = (account, _digest(account, code), int(time.time()), 0)
        database.run(upsert_sql("household_codes", columns, ("account",)), row)
        values = {"code": code, "minutes": str(CODE_S // 60)}
        notices.announce(database, notices.CODE, [account], event, values)


def _digest(account: str, code: str) -> str:
    return hashlib.sha256(f"{account}:{code}".encode()).hexdigest()


@at_desk
def use_code(store: Store, account: str, code: str) -> bool:
    """Use a code up; return whether it was right. A wrong one counts, and five end the code."""
    now = int(time.time())
    with store.writing() as database:
        rows = database.all(
            "SELECT digest, made_at, failures FROM household_codes WHERE account = ?", (account,)
        )
        if not rows:
            return False
        digest, made_at, failures = rows[0]
        is_open = now - made_at <= CODE_S and failures < _CODE_TRIES
        if is_open and hmac.compare_digest(digest, _digest(account, code)):
            database.run("DELETE FROM household_codes WHERE account = ?", (account,))
            users.forget_tries(database, f"code {account}")
            return True
        database.run(
            "UPDATE household_codes SET failures = failures + 1 WHERE account = ?", (account,)
        )
        return False


def bought(store: Store, account: str, since_at: int, limit: int) -> list[dict[str, Any]]:
    """Return what was sold to an account since a moment, the newest first."""
    return store.rows(
        'SELECT "order", amount_fen, sold_at, channel, voided_at, coalesce('
        '(SELECT "order" FROM accounts WHERE accounts.account = orders.account), 0) AS newest '
        "FROM orders WHERE account = ? AND sold_at >= ? AND amount_fen <> 0 "
        "ORDER BY id DESC LIMIT ?",
        (account, since_at, limit),
    )


def told(store: Store, account: str, since_at: int, limit: int) -> list[dict[str, Any]]:
    """Return what an account's household was told since a moment, the newest first."""
    return store.rows(
        "SELECT kind, title, text, state, sent_at FROM notices WHERE account = ? "
        "AND sent_at >= ? AND kind <> ? ORDER BY id DESC LIMIT ?",
        (account, since_at, notices.CODE, limit),
    )
