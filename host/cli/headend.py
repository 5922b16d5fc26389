"""`dianka headend`: receive and store what concentrators send, sell orders, reconcile."""

import asyncio
import csv
import io
import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from host.cards import keystore
from host.cards.batch import COLUMNS as ORDER_COLUMNS
from host.cards.rows import amount_fen as row_amount_fen
from host.cards.rows import digits, read_rows, tell_troubles
from host.cli.card_parts import (
    AMOUNT,
    DAY_BEGIN,
    DIGITS,
    LIMIT,
    clear_errors,
    json_option,
    passphrase,
)
from host.frames.items import Told, tell
from host.headend import keys
from host.headend.ingest import Ingest
from host.headend.items import StoredItem, stored_items
from host.headend.orders import standings
from host.headend.reconcile import Household, Reconciliation, households, reconcile
from host.headend.server import serve
from host.headend.store import Sale, SalesError, Sold, Store, StoreError
from host.link import console as link_console
from host.link.port import Port
from host.units import kwh, to_datetime, yuan

REFERENCE_LIMIT = 64
RELAY_NAMES = {None: "?", 0: "closed", 1: "open"}

_database = click.option(
    "--db",
    "path",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="SQLite database of the head-end.",
)


@click.group(
    epilog="""\b
Examples:
  dianka headend serve --db village.db --port 7645 --keys uplink.toml
  dianka headend sell --db village.db --account 000000000001 --amount 50.00
  dianka headend sell --db village.db --file sales.csv --out orders.csv
  dianka headend refund --db village.db --account 000000000001 --amount 20.00
  dianka headend show --db village.db
  dianka headend items --db village.db --account 000000000001
  dianka headend reconcile --db village.db --json
"""
)
def command() -> None:
    """Receive, store and acknowledge what concentrators send; sell; reconcile."""


@command.command(
    "serve",
    epilog="""\b
The key file is TOML, one line a concentrator:
  [uplink]
  7 = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
\b
Example:
  dianka headend serve --db village.db --port 7645 --keys uplink.toml
""",
)
@_database
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    default=7645,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="TCP port; 0 takes a free one, printed once it listens.",
)
@click.option(
    "--keys",
    "keys_path",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="File with each concentrator's key.",
)
def serve_command(path: Path, host: str, port: int, keys_path: Path) -> None:
    """Take records in over TCP, acknowledging each batch once it is committed."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        known = keys.load(keys_path)
    except keys.KeysError as error:
        raise click.ClickException(str(error)) from error
    with _opened(path, create=True) as store:
        ingest = Ingest(store, known)
        try:
            asyncio.run(serve(ingest, host, port, _say_ready))
        except OSError as error:
            hint = "choose another --port, or stop what uses it"
            raise click.ClickException(
                f"cannot listen on {host}:{port}: {error}; {hint}"
            ) from error
        for name, count in sorted(ingest.counters.items()):
            click.echo(f"{name}: {count}")


def _say_ready(host: str, port: int) -> None:
    click.echo(f"listening on {host}:{port}")


@command.command(
    epilog="""\b
Examples:
  dianka headend sell --db village.db --account 000000000001 --amount 50.00
  dianka headend sell --db village.db --file sales.csv --out orders.csv
  dianka card issue --csv orders.csv --folder cards
\b
A file of sales, each with a reference of its maker's own, a receipt number say:
  account,amount,reference
  000000000001,50.00,2026-07-0001
All of it is sold or nothing; what was sold under its reference before is not sold again.
"""
)
@_database
@click.option("--account", help="Account number, 12 digits.")
@click.option("--amount", "amount_fen", type=AMOUNT, help="Yuan, with at most two decimals.")
@click.option(
    "--file",
    "csv_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Many sales: CSV with the columns account, amount, reference.",
)
@click.option(
    "--out",
    "out_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="With --file: write the orders here, for `dianka card issue --csv`.",
)
@click.option("--new", is_flag=True, help="Sell although no concentrator has the account yet.")
@json_option
def sell(
    path: Path,
    account: str | None,
    amount_fen: int | None,
    csv_path: Path | None,
    out_path: Path | None,
    new: bool,
    as_json: bool,
) -> None:
    """Note a sale and print its order number, to be written on a card; or many, from a file."""
    if csv_path is not None and account is None and amount_fen is None:
        _sell_file(path, csv_path, out_path, new, as_json)
        return
    if csv_path is not None or out_path is not None or account is None or amount_fen is None:
        raise click.UsageError("give --account and --amount, or --file with or without --out")
    if not re.fullmatch("[0-9]{12}", account):
        raise click.UsageError(f"--account {account}: an account number has 12 digits")
    with _opened(path, create=new) as store:
        if not new and not store.has_account(account):
            hint = "check the number, or use --new if its meter is still to come"
            raise click.ClickException(f"no concentrator has account {account}: {hint}")
        order = store.sell(account, amount_fen)
    if as_json:
        click.echo(json.dumps({"account": account, "order": order, "amount_fen": amount_fen}))
    else:
        click.echo(f"order {order} of account {account}: {yuan(amount_fen)} yuan")


@command.command(
    epilog="""\b
Example:
  dianka headend refund --db village.db --account 000000000001 --amount 20.00
  dianka card issue --file card.bin --account 000000000001 --db village.db
"""
)
@_database
@click.option("--account", required=True, type=DIGITS, help="Account number, 12 digits.")
@click.option("--amount", "amount_fen", required=True, type=LIMIT, help="Yuan to pay back.")
@json_option
def refund(path: Path, account: str, amount_fen: int, as_json: bool) -> None:
    """Note a refund and print its order number, to be written on a card.

    The concentrator takes it off the account, and the card's mark, or the record that follows,
    says that it did: pay out then, not before. A refund that was not redeemed yet is changed to
    this amount; with 0 it is given up, and the card still has to be inserted.
    """
    with _opened(path) as store:
        try:
            order = store.refund(account, amount_fen)
        except StoreError as error:
            hint = "refund less, or redeem first what was bought"
            raise click.ClickException(f"no refund: {error}; {hint}") from error
    if as_json:
        click.echo(json.dumps({"account": account, "order": order, "amount_fen": -amount_fen}))
    else:
        click.echo(f"order {order} of account {account}: {yuan(amount_fen)} yuan to pay back")


def _sell_file(
    path: Path, csv_path: Path, out_path: Path | None, new: bool, as_json: bool
) -> None:
    """Sell all that a file lists, or nothing of it."""
    key = ("reference", lambda sale: sale.reference)
    with clear_errors():
        sales = read_rows(csv_path, ("account", "amount", "reference"), _sale, key)
    with _opened(path, create=new) as store:
        try:
            sold = store.sell_all(list(sales.values()), new)
        except SalesError as error:
            lines = list(sales)
            troubles = {lines[place]: why for place, why in error.troubles.items()}
            text = tell_troubles(csv_path, troubles)
            raise click.ClickException(text) from error
    if out_path is not None:
        _write_orders(out_path, csv_path, sold)
    if as_json:
        click.echo(json.dumps({"orders": [_sold_fields(one) for one in sold]}))
        return
    fresh = [one.sale.amount_fen for one in sold if not one.before]
    click.echo(
        f"{len(fresh)} orders sold for {yuan(sum(fresh))} yuan, "
        f"{len(sold) - len(fresh)} were sold before, {len(sold)} rows"
    )
    if out_path is not None and (homeless := sum(not one.meter for one in sold)):
        click.echo(f"{homeless} accounts have no meter yet: fill it in, in {out_path}")


def _sale(row: dict[str, str]) -> Sale:
    reference = row["reference"]
    if not 0 < len(reference) <= REFERENCE_LIMIT or not reference.isprintable():
        raise ValueError(f"reference {reference!r} has not 1 to {REFERENCE_LIMIT} characters")
    return Sale(digits(row, "account"), row_amount_fen(row), reference)


def _sold_fields(one: Sold) -> dict[str, Any]:
    return {
        "account": one.sale.account,
        "meter": one.meter or None,
        "order": one.order,
        "amount_fen": one.sale.amount_fen,
        "reference": one.sale.reference,
        "sold_before": one.before,
    }


def _write_orders(out_path: Path, csv_path: Path, sold: list[Sold]) -> None:
    """The orders as `dianka card issue --csv` takes them."""
    try:
        with out_path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(ORDER_COLUMNS)
            for one in sold:
                sale = one.sale
                writer.writerow((sale.account, one.meter, one.order, yuan(sale.amount_fen)))
    except OSError as error:
        hint = (
            f"all of {csv_path} is sold; the same command with another --out sells nothing twice"
        )
        raise click.ClickException(f"cannot write {out_path}: {error.strerror}; {hint}") from error


@command.command(
    epilog="""\b
Example:
  dianka headend show --db village.db
"""
)
@_database
def show(path: Path) -> None:
    """Print a table of all households: money, energy, relay, readings."""
    with _opened(path) as store:
        Console().print(household_table(households(store)))


@command.command(
    "items",
    epilog="""\b
Examples:
  dianka headend items --db village.db --account 000000000001
  dianka headend items --db village.db --identifier 0201FF00 --since 2026-01-01 --all --csv
""",
)
@_database
@click.option("--account", type=DIGITS, help="Only this account.")
@click.option("--identifier", help="Only this identifier, 8 digits, or 4 of a meter of 1997.")
@click.option("--since", "since_t2000", type=DAY_BEGIN, default=None, help="From this day on.")
@click.option("--all", "is_all", is_flag=True, help="Every answer, not the newest of each alone.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV, one line a value.")
@json_option
def items_command(
    path: Path,
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
    with _opened(path) as store:
        found = stored_items(store, account, identifier, since_t2000 or 0, not is_all)
    rows = [(one, tell(one.identifier, one.values)) for one in found]
    if as_json:
        click.echo(json.dumps({"items": [_item_fields(*row) for row in rows]}, ensure_ascii=False))
    elif as_csv:
        _print_items_csv(rows)
    elif rows:
        Console().print(_item_table(rows))
    else:
        click.echo("no meter has told any: concentrators ask once a day, and once a week")


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
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("account", "time", "identifier", "name", "place", "value", "unit", "flags"))
    for stored, told in rows:
        head = (stored.account, _time(stored.t2000), told.di, told.name_en)
        for place, item in enumerate(told.items):
            flags = " | ".join(item.get("flags", ()))
            writer.writerow((*head, place, item["value"], item["unit"], flags))
    click.echo(text.getvalue(), nl=False)


def _item_table(rows: list[tuple[StoredItem, Told]]) -> Table:
    table = Table(title="What meters told")
    table.add_column("account", no_wrap=True)
    table.add_column("time", no_wrap=True)
    table.add_column("identifier", no_wrap=True)
    table.add_column("name")
    table.add_column("values")
    for stored, told in rows:
        words = " / ".join(_item_words(item) for item in told.items)
        table.add_row(stored.account, _time(stored.t2000), told.di, told.name_en, words)
    return table


def _item_words(item: dict[str, Any]) -> str:
    if "flags" in item:
        return ", ".join(item["flags"]) or "nothing set"
    return "-" if item["value"] is None else f"{item['value']} {item['unit']}".strip()


@command.command(
    "restore",
    epilog="""\b
Example:
  dianka headend restore --db village.db --concentrator 7 --port /dev/ttyUSB0
""",
)
@_database
@click.option("--concentrator", required=True, type=int, help="Number of the concentrator.")
@click.option("--port", required=True, help="Its console: /dev/ttyUSB0, or socket://HOST:PORT.")
@click.option(
    "--keys",
    "keys_path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Log in with the console key of this key file.",
)
def restore_command(path: Path, concentrator: int, port: str, keys_path: Path | None) -> None:
    """Tell a replaced concentrator each account's newest order and money; then it takes cards."""
    with _opened(path) as store:
        known = standings(store, concentrator)
    if not known:
        raise click.ClickException(f"{path} knows no top-ups of concentrator {concentrator}")
    with clear_errors(), Port(port) as line:
        console = link_console.Console(line)
        if keys_path is not None:
            console.login(keystore.load(keys_path, passphrase).console_key)
        for one in known:
            console.command(f"account restore {one.account} {one.order} {one.credit_fen}")
        console.command("restored")
    click.echo(f"{len(known)} accounts restored, cards are taken again")


@command.command(
    "reconcile",
    epilog="""\b
Example:
  dianka headend reconcile --db village.db --json
""",
)
@_database
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def reconcile_command(path: Path, as_json: bool) -> None:
    """Compare orders, top-ups, charges, balances and readings; status 1 if anything differs."""
    with _opened(path) as store:
        result = reconcile(store)
    if as_json:
        click.echo(json.dumps(result.to_dict(), indent=2))
    else:
        _print_reconciliation(result)
    if not result.ok:
        raise click.exceptions.Exit(1)


def household_table(rows: list[Household]) -> Table:
    """The households as a table for people."""
    table = Table(title="Households")
    table.add_column("account", no_wrap=True)
    table.add_column("meter", no_wrap=True)
    for name in ("bought", "charged", "balance", "used kWh"):
        table.add_column(name, justify="right")
    table.add_column("relay")
    table.add_column("readings", justify="right")
    table.add_column("last reading", no_wrap=True)
    for one in rows:
        table.add_row(
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
    return table


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
        f"records: {result.records} stored, {result.records_lost} lost",
    ]


def _print_reconciliation(result: Reconciliation) -> None:
    for line in summary(result):
        click.echo(line)
    for difference in result.differences:
        click.secho(f"difference: {difference}", fg="red")
    if result.ok:
        click.secho("everything agrees, to the fen", fg="green")
    else:
        click.secho(f"{len(result.differences)} differences", fg="red", bold=True)


def _time(t2000: int) -> str:
    return str(to_datetime(t2000))


@contextmanager
def _opened(path: Path, create: bool = False) -> Iterator[Store]:
    """The database at `path`; a clear message where there is none."""
    if not create and not path.exists():
        hint = "`dianka headend serve` makes one"
        raise click.ClickException(f"there is no database {path}; {hint}")
    try:
        with Store(path) as store:
            yield store
    except StoreError as error:
        raise click.ClickException(str(error)) from error
