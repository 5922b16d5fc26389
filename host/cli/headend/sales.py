"""`dianka headend sell` and `refund`: orders of households, one or a file of them."""

import csv
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from host.billing import quotes
from host.cards.batch import COLUMNS as ORDER_COLUMNS
from host.cards.batch import SUPERSEDES
from host.cli import shown
from host.cli.headend.database import opened
from host.cli.headend.receipt import KWH, loaded, place_of, tariff_option
from host.cli.headend.till import till_options
from host.cli.options import (
    AMOUNT,
    FILE,
    LIMIT,
    account_option,
    amount_option,
    clear_errors,
    database_option,
    json_option,
    order_option,
    yes_option,
)
from host.cli.output import echo, print_json
from host.headend import card_log, orders
from host.headend.errors import SalesError, StoreError
from host.headend.orders import Sale, Sold, Till
from host.headend.store import Store
from host.rows import amount_fen as row_amount_fen
from host.rows import digits, read_rows, tell_troubles
from host.units import yuan
from host.words import _, marked, system_reason

REFERENCE_LIMIT = 64


@shown.command(
    epilog="""\b
Examples:
  dianka headend sell --db village.db --account 000000000001 --amount 50.00
  dianka headend sell --db village.db --account 1 --energy 100 --tariff tariffs/beijing.json
  dianka headend sell --db village.db --file sales.csv --out orders.csv
  dianka card issue --csv orders.csv --folder cards --db village.db
\b
A file of sales, each with a reference of your own, such as a receipt number:
  account,amount,reference
  000000000001,50.00,2026-07-0001
All of it is sold or nothing; what was sold under its reference before is not sold again.
"""
)
@database_option()
@account_option()
@amount_option()
@click.option(
    "--energy", "energy_kwh", type=KWH, help="Instead of --amount: kWh at today's prices."
)
@tariff_option
@click.option(
    "--file",
    "csv_path",
    type=FILE,
    help="Many sales: CSV with the columns account, amount, reference.",
)
@click.option(
    "--out",
    "out_path",
    type=FILE,
    help="With --file: write the orders here, for `dianka card issue --csv`.",
)
@click.option("--reference", help="Of your own: what was sold under it is not sold again.")
@till_options
@yes_option
@click.option("--new", is_flag=True, help="Sell although no concentrator has the account yet.")
@click.option("--approval", type=int, default=0, help="Of another person, above the limits.")
@json_option
def sell(
    db: str,
    account: str | None,
    amount_fen: int | None,
    energy_kwh: int | None,
    tariff_path: Path | None,
    csv_path: Path | None,
    out_path: Path | None,
    reference: str | None,
    till: Till,
    yes: bool,
    new: bool,
    approval: int,
    as_json: bool,
) -> None:
    """Note a sale and print its order number, to be written on a card; or many, from a file."""
    if approval and (csv_path is not None or reference is not None):
        raise click.UsageError(_("an approval is for one sale: leave --file and --reference out"))
    if energy_kwh is not None:
        if account is None or amount_fen is not None or csv_path is not None:
            raise click.UsageError(_("--energy takes the place of --amount, for one --account"))
        amount_fen = _price_fen(db, account, energy_kwh, tariff_path)
    if csv_path is not None and account is None and amount_fen is None:
        _sell_file(db, csv_path, out_path, till, new, yes, as_json)
        return
    if csv_path or out_path or account is None or amount_fen is None:
        raise click.UsageError(_("give --account and --amount, or --file with or without --out"))
    with opened(db) as store:
        if not new and not store.has_account(account):
            hint = _("check the number, or use --new if its meter is still to come")
            raise click.ClickException(
                _("no concentrator has account {account}: {hint}").format(
                    account=account, hint=hint
                )
            )
        if not approval:
            ask_above_limits(store, account, amount_fen, yes)
        before = False
        if reference is None:
            order = orders.sell(store, account, amount_fen, till, approval)
        else:
            order, before = _sell_once(store, account, amount_fen, reference, till)
        heads = [f"{head.log}:{head.lines}:{head.digest}" for head in card_log.heads(store)]
    if as_json:
        told = {"account": account, "order": order, "amount_fen": amount_fen, "log_heads": heads}
        if reference is not None:
            told |= {"reference": reference, "sold_before": before}
        print_json(told)
        return
    text = _("order {order} of account {account}: {amount_fen} yuan")
    if before:
        text = _("order {order} of account {account}: {amount_fen} yuan, it was sold before")
    echo(text.format(order=order, account=account, amount_fen=yuan(amount_fen)))
    for head in heads:
        echo(_("head of the log of cards: {head}").format(head=head))


def _price_fen(db: str, account: str, energy_kwh: int, tariff_path: Path | None) -> int:
    """Return what energy costs an account now, in fen; tell it as well."""
    if tariff_path is None:
        raise click.UsageError(_("--energy needs --tariff, the file of the account's tariff"))
    with opened(db, read_only=True) as store:
        place = place_of(store, account)
    fen = quotes.amount_fen_for(loaded(tariff_path), *place, energy_kwh * 1000)
    text = _("{energy} kWh cost {amount} yuan at today's prices, rounded up to a fen")
    echo(text.format(energy=energy_kwh, amount=yuan(fen)), err=True)
    return fen


def _sell_once(
    store: Store, account: str, amount_fen: int, reference: str, till: Till
) -> tuple[int, bool]:
    """Sell under a reference; return the order, and whether it was sold before."""
    try:
        check_reference(reference)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    try:
        sold = orders.sell_once(store, account, amount_fen, reference, till)
    except SalesError as error:
        raise click.ClickException("; ".join(error.troubles.values())) from error
    return sold.order, sold.before


def ask_above_limits(store: Store, account: str, amount_fen: int, yes: bool) -> None:
    """Ask before a large amount is sold, and refuse more than the station ever sells."""
    orders.check_limits(store, account, amount_fen)
    if amount_fen > orders.limits(store).question_fen and not yes:
        question = _("sell {amount} yuan to account {account}?").format(
            amount=yuan(amount_fen), account=account
        )
        if not click.confirm(question, err=True):
            raise click.ClickException(_("nothing is sold; --yes sells without the question"))


@shown.command(
    epilog="""\b
Examples:
  dianka headend limits --db village.db
  dianka headend limits --db village.db --question 500 --sale 5000 --day 10000
"""
)
@database_option()
@click.option("--question", "question_fen", type=LIMIT, help="Ask before a sale above this.")
@click.option("--sale", "limit_fen", type=AMOUNT, help="Refuse a sale above this.")
@click.option(
    "--day", "day_limit_fen", type=AMOUNT, help="Refuse more than this to one account in a day."
)
@json_option
def limits(
    db: str,
    question_fen: int | None,
    limit_fen: int | None,
    day_limit_fen: int | None,
    as_json: bool,
) -> None:
    """Show or set what is sold without a question, in one sale, and to one account in a day."""
    given = {
        "question_fen": question_fen,
        "limit_fen": limit_fen,
        "day_limit_fen": day_limit_fen,
    }
    changes = {name: fen for name, fen in given.items() if fen is not None}
    with opened(db, read_only=not changes) as store:
        held = orders.limits(store)
        if changes:
            held = replace(held, **changes)
            orders.set_limits(store, held)
    if as_json:
        print_json(asdict(held))
        return
    text = _("asked about above {question}, one sale at most {sale}, a day of an account {day}")
    echo(
        text.format(
            question=yuan(held.question_fen),
            sale=yuan(held.limit_fen),
            day=yuan(held.day_limit_fen),
        )
    )


@shown.command(
    epilog="""\b
Example:
  dianka headend void --db village.db --account 000000000001 --order 5 --reason "50, not 5000"
"""
)
@database_option()
@account_option(required=True)
@order_option(required=True)
@click.option("--reason", required=True, help="The reason, for an auditor.")
@click.option("--card-returned", is_flag=True, help="The card it was on is here, and stays.")
@till_options
@json_option
def void(
    db: str, account: str, order: int, reason: str, card_returned: bool, till: Till, as_json: bool
) -> None:
    """Take back a sale that is not redeemed; the next order supersedes it.

    Where a card holds it, that order is made at once, over no money. Until it has been inserted on
    a card, or a sale that takes its place, the old card still counts.
    """
    with opened(db) as store:
        gone = orders.void(store, account, order, reason, till, card_returned)
    if as_json:
        told = {"account": account, "order": order, "voided_fen": gone.amount_fen}
        print_json({**told, "superseded_by": gone.superseded_by or None})
        return
    echo(
        _("order {order} of account {account} over {amount_fen} yuan is taken back").format(
            order=order, account=account, amount_fen=yuan(gone.amount_fen)
        )
    )
    if gone.superseded_by:
        echo(_(_NOW_ON_A_CARD).format(order=gone.superseded_by), err=True)


_NOW_ON_A_CARD = marked(
    "its card still counts until order {order} has been inserted: put that on a card with `dianka "
    "card issue --db`, or sell another amount first, which takes its place"
)


@shown.command(
    epilog="""\b
Example:
  dianka headend refund --db village.db --account 000000000001 --amount 20.00
  dianka card issue --file card.bin --account 000000000001 --db village.db
"""
)
@database_option()
@account_option(required=True)
@amount_option("Yuan to pay back.", required=True, kind=LIMIT)
@till_options
@json_option
def refund(db: str, account: str, amount_fen: int, till: Till, as_json: bool) -> None:
    """Note a refund and print its order number, to be written on a card.

    The concentrator takes it off the account, and the card's mark, or the record that follows,
    says that it did: pay out then, not before. A refund that was not redeemed yet is changed to
    this amount under a new number that supersedes it; with 0 it is given up, and where it is on a
    card the new number has to be inserted all the same.
    """
    with opened(db) as store:
        try:
            order = orders.refund(store, account, amount_fen, till)
        except StoreError as error:
            raise click.ClickException(_("no refund: {error}").format(error=error)) from error
    if as_json:
        print_json({"account": account, "order": order or None, "amount_fen": -amount_fen})
    elif not order:
        echo(_("the refund of account {account} is given up").format(account=account))
    else:
        echo(
            _("order {order} of account {account}: {amount_fen} yuan to pay back").format(
                order=order, account=account, amount_fen=yuan(amount_fen)
            )
        )


def _sell_file(
    db: str,
    csv_path: Path,
    out_path: Path | None,
    till: Till,
    new: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Sell all rows of a file, or none of them."""
    key = (marked("reference"), lambda sale: sale.reference)
    with clear_errors():
        sales = read_rows(csv_path, ("account", "amount", "reference"), _sale, key)
    with opened(db) as store:
        _ask_of_all(store, list(sales.values()), yes)
        try:
            sold = orders.sell_all(store, list(sales.values()), new, till)
        except SalesError as error:
            lines = list(sales)
            troubles = {lines[place]: why for place, why in error.troubles.items()}
            text = tell_troubles(csv_path, troubles)
            raise click.ClickException(text) from error
    if out_path is not None:
        _write_orders(out_path, csv_path, sold)
    if as_json:
        print_json({"orders": [_sold_fields(one) for one in sold]})
        return
    fresh = [one.sale.amount_fen for one in sold if not one.before]
    echo(
        _("{fresh} orders sold for {money} yuan, {before} were sold before, {rows} rows").format(
            fresh=len(fresh),
            money=yuan(sum(fresh)),
            before=len(sold) - len(fresh),
            rows=len(sold),
        )
    )
    if out_path is not None and (homeless := sum(not one.meter for one in sold)):
        echo(
            _("{homeless} accounts have no meter yet: fill it in, in {out_path}").format(
                homeless=homeless, out_path=out_path
            )
        )


def _ask_of_all(store: Store, sales: list[Sale], yes: bool) -> None:
    """Ask before sales are made among which are large ones."""
    question_fen = orders.limits(store).question_fen
    large = [sale.amount_fen for sale in sales if sale.amount_fen > question_fen]
    if not large or yes:
        return
    question = _(
        "{count} of {all} sales are above {limit} yuan, {most} at most: sell all?"
    ).format(count=len(large), all=len(sales), limit=yuan(question_fen), most=yuan(max(large)))
    if not click.confirm(question, err=True):
        raise click.ClickException(_("nothing is sold; --yes sells without the question"))


def _sale(row: dict[str, str]) -> Sale:
    check_reference(row["reference"])
    return Sale(digits(row, "account"), row_amount_fen(row), row["reference"])


def check_reference(reference: str) -> None:
    if not 0 < len(reference) <= REFERENCE_LIMIT or not reference.isprintable():
        raise ValueError(
            _("reference {reference!r} has not 1 to {most} characters").format(
                reference=reference, most=REFERENCE_LIMIT
            )
        )


def _sold_fields(one: Sold) -> dict[str, Any]:
    return {
        "account": one.sale.account,
        "meter": one.meter or None,
        "order": one.order,
        "amount_fen": one.sale.amount_fen,
        "reference": one.sale.reference,
        "sold_before": one.before,
        "supersedes": one.supersedes or None,
    }


def _write_orders(out_path: Path, csv_path: Path, sold: list[Sold]) -> None:
    """Write the orders as `dianka card issue --csv` takes them."""
    try:
        with out_path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow((*ORDER_COLUMNS, SUPERSEDES))
            for one in sold:
                sale, first = one.sale, one.supersedes or ""
                writer.writerow((sale.account, one.meter, one.order, yuan(sale.amount_fen), first))
    except OSError as error:
        hint = _(
            "all of {csv_path} is sold; the same command with another --out sells nothing twice"
        ).format(csv_path=csv_path)
        raise click.ClickException(
            _("cannot write {out_path}: {strerror}; {hint}").format(
                out_path=out_path, strerror=system_reason(error), hint=hint
            )
        ) from error
