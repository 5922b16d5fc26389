"""What becomes of orders that were taken back, once a concentrator says which it redeemed."""

from collections.abc import Iterable, Iterator
from typing import Any

from host.headend import audit
from host.headend.audit import DOOR_UPLINK, Who, acting
from host.headend.database import Database
from host.units import yuan
from host.words import marked

# A redeemed order that was taken back, unless another is sold under its number.
_REVIVED = """
    SELECT max(id), max(amount_fen) FROM orders WHERE account = ? AND "order" = ?
    AND voided_at IS NOT NULL AND NOT EXISTS (
        SELECT 1 FROM orders WHERE account = ? AND "order" = ? AND voided_at IS NULL
    ) HAVING count(*) > 0
"""
_REVIVE = "UPDATE orders SET voided_at = NULL WHERE id = ?"
# Orders that a concentrator cannot take any more, as one that they supersede was redeemed.
_LATE = """
    SELECT id, "order", amount_fen FROM orders WHERE account = ? AND "order" > ?
    AND supersedes BETWEEN 1 AND ? AND voided_at IS NULL ORDER BY "order"
"""
_VOID_LATE = "UPDATE orders SET voided_at = ?, void_reason = ? WHERE id = ?"
_TOO_LATE = marked("superseded too late")


COUNTS_AGAIN = marked(
    "order {order} of account {account} over {amount} yuan was taken back and is redeemed all the "
    "same: it counts, and no order in its place"
)


def settle(
    database: Database, rows: Iterable[dict[str, Any]], now: int
) -> Iterator[tuple[int, int, dict[str, int | str]]]:
    """Let each order count that was redeemed after all, and none that was to supersede it.

    `rows` are what concentrators have told: top-ups and standings. Yield the concentrator, the
    record and the values of COUNTS_AGAIN for each order that counts again.
    """
    for row in rows:
        account, order = row["account"], row["order"]
        who = Who(DOOR_UPLINK, str(row["concentrator"]))
        for number, amount_fen in database.all(_REVIVED, (account, order, account, order)):
            database.run(_REVIVE, (number,))
            with acting(who):
                audit.note(database, "counts again", account, amount_fen, order=order)
            told: dict[str, int | str] = {"order": order, "account": account}
            yield row["concentrator"], row["seq"], {**told, "amount": yuan(amount_fen)}
        for number, late, amount_fen in database.all(_LATE, (account, order, order)):
            database.run(_VOID_LATE, (now, _TOO_LATE, number))
            with acting(who):
                audit.note(database, "void", account, -amount_fen, order=late, reason=_TOO_LATE)
