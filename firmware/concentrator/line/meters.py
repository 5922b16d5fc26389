"""One line as its tasks see it: who is asked, in which standard, at which speed.

A task is what wants to know something of the meters:

    job                 what is polled while its transaction is on its way: the master, or a search
    ask(now_ticks)      start the next transaction; false: there is nothing to ask
    on_reply(outcome, ..)   it has ended so; true: the next one of this task follows at once
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
        """Something to ask the meters of a line."""

        @property
        def job(self) -> "Polled":
            """What is polled while its transaction is on its way."""

        def ask(self, now_ticks: int) -> bool:
            """Start the next transaction; false: there is nothing to ask."""

        def on_reply(self, outcome: int, now_ticks: int) -> bool:
            """It has ended so; true: the next one of this task follows at once."""

    class Polled(Protocol):
        """The master, or what works with it."""

        def poll(self, now_ticks: int) -> int:
            """Advance; BUSY, or, once, the outcome."""


# So many misses in a row are reported, once.
SILENT_MISSES = const(3)

_VALUES = const(8)


class LineMeters:
    """The meters of line `number`.

    values      of the newest reply that was decoded
    address     of the meter that is asked, wire order
    interval_s  from one reading of a meter to the next
    asks_all     nobody is left alone, somebody stands there and waits
    silent      times a meter fell silent
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
        """Whether there is a meter in this row, and it hangs on this line."""
        registry = self.registry
        return registry.line[index] == self.number and registry.active[index] != 0

    def is_resting(self, index: int, time: int) -> bool:
        """Whether a meter that was silent is left alone in the interval number `time`."""
        rest_s = 0 if self.asks_all else reply_delay.rest_s(self.registry.notes[index])
        return rest_s != 0 and (time + index) % (rest_s // self.interval_s + 1) != 0

    def select(self, index: int) -> int:
        """Turn to the meter: its address and speed, and what is known of it; its standard."""
        registry = self.registry
        registry.address_into(index, self.address)
        protocol = registry.protocol[index]
        self.set_speed(protocol >> meters.SPEED_SHIFT)
        self.master.expect(registry.notes[index])
        return protocol & meters.STANDARD

    def set_speed(self, place: int) -> None:
        """Ask at the speed in this place of BAUDS from now on."""
        baud = BAUDS[place]
        if self.master.baud != baud:
            self.master.set_baud(baud)

    def start_read(self, index: int, identifier: int, now_ticks: int) -> None:
        """Read an identifier, of the meter's own standard."""
        if self.select(index) == record.STANDARD_1997:
            self.master.start_read_1997(self.address, identifier, now_ticks)
        else:
            self.master.start_read(self.address, identifier, now_ticks)

    def learn(self, index: int, outcome: int) -> None:
        """Remember how the meter answered; tell when it falls silent, or answers again."""
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
        """Decode a good reply into `values`; how many there are, 0: none that can be used."""
        if outcome != line.OK:
            return 0
        master = self.master
        count = di.decode(
            identifier, master.data, master.data_offset, master.data_size, self.values
        )
        return count if count > 0 else 0
