"""Providers of payments behind one small interface: what they tell, and how that is proved.

An adapter has no network and no database: it reads a notification or a statement, and says what
the provider wants to hear. The simulated one stands for any provider in tests and trials.
"""

import csv
import hashlib
import hmac
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from host.headend.errors import Declined, StoreError
from host.words import _, marked

SIMULATED = marked("simulated")
_ID_LIMIT = 64
_AMOUNT_LIMIT_FEN = 1 << 50


@dataclass(frozen=True, slots=True)
class Paid:
    """What a provider says was paid: its own number, our reference, and when."""

    provider_id: str
    reference: str
    amount_fen: int
    paid_at: int


class Provider(Protocol):
    """What each provider has to be able to do; `secret` is the key of its channel."""

    def notice_of(self, secret: str, headers: Mapping[str, str], body: bytes) -> Paid | None:
        """Return what a notification tells, None: nothing was paid. Declined: it is forged."""

    def taken(self) -> tuple[str, bytes]:
        """Return the type and the content of the answer that ends the notifications."""

    def lines_of(self, text: str) -> list[Paid]:
        """Return the lines of a statement. StoreError: a line cannot be read."""


class Simulated:
    """A provider that notifies in JSON, signed by HMAC-SHA256, and has statements in CSV."""

    def notice_of(self, secret: str, headers: Mapping[str, str], body: bytes) -> Paid | None:
        mac = hmac.new(bytes.fromhex(secret), body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(mac.encode(), headers.get("Provider-Signature", "").encode()):
            raise Declined("bad_signature", _("the notification is not of this provider"))
        try:
            told = json.loads(body)
            if told["state"] != "paid":
                return None
            return _paid(told)
        except (ValueError, KeyError, TypeError) as error:
            raise Declined("bad_field", _("the notification cannot be read")) from error

    def taken(self) -> tuple[str, bytes]:
        return "application/json", b'{"state": "taken"}'

    def lines_of(self, text: str) -> list[Paid]:
        found = []
        for at, row in enumerate(csv.DictReader(io.StringIO(text)), 2):
            try:
                numbers = {name: int(row[name]) for name in ("amount_fen", "paid_at")}
                found.append(_paid({**row, **numbers}))
            except (ValueError, KeyError, TypeError) as error:
                raise StoreError(
                    _("line {line} of the statement cannot be read").format(line=at)
                ) from error
        return found


def _paid(told: Mapping[str, Any]) -> Paid:
    one = Paid(told["provider_id"], told["reference"], told["amount_fen"], told["paid_at"])
    texts, numbers = (one.provider_id, one.reference), (one.amount_fen, one.paid_at)
    if not all(isinstance(text, str) and 0 < len(text) <= _ID_LIMIT for text in texts):
        raise ValueError(texts)
    if not all(type(number) is int and 0 < number < _AMOUNT_LIMIT_FEN for number in numbers):
        raise ValueError(numbers)
    return one


PROVIDERS: dict[str, Provider] = {SIMULATED: Simulated()}
