"""The sales desk: a household, an amount, a confirmation, a receipt; voids and refunds.

Nothing is sold before it was confirmed. A form has a reference of its own under which it is sold
once, however often it is sent, and tells which order its page has shown as the newest.
"""

import re
import secrets
from datetime import datetime
from typing import Any

from django.http import HttpResponse, HttpResponseRedirect

from host.billing import quotes
from host.headend import household_links, orders, receipts, selling
from host.headend.errors import StoreError
from host.headend.orders import Till
from host.headend.selling import AIR, CARD, CHANNELS, Wanted
from host.headend.users import REFUND, SELL
from host.headend.web import looks, meters
from host.headend.web.door import Trouble, Visit, page, writing
from host.headend.web.forms import amount_fen, reason_of, seen_of
from host.headend.web.knowing import known
from host.words import _

AMOUNTS = (20, 50, 100, 200)
_REFERENCE = re.compile("web-[0-9a-f]{24}")


# --- selling ------------------------------------------------------------------------------------


@page(SELL)
def sell(visit: Visit) -> HttpResponse:
    """Find a household, sell to it, and go to the receipt."""
    account = visit.told("account", 20)
    if not account:
        return _find(visit)
    row = known(visit, account)
    is_sale = visit.request.method == "POST"
    if not is_sale and visit.told("step") != "ask":
        return _form(visit, row, visit.told("amount", 20))
    try:
        wanted, channel = _wanted(visit, row)
        if not is_sale:
            return _confirm(visit, row, wanted, channel)
        if _is_large(visit, wanted.amount_fen) and not visit.told("large"):
            raise Trouble(400, _("this is a large amount: say so before it is sold"))
        with writing() as store:
            done = selling.sell_seen(store, wanted, Till(visit.person.name, channel))
    except Trouble as error:
        return _form(visit, row, visit.told("amount", 20), str(error), error.status)
    except StoreError as error:
        return _form(visit, row, visit.told("amount", 20), str(error), 409)
    before = "?before=1" if done.before else ""
    return HttpResponseRedirect(f"/receipts/{row['account']}/{done.order}{before}")


def _find(visit: Visit) -> HttpResponse:
    """Show the search of the desk; the only household that fits is chosen at once."""
    text = visit.told("q", 100) if visit.request.method == "POST" else ""
    rows, more = looks.households(visit.store, text, 1) if text else ([], False)
    if len(rows) == 1:
        return HttpResponseRedirect(f"/sell?account={rows[0].account}")
    return visit.show("sell_find.html", {"rows": rows, "more": more, "text": text})


def _wanted(visit: Visit, row: dict[str, Any]) -> tuple[Wanted, str]:
    """Return what the form asks for, and the channel of its money. Trouble."""
    typed = visit.told("amount", 20) or visit.told("preset", 20)
    way, channel, seen = visit.told("way"), visit.told("channel"), visit.told("seen", 12)
    reference = visit.told("reference")
    is_right = way in (CARD, AIR) and channel in CHANNELS and _REFERENCE.fullmatch(reference)
    if not is_right or not re.fullmatch("[0-9]+", seen):
        raise Trouble(400, _("this form is not one of ours: open the page again"))
    if way == AIR and not row["concentrator"]:
        raise Trouble(400, _("no concentrator has this account yet: sell by card"))
    energy = visit.told("energy", 10)
    if bool(typed) == bool(energy):
        raise Trouble(400, _("give an amount or choose one, or give an energy: one of them"))
    fen = _price_fen(visit, row, energy) if energy else amount_fen(typed)
    if not visit.store.rows("SELECT 1 FROM orders WHERE reference = ?", (reference,)):
        orders.check_limits(visit.store, row["account"], fen)
    return Wanted(row["account"], fen, reference, int(seen), way), channel


def _price_fen(visit: Visit, row: dict[str, Any], energy: str) -> int:
    """Return what energy costs a household at today's prices, rounded up to a fen. Trouble."""
    if not re.fullmatch("[0-9]{1,6}", energy) or not int(energy):
        raise Trouble(400, _("{energy!r}: give whole kWh, 1 to 999999").format(energy=energy))
    terms = meters.terms_of(visit.store, row)
    if terms is None:
        raise Trouble(400, _("the prices of this account are not known here: sell in yuan"))
    now = datetime.now(visit.zone).replace(tzinfo=None)
    place = (row["household"], row["used_wh"], now)
    return quotes.amount_fen_for(terms.tariff, *place, int(energy) * 1000)


def _is_large(visit: Visit, fen: int) -> bool:
    return fen > orders.limits(visit.store).question_fen


def _form(
    visit: Visit, row: dict[str, Any], amount: str, wrong: str = "", status: int = 200
) -> HttpResponse:
    """Show the form with a new reference, and what is wrong with the one before."""
    told = {
        "is_above": status == 409 and _is_above(visit, row["account"], amount),
        "reference": f"web-{secrets.token_hex(12)}",
        "amounts": AMOUNTS,
        "amount": amount,
        "channels": CHANNELS,
        "wrong": wrong,
        **_books(visit, row),
    }
    return visit.show("sell.html", told, status)


def _is_above(visit: Visit, account: str, amount: str) -> bool:
    """Return whether an amount is more than one person may sell."""
    try:
        orders.check_limits(visit.store, account, amount_fen(amount))
    except StoreError:
        return True
    except Trouble:
        return False
    return False


def _books(visit: Visit, row: dict[str, Any]) -> dict[str, Any]:
    """Return what the books say of a household, beside which a card is held."""
    store = visit.store
    is_connected = row["credit_fen"] is not None
    spent = looks.daily_fen(store, [row]) if is_connected else {}
    sold = [one for one in orders.orders_of(store, row["account"]) if one["voided_at"] is None]
    return {
        "row": row,
        "balance_fen": row["credit_fen"] - row["debit_fen"] if is_connected else None,
        "state": looks.state_of(row),
        "daily_fen": round(spent.get(row["account"], 0)),
        "newest": sold[-1] if sold else None,
        "seen": selling.newest(store, row["account"]),
        "terms": meters.terms_of(store, row),
    }


def _confirm(visit: Visit, row: dict[str, Any], wanted: Wanted, channel: str) -> HttpResponse:
    """Ask whether this is to be sold; what has been sold already has its receipt."""
    query = 'SELECT "order" FROM orders WHERE account = ? AND reference = ?'
    order = visit.store.value(query, (wanted.account, wanted.reference))
    if order is not None:
        return HttpResponseRedirect(f"/receipts/{wanted.account}/{order}?before=1")
    price = _mean_price(visit, row)
    told = {
        "wanted": wanted,
        "channel": channel,
        "is_large": _is_large(visit, wanted.amount_fen),
        "worth_wh": wanted.amount_fen * price[0] // price[1] if price else None,
        **_books(visit, row),
    }
    return visit.show("sell_confirm.html", told)


def _mean_price(visit: Visit, row: dict[str, Any]) -> tuple[int, int] | None:
    """Return energy in Wh and what it cost in fen, of late; None where nothing was used."""
    found = meters.uses(visit.store, row, meters.DAY)
    wh, fen = sum(one.total_wh for one in found), sum(one.fen for one in found)
    return (wh, fen) if wh > 0 and fen > 0 else None


# --- receipts -----------------------------------------------------------------------------------


def _order(visit: Visit, account: str, order: int) -> dict[str, Any]:
    """Return an order, the one that counts if there are several. Trouble: there is none."""
    found = [one for one in orders.orders_of(visit.store, account) if one["order"] == order]
    if not found:
        text = _("account {account} has no order {order}: see its page")
        raise Trouble(404, text.format(account=account, order=order))
    return ([one for one in found if one["voided_at"] is None] or found)[-1]


@page()
def receipt(visit: Visit, account: str, order: int) -> HttpResponse:
    """Show a sale or a refund: what it is, what became of it, and what to do next."""
    row = known(visit, account)
    one = _order(visit, row["account"], order)
    is_waiting = one["voided_at"] is None and one["redeemed_t2000"] is None
    price = _mean_price(visit, row)
    is_connected = row["credit_fen"] is not None
    told = {
        "row": row,
        "order": one,
        "is_waiting": is_waiting,
        "before": bool(visit.told("before")),
        "worth_wh": one["amount_fen"] * price[0] // price[1] if price else None,
        "balance_fen": row["credit_fen"] - row["debit_fen"] if is_connected else None,
        "by_air": _command_of(visit, row["account"], order),
        "qr": _qr(visit, row["account"]),
    }
    return visit.show("receipt.html", told)


def _qr(visit: Visit, account: str) -> tuple[int, str] | None:
    """Return the QR code of a household's own page, None: the station has no such pages."""
    link = household_links.link_of(visit.store, account)
    return receipts.qr_path(link) if link else None


def _command_of(visit: Visit, account: str, order: int) -> dict[str, Any] | None:
    """Return the command that brings an order to its concentrator, None: there is none."""
    found = visit.store.rows(
        'SELECT state, answer FROM commands WHERE account = ? AND "order" = ? '
        "ORDER BY id DESC LIMIT 1",
        (account, order),
    )
    return found[0] if found else None


@page(SELL)
def void(visit: Visit, account: str, order: int) -> HttpResponse:
    """Take back a sale that is not redeemed, with a reason."""
    row = known(visit, account)
    one = _order(visit, row["account"], order)
    url = f"/receipts/{row['account']}/{order}"
    if one["voided_at"] is not None:
        return HttpResponseRedirect(url)
    wrong, status = "", 200
    if visit.request.method == "POST":
        try:
            reason = reason_of(visit)
            till = Till(visit.person.name, one["channel"])
            with writing() as store:
                gone = orders.void(
                    store, row["account"], order, reason, till, bool(visit.told("returned"))
                )
            return HttpResponseRedirect(
                f"{url}?superseded={gone.superseded_by}" if gone.superseded_by else url
            )
        except Trouble as error:
            wrong, status = str(error), error.status
        except StoreError as error:
            wrong, status = str(error), 409
    return visit.show("void.html", {"row": row, "order": one, "wrong": wrong}, status)


@page(REFUND)
def refund(visit: Visit, account: str) -> HttpResponse:
    """Note money to be paid back once the concentrator has taken it off the account."""
    row = known(visit, account)
    wrong, status, amount, asked = "", 200, visit.told("amount", 20), 0
    if visit.request.method == "POST":
        try:
            fen = amount_fen(amount)
            seen = seen_of(visit)
            if visit.told("step") == "refund":
                till = Till(visit.person.name, CHANNELS[0])
                with writing() as store:
                    order = selling.refund_seen(store, row["account"], fen, seen, till)
                return HttpResponseRedirect(f"/receipts/{row['account']}/{order}")
            asked = fen
        except Trouble as error:
            wrong, status = str(error), error.status
        except StoreError as error:
            wrong, status = str(error), 409
    told = {"amount": amount, "asked": asked, "wrong": wrong, **_books(visit, row)}
    return visit.show("refund.html", told, status)
