"""The household's own page: by the link of its receipt, or by a code to its telephone; read only.

Its address has a token and nothing of the household. Nobody signs in; the page works without
scripts and cookies. Tokens and numbers of accounts are in no log (`host.headend.web.site`).
"""

import itertools
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import date, datetime
from functools import wraps
from typing import Any

from django.http import HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string
from django.views.decorators.csrf import csrf_exempt

from host.headend import household_links, retention
from host.headend.audit import Who, acting
from host.headend.channel_sales import masked
from host.headend.errors import StoreError
from host.headend.web import looks, meters
from host.headend.web.door import address_of, look_anew, looking, writing
from host.headend.web.meters import Use
from host.units import DAY_S, full_number, t2000_of_unix
from host.words import LANGUAGES, _, speaking

PREFIX = "/h"
_DAYS, _MONTHS, _ORDERS, _NOTICES = 14, 13, 12, 20
_FIELD_LIMIT = 20
# Requests of one address in a minute; a mobile network has many households behind one.
_A_MINUTE = 60
_ADDRESSES = 10_000
_HEADERS = {
    "Content-Security-Policy": "; ".join(
        (
            *("default-src 'none'", "style-src 'self'", "img-src 'self'", "form-action 'self'"),
            *("frame-ancestors 'none'", "base-uri 'none'"),
        )
    ),
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex, nofollow",
    "Cache-Control": "no-store, private",
}


class _Pace:
    """Counts the requests of each address in a minute."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def is_over(self, address: str) -> bool:
        """Count a request; return whether there were too many."""
        minute = int(time.monotonic()) // 60
        with self._lock:
            then, count = self._counts.pop(address, (minute, 0))
            count = count + 1 if then == minute else 1
            self._counts[address] = minute, count
            if len(self._counts) > _ADDRESSES:
                self._counts.popitem(last=False)
        return count > _A_MINUTE


_pace = _Pace()
View = Callable[..., HttpResponse]


def _own(function: View) -> View:
    """Return a view of a household: in its language, at its pace, with headers of its own."""

    @wraps(function)
    def view(request: Any, **parts: Any) -> HttpResponse:
        wanted = request.GET.get("lang", "")
        with speaking(wanted if wanted in LANGUAGES else request.language):
            if _pace.is_over(address_of(request)):
                answer = _say(429, _("too many pages at once: wait for a minute"))
            else:
                answer = _answered(function, request, parts)
        for name, value in _HEADERS.items():
            answer[name] = value
        answer._has_been_logged = True  # else Django logs the path
        return answer

    exempt: View = csrf_exempt(view)  # it changes nothing, and old telephones have no cookies
    return exempt


def _answered(function: View, request: Any, parts: dict[str, Any]) -> HttpResponse:
    try:
        with acting(Who("household", "household")):
            return function(request, **parts)
    except StoreError as error:
        look_anew()
        is_many = getattr(error, "name", "") == "too_many_tries"
        return _say(429 if is_many else 503, str(error))


def _say(status: int, text: str) -> HttpResponse:
    return _page("own_say.html", {"text": text}, status)


def _page(template: str, told: dict[str, Any], status: int = 200) -> HttpResponse:
    return HttpResponse(render_to_string(template, told), status=status)


def _gone() -> HttpResponse:
    text = _("this link does not open a page any more: take that of a newer receipt, or a code")
    return _page("own_ask.html", {"wrong": text, "account": ""}, 404)


# --- by a code ----------------------------------------------------------------------------------


@_own
def ask(request: Any) -> HttpResponse:
    """Ask for the number of the account; have a code sent to the telephone on record."""
    if request.method != "POST":
        return _page("own_ask.html", {"wrong": "", "account": ""})
    account = _account(request)
    if not account:
        wrong = _("give the number of the account, as the receipt has it")
        return _page("own_ask.html", {"wrong": wrong, "account": ""}, 400)
    with writing() as store:
        household_links.ask_code(store, account, address_of(request))
    return _page("own_code.html", {"wrong": "", "account": account})


@_own
def code(request: Any) -> HttpResponse:
    """Take a code, and go to the page that it opens."""
    account = _account(request) if request.method == "POST" else ""
    if not account:
        return HttpResponseRedirect(PREFIX)
    typed = str(request.POST.get("code", "")).strip()[:_FIELD_LIMIT]
    with writing() as store:
        is_right = household_links.use_code(store, account, typed)
    token = household_links.visit_token(looking(), account) if is_right else ""
    if not token:
        wrong = _("the code is wrong or too old: look again, or have another one sent")
        return _page("own_code.html", {"wrong": wrong, "account": account}, 403)
    return HttpResponseRedirect(f"{PREFIX}/{token}")


def _account(request: Any) -> str:
    try:
        return full_number(str(request.POST.get("account", "")).strip()[:_FIELD_LIMIT])
    except ValueError:
        return ""


@_own
def kept(request: Any) -> HttpResponse:
    """Say what the station keeps of a household, why and for how long."""
    store = looking()
    found = [one for one in retention.kept(store) if not one.kind.is_of_staff]
    told = {"kept": found, "station": household_links.station(store), "lang": _lang(request)}
    return _page("own_kept.html", told)


# --- the page -----------------------------------------------------------------------------------


@_own
def page(request: Any, token: str) -> HttpResponse:
    """Show the household of a link."""
    store = looking()
    found = household_links.opened(store, token)
    row = meters.household(store, found.account) if found is not None else None
    if found is None or row is None:
        return _gone()
    account, since_at = found.account, found.since_at
    zone = store.zone()
    since = t2000_of_unix(since_at, zone) if since_at else 0
    is_connected = row["credit_fen"] is not None
    terms = meters.terms_of(store, row)
    left = looks.days_left(store, [row]) if is_connected else {}
    told = {
        **_common(request, token, account),
        "name": masked(household_links.name_of(store, account)),
        "row": row,
        "balance_fen": row["credit_fen"] - row["debit_fen"] if is_connected else None,
        "days": left.get(account),
        "state": looks.state_of(row),
        "tier": meters.tier_of(terms, row) if terms else None,
        "months": _since(meters.uses(store, row, meters.MONTH), since)[-_MONTHS:][::-1],
        "by_day": _days(meters.uses(store, row, meters.DAY), since),
        "orders": household_links.bought(store, account, since_at, _ORDERS),
        "notices": household_links.told(store, account, since_at, _NOTICES),
        "zone": zone,
    }
    return _page("own.html", told)


@_own
def day(request: Any, token: str, on: str) -> HttpResponse:
    """Show why a day cost what it did: energy, prices and the arithmetic."""
    store = looking()
    found = household_links.opened(store, token)
    row = meters.household(store, found.account) if found is not None else None
    if found is None or row is None:
        return _gone()
    try:
        moment = date.fromisoformat(on)
    except ValueError:
        return _gone()
    number = (moment - date(2000, 1, 1)).days
    began = datetime.fromtimestamp(found.since_at, store.zone()).date()
    if row["credit_fen"] is None or moment < began or not 0 <= number < 1 << 20:
        return _gone()
    told = {
        **_common(request, token, found.account),
        "on": moment.isoformat(),
        "opened": meters.opened_day(store, row, number),
    }
    return _page("own_day.html", told)


def _common(request: Any, token: str, account: str) -> dict[str, Any]:
    return {
        "url": f"{PREFIX}/{token}",
        "lang": _lang(request),
        "account": account,
        "station": household_links.station(looking()),
    }


def _lang(request: Any) -> str:
    """Return the end of an address that keeps the language that was chosen."""
    wanted = request.GET.get("lang", "")
    return f"?lang={wanted}" if wanted in LANGUAGES else ""


def _since(found: list[Use], since_t2000: int) -> list[Use]:
    """Return the uses of who has the account now, and none of who had it before."""
    return [one for one in found if one.since_t2000 >= since_t2000]


def _days(found: list[Use], since_t2000: int) -> list[tuple[Use, str]]:
    """Return the newest days with the date of each, the newest first."""
    own = _since(found, since_t2000)[::-1]
    begin = date(2000, 1, 1).toordinal()
    dated = [
        (one, date.fromordinal(begin + (one.until_t2000 - 1) // DAY_S).isoformat()) for one in own
    ]
    return list(itertools.islice(dated, _DAYS))
