"""Goal: on a line that loses and spoils answers a scan finds every meter, or says where one may be
that it has not found.

Method: the firmware's search on the byte-accurate line, in virtual time, with faults by seed; a
single search of some of these lines hides a meter, which the test says as well. The firmware's
master on a port in real time loses one answer of a meter that is alone, and a made-up concentrator
counts that it has asked again.
"""

import contextlib
from functools import cache
from random import Random
from typing import cast

import pytest
import ticks
from click.testing import CliRunner, Result
from dlt645.discovery import Discovery

from host.cli.meter import session as sessions
from host.cli.meter.commands import command
from host.device.line import DirectLine
from host.frames import dlt645
from host.frames.dlt645 import Frame
from host.link.console import Console
from host.link.meters import Progress, ThroughConcentrator
from host.link.survey import Survey, in_words
from host.sim.clock import DEFAULT_START_T2000, VirtualClock
from host.sim.line import Line, LineFaults
from host.sim.meter import Meter
from host.sim.responder import Responder
from host.world.wire import Wire
from tests.sim.test_discovery import found, random_meters

TOTAL = b"\x00\x00\x01\x00"
SEEDS = range(10)
NOISY = LineFaults(lost_reply=0.05, cut_reply=0.1, noise=0.05, stray_noise=0.02)
ROOM = 200


class SeededLine:
    """A line in virtual time, searched as a concentrator searches it."""

    def __init__(self, meters: list[Meter], faults: LineFaults, seed: int) -> None:
        clock = VirtualClock()
        line = Line(clock, meters, faults, Random(seed))
        self._wire = Wire(line, clock, step_ms=5, start_ticks=ticks.TICKS_MASK - 3000)
        self.searches = 0

    def search(self, standard: str, progress: Progress) -> list[str]:
        self.searches += 1
        job = Discovery(self._wire.master, ROOM)
        job.start(0x11, TOTAL, len(TOTAL), self._wire.now_ticks)
        self._wire.run(job)
        told = [address.upper() for address in found(job)]
        progress(job.questions, told)
        return told

    def ask(self, address: str, control: int, data: bytes = b"") -> Frame:
        raise AssertionError("a survey asks no single meter")

    read = ask


@cache
def surveyed(seed: int) -> tuple[list[str], list[str], list[str], list[str]]:
    """Return the meters of a noisy line, what its first search finds, and a survey's outcome."""
    meters = random_meters(seed, 8)
    line = SeededLine(meters, NOISY, seed)
    first: list[str] = []
    survey = Survey(line, "2007", lambda now: first.extend(now.meters) if not first else None)
    survey.run()
    return [meter.address for meter in meters], first, survey.meters, survey.doubtful


@pytest.mark.parametrize("seed", SEEDS)
def test_a_noisy_line_hides_no_meter_without_doubt(seed: int) -> None:
    meters, _first, told, doubtful = surveyed(seed)

    assert set(told) <= set(meters)
    assert set(told) == set(meters) or doubtful


def test_a_single_search_hides_meters_of_these_lines() -> None:
    hiding = [seed for seed in SEEDS if len(surveyed(seed)[1]) < len(surveyed(seed)[0])]
    assert hiding


def test_a_quiet_line_is_searched_once() -> None:
    meters = random_meters(3, 8)
    line = SeededLine(meters, LineFaults(), 3)
    survey = Survey(line, "2007", lambda _now: None)
    survey.run()

    assert sorted(survey.meters) == sorted(meter.address for meter in meters)
    assert (survey.doubtful, line.searches) == ([], 1)


def test_two_meters_with_one_address_are_in_doubt() -> None:
    pair = [Meter("000000004207", reply_delay_ms=delay) for delay in (20, 30)]
    survey = Survey(SeededLine(pair, LineFaults(), 1), "2007", lambda _now: None)
    survey.run()

    assert survey.meters == []
    assert list(map(in_words, survey.doubtful)) == ["...0000004207"]


class LosingPort:
    """A port to a meter that answers at once, but for the answers with these numbers."""

    def __init__(self, lost: tuple[int, ...]) -> None:
        self._responder = Responder(Meter("000000000017"))
        self._lost = lost
        self._answers = 0
        self._heard = bytearray()
        self._waits = b""

    def write(self, data: bytes) -> None:
        request = dlt645.parse(data.lstrip(b"\xfe"))
        reply = self._responder.answer(request, DEFAULT_START_T2000)
        self._answers += 1
        self._waits = b"" if reply is None or self._answers in self._lost else reply

    def read(self, timeout_s: float) -> bytes:
        heard, self._waits = self._waits, b""
        return heard

    def set_baud(self, baud: int) -> None:
        raise AssertionError("no speed is changed")


@pytest.mark.parametrize("lost", [(), (6,)])
def test_a_line_that_loses_an_answer_of_a_known_meter_is_in_doubt(lost: tuple[int, ...]) -> None:
    line = DirectLine(LosingPort(lost))

    assert line.search("2007", lambda *_: None) == ["000000000017"] + ["A" * 12] * len(lost)


class CountingConsole:
    """A concentrator that finds one meter, and asks again as often as `repeats` says."""

    def __init__(self, repeats: list[int], others: int = 0) -> None:
        self._repeats = iter([*repeats, *[0] * 20])
        self._others = others
        self._requests = self._retries = 0
        self._said: list[str] = []

    def command(self, words: str) -> list[str]:
        verb = words.split()[:2]
        if verb == ["line", "scan"]:
            self._said = ["state done", "questions 7", "dropped 0", "found 000000000017"]
        elif verb == ["line", "ask"]:
            self._requests += 1 + self._others
            again = next(self._repeats)
            self._retries += again
            outcome = "ok" if again < 3 else "timeout"
            self._said = ["state done", f"outcome {outcome}", "error 0", "more 0"]
            self._said += ["address 000000000017", "data 0000010078563412"]
        elif verb == ["line", "answer"]:
            return self._said
        elif verb == ["counters"]:
            return [f"line_0_requests {self._requests}", f"line_0_retries {self._retries}"]
        return []


@pytest.mark.parametrize(
    ("repeats", "others", "doubtful"),
    [
        ([], 0, False),
        ([0, 0, 0, 1], 0, True),
        ([0, 0, 3], 0, True),
        # What it asks for itself in between may be what was lost.
        ([0, 0, 0, 1], 1, False),
    ],
)
def test_a_concentrator_whose_line_loses_answers_leaves_doubt(
    repeats: list[int], others: int, doubtful: bool
) -> None:
    """It asks again by itself, so that a question alone does not show what the line loses."""
    line = ThroughConcentrator(cast(Console, CountingConsole(repeats, others)))

    found = line.search("2007", lambda *_: None)
    assert found == ["000000000017"] + ["A" * 12] * doubtful


class StoppedPort(LosingPort):
    """A port at which a person types Ctrl-C behind some answers."""

    def __init__(self, lost: tuple[int, ...], stopped_behind: int) -> None:
        super().__init__(lost)
        self._behind = stopped_behind

    def write(self, data: bytes) -> None:
        if self._answers == self._behind:
            raise KeyboardInterrupt
        super().write(data)


def at_port(port: LosingPort, monkeypatch: pytest.MonkeyPatch, *words: str) -> Result:
    """Run `dianka meter` on a port that is made up."""
    monkeypatch.setattr(sessions, "Port", lambda *_words: contextlib.nullcontext(port))
    return CliRunner().invoke(command, ["--port", "made-up", "--timeout", "0.05", *words])


def test_a_search_that_is_stopped_keeps_what_it_has_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done = at_port(StoppedPort((), 3), monkeypatch, "scan")
    assert (done.exit_code, done.stdout) == (130, "000000000017\n")
    assert "stopped: there may be more" in done.stderr


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_lost_answer_loses_no_other(
    monkeypatch: pytest.MonkeyPatch, form: tuple[str, ...]
) -> None:
    words = (*form, "--retries", "0", "read", "17", "00010000", "04000501", "04000503")
    done = at_port(LosingPort((2,)), monkeypatch, *words)
    assert done.exit_code == 1
    assert "04000501 was not read: no answer" in done.stderr
    assert ("00010000" in done.stdout, "04000503" in done.stdout) == (True, True)
    assert "Traceback" not in done.output
