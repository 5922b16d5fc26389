"""What one household's page shows: money, tier, use over time, and a ledger that opens.

Charges are computed again from the records, as `dianka explain` does, when a person opens them.
"""

import bisect
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from fractions import Fraction
from functools import cache
from typing import Any

from host.billing.pricing import Account
from host.billing.shipped import shipped
from host.billing.statement import (
    READING,
    Explainer,
    Statement,
    StatementError,
    decimals,
    spans_of,
)
from host.frames.record import PAYLOAD_SIZE, Record, RecordKind, parse_payload
from host.frames.tariff import build, image_name, load
from host.frames.tariff_terms import TariffError, TariffFile
from host.headend.registry import Ratio
from host.headend.store import Store
from host.headend.web.figures import energy, money
from host.units import DAY_S, to_datetime
from host.words import _, marked

HOUR, DAY, MONTH = "hour", "day", "month"
# Months are shown beside those of a year before.
_DAYS_SHOWN, _MONTHS_SHOWN, _YEAR = 30, 13, 12
_MONTH_END_DAYS = 3

# What tariffs call their rates.
_RATES = (
    *(marked("sharp"), marked("peak"), marked("flat"), marked("normal"), marked("valley")),
    marked("deep valley"),
)
_CLASSES = ("sharp", "peak", "flat", "flat", "valley", "deep")
_COLOURS = dict(zip(_RATES, _CLASSES, strict=True))
_OTHERS = ("flat", "valley", "peak", "sharp", "deep")

_HOUSEHOLD = """
    SELECT known.account, coalesce(nullif(accounts.meter, ''), devices.address) AS meter,
    accounts.concentrator, accounts."row",
    accounts.credit_fen, accounts.debit_fen, accounts.relay, accounts.relay_wanted,
    accounts.last_t2000, accounts.read_t2000, accounts.stopped, accounts.doubt, accounts.used_wh,
    accounts.household, accounts.multiplier, accounts.quota, accounts.registers_wh,
    accounts.corrected_fen, accounts.untold, accounts.guard, customers.customer, customers.name,
    customers.phone, customers.address, customers.persons,
    contracts.district, devices.type, devices.manufacturer, devices.installed, devices.verified,
    devices.due, devices.exchange_due, devices.ct, devices.pt,
    devices.multiplier AS plate_multiplier
    FROM (SELECT ? AS account) AS known
    LEFT JOIN accounts ON accounts.account = known.account
    LEFT JOIN contracts ON contracts.account = known.account AND contracts.closed_at IS NULL
    LEFT JOIN customers ON customers.customer = contracts.customer
    LEFT JOIN devices ON devices.account = known.account
"""
_KNOWN = (
    "SELECT 1 FROM orders WHERE account = ? UNION SELECT 1 FROM papers WHERE account = ? LIMIT 1"
)


def household(store: Store, account: str) -> dict[str, Any] | None:
    """Return an account with its customer and its meter, None: it is not known."""
    query = _HOUSEHOLD.replace("SELECT ? AS", "SELECT CAST(? AS varchar(12)) AS")
    with store.database.looking():
        cursor = store.database.run(query, (account,))
        names = [one[0] for one in cursor.description]
        row = dict(zip(names, cursor.fetchone(), strict=True))
    row["registers_wh"] = json.loads(row["registers_wh"] or "[]")
    told, ct, pt = (row.pop(name) for name in ("plate_multiplier", "ct", "pt"))
    row["ratio"] = Ratio(told or row["multiplier"] or 1, ct or "", pt or "")
    is_known = row["credit_fen"] is not None or row["customer"] is not None
    if not is_known and not store.rows(_KNOWN, (account, account)):
        return None
    row["meters"] = _meters_of(store, row)
    return row


# --- the tariff ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Terms:
    """The tariff that an account is charged by; `image` names it on the concentrator."""

    tariff: TariffFile
    number: int
    image: str

    @property
    def rates(self) -> list[str]:
        """Return the names of the registers in use."""
        return [""] if self.tariff.clock_tells_rate else self.tariff.rates


@cache
def tariffs() -> list[TariffFile]:
    """Return the tariff files that are shipped, those that can be read."""
    found = []
    for path in shipped():
        try:
            found.append(load(path))
        except TariffError:
            continue
    return found


@cache
def _made(number: int, image: str) -> TariffFile | None:
    for one in tariffs():
        try:
            if image_name(build(one, number)) == image:
                return one
        except TariffError:
            continue
    return None


# By concentrator: up to which record its tariffs were looked for, and image by number.
_images: dict[int, tuple[int, dict[int, str]]] = {}


def terms_of(store: Store, row: dict[str, Any]) -> Terms | None:
    """Return the tariff of an account, None where no file here makes its image."""
    concentrator = row["concentrator"]
    if not concentrator:
        return None
    number = store.value(
        "SELECT tariff FROM meters WHERE concentrator = ? AND account = ? ORDER BY seq DESC",
        (concentrator, row["account"]),
    )
    image = _images_of(store, concentrator).get(number or 0, "")
    tariff = _made(number, image) if image else None
    return Terms(tariff, number, image) if tariff else None


def _images_of(store: Store, concentrator: int) -> dict[int, str]:
    last, images = _images.get(concentrator, (0, {}))
    newest = store.value(
        "SELECT acked_seq FROM concentrators WHERE concentrator = ?", (concentrator,)
    )
    if newest is None or newest == last:
        return images
    rows = store.rows(
        "SELECT payload FROM records WHERE concentrator = ? AND seq > ? AND kind = ? ORDER BY seq",
        (concentrator, last, int(RecordKind.TARIFF)),
    )
    images = dict(images)
    for one in rows:
        payload = bytes(one["payload"]).ljust(PAYLOAD_SIZE, b"\0")
        fields = parse_payload(RecordKind.TARIFF, payload)
        images[fields["number"]] = fields["sha256"]
    _images[concentrator] = newest, images
    return images


@dataclass(frozen=True, slots=True)
class Tier:
    """How far an account is in its tiers; energy in Wh, `parts` in thousandths of the bar.

    next_price   of a kWh in the next tier in yuan, the least and the most of its rates; "": it is
                 the last tier
    """

    name: str
    number: int
    limits_wh: list[int]
    used_wh: int
    left_wh: int | None
    prices: list[tuple[str, str]]
    parts: list[tuple[int, int, int]]
    next_price: str


def tier_of(terms: Terms, row: dict[str, Any]) -> Tier | None:
    """Return the tiers of an account, None where it has none."""
    if row["last_t2000"] is None:
        return None
    moment = to_datetime(row["last_t2000"])
    engine = Account(terms.tariff, row["household"], row["multiplier"])
    engine.months, engine.spans = spans_of(row["quota"], row["household"])
    season = engine.calendar.season_at(moment)
    limits = engine.limits_wh(season)
    used_wh = row["used_wh"]
    at = sum(limit <= used_wh for limit in limits)
    ladder = season.ladders[row["household"]]
    prices = [
        (rate, decimals(Fraction(price)))
        for rate, price in zip(terms.tariff.rates, ladder.prices[at], strict=False)
    ]
    first = 0 if terms.tariff.has_free_tier else 1
    left_wh = limits[at] - used_wh if at < len(limits) else None
    after = sorted(map(Fraction, ladder.prices[at + 1])) if at < len(limits) else []
    next_price = "–".join(dict.fromkeys(decimals(one) for one in (*after[:1], *after[-1:])))
    return Tier(
        *(terms.tariff.name, at + first, limits, used_wh, left_wh, prices),
        *(_parts(limits, used_wh), next_price),
    )


def _parts(limits: Sequence[int], used_wh: int) -> list[tuple[int, int, int]]:
    """Return tier, begin and width of each filled part of a bar of 1000."""
    if not limits:
        return []
    whole = max(used_wh, limits[-1] * 5 // 4, 1)
    edges = [0, *limits, whole]
    parts = []
    for at in range(len(edges) - 1):
        filled = min(used_wh, edges[at + 1]) - edges[at]
        if filled > 0:
            parts.append((at, edges[at] * 1000 // whole, max(2, filled * 1000 // whole)))
    return parts


# --- use over time ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Read:
    """A reading: time, charges so far in fen, and registers in Wh."""

    t2000: int
    debit_fen: int
    registers_wh: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Use:
    """What was used from one reading to another; `whole`: no reading is missing between."""

    label: str
    since_t2000: int
    until_t2000: int
    wh: tuple[int, ...]
    fen: int
    whole: bool = True

    @property
    def total_wh(self) -> int:
        """Return the energy of all registers."""
        return sum(self.wh)


_METERS = """
    SELECT address FROM meters WHERE concentrator = ? AND account = ?
    UNION SELECT meter FROM installations WHERE account = ?
    UNION SELECT address FROM devices WHERE account = ?
"""


def _meters_of(store: Store, row: dict[str, Any]) -> list[str]:
    """Return every meter that the account of a row has had."""
    account = row["account"]
    found = store.rows(_METERS, (row["concentrator"], account, account, account))
    return [one["address"] for one in found]


def reads_of(
    store: Store, row: dict[str, Any], days: Sequence[int], last_only: bool
) -> list[Read]:
    """Return the readings of some days by time; with `last_only` the last of each day."""
    meters = row["meters"]
    if not meters or not days:
        return []
    marks = ", ".join("?" * len(days))
    places = ", ".join("?" * len(meters))
    with store.database.looking():
        rows = store.database.all(
            "SELECT day, t2000, debit_fen, registers_wh FROM readings "
            f"WHERE day IN ({marks}) AND meter IN ({places}) AND account = ? ORDER BY t2000",
            (*days, *meters, row["account"]),
        )
    if last_only:
        rows = list({row[0]: row for row in rows}.values())
    return [Read(row[1], row[2], tuple(json.loads(row[3]))) for row in rows]


def _between(label: str, one: Read, two: Read, multiplier: int, whole: bool = True) -> Use:
    """Return the use between two readings; registers that begin anew count as nothing."""
    # Registers that are 0 are left out at the end.
    pairs = itertools.zip_longest(two.registers_wh, one.registers_wh, fillvalue=0)
    wh = tuple(max(0, new - old) * multiplier for new, old in pairs)
    return Use(label, one.t2000, two.t2000, wh, two.debit_fen - one.debit_fen, whole)


def uses(store: Store, row: dict[str, Any], by: str) -> list[Use]:
    """Return the use of a household of late, by hour, day or month."""
    if row["last_t2000"] is None:
        return []
    if by == MONTH:
        return _by_month(store, row)
    today = row["last_t2000"] // DAY_S
    shown = 2 if by == HOUR else _DAYS_SHOWN + 1
    days = list(range(today - shown + 1, today + 1))
    reads = reads_of(store, row, days, by == DAY)
    found = []
    for one, two in itertools.pairwise(reads):
        if by == DAY:
            # The last reading at midnight belongs to the day before.
            label = to_datetime(two.t2000 - 1).strftime("%m-%d")
            whole = two.t2000 // DAY_S - one.t2000 // DAY_S <= 1
        else:
            label = to_datetime(two.t2000).strftime("%H:%M")
            whole = True
        found.append(_between(label, one, two, row["multiplier"], whole))
    if by == DAY and reads and reads[0].t2000 // DAY_S != days[0]:
        found = [*_first_day(store, row, reads[0]), *found]
    return found[-_DAYS_SHOWN:] if by == DAY else found


def _first_day(store: Store, row: dict[str, Any], last: Read) -> list[Use]:
    """Return the use of the first day that has readings."""
    reads = reads_of(store, row, [last.t2000 // DAY_S], False)
    label = to_datetime(last.t2000).strftime("%m-%d")
    return [_between(label, reads[0], last, row["multiplier"])] if len(reads) > 1 else []


def _by_month(store: Store, row: dict[str, Any]) -> list[Use]:
    newest = to_datetime(row["last_t2000"])
    ends = [_month_begin(newest, back - 1) for back in range(_MONTHS_SHOWN + _YEAR, -1, -1)]
    days: list[int] = []
    for end in ends:
        last = (end - datetime(2000, 1, 1)).days
        days += range(last - _MONTH_END_DAYS, last)
    days += range(row["last_t2000"] // DAY_S - 1, row["last_t2000"] // DAY_S + 1)
    reads = reads_of(store, row, sorted(set(days)), True)
    last_of: dict[str, Read] = {}
    for one in reads:
        last_of[to_datetime(one.t2000 - 1).strftime("%Y-%m")] = one
    found = []
    for before, end in itertools.pairwise(ends):
        label = before.strftime("%Y-%m")
        two = last_of.get(label)
        if two is None:
            continue
        prior = last_of.get((before - timedelta(days=1)).strftime("%Y-%m"))
        begin = prior or _first_read(store, row, before, end)
        if begin is not None and begin.t2000 < two.t2000:
            found.append(_between(label, begin, two, row["multiplier"], prior is not None))
    return found


def _year_before(found: Sequence[Use]) -> dict[str, Use]:
    """Return of each month that has one the use of the same month a year before."""
    by_label = {one.label: one for one in found}
    pairs = {one.label: f"{int(one.label[:4]) - 1}{one.label[4:]}" for one in found}
    return {label: by_label[old] for label, old in pairs.items() if old in by_label}


def _month_begin(moment: datetime, back: int) -> datetime:
    months = moment.year * 12 + moment.month - 1 - back
    return datetime(months // 12, months % 12 + 1, 1)


def _first_read(
    store: Store, row: dict[str, Any], since: datetime, until: datetime
) -> Read | None:
    first = (since - datetime(2000, 1, 1)).days
    days = list(range(first, first + (until - since).days))
    reads = reads_of(store, row, days, False)
    return reads[0] if reads else None


@dataclass(slots=True)
class Chart:
    """Bars as a picture: boxes are x, y, width, height, colour and what they say.

    rows   what the bars show, as a table: each use, and the one of a year before
    """

    width: int
    height: int
    boxes: list[tuple[float, float, float, float, str, str]] = field(default_factory=list)
    lines: list[tuple[float, str]] = field(default_factory=list)
    labels: list[tuple[float, str]] = field(default_factory=list)
    rates: list[tuple[str, str]] = field(default_factory=list)
    rows: list[tuple[Use, Use | None]] = field(default_factory=list)
    total_wh: int = 0
    total_fen: int = 0
    missing: int = 0


_WIDTH, _HEIGHT, _FOOT, _HEAD, _LABELS = 960, 210, 20, 18, 6


def chart(found: Sequence[Use], rates: Sequence[str], by: str = DAY) -> Chart:
    """Return the picture of uses, each rate in its colour; months beside those a year before."""
    made = Chart(_WIDTH, _HEIGHT)
    before = _year_before(found) if by == MONTH else {}
    if by == MONTH:
        found = found[-_MONTHS_SHOWN:]
    made.rows = [(one, before.get(one.label)) for one in found]
    count = max((len(one.wh) for one in found), default=0)
    names = list(rates) if rates else [str(at + 1) for at in range(count)]
    used = [at for at in range(count) if any(one.wh[at:] and one.wh[at] for one in found)]
    colours = {at: _colour(names, at) for at in used}
    made.rates = [(_(names[at]) if at < len(names) else "?", colours[at]) for at in used]
    made.total_wh = sum(one.total_wh for one in found)
    made.total_fen = sum(one.fen for one in found)
    made.missing = sum(not one.whole for one in found)
    most = max((one.total_wh for one in found), default=0)
    if not most:
        return made
    step = _step(most)
    top = -(-most // step) * step
    room = _HEIGHT - _FOOT - _HEAD
    made.lines = [
        (_HEIGHT - _FOOT - room * at / top, energy(at, 0 if step >= 1000 else 2))
        for at in range(step, top + 1, step)
    ]
    pitch = _WIDTH / max(len(found), 8)
    every = max(1, -(-len(found) // _LABELS))
    for place, one in enumerate(found):
        x, y = place * pitch, float(_HEIGHT - _FOOT)
        said = f"{one.label}: {energy(one.total_wh)} kWh, {money(one.fen)}"
        if not one.whole:
            said += ", " + _("readings are missing before it")
        if one.label in before:
            wh = energy(before[one.label].total_wh)
            said += ", " + _("a year before {kwh} kWh").format(kwh=wh)
        for at in used:
            height = room * one.wh[at] / top if at < len(one.wh) else 0
            if height:
                y -= height
                colour = colours[at] if one.whole else f"{colours[at]} estimated"
                made.boxes.append((x + pitch * 0.08, y, pitch * 0.84, height, colour, said))
        if place % every == 0:
            made.labels.append((x + pitch * 0.08, one.label))
    return made


def _colour(names: Sequence[str], at: int) -> str:
    if len(names) == 1:
        return "one"
    return _COLOURS.get(names[at] if at < len(names) else "", _OTHERS[at % len(_OTHERS)])


def _step(most: int) -> int:
    """Return the distance of grid lines in Wh: two to five of them fit."""
    step = 10
    while True:
        for factor in (1, 2, 5):
            if most <= step * factor * 4:
                return step * factor
        step *= 10


# --- the ledger ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DayOfLedger:
    """The charges of a day, to be opened."""

    day: int
    t2000: int
    wh: int
    fen: int
    count: int
    balance_fen: int | None

    @property
    def date(self) -> str:
        """Return the day as people write it."""
        return to_datetime(self.day * DAY_S).strftime("%Y-%m-%d")


def ledger_days(
    store: Store, row: dict[str, Any], until_day: int, shown: int
) -> list[DayOfLedger]:
    """Return the charges of the days before one, the newest first."""
    days = list(range(until_day - shown - 1, until_day))
    reads = reads_of(store, row, days, False)
    credits = credits_of(store, row["account"])
    by_day: dict[int, list[Read]] = {}
    for one in reads:
        by_day.setdefault(one.t2000 // DAY_S, []).append(one)
    found = []
    before: Read | None = None
    for day in sorted(by_day):
        of_day = by_day[day]
        last = of_day[-1]
        use = _between("", before or of_day[0], last, row["multiplier"])
        before = last
        if day < until_day - shown:
            continue
        credit_fen = credit_at(credits, last.t2000)
        balance_fen = None if credit_fen is None else credit_fen - last.debit_fen
        found.append(DayOfLedger(day, last.t2000, use.total_wh, use.fen, len(of_day), balance_fen))
    return found[::-1]


def credits_of(store: Store, account: str) -> list[tuple[int, int, int]]:
    """Return time, credit after it and amount of each payment and correction, by time."""
    rows = store.rows(
        "SELECT t2000, credit_fen, amount_fen FROM top_ups WHERE account = ?", (account,)
    )
    found = [(row["t2000"], row["credit_fen"], row["amount_fen"]) for row in rows]
    corrected = store.rows(
        "SELECT t2000, detail FROM alarms WHERE account = ? AND kind = 'CORRECTION'", (account,)
    )
    for row in corrected:
        told = row["detail"]
        found.append((row["t2000"], told.get("credit_fen", 0), told.get("amount_fen", 0)))
    return sorted(found)


def credit_at(credits: Sequence[tuple[int, int, int]], t2000: int) -> int | None:
    """Return the credit at a moment, None where it is not known."""
    if not credits:
        return 0
    at = bisect.bisect_right(credits, (t2000, 1 << 62, 0))
    if at:
        return credits[at - 1][1]
    return credits[0][1] - credits[0][2]


@dataclass(frozen=True, slots=True)
class Step:
    """One price of a charge: so much energy at so much makes so many yuan."""

    tier: int
    rate: str
    kwh: str
    price: str
    yuan: str


@dataclass(frozen=True, slots=True)
class OpenedRead:
    """A reading of a day: registers by rate, energy and charge since the one before."""

    t2000: int
    registers_wh: tuple[int, ...]
    use: Use | None
    balance_fen: int | None


@dataclass(slots=True)
class OpenedDay:
    """A day's charges down to the registers and the arithmetic; `trouble` "": it is complete."""

    reads: list[OpenedRead]
    rates: list[str]
    steps: list[Step] = field(default_factory=list)
    sum_yuan: str = ""
    tariff: str = ""
    image: str = ""
    trouble: str = ""
    differs: bool = False


def opened_day(store: Store, row: dict[str, Any], day: int) -> OpenedDay:
    """Return how the charges of a day come about."""
    reads = reads_of(store, row, [day - 1, day], False)
    credits = credits_of(store, row["account"])
    terms = terms_of(store, row)
    rates = terms.rates if terms else []
    count = len(rates) or max((len(one.registers_wh) for one in reads), default=0)
    shown = []
    for at, one in enumerate(reads):
        if one.t2000 // DAY_S != day:
            continue
        use = _between("", reads[at - 1], one, row["multiplier"]) if at else None
        credit_fen = credit_at(credits, one.t2000)
        balance_fen = None if credit_fen is None else credit_fen - one.debit_fen
        shown.append(OpenedRead(one.t2000, one.registers_wh[:count], use, balance_fen))
    names = [_(name) if name else _("total") for name in rates] or [
        str(at + 1) for at in range(count)
    ]
    made = OpenedDay(shown, names)
    if terms is not None:
        made.tariff, made.image = terms.tariff.name, terms.image
    try:
        _compute(made, statement_of(store, row), day)
    except StatementError as error:
        made.trouble = str(error)
    return made


def statement_of(store: Store, row: dict[str, Any]) -> Statement:
    """Return an account's charges as computed again; StatementError: records are gone."""
    return Explainer(row["account"], tariffs()).explain(_records(store, row))


def _records(store: Store, row: dict[str, Any]) -> Iterator[Record]:
    """Yield the records of an account, and those that say which tariffs there are."""
    places = store.rows(
        'SELECT DISTINCT "row" FROM meters WHERE concentrator = ? AND account = ?',
        (row["concentrator"], row["account"]),
    )
    rows = sorted({one["row"] for one in places})
    marks = ", ".join("?" * len(rows)) or "-1"
    found = store.rows(
        'SELECT seq, t2000, kind, flags, "row", payload FROM records WHERE concentrator = ? '
        f'AND ("row" IN ({marks}) OR kind IN (?, ?)) ORDER BY seq',
        (row["concentrator"], *rows, int(RecordKind.TARIFF), int(RecordKind.METER)),
    )
    for one in found:
        payload = bytes(one["payload"]).ljust(PAYLOAD_SIZE, b"\0")
        head = (one["seq"], one["t2000"], one["kind"], one["flags"], one["row"])
        yield Record(*head, payload, parse_payload(one["kind"], payload))


def _compute(made: OpenedDay, statement: Statement, day: int) -> None:
    """Fill in the prices of a day's charges."""
    on = date(2000, 1, 1) + timedelta(days=day)
    cells: dict[tuple[int, str, Fraction], tuple[int, Fraction]] = {}
    total = Fraction(0)
    for entry in statement.entries:
        if entry.kind != READING or entry.moment.date() != on:
            continue
        rates = entry.tariff.rates if entry.tariff else []
        first = 0 if entry.tariff and entry.tariff.has_free_tier else 1
        for line in entry.lines:
            rate = _("standing charge") if line.rate is None else _(rates[line.rate])
            place = (0 if line.free else line.tier + first, rate, line.price)
            wh, yuan = cells.get(place, (0, Fraction(0)))
            cells[place] = wh + line.wh, yuan + line.yuan
            total += line.yuan
    made.steps = [
        Step(tier, rate, decimals(Fraction(wh, 1000)), decimals(price), decimals(yuan))
        for (tier, rate, price), (wh, yuan) in sorted(cells.items())
    ]
    made.sum_yuan = decimals(total)
    made.differs = bool(statement.differences)


def balances(store: Store, row: dict[str, Any], by_day: Sequence[Use]) -> list[tuple[int, float]]:
    """Return the balance in yuan at the end of each day, for a curve; times in s since 1970."""
    if not by_day:
        return []
    credits = credits_of(store, row["account"])
    debit_fen = row["debit_fen"] - sum(one.fen for one in by_day)
    offset_s = int(datetime(2000, 1, 1).timestamp() - datetime(1970, 1, 1).timestamp())
    found = []
    for one in by_day:
        debit_fen += one.fen
        credit_fen = credit_at(credits, one.until_t2000)
        if credit_fen is not None:
            found.append((one.until_t2000 + offset_s, (credit_fen - debit_fen) / 100))
    return found
