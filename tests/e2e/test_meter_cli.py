"""Goal: a technician finds, reads, writes and switches meters, on a line of the PC and through a
concentrator alike, and a sentence says what is wrong.

Method: the real command line reaches simulated meters over TCP, and through the firmware on a real
MicroPython with its meters on a pseudo terminal.
"""

import contextlib
import json
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import device
import pytest
from click.testing import CliRunner, Result
from openpyxl import load_workbook

from host.cli import cli
from host.frames import dlt645
from host.link.meters import AskError, check_room
from host.link.port import Port

pytestmark = pytest.mark.xdist_group("meter-cli")

PASSWORD = {"DIANKA_METER_PASSWORD": "02000000", "DIANKA_METER_NEW_PASSWORD": "02123456"}
WRONG = {"DIANKA_METER_PASSWORD": "02999999"}


def meters(*arguments: str) -> Iterator[str]:
    """Serve meters until the end of the block; yield the name of their line."""
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
    """Yield the options that reach five meters."""
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
    assert said[0]["items"][0] == {"value": "220.0", "unit": "V", "part": "phase A"}
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
        assert "stopped at a question" in refused.output


def test_a_clock_is_set_and_read_back(way: list[str]) -> None:
    done = ask(
        way, "--json", "time", "1", "--set", "--zone", "Asia/Shanghai", environment=PASSWORD
    )

    assert abs(json.loads(done.output)["ahead_s"]) <= 60


def test_freezes_and_passwords(way: list[str]) -> None:
    assert "instant freeze set" in ask(way, "freeze", "5").output
    changed = ask(way, "password", "5", "--level", "2", "--yes", environment=PASSWORD)
    assert "password changed" in changed.output
    old = ask(way, "clear", "5", "demand", "--yes", environment=PASSWORD)
    assert "password" in old.output


def test_a_block_in_several_replies_is_read_whole(way: list[str]) -> None:
    ask(way, "clear", "3", "demand", "--yes", environment=PASSWORD)
    said = json.loads(ask(way, "--json", "read", "3", "03300201").output)

    # 202 bytes behind the identifier; a reply has 196 at most.
    assert said["more"] is False
    assert said["di"] == "03300201"
    # Time, operator, and 24 demands with their times.
    assert len(said["items"]) == 50


def test_any_function_is_sent_and_its_answer_shown(way: list[str]) -> None:
    said = json.loads(ask(way, "--json", "send", "3", "11", "00 01 01 02").output)
    assert (said["di"], said["items"][0]["value"]) == ("02010100", "220.0")

    refused = ask(way, "send", "3", "19", "02 99 99 99 00 00 00 00", "--yes")
    assert refused.exit_code == 1
    assert "password" in refused.output
    assert "stopped at a question" in ask(way, "send", "3", "19").output


@pytest.fixture(scope="module")
def serial_line(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve two meters on a pty, at the speed that the PC sets."""
    name = str(tmp_path_factory.mktemp("serial") / "line")
    for _ in meters("--count", "2", "--link", name, "--follow-baud"):
        yield name


def test_a_meter_is_moved_to_another_speed_and_back(serial_line: str) -> None:
    def at(baud: int, *words: str) -> Result:
        return ask(["--port", serial_line, "--baud", str(baud)], *words)

    moved = at(9600, "speed", "2", "2400", "--yes")
    assert moved.output == "meter 000000000002 answers at 2400 baud: reach it with --baud 2400\n"
    assert "220.0" in at(2400, "read", "2", "02010100").output
    assert "no answer" in at(9600, "read", "2", "02010100").output
    back = at(2400, "--json", "speed", "2", "9600", "--yes")
    assert json.loads(back.output) == {"meter": "000000000002", "baud": 9600}
    assert "220.0" in at(9600, "read", "2", "02010100").output


def test_a_speed_without_a_meter_is_told(serial_line: str) -> None:
    lost = ask(["--port", serial_line, "--baud", "9600"], "speed", "7", "2400", "--yes")

    assert lost.exit_code == 1
    assert "meter 000000000007 answers at neither speed" in lost.output


@pytest.fixture(scope="module")
def prepaid() -> Iterator[list[str]]:
    """Yield the options that reach two private meters, which take plain money."""
    served = meters("--count", "2", "--profile", "private", "--tcp", "127.0.0.1:0")
    for name in served:
        yield ["--port", name, "--baud", "9600"]


def pay(way: list[str], meter: str, order: str, *words: str) -> Result:
    plain = ["--item", "04900000", "--amount", "50"]
    return ask(way, "recharge", meter, order, *plain, *words, environment=PASSWORD)


def test_money_is_paid_into_a_meter_once(prepaid: list[str]) -> None:
    paid = pay(prepaid, "1", "1", "--yes")
    assert paid.output == "meter 000000000001 has booked order 1; it holds 50.00 yuan\n"
    assert pay(prepaid, "1", "1", "--yes").output == paid.output

    second = pay([*prepaid, "--json"], "1", "2", "--yes")
    assert json.loads(second.output) == {
        "meter": "000000000001",
        "order": 2,
        "booked": True,
        "outcome": "ok",
        "count": 2,
        "balance": "100.00",
    }


def test_an_order_that_is_not_the_meters_next_pays_nothing(prepaid: list[str]) -> None:
    refused = pay(prepaid, "2", "9", "--yes")

    assert refused.exit_code == 1
    assert "nothing was paid: the meter counts 0 purchases, so its next order is 1" in (
        refused.output
    )


def test_a_wrong_password_pays_nothing(prepaid: list[str]) -> None:
    words = ["recharge", "2", "1", "--item", "04900000", "--amount", "50", "--yes"]
    refused = ask(prepaid, *words, environment=WRONG)

    assert refused.exit_code == 1
    assert "refused: password" in refused.output
    assert "stopped at a question" in pay(prepaid, "2", "1").output
    gone = pay(prepaid, "7", "1", "--yes")
    assert gone.exit_code == 1
    assert "is not known: the meter does not answer" in gone.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["speed", "1", "2400", "--yes"], "a converter keeps its own speed"),
        (["speed", "1", "2500", "--yes"], "'2500' is not one of"),
        (["recharge", "1", "1"], "give --amount with --item, or --hex"),
        (["recharge", "1", "1", "--amount", "5"], "give --amount with --item, or --hex"),
        (["recharge", "any", "1", "--hex", "00"], "money goes to one meter"),
        (["recharge", "1", "1", "--hex", "0"], "--hex 0: pairs of hexadecimal digits"),
        (["recharge", "1", "1", "--hex", "00" * 201], "up to 200 bytes"),
        (["send", "1", "91"], "CONTROL 91: one byte below 40"),
        (["send", "1", "zz"], "CONTROL zz: pairs of hexadecimal digits"),
    ],
)
def test_what_cannot_be_sent_gets_a_sentence(
    prepaid: list[str], words: list[str], said: str
) -> None:
    refused = ask(prepaid, *words)

    assert refused.exit_code != 0
    assert said in refused.output


def test_money_and_speed_need_the_line_itself() -> None:
    way = ["--console", "socket://127.0.0.1:1"]
    for words in (["speed", "1", "2400", "--yes"], ["recharge", "1", "1", "--hex", "00", "--yes"]):
        assert ask(way, *words).exit_code != 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["read", "99", "voltage"], "no answer"),
        (["read", "1", "nonsense"], "no identifier is called 'nonsense'"),
        (["read", "1", "phase voltage"], "may be one of"),
        (["read", "12x", "voltage"], "'12x' is no address"),
        (["write", "1", "voltage", "twelve", "--yes"], "no single number"),
        (["freeze", "1", "--at", "noon"], "a time is like"),
    ],
)
def test_mistakes_get_a_sentence(way: list[str], words: list[str], said: str) -> None:
    refused = ask(way, *words, environment=PASSWORD)

    assert refused.exit_code != 0
    assert said in refused.output
    assert "Traceback" not in refused.output


# --- lists, raw bytes, watching, slow ways ------------------------------------------------------


@pytest.fixture(scope="module")
def line() -> Iterator[list[str]]:
    """Yield the options that reach three meters on a line of this machine."""
    for name in meters("--count", "3", "--tcp", "127.0.0.1:0"):
        yield ["--port", name, "--baud", "9600"]


def test_a_list_of_meters_is_read_into_a_file(line: list[str], tmp_path: Path) -> None:
    listed = tmp_path / "meters.txt"
    listed.write_text("# the first house\n1 kitchen\n000000000003;attic\n")
    items = ("02010100", "00010000")
    told = ask(line, "--json", "collect", str(listed), *items)
    assert told.exit_code == 0
    found = json.loads(told.output)
    assert [one["meter"] for one in found] == ["000000000001", "000000000003"]
    assert found[0]["02010100 phase A voltage (V)"] == "220.0"
    for name in ("out.csv", "out.xlsx"):
        done = ask(line, "collect", str(listed), *items, "--out", str(tmp_path / name))
        assert (done.exit_code, "2 meters in" in done.output) == (0, True)
    text = (tmp_path / "out.csv").read_text("utf-8-sig").splitlines()
    assert text[0].startswith("meter,02010100 phase A voltage (V),00010000")
    sheet = load_workbook(tmp_path / "out.xlsx").active
    assert sheet is not None
    assert [cell.value for cell in next(sheet.iter_rows())] == text[0].split(",")


def test_what_a_list_could_not_read_is_listed(line: list[str], tmp_path: Path) -> None:
    listed = tmp_path / "meters.txt"
    listed.write_text("1\n77\n2\n")
    told = ask(line, "--retries", "0", "collect", str(listed), "02010100")
    assert told.exit_code == 1
    assert "000000000002" in told.output
    assert "no answer" in told.output
    wrong = ask(line, "collect", str(listed), "02010100", "--out", "x.pdf")
    assert "give a .csv or an .xlsx" in wrong.output
    listed.write_text("1\nhouse\n")
    assert "line 2: house is no address" in ask(line, "collect", str(listed), "02010100").output


def test_bytes_are_sent_as_they_are(line: list[str]) -> None:
    frame = dlt645.build("000000000001", 0x11, bytes.fromhex("00010102")).hex()
    told = json.loads(ask(line, "--json", "raw", frame, "--wait", "0.5").output)
    assert told["sent"] == frame.upper()
    assert told["frames"][0]["items"][0]["value"] == "220.0"
    assert bytes.fromhex(told["heard"]).endswith(b"\x16")
    assert "stopped at a question" in ask(line, "raw", "0102").output
    silent = ask(line, "raw", "0102", "--yes", "--wait", "0.1")
    assert "0 bytes came, no frame of a meter" in silent.output
    assert "pairs of hexadecimal digits" in ask(line, "raw", "0x1").output


def test_every_byte_is_shown_when_asked(line: list[str]) -> None:
    told = ask(line, "-v", "read", "1", "02010100")
    assert re.search(r" TX (FE )*68 01 00 00 00 00 00 68 11 04", told.output)
    assert re.search(r" RX .*16", told.output)


def test_a_meter_is_watched(line: list[str], tmp_path: Path) -> None:
    words = ("read", "1", "02010100", "00010000", "--every", "0", "--count", "3")
    told = ask(line, *words, "--plot", str(tmp_path / "day.png"))
    assert told.exit_code == 0
    assert told.output.count("phase A voltage (V): 220.0") == 3
    assert (tmp_path / "day.png").read_bytes().startswith(b"\x89PNG")
    assert (
        "--count and --plot need --every"
        in ask(line, "read", "1", "2010100", "--count", "2").output
    )
    gone = ask(line, "--timeout", "0.1", "--retries", "0", "read", "77", *words[2:])
    assert (gone.exit_code, "gave no answer in 3 turns" in gone.output) == (1, True)


def test_a_search_that_finds_nobody_says_what_to_check() -> None:
    for name in meters("--count", "1", "--tcp", "127.0.0.1:0"):
        way = ["--port", name, "--baud", "9600", "--standard", "1997", "--timeout", "0.2"]
        told = ask(way, "scan")
        assert (told.exit_code, "nobody answers: check wiring" in told.output) == (1, True)


def test_1997_is_told_what_it_has_not(line: list[str]) -> None:
    for words in (["relay", "1", "trip"], ["freeze", "1"], ["clear", "1", "meter"]):
        told = ask([*line, "--standard", "1997"], *words, environment=PASSWORD)
        assert (told.exit_code, "DL/T 645-1997 has no order" in told.output) == (2, True)


class SlowWay:
    """A converter far away: what passes it is late by half of `round_trip_s` each way."""

    def __init__(self, target: str, round_trip_s: float) -> None:
        host, _, port = target.removeprefix("socket://").partition(":")
        self._target = (host, int(port))
        self._delay_s = round_trip_s / 2
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = "socket://{}:{}".format(*self._listener.getsockname())
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target)
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(4096):
                time.sleep(self._delay_s)
                other.sendall(data)
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_WR)


def test_a_slow_converter_costs_time_and_no_answers() -> None:
    for name in meters("--count", "1", "--tcp", "127.0.0.1:0"):
        with contextlib.closing(SlowWay(name, 1.2)) as slow:
            way = ["--port", slow.url, "--baud", "9600"]
            assert ask(way, "scan").output.splitlines()[0] == "000000000001"
            tripped = ask(way, "relay", "1", "trip", "--yes", environment=PASSWORD)
            assert (tripped.exit_code, "the relay is open" in tripped.output) == (0, True)
            assert "its answer was lost" not in tripped.output


def test_two_programs_cannot_use_one_port(serial_line: str) -> None:
    with Port(serial_line, 9600):
        told = ask(["--port", serial_line, "--baud", "9600"], "read", "2", "02010100")
    assert (told.exit_code, "another program" in told.output) == (1, True)


def test_a_meter_gets_its_address(line: list[str]) -> None:
    told = ask(line, "--timeout", "0.2", "address", "42", "--yes")
    assert told.exit_code == 1, "no programming key is pressed"
    assert "whether it is done is not known" in told.output


def test_meters_that_find_no_room_are_told() -> None:
    check_room(0)
    with pytest.raises(AskError, match="more meters than a search has room for"):
        check_room(1)
