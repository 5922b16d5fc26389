"""Drive a PN532, a reader of contactless cards, over a UART (HSU) or SPI.

    00 | 00 FF | LEN | LCS | D4 command.. or D5 answer.. | DCS | 00
    00 | 00 FF | 00 FF | 00     ACK from the chip: command received; ACK to the chip: abort
    00 | 00 FF | FF 00 | 00     NACK to the chip: send the last answer again

The low byte of LEN + LCS is 0, and so is that of the sum from D4 or D5 to DCS. The chip answers a
command with an ACK and then the answer. It does ISO-DEP with a CPU card (T=CL) itself, in
InDataExchange.

Spec: UM0701-02, 6.2 (frames), 7.2 and 7.3 (commands).
"""

from micropython import const

from card.chips.outcome import (
    ABSENT,
    FLOOD,
    GARBLED,
    OK,
    REFUSED,
    SILENT,
    UNKNOWN,
    WRONG_SIZE,
    Inlet,
    pause,
    reached,
    ticks_after,
)

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from typing import Protocol

    from ports import Stream

    from card.chips.outcome import Pin, Steps

    class Spi(Protocol):
        """The interface of machine.SPI in mode 0, at most 5 MHz, most significant bit first."""

        def readinto(self, buf: bytearray | memoryview, write: int = ...) -> object:
            """Read bytes while sending `write`."""

        def write(self, buf: bytes | bytearray | memoryview) -> object:
            """Write bytes and discard those that arrive meanwhile."""


# Kinds of card.
TAG = const(0)  # NTAG, Ultralight
CLASSIC = const(1)  # MIFARE Classic
ISO_DEP = const(2)  # a CPU card
OTHER = const(3)

_SAM_CONFIGURATION = const(0x14)
_RF_CONFIGURATION = const(0x32)
_DATA_EXCHANGE = const(0x40)
_LIST_PASSIVE_TARGET = const(0x4A)
_TO_CHIP = const(0xD4)
_FROM_CHIP = const(0xD5)

_ACK = b"\x00\x00\xff\x00\xff\x00"
_NACK = b"\x00\x00\xff\xff\x00\x00"
# The first byte wakes the chip, and the others give it time to start.
_WAKE = b"\x55\x55\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

_HEAD = const(7)  # of a command: 00 00 FF LEN LCS D4 code
_TX_SIZE = const(96)
_RX_SIZE = const(96)
_BYTE_LIMIT = const(512)  # of an answer and all the noise before it
_NACK_LIMIT = const(2)
_ACK_MS = const(50)
_SETUP_MS = const(200)
_LIST_MS = const(400)
_EXCHANGE_MS = const(2000)
_FIELD_OFF_MS = const(10)

# Results of the frame decoder.
_MORE = const(0)
_IS_ACK = const(1)
_IS_ANSWER = const(2)
_IS_BROKEN = const(3)


class Pn532:
    """The chip behind `channel`, a UART at 115200 8N1 or a SpiChannel; a Link to a CPU card.

    kind            the kind of card found by `connect`
    uid_end         the last 4 bytes of its UID, also of a random one
    status          of the last exchange: the chip's error, or SW1 SW2 after `transmit`
    command         for `transmit` CLA INS P1 P2 P3 and data, for `call_card` all bytes to send
    reply           the bytes reply[:reply_size], valid until the next call
    """

    def __init__(self, channel: "Stream") -> None:
        self.uid = bytearray(8)
        self.uid_end = bytearray(4)
        self.kind = OTHER
        self.status = 0
        self._channel = channel
        self._tx = bytearray(_TX_SIZE)
        self._rx = bytearray(_RX_SIZE)
        self.command = memoryview(self._tx)[_HEAD + 1 : -2]
        self.reply = memoryview(self._rx)[3:]
        self.reply_size = 0
        self._inlet = Inlet(channel)
        self._awake = False
        self._state = 0
        self._last = 0xFF
        self._size = 0
        self._sum = 0
        self._count = 0

    def there(self) -> bool:
        """Return true: only an exchange shows that the card is gone."""
        return True

    def release(self) -> None:
        """Do nothing: `connect` switches the field off before it searches for a card."""

    def connect(self) -> "Steps":
        """Search for one card of type A; first set up the chip if its last answer was bad."""
        if not self._awake:
            outcome = yield from self._set_up()
            if outcome != OK:
                return outcome
            self._awake = True
        outcome = yield from self._find()
        # A chip that had a fault or lost its supply is set up again. Without this, readers stop
        # working after some hours.
        if outcome != OK and outcome != ABSENT and outcome != UNKNOWN:
            self._awake = False
        return outcome

    def call_card(self, size: int) -> "Steps":
        """Send command[:size] to the card; its answer is reply[:reply_size]."""
        self._tx[_HEAD] = 1
        outcome = yield from self._call(_DATA_EXCHANGE, size + 1, _EXCHANGE_MS)
        if outcome != OK:
            return outcome
        if self._count < 3:
            return WRONG_SIZE
        status = self._rx[2]
        self.status = status & 0x3F
        if self.status:
            return REFUSED
        if status & 0x40:
            return WRONG_SIZE  # more follows than a reply may hold
        self.reply_size = self._count - 3
        return OK

    def transmit(self, data_size: int, reply_limit: int) -> "Steps":
        """Send the command as a short APDU. Spec: ISO/IEC 7816-4, 5.1, cases 1 to 4."""
        command = self.command
        size = 4
        if data_size:
            command[4] = data_size
            size += 1 + data_size
        if reply_limit:
            command[size] = reply_limit
            size += 1
        outcome = yield from self.call_card(size)
        if outcome != OK:
            return outcome
        size = self.reply_size - 2
        if size < 0:
            return WRONG_SIZE
        self.reply_size = size
        self.status = self.reply[size] << 8 | self.reply[size + 1]
        return OK

    def _set_up(self) -> "Steps":
        """Wake the chip, set normal mode, and limit its search for a card to one retry."""
        self._channel.write(memoryview(_WAKE))
        tx = self._tx
        tx[_HEAD : _HEAD + 3] = b"\x01\x14\x01"
        outcome = yield from self._call(_SAM_CONFIGURATION, 3, _SETUP_MS)
        if outcome != OK:
            return outcome
        tx[_HEAD : _HEAD + 4] = b"\x05\xff\x01\x01"
        return (yield from self._call(_RF_CONFIGURATION, 4, _SETUP_MS))

    def _find(self) -> "Steps":
        """Switch the field off, so that every card restarts, and find one card."""
        tx = self._tx
        tx[_HEAD : _HEAD + 2] = b"\x01\x00"
        outcome = yield from self._call(_RF_CONFIGURATION, 2, _SETUP_MS)
        if outcome != OK:
            return outcome
        yield from pause(_FIELD_OFF_MS)
        tx[_HEAD : _HEAD + 2] = b"\x01\x00"
        outcome = yield from self._call(_LIST_PASSIVE_TARGET, 2, _LIST_MS)
        if outcome != OK:
            return outcome
        # D5 4B | count | number | SENS_RES 2 | SEL_RES | size of the UID | UID | ATS
        rx = self._rx
        if self._count < 3:
            return WRONG_SIZE
        if rx[2] == 0:
            return ABSENT
        size = rx[7]
        if rx[2] != 1 or self._count < 8 + size or size not in (4, 7, 10):
            return WRONG_SIZE
        uid = self.uid
        # A UID of 4 bytes that begins with 08 is random. Spec: ISO/IEC 14443-3, 6.5.4.
        known = size if size > 4 or rx[8] != 0x08 else 0
        for index in range(8):
            uid[index] = rx[8 + index] if index < known else 0
        for index in range(4):
            self.uid_end[index] = rx[4 + size + index]
        select = rx[6]
        if select & 0x20:
            self.kind = ISO_DEP
        elif select & 0x08:
            self.kind = CLASSIC
        else:
            self.kind = TAG if select == 0 else OTHER
        return OK if self.kind != OTHER else UNKNOWN

    def _call(self, code: int, size: int, timeout_ms: int) -> "Steps":
        """Send a command with `size` bytes after its head; wait for the ACK and the answer."""
        self._inlet.drain()
        self._state = 0
        self._last = 0xFF
        self._send(code, size)
        outcome = yield from self._await(_IS_ACK, code, _ACK_MS)
        if outcome != OK:
            return outcome
        for _ in range(_NACK_LIMIT):
            outcome = yield from self._await(_IS_ANSWER, code, timeout_ms)
            if outcome != GARBLED:
                break
            self._channel.write(memoryview(_NACK))
        if outcome != OK:
            self._channel.write(memoryview(_ACK))
        elif self._rx[0] != _FROM_CHIP:
            outcome = REFUSED  # the chip sent an error frame: it does not know the command
        return outcome

    def _send(self, code: int, size: int) -> None:
        tx = self._tx
        tx[0] = tx[1] = 0
        tx[2] = 0xFF
        tx[3] = size + 2
        tx[4] = 0x100 - tx[3]
        tx[5] = _TO_CHIP
        tx[6] = code
        end = _HEAD + size
        total = 0
        for index in range(5, end):
            total += tx[index]
        tx[end] = -total & 0xFF
        tx[end + 1] = 0
        self._channel.write(memoryview(tx)[: end + 2])

    def _await(self, wanted: int, code: int, timeout_ms: int) -> "Steps":
        """Wait for an ACK, or for the answer to `code`; skip other frames."""
        now_ticks = yield
        deadline_ticks = ticks_after(now_ticks, timeout_ms)
        for _ in range(_BYTE_LIMIT):
            byte = self._inlet.next_byte()
            while byte < 0:
                if reached(now_ticks, deadline_ticks):
                    return SILENT
                now_ticks = yield
                byte = self._inlet.next_byte()
            found = self._decode(byte)
            if found == _IS_BROKEN:
                return GARBLED
            if found == wanted and (found == _IS_ACK or self._answers(code)):
                return OK if self._size <= _RX_SIZE else WRONG_SIZE
        return FLOOD

    def _answers(self, code: int) -> bool:
        """Return whether the frame answers `code` or is the error frame."""
        rx = self._rx
        if self._size == 1 and rx[0] == 0x7F:
            return True
        return self._size >= 2 and rx[0] == _FROM_CHIP and rx[1] == code + 1

    def _decode(self, byte: int) -> int:
        """Process one byte; return what it completes."""
        state = self._state
        if state == 0:  # between frames: the start is 00 FF
            if byte == 0xFF and self._last == 0:
                self._state = 1
            self._last = byte
            return _MORE
        if state == 1:
            self._size = byte
            self._state = 2
            return _MORE
        if state == 2:
            self._state = 0
            self._last = byte
            if self._size == 0 and byte == 0xFF:
                return _IS_ACK
            if self._size == 0xFF and byte == 0:
                return _MORE  # only the device sends NACKs
            if self._size + byte & 0xFF:
                return _IS_BROKEN
            self._state = 3
            self._sum = self._count = 0
            return _MORE
        self._sum += byte
        if self._count < self._size:
            if self._count < _RX_SIZE:
                self._rx[self._count] = byte
            self._count += 1
            return _MORE
        self._state = 0
        self._last = 0xFF
        return _IS_BROKEN if self._sum & 0xFF else _IS_ANSWER


_STATUS_READ = const(0x02)
_DATA_WRITE = const(0x01)
_DATA_READ = const(0x03)
_START_LIMIT = const(8)


class SpiChannel:
    """A PN532 on SPI as a channel. The chip sends the lowest bit first, which few boards can.

    One transfer reads a whole frame, because a high `cs` ends the frame.
    """

    def __init__(self, spi: "Spi", cs: "Pin") -> None:
        self._spi = spi
        self._cs = cs
        self._one = bytearray(1)
        self._out = bytearray(_TX_SIZE + 1)
        self._frame = bytearray(_RX_SIZE + 8)
        self._at = 0
        self._end = 0
        cs(1)

    def write(self, buf: memoryview) -> int:
        """Send one frame."""
        size = len(buf)
        out = self._out
        out[0] = _reverse(_DATA_WRITE)
        for index in range(size):
            out[1 + index] = _reverse(buf[index])
        self._cs(0)
        self._spi.write(memoryview(out)[: 1 + size])
        self._cs(1)
        return size

    def read_into(self, buf: bytearray) -> int:
        """Fetch a frame when the chip has one, and copy its next bytes into `buf`."""
        if self._at == self._end:
            self._at = self._end = 0
            if self._ready():
                self._fetch()
        count = min(len(buf), self._end - self._at)
        for index in range(count):
            buf[index] = self._frame[self._at + index]
        self._at += count
        return count

    def _ready(self) -> bool:
        self._cs(0)
        self._put(_STATUS_READ)
        status = self._get()
        self._cs(1)
        return status & 1 == 1

    def _fetch(self) -> None:
        """Read a frame to its end, which its length gives."""
        frame = self._frame
        self._cs(0)
        self._put(_DATA_READ)
        end = 0
        left = _START_LIMIT
        while left and end < len(frame):
            byte = frame[end] = self._get()
            end += 1
            left -= 1
            if byte == 0xFF and end > 1 and frame[end - 2] == 0 and left < _START_LIMIT:
                size = frame[end] = self._get()
                frame[end + 1] = self._get()
                end += 2
                left = size + 1  # data and checksum
                break
        while left and end < len(frame):
            frame[end] = self._get()
            end += 1
            left -= 1
        self._cs(1)
        self._end = end

    def _put(self, byte: int) -> None:
        self._one[0] = _reverse(byte)
        self._spi.write(self._one)

    def _get(self) -> int:
        self._spi.readinto(self._one)
        return _reverse(self._one[0])


def _reverse(byte: int) -> int:
    """Return the byte with its bits in reverse order."""
    byte = (byte & 0x55) << 1 | byte >> 1 & 0x55
    byte = (byte & 0x33) << 2 | byte >> 2 & 0x33
    return byte << 4 & 0xF0 | byte >> 4
