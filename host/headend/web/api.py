"""The interface of channels: signed requests and answers in JSON, described by `openapi.json`.

Each refusal is an object with a name for programs, `refused`, and a sentence for people, `text`.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Annotated, Any

from django.http import HttpResponse
from ninja import NinjaAPI, Query, Schema
from ninja.errors import HttpError, ValidationError
from ninja.security.base import AuthBase
from pydantic import ConfigDict, Field, StrictInt

from host.billing import quotes
from host.frames.card import AMOUNT_LIMIT_FEN
from host.headend import channel_sales, channels, payments, receipts, recharge
from host.headend.audit import Who, acting
from host.headend.channel_sales import Asked, Call
from host.headend.channels import (
    CANCEL,
    LOOK,
    PAY,
    RECHARGE,
    REFUND,
    SELL,
    STATEMENT,
    Channel,
    Signed,
)
from host.headend.errors import Declined, StoreError, StoreFailed
from host.headend.provider_kinds import PROVIDERS
from host.headend.store import Store
from host.headend.web import meters
from host.headend.web.door import look_anew, looking, writing
from host.units import to_datetime
from host.words import _

_CALL_LIMIT = 16_384
_REFERENCE = r"^[A-Za-z0-9_.-]{1,40}$"
_ACCOUNT = r"^[0-9]{12}$"

# What refusals are as HTTP: who asks is not known, may not, asks for what is not there, or asks
# for what cannot be now, which is the rest.
_STATUSES = {
    401: (
        *("no_channel", "no_moment", "no_nonce", "no_signature", "bad_moment", "bad_nonce"),
        *("unknown_channel", "bad_signature", "channel_stopped", "expired", "too_early"),
        *("replayed", "unknown_key"),
    ),
    403: (
        *("no_right", "over_sale_limit", "over_day_limit", "over_station_limit"),
        "other_merchant",
    ),
    404: ("unknown_account", "no_such_sale", "no_such_card", "no_such_payment", "no_provider"),
    413: ("too_large",),
    429: ("too_many_tries",),
    503: ("no_answer", "provider_silent", "provider_strange"),
    422: ("no_idempotency_key", "bad_idempotency_key", "missing_field", "unknown_field"),
}
_STATUS_OF = {name: status for status, names in _STATUSES.items() for name in names}
_OTHER = 409


def _too_large() -> Declined:
    return Declined(
        "too_large", _("the body has more than {limit} bytes").format(limit=_CALL_LIMIT)
    )


class _Signature(AuthBase):
    """The signature of a channel; the channel is `request.auth`."""

    openapi_type = "apiKey"
    openapi_in = "header"
    openapi_name = "Dianka-Signature"

    def __call__(self, request: Any) -> Channel:
        if len(request.body) > _CALL_LIMIT:
            raise _too_large()
        request.signed = one = Signed(
            request.method,
            request.get_full_path(),
            request.body,
            request.headers.get("Dianka-Channel", ""),
            request.headers.get("Dianka-Moment", ""),
            request.headers.get("Dianka-Nonce", ""),
            request.headers.get("Idempotency-Key", ""),
            request.headers.get("Dianka-Signature", ""),
        )
        channel = channels.genuine(looking(), one)
        with writing() as store:
            channels.enter(store, channel.name, one.nonce, int(one.moment))
        return channel


api = NinjaAPI(
    title="dianka: channels of a station",
    version="1",
    docs_url=None,
    auth=_Signature(),
)


# --- refusals -----------------------------------------------------------------------------------


def _refused(request: Any, status: int, name: str, text: str, **more: Any) -> HttpResponse:
    return api.create_response(request, {"refused": name, "text": text, **more}, status=status)


@api.exception_handler(StoreError)
def _declined(request: Any, error: StoreError) -> HttpResponse:
    if isinstance(error, StoreFailed):
        look_anew()
        return _refused(request, 503, "try_again", str(error))
    name = error.name if isinstance(error, Declined) else "refused"
    return _refused(request, _STATUS_OF.get(name, _OTHER), name, str(error))


_WRONG = {"missing": "missing_field", "extra_forbidden": "unknown_field"}


@api.exception_handler(ValidationError)
def _invalid(request: Any, error: ValidationError) -> HttpResponse:
    first = error.errors[0]
    field = str(first["loc"][-1])
    name = _WRONG.get(first["type"], "bad_field")
    text = _("the field {field} is missing, not known here, or not of its form")
    return _refused(request, 422, name, text.format(field=field), field=field)


@api.exception_handler(HttpError)
def _unreadable(request: Any, error: HttpError) -> HttpResponse:
    return _refused(request, error.status_code, "not_json", _("the body is no JSON object"))


# --- what is asked and answered -----------------------------------------------------------------


class _Strict(Schema):
    model_config = ConfigDict(extra="forbid")


_Account = Annotated[str, Field(pattern=_ACCOUNT)]
_Amount = Annotated[StrictInt, Field(gt=0, le=AMOUNT_LIMIT_FEN)]
_Reference = Annotated[str, Field(pattern=_REFERENCE)]


class HouseholdAsked(_Strict):
    """The number of a household's account."""

    account: _Account


class QuoteAsked(HouseholdAsked):
    """An amount that a household would pay."""

    amount_fen: _Amount


class SaleAsked(_Strict):
    """A sale or a refund, with the channel's own reference."""

    account: _Account
    amount_fen: _Amount
    reference: _Reference


class RechargeAsked(HouseholdAsked):
    """The code of a scratch card; blanks in it do not count."""

    code: Annotated[str, Field(pattern="^[0-9 ]{20,30}$")]


class PaymentAsked(QuoteAsked):
    """A payment that is to be made at a provider, which is a channel here."""

    provider: Annotated[str, Field(pattern="^[a-z0-9-]{1,20}$")]


class CancelAsked(SaleAsked):
    """A sale that is not to count."""

    reason: Annotated[str, Field(min_length=3, max_length=200)]


class Household(Schema):
    """What a payer sees before paying."""

    account: str
    name: str
    balance_fen: int


class Quote(Household):
    """What a sale would do; `energy_wh`: what it buys at the prices of now, null: not known."""

    amount_fen: int
    balance_after_fen: int
    energy_wh: int | None


class Done(Schema):
    """What a call has changed; `order` 0: nothing had been sold."""

    state: str
    reference: str
    account: str
    amount_fen: int
    order: int


class Payment(Schema):
    """A payment: waiting, paid, sold, over, or differs, where a person has to look.

    `code` is what the payer scans or opens.
    """

    reference: str
    account: str
    amount_fen: int
    state: str
    order: int
    code: str


class Line(Schema):
    """A sale, below 0 a refund, and what became of it: waiting, redeemed or cancelled."""

    reference: str
    account: str
    amount_fen: int
    order: int
    sold_at: str
    state: str


class Sale(Line):
    """A sale with the head of the station's audit log."""

    audit_digest: str


class Statement(Schema):
    """What a channel did on a day, with the sums."""

    channel: str
    day: str
    lines: list[Line]
    sold_fen: int
    refunded_fen: int
    cancelled_fen: int
    sum_fen: int


class Refusal(Schema):
    """Why nothing was done."""

    refused: str
    text: str
    field: str = ""


_REFUSALS = dict.fromkeys((401, 403, 404, 409, 413, 422, 429, 503), Refusal)


# --- looking ------------------------------------------------------------------------------------


@api.post("/households", response={200: Household, **_REFUSALS})
def household(request: Any, asked: HouseholdAsked) -> Any:
    """Return a household by the number of its account, which stands in no log of addresses."""
    channels.check_right(request.auth, LOOK)
    return channel_sales.household(looking(), asked.account)


@api.post("/quotes", response={200: Quote, **_REFUSALS})
def quote(request: Any, asked: QuoteAsked) -> Any:
    """Return what a sale would do, or why it would be refused; nothing is changed."""
    channels.check_right(request.auth, LOOK)
    store = looking()
    told = channel_sales.quote(store, request.auth, asked.account, asked.amount_fen)
    return {**told, "energy_wh": _energy_wh(store, asked.account, asked.amount_fen)}


def _energy_wh(store: Store, account: str, amount_fen: int) -> int | None:
    row = meters.household(store, account)
    terms = meters.terms_of(store, row) if row else None
    if row is None or terms is None or row["last_t2000"] is None:
        return None
    moment = to_datetime(row["last_t2000"])
    return quotes.energy_wh_for(terms.tariff, row["household"], row["used_wh"], moment, amount_fen)


@api.get("/sales/{reference}", response={200: Sale, **_REFUSALS})
def sale(request: Any, reference: _Reference) -> Any:
    """Return a sale or a refund of this channel, and what became of it."""
    channels.check_right(request.auth, LOOK)
    return channel_sales.sale(looking(), request.auth.name, reference)


@api.get("/sales/{reference}/receipt.pdf", response={200: None, **_REFUSALS})
def receipt(
    request: Any,
    reference: _Reference,
    paper: Annotated[str, Query(pattern="^(58|80|a4)$")] = "80",
) -> HttpResponse:
    """Return the receipt of a sale of this channel as PDF."""
    channels.check_right(request.auth, LOOK)
    store = looking()
    one = channel_sales.sale(store, request.auth.name, reference)
    told = receipts.receipt_of(store, one["account"], one["order"])
    told = replace(told, name=channel_sales.masked(told.name), reference=reference)
    return HttpResponse(receipts.pdf(told, paper), content_type="application/pdf")


@api.get("/payments/{reference}", response={200: Payment, **_REFUSALS})
def payment(request: Any, reference: _Reference) -> Any:
    """Return a payment at a provider, and what became of it."""
    channels.check_right(request.auth, PAY)
    told = payments.payment(looking(), reference)
    if told is None:
        raise Declined("no_such_payment", _("no payment has this reference"))
    return told


@api.get("/statements/{on}", response={200: Statement, **_REFUSALS})
def statement(request: Any, on: date) -> Any:
    """Return what this channel did on a day of the station's clock."""
    channels.check_right(request.auth, STATEMENT)
    return channel_sales.statement(looking(), request.auth.name, on)


# --- changing -----------------------------------------------------------------------------------


def _change(request: Any, act: Callable[[Store, Call], dict[str, Any]]) -> dict[str, Any]:
    """Have the head-end change something for a channel; return its answer."""
    call = channel_sales.call_of(request.signed)
    with writing() as store, acting(Who(channels.DOOR, call.channel)):
        return act(store, call)


def _asked(told: SaleAsked) -> Asked:
    return Asked(told.account, told.amount_fen, told.reference)


@api.post("/sales", response={200: Done, **_REFUSALS})
def sell(request: Any, asked: SaleAsked) -> Any:
    """Sell to a household by air, once under a reference."""
    channels.check_right(request.auth, SELL)
    return _change(
        request, lambda store, call: channel_sales.channel_sale(store, call, _asked(asked))
    )


@api.post("/cancellations", response={200: Done, **_REFUSALS})
def cancel(request: Any, asked: CancelAsked) -> Any:
    """Take back a sale that is not on its way, or refuse one that is still to arrive."""
    channels.check_right(request.auth, CANCEL)
    return _change(
        request,
        lambda store, call: channel_sales.channel_cancel(store, call, _asked(asked), asked.reason),
    )


@api.post("/refunds", response={200: Done, **_REFUSALS})
def refund(request: Any, asked: SaleAsked) -> Any:
    """Note a refund; pay it out once it is redeemed, as /sales/{reference} tells."""
    channels.check_right(request.auth, REFUND)
    return _change(
        request, lambda store, call: channel_sales.channel_refund(store, call, _asked(asked))
    )


@api.post("/recharges", response={200: Done, **_REFUSALS})
def redeem(request: Any, asked: RechargeAsked) -> Any:
    """Redeem a scratch card for a household, once."""
    channels.check_right(request.auth, RECHARGE)

    def act(store: Store, call: Call) -> dict[str, Any]:
        recharge.try_code(store, asked.account)
        return recharge.redeem_card(store, call, asked.account, asked.code.replace(" ", ""))

    return _change(request, act)


@api.post("/payments", response={200: Payment, **_REFUSALS})
def pay(request: Any, asked: PaymentAsked) -> Any:
    """Begin a payment at a provider, which repeats its reference when it is paid."""
    channels.check_right(request.auth, PAY)
    with writing() as store, acting(Who(channels.DOOR, request.auth.name)):
        begun = payments.begin(store, asked.provider, asked.account, asked.amount_fen)
    return payments.payment(looking(), begun.reference)


@api.post("/payments/{reference}/question", response={200: Payment, **_REFUSALS})
def ask(request: Any, reference: _Reference) -> Any:
    """Ask the provider what became of a payment, where no notification has told."""
    channels.check_right(request.auth, PAY)
    with writing() as store, acting(Who(channels.DOOR, request.auth.name)):
        payments.ask(store, reference, int(time.time()))
    return payments.payment(looking(), reference)


@api.post("/providers/{name}/notifications", auth=None, response={200: None, **_REFUSALS})
def notification(request: Any, name: str) -> HttpResponse:
    """Take what a provider tells, under its own signature, as often as it tells it."""
    if len(request.body) > _CALL_LIMIT:
        raise _too_large()
    channel, access = channels.provider_of(looking(), name)
    provider = PROVIDERS[channel.kind]
    paid = provider.notice_of(access, request.headers, request.body)
    if paid is not None:
        with writing() as store, acting(Who(channels.DOOR, name)):
            payments.take_notice(store, name, paid)
    kind, content = provider.taken()
    return HttpResponse(content, content_type=kind)
