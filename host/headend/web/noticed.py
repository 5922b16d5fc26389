"""Notices to households for the station: what was sent, whether it arrived, sent once more."""

import re

from django.http import HttpResponse, HttpResponseRedirect

from host.headend import notices
from host.headend.errors import StoreError
from host.headend.users import KEEP
from host.headend.web import forms
from host.headend.web.door import Trouble, Visit, page, writing
from host.words import _

_PAGE_ROWS = 100


@page()
def listed(visit: Visit) -> HttpResponse:
    """List notices, the newest first, all or those that fit."""
    typed = {name: visit.told(name, 20) for name in ("account", "kind", "state")}
    before = visit.told("before", 12)
    if not re.fullmatch("[0-9]*", before):
        raise Trouble(400, _("there is no such page of the list: begin at the first one"))
    wanted = dict(typed)
    if typed["account"]:
        wanted["account"] = forms.digits_of(visit, "account")
    rows = notices.notices(visit.store, **wanted, before=int(before or 0), limit=_PAGE_ROWS + 1)
    told = {
        "rows": rows[:_PAGE_ROWS],
        "older": rows[_PAGE_ROWS - 1]["number"] if len(rows) > _PAGE_ROWS else 0,
        "typed": typed,
        "kinds": notices.KINDS,
        "states": notices.STATES,
        "counts": notices.counts(visit.store),
    }
    return visit.show("notices.html", told)


@page(KEEP)
def one(visit: Visit, number: int) -> HttpResponse:
    """Show a notice with its tries, or have it sent again."""
    found = notices.notices(visit.store, before=number + 1, limit=1)
    if not found or found[0]["number"] != number:
        raise Trouble(404, _("there is no such page: begin at the first one"))
    wrong, status = "", 200
    if visit.request.method == "POST":
        try:
            with writing() as store:
                notices.send_again(store, number, forms.reason_of(visit))
            return HttpResponseRedirect(f"/notices/{number}")
        except Trouble as error:
            wrong, status = str(error), error.status
        except StoreError as error:
            wrong, status = str(error), 409
    told = {
        "one": found[0],
        "tries": notices.tries_of(visit.store, number),
        "wrong": wrong,
        "may_again": found[0]["state"]
        in (notices.NOT_DELIVERED, notices.NOT_KNOWN, notices.LEFT_OUT)
        and found[0]["kind"] != notices.CODE,
    }
    return visit.show("notice.html", told, status)
