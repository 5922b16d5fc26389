"""Pay into a meter so that the money arrives exactly once, whatever is lost on the line.

The meter counts its purchases, and the command carries the count that the meter will have after
it. So the job reads the money and the count first, and again after every command, whether it was
accepted, refused or lost:

    count = order       the purchase is booked: done
    count = order - 1   the purchase is not booked: send the command
    any other count     another purchase was made, or this is another meter: send nothing

The money is read before the count each time, so that a late or doubled reply to the earlier read
of the count cannot be taken for the new one. A lost 03H is sent again, at most three times,
because the meter refuses a second one: SERR b1, repeated recharge, means that it is booked. Plain
money (14H) is sent once.

If a meter does not answer the read of its count, a command counts as booked when the meter
accepted it or called it repeated. A refusal for another reason, after a command was lost, leaves
the result unknown.

Spec: DL/T 645-2007, function 03H, identifiers 070101FF and 070102FF, 03330201, 00900200.
"""

from array import array

from micropython import const

from dlt645 import di, fast, master
from dlt645.job import Job

NOT_TOLD = const(-1)

_SECURITY = const(0x03)
_COUNT = const(0x03330201)
_REPEATED = const(0x02)
_SENDS_LIMIT = const(3)
_DATA_LIMIT = const(200)

# Steps.
_ASK_MONEY = const(0)
_ASK_COUNT = const(1)
_SEND = const(2)

# The meter's answer to the last command.
_NOTHING = const(0)
_ACCEPTED = const(1)
_REFUSED = const(2)


class Recharge(Job):
    """A payment into one meter.

    Its outcomes are OK: booked; ABNORMAL: refused by the meter, see `error`; BAD_REPLY: the
    meter's count is neither the order nor one less; TIMEOUT: unknown, and the same payment may be
    started again later.

    count           the meter's count as last read, or NOT_TOLD
    balance_fen     the meter's money as last read, or NOT_TOLD
    error           SERR or ERR of a refusal
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
        self._step = _ASK_MONEY
        self._said = _NOTHING
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
        """Send the command `data`, made by the holder of its key, whose count is `order`.

        `control` is 03H, or 14H for a private meter that accepts plain money.
        """
        self._address[:] = address
        self._control = control
        self._data[:size] = data[:size]
        self._size = size
        self._order = order
        self._said = _NOTHING
        self.count = self.balance_fen = NOT_TOLD
        self.error = self.sends = 0
        self.busy = 1
        self._ask(_ASK_MONEY, now_ticks)

    def _ask(self, step: int, now_ticks: int) -> int:
        self._step = step
        link = self._link
        if step == _SEND:
            self.sends += 1
            self._said = _NOTHING
            link.start(self._address, self._control, self._data, self._size, now_ticks)
        else:
            link.start_read(self._address, _COUNT if step == _ASK_COUNT else di.MONEY, now_ticks)
        return master.BUSY

    def _next(self, outcome: int, now_ticks: int) -> int:
        if self._step == _SEND:
            if outcome == master.OK:
                self._said = _ACCEPTED
            elif outcome == master.ABNORMAL:
                self.error = self._link.error
                repeated = self._control == _SECURITY and self.error & _REPEATED
                self._said = _ACCEPTED if repeated else _REFUSED
            return self._ask(_ASK_MONEY, now_ticks)
        if outcome not in (master.OK, master.ABNORMAL):
            return master.TIMEOUT
        if self._step == _ASK_MONEY:
            self.balance_fen = self._value(di.MONEY, outcome)
            return self._ask(_ASK_COUNT, now_ticks)
        self.count = self._value(_COUNT, outcome)
        outcome = self._judge_count()
        return self._ask(_SEND, now_ticks) if outcome == master.BUSY else outcome

    def _value(self, identifier: int, outcome: int) -> int:
        """Return the value in the meter's reply, or NOT_TOLD."""
        link = self._link
        out = self._out
        if outcome != master.OK:
            return NOT_TOLD
        count = fast.decode(identifier, link.data, link.data_offset, link.data_size, out)
        return out[0] if count == 1 and out[0] != fast.NO_VALUE else NOT_TOLD

    def _judge_count(self) -> int:
        """Return the outcome, or BUSY when the command has to be sent."""
        told = self.count != NOT_TOLD
        if self.count == self._order or (not told and self._said == _ACCEPTED):
            return master.OK
        if self._said == _REFUSED:
            return master.ABNORMAL if told or self.sends == 1 else master.TIMEOUT
        if told and self.count != self._order - 1:
            return master.BAD_REPLY
        limit = _SENDS_LIMIT if self._control == _SECURITY else 1
        return master.BUSY if self.sends < limit else master.TIMEOUT
