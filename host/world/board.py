"""A board in virtual time: the interface of `ports`, made of simulated parts.

Each restart makes a new `SimulatedBoard` on the same parts, like the restart of a process or a
chip; only the storage survives.
"""

from random import Random
from typing import TYPE_CHECKING, Protocol

from host.sim.clock import VirtualClock
from host.sim.headend import HeadEnd
from host.sim.line import Line
from host.sim.storage import Storage

if TYPE_CHECKING:
    import ports

TICKS_MASK = 0x1FFFFFFF


class Stream(Protocol):
    """A connection with two ends for bytes.

    first_us    when the next byte arrives, as far as it is known, else NEVER_US
    over_us     when what it belongs to is over: nobody needs to look earlier
    """

    first_us: int
    over_us: int

    def write(self, data: bytes) -> int:
        """Send; return how many bytes were taken."""

    def read(self) -> bytes:
        """Return what has arrived by now."""


class StreamChannel:
    """A `Channel` on a stream; `waiting` is as true as the newest `look`."""

    def __init__(self, stream: Stream) -> None:
        self.connection = 1
        self.waiting = 0
        self._stream = stream
        self._held = b""

    def look(self, now_us: int) -> None:
        """Take what has arrived by now."""
        if now_us < self._stream.first_us:
            return
        arrived = self._stream.read()
        if arrived:
            self._held += arrived
            self.waiting = len(self._held)

    def read_into(self, buf: bytearray) -> int:
        """Put what has arrived into `buf`."""
        size = min(len(buf), len(self._held))
        buf[:size] = self._held[:size]
        self._held = self._held[size:]
        self.waiting = len(self._held)
        return size

    def write(self, buf: memoryview) -> int:
        """Send."""
        return self._stream.write(bytes(buf))

    def close(self) -> None:
        """Do nothing: a line stays open."""


class LineChannel(StreamChannel):
    """A line with meters; its speed is the master's."""

    def __init__(self, line: Line) -> None:
        super().__init__(line)
        self._line = line
        line.baud = 2400

    def set_baud(self, baud: int) -> None:
        """Send and receive at another speed."""
        self._line.baud = baud


class HeadEndChannel(StreamChannel):
    """The connection to a head-end, made again a second after it broke."""

    RECONNECT_US = 1_000_000

    def __init__(self, headend: HeadEnd, clock: VirtualClock) -> None:
        super().__init__(headend)
        self._headend = headend
        self._clock = clock
        self._retry_us = 0
        self._headend.close()
        self.look(clock.now_us())

    def look(self, now_us: int) -> None:
        """Connect if it is time to, and take what has arrived."""
        headend = self._headend
        if headend.connection == 0 and now_us >= self._retry_us:
            self._held = b""
            self.waiting = 0
            headend.connect()
            self._retry_us = now_us + self.RECONNECT_US
        self.connection = headend.connection
        if now_us >= headend.first_us:
            super().look(now_us)

    def close(self) -> None:
        """Close the connection."""
        self._headend.close()
        self._retry_us = self._clock.now_us() + self.RECONNECT_US
        self.connection = 0


class SimulatedBoard:
    """The parts as `App` takes them.

    moved_s     how far the board's own clock is ahead of the world's, None: it is not set
    """

    def __init__(
        self,
        clock: VirtualClock,
        storage: Storage,
        lines: list[Line],
        headend: HeadEnd | None,
        random: Random,
        console: Stream | None = None,
        start_ticks: int = TICKS_MASK - 60_000,
    ) -> None:
        """Begin with ticks one minute before they wrap."""
        self.storage: ports.Storage = storage
        self.lines: list[ports.Line] = []
        self.console: ports.Channel | None = None
        self.uplink: ports.Channel | None = None
        self.waiting = 0
        self.reset_cause = 0
        self.moved_s: int | None = 0
        self._clock = clock
        self._streams: list[Stream] = []
        self._channels: list[StreamChannel] = []
        for line in lines:
            channel = LineChannel(line)
            self._attach(line, channel)
            self.lines.append(channel)
        if console is not None:
            self.console = self._attach(console, StreamChannel(console))
        if headend is not None:
            self.uplink = self._attach(headend, HeadEndChannel(headend, clock))
        self._random = random
        self._start_ticks = start_ticks

    def _attach(self, stream: Stream, channel: StreamChannel) -> StreamChannel:
        self._streams.append(stream)
        self._channels.append(channel)
        return channel

    def now_ticks(self) -> int:
        """Return milliseconds, modulo 2**29."""
        return self._start_ticks + self._clock.now_us() // 1000 & TICKS_MASK

    def now_t2000(self) -> int:
        """Return seconds since 2000 by the board's own clock, -1 when it is not set."""
        return -1 if self.moved_s is None else self._clock.now_t2000() + self.moved_s

    def ask_t2000(self, source: int) -> int:
        """Return -1: there is no RTC chip and no server of time."""
        return -1

    def set_t2000(self, t2000: int) -> None:
        """Set the board's clock."""
        self.moved_s = t2000 - self._clock.now_t2000()

    def random(self) -> int:
        """Return a number below 2**29."""
        return self._random.randrange(1 << 29)

    def calm(self) -> None:
        """Do nothing: a line has no direction."""

    def feed(self) -> None:
        """Do nothing: virtual time has no watchdog."""

    def show_card(self, code: int, credited: bool, index: int) -> None:
        """Do nothing: a world has no buzzer."""

    def look(self) -> None:
        """Do the work of a real board between two steps."""
        now_us = self._clock.now_us()
        waiting = 0
        for channel in self._channels:
            channel.look(now_us)
            waiting |= channel.waiting
        self.waiting = waiting

    def sleep(self, idle_ms: int, until_us: int) -> None:
        """Let time pass: to the next byte, at most `idle_ms` and not beyond `until_us`.

        Events that give the concentrator nothing to read do not wake it, such as the end of a
        request at its meter.
        """
        clock = self._clock
        now_us = clock.now_us()
        end_us = min(now_us + max(1, idle_ms) * 1000, max(until_us, now_us + 1))
        while True:
            next_us = end_us
            for stream in self._streams:
                if stream.over_us < next_us:
                    next_us = stream.over_us
            if next_us <= now_us:
                next_us = now_us + 1
            clock.advance_us(next_us - now_us)
            now_us = next_us
            self.look()
            if next_us == end_us or self.waiting:
                return
