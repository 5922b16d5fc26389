"""Bring the durable records of one concentrator to its head-end.

    device                              head-end
    HELLO first_seq 4, next_seq 4   ->
                                    <-  WELCOME acked_seq 4, wants 1
    BATCH                           ->
                                    <-  ACK acked_seq 4, wants 1      after its database commit

`acked_seq` is cumulative: all records up to it are in the database, and only these may be deleted
here. One message is under way at a time. It is repeated, byte for byte, after a timeout that
doubles. After several repeats without an answer the session waits, longer each time, and sends a
new HELLO.

Every new message has a higher number than all before it, and an answer counts only with the number
of the message under way. After a restart the head-end may know a higher number. It answers the
HELLO with that number, and the session continues from there with another HELLO.

The session is sans-IO: the adapter calls `feed` with bytes and `poll` with the time, sends
`tx[:tx_size]` and calls `sent`. `tx` does not change until `sent`, however long that takes. The
session runs on a byte stream, TCP or serial. On TCP the adapter calls `reset` after each new
connection, and makes a new connection when `stale` is true. Polling with nothing to send, and
feeding, allocate nothing.

Spec: docs/SPEC.md, "Uplink".
"""

from struct import pack_into

from micropython import const

from uplink import envelope
from uplink.envelope import Envelope, number_at
from uplink.link import ACK, BATCH, HELLO, WELCOME, LinkReceiver, encode_into
from uplink.packing import GROUP_LIMIT
from uplink.record import u32_at

# Outcomes of `poll`.
IDLE = const(0)  # the head-end has everything that is durable
BUSY = const(1)  # a message is under way, or records are being gathered
ACKED = const(2)  # acked_seq has changed
AWAY = const(3)  # the head-end does not answer: the session waits before the next attempt
AHEAD = const(4)  # the head-end has records that this journal lacks: none is sent or deleted

# States.
GREET = const(0)
GREETED = const(1)
READY = const(2)
SENT = const(3)
BACK_OFF = const(4)

_LONG_BODY_SIZE = const(1024)
_BODY_SHORTEST = const(536)  # one group
_ANSWER_TIMEOUT_MS = const(3000)
_TRIES_LIMIT = const(3)
_FIRST_BACK_OFF_MS = const(2000)
_BACK_OFF_LIMIT_MS = const(120000)
_GATHER_MS = const(500)
_GATHER_COUNT = const(16)

_ANSWER_SIZE = const(64)
_TICKS_MASK = const(0x1FFFFFFF)
_SEQ_SIZE = const(4)
_ANSWERED_SIZE = const(5)  # acked_seq, wants
# Bits of `wants`.
_WANTS_STANDINGS = const(1)
_RECORDS_DIFFER = const(2)
_FRAMING_SIZE = const(6)


TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from typing import Protocol

    class Source(Protocol):
        """The interface of the journal that the session needs."""

        @property
        def outbox_seq(self) -> int:
            """The number of the oldest record that is kept and is for the head-end."""

        @property
        def durable_seq(self) -> int:
            """The number of the newest durable record; outbox_seq - 1: there is none."""

        # The number behind the group that `group_into` copied last.
        group_end: int

        def group_into(self, seq: int, buf: bytearray, start: int, limit: int) -> int:
            """Copy the group with `seq` to `start` of `buf`; return its size, 0: it has no room.

            Records that cannot be read any more become a gap. Below 0: the flash does not answer
            now.
            """


class Session:
    """Brings the records of `source` to the head-end.

    acked_seq     all records up to this number are in the head-end's database
    known_seq     the last acked_seq of the head-end, even if it is beyond the journal;
                  -1 until it is known whether the records there are those here
    wanted        true if the last answer asked for the standing of every account
    stale         true after repeated messages without an answer: the connection may be dead
    refused       the count of answers that were malformed or had a wrong MAC, version or number
                  of the concentrator
    late          the count of genuine answers to other messages than the one under way
    """

    def __init__(
        self,
        source: "Source",
        key: "bytes | bytearray",
        concentrator: int,
        first_number: int = 1,
        body_size: int = _LONG_BODY_SIZE,
    ) -> None:
        """Make a session whose first message has `first_number`, random below 2**29."""
        if body_size < _BODY_SHORTEST:
            raise ValueError("a body without room for a group")
        self.acked_seq = source.outbox_seq - 1
        self.known_seq = -1
        self.wanted = False
        self.state = GREET
        self.stale = False
        # One group fits even if all its bytes have to be escaped; of several, some may be left for
        # the next batch.
        escaped_size = 2 * (GROUP_LIMIT + envelope.OVERHEAD + _FRAMING_SIZE)
        self.tx = bytearray(max(body_size + body_size // 4, escaped_size))
        self.tx_size = 0
        self.refused = 0
        self.late = 0
        self._source = source
        self._number = first_number - 1
        self._receiver = LinkReceiver(_ANSWER_SIZE)
        self._envelope = Envelope(key, concentrator)
        self._body = bytearray(body_size)
        self._batch_seq = 0  # first number of the batch under way
        self._frame_size = 0
        self._tries = 0
        self._since_ticks = 0
        self._back_off_ms = _FIRST_BACK_OFF_MS
        self._gathering = False
        self._ahead = False
        self._checks = False  # the next batch begins with what the head-end has already

    def reset(self) -> None:
        """Begin with a HELLO on a new connection; forget the message under way on the old one."""
        self._receiver.reset()
        self.tx_size = 0
        self.stale = False
        self._greet()

    def start_now(self) -> None:
        """End the wait before the next attempt, because the button was pressed."""
        if self.state == BACK_OFF:
            self._back_off_ms = _FIRST_BACK_OFF_MS
            self._greet()

    def feed(self, buf: "bytearray | memoryview | bytes", size: int) -> None:
        """Process `size` received bytes."""
        self._receiver.feed(buf, size)

    def sent(self, now_ticks: int) -> None:
        """Note that `tx` has been sent; the time for the answer begins now."""
        self.tx_size = 0
        self._since_ticks = now_ticks

    def poll(self, now_ticks: int) -> int:
        """Continue; return IDLE, BUSY, ACKED, AWAY or AHEAD."""
        receiver = self._receiver
        if receiver.held:
            acked_seq = self.acked_seq
            self._receive(now_ticks)
            receiver.release()
            if self.acked_seq != acked_seq:
                return ACKED
        state = self.state
        if state == READY and self._source.durable_seq == self.acked_seq and not self._checks:
            return IDLE
        if self.tx_size:
            return BUSY
        if state == READY:
            return self._gather(now_ticks)
        if state == GREET:
            self._send_hello()
        elif state == BACK_OFF:
            if (now_ticks - self._since_ticks) & _TICKS_MASK < self._back_off_ms:
                return AHEAD if self._ahead else AWAY
            self._back_off_ms = min(2 * self._back_off_ms, _BACK_OFF_LIMIT_MS)
            self._greet()
        elif (now_ticks - self._since_ticks) & _TICKS_MASK >= _ANSWER_TIMEOUT_MS << self._tries:
            self._tries += 1
            if self._tries == _TRIES_LIMIT:
                self.stale = True
                self._step_back(now_ticks)
                return AWAY
            self.tx_size = self._frame_size
        return BUSY

    def _greet(self) -> None:
        self.state = GREET
        self._tries = 0
        self._gathering = False

    def _step_back(self, now_ticks: int) -> None:
        self.state = BACK_OFF
        self._since_ticks = now_ticks

    def _receive(self, now_ticks: int) -> None:
        """Judge the frame that the receiver holds."""
        receiver = self._receiver
        kind = receiver.kind
        body = receiver.body
        if self._envelope.open(kind, body, receiver.body_size) != _ANSWERED_SIZE:
            self.refused += 1
            return
        number = number_at(body)
        if kind == WELCOME and self.state == GREETED and number >= self._number:
            if number > self._number:
                self._number = number
                self.state = GREET
                return
        elif kind != ACK or self.state != SENT or number != self._number:
            self.late += 1
            return
        wants = body[envelope.PAYLOAD + _SEQ_SIZE]
        self.wanted = wants & _WANTS_STANDINGS != 0
        self._ahead = wants & _RECORDS_DIFFER != 0
        self._on_acked(u32_at(body, envelope.PAYLOAD), now_ticks)

    def _on_acked(self, acked_seq: int, now_ticks: int) -> None:
        """Continue after `acked_seq`, or wait if the head-end is ahead or takes nothing."""
        source = self._source
        self._ahead |= acked_seq > source.durable_seq
        self._checks = self.state == GREETED and acked_seq >= source.outbox_seq
        if self._ahead or not self._checks:
            self.known_seq = acked_seq
        self.stale = False
        stuck = self.state == SENT and acked_seq < self._batch_seq
        if self._ahead or (stuck and acked_seq == self.acked_seq):
            self._step_back(now_ticks)
            return
        self.acked_seq = acked_seq
        if acked_seq + 1 < source.outbox_seq:
            # The head-end lacks records that are no longer kept here. The next HELLO tells it the
            # first record that is.
            self._greet()
            return
        self._tries = 0
        if self.state == SENT:
            self._back_off_ms = _FIRST_BACK_OFF_MS
        self.state = READY

    def _gather(self, now_ticks: int) -> int:
        """Wait a moment for more records, then send them; return BUSY."""
        if self._source.durable_seq - self.acked_seq < _GATHER_COUNT:
            if not self._gathering:
                self._gathering = True
                self._since_ticks = now_ticks
            if (now_ticks - self._since_ticks) & _TICKS_MASK < _GATHER_MS:
                return BUSY
        self._gathering = False
        if not self._send_batch():
            self._step_back(now_ticks)
        return BUSY

    def _send_hello(self) -> None:
        source = self._source
        pack_into("<II", self._body, envelope.PAYLOAD, source.outbox_seq, source.durable_seq + 1)
        self._send(HELLO, 2 * _SEQ_SIZE)
        self.state = GREETED

    def _send_batch(self) -> bool:
        """Send the groups after `acked_seq`; return false if the flash does not answer.

        After a HELLO the group with `acked_seq` comes first: the head-end compares it with its
        own.
        If escapes make the frame too long, fewer groups are sent.
        """
        source = self._source
        body = self._body
        start = envelope.PAYLOAD
        end = len(body) - envelope.OVERHEAD + start
        self._batch_seq = self.acked_seq + (0 if self._checks else 1)
        while True:
            seq = self._batch_seq
            at = last_at = start
            while seq <= source.durable_seq:
                size = source.group_into(seq, body, at, end - at)
                if size <= 0:
                    break
                last_at = at
                at += size
                seq = source.group_end
            if at == start:
                return False
            if self._send(BATCH, at - start):
                self.state = SENT
                return True
            end = last_at

    def _send(self, kind: int, payload_size: int) -> bool:
        """Seal and frame the payload with the next number; return false without room."""
        number = self._number + 1
        size = self._envelope.seal(kind, number, self._body, payload_size)
        self._frame_size = encode_into(self.tx, kind, number & 0xFF, self._body, size)
        if self._frame_size == 0:
            return False
        self._number = number
        self.tx_size = self._frame_size
        return True
