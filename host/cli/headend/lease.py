"""`dianka headend lease`: counters without a network, which sell under leased order numbers."""

import re
from dataclasses import asdict
from pathlib import Path

import click

from host.cli import shown
from host.cli.headend.care import clear_store_errors
from host.cli.headend.database import opened
from host.cli.headend.look import lists, localised, print_list
from host.cli.options import (
    AMOUNT,
    DIGITS,
    EXISTING_FILE,
    FILE,
    LIMIT,
    TOTAL,
    account_argument,
    database_option,
    json_option,
    order_option,
)
from host.cli.output import Column, echo, print_json
from host.headend import leases, offline
from host.units import yuan
from host.words import _, system_reason

_LOG = click.argument("log", type=EXISTING_FILE)
_NUMBER = click.argument("lease", type=click.IntRange(1))


def _code(_context: click.Context, _option: click.Parameter, text: str) -> str:
    if not re.fullmatch("[0-9a-f]{16}", text):
        raise click.BadParameter(
            _("{text!r} is no code: `dianka headend lease code` prints the laptop's").format(
                text=text
            )
        )
    return text


@shown.group(
    epilog="""\b
Examples:
  dianka headend lease list --db village.db
"""
)
def lease() -> None:
    """Let a laptop in a far village sell without a network, and take its sales over later."""


@lease.command(
    "code",
    epilog="""\b
Example:
  dianka headend lease code
""",
)
def code_command() -> None:
    """Print the code of this computer, which a lease for it names."""
    with clear_store_errors():
        echo(offline.laptop_code())


@lease.command(
    "take",
    epilog="""\b
Example:
  dianka headend lease take --db village.db --counter laptop-1 --laptop 0f1e2d3c4b5a6978 \\
      --account 1 --account 2 --quota 5000 --by Li --out laptop-1.lease
""",
)
@database_option()
@click.option("--counter", required=True, help="Name of the laptop.")
@click.option(
    "--laptop", required=True, callback=_code, help="Its code: `dianka headend lease code` there."
)
@click.option("--account", multiple=True, required=True, type=DIGITS, help="Whom to.")
@click.option(
    "--numbers", type=click.IntRange(1, 1000), default=10, show_default=True, help="Each."
)
@click.option("--quota", "quota_fen", type=TOTAL, required=True, help="Yuan that it may sell.")
@click.option(
    "--days", type=click.IntRange(1, 92), default=14, show_default=True, help="For so long."
)
@click.option("--by", required=True, help="Name of who takes it along.")
@click.option(
    "--out", required=True, type=FILE, help="The log of the laptop; nothing may be there."
)
def take_command(
    db: str,
    counter: str,
    laptop: str,
    account: tuple[str, ...],
    numbers: int,
    quota_fen: int,
    days: int,
    by: str,
    out: Path,
) -> None:
    """Lease order numbers; the station sells nothing to these accounts until it is back."""
    try:
        file = out.open("x", encoding="utf-8")
    except OSError as error:
        raise click.ClickException(
            _("cannot write {path}: {strerror}").format(path=out, strerror=system_reason(error))
        ) from error
    try:
        with file, opened(db) as store:
            terms = leases.lease(store, counter, laptop, account, numbers, quota_fen, days, by)
            file.write(offline.first_line(terms) + "\n")
    except click.ClickException:
        out.unlink()
        raise
    text = _("lease {lease}: {count} accounts, {quota} yuan; {out} goes with the laptop")
    echo(text.format(lease=terms.lease, count=len(terms.ranges), quota=yuan(quota_fen), out=out))


@lease.command(
    "sell",
    epilog="""\b
Example:
  dianka headend lease sell laptop-1.lease 000000000001 --amount 50 --cashier Li
""",
)
@_LOG
@account_argument
@click.option("--amount", "amount_fen", type=AMOUNT, required=True, help="Yuan.")
@click.option("--cashier", default="", help="Name of the cashier.  [default: none]")
@json_option
def sell_command(log: Path, account: str, amount_fen: int, cashier: str, as_json: bool) -> None:
    """Sell without a network; print the order for `dianka card issue`."""
    with clear_store_errors():
        sold = offline.sell(log, account, amount_fen, cashier)
    if as_json:
        print_json(asdict(sold))
        return
    text = _("order {order} of account {account}: {amount_fen} yuan")
    echo(text.format(order=sold.order, account=account, amount_fen=yuan(amount_fen)))
    if sold.supersedes:
        echo(_("its card supersedes order {first}").format(first=sold.supersedes))


@lease.command(
    "void",
    epilog="""\b
Example:
  dianka headend lease void laptop-1.lease 000000000001 --order 12 --reason typo
""",
)
@_LOG
@account_argument
@order_option(required=True)
@click.option("--reason", required=True, help="The reason, for an auditor.")
def void_command(log: Path, account: str, order: int, reason: str) -> None:
    """Take back the newest sale of an account, before its card is handed out."""
    with clear_store_errors():
        offline.void(log, account, order, reason)
    echo(
        _("order {order} of account {account} is taken back").format(order=order, account=account)
    )


@lease.command(
    "show",
    epilog="""\b
Example:
  dianka headend lease show laptop-1.lease --json
""",
)
@_LOG
@lists
def show_command(log: Path, as_json: bool, as_csv: bool) -> None:
    """List what was sold under a lease."""
    with clear_store_errors():
        told = offline.parse(offline.read(log))
    rows = [asdict(one) for one in told.orders.values()]
    for row in rows:
        del row["sold_at"]
    columns = (
        (Column(_("account")), "account"),
        (Column(_("order"), right=True), "order"),
        (Column(_("yuan"), right=True), "amount_fen"),
        (Column(_("cashier")), "cashier"),
        (Column(_("taken back"), wraps=True), "voided"),
    )
    print_list("orders", rows, columns, as_json, as_csv, _("nothing was sold under this lease"))


@lease.command(
    "return",
    epilog="""\b
Example:
  dianka headend lease return laptop-1.lease --db village.db --counted 350 --by Li
""",
)
@_LOG
@database_option()
@click.option("--counted", "counted_fen", type=LIMIT, required=True, help="Yuan that it brings.")
@click.option("--by", required=True, help="The cashier who counts it into the open drawer.")
@click.option("--reason", default="", help="Why it is another sum than was sold.")
def return_command(log: Path, db: str, counted_fen: int, by: str, reason: str) -> None:
    """Take over what was sold under a lease, and the cash into a drawer."""
    with opened(db) as store:
        done = leases.take_back(store, offline.read(log), counted_fen, by, reason)
    text = _("{orders} orders are taken over: {sold} yuan sold, {counted} counted")
    echo(
        text.format(orders=done["orders"], sold=yuan(done["sold_fen"]), counted=yuan(counted_fen))
    )


@lease.command(
    "give-up",
    epilog="""\b
Example:
  dianka headend lease give-up 3 --db village.db --by Chen --reason "stolen"
""",
)
@_NUMBER
@database_option()
@click.option("--by", required=True, help="Name of who decides.")
@click.option("--reason", required=True, help="The reason, for an auditor.")
def give_up_command(lease: int, db: str, by: str, reason: str) -> None:
    """Give up a laptop that does not come back; its numbers are never sold again."""
    with opened(db) as store:
        leases.give_up(store, lease, by, reason)
    echo(_("lease {lease} is given up: its accounts buy at the station").format(lease=lease))


@lease.command(
    "list",
    epilog="""\b
Example:
  dianka headend lease list --db village.db
""",
)
@database_option()
@lists
def leases_command(db: str, as_json: bool, as_csv: bool) -> None:
    """List the leases, and what became of each."""
    with opened(db, read_only=True) as store:
        rows = localised(leases.leases(store), store.zone())
    columns = (
        (Column(_("lease"), right=True), "lease"),
        (Column(_("counter")), "counter"),
        (Column(_("state")), "state"),
        (Column(_("accounts"), right=True), "accounts"),
        (Column(_("quota, yuan"), right=True), "quota_fen"),
        (Column(_("sold, yuan"), right=True), "sold_fen"),
        (Column(_("counted, yuan"), right=True), "counted_fen"),
        (Column(_("laptop")), "laptop"),
        (Column(_("leased")), "leased_at"),
        (Column(_("until")), "expires_at"),
    )
    print_list("leases", rows, columns, as_json, as_csv, _("nothing was leased"))
