"""Ask the utility's key server, by a program that stands between it and this one.

The ciphers of a meter's security module (SM1) are not public, so its proofs come from whoever has
its keys. `--key-server` names a program that a site writes for the key server that it has. It is
asked by lines on its standard input and answers each with a line on its standard output. Blocks
are hexadecimal digits in reading order, FACTOR is 0000 and the meter's number.

    identity FACTOR                                   CIPHER1 RANDOM1, 8 bytes each
    check FACTOR RANDOM2 SERIAL BLOCK MAC             genuine, or wrong
    seal FACTOR RANDOM2 SERIAL PLAIN                  the cipher, whole blocks of 16 bytes, MAC 4

A line that begins with `error` says why there is no answer.
"""

import os
import select
import shlex
import subprocess
import time
from types import TracebackType

from host import children
from host.harmless import harmless
from host.words import _, system_reason

_WAIT_S = 30.0
_REPLY_LINE_LIMIT = 1000
_CIPHER1_SIZE = 8
_CIPHER_BLOCK_SIZE = 16
_BLOCK_MAC_SIZE = 4


class KeyServerError(Exception):
    """There is no answer; the message says why."""


class KeyServer:
    """The program `words`, from the beginning of a `with` block to its end."""

    def __init__(self, words: str) -> None:
        self._words = words

    def __enter__(self) -> "KeyServer":
        try:
            self._process = subprocess.Popen(
                shlex.split(self._words),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                env=children.environment(),
            )
        except (OSError, ValueError, IndexError) as error:
            raise KeyServerError(
                _("cannot start the key server's program {words}: {reason}").format(
                    words=harmless(self._words), reason=system_reason(error)
                )
            ) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.terminate()
        self._process.wait()

    def identity(self, factor: bytes) -> tuple[bytes, bytes]:
        """Return cipher1 and random1, which prove the key server to the module."""
        cipher1, _blank, random1 = self._asked("identity", factor).partition(" ")
        return self._octets(cipher1, _CIPHER1_SIZE), self._octets(random1, _CIPHER1_SIZE)

    def is_genuine(
        self, factor: bytes, random2: bytes, serial: bytes, block: bytes, mac: bytes
    ) -> bool:
        """Return whether `mac` is the module's for this block in this authentication."""
        said = self._asked("check", factor, random2, serial, block, mac)
        if said not in ("genuine", "wrong"):
            raise self._no_sense(said)
        return said == "genuine"

    def seal(self, factor: bytes, random2: bytes, serial: bytes, plain: bytes) -> bytes:
        """Return `plain` as a command that the module opens, with its MAC behind it."""
        size = -(-len(plain) // _CIPHER_BLOCK_SIZE) * _CIPHER_BLOCK_SIZE + _BLOCK_MAC_SIZE
        return self._octets(self._asked("seal", factor, random2, serial, plain), size)

    def _asked(self, verb: str, *blocks: bytes) -> str:
        """Return the answer to one line."""
        line = " ".join((verb, *(block.hex().upper() for block in blocks))) + "\n"
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode())
        except OSError as error:
            raise self._gone() from error
        said = self._line().strip()
        if said.startswith("error"):
            why = harmless(said.removeprefix("error").strip())
            raise KeyServerError(_("the key server refuses: {why}").format(why=why))
        return said

    def _line(self) -> str:
        """Return the next line, however it comes."""
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        heard = b""
        ends_s = time.monotonic() + _WAIT_S
        while not heard.endswith(b"\n") and len(heard) < _REPLY_LINE_LIMIT:
            if not select.select([pipe], [], [], max(0.0, ends_s - time.monotonic()))[0]:
                raise KeyServerError(
                    _("the key server's program gives no answer within {wait_s:g} s").format(
                        wait_s=_WAIT_S
                    )
                )
            part = os.read(pipe, _REPLY_LINE_LIMIT)
            if not part:
                raise self._gone()
            heard += part
        return heard.decode("ascii", "replace")

    def _gone(self) -> KeyServerError:
        return KeyServerError(_("the key server's program has ended without an answer"))

    def _octets(self, digits: str, size: int) -> bytes:
        try:
            octets = bytes.fromhex(digits)
        except ValueError:
            octets = b""
        if len(octets) != size:
            raise self._no_sense(digits)
        return octets

    def _no_sense(self, said: str) -> KeyServerError:
        return KeyServerError(
            _("the key server's program answers {said}, which is no answer to that").format(
                said=repr(harmless(said))
            )
        )
