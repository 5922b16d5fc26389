"""What a counter's log of cards said when it was told last, and what it says of the orders here.

The head of a log stands in the findings, as one that is closed, under the log's own number: so a
log from which lines were taken off, or that was written anew, is noticed at its next card. Then a
finding is open until a person has resolved it.
"""

import json
import time
from dataclasses import dataclass
from typing import Any

from host.headend.desk import at_desk
from host.headend.store import Store
from host.words import marked

KIND = "log"
_TOLD = marked("the log of cards {log} has {lines} lines, its head is {digest}")
_KEPT = marked("kept, to compare the next card's with it")
_CHANGED = marked(
    "the log of cards {log} had {lines} lines with the head {digest}, and has not any more: lines "
    "were taken off, or it was written anew"
)


@dataclass(frozen=True, slots=True)
class Head:
    """A number of lines of a log, and a digest over all of them; `log` is 12 hex digits."""

    log: str
    lines: int
    digest: str


@dataclass(frozen=True, slots=True)
class Carded:
    """An order sold here, refunds below 0; `on_card`: a log has it on a card, and it counts."""

    account: str
    order: int
    amount_fen: int
    on_card: bool


def told(store: Store, log: str) -> Head | None:
    """Return the head that a log had when it was told last."""
    rows = store.rows(
        "SELECT what FROM findings WHERE concentrator = 0 AND kind = ? AND seq = ? "
        "AND resolution = ? ORDER BY id DESC LIMIT 1",
        (KIND, _number(log), _KEPT),
    )
    return _head(rows[0]) if rows else None


def heads(store: Store) -> list[Head]:
    """Return the head of each log of cards as it was told last, for the receipt of a sale."""
    rows = store.rows(
        "SELECT what FROM findings WHERE concentrator = 0 AND kind = ? AND resolution = ? "
        "ORDER BY seq",
        (KIND, _KEPT),
    )
    return [_head(row) for row in rows]


@at_desk
def tell(store: Store, head: Head, lost: Head | None = None) -> None:
    """Keep the head of a log; `lost` is one that it should have and has not any more."""
    now = int(time.time())
    columns = ("concentrator", "seq", "kind", "account", "what", "found_at")
    closed = (*columns, "resolved_at", "resolved_by", "resolution")
    where = (0, _number(head.log), KIND, "")
    with store.writing() as database:
        if lost is not None:
            database.insert_new("findings", columns, [(*where, _what(_CHANGED, lost), now)])
        database.run(
            "DELETE FROM findings WHERE concentrator = 0 AND kind = ? AND seq = ? "
            "AND resolution = ?",
            (KIND, _number(head.log), _KEPT),
        )
        row = (*where, _what(_TOLD, head), now, now, "dianka card", _KEPT)
        database.insert_new("findings", closed, [row])


def carded(store: Store) -> list[Carded]:
    """Return every order, also those that were taken back."""
    rows = store.rows('SELECT account, "order", amount_fen, carded_at, voided_at FROM orders')
    return [
        Carded(
            *(row["account"], row["order"], row["amount_fen"]),
            row["carded_at"] is not None and row["voided_at"] is None,
        )
        for row in rows
    ]


def _head(row: dict[str, Any]) -> Head:
    known = json.loads(row["what"])
    return Head(known["log"], known["lines"], known["digest"])


def _number(log: str) -> int:
    return int(log, 16)


def _what(text: str, head: Head) -> str:
    fields = {"text": text, "log": head.log, "lines": head.lines, "digest": head.digest}
    return json.dumps(fields, ensure_ascii=False)
