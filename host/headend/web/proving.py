"""Pages that prove: the audit log with its verifier; who owes, runs low, or is quiet."""

import re
from datetime import datetime
from typing import Any

from django.http import HttpResponse

from host.headend import audit, figures, life, persons
from host.headend.history import detail_text
from host.headend.users import AUDIT
from host.headend.web import looks
from host.headend.web.door import Trouble, Visit, page
from host.words import _, marked

_PAGE_ROWS = 100
_LOW_DAYS, _QUIET_DAYS = 7, 60
_FILTERS = ("account", "person", "action")
_DIGEST = re.compile("[0-9a-f]{64}")
# What entries call what was done; each has its word in every language.
_ACTIONS = (
    *(marked("sale"), marked("refund"), marked("order"), marked("void"), marked("card")),
    *(marked("account"), marked("ask"), marked("decide"), marked("command"), marked("job")),
    *(marked("open drawer"), marked("close drawer"), marked("move cash"), marked("payout")),
    *(marked("dismiss"), marked("move"), marked("finding"), marked("replace"), marked("orders")),
    *(marked("lease"), marked("lease back"), marked("lease lost"), marked("limits")),
    *(marked("register"), marked("restored"), *life.KINDS),
    *(persons.SEEN, persons.EXPORTED, persons.ERASED, marked("register taken")),
    *(marked("retention"), marked("retention run")),
)


def _called(action: str) -> str:
    return _(action) if action in _ACTIONS else action


@page(AUDIT)
def log(visit: Visit) -> HttpResponse:
    """List the audit log, the newest first, and verify it where that is asked for."""
    typed = {name: visit.told(name, 64) for name in _FILTERS}
    before, digest = visit.told("before", 12), visit.told("digest", 64)
    if not re.fullmatch("[0-9]*", before):
        raise Trouble(400, _("there is no such page of the list: begin at the first one"))
    wanted = {name: value for name, value in typed.items() if value}
    if "account" in wanted and wanted["account"].isdecimal():
        wanted["account"] = wanted["account"].zfill(12)
    rows = audit.newest(visit.store, wanted, int(before or 1 << 40), _PAGE_ROWS + 1)
    for row in rows:
        row["said"] = detail_text(row["detail"], False)
        row["what"] = _called(row["action"])
    told: dict[str, Any] = {
        "rows": rows[:_PAGE_ROWS],
        "older": rows[_PAGE_ROWS - 1]["number"] if len(rows) > _PAGE_ROWS else 0,
        "typed": typed,
        "digest": digest,
        "verified": None,
        "is_there": True,
        "actions": [(one, _called(one)) for one in audit.actions(visit.store)],
    }
    if visit.told("verify") == "1":
        if digest and not _DIGEST.fullmatch(digest):
            raise Trouble(
                400, _("{text!r} is no digest: 64 hexadecimal digits").format(text=digest)
            )
        told["verified"] = audit.verify(visit.store)
        told["is_there"] = not digest or audit.has_digest(visit.store, digest)
        told["checked_at"] = int(datetime.now().timestamp())
    return visit.show("audit.html", told)


@page()
def arrears(visit: Visit) -> HttpResponse:
    """Show who owes and for how long, who runs low, who did not buy, and what was collected."""
    store = visit.store
    owing = figures.arrears(store)
    low = looks.lowest(store, _LOW_DAYS)
    quiet = figures.not_bought(store, _QUIET_DAYS)
    doubted = figures.in_doubt(store)
    shown = [part[:_PAGE_ROWS] for part in (owing, low, quiet, doubted)]
    names = looks.names_of(store, {row["account"] for part in shown for row in part})
    told = {
        "names": names,
        "owing": shown[0],
        "owing_count": len(owing),
        "owed_fen": sum(row["owed_fen"] for row in owing),
        "low": shown[1],
        "quiet": shown[2],
        "quiet_count": len(quiet),
        "doubted": shown[3],
        "doubted_count": len(doubted),
        "collection": figures.collection(store),
        "low_days": _LOW_DAYS,
        "quiet_days": _QUIET_DAYS,
        "now": int(datetime.now().timestamp()),
    }
    return visit.show("arrears.html", told)
