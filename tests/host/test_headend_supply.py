"""Goal: low voltage and outages are told as they are, with the load and the records beside them,
and what is asked of meters stays within its budget.

Method: a village of ten households in two districts, whose items and alarms are written by hand;
answers of commands come as a concentrator gives them.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from host.cli import cli
from host.headend import asking, clues, commands, noting, outages, registry, voltage
from host.headend.asking import Budget
from host.headend.commands import Given, Target
from host.headend.findings import findings
from host.headend.ingest import Ingest
from host.headend.places import meters_of
from host.headend.registry import Entry
from host.headend.samples import values_of
from host.headend.store import Store
from host.sim.history import Freeze
from host.sim.items_2007 import load_record
from host.units import DAY_S, HOUR_S, unix_of_t2000
from tests.host.uplink_world import (
    CONCENTRATOR,
    KEYS,
    START_T2000,
    account_name,
    deliver,
    meter_address,
    village_of,
)

pytestmark = pytest.mark.slow

DAY = START_T2000 // DAY_S + 40
NOON = DAY * DAY_S + 12 * HOUR_S
HOUSEHOLDS = 10
CURRENT_DIS = ("00ff0202", "01008002")  # as on the wire
ITEMS = ("day", "meter", "t2000", "identifier", "concentrator", "seq", "account", "values")


@pytest.fixture(name="store")
def _store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "village.db", create=True) as store:
        deliver(Ingest(store, KEYS), village_of(HOUSEHOLDS, 1))
        registry.take(
            store,
            [
                Entry(account_name(row), f"C-{row}", "N", district=f"D{row // 8}")
                for row in range(HOUSEHOLDS)
            ],
        )
        yield store


def item(store: Store, row: int, t2000: int, identifier: str, values: list[Any]) -> None:
    with store.writing() as database:
        told = (t2000 // DAY_S, meter_address(row), t2000, identifier, CONCENTRATOR, 1)
        rows = [(*told, account_name(row), json.dumps(values))]
        assert database.insert_new("items", ITEMS, rows) == 1


def alarm(store: Store, seq: int, t2000: int, kind: str, account: str, **detail: int) -> None:
    with store.writing() as database:
        columns = ("concentrator", "seq", "t2000", "kind", "account", "detail")
        told = (CONCENTRATOR, seq, t2000, kind, account, json.dumps(detail))
        assert database.insert_new("alarms", columns, [told]) == 1


# --- voltage ------------------------------------------------------------------------------------


def test_each_phase_counts_at_its_limits_and_one_that_is_lost_does_not(store: Store) -> None:
    item(store, 0, NOON, voltage.VOLTAGES, [1980, 2354, None])
    item(store, 0, NOON + HOUR_S, voltage.VOLTAGES, [1979, 2355, 30])
    found = voltage.samples(store, [DAY])
    (whole,) = voltage.rates(found, "station")
    assert (whole.samples, whole.low, whole.high, whole.rate_e4) == (4, 1, 1, 5000)
    assert [one.name for one in voltage.rates(found, "hour")] == ["12", "13"]
    assert voltage.samples(store, [DAY], "D1") == []


def test_the_low_list_has_the_load_of_the_moment(store: Store) -> None:
    item(store, 0, NOON, voltage.VOLTAGES, [1871, None, None])
    item(store, 0, NOON + 60, voltage.POWER, [12345])
    item(store, 1, NOON, voltage.VOLTAGES, [1950])
    item(store, 2, NOON, voltage.VOLTAGES, [2200])
    with store.writing() as database:
        for at, registers in ((NOON - 1800, "[1000, 500]"), (NOON + 1800, "[1700, 600]")):
            database.run(
                "INSERT INTO readings VALUES (?, ?, ?, 7, 1, ?, 0, 0, 0, 0, 0, ?)",
                (DAY, meter_address(1), at, account_name(1), registers),
            )
    found = voltage.low_list(store, voltage.samples(store, [DAY]))
    assert [(one.place.account, one.load_w, one.hours) for one in found] == [
        (account_name(0), 1234, [12]),
        (account_name(1), 800, [12]),
    ]
    rows = voltage.heat(voltage.samples(store, [DAY]))
    assert [row["account"] for row in rows] == [account_name(row) for row in (2, 1, 0)]
    assert rows[2]["cells"][12] == 1871
    assert rows[2]["cells"][11] is None


def test_what_meters_count_is_weighed_by_minutes(store: Store) -> None:
    of_month = [44640, 9000, 1000, 0, 4464, 2300, 7011200, 1800, 7021900]
    item(store, 0, (DAY + 26) * DAY_S, voltage.COMPLIANCE_BEFORE, of_month)
    item(store, 1, NOON, voltage.COMPLIANCE_NOW, [1440, 10000, 0, 0, 0, 2300, None, 2100, None])
    item(store, 2, (DAY + 26) * DAY_S, voltage.COMPLIANCE_NOW, [9, 0, 0, 9, 0])
    told = voltage.report(store, [DAY])  # the month is February
    assert [(row["account"], row["rate_e4"]) for row in told["counted"]] == [
        (account_name(0), 9000),
        (account_name(1), 10_000),
    ]
    assert told["counted_rate_e4"] == 10_000 * (44640 + 1440 - 4464) // (44640 + 1440)


def test_what_is_asked_in_march_is_of_february_and_not_of_january(store: Store) -> None:
    january, february, march = (START_T2000 // DAY_S + days for days in (0, 31, 59))
    item(store, 0, february * DAY_S + HOUR_S, voltage.COMPLIANCE_BEFORE, [44640, 0, 0, 0, 4464])
    item(store, 0, march * DAY_S + HOUR_S, voltage.COMPLIANCE_BEFORE, [40320, 0, 0, 0, 0])
    of_january = voltage.counted(store, january, february)
    assert [row["minutes"] for row in of_january] == [44640]
    of_february = voltage.counted(store, february, march)
    assert [row["minutes"] for row in of_february] == [40320]


# --- asking -------------------------------------------------------------------------------------


def now(store: Store) -> int:
    return unix_of_t2000(NOON, store.zone())


def test_what_is_asked_stays_within_its_budget_and_is_not_asked_twice(store: Store) -> None:
    item(store, 3, NOON - DAY_S, voltage.VOLTAGES, [1700])
    targets = asking.due(store, now(store), Budget(of_concentrator=40, of_district=4))
    volts = [one.account for one in targets if "00ff0102" in one.text]
    assert len(volts) == 4 + 2, "a district of two has two"
    assert account_name(3) in volts, "the lowest is always chosen"
    month = [one.account for one in targets if "01001003" in one.text]
    assert len(month) == HOUSEHOLDS, "the third of a month: all are asked for the one before"
    currents, neutral = ([one.account for one in targets if di in one.text] for di in CURRENT_DIS)
    assert currents == neutral == volts, "the same are asked for phase and neutral"
    assert len(targets) == 6 + HOUSEHOLDS + 2 * 6
    assert len(asking.due(store, now(store), Budget(5, 4))) == 5
    commands.give(store, "voltage", targets, Given(expires_at=now(store) + DAY_S, at=now(store)))
    assert asking.due(store, now(store), Budget(40, 4)) == []


def test_a_meter_of_three_phases_is_not_asked_for_its_neutral_and_the_month_comes_first(
    store: Store,
) -> None:
    with store.writing() as database:
        told = ("ABC", account_name(8), account_name(9))
        database.run("UPDATE connections SET phase = ? WHERE account IN (?, ?)", told)
    targets = asking.due(store, now(store), Budget(40, 4))
    neutral = {one.account for one in targets if CURRENT_DIS[1] in one.text}
    assert len(neutral) == 4, "those of D1 have three phases"
    assert neutral.isdisjoint((account_name(8), account_name(9)))
    few = asking.due(store, now(store), Budget(6 + HOUSEHOLDS, 4))
    assert not any(di in one.text for one in few for di in CURRENT_DIS)


def test_currents_that_were_asked_for_become_a_clue(store: Store) -> None:
    account = account_name(2)
    place = meters_of(store, account=account)[0]
    given = Given(expires_at=now(store) + DAY_S, at=now(store))
    texts = [asking.question(place, di) for di in ("0202FF00", "02800001")]
    commands.give(store, "voltage", [Target(CONCENTRATOR, one, account) for one in texts], given)
    answers, at = ("00ff0202001000ffffffffffff", "01008002006000"), now(store)
    rows = store.rows("SELECT number FROM commands ORDER BY number")
    with store.writing() as database:
        for row, data in zip(rows, answers, strict=True):
            told = (row["number"], 0, f"data {data}", at)
            assert commands.note_result(database, CONCENTRATOR, *told)
    (clue,) = clues.clues(store, DAY - 1, DAY + 1, "D0")
    (one,) = clue.evidence
    assert (clue.account, one.kind) == (account, clues.NEUTRAL)
    assert (one.value, one.limit) == (6000, 1000)


def test_who_was_silent_is_asked_when_its_power_went(store: Store) -> None:
    alarm(store, 9001, NOON - 60, "LINE", account_name(5), state=2)
    first = asking.due(store, now(store), Budget(40, 4))[0]
    assert (first.account, first.text[-8:]) == (account_name(5), "01001103")
    item(store, 5, NOON - 30, asking.POWER_DOWN, [NOON - 900, NOON - 60])
    assert "01001103" not in asking.due(store, now(store), Budget(40, 4))[0].text


def test_an_answer_is_kept_with_its_command(store: Store) -> None:
    place = meters_of(store)[0]
    text = asking.question(place, voltage.VOLTAGES)
    given = Given(expires_at=now(store) + DAY_S, at=now(store))
    commands.give(store, "voltage", [Target(CONCENTRATOR, text, place.account)], given)
    number, at = store.value("SELECT number FROM commands"), now(store)
    with store.writing() as database:
        answer = "block: A,B,C voltage\n187.1 V\ndata 00ff01027118ffffffff"
        assert commands.note_result(database, CONCENTRATOR, number, 0, answer, at)
    (sample,) = voltage.samples(store, [DAY])
    assert (sample.volts_dv, sample.t2000, sample.seq) == ((1871,), NOON, -number)


@pytest.mark.parametrize("data", ["", "00", "00ff0102", "ffffffff00", "00ff01027118"])
def test_an_answer_that_makes_no_sense_is_no_value(data: str) -> None:
    assert values_of("000000000001", bytes.fromhex(data)) == []


def test_a_load_profile_gives_the_total_of_its_own_moment() -> None:
    kept = Freeze(DAY * DAY_S, (1_234_560,), 450)
    found = values_of("000000000001", bytes.fromhex("01000406") + load_record(kept, 4))
    assert found[:2] == [DAY * DAY_S, 1_234_560]


# --- outages ------------------------------------------------------------------------------------


def silence(store: Store, row: int, begin: int, end: int | None) -> None:
    alarm(store, 9000 + 10 * row, begin, "LINE", account_name(row), state=1)
    if end is not None:
        alarm(store, 9001 + 10 * row, end, "LINE", account_name(row), state=2)


def found(store: Store, **told: str) -> list[dict[str, Any]]:
    day = DAY * DAY_S
    return [one.told() for one in outages.outages(store, day, day + DAY_S, **told)]


def test_neighbours_that_fall_silent_at_once_are_an_outage_and_two_are_not(store: Store) -> None:
    silence(store, 0, NOON, NOON + 3600)
    silence(store, 1, NOON + 600, NOON + 3600)
    assert found(store) == []
    silence(store, 2, NOON + 900, NOON + 3700)
    silence(store, 3, NOON + 8000, NOON + 9000)  # alone
    silence(store, 9, NOON + 60, None)  # in another district
    with store.writing() as database:
        sql = "UPDATE connections SET phase = 'B', distance_m = 90 WHERE account <= ?"
        database.run(sql, (account_name(2),))
    (one,) = found(store)
    assert one["phase"] == "B"
    assert (one["begin_t2000"], one["end_t2000"]) == (NOON, NOON + 3700)
    assert one["accounts"] == [account_name(row) for row in (0, 1, 2)]
    assert (one["households"], one["of"], one["sure"]) == (3, 8, "likely")
    assert found(store, district="D1") == []


def test_what_meters_recorded_is_certain_and_takes_the_silence_with_it(store: Store) -> None:
    for row in range(4):
        silence(store, row, NOON + 600, NOON + 3900)
    for row in (0, 1):
        item(store, row, NOON + 4000, asking.POWER_DOWN, [NOON, NOON + 3600])
    item(store, 4, NOON + 4000, asking.POWER_DOWN, [NOON, NOON + 20])  # a flicker
    (one,) = found(store)
    assert (one["begin_t2000"], one["end_t2000"], one["sure"]) == (NOON, NOON + 3600, "certain")
    assert one["households"] == 4


def test_neighbours_do_not_join_an_outage_of_one_that_began_long_before(store: Store) -> None:
    item(store, 0, NOON + 20_000, asking.POWER_DOWN, [NOON, NOON + 16_000])
    for row in (1, 2, 3):
        silence(store, row, NOON + 8_000, NOON + 13_000)
    assert [(one["households"], one["sure"]) for one in found(store)] == [
        (3, "likely"),
        (1, "certain"),
    ]


def test_an_outage_goes_on_until_someone_answers(store: Store) -> None:
    for row in range(3):
        silence(store, row, NOON - 5 * DAY_S, None)
    (one,) = found(store)
    assert (one["end_t2000"], one["minutes"]) == (None, None)


def test_a_concentrator_without_supply_takes_all_its_meters_with_it(store: Store) -> None:
    alarm(store, 9500, NOON, "EVENT", "", what=2, state=1)
    alarm(store, 9501, NOON + 1800, "EVENT", "", what=2, state=0)
    assert [(one["households"], one["minutes"]) for one in found(store)] == [(8, 30), (2, 30)]
    # A start behind an hour without a record; one that was restarted has written just before.
    last = store.value("SELECT max(t2000) FROM records")
    alarm(store, 9600, last + 7200, "START", "", cause=1)
    spans = outages.outages(store, last, last + DAY_S)
    assert [one.told()["minutes"] for one in spans] == [120, 120]


def test_findings_are_opened_once_and_lead_to_their_records(store: Store) -> None:
    item(store, 0, NOON, voltage.VOLTAGES, [1871])
    for row in range(3):
        silence(store, row, NOON, NOON + 3600)
    assert noting.note_day(store, DAY, "Li") == 2
    assert noting.note_day(store, DAY, "Li") == 0
    rows = {row["kind"]: row for row in findings(store)}
    assert "voltage down to 187.1 V, 1 of 1 samples" in rows["voltage"]["what"]
    assert "outage of 3 households" in rows["outage"]["what"]
    assert (rows["outage"]["concentrator"], rows["outage"]["seq"]) == (CONCENTRATOR, 9000)


def test_as_a_station_types_it(store: Store) -> None:
    item(store, 0, NOON, voltage.VOLTAGES, [1871])
    for row in range(3):
        silence(store, row, NOON, None)
    words = ["--db", store.address, "--day", "2026-02-03"]
    for name, said in (("voltage", "187.1"), ("outages", "likely")):
        run = CliRunner().invoke(cli, ["headend", name, *words])
        assert run.exit_code == 0, run.output
        assert said in run.stdout
        run = CliRunner().invoke(cli, ["headend", name, *words, "--json"])
        assert json.loads(run.stdout)[name]
    run = CliRunner().invoke(cli, ["headend", "job", "voltage", "--db", store.address, "--json"])
    assert json.loads(run.stdout)["commands"] >= HOUSEHOLDS - 2
