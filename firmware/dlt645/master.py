"""Run one transaction at a time on one line: request, reply, deadline, retry.

    idle --start--> pause --tx_size > 0--> sending --sent()--> waiting --poll()--> outcome, idle

The adapter sends `tx[:tx_size]`, calls `sent` and feeds the bytes that arrive. `poll` decides and
returns each outcome once. Reads are repeated. Every other function is sent once, unless the caller
asks for more attempts, and the caller confirms it by a read. An echo of the request, replies of
other meters and late replies to other requests are counted and skipped. No byte on the line raises
or allocates.

The reply deadline is the wire time of the request and the expected reply, plus the meter's reply
delay. While another attempt remains, that is the delay which dlt645.reply_delay has learned; for
the last attempt it is 500 ms. While bytes still arrive the deadline is extended, at most by the
longest frame. The pause before each further attempt is longer.

Spec: DL/T 645-2007 5.3 (reply delay and gap, each at most 500 ms), chapter 7.
"""

from array import array

from micropython import const

from dlt645 import clock, fast, reply_delay
from dlt645.errors import LocalError
from dlt645.fast import find_row, receive

IDLE = const(0)
BUSY = const(1)
OK = const(2)
# Failures in rising order: the outcome is the greatest one of all attempts.
TIMEOUT = const(3)  # no byte came
GARBLED = const(4)  # bytes came, but no frame
FOREIGN = const(5)  # a frame of another address came
BAD_REPLY = const(6)  # a frame of this meter came that answers another request
ABNORMAL = const(7)  # the meter refused; its error word is in `error`
# Only dlt645.long_read has this outcome.
TOO_LONG = const(8)

OUTCOME_NAMES = (
    "idle",
    "busy",
    "ok",
    "timeout",
    "garbled",
    "foreign",
    "bad reply",
    "abnormal",
    "too long",
)

# The names of words 4 to 15 of the state, for `count`.
COUNTER_NAMES = (
    "noise",  # bytes that belonged to no frame
    "refused",  # frames with a wrong checksum or end
    "dropped",  # bytes that found no room
    "unread",  # bytes that came outside a transaction, or after its reply
    "requests",  # transactions started
    "abnormal",  # refused by the meter
    "failures",  # transactions without a reply
    "retries",  # requests repeated
    "foreign",  # frames of another address
    "stale",  # frames that answer another request
    "echoes",  # frames from a master: an adapter repeats the request
    "unsent",  # attempts the adapter never called `sent` for
)

NO_EXPIRY = const(-1)

# Phases of a transaction: `busy`.
_PAUSE = const(1)
_SENDING = const(2)
_WAITING = const(3)

_READ_1997 = const(0x01)
_RE_READ = const(0x03)
_BROADCAST_TIME = const(0x08)
_READ = const(0x11)
_FOLLOW_UP = const(0x12)
_READ_ADDRESS = const(0x13)
_FREEZE = const(0x16)
_RELAY = const(0x1C)
_ANY_METER = b"\xaa\xaa\xaa\xaa\xaa\xaa"

# For each function 00..1F: the count of request bytes that its reply repeats, plus 8 if it may be
# repeated. 03 is both security, whose reply repeats four bytes, and the re-read of 1997, none.
_FUNCTIONS = (
    b"\x00\x0a\x02\x04\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00"
    b"\x00\x0c\x0c\x08\x00\x00\x00\x01\x00\x00\x00\x00\x00\x01\x00\x00"
)
_REPEATED = const(7)
_REPEATABLE = const(8)

# Kinds of transactions, by what ends them.
_ONE_REPLY = const(0)
_NO_REPLY = const(1)  # a broadcast, which ends when it was sent
_REPLIES = const(2)  # many replies, until the deadline
_REPLY_HELD = const(3)  # the same, and `poll` has just returned a reply

# The state: eight words of dlt645.fast, the other counters, then the words of this module.
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
_GOOD = const(22)  # `found`, without the size, of a reply that needs no further judgement
_LEAST_SIZE = const(23)  # of the reply's data
_FRAME_SIZE = const(24)  # of the request
_WIRE_SIZE = const(25)  # of request and reply
_LEFT = const(26)  # attempts
_FAILURE = const(27)  # the worst so far
_NOISE_BEFORE = const(28)
_HEARD_TICKS = const(29)  # the last byte, or the end of the transaction
_DEADLINE_TICKS = const(30)
_OUTCOME = const(31)  # not set by an expected reply that is judged at once
_KIND = const(32)
_SEQUENCE = const(33)  # the last byte of a follow-up's reply, or -1
_SENT_TICKS = const(34)
_ATTEMPT = const(35)
_LEARNED_MS = const(36)  # reply delay of this meter, 0: not known
_NEXT_NOTE = const(37)  # for the transaction that starts next
_SILENCE_MS = const(38)  # between transactions
_MASTER_WORDS_SIZE = const(39)

_FEED = const(0)
_NEXT = const(1)
_LAST = const(2)
_OTHER_ADDRESS = const(1)
_CONTROL_AND_VERDICT = const(0x700FF)
_FOUND_REPLY = const(0x40080)

_TICKS_MASK = const(0x1FFFFFFF)
_TICKS_HALF = const(0x10000000)
_NEVER = const(-1)
_DATA_LIMIT = const(200)
_FRAME_OVERHEAD = const(16)
_WAKE_UP_SIZE = const(4)
_LONGEST_FRAME = const(271)
_USUAL_REPLY = const(20)
_LONGEST_REPLY = const(200)
_BITS_PER_BYTE_1000 = const(11000)
_ADAPTER_MS = const(1000)
_LONGEST_GAP_MS = const(500)
_BACK_OFF_MS = const(20)


class Master:
    """The master of one line.

    busy        0 when idle: test it before calling `poll`
    data[data_offset:data_size]     the reply after its identifier, valid until the next start
    address     the address of the meter that replied, 6 bytes in wire order
    more        true when the meter has follow-up data (12H)
    error       the meter's error word after ABNORMAL
    tx, tx_size the bytes that the adapter has to send, and their count
    baud        the speed in bps at which the adapter has to send them

    The numbers are in one array of words, because many attributes make each of them slow and one
    property makes all of them slow.
    """

    def __init__(
        self, baud: int = 2400, attempts: int = 3, pause_ms: int = 20, reply_ms: int = 500
    ) -> None:
        """Make a master whose pause between a reply and the next request's first 68 is `pause_ms`.

        The pause includes the wake-up bytes, and at least one character of silence before them.
        """
        self.busy = 0
        self.data_offset = 0
        self.data_size = 0
        self.more = False
        self.error = 0
        self.tx = bytearray(_FRAME_OVERHEAD + _DATA_LIMIT)
        self.tx_size = 0
        self.baud = baud
        self._words = words = array("i", bytes(4 * _MASTER_WORDS_SIZE))
        self._box = bytearray(fast.BOX_SIZE)
        view = memoryview(self._box)
        self.address = view[fast.ADDRESS : fast.ADDRESS + 6]
        self.data = view[fast.DATA : fast.DATA + 255]
        self._request = bytearray(16)
        fast.clear(words)
        words[_ATTEMPTS] = attempts
        words[_PAUSE_MS] = pause_ms
        words[_REPLY_MS] = reply_ms
        words[_GAP_MS] = _LONGEST_GAP_MS
        words[_HEARD_TICKS] = _NEVER
        self.set_baud(baud)

    def count(self, name: str) -> int:
        """Return the counter called `name`, one of COUNTER_NAMES."""
        return self._words[_FIRST_COUNTER + COUNTER_NAMES.index(name)]

    def set_baud(self, baud: int) -> None:
        """Use `baud` bps from the next transaction on; the adapter changes the port."""
        self.baud = baud
        words = self._words
        words[_BAUD] = baud
        silence_ms = words[_PAUSE_MS] - _WAKE_UP_SIZE * _BITS_PER_BYTE_1000 // baud
        byte_ms = _BITS_PER_BYTE_1000 // baud + 1
        words[_SILENCE_MS] = silence_ms if silence_ms > byte_ms else byte_ms

    def expect(self, note: int) -> None:
        """Set the note of the next transaction's meter, as `learn` returned it; 0: none."""
        self._words[_NEXT_NOTE] = note

    def learn(self, note: int, outcome: int) -> int:
        """Return the meter's new note, after a transaction with it has ended with `outcome`."""
        words = self._words
        if outcome not in (OK, ABNORMAL):
            return reply_delay.missed(note)
        if words[_ATTEMPT] > 1:
            return reply_delay.late(note)
        size = words[_FRAME_SIZE] + _FRAME_OVERHEAD + self.data_size
        wire_ms = size * _BITS_PER_BYTE_1000 // words[_BAUD]
        passed_ms = (words[_HEARD_TICKS] - words[_SENT_TICKS]) & _TICKS_MASK
        return reply_delay.answered(note, passed_ms - wire_ms)

    def start(
        self,
        address: "bytearray | memoryview | bytes",
        control: int,
        data: "bytearray | memoryview | bytes",
        size: int,
        now_ticks: int,
        attempts: int = 0,
    ) -> None:
        """Send any function of either standard with `size` bytes of `data`, without the +33H.

        The address is in wire order, with AA for any digits. The request is sent at most
        `attempts` times, 0: as often as is safe. After a broadcast, 08H or 16H to six times 99, OK
        means that it was sent. The reply to a follow-up 12H must repeat its number, which
        `data_size` leaves out.
        """
        if self.busy:
            raise LocalError("transaction under way")
        if size > _DATA_LIMIT:
            raise LocalError("more than 200 data bytes")
        words = self._words
        function = _FUNCTIONS[control & 0x1F]
        repeated = function & _REPEATED
        if repeated > size:
            repeated = size
        everyone = fast.ask(self._box, address, data, repeated)
        note = words[_NEXT_NOTE]
        words[_NEXT_NOTE] = 0
        learned_ms = reply_delay.delay_ms(note)
        if function & _REPEATABLE or (control == _RE_READ and not size):
            attempts = attempts or reply_delay.attempts(note, words[_ATTEMPTS])
        elif learned_ms < words[_REPLY_MS]:
            learned_ms = 0  # other functions take a meter longer than a read
        words[_LEFT] = attempts or 1
        words[_LEARNED_MS] = learned_ms
        words[_GOOD] = control | _FOUND_REPLY
        words[_LEAST_SIZE] = repeated
        words[_SEQUENCE] = -1
        words[_KIND] = _ONE_REPLY
        if control == _READ_ADDRESS:
            words[_GOOD] = 0
            words[_LEAST_SIZE] = 6
        elif control == _FOLLOW_UP:
            words[_GOOD] = 0
            words[_LEAST_SIZE] = size
            words[_SEQUENCE] = data[size - 1]
        elif control == _BROADCAST_TIME or (control == _FREEZE and everyone):
            words[_KIND] = _NO_REPLY
        frame_size = fast.encode_frame(self.tx, address, control, data, size)
        words[_FRAME_SIZE] = frame_size
        reply_size = _LONGEST_REPLY if function & _REPEATED > 1 else _USUAL_REPLY
        words[_WIRE_SIZE] = frame_size + _FRAME_OVERHEAD + reply_size
        words[_CONTROL] = control
        words[_FAILURE] = TIMEOUT
        words[_NOISE_BEFORE] = words[_NOISE]
        words[_REQUESTS] += 1
        words[_ATTEMPT] = 0
        self.data_offset = repeated
        self.data_size = 0
        self.more = False
        self._pause(words[_HEARD_TICKS], words[_SILENCE_MS], now_ticks)

    def start_listening(
        self,
        address: "bytearray | memoryview | bytes",
        control: int,
        data: "bytearray | memoryview | bytes",
        size: int,
        now_ticks: int,
    ) -> None:
        """Send a request once, and receive the replies of all meters until the deadline.

        `poll` returns OK or ABNORMAL for each reply, which is valid until the next poll, and stays
        busy. The last outcome is TIMEOUT, or GARBLED when bytes came that are no frame.
        """
        self.start(address, control, data, size, now_ticks, 1)
        words = self._words
        words[_GOOD] = 0
        words[_KIND] = _REPLIES
        words[_WIRE_SIZE] = words[_FRAME_SIZE] + _FRAME_OVERHEAD + _USUAL_REPLY

    def start_read(self, address: bytearray, di: int, now_ticks: int) -> None:
        """Read `di` (11H) of the meter at `address`, wire order, AA for any digits."""
        self._start_read(address, _READ, di, 4, now_ticks)

    def start_read_1997(self, address: bytearray, di: int, now_ticks: int) -> None:
        """Read the 2-byte `di` (01H) of a DL/T 645-1997 meter."""
        self._start_read(address, _READ_1997, di, 2, now_ticks)

    def start_read_address(self, now_ticks: int) -> None:
        """Read the address of the only meter on the line (13H); the reply is data[0:6]."""
        self.start(_ANY_METER, _READ_ADDRESS, _ANY_METER, 0, now_ticks)

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
        request = self._request
        for index in range(4):
            request[index] = password[index]
            request[4 + index] = operator[index]
        request[8] = action
        for index in range(9, 16):
            request[index] = 0
        if expiry_t2000 != NO_EXPIRY:
            clock.encode_into(request, 10, expiry_t2000)
        self.start(address, _RELAY, request, 16, now_ticks)

    def feed(self, buf: "bytearray | memoryview | bytes", size: int, now_ticks: int) -> None:
        """Process `size` received bytes, at most 512; outside a transaction only count them."""
        words = self._words
        words[_HEARD_TICKS] = now_ticks
        if receive(self._box, buf, size, words, _FEED) < 0:
            self._make_room(buf, size)

    def sent(self, now_ticks: int) -> None:
        """Note that the adapter has sent the bytes of `tx`."""
        self.tx_size = 0
        if self.busy == _SENDING:
            self.busy = _WAITING
            words = self._words
            words[_SENT_TICKS] = now_ticks
            size = words[_WIRE_SIZE]
            wait_ms = words[_REPLY_MS]
            learned_ms = words[_LEARNED_MS]
            if words[_KIND] == _NO_REPLY:
                size = words[_FRAME_SIZE]
                wait_ms = 0
            elif learned_ms > wait_ms or (learned_ms and words[_ATTEMPT] == 1 and words[_LEFT]):
                wait_ms = learned_ms
            wait_ms += size * _BITS_PER_BYTE_1000 // words[_BAUD] + 1
            words[_DEADLINE_TICKS] = (now_ticks + wait_ms) & _TICKS_MASK

    def poll(self, now_ticks: int) -> int:
        """Continue; return IDLE, BUSY, or, once, the outcome."""
        words = self._words
        if self.busy == _WAITING:
            found = words[_FOUND]
            if found:
                if found & _CONTROL_AND_VERDICT == words[_GOOD]:
                    self.data_size = found >> 8 & 0xFF
                    self.busy = 0
                    return OK
                if self._judge_all(now_ticks) != BUSY:
                    return words[_OUTCOME]
        elif not self.busy:
            return IDLE
        if (now_ticks - words[_DEADLINE_TICKS]) & _TICKS_MASK < _TICKS_HALF:
            return self._expired(now_ticks)
        if words[_HEARD_TICKS] != _NEVER:
            return self._heard(now_ticks)
        return BUSY

    def wait_ms(self, now_ticks: int) -> int:
        """Return the ms, at least 1, in which `poll` decides nothing unless bytes come.

        A call of `sent` ends that time as well.
        """
        words = self._words
        left_ms = (words[_DEADLINE_TICKS] - now_ticks) & _TICKS_MASK
        if words[_HEARD_TICKS] != _NEVER:
            gap_ms = (words[_HEARD_TICKS] + words[_GAP_MS] - now_ticks) & _TICKS_MASK
            left_ms = min(left_ms, gap_ms)
        return left_ms if 0 < left_ms < _TICKS_HALF else 1

    def _make_room(self, buf: "bytearray | memoryview | bytes", size: int) -> None:
        if size > fast.RECEIVED_SIZE:
            raise LocalError("more than 512 bytes at once")
        fast.make_room(self._box, size, self._words)
        receive(self._box, buf, size, self._words, _FEED)

    def _start_read(
        self, address: bytearray, control: int, di: int, di_size: int, now_ticks: int
    ) -> None:
        request = self._request
        self.start(address, control, request, fast.put_di(request, di, di_size), now_ticks)
        row = find_row(di)
        reply_size = row & 0xFF if row >= 0 else _LONGEST_REPLY
        self._words[_WIRE_SIZE] += di_size + reply_size - _LONGEST_REPLY

    def _pause(self, since_ticks: int, silence_ms: int, now_ticks: int) -> None:
        """Send at once if the line has been silent for `silence_ms`, else pause until then."""
        self.busy = _PAUSE
        words = self._words
        words[_HEARD_TICKS] = _NEVER
        if since_ticks != _NEVER and (now_ticks - since_ticks) & _TICKS_MASK < silence_ms:
            words[_DEADLINE_TICKS] = (since_ticks + silence_ms) & _TICKS_MASK
        else:
            self._send(now_ticks)

    def _send(self, now_ticks: int) -> None:
        words = self._words
        fast.clear(words)
        words[_LEFT] -= 1
        words[_ATTEMPT] += 1
        words[_HEARD_TICKS] = _NEVER
        words[_DEADLINE_TICKS] = (
            now_ticks + 2 * words[_FRAME_SIZE] * _BITS_PER_BYTE_1000 // words[_BAUD] + _ADAPTER_MS
        ) & _TICKS_MASK
        self.busy = _SENDING
        self.tx_size = words[_FRAME_SIZE]

    def _judge_all(self, now_ticks: int) -> int:
        """Judge the frames received until one ends the transaction; else return BUSY."""
        words = self._words
        found = words[_FOUND]
        if words[_KIND] == _REPLY_HELD:
            words[_KIND] = _REPLIES
            found = receive(self._box, self._box, 0, words, _NEXT)
        while found:
            outcome = self._judge(found)
            if outcome != BUSY:
                return self._end(outcome, now_ticks)
            found = receive(self._box, self._box, 0, words, _NEXT)
        return BUSY

    def _judge(self, found: int) -> int:
        """Return the outcome that a frame means, BUSY if it does not belong to the transaction."""
        words = self._words
        control = found & 0xFF
        size = found >> 8 & 0xFF
        verdict = found >> 16 & 3
        expected = words[_CONTROL] | 0x80
        if control < 0x80:
            words[_ECHOES] += 1
            words[_HEARD_TICKS] = _NEVER
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
        if words[_SEQUENCE] >= 0:
            size -= 1
            if self.data[size] != words[_SEQUENCE]:
                words[_STALE] += 1
                self._fail_as(BAD_REPLY)
                return BUSY
        self.data_size = size
        self.more = control != expected
        return OK

    def _heard(self, now_ticks: int) -> int:
        """Return the outcome of bytes that were no reply yet: after a gap, or late in a pause."""
        words = self._words
        if self.busy == _PAUSE and words[_ATTEMPT]:
            if words[_FOUND] and self._judge_all(now_ticks) != BUSY:
                return words[_OUTCOME]
            return BUSY
        silent_ms = (now_ticks - words[_HEARD_TICKS]) & _TICKS_MASK
        if self.busy == _WAITING and silent_ms >= words[_GAP_MS]:
            return self._silence(now_ticks)
        return BUSY

    def _silence(self, now_ticks: int) -> int:
        """Search for a frame behind half a frame, which no more bytes will complete."""
        words = self._words
        words[_HEARD_TICKS] = _NEVER
        while receive(self._box, self._box, 0, words, _LAST):
            outcome = self._judge(words[_FOUND])
            if outcome != BUSY:
                return self._end(outcome, now_ticks)
        return BUSY

    def _still_arriving(self, now_ticks: int) -> bool:
        """Return whether bytes arrive, for no longer than the longest frame takes."""
        words = self._words
        if words[_HEARD_TICKS] == _NEVER:
            return False
        gap_ms = words[_GAP_MS]
        late_ms = (now_ticks - words[_DEADLINE_TICKS]) & _TICKS_MASK
        silent_ms = (now_ticks - words[_HEARD_TICKS]) & _TICKS_MASK
        longest_ms = gap_ms + _LONGEST_FRAME * _BITS_PER_BYTE_1000 // words[_BAUD]
        return silent_ms < gap_ms and late_ms < longest_ms

    def _expired(self, now_ticks: int) -> int:
        """Send, repeat or end, because the deadline of the phase has passed."""
        words = self._words
        if self.busy == _PAUSE:
            # A late reply may just be arriving.
            if not words[_ATTEMPT] or not self._still_arriving(now_ticks):
                self._send(now_ticks)
            return BUSY
        if self.busy == _SENDING:
            words[_UNSENT] += 1
            self.tx_size = 0
        elif words[_KIND] == _NO_REPLY:
            return self._end(OK, now_ticks)
        elif self._still_arriving(now_ticks):
            return BUSY
        elif self._silence(now_ticks) != BUSY:
            return words[_OUTCOME]
        if words[_NOISE] != words[_NOISE_BEFORE]:
            self._fail_as(GARBLED)
        if words[_LEFT]:
            words[_RETRIES] += 1
            self._pause(now_ticks, _BACK_OFF_MS * words[_ATTEMPT], now_ticks)
            return BUSY
        return self._end(words[_FAILURE], now_ticks)

    def _fail_as(self, failure: int) -> None:
        if failure > self._words[_FAILURE]:
            self._words[_FAILURE] = failure

    def _end(self, outcome: int, now_ticks: int) -> int:
        """End the transaction, unless it listens for more replies; return `outcome`."""
        words = self._words
        if words[_KIND] == _REPLIES and outcome in (OK, ABNORMAL):
            words[_KIND] = _REPLY_HELD
            words[_OUTCOME] = outcome
            return outcome
        self.busy = 0
        words[_HEARD_TICKS] = now_ticks
        words[_OUTCOME] = outcome
        if outcome != OK:
            words[_ABNORMAL if outcome == ABNORMAL else _FAILURES] += 1
        return outcome
