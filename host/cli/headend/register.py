"""`dianka headend register`: the customers, their accounts and meters, as lists."""

import re
from dataclasses import asdict
from pathlib import Path

import click

from host.cards.rows import digits, read_rows, tell_troubles
from host.cli import shown
from host.cli.headend.database import opened
from host.cli.headend.look import lists, print_list
from host.cli.options import FILE, clear_errors, database_option, yes_option
from host.cli.output import Column, echo, print_csv
from host.headend import registry
from host.headend.errors import SalesError
from host.headend.registry import Entry
from host.units import full_number
from host.words import _, marked

# Columns as lists of power companies call them.
_CHINESE = {
    "户号": "account",
    "客户编号": "customer",
    "户名": "name",
    "电话": "phone",
    "地址": "address",
    "人口": "persons",
    "用电类别": "kind",
    "信用等级": "credit_class",
    "台区": "district",
    "表号": "meter",
    "倍率": "multiplier",
}
_NEEDED = ("account", "name")
_KINDS = {"居民": "resident", "工商业": "business", "农业": "agriculture", "其他": "other"}
KINDS = tuple(_KINDS.values())
_SHOWN_LIMIT = 20


@shown.group(
    epilog="""\b
A list has a row for each account; only account and name must be there:
  account,customer,name,phone,address,persons,kind,credit_class,district,meter,multiplier
  000000000001,C-17,Wang Fang,13800000000,Village 3 No. 7,4,resident,,T-1,000000983764,1
\b
Examples:
  dianka headend register import customers.csv --db village.db
  dianka headend register export --db village.db > customers.csv
  dianka headend register compare marketing.csv --db village.db
  dianka headend register lines --db village.db --csv
"""
)
def register() -> None:
    """Keep who the customers are, which accounts they have and which meters are there."""


@register.command(
    "import",
    epilog="""\b
Example:
  dianka headend register import customers.csv --db village.db --yes
""",
)
@click.argument("path", type=FILE)
@database_option()
@yes_option
def import_command(path: Path, db: str, yes: bool) -> None:
    """Show what a list would change, then take all of it or nothing.

    Columns may have their Chinese names; UTF-8, UTF-16 and GB18030 are read.
    """
    entries = _read(path)
    with opened(db) as store:
        lines = list(entries)
        wanted = list(entries.values())
        try:
            seen = registry.preview(store, wanted)
        except SalesError as error:
            troubles = {lines[place]: why for place, why in error.troubles.items()}
            raise click.ClickException(tell_troubles(path, troubles)) from error
        for account, column, old, new in seen.changed[:_SHOWN_LIMIT]:
            text = _("account {account}: {column} {old!r} becomes {new!r}")
            echo(text.format(account=account, column=column, old=old, new=new))
        if len(seen.changed) > _SHOWN_LIMIT:
            echo(_("and {more} more").format(more=len(seen.changed) - _SHOWN_LIMIT))
        changed = len({account for account, *_rest in seen.changed})
        text = _("{new} accounts are new, {changed} change, {same} stay as they are")
        echo(text.format(new=seen.new, changed=changed, same=seen.same))
        if not seen.new and not changed:
            return
        if not yes and not click.confirm(_("take the list?"), err=True):
            raise click.ClickException(_("nothing was taken"))
        count = registry.take(store, wanted)
    echo(_("{count} accounts are in the register as the list has them").format(count=count))


@register.command(
    "export",
    epilog="""\b
Example:
  dianka headend register export --db village.db > customers.csv
""",
)
@database_option()
def export_command(db: str) -> None:
    """Print the register as CSV, as `import` takes it."""
    with opened(db, read_only=True) as store:
        rows = [asdict(one) for one in registry.entries(store)]
    print_csv(registry.COLUMNS, [[row[name] for name in registry.COLUMNS] for row in rows])


@register.command(
    "compare",
    epilog="""\b
Example:
  dianka headend register compare marketing.csv --db village.db --csv
""",
)
@click.argument("path", type=FILE)
@database_option()
@lists
def compare_command(path: Path, db: str, as_json: bool, as_csv: bool) -> None:
    """List how the register differs from a list of another system; status 1 if it does."""
    there = list(_read(path).values())
    with opened(db, read_only=True) as store:
        found = registry.compare(registry.entries(store), there)
    _print_differences(found, as_json, as_csv)


@register.command(
    "lines",
    epilog="""\b
Example:
  dianka headend register lines --db village.db --json
""",
)
@database_option()
@lists
def lines_command(db: str, as_json: bool, as_csv: bool) -> None:
    """List how the register differs from the meters of all concentrators; status 1 if it does."""
    with opened(db, read_only=True) as store:
        found = registry.compare_lines(store)
    _print_differences(found, as_json, as_csv)


def _print_differences(found: list[registry.Difference], as_json: bool, as_csv: bool) -> None:
    columns = (
        (Column(_("kind")), "kind"),
        (Column(_("account")), "account"),
        (Column(_("meter")), "meter"),
        (Column(_("in the register")), "here"),
        (Column(_("there")), "there"),
    )
    rows = [asdict(one) for one in found]
    print_list("differences", rows, columns, as_json, as_csv, _("both are the same"))
    if found:
        raise click.exceptions.Exit(1)


def _read(path: Path) -> dict[int, Entry]:
    """Return the entries of a list by line; a clear message names what is wrong."""
    key = (marked("account"), lambda entry: entry.account)
    rest = tuple(name for name in registry.COLUMNS if name not in _NEEDED)
    with clear_errors():
        return read_rows(path, _NEEDED, _entry, key, rest, _CHINESE)


def _entry(row: dict[str, str]) -> Entry:
    account = digits(row, "account")
    return Entry(
        account=account,
        customer=_text(row, "customer", 32) or account,
        name=_text(row, "name", 128, needed=True),
        phone=_phone(row["phone"]),
        address=_text(row, "address", 200),
        persons=_number(row, "persons", 0, 99),
        kind=_kind(row["kind"]),
        credit_class=_text(row, "credit_class", 16),
        district=_text(row, "district", 32),
        meter=full_number(row["meter"]) if row["meter"] else "",
        multiplier=_number(row, "multiplier", 1, 65535),
    )


def _text(row: dict[str, str], column: str, most: int, *, needed: bool = False) -> str:
    text = row[column]
    if len(text) > most or not text.isprintable() or (needed and not text):
        raise ValueError(
            _("{column} {text!r} has not {least} to {most} characters").format(
                column=column, text=text[:most], least=int(needed), most=most
            )
        )
    return text


def _phone(text: str) -> str:
    if not re.fullmatch(r"[0-9+() -]{0,32}", text):
        raise ValueError(_("phone {text!r} is no number of a telephone").format(text=text))
    return text


def _number(row: dict[str, str], column: str, least: int, most: int) -> int:
    text = row[column]
    if not text:
        return least
    if not re.fullmatch("[0-9]{1,5}", text) or not least <= int(text) <= most:
        raise ValueError(
            _("{column} {text!r} is no number from {least} to {most}").format(
                column=column, text=text, least=least, most=most
            )
        )
    return int(text)


def _kind(text: str) -> str:
    kind = _KINDS.get(text, text) or "resident"
    if kind not in _KINDS.values():
        raise ValueError(
            _("kind {text!r} is none of {kinds}").format(
                text=text, kinds=", ".join(_KINDS.values())
            )
        )
    return kind
