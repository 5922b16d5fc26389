"""A card's fields in the words people read, for a table or for JSON."""

from dataclasses import dataclass
from typing import Any

from rich.text import Text

from host.cli.output import echo, styled
from host.frames import card as frames
from host.frames.card import Card, CardKind, Header, WriteBack
from host.frames.card_results import ACCEPTED, CODES, OUTCOMES, Outcome
from host.units import kwh, to_datetime, yuan
from host.words import _

# As in firmware/prepay/policy.py.
STATES = (
    "normal",
    "alarm 1",
    "alarm 2",
    "overdraft",
    "emergency credit",
    "cut held back",
    "cut",
    "overload",
    "remote trip",
)


@dataclass(frozen=True)
class Yuan:
    """An amount, shown in yuan."""

    fen: int


@dataclass(frozen=True)
class Time:
    """A moment, shown as a date and time."""

    t2000: int


def label(outcome: Outcome) -> str:
    """What a meter shows and the number behind it: "Err-34.18", of a good card "OK"."""
    return "OK" if outcome.code in ACCEPTED else f"{outcome.shown}.{outcome.code:02d}"


def outcome_of(code: int) -> Outcome:
    """The row of the table, also for a code that this version does not know."""
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


def say_outcome(outcome: Outcome) -> None:
    """A result in color, and what to do next."""
    good = outcome.code in ACCEPTED
    text = f"{label(outcome)} {outcome.english} {outcome.chinese}"
    echo(text, color="green" if good else "red")
    if not good:
        echo(
            _("next: {next_english} {next_chinese}").format(
                next_english=outcome.next_english, next_chinese=outcome.next_chinese
            )
        )


def describe(card: Card, has_key: bool) -> dict[str, Any]:
    """The card's fields by the names people read, in their order."""
    header = card.header
    if header is None:
        return {"state": OUTCOMES[CODES[card.trouble]]}
    found = {**_described_header(header, card.genuine if has_key else None)}
    if header.kind in frames.MONEY_KINDS:
        found["redeemed"] = "yes" if card.used else "not marked as redeemed"
    if card.write_back is None:
        return {**found, "write-back": "none"}
    return {
        **found,
        **_described_mark(card.write_back, card.write_back_genuine if has_key else None),
    }


def _verdict(genuine: bool | None) -> str:
    if genuine is None:
        return "not known without the key file"
    return "genuine" if genuine else "NOT genuine: forged or changed"


def _described_header(header: Header, genuine: bool | None) -> dict[str, Any]:
    known = header.kind in list(CardKind)
    found: dict[str, Any] = {
        "kind": CardKind(header.kind).name.lower() if known else f"unknown kind {header.kind}",
        "header": _verdict(genuine),
        "account": header.account,
        "meter": header.meter,
        "district": header.district,
        "bound to card": header.uid,
        "order": header.order,
        "amount": Yuan(header.amount_fen),
        "issued": Time(header.issued_t2000),
        "valid until": Time(header.valid_until_t2000) if header.valid_until_t2000 else "no limit",
        "suite": frames.SUITES.get(header.suite, f"unknown suite {header.suite}"),
        "key version": header.key_version,
    }
    for name, value in frames.parse_content(header).items():
        if name in frames.LIMITS:
            found[name.removesuffix("_fen").replace("_", " ")] = Yuan(value)
        elif header.kind == CardKind.KEY:
            found[f"new key {name}"] = value if name == "version" else "for concentrators only"
        else:
            found[f"next tariff {name}"] = Time(value) if name == "from_t2000" else value
    return found


def _described_mark(mark: WriteBack, genuine: bool | None) -> dict[str, Any]:
    rates = [f"{kwh(wh, 2)} kWh" for wh in mark.registers_wh[: mark.rates]]
    state = STATES[mark.state] if mark.state < len(STATES) else f"state {mark.state}"
    return {
        "write-back": _verdict(genuine),
        "written at": Time(mark.t2000) if mark.t2000 else "clock not set",
        "result": outcome_of(mark.code),
        "newest order": mark.order,
        "balance": Yuan(mark.balance_fen),
        "bought in total": Yuan(mark.credit_fen),
        "overdraft": Yuan(mark.overdraft_fen),
        "used in period": f"{kwh(mark.used_wh)} kWh",
        "tier": mark.tier,
        "registers": ", ".join(rates) or "none",
        "relay": {0: "closed", 1: "open"}.get(mark.relay, "not known"),
        "supply": state,
        "illegal cards": mark.illegal,
        "concentrator": mark.concentrator,
    }


def plain(value: Any) -> Any:
    """A described value for JSON."""
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
        return shown.append_text(styled(f" {value.english} {value.chinese}"))
    if isinstance(value, Yuan):
        return styled(_("{fen} yuan").format(fen=yuan(value.fen)))
    return styled(str(plain(value)))


def facts(header: Header) -> dict[str, Any]:
    """The header's fields by their own names, for JSON."""
    names = [name for name in header.__slots__ if name != "content"]
    return {name: getattr(header, name) for name in names}
