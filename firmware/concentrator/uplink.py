"""Move bytes between the connection to the head-end and the session of its dialect.

Another dialect needs another class with the interface of uplink.session.Session.
"""

from micropython import const
from uplink import session as dialect
from uplink.session import Session

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from ports import Channel

    from concentrator.books.books import Books

# Bytes of a batch: one long group, or several short ones. It is in memory twice.
_BODY_SIZE = const(600)
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


class Uplink:
    """Sends the records of `books` through `channel`, None: the board has no connection.

    session     the session, None: no key or no number is set
    moves       a number that changes while messages are answered or none is due
    """

    def __init__(self, channel: "Channel | None", books: "Books") -> None:
        self.session: Session | None = None
        self.moves = 0
        self._channel = channel
        self._books = books
        self._connection = 0
        self._chunk = bytearray(_CHUNK_SIZE)
        self._sent = 0  # bytes of the message that were sent
        self._taken_ticks = 0

    def configure(self, key: bytes, number: int, first_number: int) -> None:
        """Begin a session of the concentrator `number`, if there are a key and a number.

        `first_number` of its messages is random below 2**29.
        """
        self.session = None
        if key and number and self._channel is not None:
            self.session = Session(self._books.journal, key, number, first_number, _BODY_SIZE)
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

    def start_now(self) -> None:
        """End the wait before the next attempt."""
        if self.session is not None:
            self.session.start_now()

    def step(self, now_ticks: int) -> int:
        """Serve the connection; return the ms until it has to be served again."""
        session = self.session
        channel = self._channel
        if session is None or channel is None or channel.connection == 0:
            self._move()
            return _QUIET_MS
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
        outcome = session.poll(now_ticks)
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
