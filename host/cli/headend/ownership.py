"""`dianka headend move` and `dismiss`: whose accounts are whose, where concentrators disagree."""

import click

from host.cli import shown
from host.cli.headend.database import opened
from host.cli.headend.look import lists, localised, print_list
from host.cli.options import account_argument, database_option
from host.cli.output import Column, echo
from host.headend import ownership
from host.headend.history import detail_text
from host.words import _


@shown.command(
    epilog="""\b
Examples:
  dianka headend move 000000000017 --to 8 --db village.db --by Li --reason "new line"
"""
)
@account_argument
@database_option()
@click.option("--to", "concentrator", required=True, type=int, help="Number of the concentrator.")
@click.option("--by", default="", help="Who moves it.  [default: nobody is named]")
@click.option("--reason", default="", help="Why.  [default: none is given]")
def move(account: str, db: str, concentrator: int, by: str, reason: str) -> None:
    """Give an account to another concentrator.

    What that one has told of it waits until now, and is posted to the account, once and in order.
    What the concentrator before tells of it from now on waits instead. Its board is told the
    account by `dianka headend restore`.
    """
    with opened(db) as store:
        moved = ownership.move(store, account, concentrator, by, reason)
    echo(
        _(
            "account {account} belongs to concentrator {concentrator} now, before to {was}; "
            "{taken} records that waited are posted"
        ).format(account=account, concentrator=concentrator, was=moved.was, taken=moved.taken)
    )
    if not moved.told:
        echo(
            _("concentrator {concentrator} has not told of it yet: add its meter there").format(
                concentrator=concentrator
            )
        )
    if moved.behind:
        echo(
            _(
                "concentrator {was} has {behind} records that are not here yet: what they tell of "
                "this account will wait, see `dianka headend findings`"
            ).format(was=moved.was, behind=moved.behind),
            color="yellow",
        )


@shown.command(
    epilog="""\b
Example:
  dianka headend waiting 000000000017 --db village.db
"""
)
@account_argument
@database_option()
@lists
def waiting(account: str, db: str, as_json: bool, as_csv: bool) -> None:
    """List the records of an account that wait, as they are of another concentrator."""
    with opened(db, read_only=True) as store:
        rows = localised(ownership.waiting_records(store, account), store.zone())
    for row in rows:
        if not as_json:
            row["detail"] = detail_text(row["detail"], as_csv)
    columns = (
        (Column(_("time")), "time"),
        (Column(_("concentrator"), right=True), "concentrator"),
        (Column(_("record"), right=True), "seq"),
        (Column(_("kind")), "kind"),
        (Column(_("detail"), wraps=True), "detail"),
    )
    empty = _("nothing waits of account {account}").format(account=account)
    print_list("waiting", rows, columns, as_json, as_csv, empty)


@shown.command(
    epilog="""\b
Example:
  dianka headend dismiss 000000000017 --concentrator 8 --db village.db --by Li --reason "a typo"
"""
)
@account_argument
@database_option()
@click.option("--concentrator", required=True, type=int, help="The one that told of the account.")
@click.option("--by", required=True, help="Who has looked.")
@click.option("--reason", required=True, help="Why it is not taken.")
def dismiss(account: str, db: str, concentrator: int, by: str, reason: str) -> None:
    """Leave what a concentrator tells of an account that belongs to another one.

    The records stay in the database and change nothing. If it tells more, that waits again: have
    its meter list put right.
    """
    with opened(db) as store:
        count = ownership.dismiss(store, account, concentrator, by, reason)
    echo(
        _("{count} records of concentrator {concentrator} are dismissed").format(
            count=count, concentrator=concentrator
        )
    )
