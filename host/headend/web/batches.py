"""Batches of devices that are due: made, given out as a list, and their results taken in."""

from functools import partial
from typing import Any

from django.http import HttpResponse, HttpResponseRedirect

from host.headend import due_work
from host.headend.due_work import Change, Result, Wanted
from host.headend.errors import StoreError
from host.headend.registry import EXCHANGE, VERIFICATION
from host.headend.users import SWITCH
from host.headend.web.door import Trouble, Visit, page, writing
from host.headend.web.forms import day_of, number_of, plain_text
from host.headend.web.previews import Held, Previews
from host.headend.web.tables import CSV, XLSX, table
from host.headend.web.uploads import uploaded
from host.words import _

_MOST = 1000
_SHOWN = 200


_previews: Previews[Result, list[Change]] = Previews()


@page()
def listed(visit: Visit) -> HttpResponse:
    """List the batches and the work of one, or do what a form of them asks for."""
    batch = visit.told("batch", due_work.BATCH_NAME_LIMIT)
    told: dict[str, Any] = {"wrong": "", "held": None, "taken": visit.told("taken", 9)}
    status = 200
    if visit.request.method == "POST":
        try:
            if not visit.person.may(SWITCH):
                text = _("your role {role} may not do this: ask a manager")
                raise Trouble(403, text.format(role=_(visit.person.role)))
            step = visit.told("step")
            if step == "plan":
                return _plan(visit)
            if step == "take":
                return _take(visit)
            told |= _preview(visit)
        except (Trouble, StoreError) as error:
            told["wrong"], status = str(error), getattr(error, "status", 409)
    rows = due_work.work_list(visit.store, batch) if batch else []
    if form := visit.told("form", 10) if visit.request.method == "GET" else "":
        if form not in (CSV, XLSX):
            raise Trouble(404, _("there is no such page: begin at the first one"))
        cells = ([row[name] for name in due_work.COLUMNS] for row in rows)
        return table(form, "work", due_work.COLUMNS, cells)
    told |= {"batches": due_work.batches(visit.store), "batch": batch}
    told |= {"rows": rows[:_SHOWN], "count": len(rows), "may": visit.person.may(SWITCH)}
    return visit.show("batches.html", told, status)


def _plan(visit: Visit) -> HttpResponse:
    """Make a batch. Trouble; StoreError."""
    what = visit.told("what", 24)
    if what not in (VERIFICATION, EXCHANGE):
        raise Trouble(400, _("this form is not one of ours: open the page again"))
    most = number_of(visit, "most", _MOST) or 1
    places = {"district": visit.told("district", 64), "kind": visit.told("type", 64)}
    wanted = Wanted(what, day_of(visit, "until"), most=most, **places)
    batch, who = (
        plain_text(visit, "batch", due_work.BATCH_NAME_LIMIT),
        plain_text(visit, "who", 64),
    )
    with writing() as store:
        due_work.plan(store, batch, wanted, who, visit.person.name)
    return HttpResponseRedirect("/batches")


def _preview(visit: Visit) -> dict[str, Any]:
    """Keep results and what they would change until they are taken. Trouble."""
    called, told = uploaded(visit, due_work.read)
    preview = partial(due_work.preview, visit.store)
    token, held = _previews.hold(visit, called, told, preview)
    return {"held": held, "token": token}


def _take(visit: Visit) -> HttpResponse:
    """Take the results that were previewed, once. Trouble; StoreError."""

    def take(held: Held[Result, list[Change]]) -> int:
        with writing() as store:
            return due_work.take_results(store, held.rows, visit.person.name)

    return HttpResponseRedirect(f"/batches?taken={_previews.take(visit, take)}")
