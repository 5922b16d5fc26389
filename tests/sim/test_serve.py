"""Goal: `dianka sim meters` serves a pty and TCP as its own process, traces, and stops at SIGTERM.

Method: the real command is started, a client opens what it prints and asks with frames built by
host.frames. Nothing depends on how fast it goes: the client waits for a whole frame, up to a
limit far above any reply.
"""

import json
import os
import signal
import socket
import termios
import tty
from pathlib import Path

import pytest
import serial
from click.testing import CliRunner

from host.cli.sim import command
from host.frames import dlt645
from tests.sim.serving import LIMIT_S, ask, opened, served

TRIP = bytes.fromhex("02000000000000001A00000000010199")
STATUS_3 = bytes.fromhex("03050004")
CONTROL_RELAY, READ = 0x1C, 0x11


def test_a_pty_answers_again_and_again_and_the_trace_shows_the_relay(tmp_path: Path) -> None:
    link, trace = tmp_path / "line", tmp_path / "trace.jsonl"
    options = ("--count", "3", "--link", str(link), "--trace", str(trace), "--speed", "1000")
    with served(*options) as (name, process):
        assert name == str(link)
        with opened(name) as handle:
            reply = ask(handle, "000000000002", CONTROL_RELAY, TRIP)
            assert (reply.control, reply.data) == (0x9C, b"")
        # Another master connects after the first one: the line still exists.
        with opened(name) as handle:
            reply = ask(handle, "000000000002", READ, STATUS_3)
            assert reply.data == STATUS_3 + b"\x50\x00"
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT_S) == 0
    assert not link.is_symlink()
    events = [json.loads(line) for line in trace.read_text().splitlines()]
    assert [event["event"] for event in events] == ["start"] * 3 + ["relay"] + ["end"] * 3
    assert events[3]["meter"] == "000000000002"
    assert events[3]["open"] is True
    ended = {event["meter"]: event for event in events[4:]}
    assert ended["000000000002"]["open"] is True
    assert ended["000000000001"]["open"] is False
    assert len(ended["000000000001"]["registers_wh"]) == 4
    assert events[-1]["t2000"] >= events[0]["t2000"]


def test_the_line_follows_the_speed_of_the_pty() -> None:
    """A technician sends 17H: both change, and a request at the old speed is lost."""
    with (
        served("--follow-baud", "--count", "1") as (name, _),
        serial.Serial(name, 19200, timeout=LIMIT_S) as port,
    ):
        assert ask(port.fileno(), "000000000001", 0x17, b"\x20").data == b"\x20"
        port.baudrate = 9600
        assert ask(port.fileno(), "000000000001", READ, STATUS_3).control == 0x91
        port.baudrate = 19200
        port.timeout = 0.5
        port.write(dlt645.build("000000000001", READ, STATUS_3))
        assert port.read(1) == b""


def test_a_serial_port_is_served_and_changes_its_speed() -> None:
    """A pty stands for the serial port, and its other end for the cable."""
    cable, end = os.openpty()
    try:
        tty.setraw(end)
        os.set_blocking(cable, False)
        with served("--port", os.ttyname(end), "--count", "1") as (name, process):
            assert name == os.ttyname(end)
            assert ask(cable, "000000000001", 0x17, b"\x20").data == b"\x20"
            assert ask(cable, "000000000001", READ, STATUS_3).control == 0x91
            process.send_signal(signal.SIGTERM)
            assert process.wait(LIMIT_S) == 0
            assert termios.tcgetattr(end)[5] == termios.B9600
    finally:
        os.close(cable)
        os.close(end)


def test_tcp_serves_one_master_after_another() -> None:
    with served("--tcp", "127.0.0.1:0", "--count", "1") as (name, process):
        assert name.startswith("socket://127.0.0.1:")
        address = ("127.0.0.1", int(name.rpartition(":")[2]))
        for _ in range(2):
            with socket.create_connection(address, LIMIT_S) as connection:
                reply = ask(connection.fileno(), "AAAAAAAAAAAA", 0x13, b"")
                assert reply.address == "000000000001"
        process.send_signal(signal.SIGINT)
        assert process.wait(LIMIT_S) == 0


def test_a_file_tells_the_meters(tmp_path: Path) -> None:
    plan = tmp_path / "meters.yaml"
    plan.write_text(
        """
baud: 9600
meters:
  - address: "000000000001"
    start_wh: [1000, 2000, 0, 0]
    load: {percent: 0}
  - address: "000000000098"
    count: 2
    profile: relay-1997
    password: "02123456"
""",
        "utf-8",
    )
    with served("--file", str(plan)) as (name, _), opened(name) as handle:
        reply = ask(handle, "000000000001", READ, bytes.fromhex("00FF0100"))
        assert reply.data[4:].hex() == "0003000000010000000200000000000000000000"[:40]
        trip = bytes.fromhex("28C0021234565533")
        assert ask(handle, "000000000099", 0x04, trip).control == 0x84


BAD_PLANS = {
    "meters: []": "meters: has 0 entries, at least 1",
    "meters: [{address: 000000000010}]": "must be a text in quotes",
    "meters: [{address: '1x'}]": "meters.0.address",
    "meters: [{address: '000000000001', colour: red}]": "meters.0.colour",
    "meters: [{address: '000000000001'}, {address: '000000000001'}]": "there twice",
    "meters: [{address: '000000000001', profile: x}]": "no profile 'x'; there are plain",
    "{baud: 1234, meters: [{address: '000000000001'}]}": "1234 is no speed",
    "{faults: {x: 1.0}, meters: [{address: '000000000001'}]}": "no fault 'x'",
    "{faults: {noise: 1.5}, meters: [{address: '000000000001'}]}": "a chance from 0 to 1",
    "{faults: {jitter_ms: 1.5}, meters: [{address: '000000000001'}]}": "a whole number",
    "- a\n b: c": "is not YAML",
    "just words": "the file",
}


@pytest.mark.parametrize("content", BAD_PLANS)
def test_a_bad_file_is_refused_with_its_place(content: str, tmp_path: Path) -> None:
    plan = tmp_path / "meters.yaml"
    plan.write_text(content, "utf-8")
    result = CliRunner().invoke(command, ["meters", "--file", str(plan)])
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert BAD_PLANS[content] in result.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--file", "/nowhere/meters.yaml"], "cannot read /nowhere/meters.yaml"),
        (["--first-address", "12x"], "12 digits are needed"),
        (["--first-address", "999999999999", "--count", "2"], "no 2 addresses"),
        (["--fault", "noise"], "write it as"),
        (["--baud", "1234"], "1234 is no speed"),
        (["--tcp", "7000"], "write it as 127.0.0.1:7000"),
        (["--tcp", "127.0.0.1:0", "--port", "/dev/null"], "take one of"),
        (["--follow-baud", "--tcp", "127.0.0.1:0"], "--follow-baud is for a pty"),
        (["--port", "/nowhere/tty"], "cannot open /nowhere/tty"),
        (["--link", "/nowhere/line"], "cannot make the link"),
    ],
)
def test_bad_options_are_refused_with_the_next_step(options: list[str], message: str) -> None:
    result = CliRunner().invoke(command, ["meters", *options])
    assert result.exit_code in (1, 2)
    assert message in result.output
    assert "Traceback" not in result.output
