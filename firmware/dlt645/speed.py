"""Change a meter's speed (17H, 0CH of 1997) and find out at which speed it answers.

The meter answers at the old speed, then both sides change. Only the answer to a read shows whether
the meter has changed, so the job reads at the new speed, then at the old one. Its outcomes are:

    OK          the meter answers at the new speed
    ABNORMAL    the meter refused and keeps its speed; the master's `error` has the reason
    BAD_REPLY   the meter still answers at the old speed
    TIMEOUT     the meter answers at neither speed; the master stays at the old one

Spec: DL/T 645-2007, function 17H; DL/T 645-1997, function 0CH.
"""

from micropython import const

from dlt645 import di, master
from dlt645.job import Job

_CHANGE_1997 = const(0x0C)
_TOTAL = const(0x00010000)
_SLOWEST_BAUD = const(600)
_SLOWEST_CODE = const(0x02)
_FASTEST_CODE = const(0x40)

# Steps.
_CHANGE = const(0)
_AT_NEW = const(1)
_AT_OLD = const(2)


def code_of(baud: int) -> int:
    """Return the byte Z of 2007 for a speed of 600..19200 bps, or 0."""
    code = _SLOWEST_CODE
    speed = _SLOWEST_BAUD
    while code < _FASTEST_CODE and speed < baud:
        code <<= 1
        speed <<= 1
    return code if speed == baud else 0


class SpeedChange(Job):
    """A change of speed; afterwards the master has the meter's speed, as far as it is known."""

    def __init__(self, link: "master.Master") -> None:
        super().__init__(link)
        self._address = bytearray(6)
        self._request = bytearray(1)
        self._control = 0
        self._old_baud = 0
        self._new_baud = 0
        self._step = _CHANGE

    def start(
        self, address: "bytearray | bytes", control: int, code: int, baud: int, now_ticks: int
    ) -> None:
        """Send `code`, which means `baud` to this meter, with `control` 17H or 0CH."""
        self._address[:] = address
        self._request[0] = code
        self._control = control
        self._old_baud = self._link.baud
        self._new_baud = baud
        self._step = _CHANGE
        self.busy = 1
        self._link.start(self._address, control, self._request, 1, now_ticks)

    def _next(self, outcome: int, now_ticks: int) -> int:
        answers = outcome in (master.OK, master.ABNORMAL)
        if self._step == _CHANGE:
            if outcome == master.ABNORMAL:
                return outcome
            self._ask(_AT_NEW, self._new_baud, now_ticks)
            return master.BUSY
        if self._step == _AT_NEW:
            if answers:
                return master.OK
            self._ask(_AT_OLD, self._old_baud, now_ticks)
            return master.BUSY
        return master.BAD_REPLY if answers else master.TIMEOUT

    def _ask(self, step: int, baud: int, now_ticks: int) -> None:
        """Read from the meter at `baud` bps."""
        self._step = step
        self._link.set_baud(baud)
        if self._control == _CHANGE_1997:
            self._link.start_read_1997(self._address, di.ENERGY_1997, now_ticks)
        else:
            self._link.start_read(self._address, _TOTAL, now_ticks)
