"""The day of the village as a picture: balances over time, and events of each account."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

from host.headend.store import Store
from host.units import to_datetime

matplotlib.use("Agg")

from matplotlib import dates, pyplot

_EVENTS = {
    "top-up": ("^", "tab:green"),
    "alarm": ("o", "tab:orange"),
    "cut": ("v", "tab:red"),
    "supply on": ("P", "tab:blue"),
    "card refused": ("x", "tab:purple"),
}


def plot(store: Store, path: Path) -> None:
    """Write the picture as PNG."""
    figure, axes = pyplot.subplots(figsize=(11, 6), layout="constrained")
    curves = _balances(store)
    for account, points in sorted(curves.items()):
        times = _times(points)
        axes.step(times, [fen / 100 for _, fen in points], where="post", label=account.lstrip("0"))
    for name, events in _events(store).items():
        marker, color = _EVENTS[name]
        # A forged card belongs to no account.
        events = [one for one in events if one[1] in curves]
        times = _times(events)
        heights = [_height(curves[account], t2000) for t2000, account in events]
        axes.scatter(times, heights, marker=marker, color=color, s=70, zorder=3, label=name)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_title("Balances of the households")
    axes.set_ylabel("yuan")
    axes.xaxis_date()
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="small")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def _balances(store: Store) -> dict[str, list[tuple[int, int]]]:
    """Return (t2000, balance in fen) of each account, in the order of the records."""
    rows: list[tuple[int, int, str, str, int]] = []
    for row in store.rows("SELECT * FROM readings"):
        rows.append((row["seq"], row["t2000"], row["account"], "debit", row["debit_fen"]))
    for row in store.rows("SELECT * FROM top_ups"):
        rows.append((row["seq"], row["t2000"], row["account"], "credit", row["credit_fen"]))
    sums: dict[str, dict[str, int]] = defaultdict(lambda: {"debit": 0, "credit": 0})
    curves: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for _, t2000, account, side, fen in sorted(rows):
        sums[account][side] = fen
        curves[account].append((t2000, sums[account]["credit"] - sums[account]["debit"]))
    return curves


def _events(store: Store) -> dict[str, list[tuple[int, str]]]:
    """Return (t2000, account) of each kind of event."""
    events: dict[str, list[tuple[int, str]]] = defaultdict(list)

    def add(name: str, table: str, condition: str = "1 = 1") -> None:
        for row in store.rows(f"SELECT t2000, account FROM {table} WHERE {condition}"):
            events[name].append((row["t2000"], row["account"]))

    confirmed = "stage = 2 AND desired ="
    add("top-up", "top_ups")
    add("alarm", "policies", "new = 1")
    # Before the first purchase no supply is cut, it is not on yet.
    bought = "(SELECT min(seq) FROM top_ups WHERE top_ups.account = relays.account)"
    add("cut", "relays", f"{confirmed} 1 AND seq > {bought}")
    add("supply on", "relays", f"{confirmed} 0")
    add("card refused", "alarms", "kind = 'CARD'")
    return events


def _times(rows: Sequence[tuple[int, Any]]) -> list[Any]:
    """Return the moments as matplotlib's own numbers, for which it has types."""
    return [dates.date2num(to_datetime(row[0])) for row in rows]  # type: ignore[no-untyped-call]  # matplotlib has no types for dates


def _height(points: list[tuple[int, int]], t2000: int) -> float:
    """Return the balance in yuan at a time."""
    before = [fen for at, fen in points if at <= t2000]
    return (before[-1] if before else 0) / 100
