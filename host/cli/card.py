"""`dianka card`: keys of the issuer, and cards issued, shown, judged and redeemed."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from host.cards import issuing, keystore
from host.cards.issuing import IssueError
from host.cards.keystore import CardKeys, KeystoreError
from host.frames import card as frames
from host.frames.card import CardKind, Header, Outcome, Place
from host.link import console as link_console
from host.link import reader
from host.link.card import CardIoError, FileCard
from host.link.port import Port, PortError

KINDS = {kind.name.lower(): kind for kind in CardKind}
PASSPHRASE_VARIABLE = "DIANKA_CARD_PASSPHRASE"
_TROUBLES = (
    KeystoreError,
    IssueError,
    CardIoError,
    PortError,
    reader.ReaderError,
    link_console.ConsoleError,
)

_file = click.option(
    "--file",
    "path",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The card's memory in a file.",
)
_port = click.option(
    "--port",
    required=True,
    help="The concentrator's console: /dev/ttyUSB0, or socket://HOST:PORT.",
)
_keys = click.option(
    "--keys",
    "keys_path",
    default="card-keys.toml",
    show_default=True,
    envvar="DIANKA_CARD_KEYS",
    show_envvar=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Key file; its passphrase is asked for, or taken from DIANKA_CARD_PASSPHRASE.",
)
_district = click.option(
    "--district", type=click.IntRange(1, frames.DISTRICT_LIMIT), help="Default: the key file's."
)
_key_version = click.option(
    "--key-version", type=click.IntRange(1, 255), help="Default: the key file's."
)
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


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


@command.group()
def keys() -> None:
    """Make key files, and hand down what a district needs."""


@keys.command(
    "new",
    epilog="""\b
Example:
  dianka card keys new --district 4711
""",
)
@_keys
@click.option("--district", required=True, type=click.IntRange(1, frames.DISTRICT_LIMIT))
@click.option("--unsealed", is_flag=True, help="Without a passphrase: for tests and demos.")
def keys_new(keys_path: Path, district: int, unsealed: bool) -> None:
    """Make the keys of a new issuer."""
    with _clear_errors():
        passphrase = None if unsealed else _new_passphrase()
        keystore.save(keys_path, keystore.new(district), passphrase)
    click.echo(f"made {keys_path}: keep a copy offline, whoever has it can make money")


@keys.command(
    "install",
    epilog="""\b
Example:
  dianka card keys install --port /dev/ttyUSB0
""",
)
@_keys
@_district
@_key_version
@_port
def keys_install(
    keys_path: Path, district: int | None, key_version: int | None, port: str
) -> None:
    """Give a concentrator the key of its district, over its console."""
    with _clear_errors():
        held = _load(keys_path)
        district, key_version = district or held.district, key_version or held.key_version
        key = held.key_of(district, key_version)
        with Port(port) as line:
            console = link_console.Console(line)
            console.command(f"set district {district}")
            console.command(f"set card_key {key.hex()}")
            console.command(f"set card_key_version {key_version}")
    click.echo(f"{port} takes cards of district {district} in key version {key_version}")


@command.command(
    epilog="""\b
Examples:
  dianka card issue --file card.bin --account 000000000017 --meter 000000983764 \\
      --order 2 --amount 49.95
  dianka card issue --file card.bin --account 000000000017 --db village.db
"""
)
@_file
@_keys
@_district
@_key_version
@click.option("--account", required=True, help="Account number, 12 digits.")
@click.option("--meter", help="Meter address, 12 digits.")
@click.option("--order", type=click.IntRange(1, frames.ORDER_LIMIT), help="Order number.")
@click.option("--amount", help="Yuan, with at most two decimals.")
@click.option(
    "--db",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Take order, amount and meter from this database of the head-end.",
)
@click.option(
    "--kind",
    type=click.Choice(list(KINDS)),
    help="Default: open for order 1, else purchase.",
)
@click.option(
    "--valid-until", help="Last day it may be redeemed, YYYY-MM-DD.  [default: no limit]"
)
@click.option("--force", is_flag=True, help="Give up an order on the card that was not redeemed.")
@_json
def issue(
    path: Path,
    keys_path: Path,
    district: int | None,
    key_version: int | None,
    account: str,
    meter: str | None,
    order: int | None,
    amount: str | None,
    db: Path | None,
    kind: str | None,
    valid_until: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Write an order on a card, and read it back."""
    _check_digits("--account", account)
    if db is not None:
        order, amount_fen, meter = _sold(db, account, order, meter)
    elif order is None or amount is None or meter is None:
        raise click.UsageError("give --order, --amount and --meter, or --db to look them up")
    else:
        amount_fen = parse_amount_fen(amount)
    _check_digits("--meter", meter)
    with _clear_errors():
        held = _load(keys_path)
        district, key_version = district or held.district, key_version or held.key_version
        default = CardKind.OPEN if order == 1 else CardKind.PURCHASE
        header = Header(
            kind=KINDS[kind] if kind else default,
            key_version=key_version,
            district=district,
            account=account,
            meter=meter,
            uid="",
            order=order,
            amount_fen=amount_fen,
            issued_t2000=issuing.to_t2000(datetime.now()),
            valid_until_t2000=_end_of_day_t2000(valid_until),
        )
        key = held.key_of(district, key_version)
        header = issuing.issue(FileCard(path, create=True), header, key, force)
    if as_json:
        click.echo(json.dumps(_facts(header)))
    else:
        what = f"order {header.order} of account {account}, {yuan(amount_fen)} yuan"
        click.echo(f"{path}: {what}, {CardKind(header.kind).name.lower()} card {header.uid}")


@command.command(
    epilog="""\b
Examples:
  dianka card show --file card.bin
  dianka card show --file card.bin --account 000000000017 --meter 000000983764 --last-order 4
"""
)
@_file
@_keys
@click.option("--account", help="Say whether this account would take the card.")
@click.option("--meter", help="Address of its meter.")
@click.option("--last-order", type=int, default=0, show_default=True, help="Its newest order.")
@_json
def show(
    path: Path,
    keys_path: Path,
    account: str | None,
    meter: str | None,
    last_order: int,
    as_json: bool,
) -> None:
    """Explain every field of a card, and say whether an account would take it."""
    with _clear_errors():
        memory = FileCard(path)
        image = memory.read(0, memory.size)
        held = _load(keys_path) if keys_path.exists() else None
        key = _key_for(held, frames.parse(image).header)
    card = frames.parse(image, key)
    found = _described(card, key is not None)
    if account and held and card.header:
        _check_digits("--account", account)
        place = _place(held, account, meter or card.header.meter, last_order, None, None)
        found["would be"] = frames.OUTCOMES[frames.CODES[frames.judge(image, memory.uid, place)]]
    if as_json:
        click.echo(json.dumps({name: _plain(value) for name, value in found.items()}, indent=2))
        return
    table = Table(title=f"Card {memory.uid}", show_header=False)
    table.add_column(style="bold")
    table.add_column()
    for name, value in found.items():
        table.add_row(name, _for_people(name, value))
    Console().print(table)


@command.command(
    epilog="""\b
Example:
  dianka card verify --file card.bin --account 000000000017 --meter 000000983764 --last-order 4
"""
)
@_file
@_keys
@_district
@_key_version
@click.option("--account", required=True, help="Account number, 12 digits.")
@click.option("--meter", required=True, help="Address of its meter, 12 digits.")
@click.option("--last-order", required=True, type=int, help="Order it redeemed last, 0: none.")
@click.option("--uid", help="Serial number the reader sees, where the file has another.")
@_json
def verify(
    path: Path,
    keys_path: Path,
    district: int | None,
    key_version: int | None,
    account: str,
    meter: str,
    last_order: int,
    uid: str | None,
    as_json: bool,
) -> None:
    """Say whether an account would credit the card now; status 1 when it would not."""
    _check_digits("--account", account)
    _check_digits("--meter", meter)
    with _clear_errors():
        memory = FileCard(path)
        place = _place(_load(keys_path), account, meter, last_order, district, key_version)
        name = frames.judge(memory.read(0, memory.size), (uid or memory.uid).upper(), place)
    # A card whose money counted already brings none, marked or not.
    outcome = frames.OUTCOMES[frames.CODES["USED" if name == "COMPLETED" else name]]
    accepted = outcome.name == "OK"
    if as_json:
        reason = "would be credited" if accepted else outcome.english
        answer = {"accepted": accepted, "code": label(outcome), "reason": reason}
        click.echo(json.dumps(answer, ensure_ascii=False))
    else:
        _say_outcome(outcome)
    if not accepted:
        raise click.exceptions.Exit(1)


@command.command(
    epilog="""\b
Example:
  dianka card redeem --file card.bin --port socket://127.0.0.1:7646
"""
)
@_file
@_port
@click.option("--timeout", "timeout_s", default=reader.TIMEOUT_S, show_default=True, type=float)
@_json
def redeem(path: Path, port: str, timeout_s: float, as_json: bool) -> None:
    """Insert a card into a concentrator over its console; status 1 when it is refused."""
    with _clear_errors():
        memory = FileCard(path)
        with Port(port) as line:
            result = reader.redeem(line, memory, timeout_s)
    outcome = outcome_of(result.code)
    card = frames.parse(memory.read(0, memory.size))
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
        _say_outcome(outcome)
        if header and result.credited:
            click.echo(f"order {header.order}: {yuan(header.amount_fen)} yuan credited")
        if mark:
            click.echo(f"balance {yuan(mark.balance_fen)} yuan")
    if not result.credited and result.code not in frames.ACCEPTED:
        raise click.exceptions.Exit(1)


def label(outcome: Outcome) -> str:
    """What a meter shows and the number behind it: "Err-34.18", of a good card "OK"."""
    return "OK" if outcome.code in frames.ACCEPTED else f"{outcome.shown}.{outcome.code:02d}"


def outcome_of(code: int) -> Outcome:
    """The row of the table, also for a code that this version does not know."""
    unknown = Outcome(
        code,
        "UNKNOWN",
        "Err",
        f"code {code} is not known to this version",
        f"未知代码 {code}",
        "update this tool",
        "升级本工具",
    )
    return frames.OUTCOMES.get(code, unknown)


def _say_outcome(outcome: Outcome) -> None:
    good = outcome.code in frames.ACCEPTED
    click.secho(
        f"{label(outcome)} {outcome.english} {outcome.chinese}", fg="green" if good else "red"
    )
    if not good:
        click.echo(f"next: {outcome.next_english} {outcome.next_chinese}")


def parse_amount_fen(text: str) -> int:
    """Yuan as typed, in fen."""
    try:
        fen = Decimal(text).scaleb(2)
    except ArithmeticError as error:
        raise click.UsageError(f"--amount {text}: give yuan like 50 or 49.95") from error
    if not fen.is_finite() or fen != fen.to_integral_value():
        raise click.UsageError(f"--amount {text}: at most two decimals")
    if not 0 < fen <= frames.AMOUNT_LIMIT_FEN:
        limit = yuan(frames.AMOUNT_LIMIT_FEN)
        raise click.UsageError(f"--amount {text}: 0.01 to {limit} yuan")
    return int(fen)


def yuan(fen: int) -> str:
    """Money as people write it."""
    return f"{Decimal(fen).scaleb(-2):.2f}"


def _check_digits(option: str, value: str) -> None:
    if not re.fullmatch("[0-9]{12}", value):
        raise click.UsageError(f"{option} {value}: 12 digits are needed")


def _end_of_day_t2000(day: str | None) -> int:
    """The last second of a day, 0 without one."""
    if day is None:
        return 0
    try:
        moment = datetime.strptime(day, "%Y-%m-%d")
    except ValueError as error:
        raise click.UsageError(f"--valid-until {day}: give a day as YYYY-MM-DD") from error
    return issuing.to_t2000(moment.replace(hour=23, minute=59, second=59))


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


def _load(path: Path) -> CardKeys:
    return keystore.load(path, _passphrase)


def _passphrase() -> str:
    given = os.environ.get(PASSPHRASE_VARIABLE)
    return given if given else str(click.prompt("passphrase", hide_input=True, err=True))


def _new_passphrase() -> str:
    given = os.environ.get(PASSPHRASE_VARIABLE)
    if given:
        return given
    return str(click.prompt("new passphrase", hide_input=True, confirmation_prompt=True, err=True))


def _key_for(held: CardKeys | None, header: Header | None) -> bytes | None:
    """The key that made the card, where the key file has it."""
    if held is None or header is None:
        return None
    try:
        return held.key_of(header.district, header.key_version)
    except KeystoreError:
        return None


def _place(
    held: CardKeys,
    account: str,
    meter: str,
    last_order: int,
    district: int | None,
    key_version: int | None,
) -> Place:
    district, key_version = district or held.district, key_version or held.key_version
    return Place(
        district=district,
        key_version=key_version,
        key=held.key_of(district, key_version),
        account=account,
        meter=meter,
        last_order=last_order,
        now_t2000=issuing.to_t2000(datetime.now()),
    )


def _facts(header: Header) -> dict[str, Any]:
    names = [name for name in header.__slots__ if name != "content"]
    return {name: getattr(header, name) for name in names}


@dataclass(frozen=True)
class _Yuan:
    """An amount, shown in yuan."""

    fen: int


@dataclass(frozen=True)
class _Time:
    """A moment, shown as a date and time."""

    t2000: int


def _described(card: frames.Card, has_key: bool) -> dict[str, Any]:
    """The card's fields by the names people read, in their order."""
    header = card.header
    if header is None:
        return {"state": frames.OUTCOMES[frames.CODES[card.trouble]]}
    verdicts = {True: "genuine", False: "NOT genuine: forged or changed"}
    found: dict[str, Any] = {
        "kind": CardKind(header.kind).name.lower() if header.kind in list(CardKind) else "unknown",
        "genuine": verdicts[card.genuine] if has_key else "not known without the key file",
        "state": "redeemed" if card.used else "not marked as redeemed",
        "account": header.account,
        "meter": header.meter,
        "district": header.district,
        "bound to card": header.uid,
        "order": header.order,
        "amount": _Yuan(header.amount_fen),
        "issued": _Time(header.issued_t2000),
        "valid until": _Time(header.valid_until_t2000) if header.valid_until_t2000 else "no limit",
        "suite": frames.SUITES.get(header.suite, f"unknown suite {header.suite}"),
        "key version": header.key_version,
    }
    mark = card.write_back
    if mark is None:
        return {**found, "write-back": "none"}
    known = verdicts[card.write_back_genuine] if has_key else "not known without the key file"
    rates = [f"{Decimal(wh).scaleb(-3):.2f} kWh" for wh in mark.rates_wh[: mark.rates or None]]
    return {
        **found,
        "write-back": known,
        "written at": _Time(mark.t2000) if mark.t2000 else "clock not set",
        "result": outcome_of(mark.code),
        "newest order": mark.order,
        "balance": _Yuan(mark.balance_fen),
        "bought in total": _Yuan(mark.credit_fen),
        "overdraft": _Yuan(mark.overdraft_fen),
        "used in period": f"{Decimal(mark.used_wh).scaleb(-3):.3f} kWh",
        "tier": mark.tier,
        "registers": ", ".join(rates),
        "relay": {0: "closed", 1: "open"}.get(mark.relay, "not known"),
        "policy state": mark.state,
        "illegal cards": mark.illegal,
        "concentrator": mark.concentrator,
    }


def _plain(value: Any) -> Any:
    """A described value for JSON."""
    if isinstance(value, _Yuan):
        return yuan(value.fen)
    if isinstance(value, _Time):
        return str(issuing.to_datetime(value.t2000))
    if isinstance(value, Outcome):
        return {"code": label(value), "reason": value.english}
    return value


def _for_people(name: str, value: Any) -> str:
    if isinstance(value, Outcome):
        color = "green" if value.code in frames.ACCEPTED else "red"
        return f"[{color}]{label(value)}[/] {value.english} {value.chinese}"
    if isinstance(value, _Yuan):
        return f"{yuan(value.fen)} yuan"
    return str(_plain(value))


@contextmanager
def _clear_errors() -> Iterator[None]:
    """Trouble with keys, cards and lines as one line for the user."""
    try:
        yield
    except (*_TROUBLES, frames.CardError) as error:
        raise click.ClickException(str(error)) from error
