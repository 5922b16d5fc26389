"""Cut, restore and read now, by the household's concentrator; each is confirmed, and a job.

What becomes of it is shown on the household's page when the concentrator has answered.
"""

import re
import time
from datetime import datetime, timedelta
from typing import Any

from django.http import HttpResponse

from host.frames import orders, write
from host.headend import commands
from host.headend.commands import Given, Target
from host.headend.cuts import doubt_of, lawful_cut, recorded_notice
from host.headend.outcomes import DONE, SENT, WAITING
from host.headend.stepping import GIVEN
from host.headend.users import SWITCH
from host.headend.web import forms
from host.headend.web.asking import REASON, Field, Form, Plan, carry_out
from host.headend.web.door import Trouble, Visit, page
from host.headend.web.knowing import known
from host.units import HOUR_S
from host.words import _, marked

CUT, RESTORE, READ = "cut", "restore", "read"
_WITHIN_S = 72 * HOUR_S
_READ_WITHIN_S = HOUR_S
_SHOWN = 6
# What may be read at once, as the catalogue of identifiers calls it.
_ITEMS = (("00010000", marked("active energy")), ("04000503", marked("status word 3")))
_NO_METER = marked("no concentrator has told of this account yet: nothing can be switched or read")

# Refusals of concentrators, as they say them; what stands in braces differs.
_REFUSALS = (
    marked("its supply is protected: it is not cut from above"),
    marked("a cut needs the time at which its notice was delivered"),
    marked("a cut comes {minutes} minutes after its notice, and after a set clock"),
    marked("nobody is cut at this time"),
    marked("the supply stays as it is, the account is: {state}"),
)


def answer_text(text: str) -> str:
    """Return in the language spoken what a concentrator has answered."""
    for refusal in _REFUSALS:
        pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>.+)", re.escape(refusal))
        if found := re.fullmatch(pattern, text):
            told = {name: _(value) for name, value in found.groupdict().items()}
            return _(refusal).format(**told)
    return text


def _label(text: str) -> str:
    """Return in words what a command is for."""
    words = text.split()
    if words[0] == "supply":
        return _("cut the supply") if CUT in words else _("restore the supply")
    if words[:2] == ["line", "ask"]:
        return _("read now")
    if words[0] == "credit":
        return _("order {order}").format(order=words[2])
    return text


def given_to(visit: Visit, account: str) -> list[dict[str, Any]]:
    """Return the newest commands about a household, each in words with what became of it."""
    rows = visit.store.rows(
        "SELECT text, state, answer, given_at, given_by, reason, ended_at FROM commands "
        "WHERE account = ? ORDER BY id DESC LIMIT ?",
        (account, _SHOWN),
    )
    for row in rows:
        row["label"] = _label(row["text"])
        row["said"] = answer_text(row["answer"])
        row["is_open"] = row["state"] in (WAITING, SENT)
        row["tone"] = "ok" if row["state"] == DONE else "warn" if row["is_open"] else "bad"
    return rows


@page()
def outcomes(visit: Visit, account: str) -> HttpResponse:
    """Show what became of the newest commands, as a part of the household's page."""
    row = known(visit, account)
    return visit.show("commands.html", {"row": row, "given": given_to(visit, row["account"])})


@page(SWITCH)
def switch(visit: Visit, account: str, what: str) -> HttpResponse:
    """Cut or restore a supply, or read a meter now."""
    row = known(visit, account)
    if what not in (CUT, RESTORE, READ):
        raise Trouble(404, _("there is no such page: begin at the first one"))
    if not row["concentrator"]:
        raise Trouble(409, _(_NO_METER))
    url = f"/households/{row['account']}"
    made = {CUT: _cut, RESTORE: _restore, READ: _read}[what]
    title, verb, fields, plan = made(visit, row)
    if what != READ:
        fields = [*fields, Field(REASON, _("reason, for an auditor"))]
    form = Form(
        *(title, "households", GIVEN, row["account"], fields, plan, url),
        *(lambda job: f"{url}?job={job}#commands", verb, what == CUT),
    )
    return carry_out(visit, form, row)


def _given(visit: Visit, within_s: int = _WITHIN_S, reason: str = "") -> Given:
    now = int(time.time())
    return Given(visit.person.name, reason or forms.reason_of(visit), now + within_s, now)


def _supply(row: dict[str, Any]) -> str:
    if row["relay"] is None:
        return _("The meter has not told whether its relay is closed.")
    return _("The relay is open.") if row["relay"] == 1 else _("The relay is closed.")


def _cut(visit: Visit, row: dict[str, Any]) -> Any:
    def plan() -> Plan:
        is_own = not visit.told("notice", 20)
        notice = (
            recorded_notice(visit.store, row["account"])
            if is_own
            else forms.moment_of(visit, "notice")
        )
        now = datetime.now(visit.zone).replace(tzinfo=None)
        if notice > now:
            text = _("the notice would be delivered in the future: give when it was delivered")
            raise Trouble(400, text)
        if row["guard"]:
            raise Trouble(409, _(_REFUSALS[0]))
        text = lawful_cut(row["account"], notice)
        target = Target(row["concentrator"], text, row["account"])
        said = [
            _("The supply is cut, as its notice was delivered at {when}.").format(
                when=f"{notice:%Y-%m-%d %H:%M}"
            ),
            _supply(row),
        ]
        warns = [
            _(
                "The concentrator refuses it where the notice is too young, or the supply is "
                "protected; it keeps the hours and days without cuts."
            )
        ]
        if doubt := doubt_of(visit.store, row["account"]):
            warns.append(doubt)
        return Plan(said, "give", (CUT, [target], _given(visit)), warns)

    yesterday = datetime.now(visit.zone) - timedelta(days=1)
    hint = _(
        "on the station's clock, as {when}; left empty, the newest notice that was delivered "
        "from here"
    ).format(when=f"{yesterday:%Y-%m-%d %H:%M}")
    label = _("when the notice was delivered")
    fields = [Field("notice", label, hint=hint, most=20, needed=False)]
    return _("cut the supply"), _("cut it"), fields, plan


def _restore(visit: Visit, row: dict[str, Any]) -> Any:
    def plan() -> Plan:
        target = Target(row["concentrator"], f"supply {row['account']} restore", row["account"])
        said = [_("A supply that was cut by order is restored."), _supply(row)]
        return Plan(said, "give", (RESTORE, [target], _given(visit)))

    return _("restore the supply"), _("restore it"), [], plan


def _read(visit: Visit, row: dict[str, Any]) -> Any:
    def plan() -> Plan:
        concentrator, line, address, standard = commands.meter_of(visit.store, row["account"])
        targets = []
        for item, _name in _ITEMS[: 1 if standard == "1997" else None]:
            request = orders.read(standard, write.find(item, standard).di)
            text = f"line ask {line} {address} {request.control:02x} {request.data.hex()}"
            targets.append(Target(concentrator, text, row["account"]))
        names = ", ".join(_(name) for _item, name in _ITEMS[: len(targets)])
        said = [_("Its meter is read by its concentrator now: {names}.").format(names=names)]
        given = _given(visit, _READ_WITHIN_S, _("read now"))
        return Plan(said, "give", (READ, targets, given))

    return _("read the meter now"), _("read it"), [], plan
