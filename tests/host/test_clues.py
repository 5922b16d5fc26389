"""Goal: whoever takes energy, or has a fault, is found by what the meters told, and nobody else.

Method: a district of quiet neighbours; one thing happens to one of them, and that one alone must
stand in the list with that evidence, its time and its record.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from host.cli import cli
from host.headend import clues
from host.headend.store import Store
from host.units import DAY_S
from tests.host.test_losses import DAY, SUM_METER, freeze, village

pytestmark = pytest.mark.slow

NAMES = 6
THIEF = "000000000003"
FIRST = DAY - 40


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "village.db", create=True) as opened:
        yield opened


def lived(store: Store, used_wh: Callable[[str, int], int], real_wh: int = 8000) -> None:
    """Write the freezes of forty days; the sum meter has what was used in truth."""
    accounts = village(store, NAMES, ratio=1)
    days = range(FIRST, DAY + 2)
    for one in accounts:
        wh, told = 0, {}
        for day in days:
            told[day] = wh
            wh += used_wh(one, day)
        freeze(store, one, told)
    freeze(store, SUM_METER, {day: (day - FIRST) * NAMES * real_wh for day in days})


def item(
    store: Store, account: str, t2000: int, identifier: str, values: list[int | None]
) -> None:
    columns = (
        *("day", "meter", "t2000", "identifier", "concentrator", "seq", "account", "values"),
    )
    row = (t2000 // DAY_S, account, t2000, identifier, 7, t2000 % 99991, account)
    with store.writing() as database:
        database.insert_new("items", columns, [(*row, json.dumps(values))])


def found(store: Store) -> dict[str, set[str]]:
    ranked = clues.clues(store, DAY - 10, DAY + 1, "R4")
    return {one.account: {reason.kind for reason in one.evidence} for one in ranked}


def test_nothing_is_found_where_nothing_happened(store: Store) -> None:
    lived(store, lambda _account, day: 7500 + 500 * (day % 3))
    assert found(store) == {}


def test_a_drop_of_use_that_the_district_loses(store: Store) -> None:
    since = DAY - 8

    def used_wh(account: str, day: int) -> int:
        return 1000 if account == THIEF and day >= since else 8000

    lived(store, used_wh)
    (clue,) = clues.clues(store, DAY - 10, DAY + 1)
    assert (clue.account, clue.district) == (THIEF, "R4")
    assert {one.kind for one in clue.evidence} == {clues.DROP, clues.MATCHED}
    assert {one.t2000 // DAY_S for one in clue.evidence} == {since}
    assert (clue.evidence[0].value, clue.evidence[0].limit) == (1000, 8000)
    assert clue.score >= 30


def test_a_journey_is_no_more_than_a_drop(store: Store) -> None:
    """A family that is away uses less, and the district loses nothing."""
    since = DAY - 8
    accounts = village(store, NAMES, ratio=1)
    total: dict[int, int] = dict.fromkeys(range(FIRST, DAY + 2), 0)
    for one in accounts:
        wh, told = 0, {}
        for day in range(FIRST, DAY + 2):
            told[day] = wh
            total[day] += wh
            wh += 1000 if one == THIEF and day >= since else 8000
        freeze(store, one, told)
    freeze(store, SUM_METER, total)
    assert found(store) == {THIEF: {clues.DROP}}


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        ([("03300D00", [2], 0), ("03300D00", [3], 1)], clues.COVER),
        ([("03300E00", [0], 0), ("03300E00", [1], 1)], clues.TERMINALS),
        ([("03350000", [0], 0), ("03350000", [4], 1)], clues.MAGNET),
        ([("00020000", [0], 0), ("00020000", [500], 1)], clues.REVERSE),
        ([("04000507", [0], 0), ("04000507", [1 << 8], 1)], clues.IMBALANCE),
        ([("04000507", [2], 0)], clues.ORDER),
        ([("0201FF00", [2200, 300, 2210], 0)], clues.PHASE),
        ([("0201FF00", [200], 0), ("0202FF00", [5000], 0)], clues.NO_VOLTAGE),
        ([("0202FF00", [1000], 0), ("02800001", [6000], 0)], clues.NEUTRAL),
    ],
)
def test_what_a_meter_tells(
    store: Store, told: list[tuple[str, list[int | None], int]], kind: str
) -> None:
    lived(store, lambda *_: 8000)
    noon = (DAY - 3) * DAY_S + DAY_S // 2
    for place in range(NAMES):
        item(store, f"{place + 1:012d}", noon + 1, "0201FF00", [2200])
    for identifier, values, later in told:
        item(store, THIEF, noon + later * DAY_S, identifier, values)
    look = clues.LIMITS.least_score
    if kind in (clues.IMBALANCE,):  # too little by itself
        assert clues.WEIGHTS[kind] < look
        assert found(store) == {}
        return
    assert found(store) == {THIEF: {kind}}
    (clue,) = clues.clues(store, DAY - 10, DAY + 1, "R4")
    record = (clue.evidence[0].concentrator, clue.evidence[0].t2000 % 99991)
    assert record == (7, clue.evidence[0].seq)


def test_what_a_concentrator_tells(store: Store) -> None:
    lived(store, lambda *_: 8000)
    common = ("concentrator", "seq", "t2000", "account")
    at = (DAY - 2) * DAY_S + 3600
    with store.writing() as database:
        for seq, (kind, detail) in enumerate(
            [
                ("FAULT", {"reason": 6, "value": 5, "limit": 9}),
                ("LINE", {"state": 3, "ahead_s": -7200}),
            ]
        ):
            row = (7, seq + 1, at, f"{seq + 1:012d}", kind, json.dumps(detail))
            database.insert_new("alarms", (*common, "kind", "detail"), [row])
        columns = (*common, "desired", "stage", "reason")
        database.insert_new("relays", columns, [(7, 9, at, THIEF, 1, 1, 16)])
    assert found(store) == {
        "000000000001": {clues.BACK},
        "000000000002": {clues.CLOCK},
        THIEF: {clues.RELAY},
    }


def test_registers_that_stand_still_and_answers_that_repeat(store: Store) -> None:
    lived(store, lambda account, day: 0 if account == THIEF and day >= DAY - 5 else 8000)
    item(store, THIEF, (DAY - 2) * DAY_S + 3600, "02030000", [12_000])
    kinds = found(store)[THIEF]
    assert {clues.STILL, clues.REPEATED, clues.DROP} <= kinds


def test_a_silent_meter_among_neighbours(store: Store) -> None:
    lived(store, lambda *_: 8000)
    with store.writing() as database:
        database.run("DELETE FROM freezes WHERE meter = ? AND day > ?", (THIEF, DAY - 6))
    assert found(store) == {THIEF: {clues.SILENT}}


def test_the_command_prints_them(store: Store, tmp_path: Path) -> None:
    lived(store, lambda account, day: 1000 if account == THIEF and day >= DAY - 8 else 8000)

    def run(*words: str) -> Any:
        told = ["headend", "clues", "--db", str(tmp_path / "village.db"), *words]
        result = CliRunner().invoke(cli, told, env={"COLUMNS": "160"})
        assert result.exit_code == 0, result.output
        return result.output

    (row,) = json.loads(run("--month", "2026-01", "--json"))["clues"]
    assert row["account"] == THIEF
    assert row["evidence"][0]["kind"] == clues.DROP
    assert THIEF in run("--month", "2026-01", "--district", "R4")
    assert "nothing is suspicious" in run("--day", "2020-01-01")
