"""The manager's month as a page, PDF and XLSX; a landlord's where nobody signs in."""

import time
from typing import Any

from django.http import HttpResponse, HttpResponseRedirect

from host.headend import month as months
from host.headend import month_paper
from host.headend.errors import StoreError
from host.headend.web.door import Trouble, Visit, page
from host.headend.web.site import site
from host.headend.web.tables import XLSX
from host.words import _

_PDF = "pdf"
_TYPES = {
    _PDF: "application/pdf",
    XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


@page()
def newest(visit: Visit) -> HttpResponse:
    """Lead to the month that was over last."""
    return HttpResponseRedirect(f"/month/{months.last_month(visit.store, int(time.time()))}")


@page()
def one(visit: Visit, which: str) -> HttpResponse:
    """Show a month, or give it as a file."""
    try:
        months.month_of(which)
    except StoreError as error:
        raise Trouble(404, str(error)) from error
    form = visit.told("form", 10)
    if form and form not in _TYPES:
        raise Trouble(404, _("there is no such page: begin at the first one"))
    told: dict[str, Any] = {
        "month": which,
        "before": months.before(which),
        "after": months.before(which, -1),
    }
    if site().simple:
        rows = months.house(visit.store, which)
        if form:
            make = month_paper.house_pdf if form == _PDF else month_paper.house_xlsx
            return _file(which, form, make(which, rows))
        told |= {"house": rows, "columns": months.HOUSE_COLUMNS, "report": None}
        return visit.show("month.html", told)
    known = int(visit.store.value("SELECT count(*) FROM accounts"))
    is_computed = known <= months.COMPUTED_LIMIT
    report = months.report(visit.store, which, computed=is_computed)
    if form:
        make_report = month_paper.pdf if form == _PDF else month_paper.xlsx
        return _file(which, form, make_report(report))
    told |= {"house": None, "report": report, "shown": months.shown, "is_computed": is_computed}
    return visit.show("month.html", told)


def _file(which: str, form: str, content: bytes) -> HttpResponse:
    answer = HttpResponse(content, content_type=_TYPES[form])
    answer["Content-Disposition"] = f'attachment; filename="dianka-{which}.{form}"'
    return answer
