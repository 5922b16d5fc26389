"""`dianka card`: keys of the issuer; cards issued, shown, judged, redeemed, repaired."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from host.cards import batch, keystore
from host.cards.audit import AuditLog
from host.cards.issuing import IssueError, give_serial
from host.cli.card_parts import (
    AMOUNT,
    DIGITS,
    LIMIT,
    SUITES,
    Desk,
    Source,
    account_option,
    card_option,
    clear_errors,
    console_of,
    desk_options,
    force_option,
    json_option,
    meter_option,
    new_passphrase,
    next_tariff_options,
    now_t2000,
    passphrase,
    pc_card_option,
    port_option,
    valid_option,
)
from host.cli.card_view import (
    describe,
    facts,
    for_people,
    label,
    outcome_of,
    plain,
    say_outcome,
    table_of,
)
from host.frames import card as frames
from host.frames.card import CardKind, Header
from host.link import reader
from host.link.card import CardMemory, FileCard, NoCardError
from host.link.port import Port
from host.link.programmer import PortCard
from host.units import yuan

ISSUED_KINDS = ("open", "purchase", "replacement", "refund", "inspect", "test")


@click.group(
    epilog="""\b
Examples:
  dianka card keys new --district 4711
  dianka card issue --file card.bin --account 000000000017 --meter 000000983764 \\
      --order 1 --amount 50.00
  dianka card show --file card.bin
  dianka card redeem --file card.bin --port /dev/ttyUSB0
"""
)
def command() -> None:
    """Issue, show, judge and redeem prepaid IC cards."""


# --- keys -------------------------------------------------------------------------------------


@command.group()
def keys() -> None:
    """Make key files, hand down what a district needs, bring keys to concentrators."""


@keys.command(
    "new",
    epilog="""\b
Example:
  dianka card keys new --district 4711
""",
)
@desk_options
@click.option("--unsealed", is_flag=True, help="Without a passphrase: for tests and demos.")
def keys_new(desk: Desk, unsealed: bool) -> None:
    """Make the keys of a new issuer."""
    if desk.district_given is None:
        raise click.UsageError("say for which --district most cards will be")
    with clear_errors():
        made = keystore.new(desk.district_given)
        keystore.save(desk.keys_path, made, None if unsealed else new_passphrase())
    click.echo(f"made {desk.keys_path}: keep a copy offline, whoever has it can make money")


@keys.command(
    "hand-down",
    epilog="""\b
Example:
  dianka card keys hand-down --district 4711 --out counter-4711.toml
""",
)
@desk_options
@click.option("--out", required=True, type=click.Path(dir_okay=False, path_type=Path))
def keys_hand_down(desk: Desk, out: Path) -> None:
    """Make the key file of a counter that works for one district."""
    with clear_errors():
        part = desk.held.handed_down(desk.district, desk.key_version)
        keystore.save(out, part, new_passphrase())
    click.echo(f"made {out}: district {part.district} in key version {part.key_version} alone")


@keys.command(
    "advance",
    epilog="""\b
Example:
  dianka card keys advance
""",
)
@desk_options
def keys_advance(desk: Desk) -> None:
    """Issue under the next key version from now on, once all concentrators have its key."""
    with clear_errors():
        held = desk.held
        if not held.issuer_key:
            raise IssueError("this file holds one version only: have the next one handed down")
        if held.key_version == 255:
            raise IssueError("there is no key version after 255: begin with new keys")
        sealed = passphrase() if keystore.is_sealed(desk.keys_path) else None
        moved = replace(held, key_version=held.key_version + 1)
        keystore.save(desk.keys_path, moved, sealed, overwrite=True)
    click.echo(f"{desk.keys_path}: key version {moved.key_version}")


@keys.command(
    "install",
    epilog="""\b
Example:
  dianka card keys install --port /dev/ttyUSB0
""",
)
@desk_options
@port_option
def keys_install(desk: Desk, port: str) -> None:
    """Give a concentrator the key of its district and of its console."""
    with clear_errors():
        key, console_key = desk.key, desk.held.console_key
        with console_of(port, console_key) as console:
            console.command(f"set district {desk.district}")
            console.command(f"set card_key {key.hex()}")
            console.command(f"set card_key_version {desk.key_version}")
            console.command(f"set console_key {console_key.hex()}")
    click.echo(f"{port} takes cards of district {desk.district}, key version {desk.key_version}")


# --- orders -----------------------------------------------------------------------------------


@command.command(
    epilog="""\b
Examples:
  dianka card issue --file card.bin --account 000000000017 --meter 000000983764 \\
      --order 2 --amount 49.95
  dianka card issue --file card.bin --account 000000000017 --db village.db
  dianka card issue --csv orders.csv --folder cards
"""
)
@desk_options
@card_option
@click.option("--account", type=DIGITS, help="Account number, 12 digits.")
@click.option("--meter", type=DIGITS, help="Its meter, 12 digits.")
@click.option("--order", type=click.IntRange(1, frames.ORDER_LIMIT), help="Order number.")
@click.option("--amount", "amount_fen", type=AMOUNT, help="Yuan, with at most two decimals.")
@click.option(
    "--db",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Take order, amount and meter from this database of the head-end.",
)
@click.option(
    "--csv",
    "csv_path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
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
@click.option("--suite", type=click.Choice(list(SUITES)), default="hmac", show_default=True)
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
    db: Path | None,
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
        raise click.UsageError("whose card is it? Give --account")
    if db is not None:
        order, amount_fen, meter = _sold(db, account, order, meter)
    elif moneyless:
        order, amount_fen = 0, 0
    if order is None or amount_fen is None or meter is None:
        raise click.UsageError("give --order, --amount and --meter, or --db to look them up")
    default = CardKind.OPEN if order == 1 else CardKind.PURCHASE
    if db is not None and amount_fen <= 0:  # the head-end says that it is to be paid back
        default, amount_fen = CardKind.REFUND, -amount_fen
        if kind not in (None, "refund"):
            raise click.UsageError(f"order {order} is a refund: leave --kind out")
    with clear_errors():
        header = _header(
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
        _issue(desk, source, header, force, as_json)


@command.command(
    epilog="""\b
Example:
  dianka card topup --file card.bin --amount 49.95
"""
)
@desk_options
@card_option
@click.option("--amount", "amount_fen", required=True, type=AMOUNT, help="Yuan.")
@click.option(
    "--order",
    type=click.IntRange(1, frames.ORDER_LIMIT),
    help="Order number.  [default: the one after the card's]",
)
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
        header = _header(
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
        _issue(desk, source, header, force, as_json)


@command.command(
    "replace",
    epilog="""\b
Example:
  dianka card replace --file new.bin --account 000000000017 --meter 000000983764 \\
      --order 5 --amount 50.00
""",
)
@desk_options
@card_option
@account_option
@meter_option
@click.option(
    "--order",
    required=True,
    type=click.IntRange(1, frames.ORDER_LIMIT),
    help="The newest order sold: it is credited if it was not redeemed yet.",
)
@click.option("--amount", "amount_fen", required=True, type=AMOUNT, help="Yuan of that order.")
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
        header = _header(
            desk,
            CardKind.REPLACEMENT,
            account=account,
            meter=meter,
            order=order,
            amount_fen=amount_fen,
        )
        _issue(desk, source, header, force, as_json)


# --- operators' cards ---------------------------------------------------------------------------

number_option = click.option(
    "--number",
    type=click.IntRange(1, frames.ORDER_LIMIT),
    help="Above that of any operator's card before.  [default: seconds since 2000]",
)


@command.command(
    epilog="""\b
Example:
  dianka card preset --file preset.bin --alarm-1 30 --alarm-2 10 --overdraft 20
"""
)
@desk_options
@card_option
@click.option("--alarm-1", "alarm_1_fen", type=LIMIT, help="First alarm, yuan.")
@click.option("--alarm-2", "alarm_2_fen", type=LIMIT, help="Second alarm, below the first.")
@click.option("--overdraft", "overdraft_fen", type=LIMIT, help="Lowest balance, below zero.")
@click.option("--hoarding", "hoarding_fen", type=AMOUNT, help="The most an account may hold.")
@click.option("--close", "close_fen", type=LIMIT, help="A cut supply comes back above it.")
@number_option
@force_option
@json_option
def preset(
    source: Source,
    desk: Desk,
    alarm_1_fen: int | None,
    alarm_2_fen: int | None,
    overdraft_fen: int | None,
    hoarding_fen: int | None,
    close_fen: int | None,
    number: int | None,
    force: bool,
    as_json: bool,
) -> None:
    """Make a card that sets limits on the concentrators it is inserted into."""
    values = (alarm_1_fen, alarm_2_fen, overdraft_fen, hoarding_fen, close_fen)
    given = zip(frames.LIMITS, values, strict=True)
    limits = {name: value for name, value in given if value is not None}
    if not limits:
        raise click.UsageError("name at least one limit, e.g. --alarm-1 30")
    with clear_errors():
        header = _header(desk, CardKind.PRESET, order=number or now_t2000())
        header = replace(header, content=frames.preset_content(limits))
        _issue(desk, source, header, force, as_json)


@command.command(
    epilog="""\b
Examples:
  dianka card clear --file clear.bin --account 000000000017 --meter 000000983764
  dianka card clear --file clear.bin --all
"""
)
@desk_options
@card_option
@click.option("--account", type=DIGITS, help="Account whose billing was stopped.")
@click.option("--meter", type=DIGITS, help="Its meter.")
@click.option("--all", "for_all", is_flag=True, help="Only set the count of illegal cards to 0.")
@number_option
@force_option
@json_option
def clear(
    source: Source,
    desk: Desk,
    account: str | None,
    meter: str | None,
    for_all: bool,
    number: int | None,
    force: bool,
    as_json: bool,
) -> None:
    """Make a card that lets a stopped account be billed again. It clears no money."""
    if for_all:
        account = meter = frames.NOBODY
    if account is None or meter is None:
        raise click.UsageError("give --account and --meter, or --all")
    with clear_errors():
        order = number or now_t2000()
        header = _header(desk, CardKind.CLEAR, account=account, meter=meter, order=order)
        _issue(desk, source, header, force, as_json)


@command.command(
    "change-key",
    epilog="""\b
Example:
  dianka card change-key --file key.bin
""",
)
@desk_options
@card_option
@click.option(
    "--new-version", type=click.IntRange(2, 255), help="Default: one above the present version."
)
@number_option
@force_option
@json_option
def change_key(
    source: Source,
    desk: Desk,
    new_version: int | None,
    number: int | None,
    force: bool,
    as_json: bool,
) -> None:
    """Make a card that brings a district's concentrators its next key. Old cards die with it."""
    with clear_errors():
        version = new_version or desk.key_version + 1
        if version <= desk.key_version:
            raise IssueError(f"version {version} is not above the present {desk.key_version}")
        new_key = desk.held.key_of(desk.district, version)
        header = _header(desk, CardKind.KEY, order=number or now_t2000())
        header = replace(header, content=frames.key_content(version, new_key))
        _issue(desk, source, header, force, as_json)


# --- looking ------------------------------------------------------------------------------------


@command.command(
    epilog="""\b
Examples:
  dianka card show --file card.bin
  dianka card show --file card.bin --account 000000000017 --meter 000000983764 --last-order 4
"""
)
@desk_options
@card_option
@click.option("--account", type=DIGITS, help="Say whether this account would take the card.")
@click.option("--meter", type=DIGITS, help="Address of its meter.  [default: the card's]")
@click.option("--last-order", type=int, default=0, show_default=True, help="Its newest order.")
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
        if account and card.header:
            place = desk.place(account, meter or card.header.meter, last_order)
            name = frames.judge(image, memory.uid, place)
            found["would be"] = frames.OUTCOMES[frames.CODES[name]]
    if as_json:
        plain_fields = {name: plain(value) for name, value in found.items()}
        click.echo(json.dumps(plain_fields, indent=2, ensure_ascii=False))
        return
    Console().print(table_of(f"Card {memory.uid}", found))


@command.command(
    epilog="""\b
Example:
  dianka card verify --file card.bin --account 000000000017 --meter 000000983764 --last-order 4
"""
)
@desk_options
@card_option
@account_option
@meter_option
@click.option("--last-order", required=True, type=int, help="Order it redeemed last, 0: none.")
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
            name = frames.judge(image, (uid or memory.uid).upper(), place)
        except NoCardError:
            name = "WRONG_TYPE"
    # A card whose money counted already brings none, marked or not.
    outcome = frames.OUTCOMES[frames.CODES["USED" if name == "COMPLETED" else name]]
    accepted = outcome.name == "OK"
    if as_json:
        reason = "would be credited" if accepted else outcome.english
        answer = {"accepted": accepted, "code": label(outcome), "reason": reason}
        click.echo(json.dumps(answer, ensure_ascii=False))
    else:
        say_outcome(outcome)
    if not accepted:
        raise click.exceptions.Exit(1)


@command.command(
    epilog="""\b
Examples:
  dianka card dump --file card.bin
  dianka card dump --pcsc --out card.bin
"""
)
@desk_options
@card_option
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Copy it to a file.")
def dump(source: Source, desk: Desk, out: Path | None) -> None:
    """Print a card's bytes by part, or copy them to a file for a later look."""
    with clear_errors():
        memory = source.open()
        image = memory.read(0, memory.size)
    if out is not None:
        if out.exists():
            raise click.ClickException(f"{out} exists and is not overwritten")
        out.write_bytes(image)
        click.echo(f"{len(image)} bytes of card {memory.uid} in {out}")
        return
    mark = frames.IMAGE_OFFSET + frames.WRITE_BACK_OFFSET
    parts = {0: "chip", frames.IMAGE_OFFSET: "header", mark - 8: "MAC", mark: "write-back"}
    parts |= {mark + frames.WRITE_BACK_SIZE: "MAC", mark + frames.WRITE_BACK_SIZE + 8: "rest"}
    starts = sorted({*range(0, len(image), 16), *parts})
    for start, end in zip(starts, [*starts[1:], len(image)], strict=True):
        click.echo(f"{start:4d}  {image[start:end].hex(' '):47}  {parts.get(start, '')}".rstrip())


@command.command(
    epilog="""\b
Example:
  dianka card diff before.bin after.bin
"""
)
@click.argument("first", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("second", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@desk_options
def diff(first: Path, second: Path, desk: Desk) -> None:
    """Say which fields differ between two card files; status 1 when some do."""
    with clear_errors():
        images = [FileCard(path).read(0, frames.CARD_SIZE) for path in (first, second)]
        cards = [frames.parse(image, desk.key_for(frames.parse(image).header)) for image in images]
    left, right = (describe(card, card.genuine) for card in cards)
    table = Table("field", first.name, second.name)
    for name in dict.fromkeys((*left, *right)):
        one, other = (for_people(side[name]) if name in side else "-" for side in (left, right))
        if one != other:
            table.add_row(name, one, other)
    if images[0] == images[1]:
        click.echo("the cards are the same, byte for byte")
        return
    if table.row_count:
        Console().print(table)
    count = sum(one != other for one, other in zip(*images, strict=True))
    click.echo(f"{count} bytes differ")
    raise click.exceptions.Exit(1)


@command.command(
    "log",
    epilog="""\b
Example:
  dianka card log --account 000000000017
""",
)
@desk_options
@click.option("--account", type=DIGITS, help="Only cards of this account.")
def log_command(desk: Desk, account: str | None) -> None:
    """Show the log of every card written; status 1 when it was changed afterwards."""
    with clear_errors():
        log = AuditLog(desk.log_path)
        table = Table("at", "by", "stage", "kind", "account", "order", "yuan", "card")
        for entry in log.entries():
            if account in (None, entry["account"]):
                kind = CardKind(entry["kind"]).name.lower()
                row = (entry["at"], entry["by"], entry["stage"], kind, entry["account"])
                money = (str(entry["order"]), yuan(entry["amount_fen"]), entry["uid"])
                table.add_row(*row, *money)
    Console().print(table)
    if log.broken_at is not None:
        raise click.ClickException(f"{log.path} was changed at or before line {log.broken_at}")
    click.echo(f"{log.lines} lines, none of them changed")


# --- doing --------------------------------------------------------------------------------------


@command.command(
    epilog="""\b
Example:
  dianka card redeem --file card.bin --port socket://127.0.0.1:7646
"""
)
@pc_card_option
@port_option
@click.option("--timeout", "timeout_s", default=reader.TIMEOUT_S, show_default=True, type=float)
@json_option
def redeem(source: Source, port: str, timeout_s: float, as_json: bool) -> None:
    """Insert a card into a concentrator over its console; status 1 when it is refused."""
    with clear_errors():
        memory = source.open()
        with Port(port) as line:
            result = reader.redeem(line, memory, timeout_s)
        card = frames.parse(memory.read(0, frames.CARD_SIZE))
    outcome = outcome_of(result.code)
    header, mark = card.header, card.write_back
    if as_json:
        answer: dict[str, Any] = {
            "accepted": result.code in frames.ACCEPTED,
            "credited": result.credited,
            "code": label(outcome),
            "reason": outcome.english,
            "amount_fen": header.amount_fen if header and result.credited else 0,
            "balance_fen": mark.balance_fen if mark else None,
        }
        click.echo(json.dumps(answer, ensure_ascii=False))
    else:
        say_outcome(outcome)
        if header and result.credited:
            done = "refunded" if header.kind == CardKind.REFUND else "credited"
            click.echo(f"order {header.order}: {yuan(header.amount_fen)} yuan {done}")
        if mark:
            click.echo(f"balance {yuan(mark.balance_fen)} yuan")
    if not result.credited and result.code not in frames.ACCEPTED:
        raise click.exceptions.Exit(1)


@command.command(
    epilog="""\b
Example:
  dianka card unlock --port /dev/ttyUSB0
"""
)
@desk_options
@port_option
def unlock(desk: Desk, port: str) -> None:
    """Have a concentrator look at cards again that it locked out after too many illegal ones."""
    with clear_errors(), console_of(port, desk.held.console_key) as console:
        console.command("card unlock")
    click.echo(f"{port} looks at cards again")


@command.command(
    epilog="""\b
Example:
  dianka card serial --port /dev/ttyUSB0
"""
)
@desk_options
@card_option
def serial(source: Source, desk: Desk) -> None:
    """Give a new memory card its serial number, for ever; orders are bound to it."""
    with clear_errors():
        memory = source.open()
        reopen = memory.look if isinstance(memory, PortCard) else lambda: memory
        said = give_serial(memory, reopen)
    click.echo(f"{source.name}: serial number {said}")


@command.command(
    epilog="""\b
Example:
  dianka card repair --file card.bin
"""
)
@desk_options
@card_option
def repair(source: Source, desk: Desk) -> None:
    """Put back what was issued on this card, by the log, where it was damaged."""
    with clear_errors():
        said = desk.issuer().repair(source.open())
    click.echo(f"{source.name}: {said}")


# --- parts --------------------------------------------------------------------------------------


def _header(
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
    """A header of the desk's district, not yet bound to a card."""
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


def _issue(desk: Desk, source: Source, header: Header, force: bool, as_json: bool) -> None:
    """Write one card and say so."""
    issuer = desk.issuer()
    header = issuer.issue(source.open(create=True), header, force)
    if as_json:
        click.echo(json.dumps(facts(header)))
        return
    kind = CardKind(header.kind).name.lower()
    if header.kind in frames.MONEY_KINDS:
        what = f"order {header.order} of account {header.account}, {yuan(header.amount_fen)} yuan"
        click.echo(f"{source.name}: {what}, {kind} card {header.uid}")
    else:
        click.echo(f"{source.name}: {kind} card {header.uid}")


def _issue_csv(
    desk: Desk, csv_path: Path, folder: Path | None, source: Source, suite: int
) -> None:
    """Issue a whole list, going on where it stopped."""
    if (folder is None) == (source.reader_name is None) or source.port or source.path:
        raise click.UsageError("say where the cards come from: --folder cards, or --pcsc")
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
            for _ in batch.issue_all(issuer, orders, magazine, district, version, suite, told):
                written += 1
                progress.advance(task)
    click.echo(f"{written} cards issued, {skipped} were issued before, {len(orders)} orders")


class _Hand:
    """Cards put into a PC/SC reader by hand, one after another."""

    def __init__(self, reader_name: str) -> None:
        self._reader_name = reader_name
        self._done: set[str] = set()

    def take(self, order: batch.Order, uid: str | None) -> CardMemory:
        """Ask for a card until one is there that this batch has not written yet."""
        from host.link.pcsc import WAIT_S, PcscCard

        which = f"card {uid}, which was begun" if uid else "the next card"
        while True:
            click.echo(f"insert {which} for account {order.account}, order {order.order}")
            card = PcscCard(self._reader_name, WAIT_S)
            if card.uid not in self._done and uid in (None, card.uid):
                self._card = card
                return card
            card.close()
            click.pause("that is another card; change it and press any key")

    def put(self, order: batch.Order) -> None:
        """The card may be taken out."""
        self._done.add(self._card.uid)
        self._card.close()


def _genuine(desk: Desk, image: bytes) -> Header:
    """The header of a card that this desk could have made."""
    held = frames.parse(image)
    card = frames.parse(image, desk.key_for(held.header))
    if card.header is None or not card.genuine or card.header.kind not in frames.MONEY_KINDS:
        raise IssueError("this is no household's card of ours: `dianka card issue` makes one")
    return card.header


def _sold(db: Path, account: str, order: int | None, meter: str | None) -> tuple[int, int, str]:
    """Order, amount and meter that the head-end has for `account`: its oldest not redeemed."""
    from host.headend.orders import find_order
    from host.headend.store import Store, StoreError

    try:
        with Store(db) as store:
            sold = find_order(store, account, order)
    except StoreError as error:
        raise click.ClickException(str(error)) from error
    if sold is None:
        what = f"order {order}" if order else "an order that is not redeemed"
        hint = "sell one with `dianka headend sell`"
        raise click.ClickException(f"{db} has not {what} of account {account}: {hint}")
    meter = meter or sold.meter
    if meter is None:
        raise click.ClickException(f"{db} knows no meter of account {account}: give --meter")
    return sold.order, sold.amount_fen, meter
