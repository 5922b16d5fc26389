"""A process of the demonstration, its output in a file."""

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from host import children
from host.words import _

STOP_LIMIT_S = 5.0
_STEP_S = 0.05


class DemoError(Exception):
    """The demonstration cannot go on; the message says what happened and where to look."""


def wait_for(what: str, limit_s: float, done: Callable[[], Any]) -> Any:
    """Wait until `done` gives something; DemoError after `limit_s`."""
    ends_s = time.monotonic() + limit_s
    while not (result := done()):
        if time.monotonic() > ends_s:
            raise DemoError(
                _("{what}: not within {limit_s:g} s").format(what=what, limit_s=limit_s)
            )
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
        environment = {**children.environment(), "PYTHONUNBUFFERED": "1"}
        self._running = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=self._file,
            stderr=subprocess.STDOUT,
            env=environment,
        )

    def check(self) -> None:
        """Raise DemoError when it has ended by itself."""
        if self._running is not None and self._running.poll() is not None:
            tail = self.output.read_text(errors="replace").splitlines()[-3:]
            code = self._running.returncode
            raise DemoError(
                _("{name} ended with {code}: {tail}").format(
                    name=self.name, code=code, tail=" | ".join(tail)
                )
            )

    def said(self, start: str) -> str | None:
        """Return the rest of the first line of its output that begins with `start`."""
        self.check()
        for line in self.output.read_text(errors="replace").splitlines():
            if line.startswith(start):
                return line[len(start) :].strip()
        return None

    def kill(self) -> None:
        """Kill it with SIGKILL, so that it saves nothing."""
        if self._running is not None:
            self._running.kill()
            self._end()

    def stop(self) -> None:
        """End it with SIGTERM, and with SIGKILL where that does not help."""
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
