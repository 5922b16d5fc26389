"""Carry out a technician's question to a meter, on a line with other tasks.

The console gives the request and fetches the reply later. The poller asks it before all other
tasks. A search for unknown meters uses the line in the same way, until it ends. A registered meter
is asked at its own speed, every other one at the speed of `place`.
"""

from dlt645 import master as line
from dlt645.discovery import Discovery
from micropython import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from concentrator.line.meters import LineMeters, Polled

# States.
EMPTY = const(0)
WAITING = const(1)
ASKED = const(2)
DONE = const(3)

DATA_LIMIT = const(200)
FOUND_LIMIT = const(128)

_ADDRESS_SIZE = const(6)
_READ = const(0x11)
_READ_1997 = const(0x01)
_TOTAL = b"\x00\x00\x01\x00"
_TOTAL_1997 = b"\x10\x90"


class Exchange:
    """The task of a technician's question.

    state       EMPTY, WAITING for the line, ASKED, DONE
    outcome     the outcome of the master, when DONE
    error       the meter's error word after ABNORMAL
    address     the address of the meter that answered, wire order
    data        the data of the reply without the +33H, identifier included
    search      the search under way or ended, None: the question is a request
    parts       a request's data that came in parts
    place       the place in dlt645.probe.BAUDS of the speed of meters that are not registered
    """

    def __init__(self, line_meters: "LineMeters") -> None:
        self.job: Polled = line_meters.master
        self.state = EMPTY
        self.outcome = line.IDLE
        self.error = 0
        self.more = False
        self.address = bytearray(_ADDRESS_SIZE)
        self.data = b""
        self.search: Discovery | None = None
        self.parts = b""
        self.place = 0
        self._line_meters = line_meters
        self._standard = 2007
        self._control = 0
        self._request = b""

    def put(self, address: bytearray, control: int, data: bytes) -> bool:
        """Queue a request for the line; return false while another question is under way."""
        if self.state in (WAITING, ASKED):
            return False
        self.address[:] = address
        self._control = control
        self._request = data
        self.search = None
        self.job = self._line_meters.master
        self.state = WAITING
        return True

    def put_search(self, standard: int) -> bool:
        """Queue a search for all meters of a standard; return false as `put` does."""
        if self.state in (WAITING, ASKED):
            return False
        self.job = self.search = Discovery(self._line_meters.master, FOUND_LIMIT)
        self._standard = standard
        self.state = WAITING
        return True

    def ask(self, now_ticks: int) -> bool:
        """Start the question that waits; return false if there is none."""
        if self.state != WAITING:
            return False
        self.state = ASKED
        line_meters = self._line_meters
        index = -1 if self.search is not None else line_meters.registry.find_address(self.address)
        if index >= 0 and line_meters.is_mine(index):
            line_meters.select(index)
        else:
            line_meters.set_speed(self.place)
        if self.search is None:
            size = len(self._request)
            line_meters.master.start(self.address, self._control, self._request, size, now_ticks)
        elif self._standard == 1997:
            self.search.start(_READ_1997, _TOTAL_1997, len(_TOTAL_1997), now_ticks)
        else:
            self.search.start(_READ, _TOTAL, len(_TOTAL), now_ticks)
        return True

    def on_reply(self, outcome: int, now_ticks: int) -> bool:
        """Keep the reply for the console; return false."""
        master = self._line_meters.master
        self.outcome = outcome
        self.error = master.error
        self.more = master.more
        if self.search is None:
            if outcome in (line.OK, line.ABNORMAL):
                self.address[:] = master.address
            self.data = bytes(master.data[: master.data_size])
        self.state = DONE
        return False
