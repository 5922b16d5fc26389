"""What the head-end's gate bears: `make bench-gate`, and `make -s bench-gate-json` for one object.

Many concentrators bring a backlog at once, each over a connection of its own with the session of
the firmware, which has its own waits. The second run is the same beside connections that say
nothing, and come again as often as they are closed.

An acknowledgement's wait begins where a batch is first sent, and ends where it is acknowledged:
what BUSY makes a session wait, and what it sends again, is within it. Who is put off at its
greeting has sent no batch yet: `begin` is the wait from a session's first greeting to its first
batch, and `brought` the time from that greeting until everything is acknowledged.
"""

import os
import random
import resource
import select
import socket
import struct
import sys
import tempfile
import time
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path

import host.device  # noqa: F401 - puts the device's modules on the path

# isort: split
from uplink.envelope import Envelope
from uplink.session import ACKED, BACK_OFF, IDLE, SENT, Session

from host.frames import packing
from tools.bench_headend import METERS, HeadEnd, journal_of, key_of, meters, reading, tell

SESSIONS = 1600
SILENT = 1100
READINGS = 600
_SILENT_ADDRESS = "127.0.0.2"  # the gate has a limit for each address
_GROUP = 25
_TICKS_MASK = 0x1FFFFFFF
_LOOK_S = 0.05  # how often a session looks at its waits
_RECONNECT_S = 1.0
_FILES = 8192


class Backlog:
    """Durable records, made beforehand: the `source` of a session."""

    outbox_seq = 1

    def __init__(self, concentrator: int, groups: Sequence[bytes]) -> None:
        first = packing.build_groups(meters(concentrator))
        self._groups = [*_groups(first), *groups]
        self._starts = [int.from_bytes(one[3:7], "little") for one in self._groups]
        self.durable_seq = self._starts[-1] + self._groups[-1][2] - 1
        self.group_end = 0

    def group_into(self, seq: int, buf: bytearray | memoryview, start: int, limit: int) -> int:
        """Copy the group with a record, as a journal does."""
        at = bisect_right(self._starts, seq) - 1
        group = self._groups[at]
        if len(group) > limit:
            return 0
        buf[start : start + len(group)] = group
        self.group_end = self._starts[at] + group[2]
        return len(group)


def _groups(data: bytes) -> list[bytes]:
    """Divide the payload of a batch into its groups."""
    found = []
    while data:
        (size,) = struct.unpack_from("<H", data)
        found.append(data[:size])
        data = data[size:]
    return found


def backlog_of(readings: int) -> list[bytes]:
    """Return groups of readings behind the meters; they are the same for all."""
    last = METERS + readings
    return [
        packing.build_groups([reading(one) for one in range(seq, min(seq + _GROUP, last + 1))])
        for seq in range(METERS + 1, last + 1, _GROUP)
    ]


class Figures:
    """The counts and waits of a run."""

    def __init__(self) -> None:
        self.sent = self.repeated = self.put_off = self.gave_up = self.lost = self.closed = 0
        self.waits: list[float] = []
        self.began: list[float] = []  # from the first greeting of each to its first batch
        self.brought: list[float] = []  # and until it has brought everything


def _at_percent(values: Sequence[float], percent: int) -> float:
    return sorted(values)[len(values) * percent // 100]


class _Line:
    """A connection that is made without waiting, and made again some time after it ended."""

    def __init__(self, run: "Run", address: str) -> None:
        self._run = run
        self._address = address
        self.socket: socket.socket | None = None
        self.is_open = False
        self.due_s = 0.0  # when it may connect

    def connect(self) -> None:
        """Begin a connection."""
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.bind((self._address, 0))
        self.socket.connect_ex(("127.0.0.1", self._run.port))
        self._run.watch(self, select.EPOLLOUT)

    def close(self, now_s: float) -> None:
        """End it."""
        if self.socket is not None:
            self._run.forget(self)
            self.socket.close()
        self.socket, self.is_open = None, False
        self.due_s = now_s + _RECONNECT_S

    def on_event(self, now_s: float) -> None:
        """Take what has come; the connection may have been made, or have ended."""
        assert self.socket is not None
        if not self.is_open:
            if self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self.close(now_s)
                return
            self.is_open = True
            self._run.watch(self, select.EPOLLIN, again=True)
            self.on_open(now_s)
            return
        try:
            data = self.socket.recv(4096)
        except OSError:
            data = b""
        if data:
            self.on_data(data, now_s)
        else:
            self.on_end()
            self.close(now_s)

    def on_open(self, now_s: float) -> None:
        """Say nothing."""

    def on_data(self, data: bytes, now_s: float) -> None:
        """Take what has come."""

    def on_end(self) -> None:
        """Note that the other side has closed the connection."""
        self._run.figures.closed += 1


class _Board(_Line):
    """A concentrator that brings its backlog."""

    def __init__(self, run: "Run", concentrator: int, groups: Sequence[bytes]) -> None:
        super().__init__(run, "127.0.0.1")
        chance = random.Random(concentrator)
        source = Backlog(concentrator, groups)
        sealed = Envelope(key_of(concentrator), concentrator, journal_of(concentrator), 1)
        self.session = Session(source, sealed, lambda: chance.getrandbits(29))
        self.is_done = False
        self._last = b""
        self._batch_since_s: float | None = None
        self._greeted_s: float | None = None
        self._has_begun = False

    def on_open(self, now_s: float) -> None:
        self.session.reset()
        self.step(now_s)

    def on_data(self, data: bytes, now_s: float) -> None:
        self.session.feed(data, len(data))
        self.step(now_s)

    def on_end(self) -> None:
        self._run.figures.lost += 1

    def step(self, now_s: float) -> None:
        """Have the session go on, as the concentrator's turn does."""
        session, figures = self.session, self._run.figures
        ticks = int(now_s * 1000) & _TICKS_MASK
        was_off = session.state == BACK_OFF
        while (outcome := session.poll(ticks)) == ACKED:
            if self._batch_since_s is not None:
                figures.waits.append(now_s - self._batch_since_s)
                self._batch_since_s = None
        if outcome == IDLE:
            if not self.is_done and self._greeted_s is not None:
                figures.brought.append(now_s - self._greeted_s)
            self.is_done = True
        elif session.tx_size:
            self._send(now_s)
            session.sent(ticks)
        elif session.stale:
            figures.gave_up += 1
            self.close(now_s)
        elif session.state == BACK_OFF and not was_off:
            figures.put_off += 1

    def _send(self, now_s: float) -> None:
        session, figures = self.session, self._run.figures
        frame = bytes(session.tx[: session.tx_size])
        figures.sent += 1
        figures.repeated += frame == self._last
        self._last = frame
        if session.state == SENT and self._batch_since_s is None:
            self._batch_since_s = now_s
        if self._greeted_s is None:
            self._greeted_s = now_s
        elif session.state == SENT and not self._has_begun:
            self._has_begun = True
            figures.began.append(now_s - self._greeted_s)
        assert self.socket is not None
        # A frame is smaller than what a connection buffers.
        self.socket.send(frame)


class Run:
    """Sessions that bring their backlogs, beside connections that say nothing."""

    def __init__(self, port: int, sessions: int, readings: int, silent: int) -> None:
        self.port = port
        self.figures = Figures()
        self._poll = select.epoll()
        self._lines: dict[int, _Line] = {}
        groups = backlog_of(readings)
        self._boards = [_Board(self, one, groups) for one in range(1, sessions + 1)]
        self._silent = [_Line(self, _SILENT_ADDRESS) for _ in range(silent)]

    def watch(self, line: _Line, events: int, *, again: bool = False) -> None:
        """Have `on_event` of a line called."""
        assert line.socket is not None
        name = line.socket.fileno()
        self._lines[name] = line
        if again:
            self._poll.modify(name, events)
        else:
            self._poll.register(name, events)

    def forget(self, line: _Line) -> None:
        """Watch a line no more."""
        assert line.socket is not None
        name = line.socket.fileno()
        self._poll.unregister(name)
        del self._lines[name]

    def run(self) -> float:
        """Let all sessions bring everything; return how many seconds it took."""
        for line in self._silent:
            line.connect()
        if self._silent:
            self._serve_events(1.0)
        began_s = next_s = time.monotonic()
        while not all(one.is_done for one in self._boards):
            now_s = time.monotonic()
            if now_s >= next_s:
                next_s = now_s + _LOOK_S
                self._look(now_s)
            self._serve_events(max(0.0, next_s - time.monotonic()))
        took_s = time.monotonic() - began_s
        for one in (*self._boards, *self._silent):
            one.close(0)
        return took_s

    def _look(self, now_s: float) -> None:
        for line in (*self._boards, *self._silent):
            if line.socket is None and now_s >= line.due_s:
                line.connect()
        for board in self._boards:
            if board.is_open and not board.is_done:
                board.step(now_s)

    def _serve_events(self, within_s: float) -> None:
        for name, _event in self._poll.poll(within_s):
            line = self._lines.get(name)
            if line is not None:
                line.on_event(time.monotonic())


def borne(folder: Path, sessions: int, readings: int, silent: int) -> dict[str, float]:
    """Return what a run has shown."""
    head_end = HeadEnd(str(folder / f"gate-{silent}.db"), folder, sessions)
    try:
        run = Run(head_end.port, sessions, readings, silent)
        before_s, own_s = head_end.cpu_s, time.process_time()
        took_s = run.run()
        figures = run.figures
        waits = figures.waits
        return {
            "readings_per_s": sessions * readings / took_s,
            "ack_p50_ms": 1000 * _at_percent(waits, 50),
            "ack_p99_ms": 1000 * _at_percent(waits, 99),
            "ack_max_ms": 1000 * max(waits),
            "begin_p50_s": _at_percent(figures.began, 50),
            "begin_max_s": max(figures.began),
            "brought_p50_s": _at_percent(figures.brought, 50),
            "brought_p90_s": _at_percent(figures.brought, 90),
            "brought_max_s": max(figures.brought),
            "repeats_percent": 100 * figures.repeated / figures.sent,
            "put_off_percent": 100 * figures.put_off / figures.sent,
            "gave_up": figures.gave_up,
            "connections_lost": figures.lost,
            "silent_closed": figures.closed,
            "cpu_share": (head_end.cpu_s - before_s) / took_s,
            "own_cpu_share": (time.process_time() - own_s) / took_s,
            "load_average": os.getloadavg()[0],
        }
    finally:
        head_end.stop()


def measured(*, quick: bool = False) -> dict[str, float]:
    """Return every figure by its name; `quick` takes fewer of all, to try the bench out."""
    sessions, silent, readings = (60, 40, 100) if quick else (SESSIONS, SILENT, READINGS)
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(_FILES, hard), hard))
    found: dict[str, float] = {"sessions": sessions, "silent": silent}
    with tempfile.TemporaryDirectory(prefix="dianka-bench-") as name:
        found |= borne(Path(name), sessions, readings, 0)
        beside = borne(Path(name), sessions, readings, silent)
        found |= {f"{key}_beside_silent": value for key, value in beside.items()}
    return {key: round(value, 2) for key, value in found.items()}


if __name__ == "__main__":
    sys.exit(tell("Measure what the head-end's gate bears.", measured))
