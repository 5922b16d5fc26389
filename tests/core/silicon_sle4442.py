"""Simulate an SLE4442 in a socket, at its five lines, clock by clock.

It simulates levels and edges, 20 us period at 50 kHz, break, start and stop, the clocks that
processing takes, protection bits, the error counter and the order in which a PSC must be
presented, and the bits that half an erasure leaves. Spec: data sheet SLE 4432/4442 07.95.
"""

from silicon import Time

ATR = b"\xa2\x13\x10\x91"

_OFF = 0
_IDLE = 1
_RESET = 2
_ATR = 3
_COMMAND = 4
_DATA = 5
_PROCESS = 6

_ERASE_OR_WRITE = 124
_ERASE_AND_WRITE = 255
_NOTHING = 2
_SHORTEST_US = 9
_LONGEST_US = 143  # 7 kHz


class Silicon:
    """This is the chip and its socket.

    clocks      the count since power was first switched on
    early       edges that came too soon after the last
    updates     bytes that were erased or written
    pull_at     the clock at which the card is pulled out
    level       None, or the level at which the data line is held
    powered     the socket is on
    deaf        the chip ignores commands
    endless     processing never ends
    heard       the codes that were presented
    """

    def __init__(self, time: Time, psc: bytes = b"\xff\xff\xff") -> None:
        self.time = time
        self.memory = bytearray(b"\xff" * 256)
        self.memory[:4] = ATR
        self.protected = bytearray(b"\x01" * 32)  # 1 means free.
        self.protected[:4] = bytes(4)
        self.counter = 7
        self.psc = bytearray(psc)
        self.inserted = 1
        self.clocks = 0
        self.early = 0
        self.updates = 0
        self.pull_at = -1
        self.level: int | None = None
        self.deaf = False
        self.endless = False
        self.heard: list[int] = []
        self._mode = _OFF
        self.powered = 0
        self._out = 1
        self._host = 1
        self._clk = 0
        self._rst = 0
        self._edge_us = 0
        self._off()

    # --- the lines ---

    def detect(self, value: int = 0) -> int:
        """Read the switch of the socket."""
        return self.inserted

    def power(self, value: int = 0) -> int:
        """Switch the supply of the socket."""
        self.powered = value
        self._off()
        if value and self.inserted:
            self._mode = _IDLE
        return value

    def io(self, value: int = -1) -> int:
        """Read the data line, or set it as the host."""
        if value < 0:
            if self.level is not None:
                return self.level
            return self._host & self._out
        if value != self._host:
            self._host = value
            if self._clk and not self._rst:
                self._turn(value)
        return value

    def clk(self, value: int = 0) -> int:
        """Set the clock as the host."""
        if value == self._clk:
            return value
        now_us = self.time.now_us
        if self._mode != _OFF and now_us - self._edge_us < _SHORTEST_US:
            self.early += 1
        self._edge_us = now_us
        self._clk = value
        if value:
            self._rise()
        else:
            self._fall()
            self.clocks += 1
            if self.clocks == self.pull_at:
                self.pull()
        return value

    def rst(self, value: int = 0) -> int:
        """Set the reset line as the host."""
        if value == self._rst or self._mode == _OFF:
            self._rst = value
            return value
        self._rst = value
        if value:
            if not self._clk:
                self._tear()
                self._mode = _IDLE
                self._out = 1
        elif self._mode == _RESET:
            self._mode = _ATR
            self._at = 0
            self._out = self.memory[0] & 1
        return value

    # --- the hand ---

    def pull(self) -> None:
        """Take the card out, whatever it is doing."""
        self._tear()
        self.inserted = 0
        self._off()

    def insert(self) -> None:
        """Put the card in; the reader switches it on."""
        self.inserted = 1

    # --- the chip ---

    def _off(self) -> None:
        self._mode = _OFF
        self._out = 1
        self._at = 0
        self._word = 0
        self._count = 0
        self._needed = 0
        self._opened = False
        self._marked = False
        self._matched = 0

    def _turn(self, level: int) -> None:
        """Take a change of the data line while CLK is high: start or stop."""
        if self._mode not in (_IDLE, _COMMAND):
            return
        if level == 0:
            self._mode = _COMMAND
            self._count = 0
            self._word = 0
        elif self._mode == _COMMAND:
            self._mode = _IDLE
            if self._count == 24 and not self.deaf:
                self._accept()

    def _rise(self) -> None:
        if self._rst and self._mode == _IDLE:
            self._mode = _RESET
        elif self._mode == _COMMAND and self._count < 24:
            self._word |= self._host << self._count
            self._count += 1

    def _fall(self) -> None:
        if self._mode == _ATR:
            self._at += 1
            self._send(self.memory, 4)
        elif self._mode == _DATA:
            self._at += 1
            self._send(self._source, len(self._source))
        elif self._mode == _PROCESS:
            self._out = 0
            self._count += 1
            if self._count > self._needed and not self.endless:
                self._finish()

    def _send(self, source: "bytes | bytearray", size: int) -> None:
        """Put the bit at `_at` on the line, or release the line after the last one."""
        if self._at >> 3 < size:
            self._out = source[self._at >> 3] >> (self._at & 7) & 1
        else:
            self._out = 1
            self._mode = _IDLE

    def _accept(self) -> None:
        """Take a complete command."""
        control = self._word & 0xFF
        address = self._word >> 8 & 0xFF
        data = self._word >> 16
        self._mode = _DATA
        self._at = -1
        if control == 0x30:
            self._source: bytes | bytearray = self.memory
            self._at = address * 8 - 1
        elif control == 0x31:
            psc = bytes(self.psc) if self._opened else bytes(3)
            self._source = bytes([self.counter]) + psc
        elif control == 0x34:
            word = 0
            for index in range(32):
                word |= self.protected[index] << index
            self._source = word.to_bytes(4, "little")
        elif control in (0x33, 0x38, 0x39, 0x3C):
            self._mode = _PROCESS
            self._count = 0
            self._control = control
            self._address = address
            self._data = data
            self._needed = self._plan()
        else:
            self._mode = _IDLE

    def _plan(self) -> int:
        """Return the clocks that the command takes; 2 when it does nothing."""
        control, address, data = self._control, self._address, self._data
        if control == 0x33:
            self.heard.append(data)
            return _NOTHING
        if control == 0x3C:
            allowed = self._opened and address < 32 and self.memory[address] == data
            return _ERASE_OR_WRITE if allowed and self.protected[address] else _NOTHING
        if control == 0x39 and address == 0:
            data &= 7
            if not self._opened and data & ~self.counter:
                return _NOTHING
            return _ERASE_OR_WRITE
        if not self._opened or (control == 0x39 and address > 3):
            return _NOTHING
        if control == 0x38 and address < 32 and not self.protected[address]:
            return _NOTHING
        old = self.memory[address] if control == 0x38 else self.psc[address - 1]
        return _ERASE_AND_WRITE if data & ~old and data != 0xFF else _ERASE_OR_WRITE

    def _finish(self) -> None:
        """End the work: the line goes high."""
        self._out = 1
        self._mode = _IDLE
        control, address, data = self._control, self._address, self._data
        if control == 0x33:
            self._compare(address, data)
        elif self._needed == _NOTHING:
            return
        elif control == 0x3C:
            self.protected[address] = 0
        elif control == 0x38:
            self.updates += 1
            self.memory[address] = data
        elif address == 0:
            self._marked = data & 7 != self.counter
            self._matched = 0
            self.counter = data & 7
        else:
            self.psc[address - 1] = data

    def _compare(self, address: int, data: int) -> None:
        """Compare one byte of the code, if its turn has come and a try was marked."""
        right = self._marked and address == self._matched + 1 and data == self.psc[address - 1]
        self._matched = self._matched + 1 if right else 0
        self._marked = bool(right)
        if self._matched == 3:
            self._opened = True

    def _tear(self) -> None:
        """Cut the power during work: erased bits are 1, bits not yet written stay 1."""
        if self._mode != _PROCESS or self._control != 0x38 or self._needed == _NOTHING:
            return
        old = self.memory[self._address]
        half = self._needed // 2
        if self._count < half:
            done = (1 << 8 * self._count // half) - 1
            self.memory[self._address] = old | done
        else:
            done = (1 << 8 * (self._count - half) // half) - 1
            self.memory[self._address] = (self._data & done) | (0xFF & ~done)
