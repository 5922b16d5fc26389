"""`dianka headend payment`: payments at providers, and their statements."""

from datetime import date, datetime
from pathlib import Path

import click

from host.cli import shown
from host.cli.headend.database import opened
from host.cli.headend.look import lists, localised, print_list
from host.cli.options import EXISTING_FILE, database_option
from host.cli.output import Column, echo
from host.headend import channels, payments
from host.headend.providers import PROVIDERS
from host.words import _, system_reason


@shown.group(
    epilog="""\b
Examples:
  dianka headend payment list --open --db village.db
  dianka headend payment sell --db village.db
  dianka headend payment statement bill.csv --provider sim-1 --day 2026-07-01 --db village.db
"""
)
def payment() -> None:
    """Look at payments at providers, and hold them against the providers' statements."""


@payment.command(
    "list",
    epilog="""\b
Example:
  dianka headend payment list --open --db village.db
""",
)
@click.option("--open", "open_only", is_flag=True, help="Only those that are not sold.")
@database_option()
@lists
def list_command(open_only: bool, db: str, as_json: bool, as_csv: bool) -> None:
    """List the payments, what was paid and what became of each."""
    with opened(db, read_only=True) as store:
        rows = localised(payments.payments(store, open_only=open_only), store.zone())
    columns = (
        (Column(_("reference")), "reference"),
        (Column(_("channel")), "channel"),
        (Column(_("account")), "account"),
        (Column(_("yuan"), right=True), "amount_fen"),
        (Column(_("paid, yuan"), right=True), "paid_fen"),
        (Column(_("state")), "state"),
        (Column(_("order"), right=True), "order"),
        (Column(_("begun")), "begun_at"),
        (Column(_("reason"), wraps=True), "why"),
    )
    print_list("payments", rows, columns, as_json, as_csv, _("there is none"))


@payment.command(
    "sell",
    epilog="""\b
Example:
  dianka headend payment sell --db village.db
""",
)
@database_option()
def sell(db: str) -> None:
    """Sell what is paid and was refused, as for a limit; status 1 if any is still not sold."""
    with opened(db) as store:
        left = payments.sell_waiting(store)
    if left:
        text = _(
            "{count} payments are paid and not sold: see `dianka headend payment list --open`"
        )
        raise click.ClickException(text.format(count=len(left)))
    echo(_("all that was paid is sold"))


@payment.command(
    "statement",
    epilog="""\b
Example:
  dianka headend payment statement bill.csv --provider sim-1 --day 2026-07-01 --db village.db
""",
)
@click.argument("path", type=EXISTING_FILE)
@click.option("--provider", required=True, help="The channel whose statement it is.")
@click.option("--day", type=click.DateTime(("%Y-%m-%d",)), required=True, help="The day it is of.")
@database_option()
def statement(path: Path, provider: str, day: datetime, db: str) -> None:
    """Take a provider's statement of a day; status 1 if it differs from the payments.

    Each difference is a finding. A payment that was never told is sold now.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = system_reason(error) if isinstance(error, OSError) else "UTF-8"
        raise click.ClickException(
            _("cannot read {path}: {strerror}").format(path=path, strerror=reason)
        ) from error
    with opened(db) as store:
        kind = channels.known_channel(store, provider).kind
        if kind not in PROVIDERS:
            raise click.ClickException(_("{name} is no provider").format(name=provider))
        lines = PROVIDERS[kind].lines_of(text)
        on = date(day.year, day.month, day.day)
        taken = payments.take_statement(store, provider, on, lines)
    text = _("{lines} lines, {matched} match, {differences} differences")
    echo(text.format(lines=taken.lines, matched=taken.matched, differences=taken.differences))
    if taken.differences:
        raise click.exceptions.Exit(1)
