"""A landlord's page: rooms, tenants who move in and out, deposits and final bills."""

import re
from typing import Any

from django.http import HttpResponse, HttpResponseRedirect

from host.headend import final_bill, rooms
from host.headend.errors import StoreError
from host.headend.rooms import Tenant
from host.headend.users import REFUND, SELL
from host.headend.web.counter import amount_fen
from host.headend.web.door import Trouble, Visit, page, writing
from host.units import full_number, yuan
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
        account = _account(visit)
        if step == NAME:
            rooms.name_room(store, account, _line(visit, "room", 32), by)
        elif step == IN:
            if not visit.told("sure"):
                raise Trouble(400, _("say that the deposit is counted and the meter is read"))
            deposit = visit.told("deposit", 13)
            tenant = Tenant(
                _line(visit, "name", 128),
                _line(visit, "phone", 32),
                amount_fen(deposit) if deposit.strip("0.") else 0,
            )
            rooms.move_in(store, account, tenant, (_register_wh(visit),), by)
        elif step == OUT:
            if not visit.told("sure"):
                raise Trouble(400, _("say that the tenant leaves and the meter is read"))
            done = rooms.move_out(store, account, (_register_wh(visit),), by)
            return f"/rooms?ended={done.tenancy}"
        elif step == CLEAR:
            rooms.clear(store, account, by)
        else:
            raise Trouble(400, _("this form is not one of ours: open the page again"))
    return f"/rooms?account={account}"


def _said(visit: Visit) -> dict[str, Any]:
    """Return what the form before has done: the bill of a tenant, or money that was paid."""
    if visit.request.method == "POST":
        return {}
    told: dict[str, Any] = {"paid": visit.told("paid", 13)}
    if visit.told("ended"):
        told["bill"] = rooms.bill_of(visit.store, _tenancy(visit, "ended"))
    return told


def _account(visit: Visit) -> str:
    try:
        return full_number(visit.told("account", 20))
    except ValueError as error:
        raise Trouble(400, str(error)) from error


def _tenancy(visit: Visit, name: str = "tenancy") -> int:
    text = visit.told(name, 12)
    if not re.fullmatch("[0-9]{1,12}", text):
        raise Trouble(400, _("this form is not one of ours: open the page again"))
    return int(text)


def _line(visit: Visit, name: str, most: int) -> str:
    text = visit.told(name, most)
    if not text.isprintable():
        raise Trouble(400, _("{name} must be one line").format(name=name))
    return text


def _register_wh(visit: Visit) -> int:
    """Return what was read off the meter, in Wh. Trouble: it is no register."""
    text = visit.told("register", 13)
    if not re.fullmatch(r"[0-9]{1,8}(\.[0-9]{1,3})?", text):
        raise Trouble(400, _("{text!r} is no register in kWh like 1234.56").format(text=text))
    whole, _dot, rest = text.partition(".")
    return int(whole) * 1000 + int(rest.ljust(3, "0"))


@page(SELL)
def bill(visit: Visit, tenancy: int) -> HttpResponse:
    """Return the final bill of a tenancy as PDF."""
    content = final_bill.pdf(rooms.bill_of(visit.store, tenancy), visit.zone)
    answer = HttpResponse(content, content_type="application/pdf")
    answer["Content-Disposition"] = f'inline; filename="final-bill-{tenancy}.pdf"'
    return answer
