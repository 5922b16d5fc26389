"""The processes of the demonstration: head-end, meters, concentrator; one folder for all of it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from host.link.pty import PtyPort
from host.sim.clock import to_datetime

START_LIMIT_S = 20.0
STOP_LIMIT_S = 5.0
_STEP_S = 0.05


class DemoError(Exception):
    """The demonstration cannot go on; the message says what happened and where to look."""


def wait_for(what: str, limit_s: float, done: Callable[[], Any]) -> Any:
    """Wait until `done` gives something; DemoError after `limit_s`."""
    ends_s = time.monotonic() + limit_s
    while not (result := done()):
        if time.monotonic() > ends_s:
            raise DemoError(f"{what}: not within {limit_s:g} s")
        time.sleep(_STEP_S)
    return result


class Process:
    """One program and its output in a file."""

    def __init__(self, name: str, command: list[str], folder: Path) -> None:
        self.name = name
        self.output = folder / f"{name}.log"
        self._command = command
        self._file: IO[bytes] | None = None
        self._running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, its output behind what is there."""
        self._file = self.output.open("ab")
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        self._running = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=self._file,
            stderr=subprocess.STDOUT,
            env=environment,
        )

    def check(self) -> None:
        """DemoError when it has ended by itself."""
        if self._running is not None and self._running.poll() is not None:
            tail = self.output.read_text(errors="replace").splitlines()[-3:]
            code = self._running.returncode
            raise DemoError(f"{self.name} ended with {code}: {' | '.join(tail)}")

    def said(self, start: str) -> str | None:
        """The rest of the first line of its output that begins with `start`."""
        self.check()
        for line in self.output.read_text(errors="replace").splitlines():
            if line.startswith(start):
                return line[len(start) :].strip()
        return None

    def kill(self) -> None:
        """SIGKILL: no farewell, nothing saved."""
        if self._running is not None:
            self._running.kill()
            self._end()

    def stop(self) -> None:
        """SIGTERM, and SIGKILL where that does not help."""
        if self._running is None:
            return
        self._running.send_signal(signal.SIGTERM)
        try:
            self._running.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._running.kill()
        self._end()

    def _end(self) -> None:
        if self._running is not None:
            self._running.wait()
        self._running = None
        if self._file is not None:
            self._file.close()
            self._file = None


class Village:
    """Head-end, meters on one line, and a concentrator on a real MicroPython."""

    def __init__(
        self, folder: Path, micropython: Path, main: Path, start_t2000: int, speed: int
    ) -> None:
        self.folder = folder
        self.database = folder / "headend.db"
        self.trace = folder / "meters.jsonl"
        self.console = PtyPort()
        self.start_t2000 = start_t2000
        self.speed = speed
        self.epoch_s = time.time()
        self._micropython = micropython
        self._main = main
        self._processes: list[Process] = []
        self.concentrator: Process | None = None

    def now_t2000(self) -> int:
        """Time in the village."""
        return self.start_t2000 + int((time.time() - self.epoch_s) * self.speed)

    def start_headend(self, keys: str) -> int:
        """Start the head-end with this key file; return its port."""
        key_file = self.folder / "uplink.toml"
        key_file.write_text(keys)
        arguments = ["headend", "serve", "--db", str(self.database), "--port", "0"]
        process = self._start("headend", _dianka(*arguments, "--keys", str(key_file)))
        address = wait_for("head-end", START_LIMIT_S, lambda: process.said("listening on"))
        return int(str(address).rpartition(":")[2])

    def start_meters(self, plan: str) -> None:
        """Start the meters of a YAML plan on a pseudo terminal."""
        plan_file = self.folder / "village.yaml"
        plan_file.write_text(plan)
        line = self.folder / "line"
        arguments = ["sim", "meters", "--file", str(plan_file), "--link", str(line)]
        arguments += ["--start", str(to_datetime(self.start_t2000)), "--epoch", repr(self.epoch_s)]
        arguments += ["--speed", str(self.speed), "--trace", str(self.trace)]
        process = self._start("meters", _dianka(*arguments))
        wait_for("meters", START_LIMIT_S, lambda: process.said("serving"))

    def start_concentrator(self, headend_port: int) -> None:
        """Start the firmware on MicroPython; what it knows is in its flash alone."""
        command = [str(self._micropython), str(self._main)]
        command += ["--flash", str(self.folder / "flash.bin")]
        command += ["--line", str(self.folder / "line"), "--console", self.console.name]
        command += ["--uplink", f"127.0.0.1:{headend_port}", "--start", str(self.start_t2000)]
        command += ["--epoch", f"{self.epoch_s:.3f}", "--speed", str(self.speed)]
        self.concentrator = self._start("concentrator", command)

    def crash_concentrator(self) -> None:
        """Kill it and start it again on the same flash."""
        if self.concentrator is None:
            raise DemoError("there is no concentrator to kill")
        self.concentrator.kill()
        self.concentrator.start()

    def check(self) -> None:
        """DemoError when a process has ended by itself."""
        for process in self._processes:
            process.check()

    def meter_events(self, event: str) -> list[dict[str, Any]]:
        """What happened in the meters, as they tell it themselves."""
        if not self.trace.exists():
            return []
        lines = self.trace.read_text().split("\n")[:-1]
        return [row for row in map(json.loads, lines) if row["event"] == event]

    def stop_meters(self) -> None:
        """Stop the meters; they tell their state."""
        for process in self._processes:
            if process.name == "meters":
                process.stop()

    def close(self) -> None:
        """Stop everything."""
        for process in reversed(self._processes):
            process.stop()
        self.console.close()

    def _start(self, name: str, command: list[str]) -> Process:
        process = Process(name, command, self.folder)
        self._processes.append(process)
        process.start()
        return process


def _dianka(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "host.cli", *arguments]
