"""Forms that ask once more: what is typed is said back in words, and done when it is confirmed.

A form tells what its page has shown as the newest, so that it is carried out once, and never on
what a person has not seen (`host.headend.stepping`).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.http import HttpResponse, HttpResponseRedirect

from host.headend import stepping
from host.headend.desk import OPERATIONS
from host.headend.errors import StoreError
from host.headend.web.door import Trouble, Visit, writing
from host.headend.web.forms import seen_of

REASON = "reason"


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a form; `kind` is that of its HTML, and `hint` stands below it."""

    name: str
    label: str
    value: str = ""
    kind: str = "text"
    hint: str = ""
    needed: bool = True
    most: int = 200


@dataclass(frozen=True, slots=True)
class Plan:
    """What a form would do: sentences for people, and the operation with its values."""

    said: list[str]
    operation: str
    words: tuple[Any, ...]
    warns: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Form:
    """A form: what it is about, its fields, what it would do, and where it leads.

    about, key   what has to be as the page has shown it, see `stepping`
    done         the address to go to, from the operation's result
    """

    title: str
    here: str
    about: str
    key: str
    fields: list[Field]
    plan: Callable[[], Plan]
    back: str
    done: Callable[[Any], str]
    verb: str
    is_grave: bool = False


def carry_out(visit: Visit, form: Form, row: dict[str, Any] | None = None) -> HttpResponse:
    """Show a form, say back what it asks for, or do it."""
    wrong, status, plan = "", 200, None
    typed = {one.name: one.value for one in form.fields}
    seen = stepping.newest(visit.store, form.about, form.key)
    if visit.request.method == "POST":
        try:
            typed = {one.name: visit.told(one.name, one.most) for one in form.fields}
            seen = seen_of(visit)
            plan = form.plan()
            if visit.told("step") == "do":
                operation = OPERATIONS[plan.operation]
                values = operation.request(*plan.words)
                with writing() as store:
                    result = stepping.step_seen(
                        store, form.about, form.key, seen, plan.operation, values
                    )
                return HttpResponseRedirect(form.done(result))
        except Trouble as error:
            wrong, status, plan = str(error), error.status, None
        except StoreError as error:
            wrong, status, plan = str(error), 409, None
        if wrong:  # the page shows what is so now
            seen = stepping.newest(visit.store, form.about, form.key)
    told = {"form": form, "typed": typed, "plan": plan, "wrong": wrong, "seen": seen, "row": row}
    return visit.show("asking.html", told, status)
