"""The credit class of a household: the rule, what it goes by here, and another class by hand."""

from typing import Any

from django.http import HttpResponse

from host.headend import credit
from host.headend.credit import GRADES, RULE, Standing
from host.headend.stepping import GIVEN
from host.headend.users import KEEP
from host.headend.web import forms
from host.headend.web.asking import REASON, Field, Form, Plan, carry_out
from host.headend.web.door import Trouble, Visit, page
from host.headend.web.knowing import known
from host.words import _


def standing_of(visit: Visit, row: dict[str, Any]) -> Standing | None:
    """Return the class of a household, None: it has no customer, or no concentrator."""
    if row["customer"] is None:
        return None
    found = credit.standings(visit.store, row["customer"])
    return next((one for one in found if one.account == row["account"]), None)


@page(KEEP)
def grace(visit: Visit, account: str) -> HttpResponse:
    """Set another credit class than the rule's, or the rule's again."""
    row = known(visit, account)
    if row["customer"] is None:
        raise Trouble(409, _("this account has no customer: open it or take it over first"))
    one = standing_of(visit, row)

    def plan() -> Plan:
        wanted = visit.told("class", 1).upper()
        if wanted and wanted not in GRADES:
            raise Trouble(
                400, _("{text!r} is no class: A, B, C, D or nothing").format(text=wanted)
            )
        said = [
            _("Class {name}, grade {grade}, whatever the rule says.").format(
                name=wanted, grade=GRADES[wanted]
            )
            if wanted
            else _("The class is the rule's again.")
        ]
        said.append(_("All accounts of the customer have it; their concentrators are told."))
        words = (row["customer"], wanted, visit.person.name, forms.reason_of(visit))
        return Plan(said, "set_class", words)

    url = f"/households/{row['account']}"
    form = Form(
        _("credit class"),
        "households",
        GIVEN,
        row["account"],
        [
            Field(
                "class",
                _("class A, B, C or D; empty: the rule's"),
                one.credit_class if one else "",
                hint=_hint(one),
                needed=False,
                most=1,
            ),
            Field(REASON, _("reason, for an auditor")),
        ],
        plan,
        url,
        lambda _changed: url,
        _("set it"),
    )
    return carry_out(visit, form, row)


def _hint(one: Standing | None) -> str:
    """Return the rule, and what it makes of a household."""
    if one is None:
        return _(RULE)
    text = _("{rule}. By it: {by_rule}, {months} late months of twelve.")
    return text.format(rule=_(RULE), by_rule=one.by_rule, months=one.late_months)
