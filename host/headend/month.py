"""The manager's month: how the station has done, beside the month before and a year ago.

collection rate   of what was charged in the month, what is not owed at its end
loss              of the days of the month with a known supply, beside its target
read success      midnights of all meters that came within 1 and 3 days, and in the end
voltage           qualified minutes that meters have counted, else qualified samples
repair time       of the tickets that were mended in the month
devices overdue   meters that were to be verified or exchanged before the month's end

All are whole numbers: shares in hundredths of a percent, money in fen, times in seconds. What is
overdue is known of now alone: a report that is kept tells later ones.
"""

import json
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any

from host.headend import losses, read_success, registry, rooms, tickets, voltage
from host.headend.desk import at_desk
from host.headend.errors import StoreError
from host.headend.losses import Loss
from host.headend.store import Store
from host.headend.topology import DISTRICT, FEEDER
from host.units import DAY_S, EPOCH, kwh, unix_of_t2000, yuan
from host.words import _, marked

SHARE, MONEY, SPAN, COUNT, ENERGY = "share", "money", "span", "count", "energy"
_LOOK_BACK_DAYS = 62
_CHUNK = 500
# Where more households than these are known, a page shows only months that were kept.
COMPUTED_LIMIT = 30_000

# Name, its title, the unit, and whether more of it is better: 1, worse: -1, or neither: 0.
FIGURES = (
    ("collection_e4", marked("collection rate"), SHARE, 1),
    ("charged_fen", marked("charged"), MONEY, 0),
    ("sold_fen", marked("sold"), MONEY, 0),
    ("owed_fen", marked("owed at the end"), MONEY, -1),
    ("loss_400_e4", marked("loss at 400 V"), SHARE, -1),
    ("loss_10k_e4", marked("loss at 10 kV"), SHARE, -1),
    ("supplied_wh", marked("supplied to districts"), ENERGY, 0),
    ("used_wh", marked("used by households"), ENERGY, 0),
    ("read_day1_e4", marked("read on day 1"), SHARE, 1),
    ("read_day3_e4", marked("read by day 3"), SHARE, 1),
    ("read_e4", marked("read in the end"), SHARE, 1),
    ("voltage_e4", marked("voltage compliance"), SHARE, 1),
    ("repair_s", marked("mean repair time"), SPAN, -1),
    ("mended", marked("tickets mended"), COUNT, 0),
    ("in_time", marked("mended in time"), COUNT, 1),
    ("complaints", marked("complaints"), COUNT, -1),
    ("complaints_late", marked("complaints late or open"), COUNT, -1),
    ("overdue", marked("devices overdue"), COUNT, -1),
)
_TARGETS = {"loss_400_e4": "target_400_e4", "loss_10k_e4": "target_10k_e4"}
Figures = dict[str, int | None]


@dataclass(frozen=True, slots=True)
class Line:
    """A figure of a report, with its target, that of the month before and of a year ago.

    `well` is True or False beside a target or the month before, None: neither says so.
    """

    name: str
    title: str
    unit: str
    value: int | None
    target: int | None
    last: int | None
    year: int | None
    well: bool | None


@dataclass(frozen=True, slots=True)
class Report:
    """A month's report; `kept_at` None: it was computed now."""

    month: str
    lines: list[Line]
    kept_at: int | None
    is_whole: bool


def month_of(text: str) -> str:
    """Return a month as YYYY-MM. StoreError: it is none."""
    if not re.fullmatch("20[0-9]{2}-(0[1-9]|1[0-2])", text):
        raise StoreError(_("{text!r}: give a month as YYYY-MM").format(text=text[:20]))
    return text


def before(month: str, months: int = 1) -> str:
    """Return a month that is so many before another."""
    year, number = map(int, month.split("-"))
    count = year * 12 + number - 1 - months
    return f"{count // 12}-{count % 12 + 1:02d}"


def days_of(month: str) -> range:
    """Return the days of a month, counted since 2000."""
    first = (date.fromisoformat(f"{month}-01") - EPOCH.date()).days
    after = (date.fromisoformat(f"{before(month, -1)}-01") - EPOCH.date()).days
    return range(first, after)


def last_month(store: Store, now: int) -> str:
    """Return the month before that of now at the station's clock."""
    return before(f"{datetime.fromtimestamp(now, store.zone()):%Y-%m}")


# --- figures -------------------------------------------------------------------------------------


def figures(store: Store, month: str, now: int) -> Figures:
    """Compute the figures of a month from what is here."""
    days = days_of(month)
    found: Figures = dict.fromkeys([name for name, *_rest in FIGURES])
    found |= dict.fromkeys(_TARGETS.values())
    found |= _money(store, days)
    found |= _losses(store, days)
    found |= _readings(store, days)
    found["voltage_e4"] = _voltage_rate_e4(store, days)
    zone = store.zone()
    since_at, until_at = (unix_of_t2000(one * DAY_S, zone) for one in (days[0], days[-1] + 1))
    repairs = tickets.repairs(store, since_at, until_at)
    found |= {"mended": repairs.mended, "in_time": repairs.in_time}
    found["repair_s"] = repairs.mean_s if repairs.mended else None
    found |= _complaints(store, since_at, until_at)
    found["sold_fen"] = store.value(
        "SELECT CAST(coalesce(sum(amount_fen), 0) AS bigint) FROM orders WHERE amount_fen > 0 "
        "AND voided_at IS NULL AND sold_at >= ? AND sold_at < ?",
        (since_at, until_at),
    )
    # What was overdue then is not known any more, where a month has passed since.
    if now < until_at + 31 * DAY_S:
        last = date.fromordinal(EPOCH.date().toordinal() + days[-1])
        found["overdue"] = len(registry.due(store, last))
    return found


def _money(store: Store, days: range) -> Figures:
    """Return what was charged in a month and is owed at its end, of all accounts."""
    accounts = {row["account"]: row for row in store.rows(_ACCOUNTS)}
    ends, begins = days[-1] + 1, days[0]
    after = _debits(store, accounts, ends)
    prior = _debits(store, accounts, begins)
    later = _credited_since(store, ends * DAY_S)
    charged_fen = owed_fen = 0
    for account, debit_fen in after.items():
        charged = debit_fen - prior.get(account, 0)
        credit_fen = accounts[account]["credit_fen"] - later.get(account, 0)
        charged_fen += charged
        owed_fen += max(0, min(charged, debit_fen - credit_fen))
    rate = 10_000 * (charged_fen - owed_fen) // charged_fen if charged_fen else None
    return {"charged_fen": charged_fen, "owed_fen": owed_fen, "collection_e4": rate}


_ACCOUNTS = """
    SELECT account, meter, credit_fen FROM accounts
    WHERE account NOT IN (SELECT account FROM supply_meters)
"""


def _debits(store: Store, accounts: dict[str, dict[str, Any]], day: int) -> dict[str, int]:
    """Return what each account was charged in all by its newest reading before a day."""
    found: dict[str, int] = {}
    for back in range(1, _LOOK_BACK_DAYS):
        waiting = [one for one in accounts if one not in found]
        if not waiting:
            break
        found |= _debits_of_day(store, accounts, waiting, day - back)
    return found


def _debits_of_day(
    store: Store, accounts: dict[str, dict[str, Any]], waiting: Sequence[str], day: int
) -> dict[str, int]:
    rows: list[tuple[str, int]] = []
    with store.database.looking():
        if len(waiting) > _CHUNK:
            query = "SELECT account, max(debit_fen) FROM readings WHERE day = ? GROUP BY account"
            rows = store.database.all(query, (day,))
        else:
            meters = [accounts[one]["meter"] for one in waiting]
            marks = ", ".join("?" * len(meters))
            query = "SELECT account, max(debit_fen) FROM readings WHERE day = ? "
            rows = store.database.all(
                f"{query} AND meter IN ({marks}) GROUP BY account", (day, *meters)
            )
    wanted = set(waiting)
    return {account: debit_fen for account, debit_fen in rows if account in wanted}


def _credited_since(store: Store, t2000: int) -> dict[str, int]:
    """Return what each account was credited since a moment, by payments and corrections."""
    found: dict[str, int] = {}
    for row in store.rows(
        "SELECT account, CAST(sum(amount_fen) AS bigint) AS fen FROM top_ups WHERE t2000 >= ? "
        "GROUP BY account",
        (t2000,),
    ):
        found[row["account"]] = row["fen"]
    for row in store.rows(
        "SELECT account, detail FROM alarms WHERE kind = 'CORRECTION' AND t2000 >= ?", (t2000,)
    ):
        fen = row["detail"].get("amount_fen", 0)
        found[row["account"]] = found.get(row["account"], 0) + fen
    return found


def _losses(store: Store, days: range) -> Figures:
    told = losses.sum_of(losses.day_losses(store, days[0], days[-1] + 1))
    found: Figures = {}
    for level, name in ((DISTRICT, "400"), (FEEDER, "10k")):
        known = [one for one in told if one.level == level and one.supplied is not None]
        supplied, lost, target = _sums(known)
        found[f"loss_{name}_e4"] = losses.share_e4(lost, supplied)
        found[f"target_{name}_e4"] = target // supplied if supplied else None
        if level == DISTRICT:
            found |= {"supplied_wh": supplied, "used_wh": supplied - lost} if known else {}
    return found


def _sums(known: Iterable[Loss]) -> tuple[int, int, int]:
    """Return the energy supplied, lost, and the targets weighted by the supply."""
    supplied = lost = target = 0
    for one in known:
        if one.supplied is not None and one.lost_wh is not None:
            supplied += one.supplied.wh
            lost += one.lost_wh
            target += one.supplied.wh * one.target_e4
    return supplied, lost, target


def _readings(store: Store, days: range) -> Figures:
    meters = day1 = day3 = there = 0
    for day in days:
        (one,) = read_success.read_success(store, day)
        meters, there = meters + one.meters, there + one.there
        day1, day3 = day1 + one.day1, day3 + one.day3
    if not meters:
        return {}
    counts = {"read_day1_e4": day1, "read_day3_e4": day3, "read_e4": there}
    return {name: 10_000 * count // meters for name, count in counts.items()}


def _voltage_rate_e4(store: Store, days: range) -> int | None:
    counted = voltage.counted_rate_e4(voltage.counted(store, days[0], days[-1] + 1))
    if counted is not None:
        return counted
    found = voltage.rates(voltage.samples(store, days), "station")
    return found[0].rate_e4 if found else None


def _complaints(store: Store, since_at: int, until_at: int) -> Figures:
    entered = "FROM complaints WHERE entered_at >= ? AND entered_at < ?"
    late = "AND (closed_at IS NULL OR closed_at > due_at)"
    return {
        "complaints": store.value(f"SELECT count(*) {entered}", (since_at, until_at)),
        "complaints_late": store.value(f"SELECT count(*) {entered} {late}", (since_at, until_at)),
    }


# --- reports -------------------------------------------------------------------------------------


def kept(store: Store, month: str) -> tuple[Figures, int] | None:
    """Return the figures of a month as they were kept, and when; None: they were not."""
    rows = store.rows("SELECT figures, kept_at FROM month_figures WHERE month = ?", (month,))
    return (json.loads(rows[0]["figures"]), rows[0]["kept_at"]) if rows else None


@at_desk
def keep_month(store: Store, month: str, told: dict[str, int | None]) -> bool:
    """Keep the figures of a month, once; return whether they are new."""
    row = (month, json.dumps(told), int(time.time()))
    with store.writing() as database:
        count = database.insert_new("month_figures", ("month", "figures", "kept_at"), [row])
    return count > 0


def report(store: Store, month: str, *, now: int | None = None, computed: bool = True) -> Report:
    """Return the report of a month, as it was kept or as it is now.

    `computed` False: only months that were kept have figures.
    """
    at = int(time.time()) if now is None else now

    def of(one: str) -> tuple[Figures, int | None]:
        known = kept(store, one)
        if known is not None:
            return known
        is_there = computed and store.value("SELECT min(day) FROM freezes") is not None
        return (figures(store, one, at) if is_there and _begun(store, one) else {}), None

    told, kept_at = of(month)
    last, _at = of(before(month))
    year, _at = of(before(month, 12))
    lines = [
        _line(name, title, unit, better, told, last, year) for name, title, unit, better in FIGURES
    ]
    ends_at = unix_of_t2000((days_of(month)[-1] + 1) * DAY_S, store.zone())
    return Report(month, lines, kept_at, at >= ends_at)


def _begun(store: Store, month: str) -> bool:
    """Return whether anything can be here of a month."""
    first = store.value("SELECT min(day) FROM freezes")
    return first is not None and first <= days_of(month)[-1]


def _line(
    name: str, title: str, unit: str, better: int, told: Figures, last: Figures, year: Figures
) -> Line:
    value, target = told.get(name), told.get(_TARGETS.get(name, ""))
    compared = target if target is not None else last.get(name)
    well = None
    if better and value is not None and compared is not None:
        well = value * better >= compared * better
    return Line(name, title, unit, value, target, last.get(name), year.get(name), well)


def told_of(one: Report) -> dict[str, Any]:
    """Return a report for JSON."""
    rows = [{**asdict(line), "title": _(line.title)} for line in one.lines]
    return {"month": one.month, "whole": one.is_whole, "figures": rows}


def shown(unit: str, value: int | None) -> str:
    """Return a figure as people write it."""
    if value is None:
        return "–"
    if unit == SHARE:
        sign = "-" if value < 0 else ""
        return f"{sign}{abs(value) // 100}.{abs(value) % 100:02d} %"
    if unit == MONEY:
        return _("{amount} yuan").format(amount=yuan(value))
    if unit == SPAN:
        return _("{hours} h {minutes} min").format(hours=value // 3600, minutes=value // 60 % 60)
    return f"{kwh(value, 1)} kWh" if unit == ENERGY else str(value)


COLUMNS = (
    *(marked("figure"), marked("value"), marked("target"), marked("month before")),
    marked("a year ago"),
)


def rows_of(one: Report) -> list[list[str]]:
    """Return the rows of a report as people read them."""
    return [
        [_(line.title)]
        + [shown(line.unit, each) for each in (line.value, line.target, line.last, line.year)]
        for line in one.lines
    ]


# --- a landlord's house --------------------------------------------------------------------------

HOUSE_COLUMNS = (
    *(marked("room"), marked("tenant"), marked("used"), marked("charged"), marked("paid")),
    marked("balance"),
)


def house(store: Store, month: str) -> list[list[str]]:
    """Return a landlord's month: of each room its use, charge, payments and balance, and sums."""
    days = days_of(month)
    accounts = {row["account"]: row for row in store.rows(_ACCOUNTS)}
    after, prior = (_debits(store, accounts, day) for day in (days[-1] + 1, days[0]))
    used: dict[str, int] = {}
    for _day, account, wh in losses.uses(store, days):
        used[account] = used.get(account, 0) + wh
    span = (days[0] * DAY_S, (days[-1] + 1) * DAY_S)
    paid = {
        row["account"]: row["fen"]
        for row in store.rows(
            "SELECT account, CAST(sum(amount_fen) AS bigint) AS fen FROM top_ups "
            "WHERE t2000 >= ? AND t2000 < ? GROUP BY account",
            span,
        )
    }
    rows = []
    sums = [0, 0, 0, 0]
    for one in rooms.rooms(store):
        account = one["account"]
        charged = after.get(account, 0) - prior.get(account, 0)
        told = [used.get(account, 0), charged, paid.get(account, 0), one["balance_fen"] or 0]
        sums = [total + value for total, value in zip(sums, told, strict=True)]
        rows.append([one["room"] or account, one["name"] or "–", *_cells(told)])
    return [*rows, [_("all rooms"), "", *_cells(sums)]]


def _cells(told: Sequence[int]) -> list[str]:
    return [f"{kwh(told[0], 1)} kWh", *(yuan(fen) for fen in told[1:])]


def values_of(one: Report) -> Figures:
    """Return the figures of a report by name, with its targets, as they are kept."""
    found: Figures = {line.name: line.value for line in one.lines}
    return found | {
        _TARGETS[line.name]: line.target for line in one.lines if line.name in _TARGETS
    }
