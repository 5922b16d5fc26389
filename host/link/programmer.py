"""A card in the reader of a board, which serves as programmer over its console.

    card                        ->
                                <-  serial number, size
    CARD_READ  offset 2, size 2 ->
                                <-  CARD_DATA    status 1, bytes
    CARD_WRITE offset 2, bytes  ->
                                <-  CARD_WRITTEN status 1

A request without answer is sent again with the same `seq`; reading and writing again do no harm.
"""

import random
import time

from host.frames.link import CONSOLE_BODY_LIMIT, Kind, LinkReader, build
from host.link.card import CardIoError
from host.link.console import Console, ConsoleError, Keys, making_sense
from host.link.port import Port
from host.words import _, marked

CHUNK = 128
TIMEOUT_S = 2.0
TRIES = 3
STATUS = {
    1: marked("the card does not answer: clean its contacts, insert it again"),
    2: marked("the board wants the console key: is it the right key file?"),
    3: marked("the card is being redeemed: wait, then try again"),
    4: marked("no card in the reader: insert one"),
    5: marked("that is outside the card's memory"),
}
_IN_USE = 3


class PortCard:
    """The card in the reader of the board on `port`; CardIoError says what is wrong."""

    def __init__(self, port: Port, keys: Keys | None = None) -> None:
        """`keys` open the console, where the board may have a key set."""
        self._port = port
        self._frames = LinkReader(CONSOLE_BODY_LIMIT)
        self._seq = random.randrange(256)
        self._console = Console(port)
        try:
            if keys is not None:
                self._console.login(keys)
        except ConsoleError as error:
            raise CardIoError(f"{port.name}: {error}") from error
        self.look()

    def look(self) -> "PortCard":
        """Ask which card is in the reader now."""
        try:
            with making_sense():
                (line,) = self._console.command("card")
                uid, size = line.split()
                self._uid, self._size = bytes.fromhex(uid).hex().upper(), int(size)
        except ConsoleError as error:
            raise CardIoError(f"{self._port.name}: {error}") from error
        return self

    @property
    def uid(self) -> str:
        """Return the serial number."""
        return self._uid

    @property
    def size(self) -> int:
        """Return bytes of memory."""
        return self._size

    def read(self, offset: int, size: int) -> bytes:
        """Read in parts that fit a frame."""
        data = b""
        while len(data) < size:
            count = min(CHUNK, size - len(data))
            at = offset + len(data)
            body = at.to_bytes(2, "little") + count.to_bytes(2, "little")
            part = self._ask(Kind.CARD_READ, Kind.CARD_DATA, body)
            if len(part) != count:
                raise CardIoError(
                    _("the board gave {part} bytes of {count} asked for").format(
                        part=len(part), count=count
                    )
                )
            data += part
        return data

    def write(self, offset: int, data: bytes) -> None:
        """Write in parts that fit a frame."""
        for start in range(0, len(data), CHUNK):
            body = (offset + start).to_bytes(2, "little") + data[start : start + CHUNK]
            self._ask(Kind.CARD_WRITE, Kind.CARD_WRITTEN, body)

    def close(self) -> None:
        """End the session on the board's console, and give the line up."""
        self._console.logout()
        self._port.close()

    def _ask(self, kind: Kind, answer: Kind, body: bytes) -> bytes:
        """Return what follows the status of a good answer."""
        status = _IN_USE
        for _try in range(TRIES):
            self._seq = (self._seq + 1) & 0xFF
            found = self._exchange(build(kind, self._seq, body), answer)
            status = found[0]
            if status == 0:
                return found[1:]
            if status != _IN_USE:
                break
            # A card just inserted is looked at by the board first.
            time.sleep(TIMEOUT_S / TRIES)
        if status in STATUS:
            raise CardIoError(_(STATUS[status]))
        raise CardIoError(_("the board answers with status {status}").format(status=status))

    def _exchange(self, frame: bytes, answer: Kind) -> bytes:
        for _try in range(TRIES):
            self._port.write(frame)
            ends_s = time.monotonic() + TIMEOUT_S
            while (left_s := ends_s - time.monotonic()) > 0:
                for one in self._frames.feed(self._port.read(left_s)):
                    if (one.kind, one.seq) == (answer, self._seq) and one.body:
                        return one.body
        raise CardIoError(
            _("no answer on {name}: is it the console of a running board?").format(
                name=self._port.name
            )
        )
