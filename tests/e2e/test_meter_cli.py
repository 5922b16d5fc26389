"""Goal: a technician finds, reads, writes and switches meters, on a line of the PC and through
a concentrator alike, and is told in a sentence what is wrong.

Method: the real command line against simulated meters, over TCP and through the firmware on a real
MicroPython whose meters are on a pseudo terminal.
"""

import json
import subprocess
import sys
from collections.abc import Iterator

import device
import pytest
from click.testing import CliRunner, Result

from host.cli import cli

pytestmark = pytest.mark.xdist_group("meter-cli")

PASSWORD = {"DIANKA_METER_PASSWORD": "02000000", "DIANKA_METER_NEW_PASSWORD": "02123456"}
WRONG = {"DIANKA_METER_PASSWORD": "02999999"}


def meters(*arguments: str) -> Iterator[str]:
    """Serve meters until the end; gives the name they are served on."""
    command = [sys.executable, "-u", "-m", "host.cli", "sim", "meters", "--baud", "9600"]
    process = subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = process.stdout.readline()
    try:
        yield said.split(" on ")[1].strip()
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module", params=["direct", "concentrator"])
def way(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[str]]:
    """Options that reach five meters."""
    if request.param == "direct":
        for name in meters("--count", "5", "--tcp", "127.0.0.1:0"):
            yield ["--port", name, "--baud", "9600"]
        return
    folder = tmp_path_factory.mktemp("device")
    for name in meters("--count", "5", "--link", str(folder / "line")):
        with device.running(folder / "flash.bin", name) as running:
            yield ["--console", running.url]


def ask(way: list[str], *words: str, environment: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(cli, ["meter", *way, *words], env=environment)


@pytest.mark.slow
def test_all_meters_are_found(way: list[str]) -> None:
    found = json.loads(ask(way, "--json", "scan").output)

    assert found["addresses"] == [f"{number:012d}" for number in range(1, 6)]
    assert found["questions"] > 5


def test_items_are_read_by_name_and_by_digits(way: list[str]) -> None:
    said = json.loads(ask(way, "--json", "read", "3", "voltage", "04000503").output)

    assert said[0]["address"] == "000000000003"
    assert said[0]["di"] == "0201FF00"
    assert said[0]["items"][0] == {"value": "220.0", "unit": "V"}
    assert said[1]["name_zh"] == "电表运行状态字3"


def test_a_relay_is_switched_and_looked_at(way: list[str]) -> None:
    tripped = ask(way, "relay", "4", "trip", "--yes", environment=PASSWORD)
    assert tripped.exit_code == 0, tripped.output
    assert "relay open" in tripped.output

    closed = ask(way, "relay", "4", "close", "--yes", environment=PASSWORD)
    assert "relay open" not in closed.output


def test_a_wrong_password_is_told(way: list[str]) -> None:
    refused = ask(way, "relay", "2", "trip", "--yes", environment=WRONG)

    assert refused.exit_code == 1
    assert "password" in refused.output
    assert "relay open" not in refused.output


def test_what_does_damage_asks_first(way: list[str]) -> None:
    for words in (["relay", "2", "trip"], ["clear", "2", "meter"], ["password", "2"]):
        refused = ask(way, *words, environment=PASSWORD)
        assert refused.exit_code == 1
        assert "Abort" in refused.output


def test_a_clock_is_set_and_read_back(way: list[str]) -> None:
    done = ask(way, "--json", "time", "1", "--set", environment=PASSWORD)

    assert abs(json.loads(done.output)["ahead_s"]) <= 60


def test_freezes_and_passwords(way: list[str]) -> None:
    assert "instant freeze set" in ask(way, "freeze", "5").output
    changed = ask(way, "password", "5", "--level", "2", "--yes", environment=PASSWORD)
    assert "password changed" in changed.output
    old = ask(way, "clear", "5", "demand", "--yes", environment=PASSWORD)
    assert "password" in old.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["read", "99", "voltage"], "no answer"),
        (["read", "1", "nonsense"], "no identifier is called 'nonsense'"),
        (["read", "1", "phase voltage"], "may be one of"),
        (["read", "12x", "voltage"], "address 12x"),
        (["write", "1", "voltage", "twelve", "--yes"], "no single number"),
        (["freeze", "1", "--at", "noon"], "a time is like"),
    ],
)
def test_mistakes_get_a_sentence(way: list[str], words: list[str], said: str) -> None:
    refused = ask(way, *words, environment=PASSWORD)

    assert refused.exit_code != 0
    assert said in refused.output
    assert "Traceback" not in refused.output
