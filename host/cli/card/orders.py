"""`dianka card issue`, `topup` and `replace`: orders of households written on cards."""

import os
from pathlib import Path

import click
from rich.progress import Progress

from host.cards import batch
from host.cards.issuing import IssueError
from host.cli import shown
from host.cli.card.desk import (
    SUITES,
    Desk,
    Source,
    card_option,
    desk_options,
    force_option,
    next_tariff_options,
    valid_option,
)
from host.cli.card.view import facts
from host.cli.options import (
    EXISTING_FILE,
    account_option,
    amount_option,
    clear_errors,
    database_option,
    json_option,
    meter_option,
    now_t2000,
    order_option,
)
from host.cli.output import echo, print_json
from host.frames import card as frames
from host.frames.card import CardKind, Header
from host.link.card import CardMemory
from host.units import yuan
from host.words import _

ISSUED_KINDS = ("open", "purchase", "replacement", "refund", "inspect", "test")


@shown.command(
    epilog="""\b
Examples:
  dianka card issue --file card.bin --account 000000000017 --meter 000000983764 \\
      --order 2 --amount 49.95
  dianka card issue --file card.bin --account 000000000001 --db village.db
  dianka card issue --csv orders.csv --folder cards
"""
)
@desk_options
@card_option
@account_option()
@meter_option()
@order_option()
@amount_option()
@database_option("Take order, amount and meter from this database.", required=False)
@click.option(
    "--csv",
    "csv_path",
    type=EXISTING_FILE,
    help="Issue all orders of this file: account,meter,order,amount.",
)
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="With --csv: a card file for each order, in this folder.",
)
@click.option(
    "--kind",
    type=click.Choice(ISSUED_KINDS),
    help="Default: refund for one of --db, open for order 1, else purchase.",
)
@click.option(
    "--suite",
    type=click.Choice(list(SUITES)),
    default="hmac",
    show_default=True,
    help="Algorithm of the MACs on the card.",
)
@valid_option
@next_tariff_options
@force_option
@json_option
def issue(
    source: Source,
    desk: Desk,
    account: str | None,
    meter: str | None,
    order: int | None,
    amount_fen: int | None,
    db: str | None,
    csv_path: Path | None,
    folder: Path | None,
    kind: str | None,
    suite: str,
    valid_until_t2000: int | None,
    next_tariff: bytes | None,
    force: bool,
    as_json: bool,
) -> None:
    """Write orders on cards, and read them back. No order is issued twice."""
    if csv_path is not None:
        _issue_csv(desk, csv_path, folder, source, SUITES[suite])
        return
    moneyless = kind in ("inspect", "test")
    if kind == "test":
        account = meter = frames.NOBODY
    if account is None:
        raise click.UsageError(_("whose card is it? Give --account"))
    if db is not None:
        order, amount_fen, meter = _sold(db, account, order, meter)
    elif moneyless:
        order, amount_fen = 0, 0
    if order is None or amount_fen is None or meter is None:
        raise click.UsageError(_("give --order, --amount and --meter, or --db to look them up"))
    default = CardKind.OPEN if order == 1 else CardKind.PURCHASE
    if db is not None and amount_fen <= 0:  # the head-end says that it is to be paid back
        default, amount_fen = CardKind.REFUND, -amount_fen
        if kind not in (None, "refund"):
            raise click.UsageError(
                _("order {order} is a refund: leave --kind out").format(order=order)
            )
    with clear_errors():
        header = new_header(
            desk,
            CardKind[kind.upper()] if kind else default,
            account=account,
            meter=meter,
            order=order,
            amount_fen=amount_fen,
            valid_until_t2000=valid_until_t2000 or 0,
            suite=SUITES[suite],
            next_tariff=next_tariff,
        )
        write_card(desk, source, header, force, as_json)
    if db is not None:
        _note_card(db, account, order)


@shown.command(
    epilog="""\b
Example:
  dianka card topup --file card.bin --amount 49.95
"""
)
@desk_options
@card_option
@amount_option("Yuan.", required=True)
@order_option("Order number.  [default: the one after the card's]")
@valid_option
@next_tariff_options
@force_option
@json_option
def topup(
    source: Source,
    desk: Desk,
    amount_fen: int,
    order: int | None,
    valid_until_t2000: int | None,
    next_tariff: bytes | None,
    force: bool,
    as_json: bool,
) -> None:
    """Write the next order of the household whose card this is."""
    with clear_errors():
        image = source.open().read(0, frames.CARD_SIZE)
        old = _genuine(desk, image)
        header = new_header(
            desk,
            CardKind.PURCHASE,
            account=old.account,
            meter=old.meter,
            order=order or old.order + 1,
            amount_fen=amount_fen,
            valid_until_t2000=valid_until_t2000 or 0,
            suite=old.suite,
            next_tariff=next_tariff,
        )
        write_card(desk, source, header, force, as_json)


@shown.command(
    "replace",
    epilog="""\b
Example:
  dianka card replace --file new.bin --account 000000000017 --meter 000000983764 \\
      --order 5 --amount 50.00
""",
)
@desk_options
@card_option
@account_option(required=True)
@meter_option(required=True)
@order_option("The newest order sold: it is credited if it was not redeemed yet.", required=True)
@amount_option("Yuan of that order.", required=True)
@force_option
@json_option
def replace_command(
    source: Source,
    desk: Desk,
    account: str,
    meter: str,
    order: int,
    amount_fen: int,
    force: bool,
    as_json: bool,
) -> None:
    """Make another card for one that was lost or does not work any more."""
    with clear_errors():
        header = new_header(
            desk,
            CardKind.REPLACEMENT,
            account=account,
            meter=meter,
            order=order,
            amount_fen=amount_fen,
        )
        write_card(desk, source, header, force, as_json)


def new_header(
    desk: Desk,
    kind: CardKind,
    account: str = frames.NOBODY,
    meter: str = frames.NOBODY,
    order: int = 0,
    amount_fen: int = 0,
    valid_until_t2000: int = 0,
    suite: int = 1,
    next_tariff: bytes | None = None,
) -> Header:
    """Return a header of the desk's district, not yet bound to a card."""
    return Header(
        kind=kind,
        key_version=desk.key_version,
        district=desk.district,
        account=account,
        meter=meter,
        uid="",
        order=order,
        amount_fen=amount_fen,
        issued_t2000=now_t2000(),
        valid_until_t2000=valid_until_t2000,
        suite=suite,
        flags=frames.FLAG_SPARE_TARIFF if next_tariff else 0,
        content=next_tariff or bytes(frames.CONTENT_SIZE),
    )


def write_card(desk: Desk, source: Source, header: Header, force: bool, as_json: bool) -> None:
    """Write one card and say so."""
    issuer = desk.issuer()
    header = issuer.issue(source.open(create=True), header, force)
    if as_json:
        print_json(facts(header))
        return
    kind = CardKind(header.kind).name.lower()
    if header.kind in frames.MONEY_KINDS:
        what = _("order {order} of account {account}, {amount_fen} yuan").format(
            order=header.order, account=header.account, amount_fen=yuan(header.amount_fen)
        )
        echo(
            _("{name}: {what}, {kind} card {uid}").format(
                name=source.name, what=what, kind=kind, uid=header.uid
            )
        )
    else:
        echo(_("{name}: {kind} card {uid}").format(name=source.name, kind=kind, uid=header.uid))


def _issue_csv(
    desk: Desk, csv_path: Path, folder: Path | None, source: Source, suite: int
) -> None:
    """Issue a whole list, going on where it stopped."""
    if (folder is None) == (source.reader_name is None) or source.port or source.path:
        raise click.UsageError(_("say where the cards come from: --folder cards, or --pcsc"))
    with clear_errors():
        orders = batch.read_orders(csv_path)
        issuer = desk.issuer()
        magazine = batch.Folder(folder) if folder is not None else _Hand(source.reader_name or "")
        written = skipped = 0
        with Progress(disable=not os.isatty(1)) as progress:
            task = progress.add_task("cards", total=len(orders))

            def told(order: batch.Order) -> None:
                nonlocal skipped
                skipped += 1
                progress.advance(task)

            district, version = desk.district, desk.key_version
            for _card in batch.issue_all(issuer, orders, magazine, district, version, suite, told):
                written += 1
                progress.advance(task)
    echo(
        _("{written} cards issued, {skipped} were issued before, {orders} orders").format(
            written=written, skipped=skipped, orders=len(orders)
        )
    )


class _Hand:
    """Cards put into a PC/SC reader by hand, one after another."""

    def __init__(self, reader_name: str) -> None:
        self._reader_name = reader_name
        self._done: set[str] = set()

    def card_for(self, order: batch.Order, uid: str | None) -> CardMemory:
        """Ask for a card until one is there that this batch has not written yet."""
        from host.link.pcsc import WAIT_S, PcscCard

        which = _("card {uid}, which was begun").format(uid=uid) if uid else _("the next card")
        while True:
            echo(
                _("insert {which} for account {account}, order {order}").format(
                    which=which, account=order.account, order=order.order
                )
            )
            card = PcscCard(self._reader_name, WAIT_S)
            if card.uid not in self._done and uid in (None, card.uid):
                self._card = card
                return card
            card.close()
            click.pause(_("that is another card; change it and press any key"))

    def put(self, order: batch.Order) -> None:
        """Tell that the card may be taken out."""
        self._done.add(self._card.uid)
        self._card.close()


def _genuine(desk: Desk, image: bytes) -> Header:
    """Return the header of a card that this desk could have made."""
    held = frames.parse(image)
    card = frames.parse(image, desk.key_for(held.header))
    if card.header is None or not card.genuine or card.header.kind not in frames.MONEY_KINDS:
        raise IssueError(_("this is no household's card of ours: `dianka card issue` makes one"))
    return card.header


def _note_card(db: str, account: str, order: int) -> None:
    """Note in the head-end's database that a card holds the order."""
    from host.cli.headend.database import opened
    from host.headend.orders import set_carded

    with opened(db) as store:
        set_carded(store, account, order)


def _sold(db: str, account: str, order: int | None, meter: str | None) -> tuple[int, int, str]:
    """Order, amount and meter that the head-end has for `account`: its oldest not redeemed."""
    from host.cli.headend.database import opened
    from host.headend.orders import find_order

    with opened(db, read_only=True) as store:
        sold = find_order(store, account, order)
    if sold is None:
        what = (
            _("order {order}").format(order=order) if order else _("an order that is not redeemed")
        )
        hint = _("sell one with `dianka headend sell`")
        raise click.ClickException(
            _("{db} has not {what} of account {account}: {hint}").format(
                db=db, what=what, account=account, hint=hint
            )
        )
    meter = meter or sold.meter
    if meter is None:
        raise click.ClickException(
            _("{db} knows no meter of account {account}: give --meter").format(
                db=db, account=account
            )
        )
    return sold.order, sold.amount_fen, meter
