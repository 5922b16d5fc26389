"""Goal: our frames are those of PyPI `dlt645` 3.2.0, except where it departs from the standard;
each such difference is listed with its bytes (see docs/INTEROP.md).

Method: its client, in a virtual environment of its own, asks our simulated meters over TCP; our
firmware's master asks its meter server. The tests assert what must work and also its errors: a
test that fails here shows that a newer release has changed.
"""

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dlt645.master import ABNORMAL, OK, Master

from host.frames import describe
from tests.host.interop import SCRIPTS, library, run
from tests.sim.serving import LIMIT_S, served
from tools.libraries import DLT645

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("interop")]

PLAN = """
baud: 19200
meters:
  - address: "000000000017"
    password: "02123456"
    load: {percent: 0}
    start_wh: [1230, 0, 0, 0]
"""
# Half past noon of the meters' day, which the client is told to set: within five minutes.
NOW = "2026-01-02T12:32:10"
START = "2026-01-02 12:30:00"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return its client's results with our meter by step, and the meter's clock at the end."""
    folder = tmp_path_factory.mktemp("interop")
    plan, trace = folder / "meters.yaml", folder / "trace.jsonl"
    plan.write_text(PLAN, "utf-8")
    options = ("--file", str(plan), "--tcp", "127.0.0.1:0", "--start", START)
    with served(*options, "--trace", str(trace)) as (name, process):
        port = name.rpartition(":")[2]
        result = run(library(DLT645), "dlt645_client.py", "127.0.0.1", port, NOW)
        process.terminate()
        process.wait(LIMIT_S)
    result["end"] = json.loads(trace.read_text().splitlines()[-1])
    return result


def sent(told: dict[str, Any], step: str) -> str:
    """Return the bytes of its request without FE."""
    hex_digits: str = told[step]["sent"][0]
    return hex_digits.removeprefix("FEFEFEFE")


def heard(told: dict[str, Any], step: str) -> str:
    (hex_digits,) = told[step]["heard"]
    assert isinstance(hex_digits, str)
    return hex_digits.removeprefix("FEFEFEFE")


def test_what_it_reads_is_what_the_meter_has(told: dict[str, Any]) -> None:
    assert told["energy, address reversed"]["value"] == "1.23"
    assert told["voltage A"]["value"] == "220.0"
    assert told["status 3"]["value"] == "0000"
    assert told["read back"]["value"] == "30"


def test_every_frame_it_sends_decodes(told: dict[str, Any]) -> None:
    for step, one in told.items():
        for hex_digits in one.get("sent", []):
            assert describe.describe_hex(hex_digits)["ok"], step


def test_it_sends_the_address_high_byte_first(told: dict[str, Any]) -> None:
    """It asks meter 000000000017 as 170000000000, and returns that address."""
    step = "energy, address as printed"
    assert sent(told, step).startswith("6800000000001768")
    assert told[step]["heard"] == []
    assert told["address"]["value"] == "170000000000"
    assert heard(told, "address") == "681700000000006893064A3333333333C916"


def test_it_takes_no_value_for_a_number(told: dict[str, Any]) -> None:
    assert heard(told, "voltage B")[20:32] == "333534353232"
    assert told["voltage B"]["value"] == "-715151.5"


def test_it_reads_no_block_and_nothing_that_is_followed_up(told: dict[str, Any]) -> None:
    assert heard(told, "energy block")[16:20] == "9118"
    assert heard(told, "follow-up")[16:20] == "B1C8"
    assert told["energy block"]["value"] == told["follow-up"]["value"] == "None"


def test_it_gives_the_same_for_success_and_refusal(told: dict[str, Any]) -> None:
    assert heard(told, "write")[16:20] == "9400"
    assert heard(told, "write refused")[16:22] == "D40137"
    assert told["write"]["value"] == told["write refused"]["value"] == "None"
    assert told["no data"]["value"] == "None"


def test_it_sends_times_high_byte_first(told: dict[str, Any]) -> None:
    """08H must be ss mm hh DD MM YY; its bytes are no valid time, and the clock stays."""
    assert sent(told, "time")[20:32] == "593435456543"
    assert told["end"]["clock_t2000"] == told["end"]["t2000"]
    assert sent(told, "freeze daily")[20:28] == "CCCC3363"
    assert heard(told, "freeze daily")[16:22] == "D60134"
    assert heard(told, "freeze now")[16:20] == "9600"


def test_its_speeds_passwords_and_clearings_are_others(told: dict[str, Any]) -> None:
    assert sent(told, "speed 9600")[20:22] == "65"  # 32H, the standard has 20H
    assert heard(told, "speed 9600")[16:22] == "D7013B"
    assert sent(told, "password")[20:28] == "353F3373"  # 40000C02, the standard has 04000C03
    assert heard(told, "password")[16:22] == "D80134"
    assert sent(told, "clear demand")[20:36] == "3333343435456789"  # identifier and password
    assert heard(told, "clear demand")[16:22] == "D90137"
    assert heard(told, "clear events")[16:20] == "9B00"


# --- our master against its server -------------------------------------------------------------


@pytest.fixture(scope="module")
def server_port() -> Iterator[int]:
    python = library(DLT645)
    script: Path = SCRIPTS / "dlt645_server.py"
    process = subprocess.Popen(
        [str(python), str(script), "000000000017"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield int(json.loads(process.stdout.readline())["port"])
    finally:
        process.communicate("", LIMIT_S)


def transact(master: Master, connection: socket.socket) -> int:
    """Act as the board: pass bytes both ways until there is an outcome."""
    buf = bytearray(256)
    while True:
        now_ticks = time.monotonic_ns() // 1_000_000 & 0x1FFFFFFF
        if master.tx_size:
            connection.sendall(master.tx[: master.tx_size])
            master.sent(now_ticks)
        try:
            size = connection.recv_into(buf)
        except TimeoutError:
            size = 0
        if size:
            master.feed(buf, size, now_ticks)
        outcome = master.poll(now_ticks)
        if not master.busy:
            return outcome


def read(port: int, address: str, di: int, attempts: int = 1) -> tuple[int, Master]:
    """Read `di` from the address as printed on the meter; return outcome and master."""
    master = Master(attempts=attempts)
    with socket.create_connection(("127.0.0.1", port), LIMIT_S) as connection:
        connection.settimeout(0.02)
        now_ticks = time.monotonic_ns() // 1_000_000 & 0x1FFFFFFF
        master.start_read(bytearray.fromhex(address)[::-1], di, now_ticks)
        return transact(master, connection), master


def test_our_master_reads_its_server_by_the_reversed_address(server_port: int) -> None:
    outcome, master = read(server_port, "170000000000", 0x00010000)
    assert outcome == OK
    assert bytes(master.data[master.data_offset : master.data_size]).hex() == "56341200"
    outcome, master = read(server_port, "170000000000", 0x02010100)
    assert bytes(master.data[master.data_offset : master.data_size]).hex() == "9921"


def test_our_master_hears_its_refusal(server_port: int) -> None:
    """It has no blocks, and a block is the first identifier that a concentrator reads."""
    outcome, master = read(server_port, "170000000000", 0x0001FF00)
    assert (outcome, master.error) == (ABNORMAL, 2)


def test_its_server_refuses_in_the_name_of_every_other_meter(server_port: int) -> None:
    """A meter must be silent when another is asked, because its frame would spoil the reply."""
    outcome, master = read(server_port, "000000000017", 0x00010000)
    assert (outcome, master.error) == (ABNORMAL, 1)
    assert bytes(master.address).hex() == "170000000000"
