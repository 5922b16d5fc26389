"""The technician's side of the console: a command as text, its answer as lines.

    COMMAND seq, text        ->
                             <-  PART  seq, a line of a longer answer, any number of times
                             <-  REPLY seq, status 1, text

A command that stays without answer is sent again with the same `seq`.
"""

import hashlib
import hmac
import random
import time

from host.frames.link import CONSOLE_BODY_LIMIT, Kind, LinkReader, build
from host.link.port import Port
from host.words import _

TIMEOUT_S = 3.0
TRIES = 3
RESPONSE_SIZE = 8
NO_KEY_SET = "no key is set"  # everything is allowed


class ConsoleError(Exception):
    """The device refused the command, or did not answer; the message says which."""


class Console:
    """Commands on an open line."""

    def __init__(self, port: Port, timeout_s: float = TIMEOUT_S, tries: int = TRIES) -> None:
        self._port = port
        self._timeout_s = timeout_s
        self._tries = tries
        self._frames = LinkReader(CONSOLE_BODY_LIMIT)
        self._seq = random.randrange(256)

    def command(self, text: str) -> list[str]:
        """Run one command; return the lines of its answer. ConsoleError: refused or silent."""
        body = text.encode()
        if len(body) > CONSOLE_BODY_LIMIT:
            raise ConsoleError(
                _("the command has {body} bytes, over {console_body_limit}").format(
                    body=len(body), console_body_limit=CONSOLE_BODY_LIMIT
                )
            )
        self._seq = (self._seq + 1) & 0xFF
        for _try in range(self._tries):
            self._port.write(build(Kind.COMMAND, self._seq, body))
            lines = self._answer()
            if lines is not None:
                return lines
        silence_s = self._timeout_s * self._tries
        raise ConsoleError(
            _(
                "no answer on {name} within {silence_s:g} s: is it the console of a running "
                "concentrator?"
            ).format(name=self._port.name, silence_s=silence_s)
        )

    def login(self, key: bytes) -> None:
        """Answer the device's challenge; ConsoleError: it does not take the key."""
        challenge = "".join(self.command("login"))
        try:
            message = b"dianka/console/1\0" + bytes.fromhex(challenge)
        except ValueError as error:
            what = _("what {name} answers to a login is no challenge: {challenge!r}").format(
                name=self._port.name, challenge=challenge
            )
            raise ConsoleError(
                _("{what}; is it the console of a concentrator?").format(what=what)
            ) from error
        response = hmac.new(key, message, hashlib.sha256).digest()[:RESPONSE_SIZE]
        try:
            self.command(f"login {response.hex()}")
        except ConsoleError as error:
            if str(error) != NO_KEY_SET:
                raise

    def _answer(self) -> list[str] | None:
        """Return the answer's lines; None when the line falls silent before its end."""
        lines: list[str] = []
        silent_at_s = time.monotonic() + self._timeout_s
        while (left_s := silent_at_s - time.monotonic()) > 0:
            for frame in self._frames.feed(self._port.read(left_s)):
                if frame.seq != self._seq:
                    continue
                if frame.kind == Kind.PART:
                    lines.append(frame.body.decode("utf-8", "replace"))
                    silent_at_s = time.monotonic() + self._timeout_s
                elif frame.kind == Kind.REPLY and frame.body:
                    text = frame.body[1:].decode("utf-8", "replace")
                    if frame.body[0]:
                        raise ConsoleError(text or _("the command was refused"))
                    return [*lines, text] if text else lines
        return None
