"""`dianka headend person`: what is kept of persons and how long, export and erasure of one."""

from pathlib import Path

import click

from host import secret_files
from host.cli import shown
from host.cli.headend.account import printable
from host.cli.headend.database import opened
from host.cli.headend.look import lists, localised, print_list
from host.cli.options import FILE, Command, account_option, database_option
from host.cli.output import Column, echo
from host.headend import persons, retention
from host.words import _, system_reason

_by = click.option("--by", required=True, callback=printable(64), help="Name of who does it.")
_reason = click.option("--reason", required=True, callback=printable(200), help="Why, in words.")


def _who(function: Command) -> Command:
    """Give the command `customer` and `account`."""
    option = click.option(
        "--customer", default="", callback=printable(32), help="Number of the customer."
    )
    given: Command = option(account_option("An account that the person has now.")(function))
    return given


@shown.group(
    epilog="""\b
Examples:
  dianka headend person kept --db village.db
  dianka headend person show --account 1 --db village.db
  dianka headend person erase --customer C-1 --by Li --reason "asked for it" --db village.db
"""
)
def person() -> None:
    """See what is kept of persons and why, export all of one person, or erase it."""


@person.command(
    "kept",
    epilog="""\b
Example:
  dianka headend person kept --db village.db
""",
)
@database_option()
@lists
def kept_command(db: str, as_json: bool, as_csv: bool) -> None:
    """List each kind of personal data: what it is, why it is kept, and for how many days."""
    with opened(db, read_only=True) as store:
        found = retention.kept(store)
    rows = [
        {
            "kind": one.kind.name,
            "days": one.days,
            "holds": _(one.kind.holds),
            "why": _(one.kind.why),
            "since": _(one.kind.since),
        }
        for one in found
    ]
    if not as_json and not as_csv:
        for row in rows:
            row["days"] = row["days"] or _("for good")
    columns = (
        (Column(_("kind")), "kind"),
        (Column(_("days"), right=True), "days"),
        (Column(_("what is kept"), wraps=True), "holds"),
        (Column(_("why"), wraps=True), "why"),
        (Column(_("since when"), wraps=True), "since"),
    )
    print_list("kept", rows, columns, as_json, as_csv, _("there is none"))


@person.command(
    "keep",
    epilog="""\b
Example:
  dianka headend person keep notices --days 180 --by Li --reason "it is enough" --db village.db
""",
)
@click.argument("kind", type=click.Choice(retention.CHANGED))
@click.option(
    "--days",
    required=True,
    type=click.IntRange(0, retention.MOST_DAYS),
    help="For how many days; 0 keeps readings and midnights for good.",
)
@_by
@_reason
@database_option()
def keep_command(kind: str, days: int, by: str, reason: str, db: str) -> None:
    """Keep a kind of personal data for another number of days."""
    with opened(db) as store:
        retention.set_retention(store, kind, days, by, reason)
    told = _("for good") if not days else _("{count} days").format(count=days)
    echo(_("{kind}: kept {told}").format(kind=_(kind), told=told))


@person.command(
    "show",
    epilog="""\b
Example:
  dianka headend person show --account 1 --db village.db
""",
)
@_who
@database_option()
@lists
def show_command(customer: str, account: str | None, db: str, as_json: bool, as_csv: bool) -> None:
    """Show which accounts a person had, and how much is held; the audit log has who looked."""
    with opened(db) as store:
        number = persons.find_customer(store, customer, account or "")
        found = persons.person(store, number)
        persons.note_access(store, persons.SEEN, number)
        zone = store.zone()
    spans = [
        {"account": one.account, "since_at": one.since_at or None, "until_at": one.until_at}
        for one in found.spans
    ]
    columns = (
        (Column(_("account")), "account"),
        (Column(_("since")), "since_at"),
        (Column(_("until")), "until_at"),
    )
    print_list("accounts", localised(spans, zone), columns, as_json, as_csv, _("no account"))
    if not as_json and not as_csv:
        held = ", ".join(f"{name} {count}" for name, count in found.counts.items())
        echo(_("customer {customer}, {name}: {held}").format(held=held or "0", **found.customer))
        for one in found.against:
            echo(_("against erasing: {why}").format(why=one))


@person.command(
    "export",
    epilog="""\b
Example:
  dianka headend person export --customer C-1 --out person.json --db village.db
""",
)
@_who
@click.option("--out", required=True, type=FILE, help="The JSON file; nothing may be there.")
@database_option()
def export_command(customer: str, account: str | None, out: Path, db: str) -> None:
    """Write all that is held of a person into a file that its owner alone may read."""
    with opened(db) as store:
        number = persons.find_customer(store, customer, account or "")
        text = persons.export_text(store, number)
    try:
        secret_files.write(out, text)
    except FileExistsError as error:
        hint = _("choose another name, or move it away")
        raise click.ClickException(
            _("{db} is there already: {hint}").format(db=out, hint=hint)
        ) from error
    except OSError as error:
        raise click.ClickException(
            _("cannot write {path}: {strerror}").format(path=out, strerror=system_reason(error))
        ) from error
    echo(_("{out} has all that is held of customer {customer}").format(out=out, customer=number))


@person.command(
    "erase",
    epilog="""\b
Example:
  dianka headend person erase --customer C-1 --by Li --reason "asked for it" --db village.db
""",
)
@_who
@_by
@_reason
@click.option(
    "--anyway", is_flag=True, help="Also while an account is open, or money is owed or held."
)
@database_option()
def erase_command(
    customer: str, account: str | None, by: str, reason: str, anyway: bool, db: str
) -> None:
    """Erase a person: name, telephone, address, texts of notices and complaints; money stays."""
    with opened(db) as store:
        number = persons.find_customer(store, customer, account or "")
        done = persons.erase(store, number, by, reason, anyway=anyway)
    told = ", ".join(f"{name} {count}" for name, count in done.items()) or "0"
    echo(_("customer {customer} is erased: {told}").format(customer=number, told=told))


@person.command(
    "retain",
    epilog="""\b
Example:
  dianka headend person retain --by cron --db village.db
""",
)
@_by
@database_option()
def retain_command(by: str, db: str) -> None:
    """Erase all that is older than its kind is kept; give this every day, as by cron."""
    with opened(db) as store:
        done = retention.run(store, by)
    told = ", ".join(f"{_(kind)} {count}" for kind, count in done.items() if count)
    echo(_("erased: {told}").format(told=told or _("nothing was too old")))
