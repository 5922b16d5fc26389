"""Figures of money for a manager: who owes, who runs low, who did not buy, and what was collected.

All are whole numbers of fen; a rate is in hundredths of a percent.
"""

import time
from typing import Any

from host.headend.places import HOUSEHOLDS
from host.headend.reconcile import households
from host.headend.store import Store
from host.units import DAY_S, t2000_of_unix

_DAYS_OF_USE = 7


def by_district(store: Store, since_at: int, until_at: int) -> list[dict[str, Any]]:
    """Return what was sold in each district by each channel between two moments."""
    return store.rows(
        """SELECT coalesce(contracts.district, '') AS district, orders.channel,
        count(*) AS sales, CAST(sum(orders.amount_fen) AS bigint) AS sold_fen
        FROM orders LEFT JOIN contracts ON contracts.account = orders.account
        WHERE orders.sold_at >= ? AND orders.sold_at < ? AND orders.amount_fen > 0
        AND orders.voided_at IS NULL
        GROUP BY coalesce(contracts.district, ''), orders.channel ORDER BY 1, 2""",
        (since_at, until_at),
    )


def collection(store: Store) -> dict[str, int]:
    """Return what was charged for energy, what of it is not paid, and the rate collected."""
    ((charged_fen, owed_fen),) = (
        (row["charged_fen"], row["owed_fen"])
        for row in store.rows(
            "SELECT CAST(coalesce(sum(debit_fen), 0) AS bigint) AS charged_fen, "
            "CAST(coalesce(sum(CASE WHEN debit_fen > credit_fen THEN debit_fen - credit_fen "
            "ELSE 0 END), 0) AS bigint) AS owed_fen FROM accounts"
        )
    )
    rate = 10_000 * (charged_fen - owed_fen) // charged_fen if charged_fen else 10_000
    return {"charged_fen": charged_fen, "owed_fen": owed_fen, "rate_e4": rate}


def arrears(store: Store) -> list[dict[str, Any]]:
    """Return the accounts that owe, with what and for how many days as far as that is known.

    A debt is as old as the newest state of the account that was told before it fell below zero.
    """
    today = _now_t2000(store)
    rows = store.rows(
        """SELECT account, debit_fen - credit_fen AS owed_fen, (
            SELECT min(t2000) FROM policies WHERE policies.account = accounts.account
            AND policies.balance_fen < 0 AND policies.t2000 > coalesce((
                SELECT max(t2000) FROM top_ups WHERE top_ups.account = accounts.account
                AND top_ups.balance_fen >= 0
            ), 0)
        ) AS since_t2000 FROM accounts WHERE debit_fen > credit_fen
        ORDER BY owed_fen DESC, account"""
    )
    for row in rows:
        since = row.pop("since_t2000")
        row["days"] = None if since is None else max(0, (today - since) // DAY_S)
    return rows


def low_balances(store: Store, below_days: int) -> list[dict[str, Any]]:
    """Return accounts whose balance lasts for fewer days at the use of the last days."""
    today = _now_t2000(store) // DAY_S
    found = []
    for row in store.rows(
        "SELECT account, meter, credit_fen - debit_fen AS balance_fen, debit_fen FROM accounts "
        "WHERE credit_fen >= debit_fen AND readings > 0 ORDER BY account"
    ):
        then = store.rows(
            "SELECT day, debit_fen FROM readings WHERE day BETWEEN ? AND ? AND meter = ? "
            "ORDER BY day, t2000 LIMIT 1",
            (today - _DAYS_OF_USE, today, row["meter"]),
        )
        if not then:
            continue
        days = max(1, today - then[0]["day"])
        a_day_fen = (row["debit_fen"] - then[0]["debit_fen"]) // days
        left = row["balance_fen"] // a_day_fen if a_day_fen > 0 else None
        if left is not None and left < below_days:
            told = {"account": row["account"], "balance_fen": row["balance_fen"]}
            found.append({**told, "a_day_fen": a_day_fen, "days_left": left})
    return sorted(found, key=lambda one: (one["days_left"], one["account"]))


def not_bought(store: Store, for_days: int) -> list[dict[str, Any]]:
    """Return accounts that bought nothing for so many days; `sold_at` None: never."""
    before = int(time.time()) - for_days * DAY_S
    return store.rows(
        f"""SELECT accounts.account, max(orders.sold_at) AS sold_at,
        accounts.credit_fen - accounts.debit_fen AS balance_fen
        FROM accounts LEFT JOIN orders ON orders.account = accounts.account
        AND orders.amount_fen > 0 AND orders.voided_at IS NULL WHERE accounts.{HOUSEHOLDS}
        GROUP BY accounts.account, accounts.credit_fen, accounts.debit_fen
        HAVING coalesce(max(orders.sold_at), 0) < ? ORDER BY 2, 1""",
        (before,),
    )


def in_doubt(store: Store) -> list[dict[str, Any]]:
    """Return accounts whose billing was stopped, or whose readings are doubted, and why."""
    return store.rows(
        "SELECT account, stopped, doubt, credit_fen - debit_fen AS balance_fen FROM accounts "
        "WHERE stopped <> 0 OR doubt <> 0 ORDER BY account"
    )


def sums_off(store: Store) -> list[dict[str, Any]]:
    """Return the accounts whose sums differ; none does where all money is where it should be.

    Sold = redeemed + outstanding, and top-ups - charges = balance, each to the fen.
    """
    found = []
    for one in households(store):
        outstanding = one.sold_fen - one.redeemed_fen - one.unredeemed_fen
        topped_up = one.redeemed_fen + one.corrected_fen
        balance = topped_up - one.charged_fen - one.balance_fen
        if outstanding or balance:
            sums = {"outstanding_off_fen": outstanding, "balance_off_fen": balance}
            found.append({"account": one.account, **sums})
    return found


def _now_t2000(store: Store) -> int:
    return t2000_of_unix(int(time.time()), store.zone())
