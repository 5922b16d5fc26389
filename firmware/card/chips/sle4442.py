"""Drive an SLE4442 or SLE5542: 256 bytes, two wires and reset, lowest bit first.

    command     start (IO falls, CLK high) | control | address | data | stop (IO rises, CLK high)
    then        a read: bits, one after each falling CLK, to the end of the memory
                a write: IO low from the first falling CLK; clock on until it is high again

    bytes 0..31     ATR, the maker's and the issuer's: each can be protected permanently
    bytes 32..255   the image's
    bytes 8..15     the serial number of the card, once the issuer has protected all eight

Reading needs no code. Writing needs the PSC of 3 bytes, which the wire carries in clear, so it
only protects against damage: the MAC and the order number protect the money. With one try left the
driver sends no code any more.

Spec: data sheet SLE 4432/4442 07.95, 2.1 to 2.4.
"""

from micropython import const

from card.chips.outcome import (
    ABSENT,
    LOCKED,
    OK,
    OUT_OF_RANGE,
    SILENT,
    STUCK,
    UNKNOWN,
    WRONG_CODE,
    pause,
)

TYPE_CHECKING = const(False)
if TYPE_CHECKING:
    from card.chips.outcome import Bytes, Pin, Steps, Wait

_READ_MAIN = const(0x30)
_READ_SECURITY = const(0x31)
_COMPARE = const(0x33)
_READ_PROTECTION = const(0x34)
_UPDATE_MAIN = const(0x38)
_UPDATE_SECURITY = const(0x39)
_PROTECT = const(0x3C)

_SIZE = const(256)
_OURS = const(32)  # the bytes before belong to the chip and can be protected
_SERIAL = const(8)
_HALF_US = const(10)  # half a period at 50 kHz, the highest clock of an SLE4442
_PROCESSING_LIMIT = const(512)  # clocks; erase and write take 255
_SLICE = const(16)  # bytes between two yields: 152 clocks
_BOUNCE_MS = const(60)
_TRIES = b"\0\1\1\2\1\2\2\3"  # free bits of the error counter


class Sle4442:
    """A chip in a socket.

    io          open drain with a pull-up: 1 releases the line
    detect      1 while a card is in the socket
    power       1 switches the socket on
    tries       the tries left, as last read: 3 on a sound card, -1 unread
    """

    def __init__(
        self,
        io: "Pin",
        clk: "Pin",
        rst: "Pin",
        detect: "Pin",
        power: "Pin",
        delay_us: "Wait",
        psc: "Bytes" = b"\xff\xff\xff",
    ) -> None:
        self.uid = bytearray(8)
        self.size = _SIZE
        self.tries = -1
        self._io = io
        self._clk = clk
        self._rst = rst
        self._detect = detect
        self._power = power
        self._delay_us = delay_us
        self._psc = psc
        self._open = False
        self._four = bytearray(4)
        self._slice = bytearray(_SLICE)

    def there(self) -> bool:
        """Return whether the socket holds a card."""
        return self._detect() == 1

    def release(self) -> None:
        """Release the lines and switch the socket off."""
        self._open = False
        self._rst(0)
        self._clk(0)
        self._io(1)
        self._power(0)

    def connect(self) -> "Steps":
        """Wait until the contacts are stable, reset the chip and read its serial number."""
        self.release()
        if not self.there():
            return ABSENT
        yield from pause(_BOUNCE_MS)
        if not self.there():
            return ABSENT
        self._power(1)
        yield from pause(10)
        four = self._four
        self._reset(four)
        if four == b"\xff\xff\xff\xff":
            return SILENT
        if four == b"\0\0\0\0":
            return STUCK
        # A2: 2-wire protocol; 13: 256 bytes of 8 bits. The other two bytes may have any value.
        if four[0] != 0xA2 or four[1] != 0x13:
            return UNKNOWN
        outcome = self._read(_READ_PROTECTION, 0, four, 4)
        uid = self.uid
        if outcome == OK and four[_SERIAL // 8] == 0:
            return self._read(_READ_MAIN, _SERIAL, uid, 8)
        for index in range(8):
            uid[index] = 0
        return outcome

    def read(self, offset: int, size: int, buf: bytearray) -> "Steps":
        """Fill buf[:size] from the main memory."""
        if not 0 <= offset <= offset + size <= _SIZE:
            return OUT_OF_RANGE
        part = self._slice
        done = 0
        while done < size:
            count = min(_SLICE, size - done)
            outcome = self._read(_READ_MAIN, offset + done, part, count)
            if outcome != OK:
                return outcome
            for index in range(count):
                buf[done + index] = part[index]
            done += count
            yield
        return OK

    def write(self, offset: int, size: int, buf: "Bytes") -> "Steps":
        """Write the changed bytes of buf[:size]; send the PSC before the first of an insertion."""
        if not _OURS <= offset <= offset + size <= _SIZE:
            return OUT_OF_RANGE
        part = self._slice
        for done in range(size):
            if done % _SLICE == 0:
                yield
                count = min(_SLICE, size - done)
                outcome = self._read(_READ_MAIN, offset + done, part, count)
                if outcome != OK:
                    return outcome
            if part[done % _SLICE] == buf[done]:
                continue
            outcome = self._unlock()
            if outcome == OK:
                outcome = self._process(_UPDATE_MAIN, offset + done, buf[done])
            if outcome != OK:
                return outcome
            yield
        return OK

    def write_serial(self, serial: bytes) -> "Steps":
        """Write the permanent serial number, 8 bytes; the next `connect` reads it."""
        for index in range(8):
            outcome = self._unlock()
            if outcome == OK:
                outcome = self._process(_UPDATE_MAIN, _SERIAL + index, serial[index])
            # The chip protects a byte only if the command repeats its value.
            if outcome == OK:
                outcome = self._process(_PROTECT, _SERIAL + index, serial[index])
            if outcome != OK:
                return outcome
            yield
        return OK

    def _unlock(self) -> int:
        """Send the PSC unless that is done. Spec: 2.4, whose order of steps is mandatory."""
        if self._open:
            return OK
        four = self._four
        outcome = self._read(_READ_SECURITY, 0, four, 4)
        if outcome != OK:
            return outcome
        counter = four[0] & 7
        self.tries = _TRIES[counter]
        if self.tries <= 1:
            return LOCKED
        outcome = self._process(_UPDATE_SECURITY, 0, counter & counter - 1)
        for index in range(3):
            if outcome == OK:
                outcome = self._process(_COMPARE, index + 1, self._psc[index])
        # A chip erases its error counter only after the right code.
        if outcome == OK:
            outcome = self._process(_UPDATE_SECURITY, 0, 0xFF)
        if outcome == OK:
            outcome = self._read(_READ_SECURITY, 0, four, 4)
        if outcome != OK:
            return outcome
        self.tries = _TRIES[four[0] & 7]
        if self.tries != 3:
            return WRONG_CODE
        self._open = True
        return OK

    def _reset(self, four: bytearray) -> None:
        """Reset the chip and read its answer of 4 bytes. Spec: 2.2.1."""
        self._rst(1)
        self._delay_us(_HALF_US)
        self._pulse()
        self._rst(0)
        self._delay_us(_HALF_US)
        self._clock_out(four, 4)

    def _read(self, control: int, address: int, buf: bytearray, size: int) -> int:
        """Read `size` bytes and stop the chip from sending more."""
        outcome = self._command(control, address, 0)
        if outcome != OK:
            return outcome
        self._clock_out(buf, size)
        # RST high while CLK is low ends any operation. Spec: 2.2, break.
        self._rst(1)
        self._delay_us(_HALF_US)
        self._rst(0)
        self._delay_us(_HALF_US)
        return OK

    def _process(self, control: int, address: int, data: int) -> int:
        """Send a writing command and clock the chip until it is ready."""
        outcome = self._command(control, address, data)
        if outcome != OK:
            return outcome
        io = self._io
        if io():
            return SILENT
        for _ in range(_PROCESSING_LIMIT):
            self._pulse()
            if io():
                return OK
        return STUCK

    def _command(self, control: int, address: int, data: int) -> int:
        """Send a command; return STUCK when the line is not free."""
        io = self._io
        clk = self._clk
        delay_us = self._delay_us
        io(1)
        clk(1)
        delay_us(_HALF_US)
        if not io():
            clk(0)
            return STUCK
        io(0)
        delay_us(_HALF_US)
        clk(0)
        word = control | address << 8 | data << 16
        for _ in range(24):
            io(word & 1)
            word >>= 1
            delay_us(_HALF_US)
            clk(1)
            delay_us(_HALF_US)
            clk(0)
        io(0)
        delay_us(_HALF_US)
        clk(1)
        delay_us(_HALF_US)
        io(1)
        delay_us(_HALF_US)
        clk(0)
        delay_us(_HALF_US)
        return OK

    def _clock_out(self, buf: bytearray, size: int) -> None:
        """Clock `size` bytes out of the chip."""
        io = self._io
        for index in range(size):
            byte = 0
            for bit in range(8):
                if io():
                    byte |= 1 << bit
                self._pulse()
            buf[index] = byte

    def _pulse(self) -> None:
        clk = self._clk
        clk(1)
        self._delay_us(_HALF_US)
        clk(0)
        self._delay_us(_HALF_US)
