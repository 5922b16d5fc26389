"""Simulate an AT24Cxx on an I2C bus.

It simulates the roll-over within a page, the write time in which no address is acknowledged, the
address counter, and a page torn in mid-write. Spec: data sheet AT24C01/02/04/08/16.
"""

from silicon import Time

WRITE_US = 5000


class Silicon:
    """This is the bus with one chip on it, as machine.I2C.

    inserted    0: no chip acknowledges
    write_us    how long a page takes; -1: the chip never comes back
    nacks       transfers that were not acknowledged
    pages       pages written
    tear        the next write of a page loses its power after this many bytes
    """

    def __init__(self, time: Time, size: int = 256, page_size: int = 8) -> None:
        self.time = time
        self.memory = bytearray(b"\xff" * size)
        self.page_size = page_size
        self.inserted = 1
        self.write_us = WRITE_US
        self.nacks = 0
        self.pages = 0
        self.tear = -1
        self._head_size = 1 if size <= 2048 else 2
        self._at = 0
        self._ready_us = 0

    def writeto(self, addr: int, buf: bytes) -> int:
        """Take a write transfer; raise OSError where no chip acknowledges."""
        at = self._select(addr)
        data = bytes(buf)
        head = self._head_size
        if len(data) >= head:
            at = at | data[0] if head == 1 else data[0] << 8 | data[1]
            self._at = at
            if len(data) > head:
                self._program(at, data[head:])
        return len(data)

    def readfrom_into(self, addr: int, buf: "bytearray | memoryview") -> None:
        """Give a read transfer from the position of the address counter."""
        self._select(addr)
        for index in range(len(buf)):
            buf[index] = self.memory[self._at]
            self._at = (self._at + 1) % len(self.memory)

    def _select(self, addr: int) -> int:
        """Acknowledge the device's address; it contains the upper address bits."""
        self.time.now_us += 250
        blocks = (len(self.memory) + 255) // 256 if self._head_size == 1 else 1
        busy = self._ready_us < 0 or self.time.now_us < self._ready_us
        if not self.inserted or busy or not 0x50 <= addr < 0x50 + blocks:
            self.nacks += 1
            raise OSError(5)
        return (addr - 0x50) << 8 if self._head_size == 1 else 0

    def _program(self, at: int, data: bytes) -> None:
        """Write into the page, going round at its end."""
        base = at - at % self.page_size
        for index in range(len(data)):
            place = base + (at - base + index) % self.page_size
            if index == self.tear:
                self.memory[place] |= 0xF0  # half erased
                self.inserted = 0
                return
            self.memory[place] = data[index]
        self.pages += 1
        self._ready_us = -1 if self.write_us < 0 else self.time.now_us + self.write_us
