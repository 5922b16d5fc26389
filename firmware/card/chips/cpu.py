"""Send commands to a CPU card, and use a file on it as memory, over T=0 or a PN532's ISO-DEP.

    61xx    xx bytes are ready: GET RESPONSE fetches them, if any are wanted
    6Cxx    xx is the right length: the command is sent again with it
    63Cx    the authentication failed, and x tries are left

Spec: ISO/IEC 7816-4, 5.1 and 7; commands 84 and 82 of Chinese CPU cards are the same.
"""

from micropython import const

from card.chips.outcome import (
    FLOOD,
    LOCKED,
    OK,
    OUT_OF_RANGE,
    REFUSED,
    WRONG_CODE,
    WRONG_SIZE,
)

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from collections.abc import Callable

    from card.chips.outcome import Bytes, Link, Steps

    # Writes the response of 8 bytes to the challenge in the first 8 bytes of the first buffer.
    Cipher = Callable[[bytearray, bytearray], object]

DONE = const(0x9000)

_SELECT = const(0xA4)
_READ_BINARY = const(0xB0)
_UPDATE_BINARY = const(0xD6)
_GET_CHALLENGE = const(0x84)
_EXTERNAL_AUTHENTICATE = const(0x82)
_GET_RESPONSE = const(0xC0)
_BY_NAME = const(0x04)

_CHUNK = const(64)
_ROUND_LIMIT = const(8)
_OFFSET_LIMIT = const(0x8000)
_TRIES_UNKNOWN = const(15)


class CpuCard:
    """The commands of the card at `link`. Each returns an outcome; `status` explains REFUSED.

    status              SW1 SW2 of the last command
    reply[:reply_size]  the data of its reply
    tries               the tries left to authenticate, as the card said last
    """

    def __init__(self, link: "Link") -> None:
        self.link = link
        self.reply = bytearray(_CHUNK)
        self.reply_size = 0
        self.status = 0
        self.tries = _TRIES_UNKNOWN

    def select(self, name: "Bytes") -> "Steps":
        """Select a file by its number of 2 bytes, or an application by a longer name."""
        by = 0 if len(name) == 2 else _BY_NAME
        return (yield from self._send(_SELECT, by, 0, name, 0))

    def read_binary(self, offset: int, size: int) -> "Steps":
        """Read `size` bytes, at most 64, of the file selected."""
        if not 0 <= offset < _OFFSET_LIMIT or not 0 < size <= _CHUNK:
            return OUT_OF_RANGE
        return (yield from self._send(_READ_BINARY, offset >> 8, offset & 0xFF, b"", size))

    def update_binary(self, offset: int, data: "Bytes") -> "Steps":
        """Write `data`, at most 64 bytes, into the file selected."""
        if not 0 <= offset < _OFFSET_LIMIT or not 0 < len(data) <= _CHUNK:
            return OUT_OF_RANGE
        return (yield from self._send(_UPDATE_BINARY, offset >> 8, offset & 0xFF, data, 0))

    def get_challenge(self, size: int = 8) -> "Steps":
        """Ask the card for a random number of `size` bytes."""
        return (yield from self._send(_GET_CHALLENGE, 0, 0, b"", size))

    def external_authenticate(self, key: int, response: "Bytes") -> "Steps":
        """Send the encrypted challenge; with one try left send nothing and return LOCKED."""
        if self.tries <= 1:
            return LOCKED
        outcome = yield from self._send(_EXTERNAL_AUTHENTICATE, 0, key, response, 0)
        if outcome != REFUSED:
            return outcome
        if self.status & 0xFFF0 == 0x63C0:
            self.tries = self.status & 0x0F
            return WRONG_CODE
        if self.status == 0x6983:
            self.tries = 0
            return LOCKED
        return outcome

    def _send(self, code: int, p1: int, p2: int, data: "Bytes", wanted: int) -> "Steps":
        """Send a command of class 00 and receive exactly `wanted` bytes; 0: ignore the reply."""
        link = self.link
        size = len(data)
        self._put_head(code, p1, p2)
        for index in range(size):
            link.command[5 + index] = data[index]
        limit = wanted
        self.reply_size = 0
        for _ in range(_ROUND_LIMIT):
            outcome = yield from link.transmit(size, limit)
            if outcome != OK:
                return outcome
            self.status = status = link.status
            if status >> 8 == 0x6C and not size:
                limit = status & 0xFF
                if not 0 < limit <= _CHUNK:
                    return WRONG_SIZE
                continue
            if wanted and not self._keep():
                return FLOOD
            if status >> 8 == 0x61 and wanted:
                limit = status & 0xFF
                if self.reply_size + limit > wanted or not limit:
                    return WRONG_SIZE
                size = 0
                self._put_head(_GET_RESPONSE, 0, 0)
                continue
            if status != DONE and status >> 8 != 0x61:
                return REFUSED
            return WRONG_SIZE if self.reply_size != wanted else OK
        return FLOOD

    def _keep(self) -> bool:
        """Append the link's reply to `reply`; return false without room."""
        size = self.reply_size
        count = self.link.reply_size
        if size + count > _CHUNK:
            return False
        for index in range(count):
            self.reply[size + index] = self.link.reply[index]
        self.reply_size = size + count
        return True

    def _put_head(self, code: int, p1: int, p2: int) -> None:
        command = self.link.command
        command[0] = 0
        command[1] = code
        command[2] = p1
        command[3] = p2


class CpuFile:
    """A binary file of `size` bytes as memory, found by selecting each name of `path`.

    With a `cipher`, it answers the card's challenge for key number `key` before the first write of
    an insertion.
    """

    def __init__(
        self,
        link: "Link",
        path: "tuple[bytes, ...]",
        size: int = 256,
        key: int = 0,
        cipher: "Cipher | None" = None,
    ) -> None:
        self.card = CpuCard(link)
        self.uid = link.uid
        self.size = size
        self._path = path
        self._key = key
        self._cipher = cipher
        self._allowed = False
        self._response = bytearray(8)

    def there(self) -> bool:
        """Return false once the card is known to be out."""
        return self.card.link.there()

    def release(self) -> None:
        """Release the card."""
        self.card.link.release()

    def connect(self) -> "Steps":
        """Start the card and select the file."""
        outcome = yield from self.card.link.connect()
        if outcome != OK:
            return outcome
        return (yield from self.open())

    def open(self) -> "Steps":
        """Select the file on the card that has just been started."""
        self._allowed = False
        self.card.tries = _TRIES_UNKNOWN
        for name in self._path:
            outcome = yield from self.card.select(name)
            if outcome != OK:
                return outcome
        return OK

    def read(self, offset: int, size: int, buf: bytearray) -> "Steps":
        """Fill buf[:size]."""
        if not 0 <= offset <= offset + size <= self.size:
            return OUT_OF_RANGE
        reply = self.card.reply
        done = 0
        while done < size:
            count = min(_CHUNK, size - done)
            outcome = yield from self.card.read_binary(offset + done, count)
            if outcome != OK:
                return outcome
            for index in range(count):
                buf[done + index] = reply[index]
            done += count
        return OK

    def write(self, offset: int, size: int, buf: "Bytes") -> "Steps":
        """Write buf[:size], after the authentication if there is a cipher."""
        if not 0 <= offset <= offset + size <= self.size:
            return OUT_OF_RANGE
        view = memoryview(buf)
        outcome = yield from self._authenticate()
        done = 0
        while outcome == OK and done < size:
            count = min(_CHUNK, size - done)
            outcome = yield from self.card.update_binary(offset + done, view[done : done + count])
            done += count
        return outcome

    def _authenticate(self) -> "Steps":
        """Authenticate to the card unless that is done or not needed."""
        if self._allowed or self._cipher is None:
            return OK
        outcome = yield from self.card.get_challenge()
        if outcome != OK:
            return outcome
        self._cipher(self.card.reply, self._response)
        outcome = yield from self.card.external_authenticate(self._key, self._response)
        self._allowed = outcome == OK
        return outcome
