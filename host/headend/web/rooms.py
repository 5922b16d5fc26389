"""A landlord's page: rooms, tenants who move in and out, deposits and final bills."""

import re
from typing import Any

from django.http import HttpResponse, HttpResponseRedirect

from host.headend import final_bill, rooms
from host.headend.errors import StoreError
from host.headend.rooms import Tenant
from host.headend.users import REFUND, SELL
from host.headend.web.door import Trouble, Visit, page, writing
from host.headend.web.forms import cash_fen, digits_of, plain_text, registers_of
from host.units import yuan
from host.words import _

NAME, IN, OUT, CLEAR, BACK = "name", "in", "out", "clear", "back"


@page(SELL)
def house(visit: Visit) -> HttpResponse:
    """List the rooms, and do what a form of one of them asks for."""
    wrong, status = "", 200
    if visit.request.method == "POST":
        try:
            return HttpResponseRedirect(_done(visit))
        except Trouble as error:
            wrong, status = str(error), error.status
        except StoreError as error:
            wrong, status = str(error), 409
    told = {"rooms": rooms.rooms(visit.store), "wrong": wrong, "said": _said(visit)}
    return visit.show("rooms.html", {**told, "open": visit.told("account", 12)}, status)


def _done(visit: Visit) -> str:
    """Do what a form asks for; return where it leads. Trouble, StoreError."""
    step, by = visit.told("step"), visit.person.name
    if step in (OUT, BACK) and not visit.person.may(REFUND):
        raise Trouble(403, _("your role may not pay money back: ask a manager"))
    with writing() as store:
        if step == BACK:
            fen = rooms.pay_back(store, _tenancy(visit), by)
            return f"/rooms?paid={yuan(fen)}"
        account = digits_of(visit, "account")
        if step == NAME:
            rooms.name_room(store, account, plain_text(visit, "room", 32), by)
        elif step == IN:
            if not visit.told("sure"):
                raise Trouble(400, _("say that the deposit is counted and the meter is read"))
            deposit_fen = cash_fen(visit.told("deposit", 13) or "0")
            name, phone = plain_text(visit, "name", 128), plain_text(visit, "phone", 32)
            tenant = Tenant(name, phone, deposit_fen)
            rooms.move_in(store, account, tenant, registers_of(visit, "register"), by)
        elif step == OUT:
            if not visit.told("sure"):
                raise Trouble(400, _("say that the tenant leaves and the meter is read"))
            done = rooms.move_out(store, account, registers_of(visit, "register"), by)
            return f"/rooms?ended={done.tenancy}"
        elif step == CLEAR:
            rooms.clear(store, account, by)
        else:
            raise Trouble(400, _("this form is not one of ours: open the page again"))
    return f"/rooms?account={account}"


def _said(visit: Visit) -> dict[str, Any]:
    """Return what the form before has done: the bill of a tenant, or money that was paid."""
    if visit.request.method == "POST":
        return {"paid": "", "bill": None}
    ended = visit.told("ended", 12)
    bill = rooms.bill_of(visit.store, _tenancy(visit, "ended")) if ended else None
    return {"paid": visit.told("paid", 13), "bill": bill}


def _tenancy(visit: Visit, name: str = "tenancy") -> int:
    text = visit.told(name, 12)
    if not re.fullmatch("[0-9]{1,12}", text):
        raise Trouble(400, _("this form is not one of ours: open the page again"))
    return int(text)


@page(SELL)
def bill(visit: Visit, tenancy: int) -> HttpResponse:
    """Return the final bill of a tenancy as PDF."""
    content = final_bill.pdf(rooms.bill_of(visit.store, tenancy), visit.zone)
    answer = HttpResponse(content, content_type="application/pdf")
    answer["Content-Disposition"] = f'inline; filename="final-bill-{tenancy}.pdf"'
    return answer
