"""Goal: the unix board moves bytes on terminals and TCP without waiting, keeps its flash when it
is killed, returns the agreed time, and names a user's mistake in one line.

Method: the real MicroPython runs the board under a small loop that echoes lines, console and
uplink to each other; the test holds the other ends, kills the board, disconnects and reconnects.
"""

import os
import pty
import select
import signal
import socket
import subprocess
import termios
import time
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from host.sim.clock import AcceleratedClock
from tools import micropython

ROOT = Path(__file__).resolve().parent.parent.parent

# The line goes to the uplink and back; a line of the console is a call, its answer is printed.
LOOP = """\
import sys
sys.path.insert(0, "firmware")
from boards import BoardError
from boards.unix import Board
try:
    board = Board()
except BoardError as error:
    print("dianka:", error)
    sys.exit(2)
from concentrator import run
class Echo:
    tasks = 0
    litter = 0
    def __init__(self):
        self.buf = bytearray(64)
        self.view = memoryview(self.buf)
        self.call = b""
    def move(self, source, target):
        if source.waiting:
            size = source.read_into(self.buf)
            if size:
                target.write(self.view[:size])
    def signals(self):
        return 0
    def step(self, now_ticks, now_t2000):
        self.move(board.lines[0], board.uplink)
        self.move(board.uplink, board.lines[0])
        if board.console.waiting:
            size = board.console.read_into(self.buf)
            self.call += bytes(self.view[:size])
            if self.call[-1:] == b"?":
                answer = str(eval(self.call[:-1])) + ";"
                self.call = b""
                board.console.write(memoryview(answer.encode()))
        return 5
try:
    run.run(Echo(), board)
except KeyboardInterrupt:
    print("stopped")
"""


class Terminal:
    """A pseudo terminal; the board's end is at `path`."""

    def __init__(self) -> None:
        self.master, self.slave = pty.openpty()
        tty.setraw(self.master)
        self.path = os.ttyname(self.slave)

    def write(self, data: bytes) -> None:
        os.write(self.master, data)

    def read_until(self, end: bytes, timeout_s: float = 20.0) -> bytes:
        """Return the bytes up to and including `end`."""
        read = b""
        while not read.endswith(end):
            assert select.select([self.master], [], [], timeout_s)[0], read
            read += os.read(self.master, 1)
        return read

    def ask(self, expression: str) -> str:
        """Return what the board computes."""
        self.write(expression.encode() + b"?")
        return self.read_until(b";")[:-1].decode()

    def close(self) -> None:
        os.close(self.master)
        os.close(self.slave)


class Bench:
    """A running board and the other ends of its channels."""

    def __init__(self, folder: Path) -> None:
        self.line = Terminal()
        self.console = Terminal()
        self.server = socket.socket()
        self.server.bind(("127.0.0.1", 0))
        self.server.settimeout(20)
        self.flash = folder / "flash"
        self.process: subprocess.Popen[str] | None = None

    def start(self, *arguments: str, listening: bool = True) -> None:
        """Start the board; without `listening` the head-end refuses its connection."""
        if listening:
            self.server.listen()
        port = self.server.getsockname()[1]
        channels = ["--line", self.line.path, "--console", self.console.path]
        channels += ["--uplink", f"127.0.0.1:{port}"]
        command = [str(micropython.ensure()), "-c", LOOP, "--flash", str(self.flash)]
        self.process = subprocess.Popen(
            [*command, *channels, *arguments],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )

    def end(self, number: int) -> str:
        """Send a signal to the board and return its output."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.communicate(timeout=20)[0]

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.end(signal.SIGKILL)
        self.line.close()
        self.console.close()
        self.server.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    try:
        yield made
    finally:
        made.close()


def mistake(*arguments: str) -> str:
    """Return the one line printed for wrong arguments."""
    done = subprocess.run(
        [str(micropython.ensure()), "-c", LOOP, *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (2, ""), done.stderr
    return done.stdout


def test_bytes_pass_both_ways_and_the_uplink_comes_back(bench: Bench) -> None:
    bench.start()
    for count in (1, 2):
        connection = bench.server.accept()[0]
        connection.settimeout(20)
        while bench.console.ask("board.uplink.connection") != str(count):
            time.sleep(0.01)
        bench.line.write(bytes(range(64)))
        assert read_exactly(connection, 64) == bytes(range(64))
        connection.sendall(b"\x03\x04\x11\x13\r\n\x7f end")
        assert bench.line.read_until(b"end") == b"\x03\x04\x11\x13\r\n\x7f end"
        connection.close()
        while bench.console.ask("board.uplink.connection") == str(count):
            time.sleep(0.01)
    assert bench.end(signal.SIGINT) == "stopped\n"


def read_exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = connection.recv(size - len(data))
        assert part
        data += part
    return data


def test_bytes_of_wrong_parity_are_dropped_on_a_line_and_nowhere_else(bench: Bench) -> None:
    """A pseudo terminal has no parity, but keeps the settings that the board has requested."""
    bench.start(listening=False)
    bench.console.ask("1")

    line, console = (termios.tcgetattr(one.slave)[0] for one in (bench.line, bench.console))
    drop = termios.INPCK | termios.IGNPAR
    assert (line & drop, console & drop) == (drop, 0)


def test_without_a_head_end_it_works_on(bench: Bench) -> None:
    bench.start(listening=False)
    assert bench.console.ask("board.uplink.connection") == "0"
    time.sleep(1.5)
    assert bench.console.ask("board.uplink.write(memoryview(b'x'))") == "0"
    bench.server.listen()
    bench.server.accept()[0].close()


def test_a_reader_that_does_not_read_stops_nobody(bench: Bench) -> None:
    bench.start()
    fill = "sum(board.look() or board.lines[0].write(memoryview(bytes(999))) for _ in range(99))"
    taken = int(bench.console.ask(fill))

    assert 1000 < taken < 99 * 999
    assert bench.console.ask("1 + 1") == "2"


def test_the_flash_survives_a_kill(bench: Bench) -> None:
    bench.start()
    assert bench.console.ask("board.storage.names('')") == "[]"
    assert bench.console.ask("board.storage.append('j1', b'kept', 4)") == "True"
    bench.end(signal.SIGKILL)
    bench.start()

    assert bench.console.ask("board.storage.names('')") == "['j1']"
    assert bench.console.ask("board.storage.size('j1')") == "4"


def test_a_flash_has_one_owner(bench: Bench) -> None:
    bench.start()
    assert bench.console.ask("board.storage.append('j1', b'kept', 4)") == "True"
    first = bench.process
    assert first is not None
    bench.start()
    second, bench.process = bench.process, first
    assert second is not None
    assert second.communicate(timeout=20)[0] == (
        f"dianka: --flash {bench.flash}: process {first.pid} runs on it: stop that one first\n"
    )
    assert second.returncode == 2
    assert bench.console.ask("board.storage.size('j1')") == "4"
    bench.end(signal.SIGKILL)
    bench.start()
    assert bench.console.ask("board.storage.size('j1')") == "4", "a lock ends with its process"


def test_the_time_is_the_simulators(bench: Bench) -> None:
    clock = AcceleratedClock(speed=300)
    start = ("--start", str(clock.start_t2000), "--epoch", str(clock.epoch_s), "--speed", "300")
    bench.start(*start)
    before = clock.now_t2000()
    told = int(bench.console.ask("board.now_t2000()"))

    assert before <= told <= clock.now_t2000()
    assert bench.console.ask(
        "board.set_t2000(77777777) or board.now_t2000() - 77777777 < 9000"
    ) in ("True",)


def test_the_machines_own_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC-8")
    bench.start()
    expected = int(time.time()) - 946684800 + 8 * 3600

    assert abs(int(bench.console.ask("board.now_t2000()")) - expected) < 60


def test_ticks_and_numbers_nobody_guesses(bench: Bench) -> None:
    bench.start()
    first = int(bench.console.ask("board.now_ticks()"))
    assert 0 <= first < 1 << 29
    assert len({bench.console.ask("board.random()") for _ in range(4)}) == 4


def test_a_terminal_that_went_away_comes_back(bench: Bench, tmp_path: Path) -> None:
    link = tmp_path / "line"
    link.symlink_to(bench.line.path)
    kept, bench.line.path = bench.line, str(link)
    bench.start()
    connection = bench.server.accept()[0]
    connection.settimeout(20)
    while bench.console.ask("board.uplink.connection") == "0":
        time.sleep(0.01)
    kept.close()
    bench.line = Terminal()
    link.unlink()
    link.symlink_to(bench.line.path)
    while bench.console.ask("board.lines[0]._file is None") == "True":
        time.sleep(0.05)
    time.sleep(0.1)
    bench.line.write(b"back")

    assert read_exactly(connection, 4) == b"back"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("", "--flash is missing"),
        ("--flash {flash}", "--line is missing"),
        ("--flash", "--flash needs a value"),
        ("--flash {flash} --flash b", "--flash is given twice"),
        ("--colour red", "unknown argument --colour"),
        ("--flash {folder} --line x", "is a folder"),
        ("--flash /no/such --line x", "--flash /no/such: does not exist"),
        ("--flash {text} --line x", "is no flash"),
        ("--flash {foreign} --line x", "holds no littlefs but something else"),
        ("--flash {flash} --line /no/such", "--line /no/such: does not exist"),
        ("--flash {flash} --line {text}", "is no terminal"),
        ("--flash {flash} --line {tty} --uplink head", "expected HOST:PORT"),
        ("--flash {flash} --line {tty} --uplink a:99999", "expected HOST:PORT"),
        ("--flash {flash} --line {tty} --speed 2", "belong together"),
        ("--flash {flash} --line {tty} --start 1 --epoch soon --speed 2", "soon is no number"),
        ("--flash {flash} --line {tty} --start 1 --epoch 1 --speed 0", "expected 1 to 100000"),
    ],
)
def test_a_mistake_is_told_in_one_line(tmp_path: Path, arguments: str, said: str) -> None:
    terminal = Terminal()
    (tmp_path / "text").write_text("somebody's diary")
    (tmp_path / "foreign").write_bytes(b"somebody's disk." * 4096)
    places = {name: str(tmp_path / name) for name in ("flash", "text", "foreign")}
    places.update(folder=str(tmp_path), tty=terminal.path)

    printed = mistake(*arguments.format(**places).split())
    terminal.close()

    assert said in printed.splitlines()[0]
    assert "Traceback" not in printed
    assert (tmp_path / "text").read_text() == "somebody's diary"
