"""Goal: a board that prints without end, or takes nothing, ends `dianka flash` with a sentence.

Method: a made-up board on a pseudo terminal speaks MicroPython's raw prompt, and then does that.
"""

import os
import pty
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from host.flash import prompt
from host.flash.prompt import BoardError, Prompt

RAW = b"raw REPL; CTRL-B to exit\r\n>"
NO_PASTE = b"R\x00"


@contextmanager
def board(after: str) -> Iterator[str]:
    """Yield the port of a board that does so after its prompt has come."""
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    ends = threading.Event()

    def live() -> None:
        heard = b""
        while not heard.endswith(b"\r\x01"):
            heard += os.read(ours, 1)
        os.write(ours, RAW)
        while not heard.endswith(b"\x05A\x01"):
            heard += os.read(ours, 1)
        os.write(ours, NO_PASTE)
        if after == "takes nothing":
            return
        while not heard.endswith(b"\x04"):
            heard += os.read(ours, 1)
        os.write(ours, b"OK")
        while after == "prints" and not ends.wait(0.001):
            os.write(ours, b"Traceback\r\n")

    life = threading.Thread(target=live, daemon=True)
    life.start()
    try:
        yield os.ttyname(theirs)
    finally:
        ends.set()
        life.join(5)
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize(
    ("after", "why"),
    [("prints", "prints without an end"), ("takes nothing", "timeout")],
)
def test_a_board_that_never_answers_ends_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch, after: str, why: str
) -> None:
    monkeypatch.setattr(prompt, "WHOLE_S", 0.5)
    monkeypatch.setattr(prompt, "SILENCE_S", 0.4)
    with board(after) as port, Prompt(port) as at_prompt, pytest.raises(BoardError, match=why):
        at_prompt.run("#" * (20_000 if after == "takes nothing" else 20))
