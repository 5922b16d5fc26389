"""A card's fields in the words people read, for a table or for JSON."""

from dataclasses import dataclass
from typing import Any

from rich.text import Text

from host.cli.output import echo, styled
from host.frames import card as frames
from host.frames.card import STATES, Card, CardKind, Header, WriteBack
from host.frames.card_results import ACCEPTED, CODES, OUTCOMES, Outcome
from host.link.card import CardMemory
from host.units import kwh, to_datetime, yuan
from host.words import _, bilingual, marked

_KINDS = {
    CardKind.OPEN: marked("opening"),
    CardKind.PURCHASE: marked("purchase"),
    CardKind.REPLACEMENT: marked("replacement"),
    CardKind.PRESET: marked("preset"),
    CardKind.INSPECT: marked("inspect"),
    CardKind.CLEAR: marked("clear"),
    CardKind.KEY: marked("key"),
    CardKind.TEST: marked("test"),
    CardKind.REFUND: marked("refund"),
}
_RELAYS = {0: marked("closed"), 1: marked("open")}
_LIMITS = {
    "alarm_1_fen": marked("alarm 1"),
    "alarm_2_fen": marked("alarm 2"),
    "overdraft_fen": marked("overdraft"),
    "hoarding_limit_fen": marked("hoarding limit"),
    "close_fen": marked("close"),
}


@dataclass(frozen=True)
class Word:
    """A text of ours in the language spoken; in JSON it is `code`, or the English text."""

    text: str
    code: str = ""


@dataclass(frozen=True)
class Yuan:
    """An amount, shown in yuan."""

    fen: int


@dataclass(frozen=True)
class Time:
    """A moment, shown as a date and time."""

    t2000: int


def label(outcome: Outcome) -> str:
    """Return what a meter shows and the number behind it: "Err-34.18", of a good card "OK"."""
    return "OK" if outcome.code in ACCEPTED else f"{outcome.shown}.{outcome.code:02d}"


def outcome_of(code: int) -> Outcome:
    """Return the row of the table, also for a code that this version does not know."""
    unknown = Outcome(
        code,
        "UNKNOWN",
        "Err",
        f"code {code} is not known to this version",
        f"未知代码 {code}",
        "update this tool",
        "升级本工具",
    )
    return OUTCOMES.get(code, unknown)


# How a concentrator refuses an operator's card that it knows, or that is older than its newest.
_ONCE = ("USED", "ORDER_BEHIND")


def say_outcome(outcome: Outcome, header: Header | None = None) -> None:
    """Print a result of a card in color, and what to do next."""
    good = outcome.code in ACCEPTED
    text = bilingual(outcome.english, outcome.chinese)
    echo(f"{label(outcome)} {text}", color="green" if good else "red")
    if not good:
        following = bilingual(outcome.next_english, outcome.next_chinese)
        if header and header.kind in frames.OPERATOR_KINDS and outcome.name in _ONCE:
            following = _("it works once, and not behind a newer one: make it anew")
        echo(_("next: {following}").format(following=following))


def describe(card: Card, has_key: bool) -> dict[str, Any]:
    """Return the card's fields by their English names, in the order in which people read them.

    `for_people` shows a value in the language spoken, `plain` in JSON; names are `marked`.
    """
    header = card.header
    if header is None:
        return {marked("state"): OUTCOMES[CODES[card.trouble]]}
    found = {**_described_header(header, card.genuine if has_key else None)}
    if header.kind in frames.MONEY_KINDS:
        found[marked("redeemed")] = _redeemed(card)
        if has_key:
            found[marked("the mark proves")] = _proof(card)
    if card.write_back is None:
        return {**found, marked("write-back"): Word("none")}
    return {
        **found,
        **_described_mark(card.write_back, card.write_back_genuine if has_key else None),
    }


def _redeemed(card: Card) -> Word:
    """Return in a word what the mark says of the order and the amount on the card."""
    if not card.used:
        return Word("not marked as redeemed")
    mark, header = card.write_back, card.header
    if mark and header and mark.order > header.order:
        return Word("used up by a later order: whether this one was redeemed is not proved")
    if header and card.redeemed_fen != header.amount_fen:
        return Word("used up, and another amount was redeemed: pay nothing out")
    return Word("yes")


def _proof(card: Card) -> Word:
    """Return in words what the mark proves, and what it cannot prove."""
    if card.write_back is None:
        return Word("nothing: no concentrator has written on this card since it was issued")
    if not card.write_back_genuine:
        return Word("nothing: the mark is forged, changed, or copied from another card")
    if not card.used:
        return Word("another order or amount of this account was redeemed; of this one nothing")
    header = card.header
    if header is None or card.redeemed_fen != header.amount_fen:
        return Word("a concentrator refuses this card as used; not that its amount was redeemed")
    return Word(
        "who has the key of the district says that this order and amount were redeemed: that is "
        "a concentrator, or a thief of one. Pay out against the head-end's record"
    )


def serial_worth(memory: CardMemory, image: bytes) -> Word:
    """Return what the card's serial number is worth against a copy of the card."""
    if memory.uid == frames.serial_of(image):
        return Word(
            "written in the memory: another memory card can be given the same, as a copy of this "
            "one. Its order counts once all the same"
        )
    return Word("the chip's own: only special hardware imitates it")


def _verdict(genuine: bool | None) -> Word:
    if genuine is None:
        return Word("not known without the key file")
    return Word("genuine") if genuine else Word("NOT genuine: forged or changed")


def _described_header(header: Header, genuine: bool | None) -> dict[str, Any]:
    until_t2000 = header.valid_until_t2000
    unknown = _("unknown suite {suite}").format(suite=header.suite)
    found: dict[str, Any] = {
        marked("kind"): kind_of(header.kind),
        marked("header"): _verdict(genuine),
        marked("account"): header.account,
        marked("meter"): header.meter,
        marked("district"): header.district,
        marked("bound to card"): header.uid,
        marked("order"): header.order,
        marked("amount"): Yuan(header.amount_fen),
        marked("issued"): Time(header.issued_t2000),
        marked("valid until"): Time(until_t2000) if until_t2000 else Word("no limit"),
        marked("suite"): frames.SUITES.get(header.suite, unknown),
        marked("key version"): header.key_version,
    }
    if header.supersedes:
        found[marked("in place of order")] = header.supersedes
    for name, value in frames.parse_content(header).items():
        if name in _LIMITS:
            found[_LIMITS[name]] = Yuan(value)
        elif name == "version":
            found[marked("new key version")] = value
        elif name == "wrapped":
            found[marked("new key wrapped")] = Word("for concentrators only")
        elif name == "from_t2000":
            found[marked("next tariff from_t2000")] = Time(value)
        else:
            found[marked("next tariff sha256")] = value
    return found


def kind_of(kind: int) -> Word | str:
    """Return what a card is for, in words."""
    if kind not in list(CardKind):
        return _("unknown kind {kind}").format(kind=kind)
    return Word(_KINDS[CardKind(kind)], CardKind(kind).name.lower())


def _described_mark(mark: WriteBack, genuine: bool | None) -> dict[str, Any]:
    rates = [f"{kwh(wh, 2)} kWh" for wh in mark.registers_wh[: mark.rates]]
    state: Word | str = _("state {state}").format(state=mark.state)
    if mark.state < len(STATES):
        state = Word(STATES[mark.state])
    return {
        marked("write-back"): _verdict(genuine),
        marked("written at"): Time(mark.t2000) if mark.t2000 else Word("clock not set"),
        marked("result"): outcome_of(mark.code),
        marked("newest order"): mark.order,
        marked("balance"): Yuan(mark.balance_fen),
        marked("bought in total"): Yuan(mark.credit_fen),
        marked("overdraft"): Yuan(mark.overdraft_fen),
        marked("used in period"): f"{kwh(mark.used_wh)} kWh",
        marked("tier"): mark.tier,
        marked("registers"): ", ".join(rates) or Word("none"),
        marked("relay"): Word(_RELAYS.get(mark.relay, marked("not known"))),
        marked("supply"): state,
        marked("illegal cards"): mark.illegal,
        marked("concentrator"): mark.concentrator,
    }


def plain(value: Any) -> Any:
    """Return a described value for JSON."""
    if isinstance(value, Word):
        return value.code or value.text
    if isinstance(value, Yuan):
        return yuan(value.fen)
    if isinstance(value, Time):
        return str(to_datetime(value.t2000))
    if isinstance(value, Outcome):
        return {"code": label(value), "reason": value.english}
    return value


def for_people(value: Any) -> Text:
    """Return a described value for a table."""
    if isinstance(value, Outcome):
        shown = styled(label(value), "green" if value.code in ACCEPTED else "red")
        return shown.append_text(styled(" " + bilingual(value.english, value.chinese)))
    if isinstance(value, Word):
        return styled(_(value.text))
    if isinstance(value, Yuan):
        return styled(_("{fen} yuan").format(fen=yuan(value.fen)))
    return styled(str(plain(value)))


def facts(header: Header) -> dict[str, Any]:
    """Return the header's fields by their own names, for JSON."""
    names = [name for name in header.__slots__ if name != "content"]
    return {name: getattr(header, name) for name in names}
