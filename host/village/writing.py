"""Write a village's past into a new database of a head-end, and the truth beside it.

The records go through `host.headend.posting`, as those of real concentrators do, and everything
that follows from them is what the head-end makes of them. What only the simulator knows goes to
another file, which no part of the head-end reads.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from host.frames import tariff
from host.frames.record import RecordKind
from host.headend import topology
from host.headend.database import Database
from host.headend.posting import Posting, State
from host.headend.registry import Entry, write_within
from host.headend.store import Store
from host.sim.village import wires
from host.sim.village.district import District
from host.sim.village.people import temperature
from host.sim.village.plan import VillageError, VillagePlan, first_t2000
from host.units import DAY_S, HOUR_S, unix_of_t2000
from host.village import names
from host.village.journal import FEN_E7, Journal
from host.village.station import FREE, PRICED, DistrictStation, FeederStation
from host.village.truth import TruthFile
from host.words import _

_PARTS = 4  # of a day, in which records arrive
_PART_S = DAY_S // _PARTS
_ARRIVES_S = 120
_DAYS_A_COMMIT = 5
_GATE_PT = 100
_GATE_CTS = (5, 10, 15, 20, 30, 40, 60, 80, 120)
_SALE_DAYS = 30
_YUAN_FEN = 100
Progress = Callable[[int], None]


@dataclass
class Written:
    """What was written."""

    accounts: int = 0
    records: int = 0
    days: int = 0
    thefts: int = 0
    faults: int = 0
    truth: Path = field(default_factory=Path)


def truth_path(path: Path) -> Path:
    """Return where the truth about a database is."""
    return path.with_suffix(".truth.json")


def write(plan: VillagePlan, days: int, seed: int, path: Path, progress: Progress) -> Written:
    """Make a database at `path`, where none is, and write `days` days into it; VillageError.

    `progress` is called with the count of days that are written.
    """
    beside = truth_path(path)
    for one in (path, beside):
        if one.exists():
            raise VillageError(
                _("{path} is there already: give another name, or delete it").format(path=one)
            )
    try:
        with Store(path, create=True) as store:
            made = _Village(plan, days, seed, store)
            made.write(progress)
        beside.write_text(json.dumps(made.truth.told(), ensure_ascii=False), encoding="utf-8")
    except BaseException:
        for one in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
            one.unlink(missing_ok=True)
        raise
    made.written.truth = beside
    return made.written


class _Village:
    """The village while it is written."""

    def __init__(self, plan: VillagePlan, days: int, seed: int, store: Store) -> None:
        self.plan, self.days, self._store = plan, days, store
        self._start_t2000 = first_t2000(plan)
        self._zone = store.zone()
        random = np.random.RandomState(seed)
        self._names = np.random.RandomState(seed + 1)
        self._weather = [temperature(_date(plan, n), random) for n in range(days + 1)]
        self._price_e7 = round(plan.price_yuan * 10_000)
        self.districts = [
            District(one, plan.start, days, int(random.randint(1 << 31)), plan.collection_percent)
            for one in plan.districts
        ]
        self._state = State(store.database)
        self.stations = [self._station(place) for place in range(len(self.districts))]
        self.gates = [self._gate(place) for place in range(len(plan.feeders))]
        self._bought_fen: dict[str, int] = {}
        self._orders: dict[str, int] = {}
        self.truth = TruthFile(plan, self.districts, self.stations, seed, days)
        self.written = Written(
            accounts=sum(one.count for one in self.districts),
            thefts=sum(t.is_theft for one in self.districts for t in one.troubles),
            faults=sum(not t.is_theft for one in self.districts for t in one.troubles),
        )

    def _station(self, place: int) -> DistrictStation:
        district = self.districts[place]
        accounts = [
            (names.account_of(place, row), names.meter_of(place, row))
            for row in range(district.count)
        ]
        number = place + 1
        supply = names.supply_account_of(number), names.supply_meter_of(number)
        return DistrictStation(
            district, Journal(number), accounts, supply, self._price_e7, self.plan.readings_a_day
        )

    def _gate(self, place: int) -> FeederStation:
        number = len(self.districts) + place + 1
        account, address = names.supply_account_of(number), names.supply_meter_of(number)
        rated_a = sum(one.kva for _n, one in self._of_feeder(place)) / (3**0.5 * 10)
        ct = next((one for one in _GATE_CTS if one * 5 > rated_a), _GATE_CTS[-1])
        return FeederStation(Journal(number), account, address, ct, _GATE_PT)

    def _of_feeder(self, place: int) -> Iterator[tuple[int, District]]:
        before = sum(len(one.districts) for one in self.plan.feeders[:place])
        for number in range(before, before + len(self.plan.feeders[place].districts)):
            yield number, self.districts[number]

    # --- the register --------------------------------------------------------------------------

    def _register(self, database: Database) -> None:
        opened_at = unix_of_t2000(self._start_t2000, self._zone)
        for place, (district, station) in enumerate(
            zip(self.districts, self.stations, strict=True)
        ):
            told = self.plan.districts[place]
            for row, (account, address) in enumerate(station.accounts):
                is_shop = bool(district.people.is_shop[row])
                entry = Entry(
                    account,
                    names.customer_of(place, row),
                    names.person(is_shop, self._names),
                    address=f"{told.name} {row + 1} 号",
                    persons=0 if is_shop else int(district.people.persons[row]),
                    kind="business" if is_shop else "resident",
                    credit_class="A",
                    district=told.name,
                    meter=address,
                    multiplier=int(district.multiplier[row]),
                )
                write_within(database, entry, opened_at)

    def _connect(self, database: Database) -> None:
        """Note what feeds what, and the supply meters."""
        day = self._start_t2000 // DAY_S
        supplies = []
        for place, (district, station) in enumerate(
            zip(self.districts, self.stations, strict=True)
        ):
            name, phases = self.plan.districts[place].name, district.phases
            database.run(
                "UPDATE districts SET rated_kva = ?, name = ? WHERE district = ?",
                (district.kva, name, name),
            )
            for row, (account, _address) in enumerate(station.accounts):
                away_m = round(float(district.line.distance_m[row]))
                topology.connect_within(database, account, name, 0, phases[row], away_m)
            supplies.append((station.supply[0], "district", name, district.ct, 1, day))
        for place, (feeder, gate) in enumerate(zip(self.plan.feeders, self.gates, strict=True)):
            database.insert_new("feeders", ("feeder", "name"), [(feeder.name, feeder.name)])
            for number, _district in self._of_feeder(place):
                fed = (self.plan.districts[number].name, feeder.name, 0)
                database.insert_new("feeds", ("district", "feeder", "since_day"), [fed])
            supplies.append((gate.account, "feeder", feeder.name, gate.ct, gate.pt, day))
        columns = ("account", "level", "place", "ct", "pt", "since_day")
        database.insert_new("supply_meters", columns, supplies)

    # --- the past ------------------------------------------------------------------------------

    def write(self, progress: Progress) -> None:
        """Write all of it."""
        begin_t2000 = self._start_t2000 - HOUR_S
        with self._store.writing() as database:
            self._register(database)
            for journal in self._journals():
                self._tell_tariffs(journal, begin_t2000)
            for one in self._all():
                one.begin(begin_t2000 + 60)
            self._post(database, self._start_t2000)
            self._connect(database)
        for first in range(0, self.days, _DAYS_A_COMMIT):
            with self._store.writing() as database:
                for number in range(first, min(self.days, first + _DAYS_A_COMMIT)):
                    self._day(database, number)
            progress(min(self.days, first + _DAYS_A_COMMIT))
        with self._store.writing() as database:
            self._end(database)

    def _tell_tariffs(self, journal: Journal, t2000: int) -> None:
        for number, price in ((PRICED, self.plan.price_yuan), (FREE, 0)):
            text = {"name": "village", "tier_period": "year", "tiers": [{"prices": [str(price)]}]}
            image = tariff.build(tariff.read(json.dumps(text)), number)
            told = {"number": number, "size": len(image), "sha256": tariff.image_name(image)}
            journal.add(RecordKind.TARIFF, t2000, 0, **told)

    def _day(self, database: Database, number: int) -> None:
        midnight_t2000 = self._start_t2000 + number * DAY_S
        self._sell(database, midnight_t2000, number)
        high_w = []
        for district, station in zip(self.districts, self.stations, strict=True):
            day = district.day(number, self._weather[number])
            station.record(midnight_t2000, day)
            self.truth.note(station, day)
            high_w.append(day.truth.high_w)
        for place, gate in enumerate(self.gates):
            load_w = sum(high_w[n] for n, _district in self._of_feeder(place))
            lost_w = wires.high_line_w(load_w, self.plan.feeders[place].length_km)
            gate.record(midnight_t2000, np.rint(load_w + lost_w).astype(np.int64))
            self.truth.note_feeder(place, load_w, lost_w)
        for part in range(1, _PARTS + 1):
            self._post(database, midnight_t2000 + part * _PART_S)
        self.written.days = number + 1

    def _journals(self) -> Iterator[Journal]:
        for one in self._all():
            yield one.journal

    def _all(self) -> list[DistrictStation | FeederStation]:
        return [*self.stations, *self.gates]

    def _post(self, database: Database, until_t2000: int) -> None:
        """Store the records before a moment, which arrive then."""
        arrived_at = unix_of_t2000(until_t2000 + _ARRIVES_S, self._zone)
        posting = Posting(database, self._state, arrived_at)
        for journal in self._journals():
            records = journal.take(until_t2000)
            if records:
                posting.post(journal.concentrator, records)
                self.written.records += len(records)
        posting.write()

    def _sell(self, database: Database, midnight_t2000: int, number: int) -> None:
        """Sell what a household needs until its next visit, and let it redeem that."""
        sold_at = unix_of_t2000(midnight_t2000 + 9 * HOUR_S, self._zone)
        orders = []
        for station in self.stations:
            for row, (account, _address) in enumerate(station.accounts):
                if (number + row) % _SALE_DAYS and number:
                    continue
                if number and station.district.is_cut(row, number):
                    continue
                used_fen = station.meters[row].debit_e7 // FEN_E7
                before_fen = self._bought_fen.get(account, 0)
                month_fen = used_fen * _SALE_DAYS // max(1, number) if number else 150 * _YUAN_FEN
                amount_fen = -(-max(0, used_fen + 2 * month_fen - before_fen) // 5000) * 5000
                if not amount_fen:
                    continue
                order = self._orders.get(account, 0) + 1
                self._orders[account] = order
                credit_fen = self._bought_fen[account] = before_fen + amount_fen
                orders.append((account, order, amount_fen, sold_at, "village", "counter"))
                station.purchases[row] = (order, amount_fen, credit_fen)
        columns = ("account", "order", "amount_fen", "sold_at", "cashier", "channel")
        if orders:
            database.insert_new("orders", columns, orders)

    def _end(self, database: Database) -> None:
        """Write where each concentrator stands."""
        end_t2000 = self._start_t2000 + self.days * DAY_S
        seen_at = unix_of_t2000(end_t2000 + _ARRIVES_S, self._zone)
        columns = (
            *("concentrator", "acked_seq", "first_seq", "next_seq", "seen_at", "received_at"),
            *("last_number", "journal"),
        )
        rows = [
            (one.concentrator, one.seq, 1, one.seq + 1, seen_at, seen_at, 1, b"village".hex())
            for one in self._journals()
        ]
        database.insert_new("concentrators", columns, rows)


def _date(plan: VillagePlan, number: int) -> date:
    return plan.start + timedelta(number)
