"""Pay into a meter so that the money arrives once, whatever is lost on the line.

The meter counts its purchases, and the command carries the number it will have: one more. So it
is asked for its count first, and again after every command, good or lost:

    count = ours - 1    not booked: send the command, at most three times
    count = ours        booked, now or before: read the money, done
    anything else       somebody else sold to it, or it is another meter: send nothing

SERR b1, repeated recharge, means booked already; any other refusal ends it. Of a meter that
does not tell its count, a command is believed that it accepted or called repeated, and sent
again only where the meter itself refuses a second one, which is what 03H does; refused for
another reason after one was lost, it may have been booked.
Spec: DL/T 645-2007, function 03H, identifiers 070101FF and 070102FF, 03330201, 00900200.
"""

from array import array

from micropython import const

from dlt645 import fast, master
from dlt645.job import Job

NOT_TOLD = const(-1)

_SECURITY = const(0x03)
_COUNT = const(0x03330201)
_MONEY = const(0x00900200)
_REPEATED = const(0x02)
_SENDS_LIMIT = const(3)
_DATA_LIMIT = const(200)

# Steps.
_ASK_COUNT = const(0)
_SEND = const(1)
_ASK_MONEY = const(2)


class Recharge(Job):
    """One payment.

    Outcomes: OK is booked; ABNORMAL refused by the meter, see `error`; BAD_REPLY the meter's count
    is neither ours nor ours less one; any other: unknown, the same may be started again.
    count           the meter's count as last read, or NOT_TOLD
    balance_fen     the meter's money after OK, or NOT_TOLD
    error           SERR of a refusal
    sends           commands that left
    """

    def __init__(self, link: "master.Master") -> None:
        super().__init__(link)
        self.count = NOT_TOLD
        self.balance_fen = NOT_TOLD
        self.error = 0
        self.sends = 0
        self._address = bytearray(6)
        self._data = bytearray(_DATA_LIMIT)
        self._size = 0
        self._control = 0
        self._order = 0
        self._step = _ASK_COUNT
        self._out = array("i", (0,))

    def start(
        self,
        address: "bytearray | bytes",
        control: int,
        data: "bytearray | bytes",
        size: int,
        order: int,
        now_ticks: int,
    ) -> None:
        """Send the command `data`, ready as its key holder made it, in which the count is `order`.

        `control` is 03H, or 14H for a private meter that takes plain money.
        """
        self._address[:] = address
        self._control = control
        self._data[:size] = data[:size]
        self._size = size
        self._order = order
        self.count = self.balance_fen = NOT_TOLD
        self.error = self.sends = 0
        self.busy = 1
        self._ask(_ASK_COUNT, now_ticks)

    def _ask(self, step: int, now_ticks: int) -> int:
        self._step = step
        link = self._link
        if step == _SEND:
            self.sends += 1
            link.start(self._address, self._control, self._data, self._size, now_ticks)
        else:
            link.start_read(self._address, _COUNT if step == _ASK_COUNT else _MONEY, now_ticks)
        return master.BUSY

    def _next(self, outcome: int, now_ticks: int) -> int:
        if self._step == _ASK_COUNT:
            return self._counted(outcome, now_ticks)
        if self._step == _SEND:
            return self._sent(outcome, now_ticks)
        if outcome == master.OK and self._decode(_MONEY):
            self.balance_fen = self._out[0]
        return master.OK

    def _decode(self, di: int) -> bool:
        link = self._link
        out = self._out
        count = fast.decode(di, link.data, link.data_offset, link.data_size, out)
        return count == 1 and out[0] != fast.NO_VALUE

    def _counted(self, outcome: int, now_ticks: int) -> int:
        """The meter told its count, or would not."""
        if outcome == master.OK and self._decode(_COUNT):
            self.count = self._out[0]
            if self.count == self._order:
                return self._ask(_ASK_MONEY, now_ticks)
            if self.count != self._order - 1:
                return master.BAD_REPLY
            if self.sends == _SENDS_LIMIT:
                return master.TIMEOUT
            return self._ask(_SEND, now_ticks)
        if outcome not in (master.OK, master.ABNORMAL):
            return outcome
        if self.sends == _SENDS_LIMIT or (self.sends and self._control != _SECURITY):
            return master.TIMEOUT
        return self._ask(_SEND, now_ticks)

    def _sent(self, outcome: int, now_ticks: int) -> int:
        """The command was answered, refused or lost."""
        repeated = False
        if outcome == master.ABNORMAL:
            self.error = self._link.error
            repeated = self._control == _SECURITY and self.error & _REPEATED != 0
            if not repeated:
                unknown = self.count == NOT_TOLD and self.sends > 1
                return master.TIMEOUT if unknown else outcome
        if self.count == NOT_TOLD and (repeated or outcome == master.OK):
            return self._ask(_ASK_MONEY, now_ticks)
        return self._ask(_ASK_COUNT, now_ticks)
