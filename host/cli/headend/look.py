"""`dianka headend concentrators`, `findings`, `orders` and `day`: lists for users."""

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import click

from host.cli import shown
from host.cli.headend.database import opened
from host.cli.options import (
    Command,
    account_argument,
    account_option,
    database_option,
    json_option,
)
from host.cli.output import Column, echo, print_csv, print_json, print_table
from host.headend import findings as found_here
from host.headend.orders import day_of, orders_of
from host.headend.store import Store
from host.units import to_datetime, yuan
from host.words import _

csv_option = click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")


def lists(function: Command) -> Command:
    """Give the command `as_json` and `as_csv`."""
    return json_option(csv_option(function))


def print_list(
    name: str,
    rows: Sequence[dict[str, Any]],
    columns: Sequence[tuple[Column, str]],
    as_json: bool,
    as_csv: bool,
    empty: str,
) -> None:
    """Print rows as JSON, as CSV with all columns, or as a table of some columns."""
    if as_json and as_csv:
        raise click.UsageError(_("give --csv or --json, not both"))
    if as_json:
        print_json({name: rows})
    elif as_csv:
        names = list(rows[0]) if rows else [key for _column, key in columns]
        print_csv(names, [[row[key] for key in names] for row in rows])
    elif rows:
        cells = [[_cell(key, row[key]) for _column, key in columns] for row in rows]
        print_table([column for column, _key in columns], cells)
    else:
        echo(empty)


def _cell(key: str, value: Any) -> str:
    if value is None:
        return "-"
    if key == "kind":
        return _(value)
    return yuan(value) if key.endswith("_fen") else str(value)


def _local(at: int | None, zone: ZoneInfo) -> str | None:
    """Return a moment on the station's clock."""
    return None if at is None else datetime.fromtimestamp(at, zone).strftime("%Y-%m-%d %H:%M:%S")


def localised(rows: list[dict[str, Any]], zone: ZoneInfo) -> list[dict[str, Any]]:
    """Return rows whose moments are texts on the station's clock."""
    for row in rows:
        for key in [one for one in row if one.endswith("_at")]:
            row[key] = _local(row[key], zone)
        for key in [one for one in row if one.endswith("_t2000")]:
            value = row.pop(key)
            row[key.removesuffix("_t2000")] = None if value is None else str(to_datetime(value))
    return rows


@shown.command(
    epilog="""\b
Examples:
  dianka headend concentrators --db village.db
  dianka headend concentrators --db village.db --json
"""
)
@database_option()
@lists
def concentrators(db: str, as_json: bool, as_csv: bool) -> None:
    """List who has been heard when, how far behind it is, and why it was refused."""
    with opened(db, read_only=True) as store:
        rows = localised(
            store.rows("SELECT * FROM concentrators ORDER BY concentrator"), store.zone()
        )
    for row in rows:
        row["behind"] = max(0, row["next_seq"] - 1 - row["acked_seq"])
        row["standing_due"] = bool(row.pop("wanted_seq"))
    columns = (
        (Column(_("concentrator"), right=True), "concentrator"),
        (Column(_("last heard")), "seen_at"),
        (Column(_("last records")), "received_at"),
        (Column(_("address")), "address"),
        (Column(_("records"), right=True), "acked_seq"),
        (Column(_("behind"), right=True), "behind"),
        (Column(_("refused"), wraps=True), "refused"),
    )
    empty = _("no concentrator has been heard")
    print_list("concentrators", rows, columns, as_json, as_csv, empty)


@shown.command(
    epilog="""\b
Examples:
  dianka headend findings --db village.db
  dianka headend findings --db village.db --resolve 12 --by Li --reason "meter exchanged"
"""
)
@database_option()
@click.option("--all", "closed", is_flag=True, help="Also those that were resolved.")
@click.option("--kind", type=click.Choice(found_here.KINDS), help="Only this kind.")
@account_option("Only this account.")
@click.option("--concentrator", type=int, help="Only those of this concentrator.")
@click.option("--resolve", "number", help="Close the finding of this number.")
@click.option("--by", help="With --resolve: who has looked.")
@click.option("--reason", help="With --resolve: why it is well.")
@lists
def findings(
    db: str,
    closed: bool,
    kind: str | None,
    account: str | None,
    concentrator: int | None,
    number: str | None,
    by: str | None,
    reason: str | None,
    as_json: bool,
    as_csv: bool,
) -> None:
    """List what does not fit together, or close what was looked at; status 1 if any is open."""
    if number is not None:
        if not by or not reason:
            raise click.UsageError(_("give --by and --reason, so that an auditor finds them"))
        with opened(db) as store:
            found_here.resolve(store, number, by, reason)
        echo(_("finding {number} is closed").format(number=number))
        return
    with opened(db, read_only=True) as store:
        rows = found_here.findings(
            store, closed=closed, kind=kind, account=account, concentrator=concentrator
        )
        localised(rows, store.zone())
    columns = (
        (Column(_("number")), "number"),
        (Column(_("kind")), "kind"),
        (Column(_("found")), "found_at"),
        (Column(_("concentrator"), right=True), "concentrator"),
        (Column(_("what"), wraps=True), "what"),
        (Column(_("closed by")), "resolved_by"),
        (Column(_("reason"), wraps=True), "resolution"),
    )
    print_list("findings", rows, columns, as_json, as_csv, _("there is no finding"))
    if any(row["resolved_at"] is None for row in rows):
        raise click.exceptions.Exit(1)


@shown.command(
    "orders",
    epilog="""\b
Example:
  dianka headend orders 000000000001 --db village.db --json
""",
)
@account_argument
@database_option()
@lists
def orders_command(account: str, db: str, as_json: bool, as_csv: bool) -> None:
    """List the orders of an account, and what became of each."""
    with opened(db, read_only=True) as store:
        rows = localised(orders_of(store, account), store.zone())
    columns = (
        (Column(_("order"), right=True), "order"),
        (Column(_("yuan"), right=True), "amount_fen"),
        (Column(_("sold")), "sold_at"),
        (Column(_("cashier")), "cashier"),
        (Column(_("reference")), "reference"),
        (Column(_("redeemed")), "redeemed"),
        (Column(_("taken back")), "voided_at"),
        (Column(_("why"), wraps=True), "void_reason"),
    )
    empty = _("account {account} has bought nothing").format(account=account)
    print_list("orders", rows, columns, as_json, as_csv, empty)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise click.BadParameter(
            _("{text}: give a day as YYYY-MM-DD").format(text=text)
        ) from error


_DAY = click.types.FuncParamType(_day)
_DAY.name = "day"


@shown.command(
    epilog="""\b
Example:
  dianka headend day --db village.db --date 2026-07-01
"""
)
@database_option()
@click.option("--date", "on", type=_DAY, help="Which day.  [default: today at the station]")
@lists
def day(db: str, on: date | None, as_json: bool, as_csv: bool) -> None:
    """List what each cashier sold, paid back and took back in a day, by channel."""
    with opened(db, read_only=True) as store:
        rows = _of_day(store, on)
    columns = (
        (Column(_("cashier")), "cashier"),
        (Column(_("channel")), "channel"),
        (Column(_("sales"), right=True), "sales"),
        (Column(_("yuan"), right=True), "sold_fen"),
        (Column(_("refunds"), right=True), "refunds"),
        (Column(_("yuan"), right=True), "refunded_fen"),
        (Column(_("taken back"), right=True), "voids"),
        (Column(_("yuan"), right=True), "voided_fen"),
    )
    print_list("day", rows, columns, as_json, as_csv, _("nothing was sold on that day"))


def _of_day(store: Store, on: date | None) -> list[dict[str, Any]]:
    zone = store.zone()
    begins = datetime.combine(on or datetime.now(zone).date(), time(), zone)
    ends = datetime.combine(begins.date() + timedelta(days=1), time(), zone)
    return day_of(store, int(begins.timestamp()), int(ends.timestamp()))
