"""Find the unregistered meters of a line: a tree search with AA for unknown digits.

    AA AA AA AA AA AA     high byte first: every meter answers
    AA AA AA AA AA 07     meters answer whose number ends with 07
    AA AA AA AA 42 07     meters answer whose number ends with 42 07, ...

The search listens to each question until the longest reply delay is over, because several meters
may answer one after the other. Answers that collide lead to a hundred questions with two more
digits. A question with a garbled answer is asked a second time, because the cause may be noise,
and a third time if the second one brings no garbled answer. Some meters answer with the address
they were asked with, AA and all: that is no meter's address, and they are found by questions with
more digits. Where bytes were heard and then nothing, the digits asked for are kept, AA and all,
beside the meters found: a meter may be there.

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

    addresses       6 bytes in wire order for each meter found, in the order of finding, and for
                    each part of the line that is in doubt, with AA
    count           of both
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
        self._before = [0] * (_LEVELS + 1)  # of each level: `count` when its question was asked
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
        repeats = self._repeats
        vague = self._vague
        garbled = outcome == master.GARBLED
        digits = self._digits
        if self.questions >= _QUESTIONS_LIMIT:
            self._level = 0
            self._doubt()
            return master.GARBLED
        if repeats == (0 if garbled else 1) and not vague:
            self._ask(repeats + 1, now_ticks)
            return master.BUSY
        if garbled or vague:
            if self._level < _LEVELS:
                digits[self._level] = 0
                self._level += 1
                self._ask(0, now_ticks)
                return master.BUSY
            self.conflicts += 1
        elif repeats and not self._heard:
            self._doubt()
        while self._level and digits[self._level - 1] == 99:
            self._level -= 1
            if self.count == self._before[self._level]:
                self._doubt()
        if not self._level:
            return master.OK
        digits[self._level - 1] += 1
        self._ask(0, now_ticks)
        return master.BUSY

    def _ask(self, repeats: int, now_ticks: int) -> None:
        if not repeats:
            self._before[self._level] = self.count
        self._repeats = repeats
        self._heard = False
        self._vague = False
        self.questions += 1
        pattern = self._wild()
        self._link.start_listening(pattern, self._control, self._request, self._size, now_ticks)

    def _wild(self) -> bytearray:
        """Return the address that the present digits ask for."""
        pattern = self._pattern
        for index in range(_ADDRESS_SIZE):
            pattern[index] = bcd.encode(self._digits[index]) if index < self._level else _WILD
        return pattern

    def _doubt(self) -> None:
        """Keep what the present digits ask for beside the meters."""
        if self._level < _LEVELS:
            self._add(self._wild())

    def _note(self, address: "bytearray | memoryview") -> None:
        """Add `address` to `addresses` unless it is no meter's."""
        for octet in address:
            if octet & 0x0F > 9 or octet > 0x99:
                self._vague = True
                return
        self._add(address)

    def _add(self, address: "bytearray | memoryview") -> None:
        """Add `address` to `addresses` unless it is there already."""
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
