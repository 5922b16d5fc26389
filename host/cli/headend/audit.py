"""`dianka headend audit`: who did what, and whether the log of it is whole."""

from dataclasses import asdict

import click

from host.cli import shown
from host.cli.headend.database import opened
from host.cli.headend.look import lists, localised, print_list
from host.cli.options import DAY, DAY_BEGIN, account_option, database_option, json_option
from host.cli.output import Column, echo, json_line, print_json
from host.headend import audit
from host.units import unix_of_t2000
from host.words import _


@shown.group(
    epilog="""\b
Examples:
  dianka headend audit list --db village.db --since 2026-07-01
  dianka headend audit verify --db village.db
"""
)
def audit_group() -> None:
    """Show who moved money or a relay, and check that the log of it is whole."""


@audit_group.command(
    "list",
    epilog="""\b
Example:
  dianka headend audit list --db village.db --account 000000000001 --json
""",
)
@database_option()
@account_option("Only this account.")
@click.option("--person", help="Only what this person did.")
@click.option("--action", help="Only this action, such as sale or void.")
@click.option("--since", "since_t2000", type=DAY_BEGIN, default=None, help="From this day on.")
@click.option("--until", "until_t2000", type=DAY, default=None, help="Up to this day.")
@lists
def list_command(
    db: str,
    account: str | None,
    person: str | None,
    action: str | None,
    since_t2000: int | None,
    until_t2000: int | None,
    as_json: bool,
    as_csv: bool,
) -> None:
    """List the entries of the audit log."""
    with opened(db, read_only=True) as store:
        zone = store.zone()
        since_at = 0 if since_t2000 is None else unix_of_t2000(since_t2000, zone)
        until_at = 1 << 40 if until_t2000 is None else unix_of_t2000(until_t2000, zone) + 1
        rows = audit.entries(
            store,
            account=account,
            person=person,
            action=action,
            since_at=since_at,
            until_at=until_at,
        )
    for row in rows:
        row["made_at"] = row.pop("at")
        if not as_json:
            row["detail"] = json_line(row["detail"])
    columns = (
        (Column(_("number"), right=True), "number"),
        (Column(_("time")), "made_at"),
        (Column(_("door")), "door"),
        (Column(_("person")), "person"),
        (Column(_("action")), "action"),
        (Column(_("account")), "account"),
        (Column(_("yuan"), right=True), "amount_fen"),
        (Column(_("detail"), wraps=True), "detail"),
    )
    empty = _("nothing is in the audit log")
    print_list("audit", localised(rows, zone), columns, as_json, as_csv, empty)


@audit_group.command(
    "verify",
    epilog="""\b
Example:
  dianka headend audit verify --db village.db
""",
)
@database_option()
@click.option("--digest", help="Also: is the entry there that a closed day or a receipt names?")
@json_option
def verify_command(db: str, digest: str | None, as_json: bool) -> None:
    """Check every entry against the one before; status 1 if one was changed or is missing."""
    with opened(db, read_only=True) as store:
        found = audit.verify(store)
        is_there = digest is None or audit.has_digest(store, digest)
    if as_json:
        told = {"digest_is_there": is_there} if digest is not None else {}
        print_json({"whole": not found.broken_at and is_there, **asdict(found), **told})
    elif found.broken_at:
        text = _("the audit log is not whole: entry {number} was changed, or one before it")
        echo(text.format(number=found.broken_at), err=True)
    elif not is_there:
        text = _("no entry has the digest {digest}: entries were cut off, or it is mistyped")
        echo(text.format(digest=digest), err=True)
    else:
        text = _("{entries} entries are whole, the digest of the last is {digest}")
        echo(text.format(entries=found.entries, digest=found.digest))
    if found.broken_at or not is_there:
        raise click.exceptions.Exit(1)
