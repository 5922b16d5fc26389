"""Personal data: what is kept and why, all of a person as a file, erasure.

Who is looked for stands in a form and never in an address, so that it is in no history and no log.
"""

from typing import Any

from django.http import HttpResponse, HttpResponseRedirect

from host.headend import persons, retention
from host.headend.errors import StoreError
from host.headend.users import ADMIN, KEEP
from host.headend.web.door import Trouble, Visit, page, writing
from host.headend.web.forms import digits_of, number_of, plain_text, reason_of
from host.words import _

LOOK, TAKE, ERASE, SET = "look", "take", "erase", "set"


@page()
def kept(visit: Visit) -> HttpResponse:
    """Show what is kept; do what a form asks for: look at a person, take or erase it, set days."""
    told: dict[str, Any] = {"wrong": "", "found": None, "done": visit.told("done", 10)}
    status = 200
    if visit.request.method == "POST":
        try:
            answer = _do(visit, told)
            if answer is not None:
                return answer
        except Trouble as error:
            told["wrong"], status = str(error), error.status
        except StoreError as error:
            told["wrong"], status = str(error), 409
    told |= {
        "kept": retention.kept(visit.store),
        "most": retention.MOST_DAYS,
        "may": visit.person.may(KEEP),
        "may_set": visit.person.role == ADMIN,
    }
    return visit.show("personal_data.html", told, status)


def _do(visit: Visit, told: dict[str, Any]) -> HttpResponse | None:
    """Do what a form asks for; return where to go from there, None: to show. Trouble."""
    step = visit.told("step", 10)
    if step == SET:
        if visit.person.role != ADMIN:
            raise Trouble(403, _("only an administrator says how long something is kept"))
        kind, days = visit.told("kind", 24), number_of(visit, "days", retention.MOST_DAYS)
        with writing() as store:
            retention.set_retention(store, kind, days, visit.person.name, reason_of(visit))
        return HttpResponseRedirect("/personal-data?done=set")
    if not visit.person.may(KEEP):
        raise Trouble(403, _("your role sees no person's data: ask a manager"))
    if step not in (LOOK, TAKE, ERASE):
        raise Trouble(400, _("this form is not one of ours: open the page again"))
    account = digits_of(visit, "account") if visit.told("account", 20) else ""
    customer = persons.find_customer(visit.store, plain_text(visit, "customer", 32), account)
    if step == TAKE:
        return _file(customer)
    if step == ERASE:
        try:
            with writing() as store:
                anyway = visit.told("anyway", 5) == "1"
                persons.erase(store, customer, visit.person.name, reason_of(visit), anyway=anyway)
        except (Trouble, StoreError):
            told["found"] = persons.person(visit.store, customer)
            raise
        return HttpResponseRedirect("/personal-data?done=erased")
    told["found"] = persons.person(visit.store, customer)
    with writing() as store:
        persons.note_access(store, persons.SEEN, customer)
    return None


def _file(customer: str) -> HttpResponse:
    """Return all of a person as a file, the name of which says nothing of the person."""
    with writing() as store:
        text = persons.export_text(store, customer)
    answer = HttpResponse(text, content_type="application/json; charset=utf-8")
    answer["Content-Disposition"] = 'attachment; filename="dianka-person.json"'
    return answer
