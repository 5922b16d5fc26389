"""Many orders at once: a CSV file checked as a whole, then cards one after another.

    account,meter,order,amount
    000000000017,000000983764,5,50.00

A column `supersedes` may name the first order in the place of which an order counts. The log says
which orders are done: a batch that was interrupted is simply started again.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path
from typing import Protocol

from host import rows
from host.cards.audit import Written
from host.cards.issuing import IssueError, Issuer
from host.frames.card import ORDER_LIMIT, CardKind, Header, superseding
from host.link.card import CardMemory, FileCard
from host.units import CHINA, now_t2000, yuan
from host.words import _, marked

COLUMNS = ("account", "meter", "order", "amount")
SUPERSEDES = "supersedes"


@dataclass(frozen=True, slots=True)
class Order:
    """One row; `supersedes` is the first order in the place of which it counts, 0: none."""

    account: str
    meter: str
    order: int
    amount_fen: int
    supersedes: int = 0


class Magazine(Protocol):
    """Where cards come from, one after another."""

    def card_for(self, order: Order, uid: str | None) -> CardMemory:
        """Return the card for `order`, on which its writing was begun if `uid` is given."""

    def put(self, order: Order) -> None:
        """Take the card back when it is done; the next one may follow."""


class Folder:
    """A file for each order."""

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self._path = path

    def card_for(self, order: Order, uid: str | None) -> CardMemory:
        """Return the order's file, made when it is not there."""
        return FileCard(self._path / f"{order.account}-{order.order}.bin", create=True)

    def put(self, order: Order) -> None:
        """Do nothing: a file stays where it is."""


def read_orders(path: Path) -> list[Order]:
    """Return the orders of a CSV file; RowsError names every line that is wrong."""
    key = (marked("account and order"), lambda order: (order.account, order.order))
    return list(rows.read_rows(path, COLUMNS, _order, key, (SUPERSEDES,)).values())


def _order(row: dict[str, str]) -> Order:
    account, meter = rows.digits(row, "account"), rows.digits(row, "meter")
    order = _number(row, "order")
    supersedes = _number(row, SUPERSEDES) if row[SUPERSEDES] else 0
    if supersedes and supersedes >= order:
        raise ValueError(
            _("supersedes {first} is not below order {order}").format(
                first=supersedes, order=order
            )
        )
    return Order(account, meter, order, rows.amount_fen(row), supersedes)


def _number(row: dict[str, str], column: str) -> int:
    number = row[column]
    if not re.fullmatch("[0-9]{1,10}", number) or not 1 <= int(number) <= ORDER_LIMIT:
        raise ValueError(
            _("{column} {number!r} is no number from 1 to {order_limit}").format(
                column=column, number=number, order_limit=ORDER_LIMIT
            )
        )
    return int(number)


def issue_all(
    issuer: Issuer,
    orders: Iterable[Order],
    magazine: Magazine,
    district: int,
    key_version: int,
    suite: int = 1,
    told: Callable[[Order], object] = lambda order: None,
    zone: tzinfo = CHINA,
) -> Iterator[Header]:
    """Issue what is not done yet, giving each header that was written; `told` of each that was."""
    for order in orders:
        known = issuer.log.find(order.account, order.order)
        if known is not None and known.done:
            _check_same(order, known)
            told(order)
            continue
        header = Header(
            kind=CardKind.OPEN if 1 in (order.order, order.supersedes) else CardKind.PURCHASE,
            key_version=key_version,
            district=district,
            account=order.account,
            meter=order.meter,
            uid="",
            order=order.order,
            amount_fen=order.amount_fen,
            issued_t2000=now_t2000(zone),
            suite=suite,
        )
        if order.supersedes:
            header = superseding(header, order.supersedes)
        memory = magazine.card_for(order, known.uid if known else None)
        yield issuer.issue(memory, header)
        magazine.put(order)


def _check_same(order: Order, known: Written) -> None:
    """Raise IssueError where the log knows the order otherwise than the list."""
    was = _("{amount} yuan for meter {meter}").format(
        amount=yuan(-known.amount_fen if known.refunds else known.amount_fen), meter=known.meter
    )
    now = _("{amount} yuan for meter {meter}").format(
        amount=yuan(order.amount_fen), meter=order.meter
    )
    if was != now:
        raise IssueError(
            _(
                "order {order} of account {account} was issued with {was}, the list "
                "says {now}: look at the list, or `card replace` if the card is to differ"
            ).format(order=order.order, account=order.account, was=was, now=now)
        )
