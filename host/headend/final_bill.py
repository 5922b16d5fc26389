"""The final bill of a tenant as PDF: what was used, paid and charged, and the deposit."""

from datetime import datetime
from zoneinfo import ZoneInfo

from host.headend import audit, receipts
from host.headend.receipts import Sheet
from host.headend.rooms import Bill
from host.units import kwh, yuan
from host.words import _


def lines_of(one: Bill, zone: ZoneInfo) -> list[tuple[str, str]]:
    """Return the lines of a bill in the language spoken: what, and its value."""

    def money(fen: int) -> str:
        return _("{amount} yuan").format(amount=yuan(fen))

    def day(at: int) -> str:
        return f"{datetime.fromtimestamp(at, zone):%Y-%m-%d %H:%M}"

    told = [
        (_("room"), one.room or one.account),
        (_("account"), one.account),
        (_("tenant"), one.name),
        (_("moved in"), day(one.since_at)),
        (_("moved out"), day(one.until_at)),
        (_("first register"), f"{kwh(one.first_wh, 2)} kWh"),
        (_("last register"), f"{kwh(one.last_wh, 2)} kWh"),
        (_("used"), f"{kwh(one.last_wh - one.first_wh, 2)} kWh"),
        (_("paid"), money(one.paid_fen)),
        (_("charged"), money(one.charged_fen)),
        (_("left") if one.balance_fen >= 0 else _("owed"), money(abs(one.balance_fen))),
        (_("deposit"), money(one.deposit_fen)),
        (_("of it set off"), money(one.set_off_fen)),
        (_("of it returned"), money(one.returned_fen)),
        (_("paid back in all"), money(one.returned_fen + max(0, one.balance_fen))),
        (_("settled by order"), str(one.order or "")),
        (_("by"), one.by),
        (_("audit"), one.audit_digest[: audit.SHOWN_DIGITS]),
    ]
    return [(what, value) for what, value in told if value]


def pdf(one: Bill, zone: ZoneInfo, paper: str = "a4") -> bytes:
    """Return a final bill as PDF. StoreError: the package that draws it is not there."""
    return receipts.draw(Sheet("", _("final bill"), lines_of(one, zone)), paper)
