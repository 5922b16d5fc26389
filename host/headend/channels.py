"""Channels: programs of banks, shops and machines that sell for the station, each with its key.

A call is signed with the key of its channel: HMAC-SHA256 over method, path, moment, nonce,
idempotency key and the SHA-256 of its body. It counts within WINDOW_S of its moment and once. What
is refused has a name for the program and a sentence for people.
"""

import hashlib
import hmac
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from datetime import time as clock
from pathlib import Path
from typing import Any

from host.frames.card import AMOUNT_LIMIT_FEN
from host.headend import audit, drawer, orders, selling
from host.headend.database import Database
from host.headend.desk import at_desk
from host.headend.errors import Declined, StoreError
from host.headend.provider_kinds import PROVIDERS
from host.headend.providers import Access
from host.headend.store import Store, zone_of
from host.units import DAY_S, yuan
from host.words import _, marked

DOOR = "channel"
KINDS = (*(marked("bank"), marked("pos"), marked("machine"), marked("page")), *PROVIDERS)
LOOK, SELL, CANCEL, REFUND, STATEMENT = "look", "sell", "cancel", "refund", "statement"
RECHARGE = "recharge"  # the right, and the channel of sales by scratch cards
PAY = "pay"
RIGHTS = (LOOK, SELL, CANCEL, REFUND, STATEMENT, RECHARGE, PAY)
SECRET_SIZE = 32
# How far the moment of a call may be from the station's clock.
WINDOW_S = 300
# Nonces are kept longer than they count, for the day on which the station's clock is set back.
_NONCE_S = 2 * DAY_S
_NONCE_LEAST, _NONCE_LIMIT = 16, 64
_NAME = re.compile("[a-z][a-z0-9-]{1,19}")
_WORD = re.compile("[A-Za-z0-9_.-]+")
_NOT_CHANNELS = (*drawer.CASH_CHANNELS, *selling.CHANNELS, *orders.MONEYLESS, RECHARGE)


@dataclass(frozen=True, slots=True)
class Channel:
    """What a channel is, and what it may do; `settings`: a provider's file, "": it has none."""

    name: str
    kind: str
    rights: tuple[str, ...]
    sale_limit_fen: int
    day_limit_fen: int
    settings: str = ""


@dataclass(frozen=True, slots=True)
class Signed:
    """A call as it arrived, its headers as text, "" where one is missing.

    path   with the query, as it stands in the request's first line
    """

    method: str
    path: str
    body: bytes
    channel: str
    moment: str
    nonce: str
    key: str
    signature: str


def signature_of(secret: str, one: Signed) -> str:
    """Return the signature of a call as hexadecimal digits; `secret` is the channel's key."""
    body = hashlib.sha256(one.body).hexdigest()
    told = "\n".join((one.method, one.path, one.moment, one.nonce, one.key, body))
    return hmac.new(bytes.fromhex(secret), told.encode(), hashlib.sha256).hexdigest()


# --- keeping channels ---------------------------------------------------------------------------


@at_desk
def add_channel(store: Store, wanted: Channel, secret: str) -> None:
    """Add a channel with its key; StoreError: the name is in use, or a limit is none."""
    if not _NAME.fullmatch(wanted.name) or wanted.name in _NOT_CHANNELS:
        raise StoreError(
            _(
                "{name!r} is no name of a channel: 2 to 20 small letters, digits and hyphens, "
                "such as icbc-1"
            ).format(name=wanted.name)
        )
    _check_limits(wanted)
    with store.writing() as database:
        columns = (
            *("channel", "kind", "rights", "secret", "sale_limit_fen", "day_limit_fen"),
            *("made_at", "settings"),
        )
        row = (
            *(wanted.name, wanted.kind, " ".join(wanted.rights), secret),
            *(wanted.sale_limit_fen, wanted.day_limit_fen, int(time.time()), wanted.settings),
        )
        if database.insert_new("channels", columns, [row]) != 1:
            raise StoreError(
                _("there is a channel {name}, or there was one: choose another name").format(
                    name=wanted.name
                )
            )
        _note(database, wanted)


@at_desk
def change_channel(store: Store, wanted: Channel) -> None:
    """Give a channel other rights and limits; StoreError: there is none of the name."""
    _check_limits(wanted)
    with store.writing() as database:
        changed = database.run(
            "UPDATE channels SET rights = ?, sale_limit_fen = ?, day_limit_fen = ? "
            "WHERE channel = ? AND stopped_at IS NULL",
            (
                *(" ".join(wanted.rights), wanted.sale_limit_fen, wanted.day_limit_fen),
                wanted.name,
            ),
        ).rowcount
        if not changed:
            raise _no_channel(wanted.name)
        _note(database, wanted)


@at_desk
def stop_channel(store: Store, name: str, why: str) -> None:
    """Take a channel's key away for ever; StoreError: there is none of the name."""
    with store.writing() as database:
        changed = database.run(
            "UPDATE channels SET stopped_at = ?, why = ? WHERE channel = ? AND stopped_at IS NULL",
            (int(time.time()), why[:200], name),
        ).rowcount
        if not changed:
            raise _no_channel(name)
        audit.note(database, "channel", channel=name, stopped=why)


def _check_limits(wanted: Channel) -> None:
    if not 0 < wanted.sale_limit_fen <= min(wanted.day_limit_fen, AMOUNT_LIMIT_FEN):
        raise StoreError(
            _(
                "one sale must be above 0, at most {most} yuan and at most what a day may be"
            ).format(most=yuan(AMOUNT_LIMIT_FEN))
        )


def _note(database: Database, one: Channel) -> None:
    told = {"channel": one.name, "kind": one.kind, "rights": list(one.rights)}
    audit.note(database, "channel", **told, sale_fen=one.sale_limit_fen, day_fen=one.day_limit_fen)


def _no_channel(name: str) -> StoreError:
    return StoreError(
        _("no channel {name} is open: `dianka headend channel list` lists them").format(name=name)
    )


def channels(store: Store) -> list[dict[str, Any]]:
    """Return all channels without their keys, with what each sold today and in all."""
    with store.database.looking():
        database = store.database
        rows = database.rows(
            "SELECT channel, kind, rights, sale_limit_fen, day_limit_fen, made_at, stopped_at, "
            "why, settings FROM channels ORDER BY channel"
        )
        today_at = _day_begin(database)
        for row in rows:
            row["today_fen"] = sold_since(database, row["channel"], today_at)
            row["sold_fen"] = sold_since(database, row["channel"], 0)
    return rows


def find_channel(database: Database, name: str) -> Channel | None:
    """Return an open channel within a transaction, None: there is none of the name."""
    found = database.all(
        "SELECT channel, kind, rights, sale_limit_fen, day_limit_fen, settings FROM channels "
        "WHERE channel = ? AND stopped_at IS NULL",
        (name,),
    )
    for channel, kind, rights, *limits in found:
        return Channel(channel, kind, tuple(rights.split()), *limits)
    return None


def known_channel(store: Store, name: str) -> Channel:
    """Return an open channel; StoreError: there is none of the name."""
    with store.database.looking():
        found = find_channel(store.database, name)
    if found is None:
        raise _no_channel(name)
    return found


# --- the limits of sales ------------------------------------------------------------------------


def sold_since(database: Database, channel: str, since_at: int) -> int:
    """Return what a channel has sold since a moment and not taken back, in fen."""
    return int(
        database.value(
            "SELECT CAST(coalesce(sum(amount_fen), 0) AS bigint) FROM orders WHERE channel = ? "
            "AND sold_at >= ? AND amount_fen > 0 AND voided_at IS NULL",
            (channel, since_at),
        )
    )


def check_amount(database: Database, channel: Channel, amount_fen: int) -> None:
    """Raise Declined where a sale is above the limits of its channel."""
    if amount_fen > channel.sale_limit_fen:
        raise Declined(
            "over_sale_limit",
            _("{amount} yuan is more than the {limit} that {channel} sells at once").format(
                amount=yuan(amount_fen),
                limit=yuan(channel.sale_limit_fen),
                channel=channel.name,
            ),
        )
    sold_fen = sold_since(database, channel.name, _day_begin(database))
    if sold_fen + amount_fen > channel.day_limit_fen:
        raise Declined(
            "over_day_limit",
            _("{channel} sold {sold} yuan today and may sell {limit} in a day").format(
                channel=channel.name, sold=yuan(sold_fen), limit=yuan(channel.day_limit_fen)
            ),
        )


def _day_begin(database: Database) -> int:
    zone = zone_of(database)
    return int(datetime.combine(datetime.now(zone).date(), clock(), zone).timestamp())


# --- letting a call in --------------------------------------------------------------------------


def genuine(store: Store, one: Signed) -> Channel:
    """Return the channel that has signed a call. Declined: the call is forged or out of time."""
    _check_headers(one)
    rows = store.rows("SELECT * FROM channels WHERE channel = ?", (one.channel,))
    if not rows:
        raise Declined("unknown_channel", _("there is no such channel"))
    row: Mapping[str, Any] = rows[0]
    if not hmac.compare_digest(signature_of(row["secret"], one), one.signature.lower()):
        raise Declined("bad_signature", _("the signature is not of this call and this channel"))
    if row["stopped_at"] is not None:
        raise Declined("channel_stopped", _("this channel was stopped: ask the station"))
    late_s = int(time.time()) - int(one.moment)
    if late_s > WINDOW_S:
        raise Declined("expired", _("the call is {seconds} s old").format(seconds=late_s))
    if late_s < -WINDOW_S:
        raise Declined(
            "too_early",
            _("the call is {seconds} s before the station's clock: set yours").format(
                seconds=-late_s
            ),
        )
    return Channel(
        row["channel"],
        row["kind"],
        tuple(row["rights"].split()),
        row["sale_limit_fen"],
        row["day_limit_fen"],
    )


def provider_of(store: Store, name: str) -> tuple[Channel, Access]:
    """Return a provider, and how it is reached and proved. Declined: there is none."""
    with store.database.looking():
        found = find_channel(store.database, name)
        secret = store.database.value("SELECT secret FROM channels WHERE channel = ?", (name,))
    if found is None or found.kind not in PROVIDERS:
        raise Declined("no_provider", _("there is no provider {name}").format(name=name))
    return found, access_of(found, str(secret))


def access_of(channel: Channel, secret: str = "") -> Access:
    """Return how a provider is reached and proved."""
    return Access(secret, Path(channel.settings) if channel.settings else None)


def _check_headers(one: Signed) -> None:
    """Raise Declined where a header of a signed call is missing or has a wrong form."""
    told = {
        "no_channel": one.channel,
        "no_moment": one.moment,
        "no_nonce": one.nonce,
        "no_signature": one.signature,
    }
    for name, text in told.items():
        if not text:
            raise Declined(name, _("a header of the signature is missing"))
    if not (one.moment.isascii() and one.moment.isdecimal() and len(one.moment) <= 11):
        raise Declined("bad_moment", _("the moment is in whole seconds since 1970"))
    is_right = _NONCE_LEAST <= len(one.nonce) <= _NONCE_LIMIT and _WORD.fullmatch(one.nonce)
    if not is_right:
        raise Declined(
            "bad_nonce",
            _("a nonce has {least} to {most} letters, digits, dots, hyphens").format(
                least=_NONCE_LEAST, most=_NONCE_LIMIT
            ),
        )
    if len(one.key) > _NONCE_LIMIT or (one.key and not _WORD.fullmatch(one.key)):
        raise Declined(
            "bad_idempotency_key",
            _("an idempotency key has 1 to {most} letters, digits, dots, hyphens").format(
                most=_NONCE_LIMIT
            ),
        )
    if not re.fullmatch("[0-9a-fA-F]{64}", one.signature):
        raise Declined("bad_signature", _("a signature has 64 hexadecimal digits"))


@at_desk
def enter(store: Store, channel: str, nonce: str, moment: int) -> None:
    """Note the nonce of a genuine call. Declined: it came before, so the call is a replay."""
    now = int(time.time())
    with store.writing() as database:
        database.run("DELETE FROM channel_nonces WHERE at < ?", (now - _NONCE_S,))
        row = (channel, nonce, moment)
        if database.insert_new("channel_nonces", ("channel", "nonce", "at"), [row]) != 1:
            raise Declined("replayed", _("this call was made before: sign each one anew"))


def check_right(channel: Channel, right: str) -> None:
    """Raise Declined where a channel may not do something."""
    if right not in channel.rights:
        raise Declined(
            "no_right",
            _("{channel} may not do this: it has no right to {right}").format(
                channel=channel.name, right=right
            ),
        )
