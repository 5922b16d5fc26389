"""`dianka headend recharge`: scratch cards, from the printer to the household."""

import csv
import io
import time
from collections.abc import Sequence
from pathlib import Path

import click

from host import secret_files
from host.cli import shown
from host.cli.headend.database import opened
from host.cli.headend.look import lists, localised, print_list
from host.cli.options import AMOUNT, FILE, database_option
from host.cli.output import Column, echo
from host.headend import recharge as cards
from host.units import DAY_S, yuan
from host.words import _, marked, system_reason

_by = click.option("--by", required=True, help="Your name.")


@shown.group(
    epilog="""\b
Examples:
  dianka headend recharge make --amount 50 --count 200 --out codes.csv --by Li --db village.db
  dianka headend recharge sell 000001-00007 000001-00008 --to shop-3 --db village.db
  dianka headend recharge block 1 --by Li --reason "the box is lost" --db village.db
  dianka headend recharge list --db village.db
"""
)
def recharge() -> None:
    """Print, sell, count and block scratch cards, which households redeem once."""


@recharge.command(
    "make",
    epilog="""\b
Example:
  dianka headend recharge make --amount 50 --count 200 --out codes.csv --by Li --db village.db
""",
)
@click.option("--amount", "amount_fen", type=AMOUNT, required=True, help="Yuan of each card.")
@click.option("--count", type=click.IntRange(1, cards.BATCH_LIMIT), required=True, help="Cards.")
@click.option(
    "--days", type=click.IntRange(1, 3660), default=1095, show_default=True, help="How long."
)
@click.option("--out", "out_path", type=FILE, required=True, help="New file for the printer.")
@_by
@database_option()
def make(amount_fen: int, count: int, days: int, out_path: Path, by: str, db: str) -> None:
    """Make a batch of cards and write their codes into a new file, for the printer.

    The codes are nowhere else: delete the file once the cards are printed.
    """
    codes = cards.new_codes(count)
    expires_at = int(time.time()) + days * DAY_S
    if out_path.exists():
        raise click.ClickException(
            _("{path} is there already: give another --out").format(path=out_path)
        )
    with opened(db) as store:
        hashes = [cards.hash_of(one) for one in codes]
        batch = cards.make_batch(store, amount_fen, hashes, expires_at, by)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("serial", "yuan", "code"))
        writer.writerows(cards.print_lines(batch, amount_fen, codes))
        try:
            secret_files.write(out_path, text.getvalue())
        except OSError as error:
            cards.block_cards(store, batch, "", by, marked("its codes could not be written"))
            raise click.ClickException(
                _("cannot write {path}: {strerror}; the batch is blocked").format(
                    path=out_path, strerror=system_reason(error)
                )
            ) from error
    echo(
        _("batch {batch}: {count} cards of {amount} yuan, their codes are in {path}").format(
            batch=batch, count=count, amount=yuan(amount_fen), path=out_path
        )
    )


@recharge.command(
    "sell",
    epilog="""\b
Example:
  dianka headend recharge sell 000001-00007 000001-00008 --to shop-3 --db village.db
""",
)
@click.argument("serials", nargs=-1, required=True)
@click.option("--to", required=True, help="The shop or person that paid for them.")
@database_option()
def sell(serials: Sequence[str], to: str, db: str) -> None:
    """Note that cards were sold, all or none: only sold ones can be redeemed."""
    with opened(db) as store:
        worth_fen = cards.sell_cards(store, serials, to)
    text = _("{count} cards for {amount} yuan are sold to {to}")
    echo(text.format(count=len(serials), amount=yuan(worth_fen), to=to))


@recharge.command(
    "block",
    epilog="""\b
Examples:
  dianka headend recharge block 1 --by Li --reason "the box is lost" --db village.db
  dianka headend recharge block 1 --card 000001-00007 --by Li --reason torn --db village.db
""",
)
@click.argument("batch", type=click.IntRange(1))
@click.option("--card", "serial", default="", help="Only the card of this number.")
@_by
@click.option("--reason", required=True, help="The reason, for an auditor.")
@database_option()
def block(batch: int, serial: str, by: str, reason: str, db: str) -> None:
    """Block a batch or one card for ever: what is not redeemed cannot be any more."""
    with opened(db) as store:
        count = cards.block_cards(store, batch, serial, by, reason)
    echo(_("{count} cards are blocked").format(count=count))


@recharge.command(
    "list",
    epilog="""\b
Example:
  dianka headend recharge list --db village.db --csv
""",
)
@database_option()
@lists
def list_command(db: str, as_json: bool, as_csv: bool) -> None:
    """List the batches, how many cards are sold and redeemed, and what is outstanding."""
    with opened(db, read_only=True) as store:
        rows = localised(cards.batches(store), store.zone())
    columns = (
        (Column(_("batch"), right=True), "batch"),
        (Column(_("yuan"), right=True), "amount_fen"),
        (Column(_("cards"), right=True), "cards"),
        (Column(_("sold"), right=True), "sold"),
        (Column(_("redeemed"), right=True), "redeemed"),
        (Column(_("blocked"), right=True), "blocked"),
        (Column(_("outstanding, yuan"), right=True), "outstanding_fen"),
        (Column(_("valid until")), "expires_at"),
        (Column(_("batch blocked")), "blocked_at"),
    )
    empty = _("there are no cards: `dianka headend recharge make` makes some")
    print_list("batches", rows, columns, as_json, as_csv, empty)
