"""What lists and the first page show, read from the head-end's database.

Every query is one that an index serves: readings are found by day and meter.
"""

import json
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from datetime import time as clock
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from host.headend import losses, orders
from host.headend.places import HOUSEHOLDS, date_of
from host.headend.posting import finding_text
from host.headend.store import Store
from host.headend.topology import DISTRICT
from host.headend.web.figures import grouped, local, money
from host.units import DAY_S, now_t2000
from host.words import _

PAGE_ROWS = 100
LOW_DAYS = 3
_WEEK = 7
_SILENT_S = 2 * 3600
_TASKS_LIMIT = 100
_LOSS_LIMIT = 5_000  # households whose loss the first page computes

# An account that no concentrator has told, and that has no contract, is found by its number alone.
_ACCOUNTS = f"""
    SELECT account FROM accounts WHERE {HOUSEHOLDS}
    UNION SELECT account FROM contracts WHERE closed_at IS NULL
"""
_SOLD_TO = "SELECT account FROM orders WHERE account = ?"
_KNOWN = """
    SELECT {columns} FROM ({accounts}) AS known
    LEFT JOIN accounts ON accounts.account = known.account
    LEFT JOIN contracts ON contracts.account = known.account AND contracts.closed_at IS NULL
    LEFT JOIN customers ON customers.customer = contracts.customer
    WHERE {where}
"""
_COLUMNS = (
    *("known.account", "accounts.meter", "accounts.credit_fen", "accounts.debit_fen"),
    *("accounts.relay", "accounts.last_t2000", "accounts.stopped", "accounts.doubt"),
    *("customers.name", "customers.address", "contracts.district"),
)
_LIKE = "{} LIKE ? ESCAPE '!'"
_WITH_DEVICE = "SELECT account FROM devices WHERE address LIKE ? ESCAPE '!'"
_WITH_CARD = """
    SELECT account FROM cards WHERE uid = ? UNION SELECT account FROM top_ups WHERE uid = ?
"""
_OF_NUMBERS = (
    _LIKE.format("known.account"),
    _LIKE.format("accounts.meter"),
    f"known.account IN ({_WITH_DEVICE})",
)
_OF_TEXTS = (
    _LIKE.format("lower(customers.name)"),
    _LIKE.format("customers.phone"),
    _LIKE.format("lower(customers.address)"),
)


@dataclass(frozen=True, slots=True)
class State:
    """The state of a household in one word, and whether it is well, a warning or bad."""

    text: str
    tone: str


@dataclass(slots=True)
class Row:
    """A household of a list; what is not known yet is None."""

    account: str
    name: str
    meter: str
    place: str
    balance_fen: int | None
    last_t2000: int | None
    state: State
    days_left: int | None = None


def state_of(row: dict[str, Any]) -> State:
    """Return the state of an account's row."""
    if row["credit_fen"] is None:
        return State(_("not connected yet"), "plain")
    if row["stopped"]:
        return State(_("billing stopped"), "bad")
    if row["doubt"]:
        return State(_("reading in doubt"), "warn")
    if row["relay"] == 1:
        return State(_("supply cut"), "bad")
    if row["relay"] is None:
        return State(_("relay not known"), "plain")
    return State(_("supply on"), "ok")


def households(store: Store, text: str, page: int) -> tuple[list[Row], bool]:
    """Return the households of a page, from 1 on, that fit a search; and whether more follow."""
    span = (PAGE_ROWS + 1, (page - 1) * PAGE_ROWS)
    end = "ORDER BY account LIMIT ? OFFSET ?"
    if text:
        accounts, where, values = _search(text)
        end = end.replace("account", "known.account")
    else:  # only the rows of the page are joined
        accounts, where, values, end = f"{_ACCOUNTS} {end}", "1 = 1", [], "ORDER BY known.account"
    query = _KNOWN.format(columns=", ".join(_COLUMNS), accounts=accounts, where=where)
    rows = store.rows(f"{query} {end}", (*values, *span))
    days = days_left(store, rows[:PAGE_ROWS])
    found = []
    for row in rows[:PAGE_ROWS]:
        balance_fen = None
        if row["credit_fen"] is not None:
            balance_fen = row["credit_fen"] - row["debit_fen"]
        place = " · ".join(filter(None, (row["district"], row["address"])))
        found.append(
            Row(
                row["account"],
                row["name"] or "",
                row["meter"] or "",
                place,
                balance_fen,
                row["last_t2000"],
                state_of(row),
                days.get(row["account"]),
            )
        )
    return found, len(rows) > PAGE_ROWS


def count(store: Store, text: str) -> int:
    """Return how many households fit a search."""
    if not text:
        return int(store.value(f"SELECT count(*) FROM ({_ACCOUNTS}) AS known"))
    accounts, where, values = _search(text)
    query = _KNOWN.format(columns="count(*)", accounts=accounts, where=where)
    return int(store.value(query, values))


def _search(text: str) -> tuple[str, str, list[str]]:
    """Return where a number, meter, card, name, telephone or address is looked for, and how."""
    accounts = _ACCOUNTS
    parts: list[str] = []
    values: list[str] = []
    digits = re.sub(r"\s", "", text)
    if re.fullmatch("[0-9]{1,12}", digits):
        accounts += f"UNION {_SOLD_TO}"
        values.append(digits.zfill(12))
        parts += _OF_NUMBERS
        values += [_pattern(digits)] * len(_OF_NUMBERS)
    if re.fullmatch("[0-9A-Fa-f]{8,16}", digits):
        parts.append(f"known.account IN ({_WITH_CARD})")
        values += [digits.upper()] * 2
    parts += _OF_TEXTS
    values += [_pattern(text.lower())] * len(_OF_TEXTS)
    return accounts, " OR ".join(parts), values


def _pattern(text: str) -> str:
    """Return a pattern of LIKE that finds a text anywhere, with nothing special in it."""
    plain = re.sub("([!%_])", r"!\1", text)
    return f"%{plain}%"


def days_left(store: Store, rows: Iterable[dict[str, Any]]) -> dict[str, int]:
    """Return for how many days each balance lasts, at the charges of the last seven days."""
    spent = daily_fen(store, rows)
    left = {}
    for row in rows:
        daily = spent.get(row["account"])
        if daily:
            balance_fen = row["credit_fen"] - row["debit_fen"]
            left[row["account"]] = max(0, int(balance_fen // daily))
    return left


def daily_fen(store: Store, rows: Iterable[dict[str, Any]]) -> dict[str, float]:
    """Return what each account was charged a day of late: in seven days, or since it is known."""
    waiting = {
        row["account"]: row for row in rows if row["meter"] and row["last_t2000"] is not None
    }
    found = {}
    for back in range(_WEEK, 0, -1):
        for day, group in _by_day(waiting.values(), back).items():
            for account, debit_fen, t2000 in _first_of_day(store, day, group):
                row = waiting.pop(account, None)
                if row is not None and row["last_t2000"] > t2000:
                    spent = row["debit_fen"] - debit_fen
                    found[account] = spent * DAY_S / (row["last_t2000"] - t2000)
    return found


def _by_day(rows: Iterable[dict[str, Any]], back: int) -> dict[int, list[str]]:
    days: dict[int, list[str]] = {}
    for row in rows:
        days.setdefault(row["last_t2000"] // DAY_S - back, []).append(row["meter"])
    return days


def _first_of_day(store: Store, day: int, meters: Sequence[str]) -> list[tuple[str, int, int]]:
    """Return account, charges and time of the first reading of each meter on a day."""
    marks = ", ".join("?" * len(meters))
    with store.database.looking():
        return store.database.all(
            "SELECT account, min(debit_fen), min(t2000) FROM readings "
            f"WHERE day = ? AND meter IN ({marks}) GROUP BY account",
            (day, *meters),
        )


# --- the first page -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Task:
    """Something that a person has to do: what about, why, since when, and where to begin."""

    what: str
    chip: str
    tone: str
    text: str
    url: str
    verb: str


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with its unit, what stands under it, and the page that it opens, "": none."""

    title: str
    value: str
    unit: str
    chip: str
    tone: str
    note: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class Sales:
    """Sales of a day at the station's clock; `parts` are channel, yuan in fen and share."""

    sold_fen: int
    count: int
    waiting: int
    parts: list[tuple[str, int, int]]


_SUMS = f"""
    SELECT count(*) AS households, coalesce(sum(credit_fen - debit_fen), 0) AS balance_fen,
    coalesce(sum(CASE WHEN credit_fen < debit_fen THEN credit_fen - debit_fen ELSE 0 END), 0)
    AS owed_fen, coalesce(sum(CASE WHEN credit_fen < debit_fen THEN 1 ELSE 0 END), 0) AS owing,
    coalesce(sum(CASE WHEN relay = 1 THEN 1 ELSE 0 END), 0) AS cut,
    coalesce(sum(CASE WHEN stopped <> 0 OR doubt <> 0 THEN 1 ELSE 0 END), 0) AS doubted,
    max(last_t2000) AS newest_t2000 FROM accounts WHERE {HOUSEHOLDS}
"""
_READ = f"SELECT count(*) FROM accounts WHERE last_t2000 > ? AND {HOUSEHOLDS}"
_CONCENTRATORS = "SELECT concentrator, seen_at FROM concentrators ORDER BY seen_at"


@dataclass(frozen=True, slots=True)
class Today:
    """What the first page shows."""

    newest_t2000: int | None
    households: int
    concentrators: int
    figures: list[Figure]
    tasks: list[Task]
    tasks_left: int
    sales: Sales


def today(store: Store, zone: ZoneInfo) -> Today:
    """Return the first page: what must be done, and how the station stands."""
    (sums,) = store.rows(_SUMS)
    heard = store.rows(_CONCENTRATORS)
    tasks = [*_silent(heard, zone), *_low(store), *_findings(store, zone)]
    tasks.sort(key=lambda one: _ORDER.index(one.tone))
    return Today(
        sums["newest_t2000"],
        sums["households"],
        len(heard),
        [*_figures(store, sums, heard), *_of_supply(store, zone), *_of_loss(store)],
        tasks[:_TASKS_LIMIT],
        max(0, len(tasks) - _TASKS_LIMIT),
        sales_of_day(store, zone),
    )


def _figures(store: Store, sums: dict[str, Any], heard: Sequence[dict[str, Any]]) -> list[Figure]:
    known = sums["households"]
    newest = sums["newest_t2000"]
    read = store.value(_READ, (newest - DAY_S,)) if newest is not None else 0
    share = f"{read * 100 / known:.1f}" if known else "–"
    missing = known - read
    silent = sum(1 for one in heard if _is_silent(one))
    return [
        Figure(
            _("read in 24 h"),
            share,
            "%",
            _("all there") if not missing else _("{count} missing").format(count=missing),
            "warn" if missing else "ok",
            _("{read} of {known} households").format(read=read, known=known),
        ),
        Figure(
            _("balances"),
            money(int(sums["balance_fen"])),
            "",
            _("none below zero")
            if not sums["owing"]
            else _("{count} below zero").format(count=sums["owing"]),
            "bad" if sums["owing"] else "ok",
            _("owed {owed}").format(owed=money(-int(sums["owed_fen"]))),
        ),
        Figure(
            _("supply cut"),
            str(sums["cut"]),
            _("households"),
            _("none") if not sums["cut"] else _("see the list"),
            "warn" if sums["cut"] else "ok",
            _("relay as the meter told it"),
        ),
        Figure(
            _("in doubt"),
            str(sums["doubted"]),
            _("households"),
            _("none") if not sums["doubted"] else _("nothing is charged"),
            "warn" if sums["doubted"] else "ok",
            _("readings or billing"),
        ),
        Figure(
            _("concentrators"),
            f"{len(heard) - silent}/{len(heard)}",
            _("on line"),
            _("all heard") if not silent else _("{count} silent").format(count=silent),
            "bad" if silent else "ok",
            _("heard within two hours"),
        ),
    ]


_MIDNIGHTS = "SELECT count(DISTINCT meter) FROM freezes WHERE day = ?"
_KEEP_MIDNIGHTS = "SELECT count(*) FROM meters WHERE active = 1 AND standard <> 1"
_NOTED = """
    SELECT kind, count(*) AS count FROM findings
    WHERE resolved_at IS NULL AND kind IN ('quality', 'voltage', 'outage') GROUP BY kind
"""


def _of_supply(store: Store, zone: ZoneInfo) -> list[Figure]:
    """Return how many meters told of the last midnight, and what is noted of the supply."""
    day = now_t2000(zone) // DAY_S
    meters, there = store.value(_KEEP_MIDNIGHTS), store.value(_MIDNIGHTS, (day,))
    there = min(meters, there)
    share = f"{there * 1000 // meters / 10:.1f}" if meters else "–"
    missing = meters - there
    noted = {row["kind"]: row["count"] for row in store.rows(_NOTED)}
    low, out = noted.get("voltage", 0), noted.get("outage", 0)
    return [
        Figure(
            _("read success"),
            share,
            "%",
            _("all there") if not missing else _("{count} missing").format(count=missing),
            "warn" if missing else "ok",
            _("of last midnight · {count} suspect").format(count=noted.get("quality", 0)),
            "/quality",
        ),
        Figure(
            _("low voltage"),
            str(low),
            _("households"),
            _("none") if not low else _("see the list"),
            "warn" if low else "ok",
            _("open findings"),
            "/voltage",
        ),
        Figure(
            _("outages"),
            str(out),
            "",
            _("none") if not out else _("see the list"),
            "warn" if out else "ok",
            _("open findings"),
            "/outages",
        ),
    ]


def _of_loss(store: Store) -> list[Figure]:
    """Return the loss of the newest day of which both midnights are here, [] without any net.

    A station too large to be computed for a page has it on the pages of its districts.
    """
    connected = store.value("SELECT count(*) FROM connections")
    newest = store.value("SELECT max(day) FROM freezes")
    if not connected or newest is None or not store.value("SELECT count(*) FROM supply_meters"):
        return []
    title, url = _("line loss"), "/districts"
    if connected > _LOSS_LIMIT:
        return [Figure(title, "–", "%", _("see the list"), "plain", _("by district"), url)]
    day = int(newest) - 1
    of_districts = [
        one
        for one in losses.day_losses(store, day, day + 1)
        if one.level == DISTRICT and one.supplied is not None
    ]
    supplied_wh = sum(one.supplied.wh for one in of_districts if one.supplied)
    lost_wh = sum(one.lost_wh or 0 for one in of_districts)
    above = sum((one.rate_e4 or 0) > one.target_e4 for one in of_districts)
    share_e4 = losses.share_e4(lost_wh, supplied_wh)
    told = _("{count} above the target").format(count=above) if above else _("within the targets")
    return [
        Figure(
            title,
            "–" if share_e4 is None else f"{share_e4 / 100:.1f}",
            "%",
            told if of_districts else _("no supply meter is read"),
            "warn" if above or not of_districts else "ok",
            _("{count} districts, {day}").format(count=len(of_districts), day=date_of(day)),
            url,
        )
    ]


def _is_silent(one: dict[str, Any]) -> bool:
    return (one["seen_at"] or 0) < time.time() - _SILENT_S


def _silent(heard: Sequence[dict[str, Any]], zone: ZoneInfo) -> list[Task]:
    return [
        Task(
            _("concentrator {number}").format(number=one["concentrator"]),
            _("silent"),
            "bad",
            _("last heard {when}: look at its power and its network").format(
                when=local(one["seen_at"], zone)
            ),
            f"/households?concentrator={one['concentrator']}",
            _("households"),
        )
        for one in heard
        if _is_silent(one)
    ]


_TONES = {
    **dict.fromkeys(("doubt", "gap", "mismatch", "conflict", "foreign", "cabinet"), "bad"),
    **dict.fromkeys(("clock", "relay", "card", "quality", "voltage", "outage"), "warn"),
}
_ORDER = ("bad", "warn", "plain")
_OPEN = """
    SELECT kind, account, concentrator, what, found_at FROM findings WHERE resolved_at IS NULL
    ORDER BY id DESC LIMIT 200
"""


def _findings(store: Store, zone: ZoneInfo) -> list[Task]:
    tasks = []
    for row in store.rows(_OPEN):
        account = row["account"]
        what = (
            grouped(account)
            if account
            else _("concentrator {number}").format(number=row["concentrator"])
        )
        tasks.append(
            Task(
                what,
                _(row["kind"]),
                _TONES.get(row["kind"], "plain"),
                f"{finding_text(row['what'])} · {local(row['found_at'], zone)}",
                _page_of(row),
                _("look"),
            )
        )
    return tasks


def _page_of(row: dict[str, Any]) -> str:
    """Return the page at which a finding is looked into."""
    account, day = row["account"], json.loads(row["what"]).get("day", "")
    if row["kind"] == "outage":
        return "/outages"
    if row["kind"] in ("quality", "voltage"):
        return f"/quality/{account}?day={quote(str(day))}"
    return f"/households/{account}" if account else "/households"


_LOWEST = f"""
    SELECT account, meter, credit_fen, debit_fen, last_t2000, relay FROM accounts
    WHERE {HOUSEHOLDS} ORDER BY credit_fen - debit_fen LIMIT 60
"""


def _low(store: Store) -> list[Task]:
    """Return the households whose money ends soon or has ended, the poorest first."""
    rows = store.rows(_LOWEST)
    days = days_left(store, rows)
    tasks = []
    for row in rows:
        left = days.get(row["account"])
        balance_fen = row["credit_fen"] - row["debit_fen"]
        if balance_fen > 0 and (left is None or left >= LOW_DAYS):
            continue
        is_cut = row["relay"] == 1
        lasts = _("about {days} days").format(days=left or 0)
        said = _("no money is left") if balance_fen <= 0 else lasts
        tasks.append(
            Task(
                grouped(row["account"]),
                _("supply cut") if is_cut else _("low balance"),
                "bad" if is_cut else "warn",
                f"{money(balance_fen)} · {said}",
                f"/sell?account={row['account']}",
                _("sell"),
            )
        )
    return tasks


_RUNS_LOW = f"""
    SELECT account, meter, credit_fen, debit_fen, last_t2000, relay FROM accounts
    WHERE credit_fen >= debit_fen AND last_t2000 IS NOT NULL AND {HOUSEHOLDS}
    ORDER BY credit_fen - debit_fen LIMIT 500
"""


def lowest(store: Store, below_days: int) -> list[dict[str, Any]]:
    """Return the accounts with money that lasts for fewer days, the shortest first."""
    rows = store.rows(_RUNS_LOW)
    left = days_left(store, rows)
    for row in rows:
        row["balance_fen"] = row["credit_fen"] - row["debit_fen"]
        row["days_left"] = left.get(row["account"], below_days)
    found = [row for row in rows if row["days_left"] < below_days]
    return sorted(found, key=lambda row: (row["days_left"], row["account"]))


def names_of(store: Store, accounts: Iterable[str]) -> dict[str, tuple[str, str, str]]:
    """Return name, telephone and address of the customers of some accounts."""
    wanted = sorted(accounts)
    marks = ", ".join("?" * len(wanted)) or "''"
    rows = store.rows(
        "SELECT account, name, phone, address FROM contracts JOIN customers "
        f"ON customers.customer = contracts.customer WHERE account IN ({marks}) "
        "AND closed_at IS NULL",
        (*wanted,),
    )
    return {row["account"]: (row["name"], row["phone"], row["address"]) for row in rows}


def span_of_day(zone: ZoneInfo, moment: datetime | None = None) -> tuple[int, int]:
    """Return when a day of the station begins and ends."""
    day = (moment or datetime.now(zone)).date()
    begins = datetime.combine(day, clock(), zone)
    ends = datetime.combine(day.fromordinal(day.toordinal() + 1), clock(), zone)
    return int(begins.timestamp()), int(ends.timestamp())


_WAITING = """
    SELECT count(*) FROM orders LEFT JOIN accounts ON accounts.account = orders.account
    WHERE voided_at IS NULL AND amount_fen <> 0 AND sold_at >= ?
    AND orders."order" > coalesce(accounts."order", 0)
"""


def sales_of_day(store: Store, zone: ZoneInfo) -> Sales:
    """Return what was sold today."""
    begins, ends = span_of_day(zone)
    rows = orders.day_of(store, begins, ends)
    sold_fen = sum(row["sold_fen"] for row in rows)
    by_channel: dict[str, int] = {}
    for row in rows:
        by_channel[row["channel"]] = by_channel.get(row["channel"], 0) + row["sold_fen"]
    parts = [
        (_(channel) if channel else "–", fen, round(fen * 100 / sold_fen))
        for channel, fen in sorted(by_channel.items(), key=lambda one: -one[1])
        if fen > 0
    ]
    waiting = store.value(_WAITING, (begins,))
    return Sales(sold_fen, sum(row["sales"] for row in rows), int(waiting), parts)
