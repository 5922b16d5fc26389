"""`dianka headend show`, `items` and `reconcile`: reports from the database for users."""

import re
from dataclasses import asdict
from typing import Any

import click

from host.cli import shown
from host.cli.headend.database import opened
from host.cli.headend.look import lists, print_list
from host.cli.options import DAY_BEGIN, account_option, database_option, json_option
from host.cli.output import Column, echo, print_csv, print_json, print_table
from host.frames.faults import fault_text
from host.frames.items import Told, tell
from host.headend import topology
from host.headend.items import StoredItem, stored_items
from host.headend.reconcile import RELAY_NAMES, Household, Reconciliation, households, reconcile
from host.units import kwh, to_datetime, yuan
from host.words import _, either


@shown.command(
    epilog="""\b
Examples:
  dianka headend show --db village.db
  dianka headend show --db village.db --concentrator 7 --csv
"""
)
@database_option()
@account_option("Only this account.")
@click.option("--concentrator", type=int, help="Only accounts of this concentrator.")
@lists
def show(
    db: str, account: str | None, concentrator: int | None, as_json: bool, as_csv: bool
) -> None:
    """Print all households: money, energy, relay, readings; status 1 if one is not billed.

    Supply meters are no households: `headend supply` lists them, and --account shows one.
    """
    with opened(db, read_only=True) as store:
        found = households(store, account, concentrator)
        if account is None:
            supplies = {one["account"] for one in topology.supplies(store)}
            found = [one for one in found if one.account not in supplies]
    if as_json or as_csv:
        rows = [asdict(one) for one in found]
        print_list("households", rows, (), as_json, as_csv, "")
    elif found:
        _print_households(found)
    else:
        echo(_("no household is known: nothing was sold, and no concentrator has been heard"))
    if any(one.stopped for one in found):
        raise click.exceptions.Exit(1)


@shown.command(
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
    db: str,
    account: str | None,
    identifier: str | None,
    since_t2000: int | None,
    is_all: bool,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Print what meters told beside their registers: status words, counts, voltages."""
    if as_csv and as_json:
        raise click.UsageError(_("give --csv or --json, not both"))
    if identifier is not None:
        identifier = _identifier(identifier)
    with opened(db, read_only=True) as store:
        found = stored_items(store, account, identifier, since_t2000 or 0, not is_all)
        if account and not found and not households(store, account, None):
            raise click.ClickException(
                _("account {account} is not known here: `dianka headend show` lists all").format(
                    account=account
                )
            )
    rows = [(one, tell(one.identifier, one.values)) for one in found]
    if as_json:
        print_json({"items": [_item_fields(*row) for row in rows]})
    elif as_csv:
        _print_items_csv(rows)
    elif rows:
        _print_items(rows)
    else:
        echo(_("no meter has told any: concentrators ask once a day, and once a week"))


def _identifier(text: str) -> str:
    """Return an identifier with 8 digits, as the database has it."""
    if not re.fullmatch("[0-9A-Fa-f]{4}|[0-9A-Fa-f]{8}", text):
        hint = _("give 8 digits like 0201FF00, or 4 like B630; `docs/IDENTIFIERS.md` lists them")
        raise click.UsageError(_("--identifier {text}: {hint}").format(text=text, hint=hint))
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
        *map(Column, (_("account"), _("time"), _("identifier"))),
        *(Column(name, wraps=True) for name in (_("name"), _("values"))),
    )
    cells = []
    for stored, told in rows:
        words = " / ".join(_item_words(item) for item in told.items)
        name = either(told.name_en, told.name_zh)
        cells.append((stored.account, _time(stored.t2000), told.di, name, words))
    print_table(columns, cells, title=_("What meters told"))


def _item_words(item: dict[str, Any]) -> str:
    if "flags" in item:
        return ", ".join(map(_, item["flags"])) or _("nothing set")
    return "-" if item["value"] is None else f"{item['value']} {item['unit']}".strip()


@shown.command(
    "reconcile",
    epilog="""\b
Example:
  dianka headend reconcile --db village.db --json
""",
)
@database_option()
@json_option
def reconcile_command(db: str, as_json: bool) -> None:
    """Compare orders, top-ups, charges, balances and readings.

    The status is 1 if a difference is open, and 2 if there is nothing to compare.
    """
    with opened(db, read_only=True) as store:
        result = reconcile(store)
    if as_json:
        print_json(result.to_dict(), indent=2)
    else:
        _print_reconciliation(result)
    if not result.ok:
        raise click.exceptions.Exit(1)
    if result.empty:
        raise click.exceptions.Exit(2)


def _print_households(found: list[Household]) -> None:
    money = (
        Column(name, right=True)
        for name in (_("bought"), _("charged"), _("balance"), _("used kWh"))
    )
    columns = (
        *(Column(_("account")), Column(_("meter")), *money, Column(_("relay"))),
        *(Column(_("readings"), right=True), Column(_("last reading"))),
        Column(_("billing"), wraps=True),
    )
    rows = [
        (
            one.account or _("(unknown)"),
            one.meter or "-",
            yuan(one.sold_fen),
            yuan(one.charged_fen),
            yuan(one.balance_fen),
            kwh(one.used_wh),
            _(RELAY_NAMES.get(one.relay, "?")),
            str(one.readings),
            "-" if one.last_t2000 is None else _time(one.last_t2000),
            _billing(one),
        )
        for one in found
    ]
    print_table(columns, rows, title=_("Households"))


def _billing(one: Household) -> str:
    """Return whether readings are believed and charged."""
    if one.stopped or one.doubt:
        said = _("stopped: {why}") if one.stopped else _("in doubt: {why}")
        return said.format(why=fault_text(one.doubt))
    return _("on")


def summary(result: Reconciliation) -> list[str]:
    """Return the sums as sentences."""
    sold, charged = yuan(result.total("sold_fen")), yuan(result.total("charged_fen"))
    balance, unredeemed = (
        yuan(result.total("balance_fen")),
        yuan(result.total("unredeemed_fen")),
    )
    corrected = result.total("corrected_fen")
    readings = _("{readings_taken} readings taken, {readings_stored} stored").format(
        readings_taken=result.readings_taken, readings_stored=result.readings_stored
    )
    sums = _(
        "sold {sold} = charged {charged} + balances {balance} + not yet redeemed {unredeemed}"
    )
    if corrected:
        sums = _(
            "sold {sold} + corrected {corrected} = charged {charged} + balances {balance} "
            "+ not yet redeemed {unredeemed}"
        )
    return [
        sums.format(
            sold=sold,
            corrected=yuan(corrected),
            charged=charged,
            balance=balance,
            unredeemed=unredeemed,
        ),
        _("orders: {orders_sold} sold, {orders_redeemed} redeemed").format(
            orders_sold=result.orders_sold, orders_redeemed=result.orders_redeemed
        ),
        _("{readings}, duplicates {duplicates}").format(
            readings=readings, duplicates=result.duplicates
        ),
        _("records: {records} stored, {records_lost} lost, {records_let_go} let go").format(
            records=result.records,
            records_lost=result.records_lost,
            records_let_go=result.records_let_go,
        ),
    ]


def _print_reconciliation(result: Reconciliation) -> None:
    for line in summary(result):
        echo(line)
    for difference in result.differences:
        echo(_("difference: {difference}").format(difference=difference), color="red")
    if result.settled:
        echo(_("{settled} findings are resolved").format(settled=result.settled))
    if result.notices:
        echo(_("{notices} notices: `dianka headend findings`").format(notices=result.notices))
    if result.empty:
        echo(_("there are no records and no orders: nothing was compared"), color="yellow")
    elif result.ok:
        echo(_("everything agrees, to the fen"), color="green")
    else:
        echo(
            _("{differences} differences: `dianka headend findings` resolves them").format(
                differences=len(result.differences)
            ),
            color="red",
            bold=True,
        )


def _time(t2000: int) -> str:
    return str(to_datetime(t2000))
