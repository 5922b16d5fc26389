"""Goal: what meters told of a day is judged as a person would, what is missing is named with its
reason, and an estimate is shown and stored nowhere.

Method: each rule against midnights made by hand, at its limit and beyond; then a village whose
concentrator writes midnights, silences, doubts and exchanges, with times of arrival of its own.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from host.cli import cli
from host.frames.record import RecordKind
from host.headend import quality, quality_report, read_success, registry
from host.headend.estimates import (
    BETWEEN_MIDNIGHTS,
    BETWEEN_READINGS,
    FROM_PAST,
    Estimate,
    estimate,
    estimates,
)
from host.headend.ingest import Ingest
from host.headend.places import meters_of
from host.headend.quality import MODULUS_WH, Frozen, judge, uneven_wh
from host.headend.registry import Entry
from host.headend.store import Store
from host.units import DAY_S, unix_of_t2000
from tests.host.uplink_world import (
    CONCENTRATOR,
    KEYS,
    START_T2000,
    Village,
    account_name,
    deliver,
    meter_address,
    village_of,
)

pytestmark = pytest.mark.slow

DAY = START_T2000 // DAY_S + 40  # the day that is judged
A_DAY_WH = 10_000


def past(use_wh: int, *, a_day_wh: int = A_DAY_WH, begin_wh: int = 0) -> dict[int, Frozen]:
    """Return the midnights of a meter that uses as much each day, and `use_wh` on the last."""
    found = {}
    for day in range(DAY - 28, DAY + 1):
        found[day] = Frozen((begin_wh + (day - DAY + 28) * a_day_wh,), CONCENTRATOR, day)
    found[DAY + 1] = Frozen((found[DAY].total_wh + use_wh,), CONCENTRATOR, DAY + 1)
    return found


def rules(midnights: dict[int, Frozen]) -> list[str]:
    return [one.rule for one in judge(midnights, DAY)]


# --- rules --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("use_wh", "rule"),
    [
        (A_DAY_WH, []),
        (1_000, []),
        (999, ["low"]),
        (0, ["low"]),
        (55_000, []),
        (55_001, ["spike"]),
        (1_584_000, ["spike"]),
        (1_584_001, ["high"]),
        (-10, ["negative"]),
    ],
)
def test_a_day_is_held_against_the_past_of_the_household(use_wh: int, rule: list[str]) -> None:
    assert rules(past(use_wh, begin_wh=10_000_000)) == rule


def test_a_weekly_peak_is_no_spike() -> None:
    midnights = past(90_000)
    for day in range(DAY - 3, DAY + 2):  # as much was used four days before
        one = midnights[day]
        midnights[day] = Frozen((one.total_wh + 85_000,), one.concentrator, one.seq)
    assert rules(midnights) == []


def test_a_register_that_stands_still_for_a_week_is_found_once_it_has_used_before() -> None:
    midnights = past(0)
    for day in range(DAY - 6, DAY + 2):
        midnights[day] = Frozen((220_000,), CONCENTRATOR, day)
    assert rules(midnights) == ["zero"]
    assert rules(past(0, a_day_wh=100)) == [], "an empty house uses nothing"
    del midnights[DAY - 6]
    assert rules(midnights) == ["low"], "six days are no week"


def test_a_register_that_begins_again_at_zero_is_explained_and_another_one_is_not() -> None:
    midnights = past(0, begin_wh=MODULUS_WH - 285_000)
    midnights[DAY + 1] = Frozen((5_000,), CONCENTRATOR, 1)
    (mark,) = judge(midnights, DAY)
    assert (mark.rule, mark.state, mark.value) == ("rollover", "valid", 10_000)
    midnights[DAY + 1] = Frozen((5_000_000,), CONCENTRATOR, 1)
    assert rules(midnights) == ["negative"], "no wires bear 5 MWh in a day"


def test_a_rate_that_goes_back_is_found_though_the_total_grows() -> None:
    midnights = past(A_DAY_WH)
    midnights[DAY] = Frozen((280_000, 200_000, 80_000), CONCENTRATOR, 1)
    midnights[DAY + 1] = Frozen((290_000, 211_000, 79_000), CONCENTRATOR, 2)
    assert rules(midnights) == ["negative"]


@pytest.mark.parametrize(
    ("registers", "off_wh"),
    [
        ((1000, 600, 400), 0),
        ((1030, 600, 400), 0),
        ((1031, 600, 400), 31),
        ((900, 600, 400), -100),
        ((1000, 0, 0), 0),
        ((10, MODULUS_WH - 20, 40), 0),
        ((1000,), 0),
        ((), 0),
    ],
)
def test_rates_add_up_within_the_steps_of_their_registers(
    registers: tuple[int, ...], off_wh: int
) -> None:
    assert uneven_wh(registers) == off_wh


def test_a_day_without_its_midnights_says_so_and_nothing_else() -> None:
    midnights = past(A_DAY_WH)
    del midnights[DAY]
    assert rules(midnights) == []
    del midnights[DAY + 1]
    assert rules(midnights) == ["gap"]


# --- estimates ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("points", "found"),
    [
        ([], None),
        ([(200, 5, BETWEEN_READINGS)], None),
        ([(0, 100, BETWEEN_READINGS)], None),
        (
            [(0, 100, BETWEEN_READINGS), (200, 300, BETWEEN_READINGS)],
            Estimate(200, BETWEEN_READINGS, 100, 300),
        ),
        (
            [
                (0, 0, BETWEEN_MIDNIGHTS),
                (50, 80, BETWEEN_MIDNIGHTS),
                (200, 230, BETWEEN_MIDNIGHTS),
            ],
            Estimate(130, BETWEEN_MIDNIGHTS, 80, 230),
        ),
        (
            [(0, 0, BETWEEN_MIDNIGHTS), (50, 80, BETWEEN_MIDNIGHTS)],
            Estimate(160, FROM_PAST, 80, None),
        ),
        ([(0, 900, BETWEEN_READINGS), (200, 300, BETWEEN_READINGS)], None),
        ([(0, 900, BETWEEN_READINGS), (50, 300, BETWEEN_READINGS)], None),
    ],
)
def test_an_estimate_lies_between_what_is_known(
    points: list[tuple[int, int, str]], found: Estimate | None
) -> None:
    assert estimate(points, 100) == found


# --- a village ----------------------------------------------------------------------------------


def frozen(village: Village, row: int, day: int, total_wh: int) -> int:
    fields = {"frozen_t2000": day * DAY_S, "registers_wh": [total_wh, *[0] * 7]}
    return village.write(RecordKind.FREEZE, fields, row).seq


HOUSEHOLDS = 6


@pytest.fixture(name="store")
def _store(tmp_path: Path) -> Any:
    """Yield a village of six: 0 is well, 1 came on day 2, 2 is silent, 3 is doubted and doubles,
    4 has readings and no midnight, 5 is of 1997; one more is only in the register."""
    village = village_of(HOUSEHOLDS, 1)
    late = 0
    for row in (0, 1, 2, 3, 4):
        for day in range(DAY - 28, DAY + 2):
            if day > DAY and row in (2, 4):
                continue
            use_wh = A_DAY_WH * (day - DAY + 28)
            if day > DAY and row == 3:
                use_wh += 200_000
            seq = frozen(village, row, day, use_wh)
            if day == DAY + 1 and row == 1:
                late = seq
    with Store(tmp_path / "village.db", create=True) as store:
        deliver(Ingest(store, KEYS), village)
        entries = [
            Entry(
                account_name(row), f"C-{row}", f"N{row}", meter=meter_address(row), district="D1"
            )
            for row in range(HOUSEHOLDS + 1)
        ]
        registry.take(store, entries)
        now = unix_of_t2000((DAY + 1) * DAY_S, store.zone())
        with store.writing() as database:
            run = database.run
            run("UPDATE contracts SET opened_at = 0")
            run("UPDATE records SET received_at = ?", (now + 3600,))
            run("UPDATE records SET received_at = ? WHERE seq = ?", (now + DAY_S, late))
            run("UPDATE concentrators SET seen_at = ?", (now + 7200,))
            run("UPDATE meters SET standard = 1 WHERE account = ?", (account_name(5),))
            for kind, row, detail in (
                ("LINE", 2, {"state": 1, "failures": 9, "ahead_s": 0}),
                ("LINE", 0, {"state": 3, "failures": 0, "ahead_s": 900}),
                ("FAULT", 3, {"reason": 7, "stopped": 0, "value": 1, "limit": 1}),
            ):
                run(
                    "INSERT INTO alarms (concentrator, seq, t2000, kind, account, detail) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    (7, 9000 + row, DAY * DAY_S + 60, kind, account_name(row), json.dumps(detail)),
                )
            for row in (4, 5):
                run(
                    "INSERT INTO readings VALUES (?, ?, ?, 7, ?, ?, 0, 0, 0, 0, 0, ?)",
                    (DAY, meter_address(row), DAY * DAY_S + 9, row + 1, account_name(row), "[9]"),
                )
        yield store


def test_read_success_counts_meters_by_the_day_on_which_they_came(store: Store) -> None:
    (one,) = read_success.read_success(store, DAY)
    assert (one.meters, one.there, one.missing, one.unregistered) == (6, 4, 2, 1)
    assert (one.day1, one.day2, one.day3) == (3, 4, 4)
    assert one.told()["rate_e4"] == 6666
    assert one.told()["day1_e4"] == 5000
    for by, name in (("district", "D1"), ("concentrator", "7")):
        assert [(row.name, row.there) for row in read_success.read_success(store, DAY, by)] == [
            (name, 4)
        ]


def test_a_rate_is_not_rounded_up_and_says_nothing_where_times_are_deleted(store: Store) -> None:
    assert read_success.Success("", 100_000, 99_999).rate_e4() == 9999
    assert read_success.Success("").rate_e4() is None
    with store.writing() as database:
        database.run("DELETE FROM records WHERE kind = 14")
    (one,) = read_success.read_success(store, DAY)
    assert (one.there, one.told()["day1_e4"]) == (4, None)


def test_each_meter_that_is_missing_has_a_reason(store: Store) -> None:
    found = {one.account: one.why for one in read_success.missing(store, DAY)}
    assert found == {
        account_name(2): read_success.METER_SILENT,
        account_name(4): read_success.NO_MIDNIGHT,
        account_name(6): read_success.NEVER_REGISTERED,
    }
    with store.writing() as database:
        database.run("UPDATE concentrators SET seen_at = 0")
    found = {one.account: one.why for one in read_success.missing(store, DAY)}
    assert found[account_name(2)] == read_success.CONCENTRATOR_SILENT
    told = (unix_of_t2000(DAY * DAY_S, store.zone()),)
    with store.writing() as database:
        database.run("UPDATE concentrators SET refused = 'journal', refused_at = ?", told)
    found = {one.account: one.why for one in read_success.missing(store, DAY)}
    assert found[account_name(2)] == read_success.REFUSED


def test_what_is_suspect_is_listed_with_its_record_and_estimates_are_stored_nowhere(
    store: Store,
) -> None:
    before = store.rows("SELECT count(*) AS freezes FROM freezes")
    found = quality_report.of_day(store, DAY)
    assert {row["account"]: row["rules"] for row in found["suspects"]} == {
        account_name(0): ["clock"],
        account_name(3): ["spike", "doubt"],
    }
    assert found["rules"] == {"spike": 1, "clock": 1, "doubt": 1, "gap": 2}
    seq = found["suspects"][0]["seq"]
    kind = store.value("SELECT kind FROM records WHERE concentrator = 7 AND seq = ?", (seq,))
    assert kind == RecordKind.FREEZE
    guesses = {row["account"]: (row["total_wh"], row["how"]) for row in found["missing"]}
    assert guesses[account_name(2)] == (290_000, FROM_PAST)
    assert store.rows("SELECT count(*) AS freezes FROM freezes") == before


def test_a_new_meter_has_no_past(store: Store) -> None:
    zone = store.zone()
    with store.writing() as database:
        for since, meter in ((DAY - 90, "000000000001"), (DAY, meter_address(3))):
            database.run(
                "INSERT INTO installations (account, meter, since_at) VALUES (?, ?, ?)",
                (account_name(3), meter, unix_of_t2000(since * DAY_S + 60, zone)),
            )
    (one,) = quality.judged(store, DAY, account=account_name(3))
    assert [mark.rule for mark in one.marks] == ["doubt", "exchange"]


def test_two_concentrators_that_do_not_agree_are_found(store: Store) -> None:
    with store.writing() as database:
        for row, registers in ((0, "[290000]"), (1, "[290010]")):
            database.run(
                "INSERT INTO freezes VALUES (?, ?, ?, 8, 1, ?, ?)",
                (DAY + 1, meter_address(row), (DAY + 1) * DAY_S, account_name(row), registers),
            )
    found = {one.place.account: one for one in quality.suspects(store, DAY)}
    assert [mark.rule for mark in found[account_name(1)].marks] == ["duplicate"]
    assert [mark.rule for mark in found[account_name(0)].marks] == ["clock"], "both say the same"


def test_as_a_station_types_it(store: Store) -> None:
    path = store.address
    words = ["headend", "quality", "--db", path]
    run = CliRunner().invoke(cli, [*words, "--day", "2026-02-03", "--json"])
    assert run.exit_code == 0, run.output
    told = json.loads(run.stdout)["quality"]
    assert told["day"] == "2026-02-03"
    assert told["reasons"]["never registered"] == 1
    run = CliRunner().invoke(cli, [*words, "--day", "2026-02-03"])
    assert "66.66 %" in run.stdout
    assert "far more than in the past" in run.stdout.replace("\n", " ")
    run = CliRunner().invoke(cli, [*words, "--month", "2026-02", "--json"])
    days = json.loads(run.stdout)["quality"]
    assert [row["there"] for row in days[:4]] == [5, 5, 4, 0], "no reading of 1997 on the others"
    for wrong in (["--month", "2026-13"], ["--month", "2026-02", "--day", "2026-02-03"]):
        run = CliRunner().invoke(cli, [*words, *wrong])
        assert run.exit_code == 2
        assert "Traceback" not in run.stderr


# --- the readings of a day ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("after_s", "registers", "rule"),
    [
        (3600, (100_500, 40_200), None),
        (3600, (100_000, 40_000), None),
        (3600, (99_990, 41_000), "negative"),
        (3600, (150_000, 56_001), None),
        (3600, (150_000, 56_030), "high"),
        (60, (101_000, 40_200), "high"),
        (0, (100_010, 40_000), "duplicate"),
        (0, (100_000, 40_000), None),
    ],
)
def test_each_reading_is_held_against_the_one_before(
    after_s: int, registers: tuple[int, ...], rule: str | None
) -> None:
    told = [(7, 1, 1000, (100_000, 40_000)), (7, 2, 1000 + after_s, registers)]
    found = quality.judge_readings(told)
    assert {key: mark.rule for key, mark in found.items()} == ({(7, 2): rule} if rule else {})


def test_a_reading_behind_the_end_of_its_register_is_valid() -> None:
    told = [(7, 1, 0, (MODULUS_WH - 300,)), (7, 2, 3600, (700,)), (7, 3, 7200, (900,))]
    (mark,) = quality.judge_readings(told).values()
    assert (mark.rule, mark.state, mark.value) == ("rollover", "valid", 1000)


def test_readings_of_a_day_are_marked_with_their_records(store: Store) -> None:
    with store.writing() as database:
        for seq, (after_s, wh) in enumerate(((60, 5_000), (3660, 5_400), (7260, 5_100)), 7001):
            database.run(
                "INSERT INTO readings VALUES (?, ?, ?, 7, ?, ?, 0, 0, 0, 0, 0, ?)",
                (
                    *(DAY, meter_address(0), DAY * DAY_S + after_s),
                    *(seq, account_name(0), f"[{wh}]"),
                ),
            )
    found = quality.reading_marks(store, account_name(0), DAY)
    assert {key: (mark.rule, mark.value) for key, mark in found.items()} == {
        (7, 7003): ("negative", -300)
    }


def test_a_freeze_of_rates_has_its_total_first_and_bills_their_sum(store: Store) -> None:
    """A household that is charged by the hour: readings have its rates, freezes the total too."""
    with store.writing() as database:
        database.run(
            "DELETE FROM freezes WHERE meter = ? AND day > ?", (meter_address(0), DAY - 2)
        )
        for day, rates in (
            (DAY, (100_000, 150_000, 30_000)),
            (DAY + 1, (104_000, 155_000, 31_000)),
        ):
            told = json.dumps([sum(rates), *rates])
            place = (day, meter_address(0), day * DAY_S, 8000 + day, account_name(0), told)
            database.run("INSERT INTO freezes VALUES (?, ?, ?, 7, ?, ?, ?)", place)
    (one,) = quality.judged(store, DAY, account=account_name(0))
    assert (one.use_wh, [mark.rule for mark in one.marks]) == (A_DAY_WH, ["clock"])
    with store.writing() as database:  # one rate counts twice: the total is its own register
        told = json.dumps([290_000, 104_000, 155_000, 62_000])
        database.run(
            "UPDATE freezes SET registers_wh = ? WHERE meter = ? AND day = ?",
            (told, meter_address(0), DAY + 1),
        )
    (one,) = quality.judged(store, DAY, account=account_name(0))
    assert (one.use_wh, [mark.rule for mark in one.marks]) == (A_DAY_WH, ["rates", "clock"])
    found = estimates(store, DAY + 1, meters_of(store, account=account_name(0)))
    assert found[account_name(0)].total_wh == 290_000, "an estimate takes the total, and no sum"
