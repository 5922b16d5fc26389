"""Providers of payments behind one small interface, and the simulated one.

An adapter has no database. It makes a payment at its provider, asks what became of it, reads
notifications and statements, and proves that they are of the provider. The simulated one stands
for any provider in tests and trials.
"""

import csv
import hashlib
import hmac
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Protocol

from host.headend.errors import Declined, StoreError
from host.words import _, marked

SIMULATED = marked("simulated")
YUAN = "CNY"
_ID_LIMIT = 64
_AMOUNT_LIMIT_FEN = 1 << 50


@dataclass(frozen=True, slots=True)
class Paid:
    """What a provider says was paid: its own number, our reference, and when.

    amount_fen   below 0: a line of a statement says that it was paid back
    currency     another one than YUAN is sold to nobody
    """

    provider_id: str
    reference: str
    amount_fen: int
    paid_at: int
    currency: str = YUAN


@dataclass(frozen=True, slots=True)
class Known:
    """What a provider answers when it is asked; `is_over`: the payment can not be made any more.

    Without `paid` nothing was paid.
    """

    paid: Paid | None = None
    is_over: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """A payment that a provider is to take; `expires_at` in seconds since 1970."""

    reference: str
    account: str
    amount_fen: int
    expires_at: int


@dataclass(frozen=True, slots=True)
class Access:
    """How a provider is reached and proved.

    secret     the key of its channel, as hexadecimal digits
    settings   the file with the numbers and the keys of the station at the provider, None: none
    """

    secret: str
    settings: Path | None = None


class Provider(Protocol):
    """What each provider has to be able to do."""

    has_settings: bool

    def check(self, access: Access) -> None:
        """Raise StoreError where the settings cannot be used."""

    def begin(self, access: Access, wanted: Wanted) -> str:
        """Make a payment at the provider; return what the payer scans or opens. Declined."""

    def ask(self, access: Access, reference: str) -> Known:
        """Return what became of a payment. Declined: the provider does not say."""

    def notice_of(self, access: Access, headers: Mapping[str, str], body: bytes) -> Paid | None:
        """Return what a notification tells, None: nothing was paid. Declined: it is forged."""

    def taken(self) -> tuple[str, bytes]:
        """Return the type and the content of the answer that ends the notifications."""

    def bill(self, access: Access, day: date) -> bytes:
        """Return the provider's statement of a day. Declined: it gives none."""

    def lines_of(self, content: bytes) -> list[Paid]:
        """Return the lines of a statement. StoreError: a line cannot be read."""


class Simulated:
    """A provider that notifies in JSON, signed by HMAC-SHA256, and has statements in CSV."""

    has_settings = False

    def check(self, access: Access) -> None:
        """Do nothing: there are no settings."""

    def begin(self, access: Access, wanted: Wanted) -> str:
        return f"simulated://pay/{wanted.reference}?fen={wanted.amount_fen}"

    def ask(self, access: Access, reference: str) -> Known:
        return Known()

    def notice_of(self, access: Access, headers: Mapping[str, str], body: bytes) -> Paid | None:
        mac = hmac.new(bytes.fromhex(access.secret), body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(mac.encode(), headers.get("Provider-Signature", "").encode()):
            raise not_genuine()
        try:
            told = json.loads(body)
            if told["state"] != "paid":
                return None
            return checked(**{name: told[name] for name in _FIELDS})
        except (ValueError, KeyError, TypeError) as error:
            raise not_readable() from error

    def taken(self) -> tuple[str, bytes]:
        return "application/json", b'{"state": "taken"}'

    def bill(self, access: Access, day: date) -> bytes:
        raise Declined("no_bill", _("this provider gives no statements: take one from a file"))

    def lines_of(self, content: bytes) -> list[Paid]:
        found = []
        for at, row in enumerate(csv.DictReader(io.StringIO(text_of(content, "utf-8-sig"))), 2):
            try:
                numbers = (int(row["amount_fen"]), int(row["paid_at"]))
                found.append(checked(row["provider_id"], row["reference"], *numbers))
            except (ValueError, KeyError, TypeError) as error:
                raise bad_line(at) from error
        return found


_FIELDS = ("provider_id", "reference", "amount_fen", "paid_at")


def checked(
    provider_id: str, reference: str, amount_fen: int, paid_at: int, currency: str = YUAN
) -> Paid:
    """Return what was paid; ValueError: a value is none that a payment may have."""
    texts, numbers = (provider_id, reference, currency), (amount_fen, paid_at)
    if not all(isinstance(text, str) and 0 < len(text) <= _ID_LIMIT for text in texts):
        raise ValueError(texts)
    if not all(type(number) is int and 0 < number < _AMOUNT_LIMIT_FEN for number in numbers):
        raise ValueError(numbers)
    return Paid(provider_id, reference, amount_fen, paid_at, currency)


def paid_back(one: Paid) -> Paid:
    """Return the line of a statement that takes money back."""
    return replace(one, amount_fen=-one.amount_fen)


def text_of(content: bytes, encoding: str) -> str:
    """Return the text of a statement. StoreError: it is no text."""
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise StoreError(_("cannot read the statement: it is no text")) from error


def bad_line(line: int) -> StoreError:
    """Return the refusal of a statement with a line that cannot be read."""
    return StoreError(_("line {line} of the statement cannot be read").format(line=line))


def not_genuine() -> Declined:
    """Return the refusal of a notification that the provider has not signed."""
    return Declined("bad_signature", _("the notification is not of this provider"))


def not_readable() -> Declined:
    """Return the refusal of a notification that is signed and has not its form."""
    return Declined("bad_field", _("the notification cannot be read"))


def not_of_ours() -> Declined:
    """Return the refusal of a notification that is genuine and meant for another merchant."""
    return Declined("other_merchant", _("the notification is for another merchant"))
