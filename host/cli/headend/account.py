"""`dianka headend account` and `approval`: the life of an account, and what two have to decide."""

from dataclasses import asdict
from typing import Any

import click

from host.cli import shown
from host.cli.headend.database import opened
from host.cli.headend.look import lists, localised, print_list
from host.cli.options import (
    AMOUNT,
    LIMIT,
    TOTAL,
    Command,
    account_argument,
    database_option,
    meter_option,
)
from host.cli.output import Column, echo, json_line
from host.headend import approvals, life
from host.headend.life import Act
from host.headend.lists import KINDS, ratio_of
from host.headend.registry import Entry, Ratio
from host.units import register_wh, yuan
from host.words import _


def _register_wh(text: str) -> int:
    """Return a register as a meter shows it, in Wh."""
    try:
        return register_wh(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


_KWH = click.types.FuncParamType(_register_wh)
_KWH.name = "kWh"


def _act_options(function: Command) -> Command:
    by = click.option("--by", required=True, help="Name of who does it.")
    why = click.option("--reason", default="", help="The reason, for an auditor.")
    return by(why(function))


def _customer_options(function: Command) -> Command:
    """Give the command the fields of a customer."""
    for name, size, text in (
        ("address", 200, "Where the customer lives."),
        ("phone", 32, "Telephone of the customer."),
        ("name", 128, "Name of the customer."),
        ("customer", 32, "Number of the customer.  [default: the account's]"),
    ):
        function = click.option(
            f"--{name}", default="", callback=printable(size), required=name == "name", help=text
        )(function)
    return function


def printable(most: int) -> Any:
    """Return what checks an option's text: one line of at most so many characters."""

    def check(_context: click.Context, _option: click.Parameter, text: str) -> str:
        if len(text) > most or not text.isprintable():
            raise click.BadParameter(
                _("at most {most} characters of one line are taken").format(most=most)
            )
        return text

    return check


def _ratio_options(function: Command) -> Command:
    """Give the command the ratios of a meter's transformers, and their product."""
    for name, text in (
        ("pt", "Ratio of its voltage transformers, like 10000/100."),
        ("ct", "Ratio of its current transformers, like 200/5 or 40."),
        ("multiplier", "CT times PT ratio.  [default: 1]"),
    ):
        function = click.option(f"--{name}", default="", metavar="RATIO", help=text)(function)
    return function


def _ratio(multiplier: str, ct: str, pt: str) -> Ratio:
    try:
        return ratio_of({"multiplier": multiplier, "ct": ct, "pt": pt})
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def registers_option(name: str, text: str, *, required: bool = False) -> Command:
    """Return the option of what a meter shows, in kWh, once for each rate."""
    return click.option(name, multiple=True, type=_KWH, required=required, help=text)


def _said(number: int) -> None:
    echo(_("paper {number} says so").format(number=number))


@shown.group(
    epilog="""\b
Examples:
  dianka headend account papers 000000000001 --db village.db
"""
)
def account() -> None:
    """Open, change, exchange, transfer and close accounts; each step has its paper."""


@account.command(
    "open",
    epilog="""\b
Examples:
  dianka headend account open 000000000009 --db village.db --name "Wang Fang" --by Li
  dianka headend account open 000000000008 --db village.db --name Zhao --by Li --balance 12.50 \\
      --used 310
""",
)
@account_argument
@database_option()
@_customer_options
@click.option("--persons", type=click.IntRange(0, 99), default=0, help="Persons who live there.")
@click.option(
    "--kind", type=click.Choice(KINDS), default=KINDS[0], show_default=True, help="Kind."
)
@click.option(
    "--transformer", "district", default="", callback=printable(32), help="What feeds it."
)
@meter_option()
@_ratio_options
@registers_option("--register", "What its meter shows; may be repeated for each rate.")
@click.option("--balance", "balance_fen", type=LIMIT, default="0", help="Yuan taken over.")
@click.option("--used", "used_wh", type=_KWH, default="0", help="kWh used of this period's quota.")
@_act_options
def open_command(
    account: str,
    db: str,
    register: tuple[int, ...],
    balance_fen: int,
    used_wh: int,
    by: str,
    reason: str,
    customer: str,
    meter: str | None,
    multiplier: str,
    ct: str,
    pt: str,
    **told: Any,
) -> None:
    """Open an account, or take it over with a balance and what it has used."""
    plate = asdict(_ratio(multiplier, ct, pt))
    entry = Entry(account, customer or account, meter=meter or "", **plate, **told)
    with opened(db) as store:
        _said(life.open_account(store, entry, register, Act(by, reason), balance_fen, used_wh))


@account.command(
    "household",
    epilog="""\b
Example:
  dianka headend account household 1 --db village.db --from 2026-08-01 --persons 5 --kind 2 \\
      --by Li
""",
)
@account_argument
@database_option()
@click.option("--from", "from_day", required=True, type=click.DateTime(["%Y-%m-%d"]), help="Day.")
@click.option("--persons", required=True, type=click.IntRange(0, 99), help="Persons there.")
@click.option("--kind", required=True, type=click.IntRange(0, 15), help="Kind in the tariff.")
@_act_options
def household_command(
    account: str, db: str, from_day: Any, persons: int, kind: int, by: str, reason: str
) -> None:
    """Note another kind of household, with its quota, and tell its concentrator."""
    with opened(db) as store:
        day = f"{from_day:%Y-%m-%d}"
        _said(life.set_household(store, account, day, persons, kind, Act(by, reason)))


@account.command(
    "exchange",
    epilog="""\b
Example:
  dianka headend account exchange 1 --db village.db --last 5310.2 --meter 99 --register 0 \\
      --ct 200/5 --by Li
""",
)
@account_argument
@database_option()
@registers_option("--last", "What the old meter shows at the end.", required=True)
@meter_option("The new meter.", required=True)
@registers_option("--register", "What the new meter shows.", required=True)
@_ratio_options
@_act_options
def exchange_command(
    account: str,
    db: str,
    last: tuple[int, ...],
    meter: str,
    register: tuple[int, ...],
    multiplier: str,
    ct: str,
    pt: str,
    by: str,
    reason: str,
) -> None:
    """Note the exchange of a meter; the technician does it with `meter exchange`."""
    with opened(db) as store:
        act, ratio = Act(by, reason), _ratio(multiplier, ct, pt)
        _said(life.exchange_meter(store, account, last, meter, register, act, ratio))


@account.command(
    "card",
    epilog="""\b
Example:
  dianka headend account card 1 --db village.db --uid 04A1B2C3 --by Li --reason lost
""",
)
@account_argument
@database_option()
@click.option("--uid", required=True, callback=printable(16), help="Number of the new card.")
@_act_options
def card_command(account: str, db: str, uid: str, by: str, reason: str) -> None:
    """Note another card of an account; `dianka card replace` writes it."""
    with opened(db) as store:
        _said(life.replace_card(store, account, uid.upper(), Act(by, reason)))


@account.command(
    "transfer",
    epilog="""\b
Example:
  dianka headend account transfer 1 --db village.db --customer C-18 --name "Li Na" --by Li
""",
)
@account_argument
@database_option()
@_customer_options
@_act_options
def transfer_command(
    account: str, db: str, customer: str, by: str, reason: str, **told: Any
) -> None:
    """Give an account to another person, with its balance and its meter."""
    with opened(db) as store:
        entry = Entry(account, customer or account, **told)
        _said(life.transfer(store, entry, Act(by, reason)))


@account.command(
    "close",
    epilog="""\b
Example:
  dianka headend account close 1 --db village.db --last 5310.2 --by Li
""",
)
@account_argument
@database_option()
@registers_option("--last", "What its meter shows; may be repeated for each rate.", required=True)
@_act_options
def close_command(account: str, db: str, last: tuple[int, ...], by: str, reason: str) -> None:
    """Close an account with its last registers, and note the refund of its balance."""
    with opened(db) as store:
        _said(life.close_account(store, account, last, Act(by, reason)))


@account.command(
    "write-off",
    epilog="""\b
Example:
  dianka headend account write-off 1 --db village.db --amount 3 --approval 4 --by Li
""",
)
@account_argument
@database_option()
@click.option("--amount", "amount_fen", type=AMOUNT, required=True, help="Yuan of its debt.")
@click.option("--approval", type=int, required=True, help="Number of another person's approval.")
@_act_options
def write_off_command(
    account: str, db: str, amount_fen: int, approval: int, by: str, reason: str
) -> None:
    """Forgive a debt, which two persons have to decide."""
    with opened(db) as store:
        _said(life.write_off(store, account, amount_fen, Act(by, reason), approval))


@account.command(
    "undo",
    epilog="""\b
Example:
  dianka headend account undo 17 --db village.db --by Li --reason "another account was meant"
""",
)
@click.argument("paper", type=click.IntRange(1))
@database_option()
@_act_options
def undo_command(paper: int, db: str, by: str, reason: str) -> None:
    """Take back the newest paper of an account by another one."""
    with opened(db) as store:
        _said(life.undo(store, paper, Act(by, reason)))


@account.command(
    "papers",
    epilog="""\b
Example:
  dianka headend account papers 000000000001 --db village.db --json
""",
)
@account_argument
@database_option()
@lists
def papers_command(account: str, db: str, as_json: bool, as_csv: bool) -> None:
    """List the papers of an account."""
    with opened(db, read_only=True) as store:
        rows = localised(life.papers(store, account), store.zone())
    for row in rows:
        if not as_json:
            row["detail"] = json_line(row["detail"])
    columns = (
        (Column(_("number"), right=True), "number"),
        (Column(_("time")), "made_at"),
        (Column(_("kind")), "kind"),
        (Column(_("yuan"), right=True), "amount_fen"),
        (Column(_("by")), "by"),
        (Column(_("reason"), wraps=True), "reason"),
        (Column(_("undoes"), right=True), "undoes"),
    )
    empty = _("account {account} has no papers").format(account=account)
    print_list("papers", rows, columns, as_json, as_csv, empty)


@account.command(
    "meters",
    epilog="""\b
Example:
  dianka headend account meters 000000000001 --db village.db
""",
)
@account_argument
@database_option()
@lists
def meters_command(account: str, db: str, as_json: bool, as_csv: bool) -> None:
    """List the meters that an account had, with their registers in Wh at both ends."""
    with opened(db, read_only=True) as store:
        rows = localised(life.meters_of(store, account), store.zone())
    columns = (
        (Column(_("meter")), "meter"),
        (Column(_("multiplier"), right=True), "multiplier"),
        (Column(_("from")), "since_at"),
        (Column(_("until")), "until_at"),
        (Column(_("first, Wh")), "first_wh"),
        (Column(_("last, Wh")), "last_wh"),
    )
    empty = _("account {account} has no meters").format(account=account)
    print_list("meters", rows, columns, as_json, as_csv, empty)


@shown.group(
    epilog="""\b
Examples:
  dianka headend approval list --db village.db
"""
)
def approval() -> None:
    """Ask another person for what one may not do alone, and decide."""


@approval.command(
    "ask",
    epilog="""\b
Example:
  dianka headend approval ask 1 --db village.db --for sale --amount 250000 --by Li
""",
)
@account_argument
@database_option()
@click.option("--for", "what", type=click.Choice(approvals.KINDS), required=True, help="What for.")
@click.option("--amount", "amount_fen", type=TOTAL, required=True, help="Yuan.")
@_act_options
def ask_command(account: str, db: str, what: str, amount_fen: int, by: str, reason: str) -> None:
    """Ask for an approval; print its number."""
    with opened(db) as store:
        number = approvals.ask(store, what, account, amount_fen, by, reason)
    text = _("approval {number} waits for another person: {amount} yuan of account {account}")
    echo(text.format(number=number, amount=yuan(amount_fen), account=account))


@approval.command(
    "decide",
    epilog="""\b
Example:
  dianka headend approval decide 4 --db village.db --by Chen --refuse
""",
)
@click.argument("number", type=click.IntRange(1))
@database_option()
@click.option("--by", required=True, help="Name of who decides: not of who has asked.")
@click.option("--refuse", is_flag=True, help="Do not allow it.")
def decide_command(number: int, db: str, by: str, refuse: bool) -> None:
    """Approve what another person has asked for, or refuse it."""
    with opened(db) as store:
        approvals.decide(store, number, by, not refuse)
    decision = _(approvals.REFUSED if refuse else approvals.APPROVED)
    echo(_("approval {number}: {decision}").format(number=number, decision=decision))


@approval.command(
    "list",
    epilog="""\b
Example:
  dianka headend approval list --db village.db --waiting
""",
)
@database_option()
@click.option("--waiting", is_flag=True, help="Only those that wait.")
@lists
def approvals_command(db: str, waiting: bool, as_json: bool, as_csv: bool) -> None:
    """List what was asked for, and what was decided."""
    with opened(db, read_only=True) as store:
        rows = localised(approvals.approvals(store, waiting_only=waiting), store.zone())
    columns = (
        (Column(_("number"), right=True), "number"),
        (Column(_("what")), "what"),
        (Column(_("account")), "account"),
        (Column(_("yuan"), right=True), "amount_fen"),
        (Column(_("asked")), "asked_at"),
        (Column(_("by")), "asked_by"),
        (Column(_("reason"), wraps=True), "reason"),
        (Column(_("decision")), "decision"),
        (Column(_("decided by")), "decided_by"),
        (Column(_("used")), "used_at"),
    )
    print_list("approvals", rows, columns, as_json, as_csv, _("nobody has asked for anything"))
