"""The texts of notices in both languages, and how a station's own take their place.

A text has names in braces. A line in which a name has no value is left out, so that a text is
whole where a station has told no telephone. Values are plain text: no line of theirs ends.
"""

import re
from collections.abc import Mapping

from host.harmless import HARMFUL
from host.headend import notices
from host.words import _, marked, speaking

# Names that each text may have.
COMMON = frozenset(("account", "name", "hotline", "page", "pay_at", "time"))
_OF_KIND = {
    notices.LOW: ("balance",),
    notices.USED_UP: ("balance",),
    notices.CUT: (
        "balance",
        "debt",
        "when",
        "reason",
    ),
    notices.TRIP: ("balance",),
    notices.RECLOSE: ("balance",),
    notices.RECEIPT: (
        "amount",
        "balance",
        "order",
    ),
    notices.REFUND: (
        "amount",
        "balance",
        "order",
    ),
    notices.OUTAGE: (
        "place",
        "since",
        "until",
        "reason",
    ),
    notices.OUTAGE_OFF: (
        "place",
        "since",
        "until",
        "reason",
    ),
    notices.PRICE: (
        "since",
        "tariff",
    ),
    notices.SETTLEMENT: ("used",),
    notices.TIER: (
        "tier",
        "used",
        "left",
        "price",
    ),
    notices.COMPLAINT: (
        "number",
        "answer",
    ),
    notices.CODE: (
        "code",
        "minutes",
    ),
}

_TEXTS = {
    notices.LOW: marked(
        "Account {account}: the balance was {balance} yuan at {time}. Please top up.\n"
        "Pay: {pay_at}\nQuestions: {hotline}"
    ),
    notices.USED_UP: marked(
        "Account {account}: the credit is used up, the balance is {balance} yuan ({time}). The "
        "supply will be cut. Please top up now.\nPay: {pay_at}\nQuestions: {hotline}"
    ),
    notices.CUT: marked(
        "Notice before a cut. Account {account} owes {debt} yuan.\n"
        "The supply will be cut from {when} on.\nReason: {reason}\n"
        "It is not cut if the account is paid before.\nPay: {pay_at}\nQuestions: {hotline}"
    ),
    notices.TRIP: marked(
        "Account {account}: the supply was switched off at {time}, the balance is {balance} "
        "yuan.\nPay: {pay_at}\nQuestions: {hotline}"
    ),
    notices.RECLOSE: marked(
        "Account {account}: the supply is on again since {time}, the balance is {balance} yuan."
    ),
    notices.RECEIPT: marked(
        "Account {account}: {amount} yuan arrived at {time} (order {order}), the balance is "
        "{balance} yuan."
    ),
    notices.REFUND: marked(
        "Account {account}: {amount} yuan were taken off at {time} to be paid back (order "
        "{order}), the balance is {balance} yuan.\nQuestions: {hotline}"
    ),
    notices.OUTAGE: marked(
        "Planned outage: {place}, from {since} to {until}.\nReason: {reason}\nQuestions: {hotline}"
    ),
    notices.OUTAGE_OFF: marked(
        "The planned outage is called off: {place}, from {since} to {until}.\nQuestions: {hotline}"
    ),
    notices.PRICE: marked(
        "Account {account}: other prices are in force from {since} on.\nTariff: {tariff}\n"
        "Your page: {page}\nQuestions: {hotline}"
    ),
    notices.SETTLEMENT: marked(
        "Account {account}: a tier period ended at {time}, {used} kWh were used in it. The tiers "
        "begin anew, the balance stays."
    ),
    notices.TIER: marked(
        "Account {account}: {used} kWh are used in this period, {left} kWh before tier {tier}.\n"
        "Its price: {price} yuan/kWh"
    ),
    notices.COMPLAINT: marked(
        "Your complaint {number} is closed.\nAnswer: {answer}\nQuestions: {hotline}"
    ),
    notices.CODE: marked(
        "{code} opens the page of your account for {minutes} minutes. Give it to nobody."
    ),
}
_TITLES = {
    notices.LOW: marked("Electricity: low balance"),
    notices.USED_UP: marked("Electricity: credit used up"),
    notices.CUT: marked("Electricity: notice before a cut"),
    notices.TRIP: marked("Electricity: supply off"),
    notices.RECLOSE: marked("Electricity: supply on"),
    notices.RECEIPT: marked("Electricity: money arrived"),
    notices.REFUND: marked("Electricity: money paid back"),
    notices.OUTAGE: marked("Electricity: planned outage"),
    notices.OUTAGE_OFF: marked("Electricity: outage called off"),
    notices.PRICE: marked("Electricity: other prices"),
    notices.SETTLEMENT: marked("Electricity: settlement"),
    notices.TIER: marked("Electricity: next tier near"),
    notices.COMPLAINT: marked("Electricity: your complaint"),
    notices.CODE: marked("Electricity: code"),
}
_NAME = re.compile(r"\{([a-z_]+)\}")
_BRACE = re.compile(r"[{}]")
OWN_TEXT_MOST = 500


def names_of(kind: str) -> frozenset[str]:
    """Return the names that a text of a kind may have."""
    return COMMON | frozenset(_OF_KIND[kind])


def trouble_with(kind: str, text: str) -> str:
    """Return why a station's text cannot be used, "": it can."""
    if not text.strip() or len(text) > OWN_TEXT_MOST:
        return _("a text has 1 to {limit} characters").format(limit=OWN_TEXT_MOST)
    strange = sorted(set(_NAME.findall(text)) - names_of(kind))
    if strange:
        known = ", ".join(sorted(names_of(kind)))
        return _("there is no {name} in a notice of this kind: {known}").format(
            name="{" + strange[0] + "}", known=known
        )
    if _BRACE.search(_NAME.sub("", text)):
        return _("a brace without its name: write {example}").format(example="{balance}")
    return ""


def render(
    kind: str, language: str, values: Mapping[str, str], own: Mapping[str, str]
) -> tuple[str, str]:
    """Return title and text of a notice; `own` are the station's texts of this language."""
    with speaking(language):
        title, text = _(_TITLES[kind]), own.get(kind) or _(_TEXTS[kind])
    plain = {name: HARMFUL.sub(" ", value).strip() for name, value in values.items()}
    lines = []
    for line in text.splitlines():
        names = _NAME.findall(line)
        if all(plain.get(name) for name in names):
            lines.append(_NAME.sub(lambda found: plain[found[1]], line))
    return title, "\n".join(lines)
