"""`dianka headend concentrators`, `findings`, `orders`, `history` and `day`: lists for users."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from time import time as now
from typing import Any
from zoneinfo import ZoneInfo

import click

from host.cli import shown
from host.cli.headend.database import opened
from host.cli.options import (
    DAY,
    DAY_BEGIN,
    Command,
    account_argument,
    account_option,
    database_option,
    json_option,
)
from host.cli.output import Column, echo, print_csv, print_json, print_table
from host.headend import findings as found_here
from host.headend.history import cell_text, detail_text
from host.headend.history import history as history_of
from host.headend.orders import day_of, orders_of, sales_of
from host.headend.refusals import refusals
from host.units import to_datetime, yuan
from host.words import _, marked

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
        cells = [[cell_text(key, row[key]) for _column, key in columns] for row in rows]
        named = [replace(column, name=_(column.name)) for column, _key in columns]
        print_table(named, cells)
    else:
        echo(empty)


def _local(at: int | None, zone: ZoneInfo) -> str | None:
    """Return a moment on the station's clock."""
    return None if at is None else datetime.fromtimestamp(at, zone).strftime("%Y-%m-%d %H:%M:%S")


def localised(rows: list[dict[str, Any]], zone: ZoneInfo) -> list[dict[str, Any]]:
    """Return rows whose moments are texts on the station's clock."""
    for row in rows:
        for key in [one for one in row if one.endswith("_at")]:
            row[key] = _local(row[key], zone)
        for key in [one for one in row if one.endswith("t2000")]:
            value = row.pop(key)
            name = key.removesuffix("t2000").removesuffix("_") or "time"
            row[name] = None if value is None else str(to_datetime(value))
    return rows


# Numbers that only refused messages claimed, with no value in every other column.
_NEVER_HEARD = """
    SELECT heard.*, told.concentrator FROM (SELECT DISTINCT concentrator FROM refusals) AS told
    LEFT JOIN concentrators AS heard ON heard.concentrator = told.concentrator
    WHERE heard.concentrator IS NULL ORDER BY told.concentrator
"""
_REFUSED_FOR = {
    "bad_mac": marked("wrong key"),
    "unknown_concentrator": marked("no key here"),
    "other_journal": marked("other journal"),
    "withdrawn": marked("key withdrawn"),
    "bad_version": marked("other version"),
    "version": marked("other version"),
    "stale": marked("old message"),
    "malformed": marked("malformed"),
    "conflict": marked("conflict"),
    "other_part": marked("other part"),
}


def _refusal_text(told: dict[str, Any]) -> str:
    """Return why messages were refused, how often, and when and from where the last one came."""
    return _("{why} ({count} times, last {at} from {address})").format(
        why=_(_REFUSED_FOR.get(told["reason"], told["reason"])),
        count=told["count"],
        at=told["last_at"],
        address=told["address"],
    )


@shown.command(
    epilog="""\b
Examples:
  dianka headend concentrators --db village.db
  dianka headend concentrators --db village.db --silent 2 --json
"""
)
@database_option()
@click.option("--concentrator", type=int, help="Only this one.")
@click.option("--silent", type=click.IntRange(0), help="Only those not heard for so many hours.")
@lists
def concentrators(
    db: str, concentrator: int | None, silent: int | None, as_json: bool, as_csv: bool
) -> None:
    """List who has been heard when, how far behind it is, and why it was refused.

    Below them are numbers under which nothing genuine ever came: they have no key, or the wrong
    one.
    """
    heard_since = None if silent is None else int(now()) - silent * 3600
    with opened(db, read_only=True) as store:
        rows = [
            row
            for row in [
                *store.rows("SELECT * FROM concentrators ORDER BY concentrator"),
                *store.rows(_NEVER_HEARD),
            ]
            if concentrator in (None, row["concentrator"])
            and (heard_since is None or (row["seen_at"] or 0) <= heard_since)
        ]
        zone, refused = store.zone(), refusals(store)
    for row in localised(rows, zone):
        own = localised(refused.get(row["concentrator"], []), zone)
        row["refusals"] = own if as_json else "; ".join(map(_refusal_text, own))
        row["behind"] = max(0, (row["next_seq"] or 1) - 1 - (row["acked_seq"] or 0))
        row["standing_due"] = bool(row.pop("wanted_seq"))
    columns = (
        (Column(_("concentrator"), right=True), "concentrator"),
        (Column(_("last heard")), "seen_at"),
        (Column(_("last records")), "received_at"),
        (Column(_("address")), "address"),
        (Column(_("firmware")), "firmware"),
        (Column(_("clock, s"), right=True), "clock_offset_s"),
        (Column(_("journal")), "journal"),
        (Column(_("records"), right=True), "acked_seq"),
        (Column(_("behind"), right=True), "behind"),
        (Column(_("refused"), wraps=True), "refused"),
        (Column(_("refusals"), wraps=True), "refusals"),
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
        (Column(_("in place of"), right=True), "supersedes"),
        (Column(_("on a card")), "carded_at"),
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


DATE = click.types.FuncParamType(_day)
DATE.name = "day"


_SUMS = (
    (Column(marked("cashier")), "cashier"),
    (Column(marked("channel")), "channel"),
    (Column(marked("sales"), right=True), "sales"),
    (Column(marked("yuan"), right=True), "sold_fen"),
    (Column(marked("taken back"), right=True), "voids"),
    (Column(marked("yuan"), right=True), "voided_fen"),
    (Column(marked("taken, yuan"), right=True), "taken_fen"),
    (Column(marked("refunds"), right=True), "refunds"),
    (Column(marked("yuan"), right=True), "refunded_fen"),
)
_EACH = (
    (Column(marked("sold")), "sold_at"),
    (Column(marked("cashier")), "cashier"),
    (Column(marked("channel")), "channel"),
    (Column(marked("account")), "account"),
    (Column(marked("order"), right=True), "order"),
    (Column(marked("yuan"), right=True), "amount_fen"),
    (Column(marked("reference")), "reference"),
    (Column(marked("taken back")), "voided_at"),
    (Column(marked("why"), wraps=True), "void_reason"),
)


@shown.command(
    epilog="""\b
Examples:
  dianka headend day --db village.db --date 2026-07-01
  dianka headend day --db village.db --cashier Li --each --csv
"""
)
@database_option()
@click.option("--date", "on", type=DATE, help="Which day.  [default: today at the station]")
@click.option("--cashier", help="Only this cashier.")
@click.option("--channel", help="Only this channel.")
@click.option("--each", is_flag=True, help="List each sale, not the sums.")
@lists
def day(
    db: str,
    on: date | None,
    cashier: str | None,
    channel: str | None,
    each: bool,
    as_json: bool,
    as_csv: bool,
) -> None:
    """List what each cashier sold, paid back and took back in a day, by channel."""
    with opened(db, read_only=True) as store:
        zone = store.zone()
        begins = datetime.combine(on or datetime.now(zone).date(), time(), zone)
        ends = datetime.combine(begins.date() + timedelta(days=1), time(), zone)
        span = (int(begins.timestamp()), int(ends.timestamp()))
        rows = sales_of(store, *span) if each else day_of(store, *span)
    rows = [
        row
        for row in localised(rows, zone)
        if cashier in (None, row["cashier"]) and channel in (None, row["channel"])
    ]
    empty = _("nothing was sold on that day")
    print_list("day", rows, _EACH if each else _SUMS, as_json, as_csv, empty)
    if not as_json and not as_csv and not each and rows:
        taken = _("{count} cashiers and channels, {taken} yuan taken, {refunded} to pay back")
        sums = {name: sum(row[name] for row in rows) for name in ("taken_fen", "refunded_fen")}
        echo(
            taken.format(
                count=len(rows),
                taken=yuan(sums["taken_fen"]),
                refunded=yuan(sums["refunded_fen"]),
            )
        )


@shown.command(
    epilog="""\b
Examples:
  dianka headend history 000000000001 --db village.db
  dianka headend history 1 --db village.db --since 2026-07-01 --readings --csv
"""
)
@account_argument
@database_option()
@click.option("--since", "since_t2000", type=DAY_BEGIN, help="From this day on.")
@click.option("--until", "until_t2000", type=DAY, help="Up to this day.")
@click.option("--readings", is_flag=True, help="Also all that meters told.")
@lists
def history(
    account: str,
    db: str,
    since_t2000: int | None,
    until_t2000: int | None,
    readings: bool,
    as_json: bool,
    as_csv: bool,
) -> None:
    """List what happened to an account, by time, with the record behind each event."""
    since_t2000 = since_t2000 or 0
    until_t2000 = 1 << 32 if until_t2000 is None else until_t2000 + 1
    with opened(db, read_only=True) as store:
        rows = localised(
            history_of(store, account, since_t2000, until_t2000, readings=readings), store.zone()
        )
    for row in rows:
        told = row["detail"]
        if not as_json:
            row["detail"] = detail_text(told, as_csv)
        row["account"] = account
    columns = (
        (Column(_("time")), "time"),
        (Column(_("what")), "what"),
        (Column(_("yuan"), right=True), "amount_fen"),
        (Column(_("record"), right=True), "seq"),
        (Column(_("detail"), wraps=True), "detail"),
    )
    empty = _("nothing is known of account {account}").format(account=account)
    print_list("history", rows, columns, as_json, as_csv, empty)
