"""Clues of theft and of faults in a district, ranked, each with the rows that it rests on.

Only what meters and concentrators have told is looked at. Each kind of evidence has a weight of
`host.headend.limits`; several of an account count together as independent chances do.
"""

from bisect import bisect
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from statistics import median
from typing import Any

from host.headend import losses
from host.headend.limits import LIMITS, WEIGHTS
from host.headend.losses import Loss, Net
from host.headend.samples import CURRENTS, NEUTRAL_CURRENT
from host.headend.store import Store
from host.units import DAY_S, kwh, to_datetime
from host.words import _, marked

DROP, MATCHED = marked("use fell"), marked("loss rose as use fell")
STILL, SILENT = marked("stands still"), marked("silent among neighbours")
COVER, TERMINALS = marked("cover opened"), marked("terminal cover opened")
MAGNET, REVERSE = marked("magnetic field"), marked("reverse energy")
PHASE, ORDER = marked("phase lost"), marked("phase order reversed")
NO_VOLTAGE = marked("current without voltage")
NEUTRAL, IMBALANCE = marked("neutral against phase"), marked("currents out of balance")
RELAY, REPEATED = marked("relay closed by hand"), marked("answers repeated")
BACK, CLOCK = marked("register went back"), marked("clock moved")
_COUNTS = {"03300D00": COVER, "03300E00": TERMINALS, "03350000": MAGNET, "00020000": REVERSE}
_STATUS, _VOLTAGES = "04000507", "0201FF00"
_POWER = "02030000"
_BITS = {0: ORDER, 1: ORDER, 8: IMBALANCE, 9: COVER, 10: TERMINALS}
_FOUND_OTHERWISE = 16  # a reason of RELAY
_CLOCK_WRONG = 3  # a state of LINE
_WENT_BACK = 6  # a reason of FAULT
_FEW = 3


@dataclass(frozen=True, slots=True)
class Evidence:
    """A reason to suspect an account, when it was seen, and the record that told of it.

    value, limit        what was measured and what is usual, in the unit of its kind
    concentrator, seq   of the record, None: it follows from many readings
    """

    kind: str
    t2000: int
    strength: int
    value: int = 0
    limit: int = 0
    concentrator: int | None = None
    seq: int | None = None


@dataclass(slots=True)
class Clue:
    """An account that is suspected, with a score up to 100."""

    account: str
    district: str
    evidence: list[Evidence] = field(default_factory=list)

    @property
    def score(self) -> int:
        """How much all its evidence says together; of one kind the strongest counts."""
        best: dict[str, int] = {}
        for one in self.evidence:
            best[one.kind] = max(best.get(one.kind, 0), one.strength)
        doubt = 1.0
        for kind, strength in best.items():
            doubt *= 1 - WEIGHTS[kind] * strength / 10_000
        return round(100 * (1 - doubt))


def clues(store: Store, since_day: int, until_day: int, district: str | None = None) -> list[Clue]:
    """Return the clues of one district or all, that which says most first.

    Evidence counts from the first day to before the last; use is compared with the days before.
    """
    names = (
        [district]
        if district
        else [
            row["district"]
            for row in store.rows("SELECT district FROM districts ORDER BY district")
        ]
    )
    found: list[Clue] = []
    for name in names:
        found += _Look(store, name, since_day, until_day).ranked()
    return sorted(found, key=lambda one: (-one.score, one.account))


class _Look:
    """A look at a district's meters over some days."""

    def __init__(self, store: Store, district: str, since_day: int, until_day: int) -> None:
        self._store, self._district = store, district
        self._since, self._until = since_day, until_day
        self._begins = min(since_day, until_day - LIMITS.past_days)
        net = Net(store, district)
        self._accounts = {
            row["account"]
            for row in net.connections
            if row["since_day"] < until_day and (row["until_day"] or until_day) > since_day
        }
        self._meters = sorted(net.meters(store) or ())
        self._found: dict[str, Clue] = {}

    def ranked(self) -> list[Clue]:
        """Return the clues that say enough."""
        if self._meters and self._accounts:
            self._uses()
            self._items()
            self._records()
        return [one for one in self._found.values() if one.score >= LIMITS.least_score]

    def _add(self, account: str, one: Evidence) -> None:
        if account in self._accounts and self._since <= one.t2000 // DAY_S < self._until:
            clue = self._found.setdefault(account, Clue(account, self._district))
            clue.evidence.append(one)

    # --- use by day ------------------------------------------------------------------------------

    def _uses(self) -> None:
        days = range(self._begins, self._until)
        used: dict[str, dict[int, int]] = defaultdict(dict)
        for day, account, wh in losses.uses(self._store, days, self._meters):
            if account in self._accounts:
                used[account][day] = wh
        lost = losses.day_losses(self._store, self._begins, self._until, self._district)
        for account, by_day in used.items():
            self._drop(account, by_day, lost)
            self._still(account, by_day)
        self._silent(used)

    def _drop(self, account: str, by_day: dict[int, int], lost: Sequence[Loss]) -> None:
        """Find the day from which a household uses less, and what the district loses since."""
        best, day, old, new = 0.0, 0, 0, 0
        listed = sorted(by_day.items())
        sums = [0, *accumulate(wh for _day, wh in listed)]
        count = len(listed)
        for at in range(LIMITS.side_days, count - 1):
            fall = sums[at] / at - (sums[-1] - sums[at]) / (count - at)
            gain = fall * fall * at * (count - at)
            if fall > 0 and gain > best:
                best, day = gain, listed[at][0]
                old = round(median(wh for _day, wh in listed[:at]))
                new = round(median(wh for _day, wh in listed[at:]))
        if not old or old - new < LIMITS.drop_wh or 100 * new > LIMITS.drop_share * old:
            return
        t2000 = max(day, self._since) * DAY_S
        strength = min(100, 100 * (old - new) // old)
        self._add(account, Evidence(DROP, t2000, strength, new, old))
        rose = _change(lost, day)
        if rose is not None and 100 * rose >= LIMITS.match_share * (old - new):
            near = min(100, 100 * rose // (old - new)) if rose <= 2 * (old - new) else 50
            self._add(account, Evidence(MATCHED, t2000, near, rose, old - new))

    def _still(self, account: str, by_day: dict[int, int]) -> None:
        """Find registers that stand still in a house that used energy before."""
        used = [wh for wh in by_day.values() if wh]
        last = sorted(by_day)[-LIMITS.still_days :]
        if len(used) < LIMITS.side_days or len(last) < LIMITS.still_days:
            return
        if all(by_day[day] == 0 for day in last):
            one = Evidence(STILL, last[-1] * DAY_S, 100, len(last), round(median(used)))
            self._add(account, one)

    def _silent(self, used: dict[str, dict[int, int]]) -> None:
        """Find meters without any freeze of late, while their neighbours have theirs."""
        days = range(self._until - LIMITS.silent_days, self._until)
        for account in self._accounts:
            if any(day in used[account] for day in days):
                continue
            others = sum(all(day in one for day in days) for one in used.values())
            if 10 * others >= 8 * (len(self._accounts) - 1) > 0:
                t2000 = (self._until - 1) * DAY_S
                self._add(account, Evidence(SILENT, t2000, 100, LIMITS.silent_days, others))

    # --- what meters told beside registers -----------------------------------------------------

    def _rows(self, table: str, columns: str, more: str = "") -> Iterator[dict[str, Any]]:
        days = range(self._begins, self._until)
        marks = ", ".join("?" * len(days))
        meters = ", ".join("?" * len(self._meters))
        yield from self._store.rows(
            f"SELECT account, t2000, concentrator, seq, {columns} FROM {table} "
            f"WHERE day IN ({marks}) AND meter IN ({meters}) {more} ORDER BY account, t2000",
            (*days, *self._meters),
        )

    def _items(self) -> None:
        told: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
        for row in self._rows("items", 'identifier, "values"'):
            told[row["account"], row["identifier"]].append(row)
        usual = _usual_voltages(told)
        for (account, identifier), rows in list(told.items()):
            if identifier in _COUNTS:
                self._rises(account, _COUNTS[identifier], rows)
            elif identifier == _STATUS:
                self._status(account, rows)
            elif identifier == _VOLTAGES:
                self._voltages(account, rows, told[account, CURRENTS], usual)
            elif identifier == NEUTRAL_CURRENT:
                self._neutral(account, rows, told[account, CURRENTS])

    def _rises(self, account: str, kind: str, rows: Sequence[dict[str, Any]]) -> None:
        """Find a count that rises, or energy in the other direction."""
        least = LIMITS.reverse_wh if kind == REVERSE else 1
        before: int | None = None
        for row in rows:
            value = row["values"][0] if row["values"] else None
            if value is None:
                continue
            if before is not None and value - before >= least:
                self._add(account, _told(kind, row, 100, value, before))
            before = value

    def _status(self, account: str, rows: Sequence[dict[str, Any]]) -> None:
        before = 0
        for row in rows:
            word = (row["values"] or [0])[0] or 0
            for bit, kind in _BITS.items():
                if word >> bit & 1 and not before >> bit & 1:
                    self._add(account, _told(kind, row, 100, bit))
            before = word

    def _voltages(
        self,
        account: str,
        rows: Sequence[dict[str, Any]],
        currents: Sequence[dict[str, Any]],
        usual: dict[int, float],
    ) -> None:
        """Find a phase far below its neighbours while another lives, or it carries current."""
        flows = {row["t2000"] // 3600: row["values"] for row in currents}
        for row in rows:
            middle = usual.get(row["t2000"] // 3600)
            live = [one for one in row["values"] if one is not None]
            if middle is None or len(live) < 1:
                continue
            flow = flows.get(row["t2000"] // 3600, ())
            for place, one in enumerate(row["values"]):
                if one is None or 100 * one >= LIMITS.phase_share * middle:
                    continue
                current = flow[place] if place < len(flow) else None
                if current is not None and abs(current) >= LIMITS.current_ma:
                    self._add(account, _told(NO_VOLTAGE, row, 100, one, current))
                elif len(live) > 1 and max(live) * 100 >= LIMITS.phase_share * middle:
                    self._add(account, _told(PHASE, row, 100, one, round(middle)))

    def _neutral(
        self,
        account: str,
        rows: Sequence[dict[str, Any]],
        currents: Sequence[dict[str, Any]],
    ) -> None:
        """Find a meter of one phase whose neutral carries another current than its phase."""
        times = [row["t2000"] for row in currents]
        for row in rows:
            at = bisect(times, row["t2000"])
            near = [
                (abs(one["t2000"] - row["t2000"]), place)
                for place, one in enumerate(currents[max(0, at - 1) : at + 1], max(0, at - 1))
            ]
            away_s, which = min(near, default=(DAY_S, 0))
            if away_s > LIMITS.near_s:
                continue
            live = [abs(one) for one in currents[which]["values"] if one is not None]
            neutral = abs((row["values"] or [0])[0] or 0)
            if len(live) != 1 or max(neutral, live[0]) < LIMITS.current_ma:
                continue
            off = abs(neutral - live[0])
            if 100 * off >= LIMITS.neutral_share * max(neutral, live[0]):
                self._add(account, _told(NEUTRAL, row, 100, neutral, live[0]))

    # --- what concentrators told ---------------------------------------------------------------

    def _records(self) -> None:
        span = (self._since * DAY_S, self._until * DAY_S)
        accounts = sorted(self._accounts)
        marks = ", ".join("?" * len(accounts))
        where = f"WHERE account IN ({marks}) AND t2000 >= ? AND t2000 < ? ORDER BY account, t2000"
        for row in self._store.rows(f"SELECT * FROM relays {where}", (*accounts, *span)):
            if row["reason"] == _FOUND_OTHERWISE and row["desired"]:
                self._add(row["account"], _told(RELAY, row, 100))
        for row in self._store.rows(f"SELECT * FROM alarms {where}", (*accounts, *span)):
            detail = row["detail"]
            if row["kind"] == "FAULT" and detail.get("reason") == _WENT_BACK:
                value, limit = detail.get("value", 0), detail.get("limit", 0)
                self._add(row["account"], _told(BACK, row, 100, value, limit))
            elif row["kind"] == "LINE" and detail.get("state") == _CLOCK_WRONG:
                ahead = detail.get("ahead_s", 0)
                if abs(ahead) >= LIMITS.clock_s:
                    self._add(row["account"], _told(CLOCK, row, 100, ahead, LIMITS.clock_s))
        self._repeated()

    def _repeated(self) -> None:
        """Find registers that are read again and again as they were while power flows."""
        power = {
            (row["account"], row["t2000"] // DAY_S): row
            for row in self._rows("items", '"values"', f"AND identifier = '{_POWER}'")
        }
        for (account, day), row in power.items():
            value = (row["values"] or [0])[0] or 0
            if value < 500 or not self._since <= day < self._until:  # 50 W
                continue
            frozen = {
                one["day"]: one["registers_wh"]
                for one in self._store.rows(
                    "SELECT day, registers_wh FROM freezes WHERE day IN (?, ?) AND meter IN "
                    "(SELECT meter FROM accounts WHERE account = ?)",
                    (day, day + 1, account),
                )
            }
            if len(frozen) == 2 and frozen[day] == frozen[day + 1]:
                self._add(account, _told(REPEATED, row, 100, value))


def _change(lost: Sequence[Loss], day: int) -> int | None:
    """Return by how much a district's loss of a day has risen, None: too little is known."""
    before = [one.lost_wh for one in lost if one.day < day and one.lost_wh is not None]
    after = [one.lost_wh for one in lost if one.day >= day and one.lost_wh is not None]
    if len(before) < _FEW or len(after) < 2:
        return None
    return round(median(after) - median(before))


def _usual_voltages(told: dict[tuple[str, str], list[dict[str, Any]]]) -> dict[int, float]:
    """Return the median of all voltages of a district by hour."""
    by_hour: dict[int, list[int]] = defaultdict(list)
    for (_account, identifier), rows in told.items():
        if identifier == _VOLTAGES:
            for row in rows:
                by_hour[row["t2000"] // 3600] += [v for v in row["values"] if v]
    every = [one for values in by_hour.values() for one in values]
    if not every:
        return {}
    overall = median(every)
    return {
        hour: median(values) if len(values) >= _FEW else overall
        for hour, values in by_hour.items()
    }


def _told(
    kind: str, row: dict[str, Any], strength: int, value: int = 0, limit: int = 0
) -> Evidence:
    place = row["concentrator"], row["seq"]
    return Evidence(kind, row["t2000"], strength, value, limit, *place)


# --- as text -------------------------------------------------------------------------------------

_ENERGY = (DROP, MATCHED, REVERSE)
_TEXTS = {
    DROP: marked("{now} kWh a day, before {was}"),
    MATCHED: marked("the district loses {now} kWh a day more, the use fell by {was}"),
    STILL: marked("no energy for {now} days, before {was} Wh a day"),
    SILENT: marked("no freeze for {now} days, {was} neighbours have theirs"),
    REVERSE: marked("{now} kWh the other way, before {was}"),
    NO_VOLTAGE: marked("{now} tenths of a volt at {was} mA"),
    PHASE: marked("{now} tenths of a volt, neighbours have {was}"),
    NEUTRAL: marked("{now} mA in the neutral, {was} mA in the phase"),
    REPEATED: marked("the same registers for a day at {now} tenths of a watt"),
    BACK: marked("{now} Wh, before {was}"),
    CLOCK: marked("{now} s ahead"),
}
_COUNTED = marked("{now} times, before {was}")


def evidence_text(one: Evidence) -> str:
    """Return a reason as people read it: what, when, how much."""
    when = f"{to_datetime(one.t2000):%Y-%m-%d %H:%M}"
    return " ".join(filter(None, (_(one.kind), when, figures_text(one))))


def figures_text(one: Evidence) -> str:
    """Return the figures of a reason, "" where it has none."""
    text = _TEXTS.get(one.kind) or (_COUNTED if one.kind in (COVER, TERMINALS, MAGNET) else "")
    if not text or (one.kind in (COVER, TERMINALS) and not one.limit and one.value > 8):
        return ""
    told = (one.value, one.limit)
    now, was = (kwh(wh, 1) if one.kind in _ENERGY else str(wh) for wh in told)
    return _(text).format(now=now, was=was)
