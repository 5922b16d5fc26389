"""`dianka headend receipt` and `quote`: a sale on paper, and what money buys today."""

from datetime import datetime
from pathlib import Path

import click

from host.billing import quotes
from host.cli import shown
from host.cli.headend.database import opened
from host.cli.options import (
    AMOUNT,
    EXISTING_FILE,
    FILE,
    account_argument,
    database_option,
    json_option,
    order_option,
)
from host.cli.output import echo, print_json
from host.frames.tariff import load
from host.frames.tariff_terms import TariffError, TariffFile
from host.headend import receipts
from host.headend.store import Store
from host.units import kwh, yuan
from host.words import LANGUAGES, _, language_spoken, speaking

KWH = click.IntRange(1, 1_000_000)
tariff_option = click.option(
    "--tariff", "tariff_path", type=EXISTING_FILE, help="Its tariff's file."
)


def loaded(path: Path) -> TariffFile:
    """Return a tariff's file; a clear message says why it cannot be used."""
    try:
        return load(path)
    except TariffError as error:
        raise click.ClickException(f"{path}: {error}") from error


def place_of(store: Store, account: str) -> tuple[int, int, datetime]:
    """Return an account's kind of household, what it has used, and the time at its station."""
    rows = store.rows("SELECT household, used_wh FROM accounts WHERE account = ?", (account,))
    now = datetime.now(store.zone()).replace(tzinfo=None)
    return (rows[0]["household"], rows[0]["used_wh"], now) if rows else (0, 0, now)


@shown.command(
    epilog="""\b
Examples:
  dianka headend receipt 000000000001 --db village.db --order 2 --out receipt.pdf
  dianka headend receipt 1 --db village.db --order 2 --out r.pdf --paper 58 --language zh
"""
)
@account_argument
@database_option()
@order_option(required=True)
@click.option("--out", required=True, type=FILE, help="The PDF.")
@click.option(
    "--paper", type=click.Choice(tuple(receipts.PAPERS)), default="a4", help="Width in mm, or A4."
)
@click.option("--language", type=click.Choice(LANGUAGES), help="Of the receipt.")
@tariff_option
@click.option("--url", default="", help="Address of the household's page, for a QR code.")
def receipt(
    account: str,
    db: str,
    order: int,
    out: Path,
    paper: str,
    language: str | None,
    tariff_path: Path | None,
    url: str,
) -> None:
    """Write the receipt of an order as PDF; with --tariff it says what the amount buys now."""
    with opened(db, read_only=True) as store:
        one = receipts.receipt_of(store, account, order, url=url)
        if tariff_path is not None and one.amount_fen > 0:
            place = place_of(store, account)
            energy_wh = quotes.energy_wh_for(loaded(tariff_path), *place, one.amount_fen)
            one = receipts.receipt_of(store, account, order, energy_wh, url)
        with speaking(language or language_spoken()):
            content = receipts.pdf(one, paper)
        receipts.write(out, content)
    echo(_("{out} is the receipt of order {order}").format(out=out, order=order))


@shown.command(
    epilog="""\b
Examples:
  dianka headend quote 000000000001 --db village.db --tariff tariffs/beijing.json --amount 50
  dianka headend quote 000000000001 --db village.db --tariff tariffs/beijing.json --energy 100
"""
)
@account_argument
@database_option()
@click.option("--tariff", "tariff_path", type=EXISTING_FILE, required=True, help="Its tariff.")
@click.option("--amount", "amount_fen", type=AMOUNT, help="Yuan: how much energy is that?")
@click.option("--energy", "energy_kwh", type=KWH, help="kWh: how many yuan is that?")
@json_option
def quote(
    account: str,
    db: str,
    tariff_path: Path,
    amount_fen: int | None,
    energy_kwh: int | None,
    as_json: bool,
) -> None:
    """Tell what an amount buys at today's prices, or what energy costs, as the account stands."""
    if (amount_fen is None) == (energy_kwh is None):
        raise click.UsageError(_("give --amount or --energy"))
    with opened(db, read_only=True) as store:
        place = place_of(store, account)
    tariff = loaded(tariff_path)
    if amount_fen is not None:
        energy_wh = quotes.energy_wh_for(tariff, *place, amount_fen)
    else:
        energy_wh = (energy_kwh or 0) * 1000
        amount_fen = quotes.amount_fen_for(tariff, *place, energy_wh)
    if as_json:
        print_json({"account": account, "amount_fen": amount_fen, "energy_wh": energy_wh})
        return
    text = _("{amount} yuan are {energy} kWh for account {account} at today's prices")
    echo(text.format(amount=yuan(amount_fen), energy=kwh(energy_wh, 2), account=account))
