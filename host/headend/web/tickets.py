"""Tickets: what work there is and who does it; on a phone where, what, what to try, and done."""

import time
from typing import Any

from django.http import HttpResponse, HttpResponseRedirect

from host.headend import alarms, tickets
from host.headend.errors import StoreError
from host.headend.registry import EXCHANGE, VERIFICATION
from host.headend.tickets import Work
from host.headend.users import SWITCH
from host.headend.web.door import Trouble, Visit, page, writing
from host.headend.web.figures import local
from host.headend.web.forms import number_of, plain_text
from host.headend.web.tables import CSV, XLSX, table
from host.units import DAY_S
from host.words import _, marked

_SHOWN = 100
_SPAN_DAYS = 30
_PRIORITIES = {
    tickets.URGENT: (marked("at once"), "bad"),
    tickets.SOON: (marked("soon"), "warn"),
    tickets.LATER: (marked("later"), "plain"),
}
_READ = "dianka meter --port /dev/ttyUSB0 read {meter} 0001FF00 04000503"
# What a technician tries for each kind of alarm, beside reading the meter.
_TRIES = {
    "relay": (_READ, "dianka meter --port /dev/ttyUSB0 relay {meter} {wanted} --yes"),
    "doubt": (_READ, "dianka meter --port /dev/ttyUSB0 time {meter}"),
    "voltage": ("dianka meter --port /dev/ttyUSB0 read {meter} voltage",),
    "clock": ("dianka meter --port /dev/ttyUSB0 time {meter}",),
    "firmware": ("dianka console --port /dev/ttyACM0 status",),
    alarms.SILENT: ("dianka ports", "dianka console --port /dev/ttyACM0 status"),
}
_BATCHED = marked("Its result comes with the work list of its batch, which moves the day on.")
_HINTS = {
    **dict.fromkeys((VERIFICATION, EXCHANGE), _BATCHED),
    "relay": marked("If it does not move: exchange the meter, and note what it shows at the end."),
    "doubt": marked("Compare what the meter shows with what its concentrator has read."),
    "voltage": marked("Measure at the meter and at the transformer, and look at the clamps."),
    alarms.SILENT: marked("Look at its power, its antenna and its card before the board."),
}


@page()
def listed(visit: Visit) -> HttpResponse:
    """List open tickets and alarms without one, where most money is concerned, or as a file."""
    now = int(time.time())
    if form := visit.told("form", 10):
        return _file(visit, form, now)
    mine = visit.person.name if visit.told("mine") else ""
    rows = tickets.open_tickets(visit.store, mine)
    told = {
        "rows": [_shown(one, now) for one in rows[:_SHOWN]],
        "count": len(rows),
        "overdue": sum(one["due_at"] < now for one in rows),
        "alarms": alarms.alarms(visit.store)[:_SHOWN],
        "compared": alarms.is_compared(visit.store),
        "closed": tickets.closed_tickets(visit.store, 10),
        **_repairs(visit, now),
        "days": _SPAN_DAYS,
        "mine": mine,
        "now": now,
    }
    return visit.show("tickets.html", told)


_EXPORT_DAYS = 366


def _file(visit: Visit, form: str, now: int) -> HttpResponse:
    """Return the open tickets and those that were closed within a year. Trouble: no such form."""
    if form not in (CSV, XLSX):
        raise Trouble(404, _("there is no such page: begin at the first one"))
    found = tickets.all_tickets(visit.store, now - _EXPORT_DAYS * DAY_S)
    rows = ([_cell(visit, name, row[name]) for name in tickets.COLUMNS] for row in found)
    return table(form, "tickets", tickets.COLUMNS, rows)


def _cell(visit: Visit, name: str, value: Any) -> Any:
    if value is None:
        return ""
    return local(value, visit.zone) if name.endswith("_at") else value


def _repairs(visit: Visit, now: int) -> dict[str, Any]:
    """Return how repairs went of late, and how long they took as hours and minutes."""
    found = tickets.repairs(visit.store, now - _SPAN_DAYS * DAY_S, now + 1)
    minutes = found.mean_s // 60
    mean = f"{minutes // 60}:{minutes % 60:02d}" if found.mended else "–"
    return {"mean": mean, "mended": found.mended, "in_time": found.in_time}


def _shown(one: dict[str, Any], now: int) -> dict[str, Any]:
    """Return a ticket with its priority in words and what is left of its time."""
    word, tone = _PRIORITIES[one["priority"]]
    return {
        **one,
        "urgency": _(word),
        "tone": tone,
        "is_late": one["closed_at"] is None and one["due_at"] < now,
    }


@page(SWITCH)
def new(visit: Visit) -> HttpResponse:
    """Make a ticket of an alarm; where it has one, lead to that."""
    kind, key = visit.told("kind", 24), visit.told("key", 32)
    wrong, status = "", 200
    if visit.request.method == "POST":
        try:
            priority = number_of(visit, "priority", tickets.LATER)
            with writing() as store:
                who = plain_text(visit, "who", 64)
                number = tickets.open_ticket(store, kind, key, priority, who, visit.person.name)
            return HttpResponseRedirect(f"/tickets/{number}")
        except (Trouble, StoreError) as error:
            wrong, status = str(error), getattr(error, "status", 409)
    try:
        alarm = tickets.alarm(visit.store, kind, key)
    except StoreError as error:
        raise Trouble(404, wrong or str(error)) from error
    told = {"alarm": alarm, "wrong": wrong, "priorities": _choices(), "who": visit.person.name}
    return visit.show("ticket_new.html", told, status)


def _choices() -> list[tuple[int, str]]:
    return [(number, _(word)) for number, (word, _tone) in _PRIORITIES.items()]


@page()
def one(visit: Visit, number: int) -> HttpResponse:
    """Show a ticket for a phone; give it to a person, or close it with what was done."""
    wrong, status = "", 200
    if visit.request.method == "POST":
        try:
            _do(visit, number)
            return HttpResponseRedirect(f"/tickets/{number}")
        except (Trouble, StoreError) as error:
            wrong, status = str(error), getattr(error, "status", 409)
    try:
        found = tickets.ticket(visit.store, number)
    except StoreError as error:
        raise Trouble(404, str(error)) from error
    told = {
        "one": _shown(found, int(time.time())),
        "wrong": wrong,
        "tries": _tries(found),
        "hint": _(_HINTS[found["kind"]]) if found["kind"] in _HINTS else "",
        "outcomes": tickets.OUTCOMES,
        "priorities": _choices(),
        "may": visit.person.may(SWITCH) and found["closed_at"] is None,
        "typed": {name: visit.told(name, 500) for name in ("said", "parts", "outcome")},
    }
    return visit.show("ticket.html", told, status)


def _tries(found: dict[str, Any]) -> list[str]:
    """Return the commands to try, with the address of the meter."""
    meter = found["meter"] or "any"
    wanted = "close" if found["relay"] else "trip"
    return [
        line.format(meter=meter.lstrip("0") or meter, wanted=wanted)
        for line in _TRIES.get(found["kind"], (_READ,) if found["meter"] else ())
    ]


def _do(visit: Visit, number: int) -> None:
    """Do what a form of a ticket asks for. Trouble; StoreError."""
    if not visit.person.may(SWITCH):
        text = _("your role {role} may not do this: ask a manager")
        raise Trouble(403, text.format(role=_(visit.person.role)))
    step, by = visit.told("step"), visit.person.name
    with writing() as store:
        if step == "assign":
            priority = number_of(visit, "priority", tickets.LATER) or tickets.LATER
            tickets.assign(store, number, plain_text(visit, "who", 64), priority, by)
        elif step == "done":
            said, parts = plain_text(visit, "said", 500), plain_text(visit, "parts", 200)
            tickets.finish(store, number, Work(said, parts, visit.told("outcome", 16)), by)
        else:
            raise Trouble(400, _("this form is not one of ours: open the page again"))
