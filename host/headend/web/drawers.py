"""The cashier's drawer: opened with a float, counted, handed over; refunds are paid out of it."""

from datetime import datetime
from typing import Any

from django.http import HttpResponse, HttpResponseRedirect

from host.headend import drawer, shifts, users
from host.headend.errors import StoreError
from host.headend.stepping import DRAWER
from host.headend.users import SELL
from host.headend.web import forms, looks
from host.headend.web.asking import REASON, Field, Form, Plan, carry_out
from host.headend.web.door import Trouble, Visit, page, writing
from host.headend.web.figures import money
from host.headend.web.knowing import known
from host.words import _, marked

KINDS = {
    drawer.SALE: marked("sale"),
    drawer.VOID: marked("void"),
    drawer.PAYOUT: marked("payout"),
    drawer.MOVE: marked("cash moved"),
}


def _open_shift(visit: Visit) -> dict[str, Any] | None:
    """Return the open shift of whoever asks, None: there is none."""
    now = int(datetime.now(visit.zone).timestamp())
    rows = shifts.shifts(visit.store, now, now + 1)
    own = [one for one in rows if one["cashier"] == visit.person.name]
    return next((one for one in own if one["closed_at"] is None), None)


@page(SELL)
def own(visit: Visit) -> HttpResponse:
    """Show the drawer of whoever asks, or open it."""
    wrong, status, typed = "", 200, ""
    if visit.request.method == "POST":
        try:
            typed = visit.told("float", 20)
            float_fen = forms.cash_fen(typed)
            with writing() as store:
                shifts.open_shift(store, visit.person.name, float_fen)
            return HttpResponseRedirect("/drawer")
        except Trouble as error:
            wrong, status = str(error), error.status
        except StoreError as error:
            wrong, status = str(error), 409
    begins, ends = looks.span_of_day(visit.zone)
    shift = _open_shift(visit)
    told = {
        "shift": shift,
        "moves": shifts.moves(visit.store, shift["shift"])[::-1] if shift else [],
        "kinds": KINDS,
        "today": shifts.shifts(visit.store, begins, ends)[::-1],
        "wrong": wrong,
        "typed": typed,
    }
    return visit.show("drawer.html", told, status)


def _needed(visit: Visit) -> dict[str, Any]:
    shift = _open_shift(visit)
    if shift is None:
        raise Trouble(409, _("your drawer is not open: open it with the cash that is in it"))
    return shift


@page(SELL)
def close(visit: Visit) -> HttpResponse:
    """Close the drawer with what was counted, or hand it over to another cashier."""
    shift, name = _needed(visit), visit.person.name
    sellers = [
        one["user"]
        for one in users.people(visit.store)
        if one["user"] != name and users.Person(one["user"], one["role"]).may(SELL)
    ]

    def plan() -> Plan:
        counted_fen = forms.cash_fen(visit.told("counted", 20))
        to = visit.told("to", users.USER_LIMIT)
        if to and to not in sellers:
            raise Trouble(
                400, _("{name!r} is nobody who sells here: look at the name").format(name=to)
            )
        difference_fen = counted_fen - shift["expected_fen"]
        said = [
            _("{counted} were counted, the books say {expected}.").format(
                counted=money(counted_fen), expected=money(shift["expected_fen"])
            )
        ]
        warns = []
        reason = ""
        if difference_fen:
            reason = forms.reason_of(visit)
            warns.append(_("The difference is {money}.").format(money=money(difference_fen)))
        if to:
            said.append(_("{name} opens a drawer with it.").format(name=to))
        return Plan(said, "close_shift", (name, counted_fen, reason, to), warns)

    hint = _("who may take it over: {names}").format(names=", ".join(sellers[:10]) or "–")
    form = Form(
        _("count and close the drawer"),
        "drawer",
        DRAWER,
        name,
        [
            Field("counted", _("cash in the drawer, yuan"), most=20),
            Field("to", _("handed over to, if to anybody"), hint=hint, needed=False, most=64),
            Field(REASON, _("reason, where it differs from the books"), needed=False),
        ],
        plan,
        "/drawer",
        lambda closed: f"/drawer?closed={closed['shift']}",
        _("close it"),
        True,
    )
    return carry_out(visit, form)


@page(SELL)
def move(visit: Visit) -> HttpResponse:
    """Put cash into the drawer, or take it out, as to the bank."""
    shift, name = _needed(visit), visit.person.name

    def plan() -> Plan:
        text = visit.told("amount", 20)
        is_out = text.startswith("-")
        fen = forms.amount_fen(text.removeprefix("-"))
        said = [
            _("{money} goes out of the drawer.").format(money=money(fen))
            if is_out
            else _("{money} comes into the drawer.").format(money=money(fen)),
            _("The books say {expected} before it.").format(expected=money(shift["expected_fen"])),
        ]
        words = (name, -fen if is_out else fen, forms.reason_of(visit))
        return Plan(said, "move_cash", words)

    form = Form(
        _("move cash"),
        "drawer",
        DRAWER,
        name,
        [
            Field("amount", _("yuan; with - before it, cash that goes out"), most=20),
            Field(REASON, _("where it goes or comes from")),
        ],
        plan,
        "/drawer",
        lambda _left: "/drawer",
        _("move it"),
    )
    return carry_out(visit, form)


@page(SELL)
def pay_out(visit: Visit, account: str, order: int) -> HttpResponse:
    """Pay out a refund that its concentrator has taken off, once."""
    row = known(visit, account)
    if visit.request.method != "POST":
        raise Trouble(405, _("this form is not one of ours: open the page again"))
    with writing() as store:
        shifts.pay_out(store, row["account"], order, visit.person.name)
    return HttpResponseRedirect("/drawer")
