"""Lists of accounts: previewed, then taken whole or not at all; compared; and given out."""

from collections import Counter
from dataclasses import asdict
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.http import HttpResponse, HttpResponseRedirect

from host.headend import lists, persons, registry
from host.headend.errors import StoreError
from host.headend.registry import Entry, Preview, Ratio
from host.headend.users import KEEP
from host.headend.web.door import Trouble, Visit, page, writing
from host.headend.web.forms import day_of
from host.headend.web.previews import Held, Previews
from host.headend.web.tables import CSV, XLSX, table
from host.headend.web.uploads import uploaded
from host.words import _

_SHOWN = 200
_DUE_DAYS = 90


_previews: Previews[Entry, Preview] = Previews()


@page(KEEP)
def imports(visit: Visit) -> HttpResponse:
    """Take a list in: first what it would change, then all of it or nothing."""
    told: dict[str, Any] = {"wrong": "", "held": None, "found": None, "taken": visit.told("taken")}
    status = 200
    if visit.request.method == "POST":
        try:
            if visit.told("step") == "take":
                return _take(visit)
            called, entries = uploaded(visit, lists.read)
            if visit.told("step") == "compare":
                here = registry.entries(visit.store, priced=True)
                found = [asdict(one) for one in registry.compare(here, entries.values())]
                told |= {"found": found[:_SHOWN], "count": len(found), "called": called}
            else:
                preview = partial(registry.preview, visit.store)
                token, held = _previews.hold(visit, called, entries, preview)
                told |= {"held": held, "token": token, "changed": held.seen.changed[:_SHOWN]}
        except (Trouble, StoreError) as error:
            told["wrong"], status = str(error), getattr(error, "status", 409)
    return visit.show("imports.html", told, status)


@page(KEEP)
def lines(visit: Visit) -> HttpResponse:
    """Show how the register differs from what concentrators have on their lines."""
    found = [asdict(one) for one in registry.compare_lines(visit.store)]
    told = {"wrong": "", "held": None, "found": found[:_SHOWN], "count": len(found), "taken": ""}
    return visit.show("imports.html", {**told, "called": _("lines of the concentrators")})


@page(KEEP)
def export(visit: Visit) -> HttpResponse:
    """Return the register as a list that can be taken in again."""
    form = _form(visit) or CSV
    found = registry.entries(visit.store)
    with writing() as store:
        persons.note_register_taken(store, len(found))
    return table(form, "register", registry.COLUMNS, map(registry.cells_of, found))


def _form(visit: Visit) -> str:
    """Return the form of a file that is asked for, "": a page is. Trouble: there is none such."""
    form = visit.told("form", 10)
    if form not in ("", CSV, XLSX):
        raise Trouble(404, _("there is no such page: begin at the first one"))
    return form


_DUE_COLUMNS = (
    *("due", "what", "meter", "account", "name", "district", "type", "manufacturer"),
    *("installed", "verified", "ct", "pt", "multiplier"),
)


@page()
def devices(visit: Visit) -> HttpResponse:
    """List the meters that are to be verified or exchanged, by day and type, as a page or file."""
    today = datetime.now(visit.zone).date()
    until = day_of(visit, "until") if visit.told("until", 10) else today + timedelta(_DUE_DAYS)
    typed = {name: visit.told(name, 64) for name in ("district", "type")}
    found = registry.due(visit.store, until, typed["district"], typed["type"])
    if form := _form(visit):
        rows = ([row[name] for name in _DUE_COLUMNS] for row in found)
        return table(form, f"due-{until}", _DUE_COLUMNS, rows)
    on = today.isoformat()
    counts = Counter((row["what"], row["type"]) for row in found)
    overdue = Counter((row["what"], row["type"]) for row in found if row["due"] < on)
    kinds = [(*key, overdue[key], count - overdue[key]) for key, count in sorted(counts.items())]
    told = {
        **typed,
        **registry.device_choices(visit.store),
        "until": until.isoformat(),
        "today": on,
        "rows": [{**row, "ratio": _ratio(row)} for row in found[:_SHOWN]],
        "count": len(found),
        "overdue": sum(overdue.values()),
        "by_kind": kinds,
        "kinds": (registry.VERIFICATION, registry.EXCHANGE),
    }
    return visit.show("devices.html", told)


def _ratio(row: dict[str, Any]) -> Ratio:
    return Ratio(row["multiplier"], row["ct"], row["pt"])


def _take(visit: Visit) -> HttpResponse:
    """Take the list that was previewed, once. Trouble; StoreError."""

    def take(held: Held[Entry, Preview]) -> int:
        if registry.preview(visit.store, held.rows) != held.seen:
            text = _("the register has changed since, nothing was taken: give the list again")
            raise Trouble(409, text)
        with writing() as store:
            return registry.take(store, held.rows)

    return HttpResponseRedirect(f"/imports?taken={_previews.take(visit, take)}")
