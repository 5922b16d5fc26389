"""`dianka headend payment`: payments at providers, and their statements."""

import time
from datetime import datetime
from pathlib import Path

import click

from host.cli import shown
from host.cli.headend.database import opened
from host.cli.headend.look import lists, localised, print_list
from host.cli.options import EXISTING_FILE, FILE, database_option
from host.cli.output import Column, echo
from host.headend import channels, payments, receipts
from host.headend.channels import Channel
from host.headend.provider_kinds import PROVIDERS
from host.headend.store import Store
from host.words import _, system_reason


@shown.group(
    epilog="""\b
Examples:
  dianka headend payment list --open --db village.db
  dianka headend payment sell --db village.db
  dianka headend payment statement bill.csv --provider sim-1 --day 2026-07-01 --db village.db
  dianka headend payment bill --provider wx-1 --day 2026-07-01 --db village.db
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
        content = path.read_bytes()
    except OSError as error:
        raise click.ClickException(
            _("cannot read {path}: {strerror}").format(path=path, strerror=system_reason(error))
        ) from error
    with opened(db) as store:
        kind = _provider(store, provider).kind
        lines = PROVIDERS[kind].lines_of(content)
        taken = payments.take_statement(store, provider, day.date(), lines)
    _told(taken)


@payment.command(
    "bill",
    epilog="""\b
Example:
  dianka headend payment bill --provider wx-1 --day 2026-07-01 --db village.db
""",
)
@click.option("--provider", required=True, help="The channel whose statement it is.")
@click.option("--day", type=click.DateTime(("%Y-%m-%d",)), required=True, help="The day it is of.")
@click.option("--out", type=FILE, help="Also: write the statement here.")
@database_option()
def bill(provider: str, day: datetime, out: Path | None, db: str) -> None:
    """Fetch a provider's statement of a day and take it; status 1 if it differs.

    Providers have the statement of a day on the next one, from about 10 o'clock on.
    """
    with opened(db) as store:
        kind = _provider(store, provider).kind
        _channel, access = channels.provider_of(store, provider)
        content = PROVIDERS[kind].bill(access, day.date())
        if out is not None:
            receipts.write(out, content)
        lines = PROVIDERS[kind].lines_of(content)
        taken = payments.take_statement(store, provider, day.date(), lines)
    _told(taken)


@payment.command(
    "ask",
    epilog="""\b
Example:
  dianka headend payment ask 5f0c1e6a9b7d42318c55aa07 --db village.db
""",
)
@click.argument("reference")
@database_option()
def ask(reference: str, db: str) -> None:
    """Ask the provider what became of a payment, and sell it if it was paid.

    A head-end that serves pages does so by itself, a minute after a payment was begun.
    """
    with opened(db) as store:
        state = payments.ask(store, reference, int(time.time()))
    echo(_("payment {reference}: {state}").format(reference=reference, state=_(state)))


def _provider(store: Store, name: str) -> Channel:
    """Return a provider, or end with a sentence."""
    found = channels.known_channel(store, name)
    if found.kind not in PROVIDERS:
        raise click.ClickException(_("{name} is no provider").format(name=name))
    return found


def _told(taken: payments.Taken) -> None:
    """Tell what a statement said; status 1 if it differs."""
    text = _("{lines} lines, {matched} match, {differences} differences")
    echo(text.format(lines=taken.lines, matched=taken.matched, differences=taken.differences))
    if taken.differences:
        raise click.exceptions.Exit(1)
