"""An account's history: what was sold, and each record of its concentrator behind it."""

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from host.frames.card_results import result_text
from host.headend.store import Store
from host.units import DAY_S, to_t2000, yuan
from host.words import _, marked

SOLD, REFUNDED, VOIDED = marked("sale"), marked("to be paid back"), marked("taken back")
WORTHLESS = marked("order of no money")
_KINDS = {
    "top_ups": marked("redeemed"),
    "relays": marked("relay"),
    "policies": marked("state"),
    "standings": marked("standing"),
    "alarms": "",
}
# What meters told: the keys of these tables begin with the day and the meter.
READING = marked("reading")
_OF_METERS = {
    "readings": READING,
    "freezes": marked("midnight"),
    "items": marked("answer"),
}
_OF_ACCOUNT = """
    SELECT told.*, records.kind AS record_kind, records.payload FROM {table} AS told
    LEFT JOIN records ON records.concentrator = told.concentrator AND records.seq = told.seq
    WHERE told.account = ? AND told.t2000 >= ? AND told.t2000 < ?
"""
_OF_METER = """
    SELECT told.*, records.kind AS record_kind, records.payload FROM {table} AS told
    LEFT JOIN records ON records.concentrator = told.concentrator AND records.seq = told.seq
    WHERE told.day >= ? AND told.day <= ? AND told.meter IN (
        SELECT address FROM meters WHERE account = ?
    ) AND told.account = ? AND told.t2000 >= ? AND told.t2000 < ?
"""
_COMMON = frozenset(
    ("id", "concentrator", "seq", "t2000", "account", "record_kind", "payload", "kind", "day")
)


def history(
    store: Store, account: str, since_t2000: int, until_t2000: int, *, readings: bool = False
) -> list[dict[str, Any]]:
    """Return the events of an account by time, from a moment to before another.

    With `readings` they have what its meters told as well: registers, and other items.

    Each has `t2000`, `what`, `amount_fen` or None, `detail` by name, and of a record the
    concentrator, its number and `record`: its payload in hexadecimal digits while it is kept.
    """
    zone = store.zone()

    def local(at: int) -> int:
        return to_t2000(datetime.fromtimestamp(at, zone).replace(tzinfo=None))

    found = [*_orders(store, account, local)]
    span = (since_t2000, until_t2000)
    for table, what in _KINDS.items():
        for row in store.rows(_OF_ACCOUNT.format(table=table), (account, *span)):
            found.append(_event(row, what or row["kind"].lower()))
    if readings:
        days = (since_t2000 // DAY_S, until_t2000 // DAY_S)
        for table, what in _OF_METERS.items():
            query = _OF_METER.format(table=table)
            for row in store.rows(query, (*days, account, account, *span)):
                found.append(_event(row, what))
    found = [one for one in found if since_t2000 <= one["t2000"] < until_t2000]
    return sorted(found, key=lambda one: (one["t2000"], one["seq"] or 0))


def _orders(store: Store, account: str, local: Callable[[int], int]) -> Iterator[dict[str, Any]]:
    """Yield an event for each sale and refund, and for each that was taken back."""
    query = 'SELECT * FROM orders WHERE account = ? ORDER BY "order"'
    for row in store.rows(query, (account,)):
        what = SOLD if row["amount_fen"] > 0 else REFUNDED if row["amount_fen"] else WORTHLESS
        names = ("order", "cashier", "channel", "reference", "supersedes")
        detail = {name: row[name] for name in names if row[name]}
        yield _of_counter(local(row["sold_at"]), what, row["amount_fen"], detail)
        if row["voided_at"] is not None and row["amount_fen"]:
            why = {"order": row["order"], "by": row["voided_by"], "why": row["void_reason"]}
            yield _of_counter(local(row["voided_at"]), VOIDED, -row["amount_fen"], why)


def _of_counter(t2000: int, what: str, amount_fen: int, detail: dict[str, Any]) -> dict[str, Any]:
    return {
        "t2000": t2000,
        "what": what,
        "amount_fen": amount_fen,
        "detail": detail,
        **dict.fromkeys(("concentrator", "seq", "record_kind", "record")),
    }


def _event(row: dict[str, Any], what: str) -> dict[str, Any]:
    """Return the event of a record."""
    payload = row["payload"]
    detail = {name: value for name, value in row.items() if name not in _COMMON}
    if "detail" in detail:
        told = detail.pop("detail")
        detail |= json.loads(told) if isinstance(told, str) else told
    amount_fen = detail.pop("amount_fen", None)
    return {
        "t2000": row["t2000"],
        "what": what,
        "amount_fen": amount_fen,
        "detail": detail,
        "concentrator": row["concentrator"],
        "seq": row["seq"],
        "record_kind": row["record_kind"],
        "record": None if payload is None else bytes(payload).hex(),
    }


# --- as text ------------------------------------------------------------------------------------

# Columns of words that are ours; those of people are as they wrote them.
_WORDS = frozenset(("kind", "what", "void_reason", "why", "channel", "role"))


_RELAY_STAGES = {
    1: marked("is to be"),
    2: marked("is"),
    3: marked("could not be made"),
}
_NAMES = {"supersedes": marked("in place of"), "uid": "card", "code": "result"}
# Of little use to the eye; JSON and CSV have them.
_UNSHOWN = frozenset(
    ("header_mac", "books_fen", "key_version", "source", "repaid_fen", "illegal", "recent")
)


def detail_text(told: dict[str, Any], whole: bool) -> str:
    """Return the values of an event as text, for people without those of little use."""
    if not whole and "stage" in told and "desired" in told:
        position = _("open") if told["desired"] else _("closed")
        stage = _(_RELAY_STAGES.get(told["stage"], "?"))
        return f"{stage} {position}, {_('balance')} {yuan(told['balance_fen'])}"
    parts = []
    for name, value in told.items():
        if whole:
            parts.append(f"{name} {value}")
        elif name not in _UNSHOWN and value not in ("", None):
            text = result_text(value) if name == "code" else cell_text(name, value)
            called = _NAMES.get(name, name.removesuffix("_fen").replace("_", " "))
            parts.append(f"{_(called)} {text}")
    return ", ".join(parts)


def cell_text(key: str, value: Any) -> str:
    """Return the value of a column for people: money in yuan, words of ours translated."""
    if value is None or (key == "supersedes" and not value):
        return "-"
    if key in _WORDS:
        return _(value) if value else ""
    return yuan(value) if key.endswith("_fen") else str(value)
