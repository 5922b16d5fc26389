"""`dianka headend top-up` and `job`: commands for concentrators, and what became of them."""

import hashlib
import time
from base64 import b64encode
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import click

from host.cli import shown
from host.cli.headend.database import opened
from host.cli.headend.job_accounts import Accounts, needed, of_accounts, with_accounts
from host.cli.headend.look import lists, localised, print_list
from host.cli.headend.sales import ask_above_limits, check_reference
from host.cli.headend.till import till_options
from host.cli.options import (
    AMOUNT,
    FILE,
    account_argument,
    database_option,
    json_option,
    yes_option,
)
from host.cli.output import Column, echo, print_json
from host.flash import package
from host.flash.product import ProductError
from host.frames import tariff
from host.frames.tariff_terms import TariffError
from host.headend import commands, price_changes, rollouts
from host.headend.commands import Given, Target
from host.headend.cuts import doubt_of, lawful_cut, recorded_notice
from host.headend.orders import Till
from host.headend.outcomes import STOPPED
from host.headend.rollouts import Package, Stages
from host.headend.store import Store
from host.units import HOUR_S, yuan
from host.words import _, marked

HOURS = click.option(
    "--hours",
    default=72,
    show_default=True,
    type=click.IntRange(1, 8760),
    help="It takes effect within so many hours, or never.",
)
BY = click.option("--by", default="", help="Name of who gives it.  [default: none]")
REASON = click.option("--reason", default="", help="Why, for the record.")
CONCENTRATORS = click.option(
    "--concentrator", "concentrators", multiple=True, type=int, help="Where to; may be repeated."
)
ALL = click.option("--all", "to_all", is_flag=True, help="To every concentrator that has called.")
_JOB = click.argument("job", type=click.IntRange(1, 1 << 40))

_JOB_COLUMNS = (
    (Column(marked("job"), right=True), "job"),
    (Column(marked("name")), "name"),
    (Column(marked("given")), "given_at"),
    (Column(marked("by")), "given_by"),
    (Column(marked("state")), "state"),
    (Column(marked("progress")), "progress"),
    (Column(marked("stopped because")), "why"),
)
_COMMAND_COLUMNS = (
    (Column(marked("concentrator"), right=True), "concentrator"),
    (Column(marked("account")), "account"),
    (Column(marked("command")), "text"),
    (Column(marked("state")), "state"),
    (Column(marked("ended")), "ended_at"),
    (Column(marked("answer")), "answer"),
)
_PRODUCT_COLUMN = (Column(marked("product")), "product")


@shown.command(
    "top-up",
    epilog="""\b
Examples:
  dianka headend top-up --db village.db 000000000001 50.00 --reference 2026-07-0001
""",
)
@database_option()
@account_argument
@click.argument("amount_fen", metavar="AMOUNT", type=AMOUNT)
@click.option("--reference", required=True, help="Of your own: sold under it once, not twice.")
@till_options
@HOURS
@yes_option
@json_option
def top_up(
    db: str,
    account: str,
    amount_fen: int,
    reference: str,
    till: Till,
    hours: int,
    yes: bool,
    as_json: bool,
) -> None:
    """Sell to a household without a card: its concentrator is told, and credits it once.

    Orders that wait on cards go the same way; such a card is refused afterwards.
    """
    try:
        check_reference(reference)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    with opened(db) as store:
        ask_above_limits(store, account, amount_fen, yes)
        expires_at = int(time.time()) + hours * HOUR_S
        done = commands.top_up(store, account, amount_fen, reference, till, expires_at)
    if as_json:
        told = {"account": account, "order": done.order, "amount_fen": amount_fen}
        told |= {"concentrator": done.concentrator, "command": done.number or None}
        print_json({**told, "sold_before": done.before})
        return
    text = _("order {order} of account {account}: {amount} yuan go to concentrator {concentrator}")
    if done.before:
        text = _("order {order} of account {account}: {amount} yuan, it was sold before")
    echo(
        text.format(
            order=done.order,
            account=account,
            amount=yuan(amount_fen),
            concentrator=done.concentrator,
        )
    )


@shown.group(
    epilog="""\b
Examples:
  dianka headend job give --db village.db "set interval_s 600" --concentrator 7
  dianka headend job cut --db village.db --account 1 --notice "2026-07-01 09:00" --reason arrears
  dianka headend job restore --db village.db --account 1
  dianka headend job tariff --db village.db tariffs/zhejiang-tou.json --number 2 --all
  dianka headend job list --db village.db --json
  dianka headend job show --db village.db 3
""",
)
def job() -> None:
    """Give commands to concentrators, and see what became of them."""


@job.command(
    epilog="""\b
Examples:
  dianka headend job give --db village.db "set interval_s 600" --concentrator 7
  dianka headend job give --db village.db "account {account}" --account 1 --account 2
  dianka headend job give --db village.db "account set {account} grade 2" --file good-payers.csv
\b
The command is a line of the console's language: `dianka console` lists them with `help`.
{account} stands for the number of each --account, or of each line of --file.
"""
)
@database_option()
@click.argument("text")
@CONCENTRATORS
@with_accounts
@ALL
@BY
@REASON
@HOURS
@yes_option
@json_option
def give(
    db: str,
    text: str,
    concentrators: tuple[int, ...],
    accounts: Accounts,
    to_all: bool,
    by: str,
    reason: str,
    hours: int,
    yes: bool,
    as_json: bool,
) -> None:
    """Give one command to concentrators, or to those of some accounts.

    It asks first where the command changes what accounts pay, and says how many.
    """
    if bool(concentrators) + bool(accounts) + to_all != 1:
        raise click.UsageError(_("give --concentrator, --account, --file or --all, one of them"))
    with opened(db) as store:
        if accounts:
            targets = of_accounts(store, accounts, text)
        else:
            targets = [Target(number, text) for number in numbers_of(store, concentrators, to_all)]
        count = price_changes.priced(store, targets)
        if count and not yes:
            _ask_price(count)
        give_job(store, text.split(" ")[0], targets, given_by(by, reason, hours), as_json)


def _ask_price(count: int) -> None:
    """Ask whether what accounts pay is to change; ClickException where it is not."""
    question = _("{count} accounts pay other prices with it: change it?").format(count=count)
    if not click.confirm(question, err=True):
        raise click.ClickException(_("nothing is sent; --yes changes it without the question"))


@job.command(
    epilog="""\b
Examples:
  dianka headend job cut --db village.db --account 1 --notice "2026-07-01 09:00" --reason arrears
  dianka headend job cut --db village.db --file told.csv --notice "2026-07-01 09:00" \\
      --reason "arrears; told in writing by Wang"
\b
A file names accounts below its first line:
  account
  000000000001
  000000000002
\b
A notice is good for 90 days; a cut that has not come by then does not come. Without --notice it is
the newest one that `dianka headend notices` has delivered to each account.
"""
)
@database_option()
@with_accounts
@click.option(
    "--notice",
    type=click.DateTime(("%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S")),
    help="When the households were told, on the station's clock.",
)
@click.option("--reason", required=True, help="Why, and how the notice was delivered.")
@BY
@HOURS
@json_option
def cut(
    db: str,
    accounts: Accounts,
    notice: datetime | None,
    reason: str,
    by: str,
    hours: int,
    as_json: bool,
) -> None:
    """Cut accounts that were told so; a protected household is not cut."""
    needed(accounts)
    with opened(db) as store:
        accounts.check(store)
        targets = []
        for one in accounts.numbers:
            text = lawful_cut(one, notice or recorded_notice(store, one))
            targets.append(Target(commands.concentrator_of(store, one), text, one))
        give_job(store, "cut", targets, given_by(by, reason, hours), as_json)
        for doubt in filter(None, (doubt_of(store, one) for one in accounts.numbers)):
            echo(doubt, err=True)


@job.command(
    epilog="""\b
Examples:
  dianka headend job restore --db village.db --account 1 --account 2
  dianka headend job restore --db village.db --file paid.csv
"""
)
@database_option()
@with_accounts
@REASON
@BY
@HOURS
@json_option
def restore(db: str, accounts: Accounts, reason: str, by: str, hours: int, as_json: bool) -> None:
    """Give accounts that were cut by order their supply back."""
    _move(db, accounts, "restore", given_by(by, reason, hours), as_json)


@shown.command(
    "tariff",
    epilog="""\b
Examples:
  dianka headend job tariff --db village.db tariffs/zhejiang-tou.json --number 2 --concentrator 7
  dianka headend job tariff --db village.db tariffs/zhejiang-tou.json --number 2 --all
""",
)
@database_option()
@click.argument("path", metavar="FILE", type=FILE)
@click.option("--number", required=True, type=click.IntRange(1, 8), help="Of the tariff.")
@CONCENTRATORS
@ALL
@REASON
@BY
@HOURS
@yes_option
@json_option
def tariff_command(
    db: str,
    path: Path,
    number: int,
    concentrators: tuple[int, ...],
    to_all: bool,
    reason: str,
    by: str,
    hours: int,
    yes: bool,
    as_json: bool,
) -> None:
    """Send a tariff to concentrators and put it in force; its file says from when its prices hold.

    It asks first where meters are billed by the tariff of this number now.
    """
    if bool(concentrators) + to_all != 1:
        raise click.UsageError(_("give --concentrator or --all, one of them"))
    try:
        image = tariff.build(tariff.load(path), number)
    except TariffError as error:
        raise click.ClickException(str(error)) from error
    text = tariff.commands(image, number)[-1]
    with opened(db) as store:
        numbers = numbers_of(store, concentrators, to_all)
        meters = sum(price_changes.on_tariff(store, number, one) for one in numbers)
        question = _("{meters} meters are billed by tariff {number} now: change it?")
        if meters and not yes:
            question = question.format(meters=meters, number=number)
            if not click.confirm(question, err=True):
                raise click.ClickException(
                    _("nothing is sent; --yes changes it without the question")
                )
        targets = [Target(one, text, image=image.hex()) for one in numbers]
        give_job(store, "tariff", targets, given_by(by, reason, hours), as_json)


@job.command(
    epilog="""\b
Examples:
  dianka headend job firmware --db village.db product.dianka --signer PUBLIC_KEY --all
  dianka headend job firmware --db village.db product.dianka --unsigned --concentrator 7
"""
)
@database_option()
@click.argument("path", metavar="PACKAGE", type=FILE)
@CONCENTRATORS
@ALL
@click.option("--signer", default="", help="The public key that has to have signed it, 64 digits.")
@click.option("--unsigned", is_flag=True, help="Take it without a signature.")
@click.option(
    "--stages",
    default="5,25,100",
    show_default=True,
    help="Per cent of the concentrators that each stage reaches.",
)
@click.option(
    "--patience",
    default=60,
    show_default=True,
    type=click.IntRange(1, 100_000),
    help="Minutes in which each has to report that the product is healthy.",
)
@REASON
@BY
@click.option(
    "--hours",
    default=336,
    show_default=True,
    type=click.IntRange(1, 8760),
    help="Where it has not arrived within so many hours, it is not tried.",
)
@json_option
def firmware(
    db: str,
    path: Path,
    concentrators: tuple[int, ...],
    to_all: bool,
    signer: str,
    unsigned: bool,
    stages: str,
    patience: int,
    reason: str,
    by: str,
    hours: int,
    as_json: bool,
) -> None:
    """Bring a product to concentrators with two slots, in stages, and stop where it fails.

    PACKAGE is of `dianka firmware pack`. It goes into the slot that does not run, also over days,
    and is on trial there. The next stage begins when those of the one before are healthy.
    """
    if bool(concentrators) + to_all != 1:
        raise click.UsageError(_("give --concentrator or --all, one of them"))
    if bool(signer) + unsigned != 1:
        raise click.UsageError(_("give --signer with the public key, or --unsigned"))
    try:
        product = package.read(path)
        package.check_signer(product.listing, product.signature, signer)
    except ProductError as error:
        raise click.ClickException(str(error)) from error
    files = [product.listing, *product.files.values(), product.signature.encode()]
    told = Package(
        hashlib.sha256(product.listing).hexdigest()[:16],
        product.version,
        product.counter,
        [b64encode(one).decode() for one in files],
    )
    with opened(db) as store:
        numbers = numbers_of(store, concentrators, to_all)
        shares = Stages(_shares(stages), 60 * patience)
        number = rollouts.roll_out(store, told, numbers, shares, given_by(by, reason, hours))
    _tell(number, len(numbers), as_json)


def _shares(text: str) -> tuple[int, ...]:
    """Return per cents that rise to 100; UsageError where they are others."""
    words = text.split(",")
    shares = [int(one) for one in words if one.strip().isdecimal()]
    if (
        len(shares) != len(words)
        or shares != sorted(set(shares))
        or shares[0] < 1
        or shares[-1] != 100
    ):
        raise click.UsageError(_("stages are per cents that rise to 100, like 5,25,100"))
    return (*shares,)


def numbers_of(store: Store, concentrators: Sequence[int], to_all: bool) -> list[int]:
    """Return the concentrators that were named, or all that have called."""
    if not to_all:
        return [*concentrators]
    known = store.rows("SELECT concentrator FROM concentrators ORDER BY concentrator")
    return [row["concentrator"] for row in known]


def _move(
    db: str,
    accounts: Accounts,
    name: str,
    given: Given,
    as_json: bool,
) -> None:
    """Restore accounts."""
    needed(accounts)
    text = "supply {account} restore"
    with opened(db) as store:
        give_job(store, name, of_accounts(store, accounts, text), given, as_json)


def given_by(by: str, reason: str, hours: int) -> Given:
    return Given(by, reason, int(time.time()) + hours * HOUR_S)


def give_job(
    store: Store, name: str, targets: Sequence[Target], given: Given, as_json: bool
) -> None:
    _tell(commands.give(store, name, targets, given), len(targets), as_json)


def _tell(number: int, count: int, as_json: bool) -> None:
    """Say that a job was given."""
    if as_json:
        print_json({"job": number, "commands": count})
    else:
        text = _("job {job}: {count} commands; `dianka headend job show {job}` follows them")
        echo(text.format(job=number, count=count))


@shown.command(
    "list",
    epilog="""\b
Example:
  dianka headend job list --db village.db --json
""",
)
@database_option()
@lists
def list_command(db: str, as_json: bool, as_csv: bool) -> None:
    """List jobs, with how far each is."""
    with opened(db, read_only=True) as store:
        rows = localised(commands.jobs(store), store.zone())
    for row in rows:
        row["why"] = rollouts.why_text(row["why"])
    if not as_json:
        for row in rows:
            row["progress"] = _progress_text(row["progress"])
    print_list("jobs", rows, _JOB_COLUMNS, as_json, as_csv, _("no job was given yet"))


@shown.command(
    "show",
    epilog="""\b
Example:
  dianka headend job show --db village.db 3
""",
)
@database_option()
@_JOB
@lists
def show_command(db: str, job: int, as_json: bool, as_csv: bool) -> None:
    """Show the commands of a job: waiting, sent, done, refused and why, expired."""
    with opened(db, read_only=True) as store:
        commands.jobs(store, job)
        rows = localised(commands.commands_of(store, job=job), store.zone())
        told = rollouts.told_of(store, job)
    for row in rows:
        text = told.get(row["concentrator"], "")
        row["product"] = _(text) if text else ""
    columns = (*_COMMAND_COLUMNS, _PRODUCT_COLUMN) if told else _COMMAND_COLUMNS
    print_list("commands", rows, columns, as_json, as_csv, _("no command is in it"))


def _progress_text(progress: dict[str, int]) -> str:
    return ", ".join(f"{_(state)} {count}" for state, count in progress.items())


def _job_command(name: str, state: str, text: str) -> None:
    """Add a command that sets the state of a job."""

    example = f"\b\nExample:\n  dianka headend job {name} --db village.db 3\n"

    @shown.command(name, help=text, epilog=example)
    @database_option()
    @_JOB
    def set_state(db: str, job: int) -> None:
        with opened(db) as store:
            commands.set_job(store, job, state)
        echo(_("job {job}: {state}").format(job=job, state=_(state)))

    job.add_command(set_state)


_job_command("pause", commands.PAUSED, marked("Send no further commands of a job for now."))
_job_command("resume", commands.RUNNING, marked("Send the further commands of a job."))
_job_command("stop", STOPPED, marked("Give up the commands of a job that were not sent."))


@job.command(
    epilog="""\b
Example:
  dianka headend job retry --db village.db 3
"""
)
@database_option()
@_JOB
@BY
@HOURS
def retry(db: str, job: int, by: str, hours: int) -> None:
    """Give those commands of a job again that were refused, expired or are not known."""
    with opened(db) as store:
        count = commands.retry(store, job, given_by(by, "", hours))
    echo(_("job {job}: {count} commands are given again").format(job=job, count=count))


for _one in (tariff_command, list_command, show_command):
    job.add_command(_one)
