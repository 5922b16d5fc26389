"""`dianka meter recharge`: money into a prepaid meter, once whatever the line loses."""

import click

from host.cli import shown
from host.cli.meter.session import DATA_LIMIT, Session, octets_of, password_of, sure, with_session
from host.cli.options import address_argument, amount_option, yes_option
from host.cli.output import echo, print_json
from host.device.line import Payment
from host.frames import orders, write
from host.frames.describe import describe
from host.frames.dlt645 import WILDCARD
from host.frames.orders import Request
from host.link.meters import answer
from host.units import yuan
from host.words import _


@shown.command(
    epilog="""\b
Examples:
  dianka meter --port /dev/ttyUSB0 recharge 983764 5 --item 04900000 --amount 50
  dianka meter --port /dev/ttyUSB0 recharge 983764 5 --hex "FF 02 01 07 .." --yes
"""
)
@address_argument
@click.argument("order", type=click.IntRange(1, 0xFFFFFFF))
@amount_option("Plain money, in yuan, for a private meter.")
@click.option("--item", help="The identifier its maker writes money to, with --amount.")
@click.option("--hex", "digits", help="03H's data as the key holder made it, low byte first.")
@yes_option
@with_session
def recharge(
    session: Session,
    address: str,
    order: int,
    amount_fen: int | None,
    item: str | None,
    digits: str | None,
    yes: bool,
) -> None:
    """Pay into a prepaid meter as its purchase number ORDER, once whatever the line loses.

    The meter is asked for its count of purchases before and after; the same command given again
    pays nothing twice.
    """
    if (amount_fen is None) == (digits is None) or (amount_fen is None) != (item is None):
        raise click.UsageError(_("give --amount with --item, or --hex"))
    if address == WILDCARD:
        raise click.UsageError(_("money goes to one meter: give its address, not `any`"))
    what = (
        _("order {order}").format(order=order)
        if amount_fen is None
        else _("order {order}, {amount_fen} yuan,").format(
            order=order, amount_fen=yuan(amount_fen)
        )
    )
    try:
        data = octets_of(digits or "")
        di = write.find(item, session.standard, session.profile).di if item else ""
    except write.WriteError as error:
        raise click.ClickException(str(error)) from error
    if len(data) > DATA_LIMIT:
        raise click.UsageError(
            _("--hex: 03H takes up to {data_limit} bytes").format(data_limit=DATA_LIMIT)
        )
    sure(yes, _("Pay {what} into meter {address}?").format(what=what, address=address))
    request = Request(0x03, data)
    if amount_fen is not None:
        request = orders.pay(di, password_of(), amount_fen, order)
    with session.opened_directly() as line:
        paid = line.recharge(address, *request, order)
    _show_payment(session, address, request.control, order, paid)


def _show_payment(session: Session, address: str, control: int, order: int, paid: Payment) -> None:
    """Print what became of a payment; end with status 1 unless it is booked."""
    booked = paid.outcome == "ok"
    balance = None if paid.balance_fen is None else yuan(paid.balance_fen)
    if session.as_json:
        told = {"meter": address, "order": order, "booked": booked, "outcome": paid.outcome}
        print_json({**told, "count": paid.count, "balance": balance})
    elif booked:
        holds = "" if balance is None else _("; it holds {balance} yuan").format(balance=balance)
        echo(
            _("meter {address} has booked order {order}{holds}").format(
                address=address, order=order, holds=holds
            )
        )
    if paid.outcome == "abnormal":
        said = describe(answer(address, control, b"", "abnormal", paid.error, False))
        raise click.ClickException(
            _("refused: {said}").format(said=", ".join(map(_, said["error"]["flags"])))
        )
    if paid.outcome == "bad reply":
        what = (
            _("order {order} was sent, but").format(order=order)
            if paid.sends
            else _("nothing was paid:")
        )
        raise click.ClickException(
            _(
                "{what} the meter counts {count} purchases, so its next order is {value}, not "
                "{order}"
            ).format(what=what, count=paid.count, value=(paid.count or 0) + 1, order=order)
        )
    if not booked:
        raise click.ClickException(
            _(
                "whether order {order} is booked is not known: the meter does not answer; give "
                "the same command again, it pays nothing twice"
            ).format(order=order)
        )
