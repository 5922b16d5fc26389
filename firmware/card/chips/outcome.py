"""What all drivers of chips share: outcomes, the passing of time, what a driver is given.

An operation is a generator: it yields where it has to wait, is sent `now_ticks` when it may go
on, and returns an outcome. Between two yields it does a few milliseconds of work at most. Every
wait has a deadline and every loop over what a chip says has a limit, so it ends whatever comes.
"""

from micropython import const

OK = const(0)
ABSENT = const(1)  # no card
SILENT = const(2)  # no answer in its time
STUCK = const(3)  # a line is held, or the chip never gets ready
GARBLED = const(4)  # a wrong checksum, a frame that is none, another byte than was sent
FLOOD = const(5)  # more bytes, repeats or pleas for time than there may be
WRONG_SIZE = const(6)  # the answer is shorter or longer than it has to be
REFUSED = const(7)  # the chip or card says no; its word in `status`
UNKNOWN = const(8)  # not a kind of card this driver can use
WRONG_CODE = const(9)  # the card did not take our code or key
LOCKED = const(10)  # no code is presented: the try that is left stays with the owner
MISMATCH = const(11)  # what was written reads back otherwise
OUT_OF_RANGE = const(12)  # beyond the end of the memory

OUTCOME_NAMES = (
    "ok",
    "no card",
    "no answer",
    "line stuck",
    "garbled",
    "flood",
    "wrong size",
    "refused",
    "unknown card",
    "wrong code",
    "locked",
    "mismatch",
    "out of range",
)

_TICKS_MASK = const(0x1FFFFFFF)
_TICKS_HALF = const(0x10000000)
_DRAIN_LIMIT = const(512)

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Protocol

    from ports import Stream

    # An operation in progress; what it returns is its outcome.
    Steps = Generator[None, int, int]
    Bytes = bytes | bytearray | memoryview

    # As machine.Pin, which without a value is read; as time.sleep_us.
    Pin = Callable[..., int]
    Wait = Callable[[int], object]

    class Link(Protocol):
        """A way to a CPU card: commands out, replies back."""

        reply_size: int
        status: int  # SW1 SW2
        uid: bytearray  # 8 bytes, zero padded; zeros: it has none

        @property
        def command(self) -> bytearray | memoryview:
            """CLA INS P1 P2 P3 and data."""

        @property
        def reply(self) -> bytearray | memoryview:
            """Data of the reply, without its status."""

        def there(self) -> bool:
            """False once the card is known to be out."""

        def connect(self) -> Steps:
            """Start the card."""

        def transmit(self, data_size: int, reply_limit: int) -> Steps:
            """Send the command with so much data, take a reply of at most `reply_limit`."""

        def release(self) -> None:
            """Give the card up; its power is off."""

    class Medium(Protocol):
        """A card as memory: what a carrier needs of it."""

        uid: bytearray  # 8 bytes, zero padded; zeros: it has none
        size: int  # bytes of memory that are ours

        def there(self) -> bool:
            """False once the card is known to be out."""

        def connect(self) -> Steps:
            """Find and start a card; after OK `uid` and `size` are its own."""

        def read(self, offset: int, size: int, buf: bytearray) -> Steps:
            """Fill buf[:size]."""

        def write(self, offset: int, size: int, buf: Bytes) -> Steps:
            """Write buf[:size]; the caller reads it back."""

        def release(self) -> None:
            """Give the card up; its power is off."""


def ticks_after(now_ticks: int, delay_ms: int) -> int:
    """The instant `delay_ms` later."""
    return now_ticks + delay_ms & _TICKS_MASK


def reached(now_ticks: int, deadline_ticks: int) -> bool:
    """Whether the deadline, at most 74 hours away, has come."""
    return now_ticks - deadline_ticks & _TICKS_MASK < _TICKS_HALF


def pause(delay_ms: int) -> "Steps":
    """Wait at least `delay_ms`."""
    now_ticks = yield
    deadline_ticks = ticks_after(now_ticks, delay_ms + 1)
    while not reached(now_ticks, deadline_ticks):
        now_ticks = yield
    return OK


class Inlet:
    """The bytes that come in on a channel, one by one."""

    def __init__(self, channel: "Stream") -> None:
        self._channel = channel
        self._buf = bytearray(32)
        self._at = 0
        self._size = 0

    def next_byte(self) -> int:
        """The next byte, -1: none has come."""
        if self._at >= self._size:
            self._at = 0
            self._size = self._channel.read_into(self._buf)
            if not self._size:
                return -1
        self._at += 1
        return self._buf[self._at - 1]

    def drain(self) -> None:
        """Forget what has come, as far as it does not come faster than it is forgotten."""
        for _ in range(_DRAIN_LIMIT):
            if self.next_byte() < 0:
                break
