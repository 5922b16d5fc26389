"""Serve the technician's serial line: commands as text in frames, and the far side's card reader.

    far side                         device
    COMMAND  text                ->
                                 <-  PART   a line of the answer, as many as it takes
                                 <-  REPLY  status 1, text       0: done, 1: refused, and why

The answer repeats the `seq` of its command. A command with the same `seq` and text as the last one
is answered again but not carried out again, because a technician's program repeats a command that
was not answered. Lines of a long answer are made one by one as they are sent, and again for a
repeat. A long command is carried out in steps, one in each `step`.

The program begins with a random `seq`. CARD_* frames belong to cards/link_carrier.py.

Spec: docs/SPEC.md, "Link frame".
"""

from micropython import const
from uplink import link
from uplink.link import LinkReceiver

from concentrator.cards.link_carrier import LinkCarrier

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from card.chips.local import Display
    from ports import Channel

    from concentrator.cards.programmer import Programmer
    from concentrator.login import Login

    # A long answer is a function that returns its lines. A long command is an iterator: it gives
    # "" behind each of its steps, and then the lines of its answer.
    Answer = list[str] | Callable[[], Iterator[str]] | Iterator[str]

_BODY_LIMIT = const(320)
_LINE_LIMIT = const(256)

_LINK_FRAME_SIZE = const(660)
_CHUNK_SIZE = const(128)
_ASKED = (link.CARD_READ, link.CARD_WRITE)
_DONE = const(0)
_REFUSED = const(1)
_NO_SEQ = const(-1)


class Refusal(Exception):
    """A command is not carried out; the text says why, and what to try next."""


class Console:
    """A console on `channel`; `run(text)` carries out a command and returns its answer.

    A new connection ends the session of `login`.

    receiver    the receiver of frames, with its counters
    carrier     the card reader on the far side
    programmer  serves the far side with the board's own reader, None: it has none
    """

    def __init__(
        self,
        channel: "Channel",
        run: "Callable[[str], Answer]",
        login: "Login",
        display: "Display | None" = None,
    ) -> None:
        self.carrier = LinkCarrier(display)
        self.programmer: Programmer | None = None
        self._login = login
        self._channel = channel
        self._run = run
        self._connection = 0
        self.receiver = LinkReceiver(_BODY_LIMIT)
        self._chunk = bytearray(_CHUNK_SIZE)
        self._tx = bytearray(_LINK_FRAME_SIZE)
        self._tx_view = memoryview(self._tx)
        self._tx_size = 0
        self._tx_sent = 0
        self._seq = _NO_SEQ
        self._command = b""
        # Lines of the answer, the last one as the REPLY. They are kept for a repeat, but of a long
        # answer there are only the next two.
        self._answer: list[bytes] = []
        # The function that returns the lines of a long answer, and what is left of these or of a
        # long command.
        self._source: Callable[[], Iterator[str]] | None = None
        self._lines: Iterator[str] | None = None
        self._next = 0

    @property
    def is_in_steps(self) -> bool:
        """Whether a command or an answer is not complete."""
        return self._lines is not None

    @property
    def waiting(self) -> bool:
        """Whether more bytes have arrived than `step` has processed."""
        return self._channel.waiting != 0

    def step(self) -> bool:
        """Process received bytes and send what is due; return false if nothing is due."""
        channel = self._channel
        # What was begun in steps is ended before the next connection is served.
        if channel.connection != self._connection and (
            self._lines is None or self._source is not None
        ):
            self._connection = channel.connection
            self.receiver.reset()
            self.carrier.reset()
            self._login.close()
            self._tx_size = self._tx_sent = 0
            self._answer = []
            self._source = self._lines = None
            self._seq = _NO_SEQ
        if channel.waiting:
            size = channel.read_into(self._chunk)
            if size > 0:
                self.receiver.feed(self._chunk, size)
        receiver = self.receiver
        if receiver.held and self._lines is None and self._next >= len(self._answer):
            if receiver.kind == link.COMMAND:
                self._on_command(receiver.seq, bytes(receiver.body[: receiver.body_size]))
            elif self.programmer is not None and receiver.kind in _ASKED:
                self.programmer.on_frame(
                    receiver.kind, receiver.seq, receiver.body, receiver.body_size
                )
            else:
                self.carrier.on_frame(
                    receiver.kind, receiver.seq, receiver.body, receiver.body_size
                )
            receiver.release()
        return self._send()

    def _on_command(self, seq: int, command: bytes) -> None:
        self._next = 0
        if seq == self._seq and command == self._command:
            self._repeat()
            return
        self._seq = seq
        self._command = command
        self._answer = []
        self._source = None
        lines: Answer
        try:
            lines = self._run(str(command, "utf-8"))
            status = _DONE
        except UnicodeError:
            lines = ["the command is no UTF-8 text"]
            status = _REFUSED
        except Refusal as refusal:
            lines = [str(refusal)]
            status = _REFUSED
        if callable(lines):
            self._source = lines
            self._repeat()
            return
        if not isinstance(lines, list):
            self._lines = lines
            return
        last = lines[-1] if lines else ""
        for text in lines[:-1]:
            self._answer.append(text.encode()[:_LINE_LIMIT])
        self._answer.append(bytes((status,)) + last.encode()[:_LINE_LIMIT])

    def _repeat(self) -> None:
        """Begin a long answer."""
        if self._source is not None:
            self._answer = []
            self._lines = self._source()

    def _draw(self, lines: "Iterator[str]") -> None:
        """Go on until there is a line to send and one behind it, or to the end of a step."""
        if self._source is not None:
            self._answer = self._answer[self._next :]
            self._next = 0
        while len(self._answer) - self._next < 2:
            status = _DONE
            try:
                text = next(lines, None)
            except Refusal as refusal:
                status = _REFUSED
                self._answer.append(str(refusal).encode()[:_LINE_LIMIT])
                text = None
            if text is None:
                self._lines = None
                last = self._answer.pop() if len(self._answer) > self._next else b""
                self._answer.append(bytes((status,)) + last)
                return
            if not text:
                return
            self._answer.append(text.encode()[:_LINE_LIMIT])

    def _send(self) -> bool:
        """Continue to send; return false when nothing is left."""
        if self._tx_size == 0 and not self._fill():
            return self.is_in_steps
        self._tx_sent += self._channel.write(self._tx_view[self._tx_sent : self._tx_size])
        if self._tx_sent >= self._tx_size:
            self._tx_size = self._tx_sent = 0
        return True

    def _fill(self) -> bool:
        """Encode the next frame; return false if none is due."""
        if self._lines is not None:
            self._draw(self._lines)
            if self._lines is not None and len(self._answer) - self._next < 2:
                return False
        if self._next < len(self._answer):
            body = self._answer[self._next]
            self._next += 1
            kind = link.PART if self._next < len(self._answer) else link.REPLY
            self._tx_size = link.encode_into(self._tx, kind, self._seq, body, len(body))
        else:
            self._tx_size = self.carrier.encode_into(self._tx)
            if self._tx_size == 0 and self.programmer is not None:
                self._tx_size = self.programmer.encode_into(self._tx)
        return self._tx_size > 0
