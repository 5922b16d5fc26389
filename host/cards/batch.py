"""Many orders at once: a CSV file checked as a whole, then cards one after another.

    account,meter,order,amount
    000000000017,000000983764,5,50.00

The log says which orders are done: a batch that was interrupted is simply started again.
"""

import csv
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Protocol

from host.cards.issuing import Issuer, to_t2000
from host.frames.card import AMOUNT_LIMIT_FEN, ORDER_LIMIT, CardKind, Header
from host.link.card import CardMemory, FileCard

COLUMNS = ("account", "meter", "order", "amount")
TROUBLES_SHOWN = 10


class BatchError(Exception):
    """The file is no list of orders; the message names the lines."""


@dataclass(frozen=True, slots=True)
class Order:
    """One row."""

    account: str
    meter: str
    order: int
    amount_fen: int


class Magazine(Protocol):
    """Where cards come from, one after another."""

    def take(self, order: Order, uid: str | None) -> CardMemory:
        """The card for `order`, on which its writing was begun if `uid` is given."""

    def put(self, order: Order) -> None:
        """The card is done; the next one may follow."""


class Folder:
    """A file for each order."""

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self._path = path

    def take(self, order: Order, uid: str | None) -> CardMemory:
        """The order's file, made when it is not there."""
        return FileCard(self._path / f"{order.account}-{order.order}.bin", create=True)

    def put(self, order: Order) -> None:
        """Nothing to move."""


def read_orders(path: Path) -> list[Order]:
    """The orders of a CSV file; BatchError names every line that is wrong."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            missing = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
            if missing:
                wanted = ",".join(COLUMNS)
                raise BatchError(f"{path} has no column {missing[0]}: its first line is {wanted}")
            return _checked(path, list(rows))
    except OSError as error:
        raise BatchError(f"cannot read {path}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise BatchError(f"{path} is no CSV file in UTF-8: {error}") from error


def _checked(path: Path, rows: list[dict[str, str]]) -> list[Order]:
    orders: list[Order] = []
    troubles: list[str] = []
    seen: dict[tuple[str, int], int] = {}
    for line, row in enumerate(rows, 2):
        try:
            order = _order(row)
        except ValueError as error:
            troubles.append(f"line {line}: {error}")
            continue
        first = seen.setdefault((order.account, order.order), line)
        if first != line:
            troubles.append(f"line {line}: the same account and order as in line {first}")
        orders.append(order)
    if troubles:
        more = len(troubles) - TROUBLES_SHOWN
        shown = troubles[:TROUBLES_SHOWN] + ([f"and {more} more"] if more > 0 else [])
        raise BatchError(f"{path}: nothing was issued\n  " + "\n  ".join(shown))
    if not orders:
        raise BatchError(f"{path} has no orders")
    return orders


def _order(row: dict[str, str]) -> Order:
    account, meter = (row["account"] or "").strip(), (row["meter"] or "").strip()
    for name, value in (("account", account), ("meter", meter)):
        if not re.fullmatch("[0-9]{12}", value):
            raise ValueError(f"{name} {value!r} has not 12 digits")
    number, amount = (row["order"] or "").strip(), (row["amount"] or "").strip()
    if not re.fullmatch("[0-9]{1,10}", number) or not 1 <= int(number) <= ORDER_LIMIT:
        raise ValueError(f"order {number!r} is no number from 1 to {ORDER_LIMIT}")
    if not re.fullmatch(r"[0-9]{1,7}(\.[0-9]{1,2})?", amount):
        raise ValueError(f"amount {amount!r} is not yuan like 50 or 49.95")
    amount_fen = int(Decimal(amount).scaleb(2))
    if not 0 < amount_fen <= AMOUNT_LIMIT_FEN:
        raise ValueError(f"amount {amount!r} is out of range")
    return Order(account, meter, int(number), amount_fen)


def issue_all(
    issuer: Issuer,
    orders: Iterable[Order],
    magazine: Magazine,
    district: int,
    key_version: int,
    suite: int = 1,
    told: Callable[[Order], object] = lambda order: None,
) -> Iterator[Header]:
    """Issue what is not done yet, giving each header that was written; `told` of each that was."""
    for order in orders:
        known = issuer.log.find(order.account, order.order)
        if known is not None and known.done:
            told(order)
            continue
        header = Header(
            kind=CardKind.OPEN if order.order == 1 else CardKind.PURCHASE,
            key_version=key_version,
            district=district,
            account=order.account,
            meter=order.meter,
            uid="",
            order=order.order,
            amount_fen=order.amount_fen,
            issued_t2000=to_t2000(datetime.now()),
            suite=suite,
        )
        memory = magazine.take(order, known.uid if known else None)
        yield issuer.issue(memory, header)
        magazine.put(order)
