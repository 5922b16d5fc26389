"""Pages of accounts: opening one, and what was sold in a day."""

import re
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from django.http import HttpResponse, HttpResponseRedirect

from host.headend import life, orders
from host.headend.errors import StoreError
from host.headend.life import Act
from host.headend.registry import Entry
from host.headend.users import SELL
from host.headend.web import looks
from host.headend.web.door import Trouble, Visit, page, writing
from host.headend.web.figures import local
from host.headend.web.forms import plain_text, ratio_of
from host.headend.web.tables import CSV, table
from host.units import full_number, yuan
from host.words import _

_FIELDS = ("account", "customer", "name", "phone", "address", "persons", "district", "meter")
_RATIO = ("multiplier", "ct", "pt")
_PERSONS_LIMIT = 99


@page(SELL)
def opening(visit: Visit) -> HttpResponse:
    """Open an account, and go to its first sale."""
    told = {name: visit.told(name, 128) for name in (*_FIELDS, *_RATIO)}
    wrong, status = "", 200
    if visit.request.method == "POST":
        try:
            entry = _entry(visit, told)
            with writing() as store:
                life.open_account(store, entry, (), Act(visit.person.name))
            return HttpResponseRedirect(f"/sell?account={entry.account}")
        except (Trouble, StoreError) as error:
            wrong, status = str(error), getattr(error, "status", 409)
    return visit.show("open.html", {"told": told, "wrong": wrong}, status)


def _entry(visit: Visit, told: dict[str, str]) -> Entry:
    """Return what the form says. Trouble: a field is wrong."""
    for name in ("name", "phone", "address", "district", "customer"):
        plain_text(visit, name, 128)
    if not told["name"]:
        raise Trouble(400, _("give the name of the customer"))
    persons = told["persons"] or "0"
    if not re.fullmatch("[0-9]{1,2}", persons):
        text = _("{value!r} persons: give a number up to {most}")
        raise Trouble(400, text.format(value=persons, most=_PERSONS_LIMIT))
    try:
        account = full_number(told["account"])
        meter = full_number(told["meter"]) if told["meter"] else ""
    except ValueError as error:
        raise Trouble(400, str(error)) from error
    return Entry(
        account,
        told["customer"][:32] or account,
        told["name"],
        phone=told["phone"][:32],
        address=told["address"],
        persons=int(persons),
        district=told["district"][:32],
        meter=meter,
        **asdict(ratio_of(visit)),
    )


@page()
def day(visit: Visit) -> HttpResponse:
    """Show what each cashier took by each channel in a day, and each sale of it."""
    on = visit.told("on", 10)
    try:
        moment = datetime.fromisoformat(on) if on else datetime.now(visit.zone)
        before, after = moment - timedelta(days=1), moment + timedelta(days=1)
    except (ValueError, OverflowError) as error:
        raise Trouble(400, _("{text}: give a day as YYYY-MM-DD").format(text=on)) from error
    span = looks.span_of_day(visit.zone, moment)
    sales = orders.sales_of(visit.store, *span)
    if visit.told("form") == "csv":
        return _table(visit, sales, f"{moment:%Y-%m-%d}")
    sums = orders.day_of(visit.store, *span)
    told: dict[str, Any] = {
        "on": f"{moment:%Y-%m-%d}",
        "before": f"{before:%Y-%m-%d}",
        "after": f"{after:%Y-%m-%d}",
        "sums": sums,
        "taken_fen": sum(row["taken_fen"] for row in sums),
        "refunded_fen": sum(row["refunded_fen"] for row in sums),
        "sales": [row for row in sales if row["amount_fen"]],
        "span": span,
    }
    return visit.show("day_of_sales.html", told)


def _table(visit: Visit, sales: list[dict[str, Any]], on: str) -> HttpResponse:
    """Return the sales of a day as CSV for a spreadsheet, in which no text is a formula."""
    names = (
        *("sold_at", "cashier", "channel", "account", "order", "amount", "reference"),
        *("voided_at", "void_reason"),
    )
    cells = []
    for row in sales:
        told = {**row, "amount": yuan(row["amount_fen"])}
        for name in ("sold_at", "voided_at"):
            told[name] = local(row[name], visit.zone) if row[name] else ""
        cells.append([told[name] or "" for name in names])
    return table(CSV, on, names, cells)
