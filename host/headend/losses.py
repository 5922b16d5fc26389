"""Line loss: what districts and feeders are supplied with, less what is sold, by day and month.

A day's energy is the difference of the registers frozen at its two midnights. Where a midnight is
missing, the meter's other freezes and readings bound it: registers only rise, so the energy lies
between what it was at least and at most, and the loss with it. Nothing is left out silently.

All energy is in whole Wh, shares are in hundredths of a per cent of what was supplied.
"""

import json
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from statistics import median
from typing import Any

from host.headend.limits import LIMITS
from host.headend.store import Store
from host.headend.topology import DISTRICT, FEEDER
from host.units import DAY_S, t2000_of_unix

_TURN_WH = 1_000_000_000  # registers go on at 0 behind 999,999.99 kWh
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Amount:
    """Energy: as it is or most likely was, and the least and the most that it can have been."""

    wh: int
    low_wh: int
    high_wh: int


@dataclass(frozen=True, slots=True)
class Loss:
    """The loss of a place in a day, or in `days` of a month.

    supplied        None: no supply meter is known, or nothing is known of it
    members         households, of a feeder: districts
    missing         those of them that some midnight is missing of
    unsupplied      supply meters that some midnight is missing of
    technical_wh    of the loss: lost in wires, None: not estimated
    """

    level: str
    place: str
    name: str
    day: int
    supplied: Amount | None
    sold: Amount
    members: int
    missing: int
    unsupplied: int
    target_e4: int
    technical_wh: int | None = None
    days: int = 1

    @property
    def lost_wh(self) -> int | None:
        """What was most likely lost."""
        return None if self.supplied is None else self.supplied.wh - self.sold.wh

    @property
    def rate_e4(self) -> int | None:
        """The share lost."""
        return None if self.lost_wh is None else self._share(self.lost_wh)

    @property
    def low_e4(self) -> int | None:
        """The least share that can have been lost."""
        if self.supplied is None:
            return None
        return self._share(self.supplied.low_wh - self.sold.high_wh)

    @property
    def high_e4(self) -> int | None:
        """The greatest share that can have been lost."""
        if self.supplied is None:
            return None
        return self._share(self.supplied.high_wh - self.sold.low_wh)

    @property
    def technical_e4(self) -> int | None:
        """The share lost in wires."""
        return None if self.technical_wh is None else self._share(self.technical_wh)

    @property
    def other_wh(self) -> int | None:
        """What was lost and not in wires: theft, faults, wrong metering."""
        lost_wh = self.lost_wh
        return (
            None if lost_wh is None or self.technical_wh is None else lost_wh - self.technical_wh
        )

    def _share(self, wh: int) -> int | None:
        assert self.supplied is not None
        return share_e4(wh, self.supplied.wh)


def share_e4(wh: int, of_wh: int) -> int | None:
    """Return a share in hundredths of a per cent, rounded; None: of nothing."""
    return (20_000 * wh + of_wh) // (2 * of_wh) if of_wh > 0 else None


def _risen(old_wh: int, new_wh: int) -> int:
    """Return by how much a register rose, below 0: it went back."""
    change = new_wh - old_wh
    return change + _TURN_WH if change < -_TURN_WH // 2 else change


# --- what each account used ----------------------------------------------------------------------

_USED = """
    SELECT f0.day, f0.account, {first}, {second},
    coalesce(supply.ct * supply.pt, fitted.multiplier, accounts.multiplier, 1)
    FROM freezes AS f0 JOIN freezes AS f1
    ON f1.day = f0.day + 1 AND f1.meter = f0.meter AND f1.account = f0.account
    LEFT JOIN supply_meters AS supply ON supply.account = f0.account
    AND supply.since_day <= f0.day AND (supply.until_day IS NULL OR supply.until_day > f0.day)
    LEFT JOIN accounts ON accounts.account = f0.account
    LEFT JOIN (SELECT account, meter, max(multiplier) AS multiplier FROM installations
    GROUP BY account, meter) AS fitted
    ON fitted.account = f0.account AND fitted.meter = f0.meter
    WHERE f0.day IN ({days}){meters}
"""


def uses(
    store: Store, days: Collection[int], meters: Collection[str] | None = None
) -> Iterator[tuple[int, str, int]]:
    """Yield day, account and energy where both midnights are here, of some meters or of all."""
    database = store.database
    firsts = {"first": database.first_of("f0.registers_wh")}
    firsts["second"] = database.first_of("f1.registers_wh")
    for chunk in [None] if meters is None else _chunks(meters):
        told = "" if chunk is None else f" AND f0.meter IN ({_marks(chunk)})"
        query = _USED.format(days=_marks(days), meters=told, **firsts)
        with database.looking():
            found = database.all(query, (*days, *(chunk or ())))
        for day, account, old_wh, new_wh, multiplier in found:
            wh = _risen(old_wh, new_wh)
            if wh >= 0:
                yield day, account, wh * multiplier


def _marks(values: Collection[Any]) -> str:
    return ", ".join("?" * len(values))


def _chunks(values: Iterable[str]) -> Iterator[list[str]]:
    listed = sorted(values)
    for at in range(0, len(listed), _CHUNK):
        yield listed[at : at + _CHUNK]


# --- what is known of a missing midnight ---------------------------------------------------------


@dataclass(slots=True)
class _Stretch:
    """The registers of a meter while it measured an account, by time."""

    multiplier: int
    since_t2000: int
    until_t2000: int | None
    points: dict[int, int] = field(default_factory=dict)
    times: list[int] = field(default_factory=list)
    wh: list[int] = field(default_factory=list)
    mean_wh: int = 0
    most_wh: int = 0

    def settle(self) -> None:
        """Order the points, leave out those that went back, and find the use of a day."""
        turned = 0
        for t2000, register in sorted(self.points.items()):
            inside = self.since_t2000 <= t2000 <= (self.until_t2000 or t2000)
            told = register + turned
            if self.wh and told < self.wh[-1] - _TURN_WH // 2:
                turned += _TURN_WH
                told += _TURN_WH
            if inside and (not self.wh or told >= self.wh[-1]):
                self.times.append(t2000)
                self.wh.append(told)
        for at in range(1, len(self.times)):
            span = self.times[at] - self.times[at - 1]
            if span >= DAY_S // 2:
                a_day = (self.wh[at] - self.wh[at - 1]) * DAY_S // span
                self.most_wh = max(self.most_wh, a_day)
        if self.times and self.times[-1] - self.times[0] >= DAY_S:
            span = self.times[-1] - self.times[0]
            self.mean_wh = (self.wh[-1] - self.wh[0]) * DAY_S // span

    def at(self, t2000: int) -> tuple[int | None, int | None, int | None]:
        """Return the register at a time: at least, most likely, at most."""
        before, after = bisect_right(self.times, t2000) - 1, bisect_left(self.times, t2000)
        low = self.wh[before] if before >= 0 else None
        high = self.wh[after] if after < len(self.times) else None
        if low is None or high is None or before == after:
            return low, (low if before == after else None), high
        span = self.times[after] - self.times[before]
        likely = low + (high - low) * (t2000 - self.times[before]) // span
        return low, likely, high

    def between(self, begins: int, ends: int, guess: bool) -> Amount | None:
        """Return the energy between two times, None: nothing is known.

        With `guess` it may follow from other days, where no register stands behind it.
        """
        begins = max(begins, self.since_t2000)
        ends = min(ends, self.until_t2000 or ends)
        if begins >= ends:
            return Amount(0, 0, 0)
        low0, likely0, high0 = self.at(begins)
        low1, likely1, high1 = self.at(ends)
        low = max(0, low1 - high0) if low1 is not None and high0 is not None else 0
        if high1 is not None and low0 is not None:
            likely = low if likely0 is None or likely1 is None else likely1 - likely0
            found = Amount(likely, low, high1 - low0)
        elif guess and (self.most_wh or self.mean_wh):
            span = ends - begins
            likely = max(low, self.mean_wh * span // DAY_S)
            most = self.most_wh * LIMITS.open_growth * span // (100 * DAY_S)
            found = Amount(likely, low, max(most, likely))
        else:
            return None
        return Amount(*(one * self.multiplier for one in (found.wh, found.low_wh, found.high_wh)))


class Filling:
    """What is known of days that a midnight is missing of, for some accounts."""

    def __init__(self, store: Store, accounts: Collection[str], days: Collection[int]) -> None:
        self._stretches: dict[str, list[_Stretch]] = defaultdict(list)
        self._by_meter: dict[str, list[_Stretch]] = defaultdict(list)
        if not accounts:
            return
        self._read_meters(store, accounts)
        self._read_points(store, min(days), max(days) + 1)
        for stretches in self._stretches.values():
            for one in stretches:
                one.settle()

    def _read_meters(self, store: Store, accounts: Collection[str]) -> None:
        zone = store.zone()
        for chunk in _chunks(accounts):
            told = f"account IN ({_marks(chunk)})"
            for row in store.rows(
                "SELECT account, meter, multiplier, since_at, until_at, first_wh AS registers_wh, "
                f"last_wh FROM installations WHERE {told}",
                chunk,
            ):
                since = t2000_of_unix(row["since_at"], zone) if row["since_at"] else 0
                until = t2000_of_unix(row["until_at"], zone) if row["until_at"] else None
                one = self._add(row["account"], row["meter"], row["multiplier"], since, until)
                if since and row["registers_wh"]:
                    one.points[since] = sum(row["registers_wh"])
                if until is not None and row["last_wh"] not in ("", "[]"):
                    one.points[until] = sum(json.loads(row["last_wh"]))
            for row in store.rows(
                f"SELECT account, meter, multiplier FROM accounts WHERE {told}", chunk
            ):
                if row["account"] not in self._stretches:
                    self._add(row["account"], row["meter"], row["multiplier"], 0, None)
            for row in store.rows(
                f"SELECT account, ct * pt AS ratio FROM supply_meters WHERE {told} "
                "ORDER BY since_day",
                chunk,
            ):
                for one in self._stretches[row["account"]]:
                    one.multiplier = row["ratio"]

    def _add(
        self, account: str, meter: str, multiplier: int, since: int, until: int | None
    ) -> _Stretch:
        one = _Stretch(multiplier, since, until)
        self._stretches[account].append(one)
        self._by_meter[meter].append(one)
        return one

    def _read_points(self, store: Store, first: int, last: int) -> None:
        """Read freezes, of which the first register is the total, and the rates of readings."""
        reach = range(first - LIMITS.reach_days, last + LIMITS.reach_days + 1)
        for table, days in (("freezes", reach), ("readings", range(first - 1, last + 1))):
            is_frozen = table == "freezes"
            for chunk in _chunks(self._by_meter):
                query = (
                    f"SELECT meter, t2000, registers_wh FROM {table} "
                    f"WHERE day IN ({_marks(days)}) AND meter IN ({_marks(chunk)})"
                )
                for row in store.rows(query, (*days, *chunk)):
                    registers = row["registers_wh"][:1] if is_frozen else row["registers_wh"]
                    for one in self._by_meter[row["meter"]]:
                        one.points.setdefault(row["t2000"], sum(registers))

    def of(self, account: str, day: int, guess: bool = True) -> Amount | None:
        """Return the energy of a day, None: nothing is known."""
        parts = [
            one.between(day * DAY_S, (day + 1) * DAY_S, guess)
            for one in self._stretches.get(account, ())
        ]
        if not parts or None in parts:
            return None
        return _sum(part for part in parts if part is not None)


def _sum(parts: Iterable[Amount]) -> Amount:
    wh = low = high = 0
    for one in parts:
        wh, low, high = wh + one.wh, low + one.low_wh, high + one.high_wh
    return Amount(wh, low, high)


# --- the net and its losses ----------------------------------------------------------------------


class Net:
    """What feeds what, of all places or of one district."""

    def __init__(self, store: Store, district: str | None = None) -> None:
        self.district = district
        of, values = ("", ()) if district is None else (" WHERE district = ?", (district,))
        self.districts = {
            row["district"]: row
            for row in store.rows(f"SELECT * FROM districts{of} ORDER BY district", values)
        }
        self.connections = store.rows(
            f"SELECT account, district, since_day, until_day FROM connections{of}", values
        )
        self.feeds = [] if district else store.rows("SELECT * FROM feeds")
        self.feeders = (
            {} if district else {row["feeder"]: row for row in store.rows("SELECT * FROM feeders")}
        )
        wanted = "" if district is None else " WHERE level = ? AND place = ?"
        of_place = () if district is None else (DISTRICT, district)
        self.supply = store.rows(
            f"SELECT account, level, place, ct, pt, since_day, until_day FROM supply_meters"
            f"{wanted}",
            of_place,
        )

    def meters(self, store: Store) -> set[str] | None:
        """Return the meters of a district, None: those of all."""
        if self.district is None:
            return None
        found = set()
        for chunk in _chunks(one["account"] for one in (*self.connections, *self.supply)):
            for table in ("accounts", "installations"):
                rows = store.rows(
                    f"SELECT meter FROM {table} WHERE account IN ({_marks(chunk)})", chunk
                )
                found |= {row["meter"] for row in rows}
        return found - {""}


def _holds(row: dict[str, Any], day: int) -> bool:
    return row["since_day"] <= day and (row["until_day"] is None or row["until_day"] > day)


def day_losses(
    store: Store, since_day: int, until_day: int, district: str | None = None
) -> list[Loss]:
    """Return the losses of all places, or of one district, of days from one to before another."""
    net = Net(store, district)
    meters = net.meters(store)
    found: list[Loss] = []
    if meters is None:
        for day in range(since_day, until_day):
            used = {(day, account): wh for _day, account, wh in uses(store, (day,))}
            found += _losses(store, net, used, (day,))
    else:
        days = range(since_day, until_day)
        used = {(day, account): wh for day, account, wh in uses(store, days, meters)}
        found += _losses(store, net, used, days)
    return found


def _losses(
    store: Store, net: Net, used: dict[tuple[int, str], int], days: Sequence[int]
) -> list[Loss]:
    """Return the losses of some days, of which the known energy is here."""
    held = [*net.connections, *net.supply]
    missing = {
        row["account"]
        for row in held
        for day in days
        if _holds(row, day) and (day, row["account"]) not in used
    }
    filling = Filling(store, missing, days)
    found: list[Loss] = []
    for day in days:
        found += _of_day(net, used, filling, day)
    return found


def _of_day(
    net: Net, used: dict[tuple[int, str], int], filling: Filling, day: int
) -> Iterator[Loss]:
    supplied, unsupplied = _supplied(net, used, filling, day)
    sold: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])  # known, most, members, known
    lacks: dict[str, list[str]] = defaultdict(list)
    for row in net.connections:
        if not _holds(row, day):
            continue
        place = sold[row["district"]]
        place[2] += 1
        wh = used.get((day, row["account"]))
        if wh is None:
            lacks[row["district"]].append(row["account"])
        else:
            place[0] += wh
            place[1] = max(place[1], wh)
            place[3] += 1
    of_districts = {}
    for name, district in net.districts.items():
        known_wh, most_wh, members, known = sold[name]
        mean_wh = known_wh // known if known else 0
        unknown = Amount(mean_wh, 0, most_wh)
        parts = [filling.of(account, day) or unknown for account in lacks[name]]
        total = _sum([Amount(known_wh, known_wh, known_wh), *parts])
        at = (DISTRICT, name)
        of_districts[name] = loss = Loss(
            *(*at, district["name"] or name, day, supplied.get(at), total, members),
            *(len(lacks[name]), unsupplied[at], district["target_e4"]),
        )
        yield loss
    yield from _of_feeders(net, of_districts, supplied, unsupplied, day)


def _supplied(
    net: Net, used: dict[tuple[int, str], int], filling: Filling, day: int
) -> tuple[dict[tuple[str, str], Amount | None], dict[tuple[str, str], int]]:
    """Return what places are supplied with, and how many of their meters a midnight lacks."""
    supplied: dict[tuple[str, str], Amount | None] = {}
    lacking: dict[tuple[str, str], int] = defaultdict(int)
    for row in net.supply:
        if not _holds(row, day):
            continue
        at = (row["level"], row["place"])
        wh = used.get((day, row["account"]))
        lacking[at] += wh is None
        one = filling.of(row["account"], day, False) if wh is None else Amount(wh, wh, wh)
        before = supplied.get(at, Amount(0, 0, 0))
        supplied[at] = None if one is None or before is None else _sum((before, one))
    return supplied, lacking


def _of_feeders(
    net: Net,
    districts: dict[str, Loss],
    supplied: dict[tuple[str, str], Amount | None],
    unsupplied: dict[tuple[str, str], int],
    day: int,
) -> Iterator[Loss]:
    """Yield the losses of the lines of 10 kV: what goes in, less what districts are supplied with.

    A district without a sum meter counts by its households.
    """
    for name, feeder in net.feeders.items():
        fed = [
            districts[row["district"]]
            for row in net.feeds
            if row["feeder"] == name and _holds(row, day) and row["district"] in districts
        ]
        sold = _sum(one.supplied or one.sold for one in fed)
        missing = sum(one.unsupplied > 0 or (not one.supplied and one.missing > 0) for one in fed)
        at = (FEEDER, name)
        yield Loss(
            *(*at, feeder["name"] or name, day, supplied.get(at), sold, len(fed)),
            *(missing, unsupplied[at], feeder["target_e4"]),
        )


def sum_of(losses: Sequence[Loss]) -> list[Loss]:
    """Return the losses of several days by place: over the days on which the supply is known."""
    by_place: dict[tuple[str, str], list[Loss]] = defaultdict(list)
    for one in losses:
        by_place[one.level, one.place].append(one)
    found = []
    for days in by_place.values():
        known = [one for one in days if one.supplied is not None]
        technical = [one.technical_wh for one in known if one.technical_wh is not None]
        found.append(
            replace(
                days[-1],
                day=days[0].day,
                days=len(known),
                supplied=_sum(one.supplied for one in known if one.supplied) if known else None,
                sold=_sum(one.sold for one in known),
                missing=sum(one.missing for one in known),
                unsupplied=sum(one.unsupplied for one in days),
                technical_wh=sum(technical) if known and len(technical) == len(known) else None,
            )
        )
    return found


# --- technical loss and outliers -----------------------------------------------------------------


def with_technical(store: Store, losses: Sequence[Loss]) -> list[Loss]:
    """Return the losses of one district by day with what of them is lost in wires.

    A person has entered its share, or it follows from the load: what is lost in wires rises with
    the square of the current. Days near to each other are compared, so that a theft which begins
    between them changes few of the slopes, of which the median by weight counts.
    """
    known = [one for one in losses if one.supplied is not None and one.supplied.wh > 0]
    if not known:
        return list(losses)
    place = known[0].place
    entered = store.value("SELECT technical_e4 FROM districts WHERE district = ?", (place,))
    loads = {} if entered is not None else squared_loads(store, known)
    slope = _held_down(_slope(known, loads), known, loads) if loads else None
    found = []
    for one in losses:
        if one.supplied is None:
            found.append(one)
            continue
        own_wh = LIMITS.meter_wh * one.members
        if entered is not None:
            wh = one.supplied.wh * entered // 10_000
        elif slope is not None and one.day in loads:
            wh = round(slope * loads[one.day]) + own_wh
        else:
            wh = one.supplied.wh * _lowest_e4(known) // 10_000
        lost_wh = one.lost_wh or 0
        found.append(replace(one, technical_wh=max(0, min(wh, lost_wh))))
    return found


def squared_loads(store: Store, losses: Sequence[Loss]) -> dict[int, float]:
    """Return for each day the sum of squared power by time, in kWh x kW, of a supply meter.

    Without readings within a day its load is taken as even.
    """
    days = {one.day: one for one in losses if one.supplied}
    meters = store.rows(
        "SELECT DISTINCT accounts.meter, ct * pt AS ratio FROM supply_meters "
        "JOIN accounts ON accounts.account = supply_meters.account "
        "WHERE level = 'district' AND place = ?",
        (losses[0].place,),
    )
    found: dict[int, float] = {}
    if len(meters) == 1:
        wanted = sorted({*days, *(day + 1 for day in days)})
        rows = store.rows(
            f"SELECT t2000, registers_wh FROM readings WHERE day IN ({_marks(wanted)}) "
            "AND meter = ? ORDER BY day, t2000",
            (*wanted, meters[0]["meter"]),
        )
        found = _squares(rows, meters[0]["ratio"])
    for day, one in days.items():
        if day not in found and one.supplied:
            found[day] = (one.supplied.wh / 1000) ** 2 / 24
    return found


def _squares(rows: Sequence[dict[str, Any]], ratio: int) -> dict[int, float]:
    sums: dict[int, float] = defaultdict(float)
    spans: dict[int, int] = defaultdict(int)
    for old, new in pairwise(rows):
        span = new["t2000"] - old["t2000"]
        wh = _risen(sum(old["registers_wh"]), sum(new["registers_wh"])) * ratio
        if span <= 0 or span > DAY_S // 6 or wh < 0:
            continue
        day = (old["t2000"] + span // 2) // DAY_S
        sums[day] += (wh / 1000) ** 2 * 3600 / span
        spans[day] += span
    return {day: sums[day] * DAY_S / spans[day] for day in sums if spans[day] > DAY_S * 3 // 4}


def _slope(losses: Sequence[Loss], loads: dict[int, float]) -> float | None:
    """Return what is lost for each unit of squared load, None: the load varies too little."""
    told = [(one.day, loads[one.day], one.lost_wh or 0) for one in losses if one.day in loads]
    if len(told) < LIMITS.pair_days:
        return None
    middle = median(load for _day, load, _lost in told)
    spread = median(abs(load - middle) for _day, load, _lost in told)
    if middle <= 0 or 100 * spread < LIMITS.load_spread * middle:
        return None
    slopes = []
    for at, (day, load, lost) in enumerate(told):
        for later, load_then, lost_then in told[at + 1 :]:
            if later - day <= LIMITS.pair_days and load_then != load:
                slopes.append(((lost_then - lost) / (load_then - load), abs(load_then - load)))
    found = _weighted_median(slopes)
    return found if found is not None and found > 0 else None


def _held_down(
    slope: float | None, losses: Sequence[Loss], loads: dict[int, float]
) -> float | None:
    """Return a slope that is no steeper than the whole loss of the best days allows.

    What is stolen or not counted grows with the load too, and would pass for the wires' share; it
    only ever adds to the loss.
    """
    shares = sorted(
        ((one.lost_wh or 0) - LIMITS.meter_wh * one.members) / loads[one.day]
        for one in losses
        if loads.get(one.day)
    )
    if slope is None or not shares:
        return slope
    best = shares[len(shares) // LIMITS.best_days]
    return min(slope, best) if best > 0 else slope


def _weighted_median(values: list[tuple[float, float]]) -> float | None:
    values.sort()
    half, sum_so_far = sum(weight for _value, weight in values) / 2, 0.0
    for value, weight in values:
        sum_so_far += weight
        if sum_so_far >= half:
            return value
    return None


def _lowest_e4(losses: Sequence[Loss]) -> int:
    """Return the share that a district loses on its best days, at most what is typical."""
    rates = sorted(one.rate_e4 for one in losses if one.rate_e4 is not None)
    return min(max(0, rates[len(rates) // 10]), LIMITS.typical_e4)


@dataclass(frozen=True, slots=True)
class Judged:
    """A loss beside the past of its place and beside other places of the day.

    own_mads, peer_mads     deviations above the median, None: there is too little to compare
    """

    loss: Loss
    own_mads: float | None
    peer_mads: float | None

    @property
    def is_outlier(self) -> bool:
        """Whether it is far above its own past, or above all others."""
        return any(
            one is not None and one >= LIMITS.outlier_mads
            for one in (self.own_mads, self.peer_mads)
        )


def judged(losses: Sequence[Loss], day: int) -> list[Judged]:
    """Return the losses of a day, judged by the days before it and by the other places."""
    past: dict[tuple[str, str], list[int]] = defaultdict(list)
    peers: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for one in losses:
        if one.rate_e4 is None:
            continue
        if one.day < day:
            past[one.level, one.place].append(one.rate_e4)
        elif one.day == day:
            peers[one.level].append((one.place, one.rate_e4))
    found = []
    for one in losses:
        if one.day != day:
            continue
        others = [rate for place, rate in peers[one.level] if place != one.place]
        own = _mads(one.rate_e4, past[one.level, one.place])
        found.append(Judged(one, own, _mads(one.rate_e4, others)))
    return found


_FEW = 5


def _mads(rate_e4: int | None, others: Sequence[int]) -> float | None:
    """Return by how many deviations a rate is above the median of others."""
    if rate_e4 is None or len(others) < _FEW:
        return None
    middle = median(others)
    spread = 1.4826 * median(abs(one - middle) for one in others)
    return (rate_e4 - middle) / max(spread, LIMITS.mad_floor_e4)
