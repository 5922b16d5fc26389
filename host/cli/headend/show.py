"""`dianka headend show`, `items` and `reconcile`: what the database knows, for people."""

import re
from pathlib import Path
from typing import Any

import click

from host.cli.headend.database import opened
from host.cli.options import DAY_BEGIN, account_option, database_option, json_option
from host.cli.output import Column, echo, print_csv, print_json, print_table
from host.frames.items import Told, tell
from host.headend.items import StoredItem, stored_items
from host.headend.reconcile import RELAY_NAMES, Household, Reconciliation, households, reconcile
from host.units import kwh, to_datetime, yuan


@click.command(
    epilog="""\b
Example:
  dianka headend show --db village.db
"""
)
@database_option()
def show(db: Path) -> None:
    """Print a table of all households: money, energy, relay, readings."""
    with opened(db) as store:
        _print_households(households(store))


@click.command(
    "items",
    epilog="""\b
Examples:
  dianka headend items --db village.db --account 000000000001
  dianka headend items --db village.db --identifier 0201FF00 --since 2026-01-01 --all --csv
""",
)
@database_option()
@account_option("Only this account.")
@click.option("--identifier", help="Only this identifier, 8 digits, or 4 of a meter of 1997.")
@click.option("--since", "since_t2000", type=DAY_BEGIN, default=None, help="From this day on.")
@click.option("--all", "is_all", is_flag=True, help="Every answer, not the newest of each alone.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, one line a value.")
@json_option
def items_command(
    db: Path,
    account: str | None,
    identifier: str | None,
    since_t2000: int | None,
    is_all: bool,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Print what meters told beside their registers: status words, counts, voltages."""
    if as_csv and as_json:
        raise click.UsageError("give --csv or --json, not both")
    if identifier is not None:
        identifier = _identifier(identifier)
    with opened(db) as store:
        found = stored_items(store, account, identifier, since_t2000 or 0, not is_all)
    rows = [(one, tell(one.identifier, one.values)) for one in found]
    if as_json:
        print_json({"items": [_item_fields(*row) for row in rows]})
    elif as_csv:
        _print_items_csv(rows)
    elif rows:
        _print_items(rows)
    else:
        echo("no meter has told any: concentrators ask once a day, and once a week")


def _identifier(text: str) -> str:
    """An identifier as the database has it."""
    if not re.fullmatch("[0-9A-Fa-f]{4}|[0-9A-Fa-f]{8}", text):
        hint = "give 8 digits like 0201FF00, or 4 like B630; `docs/IDENTIFIERS.md` lists them"
        raise click.UsageError(f"--identifier {text}: {hint}")
    return text.upper().zfill(8)


def _item_fields(stored: StoredItem, told: Told) -> dict[str, Any]:
    return {
        "account": stored.account,
        "time": _time(stored.t2000),
        "identifier": told.di,
        "name_en": told.name_en,
        "name_zh": told.name_zh,
        "items": told.items,
    }


def _print_items_csv(rows: list[tuple[StoredItem, Told]]) -> None:
    lines: list[tuple[object, ...]] = []
    for stored, told in rows:
        head = (stored.account, _time(stored.t2000), told.di, told.name_en)
        for place, item in enumerate(told.items):
            flags = " | ".join(item.get("flags", ()))
            lines.append((*head, place, item["value"], item["unit"], flags))
    names = ("account", "time", "identifier", "name", "place", "value", "unit", "flags")
    print_csv(names, lines)


def _print_items(rows: list[tuple[StoredItem, Told]]) -> None:
    columns = (
        *map(Column, ("account", "time", "identifier")),
        *(Column(name, wraps=True) for name in ("name", "values")),
    )
    cells = []
    for stored, told in rows:
        words = " / ".join(_item_words(item) for item in told.items)
        cells.append((stored.account, _time(stored.t2000), told.di, told.name_en, words))
    print_table(columns, cells, title="What meters told")


def _item_words(item: dict[str, Any]) -> str:
    if "flags" in item:
        return ", ".join(item["flags"]) or "nothing set"
    return "-" if item["value"] is None else f"{item['value']} {item['unit']}".strip()


@click.command(
    "reconcile",
    epilog="""\b
Example:
  dianka headend reconcile --db village.db --json
""",
)
@database_option()
@json_option
def reconcile_command(db: Path, as_json: bool) -> None:
    """Compare orders, top-ups, charges, balances and readings; status 1 if anything differs."""
    with opened(db) as store:
        result = reconcile(store)
    if as_json:
        print_json(result.to_dict(), indent=2)
    else:
        _print_reconciliation(result)
    if not result.ok:
        raise click.exceptions.Exit(1)


def _print_households(found: list[Household]) -> None:
    money = (Column(name, right=True) for name in ("bought", "charged", "balance", "used kWh"))
    columns = (
        *(Column("account"), Column("meter"), *money, Column("relay")),
        *(Column("readings", right=True), Column("last reading")),
    )
    rows = [
        (
            one.account or "(unknown)",
            one.meter or "-",
            yuan(one.sold_fen),
            yuan(one.charged_fen),
            yuan(one.balance_fen),
            kwh(one.used_wh),
            RELAY_NAMES.get(one.relay, "?"),
            str(one.readings),
            "-" if one.last_t2000 is None else _time(one.last_t2000),
        )
        for one in found
    ]
    print_table(columns, rows, title="Households")


def summary(result: Reconciliation) -> list[str]:
    """The sums as sentences."""
    sold, charged = yuan(result.total("sold_fen")), yuan(result.total("charged_fen"))
    balance, unredeemed = (
        yuan(result.total("balance_fen")),
        yuan(result.total("unredeemed_fen")),
    )
    readings = f"{result.readings_taken} readings taken, {result.readings_stored} stored"
    return [
        f"sold {sold} = charged {charged} + balances {balance} + not yet redeemed {unredeemed}",
        f"orders: {result.orders_sold} sold, {result.orders_redeemed} redeemed",
        f"{readings}, duplicates {result.duplicates}",
        f"records: {result.records} stored, {result.records_lost} lost, "
        f"{result.records_let_go} let go",
    ]


def _print_reconciliation(result: Reconciliation) -> None:
    for line in summary(result):
        echo(line)
    for difference in result.differences:
        echo(f"difference: {difference}", color="red")
    if result.ok:
        echo("everything agrees, to the fen", color="green")
    else:
        echo(f"{len(result.differences)} differences", color="red", bold=True)


def _time(t2000: int) -> str:
    return str(to_datetime(t2000))
