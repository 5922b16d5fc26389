"""Pages of the service: planned outages, and complaints."""

import time
from typing import Any

from django.http import HttpResponse, HttpResponseRedirect

from host.headend import complaints, planned_outages, tickets
from host.headend.alarms import COMPLAINT
from host.headend.complaints import CONTACT_LIMIT, KINDS, PLACE_LIMIT, WHAT_LIMIT, Said
from host.headend.errors import StoreError
from host.headend.planned_outages import CALLED_OFF, DONE, STATION, Planned
from host.headend.users import SELL, SWITCH
from host.headend.web.door import Trouble, Visit, page, writing
from host.headend.web.forms import digits_of, moment_of, number_of, plain_text, reason_of
from host.words import _

_SHOWN = 100
_NUMBER_MOST = 999_999_999
PLAN, CHANGE, END, OFF = "plan", "change", "end", "off"
ENTER, CLOSE, REOPEN = "enter", "close", "reopen"


def _not_ours() -> Trouble:
    return Trouble(400, _("this form is not one of ours: open the page again"))


# --- outages ------------------------------------------------------------------------------------


@page()
def planned(visit: Visit) -> HttpResponse:
    """List the planned outages, and do what a form of one of them asks for."""
    wrong, status = "", 200
    if visit.request.method == "POST":
        try:
            if not visit.person.may(SWITCH):
                raise Trouble(403, _("your role plans no outages: ask an engineer or a manager"))
            return HttpResponseRedirect(f"/planned-outages?done={_plan(visit)}")
        except Trouble as error:
            wrong, status = str(error), error.status
        except StoreError as error:
            wrong, status = str(error), 409
    rows = planned_outages.outages(visit.store)
    told = {
        "open": [one for one in rows if one["ended_at"] is None],
        "ended": [one for one in rows if one["ended_at"] is not None][::-1][:_SHOWN],
        "places": list(planned_outages.places(visit.store)),
        "wrong": wrong,
        "done": _done(visit),
    }
    return visit.show("planned_outages.html", told, status)


def _plan(visit: Visit) -> int:
    """Do what a form asks for; return the number of the outage. Trouble, StoreError."""
    step, by = visit.told("step"), visit.person.name
    if step in (END, OFF):
        number, state = _number(visit), DONE if step == END else CALLED_OFF
        with writing() as store:
            planned_outages.end_outage(store, number, state, by, reason_of(visit))
        return number
    span = (_moment(visit, "since"), _moment(visit, "until"))
    if step == CHANGE:
        number = _number(visit)
        with writing() as store:
            planned_outages.change_outage(store, number, *span, reason_of(visit), by)
        return number
    if step != PLAN:
        raise _not_ours()
    level, _colon, place = plain_text(visit, "place", 100).partition(":")
    wanted = Planned(level or STATION, place, *span, reason_of(visit))
    with writing() as store:
        return planned_outages.plan_outage(store, wanted, by)


def _moment(visit: Visit, name: str) -> int:
    """Return a moment of the station's clock in seconds since 1970. Trouble."""
    try:
        return int(moment_of(visit, name).replace(tzinfo=visit.zone).timestamp())
    except (OverflowError, ValueError) as error:
        raise _not_ours() from error


def _number(visit: Visit) -> int:
    return number_of(visit, "number", _NUMBER_MOST)


def _done(visit: Visit) -> int:
    """Return the number of what the form before has done, 0: none."""
    return 0 if visit.request.method == "POST" else number_of(visit, "done", _NUMBER_MOST)


# --- complaints ---------------------------------------------------------------------------------


@page()
def complained(visit: Visit) -> HttpResponse:
    """List the complaints, and do what a form of one of them asks for."""
    wrong, status = "", 200
    if visit.request.method == "POST":
        try:
            if not _may_answer(visit):
                raise Trouble(403, _("your role answers no complaints: ask a manager"))
            return HttpResponseRedirect(f"/complaints?done={_answer(visit)}")
        except Trouble as error:
            wrong, status = str(error), error.status
        except StoreError as error:
            wrong, status = str(error), 409
    rows = complaints.complaints(visit.store, now=int(time.time()))
    told: dict[str, Any] = {
        "open": [one for one in rows if one["closed_at"] is None],
        "closed": [one for one in rows if one["closed_at"] is not None][::-1][:_SHOWN],
        "kinds": KINDS,
        "limits": {"what": WHAT_LIMIT, "place": PLACE_LIMIT, "contact": CONTACT_LIMIT},
        "may_answer": _may_answer(visit),
        "tickets": tickets.of_complaints(visit.store),
        "ticket_kind": COMPLAINT,
        "wrong": wrong,
        "done": _done(visit),
        "typed": visit.request.POST if wrong else {},
    }
    return visit.show("complaints.html", told, status)


def _may_answer(visit: Visit) -> bool:
    return visit.person.may(SELL) or visit.person.may(SWITCH)


def _answer(visit: Visit) -> int:
    """Do what a form asks for; return the number of the complaint. Trouble, StoreError."""
    step, by = visit.told("step"), visit.person.name
    if step == ENTER:
        said = Said(
            plain_text(visit, "kind", 24),
            plain_text(visit, "what", WHAT_LIMIT),
            plain_text(visit, "place", PLACE_LIMIT),
            digits_of(visit, "account") if visit.told("account", 20) else "",
            plain_text(visit, "contact", CONTACT_LIMIT),
        )
        with writing() as store:
            return complaints.enter_complaint(store, said, by)
    number = _number(visit)
    act = {CLOSE: complaints.close_complaint, REOPEN: complaints.reopen_complaint}.get(step)
    if act is None:
        raise _not_ours()
    with writing() as store:
        act(store, number, by, reason_of(visit))
    return number
