"""Goal: the acceptance test of a board tells which part works and which does not, asks a person
for what it cannot do itself, and keeps a report without secrets.

Method: the program for the board runs on the real unix MicroPython with made-up ports: a UART that
hears itself, a radio, a time that stands still between waits. A prompt made here runs it; each of
the parts is also broken once.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from host.cli import flash
from host.flash import selftest
from host.flash.prompt import BoardError, Prompt
from tools import micropython

ROOT = Path(__file__).parents[2]
PROGRAM = (ROOT / "firmware" / "boards" / "selftest.py").read_text()

BOARD_JSON = {
    "lines": [{"uart": 1, "tx": 17, "rx": 16, "direction": 4}],
    "uplink": {"host": "192.0.2.9", "port": 7645, "ssid": "station", "key": "secret of the Wi-Fi"},
    "lamps": [13, 14],
    "buzzer": 15,
    "door": 5,
}

# Each test runs in a fresh interpreter, with these ports.
PORTS = """\
import os as own_os, sys
class Own:
    def __getattr__(self, name):
        if name == "statvfs":
            return lambda path: own_os.statvfs(path or ".")
        return getattr(own_os, name)
import made_up
from made_up import World
sys.modules["os"] = Own()
class Looped(made_up.Uart):
    def write(self, buf):
        if {loops!r}:
            self.received += bytes(buf)
        return super().write(buf)
    def readinto(self, buf):
        size = min(len(buf), len(self.received))
        buf[:size] = self.received[:size]
        self.received = self.received[size:]
        return size
class Poll(made_up.Poll):
    def poll(self, ms):
        return [(0, {events!r})]
class Pin(made_up.Pin):
    def __init__(self, number, *modes, value=0):
        self.stuck = number == {stuck!r}
        super().__init__(number, *modes, value=value)
    def __call__(self, level=-1):
        return 0 if self.stuck else super().__call__(level)
machine = sys.modules["machine"]
machine.UART = Looped
machine.Pin = Pin
machine.freq = lambda: 240000000
sys.modules["select"].poll = Poll
time = sys.modules["time"]
time.sleep_us = World.pass_us
time.gmtime = lambda s=0: (2026, 11, 29)
time.time = lambda: World.now_s + {runs!r} * World.us // 1000000
def tick(own=time.ticks_ms):
    World.us += 100
    return own()
time.ticks_ms = tick
if {stale!r}:
    class Stale(Own):
        def urandom(self, size):
            return bytes(size)
    sys.modules["os"] = Stale()
from boards.wifi import Wifi
class Board:
    join = staticmethod(Wifi)
sys.modules["boards.unix"] = made_up.Module(Board=Board)
import boards
boards.unix = sys.modules["boards.unix"]
"""


# The unix port knows its folder as "." only.
_WHOLE = """\
import os
class Own:
    def __getattr__(self, name):
        if name == "statvfs":
            return lambda path: own_os.statvfs(path or ".")
        return getattr(own_os, name)
own_os = os
import sys
sys.modules["os"] = Own()
"""


class MadeUpPrompt:
    """A prompt whose board is a fresh MicroPython for each piece of code."""

    def __init__(self, folder: Path, **broken: Any) -> None:
        self.port = "made up"
        self.released = False
        fine = {"loops": True, "events": 4, "stuck": 99, "runs": 1, "stale": False}
        self._ports = PORTS.format(**{**fine, **broken})
        self._folder = folder
        self._kept = ""

    def __enter__(self) -> "MadeUpPrompt":
        return self

    def __exit__(self, *_error: object) -> None: ...

    told = Prompt.told

    def run(self, code: str) -> str:
        """Run code behind what was kept; definitions are kept."""
        if "sys.path.insert" in code or "def test(" in code:
            self._kept += code
            return ""
        ports = self._ports if code.startswith(("test(", "fits(")) else _WHOLE
        done = subprocess.run(
            [str(micropython.ensure()), "-X", "heapsize=2M", "-c", ports + self._kept + code],
            cwd=self._folder,
            env={
                "MICROPYPATH": ":".join(
                    f"{ROOT}/{place}" for place in ("firmware", "tests/core", "tests/emulated")
                )
                + ":.frozen"
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def begin_anew(self, hard: bool) -> None:
        """Do nothing: every piece of code begins anew."""

    def release(self) -> None:
        """Note that the board runs again."""
        self.released = True


def board(folder: Path, content: Any = None, **broken: Any) -> Any:
    """Return the prompt of a board with the product in slot a and this board.json."""
    (folder / "a").mkdir(exist_ok=True)
    (folder / "a" / "files").write_text("0.9+1234\n")
    (folder / "a" / "healthy").write_text("1")
    (folder / "board.json").write_text(json.dumps(BOARD_JSON if content is None else content))
    return MadeUpPrompt(folder, **broken)


def results(prompt: Any, sees: bool = True) -> dict[str, selftest.Result]:
    asked: list[str] = []
    report = selftest.begin(prompt, PROGRAM)
    for _one in selftest.run(prompt, report, asked.append, lambda question: sees):
        pass
    assert len(asked) == 3
    return {one.name: one for one in report.results}


def test_a_board_whose_parts_all_work(tmp_path: Path) -> None:
    found = results(board(tmp_path))
    outcomes = {name: one.outcome for name, one in found.items()}
    assert outcomes == {**dict.fromkeys(selftest.TESTS, "ok"), "card": "none"}
    assert found["about"].figures["frequency"] == "240000000"
    assert found["lines"].figures["lines[0]"] == "heard 20 of 20"
    assert found["pins"].figures == {"door": "0", "outputs": "4"}
    assert int(found["flash"].figures["block_ms"]) >= 0
    assert found["network"].figures["head_end"] == "connected"
    assert len(found["entropy"].figures["begins"].split()) == 8
    assert not (tmp_path / "selftest~").exists()


@pytest.mark.parametrize(
    ("name", "broken", "said"),
    [
        ("lines", {"loops": False}, "heard 0 of 20"),
        ("pins", {"stuck": 13}, "does not become 1"),
        ("clock", {"runs": 0}, "0"),
        ("entropy", {"stale": True}, "127"),
        ("network", {"events": 0}, "not reached"),
    ],
)
def test_a_part_that_is_broken_is_named(
    tmp_path: Path, name: str, broken: dict[str, Any], said: str
) -> None:
    found = results(board(tmp_path, **broken))
    assert [one.name for one in found.values() if one.outcome == "failed"] == [name]
    assert said in found[name].figures.values()


def test_lamps_that_nobody_sees_have_failed(tmp_path: Path) -> None:
    found = results(board(tmp_path), sees=False)
    assert found["lamps"].outcome == "failed"
    assert found["lamps"].trouble == ["a person has not seen it"]


def test_a_mistake_in_board_json_fails_the_test_with_the_key(tmp_path: Path) -> None:
    content = {**BOARD_JSON, "card": {"chip": "unknown"}}
    found = results_of_all(board(tmp_path, content))
    assert found["card"].outcome == "failed"
    assert "board.json: card.chip: expected one of" in found["card"].figures["why"]


def results_of_all(prompt: Any) -> dict[str, selftest.Result]:
    report = selftest.begin(prompt, PROGRAM)
    for _one in selftest.run(prompt, report, lambda what: None, lambda question: True):
        pass
    return {one.name: one for one in report.results}


def test_a_product_of_another_version_is_not_tested(tmp_path: Path) -> None:
    """Names differ from version to version, and every test would fail by them."""
    other = PROGRAM.replace("wiring.Options.parts", "wiring.Options.q7")
    with pytest.raises(BoardError, match="another version than this program"):
        selftest.begin(board(tmp_path), other)


def test_what_has_to_be_there_first_is_said(tmp_path: Path) -> None:
    prompt = board(tmp_path)
    (tmp_path / "a" / "files").unlink()
    with pytest.raises(BoardError, match="the product is not on the board yet"):
        selftest.begin(prompt, PROGRAM)
    (tmp_path / "board.json").write_text("{")
    with pytest.raises(BoardError, match="the product is not on the board yet"):
        selftest.begin(prompt, PROGRAM)
    (tmp_path / "board.json").unlink()
    with pytest.raises(BoardError, match=r"the board has no board\.json"):
        selftest.begin(prompt, PROGRAM)


def test_the_command_shows_the_outcomes_and_keeps_a_report_without_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = board(tmp_path, loops=False)
    monkeypatch.setattr(flash, "Prompt", lambda port: prompt)
    # The firmware of these tests has its long names.
    monkeypatch.setattr(selftest, "program_of", lambda firmware: PROGRAM)
    report = tmp_path / "report.json"
    words = ["/dev/ttyX", "--selftest", "--report", str(report)]
    done = CliRunner().invoke(flash.command, words, input="\n" * 9)
    assert done.exit_code == 1
    assert "lines    failed   lines[0] heard 0 of 20" in done.stdout
    assert "card     not there" in done.stdout
    assert "failed: lines; docs/HARDWARE.md says" in done.stderr
    assert prompt.released
    kept = json.loads(report.read_text())
    assert kept["product"] == "0.9+1234"
    assert "secret" not in report.read_text()
    assert kept["board_json"]["uplink"]["key"] == "..."
    assert [one["name"] for one in kept["results"]] == list(selftest.TESTS)
    done = CliRunner().invoke(flash.command, ["/dev/ttyX", "--selftest", "--status"])
    assert "ask for one of them" in done.stderr
