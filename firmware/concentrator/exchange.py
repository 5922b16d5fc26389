"""A technician's question to a meter, on a line with other work: put in, asked, taken out.

The console gives the request and comes back for the reply; the poller asks it before anything
else. A search for unknown meters takes the line the same way, for as long as it lasts.
"""

from dlt645 import master as line
from dlt645.discovery import Discovery
from micropython import const

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from dlt645.master import Master

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
    """The question and its answer.

    state       EMPTY, WAITING for the line, ASKED, DONE
    outcome     of the master, when DONE; `error` the meter's word after ABNORMAL
    address     who answered, wire order
    data        plain, identifier included
    search      the search under way or ended, None: a question was put
    """

    def __init__(self) -> None:
        self.state = EMPTY
        self.outcome = line.IDLE
        self.error = 0
        self.more = False
        self.address = bytearray(_ADDRESS_SIZE)
        self.data = b""
        self.search: Discovery | None = None
        self._standard = 2007
        self._control = 0
        self._request = b""

    def put(self, address: bytearray, control: int, data: bytes) -> bool:
        """Ask this as soon as the line is free; false while another question is under way."""
        if self.state in (WAITING, ASKED):
            return False
        self.address[:] = address
        self._control = control
        self._request = data
        self.search = None
        self.state = WAITING
        return True

    def put_search(self, master: "Master", standard: int) -> bool:
        """Search for all meters of a standard; false while another question is under way."""
        if self.state in (WAITING, ASKED):
            return False
        self.search = Discovery(master, FOUND_LIMIT)
        self._standard = standard
        self.state = WAITING
        return True

    def start(self, master: "Master", now_ticks: int) -> None:
        """The line is free."""
        self.state = ASKED
        if self.search is None:
            size = len(self._request)
            master.start(self.address, self._control, self._request, size, now_ticks)
        elif self._standard == 1997:
            self.search.start(_READ_1997, _TOTAL_1997, len(_TOTAL_1997), now_ticks)
        else:
            self.search.start(_READ, _TOTAL, len(_TOTAL), now_ticks)

    def poll(self, master: "Master", now_ticks: int) -> bool:
        """Go on; true when it is done and the line is free again."""
        outcome = (self.search or master).poll(now_ticks)
        if outcome == line.BUSY:
            return False
        self.outcome = outcome
        self.error = master.error
        self.more = master.more
        if self.search is None:
            if outcome in (line.OK, line.ABNORMAL):
                self.address[:] = master.address
            self.data = bytes(master.data[: master.data_size])
        self.state = DONE
        return True
