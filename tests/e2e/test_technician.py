"""Goal: a technician with a noisy line, a slow converter and three kinds of meters does a day's
work: finds, reads, sets, switches and exports.

Method: one simulated line has a single-phase meter of 2007 and one of 1997, another a three-phase
meter. Both lose and spoil what is said, as their seeds draw it. The real command line reaches them
over TCP, behind converters that delay each byte.
"""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from openpyxl import load_workbook
from test_meter_cli import PASSWORD, SlowWay, ask, meters

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("technician")]

ROUND_TRIP_S = 0.3
SINGLE, THREE, OLD = "000000000017", "000000000042", "000000000097"
FAULTS = "{lost_request: 0.03, lost_reply: 0.03, noise: 0.05, flip_bit: 0.0003}"
LINES = (f"[{{address: '{SINGLE}'}}, {{address: '{OLD}', profile: relay-1997}}]",)
LINES += (f"[{{address: '{THREE}', profile: three-phase}}]",)


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[list[str]]]:
    """Yield the options that reach each line through its converter."""
    with contextlib.ExitStack() as held:
        found = []
        for number, meters_of in enumerate(LINES):
            plan = tmp_path_factory.mktemp("line") / "meters.yaml"
            plan.write_text(f"baud: 9600\nfaults: {FAULTS}\nmeters: {meters_of}\n")
            served = contextlib.contextmanager(meters)
            name = held.enter_context(
                served("--file", str(plan), "--seed", str(22 + number), "--tcp", "127.0.0.1:0")
            )
            slow = held.enter_context(contextlib.closing(SlowWay(name, ROUND_TRIP_S)))
            way = ["--port", slow.url, "--baud", "9600", "--retries", "6", "--timeout", "0.8"]
            found.append(way)
        yield found


@pytest.fixture
def way(ways: list[list[str]]) -> list[str]:
    return ways[0]


def test_three_kinds_of_meters_are_found(ways: list[list[str]]) -> None:
    for way, standard, address in (
        *((ways[0], "2007", SINGLE), (ways[0], "1997", OLD), (ways[1], "2007", THREE)),
    ):
        told = ask([*way, "--standard", standard], "--json", "scan")
        assert json.loads(told.output)["addresses"] == [address]


def test_each_kind_is_read_as_it_is(way: list[str], ways: list[list[str]]) -> None:
    for line, address, phases in (
        *((way, SINGLE, ["220.0", None, None]), (ways[1], THREE, ["220.0"] * 3)),
    ):
        said = json.loads(ask(line, "--json", "read", address, "0201FF00").output)
        assert [one["value"] for one in said["items"]] == phases
        assert [one["part"] for one in said["items"]] == ["phase A", "phase B", "phase C"]
    old = json.loads(ask([*way, "--standard", "1997"], "--json", "read", OLD, "9010").output)
    assert (old["standard"], old["items"][0]["unit"]) == ("1997", "kWh")


def test_the_time_of_all_is_set_in_a_named_zone(way: list[str]) -> None:
    sent = ask(way, "time", "any", "--broadcast", "--zone", "Asia/Urumqi")
    assert (sent.exit_code, "sent to all meters" in sent.output) == (0, True)
    for address, standard in ((SINGLE, "2007"), (OLD, "1997")):
        words = ("--standard", standard, "time", address, "--zone", "Asia/Urumqi")
        done = ask(way, *words, "--set", environment=PASSWORD)
        assert done.exit_code == 0, done.output
        told = json.loads(ask(way, "--json", *words).output)
        assert abs(told["ahead_s"]) <= 60
        assert told["zone"] == "Asia/Urumqi"


def test_a_limit_is_set_and_supplies_are_switched(way: list[str], ways: list[list[str]]) -> None:
    written = ask(ways[1], "write", THREE, "04001001", "20.00", "--yes", environment=PASSWORD)
    assert (written.exit_code, "04001001 written" in written.output) == (0, True), written.output
    for action, state in (("trip", "the relay is open"), ("close", "the relay is closed")):
        for line, address in ((way, SINGLE), (ways[1], THREE)):
            done = ask(line, "relay", address, action, "--yes", environment=PASSWORD)
            assert (done.exit_code, state in done.output) == (0, True), done.output
    refused = ask([*way, "--standard", "1997"], "relay", OLD, "trip", environment=PASSWORD)
    assert (refused.exit_code, "1997 has no order to relay" in refused.output) == (2, True)


def test_a_list_is_exported(ways: list[list[str]], tmp_path: Path) -> None:
    listed = tmp_path / "meters.txt"
    listed.write_text(f"{THREE} 水泵\n# 旧表\n", "utf-8")
    for name in ("out.csv", "out.xlsx"):
        words = ("collect", str(listed), "0201FF00", "00010000", "--out", str(tmp_path / name))
        assert ask(ways[1], *words).exit_code == 0
    rows = (tmp_path / "out.csv").read_text("utf-8-sig").splitlines()
    assert [row.partition(",")[0] for row in rows] == ["meter", THREE]
    sheet = load_workbook(tmp_path / "out.xlsx").active
    assert sheet is not None
    assert sheet.max_row == 2
