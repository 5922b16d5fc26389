"""`dianka headend register`: the customers, their accounts and meters, as lists."""

from dataclasses import asdict
from datetime import date, datetime
from pathlib import Path

import click

from host.cli import shown
from host.cli.headend.database import opened
from host.cli.headend.look import DATE, print_list
from host.cli.headend.look import lists as list_options
from host.cli.options import FILE, clear_errors, database_option, yes_option
from host.cli.output import Column, echo, print_csv
from host.headend import lists, persons, registry
from host.headend.errors import SalesError
from host.headend.registry import Entry
from host.rows import tell_troubles
from host.words import _

_SHOWN_LIMIT = 20


@shown.group(
    epilog="""\b
A list has a row for each account; only account and name must be there:
  account,customer,name,phone,address,persons,kind,credit_class,district,meter,multiplier
  000000000001,C-17,Wang Fang,13800000000,Village 3 No. 7,4,resident,,T-1,000000983764,1
A meter's own columns, where an empty cell leaves what is known:
  ct,pt,type,manufacturer,installed,verified,due,exchange_due
  200/5,1,DTZ341,Hongye,2024-05-01,2024-04-20,2032-04-20,2034-05-01
The column tariff has the number of the price that an account is to have: what its
concentrator charges by is held against it, and never changed by it.
\b
Examples:
  dianka headend register import customers.csv --db village.db
  dianka headend register export --db village.db > customers.csv
  dianka headend register compare marketing.csv --db village.db
  dianka headend register lines --db village.db --csv
  dianka headend register due --db village.db --until 2027-01-01
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
    entries = _listed(path)
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
    with opened(db) as store:
        rows = [asdict(one) for one in registry.entries(store)]
        persons.note_register_taken(store, len(rows))
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
@list_options
def compare_command(path: Path, db: str, as_json: bool, as_csv: bool) -> None:
    """List how the register differs from a list of another system; status 1 if it does."""
    there = list(_listed(path).values())
    with opened(db, read_only=True) as store:
        found = registry.compare(registry.entries(store, priced=True), there)
    _print_differences(found, as_json, as_csv)


@register.command(
    "lines",
    epilog="""\b
Example:
  dianka headend register lines --db village.db --json
""",
)
@database_option()
@list_options
def lines_command(db: str, as_json: bool, as_csv: bool) -> None:
    """List how the register differs from the meters of all concentrators; status 1 if it does."""
    with opened(db, read_only=True) as store:
        found = registry.compare_lines(store)
    _print_differences(found, as_json, as_csv)


@register.command(
    "due",
    epilog="""\b
Examples:
  dianka headend register due --db village.db
  dianka headend register due --db village.db --until 2027-01-01 --csv
""",
)
@database_option()
@click.option("--until", type=DATE, help="Up to which day.  [default: today at the station]")
@click.option("--transformer", "district", default="", help="Only meters that it feeds.")
@click.option("--type", "kind", default="", help="Only meters of this type.")
@list_options
def due_command(
    db: str, until: date | None, district: str, kind: str, as_json: bool, as_csv: bool
) -> None:
    """List meters that are to be verified or exchanged up to a day."""
    with opened(db, read_only=True) as store:
        day = until or datetime.now(store.zone()).date()
        rows = registry.due(store, day, district, kind)
    columns = (
        (Column(_("due")), "due"),
        (Column(_("what")), "what"),
        (Column(_("meter")), "meter"),
        (Column(_("account")), "account"),
        (Column(_("name")), "name"),
        (Column(_("type")), "type"),
        (Column(_("district")), "district"),
        (Column(_("verified")), "verified"),
    )
    print_list("due", rows, columns, as_json, as_csv, _("no meter is due"))


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


def _listed(path: Path) -> dict[int, Entry]:
    with clear_errors():
        return lists.read(path)
