"""The village: head-end, meters on one line, and a concentrator; one folder for all of it."""

import json
import socket
import sys
from pathlib import Path
from typing import Any

from host.demo.devices import Device, Maker, Wiring
from host.demo.processes import DemoError, Process, wait_for
from host.link.pty import PtyPort
from host.sim.clock import AcceleratedClock
from host.units import to_datetime
from host.words import _

START_LIMIT_S = 30.0


class Village:
    """Starts what the story needs, and ends it. The concentrator is what `maker` makes.

    `database` is the head-end's, None: a file in `folder`. `page` is where the station's pages
    are, None: there are none.
    """

    def __init__(
        self,
        folder: Path,
        maker: Maker,
        start_t2000: int,
        speed: int,
        database: str | None = None,
        page: tuple[str, int] | None = None,
    ) -> None:
        self.folder = folder
        self.database = database or str(folder / "headend.db")
        self.trace = folder / "meters.jsonl"
        self.console = PtyPort()
        self.clock = AcceleratedClock(start_t2000, speed)
        self.page_url = ""
        self._maker = maker
        self._page = page
        self._processes: list[Process] = []
        self._headend: Process | None = None
        self._concentrator: Device | None = None

    def now_t2000(self) -> int:
        """Return the time in the village."""
        return self.clock.now_t2000()

    def start_headend(self, keys: str) -> int:
        """Start the head-end with this key file; return its port."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = int(free.getsockname()[1])
        key_file = self.folder / "uplink.toml"
        key_file.write_text(keys)
        arguments = ["headend", "serve", "--db", self.database, "--port", str(port)]
        arguments.append("--no-time")  # the village has a time of its own
        if self._page is not None:
            host, number = self._page
            arguments += ["--page", f"{host}:{number}", "--simple"]
        process = self._start("headend", _dianka(*arguments, "--keys", str(key_file)))
        wait_for(_("head-end"), START_LIMIT_S, lambda: process.said("listening on"))
        self._headend = process
        self.page_url = (process.said("the station's") or "").rpartition(" ")[2]
        return port

    def start_meters(self, plan: str) -> None:
        """Start the meters of a YAML plan on a pseudo terminal: the day begins."""
        plan_file = self.folder / "village.yaml"
        plan_file.write_text(plan)
        self.clock = clock = AcceleratedClock(self.clock.start_t2000, self.clock.speed)
        arguments = ["sim", "meters", "--file", str(plan_file), "--link", str(self._line)]
        arguments += [
            "--start",
            str(to_datetime(clock.start_t2000)),
            "--epoch",
            repr(clock.epoch_s),
        ]
        arguments += ["--speed", str(clock.speed), "--trace", str(self.trace)]
        process = self._start("meters", _dianka(*arguments))
        wait_for(_("meters"), START_LIMIT_S, lambda: process.said("serving"))

    def start_concentrator(self, headend_port: int) -> None:
        """Start the firmware; what it knows is in its flash alone."""
        wiring = Wiring(self.folder, str(self._line), self.console.name, headend_port, self.clock)
        self._concentrator = self._maker(wiring)
        self._concentrator.start()

    def crash_headend(self) -> None:
        """Kill it and start it again on the same database and port."""
        if self._headend is None:
            raise DemoError(_("there is no head-end to kill"))
        self._headend.kill()
        self._headend.start()

    def crash_concentrator(self) -> None:
        """Kill it and start it again on the same flash."""
        if self._concentrator is None:
            raise DemoError(_("there is no concentrator to kill"))
        self._concentrator.kill()
        self._concentrator.start()

    def check(self) -> None:
        """Raise DemoError when a process has ended by itself."""
        for process in self._processes:
            process.check()
        if self._concentrator is not None:
            self._concentrator.check()

    def meter_events(self, event: str) -> list[dict[str, Any]]:
        """Return what happened in the meters, as they tell it themselves."""
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
        if self._concentrator is not None:
            self._concentrator.stop()
        for process in reversed(self._processes):
            process.stop()
        self.console.close()

    @property
    def _line(self) -> Path:
        return self.folder / "line"

    def _start(self, name: str, command: list[str]) -> Process:
        process = Process(name, command, self.folder)
        self._processes.append(process)
        process.start()
        return process


def _dianka(*arguments: str) -> list[str]:
    """Return a command that tells in English when it is ready, as `said` expects it."""
    return [sys.executable, "-m", "host.cli", "--lang", "en", *arguments]
