"""What a board promises: storage, channels, clock, entropy, panel, card reader and capacity.

The concentrator is built on `Services` and driven by `Timing`; a board of firmware/boards is a
`Board`, which is both. `make check` holds each of them to it. The simulators provide `Services`.

A name of storage is a file without a folder, at most 16 characters. A power cut at any operation
leaves of `replace` the old or the new content, and of `append` what was there before, at worst
with part of the new bytes behind it.
"""

from micropython import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from typing import Protocol

    class Storage(Protocol):
        """Small files on flash. Failure is an answer, never an exception."""

        def read_into(self, name: str, offset: int, buf: bytearray, size: int) -> int:
            """Read `size` bytes at `offset`; return how many there were, 0 without the file."""

        def append(self, name: str, buf: "bytearray | memoryview | bytes", size: int) -> bool:
            """Add bytes to the file, made if need be; true once they would survive a cut."""

        def replace(self, name: str, buf: "bytearray | memoryview | bytes", size: int) -> bool:
            """Give the file new content, all or nothing; true once it would survive a cut."""

        def remove(self, name: str) -> bool:
            """Delete the file; true also when there was none."""

        def names(self, prefix: str) -> "list[str]":
            """Names of the files that begin with `prefix`, in order."""

        def size(self, name: str) -> int:
            """Bytes in the file, -1 without one."""

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
            """Set the clock, local standard time in seconds since 2000."""

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
