"""The desk's card: held against the books as the counter's reader tells it, and written to.

The reader is on the counter's computer (`dianka counter`), which the page asks by itself. What it
tells is shown beside the books; an order is noted as on a card before the reader may write it.
"""

import json
from typing import Any

from django.http import HttpResponse, JsonResponse

from host.headend import card_log, orders
from host.headend.card_log import Head
from host.headend.errors import StoreError
from host.headend.holding import card_of, hold
from host.headend.users import SELL
from host.headend.web.door import Trouble, Visit, page, writing
from host.headend.web.knowing import known
from host.words import _

_TOLD_MOST = 4000
_DIGEST_LIMIT = 16


@page(SELL)
def held(visit: Visit) -> HttpResponse:
    """Show a card beside the books of the household that it, or the page, names."""
    _check_form(visit)
    card = card_of(visit.told("card", _TOLD_MOST))
    account = visit.told("account", 20) or card.account
    if not account:
        raise Trouble(409, _("the card is empty: search for its household"))
    row = known(visit, account)
    sold = [one for one in orders.orders_of(visit.store, row["account"]) if not one["voided_at"]]
    told = {"row": row, "held": hold(visit.store, row, sold[-1] if sold else None, card)}
    return visit.show("held.html", {**told, "uid": card.uid})


@page(SELL)
def write(visit: Visit, account: str, order: int) -> HttpResponse:
    """Tell what is to be written on a card, having noted it; then note the reader's log."""
    row = known(visit, account)
    try:
        _check_form(visit)
        if visit.told("step") == "done":
            _note_log(visit)
            return JsonResponse({})
        return JsonResponse(_begun(visit, row["account"], order))
    except Trouble as error:
        return JsonResponse({"error": str(error)}, status=error.status)
    except StoreError as error:
        return JsonResponse({"error": str(error)}, status=409)


def _check_form(visit: Visit) -> None:
    if visit.request.method != "POST":
        raise Trouble(405, _("this form is not one of ours: open the page again"))


def _begun(visit: Visit, account: str, order: int) -> dict[str, Any]:
    """Return an order for the reader, noted as on a card. Trouble: it is not to be written."""
    found = orders.find_order(visit.store, account, order)
    if found is None:
        text = _("account {account} has no order {order}: see its page")
        raise Trouble(404, text.format(account=account, order=order))
    if visit.store.value(
        'SELECT 1 FROM top_ups WHERE account = ? AND "order" = ?', (account, order)
    ):
        raise Trouble(409, _("order {order} is redeemed: no card needs it").format(order=order))
    meter = found.meter or visit.store.value(
        "SELECT address FROM devices WHERE account = ?", (account,)
    )
    if not meter:
        raise Trouble(
            409,
            _("account {account} has no meter: its concentrator has told of none").format(
                account=account
            ),
        )
    with writing() as store:
        orders.set_carded(store, account, order)
    heads = [
        {"log": one.log, "lines": one.lines, "digest": one.digest}
        for one in card_log.heads(visit.store)
    ]
    return {
        "account": account,
        "meter": meter,
        "order": order,
        "amount_fen": found.amount_fen,
        "supersedes": found.supersedes,
        "heads": heads,
        "again": visit.told("again") == "1",
    }


def _note_log(visit: Visit) -> None:
    """Keep the head of the reader's log of cards, and that it lacks one told before. Trouble."""
    try:
        told = json.loads(visit.told("log", _TOLD_MOST))
        head = Head(str(told["log"]), int(told["lines"]), str(told["digest"]))
        lost = told.get("lost")
        gone = Head(head.log, int(lost["lines"]), str(lost["digest"])) if lost else None
        int(head.log, 16)
        if len(head.log) != 12 or len(head.digest) > _DIGEST_LIMIT:
            raise ValueError(head.log)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Trouble(400, _("this form is not one of ours: open the page again")) from error
    with writing() as store:
        card_log.tell(store, head, gone)
