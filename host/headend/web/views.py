"""The pages that only show: today, households, a household, and what opens in it."""

import re
from datetime import date
from typing import Any

from django.http import HttpResponse, HttpResponseRedirect

from host.headend import life, orders
from host.headend.history import history
from host.headend.web import grace, looks, meters, switching
from host.headend.web.dates import day_of
from host.headend.web.door import Trouble, Visit, page
from host.headend.web.figures import statics
from host.headend.web.knowing import known
from host.units import DAY_S
from host.words import _

_LEDGER_DAYS = 14
_PAGES_LIMIT = 10_000
_BY = (meters.HOUR, meters.DAY, meters.MONTH)


@page()
def today(visit: Visit) -> HttpResponse:
    """Show what must be done now, and how the station stands."""
    return visit.show("today.html", {"today": looks.today(visit.store, visit.zone)})


@page()
def households(visit: Visit) -> HttpResponse:
    """List households, or go to the only one that fits the search.

    What is looked for is in a form and in no address: it may be a name or a telephone.
    """
    text = visit.told("q", 100) if visit.request.method == "POST" else ""
    number = visit.told("page", 6) or "1"
    if not number.isascii() or not number.isdecimal() or not 0 < int(number) <= _PAGES_LIMIT:
        raise Trouble(400, _("there is no such page of the list: begin at the first one"))
    rows, more = looks.households(visit.store, text, int(number))
    if visit.told("go") and len(rows) == 1 and number == "1":
        return HttpResponseRedirect(f"/households/{rows[0].account}")
    told: dict[str, Any] = {"rows": rows, "more": more, "page": int(number), "text": text}
    told["count"] = looks.count(visit.store, text) if more or number != "1" else len(rows)
    told["first"] = (int(number) - 1) * looks.PAGE_ROWS + 1
    return visit.show("households_rows.html" if _is_part(visit) else "households.html", told)


@page()
def household(visit: Visit, account: str) -> HttpResponse:
    """Show a household: how much money, how long it will last, why it changed."""
    row = known(visit, account)
    store = visit.store
    terms = meters.terms_of(store, row)
    is_connected = row["credit_fen"] is not None
    days: list[meters.DayOfLedger] = []
    spent: dict[str, float] = {}
    before = visit.told("before", 10)
    until_day = (row["last_t2000"] or 0) // DAY_S + 1
    if before:
        until_day = day_of(before)
    if is_connected and row["last_t2000"] is not None:
        days = meters.ledger_days(store, row, until_day, _LEDGER_DAYS)
        spent = looks.daily_fen(store, [row])
    by_day = meters.uses(store, row, meters.DAY)
    told = {
        "row": row,
        "balance_fen": row["credit_fen"] - row["debit_fen"] if is_connected else None,
        "state": looks.state_of(row),
        "daily_fen": round(spent.get(row["account"], 0)),
        "tier": meters.tier_of(terms, row) if terms else None,
        "standing": grace.standing_of(visit, row),
        "terms": terms,
        "chart": meters.chart(by_day, terms.rates if terms else ()),
        "by": meters.DAY,
        "curve": meters.balances(store, row, by_day),
        "ledger": _ledger(visit, row, days, until_day),
        "older": _iso(until_day - _LEDGER_DAYS) if days else "",
        "orders": orders.orders_of(store, row["account"])[::-1][:50],
        "given": switching.given_to(visit, row["account"]),
        **_life(visit, row["account"]),
    }
    return visit.show("household.html", told)


def _life(visit: Visit, account: str) -> dict[str, Any]:
    """Return the papers of an account, its meters and its cards, and what was just done."""
    papers = life.papers(visit.store, account)
    undone = {one["undoes"] for one in papers}
    open_ones = [
        one["number"] for one in papers if not one["undoes"] and one["number"] not in undone
    ]
    done = ""
    if re.fullmatch("[0-9]{1,9}", number := visit.told("paper", 12)):
        done = _("done: paper {number} says so").format(number=number)
    if re.fullmatch("[0-9]{1,9}", number := visit.told("job", 12)):
        done = _("given: what becomes of it is shown below when the concentrator has answered")
    cards = visit.store.rows(
        "SELECT uid, since_at, until_at FROM cards WHERE account = ? ORDER BY since_at", (account,)
    )
    return {
        "papers": papers[::-1],
        "newest_paper": open_ones[-1] if open_ones else 0,
        "meters": life.meters_of(visit.store, account),
        "cards": cards,
        "done": done,
    }


def _iso(day: int) -> str:
    return date.fromordinal(date(2000, 1, 1).toordinal() + day).isoformat()


def _ledger(
    visit: Visit, row: dict[str, Any], days: list[meters.DayOfLedger], until_day: int
) -> list[dict[str, Any]]:
    """Return the charges by day and everything else that happened, the newest first."""
    since = (until_day - _LEDGER_DAYS) * DAY_S
    found: list[dict[str, Any]] = [{"t2000": one.t2000, "day": one} for one in days]
    # What the counter did after the newest reading stands above it.
    until = until_day * DAY_S if visit.told("before") else 1 << 40
    for one in history(visit.store, row["account"], since, until):
        found.append({"t2000": one["t2000"], "day": None, "event": one})
    return sorted(found, key=lambda one: -one["t2000"])


@page()
def use(visit: Visit, account: str, by: str) -> HttpResponse:
    """Show the use of a household by hour, day or month, alone or as a part of its page."""
    if by not in _BY:
        raise Trouble(404, _("there is no such page: begin at the first one"))
    row = known(visit, account)
    terms = meters.terms_of(visit.store, row)
    made = meters.chart(meters.uses(visit.store, row, by), terms.rates if terms else (), by)
    name = "use.html" if _is_part(visit) else "use_page.html"
    return visit.show(name, {"row": row, "chart": made, "by": by})


@page()
def day(visit: Visit, account: str, on: str) -> HttpResponse:
    """Show the charges of a day down to registers, price version and arithmetic."""
    row = known(visit, account)
    opened = meters.opened_day(visit.store, row, day_of(on))
    name = "day_part.html" if _is_part(visit) else "day.html"
    return visit.show(name, {"row": row, "opened": opened, "on": on})


def _is_part(visit: Visit) -> bool:
    """Return whether a page asks for what it puts into itself."""
    return bool(visit.request.headers.get("HX-Request") == "true")


def static(request: Any, name: str) -> HttpResponse:
    """Return a file of the pages."""
    found = statics().get(name)
    if found is None:
        return HttpResponse(status=404)
    content, kind, _mark = found
    answer = HttpResponse(content, content_type=f"{kind}; charset=utf-8")
    answer["Cache-Control"] = "public, max-age=31536000, immutable"
    answer["X-Content-Type-Options"] = "nosniff"
    return answer
