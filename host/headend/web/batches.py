"""Batches of devices that are due: made, given out as a list, and their results taken in."""

import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from django.http import HttpResponse, HttpResponseRedirect

from host.headend import due_work
from host.headend.due_work import Change, Result, Wanted
from host.headend.errors import SalesError, StoreError
from host.headend.registry import EXCHANGE, VERIFICATION
from host.headend.users import SWITCH
from host.headend.web.door import Trouble, Visit, page, writing
from host.headend.web.forms import day_of, number_of, plain_text
from host.headend.web.tables import CSV, XLSX, table
from host.headend.web.uploads import uploaded
from host.rows import tell_troubles
from host.words import _

_MOST = 1000
_SHOWN = 200
_HELD_S, _HELD_LIMIT = 3600, 8


@dataclass
class _Held:
    """Results that were previewed and wait to be taken; `taken`: how many there were."""

    person: str
    called: str
    results: list[Result]
    changes: list[Change]
    until_s: float = field(default_factory=lambda: time.monotonic() + _HELD_S)
    taken: int | None = None


_held: OrderedDict[str, _Held] = OrderedDict()
_lock = threading.Lock()


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
    wanted = list(told.values())
    try:
        changes = due_work.preview(visit.store, wanted)
    except SalesError as error:
        lines = list(told)
        troubles = {lines[place]: why for place, why in error.troubles.items()}
        raise Trouble(400, tell_troubles(called, troubles)) from error
    held = _Held(visit.person.name, called, wanted, changes)
    token = secrets.token_urlsafe(16)
    with _lock:
        _held[token] = held
        while len(_held) > _HELD_LIMIT:
            _held.popitem(last=False)
    return {"held": held, "token": token}


def _take(visit: Visit) -> HttpResponse:
    """Take the results that were previewed, once. Trouble; StoreError."""
    with _lock:
        held = _held.get(visit.told("token", 40))
        if held is None or held.person != visit.person.name or held.until_s < time.monotonic():
            text = _("this list is not kept any more, nothing was taken: give it again")
            raise Trouble(409, text)
        if held.taken is None:
            with writing() as store:
                held.taken = due_work.take_results(store, held.results, visit.person.name)
            held.results = []
    return HttpResponseRedirect(f"/batches?taken={held.taken}")
