"""Leases: order numbers and a quota for a counter without a network, until it is back.

While a lease is out, the station sells nothing to its accounts: no number is sold twice. What the
counter has sold is taken over from its log (`host.headend.offline`), whole or not at all, and the
cash goes into the drawer of the cashier who counts it. One that never comes back is given up: its
numbers are never sold again.
"""

import time
from collections.abc import Sequence
from typing import Any

from host.headend import audit, drawer, offline, orders, shifts
from host.headend.database import Database
from host.headend.desk import at_desk
from host.headend.drawer import OFFLINE
from host.headend.errors import StoreError
from host.headend.offline import Log, Range, Terms
from host.headend.store import Store
from host.units import DAY_S, yuan
from host.words import _, marked

OUT, BACK, LOST = marked("out"), marked("back"), marked("lost")
_COLUMNS = (
    *("lease", "counter", "quota_fen", "leased_at", "leased_by", "expires_at", "state"),
    "laptop",
)
_ORDER_COLUMNS = ("lease", "account", "first_order", "last_order")


@at_desk
def lease(
    store: Store,
    counter: str,
    laptop: str,
    accounts: Sequence[str],
    numbers: int,
    quota_fen: int,
    days: int,
    by: str,
) -> Terms:
    """Lease so many order numbers of each account to a counter. StoreError: one is leased.

    `laptop` is the code of the computer on which alone the file of the lease sells.
    """
    if not counter.strip() or not accounts:
        raise StoreError(_("name the counter, and the accounts that it sells to"))
    now = int(time.time())
    with store.writing() as database:
        number = int(database.value("SELECT max(lease) FROM leases") or 0) + 1
        ranges = []
        for account in dict.fromkeys(accounts):
            orders.check_leasable_within(database, account)
            first, supersedes = orders.next_number_within(database, account)
            ranges.append(Range(account, first, first + numbers - 1, supersedes))
        row = (number, counter, quota_fen, now, by, now + days * DAY_S, OUT, laptop)
        database.insert_new("leases", _COLUMNS, [row])
        rows = [(number, one.account, one.first, one.last) for one in ranges]
        database.insert_new("leased_orders", _ORDER_COLUMNS, rows)
        audit.note(database, "lease", "", quota_fen, lease=number, counter=counter, by=by)
    return Terms(number, counter, laptop, quota_fen, now + days * DAY_S, tuple(ranges))


@at_desk
def take_back(
    store: Store, lines: Sequence[str], counted_fen: int, by: str, reason: str = ""
) -> dict[str, int]:
    """Take over what a counter has sold, and its cash into the drawer of `by`; return the sums.

    StoreError: its log is not whole, the cash is another sum and no reason is given, or the
    drawer is not open.
    """
    log = offline.parse(lines)
    if counted_fen != log.sold_fen and not reason.strip():
        raise StoreError(
            _(
                "{counted} yuan were counted, {sold} are sold: count again, or give a reason"
            ).format(counted=yuan(counted_fen), sold=yuan(log.sold_fen))
        )
    with store.writing() as database:
        _check(database, log)
        now = int(time.time())
        number = log.terms.lease
        columns = (
            *("account", "order", "amount_fen", "sold_at", "cashier", "channel", "reference"),
            *("voided_at", "voided_by", "void_reason", "supersedes", "carded_at"),
        )
        rows = [
            (
                *(one.account, one.order, one.amount_fen, one.sold_at, one.cashier, OFFLINE),
                f"lease {number}/{place}",
                *((now, one.cashier, one.voided[:200]) if one.voided else (None, "", "")),
                *(one.supersedes, None if one.voided else one.sold_at),
            )
            for place, one in enumerate(log.orders.values(), 1)
        ]
        if database.insert_new("orders", columns, rows) != len(rows):
            raise StoreError(_("an order of this lease was sold already: look at its accounts"))
        database.run(
            "UPDATE leases SET state = ?, ended_at = ?, ended_by = ?, sold_fen = ?, "
            "counted_fen = ?, digest = ?, reason = ? WHERE lease = ?",
            (BACK, now, by, log.sold_fen, counted_fen, log.digest, reason[:200], number),
        )
        if counted_fen:
            why = f"lease {number}"
            shift = shifts.shift_of(database, by)
            drawer.put_within(database, shift, drawer.LEASE, by, counted_fen, reason=why)
        for one in log.orders.values():
            told: dict[str, Any] = {"order": one.order, "cashier": one.cashier, "lease": number}
            action = "void" if one.voided else "sale"
            fen = 0 if one.voided else one.amount_fen
            audit.note(database, action, one.account, fen, **told, channel=OFFLINE)
        audit.note(database, "lease back", "", counted_fen, lease=number, by=by, reason=reason)
    return {"sold_fen": log.sold_fen, "counted_fen": counted_fen, "orders": len(rows)}


def _check(database: Database, log: Log) -> None:
    """Raise StoreError where a log is not of a lease that is out, as it was given."""
    terms = log.terms
    rows = database.rows("SELECT * FROM leases WHERE lease = ?", (terms.lease,))
    if not rows or rows[0]["state"] != OUT:
        raise _not_out(terms.lease)
    given = database.all(
        "SELECT account, first_order, last_order FROM leased_orders WHERE lease = ? "
        "ORDER BY account",
        (terms.lease,),
    )
    told = sorted((one.account, one.first, one.last) for one in terms.ranges)
    one = rows[0]
    is_same = given == told and (one["quota_fen"], one["laptop"]) == (
        terms.quota_fen,
        terms.laptop,
    )
    if not is_same or log.sold_fen > terms.quota_fen:
        raise StoreError(
            _("the file of lease {lease} is not what was leased: {quota} yuan").format(
                lease=terms.lease, quota=yuan(rows[0]["quota_fen"])
            )
        )


@at_desk
def give_up(store: Store, number: int, by: str, reason: str) -> None:
    """Give up a counter that does not come back; its numbers are never sold again. StoreError."""
    if not reason.strip() or not by.strip():
        raise StoreError(_("give --by and --reason, so that an auditor finds them"))
    with store.writing() as database:
        changed = database.run(
            "UPDATE leases SET state = ?, ended_at = ?, ended_by = ? "
            "WHERE lease = ? AND state = ?",
            (LOST, int(time.time()), by, number, OUT),
        ).rowcount
        if not changed:
            raise _not_out(number)
        audit.note(database, "lease lost", lease=number, by=by, reason=reason)


def _not_out(number: int) -> StoreError:
    return StoreError(_("lease {lease} is not out: it is back or lost").format(lease=number))


def leases(store: Store) -> list[dict[str, Any]]:
    """Return the leases, the newest last, with the count of their accounts."""
    return store.rows(
        "SELECT leases.*, (SELECT count(*) FROM leased_orders "
        "WHERE leased_orders.lease = leases.lease) AS accounts FROM leases ORDER BY lease"
    )
