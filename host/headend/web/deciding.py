"""Approvals: what a cashier may not do alone is asked for here, and a second person decides."""

from typing import Any

from django.http import HttpResponse, HttpResponseRedirect

from host.headend import approvals, life, orders
from host.headend.errors import StoreError
from host.headend.life import Act
from host.headend.orders import Till
from host.headend.selling import CHANNELS
from host.headend.stepping import ASKED
from host.headend.users import KEEP, SELL
from host.headend.web import forms
from host.headend.web.asking import REASON, Field, Form, Plan, carry_out
from host.headend.web.door import Trouble, Visit, page, writing
from host.headend.web.figures import money
from host.headend.web.knowing import known
from host.words import _, marked

_TITLES = {
    approvals.SALE: marked("a sale above the limit"),
    approvals.WRITE_OFF: marked("to write off a debt"),
}
_SHOWN = 100


@page()
def listed(visit: Visit) -> HttpResponse:
    """List what waits for a second person, and what was decided of late."""
    found = approvals.approvals(visit.store)[::-1]
    told = {
        "waiting": [_told(one) for one in found if not one["decision"]],
        "decided": [_told(one) for one in found if one["decision"]][:_SHOWN],
    }
    return visit.show("approvals.html", told)


def _told(one: dict[str, Any]) -> dict[str, Any]:
    """Return an approval with its title and its state in words."""
    state, tone = _("waits"), "warn"
    if one["decision"] == approvals.REFUSED:
        state, tone = _("refused"), "bad"
    elif one["used_at"] is not None:
        state, tone = _("used"), "plain"
    elif one["decision"]:
        state, tone = _("approved"), "ok"
    return {**one, "title": _(_TITLES[one["what"]]), "state": state, "tone": tone}


@page(SELL)
def ask(visit: Visit, account: str, what: str) -> HttpResponse:
    """Ask a second person for a sale above the limits, or for forgiving a debt."""
    row = known(visit, account)
    if what not in _TITLES:
        raise Trouble(404, _("there is no such page: begin at the first one"))

    is_alone = approvals.is_alone(visit.store.database, visit.person.name)

    def plan() -> Plan:
        fen = forms.amount_fen(visit.told("amount", 20))
        told = {"what": _(_TITLES[what]), "money": money(fen)}
        said = [_("Another person is asked: {what}, {money}.").format(**told)]
        if is_alone:
            said = [_("You decide alone: {what}, {money}.").format(**told)]
            said.append(_("Nobody else signs in here who could be asked; the audit log says so."))
        words = (what, row["account"], fen, visit.person.name, forms.reason_of(visit))
        return Plan(said, "ask", words)

    url = f"/households/{row['account']}"
    amount = Field("amount", _("amount, yuan"), visit.request.GET.get("amount", "")[:20], most=20)
    title = _(_TITLES[what])
    form = Form(
        title if is_alone else _("ask a second person: {what}").format(what=title),
        "approvals",
        ASKED,
        row["account"],
        [amount, Field(REASON, _("reason, for the one who decides"))],
        plan,
        url,
        lambda number: f"/approvals/{number}",
        _("approve it") if is_alone else _("ask"),
    )
    return carry_out(visit, form, row)


@page()
def one(visit: Visit, number: int) -> HttpResponse:
    """Show what was asked for; approve it, refuse it, or do what was approved."""
    rows = [each for each in approvals.approvals(visit.store) if each["number"] == number]
    if not rows:
        raise Trouble(404, _("there is no approval {number}").format(number=number))
    asked = _told(rows[0])
    row = known(visit, asked["account"])
    wrong, status = "", 200
    if visit.request.method == "POST":
        try:
            return HttpResponseRedirect(_done(visit, asked))
        except Trouble as error:
            wrong, status = str(error), error.status
        except StoreError as error:
            wrong, status = str(error), 409
    told = {
        "asked": asked,
        "row": row,
        "wrong": wrong,
        "channels": CHANNELS,
        "may_decide": visit.person.may(KEEP) and not asked["decision"],
        "is_alone": asked["decision"] and asked["decided_by"] == asked["asked_by"],
        "may_use": _may_use(visit, asked),
        "balance_fen": row["credit_fen"] - row["debit_fen"] if row["credit_fen"] else None,
    }
    return visit.show("approval.html", told, status)


def _may_use(visit: Visit, asked: dict[str, Any]) -> bool:
    needs = SELL if asked["what"] == approvals.SALE else KEEP
    is_open = asked["decision"] == approvals.APPROVED and asked["used_at"] is None
    return is_open and visit.person.may(needs)


def _done(visit: Visit, asked: dict[str, Any]) -> str:
    """Do what a button of an approval's page says; return where to go. Trouble; StoreError."""
    step, number, by = visit.told("step"), asked["number"], visit.person.name
    if step in ("approve", "refuse"):
        if not visit.person.may(KEEP):
            text = _("your role {role} may not do this: ask a manager")
            raise Trouble(403, text.format(role=_(visit.person.role)))
        with writing() as store:
            approvals.decide(store, number, by, step == "approve")
        return f"/approvals/{number}"
    if step != "use" or visit.told("channel") not in CHANNELS:
        raise Trouble(400, _("this form is not one of ours: open the page again"))
    if not _may_use(visit, asked):
        raise Trouble(409, _("it is refused, used, not approved yet, or not for your role"))
    account, fen = asked["account"], asked["amount_fen"]
    with writing() as store:
        if asked["what"] == approvals.SALE:
            till = Till(by, visit.told("channel"))
            order = orders.sell(store, account, fen, till, number)
            return f"/receipts/{account}/{order}"
        paper = life.write_off(store, account, fen, Act(by, asked["reason"]), number)
    return f"/households/{account}?paper={paper}#papers"
