"""`dianka headend tickets`: the work that alarms ask for, and planned work on devices."""

import time
from datetime import date
from pathlib import Path

import click

from host.cli import shown
from host.cli.headend.account import printable
from host.cli.headend.database import opened
from host.cli.headend.look import DATE, lists, localised, print_list
from host.cli.options import FILE, database_option
from host.cli.output import Column, echo
from host.headend import alarms, due_work, receipts, tickets
from host.headend.errors import SalesError
from host.headend.registry import EXCHANGE, VERIFICATION
from host.headend.tickets import OUTCOMES, PARTS_LIMIT, SAID_LIMIT, Work
from host.rows import RowsError, tell_troubles
from host.sheets import sheet
from host.units import DAY_S
from host.words import _, marked

_number = click.argument("number", type=click.IntRange(1))
_by = click.option("--by", required=True, callback=printable(64), help="Name of who does it.")
_who = click.option("--who", default="", callback=printable(64), help="Who is to do the work.")
_priority = click.option(
    "--priority",
    type=click.IntRange(1, 3),
    help="1: at once, 2: soon, 3: later.  [default: that of its kind]",
)
_COLUMNS = (
    (Column(marked("number"), right=True), "ticket"),
    (Column(marked("priority"), right=True), "priority"),
    (Column(marked("kind")), "kind"),
    (Column(marked("account")), "account"),
    (Column(marked("households"), right=True), "households"),
    (Column(marked("owed, fen"), right=True), "owed_fen"),
    (Column(marked("lost, fen"), right=True), "lost_fen"),
    (Column(marked("who")), "who"),
    (Column(marked("due")), "due_at"),
    (Column(marked("what"), wraps=True), "what"),
)


@shown.group(
    epilog="""\b
Examples:
  dianka headend tickets list --db village.db
  dianka headend tickets alarms --db village.db
  dianka headend tickets open relay 17 --who Wu --by Li --db village.db
  dianka headend tickets done 3 --said "exchanged" --outcome mended --by Wu --db village.db
""",
)
def tickets_group() -> None:
    """Give out the work that alarms ask for, and say how it ended."""


@tickets_group.command(
    "list",
    epilog="""\b
Examples:
  dianka headend tickets list --db village.db
  dianka headend tickets list --closed 30 --csv --db village.db
  dianka headend tickets list --closed 365 --xlsx tickets.xlsx --db village.db
""",
)
@click.option("--mine", default="", callback=printable(64), help="Only those of this person.")
@click.option(
    "--closed", type=click.IntRange(1, 3660), help="Also those closed within this many days."
)
@click.option(
    "--xlsx", type=click.Path(path_type=Path, dir_okay=False), help="Write them to this file."
)
@database_option()
@lists
def list_command(
    mine: str, closed: int | None, xlsx: Path | None, db: str, as_json: bool, as_csv: bool
) -> None:
    """List tickets: urgent ones first, then where most money is owed or lost."""
    with opened(db, read_only=True) as store:
        rows = tickets.open_tickets(store, mine)
        if closed is not None:
            found = tickets.all_tickets(store, int(time.time()) - closed * DAY_S)
            rows = [row for row in found if mine in ("", row["who"])]
        rows = localised(rows, store.zone())
        if xlsx is not None:
            names = tickets.COLUMNS
            cells = [["" if row[one] is None else row[one] for one in names] for row in rows]
            receipts.write(xlsx, sheet("tickets", names, cells))
            echo(_("{path}: {count} tickets").format(path=xlsx, count=len(rows)))
            return
    ordered = [{name: row[name] for name in (*tickets.COLUMNS, "key")} for row in rows]
    print_list("tickets", ordered, _COLUMNS, as_json, as_csv, _("no ticket is open"))


@tickets_group.command(
    "alarms",
    epilog="""\b
Example:
  dianka headend tickets alarms --db village.db
""",
)
@database_option()
@lists
def alarms_command(db: str, as_json: bool, as_csv: bool) -> None:
    """List alarms that have no ticket, with the kind and key that open one."""
    with opened(db, read_only=True) as store:
        rows = localised(alarms.alarms(store, compared=True), store.zone())
    columns = (
        (Column(_("kind")), "kind"),
        (Column(_("key")), "key"),
        (Column(_("account")), "account"),
        (Column(_("households"), right=True), "households"),
        (Column(_("owed, fen"), right=True), "owed_fen"),
        (Column(_("lost, fen"), right=True), "lost_fen"),
        (Column(_("what"), wraps=True), "what"),
    )
    print_list("alarms", rows, columns, as_json, as_csv, _("every alarm has its ticket"))


@tickets_group.command(
    "open",
    epilog="""\b
Example:
  dianka headend tickets open relay 17 --who Wu --by Li --db village.db
""",
)
@click.argument("kind")
@click.argument("key")
@_who
@_priority
@_by
@database_option()
def open_command(kind: str, key: str, who: str, priority: int | None, by: str, db: str) -> None:
    """Make a ticket of the alarm KIND KEY, or name the one that it has."""
    with opened(db) as store:
        number = tickets.open_ticket(store, kind, key, priority or 0, who, by)
    echo(_("ticket {number} is open").format(number=number))


@tickets_group.command(
    "take",
    epilog="""\b
Example:
  dianka headend tickets take 3 --who Wu --priority 1 --by Li --db village.db
""",
)
@_number
@_who
@_priority
@_by
@database_option()
def take_command(number: int, who: str, priority: int | None, by: str, db: str) -> None:
    """Give a ticket to a person, by default to who asks for it."""
    with opened(db) as store:
        wanted = priority or tickets.ticket(store, number)["priority"]
        tickets.assign(store, number, who or by, wanted, by)
    echo(_("ticket {number} is for {who}").format(number=number, who=who or by))


@tickets_group.command(
    "done",
    epilog="""\b
Example:
  dianka headend tickets done 3 --said "exchanged" --parts "1 meter" --outcome mended --by Wu \\
  --db village.db
""",
)
@_number
@click.option("--said", required=True, callback=printable(SAID_LIMIT), help="What was done.")
@click.option("--parts", default="", callback=printable(PARTS_LIMIT), help="What was put in.")
@click.option("--outcome", required=True, type=click.Choice(OUTCOMES), help="How it ended.")
@_by
@database_option()
def done_command(number: int, said: str, parts: str, outcome: str, by: str, db: str) -> None:
    """Close a ticket with what was done: it closes its alarm, or leaves it open."""
    with opened(db) as store:
        tickets.finish(store, number, Work(said, parts, outcome), by)
    echo(_("ticket {number} is closed: {outcome}").format(number=number, outcome=_(outcome)))


# --- devices that are due ------------------------------------------------------------------------

_batch = click.argument("batch", callback=printable(due_work.BATCH_NAME_LIMIT))


@tickets_group.command(
    "plan",
    epilog="""\b
Example:
  dianka headend tickets plan July --what verification --until 2026-07-31 --who Wu --by Li \\
  --db village.db
""",
)
@_batch
@click.option(
    "--what", required=True, type=click.Choice((VERIFICATION, EXCHANGE)), help="What is due."
)
@click.option("--until", "due_by", required=True, type=DATE, help="By which day it is due.")
@click.option("--district", default="", help="Only of this district.")
@click.option("--type", "kind", default="", help="Only meters of this type.")
@click.option(
    "--most", type=click.IntRange(1, 1000), default=100, show_default=True, help="At most so many."
)
@_who
@_by
@database_option()
def plan_command(
    batch: str,
    what: str,
    due_by: date,
    district: str,
    kind: str,
    most: int,
    who: str,
    by: str,
    db: str,
) -> None:
    """Make a batch of devices that are due: a ticket for each that has none."""
    wanted = due_work.Wanted(what, due_by, district, kind, most)
    with opened(db) as store:
        count = due_work.plan(store, batch, wanted, who, by)
    echo(_("batch {batch}: {count} tickets").format(batch=batch, count=count))


@tickets_group.command(
    "work-list",
    epilog="""\b
Example:
  dianka headend tickets work-list July --csv --db village.db
""",
)
@_batch
@database_option()
@lists
def work_list_command(batch: str, db: str, as_json: bool, as_csv: bool) -> None:
    """List the open work of a batch, with columns for its results."""
    with opened(db, read_only=True) as store:
        rows = due_work.work_list(store, batch)
    columns = tuple((Column(_(name)), name) for name in due_work.SHOWN)
    print_list("work", rows, columns, as_json, as_csv, _("no work of this batch is open"))


@tickets_group.command(
    "results",
    epilog="""\b
Examples:
  dianka headend tickets results results.csv --by Li --db village.db
  dianka headend tickets results results.csv --take --by Li --db village.db
""",
)
@click.argument("path", type=FILE)
@click.option("--take", "is_taking", is_flag=True, help="Take them, all or none.")
@_by
@database_option()
def results_command(path: Path, is_taking: bool, by: str, db: str) -> None:
    """Show what results of a batch would change, and take them with --take.

    The file is the work list with done_on, result and next_due filled in. Rows without a result
    stay open.
    """
    try:
        told = due_work.read(path)
    except RowsError as error:
        raise click.ClickException(str(error)) from error
    wanted = list(told.values())
    with opened(db) as store:
        try:
            seen = due_work.preview(store, wanted)
        except SalesError as error:
            lines = list(told)
            troubles = {lines[place]: why for place, why in error.troubles.items()}
            raise click.ClickException(tell_troubles(str(path), troubles)) from error
        for one in seen:
            echo(due_work.change_text(one))
        if is_taking:
            count = due_work.take_results(store, wanted, by)
            echo(_("{count} results are taken").format(count=count))
        else:
            echo(_("{count} results: nothing is taken without --take").format(count=len(seen)))
