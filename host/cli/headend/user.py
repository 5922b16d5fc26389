"""`dianka headend user`: the people who sign in at the pages, and what each may do."""

import click

from host.cli import shown
from host.cli.headend.database import opened
from host.cli.headend.look import lists, localised, print_list
from host.cli.options import database_option, new_password
from host.cli.output import Column, echo
from host.headend import users
from host.words import _

_name = click.argument("name")
_role = click.option("--role", type=click.Choice(users.ROLES), help="What the person may do.")


@shown.group(
    epilog="""\b
Roles: a viewer looks, a cashier sells, an engineer switches supplies, a manager sells, refunds
and switches, an auditor looks, an admin does all of it.
\b
Examples:
  dianka headend user add Li --role cashier --db village.db
  dianka headend user list --db village.db
  dianka headend user change Li --role manager --db village.db
  dianka headend user close Li --db village.db
"""
)
def user() -> None:
    """Keep who signs in at the pages."""


@user.command(
    "add",
    epilog="""\b
Example:
  dianka headend user add Li --role cashier --db village.db
""",
)
@_name
@click.option(
    "--role", required=True, type=click.Choice(users.ROLES), help="What the person may do."
)
@database_option()
def add(name: str, role: str, db: str) -> None:
    """Add a person; the password is asked for, or comes from DIANKA_PASSWORD."""
    with opened(db) as store:
        users.add(store, name, role, users.hashed(new_password()))
    echo(_("{name} may sign in as {role}").format(name=name, role=_(role)))


@user.command(
    "change",
    epilog="""\b
Examples:
  dianka headend user change Li --role manager --db village.db
  dianka headend user change Li --password --db village.db
""",
)
@_name
@_role
@click.option("--password", "asks", is_flag=True, help="Ask for a new password.")
@database_option()
def change(name: str, role: str | None, asks: bool, db: str) -> None:
    """Give a person another role or password; whoever is signed in under the name is put out."""
    if role is None and not asks:
        raise click.UsageError(_("give --role, --password or both"))
    with opened(db) as store:
        users.change(store, name, role or "", users.hashed(new_password()) if asks else "")
    echo(_("{name} is changed, and has to sign in again").format(name=name))


@user.command(
    "close",
    epilog="""\b
Example:
  dianka headend user close Li --db village.db
""",
)
@_name
@database_option()
def close(name: str, db: str) -> None:
    """Take a name away; whoever is signed in under it is put out."""
    with opened(db) as store:
        users.close_user(store, name)
    echo(_("{name} may not sign in any more").format(name=name))


@user.command(
    "list",
    epilog="""\b
Example:
  dianka headend user list --db village.db --json
""",
)
@database_option()
@lists
def list_command(db: str, as_json: bool, as_csv: bool) -> None:
    """List who may sign in."""
    with opened(db, read_only=True) as store:
        rows = localised(users.people(store), store.zone())
    columns = (
        (Column(_("name")), "user"),
        (Column(_("role")), "role"),
        (Column(_("added")), "made_at"),
        (Column(_("last page")), "seen_at"),
    )
    empty = _("nobody may sign in yet: `dianka headend user add NAME --role admin`")
    print_list("users", rows, columns, as_json, as_csv, empty)
