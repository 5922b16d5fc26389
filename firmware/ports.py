"""What a board promises: storage, channels, clock, entropy, panel, card reader and capacity.

The concentrator is built on `Services` and driven by `Timing`; a board of firmware/boards is a
`Board`, which is both. `make check` holds each of them to it. The simulators provide `Services`.

A name of storage is a file without a folder, at most 17 characters. A power cut at any operation
leaves of `replace` the old or the new content, and of `append` what was there before, at worst
with part of the new bytes behind it. A file between `begin` and `finish` is missing, empty or
a part of itself after a cut.

What a read gives is not checked: whoever reads knows a torn or a rotten file by its CRC.
"""

from micropython import const

# What `read_into` and `size` answer instead of a count.
NOT_THERE = const(-1)  # no file has this name
UNREADABLE = const(-2)  # the flash did not tell; trying again may help

# The unit of `blocks`, whatever the blocks of the flash are.
BLOCK_SIZE = const(4096)

# Sources of the time in `ask_t2000`, as CLOCK records name them.
CLOCK_RTC = const(1)
CLOCK_NETWORK = const(4)

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from typing import Protocol

    class Storage(Protocol):
        """Small files on flash. Failure is an answer, never an exception."""

        def read_into(self, name: str, offset: int, buf: bytearray, size: int) -> int:
            """Read `size` bytes at `offset`; return how many there were, NOT_THERE, UNREADABLE."""

        def append(self, name: str, buf: "bytearray | memoryview | bytes", size: int) -> bool:
            """Add bytes to the file, made if need be; true once they would survive a cut."""

        def replace(self, name: str, buf: "bytearray | memoryview | bytes", size: int) -> bool:
            """Give the file new content, all or nothing; true once it would survive a cut."""

        def remove(self, name: str) -> bool:
            """Delete the file; true also when there was none."""

        def names(self, prefix: str) -> "list[str] | None":
            """Names of the files that begin with `prefix`, in order; None: the flash did not tell.

            The file between `begin` and `finish` may be among them.
            """

        def size(self, name: str) -> int:
            """Bytes in the file, NOT_THERE or UNREADABLE."""

        def blocks(self) -> "tuple[int, int]":
            """How many blocks of 4096 bytes there are, and how many of them are free.

            It may take as long as reading every file: ask seldom. (0, 0): the flash did not tell.
            """

        def begin(self, name: str) -> bool:
            """Start a file that is written across steps; what was there under its name is lost.

            There is one at a time: one that was begun before is given up. All other files can be
            read and written meanwhile.
            """

        def put(self, buf: "bytearray | memoryview | bytes", size: int) -> bool:
            """Add bytes to the file that was begun; false: it is given up."""

        def finish(self) -> bool:
            """Close the file that was begun; true once it would survive a cut, else it is gone."""

        def give_up(self) -> None:
            """Delete the file that was begun, if there is one."""

    class Stream(Protocol):
        """Bytes in and out, never waiting."""

        def read_into(self, buf: bytearray) -> int:
            """Put what has arrived into `buf`; return how many bytes, 0: nothing."""

        def write(self, buf: memoryview) -> int:
            """Send; return how many bytes were taken, 0: try again later."""

    class Channel(Stream, Protocol):
        """A line, a console or a connection."""

        # Grows by one with each new connection; a serial port stays at 1; 0: not connected.
        connection: int
        # Not 0: `read_into` has something to give. The board's own loop keeps it up to date.
        waiting: int

        def close(self) -> None:
            """Give the connection up; the next call of `read_into` makes a new one."""

    class Line(Channel, Protocol):
        """A line with meters, 8E1, half duplex: who drives it says how fast."""

        def set_baud(self, baud: int) -> None:
            """Send and hear at 600 to 115200 bps from the next `write` on; it begins with 2400.

            Called between transactions, when nothing is on its way. A channel that has no speed
            of its own, as a connection to a converter, does nothing.
            """

    class Carrier(Protocol):
        """A card reader, near or far. Its methods never raise and never wait."""

        # Grows by one with each card inserted; 0: no card.
        present: int
        # Serial number of the card, shorter ones padded with zeros.
        uid: bytearray
        # Bytes of memory on the card.
        size: int
        # What the last read brought, from 0 on, valid until the next operation.
        data: bytearray

        def start_read(self, offset: int, size: int) -> None:
            """Begin to read `size` bytes at `offset`, at most 224."""

        def start_write(self, offset: int, buf: "bytearray | memoryview", size: int) -> None:
            """Begin to write `buf[:size]`, which stays as it is until `poll` says OK or FAILED."""

        def poll(self, now_ticks: int) -> int:
            """BUSY while the operation lasts, then once OK or FAILED; IDLE without one.

            The outcomes are those of card/carrier.py.
            """

        def show(self, code: int, credited: bool, index: int) -> None:
            """Tell who holds the card what became of it: a result of card/codes.py."""

    class CardReader(Carrier, Protocol):
        """A card reader of the board's own."""

        def step(self, now_ticks: int) -> None:
            """Go on for a few milliseconds at most; called every 20 ms, with a card every 2."""

    class Services(Protocol):
        """What the concentrator is built on."""

        storage: Storage
        lines: "list[Line]"
        console: "Channel | None"
        uplink: "Channel | None"
        # Not 0: a channel has something waiting; a step with nothing to do looks at it alone.
        waiting: int

        def set_t2000(self, t2000: int) -> None:
            """Set the clock and an RTC chip, local standard time in seconds since 2000."""

        def ask_t2000(self, source: int) -> int:
            """Local standard time as CLOCK_RTC or CLOCK_NETWORK tells it, -1: it does not.

            The network is asked and not waited for: call again.
            """

        def random(self) -> int:
            """A number below 2**29 that nobody can guess, as far as the board has one."""

        def feed(self) -> None:
            """Feed the watchdog: something long, such as a checkpoint, has got on a little."""

        def show_card(self, code: int, credited: bool, index: int) -> None:
            """Tell whoever inserted a card what became of it: a result of card/codes.py."""

    class Timing(Protocol):
        """The board, as far as it drives."""

        # The button was pressed since somebody set it to False.
        pressed: bool

        def now_ticks(self) -> int:
            """Milliseconds, modulo 2**29."""

        def now_t2000(self) -> int:
            """Local standard time, -1 when it is not known."""

        def look(self) -> None:
            """Bring `waiting` of every channel up to date."""

        def feed(self) -> None:
            """Feed the watchdog."""

        def signal(self, signals: int) -> None:
            """Light the lamps, a bit for each."""

    class Board(Services, Timing, Protocol):
        """The whole of a board: the class `Board` of each module in firmware/boards."""

        # Meters, and registers of each, that its heap has room for.
        capacity: "tuple[int, int]"
        card_reader: "CardReader | None"


class Unreadable(Exception):
    """What exists on flash cannot be read: nothing may be decided until it can."""
