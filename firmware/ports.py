"""Define what a board provides: storage, channels, clock, entropy, panel, card reader, capacity.

The concentrator is built on `Services` and driven by `Timing`. A board of firmware/boards is a
`Board`, which is both, and `make check` checks each board's types against it. The simulators
provide `Services` only.

A name in storage is a file name without a folder, at most 17 characters. After a power cut at any
operation, a file under `replace` has its old or its new content. A file under `append` has its old
content, perhaps with part of the new bytes after it. A file between `begin` and `finish` is
missing, empty or incomplete.

Storage does not check what it reads: the reader recognises a torn or rotten file by its CRC.
"""

from micropython import const

# `read_into` and `size` return these instead of a count.
NOT_THERE = const(-1)  # no file has this name
UNREADABLE = const(-2)  # the flash did not answer; trying again may help

# `blocks` counts in this unit, in bytes, whatever the block size of the flash is.
BLOCK_SIZE = const(4096)

# Sources of the time in `ask_t2000`, as CLOCK records name them.
CLOCK_RTC = const(1)
CLOCK_NETWORK = const(4)

# Events that a board notes, as EVENT records name them.
EVENT_DOOR = const(1)
EVENT_SUPPLY = const(2)

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class Storage(Protocol):
        """Small files on flash. A failure is a return value, never an exception."""

        def read_into(self, name: str, offset: int, buf: bytearray, size: int) -> int:
            """Read `size` bytes at `offset`; return the count read, NOT_THERE or UNREADABLE."""

        def append(self, name: str, buf: "bytearray | memoryview | bytes", size: int) -> bool:
            """Add bytes to the file, which is made if missing; return true once durable."""

        def replace(self, name: str, buf: "bytearray | memoryview | bytes", size: int) -> bool:
            """Give the file new content, all or nothing; return true once durable."""

        def remove(self, name: str) -> bool:
            """Delete the file; return true also when there was none."""

        def names(self, prefix: str) -> "list[str] | None":
            """Return the file names that begin with `prefix`, sorted.

            The file between `begin` and `finish` may be among them. None: the flash did not
            answer.
            """

        def size(self, name: str) -> int:
            """Return the bytes in the file, NOT_THERE or UNREADABLE."""

        def blocks(self) -> "tuple[int, int]":
            """Return how many blocks of 4096 bytes there are, and how many of them are free.

            It may take as long as reading every file: call it rarely. (0, 0): the flash did not
            answer.
            """

        def begin(self, name: str) -> bool:
            """Begin a file that is written over several steps; its old content is lost.

            Only one such file is open at a time: one that was begun before is given up. All other
            files can be read and written meanwhile.
            """

        def put(self, buf: "bytearray | memoryview | bytes", size: int) -> bool:
            """Add bytes to the file that was begun; return false if it was given up."""

        def finish(self) -> bool:
            """Close the file that was begun; return true once durable, else it is deleted."""

        def give_up(self) -> None:
            """Delete the file that was begun, if there is one."""

    class Stream(Protocol):
        """Bytes in and out, without waiting."""

        def read_into(self, buf: bytearray) -> int:
            """Put the bytes that have arrived into `buf`; return how many."""

        def write(self, buf: memoryview) -> int:
            """Send bytes; return how many were accepted, 0: try again later."""

    class Channel(Stream, Protocol):
        """A line, a console or a connection."""

        # The number of the connection, which grows by one with each new one. A serial port stays
        # at 1. 0: not connected.
        connection: int
        # Not 0 while `read_into` has bytes to return. `Timing.look` keeps it up to date.
        waiting: int

        def close(self) -> None:
            """End the connection; the next call of `read_into` makes a new one."""

    class Line(Channel, Protocol):
        """A line with meters: 8E1, half duplex, at the speed that the caller sets."""

        def set_baud(self, baud: int) -> None:
            """Use 600 to 115200 bps from the next `write` on; a line begins at 2400 bps.

            It is called between transactions, when no byte is under way. A channel without a
            speed of its own, such as a connection to a converter, does nothing.
            """

    class Carrier(Protocol):
        """A card reader, local or remote. Its methods never raise and never wait."""

        # The number of the insertion, which grows by one with each card; 0: no card.
        present: int
        # The serial number of the card, 8 bytes; a shorter one is padded with zeros.
        uid: bytearray
        # The memory of the card in bytes.
        size: int
        # The bytes of the last read, from index 0 on, valid until the next operation.
        data: bytearray

        def start_read(self, offset: int, size: int) -> None:
            """Begin to read `size` bytes at `offset`, at most 224."""

        def start_write(self, offset: int, buf: "bytearray | memoryview", size: int) -> None:
            """Begin to write `buf[:size]`, which must not change until `poll` gives an outcome."""

        def poll(self, now_ticks: int) -> int:
            """Return BUSY while an operation lasts, then once OK or FAILED; IDLE without one.

            The outcomes are those of card/carrier.py.
            """

        def show(self, code: int, credited: bool, index: int) -> None:
            """Show the card's holder its result, a code of card/codes.py."""

    class CardReader(Carrier, Protocol):
        """A card reader that belongs to the board."""

        def step(self, now_ticks: int) -> None:
            """Continue for a few ms at most; it is called every 20 ms, with a card every 2 ms."""

    class Services(Protocol):
        """What a board provides to the concentrator."""

        storage: Storage
        lines: "list[Line]"
        console: "Channel | None"
        uplink: "Channel | None"
        # Not 0 while any channel has bytes waiting; an idle step looks at nothing else.
        waiting: int
        # Why the board has started: 1 its supply, 2 its pin, 3 the watchdog, 4 the end of a deep
        # sleep, 5 a program; 0: unknown.
        reset_cause: int

        def set_t2000(self, t2000: int) -> None:
            """Set the clock and the RTC chip to local standard time in seconds since 2000."""

        def ask_t2000(self, source: int) -> int:
            """Return local standard time from CLOCK_RTC or CLOCK_NETWORK, -1 without an answer.

            The call sends a request to the network and does not wait: call it again later.
            """

        def random(self) -> int:
            """Return a number below 2**29, unpredictable as far as the board has such a source."""

        def feed(self) -> None:
            """Feed the watchdog during long work such as a recovery."""

        def show_card(self, code: int, credited: bool, index: int) -> None:
            """Show the card's holder its result, a code of card/codes.py."""

    class Timing(Protocol):
        """What a board provides to concentrator/run.py."""

        # True once the button was pressed; the caller sets it back to False.
        pressed: bool

        def now_ticks(self) -> int:
            """Return the time in ms, modulo 2**29."""

        def now_t2000(self) -> int:
            """Return local standard time in seconds since 2000, -1 when it is not known."""

        def look(self) -> None:
            """Update `waiting` of every channel."""

        def feed(self) -> None:
            """Feed the watchdog."""

        def calm(self) -> None:
            """Wait until no request leaves, before work that no timer can interrupt."""

        def signal(self, signals: int) -> None:
            """Light the lamps, one bit for each."""

    class Access(Protocol):
        """What a concentrator tells its board about the console key."""

        @property
        def is_keyless(self) -> bool:
            """Whether no console key is set, so that everything is allowed."""

        def tell_prompt(self) -> None:
            """Record that the prompt is opened, at once: the program ends then."""

    class Random(Protocol):
        """What a board tells its concentrator about random numbers."""

        def distrust(self) -> None:
            """Be told that the board's own numbers can be guessed."""

    class Concentrator(Protocol):
        """What a concentrator offers to the parts of its board."""

        # What shows a text until a time and returns whether that is durable: a display sets it.
        show_text: "Callable[[int, str], bool] | None"

        def note_event(self, what: int, state: int) -> None:
            """Record an EVENT of the board; a failing supply makes all records durable."""

        @property
        def login(self) -> Access:
            """Return the sessions of the console."""

        @property
        def entropy(self) -> Random:
            """Return the source of random numbers."""

        def balance_fen(self, index: int) -> int:
            """Return the balance of the account in row `index`."""

        def offer(
            self, name: str, number: str, changes: bool, run: "Callable[[int], list[str]]"
        ) -> None:
            """Offer a command of the board, with an optional `number` or "" for none.

            `run` gets the number, 0 without one, and returns the lines of the answer. A command
            that `changes` something needs the right to change.
            """

    class Board(Services, Timing, Protocol):
        """A complete board: the class `Board` of each module in firmware/boards."""

        # How many meters, and registers of each meter, its heap has room for.
        capacity: "tuple[int, int]"
        card_reader: "CardReader | None"

        def attach(self, app: "Concentrator") -> None:
            """Let the parts of the board use the concentrator that runs on it."""

        def fail(self, error: Exception) -> None:
            """Note the error that has ended the program."""


class Unreadable(Exception):
    """A file on flash exists but cannot be read, so nothing may be decided from it."""
