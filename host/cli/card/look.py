"""`dianka card show`, `verify`, `dump`, `diff` and `log`: cards and their log, looked at."""

from pathlib import Path

import click

from host.cards.audit import AuditLog
from host.cards.judging import judge
from host.cli import shown
from host.cli.card.desk import Desk, Source, card_option, desk_options
from host.cli.card.view import (
    describe,
    for_people,
    kind_of,
    label,
    plain,
    say_outcome,
    serial_worth,
)
from host.cli.headend.database import opened
from host.cli.headend.look import lists, print_list
from host.cli.options import (
    EXISTING_FILE,
    FILE,
    account_option,
    clear_errors,
    database_option,
    json_option,
    meter_option,
)
from host.cli.output import Column, echo, print_json, print_table, styled
from host.frames import card as frames
from host.frames.card_results import CODES, OUTCOMES
from host.headend import card_log
from host.link.card import FileCard, NoCardError
from host.units import yuan
from host.words import _, marked


@shown.command(
    epilog="""\b
Examples:
  dianka card show --file card.bin
  dianka card show --file card.bin --account 000000000017 --meter 000000983764 --last-order 4
"""
)
@desk_options
@card_option
@account_option("Say whether this account would take the card.")
@meter_option("Address of its meter.  [default: the card's]")
@click.option(
    "--last-order",
    type=click.IntRange(0, frames.ORDER_LIMIT),
    default=0,
    show_default=True,
    help="Its newest order.",
)
@json_option
def show(
    source: Source,
    desk: Desk,
    account: str | None,
    meter: str | None,
    last_order: int,
    as_json: bool,
) -> None:
    """Explain every field of a card, and say whether an account would take it."""
    with clear_errors():
        memory = source.open()
        image = memory.read(0, frames.CARD_SIZE)
        key = desk.key_for(frames.parse(image).header)
        card = frames.parse(image, key)
        found = describe(card, key is not None)
        if card.header:
            found[marked("serial number")] = serial_worth(memory, image)
        if account and card.header:
            place = desk.place(account, meter or card.header.meter, last_order)
            name = judge(image, memory.uid, place)
            found[marked("would be")] = OUTCOMES[CODES[name]]
    if as_json:
        plain_fields = {name: plain(value) for name, value in found.items()}
        print_json(plain_fields, indent=2)
        return
    rows = [(styled(_(name), "bold"), for_people(value)) for name, value in found.items()]
    columns = (Column(""), Column("", wraps=True))
    print_table(columns, rows, title=_("Card {uid}").format(uid=memory.uid), headed=False)


@shown.command(
    epilog="""\b
Example:
  dianka card verify --file card.bin --account 000000000017 --meter 000000983764 --last-order 4
"""
)
@desk_options
@card_option
@account_option(required=True)
@meter_option(required=True)
@click.option(
    "--last-order",
    required=True,
    type=click.IntRange(0, frames.ORDER_LIMIT),
    help="Order it redeemed last, 0: none.",
)
@click.option("--uid", help="Serial number the reader sees, where the file has another.")
@json_option
def verify(
    source: Source,
    desk: Desk,
    account: str,
    meter: str,
    last_order: int,
    uid: str | None,
    as_json: bool,
) -> None:
    """Say whether an account would credit the card now; status 1 when it would not."""
    with clear_errors():
        place = desk.place(account, meter, last_order)
        try:
            memory = source.open()
            image = memory.read(0, frames.CARD_SIZE)
            name = judge(image, (uid or memory.uid).upper(), place)
        except NoCardError:
            name = "WRONG_TYPE"
    # A card whose money counted already brings none, marked or not.
    outcome = OUTCOMES[CODES["USED" if name == "COMPLETED" else name]]
    accepted = outcome.name == "OK"
    if as_json:
        reason = "would be credited" if accepted else outcome.english
        answer = {"accepted": accepted, "code": label(outcome), "reason": reason}
        print_json(answer)
    else:
        say_outcome(outcome)
    if not accepted:
        raise click.exceptions.Exit(1)


@shown.command(
    epilog="""\b
Examples:
  dianka card dump --file card.bin
  dianka card dump --pcsc --out card.bin
"""
)
@desk_options
@card_option
@click.option("--out", type=FILE, help="Copy it to a file.")
def dump(source: Source, desk: Desk, out: Path | None) -> None:
    """Print a card's bytes by part, or copy them to a file for a later look."""
    with clear_errors():
        memory = source.open()
        image = memory.read(0, memory.size)
    if out is not None:
        if out.exists():
            raise click.ClickException(_("{out} exists and is not overwritten").format(out=out))
        out.write_bytes(image)
        echo(
            _("{image} bytes of card {uid} in {out}").format(
                image=len(image), uid=memory.uid, out=out
            )
        )
        return
    mark = frames.IMAGE_OFFSET + frames.WRITE_BACK_OFFSET
    parts = {
        0: _("chip"),
        frames.IMAGE_OFFSET: _("header"),
        mark - 8: _("MAC"),
        mark: _("write-back"),
    }
    parts |= {
        mark + frames.WRITE_BACK_BODY_SIZE: _("MAC"),
        mark + frames.WRITE_BACK_BODY_SIZE + 8: _("rest"),
    }
    starts = sorted({*range(0, len(image), 16), *parts})
    for start, end in zip(starts, [*starts[1:], len(image)], strict=True):
        echo(f"{start:4d}  {image[start:end].hex(' '):47}  {parts.get(start, '')}".rstrip())


@shown.command(
    epilog="""\b
Example:
  dianka card diff before.bin after.bin
"""
)
@click.argument("first", type=EXISTING_FILE)
@click.argument("second", type=EXISTING_FILE)
@desk_options
def diff(first: Path, second: Path, desk: Desk) -> None:
    """Say which fields differ between two card files; status 1 when some do."""
    with clear_errors():
        images = [FileCard(path).read(0, frames.CARD_SIZE) for path in (first, second)]
        cards = [frames.parse(image, desk.key_for(frames.parse(image).header)) for image in images]
    left, right = (describe(card, card.genuine) for card in cards)
    rows = []
    for name in dict.fromkeys((*left, *right)):
        one, other = (for_people(side.get(name, "-")) for side in (left, right))
        if one != other:
            rows.append((_(name), one, other))
    if images[0] == images[1]:
        echo(_("the cards are the same, byte for byte"))
        return
    if rows:
        columns = (
            Column(_("field")),
            *(Column(path.name, wraps=True) for path in (first, second)),
        )
        print_table(columns, rows)
    count = sum(one != other for one, other in zip(*images, strict=True))
    echo(_("{count} bytes differ").format(count=count))
    raise click.exceptions.Exit(1)


_LOGGED = ("at", "by", "stage", "kind", "account", "order", "amount_fen", "uid")


@shown.command(
    "log",
    epilog="""\b
Examples:
  dianka card log --account 000000000017
  dianka card log --db village.db --csv
""",
)
@desk_options
@account_option("Only cards of this account.")
@database_option("Hold the log against the orders of this database.", required=False)
@lists
def log_command(
    desk: Desk, account: str | None, db: str | None, as_json: bool, as_csv: bool
) -> None:
    """Show the log of every card written; status 1 when it was changed or does not agree."""
    listed = as_json or as_csv
    with clear_errors():
        log = AuditLog(desk.log_path, desk.held.key_of if desk.keys_path.exists() else None)
        rows = []
        for entry in log.entries():
            if account in (None, entry["account"]):
                row = {name: entry[name] for name in _LOGGED}
                kind = kind_of(entry["kind"])
                row["kind"] = plain(kind)
                if not listed:
                    row |= {"kind": for_people(kind).plain, "stage": _(entry["stage"])}
                rows.append(row)
    words = (_("at"), _("by"), _("stage"), _("kind"), _("account"))
    money = (Column(_("order"), right=True), Column(_("yuan"), right=True))
    columns = (*map(Column, words), *money, Column(_("card")))
    empty = _("the log has no card")
    print_list("log", rows, list(zip(columns, _LOGGED, strict=True)), as_json, as_csv, empty)
    if log.broken_at is not None:
        raise click.ClickException(
            _("{path} was changed at or before line {broken_at}").format(
                path=log.path, broken_at=log.broken_at
            )
        )
    if log.unchecked:
        echo(
            _("{unchecked} of {lines} lines not checked: their keys are not in {path}").format(
                unchecked=log.unchecked, lines=log.lines, path=desk.keys_path
            ),
            err=listed,
        )
        return
    echo(
        _("{lines} lines, none of them changed; head {head}").format(
            lines=log.lines, head=log.head
        ),
        err=listed,
    )
    if db is not None:
        count, elsewhere = _hold_against(log, db)
        echo(
            _("{count} orders on cards by this log, {elsewhere} more by others").format(
                count=count, elsewhere=elsewhere
            ),
            err=listed,
        )


def _hold_against(log: AuditLog, db: str) -> tuple[int, int]:
    """Compare the log with the orders sold and the head told last; ClickException: they differ.

    Return how many orders are on cards by this log, and how many more by others.
    """
    with opened(db, read_only=True) as store:
        known = card_log.told(store, log.name) if log.lines else None
        sold = card_log.carded(store)
    amounts = {(one.account, one.order, one.amount_fen) for one in sold}
    carded = {(one.account, one.order) for one in sold if one.on_card}
    troubles = []
    if known is not None and log.digest_at(known.lines) != known.digest:
        troubles.append(
            _("the head-end was told of {lines} lines with the head {digest}").format(
                lines=known.lines, digest=known.digest
            )
        )
    for (account, order), written in sorted(log.orders().items()):
        amount_fen = -written.amount_fen if written.refunds else written.amount_fen
        if (account, order, amount_fen) not in amounts:
            troubles.append(
                _(
                    "order {order} of account {account}, {amount} yuan, is on card {uid} and was "
                    "not sold so"
                ).format(order=order, account=account, amount=yuan(amount_fen), uid=written.uid)
            )
    if troubles:
        raise click.ClickException("\n".join(troubles))
    here = log.orders()
    return len(here), sum(which not in here for which in carded)
