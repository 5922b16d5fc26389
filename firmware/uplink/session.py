"""Bring the durable records of one concentrator to its head-end.

    device                              head-end
    HELLO first_seq 4, next_seq 4   ->
                                    <-  WELCOME acked_seq 4, t2000 4, wants 1
    BATCH                           ->
                                    <-  ACK acked_seq 4, wants 1      after its database commit
                                    <-  COMMAND number 4, expires 4, text
    RESULT number 4, outcome, part  ->

`acked_seq` is cumulative: all records up to it are in the database, and only these may be deleted
here. One message is under way at a time. It is repeated, byte for byte, after a timeout that
doubles. After several repeats without an answer the session waits, longer each time, and sends a
new HELLO. Every wait is a random time between 0.5 and 1.5 times the one named here.

Every new message has a higher number than all before it, and an answer counts only with the number
of the message under way. REFUSED tells why the head-end stores nothing, BUSY tells when to send
again. If the head-end has already seen the epoch of the message or a later one, REFUSED names that
one, and the session continues in an epoch behind it.

A COMMAND may come at any time, and counts once: its stamp is above those of all before it. The
application carries out `order`, gives the parts of its answer to `tell`, and empties `order` with
the last. A RESULT is sent while no other message is under way. It is not acknowledged: the
head-end repeats a COMMAND whose RESULT it has not received.

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
from uplink.envelope import answered_at
from uplink.link import (
    ACK,
    BATCH,
    BUSY_LATER,
    HELLO,
    ORDER,
    REFUSED,
    RESULT,
    WELCOME,
    LinkReceiver,
    encode_into,
)
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

# Reasons of REFUSED, as docs/SPEC.md names them.
_STALE_EPOCH = const(4)
_CONFLICT = const(5)

# What HELLO says besides its numbers, see `about`.
ABOUT_SIZE = const(28)
ABOUT_T2000 = const(4)
ABOUT_METERS = const(8)
ABOUT_VERSION = const(12)
_PROTOCOL = const(2)

_LONG_FRAME_SIZE = const(1094)
_FRAME_SHORTEST = const(611)  # one group
_ANSWER_TIMEOUT_MS = const(6000)
_TRIES_LIMIT = const(3)
_FIRST_BACK_OFF_MS = const(2000)
_BACK_OFF_LIMIT_MS = const(120000)
_GATHER_MS = const(500)
_GATHER_COUNT = const(16)

# The longest body from the head-end: a command of 128 bytes with its number and envelope.
_ANSWER_SIZE = const(169)
_WAITING_SIZE = const(128)  # as many bytes as the adapter feeds at once
# A command with a text.
_ORDER_SHORTEST = const(9)
_STAMP = const(9)
_TICKS_MASK = const(0x1FFFFFFF)
_SEQ_SIZE = const(4)
_WELCOME_SIZE = const(9)
_ACK_SIZE = const(5)
_REFUSED_SIZE = const(12)
_KNOWN = const(4)
_BUSY_SIZE = const(2)
# Bytes around a body, and room for those of it that have to be escaped: about one of 128 in a
# sealed body. A body that needs more is sealed again, under the next number. A body is made this
# far behind the start of its frame, so that the frame never overtakes the body as it is encoded.
_FRAMING_SIZE = const(70)
_EPOCH_STEP_MASK = const(0xFFFF)
# No epoch behind this one is begun: only a forger can have come so far.
_EPOCH_LIMIT = const(0xFFFF0000)


TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from uplink.envelope import Envelope

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

        def group_into(
            self, seq: int, buf: "bytearray | memoryview", start: int, limit: int
        ) -> int:
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
    about         the end of HELLO: capacity 2, protocol 1, 0, t2000 4, CRC-32 of the meter
                  table 4, version 16
    told_t2000    the head-end's time in the last WELCOME, 0 if it did not tell one
    reason        the reason of the last REFUSED, 0 while messages are stored
    stale         true after repeated messages without an answer: the connection may be dead
    refused       the count of answers that were malformed or had a wrong MAC, version or number
                  of the concentrator
    late          the count of genuine answers to other messages than the one under way
    order         a COMMAND that is carried out: number 4, expires 4, text; b"": none
    """

    def __init__(
        self,
        source: "Source",
        sealed: "Envelope",
        random: "Callable[[], int]",
        tx: "bytearray | None" = None,
    ) -> None:
        """`random` gives numbers below 2**29 that differ from board to board.

        `tx` is the buffer of frames, whose size limits that of a batch.
        """
        if tx is None:
            tx = bytearray(_LONG_FRAME_SIZE)
        if len(tx) < _FRAME_SHORTEST:
            raise ValueError("a frame without room for a group")
        self.acked_seq = source.outbox_seq - 1
        self.known_seq = -1
        self.wanted = False
        self.about = bytearray(ABOUT_SIZE)
        self.about[_PROTOCOL] = 2
        self.told_t2000 = 0
        self.reason = 0
        self.state = GREET
        self.stale = False
        self.tx = tx
        self.tx_size = 0
        self.refused = 0
        self.late = 0
        self.order = b""
        self._stamp = (0, 0)  # of the newest COMMAND: its high and its low half
        self._source = source
        self._random = random
        self._receiver = LinkReceiver(_ANSWER_SIZE, _WAITING_SIZE)
        self._envelope = sealed
        self._body = memoryview(self.tx)[_FRAMING_SIZE:]
        self._batch_seq = 0  # first number of the batch under way
        self._frame_size = 0
        self._tries = 0
        self._since_ticks = 0
        self._wait_ms = 0
        self._back_off_ms = _FIRST_BACK_OFF_MS
        self._gathering = False
        self._ahead = False
        self._checks = False  # the next batch begins with what the head-end has already

    def reset(self) -> None:
        """Begin with a HELLO on a new connection; forget the message under way on the old one."""
        self._receiver.reset()
        self.tx_size = 0
        self.stale = False
        self.greet()

    def start_now(self) -> None:
        """End the wait before the next attempt, because the button was pressed."""
        if self.state == BACK_OFF:
            self._back_off_ms = _FIRST_BACK_OFF_MS
            self.greet()

    def feed(self, buf: "bytearray | memoryview | bytes", size: int) -> None:
        """Process `size` received bytes."""
        self._receiver.feed(buf, size)

    def sent(self, now_ticks: int) -> None:
        """Note that `tx` has been sent; the time for the answer begins now."""
        self.tx_size = 0
        if self.state != READY:
            self._wait(now_ticks, _ANSWER_TIMEOUT_MS << self._tries)

    def poll(self, now_ticks: int) -> int:
        """Continue; return IDLE, BUSY, ACKED, AWAY or AHEAD."""
        receiver = self._receiver
        if receiver.held:
            acked_seq = self.acked_seq
            self._receive(now_ticks)
            receiver.release()
            if self.acked_seq != acked_seq or self.order:
                return ACKED
        if self.tx_size:
            return BUSY
        state = self.state
        if state == READY and self._source.durable_seq == self.acked_seq and not self._checks:
            return IDLE
        if state == READY:
            return self._gather(now_ticks)
        if state == GREET:
            self._send_hello(now_ticks)
        elif state == BACK_OFF:
            if (now_ticks - self._since_ticks) & _TICKS_MASK < self._wait_ms:
                return AHEAD if self._ahead else AWAY
            self.greet()
        elif (now_ticks - self._since_ticks) & _TICKS_MASK >= self._wait_ms:
            self._tries += 1
            if self._tries == _TRIES_LIMIT:
                self.stale = True
                self._step_back(now_ticks)
                return AWAY
            self.tx_size = self._frame_size
        return BUSY

    def tell(self, payload: bytes) -> bool:
        """Send a part of a RESULT; return false if it has to be told again a little later."""
        if self.state != READY or self.tx_size:
            return False
        start = envelope.PAYLOAD
        self._body[start : start + len(payload)] = payload
        return self._send(RESULT, len(payload))

    def greet(self) -> None:
        """Begin with a HELLO."""
        self.state = GREET
        self._tries = 0
        self._gathering = False

    def _wait(self, now_ticks: int, wait_ms: int) -> None:
        """Start a random wait of about `wait_ms`, so that many boards do not send at once."""
        self._since_ticks = now_ticks
        self._wait_ms = (wait_ms >> 1) + self._random() % wait_ms

    def _step_back(self, now_ticks: int, wait_ms: int = 0) -> None:
        """Send HELLO again after `wait_ms`; 0 waits twice as long as the last time."""
        self.state = BACK_OFF
        if wait_ms == 0:
            wait_ms = self._back_off_ms
            self._back_off_ms = min(2 * wait_ms, _BACK_OFF_LIMIT_MS)
        self._wait(now_ticks, wait_ms)

    def _receive(self, now_ticks: int) -> None:
        """Judge the frame that the receiver holds."""
        receiver = self._receiver
        kind = receiver.kind
        body = receiver.body
        size = self._envelope.open(kind, body, receiver.body_size)
        if size < 0:
            self.refused += 1
            return
        if kind == ORDER:
            self._on_order(body, size)
        elif answered_at(body) != self._envelope.number or self.state not in (GREETED, SENT):
            self.late += 1
        elif size == _WELCOME_SIZE and kind == WELCOME and self.state == GREETED:
            self.told_t2000 = u32_at(body, envelope.ANSWER + _SEQ_SIZE)
            self.wanted = body[envelope.ANSWER + _WELCOME_SIZE - 1] != 0
            self._stamp = _stamp_of(body)  # no command from before this answer counts
            self._on_acked(u32_at(body, envelope.ANSWER), now_ticks)
        elif size == _ACK_SIZE and kind == ACK and self.state == SENT:
            self.wanted = body[envelope.ANSWER + _ACK_SIZE - 1] != 0
            self._on_acked(u32_at(body, envelope.ANSWER), now_ticks)
        elif size == _REFUSED_SIZE and kind == REFUSED:
            self._on_refused(body, now_ticks)
        elif size == _BUSY_SIZE and kind == BUSY_LATER:
            self.stale = False
            after_s = body[envelope.ANSWER] | body[envelope.ANSWER + 1] << 8
            self._step_back(now_ticks, 1000 * max(after_s, 1))
        else:
            self.refused += 1

    def _on_order(self, body: bytearray, size: int) -> None:
        """Keep a COMMAND for the application, unless it is old or another is carried out."""
        stamp = _stamp_of(body)
        if size < _ORDER_SHORTEST or answered_at(body) or stamp <= self._stamp:
            self.refused += 1
            return
        self._stamp = stamp
        if not self.order:
            self.order = bytes(body[envelope.ANSWER : envelope.ANSWER + size])

    def _on_refused(self, body: bytearray, now_ticks: int) -> None:
        """Wait as if there were no answer; move to a later epoch if this one was seen."""
        self.stale = False
        self.reason = body[envelope.ANSWER]
        known = u32_at(body, envelope.ANSWER + _KNOWN)
        if self.reason == _STALE_EPOCH and self._envelope.epoch <= known < _EPOCH_LIMIT:
            self._envelope.begin(known + 1 + (self._random() & _EPOCH_STEP_MASK))
        elif self.reason == _CONFLICT:
            # The records there are others: those here do not follow them.
            self.known_seq = known
            self._ahead = True
        self._step_back(now_ticks)

    def _on_acked(self, acked_seq: int, now_ticks: int) -> None:
        """Continue after `acked_seq`, or wait if the head-end is ahead or takes nothing."""
        source = self._source
        self.reason = 0
        self._ahead = acked_seq > source.durable_seq
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
            self.greet()
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
                self._wait(now_ticks, _GATHER_MS)
            if (now_ticks - self._since_ticks) & _TICKS_MASK < self._wait_ms:
                return BUSY
        self._gathering = False
        if not self._send_batch():
            self._step_back(now_ticks)
        return BUSY

    def _send_hello(self, now_ticks: int) -> None:
        source = self._source
        body = self._body
        start = envelope.PAYLOAD
        pack_into("<II", body, start, source.outbox_seq, source.durable_seq + 1)
        start += 2 * _SEQ_SIZE
        body[start : start + ABOUT_SIZE] = self.about
        if self._send(HELLO, 2 * _SEQ_SIZE + ABOUT_SIZE):
            self.state = GREETED
        else:
            self._step_back(now_ticks)

    def _send_batch(self) -> bool:
        """Send the groups after `acked_seq`; return false if the flash does not answer.

        After a HELLO the group with `acked_seq` comes first: the head-end compares it with its
        own.
        """
        source = self._source
        body = self._body
        at = envelope.PAYLOAD
        end = len(body) - envelope.OVERHEAD + at
        seq = self._batch_seq = self.acked_seq + (0 if self._checks else 1)
        while seq <= source.durable_seq:
            size = source.group_into(seq, body, at, end - at)
            if size <= 0:
                break
            at += size
            seq = source.group_end
        if at == envelope.PAYLOAD or not self._send(BATCH, at - envelope.PAYLOAD):
            return False
        self.state = SENT
        return True

    def _send(self, kind: int, payload_size: int) -> bool:
        """Seal and frame the payload in the body; false: its escapes have no room."""
        sealed = self._envelope
        size = sealed.seal(kind, self._body, payload_size)
        frame = memoryview(self.tx)[: _FRAMING_SIZE + size]
        self._frame_size = encode_into(frame, kind, sealed.number & 0xFF, self._body, size)
        self.tx_size = self._frame_size
        return self._frame_size > 0


def _stamp_of(body: bytearray) -> "tuple[int, int]":
    """Return the stamp of an opened body: its high half first, so that tuples compare."""
    return u32_at(body, _STAMP + 4), u32_at(body, _STAMP)
