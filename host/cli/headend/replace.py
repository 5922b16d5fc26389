"""`dianka headend replace`: take the records of a concentrator's new board or flash."""

import click

from host.cli import shown
from host.cli.headend.database import opened
from host.cli.options import database_option
from host.cli.output import echo
from host.headend import journals
from host.words import _


@shown.command(
    "replace",
    epilog="""\b
Example:
  dianka headend replace --db village.db --concentrator 7
""",
)
@database_option()
@click.option("--concentrator", required=True, type=int, help="Number of the concentrator.")
def replace_command(db: str, concentrator: int) -> None:
    """Take the journal with which a concentrator came last: its board or its flash is new.

    Until this is said such a board is refused, so that a copied `board.json` or a mistyped number
    mixes no two villages. The records of the new journal begin with 1; what the old one brought
    stays. Then tell the board its accounts with `dianka headend restore`.
    """
    with opened(db) as store:
        journal = journals.replace(store, concentrator)
    echo(
        _(
            "concentrator {concentrator}: the records of journal {journal} are taken from now on"
        ).format(concentrator=concentrator, journal=journal)
    )
