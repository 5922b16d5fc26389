"""A card held against the books: what is on it, what they say, and the difference in words."""

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from host.frames.card import STATES
from host.headend.errors import StoreError
from host.headend.store import Store
from host.units import kwh, to_datetime, yuan
from host.words import _, marked

OK, PLAIN, WARN, BAD = "ok", "plain", "warn", "bad"
_TONES = (OK, PLAIN, WARN, BAD)
_MOST = 1 << 62


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


class MarkTold(_Strict):
    """The concentrator's part of a card, as the counter's reader tells it."""

    genuine: bool
    state: int = Field(ge=0, le=255)
    relay: int = Field(ge=0, le=255)
    order: int = Field(ge=0, le=_MOST)
    balance_fen: int = Field(ge=-_MOST, le=_MOST)
    illegal: int = Field(ge=0, le=_MOST)
    registers_wh: list[int] = Field(max_length=16)
    t2000: int = Field(ge=0, le=1 << 32)


class CardTold(_Strict):
    """A card as the counter's reader tells it; the account is "" on an empty one."""

    uid: str = Field(pattern="^[0-9A-Fa-f]{8,16}$")
    trouble: str = Field(default="", max_length=20)
    has_key: bool
    genuine: bool
    used: bool
    account: str = Field(default="", pattern="^([0-9]{12})?$")
    meter: str = Field(default="", pattern="^([0-9]{12})?$")
    order: int = Field(default=0, ge=0, le=_MOST)
    amount_fen: int = Field(default=0, ge=0, le=_MOST)
    bound_uid: str = Field(default="", max_length=16)
    mark: MarkTold | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that is compared; `word` says the difference, and `tone` how much it matters."""

    name: str
    card: str
    books: str
    tone: str
    word: str


@dataclass(frozen=True, slots=True)
class Held:
    """A card held against the books, with one sentence about the whole."""

    lines: list[Line]
    tone: str
    said: str


def card_of(text: str) -> CardTold:
    """Return a card from what the reader has told; StoreError: that is no card."""
    try:
        return CardTold.model_validate_json(text)
    except ValidationError as error:
        raise StoreError(_("the reader has told of no card: read it again")) from error


def hold(store: Store, row: dict[str, Any], newest: dict[str, Any] | None, card: CardTold) -> Held:
    """Return how a card differs from the books of a household; `newest` is its newest order."""
    if card.trouble or not card.account:
        said = _("The card is empty or not of ours: an order can be written on it.")
        return Held([], PLAIN, said)
    lines = [_account(row, card), _signature(card), _number(store, row, card)]
    if card.meter:
        lines.append(_meter(row, card))
    lines.append(_order(newest, card))
    if card.mark is not None:
        lines += _marked(row, card.mark)
    tone = max((one.tone for one in lines), key=_TONES.index)
    return Held(lines, tone, _(_SAID[tone]))


_SAID = {
    OK: marked("The card is what the books say: sell."),
    PLAIN: marked("The card is what the books say, but for what was used since: sell."),
    WARN: marked("The card and the books differ: look at the lines marked, then go on."),
    BAD: marked("This card must not be written before it is clear why it differs."),
}


def _same(name: str, card: str, books: str, tone: str, word: str) -> Line:
    """Return a line of two texts, which are well where they are the same."""
    if card == books:
        return Line(name, card, books, OK, _("same"))
    return Line(name, card or "–", books or "–", tone, word)


def _grouped(number: str) -> str:
    return " ".join(number[at : at + 4] for at in range(0, len(number), 4))


def _account(row: dict[str, Any], card: CardTold) -> Line:
    word = _("the card is of another household")
    return _same(_("account"), _grouped(card.account), _grouped(row["account"]), BAD, word)


def _signature(card: CardTold) -> Line:
    name = _("signature")
    if card.bound_uid and card.bound_uid != card.uid:
        return Line(name, card.uid, card.bound_uid, BAD, _("copied from another card"))
    if not card.has_key:
        return Line(name, _("not checked"), "", WARN, _("the key of the card is not here"))
    if not card.genuine:
        return Line(name, _("wrong"), "", BAD, _("the card was changed, or is not of ours"))
    return Line(name, _("genuine"), "", OK, _("good"))


def _number(store: Store, row: dict[str, Any], card: CardTold) -> Line:
    name = _("card")
    rows = store.rows("SELECT account, until_at FROM cards WHERE uid = ?", (card.uid,))
    if rows and rows[0]["account"] != row["account"]:
        word = _("handed out to account {account}").format(account=rows[0]["account"])
        return Line(name, card.uid, rows[0]["account"], BAD, word)
    if rows and rows[0]["until_at"] is not None:
        return Line(name, card.uid, "", BAD, _("another card has replaced it"))
    own = store.value(
        "SELECT uid FROM cards WHERE account = ? AND until_at IS NULL", (row["account"],)
    )
    if own and own != card.uid:
        return Line(name, card.uid, str(own), WARN, _("another card was handed out"))
    return Line(name, card.uid, str(own or ""), OK, _("good"))


def _meter(row: dict[str, Any], card: CardTold) -> Line:
    word = _("the meter was exchanged: the next order names the new one")
    return _same(_("meter"), _grouped(card.meter), _grouped(row["meter"] or ""), WARN, word)


def _order(newest: dict[str, Any] | None, card: CardTold) -> Line:
    name = _("last order")
    on_card = f"{card.order} · {yuan(card.amount_fen)} · " + (
        _("redeemed") if card.used else _("not redeemed yet")
    )
    if newest is None:
        return Line(name, on_card, "–", BAD, _("the books have no order"))
    is_redeemed = newest["redeemed_t2000"] is not None
    books = f"{newest['order']} · {yuan(abs(newest['amount_fen']))} · " + (
        _("redeemed") if is_redeemed else _("not redeemed yet")
    )
    if card.order > newest["order"]:
        return Line(name, on_card, books, BAD, _("the books do not know the card's order"))
    if card.order < newest["order"]:
        if not card.used:
            word = _("an older order on the card is not redeemed: it is redeemed first")
            return Line(name, on_card, books, WARN, word)
        word = _("the newest order is not on this card")
        return Line(name, on_card, books, PLAIN if is_redeemed else WARN, word)
    if card.amount_fen != abs(newest["amount_fen"]):
        return Line(name, on_card, books, BAD, _("another amount is on the card"))
    if card.used and not is_redeemed:
        word = _("redeemed by its card; the concentrator has not told yet")
        return Line(name, on_card, books, PLAIN, word)
    if is_redeemed and not card.used:
        word = _("redeemed, but this card was not there: by air, or by another card")
        return Line(name, on_card, books, WARN, word)
    return Line(name, on_card, books, OK, _("same"))


def _marked(row: dict[str, Any], mark: MarkTold) -> list[Line]:
    """Return what the concentrator has written on the card, beside what it told since."""
    when = f"{to_datetime(mark.t2000):%m-%d %H:%M}"
    if not mark.genuine:
        word = _("what the concentrator wrote is damaged or was changed")
        return [Line(_("written back"), when, "", BAD, word)]
    lines = [_balance(row, mark, when), _energy(row, mark)]
    state = _(STATES[mark.state]) if mark.state < len(STATES) else str(mark.state)
    relay = _("open") if mark.relay == 1 else _("closed")
    known = {0: _("closed"), 1: _("open")}.get(row["relay"], "")
    name = _("relay")
    if not known or known == relay:
        lines.append(Line(name, f"{relay} · {state}", known or "–", OK, _("same")))
    else:
        word = _("it was switched since")
        lines.append(Line(name, f"{relay} · {state}", known, PLAIN, word))
    if mark.illegal:
        word = _("so many cards were refused there: look whether this one was changed")
        lines.append(Line(_("refused cards"), str(mark.illegal), "", WARN, word))
    return lines


def _balance(row: dict[str, Any], mark: MarkTold, when: str) -> Line:
    name, card = _("balance"), f"{yuan(mark.balance_fen)} · {when}"
    if row["credit_fen"] is None:
        return Line(name, card, "–", PLAIN, _("its concentrator has told nothing yet"))
    balance_fen = row["credit_fen"] - row["debit_fen"]
    books = f"{yuan(balance_fen)} · {to_datetime(row['last_t2000'] or 0):%m-%d %H:%M}"
    if balance_fen == mark.balance_fen:
        return Line(name, card, books, OK, _("same"))
    change = f"{'+' if balance_fen > mark.balance_fen else '-'}" + yuan(
        abs(balance_fen - mark.balance_fen)
    )
    if (row["last_t2000"] or 0) >= mark.t2000:
        return Line(name, card, books, PLAIN, _("{change} yuan since").format(change=change))
    word = _("{change} yuan: the books are older than the card").format(change=change)
    return Line(name, card, books, PLAIN, word)


def _energy(row: dict[str, Any], mark: MarkTold) -> Line:
    name = _("energy")
    card_wh = sum(mark.registers_wh)
    books_wh = sum(row["registers_wh"]) if row["registers_wh"] else None
    card = f"{kwh(card_wh, 2)} kWh"
    if books_wh is None:
        return Line(name, card, "–", PLAIN, _("its concentrator has told nothing yet"))
    books = f"{kwh(books_wh, 2)} kWh"
    if books_wh == card_wh:
        return Line(name, card, books, OK, _("same"))
    is_newer = (row["last_t2000"] or 0) >= mark.t2000
    if (books_wh > card_wh) == is_newer:
        change = f"{kwh(abs(books_wh - card_wh), 2)} kWh"
        word = _("{change} used since").format(change=change)
        return Line(name, card, books, PLAIN, word)
    word = _("the register went back: was the meter exchanged?")
    return Line(name, card, books, WARN, word)
