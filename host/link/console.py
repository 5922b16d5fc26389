"""The technician's side of the console: a command as text, its answer as lines.

    COMMAND seq, text        ->
                             <-  PART  seq, a line of a longer answer, any number of times
                             <-  REPLY seq, status 1, text

A command that stays without answer is sent again with the same `seq`.
"""

import contextlib
import os
import random
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Protocol, Self

from host.frames.link import CONSOLE_BODY_LIMIT, Kind, LinkReader, build
from host.frames.session import LOGIN_NONCE_SIZE, Session
from host.link.port import Port
from host.words import _

TIMEOUT_S = 3.0
TRIES = 3
# A journal has fewer.
_ANSWER_LINES = 100_000
# Settings whose values are never shown, and travel hidden.
SECRETS = ("uplink_key", "card_key", "console_key", "password", "operator", "seed")
NO_KEY_SET = "no key is set"  # everything is allowed


def names_a_secret(words: Sequence[str]) -> bool:
    """Return whether the words of a command set a key or password."""
    return len(words) > 1 and words[0] == "set" and words[1] in SECRETS


class ConsoleError(Exception):
    """The device refused the command, or did not answer; the message says which."""


class WrongKeyError(ConsoleError):
    """What answers does not have the console key."""


@contextlib.contextmanager
def making_sense() -> Iterator[None]:
    """Refuse what a device has said where it cannot be read as what it should be; ConsoleError."""
    try:
        yield
    except (ValueError, LookupError, TypeError, OverflowError) as error:
        raise ConsoleError(
            _("the answer makes no sense: is it a concentrator, of the version of this program?")
        ) from error


class Keys(Protocol):
    """A file with console keys; `read_only` ones only look."""

    @property
    def read_only(self) -> bool:
        """Return whether its keys only look."""

    def console_key(self, district: int, concentrator: int, version: int) -> bytes:
        """Return the key of one console; ValueError: the file does not open it."""


class Console:
    """Commands on an open line.

    is_unproven     a login found that no key is set, so that anybody may be answering
    expects_new     a person has said that this is a new concentrator, which gets its first keys
    """

    def __init__(self, port: Port, timeout_s: float = TIMEOUT_S, tries: int = TRIES) -> None:
        self._port = port
        self._timeout_s = timeout_s
        self._tries = tries
        self._frames = LinkReader(CONSOLE_BODY_LIMIT)
        self._seq = random.randrange(256)
        self._session: Session | None = None
        self.is_unproven = False
        self.expects_new = False

    def command(self, text: str) -> list[str]:
        """Run one command; return the lines of its answer. ConsoleError: refused or silent."""
        body = (text if self._session is None else self._session.signed(text)).encode()
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

    def settings(self) -> dict[str, str]:
        """Return what the concentrator tells of its settings; no secret is told."""
        pairs = [line.partition(" ") for line in self.command("settings")]
        return {name: value for name, _blank, value in pairs}

    def login(self, keys: Keys, version: int | None = None) -> None:
        """Open a session: each side proves the key. ConsoleError: one of them has another.

        The concentrator tells which key it has, by its number and the key's version, unless
        `version` is given. From then on every command bears its number and a MAC. Where no key is
        set, none is needed, and nothing is proved.
        """
        told = self.settings()
        nonce = os.urandom(LOGIN_NONCE_SIZE)
        right = " read" if keys.read_only else ""
        try:
            answer = "".join(self.command(f"login begin {nonce.hex()}{right}"))
        except ConsoleError as error:
            if str(error) != NO_KEY_SET:
                raise
            self.is_unproven = True
            return
        try:
            number, own, proof = answer.split()
            district, told_version = int(told["district"]), int(told["console_key_version"])
            context = nonce, bytes.fromhex(own), int(number)
            numbers = (district, 0xFFFFFFFF), (int(number), 0xFFFFFFFF), (told_version, 255)
            if any(not 0 <= value <= most for value, most in numbers):
                raise ValueError(number)
            told_proof = bytes.fromhex(proof)
        except (KeyError, ValueError) as error:
            what = _("what {name} answers to a login is none: {answer!r}").format(
                name=self._port.name, answer=answer
            )
            raise ConsoleError(
                _("{what}; is it the console of a concentrator?").format(what=what)
            ) from error
        key = keys.console_key(district, context[2], told_version if version is None else version)
        session = Session.of(key, *context, keys.read_only)
        genuine = session.proves("concentrator", told_proof)
        if not genuine:
            raise WrongKeyError(
                _(
                    "what answers on {name} does not have this console key: no command was sent; "
                    "is it the right concentrator, and the right key file?"
                ).format(name=self._port.name)
            )
        self.command(f"login {session.proof('technician').hex()}")
        self._session = session

    @property
    def in_session(self) -> bool:
        """Return whether a session is open."""
        return self._session is not None

    def set_secret(self, name: str, secret: bytes) -> list[str]:
        """Set a key or password, which the session hides on its way.

        What answered a login that it has no key may be anybody: it gets a secret, in clear, only
        where a person `expects_new`. ConsoleError: nobody does.
        """
        if self.is_unproven and not self.expects_new:
            raise ConsoleError(
                _(
                    "what answers says that it has no console key, and {name} would travel in "
                    "clear: if it is a new concentrator on a line of yours, give it its keys by "
                    "`dianka card keys install --id NUMBER` first"
                ).format(name=name)
            )
        hidden = secret if self._session is None else self._session.wrap(secret)
        return self.command(f"set {name} {hidden.hex()}")

    def logout(self) -> None:
        """End the session, if there is one and somebody still listens."""
        if self._session is not None:
            with contextlib.suppress(ConsoleError, OSError):
                self.command("logout")
            self._session = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.logout()

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
                    if len(lines) > _ANSWER_LINES:
                        raise ConsoleError(_("the answer has no end: is it a concentrator?"))
                    silent_at_s = time.monotonic() + self._timeout_s
                elif frame.kind == Kind.REPLY and frame.body:
                    text = frame.body[1:].decode("utf-8", "replace")
                    if frame.body[0]:
                        raise ConsoleError(text or _("the command was refused"))
                    return [*lines, text] if text else lines
        return None
