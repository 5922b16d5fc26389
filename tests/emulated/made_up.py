"""Measure what the code for boards costs, on made-up ports whose time stands still between steps.

    MICROPYPATH=firmware:tests/core:tests/emulated:.frozen micropython -c "import made_up; ..."

Each function prints one figure in a line, and its name. It runs on the unix port and, as far as
that one has the modules, on the emulated board. tools/budget.py runs it.
"""

import gc
import json
import sys

MINUTE_MS = 60_000
NAME_SERVER_AWAY_MS = 7000
RADIO_ON_MS = 250
CHARACTER_BITS = 11
BLOCK_SIZE = 4096


class World:
    """The time in microseconds, and the timers that run meanwhile; `blocked_ms` counts waits."""

    us = 1_000_000
    now_s = 820540800
    blocked_ms = 0
    timers: "list[Timer]" = []  # noqa: RUF012 - there is one world

    @classmethod
    def pass_us(cls, us: int) -> None:
        """Let time pass in one step of the main loop, during which only timers run."""
        end_us = cls.us + us
        while True:
            due = [one for one in cls.timers if 0 <= one.due_us <= end_us]
            if not due:
                break
            timer = min(due, key=lambda one: one.due_us)
            cls.us = max(cls.us, timer.due_us)
            timer.due_us = -1
            timer.callback(timer)
        cls.us = end_us

    @classmethod
    def block_ms(cls, ms: int) -> None:
        """Let a call of the port wait."""
        cls.blocked_ms += ms
        cls.us += 1000 * ms


class Timer:
    """A timer that fires between two bytecodes."""

    ONE_SHOT = 0

    def __init__(self, number: int) -> None:
        self.due_us = -1
        self.callback = None
        World.timers.append(self)

    def init(self, mode: int, period: int, callback) -> None:  # type: ignore[no-untyped-def]  # a function
        """Fire once, after `period` ms."""
        self.due_us = World.us + 1000 * period
        self.callback = callback


class Pin:
    """An output that keeps the time of its last change."""

    IN = OUT = PULL_UP = 0

    def __init__(self, number: object, *modes: int, value: int = 0) -> None:
        self.level = value
        self.changed_us = World.us

    def __call__(self, level: int = -1) -> int:
        """Read or set the level."""
        if level >= 0:
            self.level = level
            self.changed_us = World.us
        return self.level


class Uart:
    """A port that sends without a pause, and reports the end one character too early."""

    def __init__(self, *arguments: object, **options: object) -> None:
        self.baud = arguments[1]
        self.free_us = 0
        self.received = b""

    def any(self) -> int:
        """Return how many bytes have arrived."""
        return len(self.received)

    def write(self, buf: memoryview) -> int:
        """Send from the next bit on, behind what was written before."""
        begin_us = max(self.free_us, World.us)
        self.free_us = begin_us + len(buf) * CHARACTER_BITS * 1_000_000 // self.baud
        return len(buf)

    def txdone(self) -> bool:
        """Return whether at most one character is left."""
        return World.us >= self.free_us - CHARACTER_BITS * 1_000_000 // self.baud


class Station:
    """A Wi-Fi that is there, gone or in trouble, as `state` says."""

    state = "there"
    is_active = False

    def __init__(self, interface: int) -> None:
        if Station.state == "trouble":
            raise OSError(1)

    def active(self, on: bool = False) -> bool:
        """Switch the radio on, which waits."""
        if on:
            World.block_ms(RADIO_ON_MS)
            Station.is_active = True
        return Station.is_active

    def disconnect(self) -> None:
        """Leave the network."""

    def connect(self, ssid: str, key: str) -> None:
        """Begin to join."""
        if Station.state == "error":
            raise OSError(1)

    def isconnected(self) -> bool:
        """Return whether the network was joined."""
        return Station.state == "there"

    def ifconfig(self) -> "tuple[str, str, str, str]":
        """Return the addresses of DHCP."""
        return ("192.0.2.7", "255.255.255.0", "192.0.2.1", "192.0.2.1")


class Socket:
    """A socket whose peer never answers."""

    def __init__(self, *kind: int) -> None: ...

    def setblocking(self, on: bool) -> None:
        """Choose whether a call waits."""

    def connect(self, address: object) -> None:
        """Begin to connect."""

    def send(self, data: bytes) -> int:
        """Take all."""
        return len(data)

    sendto = connect

    def recv(self, size: int) -> bytes:
        """Have nothing."""
        raise OSError(11)

    def close(self) -> None:
        """Forget everything."""


def _resolve(host: str, port: int) -> "list[tuple[int, int, int, str, tuple[str, int]]]":
    """Wait as a port does for a name server that is away; digits need none."""
    if not host.replace(".", "").isdigit():
        World.block_ms(NAME_SERVER_AWAY_MS)
        raise OSError(-2)
    return [(0, 0, 0, "", (host, port))]


class Files:
    """A storage without a file."""

    def size(self, name: str) -> int:
        """Return that there is none."""
        return -1

    def read_into(self, name: str, offset: int, buf: bytearray, size: int) -> int:
        """Return that there is none."""
        return -1


class Module:
    """A module of a port with these names."""

    def __init__(self, **names: object) -> None:
        for name, value in names.items():
            setattr(self, name, value)


def _diff(later: int, earlier: int) -> int:
    return ((later - earlier + 0x10000000) & 0x1FFFFFFF) - 0x10000000


def install() -> None:
    """Put the modules of a port in place, as the boards import them."""
    clock = Module(datetime=print)
    machine = Module(
        Pin=Pin, UART=Uart, Timer=Timer, RTC=lambda: clock, reset_cause=lambda: 1, PWRON_RESET=1
    )
    made = {
        "machine": machine,
        "time": Module(
            ticks_ms=lambda: World.us // 1000 & 0x1FFFFFFF,
            ticks_us=lambda: World.us & 0x1FFFFFFF,
            ticks_add=lambda ticks, ms: (ticks + ms) & 0x1FFFFFFF,
            ticks_diff=_diff,
            time=lambda: World.now_s,
            gmtime=lambda s: (1970 if s == 0 and World.now_s > 900_000_000 else 2026, 1, 2),
        ),
        "network": Module(WLAN=Station, STA_IF=0),
        "socket": Module(
            socket=Socket, getaddrinfo=_resolve, AF_INET=2, SOCK_DGRAM=1, SOCK_STREAM=2
        ),
        "select": Module(poll=Poll, POLLIN=1, POLLOUT=4, POLLHUP=16, POLLERR=8),
        "os": Module(urandom=bytes, getcwd=lambda: "/"),
    }
    sys.modules.update(made)


class Poll:
    """A poll that sees nothing."""

    def register(self, which: object, events: int) -> None:
        """Watch."""

    unregister = print

    def poll(self, ms: int) -> "list[tuple[object, int]]":
        """Return nothing."""
        return []


def board_of(options: "dict[str, object]"):  # type: ignore[no-untyped-def]  # a Board of boards.chip
    """Return a board with this board.json, which needs no file."""
    from boards import chip, wiring
    from boards.wifi import Wifi

    class Board(chip.Board):
        """A board with a radio."""

        @staticmethod
        def join(options: object) -> Wifi:
            """Join the Wi-Fi."""
            return Wifi(options)

    chip.load = lambda: wiring.Options(json.loads(json.dumps(options)))
    return Board(Files())


LINE = {"uart": 1, "tx": 17, "rx": 16, "direction": 4}


def direction() -> None:
    """Print how late the direction pin falls, in us: up to 9600 bps, and above less a character.

    The main loop takes steps of 1 ms to 5 s. An early pin would cut the request off.
    """
    latest = {False: 0, True: 0}
    for baud in (600, 1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200):
        for step_ms in (1, 20, 160, 5000):
            for phase_us in (0, 1, 499, 998, 999):
                late_us = _lateness_us(baud, step_ms, phase_us)
                if late_us < 0:
                    raise ValueError("the pin falls while a request leaves")
                fast = baud > 9600
                if fast:
                    late_us -= CHARACTER_BITS * 1_000_000 // baud
                latest[fast] = max(latest[fast], late_us)
    print("direction_late_us", latest[False])
    print("direction_late_fast_us", latest[True])


def _lateness_us(baud: int, step_ms: int, phase_us: int) -> int:
    World.timers.clear()
    World.us = World.us // 1000 * 1000 + phase_us
    options = dict(LINE)
    options["baud"] = baud
    board = board_of({"lines": [options], "log": False})
    line = board.lines[0]
    pin = line._direction
    # A request in two parts, as a port with a small buffer takes it.
    line.write(memoryview(bytes(12)))
    World.pass_us(700)
    line.write(memoryview(bytes(8)))
    for _ in range(1000):
        if not pin.level:
            break
        World.pass_us(1000 * step_ms)
        board.look()
    return pin.changed_us - line._port.free_us


def network() -> None:
    """Print the longest time that a turn waits for the network in two days of all its troubles."""
    World.now_s = 820540800
    Station.state = "trouble"
    uplink = {"host": "head.example", "port": 7645, "ssid": "station", "key": "secret"}
    board = board_of(
        {"lines": [{"uart": 1}], "uplink": uplink, "sntp": {"host": "time.example"}, "log": False}
    )
    longest_ms = 0
    states = ("trouble", "gone", "error", "there")
    for second in range(2 * 86400):
        if second % 3600 == 0:
            Station.state = states[second // 3600 % 4]
        World.us += 1_000_000
        World.blocked_ms = 0
        board.look()
        board.ask_t2000(4)
        if second > 4 * 3600:
            longest_ms = max(longest_ms, World.blocked_ms)
    print("network_longest_wait_ms", longest_ms)


def clock() -> None:
    """Print the heap that a turn takes for the clock of a board with a chip, and a second of it.

    Both epochs are measured; the port's own `gmtime` takes its tuple besides.
    """
    a_turn = a_second = 0
    for now_s in (820540800, 820540800 + 946684800):
        World.now_s = now_s
        board = board_of({"lines": [{"uart": 1}], "log": False})
        a_second = max(a_second, _taken(board, 1_000_000, 1))
        a_turn = max(a_turn, _taken(board, 5000, 100))
    print("clock_heap_bytes_a_turn", a_turn)
    print("clock_heap_bytes_a_second", a_second)


def _taken(board, step_us: int, turns: int) -> int:  # type: ignore[no-untyped-def]  # a board
    """Return the bytes that this many turns take, all of them within a second."""
    board.now_t2000()
    board.look()
    World.us += 1_000_000
    board.now_t2000()
    board.look()
    gc.collect()
    gc.disable()
    before = gc.mem_alloc()
    own = gc.mem_alloc() - before
    World.us += step_us
    before = gc.mem_alloc()
    for _ in range(turns):
        board.now_t2000()
        board.now_ticks()
        board.look()
    taken = gc.mem_alloc() - before - own
    gc.enable()
    return taken


class Memory:
    """A block device that counts what is programmed and erased."""

    def __init__(self, blocks: int) -> None:
        self.blocks = [bytearray(BLOCK_SIZE) for _ in range(blocks)]
        self.programmed = self.erased = 0

    def readblocks(self, block: int, buf: bytearray, offset: int = 0) -> int:
        """Read."""
        buf[:] = self.blocks[block][offset : offset + len(buf)]
        return 0

    def writeblocks(self, block: int, buf: bytearray, offset: int = 0) -> int:
        """Program."""
        self.blocks[block][offset : offset + len(buf)] = buf
        self.programmed += len(buf)
        return 0

    def ioctl(self, operation: int, argument: int) -> int:
        """Answer littlefs."""
        if operation == 4:
            return len(self.blocks)
        if operation == 5:
            return BLOCK_SIZE
        if operation == 6:
            self.erased += BLOCK_SIZE
        return 0


def log() -> None:
    """Print the bytes of flash that the log programs and erases in an hour with the most lines."""
    from boards.littlefs import LittleStorage, open_filesystem
    from boards.log import Log

    flash = Memory(64)
    storage = LittleStorage(open_filesystem(flash, 256, True))
    made = Log(storage, lambda: 820540800)
    flash.programmed = flash.erased = 0
    hours = 20
    for second in range(hours * 3600):
        World.us += 1_000_000
        if second % 10 == 0:
            made.urge("trouble " + str(second))
        made.look()
    print("log_programmed_bytes_an_hour", flash.programmed // hours)
    print("log_erased_bytes_an_hour", flash.erased // hours)


install()
