"""What has happened since the last look that households are told: from the tables of records.

Each table is read on from its newest row of the last time. Where notices are switched on, that
begins with what comes afterwards: nobody is told of last year.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from host.headend import notices
from host.headend.notices import Event
from host.headend.outcomes import DONE
from host.headend.store import Store, is_address
from host.headend.web import meters
from host.units import DAY_S, kwh, to_datetime, yuan

_ROWS = 500
_ACCOUNTS = 50  # whose tiers are looked at in one go
# Several head-ends write to one PostgreSQL, and a row may become visible behind a later one.
_OVERLAP = 200
_SEEN_LIMIT = 10_000
_STAGE_CONFIRMED = 2
_NORMAL, _ZERO, _HELD = 0, 3, 5  # states of the policy
_COMMIT = "tariff commit "

Row = dict[str, Any]
Told = tuple[str, dict[str, str]]


def _when(t2000: int) -> str:
    return f"{to_datetime(t2000):%Y-%m-%d %H:%M}"


def _relay(row: Row) -> Told | None:
    if row["stage"] != _STAGE_CONFIRMED:
        return None
    return notices.TRIP if row["desired"] else notices.RECLOSE, _balance(row)


def _policy(row: Row) -> Told | None:
    if row["new"] == _HELD and row["old"] != _HELD:
        return notices.USED_UP, _balance(row)
    if row["old"] < row["new"] and _NORMAL < row["new"] <= _ZERO:
        return notices.LOW, _balance(row)
    return None


def _top_up(row: Row) -> Told | None:
    if not row["amount_fen"]:
        return None
    told = {"amount": yuan(abs(row["amount_fen"])), "order": str(row["order"])}
    kind = notices.RECEIPT if row["amount_fen"] > 0 else notices.REFUND
    return kind, {**_balance(row), **told}


def _balance(row: Row) -> dict[str, str]:
    return {"balance": yuan(row["balance_fen"]), "time": _when(row["t2000"])}


def _alarm(row: Row) -> Told | None:
    detail = row["detail"] if isinstance(row["detail"], dict) else json.loads(row["detail"])
    if row["kind"] == "ROLLOVER":
        used = kwh(detail["used_wh"], 2)
        return notices.SETTLEMENT, {"used": used, "time": _when(row["t2000"])}
    if row["kind"] == "PLAN":
        told = {"since": _when(detail["from_t2000"] or row["t2000"])}
        return notices.PRICE, {**told, "time": _when(row["t2000"])}
    return None


_SOURCES: dict[str, Callable[[Row], Told | None]] = {
    "relays": _relay,
    "policies": _policy,
    "top_ups": _top_up,
    "alarms": _alarm,
}


@dataclass
class Looked:
    """What a look has found: events, and up to where each source was looked at."""

    events: list[Event] = field(default_factory=list)
    marks: dict[str, int] = field(default_factory=dict)


class Look:
    """Looks for events, again and again; it keeps which it has found of late."""

    def __init__(self, store: Store, tier_percent: int) -> None:
        self._store = store
        self._tier_percent = tier_percent
        self._overlap = _OVERLAP if is_address(store.address) else 0
        self._seen: dict[tuple[str, str, str], None] = {}

    def look(self, now: int) -> Looked:
        """Return what has happened since the marks in the database."""
        marks = notices.marks(self._store)
        found = Looked()
        for table, told in _SOURCES.items():
            self._table(table, told, marks, found)
        self._tariffs(marks, now, found)
        if "tiers" not in marks:
            found.marks["tiers"] = 0
        else:
            self._tiers(marks["tiers"], found)
        fresh = [one for one in found.events if self._is_new(one)]
        changed = {name: mark for name, mark in found.marks.items() if marks.get(name) != mark}
        return Looked(fresh, changed)

    def _is_new(self, one: Event) -> bool:
        key = (one.kind, one.event, one.account)
        if key in self._seen:
            return False
        self._seen[key] = None
        if len(self._seen) > _SEEN_LIMIT:
            del self._seen[next(iter(self._seen))]
        return True

    def forget(self, events: list[Event]) -> None:
        """Find events again that could not be noted."""
        for one in events:
            self._seen.pop((one.kind, one.event, one.account), None)

    def _table(
        self,
        table: str,
        told_of: Callable[[Row], Told | None],
        marks: dict[str, int],
        found: Looked,
    ) -> None:
        if table not in marks:
            newest = self._store.value(f"SELECT max(id) FROM {table}")
            found.marks[table] = int(newest or 0)
            return
        rows = self._store.rows(
            f"SELECT * FROM {table} WHERE id > ? ORDER BY id LIMIT ?",
            (marks[table] - self._overlap, _ROWS + self._overlap),
        )
        for row in rows:
            found.marks[table] = max(row["id"], marks[table])
            told = told_of(row)
            if told is not None and row["account"].isdecimal():
                event = f"{table} {row['concentrator']} {row['seq']}"
                found.events.append(Event(told[0], event, row["account"], told[1]))

    def _tariffs(self, marks: dict[str, int], now: int, found: Looked) -> None:
        """Find tariffs that were put in force by a command, for all whom they price."""
        found.marks["tariffs"] = marks.get("tariffs", now)
        if "tariffs" not in marks:
            return
        rows = self._store.rows(
            "SELECT id, concentrator, text, ended_at FROM commands "
            "WHERE ended_at >= ? AND state = ? AND text LIKE ? ORDER BY ended_at",
            (marks["tariffs"], DONE, f"{_COMMIT}%"),
        )
        zone = self._store.zone()
        for row in rows:
            number = row["text"].removeprefix(_COMMIT).split()[0]
            since = notices.local_time(row["ended_at"], zone)
            for one in self._store.rows(
                "SELECT account FROM meters WHERE concentrator = ? AND tariff = ? AND active = 1",
                (row["concentrator"], int(number) if number.isdecimal() else 0),
            ):
                event = f"command {row['id']}"
                values = {"since": since, "time": since}
                found.events.append(Event(notices.PRICE, event, one["account"], values))
        # One that ended in the same second may not be there yet.
        found.marks["tariffs"] = max([marks["tariffs"], *(row["ended_at"] for row in rows)])

    def _tiers(self, mark: int, found: Looked) -> None:
        """Look at the tiers of the next accounts; behind the last one it begins anew."""
        rows = self._store.rows(
            "SELECT * FROM accounts WHERE account > ? AND last_t2000 IS NOT NULL "
            "ORDER BY account LIMIT ?",
            (f"{mark:012d}", _ACCOUNTS),
        )
        found.marks["tiers"] = int(rows[-1]["account"]) if len(rows) == _ACCOUNTS else 0
        for row in rows:
            found.events.extend(self._tier(row))

    def _tier(self, row: Row) -> Iterator[Event]:
        terms = meters.terms_of(self._store, row)
        tier = meters.tier_of(terms, row) if terms is not None else None
        if tier is None or tier.left_wh is None or not tier.used_wh:
            return
        limit_wh = tier.used_wh + tier.left_wh
        if tier.used_wh * 100 < limit_wh * self._tier_percent:
            return
        values = {
            "tier": str(tier.number + 1),
            "used": kwh(tier.used_wh, 1),
            "left": kwh(tier.left_wh, 1),
            **({"price": tier.next_price} if tier.next_price else {}),
            "time": _when(row["last_t2000"]),
        }
        event = f"tier {row['period']} {tier.number + 1}"
        yield Event(notices.TIER, event, row["account"], values)


def is_stale(values: dict[str, str], now_t2000: int, days: int) -> bool:
    """Return whether what is told of happened too many days ago to be told."""
    return bool(values.get("time")) and values["time"] < _when(now_t2000 - days * DAY_S)
