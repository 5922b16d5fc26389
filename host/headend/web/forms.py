"""Fields of forms: what is typed becomes a value, or one sentence says what is wrong with it."""

import re
from datetime import date, datetime

from host.harmless import is_formula
from host.headend import lists
from host.headend.registry import Ratio
from host.headend.web.door import Trouble, Visit
from host.units import fen_of, full_number, register_wh
from host.words import _

_REASON_LEAST, _REASON_LIMIT = 3, 200
_RATES_LIMIT = 8
_REGISTERS_MOST = 120


def amount_fen(text: str) -> int:
    """Return an amount as typed, in fen. Trouble: it is none, or nothing."""
    try:
        fen = fen_of(re.sub(r"^[¥￥]\s*", "", text).replace(",", ""))
    except ValueError as error:
        raise Trouble(400, str(error)) from error
    if not fen:
        raise Trouble(400, _("the amount is 0: give what is to be sold"))
    return fen


def cash_fen(text: str) -> int:
    """Return cash that was counted, in fen; it may be nothing. Trouble: it is no amount."""
    try:
        return fen_of(re.sub(r"^[¥￥]\s*", "", text).replace(",", ""))
    except ValueError as error:
        raise Trouble(400, str(error)) from error


def reason_of(visit: Visit) -> str:
    """Return the reason of a form. Trouble: it is too short to tell anything."""
    reason = visit.told("reason", _REASON_LIMIT)
    if len(reason) < _REASON_LEAST or not reason.isprintable():
        raise Trouble(400, _("give the reason in a few words, for an auditor"))
    return reason


def plain_text(visit: Visit, name: str, limit: int) -> str:
    """Return a text of one line that no spreadsheet takes for a formula. Trouble."""
    value = visit.told(name, limit)
    if not value.isprintable() or (name != "phone" and is_formula(value)):
        text = _("{value!r}: write it without signs of a formula and without line ends")
        raise Trouble(400, text.format(value=value))
    return value


def number_of(visit: Visit, name: str, most: int, empty: int = 0) -> int:
    """Return a whole number of a form. Trouble: it is none, or too large."""
    text = visit.told(name, 20)
    if not text:
        return empty
    if not re.fullmatch("[0-9]{1,9}", text) or int(text) > most:
        told = _("{text!r} is no whole number up to {most}")
        raise Trouble(400, told.format(text=text, most=most))
    return int(text)


def digits_of(visit: Visit, name: str) -> str:
    """Return the number of an account or a meter. Trouble: it is none."""
    try:
        return full_number(visit.told(name, 20))
    except ValueError as error:
        raise Trouble(400, str(error)) from error


def ratio_of(visit: Visit) -> Ratio:
    """Return by what the registers of a meter are multiplied. Trouble: no ratios say it."""
    try:
        return lists.ratio_of({name: visit.told(name, 16) for name in ("multiplier", "ct", "pt")})
    except ValueError as error:
        raise Trouble(400, str(error)) from error


def registers_of(visit: Visit, name: str) -> list[int]:
    """Return registers in Wh, as typed in kWh with blanks between. Trouble."""
    words = visit.told(name, _REGISTERS_MOST).replace(",", " ").split()
    if not 0 < len(words) <= _RATES_LIMIT:
        text = _("give what the meter shows in kWh, one number or one for each of {most} rates")
        raise Trouble(400, text.format(most=_RATES_LIMIT))
    try:
        return [register_wh(one) for one in words]
    except ValueError as error:
        raise Trouble(400, str(error)) from error


def day_of(visit: Visit, name: str) -> date:
    """Return a day. Trouble: it is none."""
    text = visit.told(name, 10)
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        shown = "".join(one for one in text if one.isprintable())
        raise Trouble(400, _("{text}: give a day as YYYY-MM-DD").format(text=shown)) from error


def moment_of(visit: Visit, name: str) -> datetime:
    """Return a moment on the station's clock, without its zone. Trouble: it is none."""
    text = visit.told(name, 20).replace("T", " ")
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}(:[0-9]{2})?", text):
        raise Trouble(400, _("{text!r}: give a moment as 2026-07-21 10:15").format(text=text))
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise Trouble(
            400, _("{text!r}: give a moment as 2026-07-21 10:15").format(text=text)
        ) from error


def seen_of(visit: Visit) -> int:
    """Return the newest number that the page of a form has shown. Trouble: it has none."""
    seen = visit.told("seen", 12)
    if not re.fullmatch("[0-9]+", seen):
        raise Trouble(400, _("this form is not one of ours: open the page again"))
    return int(seen)
