"""`dianka headend complaint`: complaints and their answers."""

import time
from datetime import datetime

import click

from host.cli import shown
from host.cli.headend.account import printable
from host.cli.headend.database import opened
from host.cli.headend.look import lists, localised, print_list
from host.cli.options import account_option, database_option
from host.cli.output import Column, echo
from host.headend import complaints
from host.headend.complaints import CONTACT_LIMIT, KINDS, PLACE_LIMIT, SAID_LIMIT, WHAT_LIMIT, Said
from host.words import _

_number = click.argument("number", type=click.IntRange(1))
_by = click.option("--by", required=True, callback=printable(64), help="Name of who does it.")


@shown.group(
    epilog="""\b
Examples:
  dianka headend complaint list --open --db village.db
  dianka headend complaint close 1 --by Li --answer "the meter was tested" --db village.db
"""
)
def complaint() -> None:
    """Enter complaints, answer them, and see which are late."""


@complaint.command(
    "list",
    epilog="""\b
Example:
  dianka headend complaint list --open --db village.db
""",
)
@click.option("--open", "open_only", is_flag=True, help="Only those that are not closed.")
@database_option()
@lists
def list_command(open_only: bool, db: str, as_json: bool, as_csv: bool) -> None:
    """List the complaints, the open one first that is due first."""
    with opened(db, read_only=True) as store:
        rows = complaints.complaints(store, open_only=open_only, now=int(time.time()))
        rows = localised(rows, store.zone())
    columns = (
        (Column(_("number"), right=True), "number"),
        (Column(_("kind")), "kind"),
        (Column(_("account")), "account"),
        (Column(_("place"), wraps=True), "place"),
        (Column(_("due")), "due_at"),
        (Column(_("closed")), "closed_at"),
        (Column(_("what"), wraps=True), "what"),
        (Column(_("answer"), wraps=True), "resolution"),
    )
    print_list("complaints", rows, columns, as_json, as_csv, _("there is none"))


@complaint.command(
    "enter",
    epilog="""\b
Example:
  dianka headend complaint enter --kind supply --place "lane 3" --what "dark since noon" --by Li \\
  --db village.db
""",
)
@click.option("--kind", required=True, type=click.Choice(tuple(KINDS)), help="What it is about.")
@click.option("--what", required=True, callback=printable(WHAT_LIMIT), help="What was said.")
@click.option("--place", "where", default="", callback=printable(PLACE_LIMIT), help="Where.")
@account_option("Of the household, if of one.")
@click.option(
    "--contact", default="", callback=printable(CONTACT_LIMIT), help="Who, and how reached."
)
@click.option(
    "--due", type=click.DateTime(("%Y-%m-%d %H:%M", "%Y-%m-%d")), help="When an answer is due."
)
@_by
@database_option()
def enter_command(
    kind: str,
    what: str,
    where: str,
    account: str | None,
    contact: str,
    due: datetime | None,
    by: str,
    db: str,
) -> None:
    """Enter a complaint of a household or about a place."""
    with opened(db) as store:
        due_at = 0 if due is None else int(due.replace(tzinfo=store.zone()).timestamp())
        number = complaints.enter_complaint(
            store, Said(kind, what, where, account or "", contact, due_at), by
        )
    echo(_("complaint {number} is entered").format(number=number))


@complaint.command(
    "close",
    epilog="""\b
Example:
  dianka headend complaint close 1 --by Li --answer "the meter was tested" --db village.db
""",
)
@_number
@click.option("--answer", required=True, callback=printable(SAID_LIMIT), help="What was done.")
@_by
@database_option()
def close_command(number: int, answer: str, by: str, db: str) -> None:
    """Close a complaint with its answer."""
    with opened(db) as store:
        complaints.close_complaint(store, number, by, answer)
    echo(_("complaint {number} is closed").format(number=number))


@complaint.command(
    "reopen",
    epilog="""\b
Example:
  dianka headend complaint reopen 1 --by Li --reason "it is dark again" --db village.db
""",
)
@_number
@click.option("--reason", required=True, callback=printable(SAID_LIMIT), help="Why.")
@_by
@database_option()
def reopen_command(number: int, reason: str, by: str, db: str) -> None:
    """Open a complaint again that was closed."""
    with opened(db) as store:
        complaints.reopen_complaint(store, number, by, reason)
    echo(_("complaint {number} is open again").format(number=number))
