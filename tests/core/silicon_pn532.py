"""Simulate a PN532 at its UART or SPI, and cards in its field.

It simulates waking up, frames with both checksums, ACK before the answer, NACK and abort, times,
the frame error, the field that restarts a card, anticollision's answer, InDataExchange with its
error codes, and per card: NTAG pages and their torn writes, Classic sectors and keys, APDUs.
Spec: UM0701-02; data sheets NTAG21x and MF1S50yyX.
"""

from silicon import Time

ACK = b"\x00\x00\xff\x00\xff\x00"
NACK = b"\x00\x00\xff\xff\x00\x00"


def frame(data: bytes) -> bytes:
    """Return a frame around `data`, which begins with D4 or D5."""
    size = len(data)
    total = sum(data)
    return bytes((0, 0, 0xFF, size, -size & 0xFF)) + data + bytes((-total & 0xFF, 0))


class Reader:
    """This is the chip. Its channel is `read_into` and `write`.

    card        the card in the field, or None
    spoil       called with each answer frame (a bytearray); returns what is sent instead
    commands    codes received
    deaf        it takes nothing and sends nothing
    """

    def __init__(self, time: Time) -> None:
        self.time = time
        self.card: object | None = None
        self.spoil: object | None = None
        self.commands: list[int] = []
        self.deaf = False
        self.aborts = 0
        self.repeats = 0
        self._awake = False
        self._normal = False
        self._listed = False
        self._off_us = 0
        self._received = b""
        self._queue: list[tuple[int, bytes]] = []  # Each entry has a moment and bytes.
        self._answer = b""

    def restart(self) -> None:
        """Interrupt the supply for a moment."""
        self._awake = self._normal = self._listed = False
        self._queue = []

    def take_card(self) -> None:
        """Take the card away."""
        self.card = None
        self._listed = False

    def write(self, buf: "bytes | memoryview") -> int:
        """Take bytes of the host."""
        data = bytes(buf)
        if self.deaf:
            return len(data)
        if not self._awake:
            if data[:1] != b"\x55" or len(data) < 12:
                return len(data)
            self._awake = True
        self._received += data
        self._parse()
        return len(data)

    def read_into(self, buf: bytearray) -> int:
        """Give the host what has been sent until now."""
        count = 0
        while self._queue and count < len(buf) and self._queue[0][0] <= self.time.now_us:
            when, data = self._queue[0]
            room = min(len(buf) - count, len(data))
            buf[count : count + room] = data[:room]
            count += room
            if room == len(data):
                self._queue.pop(0)
            else:
                self._queue[0] = (when, data[room:])
        return count

    def next_frame(self) -> bytes:
        """Return the whole frame that is ready for SPI, b"" if none is."""
        if self._queue and self._queue[0][0] <= self.time.now_us:
            return self._queue.pop(0)[1]
        return b""

    def is_ready(self) -> bool:
        """Return whether a frame is ready for SPI."""
        return bool(self._queue) and self._queue[0][0] <= self.time.now_us

    def _say(self, data: bytes, delay_us: int) -> None:
        self._queue.append((self.time.now_us + delay_us, data))

    def _parse(self) -> None:
        """Find frames in the received bytes."""
        while True:
            at = self._received.find(b"\x00\xff")
            if at < 0 or len(self._received) < at + 5:
                return
            rest = self._received[at + 2 :]
            if rest[:2] == b"\x00\xff":
                self.aborts += 1
                self._queue = []
                self._received = rest[2:]
                continue
            if rest[:2] == b"\xff\x00":
                self.repeats += 1
                self._received = rest[2:]
                self._say(self._spoilt(self._answer), 1000)
                continue
            size = rest[0]
            if (size + rest[1]) & 0xFF or size < 2:
                self._received = rest
                continue
            if len(rest) < size + 3:
                return
            data = rest[2 : 2 + size]
            good = (sum(data) + rest[2 + size]) & 0xFF == 0
            self._received = rest[size + 3 :]
            if good and data[0] == 0xD4:
                self._queue = []
                self._say(ACK, 500)
                self._obey(data[1], data[2:])

    def _spoilt(self, answer: bytes) -> bytes:
        return self.spoil(bytearray(answer)) if self.spoil else answer

    def _obey(self, code: int, data: bytes) -> None:
        """Carry a command out."""
        self.commands.append(code)
        delay_us = 1500
        body = None
        if code == 0x14 and len(data) >= 1:
            self._normal = data[0] == 1
            body = b""
        elif code == 0x32 and len(data) >= 2:
            if data[0] == 1 and not data[1] & 1:
                self._listed = False
                self._off_us = self.time.now_us
            body = b""
        elif code == 0x4A and len(data) == 2 and self._normal:
            delay_us = 30000
            body = b"\x00"
            # A card without a field for less than 5 ms keeps its state, and does not answer.
            if self.card and self.time.now_us - self._off_us >= 5000:
                self.card.field_off()
                self._listed = True
                body = b"\x01\x01" + self.card.listing()[:60]
        elif code == 0x40 and len(data) >= 1:
            delay_us = 8000
            body = self._exchange(data[1:]) if data[0] == 1 else b"\x27"
        answer = frame(b"\x7f") if body is None else frame(bytes((0xD5, code + 1)) + body)
        self._answer = answer
        self._say(self._spoilt(answer), delay_us)

    def _exchange(self, data: bytes) -> bytes:
        if not self.card or not self._listed:
            return b"\x01"
        answer = self.card.exchange(data)
        if answer is None:
            return b"\x01"
        return answer


class SpiBus:
    """This is the same chip at SPI, lowest bit first, as machine.SPI and the pin that selects it.

    broken      frames that the host took only in part
    beyond      bytes it took behind them
    """

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.broken = 0
        self.beyond = 0
        self._selected = False
        self._in = bytearray()
        self._out = b""
        self._at = 0

    def cs(self, value: int = 1) -> int:
        """Set the select line."""
        if value == 0:
            self._selected = True
            self._in = bytearray()
            self._out = b""
            self._at = 0
        elif self._selected:
            self._selected = False
            if self._in[:1] == b"\x01":
                self.reader.write(bytes(self._in[1:]))
            elif self._in[:1] == b"\x03" and self._at < len(self._out) - 1:
                self.broken += 1  # all but the last byte, which only closes the frame
        return value

    def write(self, buf: "bytes | memoryview") -> None:
        """Take bytes of the host."""
        for byte in buf:
            self._in.append(mirrored(byte))
        if bytes(self._in) == b"\x03":
            self._out = self.reader.next_frame()

    def readinto(self, buf: "bytearray | memoryview", write: int = 0) -> None:
        """Give bytes to the host."""
        for index in range(len(buf)):
            byte = 0
            if self._in[:1] == b"\x02":
                byte = 1 if self.reader.is_ready() else 0
            elif self._at < len(self._out):
                byte = self._out[self._at]
                self._at += 1
            else:
                self.beyond += 1
            buf[index] = mirrored(byte)


def mirrored(byte: int) -> int:
    """Return the byte with its bits in reverse."""
    result = 0
    for bit in range(8):
        result |= (byte >> bit & 1) << 7 - bit
    return result


class Ntag:
    """This is an NTAG215 or another of its size.

    tear        the next write is cut after this many bytes, and the tag leaves the field
    """

    def __init__(self, uid: bytes = b"\x04\x11\x22\x33\x44\x55\x66", size: int = 504) -> None:
        self.uid = uid
        self.memory = bytearray(16 + size)
        self.memory[12:16] = bytes((0xE1, 0x10, size // 8, 0))
        self.writes = 0
        self.tear = -1
        self.gone = False

    def field_off(self) -> None:
        """Forget the state."""

    def listing(self) -> bytes:
        """Return SENS_RES, SEL_RES and UID."""
        return b"\x00\x44\x00" + bytes((len(self.uid),)) + self.uid

    def exchange(self, data: bytes) -> "bytes | None":
        """Return status and answer to one command; None means no answer."""
        if self.gone:
            return None
        at = data[1] * 4
        if data[0] == 0x30 and len(data) == 2 and at < len(self.memory):
            pages = self.memory[at : at + 16]
            return b"\x00" + bytes(pages + self.memory[: 16 - len(pages)])
        if data[0] == 0xA2 and len(data) == 6 and 16 <= at < len(self.memory):
            count = 4 if self.tear < 0 else self.tear
            self.memory[at : at + count] = data[2 : 2 + count]
            if self.tear >= 0:
                self.gone = True
                return None
            self.writes += 1
            return b"\x00"
        return None


class Classic:
    """This is a MIFARE Classic 1K; one key opens all its sectors."""

    def __init__(self, uid: bytes = b"\xa1\xb2\xc3\xd4", key: bytes = b"\xff" * 6) -> None:
        self.uid = uid
        self.key = key
        self.memory = bytearray(1024)
        self.keys_shown = 0
        self._sector = -1
        self._halted = False

    def field_off(self) -> None:
        """Go back to idle."""
        self._sector = -1
        self._halted = False

    def listing(self) -> bytes:
        """Return SENS_RES, SEL_RES and UID."""
        return b"\x00\x04\x08" + bytes((len(self.uid),)) + self.uid

    def exchange(self, data: bytes) -> "bytes | None":
        """Return status and answer to one command; None means no answer."""
        if self._halted:
            return None
        block = data[1]
        if data[0] == 0x60 and len(data) == 12:
            self.keys_shown += 1
            if data[2:8] != self.key or data[8:] != self.uid[-4:]:
                self._halted = True
                return b"\x14"
            self._sector = block // 4
            return b"\x00"
        if block // 4 != self._sector or block > 63:
            self._halted = True
            return b"\x14"
        at = block * 16
        if data[0] == 0x30:
            return b"\x00" + bytes(self.memory[at : at + 16])
        if data[0] == 0xA0 and len(data) == 18 and block % 4 != 3 and block:
            self.memory[at : at + 16] = data[2:]
            return b"\x00"
        return None
