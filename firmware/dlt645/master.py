"""One transaction at a time on one line: request, reply, deadline, retry.

    idle --start--> pause --tx_size > 0--> sending --sent()--> waiting --poll()--> outcome, idle

The adapter sends `tx[:tx_size]` and calls `sent`; it feeds what arrives. `poll` decides, and
gives each outcome once. Reads are repeated; a relay command leaves the device once only, and
whoever sent it confirms it by reading status word 3. Our own echo, replies of other meters and
late replies to other questions are counted and passed over. No byte on the line raises or
allocates.

Reply deadline: wire time of request and expected reply, and the meter's delay (500 ms). While
bytes still arrive it waits on, until the longest frame there is would have passed.
Spec: DL/T 645-2007 5.3 (reply delay and gap, each at most 500 ms), chapter 7.
"""

from array import array

from micropython import const

from dlt645 import clock, fast
from dlt645.errors import LocalError
from dlt645.fast import find_row, receive

IDLE = const(0)
BUSY = const(1)
OK = const(2)
# Failures, best first: the worst thing heard in all attempts is the outcome.
TIMEOUT = const(3)  # nothing
GARBLED = const(4)  # bytes, but no frame
FOREIGN = const(5)  # a frame of another address
BAD_REPLY = const(6)  # a frame of this meter that answers something else
ABNORMAL = const(7)  # the meter refused; its word in `error`

OUTCOME_NAMES = (
    "idle",
    "busy",
    "ok",
    "timeout",
    "garbled",
    "foreign",
    "bad reply",
    "abnormal",
)

# Words 4 to 15 of the state: what `count` knows by name.
COUNTER_NAMES = (
    "noise",  # bytes that belonged to no frame
    "refused",  # frames with a wrong checksum or end
    "dropped",  # bytes that found no room
    "unread",  # bytes that came outside a transaction, or behind its reply
    "requests",  # transactions started
    "abnormal",  # refused by the meter
    "failures",  # given up
    "retries",  # requests repeated
    "foreign",  # frames of another address
    "stale",  # frames that answer something else
    "echoes",  # frames from a master: our own, come back
    "unsent",  # attempts the adapter never called `sent` for
)

NO_EXPIRY = const(-1)

# Phases of a transaction: `busy`.
_PAUSE = const(1)
_SENDING = const(2)
_WAITING = const(3)

_READ = const(0x11)
_READ_ADDRESS = const(0x13)
_RELAY = const(0x1C)
_READ_1997 = const(0x01)
_ANY_METER = b"\xaa\xaa\xaa\xaa\xaa\xaa"

# The state: eight words of dlt645.fast, the other counters, then our own.
_FOUND = const(3)
_FIRST_COUNTER = const(4)
_NOISE = const(4)
_REQUESTS = const(8)
_ABNORMAL = const(9)
_FAILURES = const(10)
_RETRIES = const(11)
_FOREIGN = const(12)
_STALE = const(13)
_ECHOES = const(14)
_UNSENT = const(15)
_BAUD = const(16)
_ATTEMPTS = const(17)
_PAUSE_MS = const(18)
_REPLY_MS = const(19)
_GAP_MS = const(20)
_CONTROL = const(21)  # of the request
_GOOD = const(22)  # `found`, less its size, of a reply that needs no second look
_LEAST_SIZE = const(23)  # of the reply's data
_FRAME_SIZE = const(24)  # of the request
_WIRE_SIZE = const(25)  # of request and reply
_LEFT = const(26)  # attempts
_FAILURE = const(27)  # the worst so far
_NOISE_BEFORE = const(28)
_HEARD_TICKS = const(29)
_DEADLINE_TICKS = const(30)
_ENDED_TICKS = const(31)
_OUTCOME = const(32)  # unless it was the expected reply at once
_WORDS_SIZE = const(33)

_FEED = const(0)
_NEXT = const(1)
_LAST = const(2)
_OTHER_ADDRESS = const(1)
_CONTROL_AND_VERDICT = const(0x700FF)
_FOUND_REPLY = const(0x40080)

_TICKS_MASK = const(0x1FFFFFFF)
_TICKS_HALF = const(0x10000000)
_NEVER = const(-1)
_TX_SIZE = const(64)
_FRAME_OVERHEAD = const(16)
_LONGEST_FRAME = const(271)
_LONGEST_REPLY = const(200)
_BITS_PER_BYTE_1000 = const(11000)
_ADAPTER_MS = const(1000)
_LONGEST_GAP_MS = const(500)


class Master:
    """The master of one line.

    busy        0 when idle: test it before calling `poll`
    data[data_offset:data_size]     the reply after its identifier, valid until the next start
    address     who replied, 6 bytes in wire order
    more        true when the meter has follow-up data (12H)
    error       the meter's error word after ABNORMAL
    tx, tx_size what the adapter has to send

    The numbers are in one array of words: a crowd of attributes makes each of them slow.
    """

    def __init__(
        self, baud: int = 2400, attempts: int = 3, pause_ms: int = 20, reply_ms: int = 500
    ) -> None:
        self.busy = 0
        self.data_offset = 0
        self.data_size = 0
        self.more = False
        self.error = 0
        self.tx = bytearray(_TX_SIZE)
        self.tx_size = 0
        self._words = words = array("i", bytes(4 * _WORDS_SIZE))
        self._box = bytearray(fast.BOX_SIZE)
        view = memoryview(self._box)
        self.address = view[fast.ADDRESS : fast.ADDRESS + 6]
        self.data = view[fast.DATA : fast.DATA + 255]
        self._request = bytearray(16)
        fast.clear(words)
        words[_BAUD] = baud
        words[_ATTEMPTS] = attempts
        words[_PAUSE_MS] = pause_ms
        words[_REPLY_MS] = reply_ms
        words[_GAP_MS] = _LONGEST_GAP_MS
        words[_ENDED_TICKS] = _NEVER

    def count(self, name: str) -> int:
        """The counter called `name`, one of COUNTER_NAMES."""
        return self._words[_FIRST_COUNTER + COUNTER_NAMES.index(name)]

    def set_baud(self, baud: int) -> None:
        """Another speed from the next transaction on; the adapter changes the port."""
        self._words[_BAUD] = baud

    def start_read(self, address: bytearray, di: int, now_ticks: int) -> None:
        """Read `di` (11H) of the meter at `address`, wire order, AA for any digits."""
        self._start_read(address, di, 4, _READ, now_ticks)

    def start_read_1997(self, address: bytearray, di: int, now_ticks: int) -> None:
        """Read the 2-byte `di` (01H) of a DL/T 645-1997 meter."""
        self._start_read(address, di, 2, _READ_1997, now_ticks)

    def start_read_address(self, now_ticks: int) -> None:
        """Ask the only meter of the line for its address (13H); the reply is data[0:6]."""
        self._check_idle()
        fast.ask(self._box, _ANY_METER, self._request, 0, 0)
        words = self._words
        words[_LEFT] = words[_ATTEMPTS]
        words[_GOOD] = 0
        words[_LEAST_SIZE] = 6
        words[_WIRE_SIZE] = 6
        self._start(_ANY_METER, _READ_ADDRESS, 0, now_ticks)

    def start_relay(
        self,
        address: bytearray,
        action: int,
        password: bytearray,
        operator: bytearray,
        expiry_t2000: int,
        now_ticks: int,
    ) -> None:
        """Send the relay command `action` (codes.TRIP ...) once; it is never repeated.

        `password` is PA P0 P1 P2, `operator` C0..C3, both as on the wire. The meter refuses an
        expiry that has passed; NO_EXPIRY sends zeros, as some private meters want.
        Spec: DL/T 645-2007, function 1CH.
        """
        self._check_idle()
        request = self._request
        for index in range(4):
            request[index] = password[index]
            request[4 + index] = operator[index]
        request[8] = action
        for index in range(9, 16):
            request[index] = 0
        if expiry_t2000 != NO_EXPIRY:
            clock.encode_into(request, 10, expiry_t2000)
        fast.ask(self._box, address, request, 0, 0)
        words = self._words
        words[_LEFT] = 1
        words[_GOOD] = _RELAY | _FOUND_REPLY
        words[_LEAST_SIZE] = 0
        words[_WIRE_SIZE] = 0
        self._start(address, _RELAY, 16, now_ticks)

    def feed(self, buf: "bytearray | memoryview | bytes", size: int, now_ticks: int) -> None:
        """Take `size` received bytes, at most 512; outside a transaction they only count."""
        words = self._words
        words[_HEARD_TICKS] = now_ticks
        if receive(self._box, buf, size, words, _FEED) < 0:
            self._make_room(buf, size)

    def sent(self, now_ticks: int) -> None:
        """The bytes of `tx` have been handed to the line."""
        self.tx_size = 0
        if self.busy == _SENDING:
            self.busy = _WAITING
            words = self._words
            wire_ms = words[_WIRE_SIZE] * _BITS_PER_BYTE_1000 // words[_BAUD] + 1
            words[_DEADLINE_TICKS] = (now_ticks + words[_REPLY_MS] + wire_ms) & _TICKS_MASK

    def poll(self, now_ticks: int) -> int:
        """Advance; return IDLE, BUSY, or, once, the outcome."""
        if not self.busy:
            return IDLE
        words = self._words
        if self.busy == _WAITING:
            found = words[_FOUND]
            if found:
                if found & _CONTROL_AND_VERDICT == words[_GOOD]:
                    self.data_size = found >> 8 & 0xFF
                    self.busy = 0
                    words[_ENDED_TICKS] = now_ticks
                    return OK
                if self._judge_all(now_ticks) != BUSY:
                    return words[_OUTCOME]
        if (now_ticks - words[_DEADLINE_TICKS]) & _TICKS_MASK < _TICKS_HALF:
            return self._expired(now_ticks)
        if (
            self.busy == _WAITING
            and words[_HEARD_TICKS] != _NEVER
            and (now_ticks - words[_HEARD_TICKS]) & _TICKS_MASK >= words[_GAP_MS]
        ):
            return self._silence(now_ticks)
        return BUSY

    def _make_room(self, buf: "bytearray | memoryview | bytes", size: int) -> None:
        if size > fast.RECEIVED_SIZE:
            raise LocalError("more than 512 bytes at once")
        fast.make_room(self._box, size, self._words)
        receive(self._box, buf, size, self._words, _FEED)

    def _check_idle(self) -> None:
        if self.busy:
            raise LocalError("transaction under way")

    def _start_read(
        self, address: bytearray, di: int, di_size: int, control: int, now_ticks: int
    ) -> None:
        self._check_idle()
        fast.ask(self._box, address, self._request, di, di_size)
        words = self._words
        words[_LEFT] = words[_ATTEMPTS]
        words[_GOOD] = control | _FOUND_REPLY
        words[_LEAST_SIZE] = di_size
        row = find_row(di)
        words[_WIRE_SIZE] = di_size + (row & 0xFF if row >= 0 else _LONGEST_REPLY)
        self._start(address, control, di_size, now_ticks)

    def _start(
        self, address: "bytearray | bytes", control: int, size: int, now_ticks: int
    ) -> None:
        """Encode the `size` bytes of the request; send them when the line has had its pause."""
        words = self._words
        frame_size = fast.encode_frame(self.tx, address, control, self._request, size)
        words[_FRAME_SIZE] = frame_size
        words[_WIRE_SIZE] += frame_size + _FRAME_OVERHEAD
        words[_CONTROL] = control
        words[_FAILURE] = TIMEOUT
        words[_NOISE_BEFORE] = words[_NOISE]
        words[_REQUESTS] += 1
        self.data_offset = size if control in (_READ, _READ_1997) else 0
        self.data_size = 0
        self.more = False
        self._pause(now_ticks)

    def _pause(self, now_ticks: int) -> None:
        """Send now, or when the pause after the last transaction is over."""
        self.busy = _PAUSE
        words = self._words
        words[_HEARD_TICKS] = _NEVER
        ended_ticks = words[_ENDED_TICKS]
        if ended_ticks != _NEVER and (now_ticks - ended_ticks) & _TICKS_MASK < words[_PAUSE_MS]:
            words[_DEADLINE_TICKS] = (ended_ticks + words[_PAUSE_MS]) & _TICKS_MASK
        else:
            self._send(now_ticks)

    def _send(self, now_ticks: int) -> None:
        words = self._words
        fast.clear(words)
        words[_LEFT] -= 1
        words[_HEARD_TICKS] = _NEVER
        words[_DEADLINE_TICKS] = (
            now_ticks + 2 * words[_FRAME_SIZE] * _BITS_PER_BYTE_1000 // words[_BAUD] + _ADAPTER_MS
        ) & _TICKS_MASK
        self.busy = _SENDING
        self.tx_size = words[_FRAME_SIZE]

    def _judge_all(self, now_ticks: int) -> int:
        """Judge the frames received until one ends the transaction, else BUSY."""
        words = self._words
        found = words[_FOUND]
        while found:
            outcome = self._judge(found)
            if outcome != BUSY:
                return self._end(outcome, now_ticks)
            found = receive(self._box, self._box, 0, words, _NEXT)
        return BUSY

    def _judge(self, found: int) -> int:
        """Judge one frame; BUSY when it was not meant for this transaction."""
        words = self._words
        control = found & 0xFF
        size = found >> 8 & 0xFF
        verdict = found >> 16 & 3
        expected = words[_CONTROL] | 0x80
        if control < 0x80:
            words[_ECHOES] += 1
            return BUSY
        if verdict == _OTHER_ADDRESS:
            words[_FOREIGN] += 1
            self._fail_as(FOREIGN)
            return BUSY
        if control == expected | 0x40:
            self.error = self.data[0] if size else 0
            if size > 1:
                self.error |= self.data[1] << 8
            return ABNORMAL
        if control & 0xDF != expected or verdict or size < words[_LEAST_SIZE]:
            words[_STALE] += 1
            self._fail_as(BAD_REPLY)
            return BUSY
        self.data_size = size
        self.more = control != expected
        return OK

    def _silence(self, now_ticks: int) -> int:
        """No byte for the longest gap, or too long at all: look behind what is half received."""
        words = self._words
        words[_HEARD_TICKS] = _NEVER
        while receive(self._box, self._box, 0, words, _LAST):
            outcome = self._judge(words[_FOUND])
            if outcome != BUSY:
                return self._end(outcome, now_ticks)
        return BUSY

    def _still_arriving(self, now_ticks: int) -> bool:
        """True while bytes arrive, but not for longer than the longest frame takes."""
        words = self._words
        if words[_HEARD_TICKS] == _NEVER:
            return False
        gap_ms = words[_GAP_MS]
        late_ms = (now_ticks - words[_DEADLINE_TICKS]) & _TICKS_MASK
        silent_ms = (now_ticks - words[_HEARD_TICKS]) & _TICKS_MASK
        longest_ms = gap_ms + _LONGEST_FRAME * _BITS_PER_BYTE_1000 // words[_BAUD]
        return silent_ms < gap_ms and late_ms < longest_ms

    def _expired(self, now_ticks: int) -> int:
        """The deadline of the phase has passed: send, try again, or give up."""
        words = self._words
        if self.busy == _PAUSE:
            self._send(now_ticks)
            return BUSY
        if self.busy == _SENDING:
            words[_UNSENT] += 1
            self.tx_size = 0
        elif self._still_arriving(now_ticks):
            return BUSY
        elif self._silence(now_ticks) != BUSY:
            return words[_OUTCOME]
        if words[_NOISE] != words[_NOISE_BEFORE]:
            self._fail_as(GARBLED)
        if words[_LEFT]:
            words[_RETRIES] += 1
            self._pause(now_ticks)
            return BUSY
        return self._end(words[_FAILURE], now_ticks)

    def _fail_as(self, failure: int) -> None:
        if failure > self._words[_FAILURE]:
            self._words[_FAILURE] = failure

    def _end(self, outcome: int, now_ticks: int) -> int:
        words = self._words
        self.busy = 0
        words[_ENDED_TICKS] = now_ticks
        words[_OUTCOME] = outcome
        if outcome != OK:
            words[_ABNORMAL if outcome == ABNORMAL else _FAILURES] += 1
        return outcome
