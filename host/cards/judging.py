"""What a concentrator would answer to a card: the result of every check, made a second time."""

from dataclasses import dataclass

from host.frames.card import (
    AMOUNT_LIMIT_FEN,
    FLAG_SPARE_TARIFF,
    NOBODY,
    OPERATOR_KINDS,
    ORDER_LIMIT,
    SUITES,
    Card,
    CardKind,
    Header,
    parse,
    parse_content,
)

# An operator's card is inserted at most so long after it was made, and its maker's clock is at
# most so much ahead of the concentrator's.
_OLD_S = 366 * 86400
_AHEAD_S = 86400
# In place of the order redeemed last: the head-end knows more; nobody told what was bought.
BEHIND = -1
UNTOLD = -2


@dataclass(frozen=True, slots=True)
class Place:
    """A concentrator and one account of it, as far as they decide about a card."""

    district: int
    key_version: int
    key: bytes
    account: str
    meter: str
    last_order: int  # 0: none yet, BEHIND or UNTOLD: not known
    last_header_mac: bytes | None = None  # of that order's card, None: of any
    now_t2000: int = -1
    room_fen: int = AMOUNT_LIMIT_FEN
    cover_fen: int = AMOUNT_LIMIT_FEN  # what a refund may take
    operator_order: int = 0
    tariffs: frozenset[str] | None = None  # names of images; None: any may be there
    suites: frozenset[int] = frozenset(SUITES)


def judge(memory: bytes, uid: str, place: Place) -> str:
    """Return the name of the result that the card would have there, e.g. "OK" or "USED"."""
    card = parse(memory, place.key)
    header = card.header
    if card.trouble or header is None:
        return card.trouble
    valid_until = header.valid_until_t2000
    checks = (
        (header.suite not in place.suites, "WRONG_TYPE"),
        (header.district != place.district, "DISTRICT"),
        (header.key_version != place.key_version, "KEY_VERSION"),
        (not card.genuine, "MAC"),
        (header.uid != uid, "SERIAL"),
        (header.order > ORDER_LIMIT or header.amount_fen > AMOUNT_LIMIT_FEN, "FORMAT"),
        (valid_until and place.now_t2000 < 0, "NO_CLOCK"),
        (valid_until and place.now_t2000 > valid_until, "EXPIRED"),
    )
    wrong = next((name for fails, name in checks if fails), "")
    return wrong or _judge_genuine(card, header, place)


def _judge_genuine(card: Card, header: Header, place: Place) -> str:
    """Return the name of the result of a genuine card."""
    kind = CardKind(header.kind)
    if kind == CardKind.TEST:
        return "COMPLETED"
    operated = _judge_operated(header.order, place)
    if header.account == NOBODY and kind in OPERATOR_KINDS:
        return operated
    if header.account != place.account:
        return "ACCOUNT"
    if header.meter != place.meter:
        return "METER"
    if kind == CardKind.CLEAR:
        return operated
    if kind in OPERATOR_KINDS:
        return "WRONG_TYPE"
    return "COMPLETED" if kind == CardKind.INSPECT else _judge_money(card, header, place)


def _judge_operated(number: int, place: Place) -> str:
    """Return the name of the result of an operator's card, whose number is its second of issue."""
    checks = (
        (number <= place.operator_order, "USED"),
        (place.now_t2000 < 0, "NO_CLOCK"),
        (number > place.now_t2000 + _AHEAD_S, "ORDER_AHEAD"),
        (number < place.now_t2000 - _OLD_S, "EXPIRED"),
    )
    return next((name for fails, name in checks if fails), "OK")


def _judge_money(card: Card, header: Header, place: Place) -> str:
    """Return the name of the result of an order on the account's own card."""
    order, last, kind = header.order, place.last_order, CardKind(header.kind)
    mark_order = card.write_back.order if card.write_back and card.write_back_genuine else -1
    unopened = {CardKind.PURCHASE: "NOT_OPENED", CardKind.REPLACEMENT: "NOTHING_TO_REPLACE"}
    unopened[CardKind.REFUND] = "NOT_OPENED"
    refunds = kind == CardKind.REFUND
    first = header.supersedes or order
    other = place.last_header_mac not in (None, card.header_mac)
    checks = (
        (last == UNTOLD, "NO_STANDING"),
        (last == BEHIND or mark_order > last, "BOOKS_BEHIND"),
        (last == 0 and kind in unopened, unopened.get(kind, "")),
        (order == last and other, "OTHER_CARD"),
        (order == last, "USED" if mark_order >= order else "COMPLETED"),
        (order < last, "ORDER_BEHIND"),
        (first <= last, "TOO_LATE"),
        (last and kind == CardKind.OPEN, "OPENED"),
        (first != last + 1, "ORDER_AHEAD"),
        (refunds and header.amount_fen > place.cover_fen, "NOT_COVERED"),
        (not refunds and header.amount_fen > place.room_fen, "HOARDING"),
    )
    name = next((name for fails, name in checks if fails), "OK")
    names_tariff = name in ("OK", "COMPLETED") and header.flags & FLAG_SPARE_TARIFF
    if names_tariff and place.tariffs is not None:
        tariff = parse_content(header)
        if tariff["sha256"] not in place.tariffs:
            return "NO_TARIFF"
    return name
