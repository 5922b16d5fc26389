"""Read data that is longer than one reply: a read, then follow-ups until the meter has no more.

A follow-up of 2007 (12H) carries a number, by which a lost one is asked for again. A follow-up of
1997 (02H) has none: after a loss the next part is unknown, so the whole reading begins again.

Spec: DL/T 645-2007, functions 11H and 12H; DL/T 645-1997, functions 01H and 02H.
"""

from micropython import const

from dlt645 import codes, master
from dlt645.job import Job

_FOLLOW_UP = const(0x12)
_FOLLOW_UP_1997 = const(0x02)
_LAST_SEQUENCE = const(255)
_DI_SIZE = const(4)
_DI_SIZE_1997 = const(2)
_REQUEST_SIZE = const(10)
_RESTARTS = const(2)


class LongRead(Job):
    """A reading into `data`: `size` bytes of it are valid after OK, without the identifier."""

    def __init__(self, link: "master.Master", limit: int) -> None:
        super().__init__(link)
        self.data = bytearray(limit)
        self.size = 0
        self._address = bytearray(6)
        self._request = bytearray(_REQUEST_SIZE)
        self._request_size = 0
        self._follow_up = bytearray(_DI_SIZE + 1)
        self._control = 0
        self._sequence = 0
        self._restarts = 0

    def start(
        self,
        address: "bytearray | bytes",
        control: int,
        request: "bytearray | bytes",
        size: int,
        now_ticks: int,
    ) -> None:
        """Read with `control` 11H or 01H; `request` is the identifier, with a profile's more.

        The outcomes are those of the master, and TOO_LONG beyond the limit.
        """
        self._address[:] = address
        self._control = control
        self._request[:size] = request[:size]
        self._request_size = size
        self._follow_up[:_DI_SIZE] = self._request[:_DI_SIZE]
        self._restarts = _RESTARTS
        self.busy = 1
        self._begin(now_ticks)

    def _begin(self, now_ticks: int) -> None:
        self.size = 0
        self._sequence = 0
        size = self._request_size
        self._link.start(self._address, self._control, self._request, size, now_ticks)

    def _next(self, outcome: int, now_ticks: int) -> int:
        link = self._link
        is_2007 = self._control == codes.READ
        if outcome != master.OK:
            if is_2007 or not self._sequence or not self._restarts:
                return outcome
            self._restarts -= 1
            self._begin(now_ticks)
            return master.BUSY
        offset = link.data_offset
        size = link.data_size - offset
        if self.size + size > len(self.data):
            return master.TOO_LONG
        data = link.data
        for index in range(size):
            self.data[self.size + index] = data[offset + index]
        self.size += size
        if not link.more:
            return master.OK
        if self._sequence == _LAST_SEQUENCE:
            return master.TOO_LONG
        self._sequence += 1
        self._follow_up[_DI_SIZE] = self._sequence
        if is_2007:
            link.start(self._address, _FOLLOW_UP, self._follow_up, _DI_SIZE + 1, now_ticks)
        else:
            link.start(self._address, _FOLLOW_UP_1997, self._request, _DI_SIZE_1997, now_ticks)
        return master.BUSY
