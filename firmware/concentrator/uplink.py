"""Move bytes between the connection to the head-end and the session of its dialect.

Another dialect needs another class with the interface of uplink.session.Session.
"""

from binascii import crc32
from struct import pack_into

from micropython import const
from uplink import session as dialect
from uplink.envelope import Envelope
from uplink.session import Session

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from ports import Channel

    from concentrator.books.books import Books

    class Commands(Protocol):
        """What carries out the commands of the head-end."""

        def serve(self, session: Session) -> bool:
            """Continue with the session's order; return false while another message is sent."""


# The product's version, as in pyproject.toml.
VERSION = b"0.2.0"

# Bytes of the frame of a batch: one long group, or several short ones.
_BATCH_FRAME_SIZE = const(670)
_CHUNK_SIZE = const(128)
# The time between steps while an answer is due.
_ANSWER_MS = const(50)
# The time between steps while the head-end does not answer.
_AWAY_MS = const(2000)
# If the connection accepts no byte of a message for this time, it is dead.
_UNTAKEN_MS = const(30000)

_QUIET_MS = const(30000)
_TICKS_MASK = const(0x1FFFFFFF)
_MOVES_MASK = const(0xFFFF)
# So long a record may take to become durable.
_DURABLE_MS = const(60000)
_DRAWN_MASK = const(0x3FFFFF)
_UNKNOWN_T2000 = const(0xFFFFFFFF)
_ADDRESS_SIZE = const(6)


class Uplink:
    """Sends the records of `books` through `channel`, None: the board has no connection.

    session     the session, None: no key or no number is set
    moves       a number that changes while messages are answered or none is due
    identity    the journal's, 8 bytes
    commands    carry out the commands of the head-end, None: they are not taken
    epoch       the number of the record that this start writes first. No message is sent before it
                is durable, so no other start of this journal has the same; one is drawn where the
                flash takes nothing
    """

    def __init__(
        self,
        channel: "Channel | None",
        books: "Books",
        tell: "Callable[[int], bool]",
        random: "Callable[[], int]",
    ) -> None:
        self.session: Session | None = None
        self.moves = 0
        self.identity = b""
        self.epoch = 0
        self.commands: Commands | None = None
        self._channel = channel
        self._books = books
        self._tell = tell
        self._random = random
        self._sealed: Envelope | None = None
        self._waits = True
        self._wait_ticks = -1
        self._connection = 0
        self._chunk = bytearray(_CHUNK_SIZE)
        self._tx: bytearray | None = None
        self._sent = 0  # bytes of the message that were sent
        self._taken_ticks = 0

    def begin(self, identity: bytes) -> None:
        """Note the journal, which has been recovered and has no record of this start yet."""
        self.identity = identity
        self.epoch = self._books.journal.durable_seq + 1

    def configure(self, key: bytes, number: int) -> None:
        """Begin a session of the concentrator `number`, if there are a key and a number.

        The messages are numbered on, whatever the key was, in the epoch of this start: a later one
        was told by the head-end, and a thief of the old key may have used the last there is.
        """
        self.session = None
        if key and number and self._channel is not None:
            if self._tx is None:
                self._tx = bytearray(_BATCH_FRAME_SIZE)
            before = self._sealed
            count = 0 if before is None else before.number
            self._sealed = sealed = Envelope(key, number, self.identity, self.epoch, count)
            self.session = Session(self._books.journal, sealed, self._random, self._tx)
            self._connection = 0

    @property
    def acked_seq(self) -> int:
        """The number up to which all records are in the head-end's database; -1: no session."""
        return -1 if self.session is None else self.session.acked_seq

    @property
    def reached(self) -> bool:
        """Whether the head-end answers."""
        session = self.session
        return session is not None and session.state in (dialect.READY, dialect.SENT)

    @property
    def reason(self) -> int:
        """Why the head-end takes nothing, as REFUSED names it; 0: it does, or it is not known."""
        return 0 if self.session is None else self.session.reason

    def start_now(self) -> None:
        """End the wait before the next attempt."""
        if self.session is not None:
            self.session.start_now()

    def greet(self) -> None:
        """Say HELLO again, so that the head-end tells its time."""
        if self.session is not None:
            self.session.greet()

    def step(self, now_ticks: int) -> int:
        """Serve the connection; return the ms until it has to be served again."""
        session = self.session
        channel = self._channel
        if session is None or channel is None or channel.connection == 0:
            self._move()
            return _QUIET_MS
        if self._waits and not self._may_begin(now_ticks):
            self._move()
            return _AWAY_MS
        if channel.connection != self._connection:
            self._connection = channel.connection
            self._sent = 0
            session.reset()  # nothing is left to be sent
        if session.tx_size == 0:
            self._taken_ticks = now_ticks
        if channel.waiting:
            size = channel.read_into(self._chunk)
            if size > 0:
                session.feed(self._chunk, size)
        if session.state == dialect.GREET:
            self._describe(session.about)
        if session.order and self.commands is not None and self.commands.serve(session):
            return 0
        outcome = session.poll(now_ticks)
        if session.told_t2000:
            self._tell(session.told_t2000)
            session.told_t2000 = 0
        if session.stale:
            channel.close()
            return 0
        if session.tx_size:
            self._send(session, channel, now_ticks)
        if outcome != dialect.BUSY:
            self._move()
        books = self._books
        if outcome == dialect.AHEAD:
            books.set_behind(True)
        elif session.wanted and not books.telling and session.acked_seq >= books.told_seq:
            # It lacks records that it cannot have from here, as after a backup came back.
            books.telling = books.registry.count + 1
        if books.telling and books.tell_next():
            return 0
        if outcome == dialect.ACKED:
            return 0
        if outcome == dialect.BUSY:
            return _ANSWER_MS
        return _QUIET_MS if outcome == dialect.IDLE else _AWAY_MS

    def _may_begin(self, now_ticks: int) -> bool:
        """Return whether messages may leave; where the flash takes nothing an epoch is drawn."""
        if self._wait_ticks < 0:
            self._wait_ticks = now_ticks
        if self._books.journal.durable_seq < self.epoch:
            if (now_ticks - self._wait_ticks) & _TICKS_MASK < _DURABLE_MS or self._sealed is None:
                return False
            self.epoch += 1 + (self._random() & _DRAWN_MASK)
            self._sealed.begin(self.epoch)
        self._waits = False
        return True

    def _describe(self, about: bytearray) -> None:
        """Say what HELLO tells of this board."""
        registry = self._books.registry
        size = registry.count * _ADDRESS_SIZE
        check = crc32(memoryview(registry.addresses)[:size])
        check = crc32(memoryview(registry.accounts)[:size], check)
        check = crc32(memoryview(registry.active)[: registry.count], check)
        t2000 = self._books.t2000
        pack_into("<H", about, 0, registry.limit)
        pack_into("<I", about, dialect.ABOUT_T2000, t2000 if t2000 >= 0 else _UNKNOWN_T2000)
        pack_into("<I", about, dialect.ABOUT_METERS, check)
        about[dialect.ABOUT_VERSION : dialect.ABOUT_VERSION + len(VERSION)] = VERSION

    def _send(self, session: Session, channel: "Channel", now_ticks: int) -> None:
        view = memoryview(session.tx)
        taken = channel.write(view[self._sent : session.tx_size])
        if taken:
            self._sent += taken
            self._taken_ticks = now_ticks
            self._move()
        elif (now_ticks - self._taken_ticks) & _TICKS_MASK >= _UNTAKEN_MS:
            # The far side does not read any more: only a new connection can help.
            channel.close()
            self._move()
        if self._sent >= session.tx_size:
            self._sent = 0
            session.sent(now_ticks)

    def _move(self) -> None:
        self.moves = (self.moves + 1) & _MOVES_MASK
