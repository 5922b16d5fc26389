"""Goal: the peaks of a district are told, and shedding groups saves what its report says.

Method: a simulated village of 25 households on three phases is read every quarter of an hour for
five days, by records as a concentrator writes them. In the last evening 2 of 5 groups are shed for
an hour; the simulator gives no power to whom a command has cut, and knows what they would have
used. The report is held against that truth.
"""

import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from host.cli import cli
from host.frames import record
from host.frames.batch import Outcome
from host.frames.record import RecordKind
from host.headend import commands, load, registry, shedding, topology
from host.headend.errors import StoreError
from host.headend.ingest import Ingest
from host.headend.registry import Entry
from host.headend.shedding import Wanted
from host.headend.store import Store
from host.units import DAY_S, HOUR_S, unix_of_t2000
from tests.host.uplink_world import CONCENTRATOR, KEYS, Village, account_name, deliver

pytestmark = pytest.mark.slow

HOUSEHOLDS, GROUPS, DAYS = 25, 5, 5
SLOTS = DAY_S // load.SLOT_S
EVENING = 19 * 4, 20 * 4  # the slots of the peak
DISTRICT = "D-1"
GUARDED = (3, 12)  # rows of protected households
LAST_DAY = int(time.time() - 946_684_800) // DAY_S + 2
FIRST_DAY = LAST_DAY - DAYS + 1


def power_w(row: int, slot: int) -> int:
    """Return what a household takes in a quarter of an hour of any day, as a mean in W."""
    return 200 + 8 * row + (1500 + 20 * row if EVENING[0] <= slot < EVENING[1] else 0)


class Simulated:
    """The meters of the village, read at the end of each slot."""

    def __init__(self) -> None:
        self.village = Village()
        self.total_wh = [0] * HOUSEHOLDS
        for row in range(HOUSEHOLDS):
            self.village.meter(row)

    def read(self, t2000: int) -> None:
        for row, total_wh in enumerate(self.total_wh):
            fields = {
                "debit_fen": total_wh // 20,
                "residue_e7": 0,
                "residue_e11": 0,
                "status": 0,
                "used_wh": total_wh,
                "registers_wh": [total_wh, 0, 0, 0, 0, 0, 0, 0],
            }
            seq = self.village.durable_seq + 1
            one = record.make(seq, t2000, RecordKind.READING, fields, index=row)
            self.village.records.append(one)

    def live(self, day: int, without: frozenset[int] = frozenset()) -> None:
        """Use a day's energy; `without` have none in the hour of the peak."""
        for slot in range(SLOTS):
            is_peak = EVENING[0] <= slot < EVENING[1]
            for row in range(HOUSEHOLDS):
                if not (is_peak and row in without):
                    self.total_wh[row] += power_w(row, slot) // 4
            self.read(day * DAY_S + (slot + 1) * load.SLOT_S)


def truth_w(without: frozenset[int] = frozenset()) -> int:
    """Return the district's mean power in the hour of the peak."""
    return sum(power_w(row, EVENING[0]) for row in range(HOUSEHOLDS) if row not in without)


@pytest.fixture(scope="module")
def station(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Simulated]]:
    path = tmp_path_factory.mktemp("load") / "village.db"
    simulated = Simulated()
    simulated.read(FIRST_DAY * DAY_S)
    for day in range(FIRST_DAY, LAST_DAY):
        simulated.live(day)
    with Store(path, create=True) as store:
        deliver(Ingest(store, KEYS), simulated.village)
        with store.writing() as database:
            for row in range(HOUSEHOLDS):
                account = account_name(row)
                entry = Entry(account, f"C{row}", f"Person {row}", district=DISTRICT)
                registry.write_within(database, entry, 0)
                topology.connect_within(database, account, DISTRICT, 0, "ABC"[row % 3])
            for row in GUARDED:
                database.run(
                    "UPDATE accounts SET guard = 1 WHERE account = ?", (account_name(row),)
                )
            database.run("UPDATE districts SET rated_kva = 50 WHERE district = ?", (DISTRICT,))
        yield store, simulated


def dianka(store: Store, *words: str) -> Result:
    return CliRunner().invoke(cli, ["headend", "load", *words, "--db", store.address])


def carry_out(store: Store, job: int, now: int) -> list[str]:
    """Have the concentrator obey each command of a job; return their texts."""
    with store.writing() as database:
        given = database.all("SELECT number, text FROM commands WHERE job = ?", (job,))
        for number, _text in given:
            commands.note_result(database, CONCENTRATOR, number, Outcome.DONE, "done", now)
    return [text for _number, text in given]


def test_two_of_five_groups_lower_the_peak_by_what_the_report_says(
    station: tuple[Store, Simulated], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, simulated = station
    since_t2000 = LAST_DAY * DAY_S + EVENING[0] * load.SLOT_S
    since_at = unix_of_t2000(since_t2000, store.zone())
    monkeypatch.setattr(shedding, "time", SimpleNamespace(time=lambda: since_at - HOUR_S))

    before = load.peaks(store, LAST_DAY - 1)[0]
    assert (before.peak_w, before.seen, before.members) == (truth_w(), HOUSEHOLDS, HOUSEHOLDS)
    assert before.at_t2000 % DAY_S == EVENING[0] * load.SLOT_S
    assert sum(power for power, _at in before.phases.values()) == truth_w()
    assert before.is_overload
    told = dianka(store, "groups", DISTRICT, "--count", str(GROUPS), "--by", "Li")
    assert told.exit_code == 0, told.output
    groups = shedding.groups(store, DISTRICT)
    assert sum(one["households"] for one in groups) == HOUSEHOLDS
    assert {one["households"] for one in groups} <= {4, 5, 6}
    assert sum(one["guarded"] for one in groups) == len(GUARDED)

    notice_t2000 = since_t2000 - DAY_S
    wanted = Wanted(DISTRICT, (), 2, since_at, HOUR_S, 2, notice_t2000, "the feeder is full")
    first, second = shedding.plan_shedding(store, wanted, "Li")
    rows = {one["number"]: one for one in shedding.sheddings(store)}
    chosen = set(rows[first]["groups"].split(","))
    assert len(chosen | set(rows[second]["groups"].split(","))) == 4  # others follow in turn
    assert shedding.end_shedding(store, second, "Li") == shedding.CALLED_OFF

    shedding.look(store.database, since_at - 1)
    assert {one["state"] for one in shedding.sheddings(store)} == {
        shedding.PLANNED,
        shedding.CALLED_OFF,
    }
    shedding.look(store.database, since_at)
    row = next(one for one in shedding.sheddings(store) if one["number"] == first)
    cut = carry_out(store, row["cut_job"], since_at + 5)
    rows_cut = frozenset(int(text.split()[1]) - 1 for text in cut)
    assert all(text.split()[2] == "cut" for text in cut)
    in_groups = {
        int(account) - 1
        for (account,) in store.database.all(
            f'SELECT account FROM load_groups WHERE "group" IN ({",".join(sorted(chosen))})'
        )
    }
    assert rows_cut == in_groups - set(GUARDED)  # no guarded household is cut
    assert sum(row["left_alone"].values()) == len(in_groups & set(GUARDED))

    shedding.look(store.database, since_at + HOUR_S - 1)
    shedding.look(store.database, since_at + HOUR_S)
    row = next(one for one in shedding.sheddings(store) if one["number"] == first)
    restored = carry_out(store, row["restore_job"], since_at + HOUR_S + 5)
    assert sorted(restored) == sorted(f"supply {account_name(one)} restore" for one in rows_cut)

    simulated.live(LAST_DAY, rows_cut)
    simulated.live(LAST_DAY + 1)
    ingest = Ingest(store, KEYS)
    deliver(ingest, simulated.village, 2)
    found = shedding.saved(store, first)
    assert (found.cut, found.seen) == (len(rows_cut), len(rows_cut))
    assert found.peak_w == truth_w(rows_cut)
    assert found.without_w == truth_w()
    assert found.lowered_w == found.saved_wh == truth_w() - truth_w(rows_cut) > 0
    assert found.after_wh == 0
    assert before.peak_w - load.peaks(store, LAST_DAY)[0].peak_w == found.lowered_w
    said = dianka(store, "report", str(first)).output
    assert f"{found.lowered_w / 1000:.3f} kW less" in said
    shed = shedding.groups(store, DISTRICT)
    assert {str(one["group"]) for one in shed if one["minutes"] == 60} == chosen


def test_what_is_not_lawful_or_not_possible_is_refused_or_left_alone(
    station: tuple[Store, Simulated], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, _simulated = station
    now = unix_of_t2000((LAST_DAY + 1) * DAY_S, store.zone())
    monkeypatch.setattr(shedding, "time", SimpleNamespace(time=lambda: now))
    shedding.divide_load(store, DISTRICT, GROUPS, "Li")
    for changed, said in (
        ({"district": "D-2"}, "has no groups"),
        ({"groups": (9,)}, "has no group 9"),
        ({"each": 5}, "at least one is not"),
        ({"length_s": 60}, "15 minutes"),
        ({"since_at": now - 3600}, "begins now"),
        ({"groups": (1,), "turns": 2}, "others follow"),
        ({"reason": " "}, "reason"),
    ):
        usual = Wanted(DISTRICT, (), 1, now, HOUR_S, 1, 0, "full")
        values = {name: getattr(usual, name) for name in Wanted.__slots__}
        with pytest.raises(StoreError, match=said):
            shedding.plan_shedding(store, Wanted(**{**values, **changed}), "Li")
    # Nobody was told, so nobody is cut, and each is counted.
    wanted = Wanted(DISTRICT, (1,), 1, now, HOUR_S, 1, 0, "full")
    (number,) = shedding.plan_shedding(store, wanted, "Li")
    shedding.look(store.database, now)
    row = next(one for one in shedding.sheddings(store) if one["number"] == number)
    assert row["cut_job"] == 0
    assert set(row["left_alone"]) <= {shedding.NOT_TOLD, shedding.GUARDED}
    assert sum(row["left_alone"].values()) > 0
    with pytest.raises(StoreError, match="cut anybody"):
        shedding.saved(store, number)
    # A cut that was not given in time is not given at all.
    (late,) = shedding.plan_shedding(store, wanted, "Li")
    shedding.look(store.database, now + 2 * HOUR_S)
    states = {one["number"]: one["state"] for one in shedding.sheddings(store)}
    assert (states[number], states[late]) == (shedding.RESTORED, shedding.MISSED)
    told = dianka(store, "end", str(late), "--by", "Li")
    assert told.exit_code == 1
    assert "no shedding" in told.output


def test_readings_that_do_not_enclose_a_slot_tell_nothing() -> None:
    read = [(900, 100), (2700, 300), (3600, 250), (4500, 350)]
    found = load._powers(read, 0, 4500)
    assert found == [None, 400, 400, None, 400]
    assert load.peak_of([None, 5, 9, 9], 0) == (9, 1800)
    assert load.peak_of([None], 0) == (-1, 0)
