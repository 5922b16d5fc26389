"""Define what all chip drivers share: outcomes, time limits and interfaces.

An operation is a generator: it yields where it has to wait, receives `now_ticks` when it may
continue, and returns an outcome. It works at most a few milliseconds between two yields. Every
wait has a deadline and every loop over a chip's bytes has a limit, so every operation ends.
"""

from micropython import const

OK = const(0)
ABSENT = const(1)  # no card
SILENT = const(2)  # no answer before the deadline
STUCK = const(3)  # a line is held, or the chip never gets ready
GARBLED = const(4)  # a wrong checksum, a malformed frame, or a wrong echo
FLOOD = const(5)  # too many bytes, repeats or requests for time
WRONG_SIZE = const(6)  # the answer is shorter or longer than it has to be
REFUSED = const(7)  # the chip or card refuses; the reason is in `status`
UNKNOWN = const(8)  # a kind of card that this driver cannot use
WRONG_CODE = const(9)  # the card refused the code or key
LOCKED = const(10)  # no code was sent: the last try is left to the card's owner
MISMATCH = const(11)  # written bytes read back differently
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

    # A Pin is called as machine.Pin: without a value it reads. A Wait is called as time.sleep_us.
    Pin = Callable[..., int]
    Wait = Callable[[int], object]

    class Link(Protocol):
        """A connection to a CPU card, for commands and replies."""

        reply_size: int  # bytes
        status: int  # SW1 SW2
        uid: bytearray  # 8 bytes, padded with zeros; zeros: the card has none

        @property
        def command(self) -> bytearray | memoryview:
            """The command: CLA INS P1 P2 P3 and data."""

        @property
        def reply(self) -> bytearray | memoryview:
            """The data of the reply, without its status."""

        def there(self) -> bool:
            """Return false once the card is known to be out."""

        def connect(self) -> Steps:
            """Start the card."""

        def transmit(self, data_size: int, reply_limit: int) -> Steps:
            """Send the command with `data_size` bytes; receive at most `reply_limit` bytes."""

        def release(self) -> None:
            """Release the card and switch its power off."""

    class Medium(Protocol):
        """A card as memory, for a carrier."""

        uid: bytearray  # 8 bytes, padded with zeros; zeros: the card has none
        size: int  # bytes of memory that can be used

        def there(self) -> bool:
            """Return false once the card is known to be out."""

        def connect(self) -> Steps:
            """Find and start a card; after OK its `uid` and `size` are valid."""

        def read(self, offset: int, size: int, buf: bytearray) -> Steps:
            """Fill buf[:size]."""

        def write(self, offset: int, size: int, buf: Bytes) -> Steps:
            """Write buf[:size]; the caller reads it back."""

        def release(self) -> None:
            """Release the card and switch its power off."""


def ticks_after(now_ticks: int, delay_ms: int) -> int:
    """Return the ticks `delay_ms` after `now_ticks`."""
    return now_ticks + delay_ms & _TICKS_MASK


def reached(now_ticks: int, deadline_ticks: int) -> bool:
    """Return whether the deadline, at most 74 hours away, has passed."""
    return now_ticks - deadline_ticks & _TICKS_MASK < _TICKS_HALF


def pause(delay_ms: int) -> "Steps":
    """Wait at least `delay_ms`."""
    now_ticks = yield
    deadline_ticks = ticks_after(now_ticks, delay_ms + 1)
    while not reached(now_ticks, deadline_ticks):
        now_ticks = yield
    return OK


class Inlet:
    """A reader of single bytes from a channel."""

    def __init__(self, channel: "Stream") -> None:
        self._channel = channel
        self._buf = bytearray(32)
        self._at = 0
        self._size = 0

    def next_byte(self) -> int:
        """Return the next byte, -1: none has arrived."""
        if self._at >= self._size:
            self._at = 0
            self._size = self._channel.read_into(self._buf)
            if not self._size:
                return -1
        self._at += 1
        return self._buf[self._at - 1]

    def drain(self) -> None:
        """Discard the bytes that have arrived, at most 512."""
        for _ in range(_DRAIN_LIMIT):
            if self.next_byte() < 0:
                break
