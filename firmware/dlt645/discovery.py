"""Find the unregistered meters of a line: a tree search with AA for unknown digits.

    AA AA AA AA AA AA     high byte first: every meter answers
    AA AA AA AA AA 07     meters answer whose number ends with 07
    AA AA AA AA 42 07     meters answer whose number ends with 42 07, ...

The search listens to each question until the longest reply delay is over, because several meters
may answer one after the other. Answers that collide lead to a hundred questions with two more
digits. A question with a garbled answer is asked a second time, because the cause may be noise. If
the second time brings no garbled answer but a meter was heard, it is asked a third time. Some
meters answer with the address they were asked with, AA and all: that is no meter's address, and
they are found by questions with more digits.

Spec: DL/T 645-2007 7.1.3 (address field, AA), 5.3.
"""

from micropython import const

from dlt645 import bcd, master
from dlt645.job import Job

_LEVELS = const(6)
_WILD = const(0xAA)
_ADDRESS_SIZE = const(6)
_QUESTIONS_LIMIT = const(20_000)


class Discovery(Job):
    """A search for the meters of one line.

    addresses       6 bytes in wire order for each meter found, in the order of finding
    count           meters found
    questions       transactions used
    conflicts       full addresses at which answers still collide: two meters share the address
    dropped         replies of meters for which `addresses` has no room
    """

    def __init__(self, link: "master.Master", limit: int) -> None:
        super().__init__(link)
        self.addresses = bytearray(_ADDRESS_SIZE * limit)
        self.count = 0
        self.questions = 0
        self.conflicts = 0
        self.dropped = 0
        self._control = 0
        self._request = bytearray(4)
        self._size = 0
        self._pattern = bytearray(_ADDRESS_SIZE)
        self._digits = bytearray(_LEVELS)
        self._level = 0  # count of low bytes that the question gives
        self._repeats = 0
        self._heard = False
        self._vague = False

    def start(self, control: int, request: "bytearray | bytes", size: int, now_ticks: int) -> None:
        """Search with a read that any meter answers: 11H, 01H, or 13H, which has no request data.

        A meter that refuses the read is found as well. The outcome is OK, or GARBLED when the
        search needed too many questions because of noise.
        """
        self._control = control
        self._request[:size] = request[:size]
        self._size = size
        self.count = self.questions = self.conflicts = self.dropped = 0
        self._level = 0
        self.busy = 1
        self._ask(0, now_ticks)

    def _next(self, outcome: int, now_ticks: int) -> int:
        if self._link.busy:
            self._heard = True
            self._note(self._link.address)
            return master.BUSY
        if self.questions >= _QUESTIONS_LIMIT:
            return master.GARBLED
        repeats = self._repeats
        vague = self._vague
        garbled = outcome == master.GARBLED
        again = repeats == 0 if garbled else self._heard and repeats == 1
        if again and not vague:
            self._ask(repeats + 1, now_ticks)
            return master.BUSY
        digits = self._digits
        if garbled or vague:
            if self._level < _LEVELS:
                digits[self._level] = 0
                self._level += 1
                self._ask(0, now_ticks)
                return master.BUSY
            self.conflicts += 1
        while self._level and digits[self._level - 1] == 99:
            self._level -= 1
        if not self._level:
            return master.OK
        digits[self._level - 1] += 1
        self._ask(0, now_ticks)
        return master.BUSY

    def _ask(self, repeats: int, now_ticks: int) -> None:
        self._repeats = repeats
        self._heard = False
        self._vague = False
        self.questions += 1
        pattern = self._pattern
        for index in range(_ADDRESS_SIZE):
            pattern[index] = bcd.encode(self._digits[index]) if index < self._level else _WILD
        self._link.start_listening(pattern, self._control, self._request, self._size, now_ticks)

    def _note(self, address: "bytearray | memoryview") -> None:
        """Add `address` to `addresses` unless it is there already, or is no meter's."""
        for octet in address:
            if octet & 0x0F > 9 or octet > 0x99:
                self._vague = True
                return
        addresses = self.addresses
        for place in range(0, self.count * _ADDRESS_SIZE, _ADDRESS_SIZE):
            same = 0
            while same < _ADDRESS_SIZE and addresses[place + same] == address[same]:
                same += 1
            if same == _ADDRESS_SIZE:
                return
        place = self.count * _ADDRESS_SIZE
        if place == len(addresses):
            self.dropped += 1
            return
        for index in range(_ADDRESS_SIZE):
            addresses[place + index] = address[index]
        self.count += 1
