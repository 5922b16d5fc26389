"""Find the standard and the speed of a meter by trying them.

At each speed the probe sends a read of 2007 first, then one of 1997, because a meter answers its
own standard only. A refusal counts as an answer. If the address is unknown and the meter is alone
on its line, the probe reads its address.
"""

from micropython import const

from dlt645 import codes, di, master, reply_delay
from dlt645.job import Job

# The speeds of meters in bps, the likeliest first. Records keep places in it, so it only grows.
BAUDS = (2400, 1200, 9600, 4800, 600, 19200, 38400, 57600, 115200)

_READ_ADDRESS = const(0x13)
_WILD = const(0xAA)
_TOTAL = const(0x00010000)


class Probe(Job):
    """A search at several speeds.

    standard    2007 or 1997 after OK, else 0
    address     6 bytes of the meter that answered, wire order

    After OK the master has the speed found; after any other outcome it has the speed from before.
    """

    def __init__(self, link: "master.Master") -> None:
        super().__init__(link)
        self.standard = 0
        self.address = bytearray(6)
        self._asked = bytearray(6)
        self._bauds: tuple[int, ...] = BAUDS
        self._place = 0
        self._control = 0
        self._first_baud = 0

    def start(
        self, address: "bytearray | bytes", bauds: "tuple[int, ...]", now_ticks: int
    ) -> None:
        """Try `bauds` in their order; `address` may be six times AA."""
        self._asked[:] = address
        self._bauds = bauds
        self._place = 0
        self._first_baud = self._link.baud
        self.standard = 0
        self.busy = 1
        self._try_speed(now_ticks)

    def _try_speed(self, now_ticks: int) -> None:
        self._link.set_baud(self._bauds[self._place])
        unknown = self._asked[0] == _WILD
        self._ask(_READ_ADDRESS if unknown else codes.READ, now_ticks)

    def _ask(self, control: int, now_ticks: int) -> None:
        self._control = control
        link = self._link
        link.expect(reply_delay.missed(0))  # one attempt
        if control == _READ_ADDRESS:
            link.start_read_address(now_ticks)
        elif control == codes.READ:
            link.start_read(self._asked, _TOTAL, now_ticks)
        else:
            link.start_read_1997(self._asked, di.ENERGY_1997, now_ticks)

    def _next(self, outcome: int, now_ticks: int) -> int:
        if outcome in (master.OK, master.ABNORMAL):
            self.standard = 1997 if self._control == codes.READ_1997 else 2007
            self.address[:] = self._link.address
            return master.OK
        if self._control == _READ_ADDRESS:
            self._ask(codes.READ, now_ticks)
            return master.BUSY
        if self._control == codes.READ:
            self._ask(codes.READ_1997, now_ticks)
            return master.BUSY
        self._place += 1
        if self._place < len(self._bauds):
            self._try_speed(now_ticks)
            return master.BUSY
        self._link.set_baud(self._first_baud)
        return outcome
