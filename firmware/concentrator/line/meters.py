"""Give the tasks of a line their meters: address, standard, speed and reply delay.

A task asks the meters of a line something. Its interface is:

    job                     the object to poll during its transaction: the master, or a job
    ask(now_ticks)          starts the next transaction; false: there is nothing to ask
    on_reply(outcome, ..)   processes the outcome; true: the next transaction follows at once
"""

from array import array

from dlt645 import di, reply_delay
from dlt645 import master as line
from dlt645.master import Master
from dlt645.probe import BAUDS
from micropython import const
from uplink import record

from concentrator.books import registry as meters

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from typing import Protocol

    from concentrator.books.books import Books

    class Task(Protocol):
        """A task that asks the meters of a line."""

        @property
        def job(self) -> "Polled":
            """The object to poll during its transaction."""

        def ask(self, now_ticks: int) -> bool:
            """Start the next transaction; return false if there is nothing to ask."""

        def on_reply(self, outcome: int, now_ticks: int) -> bool:
            """Process the outcome; return true if the next transaction follows at once."""

    class Polled(Protocol):
        """The master, or a job that uses it."""

        def poll(self, now_ticks: int) -> int:
            """Continue; return BUSY, or, once, the outcome."""


# This many misses in a row are reported, once.
SILENT_MISSES = const(3)

_VALUES = const(8)


class LineMeters:
    """The meters of line `number`.

    values      the values of the newest decoded reply
    address     the address of the meter that is asked, wire order
    interval_s  the time from one reading of a meter to the next
    asks_all    whether silent meters are asked too, because the button was pressed
    silent      the count of times that a meter fell silent
    """

    def __init__(self, number: int, books: "Books") -> None:
        self.number = number
        self.books = books
        self.registry = books.registry
        self.master = Master()
        self.interval_s = 900
        self.asks_all = False
        self.silent = 0
        self.values = array("i", bytes(4 * _VALUES))
        self.address = bytearray(meters.ADDRESS_SIZE)

    def is_mine(self, index: int) -> bool:
        """Return whether the row has an active meter on this line."""
        registry = self.registry
        return registry.line[index] == self.number and registry.active[index] != 0

    def is_resting(self, index: int, time: int) -> bool:
        """Return whether a silent meter is not asked in the interval number `time`."""
        rest_s = 0 if self.asks_all else reply_delay.rest_s(self.registry.notes[index])
        return rest_s != 0 and (time + index) % (rest_s // self.interval_s + 1) != 0

    def select(self, index: int) -> int:
        """Set address, speed and reply delay of the meter; return its standard."""
        registry = self.registry
        registry.address_into(index, self.address)
        protocol = registry.protocol[index]
        self.set_speed(protocol >> meters.SPEED_SHIFT)
        self.master.expect(registry.notes[index])
        return protocol & meters.STANDARD

    def set_speed(self, place: int) -> None:
        """Use the speed in this place of BAUDS from now on."""
        baud = BAUDS[place]
        if self.master.baud != baud:
            self.master.set_baud(baud)

    def start_read(self, index: int, identifier: int, now_ticks: int) -> None:
        """Read an identifier of the meter's standard."""
        if self.select(index) == record.STANDARD_1997:
            self.master.start_read_1997(self.address, identifier, now_ticks)
        else:
            self.master.start_read(self.address, identifier, now_ticks)

    def learn(self, index: int, outcome: int) -> None:
        """Note how the meter answered; record when it falls silent, or answers again."""
        notes = self.registry.notes
        missed = notes[index] >> 8
        notes[index] = self.master.learn(notes[index], outcome)
        misses = notes[index] >> 8
        if missed < SILENT_MISSES <= misses:
            self.silent += 1
            self.books.note_line(index, record.LINE_SILENT, SILENT_MISSES)
        elif misses < SILENT_MISSES <= missed:
            self.books.note_line(index, record.LINE_ANSWERS, missed)

    def decode(self, identifier: int, outcome: int) -> int:
        """Decode a good reply into `values`; return their count, 0: none can be used."""
        if outcome != line.OK:
            return 0
        master = self.master
        count = di.decode(
            identifier, master.data, master.data_offset, master.data_size, self.values
        )
        return count if count > 0 else 0
