"""`dianka card issue`, `topup` and `replace`: orders of households written on cards."""

import os
from pathlib import Path

import click
from rich.progress import Progress

from host.cards import batch
from host.cards.audit import AuditLog
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
from host.cli.card.view import Word, facts, kind_of
from host.cli.headend.database import opened
from host.cli.headend.till import till_options
from host.cli.options import (
    EXISTING_FILE,
    account_option,
    amount_option,
    clear_errors,
    database_option,
    json_option,
    meter_option,
    order_option,
)
from host.cli.output import echo, print_json
from host.frames import card as frames
from host.frames.card import CardKind, Header
from host.headend import card_log, orders
from host.headend.orders import SoldOrder, Till
from host.link.card import CardIoError, CardMemory
from host.units import now_t2000, yuan
from host.words import _, either, marked

ISSUED_KINDS = ("open", "purchase", "replacement", "refund", "inspect", "test")


@shown.command(
    epilog="""\b
Examples:
  dianka card issue --file card.bin --account 000000000017 --meter 000000983764 \\
      --order 2 --amount 49.95
  dianka card issue --file card.bin --account 000000000001 --db village.db
  dianka card issue --csv orders.csv --folder cards --db village.db
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
        _issue_csv(desk, csv_path, folder, source, SUITES[suite], db)
        return
    moneyless = kind in ("inspect", "test")
    if kind == "test":
        account = meter = frames.NOBODY
    if account is None:
        raise click.UsageError(_("give --account, the household of the card"))
    supersedes = 0
    if db is not None:
        sold = _sold(db, account, order)
        order, amount_fen, supersedes = sold.order, sold.amount_fen, sold.supersedes
        meter = meter or _meter_of(db, sold)
    elif moneyless:
        order, amount_fen = 0, 0
    if order is None or amount_fen is None or meter is None:
        raise click.UsageError(_("give --order, --amount and --meter, or --db to look them up"))
    default = CardKind.OPEN if 1 in (order, supersedes) else CardKind.PURCHASE
    refunds = amount_fen < 0 or (amount_fen == 0 and default != CardKind.OPEN)
    if db is not None and refunds:  # the head-end says that it is to be paid back
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
            supersedes=supersedes,
        )
        _write_order(desk, source, header, force, as_json, db)


@shown.command(
    epilog="""\b
Examples:
  dianka card topup --file card.bin --amount 49.95 --db village.db --cashier Li
  dianka card topup --file card.bin --amount 49.95
"""
)
@desk_options
@card_option
@amount_option("Yuan.", required=True)
@order_option("Order number.  [default: the one after the card's]")
@database_option("Sell the order in this database; it has the number.", required=False)
@till_options
@valid_option
@next_tariff_options
@force_option
@json_option
def topup(
    source: Source,
    desk: Desk,
    amount_fen: int,
    order: int | None,
    db: str | None,
    till: Till,
    valid_until_t2000: int | None,
    next_tariff: bytes | None,
    force: bool,
    as_json: bool,
) -> None:
    """Write the next order of the household whose card this is; with --db it is sold here too."""
    if db is not None and order is not None:
        raise click.UsageError(_("the number comes from --db: leave --order out"))
    with clear_errors():
        image = source.open().read(0, frames.CARD_SIZE)
        old, used = _genuine(desk, image)
        supersedes = 0
        if db is None:
            echo(_(_NOTED_NOWHERE), err=True)
            order = order or old.order + 1
        else:
            if not used and not force:
                raise IssueError(_not_redeemed(old))
            order, supersedes = _sell_now(db, old.account, amount_fen, till)
        first = 1 in (order, supersedes)
        header = new_header(
            desk,
            CardKind.OPEN if first else CardKind.PURCHASE,
            account=old.account,
            meter=old.meter,
            order=order,
            amount_fen=amount_fen,
            valid_until_t2000=valid_until_t2000 or 0,
            suite=old.suite,
            next_tariff=next_tariff,
            supersedes=supersedes,
        )
        try:
            _write_order(desk, source, header, force, as_json, db)
        except (IssueError, CardIoError) as error:
            if db is None:
                raise
            hint = _("order {order} is sold all the same: `dianka card issue --db` writes it")
            raise IssueError(f"{error}; {hint.format(order=order)}") from error


@shown.command(
    "replace",
    epilog="""\b
Examples:
  dianka card replace --file new.bin --account 000000000001 --db village.db
  dianka card replace --file new.bin --account 000000000017 --meter 000000983764 \\
      --order 5 --amount 50.00
""",
)
@desk_options
@card_option
@account_option(required=True)
@meter_option()
@order_option("The newest order sold: it is credited if it was not redeemed yet.")
@amount_option("Yuan of that order.")
@database_option("Take order, amount and meter from this database.", required=False)
@force_option
@json_option
def replace_command(
    source: Source,
    desk: Desk,
    account: str,
    meter: str | None,
    order: int | None,
    amount_fen: int | None,
    db: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Make another card for one that was lost or does not work any more."""
    supersedes = 0
    if db is not None:
        if order is not None or amount_fen is not None:
            raise click.UsageError(_("order and amount come from --db: leave them out"))
        sold = _newest(db, account)
        order, amount_fen, supersedes = sold.order, sold.amount_fen, sold.supersedes
        meter = meter or _meter_of(db, sold)
    if order is None or amount_fen is None or meter is None:
        raise click.UsageError(_("give --order, --amount and --meter, or --db to look them up"))
    with clear_errors():
        header = new_header(
            desk,
            CardKind.REPLACEMENT if amount_fen > 0 else CardKind.REFUND,
            account=account,
            meter=meter,
            order=order,
            amount_fen=abs(amount_fen),
            supersedes=supersedes,
        )
        _write_order(desk, source, header, force, as_json, db, again=True)


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
    supersedes: int = 0,
) -> Header:
    """Return a header of the desk's district, not yet bound to a card."""
    header = Header(
        kind=kind,
        key_version=desk.key_version,
        district=desk.district,
        account=account,
        meter=meter,
        uid="",
        order=order,
        amount_fen=amount_fen,
        issued_t2000=now_t2000(desk.zone),
        valid_until_t2000=valid_until_t2000,
        suite=suite,
        flags=frames.FLAG_SPARE_TARIFF if next_tariff else 0,
        content=next_tariff or bytes(frames.CONTENT_SIZE),
    )
    return frames.superseding(header, supersedes) if supersedes else header


def _write_order(
    desk: Desk,
    source: Source,
    header: Header,
    force: bool,
    as_json: bool,
    db: str | None,
    again: bool = False,
) -> None:
    """Write an order on a card; a database notes before that a card may hold it."""
    if db is not None:
        source.open(create=True)
        _note_card(db, header.account, header.order)
    log = write_card(desk, source, header, force, as_json, again)
    if db is not None:
        tell_log(db, log)


def write_card(
    desk: Desk,
    source: Source,
    header: Header,
    force: bool,
    as_json: bool,
    again: bool = False,
) -> AuditLog:
    """Write one card, say so with the head of the log, and return the log."""
    issuer = desk.issuer()
    header = issuer.issue(source.open(create=True), header, force, again)
    if as_json:
        print_json({**facts(header), "log_head": issuer.log.head})
        return issuer.log
    kind = either(CardKind(header.kind).name.lower(), _kind_text(header.kind))
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
    echo(_("head of the log: {head}").format(head=issuer.log.head))
    return issuer.log


def tell_log(db: str, log: AuditLog) -> None:
    """Tell the head-end the head of the log; warn where it lacks what was told before."""
    with opened(db) as store:
        known = card_log.told(store, log.name)
        lost = known if known and log.digest_at(known.lines) != known.digest else None
        card_log.tell(store, card_log.Head(log.name, log.lines, log.digest_at(log.lines)), lost)
    if lost is not None:
        echo(
            _(
                "warning: {path} had {lines} lines with the head {digest} when the head-end was "
                "told last, and has not any more: `dianka headend findings`"
            ).format(path=log.path, lines=lost.lines, digest=lost.digest),
            err=True,
        )


def _kind_text(kind: int) -> str:
    word = kind_of(kind)
    return _(word.text) if isinstance(word, Word) else word


def _issue_csv(
    desk: Desk,
    csv_path: Path,
    folder: Path | None,
    source: Source,
    suite: int,
    db: str | None,
) -> None:
    """Issue a whole list, going on where it stopped."""
    if (folder is None) == (source.reader_name is None) or source.port or source.path:
        raise click.UsageError(_("say where the cards come from: --folder cards, or --pcsc"))
    with clear_errors():
        listed = batch.read_orders(csv_path)
        if db is not None:
            for one in listed:
                _note_card(db, one.account, one.order)
        issuer = desk.issuer()
        magazine = batch.Folder(folder) if folder is not None else _Hand(source.reader_name or "")
        written = skipped = 0
        with Progress(disable=not os.isatty(1)) as progress:
            task = progress.add_task("cards", total=len(listed))

            def told(order: batch.Order) -> None:
                nonlocal skipped
                skipped += 1
                progress.advance(task)

            district, version = desk.district, desk.key_version
            for _card in batch.issue_all(
                issuer, listed, magazine, district, version, suite, told, desk.zone
            ):
                written += 1
                progress.advance(task)
        if db is not None and issuer.log.lines:
            tell_log(db, issuer.log)
    echo(
        _("{written} cards issued, {skipped} were issued before, {orders} orders").format(
            written=written, skipped=skipped, orders=len(listed)
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


_NOTED_NOWHERE = marked(
    "this sale is noted in the log of cards alone: with --db the head-end knows of it as well"
)


def _genuine(desk: Desk, image: bytes) -> tuple[Header, bool]:
    """Return the header of a card that this desk could have made, and whether it is used up."""
    held = frames.parse(image)
    card = frames.parse(image, desk.key_for(held.header))
    if card.header is None or not card.genuine or card.header.kind not in frames.MONEY_KINDS:
        raise IssueError(_("this is no household's card of ours: `dianka card issue` makes one"))
    return card.header, card.used or not card.header.amount_fen


def _not_redeemed(header: Header) -> str:
    return _(
        "the card bears order {order} of account {account}, not redeemed yet: redeem it first, or "
        "give it up with --force; nothing is sold"
    ).format(order=header.order, account=header.account)


def _sell_now(db: str, account: str, amount_fen: int, till: Till) -> tuple[int, int]:
    """Sell in the database; return the order and the first that it supersedes, 0: none."""
    with opened(db) as store:
        order = orders.sell(store, account, amount_fen, till)
        sold = orders.find_order(store, account, order)
    return order, sold.supersedes if sold else 0


def _note_card(db: str, account: str, order: int) -> None:
    """Note in the head-end's database that a card may hold the order."""
    with opened(db) as store:
        orders.set_carded(store, account, order)


def _newest(db: str, account: str) -> SoldOrder:
    """Return the newest order that the head-end has sold to `account`."""
    with opened(db, read_only=True) as store:
        sold = orders.newest_order(store, account)
    if sold is None:
        raise click.ClickException(
            _("{db} has not {what} of account {account}: {hint}").format(
                db=db,
                what=_("an order"),
                account=account,
                hint=_("sell one with `dianka headend sell`"),
            )
        )
    return sold


def _sold(db: str, account: str, order: int | None) -> SoldOrder:
    """Return an order that the head-end has sold to `account`: its oldest not redeemed."""
    with opened(db, read_only=True) as store:
        sold = orders.find_order(store, account, order)
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
    return sold


def _meter_of(db: str, sold: SoldOrder) -> str:
    """Return the meter of the account of an order."""
    if sold.meter is None:
        raise click.ClickException(
            _("{db} knows no meter of account {account}: give --meter").format(
                db=db, account=sold.account
            )
        )
    return sold.meter
