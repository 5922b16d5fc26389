"""Questions to meters on a line, asked by this PC itself or by a concentrator for it.

An answer is a verified frame, a refusal included; AskError says that there is none.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from host.frames import orders
from host.frames.dlt645 import MORE, WILDCARD, Frame
from host.frames.line_outcomes import WHY, frame_behind
from host.link.console import Console, ConsoleError, making_sense
from host.link.setup import fields_of
from host.units import full_number
from host.words import _

WAIT_S = 30.0
SEARCH_S = 3600.0
_POLL_S = 0.1
_READ = 0x11
# Of the first reply to a read, by its control: the bytes of the identifier.
_DI_SIZES = {_READ: 4, 0x01: 2}
_FOLLOW_UP, _FOLLOW_UP_1997 = 0x12, 0x02
_FOLLOW_UPS = 255
_DIGITS = 12
# Questions, at least, that show whether a line loses answers.
_TRIALS = 12
# What every meter of a standard can be asked: its energy in all.
ENERGY = {"2007": "00010000", "1997": "9010"}

Progress = Callable[[int, list[str]], None]


class AskError(Exception):
    """No answer; the message says what was heard instead and what to try."""


class MeterLine(Protocol):
    """A line with meters."""

    def ask(self, address: str, control: int, data: bytes = b"") -> Frame:
        """Return the answer to one question.

        `address` has 12 digits, AA stands for any two; `data` is plain.
        """

    def read(self, address: str, control: int, data: bytes) -> Frame:
        """Return the answer to a read as one frame, in however many parts it came."""

    def search(self, standard: str, progress: Progress) -> list[str]:
        """Return the addresses of all meters of a standard, from one search.

        Where a meter may be that was not understood, the part of the line that was asked for is
        among them, with AA for unknown digits. `progress` is called with the count of questions
        and the addresses found so far.
        """


def check_room(dropped: int) -> None:
    """Raise AskError when a search heard meters for which it had no room."""
    if dropped:
        raise AskError(_("the line has more meters than a search has room for: scan parts of it"))


def trials(found: list[str]) -> list[str]:
    """Return the meters to ask once more after a search has found them, each as often as needed.

    A meter whose answers were lost in the search leaves no other trace than that the line also
    loses answers of those that were found.
    """
    meters = list(filter(str.isdecimal, found))
    return meters * -(-_TRIALS // max(1, len(meters)))


def answer(address: str, control: int, data: bytes, outcome: str, error: int, more: bool) -> Frame:
    """Return the frame behind an outcome of the master; AskError where it has none."""
    frame = frame_behind(address, control, data, outcome, error, more)
    if frame is None:
        raise AskError(
            _("{why} (meter {address})").format(why=_(WHY.get(outcome, outcome)), address=address)
        )
    return frame


@contextmanager
def _refusing() -> Iterator[None]:
    """Raise what a concentrator refuses as an AskError."""
    try:
        yield
    except ConsoleError as error:
        raise AskError(_("the concentrator refuses: {error}").format(error=error)) from error


def _address_or_part(text: str) -> str:
    """Return an address, or a part of the line: low digits behind AA; ValueError for all else."""
    digits = text.lstrip("A")
    if text == digits:
        return full_number(text)
    full_number(digits or "0")
    if len(text) != _DIGITS:
        raise ValueError(text)
    return text


class ThroughConcentrator:
    """A line of a concentrator, over its console; its own work goes on meanwhile.

    Meters that it has registered are asked at their own speed, all others at `baud`.
    """

    def __init__(self, console: Console, line: int = 0, baud: int = 2400) -> None:
        self._console = console
        self._line = line
        self._baud = baud

    def ask(self, address: str, control: int, data: bytes = b"") -> Frame:
        """Return the answer to one question."""
        words = f"line ask {self._line} {address} {control:02x} {data.hex()}"
        with _refusing(), making_sense():
            fields, digits = self._wait(words.strip(), WAIT_S, lambda asked, found: None)
            return answer(
                fields["address"].upper(),
                control,
                bytes.fromhex(digits),
                fields["outcome"].replace("_", " "),
                int(fields["error"]),
                fields["more"] == "1",
            )

    def read(self, address: str, control: int, data: bytes) -> Frame:
        """Return the answer to a read with 11H or 01H, joined with those to its follow-ups."""
        first = part = self.ask(address, control, data)
        di = first.data[: _DI_SIZES[control]]
        whole = first.data
        for sequence in range(1, _FOLLOW_UPS + 1):
            if not part.more:
                return Frame(first.address, first.control & ~MORE, whole, first.raw)
            if control == _READ:
                part = self.ask(address, _FOLLOW_UP, di + bytes((sequence,)))
            else:
                part = self.ask(address, _FOLLOW_UP_1997, di)
            if part.abnormal:
                return part
            # The number behind the data of 12H is no part of an answer here.
            whole += part.data[len(di) :]
        why = _(WHY["too long"])
        raise AskError(_("{why} (meter {address})").format(why=why, address=address))

    def search(self, standard: str, progress: Progress) -> list[str]:
        """Return the addresses of all meters of a standard."""
        words = f"line scan {self._line} {standard}"
        with _refusing(), making_sense():
            fields = self._wait(words, SEARCH_S, progress)[0]
            check_room(int(fields.get("dropped", 0)))
            found = sorted(map(_address_or_part, fields["found"].split()))
            return [*found, WILDCARD] if self._loses(standard, found) else found

    def _loses(self, standard: str, found: list[str]) -> bool:
        """Return whether a question to a meter that was found stays without its answer.

        The concentrator asks again by itself, and counts that; what it counts while it asks
        something of its own in between tells nothing.
        """
        request = orders.read(standard, ENERGY[standard])
        for address in trials(found):
            before = self._counts()
            try:
                self.ask(address, *request)
            except AskError:
                return True
            requests, retries = (
                now - then for now, then in zip(self._counts(), before, strict=True)
            )
            if requests == 1 and retries:
                return True
        return False

    def _counts(self) -> tuple[int, int]:
        """Return how many requests and repeats there were on the line."""
        told = fields_of(self._console.command("counters"))
        prefix = f"line_{self._line}_"
        return int(told.get(prefix + "requests", 0)), int(told.get(prefix + "retries", 0))

    def _wait(self, words: str, limit_s: float, progress: Progress) -> tuple[dict[str, str], str]:
        """Put a question and wait until it is done: its fields, and its data in digits."""
        self._console.command(f"line speed {self._line} {self._baud}")
        self._console.command(words)
        ends_s = time.monotonic() + limit_s
        while time.monotonic() < ends_s:
            lines = self._console.command(f"line answer {self._line}")
            fields = fields_of(lines)
            found = [line[6:].upper() for line in lines if line.startswith("found ")]
            progress(int(fields.get("questions", 0)), found)
            if fields["state"] == "done":
                fields["found"] = " ".join(found)
                data = "".join(line[5:] for line in lines if line.startswith("data "))
                return fields, data
            time.sleep(_POLL_S)
        raise AskError(
            _("the concentrator had no answer within {limit_s:g} s: is its line busy?").format(
                limit_s=limit_s
            )
        )
