"""Carry out the commands of the head-end, one at a time and each once.

    COMMAND   ->  intent in the journal  ->  effect  ->  outcome in the journal  ->  RESULT

A command is a line of the console's own language; the column `above` of its row says whether the
head-end may give it. One that only reads is carried out whenever it comes. One that changes
something has a number above all before it. Its intent is durable before it acts, and its outcome
before the head-end is told.

The effects are absolute. After a power cut between intent and outcome the head-end, which has no
RESULT, repeats the command, and it is carried out again to the same end. If it has expired
meanwhile, its outcome is not known.

Spec: docs/SPEC.md, "Uplink"; "Record", COMMAND.
"""

from hashlib import sha256

from micropython import const
from uplink.record import u32_at

from concentrator.console.console import Refusal
from concentrator.console.words import ASKED, HERE
from concentrator.login import ABOVE, NOTHING
from concentrator.settings import STORAGE_TROUBLE, is_secret

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from uplink.session import Session

    from concentrator.console.console import Answer
    from concentrator.console.words import App, Row


# Outcomes of a command, in COMMAND records and in RESULT.
DONE = const(0)
REFUSED = const(1)
NOT_DONE = const(2)
NOT_KNOWN = const(3)

# Stages of a COMMAND record.
INTENT = const(1)
OUTCOME = const(2)
# Places in `books.commands`: the newest number; its stage, outcome << 8; the start of its SHA-256.
_NUMBER = const(0)
_STATE = const(1)
_NAME = const(2)

# What the next step does.
_TAKE = const(0)
_ACT = const(1)
_NOTE = const(2)
_TELL = const(3)

_EXPIRES = const(4)
_TEXT = const(8)
# A part ends behind the line with which it has this many bytes; a longer line is cut.
_PART_FULL = const(200)
_LINE_MOST = const(300)
_LAST_PART = const(0)
_PARTS = const(255)


class Remote:
    """The commands of the head-end that a session of the uplink receives."""

    def __init__(
        self, app: "App", find: "Callable[[str], tuple[dict[str, Any], Row, list[str]]]"
    ) -> None:
        self._app = app
        self._find = find
        self._next = _TAKE
        self._number = 0
        self._expires = 0
        self._text = b""
        self._name = b""
        self._is_again = False  # its intent was durable before
        self._is_journalled = False
        self._told: list[str] = []  # lines of a long command so far
        self._outcome = DONE
        self._lines: Iterator[str] | None = None
        self._part = _LAST_PART
        self._payload = b""  # the part that is told next

    def step(self, session: "Session") -> bool:
        """Continue with the session's order; return false while another message is sent.

        A step writes a record or has the command take effect, not both.
        """
        if self._next == _TAKE:
            self._take(session.order)
        elif self._next == _ACT:
            if self._act():
                self._next = _NOTE if self._is_journalled else _TELL
                if self._is_again and self._outcome != DONE:
                    self._outcome = NOT_KNOWN
        elif self._next == _NOTE:
            # Without room for its outcome it stays open, and the head-end repeats it.
            self._next = _TELL if self._note(OUTCOME, self._outcome) else _TAKE
        else:
            self._payload = self._payload or self._next_part()
            if not session.tell(self._payload):
                return False
            self._payload = b""
            if self._part == _LAST_PART:
                self._next = _TAKE
        if self._next == _TAKE:
            session.order = b""
        self._app.litter += 1
        return True

    def _take(self, order: bytes) -> None:
        """Judge a command that has come: it acts next, or its answer is told."""
        self._number = u32_at(order, 0)
        self._expires = u32_at(order, _EXPIRES)
        self._text = order[_TEXT:]
        self._part = _LAST_PART
        self._is_again = False
        try:
            _, row, arguments = self._find(str(self._text, "utf-8"))
            above = row[4]
            if above == HERE or (row[0] == "set" and is_secret(arguments[0])):
                raise Refusal("this is typed at the concentrator's own console only")
            self._is_journalled = above != ASKED
            self._lines = None
            if above == ASKED:
                self._next = _ACT
            else:
                self._judge()
        except UnicodeError:
            self._tell(REFUSED, "the command is no UTF-8 text")
        except Refusal as refusal:
            self._tell(REFUSED, str(refusal))

    def _judge(self) -> None:
        """Let a command that changes something act; Refusal if its number or time is over."""
        books = self._app.books
        last = books.commands
        self._name = sha256(self._text).digest()[:8]
        is_over = books.t2000 > self._expires
        if self._number == last[_NUMBER]:
            if u32_at(self._name, 0) != last[_NAME]:
                raise Refusal("another command had this number")
            if last[_STATE] & 0xFF == OUTCOME:
                self._tell(last[_STATE] >> 8, "")
            elif books.t2000 >= 0:
                self._is_again = True
                self._next = _ACT
                if is_over:
                    self._next = _NOTE
                    self._outcome = NOT_KNOWN
                    self._lines = iter(())
        elif self._number < last[_NUMBER]:
            raise Refusal("it is older than command " + str(last[_NUMBER]))
        elif is_over:
            raise Refusal("it has expired")
        elif books.t2000 < 0:
            self._tell(NOT_DONE, "the clock is not set yet")
        elif not self._note(INTENT, DONE):
            self._tell(NOT_DONE, STORAGE_TROUBLE)
        else:
            self._next = _ACT

    def _note(self, stage: int, outcome: int) -> bool:
        fields = (self._number, stage, outcome, self._expires)
        return self._app.books.note_command(fields, self._name, self._text)

    def _act(self) -> bool:
        """Carry out a step of the command; return whether it has ended, with its outcome."""
        login = self._app.login
        login.granted = ABOVE
        try:
            if self._lines is None:
                names, row, arguments = self._find(str(self._text, "utf-8"))
                answer: Answer = names[row[3]](self._app, arguments)
                self._outcome = DONE
                self._told = []
                if callable(answer):
                    answer = answer()
                elif not isinstance(answer, list):
                    self._lines = answer  # a long command
                    return False
                self._lines = iter(answer)
                return True
            line = next(self._lines, None)
            if line is None:
                self._lines = iter(self._told)
            elif line:
                self._told.append(line)
            return line is None
        except Refusal as refusal:
            text = str(refusal)
            self._lines = iter((text,))
            self._outcome = NOT_DONE if text == STORAGE_TROUBLE else REFUSED
            return True
        finally:
            login.granted = NOTHING

    def _tell(self, outcome: int, text: str) -> None:
        """Answer a command that does not act."""
        self._outcome = outcome
        self._lines = iter((text,))
        self._next = _TELL

    def _next_part(self) -> bytes:
        """Return the payload of the next RESULT: some lines; the last part has number 0."""
        text = b""
        part = self._part + 1 if self._part < _PARTS else 1
        while len(text) < _PART_FULL:
            line = None
            if self._lines is not None:
                try:
                    line = next(self._lines, None)
                except Refusal as refusal:  # of a long answer, which is made as it is told
                    self._outcome = REFUSED
                    self._lines = None
                    line = str(refusal)
            if line is None:
                part = _LAST_PART
                self._lines = None
                break
            text += line.encode()[:_LINE_MOST] + b"\n"
        self._part = part
        head = self._number.to_bytes(4, "little") + bytes((self._outcome, part))
        return head + text
