"""Goal: a small server and a county work by the commands of docs/OPERATE.md, not only the laptop.

Method: the commands of the county run with a PostgreSQL of the test's own, beside a concentrator
that is started with the words of its service, on simulated meters; then the station is set up, a
card sold and redeemed, the services reloaded, started twice and stopped. Other ports and the
address of the database are put in. A board's commands name the tests that run them.
"""

import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from host.cli import cli
from tests.docs.test_operate import PAGES, ROOT, SERVICES, blocks, commands, unit_of
from tests.host.test_headend_gate import certified
from tools import micropython
from tools.cluster import ClusterError, cluster

PATIENCE_S = 60
HEADINGS = ("A small server and a Pico W", "A county")
# What runs each command that needs a board: here, or by a test on an emulated one.
ON_A_BOARD = {
    "flash --check": "tests/docs/test_operate_services.py::test_a_file_is_judged_without_a_board",
    "flash /dev/ttyACM0 --board board.json": "tests/host/test_flash.py::test_a_life_in_two_slots",
    "flash /dev/ttyACM0 --selftest": "tests/host/test_selftest_emulated.py",
    "setup village.toml": "tests/docs/test_operate.py::"
    "test_a_newcomer_gets_a_village_that_sells_cuts_and_restores",
}


class Station:
    """A folder with what the county's commands need, and the processes that they start."""

    def __init__(self, folder: Path, database: str) -> None:
        self.folder = folder
        self._ports = {number: _free_port() for number in ("7645", "7646")}
        self._database = database
        self.running: list[subprocess.Popen[bytes]] = []
        self._environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "MICROPYTHON": str(micropython.ensure()),
            "DIANKA_CARD_PASSPHRASE": "a long sentence that only we know",
            "TZ": "CST-8",
            "COLUMNS": "200",
        }

    def words(self, line: str) -> list[str]:
        """Return the words of a command, with this test's ports and database in them."""
        line = line.replace("postgres://dianka@db/county", self._database)
        for number, free in self._ports.items():
            line = re.sub(rf"\b{number}\b", free, line)
        words = shlex.split(line)
        if "serve" in words and "--port" not in words:
            words += ["--port", self._ports["7645"]]
        if "--tls-cert" in words:
            words += ["--tls-port", "0"]
        assert Path(words[0]).name == "dianka"
        return [sys.executable, "-m", "host.cli", *words[1:]]

    def run(self, line: str, status: int = 0) -> str:
        """Return what a command says, on both of its outputs."""
        done = subprocess.run(
            self.words(line),
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        said = done.stdout + done.stderr
        assert done.returncode == status, said
        assert "Traceback" not in said
        return said

    def start(self, line: str, log: str) -> subprocess.Popen[bytes]:
        """Start what runs until it is stopped."""
        with (self.folder / log).open("wb") as said:
            process = subprocess.Popen(
                self.words(line),
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
            )
        self.running.append(process)
        return process

    def wait_for(self, log: str, text: str) -> None:
        ends_s = time.monotonic() + PATIENCE_S
        while text not in (said := (self.folder / log).read_text()):
            assert time.monotonic() < ends_s, said
            time.sleep(0.1)

    def stop(self) -> list[int]:
        """End all that runs, as a service is ended; return their statuses."""
        for process in self.running:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        return [process.wait(PATIENCE_S) for process in self.running]


def _free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return str(free.getsockname()[1])


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Station]:
    try:
        with cluster() as database:
            made = Station(tmp_path, database)
            certified(tmp_path)
            try:
                yield made
            finally:
                for process in made.running:
                    process.kill()
                    process.wait()
    except ClusterError as error:
        pytest.skip(str(error))


def write_files(folder: Path) -> None:
    """Write the files of the laptop's part, for a concentrator that its service has started."""
    for name, text in re.findall(
        r"^cat > (\S+) <<'END'\n(.*?)^END$", blocks(PAGES[0]), re.MULTILINE | re.DOTALL
    ):
        (folder / name).write_text(text.replace("flash.bin.console", "ttyUSB0.bin.console"))


@pytest.mark.slow
@pytest.mark.xdist_group("console")
def test_a_county_is_served_by_the_words_of_the_page(station: Station) -> None:
    write_files(station.folder)
    station.run("dianka card keys new --district 4711")
    station.run("dianka headend keys new --keys uplink.toml --concentrator 7")
    init, even, odd, *looks = commands(PAGES[0], "A county")
    station.run(init)
    station.start(even, "even.log")
    served = station.start(odd, "odd.log")
    station.wait_for("odd.log", "listening on")
    station.start("dianka sim meters --file meters.yaml --link LINE", "meters.log")
    station.wait_for("meters.log", "serving 3 meters")
    service = unit_of(next(file for file in SERVICES if "concentrator" in file.name))["Service"]
    line = service["ExecStart"].replace("/dev/%I", "LINE").replace("%i", "ttyUSB0")
    # Concentrator 7 is of the second part.
    line = line.replace(":7645", ":7646")
    station.start(line, "run.log")
    station.wait_for("run.log", "console")
    assert "ttyUSB0.bin" in station.run(line, status=1)

    station.run("dianka setup village.toml --yes")
    database = "--db postgres://dianka@db/county --account 1"
    station.run(f"dianka headend sell {database} --amount 50.00 --new")
    station.run(f"dianka card issue {database} --file card1.bin")
    station.run("dianka card redeem --file card1.bin --port unix:ttyUSB0.bin.console")

    # As `systemctl reload` does, after a second concentrator was given its key.
    station.run("dianka headend keys new --keys uplink.toml --concentrator 9")
    served.send_signal(signal.SIGHUP)
    ends_s = time.monotonic() + PATIENCE_S
    while "to the fen" not in (said := station.run(looks[-1])):
        assert time.monotonic() < ends_s, said + (station.folder / "odd.log").read_text()
        time.sleep(1)
    assert "50.00" in said
    assert re.search(r"^.*\b7\b", station.run(looks[0]), re.MULTILINE)
    assert served.poll() is None
    assert station.stop() == [0] * len(station.running)
    logs = "".join(path.read_text() for path in station.folder.glob("*.log"))
    assert "Traceback" not in logs


def test_a_file_is_judged_without_a_board(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    line = commands(PAGES[0], HEADINGS[0])[0]
    monkeypatch.chdir(tmp_path)
    Path("board.json").write_text((ROOT / "docs/boards/pico-w.json").read_text())
    done = CliRunner().invoke(cli, shlex.split(line)[1:])
    assert (done.exit_code, "is fit for Raspberry Pi Pico W" in done.output) == (0, True)


def test_each_command_of_a_board_is_run_by_a_test() -> None:
    shown = commands(PAGES[0], HEADINGS[0])
    assert len(shown) == len(ON_A_BOARD)
    for line, (words, test) in zip(shown, ON_A_BOARD.items(), strict=True):
        assert line.startswith(f"dianka {words}")
        file, _colons, name = test.partition("::")
        assert f"def {name}" in (ROOT / file).read_text()
