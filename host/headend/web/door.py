"""The door of the pages: language, who asks, what they may do, and what every answer carries."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, wraps
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from django.core.exceptions import DisallowedHost
from django.http import HttpResponse, HttpResponseRedirect
from django.template.loader import render_to_string

from host.headend import approvals, users
from host.headend.audit import Who, acting
from host.headend.errors import StoreError, StoreFailed
from host.headend.store import Store
from host.headend.users import LOOK, Person
from host.headend.web.site import site
from host.words import LANGUAGES, _, speaking

SESSION_COOKIE, LANGUAGE_COOKIE = "dianka_session", "dianka_lang"
_YEAR_S = 365 * 24 * 3600
# Scripts, styles and requests are the pages' own alone, so that injected markup does nothing.
_POLICY = "; ".join(
    (
        *("default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'"),
        # The counter's card reader, on the browser's own computer.
        *("connect-src 'self' http://127.0.0.1:*", "form-action 'self'"),
        "frame-ancestors 'none'",
        "base-uri 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}
LANDLORD = Person(approvals.LANDLORD, users.ADMIN)

_here = threading.local()


class Trouble(Exception):
    """A request that cannot be carried out: the status of the answer, and why in one sentence."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def looking() -> Store:
    """Return this thread's connection that only reads."""
    store: Store | None = getattr(_here, "store", None)
    if store is None:
        store = _here.store = Store(site().database, read_only=True)
    return store


def look_anew() -> None:
    """Give up this thread's connection: its server may be another one."""
    store: Store | None = getattr(_here, "store", None)
    _here.store = None
    if store is not None:
        store.close()


def writing() -> Store:
    """Return a new connection for a change, to be closed."""
    return Store(site().database)


@dataclass
class Visit:
    """One request of a person."""

    request: Any
    person: Person

    @property
    def store(self) -> Store:
        """Return a connection that only reads."""
        return looking()

    @property
    def origin(self) -> str:
        """Return where these pages come from, as browsers say it."""
        return f"{self.request.scheme}://{self.request.get_host()}"

    @cached_property
    def zone(self) -> ZoneInfo:
        """Return the zone of the station's clock."""
        return self.store.zone()

    def told(self, name: str, limit: int = 200) -> str:
        """Return a field of the form or of the address, without blanks around. Trouble: long."""
        fields = self.request.POST if self.request.method == "POST" else self.request.GET
        text = str(fields.get(name, "")).strip()
        if len(text) > limit or "\0" in text:
            raise Trouble(
                400,
                _("the field {name} has more than {limit} characters or a zero byte").format(
                    name=name, limit=limit
                ),
            )
        return text

    def show(self, template: str, told: dict[str, Any], status: int = 200) -> HttpResponse:
        """Return a page."""
        told = {
            "visit": self,
            "person": self.person,
            "zone": self.zone,
            "simple": site().simple,
            **told,
        }
        return HttpResponse(render_to_string(template, told, self.request), status=status)


View = Callable[..., HttpResponse]


def page(needs: str = LOOK) -> Callable[[View], View]:
    """Return what makes a view of a function of a visit, for persons with a permission.

    What the function cannot do ends in a page of one sentence.
    """

    def decorate(function: View) -> View:
        @wraps(function)
        def view(request: Any, **parts: Any) -> HttpResponse:
            person = request.person
            if person is None:
                return _to_sign_in(request)
            try:
                if not person.may(needs):
                    raise Trouble(
                        403,
                        _("your role {role} may not do this: ask a manager").format(
                            role=_(person.role)
                        ),
                    )
                with acting(Who("page", person.name)):
                    return function(Visit(request, person), **parts)
            except StoreFailed as error:
                look_anew()
                return trouble(request, 503, str(error))
            except StoreError as error:
                return trouble(request, 409, str(error))
            except Trouble as error:
                return trouble(request, error.status, str(error))
            except OverflowError:  # a number of the address, as no database has one
                return trouble(request, 404, _("there is no such page: begin at the first one"))

        return view

    return decorate


def _to_sign_in(request: Any) -> HttpResponse:
    """Return the way to sign in, and from there back; what a form had is not done."""
    back = request.get_full_path()
    lost = ""
    if request.method == "POST":
        back, lost = request.headers.get("Referer", ""), "&lost=1"
        back = "/" + back.partition("://")[2].partition("/")[2]
    url = f"/sign-in?next={quote(back)}{lost}"
    if request.headers.get("HX-Request"):  # a part of a page: the whole page goes there
        answer = HttpResponse(status=204)
        answer["HX-Redirect"] = url
        return answer
    return HttpResponseRedirect(url)


def trouble(request: Any, status: int, text: str) -> HttpResponse:
    """Return a page that says in one sentence what cannot be done."""
    told = {
        "text": text,
        "status": status,
        "person": getattr(request, "person", None),
        "simple": site().simple,
    }
    return HttpResponse(render_to_string("trouble.html", told, request), status=status)


def stale(request: Any, reason: str = "") -> HttpResponse:
    """Answer a form of a page that this browser was not given, or whose cookie is gone."""
    with speaking(_language(request)):
        return trouble(
            request,
            403,
            _("this form is not valid any more, nothing was done: open the page again"),
        )


def not_found(request: Any, exception: Any = None) -> HttpResponse:
    """Answer an address that is none of a page."""
    return trouble(request, 404, _("there is no such page: begin at the first one"))


def bad_request(request: Any, exception: Any = None) -> HttpResponse:
    """Answer a request that is none of a browser."""
    return trouble(request, 400, _("this request cannot be read: begin at the first page"))


def failed(request: Any) -> HttpResponse:
    """Answer where a page has failed."""
    return trouble(
        request,
        500,
        _("this page has failed, and the log of the head-end says why: nothing else is affected"),
    )


def door(answer_of: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return Django's middleware: it finds language and person, and sets the headers."""

    def through(request: Any) -> Any:
        request.language = _language(request)
        with speaking(request.language):
            if request.path.startswith("/static/"):
                request.person = None
                return answer_of(request)
            request.person = None
            try:
                request.get_host()  # one that another site's name server leads here is refused
                request.person = _person(request)
                answer = answer_of(request)
            except DisallowedHost:
                answer = bad_request(request)
            except StoreError as error:
                look_anew()
                answer = trouble(request, 503, str(error))
        for name, value in {**_HEADERS, "Cache-Control": "no-store"}.items():
            answer.setdefault(name, value)  # a household's own page is stricter
        if site().https:
            answer["Strict-Transport-Security"] = f"max-age={_YEAR_S}"
        return answer

    return through


def _person(request: Any) -> Person | None:
    if site().simple:
        return LANDLORD
    token = request.COOKIES.get(SESSION_COOKIE, "")
    if not token:
        return None
    person, is_old = users.person_of(looking(), token)
    if is_old:
        with writing() as store:
            users.note_seen(store, users.hash_of(token))
    return person


def _language(request: Any) -> str:
    """Return the language that was chosen, else the first of the browser that is spoken here."""
    chosen = request.COOKIES.get(LANGUAGE_COOKIE, "")
    if chosen in LANGUAGES:
        return str(chosen)
    for word in request.headers.get("Accept-Language", "").split(","):
        name = word.strip()[:2].lower()
        if name in LANGUAGES:
            return str(name)
    return "en"


# --- views --------------------------------------------------------------------------------------


def sign_in(request: Any) -> HttpResponse:
    """Show the form to sign in, or take it."""
    back = _own_page(request.POST.get("next") or request.GET.get("next") or "/")
    if request.person is not None:
        return HttpResponseRedirect(back)
    name, wrong, status = "", "", 200
    if request.method == "POST":
        name = str(request.POST.get("name", ""))[: users.USER_LIMIT].strip()
        try:
            with writing() as store:
                token = users.sign_in(
                    store, name, str(request.POST.get("password", "")), address_of(request)
                )
            answer = HttpResponseRedirect(back)
            set_cookie(answer, SESSION_COOKIE, token, users.SESSION_S)
            return answer
        except StoreError as error:
            wrong, status = str(error), 403
    told = {
        "next": back,
        "name": name,
        "wrong": wrong,
        "lost": "lost" in request.GET,
        "person": None,
        "simple": False,
    }
    return HttpResponse(render_to_string("sign_in.html", told, request), status=status)


def sign_out(request: Any) -> HttpResponse:
    """End the session."""
    if request.method != "POST":  # a link of another site ends nothing
        return HttpResponseRedirect("/")
    if token := request.COOKIES.get(SESSION_COOKIE, ""):
        with writing() as store:
            users.end_session(store, users.hash_of(token))
    answer = HttpResponseRedirect("/sign-in")
    answer.delete_cookie(SESSION_COOKIE)
    return answer


def speak(request: Any, language: str) -> HttpResponse:
    """Remember the language that was chosen, and go back."""
    back = request.headers.get("Referer", "").partition("://")[2].partition("/")[2]
    answer = HttpResponseRedirect(_own_page(f"/{back}"))
    if language in LANGUAGES:
        set_cookie(answer, LANGUAGE_COOKIE, language, _YEAR_S)
    return answer


def set_cookie(answer: HttpResponse, name: str, value: str, age_s: int) -> None:
    """Give the browser a cookie that scripts and other sites do not get."""
    answer.set_cookie(
        name, value, max_age=age_s, httponly=True, samesite="Lax", secure=site().https
    )


def _own_page(path: str) -> str:
    """Return a path of ours, "/" where it leads elsewhere."""
    is_own = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if is_own and "\\" not in path else "/"


def address_of(request: Any) -> str:
    """Return the address of the browser; behind a proxy, the last one that the proxy tells."""
    told = request.headers.get("X-Forwarded-For", "") if site().https else ""
    return str(told.rpartition(",")[2].strip() or request.META.get("REMOTE_ADDR", ""))
