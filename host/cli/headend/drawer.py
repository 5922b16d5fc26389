"""`dianka headend drawer` and `figures`: the cashier's day, and money in figures."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import click

from host.cli import shown
from host.cli.headend.database import opened
from host.cli.headend.look import lists, localised, print_list
from host.cli.options import LIMIT, account_argument, database_option, order_option
from host.cli.output import Column, echo
from host.headend import figures, shifts
from host.units import DAY_S, yuan
from host.words import _, marked

_CASHIER = click.option("--cashier", required=True, help="Whose drawer it is.")


@shown.group(
    epilog="""\b
Examples:
  dianka headend drawer list --db village.db
"""
)
def drawer() -> None:
    """Open a cashier's drawer, pay out of it, count it, close it and hand it over."""


@drawer.command(
    "open",
    epilog="""\b
Example:
  dianka headend drawer open --db village.db --cashier Li --cash 200
""",
)
@database_option()
@_CASHIER
@click.option("--cash", "float_fen", type=LIMIT, default="0", help="Yuan in it.")
def open_command(db: str, cashier: str, float_fen: int) -> None:
    """Open a drawer with the cash in it."""
    with opened(db) as store:
        shift = shifts.open_shift(store, cashier, float_fen)
    text = _("shift {shift}: the drawer of {cashier} is open with {cash} yuan")
    echo(text.format(shift=shift, cashier=cashier, cash=yuan(float_fen)))


@drawer.command(
    "close",
    epilog="""\b
Example:
  dianka headend drawer close --db village.db --cashier Li --counted 1250.50 --hand-to Chen
""",
)
@database_option()
@_CASHIER
@click.option("--counted", "counted_fen", type=LIMIT, required=True, help="Yuan counted in it.")
@click.option("--reason", default="", help="Why the count differs from the books.")
@click.option("--hand-to", default="", help="The cashier who goes on with it.")
def close_command(db: str, cashier: str, counted_fen: int, reason: str, hand_to: str) -> None:
    """Close a drawer with what was counted; a difference needs a reason."""
    with opened(db) as store:
        done = shifts.close_shift(store, cashier, counted_fen, reason, hand_to)
    text = _("shift {shift} is closed: {counted} yuan counted, {expected} by the books")
    echo(
        text.format(shift=done.shift, counted=yuan(counted_fen), expected=yuan(done.expected_fen))
    )
    echo(_("difference {fen} yuan").format(fen=yuan(done.difference_fen)))
    echo(_("keep the digest of the audit log: {digest}").format(digest=done.digest))


@drawer.command(
    "move",
    epilog="""\b
Example:
  dianka headend drawer move --db village.db --cashier Li --out 1000 --reason "to the bank"
""",
)
@database_option()
@_CASHIER
@click.option("--out", "out_fen", type=LIMIT, default="0", help="Yuan taken out.")
@click.option("--in", "in_fen", type=LIMIT, default="0", help="Yuan put in.")
@click.option("--reason", required=True, help="Where it goes or comes from.")
def move_command(db: str, cashier: str, out_fen: int, in_fen: int, reason: str) -> None:
    """Put cash into a drawer, or take it out, beside sales."""
    if bool(out_fen) == bool(in_fen):
        raise click.UsageError(_("give --in or --out"))
    with opened(db) as store:
        left = shifts.move_cash(store, cashier, in_fen - out_fen, reason)
    echo(_("{cash} yuan are in the drawer of {cashier}").format(cash=yuan(left), cashier=cashier))


@drawer.command(
    "pay-out",
    epilog="""\b
Example:
  dianka headend drawer pay-out 000000000001 --db village.db --order 7 --cashier Li
""",
)
@account_argument
@database_option()
@order_option("Order of the refund.", required=True)
@_CASHIER
def pay_out_command(account: str, db: str, order: int, cashier: str) -> None:
    """Pay out a refund that the concentrator has taken off its account."""
    with opened(db) as store:
        fen = shifts.pay_out(store, account, order, cashier)
    echo(_("pay out {fen} yuan to account {account}").format(fen=yuan(fen), account=account))


@drawer.command(
    "list",
    epilog="""\b
Examples:
  dianka headend drawer list --db village.db --days 7
  dianka headend drawer list --db village.db --shift 3 --csv
""",
)
@database_option()
@click.option("--days", type=click.IntRange(1, 3660), default=1, show_default=True, help="So far.")
@click.option("--shift", type=click.IntRange(1), help="Each move of cash of this shift.")
@lists
def shifts_command(db: str, days: int, shift: int | None, as_json: bool, as_csv: bool) -> None:
    """List the shifts of the last days, or the moves of one."""
    with opened(db, read_only=True) as store:
        zone = store.zone()
        now = datetime.now(zone)
        since = int((now - timedelta(days=days)).timestamp())
        rows = (
            shifts.shifts(store, since, int(now.timestamp()) + 1)
            if shift is None
            else shifts.moves(store, shift)
        )
    columns = (
        _SHIFT
        if shift is None
        else (
            (Column(_("time")), "moved_at"),
            (Column(_("kind")), "kind"),
            (Column(_("yuan"), right=True), "amount_fen"),
            (Column(_("account")), "account"),
            (Column(_("reason"), wraps=True), "reason"),
        )
    )
    print_list("shifts", localised(rows, zone), columns, as_json, as_csv, _("there is none"))


_SHIFT = (
    (Column(marked("shift"), right=True), "shift"),
    (Column(marked("cashier")), "cashier"),
    (Column(marked("opened")), "opened_at"),
    (Column(marked("yuan"), right=True), "float_fen"),
    (Column(marked("by the books, yuan"), right=True), "expected_fen"),
    (Column(marked("counted, yuan"), right=True), "counted_fen"),
    (Column(marked("closed")), "closed_at"),
    (Column(marked("handed to")), "handed_to"),
    (Column(marked("reason"), wraps=True), "reason"),
)
_WHAT = ("districts", "collection", "arrears", "low", "not-bought", "doubt", "sums")
_FIGURES = {
    "district": Column(marked("district")),
    "channel": Column(marked("channel")),
    "account": Column(marked("account")),
    "sales": Column(marked("sales"), right=True),
    "sold_fen": Column(marked("sold, yuan"), right=True),
    "charged_fen": Column(marked("charged, yuan"), right=True),
    "owed_fen": Column(marked("owed, yuan"), right=True),
    "rate_e4": Column(marked("collected, 0.01 %"), right=True),
    "days": Column(marked("days"), right=True),
    "balance_fen": Column(marked("balance, yuan"), right=True),
    "a_day_fen": Column(marked("a day, yuan"), right=True),
    "days_left": Column(marked("days left"), right=True),
    "sold_at": Column(marked("last bought")),
    "stopped": Column(marked("stopped"), right=True),
    "doubt": Column(marked("doubt"), right=True),
    "outstanding_off_fen": Column(marked("orders off, yuan"), right=True),
    "balance_off_fen": Column(marked("balance off, yuan"), right=True),
}


@shown.command(
    "figures",
    epilog="""\b
Examples:
  dianka headend figures arrears --db village.db
  dianka headend figures low --db village.db --days 5 --csv
""",
)
@click.argument("what", type=click.Choice(_WHAT))
@database_option()
@click.option("--days", type=click.IntRange(1, 3660), default=30, show_default=True, help="Days.")
@lists
def figures_command(what: str, db: str, days: int, as_json: bool, as_csv: bool) -> None:
    """Print sales by district, collection, arrears, low balances, who did not buy, doubts.

    `sums` lists accounts where sold = redeemed + outstanding does not hold; status 1 if any.
    """
    with opened(db, read_only=True) as store:
        zone = store.zone()
        until = int(datetime.now(zone).timestamp()) + 1
        looks: dict[str, Callable[[], list[dict[str, Any]]]] = {
            "districts": lambda: figures.by_district(store, until - days * DAY_S, until),
            "collection": lambda: [dict(figures.collection(store))],
            "arrears": lambda: figures.arrears(store),
            "low": lambda: figures.low_balances(store, days),
            "not-bought": lambda: figures.not_bought(store, days),
            "doubt": lambda: figures.in_doubt(store),
            "sums": lambda: figures.sums_off(store),
        }
        rows = looks[what]()
    columns = [(_FIGURES[name], name) for name in (rows[0] if rows else ())]
    print_list(what, localised(rows, zone), columns, as_json, as_csv, _("there is none"))
    if what == "sums" and rows:
        raise click.exceptions.Exit(1)
