"""`dianka headend room`: tenants of a landlord's rooms, who move in and out."""

from dataclasses import asdict
from pathlib import Path

import click

from host.cli import shown
from host.cli.headend.account import printable, registers_option
from host.cli.headend.database import opened
from host.cli.headend.look import lists, localised, print_list
from host.cli.options import FILE, LIMIT, account_argument, database_option, json_option
from host.cli.output import Column, echo, print_json
from host.headend import final_bill, receipts, rooms
from host.headend.rooms import Tenant
from host.units import yuan
from host.words import LANGUAGES, _, language_spoken, speaking

_BY = click.option("--by", default="landlord", show_default=True, help="Name of who does it.")
_SHOWS = "What the meter shows; may be repeated for each rate."


@shown.group(
    epilog="""\b
Examples:
  dianka headend room list --db house.db
  dianka headend room in 000000000001 --db house.db --name "Wang Fang" --deposit 500 --register 0
"""
)
def room() -> None:
    """Let tenants into rooms and out, with deposit, registers and final bill."""


@room.command(
    "list",
    epilog="""\b
Example:
  dianka headend room list --db house.db
""",
)
@database_option()
@lists
def list_command(db: str, as_json: bool, as_csv: bool) -> None:
    """List the rooms: who lives there, what is left, and which deposit is held."""
    with opened(db, read_only=True) as store:
        rows = localised(rooms.rooms(store), store.zone())
    columns = (
        (Column(_("account")), "account"),
        (Column(_("room")), "room"),
        (Column(_("tenant")), "name"),
        (Column(_("since")), "since_at"),
        (Column(_("balance, yuan"), right=True), "balance_fen"),
        (Column(_("deposit, yuan"), right=True), "deposit_fen"),
        (Column(_("register, Wh"), right=True), "register_wh"),
        (Column(_("order on its way"), right=True), "order"),
    )
    print_list("rooms", rows, columns, as_json, as_csv, _("there is no room yet"))


@room.command(
    "name",
    epilog="""\b
Example:
  dianka headend room name 000000000001 --db house.db --room "Room 1"
""",
)
@account_argument
@database_option()
@click.option("--room", "name", required=True, callback=printable(32), help="Its name.")
@_BY
def name_command(account: str, db: str, name: str, by: str) -> None:
    """Give an account the name of a room."""
    with opened(db) as store:
        rooms.name_room(store, account, name, by)
    echo(_("account {account} is {room}").format(account=account, room=name))


@room.command(
    "in",
    epilog="""\b
Example:
  dianka headend room in 000000000001 --db house.db --name "Wang Fang" --deposit 500 --register 0
""",
)
@account_argument
@database_option()
@click.option("--name", required=True, callback=printable(128), help="Name of the tenant.")
@click.option("--phone", default="", callback=printable(32), help="Telephone.")
@click.option("--deposit", "deposit_fen", type=LIMIT, default="0", help="Yuan taken in cash.")
@registers_option("--register", _SHOWS)
@_BY
def in_command(
    account: str,
    db: str,
    name: str,
    phone: str,
    deposit_fen: int,
    register: tuple[int, ...],
    by: str,
) -> None:
    """Let a tenant into an empty room, with a balance of zero."""
    with opened(db) as store:
        tenant = Tenant(name, phone, deposit_fen)
        number = rooms.move_in(store, account, tenant, register, by)
    text = _("tenancy {number}: {name} lives in {account}, deposit {deposit} yuan")
    echo(text.format(number=number, name=name, account=account, deposit=yuan(deposit_fen)))


@room.command(
    "out",
    epilog="""\b
Example:
  dianka headend room out 000000000001 --db house.db --register 310.5 --out bill.pdf
""",
)
@account_argument
@database_option()
@registers_option("--register", _SHOWS, required=True)
@click.option("--out", type=FILE, help="Also: write the final bill here, as PDF.")
@_BY
@json_option
def out_command(
    account: str, db: str, register: tuple[int, ...], out: Path | None, by: str, as_json: bool
) -> None:
    """Let a tenant out, settle the balance, and return what is left of the deposit.

    A balance is paid back with `dianka headend room pay-back`, once its concentrator has taken it
    off the account.
    """
    with opened(db) as store:
        done = rooms.move_out(store, account, register, by)
        if out is not None:
            content = final_bill.pdf(rooms.bill_of(store, done.tenancy), store.zone())
            receipts.write(out, content)
    if as_json:
        print_json(asdict(done))
        return
    text = _("tenancy {number} has ended: pay {returned} yuan of the deposit out now")
    echo(text.format(number=done.tenancy, returned=yuan(done.returned_fen)))
    if done.set_off_fen:
        text = _("{set_off} yuan of it were owed: order {order} brings them to the account")
        echo(text.format(set_off=yuan(done.set_off_fen), order=done.order))
    if done.refund_fen:
        text = _("{refund} yuan are left: pay them out once order {order} is redeemed")
        echo(text.format(refund=yuan(done.refund_fen), order=done.order))


@room.command(
    "clear",
    epilog="""\b
Example:
  dianka headend room clear 000000000001 --db house.db
""",
)
@account_argument
@database_option()
@_BY
def clear_command(account: str, db: str, by: str) -> None:
    """Bring an empty room to zero: what it used since its last tenant is the landlord's."""
    with opened(db) as store:
        order = rooms.clear(store, account, by)
    if order:
        echo(_("order {order} brings room {account} to zero").format(order=order, account=account))
    else:
        echo(_("room {account} is at zero").format(account=account))


@room.command(
    "pay-back",
    epilog="""\b
Example:
  dianka headend room pay-back 3 --db house.db
""",
)
@click.argument("tenancy", type=click.IntRange(1))
@database_option()
@_BY
def pay_back_command(tenancy: int, db: str, by: str) -> None:
    """Pay out what was left to a tenant who moved out, once."""
    with opened(db) as store:
        fen = rooms.pay_back(store, tenancy, by)
    echo(
        _("pay {fen} yuan to the tenant of tenancy {tenancy}").format(
            fen=yuan(fen), tenancy=tenancy
        )
    )


@room.command(
    "bill",
    epilog="""\b
Example:
  dianka headend room bill 3 --db house.db --out bill.pdf --language zh
""",
)
@click.argument("tenancy", type=click.IntRange(1))
@database_option()
@click.option("--out", required=True, type=FILE, help="The PDF.")
@click.option(
    "--paper", type=click.Choice(tuple(receipts.PAPERS)), default="a4", help="Width in mm, or A4."
)
@click.option("--language", type=click.Choice(LANGUAGES), help="Of the bill.")
def bill_command(tenancy: int, db: str, out: Path, paper: str, language: str | None) -> None:
    """Write the final bill of a tenancy that has ended as PDF."""
    with opened(db, read_only=True) as store:
        with speaking(language or language_spoken()):
            content = final_bill.pdf(rooms.bill_of(store, tenancy), store.zone(), paper)
        receipts.write(out, content)
    echo(_("{out} is the final bill of tenancy {tenancy}").format(out=out, tenancy=tenancy))
