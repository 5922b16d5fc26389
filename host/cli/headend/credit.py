"""`dianka headend credit`: the class of each customer, and the grace that its accounts have."""

from dataclasses import asdict

import click

from host.cli import shown
from host.cli.headend.database import opened
from host.cli.headend.look import lists, print_list
from host.cli.options import database_option
from host.cli.output import Column, echo
from host.headend import credit as classes
from host.words import _

_BY = click.option("--by", required=True, help="Name of who does it.")


@shown.group(
    epilog="""\b
Examples:
  dianka headend credit list --db village.db
""",
)
def credit() -> None:
    """Give accounts grace by how their customers have paid."""


@credit.command(
    "list",
    epilog="""\b
Example:
  dianka headend credit list --db village.db --csv
""",
)
@database_option()
@lists
def list_command(db: str, as_json: bool, as_csv: bool) -> None:
    """List the class of each account, the rule's own, and what it goes by."""
    with opened(db, read_only=True) as store:
        rows = [asdict(one) for one in classes.standings(store)]
    columns = (
        (Column(_("account")), "account"),
        (Column(_("customer")), "customer"),
        (Column(_("class")), "credit_class"),
        (Column(_("by the rule")), "by_rule"),
        (Column(_("late months"), right=True), "late_months"),
        (Column(_("grade there"), right=True), "grade"),
        (Column(_("reason"), wraps=True), "reason"),
    )
    print_list("classes", rows, columns, as_json, as_csv, _("there is none"))
    if not as_json and not as_csv:
        echo(_(classes.RULE))


@credit.command(
    "set",
    epilog="""\b
Example:
  dianka headend credit set C-17 B --db village.db --by Chen --reason "hospital, pays since"
""",
)
@click.argument("customer")
@click.argument("class", type=click.Choice([*classes.GRADES, "rule"]))
@database_option()
@_BY
@click.option("--reason", required=True, help="The reason, for an auditor.")
def set_command(customer: str, db: str, by: str, reason: str, **told: str) -> None:
    """Set another class than the rule's, and tell the concentrators; `rule` takes it back."""
    wanted = told["class"]
    with opened(db) as store:
        chosen = "" if wanted == "rule" else wanted
        changed = classes.set_class(store, customer, chosen, by, reason)
    echo(_("customer {customer}: class {wanted}").format(customer=customer, wanted=wanted))
    echo(_("{count} accounts get another grade").format(count=len(changed)))


@credit.command(
    "give",
    epilog="""\b
Example:
  dianka headend credit give --db village.db --by Chen
""",
)
@database_option()
@_BY
def give_command(db: str, by: str) -> None:
    """Tell the concentrators the grade of each account that has another one there."""
    with opened(db) as store:
        changed = classes.give_grades(store, by)
    echo(_("{count} accounts get another grade").format(count=len(changed)))
