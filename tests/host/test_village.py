"""A made village: the model's energy adds up, its records are genuine, the truth stays outside.

A small village is written once; its database is reconciled as any other, its freezes and readings
are compared with the energy of the model, and every kind of theft and fault is looked at alone.
"""

import json
import sqlite3
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from host.cli import cli as main
from host.headend.reconcile import reconcile
from host.headend.store import Store
from host.sim.village import kinds, wires
from host.sim.village.district import District
from host.sim.village.plan import VillageError, example, first_t2000, parse_village
from host.units import DAY_S
from host.village.writing import truth_path, write

_DAYS = 8
_SMALL = """
start: 2026-07-01
feeders:
  - name: F1
    districts:
      - name: A
        households: 9
        shops: 1
        thefts: [{kind: bypass, household: 3, from_day: 4, percent: 95}]
        faults: [{kind: silent, household: 5, from_day: 3, until_day: 5}]
        outages: 365
      - {name: B, households: 8, shops: 0, thefts: [{kind: by_hand, household: 2, from_day: 3}]}
"""


@pytest.fixture(scope="module")
def village(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("village") / "village.db"
    write(parse_village(_SMALL, "small"), _DAYS, 3, path, lambda _days: None)
    return path


def _records(path: Path) -> list[Any]:
    with sqlite3.connect(path) as database:
        return database.execute("SELECT * FROM records ORDER BY concentrator, seq").fetchall()


def test_books_agree(village: Path) -> None:
    with Store(village, read_only=True) as store:
        assert reconcile(store).differences == []
        assert store.database.value("SELECT count(*) FROM quarantine") == 0


def test_same_seed_same_records(village: Path, tmp_path: Path) -> None:
    again, other = tmp_path / "again.db", tmp_path / "other.db"
    write(parse_village(_SMALL, "small"), _DAYS, 3, again, lambda _days: None)
    assert _records(again) == _records(village)
    assert truth_path(again).read_text() == truth_path(village).read_text()
    write(parse_village(_SMALL, "small"), 2, 4, other, lambda _days: None)
    assert _records(other)[:200] != _records(village)[:200]


def test_freezes_have_the_energy_of_the_truth(village: Path) -> None:
    truth = json.loads(truth_path(village).read_text())
    first = first_t2000(parse_village(_SMALL, "small")) // DAY_S
    with Store(village, read_only=True) as store:
        rows = store.rows("SELECT day, account, registers_wh FROM freezes")
        ratios = dict(store.database.all("SELECT account, multiplier FROM accounts"))
    shown = {(r["account"], r["day"] - first): r["registers_wh"][0] for r in rows}
    for number, name in enumerate(("A", "B")):
        homes = [one for one in ratios if one.startswith(f"33000{number + 1:03d}")]
        assert homes == [] or len(homes) > 7
        homes = [one for one in ratios if int(one) // 10_000 == 33_000_000 + number + 1]
        sums = truth["districts"][name]
        counted = [
            sum((shown[a, day + 1] - shown[a, day]) * ratios[a] for a in homes)
            for day in range(_DAYS - 1)
            if all((a, day) in shown and (a, day + 1) in shown for a in homes)
        ]
        told = [
            sums[day]["counted_wh"]
            for day in range(_DAYS - 1)
            if all((a, day) in shown and (a, day + 1) in shown for a in homes)
        ]
        assert counted
        for one, other in zip(counted, told, strict=True):
            assert abs(one - other) <= 10 * 10 * len(homes)


def test_energy_adds_up(village: Path) -> None:
    truth = json.loads(truth_path(village).read_text())
    for days in truth["districts"].values():
        for day in days:
            parts = sum(
                day[name] for name in ("counted_wh", "technical_wh", "stolen_wh", "faulty_wh")
            )
            assert abs(parts - day["supplied_wh"]) < day["supplied_wh"] // 50
    assert {one["kind"] for one in truth["troubles"]} == {"bypass", "silent", "by_hand"}


def test_truth_is_in_no_table(village: Path) -> None:
    with sqlite3.connect(village) as database:
        text = "\n".join(database.iterdump())
    for word in ("bypass", "by_hand", "stolen", "theft"):
        assert word not in text


def test_silent_meter_is_caught_up_with(village: Path) -> None:
    with Store(village, read_only=True) as store:
        account = "330000010005"
        rows = store.rows(
            "SELECT freezes.day, records.received_at FROM freezes JOIN records USING "
            "(concentrator, seq) WHERE account = ? ORDER BY day",
            (account,),
        )
        states = store.database.all(
            "SELECT detail FROM alarms WHERE kind = 'LINE' AND account = ? ORDER BY t2000",
            (account,),
        )
    assert [json.loads(one)["state"] for (one,) in states if json.loads(one)["failures"] != 3][:1]
    late = [one["received_at"] // DAY_S - one["day"] for one in rows]
    assert len(set(late)) > 1


def test_refuses_what_is_there(village: Path) -> None:
    with pytest.raises(VillageError, match="is there already"):
        write(parse_village(_SMALL, "small"), 2, 3, village, lambda _days: None)
    assert len(_records(village)) > 1000


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("feeders: []", "feeders"),
        ("- a", "the file"),
        ("feeders: [{name: a, districts: [{name: b}, {name: b}]}]", "is there twice"),
        ("feeders: [{name: a, districts: [{name: b, thefts: [{kind: magic}]}]}]", "no kind"),
        (
            "feeders: [{name: a, districts: [{name: b, households: 3, "
            "thefts: [{kind: hook, household: 9}]}]}]",
            "no household 9",
        ),
        ("feeders: [{name: a, districts: [{name: b, households: 0}]}]", "households"),
        ("feeders: {", "not YAML"),
    ],
)
def test_bad_description(text: str, what: str) -> None:
    with pytest.raises(VillageError, match=what):
        parse_village(text, "village.yaml")


def test_command(tmp_path: Path) -> None:
    run = CliRunner().invoke
    shown = run(main, ["--lang", "en", "sim", "village", "--example"])
    assert shown.exit_code == 0
    assert parse_village(shown.output, "x") == parse_village(example(), "y")
    file, into = tmp_path / "v.yaml", tmp_path / "v.db"
    file.write_text(_SMALL, encoding="utf-8")
    asked = ["--lang", "en", "sim", "village", str(file), "--days", "1", "--into", str(into)]
    made = run(main, [*asked, "--json"])
    assert made.exit_code == 0, made.output
    assert json.loads(made.output)["accounts"] == 18
    again = run(main, asked)
    assert again.exit_code == 1
    assert "is there already" in again.output


# --- the model ---------------------------------------------------------------------------------


def test_line_of_one_pole() -> None:
    """A pure resistance and one load: the loss is what a person computes."""
    random = np.random.RandomState(1)
    line = wires.Line(np.zeros(1, bool), 1, 100.0, 35.0, 100, random)
    line.node[:] = 0
    line._at[:] = [[1.0], [0.0]]
    watts = np.full((1, 24), 2200.0)
    flow = line.flow(watts, np.full((1, 24), 230.0), np.ones((3, 24)))
    amps = 2200 / (flow.volts[0, 0] * wires.POWER_FACTOR)
    ohm = 31.5 / 35 * 0.1
    service = 2 * 31.5 / 10 * line.service_m[0] / 1000
    thin = 2 * 31.5 / 4 * line.service_m[0] / 1000
    lost = [amps**2 * (2 * ohm + one) for one in (service, thin)]
    assert min(abs(flow.line_w[0] - one) for one in lost) < 0.5
    assert 190 < flow.volts[0, 0] < 229


def test_loss_grows_with_the_square() -> None:
    random = np.random.RandomState(2)
    line = wires.Line(np.zeros(30, bool), 2, 40.0, 35.0, 100, random)
    one = line.flow(np.full((30, 24), 200.0), np.full((1, 24), 230.0), np.ones((3, 24)))
    two = line.flow(np.full((30, 24), 400.0), np.full((1, 24), 230.0), np.ones((3, 24)))
    assert 3.9 < two.line_w[0] / one.line_w[0] < 4.8
    far = np.argmax(line.distance_m)
    assert two.volts[far, 0] < one.volts[far, 0] < 230


def _alone(kind: str, days: int = 40) -> tuple[District, list[Any]]:
    group = "thefts" if kind in kinds.THEFTS else "faults"
    place = "" if kind == kinds.UNREGISTERED else "household: 21, "
    text = (
        "feeders: [{name: F, districts: [{name: D, households: 20, shops: 1, outages: 0, "
        f"{group}: [{{kind: {kind}, {place}from_day: 10}}]}}]}}]"
    )
    plan = parse_village(text, "alone")
    district = District(plan.districts[0], plan.start, days, 5, 100)
    return district, [district.day(number, 15.0) for number in range(days)]


@pytest.mark.parametrize("kind", [*kinds.THEFTS, *kinds.FAULTS])
def test_each_kind_does_what_it_says(kind: str) -> None:
    _district, days = _alone(kind)
    row = kinds.THEFTS.get(kind)
    before, after = days[2:10], days[10:]
    lost = [sum(d.truth.stolen_wh + d.truth.faulty_wh for d in part) for part in (before, after)]
    own = [np.mean([d.counted_wh[20].sum() for d in part]) for part in (before, after)]
    assert lost[0] == 0
    if kind in (kinds.CLOCK_OFF, kinds.SILENT, kinds.BY_HAND):
        assert abs(lost[1]) < 0.03 * sum(d.truth.counted_wh for d in after)
    else:
        assert lost[1] > 0
    if kind in (kinds.BYPASS, kinds.REVERSED, kinds.STUCK, kinds.REPLAYED):
        assert own[1] < own[0] / 4
    if row is not None and row.neutral:
        gaps = [int(d.neutral_ma[20] - d.phase_ma[20]) for d in after]
        assert max(gaps) > 500
    if kind == kinds.REVERSED:
        assert days[-1].reverse_wh[20] > 1000
    if kind == kinds.MAGNET:
        assert days[-1].magnets[20] > 3
    if kind == kinds.SET_BACK:
        assert _district_goes_back(days)
    if kind == kinds.DEAD_PHASE:
        assert (after[0].three_volts[20].min(axis=1) == 0).sum() == 1
    if kind in (kinds.SILENT, kinds.NEUTRAL):
        assert any(d.silent[20].any() for d in after)
    if kind == kinds.CLOCK_OFF:
        assert abs(int(after[0].offset_s[20])) == 10_800
    if kind == kinds.BY_HAND:
        assert all(d.is_cut[20] for d in after)


def _district_goes_back(days: list[Any]) -> bool:
    days = [int(one.start_wh[20]) for one in days]
    return any(b < a for a, b in pairwise(days))
