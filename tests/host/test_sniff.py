"""Goal: the sniffer reports sender, frame and time, in any pieces and with noise on the line.

Method: `Sniffer` gets made exchanges with made times; the command runs on a pseudo terminal and on
a socket, with published frames.
"""

import json
import os
import pty
import socket
import struct
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from host.cli import cli
from host.cli.sniff import command
from host.frames.dlt645 import build
from host.link.port import Port
from host.link.sniffer import Event, Kind, Sniffer

METER = "000000983764"
DI = bytes.fromhex("00000100")
ASK = build(METER, 0x11, DI)
ANSWER = build(METER, 0x91, DI + bytes.fromhex("56341200"), preamble=2)
REFUSAL = build(METER, 0xD1, b"\x02", preamble=0)
BYTE_S = 11 / 2400


def sent(octets: bytes, start_s: float) -> tuple[bytes, float]:
    """Return octets that are sent from `start_s` on, with the arrival time of the last one."""
    return octets, start_s + BYTE_S * len(octets)


def kinds(events: list[Event]) -> list[str]:
    """Return the kinds of the events, in order."""
    return [event.kind.value for event in events]


def test_an_exchange_has_its_turnaround() -> None:
    sniffer = Sniffer(2400)
    asked = sniffer.feed(*sent(ASK, 10.0))
    answered = sniffer.feed(*sent(ANSWER, 10.0 + BYTE_S * len(ASK) + 0.080))

    assert kinds(asked + answered) == ["request", "response"]
    assert asked[0].start_s == pytest.approx(10.0)
    assert (asked[0].preamble, answered[0].preamble) == (4, 2)
    assert answered[0].turnaround_s == pytest.approx(0.080)
    assert sniffer.idle(20.0) == []
    counts = sniffer.meters[METER]
    assert (counts.requests, counts.responses, counts.refusals, counts.unanswered) == (1, 1, 0, 0)


def test_pieces_make_the_same_events() -> None:
    stream = b"\x00\x68" + ASK + b"\x12\x34" + ANSWER + ASK + REFUSAL
    whole, pieces = Sniffer(2400), Sniffer(2400)
    events = whole.feed(*sent(stream, 5.0)) + whole.idle(9.0)
    one_by_one = [
        event
        for at in range(len(stream))
        for event in pieces.feed(*sent(stream[at : at + 1], 5.0 + BYTE_S * at))
    ] + pieces.idle(9.0)

    assert kinds(events) == ["noise", "request", "noise", "response", "request", "response"]
    assert [(event.kind, event.octets) for event in one_by_one] == [
        (event.kind, event.octets) for event in events
    ]
    for one, other in zip(one_by_one, events, strict=True):
        assert one.start_s == pytest.approx(other.start_s)
        assert one.end_s == pytest.approx(other.end_s)
    assert whole.noise_bytes == 4
    assert whole.meters[METER].refusals == 1


def test_time_does_not_run_backwards_where_a_network_brings_bytes_at_once() -> None:
    sniffer = Sniffer(2400)
    events = sniffer.feed(ASK, 10.0) + sniffer.feed(ANSWER, 10.001) + sniffer.feed(ASK, 10.3)

    assert kinds(events) == ["request", "response", "request"]
    times = [moment for event in events for moment in (event.start_s, event.end_s)]
    assert times == sorted(times)
    assert events[1].turnaround_s == pytest.approx(0)


def test_a_meter_that_does_not_answer_is_named() -> None:
    sniffer = Sniffer(2400)
    events = sniffer.feed(*sent(ASK, 0.0)) + sniffer.idle(0.6) + sniffer.idle(1.2)
    assert kinds(events) == ["request", "no answer"]

    events = sniffer.feed(*sent(ASK, 2.0)) + sniffer.feed(*sent(ASK, 2.7))
    assert kinds(events) == ["request", "no answer", "request"]
    assert sniffer.meters[METER].unanswered == 2


def test_who_may_answer() -> None:
    """A whole address answers a wildcard; another meter's frame is no answer."""
    sniffer = Sniffer(2400)
    sniffer.feed(*sent(build("AAAAAAAA3764", 0x11, DI), 0.0))
    (answer,) = sniffer.feed(*sent(ANSWER, 0.2))
    assert answer.turnaround_s is not None

    sniffer.feed(*sent(ASK, 1.0))
    (answer,) = sniffer.feed(*sent(build("1", 0x91, DI), 1.2))
    assert answer.turnaround_s is None

    sniffer = Sniffer(2400)
    sniffer.feed(*sent(build("9" * 12, 0x01, b"\x10\x90"), 0.0))
    (answer,) = sniffer.feed(*sent(ANSWER, 0.2))
    assert answer.turnaround_s is not None


def test_nobody_is_to_answer_a_broadcast() -> None:
    sniffer = Sniffer(2400)
    for octets in (build("9" * 12, 0x08, bytes(6)), build("9" * 12, 0x16, b"\x99" * 4)):
        assert kinds(sniffer.feed(*sent(octets, 0.0)) + sniffer.idle(5.0)) == ["request"]


def test_half_a_frame_is_noise_and_hides_nothing() -> None:
    sniffer = Sniffer(2400)
    events = sniffer.feed(*sent(build("1", 0x91, bytes(200))[:100] + ASK, 0.0))
    assert events == []

    events = sniffer.idle(2.0)
    assert kinds(events) == ["noise", "request", "no answer"]
    assert events[1].octets == ASK[4:]


def test_endless_noise_does_not_pile_up() -> None:
    sniffer = Sniffer(2400)
    for at in range(20):
        sniffer.feed(*sent(b"\x55" * 1000, at * 5.0))
    assert sniffer.noise_bytes >= 15_000
    assert kinds(sniffer.feed(*sent(ASK, 200.0)))[-1] == "request"


@contextmanager
def speaking(write: Callable[[], int]) -> Iterator[None]:
    """Write repeatedly while the command listens, because opening a port drops waiting bytes."""
    done = threading.Event()

    def speak() -> None:
        while not done.wait(0.1):
            write()

    thread = threading.Thread(target=speak)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@pytest.fixture
def terminal() -> Iterator[tuple[int, str]]:
    """Return our end of a pseudo terminal, and the name of the other."""
    ours, theirs = pty.openpty()
    tty.setraw(ours)
    yield ours, os.ttyname(theirs)
    os.close(ours)
    os.close(theirs)


def sniff(*args: str) -> Result:
    """Run the command for a limited time that is long enough."""
    return CliRunner().invoke(command, ["--seconds", "30", *args])


def test_the_command_on_a_pseudo_terminal(terminal: tuple[int, str]) -> None:
    ours, name = terminal
    with speaking(partial(os.write, ours, b"\x01\x02" + ASK + ANSWER)):
        result = sniff(name, "--json", "--frames", "2")

    assert result.exit_code == 0, result.output
    noise, request, response = map(json.loads, result.output.splitlines())
    assert (noise["kind"], noise["hex"]) == ("noise", "0102")
    assert (request["speaker"], request["frame"]["di"]) == ("master", "00010000")
    assert (response["speaker"], response["preamble"]) == (METER, 2)
    assert response["frame"]["items"] == [{"value": "1234.56", "unit": "kWh"}]
    assert response["turnaround_ms"] is not None


def test_the_command_on_a_socket_that_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    # pyserial drops bytes that arrive before the port is open.
    opened = threading.Event()
    real_read = Port.read

    def read(port: Port, timeout_s: float) -> bytes:
        opened.set()
        return real_read(port, timeout_s)

    monkeypatch.setattr(Port, "read", read)

    def serve() -> None:
        connection, _ = listener.accept()
        opened.wait(30)
        with connection:
            connection.sendall(ASK + ANSWER + ASK + REFUSAL)

    url = f"socket://127.0.0.1:{listener.getsockname()[1]}"
    server = threading.Thread(target=serve)
    server.start()
    with listener:
        result = sniff(url)
        server.join()

    assert result.exit_code == 1
    assert f"Error: {url} was lost" in result.output
    assert f"master        to {METER} read 00010000" in result.output
    assert f"{METER}  read 00010000 present total forward" in result.output
    assert "1234.56 kWh" in result.output
    assert "refused, no such data" in result.output


def test_a_port_that_is_not_there() -> None:
    result = sniff("/dev/no-such-port")

    assert result.exit_code == 1
    assert "cannot open /dev/no-such-port" in result.output


def test_silence_ends_with_the_time_given(terminal: tuple[int, str]) -> None:
    result = CliRunner().invoke(command, [terminal[1], "--seconds", "0.2"])

    assert result.exit_code == 0
    assert Kind.NOISE.value not in result.output


def test_a_line_is_kept_as_pcap(terminal: tuple[int, str], tmp_path: Path) -> None:
    """The file is read back by the format's own definition: 24 bytes, then 16 and a packet."""
    ours, name = terminal
    kept = tmp_path / "line.pcap"
    with speaking(partial(os.write, ours, b"\x01\x02" + ASK + ANSWER)):
        result = sniff(name, "--json", "--frames", "2", "--pcap", str(kept))

    assert result.exit_code == 0, result.output
    told = [json.loads(line) for line in result.output.splitlines()]
    octets = kept.read_bytes()
    assert octets[:24].hex() == "d4c3b2a1020004000000000000000000ffff000093000000"
    at, packets, times = 24, [], []
    while at < len(octets):
        second, micro, size, whole = struct.unpack_from("<IIII", octets, at)
        assert size == whole
        packets.append(octets[at + 16 : at + 16 + size].hex().upper())
        times.append(second + micro / 1e6)
        at += 16 + size
    assert packets == [one["hex"] for one in told]
    named = [datetime.fromisoformat(one["time"]) for one in told]
    assert all(one.tzinfo is not None for one in named)
    assert times == pytest.approx([one.timestamp() for one in named], abs=0.001)


def test_a_pcap_file_that_cannot_be_written_is_told(terminal: tuple[int, str]) -> None:
    result = sniff(terminal[1], "--pcap", "/proc/none/line.pcap")
    assert result.exit_code == 1
    assert "cannot write /proc/none/line.pcap" in result.output


def test_the_port_may_stand_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIANKA_METER_PORT", "/dev/no-meters")
    monkeypatch.setenv("DIANKA_PORT", "/dev/no-console")
    for words, name in (
        (["sniff"], "meters"),
        (["meter", "read", "1", "voltage"], "meters"),
        (["meter", "--port", "/dev/no-such", "read", "1", "voltage"], "such"),
        (["meter", "--console", "/dev/no-such", "read", "1", "voltage"], "such"),
        (["console", "status"], "console"),
        (["console", "--port", "/dev/no-such", "status"], "such"),
    ):
        result = CliRunner().invoke(cli, words)
        assert (result.exit_code, f"cannot open /dev/no-{name}" in result.output) == (1, True), (
            *(words, result.output),
        )
