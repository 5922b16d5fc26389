"""Goal: the days that a meter's freezes are missing of are found, asked for in bounds, and what
arrives counts once.

Method: a village whose concentrator writes readings and some freezes; commands are given day by
day, answered or not, and the freezes arrive as records, twice.
"""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from host.cli import cli
from host.frames.record import RecordKind
from host.headend import commands
from host.headend.commands import Given
from host.headend.estimates import LOAD_PROFILE, estimates
from host.headend.ingest import Ingest
from host.headend.missed import missed
from host.headend.places import meters_of
from host.headend.store import Store
from host.sim.history import Freeze
from host.sim.items_2007 import load_record
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

DAY = START_T2000 // DAY_S  # 2025-12-25, when the village was read
LATER = 10


def frozen(village: Village, row: int, day: int) -> None:
    fields = {"frozen_t2000": day * DAY_S, "registers_wh": [1000, 600, 400, 0, 0, 0, 0, 0]}
    village.write(RecordKind.FREEZE, fields, row)


@pytest.fixture(name="path")
def _path(tmp_path: Path) -> Path:
    path = tmp_path / "village.db"
    village = village_of(3, 1)
    for row, days in ((0, (1, 2, 5, 9)), (1, range(10))):
        for day in days:
            frozen(village, row, DAY + day)
    with Store(path, create=True) as store:
        deliver(Ingest(store, KEYS), village)
    return path


def now(store: Store, day: int) -> int:
    return unix_of_t2000((DAY + day) * DAY_S + 3600, store.zone())


def give(store: Store, day: int, days: int = 30, limit: int = 9) -> list[str]:
    """Give what is missing on a day; return the commands."""
    at = now(store, day)
    targets = missed(store, days, limit, at)
    if targets:
        commands.give(store, "freezes", targets, Given(expires_at=at + DAY_S, at=at))
    return [one.text for one in targets]


def end(store: Store) -> None:
    """Let all commands be done."""
    with store.writing() as database:
        database.run("UPDATE commands SET state = 'done'")


def test_the_oldest_missing_day_of_each_meter_is_asked_for(path: Path) -> None:
    with Store(path) as store:
        asked = [f"freezes {account_name(0)} 2025-12-25", f"freezes {account_name(2)} 2025-12-25"]
        assert give(store, LATER, limit=1) == asked[:1]
        assert give(store, LATER) == asked[1:], "the first is under way"
        end(store)
        assert give(store, LATER) == [], "a meter is asked once a day"
        assert give(store, LATER + 30) == [], "no meter was there in these thirty days"


def test_a_day_that_no_meter_has_is_asked_for_three_times_and_then_the_next(path: Path) -> None:
    with Store(path) as store:
        asked = []
        for day in range(LATER, LATER + 5):
            asked += [text for text in give(store, day) if account_name(0) in text]
            end(store)
        assert [text[-5:] for text in asked] == ["12-25"] * 3 + ["12-28"] * 2


def test_a_day_that_a_meter_did_not_have_is_asked_for_from_its_load_profile(path: Path) -> None:
    with Store(path) as store:
        for day in range(LATER, LATER + 3):
            give(store, day)
            end(store)
        at = now(store, LATER + 3)
        asked = [one for one in missed(store, 30, 9, at, profile=True) if "line ask" in one.text]
        assert [one.account for one in asked] == [account_name(0), account_name(2)]
        assert asked[0].text == f"line ask 0 {meter_address(0)} 11 01000406010000251225"
        assert "line ask" not in str(missed(store, 30, 9, at))
        commands.give(store, "profile", asked, Given(expires_at=at + DAY_S, at=at))
        number = store.value("SELECT min(number) FROM commands WHERE text LIKE 'line ask%'")
        answer = "data 01000406" + load_record(Freeze(DAY * DAY_S, (77_770,)), 4).hex()
        with store.writing() as database:
            commands.note_result(database, CONCENTRATOR, number, 0, answer, at)
        (item,) = store.rows('SELECT meter, t2000, identifier, "values" FROM items')
        assert (item["t2000"], item["values"]) == (DAY * DAY_S, [77_770])
        ((account, told),) = estimates(
            store, DAY, meters_of(store, account=account_name(0))
        ).items()
        assert (account, told.total_wh, told.how) == (account_name(0), 77_770, LOAD_PROFILE)
        assert store.value("SELECT count(*) FROM freezes WHERE day = ?", (DAY,)) == 1
        end(store)
        again = missed(store, 30, 9, at + DAY_S, profile=True)
        assert asked[0].text not in [one.text for one in again], "it has told"


def test_what_arrives_is_stored_once_with_its_record_and_charges_nothing(path: Path) -> None:
    village = village_of(3, 1)
    for row, days in ((0, (1, 2, 5, 9)), (1, range(10))):
        for day in days:
            frozen(village, row, DAY + day)
    first = village.durable_seq + 1
    for day in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9):
        frozen(village, 0, DAY + day)
    with Store(path) as store:
        balance = "SELECT credit_fen - debit_fen FROM accounts WHERE account = ?"
        before = store.value(balance, (account_name(0),))
        deliver(Ingest(store, KEYS), village, 2)
        rows = store.rows(
            "SELECT day, seq FROM freezes WHERE meter = ? ORDER BY day", (meter_address(0),)
        )
        assert [row["day"] - DAY for row in rows] == list(range(10))
        assert sum(row["seq"] >= first for row in rows) == 6
        assert store.value(balance, (account_name(0),)) == before
        end(store)
        assert [text[8:20] for text in give(store, LATER)] == [account_name(2)]


def test_meters_of_1997_and_those_that_were_removed_are_not_asked(path: Path) -> None:
    with Store(path) as store:
        with store.writing() as database:
            sql = "UPDATE meters SET standard = 1 WHERE account = ?"
            database.run(sql, (account_name(0),))
            sql = "UPDATE meters SET active = 0 WHERE account = ?"
            database.run(sql, (account_name(2),))
        assert give(store, LATER) == []


def test_as_a_station_types_it(path: Path) -> None:
    words = ["headend", "job", "missed", "--db", str(path)]
    run = CliRunner().invoke(cli, [*words, "--json"])
    assert (run.exit_code, json.loads(run.stdout)) == (0, {"job": None, "commands": 0})
    run = CliRunner().invoke(cli, words)
    assert run.stdout == "no day is missing that may be asked for now\n"
    for wrong in (["--days", "62"], ["--limit", "0"]):
        run = CliRunner().invoke(cli, [*words, *wrong])
        assert run.exit_code == 2
        assert "Traceback" not in run.stderr
