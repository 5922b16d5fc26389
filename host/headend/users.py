"""People who sign in at the pages: their roles, passwords, sessions and failed attempts.

A password is kept as its argon2 hash, and a session as the hash of the token that the browser
has: who reads the database can sign in with neither. Checking a password takes a tenth of a second
on purpose, so that is done in the process of the pages; every change is one transaction.
"""

import hashlib
import secrets
import time
from dataclasses import dataclass
from functools import cache
from typing import Any

from host.headend.database import Database
from host.headend.desk import at_desk
from host.headend.errors import Declined, StoreError
from host.headend.store import Store
from host.words import _, marked

# Permissions. KEEP is to change accounts, and to approve what others may not do alone.
LOOK, SELL, REFUND, SWITCH = "look", "sell", "refund", "switch"
KEEP, AUDIT = "keep", "audit"
_ALL = (LOOK, SELL, REFUND, SWITCH, KEEP, AUDIT)

_ROLES = {
    marked("viewer"): (LOOK,),
    marked("cashier"): (LOOK, SELL),
    marked("engineer"): (LOOK, SWITCH),
    marked("manager"): _ALL,
    marked("auditor"): (LOOK, AUDIT),
    marked("admin"): _ALL,
}
ROLES = tuple(_ROLES)
ADMIN = "admin"
USER_LIMIT = 64
PASSWORD_LEAST = 8
PASSWORD_LIMIT = 200
# A session ends after so long without a page, and in any case after a day.
IDLE_S = 8 * 3600
SESSION_S = 24 * 3600
# How old the note of the last page may be before it is written again.
_SEEN_AGAIN_S = 300
# Failures at a name or an address that cost nothing; each further one doubles the wait.
_FREE_FAILURES = 5
_WAIT_S = 30
_WAIT_LIMIT_S = 900
_FORGOTTEN_S = 24 * 3600


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks for a page, and what this person may do."""

    name: str
    role: str

    def may(self, permission: str) -> bool:
        """Return whether the person has a permission."""
        return permission in _ROLES.get(self.role, ())


# --- the hash of a password ---------------------------------------------------------------------


@cache
def _hasher() -> Any:
    from argon2 import PasswordHasher

    return PasswordHasher()


def hashed(password: str) -> str:
    """Return the hash of a new password; StoreError: it is too short or too long."""
    if not PASSWORD_LEAST <= len(password) <= PASSWORD_LIMIT:
        raise StoreError(
            _("a password has {least} to {most} characters").format(
                least=PASSWORD_LEAST, most=PASSWORD_LIMIT
            )
        )
    text: str = _hasher().hash(password)
    return text


@cache
def _nobody() -> str:
    """Return the hash of a password that no one has, so that an unknown name takes as long."""
    return hashed(secrets.token_hex(16))


def _fits(known: str, password: str) -> bool:
    from argon2.exceptions import InvalidHashError, VerificationError

    try:
        return bool(_hasher().verify(known, password))
    except (VerificationError, InvalidHashError):
        return False


# --- people -------------------------------------------------------------------------------------


@at_desk
def add(store: Store, name: str, role: str, password_hash: str) -> None:
    """Add a person, or one whose name was taken away; StoreError: the name is in use."""
    if not 0 < len(name) <= USER_LIMIT or not name.isprintable() or name.strip() != name:
        raise StoreError(
            _("{name!r} is no name: 1 to {most} printable characters, no blanks around").format(
                name=name, most=USER_LIMIT
            )
        )
    with store.writing() as database:
        columns = ("user", "role", "password", "made_at")
        database.run('DELETE FROM users WHERE "user" = ? AND closed_at IS NOT NULL', (name,))
        row = (name, role, password_hash, int(time.time()))
        if database.insert_new("users", columns, [row]) != 1:
            raise StoreError(
                _("there is a user {name}: `dianka headend user change` changes it").format(
                    name=name
                )
            )


@at_desk
def change(store: Store, name: str, role: str, password_hash: str) -> None:
    """Give a person another role or password, "": the same; its sessions end. StoreError."""
    with store.writing() as database:
        changed = database.run(
            "UPDATE users SET role = CASE WHEN ? = '' THEN role ELSE ? END, "
            "password = CASE WHEN ? = '' THEN password ELSE ? END "
            'WHERE "user" = ? AND closed_at IS NULL',
            (role, role, password_hash, password_hash, name),
        ).rowcount
        if not changed:
            raise _unknown(name)
        database.run('DELETE FROM sessions WHERE "user" = ?', (name,))
        database.run("DELETE FROM sign_in_tries WHERE place = ?", (_place_of(name),))


@at_desk
def close_user(store: Store, name: str) -> None:
    """Take a name away; its sessions end. StoreError: there is none."""
    with store.writing() as database:
        changed = database.run(
            'UPDATE users SET closed_at = ? WHERE "user" = ? AND closed_at IS NULL',
            (int(time.time()), name),
        ).rowcount
        if not changed:
            raise _unknown(name)
        database.run('DELETE FROM sessions WHERE "user" = ?', (name,))


def _unknown(name: str) -> StoreError:
    return StoreError(
        _("there is no user {name}: `dianka headend user list` lists them").format(name=name)
    )


def people(store: Store) -> list[dict[str, Any]]:
    """Return who may sign in, by name, with the moment of the newest page."""
    return store.rows(
        'SELECT users."user", role, made_at, max(seen_at) AS seen_at FROM users '
        'LEFT JOIN sessions ON sessions."user" = users."user" WHERE closed_at IS NULL '
        'GROUP BY users."user", role, made_at ORDER BY users."user"'
    )


# --- signing in ---------------------------------------------------------------------------------


def sign_in(store: Store, name: str, password: str, address: str) -> str:
    """Return the token of a new session; StoreError: wrong, or tried too often.

    Every attempt is counted before the password is looked at, so that many at once are as slow.
    """
    begin_try(store, name, address)
    known = store.value(
        'SELECT password FROM users WHERE "user" = ? AND closed_at IS NULL', (name,)
    )
    if not _fits(known or _nobody(), password[:PASSWORD_LIMIT]) or known is None:
        raise StoreError(_("name or password is wrong"))
    token = secrets.token_urlsafe(32)
    open_session(store, name, address, hash_of(token))
    return token


@at_desk
def begin_try(store: Store, name: str, address: str) -> None:
    """Count an attempt to sign in; StoreError: too many have failed."""
    with store.writing() as database:
        for place in (_place_of(name), f"address {address}"[:100]):
            count_try(database, place)


def count_try(database: Database, place: str) -> None:
    """Count an attempt at a place, within a transaction. Declined: too many have failed."""
    now = int(time.time())
    rows = database.all("SELECT failures, last_at FROM sign_in_tries WHERE place = ?", (place,))
    failures, last_at = rows[0] if rows else (0, 0)
    if now - last_at > _FORGOTTEN_S:
        failures = 0
    if (wait_s := last_at + _wait_s(failures) - now) > 0:
        raise Declined(
            "too_many_tries",
            _("too many attempts have failed: try again in {seconds} s").format(seconds=wait_s),
        )
    database.run("DELETE FROM sign_in_tries WHERE place = ?", (place,))
    columns = ("place", "failures", "last_at")
    database.insert_new("sign_in_tries", columns, [(place, failures + 1, now)])


def forget_tries(database: Database, place: str) -> None:
    """Forget the attempts at a place, one of which was right."""
    database.run("DELETE FROM sign_in_tries WHERE place = ?", (place,))


def _wait_s(failures: int) -> int:
    if failures < _FREE_FAILURES:
        return 0
    return int(min(_WAIT_LIMIT_S, _WAIT_S << min(failures - _FREE_FAILURES, 20)))


def _place_of(name: str) -> str:
    return f"user {name}"[:100]


@at_desk
def open_session(store: Store, name: str, address: str, token_hash: str) -> None:
    """Note that a person has signed in; attempts of the name and of the address are forgotten."""
    now = int(time.time())
    with store.writing() as database:
        database.run("DELETE FROM sessions WHERE seen_at < ?", (now - SESSION_S,))
        for place in (_place_of(name), f"address {address}"[:100]):
            forget_tries(database, place)
        columns = ("token", "user", "begun_at", "seen_at")
        database.insert_new("sessions", columns, [(token_hash, name, now, now)])


def person_of(store: Store, token: str) -> tuple[Person | None, bool]:
    """Return who has a session, None: no one, and whether the note of its last page is old."""
    now = int(time.time())
    rows = store.rows(
        'SELECT users."user", role, seen_at FROM sessions JOIN users '
        'ON users."user" = sessions."user" AND closed_at IS NULL '
        "WHERE token = ? AND seen_at > ? AND begun_at > ?",
        (hash_of(token), now - IDLE_S, now - SESSION_S),
    )
    if not rows:
        return None, False
    one = rows[0]
    return Person(one["user"], one["role"]), now - one["seen_at"] > _SEEN_AGAIN_S


@at_desk
def note_seen(store: Store, token_hash: str) -> None:
    """Note that a session has just asked for a page."""
    with store.writing() as database:
        database.run(
            "UPDATE sessions SET seen_at = ? WHERE token = ?", (int(time.time()), token_hash)
        )


@at_desk
def end_session(store: Store, token_hash: str) -> None:
    """End a session."""
    with store.writing() as database:
        database.run("DELETE FROM sessions WHERE token = ?", (token_hash,))


def hash_of(token: str) -> str:
    """Return what the database has of a browser's token."""
    return hashlib.sha256(token.encode()).hexdigest()
