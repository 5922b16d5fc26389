"""Steps in the life of an account as forms: exchange, card, household, transfer, close, undo.

Each one is confirmed, leaves a paper, and can be undone by another one while it is the newest.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse

from host.headend import life
from host.headend.life import Act
from host.headend.registry import Entry
from host.headend.stepping import PAPERS
from host.headend.users import KEEP, SELL, SWITCH
from host.headend.web import forms
from host.headend.web.asking import REASON, Field, Form, Plan, carry_out
from host.headend.web.door import Trouble, View, Visit, page
from host.headend.web.figures import energy, grouped, money, ratio_text
from host.headend.web.knowing import known
from host.words import _

_PERSONS_LIMIT, _KINDS_LIMIT = 99, 7
_UID_LIMIT = 16


@dataclass(frozen=True, slots=True)
class _Step:
    """A step: its title and the word on its button, its fields, and what it would do."""

    title: str
    verb: str
    fields: list[Field]
    plan: Callable[[], Plan]
    is_grave: bool = False


_Made = Callable[[Visit, dict[str, Any]], _Step]


def _page(needs: str, made: _Made) -> View:
    """Return the view of a step for those who have a permission."""

    @page(needs)
    def view(visit: Visit, account: str) -> HttpResponse:
        row = known(visit, account)
        step = made(visit, row)
        url = f"/households/{row['account']}"
        form = Form(
            step.title,
            "households",
            PAPERS,
            row["account"],
            [*step.fields, Field(REASON, _("reason, for an auditor"))],
            step.plan,
            url,
            lambda paper: f"{url}?paper={paper}#papers",
            step.verb,
            step.is_grave,
        )
        return carry_out(visit, form, row)

    return view


def _act(visit: Visit) -> Act:
    return Act(visit.person.name, forms.reason_of(visit))


def _last_field(row: dict[str, Any]) -> Field:
    """Return the field of the last registers, with what the concentrator has read as a hint."""
    shown = " ".join(energy(one).replace(",", "") for one in row["registers_wh"])
    hint = _("its concentrator has read {registers} kWh").format(registers=shown) if shown else ""
    label = _("what the meter shows now, kWh; one number, or each rate with blanks between")
    return Field("last", label, hint=hint, most=120)


def _ratio_fields() -> list[Field]:
    """Return the fields of a meter's transformers, and of their product where only it is known."""
    return [
        Field("ct", _("current transformers, like 200/5; empty: none"), needed=False, most=16),
        Field("pt", _("voltage transformers, like 10000/100; empty: none"), needed=False, most=16),
        Field(
            "multiplier", _("multiplier, where only CT times PT is known"), needed=False, most=5
        ),
    ]


def _kwh(registers_wh: list[int]) -> str:
    return " / ".join(energy(one) for one in registers_wh)


def _exchange(visit: Visit, row: dict[str, Any]) -> _Step:
    def plan() -> Plan:
        last, first = forms.registers_of(visit, "last"), forms.registers_of(visit, "first")
        meter = forms.digits_of(visit, "meter")
        ratio = forms.ratio_of(visit)
        said = [
            _("Meter {meter} leaves with {registers} kWh.").format(
                meter=grouped(row["meter"] or "") or "–", registers=_kwh(last)
            ),
            _("Meter {meter} comes with {registers} kWh, multiplier {multiplier}.").format(
                meter=grouped(meter), registers=_kwh(first), multiplier=ratio_text(ratio)
            ),
        ]
        warns = [
            _(
                "It is billed from when the technician says the same at the concentrator: "
                "`meter exchange`."
            )
        ]
        words = (row["account"], last, meter, first, _act(visit), ratio)
        return Plan(said, "exchange_meter", words, warns)

    fields = [
        _last_field(row),
        Field("meter", _("new meter, up to 12 digits"), most=20),
        Field("first", _("what the new meter shows, kWh"), "0", most=120),
        *_ratio_fields(),
    ]
    return _Step(_("exchange the meter"), _("exchange it"), fields, plan)


def _card(visit: Visit, row: dict[str, Any]) -> _Step:
    def plan() -> Plan:
        uid = visit.told("uid", _UID_LIMIT).upper()
        if not 8 <= len(uid) <= _UID_LIMIT or set(uid) - set("0123456789ABCDEF"):
            raise Trouble(400, _("{uid!r}: a card has 8 to 16 hexadecimal digits").format(uid=uid))
        said = [_("Card {uid} is the one of this account from now on.").format(uid=uid)]
        warns = [_("An order that the old card holds is written on the new one afterwards.")]
        return Plan(said, "replace_card", (row["account"], uid, _act(visit)), warns)

    hint = _("read the card at the desk, or type what is printed on it")
    fields = [Field("uid", _("number of the new card"), hint=hint, most=_UID_LIMIT)]
    return _Step(_("replace the card"), _("replace it"), fields, plan)


def _household(visit: Visit, row: dict[str, Any]) -> _Step:
    def plan() -> Plan:
        day = forms.day_of(visit, "from").isoformat()
        persons = forms.number_of(visit, "persons", _PERSONS_LIMIT)
        kind = forms.number_of(visit, "household", _KINDS_LIMIT)
        said = [
            _("{persons} persons live there from {day} on.").format(persons=persons, day=day),
            _("Its quota is that of kind {kind} in its tariff.").format(kind=kind),
        ]
        if row["concentrator"]:
            said.append(_("Its concentrator is told at once."))
        words = (row["account"], day, persons, kind, _act(visit))
        return Plan(said, "set_household", words)

    fields = [
        Field("from", _("from this day on"), kind="date", most=10),
        Field("persons", _("persons"), str(row["persons"] or ""), most=2),
        Field("household", _("kind of household in the tariff, 0 the first"), "0", most=1),
    ]
    return _Step(_("change the household"), _("change it"), fields, plan)


def _transfer(visit: Visit, row: dict[str, Any]) -> _Step:
    def plan() -> Plan:
        name = forms.plain_text(visit, "name", 128)
        if not name:
            raise Trouble(400, _("give the name of the customer"))
        number = forms.plain_text(visit, "customer", 32)
        entry = Entry(
            row["account"],
            number or f"{row['account']}-{forms.seen_of(visit) + 1}",
            name,
            phone=forms.plain_text(visit, "phone", 32),
            address=forms.plain_text(visit, "address", 128) or row["address"] or "",
            persons=forms.number_of(visit, "persons", _PERSONS_LIMIT),
            multiplier=row["multiplier"] or 1,
        )
        said = [
            _("{old} leaves, {name} is the customer from now on.").format(
                old=row["name"] or "–", name=name
            ),
            _("The balance and the meter stay with the account: {balance}.").format(
                balance=_balance(row)
            ),
        ]
        return Plan(said, "transfer", (entry, _act(visit)))

    fields = [
        Field("name", _("name of the new customer"), most=128),
        Field("customer", _("number of the customer, if there is one already"), needed=False),
        Field("phone", _("telephone"), kind="tel", needed=False, most=32),
        Field("address", _("address, if it is another"), needed=False, most=128),
        Field("persons", _("persons"), needed=False, most=2),
    ]
    return _Step(_("transfer the account"), _("transfer it"), fields, plan)


def _balance(row: dict[str, Any]) -> str:
    if row["credit_fen"] is None:
        return "–"
    return money(row["credit_fen"] - row["debit_fen"])


def _close(visit: Visit, row: dict[str, Any]) -> _Step:
    def plan() -> Plan:
        last = forms.registers_of(visit, "last")
        balance_fen = (row["credit_fen"] or 0) - (row["debit_fen"] or 0)
        said = [_("The account ends with {registers} kWh.").format(registers=_kwh(last))]
        warns = []
        if balance_fen > 0:
            said.append(_("{money} is to be paid back.").format(money=money(balance_fen)))
            warns.append(
                _(
                    "Pay it out when its state is “redeemed”, not before: the concentrator takes "
                    "it off the account first."
                )
            )
        return Plan(said, "close_account", (row["account"], last, _act(visit)), warns)

    return _Step(_("close the account"), _("close it"), [_last_field(row)], plan, True)


exchange = _page(SWITCH, _exchange)
card = _page(SELL, _card)
household = _page(KEEP, _household)
transfer = _page(KEEP, _transfer)
close = _page(KEEP, _close)


@page(KEEP)
def undo(visit: Visit, account: str, number: int) -> HttpResponse:
    """Take back the newest paper of an account by another one."""
    row = known(visit, account)
    found = [one for one in life.papers(visit.store, row["account"]) if one["number"] == number]
    if not found:
        raise Trouble(404, _("there is no paper {number}").format(number=number))
    what = _(found[0]["kind"])

    def plan() -> Plan:
        said = [
            _("Paper {number}, “{what}” by {by}, is taken back by another one.").format(
                number=number, what=what, by=found[0]["by"]
            )
        ]
        return Plan(said, "undo", (number, _act(visit)))

    url = f"/households/{row['account']}"
    form = Form(
        _("undo: {what}").format(what=what),
        "households",
        PAPERS,
        row["account"],
        [Field(REASON, _("reason, for an auditor"))],
        plan,
        url,
        lambda paper: f"{url}?paper={paper}#papers",
        _("undo it"),
        True,
    )
    return carry_out(visit, form, row)
